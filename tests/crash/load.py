"""load.py - a gateway between load generators and recording sinks, for crash.py and soak.py.

Mail is in every state: one message a connection and many, small bodies and files, one recipient and
five, sinks that take at once, inside TLS, late, and that defer a part of what they get.
"""
import os

from tests.bench.instruments import Sink, Source
from tests.crash.account import Ledger
from tests.world.base import poll

DOMAIN = "crash.test"
# (name, sessions, words for source, recipients, share of the messages in percent)
KINDS = (
    ("small", 8, ("-s", 4096, "-m", 3), 1, 50),
    ("single", 4, ("-s", 1500, "-m", 1), 1, 20),
    ("many", 4, ("-s", 4096, "-m", 10, "-r", 5), 5, 20),
    ("file", 4, ("-s", 40000, "-m", 5), 1, 10),
)
# (name, words for sink, how many of the ten domains lead there)
SINKS = (("quick", (), 5), ("tls", (), 2), ("rcpt", ("--defer", "20"), 1),
         ("data", ("--defer-data", "20"), 1), ("late", ("--delay", "20"), 1))
SETTINGS = {
    "postern": {"smtpd_workers": "2"},
    "listener internal": {"max_connections_per_client": 1000},
    "delivery": {"workers": "2"},
    "queue": {"host_down_retry": "1s", "host_down_max_retry": "5s"},
}


class Tail:
    """Complete lines that come into a file."""

    def __init__(self, path):
        self.path, self.pos, self.lines = path, 0, 0

    def count(self):
        try:
            with open(self.path, "rb") as f:
                f.seek(self.pos)
                new = f.read()
        except FileNotFoundError:
            return self.lines
        self.pos += len(new)
        self.lines += new.count(b"\n")
        return self.lines


class Load:
    def __init__(self, world, messages, rate=0, name="load"):
        """rate: messages a second, of all sources together; 0: as many as go."""
        self.messages, self.rate = messages, rate
        self.dir = world.tmp.sub("ledgers-" + name)
        self.sinks, self.sources = [], []
        zone = world.zone(DOMAIN).clear()
        k = 0
        for name, words, domains in SINKS:
            cert = world.ca.issue("mx-%s.%s" % (name, DOMAIN)) if name == "tls" else None
            sink = Sink(world, cert, ("--ledger", self.path("sink", name), *words))
            self.sinks.append(sink)
            zone.a("mx-" + name, sink.address[0])
            for _ in range(domains):
                zone.mx(10, "mx-%s.%s" % (name, DOMAIN), name="d%d" % k)
                k += 1
        self.domains = k
        self.node = world.postern(SETTINGS).start()

    def path(self, *name):
        return os.path.join(self.dir, "-".join(name))

    def begin(self):
        seq = 0
        for name, sessions, words, _, share in KINDS:
            n = max(1, self.messages * share // 100)
            rate = ("--rate", max(1, self.rate * share // 100)) if self.rate else ()
            self.sources.append(Source(
                self.node.smtp, n, "-c", sessions, "-k", self.domains, "--domain", DOMAIN,
                "--seq", seq, "--retry", 30, "--ledger", self.path("source", name), *rate, *words))
            seq += n
        self.total = seq
        self.in_tails = [Tail(self.path("source", k[0])) for k in KINDS]
        self.out_tails = [Tail(self.path("sink", s[0])) for s in SINKS]

    def accepted(self):
        """Lines the sources wrote: messages, and a few more for doubts."""
        return sum(t.count() for t in self.in_tails)

    def taken(self):
        return sum(t.count() for t in self.out_tails)

    def sending(self):
        return any(s.running() for s in self.sources)

    def reports(self, timeout):
        return [s.wait(timeout) for s in self.sources]

    def settle(self, timeout):
        """Until nothing is queued; the conservation law must hold then."""
        self.node.wait_empty(timeout)

    def ledger(self):
        out = Ledger()
        for name, _, _, rcpts, _ in KINDS:
            with open(self.path("source", name)) as f:
                out.add_source(f.read(), rcpts)
        for name, _, _ in SINKS:
            if os.path.exists(self.path("sink", name)):
                with open(self.path("sink", name)) as f:
                    out.add_sink(f.read())
        return out

    def close(self):
        for s in self.sources:
            s.close()
        for s in self.sinks:
            s.close()


def wait_until(true, timeout, what):
    return poll(true, timeout, what, step=0.01)
