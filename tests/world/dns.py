"""dns.py - the world's DNS: knot holds the zones that tests write, unbound validates and caches.

The zone "." is signed and is unbound's only trust anchor. Each zone of a test is delegated from
the nearest zone above it (usually "."): with its DS (signed), without (unsigned), or with a wrong
one (bogus); the signatures of an expired zone have run out. Names that no zone holds are a proven NXDOMAIN. Zones change at run time: write records, then
commit() returns when the new data is what unbound answers.

A third server, Fault, stands before knot for zones that misbehave: SERVFAIL, REFUSED, silence, broken
signatures, for a whole zone or for one question. front() makes a server before unbound that a test can
turn into a bad one (dnsproxy.py). Nothing here listens on port 53 or reads the system's settings.
"""
import os
import signal
import socket
import threading
import time

from . import dnswire
from .base import Proc, WorldError, find_program, run
from .dnsproxy import Fault, Front

MARK = "_generation"


def fqdn(name):
    return name.lower().rstrip(".") + "."


class Zone:
    """One zone. Names are relative to it unless they end in a dot or in the zone's own name."""

    def __init__(self, dns, name, signed=False, bogus=False, ttl=300, expired=False):
        self.dns = dns
        self.name = fqdn(name)
        self.signed = signed or bogus or expired
        self.bogus = bogus
        self.expired = expired
        self.ttl = ttl
        self.records = []  # (owner, type, data, ttl)
        self.children = {}  # zone name -> DS record data or None
        self.generation = 0
        self.dirty = True
        self.faults = {}  # (owner or "*", type or "*") -> a key of Fault.KINDS

    def owner(self, name):
        if name in ("", "@"):
            return self.name
        low = name.lower()
        if low.endswith("."):
            return low
        bare = self.name.rstrip(".")
        if low == bare or low.endswith("." + bare) or self.name == ".":
            return low + "."
        return low + "." + self.name

    def rr(self, name, rtype, data, ttl=None):
        self.records.append((self.owner(name), rtype.upper(), data, self.ttl if ttl is None else ttl))
        self.dirty = True
        return self

    def a(self, name, *addresses, ttl=None):
        for address in addresses:
            self.rr(name, "AAAA" if ":" in address else "A", address, ttl)
        return self

    def mx(self, preference, host, name="@", ttl=None):
        """host: a name, or a Receiver, whose address record is added when its name lies here."""
        target = getattr(host, "host", host)
        self.rr(name, "MX", "%d %s" % (preference, fqdn(target) if target != "." else "."), ttl)
        if hasattr(host, "address"):
            self.host(host)
        return self

    def host(self, receiver):
        """The address record of a Receiver, once."""
        owner = fqdn(receiver.host)
        inside = self.name == "." or owner == self.name or owner.endswith("." + self.name)
        rtype = "AAAA" if ":" in receiver.address else "A"
        if inside and not any(r[:3] == (owner, rtype, receiver.address) for r in self.records):
            self.a(owner, receiver.address)
        return self

    def null_mx(self):
        """RFC 7505."""
        return self.rr("@", "MX", "0 .")

    def txt(self, name, *strings, ttl=None):
        """Strings over 255 bytes are cut into several, as the wire wants them."""
        parts = []
        for s in strings:
            raw = s if isinstance(s, bytes) else s.encode()
            parts += [raw[i:i + 255] for i in range(0, len(raw), 255)] or [b""]
        quoted = ['"%s"' % "".join(chr(b) if 32 <= b < 127 and b not in b'"\\;' else "\\%03d" % b
                                   for b in part) for part in parts]
        return self.rr(name, "TXT", " ".join(quoted), ttl)

    def cname(self, name, target, ttl=None):
        return self.rr(name, "CNAME", fqdn(target), ttl)

    def tlsa(self, host, data, port=None, ttl=None):
        """data: record data as text, or a Cert of the world's CA (3 1 1)."""
        if hasattr(data, "tlsa"):
            data = data.tlsa()
        return self.rr("_%d._tcp.%s" % (port or self.dns.smtp_port, fqdn(host)), "TLSA", data, ttl)

    def remove(self, name, rtype=None):
        owner = self.owner(name)
        self.records = [r for r in self.records
                        if not (r[0] == owner and (rtype is None or r[1] == rtype.upper()))]
        self.dirty = True
        return self

    def clear(self):
        self.records = []
        self.dirty = True
        return self

    def fault(self, how, name="*", rtype="*"):
        """how: servfail, refused, silent, bogus (the signatures are damaged), or None to end it. For
        all of the zone or one question."""
        key = (name if name == "*" else self.owner(name), rtype.upper())
        if how is None:
            self.faults.pop(key, None)
        elif how in Fault.KINDS:
            self.faults[key] = how
        else:
            raise ValueError("no such fault: " + how)
        self.dirty = True
        return self

    def set_bogus(self, bogus):
        """A wrong DS in the parent, from now on or no longer. Only for a zone made signed."""
        if not self.signed:
            raise ValueError("%s is not signed" % self.name)
        self.bogus = bogus
        self.dirty = True
        return self

    def text(self):
        lines = ["$ORIGIN .", "$TTL %d" % self.ttl,
                 "%s 60 SOA ns.world.invalid. hostmaster.world.invalid. 1 3600 600 86400 60" % self.name,
                 "%s NS ns.world.invalid." % self.name,
                 '%s 1 TXT "%d"' % (self.mark(), self.generation)]
        lines += ["%s %d %s %s" % (o, ttl, t, data) for o, t, data, ttl in self.records]
        for child, ds in sorted(self.children.items()):
            lines.append("%s NS ns.world.invalid." % child)
            if ds:
                lines.append("%s DS %s" % (child, ds))
        return "\n".join(lines) + "\n"

    def mark(self):
        return MARK + "." + (self.name if self.name != "." else "")


