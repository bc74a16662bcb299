"""client.py - how tests hand mail in: a whole submission in one call, or a dialogue byte by byte."""
import re
import smtplib
import socket
import ssl

from .base import scale


class Refused(Exception):
    """The server said no. code and text are its reply, step says where."""

    def __init__(self, step, code, text):
        super().__init__("%s: %d %s" % (step, code, text))
        self.step, self.code, self.text = step, code, text


def tls_context(ca_file=None, cert=None):
    context = ssl.create_default_context(cafile=ca_file)
    context.hostname_checks_common_name = False
    if ca_file is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(cert.chain, cert.key)
    return context


def message(mail_from, rcpts, subject="test", body="Hello.\r\n", headers=()):
    """A small correct message as bytes. body: text or bytes with CRLF line ends."""
    head = ["From: <%s>" % mail_from, "To: " + ", ".join("<%s>" % r for r in rcpts),
            "Subject: " + subject, "Date: Tue, 24 Nov 2026 08:00:00 +0000",
            "Message-ID: <%s@client.invalid>" % re.sub(r"[^A-Za-z0-9.-]", "-", subject)]
    raw = body if isinstance(body, bytes) else body.encode()
    return "\r\n".join([*head, *headers, "", ""]).encode() + raw


def bulk(size):
    """A body of exactly size bytes, in lines of 78, some of which begin with a dot."""
    line = b"." + b"abcdefghijklmnopqrstuvwxyz0123456789" * 2 + b"....\r\n"
    out = line * (size // len(line))
    rest = size - len(out)
    if rest >= 2:
        out += b"y" * (rest - 2) + b"\r\n"
    return out


class Client:
    """An SMTP session by smtplib that keeps the reply to each message."""

    def __init__(self, address, helo="client.invalid", tls=None, ca_file=None, name=None, user=None,
                 password=None, timeout=60, source=None, cert=None, mechanism=None):
        """tls: None, "starttls" or "implicit"; name: the server's, checked when ca_file is given."""
        timeout *= scale()
        context = tls_context(ca_file, cert)
        kw = {"local_hostname": helo, "timeout": timeout}
        if source:
            kw["source_address"] = (source, 0)
        if tls == "implicit":
            self.smtp = smtplib.SMTP_SSL(context=context, **kw)
        else:
            self.smtp = smtplib.SMTP(**kw)
        self.smtp._host = name or address[0]  # what smtplib checks the certificate against
        self._step("connect", self._connect(address, tls, context, name))
        self._step("EHLO", self.smtp.ehlo())
        if tls == "starttls":
            try:
                self._step("STARTTLS", self.smtp.starttls(context=context))
            except smtplib.SMTPResponseException as e:
                raise Refused("STARTTLS", e.smtp_code, e.smtp_error.decode("utf-8", "replace"))
            self._step("EHLO", self.smtp.ehlo())
        if user is not None:
            try:
                if mechanism:
                    self.smtp.user, self.smtp.password = user, password
                    auth = getattr(self.smtp, "auth_" + mechanism.lower())
                    self._step("AUTH", self.smtp.auth(mechanism, auth))
                else:
                    self._step("AUTH", self.smtp.login(user, password))
            except smtplib.SMTPAuthenticationError as e:
                raise Refused("AUTH", e.smtp_code, e.smtp_error.decode("utf-8", "replace"))

    def _connect(self, address, tls, context, name):
        if tls != "implicit":
            return self.smtp.connect(*address)
        sock = socket.create_connection(address, self.smtp.timeout, self.smtp.source_address)
        self.smtp.sock = context.wrap_socket(sock, server_hostname=name or address[0])
        self.smtp.file = None
        return self.smtp.getreply()

    @staticmethod
    def _step(step, reply, want="2"):
        code, text = reply[0], reply[1]
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        if str(code)[0] != want:
            raise Refused(step, code, text)
        return text

    def send(self, mail_from, rcpts, data=None, mail_options=(), rcpt_options=(), **kw):
        """One message; every recipient must be taken. Returns the MID that the server named."""
        rcpts = [rcpts] if isinstance(rcpts, str) else list(rcpts)
        data = message(mail_from, rcpts, **kw) if data is None else data
        try:
            self._step("MAIL", self.smtp.mail(mail_from, list(mail_options)))
            for r in rcpts:
                self._step("RCPT", self.smtp.rcpt(r, list(rcpt_options)))
            self._step("DATA", self.smtp.docmd("DATA"), "3")
            # smtplib's data() rewrites line ends; these bytes are sent as they are
            wire = re.sub(rb"(\A|\r\n)\.", rb"\1..", data)
            self.smtp.sock.sendall(wire + (b"" if wire.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            text = self._step("end of data", self.smtp.getreply())
        except Refused:
            self.smtp.rset()
            raise
        found = re.search(r"MID (\d+)", text)
        return int(found.group(1)) if found else None

    def close(self):
        try:
            self.smtp.quit()
        except (smtplib.SMTPException, OSError):
            self.smtp.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def submit(address, mail_from, rcpts, data=None, session=None, **kw):
    """Connect, hand in one message, leave. Returns the MID."""
    with Client(address, **(session or {})) as client:
        return client.send(mail_from, rcpts, data, **kw)


class Dialogue:
    """A raw socket for what no library would send."""

    def __init__(self, address, timeout=30, source=None, rcvbuf=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
                                  socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout * scale())
        if source:
            self.sock.bind((source, 0))
        self.buf = b""
        self.gone = False
        try:
            self.sock.connect(address)
        except ConnectionResetError:  # accepted and reset before connect() returned
            self.gone = True

    def send(self, text):
        """A line, or bytes as they are."""
        self.sock.sendall(text if isinstance(text, bytes) else text.encode() + b"\r\n")
        return self

    def line(self):
        """Next line without CRLF; None at the end of the stream."""
        while b"\n" not in self.buf:
            if self.gone:
                return None
            try:
                got = self.sock.recv(65536)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                got = b""
            if not got:
                return None
            self.buf += got
        line, self.buf = self.buf.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def reply(self):
        """(code, [texts]) of the next reply; (0, []) when the connection ended."""
        texts = []
        while True:
            line = self.line()
            if line is None:
                return 0, texts
            texts.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), texts

    def expect(self, *codes):
        """The next reply must have one of these codes (0: connection ended)."""
        code, texts = self.reply()
        if code not in codes:
            raise AssertionError("expected %s, got %d %r" % (" or ".join(map(str, codes)), code, texts))
        return texts

    def cmd(self, text, *codes):
        self.send(text)
        return self.expect(*codes)

    def hello(self, name="client.invalid"):
        """Greeting and EHLO; returns the capabilities."""
        self.expect(220)
        return self.cmd("EHLO " + name, 250)[1:]

    def starttls(self, context=None, behind=b""):
        """STARTTLS with these plaintext bytes in the same segment, then the handshake."""
        self.send(b"STARTTLS\r\n" + behind)
        self.expect(220)
        self.sock = (context or tls_context()).wrap_socket(self.sock)
        self.buf = b""
        return self

    def pending(self, timeout=0.0):
        """True when bytes (or an end) are there to be read."""
        if self.buf:
            return True
        self.sock.settimeout(max(timeout, 0.001))
        try:
            self.buf += self.sock.recv(65536)
            return True
        except TimeoutError:
            return False
        finally:
            self.sock.settimeout(30 * scale())

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
