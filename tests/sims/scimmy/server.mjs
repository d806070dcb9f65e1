// A third-party SCIM 2.0 server (scimmy, scimmy-routers) over HTTPS with a bearer token.
// usage: node server.mjs PORT CERT KEY TOKEN_FILE; prints "ready https=PORT".
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const [port, cert, key, tokenFile] = process.argv.slice(2);
const token = readFileSync(tokenFile, "utf8").trim();

// What scimmy leaves to the application: storage, unique names, 404.
function declare(Resource, uniqueName) {
    const store = new Map();
    const stored = (id) => {
        if (!store.has(id)) throw new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);
        return store.get(id);
    };
    SCIMMY.Resources.declare(Resource)
        .ingress((resource, data) => {
            const now = new Date();
            const before = resource.id ? stored(resource.id) : null;
            const taken = [...store.values()].some((other) => other.id !== resource.id &&
                other[uniqueName].toLowerCase() === data[uniqueName].toLowerCase());
            if (taken && uniqueName === "userName")
                throw new SCIMMY.Types.Error(409, "uniqueness", `${uniqueName} is taken`);
            const entry = JSON.parse(JSON.stringify(data));
            delete entry.password;
            entry.id = before?.id ?? randomUUID();
            entry.meta = { created: before?.meta.created ?? now, lastModified: now };
            store.set(entry.id, entry);
            return entry;
        })
        .egress((resource) => {
            if (resource.id) return stored(resource.id);
            const all = [...store.values()];
            return resource.filter ? resource.filter.match(all) : all;
        })
        .degress((resource) => {
            stored(resource.id);
            store.delete(resource.id);
        });
}

SCIMMY.Config.set({ patch: true, bulk: { supported: true, maxOperations: 10 }, filter: { supported: true, maxResults: 200 } });
declare(SCIMMY.Resources.User, "userName");
SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser, false);
declare(SCIMMY.Resources.Group, "displayName");

const app = express();
app.use("/scim/v2", new SCIMMYRouters({
    type: "bearer",
    docUri: "https://localhost/",
    handler: (request) => {
        if (request.header("Authorization") !== `Bearer ${token}`) throw new Error("Authorization failure");
        return "dirpipe";
    },
}));
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, app);
server.listen(Number(port), "127.0.0.1", () => console.log(`ready https=${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
