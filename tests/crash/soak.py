#!/usr/bin/env python3
"""soak.py - half load for a long time, with random kills of deliver: are memory and descriptors flat?

    make soak [TIME=1200] [RATE=] [SEED=]

First the rate at full load is measured for a few seconds; half of it (or RATE, recipients apart) is
kept up then. A worker is killed every 10 to 40 seconds. Every five seconds the memory (PSS, and the
part of it that is no file) and the descriptors of each process are sampled. Flat means: the median
of the last quarter is no more than TENTH above that of the second quarter, with a small allowance
(the first quarter warms up). At the end every message is accounted for, as in crash.py.
Samples go to build/<mode>/soak.json. The last line is the verdict.
"""
import argparse
import json
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench.instruments import BUILD, disk_directory  # noqa: E402
from tests.bench.measure import smaps  # noqa: E402
from tests.crash.account import Kill, judge  # noqa: E402
from tests.crash.load import Load  # noqa: E402
from tests.world import World  # noqa: E402

SAMPLE_S = 5
TENTH = 1.1
# what may come on top: kB of memory, descriptors
ALLOW = {"pss_anon_kb": 2048, "fds": 8}
WARM_MESSAGES = 6000


def sample(node):
    """{role: figures}, processes of a role added up; a killed one may be missing."""
    out = {}
    for role, pid in [("supervisor", node.proc.pid)] + node.children():
        try:
            fds = len(os.listdir("/proc/%d/fd" % pid))
        except OSError:
            continue
        pss, anon = smaps(pid)
        r = out.setdefault(role, {"processes": 0, "pss_kb": 0, "pss_anon_kb": 0, "fds": 0})
        for key, value in (("processes", 1), ("pss_kb", pss), ("pss_anon_kb", anon), ("fds", fds)):
            r[key] += value
    return out


def median(values):
    return sorted(values)[len(values) // 2]


def flatness(samples, workers):
    """[(role, figure, second quarter, last quarter, flat)]. Only samples with all workers count."""
    out = []
    quarter = len(samples) // 4
    for role in sorted({r for s in samples for r in s}):
        whole = [s[role] if role in s and s[role]["processes"] >= workers.get(role, 1) else None
                 for s in samples]
        second = [s for s in whole[quarter:2 * quarter] if s]
        last = [s for s in whole[-quarter:] if s]
        for figure, allow in ALLOW.items():
            if not second or not last:
                out.append((role, figure, 0, 0, False))
                continue
            a, b = median([s[figure] for s in second]), median([s[figure] for s in last])
            out.append((role, figure, a, b, b <= a * TENTH + allow))
    return out


def full_rate(world):
    """Messages a second at full load."""
    load = Load(world, WARM_MESSAGES, name="warm")
    try:
        begin = time.monotonic()
        load.begin()
        load.reports(300)
        load.settle(120)
        rate = load.total / (time.monotonic() - begin)
        load.node.stop(30)
        return rate
    finally:
        load.close()


def soak(world, seconds, rate, rng, say):
    if not rate:
        full = full_rate(world)
        rate = max(10, int(full / 2))
        say("%.0f messages a second at full load" % full)
    say("%d messages a second for %d s" % (rate, seconds))
    load = Load(world, rate * seconds, rate=rate)
    samples, kills = [], []
    try:
        load.begin()
        start = said = time.monotonic()
        next_kill, next_sample = start + 10, start
        while load.sending() and time.monotonic() - start < seconds * 1.5 + 60:
            now = time.monotonic()
            if now >= next_sample:
                samples.append(sample(load.node))
                next_sample = now + SAMPLE_S
            pids = load.node.pids("deliver")
            if now >= next_kill and pids:
                os.kill(rng.choice(sorted(pids)), signal.SIGKILL)
                kills.append(Kill("deliver", now, time.monotonic()))
                next_kill = now + rng.uniform(10, 40)
            if now - said >= 60:
                said = now
                s = samples[-1]
                say("%d messages in, %d recipients out, %d kills, %d MB (%d MB anonymous), %d descriptors" % (
                    load.accepted(), load.taken(), len(kills), sum(r["pss_kb"] for r in s.values()) >> 10,
                    sum(r["pss_anon_kb"] for r in s.values()) >> 10, sum(r["fds"] for r in s.values())))
            time.sleep(0.2)
        load.reports(120)
        load.settle(240)
        load.node.stop(60)
    finally:
        load.close()
    return load, samples, kills


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--time", type=int, default=1200)
    p.add_argument("--rate", type=int, default=0)
    p.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    args = p.parse_args()
    os.environ["TMPDIR"] = disk_directory() or "/tmp"
    start = time.monotonic()

    def say(text):
        print("%5.0f s  %s" % (time.monotonic() - start, text), flush=True)
    say("seed %d" % args.seed)
    with World() as world:
        load, samples, kills = soak(world, args.time, args.rate, random.Random(args.seed), say)
        ledger = load.ledger()
        v = judge(ledger, kills)
    flat = flatness(samples, {"deliver": 2, "smtpd": 2})
    with open(os.path.join(BUILD, "soak.json"), "w") as f:
        json.dump({"every_s": SAMPLE_S, "samples": samples,
                   "flat": [dict(zip(("role", "figure", "second", "last", "flat"), x)) for x in flat]}, f)
    for role, figure, a, b, ok in flat:
        print("%-10s %-12s %8d in the second quarter, %8d in the last  %s" % (
            role, figure, a, b, "flat" if ok else "GROWS"))
    good = v.good and all(x[4] for x in flat)
    print("soak: %d s, %d kills of deliver, %d messages, %s; memory and descriptors %s; seed %d: %s" % (
        args.time, len(kills), len(ledger.accepted), v.text(),
        "flat" if all(x[4] for x in flat) else "NOT flat", args.seed, "good" if good else "BAD"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
