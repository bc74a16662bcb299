"""The dialogues of posternctl on a pseudo-terminal, as somebody at it sees them (golden/destconfig)."""
import os
import pty
import select
import subprocess
import termios
import time

from harness import contains, equal, main, test
from tests.world.base import scale
from tests.world.postern import program

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "destconfig")


def wait_raw(fd):
    end = time.monotonic() + 30 * scale()
    while termios.tcgetattr(fd)[3] & termios.ICANON:
        if time.monotonic() > end:
            raise AssertionError("the terminal is not read key by key")
        time.sleep(0.001)
    return True


def talk(node, args, answers):
    """Run posternctl at a terminal, give an answer at each prompt; what the screen shows, and the exit status."""
    main_fd, side = pty.openpty()
    env = dict(node.env(), TERM="dumb", SUDO_USER="ann")
    proc = subprocess.Popen([program("posternctl"), "-c", node.etc, *args], stdin=side, stdout=side, stderr=side,
                            env=env, start_new_session=True)
    seen, left, at, status = b"", list(answers), 0, None
    end = time.monotonic() + 60 * scale()
    try:
        while time.monotonic() < end:
            # our own end of it stays open: the last bytes are there when the program is gone
            gone = proc.poll() is not None
            if not select.select([main_fd], [], [], 0 if gone else 0.05)[0]:
                if gone:
                    break
                continue
            seen += os.read(main_fd, 65536)
            # not before the line is read key by key: until then ^D is the kernel's
            if left and seen[at:].endswith(b"]> ") and wait_raw(side):
                at = len(seen)
                os.write(main_fd, left.pop(0).encode() + b"\n")
        else:
            raise AssertionError("no end after: %r" % seen[-500:])
        status = proc.wait(timeout=60 * scale())
    finally:
        proc.kill()
        proc.wait()
        os.close(main_fd)
        os.close(side)
    equal(left, [], "answers that were not asked for; seen: %r" % seen[-500:])
    text = seen.decode().replace("\r\n", "\n").replace("\r", "")
    return "\n".join(line.rstrip() for line in text.split("\n")), status


SEED = ["new", "bank.example", "y", "20", "", "", "y", "", "1000", "", "2", "y", "6", "y", "3", "y", "2", "n", "n", "n", ""]


@test(timeout=120)
def the_seed_dialogue(w):
    node = w.postern(destinations={"DEFAULT": {"max_connections": 400}},
                     routes={".example": {"hosts": "relay.example"}}).start()
    text, status = talk(node, ["destconfig"], SEED)
    equal(status, 0)
    more, status = talk(node, ["commit"], ["CHG 7"])
    equal(status, 0)
    text += more
    if os.environ.get("GOLDEN") == "write":
        with open(GOLDEN, "w") as f:
            f.write(text)
    with open(GOLDEN) as f:
        equal(text, f.read())
    equal(node.ctl("destconfig", "show", "bank.example")["keys"], {
        "max_connections": "20", "max_messages_per_connection": "50", "recipient_limit": "1000/60m",
        "limit_apply": "gateway", "tls": "required-verify-hosted", "dane": "mandatory", "mta_sts": "on"})
    equal(node.ctl("explain", "a@bank.example", want=None)["control"]["tls"], "required-verify-hosted")
    equal(node.ctl("history")["revisions"][0]["message"], "CHG 7")


@test(timeout=120)
def edit_default_delete_and_what_is_wrong(w):
    node = w.postern(destinations={"a.test": {"max_connections": 5, "tls": "required", "mta_sts": "on"}}).start()
    # wrong answers are asked again; without TLS the questions that need it are passed over
    text, status = talk(node, ["destconfig"], [
        "edit", "A.Test", "y", "lots", "99", "n", "n", "", "", "y", "9", "1", "n", "n", "n",
        "default", "n", "y", "60", "n", "", "", "n", "n", "n", "n", "n", "n",
        "new", "mx:*.big.test", "y", "7", "n", "y", "90", "5", "60", "5", "",
        "delete", "nobody.test", "nonsense", ""])
    equal(status, 0)
    contains(text, "found 'lots'")
    contains(text, "Please enter a number from 1 to 6.")
    contains(text, "without TLS there is no DANE and no MTA-STS")
    contains(text, "there is no entry 'nobody.test'")
    contains(text, "There is no operation nonsense.")
    changes = {c["entry"]: {k["key"]: k["to"] for k in c["keys"]} for c in node.ctl("showchanges")["changes"]}
    equal(changes, {"a.test": {"max_connections": "99", "tls": "none", "mta_sts": None},
                    "DEFAULT": {"max_messages_per_connection": "60"},
                    "mx:*.big.test": {"max_connections": "7", "recipient_limit": "5/60m"}})
    # who goes away in the middle has staged nothing
    text, status = talk(node, ["destconfig"], ["new", "half.test", "\x04"])
    contains(text, "Nothing is staged for half.test")
    equal(len(node.ctl("showchanges")["changes"]), 3)


@test(timeout=120)
def the_other_tables_ask_too(w):
    node = w.postern().start()
    equal(talk(node, ["smtproutes"], ["new", ".in.test", "relay.test:2525, r2.test/pri=10", "n", "n", ""])[1], 0)
    equal(talk(node, ["altsrchost"], ["new", "news", "n", "y", "127.0.0.9", "n", "y", "@news.test", "n", ""])[1], 0)
    equal(talk(node, ["bounceconfig"], ["new", "quick", "3", "4h", "", "", "", "", "n", ""])[1], 0)
    changes = {(c["kin"], c["entry"]): {k["key"]: k["to"] for k in c["keys"]} for c in node.ctl("showchanges")["changes"]}
    equal(changes, {("smtproutes", ".in.test"): {"hosts": "relay.test:2525, r2.test/pri=10"},
                    ("altsrchost", "news"): {"ipv4": "127.0.0.9", "senders": "@news.test"},
                    ("bounceconfig", "quick"): {"max_retries": "3", "max_queue_time": "4h"}})
    node.ctl("commit")


if __name__ == "__main__":
    main()
