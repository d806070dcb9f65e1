"""P8 and P9: the broker alone. A producer and consumers in C on both sides of dirpipe's broker, and of Redis Streams, with the same messages,
window and durability. A run counts only if each message came exactly once."""

import pathlib
import select
import shutil
import signal
import statistics
import subprocess
import time

import json

from pipeline import Secret
from rig import Refused, Rig, build_dir, cpu_s, rss_mb

BYTES = 600


class Program:
    """A bench program: started, ready, and its report at the end."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        ready, _, _ = select.select([self.process.stdout], [], [], 20)
        if not ready or self.process.stdout.readline().strip() != "ready":
            self.process.kill()
            raise RuntimeError(f"{command[0]} did not become ready")

    def report(self, deadline_s):
        out, _ = self.process.communicate(timeout=deadline_s)
        if self.process.returncode:
            raise RuntimeError(f"exit {self.process.returncode}: {out}")
        return json.loads(out)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.report(20)


def judge(name, n, producer, consumers, used):
    """One run's figures, or why it does not count."""
    got, doubled = sum(c["got"] for c in consumers), sum(c["doubled"] for c in consumers)
    if got != n or doubled or producer["got"] != n:
        raise AssertionError(f"{name}: {producer['got']} of {n} confirmed, {got} delivered, {doubled} doubled")
    seconds = (max(c["last_ns"] for c in consumers) - producer["first_ns"]) / 1e9
    return {"rate": n / seconds, "seconds": seconds, "p50_us": statistics.median(c["p50_us"] for c in consumers),
            "p99_us": max(c["p99_us"] for c in consumers), "broker_cpu_us": used / n * 1e6,
            "edges_cpu_us": (producer["cpu_s"] + sum(c["cpu_s"] for c in consumers)) / n * 1e6}


