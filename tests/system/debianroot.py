"""Debian root file systems for tests: packed once by mmdebstrap in tests/.cache, named by what is in them."""

import fcntl
import hashlib
import os
import pathlib
import urllib.request

from box import Unavailable, output

TOP = pathlib.Path(__file__).resolve().parents[2]
CACHE = TOP / "tests/.cache"
SUITE = "bookworm"


def mirror():
    """Where this machine gets Debian from, by apt's own configuration."""
    listed = output(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]).stdout.split()
    found = [uri for uri in listed if uri.rstrip("/").endswith("debian")]
    if not found:
        raise Unavailable("apt knows no Debian mirror")
    return found[0].rstrip("/")


def packed(name, packages):
    """The archive of a minimal Debian with these packages too."""
    packages = sorted(set(packages))
    key = hashlib.sha256(" ".join([SUITE, *packages]).encode()).hexdigest()[:16]
    archive = CACHE / f"debian-{name}-{key}.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"debian-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            need_mirror()
            for old in CACHE.glob(f"debian-{name}-*.tar"):
                old.unlink()
            new = archive.with_suffix(".new")
            output(["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", "--include=" + ",".join(packages), SUITE, new, mirror()], timeout=500)
            os.rename(new, archive)
    return archive


def need_mirror():
    try:
        urllib.request.urlopen(f"{mirror()}/dists/{SUITE}/Release", timeout=15).close()
    except OSError as error:
        raise Unavailable(f"the Debian mirror cannot be reached: {error}")


def unpacked(archive, folder):
    folder.mkdir(parents=True)
    output(["tar", "-C", folder, "--numeric-owner", "-xf", archive])
    return folder


def libraries(*programs):
    return output([TOP / "docker/libraries", *programs]).stdout.split()


def wanted(*groups):
    """Packages of these groups of config/packages.txt."""
    lines = (line.split() for line in (TOP / "config/packages.txt").read_text().splitlines() if not line.startswith("#"))
    return [words[1] for words in lines if words and words[0] in groups]
