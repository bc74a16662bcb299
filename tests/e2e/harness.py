"""harness.py - runs the end-to-end tests of one file.

A file defines functions with @test and ends in main(). One world serves the file. A test takes the
world, or the world and the node that setup() returned. It fails by any exception; then the node's
log is shown. Output: `ok NAME`, `not ok NAME - reason`, `skip NAME - reason`, and `# ` lines.
explain must agree with each delivery that a test waits for (agree.py).
After each test: no receiver may have seen a client break the standard, unless the test says
world.allow(), and nodes that the test started must end with status 0 and without a word of a
sanitizer.

Arguments of a file: names of tests to run (parts of names do).
"""
import os
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import agree  # noqa: E402
from tests.world import Skip, World  # noqa: E402
from tests.world.base import find_program, scale  # noqa: E402

_tests = []


class Slow(Exception):
    """A test over its time."""


def test(fn=None, timeout=40):
    """Mark a test. timeout in seconds."""
    if fn is None:
        return lambda f: test(f, timeout)
    _tests.append((fn.__name__.rstrip("_"), fn, timeout))
    return fn


def equal(found, wanted, what=""):
    if found != wanted:
        raise AssertionError("%s: found %r, wanted %r" % (what or "value", found, wanted))


def contains(text, part, what=""):
    if part not in text:
        raise AssertionError("%s: %r is not in %r" % (what or "text", part, text[:2000]))


def raises(kind, fn, *args, **kw):
    """The exception that fn(*args) must raise."""
    try:
        value = fn(*args, **kw)
    except kind as e:
        return e
    raise AssertionError("no %s; got %r" % (getattr(kind, "__name__", kind), value))


def limit_child(pid, soft, what="nofile"):
    """Set a soft limit (None: back to the hard one) of a node's child, as its own user: another one may not."""
    with open("/proc/%d/status" % pid) as f:
        uid, gid = (next(line.split()[1] for line in f if line.startswith(k)) for k in ("Uid:", "Gid:"))
    wrap = [find_program("setpriv"), "--reuid", uid, "--regid", gid, "--clear-groups"] if os.geteuid() == 0 else []
    row = {"nofile": "Max open files", "as": "Max address space"}[what]
    with open("/proc/%d/limits" % pid) as f:
        hard = next(line for line in f if line.startswith(row))[len(row):].split()[1]
    subprocess.run([*wrap, find_program("prlimit"), "--pid", str(pid), "--%s=%s:%s" % (what, soft or hard, hard)],
                   check=True)


def _alarm(signum, frame):
    raise Slow("over its time")


def say(text):
    print(text, flush=True)


def one_line(e):
    return " ".join(("%s: %s" % (type(e).__name__, e)).splitlines()[0:2])[:400]


class TestWorld(World):
    """A world that knows what the running test allows."""

    def __init__(self):
        super().__init__()
        self.allowed = False
        self.changes = False
        self.agreed = 0

    def postern(self, *args, **kw):
        """A node whose deliveries are held against explain (agree.py)."""
        return agree.watch(self, super().postern(*args, **kw))

    def changing(self):
        """The running test changes DNS, settings or processes behind a delivery: explain would speak of another world."""
        self.changes = True

    def allow(self):
        """The running test makes clients break the standard on purpose."""
        self.allowed = True


def _finish(world, shared):
    """After a test: stop its nodes, look for what nobody asked for, close its hosts."""
    problem = None
    for node in [n for n in world.nodes if n is not shared]:
        try:
            if node.proc is not None:
                node.stop()
            node.check_sanitizer()
        except Exception as e:
            problem = problem or e
            show(node)
        node.close()
        world.nodes.remove(node)
    if shared is not None and shared.proc is not None and not shared.proc.running():
        problem = problem or AssertionError("the shared node ended")
    faults = world.faults()
    if faults and not world.allowed:
        problem = problem or AssertionError("unasked: " + "; ".join(faults[:3]))
    for rx in world.receivers:
        rx.errors = []
        with world.signal:
            for conn in rx.conns:
                conn.violations = []
    world.allowed = world.changes = False
    return problem


def show(node):
    for line in node.tail(60).splitlines():
        say("# " + line[:400])


def main(setup=None):
    """Run the file's tests and exit: 0 when all passed."""
    wanted = sys.argv[1:]
    todo = [t for t in _tests if not wanted or any(w in t[0] for w in wanted)]
    signal.signal(signal.SIGALRM, _alarm)
    stem = os.path.splitext(os.path.basename(sys.argv[0]))[0].replace("test_", "", 1)
    failed = 0
    world = shared = None
    start = time.monotonic()
    try:
        try:
            signal.alarm(int(60 * scale()))
            world = TestWorld()
            if setup is not None:
                shared = setup(world)
            signal.alarm(0)
        except Skip as e:
            say("skip %s - %s" % (stem, e))
            return
        except Exception as e:
            traceback.print_exc()
            say("not ok %s.setup - %s" % (stem, one_line(e)))
            for node in world.nodes if world else []:
                show(node)
            sys.exit(1)
        for name, fn, timeout in todo:
            name = stem + "." + name
            t0 = time.monotonic()
            try:
                signal.alarm(max(1, int(timeout * scale())))
                if setup is not None:
                    fn(world, shared)
                else:
                    fn(world)
                problem = None
            except Skip as e:
                signal.alarm(0)
                _finish(world, shared)
                say("skip %s - %s" % (name, e))
                continue
            except (Exception, Slow) as e:
                problem = e
                signal.alarm(0)
                for line in traceback.format_exc().splitlines():
                    say("# " + line)
                for node in world.nodes:
                    show(node)
            signal.alarm(int(60 * scale()))
            try:
                late = _finish(world, shared)
            except Slow as e:
                late = e
            signal.alarm(0)
            problem = problem or late
            if problem is None:
                say("ok %s (%.1f s)" % (name, time.monotonic() - t0))
            else:
                failed += 1
                say("not ok %s - %s" % (name, one_line(problem)))
        if shared is not None and shared in world.nodes:
            name = stem + ".node_ends_well"
            try:
                signal.alarm(int(60 * scale()))
                shared.stop()
                say("ok " + name)
            except Exception as e:
                failed += 1
                show(shared)
                say("not ok %s - %s" % (name, one_line(e)))
            signal.alarm(0)
    finally:
        signal.alarm(0)
        if world is not None:
            world.close()
    say("# %s: %d test(s), %d failed, %.1f s; explain agreed %d time(s)" % (
        stem, len(todo), failed, time.monotonic() - start, world.agreed if world else 0))
    sys.exit(1 if failed else 0)
