"""Clients that mean harm, against a whole node: what reaches the receiver is what a client was
allowed to send, byte for byte, and nothing else; and the next message flows."""
import contextlib
import json
import os
import socket
import ssl
import subprocess

from harness import contains, equal, limit_child, main, test
from tests.world import Dialogue, Skip, bulk, message, tls_context
from tests.world.base import find_program, poll, scale

SENDER, BOB = "alice@client.test", "bob@good.test"
EVIL = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<bob@good.test>\r\n"


def setup(w):
    w.rx = w.mx("mx1.good.test")
    w.domain("good.test", w.rx)
    node = w.postern({"postern": {"smtpd_workers": "1"}})
    node.settings["listener auth"] = node.auth_listener(relay_from="192.0.2.0/24", auth="offered")
    node.settings["listener bounded"] = {"address": "auto", "relay_from": "127.0.0.0/8", "tls": "offered",
                                         "certificate": "default", "max_connections_per_client": "500"}
    w.count = 0
    return node.start()


def flows(w, node):
    """The next message gets through."""
    w.count += 1
    mark = "flows %d" % w.count
    node.submit(SENDER, BOB, subject=mark)
    w.rx.wait_messages(1, match=lambda m: m.header("Subject") == mark)


def evil(w):
    return [m for m in w.rx.messages if m.mail_from != SENDER or "evil" in str(m.header("Subject"))]


def nothing_evil(w, node):
    flows(w, node)
    equal(evil(w), [], "smuggled")


def arrived(w, subject):
    return w.rx.wait_messages(1, match=lambda m: m.header("Subject") == subject)[-1]


def behind_ehlo(node, listener="internal", tls=False):
    d = Dialogue(node.listeners[listener])
    d.hello()
    if tls:
        d.starttls(tls_context())
        d.cmd("EHLO client.test", 250)
    return d


def envelope(d):
    d.cmd("MAIL FROM:<%s>" % SENDER, 250)
    d.cmd("RCPT TO:<%s>" % BOB, 250)


# ---- smuggling ----

@test(timeout=90)
def ends_of_data(w, node):
    """Everything that some server takes for the end of a message, at every place of a segment's end."""
    ends = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\n.\r", b"\r.\n", b"\n\n.\r\n",
            b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\x00\n.\r\n", b"\x0b.\x0b", b"\xe2\x80\xa8.\xe2\x80\xa8",
            b"\x85.\x85", b"\r\n.\r\r\n", b"\r\r\n.\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\r\n.\t\r\n"]
    for end in ends:
        text = b"Subject: carrier\r\n\r\na" + end + EVIL + b"DATA\r\nevil\r\n.\r\n"
        for cut in range(20 + len(end) - 1, 20 + len(end) + 2):
            d = behind_ehlo(node)
            envelope(d)
            d.cmd("DATA", 354)
            with contextlib.suppress(OSError):
                d.send(text[:cut])
                d.send(text[cut:])
            code, texts = d.reply()
            whole = all(c not in end.replace(b"\r\n", b"") for c in b"\r\n\x00") and b"\r\n.\r\n" not in end
            # one message with all of it in its text, or none; never two
            equal(code, 250 if whole else 554, "%r: %r" % (end, texts))
            d.cmd("NOOP", 250)
            d.close()
    nothing_evil(w, node)


