"""The random crash test in its short form, and the proof that its accounting would tell a loss.

make crash is the long form: 100 kills, 20,000 messages.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.crash.account import BEFORE_S, Kill, Ledger, judge  # noqa: E402
from tests.crash.crash import crash_run  # noqa: E402
from tests.e2e.harness import equal, main, say, test  # noqa: E402


def accounts(source, sink, kills=(), rcpts=1):
    led = Ledger()
    led.add_source(source, rcpts)
    led.add_sink(sink)
    return judge(led, kills)


def ns(seconds):
    return int(seconds * 1e9)


@test
def what_is_lost_is_told(w):
    v = accounts("1 100 7\n2 100 9\n", "r0.1 %d 100 7\n" % ns(50))
    equal((v.lost, v.recipients, v.good), ([(2, 0)], 2, False))
    # one of several recipients
    v = accounts("1 100 7\n", "r0.1 %d 100 7\nr2.1 %d 100 7\n" % (ns(50), ns(51)), rcpts=3)
    equal((v.lost, v.good), ([(1, 1)], False))
    # which had been refused
    v = accounts("1 100 7 -1\n", "r0.1 %d 100 7\nr2.1 %d 100 7\n" % (ns(50), ns(51)), rcpts=3)
    equal((v.lost, v.recipients, v.good), ([], 2, True))


@test
def what_is_damaged_is_told(w):
    for size, total in ((99, 7), (100, 8)):
        v = accounts("1 100 7\n", "r0.1 %d %d %d\n" % (ns(50), size, total))
        equal((v.damaged, v.good), ([(1, 0)], False), "%d bytes, sum %d" % (size, total))


@test
def copies_need_a_reason(w):
    twice = "r0.1 %d 100 7\nr0.1 %d 100 7\n" % (ns(50), ns(53))
    rows = (
        ("no kill", "1 100 7\n", (), False, (0, 0)),
        ("a kill of a worker at that moment", "1 100 7\n", (Kill("deliver", 50.1, 50.1),), True, (0, 1)),
        ("a kill before it", "1 100 7\n", (Kill("deliver", 40, 40),), False, (0, 0)),
        ("what was under way", "1 100 7\n", (Kill("queue", 49.9, 49.9),), True, (0, 1)),
        ("a kill long after", "1 100 7\n", (Kill("queue", 50.1 + BEFORE_S, 60),), False, (0, 0)),
        ("a kill of one that does not know", "1 100 7\n", (Kill("resolver", 50.1, 50.1),), False, (0, 0)),
        ("a client's doubt", "1 doubt %d\n1 100 7\n" % ns(49), (), True, (1, 0)),
        ("a refusal in the end", "1 451 %d\n1 100 7\n" % ns(49), (), True, (1, 0)),
    )
    for name, source, kills, good, want in rows:
        v = accounts(source, twice, kills)
        equal((v.good, (v.by_client, v.by_worker)), (good, want), name)
        equal(len(v.unexplained), 0 if good else 1, name)
    # one doubt excuses one copy
    v = accounts("1 doubt %d\n1 100 7\n" % ns(49), twice + "r0.1 %d 100 7\n" % ns(57))
    equal((v.good, v.by_client), (False, 1))


@test(timeout=240)
def ten_kills(w):
    seed = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4), "big"))
    say("# seed %d" % seed)
    v, lines = crash_run(w, 10, 2000, seed, lambda text: say("# " + text))
    for line in lines:
        say("# " + line)
    equal((v.lost, v.damaged, v.unexplained), ([], [], []))
    # 50 % and 20 % and 10 % with one recipient, 20 % with five
    equal(v.recipients > 3500, True, "recipients accounted for: %d" % v.recipients)


if __name__ == "__main__":
    main()
