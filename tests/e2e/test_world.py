"""The test internet itself: what the other tests rely on, seen through clients that are not ours."""
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

from harness import contains, equal, main, raises, test
from tests.world import (BlackHole, Client, Dialogue, On, Refused, World, bulk, endless, greylist,
                         long_line, message, submit)
from tests.world import dnswire
from tests.world.base import ROOT, find_program, poll
from tests.world.postern import password_hash

SENDER = "sender@client.test"


def to(rx):
    return rx.address, rx.port


def kdig(w, *args):
    return subprocess.run([find_program("kdig"), "@" + w.dns.unbound[0], "-p", str(w.dns.unbound[1]),
                           "+timeout=3", "+retry=0", *args], capture_output=True, text=True).stdout


# ---- DNS ----

@test
def dns_security_states(w):
    w.zone("plain.test").mx(10, "mx1.plain.test").a("mx1", "127.0.0.9").cname("www", "mx1.safe.test")
    safe = w.zone("safe.test", signed=True)
    safe.mx(10, "mx1.safe.test").a("mx1", "127.0.0.9", "::1").tlsa("mx1.safe.test", "3 1 1 " + "ab" * 32)
    safe.cname("to-plain", "mx1.plain.test")
    w.zone("sub.safe.test").a("@", "127.0.0.10")  # unsigned below signed
    w.zone("deep.sub.safe.test", signed=True).a("@", "127.0.0.11")  # an island
    w.commit()
    for name, rtype, want, secure in (
            ("plain.test", "MX", [(10, "mx1.plain.test.")], False),
            ("mx1.plain.test", "A", ["127.0.0.9"], False),
            ("safe.test", "MX", [(10, "mx1.safe.test.")], True),
            ("mx1.safe.test", "A", ["127.0.0.9"], True),
            ("mx1.safe.test", "AAAA", ["::1"], True),
            ("_%d._tcp.mx1.safe.test" % w.port, "TLSA", ["3 1 1 " + "ab" * 32], True),
            ("sub.safe.test", "A", ["127.0.0.10"], False),
            ("www.plain.test", "A", ["127.0.0.9"], False),  # insecure alias, secure target
            ("to-plain.safe.test", "A", ["127.0.0.9"], False),  # secure alias, insecure target
            ("to-plain.safe.test", "CNAME", ["mx1.plain.test."], True)):
        answer = w.dns.ask(name, rtype)
        equal((answer.rcode, answer.data(rtype), answer.ad), ("NOERROR", want, secure), name)
    equal(w.dns.ask("safe.test", "MX", ad=False).ad, False, "AD unasked for")


@test
def dns_absence(w):
    w.zone("safe.test", signed=True)
    w.zone("plain.test")
    w.zone("null.test").null_mx()
    w.commit()
    for name, rtype, rcode, secure in (
            ("no-such-zone.test", "MX", "NXDOMAIN", True),  # proven by the signed root
            ("nope.safe.test", "A", "NXDOMAIN", True), ("safe.test", "A", "NOERROR", True),
            ("nope.plain.test", "A", "NXDOMAIN", False), ("plain.test", "A", "NOERROR", False)):
        answer = w.dns.ask(name, rtype)
        equal((answer.rcode, answer.records, answer.ad), (rcode, [], secure), name)
    equal(w.dns.ask("null.test", "MX").data("MX"), [(0, ".")])


@test
def dns_bogus(w):
    zone = w.zone("bogus.test", bogus=True).a("@", "127.0.0.9")
    w.commit()
    equal(w.dns.ask("bogus.test", "A").rcode, "SERVFAIL")
    equal(w.dns.ask("bogus.test", "A", cd=True).data("A"), ["127.0.0.9"], "with CD")
    zone.set_bogus(False)
    w.commit()
    answer = w.dns.ask("bogus.test", "A")
    equal((answer.rcode, answer.ad), ("NOERROR", True), "mended")


