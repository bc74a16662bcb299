"""crowd.py - many peers at once for bounds.py: idle and slow clients, slow and talkative servers.

Each crowd is one thread over epoll. What it does not need is not read.
"""
import collections
import select
import socket
import threading
import time

from tests.world.base import WorldError


def _ask(sock, text):
    """One command of a blocking client; the reply."""
    if text:
        sock.sendall(text)
    out = b""
    while True:
        got = sock.recv(65536)
        if not got:
            raise WorldError("the server ended the connection after %r" % out)
        out += got
        last = out.rstrip(b"\r\n").rsplit(b"\n", 1)[-1]
        if out.endswith(b"\r\n") and last[3:4] == b" ":
            return out


def serve_time(address):
    """(ms until greeting and EHLO were answered, ms until a message was accepted) for a new client."""
    begin = time.monotonic()
    with socket.create_connection(address, timeout=30) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _ask(s, b"")
        _ask(s, b"EHLO new.client.test\r\n")
        ehlo = time.monotonic()
        _ask(s, b"MAIL FROM:<new@client.test>\r\n")
        _ask(s, b"RCPT TO:<r0.4000000000@d0.live.bench.test>\r\n")
        _ask(s, b"DATA\r\n")
        _ask(s, b"Subject: from a new client\r\n\r\nHello.\r\n.\r\n")
        done = time.monotonic()
    return (ehlo - begin) * 1e3, (done - begin) * 1e3


class Clients:
    """n connections to a gateway, brought to a state by a list of commands, and kept there."""

    def __init__(self, address, n, commands=(), at_once=500):
        self.socks = []
        self.epoll = select.epoll()
        todo, by_fd = n, {}
        deadline = time.monotonic() + 300
        while todo or by_fd:
            if time.monotonic() > deadline:
                raise WorldError("%d of %d clients are where they should be" % (len(self.socks), n))
            while todo and len(by_fd) < at_once:
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(address)
                by_fd[s.fileno()] = [s, collections.deque(commands), b""]
                self.epoll.register(s, select.EPOLLIN)
                todo -= 1
            for fd, _ in self.epoll.poll(1):
                entry = by_fd[fd]
                entry[2] += entry[0].recv(65536)
                last = entry[2].rstrip(b"\r\n").rsplit(b"\n", 1)[-1]
                if not entry[2].endswith(b"\r\n") or last[3:4] != b" ":
                    if not entry[2]:
                        raise WorldError("a client was sent away without a word")
                    continue
                if entry[2][:1] not in b"23":
                    raise WorldError("a client was refused: %r" % entry[2])
                entry[2] = b""
                if entry[1]:
                    entry[0].sendall(entry[1].popleft())
                else:
                    self.epoll.unregister(fd)
                    self.socks.append(by_fd.pop(fd)[0])

    def trickle(self, text, seconds, rounds):
        """Each sends text once in so many seconds."""
        for _ in range(rounds):
            begin = time.monotonic()
            for i, s in enumerate(self.socks):
                s.send(text)
                ahead = begin + seconds * i / len(self.socks) - time.monotonic()
                if ahead > 0.01:
                    time.sleep(ahead)

    def alive(self):
        """How many the gateway still has (nothing came: no reply, no end)."""
        poll = select.poll()
        for s in self.socks:
            poll.register(s, select.POLLIN)
        return len(self.socks) - len(poll.poll(0))

    def close(self):
        for s in self.socks:
            s.close()
        self.epoll.close()


class Servers:
    """An MX host on one address. talk(conn) gives the bytes to send when something came.

    drip_s: replies go out one byte in so many seconds.
    """

    def __init__(self, address, reply, drip_s=0):
        self.reply, self.drip_s = reply, drip_s
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.conns, self.taken, self.most = {}, 0, 0
        self.stop = False
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()

    def _loop(self):
        epoll = select.epoll()
        epoll.register(self.listener, select.EPOLLIN)
        due = time.monotonic()
        while not self.stop:
            for fd, ev in epoll.poll(0.05):
                if fd == self.listener.fileno():
                    self._accept(epoll)
                else:
                    self._input(epoll, fd)
            if self.drip_s and time.monotonic() >= due:
                due = time.monotonic() + self.drip_s
                for fd in list(self.conns):
                    self._write(epoll, fd, 1)
        for s, _ in self.conns.values():
            s.close()
        self.listener.close()

    def _accept(self, epoll):
        for _ in range(200):
            try:
                s, _addr = self.listener.accept()
            except OSError:
                return
            s.setblocking(False)
            self.conns[s.fileno()] = [s, bytearray(self.reply(b""))]
            self.taken += 1
            self.most = max(self.most, len(self.conns))
            epoll.register(s, select.EPOLLIN)
            if not self.drip_s:
                self._write(epoll, s.fileno(), 1 << 30)

    def _input(self, epoll, fd):
        conn = self.conns.get(fd)
        if conn is None:
            return
        try:
            got = conn[0].recv(65536)
        except BlockingIOError:
            got = None
        except OSError:
            got = b""
        if got == b"":
            self._drop(epoll, fd)
            return
        if got:
            conn[1] += self.reply(got)
        if not self.drip_s:
            self._write(epoll, fd, 1 << 30)

    def _write(self, epoll, fd, most):
        s, out = self.conns[fd]
        try:
            while out and most > 0:
                n = s.send(out[:min(most, 65536)])
                del out[:n]
                most -= n
        except BlockingIOError:
            epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
            return
        except OSError:
            self._drop(epoll, fd)
            return
        if not out and not self.drip_s:
            epoll.modify(fd, select.EPOLLIN)

    def _drop(self, epoll, fd):
        s, _ = self.conns.pop(fd)
        epoll.unregister(fd)
        s.close()

    def close(self):
        self.stop = True
        self.thread.join(10)
