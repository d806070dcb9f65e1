"""dirpipe-collector with driver poll against real servers: OpenLDAP (entryCSN), 389-DS (modifyTimestamp) and Samba AD (uSNChanged)."""

import subprocess

import pytest

import samba
import servers
from fakebroker import Broker, Collector
from pipeline import Secret
from sims import build_dir


class Ldap:
    """A person's changes on a server of servers.py, in the words that both kinds of directory share."""

    login = "uid"

    def __init__(self, server):
        self.server = server
        self.people = server.people_base

    def __enter__(self):
        self.server.start()
        self.group = self.server.add_group("watched", [servers.READER])
        return self

    def __exit__(self, *_):
        self.server.stop()

    def section(self, _folder):
        uri = self.server.uri if isinstance(self.server, servers.Ds389) else self.server.ldaps_uri
        return self.server.source(uri=uri)

    def ou(self, name):
        return self.server.add_unit(name)

    def create(self, name, **attrs):
        return self.server.add(f"uid={name},{self.people}", {"objectClass": "inetOrgPerson", "uid": name, "cn": name, "sn": name,
                                                             **attrs})

    def modify(self, dn, **attrs):
        self.server.replace(dn, **attrs)

    def join(self, dn):
        self.server.add_value(self.group, "member", dn)

    def id_of(self, dn):
        return self.server.id(dn)

    def __getattr__(self, name):
        return getattr(self.server, name)


class Ad:
    """The same on a domain controller."""

    login = "sAMAccountName"

    def __init__(self, ad):
        self.ad, self.dc = ad, ad.dc

    def __enter__(self):
        self.ad.start()
        self.people = self.dc.ou("people")
        self.group = self.dc.group("watched")
        return self

    def __exit__(self, *_):
        self.ad.stop()

    def section(self, folder):
        password = folder / "password"
        password.write_text(samba.PASSWORD)
        password.chmod(0o600)
        return {"uris": self.ad.uris, "base_dn": samba.BASE, "tls": {"ca_file": self.ad.ca_file},
                "bind": {"method": "simple", "dn": f"svc@{samba.DNS}", "password": Secret(password)}}

    def ou(self, name):
        return self.dc.ou(name, self.people)

    def create(self, name, **attrs):
        return self.dc.create(name, self.people, **attrs)

    def rename(self, dn, name):
        return self.dc.rename(dn, "CN=" + name)

    def join(self, dn):
        self.dc.add_member(self.group, dn)

    def id_of(self, dn):
        return self.dc.guid(dn)

    def start(self):
        self.ad.start_dc(self.dc)

    def __getattr__(self, name):
        return getattr(self.dc, name)


class Setup:
    def __init__(self, directory, folder):
        self.d = directory
        self.broker = Broker(folder / "b")
        self.source = directory.section(folder) | {
            "driver": "poll", "poll_interval": "100ms", "sweep_interval": "1s", "guard": {"min_users": 100},
            "users": {"attributes": [directory.login, "title", "mail"]},
            "groups": [{"name": "watched", "dn": directory.group}], "routes": [{"target": "app"}],
        }
        self.collector = Collector(self.broker, folder / "c", self.source)

    def person(self, name, **attrs):
        dn = self.d.create(name, **attrs)
        guid = self.d.id_of(dn)
        self.broker.wait_user(guid, lambda u: u.first(self.d.login) == name)
        return dn, guid


KINDS = {"slapd": servers.Slapd, "389ds": servers.Ds389, "samba": samba.Domain}


@pytest.fixture(scope="module", params=KINDS)
def s(request, tmp_path_factory):
    kind = KINDS[request.param]
    why = samba.why_not() if kind is samba.Domain else getattr(kind, "why_not", lambda: None)()
    if why:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp(request.param)
    server = kind(folder / "server")
    with Ad(server) if kind is samba.Domain else Ldap(server) as directory:
        setup = Setup(directory, folder)
        with setup.broker, setup.collector:
            setup.broker.wait_caught_up()
            yield setup


def test_create_modify_clear(s):
    dn, guid = s.person("create", title="Käthe 山田 😀")
    assert s.broker.get(guid).first("title") == "Käthe 山田 😀"
    s.d.modify(dn, title="two")
    s.broker.wait_user(guid, lambda u: u.first("title") == "two")
    s.d.modify(dn, title=None)
    s.broker.wait_user(guid, lambda u: u.attrs["title"] == [])


def test_changes_in_one_second_are_all_seen(s):
    dn, guid = s.person("hasty")
    for i in range(30):  # a stamp of whole seconds is the same for many of them
        s.d.modify(dn, title=f"t{i}")
        if i % 10 == 0:
            s.broker.wait_user(guid, lambda u: u.first("title"))
    s.broker.wait_user(guid, lambda u: u.first("title") == "t29")


def test_rename_and_move_keep_the_id(s):
    ou = s.d.ou("elsewhere")
    dn, guid = s.person("mover")
    dn = s.d.rename(dn, "moved")
    s.broker.wait_user(guid, lambda u: u.dn.lower() == dn.lower())
    dn = s.d.move(dn, ou)
    s.broker.wait_user(guid, lambda u: u.dn.lower() == dn.lower())
    assert not s.broker.get(guid).gone


def test_delete(s):
    dn, guid = s.person("leaver")
    s.d.delete(dn)
    s.broker.wait_gone(guid)


def test_membership(s):
    dn, guid = s.person("member")
    s.d.join(dn)
    s.broker.wait_user(guid, lambda u: u.groups == ["watched"])


def test_restart_resumes(s):
    dn, guid = s.person("sleeper")
    gone_dn, gone = s.person("vanishes")
    s.broker.wait(lambda b: b.cursor)
    s.collector.stop()
    s.d.modify(dn, title="while down")
    s.d.delete(gone_dn)
    batches = len(s.broker.batches)
    s.collector.start()
    s.broker.wait_user(guid, lambda u: u.first("title") == "while down")
    s.broker.wait_gone(gone)
    published = {r["id"] for b in s.broker.batches[batches:] for r in b["users"]}
    assert len(published) <= 2


def test_server_comes_back(s):
    s.d.stop()
    s.d.start()
    s.person("after")


def test_check(s):
    done = subprocess.run([build_dir() / "dirpipe-collector", "--config", s.collector.path, "--check", "corp"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout and "paged results" in done.stdout


def test_rebuilt_directory_touches_nobody(s, tmp_path):
    if s.d.login != "uid":
        pytest.skip("the domain's identity is tested with ad-dirsync")
    users = {k: u.gone for k, u in s.broker.users.items()}
    s.broker.wait(lambda b: b.server)
    s.collector.stop()
    base = s.broker.server.split(b"base=")[1][:36]
    kept = s.broker.server
    s.broker.server = kept.replace(base, b"01234567-89ab-cdef-0123-456789abcdef")
    since = len(s.collector.log())
    s.collector.start()
    s.collector.wait_log("another entry than the cursor", since=since)
    assert {k: u.gone for k, u in s.broker.users.items()} == users
    s.collector.stop()
    s.broker.server = kept
    s.collector.start()
    s.person("healed")