@test
def dns_bogus_signatures(w):
    """One record with damaged signatures, and a zone whose signatures have run out."""
    tlsa = "_%d._tcp.mx1.part.test" % w.port
    part = w.zone("part.test", signed=True).a("mx1", "127.0.0.9").tlsa("mx1.part.test", "3 1 1 " + "ab" * 32)
    part.fault("bogus", tlsa, "TLSA")
    w.zone("old.test", expired=True).a("@", "127.0.0.9")
    w.commit()
    equal(w.dns.ask("mx1.part.test", "A").ad, True, "the rest of the zone")
    equal(w.dns.ask(tlsa, "TLSA").rcode, "SERVFAIL", "damaged")
    equal(w.dns.ask(tlsa, "TLSA", cd=True).data("TLSA"), ["3 1 1 " + "ab" * 32], "with CD")
    equal(w.dns.ask("old.test", "A").rcode, "SERVFAIL", "expired")
    equal(w.dns.ask("old.test", "A", cd=True).data("A"), ["127.0.0.9"], "with CD")
    contains(w.dns.unbound_proc.log_text(), "signature expired")
    part.fault(None, tlsa, "TLSA")
    w.commit()
    answer = w.dns.ask(tlsa, "TLSA")
    equal((answer.rcode, answer.ad), ("NOERROR", True), "mended")


@test
def dns_front(w):
    """A resolver that goes wrong: no validation, one type that fails, gone, and good again."""
    front = w.front()
    at = (front.address, front.port)
    w.zone("safe.test", signed=True).a("@", "127.0.0.9").txt("big", "x" * 2000)
    w.commit()
    equal(dnswire.ask(at, "safe.test", "A").ad, True)
    answer = dnswire.ask(at, "big.safe.test", "TXT")
    equal((answer.ad, answer.over_tcp), (True, True))
    front.set("strip")
    answer = dnswire.ask(at, "safe.test", "A")
    equal((answer.data("A"), answer.ad), (["127.0.0.9"], False))
    equal(dnswire.ask(at, "big.safe.test", "TXT").ad, False, "over TCP")
    front.set(None).set("servfail", "TLSA")
    equal(dnswire.ask(at, "_25._tcp.safe.test", "TLSA").rcode, "SERVFAIL")
    equal(dnswire.ask(at, "safe.test", "A").ad, True)
    front.set("silent", "A")
    raises(TimeoutError, dnswire.ask, at, "safe.test", "A", timeout=0.3)
    front.close()
    raises(ConnectionRefusedError, dnswire.ask, at, "safe.test", "A")
    front.set(None).open()
    equal(dnswire.ask(at, "safe.test", "A").ad, True, "back")
    contains(front.asked, ("safe.test", "A"))


@test
def dns_resolver_killed(w):
    w.zone("safe.test", signed=True).a("@", "127.0.0.9")
    w.commit()
    w.dns.kill_unbound()
    raises(ConnectionRefusedError, w.dns.ask, "safe.test", "A")
    w.dns.start_unbound()
    equal(w.dns.ask("safe.test", "A").ad, True)


@test
def dns_servers_that_fail(w):
    whole = w.zone("whole.test").a("@", "127.0.0.9").fault("servfail")
    refusing = w.zone("refusing.test").a("@", "127.0.0.9").fault("refused")
    part = w.zone("part.test", signed=True).a("mx1", "127.0.0.9").fault("servfail", rtype="TLSA")
    one = w.zone("one.test").a("a", "127.0.0.9").a("b", "127.0.0.9").fault("servfail", "a", "A")
    silent = w.zone("silent.test").a("@", "127.0.0.9").fault("silent")
    w.commit()
    equal(w.dns.ask("whole.test", "A").rcode, "SERVFAIL")
    equal(w.dns.ask("refusing.test", "A").rcode, "SERVFAIL")
    answer = w.dns.ask("mx1.part.test", "A")
    equal((answer.data("A"), answer.ad), (["127.0.0.9"], True), "the rest of a zone")
    equal(w.dns.ask("_25._tcp.mx1.part.test", "TLSA").rcode, "SERVFAIL")
    equal(w.dns.ask("a.one.test", "A").rcode, "SERVFAIL")
    equal(w.dns.ask("b.one.test", "A").data("A"), ["127.0.0.9"])
    raises(TimeoutError, w.dns.ask, "silent.test", "A", timeout=0.7)
    for zone in (whole, refusing, silent):
        zone.fault(None)
    part.fault(None, rtype="TLSA")
    one.fault(None, "a", "A")
    w.commit()
    for name in ("whole.test", "refusing.test", "silent.test", "a.one.test"):
        equal(w.dns.ask(name, "A").data("A"), ["127.0.0.9"], name + " mended")
    equal(w.dns.ask("_25._tcp.mx1.part.test", "TLSA").rcode, "NXDOMAIN")


