// jsforce and nforce, unmodified, against a Salesforce at another address.
// usage: node salesforce.mjs JSON with port, clientId, secret, username, password (with the token behind it); prints JSON.
import jsforce from "jsforce";
import nforce from "nforce";

const given = JSON.parse(process.argv[2]);
const login = `https://localhost:${given.port}`;
const attempt = async (promise) => {
    try {
        return { value: await promise };
    } catch (error) {
        return { name: error.name, code: error.errorCode, message: error.message };
    }
};
const user = (name, more) => ({
    Username: `${name}@acme.example`, LastName: name, Email: `${name}@acme.example`, Alias: name.slice(0, 8), ProfileId: given.profile,
    TimeZoneSidKey: "GMT", LocaleSidKey: "en_US", EmailEncodingKey: "UTF-8", LanguageLocaleKey: "en_US", ...more,
});
const out = { jsforce: {}, nforce: {} };

// ---- jsforce: password, query with pages, rows, collections, upsert, a refused session ----

const conn = new jsforce.Connection({
    oauth2: { loginUrl: login, clientId: given.clientId, clientSecret: given.secret, redirectUri: "http://localhost/none" }, version: "62.0",
});
let js = out.jsforce;
js.login = await attempt(conn.login(given.username, given.password));
if (js.login.value) {
    js.instance = conn.instanceUrl;
    js.create = await attempt(conn.sobject("User").create(user("js1")));
    js.again = await attempt(conn.sobject("User").create(user("js1")));
    js.many = await attempt(conn.sobject("User").create([user("js2"), user("js3"), user("js2")]));
    js.upsert = await attempt(conn.sobject("User").upsert(user("js4", { DirectoryId__c: "key 4" }), "DirectoryId__c"));
    js.upsertAgain = await attempt(conn.sobject("User").upsert({ DirectoryId__c: "key 4", Title: "Dr" }, "DirectoryId__c"));
    js.upsertMany = await attempt(conn.sobject("User").upsert(
        [user("js5", { DirectoryId__c: "k5" }), { DirectoryId__c: "key 4", Title: "Prof" }], "DirectoryId__c"));
    const id = js.create.value.id;
    js.update = await attempt(conn.sobject("User").update({ Id: id, Department: "R&D", Title: null }));
    js.updateMany = await attempt(conn.sobject("User").update([{ Id: id, City: "Bonn" }, { Id: js.upsert.value.id, City: "Köln" }]));
    js.retrieve = await attempt(conn.sobject("User").retrieve(id));
    js.query = await attempt(conn.query("SELECT Id, Username, Profile.Name FROM User WHERE Username LIKE 'js%' ORDER BY Username"));
    js.pages = await attempt(conn.query("SELECT Id FROM User", { autoFetch: true, maxFetch: 10000 }).then((r) => r.records.length));
    js.unknown = await attempt(conn.query("SELECT Nothing FROM User"));
    js.destroy = await attempt(conn.sobject("User").destroy(id));
    js.describe = await attempt(conn.sobject("User").describe().then((d) => d.fields.length));
    conn.accessToken = "00D000!refused"; // it logs in again by itself, with the password
    js.refused = await attempt(conn.query("SELECT Id FROM Profile"));
    js.limits = await attempt(conn.limits ? conn.limits() : conn.request("/limits"));
    js.usage = conn.limitInfo && conn.limitInfo.apiUsage;
    js.logout = await attempt(conn.logout());
}

// ---- nforce: password, lower-case names, update, upsert, query ----

const org = nforce.createConnection({
    clientId: given.clientId, clientSecret: given.secret, redirectUri: "http://localhost/none", apiVersion: "v62.0", mode: "multi",
    loginUri: `${login}/services/oauth2/token`, environment: "production",
});
const call = (name, options) => new Promise((resolve, reject) => org[name](options, (error, value) => error ? reject(error) : resolve(value)));
let n = out.nforce;
n.login = await attempt(call("authenticate", { username: given.username, password: given.password }));
if (n.login.value) {
    const oauth = n.login.value;
    const record = nforce.createSObject("User");
    for (const [field, value] of Object.entries(user("nf1")))
        record.set(field, value);
    n.create = await attempt(call("insert", { sobject: record, oauth }));
    record.set("Title", "Dr");
    n.update = await attempt(call("update", { sobject: record, oauth }));
    const other = nforce.createSObject("User");
    other.setExternalId("DirectoryId__c", "nf-2");
    for (const [field, value] of Object.entries(user("nf2")))
        other.set(field, value);
    n.upsert = await attempt(call("upsert", { sobject: other, oauth }));
    n.query = await attempt(call("query", { query: "SELECT Id, Title FROM User WHERE Username = 'nf1@acme.example'", oauth, raw: true }));
    n.wrong = await attempt(call("query", { query: "SELECT", oauth, raw: true }));
}
console.log(JSON.stringify(out));
