"""The broker's side of the wire (lib/wire.h), scripted, for tests of one worker: it keeps of each user what the real one keeps (link,
applied fingerprint, version), sends TASKs when the test says so and answers NOTE and RESULT.

    with WorkerBroker(folder / "b") as broker, Worker(broker, folder, target):
        user = broker.add(attrs={"mail": ["anna@a.example"]})
        assert broker.do(user).verdict == "done"
"""

import base64
import json
import os
import pathlib
import signal
import struct
import subprocess
import time
import uuid

from fakebroker import NAMES, VERBS, VERSION, Router, bodies, decode, encode
from pipeline import Secret, to_yaml
from sims import build_dir

VERDICTS = ["done", "retry", "parked", "rejected", "throttled", "auth_failed", "down"]
LINKS = ["none", "creating", "active", "disabled", "deleted", "unmanaged"]
NOTES = ["creating", "claim", "partial"]


class Result:
    def __init__(self, record):
        self.record = record
        self.verdict = VERDICTS[record["verdict"]]
        self.ops = record["ops"].decode().split()
        self.wants = [w["op"].decode() for w in record["wants"]]
        for name in ("reason", "detail", "rid", "waits", "request_id"):
            setattr(self, name, record[name].decode())
        for name in ("status", "requests", "after_ms"):
            setattr(self, name, record[name])
        self.unknown = bool(record["unknown_outcome"])

    def __repr__(self):
        return f"<{self.verdict} {self.reason} ops={self.ops} wants={self.wants} status={self.status} {self.detail}>"


