"""What the supervisor must not let happen: one process or a second node that stops a running one."""
import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import threading

from harness import contains, equal, main, test
from tests.world import Skip
from tests.world.base import MODE, ROOT, poll, scale
from tests.world.postern import program


@test(timeout=60)
def second_node_on_one_run_dir(w):
    """It is refused by name, and the running node keeps its control socket."""
    first = w.postern().start()
    second = w.postern({"postern": {"run_dir": first.settings["postern"]["run_dir"]}}).write()
    done = subprocess.run([program("postern"), "run", "-c", second.etc], capture_output=True, text=True,
                          timeout=20 * scale(), env=second.env())
    equal(done.returncode != 0, True, "the second node")
    contains(done.stdout + done.stderr, first.settings["postern"]["run_dir"])
    first.ctl("status")


@test(timeout=60)
def failed_start_leaves_no_trace(w):
    """A start that fails at its second address removes nothing that it did not make."""
    node = w.postern()
    busy = socket.create_server((node.address, 0))
    node.settings["listener second"] = {"address": "%s:%d" % busy.getsockname()[:2], "tls": "none"}
    node.write()
    run_dir = node.settings["postern"]["run_dir"]
    os.makedirs(run_dir, mode=0o755, exist_ok=True)
    path = os.path.join(run_dir, "control.sock")
    with open(path, "w"):
        pass
    done = subprocess.run([program("postern"), "run", "-c", node.etc], capture_output=True, text=True,
                          timeout=20 * scale(), env=node.env())
    busy.close()
    equal(done.returncode != 0, True, "start on a busy address")
    contains(done.stdout + done.stderr, "cannot listen on")
    equal(os.path.exists(path), True, "what was there before")


@test(timeout=60)
def a_child_does_not_stop_a_running_node(w):
    """Exit code 78 means unusable settings while the node starts; later it is one death like any other."""
    d = w.tmp.sub("bin78")
    for f in glob.glob(os.path.join(ROOT, "build", MODE, "postern*")):
        if os.path.isfile(f) and os.access(f, os.X_OK):
            shutil.copy(f, d)
    real = os.path.join(d, "postern-admin")
    shutil.move(real, real + ".real")
    mark = os.path.join(d, "started")
    with open(real, "w") as f:
        f.write('#!/bin/sh\n[ -e "%s" ] && exit 78\n: > "%s"\nexec "%s.real" "$@"\n' % (mark, mark, real))
    os.chmod(real, 0o755)
    node = w.postern(bin_dir=d).start()
    pid = [p for p, role in ((int(p), open("/proc/%s/cmdline" % p).read()) for p in os.listdir("/proc")
                             if p.isdigit() and os.path.exists("/proc/%s/cmdline" % p))
           if role.startswith(real)][0]
    os.kill(pid, signal.SIGKILL)
    node.wait_log(r"admin 0 .*ended with code 78", n=2)
    equal(node.reachable(), True, "intake while admin dies")
    os.unlink(mark)
    poll(lambda: node.ctl("status", want=None) is not None, 20, "admin to come back")


@test(timeout=60)
def started_without_standard_files(w):
    """Input and outputs were closed by whoever started it: no socket takes their place."""
    node = w.postern(wrap=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    node.settings["log"]["target"] = "file:" + node.log_path
    node.start()
    for pid, name in [(node.proc.pid, "postern")] + [(pid, role) for role, pid in node.children()]:
        for fd in (0, 1, 2):
            at = os.readlink("/proc/%d/fd/%d" % (pid, fd))
            equal(at in ("/dev/null", node.log_path), True, "%s: descriptor %d is %s" % (name, fd, at))
    node.ctl("status")


class Syslog:
    """A syslog daemon: what comes is appended to a file."""

    def __init__(self, path, to):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        os.chmod(path, 0o666)
        self.to = to
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with open(self.to, "ab", 0) as f, contextlib.suppress(OSError):
            while True:
                line = self.sock.recv(65536)
                if not line:
                    return
                f.write(line)

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@test(timeout=90)
def syslog_daemon_restarts(w):
    """The old socket leads nowhere; all processes find the new one, and say how much was lost."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        raise Skip("needs root and mount namespaces: a /dev/log of its own")
    d = w.tmp.sub("dev")
    script = """for f in null zero random urandom full
do : >"$0/$f" && mount --bind /dev/$f "$0/$f" || exit 1; done
ln -s "$0/sock" "$0/log" && mount --rbind "$0" /dev && exec "$@" """
    node = w.postern({"log": {"target": "syslog"}}, wrap=["unshare", "-m", "sh", "-c", script, d])
    daemon = Syslog(d + "/sock", node.log_path)
    node.start()
    node.client().close()
    node.wait_log(r"smtpd: Info: New SMTP ICID")
    daemon.close()
    mark = node.log_size()
    node.client().close()  # these lines are lost
    daemon = Syslog(d + "/sock", node.log_path)

    def heard():
        node.client().close()
        return node.lines(r"smtpd: Info: New SMTP ICID", mark)
    poll(heard, 20, "lines of smtpd in the new log")
    node.wait_log(r"smtpd: Warning: \d+ log lines? w(as|ere) lost", since=mark)
    node.wait_log(r"postern: Warning: the log target was gone", since=mark)
    node.ctl("reload")
    node.wait_log(r"postern: Info: settings loaded", since=mark)


if __name__ == "__main__":
    main()
