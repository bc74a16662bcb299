"""policy.py - MTA-STS policy hosts that do what a test tells them, and write down what they are asked.

A PolicyHost is an HTTPS server for mta-sts.<domain> on an address of its own. `text` is the policy;
`manner` says how it behaves. One thread per connection, plain blocking sockets: any byte can be held
back. Source: RFC 8461 section 3.3.
"""
import contextlib
import socket
import ssl
import threading

from .base import Signal

MANNERS = ("ok", "404", "redirect", "html", "oversize", "drip", "hang", "close", "tls11")


def policy(mode="enforce", mx=(), max_age=86400, extra=""):
    """The text of a policy."""
    lines = ["version: STSv1", "mode: " + mode, "max_age: %d" % max_age]
    lines += ["mx: " + getattr(m, "host", m) for m in ([mx] if isinstance(mx, str) else mx)]
    return "\n".join(lines) + "\n" + extra


class PolicyHost:
    """cert: a kind of CA.issue(). Attributes may be changed at any time; requests holds the heads."""

    def __init__(self, ca, domain, address, port, text, signal=None, manner="ok", cert="valid"):
        self.ca, self.domain, self.address, self.port = ca, domain, address, port
        self.host = "mta-sts." + domain
        self.text, self.manner, self.cert = text, manner, cert
        self.signal = signal or Signal()
        self.requests = []
        self.connections = 0
        self.stopping = threading.Event()
        self.listener = None
        self.open()

    def open(self):
        """Listen (again)."""
        self.stopping = threading.Event()
        self.listener = socket.create_server((self.address, self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self.listener, self.stopping), daemon=True).start()
        return self

    def close(self):
        """Be gone: connections are refused. open() brings it back."""
        self.stopping.set()
        if self.listener is not None:
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def wait_requests(self, n, timeout=10):
        return self.signal.wait(lambda: self.requests if len(self.requests) >= n else None, timeout,
                                "%d request(s) at %s" % (n, self.host))

    # ---- serving ----

    def _accept(self, listener, stopping):
        while not stopping.is_set():
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn, stopping), daemon=True).start()

    def _context(self):
        cert = self.ca.issue(self.host, self.cert)
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.manner == "tls11":
            ctx.set_ciphers("ALL:@SECLEVEL=0")
            ctx.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            ctx.maximum_version = ssl.TLSVersion.TLSv1_1
        ctx.load_cert_chain(cert.chain, cert.key)
        return ctx

    def _serve(self, conn, stopping):
        with self.signal:
            self.connections += 1
        self.signal.changed()
        with contextlib.suppress(OSError), conn:
            conn.settimeout(60)
            if self.manner == "hang":
                stopping.wait(60)
                return
            if self.manner == "close":
                return
            with self._context().wrap_socket(conn, server_side=True) as tls:
                head = b""
                while b"\r\n\r\n" not in head and len(head) < 65536:
                    more = tls.recv(4096)
                    if not more:
                        return
                    head += more
                with self.signal:
                    self.requests.append(head.decode("latin-1"))
                self.signal.changed()
                self._answer(tls, stopping)

    def _answer(self, tls, stopping):
        status, kind, body = "200 OK", "text/plain", self.text.encode()
        more = ""
        if self.manner == "404":
            status = "404 Not Found"
        elif self.manner == "redirect":
            status, more = "302 Found", "Location: https://%s/x\r\n" % self.host
        elif self.manner == "html":
            kind = "text/html"
        head = "HTTP/1.1 %s\r\nContent-Type: %s\r\n%sConnection: close\r\n" % (status, kind, more)
        if self.manner == "oversize":
            tls.sendall((head + "Transfer-Encoding: chunked\r\n\r\n").encode())
            for _ in range(80):
                tls.sendall(b"400\r\n" + b"\n" * 1024 + b"\r\n")
            return
        if self.manner == "drip":
            tls.sendall((head + "\r\n").encode())
            while not stopping.wait(0.2):
                tls.sendall(b"\n")
            return
        tls.sendall((head + "Content-Length: %d\r\n\r\n" % len(body)).encode() + body)
        with contextlib.suppress(OSError):
            tls.unwrap()
