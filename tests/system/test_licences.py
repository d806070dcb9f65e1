"""The licence policy over months (SFR V1-V10, CAP P20-P25): a real OpenLDAP, Redis and the Graph simulator under one moving clock. What is
expected is said here in words of licences and people; what happened is read from the tenants' own ledgers."""

import ldap
import pytest

from licences import E3, F1, PASSWORD, PLANS, Tenants, why_not
from spine import OpenLdap

POLICY = {"revoke_when": ["disabled", "locked", "inactive", "password_expired"], "inactive_after": "30d", "exempt": ["exempt"],
          "cap_per_run": 10}
DISABLED, IDLE, BY_HAND, LOCKED, GONE, EXEMPT, NAMED = 10, 11, 13, 14, 18, 19, 20
CROWD = range(21, 29)


class Year:
    """One run through the year; what was seen on the way is kept for the tests."""

    def __init__(self, t):
        self.t, self.seen = t, {}
        self.begin()
        self.cap()
        t.move(40)
        self.after_forty_days()
        t.move(41.2)
        self.on_the_next_night()

    def note(self, name, value):
        self.seen[name] = value

    def begin(self):
        t = self.t
        t.wait(lambda: all(len(s.dump()) == 60 for s in t.sims.values()), "all accounts")
        t.idle()
        for name in t.sims:
            t.assign(name, DISABLED, F1, PLANS[:1])
            t.assign(name, BY_HAND)
            t.assign(name, BY_HAND, take=True)
        for number in (DISABLED, IDLE):
            t.d.replace(t.dn(number), userPassword=PASSWORD)
            t.d.log_on(t.dn(number))
        t.d.add_value(t.d.group_dn("exempt"), "member", t.dn(EXEMPT))
        t.idle()
        self.note("before", {name: t.licences(name, DISABLED) for name in t.sims})
        for number in (DISABLED, BY_HAND, EXEMPT, NAMED):
            t.d.disable(t.dn(number))
        t.d.replace(t.dn(LOCKED), pwdAccountLockedTime=t.now().strftime("%Y%m%d%H%M%SZ"))
        for name in t.sims:
            t.wait(lambda n=name: not t.licences(n, DISABLED) and not t.licences(n, BY_HAND) and not t.licences(n, LOCKED),
                   "licences to be taken")
        t.idle()
        self.note("exempt", {name: t.licences(name, EXEMPT) for name in t.sims})
        self.note("named", {name: t.licences(name, NAMED) for name in t.sims})
        self.note("taken", {name: t.taken(name, DISABLED) for name in t.sims})
        self.note("locked", {name: t.taken(name, LOCKED) for name in t.sims})
        self.note("writes", {name: len(t.writes(name, DISABLED)) for name in t.sims})
        self.note("audit", {name: t.log_of(t.id(DISABLED), name) for name in t.sims})
        t.d.enable(t.dn(BY_HAND))  # comes back to what was ours; what a person took is that person's
        t.d.replace(t.dn(LOCKED), pwdAccountLockedTime=None)
        t.wait(lambda: E3 in t.licences("now", BY_HAND) and E3 in t.licences("now", LOCKED), "to be given back at once")
        t.idle()
        self.note("unlocked", {name: t.licences(name, LOCKED) for name in t.sims})
        gone = t.dn(GONE)
        self.gone_id, self.gone_key = t.id(GONE), t.key(GONE)
        t.d.disable(gone)
        t.wait(lambda: all(not t.licences(n, GONE) for n in t.sims), "the one who goes to lose his")
        t.idle()
        t.d.delete(gone)
        again = t.d.person(GONE)[1] | {"uid": ["again"], "mail": ["again@example.com"]}
        self.again = t.d.add(f"uid=again,{t.d.unit('Sales')}", again)
        t.d.add_value(t.d.group_dn("staff"), "member", self.again)
        key = t.d.entry(self.again)["immutable_id"]
        t.wait(lambda: all(E3 in t.licences(n, 0, key) for n in t.sims), "the new one to have his licence")
        t.idle()
        self.note("again", {name: t.licences(name, 0, key) for name in t.sims})

    def cap(self):
        """Eight of sixty at once are more than ten in a hundred; their accounts are switched off all the same."""
        t = self.t
        t.move(2)
        for number in CROWD:
            t.d.disable(t.dn(number))
        t.wait(lambda: all(not t.account(n, t.key(c))["accountEnabled"] for n in t.sims for c in CROWD), "the crowd to be off")
        t.wait(lambda: all(len(t.held(n)) == 8 for n in t.sims), "eight to be held")
        self.note("crowd held", {name: [t.licences(name, c) for c in CROWD] for name in t.sims})
        t.pipeline.cli("held", "approve", "--op", "licence_revoke", "--target", "now", "--yes")
        t.wait(lambda: all(not t.licences("now", c) for c in CROWD), "the approved to lose theirs")
        t.idle()
        self.note("crowd approved", [t.licences("now", c) for c in CROWD])
        self.note("crowd unapproved", [t.licences("later", c) for c in CROWD])

    def after_forty_days(self):
        t = self.t
        self.mark = {name: t.mark(name) for name in t.sims}
        t.wait(lambda: all(not t.licences(n, IDLE) for n in t.sims), "the calendar alone to take what is idle")
        t.idle()
        self.note("idle", {name: (t.account(name, t.key(IDLE))["accountEnabled"], t.taken(name, IDLE)) for name in t.sims})
        t.wait(lambda: all("inactive" in t.taken(n, DISABLED).get(F1, ()) for n in t.sims), "the second reason")
        self.note("extended", {name: t.taken(name, DISABLED) for name in t.sims})
        self.note("no more writes", {name: len(t.writes(name, DISABLED)) for name in t.sims})
        t.d.enable(t.dn(DISABLED))
        t.wait(lambda: all(t.account(n, t.key(DISABLED))["accountEnabled"] for n in t.sims), "the account to be on")
        t.idle()
        self.note("one reason left", {name: t.licences(name, DISABLED) for name in t.sims})
        t.d.log_on(t.dn(DISABLED))
        t.wait(lambda: len(t.licences("now", DISABLED)) == 2, "to be given back at once")
        t.idle()
        self.note("reinstated now", t.licences("now", DISABLED))
        self.note("not yet", t.licences("later", DISABLED))
        t.d.log_on(t.dn(IDLE))
        t.idle()

    def on_the_next_night(self):
        t = self.t
        t.wait(lambda: len(t.licences("later", DISABLED)) == 2 and E3 in t.licences("later", IDLE), "the schedule's run")
        t.idle()
        self.note("reinstated later", t.licences("later", DISABLED))
        self.note("closed", {name: t.taken(name, DISABLED) for name in t.sims})
        self.note("gone", {name: t.licences(name, 0, self.gone_key) for name in t.sims})
        self.note("gone record", {name: t.taken(name, 0, self.gone_id) for name in t.sims})
        self.note("by hand", {name: t.licences(name, BY_HAND) for name in t.sims})


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    if OpenLdap.why_not() or why_not():
        pytest.skip(OpenLdap.why_not() or why_not())
    with Tenants(tmp_path_factory.mktemp("year"), {"now": {"licence_policy": POLICY}, "later": {
            "licence_policy": {**POLICY, "reinstate": "schedule", "schedule": "0 3 * * *"}}}) as t:
        yield Year(t)


