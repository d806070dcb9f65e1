"""The real dirpipe-worker against the simulators over TLS, told what to do by a scripted broker."""

import contextlib
import time

import pytest

import sims
from pipeline import Secret
from workerbroker import Worker, WorkerBroker

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class Scim:
    """What tests need to know of the SCIM service, and how its accounts look."""

    kind = "scim"
    deletes = True
    name_field = "userName"
    batches = False
    refresh = True
    domain = "contoso.com"  # one of the tenant's
    creates = {"method": "POST", "path_prefix": "/scim/v2/Users"}
    updates = {"method": "PATCH", "path_prefix": "/scim/v2/Users"}

    def __init__(self, folder, knobs=None, **target):
        self.sim = sims.ScimSim(folder, knobs=knobs)
        self.more = target

    def target(self):
        return {
            "driver": "scim", "url": self.sim.url, "tls": {"ca_file": self.sim.ca_file},
            "auth": {"method": "bearer", "token": Secret(self.sim.token_file)},
            "mapping": {"userName": "mail", "externalId": "id", "displayName": "cn", "title": "title", "name.givenName": "gn",
                        "name.familyName": "sn", "emails": {"all": "mail"}, ENTERPRISE + ".department": "dep"},
            "join": [{"remote": "externalId", "local": "id"}], **self.more}

    def account(self, user):
        found = [a for a in self.sim.dump() if a.get("externalId") == str(user.id)]
        assert len(found) <= 1, found
        return found[0] if found else None

    def key(self, user):
        return str(user.id)

    def remote_id(self, account):
        return account["id"]

    def shown(self, account):
        return account["displayName"]

    def name(self, account):
        return account["userName"]

    def enabled(self, account):
        return account["active"]

    def title(self, account):
        return account.get("title")

    def manager(self, account):
        return account.get(ENTERPRISE, {}).get("manager", {}).get("value")


class Graph(Scim):
    kind = "graph"
    name_field = "userPrincipalName"
    batches = True
    creates = {"method": "POST", "path_prefix": "/v1.0/users"}
    updates = {"method": "PATCH", "path_prefix": "/v1.0/users"}

    def __init__(self, folder, knobs=None, **target):
        self.sim = sims.GraphSim(folder, knobs=knobs)
        self.more = target

    def target(self):
        return {
            "driver": "graph", "url": self.sim.url, "login_url": self.sim.login_url, "tenant": self.sim.tenant,
            "tls": {"ca_file": self.sim.ca_file},
            "auth": {"method": "client_secret", "client_id": self.sim.client_id,
                     "client_secret": Secret(self.sim.client_secret_file)},
            "mapping": {"userPrincipalName": "mail", "onPremisesImmutableId": "immutable_id", "displayName": "cn",
                        "mailNickname": "uid", "jobTitle": "title", "givenName": "gn", "surname": "sn", "department": "dep",
                        "usageLocation": {"const": "DE"}},
            "join": [{"remote": "onPremisesImmutableId", "local": "immutable_id"}], **self.more}

    def account(self, user):
        found = [a for a in self.sim.dump() if a.get("onPremisesImmutableId") == user.immutable_id]
        assert len(found) <= 1, found
        return found[0] if found else None

    def key(self, user):
        return user.immutable_id

    def name(self, account):
        return account["userPrincipalName"]

    def enabled(self, account):
        return account["accountEnabled"]

    def title(self, account):
        return account.get("jobTitle")

    def manager(self, account):
        return account.get("manager")


