"""ca.py - the world's certificate authority: openssl's command line, EC keys, one call each.

Certificates are made on demand and kept: asking twice for the same one gives the same files.
"""
import hashlib
import os
import re
import threading

from .base import run


class Cert:
    """A certificate and its key as files; `chain` is what a server sends."""

    def __init__(self, cert, key, chain, names):
        self.cert = cert
        self.key = key
        self.chain = chain
        self.names = names

    def der(self, what="x509"):
        """DER of the whole certificate ("x509") or of its public key ("spki")."""
        if what == "x509":
            return run(["openssl", "x509", "-in", self.cert, "-outform", "DER"])
        pem = run(["openssl", "x509", "-in", self.cert, "-noout", "-pubkey"])
        path = self.cert + ".pub"
        with open(path, "wb") as f:
            f.write(pem)
        return run(["openssl", "pkey", "-pubin", "-in", path, "-outform", "DER"])

    def tlsa(self, usage=3, selector=1, mtype=1):
        """The record data of a TLSA record that matches this certificate."""
        data = self.der("spki" if selector == 1 else "x509")
        if mtype:
            data = hashlib.new({1: "sha256", 2: "sha512"}[mtype], data).digest()
        return "%d %d %d %s" % (usage, selector, mtype, data.hex())


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class CA:
    def __init__(self, directory, name="Test World CA"):
        self.dir = directory
        self.lock = threading.Lock()
        self.made = {}
        self.cert = os.path.join(directory, "ca.crt")
        self.key = os.path.join(directory, "ca.key")
        self.ca_file = self.cert
        run(["openssl", "req", "-x509", *KEY, "-keyout", self.key, "-out", self.cert,
             "-days", "3650", "-subj", "/CN=" + name, "-sha256",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign"])

    def as_cert(self):
        """The authority's own certificate, for DANE-TA records."""
        return Cert(self.cert, self.key, self.cert, [])

    def issue(self, names, kind="valid"):
        """A certificate for names (the first is also the common name).

        kind: "valid"; "self-signed"; "expired"; "not-yet"; "wrong-name" (a valid certificate for
        another host); "cn-only" (no subjectAltName); "client".
        """
        if isinstance(names, str):
            names = [names]
        names = list(names)
        with self.lock:
            made = self.made.get((kind, *names))
            if made is None:
                made = self._make(names, kind)
                self.made[(kind, *names)] = made
            return made

    def _make(self, names, kind):
        base = os.path.join(self.dir, "%03d-%s" % (len(self.made), re.sub(r"[^A-Za-z0-9.-]", "_",
                                                                         names[0])[:60]))
        cert, key = base + ".crt", base + ".key"
        shown = ["other.wrong-name.invalid"] if kind == "wrong-name" else names
        args = ["openssl", "req", "-x509", *KEY, "-keyout", key, "-out", cert, "-sha256",
                "-subj", "/CN=" + shown[0][:64],
                "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "keyUsage=critical,digitalSignature",
                "-addext", "extendedKeyUsage=" + ("clientAuth" if kind == "client" else "serverAuth")]
        if kind != "cn-only":
            args += ["-addext", "subjectAltName=" + ",".join(self._san(n) for n in shown)]
        if kind in ("expired", "not-yet"):
            self._dated(base, args, kind)
        else:
            args += ["-days", "365"]
            if kind != "self-signed":
                args += ["-CA", self.cert, "-CAkey", self.key]
            run(args)
        os.chmod(key, 0o644)  # throw-away keys; children under other users read them
        chain = cert if kind == "self-signed" else base + ".chain"
        if chain != cert:
            with open(chain, "w") as out:
                for part in (cert, self.cert):
                    with open(part) as f:
                        out.write(f.read())
        return Cert(cert, key, chain, shown)

    @staticmethod
    def _san(name):
        return ("IP:" if re.fullmatch(r"[0-9.]+|[0-9a-f:]+:[0-9a-f:]*", name) else "DNS:") + name

    def _dated(self, base, args, kind):
        """`openssl ca` is the one command of OpenSSL 3.0 that takes both dates."""
        csr = base + ".csr"
        req = [a for a in args if a != "-x509"]
        req[req.index("-out") + 1] = csr
        run(req)
        conf = base + ".cnf"
        open(base + ".index", "w").close()
        with open(base + ".serial", "w") as f:
            f.write("%016X\n" % (int.from_bytes(os.urandom(7), "big") + 1))
        with open(conf, "w") as f:
            f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=%s.index\nserial=%s.serial\n"
                    "new_certs_dir=%s\nrand_serial=no\nunique_subject=no\ndefault_md=sha256\n"
                    "policy=p\ncopy_extensions=copyall\ncertificate=%s\nprivate_key=%s\n"
                    "[p]\ncommonName=supplied\n" % (base, base, self.dir, self.cert, self.key))
        dates = ("20200101000000Z", "20200201000000Z") if kind == "expired" else \
            ("20900101000000Z", "20910101000000Z")
        run(["openssl", "ca", "-batch", "-notext", "-config", conf, "-in", csr,
             "-out", base + ".crt", "-startdate", dates[0], "-enddate", dates[1]])
