"""Settings that change while a node runs: exceptions that end by themselves."""
import time

from harness import equal, main, test


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@test(timeout=120)
def an_exception_reverts_by_itself(w):
    node = w.postern(destinations={
        "soon.test": {"max_connections": 7, "until": stamp(8), "ticket": "CHG 42"},
        "later.test": {"max_connections": 8, "until": stamp(86400)},
        "over.test": {"max_connections": 9, "until": "2001-01-01"}}).start()
    node.wait_log(r"exception \[soon.test\] of destinations.conf holds until .*, ticket CHG 42")
    node.wait_log(r"exception \[over.test\] of destinations.conf was over at 2001-01-02T00:00:00")
    listed = {e["entry"]: e for e in node.ctl("status", want=None)["exceptions"]}
    equal(sorted(listed), ["later.test", "over.test", "soon.test"])
    equal(listed["soon.test"]["ticket"], "CHG 42")
    equal(listed["over.test"]["active"], False)
    node.wait_log(r"exception \[soon.test\] of destinations.conf is over since", timeout=30)
    equal(node.ctl("explain", "a@soon.test", want=None)["control"]["entry"], "DEFAULT")
    equal(node.ctl("explain", "a@over.test", want=None)["control"]["entry"], "DEFAULT")
    equal(node.ctl("explain", "a@later.test", want=None)["control"]["entry"], "later.test")


if __name__ == "__main__":
    main()
