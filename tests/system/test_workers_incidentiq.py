"""The Incident IQ driver against the strict site: the life of an account as for every driver, and what is this vendor's own (SFR C)."""

import uuid

import pytest

import sims
import workerbroker
from pipeline import Secret
from test_workers import (  # noqa: F401 (the tests that hold for every driver, run for this one)
    Scim, bench_of, made, test_a_name_is_given_up_where_the_broker_asks_for_it, test_check_and_list, test_create_update_disable_enable,
    test_forbidden_and_broken_are_told_apart, test_found_account_is_claimed, test_leaver_is_disabled_then_deleted,
    test_name_taken_is_parked, test_throttled, test_verify_mends_what_somebody_changed, test_verify_of_an_equal_account_writes_nothing)


class IncidentIq(Scim):
    kind = "incidentiq"
    name_field = "Email"
    creates = {"method": "POST", "path_prefix": "/api/v1.0/users/local/new"}
    updates = {"method": "POST", "path_prefix": "/api/v1.0/users/"}

    def __init__(self, folder, knobs=None, **target):
        self.sim = sims.IncidentIqSim(folder, knobs=knobs)
        self.more = target

    def target(self):
        base = {
            "driver": "incidentiq", "url": self.sim.url, "tls": {"ca_file": self.sim.ca_file}, "settle": "1s",
            "auth": {"method": "bearer", "token": Secret(self.sim.token_file)},
            "mapping": {"Email": "mail", "SchoolIdNumber": "id", "FirstName": "cn", "LastName": "sn", "InternalComments": "title",
                        "LocationId": {"const": "central office"}, "RoleId": {"const": "Student"}},
            "join": [{"remote": "SchoolIdNumber", "local": "id"}]}
        more = {**self.more, "options": {"site_id": self.sim.site, **self.more.get("options", {})}}
        return {**base, **more}

    def account(self, user):
        found = [a for a in self.sim.dump() if a.get("SchoolIdNumber") == str(user.id)]
        assert len(found) <= 1, found
        return found[0] if found else None

    def remote_id(self, account):
        return account["UserId"]

    def shown(self, account):
        return account["FirstName"]

    def name(self, account):
        return account["Email"]

    def enabled(self, account):
        return account["IsActive"]

    def title(self, account):
        return account.get("InternalComments")


@pytest.fixture
def kind():
    return IncidentIq


@pytest.fixture
def bench(tmp_path):
    with bench_of(IncidentIq, tmp_path) as b:
        yield b


def test_unknown_outcome_makes_no_second_account(tmp_path):
    """Also where the site itself would take a second one, and finds a new user late."""
    with bench_of(IncidentIq, tmp_path, knobs={"unique": "", "lag_ms": 1500}, settle="3s") as bench:
        user = bench.user()
        bench.sim.faults([{"match": bench.service.creates, "do": {"cut": "after_commit"}, "times": 1}])
        result = bench.broker.do(user)
        assert result.unknown and user.link == "creating", result
        result = bench.broker.do(user)
        assert (result.verdict, result.reason) == ("retry", "settling") and 0 < result.after_ms <= 3000, result
        bench.sim.clock(2000)
        result = bench.broker.do(user)
        assert (result.verdict, result.ops) == ("done", []) and user.rid, result
        assert bench.sim.stats()["creates"] == 1 and bench.sim.stats()["duplicates"] == 0


