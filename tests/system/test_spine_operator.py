"""What an operator sees and does: check, config check, status, queue, user, dead, /metrics and /readyz; and that no secret shows anywhere."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

import samba
from expected import attributes
from pipeline import Pipeline, Secret, merge, target_section
from sims import Authority, build_dir
from spine import ActiveDirectory, OpenLdap, Spine, place_of

REALM = "{dp:default}:"


@pytest.fixture(scope="module")
def s(request, tmp_path_factory):
    if OpenLdap.why_not():
        pytest.skip(OpenLdap.why_not())
    place = place_of()
    request.addfinalizer(lambda: shutil.rmtree(place, ignore_errors=True))
    with OpenLdap(place / "directory", users=40) as d, Spine(d, tmp_path_factory.mktemp("spine"), log_level="debug") as s:
        s.settle()
        yield s


def secret(folder, text):
    path = folder / "secret"
    path.write_text(text)
    path.chmod(0o600)
    return Secret(path)


class Asked:
    """A configuration of its own that nothing runs with: what the command says of it."""

    def __init__(self, s, folder, source=None, **targets):
        conf = {name: target_section(service, s.d.kind) for name, service in s.services.items()}
        self.pipeline = Pipeline(folder / "asked", {"corp": merge(s.source(), source or {})}, merge(conf, targets))

    def __call__(self, *words):
        done = self.pipeline.cli(*words, check=False)
        return done.returncode, done.stdout + done.stderr


# ---- check ----


def test_check_of_what_works(s, tmp_path):
    code, text = Asked(s, tmp_path)("check")
    assert code == 0 and "FAIL" not in text
    for line in ("source corp", "ok   resolve", "ok   connect", "ok   bind", "ok   control", "40 people are shown", "target app",
                 "ServiceProviderConfig", "target m365", "verified domains"):
        assert line in text, text


@pytest.mark.parametrize("what, source, words", [
    ("wrong password", {"bind": {"password": "wrong"}}, ["FAIL bind", "Invalid credentials"]),
    ("nobody listens", {"uris": ["ldap://127.0.0.1:1"]}, ["FAIL connect", "127.0.0.1:1"]),
    ("no such host", {"uris": ["ldaps://no-such-host.invalid"]}, ["FAIL resolve", "no-such-host.invalid"]),
    ("no such base", {"base_dn": "dc=example,dc=org"}, ["FAIL base", "dc=example,dc=org"])])
def test_check_of_a_source(s, tmp_path, what, source, words):
    if "bind" in source:
        source = {"bind": {"password": secret(tmp_path, "wrong")}}
    code, text = Asked(s, tmp_path, source)("check", "source", "corp")
    assert code != 0 and all(w in text for w in words), text


def test_check_of_a_foreign_authority(s, tmp_path):
    other = Authority(tmp_path / "ca").ca_file
    code, text = Asked(s, tmp_path, {"uris": [s.d.ldaps_uri], "tls": {"ca_file": other}})("check", "source", "corp")
    assert code != 0 and "FAIL tls" in text and str(other) in text, text
    code, text = Asked(s, tmp_path, app={"tls": {"ca_file": other}})("check", "target", "app")
    assert code != 0 and "FAIL" in text and "certificate" in text, text


@pytest.mark.parametrize("target, more, word", [
    ("app", {"url": "https://no-such-host.invalid/scim/v2"}, "no-such-host.invalid"),
    ("app", {"url": "https://127.0.0.1:1/scim/v2"}, "127.0.0.1"),
    ("app", {"auth": {"token": "wrong"}}, "refuses the token (401)"),
    ("m365", {"auth": {"client_secret": "wrong"}}, "invalid_client"),
    ("m365", {"login_url": "https://no-such-host.invalid"}, "no-such-host.invalid")])
def test_check_of_a_target(s, tmp_path, target, more, word):
    if "auth" in more:
        more = {"auth": {name: secret(tmp_path, value) for name, value in more["auth"].items()}}
    code, text = Asked(s, tmp_path, **{target: more})("check", "target", target)
    assert code != 0 and "FAIL" in text and word in text, text
    code, text = Asked(s, tmp_path, **{target: more})("check")
    assert code != 0 and text.count("FAIL") == 1 and "ok   bind" in text, "the others are checked all the same"


@pytest.mark.skipif(samba.why_not() is not None, reason=str(samba.why_not()))
def test_check_names_the_rights_that_miss(s, tmp_path):
    with ActiveDirectory(tmp_path / "ad") as ad:
        for account, good, words in [("svc", True, ["DirSync works"]), ("blind", False, ["CN=Deleted Objects", "List Contents and Read Property"]),
                                     ("mighty", True, ["Replicating Directory Changes All"])]:
            source = ad.source(attributes=attributes("ad"), routes=[{"target": "app"}], account=account)
            asked = Asked(s, tmp_path)
            asked.pipeline.conf["sources"] = {"corp": source}
            asked.pipeline.write()
            code, text = asked("check", "source", "corp")
            assert (code == 0) == good and all(w in text for w in words), text


# ---- config check ----


@pytest.mark.parametrize("change, words", [
    ({"brokr": {}}, ["brokr: unknown key (did you mean broker?)"]),
    ({"broker": {"lease": "soon"}}, ["broker.lease", "expected a duration", "'soon'"]),
    ({"broker": {"endpoints": ["tcp://127.0.0.1:5555"]}}, ["broker.endpoints: tcp:// needs keys"]),
    ({"targets": {"app": {"guard": {"percent": "lots"}}}}, ["targets.app.guard.percent", "0..100", "'lots'"]),
    ({"targets": {"app": {"url": "http://app.example/scim"}}}, ["targets.app.url"]),
    ({"targets": {"app": {"auth": {"token": "in plain sight"}}}}, ["targets.app.auth.token", "!file"]),
    ({"targets": {"app": {"mapping": {"userName": {"jq": ".attrs["}}}}}, ["mapping.userName: the expression does not compile"]),
    ({"sources": {"corp": {"routes": [{"target": "ap"}]}}}, ["there is no target ap (did you mean app?)"])])
def test_config_check(s, tmp_path, change, words):
    asked = Asked(s, tmp_path)
    asked.pipeline.conf = merge(asked.pipeline.conf, change)
    asked.pipeline.write()
    assert asked("up")[0] == 78
    code, text = asked("config", "check")
    assert code == 78
    assert all(w in text for w in words), text
    assert "in plain sight" not in text
    assert re.match(rf"{re.escape(str(asked.pipeline.path))}:\d+:\d+: ", text), text


def test_config_check_tells_all_errors_at_once(s, tmp_path):
    asked = Asked(s, tmp_path)
    assert asked("config", "check") == (0, f"{asked.pipeline.path}: good\n")
    asked.pipeline.conf |= {"brokr": {}, "lgo": {}}
    asked.pipeline.conf["targets"]["m365"]["auth"]["client_secret"] = Secret(tmp_path / "missing")
    asked.pipeline.write()
    code, text = asked("config", "check")
    assert code == 78 and len(text.splitlines()) == 3 and str(tmp_path / "missing") in text, text


# ---- someone whom a service refuses for ever ----


def test_poison(s):
    refuse = {"match": {"method": "POST", "contains": "u0000900"},
              "do": {"status": 400, "body": {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "400",
                                             "scimType": "invalidValue", "detail": "userName is on a list of forbidden names"}}}
    s.scim.faults([refuse])
    dn = s.d.add_person(901, uid="u0000901", givenName="u0000900")
    entry = s.d.entry(dn)
    s.pipeline.wait(lambda: s.queue("app")["dead"] == 1, "the refused person to be dead")
    assert s.account("m365", entry), "the other service is not bothered"
    # others go on
    other = s.d.add_person(902)
    s.pipeline.wait(lambda: s.account("app", s.d.entry(other)), "somebody else to arrive")

    shown = s.user(entry["id"])
    assert shown["targets"]["app"]["state"] == "dead" and shown["targets"]["m365"]["state"] == "clean"
    assert "forbidden names" in shown["targets"]["app"]["stuck"]["detail"], "the service's own words"
    assert shown["snapshot"]["dn"].lower() == dn.lower()
    text = s.pipeline.cli("user", "show", entry["id"]).stdout
    assert "forbidden names" in text and "dead" in text and "clean" in text
    listed = s.pipeline.cli("dead", "ls", "--json")["users"]
    assert [(u["user"], u["target"], u["status"]) for u in listed] == [(entry["id"], "app", 400)]
    assert "forbidden names" in s.pipeline.cli("dead", "ls", "app").stdout
    assert re.search(r"^app +ok .* 1 ", s.pipeline.cli("queue").stdout, re.M)
    assert s.pipeline.cli("queue", "app", "--json")["targets"][0]["queue"]["dead"] == 1
    assert get(s, "/readyz")[0] == 200, "a dead letter is no illness"

    # tried again it is refused again; a newer version revives it by itself
    requests = len([r for r in s.scim.requests() if r["method"] == "POST"])
    assert s.pipeline.cli("dead", "retry", "app", entry["id"], "--json")["changed"] == 1
    s.pipeline.wait(lambda: s.queue("app")["dead"] == 1 and len([r for r in s.scim.requests() if r["method"] == "POST"]) > requests,
                    "it to be refused again")
    assert s.pipeline.cli("dead", "drop", "app", entry["id"], "--json")["changed"] == 1
    assert s.queue("app")["dead"] == 0 and not s.account("app", entry)
    assert s.pipeline.cli("dead", "ls", "--json")["users"] == []
    s.d.replace(dn, title="Dr")
    s.pipeline.wait(lambda: s.queue("app")["dead"] == 1, "the newer version to be tried")
    s.scim.faults([])
    assert s.pipeline.cli("dead", "retry", "app", "--all", "--json") == {"changed": 1}
    s.settle()


def test_pause_and_resume(s):
    dn = s.settle()[0]["dn"]
    entry = s.d.entry(dn)
    assert s.pipeline.cli("pause", "app", "a visitor", "--json")["changed"] == 1
    s.d.replace(dn, title="While paused")
    s.pipeline.wait(lambda: s.queue("app")["ready"] == 1 and s.queue("m365")["clean"] > 0, "the change to wait")
    assert "app is paused (by_operator)" in s.pipeline.cli("status").stdout and "a visitor" in s.pipeline.cli("status").stdout
    assert s.account("app", entry).get("title") != "While paused"
    assert s.pipeline.cli("resume", "app").stdout == "1 changed\n"
    s.pipeline.wait(lambda: s.account("app", entry).get("title") == "While paused", "the change to arrive")
    s.settle()


def test_sync_run_mends_what_somebody_changed_at_the_service(s):
    entry = s.settle()[0]
    account = s.account("app", entry)
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "path": "displayName", "value": "Nobody"}]}
    assert s.scim.call("PATCH", f"/Users/{account['id']}", patch).status == 200
    assert s.pipeline.cli("sync", "run", "app", "--user", entry["id"], "--json")["changed"] == 1
    s.pipeline.wait(lambda: s.account("app", entry)["displayName"] == account["displayName"], "the name to be mended")
    log = s.pipeline.cli("log", "50").stdout
    assert entry["id"] in log and "Nobody" not in log
    assert s.pipeline.cli("held", "ls").stdout == "" and s.pipeline.cli("parked", "ls", "app", "--json")["users"] == []
    s.settle()


def test_verbs_say_what_is_wrong(s):
    for words, code in [(("pause",), 64), (("resume", "nobody"), 1), (("sync",), 64), (("log", "x"), 64), (("parked",), 64),
                        (("held", "confirm", "corp", "group", "nobody"), 1), (("held", "confirm"), 64), (("user", "show", "x"), 64), (("user", "show", "00000000-0000-0000-0000-00000000ffff"), 1), (("user",), 64),
                        (("queue", "nobody"), 1), (("dead", "retry", "nobody", "--all"), 1), (("dead",), 64), (("status", "x"), 64), (("fly",), 64)]:
        done = s.pipeline.cli(*words, check=False)
        assert done.returncode == code and done.stderr and not done.stdout, (words, done)
    done = s.pipeline.cli("--socket", s.folder / "nothing", "status", check=False)
    assert done.returncode == 69 and "nothing" in done.stderr


def test_status_in_words(s):
    people = len(s.settle())
    text = s.pipeline.cli("status").stdout
    assert re.search(rf"^corp +yes +{people} ", text, re.M), text
    assert re.search(rf"^app +ok +{people} ", text, re.M) and re.search(rf"^m365 +ok +{people} ", text, re.M), text
    assert s.d.uri in text and "not ready" not in text


# ---- pages that machines read ----


def get(s, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{s.pipeline.http_port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics(s):
    """Lints and gives {name{labels}: value}."""
    kinds, values = {}, {}
    for line in get(s, "/metrics")[1].splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds and (kind == "counter") == name.endswith("_total"), line
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = re.fullmatch(r'(dirpipe_\w+)(\{(?:\w+="(?:[^"\\\n]|\\.)*",?)*\})? (\S+)', line)
            assert match, line
            name, labels, value = match.groups()
            assert name in kinds or re.sub(r"_(bucket|sum|count)$", "", name) in kinds, line
            assert name + (labels or "") not in values, line
            values[name + (labels or "")] = float(value)
    return values


def test_metrics_tell_what_was_done(s):
    people = len(s.settle())
    found = metrics(s)
    for target, service in s.services.items():
        creates = found[f'dirpipe_operations_total{{target="{target}",op="create",result="success"}}']
        assert creates == service.stats()["creates"]
        assert found[f'dirpipe_queue_messages{{target="{target}",state="ready"}}'] == 0
        assert found[f'dirpipe_target_state{{target="{target}",state="ok"}}'] == 1
        assert found[f'dirpipe_workers{{target="{target}"}}'] == 1
    assert found['dirpipe_source_users{source="corp"}'] >= people
    assert found[f'dirpipe_source_connected{{source="corp",server="{s.d.uri}"}}'] == 1
    assert found["dirpipe_redis_up"] == 1
    assert not re.search("example.com|u0000", "".join(n for n in found)), "no person in a label"


def test_ready_follows_the_directory(s):
    assert get(s, "/readyz")[0] == 200 and get(s, "/livez") == (200, "ok\n")
    s.d.stop()
    s.pipeline.wait(lambda: get(s, "/readyz")[0] == 503, "not ready without a directory", 10)
    failed = json.loads(get(s, "/readyz")[1])["failed"]
    assert [f["check"] for f in failed] == ["source:corp"]
    assert "not ready: source:corp" in s.pipeline.cli("status").stdout
    assert metrics(s)[f'dirpipe_source_connected{{source="corp",server="{s.d.uri}"}}'] == 0
    s.d.start()
    s.pipeline.wait(lambda: get(s, "/readyz")[0] == 200, "ready again")


# ---- secrets ----


def test_no_secret_shows_anywhere(s):
    """Everything that is a secret in this set-up, what the services gave out among it, is looked for where dirpipe writes."""
    passwords = [w["body"]["passwordProfile"]["password"] for w in s.graph.ledger() if "passwordProfile" in (w.get("body") or {})]
    canaries = [s.scim.token, s.graph.client_secret, s.d.password_file().read_text(), *passwords]
    assert len(passwords) >= 40
    dump = subprocess.run(["redis-cli", "-s", s.pipeline.redis_socket, "--scan"], capture_output=True, check=True).stdout.decode().split()
    assert any(key.startswith(REALM + "user:") for key in dump)
    append_only = b"".join(p.read_bytes() for p in (s.pipeline.directory / "state" / "redis").rglob("*") if p.is_file())
    assert b"user:" in append_only
    places = {"log": s.pipeline.log_path.read_bytes(), "redis": append_only, "metrics": get(s, "/metrics")[1].encode(),
              "stats": get(s, "/stats")[1].encode(), "status": json.dumps(s.status()).encode(),
              "config show": s.pipeline.cli("config", "show").stdout.encode(),
              "argv": b"".join(open(f"/proc/{pid}/cmdline", "rb").read() for name in
                               ("dirpipe-broker", "dirpipe-collector", "dirpipe-worker", "redis-server") for pid in s.pipeline.pids(name))}
    for name, text in places.items():
        assert text and not [c for c in canaries if c.encode() in text], name
        assert b"Bearer " not in text and b"userPassword" not in text, name


def test_programs_say_their_version():
    for name in ("dirpipe", "dirpipe-broker", "dirpipe-collector", "dirpipe-worker"):
        done = subprocess.run([build_dir() / name, "-V"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0 and re.fullmatch(rf"{name} \d+\.\d+\.\d+\n", done.stdout), done
