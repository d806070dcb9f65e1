"""GOALS 8, "LDAP values", "DNs" and "LDAP protocol": the real collector against a scripted server, which may say what no good one would, and
against OpenLDAP where that allows the value. The user it is about is published whole or left as it was, with the attribute's name in the
log and not its value; everybody else goes on."""

import base64
import json
import unicodedata

import ldap
import pytest

from fakebroker import Broker, Collector
from servers import Slapd
from test_collector_hostile import Setup, ldapsim

CANARY = b"canary-4711"
REFUSED = {
    "overlong": b"\xc0\xaf" + CANARY,
    "surrogate": b"\xed\xa0\x80" + CANARY,
    "cut_sequence": CANARY + b"\xe2\x82",
    "latin_1": b"J\xf6rg " + CANARY,
    "bytes_64_kib_and_one": CANARY + b"x" * ((64 << 10) + 1 - len(CANARY)),
    "bytes_10_mib": CANARY + b"x" * (10 << 20),
    "nul": CANARY + b"\0behind",
}
TAKEN = {
    "rtl_override": "\u202eevil",
    "emoji": "Anna \U0001f680",
    "nfc": unicodedata.normalize("NFC", "Müller"),
    "nfd": unicodedata.normalize("NFD", "Müller"),
    "control": "a\x01\x1b[31m\x7fb",
    "newline": "a\r\nb: c",
    "spaces": "  a  ",
    "filter": "*)(uid=*",
    "bytes_64_kib": "x" * (64 << 10),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One collector for all rows: it has to survive each."""
    with ldapsim.LdapSim() as sim:
        attributes = ["sAMAccountName", "title", "description", "cn;lang-da", "cn", "jpegPhoto", "objectSid", "mail"]
        with Setup(tmp_path_factory.mktemp("l"), sim, users={"attributes": attributes}) as setup:
            setup.sim = sim
            setup.n = 0
            setup.broker.wait_caught_up()
            yield setup


def user(world, **attrs):
    world.n += 1
    entry = world.sim.user(f"u{world.n}", **attrs)
    world.wait(entry)
    return entry


def goes_on(world):
    entry = user(world, title="x")
    world.sim.change(entry, title="y")
    world.wait(entry, title="y")
    assert world.collector.process.poll() is None


def left_as_it_was(world, entry, attribute):
    """The line that names the user and the attribute; nothing of the value anywhere."""
    guid = str(entry.guid)
    line = world.collector.wait_log(guid, since=world.mark)
    assert attribute in json.dumps(line), line
    goes_on(world)
    assert "canary" not in world.collector.log_path.read_text(errors="replace")
    assert all(CANARY not in json.dumps(r).encode() for b in world.broker.batches for r in [repr(b["users"])])
    known = world.broker.get(guid)
    assert not known.gone and known.first("title") == "before"
    world.sim.change(entry, **{attribute: "good", "title": "after"})
    world.wait(entry, title="after")


@pytest.mark.parametrize("name", REFUSED)
def test_GOALS_8_ldap_values_refused(world, name):
    entry = user(world, title="before")
    world.mark = len(world.collector.log())
    world.sim.change(entry, description=[REFUSED[name]], title="never published")
    left_as_it_was(world, entry, "description")


@pytest.mark.parametrize("name", TAKEN)
def test_GOALS_8_ldap_values_taken_whole(world, name):
    entry = user(world, title="before")
    world.sim.change(entry, description=TAKEN[name])
    got = world.broker.wait_user(str(entry.guid), lambda u: u.first("description"))
    assert got.first("description") == TAKEN[name]
    goes_on(world)


def test_GOALS_8_ldap_values_binary(world):
    photo = bytes(range(256)) * 200
    entry = user(world, jpegPhoto=photo, objectSid=b"\x01\x05\0\0\xff")
    assert base64.b64decode(world.broker.get(str(entry.guid)).first("jpegPhoto")) == photo
    assert base64.b64decode(world.broker.get(str(entry.guid)).first("objectSid")) == b"\x01\x05\0\0\xff"


def test_GOALS_8_ldap_values_photo_of_1_mib_is_named(world):
    entry = user(world, title="before")
    world.mark = len(world.collector.log())
    world.sim.change(entry, jpegPhoto=CANARY + bytes(1 << 20), title="never published")
    left_as_it_was(world, entry, "jpegPhoto")


def test_GOALS_8_ldap_values_empty_several_and_missing(world):
    entry = user(world, description="")
    assert world.broker.get(str(entry.guid)).snapshot["attrs"]["description"] in ([""], [])
    entry = user(world, description=["a", "b", "c"])
    assert sorted(world.broker.get(str(entry.guid)).snapshot["attrs"]["description"]) == ["a", "b", "c"]
    entry = user(world)
    assert world.broker.get(str(entry.guid)).snapshot["attrs"]["title"] == []


def test_GOALS_8_ldap_values_options_are_other_attributes(world):
    entry = user(world, cn="Anna", **{"cn;lang-da": "Ånna"})
    got = world.broker.get(str(entry.guid))
    assert got.first("cn") == "Anna" and got.first("cn;lang-da") == "Ånna"


@pytest.mark.parametrize("guid", [b"", b"short", bytes(16), b"x" * 17], ids=["none", "short", "zero", "long"])
def test_GOALS_8_ldap_values_identity_that_is_none(world, guid):
    """Nobody can say whose it is: it changes nobody, and the user keeps what was known."""
    entry = user(world, title="before")
    known = {u.id for u in world.broker.users.values()}

    class Mask(ldapsim.Entry):
        def values(self, name):
            return [guid] if name.lower() == "objectguid" else super().values(name)

    kept, entry.__class__ = entry.__class__, Mask
    world.sim.change(entry, title="after")
    goes_on(world)
    entry.__class__ = kept
    assert not world.broker.get(str(entry.guid)).gone and world.broker.get(str(entry.guid)).first("title") == "before"
    assert len({u.id for u in world.broker.users.values()} - known) == 1
    world.sim.change(entry, title="right")
    world.wait(entry, title="right")
    goes_on(world)


# ---- names ----

DNS = {
    "comma": "CN=Berg\\, Anna", "comma_hex": "CN=Berg\\2C Anna", "nul": "CN=a\\00b", "hash": "CN=\\#1", "ber": "CN=#0403616263",
    "spaces": "CN=\\ a\\ ", "multi": "CN=a+OU=b", "umlaut": "CN=Jörg \\F0\\9F\\9A\\80", "equals": "CN=a=b\\=c",
    "rdn_of_60_kib": "CN=" + "x" * (60 << 10), "cnf": "CN=a\\0ACNF:81c4b88a-7cae-1041-951e-2d58ffb2a13f",
}


@pytest.mark.parametrize("name", DNS)
def test_GOALS_8_dns_do_not_identify(world, name):
    """Whatever it is called, it is the same user."""
    entry = user(world, title="before")
    with world.sim.lock:
        entry.dn = f"{DNS[name]},CN=Users,{world.sim.base}"
    world.sim.change(entry, title="renamed")
    world.wait(entry, title="renamed")
    known = world.broker.get(str(entry.guid))
    assert known.dn == entry.dn and not known.gone
    assert len([u for u in world.broker.find() if u.first("sAMAccountName") == known.first("sAMAccountName")]) == 1
    goes_on(world)


@pytest.mark.parametrize("dn", ['CN="a, b",CN=Users,{}', "CN=a,,{}", "=,{}", "CN=a\\zz,{}"])
def test_GOALS_8_dns_that_are_none_leave_the_user(world, dn):
    entry = user(world, title="before")
    right = entry.dn
    mark = len(world.collector.log())
    with world.sim.lock:
        entry.dn = dn.format(world.sim.base)
    world.sim.change(entry, title="never published")
    world.collector.wait_log("DN cannot be read", since=mark)
    goes_on(world)
    known = world.broker.get(str(entry.guid))
    assert not known.gone and known.targets == ["app"] and known.first("title") == "before"
    with world.sim.lock:
        entry.dn = right
    world.sim.change(entry, title="right")
    world.wait(entry, title="right")


def test_GOALS_8_dns_swapped_in_one_change(world):
    a, b = user(world, title="a"), user(world, title="b")
    with world.sim.lock:
        a.dn, b.dn = b.dn, a.dn
        world.sim.change(a, title="a2")
        world.sim.change(b, title="b2")
    world.wait(a, title="a2")
    world.wait(b, title="b2")
    assert world.broker.get(str(a.guid)).dn == a.dn and world.broker.get(str(b.guid)).dn == b.dn


def test_GOALS_8_dns_that_are_no_utf_8(world):
    entry = user(world, title="before")
    mark = len(world.collector.log())
    plain = ldapsim.Connection.entry_pdu

    def bad(self, message, e, attrs=None):
        raw = plain(self, message, e, attrs)
        return raw.replace(b"CN=bad", b"CN=\xff\xfed") if e is entry else raw

    ldapsim.Connection.entry_pdu = bad
    try:
        with world.sim.lock:
            entry.dn = f"CN=bad,CN=Users,{world.sim.base}"
        world.sim.change(entry, title="never published")
        world.collector.wait_log("no usable DN", since=mark)
        goes_on(world)
    finally:
        ldapsim.Connection.entry_pdu = plain
    assert world.broker.get(str(entry.guid)).first("title") == "before"
    world.sim.change(entry, title="right")
    world.wait(entry, title="right")


# ---- protocol ----


def with_controls(*controls):
    def step(connection, message):
        connection.finish(message, 0, controls=list(controls))
        return True
    return step


def then(data):
    """Something more before the proper answer."""
    def step(connection, message):
        connection.send(data(connection, message))
        return False
    return step


def twice(connection, message):
    entry = connection.sim.entries[-1]
    return connection.entry_pdu(message, entry) * 2


def intermediate(connection, message):
    return ldapsim.seq(ldapsim.integer(message.id), ldapsim.tlv(0x79, ldapsim.octets("1.2.3.4", 0x80) + ldapsim.octets(b"\xff" * 9, 0x81)))


def stray(connection, message):
    return ldapsim.seq(ldapsim.integer(99999), ldapsim.tlv(0x64, ldapsim.octets("CN=x") + ldapsim.seq()))


PAGED, DIRSYNC = ldapsim.OID_PAGED, ldapsim.OID_DIRSYNC
PROTOCOL = {
    "dirsync_control_empty": ("dirsync", with_controls((DIRSYNC, b""))),
    "dirsync_control_cut": ("dirsync", with_controls((DIRSYNC, b"\x30\x20\x02\x01"))),
    "dirsync_control_of_another_type": ("dirsync", with_controls((DIRSYNC, b"\x04\x03abc"))),
    "dirsync_more_for_ever": ("dirsync", with_controls(ldapsim.dirsync_response(b"SIM?", 1))),
    "entry_twice": ("dirsync", then(twice)),
    "intermediate_of_unknown_type": ("dirsync", then(intermediate)),
    "answer_to_nobody": ("search", then(stray)),
    "referral_as_result": ("search", ldapsim.result(10, "elsewhere")),
    "size_limit": ("search", ldapsim.result(4, "too much")),
    "time_limit": ("search", ldapsim.result(3, "too slow")),
    "admin_limit": ("search", ldapsim.result(11, "too much")),
    "code_of_nobody": ("search", ldapsim.result(123, "?")),
    "pdu_of_2_gib": ("search", ldapsim.lie()),
    "notice_of_disconnection": ("search", ldapsim.goodbye()),
}


@pytest.mark.parametrize("name", PROTOCOL)
def test_GOALS_8_ldap_protocol_harms_nobody(world, name):
    kind, step = PROTOCOL[name]
    entry, other = user(world, title="before"), user(world, title="stays")
    gone = {u.id for u in world.broker.users.values() if u.gone}
    world.sim.after_now(kind, step)
    world.sim.change(entry, title="after")
    world.wait(entry, title="after")
    goes_on(world)
    assert {u.id for u in world.broker.users.values() if u.gone} == gone
    assert world.broker.get(str(other.guid)).first("title") == "stays"


@pytest.mark.parametrize("value", [b"", b"\x30", b"\x30\x84\x7f\xff\xff\xff", b"\x04\x00"], ids=["empty", "cut", "2_gib", "another_type"])
def test_GOALS_8_ldap_protocol_unreadable_page_is_not_the_last(tmp_path, value):
    """Who was not named on the pages that did not come is not missing."""
    with ldapsim.LdapSim() as sim:
        people = [sim.user(f"u{i}") for i in range(30)]
        with Setup(tmp_path, sim) as s:
            s.broker.wait_caught_up()
            s.broker.wait(lambda b: b.cursor)
            s.collector.stop()
            sim.forget_cookies()
            sim.at("search", 0, paged_end(value))
            s.collector.start()
            sim.wait("search", sim.count("search") + 2, 20)
            sim.clear()
            s.broker.caught_up = False
            s.broker.wait(lambda b: b.caught_up or b.cursor, 30)
            entry = people[0]
            sim.change(entry, title="after")
            s.wait(entry, title="after")
            assert len(s.broker.find()) == len(people)


def paged_end(value):
    def step(connection, message):
        if PAGED not in message.controls:
            return False
        connection.finish(message, 0, controls=[(PAGED, value)])
        return True
    return step


# ---- a real server ----


def test_GOALS_8_ldap_values_of_a_real_server(tmp_path):
    """What OpenLDAP itself lets through."""
    with Slapd(tmp_path / "d", users=5) as slapd:
        source = slapd.source()
        source["users"]["attributes"] = ["uid", "description", "title", "cn;lang-da", "jpegPhoto"]
        with Broker(tmp_path / "b") as broker, Collector(broker, tmp_path / "c", source) as collector:
            broker.wait_caught_up()
            dn = slapd.person(1)[0]
            for value in (*TAKEN.values(), "x" * 65536):
                slapd.connection.modify_s(dn, [(ldap.MOD_REPLACE, "description", value.encode())])
                broker.wait(lambda b: b.find(description=value), what=repr(value[:20]))
            slapd.connection.modify_s(dn, [(ldap.MOD_REPLACE, "cn;lang-da", "Ånna".encode())])
            broker.wait(lambda b: b.find(**{"cn;lang-da": "Ånna"}))
            mark = len(collector.log())
            slapd.connection.modify_s(dn, [(ldap.MOD_REPLACE, "description", b"x" * (10 << 20)), (ldap.MOD_REPLACE, "title", b"never")])
            assert "description" in collector.wait_log("larger than 64 KiB", since=mark)["reason"]
            slapd.connection.modify_s(dn, [(ldap.MOD_REPLACE, "description", b"short"), (ldap.MOD_REPLACE, "title", b"again")])
            broker.wait(lambda b: b.find(description="short", title="again"))
            assert len(broker.find()) == 5 and not broker.find(title="never")
