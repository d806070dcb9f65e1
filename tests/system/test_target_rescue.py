"""LogMeIn Rescue, row by row: technicians follow two watched groups of a real Active Directory (one domain controller for all rows)
into two technician groups of the simulator. SFR B8 R1 to R18."""

import csv
import json
import signal
import time
import urllib.request

import pytest

import expected
import samba
import spine
from pipeline import target_section
from programs import Programs
from sims import RescueSim
from world import hooks_build

QUICK = {"retry": {"first": "50ms", "cap": "500ms"}, "settle": "500ms", "guard": spine.MANY}
GROUPS = [{"group": "first", "remote": "Support"}, {"group": "second", "remote": "Field"}]


class Line:
    """AD → dirpipe → two Rescue accounts: `desk` as configured by default, `strict` with what has to be asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.ad = spine.ActiveDirectory(folder / "ad")
        self.desk, self.strict = RescueSim(folder / "desk"), RescueSim(folder / "strict")
        self.number = 100

    def __enter__(self):
        self.ad.__enter__()
        self.groups = {name: self.ad.group(name) for name in ("first", "second", "third")}
        for sim in (self.desk, self.strict):
            sim.start()
            sim.seed(groups=[{"name": "Support"}, {"name": "Field"}])
        routes = [{"target": "desk", "base": self.ad.people_base, "groups": ["first", "second"]},
                  {"target": "strict", "base": self.ad.people_base, "groups": ["third", "second"]}]
        source = self.ad.source(attributes=expected.attributes("ad"), routes=routes,
                                groups=[{"name": name, "dn": dn} for name, dn in self.groups.items()])
        self.program = Programs(self.folder / "dirpipe", {"corp": source}, {
            "desk": target_section(self.desk, "ad", groups=GROUPS, **QUICK),
            "strict": target_section(self.strict, "ad", groups=[{"group": "third", "remote": "Support"}, GROUPS[1]],
                                     options={"regrant_mobile": True, "placement": "enforce", "seat_word": "NOSEAT"}, **QUICK),
        }, broker={"lease": "3s", "verify_after": "1s"}, build=hooks_build())
        self.program.__enter__()
        self.program.wait(lambda: "caught up" in self.program.tail() and self.idle(), "the first read", 30)
        return self

    def __exit__(self, *what):
        try:
            self.program.__exit__(*what)
        finally:
            self.desk.stop()
            self.strict.stop()
            self.ad.__exit__(*what)

    def person(self, *groups, **more):
        """(dn, mail) of a new person in these groups."""
        self.number += 1
        dn = self.ad.add_person(self.number, **more)
        for group in groups:
            self.ad.add_member(self.groups[group], dn)
        return dn, more.get("mail") or self.ad.person(self.number)["mail"]

    def idle(self):
        status = self.program.status()
        return status and status["state"] == "ready" and all(s["connected"] for s in status["sources"]) and not any(
            t["queue"][k] for t in status["targets"] for k in ("ready", "delayed", "in_flight"))

    def until(self, condition, what, seconds=20):
        return self.program.wait(condition, what, seconds)

    def here(self, mail, sim=None, **wanted):
        """Waits for the technician of that address with these values."""
        sim = sim or self.desk

        def found():
            node = sim.technician(mail)
            return node if node and all(node[k] == v for k, v in wanted.items()) else None
        return self.until(found, f"{mail} with {wanted}; is {sim.technician(mail)}")

    def settled(self, dn, target="desk"):
        """Everything of this person is done: once more than what came with the last change of the directory."""
        the_id = self.ad.entry(dn)["id"]
        self.until(lambda: self.idle() and self.known(the_id, target) in ("clean", "dead", "parked"), f"{dn} to settle")
        return the_id

    def known(self, the_id, target="desk"):
        shown = self.program.ask("user_show", user=the_id)
        return shown["targets"][target]["state"] if shown else None

    def mark(self, sim=None):
        return (sim or self.desk).stats()["committed"]

    def touch(self, dn, value):
        """A change of the directory that this target's mapping sees."""
        self.ad.replace(dn, title=value)


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    reason = samba.why_not()
    if reason:
        pytest.skip(reason)
    with Line(tmp_path_factory.mktemp("rescue")) as made:
        yield made


def password_of(sim):
    """What the simulator keeps of the default password."""
    sim.seed(users=[{"name": "probe", "email": "probe@probe.example", "type": "Administrator", "password": sim.default_password}])
    return next(node["password"] for node in sim.dump() if node["name"] == "probe")


