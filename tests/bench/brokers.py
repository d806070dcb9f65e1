"""The brokers that an administrator would pick instead, each as a private server of ours on loopback with its data in a folder: Redis Streams,
NATS JetStream, RabbitMQ. All durable, acknowledged per message, and counted as dirpipe is (figures_queue.py)."""

import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

from rig import Refused, build_dir, cpu_s


class Program:
    """A bench program: started, ready, and its report at the end."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        ready, _, _ = select.select([self.process.stdout], [], [], 20)
        if not ready or self.process.stdout.readline().strip() != "ready":
            self.process.kill()
            raise RuntimeError(f"{command[0]} did not become ready")

    def report(self, deadline_s):
        out, _ = self.process.communicate(timeout=deadline_s)
        if self.process.returncode:
            raise RuntimeError(f"exit {self.process.returncode}: {out}")
        return json.loads(out)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.report(20)


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_until(condition, what, deadline_s=60):
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        select.select([], [], [], 0.02)


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A process of ours (with what it started), its CPU, and its end."""

    def __init__(self, folder, command, env=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([str(w) for w in command], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=env,
                                        start_new_session=True)

    def cpu(self):
        return sum(cpu_s(int(p)) for p in group_of(self.process.pid))

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


def group_of(pgid):
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getpgid(int(entry)) == pgid:
                found.append(entry)
        except ProcessLookupError:
            pass
    return found


class Streams:
    def __init__(self, folder, fsync):
        self.socket = pathlib.Path(folder) / "r"
        self.server = Server(folder, ["redis-server", "--port", 0, "--unixsocket", self.socket, "--dir", folder, "--appendonly", "yes",
                                      "--appendfsync", fsync, "--save", "", "--loglevel", "warning", "--daemonize", "no"])
        wait_until(self.socket.exists, "redis")

    def consumer(self, i, n):
        return [build_dir() / "tests/bench-streams", "consume", self.socket, f"c{i}", n]

    def producer(self, n, size):
        return [build_dir() / "tests/bench-streams", "produce", self.socket, n, size]

    def settled(self):
        out = subprocess.run(["redis-cli", "-s", str(self.socket), "XLEN", "q"], capture_output=True, text=True).stdout.strip()
        return out == "0"


class Nats:
    def __init__(self, folder, fsync):
        program = shutil.which("nats-server")
        if not program:
            raise Refused("nats-server is not installed")
        self.port, self.monitor = free_ports(2)
        self.server = Server(folder, [program, "-a", "127.0.0.1", "-p", self.port, "-m", self.monitor, "-js", "-sd", pathlib.Path(folder) / "data"])
        wait_until(lambda: answers(self.port) and answers(self.monitor), "nats-server")

    def consumer(self, i, n):
        return [build_dir() / "tests/bench-nats", "consume", self.port, f"c{i}", n]

    def producer(self, n, size):
        return [build_dir() / "tests/bench-nats", "produce", self.port, n, size]

    def settled(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/jsz", timeout=10) as answer:
            return json.load(answer)["messages"] == 0


class Rabbit:
    """Our own node and epmd, both in the process group that ends with it."""

    def __init__(self, folder, fsync, kind="classic"):
        places = sorted(pathlib.Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
        if not places or not (build_dir() / "tests/bench-rabbit").exists():
            raise Refused("rabbitmq-server or librabbitmq-dev is not installed" if not places else "bench-rabbit was not built")
        self.kind, self.folder, self.sbin = kind, pathlib.Path(folder), places[-1]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, dist, epmd = free_ports(3)
        (self.folder / "plugins").write_text("[].\n")
        self.env = os.environ | {"RABBITMQ_NODENAME": "bench@localhost", "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                                 "RABBITMQ_DIST_PORT": str(dist), "ERL_EPMD_PORT": str(epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
                                 "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
                                 "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"), "HOME": str(self.folder)}
        self.epmd = Server(self.folder / "epmd", ["epmd", "-address", "127.0.0.1", "-port", epmd], self.env)
        self.server = Server(self.folder, [self.sbin / "rabbitmq-server"], self.env)
        try:
            wait_until(lambda: answers(self.port), "rabbitmq-server", 90)
        except TimeoutError:
            self.stop()
            raise

    def stop(self):
        self.server.stop()
        self.epmd.stop()

    def consumer(self, i, n):
        return [build_dir() / "tests/bench-rabbit", "consume", self.port, self.kind, n]

    def producer(self, n, size):
        return [build_dir() / "tests/bench-rabbit", "produce", self.port, self.kind, n, size]

    def settled(self):
        """rabbitmqctl takes seconds of CPU: asked for once, when all was taken."""
        out = subprocess.run([str(self.sbin / "rabbitmqctl"), "-q", "-n", "bench@localhost", "list_queues", "messages"], capture_output=True,
                             text=True, env=self.env, timeout=60).stdout
        return re.findall(r"^\d+$", out, re.M) == ["0"]


BROKERS = {"redis_streams": Streams, "nats": Nats, "rabbitmq": Rabbit}


def run_broker(name, folder, n, size, consumers, fsync, rate, finish):
    """One run against one of BROKERS; finish(producer, workers, settled) collects the reports."""
    broker = BROKERS[name](folder, fsync)
    try:
        workers = [Program(*broker.consumer(i, n)) for i in range(consumers)]
        before = broker.server.cpu()
        producer = Program(*broker.producer(n, size), *([rate] if rate else []))
        used = {}

        def settled():
            used.setdefault("s", broker.server.cpu() - before)  # what asking costs is not the broker's work
            return broker.settled()
        report, taken = finish(workers, producer, settled)
        return report, taken, used["s"]
    finally:
        getattr(broker, "stop", broker.server.stop)()
