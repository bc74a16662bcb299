"""Mail flows: from a client through every process to mail hosts of the world, and what comes back."""
import hashlib
import re
import socket

from harness import contains, equal, main, raises, test
from tests.world import CAPS, On, Refused, Skip, bulk, greylist, message

SENDER = "alice@client.test"
NO_CHUNKING = [c for c in CAPS if c != "CHUNKING"]


def setup(w):
    """Bounces to the sender go to its domain's own MX, which tests read through w.bounces."""
    w.bounces = w.mx("mx1.client.test")
    w.domain("client.test", w.bounces)
    return w.postern(routes={
        "routed.test": {"hosts": "relay.routed.invalid"},  # replaced below by an address
        "discard.test": {"hosts": "/dev/null"},
    }, destinations={
        "must.test": {"tls": "required"},
        "never.test": {"tls": "none"},
    }, settings={
        # a host that is down is asked again at once, not after a minute
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"},
    }).start()


def body_of(data):
    return data.split(b"\r\n\r\n", 1)[1]


def dsn_for(w, recipient, timeout=30):
    """The DSN that names this recipient; null sender, multipart/report."""
    found = w.bounces.wait_messages(1, timeout, lambda m: re.search(about(recipient), m.data))
    dsn = found[0]
    equal(dsn.mail_from, "", "envelope sender of a DSN")
    equal(dsn.rcpts, [SENDER])
    contains(dsn.header("Content-Type").lower(), "multipart/report")
    contains(dsn.header("Content-Type").lower(), "delivery-status")
    equal(dsn.header("Auto-Submitted"), "auto-replied")
    contains(dsn.header("From"), "@")
    return dsn.data.decode("utf-8", "replace")


def about(recipient):
    """A regular expression for the DSN field that names a recipient."""
    return rb"(?i)Final-Recipient: *[a-z0-9-]+; *" + re.escape(recipient.encode())


def no_dsn_for(w, recipient):
    equal([m for m in w.bounces.messages if re.search(about(recipient), m.data)], [], "DSNs")


@test
def delivered_over_tls(w, node):
    rx = w.mx("mx1.tls.test")
    w.domain("tls.test", rx)
    w.commit()
    data = message(SENDER, ["bob@tls.test"], subject="over TLS", body="one\r\n.two\r\n..\r\n")
    mid = node.submit(SENDER, "bob@tls.test", data)
    m, = rx.wait_messages(1)
    equal((m.mail_from, m.rcpts), (SENDER, ["bob@tls.test"]))
    equal(m.data.endswith(data), True, "the message behind our Received line")
    received = m.data[:-len(data)].decode()
    equal(len(re.findall(r"(?m)^Received:", received)), 1)
    contains(received, "by " + node.hostname)
    equal((m.tls.protocol, m.tls.sni), ("TLSv1.3", "mx1.tls.test"))
    equal(m.conn.ehlo, node.hostname)
    node.wait_done(mid)
    for line in (r"New SMTP ICID (\d+) interface internal \([0-9.]+\) address 127\.0\.0\.1 ",
                 r"ICID \d+ RELAY listener internal match 127\.0\.0\.0/8",
                 r"Start MID %d ICID \d+" % mid, r"MID %d ICID \d+ From: <alice@client\.test>" % mid,
                 r"MID %d ICID \d+ RID 0 To: <bob@tls\.test>" % mid,
                 r"MID %d Subject 'over TLS'" % mid,
                 r"MID %d ready \d+ bytes from <alice@client\.test>" % mid,
                 r"MID %d queued for delivery" % mid,
                 r"New SMTP DCID \d+ interface [0-9.]+ address %s port %d" % (rx.address, w.port),
                 r"DCID \d+ TLS success protocol TLSv1\.3 cipher TLS_\w+ for tls\.test",
                 r"Delivery start DCID \d+ MID %d to RID \[0\]" % mid,
                 r"Message done DCID \d+ MID %d to RID \[0\]" % mid,
                 r"MID %d RID \[0\] Response '2\.0\.0 taken as" % mid,
                 r"Message finished MID %d done" % mid):
        node.wait_log(r"Info: .*" + line if not line.startswith("Info") else line)


