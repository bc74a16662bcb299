"""Delivery: facts, verdicts, TLS, routes, limits and reuse against the hosts of the world, through
the real processes."""
import re
import time

from harness import contains, equal, main, test
from tests.world import Client, On, bulk, endless, greylist, long_line

SENDER = "sender@client.test"
QUICK = {"delivery": {"idle": "1s", "connect_timeout": "2s", "greeting_timeout": "3s"},
         "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"}}


def setup(w):
    return w.postern(settings=QUICK, destinations={
        "none.test": {"tls": "none", "dane": "none", "mta_sts": "off"},
        ".required.test": {"tls": "required"},
        ".rv.test": {"tls": "required-verify"},
        ".rvh.test": {"tls": "required-verify-hosted"},
        ".pv.test": {"tls": "preferred-verify"},
        "dane.test": {"dane": "mandatory"},
        "sts.test": {"mta_sts": "mandatory"},
        "few.test": {"max_messages_per_connection": "2", "max_connections": "1"},
        "v6.test": {"ip_preference": "require-ipv6"},
    }).start()


def send(node, *rcpts, **kw):
    return node.submit(SENDER, list(rcpts), **kw)


def delivered(node, mx, domain, **kw):
    """One message to domain arrives at mx and is done; returns it."""
    mid = send(node, "a@" + domain, **kw)
    got = mx.wait_messages(len(mx.messages) or 1, match=lambda m: "a@" + domain in m.rcpts)[-1]
    node.wait_done(mid)
    return got


def most_open(node, rx):
    """Connections open to rx at one time. By the log, whose lines are written before a permit goes
    back: a host may see the end of one connection after the beginning of the next."""
    n, most, mine = 0, 0, set()
    for line in node.log_text().splitlines():
        found = re.search(r"New SMTP DCID (\d+) .*address %s " % re.escape(rx.address), line)
        if found:
            mine.add(found.group(1))
            n += 1
        found = re.search(r"DCID (\d+) close", line)
        n -= found is not None and found.group(1) in mine
        most = max(most, n)
    return most


def bounced(node, domain, status):
    mid = send(node, "a@" + domain)
    line = node.wait_log(r"Bounced: DCID \d+ MID %d " % mid)[0]
    contains(line, " - %s - " % status)
    node.ctl("removemessage", mid, want=None)
    return line


def deferred(node, domain, text):
    """The destination is found unusable for this reason; the message stays."""
    mid = send(node, "a@" + domain)
    node.wait_log(r"Destination %s is down \(.*%s" % (re.escape(domain), text))
    why = node.ctl("why", mid)
    equal(why["recipients"][0]["state"], "deferred")
    equal(node.lines(r"Message finished MID %d " % mid), [])
    node.ctl("removemessage", mid)
    return mid


# ---- hosts and DNS ----

@test
def over_tls(w, node):
    mx = w.mx("mx1.tls.test")
    w.domain("tls.test", mx)
    w.commit()
    got = delivered(node, mx, "tls.test")
    equal(got.mail_from, SENDER)
    equal(got.tls.sni, "mx1.tls.test")
    line = node.wait_log(r"DCID \d+ TLS success protocol TLSv1.3 cipher \S+ for tls.test")[0]
    contains(line, "level verify name mx1.tls.test rule tls-preferred")
    node.wait_log(r"Message done DCID \d+ MID \d+ to RID \[0\]")
    node.wait_log(r"MID \d+ RID \[0\] Response '")
    node.wait_log(r"New SMTP DCID \d+ interface 127.0.0.1 address %s port %d" % (
        re.escape(mx.address), w.port))


@test
def preference_and_dead_hosts(w, node):
    best, second = w.dead(), w.mx("mx2.order.test")
    third = w.mx("mx3.order.test")
    zone = w.zone("order.test").mx(10, "mx1.order.test").mx(20, second).mx(30, third)
    zone.a("mx1", best)
    w.commit()
    delivered(node, second, "order.test")
    equal(third.conns, [])
    line = node.wait_log(r"Connection Error: DCID \d+ domain: order.test IP: %s" % re.escape(best))[0]
    contains(line, "reason: network error")


