"""What the node makes of a resolver that validates no more, or never did: doubt delays mail, it takes
no protection away, and `status` and the log say what is wrong and what to do."""
from harness import contains, equal, main, test
from tests.world.base import poll

SENDER = "sender@client.test"
WRONG = "DANE is configured but the resolver does not validate"


def node_of(w, front, **resolver):
    return w.postern(settings={
        "resolver": {"nameservers": front.at, **resolver},
        "delivery": {"idle": "1s"},
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"}})


def resolver_of(node):
    """What the resolver says of itself; an alert makes `status` end with 1."""
    doc = node.ctl("status", "detail", want=None)
    return next(p["status"] for p in doc["processes"] if p["process"] == "resolver")


def domains(w, *names):
    """They are this test's alone: the receivers of tests before it still listen."""
    mx = w.mx("mx1.%s" % names[0])
    for name in names:
        w.zone(name).clear()
        w.domain(name, mx)
    w.zone(names[0]).host(mx)
    w.commit()
    return mx


def send(node, domain):
    return node.submit(SENDER, ["a@" + domain])


def waits(node, domain, mx, n):
    node.wait_log(r"Destination %s is down \(dns-indeterminate" % domain)
    equal(len(mx.messages), n, "messages that left")


def alerted(node):
    contains(resolver_of(node)["alert"], WRONG)
    contains(node.ctl("status", want=1, raw=True), WRONG)


def settled(node, what):
    node.wait_log("DNSSEC: the resolver validates" if what == "validates" else WRONG)
    return resolver_of(node)


@test
def stops_validating(w):
    """Also over a restart: what was seen before is remembered."""
    front = w.front()
    mx = domains(w, "one.test", "two.test", "three.test")
    node = node_of(w, front).start()
    r = settled(node, "validates")
    equal((r["dnssec"], r["alert"], r["warning"]), ("validates", None, None))
    node.wait_done(send(node, "one.test"))
    equal(len(mx.wait_messages(1)), 1)

    front.set("strip")
    two = send(node, "two.test")
    waits(node, "two.test", mx, 1)
    line = node.wait_log(WRONG)[0]
    contains(line, front.at)
    contains(line, "dnssec = off")
    alerted(node)

    node.stop()
    mark = node.log_size()
    node.start()
    three = send(node, "three.test")
    node.wait_log(r"Destination three.test is down \(dns-indeterminate", since=mark)
    equal(len(mx.messages), 1, "messages that left")
    alerted(node)

    front.set(None)
    node.wait_done(two)
    node.wait_done(three)
    node.stop()


@test
def never_validated(w):
    """The operator never asked for it: mail flows, and is told what is missing."""
    front = w.front().set("strip")
    mx = domains(w, "one.test", "two.test")
    node = node_of(w, front).start()
    r = settled(node, "not")
    equal(r["dnssec"], "signed name came back insecure")
    contains(r["warning"], "mail goes on without DANE")
    node.wait_done(send(node, "one.test"))
    equal(len(mx.wait_messages(1)), 1)
    node.stop()


@test
def required_from_the_start(w):
    front = w.front().set("strip")
    mx = domains(w, "one.test")
    node = node_of(w, front, dnssec="require").start()
    mid = send(node, "one.test")
    waits(node, "one.test", mx, 0)
    alerted(node)
    front.set(None)
    node.wait_done(mid)
    node.stop()


@test
def broken_names_come_back(w):
    """Validation that lets everything through: what it says of unsigned names is worth nothing."""
    front = w.front()
    mx = domains(w, "one.test", "through.test")
    w.zone("safe.test", signed=True).a("@", "127.0.0.9")
    w.zone("broken.test").a("@", "127.0.0.9")  # answered: as by a resolver that is permissive
    w.commit()
    node = node_of(w, front, probe_good="safe.test", probe_bad="broken.test").start()
    line = node.wait_log(WRONG)[0]
    contains(line, "broken name was answered")
    mid = send(node, "one.test")
    waits(node, "one.test", mx, 0)
    alerted(node)
    node.stop()


@test
def switched_off(w):
    """The way out that the messages name."""
    front = w.front()
    mx = domains(w, "one.test")
    node = node_of(w, front).start()
    settled(node, "validates")
    front.set("strip")
    mid = send(node, "one.test")
    waits(node, "one.test", mx, 0)
    node.settings["resolver"]["dnssec"] = "off"
    node.write()
    node.ctl("reload")
    node.wait_done(mid)
    r = resolver_of(node)
    equal((r["dnssec"], r["alert"], r["warning"]), ("not probed", None, None))
    node.stop()


@test
def who_needs_no_state_does_not_wait(w):
    """Mail for a domain without DANE, and the look for its policy, go on while the others wait; REQUIRETLS or not, that
    nobody looked is told."""
    front = w.front()
    mx = domains(w, "need.test", "off.test", "late.test")
    node = node_of(w, front)
    node.destinations["off.test"] = node.destinations["late.test"] = {"dane": "none"}
    node.start()
    settled(node, "validates")
    front.set("strip")
    mid = send(node, "need.test")
    waits(node, "need.test", mx, 0)
    alerted(node)
    node.wait_done(send(node, "off.test"))
    equal(len(mx.wait_messages(1)), 1)
    equal(node.ctl("explain", "a@off.test")["mx_security"], "unchecked")
    equal(node.lines("MTA-STS discovery for the domain .* waits"), [])
    front.set("servfail")  # a failure is one for everybody
    late = send(node, "late.test")
    node.wait_log(r"Destination late.test is down \(dns-indeterminate")
    front.set(None)
    node.wait_done(mid)
    node.wait_done(late)
    node.stop()


@test
def more_servers_than_are_used(w):
    """RESOLVER_SERVERS_MAX: said, and not an error."""
    front = w.front()
    others = ["127.0.0.1:%d" % p for p in range(2, 10)]
    node = node_of(w, front, nameservers=", ".join([front.at, *others])).start()
    node.wait_log("only the first 8 of 9 name servers are used")
    equal([s["server"] for s in resolver_of(node)["servers"]], [front.at, *others[:7]])
    node.stop()


@test
def memory_too_long(w):
    """FILE_MAX: of the file of servers that validated no more is read; that costs this memory, not the start."""
    front = w.front()
    node = node_of(w, front).start()
    settled(node, "validates")
    path = node.dir + "/state/resolver/validated"
    poll(lambda: front.at in open(path).read(), 10, "the memory")
    node.stop()
    with open(path) as f:
        line = f.read()
    front.set("strip")
    for much, says in ((100, "mail waits"), (4096, "mail goes on without DANE")):
        with open(path, "w") as f:
            f.write("# %s\n" % ("x" * (much - 3)) + line)
        mark = node.log_size()
        node.start()
        node.wait_log(WRONG, since=mark)
        r = resolver_of(node)
        contains(r["alert"] or r["warning"], says)
        node.stop()


def trusted_resolver_goes_wrong(w, name, spoil, mend, why):
    """A signed domain with TLSA, delivered by DANE; then, with facts that have run out, its host shows another
    certificate and would take mail in any way: nothing may leave until the resolver is good again."""
    front = w.front()
    mx = w.mx("mx1." + name)
    cert, other = w.ca.issue(mx.host, "self-signed"), w.ca.issue(mx.host, "self-signed")
    mx.script(cert=cert)
    zone = w.zone(name, signed=True, ttl=1).mx(10, mx)
    zone.tlsa(mx.host, cert, ttl=1)
    w.commit()
    node = node_of(w, front, timeout="1s").start()
    settled(node, "validates")
    node.wait_done(send(node, name))
    node.wait_log(r"TLS success .* for %s level dane" % name)
    equal(len(mx.wait_messages(1)), 1)
    node.wait_log(r"DCID \d+ close")  # an open connection has proved enough

    mx.script(cert=other)
    spoil(front)
    node.ctl("dnsflush")
    mid = send(node, name)
    node.wait_log(r"Destination %s is down \(.*%s" % (name, why))
    equal(len(mx.messages), 1, "messages that left")
    equal([line for line in node.lines("TLS success .* for " + name) if "level dane" not in line], [])
    mx.script(cert=cert)
    mend(front)
    node.wait_done(mid, 60)
    equal(len(mx.wait_messages(2)), 2)
    equal([line for line in node.lines("TLS success .* for " + name) if "level dane" not in line], [])
    return node


@test
def resolver_killed(w):
    def spoil(front):
        front.close()
    node = trusted_resolver_goes_wrong(w, "killed.test", spoil, lambda front: front.open(), "dns-indeterminate")
    node.wait_log("DNS server .* does not answer")
    node.stop()


@test
def resolver_replaced(w):
    node = trusted_resolver_goes_wrong(w, "replaced.test", lambda front: front.set("strip"),
                                       lambda front: front.set(None), "dns-indeterminate")
    node.wait_log(WRONG)
    node.stop()


@test
def resolver_fails_for_tlsa(w):
    trusted_resolver_goes_wrong(w, "tlsa.test", lambda front: front.set("servfail", "TLSA"),
                                lambda front: front.set(None), "tlsa-indeterminate").stop()


if __name__ == "__main__":
    main()
