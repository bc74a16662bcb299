"""The intake process alone, with a queue that does what no healthy queue does.

The protocol itself is tested in tests/smtpd; here are sockets, TLS, AUTH, limits, back-pressure,
reload, drain, and the loss of peers.
"""
import contextlib
import json
import os
import re
import resource
import select
import socket
import ssl
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.e2e import child  # noqa: E402
from tests.world.base import poll  # noqa: E402
from tests.world.ca import CA  # noqa: E402
from tests.world.client import Client, Dialogue, Refused, bulk, message, tls_context  # noqa: E402
from tests.world.postern import password_hash  # noqa: E402

A, B = "a@b.example", "c@d.example"


def equal(found, wanted):
    if found != wanted:
        raise AssertionError("found %r, wanted %r" % (found, wanted))


class Keys:
    """Certificates and users of one test's directory."""

    def __init__(self, d):
        os.makedirs(os.path.join(d, "ca"))
        self.ca = CA(os.path.join(d, "ca"), "Test CA")
        self.cert = self.ca.issue(["gw1.example.net", "127.0.0.1"])
        with open(os.path.join(d, "users"), "w") as f:
            f.write("anna:%s\n" % password_hash("sesam"))


_keys = {}


def keys(d):
    if d not in _keys:
        _keys[d] = Keys(d)
    return _keys[d]


def settings(d, listener="", more="", workers="auto"):
    return """[postern]
hostname = gw1.example.net
smtpd_workers = %s
[certificate default]
cert_file = %s
key_file = %s
[trust]
ca_file =
[log]
level = debug
[listener internal]
address = 127.0.0.1:2525
%s
%s""" % (workers, keys(d).cert.chain, keys(d).cert.key, listener, more)


@contextlib.contextmanager
def smtpd(d, listener="", more="", workers="auto", **kw):
    s = child.Smtpd(d, settings(d, listener, more, workers), **kw)
    s.at = s.address["internal"]
    try:
        yield s
        s.stop()
    except BaseException:
        print("# " + "\n# ".join(s.log().splitlines()[-40:]))
        raise
    finally:
        s.kill()


def open_data(s, **kw):
    """A dialogue that stands behind 354."""
    c = Dialogue(s.at, **kw)
    c.hello()
    c.cmd("MAIL FROM:<%s>" % A, 250)
    c.cmd("RCPT TO:<%s>" % B, 250)
    c.cmd("DATA", 354)
    return c


def flows(s):
    with Client(s.at) as c:
        return c.send(A, B)


# ---- ordinary mail ----

def every_way_in(d):
    """Plain, STARTTLS, implicit TLS, AUTH by both mechanisms; what is said in the log."""
    auth = "relay_from = 10.0.0.0/8\nauth = offered\nauth_file = %s/users\n" % d
    with smtpd(d, "tls = offered\n" + auth, """[listener open]
address = 127.0.0.1:2526
[listener implicit]
address = 127.0.0.1:2527
tls = implicit
""") as s:
        ca = keys(d).ca.ca_file
        data = message(A, [B], subject="hello", body=bulk(300000))
        ways = [("open", {}), ("open", {"tls": "starttls", "ca_file": ca, "name": "gw1.example.net"}),
                ("implicit", {"tls": "implicit", "ca_file": ca, "name": "gw1.example.net"}),
                ("internal", {"tls": "starttls", "user": "anna", "password": "sesam"}),
                ("internal", {"tls": "starttls", "user": "anna", "password": "sesam",
                              "mechanism": "LOGIN"})]
        for name, how in ways:
            with Client(s.address[name], **how) as c:
                mid = c.send(A, B, data)
            m = s.queue.messages[mid]
            equal((m.sender, m.rcpts, m.committed, m.listener), (A, [B], True, name))
            head, body = m.data.split(b"\r\nFrom: ", 1)
            equal(b"From: " + body, data)
            equal(m.size, len(m.data))
            with_ = "ESMTP" + ("S" if how else "") + ("A" if "user" in how else "")
            assert (" with %s id %d" % (with_, mid)).encode() in head, head
        try:
            Client(s.at, tls="starttls", user="anna", password="wrong")
            raise AssertionError("a wrong password was taken")
        except Refused as e:
            equal(e.code, 535)
        try:
            flows(s)
            raise AssertionError("relaying was not denied")
        except Refused as e:
            equal((e.step, e.code), ("RCPT", 550))
        for line in [r"New SMTP ICID 1 interface open \(127\.0\.0\.1\) address 127\.0\.0\.1 reverse dns "
                     r"host unknown verified no\n", r"ICID 1 RELAY listener open match 127\.0\.0\.0/8\n",
                     r"ICID 2 TLS success protocol TLSv1\.3 cipher TLS_\w+\n",
                     r"Start MID 1 ICID 1\n", r"MID 1 ICID 1 From: <a@b.example>\n",
                     r"MID 1 ICID 1 RID 0 To: <c@d.example>\n", r"MID 1 Message-ID '<hello@client.invalid>'\n",
                     r"MID 1 Subject 'hello'\n", r"MID 1 ready \d+ bytes from <a@b.example>\n",
                     r"MID 1 queued for delivery\n", r"ICID 1 close\n",
                     r"ICID 4 RELAY listener internal auth 'anna'\n",
                     r"ICID 7 REJECT listener internal no relay rule matches 127\.0\.0\.1\n"]:
            s.wait_log(line)
        assert "sesam" not in s.log() and "wrong" not in s.log()


