"""GOALS 8, "SCIM/Graph/Salesforce answers" and "Status codes": the real worker, and between it and the simulator a service that lies about
one user. That user gets a verdict with a reason, everybody else is done, and with true answers the user is done, too, once."""

import contextlib
import gzip
import http.client
import json
import pathlib
import socket
import ssl
import struct
import threading

import pytest

import sims
from workerbroker import Worker, WorkerBroker
from test_workers import Graph, Scim


class Front(threading.Thread):
    """TLS before a simulator: hands every request on, but lies about those that hold the text `about`."""

    def __init__(self, sim):
        super().__init__(daemon=True)
        self.sim = sim
        self.about, self.lie, self.commits, self.methods = None, None, True, ()
        self.told = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(sim.cert, sim.key)
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.server.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with contextlib.suppress(OSError, ValueError):
            with self.context.wrap_socket(sock, server_side=True) as s:
                s.settimeout(60)
                data = s.makefile("rb")
                while line := data.readline():
                    method, path, _ = line.decode().split(" ", 2)
                    headers = http.client.parse_headers(data)
                    body = data.read(int(headers.get("Content-Length", 0)))
                    self.answer(s, method, path, headers, body)

    def answer(self, s, method, path, headers, body):
        lying = (self.lie and (not self.methods or method in self.methods) and
                 (self.about in path or self.about.encode() in body))
        status, real_headers, real = 0, [], b""
        if not lying or self.commits:
            connection = self.sim.connect()
            connection.request(method, path, body=body or None, headers=dict(headers.items()))
            response = connection.getresponse()
            status, real_headers, real = response.status, response.getheaders(), response.read()
            connection.close()
        if lying:
            self.told += 1
            self.lie(s, status, real)
            return
        lines = [f"HTTP/1.1 {status} X"] + [f"{k}: {v}" for k, v in real_headers if k.lower() not in (
            "content-length", "transfer-encoding", "connection")]
        s.sendall("\r\n".join([*lines, f"Content-Length: {len(real)}", "", ""]).encode() + real)

    def close(self):
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def plain(body, status=200, headers="", content_type="application/scim+json", length=None):
    body = body if isinstance(body, bytes) else body.encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n{headers}Content-Length: {len(body) if length is None else length}\r\n\r\n"
    return lambda s, *_: s.sendall(head.encode() + body)


def changed(change):
    """The true answer, its body changed."""
    def lie(s, status, real):
        plain(change(real), status)(s)
    return lie


