"""DANE in deliveries: zones signed by knot, validated by unbound, certificates of all kinds, DNS that fails."""
import hashlib
import re
import subprocess

import agree
from dane import TLSA, cert_of, deferred, delivered, domain, level, node_of, published
from harness import equal, main, raises, test
from sts import SENDER, idle, send
from tests.world.base import poll
from tests.world.policy import PolicyHost, policy

def setup(w):
    return node_of(w).start()


# ---- what matches ----

@test
def self_signed_and_expired_matches(w, node):
    """DANE-EE: no name, no date, no chain (DANE-25, DANE-26); SNI is the base domain (DANE-36)."""
    zone, mx, cert = published(w, "ee.test", "expired")
    delivered(node, mx, "ee.test", "level dane record 3 1 1 depth 0 rule dane")
    node.wait_log(r"SECURE MX record \(mx1\.ee\.test\) found for ee\.test")
    node.wait_log(TLSA % (r"mx1\.ee\.test", r"ee\.test"))
    node.wait_log(r"DANE SUCCESS for ee\.test")
    equal(mx.conns[-1].tls.sni, "mx1.ee.test")
    doc = node.ctl("explain", "a@ee.test")
    host, = doc["hosts"]
    equal((doc["mx_security"], host["level"], host["tlsa"]["state"], host["tlsa"]["base_domain"]),
          ("secure", "dane", "usable", "mx1.ee.test"))
    assert node.metrics()["postern_delivery_dane_total"] >= 1


@test
def ta_needs_a_name_and_a_date(w, node):
    """DANE-TA: chain, dates and one of the names (DANE-27, DANE-30)."""
    record = ta_record(w)
    good = w.mx("mx1.ta.test")
    zone = w.domain("ta.test", good, signed=True)
    zone.tlsa("mx1.ta.test", record)
    wrong = w.mx("mx1.ta-wrong.test", cert="wrong-name")
    w.domain("ta-wrong.test", wrong, signed=True).tlsa("mx1.ta-wrong.test", record)
    old = w.mx("mx1.ta-old.test", cert="expired")
    w.domain("ta-old.test", old, signed=True).tlsa("mx1.ta-old.test", record)
    by_domain = w.mx("mx1.ta-domain.test", cert=w.ca.issue("ta-domain.test"))
    w.domain("ta-domain.test", by_domain, signed=True).tlsa("mx1.ta-domain.test", record)
    w.commit()
    delivered(node, good, "ta.test", "level dane record 2 1 1 depth 1 name mx1.ta.test rule dane")
    delivered(node, by_domain, "ta-domain.test", "level dane record 2 1 1 depth 1 name ta-domain.test")
    deferred(node, "ta-wrong.test", "dane-failed", wrong)
    deferred(node, "ta-old.test", "dane-failed", old)


def ta_record(w):
    """`2 1 1` of the world's CA."""
    pub = subprocess.run(["openssl", "x509", "-in", w.ca.cert, "-noout", "-pubkey"], capture_output=True,
                         check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pub, capture_output=True,
                         check=True).stdout
    return "2 1 1 " + hashlib.sha256(der).hexdigest()


@test
def mismatch_is_refused(w, node):
    """Nothing is sent there, however good the certificate (DANE-29, DANE-37)."""
    zone, mx, cert = published(w, "mismatch.test", "valid", record="3 1 1 " + "ab" * 32)
    deferred(node, "mismatch.test", "dane-failed", mx)
    node.wait_log(r"DANE failure for MX \(mx1\.mismatch\.test\) in mismatch\.test: no TLSA record of "
                  r"mx1\.mismatch\.test matches")
    assert node.metrics()['postern_dane_refusals_total{reason="dane-failed"}'] >= 1


@test
def mismatch_next_host(w, node):
    zone, bad, _ = published(w, "next.test", record="3 1 1 " + "ab" * 32)
    good = w.mx("mx2.next.test", starttls="none")
    zone.mx(20, good)
    w.commit()
    delivered(node, good, "next.test")
    equal(bad.attempts, [])


@test
def rollover_matches_either(w, node):
    """Old and new record side by side; later only the new one, and the old certificate fails (DANE-40)."""
    mx = w.mx("mx1.roll.test")
    zone = w.domain("roll.test", mx, signed=True)
    old, new = w.ca.issue("mx1.roll.test", "self-signed"), w.ca.issue("mx1.roll.test", "expired")
    zone.tlsa("mx1.roll.test", old, ttl=1).tlsa("mx1.roll.test", new, ttl=1)
    w.commit()
    mx.script(cert=old)
    delivered(node, mx, "roll.test", "level dane record 3 1 1")
    idle(node)
    mx.script(cert=new)
    delivered(node, mx, "roll.test", "level dane record 3 1 1", n=2)
    idle(node)
    zone.remove("_%d._tcp.mx1" % w.port).tlsa("mx1.roll.test", new, ttl=1)
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")
    mx.script(cert=old)
    deferred(node, "roll.test", "dane-failed", mx)