@test
def delivered_in_clear(w, node):
    rx = w.mx("mx1.clear.test", starttls="none")
    w.domain("clear.test", rx)
    w.commit()
    mid = node.submit(SENDER, "bob@clear.test")
    equal(rx.wait_messages(1)[0].tls, None)
    node.wait_done(mid)


@test
def greylisted_then_delivered(w, node):
    rx = w.mx("mx1.grey.test", greylist(2))
    w.domain("grey.test", rx)
    w.commit()
    mid = node.submit(SENDER, "bob@grey.test")
    rx.wait_messages(1)
    equal(len(rx.commands("RCPT")), 3)
    node.wait_done(mid)
    first = node.wait_log(r"Delayed: DCID \d+ MID %d From: <%s> To: <bob@grey\.test> RID 0 - 4\.7\.1 - "
                          % (mid, SENDER), n=2)[0]
    contains(first, "('450', ['4.7.1 greylisted, come again'])")
    node.wait_log(r"Message %d to RID \[0\] pending till " % mid)
    no_dsn_for(w, "bob@grey.test")


@test
def refused_and_returned(w, node):
    rx = w.mx("mx1.refuse.test", On("rcpt", "550 5.1.1 no such user here"))
    w.domain("refuse.test", rx)
    w.commit()
    mid = node.submit(SENDER, "nobody@refuse.test", subject="going nowhere")
    dsn = dsn_for(w, "nobody@refuse.test")
    contains(dsn, "Action: failed")
    contains(dsn, "Status: 5.1.1")
    contains(dsn, "no such user here")
    contains(dsn, "Reporting-MTA: dns; " + node.hostname)
    contains(dsn, "going nowhere")  # the original or its header
    line = node.wait_log(r"Bounced: DCID \d+ MID %d From: <%s> To: <nobody@refuse\.test> RID 0 - 5\.1\.1 - "
                         % (mid, SENDER))[0]
    contains(line, "('550', ['5.1.1 no such user here'])")


@test
def refused_at_each_step(w, node):
    for point in ("mail", "data", "dot"):
        name = "refuse-%s.test" % point
        # without CHUNKING, so that there is a DATA command
        w.domain(name, w.mx("mx1." + name, On(point, "554 5.7.1 not from you"), caps=NO_CHUNKING))
    w.commit()
    for point in ("mail", "data", "dot"):
        node.submit(SENDER, "bob@refuse-%s.test" % point)
    for point in ("mail", "data", "dot"):
        contains(dsn_for(w, "bob@refuse-%s.test" % point), "Status: 5.7.1")


@test
def null_mx(w, node):
    w.zone("null.test").null_mx().a("@", w.bounces.address)
    w.commit()
    mid = node.submit(SENDER, "bob@null.test")
    contains(dsn_for(w, "bob@null.test"), "Status: 5.1.10")
    node.wait_log(r"Bounced: DCID 0 MID %d " % mid)


@test
def no_such_domain(w, node):
    mid = node.submit(SENDER, "bob@does-not-exist.test")
    contains(dsn_for(w, "bob@does-not-exist.test"), "Status: 5.1.2")
    contains(node.wait_log(r"Bounced: DCID 0 MID %d " % mid)[0], "('000', ")


@test
def several_recipients_several_domains(w, node):
    rxs = [w.mx("mx1.several%d.test" % i) for i in range(3)]
    for i, rx in enumerate(rxs):
        w.domain("several%d.test" % i, rx)
    w.commit()
    rcpts = ["%s@several%d.test" % (who, i) for who in ("a", "b", "c") for i in range(3)]
    mid = node.submit(SENDER, rcpts)
    for i, rx in enumerate(rxs):
        m, = rx.wait_messages(1)  # one transaction for each domain
        equal(sorted(m.rcpts), ["%s@several%d.test" % (who, i) for who in ("a", "b", "c")])
    node.wait_done(mid)
    equal([len(rx.attempts) for rx in rxs], [1, 1, 1])


