"""Salesforce: linking, roles one at a time, the day's budget, addresses that wait for a confirmation, licences taken and given back
exactly, and what nobody may tell from its answers. SFR: the fact sheet of the service; CAP: the capabilities."""

import pytest

from pipeline import Secret
from test_workers import Salesforce, bench_of, made
from workerbroker import Worker, WorkerBroker
from world import World

HOME = "/services/data/v62.0"


@pytest.fixture
def bench(tmp_path):
    with bench_of(Salesforce, tmp_path) as b:
        yield b


def account_seed(n, **more):
    return {"Username": f"old{n}@acme.example", "LastName": f"Old{n}", "Email": f"old{n}@acme.example", "Alias": f"old{n}",
            "ProfileId": "Standard User", "TimeZoneSidKey": "GMT", "LocaleSidKey": "en_US", "EmailEncodingKey": "UTF-8",
            "LanguageLocaleKey": "en_US", "IsActive": True, **more}


def find(bench, **what):
    found = [a for a in bench.sim.dump() if all(a[k] == v for k, v in what.items())]
    assert len(found) == 1, found
    return found[0]


# ---- linking: who is who (ADSelfService's rules) ----


@pytest.fixture
def linking(tmp_path):
    """Accounts are there already, and none may be made."""
    with bench_of(Salesforce, tmp_path, create=False, options={}, join=[{"remote": "FederationIdentifier", "local": "uid"}]) as b:
        yield b


def test_SFR_L1_the_login_name_links(linking):
    linking.sim.seed(User=[account_seed(1, FederationIdentifier="anna"), account_seed(2, FederationIdentifier="bert")])
    user = made(linking, uid="anna")
    assert user.rid == find(linking, FederationIdentifier="anna")["Id"]
    assert find(linking, FederationIdentifier="anna")["Title"] == "Dr"
    assert find(linking, FederationIdentifier="bert")["Title"] is None
    assert linking.sim.stats()["creates"] == 0


def test_SFR_L2_several_attributes_joined_link(tmp_path):
    with bench_of(Salesforce, tmp_path, create=False, options={}, join=[{"remote": "EmployeeNumber", "local": "uid+'-'+dep"}]) as b:
        b.sim.seed(User=[account_seed(1, EmployeeNumber="anna-7"), account_seed(2, EmployeeNumber="anna-8")])
        user = made(b, uid="anna", dep="8")
        assert user.rid == find(b, EmployeeNumber="anna-8")["Id"]


def test_SFR_L3_unequal_is_not_linked_and_makes_no_storm(linking):
    linking.sim.seed(User=[account_seed(1, FederationIdentifier="somebody")])
    user = linking.user(uid="anna")
    for version in range(1, 4):
        user.attrs["title"], user.version = [f"T{version}"], version
        result = linking.broker.do(user)
        assert (result.verdict, result.reason) == ("parked", "no_account"), result
        assert result.requests == 1
    assert linking.sim.ledger() == [] and len(linking.sent("GET", "FederationIdentifier%20%3D")) == 3


def test_SFR_L5_none_several_and_nothing_to_compare(linking):
    linking.sim.knobs(external_unique=False)
    linking.sim.seed(User=[account_seed(1, FederationIdentifier="anna"), account_seed(2, FederationIdentifier="anna"), account_seed(3)])
    result = linking.broker.do(linking.user(uid="anna"))
    assert (result.verdict, result.reason) == ("parked", "ambiguous"), result
    result = linking.broker.do(linking.user(uid=[]))  # an account without a value is nobody's
    assert (result.verdict, result.reason) == ("parked", "no_account") or result.reason == "mandatory_missing", result
    assert linking.sim.ledger() == []


def test_SFR_L6_case_does_not_matter(linking):
    linking.sim.seed(User=[account_seed(1, FederationIdentifier="Anna.BERG")])
    assert made(linking, uid="anna.berg").rid == find(linking, FederationIdentifier="Anna.BERG")["Id"]