class Salesforce(Scim):
    kind = "salesforce"
    name_field = "Username"
    deletes = False
    batches = True
    creates = {"method": "PATCH", "path_prefix": "/services/data/v62.0/sobjects/User"}
    updates = creates

    def __init__(self, folder, knobs=None, **target):
        self.sim = sims.SalesforceSim(folder, knobs=knobs)
        self.more = target

    def target(self):
        return {
            "driver": "salesforce", "url": self.sim.url, "tls": {"ca_file": self.sim.ca_file},
            "auth": {"method": "client_secret", "client_id": self.sim.client_id, "api_hosts": [self.sim.instance],
                     "client_secret": Secret(self.sim.client_secret_file)},
            "mapping": {"Username": "mail", "LastName": "sn", "FirstName": "gn", "Email": "mail", "Title": "title", "Department": "dep",
                        "CompanyName": "cn", "ProfileId": {"const": "Standard User"}},
            "options": {"external_id": "DirectoryId__c"},
            "join": [{"remote": "DirectoryId__c", "local": "id"}], **self.more}

    def account(self, user):
        found = [a for a in self.sim.dump() if a["DirectoryId__c"] == str(user.id)]
        assert len(found) <= 1, found
        return found[0] if found else None

    def name(self, account):
        return account["Username"]

    def remote_id(self, account):
        return account["Id"]

    def shown(self, account):
        return account["CompanyName"]

    def enabled(self, account):
        return account["IsActive"] and not account["IsFrozen"]

    def title(self, account):
        return account["Title"]

    def manager(self, account):
        return account["ManagerId"]


KINDS = [Scim, Graph, Salesforce]


class Bench:
    def __init__(self, service, broker, worker, domain):
        self.service, self.broker, self.worker, self.domain = service, broker, worker, domain
        self.sim = service.sim
        self.n = 0

    def user(self, **attrs):
        self.n += 1
        uid = attrs.pop("uid", f"u{self.n}")
        base = {"uid": uid, "mail": f"{uid}@{self.domain}", "cn": f"User {uid}", "gn": "Anna", "sn": "Berg", "title": "Dr",
                "dep": "R&D"}
        return self.broker.add(**{**base, **attrs})

    def writes(self, since=0):
        return [e["kind"] for e in self.sim.ledger(since=since)]

    def last(self):
        entries = self.sim.ledger()
        return entries[-1]["seq"] if entries else 0

    def sent(self, method=None, part=""):
        return [r for r in self.sim.requests() if method in (None, r["method"]) and part in r["path"]]


@contextlib.contextmanager
def bench_of(kind, folder, knobs=None, **target):
    service = kind(folder / "sim", knobs=knobs, **target)
    with service.sim, WorkerBroker(folder / "b") as broker, Worker(broker, folder / "w", service.target()) as worker:
        yield Bench(service, broker, worker, service.domain)


@pytest.fixture(params=KINDS, ids=lambda k: k.kind)
def kind(request):
    return request.param


@pytest.fixture
def bench(kind, tmp_path):
    with bench_of(kind, tmp_path) as b:
        yield b


def made(bench, **attrs):
    user = bench.user(**attrs)
    result = bench.broker.do(user)
    assert result.verdict == "done", result
    return user


# ---- the life of an account ----


def test_create_update_disable_enable(bench):
    broker, service = bench.broker, bench.service
    user = bench.user()
    result = broker.do(user)
    assert (result.verdict, result.ops, user.link) == ("done", ["create"], "active"), result
    assert user.notes[0] == "creating"
    account = service.account(user)
    assert service.remote_id(account) == user.rid and service.enabled(account) and service.title(account) == "Dr"
    assert service.name(account) == user.attrs["mail"][0]

    # nothing changed: no request at all
    before = len(bench.sim.requests())
    assert broker.do(user).requests == 0
    assert len(bench.sim.requests()) == before

    user.attrs["title"], user.version = ["Prof"], 2
    result = broker.do(user)
    assert (result.verdict, result.ops) == ("done", ["update"]), result
    assert service.title(service.account(user)) == "Prof"

    user.attrs["title"], user.version = [], 3
    assert broker.do(user).verdict == "done"
    assert not service.title(service.account(user))

    # disabling is held without a permit, the rest goes on
    user.enabled, user.attrs["cn"], user.version = False, ["Renamed"], 4
    result = broker.do(user)
    assert (result.verdict, result.wants) == ("done", ["disable"]), result
    assert service.enabled(service.account(user)) and service.shown(service.account(user)) == "Renamed"
    result = broker.do(user, permits=["disable"])
    assert (result.verdict, user.link) == ("done", "disabled"), result
    assert not service.enabled(service.account(user))

    user.enabled, user.version = True, 5
    result = broker.do(user)
    assert result.verdict == "done" and user.link == "active", result
    assert service.enabled(service.account(user))
    assert bench.sim.stats()["creates"] == 1


