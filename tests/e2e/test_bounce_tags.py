"""Bounce verification (BATV) from end to end: mail leaves with a tagged sender where the destination wants it, its
bounce comes back through a listener that relays for nobody, and what was never sent from here stays out."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", ".."))

from tests.e2e.harness import contains, equal, main, test  # noqa: E402
from tests.world import Dialogue, On  # noqa: E402
from tests.world.base import poll  # noqa: E402
from tests.world.postern import AUTO  # noqa: E402

TAGGED = r"prvs=3\d{3}[0-9a-f]{6}="


def keys(w, text):
    path = os.path.join(w.tmp.sub("keys"), "bounce-keys")
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


class Place:
    """Mail to `tag` is tagged, mail to `plain` is not; bounces to the sender's domain go to `home`."""

    def __init__(self, w, name, **verification):
        self.tag, self.plain, self.ours = "tag-%s.test" % name, "plain-%s.test" % name, "ours-%s.test" % name
        self.sender = "Anna@" + self.ours
        self.mx, self.home = w.mx("mx1." + self.tag), w.mx("mx1." + self.ours)
        for domain, host in ((self.tag, self.mx), (self.plain, self.mx), (self.ours, self.home)):
            w.domain(domain, host)
        w.commit()
        self.node = start(w, self, verification)

    def sent(self, sender, domain):
        """The sender in MAIL as the receiver got it."""
        n = len(self.mx.messages)
        self.node.wait_done(self.node.submit(sender, ["b@" + domain]))
        return self.mx.wait_messages(n + 1)[n].mail_from

    def outside(self, sender, rcpt):
        """The reply to RCPT from a client that may not relay; it brings the message when it may."""
        with Dialogue(self.node.listeners["outside"]) as d:
            d.hello()
            d.cmd("MAIL FROM:<%s>" % sender, 250)
            d.send("RCPT TO:<%s>" % rcpt)
            code, texts = d.reply()
            if code == 250:
                d.cmd("DATA", 354)
                d.cmd("Subject: it bounced\r\n\r\nsorry\r\n.", 250)
            return "%d %s" % (code, texts[-1])


def start(w, p, verification):
    node = w.postern(
        settings={"bounce-verification": {"key_file": keys(w, "3 a secret of twenty\n"),
                                          "senders": "@" + p.ours, "except": "list@" + p.ours, **verification},
                  "listener outside": {"address": AUTO, "relay_from": "192.0.2.1", "tls": "none",
                                       "accept_bounces": "yes"},
                  "delivery": {"idle": "1s"}},
        destinations={p.tag: {"bounce_tagging": "on"}})
    return node.start()


@test
def there_and_back(w):
    p = Place(w, "back")
    tagged = p.sent(p.sender, p.tag)
    assert re.fullmatch(TAGGED + re.escape(p.sender), tagged), tagged
    equal(p.sent(p.sender, p.plain), p.sender, "not tagged for this destination")
    equal(p.sent("list@" + p.ours, p.tag), "list@" + p.ours, "excepted")
    equal(p.sent("who@other.test", p.tag), "who@other.test", "not a sender of ours")
    equal(p.sent("", p.tag), "", "the null sender")
    contains(p.outside("", tagged), "250 ")
    back = p.home.wait_messages(1)[0]
    equal(back.rcpts, [p.sender], "the tag is taken off")
    equal(back.header("X-Postern-Bounce"), None)
    # the log knows the sender that was given (BATV-07)
    equal(p.node.lines(r"From: <prvs="), [])


@test
def our_own_notice(w):
    """A refusal later bounces from here to the sender that was given, untagged and taken as it is."""
    p = Place(w, "notice", untagged="reject")
    p.mx.script(On("rcpt", "550 5.1.1 nobody here"))
    p.node.submit(p.sender, ["b@" + p.tag])
    notice = p.home.wait_messages(1)[0]
    equal((notice.mail_from, notice.rcpts), ("", [p.sender]))


@test
def what_was_never_sent(w):
    p = Place(w, "never", untagged="reject")
    tagged = p.sent(p.sender, p.tag)
    forged = tagged.replace(tagged[9:15], "000000" if tagged[9:15] != "000000" else "111111")
    contains(p.outside("", forged), "550 5.7.1 The tag of the address is not ours")
    contains(p.outside("", p.sender), "550 5.7.1 The bounce is no answer to a message from here")
    contains(p.outside("", "b@" + p.tag), "550 5.7.1 Relaying denied")
    contains(p.outside("spam@else.test", p.sender), "550 5.7.1 Relaying denied")
    p.node.wait_log("Rejected by bounce verification: The tag of the address is not ours")
    equal(p.home.messages, [])


@test
def marked(w):
    p = Place(w, "marked")
    contains(p.outside("", p.sender), "250 ")
    equal(p.home.wait_messages(1)[0].header("X-Postern-Bounce"), "untagged")


@test
def a_new_key(w):
    """Rollover by reload: the new key tags, the old one is good until it leaves the file."""
    p = Place(w, "rollover")
    old = p.sent(p.sender, p.tag)
    keys(w, "7 another secret of 23\n3 a secret of twenty\n")
    p.node.reload()
    poll(lambda: p.sent(p.sender, p.tag).startswith("prvs=7"), 20, "the new key in use")
    new = p.sent(p.sender, p.tag)
    poll(lambda: p.outside("", new).startswith("250"), 20, "the new key known to smtpd")
    contains(p.outside("", old), "250 ")
    keys(w, "7 another secret of 23\n")
    p.node.reload()
    poll(lambda: p.outside("", old).startswith("550 5.7.1"), 20, "the old key forgotten")


@test
def a_bad_key_file(w):
    """Told with file and line at the reload, and the running settings stay."""
    p = Place(w, "bad")
    keys(w, "3 a secret of twenty\n4 short\n")
    p.node.reload()
    p.node.wait_log(r"bounce-keys:2: the secret is shorter than 16 bytes")
    contains(p.sent(p.sender, p.tag), "prvs=3")


if __name__ == "__main__":
    main()