def test_SFR_L9_an_account_is_one_persons(tmp_path):
    with bench_of(Salesforce, tmp_path / "b", create=False, options={}, join=[{"remote": "FederationIdentifier", "local": "uid"}]) as b:
        b.sim.seed(User=[account_seed(1, FederationIdentifier="anna")])
        made(b, uid="anna")
        other = b.user(uid="anna")
        b.broker.refuse = {"claim"}  # as the real broker does: test_broker_model.c
        seq = b.last()
        result = b.broker.do(other)
        assert (result.verdict, result.reason) == ("parked", "claimed_by_other"), result
        assert b.writes(seq) == []


def test_SFR_L4_a_persons_link_holds_whatever_changes(tmp_path):
    """`dirpipe link add` joins a user with any account; no attribute undoes that, `link rm` does."""
    linked = {"create": False, "join": [{"remote": "DirectoryId__c", "local": "uid"}]}
    with World(tmp_path, users=2, targets=("crm",), groups=False, target=linked) as w:
        crm = w.services["crm"]
        crm.seed(User=[account_seed(n, DirectoryId__c=f"f{n}") for n in (1, 2)])
        w.program.wait(lambda: any(t["queue"]["parked"] == 2 for t in w.program.status()["targets"]), "nobody to be linked", 30)
        the_id, other = sorted(w.people)
        account = next(u["Id"] for u in crm.dump() if u["DirectoryId__c"] == "f2")
        w.program.cli("link", "add", "crm", the_id, account)

        def title(version):
            return next(u["Title"] for u in crm.dump() if u["Id"] == account) == version

        first = w.bump(the_id)
        w.program.wait(lambda: title(first), "the change at the account that was named", 30)
        w.rename(the_id)
        last = w.bump(the_id)
        w.program.wait(lambda: title(last), "the change after a new name", 30)
        refused = w.program.cli("link", "add", "crm", other, account, check=False)
        assert refused.returncode != 0, "an account is one person's (SFR L9)"
        w.program.cli("link", "rm", "crm", the_id)
        w.bump(the_id)
        w.bump(other)
        w.program.wait(lambda: w.idle(), "nothing to be left to do", 30)
        assert title(last) and crm.stats()["creates"] == 0


# ---- values ----


def test_CAP_C14_a_value_that_is_gone_is_cleared(bench):
    user = made(bench)
    for name, field in (("dep", "Department"), ("gn", "FirstName"), ("title", "Title")):
        user.attrs[name], user.version = [], user.version + 1
        assert bench.broker.do(user).verdict == "done"
        assert bench.service.account(user)[field] is None
    user.attrs["sn"], user.version = [], user.version + 1  # nobody is without a last name
    result = bench.broker.do(user)
    assert (result.verdict, result.reason) == ("parked", "mandatory_missing"), result
    assert bench.service.account(user)["LastName"] == "Berg"


def test_SFR_A4_what_a_new_user_needs_is_there(bench):
    made(bench, uid="a.very.long.name")
    account = find(bench, Username="a.very.long.name@contoso.com")
    assert account["Alias"] == "a.very.l" and account["LocaleSidKey"] == "en_US" and account["TimeZoneSidKey"] == "GMT"
    assert account["CommunityNickname"] and account["Profile"] == "Standard User" and account["IsActive"]


def test_SFR_A6_refusals_in_all_shapes_are_told_apart(bench):
    """An array, a bare object, a row of a collection: the same word means the same."""
    for bare in ("", "1"):
        bench.sim.knobs(bare_error=bare)
        user = made(bench)
        user.attrs["title"], user.version = ["x" * 81], 2
        result = bench.broker.do(user)
        assert (result.verdict, result.reason) == ("rejected", "too_long"), result
    users = [bench.user() for _ in range(6)]
    users[1].attrs["mail"], users[4].attrs["title"] = ["no address"], ["x" * 81]
    results = bench.broker.do_all(users)
    assert [r.reason for r in results] == ["", "invalid_value", "", "", "too_long", ""], results
    assert len([r for r in bench.sent("PATCH", "/composite/sobjects/User/DirectoryId__c")]) >= 1


