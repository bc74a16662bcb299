"""Limits of destinations, seen from the receiving side: recipients per minutes, and what a reload
changes. Connections over all workers: test_deliver.py."""
from harness import contains, equal, main, test

from tests.world import On

SENDER = "sender@client.test"
QUICK = {"delivery": {"idle": "1s", "workers": "2"}}


def rcpts(mx):
    return sum(len(m.rcpts) for m in mx.messages)


def state(node, domain):
    return node.ctl("hoststatus", domain)["destinations"][0]


@test
def recipients_per_minutes(w):
    mx = w.mx("mx1.pace.test")
    w.domain("pace.test", mx)
    w.commit()
    node = w.postern(settings=QUICK, destinations={
        "pace.test": {"recipient_limit": "7/1m"}}).start()
    # the first goes whole; of the second as many as are left; the third waits
    node.submit(SENDER, ["a%d@pace.test" % i for i in range(4)])
    mx.wait_messages(1)
    node.submit(SENDER, ["b%d@pace.test" % i for i in range(10)])
    w.wait(lambda: rcpts(mx) == 7)
    last = node.submit(SENDER, ["c@pace.test"])
    node.wait_log(r"Destination pace.test is throttled \(recipient_limit\): next attempt in \d+ s")
    s = state(node, "pace.test")
    equal(s["state"], "throttled")
    equal(s["retries"], 0)
    equal(s["reason"], "throttled")
    # why names the entry, its limits, and the one that it waits for
    found = node.ctl("why", last)["recipients"][0]
    equal((found["state"], found["reason"]), ("throttled", "throttled"))
    equal(found["next_attempt"], s["next_attempt"])
    equal((found["limits"]["entry"], found["limits"]["recipient_limit"]), ("pace.test", "7/1m"))
    equal(found["limits"]["throttled_by"], "recipient_limit")
    contains(node.ctl("why", last, raw=True), "recipient_limit 7/1m")
    equal([k for k in node.ctl("explain", "c@pace.test")["limits"] if "recipients" in k],
          [{"key": "domain:pace.test", "limit": 500, "recipients": "7/1m"}])
    # a worker that dies makes no room, nor does an operator who is in a hurry
    node.kill("deliver")
    w.wait(lambda: node.ctl("status", "detail", want=None).get("status") != "degraded")
    node.ctl("delivernow", "pace.test", want=None)
    node.wait_log(r"Destination pace.test is throttled", n=2)
    equal(rcpts(mx), 7)
    # no limit any more: the rest goes without waiting for the moment that was computed
    node.destinations["pace.test"] = {}
    node.reload()
    node.wait_log(r"settings loaded")
    node.ctl("delivernow", "pace.test", want=None)
    w.wait(lambda: rcpts(mx) == 15)
    node.wait_empty()


def open_at_once(mx):
    """Connections open to a receiver at one moment, as it saw them."""
    events = sorted([(c.opened, 1) for c in mx.conns] +
                    [(c.closed, -1) for c in mx.conns if c.closed is not None])
    n = most = 0
    for _, step in events:
        n += step
        most = max(most, n)
    return most


@test(timeout=120)
def each_address_has_its_own_limit(w):
    hosts = [w.mx("mx%d.each.test" % i, On("dot", delay=0.5)) for i in range(2)]
    zone = w.zone("each.test")
    for mx in hosts:
        zone.mx(10, mx)
    w.commit()
    node = w.postern(settings=QUICK, destinations={
        "each.test": {"limit_scope": "mx-ip", "max_connections": "2"}}).start()
    node.ctl("suspenddel", "each.test")
    for i in range(80):
        node.submit(SENDER, ["r%d@each.test" % i])
    node.ctl("resumedel", "each.test")
    w.wait(lambda: sum(rcpts(mx) for mx in hosts) == 80, 90)
    equal([open_at_once(mx) for mx in hosts], [2, 2])
    node.wait_empty()


@test
def a_new_limit_closes_no_good_connection(w):
    mx = w.mx("mx1.keep.test")
    w.domain("keep.test", mx)
    w.commit()
    node = w.postern(settings={"delivery": {"idle": "60s", "workers": "1"}}, destinations={
        "keep.test": {"max_connections": "10"}}).start()
    node.wait_done(node.submit(SENDER, ["a@keep.test"]))
    node.destinations["keep.test"] = {"max_connections": "1", "recipient_limit": "100/1m"}
    node.reload()
    node.wait_log(r"settings loaded")
    w.wait(lambda: node.ctl("explain", "keep.test")["control"]["max_connections"] == "1")
    node.wait_done(node.submit(SENDER, ["b@keep.test"]))
    equal(len(mx.conns), 1)
    equal(len(mx.messages), 2)


@test
def the_site_paces_all_its_domains(w):
    mx = w.mx("mx1.psite.test")
    w.zone("psite.test").a("mx1", mx.address)
    for i in range(3):
        w.domain("d%d.ptest" % i, mx)
    w.commit()
    node = w.postern(settings=QUICK, destinations={
        "mx:*.psite.test": {"recipient_limit": "6/1m"}}).start()
    for i in range(12):
        node.submit(SENDER, ["r%d@d%d.ptest" % (i, i % 3)])
    for i in range(3):
        node.wait_log(r"Destination d%d.ptest is throttled" % i)
    equal(rcpts(mx), 6)


if __name__ == "__main__":
    main()