@test
def black_holes_are_passed_over(w, node):
    good = w.mx("mx2.hole.test")
    w.zone("hole.test").mx(10, "mx1.hole.test").a("mx1", w.black_hole()).mx(20, good)
    w.commit()
    delivered(node, good, "hole.test")
    node.wait_log(r"domain: hole.test .* details: no answer within 2 s")


@test
def every_address_of_a_host(w, node):
    mx = w.mx("mx1.addrs.test")
    w.zone("addrs.test").mx(10, "mx1.addrs.test").a("mx1", w.dead(), w.dead(), mx.address)
    w.commit()
    delivered(node, mx, "addrs.test")


@test
def greetings_that_refuse(w, node):
    first, second = w.mx("mx1.greet.test", On("banner", "554 no mail here")), w.mx(
        "mx2.greet.test", On("banner", "450 later"))
    good = w.mx("mx3.greet.test")
    w.domain("greet.test", first, second, good)
    w.commit()
    delivered(node, good, "greet.test")
    node.wait_log(r"Connection Error: .*domain: greet.test .*554|Connection Error: .*greet.test.*no mail here")


@test
def only_521_never_takes_mail(w, node):
    w.domain("never.test", w.mx("mx1.never.test", On("banner", "521 never", close="fin")))
    w.commit()
    bounced(node, "never.test", "5.3.2")


@test
def implicit_mx(w, node):
    mx = w.mx("implicit.test")
    w.zone("implicit.test").a("@", mx.address)
    w.commit()
    delivered(node, mx, "implicit.test")


@test
def null_mx_and_no_domain(w, node):
    w.zone("null.test").null_mx()
    w.zone("empty.test").txt("@", "nothing here")
    w.commit()
    bounced(node, "null.test", "5.1.10")
    bounced(node, "gone.null.test", "5.1.2")
    bounced(node, "empty.test", "5.1.2")


@test
def dns_doubt_defers(w, node):
    w.domain("doubt.test", w.mx("mx1.doubt.test")).fault("servfail")
    w.commit()
    deferred(node, "doubt.test", "dns-indeterminate")


@test
def doubt_of_one_host_leaves_the_others(w, node):
    good = w.mx("mx2.half.test")
    w.zone("half.test").mx(10, "mx1.broken.half.test").mx(20, good)
    w.zone("broken.half.test").a("mx1", w.dead()).fault("servfail")
    w.commit()
    delivered(node, good, "half.test")


@test
def our_own_name_is_a_loop(w, node):
    w.zone("loop.test").mx(10, node.hostname).mx(20, "mx2.loop.test").a("mx2", w.dead())
    w.commit()
    bounced(node, "loop.test", "5.4.6")


@test
def both_families(w, shared):
    four, six = w.mx("mx4.fam.test"), w.mx("mx1.fam.test", address="::1")
    zone = w.zone("fam.test").mx(10, "mx1.fam.test").a("mx1", four.address, "::1")
    zone = w.zone("fam6.test").mx(10, "mx1.fam.test")
    zone = w.zone("fall.test").mx(10, "mx1.fall.test").a("mx1", w.dead(), "::1")
    w.commit()
    node = w.postern(settings=QUICK, destinations={
        "fam6.test": {"ip_preference": "prefer-ipv6"}}).start()
    delivered(node, four, "fam.test")
    delivered(node, six, "fam6.test")
    delivered(node, six, "fall.test")  # IPv4 preferred, and dead


@test
def address_literal(w, node):
    mx = w.mx("literal.test")
    mid = send(node, "a@[%s]" % mx.address)
    got = mx.wait_messages(1)[0]
    equal(got.rcpts, ["a@[%s]" % mx.address])
    equal(got.tls.sni, None)
    node.wait_done(mid)