def test_SFR_A9_without_a_seat_the_user_waits(bench):
    bench.sim.seed(seats=[{"Name": "Salesforce", "TotalLicenses": 1}])
    first = made(bench)
    second = bench.user()
    result = bench.broker.do(second)
    assert (result.verdict, result.reason, result.waits) == ("parked", "no_seat", "seat:user"), result
    first.enabled, first.version = False, 2
    assert bench.broker.do(first, permits=["disable"]).verdict == "done"
    assert bench.broker.do(second).verdict == "done"


# ---- addresses ----


def test_SFR_A11_a_changed_address_is_asked_for_once(bench):
    user = made(bench)
    old = user.attrs["mail"][0]
    user.attrs["mail"], user.version = [old.replace("@", ".new@")], 2
    assert bench.broker.do(user).verdict == "done"
    account = bench.service.account(user)
    assert (account["Email"], account["PendingEmail"]) == (old, user.attrs["mail"][0])
    seq = bench.last()
    for verify in (True, False, True):  # reads show the old one: nothing is written again
        user.attrs["title"], user.version = [f"T{user.version}"], user.version + 1
        assert bench.broker.do(user, verify=verify).verdict == "done"
    assert not [w for w in bench.sim.ledger(seq) if "Email" in w["body"]]
    bench.broker.offset_ms = 15 * 24 * 3600 * 1000  # unconfirmed for long: asked for again
    assert bench.broker.do(user, verify=True).ops == ["update"]
    bench.sim.seed(confirm=[{"Username": account["Username"]}])
    seq = bench.last()
    assert bench.broker.do(user, verify=True).verdict == "done" and bench.writes(seq) == []


# ---- creation done twice, race and cut ----


@pytest.mark.parametrize("options", [{"external_id": "DirectoryId__c"}, {}], ids=["upsert", "insert"])
def test_CAP_C15_cut_after_every_kind_of_creation(tmp_path, options):
    """Alone and in a collection, by upsert and by POST: the answer is lost after the commit, and there is one account each."""
    join = [{"remote": "DirectoryId__c" if options else "Username", "local": "id" if options else "mail"}]
    with bench_of(Salesforce, tmp_path, options=options, join=join, settle="1s") as b:
        one, many = b.user(), [b.user() for _ in range(20)]
        b.broker.wait(lambda: b.broker.worker, what="READY")
        b.sim.faults([{"match": {"path_prefix": f"{HOME}/sobjects/User", "inner": False}, "do": {"cut": "after_commit"}, "times": 1}])
        result = b.broker.do(one)
        assert result.unknown and one.link == "creating", result
        assert b.broker.do(one).verdict == "done"
        b.sim.faults([{"match": {"method": "PATCH" if options else "POST", "path_prefix": f"{HOME}/composite/sobjects"},
                       "do": {"cut": "after_commit"}, "times": 1}])
        results = b.broker.do_all(many)
        assert any(r.unknown for r in results)
        for user, result in zip(many, results, strict=True):
            if result.verdict != "done":
                user.version += 1
        results = b.broker.do_all(many)
        assert [r.verdict for r in results] == ["done"] * 20, results
        assert len(b.sim.dump()) == 21 and b.sim.stats()["duplicates"] == 0
        assert len({u.rid for u in [one, *many]}) == 21


def test_CAP_C15_created_while_it_is_looked_for(bench):
    """Somebody else makes the account between our look and our write: the upsert finds it."""
    user = bench.user()
    bench.sim.seed(User=[account_seed(1, DirectoryId__c=str(user.id))])
    bench.sim.faults([{"match": {"method": "GET", "path_prefix": f"{HOME}/query"}, "do": {
        "status": 200, "body": {"totalSize": 0, "done": True, "records": []}}, "times": 1}])
    assert bench.broker.do(user).verdict == "done"
    assert len(bench.sim.dump()) == 1 and bench.service.account(user)["Title"] == "Dr"


