"""The directory's connection cut, its state put back, its people moved away in masses, its groups deleted, its filter mistyped (GOALS F9,
F10, F21 and what DESIGN, "The collector", promises). Where the directory asked for nothing destructive there is nothing destructive."""

import shutil
import signal
import time

import pytest

from proxy import seeded
from world import World, destructive

DEFAULT_GUARD = {"guard": {"count": 5, "percent": 2, "most": 100, "settle": "300ms"}}


def until(w, seconds):
    end = time.monotonic() + seconds
    w.program.wait(lambda: time.monotonic() >= end, "time to pass", seconds + 10)


def destroyed(w):
    return [f"{name}: {x['method']} {x['path']}" for name, service in w.services.items() for x in service.ledger() if destructive(x)]


def source_status(w):
    return (w.program.status() or {"sources": [{"error": "", "holds": [], "connected": False}]})["sources"][0]


# ---- cut ----


@pytest.mark.parametrize("cuts", [50, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("log", [1000, None], ids=["delete-phase", "present-phase"])
def test_GOALS_F9_cut_at_message_boundaries(tmp_path, log, cuts):
    """Every other connection is cut at the end of a message of the server (every fourth in the middle of one), from the bind to the
    persist phase, and people come, change and go meanwhile."""
    with World(tmp_path, users=12, seed=31, proxy=True, slapd={"sessionlog": log},
               source={"guard": {"percent": 100}}) as w:  # many of so few leave between two connections
        w.settle()
        plan, inside = seeded(31, 60), [0]

        def next_cut():
            inside[0] += 1
            w.proxy.inside = inside[0] % 4 == 0
            return plan()

        w.proxy.cut_after(next_cut)
        w.proxy.cut()
        end = time.monotonic() + (150 if cuts <= 100 else 1800)
        while w.proxy.cuts < cuts:
            before = w.proxy.cuts
            w.load(2)
            w.program.wait(lambda: w.proxy.cuts > before or w.idle(), "a cut or a quiet moment", 60)
            assert time.monotonic() < end, f"{w.proxy.cuts} cuts only"
        w.proxy.cut_after(None)
        w.settle()


def test_slapd_killed_and_started_again_under_load(tmp_path):
    with World(tmp_path, users=40, seed=32) as w:
        w.settle()
        for hard in (True, False, True):
            w.load(40)
            w.directory.restart(hard=hard)
            w.load(40)
            w.settle()


# ---- put back ----


def test_CAP_C2_GOALS_F10_provider_restored_from_backup(tmp_path):
    """Its state is older than our cursor. Who came since is not in it: nobody concludes that they left; what it says of the others counts
    again as soon as it says something newer."""
    with World(tmp_path, users=40, seed=33, groups=False) as w:
        w.settle()
        d = w.directory
        d.stop()
        shutil.copytree(d.folder / "db", tmp_path / "backup")
        d.start()
        old = set(w.people)
        created = [w.create() for _ in range(8)]
        w.load(40, ["update", "move", "rename"])
        w.settle()
        d.stop(hard=True)
        shutil.rmtree(d.folder / "db")
        shutil.copytree(tmp_path / "backup", d.folder / "db")
        d.start()
        w.program.wait(lambda: source_status(w)["connected"] or source_status(w)["error"], "the collector to see it", 60)
        until(w, 3)
        assert destroyed(w) == []
        for the_id in created:
            version = w.people.pop(the_id)["version"]
            assert version >= 1
        for person in d.people():
            w.people[person["id"]]["dn"] = person["dn"]
        assert set(w.people) == old
        for the_id in old:  # every person gets newer than ever
            w.people[the_id]["version"] += 100
            w.bump(the_id)

        def equal():
            lines = [line for line in w.differences() if "still enabled" not in line]
            return w.idle() and not lines

        w.program.wait(equal, "everybody who is there to be equal", 60)
        assert destroyed(w) == []
        w.check()


# ---- masses ----


def test_GOALS_F21_unit_moved_out_of_scope(tmp_path):
    """A quarter of all people leaves the routes' base in one rename: everything is held, and let go when the unit comes back."""
    with World(tmp_path, users=120, seed=34, groups=False, target=DEFAULT_GUARD) as w:
        d = w.directory
        w.program.conf["sources"]["corp"]["routes"] = [{"target": n, "base": d.people_base} for n in w.services]
        w.program.write()
        w.program.restart("collector:corp")
        w.settle()
        unit = d.unit("Sales")
        moved = [p for p in d.people() if p["dn"].endswith(unit)]
        assert len(moved) >= 20
        d.move(unit, d.suffix)
        for the_id in [p["id"] for p in d.people() if not p["dn"].endswith(d.suffix.join(["ou=Sales,", ""]))][:5]:
            w.reaches(the_id)  # the others go on
        held = lambda: all(t["queue"]["held"] == len(moved) for t in w.program.status()["targets"])
        w.program.wait(held, "the guard to hold them", 30)
        until(w, 2)
        assert destroyed(w) == []
        d.move(f"ou=Sales,{d.suffix}", d.people_base)
        w.program.wait(lambda: all(t["queue"]["held"] == 0 for t in w.program.status()["targets"]), "the hold to dissolve", 30)
        w.settle()
        assert destroyed(w) == []


@pytest.mark.parametrize("change", ["no such filter", "few fit the filter", "no such base", "an empty base"])
def test_CAP_C2_GOALS_F21_mistyped_filter_or_base(tmp_path, change):
    with World(tmp_path, users=60, seed=35, groups=False, target=DEFAULT_GUARD) as w:
        w.settle()
        p = w.program
        source = p.conf["sources"]["corp"]
        good = dict(source)
        if change == "no such filter":
            source["users"] = source["users"] | {"filter": "(objectClass=inetOrgPersn)"}
        elif change == "few fit the filter":
            source["users"] = source["users"] | {"filter": "(&(objectClass=inetOrgPerson)(uid=u000000*))"}
        elif change == "no such base":
            source["base_dn"] = "ou=peple," + w.directory.suffix
        else:
            source["base_dn"] = w.directory.groups_base
        p.write()
        p.restart("collector:corp", signal.SIGTERM)
        if change == "few fit the filter":
            p.wait(lambda: source_status(w)["holds"], "the source's guard to hold", 30)
        else:
            p.wait(lambda: source_status(w)["error"], "the collector to say what is wrong", 30)
        until(w, 2)
        assert destroyed(w) == []
        assert not any(t["queue"]["held"] for t in p.status()["targets"])
        p.conf["sources"]["corp"] = good
        p.write()
        p.restart("collector:corp", signal.SIGTERM)
        w.load(30, ["update", "create"])
        w.settle()
        assert destroyed(w) == []


# ---- groups ----


def test_watched_group_deleted_while_the_collector_is_down(tmp_path):
    with World(tmp_path, users=60, seed=36) as w:
        w.settle()
        d, p = w.directory, w.program
        group = d.group_dn("staff")
        members = d.entry_values(group, "member")
        p.kill("collector:corp")
        d.delete(group)
        p.start_program("collector:corp")
        p.wait(lambda: source_status(w)["holds"], "the guard to hold the group", 30)
        w.reaches(w.pick())
        until(w, 2)
        assert destroyed(w) == []
        d.add_group("staff", members)
        p.wait(lambda: not source_status(w)["holds"], "the group to recover", 30)
        w.load(20)
        w.settle()


def test_members_leave_while_the_collector_is_down(tmp_path):
    with World(tmp_path, users=60, seed=37) as w:
        w.settle()
        d, p = w.directory, w.program
        for _ in range(3):
            p.kill("collector:corp")
            leaving = [m for m in d.entry_values(d.group_dn("staff"), "member") if m.startswith("uid=")][:3]
            for dn in leaving:
                w.may_go["m365"].add(d.id(dn))
                d.remove_value(d.group_dn("staff"), "member", dn)
            w.load(10)
            p.start_program("collector:corp")
            w.settle()
        assert destroyed(w)


# ---- the same name again; leavers whose creation nobody knows of ----


def test_deleted_and_created_again_under_the_same_name(tmp_path):
    """The new person can come before it is known that the old one left; the name is free when the old account is deleted."""
    with World(tmp_path, users=30, seed=38, groups=False, target={"leave": "delete", "delete_after": "0s"}) as w:
        w.settle()
        d = w.directory
        for round_ in range(4):
            for the_id in [w.pick() for _ in range(2)]:
                if the_id not in w.people:
                    continue
                entry = d.entry(w.people[the_id]["dn"])
                attrs = {n: v for n, v in entry["attrs"].items() if n in ("objectClass", "uid", "cn", "sn", "givenName", "displayName", "mail",
                                                                           "departmentNumber", "employeeNumber")}
                w.delete(the_id)
                if round_ % 2:
                    w.settle()
                dn = d.add(entry["dn"], attrs | {"title": ["v1"]})
                w._take(d.entry(dn), 1)
            w.settle()


@pytest.mark.parametrize("cut", ["before", "after_commit"])
def test_unknown_creation_followed_by_a_deletion(tmp_path, cut):
    """Nobody knows whether the account was made, and its person is gone: it is looked up, and is disabled if it is there."""
    with World(tmp_path, users=20, seed=39, groups=False) as w:
        w.settle()
        for _ in range(4):
            for service, prefix in ((w.services["app"], "/scim/v2/Users"), (w.services["m365"], "/v1.0")):
                service.faults([{"match": {"method": "POST", "path_prefix": prefix, "contains": "@example.com"}, "do": {"cut": cut},
                                 "times": 1}])
            the_id = w.create()
            for service in w.services.values():
                service.wait(lambda s: s.fault_counts()[0]["fired"], "the cut", 30)
            w.delete(the_id)
            for service in w.services.values():
                service.faults([])
            w.settle()
        if cut == "after_commit":
            assert w.services["app"].stats()["creates"] == 24
