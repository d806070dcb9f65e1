"""The whole line against every real directory: each kind of change made there arrives at both services, field by field, at the same account.
The bodies are the same for all; each class at the end is one directory with one way of following it, on a server of its own."""

import json
import os
import random
import shutil
import signal
import time

import pytest

from pipeline import Secret
from spine import ActiveDirectory, DirectoryServer, OpenLdap, Spine, place_of, switches

USERS = 60


@pytest.fixture(scope="class")
def s(request, tmp_path_factory):
    cls = request.cls
    why = cls.directory.why_not()
    if why:
        pytest.skip(why)
    place = place_of()
    request.addfinalizer(lambda: shutil.rmtree(place, ignore_errors=True))
    with cls.directory(place / "directory", users=USERS) as d:
        targets = {"app": {"mapping": cls.scim_mapping}, "m365": {"mapping": cls.graph_mapping}}
        groups = ["staff", "inner"] if cls.groups else []
        spine = Spine(d, tmp_path_factory.mktemp("spine"), driver=cls.driver, groups=groups, targets=targets)
        cls.prepare(spine)
        with spine as s:
            s.settle(60)
            yield s
            assert "delete" not in s.kinds({"app": 0, "m365": 0}), "nothing is ever deleted where the policy is to disable"
            assert not [line for line in s.pipeline.log() if "AddressSanitizer" in line["msg"] or "runtime error" in line["msg"]]


def person(s, number, **more):
    """A new one who has arrived: dn, entry."""
    dn = s.d.add_person(number, **more)
    s.settle()
    return dn, s.d.entry(dn)


def logs_in_as(s, entry, name):
    """Is that what dirpipe knows?"""
    values = [v for vs in s.user(entry["id"])["snapshot"]["attrs"].values() for v in vs]
    return any(v.split("@")[0] == name for v in values)


def only_updates(s, mark):
    """No account was made or taken away."""
    return not s.kinds(mark) & {"create", "delete", "restore"}


