"""The real dirpipe-broker on a real Redis, with scripted peers: nothing confirmed is lost and nobody is worked on twice at once, whatever is
killed; the control socket, /metrics and the rest that operators see."""

import http.client
import json
import random
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest
import zmq

from brokerpeers import Broker, Collector, Peer, Redis, Worker, drive, header, wait
from fakebroker import VERSION, encode
from pipeline import Secret, free_port
from sims import build_dir


@pytest.fixture
def redis(tmp_path_factory):
    with Redis(tmp_path_factory.mktemp("r")) as server:
        yield server


@pytest.fixture
def broker(redis):
    with Broker(redis.folder, redis) as b:
        yield b.wait_ready()


def users(n, version=1):
    return {bytes([1, *i.to_bytes(4, "big"), *bytes(11)]): version for i in range(n)}


def text_id(i):
    h = i.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def fleet(broker, wanted, workers=2, **more):
    busy, applied = {"deadlines": {}}, {}
    return (Collector(broker.endpoint, wanted), [Worker(broker.endpoint, busy, applied, **more) for _ in range(workers)], applied)


def get(broker, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{broker.http_port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def queue_of(broker):
    answer = broker.ask("queue")
    return answer["targets"][0]["queue"] if answer and "targets" in answer else None


def all_clean(broker, n):
    def check():
        queue = queue_of(broker)
        return queue and queue["clean"] == n
    return check


# ---- what goes through


def test_users_go_through_and_are_shown(broker):
    wanted = users(300)
    collector, workers, applied = fleet(broker, wanted)
    drive([collector, *workers], all_clean(broker, 300), "all users clean")
    assert collector.done() and set(applied) == set(wanted)
    assert not any(w.twice for w in workers)
    status = broker.ask("status")
    source, target = status["sources"][0], status["targets"][0]
    assert source["connected"] and source["users"] == 300 and source["server"] == "ldap://dc1" and not source["distrusted"]
    assert target["totals"]["verdicts"]["done"] == 300 and len(target["workers"]) == 2 and target["state"] == "ok"
    assert status["health"] == {"ok": True, "failed": []}
    user = broker.ask("user_show", user=text_id(next(iter(wanted))))
    assert user["source"] == "corp" and user["snapshot"]["v"] == 1 and user["in"] == ["app"]
    assert user["targets"]["app"]["state"] == "clean" and user["targets"]["app"]["link"]["state"] == "active"
    assert broker.ask("user_show", user="00000000-0000-0000-0000-00000000ffff") == {"error": "not_found"}
    assert len(broker.ask("log", most=50)["lines"]) == 50


def test_a_newer_version_wins(broker):
    wanted = users(20)
    collector, workers, applied = fleet(broker, wanted)
    drive([collector, *workers], all_clean(broker, 20), "first version")
    collector.wanted = users(20, 2)
    collector.lose()
    drive([collector, *workers], lambda: all(applied.get(i) == 2 for i in wanted), "second version")


def test_rejected_users_are_dead_until_retried(broker):
    wanted = users(5)
    collector, (worker,), _ = fleet(broker, wanted, workers=1)
    worker.verdict = lambda task: {"verdict": 3, "reason": "bad_value", "detail": "no such country", "status": 400}
    drive([collector, worker], lambda: (queue_of(broker) or {}).get("dead") == 5, "dead users")
    listed = broker.ask("dead_ls")
    assert len(listed["users"]) == 5 and not listed["more"]
    assert listed["users"][0]["reason"] == "bad_value" and listed["users"][0]["detail"] == "no such country"
    assert len(broker.ask("dead_ls", most=2)["users"]) == 2
    one = listed["users"][0]["user"]
    assert broker.ask("dead_drop", target="app", user=one)["changed"] == 1
    assert queue_of(broker)["dead"] == 4
    worker.verdict = lambda task: {"verdict": 0, "ops": "create", "status": 201}
    assert broker.ask("dead_retry", target="app", all=True) == {"changed": 4, "more": False}
    drive([collector, worker], all_clean(broker, 5), "all revived")


def test_pause_and_resync(broker):
    wanted = users(10)
    collector, workers, applied = fleet(broker, wanted)
    assert broker.ask("pause", target="app", why="maintenance")["changed"] == 1
    drive([collector, *workers], lambda: collector.done(), "published")
    assert broker.ask("status")["targets"][0]["pause"]["why"] == "maintenance"
    assert queue_of(broker)["ready"] == 10 and not applied
    assert get(broker, "/readyz")[0] == 200, "a paused target is no illness"
    broker.ask("resume", target="app")
    drive([collector, *workers], all_clean(broker, 10), "resumed")
    drive([collector, *workers], lambda: sum(w.accepted for w in workers) == 10, "everybody answered")
    assert broker.ask("resync", target="app")["changed"] == 10
    drive([collector, *workers], lambda: sum(w.accepted for w in workers) == 20, "everybody read again")


@pytest.mark.parametrize("line,code", [
    (b"junk\n", "bad_request"), (b'{"id":7}\n', "bad_request"), (b'{"id":7,"verb":"fly"}\n', "unknown_verb"),
    (b'{"id":7,"verb":"pause","target":"nobody"}\n', "not_found"), (b'{"id":7,"verb":"user_show","user":"x"}\n', "bad_request"),
    (b'{"id":7,"verb":"dead_ls","most":0}\n', "bad_request"),
])
def test_control_socket_refuses(broker, line, code):
    done = subprocess.run(["socat", "-t5", "-", f"UNIX-CONNECT:{broker.control}"], input=line, capture_output=True, timeout=20)
    answer = json.loads(done.stdout)
    assert not answer["ok"] and answer["error"]["code"] == code
    assert answer["id"] == (None if line == b"junk\n" else 7)


def test_control_socket_is_for_its_owner_alone(broker):
    assert broker.control.stat().st_mode & 0o777 == 0o600


# ---- what is killed


def storm(broker, redis, n, strikes):
    """Loads n users while strikes happen, one after each share of them; then everything must be there."""
    wanted = users(n)
    collector, workers, applied = fleet(broker, wanted)
    waiting = [(n * (i + 1) // (len(strikes) + 1), strike) for i, strike in enumerate(strikes)]

    def step():
        if waiting and len(collector.committed) >= waiting[0][0]:
            waiting.pop(0)[1]()

    drive([collector, *workers], lambda: collector.done() and not waiting, "all users confirmed", 120, step)
    drive([collector, *workers], all_clean(broker, n), "all users applied", 120)
    assert set(applied) == set(wanted)
    assert not [t for w in workers for t in w.twice], "a user was with two workers at once"
    assert len(redis.ask("--scan", "--pattern", "{dp:t}:user:*")) == n
    wait(lambda: redis.ask("HLEN", "{dp:t}:flight:app") == ["0"], "the last page on disk")
    return collector, workers


def test_broker_killed_under_load(redis):
    with Broker(redis.folder, redis) as broker:
        broker.wait_ready()

        def strike():
            broker.kill()
            broker.start()

        collector, _ = storm(broker, redis, 2000, [strike] * 4)
        assert collector.sessions == 5 and collector.distrusted == 0


def test_redis_killed_under_load(redis):
    with Broker(redis.folder, redis) as broker:
        broker.wait_ready()

        def strike():
            redis.kill()
            redis.start()

        collector, _ = storm(broker, redis, 1500, [strike] * 2)
        assert collector.distrusted > 0, "another Redis process may have lost its tail"


@pytest.mark.parametrize("point", ["page_built:4", "page_sent:4", "page_written:4", "answers_sent:4", "page_written:17"])
def test_broker_dies_at_every_step_of_a_page(redis, point):
    broker = Broker(redis.folder, redis)
    with broker.start(crash_at=f"broker.{point}"):
        wanted = users(400)
        collector, workers, applied = fleet(broker, wanted)
        drive([collector, *workers], lambda: broker.process.poll() is not None, "the crash")
        assert broker.process.returncode == -signal.SIGKILL
        broker.start()
        drive([collector, *workers], all_clean(broker, 400), "all users applied", 60)
        assert set(applied) == set(wanted) and not any(w.twice for w in workers)


@pytest.mark.parametrize("point", ["epoch_taken:1", "rewrite_waited:1", "loading:1", "loading:2"])
def test_broker_dies_while_it_starts(redis, point):
    broker = Broker(redis.folder, redis)
    with broker.start():
        broker.wait_ready()
        collector, workers, _ = fleet(broker, users(3000), workers=0)
        drive([collector], collector.done, "published")
        broker.kill()
        broker.start(crash_at=f"broker.{point}")
        assert broker.process.wait(20) == -signal.SIGKILL
        broker.start().wait_ready()
        assert broker.ask("status")["sources"][0]["users"] == 3000
        assert queue_of(broker)["ready"] == 3000


def test_standby_takes_over(redis):
    with Broker(redis.folder, redis) as first:
        first.wait_ready()
        collector, workers, _ = fleet(first, users(50), workers=1)
        drive([collector, *workers], all_clean(first, 50), "clean")
        with Broker(redis.folder, redis, name="second") as second:
            wait(lambda: second.state() == "standby", "a standby")
            assert get(second, "/readyz")[0] == 503 and get(second, "/livez")[0] == 200
            epoch = first.ask("status")["epoch"]["number"]
            first.kill()
            second.wait_ready()
            status = second.ask("status")
            assert status["epoch"]["number"] > epoch and status["sources"][0]["users"] == 50


def test_redis_emptied_is_noticed(broker, redis):
    collector, workers, _ = fleet(broker, users(50))
    drive([collector, *workers], all_clean(broker, 50), "clean")
    redis.ask("FLUSHALL")
    collector.wanted = users(50, 2)
    collector.lose()
    # What the collector reports is an epoch that Redis does not know any more: everything is published and read again.
    drive([collector, *workers], lambda: collector.distrusted and all_clean(broker, 50)(), "everything again", 60)
    assert len(redis.ask("--scan", "--pattern", "{dp:t}:user:*")) == 50


# ---- keys over tcp


def hears(peer, verb, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = peer.hear()
        if message and message[0] == verb:
            return message[1]
        peer.socket.poll(20)
    return None


def test_another_version_is_refused_by_number(broker):
    peer = Peer(broker.endpoint)
    head = header("hello")
    peer.socket.send_multipart([head[:2] + bytes([VERSION + 1]) + head[3:], encode("hello", {"source": "corp"})])
    reason = hears(peer, "error")["reason"].decode()
    assert f"version {VERSION + 1} " in reason and reason.endswith(f" {VERSION}")
    peer.close()


def test_tcp_needs_a_key_with_the_role(redis):
    ours, theirs, stranger = zmq.curve_keypair(), zmq.curve_keypair(), zmq.curve_keypair()
    broker = Broker(redis.folder, redis)
    port = free_port()
    secret = redis.folder / "curve"
    secret.write_bytes(ours[1] + b"\n")
    secret.chmod(0o600)
    broker.conf["broker"]["endpoints"].append(f"tcp://127.0.0.1:{port}")
    broker.write()
    done = subprocess.run([str(build_dir() / "dirpipe-broker"), "--config", str(broker.path), "-t"], capture_output=True, text=True)
    assert done.returncode == 78, "tcp without keys"
    broker.conf["broker"]["curve"] = {"secret_key": Secret(secret), "peers": [
        {"name": "host2", "public_key": theirs[0].decode(), "role": "worker", "only": "app"}]}
    broker.write()
    with broker.start():
        broker.wait_ready()
        known = Peer(f"tcp://127.0.0.1:{port}", (*theirs, ours[0]))
        known.say("hello", source="corp", nonce=1)
        assert hears(known, "error")["reason"] == b"this key's role does not allow that"
        known.say("ready", target="other", nonce=1, worker="w")
        assert hears(known, "error")["reason"] == b"no such target in the broker's configuration"
        known.say("ready", target="app", nonce=1, worker="w", clock_boot_ms=1)
        assert hears(known, "beat")
        assert broker.ask("status")["targets"][0]["workers"][0]["name"] == "w"
        nobody = Peer(f"tcp://127.0.0.1:{port}", (*stranger, ours[0]))
        nobody.say("ready", target="app", nonce=2, worker="w2", clock_boot_ms=1)
        plain = Peer(f"tcp://127.0.0.1:{port}")
        plain.say("ready", target="app", nonce=3, worker="w3", clock_boot_ms=1)
        assert hears(nobody, "beat", 2.5) is None and hears(plain, "beat", 0.5) is None
        assert broker.ask("status")["peers"]["workers"] == 1


# ---- what operators see


def lint(text):
    """The rules of promtool check metrics that matter: HELP and TYPE before samples, counters in _total, no duplicate."""
    kinds, helped, seen = {}, set(), set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds and name in helped, line
            kinds[name] = kind
            assert (kind == "counter") == name.endswith("_total"), line
        else:
            match = re.fullmatch(r'([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)', line)
            assert match, line
            float(match.group(3))
            base = re.sub(r"_(bucket|sum|count)$", "", match.group(1))
            kind = kinds.get(match.group(1)) or kinds.get(base)
            assert kind, f"no TYPE: {line}"
            assert match.group(1).startswith("dirpipe_"), line
            assert (match.group(1), match.group(2)) not in seen, f"twice: {line}"
            seen.add((match.group(1), match.group(2)))
    return {name + (labels or "") for name, labels in seen}


def test_metrics(broker):
    collector, workers, _ = fleet(broker, users(30))
    # What is counted has been on disk, while the queue's depth is what the engine holds: the last page may be between.
    drive([collector, *workers], lambda: sum(w.accepted for w in workers) == 30, "accepted")
    status, text = get(broker, "/metrics")
    assert status == 200
    found = lint(text)
    for name in ['queue_messages{target="app",state="ready"}', 'queue_oldest_message_age_seconds{target="app"}',
                 'queue_enqueued_total{target="app"}', 'operations_total{target="app",op="update",result="success"}',
                 'target_http_requests_total{target="app",code="200"}', 'target_state{target="app",state="ok"}',
                 'workers{target="app"}', 'desired_workers{target="app"}', "redis_up", "loop_lag_seconds",
                 'end_to_end_seconds_count{target="app",priority="bulk"}', 'build_info{version="0.1.0"}',
                 'source_connected{source="corp",server="ldap://dc1"}', 'guard_held_operations{target="app"}']:
        assert f"dirpipe_{name}" in found, name
    assert re.search(r'^dirpipe_operations_total\{target="app",op="update",result="success"\} 30$', text, re.M)
    assert re.search(r'^dirpipe_end_to_end_seconds_count\{target="app",priority="bulk"\} 30$', text, re.M)


def values(broker):
    """Every sample of /metrics that is well-formed, by name and labels."""
    text = get(broker, "/metrics")[1]
    lint(text)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("dirpipe_"): float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def publish(collector, versions, gone=()):
    """One more batch of an open session, with a cursor; returns when it is committed."""
    collector.number += 1
    collector.flying[collector.number] = {}
    collector.say("publish", session=collector.session, batch=collector.number, caught_up=1, has_cursor=1, cursor="c", server="dc1",
                  users=[{"id": i, "gone": int(i in gone), "in": [{"text": "app"}], "fingerprint": collector.fingerprint(v),
                          "groups": b"", "snapshot": "{}"} for i, v in versions.items()])
    drive([collector], lambda: not collector.flying, "committed")


def test_metrics_of_sources(redis):
    broker = Broker(redis.folder, redis)
    broker.conf["sources"]["branch"] = broker.conf["sources"]["corp"]
    broker.write()
    with broker.start():
        broker.wait_ready()
        wanted = users(4)
        first, second, third, fourth = wanted
        before = time.time()
        corp = Collector(broker.endpoint, wanted)
        drive([corp], corp.done, "published")
        seen = values(broker)
        assert seen['source_changes_total{source="corp",kind="add"}'] == 4
        assert seen['source_changes_total{source="corp",kind="modify"}'] == seen['source_changes_total{source="corp",kind="delete"}'] == 0
        for name in ("last_change", "cursor"):
            assert before - 1 < seen[f'source_{name}_timestamp_seconds{{source="corp"}}'] < time.time() + 1
            assert f'source_{name}_timestamp_seconds{{source="branch"}}' not in seen, "nothing came from there yet"
        # Two that are other than before, one gone, one equal to what is known.
        publish(corp, {first: 2, second: 2, third: 2, fourth: 1}, gone={third})
        changed = values(broker)
        assert changed['source_changes_total{source="corp",kind="add"}'] == 4
        assert changed['source_changes_total{source="corp",kind="modify"}'] == 2
        assert changed['source_changes_total{source="corp",kind="delete"}'] == 1
        assert changed['source_last_change_timestamp_seconds{source="corp"}'] > seen['source_last_change_timestamp_seconds{source="corp"}']
        # A cursor alone, and a user that is as it was, are no change.
        publish(corp, {fourth: 1})
        after = values(broker)
        assert after['source_cursor_timestamp_seconds{source="corp"}'] > changed['source_cursor_timestamp_seconds{source="corp"}']
        assert after['source_last_change_timestamp_seconds{source="corp"}'] == changed['source_last_change_timestamp_seconds{source="corp"}']

        branch = Collector(broker.endpoint, {first: 9, second: 9, bytes([2] * 16): 1}, source="branch")
        drive([corp, branch], branch.done, "the other source published")
        seen = values(broker)
        assert seen['source_errors_total{source="branch",reason="foreign_id"}'] == 2
        assert seen['source_errors_total{source="corp",reason="foreign_id"}'] == 0
        assert seen['source_changes_total{source="branch",kind="add"}'] == 1, "what is refused is no change"
        assert {s["name"]: s["foreign"] for s in broker.ask("status")["sources"]} == {"branch": 2, "corp": 0}
        told = subprocess.run([str(build_dir() / "dirpipe"), "--socket", str(broker.control), "status"], capture_output=True, text=True, timeout=20)
        assert "branch: 2 times an id was refused that another source owns\n" in told.stdout and "corp: 2 times" not in told.stdout


def test_what_is_stored_again_is_no_change(broker, redis):
    collector = Collector(broker.endpoint, users(4))
    drive([collector], collector.done, "published")
    # Redis may have lost its tail: the source says everybody again.
    redis.kill()
    redis.start()
    drive([collector], lambda: collector.distrusted and collector.session and collector.open and collector.said and not collector.flying, "again")
    seen = values(broker)
    assert [seen[f'source_changes_total{{source="corp",kind="{kind}"}}'] for kind in ("add", "modify", "delete")] == [4, 0, 0]


def test_errors_that_a_source_tells(broker):
    collector = Collector(broker.endpoint, users(1))
    drive([collector], collector.done, "published")

    def say(state, text, read):
        collector.say("beat", session=collector.session, state=state, text=text, server="ldap://dc1", read=read, unchanged=read)
        wait(lambda: broker.ask("status")["sources"][0]["read"] == read, "heard")

    # Connected; lost without a word; the reason, twice; another reason; there again; trouble although connected.
    for read, (state, text) in enumerate([(1, ""), (0, ""), (0, "refused"), (0, "refused"), (0, "no route"), (1, ""), (1, "no right")], 1):
        say(state, text, read)
    seen = values(broker)
    assert seen['source_errors_total{source="corp",reason="unavailable"}'] == 3
    assert seen['source_errors_total{source="corp",reason="reported"}'] == 1
    assert seen['source_unchanged_total{source="corp"}'] == 7
    # A collector that has just come, and is not connected yet, has lost nothing.
    newer = Collector(broker.endpoint, users(1))
    newer.beat_at = time.monotonic() + 3600
    collector.close()
    drive([newer], lambda: newer.session, "the next collector")
    newer.say("beat", session=newer.session, state=0, read=1)
    wait(lambda: not broker.ask("status")["sources"][0]["connected"], "heard")
    assert values(broker)['source_errors_total{source="corp",reason="unavailable"}'] == 3


def states(broker):
    """What /metrics and the control socket say of the target, if they agree."""
    seen = values(broker)
    shown = [s for s in ("ok", "degraded", "quarantined", "paused") if seen[f'target_state{{target="app",state="{s}"}}'] == 1]
    assert shown == [broker.ask("status")["targets"][0]["state"]] == [broker.ask("queue")["targets"][0]["state"]]
    return shown[0]


def test_a_target_where_too_much_fails_is_degraded(broker):
    wanted = users(25)
    collector, (worker,), _ = fleet(broker, wanted, workers=1)
    bad = set(list(wanted)[:10])
    worker.verdict = lambda task: {"verdict": 3, "reason": "bad_value"} if task["id"] in bad else {"verdict": 0, "ops": "update"}

    def results(rejected, done):
        def check():
            verdicts = broker.ask("status")["targets"][0]["totals"]["verdicts"]
            return (verdicts["rejected"], verdicts["done"]) == (rejected, done) and not worker.tasks
        drive([collector, worker], check, f"{rejected} rejected, {done} done")

    results(10, 15)
    assert states(broker) == "ok", "40 % is not more than 40 %"
    bad |= set(users(26)) - set(wanted)
    collector.wanted = users(26)
    collector.lose()
    results(11, 15)
    assert states(broker) == "degraded"
    assert get(broker, "/readyz")[0] == 200, "a state, no illness"
    broker.ask("pause", target="app")
    assert states(broker) == "paused"
    broker.ask("resume", target="app")
    assert states(broker) == "degraded"
    bad.clear()
    broker.ask("dead_retry", target="app", all=True)
    results(11, 26)
    assert states(broker) == "ok", "11 of 37"
    worker.verdict = lambda task: {"verdict": 5, "reason": "credentials"}
    broker.ask("resync", target="app", user=text_id(next(iter(wanted))))
    drive([collector, worker], lambda: states(broker) == "quarantined", "quarantined")


def test_what_failed_long_ago_is_forgotten(broker):
    bad = users(100)
    collector, (worker,), _ = fleet(broker, bad, workers=1)
    worker.verdict = lambda task: {"verdict": 3, "reason": "bad_value"} if task["id"] in bad else {"verdict": 0, "ops": "update"}
    drive([collector, worker], lambda: worker.accepted == 100, "rejected")
    assert states(broker) == "degraded"
    collector.wanted = users(300)
    collector.lose()
    drive([collector, worker], lambda: worker.accepted == 300, "the next 200 went well")
    assert states(broker) == "ok"


def test_few_failures_prove_nothing(broker):
    collector, (worker,), _ = fleet(broker, users(19), workers=1)
    worker.verdict = lambda task: {"verdict": 3, "reason": "bad_value"}
    drive([collector, worker], lambda: worker.accepted == 19, "rejected")
    assert queue_of(broker)["dead"] == 19 and states(broker) == "ok"


def test_metrics_of_the_budget(redis):
    broker = Broker(redis.folder, redis)
    # The bucket holds 3 %, begins empty and is filled by the rest: 9.7 a second.
    broker.conf["targets"]["app"]["pace"] = {"writes": 864000, "per": "1d"}
    broker.write()
    started = time.monotonic()
    tokens, ratio = 'target_budget_tokens{target="app"}', 'target_throttle_remaining_ratio{target="app"}'
    with broker.start():
        broker.wait_ready()

        def look():
            begin = time.monotonic()
            seen = values(broker)
            assert abs(seen[ratio] - max(seen[tokens], 0) / 25920) < 1e-9
            return begin, seen[tokens], time.monotonic()

        first = look()
        assert 0 <= first[1] < 9.7 * (first[2] - started) + 0.1
        collector, (worker,), _ = fleet(broker, users(6), workers=1)
        drive([collector, worker], lambda: worker.accepted == 6, "six requests")
        second = look()
        spent = first[1] - second[1]
        assert 6 - 9.7 * (second[2] - first[0]) - 0.1 < spent < 6 - 9.7 * (second[0] - first[2]) + 0.1
        worker.verdict = lambda task: {"verdict": 4, "after_ms": 3600000, "reason": "throttled"}
        broker.ask("resync", target="app", user=text_id(next(iter(users(1)))))
        drive([collector, worker], lambda: states(broker) == "paused", "throttled")
        assert values(broker)[ratio] == 0, "the target itself asked for a pause"
        del broker.conf["targets"]["app"]["pace"]
        broker.write()
        broker.process.send_signal(signal.SIGHUP)
        wait(lambda: tokens not in values(broker), "no budget any more")
        broker.ask("resume", target="app")
        assert values(broker)[ratio] == 1


def test_worker_info_tells_drivers_and_who_is_older(broker):
    _, (worker,), _ = fleet(broker, {}, workers=1)
    info = 'worker_info{target="app",driver="%s",config="%s"}'
    drive([worker], lambda: values(broker).get(info % ("scim", "newest")) == 1, "the first worker")
    newer = Peer(broker.endpoint)
    newer.say("ready", target="app", worker="x", nonce=newer.nonce, batch=1, clock_boot_ms=1, config=b"n" * 16, driver="a driver of\"theirs")
    wait(lambda: values(broker).get(info % ("other", "newest")) == 1, "the second worker")
    seen = values(broker)
    assert {name for name in seen if name.startswith("worker_info")} == {info % ("other", "newest"), info % ("scim", "older")}


def test_http_paths(broker):
    assert get(broker, "/livez") == (200, "ok\n")
    assert json.loads(get(broker, "/version")[1]) == {"version": "0.1.0"}
    assert json.loads(get(broker, "/stats")[1])["targets"]["app"]["ready"] == 0
    code, body = get(broker, "/readyz")
    assert code == 503 and json.loads(body)["failed"] == [{"check": "source:corp", "why": "no collector"}]
    assert get(broker, "/nothing")[0] == 404


def test_readyz_verbose_tells_what_passes_too(broker, redis):
    collector = Collector(broker.endpoint, users(2))
    failed = [{"check": "target:app", "why": "no worker"}]
    drive([collector], lambda: json.loads(get(broker, "/readyz")[1])["failed"] == failed, "users without a worker")
    for query in ("?verbose", "?verbose=1"):
        code, body = get(broker, f"/readyz{query}")
        assert code == 503 and json.loads(body) == {"ok": False, "failed": failed, "checks": [
            {"check": "redis", "ok": True, "why": ""}, {"check": "clock", "ok": True, "why": ""},
            {"check": "source:corp", "ok": True, "why": ""}, {"check": "target:app", "ok": False, "why": "no worker"}]}
    assert "checks" not in json.loads(get(broker, "/readyz?quiet")[1])
    redis.kill()
    wait(lambda: [c["check"] for c in json.loads(get(broker, "/readyz?verbose")[1])["checks"]] == ["redis"], "nothing else can be told")


def test_debug_config_is_what_runs_without_secrets(broker):
    code, text = get(broker, "/debug/config")
    # What the file says, what it does not say (a default), and where a secret is, not what it is.
    assert code == 200 and 'base_dn: "dc=x"\n' in text and "verify_after: " in text and "!file" in text
    assert "geheim" not in text and "restart" not in text
    assert text == subprocess.run([str(build_dir() / "dirpipe"), "--config", str(broker.path), "config", "show"], capture_output=True, text=True,
                                  timeout=20).stdout
    broker.conf["realm"] = "other"
    broker.conf["targets"]["app"]["pace"] = {"concurrency": 7}
    broker.write()
    broker.process.send_signal(signal.SIGHUP)
    wait(lambda: "concurrency: 7\n" in get(broker, "/debug/config")[1], "the newer one")
    assert get(broker, "/debug/config")[1].startswith("# needs a restart: realm or broker.redis changed\n")


def test_debug_config_is_for_loopback_alone(broker):
    here = next((a for a in subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split() if ":" not in a), None)
    if not here:
        pytest.skip("no address but loopback")
    for source, path, expected in ((here, "/livez", 200), (here, "/debug/config", 403), ("127.0.0.2", "/debug/config", 200)):
        client = http.client.HTTPConnection("127.0.0.1", broker.http_port, timeout=10, source_address=(source, 0))
        client.request("GET", path)
        answer = client.getresponse()
        body = answer.read()
        assert answer.status == expected and (b"dc=x" in body) == (path == "/debug/config" and expected == 200), (source, path)
        client.close()


def test_ready_and_not_when_redis_is_away(broker, redis):
    collector, workers, _ = fleet(broker, users(3))
    drive([collector, *workers], lambda: get(broker, "/readyz")[0] == 200, "ready")
    redis.kill()
    wait(lambda: get(broker, "/readyz")[0] == 503, "not ready")
    assert json.loads(get(broker, "/readyz")[1])["failed"][0]["check"] == "redis"
    assert get(broker, "/livez")[0] == 200
    assert broker.ask("resync", target="app") == {"error": "unavailable"}
    redis.start()
    broker.wait_ready()


def test_bad_configuration_is_78(redis):
    broker = Broker(redis.folder, redis)
    program = str(build_dir() / "dirpipe-broker")
    assert subprocess.run([program, "--config", str(broker.path), "-t"], timeout=20).returncode == 0
    assert "dirpipe-broker 0.1.0" in subprocess.run([program, "-V"], capture_output=True, text=True, timeout=20).stdout
    broker.conf["broker"]["leese"] = "1s"
    broker.write()
    done = subprocess.run([program, "--config", str(broker.path)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 78 and "leese" in done.stderr and str(broker.path) in done.stderr


def test_reload_takes_limits_and_refuses_what_is_wrong(broker):
    assert broker.ask("status")["targets"][0]["concurrency"] > 0
    broker.conf["targets"]["app"]["pace"] = {"concurrency": 2}
    broker.write()
    broker.process.send_signal(signal.SIGHUP)
    wait(lambda: "DP-1007" in broker.log(), "reloaded")
    wait(lambda: broker.ask("status")["targets"][0]["concurrency"] <= 2, "the new limit")
    broker.conf["targets"]["app"]["pace"] = {"concurrency": "many"}
    broker.write()
    broker.process.send_signal(signal.SIGHUP)
    wait(lambda: "DP-1006" in broker.log(), "refused")
    assert broker.ask("status")["targets"][0]["concurrency"] <= 2
    assert "dirpipe_config_last_reload_successful 0" in get(broker, "/metrics")[1]


def test_ends_in_order(redis):
    with Broker(redis.folder, redis) as broker:
        broker.wait_ready()
        collector, workers, _ = fleet(broker, users(500))
        drive([collector, *workers], lambda: len(collector.committed) > 100, "some work")
        code, seconds = broker.stop()
        assert code == 0 and seconds < 10
        assert redis.ask("EXISTS", "{dp:t}:active") == ["0"], "the next broker need not wait"
        assert not broker.control.exists()


def test_second_broker_on_the_same_socket_is_refused(broker, redis):
    with Broker(redis.folder, redis, name="other") as other:
        other.kill()
        other.conf["broker"]["control"] = str(broker.control)
        other.write()
        other.start()
        assert other.process.wait(20) == 69
        assert "another broker answers there" in other.log()
    assert broker.state() == "ready"


def test_noise_does_no_harm(broker):
    noisy = Peer(broker.endpoint)
    rng = random.Random(7)
    for _ in range(2000):
        noisy.socket.send_multipart([bytes(rng.randrange(256) for _ in range(rng.randrange(40))) for _ in range(rng.randrange(1, 4))])
    collector, workers, _ = fleet(broker, users(20))
    drive([collector, *workers], all_clean(broker, 20), "work goes on")
    assert broker.ask("status")["peers"]["malformed"] == 2000
    assert broker.log().count("DP-1202") < 20, "complaints are rationed"
