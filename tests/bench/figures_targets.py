"""P4, P13 and fan-out: what the targets see: a vendor's budget used up and not overdrawn, a slow service beside a fast one, one read for
many services."""

import statistics
import time

from figures_live import change, latencies
from rig import (GraphSim, Rig, ScimSim, check_ledger, directory_of, full_sync, graph_section, scim_section, source_of)

GRAPH_ATTRIBUTES = ["uid", "cn", "displayName", "givenName", "sn", "title", "departmentNumber", "mail"]


def p4(place, options):
    """Four workers against Graph's write budget: 3,000 in 150 s for ten minutes (quick: the same flow, 600 in 30 s, for 90 s)."""
    seconds, per_s, workers = (90, 30, 4) if options.quick else (600, 150, 4)
    writes = 20 * per_s
    users = int(20 * (seconds + 60))
    with directory_of(place / "ldap", users) as directory, GraphSim(place / "sim") as sim:
        sim.knobs(writes=writes, writes_ms=per_s * 1000)
        target = graph_section(sim) | {"pace": {"writes": writes, "per": f"{per_s}s"}}
        with Rig(place / "rig", {"corp": source_of(directory, attributes=GRAPH_ATTRIBUTES)}, {"app": target}, workers={"app": workers}) as rig:
            rig.start_collector()
            rig.wait_for(lambda: sim.stats()["creates"] > 0, "the first account")
            end = time.monotonic() + seconds
            rig.wait_for(lambda: time.monotonic() > end, "the time that is measured", seconds + 60, 0.5)
            stats = sim.stats()
        found = sim.ledger()
    started = found[0]["time"]
    done = [w for w in found if w["time"] < started + 1000 * seconds]
    refused = stats["by_status"].get("429", 0)
    if len({w["key"] for w in done}) != len(done):
        raise AssertionError("somebody was created twice")
    return {"P4": {"value": round(100 * len(done) / (20 * seconds), 1), "unit": "% of the quota", "goal": ">= 95 %, <= 1 % 429", "peers": {},
                   "refused_percent": round(100 * refused / (len(found) + refused), 2), "writes": len(done), "seconds": seconds,
                   "workers": workers, "quota": f"{writes} in {per_s} s"}}


def p13(place, options):
    """The rate of a target alone, and beside one whose answers take 30 s; and what a full resync adds to the delay of a single change."""
    users, rounds = (2000, 2) if options.quick else (5000, options.rounds)
    rates = {"alone": [], "beside": []}
    with directory_of(place / "ldap", users) as directory:
        for i in range(rounds):
            for name, found in rates.items():
                found.append(fast_beside(place / f"{name}{i}", directory, users, name == "beside"))
        added = delay_in_backlog(place / "backlog", directory, users)
    alone, beside = (statistics.median(rates[name]) for name in ("alone", "beside"))
    return {"P13": {"value": round(100 * (1 - beside / alone), 1), "unit": "% slower", "goal": "< 5 %, a change < 100 ms later", "peers": {},
                    "users_per_s": {"alone": round(alone), "beside_a_slow_target": round(beside)}, **added, "rounds": rounds}}


def fast_beside(place, directory, users, slow):
    """Users/s at `app`; slow: there is a second target that answers after 30 s (its accounts are no part of the rate)."""
    with ScimSim(place / "sim", knobs={"bulk": False}) as app, ScimSim(place / "slow", knobs={"bulk": False}) as other:
        targets = {"app": scim_section(app), "slow": scim_section(other)}
        with Rig(place / "rig", {"corp": source_of(directory, targets=("app", "slow"))}, targets, broker={"lease": "60s"}) as rig:
            if slow:
                other.faults([{"do": {"delay_ms": 30000}}])
            else:
                rig.cli("pause", "slow")
            started = time.time()
            rig.start_collector()
            rig.wait_for(lambda: app.stats()["users"] >= users, "every account at the fast target", 120, 0.05)
            seconds = check_ledger(app, users)[-1]["time"] / 1000 - started
            other.faults([])
            for name in [n for n in rig.processes if n.startswith("worker slow")]:
                rig.end(name, hard=True)  # it would wait for answers
    return users / seconds


def delay_in_backlog(place, directory, users):
    """p50 of single changes when nothing else is to do, and while everybody is read and compared again as backlog."""
    with ScimSim(place / "sim") as scim, Rig(place / "rig", {"corp": source_of(directory)}, {"app": scim_section(scim)}) as rig:
        full_sync(rig, [scim], users)
        quiet = changed(rig, directory, scim, 0)
        rig.cli("sync", "run", "app")
        busy = changed(rig, directory, scim, 1000)
        left = sum(t["queue"]["ready"] for t in rig.status()["targets"])
        rig.wait_idle(deadline_s=120)
    return {"change_p50_ms": {"quiet": quiet, "in_backlog": busy, "added": round(busy - quiet, 1)}, "backlog_left": left}


def changed(rig, directory, scim, first):
    before, people = len(scim.ledger()), directory.sample(20)
    committed = change(directory, people, 20, 50, first)
    rig.wait_for(lambda: len(scim.ledger(since=before)) >= 20, "the changes", 60)
    return round(statistics.median(latencies(scim, committed, before)), 1)


def fan_out(place, options):
    """One read, five targets of three kinds at once."""
    users = options.users
    sims = {"scim": ScimSim(place / "a", knobs={"bulk": False}), "scim2": ScimSim(place / "b", knobs={"bulk": False}), "bulk": ScimSim(place / "c"),
            "graph": GraphSim(place / "d"), "graph2": GraphSim(place / "e")}
    rows = []
    with directory_of(place / "ldap", users) as directory:
        for i in range(1 if options.quick else 3):
            for sim in sims.values():
                sim.start()
            try:
                targets = {name: graph_section(sim) if isinstance(sim, GraphSim) else scim_section(sim, bulk=name == "bulk")
                           for name, sim in sims.items()}
                source = source_of(directory, targets=tuple(targets), attributes=GRAPH_ATTRIBUTES)
                with Rig(place / f"rig{i}", {"corp": source}, targets) as rig:
                    rows.append(full_sync(rig, list(sims.values()), users))
                    rows[-1]["requests"] = {name: round(sim.stats()["requests"] / users, 3) for name, sim in sims.items()}
                    rows[-1]["memory_mb"] = {k: round(v, 1) for k, v in rig.memory("VmHWM").items()}
            finally:
                for sim in sims.values():
                    sim.stop()
    rate = statistics.median(r["users_per_s"] for r in rows)
    cpu = {p: round(1e6 * statistics.median(r["cpu_s"][p] for r in rows) / users / len(sims), 1) for p in rows[0]["cpu_s"]}
    return {"FAN_OUT": {"value": round(rate), "unit": "users/s at 5", "goal": "one read, every target", "peers": {},
                        "changes_per_s": round(rate * len(sims)), "requests_per_change": rows[-1]["requests"], "cpu_us_per_change": cpu,
                        "peak_mb": rows[-1]["memory_mb"], "users": users, "rounds": len(rows)}}