def client_certificate(d):
    ca = keys(d).ca.ca_file
    other = os.path.join(d, "other")
    os.makedirs(other)
    stranger = CA(other, "Other CA").issue("host.example", "client")
    with smtpd(d, "relay_from = 10.0.0.0/8\nclient_ca_file = %s\n"
               "client_cert_names = host.example\n" % ca) as s:
        for cert, code in [(keys(d).ca.issue("host.example", "client"), None),
                           (keys(d).ca.issue("bad.example", "client"), 550), (stranger, 550), (None, 550)]:
            with Client(s.at, tls="starttls", cert=cert) as c:
                try:
                    c.send(A, B)
                    equal(None, code)
                except Refused as e:
                    equal(e.code, code)
        s.wait_log(r"RELAY listener internal client certificate 'host.example'")


def half_closed_client(d):
    """printf | nc: everything at once would be wrong, but the end of input may come early."""
    with smtpd(d) as s:
        c = open_data(s)
        c.send(b"x\r\n.\r\nQUIT\r\n")
        c.sock.shutdown(socket.SHUT_WR)
        c.expect(250)
        c.expect(221)
        equal(c.line(), None)
        # also when the queue takes its time, and over TLS
        for tls in [False, True]:
            s.queue.answer = None
            c = Dialogue(s.at)
            c.hello()
            if tls:
                c.starttls()
                c.cmd("EHLO x", 250)
            c.cmd("MAIL FROM:<%s>" % A, 250)
            c.cmd("RCPT TO:<%s>" % B, 250)
            c.cmd("DATA", 354)
            c.send(b"x\r\n.\r\nQUIT\r\n")
            if not tls:
                c.sock.shutdown(socket.SHUT_WR)
            n = 3 if tls else 2
            s.queue.wait(lambda q: len(q.committed()) == n)
            s.queue.done(max(s.queue.messages), (0, 250, "2.0.0", "queued"))
            c.expect(250)
            c.expect(221)


def pipelining_many(d):
    """200 messages in one stream: all answered, in order."""
    with smtpd(d) as s:
        c = Dialogue(s.at)
        c.hello()
        one = "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nBDAT 3 LAST\r\nx\r\n" % (A, B)
        c.send(one.encode() * 200)
        for _ in range(200):
            for _ in range(3):
                c.expect(250)
        equal(len(s.queue.committed()), 200)


def slow_bytes_over_tls(d):
    with smtpd(d) as s:
        c = Dialogue(s.at)
        c.hello()
        c.starttls()
        for byte in b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n":
            c.sock.send(bytes([byte]))
        for _ in range(3):
            c.expect(250)
        c.cmd("DATA", 354)
        for byte in b"Subject: x\r\n\r\n..\r\n.\r\n":
            c.sock.send(bytes([byte]))
        c.expect(250)
        assert s.queue.messages[1].data.endswith(b"\r\n\r\n.\r\n")


# ---- hostile clients ----

