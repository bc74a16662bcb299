#!/usr/bin/env python3
"""sts.py - what MTA-STS costs: nodes with it and without, taking turns in one run.

    python3 tests/bench/sts.py [--domains 10000] [--rounds 5]        (make bench BENCH_ARGS=--sts)

Each round sends one message to each recipient domain through each node, over TLS on both sides. One
domain in five has a policy in mode enforce, the others have no TXT record. Three nodes:

    off      without MTA-STS: the certificate of the sink is looked at, and nothing follows from it
    verify   without MTA-STS, but the operator demands for the same domains what the policies demand
             (tls = required-verify-hosted): the same proof, without TXT, policy and store
    on       with MTA-STS

The first round of "on" discovers and fetches all policies; it is shown apart. The ratio is that of two
runs of one round; the processor time is that of all processes of a node. Exit 1 when a message was lost.
"""
import os
import ssl
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.bench import turns  # noqa: E402
from tests.bench.peers import PosternPeer  # noqa: E402
from tests.world import World  # noqa: E402
from tests.world.policy import PolicyHost, policy  # noqa: E402

MX = "sink.bench.test"
GROUP = 100  # names in one certificate
KINDS = ("off", "verify", "on")


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


def nodes_of(world, b, domains):
    """{kind: node}."""
    settings = {"mta-sts": {"policy_host_allow": "127.0.0.0/8", "port": str(world.port)},
                # no connection of one round serves the next: as with so many domains each message has its own
                "delivery": {"idle": "0s"},
                # the rate counts to the last message: a lookup that the name server of the world, on the same
                # processors, did not answer in time costs seconds, not the minute of the default
                "queue": {"host_down_retry": "2s", "host_down_max_retry": "4s"}}
    verify = {"d%d.tls.bench.test" % i: {"tls": "required-verify-hosted"} for i in range(0, domains, 5)}
    more = {"off": {}, "verify": verify, "on": {}}
    return {k: PosternPeer(world, b.sinks, name="postern-" + k, mx=True, settings=settings,
                           destinations={"DEFAULT": {"mta_sts": "on" if k == "on" else "off"}, **more[k]})
            for k in KINDS}


def main():
    args = turns.arguments(__doc__)
    with World() as world:
        b = turns.bench_of(world, args)
        host = zones(world, b.sinks["tls"], args.domains)
        world.commit()
        nodes = nodes_of(world, b, args.domains)

        def told(out):
            return "on/off %.2f, on/verify %.2f; connections to policy hosts %d, requests %d" % (
                out["on"]["rate"] / out["off"]["rate"], out["on"]["rate"] / out["verify"]["rate"],
                host.connections, len(host.requests))
        done, after = turns.take(b, nodes, args, "discovery", told)
        turns.show_ratios(done, ("off", "verify"))
        print("fetches: " + ", ".join("%s %d" % (k, v) for k, v in sorted(after["on"].items())
                                      if k.startswith("postern_sts_fetches_total") and v))
        turns.end(b)


if __name__ == "__main__":
    main()
