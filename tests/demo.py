"""A real OpenLDAP with generated people, five target services, and dirpipe between them; see tests/demo."""

import argparse
import contextlib
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "system"))

import demo_acts  # noqa: E402
import expected  # noqa: E402
from pipeline import Pipeline, target_section  # noqa: E402
from servers import Slapd  # noqa: E402
from sims import GraphSim, ScimSim  # noqa: E402

KIND = "openldap"
SETTLE = "300ms"  # how long the guard waits for more of the same; 10 s when it is not shown to anybody
CHANGES = ["create", "change", "rename", "move", "disable", "delete"]


class Progress:
    """One line that is drawn again on a terminal; a line every two seconds elsewhere."""

    def __init__(self):
        self.started = time.monotonic()
        self.shown = 0
        self.tty = sys.stderr.isatty()

    def show(self, done, total, what, last=False):
        now = time.monotonic()
        if not last and now - self.shown < (0.1 if self.tty else 2):
            return
        self.shown = now
        spent = now - self.started
        eta = f"{spent * (total - done) / done:4.0f} s left" if done and done < total else " " * 11
        if self.tty:
            filled = int(30 * done / total) if total else 30
            print(f"\r  {what} [{'#' * filled}{'.' * (30 - filled)}] {done}/{total} {eta} ", end="\n" if last else "",
                  file=sys.stderr, flush=True)
        else:
            print(f"  {what}: {done}/{total} after {spent:.1f} s{', ' + eta.strip() if eta.strip() else ''}", file=sys.stderr, flush=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


def wait_equal(pipeline, directory, targets, total):
    """Until every target equals the directory. Returns name -> seconds until its last write."""
    progress = Progress()
    started = time.time()
    want = total * len(targets)

    def arrived():
        done = sum(min(t.stats()["users"], total) for t in targets.values())
        progress.show(done, want, "accounts")
        return done >= want and pipeline.idle()

    pipeline.wait(arrived, "every account to arrive", 60 + total / 20)
    progress.show(want, want, "accounts", last=True)
    return {name: max((w["time"] for w in t.ledger()), default=1000 * started) / 1000 - started for name, t in targets.items()}


def check(directory, targets, left):
    """name -> (equal, differences); left: the entries of people who are no longer in the directory."""
    people = directory.people()
    result = {}
    for name, target in targets.items():
        driver = "graph" if hasattr(target, "tenant") else "scim"
        keys = [expected.DRIVERS[driver]["document"](e, KIND)[expected.DRIVERS[driver]["key"]] for e in left]
        result[name] = expected.compare(driver, KIND, people, target.dump(), left=keys)
    return len(people), result


def do_change(directory, kind, person, number):
    """One change in the directory; the entry as it was before (create: as it is now) and the moment of the commit."""
    if kind == "create":
        dn = directory.add_person(number)
        return directory.entry(dn), time.time()
    entry = directory.entry(person)
    if kind == "change":
        directory.replace(person, title=f"Changed {number}")
    elif kind == "rename":
        directory.rename(person, f"renamed{number}")
    elif kind == "move":
        directory.move(person, directory.other_unit(person))
    elif kind == "disable":
        directory.disable(person)
    else:
        directory.delete(person)
    return entry, time.time()


def disables(write):
    """Does this write of the ledger switch the account off?"""
    body = json.dumps(write.get("body") or {})
    return '"accountEnabled": false' in body or '"active": false' in body or ('"path": "active"' in body and "false" in body.lower())


def arrival(target, key, after, leaves, deadline_s=30):
    """The moment of the target's first write for this key after number `after` (leaves: of the one that switches the account off)."""
    def written(t):
        return [w for w in t.ledger(since=after, key=key) if not w.get("cut") and (disables(w) or not leaves)]
    return target.wait(written, f"a write for {key}", deadline_s)[0]["time"] / 1000


def live(directory, targets, each):
    """Changes one after the other; rows of {"kind", "n", "p50_ms", "p99_ms"} over all targets, and the entries that left."""
    rows, left = [], []
    people = directory.sample(each * len(CHANGES))
    for kind in CHANGES:
        latencies = []
        for i in range(each):
            before = {name: t.stats()["committed"] for name, t in targets.items()}
            entry, committed = do_change(directory, kind, people.pop(), 900000 + CHANGES.index(kind) * 1000 + i)
            if kind == "delete":
                left.append(entry)
            for name, target in targets.items():
                driver = "graph" if hasattr(target, "tenant") else "scim"
                d = expected.DRIVERS[driver]
                latencies.append(1000 * (arrival(target, d["document"](entry, KIND)[d["key"]], before[name],
                                                 kind in ("disable", "delete")) - committed))
        latencies.sort()
        rows.append({"kind": kind, "n": len(latencies), "p50_ms": round(statistics.median(latencies), 1),
                     "p99_ms": round(latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))], 1)})
        say(f"  {kind:<8} {rows[-1]['n']:>4} times   p50 {rows[-1]['p50_ms']:>8.1f} ms   p99 {rows[-1]['p99_ms']:>8.1f} ms")
    return rows, left


