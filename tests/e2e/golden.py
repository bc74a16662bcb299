"""golden.py - what the tools print, held to the letter by the texts in golden/.

GOLDEN=write writes them anew (look at the difference before you commit it). Addresses, ports, ages and times are normalised.
"""
import os
import re

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")


def normalised(w, text):
    for pattern, to in ((r"\b127\.\d+\.\d+\.\d+\b", "ADDRESS"), (r"\b%d\b" % w.port, "PORT"),
                        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"), (r"\b\d+ s old", "N s old"),
                        (r"age_s \d+", "age_s N"), (r"after \d+ ms", "after N ms"), (r"in \d+ s:", "in N s:"),
                        (r"TLS_[A-Z0-9_]+", "CIPHER"), (r"ADDRESS:\d+", "ADDRESS:PORT"),
                        (r"\b_\d+\._tcp", "_PORT._tcp"), (r"\(EDE [^\n]*", "(EDE …)")):
        text = re.sub(pattern, to, text)
    return text


def golden(w, name, text):
    path = os.path.join(GOLDEN, name + ".txt")
    found = normalised(w, text)
    if os.environ.get("GOLDEN") == "write":
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(found)
        return
    with open(path, encoding="utf-8") as f:
        wanted = f.read()
    if found != wanted:
        for a, b in zip((wanted + "\n").splitlines(), (found + "\n").splitlines()):
            if a != b:
                raise AssertionError("%s: found %r, wanted %r" % (name, b, a))
        raise AssertionError("%s: found %d lines, wanted %d" % (
            name, found.count("\n"), wanted.count("\n")))
