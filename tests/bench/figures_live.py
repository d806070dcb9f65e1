"""P5, P11, P12, P14: what dirpipe does when little happens, when a change comes, with more workers, and after a restart."""

import statistics
import time

from rig import Rig, ScimSim, cpu_s, directory_of, full_sync, pss_mb, rss_mb, scim_section, source_of, wakeups


def p5(place, options):
    """From the directory's answer to a change until the target's ledger has it, at 100 changes a second."""
    changes, per_s, users = (500, 100, 1000) if options.quick else (3000, 100, 2000)
    with directory_of(place / "ldap", users) as directory, ScimSim(place / "sim") as scim:
        with Rig(place / "rig", {"corp": source_of(directory)}, {"app": scim_section(scim)}) as rig:
            full_sync(rig, [scim], users)
            before, people = len(scim.ledger()), directory.sample(users)
            committed = change(directory, people, changes, per_s)
            rig.wait_idle(deadline_s=60)
            late = latencies(scim, committed, before)
    late.sort()
    return {"P5": {"value": round(statistics.median(late), 1), "unit": "ms p50", "goal": "p50 <= 5, p99 <= 50", "peers": {},
                   "p99_ms": round(late[int(len(late) * 0.99)], 1), "max_ms": round(late[-1], 1), "changes": len(late), "per_s": per_s}}


def change(directory, people, changes, per_s, first=0):
    """title -> when the directory had committed it (Unix seconds)."""
    committed, started = {}, time.monotonic()
    for i in range(changes):
        while time.monotonic() < started + i / per_s:
            time.sleep(0.0005)  # the pace of the changes, not a wait for anything
        title = f"Title {first + i}"
        directory.replace(people[i % len(people)], title=title)
        committed[title] = time.time()
    return committed


def latencies(scim, committed, before):
    """ms of each change that reached the ledger as itself (one that was overtaken by the next of the same person has none)."""
    found = []
    for write in scim.ledger(since=before):
        text = str(write.get("body"))
        at = text.find("Title ")
        title = text[at:].split('"')[0].split("'")[0] if at >= 0 else None
        if title in committed:
            found.append(write["time"] - 1000 * committed.pop(title))
    if len(committed) > 0.05 * (len(committed) + len(found)):
        raise AssertionError(f"{len(committed)} changes did not arrive")
    return found


def p11(place, options):
    """CPU, wake-ups and memory of all dirpipe processes while nothing happens."""
    seconds, users = (10, 500) if options.quick else (30, 1000)
    with directory_of(place / "ldap", users) as directory, ScimSim(place / "sim") as scim:
        with Rig(place / "rig", {"corp": source_of(directory)}, {"app": scim_section(scim)}) as rig:
            full_sync(rig, [scim], users)
            time.sleep(2)  # let beats and timers settle: this measures quiet, it waits for nothing
            pids = {name.split()[0]: p.pid for name, p in rig.processes.items() if name != "redis"}
            before = {n: (cpu_s(p), wakeups(p)) for n, p in pids.items()}
            time.sleep(seconds)  # the time that is measured
            cpu = {n: 100 * (cpu_s(p) - before[n][0]) / seconds for n, p in pids.items()}
            wakes = {n: (wakeups(p) - before[n][1]) / seconds for n, p in pids.items()}
            memory = {n: round(rss_mb(p), 1) for n, p in pids.items()}
            shared = {n: round(pss_mb(p), 1) for n, p in pids.items()}
            private = {n: round(rss_mb(p, "RssAnon"), 1) for n, p in pids.items()}
    return {"P11": {"value": round(sum(cpu.values()), 2), "unit": "% of a core", "goal": "<= 0.5 %, <= 20 wake-ups/s, <= 12 MB each",
                    "wakeups_per_s": {n: round(w, 1) for n, w in wakes.items()}, "wakeups_sum": round(sum(wakes.values()), 1),
                    "rss_mb": memory, "pss_mb": shared, "anonymous_mb": private, "peers": {}}}


def p12(place, options):
    """Workers of 16 connections against a target that answers after 50 ms."""
    users_each, counts = (400, (1, 2, 4)) if options.quick else (3000, (1, 2, 4, 8))
    rates = {}
    for n in counts:
        users = users_each * n
        with directory_of(place / f"ldap{n}", users) as directory, ScimSim(place / f"sim{n}", knobs={"bulk": False}, delay_ms=50) as scim:
            with Rig(place / f"rig{n}", {"corp": source_of(directory)}, {"app": scim_section(scim)}, workers={"app": n}) as rig:
                rates[n] = full_sync(rig, [scim], users, 120)["users_per_s"]
    linear = {n: round(rates[n] / rates[1] / n, 2) for n in counts}
    return {"P12": {"value": linear[counts[-1]], "unit": f"of linear at {counts[-1]}", "goal": ">= 0.97 at 2, 0.95 at 4, 0.85 at 8", "peers": {},
                    "users_per_s": {str(n): round(r) for n, r in rates.items()}, "of_linear": {str(n): v for n, v in linear.items()}}}


def p14(place, options):
    """Seconds until a killed broker is ready again with its users known."""
    users = options.users
    with directory_of(place / "ldap", users) as directory, ScimSim(place / "sim") as scim:
        with Rig(place / "rig", {"corp": source_of(directory)}, {"app": scim_section(scim)}) as rig:
            full_sync(rig, [scim], users)
            took = []
            for _ in range(3):
                rig.end("broker", hard=True)
                started = time.monotonic()
                rig.start_broker(wait=False)
                rig.wait_for(lambda: (rig.status() or {}).get("state") == "ready", "the broker", 60, 0.005)
                took.append(time.monotonic() - started)
    return {"P14": {"value": round(statistics.median(took), 2), "unit": "s", "goal": "<= 0.5 with 10k", "peers": {}, "users": users}}
