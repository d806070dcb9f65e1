"""A scripted LDAP server that behaves like a Windows domain controller where no real server here does (active-directory.md 0.9), and
that lies, cuts and refuses on command. It is no directory: what a real server can show is tested against the real one.

    with LdapSim() as sim:
        alice = sim.user("alice", title="A")
        sim.at("dirsync", 2, result(53, "try again"))     # the second DirSync request of the sim's life is refused
        …

As Windows: DirSync in pages with MoreResults, a 5-octet INTEGER as flags refused, member;range=0-1499, MaxPageSize 1000, change
notification at once. Steps are functions (connection, message) -> bool; true: nothing more is done for this request.
"""

import os
import socket
import struct
import threading
import time
import uuid

OID_DIRSYNC = "1.2.840.113556.1.4.841"
OID_NOTIFY = "1.2.840.113556.1.4.528"
OID_DELETED = "1.2.840.113556.1.4.417"
OID_EXTENDED_DN = "1.2.840.113556.1.4.529"
OID_PAGED = "1.2.840.113556.1.4.319"
NC = "DC=sim,DC=test"
RANGE = 1500
MAX_PAGE = 1000


# ---- BER (X.690, definite lengths) ----

def tlv(tag, body):
    n = len(body)
    if n < 128:
        head = bytes([n])
    else:
        raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
        head = bytes([0x80 | len(raw)]) + raw
    return bytes([tag]) + head + body


