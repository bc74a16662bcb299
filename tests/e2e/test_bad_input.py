"""Bad input of many kinds, from clients, servers, files and signals. Each gets a clear error, and
the next message flows."""
import contextlib
import os
import socket
import subprocess

from harness import contains, equal, main, raises, test
from tests.world import (CAPS, Dialogue, On, Refused, bulk, endless, long_line, message, tls_context)
from tests.world.base import poll, scale
from tests.world.postern import program

SENDER = "alice@client.test"


def setup(w):
    w.rx = w.mx("mx1.good.test")
    w.domain("good.test", w.rx)
    w.domain("client.test", w.mx("mx1.client.test"))
    node = w.postern()
    node.settings["listener small"] = {
        "address": "auto", "relay_from": "127.0.0.0/8", "tls": "offered", "certificate": "default",
        "max_message_size": "10k", "max_recipients": "5", "max_connections_per_client": "3",
        "command_timeout": "2s", "data_timeout": "2s"}
    node.settings["listener auth"] = node.auth_listener()
    w.count = 0
    return node.start()


def flows(w, node):
    """The next message gets through."""
    w.count += 1
    mark = "flows %d" % w.count
    node.submit(SENDER, "bob@good.test", subject=mark)
    w.rx.wait_messages(1, match=lambda m: m.header("Subject") == mark)


def arrived(w, subject):
    return [m for m in w.rx.messages if m.header("Subject") == subject]


def start_data(d, rcpt="bob@good.test"):
    d.hello()
    d.cmd("MAIL FROM:<%s>" % SENDER, 250)
    d.cmd("RCPT TO:<%s>" % rcpt, 250)
    d.cmd("DATA", 354)


@test
def oversized_command_line(w, node):
    with Dialogue(node.smtp) as d:
        d.hello()
        d.cmd("MAIL FROM:<" + "x" * 5000 + "@client.test>", 500, 501)
        d.cmd("NOOP", 250)
        with contextlib.suppress(OSError):
            d.send(b"y" * 3000000)
            d.send(b"\r\n")
        d.expect(500, 501, 421, 0)
    flows(w, node)


@test
def message_over_the_limit(w, node):
    with Dialogue(node.listeners["small"]) as d:
        d.hello()
        d.cmd("MAIL FROM:<%s> SIZE=20000" % SENDER, 552)
        d.cmd("MAIL FROM:<%s>" % SENDER, 250)
        d.cmd("RCPT TO:<bob@good.test>", 250)
        d.cmd("DATA", 354)
        d.send(message(SENDER, ["bob@good.test"], subject="too big", body=bulk(20000)) + b".\r\n")
        contains(d.expect(552)[0], "5.3.4")
        d.cmd("MAIL FROM:<%s>" % SENDER, 250)
        d.cmd("RCPT TO:<bob@good.test>", 250)
        d.send(b"BDAT 20000 LAST\r\n" + bulk(20000))
        d.expect(552)
        d.cmd("NOOP", 250)
    flows(w, node)
    equal(arrived(w, "too big"), [])


