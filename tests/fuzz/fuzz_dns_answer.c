/*
 * fuzz_dns_answer.c - the flat form of an answer: what decodes encodes to the
 * same bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/dns/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct dns_answer *a;
	struct buf b;

	if (dns_answer_decode(data, len, &a) < 0)
		return 0;
	buf_init(&b, DNS_ANSWER_MAX);
	if (dns_answer_encode(a, &b) < 0 || buf_len(&b) != len ||
	    memcmp(buf_data(&b), data, len) != 0)
		abort();
	buf_done(&b);
	dns_answer_free(a);
	return 0;
}
