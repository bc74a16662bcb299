"""postfix.py - a private Postfix as a receiver that nobody of us wrote.

Own configuration, queue, data and log below the world's directory; it listens on one address of
the world and stores what it gets in a maildir. The system's instance and files are not touched.
Postfix's master must be root, because its daemons change to the mail owner: without root this
raises Skip with the reason.
"""
import os
import pwd
import shutil

from .base import Proc, Skip, find_program, poll, run

DIRS = "active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace"

MAIN = """compatibility_level = 3.6
myhostname = %(host)s
myorigin = %(host)s
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
maillog_file = %(dir)s/log/mail.log
maillog_file_prefixes = %(dir)s/log
alias_maps =
alias_database =
local_recipient_maps =
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
default_transport = error:this Postfix sends nothing
relay_transport = error:this Postfix sends nothing
smtpd_relay_restrictions = permit_auth_destination, reject
smtpd_tls_security_level = %(level)s
smtpd_tls_chain_files = %(key)s, %(chain)s
smtpd_tls_received_header = yes
smtputf8_enable = yes
message_size_limit = 104857600
virtual_mailbox_limit = 0
virtual_mailbox_base = %(dir)s/mail
virtual_mailbox_domains = %(domains)s
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:%(uid)d
virtual_gid_maps = static:%(gid)d
virtual_transport = virtual
%(more)s
"""

MASTER = """%(address)s:%(port)d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self, directory, ca, host, address, port, domains, tls="may", more=""):
        if os.geteuid() != 0:
            raise Skip("Postfix needs root: its master starts daemons under the mail owner's user")
        self.dir, self.host, self.address, self.port = directory, host, address, port
        self.name = host
        cert = ca.issue(host)
        owner = pwd.getpwnam("postfix")
        nobody = pwd.getpwnam("nobody")
        for sub in ("queue", "data", "mail", "log", *("queue/" + d for d in DIRS.split())):
            os.makedirs(os.path.join(directory, sub), exist_ok=True)
        os.chmod(directory, 0o755)
        for sub in DIRS.split():
            if sub != "pid":
                shutil.chown(os.path.join(directory, "queue", sub), owner.pw_uid)
        shutil.chown(os.path.join(directory, "queue", "maildrop"), owner.pw_uid, "postdrop")
        os.chmod(os.path.join(directory, "queue", "maildrop"), 0o730)
        shutil.chown(os.path.join(directory, "queue", "public"), owner.pw_uid, "postdrop")
        os.chmod(os.path.join(directory, "queue", "public"), 0o710)
        os.chmod(os.path.join(directory, "queue", "private"), 0o700)
        os.chown(os.path.join(directory, "data"), owner.pw_uid, owner.pw_gid)
        os.chown(os.path.join(directory, "mail"), nobody.pw_uid, nobody.pw_gid)
        values = {"dir": directory, "host": host, "address": address, "port": port, "level": tls,
                  "key": cert.key, "chain": cert.chain, "domains": ", ".join(domains),
                  "uid": nobody.pw_uid, "gid": nobody.pw_gid, "more": more}
        with open(os.path.join(directory, "main.cf"), "w") as f:
            f.write(MAIN % values)
        with open(os.path.join(directory, "master.cf"), "w") as f:
            f.write(MASTER % values)
        run([find_program("postconf"), "-c", directory, "-n"])  # refuses what it cannot read
        self.proc = Proc("postfix", ["/usr/lib/postfix/sbin/master", "-c", directory, "-d"],
                         os.path.join(directory, "master.log"), new_session=True)
        try:
            self.proc.wait_for(lambda: "daemon started" in self.log_text(), 20, "no start")
        except BaseException:
            self.close()
            raise

    def log_text(self):
        try:
            with open(os.path.join(self.dir, "log", "mail.log"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    @property
    def messages(self):
        """Stored messages as bytes, with LF line ends as Postfix keeps them."""
        new = os.path.join(self.dir, "mail", "box", "new")
        out = []
        for name in sorted(os.listdir(new)) if os.path.isdir(new) else []:
            with open(os.path.join(new, name), "rb") as f:
                out.append(f.read())
        return out

    def wait_messages(self, n=1, timeout=30.0, match=None):
        def enough():
            self.proc.check()
            found = [m for m in self.messages if match is None or match(m)]
            return found if len(found) >= n else None
        return poll(enough, timeout, lambda: "%d message(s) in Postfix; its log ends:\n%s" % (
            n, "\n".join(self.log_text().splitlines()[-20:])))

    def close(self):
        self.proc.stop(timeout=5)
