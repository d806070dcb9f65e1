"""The broker's side of the wire (lib/wire.h), scripted, for tests of one collector: it commits what comes, keeps the newest state of every
user, and gives it back when the collector starts again.

    with Broker(folder / "b") as broker, Collector(broker, conf) as collector:
        broker.wait(lambda b: b.user(attrs={"sAMAccountName": "alice"}))
"""

import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import threading
import time
import uuid

import zmq

from pipeline import to_yaml
from sims import build_dir

WIRE = pathlib.Path(__file__).resolve().parent.parent.parent / "lib" / "wire.h"


def _declared():
    """Records and verbs as lib/wire.h declares them: {name: [(type, field, record)]}; the verbs' numbers, the version."""
    text = re.sub(r"/\*.*?\*/", "", WIRE.read_text(), flags=re.S).replace("\\\n", " ")
    lists = {}
    for name, body in re.findall(r"#define WIRE_([A-Z]+)\(F\)(.*)", text):
        fields = re.findall(r"F\((\w+), (\w+)(?:, (\w+))?\)", body)
        if fields:
            lists[name.lower()] = fields
    numbers = {verb: int(n) for n, verb in re.findall(r"V\((\d+), (\w+), WIRE_", text)}
    version = int(re.search(r"WIRE_VERSION = (\d+)", text).group(1))
    return lists, numbers, version


LISTS, VERBS, VERSION = _declared()
NAMES = {n: verb for verb, n in VERBS.items()}
NUMBERS = {"u8": "<B", "u32": "<I", "u64": "<Q", "i64": "<q"}


def encode(name, values):
    out = b""
    for kind, field, record in LISTS[name]:
        value = values.get(field)
        if kind in NUMBERS:
            out += struct.pack(NUMBERS[kind], value or 0)
        elif kind in ("id", "fp"):
            out += value or bytes(16)
        elif kind == "list":
            records = b"".join(encode(record, r) for r in value or [])
            out += struct.pack("<II", len(value or []), len(records)) + records
        else:
            value = value.encode() if isinstance(value, str) else value or b""
            out += struct.pack("<I", len(value)) + value
    return out


def decode(name, data, at=0):
    values = {}
    for kind, field, record in LISTS[name]:
        if kind in NUMBERS:
            (values[field],) = struct.unpack_from(NUMBERS[kind], data, at)
            at += struct.calcsize(NUMBERS[kind])
        elif kind in ("id", "fp"):
            values[field], at = data[at:at + 16], at + 16
        elif kind == "list":
            count, _size = struct.unpack_from("<II", data, at)
            at += 8
            values[field] = []
            for _ in range(count):
                value, at = decode(record, data, at)
                values[field].append(value)
        else:
            (n,) = struct.unpack_from("<I", data, at)
            values[field], at = data[at + 4:at + 4 + n], at + 4 + n
    return values, at


def bodies(head, body):
    """The bodies of a message: several when its header says that they are packed."""
    if not head[4] & 1:
        return [body]
    found, at = [], 0
    while at < len(body):
        (n,) = struct.unpack_from("<I", body, at)
        found.append(body[at + 4:at + 4 + n])
        at += 4 + n
    return found


class User:
    """The newest state of one user as published."""

    def __init__(self, record):
        self.record = record
        self.id = str(uuid.UUID(bytes=record["id"]))
        self.gone = bool(record["gone"])
        self.targets = [r["text"].decode() for r in record["in"]]
        self.refs = {r["name"].decode(): str(uuid.UUID(bytes=r["id"])) for r in record["refs"]}
        self.snapshot = json.loads(record["snapshot"]) if record["snapshot"] else {}
        self.version = 1

    def __getattr__(self, name):
        try:
            return self.snapshot[name]
        except KeyError:
            raise AttributeError(name) from None

    def first(self, attr):
        values = self.snapshot.get("attrs", {}).get(attr, [])
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.id} gone={self.gone} {self.targets} {self.snapshot}>"


