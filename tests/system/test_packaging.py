"""What is installed, run for real: the systemd units in a booted Debian, the image and the compose file in containers. All of it in a box
(box.py), with the directory and the target service beside it; only in the release preset, whose programs are the installed ones."""

import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import debianroot
import expected
from box import Box, Unavailable, children, output, wait_until
from pipeline import Secret, merge, target_section, to_yaml
from servers import READER_PASSWORD, Slapd
from sims import Authority, ScimSim, build_dir

TOP = pathlib.Path(__file__).resolve().parents[2]
UNITS = TOP / "config/systemd"
PEOPLE = 30
KIND = "openldap"
HOST = "198.51.100.1"  # an address of the box, which containers reach
REDIS_PASSWORD = "redis-secret-6d1f"
WORKERS = ["dirpipe-worker@app-1.service", "dirpipe-worker@app-2.service"]
SERVICES = ["dirpipe-broker.service", "dirpipe-collector@corp.service", *WORKERS]

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get("DIRPIPE_PRESET") != "release", reason="what is installed is the release preset's"),
]


@pytest.fixture(scope="module")
def packages():
    done = output([TOP / "tests/setup", "image"], timeout=600, check=False)
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packaging")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def box(packages, scratch):
    try:
        with Box(scratch) as box:
            box.run("ip", "address", "add", f"{HOST}/32", "dev", "lo")
            yield box
    except Unavailable as reason:
        pytest.skip(str(reason))


class Services:
    """The directory and the target of one test, in the box's network."""

    def __init__(self, box, folder):
        self.box = box
        authority = Authority(folder / "ca")
        for name, rsa in (("server", False), ("slapd", True)):
            authority.issue(name, f"DNS:localhost,IP:127.0.0.1,IP:{HOST}", rsa=rsa)
        self.ca_file = authority.ca_file
        with box.network():
            self.directory = Slapd(folder / "slapd", users=PEOPLE)
            self.directory.authority, self.directory.ca_file = authority, authority.ca_file
            self.directory.start()
            self.target = ScimSim(folder / "scim", authority=authority).start()
        self.secrets = {"corp_password": READER_PASSWORD, "redis_password": REDIS_PASSWORD, "app_token": self.target.token}

    def stop(self):
        self.target.stop()
        self.directory.stop(hard=True)

    def configuration(self, host, ca_file, secret, **more):
        """dirpipe.yaml; secret(name) says how a secret is referred to."""
        source = self.directory.source(attributes=expected.attributes(KIND), routes=[{"target": "app"}], uri=f"ldaps://{host}:{self.directory.tls_port}")
        target = target_section(self.target, KIND)
        conf = {
            "broker": {"lease": "5s", "grace": "1s", "redis": {"fsync": "always"}},
            "sources": {"corp": merge(source, {"bind": {"password": Secret("corp_password")}, "tls": {"ca_file": ca_file}})},
            "targets": {"app": merge(target, {"url": self.target.url.replace("127.0.0.1", host), "tls": {"ca_file": ca_file},
                                              "auth": {"token": Secret("app_token")}})},
        }
        text = to_yaml(merge(conf, more)).lstrip("\n") + "\n"
        return re.sub(r'!file "(\w+)"', lambda m: secret(m.group(1)), text)

    def differences(self):
        """What is not yet as the directory says."""
        with self.box.network():
            people, accounts = self.directory.people(), self.target.dump()
        equal, wrong = expected.compare("scim", KIND, people, accounts)
        return wrong if wrong or equal == len(people) else [f"{equal} of {len(people)}"]

    def wait_equal(self, explain, deadline_s=60):
        wait_until(lambda: not self.differences(), lambda: f"{self.differences()[:3]}\n{explain()}", deadline_s)

    def change(self, number, title):
        with self.box.network():
            person = self.directory.people()[number]["dn"]
            self.directory.replace(person, title=title)


# ---- what can be seen without running it ----