@test(timeout=90)
def addresses_that_dns_must_not_name(w, shared):
    """With the settings as they come, nobody's DNS record or literal leads inside; a route does."""
    mx, other = w.mx("mx1.inside.test"), w.mx("mx1.routed.test")
    w.domain("inside.test", mx)
    w.domain("mixed.inside.test", mx, "mx2.inside.test")
    w.zone("inside.test").a("mx2", "192.168.7.7")
    w.domain("routed.test", other)
    w.domain("allowed.test", w.mx("mx1.allowed.test"))
    w.commit()
    allowed = w.block.host()
    w.zone("may.test").mx(10, w.mx("mx1.may.test", address=allowed))
    w.commit()
    node = w.postern(settings={**QUICK, "delivery": {**QUICK["delivery"], "deny_networks": None,
                                                     "allow_networks": allowed}},
                     routes={"routed.test": {"hosts": "mx1.routed.test"}}, name="denies").start()
    for domain in ("inside.test", "mixed.inside.test", "[%s]" % mx.address):
        line = bounced(node, domain, "5.4.4")
        contains(line, "is in deny_networks")
    node.wait_log(r"Host mx1.inside.test of domain inside.test skipped: address %s is in deny_networks"
                  % re.escape(mx.address))
    got = node.ctl("explain", "a@inside.test", want=None)
    equal((got["outcome"], got["reason"], got["status"]), ("fail", "address-denied", "5.4.4"))
    equal((got["hosts"][0]["verdict"], got["hosts"][0]["rule"]), ("skip", "deny-networks"))
    node.ctl("explain", "a@inside.test", "--live", want=None)
    equal(len(mx.conns), 0)
    for domain in ("routed.test", "may.test"):
        node.wait_done(send(node, "a@" + domain))
    equal(len(other.messages), 1)


@test
def a_family_that_may_not_be_used(w, node):
    w.domain("v6.test", w.mx("mx1.v6.test"))
    w.commit()
    deferred(node, "v6.test", "no-hosts")


# ---- TLS ----

@test
def in_clear_when_not_offered(w, node):
    mx = w.mx("mx1.clear.test", starttls="none")
    w.domain("clear.test", mx)
    w.commit()
    equal(delivered(node, mx, "clear.test").tls, None)


@test
def in_clear_on_the_same_connection_when_refused(w, node):
    mx = w.mx("mx1.refuse.test", starttls="refuse")
    w.domain("refuse.test", mx)
    w.commit()
    equal(delivered(node, mx, "refuse.test").tls, None)
    equal(len(mx.conns), 1)


@test
def once_more_in_clear_when_the_handshake_fails(w, node):
    for how in ("broken", "garbage", "close"):
        mx = w.mx("mx1.%s.test" % how, starttls=how)
        w.domain("%s.test" % how, mx)
        w.commit()
        equal(delivered(node, mx, "%s.test" % how).tls, None)
        equal(len(mx.conns), 2, how)
        node.wait_log(r"DCID \d+ TLS failed: .* for %s.test: once more in clear text" % how)


@test
def replies_injected_behind_starttls(w, node):
    mx = w.mx("mx1.inject.test", starttls="inject")
    good = w.mx("mx2.inject.test")
    w.domain("inject.test", mx, good)
    w.commit()
    delivered(node, good, "inject.test")
    equal(mx.attempts, [])
    node.wait_log(r"domain: inject.test .*somebody injects replies")


@test
def tls_none_uses_no_starttls(w, node):
    mx = w.mx("mx1.none.test")
    w.domain("none.test", mx)
    w.commit()
    equal(delivered(node, mx, "none.test").tls, None)
    equal(mx.commands("STARTTLS"), [])


@test
def anyone_will_do_for_preferred_and_required(w, node):
    for kind in ("self-signed", "expired", "wrong-name"):
        for base in ("any.test", "required.test"):
            domain = "%s.%s" % (kind, base)
            mx = w.mx("mx1." + domain, cert=kind)
            w.domain(domain, mx)
            w.commit()
            equal(delivered(node, mx, domain).tls is not None, True, domain)
    node.wait_log(r"TLS success .* for self-signed.required.test level encrypt rule tls-required")


