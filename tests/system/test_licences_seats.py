"""Seats that run out, groups and references that come late, and a person's word for licences: CAP C12, C13, SFR V5."""

import pytest

from licences import E3, F1, PLANS, SEATS, Tenants, why_not
from spine import OpenLdap

POLICY = {"revoke_when": ["disabled"], "cap_per_run": 100}
DYNAMIC, SYNCED, BRINGS = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))
COMMON = {"licences": [{"group": "staff", "sku": E3}, {"group": "club", "sku": "ENTERPRISEPREMIUM", "disabled_plans": []}],
          "groups": [{"group": "club", "remote": "Club"}, {"group": "exempt", "remote": DYNAMIC}, {"group": "odd", "remote": SYNCED}]}


@pytest.fixture(scope="module")
def t(tmp_path_factory):
    if OpenLdap.why_not() or why_not():
        pytest.skip(OpenLdap.why_not() or why_not())
    with Tenants(tmp_path_factory.mktemp("seats"), {"now": {"licence_policy": POLICY}, "later": {
            "licence_policy": {**POLICY, "reinstate": "schedule"}}}, users=40, group=range(40), **COMMON) as t:
        for sim in t.sims.values():
            sim.seed(groups=[{"displayName": "All", "id": DYNAMIC, "dynamic": True}, {"displayName": "From AD", "id": SYNCED,
                     "onPremisesSyncEnabled": True}, {"displayName": "Brings", "id": BRINGS, "licences": [F1]}, {"displayName": "Club"}])
        t.wait(lambda: all(len(s.dump()) == 40 for s in t.sims.values()), "all accounts")
        t.idle()
        yield t


def join(t, group, number):
    t.d.add_value(t.d.group_dn(group), "member", t.dn(number))


def waiting(t, name, sku=SEATS):
    return [row["user"] for row in t.listed(name, "waiting") if row["licence"] == sku]


def order(t, name, sku, since):
    """Keys of who got the sku, in the order of the ledger."""
    return [w["key"] for w in t.sims[name].ledger(since) if w["kind"] == "licence" and any(
        one["skuId"] == sku for one in w["body"]["addLicenses"])]


def reason(t, name, number):
    stuck = t.pipeline.cli("user", "show", t.id(number), "--json")["targets"][name].get("stuck")
    return stuck and stuck["reason"]


def test_CAP_C12_without_seats_people_wait_and_are_served_in_order(t):
    name, since = "now", t.mark("now")
    for sim in t.sims.values():
        sim.seed(skus=[{"skuId": SEATS, "seats": 1}])
    join(t, "club", 0)
    t.wait(lambda: SEATS in t.licences(name, 0), "the only seat to be taken")
    for number in (3, 1, 2):
        join(t, "club", number)
        t.wait(lambda n=number: t.id(n) in waiting(t, name), "to wait")
    ids = [t.id(n) for n in (3, 1, 2)]
    assert waiting(t, name) == ids and reason(t, name, 3) == "no_seat"
    assert all(E3 in t.licences(name, n) for n in (1, 2, 3)), "who waits has all the rest"
    t.d.replace(t.dn(2), title="jumps no queue")  # a newer version keeps its place
    t.wait(lambda: (t.account(name, t.key(2)) or {}).get("jobTitle") == "jumps no queue", "the title to arrive")
    t.pipeline.stop()
    t.pipeline.start()
    t.idle()
    assert waiting(t, name) == ids, "the line outlives a restart"
    t.d.disable(t.dn(0))  # gives one back
    t.wait(lambda: SEATS in t.licences(name, 3), "the first of the line")
    t.idle()
    assert waiting(t, name) == ids[1:]
    t.sims[name].seed(skus=[{"skuId": SEATS, "seats": 3}])  # somebody buys more; an operator asks for the first
    t.pipeline.cli("sync", "run", name, "--user", ids[1])
    t.wait(lambda: SEATS in t.licences(name, 1) and SEATS in t.licences(name, 2), "the rest of the line")
    t.idle()
    assert waiting(t, name) == [] and order(t, name, SEATS, since) == [t.key(n) for n in (0, 3, 1, 2)]


def test_SFR_V5_reinstated_in_the_order_of_revocation_all_or_nothing(t):
    name = "now"
    t.assign(name, 6, F1, PLANS[1:])
    for number in (6, 7):
        t.d.disable(t.dn(number))
        t.wait(lambda n=number: not t.licences(name, n), "to be revoked")
        t.idle()
    used = sum(E3 in {one["skuId"] for one in a.get("assignedLicenses", [])} for a in t.sims[name].dump())
    t.sims[name].seed(skus=[{"skuId": E3, "seats": used}])  # others have taken the seats
    for number in (7, 6):  # the younger revocation comes back first
        t.d.enable(t.dn(number))
        t.wait(lambda n=number: t.id(n) in waiting(t, name, E3), "to wait")
        t.idle()
    assert waiting(t, name, E3) == [t.id(6), t.id(7)]
    assert t.licences(name, 6) == {} and t.licences(name, 7) == {}, "nothing is given in part"
    assert set(t.taken(name, 6)) == {E3, F1}
    t.d.disable(t.dn(8))
    t.wait(lambda: t.licences(name, 6), "the first")
    t.idle()
    assert t.licences(name, 6) == {E3: [], F1: PLANS[1:]} and t.licences(name, 7) == {}
    t.d.disable(t.dn(9))
    t.wait(lambda: t.licences(name, 7) == {E3: []}, "the second")
    t.sims[name].seed(skus=[{"skuId": E3, "seats": 100}])


