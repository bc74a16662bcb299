"""Settings that change while a node runs: exceptions that end by themselves; edits that are staged, committed,
rolled back."""
import os
import signal
import subprocess
import time

from harness import contains, equal, main, say, test
from tests.world.base import find_program, poll
from tests.world.postern import program


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


def read(node, name):
    with open(os.path.join(node.etc, name)) as f:
        return f.read()


def control(node, domain):
    return node.ctl("explain", "a@" + domain, want=None)["control"]


@test(timeout=120)
def stage_commit_roll_back(w):
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    path = os.path.join(node.etc, "destinations.conf")
    with open(path, "a") as f:
        f.write("# why  this stays\n[bank.test]\nmax_connections   =  5\n")
    node.ctl("reload")
    before = read(node, "destinations.conf")
    node.ctl("destconfig", "edit", "bank.test", "max_connections=6", "tls=required")
    node.ctl("destconfig", "new", "new.test", "recipient_limit=10/1m")
    node.ctl("destconfig", "default", "max_messages_per_connection=20")
    node.ctl("bounceconfig", "new", "quick", "max_retries=3")
    # nothing is in force, nothing is written, before commit
    equal(read(node, "destinations.conf"), before)
    equal(control(node, "bank.test")["max_connections"], "5")
    equal(len(node.ctl("showchanges", raw=True).splitlines()[0].split()), 3)  # staged by WHO, and nobody else
    got = node.ctl("showchanges")
    equal(got["ok"], True)
    equal(sorted((c["kin"], c["entry"], c["change"]) for c in got["changes"]), [
        ("bounceconfig", "quick", "new"), ("destconfig", "DEFAULT", "new"),
        ("destconfig", "bank.test", "changed"), ("destconfig", "new.test", "new")])
    bank = [c for c in got["changes"] if c["entry"] == "bank.test"][0]
    equal(bank["keys"], [{"key": "max_connections", "from": "5", "to": "6"},
                         {"key": "tls", "from": None, "to": "required"}])
    got = node.ctl("commit", "-m", "CHG 1")
    equal(got["ok"], True)
    node.wait_log(r"settings committed: revision 2 by .*: CHG 1")
    contains(read(node, "destinations.conf"),
             "# why  this stays\n[bank.test]\nmax_connections   =  6\ntls               = required\n")
    equal(control(node, "bank.test")["max_connections"], "6")
    equal(control(node, "other.test")["max_messages_per_connection"], "20")
    equal(node.ctl("showchanges")["staged"], False)
    # a number that there is not is refused, whatever its size
    node.ctl("rollbackconfig", "77", want=1)
    node.ctl("rollbackconfig", str(1 << 56), want=2, raw=True)
    got = node.ctl("rollbackconfig")
    equal(got["revision"], 3)
    equal(read(node, "destinations.conf"), before)
    equal(control(node, "bank.test")["max_connections"], "5")
    got = node.ctl("history")["revisions"]
    equal([(r["revision"], r["message"]) for r in got], [
        (3, "rollback to revision 1"), (2, "CHG 1"), (1, "the files as they were found")])


@test(timeout=120)
def refused_and_nothing_changes(w):
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    before = read(node, "destinations.conf")
    # at once: what no file could hold
    node.ctl("destconfig", "new", "x.test", "tls=maybe", want=2, raw=True)
    node.ctl("destconfig", "new", "x.test", "tlss=none", want=2, raw=True)
    node.ctl("destconfig", "new", "no domain", "tls=none", want=2, raw=True)
    node.ctl("destconfig", "new", "keep.test", "tls=none", want=1, raw=True)
    node.ctl("destconfig", "edit", "x.test", "tls=none", want=1, raw=True)
    equal(node.ctl("showchanges")["staged"], False)
    # at commit: rules between keys and entries, with file and line
    node.ctl("destconfig", "new", "x.test", "bounce_profile=missing")
    node.ctl("destconfig", "new", "y.test", "tls=none", "mta_sts=on")
    got = node.ctl("commit", want=1)
    equal(got["ok"], False)
    equal([e["file"] for e in got["errors"]], ["destinations.conf"] * 2)
    lines = ("\n" + before).count("\n")
    equal(all(e["line"] > lines for e in got["errors"]), True)
    contains(got["errors"][0]["text"], "missing")
    equal(read(node, "destinations.conf"), before)
    equal(node.ctl("showchanges", want=1)["staged"], True)
    # it is there after a restart, and can be cleared
    node.restart()
    equal(len(node.ctl("showchanges", want=1)["changes"]), 2)
    node.ctl("clearchanges")
    equal(node.ctl("showchanges")["staged"], False)


