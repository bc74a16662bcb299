"""mx.py - SMTP receivers that do what a test tells them, and write down all they see.

A Receiver listens on one address. What it does at each point of the dialogue is a list of rules
(On); without rules it is a correct, modern server. It records connections, commands, TLS and
messages, and what it saw that a correct client never does (violations). Waiting is by condition
variable, never by sleeping.

One thread per connection with plain blocking sockets: a dialogue reads top to bottom, any byte
can be sent or held back between two others, and a reset is a reset. Streams of an event loop hide
just these. Sources: RFC 5321, 3207, 2920, 3030, 1870, 3461, 9422.
"""
import base64
import contextlib
import re
import select
import socket
import ssl
import struct
import threading
import time

from .base import Signal

CAPS = ("PIPELINING", "8BITMIME", "SIZE 52428800", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES",
        "CHUNKING")
POINTS = ("connect", "banner", "ehlo", "helo", "starttls", "handshake", "mail", "rcpt", "data", "body",
          "dot", "bdat", "rset", "quit", "noop", "vrfy", "auth", "any")


class On:
    """One rule: at `point`, do this instead of the right thing.

    reply: text without CRLF, a list of lines, bytes sent as they are, or a function that returns
    an iterable of bytes. Without a reply the usual one is sent (after `delay`), unless the rule
    closes or stalls.
    match: a regular expression searched in the command's argument (body: not used).
    times: how often the rule works, then it is spent; skip: how many chances it lets pass first.
    per: "arg" counts both per argument (greylisting), "conn" per connection; else over all.
    close: "fin", "rst" or "half" (say that we send no more, and go on reading), after the reply.
    stall: say nothing more until released.
    delay: seconds before the reply. drip: seconds between single bytes of the reply.
    after: for "body": how many bytes of the message were read.
    """

    def __init__(self, point, reply=None, match=None, times=None, skip=0, per=None, close=None,
                 stall=False, delay=0.0, drip=None, after=0):
        if point not in POINTS:
            raise ValueError("no such point: " + point)
        self.point, self.reply, self.match, self.times, self.skip = point, reply, match, times, skip
        self.per, self.close, self.stall, self.delay, self.drip = per, close, stall, delay, drip
        self.after = after
        self.counts = {}
        self.used = 0

    def wants(self, point, arg, conn):
        """True when the rule is to be used now; counts. Called with the receiver's lock."""
        if point != self.point and (self.point != "any" or point in (
                "connect", "banner", "handshake", "body", "dot")):
            return False
        if self.match is not None and not re.search(self.match, arg, re.I):
            return False
        key = {"arg": arg.lower(), "conn": conn}.get(self.per)
        n = self.counts[key] = self.counts.get(key, 0) + 1
        if n <= self.skip or (self.times is not None and n > self.skip + self.times):
            return False
        self.used += 1
        return True


def greylist(times=1, reply="450 4.7.1 greylisted, come again"):
    """Each recipient is refused this often, then taken."""
    return On("rcpt", reply, times=times, per="arg")


def long_line(code="250", size=1 << 20):
    """A reply line of `size` bytes."""
    return b"%s %s\r\n" % (code.encode(), b"x" * size)


def endless(code="250"):
    """A reply that never comes to its last line."""
    def lines():
        while True:
            yield b"%s-and so on\r\n" % code.encode() * 100
    return lines


class Rcpt:
    def __init__(self, address, params, reply):
        self.address, self.params, self.reply = address, params, reply
        self.ok = reply.startswith("2")


class Message:
    """One attempt to hand over a message. accepted: our 2xx went out whole."""

    def __init__(self, conn, mail_from, params):
        self.conn = conn
        self.receiver = conn.receiver
        self.mail_from, self.params = mail_from, params
        self.rcpts_all = []
        self.data = b""
        self.via = None  # "DATA" or "BDAT"
        self.chunks = 0
        self.reply = None
        self.accepted = False
        self.tls = conn.tls
        self.time = time.monotonic()

    @property
    def rcpts(self):
        """Addresses that we took."""
        return [r.address for r in self.rcpts_all if r.ok]

    def header(self, name):
        """First value of a header field, unfolded, or None."""
        head = self.data.split(b"\r\n\r\n", 1)[0] + b"\r\n"
        found = re.search(rb"(?im)^%s:[ \t]*((?:.*\r\n)(?:[ \t].*\r\n)*)" % re.escape(name.encode()),
                          head)
        return None if found is None else re.sub(r"\r\n[ \t]+", " ", found.group(1).decode(
            "utf-8", "surrogateescape")).strip()

    def __repr__(self):
        return "<Message from=<%s> to=%s %d bytes %s>" % (
            self.mail_from, self.rcpts, len(self.data), self.reply)