@test
def dns_large_answers(w):
    text = "".join(chr(33 + i % 90) for i in range(3000))
    w.zone("big.test").txt("@", text).txt("two", "a;\"b\\", b"\xff\x00c")
    w.commit()
    answer = w.dns.ask("big.test", "TXT")
    equal(b"".join(answer.data("TXT")[0]).decode(), text)
    equal(answer.over_tcp, True, "over TCP")
    equal(w.dns.ask("two.big.test", "TXT").data("TXT"), [[b"a;\"b\\", b"\xff\x00c"]])


@test
def dns_changes(w):
    zone = w.zone("change.test", ttl=3600).a("@", "127.0.0.1")
    w.commit()
    equal(w.dns.ask("change.test", "A").data("A"), ["127.0.0.1"])
    equal(w.dns.ask("later.change.test", "A").rcode, "NXDOMAIN")
    equal(w.dns.ask("born.test", "A").rcode, "NXDOMAIN")
    for i in range(2, 5):  # each over a cached answer
        zone.remove("@", "A").a("@", "127.0.0.%d" % i)
        w.commit()
        equal(w.dns.ask("change.test", "A").data("A"), ["127.0.0.%d" % i])
    zone.a("later", "127.0.0.1")
    w.zone("born.test", signed=True).a("@", "127.0.0.1")
    w.commit()
    equal(w.dns.ask("later.change.test", "A").data("A"), ["127.0.0.1"])
    equal(w.dns.ask("born.test", "A").ad, True)
    w.dns.drop("born.test")
    w.commit()
    equal(w.dns.ask("born.test", "A").rcode, "NXDOMAIN")


@test
def dns_seen_by_kdig(w):
    w.zone("safe.test", signed=True).mx(10, "mx1.safe.test")
    w.zone("plain.test").mx(10, "mx1.plain.test")
    w.zone("bogus2.test", bogus=True)
    w.commit()
    out = kdig(w, "+dnssec", "safe.test", "MX")
    contains(out, "status: NOERROR")
    equal(bool(re.search(r"Flags:[^;]* ad\b", out)), True, "AD by kdig")
    contains(out, "RRSIG")
    equal(bool(re.search(r"Flags:[^;]* ad\b", kdig(w, "+dnssec", "plain.test", "MX"))), False)
    contains(kdig(w, "+dnssec", "bogus2.test", "MX"), "SERVFAIL")


# ---- receivers ----

@test
def mx_takes_mail(w):
    rx = w.mx("mx1.take.test")
    data = message(SENDER, ["a@take.test"], body="first\r\n.dot\r\n..two\r\n.\r\nlast\r\n")
    with Client(to(rx)) as c:
        c.send(SENDER, ["a@take.test", "b@take.test"], data, mail_options=["SIZE=1000"])
        c.send("", "c@take.test", subject="second")
    first, second = rx.wait_messages(2)
    equal((first.mail_from, first.rcpts, first.params), (SENDER, ["a@take.test", "b@take.test"],
                                                         {"SIZE": "1000"}))
    equal(first.data, data)
    equal((first.tls, first.via, first.header("Subject")), (None, "DATA", "test"))
    equal((second.mail_from, second.rcpts), ("", ["c@take.test"]))
    conn = rx.wait_idle() and rx.conns[0]
    equal([c[0] for c in conn.commands], ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "MAIL", "RCPT", "DATA",
                                          "QUIT"])
    equal(rx.max_open, 1)


