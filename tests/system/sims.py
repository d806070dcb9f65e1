"""Target services for tests and the demo: the two simulators in C and the third-party SCIM server.

    with ScimSim(directory) as scim:
        ... dirpipe against scim.url with scim.token_file and scim.ca_file ...
        assert scim.stats()["duplicates"] == 0

Each makes a throw-away certificate authority in its directory unless it is given one, listens on
127.0.0.1 on a port of its own and is ended by its process id. The admin interface behind ledger(),
faults() and the others is described in tests/sims/common/sim.h.
"""

import http.client
import json
import os
import pathlib
import secrets
import select
import shutil
import ssl
import subprocess
import time
import urllib.parse
import uuid

TESTS = pathlib.Path(__file__).resolve().parent.parent
CACHE = TESTS / ".cache"


def build_dir():
    """Where the programs were built: $DIRPIPE_BUILD, or the newest of build/*."""
    given = os.environ.get("DIRPIPE_BUILD")
    if given:
        return pathlib.Path(given)
    built = sorted(TESTS.parent.glob("build/*/tests/dirpipe-sim-scim"), key=os.path.getmtime)
    if not built:
        raise FileNotFoundError("no build: set DIRPIPE_BUILD or run cmake --preset dev && ninja -C build/dev")
    return built[-1].parent.parent


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A throw-away certificate authority; ca_file is what clients are given to trust."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = self.directory / "ca.pem"
        self._key = self.directory / "ca.key"
        if not self.ca_file.exists():
            _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-days", "3650", "-subj", "/CN=dirpipe tests", "-keyout", self._key, "-out", self.ca_file,
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, subject="DNS:localhost,IP:127.0.0.1", rsa=False):
        """Returns (certificate, key) as paths; the certificate is good for the alternative names of subject."""
        cert, key, request = (self.directory / f"{name}{end}" for end in (".pem", ".key", ".csr"))
        if cert.exists():
            return cert, key
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        _openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={subject}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.ca_file, "-CAkey", self._key, "-CAcreateserial",
                 "-days", "3650", "-extfile", extensions, "-out", cert)
        key.chmod(0o600)
        return cert, key


class Answer:
    """What a service said: status, headers (lower case), body (parsed if JSON, else bytes)."""

    def __init__(self, response, raw):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.raw = raw
        try:
            self.body = json.loads(raw) if raw else None
        except ValueError:
            self.body = raw


