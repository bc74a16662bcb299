"""test_checklist.py - the tables of docs/ that map lines of a standard to tests name tests that exist.

Reads files only; needs no world. Output as that of harness.py.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIB = "tests/lib/sts/test_%s.c"
FILES = {
    **{k: LIB % k for k in ("txt", "policy", "match", "fetch", "hostaddr")},
    "engine": "tests/policyd/test_policy.c", "store": "tests/policyd/test_store.c",
    "dest": "tests/deliver/test_dest.c", "look": "tests/queue/test_look.c", "verdict": "tests/lib/verdict/test_verdict.c",
    "resolver": "tests/resolver/test_resolver.c", "wire": "tests/lib/dns/test_wire.c",
    "name": "tests/lib/dns/test_name.c", "tls": "tests/lib/tls/test_client.c",
    **{k: "tests/lib/dane/test_%s.c" % k for k in ("tlsa", "ssl", "host")},
    "product": "tests/lib/verdict/test_product.c", "smtpd": "tests/smtpd/test_session.c",
    "dane": "tests/e2e/test_dane.py", "mail": "tests/e2e/test_dane_mail.py", "gate": "tests/e2e/test_dane_gate.py",
    "e2e-resolver": "tests/e2e/test_resolver.py", "validate": "tests/e2e/test_validate.py",
    "requiretls": "tests/e2e/test_requiretls.py", "second": "tests/e2e/test_second_opinion.py",
    "deliver": "tests/e2e/test_deliver.py",
    "sts": "tests/e2e/test_sts.py", "attacks": "tests/e2e/test_sts_attacks.py",
}


def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def exists(text, path, name):
    """Is there such a test, and is it run?"""
    if name.startswith('"'):
        return re.search(re.escape(name) + r"\b", text) is not None
    if path.endswith(".py"):
        return re.search(r"^@test.*\ndef %s\(" % re.escape(name), text, re.M) is not None
    entry = r"^\s+(?:(?:cmocka_unit_test\w*|T)\((?:test_)?|\{ \")%s(?:_holds)?\b"  # p_x_holds: a property
    return re.search(entry % re.escape(name), text, re.M) is not None


def problems(table, lines):
    """What is wrong with the rows of a table that must have these lines, and no others."""
    rows = [(line, text) for ids, text in re.findall(r"^\| ([A-Z]+-\d[^|]*?) \| (.*) \|$", table, re.M)
            for line in ids.split(", ")]
    out = ["%s: no entry" % line for line in lines if line not in dict(rows)]
    out += ["%s: not of the checklist, or twice" % line for i, (line, _) in enumerate(rows)
            if line not in lines or line in dict(rows[:i])]
    for line, text in rows:
        named = [n for n in re.findall(r"`([^`]+)`", text) if ": " in n]
        if not named and len(text) < 30:
            out.append("%s: neither a test nor a reason" % line)
        for one in named:
            key, name = one.split(": ", 1)
            if key not in FILES:
                out.append("%s: `%s`: unknown file" % (line, one))
            elif not exists(read(FILES[key]), FILES[key], name):
                out.append("%s: `%s`: no such test" % (line, one))
    return out


def mta_sts():
    text = read("docs/mta-sts.md")
    return problems(text[text.index("## Checklist"):], ["STS-%02d" % i for i in range(1, 59)])


def dane():
    text = read("docs/dane.md")
    table = text[text.index("## Evidence"):text.index("The properties were tried")]
    counts = {"DANE": 40, "DNS": 8, "MIX": 16, "RTLS": 15}
    return problems(table, ["%s-%02d" % (k, i) for k, n in counts.items() for i in range(1, n + 1)])


def finds_what_is_wrong():
    """The check itself: a missing line, a wrong name, a wrong file, an empty reason."""
    table = "| STS-01 | `txt: \"STS-03` |\n| STS-02 | `engine: nothing` |\n| STS-03 | `x: y` |\n| STS-04 | none |\n"
    found = problems(table, ["STS-%02d" % i for i in range(1, 6)])
    return [] if len(found) == 4 else ["found only %r" % found]


def main():
    bad = 0
    for check in (finds_what_is_wrong, mta_sts, dane):
        found = check()
        bad += bool(found)
        print("%s checklist.%s%s" % ("not ok" if found else "ok", check.__name__,
                                     " - " + "; ".join(found) if found else ""))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
