"""Hosts that lie, stall, flood and cut: whatever one of them does costs its own connection, never the
process, never another host's mail, and never the security that a destination demands."""
import json
import os
import subprocess

from harness import contains, equal, limit_child, main, test
from tests.world import Client, On, bulk, endless, long_line
from tests.world.ca import Cert

SENDER = "sender@client.test"
# every wait of a session, in the small
QUICK = {"delivery": {"idle": "1s", "connect_timeout": "2s", "greeting_timeout": "2s",
                      "ehlo_timeout": "2s", "tls_timeout": "2s", "mail_timeout": "2s",
                      "rcpt_timeout": "2s", "data_timeout": "2s", "data_block_timeout": "2s",
                      "final_dot_timeout": "2s", "quit_timeout": "1s"},
         "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"}}
DEMANDS = {".required.test": {"tls": "required"}, ".rvh.test": {"tls": "required-verify-hosted"}}
POINTS = ("banner", "ehlo", "starttls", "mail", "rcpt", "data", "body", "dot")


def setup(w):
    return w.postern(settings=QUICK, destinations=DEMANDS).start()


def each_once(w, node, hosts, what):
    """One message to each domain: all arrive, exactly once, and nothing is left open."""
    w.commit()
    mids = [node.submit(SENDER, ["a@" + domain]) for domain in hosts]
    for mid in mids:
        node.wait_done(mid, timeout=40)
    for domain, mx in hosts.items():
        equal(len(mx.messages), 1, "%s: messages at %s" % (what, domain))
    w.wait(lambda: all(mx.open == 0 for mx in hosts.values()), timeout=30)
    w.wait(lambda: node.metrics()["postern_delivery_connections"] == 0, timeout=30)


def passed_over(w, node, domain, bad, text=None):
    """A second host gets the message; the first one none, not even the envelope."""
    good = w.mx("good." + domain)
    w.domain(domain, bad, good)
    w.commit()
    mid = node.submit(SENDER, ["a@" + domain])
    got = good.wait_messages(1, timeout=30)[0]
    node.wait_done(mid)
    equal(bad.commands("MAIL"), [])
    if text is not None:
        node.wait_log(r"%s for %s" % (text, domain))
    return got


# ---- replies ----

@test(timeout=60)
def a_refusal_while_the_body_goes_out(w, node):
    """It says 552, and resets while we still write: the refusal counts, not the broken write."""
    for caps in (("PIPELINING",), ("PIPELINING", "CHUNKING")):
        name = "early%d.test" % len(caps)
        mx = w.mx("mx1." + name, On("body", "552 5.3.4 enough of it", after=20000, close="rst"),
                  caps=caps, starttls="none")
        w.domain(name, mx)
        w.commit()
        for i in range(8):
            mid = node.submit(SENDER, ["a%d@%s" % (i, name)], bulk(1000000))
            contains(node.wait_log(r"(Bounced|Delayed): DCID \d+ MID %d " % mid)[0], "enough of it", caps)


@test(timeout=60)
def banners_and_lists_without_end(w, node):
    for name, rule in (("lines.test", On("banner", endless("220"))),
                       ("line.test", On("banner", long_line("220"))),
                       ("drip.test", On("banner", "220 " + "x" * 400, drip=0.1)),
                       ("dripmore.test", On("banner", endless("220"), drip=0.05)),
                       ("many.test", On("ehlo", ["250 X%d" % i for i in range(10000)])),
                       ("empty.test", On("ehlo", b"\r\n" * 10000)),
                       ("zeros.test", On("ehlo", b"\0" * 100000))):
        passed_over(w, node, name, w.mx("mx1." + name, rule))


@test(timeout=90)
def replies_in_single_bytes(w, node):
    """Slow, but right: that is a host like any other."""
    mx = w.mx("mx1.bytes.test", *[On(p, drip=0.001) for p in (
        "banner", "ehlo", "starttls", "mail", "rcpt", "data", "dot", "bdat", "quit")])
    w.domain("bytes.test", mx)
    each_once(w, node, {"bytes.test": mx}, "byte by byte")


@test(timeout=120)
def a_megabyte_at_each_point(w, node):
    """In doubt the message is tried again; a reply that is none is no answer."""
    hosts = {}
    for point in ("banner", "ehlo", "mail", "rcpt", "data", "dot"):
        domain = "mega-%s.test" % point
        hosts[domain] = w.mx("mx1." + domain, On(point, long_line("250"), times=1), starttls="none",
                             caps=("PIPELINING",))
        w.domain(domain, hosts[domain])
    w.commit()
    for domain in hosts:
        node.wait_done(node.submit(SENDER, ["a@" + domain]), timeout=40)
    for domain, mx in hosts.items():
        # what came whole before the reply broke may have been taken: once too often, never not
        equal(len(mx.messages) in (1, 2), True, domain)
    w.wait(lambda: node.metrics()["postern_delivery_connections"] == 0, timeout=30)