@test(timeout=90)
def twenty_megabytes(w, node):
    rx = w.mx("mx1.large.test")
    w.domain("large.test", rx)
    w.commit()
    data = message(SENDER, ["bob@large.test"], body=bulk(20 << 20))
    mid = node.submit(SENDER, "bob@large.test", data)
    m, = rx.wait_messages(1, timeout=60)
    equal(hashlib.sha256(body_of(m.data)).hexdigest(), hashlib.sha256(body_of(data)).hexdigest())
    node.wait_done(mid)


@test(timeout=60)
def postfix_receives(w, node):
    p = w.postfix("mx1.postfix.test", ["postfix.test"])
    w.zone("postfix.test").mx(10, p)
    w.commit()
    mid = node.submit(SENDER, ["bob@postfix.test", "carol@postfix.test"], subject="to Postfix",
                      body=".leading dot\r\n" + "x" * 900 + "\r\n")
    stored = p.wait_messages(2)
    for one in stored:
        contains(one, b"\n.leading dot\n" + b"x" * 900 + b"\n")
        contains(one, b"TLSv1.3")
    contains(node.wait_done(mid) and node.wait_log(r"MID %d RID \[0, 1\] Response" % mid)[0], "queued as")


@test
def order_of_hosts(w, node):
    backup = w.mx("mx2.order.test")
    refusing = w.mx("mx3.order.test", On("banner", "421 4.3.2 not today"))
    zone = w.zone("order.test")
    zone.mx(5, "mx1.order.test").a("mx1", w.dead()).mx(10, refusing).mx(20, backup)
    zone.mx(15, "ghost.order.test")  # a name without an address
    only = w.mx("mx1.only.test")
    w.zone("implicit.test").a("@", only.address)  # no MX: the domain's own address
    w.commit()
    node.submit(SENDER, "bob@order.test")
    node.submit(SENDER, "bob@implicit.test")
    backup.wait_messages(1)
    only.wait_messages(1)
    equal(len(refusing.conns) >= 1, True, "the second host was asked first")
    node.wait_log(r"Connection Error: DCID \d+ domain: order\.test IP: [0-9.]+ port: %d " % w.port)


@test(timeout=60)
def host_comes_back(w, node):
    rx = w.mx("mx1.down.test")
    w.domain("down.test", rx)
    w.commit()
    rx.stop()
    mids = [node.submit(SENDER, "bob@down.test") for _ in range(3)]
    node.wait_log(r"Connection Error: DCID \d+ domain: down\.test IP: ")
    rx.start()
    node.ctl("delivernow", "down.test")
    rx.wait_messages(3)
    for mid in mids:
        node.wait_done(mid)


@test
def mixed_outcomes(w, node):
    rx = w.mx("mx1.mixed.test", On("rcpt", "550 5.1.1 unknown", match="^no@"),
              On("rcpt", "451 4.3.0 later", match="^late@", times=1))
    w.domain("mixed.test", rx)
    w.commit()
    mid = node.submit(SENDER, ["yes@mixed.test", "no@mixed.test", "late@mixed.test"])
    first, second = rx.wait_messages(2)
    equal((first.rcpts, second.rcpts), (["yes@mixed.test"], ["late@mixed.test"]))
    contains(dsn_for(w, "no@mixed.test"), "Status: 5.1.1")
    no_dsn_for(w, "yes@mixed.test")
    node.wait_log(r"MID %d RID \[0\] Response" % mid)
    node.wait_done(mid)


