"""What an operator is told of DANE: dane check in situations of real life, as golden texts (golden.py)."""
from dane import cert_of, domain, node_of, published
from golden import golden
from harness import contains, equal, main, test


def setup(w):
    node = node_of(w)
    node.destinations.update({"off.test": {"dane": "none"}, "must.test": {"dane": "mandatory"}})
    node.routes["routed.test"] = {"hosts": "[127.0.0.1]"}
    return node.start()


def situation(w, node, name, domain_name, want=1):
    golden(w, "dane-check/" + name, node.ctl("dane", "check", domain_name, want=want, raw=True))


@test
def all_is_well(w, node):
    published(w, "well.test")
    situation(w, node, "well", "well.test", want=0)
    doc = node.ctl("dane", "check", "well.test")
    equal((doc["result"], [s["step"] for s in doc["steps"]]),
          ("ok", ["setting", "mx", "tlsa", "mx-connect", "mx-starttls", "dane"]))


@test
def the_certificate_is_another(w, node):
    _, mx, _ = published(w, "wrong.test")
    cert_of(w, mx, "expired")
    situation(w, node, "wrong-certificate", "wrong.test")


@test
def starttls_is_gone(w, node):
    published(w, "strip.test", starttls="none")
    situation(w, node, "no-starttls", "strip.test")


@test
def nothing_is_signed(w, node):
    domain(w, "plain.test", w.mx("mx1.plain.test"), signed=False)
    situation(w, node, "not-signed", "plain.test")


@test
def signed_and_no_record(w, node):
    domain(w, "bare.test", w.mx("mx1.bare.test"))
    situation(w, node, "no-record", "bare.test")
    domain(w, "must.test", w.mx("mx1.must.test"))
    situation(w, node, "no-record-mandatory", "must.test")


@test
def records_of_no_use(w, node):
    published(w, "useless.test", record="0 0 1 " + "ab" * 32)
    situation(w, node, "unusable", "useless.test")


@test
def the_lookup_fails(w, node):
    zone, _, _ = published(w, "lost.test")
    zone.fault("servfail", "_%d._tcp.mx1.lost.test." % w.port, "TLSA")
    w.commit()
    situation(w, node, "tlsa-servfail", "lost.test")


@test
def broken_signatures(w, node):
    zone, _, _ = published(w, "bogus.test")
    zone.set_bogus(True)
    w.commit()
    situation(w, node, "bogus", "bogus.test")


@test
def switched_off(w, node):
    domain(w, "off.test", w.mx("mx1.off.test"))
    situation(w, node, "off", "off.test")
    contains(node.ctl("dane", "check", "routed.test", want=1, raw=True), "a route or an address literal covers the domain")


if __name__ == "__main__":
    main(setup)
