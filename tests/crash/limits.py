#!/usr/bin/env python3
"""limits.py - limits of destinations as the receiving side sees them, with workers being killed.

    make limits [MESSAGES=20000] [SEED=...]
    python3 -m tests.crash.limits --messages 2000

200 domains on 20 MX hosts, groups of them under each kind of limit, more mail than the limits let
through at once, and a deliver worker killed every second. One sink is all hosts: it writes down
when connections come, who they are for and when they end (sink.c, --trace). From that the verdict:
no counter was ever above its limit, and each came to 90 % of it while mail waited. The last line is
the verdict. Exit 0: good.
"""
import argparse
import collections
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench.instruments import Sink, Source, disk_directory  # noqa: E402
from tests.world import World  # noqa: E402
from tests.world.base import poll  # noqa: E402

ZONE = "limits.test"
SITES = "provider.test"  # its hosts are MX sites
PACED = "paced.test"
SYSTEM = 300
WORKERS = 6
USED = 0.9  # of each limit, at least
KILL_UNTIL = 0.9  # of the messages arrived
MINUTE_NS = 60 * 10**9

# name, share of the domains in percent, its destination control
GROUPS = (
    ("domain", 30, {"max_connections": 3}),
    ("ip", 15, {"limit_scope": "mx-ip", "max_connections": 2}),
    ("site", 15, {}),
    ("gateway", 10, {"limit_apply": "gateway", "max_connections": 2}),
    ("rate", 15, {"recipient_limit": "50/1m", "max_connections": 4}),
    ("messages", 10, {"max_messages_per_connection": 7, "max_connections": 5}),
    ("siterate", 5, {}),
)
SITE = {"max_connections": 12}
SITE_RATE = {"recipient_limit": "500/1m"}
GATEWAYS = ("alpha", "beta")


class Conn:
    __slots__ = ("opened", "address", "name", "domain", "rcpts", "messages", "closed")

    def __init__(self, opened, address):
        self.opened, self.address = opened, address
        self.name = self.domain = self.closed = None
        self.rcpts, self.messages = [], 0


class Trace:
    """What the sink saw: connections, and openings and ends in the order in which they were seen."""

    def __init__(self, path):
        self.conns, self.events = {}, []
        with open(path) as f:
            for line in f:
                what, num, ns, *text = line.split()
                num, ns = int(num), int(ns)
                if what == "O":
                    self.conns[num] = Conn(ns, text[0])
                    self.events.append((num, ns, 1))
                    continue
                c = self.conns[num]
                if what == "E":
                    c.name = text[0]
                elif what == "R":
                    if c.domain not in (None, text[0]):
                        raise AssertionError("mail for %s and %s on one connection" % (c.domain, text[0]))
                    c.domain = text[0]
                    c.rcpts.append(ns)
                elif what == "M":
                    c.messages += 1
                elif what == "C":
                    c.closed = ns
                    self.events.append((num, ns, -1))

    def most_open(self, key_of):
        """{key: most connections at one moment}; key_of(conn) None: not counted."""
        now, most = collections.Counter(), collections.Counter()
        for num, _, step in self.events:
            key = key_of(self.conns[num])
            if key is not None:
                now[key] += step
                most[key] = max(most[key], now[key])
        return most

    def most_rcpts(self, key_of, ns=MINUTE_NS):
        """{key: most recipients in an interval of that length}."""
        times = collections.defaultdict(list)
        for c in self.conns.values():
            if key_of(c) is not None:
                times[key_of(c)] += c.rcpts
        out = {}
        for key, t in times.items():
            t.sort()
            first = most = 0
            for i, at in enumerate(t):
                while at - t[first] >= ns:
                    first += 1
                most = max(most, i + 1 - first)
            out[key] = most
        return out

    def most_messages(self, key_of):
        out = collections.Counter()
        for c in self.conns.values():
            if key_of(c) is not None:
                out[key_of(c)] = max(out[key_of(c)], c.messages)
        return out

    def mean_open(self, until_ns):
        """Connections on average, from the first one until a moment."""
        total = now = at = begin = 0
        for _, ns, step in self.events:
            begin = begin or ns
            if ns > until_ns:
                break
            total += now * (ns - at) if now else 0
            now, at = now + step, ns
        return total / max(1, at - begin)


def group(c):
    return c.domain.split(".")[1] if c.domain else None