@test
def mx_tls(w):
    rx = w.mx("mx1.tls.test")
    with Client(to(rx), tls="starttls", ca_file=w.ca.ca_file, name=rx.host) as c:
        c.send(SENDER, "a@tls.test")
    m, = rx.wait_messages(1)
    equal((m.tls.protocol, m.tls.sni), ("TLSv1.3", "mx1.tls.test"))
    contains(m.tls.cipher, "TLS_")
    rx.script(tls_max="TLSv1_2")
    with Client(to(rx), tls="starttls", ca_file=w.ca.ca_file, name=rx.host) as c:
        c.send(SENDER, "a@tls.test")
    equal(rx.wait_messages(2)[1].tls.protocol, "TLSv1.2")
    implicit = w.mx("mx2.tls.test", implicit_tls=True)
    with Client(to(implicit), tls="implicit", ca_file=w.ca.ca_file, name=implicit.host) as c:
        c.send(SENDER, "a@tls.test")
    equal(implicit.wait_messages(1)[0].tls.protocol, "TLSv1.3")


@test
def mx_certificates(w):
    w.allow()
    want = {"valid": None, "self-signed": "self-signed", "expired": "expired",
            "not-yet": "not yet valid", "wrong-name": "mismatch", "cn-only": "mismatch"}
    for kind, error in want.items():
        rx = w.mx("mx1.%s.test" % kind, cert=kind)
        go = dict(session={"tls": "starttls", "ca_file": w.ca.ca_file, "name": rx.host})
        if error is None:
            submit(to(rx), SENDER, "a@x.test", **go)
            continue
        contains(str(raises(ssl.SSLCertVerificationError, submit, to(rx), SENDER, "a@x.test", **go)), error)
        submit(to(rx), SENDER, "a@x.test", session={"tls": "starttls"})  # without verification
        equal(rx.wait_messages(1)[0].tls.protocol, "TLSv1.3")
    cert = w.ca.issue("mx1.valid.test")
    spki = subprocess.run("openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform DER | "
                          "sha256sum" % cert.cert, shell=True, capture_output=True, text=True).stdout
    equal(cert.tlsa(), "3 1 1 " + spki.split()[0])


@test
def mx_greylist_and_refusals(w):
    rx = w.mx("mx1.rules.test", greylist(2), On("rcpt", "550 5.1.1 no such user", match="^nobody@"))
    with Client(to(rx)) as c:
        for _ in range(2):
            equal(raises(Refused, c.send, SENDER, "a@rules.test").code, 450)
        equal(raises(Refused, c.send, SENDER, "b@rules.test").code, 450)  # counted per recipient
        c.send(SENDER, "a@rules.test")
        for _ in range(2):
            raises(Refused, c.send, SENDER, "nobody@rules.test")
        equal(raises(Refused, c.send, SENDER, "nobody@rules.test").code, 550)
    for point, step in (("banner", "connect"), ("ehlo", "EHLO"), ("mail", "MAIL"), ("data", "DATA"),
                        ("dot", "end of data")):
        for reply in ("421 4.3.2 later", "554 5.7.1 never"):
            rx.script(On(point, reply, times=1))
            e = raises(Refused, submit, to(rx), SENDER, "a@rules.test")
            equal((e.step, e.code), (step, int(reply[:3])))
            submit(to(rx), SENDER, "a@rules.test")  # spent


