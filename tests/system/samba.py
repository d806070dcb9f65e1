"""Throw-away Samba Active Directory domain controllers.

    with samba.Domain(folder) as ad:                 # one controller
        ad.dc.create("alice", mail="alice@ad.test")
    with samba.Domain(folder, controllers=2) as ad:  # two that replicate when asked
        ad.dcs[0].create("bob"); ad.replicate()

Each controller has a loopback address of its own (its LDAP ports cannot be chosen), a certificate with SAN from the
domain's own CA, and lives wholly in `folder`. An empty provisioned domain is packed once under tests/.cache, so that
later starts take about 3 s. Needs root. Run as a program it prepares accounts in a stopped domain (see prepare).
"""

import fcntl
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import ldap
from ldap.controls import LDAPControl

REALM = "AD.TEST"
DNS = "ad.test"
NETBIOS = "ADTEST"
BASE = "DC=ad,DC=test"
USERS = "CN=Users," + BASE
DELETED = "CN=Deleted Objects," + BASE
ADMIN_PASSWORD = "Passw0rd.Adm"
PASSWORD = "Sv-cret.1"  # of every service account below
CACHE = Path(__file__).resolve().parent.parent / ".cache"

# Service accounts of every domain, by what they may do. `svc` is what we recommend to customers.
ACCOUNTS = {
    "svc": {"get-changes", "deleted"},
    "plain": {"deleted"},  # no replication right: DirSync with OBJECT_SECURITY
    "blind": {"get-changes"},  # never sees a deletion
    "mighty": {"get-changes", "get-changes-all", "deleted"},  # may read password hashes by DRSUAPI
}
RIGHTS = {
    "get-changes": "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2",
    "get-changes-all": "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2",
}
SHOW_DELETED = LDAPControl("1.2.840.113556.1.4.417", True)
LOCKOUT_THRESHOLD = 3
PROVISION = [
    "--backend-store=mdb",
    "--backend-store-size=1Gb",
    "--option=acl_xattr:security_acl_name=user.NTACL",
]


class Unavailable(Exception):
    """This machine cannot run a domain controller; the text says why."""


def why_not(controllers=1):
    """None, or why so many controllers cannot be started here."""
    if os.geteuid() != 0:
        return "a Samba domain controller needs root (ports 389 and 636)"
    if not shutil.which("samba") or not shutil.which("samba-tool"):
        return "samba-ad-dc is not installed"
    if controllers > 1 and subprocess.run(["unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"], check=False,
                                          capture_output=True).returncode != 0:
        return "two controllers need a mount namespace of their own (CAP_SYS_ADMIN)"
    return None


def run(*command, env=None, timeout=180):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=env, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])}: {done.stdout.decode(errors='replace')[-2000:]}")
    return done.stdout.decode(errors="replace")


def free_address():
    """A loopback address 127.0.x.1 on which nothing answers at the LDAP ports; held by the caller's use of it."""
    for _ in range(400):
        address = f"127.{random.randint(1, 250)}.{random.randint(2, 250)}.1"
        try:
            for port in (88, 389, 636, 3268):
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return address
    raise Unavailable("no free loopback address")


def wait_until(test, seconds=20, what="condition"):
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not (value := test()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} not true after {seconds} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return value


def alive(group):
    """Does a process of this group run? (One that ended and was not collected does not.)"""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state not in "ZX":
            return True
    return False


