/*
 * prvs.c - make and check BATV tags. See prvs.h. Never remembers a tag that it
 * made: what it knows is in the tag and in the key.
 */
#include "lib/mail/prvs.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SIG_HEX = 6, DAYS = 1000 };

/* The signature in lower-case hex; false: no memory in libcrypto. */
static bool
sign(const struct prvs_keys *keys, const char kddd[4], const char *plain,
    char ret[SIG_HEX + 1])
{
	int digit = kddd[0] - '0';
	uint8_t in[4 + ADDR_MAX], mac[EVP_MAX_MD_SIZE];
	size_t len = strlen(plain), i;
	unsigned mac_len = 0;

	if (len > ADDR_MAX)
		return false;
	memcpy(in, kddd, 4);
	for (i = 0; i < len; i++)
		in[4 + i] = (uint8_t)tolower((unsigned char)plain[i]);
	if (HMAC(EVP_sha1(), keys->key[digit].secret, (int)keys->key[digit].len,
		in, 4 + len, mac, &mac_len) == NULL ||
	    mac_len < 3)
		return false;
	(void)snprintf(
	    ret, SIG_HEX + 1, "%02x%02x%02x", mac[0], mac[1], mac[2]);
	return true;
}

/* Does the local part begin with "prvs="? */
static bool
has_tag(const struct addr *a)
{
	return a->local_len > 5 && strncasecmp(a->local, "prvs=", 5) == 0;
}

bool
prvs_tag(const struct prvs_keys *keys, const char *address, int64_t day,
    unsigned lifetime_days, char ret[ADDR_MAX + 1])
{
	char kddd[16], sig[SIG_HEX + 1];
	struct addr a;

	if (keys->current < 0 ||
	    addr_parse(address, strlen(address), ADDR_UTF8, &a, NULL) < 0 ||
	    a.quoted || has_tag(&a) ||
	    a.local_len + PRVS_TAG_LEN > ADDR_LOCAL_MAX ||
	    a.len + PRVS_TAG_LEN > ADDR_MAX)
		return false;
	(void)snprintf(kddd, sizeof(kddd), "%d%03u", keys->current,
	    (unsigned)((uint64_t)day + lifetime_days) % DAYS);
	if (!sign(keys, kddd, address, sig))
		return false;
	(void)snprintf(ret, ADDR_MAX + 1, "prvs=%s%s=%s", kddd, sig, address);
	return true;
}

/* "KDDDSSSSSS=" and something behind it? */
static bool
tag_form(const char *tag, size_t len)
{
	size_t i;

	if (len < PRVS_TAG_LEN - 5 + 1 || tag[10] != '=')
		return false;
	for (i = 0; i < 4; i++)
		if (!isdigit((unsigned char)tag[i]))
			return false;
	for (i = 4; i < 10; i++)
		if (!isxdigit((unsigned char)tag[i]))
			return false;
	return true;
}

enum prvs_result
prvs_check(const struct prvs_keys *keys, const char *address, int64_t day,
    unsigned lifetime_days, char ret[ADDR_MAX + 1])
{
	char sig[SIG_HEX + 1], found[SIG_HEX];
	const char *tag;
	struct addr a;
	int ddd, left;
	size_t i;

	if (addr_parse(address, strlen(address), ADDR_UTF8, &a, NULL) < 0 ||
	    !has_tag(&a) || !tag_form(a.local + 5, a.local_len - 5))
		return PRVS_UNTAGGED;
	tag = a.local + 5;
	(void)snprintf(ret, ADDR_MAX + 1, "%.*s", (int)(a.len - PRVS_TAG_LEN),
	    a.local + PRVS_TAG_LEN);
	for (i = 0; i < SIG_HEX; i++)
		found[i] = (char)tolower((unsigned char)tag[4 + i]);
	if (keys->key[tag[0] - '0'].len == 0 || !sign(keys, tag, ret, sig) ||
	    CRYPTO_memcmp(sig, found, SIG_HEX) != 0)
		return PRVS_FORGED;
	ddd = (tag[1] - '0') * 100 + (tag[2] - '0') * 10 + (tag[3] - '0');
	left = (int)((ddd - day % DAYS + DAYS) % DAYS);
	return left <= (int)lifetime_days ? PRVS_GOOD : PRVS_EXPIRED;
}
