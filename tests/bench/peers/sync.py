"""The Python script of GOALS P1, as an administrator would write it: python-ldap reads page by page, aiohttp keeps connections.

    sync.py LDAP_URI BIND_DN PASSWORD_FILE BASE URL TOKEN_FILE CA_FILE CONNECTIONS [create|sync]

create: one POST a person. sync: looks each person up first, then POST or PUT. Prints one line of JSON like climit."""

import asyncio
import json
import pathlib
import resource
import ssl
import sys
import time
import urllib.parse

import aiohttp
import ldap
from ldap.controls import SimplePagedResultsControl

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ATTRIBUTES = ["uid", "cn", "displayName", "givenName", "sn", "title", "departmentNumber", "entryUUID"]


def secret(file):
    return pathlib.Path(file).read_text().splitlines()[0]


def document(entry):
    def one(name):
        return entry[name][0].decode() if name in entry else None

    user = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE], "externalId": one("entryUUID"), "userName": one("uid"),
        "displayName": one("displayName"), "name": {"givenName": one("givenName"), "familyName": one("sn")},
        ENTERPRISE: {"department": one("departmentNumber")}, "active": True,
    }
    if "title" in entry:
        user["title"] = one("title")
    return user


def pages(uri, dn, password, base):
    connection = ldap.initialize(uri)
    connection.simple_bind_s(dn, password)
    control = SimplePagedResultsControl(True, 500, "")
    while True:
        message = connection.search_ext(base, ldap.SCOPE_SUBTREE, "(objectClass=inetOrgPerson)", ATTRIBUTES, serverctrls=[control])
        _, found, _, answered = connection.result3(message)
        yield found
        control.cookie = next(c.cookie for c in answered if c.controlType == SimplePagedResultsControl.controlType)
        if not control.cookie:
            return


async def carry(session, url, user, mode):
    method, place = session.post, url + "/Users"
    if mode == "sync":
        query = urllib.parse.quote(f'externalId eq "{user["externalId"]}"')
        async with session.get(f"{url}/Users?filter={query}") as answer:
            found = json.loads(await answer.read())
        if found["totalResults"]:
            method, place = session.put, f"{url}/Users/{found['Resources'][0]['id']}"
    async with method(place, data=json.dumps(user)) as answer:
        await answer.read()
        return answer.status


async def main():
    uri, dn, password_file, base, url, token_file, ca_file, connections = sys.argv[1:9]
    mode = sys.argv[9] if len(sys.argv) > 9 else "create"
    limit, started, users, failed = int(connections), time.monotonic(), 0, 0
    queue = asyncio.Queue(2000)
    headers = {"authorization": f"Bearer {secret(token_file)}", "content-type": "application/scim+json"}
    connector = aiohttp.TCPConnector(limit=limit, ssl=ssl.create_default_context(cafile=ca_file))
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        async def worker():
            nonlocal failed
            while (entry := await queue.get()) is not None:
                try:
                    failed += await carry(session, url, document(entry), mode) >= 300
                except (aiohttp.ClientError, ValueError) as error:
                    failed += 1
                    print(error, file=sys.stderr)

        workers = [asyncio.create_task(worker()) for _ in range(limit)]
        for page in pages(uri, dn, secret(password_file), base):
            for _, entry in page:
                users += 1
                await queue.put(entry)
        for _ in workers:
            await queue.put(None)
        await asyncio.gather(*workers)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"users": users, "failed": failed, "seconds": time.monotonic() - started,
                      "cpu_us_per_user": (used.ru_utime + used.ru_stime) * 1e6 / max(users, 1)}))
    return 1 if failed or not users else 0


sys.exit(asyncio.run(main()))
