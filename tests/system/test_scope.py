"""Who is in scope, whose values count, and who leaves: from real directories to the service, by what a person wrote into the
configuration."""

import json
import os
import signal

import pytest

from expected import attributes
from pipeline import Pipeline, target_section
from servers import Slapd
from sims import ScimSim
from spine import ActiveDirectory, OpenLdap
from world import World

MAPPING = {"userName": "uid", "externalId": "id", "displayName": "displayName", "title": {"unless_set": "title"}}


class Scoped(World):
    """One unit and one single person; the title belongs to the service once it has one."""

    def __init__(self, folder, **more):
        super().__init__(folder, users=12, groups=False, program=Pipeline, target={"mapping": MAPPING}, targets=("app",), **more)

    def prepare(self):
        self.program.wait(self.idle, "everything to run")
        self.scim, self.p = self.services["app"], sorted(self.directory.people(), key=lambda p: p["attrs"]["uid"])
        self.sales = f",{self.directory.unit('Sales')}".lower()
        self.one = next(p for p in self.p if self.sales not in p["dn"].lower())
        self.out = next(p for p in self.p if self.sales in p["dn"].lower())
        self.routes(base=self.directory.unit("Sales"), include=[self.one["id"]], exclude=[self.out["id"]])

    def routes(self, **route):
        self.program.conf["sources"]["corp"]["routes"] = [{"target": "app", **route}]
        self.reload()

    def reload(self):
        self.program.write()
        for name in ("dirpipe-collector", "dirpipe-worker"):
            for pid in self.program.pids(name):
                os.kill(pid, signal.SIGHUP)

    def enabled(self):
        return {a["externalId"] for a in self.scim.dump() if a["active"]}

    def account(self, p):
        return next((a for a in self.scim.dump() if a.get("externalId") == p["id"]), None)


@pytest.fixture(scope="class")
def w(tmp_path_factory):
    with Scoped(tmp_path_factory.mktemp("scope")) as w:
        w.prepare()
        yield w


class TestScope:
    def test_CAP_Q7_Q8_SFR_L7_a_unit_with_one_more_and_one_less(self, w):
        inside = {p["id"] for p in w.p if w.sales in p["dn"].lower()} - {w.out["id"]} | {w.one["id"]}
        w.program.wait(lambda: w.enabled() == inside, "these alone to be enabled")
        text = w.program.cli("held", "show").stdout
        assert text == "", "a guard that wide holds nothing"
        w.routes(include=[w.one["id"]])  # a single person and nobody else
        w.program.wait(lambda: w.enabled() == {w.one["id"]}, "the one to be left")
        w.routes(base=w.directory.people_base)
        w.program.wait(lambda: w.enabled() == {p["id"] for p in w.p}, "everybody")

    def test_CAP_Q17_SFR_P7_what_the_service_masters_is_left_to_it(self, w):
        p = w.one
        w.directory.replace(p["dn"], title="from the directory")
        w.program.wait(lambda: w.account(p), "the account")
        rid = w.account(p)["id"]
        own = lambda title: w.scim.call("PATCH", f"/Users/{rid}", {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "path": "title", "value": title}]})
        assert own("the service's own").status in (200, 204)
        w.directory.replace(p["dn"], title="newer", displayName="Somebody Else")
        w.program.wait(lambda: w.account(p)["displayName"] == "Somebody Else", "the rest to follow the directory")
        assert w.account(p)["title"] == "the service's own"
        assert w.scim.call("PATCH", f"/Users/{rid}", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                                                      "Operations": [{"op": "remove", "path": "title"}]}).status in (200, 204)
        w.directory.replace(p["dn"], displayName="Somebody Other")
        w.program.wait(lambda: w.account(p).get("title") == "newer", "the directory's where the service has none")

    def test_CAP_Q9_SFR_P8_overrides_beat_the_directory(self, w):
        p, other = w.p[3], w.p[4]
        folder = w.program.path.parent / "overrides.d"
        folder.mkdir()
        write = lambda what: (folder / "people.yaml").write_text(json.dumps({"overrides": what}))
        write({"one": {"id": p["id"], "set": {"displayName": "Written By Hand"}},
               "two": {"match": f"employeeNumber= {other['attrs']['employeeNumber'][0].lower()}", "set": {"displayName": None, "title": "Dr"}}})
        w.reload()
        w.program.wait(lambda: (w.account(p)["displayName"], w.account(other).get("displayName")) == ("Written By Hand", None), "the overrides")
        w.directory.replace(p["dn"], displayName="From The Directory", title="arrived")
        w.program.wait(lambda: w.program.cli("user", "show", p["id"], "--json")["snapshot"]["attrs"]["title"] == ["arrived"] and w.idle(),
                       "the change")
        assert w.account(p)["displayName"] == "Written By Hand"
        for wrong, words in (({"x": {"set": {"mail": "a"}}}, "either id or match"), ({"x": {"id": "5", "set": {"mail": "a"}}}, "not an id"),
                             ({"x": {"match": "mail", "set": {"mail": "a"}}}, "attribute=value"),
                             ({"x": {"id": p["id"], "set": {"shoeSize": "44"}}}, "users.attributes"),
                             ({"x": {"id": p["id"], "set": {"mail": {"jq": "."}}}}, "expected attribute: TEXT"),
                             ({"x": {"id": p["id"], "nick": 1, "set": {"mail": "a"}}}, "unknown key")):
            write(wrong)
            done = w.program.cli("config", "check", check=False)
            assert done.returncode == 78 and words in done.stdout + done.stderr and "people.yaml:1:" in done.stdout + done.stderr, done
        (folder / "people.yaml").unlink()
        w.reload()
        w.program.wait(lambda: w.account(p)["displayName"] == "From The Directory", "the directory's own again")


