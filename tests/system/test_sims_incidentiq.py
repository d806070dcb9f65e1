"""The Incident IQ service itself: it takes what the vendor's published contract and collection show, and refuses the rest (SFR C, E)."""
import os
import json
import shutil
import subprocess

import pytest

import sims
from test_sims import RATE, cpu_s


@pytest.fixture(scope="module")
def iiq_sim(tmp_path_factory):
    with sims.IncidentIqSim(tmp_path_factory.mktemp("iiq")) as sim:
        yield sim
        assert sim.stop() == 0, sim.log()


@pytest.fixture
def iiq(iiq_sim):
    iiq_sim.reset()
    iiq_sim.knobs(unique="Email,Username", light_update=True, lying_status=False, light_search=False, lag_ms=0, requests=0)
    return iiq_sim


def user(name, **more):
    return {"FirstName": "Ann", "LastName": name, "Email": f"{name}@school.example", "SchoolIdNumber": f"key-{name}",
            "LocationId": sims.IncidentIqSim.location, "RoleId": sims.IncidentIqSim.roles["Student"], **more}


def listed(iiq, filter_text="", **more):
    body = {"OnlyShowDeleted": False, "ExcludeNoAccess": False, "Filters": [], "FieldsToReturn": [], **more}
    query = "?$s=20&$filter=" + filter_text.replace(" ", "%20").replace("'", "%27") if filter_text else "?$s=20"
    return iiq.call("POST", "/users" + query, body)


def refused(answer, status, field=None):
    assert answer.status == status, answer.raw
    assert answer.body["StatusCode"] == status and answer.body["Message"]
    if field:
        assert answer.body["Errors"][0]["Field"] == field


# The vendor's own examples: POST /users/local/new and POST /users/{id} of its documentation, the light package of its collection.
DOCUMENTED = {
    "PreventProviderUpdates": False, "DataMappings": {}, "FirstName": "John", "LastName": "Smith", "Email": "johnsmith@smith.com",
    "SchoolIdNumber": "SMT12", "Phone": "555-5555", "Password": "T3STP@SS", "PasswordExpirationDate": "09/01/2022",
    "InternalComments": "lorem ipsum dias", "Grade": "4", "LocationId": sims.IncidentIqSim.location.upper(),
    "RoleId": "6D5FEE76-E05E-43C0-B8E9-B8447746E504", "UpdateCustomFields": True, "CustomFieldValues": []}


def test_the_vendors_examples_are_taken(iiq):
    made = iiq.call("POST", "/users/local/new", DOCUMENTED)
    assert made.status == 200 and made.body["StatusCode"] == 200, made.raw
    the_id = made.body["Item"]["UserId"]
    shown = iiq.call("GET", "/users/" + the_id).body["Item"]
    assert shown["IsActive"] is True and shown["RoleName"] == "Agent" and shown["LocationName"] == "Central Office"
    assert "Password" not in shown and shown["SchoolIdNumber"] == "SMT12"
    changed = iiq.call("POST", "/users/" + the_id, {**DOCUMENTED, "Email": "johnsmith@gmail.com"})
    assert changed.body["Item"]["Email"] == "johnsmith@gmail.com"
    iiq.call("POST", "/users/" + the_id, {"InternalComments": "Test 2"})
    assert iiq.call("GET", "/users/" + the_id).body["Item"] | {"ModifiedDate": ""} == \
        changed.body["Item"] | {"InternalComments": "Test 2", "ModifiedDate": ""}
    assert iiq.call("POST", "/users/" + the_id, shown).status == 200, "what was read can be sent back"
    assert [e["kind"] for e in iiq.ledger()] == ["create", "update", "update", "update"]
    assert {e["key"] for e in iiq.ledger()} == {"SMT12"}


def test_users_are_found(iiq):
    ids = {name: iiq.call("POST", "/users/local/new", user(name)).body["Item"]["UserId"] for name in ("berg", "bergmann", "tal")}
    for text, names in [("key-berg", {"berg", "bergmann"}), ("tal@SCHOOL.example", {"tal"}), ("Ann Tal", {"tal"}), ("al@", {"tal"}),
                        ("nobody", set())]:
        found = listed(iiq, f"(SearchText contains '{text}')").body
        assert {u["UserId"] for u in found["Items"]} == {ids[n] for n in names}, text
        assert found["Paging"]["TotalRows"] == len(names)
        assert {u["UserId"] for u in iiq.call("POST", "/search/v2", {"Query": text, "Facets": 4}).body["Item"]["Users"]} == \
            {ids[n] for n in names}
    assert len(listed(iiq, f"(RoleId eq '[{iiq.roles['Student']}]')").body["Items"]) == 3
    assert [u["UserId"] for u in listed(iiq, "(LastName eq 'Berg')").body["Items"]] == [ids["berg"]]
    iiq.call("POST", "/users/" + ids["tal"], {"LastName": "Thal"})
    assert not listed(iiq, "(SearchText contains 'Ann Tal')").body["Items"]
    page = iiq.call("POST", "/users?$s=2&$p=1", {"OnlyShowDeleted": False, "ExcludeNoAccess": False}).body
    assert page["Paging"] == {"TotalRows": 3, "PageCount": 2, "PageSize": 2, "PageIndex": 1} and len(page["Items"]) == 1
    assert iiq.call("DELETE", "/users/" + ids["berg"]).body["Id"] == ids["berg"]
    refused(iiq.call("GET", "/users/" + ids["berg"]), 404)
    assert [u["UserId"] for u in listed(iiq, OnlyShowDeleted=True).body["Items"]] == [ids["berg"]]
    iiq.knobs(lag_ms=60000)
    iiq.call("POST", "/users/local/new", user("late"))
    assert not listed(iiq, "(SearchText contains 'key-late')").body["Items"]