def test_verify_of_an_equal_account_writes_nothing(bench):
    user = made(bench)
    seq = bench.last()
    result = bench.broker.do(user, verify=True)
    assert (result.verdict, result.ops) == ("done", []) and result.requests >= 1, result
    assert bench.writes(seq) == []


def test_verify_mends_what_somebody_changed(bench):
    user = made(bench)
    service = bench.service
    user.attrs["title"], user.version = ["Prof"], 2
    bench.broker.do(user)
    user.attrs["title"], user.version = ["Dr"], 3
    bench.broker.do(user)
    user.applied = bytes(16)  # as after a lease that ended
    result = bench.broker.do(user)
    assert (result.verdict, result.ops) == ("done", []), result
    assert service.title(service.account(user)) == "Dr"


def test_leaver_is_disabled_then_deleted(kind, tmp_path):
    with bench_of(kind, tmp_path, leave="delete", delete_after="1h") as bench:
        user = made(bench)
        user.inside = False
        assert bench.broker.do(user).wants == ["disable"]
        result = bench.broker.do(user, permits=["disable"])
        assert (result.verdict, user.link) == ("done", "disabled"), result
        assert result.record["look_again_unix_ms"] > 0
        bench.broker.offset_ms = 2 * 3600 * 1000
        if not bench.service.deletes:
            assert bench.broker.do(user).wants == [] and bench.service.account(user)
            return
        assert bench.broker.do(user).wants == ["delete"]
        assert bench.service.account(user)
        result = bench.broker.do(user, permits=["delete"])
        assert (result.verdict, result.ops, user.link) == ("done", ["delete"], "deleted"), result
        assert not bench.service.account(user)


def test_found_account_is_claimed(bench):
    first = made(bench)
    again = bench.user()
    again.id, again.attrs = first.id, {**first.attrs, "title": ["Prof"]}
    result = bench.broker.do(again)
    assert (result.verdict, again.rid) == ("done", first.rid), result
    assert again.notes == ["creating", "claim"]
    assert bench.sim.stats()["creates"] == 1
    other = bench.user()
    other.id, other.attrs = first.id, dict(first.attrs)
    bench.broker.refuse = {"claim"}
    seq = bench.last()
    result = bench.broker.do(other)
    assert (result.verdict, result.reason) == ("parked", "claimed_by_other"), result
    assert bench.writes(seq) == []


def test_manager(bench):
    boss, user = bench.user(), bench.user()
    user.refs = {"manager": boss}
    result = bench.broker.do(user)
    assert result.verdict == "done", result
    assert [r["id"] for r in result.record["owed"]] == [boss.id.bytes]
    assert not bench.service.manager(bench.service.account(user))
    bench.broker.do(boss)
    result = bench.broker.do(user)
    assert result.verdict == "done", result
    assert bench.service.manager(bench.service.account(user)) == boss.rid
    user.refs, user.version = {}, 2
    assert bench.broker.do(user).verdict == "done"
    assert not bench.service.manager(bench.service.account(user))


# ---- what goes wrong ----


def test_name_taken_is_parked(bench):
    holder = made(bench, uid="same")
    other = bench.user(uid="same")
    result = bench.broker.do(other)
    assert (result.verdict, result.reason) == ("parked", "name_taken"), result
    assert bench.domain not in result.detail  # redacted
    user = made(bench)
    user.attrs["mail"], user.version = [f"same@{bench.domain}"], 2
    result = bench.broker.do(user)
    assert (result.verdict, result.reason) == ("parked", "name_taken"), result
    assert result.waits == f"holder:{bench.service.name_field}={holder.rid}"


