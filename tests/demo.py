"""make demo: a tour of Postern on a test internet of its own; nothing leaves this machine.

Starts name servers, mail hosts and a node on loopback addresses, sends the messages of the tour,
and prints one line for each: what it shows, to whom, and the result as both Postern's log and the
receiver saw it. Ends by itself: status 0, or 1 when anything was not as expected.
"""
import os
import re
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.world import On, Skip, World, WorldError, bulk, greylist, message  # noqa: E402
from tests.world.base import poll  # noqa: E402
from tests.world.policy import PolicyHost, policy  # noqa: E402

SENDER = "alice@sender.test"


class Tour:
    def __init__(self, world):
        self.w = world
        self.failed = 0
        self.count = 0
        self.bounces = world.mx("mx1.sender.test")
        world.domain("sender.test", self.bounces)
        self.node = None

    def line(self, what, rcpts, result):
        self.count += 1
        print("%2d  %-34s %-34s %s" % (self.count, what, rcpts, result), flush=True)

    def step(self, what, rcpts, check, data=None, **kw):
        """Submit, then check(mid) returns what to print, or raises."""
        rcpts = [rcpts] if isinstance(rcpts, str) else rcpts
        shown = rcpts[0] if len(rcpts) == 1 else "%d recipients" % len(rcpts)
        try:
            mid = self.node.submit(SENDER, rcpts, data, subject=what, **kw)
            self.line(what, shown, "MID %d: %s" % (mid, check(mid)))
        except Skip:
            raise
        except Exception as e:
            self.failed += 1
            self.line(what, shown, "FAILED: %s" % (str(e).splitlines() or [type(e).__name__])[0])
            traceback.print_exc()

    def skip(self, what, why):
        self.line(what, "-", "skipped: %s" % why)

    # ---- what is expected, in log and receiver ----

    def delivered(self, rx, n=1, protocol=None, look=None):
        def check(mid):
            m = rx.wait_messages(n, 60)[-1]
            self.node.wait_done(mid, 60)
            said = self.node.wait_log(r"MID %d RID \[[0-9, ]+\] Response" % mid)[0]
            got = m.tls.protocol + " " + m.tls.cipher if m.tls else "in clear"
            if protocol is not None and got.split()[0] != protocol:
                raise WorldError("receiver saw %s, expected %s" % (got, protocol))
            if look is not None:
                look(mid, m)
            return "delivered %s; %s answered %s" % (got, rx.host, said[said.index("Response") + 9:])
        return check

    def returned(self, reason, status):
        def check(mid):
            log = self.node.wait_log(r"Bounced: DCID \d+ MID %d " % mid)[0]
            dsn = self.bounces.wait_messages(1, 30, lambda m: status.encode() in m.data and
                                             reason.encode() in m.data)[0]
            if dsn.mail_from != "":
                raise WorldError("the notice has a sender: %r" % dsn.mail_from)
            self.node.wait_done(mid)
            return "returned (%s); notice to %s at %s" % (
                re.search(r"RID 0 - ([0-9.]+)", log).group(1), dsn.rcpts[0], dsn.receiver.host)
        return check


class Sts:
    """A domain with an MTA-STS policy: its zone, its policy host, and what may happen to them."""

    def __init__(self, t, name, mx, text):
        self.t, self.name, self.mx = t, name, mx
        self.zone = t.w.zone(name).mx(10, mx, ttl=1)
        self.policy_host = PolicyHost(t.w.ca, name, t.w.block.host(), t.w.port, text, t.w.signal)
        t.w.others.append(self.policy_host)
        self.zone.a("mta-sts", self.policy_host.address, ttl=1)
        self.announce("1", ttl=600)

    def announce(self, id, ttl):
        self.zone.remove("_mta-sts", "TXT")
        if id is not None:
            self.zone.txt("_mta-sts", "v=STSv1; id=%s;" % id, ttl=ttl)

    def publish(self, mx, id, ttl=1):
        """Another MX record, another TXT record (None: none), for all the world at once."""
        self.zone.remove("@", "MX").mx(10, mx, ttl=1)
        self.announce(id, ttl)
        self.t.w.commit()
        self.t.w.dns.flush()

    def rest(self):
        """Until nothing is open: the next message meets the world as it is then."""
        poll(lambda: self.t.node.metrics()["postern_delivery_destinations"] == 0, 20, "an idle node")

    def verified(self, rx, n=1):
        """Delivered, and the log has the name that was verified by the policy."""
        at = self.t.node.log_size()

        def check(mid):
            rx.wait_messages(n, 30)
            self.t.node.wait_done(mid, 30)
            line, = self.t.node.wait_log(r"TLS success .* for %s level verify" % re.escape(self.name), since=at)[-1:]
            return "delivered" + line[line.index(" level"):]
        return check

    def deferred(self, reason, *hosts):
        """It waits for this reason, and none of the hosts has got it."""
        at = self.t.node.log_size()
        had = [len(rx.messages) for rx in hosts]

        def check(mid):
            line = self.t.node.wait_log(r"Destination %s is down \(%s" % (re.escape(self.name), reason), since=at)[0]
            if [len(rx.messages) for rx in hosts] != had:
                raise WorldError("it was sent all the same")
            self.t.node.ctl("removemessage", mid)
            return "deferred: " + line[line.index("(") + 1:line.rindex("): next attempt")]
        return check


