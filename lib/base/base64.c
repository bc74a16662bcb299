/*
 * base64.c - bytes as text in JSON. Source: RFC 4648 section 4.
 */
#include "lib/base/base64.h"

#include <errno.h>
#include <string.h>

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(const uint8_t *in, size_t len, char *out)
{
	uint32_t v;
	size_t n;

	for (; len > 0; in += n, len -= n, out += 4) {
		n = len < 3 ? len : 3;
		v = (uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0) |
		    (n > 2 ? in[2] : 0);
		out[0] = alphabet[v >> 18];
		out[1] = alphabet[v >> 12 & 63];
		out[2] = n > 1 ? alphabet[v >> 6 & 63] : '=';
		out[3] = n > 2 ? alphabet[v & 63] : '=';
	}
}

int
base64_decode(const char *in, size_t len, uint8_t *out, size_t *ret_len)
{
	size_t i, k, n, total = 0;
	const char *at;
	uint32_t v;

	if (len % 4 != 0)
		return -EBADMSG;
	for (i = 0; i < len; i += 4) {
		n = 3;
		if (i + 4 == len && in[i + 3] == '=')
			n = in[i + 2] == '=' ? 1 : 2;
		for (v = 0, k = 0; k < 4; k++, v <<= 6) {
			if (k > n)
				continue;
			at = in[i + k] == '\0' ? NULL
					       : strchr(alphabet, in[i + k]);
			if (at == NULL)
				return -EBADMSG;
			v |= (uint32_t)(at - alphabet);
		}
		v >>= 6;
		if ((v & ((1u << (8 * (3 - n))) - 1)) != 0)
			return -EBADMSG;
		for (k = 0; k < n; k++)
			out[total++] = (uint8_t)(v >> (16 - 8 * k));
	}
	*ret_len = total;
	return 0;
}
