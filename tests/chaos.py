"""Everything at once: a seeded schedule of kills, stops, cut connections, faults of the services, of Redis and of the directory, under a
seeded load of changes; then an independent checker that reads only the directory and the services. See tests/chaos --help."""

import argparse
import collections
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "system"))

from pipeline import Pipeline  # noqa: E402
from world import World, driver_of  # noqa: E402

PROGRAMS = ["dirpipe-broker", "dirpipe-collector", "dirpipe-worker", "dirpipe-worker", "redis-server"]


class Chaos:
    def __init__(self, world, seed):
        self.w = world
        self.random = random.Random(f"chaos/{seed}")
        self.did = collections.Counter()
        self.until = []  # (moment, what ends a fault)
        self.standing = set()  # services that are stopped: nothing can be asked of them

    def pid(self):
        pids = [p for program in PROGRAMS for p in self.w.program.pids(program)]
        return self.random.choice(pids) if pids else None

    def later(self, least_s, most_s, end):
        self.until.append((time.monotonic() + self.random.uniform(least_s, most_s), end))

    # ---- what happens ----

    def kill(self):
        pid = self.pid()
        if pid:
            self.send(pid, signal.SIGKILL)

    def stop(self):
        pid = self.pid()
        if pid:
            self.send(pid, signal.SIGSTOP)
            self.later(0.1, 8, lambda: self.send(pid, signal.SIGCONT))

    def send(self, pid, what):
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            pass

    def cut_directory(self):
        self.w.proxy.cut()

    def refuse_directory(self):
        self.w.proxy.refuse = True
        self.w.proxy.cut()
        self.later(0.1, 5, lambda: setattr(self.w.proxy, "refuse", False))

    def hold_directory(self):
        self.w.proxy.hold = True
        self.later(0.1, 5, lambda: setattr(self.w.proxy, "hold", False))

    def restart_directory(self):
        self.w.directory.restart(hard=self.random.random() < 0.5)

    def service_faults(self):
        r = self.random
        service = r.choice(list(self.w.services.values()))
        if service in self.standing:
            return
        path = "/v1.0/" if driver_of(service) == "graph" else "/scim/v2/Users"
        do = r.choice([{"cut": "after_commit"}, {"cut": "before"}, {"cut": "mid_answer"}, {"rst": True}, {"status": 503}, {"status": 500},
                       {"status": 429, "headers": {"Retry-After": "1"}}, {"status": 429, "headers": {"Retry-After": "0.3"}},
                       {"truncated_json": True}, {"html": True}, {"delay_ms": 300}, {"delay_ms": 30}])
        service.faults([{"match": {"path_prefix": path, "probability": r.choice([0.05, 0.2, 0.6]), "seed": r.randrange(1, 1 << 30)}, "do": do}])
        self.later(0.5, 6, lambda: service in self.standing or service.faults([]))  # else at the end
        self.did[f"  of them {next(iter(do))} {do[next(iter(do))]}"] += 1

    def service_stops(self):
        """It answers nobody for a moment and carries out afterwards what came meanwhile."""
        service = self.random.choice(list(self.w.services.values()))
        if service in self.standing:
            return
        self.standing.add(service)
        self.send(service.process.pid, signal.SIGSTOP)
        self.later(0.1, 3, lambda: self.service_continues(service))

    def service_continues(self, service):
        self.send(service.process.pid, signal.SIGCONT)
        self.standing.discard(service)

    def burst(self):
        self.w.load(self.random.randrange(50, 200))

    # ---- the schedule ----

    def step(self):
        now = time.monotonic()
        for entry in [e for e in self.until if e[0] <= now]:
            self.until.remove(entry)
            entry[1]()
        act = self.random.choice([self.kill] * 4 + [self.stop] * 3 + [self.service_faults] * 4 + [self.cut_directory, self.refuse_directory,
                                 self.hold_directory, self.restart_directory, self.service_stops, self.burst])
        self.did[act.__name__] += 1
        act()
        self.w.load(self.random.randrange(5, 30))

    def end(self):
        for service in list(self.standing):
            self.service_continues(service)
        for _, end in self.until:
            end()
        self.until = []
        for service in self.w.services.values():
            service.faults([])
        for program in set(PROGRAMS):  # whatever was stopped by chance twice
            for pid in self.w.program.pids(program):
                self.send(pid, signal.SIGCONT)


def run(seed, minutes, users, place):
    w = World(place, users=users, seed=seed, program=Pipeline, proxy=True, workers={"app": 2, "m365": 2},
              slapd={"sessionlog": random.Random(seed).choice([None, 50, 1000])},
              source={"guard": {"percent": 100}})  # of so few people many leave while a collector is stopped
    with w:
        w.settle(60 + users / 20)
        chaos = Chaos(w, seed)
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            chaos.step()
            pause = time.monotonic() + chaos.random.uniform(0.05, 1.5)
            w.program.wait(lambda: time.monotonic() >= pause, "time to pass")
        chaos.end()
        took = w.settle(240)
        ended = [line["msg"] for line in w.program.log() if "ended with code" in line.get("msg", "")]
        assert not ended, f"a program ended by itself: {ended}"
        stats = {name: service.stats() for name, service in w.services.items()}
    print(f"seed {seed}: {len(w.people)} people equal in both services {took:.0f} s after the last fault; 0 lost, 0 twice, 0 backwards, 0 unasked")
    for name, s in stats.items():
        print(f"  {name}: {s['creates']} created, {s['updates']} changed, {s['faults']} faults, {s['requests']} requests")
    for name, n in chaos.did.most_common():
        print(f"  {n:5} {name}")


def main():
    parser = argparse.ArgumentParser(prog="tests/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="default: one that is made up and printed")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="so many seeds, one after the other, from the first")
    parser.add_argument("--minutes", type=float, default=2, metavar="M", help="of each seed")
    parser.add_argument("--users", type=int, default=150, metavar="N")
    options = parser.parse_args()
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 31)
    failed = []
    for seed in range(first, first + options.seeds):
        print(f"tests/chaos --seed {seed} --minutes {options.minutes:g} --users {options.users}", flush=True)
        place = pathlib.Path(tempfile.mkdtemp(prefix="dirpipe-chaos-"))
        try:
            run(seed, options.minutes, options.users, place)
            shutil.rmtree(place, ignore_errors=True)
        except (AssertionError, RuntimeError, TimeoutError) as error:
            failed.append(seed)
            print(f"seed {seed} FAILED: {str(error)[:4000]}\nwhat happened stands in {place}", flush=True)
    if failed:
        print(f"failed seeds: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
