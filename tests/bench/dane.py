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
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench import turns  # noqa: E402
from tests.bench.peers import PosternPeer  # noqa: E402
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
    args = turns.arguments(__doc__, hosts=100)
    with World() as world:
        b = turns.bench_of(world, args)
        zones(world, b.sinks["tls"], world.ca.issue("sink.bench.test"), args.domains, args.hosts)
        nodes = {k: PosternPeer(world, b.sinks, name="postern-" + k, mx=True, settings={"delivery": {"idle": "0s"}},
                                destinations={"DEFAULT": {"mta_sts": "off", "tls": "required",
                                                          "dane": "opportunistic" if k == "on" else "none"}})
                 for k in KINDS}
        done, after = turns.take(b, nodes, args, "cold cache",
                                 lambda out: "on/off %.2f" % (out["on"]["rate"] / out["off"]["rate"]))
        turns.show_ratios(done, ("off",))
        proved = after["on"].get("postern_delivery_dane_total", 0)
        print("sessions by a TLSA record: %d of %d" % (proved, after["on"].get("postern_delivery_connections_total", 0)))
        if not proved:
            b.problems.append("nothing went by DANE")
        turns.end(b)


if __name__ == "__main__":
    main()