def test_packages_are_named_in_one_place():
    listed = debianroot.wanted("build", "run", "test", "lint", "image")
    assert len(listed) == len(set(listed))
    dockerfile = (TOP / "docker/Dockerfile").read_text()
    installs = re.findall(r"apt-get install((?: +-\S+)*)(.*)", dockerfile.replace("\\\n", " "))
    assert len(installs) == 2 == len(re.findall(r"apt-get install", dockerfile))
    assert all(rest.strip() == "" or rest.strip().startswith("&&") for _, rest in installs), "the Dockerfile names packages"
    assert dockerfile.count("config/packages.txt") >= 2


def test_compose_file_is_accepted(packages, scratch):
    shown = output(["docker-compose", "-f", TOP / "docker/docker-compose.yml", "config"], cwd=scratch).stdout
    for service in ("redis", "broker", "collector", "worker"):
        assert f"\n  {service}:\n" in shown
    assert shown.count("read_only: true") == 3
    bad = scratch / "bad.yml"
    bad.write_text((TOP / "docker/docker-compose.yml").read_text().replace("depends_on:", "depend_on:"))
    assert output(["docker-compose", "-f", bad, "config"], check=False).returncode != 0


# ---- a booted Debian ----

class Debian:
    """A root with dirpipe installed in it, and what runs in it."""

    def __init__(self, box, folder, services):
        self.box, self.services, self.log = box, services, folder.parent / "boot.log"
        programs = [build_dir() / name for name in ("dirpipe", "dirpipe-broker", "dirpipe-collector", "dirpipe-worker")]
        archive = debianroot.packed("booted", ["systemd", "systemd-sysv", "dbus", "procps", *debianroot.wanted("run"), *debianroot.libraries(*programs)])
        self.root = debianroot.unpacked(archive, folder)
        output(["cmake", "--install", build_dir(), "--prefix", "/usr"], env={**os.environ, "DESTDIR": str(self.root)})
        self.write("etc/dirpipe/dirpipe.yaml", services.configuration(
            "127.0.0.1", "/etc/dirpipe/ca.pem", lambda name: f"!credential {name}", broker={"redis": {"password": Secret("redis_password")}}))
        self.write("etc/dirpipe/ca.pem", services.ca_file.read_text())
        for name, value in services.secrets.items():
            self.write(f"etc/dirpipe/credentials/{name}", value + "\n", 0o600)
        redis = self.root / "etc/redis/redis.conf"
        redis.write_text(redis.read_text() + f"appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\nrequirepass {REDIS_PASSWORD}\n")
        self.process = self.leader = None

    def write(self, path, text, mode=0o644):
        file = self.root / path
        file.write_text(text)
        file.chmod(mode)

    def boot(self):
        self.process = self.box.start("systemd-nspawn", "--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
                                      "--machine=dirpipe", "--directory", self.root, "--boot", log=self.log)
        wait_until(self.find_leader, lambda: f"systemd begins\n{self.log.read_text(errors='replace')}", 30)
        state = wait_until(self.state, "systemd has started everything", 60)
        assert state == "running", self.run("systemctl", "--failed", check=False).stdout

    def find_leader(self):
        """The first process of the booted system, by its place below nspawn."""
        left = [self.process.pid]
        while left:
            pid = left.pop()
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            if re.search(r"^Name:\tsystemd$", status, re.M) and re.search(r"^NSpid:.*\t1$", status, re.M):
                self.leader = pid
            left += children(pid)
        return self.leader

    def state(self):
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state if state in ("running", "degraded") else None

    def run(self, *command, **options):
        return self.box.run(*command, pid=self.leader, **options)

    def show(self, unit, *names):
        lines = self.run("systemctl", "show", unit, "--property=" + ",".join(names)).stdout.splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return values[names[0]] if len(names) == 1 else values

    def journal(self, *options):
        return self.run("journalctl", "--no-pager", "--output=cat", *options).stdout

    def wait_active(self, services=tuple(SERVICES)):
        def active():
            return all(self.show(unit, "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"} for unit in services)
        wait_until(active, lambda: self.run("systemctl", "status", "--no-pager", *services, check=False).stdout + self.journal("-n", "40"), 60)

    def explain(self):
        return self.journal("-n", "30")

    def stop(self):
        if self.leader:
            self.run("systemctl", "poweroff", "--no-block", check=False)
            assert self.process.wait(40) == 0