@test(timeout=120)
def two_editors_and_closed_directories(w):
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    node.ctl("destconfig", "edit", "keep.test", "max_connections=8")
    with open(os.path.join(node.etc, "destinations.conf"), "a") as f:
        f.write("# by hand\n")
    contains(node.ctl("commit", want=1)["error"]["text"], "somebody has changed the files")
    node.ctl("clearchanges")
    node.ctl("destconfig", "edit", "keep.test", "max_connections=8")
    node.ctl("commit")
    contains(read(node, "destinations.conf"), "# by hand\n")
    # each is told of the other, never of himself
    try:
        for who, others in [("ann", ""), ("bob", "ann"), ("ann", "bob"), ("bob", "ann")]:
            os.environ["SUDO_USER"] = who
            equal(node.ctl("destconfig", "edit", "keep.test", "max_connections=9")["others"], others)
    finally:
        del os.environ["SUDO_USER"]
    got = node.ctl("showchanges")
    equal((got["who"], got["others"]), ("ann", "bob"))
    node.ctl("clearchanges")
    # something else manages this table
    path = os.path.join(node.etc, "routes.conf")
    os.rename(path, path + ".real")
    os.symlink("routes.conf.real", path)
    text = node.ctl("destconfig", "edit", "keep.test", "max_connections=9", want=1)["error"]["text"]
    contains(text, "symbolic link")


@test(timeout=120)
def a_file_broken_by_hand_is_rolled_back(w):
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    node.ctl("destconfig", "edit", "keep.test", "max_connections=8")
    node.ctl("commit", "-m", "good")
    good = read(node, "destinations.conf")
    with open(os.path.join(node.etc, "destinations.conf"), "a") as f:
        f.write("[keep.test\nmax_connections = many\n")
    contains(node.ctl("destconfig", "list", want=1)["error"]["text"], "destinations.conf")
    equal([r["message"] for r in node.ctl("history")["revisions"]],
          ["good", "the files as they were found"])
    # what was last in force, not what was before that
    node.ctl("rollbackconfig")
    equal(read(node, "destinations.conf"), good)
    equal(control(node, "keep.test")["max_connections"], "8")
    equal([r["message"] for r in node.ctl("history")["revisions"]],
          ["rollback to revision 2", "the files as they were found", "good",
           "the files as they were found"])


@test(timeout=120)
def what_is_not_in_force_is_not_called_so(w):
    w.changing()
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    node.ctl("destconfig", "edit", "keep.test", "max_connections=8")
    # no process can be given a new set
    tracer = subprocess.Popen([find_program("strace"), "-p", str(node.proc.pid), "-e", "trace=memfd_create", "-e",
                               "inject=memfd_create:error=EMFILE"], stderr=subprocess.PIPE, text=True)
    try:
        contains(tracer.stderr.readline(), "attached")
        got = node.ctl("commit", want=1)
        equal((got["ok"], got["revision"], got["in_force"]), (True, 2, False))
        node.wait_log(r"deliver 0 could not be given the settings and keeps its old ones")
        equal(control(node, "keep.test")["max_connections"], "7")
        contains(node.ctl("reload", want=3)["error"]["text"], "reload again")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=60)
    node.ctl("reload")
    equal(control(node, "keep.test")["max_connections"], "8")
    node.ctl("destconfig", "edit", "keep.test", "max_connections=9")
    equal(node.ctl("commit")["in_force"], True)


@test(timeout=120)
def a_commit_whose_tables_cannot_be_written_is_told(w):
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    # as on a full disk: the revision is written, a table is not
    os.mkdir(os.path.join(node.etc, "destinations.conf.new"))
    node.ctl("destconfig", "edit", "keep.test", "max_connections=8")
    equal(node.ctl("commit")["in_force"], True)
    node.wait_log(r"is in force, but its tables could not be written")
    equal(control(node, "keep.test")["max_connections"], "8")
    equal("8" in read(node, "destinations.conf"), False)
    os.rmdir(os.path.join(node.etc, "destinations.conf.new"))
    node.ctl("reload")
    node.wait_log(r"the tables of the commit in .* are written now")
    contains(read(node, "destinations.conf"), "max_connections = 8")
    equal(os.path.exists(os.path.join(node.etc, ".postern-commit")), False)
    equal(control(node, "keep.test")["max_connections"], "8")


