"""The test internet: DNS, mail hosts and Postern nodes on loopback addresses of their own.

    with World() as world:
        mx = world.mx("mx1.example.test")
        world.zone("example.test").mx(10, mx)
        node = world.postern().start()
        node.submit("a@sender.test", "b@example.test")
        mx.wait_messages(1)

Nothing of the system is touched: all servers are private instances with their files in one
temporary directory, on unprivileged ports of a block 127.N.0.0/16. Everything ends with the world,
also after an exception, SIGTERM, or SIGKILL of this process.
"""
import os
import signal
import threading

from .base import Block, Signal, Skip, TempDir, Timeout, WorldError
from .ca import CA
from .client import Client, Dialogue, Refused, bulk, message, submit, tls_context
from .dns import Dns
from .mx import CAPS, BlackHole, On, Receiver, endless, greylist, long_line
from .postern import AUTO, Postern
from .postfix import Postfix

__all__ = ["AUTO", "CAPS", "BlackHole", "Client", "Dialogue", "On", "Postern", "Receiver", "Refused",
           "Skip", "Timeout", "World", "WorldError", "bulk", "endless", "greylist", "long_line",
           "message", "submit", "tls_context"]


def _ended(signum, frame):
    raise SystemExit(128 + signum)


class World:
    def __init__(self):
        self.signal = Signal()
        self.receivers, self.nodes, self.others = [], [], []
        self.node_count = 0  # never reused: each node has a directory of its own
        self.block = self.dns = self.tmp = None
        if threading.current_thread() is threading.main_thread():
            for s in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(s) is signal.SIG_DFL:
                    signal.signal(s, _ended)
        try:
            self.block = Block()
            self.port = self.block.port
            self.tmp = TempDir()
            self.ca = CA(self.tmp.sub("ca"))
            at = self.block.address
            self.dns = Dns(self.tmp.sub("dns"), at(0, 2), at(0, 3), at(0, 4),
                           self.block.free_port(at(0, 2)), self.port)
        except BaseException:
            self.close()
            raise

    # ---- names ----

    def zone(self, name, **kw):
        return self.dns.zone(name, **kw)

    def commit(self):
        self.dns.commit()

    def front(self):
        """A resolver before unbound that a test can spoil: settings={"resolver": {"nameservers": front.at}}."""
        return self.dns.front(self.block.host())

    def domain(self, name, *hosts, signed=False):
        """A zone with these MX hosts (names or Receivers), preferences 10, 20, …"""
        zone = self.zone(name, signed=signed)
        for i, host in enumerate(hosts):
            zone.mx(10 * (i + 1), host)
        return zone

    # ---- hosts ----

    def mx(self, host, *rules, address=None, port=None, **kw):
        """A Receiver on an address of its own, on the port that all MX hosts share."""
        rx = Receiver(self.ca, host, address or self.block.host(), port or self.port, self.signal,
                      rules, **kw)
        self.receivers.append(rx)
        return rx

    def dead(self):
        """An address where nothing listens: connections are refused."""
        return self.block.host()

    def black_hole(self):
        """An address that answers nothing: connections time out."""
        hole = BlackHole(self.block.host(), self.port)
        self.others.append(hole)
        return hole.address

    def postfix(self, host, domains, **kw):
        """A real Postfix; raises Skip when not root."""
        p = Postfix(self.tmp.sub("postfix%d" % len(self.others)), self.ca, host, self.block.host(),
                    self.port, domains, **kw)
        self.tmp.guard(p.proc.pid)
        self.others.append(p)
        return p

    def postern(self, *args, **kw):
        """A node, not started."""
        kw.setdefault("name", "node%d" % self.node_count)
        self.node_count += 1
        return Postern(self, *args, **kw)

    def wait(self, predicate, timeout=20.0, what="the expected event"):
        """Wait for anything the receivers record."""
        return self.signal.wait(predicate, timeout, what)

    def faults(self):
        """What went wrong unasked: mistakes of receivers, and what clients did against the standard."""
        out = [e for rx in self.receivers for e in rx.errors]
        return out + ["%s: %s" % (rx.host, v) for rx in self.receivers for v in rx.violations]

    # ---- the end ----

    def close(self):
        problems = []
        for thing in [*self.nodes, *self.others, *self.receivers, self.dns, self.block]:
            if thing is None:
                continue
            try:
                thing.close()
            except Exception as e:  # close the rest all the same
                problems.append("%s: %s" % (type(thing).__name__, e))
        self.nodes, self.others, self.receivers = [], [], []
        self.dns = self.block = None
        if self.tmp is not None:
            self.tmp.close()
            self.tmp = None
        if problems:
            raise WorldError("; ".join(problems))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def describe(self):
        at = self.block.address
        return "\n".join([
            "directory     %s" % self.tmp.path,
            "addresses     127.%d.0.0/16" % self.block.n,
            "resolver      %s port %d (unbound, validating)" % self.dns.unbound,
            "authoritative %s port %d (knot)" % self.dns.knot,
            "MX port       %d" % self.port,
            "CA            %s" % self.ca.ca_file,
            *("mx            %s %s" % (rx.host, rx.address) for rx in self.receivers),
            "try           kdig @%s -p %d +dnssec %s MX" % (
                *self.dns.unbound, next((z for z in self.dns.zones if z != "."), ".")),
        ]) + ("" if os.geteuid() == 0 else "\nnot root: no Postfix")
