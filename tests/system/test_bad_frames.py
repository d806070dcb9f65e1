"""GOALS 8, "ZeroMQ frames": strangers at the ports of a real broker. What they send is dropped, counted and told of (not often); the broker
lives, and a collector and a worker beside them get their work done."""

import os
import pathlib
import random
import resource
import socket
import struct
import time

import pytest
import zmq

from brokerpeers import Broker, Collector, Peer, Redis, Worker, boot_ms, drive, header, wait
from fakebroker import VERSION, encode
from pipeline import Secret, free_port


class World:
    def __init__(self, folder):
        self.redis = Redis(folder).start()
        self.ours, self.theirs, self.stranger = zmq.curve_keypair(), zmq.curve_keypair(), zmq.curve_keypair()
        secret = folder / "curve"
        secret.write_bytes(self.ours[1] + b"\n")
        secret.chmod(0o600)
        self.port = free_port()
        self.tcp = f"tcp://127.0.0.1:{self.port}"
        self.broker = Broker(folder, self.redis, lease="5s")
        self.broker.conf["broker"]["endpoints"].append(self.tcp)
        self.broker.conf["broker"]["curve"] = {"secret_key": Secret(secret), "peers": [
            {"name": "host2", "public_key": self.theirs[0].decode(), "role": "worker", "only": "app"}]}
        self.broker.write()
        self.broker.start().wait_ready()
        self.collector = Collector(self.broker.endpoint, {})
        self.applied = {}
        self.worker = Worker(self.broker.endpoint, {"deadlines": {}}, self.applied)
        self.n = 0

    def peers(self):
        return self.broker.ask("status")["peers"]

    def goes_on(self):
        self.n += 1
        user = bytes([1, *self.n.to_bytes(4, "big"), *bytes(11)])
        self.collector.wanted[user] = 1
        self.collector.lose()
        drive([self.collector, self.worker], lambda: self.collector.committed.get(user) and self.applied.get(user), "work goes on", 30)
        assert self.broker.process.poll() is None and not self.worker.twice

    def refused(self, send, n=1):
        """send(peer) is counted as n frames, malformed or refused, and does no harm."""
        before = sum(self.peers()[k] for k in ("malformed", "refused"))
        peer = Peer(self.broker.endpoint)
        send(peer)
        wait(lambda: sum(self.peers()[k] for k in ("malformed", "refused")) >= before + n, "counted")
        self.goes_on()
        peer.close()

    def close(self):
        code, _ = self.broker.stop()
        self.redis.kill()
        assert code == 0, self.broker.log()[-3000:]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("f"))
    yield w
    w.close()


def body(verb, **values):
    return encode(verb, values)


HELLO = {"source": "corp", "nonce": 1, "driver": "syncrepl"}
READY = {"target": "app", "worker": "w", "nonce": 5, "credits": 1, "batch": 1, "clock_boot_ms": 1}
FRAMES = {
    "empty_frame": [b""],
    "two_empty_frames": [b"", b""],
    "frames_1000": [b"x"] * 1000,
    "header_alone": [header("hello")],
    "header_cut": [header("hello")[:9], b""],
    "not_our_protocol": [b"XX" + header("hello")[2:], body("hello", **HELLO)],
    "older_version": [b"DP" + bytes([VERSION - 1]) + header("hello")[3:], body("hello", **HELLO)],
    "newer_version": [b"DP" + bytes([VERSION + 1]) + header("hello")[3:], body("hello", **HELLO)],
    "unknown_verb": [header("hello")[:3] + b"\xfe" + header("hello")[4:], b""],
    "verb_of_the_broker": [header("tasks"), b""],
    "body_cut": [header("hello"), body("hello", **HELLO)[:-3]],
    "body_too_long": [header("hello"), body("hello", **HELLO) + b"x"],
    "length_lies": [header("hello"), struct.pack("<I", 0xFFFFFFFF) + b"corp"],
    "list_lies": [header("publish"), body("publish", session=1, batch=1)[:-8] + struct.pack("<II", 0xFFFFFFFF, 0)],
    "name_not_utf_8": [header("hello"), body("hello", **{**HELLO, "source": b"\xff\xfe"})],
    "name_with_nul": [header("hello"), body("hello", **{**HELLO, "source": b"co\0rp"})],
    "name_of_nobody": [header("hello"), body("hello", **{**HELLO, "source": "nobody"})],
    "epoch_of_the_future": [header("hello"), body("hello", **{**HELLO, "epoch_seen": (1 << 64) - 1})],
    "clock_negative": [header("ready"), body("ready", **{**READY, "clock_boot_ms": -(1 << 63), "target": "nobody"})],
    "random": [random.Random(5).randbytes(200), random.Random(6).randbytes(3000)],
}