class Service:
    """Something that listens on 127.0.0.1 with TLS and was started by us."""

    def __init__(self, directory, authority=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.authority = authority or Authority(self.directory / "ca")
        self.ca_file = self.authority.ca_file
        self.cert, self.key = self.authority.issue("server")
        self.port = 0
        self.process = None

    def _secret_file(self, name, value):
        path = self.directory / name
        path.write_text(value + "\n")
        path.chmod(0o600)
        return path

    def _launch(self, command, env=None, wait_s=20):
        """Starts it and returns the first line that it prints."""
        log = open(self.directory / "stderr.log", "ab")
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=log, env=env,
                                        stdin=subprocess.DEVNULL)
        log.close()
        ready, _, _ = select.select([self.process.stdout], [], [], wait_s)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line.startswith("ready "):
            self.stop()
            raise RuntimeError(f"{command[0]} did not start: {self.log()}")
        return dict(word.split("=") for word in line.split()[1:])

    def log(self):
        """The end of what it wrote to standard error (sanitizers' reports, too)."""
        return (self.directory / "stderr.log").read_text(errors="replace")[-4000:]

    def stop(self):
        """Ends it by its process id; its exit status."""
        if not self.process:
            return None
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        status, self.process = self.process.returncode, None
        return status

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()

    def connect(self, timeout=20):
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context)

    def http(self, method, target, body=None, headers=None, timeout=20):
        """One request on a connection of its own; body is bytes, text, or is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body, ensure_ascii=False)
        if isinstance(body, str):
            body = body.encode()
        connection = self.connect(timeout)
        try:
            connection.request(method, target, body=body, headers=headers)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()


class Simulator(Service):
    """What both simulators in C have: the admin interface of tests/sims/common/sim.h."""

    program = None

    def __init__(self, directory, authority=None, knobs=None, delay_ms=0, seed=None, port=0, admin_port=0):
        super().__init__(directory, authority)
        self._knobs, self._delay_ms, self._seed = knobs, delay_ms, seed
        self._ports = port, admin_port
        self.admin_port = 0

    def _options(self):
        raise NotImplementedError

    def start(self):
        command = [build_dir() / "tests" / self.program, "--listen", f"127.0.0.1:{self._ports[0]}",
                   "--admin", f"127.0.0.1:{self._ports[1]}", "--cert", self.cert, "--key", self.key,
                   "--delay-ms", self._delay_ms, *self._options()]
        if self._knobs:
            command += ["--knobs", json.dumps(self._knobs)]
        if self._seed is not None:
            command += ["--seed", self._seed]
        ports = self._launch(command)
        self.port, self.admin_port = int(ports["https"]), int(ports["admin"])
        self._ports = self.port, self.admin_port  # the same after a restart
        return self

    def _admin(self, method, target, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=120)
        try:
            connection.request(method, target, body=None if body is None else json.dumps(body).encode())
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"{target}: {text}")
        return text

    def _lines(self, target):
        return [json.loads(line) for line in self._admin("GET", target).splitlines()]

    def ledger(self, since=0, key=None):
        """Committed writes in their order, after number since, of one key or all."""
        target = f"/ledger?since={since}"
        if key is not None:
            target += "&key=" + urllib.parse.quote(key, safe="")
        return self._lines(target)

    def dump(self):
        """All live users, sorted by key."""
        return self._lines("/dump")

    def groups(self):
        return self._lines("/groups")

    def requests(self):
        """The last requests, reads too."""
        return self._lines("/requests")

    def stats(self):
        return json.loads(self._admin("GET", "/stats"))

    def faults(self, rules):
        """Puts a fault script in place of the old one; [] ends all faults."""
        self._admin("POST", "/faults", rules)

    def fault_counts(self):
        """Per rule: matched, fired, times."""
        return json.loads(self._admin("GET", "/faults"))

    def clock(self, offset_ms):
        self._admin("POST", "/clock", {"offset_ms": offset_ms})

    def quiet(self, on=True):
        """From now on any write is refused and counted in stats()["quiet_violations"]."""
        self._admin("POST", "/quiet", {"on": on})

    def seed(self, **what):
        """Accounts that were there before: users=[...], groups=[...] and what the service knows besides."""
        self._admin("POST", "/seed", what)

    def knobs(self, **settings):
        """Changes settings, or returns them all."""
        if settings:
            self._admin("POST", "/knobs", settings)
        return json.loads(self._admin("GET", "/knobs"))

    def reset(self):
        self._admin("POST", "/reset", {})

    def wait(self, condition, what="", deadline_s=30):
        """Waits until condition(self) is true and returns what it returned."""
        end = time.monotonic() + deadline_s
        while True:
            result = condition(self)
            if result:
                return result
            if time.monotonic() > end:
                raise TimeoutError(what or "the condition did not come true")
            select.select([], [], [], 0.02)


class ScimCalls:
    """Requests to a SCIM service as a test makes them."""

    base = "/scim/v2"

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}{self.base}"

    def call(self, method, path, body=None, headers=None, token=None):
        """One SCIM request below the base path, with the bearer token."""
        sent = {"Authorization": f"Bearer {self.token if token is None else token}",
                "Accept": "application/scim+json"}
        if body is not None:
            sent["Content-Type"] = "application/scim+json"
        sent.update(headers or {})
        return self.http(method, self.base + path, body, sent)

    def find(self, filter_text, resource="Users", **parameters):
        query = urllib.parse.urlencode({"filter": filter_text, **parameters}, quote_via=urllib.parse.quote)
        return self.call("GET", f"/{resource}?{query}")


class ScimSim(ScimCalls, Simulator):
    """The strict SCIM simulator: bearer token in token_file, or client credentials at token_url."""

    program = "dirpipe-sim-scim"
    driver = "scim"

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.token = "token-" + secrets.token_urlsafe(24)
        self.token_file = self._secret_file("token", self.token)
        self.client_id = "dirpipe"
        self.client_secret = "secret-" + secrets.token_urlsafe(24)
        self.client_secret_file = self._secret_file("client-secret", self.client_secret)

    @property
    def token_url(self):
        return f"https://127.0.0.1:{self.port}/oauth/token"

    def _options(self):
        return ["--token-file", self.token_file, "--client-id", self.client_id,
                "--client-secret-file", self.client_secret_file]


class IncidentIqSim(Simulator):
    """The strict Incident IQ simulator: an API token in token_file, the site's GUID in site."""

    program = "dirpipe-sim-incidentiq"
    driver = "incidentiq"
    site = "e00c1bec-0f08-4711-80c3-0003ff6859f9"
    location = "48e13e94-3c38-e811-80c3-0003ff685cc1"  # Central Office: is there from the start
    roles = {name: f"6d5fee76-e05e-43c0-b8e9-b8447746e5{n}" for name, n in
             {"No Access": "00", "Student": "01", "Faculty": "02", "Staff": "03", "Agent": "04", "Parent / Guardian": "07"}.items()}

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.token = "token-" + secrets.token_urlsafe(24)
        self.token_file = self._secret_file("token", self.token)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/api/v1.0"

    def _options(self):
        return ["--token-file", self.token_file]

    def call(self, method, path, body=None, headers=None, token=None):
        """One request below the base path; a header that is None is left out."""
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", "SiteId": self.site, "Client": "ApiClient"}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        return self.http(method, "/api/v1.0" + path, body, {k: v for k, v in sent.items() if v is not None})


