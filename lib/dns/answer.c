/*
 * answer.c - answers as one heap block, and their flat form for IPC.
 *
 * Called by wire.c (which fills a struct and takes a copy), by the resolver's
 * cache and by whoever reads an answer off a channel. The bytes come from
 * another process and are believed in nothing: every rule that dns.h states is
 * checked while decoding, so code behind it need not ask again.
 *
 * Flat form, network byte order; text is u16 length, bytes, one zero byte:
 *   u8 1, u8 state, u8 kind, u8 why, u16 type, u16 ede, u32 ttl_s, u16 records,
 *   text name, text canon, text reason, then per record
 *   u16 preference, u8 usage, u8 selector, u8 mtype, text host, u16 len, data
 */
#include "lib/dns/dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { FLAT_VERSION = 1, FLAT_RR_MIN = 10 };

/* The block: this, the records, the flat bytes that they point into. */
struct block {
	struct dns_answer a;
	size_t size;
	struct dns_rr rrs[];
};

static bool
text_ok(const char *s, size_t size, char lowest)
{
	size_t n;

	for (n = 0; s[n] != '\0'; n++)
		if (s[n] < lowest || s[n] > '~' || n + 1 == size)
			return false;
	return true;
}

/* The shape of one record of that type. */
static bool
rr_ok(uint16_t type, const struct dns_rr *rr)
{
	bool names = type == DNS_MX || type == DNS_CNAME;

	if (!text_ok(rr->host, DNS_TEXT_SIZE, '!'))
		return false;
	if (rr->data_len > UINT16_MAX)
		return false;
	if (type != DNS_MX && rr->preference != 0)
		return false;
	if (type != DNS_TLSA && (rr->usage | rr->selector | rr->mtype) != 0)
		return false;
	if (names)
		return rr->data_len == 0;
	if (rr->host[0] != '\0')
		return false;
	if (type == DNS_A)
		return rr->data_len == 4;
	if (type == DNS_AAAA)
		return rr->data_len == 16;
	return true;
}

static bool
answer_ok(const struct dns_answer *a)
{
	size_t i;

	if ((unsigned)a->state > DNS_SECURE || (unsigned)a->kind > DNS_NXDOMAIN)
		return false;
	if ((unsigned)a->why > DNS_WHY_UNVALIDATED || !dns_type_known(a->type))
		return false;
	if ((a->state == DNS_INDETERMINATE) != (a->kind == DNS_NONE))
		return false;
	if ((a->state == DNS_INDETERMINATE) != (a->why != DNS_WHY_NONE))
		return false;
	if ((a->kind == DNS_DATA) != (a->rrs_len > 0))
		return false;
	if (a->rrs_len > DNS_ANSWER_RRS_MAX)
		return false;
	if (!text_ok(a->name, DNS_TEXT_SIZE, '!') ||
	    !text_ok(a->canon, DNS_TEXT_SIZE, '!') ||
	    !text_ok(a->reason, DNS_REASON_SIZE, ' '))
		return false;
	if (a->why != DNS_WHY_NAME && !dns_name_is_normal(a->name))
		return false;
	if ((a->why == DNS_WHY_NONE) != (a->reason[0] == '\0'))
		return false;
	if (a->chain != (strcmp(a->name, a->canon) != 0))
		return false;
	if (a->chain && a->state == DNS_INDETERMINATE)
		return false;
	for (i = 0; i < a->rrs_len; i++)
		if (!rr_ok(a->type, &a->rrs[i]))
			return false;
	return true;
}

/* ---- writing --------------------------------------------------------------
 */

static size_t
flat_size(const struct dns_answer *a)
{
	size_t i, n;

	n = 14 + strlen(a->name) + 3 + strlen(a->canon) + 3 +
	    strlen(a->reason) + 3;
	for (i = 0; i < a->rrs_len; i++)
		n += FLAT_RR_MIN + strlen(a->rrs[i].host) + a->rrs[i].data_len;
	return n;
}