class Authority:
    """A CA of its own and certificates with a subjectAltName."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "ca.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            str(self.folder / "ca.key"), "-out", str(self.file), "-days", "3650", "-subj", "/CN=dirpipe test CA",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, folder, names):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ext").write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            str(folder / "key.pem"), "-out", str(folder / "csr.pem"), "-subj", "/CN=" + names[0].split(":", 1)[1])
        run("openssl", "x509", "-req", "-in", str(folder / "csr.pem"), "-CA", str(self.file), "-CAkey",
            str(self.folder / "ca.key"), "-set_serial", str(uuid.uuid4().int >> 70), "-days", "3650",
            "-extfile", str(folder / "ext"), "-out", str(folder / "cert.pem"))
        shutil.copy(self.file, folder / "ca.pem")
        os.chmod(folder / "key.pem", 0o600)


class Dc:
    """One domain controller: its process and what an administrator does through it."""

    def __init__(self, folder, authority, host="dc1", address=None, services="ldap, kdc"):
        self.folder = Path(folder)
        self.authority = authority
        self.host = host
        self.address = address or free_address()
        self.services = services
        self.conf = self.folder / "smb.conf"
        self.uri = f"ldaps://{self.address}"
        self.process = None
        self._admin = None

    # ---- process ----

    def write_conf(self):
        d = self.folder
        for name in ("run", "lock", "cache"):
            (d / name).mkdir(parents=True, exist_ok=True)
        self.conf.write_text(f"""[global]
  netbios name = {self.host.upper()}
  realm = {REALM}
  workgroup = {NETBIOS}
  server role = active directory domain controller
  private dir = {d}/private
  state directory = {d}/state
  cache directory = {d}/cache
  lock directory = {d}/lock
  pid directory = {d}/run
  ncalrpc dir = {d}/run/ncalrpc
  winbindd socket directory = {d}/run/winbindd
  ntp signd socket directory = {d}/run/ntp_signd
  binddns dir = {d}/bind-dns
  log file = {d}/log.samba
  log level = 1
  max log size = 0
  interfaces = {self.address}/8
  bind interfaces only = yes
  disable netbios = yes
  server services = {self.services}
  tls enabled = yes
  tls certfile = {d}/tls/cert.pem
  tls keyfile = {d}/tls/key.pem
  tls cafile = {d}/tls/ca.pem
  load printers = no
  printcap name = /dev/null
  disable spoolss = yes
  dns update command = /bin/true
  spn update command = /bin/true
  samba kcc command = /bin/true
  acl_xattr:security_acl_name = user.NTACL
[sysvol]
  path = {d}/state/sysvol
  read only = no
[netlogon]
  path = {d}/state/sysvol/{DNS}/scripts
  read only = no
""")
        (d / "krb5.conf").write_text(f"""[libdefaults]
  default_realm = {REALM}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  rdns = false
  dns_canonicalize_hostname = false
[realms]
  {REALM} = {{
    kdc = {self.address}
  }}
[domain_realm]
  .{DNS} = {REALM}
  {DNS} = {REALM}
  {self.address} = {REALM}