def behind_starttls(d):
    """Commands in the same segment as STARTTLS never run, inside TLS or outside."""
    with smtpd(d) as s:
        c = Dialogue(s.at)
        c.hello()
        c.send(b"STARTTLS\r\nEHLO x\r\nMAIL FROM:<evil@b.example>\r\n")
        c.expect(421)
        equal(c.line(), None)
        # the same, where the second segment comes before the handshake
        c = Dialogue(s.at)
        c.hello()
        c.cmd("STARTTLS", 220)
        c.send(b"EHLO x\r\nMAIL FROM:<evil@b.example>\r\n")
        c.sock.settimeout(20)
        while c.sock.recv(1000):
            pass
        s.wait_log("TLS failed: ")
        assert "evil" not in s.log()
        flows(s)


def smuggling(d):
    ends = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\n.\r", b"\r\n\x00.\r\n",
            b"\r\x00\n.\r\n"]
    with smtpd(d) as s:
        for end in ends:
            c = open_data(s)
            c.send(b"Subject: x\r\n\r\nhi" + end + b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<e@f.example>\r\n"
                   b"DATA\r\nx\r\n.\r\n")
            code, _ = c.reply()
            assert code == 554, (end, code)
            c.cmd("QUIT", 221)
            equal(c.line(), None)
        assert "evil" not in s.log()
        equal(s.queue.committed(), [])
        assert all(m.aborted for m in s.queue.messages.values())
        flows(s)


def garbage(d):
    with smtpd(d, more="[listener implicit]\naddress = 127.0.0.1:2527\ntls = implicit\n") as s:
        for name in ["internal", "implicit"]:
            for data in [os.urandom(100000), b"\x00" * 50000, b"GET / HTTP/1.1\r\n\r\n" * 100,
                         b"A" * 200000, b"\r\n" * 100, b"\n" * 1000]:
                c = Dialogue(s.address[name])
                with contextlib.suppress(OSError):
                    c.send(data)
                    c.sock.shutdown(socket.SHUT_WR)
                    while c.sock.recv(65536):
                        pass
                c.sock.close()
        flows(s)


def reads_nothing(d):
    """A client that sends commands and reads no reply: memory stays, others flow."""
    with smtpd(d) as s:
        before = s.memory_kb()
        clients = []
        for _ in range(20):
            c = Dialogue(s.at, rcvbuf=4096)
            c.sock.setblocking(False)
            clients.append(c)
        sent = 0
        for _ in range(50):
            for c in clients:
                with contextlib.suppress(BlockingIOError, OSError):
                    sent += c.sock.send(b"VRFY a\r\n" * 1000)
            select.select([], [], [], 0.01)
        assert sent > 100000, sent
        flows(s)
        assert s.memory_kb() - before < 8000, (before, s.memory_kb())
        for c in clients:
            c.sock.close()


def timeouts(d):
    with smtpd(d, "command_timeout = 1s\ndata_timeout = 1s\ntls_timeout = 1s\n") as s:
        c = Dialogue(s.at)
        c.hello()
        c.expect(421)
        equal(c.line(), None)
        c = open_data(s)
        c.send(b"x\r\n")
        c.expect(421)
        c = Dialogue(s.at)
        c.hello()
        c.cmd("STARTTLS", 220)
        with contextlib.suppress(ConnectionResetError):
            equal(c.sock.recv(10), b"")
        s.wait_log("TLS failed: timeout")
        flows(s)


# ---- limits ----

def connection_limits(d):
    with smtpd(d, "max_connections = 4\nmax_connections_per_client = 2\n") as s:
        first, second = Dialogue(s.at), Dialogue(s.at)
        first.expect(220)
        second.expect(220)
        third = Dialogue(s.at)
        third.expect(421)
        equal(third.line(), None)
        others = [Dialogue(s.at, source="127.0.0.%d" % i) for i in (2, 3)]
        for c in others:
            c.expect(220)
        Dialogue(s.at, source="127.0.0.4").expect(421)
        first.cmd("QUIT", 221)
        equal(first.line(), None)
        first.sock.close()
        s.wait_log("ICID 1 close")
        Dialogue(s.at).expect(220)


