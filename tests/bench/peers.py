"""peers.py - the systems that the bench compares, all started once and kept warm.

Each has targets {listener: (address, port)} with the listeners "open" (relays for loopback) and
"auth" (inside TLS, with a password), and sends mail for *.plain.bench.test to the sink without
STARTTLS and *.tls.bench.test to the one with it. Same log detail (default), same disk, same
next hops by route, so that DNS plays no part.
"""
import ctypes
import ctypes.util
import os
import pwd
import shutil

from tests.world import AUTO
from tests.world.base import Proc, Skip, find_program, poll, run
from tests.world.postern import Postern
from tests.world.postfix import DIRS
from tests.bench.measure import Group

USER, PASSWORD = "bench", "a-password"


class Direct:
    """No relay: the source talks to the sink. What the two cost and can do."""

    name = "direct"
    group = None

    def __init__(self, sinks):
        self.sinks = sinks

    def target(self, cell):
        return self.sinks["tls" if cell.tls else "plain"].address

    def close(self):
        pass


class PosternPeer:
    """A node with the defaults, but more connections from one client."""

    def __init__(self, world, sinks, wrap=(), name="postern", mx=False, settings=None, destinations=None):
        """settings: sections of postern.conf, beside those that are needed here."""
        self.name = name
        route = {".%s.bench.test" % k: {"hosts": "%s:%d" % s.address} for k, s in sinks.items()}
        self.node = Postern(
            world, name=name, users={USER: PASSWORD}, routes={} if mx else route,
            destinations=destinations, settings={
                **(settings or {}),
                "listener internal": {"max_connections_per_client": 1000},
                "listener auth": {"address": AUTO, "auth": "required", "tls": "offered",
                                  "certificate": "default", "max_connections_per_client": 1000,
                                  "auth_file": world.tmp.sub(name + "/etc") + "/users"},
            })
        self.node.wrap = list(wrap)
        self.node.start()
        self.group = Group(name, self.node.proc.pid)
        self.queue_dir = self.node.dir

    def target(self, cell):
        return self.node.listeners["auth" if cell.auth else "internal"]

    def queued(self):
        return self.node.queued()

    def metrics(self):
        return self.node.metrics()

    def close(self):
        self.node.close()
        self.group.close()


# What an operator sets who wants throughput from Postfix on a small machine and keeps its promises:
# no per-client rate limits (anvil), no delay on intake while the queue fills, enough processes,
# processes that live long, a high concurrency to the one next hop, connection reuse also for TLS,
# TLS session caches. Everything else is Debian's default; nothing that weakens durability.
MAIN = """compatibility_level = 3.6
myhostname = postfix.bench.test
myorigin = postfix.bench.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
queue_directory = %(dir)s/queue
data_directory = %(dir)s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
import_environment = MAIL_CONFIG TZ LANG=C
maillog_file = %(dir)s/log/mail.log
maillog_file_prefixes = %(dir)s/log
alias_maps =
alias_database =
local_recipient_maps =
transport_maps = texthash:%(dir)s/transport
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
message_size_limit = 104857600
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions = static:all
in_flow_delay = 0
default_process_limit = 100
max_use = 10000
max_idle = 300s
initial_destination_concurrency = 20
default_destination_concurrency_limit = 50
smtp_connection_cache_on_demand = yes
smtp_tls_security_level = may
smtp_tls_connection_reuse = yes
smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache
smtpd_tls_security_level = may
smtpd_tls_chain_files = %(key)s, %(chain)s
smtpd_tls_auth_only = yes
smtpd_sasl_local_domain = bench
"""