@test
def ends_inside_chunks(w, node):
    """BDAT knows no dot: what looks like an end is text, however the chunks are cut."""
    text = b"Subject: in chunks\r\n\r\na\r\n.\r\n" + EVIL + b"DATA\r\nevil\r\n.\r\nQUIT\r\n"
    d = behind_ehlo(node)
    envelope(d)
    at = text.index(b"\r\n.\r\n")
    pieces = [text[:at + 1], text[at + 1:at + 3], text[at + 3:at + 4], b"", text[at + 4:]]
    d.send(b"".join(b"BDAT %d%s\r\n" % (len(p), b" LAST" if i == 4 else b"") + p for i, p in enumerate(pieces)))
    for _ in pieces:
        d.expect(250)
    d.cmd("QUIT", 221)
    got = arrived(w, "in chunks")
    equal((got.mail_from, got.data.endswith(text)), (SENDER, True), "the text as it was")
    # a count that is no number must not leave the bytes behind it to be run
    for count in (b"0x10", b"-1", b"+5", b"5,5", b"18446744073709551617", b"99999999999999999999999", b"", b"5 FIRST"):
        d = behind_ehlo(node)
        envelope(d)
        with contextlib.suppress(OSError):
            d.send(b"BDAT " + count + b"\r\n" + EVIL + b"BDAT 4 LAST\r\nevil")
        code, texts = d.reply()
        equal(code in (501, 552, 421, 554, 500), True, "BDAT %r: %d %r" % (count, code, texts))
        with contextlib.suppress(OSError):
            d.sock.shutdown(socket.SHUT_WR)
        while d.line() is not None:
            pass
    nothing_evil(w, node)


@test
def nothing_into_received(w, node):
    """Names that a client gives cannot end our field or forge another one."""
    d = Dialogue(node.smtp)
    d.expect(220)
    for name in ("a\tb", "a (evil)\t", "x\rReceived: evil", "\xff\xfe", "a;b@c", "<a>", "a" * 256):
        d.send(("EHLO %s\r\n" % name).encode("latin-1"))
        code, _ = d.reply()
        equal(code in (250, 500, 501), True, "EHLO %r: %d" % (name, code))
    d.cmd("EHLO [evil]", 501)
    d.cmd("EHLO client.test", 250)
    d.cmd('MAIL FROM:<%s>' % SENDER, 250)
    d.cmd('RCPT TO:<"a>;b (c\\"d"@good.test>', 250)
    d.cmd("DATA", 354)
    d.send(b"Subject: quoted\r\n\r\nx\r\n.\r\n").expect(250)
    got = arrived(w, "quoted").data
    head = got[:got.index(b"Subject:")]
    equal(head.count(b"Received:"), 1, "our fields in %r" % head)
    for line in head.split(b"\r\n")[1:-1]:
        equal(line[:1] in (b" ", b"\t"), True, "continuation %r" % line)
    flows(w, node)


# ---- pipelining ----

@test
def body_before_354(w, node):
    """Whoever sends its message without waiting for 354 loses the session; nothing in it runs."""
    body = b"NOOP\r\nRSET\r\n" + EVIL + b"BDAT 4 LAST\r\nevil\r\n.\r\n"
    for head in (EVIL + b"DATA\r\n", b"DATA\r\n", b"MAIL FROM:<evil@x.test>\r\nDATA\r\n", b"DATA evil\r\n", b"data \r\n"):
        d = behind_ehlo(node)
        with contextlib.suppress(OSError):
            d.send(head + body)
        codes = []
        while (code := d.reply()[0]) != 0:
            codes.append(code)
            if code == 421:
                break
        equal(354 in codes, False, "%r: %r" % (head, codes))
        equal(codes[-1:], [421], "%r: %r" % (head, codes))
    # in two segments, behind a refusal: the first line that is no command ends it
    d = behind_ehlo(node)
    d.cmd("DATA", 503)
    d.send(b"NOOP\r\nRSET\r\nSubject: evil\r\n" + EVIL + b"BDAT 4 LAST\r\nevil")
    codes = [d.reply()[0] for _ in range(3)]
    equal(codes, [250, 250, 421])
    nothing_evil(w, node)


