"""What an operator is told of MTA-STS: sts check, explain and tlsverify in situations of real life.

The texts lie in tests/e2e/golden/; GOLDEN=write writes them anew (look at the difference before you
commit it). Addresses, ports, ages and times are normalised.
"""
import re

from golden import golden
from harness import contains, equal, main, test
from tests.world.base import poll
from tests.world.policy import PolicyHost, policy

SENDER = "sender@client.test"


def setup(w):
    return w.postern(settings={
        "delivery": {"idle": "1s", "connect_timeout": "3s"},
        "mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(w.port), "fetch_timeout": "5s",
                    "connect_timeout": "3s"},
    }, destinations={"must.test": {"mta_sts": "mandatory"}, "off.test": {"mta_sts": "off"}},
        routes={"routed.test": {"hosts": "[127.0.0.1]"}}).start()


def domain(w, name, *hosts, txt=("v=STSv1; id=1;",), **kw):
    """A domain with MX hosts, TXT records, and a policy host. Returns (zone, policy host)."""
    zone = w.domain(name, *hosts)
    ph = PolicyHost(w.ca, name, w.block.host(), w.port, kw.pop("text", policy(mx=hosts)), w.signal, **kw)
    w.others.append(ph)
    zone.a("mta-sts", ph.address, ttl=1)
    for text in txt:
        zone.txt("_mta-sts", text, ttl=1)
    w.commit()
    return zone, ph


def situation(w, node, name, domain_name, check=1, explain=0):
    """Both tools print what was agreed, with these exit codes."""
    golden(w, "explain/" + name, node.ctl("explain", "a@" + domain_name, want=explain, raw=True))
    golden(w, "sts-check/" + name, node.ctl("sts", "check", domain_name, want=check, raw=True))


# ---- twelve situations ----

@test
def no_txt(w, node):
    w.domain("plain.test", w.mx("mx1.plain.test"))
    w.commit()
    situation(w, node, "no-txt", "plain.test")


@test
def all_is_well(w, node):
    one, two = w.mx("mx1.well.test"), w.mx("mx2.well.test")
    domain(w, "well.test", one, two)
    situation(w, node, "enforce-well", "well.test", check=0)
    equal((one.messages, one.attempts), ([], []))


@test
def testing_with_a_failing_mx(w, node):
    good, bad = w.mx("mx1.trial.test"), w.mx("mx2.trial.test", cert="wrong-name")
    domain(w, "trial.test", good, bad, text=policy("testing", ["mx1.trial.test"]))
    situation(w, node, "testing-failing-mx", "trial.test")


@test
def policy_host_certificate_expired(w, node):
    domain(w, "old.test", w.mx("mx1.old.test"), cert="expired")
    situation(w, node, "policy-certificate-expired", "old.test")


@test
def mx_not_listed(w, node):
    one, two = w.mx("mx1.unlisted.test"), w.mx("mx2.unlisted.test")
    domain(w, "unlisted.test", one, two, text=policy(mx=["mx2.unlisted.test"]))
    situation(w, node, "mx-not-listed", "unlisted.test")
    equal(one.conns, [])


@test
def two_txt_records(w, node):
    domain(w, "twice.test", w.mx("mx1.twice.test"), txt=("v=STSv1; id=1;", "v=STSv1; id=2;"))
    situation(w, node, "two-txt-records", "twice.test")


@test
def policy_host_redirects(w, node):
    domain(w, "elsewhere.test", w.mx("mx1.elsewhere.test"), manner="redirect")
    situation(w, node, "policy-host-redirects", "elsewhere.test")


@test
def policy_too_large(w, node):
    domain(w, "large.test", w.mx("mx1.large.test"), manner="oversize")
    situation(w, node, "policy-too-large", "large.test")


@test
def cached_policy_of_a_dead_host(w, node):
    zone, ph = domain(w, "dead.test", w.mx("mx1.dead.test"))
    node.ctl("sts", "refresh", "dead.test")
    ph.close()
    situation(w, node, "cached-host-dead", "dead.test")


@test
def mx_without_starttls(w, node):
    mx = w.mx("mx1.clear.test", starttls="none")
    domain(w, "clear.test", mx)
    situation(w, node, "mx-without-starttls", "clear.test")
    equal(mx.attempts, [])


@test
def mx_with_a_wrong_name(w, node):
    domain(w, "name.test", w.mx("mx1.name.test", cert="wrong-name"))
    situation(w, node, "mx-wrong-name", "name.test")


@test
def txt_in_doubt(w, node):
    zone, ph = domain(w, "doubt.test", w.mx("mx1.doubt.test"))
    zone.fault("servfail", "_mta-sts", "TXT")
    w.commit()
    situation(w, node, "txt-servfail", "doubt.test", explain=1)


# ---- settings that say otherwise ----

