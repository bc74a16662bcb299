/*
 * wire.c - walk the reply to a question.
 *
 * Never does I/O or logs. The walk is: index every record once with its bounds;
 * follow the CNAME chain from the asked name through the index; read the RRset
 * at its end in two passes, one that checks and measures and one that fills.
 * Work is bounded: RRS_MAX records, DNS_CHAIN_MAX links, 255 octets per name,
 * and compression pointers that may only go backwards.
 */
#include "lib/dns/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/dns/wire_int.h"

enum {
	TYPE_NS = 2,
	TYPE_SOA = 6,
	OPTION_EDE = 15,
	RRS_MAX = 2048, /* records of one packet, all sections */
	RR_MIN = 11,	/* root, type, class, ttl, rdlength */
};

enum section { ANSWER, AUTHORITY, ADDITIONAL };

struct rr {
	enum section section;
	size_t owner; /* offset of the name */
	uint16_t type, class;
	uint32_t ttl;
	size_t rd, rd_len;
};

/* ---- index -----------------------------------------------------------------
 */

struct walk {
	struct pkt k;
	struct rr *rrs;
	size_t rrs_len;
	struct dns_reply *out;
	uint16_t type;
	struct name at; /* where the chain stands */
	uint32_t ttl_s; /* smallest so far */
};

static int
fail(struct walk *w, enum dns_why why, const char *detail)
{
	w->out->kind = DNS_REPLY_ERROR;
	w->out->why = why;
	w->out->detail = detail;
	return 0;
}

static bool
rr_read(const struct pkt *k, size_t *off, struct rr *ret)
{
	const uint8_t *p;

	ret->owner = *off;
	if (!wire_name_skip(k, off) || k->len - *off < RR_MIN - 1)
		return false;
	p = &k->p[*off];
	ret->type = wire_u16_at(p);
	ret->class = wire_u16_at(p + 2);
	ret->ttl = wire_u32_at(p + 4);
	ret->rd_len = wire_u16_at(p + 8);
	*off += RR_MIN - 1;
	ret->rd = *off;
	if (k->len - *off < ret->rd_len)
		return false;
	*off += ret->rd_len;
	return true;
}

/* Seconds of a record; the top bit set means zero (RFC 2181, section 8). */
static uint32_t
rr_ttl(const struct rr *rr)
{
	return rr->ttl > INT32_MAX ? 0 : rr->ttl;
}

static bool
owner_is(const struct walk *w, const struct rr *rr, const struct name *name)
{
	struct name n;
	size_t off = rr->owner;

	return wire_name_read(&w->k, &off, &n) && wire_name_eq(&n, name);
}

/* All records with their bounds. False when one is broken. */
static bool
index_all(struct walk *w, size_t off)
{
	static const size_t count_at[] = { 6, 8, 10 };
	size_t i, n, total = 0;

	for (i = 0; i < 3; i++)
		total += wire_u16_at(w->k.p + count_at[i]);
	if (total > RRS_MAX || total > w->k.len / RR_MIN)
		return false;
	for (i = 0; i < 3; i++) {
		for (n = wire_u16_at(w->k.p + count_at[i]); n > 0; n--) {
			struct rr *rr = &w->rrs[w->rrs_len];

			rr->section = (enum section)i;
			if (!rr_read(&w->k, &off, rr))
				return false;
			w->rrs_len++;
		}
	}
	return true;
}

/* ---- OPT -------------------------------------------------------------------
 */

static void
ede_take(struct dns_reply *out, const uint8_t *p, size_t len)
{
	size_t i;

	if (out->ede != DNS_EDE_NONE)
		return; /* the first one is the most specific */
	out->ede = wire_u16_at(p);
	for (i = 0; i + 2 < len && i + 1 < sizeof(out->ede_text); i++)
		out->ede_text[i] =
		    p[i + 2] < ' ' || p[i + 2] > '~' ? '?' : (char)p[i + 2];
	out->ede_text[i] = '\0';
}

/* Extended rcode and EDE. False when there are two, or options are broken. */
static bool
opt_take(struct walk *w)
{
	struct dns_reply *out = w->out;
	const uint8_t *p;
	size_t i, left, n;

	for (i = 0; i < w->rrs_len; i++) {
		const struct rr *rr = &w->rrs[i];

		if (rr->type != TYPE_OPT || rr->section != ADDITIONAL)
			continue;
		if (out->has_opt || w->k.p[rr->owner] != 0)
			return false;
		out->has_opt = true;
		out->rcode |= (uint16_t)(rr->ttl >> 24 << 4);
		p = w->k.p + rr->rd;
		for (left = rr->rd_len; left > 0; left -= n, p += n) {
			if (left < 4)
				return false;
			n = 4 + (size_t)wire_u16_at(p + 2);
			if (n > left)
				return false;
			if (wire_u16_at(p) != OPTION_EDE)
				continue;
			if (n < 6)
				return false;
			ede_take(out, p + 4, n - 4);
		}
	}
	return true;
}

