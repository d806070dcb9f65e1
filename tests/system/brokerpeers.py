"""Peers of a real dirpipe-broker, scripted: a collector that loads users and starts again wherever the broker was lost, and workers that
check that nobody else has the user whom they work on."""

import json
import os
import pathlib
import random
import select
import signal
import socket
import subprocess
import time
import uuid

import zmq

from fakebroker import NAMES, VERBS, VERSION, bodies, decode, encode
from pipeline import Secret, free_port, to_yaml
from sims import build_dir


def header(verb, epoch=(0, 0)):
    return b"DP" + bytes([VERSION, VERBS[verb]]) + bytes(6) + epoch[0].to_bytes(8, "little") + epoch[1].to_bytes(8, "little")


def boot_ms():
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)


def wait(condition, what, deadline_s=60):
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(what)
        select.select([], [], [], 0.01)


class Redis:
    """A redis-server of the test's own; ask() speaks the protocol by redis-cli."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / "r"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.path), "--dir", str(self.folder), "--appendonly", "yes",
             "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction", "--logfile", "redis.log"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait(lambda: self.ask("PING", check=False) == ["PONG"], "redis-server")
        return self

    def ask(self, *words, check=True):
        done = subprocess.run(["redis-cli", "-s", str(self.path), *map(str, words)], capture_output=True, text=True, check=check,
                              errors="replace")
        return done.stdout.splitlines()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


class Broker:
    def __init__(self, folder, redis, name="b", **more):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.http_port = free_port()
        self.endpoint = f"ipc://{self.folder}/{name}"
        self.control = self.folder / f"{name}.c"
        secret = self.folder / "secret"
        secret.write_text("geheim\n")
        secret.chmod(0o600)
        self.conf = {
            "realm": "t",
            "broker": {"endpoints": [self.endpoint], "control": str(self.control), "http": f"127.0.0.1:{self.http_port}",
                       "lease": "1s", "grace": "100ms", "takeover": "1s", "redis": {"url": f"unix://{redis.path}"}, **more},
            "connect": {"endpoints": [self.endpoint]},
            "log": {"level": "info"},
            "sources": {"corp": {"driver": "syncrepl", "uris": ["ldap://127.0.0.1:1"], "base_dn": "dc=x",
                                 "bind": {"method": "simple", "dn": "cn=x", "password": Secret(secret)},
                                 "users": {"attributes": ["cn"]}, "routes": [{"target": "app"}]}},
            "targets": {"app": {"driver": "scim", "url": "https://127.0.0.1:1", "auth": {"method": "bearer", "token": Secret(secret)},
                                "mapping": {"userName": "cn"}, "join": [{"remote": "externalId", "local": "id"}]}},
        }
        self.path = self.folder / f"{name}.yaml"
        self.log_path = self.folder / f"{name}.log"
        self.process = None
        self.write()

    def write(self):
        self.path.write_text(to_yaml(self.conf).lstrip("\n") + "\n")

    def start(self, crash_at=None, build=None):
        env = {k: v for k, v in os.environ.items() if k not in ("DIRPIPE_CRASH_AT", "NOTIFY_SOCKET", "JOURNAL_STREAM")}
        if crash_at:
            env["DIRPIPE_CRASH_AT"] = crash_at
            build = build or os.environ.get("DIRPIPE_HOOKS_BUILD")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(pathlib.Path(build or build_dir()) / "dirpipe-broker"), "--config", str(self.path)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; exit code and seconds."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15), time.monotonic() - begin

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def ask(self, verb, **fields):
        """The result, or {"error": code}; None while nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20)
                s.connect(str(self.control))
                s.sendall(json.dumps({"id": "q", "verb": verb, **fields}).encode() + b"\n")
                data = b""
                while not data.endswith(b"\n"):
                    more = s.recv(1 << 16)
                    if not more:
                        return None
                    data += more
        except OSError:
            return None
        answer = json.loads(data)
        assert answer["id"] == "q"
        return answer["result"] if answer["ok"] else {"error": answer["error"]["code"]}

    def state(self):
        status = self.ask("status")
        return status and status["state"]

    def wait_ready(self):
        wait(lambda: self.state() == "ready", f"a ready broker\n{self.log()[-2000:]}")
        return self


CONTEXT = zmq.Context.instance()


