#!/usr/bin/env python3
"""bench.py - measure Postern beside Debian's Postfix on the same machine, in one run.

    make bench                       the usual cells, about 7 minutes
    python3 tests/bench/bench.py --quick | --full | --mx | --cell 4k-1-plain ...

Three systems take turns within each round: source -> sink directly (what the instruments can do),
source -> Postern -> sink, source -> Postfix -> sink. A cell is a size, a number of messages per
connection, TLS on both sides or not, AUTH or not. What counts is the ratio of two runs of the same
round; absolute numbers are the machine's. docs/performance.md tells the method and its limits.
Result: a table here and build/<mode>/bench.json. Exit 1 when a message was lost.
"""
import argparse
import collections
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench import measure  # noqa: E402
from tests.bench.instruments import Sink, disk_directory  # noqa: E402
from tests.bench.peers import PASSWORD, USER, Direct, PosternPeer, PostfixPeer  # noqa: E402
from tests.world import Skip, World, WorldError  # noqa: E402
from tests.world.base import MODE, ROOT, Proc  # noqa: E402

BUILD = os.path.join(ROOT, "build", MODE)
DOMAINS = 10


class Cell(collections.namedtuple("Cell", "size per_conn tls auth")):
    @property
    def name(self):
        return "%dk-%d-%s%s" % (self.size // 1024, self.per_conn, "tls" if self.tls else "plain",
                                "-auth" if self.auth else "")


ALL = [Cell(size, per, tls, auth) for size in (4096, 65536) for per in (1, 50)
       for tls, auth in ((False, False), (True, False), (True, True))]
HEADLINE = "4k-1-plain"
USUAL = [HEADLINE, "4k-50-plain", "4k-1-tls", "4k-50-tls-auth", "64k-50-plain"]
QUICK = [HEADLINE, "4k-50-tls"]