class Dns:
    """knot, unbound and the fault server of one world."""

    queries = 450  # that unbound works on at one time; each takes two descriptors

    def __init__(self, directory, knot_address, unbound_address, fault_address, port, smtp_port):
        self.dir = directory
        self.smtp_port = smtp_port
        self.knot = (knot_address, port)
        self.unbound = (unbound_address, port)
        self.zones = {}
        self.dropped = False
        self.known = {}  # what unbound was told: zone name -> server
        self.lock = threading.RLock()
        self.procs = []
        self.fault = None
        self.fronts = []
        for sub in ("knot", "knot/run", "knot/db", "knot/zones", "knot/plain", "knot/old", "unbound"):
            os.makedirs(os.path.join(directory, sub), exist_ok=True)
        self.conf = os.path.join(directory, "knot", "knot.conf")
        self.root = self.zone(".", signed=True)
        self.root.a("ns.world.invalid.", knot_address)
        try:
            self.fault = Fault(fault_address, port, self.knot)
            self._start_knot()
            self._start_unbound()
            self.commit()
        except BaseException:
            self.close()
            raise

    # ---- for tests ----

    def zone(self, name, signed=False, bogus=False, ttl=300, expired=False):
        """A zone, made at the first call. Nothing is visible before commit()."""
        with self.lock:
            zone = self.zones.get(fqdn(name))
            if zone is None:
                zone = self.zones[fqdn(name)] = Zone(self, name, signed, bogus, ttl, expired)
            elif signed and not zone.signed or bogus and not zone.bogus:
                raise ValueError("zone %s exists, made otherwise" % name)
            return zone

    def drop(self, name):
        """Remove a zone with everything in it."""
        with self.lock:
            del self.zones[fqdn(name)]
            self.dropped = True

    def commit(self):
        """Make all changes visible: when it returns, unbound answers from the new data."""
        with self.lock:
            dirty = [z for z in self.zones.values() if z.dirty]
            if not dirty and not self.dropped:
                return
            self.dropped = False
            self._load(dirty)
            touched = self._delegate()
            self._load(touched)
            self._tell_unbound()
            for name in {z.name for z in dirty + touched}:
                self._control("flush_zone", name)
            self._control("flush_infra", "all")
            self._control("flush_bogus")
            self._control("flush_negative")

    def front(self, address, port=None):
        """A server before unbound, for a node to ask instead of it; as good as unbound at first."""
        front = Front(address, port or self.unbound[1], self.unbound)
        self.fronts.append(front)
        return front

    def kill_unbound(self):
        """As kill -9: its port is closed, its cache is gone."""
        self.unbound_proc.stop(signal.SIGKILL)

    def start_unbound(self):
        with self.lock:
            self.known = {}
            self._start_unbound()
            self._tell_unbound()

    def anchor(self):
        """The record that whoever validates begins with."""
        return ". DS " + self._ds(self.root)

    def ask(self, name, rtype, **kw):
        """A question to unbound, as a mail server would ask it."""
        return dnswire.ask(self.unbound, name, rtype, **kw)

    def flush(self):
        self._control("flush_zone", ".")

    def close(self):
        for proc in reversed(self.procs):
            proc.stop()
        self.procs = []
        for proxy in [*self.fronts, self.fault]:
            if proxy:
                proxy.close()
        self.fronts, self.fault = [], None

    # ---- knot ----

    def _knot_conf(self):
        d = os.path.join(self.dir, "knot")
        lines = ["server:", "    rundir: %s/run" % d, "    listen: %s@%d" % self.knot,
                 "    udp-workers: 1", "    tcp-workers: 1", "    background-workers: 1",
                 "    tcp-idle-timeout: 5", "control:", "    listen: %s/run/knot.sock" % d,
                 "log:", "  - target: stderr", "    any: warning", "database:",
                 "    storage: %s/db" % d, "    journal-db-max-size: 64M",
                 "    kasp-db-max-size: 16M", "    timer-db-max-size: 4M",
                 "policy:", "  - id: auto", "    algorithm: ecdsap256sha256",
                 "    single-type-signing: on", "    zone-max-ttl: 86400", "template:",
                 "  - id: default", "    storage: %s/zones" % d, "    zonefile-sync: -1",
                 "    zonefile-load: difference-no-serial", "    journal-content: all",
                 "    journal-max-usage: 4M", "zone:"]
        for zone in self.zones.values():
            lines += ["  - domain: " + zone.name, "    file: " + self._zone_file(zone)]
            if zone.signed and not zone.expired:
                lines += ["    dnssec-signing: on", "    dnssec-policy: auto"]
        with open(self.conf + ".new", "w") as f:
            f.write("\n".join(lines) + "\n")
        os.rename(self.conf + ".new", self.conf)

    def _zone_file(self, zone):
        name = "root" if zone.name == "." else zone.name.rstrip(".").replace("/", "_")
        return os.path.join(self.dir, "knot", "zones", name + ".zone")

    def _write(self, zone):
        zone.generation += 1
        path = self._zone_file(zone)
        with open(os.path.join(self.dir, "knot", "plain", os.path.basename(path)) if zone.expired else path,
                  "w") as f:
            f.write(zone.text())
        if zone.expired:
            self._sign_as_of_old(zone)
        zone.dirty = False

    def _sign_as_of_old(self, zone):
        """Signatures of two months ago, which held for two weeks: knot itself renews what it signs."""
        d = os.path.join(self.dir, "knot")
        conf = os.path.join(d, "old.conf")
        with open(conf, "w") as f:
            f.write("\n".join([
                "server:", "    rundir: %s/old" % d, "database:", "    storage: %s/old" % d,
                "    kasp-db-max-size: 16M", "policy:", "  - id: old", "    algorithm: ecdsap256sha256",
                "    single-type-signing: on", "template:", "  - id: default", "    storage: %s/plain" % d,
                "zone:", "  - domain: " + zone.name, "    file: " + os.path.basename(self._zone_file(zone)),
                "    dnssec-signing: on", "    dnssec-policy: old"]) + "\n")
        run([find_program("kzonesign"), "-c", conf, "-o", os.path.join(d, "zones"), "-t",
             str(int(time.time()) - 60 * 86400), zone.name])

    def _knotc(self, *args):
        run([find_program("knotc"), "-s", os.path.join(self.dir, "knot", "run", "knot.sock"), *args])

    def _start_knot(self):
        for zone in self.zones.values():
            self._write(zone)
        self._knot_conf()
        self.procs.append(Proc("knotd", [find_program("knotd"), "-c", self.conf],
                               os.path.join(self.dir, "knot.log")))
        for zone in self.zones.values():
            self._wait_zone(zone)

    def _load(self, zones):
        if not zones:
            return
        for zone in zones:
            self._write(zone)
        self._knot_conf()
        self._knotc("reload")
        for zone in zones:
            self._wait_zone(zone)

    def _wait_zone(self, zone):
        want = str(zone.generation).encode()

        def there():
            try:
                answer = dnswire.ask(self.knot, zone.mark(), "TXT", timeout=1.0, do=True, rd=False)
            except OSError:
                return False
            signed = "RRSIG" in [r[1] for r in answer.records]
            return [want] in answer.data("TXT") and signed == zone.signed
        self.procs[0].wait_for(there, 15, "zone %s, generation %d, does not appear" % (
            zone.name, zone.generation))

    def _ds(self, zone):
        """The DS of a signed zone, asked from knot; for a bogus zone one that cannot match."""
        answer = dnswire.ask(self.knot, zone.name, "DNSKEY", do=True, rd=False)
        keys = [k for k in answer.data("DNSKEY") if k[1] & 1]
        if not keys:
            raise WorldError("zone %s has no key: %r" % (zone.name, answer))
        ds = dnswire.ds_of(zone.name, keys[0])
        if zone.bogus:
            head, digest = ds.rsplit(" ", 1)
            ds = head + " " + "".join("%x" % (15 - int(c, 16)) for c in digest)
        return ds

    def _delegate(self):
        """Write each zone into the nearest one above it. Returns the parents that changed."""
        want = {name: {} for name in self.zones}
        for zone in self.zones.values():
            if zone.name == ".":
                continue
            above = zone.name
            while above != ".":
                above = above.split(".", 1)[1] or "."
                if above in self.zones:
                    break
            want[above][zone.name] = self._ds(zone) if zone.signed else None
        changed = []
        for name, children in want.items():
            if children != self.zones[name].children:
                self.zones[name].children = children
                changed.append(self.zones[name])
        return changed

    # ---- unbound ----

    def _start_unbound(self):
        d = os.path.join(self.dir, "unbound")
        conf = os.path.join(d, "unbound.conf")
        with open(conf, "w") as f:
            f.write("""server:
    directory: "%(d)s"
    chroot: ""
    username: ""
    pidfile: ""
    interface: %(address)s
    port: %(port)d
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    do-ip6: no
    do-not-query-localhost: no
    use-syslog: no
    logfile: ""
    verbosity: 1
    val-log-level: 2
    ede: yes
    num-threads: 1
    so-reuseport: no
    outgoing-range: %(range)d
    num-queries-per-thread: %(queries)d
    incoming-num-tcp: 100
    module-config: "validator iterator"
    root-hints: "/dev/null"
    qname-minimisation: no
    aggressive-nsec: no
    prefetch: no
    edns-buffer-size: 1232
    infra-keep-probing: yes
    trust-anchor: "%(anchor)s"
    local-zone: "test." nodefault
    local-zone: "invalid." nodefault
    local-zone: "onion." nodefault
remote-control:
    control-enable: yes
    control-use-cert: no
    control-interface: %(d)s/control
stub-zone:
    name: "."
    stub-addr: %(knot)s@%(port)d
""" % {"d": d, "address": self.unbound[0], "port": self.unbound[1], "knot": self.knot[0],
                "anchor": self.anchor(), "range": 2 * self.queries,
                "queries": self.queries})
        self.unbound_proc = Proc("unbound", [find_program("unbound"), "-d", "-p", "-c", conf],
                                 os.path.join(self.dir, "unbound.log"))
        self.procs.append(self.unbound_proc)

        def ready():
            try:
                answer = dnswire.ask(self.unbound, self.root.mark(), "TXT", timeout=1.0)
            except OSError:
                return False
            return answer.rcode == "NOERROR" and answer.ad
        self.unbound_proc.wait_for(ready, 15, "no secure answer for the root zone")

    def _control(self, *words):
        """unbound-control's protocol, spoken directly: no process per command."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(os.path.join(self.dir, "unbound", "control"))
            s.sendall(("UBCT1 " + " ".join(words) + "\n").encode())
            said = b""
            while chunk := s.recv(65536):
                said += chunk
        if not said.startswith(b"ok"):
            raise WorldError("unbound: %s: %s" % (" ".join(words), said.decode().strip()))

    def _tell_unbound(self):
        """Unbound asks a name server on port 53 unless told otherwise: one stub per zone."""
        rules, want = {}, {}
        for zone in self.zones.values():
            if zone.name == ".":
                continue
            server = self.knot
            if zone.faults:
                server = (self.fault.address, self.fault.port)
                # the narrow rules first
                for owner, rtype in sorted(zone.faults, key=lambda k: (k[0] == "*", k[1] == "*")):
                    rules[(zone.name, owner, rtype)] = zone.faults[(owner, rtype)]
            want[zone.name] = "%s@%d" % server
        self.fault.set_rules(rules)
        for name in [n for n in self.known if want.get(n) != self.known[n]]:
            self._control("stub_remove", name)
            del self.known[name]
        for name, server in want.items():
            if name not in self.known:
                self._control("stub_add", name, server)
                self.known[name] = server
