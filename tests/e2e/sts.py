"""sts.py - what the end-to-end tests of MTA-STS share: a node, domains with policies, and what comes of mail."""
import re

from harness import equal
from tests.world.base import poll
from tests.world.policy import PolicyHost, policy

SENDER = "sender@client.test"


def setup(w):
    return w.postern(settings={
        "delivery": {"idle": "1s", "connect_timeout": "2s"},
        "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port), "fetch_timeout": "3s",
                    "connect_timeout": "2s"},
    }, destinations={".must.test": {"mta_sts": "mandatory"}, "off.test": {"mta_sts": "off"}}).start()


def domain(w, name, *hosts, id="1", **kw):
    """A domain with MX hosts, a TXT record, and a policy host. Returns (zone, policy host)."""
    zone = w.domain(name, *hosts)
    ph = PolicyHost(w.ca, name, w.block.host(), w.port, kw.pop("text", policy(mx=hosts)), w.signal, **kw)
    w.others.append(ph)
    zone.a("mta-sts", ph.address, ttl=1)
    if id is not None:
        zone.txt("_mta-sts", "v=STSv1; id=%s;" % id, ttl=1)
    w.commit()
    return zone, ph


def announce(w, node, zone, id):
    zone.remove("_mta-sts", "TXT")
    if id is not None:
        zone.txt("_mta-sts", "v=STSv1; id=%s;" % id, ttl=1)
    w.commit()
    w.dns.flush()
    node.ctl("dnsflush")


def send(node, domain):
    return node.submit(SENDER, ["a@" + domain])


def delivered(node, mx, domain, n=1):
    mid = send(node, domain)
    mx.wait_messages(n, match=lambda m: "a@" + domain in m.rcpts)
    node.wait_done(mid)
    return mid


def deferred(node, domain, *hosts, reason=""):
    """It waits with this reason, and no host has seen the message."""
    mid = send(node, domain)
    node.wait_log(r"Destination %s is down \(.*%s" % (re.escape(domain), reason))
    for host in hosts:
        equal([m for m in host.messages if "a@" + domain in m.rcpts], [])
    node.ctl("removemessage", mid)
    return mid


def idle(node):
    """No connection is open and no destination held: the next message begins with the facts."""
    poll(lambda: node.metrics()["postern_delivery_destinations"] == 0, 10, "an idle node")
