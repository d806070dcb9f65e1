"""Throw-away LDAP servers that are not Active Directory: slapd and 389-DS, each wholly in one folder, on loopback, with people, groups and a
certificate of its own.

    with Slapd(folder) as server:
        server.add_person("alice", title="A")
"""

import os
import pathlib
import shutil
import socket
import subprocess
import time

import ldap

from samba import Authority, wait_until

BASE = "dc=example,dc=com"
PEOPLE = "ou=people," + BASE
GROUPS = "ou=groups," + BASE
READER = "cn=reader,ou=services," + BASE
PASSWORD = "Reader-Secret.1"
SCHEMAS = "/etc/ldap/schema"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def skeleton():
    """What every server starts with, as LDIF."""
    return f"""dn: {BASE}
objectClass: top
objectClass: domain
dc: example

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {GROUPS}
objectClass: organizationalUnit
ou: groups

dn: ou=services,{BASE}
objectClass: organizationalUnit
ou: services

dn: {READER}
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: reader
userPassword: {PASSWORD}

"""


class Server:
    """What the two have in common: an administrator's connection and changes through it."""

    id_attr = None
    admin_dn = None
    admin_password = "Adm-Secret.1"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.plain_uri = f"ldap://127.0.0.1:{self.port}"
        self.base = BASE
        self._admin = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def admin(self):
        if self._admin is None:
            self._admin = ldap.initialize(self.plain_uri)
            self._admin.set_option(ldap.OPT_REFERRALS, 0)
            self._admin.set_option(ldap.OPT_TIMEOUT, 30)
            self._admin.simple_bind_s(self.admin_dn, self.admin_password)
        return self._admin

    def forget_admin(self):
        if self._admin:
            self._admin.unbind_s()
            self._admin = None

    def answers(self):
        try:
            probe = ldap.initialize(self.plain_uri)
            probe.set_option(ldap.OPT_NETWORK_TIMEOUT, 1)
            probe.search_s("", ldap.SCOPE_BASE, attrlist=["1.1"])
            probe.unbind_s()
            return True
        except ldap.LDAPError:
            return False

    def id_of(self, dn):
        """The entry's id as dirpipe writes it: 8-4-4-4-12."""
        raw = self.admin.search_s(dn, ldap.SCOPE_BASE, attrlist=[self.id_attr])[0][1]
        hexes = next(v[0] for k, v in raw.items() if k.lower() == self.id_attr.lower()).decode().replace("-", "")
        return "-".join((hexes[:8], hexes[8:12], hexes[12:16], hexes[16:20], hexes[20:]))

    def add(self, dn, **attrs):
        values = [(k, [x.encode() if isinstance(x, str) else x for x in (v if isinstance(v, list) else [v])])
                  for k, v in attrs.items()]
        self.admin.add_s(dn, values)
        return dn

    def person(self, uid, parent=PEOPLE, **attrs):
        return self.add(f"uid={uid},{parent}", objectClass="inetOrgPerson", uid=uid, **{"cn": uid, "sn": uid, **attrs})

    def modify(self, dn, **attrs):
        self.admin.modify_s(dn, [(ldap.MOD_REPLACE, k, None if v is None else [v.encode()]) for k, v in attrs.items()])

    def rename(self, dn, rdn, parent=None):
        self.admin.rename_s(dn, rdn, parent, delold=1)
        return f"{rdn},{parent or dn.split(',', 1)[1]}"

    def delete(self, dn):
        self.admin.delete_s(dn)


