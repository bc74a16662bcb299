"""postern.py - a Postern node under test: its settings, its processes, its log, its numbers."""
import ctypes
import ctypes.util
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request

from .base import MODE, ROOT, Proc, Timeout, WorldError, poll, scale
from .client import Client, submit

ROLES = ("smtpd", "queue", "resolver", "policyd", "deliver", "admin")
AUTO = "auto"  # as a listener's address: a free port, then found in node.listeners
SANITIZER = re.compile(r"(ERROR: (?:Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:)")


def password_hash(password):
    """yescrypt at its lowest cost, by libcrypt (Python's crypt module is going away)."""
    lib = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    lib.crypt_gensalt.restype = lib.crypt.restype = ctypes.c_char_p
    lib.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    salt = lib.crypt_gensalt(b"$y$", 1, os.urandom(16), 16)
    return lib.crypt(password.encode(), salt).decode()


def program(name):
    path = os.path.join(ROOT, "build", MODE, name)
    if not os.access(path, os.X_OK):
        raise WorldError("%s is not built: make%s" % (path, "" if MODE == "release" else
                                                      " MODE=" + MODE))
    return path


def write_ini(path, sections):
    """sections: {"kind name": {key: value}}; a value None leaves the key out."""
    out = []
    for head, keys in sections.items():
        if keys is None:
            continue
        out.append("[%s]" % head)
        for key, value in keys.items():
            if value is None:
                continue
            if isinstance(value, bool):
                value = "yes" if value else "no"
            if isinstance(value, (list, tuple)):
                value = ", ".join(map(str, value))
            out.append("%s = %s" % (key, value))
        out.append("")
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write("\n".join(out))
    os.rename(path + ".new", path)