def of_group(name, key):
    return lambda c: key(c) if group(c) == name else None


def counters(trace, hosts, system):
    """[(kind, limit, {key: most of it})]."""
    sites = {a for a, (_, site) in hosts.items() if site == SITES}
    paced = {a for a, (_, site) in hosts.items() if site == PACED}
    limits = {name: keys for name, _, keys in GROUPS}

    def rate(text):
        return int(text.split("/")[0])
    return [
        ("system", system, trace.most_open(lambda c: "system")),
        ("domain", limits["domain"]["max_connections"],
         trace.most_open(of_group("domain", lambda c: c.domain))),
        ("mx-ip", limits["ip"]["max_connections"],
         trace.most_open(of_group("ip", lambda c: (c.domain, c.address)))),
        ("site", SITE["max_connections"],
         trace.most_open(lambda c: SITES if c.address in sites else None)),
        ("gateway", limits["gateway"]["max_connections"],
         trace.most_open(of_group("gateway", lambda c: (c.domain, c.name)))),
        ("recipients of a domain", rate(limits["rate"]["recipient_limit"]),
         trace.most_rcpts(of_group("rate", lambda c: c.domain))),
        ("recipients of a site", rate(SITE_RATE["recipient_limit"]),
         trace.most_rcpts(lambda c: PACED if c.address in paced else None)),
        ("connections of a paced domain", limits["rate"]["max_connections"],
         trace.most_open(of_group("rate", lambda c: c.domain))),
        ("messages of a connection", limits["messages"]["max_messages_per_connection"],
         trace.most_messages(of_group("messages", lambda c: c.domain))),
    ]


# kinds that are bounds of another kind's group: held, and not asked to be used
ONLY_HELD = ("connections of a paced domain",)