static uint8_t *
put_u8(uint8_t *p, unsigned v)
{
	*p = (uint8_t)v;
	return p + 1;
}

static uint8_t *
put_u16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *
put_text(uint8_t *p, const char *s)
{
	size_t n = strlen(s);

	p = put_u16(p, n);
	memcpy(p, s, n + 1);
	return p + n + 1;
}

static uint8_t *
flat_write(uint8_t *p, const struct dns_answer *a)
{
	const struct dns_rr *rr;
	size_t i;

	p = put_u8(p, FLAT_VERSION);
	p = put_u8(p, a->state);
	p = put_u8(p, a->kind);
	p = put_u8(p, a->why);
	p = put_u16(p, a->type);
	p = put_u16(p, a->ede);
	p = put_u16(p, a->ttl_s >> 16);
	p = put_u16(p, a->ttl_s & 0xffff);
	p = put_u16(p, a->rrs_len);
	p = put_text(p, a->name);
	p = put_text(p, a->canon);
	p = put_text(p, a->reason);
	for (i = 0; i < a->rrs_len; i++) {
		rr = &a->rrs[i];
		p = put_u16(p, rr->preference);
		p = put_u8(p, rr->usage);
		p = put_u8(p, rr->selector);
		p = put_u8(p, rr->mtype);
		p = put_text(p, rr->host);
		p = put_u16(p, rr->data_len);
		if (rr->data_len > 0)
			memcpy(p, rr->data, rr->data_len);
		p += rr->data_len;
	}
	return p;
}

int
dns_answer_encode(const struct dns_answer *a, struct buf *b)
{
	size_t len;
	uint8_t *p;

	if (!answer_ok(a))
		return -EINVAL;
	len = flat_size(a);
	if (len > DNS_ANSWER_MAX)
		return PE_FULL;
	p = buf_room(b, len);
	if (p == NULL)
		return len > b->max - buf_len(b) ? PE_FULL : -ENOMEM;
	(void)flat_write(p, a);
	buf_added(b, len);
	return 0;
}

/* ---- reading --------------------------------------------------------------
 */

struct cursor {
	const uint8_t *p, *end;
	bool bad; /* sticks */
};

static const uint8_t *
take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return p;
}

static unsigned
take_u8(struct cursor *c)
{
	const uint8_t *p = take(c, 1);

	return p == NULL ? 0 : p[0];
}

static uint16_t
take_u16(struct cursor *c)
{
	const uint8_t *p = take(c, 2);

	return (uint16_t)(p == NULL ? 0 : p[0] << 8 | p[1]);
}

static const char *
take_text(struct cursor *c)
{
	size_t n = take_u16(c);
	const uint8_t *p = take(c, n + 1);

	if (p == NULL)
		return "";
	if (p[n] != 0 || memchr(p, 0, n) != NULL) {
		c->bad = true;
		return "";
	}
	return (const char *)p;
}

static void
take_rr(struct cursor *c, struct dns_rr *rr)
{
	rr->preference = take_u16(c);
	rr->usage = (uint8_t)take_u8(c);
	rr->selector = (uint8_t)take_u8(c);
	rr->mtype = (uint8_t)take_u8(c);
	rr->host = take_text(c);
	rr->data_len = take_u16(c);
	rr->data = take(c, rr->data_len);
}

/* Fill the block from the copy of the flat bytes behind its records. */
static int
block_read(struct block *bl, struct cursor *c, size_t rrs_len)
{
	struct dns_answer *a = &bl->a;
	size_t i;

	if (take_u8(c) != FLAT_VERSION)
		return PE_SYNTAX;
	a->state = (enum dns_state)take_u8(c);
	a->kind = (enum dns_kind)take_u8(c);
	a->why = (enum dns_why)take_u8(c);
	a->type = take_u16(c);
	a->ede = take_u16(c);
	a->ttl_s = (uint32_t)take_u16(c) << 16;
	a->ttl_s |= take_u16(c);
	(void)take_u16(c); /* rrs_len, read ahead by the caller */
	a->name = take_text(c);
	a->canon = take_text(c);
	a->reason = take_text(c);
	a->chain = strcmp(a->name, a->canon) != 0;
	a->rrs = bl->rrs;
	a->rrs_len = rrs_len;
	for (i = 0; i < rrs_len; i++)
		take_rr(c, &bl->rrs[i]);
	if (c->bad || c->p != c->end || !answer_ok(a))
		return PE_SYNTAX;
	return 0;
}

