"""SASL/GSSAPI by keytab: dirpipe-collector binds to a real Samba domain controller over plain ldap://, which Kerberos seals, without any
password; what goes wrong with a keytab or a controller is said in one line."""

import subprocess

import pytest

import samba
from fakebroker import Broker, Collector
from sims import build_dir

pytestmark = pytest.mark.skipif(samba.why_not() is not None, reason=str(samba.why_not()))

PRINCIPAL = f"svc@{samba.REALM}"


class Realm:
    """A domain whose controller is a Kerberos service by its address, and the keytab of svc."""

    def __init__(self, folder):
        self.folder = folder
        self.domain = samba.Domain(folder / "domain")
        self.dc = self.domain.dc
        self.keytab = folder / "svc.keytab"

    def __enter__(self):
        self.domain.start()
        try:
            self.dc.tool("spn", "add", f"ldap/{self.dc.address}", f"{self.dc.host.upper()}$")
            self.export(self.keytab)
        except BaseException:
            self.domain.stop()
            raise
        return self

    def __exit__(self, *_):
        self.domain.stop()

    def export(self, path, account="svc"):
        path.unlink(missing_ok=True)
        samba.run("samba-tool", "domain", "exportkeytab", str(path), f"--principal={account}", "-s", str(self.dc.conf))

    def source(self, keytab=None, principal=PRINCIPAL, **more):
        return {
            "driver": "ad-dirsync", "uris": [f"ldap://{self.dc.address}"], "base_dn": samba.BASE,
            "bind": {"method": "gssapi", "keytab": str(keytab or self.keytab), "principal": principal},
            "usn_interval": "50ms", "users": {"attributes": ["sAMAccountName", "title"]}, "routes": [{"target": "app"}], **more,
        }

    def krb5(self, folder, *lines, kdc=None):
        """The environment of a client whose krb5.conf has these further lines."""
        text = (self.dc.folder / "krb5.conf").read_text().replace("[libdefaults]\n", "[libdefaults]\n" + "".join(f"  {x}\n" for x in lines))
        if kdc:
            text = text.replace(f"kdc = {self.dc.address}", f"kdc = {kdc}")
        folder.mkdir(exist_ok=True)
        path = folder / "krb5.conf"
        path.write_text(text)
        return {"KRB5_CONFIG": str(path), "KRB5CCNAME": f"FILE:{folder}/never", "KRB5_CLIENT_KTNAME": f"FILE:{folder}/never"}

    def collector(self, broker, folder, env=None, **more):
        return Collector(broker, folder / "collector", self.source(**more), env=env or self.krb5(folder))


@pytest.fixture(scope="module")
def realm(tmp_path_factory):
    with Realm(tmp_path_factory.mktemp("realm")) as realm:
        yield realm


def failures(collector):
    return [line for line in collector.log() if line.get("code") == "DP-1104"]


def refused(realm, folder, word, **more):
    """The collector's one line about a keytab that cannot serve; nothing was read."""
    folder.mkdir(exist_ok=True)
    with Broker(folder / "b") as broker, realm.collector(broker, folder, **more) as collector:
        line = collector.wait_log(word)
        assert line["problem"] == "denied" and len(failures(collector)) == 1, failures(collector)
        assert not broker.users
        return line


def test_reads_and_follows(realm, tmp_path):
    dn = realm.dc.create("kerberos", title="Before")
    guid = realm.dc.guid(dn)
    with Broker(tmp_path / "b") as broker, realm.collector(broker, tmp_path) as collector:
        broker.wait_caught_up()
        assert broker.get(guid).first("title") == "Before"
        realm.dc.modify(dn, title="After")
        broker.wait_user(guid, lambda u: u.first("title") == "After")
        assert collector.wait_log("DP-1101")
    assert not (tmp_path / "never").exists()  # tickets stay in the process


def test_the_configured_principal_is_used(realm, tmp_path):
    """A keytab with keys of several accounts, the wrong one first."""
    keytab = tmp_path / "both"
    realm.export(keytab, "plain")
    samba.run("samba-tool", "domain", "exportkeytab", str(keytab), "--principal=svc", "-s", str(realm.dc.conf))
    realm.dc.create("both")
    with Broker(tmp_path / "b") as broker, realm.collector(broker, tmp_path, keytab=keytab):
        broker.wait_caught_up()
        assert broker.find(sAMAccountName="both")
    line = refused(realm, tmp_path / "refused", "no suitable keys", keytab=keytab, principal=f"mighty@{samba.REALM}")
    assert f"mighty@{samba.REALM}" in line["msg"] and str(keytab) in line["msg"]


def connections(collector):
    return sum(line.get("code") == "DP-1101" for line in collector.log())


