"""docs/limits.md against the code: values, places, tests, and that nothing is left out."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.e2e.harness import equal, main, test  # noqa: E402
from tests.world.base import ROOT  # noqa: E402

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
DASH = "\u2013"
PROCESSES = "smtpd queue resolver policyd deliver admin ctl supervisor".split()


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)


def sources():
    for folder in PROCESSES + ["lib/*"]:
        for path in glob.glob(os.path.join(ROOT, folder, "*.[ch]")):
            yield os.path.relpath(path, ROOT)


def constants(path):
    """{name: expression} of the enums and plain #defines of a file."""
    text = without_comments(read(path))
    out = {}
    for body in re.findall(r"\benum\b[^;{]*\{([^}]*)\}", text):
        for name, value in re.findall(r"\b([A-Z][A-Z0-9_]+)\s*=\s*([^,}]+)", body):
            out[name] = " ".join(value.split())
    for name, value in re.findall(r"^#define\s+([A-Z][A-Z0-9_]+)\s+([^\n\\]+)$", text, re.M):
        out[name] = value.strip()
    return out


def value_of(expression, known, depth=0):
    """A number, or None: sizeof and the like are left alone."""
    if depth > 5:
        return None
    names = re.findall(r"[A-Za-z_]\w*", expression)
    for name in names:
        if re.fullmatch(r"(?i)0x[0-9a-f]+|[ul]+", name):
            continue
        if name not in known:
            return None
        inner = value_of(known[name], known, depth + 1)
        if inner is None:
            return None
        expression = re.sub(r"\b%s\b" % name, str(inner), expression)
    if not re.fullmatch(r"[\s0-9a-fxA-FulUL+*/()<>-]+", expression):
        return None
    return int(eval(re.sub(r"(?i)\b(\d+)[ul]+\b", r"\1", expression).replace("/", "//"), {}))


def number(text):
    m = re.fullmatch(r"([\d,]+)(?: (KiB|MiB|GiB))?", text)
    return int(m.group(1).replace(",", "")) * UNITS.get(m.group(2), 1) if m else None


def rows():
    """[limit, value, where, what happens, test] of each row."""
    for line in read("docs/limits.md").splitlines():
        if line.startswith("| ") and not line.startswith("| limit "):
            cells = [c.strip() for c in line.strip("|").split(" | ")]
            equal(len(cells), 5, "cells of the row " + line)
            yield [c.strip(" |") for c in cells]


def all_constants():
    known = {}
    for path in sources():
        known.update(constants(path))
    return known


@test
def constants_are_as_told(w):
    known, wrong = all_constants(), []
    for what, value, where, _, _ in rows():
        m = re.fullmatch(r"`(\w+)` in `([\w/.]+)`", where)
        if not m:
            continue
        name, path = m.groups()
        here = constants(path) if os.path.exists(os.path.join(ROOT, path)) else {}
        if name not in here:
            if not (name.islower() and re.search(r"\b%s\b" % name, read(path))):
                wrong.append("%s: no %s in %s" % (what, name, path))
            continue
        found, told = value_of(here[name], {**known, **here}), number(value)
        if told is not None and found is not None and told != found:
            wrong.append("%s: %s is %d, the page says %d" % (what, name, found, told))
    equal(wrong, [], "rows that are not so")


@test
def settings_are_as_told(w):
    schema, wrong, section = read("lib/conf/conf_schema.c"), [], None
    keys = {}
    for line in re.findall(r"\bK(N?)\((conf_\w+),(.*)", schema):
        words = re.findall(r'"((?:[^"\\]|\\.)*)"|([\w.]+)', line[2])
        words = [a or b for a, b in words]
        name = words[0]
        quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', line[2])
        quoted = quoted[1:] if line[0] else quoted  # KN: its name comes first
        default = quoted[0] if quoted else None
        keys[(line[1], name)] = default
    kinds = {"listener": "conf_listener", "queue": "conf_queue", "delivery": "conf_delivery",
             "destination": "conf_dest", "resolver": "conf_resolver", "mta-sts": "conf_mta_sts",
             "profile": "conf_profile"}
    seen = 0
    for what, value, where, _, _ in rows():
        m = re.fullmatch(r"`\[([\w-]+)\] (\w+)`", where)
        if not m:
            continue
        seen += 1
        section, key = m.groups()
        found = keys.get((kinds[section], key), "no such setting")
        if found != value:
            wrong.append("%s: [%s] %s is %s, the page says %s" % (what, section, key, found, value))
    equal(wrong, [], "rows that are not so")
    equal(seen > 15, True, "settings looked at")


@test
def tests_exist(w):
    wrong, with_test = [], 0
    for what, _, where, _, name in rows():
        if name == DASH:
            continue
        m = re.fullmatch(r"`(tests/[\w/.]+)` (\w+)", name)
        if not m or not os.path.exists(os.path.join(ROOT, m.group(1))) or not re.search(
                r"\b%s\b" % m.group(2), read(m.group(1))):
            wrong.append("%s: no %s" % (what, name))
        with_test += 1
    equal(wrong, [], "tests that are not there")
    equal(with_test > 60, True, "%d limits with a test" % with_test)


@test
def hostile_cases_have_tests(w):
    """docs/hostile.md names one test for each case, and it is there."""
    wrong, seen = [], 0
    for line in read("docs/hostile.md").splitlines():
        if not line.startswith("| ") or line.startswith("| case "):
            continue
        m = re.search(r"\| `(tests/[\w/.]+)` (\w+) \|$", line)
        if not m or not os.path.exists(os.path.join(ROOT, m.group(1))) or not re.search(
                r"^(def )?%s\(" % m.group(2), read(m.group(1)), re.M):
            wrong.append(line)
        seen += 1
    equal(wrong, [], "cases without a test")
    equal(seen > 40, True, "%d cases" % seen)


@test
def nothing_is_left_out(w):
    """Each constant ..._MAX of the code is on the page."""
    page = read("docs/limits.md")
    missing = ["%s in %s" % (name, path) for path in sources() for name in constants(path)
               if re.search(r"_MAX(_|$)", name) and not re.search(r"\b%s\b" % name, page)]
    equal(missing, [], "limits without a row in docs/limits.md")


if __name__ == "__main__":
    main()
