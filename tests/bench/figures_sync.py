"""P1, P1b, P2, P3, P15, P16: whole directories through dirpipe and through the scripts that an administrator would write instead."""

import datetime
import statistics
import time

from rig import (GraphSim, Refused, Rig, ScimSim, directory_of, full_sync, graph_section, peer_command, run_peer, scim_section,
                 source_of)

PEERS = ["c", "node", "python"]


def usable_peers(options):
    found, left_out = [], {}
    for peer in PEERS if not options.only_c else ["c"]:
        try:
            peer_command(peer)
            found.append(peer)
        except Refused as why:
            left_out[peer] = f"left out: {why}"
    return found, left_out


def dirpipe_once(place, directory, users, kind, connections=16, fsync="always", **window):
    """One full sync into an empty simulator: seconds, CPU by part, requests, connections."""
    if kind == "graph":
        sim = GraphSim(place / "sim")
    else:
        sim = ScimSim(place / "sim", knobs={"bulk": kind == "bulk"})
    with sim:
        target = graph_section(sim, connections, **window) if kind == "graph" else scim_section(sim, connections, kind == "bulk", **window)
        with Rig(place / "rig", {"corp": source_of(directory, attributes=attributes_of(kind))}, {"app": target}, fsync=fsync) as rig:
            result = full_sync(rig, [sim], users)
            stats = sim.stats()
            result |= {"requests": stats["requests"], "connections": stats["connections"], "reads": stats["reads"],
                       "writes": stats["writes"], "memory_mb": {k: round(v, 1) for k, v in rig.memory("VmHWM").items()}}
    return result


def attributes_of(kind):
    names = ["uid", "cn", "displayName", "givenName", "sn", "title", "departmentNumber"]
    return names + ["mail"] if kind == "graph" else names


def rounds_of(place, directory, options, runs):
    """Interleaved rounds of {name: callable(folder)}; name -> rows."""
    rows = {}
    for i in range(options.rounds):
        for name, run in runs.items():
            rows.setdefault(name, []).append(run(place / f"r{i}" / name.replace(" ", "-")))
            print(f"    round {i + 1}: {name:<18} {rows[name][-1]['users_per_s']:>9.0f} users/s", file=options.say, flush=True)
    return rows


def rate(rows):
    return statistics.median(r["users_per_s"] for r in rows)


def peer_run(peer, directory, users, mode="create"):
    def run(folder):
        with ScimSim(folder / "sim", knobs={"bulk": False}) as scim:
            return run_peer(peer, directory, scim, users, mode=mode)
    return run


def p1(place, options):
    """P1, P1b and P16 in the same interleaved rounds."""
    users = options.users
    peers, left_out = usable_peers(options)
    wanted = options.wanted
    with directory_of(place / "ldap", users) as directory:
        runs = {peer: peer_run(peer, directory, users) for peer in peers}
        runs["dirpipe"] = lambda folder: dirpipe_once(folder, directory, users, "scim")
        if not options.quick:
            runs["dirpipe wide"] = lambda folder: dirpipe_once(folder, directory, users, "scim", 64, credits=1024, concurrency=4096)
        if "P1b" in wanted:
            runs["bulk"] = lambda folder: dirpipe_once(folder, directory, users, "bulk")
            runs["graph"] = lambda folder: dirpipe_once(folder, directory, users, "graph")
        rows = rounds_of(place, directory, options, runs)
    return p1_figures(rows, users, peers, left_out, options)


