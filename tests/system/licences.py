"""A directory, two Microsoft 365 tenants and dirpipe, all under one clock that a test moves by months; what tests of licences share.

`now` gives back at once, `later` by its schedule (03:00 UTC). Clocks are libfaketime's for slapd, Redis and dirpipe, and the simulators'
own; nothing may jump while it runs, so that moving the clock is stopping, moving, starting."""

import contextlib
import datetime
import json
import os
import pathlib
import time

import ldap

import expected
from pipeline import Pipeline, target_section
from servers import SUFFIX, READER, Slapd
from sims import GraphSim

LIBRARY = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
DAY_MS = 24 * 3600 * 1000
E3, F1, SEATS = "6fd2c87f-b296-42f0-b197-1e91e994b900", "4b585984-651b-448a-9e53-3b10f069cf7f", "c7df2760-2c81-4ef7-b578-5b5392b571df"
PLANS = ["57ff2da0-773e-42df-b2af-ffb7a2317929", "882e1d05-acd1-4ccb-8708-6ee03664b117"]
PASSWORD = "Geheim-2026!"


class TimedSlapd(Slapd):
    """With a password policy, and logons told in pwdLastSuccess."""

    day = 0

    def _conf(self):
        return super()._conf().replace("overlay ppolicy", f"lastbind on\noverlay ppolicy\nppolicy_default cn=policy,ou=services,{SUFFIX}")

    def start(self):
        before = {name: os.environ.get(name) for name in clock(0)}
        os.environ.update(clock(self.day))
        try:
            super().start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def log_on(self, dn):
        """Somebody uses the account; the change of another attribute makes it travel."""
        c = ldap.initialize(self.uri)
        c.simple_bind_s(dn, PASSWORD)
        c.unbind_s()
        self.replace(dn, roomNumber=f"{time.monotonic():.6f}")


def why_not():
    """None, or why this machine cannot let time pass."""
    if not LIBRARY:
        return "libfaketime is not installed"
    return "sanitizers and libfaketime do not go together" if os.environ.get("DIRPIPE_PRESET") == "asan" else None


