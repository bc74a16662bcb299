"""Whole tables in and out: the other gateway's destination table, and our own."""
import http.client
import json
import os
import socket
import subprocess

from harness import contains, equal, main, test
from tests.world.base import scale
from tests.world.postern import program

IP = [("PREFER_V6", "prefer-ipv6"), ("REQUIRE_v6", "require-ipv6"), ("PREFER_V4", "prefer-ipv4"),
      ("require_V4", "require-ipv4")]
TLS = [("off", "none"), ("on", "preferred"), ("required", "required"), ("On_Verify", "preferred-verify"),
       ("REQUIRE_VERIFY", "required-verify"), ("0", "none"), ("1", "preferred"), ("2", "required"),
       ("3", "preferred-verify"), ("4", "required-verify")]
TYPE = [("host", "domain"), ("0", "domain"), ("MXIP", "mx-ip"), ("1", "mx-ip")]
APPLY = [("system", "system"), ("0", "system"), ("VG", "gateway"), ("1", "gateway")]


def theirs(count):
    """A table of theirs with so many entries, and what each must become here."""
    text = ["[DEFAULT]", "ip_sort_pref = PREFER_V4", "max_host_concurrency = 500", "max_messages_per_connection = 50",
            "recipient_minutes = 60", "recipient_limit = 1000", "limit_type = host", "limit_apply = system",
            "bounce_profile = Default", "table_tls = on", "bounce_validation = 0", "send_tls_req_alert = 0", ""]
    want = {}
    for i in range(count):
        name = "d%d.import.test" % i
        ip, tls, kind, apply_ = IP[i % 4], TLS[i % 10], TYPE[i // 2 % 4], APPLY[i // 3 % 4]
        text += ["[%s]" % (name.upper() if i % 7 == 0 else name), "ip_sort_pref = " + ip[0],
                 "max_host_concurrency = %d" % (i % 1000 + 1), "max_messages_per_connection = %d" % (i % 100 + 1),
                 "table_tls = " + tls[0], "limit_type = " + kind[0], "limit_apply = " + apply_[0]]
        want[name] = {"ip_preference": ip[1], "max_connections": str(i % 1000 + 1),
                      "max_messages_per_connection": str(i % 100 + 1), "tls": tls[1], "limit_scope": kind[1],
                      "limit_apply": apply_[1]}
        if i % 3 == 0:
            text += ["recipient_minutes = %d" % (i % 60 + 1), "recipient_limit = %d" % (i + 1)]
            want[name]["recipient_limit"] = "%d/%dm" % (i + 1, i % 60 + 1)
        if i % 3 == 1:
            text += ["recipient_minutes = 0", "recipient_limit = none"]
            want[name]["recipient_limit"] = "none"
        text.append("")
    return "\n".join(text) + "\n", want


def control(node, domain):
    return node.ctl("explain", "a@" + domain, want=None)["control"]


def put(node, name, text):
    path = os.path.join(os.path.dirname(node.etc), name)
    with open(path, "w") as f:
        f.write(text)
    return path


@test(timeout=180)
def a_thousand_entries(w):
    node = w.postern(destinations={"old.test": {"max_connections": 7}, "d1.import.test": {"dane": "mandatory"}}).start()
    text, want = theirs(1000)
    got = node.ctl("destconfig", "import", put(node, "table.txt", text))
    equal((got["entries"], got["refused"]), (1001, 0))
    equal((got["added"], got["changed"], got["removed"]), (1000, 1, 1))
    # each line is told of
    told = {line["line"] for line in got["lines"]}
    equal(sorted(told), [i + 1 for i, line in enumerate(text.split("\n")) if " = " in line])
    equal(node.ctl("showchanges")["count"], 1002)
    equal(control(node, "old.test")["entry"], "old.test")
    node.ctl("commit", "-m", "import")
    equal(control(node, "old.test")["entry"], "DEFAULT")
    for name in ["d%d.import.test" % i for i in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 500, 999)]:
        found = control(node, name)
        equal(found["entry"], name)
        for key, value in want[name].items():
            equal(found[key], value, name + " " + key)
        # off means that nothing is asked of TLS; else ours stay on
        equal((found["dane"], found["mta_sts"]),
              ("none", "off") if want[name]["tls"] == "none" else ("opportunistic", "on"), name)
    equal(control(node, "other.test")["recipient_limit"], "1000/60m")
    entries = {e["name"]: e["keys"] for e in node.ctl("destconfig", "list")["entries"]}
    equal(len(entries), 1000)  # the first thousand
    for name in set(entries) - {"DEFAULT"}:
        equal(entries[name], want[name], name)
    # out again, and in: the same
    path = put(node, "again.txt", node.ctl("destconfig", "export", raw=True))
    got = node.ctl("destconfig", "import", path)
    equal((got["added"], got["changed"], got["removed"], got["same"]), (0, 0, 0, 1001))
    node.ctl("clearchanges")


BAD = """# their file
stray = 1
[DEFAULT]
max_host_concurrency = 20000
table_tls = maybe
no_such_key = x
recipient_minutes = 60
recipient_limit = 0
[not a domain]
table_tls = required
[twice.test]
table_tls = required
[TWICE.test]
table_tls = on
[tls.test]
table_tls = require_verify
bounce_profile = tls failed
certificate = ${HOME}
send_tls_req_alert = 1
garbage
"""


