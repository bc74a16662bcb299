"""Hosts that lie, stall, flood and cut: whatever one of them does costs its own connection, never the
process, never another host's mail, and never the security that a destination demands."""
from harness import contains, main, test
from tests.world import On, bulk

SENDER = "sender@client.test"
# every wait of a session, in the small
QUICK = {"delivery": {"idle": "1s", "connect_timeout": "2s", "greeting_timeout": "2s",
                      "ehlo_timeout": "2s", "tls_timeout": "2s", "mail_timeout": "2s",
                      "rcpt_timeout": "2s", "data_timeout": "2s", "data_block_timeout": "2s",
                      "final_dot_timeout": "2s", "quit_timeout": "1s"},
         "queue": {"host_down_retry": "1s", "host_down_max_retry": "2s"}}


def setup(w):
    return w.postern(settings=QUICK).start()


@test(timeout=60)
def a_refusal_while_the_body_goes_out(w, node):
    """It says 552, and resets while we still write: the refusal counts, not the broken write."""
    for caps in (("PIPELINING",), ("PIPELINING", "CHUNKING")):
        name = "early%d.test" % len(caps)
        mx = w.mx("mx1." + name, On("body", "552 5.3.4 enough of it", after=20000, close="rst"),
                  caps=caps, starttls="none")
        w.domain(name, mx)
        w.commit()
        for i in range(8):
            mid = node.submit(SENDER, ["a%d@%s" % (i, name)], bulk(1000000))
            contains(node.wait_log(r"(Bounced|Delayed): DCID \d+ MID %d " % mid)[0], "enough of it", caps)



if __name__ == "__main__":
    main(setup)
