/*
 * http_head.h - is this the head of a request that may reach the HTTP library?
 *
 * libmicrohttpd is lenient where leniency has let requests be smuggled: it takes
 * Transfer-Encoding together with Content-Length, bare LF, folded headers and
 * NUL. Everything passes here first. Pure: bytes in, verdict out.
 * Source: RFC 9112 (sections 2.2, 3, 5, 6), RFC 9110 section 7.2.
 */
#ifndef POSTERN_ADMIN_HTTP_HEAD_H
#define POSTERN_ADMIN_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	HTTP_HEAD_MAX = 16 * 1024,
	HTTP_TARGET_MAX = 4096,
	HTTP_HEADERS_MAX = 64,
	HTTP_BODY_MAX = 1024 * 1024,
};

struct http_head {
	size_t len;	   /* bytes of the head with its empty line */
	uint64_t body_len; /* from Content-Length; 0 without */
	uint16_t status;   /* why not: 400, 413, 414, 417, 431, 501, 505 */
	const char *why;   /* static */
};

/*
 * Where the head in data[0..len) ends. Bytes before from were looked at by an
 * earlier call (0 at first). The length of the head, 0 when more is needed, or
 * -1 when this can no longer become a head; then status and why are set.
 */
ssize_t http_head_find(
    const uint8_t *data, size_t len, size_t from, struct http_head *ret_head);

/* Check a whole head of len bytes, as found above. 0 and body_len, or -1 with
 * status and why. */
int http_head_check(
    const uint8_t *data, size_t len, struct http_head *ret_head);

#endif