def test_SFR_R1_who_joins_becomes_one_technician(line):
    dn, mail = line.person("first")
    node = line.here(mail, enabled=True)
    entry = line.ad.entry(dn)
    assert expected.rescue_actual(node) == expected.rescue_document(entry, "ad")
    assert node["group"] == "Support" and node["password"] == password_of(line.desk)
    line.settled(dn)
    writes = line.desk.of_node(node["node"])
    assert [w["kind"] for w in writes] == ["create_node", "create"]


@pytest.mark.parametrize("point,passes", [("worker.before_request", (3, 4, 5)), ("worker.after_response", (3, 4, 5)),
                                          ("worker.noted_creating", (1,)), ("worker.noted_partial", (1, 2)),
                                          ("worker.before_result", (1,))])
def test_SFR_R2_killed_anywhere_there_is_one_technician(line, point, passes):
    for n in passes:
        mark = line.mark()
        line.program.restart("worker:desk", signal.SIGTERM, crash_at=f"{point}:{n}")
        dn, mail = line.person("first")
        assert line.until(lambda: line.program.died("worker:desk"), f"{point}:{n}") == -signal.SIGKILL
        line.program.start_program("worker:desk")
        node = line.here(mail, enabled=True)
        the_id = line.settled(dn)
        for _ in range(3):  # the same again, three times
            line.program.ask("resync", target="desk", user=the_id)
        line.settled(dn)
        kinds = [w["kind"] for w in line.desk.ledger(mark)]
        assert kinds == ["create_node", "create"], (point, n, kinds)
        assert line.desk.stats()["nameless"] == 0
        assert line.desk.technician(mail)["node"] == node["node"]


@pytest.mark.parametrize("method", ["createUser", "setUser_v2"])
@pytest.mark.parametrize("fault", [{"cut": "after_commit"}, {"cut": "before"}, {"cut": "mid_answer"},
                                   {"status": 200, "body": "ERROR", "content_type": "text/html", "commit": True}],
                         ids=["after_commit", "before", "mid_answer", "error_but_done"])
def test_SFR_R2_an_answer_that_does_not_come_makes_no_second_one(line, method, fault):
    mark = line.mark()
    line.desk.faults([{"match": {"path_prefix": f"/API/{method}"}, "do": fault, "times": 1}])
    dn, mail = line.person("first")
    node = line.here(mail, enabled=True)
    line.settled(dn)
    assert line.desk.fault_counts()[0]["fired"] == 1
    line.desk.faults([])
    made = [w for w in line.desk.ledger(mark) if w["kind"] == "create_node"]
    assert len(made) == 1 and line.desk.stats()["nameless"] == 0
    named = [w for w in line.desk.of_node(node["node"]) if w["kind"] in ("create", "update")]
    assert ["pwd" in w["body"] for w in named][:1] == [True]
    assert node["password"] == password_of(line.desk)


def test_SFR_R2_several_unfinished_nodes_find_their_people(line):
    mark = line.mark()
    line.desk.faults([{"match": {"path_prefix": "/API/createUser"}, "do": {"cut": "after_commit"}, "times": 6}])
    mails = [line.person("first") for _ in range(6)]
    for _, mail in mails:
        line.here(mail, enabled=True)
    for dn, _ in mails:
        line.settled(dn)
    line.desk.faults([])
    assert sum(w["kind"] == "create_node" for w in line.desk.ledger(mark)) == 6
    assert line.desk.stats()["nameless"] == 0


def test_SFR_R3_a_name_changes_on_the_same_node_without_a_password(line):
    dn, mail = line.person("first")
    before = line.here(mail, enabled=True)
    mark = line.mark()
    line.ad.replace(dn, displayName="Another Name")
    after = line.here(mail, name="Another Name")
    assert {**after, "name": before["name"]} == before
    writes = line.desk.ledger(mark)
    assert [w["kind"] for w in writes] == ["update"] and "pwd" not in writes[0]["body"]


def test_SFR_R4_an_address_changes_on_the_same_node(line):
    dn, mail = line.person("first")
    before = line.here(mail, enabled=True)
    line.ad.replace(dn, mail=f"new-{mail}")
    after = line.here(f"new-{mail}")
    assert {**after, "email": mail} == before and line.desk.technician(mail) is None


def with_mobile(line, mail, sim=None):
    node = line.here(mail, sim, enabled=True)
    (sim or line.desk).seed(moves=[{"node": node["node"], "mobile": True}])
    return node


def leave_disable(line, dn):
    line.ad.disable(dn)


def leave_delete(line, dn):
    line.ad.delete(dn)


