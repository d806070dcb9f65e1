"""dirpipe-collector with driver syncrepl against real OpenLDAP and 389-DS: each kind of change, restarts and cursors, both refresh
phases, the guards, TLS."""

import json
import os
import re

import pytest

from fakebroker import Broker, Collector
from servers import SUFFIX, Ds389, Slapd
from sims import Authority

KINDS = ["openldap", "389ds"]
GROUPS = ["everyone", "dept-sales"]


def groups_of(d):
    return [{"name": n, "dn": d.group_dn(n)} for n in GROUPS]


class Setup:
    def __init__(self, d, folder, env=None, **more):
        self.d, self.folder = d, folder
        more.setdefault("groups", groups_of(d))
        more.setdefault("guard", {"min_users": 5})
        self.broker = Broker(folder / "b")
        self.collector = Collector(self.broker, folder / "collector", d.source(**more), env=env)

    def __enter__(self):
        self.broker.start()
        self.collector.start()
        self.broker.wait_caught_up(60)
        return self

    def __exit__(self, kind, *_):
        try:
            code = self.collector.stop()
        finally:
            self.broker.__exit__()
        if kind is None:
            assert code in (None, 0), self.collector.log()[-10:]

    def restart(self, kill=True):
        if self.collector.process:
            self.collector.kill() if kill else self.collector.stop()
        self.broker.caught_up = False
        self.collector.start()
        self.broker.wait_caught_up(60)

    def equal(self):
        """Everybody in the directory is published as the directory has it, and nobody else."""
        people = {p["id"]: p for p in self.d.people()}
        live = {i: u for i, u in self.broker.users.items() if not u.gone}
        if set(people) != set(live):
            return False
        return all(u.dn.lower().replace(", ", ",") == people[i]["dn"].lower() and u.account["enabled"] == people[i]["enabled"]
                   and all(u.attrs[n] == people[i]["attrs"].get(n, []) for n in ("uid", "sn", "title", "mail"))
                   for i, u in live.items())

    def wait_equal(self, seconds=30):
        self.broker.wait(lambda _: self.equal(), seconds, "the broker to equal the directory")

    def published(self, since):
        return [r for b in self.broker.batches[since:] for r in b["users"]]


@pytest.fixture(scope="module")
def ds389(tmp_path_factory):
    why = Ds389.why_not()
    if why:
        pytest.skip(why)
    with Ds389(tmp_path_factory.mktemp("ds"), users=60) as d:
        yield d


@pytest.fixture(params=KINDS)
def directory(request, tmp_path):
    if request.param == "389ds":
        yield request.getfixturevalue("ds389")
        return
    with Slapd(tmp_path / "slapd", users=60) as d:
        yield d


def test_each_kind_of_change_arrives(directory, tmp_path):
    d = directory
    with Setup(d, tmp_path) as s:
        b = s.broker
        s.wait_equal()
        number = 1000 if isinstance(d, Slapd) else 2000
        dn = d.add_person(number, title="Prüfer 🧪")
        one = d.id(dn)
        b.wait_user(one, lambda u: u.first("title") == "Prüfer 🧪" and u.targets == ["app"])
        d.replace(dn, title="O'Brien's", telephoneNumber=["+1 1", "+1 2"])
        b.wait_user(one, lambda u: u.first("title") == "O'Brien's" and sorted(u.attrs["telephoneNumber"]) == ["+1 1", "+1 2"])
        d.replace(dn, title=None)
        b.wait_user(one, lambda u: u.attrs["title"] == [])
        dn = d.rename(dn, f"renamed{number}")
        b.wait_user(one, lambda u: u.first("uid") == f"renamed{number}" and u.dn.startswith(f"uid=renamed{number},"))
        dn = d.move(dn, d.other_unit(dn))
        b.wait_user(one, lambda u: u.dn.lower() == dn.lower())
        d.disable(dn)
        b.wait_user(one, lambda u: not u.account["enabled"])
        d.enable(dn)
        b.wait_user(one, lambda u: u.account["enabled"])
        boss = d.add_person(number + 1)
        d.replace(dn, manager=boss)
        b.wait_user(one, lambda u: u.refs.get("manager") == d.id(boss))
        d.delete(dn)
        b.wait_gone(one)
        again = d.add_person(number)
        assert d.id(again) != one
        b.wait_user(d.id(again), lambda u: not u.gone)
        d.delete(again)
        d.delete(boss)
        s.wait_equal()