def p1_figures(rows, users, peers, left_out, options):
    rates = {name: round(rate(found)) for name, found in rows.items()}
    raw = {peer: rates[peer] for peer in peers}
    last = rows["dirpipe"][-1]
    parts = {p: round(statistics.median(r["cpu_s"].get(p, 0) for r in rows["dirpipe"]) / users * 1e6, 1) for p in last["cpu_s"]}
    how = f"{users} users, 16 connections, medians of {options.rounds} interleaved rounds, every run's ledger = users"
    result = {
        "P1": {"value": round(rates["dirpipe"] / raw["c"], 2), "unit": "x", "goal": ">= 0.8", "peers": raw | left_out,
               "dirpipe": rates["dirpipe"], "lookups_per_user": round(last["reads"] / users, 3),
               "writes_per_user": round(last["writes"] / users, 3), "how": how},
        "P16": {"value": round(sum(parts.values()), 1), "unit": "us CPU/user", "goal": "<= 160", "parts": parts,
                "peers": {p: round(statistics.median(r["cpu_us_per_user"] for r in rows[p]), 1) for p in peers}},
    }
    if "dirpipe wide" in rows:
        result["P1"]["dirpipe_64_connections_1024_credits"] = rates["dirpipe wide"]
    if "bulk" in rows:
        graph, bulk = rows["graph"][-1], rows["bulk"][-1]
        result["P1b"] = {"value": round(max(rates["bulk"], rates["graph"]) / raw["c"], 2), "unit": "x", "goal": ">= 2, <= 0.2 requests/user",
                         "peers": raw | left_out, "scim_bulk": rates["bulk"], "graph_batch": rates["graph"],
                         "requests_per_user": {"scim_bulk": round(bulk["requests"] / users, 3),
                                               "graph_batch": round(graph["requests"] / users, 3)}, "how": how}
    return result


def p2(place, options):
    """The rate, the memory and the connections of a larger directory."""
    sizes = [20_000 if options.quick else 100_000] + ([1_000_000] if options.million else [])
    result = {}
    for users in sizes:
        with directory_of(place / f"ldap{users}", users) as directory:
            small = dirpipe_small(place / "small", options) if users == sizes[0] else small
            big = dirpipe_once(place / f"big{users}", directory, users, "scim")
        result["P2" if users == sizes[0] else "P2_million"] = {
            "value": round(big["users_per_s"] / small["users_per_s"], 2), "unit": "x of 10k", "goal": ">= 0.9, <= 64 MB each", "peers": {},
            "users": users, "users_per_s": round(big["users_per_s"]), "users_per_s_10k": round(small["users_per_s"]),
            "peak_mb": big["memory_mb"]}
        result.setdefault("P15", {
            "value": round(100 * (1 - big["connections"] / big["requests"]), 3), "unit": "% reused", "goal": ">= 99.9", "peers": {},
            "requests": big["requests"], "connections": big["connections"]})
    return result


def dirpipe_small(place, options):
    with directory_of(place / "ldap", 10_000) as directory:
        return dirpipe_once(place, directory, 10_000, "scim")


def p3(place, options):
    """A collector that starts again without its cursor reads everybody; nobody changed, so the target hears nothing."""
    users = options.users
    with directory_of(place / "ldap", users) as directory, ScimSim(place / "sim", knobs={"bulk": False}) as scim:
        with Rig(place / "rig", {"corp": source_of(directory)}, {"app": scim_section(scim)}, log_level="info") as rig:
            full_sync(rig, [scim], users)
            seconds, calls = [], 0
            for i in range(options.rounds):
                seconds.append(resync(rig, scim, users, i))
                calls += scim.stats()["requests"] - rig.requests_before
        node = None
        try:
            peer_command("node")
            run = run_peer("node", directory, scim, users, mode="sync")
            node = round(run["users_per_s"])
        except Refused as why:
            node = f"left out: {why}"
    value = round(users / statistics.median(seconds))
    return {"P3": {"value": value, "unit": "entries/s", "goal": ">= 15,000, 0 target calls", "peers": {"node": node}, "target_calls": calls,
                   "ratio_to_node": round(value / node, 1) if isinstance(node, int) else None, "users": users}}


def resync(rig, scim, users, number):
    """Seconds from the collector's start until it says that it has caught up after a full read (which a changed filter forces)."""
    rig.conf["sources"]["corp"]["users"]["filter"] = f"(&(objectClass=inetOrgPerson)(!(cn=nobody{number})))"
    rig.write()
    rig.end("collector corp")
    rig.requests_before = scim.stats()["requests"]
    before = len(caught_up(rig))
    started = time.time()
    rig.start_collector()
    rig.wait_for(lambda: len(caught_up(rig)) > before, "the collector to have read everybody", 120, 0.05)
    rig.wait_idle()
    line = caught_up(rig)[-1]
    if f"{users} unchanged" not in line["msg"]:
        raise AssertionError(f"not everybody was read and unchanged: {line['msg']}")
    return datetime.datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp() - started


def caught_up(rig):
    return [line for line in rig.log() if line.get("code") == "DP-1103"]
