"""MTA-STS through the real processes: discovery, enforcement, cache, heal. Attacks: test_sts_attacks.py."""
import re

from harness import contains, equal, main, test
from sts import SENDER, announce, deferred, delivered, domain, idle, send, setup
from tests.world.base import poll
from tests.world.policy import policy


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


# ---- names ----

@test
def delegated_by_aliases(w, node):
    """Both names of the policy are aliases into another zone; the certificate is still the domain's (STS-01, STS-52)."""
    mx = w.mx("mx1.alias.test")
    zone, ph = domain(w, "alias.test", mx, id=None)
    zone.remove("mta-sts").cname("_mta-sts", "_sts.host-of-policies.test.").cname("mta-sts", "web.host-of-policies.test.")
    w.zone("host-of-policies.test").txt("_sts", "v=STS", "v1; id=1;").a("web", ph.address)
    w.commit()
    delivered(node, mx, "alias.test")
    equal(node.ctl("sts", "show", "alias.test")["mode"], "enforce")
    contains(ph.requests[0], "Host: mta-sts.alias.test\r\n")


@test
def subdomains_do_not_inherit(w, node):
    """(STS-49)"""
    parent, mx = w.mx("mx1.parent.test"), w.mx("mx1.sub.parent.test", starttls="none")
    zone, ph = domain(w, "parent.test", parent)
    delivered(node, parent, "parent.test")
    zone.mx(10, mx, name="sub").a("mx1.sub", mx.address)
    w.commit()
    delivered(node, mx, "sub.parent.test")
    equal(node.ctl("sts", "show", "sub.parent.test", want=1)["error"]["code"], 404)


@test
def implicit_mx_is_the_domain_itself(w, node):
    """(STS-56), and a domain is one whatever its case (STS-57)"""
    mx = w.mx("implicit.test")
    zone, ph = domain(w, "implicit.test", text=policy(mx=["implicit.test"]))
    zone.a("@", mx.address)
    w.commit()
    delivered(node, mx, "implicit.test")
    node.wait_log(r"for implicit\.test level verify name implicit\.test rule sts-enforce")
    mid = node.submit(SENDER, ["a@IMPLICIT.Test"])
    node.wait_done(mid)
    node.wait_log(r"for implicit\.test level verify name implicit\.test rule sts-enforce")
    equal(len(ph.requests), 1)


@test
def the_name_in_the_mx_record_counts(w, node):
    """For the patterns, the certificate and SNI: not the name that it is an alias of (STS-41, STS-44, STS-50)."""
    mx = w.mx("mx1.as.test")
    zone, ph = domain(w, "as.test", mx)
    w.zone("is.test").a("real", mx.address)
    zone.remove("mx1").cname("mx1", "real.is.test")
    w.commit()
    delivered(node, mx, "as.test")
    node.wait_log(r"for as\.test level verify name mx1\.as\.test rule sts-enforce")
    equal(mx.messages[0].tls.sni, "mx1.as.test")
    other = w.mx("mx1.as2.test")
    zone, ph = domain(w, "as2.test", other, text=policy(mx=["real.is.test"]))
    zone.remove("mx1").cname("mx1", "real.is.test")
    w.commit()
    deferred(node, "as2.test", mx, reason=r"sts-mx-mismatch: .*does not list mx1\.as2\.test, but real\.is\.test")
    equal(len(mx.messages), 1)


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
def a_policy_host_in_doubt_waits(w, node):
    """TXT says that there is a policy, its host cannot be looked up, nothing is stored: nothing is sent (STS-13)."""
    mx = w.mx("mx1.lost.test", starttls="none")
    zone, ph = domain(w, "lost.test", mx)
    for kind in ("A", "AAAA"):
        zone.fault("servfail", "mta-sts", kind)
    w.commit()
    mid = send(node, "lost.test")
    node.wait_log(r"Destination lost\.test is down \(.*sts-discovery-wait")
    node.wait_log(r"Failed to fetch MTA-STS policy for the domain \(lost\.test\): address of mta-sts\.lost\.test: servfail")
    equal(mx.messages, [])
    ph.text = policy("none")
    for kind in ("A", "AAAA"):
        zone.fault(None, "mta-sts", kind)
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")
    # no pause of five minutes: the owner has not failed
    node.ctl("delivernow", "lost.test")
    node.wait_done(mid)


@test
def without_ca_certificates_mail_waits(w, shared):
    """This node cannot judge a policy host: that is told aloud, and is never "no policy"."""
    node = w.postern(settings={
        "trust": {"ca_file": ""}, "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port)}}, destinations={
            ".must.test": {"mta_sts": "mandatory"}}).start()
    said = r"Critical: policyd: no CA certificates from any file: no MTA-STS policy can be fetched"
    node.wait_log(said)
    mx = w.mx("mx1.blind.test", starttls="none")
    zone, ph = domain(w, "blind.test", mx, text=policy("none"))
    mid = send(node, "blind.test")
    node.wait_log(r"Failed to fetch MTA-STS policy for the domain \(blind\.test\): this node has no CA certificates")
    node.wait_log(r"Destination blind\.test is down \(.*sts-discovery-wait")
    must = w.mx("mx1.blind.must.test")
    domain(w, "blind.must.test", must)
    deferred(node, "blind.must.test", must, reason="sts-")
    plain = w.mx("mx1.blind-plain.test", starttls="none")
    w.domain("blind-plain.test", plain)
    w.commit()
    delivered(node, plain, "blind-plain.test")
    equal((mx.messages, ph.connections), ([], 0))
    doc = node.ctl("status", want=1)
    equal([(a["process"], "no CA certificates" in a["text"]) for a in doc["alerts"]], [("policyd", True)])
    equal(node.metrics()["postern_sts_can_fetch"], 0)
    node.settings["trust"]["ca_file"] = w.ca.ca_file
    node.reload()
    poll(lambda: node.metrics()["postern_sts_can_fetch"] == 1, 30, "the certificates")
    node.ctl("delivernow", "blind.test")
    node.wait_done(mid)
    equal((len(mx.messages), len(node.lines(said)), node.ctl("status")["alerts"]), (1, 1, []))


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