def test_CAP_I9_SFR_P2_two_sources_feed_one_target_and_each_owns_its_accounts(tmp_path):
    """What leaves one source touches nobody of the other, and no account is two sources' at once."""
    with Slapd(tmp_path / "a", users=8, seed=1) as one, Slapd(tmp_path / "b", users=8, seed=2) as two, ScimSim(tmp_path / "scim") as scim:
        for i, p in enumerate(two.people()):  # names of their own, but one
            if i:
                two.rename(p["dn"], f"b{i}")
        sections = {"app": target_section(scim, "openldap", guard={"count": 1000, "most": 1000, "settle": "100ms"})}
        sources = {name: d.source(attributes=attributes("openldap"), routes=[{"target": "app"}]) for name, d in (("one", one), ("two", two))}
        with Pipeline(tmp_path / "dirpipe", sources, sections) as p:
            ids = {name: {e["id"] for e in d.people()} for name, d in (("one", one), ("two", two))}
            accounts = lambda: {a.get("externalId"): a for a in scim.dump()}
            p.wait(lambda: len(accounts()) >= 15 and p.idle(), "everybody but the one with another's name")
            same = (ids["one"] | ids["two"]) - set(accounts())
            parked = p.cli("parked", "ls", "--json")["users"]
            assert [u["reason"] for u in parked] == ["name_taken"] and parked[0]["user"] in same and len(accounts()) == 15
            twin = next(e for e in two.people() + one.people() if e["id"] == parked[0]["user"])
            mark = scim.stats()["committed"]
            gone = [e for e in one.people() if e["id"] != twin["id"] and e["attrs"]["uid"] != twin["attrs"]["uid"]][:3]
            for e in gone:
                one.delete(e["dn"])
            p.wait(lambda: {i for i, a in accounts().items() if not a["active"]} == {e["id"] for e in gone}, "these to be disabled")
            p.wait(p.idle, "nothing left to do")
            assert {w["key"] for w in scim.ledger(since=mark)} == {e["id"] for e in gone}, "nobody else was touched"
            told = p.cli("user", "show", gone[0]["id"], "--json")
            assert told["source"] == "one" and told["gone"]


def shape(units):
    """dn -> (directly, in all of it), by our own count."""
    return {u["dn"].lower(): (u["users"], u["whole"]) for u in units}


def counted(people, units):
    direct = {u.lower(): 0 for u in units}
    whole = dict(direct)
    for p in people:
        parent = p["dn"].lower().split(",", 1)[1]
        direct[parent] = direct.get(parent, 0) + 1
        for unit in whole:
            whole[unit] += ("," + parent).endswith("," + unit)
    return {u: (direct[u], whole[u]) for u in whole}


@pytest.mark.parametrize("kind", [OpenLdap, ActiveDirectory])
def test_CAP_Q7_SFR_P9_units_that_hold_people_are_listed(tmp_path, kind):
    if kind.why_not():
        pytest.skip(kind.why_not())
    with kind(tmp_path / "d", users=20) as d, ScimSim(tmp_path / "scim") as scim:
        empty = d.add_unit("Empty")
        source = d.source(attributes=attributes(d.kind), routes=[{"target": "app"}])
        p = Pipeline(tmp_path / "dirpipe", {"corp": source}, {"app": target_section(scim, d.kind)})
        p.write()
        told = p.cli("source", "tree", "corp", "--users-only", "--json")
        units = [d.people_base, *(f"{o},{d.people_base}" for n in d.unit_names for o in (f"ou={n}", f"ou=Field,ou={n}"))]
        want = {u: n for u, n in counted(d.people(), units).items() if n[1]}
        got = {u: n for u, n in shape(told["units"]).items() if u.endswith(d.people_base.lower())}
        assert got == want and empty.lower() not in got
        whole = p.cli("source", "tree", "corp", "--json")
        assert shape(whole["units"])[empty.lower()] == (0, 0)
        if kind is ActiveDirectory:
            assert told["hidden"] > 0 and not [u for u in shape(whole["units"]) if u.startswith(("cn=users,", "cn=system,", "ou=domain controllers,"))]
        text = p.cli("source", "tree", "corp", "--users-only").stdout
        assert f"  ou={d.unit_names[0]}".lower() in text.lower() and str(want[d.people_base.lower()][1]) in text
        assert p.cli("source", "tree", "nobody", check=False).returncode == 78 and p.cli("source", "tree", check=False).returncode == 64