/* ---- records ---------------------------------------------------------------
 */

/* A name that must fill rdata up to its end. */
static bool
rd_name(const struct walk *w, const struct rr *rr, size_t skip, struct name *n)
{
	size_t off = rr->rd + skip;

	return rr->rd_len > skip && wire_name_read(&w->k, &off, n) &&
	    off == rr->rd + rr->rd_len;
}

/* Joined length of the character-strings, copied to to unless NULL. */
static bool
rd_txt(const struct walk *w, const struct rr *rr, uint8_t *to, size_t *ret_len)
{
	const uint8_t *p = w->k.p + rr->rd;
	size_t at, n, len = 0;

	if (rr->rd_len == 0)
		return false;
	for (at = 0; at < rr->rd_len; at += n + 1) {
		n = p[at];
		if (rr->rd_len - at < n + 1)
			return false;
		if (to != NULL)
			memcpy(to + len, &p[at + 1], n);
		len += n;
	}
	*ret_len = len;
	return true;
}

/*
 * One record of the type that was asked for. With text NULL it only checks and
 * measures: *ret_need is how many bytes it wants at text.
 */
static bool
rd_read(const struct walk *w, const struct rr *rr, char *text,
    struct dns_rr *ret, size_t *ret_need)
{
	const uint8_t *p = w->k.p + rr->rd;
	struct name n;

	memset(ret, 0, sizeof(*ret));
	ret->host = "";
	*ret_need = 0;
	switch (w->type) {
	case DNS_A:
	case DNS_AAAA:
		ret->data = p;
		ret->data_len = rr->rd_len;
		return rr->rd_len == (w->type == DNS_A ? 4 : 16);
	case DNS_MX:
	case DNS_CNAME:
		if (!rd_name(w, rr, w->type == DNS_MX ? 2 : 0, &n))
			return false;
		if (w->type == DNS_MX)
			ret->preference = wire_u16_at(p);
		ret->host = text;
		*ret_need = wire_name_text(&n, text) + 1;
		return true;
	case DNS_TXT:
		if (!rd_txt(w, rr, (uint8_t *)text, &ret->data_len))
			return false;
		ret->data = (uint8_t *)text;
		*ret_need = ret->data_len;
		return true;
	case DNS_TLSA:
		if (rr->rd_len < 3)
			return false;
		ret->usage = p[0];
		ret->selector = p[1];
		ret->mtype = p[2];
		ret->data = p + 3;
		ret->data_len = rr->rd_len - 3;
		return true;
	default:
		return false;
	}
}

/* ---- outcome ---------------------------------------------------------------
 */

/* Make the answer that out owns. */
static int
answer_make(struct walk *w, enum dns_kind kind, const char *name,
    const struct dns_rr *rrs, size_t rrs_len)
{
	struct dns_answer a = { 0 };
	char canon[DNS_TEXT_SIZE];
	int r;

	(void)wire_name_text(&w->at, canon);
	a.state = DNS_INSECURE;
	a.kind = kind;
	a.type = w->type;
	a.ede = w->out->ede;
	a.ttl_s = w->ttl_s;
	a.name = name;
	a.canon = canon;
	a.chain = strcmp(name, canon) != 0;
	a.reason = "";
	a.rrs = rrs;
	a.rrs_len = rrs_len;
	r = dns_answer_dup(&a, &w->out->answer);
	if (r == PE_TOO_LONG || r == -EINVAL)
		return fail(
		    w, DNS_WHY_MALFORMED, "too many or too long records");
	if (r == 0)
		w->out->kind = DNS_REPLY_ANSWER;
	return r;
}

static bool
in_set(const struct walk *w, const struct rr *rr, uint16_t type)
{
	return rr->section == ANSWER && rr->type == type &&
	    rr->class == CLASS_IN && owner_is(w, rr, &w->at);
}

/* The records at w->at. Returns how many, -EBADMSG, -ENOMEM or the error of
 * answer_make(). */
