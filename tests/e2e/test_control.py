"""The control surface of a whole node: posternctl, /metrics, and what happens when processes die."""
import json
import os
import signal
import urllib.error
import urllib.request
from contextlib import closing

from harness import contains, equal, main, test
from tests.world import On
from tests.world.base import poll, scale
from tests.world.client import Dialogue

SENDER = "sender@client.test"


def setup(w):
    # .down and .slow refuse for now, so that mail waits there
    w.down = w.mx("mx1.down.test", On("rcpt", "450 4.2.1 later"))
    w.fine = w.mx("mx1.fine.test")
    w.domain("down.test", w.down)
    w.domain("fine.test", w.fine)
    # nothing retries by itself while a test looks
    return w.postern(bounce={"profile default": {"initial_retry": "1h", "max_retry": "1h"}}).start()


def http(node, path, method="GET"):
    """(status, text) over TCP."""
    url = "http://%s%s" % (node.settings["admin"]["listen"], path)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, method=method), timeout=20 * scale()) as f:
            return f.status, f.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def waiting(node, rcpt="a@down.test"):
    """A message that was tried once and waits. Its MID."""
    mid = node.submit(SENDER, rcpt)
    node.wait_log(r"Message %d to RID \[0\] pending till" % mid)
    return mid


def greeting(node):
    """What the first line to a new client is."""
    with closing(Dialogue(node.listeners["internal"]).sock) as sock:
        return sock.makefile("r", encoding="latin-1").readline()


def remove(node, mid):
    node.ctl("removemessage", mid)


@test
def status_and_law(w, node):
    mid = node.submit(SENDER, "a@fine.test")
    node.wait_done(mid)
    doc = node.ctl("status")
    equal(doc["status"], "ok")
    equal(doc["hostname"], node.hostname)
    roles = {p["process"] for p in doc["processes"]}
    equal(roles, {"supervisor", "smtpd", "queue", "resolver", "policyd", "deliver", "admin"})
    law = doc["conservation"]
    equal((law["holds"], law["difference"]), (True, 0))
    assert law["accepted"] >= 1 and law["delivered"] >= 1, law
    text = node.ctl("status", "detail", raw=True)
    contains(text, "holds")
    contains(text, "postern_recipients_delivered_total")
    equal(node.ctl("version")["node"]["version"], node.ctl("status")["version"])


@test
def a_message_that_waits(w, node):
    mid = waiting(node)
    doc = node.ctl("why", mid)
    equal(doc["mid"], mid)
    r, = doc["recipients"]
    equal((r["rid"], r["address"], r["attempts"], r["reason"]), (0, "a@down.test", 1, "remote-4xx"))
    contains(r["last_reply"], "4.2.1 later")
    for key in ("state", "next_attempt", "expires"):
        assert r.get(key), (key, r)
    doc = node.ctl("showmessage", mid)
    equal((doc["mid"], doc["sender"], doc["held"]), (mid, SENDER, False))
    for selector in (("--host", "DOWN.test"), ("--from", SENDER), ("--all",)):
        found = [x for x in node.ctl("showrecipients", *selector)["recipients"] if x["mid"] == mid]
        equal([x["address"] for x in found], ["a@down.test"], selector)
    contains(node.ctl("showrecipients", "--all", raw=True), "a@down.test")
    top = node.ctl("tophosts")["hosts"]
    assert any(h["domain"] == "down.test" and h["active"] >= 1 for h in top), top
    doc = node.ctl("hoststatus", "down.test")
    equal(doc["domain"], "down.test")
    assert doc["destinations"] and doc["destinations"][0]["state"], doc
    equal(doc["errors"], [])
    # its end
    remove(node, mid)
    node.wait_log(r"Deleted: MID %d to \[0\]" % mid)
    equal(node.ctl("why", mid, want=1)["error"]["code"], 404)
    equal(node.ctl("removemessage", mid, want=1)["error"]["process"], "queue")


