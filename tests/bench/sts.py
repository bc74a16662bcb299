#!/usr/bin/env python3
"""sts.py - what MTA-STS costs: one node with it and one without, taking turns in one run.

    python3 tests/bench/sts.py [--domains 10000] [--rounds 3]

Each round sends one message to each recipient domain through each node, over TLS on both sides. One
domain in five has a policy in mode enforce, the others have no TXT record. The first round of the node
with MTA-STS discovers and fetches all policies; it is shown apart. The ratio is that of two runs of one
round. Exit 1 when a message was lost.
"""
import argparse
import os
import ssl
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench import bench  # noqa: E402
from tests.bench.peers import PosternPeer  # noqa: E402
from tests.world import World  # noqa: E402
from tests.world.policy import PolicyHost, policy  # noqa: E402

MX = "sink.bench.test"
GROUP = 100  # names in one certificate


class ManyPolicyHosts(PolicyHost):
    """One address for the policy hosts of all domains: the certificate goes by the name that is asked for."""

    def __init__(self, world, domains):
        self.groups = {}
        for i in range(0, len(domains), GROUP):
            names = ["mta-sts." + d for d in domains[i:i + GROUP]]
            cert = world.ca.issue(names)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert.chain, cert.key)
            self.groups.update((n, context) for n in names)
        self.any = next(iter(self.groups.values()))
        self.any.sni_callback = self._choose
        super().__init__(world.ca, domains[0], world.block.host(), world.port, policy(mx=[MX]), world.signal)

    def _choose(self, sock, name, context):
        sock.context = self.groups.get(name, context)

    def _context(self):
        return self.any


def zones(world, sink, n):
    """n recipient domains of the load generator; the policy host of every fifth."""
    world.zone("bench.test").rr("sink", "A", sink.address[0])
    zone = world.zone("tls.bench.test")
    with_policy = ["d%d.tls.bench.test" % i for i in range(0, n, 5)]
    host = ManyPolicyHosts(world, with_policy)
    world.others.append(host)
    for i in range(n):
        zone.rr("d%d" % i, "MX", "10 %s." % MX)
        if i % 5 == 0:
            zone.txt("_mta-sts.d%d" % i, "v=STSv1; id=1;").a("mta-sts.d%d" % i, host.address)
    return host


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--domains", type=int, default=10000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--sessions", type=int, default=20)
    args = p.parse_args()
    bench.DOMAINS = args.domains
    cell = bench.Cell(4096, 50, True, False)
    with World() as world:
        b = bench.Bench(world, args)
        host = zones(world, b.sinks["tls"], args.domains)
        world.commit()
        mta_sts = {"policy_host_allow": "127.0.0.0/8", "port": str(world.port)}
        nodes = {k: PosternPeer(world, b.sinks, name="postern-" + k, mx=True, settings={"mta-sts": mta_sts},
                                destinations={"DEFAULT": {"mta_sts": k}}) for k in ("off", "on")}
        ratios = []
        try:
            for i in range(args.rounds + 1):
                b.seq = 0  # the same domains each time
                rate = {}
                for k, node in sorted(nodes.items(), reverse=i % 2 == 1):
                    rate[k] = b.run(node, cell, args.domains)["rate"]
                    b.seq = 0
                ratio = rate["on"] / rate["off"] if rate["off"] else 0
                print("round %d%s: off %.0f, on %.0f messages/s, ratio %.2f; %d policies fetched; load %.1f" % (
                    i, " (discovery)" if i == 0 else "", rate["off"], rate["on"], ratio, len(host.requests),
                    os.getloadavg()[0]), flush=True)
                if i > 0:
                    ratios.append(ratio)
        finally:
            for node in nodes.values():
                node.close()
            b.close()
        print("%d domains, ratio %.2f (%.2f to %.2f)" % (
            args.domains, statistics.median(ratios), min(ratios), max(ratios)))
        for problem in b.problems:
            print("FAILED: " + problem)
        sys.exit(1 if b.problems else 0)


if __name__ == "__main__":
    main()
