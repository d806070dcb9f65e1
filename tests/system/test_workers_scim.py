"""What the SCIM driver alone has: groups, discovery, dialects, each rule for a robust SCIM worker (GS 13.3), against the strict service
and somebody else's server."""

import json

import pytest

import sims
from pipeline import Secret
from test_sims import GROUP, needs_npm
from test_workers import ENTERPRISE, Scim, bench_of, made
from workerbroker import Worker, WorkerBroker

STAFF = {"group": "staff", "remote": "Staff"}
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


def group_of(sim, name="Staff"):
    return next(g for g in sim.groups() if g["displayName"] == name)


def members(sim, name="Staff"):
    return {m["value"] for m in group_of(sim, name).get("members", [])}


def with_groups(folder, *names, knobs=None, rules=(STAFF,), **target):
    """A bench whose service has these groups when the worker starts."""
    service = type("Seeded", (Scim,), {})

    class Sim(sims.ScimSim):
        def start(self):
            super().start()
            self.seed(groups=[{"displayName": n, "externalId": "ext-" + n} for n in names])
            return self

    def init(self, folder, knobs=None, **more):
        self.sim, self.more = Sim(folder, knobs=knobs), more
    service.__init__ = init
    return bench_of(service, folder, knobs=knobs, groups=list(rules), **target)


def group_calls(bench, since=0):
    return [e for e in bench.sim.ledger(since=since) if e["path"].lower().rsplit("/", 1)[0].endswith("/groups")]


# ---- groups ----


def test_a_group_follows_its_members(tmp_path):
    with with_groups(tmp_path, "Staff") as bench:
        broker = bench.broker
        user = bench.user()
        user.groups = ["staff"]
        result = broker.do(user)
        assert (result.verdict, result.ops) == ("done", ["create", "group_add"]), result
        assert members(bench.sim) == {user.rid}
        # nothing changed: nothing is asked
        before = len(bench.sim.requests())
        assert broker.do(user).requests == 0 and len(bench.sim.requests()) == before
        # out, and in again: one call each, and the account is not written (CAP C10)
        for groups, op, expected in [([], "group_remove", set()), (["staff", "other"], "group_add", {user.rid})]:
            seq = bench.last()
            user.groups, user.version = groups, user.version + 1
            result = broker.do(user)
            assert (result.verdict, result.ops, result.requests) == ("done", [op], 1), result
            assert members(bench.sim) == expected
            assert [e["kind"] for e in bench.sim.ledger(since=seq)] == ["group_update"]
        # a change of the account is one call, too
        user.attrs["title"], user.version = ["Prof"], user.version + 1
        assert broker.do(user).ops == ["update"]
        # somebody took the member away; a look at the account shows it (it has shown groups before)
        assert broker.do(user, verify=True).ops == []
        bench.sim.call("PATCH", "/Groups/" + group_of(bench.sim)["id"], {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "remove", "path": "members"}]})
        assert broker.do(user, verify=True).ops == ["group_add"] and members(bench.sim) == {user.rid}
        # who leaves is disabled and stays a member: the grace period may end with his return
        user.inside = False
        assert broker.do(user, permits=["disable"]).verdict == "done"
        assert members(bench.sim) == {user.rid}


def test_members_of_one_group_share_a_request(tmp_path):
    with with_groups(tmp_path, "Staff", options={"members_max": 20, "member_removes": 1}) as bench:
        users = [bench.user() for _ in range(40)]
        for user in users:
            user.groups = ["staff"]
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        assert members(bench.sim) == {u.rid for u in users}
        adds = group_calls(bench)
        assert 2 <= len(adds) <= 10 and all(len(e["body"]["Operations"][0]["value"]) <= 20 for e in adds)
        seq = bench.last()
        for user in users[:10]:
            user.groups, user.version = [], 2
        assert {r.verdict for r in bench.broker.do_all(users[:10])} == {"done"}
        assert members(bench.sim) == {u.rid for u in users[10:]} and len(group_calls(bench, seq)) == 10


