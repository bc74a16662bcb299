"""What the README tells a newcomer to type: `make demo` and `make run`, and the lines that they print."""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

from harness import contains, equal, main, test
from tests.world.base import MODE, ROOT, Proc, poll, scale


@test(timeout=240)
def demo(w):
    """The tour ends well: every message went where it had to, and the sum of recipients is right."""
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tests/demo.py")], capture_output=True, text=True,
                          env=dict(os.environ, MODE=MODE), timeout=220)
    equal(done.returncode, 0, done.stdout[-4000:] + done.stderr[-2000:])
    contains(done.stdout, "messages, all as expected")


def printed(text, start):
    """The line of make run's greeting that begins so, as arguments."""
    found = re.search(r"(?m)^  (%s.*)$" % re.escape(start), text)
    if not found:
        raise AssertionError("no line %r in %r" % (start, text))
    return shlex.split(found.group(1))


@test(timeout=120)
def run(w):
    """The node of make run takes the message of its own greeting, shows it, and drains at SIGTERM."""
    top = w.tmp.sub("checkout")
    os.makedirs(top + "/etc")
    shutil.copy(os.path.join(ROOT, "etc/run.sh"), top + "/etc/run.sh")
    os.symlink(os.path.join(ROOT, "build"), top + "/build")
    env = dict(os.environ, MODE=MODE, SMTP_PORT=str(w.block.free_port("127.0.0.1")),
               HTTP_PORT=str(w.block.free_port("127.0.0.1")))
    node = Proc("make run", ["sh", top + "/etc/run.sh"], top + "/log", env=env)
    try:
        node.wait_for(lambda: "postern ready" in node.log_text(), 30 * scale(), "no line 'postern ready'")
        text = node.log_text()
        for command in ("swaks", "python3 -c"):
            subprocess.run(printed(text, command), check=True, capture_output=True, text=True, timeout=30 * scale())
        control = os.path.join(ROOT, "build", MODE, "posternctl").replace(ROOT, top)

        def ask(command, *want):
            done = subprocess.run(printed(text, control + " -c " + top + "/run/etc " + command),
                                  capture_output=True, text=True, timeout=30 * scale())
            if done.returncode not in want:
                raise AssertionError("%s: status %d, %r" % (command, done.returncode, done.stdout + done.stderr))
            return done.stdout
        poll(lambda: len(re.findall(r"MID \d+ .*(?:[Qq]ueued|accepted)", node.log_text())) >= 2, 30,
             lambda: "two accepted messages; the log: " + node.log_tail())
        contains(ask("status", 0), "smtpd")
        # 1: here is no name server to ask, so it would wait
        contains(ask("explain", 0, 1), "example.org")
        node.send(signal.SIGTERM)
        equal(node.popen.wait(30 * scale()), 0, node.log_tail())
    finally:
        if node.running():
            node.stop()


main()