@test
def digest_agility(w, node):
    """A SHA-512 that does not match beside a SHA-256 that does: the stronger one decides (DANE-35)."""
    zone, mx, cert = published(w, "agile.test")
    zone.tlsa(mx.host, "3 1 2 " + "cd" * 64)
    w.commit()
    deferred(node, "agile.test", "dane-failed", mx)


# ---- what cannot be used ----

@test
def unusable_records_still_encrypt(w, node):
    """PKIX usages only: TLS is a must, whoever it is; no silent PKIX, no clear text (DANE-11, DANE-34)."""
    zone, mx, cert = published(w, "pkix.test", "self-signed", record="1 1 1 " + "ab" * 32)
    delivered(node, mx, "pkix.test", "level encrypt rule dane-unusable")
    zone, clear, _ = published(w, "pkix-clear.test", record="0 0 1 " + "ab" * 32, starttls="none")
    deferred(node, "pkix-clear.test", "starttls-missing", clear)


@test
def no_starttls_at_a_dane_host(w, node):
    """Taken away, refused, broken: no clear text, ever (DANE-10)."""
    for how in ("none", "refuse", "broken", "close"):
        name = "strip-%s.test" % how
        zone, mx, cert = published(w, name, starttls=how)
        deferred(node, name, "starttls-missing|tls-handshake-failed", mx)
        node.wait_log(r"DANE failure for MX \(mx1\.%s\)" % re.escape(name))


# ---- doubt ----

@test(timeout=90)
def doubt_skips_the_host(w, node):
    """The TLSA question fails in every way: that host gets no mail, the next one does (DANE-06)."""
    for how in ("servfail", "refused", "bogus", "silent"):
        name = "doubt-%s.test" % how
        zone, mx, cert = published(w, name)
        second = w.mx("mx2." + name)
        cert2 = cert_of(w, second)
        zone.mx(20, second).tlsa(second.host, cert2)
        zone.fault(how, "_%d._tcp.mx1.%s." % (w.port, name), "TLSA")
        w.commit()
        delivered(node, second, name, "level dane")
        equal(mx.conns, [])
        node.wait_log(r"DANE failure for MX \(mx1\.%s\) in %s: whether .* could not be found out" % (
            re.escape(name), re.escape(name)))
        equal(level(node, name), ("skip", "none", "dane-indeterminate"))


@test
def doubt_holds_mail_back_and_ends(w, node):
    """No other host: it waits as long as the doubt, MTA-STS or not (MIX-05), and then goes."""
    zone, mx, cert = published(w, "wait.test")
    ph = PolicyHost(w.ca, "wait.test", w.block.host(), w.port, policy(mx=[mx]), w.signal)
    w.others.append(ph)
    zone.a("mta-sts", ph.address, ttl=1).txt("_mta-sts", "v=STSv1; id=1;", ttl=1)
    zone.fault("servfail", "_%d._tcp.mx1.wait.test." % w.port, "TLSA")
    w.commit()
    mid = send(node, "wait.test")
    node.wait_log(r"Destination wait\.test is down \(.*tlsa-indeterminate")
    equal(mx.conns, [])
    zone.fault(None, "_%d._tcp.mx1.wait.test." % w.port, "TLSA")
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")
    node.wait_done(mid, 60)
    node.wait_log(r"TLS success .* for wait\.test level dane")


@test
def bogus_mx_holds_mail_back(w, node):
    mx = w.mx("mx1.bogus.test")
    w.zone("bogus.test", bogus=True).mx(10, mx)
    w.commit()
    deferred(node, "bogus.test", "dns-indeterminate", mx)


@test
def one_host_without_address(w, node):
    """Its address lookup fails: the next host is used, with DANE (DANE-05). All so: the mail waits."""
    first, second = w.mx("mx1.addr.test"), w.mx("mx2.addr.test")
    cert = cert_of(w, second)
    zone = w.domain("addr.test", first, second, signed=True)
    zone.tlsa(second.host, cert)
    zone.fault("servfail", "mx1.addr.test.")
    w.commit()
    delivered(node, second, "addr.test", "level dane")
    equal(first.attempts, [])
    only = w.mx("mx1.addr-only.test")
    zone = w.domain("addr-only.test", only, signed=True)
    zone.fault("servfail", "mx1.addr-only.test.")
    w.commit()
    deferred(node, "addr-only.test", "dns-indeterminate", only)