class Basics:
    """What every way of following every directory must do."""

    driver = None
    groups = False
    scim_mapping, graph_mapping = {}, {}

    @staticmethod
    def prepare(spine):
        """Last changes before dirpipe starts."""

    def test_initial_load(self, s):
        assert len(s.settle()) == USERS
        for service in s.services.values():
            stats = service.stats()
            assert (stats["creates"], stats["deletes"], stats["duplicates"]) == (USERS, 0, 0)

    def test_create(self, s):
        mark = s.mark()
        dn, entry = person(s, 1000, displayName="Käthe O'Neil 山田 😀", title="Prüferin")
        assert s.enabled(entry) == {"app": True, "m365": True}
        assert s.account("m365", entry)["displayName"] == s.account("app", entry)["displayName"] == "Käthe O'Neil 山田 😀"
        assert [w["kind"] for ws in s.writes(mark).values() for w in ws] == ["create", "create"]

    def test_modify_and_clear(self, s):
        dn, entry = person(s, 1001, title="Dr")
        mark, rids = s.mark(), s.rids(entry)
        s.d.replace(dn, title="Chef d'équipe", mobile="+49 171 1", telephoneNumber=["+49 30 1"])
        s.settle()
        assert s.account("m365", entry)["mobilePhone"] == "+49 171 1"
        s.d.replace(dn, title=None, mobile=None, telephoneNumber=None, **{s.d.number: None})
        s.settle()
        account = s.account("m365", entry)
        assert not account.get("jobTitle") and not account.get("mobilePhone") and not account.get("department")
        assert only_updates(s, mark), s.writes(mark)
        assert s.rids(entry) == rids

    def test_rename(self, s):
        dn, entry = person(s, 1002)
        mark, rids = s.mark(), s.rids(entry)
        dn = s.d.rename(dn, "renamed1002")
        dn = s.d.log_in_as(dn, "login1002")
        s.settle()
        assert s.account("app", entry)["userName"] == "login1002"
        assert only_updates(s, mark), s.writes(mark)
        assert s.rids(entry) == rids

    def test_move(self, s):
        dn, entry = person(s, 1003)
        mark, rids = s.mark(), s.rids(entry)
        s.d.move(dn, s.d.other_unit(dn))
        s.settle()
        assert s.account("m365", entry)["officeLocation"] != [v for v in dn.split(",") if v.lower().startswith("ou=")][0][3:]
        assert only_updates(s, mark), s.writes(mark)
        assert s.rids(entry) == rids

    def test_rename_of_a_unit_reaches_the_people_below(self, s):
        top = s.d.add_unit("Before")
        low = s.d.add_unit("Low", top)
        dns = [s.d.move(s.d.add_person(1010 + i), top if i % 2 else low) for i in range(6)]
        s.settle()
        ids = {s.d.id(dn) for dn in dns}
        mark = s.mark()
        s.d.rename(top, "Après")
        people = [p for p in s.settle() if p["id"] in ids]
        assert len(people) == 6 and all("après" in p["dn"].lower() for p in people)
        assert {s.account("app", p)["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]["division"] for p in people} == \
            {"Après", "Low"}
        assert only_updates(s, mark)
        # Those further down are published again, but nothing that the services hold has changed: no request for them.
        assert all(len(ws) == 3 for ws in s.writes(mark).values())

    def test_disable_and_enable(self, s):
        dn, entry = person(s, 1004)
        mark, rids = s.mark(), s.rids(entry)
        s.d.disable(dn)
        s.settle()
        assert s.enabled(entry) == {"app": False, "m365": False}
        s.d.enable(dn)
        s.settle()
        assert s.enabled(entry) == {"app": True, "m365": True}
        assert only_updates(s, mark), s.writes(mark)
        assert s.rids(entry) == rids

    def test_delete(self, s):
        dn, entry = person(s, 1005)
        mark, rids = s.mark(), s.rids(entry)
        s.d.delete(dn)
        s.settle()
        assert s.enabled(entry) == {"app": False, "m365": False}
        assert only_updates(s, mark), s.writes(mark)
        assert s.rids(entry) == rids

    def test_out_of_scope_and_back(self, s):
        dn, entry = person(s, 1006)
        home = s.d.other_unit(dn)
        mark, rids = s.mark(), s.rids(entry)
        dn = s.d.move(dn, s.d.outside)
        s.settle()
        assert s.enabled(entry) == {"app": False, "m365": False}
        s.d.move(dn, home)
        s.settle()
        assert s.enabled(entry) == {"app": True, "m365": True}
        assert only_updates(s, mark), s.writes(mark)
        assert s.rids(entry) == rids


    def test_CAP_C1_leaving_reaches_each_target_by_the_stored_link_alone(self, s):
        """Deleted, disabled, moved out of scope: one write at each service, straight to the account, and no look-up."""
        dns = [s.d.add_person(number) for number in (1080, 1081, 1082)]
        s.settle()
        people = [s.d.entry(dn) for dn in dns]
        mark, before = s.mark(), {t: len(service.requests()) for t, service in s.services.items()}
        s.d.delete(dns[0])
        s.d.disable(dns[1])
        s.d.move(dns[2], s.d.outside)
        s.settle()
        assert all(s.enabled(p) == {"app": False, "m365": False} for p in people)
        for target, service in s.services.items():
            switched = [w["key"] for w in s.writes(mark)[target] if switches(w)]
            assert sorted(switched) == sorted(s.key(target, p) for p in people), "one event each"
            asked = [r for r in service.requests()[before[target]:] if "filter" in json.dumps(r).lower()]
            assert not asked, "by the link that is stored, never by a search"


class Changes(Basics):
    """What the way that is meant for a directory must do besides."""

    groups = True

    def test_manager_who_comes_later(self, s):
        boss = s.d.add_outside(1020)
        dn, entry = person(s, 1021, manager=boss)
        assert not s.account("m365", entry).get("manager")
        boss = s.d.move(boss, s.d.other_unit(boss))
        if not s.d.mends_references:
            s.d.replace(dn, manager=boss)
        s.settle()
        there = s.d.entry(boss)
        assert s.account("m365", entry)["manager"] == s.account("m365", there)["id"]
        mark = s.mark()
        s.d.replace(dn, manager=None)
        s.settle()
        assert "create" not in s.kinds(mark) and not s.account("m365", entry).get("manager")

    def test_groups_decide_nested_ones_too(self, s):
        staff, inner = s.groups["staff"], s.groups["inner"]
        dn = s.d.add_outside(1030)
        team = s.d.group("team")
        other = s.d.add_outside(1031)
        s.settle()
        entry, second = s.d.entry(dn), s.d.entry(other)
        assert s.accounts(entry) == {"app": None, "m365": None}
        s.d.add_member(staff, dn)
        s.settle()
        rids = s.rids(entry)
        s.d.drop_member(staff, dn)
        s.settle()
        assert s.enabled(entry) == {"app": False, "m365": False}
        s.d.add_member(team, dn)  # a group that nobody watches, until it is in one that is watched
        s.d.add_member(team, other)
        s.d.add_member(inner, team)
        s.settle()
        assert s.enabled(entry) == s.enabled(second) == {"app": True, "m365": True} and s.rids(entry) == rids
        s.d.add_member(staff, inner)
        s.d.drop_member(inner, team)
        s.settle()
        assert s.enabled(entry) == s.enabled(second) == {"app": False, "m365": False}
        s.d.add_member(inner, team)
        s.settle()
        s.d.delete(team)
        s.settle()
        assert s.enabled(entry) == {"app": False, "m365": False} and s.rids(entry) == rids

    def test_a_name_is_handed_on(self, s):
        dn, entry = person(s, 1040)
        other, second = person(s, 1041)
        mark = s.mark()
        s.d.log_in_as(dn, "former1040")
        s.d.log_in_as(other, "u0001040")  # while the first may still have it at the service
        s.settle()
        assert s.account("app", second)["userName"] == "u0001040"
        assert only_updates(s, mark)

    def test_names_that_are_exchanged_at_once(self, s):
        """Each has the name that the other shall get: no order of writes helps, so one of them takes a free name for the time being."""
        dn, entry = person(s, 1045)
        other, second = person(s, 1046)
        third_dn, third = person(s, 1047)
        mark, rids = s.mark(), [s.rids(e) for e in (entry, second, third)]
        for target in s.services:
            s.pipeline.cli("pause", target)  # so that the services see the end of it alone
        dn = s.d.log_in_as(dn, "between1045")  # 1045 <- 1046 <- 1047 <- 1045
        other = s.d.log_in_as(other, "u0001045")
        third_dn = s.d.log_in_as(third_dn, "u0001046")
        dn = s.d.log_in_as(dn, "u0001047")
        names = {entry["id"]: "u0001047", second["id"]: "u0001045", third["id"]: "u0001046"}
        s.pipeline.wait(lambda: all(logs_in_as(s, e, names[e["id"]]) for e in (entry, second, third)), "the end of it to be published")
        for target in s.services:
            s.pipeline.cli("resume", target)
        s.settle()
        assert {e["id"]: s.account("app", e)["userName"] for e in (entry, second, third)} == names
        assert s.pipeline.wait(lambda: s.queue("app")["parked"] == s.queue("m365")["parked"] == 0, "nobody to wait")
        assert only_updates(s, mark) and not s.switched(mark) and [s.rids(e) for e in (entry, second, third)] == rids
        yielded = [w for w in s.writes(mark)["app"] if "-" in json.dumps(w["body"]).partition("userName")[2][:40]]
        assert len(yielded) == 1, "one of the three steps aside, once"
        assert s.pipeline.cli("held", "show", "--json")["held"] == []

    def test_CAP_V7_created_anew_under_the_same_name(self, s):
        """A new user, although the name is the same: the account of who left keeps all but the name."""
        dn, entry = person(s, 1050)
        s.d.delete(dn)
        s.settle()
        before = s.accounts(entry)
        s.d.add_person(1050)
        fresh = s.d.entry(dn)
        assert fresh["id"] != entry["id"]
        s.settle()
        assert s.enabled(fresh) == {"app": True, "m365": True} and s.enabled(entry) == {"app": False, "m365": False}
        assert s.account("app", fresh)["userName"] == before["app"]["userName"]
        assert s.account("m365", fresh)["userPrincipalName"] == before["m365"]["userPrincipalName"]
        after = s.accounts(entry)
        for target, name in (("app", "userName"), ("m365", "userPrincipalName")):
            assert after[target]["id"] == before[target]["id"] != s.account(target, fresh)["id"]
            local, _, domain = after[target][name].partition("@")
            assert local.startswith(before[target][name].partition("@")[0] + "-") and domain == before[target][name].partition("@")[2]
        assert s.queue("app")["parked"] == s.queue("m365")["parked"] == 0

    def test_renames_and_moves_in_any_order(self, s):
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        r = random.Random(seed)
        units = [s.d.add_unit(f"Any{i}") for i in range(3)]
        people = {s.d.id(dn): dn for dn in (s.d.move(s.d.add_person(1100 + i), units[i % 3]) for i in range(9))}
        s.settle()
        mark, rids = s.mark(), {p["id"]: s.rids(p) for p in s.d.people() if p["id"] in people}
        for step in range(60):
            i = r.choice(list(people))
            what = r.choice(["rename", "login", "move", "unit", "title", "wait"])
            if what == "rename":
                people[i] = s.d.rename(people[i], f"any{step}")
            elif what == "login":
                people[i] = s.d.log_in_as(people[i], f"any{step}")
            elif what == "move":
                unit = r.choice(units)
                if people[i].split(",", 1)[1].lower() != unit.lower():
                    people[i] = s.d.move(people[i], unit)
            elif what == "unit":
                old = r.randrange(3)
                before, units[old] = units[old], s.d.rename(units[old], f"Any{step}x")
                people = {k: dn[:-len(before)] + units[old] if dn.lower().endswith("," + before.lower()) else dn
                          for k, dn in people.items()}
            elif what == "title":
                s.d.replace(people[i], title=f"T{step}")
            else:
                s.settle()
        s.settle()
        assert only_updates(s, mark) and not s.switched(mark), f"seed {seed}"
        assert {p["id"]: s.rids(p) for p in s.d.people() if p["id"] in rids} == rids
        for service in s.services.values():
            assert service.stats()["duplicates"] == 0

    def test_the_server_is_away_for_a_while(self, s):
        dn, entry = person(s, 1060)
        mark = s.mark()
        s.d.stop()
        told = time.monotonic()
        s.pipeline.wait(lambda: not s.status()["sources"][0]["connected"], "status to tell that the directory is away", 10)
        assert time.monotonic() - told < 4
        s.d.start()
        s.d.replace(dn, title="While it was away")
        s.settle(60)
        assert s.pipeline.wait(lambda: s.status()["sources"][0]["connected"], "the source to be connected again")
        assert [w["kind"] for ws in s.writes(mark).values() for w in ws] == ["update", "update"], "one change, one write each"


class TestOpenLdap(Changes):
    directory = OpenLdap


class Test389Ds(Changes):
    directory = DirectoryServer


class TestActiveDirectory(Changes):
    directory = ActiveDirectory
    scim_mapping = {"userType": {"jq": 'if (.account.locked_until // 0) > 0 then "locked" else "free" end'}}
    graph_mapping = {"employeeType": scim_mapping["userType"]}

    def test_lockout(self, s):
        dn = s.d.add_person(1070)
        s.d.dc.set_password(dn, "Locked.1")
        s.settle()
        entry = s.d.entry(dn)
        assert (s.account("app", entry)["userType"], s.account("m365", entry)["employeeType"]) == ("free", "free")
        s.d.dc.lockout("u0001070")
        s.pipeline.wait(lambda: (s.account("app", entry)["userType"], s.account("m365", entry)["employeeType"]) == ("locked", "locked"),
                        "the lockout at both services")
        s.d.dc.unlock(dn)
        s.pipeline.wait(lambda: (s.account("app", entry)["userType"], s.account("m365", entry)["employeeType"]) == ("free", "free"),
                        "its end at both services")

    def test_undelete(self, s):
        dn, entry = person(s, 1071)
        rids, mark = s.rids(entry), s.mark()
        s.d.delete(dn)
        s.settle()
        assert s.enabled(entry) == {"app": False, "m365": False}
        s.d.dc.undelete(entry["id"], dn)  # no recycle bin: most attributes are gone and are given anew
        attrs = {n: v for n, v in s.d.person(1071).items() if n != "cn"}
        s.d.replace(dn, userAccountControl="544", **attrs)
        s.settle()
        assert s.enabled(entry) == {"app": True, "m365": True} and s.rids(entry) == rids
        assert only_updates(s, mark)


class TestOpenLdapPolled(Basics):
    """With the other ways to log in: a certificate at Microsoft, client credentials at the SCIM service."""

    directory, driver = OpenLdap, "poll"

    @staticmethod
    def prepare(spine):
        spine.log_in = {
            "app": lambda s: {"login_url": s.token_url, "auth": {
                "method": "client_secret", "client_id": s.client_id, "client_secret": Secret(s.client_secret_file), "scope": "scim"}},
            "m365": lambda s: {"auth": {"method": "certificate", "client_id": s.client_id, "certificate": s.client_cert,
                                        "private_key": Secret(s.client_key)}}}

    def test_logged_in_otherwise(self, s):
        conf = s.pipeline.conf["targets"]
        assert "token" not in conf["app"]["auth"] and "client_secret" not in conf["m365"]["auth"]
        assert [r for r in s.scim.requests() if r["path"] == "/oauth/token" and r["status"] == 200]
        assert s.pipeline.cli("check").returncode == 0


class Test389DsPolled(Basics):
    directory, driver = DirectoryServer, "poll"


class TestActiveDirectoryPolled(Basics):
    directory, driver = ActiveDirectory, "poll"