""")

    def start(self, namespace=None):
        self.write_conf()
        if not (self.folder / "tls/cert.pem").exists():
            self.authority.issue(self.folder / "tls", [f"DNS:{self.host}.{DNS}", f"DNS:{DNS}", f"IP:{self.address}"])
        command = ["samba", "-s", str(self.conf), "-F", "--no-process-group"]
        log = open(self.folder / "out.log", "ab")
        self.process = subprocess.Popen(namespace.wrap(command) if namespace else command, stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, start_new_session=True)
        log.close()
        wait_until(self.answers, 60, f"samba at {self.address}")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError("samba ended: " + (self.folder / "out.log").read_text(errors="replace")[-2000:])
        try:
            with socket.create_connection((self.address, 636), timeout=2):
                return True
        except OSError:
            return False

    def stop(self):
        if self._admin:
            self._admin.unbind_s()
            self._admin = None
        if not self.process:
            return
        group = self.process.pid  # a session of its own
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(group, signal.SIGKILL)
            self.process.wait()
        self.process = None
        try:
            wait_until(lambda: not alive(group), 10, "the end of samba's children")
        except TimeoutError:
            os.killpg(group, signal.SIGKILL)
            wait_until(lambda: not alive(group), 10, "the end of samba's children")

    # ---- connections ----

    def bind(self, user="administrator", password=None):
        ldap.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_HARD)
        c = ldap.initialize(self.uri)
        c.set_option(ldap.OPT_REFERRALS, 0)
        c.set_option(ldap.OPT_NETWORK_TIMEOUT, 10)
        c.set_option(ldap.OPT_TIMEOUT, 60)
        c.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.authority.file))
        c.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        if password is None:
            password = ADMIN_PASSWORD if user.lower() == "administrator" else PASSWORD
        c.simple_bind_s(f"{user}@{DNS}", password)
        return c

    @property
    def admin(self):
        if self._admin is None:
            self._admin = self.bind()
        return self._admin

    # ---- reading ----

    def search(self, base=BASE, scope=ldap.SCOPE_SUBTREE, filt="(objectClass=*)", attrs=None, deleted=False):
        controls = [SHOW_DELETED] if deleted else []
        found = self.admin.search_ext_s(base, scope, filt, attrs, serverctrls=controls)
        return [(dn, a) for dn, a in found if dn]

    def read(self, dn, attrs=None, deleted=False):
        return self.search(dn, ldap.SCOPE_BASE, attrs=attrs, deleted=deleted)[0][1]

    def guid(self, dn, deleted=False):
        """objectGUID as administrators write it."""
        return str(uuid.UUID(bytes_le=self.read(dn, ["objectGUID"], deleted)["objectGUID"][0]))

    def dn_of(self, guid):
        return self.search(f"<GUID={guid}>", ldap.SCOPE_BASE, attrs=["objectGUID"], deleted=True)[0][0]

    def usn(self):
        c = self.admin
        return int(c.search_s("", ldap.SCOPE_BASE, attrlist=["highestCommittedUSN"])[0][1]["highestCommittedUSN"][0])

    # ---- changing ----

    def add(self, dn, **attrs):
        values = {k: _values(v) for k, v in attrs.items()}
        self.admin.add_s(dn, list(values.items()))
        return dn

    def ou(self, name, parent=BASE):
        return self.add(f"OU={name},{parent}", objectClass="organizationalUnit", ou=name)

    def create(self, name, parent=USERS, password=None, **attrs):
        """A user, enabled; cn is attrs['cn'] or the name. Returns the DN."""
        attrs = {"objectClass": "user", "sAMAccountName": name, "userPrincipalName": f"{name}@{DNS}",
                 "userAccountControl": "512" if password else "544", **attrs}
        if password:
            attrs["unicodePwd"] = f'"{password}"'.encode("utf-16-le")
        cn = attrs.pop("cn", name)
        return self.add(f"CN={cn},{parent}", **attrs)

    def group(self, name, parent=USERS, members=()):
        attrs = {"objectClass": "group", "sAMAccountName": name}
        if members:
            attrs["member"] = list(members)
        return self.add(f"CN={name},{parent}", **attrs)

    def modify(self, dn, **attrs):
        """Replaces attributes; None clears."""
        mods = [(ldap.MOD_REPLACE, k, None if v is None else _values(v)) for k, v in attrs.items()]
        self.admin.modify_s(dn, mods)

    def clear(self, dn, *names):
        self.modify(dn, **{n: None for n in names})

    def rename(self, dn, rdn):
        self.admin.rename_s(dn, rdn)
        return rdn + "," + dn.split(",", 1)[1]

    def move(self, dn, parent):
        rdn = dn.split(",", 1)[0]
        self.admin.rename_s(dn, rdn, parent)
        return f"{rdn},{parent}"

    def rename_ou(self, dn, name):
        return self.rename(dn, "OU=" + name)

    def disable(self, dn):
        self._control(dn, on=2)

    def enable(self, dn):
        self._control(dn, off=2)

    def _control(self, dn, on=0, off=0):
        now = int(self.read(dn, ["userAccountControl"])["userAccountControl"][0])
        self.modify(dn, userAccountControl=str((now | on) & ~off))

    def delete(self, dn):
        self.admin.delete_s(dn)

    def undelete(self, guid, dn):
        """Brings a tombstone back as dn (no recycle bin: most attributes are gone)."""
        mods = [(ldap.MOD_DELETE, "isDeleted", None), (ldap.MOD_REPLACE, "distinguishedName", [dn.encode()])]
        self.admin.modify_ext_s(self.dn_of(guid), mods, serverctrls=[SHOW_DELETED])

    def add_member(self, group, *dns):
        self.admin.modify_s(group, [(ldap.MOD_ADD, "member", [d.encode() for d in dns])])

    def drop_member(self, group, *dns):
        self.admin.modify_s(group, [(ldap.MOD_DELETE, "member", [d.encode() for d in dns])])

    def set_password(self, dn, password):
        self.modify(dn, unicodePwd=f'"{password}"'.encode("utf-16-le"))

    def lockout(self, name):
        """Locks a user (who has a password) by wrong binds."""
        for _ in range(LOCKOUT_THRESHOLD):
            try:
                self.bind(name, "wrong-password")
            except ldap.INVALID_CREDENTIALS:
                pass

    def unlock(self, dn):
        self.modify(dn, lockoutTime="0")

    def domain(self, **attrs):
        """Changes the domain head (maxPwdAge, lockoutDuration, …)."""
        self.modify(BASE, **attrs)

    def tool(self, *args):
        return run("samba-tool", *args, "-s", str(self.conf), "-H", str(self.folder / "private/sam.ldb"))


class Namespace:
    """A private mount namespace in which the controllers find each other by name: a hosts file of its own, and a
    resolver that refuses at once."""

    def __init__(self, folder, dcs):
        self.hosts = Path(folder) / "hosts"
        lines = ["127.0.0.1 localhost"] + [f"{d.address} {d.host}.{DNS} {d.host}" for d in dcs]
        self.hosts.write_text("\n".join(lines) + f"\n{dcs[0].address} {DNS}\n")
        self.resolver = Path(folder) / "resolv.conf"
        self.resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")

    def wrap(self, command):
        script = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, str(self.hosts), str(self.resolver), *command]


class Domain:
    """A domain of one or two controllers, fresh from the packed empty one."""

    TWO_SERVICES = "rpc, ldap, cldap, kdc, drepl, winbindd"

    def __init__(self, folder, controllers=1):
        reason = why_not(controllers)
        if reason:
            raise Unavailable(reason)
        Path(folder).mkdir(parents=True, exist_ok=True)
        # The servers name their folder in a short way: the path of a socket has at most 107 bytes.
        self.short = tempfile.mkdtemp(prefix="dp-ad-", dir="/tmp")
        self.folder = Path(self.short) / "d"
        self.folder.symlink_to(Path(folder).resolve())
        self.authority = Authority(self.folder / "ca")
        self.ca_file = str(self.authority.file)
        self.base = BASE
        services = "ldap, kdc" if controllers == 1 else self.TWO_SERVICES
        self.dcs = [Dc(self.folder / f"dc{i + 1}", self.authority, f"dc{i + 1}", services=services)
                    for i in range(controllers)]
        self.dc = self.dcs[0]
        self.namespace = Namespace(self.folder, self.dcs) if controllers > 1 else None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def start(self):
        run("tar", "-C", str(self.folder), "-xf", str(packed(len(self.dcs))))
        for dc in self.dcs:
            self.start_dc(dc)
        return self

    def start_dc(self, dc):
        dc.start(self.namespace)

    def stop(self):
        for dc in self.dcs:
            dc.stop()
        shutil.rmtree(self.short, ignore_errors=True)

    @property
    def uris(self):
        return [dc.uri for dc in self.dcs]

    def account(self, name):
        return f"CN={name},{USERS}"

    def replicate(self, source=0, to=1):
        """Everything that `source` has is at `to` afterwards (one direction)."""
        src, dst = self.dcs[source], self.dcs[to]
        command = ["samba-tool", "drs", "replicate", f"{dst.host}.{DNS}", f"{src.host}.{DNS}", BASE, "--local", "-s",
                   str(dst.conf), f"-Uadministrator%{ADMIN_PASSWORD}"]
        run(*self.namespace.wrap(command))


def _values(value):
    if isinstance(value, (list, tuple)):
        return [v if isinstance(v, bytes) else str(v).encode() for v in value]
    return [value if isinstance(value, bytes) else str(value).encode()]


# ---- the packed empty domain ----

def packed(controllers):
    """The archive of an empty domain; made when this file, Samba's version or the number of controllers is new."""
    version = run("samba", "--version").strip()
    key = hashlib.sha256(Path(__file__).read_bytes() + version.encode()).hexdigest()[:16]
    archive = CACHE / f"samba-{controllers}-{key}.tar.gz"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"samba-{controllers}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            for old in CACHE.glob(f"samba-{controllers}-*.tar.gz"):
                old.unlink()
            build(archive, controllers)
    return archive