@pytest.mark.parametrize("lookup", ["text", "filter", "search"])
@pytest.mark.parametrize("remote, local", [("SchoolIdNumber", "id"), ("Email", "mail"), ("Username", "uid"), ("ExternalId", "dn")])
def test_CAP_I10_the_look_up_field_can_be_chosen(tmp_path, remote, local, lookup):
    """The account that bears the value is taken, whatever else is like it; nobody else is."""
    knobs = {"search": "Name,Email,Username,SchoolIdNumber,ExternalId"}
    with bench_of(IncidentIq, tmp_path, knobs=knobs, join=[{"remote": remote, "local": local}], options={"lookup": lookup}) as bench:
        user = bench.user(uid="o'berg")
        value = {"id": str(user.id), "mail": user.attrs["mail"][0], "uid": "o'berg", "dn": f"CN={user.id}"}[local]
        other = {"FirstName": "x", "LastName": "y", "LocationId": sims.IncidentIqSim.location, "RoleId": sims.IncidentIqSim.roles["Staff"]}
        bench.sim.seed(users=[{**other, "Email": f"{n}@school.example", remote: v} for n, v in
                              enumerate([value + "z", value.upper(), "y" + value]) if not (remote == "Email" and n != 1)])
        result = bench.broker.do(user)
        assert result.verdict == "done", result
        mine = [a for a in bench.sim.dump() if (a.get(remote) or "").lower() == value.lower()]
        assert [a["UserId"] for a in mine] == [user.rid] and mine[0]["LastName"] == "Berg"
        assert bench.sim.stats()["creates"] == 0 and len([e for e in bench.sim.ledger() if e["kind"] == "update"]) == 1


def test_role_and_location_by_name_or_id(tmp_path):
    south, twins = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(2)]
    mapping = {"Email": "mail", "SchoolIdNumber": "id", "FirstName": "cn", "LastName": "sn", "LocationId": "place", "RoleId": "role"}
    with bench_of(IncidentIq, tmp_path, mapping=mapping, options={"roles": {"Caretaker": sims.IncidentIqSim.roles["Staff"]}}) as bench:
        def do(place, role, offset_s=0):
            user = bench.user(place=place, role=role)
            bench.broker.offset_ms = offset_s * 1000
            return user, bench.broker.do(user)

        for role, kind in [("student", "Student"), ("Caretaker", "Staff"), (sims.IncidentIqSim.roles["Agent"], "Agent")]:
            user, result = do("Central Office", role)
            assert result.verdict == "done" and bench.service.account(user)["RoleName"] == kind, result
        user, result = do("Central Office", "Janitor")
        assert (result.verdict, result.reason, result.detail) == ("parked", "role_unknown", "RoleId"), result
        # a location that is not there yet: asked for, parked; made later: healed without a restart
        user, result = do("South School", "Student")
        assert (result.verdict, result.reason) == ("parked", "location_unknown"), result
        assert result.record["look_again_unix_ms"] > 0 and not bench.service.account(user)
        bench.sim.seed(locations=[{"LocationId": south, "Name": "South School"}, *({"LocationId": i, "Name": "Twin"} for i in twins)])
        before = len(bench.sent("GET", "locations"))
        assert bench.broker.do(user).reason == "location_unknown" and len(bench.sent("GET", "locations")) == before, "asked just now"
        bench.broker.offset_ms = 120000
        result = bench.broker.do(user)
        assert (result.verdict, result.ops) == ("done", ["locations", "create"]), result
        assert bench.service.account(user)["LocationName"] == "South School"
        assert do("Twin", "Student", 120)[1].reason == "location_ambiguous"
        user, result = do(twins[1], "Student", 120)
        assert result.verdict == "done" and bench.service.account(user)["LocationId"] == twins[1], result
        user.attrs["place"], user.version = ["south school"], 2
        assert bench.broker.do(user).ops == ["update"] and bench.service.account(user)["LocationId"] == south
        assert bench.broker.do(user, verify=True).ops == []


@pytest.mark.parametrize("update", ["light", "whole"])
def test_an_update_names_what_changed_or_everything(tmp_path, update):
    with bench_of(IncidentIq, tmp_path, knobs={"light_update": update == "light"}, options={"update": update}) as bench:
        user = made(bench)
        other = {"CustomFieldValues": [{"CustomFieldTypeId": "t", "Value": "kept"}]}
        assert bench.sim.call("POST", "/users/" + user.rid, {**bench.service.account(user), **other}).status == 200
        seq = bench.last()
        user.attrs["title"], user.version = ["Prof"], 2
        assert bench.broker.do(user).ops == ["update"]
        body = bench.sim.ledger(since=seq)[0]["body"]
        assert "CustomFieldValues" not in body if update == "light" else body["UpdateCustomFields"] is False
        account = bench.service.account(user)
        assert account["InternalComments"] == "Prof" and account["CustomFieldValues"] == other["CustomFieldValues"]