def test_a_reconnect_has_a_new_ticket(realm, tmp_path):
    trace = tmp_path / "trace"
    env = realm.krb5(tmp_path) | {"KRB5_TRACE": str(trace)}

    def asked():
        return trace.read_text().count(f"Getting initial credentials for {PRINCIPAL}")

    with Broker(tmp_path / "b") as broker, realm.collector(broker, tmp_path, env=env) as collector:
        broker.wait_caught_up()
        before = asked()
        realm.dc.stop()
        collector.wait_log("DP-1104")
        realm.domain.start_dc(realm.dc)
        dn = realm.dc.create("afterwards")
        broker.wait_user(realm.dc.guid(dn), lambda u: u.first("sAMAccountName") == "afterwards", 40)
        assert asked() > before >= 1
        assert connections(collector) == 2 and broker.hellos == 1


@pytest.mark.long
def test_a_ticket_that_ends_is_replaced(realm, tmp_path):
    """The controller closes a connection whose ticket ended. (Its KDC takes no ticket that has less than two minutes left.)"""
    dn = realm.dc.create("lasting", title="0")
    guid = realm.dc.guid(dn)
    env = realm.krb5(tmp_path, "ticket_lifetime = 125s")
    with Broker(tmp_path / "b") as broker, realm.collector(broker, tmp_path, env=env) as collector:
        broker.wait_caught_up()
        samba.wait_until(lambda: connections(collector) >= 2, 180, "the second connection")
        realm.dc.modify(dn, title="1")
        broker.wait_user(guid, lambda u: u.first("title") == "1")
        assert not [line for line in failures(collector) if "bind" in line["msg"]]
        assert broker.hellos == 1


def test_new_keys_in_the_keytab_count_at_the_next_connection(realm, tmp_path):
    keytab = tmp_path / "rotated"
    realm.export(keytab)
    realm.dc.set_password(realm.domain.account("svc"), "Ro-tated.2")
    realm.export(realm.keytab)
    with Broker(tmp_path / "b") as broker, realm.collector(broker, tmp_path, keytab=keytab) as collector:
        line = collector.wait_log("DP-1104")
        assert line["problem"] == "denied" and str(keytab) in line["msg"] and PRINCIPAL in line["msg"]
        assert "Preauthentication failed" in line["msg"]
        realm.export(keytab)
        broker.wait_caught_up()
        assert len(failures(collector)) == 1


def test_a_file_that_is_no_keytab(realm, tmp_path):
    keytab = tmp_path / "text"
    keytab.write_text("no keys")
    assert str(keytab) in refused(realm, tmp_path, "key table", keytab=keytab)["msg"]


def test_no_keytab_is_an_error_of_the_configuration(realm, tmp_path):
    with Broker(tmp_path / "b") as broker:
        collector = realm.collector(broker, tmp_path, keytab=tmp_path / "none").start()
        assert collector.process.wait(20) == 78
    assert f"bind.keytab: {tmp_path}/none cannot be read: No such file" in collector.log()[-1]["msg"]


def test_a_server_without_its_principal_is_no_refusal(realm, tmp_path):
    other = samba.free_address().rsplit(".", 1)[0] + ".9"
    assert other != realm.dc.address
    relay = subprocess.Popen(["socat", f"TCP-LISTEN:389,bind={other},fork,reuseaddr", f"TCP:{realm.dc.address}:389"])
    try:
        with Broker(tmp_path / "b") as broker, realm.collector(broker, tmp_path, uris=[f"ldap://{other}"]) as collector:
            line = collector.wait_log("not found in Kerberos database")
            assert line["problem"] == "unreachable", line
    finally:
        relay.terminate()
        relay.wait()


def test_no_kdc_is_no_refusal(realm, tmp_path):
    env = realm.krb5(tmp_path, kdc=f"{samba.free_address()}:88")
    with Broker(tmp_path / "b") as broker, realm.collector(broker, tmp_path, env=env) as collector:
        line = collector.wait_log("Cannot contact any KDC", 60)
        assert line["problem"] == "unreachable", line


def test_check_names_the_steps(realm, tmp_path):
    with Broker(tmp_path / "b") as broker:
        for keytab, code in ((realm.keytab, 0), (tmp_path / "other", 69)):
            if code:
                realm.export(keytab, "plain")
            collector = realm.collector(broker, tmp_path, keytab=keytab)
            collector.write()
            done = subprocess.run([build_dir() / "dirpipe-collector", "--config", collector.path, "--check", "corp"], text=True,
                                  env=collector.env, capture_output=True, timeout=60, check=False)
            assert done.returncode == code, done
            assert ("FAIL bind" in done.stdout) == (code != 0), done.stdout
            assert ("ok   bind" in done.stdout) == (code == 0), done.stdout
