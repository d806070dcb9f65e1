"""Rescue's own log-in (SFR B2): one authcode for one worker, asked for again when another request has ended it; no other credential anywhere."""

import subprocess

import pytest

from pipeline import Secret
from world import World, hooks_build


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("w"), users=6, seed=3, staff=6, targets=("helpdesk",), log_level="debug") as w:
        desk = w.services["helpdesk"]
        w.program.conf["targets"]["helpdesk"]["auth"] = {"method": "login", "username": desk.email, "password": Secret(desk.password_file)}
        w.program.write()
        w.program.restart("worker:helpdesk")
        w.settle()
        yield w


def test_SFR_B2_one_code_serves_and_a_new_one_is_asked_for_once(world):
    desk = world.services["helpdesk"]
    before = desk.stats()["calls"]["requestAuthCode"]
    world.load(5, ["update"])
    world.settle()
    assert desk.stats()["calls"]["requestAuthCode"] == before
    desk.call("requestAuthCode", email=desk.email, pwd=desk.password)  # an administrator's, elsewhere
    the_id = world.pick()
    world.reaches(the_id, "helpdesk", 20)
    world.settle()
    assert desk.stats()["calls"]["requestAuthCode"] == before + 2
    assert desk.password not in world.program.log_path.read_text(errors="replace")


def test_SFR_B2_a_second_worker_process_is_refused(world):
    done = subprocess.run([str(hooks_build() / "dirpipe-worker"), "--config", str(world.program.path), "helpdesk-2"], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 78 and "login allows one worker process" in done.stderr


def test_SFR_B2_too_many_log_ins_pause_the_target_and_spend_nobody(world):
    desk = world.services["helpdesk"]
    world.program.kill("worker:helpdesk")
    while desk.call("login", email=desk.email, pwd="wrong") != "LIMITREACHED":
        pass
    world.program.start_program("worker:helpdesk")
    the_id = world.pick()
    title = world.bump(the_id)
    world.program.wait(lambda: "LIMITREACHED" in world.program.tail(200), "the refusal to be told", 20)
    assert not any(f'"{title}"' in str(w["body"]).replace("'", '"') for w in desk.ledger())
    assert world.program.ask("dead_ls")["users"] == []
    desk.clock(4 * 60 * 1000)
    world.program.restart("worker:helpdesk")
    world.settle()