class Bench:
    def __init__(self, world, args):
        self.world, self.args = world, args
        self.sinks = {"plain": Sink(world), "tls": Sink(world, world.ca.issue("sink.bench.test"))}
        self.disk = measure.Disk(world.tmp.path)
        self.seq = 0
        self.problems = []

    def close(self):
        for s in self.sinks.values():
            s.close()

    # ---- one run ----

    def source(self, system, cell, n, sampler=None):
        """Run the load generator; its report, and its processor time."""
        host, port = system.target(cell)
        args = [os.path.join(BUILD, "bench", "source"), "-t", "%s:%d" % (host, port),
                "-n", str(n), "-s", str(cell.size), "-m", str(cell.per_conn),
                "-c", str(self.args.sessions), "-k", str(DOMAINS), "--seq", str(self.seq),
                "--domain", "%s.bench.test" % ("tls" if cell.tls else "plain")]
        self.seq += n
        if cell.tls:
            args += ["--starttls"]
        if cell.auth and system.name != "direct":
            args += ["--auth", "%s:%s" % (USER, PASSWORD)]
        p = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + 120
        while True:
            try:
                out, err = p.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if sampler:
                    sampler()
                if time.monotonic() > end:
                    p.send_signal(signal.SIGTERM)
                    end += 10
                    p.send_signal(signal.SIGTERM)
        try:
            return json.loads(out)
        except ValueError:
            raise WorldError("source: exit %d: %s" % (p.returncode, err.decode()[-500:]))

    def run(self, system, cell, n):
        sink = self.sinks["tls" if cell.tls else "plain"]
        group = system.group
        os.sync()  # nobody pays for what the last one left behind
        if group:
            group.settle()
        memory = []
        sink.start(n)
        children, busy = os.times(), measure.busy()
        sink_cpu = sink.cpu()
        disk = self.disk.counts()
        cpu = group.cpu() if group else None
        names = group.by_name() if group else None
        src = self.source(system, cell, n, (lambda: memory.append(group.memory())) if group else None)
        if src["accepted"] == n:
            got = sink.wait(n, 120)
        else:
            sink.wait(n, 10)
            got = sink.wait(n, 0)
        out = {
            "n": n, "accepted": src["accepted"], "delivered": got["unique"],
            "duplicates": got["duplicates"],
            "accept_rate": src["rate"],
            "rate": got["unique"] / ((got["last_ns"] - src["start_ns"]) / 1e9)
            if got["unique"] else 0,
            "accept_ms": {k: src["accept_us"][k] / 1e3 for k in ("mean", "p50", "p90", "p99", "max")},
            "greeting_ms": {k: src["greeting_us"][k] / 1e3 for k in ("p50", "p99")},
            "connections_in": src["connections"], "connections_out": got["connections"],
            "tls_in": src["tls_connections"], "tls_out": got["tls_connections"],
            "tls_out_resumed": got["tls_resumed"], "replies": src["replies"],
        }
        if group:
            memory.append(group.memory())
            group.settle()
            after = group.cpu()
            out["cpu_ms"] = [(b - a) * 1e3 / n for a, b in zip(cpu, after)]
            seconds, switches = group.by_name()
            out["cpu_ms_by_program"] = {
                k: round((v - names[0].get(k, 0)) * 1e3 / n, 4) for k, v in seconds.items()}
            out["switches_by_program"] = {
                k: round((v - names[1].get(k, 0)) / n, 2) for k, v in switches.items()}
            out["pss_kb"] = max(m[0] for m in memory)
            out["pss_anon_kb"] = max(m[1] for m in memory)
            out["processes"] = max(m[2] for m in memory)
        now, busy_now = os.times(), measure.busy()
        known = sum(now[:4]) - sum(children[:4]) + (sink.cpu() - sink_cpu) + (
            after[0] - cpu[0] if group else 0)
        out["others_cpu"] = max(0, busy_now[0] - busy[0] - known) / max(
            0.01, busy_now[1] - busy[1])
        out["world_cpu_ms"] = sum(now[:2]) * 1e3 / n - sum(children[:2]) * 1e3 / n
        out["source_cpu_ms"] = (now.children_user + now.children_system -
                                children.children_user - children.children_system) * 1e3 / n
        out["sink_cpu_ms"] = (sink.cpu() - sink_cpu) * 1e3 / n
        after = self.disk.counts()
        if group and disk and after:
            out["disk_kb"] = (after[0] - disk[0]) / n
            out["disk_flushes"] = (after[1] - disk[1]) / n
        if got["unique"] < n or src["failed"] or got["duplicates"]:
            self.problems.append("%s %s: %d sent, %d accepted, %d arrived, %d twice; replies %s" % (
                system.name, cell.name, n, src["accepted"], got["unique"], got["duplicates"],
                src["replies"]))
        return out

    # ---- all runs ----

    def cell(self, systems, cell, seconds, rounds):
        """{system: [one result a round]}; how many messages: what the warm-up did in a second."""
        counts = {}
        for s in systems:
            n = 200 if s.name == "postfix" else 500
            warm = self.run(s, cell, n)
            counts[s.name] = max(n, min(200000, int(warm["rate"] * seconds)))
        out = {s.name: [] for s in systems}
        for i in range(rounds):
            for s in systems if i % 2 == 0 else reversed(systems):
                out[s.name].append(self.run(s, cell, counts[s.name]))
        return out

    def syncs(self, make, cell, n):
        """Sync calls of all processes of a system per message, counted by strace in a run apart."""
        log = os.path.join(self.world.tmp.path, "strace-%d.log" % self.seq)
        system = make(measure.strace(log, measure.SYNC_CALLS))
        try:
            self.run(system, cell, 100)
            begin = time.time()
            got = self.run(system, cell, n)
            end = time.time()
        finally:
            system.close()
        calls = measure.count_calls(measure.read(log), begin, end)
        return {"n": n, "calls": calls, "per_message": sum(calls.values()) / n,
                "rate_while_traced": got["rate"]}


