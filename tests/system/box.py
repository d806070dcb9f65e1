"""A box: mounts, processes, cgroups, /run and network of its own on this host, for tests that boot a system or run containers.

    with Box() as box:                         # raises Unavailable with the reason where the machine does not allow it
        box.run("mount", "-t", "tmpfs", ...)   # a command inside
        box.run("apt-get", ..., net="host")    # inside, but with the host's network
        with box.network():                    # sockets and children of this thread are in the box's network
            ...

When the box closes, its processes end (the kernel ends a process namespace with its first process) and its cgroups are removed.
"""

import contextlib
import ctypes
import os
import pathlib
import select
import signal
import subprocess
import time

SCRIPT = pathlib.Path(__file__).with_name("box.sh")
CLONE_NEWNET = 0x40000000
# nsenter sees the box's cgroups but does not go there by itself.
JOIN = 'for p in /sys/fs/cgroup/init/cgroup.procs /sys/fs/cgroup/*/tasks; do [ ! -e "$p" ] || echo $$ >"$p"; done 2>/dev/null; exec "$@"'


class Unavailable(Exception):
    """What the machine lacks."""


class Failed(Exception):
    """A command that should have succeeded, with what it printed."""


def output(command, timeout=120, check=True, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=timeout, **options)
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-6000:]}")
    return done


def wait_until(condition, what, deadline_s=30):
    """Waits until condition() is true and returns what it returned; what may be a function that explains."""
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"not after {deadline_s} s: {what() if callable(what) else what}")
        select.select([], [], [], 0.1)


def children(pid):
    """Process ids of the children of a process, as this process sees them."""
    try:
        return [int(p) for t in pathlib.Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    except OSError:
        return []


class Box:
    def __init__(self, scratch):
        self.group = f"dirpipe-box-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        self.scratch = pathlib.Path(scratch)
        self.process = self.pid = None

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unavailable("needs root: namespaces with mounts and cgroups")
        try:
            return self.open()
        except BaseException:
            self.__exit__()
            raise

    def open(self):
        errors = self.scratch / "box.log"
        with open(errors, "w") as log:
            self.process = subprocess.Popen(["bash", SCRIPT, self.group, self.scratch], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        ready, _, _ = select.select([self.process.stdout], [], [], 20)
        line = self.process.stdout.readline() if ready else b""
        if not line.startswith(b"ready"):
            raise Unavailable(f"this machine gives no box: {errors.read_text().strip() or 'no answer'}")
        self.pid = children(self.process.pid)[0]
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.kill(self.pid or self.process.pid, signal.SIGKILL)
                self.process.wait(20)
            self.process.stdout.close()
            self.process = None
        wait_until(self.no_cgroups, "the box's cgroups are gone", 20)

    def no_cgroups(self):
        """Removes the box's cgroups, innermost first; true when none is left (one that still has dying processes needs a moment)."""
        for top in [*pathlib.Path("/sys/fs/cgroup").glob(f"*/{self.group}"), *pathlib.Path("/sys/fs/cgroup").glob(self.group)]:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            if top.exists():
                return False
        return True

    def words(self, *command, net="box", pid=None):
        """The command line that runs command inside (or inside a process namespace below it whose first process is pid)."""
        enter = ["nsenter", "--target", str(pid or self.pid), "--mount", "--pid", "--cgroup"]
        if pid:
            enter += ["--uts", "--ipc"]
        if net == "box":
            enter += ["--net"]
        return enter + ["sh", "-c", JOIN, "sh"] + [str(word) for word in command]

    def run(self, *command, net="box", pid=None, **options):
        return output(self.words(*command, net=net, pid=pid), **options)

    def start(self, *command, log, **options):
        """Starts something that goes on; it ends with the box at the latest."""
        with open(log, "ab") as out:
            return subprocess.Popen(self.words(*command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)

    @contextlib.contextmanager
    def network(self):
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(fd):
            if libc.setns(fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

        ours, theirs = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        try:
            enter(theirs)
            yield
        finally:
            enter(ours)
            os.close(ours)
            os.close(theirs)