def test_one_bad_member_leaves_the_others_alone(tmp_path):
    """GS 13.3 rule 9: an account that somebody deleted is made again and then put into the group."""
    with with_groups(tmp_path, "Staff") as bench:
        users = [made(bench) for _ in range(5)]
        assert bench.sim.call("DELETE", "/Users/" + users[2].rid).status == 204
        for user in users:
            user.groups, user.version = ["staff"], 2
        bench.broker.offset_ms = 10000  # a new account may be invisible for a while
        results = bench.broker.do_all(users)
        assert [r.verdict for r in results] == ["done"] * 5, results
        assert members(bench.sim) == {u.rid for u in users}
        assert bench.service.account(users[2])["id"] == users[2].rid


def test_CAP_C13_a_group_that_comes_later_is_filled(tmp_path):
    with with_groups(tmp_path, "Staff", rules=[STAFF, {"group": "staff", "remote": "Later"}]) as bench:
        user = bench.user()
        user.groups = ["staff"]
        result = bench.broker.do(user)
        assert (result.verdict, result.reason, result.detail) == ("parked", "group_missing", "Later"), result
        assert result.record["look_again_unix_ms"] > 0
        assert bench.service.account(user) and members(bench.sim) == {user.rid}, "all else is done"
        before = len(bench.sent("GET", "/Groups"))
        assert bench.broker.do(user).reason == "group_missing" and len(bench.sent("GET", "/Groups")) == before, "asked just now"
        bench.sim.seed(groups=[{"displayName": "Later"}])
        bench.broker.offset_ms = 120000
        result = bench.broker.do(user)
        assert (result.verdict, result.ops) == ("done", ["group_add"]), result
        assert members(bench.sim, "Later") == {user.rid}
        # the group is deleted and made anew by somebody: its new id is found
        bench.sim.call("DELETE", "/Groups/" + group_of(bench.sim, "Later")["id"])
        bench.sim.seed(groups=[{"displayName": "Later"}])
        other = bench.user()
        other.groups = ["staff"]
        assert bench.broker.do(other).verdict == "done" and members(bench.sim, "Later") == {other.rid}


@pytest.mark.parametrize("key", ["displayName", "id", "externalId"])
def test_a_group_is_named_by_its_name_or_an_id(tmp_path, key):
    the_id = "0b9c6f0e-8f0e-4c6e-9a50-1f3c0d7a0001"
    remote = {"displayName": "Staff", "id": the_id, "externalId": "ext-Staff"}[key]

    class Sim(sims.ScimSim):
        def start(self):
            super().start()
            self.seed(groups=[{"displayName": "Staff", "id": the_id, "externalId": "ext-Staff"}, {"displayName": "Staff 2"}])
            return self

    class Service(Scim):
        def __init__(self, folder, knobs=None, **more):
            self.sim, self.more = Sim(folder, knobs=knobs), more

    with bench_of(Service, tmp_path, groups=[{"group": "staff", "remote": remote}], options={"group_key": key}) as bench:
        user = bench.user()
        user.groups = ["staff"]
        assert bench.broker.do(user).verdict == "done" and members(bench.sim) == {user.rid}


def test_the_policy_may_take_memberships_and_gives_them_back(tmp_path):
    policy = {"revoke_when": ["disabled"], "groups": True}
    with with_groups(tmp_path, "Staff", licence_policy=policy) as bench:
        user, manual = bench.user(), made(bench)
        user.groups = ["staff"]
        assert bench.broker.do(user).verdict == "done"
        bench.sim.call("PATCH", "/Groups/" + group_of(bench.sim)["id"], {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "add", "path": "members", "value": [{"value": manual.rid}]}]})
        for one in (user, manual):
            one.enabled, one.version = False, one.version + 1
            result = bench.broker.do(one, verify=True, permits=["disable"])
            assert result.wants == ["licence_revoke"] and one.rid in members(bench.sim), result
        for one in (user, manual):
            one.version += 1
            bench.broker.send_tasks([one], verify=True, permits=["disable"], whats=["licence_revoke:Staff"])
            bench.broker.wait(lambda: one.result)
            assert one.result.ops == ["group_remove"] and one.rid not in members(bench.sim), one.result
        for one in (user, manual):
            one.enabled, one.version = True, one.version + 1
            result = bench.broker.do(one)
            assert "group_add" in result.ops and one.rid in members(bench.sim), result


