"""Workers that die in the middle of taking and giving back, and answers that are lost after each kind of POST: afterwards everybody has
exactly the licences, memberships and accounts that the directory and the policy ask for (GOALS F2, CAP C15, CAP C12)."""

import signal

import pytest

from licences import E3, F1, PLANS, Tenants
from programs import Programs
from spine import OpenLdap

NAME = "now"
WORKER = f"worker:{NAME}"
HELD = {E3: [], F1: PLANS[:1]}


@pytest.fixture(scope="module")
def t(tmp_path_factory):
    if OpenLdap.why_not():
        pytest.skip(OpenLdap.why_not())
    with Tenants(tmp_path_factory.mktemp("crash"), {NAME: {"licence_policy": {"revoke_when": ["disabled"], "cap_per_run": 100}}}, users=40,
                 group=range(40), program=Programs, ahead=False, groups=[{"group": "club", "remote": "Club"}], settle="1s") as t:
        t.sims[NAME].seed(groups=[{"displayName": "Club"}])
        t.wait(lambda: len(t.sims[NAME].dump()) == 40, "all accounts")
        t.idle()
        yield t


def die(t, point, change, seen):
    """The worker dies at the point while the change is made, and lives again."""
    t.pipeline.restart(WORKER, signal.SIGTERM, crash_at=point)
    change()
    t.wait(lambda: t.pipeline.died(WORKER) is not None or seen(), f"{point} to be passed")
    died = t.pipeline.died(WORKER)
    t.pipeline.restart(WORKER) if died is None else t.pipeline.start_program(WORKER, wait=False)
    t.wait(seen, f"what {point} cut short to be done")
    t.idle()
    return died is not None


def revoke_and_reinstate(t, number, points):
    t.assign(NAME, number, F1, PLANS[:1])
    fell = [die(t, points[0], lambda: t.d.disable(t.dn(number)), lambda: t.licences(NAME, number) == {})]
    assert set(t.taken(NAME, number)) == {E3, F1}
    fell.append(die(t, points[1], lambda: t.d.enable(t.dn(number)), lambda: t.licences(NAME, number) == HELD))
    assert t.licences(NAME, number) == HELD and t.taken(NAME, number) == {}
    assert any(fell), f"nobody died at {points}"


CASES = [("worker.noted_partial:2", "worker.before_request:3"), ("worker.after_response:4", "worker.after_response:3"),
         ("worker.before_result:2", "worker.before_result:1"), ("worker.noted_partial:3", "worker.before_result:2"),
         ("worker.before_request:4", "worker.after_response:2"), ("worker.after_response:3", "worker.before_request:2"),
         ("worker.after_response:5", "worker.task_received:1"), ("worker.noted_partial:1", "worker.after_response:1")]


@pytest.mark.parametrize("case", [pytest.param(n, marks=[pytest.mark.long] if n > 2 else []) for n in range(len(CASES))])
def test_GOALS_F2_killed_while_licences_are_taken_and_given_back(t, case):
    revoke_and_reinstate(t, case, CASES[case])


def cut(t, path, change, seen, contains=None):
    """The first POST below the path is carried out, and its answer lost."""
    sim = t.sims[NAME]
    match = {"method": "POST", "path_prefix": "/v1.0" + path, "nth": 1}
    sim.faults([{"match": {**match, **({"contains": contains} if contains else {})}, "do": {"cut": "after_commit"}, "times": 1}])
    change()
    t.wait(lambda: sim.fault_counts()[0]["fired"] == 1, f"POST {path} to be cut")
    t.wait(seen, f"what POST {path} did to be known")
    t.idle()
    sim.faults([])
    assert sim.stats()["duplicates"] == 0


def test_GOALS_F2_cut_after_each_kind_of_POST(t):
    sim, number = t.sims[NAME], 20
    rid = t.account(NAME, t.key(number))["id"]

    def members():
        return [m for g in sim.groups() for m in g["members"]].count(rid)

    def new():
        return [a for a in sim.dump() if a["userPrincipalName"] == "u0000090@example.com"]
    t.assign(NAME, number, F1, PLANS[:1])
    cut(t, "/groups/", lambda: t.d.add_value(t.d.group_dn("club"), "member", t.dn(number)), lambda: members() == 1)
    cut(t, f"/users/{rid}/assignLicense", lambda: t.d.disable(t.dn(number)), lambda: t.licences(NAME, number) == {})
    assert set(t.taken(NAME, number)) == {E3, F1}
    cut(t, f"/users/{rid}/assignLicense", lambda: t.d.enable(t.dn(number)), lambda: t.licences(NAME, number) == HELD)
    assert t.taken(NAME, number) == {} and members() == 1
    since = t.mark(NAME)
    cut(t, f"/users/{rid}/revokeSignInSessions", lambda: t.d.disable(t.dn(number)), lambda: t.writes(NAME, number, since, "revoke"))
    t.wait(lambda: t.licences(NAME, number) == {}, "the licences to be taken")
    t.d.enable(t.dn(number))
    t.wait(lambda: t.licences(NAME, number) == HELD, "the licences to come back")
    t.idle()
    cut(t, "/users", lambda: t.d.add_person(90), lambda: len(new()) == 1)
    other = t.account(NAME, t.key(21))["id"]
    assert sim.call("DELETE", f"/users/{other}").status == 204
    cut(t, f"/directory/deletedItems/{other}/restore", lambda: t.pipeline.cli("sync", "run", NAME, "--user", t.id(21)),
        lambda: (t.account(NAME, t.key(21)) or {}).get("id") == other)
    assert len(new()) == 1 and len(sim.dump()) == 41