class Peer:
    def __init__(self, endpoint, keys=None):
        """keys: own public, own secret, the broker's public key (CURVE)."""
        self.socket = CONTEXT.socket(zmq.DEALER)
        self.socket.linger = 0
        if keys:
            self.socket.curve_publickey, self.socket.curve_secretkey, self.socket.curve_serverkey = keys
        self.socket.connect(endpoint)
        self.epoch = (0, 0)
        self.heard = []  # what came packed
        self.nonce = random.getrandbits(63) | 1

    def say(self, verb, **values):
        first = verb in ("hello", "ready")
        self.socket.send_multipart([header(verb, (0, 0) if first else self.epoch), encode(verb, values)], zmq.DONTWAIT)

    def hear(self):
        """(verb, values, epoch) or None."""
        try:
            if not self.heard:
                head, body = self.socket.recv_multipart(zmq.DONTWAIT)
                self.heard = [(head, one) for one in bodies(head, body)]
            head, body = self.heard.pop(0)
        except zmq.Again:
            return None
        epoch = (int.from_bytes(head[10:18], "little"), int.from_bytes(head[18:26], "little"))
        verb = NAMES[head[3]]
        values, end = decode(verb, body)
        assert end == len(body), verb
        return verb, values, epoch

    def close(self):
        self.socket.close(0)


class Collector(Peer):
    """Publishes the wanted versions {id: n} until the broker has committed all of them."""

    def __init__(self, endpoint, wanted, batch=40, window=4, source="corp"):
        super().__init__(endpoint)
        self.source = source
        self.wanted = dict(wanted)
        self.batch, self.window = batch, window
        self.committed = {}  # id -> version that was confirmed
        self.session = None
        self.known = {}
        self.asked = 0.0
        self.sessions = self.distrusted = 0
        self.beat_at = 0.0

    @staticmethod
    def fingerprint(version):
        return version.to_bytes(16, "little")

    def done(self):
        return all(self.committed.get(i) == v for i, v in self.wanted.items())

    def lose(self):
        self.session = None
        self.asked = 0.0

    def work(self):
        now = time.monotonic()
        while (message := self.hear()):
            self.take(*message)
        if self.session is None and now - self.asked > 0.5:
            self.asked = now
            self.known = {}
            self.say("hello", source=self.source, nonce=self.nonce, epoch_seen=self.epoch[0], config=b"c" * 16, driver="syncrepl",
                     clock_unix_ms=int(time.time() * 1000))
        if self.session and self.open:
            self.fill()
            if now - self.beat_at > 1:
                self.beat_at = now
                self.say("beat", session=self.session, state=1, server="ldap://dc1", total=len(self.wanted), lag_ms=5)

    def take(self, verb, values, epoch):
        if verb == "welcome":
            if self.session != values["session"]:
                self.session, self.open, self.sessions = values["session"], False, self.sessions + 1
                self.distrusted += values["distrust"]
                self.known = {}
            self.epoch = epoch
            self.known |= {u["id"]: int.from_bytes(u["fingerprint"], "little") for u in values["users"]}
            if values["last"]:
                self.begin(values["distrust"])
        elif self.session and epoch != self.epoch:
            self.epoch = max(self.epoch, epoch)
            self.lose()
        elif verb == "committed" and values["session"] == self.session:
            for batch in [b for b in self.flying if b <= values["batch"]]:
                self.committed |= self.flying.pop(batch)
        elif verb in ("fenced", "error"):
            self.lose()

    def begin(self, distrust):
        # What was confirmed once must be there, or the store says that it may have lost its tail.
        if not distrust:
            missing = {i for i, v in self.committed.items() if self.known.get(i, 0) < v}
            assert not missing, f"{len(missing)} confirmed users are gone"
        self.open, self.number, self.flying = True, 0, {}
        self.rest = [(i, v) for i, v in self.wanted.items() if distrust or self.known.get(i) != v]
        self.committed |= {i: v for i, v in self.known.items() if not distrust}
        self.said = False

    def fill(self):
        while len(self.flying) < self.window and (self.rest or not self.said):
            users, self.rest = self.rest[:self.batch], self.rest[self.batch:]
            self.number += 1
            self.said = not self.rest
            self.flying[self.number] = dict(users)
            self.say("publish", session=self.session, batch=self.number, caught_up=self.said, has_cursor=1,
                     cursor=f"cookie {self.session}/{self.number}", server="dc1",
                     users=[{"id": i, "in": [{"text": "app"}], "fingerprint": self.fingerprint(v), "groups": b"",
                             "snapshot": json.dumps({"id": str(uuid.UUID(bytes=i)), "v": v})} for i, v in users])