def reset(s, *_):
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def endless(piece, head=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", most=4096):
    def lie(s, *_):
        s.sendall(head)
        for _ in range(most):
            s.sendall(piece)
        s.close()
    return lie


def slowly(s, *_):
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    stop = threading.Event()
    for _ in range(60):
        s.sendall(b" ")
        stop.wait(0.25)


BOMB = gzip.compress(bytes(100 << 20), 9)
LIES = {
    "truncated_json": changed(lambda b: b[:len(b) // 2]),
    "html_200": plain("<html>Please log in</html>", content_type="text/html"),
    "html_called_json": plain("<html>Please log in</html>"),
    "empty_200": plain(""),
    "null": plain("null"),
    "array": plain("[]"),
    "id_missing": plain('{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]}', 201),
    "id_number": plain('{"id":7,"userName":"x"}', 201),
    "depth_100000": plain("[" * 100000 + "]" * 100000),
    "bytes_100_mib": endless(b" " * (1 << 16), most=1600),
    "utf_16": changed(lambda b: b.decode().encode("utf-16")),
    "latin_1": plain('{"id":"1","userName":"J\xf6rg"}'.encode("latin-1"), 201),
    "nul": plain('{"id":"1\\u0000","userName":"x"}', 201),
    "gzip_bomb": plain(BOMB, headers="Content-Encoding: gzip\r\n"),
    "flood_of_1xx": endless(b"HTTP/1.1 102 Processing\r\n\r\n", head=b"", most=20000),
    "chunk_of_nonsense": plain(b"zz\r\nabc\r\n", headers="Transfer-Encoding: chunked\r\n"),
    "header_1_mib": plain("{}", headers="X-Long: " + "x" * (1 << 20) + "\r\n"),
    "slowloris": slowly,
    "reset_after_headers": reset,
    "longer_than_said": plain("{}", length=100),
    "no_http": lambda s, *_: (s.sendall(b"SSH-2.0-OpenSSH_9\r\n"), s.close()),
    "nothing": lambda s, *_: s.close(),
}
HARMLESS = {
    "set_cookie": lambda s, status, real: plain(real, status, headers="Set-Cookie: a=b\r\n")(s),
    "duplicate_keys": changed(lambda b: b[:-1] + b',"schemas":[]}' if b.endswith(b"}") else b),
    "numbers_past_2_53": changed(lambda b: b[:-1] + b',"x":18446744073709551617}' if b.endswith(b"}") else b),
    "one_102": lambda s, status, real: (s.sendall(b"HTTP/1.1 102 Processing\r\n\r\n"), plain(real, status)(s)),
}


class World:
    def __init__(self, folder, kind):
        self.service = kind(folder / "sim", http={"timeout": "3s", "body_max": "8MiB"})
        self.sim = self.service.sim
        self.folder, self.n = folder, 0

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(self.sim)
        self.front = Front(self.sim)
        self.stack.callback(self.front.close)
        target = self.service.target()
        target["url"] = target["url"].replace(str(self.sim.port), str(self.front.port))
        self.broker = self.stack.enter_context(WorkerBroker(self.folder / "b"))
        self.worker = self.stack.enter_context(Worker(self.broker, self.folder / "w", target))
        return self

    def __exit__(self, *exc):
        return self.stack.__exit__(*exc)

    def user(self):
        self.n += 1
        uid = f"u{self.n}x"
        return self.broker.add(uid=uid, mail=f"{uid}@contoso.com", cn=f"User {uid}", gn="Anna", sn="Berg", title="Dr", dep="R")

    def lie(self, user, lie, methods=(), commits=True):
        # What a request about the user holds, whatever it is encoded as: the immutable id's middle, or the mail's local part.
        self.front.about = str(user.id) if self.service.kind == "scim" else user.attrs["uid"][0]
        self.front.methods, self.front.commits, self.front.lie = methods, commits, lie

    def truth(self):
        self.front.lie = None

    def until_done(self, user, tries=40):
        """Again and again, as the broker would; pauses of the target are waited out."""
        for _ in range(tries):
            result = self.broker.do(user, 40)
            if result.verdict == "done":
                return result
            self.broker.wait(lambda: True)
            threading.Event().wait(min(result.after_ms, 3000) / 1000 + 0.05)
        raise AssertionError(result)

    def memory_kib(self):
        status = pathlib.Path(f"/proc/{self.worker.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("h"), Scim) as w:
        w.until_done(w.user())
        yield w


def check(world, user, verdicts=("retry", "down", "parked", "rejected", "throttled")):
    """The user's verdict while lies are told; another user is done meanwhile; then the truth, and one account."""
    memory = world.memory_kib()
    told = world.front.told
    result = world.broker.do(user, 40)
    assert world.front.told > told, "nobody was lied to"
    assert result.verdict in verdicts, result
    assert result.reason or result.verdict == "done", result
    assert world.memory_kib() < memory + (64 << 10)
    other = world.user()
    world.until_done(other)
    world.truth()
    world.until_done(user)
    assert world.service.account(user)["id"] == user.rid and world.service.account(other)
    assert world.sim.stats()["duplicates"] == 0


@pytest.mark.parametrize("name", LIES)
def test_GOALS_8_http_answer_to_a_lookup_creates_nobody(world, name):
    user = world.user()
    creates = world.sim.stats()["creates"]
    world.lie(user, LIES[name], methods=("GET",))
    told = world.front.told
    result = world.broker.do(user, 40)
    assert world.front.told > told and result.verdict != "done", result
    world.truth()
    world.until_done(user)
    assert world.sim.stats()["creates"] == creates + 1 and world.sim.stats()["duplicates"] == 0


@pytest.mark.parametrize("name", LIES)
def test_GOALS_8_http_answer_to_a_create_is_no_second_account(world, name):
    """The account is there; what is heard of it is worth nothing."""
    user = world.user()
    world.lie(user, LIES[name], methods=("POST",))
    check(world, user)
    assert len([e for e in world.sim.ledger() if e["kind"] == "create" and str(user.id) in json.dumps(e)]) <= 1


@pytest.mark.parametrize("name", HARMLESS)
def test_GOALS_8_http_answer_that_is_odd_but_right(world, name):
    user = world.user()
    world.lie(user, HARMLESS[name])
    check(world, user, verdicts=("done",))


@pytest.mark.parametrize("where", ["https", "http"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_GOALS_8_http_redirect_is_not_followed(world, status, where):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.05)
        user = world.user()
        url = f"{where}://127.0.0.1:{elsewhere.getsockname()[1]}/scim/v2/Users"
        world.lie(user, plain("{}", status, headers=f"Location: {url}\r\n"), methods=("POST",), commits=False)
        check(world, user)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


STATUS = {400: "rejected", 401: "auth_failed", 403: "rejected", 404: None, 405: None, 409: None, 410: None, 412: None, 413: "rejected",
          415: "rejected", 418: "rejected", 422: "rejected", 423: None, 429: "throttled", 500: None, 501: None, 502: None, 503: "throttled",
          504: None, 507: None, **{n: None for n in range(520, 528)}, 999: None}


@pytest.mark.parametrize("status", STATUS)
def test_GOALS_8_status_of_a_create_has_one_class(world, status):
    user = world.user()
    world.lie(user, plain("{}", status, headers="Retry-After: 0.2\r\n"), methods=("POST",), commits=False)
    told = world.front.told
    result = world.broker.do(user, 40)
    assert world.front.told > told and result.verdict != "done" and result.status in (status, 0), result
    if STATUS[status]:
        assert result.verdict == STATUS[status], result
    world.truth()
    world.until_done(user)
    assert world.sim.stats()["duplicates"] == 0 and world.service.account(user)


# ---- lists ----


@pytest.mark.parametrize("page", [
    {"totalResults": 10**9, "Resources": []}, {"totalResults": -5, "Resources": []}, {"totalResults": "many", "Resources": "none"},
    {"Resources": [{"id": "a"}] * 3, "totalResults": 10**15}], ids=["empty", "negative", "text", "same_again"])
def test_GOALS_8_http_list_ends_whatever_its_total_says(world, page):
    world.front.about, world.front.methods, world.front.commits = "/Users", ("GET",), False
    pages = []

    def lie(s, *_):
        pages.append(1)
        plain(json.dumps(page))(s) if len(pages) < 200 else s.close()

    world.front.lie = lie
    code, out = world.worker.run("--list")
    world.truth()
    assert len(pages) < 200, out[-500:]
    assert code in (0, 1, 69, 74, 75, 76), out[-500:]
    world.until_done(world.user())


@pytest.mark.parametrize("to", ["itself", "another_host", "plain_http", "user_info"])
def test_GOALS_8_http_next_page_stays_at_home(tmp_path, to):
    with World(tmp_path, Graph) as world, socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.05)
        port = world.front.port
        links = {"itself": f"https://127.0.0.1:{port}/v1.0/users?$top=1", "another_host": f"https://localhost:{elsewhere.getsockname()[1]}/v1.0/users",
                 "plain_http": f"http://127.0.0.1:{elsewhere.getsockname()[1]}/v1.0/users",
                 "user_info": f"https://127.0.0.1:{port}@127.0.0.1:{elsewhere.getsockname()[1]}/v1.0/users"}
        pages = []

        def lie(s, *_):
            pages.append(1)
            body = {"value": [], "@odata.nextLink": links[to]}
            plain(json.dumps(body), content_type="application/json")(s) if len(pages) < 200 else s.close()

        world.front.about, world.front.methods, world.front.commits, world.front.lie = "/users", ("GET",), False, lie
        code, out = world.worker.run("--list")
        assert code != 0 and 1 <= len(pages) < 200, (len(pages), out[-500:])
        with pytest.raises(TimeoutError):
            elsewhere.accept()
