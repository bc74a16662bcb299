#!/usr/bin/env python3
"""bounds.py - what a node costs in memory and time when there is much of something.

    make bounds [ONLY="idle_clients deferred"]
    python3 -m tests.bench.bounds --list

Memory is the sum of PSS over all processes of the node, sampled twice a second, the largest sample;
the part that is no file (anonymous) is told beside it: pages of the LMDB file that are mapped count
in the first, though the kernel can drop them. Each measurement has a node of its own, real
processes, real sockets and a store on a disk; backlogs are written by fill.c through the queue's own
operations. What is asked for stands in the measurement (check). Result: a table and
build/<mode>/bounds.json. Exit 1 when something was not met.
"""
import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench.crowd import Clients, Servers, serve_time  # noqa: E402
from tests.bench.instruments import BUILD, Sink, Source, disk_directory, program  # noqa: E402
from tests.bench.measure import smaps, stat_of  # noqa: E402
from tests.world import World  # noqa: E402
from tests.world.base import poll  # noqa: E402
from tests.world.dns import Dns  # noqa: E402

MANY = {"max_connections": 30000, "max_connections_per_client": 30000}
FRESH_SEQ = 0  # numbers of fresh mail begin here, those of backlogs above
BACKLOG_SEQ = 1 << 30

_all = []


def measurement(fn):
    _all.append(fn)
    return fn