def integer(value, tag=0x02):
    size = max(1, (value.bit_length() + 8) // 8)
    return tlv(tag, value.to_bytes(size, "big", signed=True))


def octets(value, tag=0x04):
    return tlv(tag, value.encode() if isinstance(value, str) else value)


def seq(*parts, tag=0x30):
    return tlv(tag, b"".join(parts))


def parse(data):
    """All TLVs of data as (tag, body)."""
    at, out = 0, []
    while at < len(data):
        tag, n = data[at], data[at + 1]
        at += 2
        if n & 0x80:
            size = n & 0x7F
            n = int.from_bytes(data[at:at + size], "big")
            at += size
        out.append((tag, data[at:at + n]))
        at += n
    return out


def number(body):
    return int.from_bytes(body, "big", signed=True)


# ---- requests ----

class Message:
    """A decoded request: id, op (tag), and for searches base, scope, filter, attrs, controls {oid: value}."""

    def __init__(self, raw):
        parts = parse(parse(raw)[0][1])
        self.id = number(parts[0][1])
        self.op, body = parts[1]
        self.controls = {}
        if len(parts) > 2 and parts[2][0] == 0xA0:
            for _, control in parse(parts[2][1]):
                fields = parse(control)
                value = next((b for t, b in fields[1:] if t == 0x04), None)
                self.controls[fields[0][1].decode()] = value
        if self.op == 0x63:
            fields = parse(body)
            self.base = fields[0][1].decode()
            self.scope = number(fields[1][1])
            self.filter = fields[6]
            self.attrs = [a.decode() for _, a in parse(fields[7][1])]
        else:
            self.body = body

    @property
    def kind(self):
        """What scripts are keyed by."""
        if self.op == 0x60:
            return "bind"
        if self.op != 0x63:
            return "other"
        if OID_DIRSYNC in self.controls:
            return "dirsync"
        if OID_NOTIFY in self.controls:
            return "notify"
        if self.base == "":
            return "root"
        if any(a.startswith("member;range=") for a in self.attrs):
            return "range"
        return "search"


def matches(filt, entry):
    tag, body = filt
    if tag == 0xA0:
        return all(matches(f, entry) for f in parse(body))
    if tag == 0xA1:
        return any(matches(f, entry) for f in parse(body))
    if tag == 0xA2:
        return not matches(parse(body)[0], entry)
    if tag == 0x87:
        return body.decode().lower() == "objectclass" or entry.values(body.decode()) != []
    if tag in (0xA3, 0xA5, 0xA6):
        name, value = (b for _, b in parse(body)[:2])
        have = entry.values(name.decode())
        if tag == 0xA3:
            return any(v.lower() == value.lower() for v in have)
        compare = (lambda a: a >= int(value)) if tag == 0xA5 else (lambda a: a <= int(value))
        return any(compare(int(v)) for v in have)
    if tag == 0xA9:  # bitwise rules: our users are plain
        return True
    raise ValueError(f"filter {tag:#x}")


class Entry:
    def __init__(self, dn, classes, **attrs):
        self.guid = uuid.uuid4()
        self.dn = dn
        self.usn = 0
        self.attrs = {"objectClass": [c.encode() for c in classes]}
        for k, v in attrs.items():
            self.put(k, v)

    def put(self, name, value):
        if value is None:
            self.attrs.pop(name, None)
        else:
            self.attrs[name] = [v if isinstance(v, bytes) else str(v).encode()
                                for v in (value if isinstance(value, list) else [value])]

    @property
    def deleted(self):
        return self.values("isDeleted") == [b"TRUE"]

    def values(self, name):
        low = name.lower()
        if low == "objectguid":
            return [self.guid.bytes_le]
        if low == "usnchanged":
            return [str(self.usn).encode()]
        if low == "name":
            return [self.dn.split(",")[0].split("=", 1)[1].encode()]
        for k, v in self.attrs.items():
            if k.lower() == low:
                return v
        return []


# ---- steps ----

def result(code, text=""):
    """Ends the request with this result code."""
    def step(connection, message):
        connection.finish(message, code, text)
        return True
    return step


def raw(data):
    def step(connection, message):
        connection.send(data(message) if callable(data) else data)
        return True
    return step


def cut(at=10):
    """Sends the beginning of a proper entry and closes."""
    def step(connection, message):
        connection.send(connection.entry_pdu(message, connection.sim.head)[:at])
        connection.close()
        return True
    return step


def lie(length=0x7FFFFFFF):
    """A PDU that says it has two GiB."""
    return raw(b"\x30\x84" + struct.pack(">I", length) + b"\x02\x01\x05")


def hang_up():
    def step(connection, message):
        connection.close()
        return True
    return step


def goodbye(code=52, text="going down"):
    """Notice of disconnection (RFC 4511 4.4.1)."""
    def step(connection, _message):
        body = tlv(0x0A, bytes([code])) + octets("") + octets(text) + octets("1.3.6.1.4.1.1466.20036", 0x8A)
        connection.send(seq(integer(0), tlv(0x78, body)))
        connection.close()
        return True
    return step


def without_cookie():
    return result(0)


def with_cookie(cookie, more=0):
    def step(connection, message):
        connection.finish(message, 0, controls=[dirsync_response(cookie, more)])
        return True
    return step


def stranger():
    """An entry outside the search base, then an ordinary end."""
    def step(connection, message):
        outside = Entry("CN=intruder,DC=evil,DC=test", ["top", "person", "user"], sAMAccountName="intruder")
        connection.send(connection.entry_pdu(message, outside))
        return False
    return step


def referral(uri="ldap://127.0.0.1:1/DC=evil"):
    """A search reference before the ordinary answer: never followed."""
    def step(connection, message):
        connection.send(seq(integer(message.id), tlv(0x73, octets(uri))))
        return False
    return step


def silence():
    def step(_connection, _message):
        return True
    return step


def dirsync_response(cookie, more):
    return (OID_DIRSYNC, seq(integer(more), integer(0), octets(cookie)))


class Connection(threading.Thread):
    def __init__(self, sim, sock):
        super().__init__(daemon=True)
        self.sim, self.sock = sim, sock
        self.lock = threading.Lock()
        self.watches = []  # change notifications
        self.pages = {}

    def send(self, data):
        with self.lock:
            self.sock.sendall(data)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def run(self):
        data = b""
        try:
            while True:
                piece = self.sock.recv(65536)
                if not piece:
                    break
                data += piece
                while (n := pdu_length(data)) and len(data) >= n:
                    self.serve(Message(data[:n]))
                    data = data[n:]
        except OSError:
            pass
        finally:
            self.sim.forget(self)
            self.sock.close()

    def serve(self, message):
        step = self.sim.next_step(message)
        if step and step(self, message):
            return
        if message.op == 0x60:
            self.send(seq(integer(message.id), tlv(0x61, tlv(0x0A, b"\0") + octets("") + octets(""))))
        elif message.op == 0x42:
            self.close()
        elif message.op == 0x63:
            self.search(message)
        elif message.op == 0x77:
            body = tlv(0x0A, b"\x02") + octets("") + octets("not supported")
            self.send(seq(integer(message.id), tlv(0x78, body)))

    # ---- answers ----

    def finish(self, message, code, text="", controls=()):
        body = tlv(0x0A, bytes([code])) + octets("") + octets(text)
        parts = [integer(message.id), tlv(0x65, body)]
        if controls:
            parts.append(tlv(0xA0, b"".join(seq(octets(oid), octets(value)) for oid, value in controls)))
        self.send(seq(*parts))

    def shown_dn(self, message, dn):
        if OID_EXTENDED_DN not in message.controls:
            return dn
        other = self.sim.by_dn(dn)
        return f"<GUID={other.guid}>;{dn}" if other else dn

    def member(self, message, entry, wanted):
        values = [self.shown_dn(message, v.decode()).encode() for v in entry.values("member")]
        if ";" in wanted:
            first, last = wanted.split("=", 1)[1].split("-")
            first = int(first)
            upto = min(len(values), first + RANGE if last == "*" else int(last) + 1, first + RANGE)
            shown = "*" if upto >= len(values) else str(upto - 1)
            return [(f"member;range={first}-{shown}", values[first:upto])]
        if len(values) <= RANGE:
            return [("member", values)] if values else []
        return [("member", []), (f"member;range=0-{RANGE - 1}", values[:RANGE])]

    def entry_pdu(self, message, entry, attrs=None):
        wanted = attrs if attrs is not None else message.attrs or list(entry.attrs)
        shown = []
        for name in wanted:
            if name.lower().split(";")[0] == "member":
                shown += self.member(message, entry, name)
            elif entry.values(name):
                shown.append((name, entry.values(name)))
        body = b"".join(seq(octets(n), tlv(0x31, b"".join(octets(v) for v in vs))) for n, vs in shown)
        return seq(integer(message.id), tlv(0x64, octets(self.shown_dn(message, entry.dn)) + tlv(0x30, body)))

    def search(self, message):
        sim = self.sim
        if OID_DIRSYNC in message.controls:
            self.dirsync(message)
            return
        if OID_NOTIFY in message.controls:
            with sim.lock:
                self.watches.append(message)
            return
        with sim.lock:
            found = sim.find(message)
        if found is None:
            self.finish(message, 32, "0000208D: no such object")
            return
        if OID_PAGED in message.controls:
            self.paged(message, found)
            return
        for entry in found[:MAX_PAGE]:
            self.send(self.entry_pdu(message, entry))
        self.finish(message, 4 if len(found) > MAX_PAGE else 0)

    def paged(self, message, found):
        size, cookie = (b for _, b in parse(parse(message.controls[OID_PAGED])[0][1]))
        first = int(cookie or b"0")
        upto = first + min(number(size), MAX_PAGE)
        for entry in found[first:upto]:
            self.send(self.entry_pdu(message, entry))
        more = str(upto).encode() if upto < len(found) else b""
        self.finish(message, 0, controls=[(OID_PAGED, seq(integer(len(found)), octets(more)))])

    def dirsync(self, message):
        sim = self.sim
        flags, _most, cookie = parse(parse(message.controls[OID_DIRSYNC])[0][1])
        sim.seen_flags.append(flags[1])
        if len(flags[1]) > 4:
            self.finish(message, 2, "00000057: the flags do not fit a 32-bit integer")
            return
        since = sim.cookie_usn(cookie[1])
        if since is None:
            self.finish(message, sim.bad_cookie, "the cookie is not known here")
            return
        with sim.lock:
            top = sim.usn
            changed = sorted((e for e in sim.entries if e.usn > since and matches(message.filter, e)),
                             key=lambda e: e.usn)
        page = changed[:sim.page]
        more = len(changed) > len(page)
        upto = page[-1].usn if more else top
        for entry in reversed(page) if sim.reverse else page:
            self.send(self.entry_pdu(message, entry, [*message.attrs, "objectGUID"]))
        self.finish(message, 0, controls=[dirsync_response(sim.cookie(upto), int(more))])


def pdu_length(data):
    if len(data) < 2:
        return 0
    n, head = data[1], 2
    if n & 0x80:
        head += n & 0x7F
        if len(data) < head:
            return 0
        n = int.from_bytes(data[2:head], "big")
    return head + n


class LdapSim:
    def __init__(self, page=5, reverse=True, bad_cookie=53):
        self.lock = threading.RLock()
        self.asked = threading.Condition(self.lock)  # a request came
        self.page, self.reverse, self.bad_cookie = page, reverse, bad_cookie
        self.usn = 1000
        self.entries = []
        self.steps = {}
        self.counts = {}
        self.log = []  # kinds of requests in order
        self.seen_flags = []
        self.connections = []
        self.invocation = uuid.uuid4()
        self.life = os.urandom(4)
        self.ahead = 0  # seconds of its clock
        self.head = self.add(Entry(NC, ["top", "domain", "domainDNS"], maxPwdAge="0"))
        self.add(Entry("CN=Users," + NC, ["top", "container"]))
        self.trash = self.add(Entry("CN=Deleted Objects," + NC, ["top", "container"], isDeleted="TRUE"))
        self.service = Entry("CN=NTDS Settings,CN=DC1,CN=Configuration," + NC, ["nTDSDSA"],
                             invocationId=self.invocation.bytes_le)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.uri = f"ldap://127.0.0.1:{self.port}"
        self.base = NC
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.drop()
        self.thread.join(5)

    def accept(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            connection = Connection(self, sock)
            with self.lock:
                self.connections.append(connection)
            connection.start()

    def forget(self, connection):
        with self.lock:
            if connection in self.connections:
                self.connections.remove(connection)

    def drop(self):
        """Closes every connection."""
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            connection.close()

    # ---- script ----

    def at(self, kind, nth, step):
        """The nth (from 1, of the sim's life so far and to come) request of this kind gets the step; 0: every one."""
        self.steps[(kind, nth)] = step

    def after_now(self, kind, step, nth=1):
        """The nth request of the kind from now on."""
        with self.lock:
            self.steps[(kind, self.counts.get(kind, 0) + nth)] = step

    def clear(self):
        self.steps.clear()

    def next_step(self, message):
        kind = message.kind
        with self.lock:
            n = self.counts[kind] = self.counts.get(kind, 0) + 1
            self.log.append(kind)
            self.asked.notify_all()
            return self.steps.get((kind, n)) or self.steps.get((kind, 0))

    def count(self, kind):
        with self.lock:
            return self.counts.get(kind, 0)

    def wait(self, kind, n, seconds=10):
        with self.asked:
            if not self.asked.wait_for(lambda: self.counts.get(kind, 0) >= n, seconds):
                raise TimeoutError(f"{n} requests of kind {kind} did not come: {self.counts}")

    # ---- content ----

    def touch(self, entry):
        with self.lock:
            self.usn += 1
            entry.usn = self.usn
            watches = [(c, m) for c in self.connections for m in c.watches]
        for connection, message in watches:
            try:
                connection.send(connection.entry_pdu(message, entry))
            except OSError:
                pass
        return entry

    def add(self, entry):
        with self.lock:
            self.entries.append(entry)
        return self.touch(entry)

    def user(self, name, **attrs):
        return self.add(Entry(f"CN={name},CN=Users,{NC}", ["top", "person", "organizationalPerson", "user"],
                              objectCategory="person", sAMAccountName=name, sAMAccountType="805306368",
                              userAccountControl="512", **attrs))

    def group(self, name, members):
        return self.add(Entry(f"CN={name},CN=Users,{NC}", ["top", "group"], sAMAccountName=name,
                              member=[m.dn for m in members]))

    def change(self, entry, **attrs):
        with self.lock:
            for k, v in attrs.items():
                entry.put(k, v)
        return self.touch(entry)

    def delete(self, entry):
        with self.lock:
            entry.dn = f"CN=x\\0ADEL:{entry.guid},CN=Deleted Objects,{NC}"
            for name in ("objectCategory", "sAMAccountType", "title"):
                entry.put(name, None)
            entry.put("isDeleted", "TRUE")
        return self.touch(entry)

    def by_dn(self, dn):
        with self.lock:
            return next((e for e in self.entries if e.dn.lower() == dn.lower()), None)

    def cookie(self, usn):
        return b"SIM" + self.life + struct.pack("<Q", usn)

    def cookie_usn(self, cookie):
        if not cookie:
            return 0
        if len(cookie) != 15 or cookie[:7] != b"SIM" + self.life:
            return None
        return struct.unpack("<Q", cookie[7:])[0]

    def forget_cookies(self):
        """From now on every cookie given so far is refused."""
        self.life = os.urandom(4)

    def root(self):
        root = Entry("", ["top"], namingContexts=[NC, "CN=Configuration," + NC],
                     configurationNamingContext="CN=Configuration," + NC, dsServiceName=self.service.dn,
                     dnsHostName="dc1.sim.test", highestCommittedUSN=str(self.usn),
                     currentTime=time.strftime("%Y%m%d%H%M%S.0Z", time.gmtime(time.time() + self.ahead)),
                     supportedCapabilities="1.2.840.113556.1.4.800",
                     supportedControl=[OID_DIRSYNC, OID_NOTIFY, OID_DELETED, OID_EXTENDED_DN, OID_PAGED])
        return root

    def find(self, message):
        """Entries in scope that match; None: no such object."""
        if message.base == "":
            return [self.root()]
        if message.base == self.service.dn:
            return [self.service]
        base = self.resolve(message.base)
        if not base or (base.deleted and OID_DELETED not in message.controls):
            return None
        if message.scope == 0:
            return [base] if matches(message.filter, base) else []
        inside = [e for e in self.entries if e is base or e.dn.lower().endswith("," + base.dn.lower())]
        if message.scope == 1:
            inside = [e for e in inside if e is not base and "," not in e.dn[:-len(base.dn) - 1].replace("\\,", "")]
        if OID_DELETED not in message.controls:
            inside = [e for e in inside if not e.deleted]
        return [e for e in inside if matches(message.filter, e)]

    def resolve(self, base):
        if base.startswith("<GUID="):
            guid = uuid.UUID(base[6:-1])
            return next((e for e in self.entries if e.guid == guid), None)
        if base.startswith("<WKGUID="):
            return self.trash
        return self.by_dn(base)
