/*
 * tlsa.c - parse TLSA records and say which of them count; see tlsa.h. Never does
 * I/O, never logs, keeps nothing.
 */
#include "lib/dane/tlsa.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"

enum { FULL, SHA_256, SHA_512 };

const char *
dane_fate_text(enum dane_fate fate)
{
	static const char *const texts[] = {
		[DANE_COUNTS] = "counts",
		[DANE_SHORT] = "it holds no data",
		[DANE_USAGE] = "its usage is not 2 or 3 (RFC 7672, 3.1.3)",
		[DANE_SELECTOR] = "its selector is not known",
		[DANE_MATCHING] = "its matching type is not known",
		[DANE_LENGTH] = "its data has not the length of the digest",
		[DANE_UNDECODED] = "its data is no certificate or key",
		[DANE_WEAKER] = "a stronger digest is there (RFC 7671, 9)",
		[DANE_OVER] = "there are too many records",
	};

	return texts[fate];
}

int
dane_rdata_parse(const uint8_t *rdata, size_t len, struct facts_tlsa_rr *ret_rr)
{
	if (len < 3)
		return PE_SYNTAX;
	ret_rr->usage = rdata[0];
	ret_rr->selector = rdata[1];
	ret_rr->mtype = rdata[2];
	ret_rr->data = rdata + 3;
	ret_rr->data_len = len - 3;
	return 0;
}

