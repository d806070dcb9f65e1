"""`dirpipe plan` and `apply`: everything that would be done is shown and nothing is done; what is applied is what was shown, or it is refused.

Plans are made against services in which any write is refused and counted (quiet)."""

import csv
import io
import json

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
        w.program.wait(lambda: all(state_of(w, u) == "due" for u in (made, changed, disabled, deleted)), "the changes to be known")
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
        assert gone in {l["name"] for l in lines if l["user"] == deleted}, "named as its account is"
        one = quiet_plan(w, "--target", "app", "--user", w.people[changed]["dn"], "--json")
        assert [r["user"] for r in one["rows"]] == [changed]
        paused(w, False)
        w.settle()