@test
def oldest_and_archive(w, node):
    equal(node.ctl("oldmessage", want=1)["error"]["code"], 404)
    big = b"Subject: big\r\n\r\n" + b"\xe4\x00 line\r\n".replace(b"\x00", b"x") * 80000  # three pieces
    first = node.submit(SENDER, "a@down.test", data=big)
    node.wait_log(r"Message %d to RID \[0\] pending till" % first)
    small = waiting(node)
    equal(node.ctl("oldmessage")["mid"], first)
    for mid, end in ((first, big), (small, b"\r\n")):
        file = os.path.join(w.tmp.path, "%d.eml" % mid)
        doc = node.ctl("archivemessage", mid, file)
        with open(file, "rb") as f:
            text = f.read()
        equal((doc["mid"], doc["size"]), (mid, len(text)))
        equal(len(text), node.ctl("showmessage", mid)["size"])
        assert text.endswith(end) and text.startswith(b"Received: "), text[:200]
        equal(os.stat(file).st_mode & 0o7777, 0o600)
        contains(node.ctl("archivemessage", mid, file, want=1, raw=True) or "refused", "refused")
    remove(node, first)
    equal(node.ctl("oldmessage")["mid"], small)
    remove(node, small)
    gone = os.path.join(w.tmp.path, "gone.eml")
    equal(node.ctl("archivemessage", small, gone, want=1)["error"]["code"], 404)
    assert not os.path.exists(gone)


@test
def delivernow(w, node):
    mid = waiting(node, "now@down.test")
    w.down.script()
    node.ctl("delivernow", "down.test")
    node.wait_done(mid)
    w.down.script(On("rcpt", "450 4.2.1 later"))


@test
def suspend_and_resume(w, node):
    before = len(w.fine.conns)
    node.ctl("suspenddel", "fine.test")
    mid = node.submit(SENDER, "s@fine.test")
    node.wait_log(r"MID %d queued for delivery" % mid)
    doc = node.ctl("why", mid)
    equal(doc["recipients"][0]["state"], "suspended")
    other = node.submit(SENDER, "other@down.test")  # others go on
    node.wait_log(r"Message %d to RID \[0\] pending till" % other)
    equal(len(w.fine.conns), before, "connections while suspended")
    node.ctl("resumedel", "fine.test")
    node.wait_done(mid)
    remove(node, other)


@test
def delete_and_bounce(w, node):
    """Many recipients at once: counted, removed, or returned with a notice to a sender elsewhere."""
    w.back = w.mx("mx1.back.test")
    w.domain("back.test", w.back)
    w.commit()
    mids = [node.submit("boss@back.test" if i < 3 else SENDER, "r%d@down.test" % i) for i in range(6)]
    for mid in mids:
        node.wait_log(r"Message %d to RID \[0\] pending till" % mid)
    doc = node.ctl("bouncerecipients", "--from", "boss@BACK.test", "--dry-run")
    equal(doc, {"changed": 0, "recipients": 3, "messages": 3, "in_flight": 0, "dry_run": True})
    contains(node.ctl("deleterecipients", "--all", "--dry-run", raw=True), "would be removed: 6, of 6 messages")
    doc = node.ctl("bouncerecipients", "--from", "boss@BACK.test")
    equal((doc["changed"], doc["dry_run"]), (3, False))
    poll(lambda: len(w.back.messages) == 3, 30, "three notices")
    for m in w.back.messages:
        contains(m.data.decode("latin-1"), "5.0.0")
    left = {r["mid"] for r in node.ctl("showrecipients", "--host", "down.test")["recipients"]}
    equal(left, set(mids[3:]))
    contains(node.ctl("deleterecipients", "--host", "DOWN.test", raw=True), "removed: 3, of 3 messages")
    node.wait_log(r"Removal of recipients \(host down.test\) by an operator done: 3 of 3 messages")
    equal(node.ctl("showrecipients", "--all")["recipients"], [])
    law = node.ctl("status")["conservation"]
    equal((law["holds"], law["queued"]), (True, 0))


@test
def suspended_listener(w, node):
    """New clients get 421, over a reload and the death of smtpd; who is connected goes on."""
    equal(node.ctl("suspendlistener", "nosuch", want=1)["error"]["code"], 404)
    with node.client() as here:
        equal(node.ctl("suspendlistener", "internal")["changed"], 1)
        equal(node.ctl("suspendlistener", "internal")["changed"], 0)
        poll(lambda: greeting(node).startswith("421 "), 30, "the intake process to know")
        mid = here.send(SENDER, ["on@fine.test"])
    node.wait_done(mid)
    node.ctl("reload")
    doc = node.ctl("status")
    equal((doc["suspended_listeners"], doc["status"]), (["internal"], "ok"))
    contains(node.ctl("status", raw=True), "listener internal is suspended")
    node.kill("smtpd")
    poll(lambda: node.ctl("status", want=None)["status"] == "ok", 30, "a new smtpd")
    contains(greeting(node), "421 ")
    equal(node.ctl("resumelistener")["changed"], 1)
    equal(node.ctl("status")["suspended_listeners"], [])
    poll(lambda: greeting(node).startswith("220 "), 30, "the intake process to know")
    node.wait_done(node.submit(SENDER, "again@fine.test"))


