"""Clients that are not ours hand in mail: swaks and Python's smtplib, with and without TLS and AUTH."""
import base64
import os
import smtplib
import ssl
import subprocess
import time

from harness import contains, equal, main, raises, test
from tests.world import Client, Refused, bulk, message, tls_context
from tests.world.base import find_program, scale

SENDER = "alice@client.test"


def setup(w):
    w.rx = w.mx("mx1.example.test")
    w.domain("example.test", w.rx)
    node = w.postern(users={"alice": "wonder land", "bob": "pässword"})
    node.settings["listener auth"] = node.auth_listener(relay_from=None)
    node.settings["listener offered"] = node.auth_listener(auth="offered")
    node.settings["listener must"] = {"address": "auto", "relay_from": "127.0.0.0/8",
                                      "tls": "required", "certificate": "default"}
    node.settings["listener wrapped"] = {"address": "auto", "relay_from": "127.0.0.0/8",
                                         "tls": "implicit", "certificate": "default"}
    node.settings["listener clear"] = {"address": "auto", "relay_from": "127.0.0.0/8", "tls": "none"}
    node.settings["listener certificate"] = {"address": "auto", "tls": "offered",
                                             "relay_from": "203.0.113.0/24",
                                             "certificate": "default",
                                             "client_ca_file": w.ca.ca_file,
                                             "client_cert_names": "host1.client.test"}
    return node.start()


def swaks(node, listener, *args, want=0):
    host, port = node.listeners[listener]
    done = subprocess.run([find_program("swaks"), "--server", host, "--port", str(port), "--from", SENDER,
                           "--to", "bob@example.test", "--helo", "swaks.client.test", "--timeout", "20s",
                           *args], capture_output=True, text=True, timeout=60 * scale())
    equal(done.returncode, want, "swaks: " + done.stdout[-2000:] + done.stderr[-500:])
    return done.stdout


def delivered(w, subject):
    return w.rx.wait_messages(1, match=lambda m: m.header("Subject") == subject)[0]


@test
def swaks_plain(w, node):
    out = swaks(node, "internal", "--header", "Subject: swaks plain")
    contains(out, "250 2.0.0 MID ")
    delivered(w, "swaks plain")


@test
def swaks_starttls(w, node):
    swaks(node, "internal", "--tls", "--tls-verify", "--tls-ca-path", w.ca.ca_file, "--tls-sni",
          node.hostname, "--header", "Subject: swaks tls")
    contains(delivered(w, "swaks tls").header("Received"), "ESMTPS")


@test
def swaks_implicit_tls(w, node):
    swaks(node, "wrapped", "--tls-on-connect", "--header", "Subject: swaks implicit")
    delivered(w, "swaks implicit")


@test
def swaks_auth(w, node):
    for mechanism in ("PLAIN", "LOGIN"):
        subject = "swaks auth " + mechanism
        swaks(node, "auth", "--tls", "--auth", mechanism, "--auth-user", "alice", "--auth-password",
              "wonder land", "--header", "Subject: " + subject)
        contains(delivered(w, subject).header("Received"), "ESMTPSA")
    swaks(node, "auth", "--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "wrong",
          want=28)


@test
def swaks_pipelines_and_attaches(w, node):
    path = os.path.join(w.tmp.path, "attached.bin")
    with open(path, "wb") as f:
        f.write(os.urandom(300000))
    swaks(node, "internal", "--pipeline", "--to", "a@example.test,b@example.test,c@example.test",
          "--attach", "@" + path, "--header", "Subject: swaks attach")
    m = delivered(w, "swaks attach")
    equal(sorted(m.rcpts), ["a@example.test", "b@example.test", "c@example.test"])
    equal(len(m.data) > 400000, True)


@test
def smtplib_every_way(w, node):
    ca = w.ca.ca_file
    ways = (("internal", {}, "ESMTP"), ("clear", {}, "ESMTP"),
            ("internal", {"tls": "starttls"}, "ESMTPS"), ("must", {"tls": "starttls"}, "ESMTPS"),
            ("wrapped", {"tls": "implicit"}, "ESMTPS"),
            ("auth", {"tls": "starttls", "user": "alice", "password": "wonder land"}, "ESMTPSA"),
            ("offered", {"tls": "starttls", "user": "alice", "password": "wonder land"}, "ESMTPSA"))
    for i, (listener, session, protocol) in enumerate(ways):
        subject = "smtplib %d" % i
        if "tls" in session:
            session.update(ca_file=ca, name=node.hostname)
        mid = node.submit(SENDER, "bob@example.test", subject=subject, listener=listener, session=session)
        equal(isinstance(mid, int), True, "a MID in the answer")
        contains(delivered(w, subject).header("Received"), "with %s id" % protocol)