class User:
    """What the real broker holds of a user at this target."""

    def __init__(self, attrs):
        self.id = uuid.uuid4()
        self.attrs = {name: value if isinstance(value, list) else [value] for name, value in attrs.items()}
        self.enabled = True
        self.groups = []
        self.inside, self.gone = True, False
        self.version = 1
        self.refs = {}
        self.rid, self.link, self.memory, self.applied = "", "none", b"", bytes(16)
        self.notes = []
        self.result = None

    @property
    def immutable_id(self):
        return base64.b64encode(self.id.bytes).decode()

    def snapshot(self):
        return json.dumps({
            "account": {"enabled": self.enabled}, "attrs": self.attrs, "dn": f"CN={self.id}", "groups": sorted(self.groups),
            "id": str(self.id), "immutable_id": self.immutable_id, "source": "corp"},
            sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class WorkerBroker(Router):
    def __init__(self, path):
        super().__init__(path)
        self.page = 0
        self.leases = {}
        self.peer = None
        self.worker = 0
        self.stamp = 0
        self.offset_ms = 0  # the time in TASKs is so much ahead
        self.lease_ms = 20000
        self.refuse = set()  # kinds of NOTE that are refused
        self.outbox = []

    def run(self):
        while not self.ending.is_set():
            with self.lock:
                frames, self.outbox = self.outbox, []
            for frame in frames:
                self.socket.send_multipart(frame)
            if not self.socket.poll(2):
                continue
            peer, head, body = self.socket.recv_multipart()
            for one in bodies(head, body):
                values, _ = decode(NAMES[head[3]], one)
                with self.lock:
                    getattr(self, "on_" + NAMES[head[3]], lambda *_: None)(peer, values)
                    self.heard.notify_all()

    def send(self, peer, verb, **values):
        head = b"DP" + bytes([VERSION, VERBS[verb]]) + bytes(6) + struct.pack("<QQ", *self.epoch)
        self.outbox.append([peer, head, encode(verb, values)])

    def on_ready(self, peer, ready):
        self.peer, self.worker, self.stamp = peer, ready["nonce"], ready["clock_boot_ms"]
        self.send(peer, "beat", session=ready["nonce"], state=1, clock_unix_ms=int(time.time() * 1000))

    def on_beat(self, peer, beat):
        self.stamp = beat["clock_boot_ms"]
        self.send(peer, "beat", session=beat["session"], state=1, clock_unix_ms=int(time.time() * 1000))

    def _lease(self, values):
        return values["lease_page"], values["lease_index"]

    def on_note(self, peer, note):
        user = self.leases.get(self._lease(note))
        same = {k: note[k] for k in ("lease_epoch", "lease_page", "lease_index", "kind")}
        if not user or NOTES[note["kind"]] in self.refuse:
            self.send(peer, "refused", reason="refused by the test", **same)
            return
        user.notes.append(NOTES[note["kind"]])
        user.rid, user.link, user.memory = note["rid"].decode(), LINKS[note["link_state"]], note["link_memory"]
        self.send(peer, "noted", **same)

    def on_result(self, peer, record):
        same = {k: record[k] for k in ("lease_epoch", "lease_page", "lease_index")}
        user = self.leases.pop(self._lease(record), None)
        if not user:
            self.send(peer, "stale", **same)
            return
        user.rid, user.link = record["rid"].decode(), LINKS[record["link_state"]]
        user.memory, user.applied = record["link_memory"], record["applied"]
        user.result = Result(record)
        self.send(peer, "accepted", **same)

    # ---- for tests ----

    def add(self, **attrs):
        return User(attrs)

    def wait(self, test, seconds=20, what="condition"):
        return self.wait_for(test, seconds, what)

    def send_tasks(self, users, verify=False, permits=(), whats=()):
        """One TASK frame with these users; their results are awaited elsewhere. permits: operations; whats: "OPERATION:WHAT"."""
        self.wait(lambda: self.worker, what="READY")
        with self.lock:
            self.page += 1
            tasks = []
            for index, user in enumerate(users):
                user.result = None
                user.notes = []
                self.leases[self.page, index] = user
                tasks.append({
                    "lease_epoch": self.epoch[0], "lease_page": self.page, "lease_index": index, "stamp_ms": self.stamp,
                    "lease_ms": self.lease_ms, "worker": self.worker, "id": user.id.bytes, "source": "corp",
                    "version": user.version, "gone": user.gone, "in": user.inside, "verify": verify, "applied": user.applied,
                    "rid": user.rid, "link_state": LINKS.index(user.link), "link_memory": user.memory,
                    "rids": [{"name": name, "id": other.id.bytes, "rid": other.rid} for name, other in user.refs.items()],
                    "permits": [{"op": op, "what": what} for op, _, what in (p.partition(":") for p in (*permits, *whats))], "snapshot": user.snapshot()})
                user.applied = bytes(16)
            self.send(self.peer, "tasks", now_unix_ms=int(time.time() * 1000) + self.offset_ms, tasks=tasks)

    def do_all(self, users, seconds=30, **options):
        self.send_tasks(users, **options)
        self.wait(lambda: all(u.result for u in users), seconds, "results")
        return [u.result for u in users]

    def do(self, user, seconds=30, **options):
        return self.do_all([user], seconds, **options)[0]


class Worker:
    """dirpipe-worker on one target, with a configuration of its own in the folder."""

    def __init__(self, broker, folder, target, env=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.conf = {"broker": {"endpoints": [broker.endpoint]}, "connect": {"endpoints": [broker.endpoint]},
                     "log": {"level": "debug"}, "targets": {"app": target}}
        watched = sorted({rule["group"] for rule in target.get("groups", [])})
        if watched:
            self.conf["sources"] = {"corp": {
                "driver": "poll", "uris": ["ldaps://directory.example"], "base_dn": "dc=example",
                "bind": {"dn": "cn=x", "password": Secret(self.folder / "none")}, "users": {"attributes": ["mail"]},
                "groups": [{"name": name, "dn": f"cn={name}"} for name in watched], "routes": [{"target": "app"}]}}
        self.path = self.folder / "dirpipe.yaml"
        self.log_path = self.folder / "worker.jsonl"
        self.env = {**os.environ, **(env or {})}
        self.process = None

    def _command(self, *options):
        self.path.write_text(to_yaml(self.conf).lstrip("\n") + "\n")
        return [str(build_dir() / "dirpipe-worker"), "--config", str(self.path), *options, "app"]

    def run(self, *options):
        """`--check` and `--list`: (exit code, output)."""
        done = subprocess.run(self._command(*options), capture_output=True, text=True, env=self.env, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def __enter__(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        code, self.process = self.process.returncode, None
        return code

    def __exit__(self, *_):
        if self.process:
            code = self.stop()
            assert code == 0, f"the worker ended with {code}: {self.log_path.read_text()[-3000:]}"

    def log_text(self):
        return self.log_path.read_text(errors="replace")
