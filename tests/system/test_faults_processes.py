"""Programs that are killed, stopped and continued, started twice, cut off or slow (GOALS F1, F8, F16, F23, C14). world.py checks that the
services equal the directory afterwards, that nothing is there twice, that no version went back, that nothing was destroyed unasked."""

import copy
import os
import random
import signal
import time

import pytest
import zmq

from pipeline import Pipeline, Secret, free_port, to_yaml
from programs import control
from proxy import Proxy
from world import World

PROGRAMS = ["dirpipe-broker", "dirpipe-collector", "dirpipe-worker", "redis-server"]


def until(w, seconds):
    """Lets everything run for so long; whatever ends meanwhile is an error."""
    end = time.monotonic() + seconds
    w.program.wait(lambda: time.monotonic() >= end, "time to pass", seconds + 10)


def kill_campaign(folder, users, changes, kills, seed):
    with World(folder, users=users, seed=seed, program=Pipeline, workers={"app": 2, "m365": 2}) as w:
        w.settle(60 + users / 20)
        r = random.Random(seed)
        for _ in range(kills):
            w.load(changes // kills // 2)
            pid = r.choice([p for program in PROGRAMS for p in w.program.pids(program)])
            running = {program: len(w.program.pids(program)) for program in PROGRAMS}
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            w.load(changes // kills - changes // kills // 2)
            w.program.wait(lambda: all(len(w.program.pids(p)) >= n for p, n in running.items()), "what was killed to be started again", 30)
        w.settle(120)
        ended = [line["msg"] for line in w.program.log() if "ended with code" in line.get("msg", "")]
        assert not ended, ended
        killed = [line["msg"] for line in w.program.log() if "was ended by signal 9" in line.get("msg", "")]
        assert len(killed) >= kills * 0.9
        for service in w.services.values():  # I8: what is done again because of a kill is bounded
            assert service.stats()["duplicates"] == 0


def test_GOALS_F1_kills_at_random(tmp_path):
    kill_campaign(tmp_path, users=200, changes=5000, kills=25, seed=3)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_GOALS_F1_kills_at_random_in_full(tmp_path):
    kill_campaign(tmp_path, users=10000, changes=100000, kills=200, seed=4)


# ---- started twice ----


def test_GOALS_F8_a_second_broker_waits_and_the_first_steps_down(tmp_path):
    """A standby has its own endpoints and the same Redis. The active one stops for longer than `takeover`: the standby becomes active; the
    one that is continued writes nothing any more."""
    with World(tmp_path, users=40, seed=5) as w:
        w.settle()
        p = w.program
        second = copy.deepcopy(p.conf)
        run = p.directory / "run"
        second["broker"] |= {"endpoints": [f"ipc://{run}/b2"], "control": f"{run}/c2", "http": ""}
        path = tmp_path / "second.yaml"

        path.write_text(to_yaml(second).lstrip("\n") + "\n")
        p.start_program("broker:second", config=path, wait=False)
        ask = lambda verb: control(f"{run}/c2", verb, timeout=5)
        p.wait(lambda: (ask("status") or {}).get("state") == "standby", "the second broker to stand by")
        epoch = p.status()["epoch"]["number"]
        for _ in range(3):
            w.load(20)
            p.send("broker", signal.SIGSTOP)
            w.load(20)
            p.wait(lambda: (ask("status") or {}).get("state") == "ready", "the standby to take over", 30)
            newer = ask("status")["epoch"]["number"]
            assert newer > epoch
            p.send("broker", signal.SIGCONT)
            p.wait(lambda: (p.status() or {}).get("state") in ("standby", "down", "loading", "ready"), "the first to answer")
            # Its peers are all with the first one: it must come back as soon as the second is gone.
            p.kill("broker:second")
            p.wait(lambda: (p.status() or {}).get("state") == "ready" and p.status()["epoch"]["number"] > newer, "the first to be active", 60)
            epoch = p.status()["epoch"]["number"]
            p.start_program("broker:second", config=path, wait=False)
        w.settle()


def test_GOALS_F8_a_broker_started_twice_by_mistake(tmp_path):
    """The same configuration, so the same sockets: it refuses, and the first goes on."""
    with World(tmp_path, users=30, seed=6) as w:
        w.settle()
        w.load(20)
        p = w.program
        p.start_program("broker:again", config=p.path, wait=False)
        p.expected.add("broker:again")
        p.wait(lambda: p.died("broker:again") is not None, "the second to end", 20)
        assert p.died("broker:again") > 0
        p.running.pop("broker:again")
        w.load(50)
        w.settle()
        for name in ("worker:app", "collector:corp"):  # who comes now finds the first one still
            p.restart(name)
        w.load(50)
        w.settle(20)


def test_GOALS_F8_two_collectors_for_one_source(tmp_path):
    with World(tmp_path, users=40, seed=7) as w:
        w.settle()
        p = w.program
        p.start_program("collector:corp:2")
        w.load(30)
        w.settle()
        p.wait(lambda: any(line.get("code") == "DP-1106" for line in p.log()), "the second to stand by", 20)
        session = p.status()["sources"][0]["session"]
        p.send("collector:corp", signal.SIGSTOP)
        w.load(30)
        p.wait(lambda: (p.status() or {"sources": [{"session": 0}]})["sources"][0]["session"] > session, "the second to take over", 90)
        w.load(30)
        w.settle()
        p.send("collector:corp", signal.SIGCONT)  # what it has read and not sent is old now
        w.load(60)
        w.settle()
        p.wait(lambda: p.died("collector:corp") is None, "the first to be alive")
        standing_by = [line for line in p.log() if line.get("code") == "DP-1106"]
        assert len(standing_by) <= 2, "each says once that it stands by"


@pytest.mark.parametrize("tries", [50, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_GOALS_F8_no_user_is_with_two_workers(tmp_path, tries):
    """Four workers of one target and a service that is slow to answer: no two writes for one user overlap."""
    with World(tmp_path, users=20, seed=8, targets=("app",), groups=False, workers={"app": 4}) as w:
        w.settle()
        w.services["app"].faults([{"match": {"method": "PATCH"}, "do": {"delay_ms": 20}}])
        for i in range(tries):
            w.load(10, ["update"])
            if i % 10 == 0:
                w.settle()
        w.settle()


# ---- stopped and continued ----


@pytest.mark.parametrize("times", [3, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_GOALS_C14_worker_continued_after_its_lease(tmp_path, times):
    """It is stopped with requests that it has not sent yet; meanwhile others write newer versions of the same people."""
    with World(tmp_path, users=80, seed=9, targets=("app",), groups=False, workers={"app": 2},
               target={"http": {"connections": 1}, "options": {"bulk": "never"}}, broker={"lease": "1s", "grace": "200ms"}) as w:
        w.settle()
        app = w.services["app"]
        for _ in range(times):
            app.faults([{"match": {"method": "PATCH"}, "do": {"delay_ms": 30}}])
            for the_id in list(w.people):
                w.bump(the_id)
            w.program.wait(lambda: w.program.status()["targets"][0]["queue"]["in_flight"] >= 30, "work that lies at the workers", 20)
            w.program.send("worker:app", signal.SIGSTOP)
            app.faults([])
            for the_id in list(w.people):
                w.bump(the_id)
            until(w, 3.5)
            w.settle()  # the other worker has done it all
            w.program.send("worker:app", signal.SIGCONT)
            w.load(20)
            until(w, 1)
            w.settle()


def test_GOALS_F16_worker_cut_from_the_broker_stops_writing(tmp_path):
    """The broker stands still while the worker has more to write than its lease has time for: with the lease its writing ends."""
    with World(tmp_path, users=100, seed=10, targets=("app",), groups=False,
               target={"http": {"connections": 1}, "options": {"bulk": "never"}}) as w:
        w.settle()
        app = w.services["app"]
        app.faults([{"match": {"method": "PATCH"}, "do": {"delay_ms": 100}}])
        for the_id in list(w.people):
            w.bump(the_id)
        w.program.wait(lambda: w.program.status()["targets"][0]["queue"]["in_flight"] >= 40, "work that lies at the worker", 20)
        w.program.send("broker", signal.SIGSTOP)
        stopped = time.time()
        until(w, 5)
        late = [x for x in app.ledger() if x["time"] / 1000 > stopped + 2.0 + 0.3]  # its lease, and the service's own slowness
        assert not late, f"{len(late)} writes after the lease: {late[0]}"
        begun = [x for x in app.ledger() if x["time"] / 1000 > stopped]
        assert 2 < len(begun) < 40, "the worker had too little to do: the test shows nothing"
        w.program.send("broker", signal.SIGCONT)
        app.faults([])
        w.settle()


def curve_keys(folder):
    folder.mkdir(parents=True, exist_ok=True)
    keys = {}
    for name in ("broker", "host"):
        public, secret = zmq.curve_keypair()
        path = folder / name
        path.write_bytes(secret)
        path.chmod(0o600)
        keys[name] = public.decode(), Secret(path)
    return keys


def test_GOALS_F16_network_cut_between_worker_and_broker_over_tcp(tmp_path):

    port = free_port()
    keys = curve_keys(tmp_path / "keys")
    broker = {"curve": {"secret_key": keys["broker"][1], "peers": [{"name": "h", "public_key": keys["host"][0], "role": "any"}]}}
    with Proxy(port) as cut:
        w = World(tmp_path, users=40, seed=12, targets=("app",), groups=False, broker=broker)
        connect = {"endpoints": [f"tcp://127.0.0.1:{cut.port}"], "curve": {"secret_key": keys["host"][1], "server_key": keys["broker"][0]}}

        class OverTcp(w.program_class):
            def write(self):
                self.conf["broker"]["endpoints"] = [f"tcp://127.0.0.1:{port}"]
                self.conf["connect"] = connect
                super().write()

        w.program_class = OverTcp
        with w:
            w.settle()
            for way in ("hold", "cut", "hold"):
                w.load(30)
                if way == "hold":  # nothing is lost, it only lies in a pipe for longer than a lease
                    cut.hold = True
                    w.load(30)
                    until(w, 3)
                    cut.hold = False
                else:
                    cut.refuse = True
                    cut.cut()
                    w.load(30)
                    until(w, 3)
                    cut.refuse = False
                w.settle()


# ---- slow ----


def expired(w):
    return (w.program.status() or {"targets": [{"totals": {"lease_expired": 0}}]})["targets"][0]["totals"]["lease_expired"]


def test_GOALS_F23_one_worker_of_four_is_slow(tmp_path):
    """It is stopped until leases of its tasks have ended, and may then run for a moment. What it holds is bounded by its credits, and comes to
    others when its leases end; nobody waits longer."""
    with World(tmp_path, users=30, seed=13, targets=("app",), groups=False, workers={"app": 4}, target={"worker": {"credits": 8}},
               broker={"lease": "1s", "grace": "200ms"}) as w:
        w.settle()
        w.program.wait(lambda: len(w.program.status()["targets"][0]["workers"]) == 4, "all workers")
        slow, most = w.program.running["worker:app:4"], 0
        try:
            for _ in range(4):
                before = expired(w)
                slow.send_signal(signal.SIGSTOP)
                for _ in range(10):
                    w.create()
                    w.load(4, ["update"])
                    status = w.program.status()
                    most = max(most, status["targets"][0]["queue"]["in_flight"] if status else 0)
                w.program.wait(lambda: expired(w) > before, "leases of the slow one to end", 30)
                w.settle(30)  # it is still stopped
                slow.send_signal(signal.SIGCONT)
                until(w, 0.05)
        finally:
            slow.send_signal(signal.SIGCONT)
        w.settle()
        assert most <= 4 * 8
