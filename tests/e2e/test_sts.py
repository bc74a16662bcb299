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
    }, destinations={"must.test": {"mta_sts": "mandatory"}, "off.test": {"mta_sts": "off"}}).start()


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
    node.wait_log(r"MTA-STS policy for the domain \(order\.test\) does not list mx0\.evil\.test: skipped")


@test
def attack_spoofed_mx(w, node):
    evil = w.mx("mx.spoof-evil.test")
    w.zone("spoof-evil.test").host(evil)
    domain(w, "spoof.test", evil, text=policy(mx=["mx.spoof.test"]))
    deferred(node, "spoof.test", evil, reason="sts-mx-mismatch")
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
    mx = w.mx("mx1.must.test")
    zone = w.domain("must.test", mx)
    w.commit()
    deferred(node, "must.test", mx, reason="sts-required")


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


if __name__ == "__main__":
    main(setup)
