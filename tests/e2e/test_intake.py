"""Mail into a whole node: swaks and smtplib, limits over all intake processes, hostile input.

What the intake process does with a sick queue is in test_smtpd.py.
"""
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.e2e.harness import Skip, contains, equal, main, raises, test  # noqa: E402
from tests.world import Dialogue, Refused, bulk, message  # noqa: E402

A, B = "a@sender.test", "b@example.test"


def setup(world):
    world.mx_host = world.mx("mx1.example.test")
    world.zone("example.test").mx(10, world.mx_host)
    node = world.postern(settings={
        "postern": {"smtpd_workers": "2"},
        "listener internal": {"max_message_size": "1m", "max_connections_per_client": "6"}})
    node.settings["listener submission"] = node.auth_listener()
    node.start()
    return node


def flows(world, node):
    before = len(world.mx_host.messages)
    mid = node.submit(A, B)
    world.mx_host.wait_messages(before + 1)
    return mid


@test
def swaks(world, node):
    if shutil.which("swaks") is None:
        raise Skip("swaks is not installed")
    login = ["--auth-user", "alice", "--auth-password", "wonderland"]
    before = len(world.mx_host.messages)
    ways = [("internal", []), ("internal", ["--pipeline"]), ("internal", ["--tls"]),
            ("submission", ["--tls", "--auth", "PLAIN", *login]),
            ("submission", ["--tls", "--auth", "LOGIN", *login])]
    for name, how in ways:
        r = subprocess.run(["swaks", "--server", "%s:%d" % node.listeners[name], "--from", A, "--to", B,
                            "--ehlo", "me.invalid", *how], stdout=subprocess.PIPE, text=True)
        equal(r.returncode, 0, r.stdout[-500:])
        contains(r.stdout, " queued")
    world.mx_host.wait_messages(before + len(ways))
    r = subprocess.run(["swaks", "--server", "%s:%d" % node.listeners["submission"], "--from", A, "--to", B,
                        "--ehlo", "me.invalid", "--tls", "--auth", "PLAIN", "--auth-user", "alice",
                        "--auth-password", "no"], stdout=subprocess.PIPE, text=True)
    equal(r.returncode, 28, r.stdout[-300:])
    contains(r.stdout, "535 5.7.8")


@test
def as_it_was_sent(world, node):
    """Every byte of a body with dots, full lines and 8 bits arrives."""
    before = len(world.mx_host.messages)
    body = b".\r\n..\r\n" + b"x" * 998 + b"\r\n" + bytes(range(128, 256)) + b"\r\n" + bulk(200000)
    data = message(A, [B], body=body)
    node.submit(A, B, data)
    world.mx_host.wait_messages(before + 1)
    got = world.mx_host.messages[before].data
    equal(got[got.index(b"From: "):], data)


@test
def limits_hold_over_all_processes(world, node):
    at = node.listeners["internal"]
    clients = [Dialogue(at) for _ in range(6)]
    for c in clients:
        c.expect(220)
    more = Dialogue(at)
    equal(more.expect(421)[0], node.hostname + " Too many connections from you")
    clients[0].cmd("QUIT", 221)
    clients[0].sock.close()
    node.wait_log(r"ICID \d+ close")
    # what is free is told by the supervisor a moment later
    again = Dialogue(at)
    while again.reply()[0] == 421:
        again = Dialogue(at)
    for c in clients + [again]:
        c.sock.close()
    flows(world, node)


@test
def bad_input(world, node):
    """A clear error each, and the next message flows."""
    at = node.listeners["internal"]

    def in_data():
        c = Dialogue(at)
        c.hello()
        c.cmd("MAIL FROM:<%s>" % A, 250)
        c.cmd("RCPT TO:<%s>" % B, 250)
        c.cmd("DATA", 354)
        return c

    def command(line, *codes):
        c = Dialogue(at)
        c.hello()
        c.send(line)
        c.expect(*codes)
        c.sock.close()

    before = len(world.mx_host.messages)
    command(b"NOOP " + b"x" * 100000 + b"\r\n", 500)
    command(b"NOOP x\nMAIL FROM:<%s>\r\n" % A.encode(), 500)
    command(b"MAIL FROM:<a@b\x00c.example>\r\n", 500, 501)
    command(b"MAIL FROM:<%s> SIZE=99999999\r\n" % A.encode(), 552)
    command(b"MAIL FROM:<%s> XYZ=1\r\n" % A.encode(), 555)
    command(b"RCPT TO:<%s>\r\n" % B.encode(), 503)
    command(b"STARTTLS\r\nMAIL FROM:<evil@sender.test>\r\n", 421)
    command(b"GET / HTTP/1.1\r\n", 500)
    for bad in [b"x\n.\nMAIL FROM:<evil@sender.test>\r\n", b"x\r.\r\nRCPT TO:<evil@sender.test>\r\n",
                b"a\x00b\r\n", b"x" * 999 + b"\r\n"]:
        c = in_data()
        c.send(b"Subject: x\r\n\r\n" + bad + b".\r\n").expect(554)
        c.cmd("NOOP", 250)
        c.sock.close()
    c = in_data()
    c.send(bulk(1200000).replace(b"\r\n.", b"\r\n..")[1:] + b".\r\n").expect(552)
    c.sock.close()
    c = in_data()
    c.send(b"Received: x\r\n" * 150 + b"\r\nx\r\n.\r\n").expect(554)
    c.sock.close()
    flows(world, node)
    equal(len(world.mx_host.messages), before + 1)
    assert "evil" not in node.log_text()


@test
def no_right_to_relay(world, node):
    e = raises(Refused, node.submit, A, B, listener="submission")
    equal((e.step, e.code), ("MAIL", 530))


@test
def intake_dies(world, node):
    """Its clients lose their connection, the others do not; mail flows on."""
    before = len(world.mx_host.messages)
    os.kill(node.pids("smtpd")[0], signal.SIGKILL)
    node.wait_log("was killed by signal 9")
    for _ in range(5):
        node.submit(A, B)
    world.mx_host.wait_messages(before + 5)


if __name__ == "__main__":
    main(setup)