@test(timeout=120)
def a_death_behind_the_commit_leaves_nothing_staged(w):
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    staged = os.path.join(node.settings["postern"]["state_dir"], "settings", "staged")
    node.ctl("destconfig", "edit", "keep.test", "max_connections=8")
    node.stop()  # saves them
    with open(staged, "rb") as f:
        kept = f.read()
    node.start()
    equal(node.ctl("commit")["in_force"], True)
    node.stop()
    node.write = lambda: None  # the files stay as they were committed
    # as it is when the node dies between the commit and the end of the edits
    with open(staged, "wb") as f:
        f.write(kept)
    node.start()
    equal(node.ctl("showchanges", want=None)["staged"], False)
    equal(node.ctl("rollbackconfig")["ok"], True)
    equal(control(node, "keep.test")["max_connections"], "7")


@test(timeout=120)
def what_a_change_would_do_to_waiting_mail(w):
    w.changing()
    node = w.postern(destinations={"a.test": {"tls": "preferred", "max_connections": 7},
                                   "d.test": {"tls": "preferred-verify"}}).start()
    node.ctl("suspenddel")
    for to in ("1@a.test", "2@a.test", "1@b.test", "1@c.test", "1@d.test"):
        mid = node.submit("s@here.test", to)
        node.wait_log(r"MID %d queued for delivery" % mid)
    node.ctl("destconfig", "edit", "a.test", "tls=required-verify", "max_connections=3")
    node.ctl("smtproutes", "new", "b.test", "hosts=/dev/null")
    node.ctl("destconfig", "edit", "d.test", "tls=required")
    node.ctl("destconfig", "new", "nobody.test", "tls=none")
    got = node.ctl("showchanges")["impact"]
    equal((got["destinations"], got["recipients"], got["whole"]), (3, 4, True))
    told = {t["domain"]: t for t in got["touched"]}
    equal(sorted(told), ["a.test", "b.test", "d.test"])
    contains(told["d.test"]["outcome"], "undeliverable where a host has no TLS")
    equal((told["a.test"]["recipients"], told["a.test"]["entry"]), (2, "a.test"))
    equal(told["a.test"]["keys"], [{"key": "max_connections", "from": "7", "to": "3"},
                                   {"key": "tls", "from": "preferred", "to": "required-verify"}])
    contains(told["a.test"]["outcome"], "undeliverable where a certificate cannot be verified")
    equal(told["b.test"]["keys"], [{"key": "route", "from": None, "to": "/dev/null"}])
    contains(told["b.test"]["outcome"], "discarded")
    out = node.ctl("commit", "-m", "x", raw=True)
    contains(out, "impact: 3 destinations with 4 waiting recipients\n")
    contains(out, "  a.test, 2 waiting, by [a.test]: max_connections 7 -> 3, tls preferred -> required-verify\n")
    contains(out, "committed as revision 2, and in force")


@test(timeout=180)
def a_preview_of_much_has_its_bounds(w):
    w.changing()
    hosts = ", ".join("%s.relay%d.test" % ("h" * 50, i) for i in range(14))
    node = w.postern(routes={"ALL": {"hosts": hosts.replace("h", "g")}}).start()
    node.ctl("suspenddel")
    # more bytes of names than go with one question
    for k in range(10):
        node.wait_log(r"MID %d queued" % node.submit(
            "s@here.test", ["a@%s.d%04d.test" % ("d" * 60, 100 * k + i) for i in range(100)],
            b"Subject: x\r\n\r\nx\r\n"))
    path = os.path.join(os.path.dirname(node.etc), "routes.txt")
    with open(path, "w") as f:
        f.write("[ALL]\nhosts = %s\n" % hosts + "".join("[n%d.test]\nhosts = %s\n" % (i, hosts) for i in range(1000)))
    node.ctl("smtproutes", "import", path)
    node.ctl("destconfig", "default", "max_connections=7", "max_messages_per_connection=7", "tls=required-verify",
             "dane=none", "recipient_limit=70/7m", "limit_scope=mx-ip", "limit_apply=gateway",
             "ip_preference=require-ipv4")
    got = node.ctl("showchanges")
    equal((got["ok"], got["count"]), (True, 1002))
    equal(got["impact"]["whole"], False)
    equal(got["impact"]["destinations"] > 600, True, "destinations of which is told")
    contains(node.ctl("commit", raw=True), "of the busiest")