@test
def required_goes_on_to_a_host_with_tls(w, node):
    clear, broken = w.mx("mx1.on.required.test", starttls="none"), w.mx(
        "mx2.on.required.test", starttls="broken")
    good = w.mx("mx3.on.required.test", cert="self-signed")
    w.domain("on.required.test", clear, broken, good)
    w.commit()
    equal(delivered(node, good, "on.required.test").tls is not None, True)
    equal(clear.attempts + broken.attempts, [])
    equal(len(broken.conns), 1, "no retry in clear text")
    node.wait_log(r"TLS was required but could not be successfully negotiated: .*for on.required.test")


@test
def required_defers_without_any(w, node):
    w.domain("off.required.test", w.mx("mx1.off.required.test", starttls="none"))
    w.domain("bad.required.test", w.mx("mx1.bad.required.test", starttls="broken"))
    w.commit()
    deferred(node, "off.required.test", "starttls-missing")
    deferred(node, "bad.required.test", "tls-handshake-failed")


@test
def required_verify_names_the_domain(w, node):
    good = w.mx("mx1.good.rv.test", cert=w.ca.issue(["good.rv.test"]))
    w.domain("good.rv.test", good)
    w.domain("hosted.rv.test", w.mx("mx1.hosted.rv.test"))
    w.domain("cn.rv.test", w.mx("cn.rv.test", cert="cn-only"))
    w.commit()
    delivered(node, good, "good.rv.test")
    node.wait_log(r"for good.rv.test level verify name good.rv.test rule tls-required-verify")
    deferred(node, "hosted.rv.test", "cert-name-mismatch")
    node.wait_log(r"TLS deferring: verify error: peer cert does not match domain hosted.rv.test")
    deferred(node, "cn.rv.test", "cert-name-mismatch")
    # the host's own certificate is good: the operator is told which mode asks for that
    text = " ".join(r["text"] for h in node.ctl("explain", "a@hosted.rv.test")["hosts"] for r in h["rules"])
    contains(text, "required-verify-hosted")


@test
def required_verify_hosted_names_the_host(w, node):
    good = w.mx("mx1.good.rvh.test")
    w.domain("good.rvh.test", good)
    for kind, reason in (("self-signed", "cert-untrusted"), ("expired", "cert-expired"),
                         ("wrong-name", "cert-name-mismatch")):
        w.domain("%s.rvh.test" % kind, w.mx("mx1.%s.rvh.test" % kind, cert=kind))
    w.commit()
    delivered(node, good, "good.rvh.test")
    for kind, reason in (("self-signed", "cert-untrusted"), ("expired", "cert-expired"),
                         ("wrong-name", "cert-name-mismatch")):
        deferred(node, "%s.rvh.test" % kind, reason)
    equal([a for rx in w.receivers for a in rx.attempts if rx.host.split(".")[1] in (
        "self-signed", "expired", "wrong-name") and rx.host.endswith("rvh.test")], [])


@test
def preferred_verify_says_unverified(w, node):
    mx = w.mx("mx1.x.pv.test", cert="self-signed")
    w.domain("x.pv.test", mx)
    w.commit()
    equal(delivered(node, mx, "x.pv.test").tls is not None, True)
    node.wait_log(r"for x.pv.test level encrypt unverified rule tls-preferred-verify")


@test
def preferred_verify_prefers(w, node):
    """Verified where it can be; clear text where there is no TLS or it does not work, as preferred."""
    good = w.mx("mx1.good.pv.test")
    w.domain("good.pv.test", good)
    w.commit()
    equal(delivered(node, good, "good.pv.test").tls is not None, True)
    node.wait_log(r"for good.pv.test level verify name mx1.good.pv.test rule tls-preferred-verify")
    for how in ("none", "refuse", "broken"):
        mx = w.mx("mx1.%s.pv.test" % how, starttls=how)
        w.domain("%s.pv.test" % how, mx)
        w.commit()
        equal(delivered(node, mx, "%s.pv.test" % how).tls, None)


@test
def demands_that_cannot_be_met_yet_fail_closed(w, node):
    w.domain("dane.test", w.mx("mx1.dane.test"), signed=True)
    w.domain("sts.test", w.mx("mx1.sts.test"))
    w.commit()
    deferred(node, "dane.test", "dane-required")
    deferred(node, "sts.test", "sts-required")


