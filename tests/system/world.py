"""A directory, two target services and dirpipe between them, with a load of changes that carry versions, and a checker that reads nothing
but the directory and the services: what the tests of kills and faults share.

    with World(folder, users=60, seed=7) as w:
        w.settle()                   # everything arrived
        w.load(50)                   # seeded changes; each puts "vN" with a growing N into the person's title
        w.program.kill("broker"); ...
        w.settle()                   # equal again, nothing twice, nothing backwards, nothing destroyed that nobody asked for

`app` (SCIM) takes everybody, `m365` (Graph) and `helpdesk` (Rescue) who is in the watched group `staff`, also by way of `inner`.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import re
import time

import ldap

import expected
from pipeline import Pipeline, merge, target_section
from programs import Programs, control
from proxy import Proxy
from servers import Slapd
from sims import GraphSim, IncidentIqSim, RescueSim, SalesforceSim, ScimSim, build_dir

KIND = "openldap"
VERSION = re.compile(r'"v(\d+)"')
SERVICES = {"app": ScimSim, "m365": GraphSim, "crm": SalesforceSim, "desk": IncidentIqSim, "helpdesk": RescueSim}
GROUPED = ("m365", "helpdesk")  # their scope is the watched group
WIDE = {"guard": {"count": 1000000, "most": 1000000, "settle": "200ms"}}  # whoever leaves here leaves on purpose
QUICK = {"settle": "1s", "retry": {"first": "50ms", "cap": "500ms"}, "http": {"connect_timeout": "2s"}}
RESCUE = {"groups": [{"group": "staff", "remote": "Support"}]}
KINDS = ["update"] * 6 + ["create", "rename", "move", "group", "group", "disable", "enable", "delete"]


def hooks_build():
    return pathlib.Path(os.environ.get("DIRPIPE_HOOKS_BUILD") or build_dir())


def driver_of(target):
    return target.driver


def key_of(target, entry):
    return entry["immutable_id"] if driver_of(target) == "graph" else entry["id"]


def disables(write):
    body = json.dumps(write.get("body") or {}).lower()
    return '"status": "disabled"' in body or '"accountenabled": false' in body or '"isactive": false' in body or '"isfrozen": true' in body or '"active": false' in body or \
        ('"path": "active"' in body and re.search(r'"value": "?false', body) is not None)


def destructive(write):
    return (write["method"] == "DELETE" and "/manager/" not in write["path"]) or write["kind"] == "delete" or disables(write)


class World:
    def __init__(self, folder, users=60, seed=1, program=Programs, targets=("app", "m365"), proxy=False, slapd=None, source=None,
                 target=None, sections=None, services=None, staff=None, groups=True, **more):
        """source, target: laid over the sections of the configuration, sections over single targets'; services: classes other than those of SERVICES. staff: how many are members (default: two of three); program:
        Programs or Pipeline. What else there is goes to it."""
        self.folder = pathlib.Path(folder)
        self.random = random.Random(seed)
        self.directory = Slapd(self.folder / "slapd", users=users, seed=seed, options=slapd)
        classes = {**SERVICES, **(services or {})}
        self.services = {name: classes[name](self.folder / classes[name].driver) for name in targets}
        self.proxy = Proxy(self.directory.port) if proxy else None
        self.section_more = sections or {}
        self.source_more, self.target_more, self.program_class, self.more = source or {}, target or {}, program, more
        self.staff, self.has_groups = staff, groups
        self.stack = contextlib.ExitStack()
        self.people = {}  # id -> {"dn", "version", "enabled"}: who is in the directory
        self.ever = {}  # id -> key at Graph, of everybody who ever was there
        self.may_go = collections.defaultdict(set)  # target -> ids for whom the directory asked for something destructive
        self.number = 1000000
        self.seq = {name: 0 for name in targets}  # how far each ledger was judged
        self.newest = {name: {} for name in targets}  # key -> newest version that the ledger shows
        self.creates = {name: collections.Counter() for name in targets}
        self.nodes = {name: 0 for name in targets}  # those that were made without a name
        self.off = {name: {} for name in targets}
        self.backwards, self.unasked = [], []
        self.late = 0

    # ---- life ----

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.directory)
            for service in self.services.values():
                stack.enter_context(service)
            if self.proxy:
                stack.enter_context(self.proxy)
            if self.has_groups:
                self._make_groups()
            for person in self.directory.people():
                self._take(person)
            routes = [{"target": name, "groups": ["staff"]} if name in GROUPED and self.has_groups else {"target": name}
                      for name in self.services]
            source = self.directory.source(
                attributes=[*expected.attributes(KIND), "manager"], routes=routes,
                uri=f"ldap://127.0.0.1:{self.proxy.port}" if self.proxy else None,
                **({"groups": [{"name": "staff", "dn": self.directory.group_dn("staff")}]} if self.has_groups else {}))
            for service in self.services.values():
                if driver_of(service) == "rescue":
                    service.seed(groups=[{"name": "Support"}])
            sections = {name: target_section(service, KIND, **merge(merge(merge(merge(WIDE, QUICK), RESCUE if driver_of(service) == "rescue" else {}), self.target_more),
                                                                    self.section_more.get(name, {})))
                        for name, service in self.services.items()}
            broker = merge({"lease": "2s", "grace": "300ms", "takeover": "1s", "verify_after": "2s"}, self.more.pop("broker", {}))
            self.program = self.program_class(self.folder / "dirpipe", {"corp": merge(source, self.source_more)}, sections, broker=broker,
                                              build=self.more.pop("build", None) or hooks_build(), **self.more)
            stack.enter_context(self.program)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def _make_groups(self):
        d = self.directory
        dns = sorted(p["dn"] for p in d.people())
        n = self.staff if self.staff is not None else 2 * len(dns) // 3
        d.add_group("inner", dns[:n // 2] or [d.admin])
        d.add_group("staff", [d.group_dn("inner"), *dns[n // 2:n]])

    def _take(self, entry, version=0):
        self.people[entry["id"]] = {"dn": entry["dn"], "version": version, "enabled": entry["enabled"]}
        self.ever[entry["id"]] = entry["immutable_id"]

    # ---- changes ----

    def pick(self):
        return self.random.choice(list(self.people))

    def bump(self, the_id):
        """A new version of a person: "vN" in the title. Returns it as text."""
        p = self.people[the_id]
        p["version"] += 1
        self.directory.replace(p["dn"], title=f"v{p['version']}")
        return f"v{p['version']}"

    def create(self, staff=True, manager=None, **more):
        self.number += 1
        dn = self.directory.add_person(self.number, title="v1", **({"manager": manager} if manager else {}), **more)
        entry = self.directory.entry(dn)
        self._take(entry, 1)
        if staff and self.has_groups:
            self.directory.add_value(self.directory.group_dn("staff"), "member", dn)
        return entry["id"]

    def rename(self, the_id):
        self.number += 1
        self.people[the_id]["dn"] = self.directory.rename(self.people[the_id]["dn"], f"r{self.number}")
        self.bump(the_id)

    def move(self, the_id):
        dn = self.people[the_id]["dn"]
        self.people[the_id]["dn"] = self.directory.move(dn, self.directory.other_unit(dn))
        self.bump(the_id)

    def delete(self, the_id):
        for name in self.services:
            self.may_go[name].add(the_id)
        self.directory.delete(self.people.pop(the_id)["dn"])

    def disable(self, the_id):
        for name in self.services:
            self.may_go[name].add(the_id)
        self.directory.disable(self.people[the_id]["dn"])
        self.bump(the_id)

    def enable(self, the_id):
        self.directory.enable(self.people[the_id]["dn"])
        self.bump(the_id)

    def group(self, the_id):
        """In or out of a group, by turns."""
        group = self.directory.group_dn(self.random.choice(["staff", "inner"]))
        dn = self.people[the_id]["dn"]
        try:
            self.directory.add_value(group, "member", dn)
        except ldap.TYPE_OR_VALUE_EXISTS:
            for name in GROUPED:
                self.may_go[name].add(the_id)
            with contextlib.suppress(ldap.OBJECT_CLASS_VIOLATION):  # the last member stays
                self.directory.remove_value(group, "member", dn)

    def one(self, kind=None):
        kind = kind or self.random.choice(KINDS)
        if kind == "delete" and len(self.people) < 20:
            kind = "create"
        if kind == "group" and not self.has_groups:
            kind = "update"
        if kind == "create":
            self.create(staff=self.random.random() < 0.7, manager=self.people[self.pick()]["dn"])
        elif kind == "update":
            self.bump(self.pick())
        else:
            getattr(self, kind)(self.pick())

    def load(self, n, kinds=None):
        for _ in range(n):
            self.one(self.random.choice(kinds) if kinds else None)

    def reaches(self, the_id, target="app", deadline_s=60):
        """One more version of a person, and the wait until the service has it."""
        title = self.bump(the_id)
        service, key = self.services[target], self.ever[the_id] if driver_of(self.services[target]) == "graph" else the_id
        self.program.wait(lambda: any(f'"{title}"' in json.dumps(w.get("body")) for w in service.ledger(self.seq[target], key)),
                          f"{title} of {the_id} at {target}", deadline_s)

    # ---- the checker ----

    def in_scope(self):
        """target -> entries that the directory wants there."""
        people = self.directory.people()
        result = {name: people for name in self.services}
        for name in GROUPED if self.has_groups else ():
            if name in self.services:
                members = self._members("staff", set())
                result[name] = [p for p in people if p["dn"].lower() in members]
        return result

    def _members(self, group, seen):
        if group in seen:
            return set()
        seen.add(group)
        found = set()
        for dn in self.directory.entry_values(self.directory.group_dn(group), "member"):
            if dn.lower().endswith(self.directory.groups_base.lower()):
                found |= self._members(dn.split(",")[0].split("=")[1], seen)
            else:
                found.add(dn.lower())
        return found

    def judge_ledgers(self):
        """Reads what came to the ledgers: versions that went back, accounts made twice, destruction that nobody asked for."""
        for name, service in self.services.items():
            owners = {(k if driver_of(service) == "graph" else i): i for i, k in self.ever.items()}
            for write in service.ledger(self.seq[name]):
                self.seq[name] = write["seq"]
                if "/groups" in write["path"].lower():
                    continue
                key, body = write["key"], json.dumps(write.get("body"))
                if write["kind"] == "create":
                    self.creates[name][key] += 1
                self.nodes[name] += write["kind"] == "create_node"
                if destructive(write) and self._switches_off(name, write) and owners.get(key) not in self.may_go[name]:
                    self.unasked.append(f"{name}: {owners.get(key)} {write['time']} {write['method']} {write['path']} {body}")
                version = VERSION.search(body)
                if version and write.get("late"):
                    self.late += 1
                elif version:
                    if int(version[1]) < self.newest[name].get(key, 0):
                        self.backwards.append(f"{name}: {key} v{self.newest[name][key]} then v{version[1]} by {write['user_agent']}")
                    self.newest[name][key] = max(int(version[1]), self.newest[name].get(key, 0))

    def _switches_off(self, name, write):
        """A whole account that is written with its switch off, as Rescue's are, was on before."""
        if driver_of(self.services[name]) != "rescue" or "status" not in write["body"]:
            return True
        was = self.off[name].get(write["key"], True)
        self.off[name][write["key"]] = write["body"]["status"] == "Disabled"
        return not was

    def differences(self):
        found = []
        scope = self.in_scope()
        for name, service in self.services.items():
            driver = driver_of(service)
            inside = {e["id"] for e in scope[name]}
            left = [self.ever[i] if driver == "graph" else i for i in self.ever if i not in inside]
            found += [f"{name}: {line}" for line in self._group_differences(name, scope[name])]
            found += [f"{name}: {line}" for line in expected.compare(driver, KIND, scope[name], service.dump(), left=left)[1]]
        return found

    def _group_differences(self, name, entries):
        """Members of the service's groups against those of the directory's, nested too; of who is in scope."""
        service = self.services[name]
        for rule in self.section_more.get(name, {}).get("groups", []):
            key = expected.DRIVERS[driver_of(service)]["key"]
            rids = {a[key]: a["id"] for a in service.dump()}
            group = next(g for g in service.groups() if g["displayName"] == rule["remote"])
            inside = {m["value"] for m in group.get("members", [])}
            wanted = self._members(rule["group"], set())
            for e in entries:
                if (rids.get(e["id"]) in inside) != (e["dn"].lower() in wanted):
                    yield f"{e['dn']}: {'not in' if e['dn'].lower() in wanted else 'still in'} {rule['remote']}"

    def idle(self):
        status = self.program.status()
        if not status or status["state"] != "ready" or not all(s["connected"] for s in status["sources"]):
            return False
        return not any(t["queue"][k] for t in status["targets"] for k in ("ready", "delayed", "in_flight"))

    def check(self):
        """What must hold at any moment."""
        self.judge_ledgers()
        assert not self.backwards, self.backwards[:5]
        assert not self.unasked, self.unasked[:5]
        for name, service in self.services.items():
            stats = service.stats()
            assert stats["duplicates"] == 0, name
            if driver_of(service) == "rescue":
                assert stats["nameless"] == 0, "nodes without a name"
                assert self.nodes[name] == len(self.creates[name]), "nodes made for nobody"
                assert stats["calls"]["deleteNode"] == stats["calls"]["moveNode"] == 0
            twice = [k for k, n in self.creates[name].items() if n > 1]
            assert not twice, f"{name}: created twice: {twice[:5]}"

    def settle(self, deadline_s=90):
        """Waits until the services equal the directory and nothing is left to do, then checks everything. Returns the seconds it took."""
        started = time.monotonic()
        last = []

        def settled():
            if not self.idle():
                return False
            last[:] = self.differences()
            return not last

        try:
            self.program.wait(settled, "the services to equal the directory", deadline_s)
        except TimeoutError as error:
            raise AssertionError(f"{len(self.differences())} differences: {self.differences()[:5]}; {error}") from None
        self.check()
        return time.monotonic() - started