@test(timeout=120)
def gone_with_421_at_each_point(w, node):
    hosts = {}
    for point in POINTS:
        if point == "body":
            continue
        domain = "bye-%s.test" % point
        hosts[domain] = w.mx("mx1." + domain, On(point, "421 4.3.2 going", times=1, close="fin"),
                             caps=("PIPELINING",))
        w.domain(domain, hosts[domain])
    each_once(w, node, hosts, "421")
    equal([line for d in hosts for line in node.lines(r"Bounced: .*@%s>" % d)], [])


# ---- silence ----

@test(timeout=120)
def silent_at_each_point(w, node):
    """The time of each wait runs out, the permit goes back, and the next attempt is like the first."""
    hosts = {}
    for point in POINTS:
        domain = "still-%s.test" % point
        hosts[domain] = w.mx("mx1." + domain, On(point, stall=True, times=1), caps=("PIPELINING",))
        w.domain(domain, hosts[domain])
    hosts["still-tls.test"] = w.mx("mx1.still-tls.test", starttls="stall")
    w.domain("still-tls.test", hosts["still-tls.test"])
    each_once(w, node, hosts, "silence")


@test(timeout=120)
def half_closed_at_each_point(w, node):
    """It says that nothing more will come, and goes on reading: the connection is of no use."""
    hosts = {}
    for point in ("banner", "ehlo", "mail", "rcpt", "data"):
        domain = "half-%s.test" % point
        hosts[domain] = w.mx("mx1." + domain, On(point, close="half", times=1), starttls="none",
                             caps=("PIPELINING",))
        w.domain(domain, hosts[domain])
    each_once(w, node, hosts, "half-closed")


FEW = 80  # more than the descriptors of the worker in that test
SLOW = 300  # hosts that stall at one time


@test(timeout=120)
def a_crowd_of_silent_hosts(w, shared):
    """5,000 in the bench, 300 here: each is bounded in memory, and others' mail goes on."""
    node = w.postern(settings={**QUICK, "delivery": {"greeting_timeout": "5m"}}).start()
    mx, good = w.mx("mx1.slow.test", On("banner", stall=True)), w.mx("mx1.quick.test")
    w.zone("slow.test").a("mx1", mx.address)
    for i in range(SLOW):
        w.domain("s%d.test" % i, "mx1.slow.test")
    w.domain("quick.test", good)
    w.commit()
    node.wait_done(node.submit(SENDER, ["first@quick.test"]))
    before = sum(pss(pid) for pid in node.pids("deliver"))
    with Client(node.smtp) as c:
        for i in range(SLOW):
            c.send(SENDER, "r@s%d.test" % i)
    w.wait(lambda: mx.open == SLOW, timeout=60)
    each = (sum(pss(pid) for pid in node.pids("deliver")) - before) / SLOW
    bound = 64 * 1024 * (4 if os.environ.get("MODE") == "asan" else 1)
    equal(each < bound, True, "%d bytes for each of %d" % (each, SLOW))
    node.wait_done(node.submit(SENDER, ["a@quick.test"]))
    with w.signal:
        mx.rules = []
    mx.release()
    node.wait_empty()
    equal(len(mx.messages), SLOW)


@test(timeout=120)
def more_hosts_than_descriptors(w, shared):
    """With few open files connections wait for each other: no host is taken for dead, no process dies of a
    large message's file, log and status say so, and it ends by itself."""
    node = w.postern(settings={
        **QUICK, "delivery": {**QUICK["delivery"], "greeting_timeout": "5m", "workers": "1"}}).start()
    mx = w.mx("mx1.few.test", On("banner", stall=True))
    w.zone("few.test").a("mx1", mx.address)
    for i in range(FEW):
        w.domain("f%d.test" % i, "mx1.few.test")
    w.commit()
    pids = node.pids("deliver") + node.pids("queue")
    limit_child(pids[0], 64 + 3 * 8)
    with Client(node.smtp) as c:
        for i in range(FEW):
            c.send(SENDER, "r@f%d.test" % i, bulk(200000) if i % 2 else None)
    w.wait(lambda: mx.open == 8, timeout=30)
    node.wait_log(r"deliver: connections wait, as open files are limited")
    contains(json.dumps(node.ctl("status", want=None).get("alerts", [])), "open files allow")
    with w.signal:
        mx.rules = []
    mx.release()
    node.wait_empty(timeout=90)
    equal(len(mx.messages), FEW)
    equal(node.lines(r"is down|Delayed:"), [])
    equal(node.pids("deliver") + node.pids("queue"), pids)


def pss(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) * 1024


