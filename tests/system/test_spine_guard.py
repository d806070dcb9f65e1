"""Nobody is switched off by the dozen: what leaves at once beyond the guard is held at both services while everything else goes on, and is
forgotten when it is undone."""

import os
import re
import shutil
import signal

import pytest

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
    # Without refint, whose background changes slapd tells no consumer: when they come is chance.
    with OpenLdap(place / "directory", users=PEOPLE, units=UNITS, options={"refint": False}) as d:
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
    assert not s.switched(mark) and s.kinds(mark) <= {"create", "update", "manager"}
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
