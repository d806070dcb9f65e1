"""dirpipe-collector against tests/sims/ldap: what only Windows does, and what no server should do. Whatever it answers, nobody is
lost or invented, and the collector goes on as soon as the answers are right again."""

import os
import pathlib
import sys
import time

import pytest

from fakebroker import Broker, Collector
from pipeline import Secret

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sims" / "ldap"))
import ldapsim  # noqa: E402


class Setup:
    def __init__(self, folder, sim, **more):
        self.folder, self.sim = folder, sim
        password = folder / "password"
        password.write_text("secret")
        password.chmod(0o600)
        # libldap 2.5 itself loses the text of a notice of disconnection (some bytes a time).
        suppressions = folder / "lsan"
        suppressions.write_text("leak:ber_get_stringa_null\n")
        self.broker = Broker(folder / "b")
        source = {
            "driver": "ad-dirsync", "uris": [sim.uri], "base_dn": sim.base,
            "bind": {"method": "simple", "dn": "svc@sim.test", "password": Secret(password)},
            "usn_interval": "50ms", "operation_timeout": "2s", "network_timeout": "2s",
            "users": {"attributes": ["sAMAccountName", "title"]}, "guard": {"min_users": 100},
            "routes": [{"target": "app"}], **more,
        }
        asan = os.environ.get("ASAN_OPTIONS", "")
        env = {"ASAN_OPTIONS": f"{asan}:fast_unwind_on_malloc=0".lstrip(":"), "LSAN_OPTIONS": f"suppressions={suppressions}:print_suppressions=0"}
        self.collector = Collector(self.broker, folder / "c", source, env=env)

    def wait(self, entry, **attrs):
        guid = str(entry.guid)
        return self.broker.wait_user(guid, lambda u: not u.gone and all(u.first(k) == v for k, v in attrs.items()))

    def published(self):
        return sum(len(b["users"]) for b in self.broker.batches)

    def __enter__(self):
        self.broker.start()
        self.collector.start()
        return self

    def __exit__(self, *_):
        try:
            self.collector.__exit__()
        finally:
            self.broker.__exit__()


@pytest.fixture()
def sim():
    with ldapsim.LdapSim() as server:
        yield server


# ---- as Windows ----

def test_pages_are_followed_to_the_end(sim, tmp_path):
    people = [sim.user(f"u{i}", title=f"t{i}") for i in range(23)]
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        assert sim.count("dirsync") >= 5, "the simulator gives 5 objects a page"
        for i, entry in enumerate(people):
            s.wait(entry, title=f"t{i}")
        # Live changes come in several pages, too; children before parents.
        for entry in people:
            sim.change(entry, title="new")
        for entry in people:
            s.wait(entry, title="new")


def test_flags_are_four_octets(sim, tmp_path):
    entry = sim.user("alice")
    with Setup(tmp_path, sim) as s:
        s.wait(entry)
    assert set(sim.seen_flags) == {b"\x80\x00\x00\x01"}


def test_forced_member_ranges(sim, tmp_path):
    people = [sim.user(f"u{i}") for i in range(3)]
    filler = [sim.add(ldapsim.Entry(f"CN=c{i},CN=Users,{sim.base}", ["top", "contact"])) for i in range(3200)]
    group = sim.group("big", [people[0], *filler, people[1]])
    with Setup(tmp_path, sim, groups=[{"name": "big", "dn": group.dn}], operation_timeout="30s") as s:  # the simulator is slow with so many
        s.broker.wait_caught_up()
        for entry, groups in zip(people, (["big"], ["big"], [])):
            assert s.broker.wait_user(str(entry.guid), lambda u: True).groups == groups
        assert sim.count("range") >= 2
        sim.change(group, member=[m.dn for m in [*filler, people[1], people[2]]])
        s.broker.wait_user(str(people[0].guid), lambda u: u.groups == [])
        s.broker.wait_user(str(people[2].guid), lambda u: u.groups == ["big"])


def test_more_objects_than_one_page_of_a_search(sim, tmp_path):
    sim.page = 5000
    people = [sim.user(f"u{i}") for i in range(1300)]  # MaxPageSize is 1000
    with Setup(tmp_path, sim, operation_timeout="30s") as s:
        s.broker.wait_caught_up()
        assert len(s.broker.find()) == len(people)


def test_notification_wakes_before_the_interval(sim, tmp_path):
    entry = sim.user("alice")
    with Setup(tmp_path, sim, usn_interval="1h") as s:
        s.broker.wait_caught_up()
        sim.wait("notify", 1)
        s.broker.wait(lambda b: b.cursor)
        began = time.monotonic()
        sim.change(entry, title="prompt")
        s.wait(entry, title="prompt")
        assert time.monotonic() - began < 10
        sim.delete(entry)
        s.broker.wait_gone(str(entry.guid))


def test_clock_of_the_directory_is_told(sim, tmp_path):
    def off(beat):
        return beat["clock_unix_ms"] / 1000 - time.time() if beat["clock_unix_ms"] else None

    with Setup(tmp_path, sim) as s:
        s.broker.wait(lambda b: any(off(beat) is not None and abs(off(beat)) < 5 for beat in b.beats))
        sim.ahead = -3600
        s.broker.wait(lambda b: off(b.beats[-1]) is not None and -3605 < off(b.beats[-1]) < -3590)


@pytest.mark.parametrize("code", [12, 53])
def test_refused_cookie_means_everything_again(sim, tmp_path, code):
    sim.bad_cookie = code
    people = [sim.user(f"u{i}") for i in range(8)]
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        before = s.published()
        sim.forget_cookies()
        sim.change(people[0], title="after")
        s.wait(people[0], title="after")
        assert s.published() - before <= 2, "a full read publishes nobody who did not change"
        assert all(not s.broker.get(str(p.guid)).gone for p in people)


