"""An error is never read as "everyone left" (CAP C2): what a directory answers when it fails, is cut, or hides what it has. Each time the
accounts stay as they are, the fault is shown, and when it is over everything goes on. test_faults_directory.py has the mistyped filter and base
and the server that was restored from backup, test_collector_ad.py the domain controller."""

import time

import pytest

from servers import READER, SUFFIX
from world import World, destructive

POLL = {"driver": "poll", "poll_interval": "100ms", "sweep_interval": "1s"}
OPEN = {"guard": {"percent": 100}}  # no guard of the source: what is shown is that an error is none of its numbers
DRIVERS = pytest.mark.parametrize("driver", ["syncrepl", "poll"])


def world(tmp_path, driver, seed, guarded=False, **more):
    source = {**(POLL if driver == "poll" else {}), **({} if guarded else OPEN)}
    return World(tmp_path, users=40, seed=seed, groups=False, source=source, **more)


def destroyed(w):
    return [f"{n}: {x['method']} {x['path']}" for n, service in w.services.items() for x in service.ledger() if destructive(x)]


def source_status(w):
    return (w.program.status() or {"sources": [{"error": "", "holds": [], "connected": False}]})["sources"][0]


def until(w, seconds):
    end = time.monotonic() + seconds
    w.program.wait(lambda: time.monotonic() >= end, "time to pass", seconds + 10)


def answers_with(w, again=True, **options):
    """The server goes on with other options for a while: several rounds of reading and sweeping. Then it is as before, and the collector begins
    anew (again=False: it goes on)."""
    good = w.directory.options
    w.directory.stop()
    w.directory.options = {**good, **options}
    w.directory.start()
    w.program.restart("collector:corp")
    until(w, 2.5)
    shown = source_status(w)
    w.directory.stop()
    w.directory.options = good
    w.directory.start()
    if again:  # it would look again in a minute
        w.program.restart("collector:corp")
    return shown


def goes_on(w):
    w.load(10, ["update", "create"])
    w.settle()
    assert destroyed(w) == []


@DRIVERS
def test_CAP_C2_an_error_instead_of_an_answer(tmp_path, driver):
    with world(tmp_path, driver, 61) as w:
        w.settle()
        shown = answers_with(w, restrict="search")
        assert shown["error"], "nobody says that the directory refuses"
        goes_on(w)


@DRIVERS
def test_CAP_C2_a_size_limit(tmp_path, driver):
    """Ten entries, then sizeLimitExceeded."""
    with world(tmp_path, driver, 62) as w:
        w.settle()
        shown = answers_with(w, limit="10")
        assert shown["error"] and ("size" in shown["error"].lower() or "limit" in shown["error"].lower()), shown["error"]
        goes_on(w)


@DRIVERS
def test_CAP_C2_an_empty_answer(tmp_path, driver):
    """Success and nobody: all people are hidden from the account, the base is not."""
    with world(tmp_path, driver, 63) as w:
        w.settle()
        shown = answers_with(w, access=f'access to dn.subtree="ou=people,{SUFFIX}" by dn.exact="{READER}" none by users read by * none')
        assert shown["error"], "nobody says that the directory is empty"
        goes_on(w)


def hides_all_but_one_unit(w):
    return "\n".join(f'access to dn.subtree="ou={u},ou=people,{SUFFIX}" by dn.exact="{READER}" none by users read by * none'
                     for u in w.directory.unit_names[1:])


@DRIVERS
def test_CAP_C2_rights_that_were_lost(tmp_path, driver):
    """Success and few: the account sees one unit of five. That cannot be told from people who left but by their number."""
    with world(tmp_path, driver, 64, guarded=True) as w:
        w.settle()
        shown = answers_with(w, access=hides_all_but_one_unit(w))
        assert shown["holds"], "the source's guard holds nobody"
        w.program.wait(lambda: not source_status(w)["holds"], "the source to recover", 60)
        goes_on(w)


@pytest.mark.long
def test_CAP_C2_rights_that_come_back_are_noticed(tmp_path):
    """No server tells that; those who are held are looked for every minute."""
    with world(tmp_path, "syncrepl", 66, guarded=True) as w:
        w.settle()
        assert answers_with(w, again=False, access=hides_all_but_one_unit(w))["holds"]
        w.program.wait(lambda: not source_status(w)["holds"], "the source to recover", 100)
        goes_on(w)


@DRIVERS
def test_CAP_C2_an_answer_that_is_cut(tmp_path, driver):
    """The connection ends in the middle of the enumeration, again and again."""
    with world(tmp_path, driver, 65, proxy=True) as w:
        w.settle()
        w.proxy.cut_after(lambda: 12)
        w.program.restart("collector:corp")
        before = w.proxy.cuts
        w.program.wait(lambda: w.proxy.cuts >= before + 4, "some cuts", 30)
        w.proxy.cut_after(None)
        goes_on(w)