MASTER = """%(address)s:%(open)d inet n - n - - smtpd
%(address)s:%(auth)d inet n - n - - smtpd
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def sasl_password(directory, realm):
    """A directory with the settings of libsasl2 and a sasldb with one user, made by the library
    itself. Once for a process: it reads its settings only once."""
    conf = os.path.join(directory, "sasl")
    if os.path.isdir(conf):
        return conf
    os.makedirs(conf)
    db = os.path.join(conf, "sasldb2")
    with open(os.path.join(conf, "smtpd.conf"), "w") as f:
        f.write("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN\n"
                "sasldb_path: %s\n" % db)
    lib = ctypes.CDLL(ctypes.util.find_library("sasl2") or "libsasl2.so.2")
    conn = ctypes.c_void_p()
    lib.sasl_set_path(1, conf.encode())  # SASL_PATH_TYPE_CONFIG
    for r in (lib.sasl_server_init(None, b"smtpd"),
              lib.sasl_server_new(b"smtpd", realm.encode(), realm.encode(), None, None, None, 0,
                                  ctypes.byref(conn)),
              lib.sasl_setpass(conn, USER.encode(), PASSWORD.encode(), len(PASSWORD), None, 0, 1)):
        if r != 0:
            raise Skip("libsasl2 makes no password (error %d): libsasl2-modules missing?" % r)
    os.chmod(db, 0o644)
    return conf


class PostfixPeer:
    """Debian's Postfix, a private instance: own configuration, queue, data, log."""

    name = "postfix"

    def __init__(self, world, sinks, wrap=(), name="postfix"):
        if os.geteuid() != 0:
            raise Skip("Postfix needs root: its master starts daemons under the mail owner's user")
        d = self.dir = world.tmp.sub(name)
        address = world.block.host()
        self.ports = {k: world.block.free_port(address) for k in ("open", "auth")}
        self.address = address
        owner = pwd.getpwnam("postfix")
        for sub in ("queue", "data", "log", *("queue/" + q for q in DIRS.split())):
            os.makedirs(os.path.join(d, sub), exist_ok=True)
        for sub in DIRS.split():
            if sub != "pid":
                shutil.chown(os.path.join(d, "queue", sub), owner.pw_uid)
        for sub, mode in (("maildrop", 0o730), ("public", 0o710)):
            shutil.chown(os.path.join(d, "queue", sub), owner.pw_uid, "postdrop")
            os.chmod(os.path.join(d, "queue", sub), mode)
        os.chmod(os.path.join(d, "queue", "private"), 0o700)
        os.chown(os.path.join(d, "data"), owner.pw_uid, owner.pw_gid)
        # Debian's Postfix looks into the directory of its configuration
        shutil.copytree(sasl_password(world.tmp.path, "bench"), d + "/sasl")
        cert = world.ca.issue(["postfix.bench.test", address])
        with open(d + "/transport", "w") as f:
            for kind, s in sinks.items():
                f.write(".%s.bench.test smtp:[%s]:%d\n" % (kind, *s.address))
        values = {"dir": d, "address": address, "key": cert.key,
                  "chain": cert.chain, **self.ports}
        with open(d + "/main.cf", "w") as f:
            f.write(MAIN % values)
        with open(d + "/master.cf", "w") as f:
            f.write(MASTER % values)
        run([find_program("postconf"), "-c", d, "-n"])  # refuses what it cannot read
        self.proc = Proc("postfix", [*wrap, "/usr/lib/postfix/sbin/master", "-c", d, "-d"],
                         d + "/master.log", new_session=True)
        world.tmp.guard(self.proc.pid)
        self.group = None
        try:
            self.proc.wait_for(lambda: "daemon started" in self.log_text(), 20, "no start")
        except BaseException:
            self.close()
            raise
        self.group = Group(name, self.proc.pid)
        self.queue_dir = d

    def log_text(self):
        try:
            with open(self.dir + "/log/mail.log", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def target(self, cell):
        return self.address, self.ports["auth" if cell.auth else "open"]

    def queued(self):
        """Messages in the queue, by its files: names are the queue ids."""
        n = 0
        for sub in ("maildrop", "incoming", "active", "deferred"):
            for _, _, files in os.walk(os.path.join(self.dir, "queue", sub)):
                n += len(files)
        return n

    def close(self):
        self.proc.stop(timeout=10)
        # its daemons end with their master, a moment later
        if self.group:
            poll(lambda: not self.group.pids() or self.group.dir is None, 10, "Postfix to end")
            self.group.close()