def tour_sts(t):
    """MTA-STS: enforce, three attacks, testing, a policy that changes, one that outlives its host."""
    w, node = t.w, t.node
    mx, evil, plain = w.mx("mx1.sts.test"), w.mx("mx.evil.test"), w.mx("mx1.trial.test", starttls="none")
    old, new = w.mx("mx1.moving.test"), w.mx("mx2.moving.test")
    w.zone("evil.test").host(evil)
    d = Sts(t, "sts.test", mx, policy(mx=[mx]))
    trial = Sts(t, "trial.test", plain, policy("testing", mx=[plain]))
    m = Sts(t, "moving.test", old, policy(mx=[old]))
    w.commit()
    t.step("MTA-STS enforce: verified", "bob@sts.test", d.verified(mx))
    t.step("… another domain", "bob@moving.test", m.verified(old))

    def seen(domain, rx):
        """Until the node's DNS cache has forgotten the old MX record."""
        poll(lambda: node.ctl("explain", "bob@" + domain, want=None)["hosts"][0]["host"] == rx.host, 20,
             "the MX record %s" % rx.host)

    def shadow(mid):
        plain.wait_messages(1)
        node.wait_done(mid)
        line = node.wait_log(r"policy for the domain \(trial\.test\) testing: ")[0]
        return "delivered in clear; log: " + line[line.index("would"):]
    t.step("MTA-STS testing: only told", "bob@" + trial.name, shadow)
    d.rest()
    mx.script(starttls="none")
    t.step("attack: STARTTLS taken away", "bob@sts.test", d.deferred("starttls-missing", mx))
    mx.script(starttls="offer", cert="self-signed")
    t.step("attack: another certificate", "bob@sts.test", d.deferred("cert-", mx))
    mx.script(cert="valid")
    d.publish(evil, None)
    seen("sts.test", evil)
    t.step("attack: DNS names another host", "bob@sts.test", d.deferred("sts-mx-mismatch", mx, evil))

    # the domain moves: another host, another policy, while the old TXT record is still in the node's cache
    m.policy_host.text = policy(mx=[new])
    m.publish(new, "2", ttl=600)
    seen("moving.test", new)
    verified = m.verified(new)

    def healed(mid):
        out = verified(mid)
        line = node.wait_log(r"policy for the domain \(moving\.test\) healed")[0]
        return out + "; " + line[line.index("healed"):]
    t.step("the policy changed: healed at once", "bob@moving.test", healed)

    m.policy_host.close()
    m.publish(new, None)
    node.restart()
    t.step("policy host dead, node restarted", "bob@moving.test", m.verified(new, 2))
    m.rest()
    new.script(starttls="none")
    t.step("… and the policy still holds", "bob@moving.test", m.deferred("starttls-missing", new))