@test(timeout=90)
def just_in_time_for_ever(w, shared):
    """Each answer comes in time, all of them together do not: the connection is given up, the mail
    goes to the next host, or is tried again."""
    node = w.postern(settings={**QUICK, "delivery": {
        **QUICK["delivery"], "ehlo_timeout": "20s", "rcpt_timeout": "20s",
        "transaction_timeout": "3s"}}).start()
    passed_over(w, node, "opening.test", w.mx("mx1.opening.test", On("ehlo", drip=0.1)))
    mx = w.mx("mx1.slow.test", On("rcpt", delay=1.2, times=4), caps=("PIPELINING",))
    w.domain("slow.test", mx)
    w.commit()
    mid = node.submit(SENDER, ["r%d@slow.test" % i for i in range(4)])
    node.wait_log(r"Delayed: DCID \d+ MID %d .*more than 3 s for one message" % mid)
    node.wait_done(mid, timeout=40)
    equal(sum(len(m.rcpts) for m in mx.messages), 4)


# ---- TLS ----

@test(timeout=90)
def nothing_gets_round_required_tls(w, node):
    """Whatever the host does to STARTTLS, nothing of the message is said in clear text."""
    hosts = {}
    for how in ("none", "refuse", "broken", "garbage", "close", "stall", "inject"):
        hosts[how + ".required.test"] = w.mx("mx1.%s.required.test" % how, starttls=how)
    for name, rules in (("helo", [On("ehlo", "502 5.5.1 what is that")]),
                        ("later", [On("starttls", "421 4.7.0 no", close="fin")]),
                        ("never", [On("starttls", "554 5.7.0 no")]),
                        ("ready", [On("starttls", "250 2.0.0 ready", close="fin")]),
                        ("rst", [On("starttls", reply=b"", close="rst")]),
                        ("wrong", [On("starttls", b"220-a\r\n250 b\r\n")]),
                        ("shut", [On("banner", "521 never", close="fin")])):
        hosts[name + ".required.test"] = w.mx("mx1.%s.required.test" % name, *rules)
    hosts["selfsigned.rvh.test"] = w.mx("mx1.selfsigned.rvh.test", cert="self-signed")
    hosts["plain.rvh.test"] = w.mx("mx1.plain.rvh.test", starttls="none")
    for domain, mx in hosts.items():
        w.domain(domain, mx)
    w.commit()
    mids = {domain: node.submit(SENDER, ["a@" + domain]) for domain in hosts}
    for domain in hosts:  # the second time, too
        node.wait_log(r"Destination %s is down" % domain, n=2, timeout=60)
    for domain, mx in hosts.items():
        equal([c for c in mx.commands() if c[0] in ("MAIL", "RCPT", "DATA", "BDAT")], [], domain)
    for domain, mid in mids.items():
        equal(node.lines(r"Bounced: DCID \d+ MID %d " % mid), [], domain)
        node.ctl("removemessage", mid)


def fat_cert(w, host, names=0, copies=0):
    """A certificate with `names` more names, or with `copies` of the authority behind it."""
    base = "%s/%s-%d-%d" % (w.tmp.path, host, names, copies)
    with open(base + ".cnf", "w") as f:
        f.write("[req]\ndistinguished_name=d\nx509_extensions=e\nprompt=no\n[d]\nCN=%s\n[e]\n"
                "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n"
                "subjectAltName=@a\n[a]\n" % host)
        f.writelines("DNS.%d=n%d.fat.test\n" % (i, i) for i in range(names))
        f.write("DNS.%d=%s\n" % (names, host))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", base + ".key", "-out",
                    base + ".crt", "-days", "30", "-config", base + ".cnf", "-CA", w.ca.cert,
                    "-CAkey", w.ca.key], check=True, capture_output=True)
    with open(base + ".crt") as leaf, open(w.ca.cert) as ca, open(base + ".chain", "w") as out:
        out.write(leaf.read() + ca.read() * (copies + 1))
    return Cert(base + ".crt", base + ".key", base + ".chain", [host])


@test(timeout=120)
def enormous_certificates(w, node):
    """Over 100 KB a chain is refused, not read: the next host, or clear text where that will do."""
    for name, cert in (("names", {"names": 100000}), ("chain", {"copies": 1000})):
        domain = name + ".required.test"
        bad = w.mx("mx1." + domain, cert=fat_cert(w, "mx1." + domain, **cert))
        passed_over(w, node, domain, bad, "excessive message size")
    mx = w.mx("mx1.fat.test", cert=fat_cert(w, "mx1.fat.test", names=100000))
    w.domain("fat.test", mx)
    w.commit()
    node.wait_done(node.submit(SENDER, ["a@fat.test"]))
    equal(mx.messages[0].tls, None)
    # below that it is a certificate like any other: the last of 3,000 names counts
    mx = w.mx("mx1.large.rvh.test", cert=fat_cert(w, "mx1.large.rvh.test", names=3000))
    w.domain("large.rvh.test", mx)
    w.commit()
    node.wait_done(node.submit(SENDER, ["a@large.rvh.test"]))
    node.wait_log(r"for large.rvh.test level verify name mx1.large.rvh.test")


if __name__ == "__main__":
    main(setup)
