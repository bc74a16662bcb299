"""MTA-STS through the real processes: discovery, enforcement, attacks, cache, heal."""
import re
import time

from harness import contains, equal, main, test
from tests.world.base import poll
from tests.world.policy import PolicyHost, policy

SENDER = "sender@client.test"


def setup(w):
    return w.postern(settings={
        "delivery": {"idle": "1s", "connect_timeout": "2s"},
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port), "fetch_timeout": "3s",
                    "connect_timeout": "2s"},
    }, destinations={".must.test": {"mta_sts": "mandatory"}, "off.test": {"mta_sts": "off"}}).start()


def domain(w, name, *hosts, id="1", **kw):
    """A domain with MX hosts, a TXT record, and a policy host. Returns (zone, policy host)."""
    zone = w.domain(name, *hosts)
    ph = PolicyHost(w.ca, name, w.block.host(), w.port, kw.pop("text", policy(mx=hosts)), w.signal, **kw)
    w.others.append(ph)
    zone.a("mta-sts", ph.address, ttl=1)
    if id is not None:
        zone.txt("_mta-sts", "v=STSv1; id=%s;" % id, ttl=1)
    w.commit()
    return zone, ph


def announce(w, node, zone, id):
    zone.remove("_mta-sts", "TXT")
    if id is not None:
        zone.txt("_mta-sts", "v=STSv1; id=%s;" % id, ttl=1)
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")


def send(node, domain):
    return node.submit(SENDER, ["a@" + domain])


def delivered(node, mx, domain, n=1):
    mid = send(node, domain)
    mx.wait_messages(n, match=lambda m: "a@" + domain in m.rcpts)
    node.wait_done(mid)
    return mid


def deferred(node, domain, *hosts, reason=""):
    """It waits with this reason, and no host has seen the message."""
    mid = send(node, domain)
    node.wait_log(r"Destination %s is down \(.*%s" % (re.escape(domain), reason))
    for host in hosts:
        equal([m for m in host.messages if "a@" + domain in m.rcpts], [])
    node.ctl("removemessage", mid)
    return mid


def idle(node):
    """No connection is open and no destination held: the next message begins with the facts."""
    poll(lambda: node.metrics()["postern_delivery_destinations"] == 0, 10, "an idle node")


# ---- enforce ----

@test
def enforce_is_delivered_with_the_verified_name(w, node):
    mx = w.mx("mx1.good.test")
    zone, ph = domain(w, "good.test", mx)
    delivered(node, mx, "good.test")
    contains(ph.requests[0], "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.good.test\r\n")
    node.wait_log(r"Successfully fetched MTA-STS TXT record for domain \(good\.test\)")
    node.wait_log(r"Applying MTA-STS policy for the domain \(good\.test\)")
    node.wait_log(r"TLS success .* for good\.test level verify name mx1\.good\.test rule sts-enforce")
    node.wait_log(r"MTA-STS policy for the domain \(good\.test\) Successful\.")
    doc = node.ctl("explain", "a@good.test")
    equal((doc["sts"]["state"], doc["sts"]["mode"], doc["sts"]["id"], doc["sts"]["source"]),
          ("policy", "enforce", "1", "cache"))
    equal((doc["hosts"][0]["level"], doc["hosts"][0]["names"]), ("verify", ["mx1.good.test"]))
    equal(len(ph.requests), 1)


@test
def mx_filter_in_order(w, node):
    """A host that is not listed is passed over, whatever its preference (STS-42)."""
    evil, good = w.mx("mx0.evil.test"), w.mx("mx1.order.test")
    w.zone("evil.test").host(evil)
    domain(w, "order.test", evil, good, text=policy(mx=[good]))
    delivered(node, good, "order.test")
    equal((len(evil.attempts), len(evil.conns)), (0, 0))
    node.wait_log(r"MTA-STS policy for the domain \(order\.test\) does not list mx0\.evil\.test: skipped "
                  r"\(lists mx1\.order\.test\)")


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
def an_expired_policy_is_none(w, node):
    """Its host stays away until it expires: then, and not before, mail goes as without (STS-40)."""
    mx = w.mx("mx1.exp.test", starttls="none")
    zone, ph = domain(w, "exp.test", mx, text=policy(mx=["mx1.exp.test"], max_age=6))
    mid = send(node, "exp.test")
    node.wait_log(r"Destination exp\.test is down \(starttls-missing")
    ph.close()
    equal(mx.messages, [])
    # retried by itself, again and again, and only then
    node.wait_done(mid)
    node.wait_log(r"MTA-STS policy for the domain \(exp\.test\) has expired: id 1 mode enforce")


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


# ---- without a policy ----

