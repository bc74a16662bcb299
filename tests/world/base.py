"""base.py - what every part of the test internet needs: waiting, child processes, free addresses.

Used by the other modules of this folder. Never sleeps for a fixed time: what takes time is waited
for, with a deadline and with a sentence that says what did not come.
"""
import contextlib
import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODE = os.environ.get("MODE", "release")


class WorldError(Exception):
    """Something of the world did not work; the text is for a person."""


class Timeout(WorldError):
    """What was waited for did not come."""


class Skip(Exception):
    """This part cannot run here; the text says why."""


def scale():
    """Sanitizer builds are slower: deadlines grow with this."""
    return {"asan": 3.0, "tsan": 5.0, "cov": 2.0}.get(MODE, 1.0)


class Signal:
    """One condition for a whole world: whoever records something calls changed()."""

    def __init__(self):
        self.cond = threading.Condition()

    def __enter__(self):
        self.cond.acquire()
        return self

    def __exit__(self, *exc):
        self.cond.release()

    def changed(self):
        with self.cond:
            self.cond.notify_all()

    def wait(self, predicate, timeout=10.0, what="the expected event"):
        """Wait until predicate() is true and return its value. It runs with the lock held."""
        end = time.monotonic() + timeout * scale()
        with self.cond:
            while True:
                value = predicate()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    text = what() if callable(what) else what
                    raise Timeout("waited %.1f s for %s" % (timeout * scale(), text))
                self.cond.wait(left)


def poll(predicate, timeout=10.0, what="the expected state", step=0.02):
    """For things that cannot notify us (files, other processes). Returns predicate()'s value."""
    end = time.monotonic() + timeout * scale()
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            text = what() if callable(what) else what
            raise Timeout("waited %.1f s for %s" % (timeout * scale(), text))
        time.sleep(step)


def find_program(name):
    """Daemons live in sbin, which the PATH of an ordinary user lacks."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise WorldError("program %s is missing: make deps installs it" % name)
    return found


def run(args, **kw):
    """Run to the end; on failure the error carries what the program said."""
    done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=kw.pop("timeout", 60), **kw)
    if done.returncode != 0:
        raise WorldError("%s: exit %d: %s" % (" ".join(map(str, args)), done.returncode,
                                              done.stdout.decode("utf-8", "replace").strip()))
    return done.stdout


class Proc:
    """A daemon in the foreground, its output in a file. It dies with us, also when we are killed."""

    def __init__(self, name, args, log_path, err_path=None, cwd=None, env=None, new_session=False,
                 setpriv=()):
        self.name = name
        self.log_path = log_path
        log = open(log_path, "ab", buffering=0)
        err = open(err_path, "ab", buffering=0) if err_path else log
        # --pdeathsig makes the kernel end it when this process is gone
        wrap = [find_program("setpriv"), "--pdeathsig", "TERM", *setpriv]
        try:
            self.popen = subprocess.Popen(wrap + list(args), stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=err, cwd=cwd, env=env,
                                          start_new_session=new_session)
        finally:
            log.close()
            err.close()
        self.pid = self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def log_text(self):
        with open(self.log_path, "r", encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_tail(self, lines=20):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def check(self):
        if not self.running():
            raise WorldError("%s ended with status %s:\n%s" % (self.name, self.popen.returncode,
                                                               self.log_tail()))

    def wait_for(self, predicate, timeout, what):
        def step():
            self.check()
            return predicate()
        return poll(step, timeout, lambda: "%s: %s; its log ends:\n%s" % (self.name, what,
                                                                          self.log_tail()))

    def send(self, sig):
        if self.running():
            self.popen.send_signal(sig)

    def stop(self, sig=signal.SIGTERM, timeout=10.0):
        """Ask it to end, then insist. Returns its exit status."""
        if self.running():
            self.popen.send_signal(sig)
            try:
                self.popen.wait(timeout * scale())
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode


JANITOR = """trap "" INT TERM HUP
cat >/dev/null
for f in "$1"/guard/*; do
    pid=${f##*/}
    grep -qF -- "$1" "/proc/$pid/cmdline" && kill -TERM "$pid"
done
n=0
while ! rm -rf "$1" && [ $n -lt 50 ]; do n=$((n+1)); sleep 0.1; done
"""


class TempDir:
    """A directory that goes away with us, also when we are killed.

    A shell waits on a pipe that only we hold open: when it closes, however we ended, the shell
    removes the directory. Kept when KEEP_WORLD is set, for looking into.
    """

    def __init__(self, prefix="postern-world-"):
        self.path = tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("TMPDIR"))
        os.chmod(self.path, 0o755)  # children under other users must be able to pass
        self.keep = bool(os.environ.get("KEEP_WORLD"))
        self.janitor = None
        if not self.keep:
            self.janitor = subprocess.Popen(
                ["/bin/sh", "-c", JANITOR, "janitor", self.path],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True)

    def guard(self, pid):
        """End this process too when we are killed: for those that shed --pdeathsig by changing
        their user. Only a process that still has our directory in its command line is meant."""
        open(os.path.join(self.sub("guard"), str(pid)), "w").close()

    def sub(self, name, mode=0o755):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return path

    def close(self):
        if self.janitor is None:
            return
        with contextlib.suppress(OSError):
            self.janitor.stdin.close()
        self.janitor.wait()
        self.janitor = None


def _bind(kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, kind)
    try:
        s.bind((address, port))
    except OSError:
        s.close()
        raise
    return s


class Block:
    """127.N.0.0/16 for one world, so that several worlds can run on one machine.

    A socket bound to 127.N.0.1 is the lock. `port` is free on all of it: every MX host of the
    world listens there, because a gateway has one setting for the port it delivers to.
    """

    def __init__(self):
        numbers = list(range(16, 250))
        random.shuffle(numbers)
        for n in numbers:
            for _ in range(4):
                port = random.randrange(20000, 32000)
                try:
                    # someone on the wildcard address would be in the way of every host
                    _bind(socket.SOCK_STREAM, "0.0.0.0", port).close()
                    _bind(socket.SOCK_DGRAM, "0.0.0.0", port).close()
                    with contextlib.suppress(OSError):  # no IPv6 here: fine
                        _bind(socket.SOCK_STREAM, "::1", port).close()
                    self.lock = _bind(socket.SOCK_STREAM, "127.%d.0.1" % n, 19999)
                except OSError as e:
                    if e.errno not in (errno.EADDRINUSE, errno.EACCES):
                        raise
                    continue
                self.n = n
                self.port = port
                self.next_host = 0
                return
        raise WorldError("no free block of loopback addresses")

    def address(self, third, fourth):
        return "127.%d.%d.%d" % (self.n, third, fourth)

    def host(self):
        """The next unused address for an MX host."""
        k = self.next_host
        self.next_host += 1
        if k >= 200 * 250:
            raise WorldError("too many hosts in one world")
        return self.address(1 + k // 250, 1 + k % 250)

    def free_port(self, address):
        """A TCP port that is free on the address now; below the ephemeral range."""
        for _ in range(200):
            port = random.randrange(20000, 32000)
            try:
                _bind(socket.SOCK_STREAM, address, port).close()
                return port
            except OSError:
                continue
        raise WorldError("no free port on %s" % address)

    def close(self):
        self.lock.close()