def npm_install(name):
    """Installs what tests/sims/NAME/package-lock.json says into tests/.cache, once; returns that directory."""
    source, target = TESTS / "sims" / name, CACHE / name
    stamp = target / "installed"
    lock = (source / "package-lock.json").read_bytes()
    if not stamp.exists() or stamp.read_bytes() != lock:
        target.mkdir(parents=True, exist_ok=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(source / file, target / file)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=target, check=True,
                       capture_output=True, timeout=300)
        stamp.write_bytes(lock)
    for program in source.glob("*.mjs"):
        shutil.copy(program, target / program.name)
    return target


class Scimmy(ScimCalls, Service):
    """The third-party SCIM server (scimmy-routers from npm): no ledger, no faults, but not ours."""

    driver = "scim"

    def __init__(self, directory, authority=None, port=0):
        super().__init__(directory, authority)
        self._wanted = port
        self.token = "token-" + secrets.token_urlsafe(24)
        self.token_file = self._secret_file("token", self.token)

    def start(self):
        program = npm_install("scimmy") / "server.mjs"
        ports = self._launch(["node", program, self._wanted, self.cert, self.key, self.token_file], wait_s=60)
        self.port = self._wanted = int(ports["https"])
        return self

    def dump(self):
        """All users, page by page, sorted by externalId and userName like the simulator's."""
        users, start = [], 1
        while True:
            page = self.call("GET", f"/Users?startIndex={start}&count=100").body
            users += page.get("Resources", [])
            start += len(page.get("Resources", []))
            if start > page["totalResults"] or not page.get("Resources"):
                return sorted(users, key=lambda user: (user.get("externalId", ""), user["userName"]))


class GraphSim(Simulator):
    """The strict Microsoft Graph simulator with its login service on the same port."""

    program = "dirpipe-sim-graph"
    driver = "graph"

    def __init__(self, directory, tenant=None, client_id=None, **options):
        super().__init__(directory, **options)
        self.tenant = tenant or str(uuid.uuid4())
        self.client_id = client_id or str(uuid.uuid4())
        self.client_secret = "secret-" + secrets.token_urlsafe(24)
        self.client_secret_file = self._secret_file("client-secret", self.client_secret)
        self.client_cert, self.client_key = self.authority.issue("client", rsa=True)
        self._token = None

    @property
    def login_url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/v1.0"

    def _options(self):
        return ["--tenant", self.tenant, "--client-id", self.client_id,
                "--client-secret-file", self.client_secret_file, "--client-cert", self.client_cert]

    def login(self, **changes):
        """One request to the token endpoint; changes replace fields (None leaves one out)."""
        form = {"client_id": self.client_id, "client_secret": self.client_secret,
                "grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default", **changes}
        body = urllib.parse.urlencode({name: value for name, value in form.items() if value is not None})
        return self.http("POST", f"/{self.tenant}/oauth2/v2.0/token", body,
                         {"Content-Type": "application/x-www-form-urlencoded"})

    def call(self, method, path, body=None, headers=None, token=None):
        """One request below /v1.0, with a token that is fetched when it is needed."""
        if token is None:
            self._token = self._token or self.login().body["access_token"]
            token = self._token
        sent = {"Authorization": f"Bearer {token}"}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        answer = self.http(method, "/v1.0" + path, body, sent)
        if answer.status == 401:
            self._token = None
        return answer

    def find(self, filter_text, select="id,userPrincipalName", **parameters):
        query = urllib.parse.urlencode({"$filter": filter_text, "$select": select, **parameters},
                                       quote_via=urllib.parse.quote)
        return self.call("GET", f"/users?{query}")

    def batch(self, requests):
        """Carries out (id, method, url, body or None, dependsOn or None) and returns {id: response}."""
        items = []
        for number, method, url, body, after in requests:
            item = {"id": number, "method": method, "url": url}
            if body is not None:
                item |= {"body": body, "headers": {"Content-Type": "application/json"}}
            if after:
                item["dependsOn"] = after
            items.append(item)
        answer = self.call("POST", "/$batch", {"requests": items})
        if answer.status not in (200, 424):
            raise ValueError(answer.body)
        return {response["id"]: response for response in answer.body["responses"]}


