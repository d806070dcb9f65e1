"""dirpipe-collector with driver ad-dirsync against real Samba domain controllers: each kind of change, fail-over, missing rights, and
what a restart or a restored controller does to the cursor."""

import shutil
import subprocess
import time

import pytest

import samba
from fakebroker import Broker, Collector
from pipeline import Secret
from sims import build_dir

pytestmark = pytest.mark.skipif(samba.why_not() is not None, reason=str(samba.why_not()))

ATTRIBUTES = ["sAMAccountName", "userPrincipalName", "displayName", "mail", "title", "proxyAddresses", "manager"]


def source(ad, folder, account="svc", **more):
    password = folder / "password"
    password.write_text(samba.PASSWORD)
    password.chmod(0o600)
    return {
        "driver": "ad-dirsync", "uris": ad.uris, "base_dn": samba.BASE,
        "bind": {"method": "simple", "dn": f"{account}@{samba.DNS}", "password": Secret(password)},
        "tls": {"ca_file": ad.ca_file}, "usn_interval": "50ms",
        "users": {"attributes": ATTRIBUTES}, "guard": {"min_users": 100},
        "routes": [{"target": "app"}], **more,
    }


class Setup:
    def __init__(self, ad, folder, **more):
        self.ad, self.dc, self.folder = ad, ad.dc, folder
        self.people = ad.dc.ou("People")
        self.staff = ad.dc.group("staff", self.people)
        self.nested = ad.dc.group("nested", self.people)
        ad.dc.add_member(self.staff, self.nested)
        self.broker = Broker(folder / "b")
        more.setdefault("groups", [{"name": "staff", "dn": self.staff}])
        self.collector = Collector(self.broker, folder / "collector", source(ad, folder, **more))

    def person(self, name, **attrs):
        """A user whom the broker knows: (dn, id)."""
        dn = self.dc.create(name, self.people, **attrs)
        guid = self.dc.guid(dn)
        self.broker.wait_user(guid, lambda u: u.first("sAMAccountName") == name)
        return dn, guid

    def settled(self, seconds=10):
        """The cursor that covers everything so far."""
        usn = self.dc.usn()
        self.broker.wait(lambda b: f"{usn}:".encode() in b.server or usn <= newest_usn(b.server), seconds, f"cursor of {usn}")


def newest_usn(server):
    """The USN of the mark of the current controller in a cursor's server text."""
    pairs = [p.split("=", 1) for p in server.decode().split(";") if "=" in p]
    current = dict(pairs).get("current")
    marks = [p[1].split(":") for p in pairs if p[0] == "dc"]
    return max((int(m[1]) for m in marks if m[0] == current), default=0)


