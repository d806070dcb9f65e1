"""`dirpipe plan` and `apply`: everything that would be done is shown and nothing is done; what is applied is what was shown, or it is refused.

Plans are made against services in which any write is refused and counted (quiet)."""

import csv
import io
import json
import re
import time
import urllib.request

import pytest

from pipeline import Pipeline
from world import World


def quiet_plan(w, *words, targets=None):
    """A plan, while any write at the services is refused and counted."""
    services = [w.services[t] for t in targets or w.services]
    before = [s.stats()["committed"] for s in services]
    for s in services:
        s.quiet(True)
    try:
        done = w.program.cli("plan", *words, check=False)
    finally:
        for s in services:
            s.quiet(False)
    assert [s.stats()["committed"] for s in services] == before
    assert sum(s.stats()["quiet_violations"] for s in services) == 0
    return done


def rows_of(done):
    """{(target, user): row}"""
    assert done.returncode in (0, 2), done.stderr
    return {(r["target"], r["user"]): r for r in json.loads(done.stdout)["rows"]}


def ops_of(row):
    return [o["op"] + (" " + o["switch"] if o["op"] == "update" and "switch" in o else "") for o in row["ops"]]


def state_of(w, user, target="app"):
    done = w.program.cli("user", "show", user, "--json", check=False)
    return done["targets"].get(target, {}).get("state") if isinstance(done, dict) else None


def known(w, *users):
    """The broker has the newest version of these people (the title tells which)."""
    def there(user):
        done = w.program.cli("user", "show", user, "--json", check=False)
        return isinstance(done, dict) and done["snapshot"]["attrs"]["title"] == [f"v{w.people[user]['version']}"]
    w.program.wait(lambda: all(there(u) for u in users), "the changes to be known")


def edit(w, target, user, field, value):
    """Somebody changes an account at the service itself."""
    service, key = w.services[target], "externalId" if target == "app" else "onPremisesImmutableId"
    rid = next(a["id"] for a in service.dump() if a.get(key) == (user if target == "app" else w.ever[user]))
    if target == "app":
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "path": field, "value": value}]}
        answer = service.call("PATCH", f"/Users/{rid}", body)
    else:
        answer = service.call("PATCH", f"/users/{rid}", {field: value})
    assert answer.status in (200, 204), answer.body


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with World(tmp_path_factory.mktemp("plan"), users=40, seed=3, program=Pipeline) as w:
        w.settle()
        yield w


def paused(w, on=True):
    for target in w.services:
        w.program.cli("pause" if on else "resume", target, *(["plan"] if on else []))


class TestPlan:
    def test_CAP_C8_nothing_differs(self, w):
        done = quiet_plan(w, "--json", "--exit-code")
        assert done["rows"] == [] and [t["target"] for t in done["targets"]] == ["app", "m365"]
        assert all(t["users"] == t["unchanged"] > 0 for t in done["targets"])

    def test_CAP_C8_R17_everything_is_shown_and_nothing_is_done(self, w, tmp_path):
        """A creation, a change, a disable, a leaver; for both drivers, as a table, as JSON and for a spreadsheet."""
        paused(w)
        made = w.create()
        changed, disabled, deleted = [p for p in sorted(w.people) if p != made and w.people[p]["enabled"]][:3]
        title = w.bump(changed)
        w.disable(disabled)
        gone = w.people[deleted]["dn"].split(",")[0].split("=")[1]
        w.delete(deleted)
        known(w, made, changed, disabled)
        w.program.wait(lambda: state_of(w, deleted) == "due", "the deletion to be known")
        done = quiet_plan(w, "--format", "json", "--exit-code", "--out", tmp_path / "plan")
        assert done.returncode == 2
        rows = rows_of(done)
        assert {u for t, u in rows if t == "app"} == {made, changed, disabled, deleted}
        assert ops_of(rows["app", made])[0] == "create" and ("m365", made) in rows
        change = rows["app", changed]["ops"][0]
        assert change["set"] == {"title": title} and list(change["was"]) == ["title"]
        for user in (disabled, deleted):
            row = rows["app", user]
            assert ops_of(row) == ["update disable"] and row["ops"][0]["destructive"] and row["needs"] == [{"op": "disable", "what": ""}]
        assert oct((tmp_path / "plan").stat().st_mode & 0o777) == "0o600"
        table = quiet_plan(w, "--target", "app")
        assert table.returncode == 0
        assert f"{w.people[changed]['dn']}" in table.stdout and f"title: {change['was']['title']} -> {title}" in table.stdout
        assert "4 would change" in table.stdout and "permitted by the guard" in table.stdout
        lines = list(csv.DictReader(io.StringIO(quiet_plan(w, "--target", "app", "--format", "csv").stdout)))
        assert {l["user"] for l in lines} == {made, changed, disabled, deleted}
        assert [l["operation"] for l in lines if l["user"] == deleted] == ["disable"]
        assert any(gone in l["name"] for l in lines if l["user"] == deleted)
        one = quiet_plan(w, "--target", "app", "--user", w.people[changed]["dn"], "--json")
        assert [r["user"] for r in one["rows"]] == [changed]
        paused(w, False)
        w.settle()


