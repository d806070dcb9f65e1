// Microsoft's own clients, unmodified, against a Graph at another address.
// usage: node graph.mjs JSON with port, tenant, clientId, secret or certificate {thumbprint, key}, name; prints JSON.
import { ConfidentialClientApplication } from "@azure/msal-node";
import { Client, BatchRequestContent, BatchResponseContent } from "@microsoft/microsoft-graph-client";

const given = JSON.parse(process.argv[2]);
const host = `localhost:${given.port}`;
const application = new ConfidentialClientApplication({
    auth: {
        clientId: given.clientId,
        authority: `https://${host}/${given.tenant}`,
        knownAuthorities: [host],
        ...(given.secret ? { clientSecret: given.secret }
            : { clientCertificate: { thumbprintSha256: given.certificate.thumbprint, privateKey: given.certificate.key } }),
    },
});
const client = Client.init({
    baseUrl: `https://${host}/`,
    customHosts: new Set(["localhost"]),
    authProvider: (done) => application
        .acquireTokenByClientCredential({ scopes: ["https://graph.microsoft.com/.default"] })
        .then((result) => done(null, result.accessToken), (error) => done(error, null)),
});

const attempt = async (promise) => {
    try {
        return { value: await promise };
    } catch (error) {
        return { status: error.statusCode, code: error.code, errorCode: error.errorCode, body: error.body };
    }
};
const user = (name) => ({
    accountEnabled: true, displayName: name, mailNickname: name, userPrincipalName: `${name}@contoso.com`,
    passwordProfile: { password: "Tr0ub4dor&3x", forceChangePasswordNextSignIn: false },
    onPremisesImmutableId: Buffer.from(name).toString("base64").replaceAll("_", "-"),
});

const out = {};
out.create = await attempt(client.api("/users").post(user(given.name)));
if (out.create.value) {
    const id = out.create.value.id;
    out.duplicate = await attempt(client.api("/users").post(user(given.name)));
    out.update = await attempt(client.api(`/users/${id}`).patch({ jobTitle: "Engineer", accountEnabled: false }));
    out.get = await attempt(client.api(`/users/${id}`).select("id,jobTitle,accountEnabled").get());
    out.search = await attempt(client.api("/users").filter(`endsWith(userPrincipalName,'@contoso.com')`)
        .header("ConsistencyLevel", "eventual").count(true).get());
    out.refused = await attempt(client.api("/users").filter(`endsWith(userPrincipalName,'@contoso.com')`).get());
    const base = `https://${host}`; // the client keeps what follows the host
    const content = new BatchRequestContent([
        { id: "1", request: new Request(`${base}/users/${id}`, { method: "GET" }) },
        { id: "2", dependsOn: ["1"], request: new Request(`${base}/users/nobody@contoso.com`, { method: "GET" }) },
        { id: "3", dependsOn: ["2"], request: new Request(`${base}/users`, { method: "GET" }) },
    ]);
    const responses = new BatchResponseContent(await client.api("/$batch").post(await content.getContent()));
    out.batch = Object.fromEntries([...responses.getResponses()].map(([number, response]) => [number, response.status]));
    const group = `/groups/${given.group}/members`;
    const licence = { addLicenses: [{ skuId: given.sku, disabledPlans: [given.plan] }], removeLicenses: [] };
    out.skus = await attempt(client.api("/subscribedSkus").get());
    out.nowhere = await attempt(client.api(`/users/${id}/assignLicense`).post(licence));
    await attempt(client.api(`/users/${id}`).patch({ usageLocation: "DE" }));
    out.licence = await attempt(client.api(`/users/${id}/assignLicense`).post(licence));
    out.licensed = await attempt(client.api(`/users/${id}`).select("assignedLicenses,licenseAssignmentStates").get());
    out.seatless = await attempt(client.api(`/users/${given.other}/assignLicense`).post(licence));
    out.unlicence = await attempt(client.api(`/users/${id}/assignLicense`).post({ addLicenses: [], removeLicenses: [given.sku] }));
    const reference = { "@odata.id": `https://graph.microsoft.com/v1.0/directoryObjects/${id}` };
    out.member = await attempt(client.api(`${group}/$ref`).post(reference));
    out.again = await attempt(client.api(`${group}/$ref`).post(reference));
    out.members = await attempt(client.api(group).select("id").get());
    out.memberOf = await attempt(client.api(`/users/${id}/memberOf`).select("id").get());
    out.unmember = await attempt(client.api(`${group}/${id}/$ref`).delete());
    out.sessions = await attempt(client.api(`/users/${id}/revokeSignInSessions`).post({}));
    out.delete = await attempt(client.api(`/users/${id}`).delete());
    out.restore = await attempt(client.api(`/directory/deletedItems/${id}/restore`).post({}));
}
console.log(JSON.stringify(out));