def test_a_renamed_unit_takes_its_people_along(directory, tmp_path):
    d = directory
    with Setup(d, tmp_path) as s:
        top = d.add_unit("Top")
        low = d.add_unit("Low", top)
        dn = d.add_person(3000)
        dn = d.move(dn, low)
        person = d.id(dn)
        s.broker.wait_user(person, lambda u: "ou=low,ou=top" in u.dn.lower())
        d.rename(top, "Höchste")
        s.broker.wait_user(person, lambda u: "ou=low,ou=höchste" in u.dn.lower())
        assert not s.broker.get(person).gone
        d.delete(next(p["dn"] for p in d.people() if p["id"] == person))
        s.broker.wait_gone(person)
        s.wait_equal()


def test_groups_direct_nested_and_later(directory, tmp_path):
    d = directory
    team, inner = d.group_dn("team"), d.group_dn("inner")
    watched = [{"name": "team", "dn": team}]
    routes = [{"target": "app", "groups": ["team"]}]
    first, second, third = (d.add_person(4000 + i) for i in range(3))
    ids = [d.id(x) for x in (first, second, third)]
    d.add_group("inner", [second])
    d.add_group("team", [first])
    with Setup(d, tmp_path, groups=watched, routes=routes) as s:
        b = s.broker
        b.wait_user(ids[0], lambda u: u.targets == ["app"] and u.groups == ["team"])
        assert set(b.users) == {ids[0]}, "who is out of scope and was never in it is not told of"
        d.add_value(team, "member", inner)
        b.wait_user(ids[1], lambda u: u.targets == ["app"])
        d.add_value(inner, "member", third)
        b.wait_user(ids[2], lambda u: u.targets == ["app"])
        d.add_value(inner, "member", team)  # a cycle
        d.remove_value(inner, "member", third)
        b.wait_user(ids[2], lambda u: u.targets == [] and u.groups == [])
        renamed = d.rename(second, "second-renamed")
        b.wait_user(ids[1], lambda u: u.first("uid") == "second-renamed" and u.targets == ["app"])
        d.remove_value(team, "member", inner)
        b.wait_user(ids[1], lambda u: u.targets == [])
        # left while nobody looked
        s.collector.kill()
        d.remove_value(team, "member", first) if len(members(d, team)) > 1 else d.replace(team, member=SUFFIX)
        d.add_value(team, "member", third)
        s.restart()
        b.wait_user(ids[0], lambda u: u.targets == [])
        b.wait_user(ids[2], lambda u: u.targets == ["app"])
    for dn in (team, inner, first, renamed, third):
        d.delete(dn)


def members(d, group):
    return d.entry(group)["attrs"].get("member", [])


def test_posix_group_members_by_uid(tmp_path):
    with Slapd(tmp_path / "slapd", users=12) as d:
        with Setup(d, tmp_path, groups=[{"name": "unix", "dn": d.group_dn("unix")}], routes=[{"target": "app", "groups": ["unix"]}]) as s:
            unit = d.unit_names[0]
            inside = {p["id"] for p in d.people() if f"ou={unit}" in p["dn"]}
            s.broker.wait(lambda b: set(b.users) == inside, 10, "the members")
            d.add_value(d.group_dn("unix"), "memberUid", "u0000777")  # comes before its user
            dn = d.add_person(777)
            s.broker.wait_user(d.id(dn), lambda u: u.groups == ["unix"])


def test_kill_and_resume_publishes_only_what_changed(directory, tmp_path):
    d = directory
    with Setup(d, tmp_path) as s:
        b = s.broker
        s.wait_equal()
        dn = d.add_person(5000)
        other = d.add_person(5001)
        ids = d.id(dn), d.id(other)
        for i in ids:
            b.wait_user(i, lambda u: True)
        b.wait(lambda b: b.batches and b.batches[-1]["has_cursor"], 10, "a cursor")
        s.collector.kill()
        d.replace(dn, title="while away")
        d.delete(other)
        new = d.add_person(5002)
        before = len(b.batches)
        s.restart()
        assert s.collector.wait_log("resuming from the cursor")
        b.wait_user(ids[0], lambda u: u.first("title") == "while away")
        b.wait_gone(ids[1])
        b.wait_user(d.id(new), lambda u: True)
        assert len(s.published(before)) == 3
        before = len(b.batches)
        s.restart(kill=False)
        assert s.published(before) == []
        for x in (dn, new):
            d.delete(x)
        s.wait_equal()