@test
def settings_that_switch_it_off(w, node):
    domain(w, "off.test", w.mx("mx1.off.test"))
    contains(node.ctl("sts", "check", "off.test", want=1, raw=True), "mta_sts = off in [off.test]")
    domain(w, "routed.test", w.mx("mx1.routed.test"))
    contains(node.ctl("sts", "check", "routed.test", want=1, raw=True), "a route or an address literal covers")
    w.domain("must.test", w.mx("mx1.must.test"))
    w.commit()
    doc = node.ctl("sts", "check", "must.test", want=1)
    contains([s["do"] for s in doc["steps"] if s["step"] == "in-force"][0], "mandatory")


# ---- JSON, other tools ----

@test
def json_is_as_documented(w, node):
    domain(w, "json.test", w.mx("mx1.json.test"), text=policy(mx=["*.json.test"], max_age=1000))
    doc = node.ctl("sts", "check", "JSON.test")
    equal(sorted(doc), ["domain", "fetch", "result", "steps", "stored", "sts", "txt"])
    equal((doc["domain"], doc["result"]), ("json.test", "ok"))
    equal(doc["txt"], {"outcome": "usable", "id": "1", "reason": ""})
    equal(doc["fetch"], {"result": "ok", "reason": "", "mode": "enforce", "max_age_s": 1000, "mx": ["*.json.test"]})
    equal([s["step"] for s in doc["steps"]],
          ["txt", "address", "connect", "certificate", "policy", "in-force", "mx", "mx-match", "mx-connect",
           "mx-starttls", "mx-certificate"])
    for s in doc["steps"]:
        equal(sorted(s), ["do", "result", "step", "subject", "text"])
    equal((doc["sts"]["state"], doc["sts"]["mode"], doc["sts"]["id"]), ("policy", "enforce", "1"))
    for bad in ("a..b", "-", "[192.0.2.1]"):
        node.ctl("sts", "check", bad, want=None)


@test
def a_check_stores_nothing_that_delivery_would_not(w, node):
    """Without a record no policy comes into force, although the check has fetched one."""
    domain(w, "quiet.test", w.mx("mx1.quiet.test"), txt=())
    doc = node.ctl("sts", "check", "quiet.test", want=1)
    equal((doc["fetch"]["result"], doc["sts"]["state"], doc["result"]), ("ok", "none", "error"))
    equal(node.ctl("sts", "show", "quiet.test", want=1)["error"]["code"], 404)


@test
def the_match_is_told_in_each_mode(w, node):
    for mode, result, worst in (("enforce", "error", "error"), ("testing", "warning", "warning"),
                                ("none", "skipped", "ok")):
        name = "match-%s.test" % mode
        one, two = w.mx("mx1." + name), w.mx("mx2." + name)
        domain(w, name, one, two, text=policy(mode, [one]))
        doc = node.ctl("sts", "check", name, want=None)
        equal([(s["subject"], s["result"]) for s in doc["steps"] if s["step"] == "mx-match"],
              [(one.host, "ok"), (two.host, result)])
        equal(doc["result"], worst)


@test
def a_check_fetches_once(w, node):
    """What policyd looks at and what then holds are one fetch; so is it when the fetch fails."""
    for manner in ("ok", "404"):
        name = "once-%s.test" % manner
        zone, ph = domain(w, name, w.mx("mx1." + name), manner=manner)
        doc = node.ctl("sts", "check", name, want=None)
        equal((doc["fetch"]["result"], len(ph.requests)), ("ok" if manner == "ok" else "status", 1))
        equal(doc["sts"]["state"], "policy" if manner == "ok" else "none")
        # an operator who asks for a fetch gets one
        node.ctl("sts", "refresh", name, want=None)
        equal(len(ph.requests), 2)


@test(timeout=60)
def a_policy_host_that_hangs(w, node):
    domain(w, "slow.test", w.mx("mx1.slow.test"), manner="hang")
    doc = node.ctl("sts", "check", "slow.test", want=1, timeout=60)
    equal([s["result"] for s in doc["steps"] if s["step"] == "connect"], ["error"])


@test
def tlsverify(w, node):
    good, bad = w.mx("mx1.proof.test"), w.mx("mx2.proof.test", cert="self-signed")
    dead = w.dead()
    zone, ph = domain(w, "proof.test", good, bad)
    doc = node.ctl("tlsverify", "proof.test", want=1)
    one, two = doc["hosts"]
    equal((one["host"], one["result"], one["level_wanted"], one["level_proven"], one["verified_name"], one["rule"]),
          ("mx1.proof.test", "ok", "verify", "verify", "mx1.proof.test", "sts-enforce"))
    assert one["protocol"].startswith("TLSv1."), one
    equal(one["names_wanted"], ["mx1.proof.test"])
    equal((two["result"], two["reason"], two["verified_name"]), ("error", "cert-untrusted", None))
    assert two["certificate"]["error"], two
    doc = node.ctl("tlsverify", "proof.test", "MX1.proof.test")
    equal([h["host"] for h in doc["hosts"]], ["mx1.proof.test"])
    contains(node.ctl("tlsverify", "proof.test", "other.test", want=1)["error"]["text"], "does not go to this host")
    contains(node.ctl("tlsverify", "proof.test", "mx1.proof.test", raw=True), "verified name  mx1.proof.test")
    equal(good.messages + bad.messages, [])
    equal(good.commands("MAIL"), [])
    node.wait_log(r"Connection test for the domain \(proof\.test\), no mail is sent")
    # the connections were given back: nothing is held, nothing open
    poll_metric(w, node, "postern_delivery_connections", 0)