def leave_group(line, dn):
    line.ad.drop_member(line.groups["first"], dn)


def leave_unit(line, dn):
    line.ad.dc.move(dn, line.ad.outside)


@pytest.mark.parametrize("leave", [pytest.param(leave_disable, id="R5"), pytest.param(leave_delete, id="R6"),
                                   pytest.param(leave_group, id="R7-group"), pytest.param(leave_unit, id="R7-unit")])
def test_SFR_R5_R6_R7_who_leaves_is_disabled_and_frees_the_add_on(line, leave):
    dn, mail = line.person("first")
    before = with_mobile(line, mail)
    leave(line, dn)
    after = line.here(mail, enabled=False, mobile=False)
    assert {**after, "enabled": True, "mobile": False} == before
    line.until(line.idle, "the end")
    assert line.desk.stats()["calls"]["deleteNode"] == 0


def test_SFR_R8_who_comes_back_is_the_same_without_a_password(line):
    dn, mail = line.person("first")
    before = with_mobile(line, mail)
    mark = line.mark()
    for off, on in ((line.ad.disable, line.ad.enable),
                    (lambda d: line.ad.drop_member(line.groups["first"], d), lambda d: line.ad.add_member(line.groups["first"], d))):
        off(dn)
        line.here(mail, enabled=False, mobile=False)
        on(dn)
        after = line.here(mail, enabled=True)
        assert after == before
    line.settled(dn)
    assert not any("pwd" in w["body"] for w in line.desk.ledger(mark))
    assert not line.desk.technician(mail)["mobile"]


def test_SFR_R8_the_add_on_comes_back_where_the_configuration_says_so(line):
    dn, mail = line.person("third")
    with_mobile(line, mail, line.strict)
    plain, other = line.person("third")
    line.here(other, line.strict, enabled=True)
    for person in (dn, plain):
        line.ad.disable(person)
    for address in (mail, other):
        line.here(address, line.strict, enabled=False, mobile=False)
    for person in (dn, plain):
        line.ad.enable(person)
    line.here(mail, line.strict, enabled=True, mobile=True)
    assert not line.here(other, line.strict, enabled=True)["mobile"]


def test_SFR_R9_R10_R11_who_was_moved_in_rescue_is_only_switched(line):
    dn, mail = line.person("first")
    node = line.here(mail, enabled=True)
    line.settled(dn)
    line.desk.seed(moves=[{"node": node["node"], "to": "Field"}])
    moved = line.desk.technician(mail)
    mark = line.mark()
    line.ad.replace(dn, displayName="Nobody Writes This", mail=f"never-{mail}")
    the_id = line.settled(dn)
    assert line.mark() == mark and line.desk.technician(mail) == moved
    line.ad.disable(dn)
    line.here(mail, enabled=False)
    line.ad.enable(dn)
    assert line.here(mail, enabled=True) == moved
    line.program.ask("resync", target="desk")
    line.until(line.idle, "everybody to be read again")
    assert line.known(the_id) == "clean"
    assert line.desk.technician(mail) == moved and line.desk.stats()["calls"]["moveNode"] == 0
    line.desk.seed(moves=[{"node": node["node"], "to": "Support"}])  # and back: it is ours again
    line.program.ask("resync", target="desk", user=the_id)
    line.here(f"never-{mail}", name="Nobody Writes This", group="Support")


def test_SFR_R11_enforced_placement_moves_back(line):
    dn, mail = line.person("third")
    node = line.here(mail, line.strict, enabled=True)
    line.strict.seed(moves=[{"node": node["node"], "to": "Field"}])
    line.ad.replace(dn, displayName="Back Again")
    line.here(mail, line.strict, name="Back Again", group="Support")
    line.ad.add_member(line.groups["second"], dn)
    line.ad.drop_member(line.groups["third"], dn)
    line.here(mail, line.strict, group="Field", enabled=True)


def test_SFR_R12_a_disabled_holder_frees_a_mobile_seat(line):
    used = line.desk.stats()["mobile"]
    dn, mail = line.person("first")
    with_mobile(line, mail)
    assert line.desk.stats()["mobile"] == used + 1
    line.ad.disable(dn)
    line.here(mail, enabled=False)
    assert line.desk.stats()["mobile"] == used


def test_SFR_R12_who_finds_no_seat_waits_for_one(line):
    line.strict.knobs(named_seats=line.strict.stats()["enabled"] + 1, seat_word="NOSEAT")
    holder, first = line.person("third")
    line.here(first, line.strict, enabled=True)
    dn, mail = line.person("third")
    the_id = line.ad.entry(dn)["id"]
    line.until(lambda: line.known(the_id, "strict") == "parked", "no seat for the second")
    line.ad.disable(holder)
    line.here(mail, line.strict, enabled=True)
    line.strict.knobs(named_seats=0)
    assert line.strict.stats()["nameless"] == 0