@test
def targets_that_are_no_hosts(w, node):
    """An address, the root, a name that does not exist: skipped with the reason, the others are used (DNS-08)."""
    mx = w.mx("mx9.odd.test")
    cert = cert_of(w, mx)
    zone = w.domain("odd.test", signed=True).mx(1, "192.0.2.1").mx(2, ".").mx(3, "gone.odd.test").mx(9, mx)
    zone.tlsa(mx.host, cert)
    w.commit()
    delivered(node, mx, "odd.test", "level dane")
    hosts = node.ctl("explain", "a@odd.test")["hosts"]
    equal([h["verdict"] for h in hosts], ["skip", "skip", "skip", "attempt"])
    equal([bool(h["rules"]) for h in hosts], [True] * 4)


# ---- beside other policies ----

def with_policy(w, zone, name, text):
    ph = PolicyHost(w.ca, name, w.block.host(), w.port, text, w.signal)
    w.others.append(ph)
    zone.a("mta-sts", ph.address, ttl=1).txt("_mta-sts", "v=STSv1; id=1;", ttl=1)
    w.commit()


@test
def dane_wins_over_sts(w, node):
    """A match is enough where a policy would refuse host and certificate; both are told (MIX-02, MIX-03)."""
    zone, mx, cert = published(w, "both.test")
    with_policy(w, zone, "both.test", policy(mx=["other.both.test"]))
    delivered(node, mx, "both.test", "level dane")
    node.wait_log(r"MTA-STS policy for the domain \(both\.test\) does not list mx1\.both\.test: superseded by DANE")
    equal(node.lines(r"policy for the domain \(both\.test\) does not list .*: skipped"), [])
    rules = node.ctl("explain", "a@both.test")["hosts"][0]["rules"]
    equal([(r["id"], r["won"]) for r in rules],
          [("dane", True), ("sts-superseded", False), ("tls-preferred", False)])


@test
def sts_never_saves_a_failing_dane(w, node):
    """(MIX-01)"""
    zone, mx, cert = published(w, "never.test", "valid", record="3 1 1 " + "ab" * 32)
    with_policy(w, zone, "never.test", policy(mx=[mx]))
    deferred(node, "never.test", "dane-failed", mx)


@test
def mandatory(w, node):
    """Without records, or behind an insecure MX: it waits (DANE-16, DANE-38); with both it goes."""
    bare = w.mx("mx1.bare.must.test")
    domain(w, "bare.must.test", bare)
    deferred(node, "bare.must.test", "dane-required", bare)
    zone, mx, cert = published(w, "good.must.test")
    delivered(node, mx, "good.must.test", "level dane")
    w.domain("unsigned.must.test", mx.host)
    w.commit()
    deferred(node, "unsigned.must.test", "dane-required", mx)
    equal(level(node, "unsigned.must.test"), ("skip", "none", "dane-mandatory"))


@test
def insecure_mx_proves_the_host_only(w, node):
    """(DANE-17)"""
    zone, mx, cert = published(w, "host-of.test")
    w.domain("behind.test", mx.host)
    w.commit()
    delivered(node, mx, "behind.test", "level dane")
    node.wait_log(r"DANE proved MX \(mx1\.host-of\.test\) behind an insecure MX record of behind\.test")
    equal(node.lines(r"DANE SUCCESS for behind\.test|SECURE MX record \(.*\) found for behind\.test"), [])


@test
def off_asks_nothing(w, node):
    zone, mx, cert = published(w, "off.test", record="3 1 1 " + "ab" * 32)
    delivered(node, mx, "off.test", "level encrypt")
    equal(node.ctl("explain", "a@off.test")["hosts"][0]["tlsa"]["state"], "not-asked")


# ---- aliases, absence ----

@test
def mx_that_is_an_alias(w, node):
    """A secure chain: records and SNI of the target (DANE-18)."""
    mx = w.mx("real.target.test")
    cert = cert_of(w, mx)
    w.zone("target.test", signed=True).host(mx).tlsa(mx.host, cert)
    w.zone("alias.test", signed=True).mx(10, "mx.alias.test").cname("mx", "real.target.test")
    w.commit()
    delivered(node, mx, "alias.test", "level dane record 3 1 1")
    equal(mx.conns[-1].tls.sni, "real.target.test")
    # secure at first, then not: only the name in the MX record may have records (DANE-19)
    far = w.mx("real.plain.test")
    far_cert = cert_of(w, far)
    w.zone("plain.test").host(far).tlsa(far.host, "3 1 1 " + "ab" * 32)
    w.zone("half.test", signed=True).mx(10, "mx.half.test").cname("mx", "real.plain.test").tlsa(
        "mx.half.test", far_cert)
    w.commit()
    delivered(node, far, "half.test", "level dane record 3 1 1")
    equal(far.conns[-1].tls.sni, "mx.half.test")


