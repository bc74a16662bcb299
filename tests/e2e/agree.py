"""agree.py - does `explain` say what delivery did?

watch(node) looks at each line of the log that a test waits for: at a message that was delivered and at a destination that
was found to be down, `explain` is asked at once, and must name the same host with the same rule and a level that the
connection reached, or the same reason. So every scenario of the tests is one of explain too. Where a test changes the
world between the two on purpose, it says world.changing().
"""
import re
import time

RANK = {"none": 0, "opportunistic": 1, "encrypt": 2, "verify": 3, "dane": 4}
DONE = re.compile(r"Message finished MID (\d+) done")
DOWN = re.compile(r"Destination (\S+) is down \(([a-z0-9-]+)")
SKIP = {"tlsa-indeterminate", "dane-required", "sts-mx-mismatch", "sts-required", "sts-discovery-wait",
        "dns-indeterminate", "no-hosts", "address-denied"}
NEEDS = {"dane-failed": 4, "cert-untrusted": 3, "cert-expired": 3, "cert-name-mismatch": 3, "starttls-missing": 2}


class Disagree(AssertionError):
    pass


def explain(node, domain, sender, message=None):
    """message: what it demands of TLS, "requiretls" or "tls-required-no"."""
    words = ["explain", "a@" + domain] + (["--from", sender] if sender else [])
    words += ["--with", "message=" + message] if message else []
    return node.ctl(*words, want=None)


def host_at(doc, address):
    for h in doc["hosts"]:
        if any(a.rsplit(":", 1)[0].strip("[]") == address or a == address for a in h["addresses"]):
            return h
    raise Disagree("explain has no host at %s: %r" % (address, doc["hosts"]))


def deliveries(text, mid):
    """(domain, sender, address, level, rule) of each connection that took the message; level and rule None in clear."""
    sender = re.search(r"MID %d ICID \d+ From: <([^>]*)>" % mid, text)
    for dcid, rids in re.findall(r"Message done DCID (\d+) MID %d to RID \[([0-9]+)" % mid, text):
        to = re.search(r"MID %d ICID \d+ RID %s To: <.*@([^>@]+)>" % (mid, rids), text)
        opened = re.search(r"New SMTP DCID %s interface \S+ address (\S+) port" % dcid, text)
        tls = re.search(r"DCID %s TLS success .* level (\S+).* rule (\S+)" % dcid, text)
        if to and opened and not to.group(1).startswith("["):
            yield (to.group(1).lower(), sender.group(1) if sender else "", opened.group(1),
                   *(tls.groups() if tls else (None, None)))


def demand(text, mid):
    if re.search(r"MID %d REQUIRETLS$" % mid, text, re.M):
        return "requiretls"
    return "tls-required-no" if re.search(r"MID %d TLS-Required: No$" % mid, text, re.M) else None


def check_done(node, mid):
    text = node.log_text()
    for domain, sender, address, level, rule in deliveries(text, mid):
        h = host_at(explain(node, domain, sender, demand(text, mid)), address)
        if h["verdict"] != "attempt":
            raise Disagree("%s took mail, explain says skip: %s" % (h["host"], h["reason"]))
        if level is None and RANK[h["level"]] > 1 or level is not None and RANK[h["level"]] > max(1, RANK[level]):
            raise Disagree("%s took mail at level %s, explain wants %s" % (h["host"], level, h["level"]))
        if rule is not None and rule not in [r["id"] for r in h["rules"] if r["won"]]:
            raise Disagree("%s took mail by rule %s, explain has %r" % (h["host"], rule, h["rules"]))


def check_down(node, domain, reason):
    if reason not in SKIP and reason not in NEEDS:
        return
    doc = explain(node, domain, "")
    if doc["route"] and doc["route"]["credential"]:
        return  # its password demands a certificate, whatever the verdict does
    found = [h for h in doc["hosts"] if h["verdict"] == "skip" and h["reason"] == reason or
             h["verdict"] == "attempt" and RANK[h["level"]] >= NEEDS.get(reason, 9)]
    if not found and doc["reason"] != reason:
        raise Disagree("%s is down by %s, explain says %s: %r" % (domain, reason, doc["outcome"], doc["hosts"]))


def checked(world, what, *args):
    """Facts may have become new this moment: the second word counts."""
    if world.changes:
        return
    for again in (True, True, False):
        try:
            what(*args)
            world.agreed += 1
            return
        except Disagree:
            if not again or world.changes:
                raise
            time.sleep(0.3)


def watch(world, node):
    wait_log = node.wait_log

    def waited(regex, *args, **kw):
        found = wait_log(regex, *args, **kw)
        if node.proc is not None and found and isinstance(found, list):
            done, down = DONE.search(found[-1]), DOWN.search(found[-1])
            if done:
                checked(world, check_done, node, int(done.group(1)))
            if down:
                checked(world, check_down, node, *down.groups())
        return found
    node.wait_log = waited
    return node
