"""REQUIRETLS and TLS-Required: No (RFC 8689): from intake to the hosts, and back as a notice."""
import re

from harness import contains, equal, main, raises, test
from sts import SENDER, idle
from tests.world.base import poll
from tests.world.client import Refused
from tests.world.mx import CAPS

HAS = CAPS + ("REQUIRETLS",)
BODY = b"From: <sender@client.test>\r\nSubject: secret\r\n%s\r\nnobody else may read this\r\n"


def setup(w):
    return w.postern(settings={
        "delivery": {"idle": "1s", "connect_timeout": "2s"},
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"},
        "listener internal": {"tls": "offered", "certificate": "default"},
    }, destinations={"DEFAULT": {"mta_sts": "off"}}).start()


def send(node, name, header=b"", requiretls=True, sender=SENDER, ret=None):
    options = (["REQUIRETLS"] if requiretls else []) + (["RET=" + ret] if ret else [])
    return node.submit(sender, ["a@" + name], BODY % header, session={"tls": "starttls"}, mail_options=options)


def host(w, name, has, kind="self-signed"):
    mx = w.mx(name, cert=w.ca.issue(name, kind), caps_tls=HAS if has else CAPS)
    return mx


def signed(w, name, *hosts, **records):
    zone = w.domain(name, *hosts, signed=True)
    for mx in hosts:
        zone.tlsa(mx.host, records.get(mx.host.split(".")[0]) or w.ca.issue(mx.host, "self-signed"))
    w.commit()
    return zone


def one(mx, name):
    return [m for m in mx.messages if "a@" + name in m.rcpts]


def notice(w, node, mid, sender):
    """The notice that goes to the sender's domain."""
    poll(lambda: [m for m in sender.messages if m.mail_from == ""], 30, "a notice")
    return [m for m in sender.messages if m.mail_from == ""][-1]


def client(w, name, has=True):
    """The domain of a sender, to which notices can go."""
    mx = host(w, "mx." + name, has)
    signed(w, name, mx)
    return mx


@test
def offered_inside_tls_only(w, node):
    """RTLS-01, RTLS-02"""
    with node.client() as c:
        assert not c.smtp.has_extn("requiretls")
        e = raises(Refused, c.send, SENDER, "a@x.test", mail_options=["REQUIRETLS"])
        equal(e.code, 555)
    with node.client(tls="starttls") as c:
        equal(c.smtp.esmtp_features["requiretls"], "")
        e = raises(Refused, c.send, SENDER, "a@x.test", mail_options=["REQUIRETLS=x"])
        equal(e.code, 501)


@test
def carried_on(w, node):
    """With the parameter, to a host that proves itself by DANE (RTLS-03, RTLS-06, RTLS-10)."""
    mx = host(w, "mx1.on.test", True)
    signed(w, "on.test", mx)
    mid = send(node, "on.test", header=b"TLS-Required: No\r\n")  # ignored (RTLS-04)
    node.wait_done(mid)
    node.wait_log(r"MID %d REQUIRETLS$" % mid)
    equal(list(one(mx, "on.test")[0].params).count("REQUIRETLS"), 1)
    mid = send(node, "on.test", requiretls=False)
    node.wait_done(mid)
    assert "REQUIRETLS" not in one(mx, "on.test")[1].params


@test
def next_host_that_offers_it(w, node):
    """The first host is left with QUIT, and other mail goes there (RTLS-07, RTLS-08)."""
    first, second = host(w, "mx1.two.test", False), host(w, "mx2.two.test", True)
    signed(w, "two.test", first, second)
    mid = send(node, "two.test")
    node.wait_done(mid)
    equal(len(one(second, "two.test")), 1)
    equal([c for c in first.commands("MAIL")], [])
    assert first.commands("QUIT")
    node.wait_log(r"DCID \d+ deferring: mx1.two.test does not offer REQUIRETLS for two.test")
    node.wait_done(send(node, "two.test", requiretls=False))
    equal(len(one(first, "two.test")), 1)


@test
def no_host_offers_it(w, node):
    """5.7.30, and a notice without the text whatever RET says (RTLS-09, RTLS-11, RTLS-12)."""
    sender = client(w, "s1.test")
    mx = host(w, "mx1.none.test", False)
    signed(w, "none.test", mx)
    mid = send(node, "none.test", sender="s@s1.test", ret="FULL")
    told = notice(w, node, mid, sender)
    text = told.data.decode()
    contains(text, "Status: 5.7.30")
    contains(text, "Subject: secret")
    assert "nobody else" not in text
    assert "REQUIRETLS" in told.params
    equal(mx.commands("MAIL"), [])