@test
def absent_and_insecure_are_no_doubt(w, node):
    """Opportunistic as without DANE, clear text too (DANE-13)."""
    mx = w.mx("mx1.absent.test", starttls="none")
    domain(w, "absent.test", mx)
    delivered(node, mx, "absent.test")
    equal(node.ctl("explain", "a@absent.test")["hosts"][0]["tlsa"]["state"], "absent")
    mx = w.mx("mx1.insecure.test", starttls="none")
    zone = w.domain("insecure.test", mx)
    zone.tlsa(mx.host, "3 1 1 " + "ab" * 32)
    w.commit()
    delivered(node, mx, "insecure.test")
    equal(node.ctl("explain", "a@insecure.test")["hosts"][0]["tlsa"]["state"], "insecure")


@test
def no_mx_record(w, node):
    """The domain itself is the host (DANE-22)."""
    mx = w.mx("self.test")
    cert = cert_of(w, mx)
    w.zone("self.test", signed=True).a("@", mx.address).tlsa("self.test", cert)
    w.commit()
    delivered(node, mx, "self.test", "level dane")
    node.wait_log(r"DANE SUCCESS for self\.test")


# ---- sessions ----

@test
def resumption_stays_with_its_set(w, node):
    """A session is resumed for the same records, never for others (DANE-39)."""
    zone, mx, cert = published(w, "again.test")
    delivered(node, mx, "again.test", "level dane")
    idle(node)
    delivered(node, mx, "again.test", "resumed", n=2)
    assert mx.conns[-1].tls.reused
    idle(node)
    zone.tlsa(mx.host, "3 1 1 " + "ab" * 32)
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")
    delivered(node, mx, "again.test", "level dane record 3 1 1 depth 0 rule dane", n=3)
    assert not mx.conns[-1].tls.reused
    idle(node)
    # another domain there without secure records does not get its session either, nor gives it one
    w.domain("other-again.test", mx.host)
    zone.remove("_%d._tcp.mx1" % w.port)
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")
    delivered(node, mx, "other-again.test", "level encrypt")
    assert not mx.conns[-1].tls.reused


@test
def domains_of_a_host_share_its_sessions(w, node):
    """By DANE-EE the host is proven for every domain there; by DANE-TA the domain may be part of the proof."""
    for usage, shared in (("3", True), ("2", False)):
        _, mx, _ = published(w, "host-%s.test" % usage, kind="valid", record=ta_record(w) if usage == "2" else None)
        names = ["one-%s.test" % usage, "two-%s.test" % usage]
        for i, name in enumerate(names):
            domain(w, name, mx.host)
            delivered(node, mx, name, "level dane record %s" % usage)
            idle(node)
            equal(bool(mx.conns[-1].tls.reused), shared and i > 0)
        delivered(node, mx, names[0], "resumed", n=2)
        idle(node)


# ---- explain ----

@test
def the_check_can_fail(w, node):
    """Each delivery here is held against explain (agree.py): a word of it that is wrong is found."""
    zone, mx, cert = published(w, "agree.test")
    mid = delivered(node, mx, "agree.test")
    agree.check_done(node, mid)
    for key, value in (("verdict", "skip"), ("addresses", ["192.0.2.1"]), ("rules", [])):
        doc = node.ctl("explain", "a@agree.test")
        doc["hosts"][0][key] = value

        def told(*_, doc=doc):
            return doc
        agree.explain, real = told, agree.explain
        try:
            raises(agree.Disagree, agree.check_done, node, mid)
        finally:
            agree.explain = real


# ---- looking ----

@test
def tlsverify_is_the_way_of_mail(w, node):
    zone, mx, cert = published(w, "look.test")
    doc = node.ctl("tlsverify", "look.test")
    equal((doc["hosts"][0]["result"], doc["hosts"][0]["level_proven"]), ("ok", "dane"))
    equal(mx.attempts, [])
    bad, rx, _ = published(w, "look-bad.test", record="3 1 1 " + "ab" * 32)
    doc = node.ctl("tlsverify", "look-bad.test", want=1)
    equal((doc["hosts"][0]["result"], doc["hosts"][0]["reason"]), ("error", "dane-failed"))
    poll(lambda: rx.open == 0, 10, "the end of the test")


if __name__ == "__main__":
    main(setup)
