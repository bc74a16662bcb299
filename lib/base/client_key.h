/*
 * client_key.h - what counts as one client, wherever clients are counted.
 *
 * An IPv4 address, or the /64 an IPv6 address lies in: whoever has one address
 * of it has them all (RFC 6177), and a limit by address would bound nothing.
 */
#ifndef POSTERN_BASE_CLIENT_KEY_H
#define POSTERN_BASE_CLIENT_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum {
	CLIENT_KEY_LEN = 16,
	CLIENT_KEY_TEXT = 50, /* "2001:db8:0:1::/64" and its NUL at most */
};

/* IPv4 as ::ffff:a.b.c.d, however it came in. False, and all zero: the address
 * is of neither kind. */
bool client_key(const struct sockaddr *sa, uint8_t ret_key[CLIENT_KEY_LEN]);

/* "192.0.2.1" or "2001:db8:0:1::/64". Returns buf. */
const char *client_key_format(
    const uint8_t key[CLIENT_KEY_LEN], char *buf, size_t len);

#endif
