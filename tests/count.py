"""Adds up the JUnit files of one test run, lists what was skipped and why, prints the closing line. Exit 1 when something failed or
nothing was run."""
import pathlib
import re
import sys
import xml.etree.ElementTree as ET


def cmocka_counts(text):
    """Tests that a cmocka program reports of itself; a crashed one reports nothing."""
    passed = sum(map(int, re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M)))
    failed = sum(map(int, re.findall(r"^ ?(\d+) FAILED TEST", text, re.M)))
    skipped = sum(map(int, re.findall(r"^\[  SKIPPED \] (\d+) test", text, re.M)))
    return passed, failed, skipped


def is_bad(case):
    return case.find("failure") is not None or case.find("error") is not None


def passed_alone(folder):
    """Names of the tests that failed beside others and passed when they were tried again alone."""
    path = pathlib.Path(folder) / "again.xml"
    if not path.exists():
        return set()
    cases = list(ET.parse(path).getroot().iter("testcase"))
    bad = {(c.get("classname"), c.get("name")) for c in cases if is_bad(c)}
    return {(c.get("classname"), c.get("name")) for c in cases} - bad


def main(folder):
    passed = failed = skipped = 0
    reasons = []
    alone = passed_alone(folder)
    for path in sorted(set(pathlib.Path(folder).glob("*.xml")) - {pathlib.Path(folder) / "again.xml"}):
        for case in ET.parse(path).getroot().iter("testcase"):
            bad = is_bad(case)
            if bad and (case.get("classname"), case.get("name")) in alone:
                print(f"unsteady, passed only alone: {case.get('classname')}.{case.get('name')}")
                bad = False
            skip = case.find("skipped")
            counts = cmocka_counts(case.findtext("system-out") or "") if path.name == "unit.xml" else (0, 0, 0)
            if sum(counts):
                passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
                failed += bad and not counts[1]
            elif bad:
                failed += 1
            elif skip is not None:
                skipped += 1
                reasons.append(f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}")
            else:
                passed += 1
    for reason in reasons:
        print("skipped:", reason)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