def limits_of_the_node(d):
    """Several processes, one limit: the supervisor counts clients of all."""
    with smtpd(d, "max_connections = 6\nmax_connections_per_client = 3\n") as s:
        me = "intake:internal/127.0.0.1"
        s.elsewhere = {me: 2, "intake:internal": 2}
        first = Dialogue(s.at)
        first.expect(220)
        Dialogue(s.at).expect(421)
        s.elsewhere["intake:internal"] = 5
        equal(Dialogue(s.at, source="127.0.0.2").expect(421), ["gw1.example.net Too many connections"])
        first.cmd("QUIT", 221)
        first.sock.close()
        with s.event:
            assert s.event.wait_for(lambda: not s.permits, 20 * child.SCALE)
        Dialogue(s.at).expect(220)
        # no answer: the client is not kept for ever, and one that leaves is forgotten
        s.counting = False
        waits = Dialogue(s.at)
        waits.expect(421)


def one_process_counts_itself(d):
    with smtpd(d, "max_connections_per_client = 2\n", workers=1) as s:
        s.counting = False
        clients = [Dialogue(s.at) for _ in range(2)]
        for c in clients:
            c.expect(220)
        Dialogue(s.at).expect(421)


def no_descriptors(d):
    """The system has none left: clients wait, nothing spins, and it goes on afterwards."""
    with smtpd(d) as s:
        keep = [Dialogue(s.at) for _ in range(5)]
        for c in keep:
            c.expect(220)
        have = len(os.listdir("/proc/%d/fd" % s.proc.pid))
        resource.prlimit(s.proc.pid, resource.RLIMIT_NOFILE, (have, 20000))
        waiting = [Dialogue(s.at) for _ in range(20)]
        s.wait_log("accept: Too many open files")
        cpu = s.cpu_s()
        keep[0].cmd("NOOP", 250)
        select.select([], [], [], 1.5)
        assert s.cpu_s() - cpu < 0.5, s.cpu_s() - cpu
        resource.prlimit(s.proc.pid, resource.RLIMIT_NOFILE, (20000, 20000))
        codes = [c.reply()[0] for c in waiting]
        assert set(codes) <= {220, 421} and codes.count(220) >= 15, codes
        flows(s)


def as_many_as_fit(d):
    """More clients than descriptors: the others wait in line until one leaves."""
    with smtpd(d, "max_connections_per_client = 200\n", max_fds=140) as s:
        room = 140 - 64
        clients = [Dialogue(s.at) for _ in range(room)]
        for c in clients:
            c.expect(220)
        s.wait_log("as many as descriptors allow")
        late = Dialogue(s.at)
        assert not select.select([late.sock], [], [], 0.3)[0]
        clients[0].sock.close()
        late.expect(220)


