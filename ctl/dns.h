/*
 * dns.h - posternctl's own questions to a DNS server, for checks without a node.
 *
 * Packets are made and read by lib/dns, carried by c-ares, one at a time and
 * waited for. An answer always comes; one that could not be had is indeterminate.
 */
#ifndef POSTERN_CTL_DNS_H
#define POSTERN_CTL_DNS_H

#include "lib/dns/dns.h"

#include <stdbool.h>
#include <stdint.h>

struct ctl_dns;

/*
 * server is "127.0.0.1:53", "[::1]:53" or without a port. trust_ad is "loopback",
 * "yes" or "no", as in the settings (standards DANE-03): whether the AD bit of
 * its replies is believed. 0; -EINVAL: not of this form; -ENOMEM; -EIO.
 */
int ctl_dns_open(
    const char *server, const char *trust_ad, struct ctl_dns **ret_dns);
void ctl_dns_close(struct ctl_dns *dns); /* NULL is fine */

/* Ask for a normalised name. The caller's, dns_answer_free(); NULL: no memory. */
struct dns_answer *ctl_dns_ask(
    struct ctl_dns *dns, const char *name, uint16_t type);

#endif
