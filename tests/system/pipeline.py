"""All of dirpipe on one host, as an operator runs it: a configuration, `dirpipe up`, the command beside it.

    with Pipeline(directory, sources={"corp": slapd.source()}, targets={"app": scim, "m365": graph}) as p:
        p.wait_idle()
        p.cli("status")
"""

import json
import os
import pathlib
import random
import select
import signal
import socket
import subprocess
import time

import expected
from sims import build_dir


def free_port():
    """Below the range of outgoing connections: while a server is down nobody takes its port, not even a client that connects to itself."""
    for port in random.sample(range(15000, 31000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


class Secret(str):
    """A file that holds a secret: written to the configuration as !file PATH."""


def to_yaml(value, indent=0):
    """YAML of plain data; strings as JSON, which YAML 1.2 contains."""
    pad = "  " * indent
    if isinstance(value, Secret):
        return f"!file {json.dumps(str(value))}"
    if isinstance(value, dict):
        if not value:
            return "{}"
        return "".join(f"\n{pad}{json.dumps(str(k))}: {to_yaml(v, indent + 1)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(to_flow(v) for v in value) + "]"
    if isinstance(value, pathlib.Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)


def to_flow(value):
    if isinstance(value, Secret):
        return f"!file {json.dumps(str(value))}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))}: {to_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(to_flow(v) for v in value) + "]"
    return json.dumps(str(value) if isinstance(value, pathlib.Path) else value, ensure_ascii=False)


def merge(base, more):
    """A copy of base with more laid over it, section by section."""
    result = dict(base)
    for key, value in more.items():
        result[key] = merge(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
    return result


def target_section(service, kind, **more):
    """The configuration of a target for a simulator of sims.py and a kind of directory of expected.NAMES."""
    driver = service.driver
    section = {"driver": driver, "url": service.url, "tls": {"ca_file": service.ca_file}, "mapping": expected.mapping(driver, kind)}
    if driver == "graph":
        section |= {"login_url": service.login_url, "tenant": service.tenant,
                    "auth": {"method": "client_secret", "client_id": service.client_id,
                             "client_secret": Secret(service.client_secret_file)},
                    "join": [{"remote": "onPremisesImmutableId", "local": "immutable_id"}]}
    elif driver == "salesforce":
        section |= {"auth": {"method": "client_secret", "client_id": service.client_id,
                             "client_secret": Secret(service.client_secret_file), "api_hosts": [service.instance]},
                    "options": {"external_id": "DirectoryId__c"}, "join": [{"remote": "DirectoryId__c", "local": "id"}]}
    elif driver == "rescue":
        section |= {"auth": {"method": "bearer", "token": Secret(service.token_file)}, "join": [{"remote": "email", "local": "mail"}],
                    "default_password": Secret(service.default_password_file)}
    else:
        remote = "SchoolIdNumber" if driver == "incidentiq" else "externalId"
        section |= {"auth": {"method": "bearer", "token": Secret(service.token_file)}, "join": [{"remote": remote, "local": "id"}]}
    if driver == "incidentiq":
        section |= {"options": {"site_id": service.site}}
    return merge(section, more)


class Pipeline:
    def __init__(self, directory, sources, targets, broker=None, workers=None, build=None, env=None, log_level="info"):
        """sources: name -> section as in dirpipe.yaml; targets likewise (target_section makes one). workers: target -> processes."""
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.build = pathlib.Path(build) if build else build_dir()
        self.http_port = free_port()
        run = self.directory / "run"
        run.mkdir(exist_ok=True)
        self.conf = {
            "broker": merge({"endpoints": [f"ipc://{run}/b"], "control": f"{run}/c", "http": f"127.0.0.1:{self.http_port}",
                             "lease": "5s", "grace": "1s", "redis": {"url": f"unix://{run}/r", "fsync": "always"}}, broker or {}),
            "connect": {"endpoints": [f"ipc://{run}/b"]},
            "log": {"level": log_level},
            "sources": sources,
            "targets": targets,
        }
        self.path = self.directory / "dirpipe.yaml"
        self.workers = workers or {}
        self.env = {**os.environ, **(env or {})}
        self.log_path = self.directory / "log.jsonl"
        self.process = None
        self.write()

    def write(self):
        self.path.write_text(to_yaml(self.conf).lstrip("\n") + "\n")

    @property
    def redis_socket(self):
        return self.conf["broker"]["redis"]["url"].removeprefix("unix://")

    def start(self):
        command = [self.build / "dirpipe", "--config", self.path, "up", "--state", self.directory / "state"]
        for target, n in self.workers.items():
            command += ["--workers", f"{target}={n}"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.env, start_new_session=True)
        return self

    def stop(self):
        """Ends it in order; the exit code."""
        if not self.process:
            return None
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        code, self.process = self.process.returncode, None
        return code

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()

    def log(self):
        """The log's lines, parsed; what is not JSON is given as {"msg": line}."""
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"msg": line})
        return lines

    def cli(self, *words, check=True, input=None):
        """Runs the command; its output, parsed with --json."""
        done = subprocess.run([str(self.build / "dirpipe"), "--config", str(self.path), *map(str, words)], capture_output=True,
                              text=True, env=self.env, timeout=60, input=input)
        if check and done.returncode != 0:
            raise RuntimeError(f"dirpipe {' '.join(map(str, words))}: exit {done.returncode}: {done.stderr}")
        if "--json" in words and done.returncode == 0:
            return json.loads(done.stdout)
        return done

    def status(self):
        """`dirpipe status`, or None while the broker does not answer."""
        answer = self.cli("status", "--json", check=False)
        return answer if isinstance(answer, dict) else None

    def pids(self, program):
        """Process ids of a program of this pipeline, by what stands in /proc (dirpipe-worker, redis-server, …)."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if parent == self.process.pid and pathlib.Path(os.fsdecode(words[0])).name.split(" ")[0] == program:
                found.append(int(entry.name))
        return found

    def wait(self, condition, what, deadline_s=60):
        """Waits until condition() is true and returns what it returned."""
        end = time.monotonic() + deadline_s
        while True:
            result = condition()
            if result:
                return result
            if self.process and self.process.poll() is not None:
                raise RuntimeError(f"dirpipe up ended with {self.process.returncode} while waiting for {what}:\n{self.tail()}")
            if time.monotonic() > end:
                raise TimeoutError(f"{what}; status {json.dumps(self.status())}\n{self.tail()}")
            select.select([], [], [], 0.05)

    def tail(self, n=25):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-n:])

    def idle(self):
        """The status when all sources are connected and nothing is due, delayed or in flight; else None."""
        status = self.status()
        if not status or status["state"] != "ready" or not all(s["connected"] for s in status["sources"]):
            return None
        busy = any(t["queue"][k] for t in status["targets"] for k in ("ready", "delayed", "in_flight"))
        return None if busy else status

    def wait_idle(self, users=None, deadline_s=60):
        """Waits until nothing is left to do (and, with users, so many are known)."""
        def settled():
            status = self.idle()
            return status if status and (users is None or sum(s["users"] for s in status["sources"]) >= users) else None
        return self.wait(settled, "all work to be done", deadline_s)