@test
def behind_the_last_command(w, node):
    """What stands behind EHLO, QUIT or before the greeting does not run."""
    for first in (b"EHLO a\r\n", b"HELO a\r\n"):
        d = Dialogue(node.smtp)
        d.expect(220)
        d.send(first + EVIL).expect(421)
        d.expect(0)
    d = behind_ehlo(node)
    d.send(b"QUIT\r\n" + EVIL + b"BDAT 4 LAST\r\nevil").expect(221)
    d.expect(0)
    nothing_evil(w, node)
    # a correct group of commands is answered in order, two messages in one write
    d = behind_ehlo(node)
    d.send(b"".join(b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nRCPT TO:<no@@x>\r\nBDAT %d LAST\r\n%s" %
                    (SENDER.encode(), BOB.encode(), len(t), t)
                    for t in (b"Subject: group 1\r\n\r\nx\r\n", b"Subject: group 2\r\n\r\nx\r\n")))
    equal([d.reply()[0] for _ in range(8)], [250, 250, 501, 250] * 2)
    for mark in ("group 1", "group 2"):
        arrived(w, mark)


# ---- STARTTLS ----

@test
def injected_into_tls(w, node):
    """Bytes in clear around STARTTLS never become commands inside TLS; what was said before is forgotten."""
    d = behind_ehlo(node)
    d.send(b"STARTTLS\r\n" + EVIL).expect(421)  # in one segment
    d.expect(0)
    d = behind_ehlo(node)
    d.cmd("STARTTLS", 220)
    with contextlib.suppress(OSError):  # behind the 220: no handshake, no session
        d.send(EVIL)
        while d.sock.recv(4096):
            pass
    d = behind_ehlo(node)
    d.send(b"STAR").send(b"TTLS\r").send(b"\nRSET\r\n")
    equal(d.reply()[0] in (220, 421), True)
    with contextlib.suppress(OSError):
        while d.sock.recv(4096):
            pass
    # the session in TLS starts anew
    d = behind_ehlo(node)
    d.starttls(tls_context())
    d.cmd("MAIL FROM:<%s>" % SENDER, 503)
    d.cmd("EHLO client.test", 250)
    d.cmd("RCPT TO:<%s>" % BOB, 503)
    d.cmd("STARTTLS", 502, 503)
    # and AUTH exists only there
    d = behind_ehlo(node, "auth")
    equal(d.reply()[0] if d.pending() else 0, 0)
    d.cmd("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=", 500, 502, 503, 504, 530, 538)
    d.cmd("MAIL FROM:<%s>" % SENDER, 250, 530)
    nothing_evil(w, node)


def s_client(node, *args):
    return subprocess.Popen(
        [find_program("openssl"), "s_client", "-starttls", "smtp", "-connect", "%s:%d" % node.smtp, "-crlf", *args],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)


def read_until(proc, *words):
    """All that came, once one of the words is in it, or at the end."""
    got = b""
    while not any(word in got for word in words):
        piece = os.read(proc.stdout.fileno(), 65536)
        if not piece:
            break
        got += piece
    return got


@test
def renegotiation(w, node):
    """TLS 1.2 clients may not renegotiate (CPU for nothing, and older attacks); new keys in 1.3 are fine."""
    p = s_client(node, "-tls1_2")
    read_until(p, b"250 ")
    p.stdin.write(b"EHLO a\n")
    contains(read_until(p, b"250 ").decode("latin-1"), "250")
    with contextlib.suppress(OSError):
        p.stdin.write(b"R\n")  # s_client's own command
    said = read_until(p, b"no renegotiation", b"alert")
    contains(said.decode("latin-1"), "RENEGOTIATING")
    with contextlib.suppress(OSError):
        p.stdin.close()
    p.wait(20 * scale())
    contains((said + p.stdout.read()).decode("latin-1"), "no renegotiation")
    p = s_client(node, "-tls1_3")
    read_until(p, b"250 ")
    for _ in range(50):
        p.stdin.write(b"K\n")
        read_until(p, b"KEYUPDATE")
    p.stdin.write(b"NOOP\n")
    contains(read_until(p, b"250 2.0.0").decode("latin-1"), "250 2.0.0")
    p.stdin.write(b"QUIT\n")
    p.stdin.close()
    p.wait(20 * scale())
    flows(w, node)


# ---- pieces, halves, and no more descriptors ----