@test
def sessions_are_resumed(w, node):
    mx = w.mx("mx1.resume.test")
    w.domain("resume.test", mx)
    w.commit()
    delivered(node, mx, "resume.test")
    mx.wait_idle()
    for _ in range(4):  # two workers, each with a cache of its own
        send(node, "b@resume.test")
        mx.wait_idle()
    w.wait(lambda: len(mx.messages) == 5)
    equal(any(m.tls.reused for m in mx.messages), True)


# ---- connections and messages ----

@test
def a_connection_is_used_again(w, node):
    mx = w.mx("mx1.reuse.test")
    w.domain("reuse.test", mx)
    w.commit()
    for i in range(3):
        send(node, "r%d@reuse.test" % i)
        mx.wait_messages(i + 1)
    equal(len(mx.conns), 1)
    mx.wait_idle()
    equal(mx.commands()[-1][0], "QUIT")


@test
def messages_per_connection(w, node):
    mx = w.mx("mx1.few.test")
    w.domain("few.test", mx)
    w.commit()
    for i in range(5):
        send(node, "r%d@few.test" % i)
    mx.wait_messages(5)
    equal(most_open(node, mx), 1)
    equal(max(len([c for c in conn.commands if c[0] == "MAIL"]) for conn in mx.conns), 2)


@test
def the_hosts_own_limits(w, node):
    mx = w.mx("mx1.limits.test", caps=("PIPELINING", "LIMITS MAILMAX=2 RCPTMAX=3"))
    w.domain("limits.test", mx)
    w.commit()
    mid = send(node, *["r%d@limits.test" % i for i in range(8)])
    node.wait_done(mid)
    equal(sorted(r for m in mx.messages for r in m.rcpts), ["r%d@limits.test" % i for i in range(8)])
    equal(max(len(m.rcpts_all) for m in mx.attempts) <= 3, True)
    equal(max(len([c for c in conn.commands if c[0] == "MAIL"]) for conn in mx.conns) <= 2, True)


@test
def too_many_recipients_come_again_at_once(w, node):
    mx = w.mx("mx1.many.test", max_rcpts=2)
    w.domain("many.test", mx)
    w.commit()
    start = time.monotonic()
    mid = send(node, *["r%d@many.test" % i for i in range(7)])
    node.wait_done(mid)
    equal(sorted(r for m in mx.messages for r in m.rcpts), ["r%d@many.test" % i for i in range(7)])
    equal(node.lines(r"Delayed: .*MID %d " % mid), [])
    equal(time.monotonic() - start < 10, True, "at once")


@test
def one_transaction_for_a_destination(w, node):
    mx = w.mx("mx1.group.test")
    w.domain("group.test", mx)
    w.commit()
    mid = send(node, *["r%d@group.test" % i for i in range(20)])
    equal(len(mx.wait_messages(1)[0].rcpts), 20)
    node.wait_done(mid)
    equal(len(mx.messages), 1)


@test
def each_recipient_its_own_answer(w, node):
    mx = w.mx("mx1.mixed.test", On("rcpt", "550 5.1.1 who is that", match="bad@"), On(
        "rcpt", "450 4.2.1 not now", match="later@", times=1))
    w.domain("mixed.test", mx)
    w.commit()
    mid = send(node, "good@mixed.test", "bad@mixed.test", "later@mixed.test")
    node.wait_log(r"Bounced: DCID \d+ MID %d From: <%s> To: <bad@mixed.test> RID 1 - 5.1.1 - Bad "
                  r"destination email address \('550', \['5.1.1 who is that'\]\)" % (mid, SENDER))
    node.wait_log(r"Delayed: DCID \d+ MID %d From: <%s> To: <later@mixed.test> RID 2 - 4.2.1 - .* "
                  r"\('450', \['4.2.1 not now'\]\)" % (mid, SENDER))
    node.wait_done(mid)
    equal(sorted(r for m in mx.messages for r in m.rcpts), ["good@mixed.test", "later@mixed.test"])


@test
def greylisting(w, node):
    mx = w.mx("mx1.grey.test", greylist())
    w.domain("grey.test", mx)
    w.commit()
    node.wait_done(send(node, "a@grey.test"))
    equal(len(mx.messages), 1)