def median(values):
    return sorted(values)[len(values) // 2]


class Watch:
    """Samples the memory of a node until the end of the block."""

    def __init__(self, node):
        self.node, self.pss, self.anon, self.roles = node, 0, 0, {}
        self.stop = threading.Event()

    def sample(self):
        pss = anon = 0
        roles = {}
        for role, pid in [("supervisor", self.node.proc.pid)] + self.node.children():
            p, a = smaps(pid)
            pss, anon = pss + p, anon + a
            roles[role] = roles.get(role, 0) + p
        if pss > self.pss:
            self.pss, self.roles = pss, roles
        self.anon = max(self.anon, anon)

    def _run(self):
        while not self.stop.wait(0.5):
            self.sample()

    def cpu(self):
        """{role: processor seconds so far}, of processes that live."""
        out = {}
        for role, pid in [("supervisor", self.node.proc.pid)] + self.node.children():
            st = stat_of(pid)
            if st:
                out[role] = out.get(role, 0) + st[2] + st[3]
        return out

    def __enter__(self):
        self.sample()
        self.cpu_begin = self.cpu()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join()
        self.sample()
        self.cpu_s = {k: round(v - self.cpu_begin.get(k, 0), 1) for k, v in self.cpu().items()}

    def figures(self):
        return {"pss_mb": round(self.pss / 1024, 1), "anon_mb": round(self.anon / 1024, 1),
                "pss_by_role_mb": self.words({k: round(v / 1024, 1) for k, v in self.roles.items()}),
                "cpu_s_by_role": self.words(self.cpu_s)}

    @staticmethod
    def words(by_role):
        return " ".join("%s %s" % kv for kv in by_role.items() if kv[1])


def cpu_of(node):
    """Processor seconds of all processes of a node so far; none of them ends meanwhile."""
    total = 0
    for pid in [node.proc.pid] + [pid for _, pid in node.children()]:
        st = stat_of(pid)
        total += st[2] + st[3] if st else 0
    return total


class Bounds:
    """What the measurements share: a world with live domains, and the list of what came out."""

    def __init__(self, world, scale):
        self.world, self.scale, self.results, self.closers = world, scale, [], []
        self.name = None

    def n(self, full):
        """A number of the measurement, smaller with --scale."""
        return max(1, full // self.scale)

    def figures(self, **kw):
        self.current["figures"].update(kw)
        print("%-16s %s" % (self.name, ", ".join("%s %s" % kv for kv in kw.items())), flush=True)

    def check(self, what, value, op, want):
        met = value < want if op == "<" else value >= want if op == ">=" else value == want
        self.current["checks"].append({"what": what, "value": value, "want": "%s %g" % (op, want),
                                       "met": met})
        print("%-16s %-58s %10.3g  wanted %s %-8g %s" % (
            self.name, what, value, op, want, "met" if met else "MISSED"), flush=True)

    def run(self, fn):
        self.name = fn.__name__
        self.current = {"name": self.name, "what": fn.__doc__.splitlines()[0], "figures": {},
                        "checks": []}
        self.results.append(self.current)
        begin = time.monotonic()
        try:
            fn(self)
        finally:
            for close in reversed(self.closers):
                close()
            self.closers = []
            for node in self.world.nodes:
                node.close()
            self.world.nodes.clear()
        self.figures(seconds=round(time.monotonic() - begin))

    def keep(self, thing):
        self.closers.append(thing.close)
        return thing

    def live(self, *words):
        """A sink that serves d0.live.bench.test to d9, and the names for it."""
        sink = self.keep(Sink(self.world, None, words))
        zone = self.world.zone("bench.test")
        zone.clear()
        zone.a("mx.live", sink.address[0])
        zone.mx(10, "mx.live.bench.test", name="*.live")
        zone.a("mx.dead", self.world.dead())
        zone.mx(10, "mx.dead.bench.test", name="*.dead")
        return sink, zone

    def node(self, settings=None, **kw):
        node = self.world.postern({"listener internal": MANY, **(settings or {})},
                                  bounce={"profile default": {"initial_retry": None, "max_retry": None}},
                                  **kw)
        self.closers.append(node.close)
        return node

    def fill(self, node, *words, cold=False):
        """Into the store of a node that does not run. cold: and out of the page cache."""
        subprocess.run([program("fill"), node.dir + "/state/queue", *map(str, words)], check=True)
        if not cold:
            return
        fd = os.open(node.dir + "/state/queue/data.mdb", os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

    def send(self, sink, node, n, seq, size=4096, sessions=20):
        """n messages through the node to the live domains: (rate end to end, source's report)."""
        sink.start(n)
        src = Source(node.smtp, n, "-c", sessions, "-k", 10, "-s", size, "--seq", seq,
                     "--domain", "live.bench.test").wait(300)
        got = sink.wait(n, 120)
        if got["unique"] < n:
            raise AssertionError("%d of %d fresh messages arrived: %s" % (got["unique"], n, src))
        return n / ((got["last_ns"] - src["start_ns"]) / 1e9), src


# ---- clients and servers ----

def serve(b, node, times=50):
    """How quickly new clients are served now."""
    ehlo, done = zip(*[serve_time(node.smtp) for _ in range(times)])
    b.figures(greeting_ehlo_ms="median %.1f max %.1f" % (median(ehlo), max(ehlo)),
              message_accepted_ms="median %.1f max %.1f" % (median(done), max(done)))
    b.check("a new client is greeted and answered, ms (median)", median(ehlo), "<", 50)


@measurement
def idle_clients(b):
    """10,000 clients that said EHLO and nothing more."""
    b.live()
    node = b.node().start()
    n = b.n(10000)
    with Watch(node) as before:
        pass
    with Watch(node) as w:
        crowd = b.keep(Clients(node.smtp, n, [b"EHLO idle.client.test\r\n"]))
        serve(b, node)
    b.figures(clients=n, idle_pss_mb=before.figures()["pss_mb"], **w.figures())
    b.check("clients still there", crowd.alive(), "=", n)
    b.check("PSS of all processes, MB", w.pss / 1024, "<", 200)


@measurement
def slow_clients(b):
    """10,000 clients in the middle of their message, a line every five seconds each."""
    b.live()
    node = b.node().start()
    n = b.n(10000)
    with Watch(node) as w:
        crowd = b.keep(Clients(node.smtp, n, [
            b"EHLO slow.client.test\r\n", b"MAIL FROM:<slow@client.test>\r\n",
            b"RCPT TO:<someone@d1.live.bench.test>\r\n", b"DATA\r\n"]))
        crowd.trickle(b"Subject: slow, but it comes in the end, piece by piece\r\n", 5, 4)
        serve(b, node)
    b.figures(clients=n, **w.figures())
    b.check("clients still there", crowd.alive(), "=", n)
    b.check("PSS of all processes, MB", w.pss / 1024, "<", 400)


@measurement
def slow_servers(b):
    """5,000 connections to servers whose words come a byte every two seconds."""
    sink, zone = b.live()
    n = b.n(5000)
    host = b.world.block.host()
    slow = b.keep(Servers((host, b.world.port), lambda got: b"220 slow.test ESMTP\r\n" if not got
                          else b"250 slow.test\r\n", drip_s=2))
    zone.a("mx.slow", host)
    zone.mx(10, "mx.slow.bench.test", name="*.slow")
    node = b.node({"delivery": {"max_connections": 20000}}).start()
    src = b.keep(Source(node.smtp, n, "-c", 20, "-k", n, "-s", 1000, "-m", 100,
                        "--seq", BACKLOG_SEQ, "--domain", "slow.bench.test"))
    with Watch(node) as w:
        if src.wait(300)["accepted"] != n:
            raise AssertionError("the source had refusals")
        quiet = [0, time.monotonic()]

        def as_many_as_come():
            if slow.most > quiet[0]:
                quiet[:] = [slow.most, time.monotonic()]
            return slow.most >= n or time.monotonic() - quiet[1] > 20
        poll(as_many_as_come, 120, lambda: "%d connections, %d so far" % (n, slow.most))
        serve(b, node, 20)
        rate, _ = b.send(sink, node, b.n(3000), FRESH_SEQ)
    b.figures(connections=slow.most, waiting=node.queued(), fresh_per_second=round(rate),
              downs=say_downs(node), **w.figures())
    b.check("connections to slow servers at one time", slow.most, ">=", n * 0.95)
    b.check("PSS of all processes, MB", w.pss / 1024, "<", 400)


@measurement
def big_replies(b):
    """200 connections to servers that answer everything with a reply of 1 MB."""
    sink, zone = b.live()
    big = b"".join(b"250-%s\r\n" % (b"x" * 500) for _ in range(2080)) + b"250 end\r\n"
    one = b"250 " + b"y" * (1 << 20) + b"\r\n"
    count = [0]

    def reply(got):
        if not got:
            count[0] += 1
            return b"220 big.test ESMTP\r\n" if count[0] % 4 else big.replace(b"250", b"220")
        return one if count[0] % 2 else big
    host = b.world.block.host()
    servers = b.keep(Servers((host, b.world.port), reply))
    zone.a("mx.big", host)
    zone.mx(10, "mx.big.bench.test", name="*.big")
    node = b.node().start()
    n = b.n(2000)
    with Watch(node) as w:
        Source(node.smtp, n, "-k", 200, "-s", 1000, "-m", 10, "--seq", BACKLOG_SEQ,
               "--domain", "big.bench.test").wait(120)
        poll(lambda: servers.taken >= b.n(200), 60, "200 connections")
        rate, _ = b.send(sink, node, b.n(3000), FRESH_SEQ)
    b.figures(connections=servers.taken, waiting=node.queued(), fresh_per_second=round(rate),
              **w.figures())
    b.check("messages kept", node.queued(), "=", n)
    b.check("PSS of all processes, MB", w.pss / 1024, "<", 100)


@measurement
def silent_resolver(b):
    """A name server that never answers, and 20,000 messages to 5,000 domains."""
    b.live()
    hole = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    hole.bind((b.world.block.address(0, 9), 5353))
    b.closers.append(hole.close)
    node = b.node({"resolver": {"nameservers": "%s:%d" % hole.getsockname()}}).start()
    n = b.n(20000)
    with Watch(node) as w:
        src = Source(node.smtp, n, "-c", 20, "-k", b.n(5000), "-s", 4096, "-m", 20,
                     "--seq", BACKLOG_SEQ, "--domain", "live.bench.test").wait(300)
        time.sleep(15)  # past the time of a question, so that answers "indeterminate" flow
        serve(b, node, 20)
        status = time.monotonic()
        node.ctl("status")
        status = (time.monotonic() - status) * 1e3
    b.figures(accepted_per_second=round(src["rate"]), status_ms=round(status), waiting=node.queued(),
              **w.figures())
    b.check("messages kept", node.queued(), ">=", n)
    b.check("PSS of all processes, MB", w.pss / 1024, "<", 400)


# ---- backlogs ----

class Pair:
    """A node with a backlog and one without, and fresh mail through both in turns."""

    def __init__(self, b, sink, full, seq=FRESH_SEQ):
        self.b, self.sink, self.full, self.seq = b, sink, full, seq
        self.empty = b.node(name="empty").start()
        self.n = b.n(6000)

    def all_of(self, sig):
        """So that what the backlog costs is not paid by the run without it."""
        for pid in [self.full.proc.pid] + [p for _, p in self.full.children()]:
            os.kill(pid, sig)

    def one(self, node):
        before = cpu_of(node)
        rate, src = self.b.send(self.sink, node, self.n, self.seq)
        self.seq += self.n
        return rate, src["accept_us"]["p99"] / 1e3, (cpu_of(node) - before) * 1e3 / self.n

    def ratios(self, what, rounds=5):
        full, empty = [], []
        for node in (self.full, self.empty):
            self.one(node)  # a warm-up
        for i in range(rounds):
            for which in ((0, 1) if i % 2 else (1, 0)):
                if which == 0:
                    self.all_of(signal.SIGSTOP)
                    try:
                        empty.append(self.one(self.empty))
                    finally:
                        self.all_of(signal.SIGCONT)
                else:
                    full.append(self.one(self.full))
        ratio = [f[0] / e[0] for f, e in zip(full, empty)]
        self.b.figures(fresh_per_second=round(median([f[0] for f in full])),
                       without_backlog=round(median([e[0] for e in empty])),
                       accept_p99_ms="%.1f, without backlog %.1f" % (
                           median([f[1] for f in full]), median([e[1] for e in empty])),
                       ratios=" ".join("%.2f" % r for r in sorted(ratio)),
                   cpu_ms_per_message="%.3f, without backlog %.3f" % (
                       median([f[2] for f in full]), median([e[2] for e in empty])))
        self.b.check("fresh mail, rate over that without a backlog" + what, median(ratio), ">=", 0.9)


def first_delivery(b, node, sink, want=True):
    """Start a node whose live domains have due mail; ms until the sink has the first of it."""
    sink.start(1)
    begin = time.monotonic_ns()
    node.start(120)
    ready = time.monotonic_ns()
    got = sink.wait(1, 60)
    ms = (got["first_ns"] - begin) / 1e6
    b.figures(start_to_ready_ms=round((ready - begin) / 1e6), start_to_first_delivery_ms=round(ms))
    if want:
        b.check("restart to the first delivery, s", ms / 1e3, "<", 5)


def tophosts(b, node):
    times, cpu, ours = [], cpu_of(node), os.times()
    for _ in range(11):
        begin = time.monotonic()
        node.ctl("tophosts")
        times.append((time.monotonic() - begin) * 1e3)
    b.figures(tophosts_ms="min %.0f median %.0f max %.0f" % (min(times), median(times), max(times)),
              tophosts_cpu_ms="node %.0f posternctl %.0f" % (
                  (cpu_of(node) - cpu) * 1e3 / 11,
                  sum(b - a for a, b in zip(ours[2:4], os.times()[2:4])) * 1e3 / 11))
    b.check("posternctl tophosts, ms (median of 11, whole command)", median(times), "<", 200)


def downs(node):
    """Why destinations went down, from the log."""
    reasons = {}
    with open(node.log_path, errors="replace") as f:
        for line in f:
            m = re.search(r"Destination \S+ is down \(([a-z0-9-]+)", line)
            if m:
                reasons[m.group(1)] = reasons.get(m.group(1), 0) + 1
    return reasons


def say_downs(node):
    return " ".join("%s %d" % kv for kv in downs(node).items()) or "none"


def made(node):
    """The store exists, with the owner it is to have."""
    node.start()
    node.stop()
    return node


@measurement
def deferred(b):
    """1,000,000 deferred messages of 4 KB: dead hosts, some at the address of the live one."""
    sink, zone = b.live("--defer-domain", ".same.bench.test")
    # they share the live host's address: refused there, and a closed port there
    zone.mx(10, "mx.live.bench.test", name="*.same")
    closed = b.world.block.free_port(sink.address[0])
    node = made(b.node(routes={".shut.bench.test": {"hosts": "[%s]:%d" % (sink.address[0], closed)}}))
    begin = time.monotonic()
    n = b.n(1000000)
    b.fill(node, "-n", n // 2, "-k", 1000, "--domain", "dead.bench.test", "--down", "--due", 1800,
           "--spread", 3600, "--seq", BACKLOG_SEQ)
    b.fill(node, "-n", n // 4, "-k", 500, "--domain", "same.bench.test", "--due", 60, "--spread", 3600,
           "--seq", BACKLOG_SEQ + n)
    b.fill(node, "-n", n // 4, "-k", 500, "--domain", "shut.bench.test", "--down", "--due", 10,
           "--spread", 600, "--seq", BACKLOG_SEQ + 2 * n)
    b.fill(node, "-n", 10, "-k", 10, "--domain", "live.bench.test", "--fresh", "--seq",
           BACKLOG_SEQ + 3 * n, cold=True)
    size = os.path.getsize(node.dir + "/state/queue/data.mdb")
    b.figures(messages=n, fill_seconds=round(time.monotonic() - begin), store_gb=round(size / 1e9, 2))
    first_delivery(b, node, sink)
    poll(lambda: node.queued() == n, 60, lambda: "the live ones to leave: %d" % node.queued())
    with Watch(node) as w:
        tophosts(b, node)
        Pair(b, sink, node).ratios(", dead and live hosts share an address")
    b.figures(waiting=node.queued(), **w.figures())
    b.check("messages kept", node.queued(), "=", n)
    b.check("PSS of all processes, MB", w.pss / 1024, "<", 400)


@measurement
def dead_domains(b):
    """100,000 messages to 20,000 domains whose host refuses connections, all due now."""
    sink, _ = b.live()
    node = made(b.node())
    n, k = b.n(100000), b.n(20000)
    b.fill(node, "-n", n, "-k", k, "--domain", "dead.bench.test", "--fresh", "--seq", BACKLOG_SEQ)
    b.fill(node, "-n", 10, "-k", 10, "--domain", "live.bench.test", "--fresh", "--seq",
           BACKLOG_SEQ + n)
    # all are due in the same moment, the dead ones before the live
    first_delivery(b, node, sink, want=False)
    with Watch(node) as w:
        begin = time.monotonic()
        # none of them was in anybody's cache: each is a lookup and an attempt
        rate, _ = b.send(sink, node, b.n(6000), FRESH_SEQ)
        poll(lambda: sum(downs(node).values()) >= k, 300,
             lambda: "%d domains down: %d" % (k, sum(downs(node).values())), step=0.5)
        b.figures(fresh_per_second_meanwhile=round(rate),
                  seconds_until_all_down=round(time.monotonic() - begin, 1))
        Pair(b, sink, node, seq=100000).ratios("")
        tophosts(b, node)
    b.figures(waiting=node.queued(), **w.figures())
    b.check("messages kept", node.queued(), "=", n)
    b.check("PSS of all processes, MB", w.pss / 1024, "<", 400)


@measurement
def due_at_once(b):
    """50,000 messages to 100 live domains, due in the same second."""
    sink, _ = b.live()
    node = made(b.node())
    n = b.n(50000)
    begin = time.time()
    wait = 15
    b.fill(node, "-n", n, "-k", 100, "--domain", "live.bench.test", "--due", wait, "--seq", BACKLOG_SEQ)
    node.start(60)
    with Watch(node) as w:
        sink.start(n)
        poll(lambda: sink.report()["unique"] > 0, wait + 30, "the first of them")
        times = []
        while sink.report()["unique"] < n:
            if time.time() - begin > 300:
                raise AssertionError("%d of %d arrived" % (sink.report()["unique"], n))
            times.append(serve_time(node.smtp)[1])
            time.sleep(0.1)
        got = sink.report()
    seconds = (got["last_ns"] - got["first_ns"]) / 1e9
    b.figures(messages=n, delivered_in_s=round(seconds, 1), per_second=round(n / seconds),
              accept_meanwhile_ms="median %.1f max %.1f" % (median(times), max(times)), **w.figures())
    b.check("arrived once", got["unique"], ">=", n)
    # the bodies pass through the mapped file, which the kernel can drop
    b.check("memory that is no file, MB", w.anon / 1024, "<", 400)


@measurement
def destinations(b):
    """100,000 destinations with two messages each, due now, all live."""
    sink, _ = b.live()
    node = made(b.node())
    k = b.n(100000)
    b.fill(node, "-n", 2 * k, "-k", k, "-s", 1000, "--domain", "live.bench.test", "--fresh",
           "--seq", BACKLOG_SEQ)
    # all are due at once, so this is not the start after a crash that the bound is about
    first_delivery(b, node, sink, want=False)
    with Watch(node) as w:
        begin = time.monotonic()
        poll(lambda: node.queued() == 0, 900, lambda: "an empty queue, not %d" % node.queued(), step=0.5)
        seconds = time.monotonic() - begin
    got = sink.report()
    b.figures(destinations=k, delivered_in_s=round(seconds, 1), per_second=round(2 * k / seconds),
              downs=say_downs(node), **w.figures())
    b.check("messages arrived", got["unique"], "=", 2 * k)
    # the bodies pass through the mapped file, which the kernel can drop
    b.check("memory that is no file, MB", w.anon / 1024, "<", 400)


@measurement
def throttled(b):
    """100,000 messages for a domain with recipient_limit = 10/1m: what they cost while it sleeps."""
    sink, _ = b.live()
    node = made(b.node(destinations={"d0.live.bench.test": {"recipient_limit": "10/1m"}}))
    n = b.n(100000)
    b.fill(node, "-n", n, "--domain", "live.bench.test", "--fresh", "--seq", BACKLOG_SEQ)
    sink.start(n)
    node.start(60)
    node.wait_log(r"is throttled \(recipient_limit\)", 60)
    with Watch(node) as w:
        cpu, begin = cpu_of(node), time.monotonic()
        # two times it wakes, and each time ten go
        poll(lambda: sink.report()["unique"] >= 30, 150, "the third ten", step=1)
        node.wait_log(r"is throttled \(recipient_limit\)", 60, n=3)
        seconds = time.monotonic() - begin
        share = 100 * (cpu_of(node) - cpu) / seconds
    got = sink.report()
    b.figures(seconds_watched=round(seconds), **w.figures())
    b.check("processor time of all processes, % of a core", share, "<", 1)
    b.check("arrived within three windows", got["unique"], "=", 30)
    b.check("messages kept", node.queued(), "=", n - 30)


def facts():
    cpu = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
    return {"processors": os.cpu_count(), "model": cpu.group(1) if cpu else "?",
            "load_before": os.getloadavg()[0],
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "postern": subprocess.run(["git", "describe", "--always", "--dirty"], text=True,
                                      stdout=subprocess.PIPE).stdout.strip()}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("only", nargs="*", help="names of measurements; none: all")
    p.add_argument("--list", action="store_true")
    p.add_argument("--scale", type=int, default=1, help="divide all numbers by this")
    args = p.parse_args()
    if args.list:
        for fn in _all:
            print("%-16s %s" % (fn.__name__, fn.__doc__.splitlines()[0]))
        return 0
    unknown = set(args.only) - {fn.__name__ for fn in _all}
    if unknown:
        p.error("no such measurement: %s" % " ".join(sorted(unknown)))
    Dns.queries = 4000  # as a resolver of a production node has it; ours asks up to 2,000 at one time
    os.environ["TMPDIR"] = disk_directory() or "/tmp"
    about = facts()
    print("# %(processors)d x %(model)s, load %(load_before).1f, Postern %(postern)s, %(date)s" % about)
    failed = []
    results = []
    for fn in _all:
        if args.only and fn.__name__ not in args.only:
            continue
        with World() as world:  # its addresses and names are new for each
            b = Bounds(world, args.scale)
            try:
                b.run(fn)
            except Exception as e:
                failed.append("%s: %s: %s" % (fn.__name__, type(e).__name__, str(e)[:2000]))
                print("%-16s FAILED: %s" % (fn.__name__, failed[-1]), flush=True)
            results += b.results
    about["load_after"] = os.getloadavg()[0]
    with open(os.path.join(BUILD, "bounds.json"), "w") as f:
        json.dump({"machine": about, "scale": args.scale, "results": results, "failed": failed}, f,
                  indent=1)
    missed = ["%s: %s" % (r["name"], c["what"]) for r in results for c in r["checks"] if not c["met"]]
    print("# bounds: %d measurements, %d failed, missed: %s" % (
        len(results), len(failed), "; ".join(missed) or "none"))
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