@test
def testing_delivers_and_says(w, node):
    mx = w.mx("mx1.testing.test", starttls="none")
    domain(w, "testing.test", mx, text=policy("testing", ["other.testing.test"]))
    delivered(node, mx, "testing.test")
    node.wait_log(r"MTA-STS policy for the domain \(testing\.test\) testing: would have failed: "
                  r"does not list mx1\.testing\.test")


@test
def testing_checks_in_the_shadow(w, node):
    """Delivered as without a policy, and what enforce would have said is told once each (STS-47)."""
    for name, kw, reason in (
            ("clear", {"starttls": "none"}, "starttls-missing: the host did not offer STARTTLS"),
            ("broken", {"starttls": "broken"}, "tls-handshake-failed: "),
            ("untrusted", {"cert": "self-signed"}, "cert-untrusted: "),
            ("expired", {"cert": "expired"}, "cert-expired: "),
            ("wrong", {"cert": "wrong-name"}, "cert-name-mismatch: certificate of mx1.t-wrong.test is for")):
        host = "mx1.t-%s.test" % name
        mx = w.mx(host, **kw)
        domain(w, "t-%s.test" % name, mx, text=policy("testing", [host]))
        delivered(node, mx, "t-%s.test" % name)
        said = r"MTA-STS policy for the domain \(t-%s\.test\) testing: would have failed: DCID \d+ %s: %s"
        node.wait_log(said % (name, re.escape(host), re.escape(reason)))
        equal(len(node.lines(said % (name, ".*", ""))), 1)
    mx = w.mx("mx1.t-good.test")
    domain(w, "t-good.test", mx, text=policy("testing", [mx]))
    delivered(node, mx, "t-good.test")
    equal(node.lines(r"t-good\.test.*would have failed"), [])
    assert node.metrics()["postern_delivery_sts_testing_failures_total"] >= 5


@test
def none_and_off(w, node):
    mx = w.mx("mx1.none-mode.test", starttls="none")
    domain(w, "none-mode.test", mx, text=policy("none"))
    delivered(node, mx, "none-mode.test")
    mx = w.mx("mx1.off.test", starttls="none")
    zone, ph = domain(w, "off.test", mx)
    delivered(node, mx, "off.test")
    equal(ph.connections, 0)


@test(timeout=60)
def fetch_failures_deliver_as_without(w, node):
    """A first fetch that fails for any reason (STS-34), each with its reason in the log."""
    for manner, reason in (("404", "HTTP status 404"), ("redirect", "redirects are not followed"),
                           ("html", "media type is text/html"), ("oversize", "over 65536 bytes"),
                           ("drip", "time"), ("hang", "time"), ("tls11", "")):
        name = "f-%s.test" % manner
        mx = w.mx("mx1." + name, starttls="none")
        domain(w, name, mx, manner=manner)
        delivered(node, mx, name)
        node.wait_log(r"Failed to fetch MTA-STS policy for the domain \(%s\): .*%s" % (
            re.escape(name), reason))
    for kind in ("cn-only", "self-signed", "expired", "wrong-name"):
        name = "c-%s.test" % kind
        mx = w.mx("mx1." + name, starttls="none")
        domain(w, name, mx, cert=kind)
        delivered(node, mx, name)
        node.wait_log(r"Failed to fetch MTA-STS policy for the domain \(%s\): certificate of" % re.escape(name))


@test
def mandatory_without_a_policy(w, node):
    """No policy, one that does not enforce, and one that does."""
    mx = w.mx("mx1.a.must.test")
    zone = w.domain("a.must.test", mx)
    w.commit()
    deferred(node, "a.must.test", mx, reason="sts-required")
    for mode in ("testing", "none"):
        name = "%s.must.test" % mode
        mx = w.mx("mx1." + name)
        domain(w, name, mx, text=policy(mode, [mx]))
        deferred(node, name, mx, reason="sts-required")
    mx = w.mx("mx1.yes.must.test")
    domain(w, "yes.must.test", mx)
    delivered(node, mx, "yes.must.test")


@test
def discovery_in_doubt_waits(w, node):
    """TXT fails, nothing stored: nothing is sent (STS-13)."""
    mx = w.mx("mx1.doubt.test", starttls="none")
    zone, ph = domain(w, "doubt.test", mx)
    zone.fault("servfail", "_mta-sts", "TXT")
    w.commit()
    mid = send(node, "doubt.test")
    node.wait_log(r"Destination doubt\.test is down \(.*sts-discovery-wait")
    equal(mx.messages, [])
    ph.text = policy("none")
    zone.fault(None, "_mta-sts", "TXT")
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")
    node.ctl("delivernow", "doubt.test")
    node.wait_done(mid)


@test
def private_addresses_are_refused(w, shared):
    mx = w.mx("mx1.private.test", starttls="none")
    node = w.postern(settings={"mta-sts": {"port": str(w.port)}}).start()
    zone, ph = domain(w, "private.test", mx)
    delivered(node, mx, "private.test")
    equal(ph.connections, 0)
    node.wait_log(r"Failed to fetch MTA-STS policy for the domain \(private\.test\): .*not public")