class TestApply:
    def test_what_was_shown_is_done_and_what_changed_is_refused(self, w, tmp_path):
        """CAP N3 at a small size: of 12 rows 3 changed since, one in the directory, one at the service, one was done by hand; the targets
        stay paused throughout, and a disable goes through because its row was approved."""
        file = tmp_path / "plan"
        paused(w)
        people = [p for p in sorted(w.people) if w.people[p]["enabled"]][:12]
        titles = {p: w.bump(p) for p in people}
        w.disable(people[11])
        made = w.create(staff=False)
        known(w, made, *people)
        assert quiet_plan(w, "--target", "app", "--out", file).returncode == 0
        newer, edited, by_hand = people[:3]
        w.bump(newer)
        scim = w.services["app"]
        edit(w, "app", edited, "displayName", "Somebody Else")
        edit(w, "app", by_hand, "title", titles[by_hand])
        known(w, newer)
        seq = scim.stats()["committed"]
        done = w.program.cli("apply", file, "--json", check=False)
        assert done.returncode == 4, done.stderr
        result = json.loads(done.stdout)
        assert (result["done"], result["refused"], result["failed"]) == (10, 3, 0)
        assert {l["user"] for l in result["left"]} == {newer, edited, by_hand}
        assert all("changed_since_plan" in l["reason"] for l in result["left"])
        assert {e["key"] for e in scim.ledger(seq)} == {*people[3:], made}
        shown = {r["user"]: r for r in map(json.loads, file.read_text().splitlines()) if "user" in r}
        writes = sum(len(shown[u]["ops"]) for u in [*people[3:], made])
        assert len(scim.ledger(seq)) == writes, "a write for each operation that was shown"
        assert [t["state"] for t in w.program.status()["targets"]] == ["paused", "paused"]
        assert next(a for a in scim.dump() if a["externalId"] == people[11])["active"] is False
        again = w.program.cli("apply", file, "--json", check=False)
        assert len(scim.ledger(seq)) == writes, "said again it does nothing"
        assert json.loads(again.stdout)["done"] == 10
        paused(w, False)
        w.settle()

    def test_a_cut_file_and_another_configuration_are_refused(self, w, tmp_path):
        file = tmp_path / "plan"
        paused(w)
        user = w.pick()
        w.bump(user)
        known(w, user)
        quiet_plan(w, "--target", "app", "--out", file)
        whole = file.read_text()
        file.write_text("".join(whole.splitlines(True)[:-1]))
        done = w.program.cli("apply", file, check=False)
        assert done.returncode == 65 and "no whole plan" in done.stderr
        file.write_text(re.sub('"config":"....', '"config":"0000', whole))
        done = w.program.cli("apply", file, check=False)
        assert done.returncode == 1 and "another configuration" in done.stderr
        paused(w, False)
        w.settle()