@test(timeout=90)
def one_byte_pieces(w, node):
    """A dialogue a byte a segment, in clear and in TLS records of one byte, arrives as it was."""
    for tls in (False, True):
        mark = "bytes %s" % tls
        text = message(SENDER, [BOB], subject=mark, body=bulk(1500) + b"..dots\r\n")
        wire = text.replace(b"\r\n.", b"\r\n..")
        d = behind_ehlo(node, tls=tls)
        d.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def drip(data):
            for i in range(len(data)):
                d.sock.send(data[i:i + 1])
        for line, code in (("MAIL FROM:<%s>" % SENDER, 250), ("RCPT TO:<%s>" % BOB, 250), ("DATA", 354)):
            drip(line.encode() + b"\r\n")
            d.expect(code)
        drip(wire + b".\r\n")
        d.expect(250)
        d.close()
        equal(arrived(w, mark).data.endswith(text), True, "%s: the text as it was" % mark)


@test
def half_closed(w, node):
    """A client that says all and closes its half gets its answers; half a message is none."""
    text = b"Subject: half\r\n\r\nx\r\n"
    d = behind_ehlo(node)
    d.send(b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nBDAT %d LAST\r\n%s" % (SENDER.encode(), BOB.encode(), len(text), text))
    d.sock.shutdown(socket.SHUT_WR)
    for code in (250, 250, 250, 0):
        d.expect(code)
    arrived(w, "half")
    for how in ("data", "bdat", "command"):
        d = behind_ehlo(node)
        envelope(d)
        if how == "data":
            d.cmd("DATA", 354)
            d.send(b"Subject: evil\r\n\r\nx\r\n.\r")
        elif how == "bdat":
            d.send(b"BDAT 100 LAST\r\nSubject: evil\r\n\r\nx\r\n")
        else:
            d.send(b"BDAT 20 LAST")
        d.sock.shutdown(socket.SHUT_WR)
        code, _ = d.reply()
        equal(code // 100 in (0, 4), True, "%s: %d" % (how, code))
    # inside TLS: an end without close_notify in the middle of the data (truncation)
    d = behind_ehlo(node, tls=True)
    envelope(d)
    d.cmd("DATA", 354)
    d.send(b"Subject: evil\r\n\r\nx\r\n")
    raw = socket.socket(fileno=os.dup(d.sock.fileno()))
    raw.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError, ssl.SSLError):
        equal(d.reply()[0] // 100 in (0, 4), True)
    raw.close()
    nothing_evil(w, node)


@test(timeout=120)
def out_of_descriptors(w, node):
    """No descriptors for accept: clients wait or get 421, log and status say so, and it ends by itself."""
    pid = node.pids("smtpd")[0]
    if not os.access("/proc/%d/fd" % pid, os.R_OK):
        raise Skip("no right to count the descriptors of another process")
    at = node.listeners["bounded"]
    keep = [Dialogue(at) for _ in range(5)]
    for d in keep:
        d.expect(220)
    keep[0].cmd("EHLO client.test", 250)
    mark = node.log_size()
    limit_child(pid, max(int(f) for f in os.listdir("/proc/%d/fd" % pid)) + 1)
    waiting = [Dialogue(at) for _ in range(20)]
    node.wait_log(r"accept: Too many open files", since=mark)

    def alerts():
        return [a for a in node.ctl("status", want=None).get("alerts", []) if "open files" in json.dumps(a)]
    contains(json.dumps(poll(alerts, 20, "the alert in status")), "smtpd")
    # who is in goes on, and mail with it
    envelope(keep[0])
    keep[0].cmd("DATA", 354)
    keep[0].send(b"Subject: in spite of it\r\n\r\nx\r\n.\r\n").expect(250)
    arrived(w, "in spite of it")
    limit_child(pid, None)
    codes = [d.reply()[0] for d in waiting]
    equal(set(codes) <= {220, 421} and 220 in codes, True, "answers: %r" % codes)
    for d in waiting + keep:
        d.close()
    flows(w, node)
    equal(node.pids("smtpd"), [pid], "no restart")


if __name__ == "__main__":
    main(setup)