class Worker(Peer):
    """busy: shared by all workers of a test, user -> (worker, deadline): who is at the target with that user."""

    def __init__(self, endpoint, busy, applied, credits=20, work_s=0.02, target="app"):
        super().__init__(endpoint)
        self.busy, self.applied = busy, applied
        self.target = target
        self.credits, self.work_s = credits, work_s
        self.tasks = {}  # lease -> [task, finishes at, last said at]
        self.ready_epoch = None
        self.beat_at = self.ready_at = 0.0
        self.twice = []
        self.accepted = self.stale = 0
        self.verdict = lambda task: {"verdict": 0, "ops": "update", "status": 200}

    def work(self):
        now = time.monotonic()
        while (message := self.hear()):
            self.take(*message)
        if self.ready_epoch is None and now - self.ready_at > 0.5:
            self.ready_at = now
            self.say("ready", target=self.target, worker=f"w{self.nonce & 0xffff}", nonce=self.nonce, credits=self.credits, batch=5,
                     clock_boot_ms=boot_ms(), epoch_seen=self.epoch[0], config=b"m" * 16, driver="scim")
        if now - self.beat_at > 0.2 and self.epoch[0]:
            self.beat_at = now
            self.say("beat", clock_boot_ms=boot_ms())
        for lease, entry in list(self.tasks.items()):
            if now >= entry[1]:
                self.finish(lease, entry, now)

    def finish(self, lease, entry, now):
        task = entry[0]
        if self.busy.get(task["id"]) == (self.nonce, lease):
            del self.busy[task["id"]]
            self.applied[task["id"]] = max(self.applied.get(task["id"], 0), task["version"])
        if now - entry[2] < 0.5:
            return
        entry[2] = now
        self.say("result", lease_epoch=lease[0], lease_page=lease[1], lease_index=lease[2], applied=task["version"].to_bytes(16, "little"),
                 rid="r-" + task["id"].hex(), link_state=2, link_memory="{}", took_ms=20, requests=1, charged=1, **self.verdict(task))

    def take(self, verb, values, epoch):
        if epoch[0] > self.epoch[0]:
            self.epoch, self.ready_epoch, self.ready_at = epoch, None, 0.0
        if verb == "tasks":
            self.ready_epoch = epoch
            for task in values["tasks"]:
                self.begin(task)
        elif verb in ("accepted", "stale"):
            lease = (values["lease_epoch"], values["lease_page"], values["lease_index"])
            if self.tasks.pop(lease, None):
                self.accepted += verb == "accepted"
                self.stale += verb == "stale"
        elif verb == "beat" and values["state"] and self.ready_at:
            self.ready_epoch = epoch
        elif verb == "error":
            self.ready_epoch = None

    def begin(self, task):
        lease = (task["lease_epoch"], task["lease_page"], task["lease_index"])
        deadline = task["stamp_ms"] + task["lease_ms"]
        assert task["worker"] == self.nonce
        if boot_ms() >= deadline:
            return  # too old: a worker begins nothing after its deadline
        other = self.busy.get(task["id"])
        if other and boot_ms() < other_deadline(other, self.busy):
            self.twice.append((task["id"].hex(), other, lease))
        self.busy[task["id"]] = (self.nonce, lease)
        self.busy["deadlines"][lease] = deadline
        self.tasks[lease] = [task, time.monotonic() + random.random() * 2 * self.work_s, 0.0]


def other_deadline(other, busy):
    return busy["deadlines"].get(other[1], 0)


def drive(peers, until, what, deadline_s=60, step=None):
    """Runs all peers until it is true."""
    poller = zmq.Poller()
    for p in peers:
        poller.register(p.socket, zmq.POLLIN)
    end = time.monotonic() + deadline_s
    while not until():
        for p in peers:
            p.work()
        if step:
            step()
        if time.monotonic() > end:
            raise TimeoutError(what)
        poller.poll(5)