@pytest.fixture(scope="module")
def services(box, scratch):
    (scratch / "booted").mkdir()
    services = Services(box, scratch / "booted")
    yield services
    services.stop()


@pytest.fixture(scope="module")
def debian(box, scratch, services):
    try:
        return Debian(box, scratch / "booted/root", services)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def booted(debian):
    debian.boot()
    try:
        debian.run("systemctl", "enable", "dirpipe.target", *SERVICES)
        debian.run("systemctl", "start", "dirpipe.target")
        yield debian
    finally:
        debian.stop()


def in_root(debian, *command):
    return debian.box.run("chroot", debian.root, *command, check=False)


def test_systemd_finds_nothing_wrong_with_the_units(debian):
    names = [unit.name.replace("@.", "@app-1.") for unit in sorted(UNITS.iterdir())]
    done = in_root(debian, "systemd-analyze", "verify", *names)
    assert (done.returncode, done.stdout) == (0, "")
    broken = debian.root / "run/dirpipe-wrong.service"
    broken.write_text((UNITS / "dirpipe-broker.service").read_text().replace("ProtectClock=", "ProtectClok="))
    assert "ProtectClok" in in_root(debian, "systemd-analyze", "verify", "/run/dirpipe-wrong.service").stdout
    broken.unlink()


@pytest.mark.parametrize("unit, most", [("dirpipe-broker.service", 10), ("dirpipe-collector@.service", 12), ("dirpipe-worker@.service", 12)])
def test_units_are_hardened(debian, unit, most):
    done = in_root(debian, "systemd-analyze", "security", "--offline=true", f"--threshold={most}", f"/usr/lib/systemd/system/{unit}")
    assert done.returncode == 0, done.stdout


def test_services_start_and_people_arrive(booted):
    booted.wait_active()
    booted.services.wait_equal(booted.explain)
    for unit in SERVICES:
        assert booted.show(unit, "Type", "Slice", "DynamicUser") == {"Type": "notify", "Slice": "dirpipe.slice", "DynamicUser": "yes"}
    assert booted.show("dirpipe-broker.service", "StatusText").startswith("epoch ")
    assert booted.show("dirpipe-broker.service", "User") == "dirpipe"


def test_status_answers_inside(booted):
    status = json.loads(booted.run("dirpipe", "status", "--json").stdout)
    assert status["state"] == "ready"
    assert [s["users"] for s in status["sources"]] == [PEOPLE]
    workers = booted.run("dirpipe", "status").stdout
    assert "app" in workers and "corp" in workers


def test_credentials_reach_the_services_only(booted):
    for unit in SERVICES:
        folder = f"/run/credentials/{unit}"
        assert sorted(booted.run("ls", folder).stdout.split()) == [f"dirpipe_{name}" for name in sorted(booted.services.secrets)]
        pid = booted.show(unit, "MainPID")
        words = booted.run("cat", f"/proc/{pid}/cmdline", f"/proc/{pid}/environ").stdout
        assert not [name for name, value in booted.services.secrets.items() if value in words]
    assert booted.run("setpriv", "--reuid=65534", "--clear-groups", "cat", "/etc/dirpipe/credentials/app_token", check=False).returncode != 0


def test_a_killed_worker_comes_back(booted):
    before = booted.show(WORKERS[0], "MainPID")
    booted.run("systemctl", "kill", "--signal=KILL", WORKERS[0])
    wait_until(lambda: booted.show(WORKERS[0], "MainPID") not in ("0", before), "another process", 20)
    booted.services.change(1, "After the kill")
    booted.services.wait_equal(booted.explain)
    booted.wait_active()
    assert booted.show(WORKERS[0], "NRestarts") == "1"