/* A block with room for rrs_len records and len flat bytes; *ret_flat is where
 * those go. */
static struct block *
block_new(size_t rrs_len, size_t len, uint8_t **ret_flat)
{
	size_t size =
	    sizeof(struct block) + rrs_len * sizeof(struct dns_rr) + len;
	struct block *bl = calloc(1, size);

	if (bl == NULL)
		return NULL;
	bl->size = size;
	*ret_flat = (uint8_t *)&bl->rrs[rrs_len];
	return bl;
}

static int
block_finish(struct block *bl, const uint8_t *flat, size_t len, size_t rrs_len,
    struct dns_answer **ret_answer)
{
	struct cursor c = { flat, flat + len, false };
	int r = block_read(bl, &c, rrs_len);

	if (r < 0) {
		free(bl);
		return r;
	}
	*ret_answer = &bl->a;
	return 0;
}

int
dns_answer_decode(
    const uint8_t *bytes, size_t len, struct dns_answer **ret_answer)
{
	struct block *bl;
	size_t rrs_len;
	uint8_t *flat;

	if (len > DNS_ANSWER_MAX)
		return PE_TOO_LONG;
	if (len < 14)
		return PE_SYNTAX;
	rrs_len = (size_t)(bytes[12] << 8 | bytes[13]);
	/* what cannot be there is not allocated for */
	if (rrs_len > len / FLAT_RR_MIN)
		return PE_SYNTAX;
	bl = block_new(rrs_len, len, &flat);
	if (bl == NULL)
		return -ENOMEM;
	memcpy(flat, bytes, len);
	return block_finish(bl, flat, len, rrs_len, ret_answer);
}

int
dns_answer_dup(const struct dns_answer *a, struct dns_answer **ret_answer)
{
	struct block *bl;
	uint8_t *flat;
	size_t len;

	if (!answer_ok(a))
		return -EINVAL;
	len = flat_size(a);
	if (len > DNS_ANSWER_MAX)
		return PE_TOO_LONG;
	bl = block_new(a->rrs_len, len, &flat);
	if (bl == NULL)
		return -ENOMEM;
	(void)flat_write(flat, a);
	return block_finish(bl, flat, len, a->rrs_len, ret_answer);
}

struct dns_answer *
dns_answer_failed(const char *name, uint16_t type, enum dns_why why,
    uint16_t ede, const char *reason)
{
	struct dns_answer a = { 0 }, *copy;
	char text[DNS_REASON_SIZE], shown[DNS_TEXT_SIZE];
	size_t i;

	if (reason == NULL || reason[0] == '\0')
		reason = dns_why_str(why);
	for (i = 0; reason[i] != '\0' && i + 1 < sizeof(text); i++)
		text[i] = reason[i] < ' ' || reason[i] > '~' ? '?' : reason[i];
	text[i] = '\0';
	for (i = 0; name[i] != '\0' && i + 1 < sizeof(shown); i++)
		shown[i] = name[i] < '!' || name[i] > '~' ? '?' : name[i];
	shown[i] = '\0';
	a.why = why;
	a.type = type;
	a.ede = ede;
	a.name = a.canon = shown;
	a.reason = text;
	return dns_answer_dup(&a, &copy) < 0 ? NULL : copy;
}

void
dns_answer_free(struct dns_answer *a)
{
	free(a); /* the first member of its block */
}

size_t
dns_answer_size(const struct dns_answer *a)
{
	return ((const struct block *)(const void *)a)->size;
}
