"""instruments.py - source and sink (source.c, sink.c) as Python sees them.

Used by the bench, the crash test, the soak and the measurements of bounds.
"""
import json
import os
import select
import signal
import subprocess
import time

from tests.bench import measure
from tests.world.base import MODE, ROOT, WorldError

BUILD = os.path.join(ROOT, "build", MODE)


def program(name):
    path = os.path.join(BUILD, "bench", name)
    if not os.access(path, os.X_OK):
        raise WorldError("%s is not built: make bench, crash, soak and bounds build it" % path)
    return path


class Sink:
    """The sink program, and its words on stdout."""

    def __init__(self, world, cert=None, more=(), address=None):
        self.address = (address or world.block.host(), world.port)
        args = [program("sink"), "-l", "%s:%d" % self.address, "--control", *more]
        if cert:
            args += ["--cert", cert.chain, "--key", cert.key]
        self.popen = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.line = b""
        self.read(10)  # ready

    def read(self, timeout):
        """The next line, or None when it does not come."""
        end = time.monotonic() + timeout
        while b"\n" not in self.line:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.popen.stdout], [], [], left)[0]:
                return None
            got = os.read(self.popen.stdout.fileno(), 1 << 20)
            if not got:
                raise WorldError("the sink ended")
            self.line += got
        line, self.line = self.line.split(b"\n", 1)
        return line.decode()

    def tell(self, text, timeout=10):
        self.popen.stdin.write(text.encode() + b"\n")
        self.popen.stdin.flush()
        return self.read(timeout)

    def start(self, n):
        if self.tell("start %d" % n) != "started":
            raise WorldError("the sink does not listen to its commands")

    def wait(self, n, timeout):
        """Its report when n messages are in, or a later one without them."""
        line = self.read(timeout)
        if line is None:
            line = self.tell("report")
        return json.loads(line)

    def report(self):
        return json.loads(self.tell("report", 60))

    def cpu(self):
        st = measure.stat_of(self.popen.pid)
        return st[2] + st[3] if st else 0

    def close(self):
        self.popen.stdin.close()
        self.popen.wait()


class Source:
    """The load generator, running."""

    def __init__(self, address, n, *args):
        words = [program("source"), "-t", "%s:%d" % tuple(address), "-n", str(n), *map(str, args)]
        self.popen = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def running(self):
        return self.popen.poll() is None

    def wait(self, timeout):
        """Its report."""
        try:
            out, err = self.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.close()
            raise WorldError("the source did not end within %d s" % timeout)
        try:
            return json.loads(out)
        except ValueError:
            raise WorldError("source: exit %d: %s" % (self.popen.returncode, err.decode()[-500:]))

    def stop(self, timeout=60):
        """No new messages; its report when those begun are accepted."""
        if self.running():
            self.popen.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def close(self):
        if self.running():
            self.popen.kill()
        self.popen.wait()


def disk_directory():
    """A directory on a real disk: a sync in memory would flatter everybody."""
    for d in (os.environ.get("TMPDIR"), "/tmp", "/var/tmp", BUILD):
        if d and os.path.isdir(d) and measure.file_system(os.path.realpath(d)) not in (
                "tmpfs", "ramfs"):
            return d
    return None