@test
def connections_are_reused(w, node):
    rx = w.mx("mx1.reuse.test")
    w.domain("reuse.test", rx)
    w.commit()
    with node.client() as c:
        for i in range(20):
            c.send(SENDER, "bob%d@reuse.test" % i, subject=str(i))
    rx.wait_messages(20)
    equal(len(rx.conns) < 10, True, "%d connections for 20 messages" % len(rx.conns))


@test
def lost_connections_are_doubt(w, node):
    """After the dot without an answer, or in the middle: deferred, tried again, never lost."""
    rxs = {}
    for point, how in (("dot", "fin"), ("dot", "rst"), ("mail", "rst"), ("rcpt", "fin"), ("data", "fin"),
                       ("banner", "fin"), ("ehlo", "rst")):
        name = "lost-%s-%s.test" % (point, how)
        rxs[name] = w.mx("mx1." + name, On(point, close=how, times=1), caps=NO_CHUNKING)
        w.domain(name, rxs[name])
    name = "lost-body.test"
    rxs[name] = w.mx("mx1." + name, On("body", close="rst", times=1, after=1000))
    w.domain(name, rxs[name])
    w.commit()
    for name in rxs:
        node.submit(SENDER, "bob@" + name, body=bulk(5000))
    for name, rx in rxs.items():
        equal(rx.wait_messages(1)[0].rcpts, ["bob@" + name])


@test
def closing_reply_anywhere(w, node):
    rxs = {}
    for point in ("ehlo", "mail", "rcpt", "data", "dot"):
        name = "close-%s.test" % point
        rxs[name] = w.mx("mx1." + name, On(point, "421 4.3.2 going down", close="fin", times=1),
                         caps=NO_CHUNKING)
        w.domain(name, rxs[name])
    w.commit()
    for name in rxs:
        node.submit(SENDER, ["a@" + name, "b@" + name])
    for name, rx in rxs.items():
        rx.wait_messages(1, match=lambda m: "b@" + m.receiver.host[4:] in m.rcpts)


@test
def name_servers_that_fail(w, node):
    """What cannot be found out delays mail; it never bounces it."""
    hosts = {}
    for name, make in (("servfail.test", lambda z: z.fault("servfail")),
                       ("bogus.test", None), ("address-servfail.test",
                                              lambda z: z.fault("servfail", "mx1", "A"))):
        hosts[name] = w.mx("mx1." + name)
        zone = w.zone(name, bogus=make is None).mx(10, hosts[name])
        if make:
            make(zone)
    w.commit()
    mids = {name: node.submit(SENDER, "bob@" + name) for name in hosts}
    for name, mid in mids.items():
        node.wait_log(r"Destination %s is down \(dns-indeterminate" % re.escape(name))
        why, = node.ctl("why", mid)["recipients"]
        contains(why["reason"], "dns-indeterminate", "why " + name)
        no_dsn_for(w, "bob@" + name)
    w.zone("servfail.test").fault(None)
    w.zone("bogus.test").set_bogus(False)
    w.zone("address-servfail.test").fault(None, "mx1", "A")
    w.commit()
    node.ctl("dnsflush")
    for name, rx in hosts.items():
        node.ctl("delivernow", name)
        rx.wait_messages(1)


@test
def large_mx_answer(w, node):
    """Forty MX hosts: the answer comes over TCP; the best one gets the mail."""
    best = w.mx("best.many.test")
    zone = w.zone("many.test")
    for i in range(40):
        host = "a-rather-long-name-for-a-mail-host-%02d.many.test" % i
        zone.mx(20 + i, host).a(host, best.address)
    zone.mx(10, best)
    w.commit()
    equal(w.dns.ask("many.test", "MX").over_tcp, True)
    node.submit(SENDER, "bob@many.test")
    equal(best.wait_messages(1)[0].tls.sni, "best.many.test")


@test
def alias_of_a_mail_host(w, node):
    rx = w.mx("real.alias.test")
    w.zone("alias.test").mx(10, "mx1.alias.test").cname("mx1", "real.alias.test").host(rx)
    w.commit()
    node.submit(SENDER, "bob@alias.test")
    rx.wait_messages(1)


