"""How a node starts, changes its settings, and ends; and with which rights its processes run."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess

from harness import contains, equal, main, test
from tests.world import Dialogue, Skip
from tests.world.base import MODE, ROOT, find_program, poll, scale
from tests.world.postern import ROLES, program

SENDER = "alice@client.test"


def status_of(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def one_message(w, node, name):
    rx = w.mx("mx1." + name)
    w.domain(name, rx)
    w.commit()
    node.submit(SENDER, "bob@" + name)
    rx.wait_messages(1)


def run_postern(*args, **kw):
    return subprocess.run([program("postern"), *args], capture_output=True, text=True,
                          timeout=30 * scale(), **kw)


@test(timeout=60)
def all_processes_run(w):
    node = w.postern().start()
    roles = {role for role, _ in node.children()}
    equal(roles, set(ROLES))
    one_message(w, node, "all.test")
    for role, pid in node.children():
        s = status_of(pid)
        equal(s["NoNewPrivs"], "1", role + ": no_new_privs")
        equal(s.get("Uid", "").split()[0] != "0", True, role + " runs as root")
    pids = dict((pid, role) for role, pid in node.children())
    node.stop()
    poll(lambda: not any(os.path.exists("/proc/%d" % p) for p in pids), 10, "children to be gone")


@test(timeout=90)
def as_root_separate_users(w):
    """Each process under its own user in an empty root directory.

    The accounts exist only in a mount namespace of this test, where its own files cover /etc/passwd
    and /etc/group.
    """
    if os.geteuid() != 0:
        raise Skip("needs root: separate users and chroot")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        raise Skip("no mount namespaces here")
    d = w.tmp.sub("accounts")
    for name in ("passwd", "group"):
        with open("/etc/" + name) as f:
            text = f.read()
        for i, role in enumerate(("smtpd", "queue", "resolver", "policyd", "deliver", "admin")):
            n = 61000 + i
            text += "_postern_%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n" % (role, n, n) \
                if name == "passwd" else "_postern_%s:x:%d:\n" % (role, n)
        with open(os.path.join(d, name), "w") as f:
            f.write(text)
    script = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec "$@"'
    node = w.postern({"postern": {"user": None}}, wrap=["unshare", "-m", "sh", "-c", script, d]).start()
    one_message(w, node, "users.test")
    seen = {}
    for role, pid in node.children():
        s = status_of(pid)
        uids = set(s["Uid"].split())
        equal(len(uids), 1, role + ": real, effective, saved")
        seen.setdefault(role, set()).update(uids)
        equal(s["Groups"].split() in ([], s["Gid"].split()[:1]), True, role + ": groups " + s["Groups"])
        caps = int(s["CapEff"], 16)
        equal(caps & ~(1 << 10), 0, "%s: capabilities %x" % (role, caps))  # NET_BIND_SERVICE at most
        if role != "queue":
            equal(os.listdir("/proc/%d/root/" % pid), [], role + ": root directory")
        equal(os.path.realpath("/proc/%d/root" % pid) != "/", True, role + ": chroot")
        fds = [os.readlink(f) for f in glob.glob("/proc/%d/fd/*" % pid)]
        own = "/%s/" % {"queue": "queue", "policyd": "policy"}.get(role, "none")
        equal([f for f in fds if f.endswith(".mdb") and own not in f], [], role + " has another's store open")
    equal(len({tuple(u) for u in seen.values()}), len(ROLES), "distinct users: %s" % seen)
    equal("0" in {u for s in seen.values() for u in s}, False, "a child runs as root")


@test
def as_root_users_missing(w):
    if os.geteuid() != 0:
        raise Skip("needs root")
    node = w.postern({"postern": {"user": None, "user_prefix": "_nobody_made"}}).write()
    done = run_postern("run", "-c", node.etc)
    equal(done.returncode != 0, True)
    contains(done.stdout + done.stderr, "user '_nobody_made_")
    contains(done.stdout + done.stderr, "postern setup -c " + node.etc)


@test(timeout=60)
def as_ordinary_user(w):
    """Everything works except what needs root, and the start says what that is."""
    wrap, kw = [], {}
    if os.geteuid() == 0:
        d = w.tmp.sub("bin")
        for f in glob.glob(os.path.join(ROOT, "build", MODE, "postern*")):
            if os.path.isfile(f) and os.access(f, os.X_OK):
                shutil.copy(f, d)
        wrap = [find_program("setpriv"), "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        kw = {"bin_dir": d}
    node = w.postern({"postern": {"user": None}}, wrap=wrap, **kw)
    if wrap:
        node.write()
        for path in (node.dir, node.etc, *glob.glob(node.etc + "/*")):
            shutil.chown(path, "nobody", "nogroup")
    node.start()
    one_message(w, node, "ordinary.test")
    uid = status_of(node.proc.pid)["Uid"].split()[0]
    for role, pid in node.children():
        s = status_of(pid)
        equal(set(s["Uid"].split()), {uid}, role)
        equal((s["NoNewPrivs"], s["CapEff"]), ("1", "0" * 16), role)
    node.wait_log(r"(?i)not .*root.*(user|chroot)|(user|chroot).*not .*root")


@test
def check_and_defaults(w):
    node = w.postern().write()
    done = run_postern("check", "-c", node.etc)
    equal(done.returncode, 0, done.stdout + done.stderr)
    for args in (("-c", node.etc, "check"), ("check", "-c", node.etc)):
        equal(run_postern(*args).returncode, 0, "the place of -c")
    done = run_postern("defaults")
    equal(done.returncode, 0)
    for key in ("max_connections", "hostname", "relay_from", "initial_retry"):
        contains(done.stdout, key)
    equal(run_postern("frobnicate").returncode, 2)
    equal(run_postern("check", "-c", node.dir + "/nowhere").returncode, 1)


@test
def reload_takes_new_settings(w):
    node = w.postern().start()
    one_message(w, node, "before.test")
    held = node.client()  # a session that was there before
    pids = node.children()
    node.settings["listener internal"]["max_message_size"] = "2k"
    node.reload()
    node.wait_log(r"settings loaded from .*, generation 1")

    def size():
        with node.client() as c:
            return c.smtp.esmtp_features.get("size")
    poll(lambda: size() == "2048", 10, "the new limit in EHLO")
    held.send(SENDER, "bob@before.test", subject="held")
    held.close()
    equal(node.children(), pids, "processes over a reload")
    # what only a restart changes is named, and the rest goes on
    node.settings["listener second"] = {"address": "auto", "relay_from": "127.0.0.0/8", "tls": "none"}
    node.reload()
    node.wait_log(r"listeners or their addresses changed: needs a restart")
    node.submit(SENDER, "bob@before.test")


def key_of_another_owner(node):
    """The node's key belongs to uid 61234 and to nobody else, as one that an ACME client renews."""
    key = os.path.join(node.etc, "renewed.pem")
    shutil.copy(node.cert.key, key)
    os.chown(key, 61234, 61234)
    os.chmod(key, 0o600)
    node.settings["certificate default"]["key_file"] = key
    return key


