"""P8 and P9: the broker alone. A producer and consumers in C on both sides of dirpipe's broker, and of others (brokers.py), with the same messages,
window and durability. A run counts only if each message came exactly once."""

import pathlib
import select
import shutil
import statistics
import time

from brokers import BROKERS, Program, run_broker
from pipeline import Secret
from rig import Refused, Rig, build_dir, rss_mb

BYTES = 600


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


def run_peer_broker(name):
    def run(folder, n, consumers, fsync, rate=0):
        report, taken, used = run_broker(name, folder, n, BYTES, consumers, fsync, rate, wait_taken)
        return judge(name, n, report, taken, used)
    return run


# Those whose durability is one: they are asked once a round, beside `everysec` (JetStream syncs every two minutes, RabbitMQ before it confirms).
FIXED = ("nats", "rabbitmq")
RUNS = {"dirpipe": run_dirpipe} | {name: run_peer_broker(name) for name in BROKERS}


def runs_of(fsync, consumers, refused):
    """Who is measured in this setting; who cannot be is in refused, with the reason."""
    return {name: run for name, run in RUNS.items() if name not in refused and not (name in FIXED and fsync == "always")}


def interleaved(place, settings, rounds, run_one):
    """{(name, setting): rows}, and why some are missing."""
    rows, refused = {}, {}
    for i in range(rounds):
        for fsync, consumers in settings:
            for name, run in runs_of(fsync, consumers, refused).items():
                folder = place / f"{name}{fsync}{consumers}{i}"
                try:
                    rows.setdefault((name, fsync, consumers), []).append(run_one(run, folder, fsync, consumers))
                except Refused as why:
                    refused[name] = f"left out: {why}"
                    rows.pop((name, fsync, consumers), None)
                shutil.rmtree(folder, ignore_errors=True)
    return rows, refused


def median_of(rows, key="rate"):
    return statistics.median(r[key] for r in rows)


def p8(place, options):
    """Throughput with 1 and 4 consumers at appendfsync always and everysec."""
    n, rounds = options.messages, 2 if options.quick else 3
    settings = [("always", 1), ("everysec", 1)] + ([] if options.quick else [("always", 4), ("everysec", 4)])
    rows, refused = interleaved(place, settings, rounds, lambda run, folder, fsync, consumers: run(folder, n, consumers, fsync))
    rate = {key: median_of(found) for key, found in rows.items()}
    peers = {f"{name}_{f}_{c}" if name not in FIXED else f"{name}_{c}": round(r) for (name, f, c), r in rate.items() if name != "dirpipe"}
    ratios = {f"{f}_{c}": round(rate["dirpipe", f, c] / rate["redis_streams", f, c], 2) for f, c in settings}
    others = {f"{name}_{c}": round(rate["dirpipe", f, c] / r, 2) for (name, f, c), r in rate.items() if name in FIXED}
    return {"P8": {
        "value": ratios["always_1"], "unit": "x", "goal": ">= 1.5, >= 3 x RabbitMQ", "peers": peers | refused, "ratios": ratios,
        "everysec_to_others": others, "dirpipe": {f"{f}_{c}": round(rate["dirpipe", f, c]) for f, c in settings},
        "broker_cpu_us": {f"{name}_{f}_{c}": round(median_of(found, "broker_cpu_us"), 1) for (name, f, c), found in rows.items()},
        "how": f"{n} messages of {BYTES} bytes, window 1,000, medians of {rounds} interleaved rounds; value: always, 1 consumer"}}


def p9(place, options):
    """Latency from publish to the consumer at 1,000 messages/s."""
    n, rounds = 5000, 1 if options.quick else 3
    rows, refused = interleaved(place, [("always", 1), ("everysec", 1)], rounds,
                                lambda run, folder, fsync, consumers: run(folder, n, consumers, fsync, rate=1000))
    ms = {(name, f): {p[:3] + "_ms": round(median_of(found, p) / 1000, 2) for p in ("p50_us", "p99_us")} for (name, f, _), found in rows.items()}
    return {"P9": {
        "value": ms["dirpipe", "everysec"]["p50_ms"], "unit": "ms", "goal": "p50 <= 0.6 ms, p99 <= 2 x NATS",
        "peers": {f"{name}_{f}" if name not in FIXED else name: m for (name, f), m in ms.items() if name != "dirpipe"} | refused,
        "dirpipe": {f: ms["dirpipe", f] for f in ("everysec", "always")},
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
