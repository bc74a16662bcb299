"""Accepted means kept: processes are killed while mail flows, and nothing that got its 250 is lost."""
import os
import smtplib
import threading

from harness import equal, main, test
from tests.world import On, Refused, bulk
from tests.world.postern import ROLES

SENDER = "alice@client.test"


class Load:
    """Threads that hand in numbered messages; each is tried until it was accepted once."""

    def __init__(self, node, total, domains, threads=4, body=500):
        self.node, self.total, self.domains, self.body = node, total, domains, body
        self.next = 0
        self.accepted = {}  # number -> MID
        self.repeats = set()  # numbers whose first attempt ended in doubt
        self.cond = threading.Condition()
        self.stop = False
        self.error = None
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for t in self.threads:
            t.start()

    def _take(self):
        with self.cond:
            if self.stop or self.next >= self.total:
                return None
            self.next += 1
            return self.next - 1

    def _run(self):
        client, n = None, self._take()
        try:
            while n is not None and not self.stop:
                try:
                    if client is None:
                        client = self.node.client()
                    domain = self.domains[n % len(self.domains)]
                    mid = client.send(SENDER, "user%d@%s" % (n, domain), subject="number %d" % n,
                                      body=bulk(self.body if n % 10 else 40000))
                except (OSError, smtplib.SMTPException, Refused) as e:
                    if isinstance(e, Refused) and e.code // 100 == 5:
                        raise
                    client = None
                    with self.cond:
                        self.repeats.add(n)
                        self.cond.wait(0.05)  # the other side is being restarted
                    continue
                with self.cond:
                    self.accepted[n] = mid
                    self.cond.notify_all()
                n = self._take()
        except Exception as e:
            with self.cond:
                self.error = e
                self.cond.notify_all()
        if client is not None:
            client.close()

    def wait(self, n, timeout=60):
        with self.cond:
            if not self.cond.wait_for(lambda: self.error or len(self.accepted) >= n, timeout):
                raise AssertionError("%d of %d messages accepted in time" % (len(self.accepted), n))
            if self.error:
                raise self.error

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join(20)


def receivers(w, stem, n=5):
    names = ["%s%d.test" % (stem, i) for i in range(n)]
    rxs = []
    for i, name in enumerate(names):
        # the fourth is greylisted, the fifth answers slowly: mail is in every state
        rules = [On("rcpt", "450 4.7.1 later", times=1, per="arg")] if i == 3 else \
            [On("dot", delay=0.01)] if i == 4 else []
        rxs.append(w.mx("mx1." + name, *rules))
        w.domain(name, rxs[-1])
    w.commit()
    return names, rxs


def numbers(rxs):
    out = {}
    for rx in rxs:
        for m in rx.messages:
            n = int(m.header("Subject").split()[1])
            out[n] = out.get(n, 0) + 1
    return out


def check_all(w, node, load, rxs, doubles):
    w.wait(lambda: set(numbers(rxs)) >= set(load.accepted), 60,
           lambda: "messages %s; queued: %s" % (sorted(set(load.accepted) - set(numbers(rxs)))[:20],
                                                node.queued()))
    node.wait_empty()
    got = numbers(rxs)
    twice = [n for n, k in got.items() if k > 1 and n not in load.repeats]
    # a worker that died between the receiver's 250 and its report leaves doubt: those come twice
    equal(len(twice) <= doubles, True, "%d messages came twice: %s" % (len(twice), twice[:20]))


@test(timeout=150)
def each_process_once(w):
    names, rxs = receivers(w, "kill")
    node = w.postern({"delivery": {"workers": "2"}}).start()
    load = Load(node, 500, names)
    try:
        for i, role in enumerate(ROLES):
            load.wait(60 + 80 * i)
            node.kill(role)
        load.wait(500, 90)
    finally:
        load.end()
    check_all(w, node, load, rxs, doubles=60)
    equal(len(load.accepted), 500)


@test(timeout=90)
def supervisor_killed(w):
    """The supervisor gone: all follow, and a new start finds everything."""
    names, rxs = receivers(w, "power")
    node = w.postern().start()
    load = Load(node, 200, names)
    try:
        load.wait(80)
        node.kill_hard()
        node.start()
        load.wait(200)
    finally:
        load.end()
    check_all(w, node, load, rxs, doubles=60)


@test(timeout=90)
def queue_again_and_again(w):
    names, rxs = receivers(w, "again", 2)
    node = w.postern().start()
    load = Load(node, 200, names)
    try:
        for n in (40, 80, 120):
            load.wait(n)
            node.kill("queue")
        load.wait(200, 90)
    finally:
        load.end()
    check_all(w, node, load, rxs, doubles=80)


@test(timeout=60)
def terminated_under_load(w):
    """SIGTERM while mail flows: everything in hand is finished or kept, exit status 0."""
    names, rxs = receivers(w, "term")
    node = w.postern().start()
    load = Load(node, 300, names)
    try:
        load.wait(100)
        node.stop(timeout=30)
        node.start()
        load.wait(300)
    finally:
        load.end()
    check_all(w, node, load, rxs, doubles=0)


@test(timeout=60)
def a_deliver_that_stops_answering(w):
    """SIGSTOP then SIGKILL: connections of a dead worker do not count for ever."""
    names, rxs = receivers(w, "stop", 1)
    node = w.postern({"delivery": {"workers": "1", "max_connections": "1"}}).start()
    rx = rxs[0]
    rx.script(On("mail", stall=True, times=1))
    node.submit(SENDER, "a@" + names[0], subject="number 0")
    rx.wait_command("MAIL")
    node.kill("deliver")
    rx.script()
    node.submit(SENDER, "b@" + names[0], subject="number 1")
    rx.wait_messages(2, 40)
    equal(os.path.exists("/proc/%d" % node.proc.pid), True)


if __name__ == "__main__":
    main()