@test(timeout=60)
def metrics_tell(w, node):
    """Each kind of event, and the counter that it must move."""
    before = node.metrics()

    def grown(name, by=1):
        now = node.metrics()
        assert now[name] >= before.get(name, 0) + by, (name, before.get(name), now.get(name))

    mx = w.mx("mx1.m-good.test")
    zone, ph = domain(w, "m-good.test", mx)
    delivered(node, mx, "m-good.test")
    grown('postern_sts_fetches_total{result="ok"}')
    grown('postern_sts_policies{mode="enforce"}')
    ph.manner = "404"
    node.ctl("sts", "refresh", "m-good.test", want=1)
    grown("postern_sts_kept_total")
    untrusted = w.mx("mx1.m-cert.test")
    domain(w, "m-cert.test", untrusted, cert="self-signed")
    delivered(node, untrusted, "m-cert.test")
    grown('postern_sts_fetches_total{result="certificate"}')
    mx = w.mx("mx1.m-other.test")
    domain(w, "m-other.test", mx, text=policy(mx=["else.m-other.test"]))
    deferred(node, "m-other.test", mx)
    mx = w.mx("mx1.m-clear.test", starttls="none")
    domain(w, "m-clear.test", mx)
    deferred(node, "m-clear.test", mx)
    mx = w.mx("mx1.m.must.test")
    w.domain("m.must.test", mx)
    w.commit()
    deferred(node, "m.must.test", mx)
    mx = w.mx("mx1.m-doubt.test")
    zone, ph = domain(w, "m-doubt.test", mx)
    zone.fault("servfail", "_mta-sts", "TXT")
    w.commit()
    deferred(node, "m-doubt.test", mx)
    grown("postern_sts_discovery_indeterminate_total")
    for reason in ("sts-mx-mismatch", "sts-required", "sts-discovery-wait", "starttls-missing"):
        grown('postern_sts_refusals_total{reason="%s"}' % reason)
    m = node.metrics()
    equal(m['postern_sts_policies_by_age{mode="enforce",age="under_1d"}'], m['postern_sts_policies{mode="enforce"}'])


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


@test(timeout=90)
def the_last_look_before_a_bounce(w, shared):
    """The host is tried again in an hour only, the mail expires before. One policy was mended meanwhile: delivered. The
    other's host is dead, and the stored policy still refuses: bounced, and the notice says why (STS-45)."""
    home, good, evil = w.mx("mx1.client.test"), w.mx("mx1.mended.test"), w.mx("mx1.dead-evil.test")
    w.domain("client.test", home)
    w.zone("dead-evil.test").host(evil)
    zone, ph = domain(w, "mended.test", good, text=policy(mx=["mx9.mended.test"]))
    dead_zone, dead_ph = domain(w, "dead.test", evil, text=policy(mx=["a.dead.test", "*.b.dead.test"]))
    node = w.postern(settings={
        "delivery": {"idle": "1s", "connect_timeout": "2s"},
        "queue": {"host_down_retry": "1h", "host_down_max_retry": "1h"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port), "fetch_timeout": "3s",
                    "connect_timeout": "2s"},
    }, bounce={"profile default": {"max_queue_time": "12s", "initial_retry": "1s", "max_retry": "1s"}}).start()
    mid = node.submit(SENDER, ["a@mended.test"])
    node.submit(SENDER, ["a@dead.test"])
    for name in ("mended", "dead"):
        node.wait_log(r"Destination %s\.test is down \(.*sts-mx-mismatch" % name)
    ph.text = policy(mx=[good])
    dead_ph.close()
    announce(w, node, dead_zone, None)
    announce(w, node, zone, "2")
    equal(node.lines("is looked at once more"), [])  # all of this was in time
    node.wait_log(r"Destination mended\.test is looked at once more before mail expires \(sts-mx-mismatch\)", timeout=60)
    good.wait_messages(1)
    node.wait_done(mid)
    node.wait_log(r"TLS success .* for mended\.test level verify name mx1\.mended\.test rule sts-enforce")
    dsn, = home.wait_messages(1, match=lambda m: m.mail_from == "")
    text = dsn.data.decode()
    contains(text, "Status: 4.7.5")
    for part in ("a@dead.test", "mx1.dead-evil.test", "a.dead.test", "*.b.dead.test", "does not list"):
        contains(" ".join(text.split()), part)
    equal(len(node.lines(r"Destination dead\.test is down \(.*sts-mx-mismatch")), 2)
    equal((evil.conns, len(home.messages)), ([], 1))


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


if __name__ == "__main__":
    main(setup)