def test_deletions_during_a_full_read_after_a_refused_cookie(sim, tmp_path):
    people = [sim.user(f"u{i}") for i in range(8)]
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        s.broker.wait(lambda b: b.cursor)
        s.collector.stop()
        sim.forget_cookies()
        with sim.lock:
            sim.entries.remove(people[3])  # its tombstone has been collected, too
        s.collector.start()
        s.broker.wait_gone(str(people[3].guid))
        assert len(s.broker.find()) == 7


# ---- as no server should ----

STEPS = {
    "cut in the middle of a message": ldapsim.cut(),
    "a message of two GiB": ldapsim.lie(),
    "a hung-up connection": ldapsim.hang_up(),
    "a notice of disconnection": ldapsim.goodbye(),
    "success without a cookie": ldapsim.without_cookie(),
    "a cookie of 300 KB": ldapsim.with_cookie(b"x" * 300_000),
    "an empty cookie": ldapsim.with_cookie(b""),
    "busy": ldapsim.result(51, "busy"),
    "unavailable": ldapsim.result(52, "unavailable"),
    "other": ldapsim.result(80, "something"),
    "a time limit": ldapsim.result(3, "too slow"),
    "not BER": ldapsim.raw(b"\x30\x03abc"),
    "another protocol": ldapsim.raw(b"HTTP/1.1 200 OK\r\n\r\n"),
}


@pytest.mark.parametrize("kind", ["dirsync", "search"])
@pytest.mark.parametrize("name", STEPS)
def test_bad_answer_changes_nobody(sim, tmp_path, name, kind):
    if kind == "search" and "cookie" in name:
        pytest.skip("cookies belong to DirSync")
    people = [sim.user(f"u{i}") for i in range(4)]
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        s.broker.wait(lambda b: b.cursor)
        before = s.published()
        sim.after_now(kind, STEPS[name])
        sim.change(people[0], title="after")
        s.wait(people[0], title="after")
        sim.delete(people[1])
        s.broker.wait_gone(str(people[1].guid))
        assert s.published() - before <= 3
        assert sorted(u.first("sAMAccountName") for u in s.broker.find()) == ["u0", "u2", "u3"]


@pytest.mark.parametrize("name", ["a hung-up connection", "a message of two GiB", "unavailable", "success without a cookie"])
def test_bad_answer_in_the_first_read(sim, tmp_path, name):
    people = [sim.user(f"u{i}") for i in range(12)]
    sim.at("dirsync", 2, STEPS[name])
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        assert len(s.broker.find()) == len(people)


def test_silent_server_is_left(sim, tmp_path):
    entry = sim.user("alice")
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        sim.after_now("root", ldapsim.silence())
        sim.change(entry, title="after")
        s.wait(entry, title="after")


def test_entry_outside_the_base_is_refused(sim, tmp_path):
    entry = sim.user("alice")
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        sim.after_now("search", ldapsim.stranger())
        sim.change(entry, title="after")
        s.wait(entry, title="after")
        assert [u.first("sAMAccountName") for u in s.broker.users.values()] == ["alice"]
        s.collector.wait_log("outside the search base")


def test_referrals_are_not_followed(sim, tmp_path):
    entry = sim.user("alice")
    sim.at("search", 0, ldapsim.referral())
    with Setup(tmp_path, sim) as s:
        s.wait(entry)
        sim.change(entry, title="after")
        s.wait(entry, title="after")


def test_empty_domain_touches_nobody(sim, tmp_path):
    people = [sim.user(f"u{i}") for i in range(4)]
    with Setup(tmp_path, sim) as s:
        s.broker.wait_caught_up()
        s.broker.wait(lambda b: b.cursor)
        with sim.lock:
            for entry in people:
                sim.entries.remove(entry)
            sim.forget_cookies()
            sim.usn += 1
        s.collector.wait_log("without a single user")
        assert len(s.broker.find()) == 4


def test_refused_control_names_the_right(sim, tmp_path):
    sim.user("alice")
    sim.at("dirsync", 0, ldapsim.result(50, "insufficient"))
    with Setup(tmp_path, sim) as s:
        s.collector.wait_log("Replicating Directory Changes")
        assert not s.broker.users
    assert set(sim.seen_flags) <= {b"\x80\x00\x00\x01", b"\x80\x00\x00\x00"}


def test_words_that_are_no_text_reach_the_broker_as_text(sim, tmp_path):
    def refuse(connection, message):
        words = "Ung\xfcltig ".encode("latin-1") + "x\xe4\xe4".encode() * 100
        body = ldapsim.tlv(0x0A, b"\x35") + ldapsim.octets("") + ldapsim.octets(words)
        connection.send(ldapsim.seq(ldapsim.integer(message.id), ldapsim.tlv(0x61, body)))
        return True

    sim.at("bind", 0, refuse)
    with Setup(tmp_path, sim) as s:
        beat = s.broker.wait(lambda b: next((beat for beat in b.beats if beat["text"]), None))
        assert "Ung\ufffdltig x" in beat["text"].decode()


def test_wrong_password_is_not_tried_in_a_loop(sim, tmp_path):
    def refuse(connection, message):
        body = ldapsim.tlv(0x0A, b"\x31") + ldapsim.octets("") + ldapsim.octets("80090308: data 52e, v1db1")
        connection.send(ldapsim.seq(ldapsim.integer(message.id), ldapsim.tlv(0x61, body)))
        return True

    sim.at("bind", 0, refuse)
    with Setup(tmp_path, sim) as s:
        sim.wait("bind", 1)
        s.collector.wait_log("52e")
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and sim.count("bind") <= 3:
            sim.thread.join(0.1)
        assert sim.count("bind") <= 3