def account(w, target, user):
    key = user if target == "app" else w.ever[user]
    return next(a for a in w.services[target].dump() if a.get("externalId" if target == "app" else "onPremisesImmutableId") == key)


class TestSync:
    def test_one_person_by_any_value_in_under_two_seconds(self, w):
        """Somebody edits accounts at the services; one person is named by the login name, another by the id."""
        people = [p for p in sorted(w.people) if w.people[p]["enabled"]][:2]
        uid = w.people[people[0]]["dn"].split(",")[0].split("=")[1]
        for user in people:
            edit(w, "app", user, "displayName", "Drift")
        for user, name in ((people[0], uid.upper()), (people[1], people[1])):
            started = time.monotonic()
            done = w.program.cli("sync", "run", "--user", name, "--wait", "--json")
            assert time.monotonic() - started < 2
            assert done["changed"] >= 1 and done["waiting"] == done["dead"] == done["parked"] == 0
            assert account(w, "app", user)["displayName"] != "Drift"
        nobody = w.program.cli("sync", "run", "--user", "no such value", check=False)
        assert nobody.returncode == 1 and "no such value" in nobody.stderr

    def test_a_group(self, w):
        """Who is in the watched group is read again, at the one target that was named; nobody else is."""
        members = w.in_scope()["m365"]
        outside = next(p for p in sorted(w.people) if p not in {m["id"] for m in members} and w.people[p]["enabled"])
        for user in (members[0]["id"], outside):
            edit(w, "app", user, "displayName", "Drift")
        done = w.program.cli("sync", "run", "app", "--group", "staff", "--wait", "--json")
        assert done["changed"] == len(members)
        assert account(w, "app", members[0]["id"])["displayName"] != "Drift"
        assert account(w, "app", outside)["displayName"] == "Drift"
        w.program.cli("sync", "run", "app", "--wait")
        w.settle()

    def test_the_whole_directory_again(self, w):
        session = w.program.status()["sources"][0]["session"]
        done = w.program.cli("sync", "run", "--full", "--wait", "--json")
        source = w.program.status()["sources"][0]
        assert source["session"] > session and source["caught_up"] and done["waiting"] == 0
        assert any("reading the whole directory" in line.get("msg", "") for line in w.program.log()[-200:])
        w.settle()

    def test_exit_codes_say_what_is_left(self, w):
        user = w.pick()
        edit(w, "app", user, "title", "Drift")
        w.program.cli("pause", "app")
        done = w.program.cli("sync", "run", "app", "--user", user, "--wait", check=False)
        assert done.returncode == 75 and "paused" in done.stderr
        w.services["app"].faults([{"match": {"method": "PATCH", "key": user}, "times": -1,
                                   "do": {"status": 400, "body": {"status": "400", "detail": "no"}}}])
        w.program.cli("resume", "app")
        done = w.program.cli("sync", "run", "app", "--user", user, "--wait", check=False)
        w.services["app"].faults([])
        assert done.returncode == 1 and "1 dead" in done.stdout, done.stdout + done.stderr
        w.program.cli("dead", "retry", "app", "--all")
        w.settle()


