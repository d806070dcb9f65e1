"""The figures of GOALS 5, measured in one run on one machine; see tests/bench/run."""

import argparse
import json
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time
import traceback

import figures_live
import figures_queue
import figures_sync
import figures_targets
from rig import Refused, build_dir

# what measures which ids, in this order
FIGURES = [
    (("P1", "P1b", "P16"), figures_sync.p1), (("P8",), figures_queue.p8), (("P9",), figures_queue.p9), (("P3",), figures_sync.p3),
    (("P5",), figures_live.p5), (("P11",), figures_live.p11), (("P12",), figures_live.p12), (("P14",), figures_live.p14),
    (("FAN_OUT",), figures_targets.fan_out), (("P13",), figures_targets.p13), (("P4",), figures_targets.p4),
    (("P2", "P15"), figures_sync.p2), (("P10",), figures_queue.p10),
]
QUICK = ["P1", "P1b", "P8"]


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Measures dirpipe beside its peers; every run is checked.")
    parser.add_argument("--quick", action="store_true", help="P1, P1b and P8 alone (or what --only says), fewer rounds")
    parser.add_argument("--json", metavar="FILE", help="the figures, keyed by id")
    parser.add_argument("--only", metavar="P1,P3", help="these figures alone")
    parser.add_argument("--users", type=int, default=10_000, help="people in the directory (default 10,000)")
    parser.add_argument("--messages", type=int, help="messages of P8 (default 50,000; quick 30,000)")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 5; quick 3)")
    parser.add_argument("--million", action="store_true", help="with P2, P10 and P14 at a million users too (long, some GB of memory)")
    parser.add_argument("--million-users", type=int, default=1_000_000, help=argparse.SUPPRESS)
    parser.add_argument("--only-c", action="store_true", help="of the peers of P1 the C bound alone")
    options = parser.parse_args()
    known = [i for ids, _ in FIGURES for i in ids]
    options.wanted = options.only.split(",") if options.only else QUICK if options.quick else known
    if unknown := [i for i in options.wanted if i not in known]:
        parser.error(f"no such figure: {', '.join(unknown)}; there are {', '.join(known)}")
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.messages = options.messages or (30_000 if options.quick else 50_000)
    options.say = sys.stderr
    return options


def short(value):
    if isinstance(value, dict):
        return ", ".join(f"{k} {short(v)}" for k, v in value.items())
    return str(value)


def table(results):
    print(f"\n{'':<12} {'VALUE':>9} {'UNIT':<14} {'GOAL':<46} PEERS")
    for name, r in results.items():
        if "skipped" in r:
            print(f"{name:<12} {'-':>9} {'':<14} {r['skipped']}")
            continue
        print(f"{name:<12} {r['value']:>9} {r['unit']:<14} {r['goal']:<46} {short(r['peers'])}")
        more = {k: v for k, v in r.items() if k not in ("value", "unit", "goal", "peers", "how")}
        if more:
            print(f"{'':<12} {short(more)}")


def measure(ids, figure, options, place):
    started = time.monotonic()
    print(f"  {', '.join(ids)}", file=sys.stderr, flush=True)
    try:
        return figure(place, options)
    except Refused as why:
        return {i: {"skipped": str(why)} for i in ids}
    finally:
        print(f"    took {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        shutil.rmtree(place, ignore_errors=True)


def main():
    options = arguments()
    results, failed = {}, False
    base = pathlib.Path(tempfile.mkdtemp(prefix="dirpipe-bench-"))  # short: sockets' names end in it
    try:
        for ids, figure in FIGURES:
            if not set(ids) & set(options.wanted):
                continue
            try:
                results |= measure(ids, figure, options, base / figure.__name__)
            except Exception:  # one figure that fails does not hide the others
                traceback.print_exc()
                results |= {i: {"skipped": "FAILED, see standard error"} for i in ids if i in options.wanted}
                failed = True
    finally:
        shutil.rmtree(base, ignore_errors=True)
    table(results)
    if options.json:
        machine = {"cpus": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg(), "build": build_dir().name,
                   "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        figures = {k: v for k, v in results.items() if "value" in v}
        left_out = {k: v["skipped"] for k, v in results.items() if "value" not in v}
        pathlib.Path(options.json).write_text(json.dumps(figures | {"run": machine | {"left_out": left_out}}, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