@test
def notice_where_the_hop_has_it_not(w, node):
    """It has only headers, and is delivered all the same (RTLS-13)."""
    sender = client(w, "s2.test", has=False)
    mx = host(w, "mx1.none2.test", False)
    signed(w, "none2.test", mx)
    told = notice(w, node, send(node, "none2.test", sender="s@s2.test"), sender)
    assert "REQUIRETLS" not in told.params
    contains(told.data.decode(), "Status: 5.7.30")


@test
def nobody_proves_the_name(w, node):
    """Neither DNSSEC nor a policy: 5.7.10, and no host is asked (RTLS-05)."""
    sender = client(w, "s3.test")
    mx = host(w, "mx1.plain.test", True, kind="valid")
    w.domain("plain.test", mx)
    w.commit()
    told = notice(w, node, send(node, "plain.test", sender="s@s3.test"), sender)
    contains(told.data.decode(), "Status: 5.7.10")
    equal(mx.attempts, [])


@test
def a_bad_certificate_is_final(w, node):
    """No record matches: 5.7.10, since nothing got as far as a proof."""
    sender = client(w, "s4.test")
    mx = host(w, "mx1.bad.test", True)
    signed(w, "bad.test", mx, mx1="3 1 1 " + "ab" * 32)
    told = notice(w, node, send(node, "bad.test", sender="s@s4.test"), sender)
    contains(told.data.decode(), "Status: 5.7.10")
    equal(mx.commands("MAIL"), [])


@test
def what_may_pass_is_waited_for(w, node):
    """One host offers it not, the other is away: the message waits, and goes when it is back (RTLS-15)."""
    first, second = host(w, "mx1.wait.test", False), host(w, "mx2.wait.test", True)
    signed(w, "wait.test", first, second)
    second.stop()
    mid = send(node, "wait.test")
    node.wait_log(r"Destination wait.test is down \(requiretls-missing")
    # other mail of the domain does not wait with it
    node.wait_done(send(node, "wait.test", requiretls=False))
    doc = node.ctl("hoststatus", "wait.test")
    equal(sorted((d["class"] or "", d["state"]) for d in doc["destinations"]), [("", "up"), ("requiretls", "down")])
    second.start()
    node.wait_done(mid)
    equal(len(one(second, "wait.test")), 1)


@test
def tls_required_no(w, node):
    """What the receiver published is not enforced, what the operator demands is (RTLS-04, row 2)."""
    mx = host(w, "mx1.no.test", False)
    signed(w, "no.test", mx, mx1="3 1 1 " + "ab" * 32)
    waits = send(node, "no.test", requiretls=False)
    node.wait_log(r"Destination no.test is down \(dane-failed")
    mid = send(node, "no.test", header=b"TLS-Required: no\r\n", requiretls=False)
    node.wait_log(r"MID %d TLS-Required: No$" % mid)
    node.wait_done(mid)
    equal(len(one(mx, "no.test")), 1)
    node.ctl("removemessage", waits)
    idle(node)


@test
def explain_with_a_message(w, node):
    """What would become of such mail, and of other records."""
    mx = w.mx("mx1.asked.test")
    w.domain("asked.test", mx)
    w.commit()

    def ask(*facts, want=None):
        return node.ctl("explain", "asked.test", *[x for f in facts for x in ("--with", f)], want=want)

    doc = ask("message=requiretls")
    equal((doc["outcome"], doc["reason"]), ("fail", "requiretls-missing"))
    doc = ask("message=requiretls", "mx=secure")
    equal((doc["outcome"], doc["hosts"][0]["level"]), ("deliver", "verify"))
    doc = ask("mx=secure", "tlsa=3 1 1 " + "ab" * 32, "tlsa=3 0 1 " + "cd" * 32)
    equal(doc["hosts"][0]["level"], "dane")
    equal(ask("tlsa=3 1 1 ab")["hosts"][0]["level"], "encrypt")
    equal(ask("tlsa=indeterminate")["hosts"][0]["reason"], "tlsa-indeterminate")
    equal(ask("tlsa=indeterminate", "message=tls-required-no")["hosts"][0]["verdict"], "attempt")
    contains(ask("message=secret", want=2)["error"]["text"], "wanted message=")
    contains(ask("tlsa=3 1", want=2)["error"]["text"], "wanted message=")


if __name__ == "__main__":
    main(setup)
