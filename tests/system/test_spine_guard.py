"""Nobody is switched off by the dozen: what leaves at once beyond the guard is held at both services while everything else goes on, and is
forgotten when it is undone."""

import json
import os
import re
import shutil
import signal

import pytest

import expected
from spine import OpenLdap, Spine, place_of

PEOPLE, UNITS = 300, ["Sales", "Support", "Engineering", "Finance", "Legal"]
LEAVE = PEOPLE // len(UNITS)


@pytest.fixture
def s(request, tmp_path):
    if OpenLdap.why_not():
        pytest.skip(OpenLdap.why_not())
    place = place_of()
    request.addfinalizer(lambda: shutil.rmtree(place, ignore_errors=True))
    # The guard as it is by default, but for the time that it waits for more of the same.
    with OpenLdap(place / "directory", users=PEOPLE, units=UNITS) as d:
        with Spine(d, tmp_path / "spine", guard={"settle": "300ms"}) as s:
            assert len(s.settle()) == PEOPLE
            yield s


def held(s):
    return [s.queue(t)["held"] for t in s.services]


def wait_held(s, n):
    s.pipeline.wait(lambda: held(s) == [n, n], f"{n} held operations at each service")


def test_a_unit_that_leaves_is_held_and_comes_back(s):
    mark = s.mark()
    unit = s.d.unit("Sales")
    moved = s.d.move(unit, s.d.outside)
    wait_held(s, LEAVE)
    assert s.kinds(mark) == set(), "nothing was done to anybody"
    text = s.pipeline.cli("status").stdout
    for target in s.services:
        assert f"{target}: {LEAVE} destructive operations are held by the guard" in text
        assert re.search(rf"^{target} +ok .* {LEAVE} +0 ", s.pipeline.cli("queue").stdout, re.M)

    # The rest goes on: a change, somebody new, one who is renamed.
    stays = s.d.entry(next(p["dn"] for p in s.d.people() if "legal" in p["dn"].lower()))
    s.d.replace(stays["dn"], title="Goes on")
    s.pipeline.wait(lambda: (s.account("app", stays)["title"], s.account("m365", stays)["jobTitle"]) == ("Goes on", "Goes on"),
                    "a change beside what is held")
    fresh = s.d.entry(s.d.add_person(1001))
    s.pipeline.wait(lambda: all(s.accounts(fresh).values()), "somebody new beside what is held")

    # In small bites it is the same: one more is held with the others.
    one = next(p for p in s.d.people() if "finance" in p["dn"].lower())
    away = s.d.move(one["dn"], s.d.outside)
    wait_held(s, LEAVE + 1)

    # What is held outlives the broker.
    os.kill(s.pipeline.pids("dirpipe-broker")[0], signal.SIGKILL)
    s.pipeline.wait(s.pipeline.idle, "the broker to be back")
    wait_held(s, LEAVE + 1)

    s.d.move(away, one["dn"].split(",", 1)[1])
    wait_held(s, LEAVE)
    s.d.move(moved, s.d.people_base)
    wait_held(s, 0)
    assert len(s.settle()) == PEOPLE + 1
    # noop: what was in flight when the broker was killed may have been written twice
    assert not s.switched(mark) and s.kinds(mark) <= {"create", "update", "manager", "noop"}
    assert "held by the guard" not in s.pipeline.cli("status").stdout


def test_deletions_are_held_too_and_a_few_are_not(s):
    people = [p for p in s.d.people() if "support" in p["dn"].lower() and "manager" in p["attrs"]]  # nobody's manager
    few, many = people[:5], people[5:25]
    for p in few:
        s.d.delete(p["dn"])
    s.settle()
    assert all(s.enabled(p) == {"app": False, "m365": False} for p in few), "five in an hour are usual"
    mark = s.mark()
    for p in many:
        s.d.delete(p["dn"])
    wait_held(s, len(many))
    assert s.kinds(mark) <= {"manager", "update"} and not s.switched(mark)
    assert all(s.enabled(p) == {"app": True, "m365": True} for p in many)
    shown = s.user(many[0]["id"])
    assert shown["gone"] and s.accounts(many[0])["app"]["id"] == shown["targets"]["app"]["link"]["rid"]


def answer(done):
    """The code and what was told; with code 0 the pipeline has parsed it."""
    return (0, done) if isinstance(done, dict) else (done.returncode, json.loads(done.stdout))


def groups(s, *words):
    """What `dirpipe held ls` tells: the code, and {(target, op, cause): how many}."""
    code, told = answer(s.pipeline.cli("held", "ls", *words, "--json", check=False))
    return code, {(g["target"], g["op"], g["phase"], g["cause"]): g["count"] for g in told["groups"]}


