"""The stand-in for Salesforce itself: two clients that others wrote find what they expect, and it refuses what the vendor refuses."""

import json
import os
import subprocess

import pytest

import sims
from test_sims import RATE, cpu_s, needs_npm


@pytest.fixture(scope="module")
def salesforce_sim(tmp_path_factory):
    with sims.SalesforceSim(tmp_path_factory.mktemp("salesforce")) as sim:
        yield sim


@pytest.fixture
def org(salesforce_sim):
    salesforce_sim.reset()
    salesforce_sim._token = None
    return salesforce_sim


def user(org, name, **more):
    return {"Username": f"{name}@acme.example", "LastName": name, "Email": f"{name}@acme.example", "Alias": name[:8],
            "ProfileId": org.id_of("Profile", "Standard User"), "TimeZoneSidKey": "GMT", "LocaleSidKey": "en_US",
            "EmailEncodingKey": "UTF-8", "LanguageLocaleKey": "en_US", **more}


def error(answer):
    return answer.status, answer.body[0]["errorCode"]


# ---- strangers ----


@needs_npm
def test_jsforce_and_nforce_work_unmodified(org):
    """Logins, pages, rows, collections and upserts as jsforce 3 and nforce 1 send them; what they sent stands in the ledger."""
    org.knobs(page_size=3)
    program = sims.npm_install("strangers") / "salesforce.mjs"
    given = {"port": org.port, "clientId": org.client_id, "secret": org.client_secret, "username": org.username,
             "password": org.password + org.security_token, "profile": org.id_of("Profile", "Standard User")}
    done = subprocess.run(["node", program, json.dumps(given)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "NODE_EXTRA_CA_CERTS": str(org.ca_file)})
    org.knobs(page_size=2000)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    js, n = said["jsforce"], said["nforce"]
    assert js["instance"] == f"https://localhost:{org.port}"
    assert js["create"]["value"]["success"] and js["again"]["code"] == "DUPLICATE_USERNAME"
    assert [r["success"] for r in js["many"]["value"]] == [True, True, False]
    assert js["many"]["value"][2]["errors"][0]["statusCode"] == "DUPLICATE_USERNAME"
    assert (js["upsert"]["value"]["created"], js["upsertAgain"]["value"]["created"]) == (True, False)
    assert [r["created"] for r in js["upsertMany"]["value"]] == [True, False]
    assert js["update"]["value"]["success"] and all(r["success"] for r in js["updateMany"]["value"])
    assert js["retrieve"]["value"]["City"] == "Bonn" and js["retrieve"]["value"]["Title"] is None
    assert [r["Profile"]["Name"] for r in js["query"]["value"]["records"]] == ["Standard User"] * 3
    assert js["pages"]["value"] == 5 and js["unknown"]["code"] == "INVALID_FIELD" and js["destroy"]["code"] == "METHOD_NOT_ALLOWED"
    assert len(js["refused"]["value"]["records"]) == 3, "it logged in again"
    assert js["usage"]["limit"] == 1000000 and js["usage"]["used"] > 10
    assert n["create"]["value"]["success"] and n["upsert"]["value"]["created"] and n["wrong"]["code"] == "MALFORMED_QUERY"
    assert n["query"]["value"]["records"][0]["Title"] == "Dr"
    writes = [(e["kind"], e["method"], e["path"].removeprefix("/services/data/v62.0/sobjects/")) for e in org.ledger()]
    assert writes[:5] == [("create", "POST", "User")] * 3 + [("create", "PATCH", "User/DirectoryId__c/key%204"),
                                                              ("update", "PATCH", "User/DirectoryId__c/key%204")]
    assert ("create", "POST", "user") in writes and ("create", "PATCH", "user/directoryid__c/nf-2") in writes
    assert all("DirectoryId__c" not in e["body"] for e in org.ledger() if e["method"] == "PATCH")
    assert {u["DirectoryId__c"]: u["Title"] for u in org.dump() if u["DirectoryId__c"]} == {"key 4": "Prof", "k5": None, "nf-2": None}


@needs_npm
def test_a_stranger_hears_that_the_security_token_is_missing(org):
    program = sims.npm_install("strangers") / "salesforce.mjs"
    given = {"port": org.port, "clientId": org.client_id, "secret": org.client_secret, "username": org.username, "password": org.password}
    done = subprocess.run(["node", program, json.dumps(given)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "NODE_EXTRA_CA_CERTS": str(org.ca_file)})
    said = json.loads(done.stdout)
    assert "authentication failure" in said["jsforce"]["login"]["message"] and "value" not in said["nforce"]["login"]
    assert org.ledger() == []


# ---- what it refuses ----


