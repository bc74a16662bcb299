"""dane.py - what the tests of DANE share: signed domains, and whether their mail went or waits."""
import os
import re

from harness import contains, equal
from sts import send

TLSA = r"SECURE TLSA record found for MX \(%s\) in %s"


def cert_of(w, mx, kind="self-signed"):
    """The certificate that the receiver shows."""
    cert = w.ca.issue(mx.host, kind)
    mx.script(*mx.rules, cert=cert)
    return cert


def domain(w, name, *hosts, signed=True, **kw):
    zone = w.domain(name, *hosts, signed=signed, **kw)
    w.commit()
    return zone


def published(w, name, kind="self-signed", host=None, record=None, **kw):
    """A signed domain with one host whose TLSA record matches (or is `record`). (zone, receiver, cert)"""
    mx = w.mx(host or "mx1." + name, **kw)
    cert = cert_of(w, mx, kind)
    zone = w.domain(name, mx, signed=True)
    zone.tlsa(mx.host, record or cert)
    w.commit()
    return zone, mx, cert


def level(node, name, i=0):
    h = node.ctl("explain", "a@" + name, want=None)["hosts"][i]
    return h["verdict"], h["level"], h["rules"][-1]["id"] if h["verdict"] == "skip" else None


def delivered(node, mx, name, line=None, n=1):
    """Delivered there; the log's line of TLS has `line`."""
    at = node.log_size()
    mid = send(node, name)
    mx.wait_messages(n, match=lambda m: "a@" + name in m.rcpts)
    node.wait_done(mid)
    said = node.lines(r"TLS success .* for %s level" % re.escape(name), since=at)
    if line is not None:
        contains(said[-1], line)
    return mid


def deferred(node, name, reason, *hosts):
    """It waits for this reason, and none of the hosts has been given the message, or part of it."""
    at = node.log_size()
    had = [len(h.attempts) for h in hosts]
    mid = send(node, name)
    node.wait_log(r"Destination %s is down \(.*%s" % (re.escape(name), reason), since=at)
    equal([len(h.attempts) for h in hosts], had)
    for h in hosts:
        equal([c for c in h.commands("MAIL") if name in c[1]], [])
    node.ctl("removemessage", mid)
    return mid


def node_of(w):
    return w.postern(settings={
        "delivery": {"idle": "1s", "connect_timeout": "2s", "workers": "1"},  # one cache of sessions
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"},
        "resolver": {"timeout": "1s"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port), "fetch_timeout": "3s",
                    "connect_timeout": "2s"},
    }, destinations={".must.test": {"dane": "mandatory"}, "off.test": {"dane": "none"}})


def anchor(w):
    path = os.path.join(w.tmp.path, "anchor")
    with open(path, "w") as f:
        f.write("; the world's root\n%s\n" % w.dns.anchor())
    return path


def validating(w, front, **more):
    return {"nameservers": front.at, "dnssec": "validate", "trust_anchor": anchor(w), "timeout": "2s", **more}