# ---- what the service says of itself ----


def check_of(folder, sim, **target):
    service = Scim.__new__(Scim)
    service.sim, service.more = sim, target
    broker = type("Broker", (), {"endpoint": f"ipc://{folder}/b"})
    return Worker(broker, folder / "w", service.target()).run("--check")


def test_check_tells_what_the_service_can_and_what_it_does_not_know(tmp_path):
    with sims.ScimSim(tmp_path / "sim", knobs={"bulk_operations": 50, "page_max": 70}) as sim:
        sim.seed(groups=[{"displayName": "Staff"}])
        mapping = {"userName": "mail", "externalId": "id", "shoeSize": "x", "name.givenName": "gn", "groups_": "x", "emails[type eq \"work\"].value":
                   "mail", ENTERPRISE + ".department": "dep", ENTERPRISE + ".hat": "x", "emails": {"all": "mail"}}
        code, out = check_of(tmp_path, sim, mapping=mapping, groups=[STAFF, {"group": "staff", "remote": "Nobody"}])
    assert code == 0, out
    assert "PATCH yes, bulk yes (50), filter yes, ETag yes, pages of 70 by index" in out
    assert "users at /Users, groups at /Groups, manager yes" in out
    unknown = out.split("not in the service's schema: ")[1].split("\n")[0]
    assert set(unknown.split(", ")) == {"groups_", "shoeSize", ENTERPRISE + ".hat"}
    assert "Group: Staff found" in out and "Nobody is not there yet" in out


def test_the_service_is_asked_before_the_first_task(tmp_path):
    """Limits of ServiceProviderConfig hold from the first request on."""
    with bench_of(Scim, tmp_path, knobs={"bulk_operations": 3, "bulk_bytes": 2500}) as bench:
        users = [bench.user() for _ in range(20)]
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        assert len(bench.sent("POST", "/Bulk")) >= 6 and "413" not in bench.sim.stats()["by_status"]
    with bench_of(Scim, tmp_path / "patch", knobs={"patch": False}) as bench:
        user = made(bench)
        user.attrs["title"], user.version = ["Prof"], 2
        assert bench.broker.do(user).verdict == "done"
        assert not bench.sent("PATCH") and "501" not in bench.sim.stats()["by_status"]


# ---- the rules of GS 13.3 that no other test shows ----


def test_rule_1_a_filter_that_is_ignored_finds_nobody_else(tmp_path):
    with bench_of(Scim, tmp_path) as bench:
        stranger = made(bench)
        everybody = bench.sim.call("GET", "/Users?count=10").body
        bench.sim.faults([{"match": {"method": "GET", "path_prefix": "/scim/v2/Users"}, "do": {"status": 200, "body": everybody}, "times": 1}])
        user = bench.user()
        result = bench.broker.do(user)
        assert result.verdict == "done" and user.rid != stranger.rid, result


def test_rule_2_a_conflict_that_nobody_shows_is_listed(tmp_path):
    with bench_of(Scim, tmp_path, knobs={"tombstones": True}) as bench:
        ghost = made(bench, uid="ghost")
        bench.sim.call("DELETE", "/Users/" + ghost.rid)
        result = bench.broker.do(bench.user(uid="ghost"))
        assert (result.verdict, result.reason, result.status) == ("parked", "name_taken", 200) or result.status == 409, result
        assert bench.sim.stats()["creates"] == 1