class Tls:
    """What a handshake came to."""

    def __init__(self, sock, sni):
        self.protocol = sock.version()
        self.cipher = sock.cipher()[0]
        self.sni = sni
        self.reused = bool(sock.session_reused)
        self.client_cert = sock.getpeercert(binary_form=True)


class Gone(Exception):
    """The connection is over; not an error of the world."""


def address_of(arg):
    """('MAIL FROM' argument) -> (address, parameters). Raises ValueError on bad syntax."""
    found = re.fullmatch(r"(?i)(?:FROM|TO):<((?:[^<>\"]|\"(?:[^\"\\]|\\.)*\")*)>((?: [^ ]+)*)", arg)
    if found is None:
        raise ValueError(arg)
    params = {}
    for word in found.group(2).split():
        key, _, value = word.partition("=")
        params[key.upper()] = value
    return found.group(1), params


class Conn:
    """One connection: its record, and the dialogue."""

    def __init__(self, receiver, sock, peer, number):
        self.receiver, self.sock, self.peer, self.number = receiver, sock, peer, number
        self.opened = time.monotonic()
        self.closed = None
        self.tls = None
        self.tls_error = None
        self.commands = []  # (verb, argument)
        self.times = []  # when each came
        self.replies = []  # first line of each reply
        self.violations = []
        self.bytes_in = 0
        self.ehlo = None
        self.user = None
        self.end = None  # why it ended, for people
        self.buf = b""
        self.offered = set()
        self.msg = None
        self.mails = 0

    # ---- bytes ----

    def violation(self, text):
        with self.receiver.signal:
            self.violations.append(text)

    def fill(self, size=262144):
        slow = self.receiver.slow_read
        if slow:
            size = slow[0]
            self.receiver.stopping.wait(slow[1])
        try:
            got = self.sock.recv(size)
        except (OSError, ValueError) as e:
            raise Gone("lost: %s" % e)
        if not got:
            raise Gone("closed by the client")
        self.bytes_in += len(got)
        self.buf += got

    def line(self):
        while b"\n" not in self.buf:
            if len(self.buf) > 100000:
                self.violation("command line over 100000 bytes")
                raise Gone("line too long")
            self.fill(65536)
        line, self.buf = self.buf.split(b"\n", 1)
        if not line.endswith(b"\r"):
            self.violation("bare LF in a command: %r" % line[:80])
        line = line[:-1] if line.endswith(b"\r") else line
        if b"\r" in line or b"\0" in line:
            self.violation("bare CR or NUL in a command: %r" % line[:80])
        if len(line) > 2046:
            self.violation("command line of %d bytes" % len(line))
        return line

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (OSError, ValueError) as e:
            raise Gone("lost: %s" % e)

    def reply(self, reply, drip=None):
        """Send a reply; returns its first line as text."""
        chunks = [reply] if isinstance(reply, bytes) else None
        if isinstance(reply, str):
            chunks = [reply.encode() + b"\r\n"]
        elif isinstance(reply, (list, tuple)):
            code = reply[0][:3]
            texts = [r[4:] if r[:3] == code else r for r in reply]
            chunks = ["".join("%s%s%s\r\n" % (code, " " if i == len(texts) - 1 else "-", t)
                              for i, t in enumerate(texts)).encode()]
        elif chunks is None:
            chunks = reply()
        first = None
        for chunk in chunks:
            if first is None:
                first = chunk.split(b"\r\n", 1)[0][:200].decode("latin-1")
                with self.receiver.signal:
                    self.replies.append(first)
            if drip is None:
                self.send(chunk)
                continue
            for i in range(len(chunk)):
                self.send(chunk[i:i + 1])
                self.receiver.stopping.wait(drip)
        return first or ""

    def drop(self, how):
        if how == "half":
            self.sock.shutdown(socket.SHUT_WR)
            self.stall()
        if how == "rst":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone("closed by the script (%s)" % how)

    def stall(self):
        """Read and forget until the client goes or the test releases us."""
        wake = self.receiver.wake_r
        while True:
            pending = getattr(self.sock, "pending", lambda: 0)()
            ready = [self.sock] if pending else select.select([self.sock, wake], [], [])[0]
            if wake in ready:
                return
            self.fill()
            self.buf = b""

    def step(self, point, arg, usual):
        """One point of the dialogue: a rule's way or the usual one. Returns the reply's first line."""
        rule = self.receiver.rule(point, arg, self)
        if rule is None:
            return self.reply(usual) if usual is not None else ""
        if rule.delay:
            self.receiver.stopping.wait(rule.delay)
        said = ""
        if rule.reply is not None:
            said = self.reply(rule.reply, rule.drip)
        elif not rule.close and not rule.stall and usual is not None:
            said = self.reply(usual, rule.drip)
        if rule.stall:
            self.stall()
            if not said and usual is not None:
                said = self.reply(usual)
        if rule.close:
            self.drop(rule.close)
        return said

    # ---- the dialogue ----

    def run(self):
        rx = self.receiver
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(600)
        if rx.implicit_tls:
            self.handshake()
        self.step("connect", "", None)
        if self.buf or select.select([self.sock], [], [], 0)[0] and self.peek():
            self.violation("spoke before our greeting")
        self.step("banner", "", rx.greeting)
        while True:
            raw = self.line()
            text = raw.decode("utf-8", "surrogateescape")
            verb, _, arg = text.partition(" ")
            verb = verb.upper()
            with rx.signal:
                self.commands.append((verb, arg))
                self.times.append(time.monotonic())
                rx.signal.changed()
            if self.buf and verb != "BDAT":
                if "PIPELINING" not in self.offered:
                    self.violation("commands behind %s without PIPELINING" % verb)
                elif verb in ("EHLO", "HELO", "DATA", "STARTTLS", "AUTH", "QUIT", "NOOP", "VRFY"):
                    self.violation("commands behind %s" % verb)
            handler = getattr(self, "do_" + verb.lower(), None)
            if handler is None:
                self.step("any", text, "500 5.5.1 no such command")
            else:
                handler(arg)

    def peek(self):
        try:
            return self.sock.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return b""

    def do_helo(self, arg):
        self.offered = set()
        self.ehlo = arg
        self.msg = None
        self.step("helo", arg, "250 " + self.receiver.host)

    def do_ehlo(self, arg):
        rx = self.receiver
        caps = list(rx.caps_tls if self.tls and rx.caps_tls is not None else rx.caps)
        if rx.starttls != "none" and not self.tls:
            caps.append("STARTTLS")
        if rx.auth and (self.tls or rx.auth_in_clear):
            caps.append("AUTH PLAIN LOGIN")
        self.msg = None
        self.ehlo = arg
        if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[^\]]+\]", arg):
            self.violation("EHLO %r" % arg)
        said = self.step("ehlo", arg, ["250 " + rx.host + " greets you"] + caps)
        self.offered = {c.split()[0].upper() for c in caps} if said[:1] == "2" else set()
        self.limits = dict(w.split("=", 1) for c in caps if c.upper().startswith("LIMITS ")
                           for w in c.split()[1:])

    def do_starttls(self, arg):
        rx = self.receiver
        if "STARTTLS" not in self.offered or self.tls:
            self.violation("STARTTLS not offered")
            self.step("starttls", arg, "503 5.5.1 not offered")
            return
        if arg:
            self.violation("STARTTLS with an argument")
        if rx.starttls == "refuse":
            self.step("starttls", arg, "454 4.7.0 TLS not available")
            return
        usual = b"220 2.0.0 go on\r\n"
        if rx.starttls == "inject":
            usual += rx.injected
        if self.step("starttls", arg, usual)[:3] != "220":
            return
        if self.buf:
            self.violation("plaintext behind STARTTLS: %r" % self.buf[:80])
        self.buf = b""
        self.offered = set()
        self.msg = None
        if rx.starttls == "broken":
            self.fill()
            self.send(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal alert: handshake_failure
            self.drop("fin")
        elif rx.starttls == "garbage":
            self.fill()  # behind the 220 it would be taken for more replies
            self.send(b"this is not TLS at all\r\n" * 4)
            self.stall()
            self.drop("fin")
        elif rx.starttls == "close":
            self.drop("fin")
        elif rx.starttls == "stall":
            self.stall()
            self.drop("fin")
        self.handshake()

    def handshake(self):
        rx = self.receiver
        sni = []
        context = rx.context(sni)
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True,
                                            suppress_ragged_eofs=False)
        except (OSError, ValueError) as e:
            with rx.signal:
                self.tls_error = str(e)
                rx.signal.changed()
            raise Gone("TLS failed: %s" % e)
        if self.sock.cipher() is None:  # wrap_socket() does nothing when the peer has reset
            raise Gone("lost before the handshake")
        with rx.signal:
            self.tls = Tls(self.sock, sni[-1] if sni else None)
            rx.signal.changed()
        self.step("handshake", "", None)

    def do_auth(self, arg):
        if not self.receiver.auth:
            self.step("auth", arg, "503 5.5.1 not offered")
            return
        how, _, first = arg.partition(" ")

        def ask(prompt):
            self.send(b"334 " + base64.b64encode(prompt) + b"\r\n")
            return self.line().decode("latin-1")
        if how.upper() == "PLAIN":
            blob = first or ask(b"")
            parts = base64.b64decode(blob + "==").split(b"\0")
            user, password = parts[-2].decode(), parts[-1].decode()
        else:
            user = base64.b64decode((first or ask(b"Username:")) + "==").decode()
            password = base64.b64decode(ask(b"Password:") + "==").decode()
        good = self.receiver.auth.get(user) == password
        said = self.step("auth", user, "235 2.7.0 yes" if good else "535 5.7.8 no")
        if said[:1] == "2":
            self.user = user

    def do_mail(self, arg):
        if self.ehlo is None:
            self.violation("MAIL before EHLO")
        if self.msg is not None:
            self.violation("nested MAIL")
        try:
            address, params = address_of(arg)
        except ValueError:
            self.violation("MAIL %r" % arg)
            self.step("mail", arg, "501 5.5.4 syntax")
            return
        needs = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN",
                 "ENVID": "DSN", "AUTH": "AUTH", "REQUIRETLS": "REQUIRETLS"}
        for key in params:
            if needs.get(key) not in self.offered:
                self.violation("MAIL parameter %s not offered" % key)
        if not address.isascii() and "SMTPUTF8" not in params:
            self.violation("UTF-8 address without SMTPUTF8")
        usual = "250 2.1.0 ok"
        limit = self.receiver.size_limit()
        if limit and params.get("SIZE", "").isdigit() and int(params["SIZE"]) > limit:
            usual = "552 5.3.4 too big"
        self.mails += 1
        if self.limits_get("MAILMAX") and self.mails > self.limits_get("MAILMAX"):
            self.violation("more than MAILMAX transactions")
        if self.step("mail", arg, usual)[:1] == "2":
            self.msg = Message(self, address, params)

    def limits_get(self, key):
        value = getattr(self, "limits", {}).get(key, "")
        return int(value) if value.isdigit() else None

    def do_rcpt(self, arg):
        try:
            address, params = address_of(arg)
        except ValueError:
            self.violation("RCPT %r" % arg)
            self.step("rcpt", arg, "501 5.5.4 syntax")
            return
        for key in params:
            if key in ("NOTIFY", "ORCPT") and "DSN" not in self.offered:
                self.violation("RCPT parameter %s not offered" % key)
        if self.msg is None:
            if "PIPELINING" not in self.offered:
                self.violation("RCPT without MAIL")
            self.step("rcpt", address, "503 5.5.1 MAIL first")
            return
        usual = "250 2.1.5 ok"
        limit = self.limits_get("RCPTMAX") or self.receiver.max_rcpts
        if limit and len(self.msg.rcpts) >= limit:
            usual = "452 4.5.3 too many recipients"
            if self.limits_get("RCPTMAX"):
                self.violation("more than RCPTMAX recipients")
        said = self.step("rcpt", address, usual)
        self.msg.rcpts_all.append(Rcpt(address, params, said))

    def do_data(self, arg):
        if self.msg is None or not self.msg.rcpts:
            if "PIPELINING" not in self.offered:
                self.violation("DATA without recipients")
            self.step("data", arg, "503 5.5.1 no valid recipients")
            return
        if self.msg.params.get("BODY") == "BINARYMIME":
            self.violation("DATA with BINARYMIME")
        self.msg.via = "DATA"
        if self.step("data", arg, "354 go on")[:1] != "3":
            self.msg = None
            return
        data = self.body_until_dot()
        self.msg.data = re.sub(rb"(\A|\r\n)\.", rb"\1", data)
        self.end_of_message()

    def body_until_dot(self):
        rx = self.receiver
        parts, total, tail = [], 0, b"\r\n"  # tail: what the terminator may begin in
        rule_at = rx.body_rule_at()
        while True:
            if rule_at is not None and total + len(self.buf) >= rule_at:
                self.step("body", "", None)
                rule_at = None
            probe = tail + self.buf
            at = probe.find(b"\r\n.\r\n")
            if at >= 0:
                end = at + 2 - len(tail)  # data includes the CRLF before the dot
                rest = at + 5 - len(tail)
                if end >= 0:
                    parts.append(self.buf[:end])
                    self.buf = self.buf[rest:]
                    return b"".join(parts)
                whole = b"".join(parts)
                self.buf = self.buf[rest:]
                return whole[:len(whole) + end]
            if self.buf:
                parts.append(self.buf)
                total += len(self.buf)
                tail = probe[-4:]
                self.buf = b""
            self.fill()

    def do_bdat(self, arg):
        words = arg.split()
        if "CHUNKING" not in self.offered:
            self.violation("BDAT not offered")
        if not words or not words[0].isdigit() or len(words) > 2 or \
                len(words) == 2 and words[1].upper() != "LAST":
            self.violation("BDAT %r" % arg)
            raise Gone("cannot go on after a bad BDAT")
        size, last = int(words[0]), len(words) == 2
        rule_at = self.receiver.body_rule_at()
        parts, have = [], 0
        while have < size:
            if not self.buf:
                self.fill()
            if rule_at is not None and have + len(self.buf) >= rule_at:
                self.step("body", "", None)
                rule_at = None
            parts.append(self.buf[:size - have])
            self.buf = self.buf[size - have:]
            have += len(parts[-1])
        if self.msg is None or not self.msg.rcpts:
            self.step("bdat", arg, "503 5.5.1 no valid recipients")
            return
        self.msg.via = "BDAT"
        self.msg.chunks += 1
        self.msg.data += b"".join(parts)
        if last:
            self.end_of_message()
        elif self.step("bdat", arg, "250 2.0.0 more")[:1] != "2":
            self.msg = None

    def end_of_message(self):
        rx, msg = self.receiver, self.msg
        self.msg = None
        msg.time = time.monotonic()
        self.check(msg)
        limit = rx.size_limit()
        usual = "250 2.0.0 taken as %s-%d-%d" % (rx.host, self.number, self.mails)
        if limit and len(msg.data) > limit:
            usual = "552 5.3.4 too big"
        with rx.signal:
            rx.attempts.append(msg)
            rx.signal.changed()
        said = self.step("dot", "", usual)
        with rx.signal:
            msg.reply = said
            msg.accepted = said[:1] == "2"
            rx.signal.changed()

    def check(self, msg):
        """What a correct client never sends in a message."""
        binary = msg.params.get("BODY") == "BINARYMIME"
        if not binary:
            if re.search(rb"(?<!\r)\n|\r(?!\n)", msg.data):
                self.violation("bare CR or LF in a message")
            longest = max(map(len, msg.data.split(b"\r\n")), default=0)
            if longest > 998:
                self.violation("line of %d bytes in a message" % longest)
            if b"\0" in msg.data:
                self.violation("NUL in a message")
        if not msg.data.isascii() and msg.params.get("BODY") not in ("8BITMIME", "BINARYMIME") and \
                "SMTPUTF8" not in msg.params:
            self.violation("8-bit message without BODY=8BITMIME")
        if msg.data and not msg.data.endswith(b"\r\n"):
            self.violation("message does not end in CRLF")

    def do_rset(self, arg):
        self.msg = None
        self.step("rset", arg, "250 2.0.0 ok")

    def do_noop(self, arg):
        self.step("noop", arg, "250 2.0.0 ok")

    def do_vrfy(self, arg):
        self.step("vrfy", arg, "252 2.5.0 perhaps")

    def do_quit(self, arg):
        self.step("quit", arg, "221 2.0.0 bye")
        if self.tls:
            self.sock.settimeout(2)
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()  # close_notify
        raise Gone("QUIT")


