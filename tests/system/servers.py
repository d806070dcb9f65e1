"""Throw-away LDAP servers on loopback, each with ports, data and certificates of its own below `folder`.

    with Slapd(folder, users=1000) as d:      # OpenLDAP: syncprov, ppolicy, refint
        dn = d.add_person(7)
        d.replace(dn, title="Chief")
        d.rename(dn, "seven"); ...
    with Ds389(folder, users=100) as d:       # 389-DS: retro changelog, content synchronization (needs root)

People are generated from a seed: umlauts, apostrophes, CJK, emoji; nested OUs; groups of names, nested, and a posixGroup. Changes
go through one connection as the administrator; names are returned as the server has them.
"""

import base64
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

import ldap
import ldap.dn
import ldap.modlist

from pipeline import Secret, free_port
from sims import Authority

SUFFIX = "dc=example,dc=com"
READER = f"cn=collector,ou=services,{SUFFIX}"
READER_PASSWORD = "collector-secret"
UNITS = ["Sales", "Support", "Engineering", "Finance", "Legal", "Research"]
GIVEN = ["Anna", "Björn", "Chloé", "Dörte", "Elif", "Søren", "Grace", "Núria", "明子", "Zoë", "Олга", "Łukasz", "Siân", "李雷"]
FAMILY = ["Müller", "O'Neill", "Núñez", "Sørensen", "Okafor", "田中", "Ivanov", "Fischer-Weiß", "D'Angelo", "Ødegård", "Smith 🚀", "王"]
TITLES = ["Associate", "Specialist", "Team Lead", "Manager", "Führungskraft"]
LOCKED = "000001010000Z"  # pwdAccountLockedTime: by an administrator


def wait_until(test, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds} s")
        time.sleep(0.02)


def ldif_line(name, value):
    raw = value.encode()
    if raw.isascii() and not value.startswith((" ", ":", "<")) and not value.endswith(" "):
        return f"{name}: {value}\n"
    return f"{name}:: {base64.b64encode(raw).decode()}\n"