def test_a_hung_broker_is_restarted_by_the_watchdog(booted):
    before = booted.show("dirpipe-broker.service", "MainPID")
    booted.run("kill", "-STOP", before)
    booted.services.change(2, "While the broker hung")
    wait_until(lambda: booted.show("dirpipe-broker.service", "MainPID") not in ("0", before), "another broker", 40)
    assert "Watchdog timeout" in booted.journal("--unit=dirpipe-broker.service")
    booted.services.wait_equal(booted.explain)
    booted.wait_active()


def test_reload_keeps_the_services(booted):
    before = {unit: booted.show(unit, "MainPID") for unit in SERVICES}
    booted.write("etc/dirpipe/dirpipe.yaml", (booted.root / "etc/dirpipe/dirpipe.yaml").read_text() + "log: {level: debug}\n")
    booted.run("systemctl", "reload", *SERVICES)
    for unit, code in zip(SERVICES, ["DP-1007", "DP-1004", "DP-3302", "DP-3302"]):
        wait_until(lambda: code in booted.journal(f"--unit={unit}"), lambda: f"{unit} says {code}\n{booted.journal(f'--unit={unit}')}", 20)
    booted.wait_active()
    assert {unit: booted.show(unit, "MainPID") for unit in SERVICES} == before
    booted.services.change(3, "After the reload")
    booted.services.wait_equal(booted.explain)


def test_a_bad_configuration_does_not_start(booted):
    path = booted.root / "etc/dirpipe/dirpipe.yaml"
    good = path.read_text()
    path.write_text(good.replace("broker", "brokr", 1))
    done = booted.run("systemctl", "restart", WORKERS[1], check=False)
    path.write_text(good)
    assert done.returncode != 0 and "brokr" in booted.journal(f"--unit={WORKERS[1]}")
    booted.run("systemctl", "stop", WORKERS[1])
    booted.run("systemctl", "reset-failed", WORKERS[1], check=False)
    booted.run("systemctl", "start", WORKERS[1])
    booted.wait_active()


def test_stop_is_clean_and_start_goes_on(booted):
    start = time.monotonic()
    booted.run("systemctl", "stop", "dirpipe.target")
    wait_until(lambda: all(booted.show(u, "ActiveState") == "inactive" for u in SERVICES), "all are stopped", 20)
    assert time.monotonic() - start < 10
    for unit in SERVICES:
        assert booted.show(unit, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}, booted.journal(f"--unit={unit}", "-n", "20")
    booted.services.change(4, "While all was stopped")
    booted.run("systemctl", "start", "dirpipe.target")
    booted.wait_active()
    booted.services.wait_equal(booted.explain)


def test_nothing_failed_and_no_secret_was_logged(booted):
    assert booted.run("systemctl", "--failed", "--no-legend", "--plain").stdout == ""
    everything = booted.run("journalctl", "--no-pager", "--output=json").stdout
    assert "dirpipe-broker" in everything
    assert not [name for name, value in booted.services.secrets.items() if value in everything]
    stats = booted.services.box
    with stats.network():
        assert booted.services.target.stats()["duplicates"] == 0


# ---- containers ----

