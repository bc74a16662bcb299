"""dnswire.py - a very small DNS client and message builder for the world and its tests.

Asks one question of one server and decodes what tests look at. No cache, no retry over other
servers. Sources: RFC 1035 section 4, RFC 3596, RFC 6698 section 2.1, RFC 4034 appendix B, RFC 6891.
"""
import hashlib
import os
import socket
import struct
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "DS": 43,
         "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "TLSA": 52, "OPT": 41, "ANY": 255}
NAMES = {v: k for k, v in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def name_wire(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            raw = label.encode("ascii")
            out += bytes([len(raw)]) + raw
    return out + b"\0"


def query_wire(name, rtype, ad=True, do=False, cd=False, rd=True, qid=None):
    qid = int.from_bytes(os.urandom(2), "big") if qid is None else qid
    flags = (0x0100 if rd else 0) | (0x20 if ad else 0) | (0x10 if cd else 0)
    head = struct.pack(">6H", qid, flags, 1, 0, 0, 1)
    question = name_wire(name) + struct.pack(">HH", TYPES[rtype], 1)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0x8000 if do else 0, 0)
    return head + question + opt


def read_name(msg, at):
    """Returns the name with a final dot, lower case, and where it ends."""
    labels, end, hops = [], None, 0
    while True:
        n = msg[at]
        if n & 0xC0 == 0xC0:
            if end is None:
                end = at + 2
            at = struct.unpack_from(">H", msg, at)[0] & 0x3FFF
            hops += 1
            if hops > 64:
                raise ValueError("compression loop")
        elif n == 0:
            return ".".join(labels).lower() + ".", (at + 1 if end is None else end)
        else:
            labels.append(msg[at + 1:at + 1 + n].decode("latin-1"))
            at += 1 + n


def question_of(msg):
    """(name, type as text, offset behind the question) of a query."""
    name, at = read_name(msg, 12)
    rtype = struct.unpack_from(">H", msg, at)[0]
    return name, NAMES.get(rtype, "TYPE%d" % rtype), at + 4


def error_reply(query, rcode):
    """The answer of a server that does not answer: header and question only."""
    end = question_of(query)[2]
    flags = 0x8000 | (struct.unpack_from(">H", query, 2)[0] & 0x0110) | rcode
    return query[:2] + struct.pack(">5H", flags, 1, 0, 0, 0) + query[12:end]


def _rdata(msg, rtype, at, length):
    raw = msg[at:at + length]
    if rtype == 1:
        return socket.inet_ntop(socket.AF_INET, raw)
    if rtype == 28:
        return socket.inet_ntop(socket.AF_INET6, raw)
    if rtype in (2, 5, 12):
        return read_name(msg, at)[0]
    if rtype == 15:
        return (struct.unpack(">H", raw[:2])[0], read_name(msg, at + 2)[0])
    if rtype == 16:
        strings = []
        while raw:
            strings.append(raw[1:1 + raw[0]])
            raw = raw[1 + raw[0]:]
        return strings
    if rtype == 52:
        return "%d %d %d %s" % (raw[0], raw[1], raw[2], raw[3:].hex())
    return raw


class Answer:
    """rcode as text, ad and tc as booleans, records as (name, type, ttl, data)."""

    def __init__(self, msg):
        self.raw = msg
        _, flags, qd, an, ns, ar = struct.unpack_from(">6H", msg, 0)
        self.rcode = RCODES.get(flags & 15, str(flags & 15))
        self.ad, self.tc, self.aa = bool(flags & 0x20), bool(flags & 0x200), bool(flags & 0x400)
        at = 12
        for _ in range(qd):
            at = read_name(msg, at)[1] + 4
        self.records, self.authority = [], []
        for i in range(an + ns):
            name, at = read_name(msg, at)
            rtype, _, ttl, length = struct.unpack_from(">HHIH", msg, at)
            at += 10
            record = (name, NAMES.get(rtype, str(rtype)), ttl, _rdata(msg, rtype, at, length))
            (self.records if i < an else self.authority).append(record)
            at += length
        self.over_tcp = False

    def data(self, rtype):
        return [r[3] for r in self.records if r[1] == rtype]

    def __repr__(self):
        return "<%s ad=%d tc=%d %r>" % (self.rcode, self.ad, self.tc, self.records)


def _tcp(server, wire, timeout):
    with socket.create_connection(server, timeout=timeout) as s:
        s.sendall(struct.pack(">H", len(wire)) + wire)
        f = s.makefile("rb")
        head = f.read(2)
        body = f.read(struct.unpack(">H", head)[0]) if len(head) == 2 else b""
    if len(body) < 12:
        raise OSError("name server closed the TCP connection")
    return body


def ask(server, name, rtype, timeout=5.0, tcp=False, **flags):
    """One question to (address, port). A truncated answer is asked for again over TCP."""
    wire = query_wire(name, rtype, **flags)
    if not tcp:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(server)
            s.send(wire)
            end = time.monotonic() + timeout
            while True:
                s.settimeout(max(0.001, end - time.monotonic()))
                got = s.recv(65535)
                if got[:2] == wire[:2]:
                    break
        answer = Answer(got)
        if not answer.tc:
            return answer
    answer = Answer(_tcp(server, wire, timeout))
    answer.over_tcp = True
    return answer


def ds_of(zone, dnskey):
    """DS record data (SHA-256) of a DNSKEY's record data (RFC 4034, section 5.1.4)."""
    total = sum(b << 8 if i % 2 == 0 else b for i, b in enumerate(dnskey))
    tag = (total + (total >> 16 & 0xFFFF)) & 0xFFFF
    digest = hashlib.sha256(name_wire(zone) + dnskey).hexdigest()
    return "%d %d 2 %s" % (tag, dnskey[3], digest)
