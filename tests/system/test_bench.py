"""The bench works, and a run whose ledger is not the directory does not count."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from sims import ScimSim, build_dir

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/bench"))

import rig  # noqa: E402


def run(*words, env=None):
    return subprocess.run([TOP / "tests/bench/run", *map(str, words)], capture_output=True, text=True, timeout=280,
                          env={**os.environ, "DIRPIPE_BUILD": str(build_dir()), **(env or {})})


def test_a_small_run_gives_figures_and_a_page(tmp_path):
    done = run("--quick", "--only", "P1", "--users", 500, "--rounds", 1, "--json", tmp_path / "b.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "b.json").read_text())
    p1 = figures["P1"]
    assert p1["unit"] == "x" and p1["value"] == pytest.approx(p1["dirpipe"] / p1["peers"]["c"], abs=0.011)
    assert next(iter(p1["peers"])) == "c" and p1["writes_per_user"] == 1
    for peer in ("node", "python"):
        assert isinstance(p1["peers"][peer], int) or p1["peers"][peer].startswith("left out: ")
    assert figures["P16"]["value"] > 0 and "P8" not in figures
    assert "P1 " in done.stdout and ">= 0.8" in done.stdout
    subprocess.run([TOP / "tests/bench/plot", tmp_path / "b.json", tmp_path / "b.html"], check=True)
    page = (tmp_path / "b.html").read_text()
    assert "<svg" in page and f">{p1['dirpipe']:,}<" in page


def test_a_run_of_another_number_of_accounts_does_not_count(tmp_path):
    def user(number):
        return {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": f"u{number}", "externalId": str(number)}

    with ScimSim(tmp_path / "sim") as scim:
        for number in range(3):
            assert scim.call("POST", "/Users", user(number)).status == 201
        assert len(rig.check_ledger(scim, 3)) == 3
        for wrong in (2, 4):
            with pytest.raises(AssertionError, match="does not count"):
                rig.check_ledger(scim, wrong)
        assert scim.call("POST", "/Users", user(2) | {"userName": "again"}).status == 201  # the same key twice
        with pytest.raises(AssertionError, match="does not count"):
            rig.check_ledger(scim, 4)


def test_a_peer_that_loses_somebody_fails_the_run(tmp_path, monkeypatch):
    """A script that says it read everybody and sent one fewer."""
    liar = tmp_path / "liar.py"
    liar.write_text("import json; print(json.dumps({'users': 1, 'failed': 0, 'seconds': 1, 'cpu_us_per_user': 1}))\n")
    monkeypatch.setattr(rig, "peer_command", lambda _peer: ["/usr/bin/python3", liar])

    class Directory:
        uri, people_base = "ldap://127.0.0.1:1", "dc=example"

        @staticmethod
        def password_file():
            return liar

    with ScimSim(tmp_path / "sim") as scim, pytest.raises(AssertionError, match="does not count"):
        rig.run_peer("c", Directory, scim, 1)


def test_what_is_not_known_is_refused():
    done = run("--only", "P99")
    assert done.returncode == 2 and "no such figure: P99" in done.stderr
