"""SIGHUP: dirpipe-collector takes a new configuration by beginning anew in the same process; one that is wrong changes nothing."""

import signal

import pytest

from fakebroker import Broker, Collector
from servers import Slapd


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    with Slapd(tmp_path_factory.mktemp("slapd"), users=20) as d:
        yield d


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "b") as broker:
        yield broker


def test_a_good_configuration_is_taken(slapd, broker, tmp_path):
    dn = slapd.person(3)[0]
    guid = slapd.id(dn)
    with Collector(broker, tmp_path / "c", slapd.source(attributes=["uid"])) as collector:
        broker.wait_caught_up()
        assert "mail" not in broker.get(guid).attrs
        pid, hellos = collector.process.pid, broker.hellos
        collector.source = slapd.source(attributes=["uid", "mail"])
        collector.write()
        collector.process.send_signal(signal.SIGHUP)
        broker.wait_user(guid, lambda u: u.first("mail") == "u0000003@example.com")
        broker.wait_caught_up()
        assert collector.process.pid == pid and collector.process.poll() is None and broker.hellos == hellos + 1
        slapd.replace(dn, mail="again@example.com")
        broker.wait_user(guid, lambda u: u.first("mail") == "again@example.com")
        collector.wait_log("DP-1004")


def test_a_wrong_configuration_changes_nothing(slapd, broker, tmp_path):
    dn = slapd.person(4)[0]
    guid = slapd.id(dn)
    with Collector(broker, tmp_path / "c", slapd.source()) as collector:
        broker.wait_caught_up()
        good, hellos = collector.source, broker.hellos
        for wrong, why in ((good | {"base_dn": "nonsense"}, "base_dn"), (good | {"uris": ["ldap://x.example"]}, "in the clear"),
                           (good | {"driver": "none"}, "expected one of the words")):
            collector.source = wrong
            collector.write()
            collector.process.send_signal(signal.SIGHUP)
            line = collector.wait_log(why)
            assert line["code"] == "DP-1003", line
        slapd.replace(dn, title="still here")
        broker.wait_user(guid, lambda u: u.first("title") == "still here")
        assert broker.hellos == hellos


def test_sigterm_while_a_new_configuration_is_taken_ends(slapd, broker, tmp_path):
    collector = Collector(broker, tmp_path / "c", slapd.source()).start()
    broker.wait_caught_up()
    collector.process.send_signal(signal.SIGHUP)
    collector.process.send_signal(signal.SIGTERM)
    assert collector.stop() == 0