@test
def lost_after_the_dot_is_tried_again(w, node):
    mx = w.mx("mx1.dot.test", On("dot", reply=b"", close="rst", times=1))
    w.domain("dot.test", mx)
    w.commit()
    mid = send(node, "a@dot.test")
    node.wait_log(r"Delayed: DCID \d+ MID %d .*in doubt whether the message arrived" % mid)
    node.wait_done(mid)
    equal(len(mx.messages), 1)


@test
def a_host_that_closes_after_some(w, node):
    mx = w.mx("mx1.closes.test", On("mail", "421 4.3.2 enough", skip=2, per="conn", close="fin"))
    w.domain("closes.test", mx)
    w.commit()
    mids = [send(node, "r%d@closes.test" % i) for i in range(6)]
    for mid in mids:
        node.wait_done(mid)
        equal(node.lines(r"Delayed: .*MID %d " % mid), [], "nothing was attempted")
    equal(len(mx.messages), 6)


@test
def a_host_with_endless_replies(w, node):
    bad, worse = w.mx("mx1.endless.test", On("ehlo", endless())), w.mx(
        "mx2.endless.test", On("banner", long_line("220")))
    good = w.mx("mx3.endless.test")
    w.domain("endless.test", bad, worse, good)
    w.commit()
    delivered(node, good, "endless.test")


@test(timeout=60)
def a_large_message(w, node):
    for caps in (("PIPELINING", "SIZE 52428800", "8BITMIME"),
                 ("PIPELINING", "SIZE 52428800", "8BITMIME", "CHUNKING")):
        name = "large%d.test" % len(caps)
        mx = w.mx("mx1." + name, caps=caps)
        w.domain(name, mx)
        w.commit()
        data = bulk(5 * 1024 * 1024)
        mid = send(node, "a@" + name, data=data)
        got = mx.wait_messages(1)[0]
        node.wait_done(mid)
        equal(got.data.endswith(data), True, "the body, byte by byte")
        equal(got.via, "BDAT" if len(caps) == 4 else "DATA")


@test
def content_the_host_cannot_take(w, node):
    mx = w.mx("mx1.seven.test", caps=("PIPELINING", "SIZE 1000"))
    w.domain("seven.test", mx)
    w.commit()
    body = b"From: <%s>\r\nSubject: x\r\n\r\n%s\r\n"
    mid = send(node, "a@seven.test", data=body % (SENDER.encode(), "ü".encode()))
    contains(node.wait_log(r"Bounced: DCID \d+ MID %d " % mid)[0], " - 5.6.3 - ")
    mid = send(node, "a@seven.test", data=body % (SENDER.encode(), b"x" * 900))
    contains(node.wait_log(r"Bounced: DCID \d+ MID %d " % mid)[0], " - 5.3.4 - ")
    equal(mx.attempts, [])


@test(timeout=60)
def many_connections_when_there_is_much(w, node):
    mx = w.mx("mx1.much.test")
    w.domain("much.test", mx)
    w.commit()
    with Client(node.smtp) as c:
        for i in range(200):
            c.send(SENDER, "r%d@much.test" % i)
    mx.wait_messages(200, timeout=40)
    equal(sorted(r for m in mx.messages for r in m.rcpts), sorted(
        "r%d@much.test" % i for i in range(200)), "each once")


# ---- routes, gateways, reload ----

@test
def routes(w, shared):
    best, other, third = w.mx("r1.test"), w.mx("r2.test"), w.mx("r3.test", port=None)
    bydns = w.mx("mx1.bydns.routed.test")
    w.domain("bydns.routed.test", bydns)
    relay = w.mx("mx9.relay.test")
    w.domain("relay.test", relay).a("@", w.dead())
    w.zone("r1.test").a("@", best.address)
    w.commit()
    node = w.postern(settings=QUICK, routes={
        ".routed.test": {"hosts": "[%s], [%s]/pri=10" % (best.address, other.address)},
        "bydns.routed.test": {"hosts": "USEDNS"},
        "gone.test": {"hosts": "/dev/null"},
        "down.test": {"hosts": "%s, %s/pri=5" % (w.dead(), third.address)},
        "named.test": {"hosts": "relay.test"},
        "nomx.test": {"hosts": "[r1.test]", "tls": "required"},
    }).start()
    delivered(node, best, "x.routed.test")
    delivered(node, bydns, "bydns.routed.test")
    delivered(node, third, "down.test")
    delivered(node, relay, "named.test")
    got = delivered(node, best, "nomx.test")
    equal(got.tls.sni, "r1.test")
    mid = send(node, "a@gone.test")
    node.wait_log(r"Message finished MID %d done" % mid)
    equal(other.conns, [])