@test
def smuggled_end_of_data(w, node):
    evil = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<bob@good.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
    for i, end in enumerate((b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\n.\r",
                             b"\r\n\x00.\r\n", b"\r.\r\n")):
        with Dialogue(node.smtp) as d:
            start_data(d)
            with contextlib.suppress(OSError):
                d.send(message(SENDER, ["bob@good.test"], subject="carrier %d" % i, body=b"a" + end + evil))
            code, text = d.reply()
            if end != b"\r\n\x00.\r\n":
                equal(code // 100, 5, "answer to %r: %d %r" % (end, code, text))
    flows(w, node)
    equal(arrived(w, "smuggled"), [], "smuggled messages")
    for m in w.rx.messages:
        equal(b"\n.\n" in m.data.replace(b"\r\n", b""), False)


@test
def bare_line_feeds_in_commands(w, node):
    with Dialogue(node.smtp) as d:
        d.hello()
        d.send(b"MAIL FROM:<%s>\nRCPT TO:<bob@good.test>\r\n" % SENDER.encode())
        code, _ = d.reply()
        equal(code in (500, 501, 554, 421), True, "bare LF between commands: %d" % code)
    flows(w, node)


@test
def injected_behind_starttls(w, node):
    with Dialogue(node.smtp) as d:
        d.hello()
        d.send(b"STARTTLS\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<bob@good.test>\r\n")
        code, _ = d.reply()
        if code == 220:
            # what was behind is gone: the session starts anew, or the handshake fails
            with contextlib.suppress(OSError):
                d.sock = tls_context().wrap_socket(d.sock)
                d.buf = b""
                d.cmd("EHLO client.test", 250)
                d.cmd("DATA", 503)  # no MAIL is known
        else:
            equal(code // 100 in (4, 5), True, "answer to STARTTLS with commands behind: %d" % code)
            d.expect(0)  # and the session is over
    flows(w, node)


@test
def nonsense_commands(w, node):
    with Dialogue(node.smtp) as d:
        d.hello()
        for line, codes in (("", (500, 501)), ("FROB", (500, 502)), ("MAIL", (501,)), ("MAIL FROM:bob", (501,)),
                            ("MAIL FROM:<a@b", (501,)), ("RCPT TO:<x@y.test>", (503,)),
                            ("DATA", (503,)), ("MAIL FROM:<a@b.test> FROB=1", (555,))):
            d.cmd(line, *codes)
    with Dialogue(node.smtp) as d:
        d.hello()
        d.cmd(b"MAIL FROM:<a\x00b@client.test>\r\n", 500, 501, 553)
        d.cmd(b"MAIL FROM:<\xff\xfe@client.test>\r\n", 500, 501, 553, 550)
        d.cmd("MAIL FROM:<%s>" % SENDER, 250)
        for address in ("bob", "bob@", "@good.test", "a b@good.test", "bob@good..test", "bob@-good.test",
                        "bob@" + "x" * 64 + ".test", "x" * 65 + "@good.test", "bob@[300.1.1.1]",
                        "bob@" + ".".join(["label"] * 60)):
            code, text = d.send("RCPT TO:<%s>" % address).reply()
            equal(code in (501, 550, 553), True, "%s: %d %r" % (address, code, text))
        d.cmd("RCPT TO:<bob@good.test>", 250)
    with Dialogue(node.smtp) as d:  # a client that only makes mistakes is shown the door
        d.expect(220)
        with contextlib.suppress(OSError):
            for _ in range(500):
                d.send("FROB")
        last = None
        while (code := d.reply()[0]) != 0:
            last = code
        equal(last, 421)
    flows(w, node)


@test
def too_many_recipients(w, node):
    with Dialogue(node.listeners["small"]) as d:
        d.hello()
        d.cmd("MAIL FROM:<%s>" % SENDER, 250)
        for i in range(5):
            d.cmd("RCPT TO:<r%d@good.test>" % i, 250)
        contains(d.cmd("RCPT TO:<r6@good.test>", 452)[0], "4.5.3")
        d.cmd("DATA", 354)
        d.send(message(SENDER, [], subject="five") + b".\r\n").expect(250)
    w.rx.wait_messages(1, match=lambda m: m.header("Subject") == "five" and len(m.rcpts) == 5)
    flows(w, node)


@test
def too_many_connections(w, node):
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(Dialogue(node.listeners["small"])) for _ in range(3)]
        for d in first:
            d.hello()
        stack.enter_context(Dialogue(node.listeners["small"])).expect(421)
        first[0].cmd("QUIT", 221)
        first[0].expect(0)

        def again():
            with Dialogue(node.listeners["small"]) as d:
                return d.reply()[0] == 220
        poll(again, 10, "a place for one more connection")
    flows(w, node)


@test
def slow_clients(w, node):
    with Dialogue(node.listeners["small"]) as idle, Dialogue(node.listeners["small"]) as half:
        idle.hello()
        half.hello()
        half.cmd("MAIL FROM:<%s>" % SENDER, 250)
        half.cmd("RCPT TO:<bob@good.test>", 250)
        half.cmd("DATA", 354)
        half.send(b"Subject: half\r\n\r\nnot fini")
        idle.expect(421, 0)
        half.expect(421, 451, 0)
    flows(w, node)
    equal(arrived(w, "half"), [])


@test
def clients_that_go(w, node):
    for lines in ([], ["EHLO x"], ["EHLO x", "MAIL FROM:<%s>" % SENDER, "RCPT TO:<bob@good.test>", "DATA",
                                   b"Subject: gone\r\n\r\nhal"], ["EHLO x", "STARTTLS"]):
        d = Dialogue(node.smtp)
        for line in lines:
            d.reply()
            d.send(line)
        d.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        d.close()
    flows(w, node)
    equal(arrived(w, "gone"), [])


@test
def not_tls_at_all(w, node):
    with Dialogue(node.smtp) as d:
        d.hello()
        d.cmd("STARTTLS", 220)
        d.send(b"GET / HTTP/1.0\r\n\r\n" * 10)
        with contextlib.suppress(ConnectionError):
            while d.sock.recv(4096):
                pass
    node.wait_log(r"ICID \d+ TLS failed: ")
    flows(w, node)


@test
def bad_chunks(w, node):
    for line in ("BDAT", "BDAT -1", "BDAT 99999999999999999999999", "BDAT 10 LAST EXTRA", "BDAT x"):
        with Dialogue(node.smtp) as d:
            d.hello()
            d.cmd("MAIL FROM:<%s>" % SENDER, 250)
            d.cmd("RCPT TO:<bob@good.test>", 250)
            code, text = d.send(line).reply()
            equal(code in (500, 501, 552, 421), True, "%s: %d %r" % (line, code, text))
    with Dialogue(node.smtp) as d:  # DATA after BDAT
        d.hello()
        d.cmd("MAIL FROM:<%s>" % SENDER, 250)
        d.cmd("RCPT TO:<bob@good.test>", 250)
        d.send(b"BDAT 3\r\na\r\n")
        d.expect(250)
        d.cmd("DATA", 503)
    flows(w, node)


@test
def bad_logins(w, node):
    with Dialogue(node.listeners["auth"]) as d:
        d.hello()
        d.starttls()
        d.cmd("EHLO client.test", 250)
        for line in ("AUTH", "AUTH FROB", "AUTH PLAIN !!!!", "AUTH PLAIN " + "A" * 20000, "AUTH PLAIN AAAA"):
            code, text = d.send(line).reply()
            equal(code in (500, 501, 504, 535, 421, 0), True, "%s: %d %r" % (line[:40], code, text))
            if code in (421, 0):
                break
    flows(w, node)


@test
def mail_that_goes_round(w, node):
    with node.client() as c:
        data = b"Received: from a by b; Tue, 24 Nov 2026 08:00:00 +0000\r\n" * 120 + \
            message(SENDER, ["bob@good.test"], subject="loop")
        e = raises(Refused, c.send, SENDER, "bob@good.test", data)
        equal(e.code, 554)
        contains(e.text, "5.4.6")
    flows(w, node)


@test(timeout=60)
def servers_that_talk_too_much(w, node):
    """1 MB reply lines, replies without an end, at each step: deferred, and memory stays bounded."""
    hosts = {}
    for point in ("banner", "ehlo", "mail", "rcpt", "data", "dot"):
        code = {"banner": "220", "data": "354"}.get(point, "250")
        for kind, reply in (("long", long_line(code)), ("endless", endless(code))):
            name = "%s-%s.test" % (kind, point)
            # without CHUNKING, so that the data goes by DATA
            hosts[name] = w.mx("mx1." + name, On(point, reply),
                               caps=[c for c in CAPS if c != "CHUNKING"])
            w.domain(name, hosts[name])
    w.commit()
    mids = {name: node.submit(SENDER, "bob@" + name) for name in hosts}
    for name, mid in mids.items():
        node.wait_log(r"(Delayed: .* MID %d |Connection Error: DCID \d+ domain: %s |Message %d to RID)" % (
            mid, name.replace(".", r"\."), mid), timeout=30)
    flows(w, node)
    for pid in node.pids("deliver"):
        with open("/proc/%d/status" % pid) as f:
            peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
        if os.environ.get("MODE") not in ("asan", "tsan"):
            equal(peak < 80000, True, "peak of a deliver process: %d kB" % peak)
    for name, mid in mids.items():
        node.ctl("removemessage", mid, want=None)


@test(timeout=60)
def servers_that_talk_nonsense(w, node):
    hosts = {}
    for i, (point, reply) in enumerate((
            ("banner", b"SSH-2.0-OpenSSH_9.2\r\n"), ("banner", b"\x00\x01\x02\xff\r\n"),
            ("banner", b"220 hello\n"), ("ehlo", b"250-one\r\n251 two\r\n"), ("mail", b"25\r\n"),
            ("mail", b"999 what\r\n"), ("mail", b"350 go on\r\n"), ("rcpt", b"25x ok\r\n"),
            ("data", b"250 no need\r\n"), ("dot", b"\r\n"), ("dot", b"354 more\r\n"))):
        name = "nonsense%d.test" % i
        hosts[name] = w.mx("mx1." + name, On(point, reply))
        w.domain(name, hosts[name])
    w.commit()
    mids = {name: node.submit(SENDER, "bob@" + name) for name in hosts}
    for name, mid in mids.items():
        node.wait_log(r"(Delayed: .* MID %d |Connection Error: DCID \d+ domain: %s |Bounced: .* MID %d |"
                      r"Message %d to RID|Message finished MID %d )" % (
                          mid, name.replace(".", r"\."), mid, mid, mid), timeout=30)
    flows(w, node)
    for mid in mids.values():
        node.ctl("removemessage", mid, want=None)


@test
def bad_tls_of_servers(w, node):
    hosts = {how: w.mx("mx1.tls-%s.test" % how, starttls=how) for how in ("garbage", "broken", "close", "refuse")}
    for how, rx in hosts.items():
        w.domain("tls-%s.test" % how, rx)
    w.commit()
    for how in hosts:
        node.submit(SENDER, "bob@tls-%s.test" % how)
    for rx in hosts.values():
        equal(rx.wait_messages(1, 30)[0].tls, None)  # tls = preferred
    flows(w, node)


@test
def odd_zones(w, node):
    """MX data that leads nowhere: each ends in a reason."""
    w.zone("loop.test").mx(10, "a.loop.test").cname("a", "b.loop.test").cname("b", "a.loop.test")
    w.zone("nowhere.test").mx(10, "mx.does-not-exist.test")
    w.zone("both.test").mx(0, ".").mx(10, w.rx)  # a null MX beside another is no null MX
    w.zone("self.test").mx(10, "mx1.self.test").a("mx1", "0.0.0.0")
    w.commit()
    for name in ("loop.test", "nowhere.test", "self.test"):
        mid = node.submit(SENDER, "bob@" + name)
        # told once for the destination, whatever waits there
        node.wait_log(r"Destination %s is down \([a-z-]+: .+\): next attempt in" % name.replace(".", r"\."),
                      timeout=30)
        node.ctl("removemessage", mid, want=None)
    node.submit(SENDER, "bob@both.test")
    w.rx.wait_messages(1, match=lambda m: "bob@both.test" in m.rcpts)
    flows(w, node)


@test
def settings_with_five_mistakes(w, node):
    bad = w.postern()
    bad.write()
    path = os.path.join(bad.etc, "postern.conf")
    with open(path, "a") as f:
        f.write("[listener broken]\naddress = 127.0.0.1:99999\ntsl = offered\nmax_message_size = lots\n"
                "[queue]\nmax_messages = many\n[cluster]\non_loss = perhaps\n")
    done = subprocess.run([program("postern"), "check", "-c", bad.etc], capture_output=True, text=True,
                          timeout=20 * scale(), env=bad.env())
    equal(done.returncode, 1)
    said = done.stdout + done.stderr
    with open(path) as f:
        lines = [line.strip() for line in f]
    for text in ("address = 127.0.0.1:99999", "tsl = offered", "max_message_size = lots",
                 "max_messages = many", "on_loss = perhaps"):
        contains(said, "postern.conf:%d" % (lines.index(text) + 1), "the place of " + text)
    contains(said, "tls")  # the hint for tsl
    done = subprocess.run([program("postern"), "run", "-c", bad.etc], capture_output=True, text=True,
                          timeout=20 * scale(), env=bad.env())
    equal(done.returncode != 0, True, "run with bad settings")
    # a running node keeps the old set
    mark = node.log_size()
    with open(os.path.join(node.etc, "destinations.conf"), "w") as f:
        f.write("[good.test]\ntls = allways\n")
    node.proc.send(1)
    line = node.wait_log(r"destinations\.conf:2", since=mark)[0]
    contains(line, "allways")
    flows(w, node)
    node.write()


@test
def damaged_state(w, node):
    """A second node on the same state directory is refused by name."""
    other = w.postern({"postern": {"state_dir": node.dir + "/state"}})
    other.write()
    done = subprocess.run([program("postern"), "run", "-c", other.etc], capture_output=True, text=True,
                          timeout=20 * scale(), env=other.env())
    equal(done.returncode != 0, True, "a second node on one state directory")
    contains(done.stdout + done.stderr, node.dir + "/state")
    flows(w, node)


if __name__ == "__main__":
    main(setup)
