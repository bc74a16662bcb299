/*
 * txt.c - select and parse the _mta-sts TXT record. Pure.
 *
 * The order matters: records are dropped by their literal prefix before they
 * are counted, and one that is then found to be malformed does not give way to
 * another. Source: RFC 8461, sections 3.1 and 3.2 (ABNF), errata 6285.
 */
#include "lib/sts/txt.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/dns/dns.h"
#include "lib/sts/chars.h"

static const char prefix[] = "v=STSv1;";

enum { PREFIX_LEN = sizeof(prefix) - 1 };

struct cursor {
	const char *p, *end;
};

static bool
is_value_char(char c)
{
	return (c >= 0x21 && c <= 0x3a) || c == 0x3c ||
	    (c >= 0x3e && c <= 0x7e);
}

static void
skip_wsp(struct cursor *c)
{
	while (c->p < c->end && sts_is_wsp(*c->p))
		c->p++;
}

/* The value of an id field: 1 to 32 letters and digits (STS-07). */
static bool
id_valid(const char *value, size_t len)
{
	size_t i;

	if (len == 0 || len > STS_ID_MAX)
		return false;
	for (i = 0; i < len; i++)
		if (!sts_is_alnum(value[i]))
			return false;
	return true;
}

/* One field at the cursor. NULL, or what is wrong with it. */
static const char *
parse_field(struct cursor *c, bool *seen_id, struct sts_txt *ret)
{
	size_t name_len = sts_name_len(c->p, (size_t)(c->end - c->p));
	const char *name = c->p, *value;
	size_t value_len;

	if (name_len == 0)
		return c->p < c->end && *c->p == ';' ? "empty field"
						     : "bad field name";
	if (name_len > STS_NAME_MAX)
		return "field name over 32 characters";
	c->p += name_len;
	if (c->p == c->end || *c->p != '=')
		return "field without '='";
	value = ++c->p;
	while (c->p < c->end && is_value_char(*c->p))
		c->p++;
	value_len = (size_t)(c->p - value);
	if (value_len == 0)
		return "field without a value";
	/* exactly lower case; the first one counts (STS-07, STS-11) */
	if (name_len != 2 || memcmp(name, "id", 2) != 0 || *seen_id)
		return NULL;
	*seen_id = true;
	if (!id_valid(value, value_len))
		return "id is not 1 to 32 letters and digits";
	memcpy(ret->id, value, value_len);
	ret->id[value_len] = '\0';
	return NULL;
}

/* What comes behind "v=STSv1;". NULL, or what is wrong with it. */
static const char *
parse_fields(struct cursor *c, struct sts_txt *ret)
{
	bool seen_id = false;
	const char *why;

	skip_wsp(c);
	while (c->p < c->end) {
		why = parse_field(c, &seen_id, ret);
		if (why != NULL)
			return why;
		if (c->p == c->end)
			break;
		skip_wsp(c);
		if (c->p == c->end)
			return "space at the end";
		if (*c->p != ';')
			return "character that no value may have";
		c->p++;
		skip_wsp(c);
	}
	return seen_id ? NULL : "no id";
}

void
sts_txt_select(const struct sts_record *records, size_t n, struct sts_txt *ret)
{
	const struct sts_record *found = NULL;
	struct cursor c;
	const char *why;
	size_t i, count = 0;

	memset(ret, 0, sizeof(*ret));
	ret->outcome = STS_TXT_NONE;
	for (i = 0; i < n; i++) {
		if (records[i].len < PREFIX_LEN ||
		    memcmp(records[i].data, prefix, PREFIX_LEN) != 0)
			continue;
		found = &records[i];
		count++;
	}
	ret->announced = count;
	if (count != 1) {
		if (count == 0)
			(void)snprintf(ret->reason, sizeof(ret->reason),
			    n == 0 ? "no TXT record"
				   : "no TXT record begins with v=STSv1;");
		else
			(void)snprintf(ret->reason, sizeof(ret->reason),
			    "%zu TXT records begin with v=STSv1; (one is "
			    "allowed)",
			    count);
		return;
	}
	c.p = found->data + PREFIX_LEN;
	c.end = found->data + found->len;
	why = parse_fields(&c, ret);
	if (why == NULL) {
		ret->outcome = STS_TXT_USABLE;
		return;
	}
	ret->id[0] = '\0';
	(void)snprintf(ret->reason, sizeof(ret->reason),
	    "malformed TXT record: %s, at octet %zu", why,
	    (size_t)(c.p - found->data) + 1);
}

void
sts_txt_from_answer(const struct dns_answer *a, struct sts_txt *ret)
{
	struct sts_record records[DNS_ANSWER_RRS_MAX];
	size_t i, n = 0;

	if (a->state == DNS_INDETERMINATE) {
		memset(ret, 0, sizeof(*ret));
		(void)snprintf(ret->reason, sizeof(ret->reason),
		    "TXT lookup failed: %s", dns_why_str(a->why));
		return;
	}
	for (i = 0; i < a->rrs_len && i < DNS_ANSWER_RRS_MAX; i++, n++) {
		records[n].data = (const char *)a->rrs[i].data;
		records[n].len = a->rrs[i].data_len;
	}
	sts_txt_select(records, n, ret);
	if (a->kind != DNS_DATA)
		(void)snprintf(ret->reason, sizeof(ret->reason), "%s",
		    a->kind == DNS_NXDOMAIN ? "no TXT record (NXDOMAIN)"
					    : "no TXT record (NODATA)");
}

const char *
sts_txt_outcome_word(enum sts_txt_outcome outcome)
{
	switch (outcome) {
	case STS_TXT_USABLE:
		return "usable";
	case STS_TXT_NONE:
		return "no-policy";
	case STS_TXT_TEMPORARY:
	default:
		return "temporary-error";
	}
}