/* ---- text ---------------------------------------------------------------------- */

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* A number from 0 to 255 that ends at a space. */
static int
take_number(const char **at, uint8_t *ret)
{
	const char *p = *at;
	unsigned v = 0, digits = 0;

	while (is_space(*p))
		p++;
	for (; *p >= '0' && *p <= '9' && digits < 4; p++, digits++)
		v = v * 10 + (unsigned)(*p - '0');
	if (digits == 0 || v > 255 || (!is_space(*p) && *p != '\0'))
		return PE_SYNTAX;
	*ret = (uint8_t)v;
	*at = p;
	return 0;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
take_hex(const char *p, uint8_t *data, size_t size, size_t *ret_len)
{
	size_t n = 0;
	int v, high = -1;

	for (; *p != '\0'; p++) {
		if (is_space(*p))
			continue;
		v = hex_value(*p);
		if (v < 0)
			return PE_SYNTAX;
		if (high < 0) {
			high = v;
			continue;
		}
		if (n == size)
			return PE_TOO_LONG;
		data[n++] = (uint8_t)(high << 4 | v);
		high = -1;
	}
	*ret_len = n;
	return high < 0 ? 0 : PE_SYNTAX;
}

int
dane_text_parse(
    const char *text, uint8_t *data, size_t size, struct facts_tlsa_rr *ret_rr)
{
	struct facts_tlsa_rr rr = { .data = data };
	int r;

	if (take_number(&text, &rr.usage) < 0 ||
	    take_number(&text, &rr.selector) < 0 ||
	    take_number(&text, &rr.mtype) < 0)
		return PE_SYNTAX;
	r = take_hex(text, data, size, &rr.data_len);
	if (r == 0)
		*ret_rr = rr;
	return r;
}

/* ---- one record ------------------------------------------------------------------ */

/* The whole data is one certificate with a key in it, or one public key: the
 * same test as OpenSSL makes, so that it accepts what counts here. */
static bool
decodes(const struct facts_tlsa_rr *rr)
{
	const unsigned char *p = rr->data;
	long len = (long)rr->data_len;
	X509 *cert = NULL;
	EVP_PKEY *key = NULL;
	bool ok;

	if (rr->data_len > INT32_MAX)
		return false;
	if (rr->selector == 0) {
		cert = d2i_X509(NULL, &p, len);
		ok = cert != NULL && X509_get0_pubkey(cert) != NULL;
	} else {
		key = d2i_PUBKEY(NULL, &p, len);
		ok = key != NULL;
	}
	ok = ok && p == rr->data + rr->data_len;
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ok;
}

enum dane_fate
dane_rr_fate(const struct facts_tlsa_rr *rr)
{
	static const size_t lengths[] = { [SHA_256] = 32, [SHA_512] = 64 };

	if (rr->usage != 2 && rr->usage != 3)
		return DANE_USAGE;
	if (rr->selector > 1)
		return DANE_SELECTOR;
	if (rr->mtype > SHA_512)
		return DANE_MATCHING;
	if (rr->data_len == 0)
		return DANE_SHORT;
	if (rr->mtype == FULL)
		return decodes(rr) ? DANE_COUNTS : DANE_UNDECODED;
	return rr->data_len == lengths[rr->mtype] ? DANE_COUNTS : DANE_LENGTH;
}

/* ---- the set ------------------------------------------------------------------------ */

size_t
dane_select(const struct facts_tlsa_rr *rrs, size_t n,
    struct facts_tlsa_rr *ret_rrs, enum dane_fate *ret_fates)
{
	/* by usage 2 or 3 and selector */
	uint8_t strongest[2][2] = { { FULL, FULL }, { FULL, FULL } }, *best;
	size_t i, kept = 0;
	enum dane_fate fate;

	/* malformed ones do not outrank anything: they go first (DANE-35) */
	for (i = 0; i < n; i++) {
		if (dane_rr_fate(&rrs[i]) != DANE_COUNTS)
			continue;
		best = &strongest[rrs[i].usage - 2][rrs[i].selector];
		if (rrs[i].mtype > *best)
			*best = rrs[i].mtype;
	}
	for (i = 0; i < n; i++) {
		fate = dane_rr_fate(&rrs[i]);
		if (fate == DANE_COUNTS && rrs[i].mtype != FULL &&
		    rrs[i].mtype < strongest[rrs[i].usage - 2][rrs[i].selector])
			fate = DANE_WEAKER;
		if (fate == DANE_COUNTS && kept == DANE_RECORDS_MAX)
			fate = DANE_OVER;
		if (fate == DANE_COUNTS)
			ret_rrs[kept++] = rrs[i];
		if (ret_fates != NULL)
			ret_fates[i] = fate;
	}
	return kept;
}

bool
dane_needs_name(const struct facts_tlsa_rr *rrs, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (rrs[i].usage != 3)
			return true;
	return false;
}

static int
by_bytes(const void *va, const void *vb)
{
	return memcmp(va, vb, FACTS_TLSA_DIGEST_LEN);
}

/* The digest of one record: its numbers and its data. */
static bool
digest_one(EVP_MD_CTX *md, const struct facts_tlsa_rr *rr, uint8_t *out)
{
	uint8_t head[3] = { rr->usage, rr->selector, rr->mtype };

	return EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(md, head, sizeof(head)) == 1 &&
	    EVP_DigestUpdate(md, rr->data, rr->data_len) == 1 &&
	    EVP_DigestFinal_ex(md, out, NULL) == 1;
}

int
dane_digest(const char *base, const struct facts_tlsa_rr *rrs, size_t n,
    uint8_t ret_digest[FACTS_TLSA_DIGEST_LEN])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t *each = calloc(n + 1, FACTS_TLSA_DIGEST_LEN);
	bool ok = md != NULL && each != NULL;
	size_t i;

	for (i = 0; ok && i < n; i++)
		ok = digest_one(md, &rrs[i], each + i * FACTS_TLSA_DIGEST_LEN);
	if (ok)
		qsort(each, n, FACTS_TLSA_DIGEST_LEN, by_bytes);
	ok = ok && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(md, base, strlen(base) + 1) == 1 &&
	    EVP_DigestUpdate(md, each, n * FACTS_TLSA_DIGEST_LEN) == 1 &&
	    EVP_DigestFinal_ex(md, ret_digest, NULL) == 1;
	free(each);
	EVP_MD_CTX_free(md);
	return ok ? 0 : -ENOMEM;
}