def test_rule_3_a_put_keeps_what_it_does_not_know(tmp_path):
    with bench_of(Scim, tmp_path, options={"update": "put"}, mapping={"userName": "mail", "externalId": "id", "title": "title"}) as bench:
        user = made(bench)
        bench.sim.call("PATCH", "/Users/" + user.rid, {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "add", "value": {"nickName": "Nan", ENTERPRISE: {"costCenter": "9"}}}]})
        user.attrs["title"], user.version = ["Prof"], 2
        assert bench.broker.do(user).verdict == "done"
        account = bench.service.account(user)
        assert account["nickName"] == "Nan" and account[ENTERPRISE]["costCenter"] == "9" and account["title"] == "Prof"
        put = [e for e in bench.sim.ledger() if e["method"] == "PUT"][0]["body"]
        assert put["externalId"] == str(user.id) and not {"id", "meta", "groups"} & set(put)


@pytest.mark.parametrize("options", [{}, {"elements": "whole"}, {"patch_style": "value", "elements": "whole"}])
def test_rule_4_one_element_of_a_list(tmp_path, options):
    mapping = {"userName": "mail", "externalId": "id", 'phoneNumbers[type eq "work"].value': "tel"}
    with bench_of(Scim, tmp_path, options=options, mapping=mapping) as bench:
        user = bench.user(tel=[])
        assert bench.broker.do(user).verdict == "done"
        home = {"type": "home", "value": "+1 201 555 0100"}
        bench.sim.call("PATCH", "/Users/" + user.rid, {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "add", "path": "phoneNumbers", "value": [home]}]})
        for number in (["+1 201 555 0123"], ["+1 201 555 0999"], []):
            user.attrs["tel"], user.version = number, user.version + 1
            assert bench.broker.do(user).verdict == "done"
            phones = {p["type"]: p["value"] for p in bench.service.account(user)["phoneNumbers"]}
            assert phones == {"home": home["value"], **({"work": number[0]} if number else {})}, number
        if options:
            sent = [o["path"] for e in bench.sim.ledger() for o in (e["body"] or {}).get("Operations", []) if e["user_agent"].startswith("dirpipe")
                    and "path" in o]
            assert set(sent) <= {"phoneNumbers"}, sent


@pytest.mark.parametrize("knobs", [
    {"patch_status": 204}, {"integer_status": True}, {"total_results": False}, {"relative_location": True}, {"location_header": False},
    {"zero_hits_404": True}, {"page_max": 3}, {"index_paging": False, "cursor_paging": True}, {"if_match_required": True}, {"put": False},
    {"filter_operators": "eq"}, {"case_sensitive_user_name": True}, {"bulk": False}, {"uniqueness_type": False}])
def test_rule_5_and_6_services_answer_as_they_like(tmp_path, knobs):
    with with_groups(tmp_path, "Staff", knobs=knobs) as bench:
        users = [bench.user() for _ in range(8)]
        for user in users:
            user.groups = ["staff"]
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        for user in users:
            user.attrs["title"], user.version = ["Prof"], 2
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        assert {a["title"] for a in bench.sim.dump()} == {"Prof"} and members(bench.sim) == {u.rid for u in users}
        assert bench.broker.do(bench.user(uid="u1")).reason == "name_taken"
        code, out = bench.worker.run("--list")
        assert code == 0 and len(out.splitlines()) == 8, out


def test_rule_7_a_delete_of_who_is_gone_is_done(tmp_path):
    with bench_of(Scim, tmp_path, leave="delete", delete_after="0s") as bench:
        user = made(bench)
        bench.sim.call("DELETE", "/Users/" + user.rid)
        user.inside = False
        result = bench.broker.do(user, permits=["disable", "delete"])
        assert result.verdict == "done" and user.link == "deleted", result