class Dane:
    """A signed domain whose mail hosts have TLSA records."""

    def __init__(self, t, name):
        self.t, self.name = t, name
        self.zone = t.w.zone(name, signed=True)

    def host(self, label, preference=10, kind="self-signed", record=None):
        """A mail host with a certificate of this kind, and the record that matches it, or another one."""
        rx = self.t.w.mx("%s.%s" % (label, self.name))
        cert = self.t.w.ca.issue(rx.host, kind)
        rx.script(cert=cert)
        self.zone.mx(preference, rx).tlsa(rx.host, record or cert)
        return rx

    def matched(self, rx):
        """Delivered there, by a record that the log names."""
        def check(mid):
            rx.wait_messages(1, 30)
            self.t.node.wait_done(mid, 30)
            line = self.t.node.wait_log(r"TLS success .* for %s level dane" % re.escape(self.name))[-1]
            self.agrees("attempt", rx)
            return "delivered to %s%s" % (rx.host, line[line.index(" level"):])
        return check

    def deferred(self, reason, *hosts):
        def check(mid):
            node = self.t.node
            line = node.wait_log(r"Destination %s is down \(%s" % (re.escape(self.name), reason), 30)[0]
            if any(rx.attempts for rx in hosts):
                raise WorldError("it was sent all the same")
            node.ctl("removemessage", mid)
            return "deferred: " + line[line.index("(") + 1:line.rindex("): next attempt")]
        return check

    def agrees(self, verdict, rx):
        """explain says of the host what was done with it."""
        hosts = self.t.node.ctl("explain", "bob@" + self.name, want=None)["hosts"]
        said = next(h for h in hosts if h["host"] == rx.host)["verdict"]
        if said != verdict:
            raise WorldError("explain says %r of %s" % (said, rx.host))


def tour_dane(t):
    """DANE: a match, a mismatch, doubt, precedence over MTA-STS, a demand that nothing meets."""
    w, no_match = t.w, "3 1 1 " + "ab" * 32
    ee, wrong, doubt = Dane(t, "dane.test"), Dane(t, "wrong.test"), Dane(t, "doubt.test")
    both, bare = Dane(t, "both.test"), w.mx("mx1.bare.test")
    match = ee.host("mx1", kind="expired")
    other = wrong.host("mx1", kind="valid", record=no_match)
    first, second = doubt.host("mx1"), doubt.host("mx2", 20)
    doubt.zone.fault("servfail", "_%d._tcp.%s." % (w.port, first.host), "TLSA")
    own = both.host("mx1")
    ph = PolicyHost(w.ca, both.name, w.block.host(), w.port, policy(mx=["elsewhere.test"]), w.signal)
    w.others.append(ph)
    both.zone.a("mta-sts", ph.address).txt("_mta-sts", "v=STSv1; id=1;")
    must = Dane(t, "must.test")
    must.zone.mx(10, bare)
    w.zone("bare.test").host(bare)
    w.commit()
    t.step("DANE: self-signed, expired, matches", "bob@dane.test", ee.matched(match))
    t.step("DANE: the certificate is another", "bob@wrong.test", wrong.deferred("dane-failed", other))

    def passed_over(mid):
        out = doubt.matched(second)(mid)
        doubt.agrees("skip", first)
        if first.conns:
            raise WorldError("the host in doubt was connected to")
        return out
    t.step("DANE: doubt skips a host", "bob@doubt.test", passed_over)

    def superseded(mid):
        out = both.matched(own)(mid)
        line = t.node.wait_log(r"policy for the domain \(both\.test\) does not list")[0]
        return out + "; policy" + line[line.index(" does not"):]
    t.step("DANE wins over MTA-STS", "bob@both.test", superseded)
    t.step("DANE demanded, none published", "bob@must.test", must.deferred("dane-required", bare))


