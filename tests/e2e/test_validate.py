"""[resolver] dnssec = validate: what name servers may do to a node that believes none of them."""
import os

from dane import delivered, published, validating
from harness import contains, equal, main, test
from sts import send


def node_of(w, front, **more):
    return w.postern(settings={
        "resolver": validating(w, front, **more),
        "delivery": {"idle": "1s"},
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"}})


def resolver_of(node):
    doc = node.ctl("status", "detail", want=None)
    return next(p["status"] for p in doc["processes"] if p["process"] == "resolver")


def waits(node, name, reason, mx):
    """It is down for this reason; the host was not given a message. The message."""
    had, at = len(mx.messages), node.log_size()
    mid = send(node, name)
    node.wait_log(r"Destination %s is down \(.*%s" % (name, reason), since=at)
    equal(len(mx.messages), had, "messages that left")
    return mid


@test
def servers_say_nothing_of_worth(w):
    """No AD ever: signed and unsigned domains are known for what they are, and nothing waits."""
    front = w.front().set("strip")
    zone, mx, cert = published(w, "signed.test")
    plain = w.mx("mx1.plain.test")
    w.domain("plain.test", plain)
    w.commit()
    node = node_of(w, front).start()
    node.wait_log("DNSSEC: the resolver validates")
    r = resolver_of(node)
    equal((r["dnssec"], r["validation"], r["alert"], r["warning"]), ("validates", "here", None, None))
    equal([s["trusted"] for s in r["servers"]], [False])
    delivered(node, mx, "signed.test", "level dane")
    delivered(node, plain, "plain.test")
    equal(node.ctl("explain", "a@plain.test")["mx_security"], "insecure")
    assert ("signed.test", "DNSKEY") in front.asked, "keys are asked for"
    node.stop()


@test
def servers_lie(w):
    """Damaged signatures; "there are no TLSA records, and I have validated that": the mail waits, the log says why,
    and it goes when the truth comes back."""
    front = w.front()
    node = node_of(w, front).start()
    for name, how, rtype, reason, why in (
            ("damaged.test", "bogus", "*", "dns-indeterminate", "validation failure"),
            ("denied.test", "deny", "TLSA", "tlsa-indeterminate", "validation failure"),
            ("denied-mx.test", "deny", "MX", "dns-indeterminate", "validation failure")):
        zone, mx, cert = published(w, name)
        front.set(how, rtype)
        mid = waits(node, name, reason, mx)
        line = node.wait_log(r"DNS lookup of \S*%s \w+ failed" % name)[0]
        contains(line, why)
        front.set(None)
        node.ctl("dnsflush")  # or a minute: so long keys that failed are kept
        node.wait_done(mid, 60)
        node.wait_log(r"TLS success .* for %s level dane" % name)
        equal([x for x in node.lines("TLS success .* for " + name) if "level dane" not in x], [])
    r = resolver_of(node)
    equal((r["alert"], r["warning"]), (None, None))
    assert node.metrics()["postern_dns_bogus_total"] >= 3
    node.stop()


@test
def broken_zones(w):
    """A wrong DS, signatures that have run out: the words of libunbound are in the log."""
    node = node_of(w, w.front()).start()
    for name, kw, why in (("wrong-ds.test", {"bogus": True}, "DS"), ("expired.test", {"expired": True}, "expired")):
        mx = w.mx("mx1." + name)
        w.zone(name, **kw).mx(10, mx)
        w.commit()
        waits(node, name, "dns-indeterminate", mx)
        contains(node.wait_log(r"DNS lookup of %s MX failed" % name)[0], why)
    node.stop()


@test(timeout=90)
def no_server_answers(w):
    """An outage is no lie: it is told as one, and ends soon after its cause."""
    front = w.front()
    zone, mx, cert = published(w, "outage.test")
    node = node_of(w, front, timeout="1s").start()
    node.wait_log("DNSSEC: the resolver validates")
    front.close()
    mid = waits(node, "outage.test", "dns-indeterminate", mx)
    node.wait_log("no answer in time|no name server that is asked has an answer")
    front.open()
    node.wait_done(mid, 60)
    node.wait_log(r"TLS success .* for outage\.test level dane")
    equal(node.lines("validation failure"), [])
    node.stop()


@test
def another_anchor(w):
    """One that the root does not have: everything is bogus, nothing leaves, and it is said."""
    front = w.front()
    mx = w.mx("mx1.one.test")
    w.domain("one.test", mx)
    w.commit()
    node = node_of(w, front)
    path = os.path.join(node.etc, "other")
    with open(path, "w") as f:
        f.write(w.dns.anchor()[:-4] + "0000\n")
    good, node.settings["resolver"]["trust_anchor"] = node.settings["resolver"]["trust_anchor"], path
    node.start()
    line = node.wait_log("DANE is configured but the resolver does not validate")[0]
    contains(line, "trust_anchor")
    mid = waits(node, "one.test", "dns-indeterminate", mx)
    node.settings["resolver"]["trust_anchor"] = good
    node.write()
    node.ctl("reload")
    node.wait_done(mid, 60)
    node.stop()


@test
def the_real_root_key(w):
    """What dns-root-data brings is an anchor: the world's root, which has another key, is bogus under it."""
    node = node_of(w, w.front())
    del node.settings["resolver"]["trust_anchor"]
    node.start()
    contains(node.wait_log("DNS lookup of arpa A failed")[0], "validation failure")
    node.stop()


@test
def switched_on_and_off(w):
    """By a reload; what was kept under the other rule is forgotten."""
    front = w.front().set("strip")
    zone, mx, cert = published(w, "switch.test")
    node = node_of(w, front)
    node.settings["resolver"]["dnssec"] = "trust"
    node.start()
    delivered(node, mx, "switch.test", "level encrypt")
    for how, level in (("validate", "dane"), ("trust", "encrypt"), ("validate", "dane")):
        node.settings["resolver"]["dnssec"] = how
        node.write()
        node.ctl("reload")
        equal(resolver_of(node)["validation"], "here" if how == "validate" else "servers")
        node.ctl("dnsflush")  # what deliver keeps
        w.wait(lambda: mx.open == 0, what="the end of the connection")
        delivered(node, mx, "switch.test", "level " + level, n=len(mx.messages) + 1)
    node.stop()


if __name__ == "__main__":
    main()
