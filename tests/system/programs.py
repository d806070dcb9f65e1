"""All of dirpipe on one host with each program started by the test, so that one of them can be killed, stopped, started twice or started
with a crash point, and started again at once (`dirpipe up` waits longer after each end). Otherwise a Pipeline.

    with Programs(directory, sources, targets) as p:
        p.restart("worker:app", crash_at="worker.before_request:1")
        p.wait(lambda: p.died("worker:app"), "the worker to die")
        p.start_program("worker:app")

Names: redis, broker, collector:SOURCE, worker:TARGET, and worker:TARGET:2 and so on for further ones.
"""

import json
import pathlib
import select
import signal
import socket
import subprocess
import time

from pipeline import Pipeline

ENDED_IN_ORDER = (0, -signal.SIGKILL)


def control(path, verb, timeout=30, **words):
    """One request to a control socket: the result, or None when nobody answers or it failed."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(timeout)
            s.connect(str(path))
            s.sendall(json.dumps({"id": 1, "verb": verb, **words}).encode() + b"\n")
            line = b""
            while not line.endswith(b"\n"):
                piece = s.recv(1 << 20)
                if not piece:
                    return None
                line += piece
    except OSError:
        return None
    answer = json.loads(line)
    return answer.get("result") if answer.get("ok") else None


class Programs(Pipeline):
    def __init__(self, directory, sources, targets, fsync="always", redis_folder=None, **more):
        broker = more.pop("broker", None) or {}
        broker = {"lease": "2s", "grace": "300ms", "takeover": "1s", **broker}
        super().__init__(directory, sources, targets, broker={**broker, "redis": {"fsync": fsync, **broker.get("redis", {})}}, **more)
        self.running = {}  # name -> Popen
        self.expected = set()  # programs that may end without being told to
        self.fsync = fsync
        self.redis_folder = pathlib.Path(redis_folder or self.directory / "redis")
        self.started = False

    # ---- one program ----

    def names(self):
        edges = [f"collector:{name}" for name in self.conf["sources"]]
        for target in self.conf["targets"]:
            edges += [f"worker:{target}"] + [f"worker:{target}:{i}" for i in range(2, self.workers.get(target, 1) + 1)]
        return ["redis", "broker", *edges]

    def _command(self, name, config):
        if name == "redis":
            self.redis_folder.mkdir(parents=True, exist_ok=True)
            return ["redis-server", "--port", "0", "--unixsocket", self.redis_socket, "--unixsocketperm", "600", "--dir",
                    self.redis_folder, "--appendonly", "yes", "--appendfsync", self.fsync, "--save", "", "--maxmemory-policy",
                    "noeviction", "--hash-max-listpack-value", "2048", "--logfile", self.directory / "redis.log"]
        kind, _, rest = name.partition(":")
        return [self.build / f"dirpipe-{kind}", "--config", config or self.path, *([rest.split(":")[0]] if kind != "broker" else [])]

    def start_program(self, name, crash_at=None, env=None, config=None, wait=True):
        """Starts one; with wait, Redis and the broker's control socket answer when it returns."""
        own = {k: v for k, v in self.env.items() if k not in ("DIRPIPE_CRASH_AT", "NOTIFY_SOCKET", "JOURNAL_STREAM")}
        own |= env or {}
        if crash_at:
            own["DIRPIPE_CRASH_AT"] = crash_at
            self.expected.add(name)
        else:
            self.expected.discard(name)
        with open(self.log_path, "ab") as log:
            process = subprocess.Popen([str(word) for word in self._command(name, config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=own)
        self.running[name] = process
        if wait and name == "redis":
            self.wait(lambda: self.redis("PING") == ["PONG"], "redis-server", 30)
        elif wait and name == "broker" and not crash_at:
            self.wait(lambda: control(self.conf["broker"]["control"], "status") is not None, "the broker to listen", 30)
        return process

    def kill(self, name, sig=signal.SIGKILL):
        """Ends it by a signal and waits until it has ended; the exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGCONT)
        process.send_signal(sig)
        try:
            return process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def send(self, name, sig):
        self.running[name].send_signal(sig)

    def restart(self, name, sig=signal.SIGKILL, **more):
        if name in self.running:
            self.kill(name, sig)
        return self.start_program(name, **more)

    def died(self, name):
        """The exit code of a program that was started and has ended by itself, else None."""
        return self.running[name].poll() if name in self.running else None

    # ---- all of them ----

    def start(self):
        self.started = True
        for name in self.names():
            self.start_program(name)
        return self

    def stop(self):
        """Ends all in order. Any exit code that is neither 0 nor a kill is an error: a sanitizer's report, say."""
        bad = {}
        for name in sorted(self.running, key=lambda n: ("redis", "broker").index(n) if n in ("redis", "broker") else 2, reverse=True):
            code = self.running[name].poll()
            if code is None:
                try:
                    code = self.kill(name, signal.SIGTERM)
                except subprocess.TimeoutExpired:
                    code = "does not end"
            else:
                del self.running[name]
            if code not in ENDED_IN_ORDER:
                bad[name] = code
        self.started = False
        if bad:
            raise RuntimeError(f"ended with {bad}:\n{self.tail()}")
        return 0

    def __enter__(self):
        return self if self.started else self.start()

    def __exit__(self, kind, *_):
        try:
            self.stop()
        except RuntimeError:
            if kind is None:
                raise

    def check_alive(self):
        for name, process in self.running.items():
            if process.poll() is not None and name not in self.expected:
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.tail()}")

    def wait(self, condition, what, deadline_s=60):
        end = time.monotonic() + deadline_s
        while True:
            result = condition()
            if result:
                return result
            self.check_alive()
            if time.monotonic() > end:
                raise TimeoutError(f"{what}; status {json.dumps(self.status())}\n{self.tail()}")
            select.select([], [], [], 0.02)

    # ---- asking ----

    def ask(self, verb, **words):
        return control(self.conf["broker"]["control"], verb, **words)

    def status(self):
        broker = self.running.get("broker")
        return self.ask("status", timeout=5) if broker and broker.poll() is None else None

    def redis(self, *words):
        done = subprocess.run(["redis-cli", "-s", self.redis_socket, *map(str, words)], capture_output=True, text=True, errors="replace",
                              timeout=30)
        return done.stdout.splitlines()

    def pids(self, program):
        kind = {"redis-server": "redis"}.get(program, program.removeprefix("dirpipe-"))
        return [p.pid for n, p in self.running.items() if n.split(":")[0] == kind and p.poll() is None]

    def rss_kib(self, name):
        for line in pathlib.Path(f"/proc/{self.running[name].pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0
