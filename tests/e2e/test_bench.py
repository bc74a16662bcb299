"""The instruments of the bench and of the crash tests: do source and sink count right?

An instrument that misses a lost message makes every other test worthless, so here they meet each
other, with refusals, delays and a sink that dies.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.e2e.harness import equal, main, test  # noqa: E402
from tests.world.base import MODE, ROOT, poll, scale  # noqa: E402


def program(name):
    return os.path.join(ROOT, "build", MODE, "bench", name)


class Sink:
    def __init__(self, address, *args):
        self.popen = subprocess.Popen([program("sink"), "-l", address, *args],
                                      stdout=subprocess.PIPE, text=True)
        equal(self.popen.stdout.readline(), "ready\n")

    def end(self):
        """Its last report."""
        self.popen.terminate()
        out, _ = self.popen.communicate(timeout=20 * scale())
        equal(self.popen.returncode, 0, "exit status of the sink")
        return json.loads(out.splitlines()[-1])


def source(address, *args, want=0):
    done = subprocess.run([program("source"), "-t", address, *args], stdout=subprocess.PIPE,
                          timeout=30 * scale(), check=False, text=True)
    equal(done.returncode, want, "exit status of the source")
    return json.loads(done.stdout)


def place(w):
    host = w.block.host()
    return "%s:%d" % (host, w.block.free_port(host))


def numbers(path):
    with open(path) as f:
        return sorted(map(int, f))


@test
def every_message_is_counted_once(w):
    at, d = place(w), w.tmp.sub("bench")
    sink = Sink(at, "--record", d + "/taken")
    sent = source(at, "-n", "500", "-m", "7", "-c", "9", "-s", "3000", "--seq", "1000",
                  "--accepted", d + "/accepted")
    got = sink.end()
    equal((sent["accepted"], sent["failed"], sent["doubt"]), (500, 0, 0))
    equal((got["messages"], got["unique"], got["duplicates"]), (500, 500, 0))
    equal(numbers(d + "/taken"), list(range(1000, 1500)), "numbers taken")
    equal(numbers(d + "/accepted"), list(range(1000, 1500)), "numbers accepted")
    equal(got["most_per_connection"], 7)
    # with the dot and its CRLF
    equal(abs(got["bytes"] // 500 - 3003) <= 4, True, "size, found %d" % (got["bytes"] // 500))
    equal(sent["accept_us"]["n"], 500)


@test
def twice_is_told(w):
    at = place(w)
    sink = Sink(at)
    source(at, "-n", "20")
    source(at, "-n", "30")
    got = sink.end()
    equal((got["messages"], got["unique"], got["duplicates"]), (50, 30, 20))


@test
def inside_tls(w):
    at, cert = place(w), w.ca.issue("sink.test")
    sink = Sink(at, "--cert", cert.chain, "--key", cert.key)
    sent = source(at, "-n", "40", "-c", "2", "-s", "100000", "--starttls")
    # one session: OpenSSL lets a ticket serve once, and two sessions would share the last one
    again = source(at, "-n", "40", "-c", "1", "--seq", "40", "--starttls", "--resume")
    got = sink.end()
    equal((sent["accepted"], sent["tls_connections"], sent["tls_resumed"]), (40, 40, 0))
    equal(again["tls_resumed"], 39, "resumed: all but the first")
    equal((got["unique"], got["tls_connections"]), (80, 80))


@test
def refusals_fail_or_are_tried_again(w):
    at = place(w)
    sink = Sink(at, "--defer", "20", "--defer-data", "20")
    sent = source(at, "-n", "200", "-m", "10", want=1)
    again = source(at, "-n", "200", "-m", "10", "--seq", "200", "--retry", "1")
    got = sink.end()
    equal(sent["accepted"] + sent["failed"], 200)
    equal(sent["failed"] > 20, True, "some fail")
    equal((again["accepted"], again["failed"]), (200, 0))
    equal(again["retries"] > 20, True, "some are tried again")
    equal((got["unique"], got["duplicates"]), (sent["accepted"] + 200, 0))


@test
def a_lost_reply_is_doubt(w):
    at, d = place(w), w.tmp.sub("doubt")
    sink = Sink(at, "--delay", "600000", "--record", d + "/taken")
    p = subprocess.Popen([program("source"), "-t", at, "-n", "5", "-c", "5",
                          "--doubt", d + "/doubt"], stdout=subprocess.PIPE, text=True)
    poll(lambda: len(numbers(d + "/taken")) == 5, 20, "the sink to have all")
    equal(sink.end()["messages"], 5)
    out, _ = p.communicate(timeout=20 * scale())
    equal(p.returncode, 1)
    sent = json.loads(out)
    equal((sent["accepted"], sent["failed"], sent["doubt"]), (0, 5, 5))
    equal(numbers(d + "/doubt"), [0, 1, 2, 3, 4])


@test
def a_sink_that_comes_late(w):
    at = place(w)
    p = subprocess.Popen([program("source"), "-t", at, "-n", "10", "-c", "3", "--retry", "1"],
                         stdout=subprocess.PIPE, text=True)
    sink = Sink(at)
    out, _ = p.communicate(timeout=20 * scale())
    equal(json.loads(out)["accepted"], 10)
    equal(sink.end()["unique"], 10)


@test
def commands_on_stdin(w):
    at = place(w)
    p = subprocess.Popen([program("sink"), "-l", at, "--control"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
    equal(p.stdout.readline(), "ready\n")
    source(at, "-n", "5")
    p.stdin.write("start 10\n")
    p.stdin.flush()
    equal(p.stdout.readline(), "started\n")
    source(at, "-n", "10", "--seq", "5")
    equal(json.loads(p.stdout.readline())["unique"], 10, "counted since the start")
    p.stdin.close()
    equal(p.wait(20 * scale()), 0)


if __name__ == "__main__":
    main()