@test
def discarded_by_route(w, node):
    mid = node.submit(SENDER, "bob@discard.test")
    node.wait_done(mid)
    no_dsn_for(w, "bob@discard.test")


@test
def routed(w, node):
    rx = w.mx("relay.routed.invalid")
    mx = w.mx("mx1.routed.test")
    w.domain("routed.test", mx)
    w.commit()
    node.routes["routed.test"] = {"hosts": "[%s]:%d" % (rx.address, w.port)}
    mark = node.log_size()
    node.reload()
    node.wait_log("(?i)settings.*(loaded|in force|reloaded)", since=mark)
    node.submit(SENDER, "bob@routed.test")
    rx.wait_messages(1)
    equal(mx.conns, [], "connections to the MX")


@test
def tls_modes(w, node):
    clear = w.mx("mx1.must.test", starttls="none")
    w.domain("must.test", clear)
    never = w.mx("mx1.never.test")
    w.domain("never.test", never)
    broken = w.mx("mx1.broken.test", starttls="broken")
    w.domain("broken.test", broken)
    expired = w.mx("mx1.expired.test", cert="expired")
    w.domain("expired.test", expired)
    w.commit()
    must = node.submit(SENDER, "bob@must.test")
    node.submit(SENDER, "bob@never.test")
    node.submit(SENDER, "bob@broken.test")
    node.submit(SENDER, "bob@expired.test")
    equal(never.wait_messages(1)[0].tls, None, "tls = none")
    equal(expired.wait_messages(1)[0].tls.protocol, "TLSv1.3", "preferred does not verify")
    equal(broken.wait_messages(1)[0].tls, None, "preferred falls back to clear text")
    node.wait_log(r"TLS was required but could not be successfully negotiated")
    node.wait_log(r"Destination must\.test is down \(starttls-missing")
    contains(node.ctl("why", must)["recipients"][0]["reason"], "starttls-missing")
    equal(clear.commands("MAIL"), [], "mail in clear where TLS is required")
    clear.script(starttls="offer")
    node.ctl("delivernow", "must.test")
    equal(clear.wait_messages(1)[0].tls.protocol, "TLSv1.3")


@test
def starttls_injection(w, node):
    """What a middle man puts behind the 220 is not taken for the server's words."""
    rx = w.mx("mx1.inject.test", starttls="inject")
    w.domain("inject.test", rx)
    w.commit()
    mid = node.submit(SENDER, "bob@inject.test")
    node.wait_log(r"(TLS failed|TLS deferring|Delayed|Connection Error).*", timeout=20)
    for m in rx.messages:
        equal(m.tls, None, "a message over the poisoned connection")
    rx.script(starttls="offer")
    node.ctl("delivernow", "inject.test")
    node.wait_done(mid)


@test
def peers_with_less(w, node):
    """Old servers: no PIPELINING, no SIZE, no ESMTP at all, only HELO, few recipients."""
    bare = w.mx("mx1.bare.test", caps=[], starttls="none")
    helo = w.mx("mx1.helo.test", On("ehlo", "502 5.5.1 what is that"), caps=[], starttls="none")
    few = w.mx("mx1.few.test", max_rcpts=2)
    limits = w.mx("mx1.limits.test", caps=[*CAPS, "LIMITS RCPTMAX=2 MAILMAX=2"])
    plain = w.mx("mx1.plain.test", caps=["8BITMIME", "PIPELINING"])
    hosts = {"bare.test": bare, "helo.test": helo, "few.test": few, "limits.test": limits,
             "plain.test": plain}
    for name, rx in hosts.items():
        w.domain(name, rx)
    w.commit()
    for name in hosts:
        node.submit(SENDER, ["a@" + name, "b@" + name, "c@" + name, "d@" + name, "e@" + name])
    for name, rx in hosts.items():
        want = {x + "@" + name for x in "abcde"}
        w.wait(lambda rx=rx, want=want: want == {r for m in rx.messages for r in m.rcpts}, 30,
               "all recipients at " + name)
        equal(len([r for m in rx.messages for r in m.rcpts]), 5, "no recipient twice at " + name)
    equal([c[0] for c in helo.conns[0].commands][:2], ["EHLO", "HELO"])


