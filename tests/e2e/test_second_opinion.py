"""What delivery makes of a server, beside Postfix's posttls-finger and OpenSSL's s_client on the same one: three programs,
one name server, one chain. Where they differ, one of them is wrong, or the difference is written down here."""
import hashlib
import os
import re
import shutil
import subprocess

from harness import equal, main, test
from tests.world.base import Skip, run

FINGER = "/usr/sbin/posttls-finger"


def setup(w):
    return w.postern(destinations={"DEFAULT": {"mta_sts": "off"}}).start()


def ta_record(cert):
    """`2 1 1` of a CA."""
    pub = run(["openssl", "x509", "-in", cert, "-noout", "-pubkey"])
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pub, capture_output=True,
                         check=True).stdout
    return "2 1 1 " + hashlib.sha256(der).hexdigest()


class Finger:
    """posttls-finger with the world's validating name server: the system's resolver asks port 53 of whom /etc/resolv.conf
    names, so it gets one of its own, in a mount namespace."""

    def __init__(self, w):
        if not os.path.exists(FINGER) or not shutil.which("unshare") or os.geteuid() != 0:
            raise Skip("posttls-finger, unshare and root are needed")
        address = w.block.host()
        w.dns.front(address, 53)
        self.dir = w.tmp.sub("finger")
        with open(self.dir + "/resolv.conf", "w") as f:
            # without trust-ad the C library hides AD
            f.write("nameserver %s\noptions edns0 trust-ad\n" % address)
        with open(self.dir + "/main.cf", "w") as f:
            f.write("compatibility_level = 3.6\nmyhostname = finger.test\ninet_protocols = ipv4\n"
                    "smtp_dns_support_level = dnssec\nsmtp_host_lookup = dns\n")

    def proven(self, domain, port):
        p = subprocess.run(["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"',
                            self.dir + "/resolv.conf", FINGER, "-c", "-l", "dane-only", "-Lsummary",
                            "%s:%d" % (domain, port)],
                           capture_output=True, text=True, timeout=60, env={**os.environ, "MAIL_CONFIG": self.dir})
        out = p.stdout + p.stderr
        return re.search(r"Verified TLS connection established", out) is not None, out


def s_client(mx, base, records):
    args = ["openssl", "s_client", "-starttls", "smtp", "-connect", "%s:%d" % (mx.address, mx.port), "-dane_tlsa_domain", base,
            "-dane_ee_no_namechecks", "-verify_return_error"]
    for r in records:
        args += ["-dane_tlsa_rrdata", r]
    p = subprocess.run(args, input="QUIT\r\n", capture_output=True, text=True, timeout=60)
    return p.returncode == 0 and "DANE TLSA" in p.stdout, p.stdout + p.stderr


def ours(node, domain):
    host = node.ctl("tlsverify", domain, want=None)["hosts"][0]
    return host["result"] == "ok" and host["level_proven"] == "dane", repr(host)


@test(timeout=150)
def three_programs_agree(w, node):
    finger = Finger(w)
    cases = []
    for kind in ("valid", "self-signed", "expired", "wrong-name"):
        for label in ("ee", "ta", "none", "two"):
            name = "%s-%s.test" % (label, kind)
            cert = w.ca.issue("mx." + name, kind)
            records = {"ee": [cert.tlsa(3, 1, 1)], "ta": [ta_record(w.ca.cert)], "none": ["3 1 1 " + "ab" * 32],
                       "two": ["3 0 1 " + "cd" * 32, cert.tlsa(3, 1, 1)]}[label]
            mx = w.mx("mx." + name, cert=cert)
            zone = w.domain(name, mx, signed=True)
            for r in records:
                zone.tlsa(mx.host, r)
            cases.append((name, mx, records))
    w.commit()
    seen = []
    for name, mx, records in cases:
        said = {"posttls-finger": finger.proven(name, w.port), "s_client": s_client(mx, mx.host, records),
                "deliver": ours(node, name)}
        equal(len({proven for proven, _ in said.values()}), 1, "%s: %r" % (name, said))
        seen.append((name, said["deliver"][0]))
    # and they agree on what RFC 7672 says
    equal(sorted(name for name, proven in seen if proven),
          sorted(["ta-valid.test"] + ["%s-%s.test" % (label, kind) for label in ("ee", "two")
                                      for kind in ("valid", "self-signed", "expired", "wrong-name")]))


if __name__ == "__main__":
    main(setup)