def table(rows):
    say(f"\n  {'TARGET':<8} {'EXPECTED':>9} {'EQUAL':>9} {'REQUESTS':>9} {'SECONDS':>8} {'USERS/S':>8}")
    for r in rows:
        say(f"  {r['name']:<8} {r['expected']:>9} {r['equal']:>9} {r['requests']:>9} {r['seconds']:>8.2f} {r['users_per_s']:>8.0f}")


def demo(options, place):
    say(f"starting OpenLDAP with {options.users} people")
    with Slapd(place / "slapd", users=options.users) as directory, ScimSim(place / "scim") as scim, GraphSim(place / "graph") as graph, \
            contextlib.ExitStack() as stack:
        targets = {"app": scim, "m365": graph}
        more = demo_acts.services(place)
        for service in more.values():
            stack.enter_context(service)
        demo_acts.prepare(directory, more, graph)
        guard = {"guard": {"settle": SETTLE, "percent": 50, "most": 10 * options.each}}  # so many leave here on purpose
        source = directory.source(attributes=expected.attributes(KIND), **demo_acts.source_part(directory, targets, more))
        sections = {name: target_section(t, KIND, **guard) for name, t in targets.items()}
        sections["m365"] |= demo_acts.licences()
        sections |= demo_acts.sections(more, KIND)
        total = len(directory.people())
        say("starting dirpipe (dirpipe up)")
        with Pipeline(place / "dirpipe", {"corp": source}, sections) as pipeline:
            seconds = wait_equal(pipeline, directory, targets, total)
            requests = {name: t.stats()["requests"] for name, t in targets.items()}
            say("changing people in the directory, one after the other; from the directory's commit to the target's acknowledgement:")
            changes, left = live(directory, targets, options.each)
            rows_more = demo_acts.Acts(pipeline, directory, targets, more, KIND, say).run()
            pipeline.wait_idle()
            total_now, results = check(directory, targets, left)
            rows = [{"name": name, "expected": total_now, "equal": results[name][0] if not results[name][1] else
                     min(results[name][0], total_now - 1), "requests": requests[name], "seconds": round(seconds[name], 2),
                     "users_per_s": round(total / seconds[name], 1) if seconds[name] else 0} for name in targets]
            rows += rows_more
            table(rows)
            for name in targets:
                for line in results[name][1][:5]:
                    say(f"  {name}: {line}")
            say(f"\nLook next at: {pipeline.build}/dirpipe --config {pipeline.path} status   (with --keep, while it runs)\n"
                f"              http://127.0.0.1:{pipeline.http_port}/metrics   {pipeline.log_path}   README.md")
            if options.keep:
                say(f"\neverything goes on running (--keep); LDAP is {directory.uri}, base {directory.suffix}. End it with Control-C.")
                keep()
    return {"targets": rows, "changes": changes}


def keep():
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass


def main():
    parser = argparse.ArgumentParser(prog="tests/demo")
    parser.add_argument("--users", type=int, default=1000, metavar="N")
    parser.add_argument("--each", type=int, default=20, metavar="N", help="changes of each kind")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    options = parser.parse_args()
    if options.users < 200:
        parser.error("--users: at least 200, so that each kind of change finds people of its own")
    place = pathlib.Path(tempfile.mkdtemp(prefix="dirpipe-demo-"))
    good = False
    try:
        result = demo(options, place)
        good = all(r["equal"] == r["expected"] for r in result["targets"])
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    finally:
        if good:
            shutil.rmtree(place, ignore_errors=True)
        else:
            say(f"what happened stands in {place}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
