"""MTA-STS against those who want the mail in clear or at the wrong host: nothing they do has it sent."""
import re
import time

from harness import contains, equal, main, test
from sts import SENDER, announce, deferred, delivered, domain, idle, send, setup
from tests.world.policy import policy


@test
def attack_spoofed_mx(w, node):
    evil = w.mx("mx.spoof-evil.test")
    w.zone("spoof-evil.test").host(evil)
    domain(w, "spoof.test", evil, text=policy(mx=["mx.spoof.test"]))
    deferred(node, "spoof.test", evil,
             reason=r"sts-mx-mismatch: .*policy 1 \(enforce\) does not list mx\.spoof-evil\.test, but mx\.spoof\.test")
    equal(len(evil.conns), 0)


@test
def attack_starttls_stripped(w, node):
    mx = w.mx("mx1.strip.test", starttls="none")
    domain(w, "strip.test", mx)
    deferred(node, "strip.test", mx, reason="starttls-missing")


@test
def attack_starttls_refused_or_broken(w, node):
    for how in ("refuse", "broken", "garbage"):
        mx = w.mx("mx1.%s.test" % how, starttls=how)
        domain(w, "%s.test" % how, mx)
        deferred(node, "%s.test" % how, mx)


@test
def attack_certificates(w, node):
    for kind, reason in (("self-signed", "cert-untrusted"), ("expired", "cert-expired"),
                         ("wrong-name", "cert-name-mismatch"), ("cn-only", "cert-name-mismatch")):
        mx = w.mx("mx1.%s.test" % kind, cert=kind)
        domain(w, "%s.test" % kind, mx)
        deferred(node, "%s.test" % kind, mx, reason=reason)
        counted = 'postern_sts_refusals_total{reason="%s"}' % reason
        assert node.metrics()[counted] >= 1, counted


@test
def attack_old_protocol(w, node):
    """TLS 1.1 is no TLS under a policy (STS-43)."""
    mx = w.mx("mx1.old.test", tls_max="TLSv1_1")
    domain(w, "old.test", mx)
    deferred(node, "old.test", mx, reason="tls-handshake-failed")


@test
def attack_certificate_swapped(w, node):
    """After a verified session, which must not be resumed into another identity; SNI is the host (STS-50)."""
    mx = w.mx("mx1.swap.test")
    domain(w, "swap.test", mx)
    delivered(node, mx, "swap.test")
    equal(mx.messages[0].tls.sni, "mx1.swap.test")
    idle(node)
    for kind in ("self-signed", "wrong-name", "cn-only"):
        mx.script(cert=kind)
        deferred(node, "swap.test", reason="cert-")
    equal(len(mx.messages), 1)
    mx.script(cert="valid")
    delivered(node, mx, "swap.test", n=2)


@test
def attack_spoofed_mx_after_caching(w, node):
    """DNS lies about the MX and hides the TXT record: only the stored policy is left, and holds."""
    mx, evil = w.mx("mx1.moved.test"), w.mx("mx1.moved-evil.test")
    w.zone("moved-evil.test").host(evil)
    zone, ph = domain(w, "moved.test", mx)
    zone.remove("@", "MX").mx(10, mx, ttl=1)
    w.commit()
    delivered(node, mx, "moved.test")
    idle(node)
    ph.close()
    zone.remove("@", "MX").mx(10, evil, ttl=1)
    announce(w, node, zone, None)
    mid = send(node, "moved.test")
    node.wait_log(r"Destination moved\.test is down \(sts-mx-mismatch: .*policy 1 \(enforce\) does not list "
                  r"mx1\.moved-evil\.test, but mx1\.moved\.test")
    equal((len(evil.conns), len(mx.messages)), (0, 1))
    node.ctl("removemessage", mid)


@test(timeout=150)
def attack_policy_host_after_caching(w, node):
    """A new id is announced, and what the policy host says to it is worth nothing: each time the stored
    policy holds, and mail does not go in clear (STS-27 … STS-29, STS-37)."""
    mx = w.mx("mx1.pol.test")
    zone, ph = domain(w, "pol.test", mx)
    delivered(node, mx, "pol.test")
    idle(node)
    mx.script(starttls="none")
    for i, (manner, text, cert, reason) in enumerate([
            ("redirect", None, "valid", "redirects are not followed"), ("404", None, "valid", "HTTP status 404"),
            ("html", None, "valid", "media type"), ("oversize", None, "valid", "over 65536 bytes"),
            ("drip", None, "valid", "time"), ("hang", None, "valid", "time"), ("close", None, "valid", ""),
            ("ok", "version: STSv1\nmode: none\nmax_age: 1x\n", "valid", "invalid policy"),
            ("ok", "<html>mode: none</html>", "valid", "invalid policy"),
            ("ok", policy("none"), "self-signed", "certificate"), ("ok", policy("none"), "cn-only", "certificate")]):
        ph.manner, ph.cert = manner, cert
        ph.text = text or policy("none")
        announce(w, node, zone, "new%d" % i)
        at = node.log_size()
        mid = send(node, "pol.test")
        node.wait_log(r"Failed to fetch MTA-STS policy for the domain \(pol\.test\): .*%s" % reason, since=at)
        node.wait_log(r"MTA-STS cached policy for the domain \(pol\.test\) kept: fetch failed", since=at)
        node.wait_log(r"Destination pol\.test is down \(starttls-missing", since=at)
        node.ctl("removemessage", mid)
        idle(node)
    equal(len(mx.messages), 1)
    equal(node.ctl("sts", "show", "pol.test")["id"], "1")


