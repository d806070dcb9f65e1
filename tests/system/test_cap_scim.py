"""Rows of the list of what others get wrong, at SCIM with the whole line: a large group (C10), late references (C13), cleared values (C14),
doubled creations (C15), and whose an account is when two directories feed one service (I9)."""

import signal

import pytest

from pipeline import Pipeline, target_section
from servers import Slapd
from sims import ScimSim
from test_crash_walk_targets import GroupedScim
from test_faults_references import only_in_staff
from world import World

STAFF = {"groups": [{"group": "staff", "remote": "Staff"}]}


def world(folder, users, seed, **options):
    return World(folder, users=users, seed=seed, targets=("app",), services={"app": GroupedScim},
                 sections={"app": {**STAFF, "options": options}})


def members(service):
    return {m["value"] for m in next(g for g in service.groups() if g["displayName"] == "Staff").get("members", [])}


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with world(tmp_path_factory.mktemp("w"), users=30, seed=21) as w:
        w.settle()
        yield w


def account(w, the_id):
    return next(a for a in w.services["app"].dump() if a["externalId"] == the_id)


def one_change_is_one_call(w):
    """Out of the group and into it again; what is counted is every request, not only writes."""
    service, d = w.services["app"], w.directory
    one = only_in_staff(w)
    rid = account(w, one)["id"]
    assert rid in members(service)
    for change in (d.remove_value, d.add_value):
        before, seq = service.stats()["requests"], len(service.ledger())
        change(d.group_dn("staff"), "member", w.people[one]["dn"])
        w.settle()
        calls = service.ledger(since=seq)
        assert [c["kind"] for c in calls] == ["group_update"] and service.stats()["requests"] == before + 1, calls
        assert str(calls[0]["body"]).count(rid) == 1 and len(calls[0]["body"]["Operations"]) == 1
        assert (rid in members(service)) == (change == d.add_value)


def test_CAP_C10_one_change_of_a_group_is_one_call(w):
    one_change_is_one_call(w)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_CAP_C10_one_change_of_a_group_of_50000_is_one_call(tmp_path):
    with World(tmp_path, users=50000, staff=50000, seed=22, targets=("app",), services={"app": GroupedScim},
               sections={"app": {**STAFF, "options": {"exclude_members": "always"}}}) as w:
        w.settle(900)
        assert len(members(w.services["app"])) == 50000
        one_change_is_one_call(w)


def test_CAP_C13_a_manager_who_comes_later_is_linked(w):
    boss_dn = w.directory.person(2000000)[0]
    one = w.create(manager=boss_dn)
    w.settle()
    extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    assert "manager" not in account(w, one).get(extension, {})
    boss = w.directory.entry(w.directory.add_person(2000000))
    w._take(boss)
    w.program.wait(lambda: account(w, one).get(extension, {}).get("manager"), "the manager to be linked", 30)
    assert account(w, one)[extension]["manager"]["value"] == account(w, boss["id"])["id"]
    w.settle()


def test_CAP_C14_a_value_that_is_cleared_is_cleared(w):
    one = w.create(departmentNumber="7")
    w.settle()
    assert account(w, one)["title"] and "department" in str(account(w, one))
    seq = len(w.services["app"].ledger())
    w.directory.replace(w.people[one]["dn"], title=None, departmentNumber=None)
    w.settle()
    assert "title" not in account(w, one) and '"department"' not in str(account(w, one))
    assert [e["kind"] for e in w.services["app"].ledger(since=seq)] == ["update"]


@pytest.mark.parametrize("fault", [{"delay_ms": 400}, {"cut": "after_commit"}, {"status": 504, "late_apply_ms": 200}, {"cut": "mid_answer"}],
                         ids=["slow", "cut", "late", "half"])
def test_CAP_C15_creation_and_change_race_to_one_account(w, fault):
    """The user changes while the creation is on its way, whose answer comes late or never, and the worker is killed meanwhile."""
    service = w.services["app"]
    service.faults([{"match": {"method": "POST", "path_prefix": "/scim/v2/Users"}, "do": fault, "times": 2},
                    {"match": {"method": "POST", "path_prefix": "/scim/v2/Bulk"}, "do": fault, "times": 2}])
    ids = [w.create() for _ in range(2)]
    for _ in range(3):
        for one in ids:
            w.bump(one)
    w.program.restart("worker:app", signal.SIGKILL)
    w.settle(60)
    service.faults([])
    for one in ids:
        assert account(w, one)["title"] == f"v{w.people[one]['version']}"
        assert len([e for e in service.ledger(key=one) if e["kind"] == "create"]) == 1


def test_CAP_I9_an_account_belongs_to_the_source_that_made_it(tmp_path):
    """Two directories with one person each by the same login name: the second is refused the account and changes nothing in it; people of
    its own are its own."""
    with Slapd(tmp_path / "corp", users=0) as corp, Slapd(tmp_path / "school", users=0) as school, ScimSim(tmp_path / "scim") as scim:
        same = corp.add_person(1, title="of corp")
        target = target_section(scim, "openldap", join=[{"remote": "userName", "local": "uid"}])
        attributes = ["uid", "cn", "sn", "givenName", "displayName", "mail", "title", "departmentNumber"]
        sources = {name: d.source(attributes=attributes) for name, d in (("corp", corp), ("school", school))}

        def titles():
            return {a["userName"]: a.get("title") for a in scim.dump()}

        with Pipeline(tmp_path / "p", sources=sources, targets={"app": target}) as p:
            uid = corp.entry(same)["attrs"]["uid"][0]
            p.wait(lambda: titles() == {uid: "of corp"}, "the first")
            twin = school.entry(school.add_person(1, title="of school"))
            own = school.entry(school.add_person(2, title="own"))["attrs"]["uid"][0]
            p.wait(lambda: titles() == {uid: "of corp", own: "own"}, "the school's own")
            p.wait(lambda: [u["reason"] for u in p.cli("parked", "ls", "app", "--json")["users"]] == ["claimed_by_other"], "the twin to be refused")
            school.replace(twin["dn"], title="changed by school")
            corp.replace(same, title="changed by corp")
            p.wait(lambda: titles() == {uid: "changed by corp", own: "own"}, "the owner's change")
            p.wait_idle()
            school.delete(twin["dn"])
            p.wait_idle()
            assert titles()[uid] == "changed by corp" and all(a["active"] for a in scim.dump())
            made_by = {e["key"] for e in scim.ledger() if e["path"].startswith("/scim/v2/Users")}
            assert twin["id"] not in made_by