def dead_of(line, the_id):
    rows = [row for row in line.program.ask("dead_ls", target="desk", most=1000)["users"] if row["user"] == the_id]
    return rows[0] if rows else None


def test_SFR_R13_a_taken_address_is_a_dead_letter_and_nobody_else_waits(line):
    line.desk.seed(users=[{"name": "Root", "email": "chief@example.com", "type": "Administrator"}])
    chief = line.desk.dump()
    dn, _ = line.person("first", mail="Chief@example.com")
    _, other = line.person("first")
    line.here(other, enabled=True)
    the_id = line.settled(dn)
    row = dead_of(line, the_id)
    assert row["reason"] == "email_in_use" and "Administrator" in row["detail"]
    assert line.desk.stats()["nameless"] == 0
    assert all(node in line.desk.dump() for node in chief)

    renamed, mail = line.person("first")
    line.here(mail, enabled=True)
    line.ad.replace(renamed, mail="chief@example.com")
    row = line.until(lambda: dead_of(line, line.ad.entry(renamed)["id"]), "the dead letter")
    assert "INVALIDPARAM_EMAIL_ALREADY_IN_USE" in row["detail"]
    line.ad.replace(renamed, mail=f"free-{mail}")  # a newer version revives
    line.here(f"free-{mail}", enabled=True)


def errors_of(line, the_id):
    return [row for row in line.program.cli("errors", "ls", "--target", "desk", "--json")["errors"] if row["user"] == the_id]


def test_SFR_R14_CAP_C16_errors_stand_in_a_log_that_outlives_restarts_and_successes(line):
    taken = line.person("first")[1]
    line.here(taken, enabled=True)
    line.desk.seed(users=[{"name": "Holder", "email": "holder@example.com", "type": "Administrator"}])
    dn, mail = line.person("first")
    node = line.here(mail, enabled=True)
    the_id = line.settled(dn)
    began = time.time() * 1000
    line.ad.replace(dn, mail="holder@example.com")
    row = line.until(lambda: errors_of(line, the_id), "a line in the error log")[-1]
    assert row["target"] == "desk" and row["account"] == str(node["node"]) and row["reason"] == "email_in_use"
    assert "setUser_v2: INVALIDPARAM_EMAIL_ALREADY_IN_USE" in row["detail"] and str(node["node"]) in row["detail"]
    assert began - 1000 <= row["at"] <= time.time() * 1000 + 1000
    line.ad.replace(dn, mail=mail)
    line.until(lambda: line.known(the_id) == "clean", "the success that follows")
    for name in ("broker", "redis"):
        line.program.restart(name)
    line.until(line.idle, "the broker to be back", 40)
    assert errors_of(line, the_id)[-1] == row

    strict, _ = line.person("third")
    line.settled(strict, "strict")
    lines = [json.loads(text) for text in line.program.cli("log", "500", "--target", "desk").stdout.splitlines()]
    assert {entry["target"] for entry in lines} == {"desk"} and row in lines
    assert len(line.program.cli("log", "--target", "strict", "1").stdout.splitlines()) == 1

    path = line.folder / "errors.csv"
    line.program.cli("errors", "ls", "--target", "desk", "--csv", path)
    with open(path, newline="") as file:
        table = list(csv.DictReader(file))
    told = [r for r in table if r["user"] == the_id][-1]
    assert told["account"] == str(node["node"]) and told["detail"] == row["detail"] and told["time"].endswith("Z")
    text = path.read_text() + line.program.cli("errors", "ls").stdout + json.dumps(line.program.ask("log", most=10000))
    assert line.desk.token not in text and line.desk.default_password not in text
    assert "dirpipe_queue_errors_total" in urllib.request.urlopen(f"http://127.0.0.1:{line.program.http_port}/metrics").read().decode()


def test_SFR_R14_no_secret_stands_anywhere(line):
    """Neither the programs' logs nor what the service was sent beside the fields that are meant for them."""
    kept = [line.program.log_path.read_text(errors="replace"), json.dumps(line.desk.ledger()), json.dumps(line.desk.requests()),
            *("\n".join(line.program.redis("XRANGE", key, "-", "+")) for key in ("{dp:default}:log", "{dp:default}:errors:desk"))]
    for secret in (line.desk.token, line.desk.default_password, line.strict.token):
        assert not any(secret in text for text in kept)


