"""The fuzz targets are complete: each has a kept corpus, and every function that takes in what others wrote is on the list that
tests/fuzz/run checks for having been reached."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FUZZ = ROOT / "tests" / "fuzz"
LISTED = [tuple(line.split()) for line in (FUZZ / "decoders.txt").read_text().splitlines()]
TARGETS = sorted(p.stem[5:] for p in FUZZ.glob("fuzz_*.c"))
# Headers whose every function that takes bytes or a text of strangers is a decoder.
DECODERS = ["collector/sync_pdu", "collector/sync_cookie", "collector/poll_cursor", "collector/poll_stamp", "collector/account",
            "collector/filter", "lib/snapshot", "lib/secret", "broker/store_rows", "workers/verdict", "workers/redact"]
RAW = re.compile(r"struct slice \w+|const char \*(stamp|text|dn)\b|const struct berval|const redisReply|const struct secret_ref")


@pytest.mark.parametrize("name", TARGETS)
def test_target_has_a_corpus_and_is_built(name):
    assert len(list((FUZZ / "corpus" / name).iterdir())) >= 5
    assert re.search(rf"^fuzz\(.*\b{name}\b.*\)$", (ROOT / "tests" / "CMakeLists.txt").read_text(), re.M)


@pytest.mark.parametrize("file", sorted({file for file, _ in LISTED}))
def test_listed_functions_exist(file):
    text = (ROOT / file).read_text()
    for name in [n for f, n in LISTED if f == file]:
        assert re.search(rf"^[a-z][\w \*]*\b\*?{name}\(", text, re.M), name
    assert LISTED == list(dict.fromkeys(LISTED))


@pytest.mark.parametrize("module", DECODERS)
def test_decoders_are_listed(module):
    header = re.sub(r"/\*.*?\*/", "", (ROOT / f"{module}.h").read_text(), flags=re.S)
    found = {name for name, arguments in re.findall(r"^[a-z][\w \*\n]*?\b\*?(\w+)\(([^;{}]*?)\)[^;{}]*;", header, re.M)
             if RAW.search(arguments) and not re.search(r"_(put|request|new|text|format|back|row)|^poll_table", name)}
    listed = {name for file, name in LISTED if file == f"{module}.c"}
    assert found <= listed, found - listed
    assert listed, module