@test(timeout=120)
def every_line_that_is_refused_is_told(w):
    node = w.postern(destinations={"DEFAULT": {"max_connections": 400}, "mx:*.big.test": {"max_connections": 5}}).start()
    got = node.ctl("destconfig", "import", put(node, "bad.txt", BAD))
    refused = {line["line"]: line["text"] for line in got["lines"] if line["outcome"] == "refused"}
    equal(sorted(refused), [2, 4, 5, 6, 8, 9, 10, 13, 14, 17, 18, 20])
    contains(refused[4], "max_connections")
    contains(refused[5], "wanted off, on, required")
    contains(refused[6], "unknown key")
    contains(refused[8], "hold all mail")
    contains(refused[13], "second time")
    changes = {c["entry"]: c["change"] for c in node.ctl("showchanges")["changes"]}
    equal(changes, {"DEFAULT": "changed", "twice.test": "new", "tls.test": "new", "mx:*.big.test": "deleted"})
    out = node.ctl("destconfig", "import", put(node, "bad.txt", BAD), raw=True)
    contains(out, "bad.txt:6: refused: [DEFAULT] no_such_key = x: unknown key")
    node.ctl("clearchanges")
    # another kind of file does not empty the table
    node.ctl("destconfig", "import", put(node, "other.txt", "hello\nworld\n"), want=1, raw=True)
    equal(node.ctl("showchanges")["staged"], False)
    # the environment is not for those who only edit
    node.ctl("smtproutes", "import", put(node, "env.txt", "[a.test]\nhosts = ${HOME}\n"), want=2, raw=True)
    equal(node.ctl("showchanges")["staged"], False)


@test(timeout=120)
def what_their_table_cannot_say_is_told(w):
    node = w.postern(destinations={
        "a.test": {"tls": "required-verify-hosted", "dane": "mandatory", "max_connections": 3, "recipient_limit": "5/1h"},
        ".part.test": {"tls": "required"}}).start()
    args = [program("posternctl"), "-c", node.etc, "destconfig", "export"]
    done = subprocess.run(args, capture_output=True, text=True, timeout=60 * scale(), env=node.env())
    equal(done.returncode, 0)
    contains(done.stdout, "max_host_concurrency = 3\n")
    contains(done.stdout, "recipient_minutes = 60\nrecipient_limit = 5\n")
    equal(sorted(line.split(": ")[1] for line in done.stderr.splitlines()),
          ["[.part.test]", "[a.test] dane = mandatory", "[a.test] tls = required-verify-hosted"])


@test(timeout=120)
def our_tables_go_out_and_in(w):
    node = w.postern(routes={"a.test": {"hosts": "relay1.test, relay2.test/pri=10"}}).start()
    text = node.ctl("smtproutes", "export", raw=True)
    contains(text, "[a.test]\nhosts = relay1.test")
    got = node.ctl("smtproutes", "import", put(node, "routes.txt", text + "[b.test]\nhosts = USEDNS\n"))
    equal((got["added"], got["changed"], got["removed"], got["same"]), (1, 0, 0, 1))
    node.ctl("commit")
    equal(node.ctl("explain", "a@b.test", want=None)["route"]["kind"], "usedns")


@test(timeout=120)
def an_import_that_is_refused_takes_no_edit_with_it(w):
    node = w.postern(routes={"a.test": {"hosts": "relay1.test"}}).start()
    node.ctl("bounceconfig", "new", "quick", "max_retries=3")
    node.ctl("smtproutes", "new", "b.test", "hosts=relay2.test")
    # what no edit may write, behind an entry that is fine
    bad = "[late.test]\nhosts = USEDNS\n[a.test]\nhosts = USEDNS\n" + "k" * 65 + " = 1\n"
    got = node.ctl("smtproutes", "import", put(node, "bad.txt", bad), want=2)
    contains(got["error"]["text"], "a.test")
    got = node.ctl("showchanges")
    equal(sorted(c["entry"] for c in got["changes"]), ["b.test", "quick"])


def get(node, path):
    """The answer of the control socket, whose pages posternctl puts together."""
    conn = http.client.HTTPConnection("localhost")
    conn.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    conn.sock.connect(os.path.join(node.settings["postern"]["run_dir"], "control.sock"))
    conn.request("GET", path)
    doc = json.load(conn.getresponse())
    conn.close()
    return doc


@test(timeout=120)
def the_pages_of_a_list_are_of_one_set(w):
    node = w.postern(routes={"%s.test" % c: {"hosts": "relay1.test"} for c in "abcd"}).start()
    first = get(node, "/v1/config/smtproutes?limit=2")
    equal(([e["name"] for e in first["entries"]], first["truncated"]), (["a.test", "b.test"], True))
    with open(os.path.join(node.etc, "routes.conf"), "w") as f:
        f.write("[x.test]\nhosts = relay9.test\n")
    rest = get(node, "/v1/config/smtproutes?limit=9&after=b.test")
    equal(([e["name"] for e in rest["entries"]], rest["truncated"]), (["c.test", "d.test"], False))
    # whoever begins sees what is there
    equal([e["name"] for e in get(node, "/v1/config/smtproutes")["entries"]], ["x.test"])
    # an edit, too
    with open(os.path.join(node.etc, "routes.conf"), "w") as f:
        f.write("[x.test]\nhosts = relay9.test\n[y.test]\nhosts = relay9.test\n")
    equal(get(node, "/v1/config/smtproutes?limit=1")["truncated"], True)
    with open(os.path.join(node.etc, "routes.conf"), "a") as f:
        f.write("[z.test]\nhosts = relay9.test\n")
    node.ctl("smtproutes", "edit", "z.test", "hosts=relay8.test")
    node.ctl("commit")
    contains(node.ctl("smtproutes", "export", raw=True), "[z.test]\nhosts = relay8.test")


if __name__ == "__main__":
    main()
