"""What the documents name exists: files, commands, targets, resources, messages, metrics, example settings."""
import glob
import os
import re
import subprocess

from harness import equal, main, test
from tests.world.base import ROOT, scale
from tests.world.postern import program

TEXTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] + sorted(
    os.path.relpath(p, ROOT) for p in glob.glob(ROOT + "/docs/*.md"))


def read(name):
    with open(os.path.join(ROOT, name)) as f:
        return f.read()


@test
def files(w):
    missing = []
    for name in TEXTS:
        text = read(name)
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(name), link)):
                missing.append("%s: (%s)" % (name, link))
        tops = "supervisor|smtpd|queue|resolver|policyd|deliver|admin|ctl|lib|etc|tests|docs"
        for path in re.findall(r"`((?:%s)/[\w./*-]+)`" % tops, text):
            if not glob.glob(os.path.join(ROOT, path)) and not glob.glob(os.path.join(ROOT, path + ".*")):
                missing.append("%s: `%s`" % (name, path))
    equal(missing, [])


@test
def commands(w):
    """Commands of posternctl and targets of make, wherever a reader is told to type them."""
    top = subprocess.run([program("posternctl"), "--help"], capture_output=True, text=True).stdout
    have = set(re.findall(r"(?m)^  ([a-z]+)(?: [a-z]+)?  ", top.split("commands:")[1].split("options,")[0]))
    targets = set(re.findall(r"(?m)^([a-z_.-]+):", read("Makefile")))
    unknown = []
    for name in TEXTS + ["docs/man/postern.8", "docs/man/posternctl.1", "etc/run.sh"]:
        text = read(name)
        for word in re.findall(r"(?m)(?:^    |`|sudo )posternctl ([a-z]+)", text):
            if word not in have:
                unknown.append("%s: posternctl %s" % (name, word))
        for word in re.findall(r"(?m)(?:^    |`|&& )make (?:[A-Z]+=\S+ )*([a-z]+)", text):
            if word not in targets:
                unknown.append("%s: make %s" % (name, word))
    equal(unknown, [])


@test
def resources(w):
    """The table of docs/api.md is the table of admin/api.c."""
    code = set(re.findall(r'\{ "([A-Z]+)", +"(/[^"]*)"', read("admin/api.c")))
    told = set()
    for method, cell in re.findall(r"(?m)^\| `([A-Z]+) (/(?:\\\||[^|])*) \|", read("docs/api.md")):
        for path in re.findall(r"/[a-z0-9/]+[A-Z]*", cell):
            told.add((method, re.sub(r"/[A-Z]+$", "/*", path)))
    equal(sorted(told), sorted(code))


@test
def messages(w):
    """Every message of lib/proto stands in docs/protocol.md."""
    text = read("docs/protocol.md")
    missing, seen = [], 0
    for path in sorted(glob.glob(ROOT + "/lib/proto/*.h")):
        for body in re.findall(r"enum (?:\w+ )?\{(.*?)\};", re.sub(r"/\*.*?\*/", "", read(path), flags=re.S), re.S):
            names = re.findall(r"\b([A-Z]+)_([A-Z_]+)\b", body)
            # the numbers of messages start at 16, 48 or 96, and name no bound
            if not re.match(r"\s*[A-Z]+_[A-Z]+ = (16|48|96),", body) or any(n.endswith("MAX") for _, n in names):
                continue
            seen += len(names)
            for prefix, name in names:
                if not re.search(r"`(%s_)?%s`" % (prefix, name), text):
                    missing.append("%s: %s_%s" % (os.path.basename(path), prefix, name))
    equal(missing, [])
    equal(seen > 40, True, "messages found: %d" % seen)


@test(timeout=60)
def metrics(w):
    """The names that the operator's guide tells to watch are on /metrics."""
    node = w.postern().start()
    have = {re.sub(r"\{.*", "", k) if isinstance(k, str) else k[0] for k in node.metrics()}
    missing = []
    for name, inner, rest in re.findall(r"`(postern_[a-z_]*)(?:\{([a-z,_]+)\}(_\w+))?", read("docs/operator.md")):
        for word in inner.split(",") if inner else [""]:
            full = name + word + rest
            if not any(h == full or (name.endswith("_") and not inner and h.startswith(name)) for h in have):
                missing.append(full)
    equal(missing, [])


@test
def examples(w):
    """etc/*.conf are accepted as they are but for the certificate, and with every example in them in use."""
    cert = w.ca.issue("gw1.example.net")
    for with_comments in (False, True):
        d = w.tmp.sub("examples%d" % with_comments)
        for path in glob.glob(ROOT + "/etc/*.conf"):
            text = read(path)
            if with_comments:
                text = re.sub(r"(?m)^#(?=\[[^\]]+\]$|\w+ *=)", "", text)
            for old, new in (("/etc/postern/tls/cert.pem", cert.chain), ("/etc/postern/tls/key.pem", cert.key),
                             ("/etc/postern/users", d + "/users"), ("/etc/postern/smarthost.secret", d + "/secret")):
                text = text.replace(old, new)
            with open(os.path.join(d, os.path.basename(path)), "w") as f:
                f.write(text)
        for name in ("users", "secret"):
            with open(os.path.join(d, name), "w") as f:
                f.write("" if name == "users" else "secret\n")
        done = subprocess.run([program("postern"), "check", "-c", d], capture_output=True, text=True,
                              timeout=30 * scale())
        equal((done.returncode, done.stdout + done.stderr), (0, ""), "with comments" if with_comments else "")


if __name__ == "__main__":
    main()