@test
def mx_closes(w):
    rx = w.mx("mx1.close.test")
    for how in ("fin", "rst"):
        for point, sends in (("connect", []), ("ehlo", ["EHLO x"]), ("mail", ["EHLO x", "MAIL FROM:<a@b>"]),
                             ("rcpt", ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"]),
                             ("data", ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"]),
                             ("dot", ["EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "."])):
            rx.script(On(point, close=how))
            with Dialogue(to(rx)) as d:
                if point != "connect":
                    d.expect(220)
                for i, line in enumerate(sends):
                    d.send(line)
                    if i < len(sends) - 1:
                        d.expect(250, 354)
                d.expect(0)
    equal([m.accepted for m in rx.attempts], [False, False], "after the dot without a reply")
    rule = On("body", close="fin", after=1000)
    rx.script(rule)
    with Dialogue(to(rx)) as d:
        d.hello()
        for line in ("MAIL FROM:<a@b>", "RCPT TO:<c@d>"):
            d.cmd(line, 250)
        d.cmd("DATA", 354)
        d.send(bulk(1200))
        d.expect(0)
    equal(rule.used, 1)


@test
def mx_starttls_troubles(w):
    w.allow()
    rx = w.mx("mx1.trouble.test", starttls="none")
    equal("STARTTLS" in Dialogue(to(rx)).hello(), False)
    rx.script(starttls="refuse")
    equal(raises(Refused, Client, to(rx), tls="starttls").code, 454)
    for how in ("broken", "garbage", "close"):
        rx.script(starttls=how)
        raises((ssl.SSLError, OSError), Client, to(rx), tls="starttls")
    rx.script(starttls="inject")
    d = Dialogue(to(rx))
    d.hello()
    d.send("STARTTLS")
    equal([d.line()[:3] for _ in range(3)], ["220", "250", "250"], "answers behind the 220")
    d.close()
    rx.script(starttls="offer")
    d = Dialogue(to(rx))
    d.hello()
    d.starttls(behind=b"MAIL FROM:<evil@x>\r\n")
    d.cmd("EHLO x", 250)
    d.close()
    contains(" ".join(rx.violations), "plaintext behind STARTTLS")
    rx.script(starttls="stall")
    d = Dialogue(to(rx))
    d.hello()
    d.cmd("STARTTLS", 220)
    equal(d.pending(0.2), False, "a server that stalls")
    d.close()
    rx.wait_idle()


@test
def mx_client_gone_before_the_handshake(w):
    """A reset right behind STARTTLS is the client's affair, not a mistake of the receiver."""
    rx = w.mx("mx1.gone.test", On("starttls", delay=0.2))
    with Dialogue(to(rx)) as d:
        d.hello()
        d.send("STARTTLS")
        rx.wait_command("STARTTLS")
        d.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    rx.wait_idle()
    equal(rx.errors, [])


@test
def mx_strange_replies(w):
    rx = w.mx("mx1.strange.test", On("ehlo", long_line("250", 1 << 20)))
    with Dialogue(to(rx)) as d:
        d.expect(220)
        equal(len(d.cmd("EHLO x", 250)[0]), 1 << 20)
    rx.script(On("mail", endless("250")))
    with Dialogue(to(rx)) as d:
        d.hello()
        d.send("MAIL FROM:<a@b>")
        for _ in range(5000):
            equal(d.line()[:4], "250-")
    rx.wait_idle()
    rx.script(On("banner", drip=0.0005), On("ehlo", ["250-a", "250-SIZE 5", "250 DSN"], drip=0.0005))
    with Dialogue(to(rx)) as d:
        equal(d.hello(), ["SIZE 5", "DSN"])
    rx.script(On("mail", stall=True))
    with Dialogue(to(rx)) as d:
        d.hello()
        d.send("MAIL FROM:<a@b>")
        equal(d.pending(0.2), False, "a server that stalls")
        rx.release()
        d.expect(250)


@test
def mx_reads_data_exactly(w):
    rx = w.mx("mx1.exact.test")
    bodies = [b"", b"x\r\n", b".\r\n", b"..\r\n.\r\n", b"a\r\n.b\r\n\r\n.\r\n", b"\r\n", b"end.\r\n"]
    for body in bodies:
        for size in (1, 2, 3, 5, 1000):
            with Dialogue(to(rx)) as d:
                d.hello()
                for line in ("MAIL FROM:<a@b>", "RCPT TO:<c@d>"):
                    d.cmd(line, 250)
                d.cmd("DATA", 354)
                wire = re.sub(rb"(\A|\r\n)\.", rb"\1..", body) + b".\r\n"
                for i in range(0, len(wire), size):
                    d.send(wire[i:i + size])
                d.expect(250)
                d.cmd("QUIT", 221)
            equal(rx.attempts[-1].data, body, "pieces of %d" % size)
    w.allow()  # these messages do not all end in CRLF
    with Dialogue(to(rx)) as d:
        d.hello()
        d.cmd("MAIL FROM:<a@b> BODY=8BITMIME", 250)
        d.cmd("RCPT TO:<c@d> NOTIFY=NEVER", 250)
        d.send(b"BDAT 5\r\n.\r\n.\r")
        d.expect(250)
        d.send(b"BDAT 1 LAST\r\n\n")
        d.expect(250)
    last = rx.wait_messages(len(bodies) * 5 + 1)[-1]
    equal((last.data, last.via, last.chunks, last.rcpts_all[0].params),
          (b".\r\n.\r\n", "BDAT", 2, {"NOTIFY": "NEVER"}))


@test
def mx_limits(w):
    w.allow()
    rx = w.mx("mx1.limits.test", caps=["PIPELINING", "SIZE 1000", "LIMITS RCPTMAX=2 MAILMAX=2"])
    with Dialogue(to(rx)) as d:
        d.hello()
        d.cmd("MAIL FROM:<a@b> SIZE=2000", 552)
        d.cmd("MAIL FROM:<a@b>", 250)
        for code in (250, 250, 452):
            d.cmd("RCPT TO:<c@d>", code)
        d.cmd("DATA", 354)
        d.send(bulk(1500) + b".\r\n")
        d.expect(552)
    contains(" ".join(rx.violations), "RCPTMAX")


@test
def mx_notices_bad_clients(w):
    w.allow()
    rx = w.mx("mx1.bad.test", caps=["SIZE 100000"], starttls="none")
    for sends, want in ((b"EHLO x\r\nMAIL FROM:<a@b>\r\n", "without PIPELINING"),
                        (b"EHLO x\r\n|MAIL FROM:<a@b> BODY=8BITMIME\r\n", "BODY not offered"),
                        (b"EHLO x\r\n|MAIL FROM:<a@b>\n", "bare LF in a command"),
                        (b"EHLO x\r\n|MAIL FROM: <a@b>\r\n", "MAIL "),
                        (b"EHLO x\r\n|MAIL FROM:<a@b>\r\n|RCPT TO:<c@d>\r\n|DATA\r\n|a\nb\r\n.\r\n",
                         "bare CR or LF in a message"),
                        (b"EHLO x\r\n|MAIL FROM:<a@b>\r\n|RCPT TO:<c@d>\r\n|DATA\r\n|\xc3\xa4\r\n.\r\n",
                         "8-bit message"),
                        (b"EHLO x\r\n|MAIL FROM:<a@b>\r\n|RCPT TO:<c@d>\r\n|DATA\r\n|" + b"x" * 999 +
                         b"\r\n.\r\n", "line of 999 bytes")):
        rx.forget()
        with Dialogue(to(rx)) as d:
            d.expect(220)
            for part in sends.split(b"|"):
                d.send(part)
                d.reply()
        contains(" ".join(rx.violations), want)
        rx.wait_idle()


@test
def mx_asks_for_a_login(w):
    rx = w.mx("mx1.auth.test", auth={"relay": "secret"})
    for mechanism in ("PLAIN", "LOGIN"):
        with Client(to(rx), tls="starttls", user="relay", password="secret", mechanism=mechanism) as c:
            c.send(SENDER, "a@auth.test")
    equal([m.conn.user for m in rx.wait_messages(2)], ["relay", "relay"])
    equal(raises(Refused, Client, to(rx), tls="starttls", user="relay", password="wrong").code, 535)


@test
def mx_stops_and_starts(w):
    rx = w.mx("mx1.stop.test")
    d = Dialogue(to(rx))
    d.hello()
    rx.stop()
    d.expect(0)
    raises(ConnectionRefusedError, Dialogue, to(rx))
    rx.start()
    submit(to(rx), SENDER, "a@stop.test")
    rx.wait_messages(1)


@test
def addresses_without_a_server(w):
    raises(ConnectionRefusedError, Dialogue, (w.dead(), w.port))
    hole = w.black_hole()
    raises(TimeoutError, Dialogue, (hole, w.port), timeout=0.5)
    with contextlib.closing(BlackHole(w.block.host(), w.port)) as other:
        raises(TimeoutError, Dialogue, (other.address, w.port), timeout=0.5)


@test
def large_message(w):
    rx = w.mx("mx1.large.test")
    data = message(SENDER, ["a@large.test"], body=bulk(20 << 20))
    submit(to(rx), SENDER, "a@large.test", data, session={"tls": "starttls"})
    equal(rx.wait_messages(1)[0].data == data, True, "20 MB unchanged")


@test
def many_connections(w):
    rx = w.mx("mx1.many.test")
    sockets = [Dialogue(to(rx)) for _ in range(200)]
    for d in sockets:
        d.expect(220)
    equal(rx.max_open, 200)
    for d in sockets:
        d.close()
    rx.wait_idle()


@test(timeout=60)
def postfix_takes_mail(w):
    p = w.postfix("mx1.postfix.test", ["postfix.test"])
    data = message(SENDER, ["a@postfix.test"], body=bulk(100000))
    submit(to(p), SENDER, "a@postfix.test", data,
           session={"tls": "starttls", "ca_file": w.ca.ca_file, "name": p.host})
    stored, = p.wait_messages(1)
    equal(stored.endswith(bulk(100000).replace(b"\r\n", b"\n")), True, "the body")
    contains(stored.decode(), "TLSv1.3")
    equal(raises(Refused, submit, to(p), SENDER, "a@elsewhere.test").code // 100, 5)


@test
def password_hashes(w):
    one = password_hash("wonderland")
    equal(one[:3], "$y$")
    equal(one == password_hash("wonderland"), False, "salted")


# ---- the world as a whole ----

@test
def two_worlds(w):
    with World() as other:
        equal(other.block.n == w.block.n, False)
        other.zone("plain.test").a("@", "127.0.0.77")
        other.commit()
        equal(other.dns.ask("plain.test", "A").data("A"), ["127.0.0.77"])
        directory = other.tmp.path
    equal(os.path.exists(directory), False, "directory left behind")


def world_in_a_child(how):
    """Start python3 -m tests.world, end it by a signal: nothing may stay."""
    p = subprocess.Popen([sys.executable, "-m", "tests.world"], cwd=ROOT, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    head = []
    while not head or "Ctrl-C" not in head[-1]:
        line = p.stdout.readline()
        if not line:
            raise AssertionError("no world: " + "".join(head))
        head.append(line)
    text = "".join(head)
    directory = re.search(r"directory +(\S+)", text).group(1)
    equal(os.path.isdir(directory), True)
    p.send_signal(how)
    p.wait()
    p.stdout.close()

    def daemons():
        out = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/cmdline" % pid, "rb") as f:
                if directory.encode() in f.read() and int(pid) != os.getpid():
                    out.append(pid)
        return out
    poll(lambda: not daemons() and not os.path.exists(directory), 15,
         lambda: "world to go; left: %s %s" % (daemons(), os.path.exists(directory)))
    return p.returncode


@test(timeout=60)
def ends_clean_on_sigterm(w):
    equal(world_in_a_child(signal.SIGTERM), 143)


@test(timeout=60)
def ends_clean_on_sigint(w):
    equal(world_in_a_child(signal.SIGINT), 0)


@test(timeout=60)
def ends_clean_on_sigkill(w):
    equal(world_in_a_child(signal.SIGKILL), -9)


@test(timeout=60)
def runs_as_ordinary_user(w):
    if os.geteuid() != 0:
        return  # the whole file does
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        shutil.copytree(os.path.join(ROOT, "tests", "world"), d + "/tests/world",
                        ignore=shutil.ignore_patterns("__pycache__"))
        script = ("from tests.world import *\n"
                  "with World() as w:\n"
                  "    rx = w.mx('mx1.user.test')\n"
                  "    w.domain('user.test', rx, signed=True)\n"
                  "    w.commit()\n"
                  "    assert w.dns.ask('user.test', 'MX').ad\n"
                  "    submit((rx.address, rx.port), 'a@b', 'c@user.test', session={'tls': 'starttls'})\n"
                  "    rx.wait_messages(1)\n"
                  "    try:\n"
                  "        w.postfix('mx2.user.test', ['x.test'])\n"
                  "    except Skip as e:\n"
                  "        print('skipped:', e)\n")
        done = subprocess.run([find_program("setpriv"), "--reuid", "nobody", "--regid", "nogroup",
                               "--clear-groups", "/usr/bin/python3", "-c", script], cwd=d,
                              env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        equal(done.returncode, 0, done.stderr)
        contains(done.stdout, "Postfix needs root")


if __name__ == "__main__":
    main()
