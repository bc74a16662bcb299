"""The probe tool: its answers, its errors, and that ids and order are kept."""

import json
import os
import subprocess
import sys

PROBE = "build/%s/probe" % os.environ.get("MODE", "release")
failed = 0


def ok(name, good, detail=""):
    global failed
    print(("ok " if good else "not ok ") + name)
    if not good:
        failed += 1
        print("# " + detail)


def run(sub, lines):
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    p = subprocess.run([PROBE, sub, "--stdin"], input=text.encode(),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, [json.loads(x) for x in p.stdout.splitlines()], p.stderr.decode()


def ask(name, sub, request, **want):
    _, got, err = run(sub, [request])
    ok(name, len(got) == 1 and all(k in got[0] and got[0][k] == v for k, v in want.items()),
       "%s %s wanted %s" % (got, err, want))


ask("reply", "smtp-reply", {"wire": "250-2.1.5 a\r\n250 2.1.5 b\r\nrest", "id": 7},
    id=7, code=250, enhanced="2.1.5", text="a\nb", consumed=26)
ask("reply without text", "smtp-reply", {"wire": "250\r\n"}, code=250, enhanced=None, text="")
ask("reply with odd bytes", "smtp-reply", {"wire": "550 \x00\x1b\xff\r\n"}, text="\x00\x1b\xff")
ask("half a reply", "smtp-reply", {"wire": "250 ok"}, error="the reply is not complete")
code, got, _ = run("smtp-reply", [{"wire": "250 " + "x" * 1000000 + "\r\n"}])
ok("reply of a megabyte", code == 0 and list(got[0]) == ["error"], str(got)[:200])

ask("ehlo", "smtp-ehlo",
    {"wire": "250-h hi\r\n250-SIZE 10\r\n250-AUTH PLAIN login\r\n250-LIMITS RCPTMAX=5\r\n250 DSN\r\n"},
    host="h", has=["DSN", "SIZE", "AUTH", "LIMITS"], auth=["PLAIN", "LOGIN"], size=10,
    limits=True, mailmax=None, rcptmax=5, rcptdomainmax=None)
code, got, _ = run("smtp-ehlo", [{"wire": "550 no\r\n"}])
ok("ehlo refused", code == 0 and "error" in got[0], str(got))

ask("command", "smtp-command", {"line": "MAIL FROM:<a@b> SIZE=5 RET=FULL\r\n"},
    accept=True, verb="MAIL", code=None, path="a@b", local="a", domain="b", size=5, ret="FULL")
ask("command refused", "smtp-command", {"line": "MAIL FROM:<a@b> X=1"},
    accept=False, verb="MAIL", code=555, enhanced="5.5.4")
ask("command not known", "smtp-command", {"line": "FOO"}, accept=False, verb=None, code=500)
ask("command not offered", "smtp-command", {"line": "STARTTLS", "offered": ["SIZE"]},
    accept=False, code=502)
ask("two commands", "smtp-command", {"line": "NOOP\r\nQUIT"}, accept=False, code=500)
ask("recipient in UTF-8", "smtp-command", {"line": "RCPT TO:<\u00c3\u00a9@b>"},
    accept=True, local="\u00c3\u00a9")
ask("recipient in UTF-8 without", "smtp-command",
    {"line": "RCPT TO:<\u00c3\u00a9@b>", "smtputf8": False}, accept=False, code=553)

ask("encode", "data-encode", {"body": ".a\nb"}, wire="..a\r\nb\r\n.\r\n", size=7)
ask("decode", "data-decode", {"wire": "..a\r\n.\r\nQUIT\r\n"},
    body=".a\r\n", consumed=8, complete=True, error=None)
ask("decode smuggled", "data-decode", {"wire": "a\n.\nb\r\n.\r\n"},
    body="a\n.\nb\r\n", consumed=10, complete=True, error="bare LF")
ask("decode not complete", "data-decode", {"wire": "a\r\n."}, complete=False, consumed=4)
body = "".join(chr(i) for i in range(256) if i not in (10, 13)) + "\r\n.\r\n"
_, got, _ = run("data-encode", [{"body": body}])
ask("every byte there and back", "data-decode", {"wire": got[0]["wire"]}, body=body, complete=True)

_, got, _ = run("settings", [{"id": 1, "files": {
    "postern.conf": "include = more\n[log]\nformt = json\n[lgo]\n",
    "more": "[delivery]\nport = 0\nb\u00e9 = 1\n", "bounce.conf": "[profile \u00c3\u00a9]\n"}}])
ok("settings with mistakes", got[0].get("ok") is False and got[0]["id"] == 1 and
   [(e["file"], e["line"], e["column"]) for e in got[0]["errors"]] ==
   [("postern.conf", 3, 1), ("postern.conf", 4, 2), ("bounce.conf", 1, 2),
    ("more", 2, 8), ("more", 3, 2)] and
   "did you mean 'format'" in got[0]["errors"][0]["message"], str(got))

code, got, _ = run("smtp-reply", [
    {"wrie": "x", "id": 1}, {"id": 2}, {"wire": 5, "id": 3}, {"wire": "\u0100", "id": 4},
    "[]", "nonsense", '{"wire": "1", "wire": "2"}', "", {"wire": "250 ok\r\n", "id": 5}])
ok("errors keep order and ids",
   [x.get("id") for x in got] == [1, 2, 3, 4, None, None, None, 5] and
   all("error" in x for x in got[:7]) and got[7]["code"] == 250 and code == 1, str(got))
ok("an unknown field is named", 'unknown field "wrie"' in got[0]["error"], str(got[0]))
code, got, _ = run("smtp-reply", [{"wire": "250 ok\r\n"}] * 3)
ok("status 0", code == 0 and len(got) == 3, str((code, got)))

# a small set of settings, and the same with three mistakes
files = {"postern.conf": "[postern]\nhostname = gw1.example.net\n",
         "destinations.conf": "[DEFAULT]\ntls = preferred\n[example.com]\nmax_connections = 7\n",
         "routes.conf": "[.example.org]\nhosts = relay.example.net\n"}
_, got, _ = run("settings", [{"files": files, "domain": "EXAMPLE.com"},
                             {"files": files, "domain": "a.example.org"},
                             {"files": files, "domain": "a..b"}, {"files": {}},
                             {"files": {"postern.conf": 5}}])
ok("settings", got[0].get("ok") is True and got[0]["errors"] == [] and
   got[0]["control"]["entry"] == "example.com" and
   got[0]["control"]["max_connections"] == "7" and
   got[0]["control"]["given"] == ["max_connections"] and got[0]["route"] is None, str(got[0]))
ok("settings: route", got[1].get("route") == ".example.org" and
   got[1]["control"]["entry"] == "DEFAULT", str(got[1]))
ok("settings: no domain", got[2] == {"error": "domain is no domain"}, str(got[2]))
ok("settings: none", got[3].get("ok") is False and got[3]["error_count"] > 0, str(got[3]))
ok("settings: a file that is none", "error" in got[4], str(got[4]))
files["destinations.conf"] = "[DEFAULT]\ntls = prefered\nfoo = 1\n[example.com]\nmax_connections = x\n"
_, got, _ = run("settings", [{"files": files}])
ok("settings: mistakes", got[0]["ok"] is False and
   [(e["file"], e["line"]) for e in got[0]["errors"]] ==
   [("destinations.conf", n) for n in (2, 3, 5)], str(got[0]))

head = "\0\0\0\x03\0\x10\0\0" + "\xff" * 8
ask("frame", "ipc-frame", {"wire": head + "abcd"}, type=16, length=3, nfds=0, flags=0,
    request_id="18446744073709551615", complete=True, payload="abc", consumed=19)
ask("half a frame", "ipc-frame", {"wire": head + "a"}, complete=False, payload="a")
ask("half a header", "ipc-frame", {"wire": head[:15]}, error="the header is not complete")
ask("a frame too long", "ipc-frame", {"wire": "\xff" + head[1:]},
    error="the header is malformed or the frame too long")

mx1 = {"host": "mx1.example.com", "preference": 10, "addresses": ["192.0.2.1", "2001:db8::1"]}
ask("verdict: no host", "verdict", {"facts": {"mx_security": "indeterminate"}, "id": 3}, id=3,
    outcome="defer", reason="dns-indeterminate", hosts=[])
ask("verdict: a loop", "verdict", {"facts": {"hosts": [{**mx1, "host": "gw.example.net"}]}},
    outcome="fail", reason="mail-loop", status="5.4.6")
ask("verdict: a word that is none", "verdict", {"facts": {"hosts": [{**mx1, "security": "sure"}]}},
    error="security: not known, or not of its form")
_, got, _ = run("verdict", [
    {"facts": {"hosts": [{**mx1, "preference": 20}, {**mx1, "host": "mx0.example.com"}]},
     "settings": {"tls": "required"}},
    {"facts": {"hosts": [{**mx1, "tlsa": {"state": "indeterminate"}}], "sts": {
        "state": "policy", "mode": "enforce", "mx": ["*.example.com"]}}},
    {"facts": {"hosts": [mx1]}, "flags": ["requiretls"]}])
ok("verdict: order and level", [(h["host"], h["level"]) for h in got[0]["hosts"]] ==
   [("mx0.example.com", "encrypt"), ("mx1.example.com", "encrypt")], str(got[0]))
ok("verdict: doubt is never downgraded", (got[1]["outcome"], got[1]["hosts"][0]["verdict"],
   got[1]["hosts"][0]["reason"]) == ("defer", "skip", "tlsa-indeterminate"), str(got[1]))
ok("verdict: REQUIRETLS waits", got[2]["reason"] == "requiretls-missing", str(got[2]))

for name, args in [("no subcommand", []), ("unknown subcommand", ["x", "--stdin"]),
                   ("without --stdin", ["smtp-reply"])]:
    p = subprocess.run([PROBE] + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60)
    ok("usage: " + name, p.returncode == 2 and p.stdout == b"" and b"usage" in p.stderr,
       str(p))

sys.exit(1 if failed else 0)
