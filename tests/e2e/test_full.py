"""Disk full, map full, descriptors exhausted: 4xx to clients, an alert in log and status, recovery without a restart when
the cause is gone, and nothing lost.

The disk is a small tmpfs in a mount namespace of the node's own: a real file system that is really full, though not a
block device. Map and descriptors are taken away from the running queue by prlimit.
"""
import os
import resource
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.e2e.harness import Skip, contains, equal, limit_child, main, test  # noqa: E402
from tests.world import Refused, bulk  # noqa: E402
from tests.world.base import poll  # noqa: E402

A, MIB = "a@sender.test", 1 << 20
SMALL, LARGE = 12000, 100000


def setup(world):
    world.there = world.mx("mx1.there.test")
    world.zone("there.test").mx(10, world.there)


def on_small_disk(world, name, size, queue):
    """A node whose state directory is a tmpfs of `size`, and the path of it as seen from here."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        raise Skip("needs root and mount namespaces: a small disk of its own")
    node = world.postern({"queue": queue}, name=name)
    state = node.settings["postern"]["state_dir"]
    os.makedirs(state, exist_ok=True)
    node.wrap = ["unshare", "-m", "sh", "-c",
                 'mount -t tmpfs -o mode=755,size=%s none "$0" && exec "$@"' % size, state]
    node.start()
    return node, "/proc/%d/root%s" % (node.proc.pid, state)


class Sent:
    """What was accepted: recipient -> MID. Every address is used once."""

    def __init__(self, node, stem):
        self.node, self.stem, self.n, self.mids, self.refused = node, stem, 0, {}, []
        self.client = None

    def one(self, domain="there.test", size=SMALL):
        """The MID, or None when it was refused for now."""
        self.n += 1
        to = "%s%d@%s" % (self.stem, self.n, domain)
        if self.client is None:
            self.client = self.node.client()
        try:
            self.mids[to] = self.client.send(A, to, subject=to, body=bulk(size))
        except Refused as e:
            equal(e.code // 100, 4, "class of %s" % e)
            self.refused.append(str(e))
            self.client.close()
            self.client = None
            return None
        return self.mids[to]

    def until_refused(self, most, **kw):
        for _ in range(most):
            if self.one(**kw) is None:
                return self.refused[-1]
        raise AssertionError("%d messages and none refused" % most)


def alerts(node):
    doc = node.ctl("status", want=None)
    return " ".join(a["text"] for a in doc["alerts"])


def has_alert(node, words, log):
    node.wait_log(log)
    poll(lambda: words in alerts(node), 30, lambda: "the alert %r; it is %r" % (words, alerts(node)))
    equal(node.ctl("status", want=1)["status"], "degraded")
    contains(node.ctl("status", want=1, raw=True), "ALERT queue: ")


def recovers(node, sent, **kw):
    """Without a restart, and without anybody's doing but the cause's going."""
    pids = node.pids("queue")
    poll(lambda: sent.one(**kw) is not None, 60, "mail to be taken again", step=0.3)
    poll(lambda: alerts(node) == "", 60, lambda: "no alert; it is %r" % alerts(node))
    equal(node.pids("queue"), pids, "the queue process")


def all_came(world, sent):
    """Each accepted recipient came to the receiver exactly once."""
    if sent.client is not None:
        sent.client.close()
    want = sorted(to for to in sent.mids if to.endswith("@there.test"))
    sent.node.wait_empty(120)
    got = sorted(r for m in world.there.messages for r in m.rcpts if r.startswith(sent.stem))
    equal(got, want, "what came")


def fill(path):
    """Take all that is left of the disk; returns the file to delete."""
    fd = os.open(path + "/ballast", os.O_WRONLY | os.O_CREAT, 0o600)
    block = MIB
    while block > 0:
        try:
            if os.write(fd, b"x" * block) < block:
                block //= 2
        except OSError:
            block //= 2
    os.close(fd)
    return path + "/ballast"


@test(timeout=150)
def low_disk(world, _):
    """Less than min_free_space: refused before anything fails, results still have room."""
    node, state = on_small_disk(world, "low", "120m", {"min_free_space": "16m"})
    sent = Sent(node, "low")
    sent.one()
    node.ctl("suspenddel", "there.test")
    sent.one()
    ballast = state + "/ballast"
    with open(ballast, "wb") as f:
        free = os.statvfs(state)
        f.write(b"x" * (free.f_bavail * free.f_frsize - 8 * MIB))
    poll(lambda: sent.one() is None, 30, "a refusal", step=0.1)
    contains(sent.refused[-1], "4.3.1")
    has_alert(node, "too little free disk space", "no new mail is taken: too little free disk space")
    node.ctl("resumedel", "there.test")
    node.wait_empty(60)  # what is here goes on meanwhile
    os.unlink(ballast)
    recovers(node, sent)
    all_came(world, sent)


@test(timeout=200)
def full_disk(world, _):
    """Nothing left at all: in the middle of a body, and at a commit."""
    node, state = on_small_disk(world, "full", "80m", {"min_free_space": "0"})
    sent = Sent(node, "full")
    sent.one()
    node.ctl("suspenddel", "there.test")
    for size in (SMALL, LARGE):
        sent.one(size=size)
    ballast = fill(state)
    sent.until_refused(200, size=LARGE)
    sent.until_refused(2000)
    has_alert(node, "space", "store: a write failed: No space left")
    contains(" ".join(sent.refused), "4.3.1")
    os.unlink(ballast)
    recovers(node, sent)
    ballast = fill(state)
    sent.until_refused(2000)  # at a commit, this time
    has_alert(node, "space", "store: a write failed: No space left")
    os.unlink(ballast)
    recovers(node, sent, size=LARGE)
    node.ctl("resumedel", "there.test")
    all_came(world, sent)
    node.restart()  # and the store is sound
    equal(node.ctl("status")["status"], "ok")
    equal(node.queued(), 0)


@test(timeout=200)
def full_map(world, _):
    """The map cannot grow: no address space for a larger one."""
    node = world.postern({"queue": {"store_map_size": "16m", "min_free_space": "0"}}, name="map").start()
    sent = Sent(node, "map")
    sent.one()
    node.ctl("suspenddel", "there.test")
    pid = node.pids("queue")[0]
    with open("/proc/%d/statm" % pid) as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    limit_child(pid, size + 24 * MIB, "as")
    contains(sent.until_refused(3000), "4.3.1")
    has_alert(node, "map size", "store: a write failed")
    limit_child(pid, None, "as")
    recovers(node, sent)
    node.ctl("resumedel", "there.test")
    all_came(world, sent)
    node.restart()
    equal(node.queued(), 0)


@test(timeout=150)
def no_descriptors(world, _):
    """The queue has no descriptor for body files: large messages wait, in and out; small ones flow."""
    node = world.postern(name="fds").start()
    sent = Sent(node, "fds")
    node.ctl("suspenddel", "there.test")
    sent.one(size=LARGE)
    pid = node.pids("queue")[0]
    used = max(int(n) for n in os.listdir("/proc/%d/fd" % pid))
    # what is free below it is soon used up: as many more are sent
    limit_child(pid, used + 1)
    contains(sent.until_refused(50, size=LARGE), "4.3.1")
    has_alert(node, "no descriptors", "no descriptor for the file of a large message")
    node.ctl("resumedel", "there.test")
    equal(sent.one() is not None, True, "a small message is taken")
    poll(lambda: any("fds" in r for m in world.there.messages for r in m.rcpts), 60, "a small message to arrive")
    limit_child(pid, None)
    recovers(node, sent, size=LARGE)
    all_came(world, sent)


if __name__ == "__main__":
    main(setup)