def test_a_key_that_is_not_unique_parks(tmp_path):
    with bench_of(Salesforce, tmp_path, options={"external_id": "Badge__c"}, join=[{"remote": "Badge__c", "local": "uid"}]) as b:
        code, text = b.worker.run("--check")
        assert code == 1 and "Badge__c: must be an External ID and Unique" in text


# ---- names ----


def test_names_are_resolved_and_learned_anew(tmp_path):
    mapping = Salesforce(tmp_path / "x").target()["mapping"] | {"ProfileId": "prof"}
    with bench_of(Salesforce, tmp_path, mapping=mapping) as b:
        user = b.user(prof="Nurses")
        result = b.broker.do(user)
        assert (result.verdict, result.reason) == ("parked", "unknown_name") and not b.sim.dump(), result
        b.sim.seed(Profile=[{"Name": "Nurses", "UserLicenseId": "Salesforce"}])
        user.version += 1
        assert b.broker.do(user).verdict == "done"
        assert b.service.account(user)["Profile"] == "Nurses"
        asked = len(b.sent("GET", "Nurses"))
        assert b.broker.do(b.user(prof="Nurses")).verdict == "done"
        assert len(b.sent("GET", "Nurses")) == asked, "known by now"
        user.attrs["prof"], user.version = ["Standard User"], user.version + 1
        assert b.broker.do(user).verdict == "done" and b.service.account(user)["Profile"] == "Standard User"


# ---- who leaves ----


@pytest.mark.parametrize("by", ["deactivate", "freeze", "both"])
def test_SFR_A9_leavers_are_kept_out_and_let_in_again(tmp_path, by):
    with bench_of(Salesforce, tmp_path, options={"external_id": "DirectoryId__c", "disable_by": by}, leave="delete",
                  delete_after="1h") as b:
        user = made(b)
        user.inside = False
        assert b.broker.do(user).wants[0] == "disable"
        assert b.service.enabled(b.service.account(user))
        assert b.broker.do(user, permits=["disable"]).verdict == "done" and user.link == "disabled"
        account = b.service.account(user)
        assert (account["IsActive"], account["IsFrozen"]) == {"deactivate": (False, False), "freeze": (True, True), "both": (False, True)}[by]
        b.broker.offset_ms = 2 * 3600 * 1000
        assert b.broker.do(user, permits=["delete"]).verdict == "done" and b.service.account(user), "users are never deleted"
        user.inside, user.version = True, 2
        assert b.broker.do(user).verdict == "done" and user.link == "active"
        account = b.service.account(user)
        assert (account["IsActive"], account["IsFrozen"]) == (True, False)
        assert b.sim.stats()["creates"] == 1 and not [w for w in b.sim.ledger() if w["method"] == "DELETE"]


def test_SFR_A6_who_cannot_be_deactivated_is_frozen_and_listed(tmp_path):
    with bench_of(Salesforce, tmp_path, options={"external_id": "DirectoryId__c", "disable_by": "both"},
                  mapping=Salesforce(tmp_path / "x").target()["mapping"] | {"ProfileId": {"const": "System Administrator"}}) as b:
        user = made(b)
        user.enabled, user.version = False, 2
        result = b.broker.do(user, permits=["disable"])
        assert (result.verdict, result.reason) == ("rejected", "cannot_deactivate"), result
        assert b.service.account(user)["IsFrozen"] and b.service.account(user)["IsActive"]


def test_privileged_accounts_are_never_joined_softly(tmp_path):
    with bench_of(Salesforce, tmp_path, options={"external_id": "DirectoryId__c"},
                  join=[{"remote": "DirectoryId__c", "local": "id"}, {"remote": "Email", "local": "mail", "soft": True}]) as b:
        b.sim.seed(User=[account_seed(1, Email="root@contoso.com", ProfileId="System Administrator"),
                         account_seed(2, Email="anna@contoso.com")])
        assert b.broker.do(b.user(uid="root")).reason == "privileged"
        assert b.broker.do(b.user(uid="anna")).reason == "soft_match"
        assert b.sim.ledger() == []