def build(archive, controllers):
    with tempfile.TemporaryDirectory(prefix="dirpipe-samba-") as scratch:
        folder = Path(scratch)
        authority = Authority(folder / "ca")
        if controllers == 1:
            provision(Dc(folder / "dc1", authority))
        else:
            run("tar", "-C", scratch, "-xf", str(packed(1)))
            join(folder, authority)
        names = [f"dc{i + 1}" for i in range(controllers)]
        for name in names:
            for left in ("tls", "run", "lock", "cache", "out.log", "log.samba", "smb.conf", "krb5.conf", "provision.log"):
                path = folder / name / left
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        run("tar", "-C", scratch, "--sparse", "-czf", str(archive) + ".new", *names)
        os.rename(str(archive) + ".new", archive)


def provision(dc):
    run("samba-tool", "domain", "provision", f"--targetdir={dc.folder}", "-s", "/dev/null", f"--realm={REALM}",
        f"--domain={NETBIOS}", "--server-role=dc", "--dns-backend=NONE", f"--host-name={dc.host}",
        f"--host-ip={dc.address}", f"--adminpass={ADMIN_PASSWORD}", *PROVISION,
        f"--option=interfaces={dc.address}/8", "--option=bind interfaces only=yes")
    dc.write_conf()
    dc.tool("domain", "passwordsettings", "set", "--complexity=off", "--history-length=0", "--min-pwd-age=0",
            "--max-pwd-age=0", "--min-pwd-length=4", f"--account-lockout-threshold={LOCKOUT_THRESHOLD}")
    run(sys.executable, "-I", __file__, "prepare", str(dc.conf), str(dc.folder / "private/sam.ldb"))