class LdapServer:
    """What tests need of any LDAP server. Subclasses start it and name its attributes."""

    id_attr = "entryUUID"
    people_base = f"ou=people,{SUFFIX}"
    groups_base = f"ou=groups,{SUFFIX}"
    suffix = SUFFIX

    def __init__(self, folder, users=0, units=UNITS, seed=1, options=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.users, self.unit_names, self.seed = users, units, seed
        self.options = options or {}
        self.random = random.Random(seed)
        self.port, self.tls_port = free_port(), free_port()
        self.uri = f"ldap://127.0.0.1:{self.port}"
        self.ldaps_uri = f"ldaps://127.0.0.1:{self.tls_port}"
        self.authority = Authority(self.folder / "ca")
        self.ca_file = self.authority.ca_file
        self.connection = None
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(hard=True)

    # ---- data ----

    def unit(self, name):
        return f"ou={name},{self.people_base}"

    def person(self, number):
        """(dn, attributes) of the generated person with this number."""
        r = random.Random(f"{self.seed}/{number}")
        given, family = r.choice(GIVEN), r.choice(FAMILY)
        unit = self.unit_names[number % len(self.unit_names)]
        base = self.unit(unit) if number % 5 else f"ou=Field,{self.unit(unit)}"
        uid = f"u{number:07d}"
        attrs = {
            "objectClass": ["inetOrgPerson"], "uid": [uid], "cn": [f"{given} {family} {number}"], "sn": [family],
            "givenName": [given], "displayName": [f"{given} {family}"], "mail": [f"{uid}@example.com"],
            "employeeNumber": [f"E{number:07d}"], "departmentNumber": [str(100 + number % 12)], "title": [r.choice(TITLES)],
            "telephoneNumber": [f"+49 30 {r.randrange(10**7):07d}"], "mobile": [f"+49 171 {r.randrange(10**7):07d}"],
        }
        if number % 7 == 3:
            del attrs["title"]
        return f"uid={uid},{base}", attrs

    def ldif(self):
        def entry(dn, attrs):
            return ldif_line("dn", dn) + "".join(ldif_line(n, v) for n, vs in attrs.items() for v in vs) + "\n"

        yield entry(SUFFIX, {"objectClass": ["dcObject", "organization"], "dc": ["example"], "o": ["Example"]})
        for dn in (self.people_base, self.groups_base, f"ou=services,{SUFFIX}"):
            yield entry(dn, {"objectClass": ["organizationalUnit"], "ou": [dn.split(",")[0][3:]]})
        for name in self.unit_names:
            yield entry(self.unit(name), {"objectClass": ["organizationalUnit"], "ou": [name]})
            yield entry(f"ou=Field,{self.unit(name)}", {"objectClass": ["organizationalUnit"], "ou": ["Field"]})
        yield entry(READER, {"objectClass": ["person"], "cn": ["collector"], "sn": ["collector"], "userPassword": [READER_PASSWORD]})
        members = {}
        for number in range(self.users):
            dn, attrs = self.person(number)
            if number >= 10:
                attrs["manager"] = [self.person(number % 10)[0]]
            members.setdefault(self.unit_names[number % len(self.unit_names)], []).append((dn, attrs["uid"][0]))
            yield entry(dn, attrs)
        for name, people in members.items():
            yield entry(self.group_dn(f"dept-{name.lower()}"), {
                "objectClass": ["groupOfNames"], "cn": [f"dept-{name.lower()}"], "member": [dn for dn, _ in people]})
        if members:
            yield entry(self.group_dn("everyone"), {"objectClass": ["groupOfNames"], "cn": ["everyone"],
                                                    "member": [self.group_dn(f"dept-{n.lower()}") for n in members]})
            first = next(iter(members.values()))
            yield entry(self.group_dn("unix"), {"objectClass": ["posixGroup"], "cn": ["unix"], "gidNumber": ["5000"],
                                                "memberUid": [uid for _, uid in first]})

    def group_dn(self, name):
        return f"cn={name},{self.groups_base}"

    # ---- reading ----

    def connect(self):
        self.connection = ldap.initialize(self.uri)
        self.connection.set_option(ldap.OPT_REFERRALS, 0)
        self.connection.simple_bind_s(self.admin, self.admin_password)
        return self.connection

    def answers(self):
        try:
            c = ldap.initialize(self.uri)
            c.set_option(ldap.OPT_NETWORK_TIMEOUT, 1)
            c.search_s("", ldap.SCOPE_BASE, attrlist=["1.1"])
            c.unbind_s()
        except ldap.LDAPError:
            return False
        return True

    def _entry(self, dn, attrs):
        values = {n: [v.decode() for v in vs] for n, vs in attrs.items() if n.lower() not in ("userpassword", "jpegphoto")}
        the_id = uuid.UUID(values[self.id_attr][0].replace("-", ""))
        return {"id": str(the_id), "immutable_id": base64.b64encode(the_id.bytes).decode(), "dn": dn,
                "enabled": self.is_enabled(values), "attrs": values}

    def entry(self, dn):
        found = self.connection.search_s(dn, ldap.SCOPE_BASE, attrlist=["*", "+", self.id_attr, "nsAccountLock"])
        return self._entry(*found[0])

    def entry_values(self, dn, attr):
        found = self.connection.search_s(dn, ldap.SCOPE_BASE, attrlist=[attr])
        return [v.decode() for v in found[0][1].get(attr, [])]

    def id(self, dn):
        return self.entry(dn)["id"]

    def people(self):
        found = self.connection.search_s(SUFFIX, ldap.SCOPE_SUBTREE, "(objectClass=inetOrgPerson)",
                                         ["*", "+", self.id_attr, "nsAccountLock"])
        return [self._entry(dn, attrs) for dn, attrs in found if dn]

    def sample(self, n):
        return self.random.sample([p["dn"] for p in self.people()], n)

    # ---- changing ----

    def add(self, dn, attrs):
        values = {n: [v.encode() for v in ([vs] if isinstance(vs, str) else vs)] for n, vs in attrs.items()}
        self.connection.add_s(dn, ldap.modlist.addModlist(values))
        return dn

    def add_person(self, number, **more):
        dn, attrs = self.person(number)
        return self.add(dn, attrs | {n: [v] if isinstance(v, str) else v for n, v in more.items()})

    def add_unit(self, name, base=None):
        return self.add(f"ou={name},{base or self.people_base}", {"objectClass": "organizationalUnit", "ou": name})

    def add_group(self, name, members):
        return self.add(self.group_dn(name), {"objectClass": "groupOfNames", "cn": name, "member": members})

    def replace(self, dn, **attrs):
        """None or [] clears."""
        self.connection.modify_s(dn, [
            (ldap.MOD_REPLACE, n, [v.encode() for v in ([vs] if isinstance(vs, str) else vs)] or None if vs else None)
            for n, vs in attrs.items()])

    def add_value(self, dn, attr, value):
        self.connection.modify_s(dn, [(ldap.MOD_ADD, attr, [value.encode()])])

    def remove_value(self, dn, attr, value):
        self.connection.modify_s(dn, [(ldap.MOD_DELETE, attr, [value.encode()])])

    def rename(self, dn, name):
        attr = ldap.dn.str2dn(dn)[0][0][0]
        rdn = f"{attr}={ldap.dn.escape_dn_chars(name)}"
        self.connection.rename_s(dn, rdn)
        return f"{rdn},{self.parent(dn)}"

    def move(self, dn, unit):
        rdn = ldap.dn.dn2str(ldap.dn.str2dn(dn)[:1])
        self.connection.rename_s(dn, rdn, unit)
        return f"{rdn},{unit}"

    @staticmethod
    def parent(dn):
        return ldap.dn.dn2str(ldap.dn.str2dn(dn)[1:])

    def other_unit(self, dn):
        here = dn.lower()
        return next(self.unit(n) for n in self.unit_names if f",{self.unit(n)}".lower() not in here)

    def delete(self, dn):
        self.connection.delete_s(dn)

    # ---- dirpipe's side ----

    def password_file(self, text=READER_PASSWORD):
        path = self.folder / "reader-password"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def source(self, attributes=None, routes=None, uri=None, password=READER_PASSWORD, **more):
        """The section of a source that follows this server."""
        section = {
            "driver": "syncrepl", "uris": [uri or self.uri], "base_dn": SUFFIX,
            "bind": {"method": "simple", "dn": READER, "password": Secret(self.password_file(password))},
            "tls": {"ca_file": self.ca_file},
            "users": {"attributes": attributes or ["uid", "cn", "sn", "givenName", "displayName", "mail", "title", "employeeNumber",
                                                   "telephoneNumber", "manager"]},
            "routes": routes if routes is not None else [{"target": "app"}],
        }
        return section | more


class Slapd(LdapServer):
    """options: sessionlog (entries; None: none, every resume with changes is a present phase), refint (bool), limit (size limit of
    the reader), serverid, access (lines that stand before the rights of everybody), restrict (operations that are refused)."""

    admin, admin_password = f"cn=admin,{SUFFIX}", "admin"

    def _conf(self):
        o = self.options
        cert, key = self.authority.issue("slapd", rsa=True)
        schema = "".join(f"include /etc/ldap/schema/{s}.schema\n" for s in ("core", "cosine", "inetorgperson", "nis"))
        modules = "".join(f"moduleload {m}\n" for m in ("back_mdb", "syncprov", "ppolicy", "refint"))
        limit = o.get("limit", "unlimited")
        refint = "overlay refint\nrefint_attributes member manager\n" if o.get("refint", True) else ""
        log = o.get("sessionlog", 1000)
        return f"""{schema}modulepath /usr/lib/ldap
{modules}pidfile {self.folder}/pid
argsfile {self.folder}/args
loglevel none
threads 8
sizelimit 500
TLSCACertificateFile {self.ca_file}
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
TLSVerifyClient never
{f"serverID {o['serverid']}" if "serverid" in o else ""}
database mdb
suffix {SUFFIX}
rootdn {self.admin}
rootpw {self.admin_password}
directory {self.folder}/db
maxsize 4294967296
dbnosync
index objectClass,entryCSN,entryUUID,uid,mail,member,memberUid,manager eq
limits dn.exact="{READER}" size={limit} time=unlimited
access to attrs=userPassword by anonymous auth by * none
{o.get("access", "")}
{f"restrict {o['restrict']}" if "restrict" in o else ""}
access to * by dn.exact="{READER}" read by users read by * none
overlay ppolicy
{refint}overlay syncprov
syncprov-checkpoint 100 10
{f"syncprov-sessionlog {log}" if log else ""}
"""

    def start(self):
        (self.folder / "db").mkdir(exist_ok=True)
        conf = self.folder / "slapd.conf"
        conf.write_text(self._conf())
        if not (self.folder / "db" / "data.mdb").exists():
            ldif = self.folder / "load.ldif"
            with ldif.open("w") as f:
                f.writelines(self.ldif())
            subprocess.run(["/usr/sbin/slapadd", "-q", "-w", "-f", conf, "-b", SUFFIX, "-l", ldif], check=True, capture_output=True)
        with open(self.folder / "slapd.log", "ab") as log:
            self.process = subprocess.Popen(["/usr/sbin/slapd", "-d", "0", "-f", conf, "-h", f"{self.uri} {self.ldaps_uri}"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(self.answers, "slapd answers")
        self.connect()

    def stop(self, hard=False):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        self.process.wait(30)
        self.process = self.connection = None

    def restart(self, hard=False):
        self.stop(hard)
        self.start()

    def is_enabled(self, values):
        return values.get("pwdAccountLockedTime", [""])[0] != LOCKED

    def disable(self, dn):
        self.replace(dn, pwdAccountLockedTime=LOCKED)

    def enable(self, dn):
        self.replace(dn, pwdAccountLockedTime=None)

    def context_csn(self):
        found = self.connection.search_s(SUFFIX, ldap.SCOPE_BASE, attrlist=["contextCSN"])
        return [v.decode() for v in found[0][1]["contextCSN"]]


class Ds389(LdapServer):
    """Its files are in a folder of their own, which its user can reach: pytest's are shut to others again by each new session. A link in
    `folder` leads there."""

    admin, admin_password = "cn=Directory Manager", "Secret.123"
    id_attr = "nsUniqueId"

    def __init__(self, folder, **more):
        place = pathlib.Path(tempfile.mkdtemp(prefix="dp-389-", dir="/tmp"))
        place.chmod(0o755)
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        link = pathlib.Path(folder) / "389ds"
        link.unlink(missing_ok=True)
        link.symlink_to(place)
        super().__init__(place, **more)

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def why_not():
        """None, or why this machine cannot run one."""
        if shutil.which("dscreate") is None or shutil.which("ns-slapd", path="/usr/sbin:/usr/bin") is None:
            return "389-ds-base is not installed"
        return None if os.geteuid() == 0 else "dscreate needs root"

    @property
    def _config(self):
        return self.folder / "etc/dirsrv/slapd-probe"

    @property
    def _pid_file(self):
        return self.folder / "run/dirsrv/slapd-probe.pid"

    def _prepare(self):
        d = self.folder
        for p in ("p/share/dirsrv/inf", "run/dirsrv", "run/lock/dirsrv", "var/log/dirsrv", "var/lib/dirsrv", "tmp", "etc/dirsrv",
                  "etc/default", "shm", "inst"):
            (d / p).mkdir(parents=True, exist_ok=True)
        inf = pathlib.Path("/usr/share/dirsrv/inf/defaults.inf").read_text()
        lines = []
        for line in inf.splitlines():
            if line.startswith("with_systemd ="):
                line = "with_systemd = 0"
            elif line.startswith("tmp_dir ="):
                line = f"tmp_dir = {d}/tmp"
            elif line.startswith("inst_dir ="):
                line = f"inst_dir = {d}/inst"
            else:
                for top in ("/etc", "/var", "/run", "/dev/shm"):
                    line = line.replace(f"= {top}", f"= {d}{'/shm' if top == '/dev/shm' else top}")
            lines.append(line)
        (d / "p/share/dirsrv/inf/defaults.inf").write_text("\n".join(lines) + "\n")
        for p in ("config", "schema"):
            shutil.copytree(f"/etc/dirsrv/{p}", d / "etc/dirsrv" / p, dirs_exist_ok=True)
        (d / "ds.inf").write_text(f"""[general]
config_version = 2
full_machine_name = localhost
strict_host_checking = False
start = True
systemd = False
selinux = False
[slapd]
instance_name = probe
port = {self.port}
secure_port = {self.tls_port}
root_dn = {self.admin}
root_password = {self.admin_password}
self_sign_cert = False
db_lib = bdb
[backend-userroot]
suffix = {SUFFIX}
create_suffix_entry = False
sample_entries = no
""")
        subprocess.run(["chown", "-R", "dirsrv:dirsrv", d], check=True)

    def _create(self):
        self._prepare()
        env = {**os.environ, "PREFIX": str(self.folder / "p"), "LC_ALL": "C.UTF-8"}
        made = subprocess.run(["dscreate", "from-file", self.folder / "ds.inf"], env=env, capture_output=True, text=True)
        if made.returncode:
            raise RuntimeError(f"dscreate: {made.stdout}{made.stderr}")
        self.stop()
        dse = self._config / "dse.ldif"
        text = dse.read_text()
        line = next(x for x in text.splitlines() if x.startswith("nsslapd-port:"))
        text = text.replace(line, f"{line}\nnsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1")
        dse.write_text(text)
        ldif = self.folder / "tmp/load.ldif"
        with ldif.open("w") as f:
            f.writelines(self.ldif())
        shutil.chown(ldif, "dirsrv", "dirsrv")
        loaded = subprocess.run(["ns-slapd", "ldif2db", "-D", self._config, "-n", "userroot", "-i", ldif], capture_output=True, text=True,
                                env={**env, "PATH": env["PATH"] + ":/usr/sbin"})
        if loaded.returncode:
            raise RuntimeError(f"ldif2db: {loaded.stdout}{loaded.stderr}")

    def _launch(self):
        subprocess.run(["/usr/sbin/ns-slapd", "-D", self._config, "-i", self._pid_file], check=True, capture_output=True,
                       env={**os.environ, "PREFIX": str(self.folder / "p")})
        wait_until(self.answers, "389-DS answers", 60)
        self.connect()

    def _enable(self):
        c = self.connection
        c.modify_s("cn=Retro Changelog Plugin,cn=plugins,cn=config", [
            (ldap.MOD_REPLACE, "nsslapd-pluginEnabled", [b"on"]), (ldap.MOD_REPLACE, "nsslapd-attribute", [b"nsuniqueid:targetUniqueId"])])
        c.modify_s("cn=Content Synchronization,cn=plugins,cn=config", [(ldap.MOD_REPLACE, "nsslapd-pluginEnabled", [b"on"])])
        c.modify_s(READER, [(ldap.MOD_REPLACE, n, [b"-1"]) for n in ("nsSizeLimit", "nsLookThroughLimit", "nsTimeLimit")])
        aci = f'(targetattr!="userPassword")(version 3.0; acl "reader"; allow (read,search,compare) userdn="ldap:///{READER}";)'
        c.modify_s(SUFFIX, [(ldap.MOD_ADD, "aci", [aci.encode()])])

    def start(self):
        if not (self._config / "dse.ldif").exists():
            self._create()
            self._launch()
            self._enable()
            self.stop()
        self._launch()

    def stop(self, hard=False):
        try:
            pid = int(self._pid_file.read_text())
            os.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)
        except (OSError, ValueError):
            return
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "389-DS ends", 60)
        self._pid_file.unlink(missing_ok=True)
        self.connection = None

    def restart(self, hard=False):
        self.stop(hard)
        self._launch()

    def is_enabled(self, values):
        return values.get("nsAccountLock", ["false"])[0].lower() != "true"

    def disable(self, dn):
        self.replace(dn, nsAccountLock="true")

    def enable(self, dn):
        self.replace(dn, nsAccountLock=None)
