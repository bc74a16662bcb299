"""DANE without a node: `dane verify` beside OpenSSL's own s_client, on the same servers and records;
`dane plan` against zones signed by knot and validated by unbound.
"""
import concurrent.futures
import json
import os
import socket
import subprocess

from harness import contains, equal, main, test
from tests.world.base import ROOT, Proc, poll

CTL = os.path.join(ROOT, "build", os.environ.get("MODE", "release"), "posternctl")


def ctl(*words, code=None):
    run = subprocess.run([CTL, *words], capture_output=True, text=True, timeout=60)
    if run.returncode not in (0, 1):
        raise AssertionError("exit %d: %s" % (run.returncode, run.stderr))
    if code is not None:
        equal(run.returncode, code, run.stdout + run.stderr)
    return json.loads(run.stdout)


# ---- dane verify ----

def server(w, cert):
    """openssl s_server with this chain. Returns (address, port)."""
    address = w.block.host()
    port = w.port
    proc = Proc("s_server", ["openssl", "s_server", "-accept", "%s:%d" % (address, port), "-cert", cert.cert,
                             "-key", cert.key, "-cert_chain", cert.chain, "-quiet", "-naccept", "1000"],
                os.path.join(w.tmp.path, "s_server-%s.log" % address))

    class Stop:
        close = staticmethod(proc.stop)
    w.others.append(Stop)

    def there():
        with socket.socket() as s:
            return s.connect_ex((address, port)) == 0
    poll(there, 20, "s_server")
    return address, port


def s_client(at, records, base):
    """What OpenSSL says: authenticated, fail, or unusable."""
    args = ["openssl", "s_client", "-connect", "%s:%d" % at, "-dane_tlsa_domain", base,
            "-dane_ee_no_namechecks", "-verify_return_error"]
    for r in records:
        args += ["-dane_tlsa_rrdata", r]
    run = subprocess.run(args, input="", capture_output=True, text=True, timeout=60)
    out = run.stdout + run.stderr
    if "ailed to import any TLSA" in out or "unusable TLSA" in out and "DANE TLSA" not in out:
        return "unusable"
    return "authenticated" if run.returncode == 0 and "DANE TLSA" in run.stdout else "fail"


@test(timeout=240)
def verify_agrees_with_openssl(w):
    ca = w.ca.as_cert()
    base = "mx.dane.test"
    kinds = {k: w.ca.issue(base, k) for k in ("valid", "self-signed", "expired", "wrong-name", "cn-only")}
    other = w.ca.issue("another.dane.test", "self-signed")
    questions, asked = [], []
    for kind, cert in kinds.items():
        at = server(w, cert)
        kinds_of_record = [(s, m) for s in (0, 1) for m in (0, 1, 2)] if kind == "valid" else [(0, 0), (1, 1)]
        sets = [[cert.tlsa(3, s, m)] for s, m in kinds_of_record] + [[ca.tlsa(2, s, m)] for s, m in kinds_of_record]
        sets += [[other.tlsa(3, 1, 1)], [ca.tlsa(2, 1, 0)]]
        if kind == "valid":
            sets += [[other.tlsa(2, 1, 1)],
                     [other.tlsa(3, 1, 1), cert.tlsa(3, 0, 1)],  # another selector: either may match
                     [cert.tlsa(3, 1, 1), other.tlsa(3, 1, 2)],  # the stronger digest counts alone
                     [cert.tlsa(3, 1, 1)[:-2]], ["3 1 9 " + "ab" * 32]]
        for records in sets:
            questions.append({"chain": cert.chain, "base_domain": base, "tlsa": records})
            asked.append((kind, at, records))
    run = subprocess.run([CTL, "dane", "verify", "--stdin"], input="\n".join(map(json.dumps, questions)),
                         capture_output=True, text=True, timeout=60)
    mine = [json.loads(line) for line in run.stdout.splitlines()]
    equal(len(mine), len(asked), run.stderr)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        theirs = list(pool.map(lambda a: s_client(a[1], a[2], base), asked))
    for (kind, _, records), m, t in zip(asked, mine, theirs):
        equal(m["outcome"], t, "%s with %r: %r" % (kind, [r[:12] for r in records], m))
    equal(set(theirs), {"authenticated", "fail", "unusable"}, "all outcomes were seen")