@pytest.mark.parametrize("change, field", [
    ({"LastName": ""}, "LastName"), ({"LocationId": None}, "LocationId"), ({"LocationId": "Central Office"}, "LocationId"),
    ({"LocationId": "00000000-0000-4000-8000-000000000000"}, "LocationId"),
    ({"RoleId": "6d5fee76-e05e-43c0-b8e9-b8447746e599"}, "RoleId"), ({"Email": "ann"}, "Email"), ({"IsActive": "true"}, "IsActive"),
    ({"Email": None, "Username": None}, "Email"), ({"UserId": "00000000-0000-4000-8000-000000000000"}, "UserId"),
    ({"Password": "short"}, "Password"), ({"ShoeSize": 44}, None)])
def test_it_refuses_what_the_contract_does_not_know(iiq, change, field):
    refused(iiq.call("POST", "/users/local/new", {**user("x"), **change}), 400, field)
    assert iiq.dump() == [] and iiq.ledger() == []


def test_it_refuses_requests_that_lack_something(iiq):
    refused(iiq.call("GET", "/locations/all", token="wrong"), 401)
    refused(iiq.call("GET", "/locations/all", headers={"SiteId": None}), 400)
    refused(iiq.call("GET", "/locations/all", headers={"Client": "WebBrowser"}), 400)
    refused(iiq.call("POST", "/users/local/new", json.dumps(user("x")), {"Content-Type": "text/plain"}), 415)
    refused(iiq.call("POST", "/users", {"Filters": []}), 400)
    refused(iiq.call("PATCH", "/users/local/new", {}), 404)
    iiq.knobs(requests=1)
    assert iiq.call("GET", "/locations/all").body["Items"][0]["LocationId"] == iiq.location
    slow = iiq.call("GET", "/locations/all")
    assert slow.status == 429 and int(slow.headers["retry-after"]) > 0


def test_names_are_unique_where_the_site_wants_it(iiq):
    first = iiq.call("POST", "/users/local/new", user("one")).body["Item"]["UserId"]
    refused(iiq.call("POST", "/users/local/new", user("two", Email="ONE@school.example")), 400, "Email")
    second = iiq.call("POST", "/users/local/new", user("two")).body["Item"]["UserId"]
    refused(iiq.call("POST", "/users/" + second, {"Email": "one@school.example"}), 400, "Email")
    assert iiq.call("POST", "/users/" + first, {"Email": "one@school.example"}).status == 200
    iiq.knobs(unique="")
    assert iiq.call("POST", "/users/local/new", user("one")).status == 200
    assert iiq.stats()["duplicates"] == 1
    iiq.knobs(lying_status=True)
    lie = iiq.call("POST", "/users/local/new", user("x", LastName=""))
    assert lie.status == 200 and lie.body["StatusCode"] == 400 and lie.body["Errors"][0]["Field"] == "LastName"


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_five_thousand_creates_a_second(iiq, tmp_path, record_property):
    if "asan" in str(sims.build_dir()) or os.environ.get("DIRPIPE_PRESET") == "asan":
        pytest.skip("a rate under sanitizers says nothing")
    script = tmp_path / "rate.lua"
    text = RATE % ("/api/v1.0/users/local/new", iiq.token, json.dumps(user("nNUMBER")))
    script.write_text(text.replace("{[", f'{{["SiteId"] = "{iiq.site}", ["Client"] = "ApiClient", [', 1))
    before = cpu_s(iiq.process.pid)
    subprocess.run(["wrk", "-t1", "-c32", "-d2", "-s", script, f"https://127.0.0.1:{iiq.port}/"], check=True, capture_output=True)
    stats, used = iiq.stats(), cpu_s(iiq.process.pid) - before
    rate = stats["creates"] / used
    print(f"{stats['creates']} creates, {rate:.0f} per CPU second")
    record_property("creates_per_cpu_s", round(rate))
    assert stats["by_status"] == {"200": stats["creates"]} and stats["users"] == stats["creates"] and stats["duplicates"] == 0
    assert rate >= 5000
