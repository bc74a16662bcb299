/*
 * hostaddr.h - which addresses a policy host may have.
 *
 * Whoever publishes DNS records chooses where we connect to. So that nobody
 * makes us ask our own network for /.well-known/mta-sts.txt, addresses that
 * are not of the public internet (lib/base/special.h) are refused unless the
 * settings allow them. Pure.
 */
#ifndef POSTERN_STS_HOSTADDR_H
#define POSTERN_STS_HOSTADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf_nets;

struct sts_addr {
	int family;	/* AF_INET or AF_INET6 */
	uint8_t ip[16]; /* 4 or 16 bytes, network order */
};

/* True when it must not be connected to. allow may be NULL. */
bool sts_addr_refused(
    const struct sts_addr *addr, const struct conf_nets *allow);

/* "192.0.2.1", "2001:db8::1"; 46 bytes are enough. Returns buf. */
const char *sts_addr_text(const struct sts_addr *addr, char *buf, size_t len);

/* 0 or PE_SYNTAX. */
int sts_addr_parse(const char *text, struct sts_addr *ret);

#endif