@test
def routes_take_turns(w, shared):
    a, b = w.mx("t1.test"), w.mx("t2.test")
    node = w.postern(settings=QUICK, destinations={"turn.test": {
        "max_messages_per_connection": "1"}}, routes={
        "turn.test": {"hosts": "%s, %s" % (a.address, b.address)}}).start()
    for i in range(8):
        node.wait_done(send(node, "a@turn.test"))
    equal(len(a.messages) > 0 and len(b.messages) > 0, True, "both: %d and %d" % (
        len(a.messages), len(b.messages)))
    equal(len(a.messages) + len(b.messages), 8)


@test
def a_route_never_falls_back_to_mx(w, shared):
    mx = w.mx("mx1.fallback.test")
    w.domain("fallback.test", mx)
    w.commit()
    node = w.postern(settings=QUICK, routes={"fallback.test": {"hosts": w.dead()}}).start()
    mid = send(node, "a@fallback.test")
    node.wait_log(r"Destination fallback.test is down", n=2)
    equal(mx.conns, [])
    node.ctl("removemessage", mid)


@test
def source_address_and_name_of_a_gateway(w, shared):
    mx = w.mx("mx1.gw.test")
    w.domain("gw.test", mx)
    w.commit()
    source = w.block.address(0, 9)
    node = w.postern(settings=QUICK, gateways={"gateway marketing": {
        "hostname": "m.example.test", "ipv4": source, "senders": "@news.test"}}).start()
    mid = node.submit("a@news.test", ["b@gw.test"])
    got = mx.wait_messages(1)[0]
    equal(got.conn.peer[0], source)
    equal(got.conn.ehlo, "m.example.test")
    node.wait_done(mid)


@test
def login_to_a_route(w, shared):
    mx = w.mx("smart.login.test", auth={"relayuser": "geheim"})
    w.zone("login.test").a("smart", mx.address)
    w.commit()
    secret = w.tmp.path + "/relay-secret"
    with open(secret, "w") as f:
        f.write("geheim\n")
    node = w.postern(settings={**QUICK, "credential relay": {
        "user": "relayuser", "secret_file": secret}}, routes={
        "far.test": {"hosts": "[smart.login.test]", "credential": "relay", "tls": "required"},
        "wrong.test": {"hosts": mx.address, "credential": "relay", "tls": "required"}}).start()
    got = delivered(node, mx, "far.test")
    equal(got.conn.user, "relayuser")
    equal(got.params.get("AUTH"), "<>")
    # an address proves no name: the password is not given to it
    deferred(node, "wrong.test", "cert-untrusted")
    equal(node.lines("geheim"), [])


@test
def our_certificate_is_shown(w, shared):
    mx = w.mx("mx1.cert.test", client_ca=w.ca.ca_file)
    w.domain("cert.test", mx)
    w.commit()
    mine = w.ca.issue(["gw1.world.invalid"], "client")
    node = w.postern(settings={**QUICK, "certificate mine": {
        "cert_file": mine.chain, "key_file": mine.key}},
        destinations={"cert.test": {"certificate": "mine"}}).start()
    got = delivered(node, mx, "cert.test")
    equal(got.tls.client_cert, mine.der())