def test_rule_8_a_stale_version_is_read_again_and_nothing_is_lost(tmp_path):
    """If-Match with the version that was read: what a person changed meanwhile, in a field that is not ours, stays."""
    with bench_of(Scim, tmp_path) as bench:
        user = made(bench)
        user.attrs["title"], user.version = ["Prof"], 2
        bench.sim.faults([{"match": {"method": "PATCH"}, "do": {"status": 412, "body": {}}, "times": 1}])
        result = bench.broker.do(user, verify=True)
        assert (result.verdict, result.ops) == ("done", ["update"]) and result.requests == 4, result
        writes = [r for r in bench.sent("PATCH")]
        assert [r["status"] for r in writes] == [412, 200]


def test_rule_8_bulk_that_is_too_large_is_split(tmp_path):
    with bench_of(Scim, tmp_path, knobs={"bulk_bytes": 3000}, options={"discovery": False, "bulk": "always"}) as bench:
        users = [bench.user() for _ in range(20)]
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        assert bench.sim.stats()["by_status"]["413"] >= 1 and bench.sim.stats()["duplicates"] == 0


def test_rule_12_every_value_arrives_as_it_is(tmp_path):
    with bench_of(Scim, tmp_path, mapping={"userName": "mail", "externalId": "key", "displayName": "cn"},
                  join=[{"remote": "externalId", "local": "key"}]) as bench:
        for key in ['a"b\\c', "ä & ö + % # ?", "x' or userName pr", "(a) eq b"]:
            user = bench.user(key=key)
            bench.sim.seed(users=[{"schemas": [USER], "userName": f"seeded-{bench.n}", "externalId": key, "active": True}])
            result = bench.broker.do(user)
            assert result.verdict == "done" and result.ops == ["update"], (key, result)


# ---- dialects ----


@pytest.mark.parametrize("knobs, dialect, more", [
    ("rfc", "rfc", {}), ("lenient", "rfc", {}), ("slack", "slack", {}), ("rfc", "github", {}), ("rfc", "zoom", {}), ("rfc", "miro", {}),
    ("rfc", "databricks", {}), ("rfc", "launchdarkly", {}), ("salesforce", "salesforce", {"entitlements": {"const": [{"value": "00e300000000001"}]}}),
    ("entra-server", "entra", {"name.givenName": "gn", "name.familyName": "sn"})])
def test_each_dialect_against_its_service(tmp_path, knobs, dialect, more):
    mapping = {"userName": "mail", "externalId": "id", "displayName": "cn", "title": "title", **more}
    with with_groups(tmp_path, "Staff", knobs={"dialect": knobs}, options={"dialect": dialect}, mapping=mapping) as bench:
        broker, service = bench.broker, bench.service
        users = [bench.user() for _ in range(4)]
        for user in users:
            user.groups = ["staff"]
        assert {r.verdict for r in broker.do_all(users)} == {"done"}, [u.result for u in users]
        for user in users:
            user.attrs["title"], user.version = ["Prof"], 2
        users[0].groups = []
        assert {r.verdict for r in broker.do_all(users)} == {"done"}, [u.result for u in users]
        assert {a["title"] for a in bench.sim.dump()} == {"Prof"} and members(bench.sim) == {u.rid for u in users[1:]}
        user = users[1]
        user.enabled, user.version = False, 3
        assert broker.do(user, permits=["disable"]).verdict == "done" and service.account(user)["active"] is False
        user.enabled, user.version = True, 4
        assert broker.do(user).verdict == "done" and service.account(user)["active"] is True
        seq = bench.last()
        assert {r.verdict for r in broker.do_all(users, verify=True)} == {"done"} and bench.writes(seq) == []
        assert set(bench.sim.stats()["by_status"]) <= {"200", "201", "204", "404"}, bench.sim.stats()["by_status"]


