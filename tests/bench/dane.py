#!/usr/bin/env python3
"""dane.py - what DANE costs: a node with it and one without, taking turns in one run.

    python3 tests/bench/dane.py [--domains 10000] [--hosts 100] [--rounds 5]

Every domain is in a signed zone, its MX is one of --hosts names, and each of those has a TLSA record that matches
(3 1 1). Each round sends one message to each domain through each node, over TLS on both sides. Two nodes:

    off   dane = none: TLS, whoever it is
    on    dane = opportunistic: level dane, by the records

The first round fills the caches of DNS and is shown apart. The ratio is that of two runs of one round. Exit 1 when a
message was lost, or one went without its proof.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench import bench  # noqa: E402
from tests.bench.peers import PosternPeer  # noqa: E402
from tests.bench.sts import show_run, spread  # noqa: E402
from tests.world import World  # noqa: E402

KINDS = ("off", "on")


def zones(world, sink, cert, domains, hosts):
    zone = world.zone("tls.bench.test", signed=True, ttl=3600)
    mx = world.zone("bench.test", signed=True, ttl=3600)
    for i in range(hosts):
        mx.rr("mx%d" % i, "A", sink.address[0]).tlsa("mx%d.bench.test" % i, cert, port=sink.address[1])
    for i in range(domains):
        zone.rr("d%d" % i, "MX", "10 mx%d.bench.test." % (i % hosts))
    world.commit()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--domains", type=int, default=10000)
    p.add_argument("--hosts", type=int, default=100)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--sessions", type=int, default=20)
    args = p.parse_args()
    bench.DOMAINS = args.domains
    cell = bench.Cell(4096, 50, True, False)
    with World() as world:
        b = bench.Bench(world, args)
        sink = b.sinks["tls"]
        zones(world, sink, world.ca.issue("sink.bench.test"), args.domains, args.hosts)
        nodes = {k: PosternPeer(world, b.sinks, name="postern-" + k, mx=True, settings={"delivery": {"idle": "0s"}},
                                destinations={"DEFAULT": {"mta_sts": "off", "tls": "required",
                                                          "dane": "opportunistic" if k == "on" else "none"}})
                 for k in KINDS}
        done = []
        try:
            for i in range(args.rounds + 1):
                out = {}
                print("round %d%s, load %.1f" % (
                    i, " (cold cache)" if i == 0 else "", os.getloadavg()[0]), flush=True)
                for k in KINDS if i % 2 == 0 else reversed(KINDS):
                    b.seq = 0  # the same domains each time
                    out[k] = b.run(nodes[k], cell, args.domains)
                    show_run(k, out[k])
                print("  on/off %.2f" % (out["on"]["rate"] / out["off"]["rate"]), flush=True)
                if i > 0:
                    done.append(out)
            proved = nodes["on"].metrics()
        finally:
            for node in nodes.values():
                node.close()
            b.close()
        for what, get in (("rate", lambda r: r["rate"]), ("processor time", lambda r: r["cpu_ms"][0])):
            print("%s: on/off %s" % (what, spread([get(r["on"]) / get(r["off"]) for r in done])))
        print("sessions by a TLSA record: %d of %d" % (
            proved.get("postern_delivery_dane_total", 0), proved.get("postern_delivery_connections_total", 0)))
        if not proved.get("postern_delivery_dane_total"):
            b.problems.append("nothing went by DANE")
        for problem in b.problems:
            print("FAILED: " + problem)
        sys.exit(1 if b.problems else 0)


if __name__ == "__main__":
    main()
