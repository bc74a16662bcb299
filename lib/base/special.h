/*
 * special.h - addresses that are not of the public internet.
 *
 * Whoever publishes DNS records chooses where we connect to. Both who fetches
 * policies (lib/sts) and who delivers mail ask here before they do, so that
 * nobody makes us talk to our own network; what an operator allows all the same
 * is their business. Pure. Source: the IANA special-purpose registries
 * (RFC 6890).
 */
#ifndef POSTERN_BASE_SPECIAL_H
#define POSTERN_BASE_SPECIAL_H

#include <stdbool.h>
#include <stdint.h>

/* 4 or 16 bytes, network order. An IPv6 address that hides an IPv4 address
 * counts as that. */
bool addr_is_special(const uint8_t *ip, bool v6);

/* The IPv4 address inside this IPv6 address (mapped, NAT64 by the well-known
 * prefix, 6to4), or NULL. Points into ip. */
const uint8_t *addr_hidden4(const uint8_t *ip);

#endif