@test
def two_domains_on_one_mx(w, node):
    """One host with a bad certificate: the domain without a policy is served, the other is not, and neither the
    connection nor the TLS session of the one is used for the other (STS-51)."""
    mx = w.mx("mx1.both.test", cert="self-signed")
    domain(w, "both.test", mx)
    w.domain("plain-both.test", mx)
    w.commit()
    delivered(node, mx, "plain-both.test")
    deferred(node, "both.test", mx, reason="cert-untrusted")
    delivered(node, mx, "plain-both.test", n=2)
    mx.script(cert="valid")
    delivered(node, mx, "both.test")
    equal([m.tls is not None for m in mx.messages], [True] * 3)


@test(timeout=60)
def the_notice_names_the_policy(w, node):
    """Expiry is the only way to a bounce, and its notice says why, with the patterns (STS-46)."""
    evil, home = w.mx("mx.dsn-evil.test"), w.mx("mx1.client.test")
    w.domain("client.test", home)
    w.zone("dsn-evil.test").host(evil)
    domain(w, "dsn.test", evil, text=policy(mx=["a.dsn.test", "*.b.dsn.test"]))
    own = w.postern(settings={
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "1s"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port)},
    }, bounce={"profile default": {"max_queue_time": "4s", "initial_retry": "1s", "max_retry": "1s"}}).start()
    send(own, "dsn.test")
    dsn, = home.wait_messages(1, match=lambda m: b"a@dsn.test" in m.data and m.mail_from == "")
    text = dsn.data.decode()
    contains(text, "Status: 4.7.5")
    flat = " ".join(text.split())
    for part in ("mx.dsn-evil.test", "a.dsn.test", "*.b.dsn.test", "does not list"):
        contains(flat, part)
    equal(evil.conns, [])


@test
def attack_txt_suppressed_after_caching(w, node):
    """And the MX host is replaced: the stored policy holds (STS-35, STS-36)."""
    mx = w.mx("mx1.gone.test")
    zone, ph = domain(w, "gone.test", mx)
    delivered(node, mx, "gone.test")
    idle(node)
    ph.close()
    announce(w, node, zone, None)
    mx.script(starttls="none")
    mid = send(node, "gone.test")
    node.wait_log(r"MTA-STS cached policy for the domain \(gone\.test\) kept: no TXT record")
    node.wait_log(r"Destination gone\.test is down \(")
    equal(len([m for m in mx.messages if not m.tls]), 0)
    mx.script()
    mx.script(starttls="offer")
    node.ctl("delivernow", "gone.test")
    node.wait_done(mid)


@test
def attack_https_blocked(w, node):
    """A new id whose fetch fails leaves the old policy in force (STS-37)."""
    mx = w.mx("mx1.block.test")
    zone, ph = domain(w, "block.test", mx)
    delivered(node, mx, "block.test")
    idle(node)
    ph.manner = "close"
    announce(w, node, zone, "2")
    delivered(node, mx, "block.test", n=2)
    node.wait_log(r"Failed to fetch MTA-STS policy for the domain \(block\.test\): ")
    show = node.ctl("explain", "a@block.test")["sts"]
    equal((show["state"], show["mode"], show["id"]), ("policy", "enforce", "1"))


@test
def a_host_that_hangs_delays_nobody_else(w, node):
    slow = w.mx("mx1.hang.test", starttls="none")
    domain(w, "hang.test", slow, manner="hang")
    fast = w.mx("mx1.brisk.test")
    w.domain("brisk.test", fast)
    w.commit()
    first = send(node, "hang.test")
    start = time.monotonic()
    delivered(node, fast, "brisk.test")
    assert time.monotonic() - start < 2, time.monotonic() - start
    equal(slow.messages, [])
    node.wait_done(first)


@test(timeout=90)
def a_hang_leaves_a_hundred_others_alone(w, node):
    """A policy host that hangs (30 s by setting; 60 s is the default) delays its own destination only: mail to 100
    other domains is through before it is given up, at the rate of mail without it."""
    own = w.postern(settings={
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port), "fetch_timeout": "30s",
                    "connect_timeout": "30s"}}).start()
    slow, fast = w.mx("mx1.hang60.test", starttls="none"), w.mx("mx1.hundred.test")
    domain(w, "hang60.test", slow, manner="hang")
    w.zone("hundred.test").host(fast)
    for i in range(100):
        w.domain("n%d.hundred.test" % i, fast)
        w.domain("m%d.hundred.test" % i, fast)
    w.commit()

    def hundred(prefix):
        start = time.monotonic()
        for i in range(0, 100, 10):
            own.submit(SENDER, ["a@%s%d.hundred.test" % (prefix, k) for k in range(i, i + 10)])
        fast.wait_messages(100, 60, lambda m: m.rcpts[0].startswith("a@" + prefix))
        return time.monotonic() - start
    alone = hundred("n")
    first = send(own, "hang60.test")
    own.wait_log(r"Successfully fetched MTA-STS TXT record for domain \(hang60\.test\)")
    beside = hundred("m")
    print("# 100 domains: %.2f s without, %.2f s beside a policy host that hangs" % (alone, beside))
    equal(own.lines(r"Failed to fetch MTA-STS policy for the domain \(hang60"), [])
    equal(slow.messages, [])
    assert beside < 2 * alone + 2, (alone, beside)
    own.ctl("removemessage", first)


if __name__ == "__main__":
    main(setup)