@pytest.mark.parametrize("log", [None, 1000], ids=["present-phase", "delete-phase"])
def test_reconnect_resumes_in_both_phases(tmp_path, log):
    with Slapd(tmp_path / "slapd", users=300, options={"sessionlog": log}) as d, Setup(d, tmp_path) as s:
        s.wait_equal()
        gone = [p["dn"] for p in d.people()][:3]
        before = len(s.broker.batches)
        s.collector.kill()
        for dn in gone:
            d.delete(dn)
        d.replace([p["dn"] for p in d.people()][-1], title="changed")
        s.restart()
        s.wait_equal()
        assert len(s.published(before)) == 4
        d.restart()  # the server's session log is empty after it
        dn = d.add_person(6000)
        s.broker.wait_user(d.id(dn), lambda u: True, 30)
        d.stop()
        d.start()
        d.delete(dn)
        s.wait_equal()
        assert s.broker.hellos == 2, "reconnecting to the directory is no new session"


def test_cursor_of_a_newer_server_state_takes_nobody_away(tmp_path):
    with Slapd(tmp_path / "slapd", users=40) as d:
        with Setup(d, tmp_path) as s:
            s.wait_equal()
            person = d.add_person(7000)
            i = d.id(person)
            s.broker.wait_user(i, lambda u: True)
            s.broker.wait(lambda b: b.batches[-1]["has_cursor"], 10, "a cursor")
            s.collector.kill()
            d.stop()
            csn = re.sub(rb"csn=\d{4}", b"csn=2098", s.broker.cursor)  # as if the server had been restored from an older backup
            assert csn != s.broker.cursor
            s.broker.cursor = csn
            d.start()
            d.delete(person)
            s.restart()
            assert not s.broker.get(i).gone, "absence at a server that is behind is no deletion"
            dn = d.add_person(7001)
            s.broker.wait_user(d.id(dn), lambda u: True)


def test_an_emptied_directory_touches_nobody(tmp_path):
    with Slapd(tmp_path / "slapd", users=30) as d, Setup(d, tmp_path) as s:
        s.wait_equal()
        s.collector.kill()
        for p in d.people():
            d.delete(p["dn"])
        s.broker.caught_up = False
        s.collector.start()
        s.collector.wait_log("shows no user at all")
        assert not any(u.gone for u in s.broker.users.values())


def test_another_directory_is_refused(tmp_path):
    with Slapd(tmp_path / "slapd", users=30) as d, Setup(d, tmp_path) as s:
        s.wait_equal()
        s.collector.kill()
        with Slapd(tmp_path / "other", users=20, seed=2) as other:
            s.collector.source = other.source(groups=groups_of(other), guard={"min_users": 5})
            s.collector.start()
            s.collector.wait_log("another directory")
            assert len([u for u in s.broker.users.values() if not u.gone]) == 30


def test_a_shrunk_group_is_held_until_confirmed(tmp_path):
    with Slapd(tmp_path / "slapd", users=60) as d:
        team = d.add_group("team", [p["dn"] for p in d.people()][:40])
        with Setup(d, tmp_path, groups=[{"name": "team", "dn": team}], routes=[{"target": "app", "groups": ["team"]}]) as s:
            b = s.broker
            b.wait(lambda b: len(b.users) == 40, 10, "the members")
            kept = members(d, team)[:5]
            d.replace(team, member=kept)
            b.wait(lambda b: b.holds, 10, "HOLD")
            hold = b.holds[-1]
            assert (hold["kind"], hold["active"], hold["name"], hold["was"], hold["now"]) == (0, 1, b"team", 40, 5)
            assert all(u.targets == ["app"] for u in b.users.values())
            b.confirm(0, "team")
            b.wait(lambda b: len([u for u in b.users.values() if u.targets]) == 5, 10, "35 to leave")
            assert b.holds[-1]["active"] == 0


