"""child.py - play the supervisor and the peers of one Postern process.

For tests of a single process against peers that no healthy node has: a queue that stalls, refuses,
dies or breaks the rules. Speaks lib/ipc/chan.h and the messages of lib/proto.
"""
import collections
import ctypes
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODE = os.environ.get("MODE", "release")
SCALE = 4 if MODE in ("asan", "tsan") else 1

HELLO, CREDIT_BACK = 1, 2
CTL_CONFIG, CTL_LISTENER, CTL_DIR, CTL_PEER, CTL_START, CTL_DRAIN = range(16, 22)
CTL_PERMIT_GRANT, CTL_PERMIT_WAIT, CTL_LOG, CTL_READY = range(22, 26)
CTL_CONFIG_DONE, CTL_BROKEN, CTL_PERMIT_ASK, CTL_PERMIT_FREE, CTL_LOG_GONE = range(26, 31)
SUBMIT_BEGIN, SUBMIT_RCPT, SUBMIT_DATA, SUBMIT_COMMIT, SUBMIT_ABORT, IDS_ASK = range(16, 22)
SUBMIT_DONE, IDS_GRANT, QUEUE_STATE = range(22, 25)
ADM_CALL, ADM_DATA, ADM_END = range(96, 99)
SUPERVISOR, SMTPD, QUEUE, RESOLVER, DELIVER, ADMIN = range(6)
MID, ICID, DCID = range(3)
WINDOW = 1024 * 1024
CREDIT = 1


def text(s):
    b = s.encode() if isinstance(s, str) else s
    return struct.pack(">H", len(b)) + b + b"\0"


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def num(self, fmt):
        size = struct.calcsize(">" + fmt)
        value, = struct.unpack_from(">" + fmt, self.data, self.at)
        self.at += size
        return value

    def text(self):
        n = self.num("H")
        value = self.data[self.at:self.at + n]
        self.at += n + 1
        return value.decode("utf-8", "replace")


class Channel:
    """One end of a channel. on_frame(type, req_id, payload) runs in a thread of its own."""

    def __init__(self, sock, on_frame, credit=True):
        self.sock, self.on_frame, self.give = sock, on_frame, credit
        self.lock = threading.Lock()
        self.closed = threading.Event()
        self.owed = 0
        self.paused = threading.Event()
        self.paused.set()
        self.send(HELLO, 0, struct.pack(">II", 1, WINDOW))
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, kind, req_id=0, payload=b"", fd=None, flags=0):
        frame = struct.pack(">IHBBQ", len(payload), kind, 0 if fd is None else 1, flags, req_id) + payload
        with self.lock:
            try:
                if fd is None:
                    self.sock.sendall(frame)
                else:
                    sent = socket.send_fds(self.sock, [frame], [fd])
                    self.sock.sendall(frame[sent:])
            except OSError:
                self.closed.set()

    def stall(self, on=True):
        """Read nothing any more, or go on."""
        if on:
            self.paused.clear()
        else:
            self.paused.set()

    def credit_back(self):
        n, self.owed = self.owed, 0
        if n:
            self.send(CREDIT_BACK, 0, struct.pack(">I", n))

    def _run(self):
        buf = b""
        try:
            while True:
                self.paused.wait()
                got = self.sock.recv(262144)
                if not got:
                    break
                buf += got
                while len(buf) >= 16:
                    n, kind, nfds, flags, req_id = struct.unpack(">IHBBQ", buf[:16])
                    if len(buf) < 16 + n:
                        break
                    payload, buf = buf[16:16 + n], buf[16 + n:]
                    if flags & CREDIT:
                        self.owed += n
                        if self.give and self.owed > WINDOW // 4:
                            self.credit_back()
                    if kind > CREDIT_BACK:
                        self.on_frame(kind, req_id, payload)
        except OSError:
            pass
        self.closed.set()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class Message:
    def __init__(self):
        self.sender, self.rcpts, self.data, self.flags = None, [], bytearray(), None
        self.committed = self.aborted = False


