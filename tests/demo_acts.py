"""The demo's second half: a group of people for three more services, a licence that comes and goes, a guard that holds, a plan, drift."""

import json
import time

import expected
from pipeline import Secret, target_section
from sims import IncidentIqSim, RescueSim, SalesforceSim

GROUP, MEMBERS, LEAVE = "pilot", 40, 12
SKU = "6fd2c87f-b296-42f0-b197-1e91e994b900"
WIDE = {"guard": {"settle": "300ms", "percent": 100, "most": 1000}}
NARROW = {"guard": {"settle": "300ms", "count": 5, "percent": 2}}  # as an operator has it: more than five at once wait for a word


def services(place):
    return {"crm": SalesforceSim(place / "salesforce"), "desk": RescueSim(place / "rescue"), "school": IncidentIqSim(place / "incidentiq")}


def prepare(directory, more, graph):
    """What must be there before dirpipe starts: the group, empty but for the administrator; a technician group; licences."""
    directory.add_group(GROUP, [directory.admin])
    more["desk"].seed(groups=[{"name": "Support"}])
    graph.seed(skus=[{"skuId": SKU, "skuPartNumber": "SPE_E3", "seats": 1000, "servicePlans": []}])


def source_part(directory, targets, more):
    routes = [{"target": name} for name in targets] + [{"target": name, "groups": [GROUP]} for name in more]
    return {"groups": [{"name": GROUP, "dn": directory.group_dn(GROUP)}], "routes": routes}


def licences():
    return {"licences": [{"group": GROUP, "sku": "SPE_E3"}], "licence_policy": {"revoke_when": ["disabled"], "cap_per_run": 100}}


def sections(more, kind):
    school = more["school"]
    return {
        "crm": target_section(more["crm"], kind, **NARROW),
        "desk": target_section(more["desk"], kind, groups=[{"group": GROUP, "remote": "Support"}], **WIDE),
        "school": {
            "driver": "incidentiq", "url": school.url, "tls": {"ca_file": school.ca_file}, "options": {"site_id": school.site},
            "auth": {"method": "bearer", "token": Secret(school.token_file)}, "join": [{"remote": "SchoolIdNumber", "local": "id"}],
            "mapping": {"Email": "mail", "SchoolIdNumber": "id", "FirstName": "givenName", "LastName": "sn",
                        "LocationId": {"const": "central office"}, "RoleId": {"const": "Student"}}, **WIDE},
    }