class Router(threading.Thread):
    """A broker's end of an ipc:// endpoint; subclasses run() it until `ending` is set."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.endpoint = f"ipc://{path}"
        self.lock = threading.RLock()
        self.heard = threading.Condition(self.lock)  # something came
        self.epoch = (int(time.time() * 1000), int.from_bytes(os.urandom(8), "little"))
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.bind(self.endpoint)
        self.ending = threading.Event()

    def wait_for(self, test, seconds, what):
        """Until test() is true; its value. It is asked whenever something came, and now and then: services change, too."""
        end = time.monotonic() + seconds
        with self.heard:
            while not (value := test()):
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{what}: not after {seconds} s")
                self.heard.wait(min(left, 0.2))
        return value

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join(10)
        self.socket.close(0)
        self.context.term()


class Broker(Router):
    """What it keeps survives a collector, as Redis does: cursor, server, users, config."""

    def __init__(self, path):
        super().__init__(path)
        self.users = {}
        self.cursor = self.server = b""
        self.config = bytes(16)
        self.distrust = False
        self.session = 0
        self.batches = []  # every PUBLISH in order
        self.holds = []
        self.beats = []
        self.hellos = 0
        self.caught_up = False
        self.commit = True  # false: batches are taken and never committed

    def run(self):
        while not self.ending.is_set():
            if not self.socket.poll(50):
                continue
            peer, head, body = self.socket.recv_multipart()
            if head[:2] != b"DP" or head[2] != VERSION:
                self.send(peer, "error", verb=head[3] if len(head) > 3 else 0, reason="not this version")
                continue
            verb = NAMES[head[3]]
            values, _ = decode(verb, body)
            with self.lock:
                getattr(self, "on_" + verb, lambda *_: None)(peer, values)
                self.heard.notify_all()

    def send(self, peer, verb, **values):
        head = b"DP" + bytes([VERSION, VERBS[verb]]) + bytes(6) + struct.pack("<QQ", *self.epoch)
        self.socket.send_multipart([peer, head, encode(verb, values)])

    def on_hello(self, peer, hello):
        self.hellos += 1
        self.session += 1
        self.caught_up = False
        self.peer = peer
        known = [dict(id=u.record["id"], gone=u.record["gone"], fingerprint=u.record["fingerprint"], **{"in": u.record["in"]},
                      groups=u.record["groups"]) for u in self.users.values()]
        self.send(peer, "welcome", session=self.session, last=1, distrust=self.distrust, config=self.config, cursor=self.cursor,
                  server=self.server, users=known)
        self.config = hello["config"]

    def on_publish(self, peer, batch):
        if batch["session"] != self.session:
            self.send(peer, "fenced", session=batch["session"], reason="an older session")
            return
        self.batches.append(batch)
        if not self.commit:
            return
        for record in batch["users"]:
            user = User(record)
            if user.id in self.users:
                user.version = self.users[user.id].version + 1
                if user.gone and not user.snapshot:
                    user.snapshot = self.users[user.id].snapshot
            self.users[user.id] = user
        if batch["has_cursor"]:
            self.cursor, self.server = batch["cursor"], batch["server"]
        self.caught_up = self.caught_up or bool(batch["caught_up"])
        self.send(peer, "committed", session=self.session, batch=batch["batch"])

    def on_beat(self, peer, beat):
        self.beats.append(beat)
        self.send(peer, "beat", session=self.session, clock_unix_ms=int(time.time() * 1000))

    def on_hold(self, _peer, hold):
        self.holds.append(hold)

    def confirm(self, kind, name=""):
        with self.lock:
            self.send(self.peer, "confirm", kind=kind, name=name)

    # ---- for tests ----

    def find(self, **attrs):
        """The users that are not gone and whose first values are these."""
        with self.lock:
            return [u for u in self.users.values() if not u.gone and all(u.first(k) == v for k, v in attrs.items())]

    def get(self, id_text):
        with self.lock:
            return self.users.get(id_text)

    def wait(self, test, seconds=20, what="condition"):
        """Until test(self) is true; its value."""
        return self.wait_for(lambda: test(self), seconds, what)

    def wait_user(self, id_text, test, seconds=20):
        return self.wait(lambda b: (u := b.users.get(id_text)) and test(u) and u, seconds, f"user {id_text}")

    def wait_gone(self, id_text, seconds=20):
        return self.wait_user(id_text, lambda u: u.gone, seconds)

    def wait_caught_up(self, seconds=30):
        self.wait(lambda b: b.caught_up, seconds, "caught_up")


class Collector:
    """dirpipe-collector on one source, with a configuration of its own in the folder."""

    def __init__(self, broker, folder, source, name="corp", env=None, log_level="info"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        token = self.folder / "token"
        token.write_text("unused")
        token.chmod(0o600)
        self.broker, self.name, self.source = broker, name, source
        self.env = {**os.environ, **(env or {})}
        # Crash points are only in the build with hooks.
        hooks = os.environ.get("DIRPIPE_HOOKS_BUILD") if "DIRPIPE_CRASH_AT" in self.env else None
        self.program = pathlib.Path(hooks or build_dir()) / "dirpipe-collector"
        self.log_level = log_level
        self.path = self.folder / "dirpipe.yaml"
        self.log_path = self.folder / "collector.jsonl"
        self.process = None

    def write(self):
        from pipeline import Secret

        conf = {
            "broker": {"endpoints": [self.broker.endpoint]},
            "connect": {"endpoints": [self.broker.endpoint]},
            "log": {"level": self.log_level},
            "sources": {self.name: self.source},
            "targets": {"app": {"driver": "scim", "url": "http://127.0.0.1:9/", "auth": {
                "method": "bearer", "token": Secret(self.folder / "token")}, "mapping": {"userName": "id"}}},
        }
        self.path.write_text(to_yaml(conf).lstrip("\n") + "\n")

    def start(self):
        self.write()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), "--config", str(self.path), self.name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, start_new_session=True)
        return self

    def stop(self):
        """Ends it in order; the exit code."""
        if not self.process:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        code, self.process = self.process.returncode, None
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log(self):
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"msg": line})
        return lines

    def wait_log(self, text, seconds=20, since=0):
        """The first line since number `since` that contains text anywhere."""
        deadline = time.monotonic() + seconds
        while True:
            for line in self.log()[since:]:
                if text in json.dumps(line, ensure_ascii=False):
                    return line
            if self.process and self.process.poll() is not None:
                raise RuntimeError(f"the collector ended with {self.process.returncode}: {self.log()[-5:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} is not in the log: {self.log()[-20:]}")
            time.sleep(0.02)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        code = self.stop()
        assert code in (None, 0), f"the collector ended with {code}: {self.log()[-10:]}"