def test_CAP_N2_half_is_approved_by_unit_and_the_other_half_empties_by_itself(s):
    """The directory takes two units out; a person lets one of them go. Exactly that happens, and what is undone is forgotten."""
    mark = s.mark()
    sales, support = s.d.unit("Sales"), s.d.unit("Support")
    # a unit that is both source of leavers and moved as a whole: the DN that people know is the last one
    sales_out, support_out = s.d.move(sales, s.d.outside), s.d.move(support, s.d.outside)
    wait_held(s, 2 * LEAVE)
    assert groups(s) == (3, {(t, "disable", "held", "moved out of the base"): 2 * LEAVE for t in s.services})
    assert groups(s, "--ou", sales_out, "--target", "app") == (3, {("app", "disable", "held", "moved out of the base"): LEAVE})
    assert groups(s, "--cause", "group") == (0, {}) and groups(s, "--op", "delete") == (0, {})
    text = s.pipeline.cli("held", "ls", check=False).stdout
    assert re.search(rf"^app +disable +held +{2 * LEAVE} +moved out of the base \(source corp\)$", text, re.M) and "and 117 more" in text

    assert s.pipeline.cli("held", "approve", check=False).returncode == 64, "never everything by a slip"
    assert s.pipeline.cli("held", "approve", "--ou", sales_out, check=False, input="n\n").returncode == 1
    assert s.pipeline.cli("held", "approve", "--ou", sales_out, "--yes", "--json") == {"changed": 2 * LEAVE, "missing": 0}
    wait_held(s, LEAVE)
    s.pipeline.wait(lambda: s.pipeline.idle() and all(len(w) == LEAVE for w in switched_off(s, mark).values()), "half of them to be disabled")
    gone = {e["id"]: e for e in s.known.values() if f",{sales},".lower() in ("," + e["dn"] + ",").lower()}
    assert len(gone) == LEAVE
    for target in s.services:
        assert switched_off(s, mark)[target] == {s.key(target, e) for e in gone.values()}, "exactly that half"

    # one is refused: it stays as it is, needs no word any more, and is named
    one = next(e for e in s.known.values() if f",{support},".lower() in ("," + e["dn"] + ",").lower())
    assert s.pipeline.cli("held", "reject", "--user", one["id"], "--yes", "--json")["changed"] == 2
    wait_held(s, LEAVE - 1)
    shown = answer(s.pipeline.cli("held", "show", "--user", one["id"], "--json", check=False))[1]["held"]
    assert {(h["target"], h["phase"], h["dn"].lower().endswith(support_out.lower())) for h in shown} == \
        {(t, "rejected", True) for t in s.services}

    # undone in the directory: nothing is left, whatever was said
    s.d.move(support_out, s.d.people_base)
    wait_held(s, 0)
    s.pipeline.wait(lambda: s.pipeline.cli("held", "show", "--json")["held"] == [], "the rejected one to be forgotten", 10)
    s.d.move(sales_out, s.d.people_base)
    assert len(s.settle()) == PEOPLE
    assert s.pipeline.cli("held", "ls").returncode == 0


def switched_off(s, mark):
    """target -> the keys of those whose accounts were disabled since mark and still are."""
    off = {}
    for target, service in s.services.items():
        driver = expected.DRIVERS[{"app": "scim", "m365": "graph"}[target]]
        off[target] = {a[driver["key"]] for a in service.dump() if not a[driver["enabled"]]}
    return off


def test_who_is_deleted_is_known_by_the_last_name(s):
    """A person who is gone has no entry any more; what was last known tells where they were."""
    people = [p for p in s.d.people() if "support" in p["dn"].lower() and "manager" in p["attrs"]]
    others = [p for p in s.d.people() if "legal" in p["dn"].lower() and "manager" in p["attrs"]]
    for p in people[:12] + others[:8]:
        s.d.delete(p["dn"])
    wait_held(s, 20)
    assert groups(s, "--ou", s.d.unit("Support"), "--target", "m365") == \
        (3, {("m365", "disable", "held", "deleted from source corp"): 12})
    assert s.pipeline.cli("held", "approve", "--target", "m365", "--ou", s.d.unit("Legal"), "--yes", "--json")["changed"] == 8
    s.pipeline.wait(lambda: held(s) == [20, 12], "eight of them to go at one service")
    s.pipeline.wait(lambda: not any(s.enabled(p)["m365"] for p in others[:8]), "these to be disabled")
    assert all(s.enabled(p)["m365"] for p in people[:12]) and all(s.enabled(p)["app"] for p in others[:8])
    assert s.pipeline.cli("held", "approve", "--all", "--target", "app", "--yes", "--json")["changed"] == 20
    s.pipeline.wait(lambda: not any(s.enabled(p)["app"] for p in people[:12] + others[:8]), "all of them at the other")