class Receiver:
    """An SMTP server of the world.

    host: its name (greeting, certificate). caps: EHLO keywords; caps_tls: others inside TLS.
    starttls: offer, none, refuse (454), broken (fatal alert), garbage, close, stall, inject
    (answers in clear behind the 220, see `injected`). cert: a kind of CA.issue() or a Cert.
    """

    def __init__(self, ca, host, address, port, signal=None, rules=(), caps=CAPS, caps_tls=None,
                 starttls="offer", cert="valid", greeting=None, tls_min=None, tls_max=None,
                 implicit_tls=False, auth=None, auth_in_clear=False, max_rcpts=None, slow_read=None,
                 client_ca=None, injected=b"250-evil.example\r\n250 AUTH PLAIN\r\n250 2.1.0 forged\r\n"):
        self.ca, self.host, self.address, self.port = ca, host, address, port
        self.signal = signal or Signal()
        self.caps, self.caps_tls, self.starttls = tuple(caps), caps_tls, starttls
        self.cert, self.tls_min, self.tls_max = cert, tls_min, tls_max
        self.greeting = greeting or "220 %s ESMTP world" % host
        self.implicit_tls, self.auth, self.auth_in_clear = implicit_tls, auth, auth_in_clear
        self.max_rcpts, self.slow_read, self.injected = max_rcpts, slow_read, injected
        self.client_ca = client_ca
        self.rules = list(rules)
        self.conns = []
        self.attempts = []
        self.open = 0
        self.max_open = 0
        self.errors = []  # mistakes of this program, never of the client
        self.stopping = threading.Event()
        self.wake_r, self.wake_w = socket.socketpair()
        self.contexts = {}
        self.listener = None
        self.start()

    # ---- scripting ----

    def on(self, point, *args, **kw):
        """Add a rule behind those there are. Returns the receiver."""
        rule = point if isinstance(point, On) else On(point, *args, **kw)
        with self.signal:
            self.rules.append(rule)
        return self

    def script(self, *rules, **settings):
        """Replace all rules, and any of the settings."""
        with self.signal:
            self.rules = list(rules)
            for key, value in settings.items():
                if not hasattr(self, key):
                    raise AttributeError(key)
                setattr(self, key, value)
            self.contexts = {}
        return self

    def rule(self, point, arg, conn):
        with self.signal:
            for rule in self.rules:
                if rule.wants(point, arg, conn.number):
                    self.signal.changed()
                    return rule
        return None

    def body_rule_at(self):
        with self.signal:
            return next((r.after for r in self.rules if r.point == "body" and (
                r.times is None or r.used < r.times)), None)

    def release(self):
        """Let those go on that stall."""
        self.wake_w.send(b"x")

    def size_limit(self):
        for cap in self.caps:
            words = cap.split()
            if words[0].upper() == "SIZE" and len(words) > 1:
                return int(words[1])
        return 0

    def context(self, sni):
        cert = self.cert if hasattr(self.cert, "chain") else self.ca.issue(self.host, self.cert)
        key = (cert.chain, self.tls_min, self.tls_max, self.client_ca)
        with self.signal:
            context = self.contexts.get(key)
            if context is None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(cert.chain, cert.key)
                if self.tls_max in ("TLSv1", "TLSv1_1"):
                    context.set_ciphers("ALL:@SECLEVEL=0")
                    context.minimum_version = ssl.TLSVersion.TLSv1
                if self.tls_min:
                    context.minimum_version = getattr(ssl.TLSVersion, self.tls_min)
                if self.tls_max:
                    context.maximum_version = getattr(ssl.TLSVersion, self.tls_max)
                if self.client_ca:
                    context.verify_mode = ssl.CERT_OPTIONAL
                    context.load_verify_locations(self.client_ca)
                local = threading.local()
                context.sni_callback = lambda sock, name, ctx: local.sni.append(name)
                context.local = local
                self.contexts[key] = context
        context.local.sni = sni  # a handshake runs in its connection's thread
        return context

    # ---- reading the record ----

    @property
    def messages(self):
        """Messages that were accepted."""
        with self.signal:
            return [m for m in self.attempts if m.accepted]

    @property
    def violations(self):
        with self.signal:
            return [v for c in self.conns for v in c.violations]

    def commands(self, verb=None):
        """(verb, argument) over all connections, in order of connection."""
        with self.signal:
            return [c for conn in self.conns for c in conn.commands if verb in (None, c[0])]

    def wait_messages(self, n=1, timeout=20.0, match=None):
        """Wait for n accepted messages (for which match(message) is true); returns them."""
        def enough():
            found = [m for m in self.messages if match is None or match(m)]
            return found if len(found) >= n else None
        return self.signal.wait(enough, timeout, lambda: "%d message(s) at %s; there are %r" % (
            n, self.host, self.attempts[-5:]))

    def wait_attempts(self, n=1, timeout=20.0):
        return self.signal.wait(lambda: list(self.attempts) if len(self.attempts) >= n else None,
                                timeout, lambda: "%d attempt(s) at %s" % (n, self.host))

    def wait_conns(self, n=1, timeout=20.0):
        return self.signal.wait(lambda: list(self.conns) if len(self.conns) >= n else None,
                                timeout, lambda: "%d connection(s) at %s" % (n, self.host))

    def wait_command(self, verb, n=1, timeout=20.0):
        return self.signal.wait(lambda: len(self.commands(verb)) >= n, timeout,
                                lambda: "%d %s at %s; there are %r" % (n, verb, self.host,
                                                                       self.commands()[-8:]))

    def wait_idle(self, timeout=20.0):
        """Wait until no connection is open."""
        return self.signal.wait(lambda: self.open == 0, timeout,
                                lambda: "%s to be idle" % self.host)

    def wait_rule(self, rule, n=1, timeout=20.0):
        """Wait until a rule was used n times."""
        return self.signal.wait(lambda: rule.used >= n, timeout,
                                lambda: "rule at %s to be used" % rule.point)

    def forget(self):
        """Empty the record."""
        with self.signal:
            self.conns = [c for c in self.conns if c.closed is None]
            self.attempts = []

    # ---- the server ----

    def start(self):
        """Listen (again)."""
        self.stopping.clear()
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.address, self.port))
        s.listen(512)
        self.listener = s
        self.thread = threading.Thread(target=self._accept, args=(s,), daemon=True,
                                       name="mx-" + self.host)
        self.thread.start()

    def _accept(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            with self.signal:
                conn = Conn(self, sock, peer, len(self.conns) + 1)
                self.conns.append(conn)
                self.open += 1
                self.max_open = max(self.max_open, self.open)
                self.signal.changed()
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        try:
            conn.run()
        except Gone as e:
            conn.end = str(e)
        except Exception as e:  # ours: tests look at errors
            conn.end = repr(e)
            if not self.stopping.is_set():
                self.errors.append("%s: %r" % (self.host, e))
        finally:
            with contextlib.suppress(OSError):
                conn.sock.close()
            with self.signal:
                conn.closed = time.monotonic()
                self.open -= 1
                self.signal.changed()

    def stop(self):
        """Refuse connections from now on, cut those there are."""
        self.stopping.set()
        if self.listener is None:
            return
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        self.thread.join()
        self.listener = None
        with self.signal:
            left = [c for c in self.conns if c.closed is None]
        for conn in left:
            with contextlib.suppress(OSError):
                # not SSLSocket.shutdown(), which takes the TLS state from the thread that uses it
                socket.socket.shutdown(conn.sock, socket.SHUT_RDWR)
        self.signal.wait(lambda: self.open == 0, 10, "connections of %s to end" % self.host)

    def close(self):
        self.stop()
        self.wake_r.close()
        self.wake_w.close()


class BlackHole:
    """An address that accepts no connection and refuses none: the SYN stays unanswered.

    A listener whose queue is full drops further SYNs; no packet filter needed.
    """

    def __init__(self, address, port):
        self.address, self.port = address, port
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(0)
        self.fillers = []
        for _ in range(8):
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            s.settimeout(0.1)
            self.fillers.append(s)
            try:
                s.connect((address, port))
            except OSError:
                return

    def close(self):
        for s in [*self.fillers, self.listener]:
            s.close()