def test_a_name_is_given_up_where_the_broker_asks_for_it(bench):
    """By its word alone: a user who waits steps aside once; a leaver's disabled account takes another name, and gets its own with the
    return."""
    ask = [f"yield:{bench.service.name_field}"]
    first, second = made(bench, uid="one"), made(bench, uid="two")
    second.attrs["mail"], second.version = first.attrs["mail"], 2
    result = bench.broker.do(second)
    assert (result.verdict, result.ops) == ("parked", []), result
    result = bench.broker.do(second, permits=ask)
    assert (result.verdict, result.ops) == ("parked", ["yield"]), result
    name = bench.service.name(bench.service.account(second))
    assert name.startswith("two-") and name.endswith(f"@{bench.domain}")
    result = bench.broker.do(second, permits=ask)
    assert (result.verdict, result.ops) == ("parked", []), "it has stepped aside already"

    first.gone, first.version = True, 2
    assert "disable" in bench.broker.do(first, permits=["disable"]).ops
    result = bench.broker.do(first, permits=ask)
    assert (result.verdict, result.ops) == ("done", ["yield"]), result
    assert bench.service.name(bench.service.account(first)).startswith("one-")
    result = bench.broker.do(second)
    assert result.verdict == "done" and bench.service.name(bench.service.account(second)) == f"one@{bench.domain}", result
    result = bench.broker.do(first, permits=ask)
    assert (result.verdict, result.ops) == ("done", []) and not bench.service.enabled(bench.service.account(first)), "once is enough"
    second.attrs["mail"], second.version = [f"two@{bench.domain}"], 3
    assert bench.broker.do(second).verdict == "done"
    first.gone, first.version = False, 3
    assert bench.broker.do(first).verdict == "done"
    account = bench.service.account(first)
    assert bench.service.name(account) == f"one@{bench.domain}" and bench.service.enabled(account)


def test_mandatory_missing_is_parked(bench):
    user = bench.user()
    user.attrs["mail"] = []
    result = bench.broker.do(user)
    assert (result.verdict, result.reason) == ("parked", "mandatory_missing"), result
    assert bench.sim.stats()["writes"] == 0


def test_unknown_outcome_makes_no_second_account(bench):
    user = bench.user()
    bench.sim.faults([{"match": bench.service.creates, "do": {"cut": "after_commit"}, "times": 1}])
    result = bench.broker.do(user)
    assert result.unknown and result.verdict in ("retry", "down") and user.link == "creating", result
    result = bench.broker.do(user)
    assert result.verdict == "done" and user.rid, result
    assert bench.sim.stats()["creates"] == 1 and bench.sim.stats()["duplicates"] == 0
    assert bench.service.account(user)


def test_throttled(bench):
    user = bench.user()
    bench.sim.faults([{"match": bench.service.creates,
                       "do": {"status": 429, "headers": {"Retry-After": "1.5"}, "body": {}}, "times": 1}])
    result = bench.broker.do(user)
    assert result.verdict == "throttled" and 1000 <= result.after_ms <= 1500, result
    # nobody gets through meanwhile
    before = len(bench.sim.requests())
    other = bench.user()
    assert bench.broker.do(other).verdict == "throttled"
    assert len(bench.sim.requests()) == before
    end = time.monotonic() + 10
    while bench.broker.do(user).verdict != "done":
        assert time.monotonic() < end
    assert bench.sim.stats()["creates"] == 1