class Acts:
    def __init__(self, pipeline, directory, targets, more, kind, say):
        self.pipeline, self.directory, self.targets, self.more, self.kind, self.say = pipeline, directory, targets, more, kind, say
        self.group = directory.group_dn(GROUP)
        self.members = []

    def wait(self, condition, what):
        started = time.monotonic()
        self.pipeline.wait(condition, what, 60)
        return time.monotonic() - started

    # ---- what stands at the services ----

    def equal(self, name):
        """How many of the members have their account there, enabled and field by field."""
        entries = [self.directory.entry(dn) for dn in self.members]
        accounts = self.more[name].dump()
        if name == "school":
            there = {a.get("SchoolIdNumber"): a for a in accounts}
            return sum(bool(a and a["IsActive"] and a["LastName"] == e["attrs"]["sn"][0]) for e in entries for a in [there.get(e["id"])])
        if name == "desk":
            accounts = [a for a in accounts if a["type"] == "Technician"]
            key = {a["email"].lower(): a for a in accounts}
            return sum(bool(a and a["enabled"] and a["group"] == "Support") for e in entries
                       for a in [key.get(e["attrs"]["mail"][0].lower())])
        keys = {e["id"] for e in entries}
        left = [a["DirectoryId__c"] for a in accounts if a["DirectoryId__c"] not in keys]
        return expected.compare("salesforce", self.kind, entries, accounts, left=left)[0]

    def licensed(self, dn):
        key = self.directory.entry(dn)["immutable_id"]
        account = next(a for a in self.targets["m365"].dump() if a["onPremisesImmutableId"] == key)
        return [one["skuId"] for one in account.get("assignedLicenses", [])] == [SKU]

    def active(self, ids):
        return sum(a["IsActive"] for a in self.more["crm"].dump() if a["DirectoryId__c"] in ids)

    # ---- the acts ----

    def join(self):
        people = [p["dn"] for p in self.directory.people() if p["enabled"] and p["attrs"].get("mail")]
        self.members = sorted(people)[:MEMBERS]
        self.say(f"\n{MEMBERS} people join the group {GROUP}: Salesforce, Rescue and Incident IQ get accounts, Microsoft 365 a licence for each")
        for dn in self.members:
            self.directory.add_value(self.group, "member", dn)
        rows = []
        for name, service in self.more.items():
            took = self.wait(lambda n=name: self.equal(n) == MEMBERS, f"{MEMBERS} accounts at {name}")
            rows.append({"name": name, "expected": MEMBERS, "equal": self.equal(name), "requests": service.stats()["requests"],
                         "seconds": round(took, 2), "users_per_s": round(MEMBERS / max(took, 0.01), 1)})
        self.wait(lambda: all(self.licensed(dn) for dn in self.members), "the licences")
        return rows

    def licence(self):
        dn = self.members[-1]
        self.directory.disable(dn)
        gone = self.wait(lambda: not self.licensed(dn), "the licence to be taken")
        self.directory.enable(dn)
        back = self.wait(lambda: self.licensed(dn), "the licence to come back")
        self.say(f"  a licence: taken {1000 * gone:.0f} ms after its owner was disabled, given back {1000 * back:.0f} ms after the return")

    def guard(self):
        leavers, self.members = self.members[:LEAVE], self.members[LEAVE:]
        ids = {self.directory.entry(dn)["id"] for dn in leavers}
        for dn in leavers:
            self.directory.remove_value(self.group, "member", dn)

        def held():
            return next(t["queue"]["held"] for t in self.pipeline.status()["targets"] if t["name"] == "crm")
        self.wait(lambda: held() == LEAVE, "the guard to hold")
        standing = self.active(ids)
        self.pipeline.cli("held", "approve", "--all", "--target", "crm", "--yes")
        self.wait(lambda: self.active(ids) == 0, "what was approved")
        self.say(f"  a guard: {LEAVE} people left at once, {standing} of them stood untouched at Salesforce until a person approved (dirpipe held)")

    def plan(self):
        service, file = self.targets["app"], self.pipeline.directory / "plan"
        self.pipeline.cli("pause", "app", "a plan first")
        dn = self.members[0]
        self.directory.replace(dn, title="Planned")
        the_id = self.directory.entry(dn)["id"]
        self.wait(lambda: "Planned" in json.dumps(self.pipeline.cli("user", "show", the_id, "--json")["snapshot"]), "the change to be known")
        service.quiet(True)
        started = time.monotonic()
        shown = self.pipeline.cli("plan", "--target", "app", "--out", file).stdout
        took = time.monotonic() - started
        service.quiet(False)
        writes = service.stats()["quiet_violations"]
        self.say(f"  a plan: {took:.2f} s, {writes} writes (dirpipe plan, while the target is paused):")
        for line in shown.splitlines():
            self.say(f"    {line}")
        done = self.pipeline.cli("apply", file, "--json")
        self.say(f"    applied: {done['done']} done, {done['refused']} refused; then resumed")
        self.pipeline.cli("resume", "app")

    def drift(self):
        service = self.targets["app"]
        the_id = self.directory.entry(self.members[1])["id"]

        def account():
            return next(a for a in service.dump() if a.get("externalId") == the_id)
        service.call("PATCH", f"/Users/{account()['id']}", {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "title", "value": "Edited behind our back"}]})
        done = self.pipeline.cli("reconcile", "run", "--target", "app", "--json")
        self.wait(lambda: account().get("title") != "Edited behind our back", "the repair")
        s = done["summary"]
        self.say(f"  drift: {s['accounts']} accounts compared, {s['divergent']} was edited at the service, and is right again")

    def run(self):
        rows = self.join()
        self.licence()
        self.guard()
        self.plan()
        self.drift()
        self.pipeline.wait_idle()
        for row in rows:
            row["expected"], row["equal"] = len(self.members), self.equal(row["name"])
        return rows