def ten_thousand_idle(d):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(10000, hard // 200 * 200 - 600) if child.MODE == "release" else 400
    with smtpd(d, "max_connections = 20000\nmax_connections_per_client = 20000\ntls = none\n") as s:
        before = s.memory_kb()
        clients = []
        for i in range(n):
            clients.append(socket.create_connection(s.at))
            if i % 200 == 199:
                for c in clients[-200:]:
                    assert c.recv(100).startswith(b"220")
        for c in clients:
            c.sendall(b"EHLO client.example\r\n")
        for c in clients:
            assert c.recv(1000).startswith(b"250")
        grown = s.memory_kb() - before
        print("# %d idle clients: %d KB, %.2f KB each" % (n, grown, grown / n))
        if child.MODE == "release":
            assert grown < 100 * 1024 * n / 10000, grown
        flows(s)
        for c in clients:
            c.close()


def guessing(d):
    """Wrong passwords are bounded for a client, not for a connection; others log in as before."""
    import base64
    with smtpd(d, "relay_from = 10.0.0.0/8\nauth = offered\nauth_file = %s/users\n"
               "max_auth_failures_per_client = 4/60m\n" % d) as s:
        wrong = "AUTH PLAIN " + base64.b64encode(b"\0anna\0wrong").decode()
        right = "AUTH PLAIN " + base64.b64encode(b"\0anna\0sesam").decode()

        def inside(source=None):
            c = Dialogue(s.at, source=source)
            c.hello()
            c.starttls()
            c.cmd("EHLO client.invalid", 250)
            return c
        for _ in range(6):  # what is right does not count
            inside().cmd(right, 235)
        c = inside()
        for code in (535, 535, 421):
            c.cmd(wrong, code)
        c = inside()
        c.cmd(wrong, 535)
        for line in (wrong, right, right):
            c.cmd(line, 454)
        inside().cmd(right, 454)
        s.wait_log(r"authentication of 127.0.0.1 not tried: 4 failures in 60 minutes")
        inside("127.0.0.2").cmd(right, 235)
        assert b'result="limited"' in s.admin(0)


def writable_memory(pid):
    """All bytes that the process could have written."""
    out = []
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            where, rights, _, _, _, *name = line.split()
            if rights[:2] == "rw" and name[:1] not in (["[vvar]"], ["[vsyscall]"]):
                start, end = (int(x, 16) for x in where.split("-"))
                with contextlib.suppress(OSError, ValueError):
                    mem.seek(start)
                    out.append(mem.read(end - start))
    return out


def passwords_do_not_stay(d):
    """However it came, pipelined, in pieces or cut off: no copy of a password is left in memory."""
    if child.MODE in ("asan", "tsan"):
        return  # freed memory is kept on purpose there
    import base64
    with smtpd(d, "relay_from = 10.0.0.0/8\nauth = offered\nauth_file = %s/users\n" % d) as s:
        secret = "Zq8-%s" % os.urandom(12).hex()
        with open(d + "/users", "a") as f:
            f.write("otto:%s\n" % password_hash(secret))
        assert s.reload(settings(d, "relay_from = 10.0.0.0/8\nauth = offered\nauth_file = %s/users\n" % d))
        right = base64.b64encode(b"\0otto\0" + secret.encode())
        wrong = base64.b64encode(b"\0anna\0x")

        def inside():
            c = Dialogue(s.at)
            c.hello()
            c.starttls()
            c.cmd("EHLO client.invalid", 250)
            return c

        def no_copy():
            memory = writable_memory(s.proc.pid)
            assert sum(m.count(b"gw1.example.net") for m in memory) > 0  # this does look
            for what in (right[10:-4], secret.encode()):
                equal((what, sum(m.count(what) for m in memory)), (what, 0))
        c = inside()  # behind another one that is checked, and in the middle of much
        pad = b"NOOP\r\n" * 400
        c.send(b"AUTH PLAIN " + wrong + b"\r\n" + pad + b"AUTH PLAIN " + right + b"\r\n" + pad)
        c.expect(535)
        for code in [250] * 400 + [235] + [250] * 400:
            c.expect(code)
        no_copy()
        p = inside()  # a byte at a time
        for byte in b"AUTH PLAIN " + right:
            p.send(bytes([byte]))
        p.send(b"\r\n").expect(235)
        no_copy()
        cut = inside()  # cut off within the line, and behind one that is checked
        cut.send(b"AUTH PLAIN " + right)
        cut.close()
        cut = inside()
        cut.send(b"AUTH PLAIN " + wrong + b"\r\n" + pad + b"AUTH PLAIN " + right)
        cut.close()
        poll(lambda: len(re.findall(r"ICID \d+ close$", s.log(), re.M)) == 2, 20, "the clients to be gone")
        no_copy()


# ---- the queue ----

def queue_refuses(d):
    with smtpd(d) as s:
        s.queue.state(False, "disk full")
        s.wait_log("does not take new messages: disk full")
        c = Dialogue(s.at)
        c.hello()
        text = c.cmd("MAIL FROM:<%s>" % A, 452)
        assert "4.3.1" in text[0] and "disk full" in text[0], text
        s.queue.state(True)
        s.wait_log("the queue takes new messages")
        flows(s)
        # refused at the end, and in the middle
        s.queue.answer = (1, 452, "4.3.1", "map full")
        c = open_data(s)
        c.send(b"x\r\n.\r\n").expect(452)
        s.queue.answer = (0, 250, "2.0.0", "queued")
        c = open_data(s)
        s.queue.wait(lambda q: len(q.messages) == 3)
        s.queue.done(max(s.queue.messages), (1, 451, "4.3.0", "no"))
        s.wait_log("not taken by the queue: 451 4.3.0 no")
        c.send(b"x\r\n.\r\n").expect(451)
        flows(s)


def slow_queue_slows_clients(d):
    """No credit: clients stop, memory does not grow, nothing is lost; others may look on."""
    with smtpd(d) as s:
        s.queue.chan.give = False
        before = s.memory_kb()
        clients, data = [], bulk(12000000)
        for _ in range(8):
            c = open_data(s)
            c.sock.setblocking(False)
            c.at = 0
            clients.append(c)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for c in clients:
                with contextlib.suppress(BlockingIOError):
                    c.at += c.sock.send(data[c.at:c.at + 65536])
            select.select([], [], [], 0.01)
        # sent without stuffing: each line loses its first dot. What went out is in socket buffers and in one window
        assert all(c.at < len(data) for c in clients)
        assert s.memory_kb() - before < 20000, (before, s.memory_kb())
        Dialogue(s.at).hello()
        s.queue.chan.give = True
        s.queue.chan.credit_back()
        waiting = list(clients)
        while waiting:
            _, ready, _ = select.select([], waiting_socks(waiting), [], 10)
            assert ready, "the clients stand still"
            for c in [c for c in waiting if c.sock in ready]:
                with contextlib.suppress(BlockingIOError):
                    c.at += c.sock.send(data[c.at:c.at + 65536])
                if c.at == len(data):
                    waiting.remove(c)
        for c in clients:
            c.sock.setblocking(True)
            c.send(b".\r\n").expect(250)
        want = data.replace(b"\r\n.", b"\r\n")[1:]
        for m in s.queue.committed():
            assert m.data.endswith(want), len(m.data)
        equal(len(s.queue.committed()), 8)


def aborts_find_no_place(d):
    """The channel is full to the last byte when clients leave: the queue hears of each later."""
    with smtpd(d, "max_recipients = 200000\nmax_connections_per_client = 200\n") as s:
        clients = [open_data(s) for _ in range(60)]
        s.queue.wait(lambda q: len(q.messages) == 60)
        s.queue.chan.stall()
        clients[0].send(bulk(600000))  # the socket takes some of it, and nothing later
        big = Dialogue(s.at)
        big.hello()
        big.cmd("MAIL FROM:<%s>" % A, 250)
        some = ("RCPT TO:<%s@%s.example>\r\n" % ("x" * 60, ".".join(["y" * 60] * 3))).encode() * 500
        for _ in range(90):  # about 450 bytes each
            big.send(some)
            for _ in range(500):
                big.expect(250)
        text = big.cmd("DATA", 451)
        assert "Queue" in text[0], text
        for c in clients:
            c.close()
        poll(lambda: json.loads(s.admin(1))["submissions"] == 0, 20, "the clients to be gone")
        s.queue.chan.stall(False)
        s.queue.wait(lambda q: len(q.messages) == 61 and all(m.aborted for m in q.messages.values()))
        flows(s)


def waiting_socks(clients):
    return [c.sock for c in clients]


def queue_dies(d):
    """Open transactions get 451, new clients wait for the next queue, then mail flows."""
    with smtpd(d) as s:
        s.queue.answer = None
        committed, in_data, in_mail = open_data(s), open_data(s), Dialogue(s.at)
        in_mail.hello()
        in_mail.cmd("MAIL FROM:<%s>" % A, 250)
        committed.send(b"x\r\n.\r\n")
        s.queue.wait(lambda q: len(q.committed()) == 1)
        in_data.send(b"x\r\n")
        s.queue.chan.close()
        text = committed.expect(451)
        assert text[0].startswith("4.3.0 "), text
        in_data.send(b".\r\n").expect(451)
        in_mail.cmd("RCPT TO:<%s>" % B, 250)
        in_mail.cmd("DATA", 451)
        in_mail.cmd("MAIL FROM:<%s>" % A, 451)
        late = Dialogue(s.at)
        assert not select.select([late.sock], [], [], 0.3)[0]
        s.wait_log("in doubt")
        # the next queue: numbers go on where they were, nobody connects anew
        s.queue.answer = (0, 250, "2.0.0", "queued")
        s.new_queue()
        late.hello()
        in_mail.cmd("MAIL FROM:<%s>" % A, 250)
        in_mail.cmd("RCPT TO:<%s>" % B, 250)
        in_mail.cmd("DATA", 354)
        in_mail.send(b"x\r\n.\r\n").expect(250)
        flows(s)


def late_answer(d):
    """The client leaves while the queue works: the answer is still taken and logged."""
    with smtpd(d) as s:
        s.queue.answer = None
        c = open_data(s)
        c.send(b"x\r\n.\r\n")
        s.queue.wait(lambda q: q.committed())
        c.sock.close()
        flows_later = Dialogue(s.at)
        flows_later.hello()
        s.queue.done(1, (0, 250, "2.0.0", "queued"))
        s.wait_log("MID 1 queued for delivery")


def queue_breaks_the_rules(d):
    for what in ["done before commit", "unknown type", "garbage"]:
        with smtpd(os.path.join(d), "") as s:
            c = open_data(s)
            if what == "done before commit":
                s.queue.wait(lambda q: len(q.messages) == 1)
                s.queue.done(1)
            elif what == "unknown type":
                s.queue.chan.send(77)
            else:
                s.queue.chan.send(child.IDS_GRANT, 0, b"x" * 13)
            with s.event:
                assert s.event.wait_for(lambda: s.broken, 20 * child.SCALE), what
            c.send(b"x\r\n.\r\n").expect(451)
            s.new_queue()
            flows(s)


def no_numbers(d):
    """Without numbers nobody is let in; with them, all that waited are."""
    queue = child.Queue(ids=False)
    with smtpd(d, queue=queue) as s:
        c = Dialogue(s.at)
        assert not select.select([c.sock], [], [], 0.3)[0]
        queue.grant(child.MID, 1)
        queue.grant(child.ICID, 10)
        c.hello()
        c.cmd("MAIL FROM:<%s>" % A, 250)
        other = Dialogue(s.at)
        other.hello()
        other.send("MAIL FROM:<%s>" % A)
        assert not select.select([other.sock], [], [], 0.3)[0]
        queue.grant(child.MID, 10)
        other.expect(250)


# ---- the supervisor ----

def reload(d):
    with smtpd(d, "max_recipients = 1\n") as s:
        old = Dialogue(s.at)
        old.hello()
        equal(s.reload(settings(d, "max_recipients = 2\nbanner = ESMTP new\n")), True)
        new = Dialogue(s.at)
        equal(new.expect(220), ["gw1.example.net ESMTP new"])
        new.cmd("EHLO x", 250)
        for c, n in [(old, 1), (new, 2)]:
            c.cmd("MAIL FROM:<%s>" % A, 250)
            for _ in range(n):
                c.cmd("RCPT TO:<%s>" % B, 250)
            c.cmd("RCPT TO:<%s>" % B, 452)
        # a key that does not fit: the old set stays
        good = open(keys(d).cert.key).read()
        with open(keys(d).cert.key, "w") as f:
            f.write(open(keys(d).ca.issue("x.example").key).read())
        equal(s.reload(settings(d, "banner = broken\n")), False)
        with open(keys(d).cert.key, "w") as f:
            f.write(good)
        equal(Dialogue(s.at).expect(220), ["gw1.example.net ESMTP new"])
        s.wait_log("certificate default: key does not belong to the certificate")


def drain(d):
    with smtpd(d) as s:
        idle, busy = Dialogue(s.at), open_data(s)
        idle.hello()
        s.drain(20000)
        idle.expect(421)
        equal(idle.line(), None)
        busy.send(b"x\r\n.\r\n").expect(250)
        busy.expect(421)
        busy.sock.close()
        idle.sock.close()
        equal(s.proc.wait(20), 0)
        equal(len(s.queue.committed()), 1)


def drain_deadline(d):
    with smtpd(d) as s:
        busy = open_data(s)
        s.drain(2000)
        busy.expect(421)
        busy.sock.close()
        equal(s.proc.wait(20), 0)
        assert s.queue.messages[1].aborted


def supervisor_dies(d):
    with smtpd(d) as s:
        c = Dialogue(s.at)
        c.hello()
        s.ctl.close()
        c.expect(421)
        c.sock.close()
        equal(s.proc.wait(20), 72)
        s.proc.returncode = 0


def admin(d):
    with smtpd(d) as s:
        flows(s)
        c = Dialogue(s.at)
        c.hello()
        doc = json.loads(s.admin(1))
        equal((doc["messages"], doc["connections"], doc["queue_up"]), (1, 1, True))
        metrics = s.admin(0)
        assert b"postern_smtpd_connections_total" in metrics


child.run([every_way_in, client_certificate, half_closed_client, pipelining_many, slow_bytes_over_tls,
           behind_starttls, smuggling, garbage, reads_nothing, timeouts, connection_limits, limits_of_the_node,
           one_process_counts_itself, no_descriptors,
           as_many_as_fit, guessing, passwords_do_not_stay, ten_thousand_idle, queue_refuses, slow_queue_slows_clients,
           aborts_find_no_place, queue_dies, late_answer, queue_breaks_the_rules, no_numbers, reload, drain, drain_deadline, supervisor_dies, admin], "smtpd")
