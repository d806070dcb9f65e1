"""What the bench runs: dirpipe's programs one by one (so that each one's time and CPU can be told), the peers, and the simulators
between them. All on one host, all against the same simulator in C with TLS verified; a run counts only if its ledger has each user once."""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/system"))

from pipeline import Pipeline, Secret, merge  # noqa: E402
from servers import READER, READER_PASSWORD, SUFFIX, LdapServer, Slapd  # noqa: E402, F401
from sims import CACHE, GraphSim, ScimSim, build_dir  # noqa: E402, F401

PEERS = TOP / "tests/bench/peers"
TICK = os.sysconf("SC_CLK_TCK")
ATTRIBUTES = ["uid", "cn", "displayName", "givenName", "sn", "title", "departmentNumber"]
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SCIM_MAPPING = {  # climit's fields, and nothing that needs jq
    "userName": "uid", "externalId": "id", "displayName": "displayName", "name.givenName": "givenName", "name.familyName": "sn",
    "title": "title", f"{ENTERPRISE}.department": "departmentNumber",
}
GRAPH_MAPPING = {
    "userPrincipalName": "mail", "mailNickname": "uid", "displayName": "displayName", "givenName": "givenName", "surname": "sn",
    "jobTitle": "title", "department": "departmentNumber", "usageLocation": {"const": "DE"},
}


class Refused(Exception):
    """The figure cannot be measured here; the text says why."""


def cpu_s(pid):
    """User and system seconds of a process (its threads, not its children)."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_mb(pid, key="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def pss_mb(pid):
    """Memory with what is shared (Debian's libraries) divided among those who map it."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wakeups(pid):
    """Voluntary context switches of all threads."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def directory_of(folder, users):
    return Slapd(folder, users=users, options={"sessionlog": 1000})


def source_of(directory, targets=("app",), attributes=ATTRIBUTES):
    return merge(directory.source(attributes=list(attributes), routes=[{"target": t} for t in targets]), {"users": {"references": []}})


def scim_section(scim, connections=16, bulk=False, credits=None, concurrency=None):
    section = {"driver": "scim", "url": scim.url, "tls": {"ca_file": scim.ca_file}, "mapping": SCIM_MAPPING,
               "auth": {"method": "bearer", "token": Secret(scim.token_file)}, "join": [{"remote": "externalId", "local": "id"}],
               "http": {"connections": connections}, "options": {"bulk": "auto" if bulk else "never"}}
    return with_window(section, credits, concurrency)


def graph_section(graph, connections=16, credits=None, concurrency=None):
    section = {"driver": "graph", "url": graph.url, "login_url": graph.login_url, "tenant": graph.tenant, "tls": {"ca_file": graph.ca_file},
               "auth": {"method": "client_secret", "client_id": graph.client_id, "client_secret": Secret(graph.client_secret_file)},
               "mapping": GRAPH_MAPPING, "join": [{"remote": "onPremisesImmutableId", "local": "immutable_id"}],
               "http": {"connections": connections}}
    return with_window(section, credits, concurrency)


def with_window(section, credits, concurrency):
    if credits:
        section["worker"] = {"credits": credits}
    if concurrency:
        section["pace"] = {"concurrency": concurrency}
    return section


def check_ledger(sim, users, kinds=("create",)):
    """Raises unless the target's own ledger holds each of the users once and nothing else of these kinds."""
    stats = sim.stats()
    writes = [w for w in sim.ledger() if w["kind"] in kinds]
    keys = {w["key"] for w in writes}
    if not (len(writes) == len(keys) == stats["users"] == users) or stats["duplicates"]:
        raise AssertionError(f"the run does not count: {users} users in the directory, {len(writes)} creations of {len(keys)} keys in the "
                             f"ledger, {stats['users']} accounts, {stats['duplicates']} duplicates")
    return writes


class Rig(Pipeline):
    """dirpipe with each program as a process of ours: redis, broker and workers first; the collector when it is asked for."""

    def __init__(self, directory, sources, targets, fsync="always", log_level="warn", broker=None, **more):
        super().__init__(directory, sources, targets, broker=merge({"lease": "30s", "redis": {"fsync": fsync}}, broker or {}),
                         log_level=log_level, **more)
        self.processes = {}
        self.log_file = open(self.log_path, "ab")

    def launch(self, name, *command):
        self.processes[name] = subprocess.Popen([str(w) for w in command], stdin=subprocess.DEVNULL, stdout=self.log_file,
                                                stderr=self.log_file, env=self.env)
        return self.processes[name]

    def program(self, name, program, *words):
        return self.launch(name, self.build / program, "--config", self.path, *words)

    def start_redis(self):
        state = self.directory / "state"
        state.mkdir(exist_ok=True)
        fsync = self.conf["broker"]["redis"]["fsync"]
        self.launch("redis", "redis-server", "--port", 0, "--unixsocket", self.redis_socket, "--unixsocketperm", 600, "--dir", state,
                    "--appendonly", "yes", "--appendfsync", fsync, "--save", "", "--maxmemory-policy", "noeviction",
                    "--hash-max-listpack-value", 2048, "--loglevel", "warning")
        self.wait_for(lambda: pathlib.Path(self.redis_socket).exists(), "redis")

    def start_broker(self, wait=True):
        self.program("broker", "dirpipe-broker")
        if wait:
            self.wait_for(lambda: (self.status() or {}).get("state") == "ready", "the broker")

    def start_workers(self):
        for target in self.conf["targets"]:
            for i in range(self.workers.get(target, 1)):
                self.program(f"worker {target} {i}", "dirpipe-worker", target)
        expected = {t: self.workers.get(t, 1) for t in self.conf["targets"]}

        def connected():
            status = self.status()
            return status and all(len(t["workers"]) >= expected[t["name"]] for t in status["targets"])
        self.wait_for(connected, "the workers")

    def start_collector(self, source="corp"):
        return self.program(f"collector {source}", "dirpipe-collector", source)

    def start(self):
        self.start_redis()
        self.start_broker()
        self.start_workers()
        return self

    def __enter__(self):
        return self.start()

    def end(self, name, hard=False):
        process = self.processes.pop(name, None)
        if not process:
            return
        process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        for part in ("collector", "worker", "broker", "redis"):
            for name in [n for n in self.processes if n.split()[0] == part]:
                self.end(name)
        self.log_file.close()

    def wait_for(self, condition, what, deadline_s=60, every_s=0.02):
        end = time.monotonic() + deadline_s
        while not (result := condition()):
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode} while waiting for {what}:\n{self.tail()}")
            if time.monotonic() > end:
                raise TimeoutError(f"{what}; status {json.dumps(self.status())}\n{self.tail()}")
            select.select([], [], [], every_s)
        return result

    def wait_idle(self, users=None, deadline_s=60):
        def settled():
            status = self.idle()
            return status if status and (users is None or sum(s["users"] for s in status["sources"]) >= users) else None
        return self.wait_for(settled, "all work to be done", deadline_s)

    def cpu(self):
        """Seconds of CPU by part: redis, broker, collector, worker (all of them together)."""
        used = {}
        for name, process in self.processes.items():
            part = name.split()[0]
            used[part] = used.get(part, 0) + cpu_s(process.pid)
        return used

    def memory(self, key="VmRSS"):
        used = {}
        for name, process in self.processes.items():
            part = name.split()[0]
            used[part] = max(used.get(part, 0), rss_mb(process.pid, key))
        return used


