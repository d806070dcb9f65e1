"""A master and a replica of Redis that Sentinel fails over (GOALS F3, CAPABILITIES): the master is killed, or hangs and comes back as if it were
still the master. Where the broker finds Redis moves with it, as with an address that Sentinel's client-reconfig-script moves."""

import shutil
import signal
import subprocess
import threading

import pytest

from pipeline import free_port
from programs import Programs
from proxy import Proxy
from world import World

pytestmark = pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")


class Group:
    """Two Redis servers and a sentinel; proxy leads to the one that Sentinel holds for the master."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.ports, self.sentinel_port = [free_port(), free_port()], free_port()
        self.running, self.ending = {}, threading.Event()
        self.proxy = Proxy(self.ports[0])

    def launch(self, port, *more):
        place = self.folder / str(port)
        place.mkdir(exist_ok=True)
        self.running[port] = subprocess.Popen(["redis-server", *more, "--port", str(port), "--bind", "127.0.0.1", "--dir", place,
                                               "--logfile", place / "log"], stdin=subprocess.DEVNULL)

    def redis(self, port, *more):
        self.launch(port, "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
                    "--repl-diskless-sync-delay", "0", *more)

    def say(self, port, *words):
        try:
            done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, timeout=1)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.strip()

    def role(self, port):
        return self.say(port, "ROLE").split("\n")[0]

    def knows(self, port):
        """Could Sentinel promote it?"""
        words = self.say(self.sentinel_port, "SENTINEL", "replicas", "dp").split("\n")
        known = dict(zip(words[::2], words[1::2]))
        return known.get("port") == str(port) and known.get("flags") == "slave" and known.get("master-link-status") == "ok"

    @property
    def master(self):
        return self.proxy.to[1]

    @property
    def other(self):
        return next(p for p in self.ports if p != self.master)

    def follow(self):
        """The address goes where Sentinel says."""
        while not self.ending.wait(0.05):
            said = self.say(self.sentinel_port, "SENTINEL", "get-master-addr-by-name", "dp").split("\n")
            if len(said) == 2 and said[1].isdigit() and int(said[1]) != self.master:
                self.proxy.to = ("127.0.0.1", int(said[1]))
                self.proxy.cut()

    def __enter__(self):
        self.redis(self.ports[0])
        self.redis(self.ports[1], "--replicaof", "127.0.0.1", str(self.ports[0]))
        conf = self.folder / "sentinel.conf"
        conf.write_text(f"sentinel monitor dp 127.0.0.1 {self.ports[0]} 1\nsentinel down-after-milliseconds dp 700\n"
                        "sentinel failover-timeout dp 3000\n")
        subprocess.run(["chmod", "600", conf], check=True)
        place = self.folder / "sentinel"
        place.mkdir()
        self.running["sentinel"] = subprocess.Popen(["redis-server", conf, "--sentinel", "--port", str(self.sentinel_port), "--bind",
                                                     "127.0.0.1", "--dir", place, "--logfile", place / "log"], stdin=subprocess.DEVNULL)
        self.proxy.start()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join(10)
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.proxy.__exit__()


class WithoutRedis(Programs):
    def names(self):
        return [n for n in super().names() if n != "redis"]


@pytest.mark.parametrize("rounds", [1, pytest.param(4, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("how", ["killed", pytest.param("hanging", marks=pytest.mark.long)])
def test_GOALS_F3_failed_over_by_sentinel(tmp_path, how, rounds):
    """Each page is on the replica before anything leaves the broker (broker.redis.replicas: 1), so the new master has all that was confirmed;
    whatever it lacks is read again. The old one, when it comes back, is asked for nothing."""
    with Group(tmp_path / "redis") as group:
        broker = {"redis": {"url": f"redis://127.0.0.1:{group.proxy.port}/0", "replicas": 1, "timeout": "2s", "connect_timeout": "1s"}}
        with World(tmp_path, users=60, seed=29, program=WithoutRedis, broker=broker) as w:
            p = w.program
            w.settle()
            for _ in range(rounds):
                old, new = group.master, group.other
                p.wait(lambda: group.knows(new), "Sentinel to know the replica", 30)
                w.load(60)
                if how == "killed":
                    group.running[old].kill()
                    group.running[old].wait()
                else:
                    group.running[old].send_signal(signal.SIGSTOP)
                w.load(30)
                p.wait(lambda: group.master == new, "Sentinel to promote the replica", 40)
                if how == "killed":
                    group.redis(old)
                else:
                    group.running[old].send_signal(signal.SIGCONT)
                p.wait(lambda: group.role(old) == "slave" and group.role(new) == "master", "the old master to be a replica", 40)
                w.load(30)
                w.settle()
            assert p.status()["redis"]["quarantined"] == 0