@test(timeout=120)
def bad_commits_have_file_and_line(w):
    node = w.postern(destinations={"keep.test": {"max_connections": 7}}).start()
    before = read(node, "destinations.conf")
    at = before.count("\n")

    def refused(what):
        got = node.ctl("commit", want=1)
        equal((got["ok"], len(got["errors"])), (False, 1))
        error = got["errors"][0]
        equal(error["file"], "destinations.conf")
        if not error["line"] > at:
            raise AssertionError("line %r is none of the new entry's" % error["line"])
        contains(error["text"], what)
        equal(read(node, "destinations.conf"), before)
        equal(control(node, "keep.test")["max_connections"], "7")
        node.ctl("clearchanges")

    node.ctl("destconfig", "new", "a.test", "tls=none", "mta_sts=on")
    refused("mta_sts")
    node.ctl("destconfig", "new", "a.test", "bounce_profile=nowhere")
    refused("nowhere")
    # an unknown key is refused when it is typed; by hand, at the reload
    contains(node.ctl("destconfig", "new", "a.test", "tsl=none", want=2)["error"]["text"], "did you mean 'tls'")
    with open(os.path.join(node.etc, "destinations.conf"), "a") as f:
        f.write("[b.test]\ntsl = none\n")
    node.ctl("reload", want=1)
    node.wait_log(r"destinations.conf:%d: error: .*tsl" % (at + 2))
    equal(control(node, "keep.test")["max_connections"], "7")


@test(timeout=180)
def a_kill_during_a_commit(w):
    """The node dies at different moments of a commit of two tables: the next start has the old set or the new one, in the
    files and in force, and no mixture."""
    node = w.postern(settings={"postern": {"drain_deadline": "1s"}},
                     destinations={"keep.test": {"max_connections": 7}},
                     routes={"keep.test": {"hosts": "relay.test"}}).start()
    node.write = lambda: node  # the node's own files are what is looked at
    table = os.path.join(os.path.dirname(node.etc), "table.txt")
    with open(table, "w") as f:
        f.writelines("[d%d.test]\nmax_host_concurrency = 5\n" % i for i in range(2000))
    under_way, seen = 0, []
    for i in range(8):
        old = (read(node, "destinations.conf"), read(node, "routes.conf"))
        node.ctl("destconfig", "import", table)
        node.ctl("destconfig", "new", "run%d.test" % i, "max_connections=9")
        node.ctl("smtproutes", "new", "run%d.test" % i, "hosts=relay%d.test" % i)
        commit = subprocess.Popen([program("posternctl"), "-c", node.etc, "commit", "-m", "run", "--json"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if i % 2 == 0:  # early: while it is read and checked
            time.sleep(0.01 * i)
        else:
            journal_or_end(node, commit)
            time.sleep(0.002 * i)
        under_way += commit.poll() is None
        node.kill_hard()
        commit.wait(30)
        node.start()
        new = (read(node, "destinations.conf"), read(node, "routes.conf"))
        done = "run%d.test" % i in new[0]
        equal("run%d.test" % i in new[1], done, "both tables are of one set")
        equal(control(node, "run%d.test" % i)["entry"], "run%d.test" % i if done else "DEFAULT", "in force")
        if not done:
            equal(new, old)
        seen.append(done)
        node.ctl("clearchanges")
    assert under_way > 0, "no kill met a commit that was under way"
    say("committed at the kill: %s; under way %d of 8" % (seen, under_way))


def journal_or_end(node, commit):
    """Until a commit writes beside the tables, or is over."""
    names = set(os.listdir(node.etc))
    poll(lambda: commit.poll() is not None or set(os.listdir(node.etc)) != names, 30, "the commit to begin", step=0.0005)


if __name__ == "__main__":
    main()
