"""The real postern-resolver against a real validating unbound: every security state, and servers
that fail. Asked through tests/tools/dnsask.c over the resolver's own channels.
"""
import json
import os
import subprocess

from harness import contains, equal, main, test
from tests.world.base import ROOT


def ask(w, *questions, servers=None, trust="yes"):
    """Answers to (name, type) questions, asked one after the other of one resolver process."""
    tool = os.path.join(ROOT, "build", os.environ.get("MODE", "release"), "dnsask")
    servers = servers or "%s:%d" % w.dns.unbound
    words = [word for q in questions for word in q]
    run = subprocess.run([tool, servers, trust, *words], capture_output=True, text=True, timeout=60)
    equal(run.returncode, 0, run.stderr)
    return [json.loads(line) for line in run.stdout.splitlines()]


def zones(w):
    w.zone("plain.test").mx(10, "mx1.plain.test").a("mx1", "127.0.0.9").cname("www", "mx1.safe.test")
    safe = w.zone("safe.test", signed=True, ttl=120)
    safe.mx(20, "mx2.safe.test").mx(10, "mx1.safe.test").a("mx1", "127.0.0.9", "::1")
    safe.tlsa("mx1.safe.test", "3 1 1 " + "ab" * 32)
    safe.cname("to-plain", "mx1.plain.test").cname("alias", "mx1.safe.test").cname("loop", "loop.safe.test")
    safe.txt("_mta-sts", "v=STSv1; ", "id=7;")
    for i in range(60):
        safe.tlsa("many.safe.test", "3 1 1 %064x" % i)
    w.zone("null.test").null_mx()
    w.zone("bad.test", bogus=True).mx(10, "mx1.safe.test").a("mx", "127.0.0.9")
    w.zone("down.test").mx(10, "mx1.safe.test").fault("servfail")
    w.commit()


@test
def states(w):
    zones(w)
    tlsa = "_%d._tcp." % w.port
    rows = (
        ("safe.test", "MX", "secure", "data", ["10 mx1.safe.test", "20 mx2.safe.test"]),
        ("mx1.safe.test", "A", "secure", "data", ["127.0.0.9"]),
        ("mx1.safe.test", "AAAA", "secure", "data", ["::1"]),
        (tlsa + "mx1.safe.test", "TLSA", "secure", "data", ["3 1 1 " + "ab" * 32]),
        (tlsa + "mx2.safe.test", "TLSA", "secure", "nxdomain", []),
        ("mx1.safe.test", "MX", "secure", "nodata", []),
        ("no-such-name.safe.test", "A", "secure", "nxdomain", []),
        ("_mta-sts.safe.test", "TXT", "secure", "data", ["'v=STSv1; id=7;'"]),
        ("plain.test", "MX", "insecure", "data", ["10 mx1.plain.test"]),
        ("plain.test", "AAAA", "insecure", "nodata", []),
        ("null.test", "MX", "insecure", "data", ["0 ."]),
        ("bad.test", "MX", "indeterminate", "none", []),
        ("down.test", "MX", "indeterminate", "none", []),
    )
    answers = ask(w, *(row[:2] for row in rows))
    equal(len(answers), len(rows), "answers")
    for (name, rtype, state, kind, records), a in zip(rows, answers):
        equal((name, rtype, a["state"], a["kind"]), (name, rtype, state, kind), a["reason"])
        equal(sorted(a["records"]), sorted(records), "records of " + name)
    equal(answers[-2]["why"], "bogus", answers[-2]["reason"])
    equal(answers[-1]["why"], "servfail", answers[-1]["reason"])


@test
def chains(w):
    zones(w)
    alias, plain, www, first, loop = ask(
        w, ("alias.safe.test", "A"), ("to-plain.safe.test", "A"), ("www.plain.test", "A"),
        ("to-plain.safe.test", "CNAME"), ("loop.safe.test", "A"))
    equal((alias["state"], alias["canon"]), ("secure", "mx1.safe.test"))
    equal((plain["state"], plain["canon"]), ("insecure", "mx1.plain.test"), "secure alias, insecure target")
    equal((www["state"], www["canon"]), ("insecure", "mx1.safe.test"), "insecure alias, secure target")
    equal((first["state"], first["records"]), ("secure", ["mx1.plain.test"]), "the alias itself")
    equal(loop["state"], "indeterminate")


@test
def large_set_over_tcp(w):
    zones(w)
    (a,) = ask(w, ("_%d._tcp.many.safe.test" % w.port, "TLSA"))
    equal((a["state"], len(a["records"])), ("secure", 60), a["reason"])


@test
def untrusted(w):
    """The same server, not believed: nothing is secure, and nothing is lost."""
    zones(w)
    a, b, c = ask(w, ("safe.test", "MX"), ("no-such-name.safe.test", "A"), ("bad.test", "MX"), trust="no")
    equal((a["state"], a["kind"]), ("insecure", "data"))
    equal((b["state"], b["kind"]), ("insecure", "nxdomain"))
    equal(c["state"], "indeterminate")


@test
def first_server_dead(w):
    zones(w)
    dead = "%s:9, %s:%d" % (w.dns.unbound[0], *w.dns.unbound)
    (a,) = ask(w, ("safe.test", "MX"), servers=dead)
    equal((a["state"], a["kind"]), ("secure", "data"), a["reason"])
    (b,) = ask(w, ("safe.test", "MX"), servers="%s:9" % w.dns.unbound[0])
    equal((b["state"], b["why"]), ("indeterminate", "network"))
    contains(b["reason"], "refused")


@test
def server_without_validation(w):
    """An authoritative server never sets AD: what it says is insecure, whatever we trust."""
    zones(w)
    knot = "%s:%d" % w.dns.knot
    (a,) = ask(w, ("safe.test", "MX"), servers=knot)
    equal((a["state"], a["kind"]), ("insecure", "data"))


if __name__ == "__main__":
    main()