def test_forbidden_and_broken_are_told_apart(bench):
    user = made(bench)
    for do, verdict in [({"status": 403, "body": {}}, "rejected"), ({"status": 500, "body": "x"}, "retry"),
                        ({"html": True}, "retry"), ({"truncated_json": True}, "retry")]:
        user.attrs["title"], user.version = [f"T{user.version}"], user.version + 1
        bench.sim.faults([{"match": bench.service.updates, "do": do, "times": 1}])
        result = bench.broker.do(user)
        if result.verdict == "done":  # an answer without a body cannot be cut short
            assert "truncated_json" in do
        else:
            assert result.verdict == verdict, (do, result)
    bench.sim.faults([])
    assert bench.broker.do(user).verdict == "done"
    assert bench.service.title(bench.service.account(user)) == user.attrs["title"][0]


def test_check_and_list(bench):
    user = made(bench)
    code, out = bench.worker.run("--check")
    assert code == 0, out
    code, out = bench.worker.run("--list")
    assert code == 0 and user.rid in out, out


def test_passwords_and_tokens_stand_in_no_log(bench):
    made(bench)
    text = bench.worker.log_text()
    assert "task ends" in text
    assert "passwordProfile" not in text and "Bearer" not in text
    for secret in (bench.sim.client_secret, getattr(bench.sim, "token", bench.sim.client_secret)):
        assert secret not in text


# ---- SCIM alone ----


@pytest.mark.parametrize("options, knobs", [
    ({"update": "put"}, {}), ({}, {"patch": False}), ({"update": "auto", "discovery": False}, {"patch": False}),
    ({"patch_style": "value"}, {}), ({"bulk": "never"}, {}), ({}, {"etag": False}), ({}, {"patch_status": 204}),
    ({}, {"location_header": False}), ({"discovery": False}, {"zero_hits_404": True}),
    ({"booleans": "string"}, {"string_booleans": True}), ({}, {"integer_status": True, "uniqueness_type": False})])
def test_scim_dialects(tmp_path, options, knobs):
    with bench_of(Scim, tmp_path, knobs=knobs, options=options) as bench:
        broker, service = bench.broker, bench.service
        users = [bench.user() for _ in range(5)]
        assert {r.verdict for r in broker.do_all(users)} == {"done"}
        for user in users:
            user.attrs["title"], user.attrs["dep"], user.version = ["Prof"], [], 2
        assert {r.verdict for r in broker.do_all(users)} == {"done"}
        user = users[0]
        user.enabled, user.version = False, 3
        assert broker.do(user, permits=["disable"]).verdict == "done"
        account = service.account(user)
        assert account["title"] == "Prof" and not account.get(ENTERPRISE, {}).get("department") and account["active"] is False
        assert account["name"] == {"familyName": "Berg", "givenName": "Anna"}
        seq = bench.last()
        assert {r.verdict for r in broker.do_all(users, verify=True)} == {"done"}
        assert bench.writes(seq) == []


def test_scim_entra_server(tmp_path):
    options = {"endpoints": "lower", "initial_password": True, "media_type": "json"}
    with bench_of(Scim, tmp_path, knobs={"dialect": "entra-server"}, options=options) as bench:
        user = made(bench)
        user.attrs["title"], user.version = ["Prof"], 2
        assert bench.broker.do(user).verdict == "done"
        assert bench.service.account(user)["title"] == "Prof"
        code, out = bench.worker.run("--list")
        assert code == 0 and user.rid in out, out


def test_scim_bulk(tmp_path):
    with bench_of(Scim, tmp_path, options={"bulk_size": 20}) as bench:
        users = [bench.user() for _ in range(40)]
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        assert len(bench.sim.dump()) == 40
        bulks = bench.sent("POST", "/Bulk")
        assert 2 <= len(bulks) <= 8, [r["path"] for r in bench.sim.requests()]
        # one that is refused leaves the others alone
        poison = bench.user(uid="u1")
        batch = [bench.user() for _ in range(19)] + [poison]
        results = bench.broker.do_all(batch)
        assert [r.verdict for r in results] == ["done"] * 19 + ["parked"]
        # a service that lied about it: one by one
        bench.sim.faults([{"match": {"method": "POST", "path_prefix": "/scim/v2/Bulk"}, "do": {"status": 501, "body": {}}}])
        more = [bench.user() for _ in range(10)]
        assert {r.verdict for r in bench.broker.do_all(more)} == {"done"}
        assert bench.sim.stats()["duplicates"] == 0