@test
def verify_knows_what_openssl_does_not(w):
    """Usages 0 and 1 are unusable for mail (RFC 7672, 3.1.3), which OpenSSL takes."""
    cert = w.ca.issue("mx.dane.test")
    for usage in (0, 1):
        out = ctl("dane", "verify", "--chain", cert.chain, "--tlsa", cert.tlsa(usage, 1, 1),
                  "--base-domain", "mx.dane.test", code=1)
        equal(out["outcome"], "unusable")
        contains(out["reason"], "usage")
    out = ctl("dane", "verify", "--chain", cert.chain, "--tlsa", cert.tlsa(1, 1, 1), "--tlsa", cert.tlsa(),
              "--base-domain", "other.test", code=0)
    equal((out["outcome"], out["depth"]), ("authenticated", 0))


# ---- dane plan ----

def zones(w):
    p = w.port
    safe = w.zone("safe.test", signed=True)
    rec = "3 1 1 " + "ab" * 32
    w.zone("plain.test").mx(10, "mx1.safe.test").a("mx", "127.0.0.9").cname("alias", "mx1.safe.test")
    safe.mx(30, "mx3.safe.test").mx(10, "mx1.safe.test").mx(20, "mx2.safe.test").mx(40, "mx.plain.test")
    for n in ("mx1", "mx2", "mx3", "fail", "part"):
        safe.a(n, "127.0.0.9")
    safe.tlsa("mx1.safe.test", rec).tlsa("mx2.safe.test", "1 1 1 " + "ab" * 32)
    safe.cname("to-safe", "step.safe.test").cname("step", "mx1.safe.test").cname("to-plain", "mx.plain.test")
    safe.cname("own", "mx3.safe.test").tlsa("own.safe.test", rec).tlsa("to-plain.safe.test", rec)
    safe.rr("_%d._tcp.part" % p, "CNAME", "tlsa.safe.test.").rr("tlsa", "TLSA", rec)
    for name, host in (("alias", "to-safe"), ("own", "own"), ("half", "to-plain"), ("part", "part"),
                       ("insecure-alias", "alias.plain.test.")):
        z = w.zone(name + ".test", signed=True)
        z.mx(10, host if host.endswith(".") else host + ".safe.test")
    w.zone("doubt.test", signed=True).mx(10, "fail.safe.test").mx(20, "mx3.safe.test")
    safe.fault("servfail", "_%d._tcp.fail" % p, "TLSA")
    w.zone("hop.test", signed=True).cname("www", "safe.test")
    bare = w.zone("bare.test", signed=True)
    bare.a("@", "127.0.0.9").tlsa("bare.test", rec)
    w.zone("null.test", signed=True).null_mx()
    w.zone("bogus.test", bogus=True).mx(10, "mx1.safe.test")
    w.zone("empty.test", signed=True).mx(10, "nothing.safe.test")
    w.zone("number.test").mx(10, "127.0.0.1")
    w.commit()


def plan(w, domain, *more, code=None):
    return ctl("dane", "plan", "--domain", domain, "--resolver", "%s:%d" % w.dns.unbound, "--port", str(w.port),
               *more, code=code)


def brief(doc):
    return [(h["host"], h["action"], h["base_domain"]) for h in doc["hosts"]]


