"""Plans at the size that is promised: 100,000 people with hardly any change planned in 10 s without a write; 10,000 rows applied of which 3
changed since. DIRPIPE_PEOPLE makes the first one smaller."""

import json
import os
import time

import pytest

from pipeline import Pipeline
from world import World

pytestmark = pytest.mark.long

PEOPLE = int(os.environ.get("DIRPIPE_PEOPLE", 100000))


def known(w, users):
    def there(user):
        return w.program.cli("user", "show", user, "--json")["snapshot"]["attrs"]["title"] == [f"v{w.people[user]['version']}"]
    w.program.wait(lambda: all(there(u) for u in users), "the changes to be known", 120)


def test_CAP_C8_a_hundred_thousand_people_are_planned_in_ten_seconds(tmp_path):
    """50 of them changed in the directory while the target is paused; at a service that refuses and counts any write."""
    with World(tmp_path, users=PEOPLE, seed=11, program=Pipeline, targets=("app",), groups=False, target={"http": {"connections": 32}}) as w:
        w.program.wait_idle(users=PEOPLE, deadline_s=900)
        w.program.cli("pause", "app", "a plan")
        changed = [w.pick() for _ in range(50)]
        for user in changed:
            w.bump(user)
        known(w, changed)
        app = w.services["app"]
        before = app.stats()
        app.quiet(True)
        started = time.monotonic()
        done = w.program.cli("plan", "--target", "app", "--json")
        took = time.monotonic() - started
        after = app.stats()
        print(f"{PEOPLE} people, {len(done['rows'])} rows: {took:.2f} s, {after['reads'] - before['reads']} reads, "
              f"{after['quiet_violations']} writes")
        assert {r["user"] for r in done["rows"]} == set(changed)
        assert done["targets"][0]["users"] == PEOPLE == done["targets"][0]["unchanged"] + len(set(changed))
        assert after["quiet_violations"] == 0 and after["committed"] == before["committed"]
        assert took <= 10


def test_CAP_N3_of_ten_thousand_rows_three_changed_since(tmp_path):
    with World(tmp_path, users=10000, seed=12, program=Pipeline, targets=("app",), groups=False, target={"paused": True}) as w:
        w.program.wait(lambda: (w.program.status() or {}).get("sources", [{}])[0].get("users") == 10000, "the directory to be read", 300)
        app, file = w.services["app"], tmp_path / "plan"
        app.quiet(True)
        w.program.cli("plan", "--out", file, "--quiet")
        app.quiet(False)
        assert app.stats()["quiet_violations"] == 0 and app.stats()["users"] == 0
        three = [w.pick() for _ in range(3)]
        for user in three:
            w.bump(user)
        known(w, three)
        started = time.monotonic()
        done = w.program.cli("apply", file, "--json", check=False)
        result = json.loads(done.stdout)
        print(f"applied in {time.monotonic() - started:.2f} s")
        assert (result["done"], result["refused"], result["failed"]) == (10000 - len(set(three)), len(set(three)), 0)
        assert {left["user"] for left in result["left"]} == set(three)
        assert app.stats()["users"] == 10000 - len(set(three)) and app.stats()["duplicates"] == 0
        w.program.cli("resume", "app")
        w.program.wait_idle(users=10000)
        assert app.stats()["users"] == 10000