def test_scim_stale_version_is_read_again(tmp_path):
    with bench_of(Scim, tmp_path) as bench:
        user = made(bench)
        user.attrs["title"], user.version = ["Prof"], 2
        bench.sim.faults([{"match": {"method": "PATCH"}, "do": {"status": 412, "body": {}}, "times": 1}])
        result = bench.broker.do(user, verify=True)
        assert result.verdict == "done", result
        assert bench.service.account(user)["title"] == "Prof"


def test_scim_hostile_values_arrive_as_data(tmp_path):
    with bench_of(Scim, tmp_path) as bench:
        for value in ['a"b', "a\\b", '" or id pr or title eq "', "a/../b", "ä%00ü", "a&b=c?d#e", "{{}}", "💥"]:
            user = bench.user(cn=value, title=value)
            user.attrs["dep"] = [value]
            assert bench.broker.do(user).verdict == "done"
            account = bench.service.account(user)
            assert account["displayName"] == value and account[ENTERPRISE]["department"] == value


# ---- Graph alone ----

def test_graph_batches(tmp_path):
    with bench_of(Graph, tmp_path) as bench:
        users = [bench.user() for _ in range(40)]
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        assert len(bench.sim.dump()) == 40
        before = len(bench.sent("POST", "$batch"))
        for user in users:
            user.attrs["title"], user.version = ["Prof"], 2
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        assert len(bench.sent("POST", "$batch")) - before == 2
        # one that is refused leaves the others alone
        poison = bench.user(uid="u1")
        results = bench.broker.do_all([bench.user() for _ in range(19)] + [poison])
        assert [r.verdict for r in results] == ["done"] * 19 + ["parked"]


def test_graph_restores_who_was_deleted(tmp_path):
    with bench_of(Graph, tmp_path, leave="delete", delete_after="0s") as bench:
        user = made(bench)
        rid = user.rid
        user.inside = False
        assert bench.broker.do(user, permits=["delete", "disable"]).verdict == "done"
        assert not bench.service.account(user)
        user.inside, user.version = True, 2
        result = bench.broker.do(user)
        assert result.verdict == "done" and "restore" in result.ops and user.rid == rid, result
        assert bench.service.enabled(bench.service.account(user))
        assert bench.sim.stats()["creates"] == 1


def test_graph_refused_token_is_fetched_once_more(tmp_path):
    with bench_of(Graph, tmp_path) as bench:
        user = made(bench)
        user.attrs["title"], user.version = ["Prof"], 2
        bench.sim.faults([{"match": {"method": "PATCH"}, "do": {"status": 401, "body": {}}, "times": 1}])
        tokens = len(bench.sent("POST", "/token"))
        assert bench.broker.do(user).verdict == "done"
        assert len(bench.sent("POST", "/token")) == tokens + 1
        user.attrs["title"], user.version = ["Dr"], 3
        bench.sim.faults([{"match": {"method": "PATCH"}, "do": {"status": 401, "body": {}}}])
        assert bench.broker.do(user).verdict == "auth_failed"


def test_graph_throttles_one_of_a_batch(tmp_path):
    with bench_of(Graph, tmp_path) as bench:
        users = [bench.user() for _ in range(20)]
        bench.broker.do_all(users)
        for user in users:
            user.attrs["title"], user.version = ["Prof"], 2
        bench.sim.faults([{"match": {"method": "PATCH", "inner": True, "nth": 7},
                           "do": {"status": 429, "headers": {"Retry-After": "2"}, "body": {}}, "times": 1}])
        results = bench.broker.do_all(users)
        assert sorted(r.verdict for r in results) == ["done"] * 19 + ["throttled"]
        assert [r.after_ms for r in results if r.verdict == "throttled"] == [2000]


