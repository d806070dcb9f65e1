"""The whole line in one object: a real directory, `dirpipe up`, a SCIM and a Graph service, and whether they are equal.

    with OpenLdap(place, users=60) as d, Spine(d, folder) as s:
        dn = d.add_person(1000)
        s.settle()          # until both targets equal the directory field by field

Directories of all kinds are changed with the same words (LdapServer of servers.py; ActiveDirectory below has them, too).
"""

import base64
import contextlib
import json
import pathlib
import random
import shutil
import tempfile
import time
import uuid

import ldap
import ldap.dn

import expected
import samba
import servers
from pipeline import Pipeline, Secret, merge, target_section
from sims import GraphSim, ScimSim

DOMAIN = "example.com"
DRIVERS = {"app": "scim", "m365": "graph"}


def place_of():
    """A folder that 389-DS, which runs as a user of its own, can reach."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="dp-spine-", dir="/tmp"))
    place.chmod(0o711)
    return place


class LdapWords:
    """What tests say of a directory, beside what LdapServer has."""

    number = "departmentNumber"
    mends_references = True  # a DN in an attribute follows the entry that it names

    def __init__(self, folder, users=0, **more):
        super().__init__(folder, users=users, **more)
        self.outside = f"ou=outside,{self.suffix}"

    def start(self):
        super().start()
        with contextlib.suppress(ldap.ALREADY_EXISTS):
            self.add(self.outside, {"objectClass": "organizationalUnit", "ou": "outside"})

    def add_outside(self, number):
        """A person who stands beside everything that is in scope."""
        dn, attrs = self.person(number)
        return self.add(f"{dn.split(',')[0]},{self.outside}", attrs)

    def group(self, name):
        return self.add_group(name, [servers.READER])

    def add_member(self, group, dn):
        self.add_value(group, "member", dn)

    def drop_member(self, group, dn):
        self.remove_value(group, "member", dn)

    def log_in_as(self, dn, name):
        """Another login name; for these directories that is the RDN."""
        return self.rename(dn, name)

    def members(self, group):
        return [m.decode() for m in self.connection.search_s(group, ldap.SCOPE_BASE, attrlist=["member"])[0][1].get("member", [])]


class OpenLdap(LdapWords, servers.Slapd):
    kind, driver = "openldap", "syncrepl"

    @staticmethod
    def why_not():
        return None if shutil.which("slapd", path="/usr/sbin:/usr/bin") else "slapd is not installed"


class DirectoryServer(LdapWords, servers.Ds389):
    kind, driver = "389ds", "syncrepl"
    mends_references = False


class ActiveDirectory:
    """Samba with the words of LdapServer."""

    kind, driver, controllers = "ad", "ad-dirsync", 1
    number = "department"
    mends_references = True
    suffix = samba.BASE

    @classmethod
    def why_not(cls):
        return samba.why_not(cls.controllers)

    def __init__(self, folder, users=0, seed=1):
        self.domain = samba.Domain(folder, self.controllers)
        self.folder, self.users, self.seed = pathlib.Path(folder), users, seed
        self.unit_names = servers.UNITS
        self.names = servers.LdapServer.person
        self.random = random.Random(seed)

    def __enter__(self):
        self.domain.__enter__()
        self.dc = self.domain.dc
        try:
            self.people_base = self.dc.ou("people")
            self.outside = self.dc.ou("outside")
            self.groups_base = self.dc.ou("groups")
            for name in self.unit_names:
                self.dc.ou("Field", self.dc.ou(name, self.people_base))
            for number in range(self.users):
                more = {"manager": self.dn_of(number % 10)} if number >= 10 else {}
                self.add_person(number, **more)
        except BaseException:
            self.domain.stop()
            raise
        return self

    def __exit__(self, *_):
        self.domain.stop()

    def stop(self, hard=False):
        self.dc.stop()

    def restart(self, hard=False):
        self.dc.stop()
        self.domain.start_dc(self.dc)

    def start(self):
        self.domain.start_dc(self.dc)

    # ---- people ----

    def unit(self, name):
        return f"OU={name},{self.people_base}"

    def place_of(self, number):
        unit = self.unit_names[number % len(self.unit_names)]
        return self.unit(unit) if number % 5 else f"OU=Field,{self.unit(unit)}"

    def dn_of(self, number):
        return f"CN={ldap.dn.escape_dn_chars(self.person(number)['cn'])},{self.place_of(number)}"

    def person(self, number):
        r = random.Random(f"{self.seed}/{number}")
        given, family = r.choice(servers.GIVEN), r.choice(servers.FAMILY)
        login = f"u{number:07d}"
        attrs = {"cn": f"{given} {family} {number}", "sn": family, "givenName": given, "displayName": f"{given} {family}",
                 "mail": f"{login}@{DOMAIN}", "userPrincipalName": f"{login}@{DOMAIN}", "employeeID": f"E{number:07d}",
                 "department": f"D{number % 12}", "title": r.choice(servers.TITLES),
                 "telephoneNumber": f"+49 30 {r.randrange(10**7):07d}", "mobile": f"+49 171 {r.randrange(10**7):07d}"}
        if number % 7 == 3:
            del attrs["title"]
        return attrs

    def add_person(self, number, **more):
        return self._add(number, self.place_of(number), self.person(number) | more)

    def add_outside(self, number):
        return self._add(number, self.outside, self.person(number))

    def _add(self, number, place, attrs):
        return self.dc.create(f"u{number:07d}", place, **attrs | {"cn": ldap.dn.escape_dn_chars(attrs["cn"])})

    def add_unit(self, name, base=None):
        return self.dc.ou(name, base or self.people_base)

    def entry(self, dn):
        return self._entry(dn, self.dc.read(dn))

    def _entry(self, dn, attrs):
        raw = attrs["objectGUID"][0]
        values = {n: [v.decode(errors="replace") for v in vs] for n, vs in attrs.items() if n != "objectGUID"}
        return {"id": str(uuid.UUID(bytes_le=raw)), "immutable_id": base64.b64encode(raw).decode(), "dn": dn,
                "enabled": not int(values["userAccountControl"][0]) & 2, "attrs": values}

    def id(self, dn):
        return self.dc.guid(dn)

    def people(self):
        found = self.dc.search(filt="(&(objectCategory=person)(objectClass=user)(employeeID=*))")
        return [self._entry(dn, attrs) for dn, attrs in found]

    def sample(self, n):
        return self.random.sample([p["dn"] for p in self.people()], n)

    # ---- changing ----

    def replace(self, dn, **attrs):
        self.dc.modify(dn, **attrs)

    def rename(self, dn, name):
        return self.dc.rename(dn, f"{dn.split('=', 1)[0]}={ldap.dn.escape_dn_chars(name)}")

    def log_in_as(self, dn, name):
        self.dc.modify(dn, sAMAccountName=name, userPrincipalName=f"{name}@{DOMAIN}")
        return dn

    def move(self, dn, unit):
        return self.dc.move(dn, unit)

    def other_unit(self, dn):
        return next(self.unit(n) for n in self.unit_names if f",{self.unit(n)}".lower() not in dn.lower())

    def disable(self, dn):
        self.dc.disable(dn)

    def enable(self, dn):
        self.dc.enable(dn)

    def delete(self, dn):
        self.dc.delete(dn)

    def group(self, name):
        return self.dc.group(name, self.groups_base)

    def add_member(self, group, dn):
        self.dc.add_member(group, dn)

    def drop_member(self, group, dn):
        self.dc.drop_member(group, dn)

    def members(self, group):
        return [m.decode() for m in self.dc.read(group, ["member"]).get("member", [])]

    # ---- dirpipe's side ----

    def source(self, attributes=None, routes=None, account="svc", **more):
        password = self.folder / "reader-password"
        password.write_text(samba.PASSWORD)
        password.chmod(0o600)
        return {"driver": "ad-dirsync", "uris": self.domain.uris, "base_dn": samba.BASE, "usn_interval": "50ms",
                "bind": {"method": "simple", "dn": f"{account}@{samba.DNS}", "password": Secret(password)},
                "tls": {"ca_file": self.domain.ca_file}, "users": {"attributes": attributes}, "routes": routes, **more}


class TwoControllers(ActiveDirectory):
    controllers = 2


MANY = {"count": 1000, "percent": 100, "most": 1000, "settle": "200ms"}  # a guard that holds nothing


class Spine:
    """connect: where collectors and workers look for the broker, if that is not its own endpoint alone. guard: of the targets. groups: names of
    watched groups; who is in one of them is in scope wherever they stand. targets: more of each target's section. more: of the
    source's section."""

    def __init__(self, directory, folder, driver=None, guard=MANY, groups=(), targets=None, broker=None, connect=None, log_level="info",
                 **more):
        self.d, self.folder = directory, pathlib.Path(folder)
        self.scim = ScimSim(self.folder / "scim")
        self.graph = GraphSim(self.folder / "graph")
        self.services = {"app": self.scim, "m365": self.graph}
        self.groups = {name: directory.group(name) for name in groups}
        self.driver, self.guard, self.more = driver or directory.driver, guard, more
        self.target_options, self.broker, self.connect, self.log_level = targets or {}, broker or {}, connect, log_level
        self.log_in = {}  # target -> function of its service that gives login_url and auth
        self.known = {}  # everybody who ever was in scope
        self.pipeline = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for service in self.services.values():
                stack.enter_context(service)
            self.pipeline = Pipeline(self.folder / "dirpipe", {"corp": self.source()}, self.targets(), broker=self.broker,
                                     log_level=self.log_level)
            if self.connect:
                self.pipeline.conf["connect"]["endpoints"] = self.connect
                self.pipeline.write()
            stack.enter_context(self.pipeline)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def source(self):
        routes = [{"target": t, "base": self.d.people_base} for t in self.services]
        if self.groups:
            routes += [{"target": t, "groups": list(self.groups)} for t in self.services]
        if self.driver == "poll":
            self.more = {"poll_interval": "100ms", "sweep_interval": "1s", **self.more}
        return merge(self.d.source(attributes=[*expected.attributes(self.d.kind), "manager"], routes=routes), {
            "driver": self.driver, "groups": [{"name": n, "dn": dn} for n, dn in self.groups.items()], **self.more})

    def targets(self):
        sections = {name: target_section(service, self.d.kind, guard=self.guard, retry={"first": "100ms", "cap": "1s"},
                                         **self.target_options.get(name, {}))
                    for name, service in self.services.items()}
        return {name: section | self.log_in[name](self.services[name]) if name in self.log_in else section
                for name, section in sections.items()}

    # ---- who should be there ----

    def _member(self, group, found):
        for dn in self.d.members(group):
            if dn.lower() in found:
                continue
            found.add(dn.lower())
            with contextlib.suppress(ldap.LDAPError):
                self._member(dn, found)

    def in_scope(self):
        """The entries of everybody who is to have an account."""
        members = set()
        for group in self.groups.values():
            self._member(group, members)
        base = "," + self.d.people_base.lower()
        return [p for p in self.d.people() if p["dn"].lower().endswith(base) or p["dn"].lower() in members]

    # ---- equal? ----

    def key(self, target, entry):
        return entry["id"] if DRIVERS[target] == "scim" else entry["immutable_id"]

    def account(self, target, entry):
        """The one account of this person at the target, or None."""
        name = expected.DRIVERS[DRIVERS[target]]["key"]
        found = [a for a in self.services[target].dump() if a.get(name) == self.key(target, entry)]
        assert len(found) <= 1, found
        return found[0] if found else None

    def accounts(self, entry):
        return {target: self.account(target, entry) for target in self.services}

    def rids(self, entry):
        return {target: a["id"] for target, a in self.accounts(entry).items()}

    def enabled(self, entry):
        """{target: is the account switched on}"""
        return {t: a and a[expected.DRIVERS[DRIVERS[t]]["enabled"]] for t, a in self.accounts(entry).items()}

    def differences(self, target, people):
        driver = DRIVERS[target]
        accounts = self.services[target].dump()
        here = {p["id"] for p in people}
        left = [e for i, e in self.known.items() if i not in here]
        _, lines = expected.compare(driver, self.d.kind, people, accounts, left=[self.key(target, e) for e in left])
        by_key = {a.get(expected.DRIVERS[driver]["key"]): a for a in accounts}
        lines += [f"{e['dn']}: left and has no account any more" for e in left if self.key(target, e) not in by_key]
        by_dn = {p["dn"].lower(): p for p in people}
        for p in people:
            account = by_key.get(self.key(target, p)) or {}
            has = (account.get(expected.ENTERPRISE) or {}).get("manager", {}).get("value") if driver == "scim" else account.get("manager")
            boss = by_dn.get((p["attrs"].get("manager") or [""])[0].lower())
            want = by_key.get(self.key(target, boss), {}).get("id") if boss else None
            if has != want:
                lines.append(f"{p['dn']}: manager {has} instead of {want}")
        return lines

    def settle(self, seconds=30):
        """Waits until both targets equal the directory; everybody in scope."""
        deadline = time.monotonic() + seconds
        while True:
            people = self.in_scope()
            wrong = {t: lines for t in self.services if (lines := self.differences(t, people))}
            if not wrong:
                self.known |= {p["id"]: p for p in people}
                return people
            if time.monotonic() > deadline:
                text = "\n".join(f"{t}: {line}" for t, lines in wrong.items() for line in lines[:8])
                raise TimeoutError(f"not equal after {seconds} s:\n{text}\n{json.dumps(self.status())}\n{self.pipeline.tail(12)}")
            time.sleep(0.03)

    # ---- what was done ----

    def mark(self):
        """Where both ledgers stand."""
        return {target: service.stats()["committed"] for target, service in self.services.items()}

    def writes(self, mark):
        return {t: service.ledger(since=mark[t]) for t, service in self.services.items()}

    def kinds(self, mark):
        """The kinds of writes since mark, each once, over both targets."""
        return {w["kind"] for ws in self.writes(mark).values() for w in ws}

    def switched(self, mark):
        """Writes since mark that switch an account off or on."""
        return [w for ws in self.writes(mark).values() for w in ws if w["kind"] != "create" and switches(w)]

    def status(self):
        return self.pipeline.status()

    def queue(self, target):
        status = self.status()
        return next(t["queue"] for t in status["targets"] if t["name"] == target) if status and status["targets"] else None

    def user(self, user_id):
        return self.pipeline.cli("user", "show", user_id, "--json")


def switches(write):
    text = json.dumps(write.get("body") or {})
    return '"accountEnabled"' in text or '"active"' in text