class Containers:
    """docker-compose against podman's service, with podman's files in tests/.cache (layers) and in the box (all else)."""

    def __init__(self, box, folder):
        self.box, self.folder, self.log = box, folder, folder / "podman.log"
        (folder / "containers.conf").write_text("""[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
tmp_dir = "/run/libpod"
[network]
network_backend = "netavark"
network_config_dir = "/run/networks"
""")
        (folder / "storage.conf").write_text(f"""[storage]
driver = "overlay"
graphroot = "{debianroot.CACHE}/podman"
runroot = "/run/containers"
""")
        self.env = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf"), "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
                    "DOCKER_HOST": "unix:///run/podman.sock", "COMPOSE_PROJECT_NAME": "dirpipe", "REDIS_IMAGE": "localhost/dirpipe/redis:12",
                    "DIRPIPE_IMAGE": "localhost/dirpipe/dirpipe:test", "DIRPIPE_TARGET": "app", "DIRPIPE_CONFIG": str(folder / "dirpipe.yaml"),
                    "DIRPIPE_SECRETS": str(folder / "secrets")}
        self.service = None

    def podman(self, *words, net="box", **options):
        return self.box.run("podman", *words, net=net, env=self.env, **options)

    def compose(self, *words, **options):
        return self.box.run("docker-compose", "--file", TOP / "docker/docker-compose.yml", *words, env=self.env, cwd=self.folder, **options)

    def build(self):
        """Images of the same base; layers are kept from run to run, so only what changed is built."""
        self.podman("rm", "--all", "--force")
        self.podman("volume", "prune", "--force")
        base = debianroot.packed("base", ["ca-certificates"])
        image = f"localhost/dirpipe/base:{base.stem.rsplit('-', 1)[1]}"
        if self.podman("image", "exists", image, check=False).returncode:
            self.podman("import", base, image, timeout=200)
        tried = self.podman("run", "--rm", "--network=none", image, "true", check=False)
        if tried.returncode:
            raise Unavailable(f"podman runs no container here: {tried.stdout.strip()[-300:]}")
        common = ["--network=host", "--format=docker", "--layers", f"--build-arg=BASE={image}"]
        redis = self.folder / "redis"
        redis.mkdir()
        (redis / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN apt-get update && apt-get install -y --no-install-recommends redis-server\n"
                                          "USER redis\nVOLUME /data\nWORKDIR /data\n")
        self.podman("build", *common, "--tag", self.env["REDIS_IMAGE"], redis, net="host", timeout=300)
        dockerfile = ["--file", TOP / "docker/Dockerfile"]
        for tag, more in (("localhost/dirpipe/build:test", ["--target=build"]), (self.env["DIRPIPE_IMAGE"], [])):
            self.podman("build", *common, *dockerfile, *more, "--tag", tag, TOP, net="host", timeout=600)
        self.podman("image", "prune", "--force")

    def serve(self):
        self.service = self.box.start("podman", "system", "service", "--time=0", "unix:///run/podman.sock", log=self.log, env=self.env)
        wait_until(lambda: self.box.run("test", "-S", "/run/podman.sock", check=False).returncode == 0, "podman's socket", 20)

    def up(self, *words):
        """As docker would, but the health checks are run from here: podman leaves them to systemd."""
        with open(self.log, "ab") as out:
            up = subprocess.Popen(self.box.words("docker-compose", "--file", TOP / "docker/docker-compose.yml", "up", "--detach", *words),
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env, cwd=self.folder)

        def ended():
            self.podman("healthcheck", "run", "dirpipe_redis_1", check=False)
            return up.poll() is not None
        wait_until(ended, self.explain, 120)
        assert up.returncode == 0, self.explain()

    def ids(self, service):
        return self.podman("ps", "--quiet", f"--filter=label=com.docker.compose.service={service}").stdout.split()

    def status(self):
        done = self.podman("exec", "dirpipe_broker_1", "dirpipe", "status", "--json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def explain(self):
        return "\n".join([self.log.read_text(errors="replace")[-3000:], self.podman("ps", "--all", check=False).stdout,
                          self.compose("logs", "--no-color", "--tail=15", check=False).stdout[-6000:]])


@pytest.fixture(scope="module")
def target_side(box, scratch):
    (scratch / "contained").mkdir()
    services = Services(box, scratch / "contained")
    relays = []
    for port in (services.directory.tls_port, services.target.port):  # they listen on 127.0.0.1 alone
        relays.append(box.start("socat", f"TCP-LISTEN:{port},bind={HOST},reuseaddr,fork", f"TCP:127.0.0.1:{port}", log=scratch / "relay.log"))
    yield services
    for relay in relays:
        relay.terminate()
        relay.wait(10)
    services.stop()


@pytest.fixture(scope="module")
def containers(box, scratch):
    debianroot.CACHE.mkdir(exist_ok=True)
    with open(debianroot.CACHE / "podman.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        containers = Containers(box, scratch / "contained")
        try:
            debianroot.need_mirror()
            containers.build()
        except Unavailable as reason:
            pytest.skip(str(reason))
        yield containers


@pytest.fixture(scope="module")
def composed(containers, target_side):
    secrets = containers.folder / "secrets"
    secrets.mkdir()
    for name in ("corp_password", "app_token"):
        (secrets / name).write_text(target_side.secrets[name])
        (secrets / name).chmod(0o400)
        os.chown(secrets / name, 65532, 65532)
    shutil.copy(target_side.ca_file, secrets / "ca.pem")
    (secrets / "ca.pem").chmod(0o644)
    (containers.folder / "dirpipe.yaml").write_text(target_side.configuration(
        HOST, "/run/secrets/ca.pem", lambda name: f"!file /run/secrets/{name}", broker={"redis": {"url": "redis://redis:6379/0"}}))
    containers.serve()
    containers.up("--scale", "worker=3")
    yield containers
    containers.compose("down", "--volumes", check=False)


def test_image_runs_without_rights(target_side, containers):
    run = ["run", "--rm", "--read-only", "--cap-drop=all", "--network=none", containers.env["DIRPIPE_IMAGE"]]
    assert "dirpipe" in containers.podman(*run).stdout
    for program in ("dirpipe-broker", "dirpipe-collector", "dirpipe-worker"):
        assert containers.podman(*run, program, "-V").stdout.startswith(program)
    assert containers.podman(*run, "id", "-u").stdout.strip() == "65532"
    assert re.search(r"^CapEff:\s*0+$", containers.podman(*run, "cat", "/proc/self/status").stdout, re.M)
    assert containers.podman(*run, "touch", "/usr/bin/x", check=False).returncode != 0
    size = int(containers.podman("image", "inspect", "--format={{.Size}}", containers.env["DIRPIPE_IMAGE"]).stdout)
    assert size < 400 * 10**6
    assert "cc1" not in containers.podman(*run, "find", "/usr/lib/gcc", check=False).stdout


def test_compose_starts_it_and_people_arrive(composed, target_side):
    target_side.wait_equal(composed.explain)
    assert [len(composed.ids(service)) for service in ("redis", "broker", "collector", "worker")] == [1, 1, 1, 3]
    status = wait_until(composed.status, composed.explain)
    assert status["state"] == "ready" and status["sources"][0]["users"] == PEOPLE
    assert [len(t["workers"]) for t in status["targets"]] == [3]
    for container in composed.ids("worker"):
        reach = composed.podman("exec", container, "bash", "-c", "exec 3<>/dev/tcp/redis/6379", check=False)
        assert reach.returncode != 0, "a worker reaches Redis"


def test_a_killed_container_comes_back(composed, target_side):
    worker = composed.ids("worker")[0]
    pid = composed.podman("inspect", "--format={{.State.Pid}}", worker).stdout.strip()
    composed.box.run("kill", "-KILL", pid)
    target_side.change(1, "After the kill")
    target_side.wait_equal(composed.explain)
    wait_until(lambda: len(composed.ids("worker")) == 3 and len(composed.status()["targets"][0]["workers"]) == 3, composed.explain, 40)


def test_down_ends_all_in_order(composed, target_side):
    start = time.monotonic()
    said = composed.compose("stop").stdout
    assert time.monotonic() - start < 30, said
    codes = composed.podman("ps", "--all", "--format={{.Names}} {{.ExitCode}}").stdout.split("\n")
    assert sorted(filter(None, codes)) == [f"dirpipe_{name} 0" for name in ("broker_1", "collector_1", "redis_1", "worker_1", "worker_2", "worker_3")]
    logs = composed.compose("logs", "--no-color").stdout
    assert "dirpipe-broker" in logs
    assert not [name for name, value in target_side.secrets.items() if value in logs]
    composed.compose("down", "--volumes")
    assert composed.podman("ps", "--all", "--quiet").stdout == ""
    assert composed.podman("volume", "ls", "--quiet").stdout == ""