class SalesforceSim(Simulator):
    """The strict Salesforce simulator: logins at 127.0.0.1, the API at localhost alone, as the token's answer says."""

    program = "dirpipe-sim-salesforce"
    driver = "salesforce"
    version = "/services/data/v62.0"

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.client_id = "3MVG9." + secrets.token_urlsafe(12)
        self.client_secret = secrets.token_hex(32)
        self.client_secret_file = self._secret_file("client-secret", self.client_secret)
        self.client_cert, self.client_key = self.authority.issue("client", rsa=True)
        self.username, self.password, self.security_token = "sync@acme.example", "pass&word", "T0ken" + secrets.token_hex(8)
        self.password_file = self._secret_file("password", self.password)
        self.security_token_file = self._secret_file("security-token", self.security_token)
        self._both = self._secret_file("password-and-token", self.password + self.security_token)
        self._token = None

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def instance(self):
        return f"localhost:{self.port}"

    def _options(self):
        return ["--client-id", self.client_id, "--client-secret-file", self.client_secret_file, "--client-cert", self.client_cert,
                "--password-file", self._both]

    def login(self, headers=None, **form):
        """One request to the token endpoint: client credentials, or what form says."""
        form = form or {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}
        return self.http("POST", "/services/oauth2/token", urllib.parse.urlencode(form),
                         {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})})

    def call(self, method, path, body=None, headers=None, token=None):
        """One request of the API, below its version; the token is fetched when it is needed."""
        if token is None:
            self._token = self._token or self.login().body["access_token"]
            token = self._token
        sent = {"Authorization": f"Bearer {token}", "Host": self.instance}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        answer = self.http(method, self.version + path, body, sent)
        if answer.status == 401:
            self._token = None
        return answer

    def query(self, soql, **headers):
        return self.call("GET", "/query?q=" + urllib.parse.quote(soql, safe=""), headers=headers)

    def id_of(self, the_object, name):
        """The id of a profile, role, … by its name."""
        return self.query(f"SELECT Id FROM {the_object} WHERE Name = '{name}'").body["records"][0]["Id"]


class RescueSim(Simulator):
    """The strict LogMeIn Rescue simulator: an API token, and a master administrator who may log in."""

    program = "dirpipe-sim-rescue"
    driver = "rescue"

    def __init__(self, directory, **options):
        super().__init__(directory, **options)
        self.token = "token" + secrets.token_hex(30)
        self.token_file = self._secret_file("token", self.token)
        self.email, self.password = "master@company.example", "Master-" + secrets.token_urlsafe(16)
        self.password_file = self._secret_file("password", self.password)
        self.default_password = "First-" + secrets.token_urlsafe(12)
        self.default_password_file = self._secret_file("default-password", self.default_password)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/API"

    def _options(self):
        return ["--token-file", self.token_file, "--email", self.email, "--password-file", self.password_file]

    def call(self, method, **fields):
        """One call as a form with the API token (authcode=None: without); the text of the answer."""
        form = {"authcode": self.token} | {name: str(value) for name, value in fields.items()}
        form = {name: value for name, value in form.items() if value != "None"}
        answer = self.http("POST", f"/API/{method}.aspx", urllib.parse.urlencode(form),
                           {"Content-Type": "application/x-www-form-urlencoded"})
        return answer.raw.decode()

    def technicians(self):
        return [node for node in self.dump() if node["type"] == "Technician"]

    def technician(self, email):
        """The one with that address, or None."""
        found = [node for node in self.technicians() if node["email"].lower() == email.lower()]
        assert len(found) <= 1, found
        return found[0] if found else None

    def group_id(self, name):
        return next(node["node"] for node in self.groups() if node["name"] == name and node["type"] == "TechnicianGroup")

    def of_node(self, node, since=0):
        """Writes to one node."""
        the_id = str(uuid.UUID(int=node))
        return [write for write in self.ledger(since) if write["id"] == the_id]
