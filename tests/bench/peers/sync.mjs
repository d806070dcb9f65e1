// The Node script of GOALS P1, as an administrator would write it: ldapts reads page by page, undici keeps connections. Usage as climit's:
//   node sync.mjs LDAP_URI BIND_DN PASSWORD_FILE BASE URL TOKEN_FILE CA_FILE CONNECTIONS [create|sync]
// create: one POST a person. sync: looks each person up first, then POST or PUT. Prints one line of JSON like climit.
import fs from 'node:fs'
import { Client } from 'ldapts'
import { Pool } from 'undici'

const [ldapUri, bindDn, passwordFile, base, url, tokenFile, caFile, connections = '16', mode = 'create'] = process.argv.slice(2)
const target = new URL(url)
const limit = Number(connections)
const secret = (file) => fs.readFileSync(file, 'utf8').split('\n')[0]
const headers = { authorization: `Bearer ${secret(tokenFile)}`, 'content-type': 'application/scim+json' }
const pool = new Pool(target.origin, { connections: limit, pipelining: 1, connect: { ca: fs.readFileSync(caFile) } })
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
const started = process.hrtime.bigint()
let users = 0
let failed = 0

const one = (value) => (Array.isArray(value) ? value[0] : value)

const document = (entry) => ({
  schemas: ['urn:ietf:params:scim:schemas:core:2.0:User', enterprise],
  externalId: one(entry.entryUUID),
  userName: one(entry.uid),
  displayName: one(entry.displayName),
  title: one(entry.title),
  name: { givenName: one(entry.givenName), familyName: one(entry.sn) },
  [enterprise]: { department: one(entry.departmentNumber) },
  active: true,
})

async function call(method, path, body) {
  const answer = await pool.request({ method, path: target.pathname + path, headers, body: body && JSON.stringify(body) })
  return { status: answer.statusCode, body: await answer.body.json() }
}

async function carry(entry) {
  const user = document(entry)
  if (mode === 'create') return call('POST', '/Users', user)
  const found = await call('GET', `/Users?filter=${encodeURIComponent(`externalId eq "${user.externalId}"`)}`)
  if (!found.body.totalResults) return call('POST', '/Users', user)
  return call('PUT', `/Users/${found.body.Resources[0].id}`, user)
}

async function apply(entry) {
  try {
    const answer = await carry(entry)
    if (answer.status >= 300) failed++
  } catch (error) {
    if (failed++ < 3) console.error(String(error))
  }
}

const client = new Client({ url: ldapUri })
await client.bind(bindDn, secret(passwordFile))
const running = new Set()
const pages = client.searchPaginated(base, {
  scope: 'sub',
  filter: '(objectClass=inetOrgPerson)',
  attributes: ['uid', 'cn', 'displayName', 'givenName', 'sn', 'title', 'departmentNumber', 'entryUUID'],
  paged: { pageSize: 500 },
})
for await (const page of pages) {
  for (const entry of page.searchEntries) {
    users++
    while (running.size >= limit) await Promise.race(running)
    const job = apply(entry).finally(() => running.delete(job))
    running.add(job)
  }
}
await Promise.all(running)
const seconds = Number(process.hrtime.bigint() - started) / 1e9
const cpu = process.cpuUsage()
console.log(JSON.stringify({ users, failed, seconds, cpu_us_per_user: (cpu.user + cpu.system) / users }))
await client.unbind()
await pool.close()
process.exitCode = failed || !users ? 1 : 0