static int
data_take(struct walk *w, const char *name)
{
	size_t i, n = 0, bytes = 0, need;
	struct dns_rr *rrs, probe;
	char *text;
	int r;

	for (i = 0; i < w->rrs_len; i++) {
		if (!in_set(w, &w->rrs[i], w->type))
			continue;
		if (!rd_read(w, &w->rrs[i], NULL, &probe, &need))
			return -EBADMSG;
		bytes += need;
		n++;
	}
	if (n == 0)
		return 0;
	rrs = calloc(n, sizeof(*rrs));
	text = malloc(bytes + 1);
	r = -ENOMEM;
	if (rrs == NULL || text == NULL)
		goto out;
	for (i = n = bytes = 0; i < w->rrs_len; i++) {
		if (!in_set(w, &w->rrs[i], w->type))
			continue;
		(void)rd_read(w, &w->rrs[i], text + bytes, &rrs[n++], &need);
		bytes += need;
		if (rr_ttl(&w->rrs[i]) < w->ttl_s)
			w->ttl_s = rr_ttl(&w->rrs[i]);
	}
	r = answer_make(w, DNS_DATA, name, rrs, n);
	if (r == 0)
		r = (int)n;
out:
	free(rrs);
	free(text);
	return r;
}

/* Follow the CNAME at w->at. 1 when there was one, 0, or -EBADMSG. */
static int
link_take(struct walk *w)
{
	const struct rr *found = NULL;
	struct name to, other;
	size_t i;

	if (w->type == DNS_CNAME)
		return 0;
	for (i = 0; i < w->rrs_len; i++) {
		if (!in_set(w, &w->rrs[i], DNS_CNAME))
			continue;
		if (!rd_name(w, &w->rrs[i], 0, found == NULL ? &to : &other))
			return -EBADMSG;
		/* two at one owner: nobody can say which is meant */
		if (found != NULL && !wire_name_eq(&to, &other))
			return -EBADMSG;
		found = &w->rrs[i];
		if (rr_ttl(found) < w->ttl_s)
			w->ttl_s = rr_ttl(found);
	}
	if (found == NULL)
		return 0;
	w->at = to;
	return 1;
}

/*
 * How long "nothing there" holds: the SOA of a zone above w->at (RFC 2308,
 * section 5). 1 when there is one, 0 when not, -EBADMSG.
 */
static int
soa_take(struct walk *w, bool *ret_ns)
{
	size_t i, off;
	struct name owner;
	uint32_t minimum, ttl;
	int found = 0;

	*ret_ns = false;
	for (i = 0; i < w->rrs_len; i++) {
		const struct rr *rr = &w->rrs[i];

		if (rr->section != AUTHORITY || rr->class != CLASS_IN)
			continue;
		if (rr->type == TYPE_NS)
			*ret_ns = true;
		if (rr->type != TYPE_SOA)
			continue;
		off = rr->owner;
		if (!wire_name_read(&w->k, &off, &owner))
			return -EBADMSG;
		if (!wire_name_under(&w->at, &owner))
			continue;
		off = rr->rd;
		if (!wire_name_skip(&w->k, &off) ||
		    !wire_name_skip(&w->k, &off) ||
		    off + 20 != rr->rd + rr->rd_len)
			return -EBADMSG;
		minimum = wire_u32_at(w->k.p + off + 16);
		ttl = rr_ttl(rr);
		ttl = minimum < ttl ? minimum : ttl;
		w->ttl_s = ttl < w->ttl_s ? ttl : w->ttl_s;
		found = 1;
	}
	return found;
}

static int
negative_take(struct walk *w, const char *name)
{
	enum dns_kind kind =
	    w->out->rcode == DNS_RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
	bool ns;
	int soa, r;

	soa = soa_take(w, &ns);
	if (soa < 0)
		return fail(w, DNS_WHY_MALFORMED, "broken SOA");
	if (soa == 0 && kind == DNS_NODATA && w->out->links > 0) {
		/* the server stopped half way: not "no data" (DANE-07) */
		r = answer_make(w, kind, name, NULL, 0);
		if (r == 0 && w->out->kind == DNS_REPLY_ANSWER)
			w->out->kind = DNS_REPLY_CHAIN;
		return r;
	}
	if (soa == 0 && kind == DNS_NODATA && ns && !w->out->aa)
		return fail(w, DNS_WHY_REFUSED,
		    "a referral: not a recursive "
		    "server");
	if (soa == 0)
		w->ttl_s = 0; /* RFC 2308: without SOA it is not cached */
	return answer_make(w, kind, name, NULL, 0);
}

static int
chain_walk(struct walk *w, const char *name)
{
	int r;

	for (;;) {
		r = data_take(w, name);
		if (r == -EBADMSG)
			return fail(w, DNS_WHY_MALFORMED, "broken record");
		if (r < 0 || w->out->why != DNS_WHY_NONE)
			return r < 0 ? r : 0;
		if (r > 0 && w->out->rcode == DNS_RCODE_NXDOMAIN) {
			dns_answer_free(w->out->answer);
			w->out->answer = NULL;
			return fail(w, DNS_WHY_MALFORMED, "NXDOMAIN with data");
		}
		if (r > 0)
			return 0;
		r = link_take(w);
		if (r < 0)
			return fail(w, DNS_WHY_MALFORMED, "broken CNAME");
		if (r == 0)
			return negative_take(w, name);
		if (++w->out->links > DNS_CHAIN_MAX)
			return fail(w, DNS_WHY_CHAIN, "CNAME loop");
	}
}

