"""account.py - where did each accepted message end? From what source and sinks wrote down.

Source and sinks each write a ledger (source.c, sink.c: --ledger). A recipient of a message that got
its 250 and that no sink took is lost: there is no excuse for that. One that was taken more than
once needs a reason for each further copy:

- the client's doubt: the reply to its final dot never came, or was a refusal after the message may
  have been committed, so it sent the message again;
- the worker's doubt: a process that knew of the delivery was killed after the sink had the message
  and before its result was written (BEFORE_S), or the sink saw the end of what the worker had sent a
  little later (AFTER_S). Both are some milliseconds, and longer only when the machine is busy; the
  report of a run says how long.

What has no reason is unexplained, and a failure. Used by crash.py, soak.py and their test.
"""
import collections

from tests.world.base import scale

BEFORE_S = AFTER_S = 1.0 * scale()
# who knows of a delivery that is not written yet
KNOWS = ("deliver", "queue", "supervisor", "all")

Kill = collections.namedtuple("Kill", "what begin end")  # seconds, CLOCK_MONOTONIC


class Accepted:
    """One message that got its 250."""

    def __init__(self, size, total, refused):
        self.size, self.total, self.refused = size, total, refused


class Ledger:
    """Everything that was written down."""

    def __init__(self):
        self.accepted = {}  # sequence number -> Accepted
        self.doubts = collections.Counter()  # sequence number -> final replies in doubt
        self.rcpts = {}  # sequence number -> recipients asked for
        self.taken = {}  # (sequence number, recipient) -> [(seconds, size, sum)]

    def add_source(self, text, rcpts):
        for line in text.splitlines():
            f = line.split()
            seq = int(f[0])
            self.rcpts[seq] = rcpts
            if f[1] == "doubt" or (len(f[1]) == 3 and len(f) == 3 and not f[2].startswith("-") and
                                   int(f[2]) > 1 << 32):
                self.doubts[seq] += 1
            else:
                self.accepted[seq] = Accepted(int(f[1]), int(f[2]), {-int(x) for x in f[3:]})

    def add_sink(self, text):
        for line in text.splitlines():
            name, ns, size, total = line.split()
            i, seq = name[1:].split(".")
            self.taken.setdefault((int(seq), int(i)), []).append(
                (int(ns) / 1e9, int(size), int(total)))


class Verdict:
    def __init__(self):
        self.recipients = 0  # that had to arrive
        self.lost, self.damaged, self.unexplained = [], [], []
        self.by_client = self.by_worker = 0  # further copies, by their reason
        self.by_kind = collections.Counter()  # what was killed -> copies
        self.windows = []  # seconds from a copy to the kill that excuses it, negative: after it

    @property
    def duplicates(self):
        return self.by_client + self.by_worker + len(self.unexplained)

    @property
    def good(self):
        return not (self.lost or self.damaged or self.unexplained)

    def text(self):
        out = "%d recipients, lost %d, duplicates %d (%d of a client's doubt, %d of a worker's)" % (
            self.recipients, len(self.lost), self.duplicates, self.by_client, self.by_worker)
        for name in ("unexplained", "damaged"):
            out += ", %s %d" % (name, len(getattr(self, name)))
        return out


def excuse(at, kills):
    """The nearest kill that may have left the delivery at this moment in doubt, or None."""
    near = [k for k in kills if k.what in KNOWS and k.begin - BEFORE_S <= at <= k.end + AFTER_S]
    return min(near, key=lambda k: abs(k.begin - at), default=None)


def _copies(v, key, copies, doubts, kills):
    """Reasons for all copies but one."""
    extra = len(copies) - 1
    excused = min(extra, doubts)
    v.by_client += excused
    extra -= excused
    for at, _, _ in sorted(copies)[:-1]:
        if extra == 0:
            return
        k = excuse(at, kills)
        if k:
            v.by_worker += 1
            v.windows.append(k.begin - at)
            v.by_kind[k.what] += 1
            extra -= 1
    if extra:
        v.unexplained.append((key, len(copies)))


def judge(ledger, kills):
    v = Verdict()
    for seq, a in ledger.accepted.items():
        for i in range(ledger.rcpts[seq]):
            copies = ledger.taken.get((seq, i), [])
            if not copies:
                if i not in a.refused:
                    v.recipients += 1
                    v.lost.append((seq, i))
                continue
            v.recipients += 1
            if any((size, total) != (a.size, a.total) for _, size, total in copies):
                v.damaged.append((seq, i))
            # one that was not accepted in the end came with an attempt in doubt
            _copies(v, (seq, i), copies, ledger.doubts[seq], kills)
    return v
