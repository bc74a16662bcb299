#!/usr/bin/env python3
"""crash.py - kill -9 of any process, and of all at once, at random moments under load.

    make crash [KILLS=100] [MESSAGES=20000] [SEED=...]
    python3 -m tests.crash.crash --kills 10 --messages 2000

Load generators hand in numbered messages while processes are killed; at the end each message that
got its 250 is looked for in the ledgers of the sinks, and each further copy needs a reason
(account.py). The kills are spread over the messages: the next one comes at a random moment of its
share. All randomness of ours comes from the seed; what the kernel and the disk do does not.
The last line is the verdict. Exit 0: nothing lost, nothing damaged, no copy without a reason.
"""
import argparse
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench.instruments import disk_directory  # noqa: E402
from tests.crash.account import Kill, judge  # noqa: E402
from tests.crash.load import Load, wait_until  # noqa: E402
from tests.world import World  # noqa: E402
from tests.world.base import scale  # noqa: E402

# what is killed, and how often out of 100
WEIGHTS = {"queue": 25, "deliver": 22, "smtpd": 15, "all": 18, "supervisor": 7, "resolver": 6,
           "policyd": 4, "admin": 3}
SAY_EVERY_S = 5


def plan(rng, kills):
    """[what] of each kill: first each kind once, then by weight."""
    first = list(WEIGHTS)
    rng.shuffle(first)
    rest = rng.choices(list(WEIGHTS), weights=WEIGHTS.values(), k=max(0, kills - len(first)))
    return (first + rest)[:kills]


class Crash:
    def __init__(self, load, kills, rng, say):
        self.load, self.node, self.rng, self.say = load, load.node, rng, say
        self.plan = plan(rng, kills)
        self.kills = []
        self.said = time.monotonic()

    def progress(self, force=False):
        now = time.monotonic()
        if force or now - self.said >= SAY_EVERY_S:
            self.said = now
            self.say("%d of %d kills, %d of %d messages in, %d recipients out" % (
                len(self.kills), len(self.plan), min(self.load.accepted(), self.load.total),
                self.load.total, self.load.taken()))

    def until(self, true, timeout, what):
        def step():
            self.progress()
            return true()
        wait_until(step, timeout, what)

    def run(self):
        share = self.load.total / (len(self.plan) + 1)
        for i, what in enumerate(self.plan):
            mark = int(share * (i + self.rng.random()) + share / 2)
            self.until(lambda m=mark: self.load.accepted() >= m or not self.load.sending(), 120,
                       lambda m=mark: "message %d to be accepted; the log ends:\n%s" % (
                           m, self.node.tail()))
            time.sleep(self.rng.random() * 0.03)  # not only at the moment of an acceptance
            self.kill(what)

    def kill(self, what):
        if what in ("all", "supervisor"):
            self.kill_node(what)
            return
        pids = []
        # it may be in the pause before its restart, up to 30 s long
        self.until(lambda: pids.extend(self.node.pids(what)) or pids, 60,
                   lambda: "a %s process; the log ends:\n%s" % (what, self.node.tail()))
        begin = time.monotonic()
        os.kill(self.rng.choice(sorted(pids)), signal.SIGKILL)
        self.kills.append(Kill(what, begin, time.monotonic()))

    def kill_node(self, what):
        pids = [self.node.proc.pid] + [pid for _, pid in self.node.children()]
        begin = time.monotonic()
        if what == "all":
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it had died of the one before
        self.node.kill_hard()
        self.until(lambda: not any(os.path.exists("/proc/%d" % p) for p in pids), 30,
                   "the children to follow their supervisor")
        self.kills.append(Kill(what, begin, time.monotonic()))
        self.node.start(60)

    def finish(self):
        self.until(lambda: not self.load.sending(), 240,
                   lambda: "the sources to end; the log ends:\n" + self.node.tail())
        reports = self.load.reports(10)
        bad = [r for r in reports if r["failed"] or r["unfinished"]]
        if bad:
            raise AssertionError("the sources gave up some messages: %s" % bad)
        self.load.settle(180)
        self.progress(force=True)
        return judge(self.load.ledger(), self.kills)


def report(v, crash, seed, seconds):
    """Lines that tell what happened; the last is the verdict."""
    count = {}
    for k in crash.kills:
        count[k.what] = count.get(k.what, 0) + 1
    out = ["killed: " + ", ".join("%s %d" % kv for kv in sorted(count.items()))]
    if v.windows:
        out.append("copies of a worker's doubt: " + ", ".join(
            "%s %d" % kv for kv in sorted(v.by_kind.items())))
        w = sorted(v.windows)
        out.append("from the delivery to the kill: %.0f ms in the median, %.0f to %.0f ms, %d after it" % (
            1e3 * w[len(w) // 2], 1e3 * w[0], 1e3 * w[-1], sum(1 for x in w if x < -0.005)))
    for name in ("lost", "damaged", "unexplained"):
        if getattr(v, name):
            out.append("%s: %s" % (name, getattr(v, name)[:20]))
    out.append("crash: %d kills in %.0f s, %d messages, %s; seed %d: %s" % (
        len(crash.kills), seconds, len(crash.load.ledger().accepted), v.text(), seed,
        "good" if v.good else "BAD"))
    return out


def crash_run(world, kills, messages, seed, say):
    """The verdict and the lines about it."""
    start = time.monotonic()
    load = Load(world, messages)
    try:
        load.begin()
        crash = Crash(load, kills, random.Random(seed), say)
        crash.run()
        v = crash.finish()
        load.node.stop(30)
    finally:
        load.close()
    return v, report(v, crash, seed, time.monotonic() - start)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--kills", type=int, default=100)
    p.add_argument("--messages", type=int, default=20000)
    p.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    args = p.parse_args()
    os.environ["TMPDIR"] = disk_directory() or "/tmp"
    start = time.monotonic()

    def say(text):
        print("%4.0f s  %s" % (time.monotonic() - start, text), flush=True)
    say("seed %d" % args.seed)
    with World() as world:
        v, lines = crash_run(world, args.kills, args.messages, args.seed, say)
    print("\n".join(lines))
    return 0 if v.good else 1


if __name__ == "__main__":
    sys.exit(main())
