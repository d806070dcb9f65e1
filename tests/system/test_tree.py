"""What STYLE asks of the tree: layers that show in the includes, no banned call, hooks only where they belong."""
import os
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ["collector", "broker", "workers", "cli"]
# lib layer n includes lower layers only
LAYERS = [
    ["buf", "clock", "crash", "fold", "id", "json", "log", "schedule"],
    ["loop", "conf", "secret", "metrics", "service"],
    ["redis", "wire", "snapshot"],
    ["bus"],
]
QUEUE_MAY_SEE = {"buf.h", "id.h", "json.h", "wire.h", "queue.h", "queue_impl.h", "pace.h", "crash.h"}


def sources(*folders):
    for folder in folders:
        yield from sorted((TOP / folder).glob("*.[ch]"))


def includes(path):
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.M)


def layer(header):
    stem = header.removesuffix(".h")
    for number, names in enumerate(LAYERS):
        if stem in names or any(stem.startswith(name + "_") for name in names):
            return number
    raise AssertionError(f"lib/{header} stands in no layer: add it to LAYERS")


def test_each_include_resolves_within_the_program_and_lib():
    wrong = []
    for folder in PROGRAMS:
        for path in sources(folder):
            for name in includes(path):
                if not (TOP / folder / name).exists() and not (TOP / "lib" / name).exists():
                    wrong.append(f"{path.relative_to(TOP)}: {name}")
    assert not wrong


def test_lib_includes_lower_layers_only():
    wrong = []
    for path in sources("lib"):
        for name in includes(path):
            if layer(name) > layer(path.stem + ".h"):
                wrong.append(f"{path.name} includes {name} of a higher layer")
    assert not wrong


def test_the_queue_engine_is_pure():
    for path in [*(TOP / "broker").glob("queue*.[ch]"), *(TOP / "broker").glob("pace.[ch]")]:
        assert set(includes(path)) <= QUEUE_MAY_SEE, path.name
        assert not re.search(r"clock_(boot|unix)_ms\(|gettimeofday|[^_a-z]time\(", path.read_text()), path.name


def test_target_drivers_do_not_see_the_core():
    for path in (TOP / "workers").glob("target_*.[ch]"):
        assert not {"task.h", "bus.h", "wire.h", "loop.h"} & set(includes(path)), path.name


def test_no_banned_call():
    banned = re.compile(r"(?<![a-z_])(strcpy|strcat|sprintf|strtok|atoi|sscanf|rand|localtime)\(")
    found = [str(p.relative_to(TOP)) for p in sources("lib", *PROGRAMS) if banned.search(p.read_text())]
    assert not found


def test_files_are_short():
    long = [p for p in sources("lib", *PROGRAMS) if len(p.read_text().splitlines()) > 800]
    assert not long


def test_top_level_holds_what_was_agreed():
    listed = subprocess.run(["git", "-C", TOP, "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    top = {name.split("/")[0] for name in listed if name and not name.startswith(".")}
    assert top <= {"collector", "workers", "broker", "cli", "lib", "config", "tests", "docker", "CMakeLists.txt",
                   "CMakePresets.json", "LICENSE", "README.md"}


def has_hooks(folder):
    programs = [folder / name for name in ("dirpipe-broker", "dirpipe-collector", "dirpipe-worker")]
    return {b"DIRPIPE_CRASH_AT" in program.read_bytes() for program in programs}


def test_crash_points_are_only_in_test_builds():
    build, hooks = pathlib.Path(os.environ["DIRPIPE_BUILD"]), pathlib.Path(os.environ["DIRPIPE_HOOKS_BUILD"])
    assert has_hooks(hooks) == {True}
    if os.environ["DIRPIPE_PRESET"] == "release":
        assert has_hooks(build) == {False}


def test_every_package_is_named_once():
    lines = [l.split()[1] for l in (TOP / "config/packages.txt").read_text().splitlines() if l and not l.startswith("#")]
    doubles = {l for l in lines if lines.count(l) > 1}
    assert doubles <= {"mmdebstrap"}