# ---- posternctl ----

@test
def an_operator_looks_and_refreshes(w, node):
    mx = w.mx("mx1.op.test")
    zone, ph = domain(w, "op.test", mx, text=policy(mx=["*.op.test"], max_age=1000))
    equal(node.ctl("sts", "show", "op.test", want=1)["error"]["code"], 404)
    doc = node.ctl("sts", "refresh", "op.test")
    equal((doc["state"], doc["source"], doc["mode"], doc["id"], doc["mx"]),
          ("policy", "fetched", "enforce", "1", ["*.op.test"]))
    doc = node.ctl("sts", "show", "OP.test")
    equal((doc["mode"], doc["max_age_s"], doc["mx"], doc["failures"], doc["text"]),
          ("enforce", 1000, ["*.op.test"], 0, ph.text))
    ph.manner = "404"
    doc = node.ctl("sts", "refresh", "op.test", want=1)
    equal((doc["state"], doc["source"], doc["mode"]), ("policy", "cache", "enforce"))
    contains(doc["reason"], "HTTP status 404")
    doc = node.ctl("sts", "show", "op.test")
    equal((doc["failures"], doc["last_error"]), (1, "HTTP status 404"))
    contains([p["domain"] for p in node.ctl("sts", "list")["policies"]], "op.test")
    doc = node.ctl("sts", "list", "--after", "op.tes", "--limit", "1")
    equal([p["domain"] for p in doc["policies"]], ["op.test"])
    contains(node.ctl("sts", "show", "op.test", raw=True), "*.op.test")
    contains(node.ctl("sts", "list", raw=True), "enforce")
    equal(node.ctl("sts", "refresh", "nothing.op.test", want=1)["state"], "none")
    # the offline tool against the same host
    ph.manner = "ok"
    doc = node.ctl("sts", "fetch", "--domain", "op.test", "--ca", w.ca.ca_file,
                   "--connect", "%s:%d" % (ph.address, ph.port))
    equal((doc["outcome"], doc["mode"], doc["mx"]), ("policy", "enforce", ["*.op.test"]))
    ph.cert = "cn-only"
    doc = node.ctl("sts", "fetch", "--domain", "op.test", "--ca", w.ca.ca_file,
                   "--connect", "%s:%d" % (ph.address, ph.port), want=1)
    equal((doc["outcome"], doc["tlsrpt_result"]), ("fetch-error", "sts-webpki-invalid"))


# ---- time ----

@test
def metrics_tell(w, node):
    m = node.metrics()
    assert m['postern_sts_fetches_total{result="ok"}'] >= 5, m
    assert m['postern_sts_fetches_total{result="certificate"}'] >= 4, m
    assert m['postern_sts_policies{mode="enforce"}'] >= 5, m
    assert m["postern_sts_kept_total"] >= 1, m


@test
def healed_at_once(w, node):
    """The MX moved with the policy, and the DNS cache still has the old id (STS-45)."""
    old, new = w.mx("mx1.heal.test"), w.mx("mx2.heal.test")
    zone, ph = domain(w, "heal.test", old)
    zone.remove("@", "MX").mx(10, old, ttl=1)
    zone.remove("_mta-sts", "TXT").txt("_mta-sts", "v=STSv1; id=1;", ttl=600)
    w.commit()
    delivered(node, old, "heal.test")
    idle(node)
    ph.text = policy(mx=[new])
    zone.clear()
    zone.mx(10, new, ttl=1).a("mta-sts", ph.address)
    zone.txt("_mta-sts", "v=STSv1; id=2;", ttl=600)
    w.commit()
    w.dns.flush()
    # the MX record of the node's cache is gone after its second, the TXT record stays in it
    poll(lambda: node.ctl("explain", "a@heal.test", want=None)["hosts"][0]["host"] == new.host, 10, "the new MX")
    equal(node.ctl("explain", "a@heal.test", want=None)["sts"]["id"], "1")
    equal(node.ctl("explain", "a@heal.test", want=None)["outcome"], "defer")
    delivered(node, new, "heal.test")
    equal(len(ph.requests), 2)
    node.wait_log(r"MTA-STS policy for the domain \(heal\.test\) healed by refresh: id 1 to 2")


@test
def survives_a_restart_with_a_dead_policy_host(w, node):
    mx = w.mx("mx1.stay.test")
    zone, ph = domain(w, "stay.test", mx)
    delivered(node, mx, "stay.test")
    idle(node)
    ph.close()
    announce(w, node, zone, None)
    node.kill("policyd")
    node.wait_log(r"policyd 0 is ready", n=2)
    delivered(node, mx, "stay.test", n=2)
    node.wait_log(r"TLS success .* for stay\.test level verify .* rule sts-enforce", n=2)


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