@test
def hold_and_unhold(w, node):
    node.ctl("suspenddel", "fine.test")
    mid = node.submit(SENDER, "h@fine.test")
    node.ctl("hold", mid)
    node.ctl("resumedel", "fine.test")
    free = node.submit(SENDER, "free@fine.test")
    node.wait_done(free)
    equal(node.ctl("showmessage", mid)["held"], True)
    equal(node.ctl("why", mid)["recipients"][0]["state"], "held")
    node.ctl("unhold", mid)
    node.wait_done(mid)


@test
def explain(w, node):
    w.domain("null.test").null_mx()
    w.commit()
    doc = node.ctl("explain", "user@fine.test", "--from", SENDER)
    equal((doc["domain"], doc["outcome"], doc["route"]), ("fine.test", "deliver", None))
    host, = doc["hosts"]
    equal((host["host"].rstrip("."), host["verdict"]), ("mx1.fine.test", "attempt"))
    assert any(r["won"] for r in host["rules"]), host
    for key in ("control", "mx_security", "sts", "limits", "state", "next_attempt", "gateway"):
        assert key in doc, key
    contains(node.ctl("explain", "fine.test", raw=True), "mx1.fine.test")
    doc = node.ctl("explain", "null.test", want=1)
    equal((doc["outcome"], doc["reason"]), ("fail", "null-mx"))
    equal(node.ctl("explain", "no such domain", want=2)["error"]["code"], 400)


@test
def over_tcp(w, node):
    status, text = http(node, "/metrics")
    equal(status, 200)
    contains(text, 'postern_up{process="queue",instance="0"} 1')
    contains(text, "postern_recipients_unaccounted 0")
    seen = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in seen, "TYPE twice: " + name
            seen.add(name)
        elif line and not line.startswith("#"):
            contains(line, "postern_")
            float(line.rsplit(" ", 1)[1])
    equal(http(node, "/healthz")[0], 200)
    for path, method in (("/v1/status", "GET"), ("/v1/reload", "POST"), ("/v1/recipients?all=1", "GET")):
        status, text = http(node, path, method)
        equal((status, json.loads(text)["error"]["code"]), (403, 403), path)


@test
def dead_processes(w, node):
    """Stopped dead, not killed: the process is there and does not answer. Others still do."""
    pid = node.pids("resolver")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        status, text = http(node, "/metrics")
        equal(status, 200)
        contains(text, 'postern_up{process="resolver",instance="0"} 0')
        contains(text, 'postern_up{process="queue",instance="0"} 1')
        contains(text, "postern_recipients_unaccounted 0")
        e = node.ctl("dnsflush", want=3)["error"]
        equal((e["code"], e["process"]), (504, "resolver"))
    finally:
        os.kill(pid, signal.SIGCONT)
    poll(lambda: http(node, "/healthz")[0] == 200, 20, "health")
    node.kill("queue")
    poll(lambda: http(node, "/healthz")[0] == 200, 30, "health after queue was restarted")
    equal(node.ctl("status")["conservation"]["holds"], True)
    node.kill("admin")
    poll(lambda: node.ctl("version", want=None, raw=True).count("\n") == 2, 30, "a new admin")
    equal(node.ctl("status")["status"], "ok")


@test
def dnsflush_and_reload(w, node):
    node.ctl("explain", "fine.test")
    node.ctl("dnsflush", "fine.test")
    node.ctl("dnsflush")
    node.write()
    node.ctl("reload")
    bad = os.path.join(node.etc, "routes.conf")
    with open(bad, "w") as f:
        f.write("[x.test]\nhosst = y\n")
    e = node.ctl("reload", want=1)["error"]
    equal((e["code"], e["process"]), (409, "supervisor"))
    node.write()
    node.ctl("reload")


@test
def drain(w, node):
    other = w.postern().start()
    other.ctl("drain", "--deadline", "10s")
    poll(lambda: not other.proc.running(), 20, "the node's end")
    equal(other.proc.popen.returncode, 0)
    other.proc = None


if __name__ == "__main__":
    main(setup)
