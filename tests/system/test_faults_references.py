"""Servers write the new name of somebody into other entries later than they rename, and tell nobody (refint on OpenLDAP). slapd runs without
that overlay here, and the test writes for it, when it wants."""

import re
import shutil
import subprocess
import time

import pytest

import expected
from spine import OpenLdap, Spine, place_of
from world import World


def until(w, seconds):
    end = time.monotonic() + seconds
    w.program.wait(lambda: time.monotonic() >= end, "time to pass", seconds + 10)


def only_in_staff(w):
    d = w.directory
    inner = {dn.lower() for dn in d.entry_values(d.group_dn("inner"), "member")}
    here = {p["dn"].lower(): i for i, p in w.people.items()}
    for dn in d.entry_values(d.group_dn("staff"), "member"):
        if dn.lower() in here and dn.lower() not in inner:
            return here[dn.lower()]
    raise AssertionError("nobody is in staff alone")


def follow(d, group, old, new):
    d.add_value(d.group_dn(group), "member", new)
    d.remove_value(d.group_dn(group), "member", old)


@pytest.mark.parametrize("away", [True, False], ids=["collector-was-away", "group-changed-meanwhile"])
def test_CAP_C3_a_group_that_follows_a_rename_late_loses_nobody(tmp_path, away):
    """The group is read while it lists the old name. With 200 ms of settling the account would be switched off."""
    with World(tmp_path, users=30, seed=51, slapd={"refint": False}) as w:
        w.settle()
        d, one = w.directory, only_in_staff(w)
        old = w.people[one]["dn"]
        if away:
            w.program.kill("collector:corp")
        w.rename(one)
        if away:
            w.program.start_program("collector:corp")
        else:
            w.create()  # a change of the group, which shows it with the old name
        w.reaches(one)
        until(w, 1.5)  # many times as long as the guard waits
        assert not w.unasked
        follow(d, "staff", old, w.people[one]["dn"])
        w.settle()


def test_who_is_in_a_group_by_a_name_of_before_leaves_it_in_the_end(tmp_path):
    with World(tmp_path, users=30, seed=52, slapd={"refint": False}) as w:
        w.settle()
        one = only_in_staff(w)
        w.may_go["m365"].add(one)
        w.rename(one)
        w.create()
        w.settle(40)


@pytest.fixture(scope="module")
def s(request, tmp_path_factory):
    if OpenLdap.why_not():
        pytest.skip(OpenLdap.why_not())
    place = place_of()
    request.addfinalizer(lambda: shutil.rmtree(place, ignore_errors=True))
    with OpenLdap(place / "directory", users=40, options={"refint": False}) as d:
        with Spine(d, tmp_path_factory.mktemp("spine")) as s:
            s.settle()
            yield s


def reports(s, boss):
    return [p for p in s.d.people() if (p["attrs"].get("manager") or [""])[0].lower() == boss.lower()]


def bosses(s):
    """DNs of managers, each with those who report to them."""
    return sorted({p["attrs"]["manager"][0].lower() for p in s.d.people() if "manager" in p["attrs"]})


def has_manager(s, person):
    accounts = s.accounts(person)
    return [bool((accounts["app"].get(expected.ENTERPRISE) or {}).get("manager")), bool(accounts["m365"].get("manager"))]


def rewrite(d, dn, change):
    """Changes one entry (its LDIF) behind the server's back: no message to consumers, no newer state. (slapmodify would give another entryUUID.)"""
    d.stop()
    conf = d.folder / "slapd.conf"
    whole = subprocess.run(["/usr/sbin/slapcat", "-f", conf, "-b", d.suffix, "-o", "ldif_wrap=no"], check=True, capture_output=True, text=True)
    entries = whole.stdout.split("\n\n")
    at = next(i for i, e in enumerate(entries) if e.lower().startswith(f"dn: {dn}\n".lower()))
    entries[at] = change(entries[at])
    shutil.rmtree(d.folder / "db")
    (d.folder / "db").mkdir()
    subprocess.run(["/usr/sbin/slapadd", "-q", "-f", conf, "-b", d.suffix], input="\n\n".join(e for e in entries if e), check=True,
                   capture_output=True, text=True)
    d.start()


def write_silently(d, dn, name, value):
    """As refint does."""
    rewrite(d, dn, lambda entry: re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", entry))


def test_CAP_C13_a_reference_that_is_written_silently_and_late_is_found(s):
    boss = bosses(s)[0]
    one = reports(s, boss)[0]
    new = s.d.rename(boss, "renamed2000")
    s.d.replace(one["dn"], title="Read meanwhile")
    s.pipeline.wait(lambda: has_manager(s, one) == [False, False], "the reference to nobody to be taken away")
    write_silently(s.d, one["dn"], "manager", new)
    assert s.d.entry(one["dn"])["attrs"]["manager"] == [new]
    s.pipeline.wait(lambda: has_manager(s, one) == [True, True], "the silent change to be found", 30)
    for p in reports(s, boss):  # the others, as a server would in the end
        s.d.replace(p["dn"], manager=new)
    s.settle()


def test_CAP_C13_who_refers_to_somebody_deleted_is_read_again(s):
    """Their entries name nobody from then on, and no change of theirs says so."""
    boss = bosses(s)[1]
    people = reports(s, boss)
    assert people and has_manager(s, people[0]) == [True, True]
    s.d.delete(boss)
    s.settle(40)
    assert all(has_manager(s, p) == [False, False] for p in people)


def test_CAP_C13_who_refers_to_an_account_that_is_made_anew_follows(s):
    """The manager's account is deleted at the service by others; dirpipe is told to look at the manager alone."""
    boss = s.d.entry(bosses(s)[2])
    people, before = reports(s, boss["dn"]), s.rids(boss)["app"]
    assert people and s.services["app"].call("DELETE", f"/Users/{before}").status == 204
    s.pipeline.cli("sync", "run", "app", "--user", boss["id"])
    s.settle()
    assert s.rids(boss)["app"] not in (None, before)
    assert all(has_manager(s, p) == [True, True] for p in people)


def test_CAP_C1_a_deletion_that_no_server_tells(s):
    """slapd that is killed can forget the state that its last deletion made, and answers the old cookie with nothing: it is asked for everybody
    by id a while after it went away."""
    people = [p for p in s.d.people() if not reports(s, p["dn"])]
    one = people[0]
    mark = s.mark()
    rewrite(s.d, one["dn"], lambda entry: "")
    s.settle(60)
    assert s.enabled(one) == {"app": False, "m365": False}
    assert {w["key"] for ws in s.writes(mark).values() for w in ws} <= {s.key(t, one) for t in s.services}