@pytest.fixture(scope="module")
def s(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ad")
    with samba.Domain(folder / "domain") as ad:
        setup = Setup(ad, folder)
        with setup.broker, setup.collector:
            setup.broker.wait_caught_up()
            yield setup


def test_create(s):
    _, guid = s.person("create", password="Create.1", displayName="Käthe O'Neil 山田 😀", mail="k@ad.test")
    user = s.broker.get(guid)
    assert user.targets == ["app"]
    assert user.first("displayName") == "Käthe O'Neil 山田 😀"
    assert user.account["enabled"] is True
    assert abs(user.account["password_changed_at"] / 1000 - time.time()) < 120
    assert user.attrs["title"] == []


def test_modify_clear_and_many_values(s):
    dn, guid = s.person("modify")
    s.dc.modify(dn, title="Chef", proxyAddresses=["smtp:a@x", "smtp:b@x"])
    s.broker.wait_user(guid, lambda u: u.first("title") == "Chef")
    assert sorted(s.broker.get(guid).attrs["proxyAddresses"]) == ["smtp:a@x", "smtp:b@x"]
    s.dc.clear(dn, "title", "proxyAddresses")
    s.broker.wait_user(guid, lambda u: u.attrs["title"] == [] and u.attrs["proxyAddresses"] == [])


def test_rename_and_move_keep_the_id(s):
    dn, guid = s.person("mover")
    before = set(s.broker.users)
    dn = s.dc.rename(dn, "CN=moved")
    s.broker.wait_user(guid, lambda u: u.dn == dn)
    dn = s.dc.move(dn, samba.USERS)
    s.broker.wait_user(guid, lambda u: u.dn == dn)
    assert set(s.broker.users) == before
    assert not s.broker.get(guid).gone


def test_rename_of_an_ou_reaches_its_people(s):
    ou = s.dc.ou("Before", s.people)
    inner = s.dc.ou("Inner", ou)
    dns = [s.dc.create(f"child{i}", inner) for i in range(5)]
    guids = [s.dc.guid(dn) for dn in dns]
    for guid in guids:
        s.broker.wait_user(guid, lambda u: "Before" in u.dn)
    s.dc.rename_ou(ou, "After")
    for guid in guids:
        s.broker.wait_user(guid, lambda u: f"OU=Inner,OU=After,{s.people}" in u.dn)


def test_disable_and_enable(s):
    dn, guid = s.person("switch", password="Switch.1")
    s.dc.disable(dn)
    s.broker.wait_user(guid, lambda u: u.account["enabled"] is False)
    s.dc.enable(dn)
    s.broker.wait_user(guid, lambda u: u.account["enabled"] is True)


def test_delete_and_undelete(s):
    dn, guid = s.person("lazarus", title="T")
    s.dc.delete(dn)
    s.broker.wait_gone(guid)
    s.dc.undelete(guid, f"CN=lazarus,{s.people}")
    user = s.broker.wait_user(guid, lambda u: not u.gone)
    assert user.attrs["title"] == []  # gone with the tombstone: nothing old is shown


def test_recreated_under_the_same_name(s):
    dn, old = s.person("again")
    s.dc.delete(dn)
    new = s.dc.guid(s.dc.create("again", s.people))
    s.broker.wait_gone(old)
    s.broker.wait_user(new, lambda u: not u.gone)
    assert new != old


def test_created_and_deleted_between_two_looks(s):
    dn = s.dc.create("flash", s.people)
    guid = s.dc.guid(dn)
    s.dc.delete(dn)
    _, marker = s.person("after-flash")
    s.settled()
    assert s.broker.get(marker)
    assert not (u := s.broker.get(guid)) or u.gone


def test_membership_direct_and_nested(s):
    dn, guid = s.person("member")
    s.dc.add_member(s.staff, dn)
    s.broker.wait_user(guid, lambda u: u.groups == ["staff"])
    s.dc.drop_member(s.staff, dn)
    s.broker.wait_user(guid, lambda u: u.groups == [])
    s.dc.add_member(s.nested, dn)
    s.broker.wait_user(guid, lambda u: u.groups == ["staff"])
    s.dc.drop_member(s.staff, s.nested)
    s.broker.wait_user(guid, lambda u: u.groups == [])
    s.dc.add_member(s.staff, s.nested)
    s.broker.wait_user(guid, lambda u: u.groups == ["staff"])


def test_lockout_and_unlock(s):
    dn, guid = s.person("locked", password="Locked.1")
    s.dc.lockout("locked")
    user = s.broker.wait_user(guid, lambda u: u.account["locked_until"])
    assert abs(user.account["locked_until"] / 1000 - time.time() - 30 * 60) < 120  # the domain's lockoutDuration
    s.dc.unlock(dn)
    s.broker.wait_user(guid, lambda u: not u.account["locked_until"])


def test_reset_and_forced_change_of_a_password(s):
    dn, guid = s.person("pass", password="Pass.1")
    s.dc.modify(dn, pwdLastSet="0")
    s.broker.wait_user(guid, lambda u: u.account["must_change_password"] is True)
    s.dc.set_password(dn, "Pass.2")
    s.broker.wait_user(guid, lambda u: u.account["must_change_password"] is False)
    assert "unicodePwd" not in s.broker.get(guid).attrs


def test_policy_of_the_domain_reaches_everyone(s):
    _, guid = s.person("policy", password="Policy.1")
    assert not s.broker.get(guid).account["password_expires_at"]
    s.dc.domain(maxPwdAge=str(-30 * 86400 * 10**7))
    try:
        user = s.broker.wait_user(guid, lambda u: u.account["password_expires_at"])
        days = (user.account["password_expires_at"] - user.account["password_changed_at"]) / 86400000
        assert days == pytest.approx(30, abs=0.01)
    finally:
        s.dc.domain(maxPwdAge="-9223372036854775808")
    s.broker.wait_user(guid, lambda u: not u.account["password_expires_at"])


def test_reference_to_the_manager(s):
    boss, boss_id = s.person("boss")
    dn, guid = s.person("worker", manager=boss)
    s.broker.wait_user(guid, lambda u: u.refs.get("manager") == boss_id)
    assert s.broker.get(guid).first("manager") == boss
    s.dc.clear(dn, "manager")
    s.broker.wait_user(guid, lambda u: "manager" not in u.refs)


def test_burst_is_complete(s):
    dns = [s.dc.create(f"burst{i}", s.people) for i in range(60)]
    for i, dn in enumerate(dns):
        s.dc.modify(dn, title=f"t{i}")
    for i in range(60):
        s.broker.wait(lambda b, i=i: b.find(sAMAccountName=f"burst{i}", title=f"t{i}"))


def test_restart_resumes_without_a_full_read(s):
    dn, guid = s.person("resume")
    s.settled()
    s.collector.stop()
    doomed_dn = dn
    changed = s.dc.create("while-down", s.people)
    changed_id = s.dc.guid(changed)
    s.dc.delete(doomed_dn)
    since, batches = len(s.collector.log()), len(s.broker.batches)
    s.collector.start()
    s.broker.wait_gone(guid)
    s.broker.wait_user(changed_id, lambda u: not u.gone)
    s.broker.wait_caught_up()
    published = sum(len(b["users"]) for b in s.broker.batches[batches:])
    assert published <= 5, "an incremental start published users that did not change"
    assert s.collector.log()[since:], "the log tells of the start"


def test_the_server_comes_back(s):
    s.settled()
    s.dc.stop()
    s.ad.start_dc(s.dc)
    s.person("after-restart")


# ---- own domains: what ends or changes them ----

def test_account_that_sees_no_deletions_is_refused(s, tmp_path):
    broker = Broker(tmp_path / "b")
    collector = Collector(broker, tmp_path / "c", source(s.ad, tmp_path, "blind"))
    with broker, collector:
        collector.wait_log("CN=Deleted Objects")
        assert not broker.batches


def test_account_without_replication_right_is_enough(s, tmp_path):
    broker = Broker(tmp_path / "b")
    with broker, Collector(broker, tmp_path / "c", source(s.ad, tmp_path, "plain")):
        broker.wait_caught_up()
        dn = s.dc.create("plain1", s.people)
        guid = s.dc.guid(dn)
        broker.wait_user(guid, lambda u: not u.gone)
        s.dc.delete(dn)
        broker.wait_gone(guid)


def test_users_outside_the_base_leave(s, tmp_path):
    base = s.dc.ou("Base")
    broker = Broker(tmp_path / "b")
    dn = s.dc.create("insider", base)
    guid = s.dc.guid(dn)
    with broker, Collector(broker, tmp_path / "c", source(s.ad, tmp_path, base_dn=base)):
        broker.wait_caught_up()
        assert list(broker.users) == [guid]
        dn = s.dc.move(dn, samba.USERS)
        broker.wait_gone(guid)
        s.dc.move(dn, base)
        broker.wait_user(guid, lambda u: not u.gone)


def check(s, folder, account, **more):
    collector = Collector(Broker(folder / "b"), folder / "c", source(s.ad, folder, account, **more))
    collector.write()
    done = subprocess.run([build_dir() / "dirpipe-collector", "--config", collector.path, "--check", "corp"],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def test_check_names_rights(s, tmp_path):
    code, text = check(s, tmp_path, "svc")
    assert code == 0 and "DirSync works" in text
    code, text = check(s, tmp_path, "blind")
    assert code != 0 and "List Contents and Read Property" in text
    code, text = check(s, tmp_path, "mighty")
    assert code == 0 and "Replicating Directory Changes All" in text


def test_check_tries_every_server(s, tmp_path):
    code, text = check(s, tmp_path, "svc", uris=["ldaps://127.0.0.1:1", *s.ad.uris])
    assert code != 0
    assert "127.0.0.1:1" in text and "DirSync works" in text


def test_foreign_domain_touches_nobody(s, tmp_path):
    broker = Broker(tmp_path / "b")
    collector = Collector(broker, tmp_path / "c", source(s.ad, tmp_path))
    with broker, collector:
        broker.wait_caught_up()
        broker.wait(lambda b: b.cursor)
        collector.stop()
        # The controllers at these addresses now belong to another domain of the same name.
        domain = broker.server.split(b"domain=")[1][:36]
        broker.server = broker.server.replace(domain, b"01234567-89ab-cdef-0123-456789abcdef")
        batches = len(broker.batches)
        collector.start()
        collector.wait_log("another domain than the cursor")
        assert not [r for b in broker.batches[batches:] for r in b["users"]]


def test_restored_controller_is_read_whole(tmp_path):
    with samba.Domain(tmp_path / "domain") as ad:
        s = Setup(ad, tmp_path)
        with s.broker, s.collector:
            s.broker.wait_caught_up()
            _, kept = s.person("kept")
            s.settled()
            ad.dc.stop()
            backup = tmp_path / "backup"
            subprocess.run(["cp", "-a", "--sparse=always", ad.dc.folder, backup], check=True)
            ad.start_dc(ad.dc)
            s.person("lost")
            s.settled()
            s.collector.stop()
            ad.dc.stop()
            shutil.rmtree(ad.dc.folder)
            backup.rename(ad.dc.folder)
            ad.start_dc(ad.dc)
            # The same USNs, used again: a naive cursor would skip this change without an error.
            early = ad.dc.guid(ad.dc.create("early", s.people))
            s.collector.start()
            s.broker.wait_user(early, lambda u: not u.gone)
            assert not s.broker.get(kept).gone


def test_fail_over_between_two_controllers(tmp_path):
    if samba.why_not(controllers=2):
        pytest.skip(samba.why_not(controllers=2))
    with samba.Domain(tmp_path / "domain", controllers=2) as ad:
        one, two = ad.dcs
        s = Setup(ad, tmp_path)
        with s.broker, s.collector:
            s.broker.wait_caught_up()
            dn, guid = s.person("shared")
            s.settled()
            ad.replicate(0, 1)
            two.modify(dn, title="made at two")
            batches = len(s.broker.batches)
            one.stop()
            s.broker.wait_user(guid, lambda u: u.first("title") == "made at two", 40)
            published = {str(r["id"]) for b in s.broker.batches[batches:] for r in b["users"]}
            assert len(published) <= 2, "the second controller was read whole although it had everything"
            two.modify(dn, title="more")
            s.broker.wait_user(guid, lambda u: u.first("title") == "more")

            # Back at the first, which has not replicated: nobody is missed, nobody is lost.
            two.stop()
            ad.start_dc(one)
            fresh = one.guid(one.create("fresh", s.people))
            s.broker.wait_user(fresh, lambda u: not u.gone, 60)
            assert not s.broker.get(guid).gone
            ad.start_dc(two)
            ad.replicate(1, 0)
            s.broker.wait_user(guid, lambda u: u.first("title") == "more", 40)