def clock(day):
    """The environment of a program that lives so many days ahead. Redis' own allocator asks for the time before libfaketime is ready: the C
    library's comes first."""
    return {"LD_PRELOAD": f"{LIBRARY} {LIBRARY.parent.parent / 'libc.so.6'}", "FAKETIME": f"+{day}d",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class Tenants:
    """targets: name -> more of its section, over what all have in common."""

    def __init__(self, folder, targets, users=60, group=range(60), program=Pipeline, ahead=True, **common):
        """program: Pipeline or Programs. ahead: the clock can be moved."""
        self.folder, self.day = pathlib.Path(folder), 0
        self.d = TimedSlapd(self.folder / "slapd", users=users)
        self.sims = {name: GraphSim(self.folder / name) for name in targets}
        self.targets, self.common, self.group = targets, common, group
        self.program, self.ahead = program, ahead
        self.stack = contextlib.ExitStack()
        self.pipeline = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.d)
            self.d.add(f"cn=policy,ou=services,{SUFFIX}", {
                "objectClass": ["person", "pwdPolicy"], "cn": "policy", "sn": "policy", "pwdAttribute": "userPassword",
                "pwdMaxAge": str(400 * 86400), "pwdLockout": "TRUE", "pwdLockoutDuration": str(10 * 86400), "pwdMaxFailure": "9"})
            members = [self.d.person(n)[0] for n in self.group]
            self.d.add_group("staff", members)
            self.d.add_group("exempt", [READER])
            self.d.add_group("club", [READER])
            self.d.add_group("odd", [READER])
            for sim in self.sims.values():
                stack.enter_context(sim)
                sim.seed(skus=[{"skuId": E3, "skuPartNumber": "SPE_E3", "seats": 100, "servicePlans": PLANS},
                               {"skuId": F1, "skuPartNumber": "SPE_F1", "seats": 100, "servicePlans": PLANS},
                               {"skuId": SEATS, "skuPartNumber": "ENTERPRISEPREMIUM", "seats": 0}])
            self.pipeline = self.program(self.folder / "dirpipe", {"corp": self.source()},
                                         {name: self.section(name) for name in self.targets},
                                         broker={"lease": "1s", "grace": "200ms", "verify_after": "1s"},
                                         build=os.environ.get("DIRPIPE_HOOKS_BUILD"), env=clock(0) if self.ahead else {})
            stack.enter_context(self.pipeline)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def source(self):
        groups = [{"name": n, "dn": self.d.group_dn(n)} for n in ("staff", "exempt", "club", "odd")]
        routes = [{"target": name, "base": self.d.people_base} for name in self.targets]
        return self.d.source(attributes=[*expected.attributes("openldap"), "manager", "roomNumber"], routes=routes, groups=groups)

    def section(self, name):
        base = {"guard": {"count": 3, "percent": 100, "most": 1000, "settle": "100ms"}, "retry": {"first": "100ms", "cap": "1s"},
                "licences": [{"group": "staff", "sku": "SPE_E3"}]}
        return target_section(self.sims[name], "openldap", **{**base, **self.common, **self.targets[name]})

    # ---- time ----

    def move(self, day):
        """Everything ends, sleeps until that day, and begins again."""
        self.pipeline.stop()
        self.d.stop()
        self.day = self.d.day = day
        self.d.start()
        for sim in self.sims.values():
            sim.clock(day * DAY_MS)
        self.pipeline.env.update(clock(day))
        self.pipeline.start()
        self.idle()

    def now(self):
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=self.day)

    # ---- people ----

    def dn(self, number):
        return self.d.person(number)[0]

    def id(self, number):
        return self.d.id(self.dn(number))

    def key(self, number):
        return self.d.entry(self.dn(number))["immutable_id"]

    def account(self, name, key):
        found = [a for a in self.sims[name].dump() if a.get("onPremisesImmutableId") == key]
        assert len(found) <= 1, found
        return found[0] if found else None

    def licences(self, name, number, key=None):
        """{sku: plans that are off} of the account."""
        account = self.account(name, key or self.key(number))
        return {one["skuId"]: sorted(one["disabledPlans"]) for one in (account or {}).get("assignedLicenses", [])}

    def assign(self, name, number, sku=F1, plans=(), take=False):
        """A person does it by hand."""
        rid = self.account(name, self.key(number))["id"]
        body = {"addLicenses": [] if take else [{"skuId": sku, "disabledPlans": list(plans)}], "removeLicenses": [sku] if take else []}
        answer = self.sims[name].call("POST", f"/users/{rid}/assignLicense", body)
        assert answer.status == 200, answer.body

    def writes(self, name, number, since=0, kind="licence", key=None):
        return [w for w in self.sims[name].ledger(since, key or self.key(number)) if w["kind"] == kind]

    def mark(self, name):
        return self.sims[name].stats()["committed"]

    # ---- dirpipe ----

    def idle(self, seconds=60):
        return self.pipeline.wait_idle(deadline_s=seconds)

    def wait(self, condition, what, seconds=30):
        return self.pipeline.wait(condition, what, seconds)

    def listed(self, name, state=None):
        words = ["licence", "ls", "--target", name, *(["--state", state] if state else []), "--json"]
        return self.pipeline.cli(*words)["licences"]

    def held(self, name):
        """Users whose licences the guard holds."""
        done = self.pipeline.cli("held", "show", "--target", name, "--json", check=False)  # 3: a word is needed
        rows = done["held"] if isinstance(done, dict) else json.loads(done.stdout)["held"]
        return [row["user"] for row in rows if row["op"] == "licence_revoke" and row["phase"] == "held"]

    def taken(self, name, number, user=None):
        """{sku: reasons} as dirpipe tells it."""
        user = user or self.id(number)
        return {row["licence"]: set(row["reasons"]) for row in self.listed(name, "revoked") if row["user"] == user}

    def log_of(self, user, target):
        lines = self.pipeline.cli("log", "5000", "--json")
        lines = lines["lines"] if isinstance(lines, dict) else lines
        return [line for line in lines if line.get("user") == user and line.get("target") == target]