class Load:
    def __init__(self, world, messages, domains=200, hosts=20, delay_ms=500, system=SYSTEM):
        self.world, self.messages, self.system = world, messages, system
        self.path = os.path.join(world.tmp.sub("limits"), "trace")
        self.groups = [(name, max(2, domains * share // 100)) for name, share, _ in GROUPS]
        self.domains = sum(n for _, n in self.groups)
        self.hosts = {}  # address: (name, zone)
        words = []
        for i in range(hosts):
            # a quarter are the provider's, and two that take so many a minute
            zone = SITES if i % 4 == 1 else PACED if i % 10 == 2 else ZONE
            address = world.block.host()
            self.hosts[address] = ("mx%d.%s" % (i, zone), zone)
            words += ["-l", "%s:%d" % (address, world.port)]
        first = words[1].rsplit(":", 1)[0]
        self.sink = Sink(world, None, words[2:] + ["--trace", self.path, "--delay", str(delay_ms)],
                         address=first)
        self.names()
        self.sources = []
        self.kills = 0

    def hosts_of(self, zone):
        return [name for name, z in self.hosts.values() if z == zone]

    def names(self):
        zone = self.world.zone(ZONE)
        for address, (name, at) in self.hosts.items():
            self.world.zone(at).a(name.split(".")[0], address)
        turn = 0
        for name, n in self.groups:
            at = self.hosts_of({"site": SITES, "siterate": PACED}.get(name, ZONE))
            for k in range(n):
                # domains with a limit for each address have two of them
                for j in range(2 if name == "ip" else 1):
                    zone.mx(10, at[(turn + j) % len(at)], name="d%d.%s" % (k, name))
                turn += 1

    def node(self):
        controls = {".%s.%s" % (name, ZONE): keys for name, _, keys in GROUPS if keys}
        controls["mx:*." + SITES] = SITE
        controls["mx:*." + PACED] = SITE_RATE
        return self.world.postern(
            settings={"postern": {"smtpd_workers": "2"},
                      "listener internal": {"max_connections_per_client": 1000},
                      "delivery": {"workers": str(WORKERS), "max_connections": str(self.system),
                                   "idle": "1s"}},
            destinations=controls,
            gateways={"gateway " + name: {"hostname": name + ".gw.test", "clients": at}
                      for name, at in zip(GATEWAYS, self.gateway_clients())},
            bounce={"profile default": {"initial_retry": "1s", "max_retry": "5s"}})

    def gateway_clients(self):
        return [self.world.block.address(1, 1), self.world.block.address(1, 2)]

    def begin(self, node):
        each = max(1, self.messages // self.domains)
        seq = 0
        for name, n in self.groups:
            froms = self.gateway_clients() if name == "gateway" else [None]
            for at in froms:
                count = n * each // len(froms)
                words = ("--from", at + ":0") if at else ()
                self.sources.append(Source(
                    node.smtp, count, "-c", 4, "-m", 20, "-k", n, "--domain", name + "." + ZONE,
                    "-s", 1500, "--seq", seq, "--retry", 30, *words))
                seq += count
        self.total = seq

    def close(self):
        for s in self.sources:
            s.close()
        self.sink.close()


def kill_one(node, rng, began):
    """One deliver worker, of those that ran at the last look one that has lived longest."""
    pids = node.pids("deliver")
    for pid in pids:
        began.setdefault(pid, (time.monotonic(), rng.random()))
    if not pids:
        return False
    os.kill(min(pids, key=began.get), signal.SIGKILL)
    return True


def run(world, messages, seed, say, timeout=600, **shape):
    """The verdict: lines about it, and whether it is good."""
    rng = random.Random(seed)
    start = time.monotonic()
    load = Load(world, messages, **shape)
    node = load.node().start()
    began, seen, killing = {}, 0, True
    try:
        load.sink.start(messages * 2)
        # all of it waits before the first one may go: then the limits are what holds it
        node.ctl("suspenddel")
        load.begin(node)
        for s in load.sources:
            got = s.wait(120)
            if got["failed"] or got["unfinished"]:
                raise AssertionError("a source gave up some messages: %s" % got)
        say("%d messages wait" % load.total)
        node.ctl("resumedel")
        at = time.monotonic()
        while time.monotonic() - start < timeout:
            at += 1
            time.sleep(max(0, at - time.monotonic()))  # a kill each second is what is asked for
            # what dies with a worker again and again waits longer each time
            killing = killing and seen < KILL_UNTIL * load.total
            if not killing:
                node.ctl("delivernow", "--all", want=None)
            killed = killing and kill_one(node, rng, began)
            load.kills += killed
            seen = load.sink.report()["unique"]
            if killed and load.kills % 10 == 0:
                say("%d workers killed, %d of %d messages arrived" % (load.kills, seen, load.total))
            if seen >= load.total:
                break
        node.wait_empty(180)
        report = load.sink.report()
        node.stop(30)
    finally:
        load.close()
    return judge(load, report, Trace(load.path), seed, time.monotonic() - start)


def judge(load, report, trace, seed, seconds):
    out, good = [], report["unique"] == load.total
    for kind, limit, most in counters(trace, load.hosts, load.system):
        values = sorted(most.values())
        over = [k for k, v in most.items() if v > limit]
        under = [k for k, v in most.items() if v < USED * limit] if kind not in ONLY_HELD else []
        out.append("%-30s limit %4d, %3d counters: most %4d, least of the mosts %4d (%3.0f %%)%s%s" % (
            kind, limit, len(most), values[-1] if values else 0, values[0] if values else 0,
            100.0 * values[0] / limit if values else 0,
            "; ABOVE: %s" % over[:5] if over else "", "; NOT USED: %s" % under[:5] if under else ""))
        good = good and bool(values) and not over and not under
    out.append("limits: %d of %d messages to %d domains on %d hosts in %.0f s (%d twice), %d connections, "
               "%d workers killed; seed %d: %s" % (
                   report["unique"], load.total, load.domains, len(load.hosts), seconds,
                   report["duplicates"], report["connections"], load.kills, seed,
                   "good" if good else "BAD"))
    return out, good


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--messages", type=int, default=20000)
    p.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    p.add_argument("--domains", type=int, default=200)
    p.add_argument("--hosts", type=int, default=20)
    p.add_argument("--keep", help="a file for the trace")
    args = p.parse_args()
    os.environ["TMPDIR"] = disk_directory() or "/tmp"
    start = time.monotonic()

    def say(text):
        print("%4.0f s  %s" % (time.monotonic() - start, text), flush=True)
    say("seed %d" % args.seed)
    with World() as world:
        out, good = run(world, args.messages, args.seed, say, domains=args.domains, hosts=args.hosts)
        if args.keep:
            os.replace(os.path.join(world.tmp.path, "limits", "trace"), args.keep)
    print("\n".join(out))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