def test_CAP_C13_a_manager_who_comes_later(t):
    boss, attrs = t.d.person(70)
    t.d.replace(t.dn(15), manager=boss)
    t.idle()
    assert not t.account("now", t.key(15)).get("manager")
    t.d.add(boss, attrs)
    t.wait(lambda: all((a := t.account(n, t.d.entry(boss)["immutable_id"])) and t.account(n, t.key(15)).get("manager") == a["id"]
                       for n in t.sims), "the manager to be set")


def test_CAP_C13_a_group_that_comes_later(t):
    for sim in t.sims.values():  # it is called otherwise until then
        [club] = [g for g in sim.groups() if g["displayName"] == "Club"]
        assert sim.call("DELETE", f"/groups/{club['id']}").status == 204
    join(t, "club", 16)
    t.wait(lambda: all(reason(t, n, 16) == "group_missing" for n in t.sims), "the group to be missed")
    for sim in t.sims.values():
        sim.seed(groups=[{"displayName": "Club"}])
    t.move(0.05)
    t.wait(lambda: all(t.account(n, t.key(16))["id"] in [m for g in s.groups() if g["displayName"] == "Club" for m in g["members"]]
                       for n, s in t.sims.items()), "time alone to heal it")


def test_members_are_removed_and_nobody_is_deleted(t):
    join(t, "club", 17)
    rid = {n: t.account(n, t.key(17))["id"] for n in t.sims}

    def members(name):
        return [m for g in t.sims[name].groups() if g["displayName"] == "Club" for m in g["members"]]
    t.wait(lambda: all(rid[n] in members(n) for n in t.sims), "the member to be added")
    t.idle()
    t.d.remove_value(t.d.group_dn("club"), "member", t.dn(17))
    t.wait(lambda: all(rid[n] not in members(n) for n in t.sims), "the member to be removed")
    assert all(t.account(n, t.key(17))["id"] == rid[n] for n in t.sims)


@pytest.mark.parametrize("group, word", [("exempt", "group_dynamic"), ("odd", "group_mastered_elsewhere")])
def test_groups_that_cannot_be_changed_are_told_and_stop_nothing_else(t, group, word):
    number = {"exempt": 18, "odd": 19}[group]
    t.d.replace(t.dn(number), title="before")
    join(t, group, number)
    t.wait(lambda: all(reason(t, n, number) == word for n in t.sims), word)
    t.d.replace(t.dn(number), title="after")
    t.wait(lambda: all(t.account(n, t.key(number))["jobTitle"] == "after" for n in t.sims), "the title")


def test_what_a_group_brings_is_left_alone(t):
    name, since = "now", t.mark("now")
    rid = t.account(name, t.key(20))["id"]
    answer = t.sims[name].call("POST", f"/groups/{BRINGS}/members/$ref",
                               {"@odata.id": f"{t.sims[name].url}/directoryObjects/{rid}"})
    assert answer.status == 204 and set(t.licences(name, 20)) == {E3, F1}
    t.d.disable(t.dn(20))
    t.wait(lambda: set(t.licences(name, 20)) == {F1}, "the direct one to be taken")
    t.idle()
    removed = [sku for w in t.writes(name, 20, since) for sku in w["body"]["removeLicenses"]]
    assert removed == [E3] and set(t.taken(name, 20)) == {E3}


def test_sessions_end_with_disabling(t):
    t.d.disable(t.dn(23))
    for name in t.sims:
        t.wait(lambda n=name: t.writes(n, 23, kind="revoke"), "sessions to end")
        kinds = [w["kind"] for w in t.sims[name].ledger(0, t.key(23))]
        assert kinds.index("disable") < kinds.index("revoke")
        assert not t.writes(name, 21, kind="revoke")


def test_a_persons_word_gives_back_now(t):
    user = t.id(22)
    t.d.disable(t.dn(22))
    t.wait(lambda: not t.licences("later", 22), "to be revoked")
    t.idle()
    t.pipeline.cli("licence", "reinstate", user, "--target", "later")  # a reason still holds
    t.idle()
    assert t.licences("later", 22) == {}
    t.d.enable(t.dn(22))
    t.idle()
    assert t.licences("later", 22) == {}, "the schedule's run is at night"
    for _ in range(2):
        t.pipeline.cli("licence", "reinstate", user, "--target", "later", check=False)
    t.wait(lambda: t.licences("later", 22) == {E3: []}, "to be given back")
    t.idle()
    assert user not in [row["user"] for row in t.listed("later", "revoked")]
    assert t.pipeline.cli("licence", "reinstate", user, "--target", "later", check=False).returncode == 1
    assert t.pipeline.cli("licence", "ls", "--state", "nonsense", check=False).returncode != 0