@test
def smtplib_as_people_use_it(w, node):
    with smtplib.SMTP(*node.listeners["offered"], timeout=20 * scale()) as s:
        s.ehlo("client.test")
        equal(s.has_extn("auth"), False, "AUTH outside TLS")
        s.starttls(context=tls_context())
        s.ehlo("client.test")
        for keyword in ("size", "pipelining", "8bitmime", "smtputf8", "dsn", "chunking",
                        "enhancedstatuscodes", "auth"):
            equal(s.has_extn(keyword), True, keyword)
        equal(s.has_extn("starttls"), False, "STARTTLS inside TLS")
        s.login("alice", "wonder land")
        refused = s.sendmail(SENDER, ["bob@example.test", "carol@example.test"],
                             message(SENDER, ["bob@example.test"], subject="sendmail"))
        equal(refused, {})
    delivered(w, "sendmail")


@test
def utf8_password(w, node):
    with node.client("auth", tls="starttls") as c:
        c.smtp.ehlo()
        blob = base64.b64encode("\0bob\0pässword".encode()).decode()
        equal(c.smtp.docmd("AUTH", "PLAIN " + blob)[0], 235)
        c.send(SENDER, "bob@example.test", subject="utf8 password")
    delivered(w, "utf8 password")


@test
def what_is_refused(w, node):
    equal(raises(Refused, Client, node.listeners["auth"], tls="starttls", user="alice",
                 password="nonsense").code, 535)
    equal(raises(Refused, Client, node.listeners["auth"], tls="starttls", user="nobody",
                 password="wonder land").code, 535)
    with node.client("auth", tls="starttls") as c:  # no login, no relaying
        equal(raises(Refused, c.send, SENDER, "bob@example.test").code // 100, 5)
    with node.client("must") as c:  # no TLS, no mail
        equal(raises(Refused, c.send, SENDER, "bob@example.test").code, 530)
    with node.client("offered") as c:  # AUTH in clear is refused before the secret is judged
        code = c.smtp.docmd("AUTH", "PLAIN AGFsaWNlAHdvbmRlciBsYW5k")[0]
        equal(code in (502, 503, 504, 523, 530, 534, 538), True, "AUTH in clear: %d" % code)
    raises((Refused, smtplib.SMTPNotSupportedError), Client, node.listeners["clear"], tls="starttls")


@test
def client_certificates(w, node):
    good = w.ca.issue("host1.client.test", "client")
    other = w.ca.issue("host2.client.test", "client")
    node.submit(SENDER, "bob@example.test", subject="client certificate", listener="certificate",
                session={"tls": "starttls", "cert": good})
    delivered(w, "client certificate")
    with node.client("certificate", tls="starttls", cert=other) as c:
        equal(raises(Refused, c.send, SENDER, "bob@example.test").code // 100, 5)


@test
def logins_do_not_block_others(w, node):
    """While many passwords are being checked, other sessions go on."""
    sessions = [Client(node.listeners["auth"], tls="starttls") for _ in range(20)]
    for c in sessions:
        c.smtp.putcmd("AUTH", "PLAIN AGFsaWNlAHdyb25n")  # a wrong one
    start = time.monotonic()
    mid = node.submit(SENDER, "bob@example.test", subject="between logins")
    equal(time.monotonic() - start < 5 * scale(), True, "held up by logins")
    for c in sessions:
        code = c.smtp.getreply()[0]
        equal(code in (535, 454, 421), True, "answer to a wrong login: %d" % code)
        c.close()
    node.wait_done(mid)


@test
def one_hundred_clients(w, node):
    """Open sessions at the same time, each with a message."""
    sessions = [node.client() for _ in range(40)]
    for i, c in enumerate(sessions):
        c.send(SENDER, "bob@example.test", subject="crowd %d" % i, body=bulk(2000))
    for c in sessions:
        c.close()
    w.wait(lambda: len([m for m in w.rx.messages if (m.header("Subject") or "").startswith("crowd")]) == 40,
           30, "40 messages")


@test
def tls_versions(w, node):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with smtplib.SMTP(*node.smtp, timeout=20 * scale()) as s:
        s.ehlo("client.test")
        raises((ssl.SSLError, OSError), s.starttls, context=old)
        s.close()
    node.wait_log(r"ICID \d+ TLS failed: ")


if __name__ == "__main__":
    main(setup)
