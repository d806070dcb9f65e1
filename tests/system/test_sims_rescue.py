"""The Rescue service itself (SFR B9): it takes the manual's own requests, answers what a public client can read, and refuses the rest."""
import os
import shutil
import subprocess
import urllib.parse

import pytest

import sims
from test_sims import cpu_s

SIGN = "4ahx...80u0"  # how the manual writes an authcode


class Manual(sims.RescueSim):
    """With the manual's own secrets: its requests can be sent as they stand there."""

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.token, self.email, self.password = SIGN, "some@email.com", "secretPassword"
        self._secret_file("token", self.token)
        self._secret_file("password", self.password)

    def get(self, target, headers=None):
        return self.http("GET", target.replace(" ", "%20"), headers=headers)

    def post(self, path, headers=None, **fields):
        return self.http("POST", path, urllib.parse.urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Manual(tmp_path_factory.mktemp("rescue")) as sim:
        yield sim
        assert sim.stop() == 0, sim.log()


@pytest.fixture
def rescue(server):
    server.reset()
    server.knobs(password_classes=2, named_seats=0, mobile_seats=0, seat_word="ERROR", token_revoked=False, caller_disabled=False,
                 keep_omitted=False, created_enabled=False, one_line=False, crlf=False, colon_space=False, bare_id=False)
    server.seed(groups=[{"name": "Technician Group1"}, {"name": "Group2"}],  # nodes 337364 and 337365
                users=[{"name": "Jane", "email": "jane@company.com", "group": "Technician Group1", "password": "Jane-own.1"}])  # 337366
    return server


def tap(text):
    """The rule by which a public client reads an answer."""
    return [dict(line.split(":") for line in record.split("\n")) for record in text.split("\n\n")[1:-1]]


def test_the_manuals_requests_are_understood(rescue):
    code = rescue.get("/API/requestAuthCode.aspx?email=some@email.com&pwd=secretPassword").raw.decode()
    assert code.startswith("OK AUTHCODE:") and len(code) == len("OK AUTHCODE:") + 79
    assert rescue.post("/API/requestAuthCode.aspx", email="some@email.com", pwd="secretPassword").raw.startswith(b"OK AUTHCODE:")
    made = rescue.get(f"/API/createUser.aspx?parent=337364&authcode={SIGN}").raw.decode()
    assert made == "OK [337367]"
    assert rescue.post("/API/createUser.aspx", parent="337364", authcode=SIGN).raw == b"OK [337368]"
    changed = rescue.get("/API/setUser.aspx?node=337366&name=John Doe&nick=JDoe&email=jdoe@company.com&ssoid=123456&pwd=secretPassword"
                         "&confpwd=secretPassword&oldpwd=oldPassword&status=enabled&description=Admin&addons=true&rpataddon=false"
                         f"&authcode={SIGN}")
    assert changed.raw == b"OK"
    john = next(n for n in rescue.dump() if n["node"] == 337366)
    assert [john[k] for k in ("name", "nick", "email", "ssoid", "description", "enabled", "mobile")] == [
        "John Doe", "JDoe", "jdoe@company.com", "123456", "Admin", True, True]
    assert rescue.get(f"/API/moveNode.aspx?targetnode=337365&node=337366&authcode={SIGN}").raw == b"OK"
    assert rescue.post("/API/moveNode.aspx", targetNodeID="337364", nodeID="337366", authcode=SIGN).raw == b"OK"
    assert next(n for n in rescue.dump() if n["node"] == 337366)["parent"] == 337364
    assert rescue.get(f"/api/GETUSER.aspx?NODE=337366&AuthCode={SIGN}").raw.startswith(b"OK\n\nNODEID:337366\n")
    assert rescue.post("/API/deleteNode.aspx", nodeID="337367", authcode=SIGN).raw == b"OK"
    assert rescue.stats()["calls"]["deleteNode"] == 1


def test_a_public_client_reads_its_answers(rescue):
    records = tap(rescue.call("getHierarchy_v2"))
    assert [r["NodeID"] for r in records] == [str(n) for n in range(337360, 337367)]
    assert records[-1] == {"NodeID": "337366", "ParentID": "337364", "Name": "Jane", "Email": "jane@company.com", "Description": "",
                           "Status": "Offline", "Type": "Technician"}
    assert tap(rescue.call("getUser_v3", email="JANE@company.com"))[0]["HASMOBILEADDON"] == "False"
    assert [r["NodeID"] for r in tap(rescue.call("getHierarchy_v2", isnode="true", node=337366))] == ["337366"]
    rescue.knobs(crlf=True)
    assert tap(rescue.call("getHierarchy_v2")) == []  # as the client fails on other line ends


@pytest.mark.parametrize("fields,word", [
    ({"node": 1}, "INVALIDPARAM_NODE"), ({"node": 337364}, "INVALIDPARAM_NODE"), ({"name": ""}, "INVALIDPARAM_NAME"),
    ({"name": "x" * 129}, "INVALIDPARAM_NAME"), ({"name": "a\nb"}, "INVALIDPARAM_NAME"), ({"email": "no"}, "INVALIDPARAM_EMAIL"),
    ({"email": "a@b"}, "INVALIDPARAM_EMAIL"), ({"email": "Other@company.com"}, "INVALIDPARAM_EMAIL_ALREADY_IN_USE"),
    ({"status": "On"}, "INVALIDPARAM_STATUS"), ({"mobileaddon": "1"}, "INVALIDPARAM_MOBILEADDON"), ({"rpataddon": None}, "INVALIDPARAM_RPATADDON"),
    ({"pwd": "Short.1", "confpwd": "Short.1"}, "INVALIDPARAM_PASSWORD_HAS_TO_BE_AT_LEAST_8_CHARACTERS_LONG"),
    ({"pwd": "with a blank", "confpwd": "with a blank"}, "INVALIDPARAM_PASSWORD_CANNOT_CONTAIN_WHITESPACE_CHARACTERS"),
    ({"pwd": "onlylower", "confpwd": "onlylower"}, "INVALIDPARAM_PASSWORD_HAS_TO_CONTAIN_MORE_KINDS_OF_CHARACTERS"),
    ({"pwd": "Good-one.1", "confpwd": "Other-one.1"}, "ERROR"),
], ids=str)
def test_what_the_vendor_refuses_is_refused(rescue, fields, word):
    rescue.seed(users=[{"name": "Other", "email": "other@company.com", "type": "Administrator"}])
    before = rescue.dump()
    good = {"node": 337366, "name": "Jane", "email": "jane@company.com", "status": "Enabled", "mobileaddon": "False", "rpataddon": "False"}
    assert rescue.call("setUser_v2", **{**good, **fields}) == word
    assert rescue.dump() == before and rescue.ledger() == []
    assert rescue.call("setUser_v2", **good) == "OK"


def test_a_node_begins_without_a_name_and_cannot_sign_in(rescue):
    node = rescue.call("createUser", parent=337364)[4:-1]
    assert rescue.stats()["nameless"] == 1
    good = {"node": node, "name": "New", "email": "new@company.com", "status": "Enabled", "mobileaddon": "False", "rpataddon": "False"}
    assert rescue.call("setUser_v2", **good) == "INVALIDPARAM_STATUS"  # neither a password nor an SSO id
    assert rescue.call("setUser_v2", **good, ssoid="sso") == "OK"
    assert [w["kind"] for w in rescue.ledger()] == ["create_node", "create"] and rescue.stats()["nameless"] == 0
    assert rescue.call("setUser_v2", **good) == "INVALIDPARAM_STATUS", "what is not sent is blanked"
    for parent in (337360, 337363, 337366, 999):
        assert rescue.call("createUser", parent=parent) == "INVALIDPARAM_PARENT"
    assert rescue.call("moveNode", node=node, targetnode=337362) == "INVALID_MOVE"
    assert rescue.call("getUser_v3", node=node, email="new@company.com") == "INVALID_EMAILANDNODEIDBOTHSPECIFIED"


def test_seats_are_counted(rescue):
    rescue.knobs(named_seats=1, mobile_seats=1, seat_word="NOSEAT")
    rescue.seed(users=[{"name": "Off", "email": "off@company.com", "group": "Group2", "enabled": False, "password": "Own-own.1"}])
    off = {"node": 337367, "name": "Off", "email": "off@company.com", "status": "Enabled", "mobileaddon": "False", "rpataddon": "False"}
    jane = {"node": 337366, "name": "Jane", "email": "jane@company.com", "status": "Disabled", "mobileaddon": "False", "rpataddon": "False"}
    assert rescue.call("setUser_v2", **off) == "NOSEAT"
    assert rescue.call("setUser_v2", **jane) == "OK"
    assert rescue.call("setUser_v2", **off) == "OK"
    assert rescue.call("setUser_v2", **{**off, "mobileaddon": "True"}) == "OK" and rescue.stats()["mobile"] == 1
    assert rescue.call("setUser_v2", **{**jane, "mobileaddon": "True"}) == "NOSEAT"


def test_who_may_call(rescue):
    assert rescue.call("getAccount", authcode=None) == "NOTLOGGEDIN"
    assert rescue.call("getAccount", authcode="wrong") == "INVALID_SECRETAUTHCODE"
    log_in = rescue.post("/API/login.aspx", email="some@email.com", pwd="secretPassword")
    cookie = {"Cookie": log_in.headers["set-cookie"].split(";")[0]}
    assert rescue.post("/API/getAccount.aspx", cookie).raw.startswith(b"OK\n")
    rescue.clock(19 * 60 * 1000)
    assert rescue.post("/API/getAccount.aspx", cookie).raw.startswith(b"OK\n")
    rescue.clock(40 * 60 * 1000)
    assert rescue.post("/API/getAccount.aspx", cookie).raw == b"NOTLOGGEDIN"
    first, second = (rescue.call("requestAuthCode", email="some@email.com", pwd="secretPassword")[12:] for _ in range(2))
    assert rescue.call("getAccount", authcode=first) == "INVALID_SECRETAUTHCODE"  # a new one ends the one before
    assert rescue.call("getAccount", authcode=second).startswith("OK") and rescue.call("getAccount").startswith("OK")
    assert [rescue.call("login", email="some@email.com", pwd="no") for _ in range(9)] == ["INVALID"] * 8 + ["LIMITREACHED"]
    rescue.clock(44 * 60 * 1000)
    assert rescue.call("login", email="some@email.com", pwd="no") == "INVALID"
    rescue.knobs(token_revoked=True)
    assert rescue.call("getAccount") == "INVALID_SECRETAUTHCODE"
    rescue.knobs(token_revoked=False, caller_disabled=True)
    assert rescue.call("getAccount") == "USER_DELETED_OR_DISABLED"


def test_an_unknown_method_is_the_log_in_page(rescue):
    answer = rescue.post("/API/getEverything.aspx", authcode=SIGN)
    assert answer.status == 200 and answer.raw.startswith(b"<!DOCTYPE html>")


def test_its_ledger_holds_no_secret(rescue):
    rescue.call("setUser_v2", node=337366, name="Jane", email="jane@company.com", status="Enabled", mobileaddon="False", rpataddon="False",
                pwd="Very-secret.1", confpwd="Very-secret.1")
    assert "Very-secret" not in str(rescue.ledger()) and SIGN not in str(rescue.ledger())
    assert rescue.ledger()[0]["body"]["pwd"] == rescue.ledger()[0]["body"]["confpwd"]


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_five_thousand_requests_a_second(rescue, tmp_path, record_property):
    if "asan" in str(sims.build_dir()) or os.environ.get("DIRPIPE_PRESET") == "asan":
        pytest.skip("a rate under sanitizers says nothing")
    script = tmp_path / "rate.lua"
    script.write_text('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/x-www-form-urlencoded"\n'
                      f'local n = 0\nfunction request()\n n = n + 1\n if n % 2 == 0 then return wrk.format(nil, "/API/getUser_v3.aspx", nil, '
                      f'"email=jane%40company.com&authcode={SIGN}") end\n return wrk.format(nil, "/API/setUser_v2.aspx", nil, '
                      f'"node=337366&name=Jane" .. n .. "&email=jane%40company.com&ssoid=s&status=Enabled&mobileaddon=False&rpataddon=False&'
                      f'authcode={SIGN}")\nend\n')
    before = cpu_s(rescue.process.pid)
    subprocess.run(["wrk", "-t1", "-c32", "-d2", "-s", script, f"https://127.0.0.1:{rescue.port}/"], check=True, capture_output=True)
    stats, used = rescue.stats(), cpu_s(rescue.process.pid) - before
    rate = stats["requests"] / used
    print(f"{stats['requests']} requests, {rate:.0f} per CPU second")
    record_property("requests_per_cpu_s", round(rate))
    assert stats["by_status"] == {"200": stats["requests"]} and stats["updates"] > stats["requests"] // 3
    assert rate >= 5000