class Slapd(Server):
    """OpenLDAP with mdb and syncprov."""

    id_attr = "entryUUID"
    admin_dn = "cn=admin," + BASE

    def __init__(self, folder):
        super().__init__(folder)
        self.tls_port = free_port()
        self.uri = f"ldaps://127.0.0.1:{self.tls_port}"
        self.authority = Authority(self.folder / "ca")
        self.ca_file = str(self.authority.file)
        self.authority.issue(self.folder / "tls", ["DNS:localhost", "IP:127.0.0.1"])
        self.process = None

    @staticmethod
    def why_not():
        return None if shutil.which("slapd", path=os.environ["PATH"] + ":/usr/sbin") else "slapd is not installed"

    def write(self):
        d = self.folder
        (d / "db").mkdir(exist_ok=True)
        includes = "\n".join(f"include {SCHEMAS}/{s}.schema" for s in ("core", "cosine", "inetorgperson"))
        (d / "slapd.conf").write_text(f"""{includes}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile {d}/pid
TLSCACertificateFile {d}/tls/ca.pem
TLSCertificateFile {d}/tls/cert.pem
TLSCertificateKeyFile {d}/tls/key.pem
sizelimit 500
database mdb
suffix {BASE}
rootdn {self.admin_dn}
rootpw {self.admin_password}
directory {d}/db
maxsize 1073741824
index objectClass,entryCSN,entryUUID,uid eq
limits dn.exact="{READER}" size=unlimited time=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{READER}" read by * none
overlay syncprov
syncprov-sessionlog 1000
""")

    def start(self):
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
        self.write()
        if not (self.folder / "db/data.mdb").exists():
            subprocess.run(["slapadd", "-q", "-w", "-f", self.folder / "slapd.conf", "-b", BASE], input=skeleton().encode(),
                           env=environment, check=True, capture_output=True)
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(["slapd", "-d", "0", "-f", self.folder / "slapd.conf", "-h", f"{self.plain_uri} {self.uri}"],
                                        env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        wait_until(self.answers, 20, "slapd")
        return self

    def stop(self):
        self.forget_admin()
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Ds389(Server):
    """389-DS without systemd: `dscreate` with every path below the folder."""

    id_attr = "nsUniqueId"
    admin_dn = "cn=Directory Manager"

    def __init__(self, folder):
        super().__init__(folder)
        self.uri = self.plain_uri
        self.ca_file = None

    @staticmethod
    def why_not():
        if os.geteuid() != 0:
            return "dscreate needs root"
        return None if shutil.which("dscreate", path=os.environ["PATH"] + ":/usr/sbin") else "389-ds-base is not installed"

    @property
    def pid_file(self):
        return self.folder / "run/dirsrv/slapd-dirpipe.pid"

    def create(self):
        d = self.folder
        for sub in ("p/share/dirsrv/inf", "run/dirsrv", "run/lock/dirsrv", "var/log/dirsrv", "var/lib/dirsrv", "tmp",
                    "etc/dirsrv", "etc/default", "shm", "inst"):
            (d / sub).mkdir(parents=True, exist_ok=True)
        inf = pathlib.Path("/usr/share/dirsrv/inf/defaults.inf").read_text()
        lines = []
        for line in inf.splitlines():
            if line.startswith("with_systemd = "):
                line = "with_systemd = 0"
            elif line.startswith("tmp_dir = "):
                line = f"tmp_dir = {d}/tmp"
            elif line.startswith("inst_dir = "):
                line = f"inst_dir = {d}/inst"
            else:
                for old, new in (("= /etc", f"= {d}/etc"), ("= /var", f"= {d}/var"), ("= /run", f"= {d}/run"),
                                 ("= /dev/shm", f"= {d}/shm")):
                    line = line.replace(old, new)
            lines.append(line)
        (d / "p/share/dirsrv/inf/defaults.inf").write_text("\n".join(lines) + "\n")
        for part in ("config", "schema"):
            shutil.copytree(f"/etc/dirsrv/{part}", d / "etc/dirsrv" / part, dirs_exist_ok=True)
        subprocess.run(["chown", "-R", "dirsrv:dirsrv", d], check=True)
        # The server's user must reach it through folders that only we may enter.
        for parent in d.parents:
            if str(parent) not in ("/", "/tmp") and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        (d / "ds.inf").write_text(f"""[general]
config_version = 2
full_machine_name = localhost
strict_host_checking = False
start = True
selinux = False
[slapd]
instance_name = dirpipe
port = {self.port}
secure_port = {free_port()}
root_dn = {self.admin_dn}
root_password = {self.admin_password}
self_sign_cert = False
[backend-userroot]
suffix = {BASE}
create_suffix_entry = False
sample_entries = no
""")
        environment = {**os.environ, "PREFIX": str(d / "p"), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"] + ":/usr/sbin"}
        done = subprocess.run(["dscreate", "from-file", d / "ds.inf"], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"dscreate: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        self.end()
        dse = d / "etc/dirsrv/slapd-dirpipe/dse.ldif"
        text = dse.read_text().replace(f"nsslapd-port: {self.port}\n",
                                       f"nsslapd-port: {self.port}\nnsslapd-listenhost: 127.0.0.1\n"
                                       "nsslapd-securelistenhost: 127.0.0.1\n")
        dse.write_text(text)
        load = d / "tmp/load.ldif"
        aci = (f'aci: (targetattr="*")(version 3.0; acl "reader"; allow (read,search,compare) userdn="ldap:///{READER}";)\n'
               f'aci: (targetattr="userPassword")(version 3.0; acl "secrets"; deny (all) userdn="ldap:///{READER}";)\n')
        load.write_text(skeleton().replace("dc: example\n", "dc: example\n" + aci, 1)
                        .replace(f"userPassword: {PASSWORD}\n",
                                 f"userPassword: {PASSWORD}\nnsSizeLimit: -1\nnsLookThroughLimit: -1\nnsTimeLimit: -1\n"))
        shutil.chown(load, "dirsrv", "dirsrv")
        subprocess.run(["ns-slapd", "ldif2db", "-D", d / "etc/dirsrv/slapd-dirpipe", "-n", "userroot", "-i", load],
                       check=True, capture_output=True, env=environment)

    def start(self):
        if not (self.folder / "etc/dirsrv/slapd-dirpipe/dse.ldif").exists():
            self.create()
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"}
        subprocess.run(["ns-slapd", "-D", self.folder / "etc/dirsrv/slapd-dirpipe", "-i", self.pid_file], check=True,
                       env=environment, stdin=subprocess.DEVNULL)
        wait_until(self.answers, 30, "389-DS")
        return self

    def end(self):
        try:
            pid = int(self.pid_file.read_text())
            os.kill(pid, 15)
        except (OSError, ValueError):
            return
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.02)

    def stop(self):
        self.forget_admin()
        self.end()
