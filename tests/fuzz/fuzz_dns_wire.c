/*
 * fuzz_dns_wire.c - the reply walker. Input: one byte that picks the type, then
 * a reply; its id and question are made to match, so the rest gets walked.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint16_t types[] = { DNS_A, DNS_AAAA, DNS_MX, DNS_TXT,
		DNS_TLSA, DNS_CNAME };
	uint8_t query[DNS_QUERY_SIZE], *pkt;
	struct dns_reply out;
	struct buf b;
	int n, end;

	if (len < 1 || len > 65535)
		return 0;
	n = dns_query_build(
	    "www.example", types[data[0] % 6], 0x1234, DNS_Q_AD, NULL, query);
	if (n < 0)
		abort();
	end = n - 11; /* without OPT */
	len--;
	pkt = malloc(len + 1);
	if (pkt == NULL)
		return 0;
	memcpy(pkt, data + 1, len);
	if (len >= (size_t)end) {
		memcpy(pkt, query, 2);
		pkt[2] = (uint8_t)((pkt[2] & 0x07) | 0x80);
		memcpy(pkt + 4, query + 4, 2);
		memcpy(pkt + 12, query + 12, (size_t)end - 12);
	}
	if (dns_reply_parse(pkt, len, query, (size_t)n, &out) == 0) {
		if ((out.kind == DNS_REPLY_ERROR) != (out.answer == NULL) ||
		    (out.kind == DNS_REPLY_ERROR) != (out.why != DNS_WHY_NONE))
			abort();
		if (out.answer != NULL) {
			buf_init(&b, DNS_ANSWER_MAX);
			if (dns_answer_encode(out.answer, &b) < 0)
				abort();
			buf_done(&b);
		}
		dns_reply_done(&out);
	}
	free(pkt);
	return 0;
}
