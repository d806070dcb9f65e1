"""A TCP (or unix socket) proxy for tests: cuts connections, at the boundaries of LDAP messages when asked to; refuses; holds what flows."""

import random
import select
import socket
import threading


def ldap_length(data):
    """Bytes of the LDAP message that data begins with, or None while that cannot be said."""
    if len(data) < 2:
        return None
    if data[1] < 0x80:
        return 2 + data[1]
    n = data[1] & 0x7F
    return None if len(data) < 2 + n else 2 + n + int.from_bytes(data[2:2 + n], "big")


class Proxy(threading.Thread):
    """with Proxy(port) as p: connect to p.port. cut(): ends all connections. refuse: new ones end at once. cut_after(n): each new
    connection is cut at the end of the nth message of the server (n counts LDAP messages), or, with inside, in the middle of it; n may
    be a function that is called for each connection and may return None: not this one."""

    def __init__(self, port, host="127.0.0.1"):
        super().__init__(daemon=True)
        self.to = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.refuse = self.hold = False
        self.plan = None
        self.inside = False
        self.cuts = self.connections = 0
        self.lock = threading.Lock()
        self.pairs = []
        self.ending = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join(10)
        self.cut()
        self.listener.close()

    def cut_after(self, plan, inside=False):
        self.plan, self.inside = plan if callable(plan) or plan is None else (lambda: plan), inside

    def cut(self):
        """Ends all connections now; how many."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            pair.close()
        return len(pairs)

    def run(self):
        self.listener.settimeout(0.05)
        while not self.ending.is_set():
            try:
                near, _ = self.listener.accept()
            except socket.timeout:
                continue
            if self.refuse:
                near.close()
                continue
            try:
                far = socket.create_connection(self.to, 5)
            except OSError:
                near.close()
                continue
            self.connections += 1
            pair = Pair(self, near, far, self.plan() if self.plan else None, self.inside)
            with self.lock:
                self.pairs.append(pair)
            threading.Thread(target=pair.run, daemon=True).start()


class Pair:
    def __init__(self, proxy, near, far, left, inside):
        self.proxy, self.near, self.far, self.left, self.inside = proxy, near, far, left, inside
        self.rest = b""

    def close(self):
        for s in (self.near, self.far):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _messages(self, data):
        """What of data may pass; sets left to 0 when the connection is to be cut behind it."""
        self.rest += data
        passed = b""
        while self.left:
            n = ldap_length(self.rest)
            if n is None or n > len(self.rest):
                break
            self.left -= 1
            whole, self.rest = self.rest[:n], self.rest[n:]
            passed += whole[:n // 2] if self.left == 0 and self.inside else whole
        return passed

    def run(self):
        try:
            while True:
                if self.proxy.hold:
                    select.select([], [], [], 0.02)
                    continue
                ready, _, _ = select.select([self.near, self.far], [], [], 0.2)
                for s in ready:
                    data = s.recv(65536)
                    if not data:
                        return
                    if s is self.far and self.left is not None:
                        data = self._messages(data)
                    (self.near if s is self.far else self.far).sendall(data)
                    if self.left == 0:
                        self.proxy.cuts += 1
                        return
        except OSError:
            pass
        finally:
            self.close()
            self.near.close()
            self.far.close()
            with self.proxy.lock:
                if self in self.proxy.pairs:
                    self.proxy.pairs.remove(self)


def seeded(seed, most, every=1):
    """A plan for cut_after: message numbers from 1 to most, one connection in `every`."""
    r = random.Random(seed)
    return lambda: r.randint(1, most) if r.randrange(every) == 0 else None
