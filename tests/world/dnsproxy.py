"""dnsproxy.py - name servers that pass most questions on and spoil the others.

Fault stands between unbound and knot: the zone is at fault. Front stands between Postern and unbound:
the resolver that the operator trusts is at fault (killed, exchanged for one that does not validate, failing for
one type). One thread per question, so that a slow one holds up nobody.
"""
import contextlib
import selectors
import socket
import struct
import threading

from . import dnswire

BROKEN = (OSError, ValueError, IndexError, struct.error)  # what a broken name server does: say nothing


def strip(reply):
    """As a resolver that does not validate: never AD."""
    flags = struct.unpack_from(">H", reply, 2)[0] & ~0x20
    return reply[:2] + struct.pack(">H", flags) + reply[4:]


def damage(reply):
    """One bit of each signature is wrong."""
    out = bytearray(reply)
    _, _, qd, an, ns, ar = struct.unpack_from(">6H", reply, 0)
    at = 12
    for _ in range(qd):
        at = dnswire.read_name(reply, at)[1] + 4
    for _ in range(an + ns + ar):
        at = dnswire.read_name(reply, at)[1]
        rtype, _, _, length = struct.unpack_from(">HHIH", reply, at)
        at += 10 + length
        if rtype == dnswire.TYPES["RRSIG"]:
            out[at - 1] ^= 1
    return bytes(out)


def deny(reply):
    """A lie: there is no such record, and "I have validated that"."""
    flags = struct.unpack_from(">H", reply, 2)[0] & ~0xf | 0x20
    return reply[:2] + struct.pack(">5H", flags, 1, 0, 0, 0) + reply[12:dnswire.read_name(reply, 12)[1] + 4]


class Proxy:
    """UDP and TCP on one address. kind_of(query) says what happens to a question: "" for nothing."""

    KINDS = {"servfail": 2, "refused": 5, "formerr": 1, "silent": None, "bogus": damage, "strip": strip, "deny": deny}

    def __init__(self, address, port, upstream):
        self.address, self.port, self.upstream = address, port, upstream
        self.lock = threading.Lock()
        self.thread = None
        self.open()

    @property
    def at(self):
        return "%s:%d" % (self.address, self.port)

    def kind_of(self, query):
        raise NotImplementedError

    def open(self):
        """Listen (again)."""
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((self.address, self.port))
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((self.address, self.port))
        self.tcp.listen(64)
        self.wake_r, self.wake_w = socket.socketpair()
        self.thread = threading.Thread(target=self._loop, name="dns-proxy", daemon=True)
        self.thread.start()

    def close(self):
        """Connections are refused from now on."""
        if self.thread is None:
            return
        self.wake_w.send(b"x")
        self.thread.join()
        self.thread = None
        for s in (self.udp, self.tcp, self.wake_r, self.wake_w):
            s.close()

    def _loop(self):
        with selectors.DefaultSelector() as sel:
            for s in (self.udp, self.tcp, self.wake_r):
                sel.register(s, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in sel.select()]
                if self.wake_r in ready:
                    return
                if self.udp in ready:
                    with contextlib.suppress(OSError):
                        self._start(self._on_udp, self.udp, *self.udp.recvfrom(65535))
                if self.tcp in ready:
                    self._start(self._on_tcp, self.tcp.accept()[0])

    @staticmethod
    def _start(what, *args):
        threading.Thread(target=what, args=args, daemon=True).start()

    def _reply(self, query, ask):
        """The bytes to send, or None. ask: passes the question on."""
        kind = self.kind_of(query)
        how = self.KINDS.get(kind)
        if kind and how is None:
            return None
        if isinstance(how, int):
            return dnswire.error_reply(query, how)
        return how(ask(query)) if kind else ask(query)

    def _ask_udp(self, query):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.connect(self.upstream)
            s.send(query)
            return s.recv(65535)

    def _on_udp(self, udp, query, peer):
        with contextlib.suppress(*BROKEN):
            reply = self._reply(query, self._ask_udp)
            if reply is not None:
                udp.sendto(reply, peer)

    def _on_tcp(self, conn):
        with contextlib.suppress(*BROKEN), conn:
            conn.settimeout(10)
            f = conn.makefile("rb")
            while len(head := f.read(2)) == 2:
                query = f.read(struct.unpack(">H", head)[0])
                reply = self._reply(query, lambda q: dnswire._tcp(self.upstream, q, 5))
                if reply is None:
                    f.read(1)
                    return
                conn.sendall(struct.pack(">H", len(reply)) + reply)


class Fault(Proxy):
    """Rules of zones: (zone, owner or "*", type or "*") -> kind, the narrow ones first."""

    def __init__(self, address, port, upstream):
        self.rules = {}
        super().__init__(address, port, upstream)

    def set_rules(self, rules):
        with self.lock:
            self.rules = dict(rules)

    def kind_of(self, query):
        name, rtype, _ = dnswire.question_of(query)
        with self.lock:
            for (zone, owner, wanted), kind in self.rules.items():
                if wanted not in ("*", rtype):
                    continue
                if owner == name or owner == "*" and (name == zone or name.endswith("." + zone)):
                    return kind
        return ""


class Front(Proxy):
    """The resolver of the operator. set("strip"): validates no more; set("servfail", "TLSA"): fails for one
    type; set(None): good again. close() kills it, open() brings it back. `asked` is what came, in order."""

    def __init__(self, address, port, upstream):
        self.how = {}  # type or "*" -> kind
        self.asked = []
        super().__init__(address, port, upstream)

    def set(self, kind, rtype="*"):
        if kind is not None and kind not in self.KINDS:
            raise ValueError("no such fault: " + kind)
        with self.lock:
            if kind is None:
                self.how = {}
            else:
                self.how[rtype] = kind
        return self

    def kind_of(self, query):
        name, rtype, _ = dnswire.question_of(query)
        with self.lock:
            self.asked.append((name.rstrip("."), rtype))
            return self.how.get(rtype) or self.how.get("*") or ""