@test
def eight_bits(w, node):
    """8-bit text to a server that takes it, and to one that does not."""
    good = w.mx("mx1.eight.test")
    seven = w.mx("mx1.seven.test", caps=["PIPELINING"])
    w.domain("eight.test", good)
    w.domain("seven.test", seven)
    w.commit()
    data = message(SENDER, ["bob@eight.test"], body="grün\r\n", headers=[
        "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit"])
    for name in ("eight.test", "seven.test"):
        node.submit(SENDER, "bob@" + name, data, mail_options=["BODY=8BITMIME"])
    m, = good.wait_messages(1)
    equal((m.params.get("BODY"), m.data.endswith(data)), ("8BITMIME", True))
    # converted or returned; never sent as it is (the receiver would note that)
    w.wait(lambda: seven.messages or [b for b in w.bounces.messages if b"bob@seven.test" in b.data], 20,
           "a decision for seven.test")


@test
def smtputf8(w, node):
    good = w.mx("mx1.utf8.test")
    old = w.mx("mx1.ascii.test", caps=["PIPELINING", "8BITMIME"])
    w.domain("utf8.test", good)
    w.domain("ascii.test", old)
    w.commit()
    for name in ("utf8.test", "ascii.test"):
        data = "From: <%s>\r\nTo: <bücher@%s>\r\nSubject: grün\r\n\r\nx\r\n" % (SENDER, name)
        with node.client() as c:
            c.smtp.command_encoding = "utf-8"
            c.send(SENDER, "bücher@" + name, data.encode(), mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    m, = good.wait_messages(1)
    equal((m.rcpts, "SMTPUTF8" in m.params), (["bücher@utf8.test"], True))
    w.wait(lambda: [b for b in w.bounces.messages if b"5.6.7" in b.data and b"ascii.test" in b.data], 20,
           "a DSN with 5.6.7")
    equal(old.messages, [])


@test
def dsn_parameters(w, node):
    knows = w.mx("mx1.knows.test")
    old = w.mx("mx1.nodsn.test", caps=["PIPELINING"])
    refuse = w.mx("mx1.never-tell.test", On("rcpt", "550 5.1.1 no"))
    for name, rx in (("knows.test", knows), ("nodsn.test", old), ("never-tell.test", refuse)):
        w.domain(name, rx)
    w.commit()
    options = dict(mail_options=["RET=HDRS", "ENVID=abc+2B1"])
    node.submit(SENDER, "bob@knows.test", rcpt_options=["NOTIFY=SUCCESS,FAILURE",
                                                        "ORCPT=rfc822;orig+2Bbob@knows.test"], **options)
    m, = knows.wait_messages(1)
    equal((m.params.get("RET"), m.params.get("ENVID")), ("HDRS", "abc+2B1"))
    equal(m.rcpts_all[0].params, {"NOTIFY": "SUCCESS,FAILURE",
                                  "ORCPT": "rfc822;orig+2Bbob@knows.test"})
    node.submit(SENDER, "bob@nodsn.test", rcpt_options=["NOTIFY=SUCCESS"], **options)
    text = dsn_for(w, "bob@nodsn.test")
    contains(text, "Action: relayed")
    contains(text, "Original-Envelope-Id: abc+1" if "abc+1" in text else "abc")
    mid = node.submit(SENDER, "bob@never-tell.test", rcpt_options=["NOTIFY=NEVER"])
    node.wait_log(r"Bounced: DCID \d+ MID %d " % mid)
    node.wait_done(mid)
    no_dsn_for(w, "bob@never-tell.test")


@test
def null_sender_is_not_returned(w, node):
    rx = w.mx("mx1.double.test", On("rcpt", "550 5.1.1 no"))
    w.domain("double.test", rx)
    w.commit()
    mid = node.submit("", "bob@double.test")
    node.wait_log(r"Double bounce: MID %d to RID 0 - " % mid)
    node.wait_done(mid)


@test
def all_addresses_of_a_host(w, node):
    rx = w.mx("mx1.addresses.test")
    w.zone("addresses.test").mx(10, "mx1.addresses.test").a("mx1", w.dead(), rx.address, w.dead())
    w.commit()
    node.submit(SENDER, "bob@addresses.test")
    rx.wait_messages(1)


@test
def ipv6_host(w, node):
    try:
        probe = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        probe.bind(("::1", 0))
        probe.close()
    except OSError as e:
        raise Skip("no IPv6 loopback here: %s" % e)
    rx = w.mx("mx1.six.test", address="::1")
    w.domain("six.test", rx)
    w.commit()
    node.submit(SENDER, "bob@six.test")
    rx.wait_messages(1)
    rx.stop()


@test
def numbers_agree(w, node):
    """accepted + generated = delivered + bounced + expired + removed + queued, at any time."""
    rx = w.mx("mx1.numbers.test", On("rcpt", "550 5.1.1 no", match="^no"),
              On("rcpt", "450 4.2.0 later", match="^late"))
    w.domain("numbers.test", rx)
    w.commit()
    before = node.conservation()
    equal(before[0], before[1], "before")
    mid = node.submit(SENDER, ["yes@numbers.test", "no@numbers.test", "late@numbers.test"])
    rx.wait_messages(1)
    dsn_for(w, "no@numbers.test")
    node.wait_log(r"Delayed: DCID \d+ MID %d " % mid)
    left, right, numbers = node.conservation()
    equal(left, right, "after: %r" % numbers)
    equal(left - before[0], 4, "three accepted, one generated")
    node.ctl("removemessage", mid)
    left, right, numbers = node.conservation()
    equal(left, right, "after removal: %r" % numbers)


@test(timeout=60)
def kept_over_a_restart(w, node):
    rx = w.mx("mx1.kept.test")
    w.domain("kept.test", rx)
    w.commit()
    rx.stop()
    own = w.postern().start()
    data = message(SENDER, ["bob@kept.test"], body=bulk(100000))
    mids = [own.submit(SENDER, "bob@kept.test", subject="small"),
            own.submit(SENDER, "bob@kept.test", data)]
    own.stop()
    rx.start()
    own.start()
    own.ctl("delivernow", "--all")
    got = rx.wait_messages(2)
    equal(sorted(m.header("Subject") for m in got), ["small", "test"])
    equal(any(m.data.endswith(data) for m in got), True, "the large body")
    new = own.submit(SENDER, "bob@kept.test")
    equal(new > max(mids), True, "message ids go on")


@test(timeout=60)
def expires(w, node):
    own = w.postern(bounce={"profile default": {"max_queue_time": "3s", "initial_retry": "1s",
                                                "max_retry": "1s"}}).start()
    w.domain("expire.test", w.mx("mx1.expire.test", On("rcpt", "451 4.3.0 never ready")))
    w.commit()
    mid = own.submit(SENDER, "bob@expire.test")
    text = dsn_for(w, "bob@expire.test")
    contains(text, "Action: failed")
    own.wait_log(r"Bounced: DCID \d+ MID %d .* RID 0 - 5\.4\.7 - Delivery expired" % mid)


@test
def relay_is_refused_to_strangers(w, node):
    own = w.postern({"listener internal": {"relay_from": "10.0.0.0/8"}}).start()
    e = raises(Refused, own.submit, SENDER, "bob@tls.test")
    equal(e.code // 100, 5)
    own.wait_log(r"ICID \d+ REJECT ")


if __name__ == "__main__":
    main(setup)