# ---- tokens ----


def test_a_refused_session_is_fetched_once_more_and_replayed_once(bench):
    user = made(bench)
    tokens = bench.sim.stats()["tokens"]
    bench.sim.faults([{"match": {"path_prefix": f"{HOME}/sobjects"}, "do": {"status": 401, "body": [
        {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]}, "times": 1}])
    user.attrs["title"], user.version = ["Prof"], 2
    result = bench.broker.do(user)
    assert result.verdict == "done" and result.requests == 2, result
    assert bench.sim.stats()["tokens"] == tokens + 1
    bench.sim.faults([{"match": {"path_prefix": f"{HOME}/sobjects"}, "do": {"status": 401, "body": [
        {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]}}])
    user.attrs["title"], user.version = ["Dr"], 3
    result = bench.broker.do(user)
    assert result.verdict == "auth_failed" and result.requests == 2, result


@pytest.mark.parametrize("way", ["client_secret", "basic", "jwt", "password"])
def test_CAP_P8_P9_P10_every_way_to_log_in(tmp_path, way):
    service = Salesforce(tmp_path / "sim")
    sim, auth = service.sim, {"client_id": service.sim.client_id, "api_hosts": ["localhost:0"]}
    more = {"client_secret": {"method": "client_secret", "client_secret": Secret(sim.client_secret_file)},
            "basic": {"method": "client_secret", "client_secret": Secret(sim.client_secret_file), "basic": True},
            "jwt": {"method": "jwt", "private_key": Secret(sim.client_key), "username": sim.username,
                    "audience": "https://login.salesforce.com"},
            "password": {"method": "password", "username": sim.username, "password": Secret(sim.password_file),
                         "security_token": Secret(sim.security_token_file), "client_secret": Secret(sim.client_secret_file)}}[way]

    class Way(Salesforce):
        def __init__(self, folder, **options):
            self.sim, self.more = sim, {}

        def target(self):
            return super().target() | {"auth": {**auth, **more, "api_hosts": [sim.instance]}}

    with bench_of(Way, tmp_path) as b:
        made(b)
        assert {r["path"].split("?")[0].split("/")[1] for r in b.sim.requests()} == {"services"}
        code, text = b.worker.run("--check")
        assert code == 0, text
        assert ("is being retired" in text) == (way == "password")
        assert ("is being retired" in b.worker.log_text()) == (way == "password")
        log = b.worker.log_text() + text
        assert sim.password not in log and sim.security_token not in log and sim.client_secret not in log


def test_the_token_may_not_send_us_anywhere(bench):
    """The answer of the token server names another host: nothing is sent there."""
    bench.sim.knobs(instance_url="https://salesforce.com.evil.example")
    code, text = bench.worker.run("--check")
    assert code == 1 and "an address of the API that is not allowed (auth.api_hosts)" in text


@pytest.mark.parametrize("knobs,auth,words", [
    ({"api_error": "403 API_DISABLED_FOR_ORG"}, {}, "no API access"),  # CAP P4
    ({}, {"client_id": "3MVG9.nobody"}, "there is no app with this auth.client_id"),  # CAP P5
    ({"run_as_user": False}, {}, "the app needs a run-as user"),
    ({}, {"method": "jwt"}, "auth.audience must be"),
    ({"approved": False}, {"method": "jwt", "audience": "https://login.salesforce.com"}, "must pre-authorize auth.username"),
    ({}, {"method": "password", "wrong": True}, "auth.security_token is wrong"),  # CAP P9
])
def test_CAP_P4_P5_P14_check_says_what_is_missing(tmp_path, knobs, auth, words):
    service = Salesforce(tmp_path / "sim", knobs=knobs)
    sim, auth = service.sim, dict(auth)
    given = {"method": "client_secret", "client_id": sim.client_id, "client_secret": Secret(sim.client_secret_file)}
    if auth.get("method") == "jwt":
        given |= {"private_key": Secret(sim.client_key), "username": sim.username}
    if auth.pop("wrong", None):
        given |= {"username": sim.username, "password": Secret(sim.password_file), "security_token": Secret(sim.client_secret_file)}
    with sim:
        with WorkerBroker(tmp_path / "b") as broker:
            target = service.target() | {"auth": {**given, **auth, "api_hosts": [sim.instance]}}
            code, text = Worker(broker, tmp_path / "w", target).run("--check")
    assert code == 1 and words in text, text


def test_CAP_P18_check_tells_versions_fields_and_the_days_requests(bench):
    code, text = bench.worker.run("--check")
    assert code == 0, text
    assert "API 62.0 at https://localhost:" in text and "API requests of the day are used" in text
    code, text = bench.worker.run("--list")
    assert code == 0
    bench.worker.conf["targets"]["app"]["mapping"]["Nix__c"] = "title"
    code, text = bench.worker.run("--check")
    assert code == 1 and "Nix__c: there is no such field, or it is hidden" in text
    bench.worker.conf["targets"]["app"]["options"]["api_version"] = 99
    code, text = bench.worker.run("--check")
    assert code == 1 and "has no version 99.0 (the newest is 65.0)" in text


# ---- budgets ----


def test_SFR_A8_the_days_budget_is_not_used_up(tmp_path):
    """Slower from 85 % on, and at 95 % a pause that says why; nobody's attempts grow, all arrive when the day is over."""
    with World(tmp_path, users=4, targets=("crm",), groups=False, target={"options": {"batch": 1}}) as w:
        crm = w.services["crm"]
        w.settle()
        crm.knobs(daily_requests=crm.stats()["api_used"] + 60)
        for _ in range(12):
            w.load(6, ["update"])
            w.program.wait(lambda: True, "a step")

        def paused():
            pause = w.program.status()["targets"][0]["pause"]
            if pause and pause["why"] == "daily_limit":
                return pause
            w.load(2, ["update"])
            return None

        w.program.wait(paused, "the pause", 60)
        used = crm.stats()["api_used"]
        assert used < crm.knobs()["daily_requests"], "something is left for others"
        assert not crm.stats()["by_status"].get("403")
        crm.clock(25 * 3600 * 1000)  # the next day
        w.program.restart("worker:crm")
        w.program.ask("resume", target="crm")
        w.settle(60)
        t = w.program.status()["targets"][0]
        assert t["queue"]["dead"] == 0 and t["totals"]["verdicts"]["rejected"] == 0


@pytest.mark.parametrize("message,after_ms,reason", [
    ("TotalRequests Limit exceeded.", 300000, "daily_limit"),
    ("ConcurrentRequests (Concurrent API Requests) Limit exceeded.", 5000, "concurrent_limit")])
def test_SFR_A8_limits_said_by_the_service_pause_the_target(bench, message, after_ms, reason):
    user = made(bench)
    bench.sim.faults([{"match": {"path_prefix": f"{HOME}/sobjects"}, "do": {"status": 403, "body": [
        {"message": message, "errorCode": "REQUEST_LIMIT_EXCEEDED"}]}, "times": 1}])
    user.attrs["title"], user.version = ["Prof"], 2
    result = bench.broker.do(user)
    assert (result.verdict, result.reason, result.after_ms) == ("throttled", reason, after_ms), result


# ---- one at a time ----


def test_SFR_A8_roles_go_one_at_a_time_over_all_workers(tmp_path):
    """Four workers, and the org's lock is never met: not one UNABLE_TO_LOCK_ROW. Other writes do not wait for it."""
    with World(tmp_path, users=40, targets=("crm",), groups=False, workers={"crm": 4},
               target={"mapping": {"UserRoleId": {"const": "Sales"}}}) as w:
        crm = w.services["crm"]
        crm.knobs(lock_ms=10, lock_wait_ms=0)

        def all_have(role):
            return lambda: len(crm.dump()) == 40 and all(u["UserRole"] == role for u in crm.dump())

        w.program.wait(all_have("Sales"), "the roles", 60)
        w.settle()
        stats = crm.stats()
        assert stats["lock_refused"] == 0 and stats["lock_writes"] == 40
        assert len({e["user_agent"] for e in crm.ledger()}) == 1


def test_a_lock_that_others_hold_is_waited_for(bench):
    user = made(bench)
    bench.sim.faults([{"match": {"path_prefix": f"{HOME}/sobjects"}, "do": {"status": 400, "body": [
        {"message": "unable to obtain exclusive access to this record", "errorCode": "UNABLE_TO_LOCK_ROW"}]}, "times": 1}])
    user.attrs["title"], user.version = ["Prof"], 2
    result = bench.broker.do(user)
    assert (result.verdict, result.reason) == ("retry", "locked"), result
    assert bench.broker.do(user).verdict == "done"


# ---- licences and permission sets ----


RULES = {"licences": [{"group": "staff", "sku": "SalesConsole"}],
         "groups": [{"group": "staff", "remote": "Sales_Ops"}, {"group": "staff", "remote": "All_Sales", "kind": "group"}]}


def holdings(crm, the_id):
    u = next(u for u in crm.dump() if u["DirectoryId__c"] == the_id)
    return sorted(u["PermissionSets"]), u["PermissionSetLicenses"], u["Groups"], u["IsActive"]


def test_CAP_P20_P23_taken_and_given_back_exactly(tmp_path):
    """What a person added by hand is taken with the rest and comes back with it; what never was there does not come."""
    policy = {"revoke_when": ["disabled"], "groups": True}
    with World(tmp_path, users=12, targets=("crm",), workers={"crm": 2}, target={**RULES, "licence_policy": policy}) as w:
        crm = w.services["crm"]
        crm.knobs(lock_ms=2, lock_wait_ms=0)
        given = (["Sales_Ops"], ["SalesConsole"], ["All Sales"], True)
        w.program.wait(lambda: len(crm.dump()) == 12 and sum(holdings(crm, i) == given for i in w.people) == 8, "the rules", 60)
        w.settle()
        the_id = next(i for i in w.people if holdings(crm, i) == given)
        account = next(u["Id"] for u in crm.dump() if u["DirectoryId__c"] == the_id)
        crm.call("POST", "/sobjects/PermissionSetAssignment", {"AssigneeId": account,
                                                               "PermissionSetId": crm.id_of("PermissionSet", "Support_Ops")})
        w.disable(the_id)
        w.program.wait(lambda: holdings(crm, the_id) == ([], [], [], False), "everything to be taken", 60)
        w.enable(the_id)
        back = (["Sales_Ops", "Support_Ops"], ["SalesConsole"], ["All Sales"], True)
        w.program.wait(lambda: holdings(crm, the_id) == back, "everything to be back", 60)
        w.settle()
        assert holdings(crm, the_id) == back and crm.stats()["lock_refused"] == 0


def test_SFR_V9_the_policy_may_freeze_instead(tmp_path):
    policy = {"revoke_when": ["disabled"], "action": "freeze"}
    with World(tmp_path, users=6, targets=("crm",), target={**RULES, "licence_policy": policy}) as w:
        crm = w.services["crm"]
        w.settle()
        w.program.wait(lambda: sum(u["PermissionSetLicenses"] == ["SalesConsole"] for u in crm.dump()) == 4, "the rules", 30)
        the_id = next(u["DirectoryId__c"] for u in crm.dump() if u["PermissionSetLicenses"])

        def frozen(want):
            return lambda: next(u["IsFrozen"] for u in crm.dump() if u["DirectoryId__c"] == the_id) == want

        w.disable(the_id)
        w.program.wait(frozen(True), "the freeze", 30)
        assert holdings(crm, the_id)[1] == ["SalesConsole"]
        w.enable(the_id)
        w.program.wait(frozen(False), "the thaw", 30)
        w.settle()


def test_CAP_C12_a_licence_without_a_seat_is_waited_for(tmp_path):
    """Four want it, there are three: who waits gets it when somebody's is taken, without a person's help."""
    with World(tmp_path, users=6, targets=("crm",), target={**RULES, "licence_policy": {"revoke_when": ["disabled"]}}) as w:
        crm = w.services["crm"]
        crm.seed(seats=[{"Name": "SalesConsole", "TotalLicenses": 3}])

        def have():
            return {u["DirectoryId__c"] for u in crm.dump() if u["PermissionSetLicenses"]}

        w.program.wait(lambda: any(t["queue"]["parked"] == 1 for t in w.program.status()["targets"]), "one to wait", 60)
        first = have()
        assert len(first) == 3 and sum(bool(u["PermissionSets"]) for u in crm.dump()) == 4, "the rest of that user went on"
        w.disable(sorted(first)[0])
        w.program.wait(lambda: len(have() - first) == 1, "the seat to be taken", 40)


# ---- killed, cut, in order ----


def test_GOALS_F2_workers_killed_at_every_point(tmp_path):
    """The walk of test_crash_walk.py at this driver's worker, with cuts after the commit of whatever is sent meanwhile."""
    points = ["task_received", "before_request", "after_response", "before_result", "result_sent"]
    with World(tmp_path, users=25, seed=61, targets=("crm",), groups=False, broker={"lease": "1s", "grace": "200ms"}) as w:
        crm = w.services["crm"]
        w.settle()
        for turn, point in enumerate(points):
            crm.faults([{"match": {"path_prefix": f"{HOME}/{path}", "inner": False, "nth": 2}, "do": {"cut": "after_commit"},
                         "times": 1} for path in ("sobjects/User", "composite")])
            w.program.restart("worker:crm", crash_at=f"worker.{point}:{2 + turn}")
            w.load(12, ["create", "create", "update", "rename", "delete", "disable", "enable"])
            w.program.wait(lambda: w.program.died("worker:crm") is not None or w.bump(w.pick()) == "", f"the end at {point}", 20)
            w.program.restart("worker:crm")
            w.settle(60)
        crm.faults([])
        w.settle()
        assert crm.stats()["faults"] > 0
        assert len(crm.dump()) == len(w.ever), "accounts are users, none twice"


def test_everything_that_is_configured_wrongly_is_told_at_once(bench):
    bench.broker.wait(lambda: bench.broker.worker, what="READY")  # it has read its configuration
    target = bench.worker.conf["targets"]["app"]
    target["mapping"] |= {"IsActive": "title", "Name": "cn", "a b": "cn"}
    del target["mapping"]["ProfileId"]
    target["options"] |= {"disable_by": "magic", "nix": 1}
    code, text = bench.worker.run("--check")
    assert code == 78
    for words in ("mapping.IsActive: is written by itself", "mapping.Name: cannot be written", "mapping.a b: expected the name",
                  "mapping.ProfileId: is missing", "options.disable_by: expected one of deactivate|freeze|both", "options.nix: unknown key"):
        assert words in text, (words, text)
    target["options"] = {"external_id": "DirectoryId__c"}
    target["join"] = [{"remote": "Email", "local": "mail"}]
    target["mapping"] = Salesforce(bench.worker.folder / "x").target()["mapping"]
    code, text = bench.worker.run("--check")
    assert code == 78 and "the first rule must be options.external_id, DirectoryId__c" in text


def test_SFR_A5_awkward_values_arrive_as_data(bench):
    """What ends a text in SOQL, a path or JSON."""
    for i, value in enumerate(["O'Brien", "a\\'b", "x') OR (Id != '", "50%25", "<br>&amp;", "Ünïcödé 漢字", 'say "hi"']):
        user = made(bench, uid=f"awk{i}", sn=value)
        assert bench.service.account(user)["LastName"] == value