@test
def limits_hold_over_all_workers(w, shared):
    mx = w.mx("mx1.lim.test", On("dot", delay=0.05))
    site = w.mx("mx1.big.test", On("dot", delay=0.05))
    w.domain("lim.test", mx)
    w.zone("big.test").a("mx1", site.address)
    for i in range(4):
        w.domain("s%d.test" % i, site)
    w.commit()
    node = w.postern(settings=QUICK, destinations={
        "lim.test": {"max_connections": "2", "max_messages_per_connection": "5"},
        "mx:*.big.test": {"max_connections": "2"}}).start()
    with Client(node.smtp) as c:
        for i in range(60):
            c.send(SENDER, "r%d@lim.test" % i)
            c.send(SENDER, "r%d@s%d.test" % (i, i % 4))
    mx.wait_messages(60)
    site.wait_messages(60)
    node.wait_empty()
    for rx in mx, site:
        equal(most_open(node, rx), 2, "connections to %s" % rx.host)


@test
def a_worker_killed_loses_nothing(w, shared):
    mx = w.mx("mx1.kill.test", On("dot", delay=0.02))
    w.domain("kill.test", mx)
    w.commit()
    node = w.postern(settings=QUICK).start()
    with Client(node.smtp) as c:
        for i in range(100):
            c.send(SENDER, "r%d@kill.test" % i)
    mx.wait_messages(10)
    node.kill("deliver")
    w.wait(lambda: {r for m in mx.messages for r in m.rcpts} == {
        "r%d@kill.test" % i for i in range(100)})
    node.wait_empty()


@test
def a_resolver_killed_is_asked_again(w, shared):
    mx = w.mx("mx1.rkill.test")
    w.domain("rkill.test", mx)
    w.commit()
    node = w.postern(settings=QUICK).start()
    node.kill("resolver", wait=False)
    delivered(node, mx, "rkill.test")


@test
def reload_changes_what_comes_next(w, shared):
    mx = w.mx("mx1.re.test", starttls="none")
    w.domain("re.test", mx)
    w.commit()
    # the connection stays open, and the facts stay fresh: neither may carry the next message
    node = w.postern(settings={**QUICK, "delivery": {"idle": "60s"}}).start()
    delivered(node, mx, "re.test")
    node.destinations["re.test"] = {"tls": "required"}
    node.reload()
    node.wait_log(r"settings|reload", n=1)
    w.wait(lambda: node.ctl("explain", "re.test")["control"]["tls"] == "required")
    deferred(node, "re.test", "starttls-missing")


@test
def drain_finishes_what_is_open(w, shared):
    mx = w.mx("mx1.drain.test", On("dot", delay=1.0))
    w.domain("drain.test", mx)
    w.commit()
    node = w.postern(settings=QUICK).start()
    send(node, "a@drain.test")
    mx.wait_command("BDAT")
    node.stop()
    equal(len(mx.messages), 1)
    node.start()
    node.wait_empty()
    equal(len(mx.messages), 1, "not twice")


# ---- asking ----

@test
def explain(w, node):
    mx = w.mx("mx1.ex.required.test")
    w.domain("ex.required.test", mx)
    w.commit()
    got = node.ctl("explain", "a@ex.required.test")
    equal(got["recipient"], "a@ex.required.test")
    equal(got["domain"], "ex.required.test")
    equal(got["route"], None)
    equal(got["control"]["entry"], ".required.test")
    equal(got["control"]["tls"], "required")
    equal(got["outcome"], "deliver")
    host = got["hosts"][0]
    equal((host["host"], host["preference"], host["addresses"]), (
        "mx1.ex.required.test", 10, [mx.address]))
    equal((host["verdict"], host["level"]), ("attempt", "encrypt"))
    won = [r["id"] for r in host["rules"] if r["won"]]
    equal(won, ["tls-required"])
    w.zone("exnull.test").null_mx()
    w.commit()
    got = node.ctl("explain", "exnull.test", want=None)
    equal((got["outcome"], got["reason"]), ("fail", "null-mx"))


@test
def hoststatus_remembers(w, node):
    mx = w.mx("mx1.memo.test")
    w.domain("memo.test", mx)
    w.commit()
    delivered(node, mx, "memo.test")
    mx.wait_idle()
    got = node.ctl("hoststatus", "memo.test")
    contains(str(got), "mx1.memo.test")
    contains(str(got), mx.address)


if __name__ == "__main__":
    main(setup)