def poll_metric(w, node, name, value):
    w.wait(lambda: node.metrics().get(name) == value, 30, "%s = %s" % (name, value))


@test
def tlsverify_of_a_host_that_is_down(w, node):
    mx = w.mx("mx1.down.test")
    zone, ph = domain(w, "down.test", mx)
    mx.stop()
    doc = node.ctl("tlsverify", "down.test", want=1)
    host = doc["hosts"][0]
    equal((host["result"], host["reason"], host["level_proven"]), ("error", "host-down", None))
    equal(host["steps"][0]["result"], "error")


@test
def all_addresses_are_tried(w, node):
    """As mail does: one machine behind the name lacks STARTTLS, the other is well."""
    bad, good = w.mx("mx1.many.test", starttls="none"), w.mx("mx1.many.test")
    zone, ph = domain(w, "many.test", bad)
    # short, so that the answers' order changes: name servers turn it with each question
    zone.remove("mx1", "A").a("mx1", bad.address, good.address, ttl=1)
    w.commit()
    seen = []

    def passed():
        host = node.ctl("tlsverify", "many.test")["hosts"][0]
        equal((host["result"], host["verified_name"], host["address"]), ("ok", "mx1.many.test", good.address))
        seen[:] = [s for s in host["steps"] if s["text"].startswith("passed over: %s: " % bad.address)]
        return seen
    poll(passed, 30, "the bad one first")
    equal(seen[0]["result"], "warning")


@test
def explain_live(w, node):
    domain(w, "live.test", w.mx("mx1.live.test"))
    doc = node.ctl("explain", "live.test", "--live")
    equal([(h["host"], h["result"], h["level_proven"]) for h in doc["live"]], [("mx1.live.test", "ok", "verify")])
    contains(node.ctl("explain", "live.test", "--live", raw=True), "connected now, no mail sent:")
    assert "live" not in node.ctl("explain", "live.test")


@test
def explain_with_other_facts(w, node):
    domain(w, "with.test", w.mx("mx1.with.test"))

    def ask(*facts, want=0):
        args = [x for f in facts for x in ("--with", f)]
        return node.ctl("explain", "with.test", *args, want=want)

    doc = ask("sts=none")
    equal((doc["sts"]["state"], doc["hosts"][0]["level"]), ("none", "opportunistic"))
    doc = ask("sts=indeterminate", want=1)
    equal((doc["outcome"], doc["reason"]), ("defer", "sts-discovery-wait"))
    doc = ask("sts.mx=other.test", want=1)
    equal((doc["sts"]["source"], doc["hosts"][0]["verdict"], doc["hosts"][0]["reason"]),
          ("given", "skip", "sts-mx-mismatch"))
    won = [r["id"] for r in doc["hosts"][0]["rules"] if r["won"]]
    contains(won, "sts-mx-mismatch")
    doc = ask("sts=none", "sts.mode=enforce", "sts.mx=a.test,*.with.test", "sts.id=77")
    equal((doc["sts"]["mode"], doc["sts"]["id"], doc["hosts"][0]["level"]), ("enforce", "77", "verify"))
    contains(doc["facts_replaced"], "sts.id=77")
    doc = ask("sts.mode=testing", "sts.mx=other.test")
    equal((doc["hosts"][0]["verdict"], doc["hosts"][0]["level"]), ("attempt", "opportunistic"))
    contains(ask("sts.mode=loose", want=2)["error"]["text"], "wanted message=")
    contains(ask("nonsense", want=2)["error"]["text"], "wanted message=")
    # asking what would be changes nothing
    equal(node.ctl("explain", "with.test")["sts"]["mode"], "enforce")


@test
def hoststatus_has_the_policy(w, node):
    mx = w.mx("mx1.seen.test")
    domain(w, "seen.test", mx)
    mid = node.submit(SENDER, ["a@seen.test"])
    node.wait_done(mid)
    doc = node.ctl("hoststatus", "seen.test")
    equal((doc["policy"]["mode"], doc["policy"]["id"], doc["policy"]["mx"]), ("enforce", "1", ["mx1.seen.test"]))
    contains(node.ctl("hoststatus", "seen.test", raw=True), "\nMTA-STS policy\n")
    w.domain("bare.test", w.mx("mx1.bare.test"))
    w.commit()
    node.wait_done(node.submit(SENDER, ["a@bare.test"]))
    equal(node.ctl("hoststatus", "bare.test")["policy"], None)


if __name__ == "__main__":
    main(setup)