@test(timeout=60)
def reload_reads_files_of_other_owners(w):
    """What a start as root can read, a reload can read too."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    node = w.postern()
    key_of_another_owner(node)
    node.start()
    node.reload()
    node.wait_log(r"settings loaded from .*, generation 1")
    equal(int(status_of(node.proc.pid)["CapPrm"], 16) & 1 << 1, 0, "CAP_DAC_OVERRIDE")


@test(timeout=60)
def reload_says_whose_file_is_closed(w):
    """Without the capability, as in a container: the file, its owner, and what to do."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    node = w.postern(wrap=[find_program("setpriv"), "--bounding-set", "-dac_read_search"])
    key = key_of_another_owner(node)
    node.start()
    node.reload()
    line = node.wait_log(r"settings_error|cannot read")[0]
    contains(line, key)
    contains(line, "belongs to uid 61234 and has mode 600, and postern reads it as uid 0")
    node.wait_log(r"are refused, the running set stays")


@test(timeout=60)
def drains_on_sigterm(w):
    """A transaction that runs when SIGTERM comes is finished; new sessions are not taken."""
    rx = w.mx("mx1.drain.test")
    w.domain("drain.test", rx)
    node = w.postern().start()
    with Dialogue(node.smtp) as d:
        d.hello()
        d.cmd("MAIL FROM:<%s>" % SENDER, 250)
        d.cmd("RCPT TO:<bob@drain.test>", 250)
        d.cmd("DATA", 354)
        node.proc.send(signal.SIGTERM)
        poll(lambda: not node.reachable(), 10, "the listener to close")
        code, _ = d.send(b"Subject: last\r\n\r\nx\r\n.\r\n").reply()
        equal(code in (250, 421, 451), True, "answer while draining: %d" % code)
    equal(node.proc.popen.wait(20 * scale()), 0)
    node.proc = None
    if code == 250 and not rx.messages:
        node.start()
        rx.wait_messages(1)


@test(timeout=60)
def json_log(w):
    rx = w.mx("mx1.json.test")
    w.domain("json.test", rx)
    node = w.postern({"log": {"format": "json"}}).start()
    mid = node.submit(SENDER, "bob@json.test", subject="in \"JSON\"\t")
    rx.wait_messages(1)
    node.wait_log(r'"outcome": ?"delivered"')
    events = [json.loads(line) for line in node.log_text().splitlines()]
    done = [e for e in events if e.get("outcome") == "delivered" and e.get("mid") == mid]
    equal(len(done), 1, "exactly one line for one attempt")
    for key in ("time", "level", "event", "rid", "dcid", "from", "to", "domain", "host", "status",
                "reply", "delay_ms", "size"):
        equal(key in done[0], True, "%s in %r" % (key, done[0]))
    tls = [e for e in events if e.get("event") == "tls_success" and e.get("dcid") == done[0]["dcid"]]
    equal(len(tls), 1, "one line for TLS")
    for key in ("level_wanted", "level_proven", "protocol", "cipher", "rule"):
        equal(key in tls[0], True, "%s in %r" % (key, tls[0]))
    equal(bool(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", done[0]["time"])), True, done[0]["time"])


if __name__ == "__main__":
    main()