def join(folder, authority):
    one = Dc(folder / "dc1", authority, "dc1", services=Domain.TWO_SERVICES)
    two = Dc(folder / "dc2", authority, "dc2", services=Domain.TWO_SERVICES)
    namespace = Namespace(folder, [one, two])
    one.start(namespace)
    try:
        two.write_conf()
        two.conf.unlink()
        env = {**os.environ, "KRB5_CONFIG": str(one.folder / "krb5.conf")}
        command = ["samba-tool", "domain", "join", DNS, "DC", f"--server=dc1.{DNS}", "-s", "/dev/null",
                   f"--targetdir={two.folder}", "--dns-backend=NONE", f"-Uadministrator%{ADMIN_PASSWORD}", *PROVISION,
                   f"--option=interfaces={two.address}/8", "--option=bind interfaces only=yes",
                   "--option=netbios name=DC2", f"--realm={REALM}"]
        run(*namespace.wrap(command), env=env)
    finally:
        one.stop()


def prepare(conf, sam):
    """In a stopped domain: the service accounts with their rights. A process of its own, because the bindings keep global state."""
    import ldb
    from samba.auth import system_session
    from samba.dcerpc import security
    from samba.ndr import ndr_pack, ndr_unpack
    from samba.param import LoadParm
    from samba.samdb import SamDB

    lp = LoadParm()
    lp.load(conf)
    db = SamDB(url=sam, session_info=system_session(), lp=lp)
    domain = security.dom_sid(db.get_domain_sid())
    controls = ["show_deleted:1", "sd_flags:1:4"]

    def grant(dn, aces):
        raw = db.search(dn, ldb.SCOPE_BASE, attrs=["nTSecurityDescriptor"], controls=controls)
        sddl = ndr_unpack(security.descriptor, raw[0]["nTSecurityDescriptor"][0]).as_sddl(domain)
        at = sddl.index("(")
        sddl = sddl[:at] + "".join(aces) + sddl[at:]
        m = ldb.Message(ldb.Dn(db, dn))
        packed_sd = ndr_pack(security.descriptor.from_sddl(sddl, domain))
        m["sd"] = ldb.MessageElement(packed_sd, ldb.FLAG_MOD_REPLACE, "nTSecurityDescriptor")
        db.modify(m, controls=controls)

    head, deleted = [], []
    for name, rights in ACCOUNTS.items():
        db.newuser(name, PASSWORD, setpassword=True)
        found = db.search(BASE, ldb.SCOPE_SUBTREE, f"(sAMAccountName={name})", ["objectSid"])
        sid = str(ndr_unpack(security.dom_sid, found[0]["objectSid"][0]))
        head += [f"(OA;;CR;{RIGHTS[r]};;{sid})" for r in sorted(rights) if r in RIGHTS]
        if "deleted" in rights:
            deleted.append(f"(A;;LCRP;;;{sid})")
    grant(BASE, head)
    grant(DELETED, deleted)


if __name__ == "__main__" and len(sys.argv) == 4 and sys.argv[1] == "prepare":
    prepare(sys.argv[2], sys.argv[3])