def test_SFR_R15_a_plan_lists_everything_and_writes_nothing(line):
    moving, mail = line.person("first")
    leaving, gone = line.person("first")
    for address in (mail, gone):
        line.here(address, enabled=True)
    line.settled(leaving)
    line.program.ask("pause", target="desk", why="to see what would be done")
    joining, _ = line.person("first")
    line.ad.replace(moving, displayName="Planned Name")
    line.ad.disable(leaving)
    ids = {name: line.ad.entry(dn)["id"] for name, dn in (("join", joining), ("rename", moving), ("leave", leaving))}
    line.until(lambda: line.known(ids["join"]) == "due", "the changes to be known")
    line.until(lambda: all(line.known(i) == "due" for i in ids.values()), "the changes to be known")
    mark = line.mark()
    line.desk.quiet(True)
    done = line.program.cli("plan", "--target", "desk", "--format", "json", check=False)
    assert line.desk.stats()["quiet_violations"] == 0 and line.mark() == mark
    line.desk.quiet(False)
    assert done.returncode in (0, 2), done.stderr
    rows = {row["user"]: row for row in json.loads(done.stdout)["rows"]}
    assert [o["op"] for o in rows[ids["join"]]["ops"]] == ["create", "name"]
    assert [o["op"] for o in rows[ids["rename"]]["ops"]] == ["update"]
    assert [(o["op"], o.get("switch")) for o in rows[ids["leave"]]["ops"]] == [("update", "disable")]
    assert "Planned Name" in json.dumps(rows[ids["rename"]]) and line.desk.default_password not in done.stdout
    line.program.ask("resume", target="desk")
    line.here(gone, enabled=False)
    line.here(mail, name="Planned Name")


def test_SFR_R16_a_revoked_token_stops_the_lane_and_spends_nobody(line):
    dn, mail = line.person("first")
    line.here(mail, enabled=True)
    line.settled(dn)
    dead = len(line.program.ask("dead_ls", target="desk", most=1000)["users"])
    line.desk.knobs(token_revoked=True)
    waiting = [line.person("first") for _ in range(3)]

    def stopped():
        target = next(t for t in line.program.status()["targets"] if t["name"] == "desk")
        return target["queue"]["ready"] + target["queue"]["delayed"] >= 3 and target
    line.until(stopped, "the lane to stop")
    assert len(line.program.ask("dead_ls", target="desk", most=1000)["users"]) == dead
    line.desk.knobs(token_revoked=False)
    line.until(lambda: line.program.ask("resume", target="desk") is not None, "the target to resume")
    for _, address in waiting:
        line.here(address, enabled=True)


def test_SFR_R17_who_is_there_already_is_adopted(line):
    line.desk.seed(users=[{"name": "Old", "email": "old.here@example.com", "group": "Support", "ssoid": "sso-1", "rpat": True,
                           "password": "Own-password.1"},
                          {"name": "Old", "email": "old.there@example.com", "group": "Field", "password": "Own-password.2"}])
    here, there = line.desk.technician("old.here@example.com"), line.desk.technician("old.there@example.com")
    dn, _ = line.person("first", mail="old.here@example.com", displayName="New Name")
    moved, _ = line.person("first", mail="old.there@example.com", displayName="New Name")
    after = line.here("old.here@example.com", name="New Name")
    assert after["node"] == here["node"]
    assert [after[k] for k in ("ssoid", "rpat", "password", "group")] == [here[k] for k in ("ssoid", "rpat", "password", "group")]
    line.settled(moved)
    assert line.desk.technician("old.there@example.com") == there  # as if moved: nothing but the switch
    line.ad.disable(moved)
    line.here("old.there@example.com", enabled=False)


@pytest.mark.parametrize("switches", [{}, {"colon_space": True}, {"crlf": True}, {"bare_id": True}],
                         ids=lambda s: "+".join(s) or "plain")
def test_SFR_R18_names_come_back_byte_for_byte(line, switches):
    name = "Zoë: A&B + C=D % \"q\" <x> 日本 ü / \\ ; it's"
    line.desk.knobs(**switches)
    dn, mail = line.person("first", displayName=name)
    node = line.here(mail, enabled=True)
    assert node["name"] == name
    the_id = line.settled(dn)
    mark = line.mark()
    line.program.ask("resync", target="desk", user=the_id)  # what is read is what was written: nothing to do
    line.settled(dn)
    line.desk.knobs(**{k: False for k in switches})
    assert line.mark() == mark