class Queue:
    """A queue that takes everything, unless told otherwise."""

    def __init__(self, ids=True):
        self.chan = None
        self.messages = {}
        self.next_id = [1, 1, 1]
        self.ids = ids
        self.answer = (0, 250, "2.0.0", "queued")  # None: no answer
        self.changed = threading.Condition()
        self.keep = True  # the bytes of messages

    def attach(self, sock, credit=True):
        self.chan = Channel(sock, self.on_frame, credit)

    def state(self, accepting, why=""):
        self.chan.send(QUEUE_STATE, 0, struct.pack(">B", accepting) + text(why))

    def grant(self, kind, count):
        first = self.next_id[kind]
        self.next_id[kind] += count
        self.chan.send(IDS_GRANT, 0, struct.pack(">BQI", kind, first, count))

    def done(self, mid, answer=None):
        result, code, enhanced, words = answer or self.answer
        self.chan.send(SUBMIT_DONE, mid, struct.pack(">BH", result, code) + text(enhanced) + text(words))

    def on_frame(self, kind, req_id, payload):
        c = Cursor(payload)
        with self.changed:
            m = self.messages.get(req_id)
            if kind == IDS_ASK:
                which, count = c.num("B"), c.num("I")
                if self.ids:
                    self.grant(which, count)
            elif kind == SUBMIT_BEGIN:
                m = self.messages[req_id] = Message()
                m.icid, m.listener, m.gateway = c.num("Q"), c.text(), c.text()
                m.sender = c.text()
            elif kind == SUBMIT_RCPT:
                c.num("I")
                m.rcpts.append(c.text())
            elif kind == SUBMIT_DATA:
                if self.keep:
                    m.data += payload
            elif kind == SUBMIT_COMMIT:
                m.size, m.flags = c.num("Q"), c.num("I")
                m.committed = True
                if self.answer is not None:
                    self.done(req_id)
            elif kind == SUBMIT_ABORT:
                m.aborted = True
            self.changed.notify_all()

    def wait(self, true, seconds=20):
        with self.changed:
            if not self.changed.wait_for(lambda: true(self), seconds * SCALE):
                raise AssertionError("the queue waited in vain")

    def committed(self):
        return [m for m in self.messages.values() if m.committed]


def memfd(data):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.memfd_create(b"settings", 3)  # CLOEXEC, ALLOW_SEALING
    os.write(fd, data)
    fcntl.fcntl(fd, 1033, 0x2 | 0x4 | 0x8)  # F_ADD_SEALS: shrink, grow, write
    return fd