def median(values):
    v = sorted(values)
    return (v[(len(v) - 1) // 2] + v[len(v) // 2]) / 2


def spread(values):
    return {"min": min(values), "median": median(values), "max": max(values)}


FIGURES = {  # name: (from a result, digits)
    "rate": lambda r: r["rate"],
    "accept_rate": lambda r: r["accept_rate"],
    "cpu_ms": lambda r: r["cpu_ms"][0],
    "accept_p50_ms": lambda r: r["accept_ms"]["p50"],
    "accept_p99_ms": lambda r: r["accept_ms"]["p99"],
    "pss_mb": lambda r: r["pss_kb"] / 1024,
}


def ratios(runs):
    """Postern over Postfix, round by round."""
    pairs = list(zip(runs.get("postern", []), runs.get("postfix", [])))
    out = {}
    for name, get in FIGURES.items():
        v = [get(a) / get(b) for a, b in pairs if get(b) > 0]
        if v:
            out[name] = spread(v)
    return out


HEAD = "%-15s %-8s %25s %10s %9s %9s %9s %8s %7s %7s" % (
    "cell", "system", "msg/s end to end", "accept/s", "CPU ms", "p50 ms", "p99 ms", "PSS MB",
    "procs", "conns")


def show(cell, runs):
    for name, results in runs.items():
        rate = spread([r["rate"] for r in results])
        cpu = ["%.3f" % median([r["cpu_ms"][0] for r in results]),
               "%.1f" % median([r["pss_kb"] / 1024 for r in results]),
               "%d" % max(r["processes"] for r in results)] if "cpu_ms" in results[0] else ["-"] * 3
        print("%-15s %-8s %9.0f (%6.0f-%6.0f) %10.0f %9s %9.1f %9.1f %8s %7s %7d" % (
            cell.name, name, rate["median"], rate["min"], rate["max"],
            median([r["accept_rate"] for r in results]), cpu[0],
            median([r["accept_ms"]["p50"] for r in results]),
            median([r["accept_ms"]["p99"] for r in results]), cpu[1], cpu[2],
            max(r["connections_out"] for r in results)))
    r = ratios(runs)
    if r:
        print("%-15s ratio    " % cell.name + ", ".join(
            "%s %s" % (k, "%.3g (%.3g-%.3g)" % (v["median"], v["min"], v["max"]))
            for k, v in r.items()))
    sys.stdout.flush()


def targets(cells, syncs):
    """What the project asks of itself, against the headline cell."""
    head = next((c for c in cells if c["cell"] == HEADLINE), None)
    if head is None or not head["ratios"]:
        return []
    r = {k: v["median"] for k, v in head["ratios"].items()}
    pss = max(x["pss_kb"] for x in head["runs"]["postern"]) / 1024
    out = [("rate over Postfix's", r["rate"], ">=", 8.0),
           ("CPU per message over Postfix's", r["cpu_ms"], "<=", 0.1),
           ("p99 accept latency over Postfix's", r["accept_p99_ms"], "<", 0.25),
           ("PSS, MB", pss, "<", 64.0)]
    if "postern" in syncs:
        out.insert(2, ("syncs per message", syncs["postern"]["per_message"], "<=", 0.3))
    ok = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b}
    return [{"what": w, "value": v, "want": "%s %g" % (op, t), "met": ok[op](v, t)}
            for w, v, op, t in out]


def machine(world):
    cpu = re.search(r"model name\s*:\s*(.*)", measure.read("/proc/cpuinfo"))

    def said(*args):
        try:
            return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
                                  timeout=10, check=False).stdout.decode().strip()
        except OSError:
            return ""
    return {
        "processors": os.cpu_count(), "model": cpu.group(1) if cpu else platform.processor(),
        "kernel": platform.release(), "file_system": measure.file_system(world.tmp.path),
        "directory": os.path.dirname(world.tmp.path),
        "sync_4k_ms": measure.sync_time(world.tmp.path),
        "load_before": os.getloadavg()[0],
        "postern": said("git", "describe", "--always", "--dirty"),
        "postfix": said("/usr/sbin/postconf", "-h", "mail_version"),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def start_systems(world, bench, wanted):
    """The systems that can run here, and why others cannot."""
    systems, skipped = [], {}
    make = {"direct": lambda: Direct(bench.sinks),
            "postern": lambda: PosternPeer(world, bench.sinks),
            "postfix": lambda: PostfixPeer(world, bench.sinks),
            "postern-mx": lambda: PosternPeer(world, bench.sinks, name="postern-mx", mx=True)}
    for name in wanted:
        try:
            systems.append(make[name]())
        except (Skip, WorldError) as e:
            skipped[name] = str(e)
            print("# %s is left out: %s" % (name, e), flush=True)
    return systems, skipped


def mx_zones(world, bench):
    """Names for --mx: each recipient domain has an MX record that leads to the sink."""
    for kind, sink in bench.sinks.items():
        zone = world.zone("%s.bench.test" % kind)
        zone.rr("mx", "A", sink.address[0])
        for i in range(DOMAINS):
            zone.rr("d%d" % i, "MX", "10 mx.%s.bench.test." % kind)


def measure_all(world, bench, args):
    wanted = args.system or ["direct", "postern", "postfix"]
    if args.mx:
        mx_zones(world, bench)
        wanted = ["direct", "postern", "postern-mx"]
    facts = machine(world)
    print("# %(processors)d x %(model)s, Linux %(kernel)s, %(file_system)s, "
          "4 KB sync %(sync_4k_ms).2f ms, load %(load_before).1f, Postern %(postern)s, "
          "Postfix %(postfix)s" % facts)
    systems, skipped = start_systems(world, bench, wanted)
    facts["cpu_from"] = sorted({s.group.kind for s in systems if s.group})
    cells, syncs = [], {}
    try:
        print(HEAD, flush=True)
        for cell in args.cells:
            runs = bench.cell(systems, cell, args.seconds, args.rounds)
            cells.append({"cell": cell.name, **cell._asdict(), "runs": runs, "ratios": ratios(runs)})
            show(cell, runs)
    finally:
        for s in systems:
            s.close()
    if not args.no_syncs and not args.mx:
        for name, kind, n in (("postern", PosternPeer, 2000), ("postfix", PostfixPeer, 400)):
            if name not in [s.name for s in systems]:
                continue
            syncs[name] = bench.syncs(lambda wrap: kind(world, bench.sinks, wrap, name + "-traced"),
                                      args.cells[0], n)
            print("# %s: %.3f syncs per message (%s; traced run apart)" % (
                name, syncs[name]["per_message"], ", ".join(
                    "%s %d" % kv for kv in sorted(syncs[name]["calls"].items()))), flush=True)
    facts["load_after"] = os.getloadavg()[0]
    others = [r["others_cpu"] for c in cells for runs in c["runs"].values() for r in runs]
    facts["others_cpu"] = spread(others)
    print("# processors taken by others, the kernel's threads among them: %.0f %% (up to %.0f %%)" % (
        100 * facts["others_cpu"]["median"], 100 * facts["others_cpu"]["max"]))
    return {"machine": facts, "skipped": skipped, "sessions": args.sessions, "domains": DOMAINS,
            "rounds": args.rounds, "seconds": args.seconds, "cells": cells, "syncs": syncs,
            "targets": targets(cells, syncs), "problems": bench.problems}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--quick", action="store_true", help="two cells, about a minute")
    p.add_argument("--full", action="store_true", help="all twelve cells, about 20 minutes")
    p.add_argument("--mx", action="store_true",
                   help="Postern by MX and by route; Postfix cannot use a private resolver")
    p.add_argument("--sts", action="store_true",
                   help="what MTA-STS costs (sts.py): about ten minutes, and nothing else is run")
    p.add_argument("--cell", action="append", help="only this cell, as " + HEADLINE)
    p.add_argument("--system", action="append", choices=["direct", "postern", "postfix"])
    p.add_argument("--rounds", type=int)
    p.add_argument("--seconds", type=float, help="about so long for each run")
    p.add_argument("--sessions", type=int, default=20)
    p.add_argument("--no-syncs", action="store_true")
    p.add_argument("--json", default=os.path.join(BUILD, "bench.json"))
    # `make bench` gives its arguments in a variable
    args = p.parse_args(sys.argv[1:] + os.environ.get("BENCH_ARGS", "").split())
    names = args.cell or (QUICK if args.quick else [c.name for c in ALL] if args.full else USUAL)
    by_name = {c.name: c for c in ALL}
    unknown = [n for n in names if n not in by_name]
    if unknown:
        p.error("no such cell: %s; there are %s" % (", ".join(unknown), " ".join(by_name)))
    args.cells = [by_name[n] for n in names]
    args.rounds = args.rounds or (2 if args.quick else 3)
    args.seconds = args.seconds or (2.5 if args.quick else 5.0)
    return args


def main():
    args = arguments()
    disk = disk_directory()
    if disk is None:
        print("no directory on a disk: set TMPDIR")
        return 2
    os.environ["TMPDIR"] = disk
    if args.sts:
        return subprocess.call([sys.executable, os.path.join(ROOT, "tests", "bench", "sts.py"),
                                "--rounds", str(args.rounds or 5), "--sessions", str(args.sessions)])
    with World() as world:
        bench = Bench(world, args)
        try:
            result = measure_all(world, bench, args)
        finally:
            bench.close()
    with open(args.json, "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    for t in result["targets"]:
        print("# %-36s %8.3f  wanted %-8s %s" % (t["what"], t["value"], t["want"],
                                                 "met" if t["met"] else "MISSED"))
    for p in result["problems"]:
        print("# PROBLEM " + p)
    print("# written: " + os.path.relpath(args.json, ROOT))
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