def full_sync(rig, sims, users, deadline_s=None):
    """Starts the collector and waits until every simulator has every user. Seconds from the collector's start to the last commit in
    a ledger, and the CPU that each part used."""
    before = rig.cpu()
    started = time.time()
    rig.start_collector()
    deadline_s = deadline_s or 60 + users / 200
    rig.wait_for(lambda: all(s.stats()["users"] >= users for s in sims), "every account", deadline_s, 0.05)
    rig.wait_idle(users, 120)
    writes = [check_ledger(s, users) for s in sims]
    seconds = max(w[-1]["time"] for w in writes) / 1000 - started
    after = rig.cpu()
    return {"seconds": seconds, "users_per_s": users / seconds, "cpu_s": {p: round(after[p] - before.get(p, 0), 3) for p in after}}


# ---- peers ----

def npm_peer():
    """Installs what peers/package-lock.json says into tests/.cache, once; the script's path."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Refused("node and npm are not installed")
    target = CACHE / "bench-peers"
    stamp, lock = target / "installed", (PEERS / "package-lock.json").read_bytes()
    if not stamp.exists() or stamp.read_bytes() != lock:
        target.mkdir(parents=True, exist_ok=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(PEERS / file, target / file)
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=target, capture_output=True, text=True,
                              timeout=300)
        if done.returncode:
            raise Refused(f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}")
        stamp.write_bytes(lock)
    shutil.copy(PEERS / "sync.mjs", target / "sync.mjs")
    return target / "sync.mjs"


def peer_command(peer):
    if peer == "c":
        return [build_dir() / "tests/bench-climit"]
    if peer == "node":
        return ["node", npm_peer()]
    if subprocess.run(["/usr/bin/python3", "-c", "import aiohttp, ldap"], capture_output=True).returncode:
        raise Refused("python3-aiohttp and python3-ldap are not installed")
    return ["/usr/bin/python3", PEERS / "sync.py"]


def run_peer(peer, directory, scim, users, connections=16, mode="create", deadline_s=600):
    """Runs a peer once against the (empty) simulator: its own report and the ledger's seconds."""
    command = [*peer_command(peer), directory.uri, READER, directory.password_file(), directory.people_base, scim.url, scim.token_file,
               scim.ca_file, connections]
    if mode != "create":
        command.append(mode)
    started = time.time()
    done = subprocess.run([str(w) for w in command], capture_output=True, text=True, timeout=deadline_s)
    if done.returncode:
        raise RuntimeError(f"{peer}: exit {done.returncode}: {done.stdout}{done.stderr[-2000:]}")
    report = json.loads(done.stdout)
    if report["users"] != users:
        raise AssertionError(f"{peer} read {report['users']} of {users} users")
    if mode == "create":
        seconds = check_ledger(scim, users)[-1]["time"] / 1000 - started
        report |= {"seconds": seconds, "users_per_s": users / seconds}
    else:
        report["users_per_s"] = users / report["seconds"]
    return report