@pytest.mark.parametrize("name", FRAMES)
def test_GOALS_8_frames_dropped_and_counted(world, name):
    world.refused(lambda peer: peer.socket.send_multipart(FRAMES[name]))


@pytest.mark.parametrize("verb", ["publish", "note", "result", "beat", "leave", "hold"])
def test_GOALS_8_frames_before_a_greeting(world, verb):
    world.refused(lambda peer: peer.socket.send_multipart([header(verb), body(verb)]))


def registered(world, **more):
    """A worker that is known to the broker."""
    peer = Peer(world.broker.endpoint)
    peer.say("ready", **{**READY, "nonce": peer.nonce, "clock_boot_ms": boot_ms(), "credits": 0, **more})
    end = time.monotonic() + 10
    while time.monotonic() < end:
        message = peer.hear()
        if message:
            peer.epoch = message[2] if message[2][0] else peer.epoch
            if message[0] == "beat":
                return peer
        peer.socket.poll(10)
    raise TimeoutError("no answer to READY")


def answers(peer, verb, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = peer.hear()
        if message and message[0] == verb:
            return message[1]
        peer.socket.poll(10)
    raise TimeoutError(verb)


@pytest.mark.parametrize("credits", [0xFFFFFFFF, 0x80000000, 0])
def test_GOALS_8_frames_credits_that_cannot_be(world, credits):
    peer = registered(world, credits=credits, batch=credits)
    assert world.broker.process.poll() is None
    peer.say("leave")
    peer.close()
    world.goes_on()


def test_GOALS_8_frames_results_for_the_lease_of_nobody(world):
    peer = registered(world)
    for lease in ((0, 0, 0), (peer.epoch[0], 1 << 63, 0xFFFFFFFF), (peer.epoch[0], 1, 0)):
        peer.say("result", lease_epoch=lease[0], lease_page=lease[1], lease_index=lease[2], rid="stolen", link_state=2, link_memory="{}")
        answers(peer, "stale")
        peer.say("note", lease_epoch=lease[0], lease_page=lease[1], lease_index=lease[2], kind=1, rid="stolen", link_state=2, link_memory="{}")
        answers(peer, "refused")
    peer.close()
    world.goes_on()
    assert "stolen" not in " ".join(world.redis.ask("HKEYS", "{dp:t}:rid:app"))


@pytest.mark.parametrize("field,value", [("verdict", 200), ("link_state", 200)])
def test_GOALS_8_frames_numbers_that_are_no_state(world, field, value):
    peer = registered(world)
    before = world.peers()
    peer.say("result", lease_epoch=peer.epoch[0], lease_page=1, **{field: value})
    wait(lambda: world.peers() != before or peer.hear(), "an answer")
    peer.close()
    world.goes_on()


def test_GOALS_8_frames_of_another_epoch(world):
    peer = registered(world)
    before = sum(world.peers()[k] for k in ("malformed", "refused"))
    for epoch in ((peer.epoch[0] - 1, peer.epoch[1]), (peer.epoch[0], peer.epoch[1] ^ 1), (0, 0)):
        peer.socket.send_multipart([header("result", epoch), body("result", lease_epoch=1)])
    wait(lambda: sum(world.peers()[k] for k in ("malformed", "refused")) >= before + 3 or world.broker.state() == "ready", "refused")
    peer.close()
    world.goes_on()


def test_GOALS_8_frames_complaints_are_rationed(world):
    mark = len(world.broker.log())
    world.refused(lambda peer: [peer.socket.send_multipart([b"junk", b"%d" % i]) for i in range(3000)], 3000)
    assert world.broker.log()[mark:].count("DP-1202") < 20


# ---- over TCP ----


def greeting(major=3, mechanism=b"NULL"):
    return b"\xff" + bytes(8) + b"\x7f" + bytes([major, 0]) + mechanism.ljust(20, b"\0") + bytes(32)


def until_closed(s, seconds=40):
    s.settimeout(seconds)
    try:
        while s.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass


RAW = {
    "http_get": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "zmtp_1": b"\x01\x00",
    "zmtp_2": b"\xff" + bytes(8) + b"\x7f\x01\x05\x00\x00",
    "zmtp_3_null": greeting(),
    "zmtp_3_plain": greeting(mechanism=b"PLAIN"),
    "zmtp_3_unknown": greeting(mechanism=b"NONSENSE"),
    "zmtp_9": greeting(major=9, mechanism=b"CURVE"),
    "curve_then_a_frame_of_1_gib": greeting(mechanism=b"CURVE") + b"\x06" + struct.pack(">Q", 1 << 30) + bytes(4096),
    "curve_then_noise": greeting(mechanism=b"CURVE") + random.Random(9).randbytes(5000),
    "silence": b"",
}


@pytest.mark.parametrize("name", RAW)
def test_GOALS_8_frames_no_zmtp_of_ours_on_the_port(world, name):
    before = world.peers()
    with socket.create_connection(("127.0.0.1", world.port)) as s:
        s.sendall(RAW[name])
        until_closed(s)
    after = world.peers()
    assert after["collectors"] <= before["collectors"] and after["workers"] <= before["workers"]
    world.goes_on()


@pytest.mark.parametrize("keys", ["none", "stranger", "wrong_server"])
def test_GOALS_8_frames_of_a_wrong_key(world, keys):
    before = world.peers()["workers"]
    pair = {"none": None, "stranger": (*world.stranger, world.ours[0]), "wrong_server": (*world.theirs, world.stranger[0])}[keys]
    peer = Peer(world.tcp, pair)
    peer.say("ready", **{**READY, "nonce": 77})
    for _ in range(3):
        world.goes_on()
    assert peer.hear() is None and world.peers()["workers"] <= before
    peer.close()


def test_GOALS_8_frames_of_a_key_with_another_role(world):
    peer = Peer(world.tcp, (*world.theirs, world.ours[0]))
    peer.say("hello", **HELLO)
    assert answers(peer, "error")["reason"] == b"this key's role does not allow that"
    sessions = world.collector.sessions
    world.goes_on()
    assert world.collector.sessions == sessions + 1
    peer.close()


def test_GOALS_8_frames_one_of_a_gib_on_the_local_socket(world):
    """The path of the ipc socket, spoken by hand: ZMTP 3 with NULL, then a frame that says it has a GiB."""
    path = world.broker.endpoint.removeprefix("ipc://")
    before = rss(world)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + struct.pack(">I", 0)
        s.sendall(greeting() + b"\x04" + bytes([len(ready)]) + ready)
        s.sendall(b"\x02" + struct.pack(">Q", 1 << 30) + bytes(1 << 16))
        until_closed(s)
    world.goes_on()
    assert rss(world) < before + (64 << 10)


def rss(world):
    status = pathlib.Path(f"/proc/{world.broker.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


@pytest.mark.parametrize("n", [1000, pytest.param(10000, marks=pytest.mark.long)])
def test_GOALS_8_frames_thousands_of_connections(world, n):
    """Whoever says nothing is let go; those who work go on working meanwhile and after."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12000:
        pytest.skip("needs 12,000 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 12000), hard))
    idle = []
    try:
        for i in range(n):
            try:
                idle.append(socket.create_connection(("127.0.0.1", world.port), timeout=3))
            except OSError:
                break  # it takes no more
            if i % 500 == 499:
                world.goes_on()
        world.goes_on()
        assert len(os.listdir(f"/proc/{world.broker.process.pid}/fd")) < 12000
    finally:
        for s in idle:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    world.goes_on()
    known = Peer(world.tcp, (*world.theirs, world.ours[0]))
    known.say("ready", **{**READY, "nonce": known.nonce, "clock_boot_ms": boot_ms(), "credits": 0})
    assert answers(known, "beat", 40)
    known.close()
