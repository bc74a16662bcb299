"""turns.py - several nodes of one world take turns in one run: what dane.py and sts.py have in common.

Each round sends one message to each domain through each node, in an order that changes from round to round. The first
round fills caches; it is shown, and counts for nothing. A ratio is that of two runs of one round.
"""
import argparse
import os
import statistics
import sys

from tests.bench import bench

CELL = bench.Cell(4096, 50, True, False)


def arguments(doc, **more):
    """--domains, --rounds, --sessions, and numbers with their defaults."""
    p = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, default in {"domains": 10000, "rounds": 5, "sessions": 20, **more}.items():
        p.add_argument("--" + name, type=int, default=default)
    return p.parse_args()


def bench_of(world, args):
    bench.DOMAINS = args.domains
    return bench.Bench(world, args)


def show_run(kind, r):
    by_program = sorted(r["cpu_ms_by_program"].items(), key=lambda kv: -kv[1])
    print("  %-7s %5.0f messages/s, %.3f ms of processor time each (%s), beside it name servers and policy hosts "
          "%.3f, sink %.3f; %d connections, %d handshakes, %d resumed; others took %.0f %%" % (
              kind, r["rate"], r["cpu_ms"][0],
              ", ".join("%s %.3f" % (k.replace("postern-", ""), v) for k, v in by_program if v >= 0.001),
              r["world_cpu_ms"], r["sink_cpu_ms"], r["connections_out"], r["tls_out"], r["tls_out_resumed"], 100 * r["others_cpu"]), flush=True)


def spread(values):
    return "%.2f (%.2f to %.2f)" % (statistics.median(values), min(values), max(values))


def take(b, nodes, args, first, told):
    """All rounds; ends nodes and bench. ([{kind: run}] without the first round, {kind: metrics at the end})
    first: what the first round is for; told(runs): a line below each round."""
    done = []
    try:
        for i in range(args.rounds + 1):
            out = {}
            print("round %d%s, load %.1f" % (i, " (%s)" % first if i == 0 else "", os.getloadavg()[0]), flush=True)
            for k in nodes if i % 2 == 0 else reversed(nodes):
                b.seq = 0  # the same domains each time
                out[k] = b.run(nodes[k], CELL, args.domains)
                show_run(k, out[k])
            print("  " + told(out), flush=True)
            if i > 0:
                done.append(out)
        return done, {k: node.metrics() for k, node in nodes.items()}
    finally:
        for node in nodes.values():
            node.close()
        b.close()


def show_ratios(done, others):
    """Of "on" to each of the others."""
    for what, get in (("rate", lambda r: r["rate"]), ("processor time", lambda r: r["cpu_ms"][0])):
        print("%s: %s" % (what, ", ".join("on/%s %s" % (
            k, spread([get(r["on"]) / get(r[k]) for r in done])) for k in others)))


def end(b):
    for problem in b.problems:
        print("FAILED: " + problem)
    sys.exit(1 if b.problems else 0)