def test_graph_new_user_is_not_visible_yet(tmp_path):
    with bench_of(Graph, tmp_path, knobs={"lag_ms": 1500}) as bench:
        boss = made(bench)
        user = bench.user()
        user.refs = {"manager": boss}
        result = bench.broker.do(user)  # created; the manager must wait
        assert (result.verdict, result.reason) == ("retry", "not_yet_visible"), result
        assert user.link == "active" and user.rid
        end = time.monotonic() + 15
        while (result := bench.broker.do(user)).verdict != "done":
            assert result.verdict == "retry" and time.monotonic() < end, result
        assert bench.service.manager(bench.service.account(user)) == boss.rid
        assert bench.sim.stats()["creates"] == 2


def test_graph_accounts_that_are_not_ours_to_change(tmp_path):
    with bench_of(Graph, tmp_path) as bench:
        synced, admin = bench.user(), bench.user()
        seeds = [{"userPrincipalName": u.attrs["mail"][0], "displayName": "x", "mailNickname": u.attrs["uid"][0],
                  "accountEnabled": True, "onPremisesImmutableId": u.immutable_id} for u in (synced, admin)]
        seeds[0]["onPremisesSyncEnabled"] = True
        seeds[1]["roles"] = "Global Administrator"
        bench.sim.seed(users=seeds)
        result = bench.broker.do(synced)
        assert (result.verdict, result.reason) == ("parked", "mastered_on_premises"), result
        admin.enabled = False
        result = bench.broker.do(admin, permits=["disable"])
        assert (result.verdict, result.reason) == ("rejected", "protected_user"), result
        assert bench.sim.stats()["creates"] == 0


def test_graph_check_names_what_is_missing(tmp_path):
    with bench_of(Graph, tmp_path) as bench:
        code, out = bench.worker.run("--check")
        assert code == 0 and bench.domain in out, out
        bench.sim.knobs(roles="Group.Read.All")
        code, out = bench.worker.run("--check")
        assert code != 0 and "Authorization_RequestDenied" in out, out


@pytest.mark.parametrize("options", [{"batch": 1}, {"restore": False}, {"priority": "low", "page_size": 1}])
def test_graph_options(tmp_path, options):
    with bench_of(Graph, tmp_path, options=options) as bench:
        users = [bench.user() for _ in range(5)]
        assert {r.verdict for r in bench.broker.do_all(users)} == {"done"}
        code, out = bench.worker.run("--list")
        assert code == 0 and all(u.rid in out for u in users), out


# ---- a service that is not ours ----


def test_scimmy(tmp_path):
    sim = sims.Scimmy(tmp_path / "sim")
    service = Scim.__new__(Scim)
    service.sim, service.more = sim, {}
    with sim, WorkerBroker(tmp_path / "b") as broker, Worker(broker, tmp_path / "w", service.target()):
        users = [broker.add(mail=f"u{n}@a.example", cn=f"User {n}", title="Dr", gn="Anna", sn="Berg", dep="R&D") for n in range(12)]
        assert {r.verdict for r in broker.do_all(users)} == {"done"}
        assert len(sim.dump()) == 12
        for user in users:
            user.attrs["title"], user.attrs["dep"], user.version = ["Prof"], [], 2
        assert {r.verdict for r in broker.do_all(users)} == {"done"}
        user = users[0]
        user.enabled, user.version = False, 3
        assert broker.do(user, permits=["disable"]).verdict == "done"
        account = service.account(user)
        assert account["active"] is False and account["title"] == "Prof"
        assert not account.get(ENTERPRISE, {}).get("department")
        results = broker.do_all(users, verify=True)
        assert {(r.verdict, tuple(r.ops)) for r in results} == {("done", ())}, results
        taken = broker.add(mail="u1@a.example", cn="x", title=[], gn="A", sn="B", dep=[])
        assert broker.do(taken).reason == "name_taken"