def broker_only(folder, fsync):
    """A rig whose configuration names a source and a target that bench-pipe plays."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "secret"
    secret.write_text("none\n")
    secret.chmod(0o600)
    source = {"driver": "syncrepl", "uris": ["ldaps://localhost"], "base_dn": "dc=example,dc=com",
              "bind": {"method": "simple", "dn": "cn=nobody", "password": Secret(secret)}, "users": {"attributes": ["uid"]},
              "routes": [{"target": "app"}]}
    target = {"driver": "scim", "url": "https://localhost/", "auth": {"method": "bearer", "token": Secret(secret)},
              "mapping": {"userName": "uid"}, "join": [{"remote": "userName", "local": "uid"}], "pace": {"concurrency": 10000}}
    return Rig(folder, {"corp": source}, {"app": target}, fsync=fsync)


def wait_taken(consumers, producer, settled, deadline_s=120):
    report = producer.report(deadline_s)
    end = time.monotonic() + deadline_s
    while not settled():
        if time.monotonic() > end:
            raise TimeoutError("the queue does not become empty")
        select.select([], [], [], 0.02)
    return report, [c.end() for c in consumers]


def run_dirpipe(folder, n, consumers, fsync, rate=0):
    rig = broker_only(folder, fsync)
    rig.start_redis()
    rig.start_broker()
    try:
        endpoint, tool = rig.conf["broker"]["endpoints"][0], build_dir() / "tests/bench-pipe"
        workers = [Program(tool, "consume", endpoint, "app", n) for _ in range(consumers)]
        before = sum(rig.cpu().values())
        producer = Program(tool, "produce", endpoint, "corp", n, BYTES, *([rate] if rate else []))

        def settled():
            status = rig.status()
            return status and all(not any(t["queue"][k] for k in ("ready", "delayed", "in_flight")) for t in status["targets"])
        report, taken = wait_taken(workers, producer, settled)
        return judge("dirpipe", n, report, taken, sum(rig.cpu().values()) - before)
    finally:
        rig.stop()


def run_streams(folder, n, consumers, fsync, rate=0):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "r"
    redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--appendonly", "yes",
                              "--appendfsync", fsync, "--save", "", "--loglevel", "warning", "--daemonize", "no"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while not socket.exists() and time.monotonic() < end:
            select.select([], [], [], 0.02)
        tool = build_dir() / "tests/bench-streams"
        workers = [Program(tool, "consume", socket, f"c{i}", n) for i in range(consumers)]
        before = cpu_s(redis.pid)
        producer = Program(tool, "produce", socket, n, BYTES, *([rate] if rate else []))

        def settled():
            out = subprocess.run(["redis-cli", "-s", str(socket), "XLEN", "q"], capture_output=True, text=True).stdout.strip()
            return out == "0"
        report, taken = wait_taken(workers, producer, settled)
        return judge("streams", n, report, taken, cpu_s(redis.pid) - before)
    finally:
        redis.terminate()
        redis.wait()


RUNS = {"dirpipe": run_dirpipe, "redis_streams": run_streams}


def other_brokers():
    """Why the brokers of GOALS 1.1 that are not driven here are left out."""
    return {name: f"left out: {'no client in this bench' if shutil.which(program) or pathlib.Path(place).exists() else 'not installed'}"
            for name, program, place in (("rabbitmq", "rabbitmq-server", "/usr/sbin/rabbitmq-server"),
                                         ("nats", "nats-server", "/usr/sbin/nats-server"))}


def median_of(rows, key="rate"):
    return statistics.median(r[key] for r in rows)


def p8(place, options):
    """Throughput with 1 and 4 consumers at appendfsync always and everysec."""
    n, rounds = options.messages, 2 if options.quick else 3
    rows = {}
    settings = [("always", 1), ("everysec", 1)] + ([] if options.quick else [("always", 4), ("everysec", 4)])
    for i in range(rounds):
        for fsync, consumers in settings:
            for name, run in RUNS.items():
                folder = place / f"{name}-{fsync}-{consumers}-{i}"
                rows.setdefault((name, fsync, consumers), []).append(run(folder, n, consumers, fsync))
                shutil.rmtree(folder, ignore_errors=True)
    rate = {key: median_of(found) for key, found in rows.items()}
    peers = {f"redis_streams_{f}_{c}": round(rate["redis_streams", f, c]) for f, c in settings} | other_brokers()
    ratios = {f"{f}_{c}": round(rate["dirpipe", f, c] / rate["redis_streams", f, c], 2) for f, c in settings}
    return {"P8": {
        "value": ratios["always_1"], "unit": "x", "goal": ">= 1.5", "peers": peers, "ratios": ratios,
        "dirpipe": {f"{f}_{c}": round(rate["dirpipe", f, c]) for f, c in settings},
        "broker_cpu_us": {f"{name}_{f}_{c}": round(median_of(found, "broker_cpu_us"), 1) for (name, f, c), found in rows.items()},
        "how": f"{n} messages of {BYTES} bytes, window 1,000, medians of {rounds} interleaved rounds; value: always, 1 consumer"}}


def p9(place, options):
    """Latency from publish to the consumer at 1,000 messages/s."""
    n, rounds = 5000, 1 if options.quick else 3
    rows = {}
    for i in range(rounds):
        for fsync in ("always", "everysec"):
            for name, run in RUNS.items():
                folder = place / f"{name}-{fsync}-{i}"
                rows.setdefault((name, fsync), []).append(run(folder, n, 1, fsync, rate=1000))
                shutil.rmtree(folder, ignore_errors=True)
    ms = {(name, f): {p: round(median_of(found, p) / 1000, 2) for p in ("p50_us", "p99_us")} for (name, f), found in rows.items()}
    return {"P9": {
        "value": ms["dirpipe", "everysec"]["p50_us"], "unit": "ms", "goal": "p50 <= 0.6 ms, p99 <= 2 x NATS",
        "peers": {f"redis_streams_{f}": {"p50_ms": ms["redis_streams", f]["p50_us"], "p99_ms": ms["redis_streams", f]["p99_us"]}
                  for f in ("everysec", "always")} | other_brokers(),
        "dirpipe": {f: {"p50_ms": ms["dirpipe", f]["p50_us"], "p99_ms": ms["dirpipe", f]["p99_us"]} for f in ("everysec", "always")},
        "how": f"{n} messages at 1,000/s; value: p50, everysec"}}


def p10(place, options):
    """Memory with many users due at one target that takes none."""
    if not options.million:
        raise Refused("only with --million")
    rig = broker_only(place / "b", "everysec")
    rig.start_redis()
    rig.start_broker()
    try:
        n = options.million_users
        producer = Program(build_dir() / "tests/bench-pipe", "produce", rig.conf["broker"]["endpoints"][0], "corp", n, BYTES)
        report = producer.report(600)
        broker, redis = rig.processes["broker"], rig.processes["redis"]
        result = {"P10": {"value": round(rss_mb(broker.pid)), "unit": "MB broker", "goal": "<= 64 MB, Redis <= 1,250 MB",
                          "redis_mb": round(rss_mb(redis.pid)), "users": n, "peers": {},
                          "publish_per_s": round(n / ((report["last_ns"] - report["first_ns"]) / 1e9))}}
        rig.end("broker", hard=True)
        started = time.monotonic()
        rig.start_broker(wait=False)
        rig.wait_for(lambda: (rig.status() or {}).get("state") == "ready", "the broker", 120)
        return result | {"P14_million": {"value": round(time.monotonic() - started, 2), "unit": "s", "goal": "<= 10", "peers": {}, "users": n}}
    finally:
        rig.stop()