class Postern:
    """One node. settings and tables are merged over defaults that suit the world.

    settings: postern.conf; destinations, routes, gateways, bounce: the tables, without "DEFAULT"
    what tests want everywhere: quick retries, the world's CA, resolver and port.
    """

    def __init__(self, world, settings=None, destinations=None, routes=None, gateways=None,
                 bounce=None, users=None, name="node", wrap=(), bin_dir=None):
        """wrap: words before the program (setpriv …, strace -D), which must keep the pid; bin_dir: where to take the
        programs from instead of build/."""
        self.world = world
        self.wrap = list(wrap)
        self.bin_dir = bin_dir
        self.dir = world.tmp.sub(name)
        self.etc = world.tmp.sub(name + "/etc")
        self.address = world.block.address(0, 1)
        self.users = dict(users or {"alice": "wonderland"})
        self.listeners = {}
        self.proc = None
        self.log_path = os.path.join(self.dir, "postern.log")
        self.err_path = os.path.join(self.dir, "stderr.log")
        self.hostname = "gw1.world.invalid"
        self.cert = world.ca.issue([self.hostname, "localhost", self.address])
        users_file = os.path.join(self.etc, "users")
        with open(users_file, "w") as f:
            for user, password in self.users.items():
                f.write("%s:%s\n" % (user, password_hash(password)))
        os.chmod(users_file, 0o600)
        self.settings = {
            "postern": {"hostname": self.hostname, "state_dir": self.dir + "/state",
                        "run_dir": self.dir + "/run",
                        "user": "nobody" if os.geteuid() == 0 else None},
            "listener internal": {"address": AUTO, "relay_from": "127.0.0.0/8, ::1", "tls": "offered",
                                  "certificate": "default"},
            "certificate default": {"cert_file": self.cert.chain, "key_file": self.cert.key},
            "trust": {"ca_file": world.ca.ca_file},
            "resolver": {"nameservers": "%s:%d" % world.dns.unbound},
            # the world's hosts are on loopback, and DNS names them
            "delivery": {"port": world.port, "deny_networks": "none"},
            "log": {"format": "text", "target": "stdout", "level": "info"},
            "admin": {"listen": "%s:%d" % (self.address, world.block.free_port(self.address)),
                      "metrics": "yes"},
        }
        self.destinations = destinations or {}
        self.routes = routes or {}
        self.gateways = gateways or {}
        # a down host is asked again soon, so that a test need not wait minutes
        self.bounce = {"profile default": {"initial_retry": "1s", "max_retry": "2s"}}
        self.merge(self.settings, settings)
        self.merge(self.bounce, bounce)
        world.nodes.append(self)

    @staticmethod
    def merge(into, more):
        for head, keys in (more or {}).items():
            if keys is None or head not in into:
                into[head] = keys
            else:
                into[head] = {**into[head], **keys}

    # ---- files ----

    def auth_listener(self, **keys):
        """Keys for a listener that wants AUTH inside TLS."""
        return {"address": AUTO, "auth": "required", "auth_file": self.etc + "/users",
                "tls": "offered", "certificate": "default", **keys}

    def write(self):
        for head, keys in self.settings.items():
            if head.startswith("listener ") and keys is not None:
                if keys["address"] == AUTO:
                    keys["address"] = "%s:%d" % (self.address,
                                                 self.world.block.free_port(self.address))
                first = keys["address"].split(",")[0].strip()
                host, port = first.rsplit(":", 1)
                self.listeners[head.split(" ", 1)[1]] = (host.strip("[]"), int(port))
        for name, tables in (("postern", self.settings), ("destinations", self.destinations),
                             ("routes", self.routes), ("gateways", self.gateways),
                             ("bounce", self.bounce)):
            write_ini(os.path.join(self.etc, name + ".conf"), tables)
        return self

    # ---- running ----

    def start(self, timeout=30):
        self.world.commit()
        self.write()
        mark = self.log_size()
        self.proc = Proc("postern", [*self.wrap, self.program("postern"), "run", "-c", self.etc],
                         self.log_path, err_path=self.err_path, env=self.env())
        poll(lambda: self.running_or_raise() and "postern ready" in self.log_text(mark), timeout,
             lambda: "the line 'postern ready'; the log ends:\n" + self.tail())
        return self

    def program(self, name):
        return os.path.join(self.bin_dir, name) if self.bin_dir else program(name)

    def env(self):
        env = dict(os.environ)
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        return env

    def running_or_raise(self):
        if not self.proc.running():
            raise WorldError("postern ended with status %s:\n%s" % (self.proc.popen.returncode,
                                                                    self.tail()))
        return True

    def stop(self, timeout=20, want=0):
        """SIGTERM; the exit status must be `want`, and no sanitizer may have spoken."""
        if self.proc is None:
            return
        proc, self.proc = self.proc, None
        if not proc.running():
            raise WorldError("postern had ended by itself with status %s:\n%s" % (
                proc.popen.returncode, self.tail()))
        proc.popen.terminate()
        try:
            code = proc.popen.wait(timeout * scale())
        except subprocess.TimeoutExpired:
            proc.popen.kill()
            proc.popen.wait()
            raise Timeout("postern did not end within %d s of SIGTERM:\n%s" % (timeout, self.tail()))
        if code != want:
            raise WorldError("postern ended with status %s, wanted %s:\n%s" % (code, want,
                                                                               self.tail()))
        self.check_sanitizer()

    def check_sanitizer(self):
        found = SANITIZER.search(self.err_text()) or SANITIZER.search(self.log_text())
        if found:
            raise WorldError("a sanitizer found something:\n" + self.err_text()[-6000:])

    def kill_hard(self):
        """SIGKILL to the supervisor, as a power cut of the process tree would look from outside."""
        pids = [pid for _, pid in self.children()]
        self.proc.popen.kill()
        self.proc.popen.wait()
        self.proc = None
        poll(lambda: not any(os.path.exists("/proc/%d" % p) for p in pids), 10,
             "children to follow their supervisor")

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        if self.proc is not None:
            self.proc.stop(timeout=5)
            self.proc = None

    def reload(self):
        """Write the settings and SIGHUP."""
        self.write()
        self.proc.send(signal.SIGHUP)

    def children(self):
        """[(role, pid)] of the supervisor's children, from /proc."""
        out = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % entry) as f:
                    stat = f.read()
            except OSError:
                continue
            name = stat[stat.index("(") + 1:stat.rindex(")")]
            fields = stat[stat.rindex(")") + 2:].split()
            if int(fields[1]) != self.proc.pid or fields[0] == "Z":
                continue
            for role in ROLES:
                if name == ("postern-" + role)[:15]:  # the kernel keeps 15 characters
                    out.append((role, int(entry)))
        return out

    def pids(self, role):
        return [pid for r, pid in self.children() if r == role]

    def kill(self, role, sig=signal.SIGKILL, wait=True, timeout=30):
        """Kill one child of that role; with wait, until a new one runs in its place."""
        before = self.pids(role)
        if not before:
            raise WorldError("no %s process runs" % role)
        os.kill(before[0], sig)
        if wait:
            poll(lambda: self.running_or_raise() and len(self.pids(role)) >= len(before) and
                 before[0] not in self.pids(role), timeout, "a new %s process" % role)
        return before[0]

    # ---- the log ----

    def log_size(self):
        try:
            return os.path.getsize(self.log_path)
        except OSError:
            return 0

    def log_text(self, since=0):
        try:
            with open(self.log_path, "rb") as f:
                f.seek(since)
                return f.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def err_text(self):
        try:
            with open(self.err_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def lines(self, regex, since=0):
        wanted = re.compile(regex)
        return [line for line in self.log_text(since).splitlines() if wanted.search(line)]

    def wait_log(self, regex, timeout=20, n=1, since=0):
        """Wait for n matching lines; returns them."""
        def there():
            found = self.lines(regex, since)
            if len(found) >= n:
                return found
            self.running_or_raise()
            return None
        return poll(there, timeout, lambda: "%d log line(s) /%s/; the log ends:\n%s" % (
            n, regex, self.tail()))

    def wait_done(self, mid, timeout=30):
        return self.wait_log(r"Message finished MID %d done" % mid, timeout)

    def tail(self, lines=30):
        out = self.log_text().splitlines()[-lines:]
        err = self.err_text().splitlines()[-lines:]
        return "\n".join(out + (["stderr:"] + err if err else []))

    # ---- clients ----

    @property
    def smtp(self):
        return self.listeners["internal"]

    def submit(self, mail_from, rcpts, data=None, listener="internal", session=None, **kw):
        return submit(self.listeners[listener], mail_from, rcpts, data, session, **kw)

    def client(self, listener="internal", **kw):
        return Client(self.listeners[listener], **kw)

    def ctl(self, *args, want=0, timeout=30, raw=False):
        """posternctl --json; returns the decoded answer. want: exit status, None: any."""
        args = [program("posternctl"), "-c", self.etc, *map(str, args)] + ([] if raw else ["--json"])
        done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout * scale(), env=self.env())
        out = done.stdout.decode("utf-8", "replace")
        if want is not None and done.returncode != want:
            raise WorldError("%s: exit %d, wanted %d: %s %s" % (
                " ".join(args), done.returncode, want, out, done.stderr.decode("utf-8", "replace")))
        if raw:
            return out
        try:
            return json.loads(out)
        except ValueError:
            raise WorldError("%s: no JSON: %r" % (" ".join(args), out[:500]))

    # ---- numbers ----

    def metrics(self):
        """{name: sum over its labels}, and {"name{labels}": value}."""
        url = "http://%s/metrics" % self.settings["admin"]["listen"]
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                url, timeout=10 * scale()) as f:
            text = f.read().decode()
        out = {}
        for line in text.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            key, value = line.rsplit(" ", 1)
            out[key] = float(value)
            if "{" in key:
                name = key.split("{", 1)[0]
                out[name] = out.get(name, 0.0) + float(value)
        return out

    def conservation(self):
        """(left side, right side, all numbers) of the conservation law."""
        m = self.metrics()
        name = "postern_recipients_%s"
        left = sum(m.get(name % k, 0) for k in ("accepted_total", "generated_total"))
        right = sum(m.get(name % k, 0) for k in ("delivered_total", "bounced_total", "expired_total",
                                                 "removed_total", "queued"))
        if name % "accepted_total" not in m or name % "queued" not in m:
            raise WorldError("no conservation metrics among %s" % sorted(m)[:40])
        return left, right, {k: v for k, v in m.items() if k.startswith("postern_recipients_")}

    def queued(self):
        return int(self.metrics()["postern_recipients_queued"])

    def wait_empty(self, timeout=60):
        """Wait until nothing is queued, then the law must hold."""
        def empty():
            self.running_or_raise()
            try:
                return self.queued() == 0
            except (OSError, KeyError):
                return False  # admin or queue is being restarted
        poll(empty, timeout, lambda: "an empty queue; the log ends:\n" + self.tail(), step=0.05)
        left, right, numbers = self.conservation()
        if left != right:
            raise WorldError("conservation law broken: %s" % numbers)

    def reachable(self, listener="internal"):
        try:
            socket.create_connection(self.listeners[listener], timeout=1).close()
            return True
        except OSError:
            return False