def test_a_shrunk_source_is_held_until_confirmed(tmp_path):
    with Slapd(tmp_path / "slapd", users=60, options={"sessionlog": None}) as d, Setup(d, tmp_path, groups=[]) as s:
        s.wait_equal()
        s.collector.kill()
        for p in d.people()[:30]:
            d.delete(p["dn"])
        s.restart()
        s.broker.wait(lambda b: b.holds, 10, "HOLD")
        assert (s.broker.holds[-1]["kind"], s.broker.holds[-1]["was"], s.broker.holds[-1]["now"]) == (1, 60, 30)
        assert not any(u.gone for u in s.broker.users.values())
        s.broker.confirm(1, "corp")
        s.wait_equal()


def test_routes_by_base_filter_and_exclusion(tmp_path):
    with Slapd(tmp_path / "slapd", users=60) as d:
        excluded = d.people()[0]["id"]
        routes = [{"target": "app", "base": d.unit("Sales"), "filter": "(&(title=*)(!(title=Manager)))", "exclude": [excluded]}]
        with Setup(d, tmp_path, routes=routes) as s:
            want = {p["id"] for p in d.people() if p["dn"].endswith(d.unit("Sales")) and p["id"] != excluded
                    and p["attrs"].get("title", ["Manager"]) != ["Manager"]}
            assert want
            s.broker.wait(lambda b: set(b.users) == want, 10, "the routed")
            moved = next(p for p in d.people() if p["id"] in want)
            d.move(moved["dn"], d.unit("Legal"))
            s.broker.wait_user(moved["id"], lambda u: u.targets == [])


def test_changed_configuration_reads_everything(tmp_path):
    with Slapd(tmp_path / "slapd", users=30) as d, Setup(d, tmp_path) as s:
        s.wait_equal()
        s.collector.source["users"]["attributes"] = ["uid", "sn", "mail", "title", "mobile"]
        s.restart(kill=False)
        s.collector.wait_log("the configuration changed")
        s.broker.wait(lambda b: all(u.first("mobile") for u in b.users.values()), 10, "the new attribute")


def test_secrets_are_never_read(tmp_path):
    with Slapd(tmp_path / "slapd", users=3) as d:
        d.replace(d.people()[0]["dn"], userPassword="canary-4711")
        with Setup(d, tmp_path, attributes=["uid", "sn", "title", "mail"]) as s:
            s.wait_equal()
            assert b"canary" not in b"".join(r["snapshot"] for r in s.published(0))


@pytest.mark.parametrize("how", ["ldaps", "starttls"])
def test_tls_is_verified(tmp_path, how):
    with Slapd(tmp_path / "slapd", users=5) as d:
        uri = d.ldaps_uri if how == "ldaps" else d.uri
        tls = {"starttls": how == "starttls"}
        with Setup(d, tmp_path, uri=uri, tls=tls | {"ca_file": d.ca_file}) as s:
            s.wait_equal()
        wrong = Authority(tmp_path / "wrong")
        broker = Broker(tmp_path / "b2")
        with broker, Collector(broker, tmp_path / "c2", d.source(uri=uri, tls=tls | {"ca_file": wrong.ca_file})) as c:
            line = c.wait_log('"problem": "unreachable"')
            assert "tls with" in line["msg"] and not broker.users


def test_wrong_password_is_tried_three_times(tmp_path):
    with Slapd(tmp_path / "slapd", users=5) as d:
        broker = Broker(tmp_path / "b")
        with broker, Collector(broker, tmp_path / "c", d.source(password="wrong")) as c:
            line = c.wait_log('"problem": "denied"')
            assert "bind as" in line["msg"] and "wrong" not in json.dumps(c.log())


@pytest.mark.parametrize("point", ["collector.read:30", "collector.surveyed:1", "collector.read_all:1", "collector.before_publish:1",
                                   "collector.published:1", "collector.committed:1", "collector.before_cursor:1",
                                   "collector.cursor_published:1", "collector.cursor_committed:1", "collector.refreshed:1"])
def test_killed_at_each_step_nothing_is_lost(tmp_path, point):
    with Slapd(tmp_path / "slapd", users=300) as d:
        broker = Broker(tmp_path / "b")
        with broker:
            c = Collector(broker, tmp_path / "c", d.source(groups=groups_of(d)), env={"DIRPIPE_CRASH_AT": point})
            c.start()
            c.process.wait(20)
            assert c.process.returncode == -9
            d.delete(d.people()[0]["dn"])
            c.env = dict(os.environ)
            with c:
                want = {p["id"] for p in d.people()}
                broker.wait(lambda b: {i for i, u in b.users.items() if not u.gone} == want and b.caught_up, 20, "equality")