class TestReconcile:
    def test_GOALS_N7_edits_behind_our_back_are_found_and_repaired(self, w):
        """CAP N7 at smoke size: random edits, deletions and a switch at both services, found by one listing each and repaired; accounts that
        are nobody's are told and never touched."""
        people = [p for p in sorted(w.people) if w.people[p]["enabled"]]
        staff = [m["id"] for m in w.in_scope()["m365"] if m["id"] in people]
        app, m365 = w.services["app"], w.services["m365"]
        w.may_go["app"] |= {people[4], people[5]}  # what we do there ourselves is asked for
        w.may_go["m365"].add(staff[1])
        for user in people[:4]:
            edit(w, "app", user, w.random.choice(["displayName", "title"]), "Drift")
        edit(w, "app", people[4], "active", False)
        assert app.call("DELETE", f"/Users/{account(w, 'app', people[5])['id']}").status == 204
        edit(w, "m365", staff[0], "displayName", "Drift")
        edit(w, "m365", staff[1], "accountEnabled", False)
        app.seed(users=[{"userName": "stranger@example.com", "externalId": "nobody", "active": True}])
        seqs = app.stats()["committed"], m365.stats()["committed"]
        report = w.program.cli("reconcile", "report", "--target", "app", "--json")
        assert {r["user"] for r in report["rows"]} == set(people[:6]) and not report["repaired"]
        assert [u["name"] for u in report["unowned"]] == ["stranger@example.com"]
        assert report["summary"]["divergent"] == 6 and report["summary"]["compared"] >= len(people)
        assert (app.stats()["committed"], m365.stats()["committed"]) == seqs, "a report writes nothing"
        assert 'dirpipe_divergent_objects{target="app"} 6' in metrics(w)
        done = w.program.cli("reconcile", "run", "--exit-code", check=False)
        assert done.returncode == 2 and "stranger@example.com" in done.stdout
        w.program.wait(lambda: w.idle() and w.differences() == ["app: nobody: nobody in the directory"], "the repairs", 20)
        assert not [e for e in app.ledger(seqs[0]) if e["key"] == "nobody"]
        again = w.program.cli("reconcile", "run", "--json", "--target", "m365")
        assert again["rows"] == [] and again["summary"]["divergent"] == 0
        text = metrics(w)
        assert 'dirpipe_divergent_objects{target="m365"} 0' in text and 'dirpipe_unowned_objects{target="app"} 1' in text
        when = re.search(r'reconcile_last_success_timestamp_seconds{target="m365"} ([0-9.e+]+)', text)
        assert abs(float(when[1]) - time.time()) < 60
        stranger = next(a for a in app.dump() if a["externalId"] == "nobody")
        assert app.call("DELETE", f"/Users/{stranger['id']}").status == 204
        w.judge_ledgers()
        assert w.creates["app"][people[5]] == 2, "made anew"
        w.creates["app"][people[5]], w.unasked[:] = 1, [u for u in w.unasked if not u.startswith("app: None ")]

    def test_a_listing_that_ends_badly_says_nothing(self, w):
        """The second page fails, or the first is empty nonsense: nobody is missing, nothing is marked, the last success stays."""
        w.settle()
        app = w.services["app"]
        pages = {k: v for k, v in app.knobs().items() if k.startswith("page_")}
        seq, before = app.stats()["committed"], w.program.status()["targets"][0]["reconcile"]
        for nth, do in ((2, {"status": 500}), (1, {"status": 200, "body": {"hello": 1}}), (3, {"truncated_json": True})):
            rule = {"match": {"method": "GET", "path_prefix": "/scim/v2/Users", "nth": nth}, "do": do}
            app.knobs(page_max=10, page_default=10)
            app.faults([rule])
            done = w.program.cli("reconcile", "run", "--target", "app", check=False)
            app.faults([])
            assert done.returncode == 69, done.stdout + done.stderr
        app.knobs(**pages)
        assert app.stats()["committed"] == seq and w.program.status()["targets"][0]["reconcile"] == before

    def test_by_the_calendar(self, tmp_path):
        """`dirpipe up` compares every so often by itself, within the hours; a report repairs nothing."""
        with World(tmp_path, users=10, seed=5, program=Pipeline, targets=("app",), groups=False,
                   target={"reconcile": {"every": "1s", "policy": "repair"}}) as w:
            w.settle()
            user = w.pick()
            edit(w, "app", user, "displayName", "Drift")
            w.program.wait(lambda: account(w, "app", user)["displayName"] != "Drift", "the repair by the calendar")
            w.settle()


def metrics(w):
    with urllib.request.urlopen(f"http://127.0.0.1:{w.program.http_port}/metrics") as answer:
        return answer.read().decode()