def tour(t):
    w = t.w
    tls, grey = w.mx("mx1.tls.test"), w.mx("mx1.grey.test", greylist(1))
    clear = w.mx("mx1.clear.test", starttls="none")
    refuse = w.mx("mx1.refuse.test", On("rcpt", "550 5.1.1 no such user here"))
    backup, big = w.mx("mx2.backup.test"), w.mx("mx1.big.test")
    several = [w.mx("mx1.several%d.test" % i) for i in (1, 2, 3)]
    for rx in (tls, grey, clear, refuse, big, *several):
        w.domain(rx.host.split(".", 1)[1], rx)
    w.domain("signed.test", w.mx("mx1.signed.test"), signed=True)
    w.zone("backup.test").mx(10, "mx1.backup.test").a("mx1", w.dead()).mx(20, backup)
    w.zone("null.test").null_mx()
    postfix = None
    try:
        postfix = w.postfix("mx1.postfix.test", ["postfix.test"])
        w.zone("postfix.test").mx(10, postfix)
    except Skip as e:
        no_postfix = str(e)
    t.node = w.postern(settings={
        "delivery": {"idle": "1s"}, "queue": {"host_down_retry": "2s", "host_down_max_retry": "2s"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port), "fetch_timeout": "5s"}},
        destinations={"must.test": {"dane": "mandatory"}}).start()
    print("Postern listens on %s port %d; its world is 127.%d.0.0/16\n" % (*t.node.smtp, w.block.n))

    t.step("delivered over TLS", "bob@tls.test", t.delivered(tls, protocol="TLSv1.3"),
           session={"tls": "starttls", "ca_file": w.ca.ca_file, "name": t.node.hostname})
    t.step("delivered in clear", "bob@clear.test", t.delivered(clear, protocol="in"))
    t.step("greylisted, then delivered", "bob@grey.test", t.delivered(
        grey, look=lambda mid, m: t.node.wait_log(r"Delayed: DCID \d+ MID %d .*4\.7\.1" % mid)))
    t.step("refused, returned to the sender", "nobody@refuse.test",
           t.returned("nobody@refuse.test", "5.1.1"))
    t.step("domain that takes no mail (null MX)", "bob@null.test", t.returned("bob@null.test", "5.1.10"))
    t.step("domain that does not exist", "bob@no-such-domain.test",
           t.returned("bob@no-such-domain.test", "5.1.2"))
    t.step("first mail host down, second takes it", "bob@backup.test", t.delivered(backup))

    def all_three(mid):
        got = [rx.wait_messages(1)[0] for rx in several]
        t.node.wait_done(mid)
        if any(len(m.rcpts) != 2 for m in got):
            raise WorldError("recipients came apart: %r" % got)
        return "delivered: " + ", ".join("%d at %s" % (len(m.rcpts), m.receiver.host) for m in got)
    t.step("several recipients, several domains", ["%s@several%d.test" % (u, i) for u in ("bob", "carol")
                                                   for i in (1, 2, 3)], all_three)
    data = message(SENDER, ["bob@big.test"], subject="big", body=bulk(20 << 20))

    def same(mid, m):
        if not m.data.endswith(data):
            raise WorldError("the message was changed")
    t.step("20 MB", "bob@big.test", t.delivered(big, look=same), data)
    if postfix is None:
        t.skip("Postfix as receiver", no_postfix)
    else:
        def in_postfix(mid):
            stored, = postfix.wait_messages(1)
            t.node.wait_done(mid)
            said = t.node.wait_log(r"MID %d RID \[0\] Response" % mid)[0]
            return "stored by Postfix (%d bytes, %s); it answered %s" % (
                len(stored), "TLSv1.3" if b"TLSv1.3" in stored else "no TLS",
                said[said.index("Response") + 9:])
        t.step("Postfix as receiver", "bob@postfix.test", in_postfix)

    tour_sts(t)
    tour_dane(t)
    t.node.wait_empty()
    left, right, m = t.node.conservation()
    print("\nrecipients: %d accepted + %d generated = %d delivered + %d bounced + %d expired + %d removed "
          "+ %d queued" % tuple(int(m.get("postern_recipients_" + k, 0)) for k in (
              "accepted_total", "generated_total", "delivered_total", "bounced_total", "expired_total",
              "removed_total", "queued")))
    if left != right:
        t.failed += 1
        print("FAILED: the two sides differ")
    for fault in w.faults():
        t.failed += 1
        print("FAILED: the receiver noted: " + fault)
    t.node.stop()


def main():
    start = time.monotonic()
    with World() as world:
        t = Tour(world)
        try:
            tour(t)
        except Exception:
            t.failed += 1
            traceback.print_exc()
        if t.failed and t.node is not None:
            print("\nPostern's log ends:\n" + t.node.tail(60))
        print("\n%d messages, %s, %.1f s" % (t.count, "all as expected" if not t.failed else
                                             "%d FAILED" % t.failed, time.monotonic() - start))
    sys.exit(1 if t.failed else 0)


if __name__ == "__main__":
    main()