@test(timeout=90)
def plan_of_each_state(w):
    zones(w)
    doc = plan(w, "safe.test", code=0)
    equal((doc["outcome"], doc["mx_security"], doc["reason"]), ("ok", "secure", ""))
    equal(brief(doc), [("mx1.safe.test", "dane", "mx1.safe.test"), ("mx2.safe.test", "encrypt", "mx2.safe.test"),
                       ("mx3.safe.test", "opportunistic", None), ("mx.plain.test", "opportunistic", None)],
          "in order of preference, each by itself")
    equal([h["security"] for h in doc["hosts"]], ["secure"] * 3 + ["insecure"])
    equal([h["tlsa_state"] for h in doc["hosts"]], ["usable", "unusable", "absent", "insecure"])
    equal(doc["hosts"][0]["names"], ["mx1.safe.test", "safe.test"])
    equal(doc["hosts"][0]["tlsa"], ["3 1 1 " + "ab" * 32])
    equal(doc["hosts"][1]["tlsa"], [])
    # behind an insecure MX: DANE for the host, whose name is the only one
    doc = plan(w, "plain.test", code=0)
    equal((doc["mx_security"], brief(doc)), ("insecure", [("mx1.safe.test", "dane", "mx1.safe.test")]))
    equal(doc["hosts"][0]["names"], ["mx1.safe.test"])
    contains(doc["hosts"][0]["text"], "not secure")


@test(timeout=90)
def plan_of_aliases(w):
    zones(w)
    rows = (
        ("alias.test", "to-safe.safe.test", "dane", "mx1.safe.test", "secure"),  # the end, no name between
        ("own.test", "own.safe.test", "dane", "own.safe.test", "secure"),  # none at its end, then its own
        ("half.test", "to-plain.safe.test", "dane", "to-plain.safe.test", "insecure"),  # DANE-19
        ("insecure-alias.test", "alias.plain.test", "opportunistic", None, "insecure"),
        ("part.test", "part.safe.test", "dane", "part.safe.test", "secure"),  # CNAME at the TLSA name
    )
    for domain, host, action, base, security in rows:
        doc = plan(w, domain, code=0)
        equal(brief(doc), [(host, action, base)], domain)
        equal(doc["hosts"][0]["security"], security, domain)
    # DANE-23: the next hop is an alias; both its names count
    doc = plan(w, "www.hop.test", code=0)
    equal(doc["hosts"][0]["names"], ["mx1.safe.test", "www.hop.test", "safe.test"])


@test(timeout=90)
def plan_of_doubt(w):
    zones(w)
    doc = plan(w, "doubt.test", code=0)
    equal(brief(doc), [("fail.safe.test", "skip", None), ("mx3.safe.test", "opportunistic", None)])
    equal(doc["hosts"][0]["reason"], "tlsa-indeterminate")
    doc = plan(w, "bogus.test", code=1)
    equal((doc["outcome"], doc["reason"], doc["mx_security"], doc["hosts"]),
          ("defer", "dns-indeterminate", "indeterminate", []))
    # nobody answers
    doc = ctl("dane", "plan", "--domain", "safe.test", "--resolver", "%s:9" % w.dns.unbound[0], code=1)
    equal((doc["outcome"], doc["reason"]), ("defer", "dns-indeterminate"))
    # a server that is not believed proves nothing, and loses nothing
    doc = plan(w, "safe.test", "--trust-ad", "no", code=0)
    equal((doc["mx_security"], {h["action"] for h in doc["hosts"]}), ("insecure", {"opportunistic"}))


@test(timeout=90)
def plan_of_domains_without_hosts(w):
    zones(w)
    doc = plan(w, "bare.test", code=0)
    equal((doc["implicit_mx"], brief(doc)), (True, [("bare.test", "dane", "bare.test")]))
    for domain, outcome, reason in (("null.test", "fail", "null-mx"), ("no-such-domain.test", "fail", "nxdomain"),
                                    ("empty.test", "defer", "no-hosts"), ("number.test", "defer", "no-hosts")):
        doc = plan(w, domain, code=1)
        equal((doc["outcome"], doc["reason"]), (outcome, reason), domain)
        equal({h["action"] for h in doc["hosts"]} - {"skip"}, set(), domain)


if __name__ == "__main__":
    main()