/* Rcodes other than NOERROR and NXDOMAIN say nothing about the name. */
static bool
rcode_is_error(struct walk *w)
{
	switch (w->out->rcode) {
	case DNS_RCODE_NOERROR:
	case DNS_RCODE_NXDOMAIN:
		return false;
	case DNS_RCODE_SERVFAIL:
		(void)fail(w,
		    dns_ede_is_bogus(w->out->ede) ? DNS_WHY_BOGUS
						  : DNS_WHY_SERVFAIL,
		    "SERVFAIL");
		return true;
	case DNS_RCODE_REFUSED:
		(void)fail(w, DNS_WHY_REFUSED, "REFUSED");
		return true;
	case DNS_RCODE_FORMERR:
		(void)fail(w, DNS_WHY_REFUSED, "FORMERR");
		return true;
	case DNS_RCODE_NOTIMP:
		(void)fail(w, DNS_WHY_REFUSED, "NOTIMP");
		return true;
	default:
		(void)fail(w, DNS_WHY_REFUSED, "unexpected rcode");
		return true;
	}
}

/*
 * The question of a reply must repeat ours; with upper case in ours (0x20) in
 * the very same letters. Returns the offset behind it, or 0.
 */
static size_t
question_match(const struct pkt *k, const uint8_t *query, size_t end)
{
	bool mixed = false;
	size_t i;

	if (k->len < end || wire_u16_at(k->p) != wire_u16_at(query) ||
	    (k->p[2] & 0xf8) != 0x80 || wire_u16_at(&k->p[4]) != 1)
		return 0;
	/* no byte below is a length that looks like a capital: labels end at
	 * 63, and 'A' is 65; type and class are compared as they are */
	for (i = HEADER; i < end - 4; i++)
		mixed = mixed || (query[i] >= 'A' && query[i] <= 'Z');
	for (i = HEADER; i < end - 4; i++) {
		if (k->p[i] == query[i])
			continue;
		if (mixed || wire_lower(k->p[i]) != query[i])
			return 0;
	}
	return memcmp(&k->p[end - 4], &query[end - 4], 4) == 0 ? end : 0;
}

static int
reply_walk(struct walk *w, size_t off, const char *name)
{
	size_t max = w->k.len / RR_MIN;
	int r;

	if (w->out->tc)
		return fail(w, DNS_WHY_TRUNCATED, "truncated");
	w->rrs = calloc(max < RRS_MAX ? max + 1 : RRS_MAX, sizeof(*w->rrs));
	if (w->rrs == NULL)
		return -ENOMEM;
	if (!index_all(w, off) || !opt_take(w))
		r = fail(w, DNS_WHY_MALFORMED, "broken packet");
	else if (rcode_is_error(w))
		r = 0;
	else
		r = chain_walk(w, name);
	free(w->rrs);
	return r;
}

int
dns_reply_parse(const uint8_t *pkt, size_t len, const uint8_t *query,
    size_t query_len, struct dns_reply *ret_reply)
{
	struct pkt q = { query, query_len };
	struct dns_reply out = { .ede = DNS_EDE_NONE, .detail = "" };
	struct walk w = { .k = { pkt, len }, .out = &out, .ttl_s = INT32_MAX };
	char name[DNS_TEXT_SIZE];
	size_t end = HEADER, off;
	int r;

	if (query_len < HEADER || !wire_name_read(&q, &end, &w.at) ||
	    query_len - end < 4)
		return -EINVAL;
	(void)wire_name_text(&w.at, name);
	if (!dns_name_is_normal(name))
		return -EINVAL;
	w.type = wire_u16_at(&query[end]);
	if (!dns_type_known(w.type))
		return -EINVAL;
	off = question_match(&w.k, query, end + 4);
	if (off == 0)
		return PE_NOT_FOUND;
	out.rcode = pkt[3] & 0x0f;
	out.aa = (pkt[2] & 0x04) != 0;
	out.tc = (pkt[2] & 0x02) != 0;
	out.ad = (pkt[3] & 0x20) != 0;
	r = reply_walk(&w, off, name);
	if (r < 0) {
		dns_reply_done(&out);
		return r;
	}
	*ret_reply = out;
	return 0;
}

void
dns_reply_done(struct dns_reply *reply)
{
	dns_answer_free(reply->answer);
	reply->answer = NULL;
}