def test_CAP_I9_accounts_of_another_provider_are_left_alone(tmp_path):
    with bench_of(IncidentIq, tmp_path, options={"providers": ["Microsoft Active Directory", "ClassLink"]}) as bench:
        common = {"FirstName": "x", "LastName": "y", "LocationId": bench.sim.location, "RoleId": bench.sim.roles["Staff"]}
        for by, verdict in [("Google", "parked"), ("classlink", "done"), ("", "done")]:
            user = bench.user()
            bench.sim.seed(users=[{**common, "Email": user.attrs["mail"][0], "SchoolIdNumber": str(user.id), "AuthenticatedBy": by}])
            seq = bench.last()
            result = bench.broker.do(user)
            assert result.verdict == verdict, (by, result)
            assert (result.reason == "other_provider") == (by == "Google")
            assert len(bench.writes(seq)) == (verdict == "done")


def test_a_person_may_take_an_account_out_of_our_hands(tmp_path):
    for prevent in ("honour", "ignore"):
        with bench_of(IncidentIq, tmp_path / prevent, options={"prevent": prevent}) as bench:
            user = made(bench)
            bench.sim.call("POST", "/users/" + user.rid, {"PreventProviderUpdates": True, "FirstName": "By hand"})
            seq = bench.last()
            result = bench.broker.do(user, verify=True)
            assert bench.writes(seq) == ([] if prevent == "honour" else ["update"])
            assert result.reason == ("provider_updates_prevented" if prevent == "honour" else ""), result
            user.inside = False
            assert bench.broker.do(user, permits=["disable"]).verdict == "done" and not bench.service.account(user)["IsActive"]


def test_a_refusal_that_comes_as_200_is_a_refusal(tmp_path):
    with bench_of(IncidentIq, tmp_path, knobs={"lying_status": True}) as bench:
        holder = made(bench, uid="same")
        user = bench.user(uid="same")
        result = bench.broker.do(user)
        assert (result.verdict, result.reason, result.status) == ("parked", "name_taken", 400), result
        assert result.waits == f"holder:Email={holder.rid}"
        bench.sim.faults([{"match": bench.service.creates, "do": {"status": 200, "body": {"StatusCode": 500, "Message": "oops"}}, "times": 1}])
        result = bench.broker.do(bench.user())
        assert (result.verdict, result.status) == ("retry", 500) and result.unknown, result


def checked(tmp_path, target):
    fake = type("Broker", (), {"endpoint": f"ipc://{tmp_path}/b"})
    return workerbroker.Worker(fake, tmp_path / "w", target).run("--check")


def test_the_headers_that_the_site_wants(tmp_path):
    service = IncidentIq(tmp_path)
    with service.sim:
        good = service.target()
        assert checked(tmp_path, good) == (0, "ok   locations: 1 locations\nok   users: users can be read (0)\n")
        for change in ({"site_id": str(uuid.uuid4())}, {"client": "WebBrowser"}):
            code, out = checked(tmp_path, {**good, "options": {**good["options"], **change}})
            assert code == 1 and "status 400, no list of locations" in out, out


def test_a_missing_name_is_parked(bench):
    result = bench.broker.do(bench.user(sn=[]))
    assert (result.verdict, result.reason, result.detail) == ("parked", "mandatory_missing", "LastName"), result
    assert bench.sim.stats()["writes"] == 0


def test_a_wrong_configuration_is_told(tmp_path):
    service = IncidentIq(tmp_path)
    service.sim.port = 443
    good = service.target()
    for change, words in [({"options": {}}, "options.site_id: is missing"), ({"mapping": {"Email": "mail"}}, "mapping.RoleId: is missing"),
                          ({"mapping": {**good["mapping"], "Portal": "x"}}, "mapping.Portal: is read-only"),
                          ({"mapping": {**good["mapping"], "ShoeSize": "x"}}, "mapping.ShoeSize: expected the name of a user's field"),
                          ({"options": {**good["options"], "roles": ["x"]}}, "options.roles: expected NAME: text for each")]:
        code, out = checked(tmp_path, {**good, **change})
        assert code == 78 and words in out, (change, out)