def test_oauth_client_credentials_and_a_token_that_runs_out(tmp_path):
    class Service(Scim):
        def target(self):
            return {**super().target(), "login_url": self.sim.token_url, "auth": {
                "method": "client_secret", "client_id": self.sim.client_id, "client_secret": Secret(self.sim.client_secret_file), "scope": "scim"}}

    with bench_of(Service, tmp_path, knobs={"token_seconds": 600}) as bench:
        made(bench)
        bench.sim.clock(700 * 1000)
        made(bench)
        assert bench.sim.stats()["tokens"] == 2 and bench.sim.stats()["by_status"].get("401") == 1
        assert bench.sim.client_secret not in bench.worker.log_text()


# ---- somebody else's server ----


@needs_npm
def test_a_strangers_server_in_full(tmp_path):
    """scimmy-routers: bulk of 10, groups, PATCH, no ETag; everything is asked of the server itself."""
    class Service(Scim):
        def __init__(self, folder, **more):
            self.sim, self.more = sims.Scimmy(folder), more

    service = Service(tmp_path / "sim", groups=[STAFF, {"group": "lab", "remote": "Lab"}])
    with service.sim as server, WorkerBroker(tmp_path / "b") as broker:
        groups = {n: server.call("POST", "/Groups", {"schemas": [GROUP], "displayName": n}).body["id"] for n in ("Staff", "Lab")}

        def inside(name):
            return {m["value"] for m in server.call("GET", "/Groups/" + groups[name]).body.get("members", [])}

        with Worker(broker, tmp_path / "w", service.target()):
            users = [broker.add(mail=f"s{n}@contoso.com", cn=f"S{n}", gn="Anna", sn="Berg", title="Dr", dep="R&D") for n in range(25)]
            for user in users:
                user.groups = ["staff"] if user is not users[3] else ["lab"]
            assert {r.verdict for r in broker.do_all(users)} == {"done"}, [u.result for u in users]
            assert inside("Staff") == {u.rid for u in users if u is not users[3]} and inside("Lab") == {users[3].rid}
            assert len(server.dump()) == 25
            for user in users[:10]:
                user.attrs["title"], user.attrs["dep"], user.version = ["Prof"], [], 2
            users[3].groups = ["staff"]
            assert {r.verdict for r in broker.do_all(users[:10])} == {"done"}
            assert inside("Lab") == set() and inside("Staff") == {u.rid for u in users}
            accounts = {a["externalId"]: a for a in server.dump()}
            assert {accounts[str(u.id)]["title"] for u in users[:10]} == {"Prof"}
            assert not any((accounts[str(u.id)].get(ENTERPRISE) or {}).get("department") for u in users[:10])
            boss, user = users[0], users[1]
            user.refs, user.version = {"manager": boss}, 3
            assert broker.do(user).verdict == "done"
            user.enabled, user.version = False, 4
            assert broker.do(user, permits=["disable"]).verdict == "done"
            account = next(a for a in server.dump() if a["externalId"] == str(user.id))
            assert account["active"] is False and account[ENTERPRISE]["manager"]["value"] == boss.rid
            assert {r.ops == [] and r.verdict for r in broker.do_all(users, verify=True)} == {"done"}


def test_listing_by_cursor_and_index_gives_everybody_once(tmp_path):
    for number, knobs in enumerate(({"page_max": 7}, {"page_max": 7, "index_paging": False, "cursor_paging": True})):
        with bench_of(Scim, tmp_path / str(number), knobs=knobs) as bench:
            bench.sim.seed(users=[{"schemas": [USER], "userName": f"x{n}", "active": True} for n in range(50)])
            code, out = bench.worker.run("--list")
            assert code == 0 and len({json.loads(line)["rid"] for line in out.splitlines()}) == 50
            pages = [r["path"] for r in bench.sim.requests() if "count=100" in r["path"]]
            assert len(pages) == 8 and all(("cursor=" in p) == (number == 1) for p in pages[1:]), pages