@pytest.mark.parametrize("change,code,fields", [
    ({"LastName": None}, "REQUIRED_FIELD_MISSING", ["LastName"]),
    ({"Username": "nobody"}, "FIELD_INTEGRITY_EXCEPTION", ["Username"]),
    ({"Email": "no address"}, "INVALID_EMAIL_ADDRESS", ["Email"]),
    ({"Alias": "ninechars"}, "STRING_TOO_LONG", ["Alias"]),
    ({"TimeZoneSidKey": "Europe/Bonn"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["TimeZoneSidKey"]),
    ({"ProfileId": "00e5eAq00009999ABA"}, "INVALID_CROSS_REFERENCE_KEY", ["ProfileId"]),
    ({"Nothing": "x"}, "INVALID_FIELD", None),
    ({"IsActive": "yes"}, "JSON_PARSER_ERROR", None),
    ({"CreatedDate": "2020"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["CreatedDate"]),
])
def test_rows_that_the_vendor_refuses(org, change, code, fields):
    answer = org.call("POST", "/sobjects/User", user(org, "anna") | change)
    assert error(answer) == (400, code) and answer.body[0].get("fields") == fields
    assert org.ledger() == [] and org.dump() == []


def test_all_that_is_missing_is_named_at_once(org):
    answer = org.call("POST", "/sobjects/User", {"LastName": "x"})
    assert answer.body[0]["fields"] == ["Username", "Email", "Alias", "ProfileId", "TimeZoneSidKey", "LocaleSidKey", "EmailEncodingKey",
                                        "LanguageLocaleKey"]


def test_names_are_unique_over_orgs_and_inactive_users(org):
    made = org.call("POST", "/sobjects/User", user(org, "anna", IsActive=False, CommunityNickname="a", DirectoryId__c="k"))
    assert made.status == 201
    assert error(org.call("POST", "/sobjects/User", user(org, "ANNA"))) == (400, "DUPLICATE_USERNAME")
    assert error(org.call("POST", "/sobjects/User", user(org, "b", CommunityNickname="A"))) == (400, "DUPLICATE_COMM_NICKNAME")
    assert error(org.call("POST", "/sobjects/User", user(org, "c", DirectoryId__c="k"))) == (400, "DUPLICATE_VALUE")
    org.seed(elsewhere=[{"Username": "else@acme.example"}])
    assert error(org.call("POST", "/sobjects/User", user(org, "else"))) == (400, "DUPLICATE_USERNAME")
    assert org.stats()["creates"] == 1


def test_upserts_and_keys(org):
    path = "/sobjects/User/DirectoryId__c/k%2F1"  # a slash of the value is coded
    assert org.call("PATCH", path, user(org, "anna")).status == 201
    assert error(org.call("PATCH", path, user(org, "anna", DirectoryId__c="k/1"))) == (400, "INVALID_FIELD")
    assert org.call("PATCH", "/sobjects/User/DirectoryId__c/k/1", user(org, "b")).status == 404
    assert error(org.call("PATCH", "/sobjects/User/City/x", {})) == (404, "NOT_FOUND")
    org.seed(User=[user(org, "x", Badge__c="7"), user(org, "y", Badge__c="7")])
    answer = org.call("PATCH", "/sobjects/User/Badge__c/7", {"Title": "x"})
    assert answer.status == 300 and len(answer.body) == 2
    assert error(org.call("DELETE", answer.body[0].removeprefix(org.version)))[0] == 405


def test_collections_and_composite_have_limits(org):
    record = {"attributes": {"type": "User"}}
    many = {"allOrNone": False, "records": [record] * 201}
    assert error(org.call("POST", "/composite/sobjects", many)) == (400, "EXCEEDED_ID_LIMIT")
    mixed = {"records": [record, {"attributes": {"type": "GroupMember"}}]}
    assert error(org.call("POST", "/composite/sobjects", mixed)) == (400, "MIXED_DML_OPERATION")
    part = {"method": "GET", "url": org.version + "/query?q=SELECT%20Id%20FROM%20Profile", "referenceId": "a"}
    assert error(org.call("POST", "/composite", {"compositeRequest": [part] * 6})) == (400, "LIMIT_EXCEEDED")
    lost = {"method": "GET", "url": org.version + "/sobjects/User/@{a.records[9].Id}", "referenceId": "b"}
    answer = org.call("POST", "/composite", {"compositeRequest": [part, lost]})
    assert [r["httpStatusCode"] for r in answer.body["compositeResponse"]] == [200, 400]


def test_sessions_end_and_hold_on_their_host_alone(org):
    assert org.query("SELECT Id FROM Profile").status == 200
    assert error(org.call("GET", "/limits", headers={"Host": f"127.0.0.1:{org.port}"})) == (401, "INVALID_SESSION_ID")
    assert org.query("SELECT Id FROM Profile").status == 200
    org.clock(3 * 3600 * 1000)
    assert error(org.query("SELECT Id FROM Profile")) == (401, "INVALID_SESSION_ID")
    assert org.login(grant_type="password", client_id="x", client_secret="y").body["error"] == "invalid_client_id"
    assert org.login(grant_type="magic").body["error"] == "unsupported_grant_type"


def test_the_day_has_so_many_requests(org):
    org.knobs(daily_requests=3)
    try:
        for _ in range(3):
            assert org.query("SELECT Id FROM Profile").status == 200
        answer = org.query("SELECT Id FROM Profile")
        assert error(answer) == (403, "REQUEST_LIMIT_EXCEEDED") and answer.headers["sforce-limit-info"] == "api-usage=3/3"
    finally:
        org.knobs(daily_requests=1000000)


def test_the_group_lock_is_waited_for_and_fails(org):
    org.knobs(lock_ms=300, lock_wait_ms=0)
    try:
        ids = [org.call("POST", "/sobjects/User", user(org, n)).body["id"] for n in ("a", "b")]
        role = org.id_of("UserRole", "Sales")
        bodies = [{"method": "PATCH", "url": f"{org.version}/sobjects/User/{i}", "referenceId": f"r{n}", "body": {"UserRoleId": role}}
                  for n, i in enumerate(ids)]
        answer = org.call("POST", "/composite", {"compositeRequest": bodies})
        assert [r["httpStatusCode"] for r in answer.body["compositeResponse"]] == [204, 400]
        assert answer.body["compositeResponse"][1]["body"][0]["errorCode"] == "UNABLE_TO_LOCK_ROW"
        assert org.call("PATCH", f"/sobjects/User/{ids[1]}", {"Title": "Dr"}).status == 204, "other fields need no lock"
    finally:
        org.knobs(lock_ms=0, lock_wait_ms=10000)


def test_queries(org):
    org.seed(User=[user(org, f"u{i}", Title="Dr" if i % 2 else None, Department=f"D{i % 3}") for i in range(9)])

    def names(where):
        return [r["LastName"] for r in org.query(f"SELECT LastName FROM User {where}").body["records"]]

    assert names("WHERE Title = 'Dr' AND Department IN ('D0', 'D1') ORDER BY LastName DESC LIMIT 2") == ["u7", "u3"]
    assert names("WHERE (Title = null OR Department = 'D2') AND LastName < 'u3'") == ["u0", "u2"]
    assert names("WHERE Profile.Name = 'Standard User' AND NOT_THERE__c = 1".replace("AND NOT_THERE__c = 1", "OFFSET 7")) == ["u7", "u8"]
    assert names("WHERE LastName LIKE 'u_' AND Department != 'D0'") == ["u1", "u2", "u4", "u5", "u7", "u8"]
    page = org.query("SELECT Id FROM User", **{"Sforce-Query-Options": "batchSize=4"}).body
    assert page["totalSize"] == 9 and not page["done"] and len(page["records"]) == 4
    path = page["nextRecordsUrl"].removeprefix(org.version)
    assert len(org.call("GET", path).body["records"]) == 5
    assert error(org.call("GET", "/query/01gNOTHING-2000")) == (400, "INVALID_QUERY_LOCATOR")


def test_five_thousand_creates_a_second(org, tmp_path, record_property):
    if "asan" in str(sims.build_dir()) or os.environ.get("DIRPIPE_PRESET") == "asan":
        pytest.skip("a rate under sanitizers says nothing")
    token = org.login().body["access_token"]
    script = tmp_path / "rate.lua"
    text = RATE % (f"{org.version}/sobjects/User", token, json.dumps(user(org, "nNUMBER", Alias="a")))
    script.write_text(text.replace("{[", f'{{["Host"] = "{org.instance}", [', 1))
    before, known = cpu_s(org.process.pid), org.stats()["requests"]
    subprocess.run(["wrk", "-t1", "-c32", "-d2", "-s", script, f"https://127.0.0.1:{org.port}/"], check=True, capture_output=True)
    stats, used = org.stats(), cpu_s(org.process.pid) - before
    rate = stats["creates"] / used
    record_property("creates_per_cpu_s", round(rate))
    print(f"{stats['creates']} creates, {rate:.0f} per CPU second")
    assert stats["requests"] - known <= stats["creates"] + 2 and stats["users"] == stats["creates"] and stats["duplicates"] == 0
    assert rate >= 5000