class Smtpd:
    """One intake process under this supervisor. settings: text of postern.conf."""

    def __init__(self, directory, settings, max_fds=0, queue=None, addresses=None):
        self.dir = directory
        self.log_path = os.path.join(directory, "smtpd.log")
        self.queue = queue or Queue()
        self.ready, self.generation = threading.Event(), 1
        self.config_done, self.broken = {}, []
        self.permits, self.next_permit, self.counting = {}, 1, True
        self.counts = collections.Counter()
        self.elsewhere = {}  # clients that other intake processes have, by key
        self.event = threading.Condition()
        ctl, theirs = socket.socketpair()
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(
                [os.path.join(ROOT, "build", MODE, "postern-smtpd"), "0"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, close_fds=False, preexec_fn=lambda: os.dup2(theirs.fileno(), 3))
        theirs.close()
        self.ctl = Channel(ctl, self.on_ctl)
        self.give_settings(settings)
        self.address = {}
        for name in re.findall(r"^\[listener (\S+)\]", settings, re.M):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", 0))
            sock.listen(4096)
            sock.setblocking(False)
            self.address[name] = sock.getsockname()
            self.ctl.send(CTL_LISTENER, 0, text("smtp") + text(name) + text("%s:%d" % sock.getsockname()),
                          fd=sock.fileno())
            sock.close()
        if self.queue:
            self.new_queue()
        self.ctl.send(CTL_START, 0, struct.pack(">II", 0, 0) + text("") + struct.pack(">I", max_fds))
        if not self.ready.wait(20 * SCALE):
            raise AssertionError("smtpd did not become ready:\n" + self.log())

    def give_settings(self, settings):
        with open(os.path.join(self.dir, "postern.conf"), "w") as f:
            f.write(settings)
        blob = subprocess.run([os.path.join(ROOT, "build", MODE, "confblob"), self.dir], check=True,
                              stdout=subprocess.PIPE).stdout
        fd = memfd(blob)
        self.ctl.send(CTL_CONFIG, 0, struct.pack(">Q", self.generation), fd=fd)
        os.close(fd)

    def reload(self, settings):
        self.generation += 1
        self.give_settings(settings)
        with self.event:
            self.event.wait_for(lambda: self.generation in self.config_done, 20 * SCALE)
        return self.config_done.get(self.generation)

    def new_queue(self, credit=True):
        ours, theirs = socket.socketpair()
        self.queue.attach(ours, credit)
        self.queue.state(True)
        self.peer(QUEUE, theirs)

    def peer(self, role, theirs):
        self.ctl.send(CTL_PEER, 0, struct.pack(">BI", role, 0), fd=theirs.fileno())
        theirs.close()

    def admin(self, op, seconds=20):
        """One ADM_CALL; the whole document as bytes."""
        ours, theirs = socket.socketpair()
        got, end = [], threading.Event()

        def on_frame(kind, req_id, payload):
            if kind == ADM_DATA:
                got.append(payload)
            else:
                end.set()
        chan = Channel(ours, on_frame)
        self.peer(ADMIN, theirs)
        chan.send(ADM_CALL, 1, struct.pack(">BQ", op, 0) + text("") * 4)
        if not end.wait(seconds * SCALE):
            raise AssertionError("no answer to admin")
        chan.close()
        return b"".join(got)

    def on_ctl(self, kind, req_id, payload):
        c = Cursor(payload)
        if kind == CTL_READY:
            self.ready.set()
        elif kind == CTL_CONFIG_DONE:
            with self.event:
                generation, ok = c.num("Q"), c.num("B")
                self.config_done[generation] = bool(ok)
                self.event.notify_all()
        elif kind == CTL_PERMIT_ASK and self.counting:
            with self.event:
                self.count(req_id, [(c.text(), c.num("I")) for _ in range(c.num("B"))])
        elif kind == CTL_PERMIT_FREE:
            with self.event:
                self.counts.subtract(self.permits.pop(c.num("Q"), []))
                self.event.notify_all()
        elif kind == CTL_BROKEN:
            with self.event:
                self.broken.append(payload)
                self.event.notify_all()

    def count(self, req_id, keys):
        for i, (key, limit) in enumerate(keys):
            if self.counts[key] + self.elsewhere.get(key, 0) >= limit:
                self.ctl.send(CTL_PERMIT_WAIT, req_id, struct.pack(">II", i, 0))
                return
        self.permits[self.next_permit] = [k for k, _ in keys]
        self.counts.update(self.permits[self.next_permit])
        self.ctl.send(CTL_PERMIT_GRANT, req_id, struct.pack(">Q", self.next_permit))
        self.next_permit += 1

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_log(self, pattern, seconds=20):
        until = time.monotonic() + seconds * SCALE
        while not re.search(pattern, self.log()):
            if time.monotonic() > until:
                raise AssertionError("not in the log: %s\n%s" % (pattern, self.log()[-3000:]))
            select.select([], [], [], 0.02)

    def memory_kb(self):
        with open("/proc/%d/status" % self.proc.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def cpu_s(self):
        with open("/proc/%d/stat" % self.proc.pid) as f:
            parts = f.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def drain(self, deadline_ms=5000):
        self.ctl.send(CTL_DRAIN, 0, struct.pack(">I", deadline_ms))

    def stop(self):
        """Drain; the exit code must be 0 and no sanitizer may have spoken."""
        if self.proc.poll() is None:
            self.drain(2000)
        code = self.proc.wait(30 * SCALE)
        self.ctl.close()
        if code != 0 or re.search("Sanitizer|runtime error", self.log()):
            raise AssertionError("exit code %d\n%s" % (code, self.log()[-4000:]))

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.ctl.close()


def run(tests, stem):
    """`ok STEM.NAME` or `not ok STEM.NAME - why` for each; arguments choose by name."""
    import signal
    import sys
    import tempfile
    import traceback
    wanted, failed = sys.argv[1:], 0

    def late(signum, frame):
        raise AssertionError("over its time")
    signal.signal(signal.SIGALRM, late)
    for fn in tests:
        name = "%s.%s" % (stem, fn.__name__)
        if wanted and not any(w in name for w in wanted):
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            signal.alarm(60 * SCALE)
            try:
                fn(directory)
                print("ok %s (%.1f s)" % (name, time.monotonic() - start), flush=True)
            except Exception as e:
                failed += 1
                for line in traceback.format_exc().splitlines():
                    print("# " + line)
                print("not ok %s - %s" % (name, str(e).split("\n")[0][:300]), flush=True)
            signal.alarm(0)
    sys.exit(1 if failed else 0)
