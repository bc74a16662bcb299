/*
 * fuzz_dane_tlsa.c - a set of TLSA records (each: one length byte, or two with
 * the high bit, then the RDATA), and the same bytes as text. Holds: a record that
 * counts is of usage 2 or 3, with a known selector and matching type and the
 * right length; of two digests of one kind only the stronger counts; OpenSSL
 * takes every record that counts, and none is made up.
 */
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dane/ssl.h"
#include "lib/dane/tlsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS = 100 };

static void
check(int good)
{
	if (!good)
		abort();
}

static size_t
cut(const uint8_t *p, size_t size, struct facts_tlsa_rr *rrs)
{
	size_t n = 0, len;

	while (size > 0 && n < RECORDS) {
		len = *p++;
		size--;
		if (len >= 128 && size > 0) {
			len = (len & 127) << 8 | *p++;
			size--;
		}
		if (len > size)
			len = size;
		if (dane_rdata_parse(p, len, &rrs[n]) == 0) {
			check(rrs[n].data_len == len - 3);
			n++;
		} else {
			check(len < 3);
		}
		p += len;
		size -= len;
	}
	return n;
}

static void
check_kept(const struct facts_tlsa_rr *kept, size_t n)
{
	size_t i, k;

	for (i = 0; i < n; i++) {
		check(kept[i].usage == 2 || kept[i].usage == 3);
		check(kept[i].selector <= 1 && kept[i].mtype <= 2);
		check(kept[i].mtype != 1 || kept[i].data_len == 32);
		check(kept[i].mtype != 2 || kept[i].data_len == 64);
		for (k = 0; k < n; k++)
			check(kept[i].usage != kept[k].usage ||
			    kept[i].selector != kept[k].selector ||
			    kept[i].mtype == kept[k].mtype ||
			    kept[i].mtype == 0 || kept[k].mtype == 0);
	}
}

static void
check_openssl(const struct facts_tlsa_rr *kept, size_t n)
{
	static SSL_CTX *ctx;
	struct dane_want want = {
		.names = { "mx.example" }, .n_names = 1, .rrs = kept, .n_rrs = n
	};
	SSL *ssl;

	if (ctx == NULL)
		ctx = SSL_CTX_new(TLS_client_method());
	ssl = SSL_new(ctx);
	check(ssl != NULL);
	check(dane_ssl_apply(ssl, &want) == (int)n);
	SSL_free(ssl);
}

static void
check_text(const uint8_t *data, size_t size)
{
	uint8_t out[256];
	struct facts_tlsa_rr rr;
	char *text = malloc(size + 1);

	check(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	if (dane_text_parse(text, out, sizeof(out), &rr) == 0)
		check(rr.data == out && rr.data_len <= sizeof(out));
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct facts_tlsa_rr rrs[RECORDS], kept[DANE_RECORDS_MAX];
	enum dane_fate fates[RECORDS];
	uint8_t digest[FACTS_TLSA_DIGEST_LEN];
	size_t i, n, n_kept, counted = 0;

	if (size > 65536)
		return 0;
	check_text(data, size);
	n = cut(data, size, rrs);
	n_kept = dane_select(rrs, n, kept, fates);
	check(n_kept <= DANE_RECORDS_MAX && n_kept <= n);
	for (i = 0; i < n; i++) {
		counted += fates[i] == DANE_COUNTS;
		check(dane_fate_text(fates[i])[0] != '\0');
	}
	check(counted == n_kept);
	check_kept(kept, n_kept);
	check_openssl(kept, n_kept);
	check(dane_digest("mx.example", kept, n_kept, digest) == 0);
	return 0;
}