def both(value):
    return {"now": value, "later": value}


def test_SFR_V1_revoked_when_the_set_meets_the_policy_and_remembered(year):
    assert year.seen["before"] == both({E3: [], F1: PLANS[:1]})
    assert year.seen["taken"] == both({E3: {"disabled"}, F1: {"disabled"}})


def test_SFR_V2_revoked_once_and_a_second_reason_extends_the_set(year):
    assert year.seen["extended"] == both({E3: {"disabled", "inactive"}, F1: {"disabled", "inactive"}})
    assert year.seen["no more writes"] == year.seen["writes"]


def test_SFR_V3_what_a_person_took_is_not_given_back(year):
    assert year.seen["by hand"] == both({E3: []})


def test_SFR_V4_reinstated_by_the_schedule_when_the_whole_set_is_empty_exactly(year):
    assert year.seen["one reason left"] == both({})
    assert year.seen["not yet"] == {}
    assert year.seen["reinstated later"] == {E3: [], F1: PLANS[:1]}
    assert year.seen["closed"] == both({})


def test_SFR_V6_unlocking_counts_at_the_next_run_unless_at_once(year):
    assert year.seen["locked"] == both({E3: {"locked"}})
    assert year.seen["unlocked"] == {"now": {E3: []}, "later": {}}
    assert year.seen["reinstated now"] == {E3: [], F1: PLANS[:1]}


def test_SFR_V7_a_new_user_inherits_nothing_and_the_gone_get_nothing(year):
    assert year.seen["again"] == both({E3: []})
    assert year.seen["gone"] == both({})
    assert year.seen["gone record"] == both({E3: {"disabled"}})


def test_SFR_V8_exempt_are_never_revoked_and_a_run_that_takes_too_many_asks(year):
    assert year.seen["exempt"] == both({E3: []})
    assert year.seen["named"] == both({})
    assert year.seen["crowd held"] == both([{E3: []}] * 8)
    assert year.seen["crowd approved"] == [{}] * 8
    assert year.seen["crowd unapproved"] == [{E3: []}] * 8


def test_SFR_V9_stripping_leaves_the_account(year):
    assert year.seen["idle"] == both((True, {E3: {"inactive"}}))


def test_SFR_V10_the_log_tells_reason_licence_and_seats(year):
    for name, lines in year.seen["audit"].items():
        text = " ".join(line.get("detail", "") for line in lines)
        assert "licence_revoke licence=SPE_F1 reasons=disabled used=" in text, (name, text)
        assert "licence_revoke licence=SPE_E3 reasons=disabled used=" in text, (name, text)


def test_CAP_P20_to_P25(year):
    """P20 inactive, P21 locked, P22 time alone, P23 promptly, P24 by schedule, P25 the list: shown by the same year."""
    assert year.seen["idle"]["now"][1] == {E3: {"inactive"}}
    assert year.seen["locked"]["now"] == {E3: {"locked"}}
    assert year.seen["unlocked"] == {"now": {E3: []}, "later": {}}
    assert year.seen["reinstated later"] == year.seen["reinstated now"]
