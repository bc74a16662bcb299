/*
 * conf_format.c - stored values back to the text one would write, and the types
 * of the schema in words.
 *
 * Used by conf_print.c, by error messages, and for explain. Pure.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/conf/conf_int.h"

/* ---- units --------------------------------------------------------------- */

const struct conf_unit conf_units_ms[] = { { "ms", 1 }, { "s", 1000 },
	{ "", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	{ NULL, 0 } };
const struct conf_unit conf_units_s[] = { { "s", 1 }, { "", 1 }, { "m", 60 },
	{ "h", 3600 }, { "d", 86400 }, { NULL, 0 } };
const struct conf_unit conf_units_size[] = { { "", 1 }, { "k", 1 << 10 },
	{ "m", 1 << 20 }, { "g", 1 << 30 }, { "t", 1ULL << 40 }, { NULL, 0 } };

/* The shortest exact way to write it: 90 s is "90s", 120 s is "2m". */
void
conf_unit_format(
    const struct conf_unit *units, uint64_t n, char *buf, size_t len)
{
	const struct conf_unit *u, *best = NULL;

	for (u = units; u->suffix != NULL; u++) {
		if (n != 0 && n % u->factor == 0 &&
		    (best == NULL || u->factor > best->factor))
			best = u;
	}
	if (best == NULL)
		(void)snprintf(
		    buf, len, "%s", units == conf_units_size ? "0" : "0s");
	else
		(void)snprintf(
		    buf, len, "%" PRIu64 "%s", n / best->factor, best->suffix);
}

/* "1s to 1h", or "at least 1s" when there is no real upper bound. */
void
conf_unit_range(const struct conf_unit *units, const struct conf_key *key,
    char *buf, size_t len)
{
	char lo[32], hi[32];

	conf_unit_format(units, (uint64_t)key->min, lo, sizeof(lo));
	conf_unit_format(units, (uint64_t)key->max, hi, sizeof(hi));
	(void)snprintf(buf, len, "from %s to %s", lo, hi);
}

/* The index-th of "a|b|c", or NULL. */
const char *
conf_word_at(const char *words, int index, char *buf, size_t len)
{
	while (index-- > 0) {
		words += strcspn(words, "|");
		if (*words++ == '\0')
			return NULL;
	}
	(void)snprintf(buf, len, "%.*s", (int)strcspn(words, "|"), words);
	return buf;
}

/* "a, b or c" */
void
conf_words_list(const char *words, char *buf, size_t len)
{
	size_t n, used = 0;
	const char *sep = "";

	buf[0] = '\0';
	while (*words != '\0' && used < len) {
		n = strcspn(words, "|");
		used += (size_t)snprintf(
		    buf + used, len - used, "%s%.*s", sep, (int)n, words);
		words += n + (words[n] == '|');
		sep = strchr(words, '|') != NULL ? ", " : " or ";
	}
}

/* ---- back to text -------------------------------------------------------- */

static void
rate_format(const struct conf_rate *rate, char *buf, size_t len)
{
	if (rate->limited)
		(void)snprintf(buf, len, "%" PRIu32 "/%" PRIu32 "m",
		    rate->count, rate->minutes);
	else
		(void)snprintf(buf, len, "none");
}

const char *
conf_value_format(
    const struct conf_key *key, const void *base, char *buf, size_t len)
{
	const void *p = (const char *)base + key->offset;
	const char *s;

	switch (key->type) {
	case CONF_V_BOOL:
		return conf_word_at(
		    key->words, *(const bool *)p ? 1 : 0, buf, len);
	case CONF_V_INT:
		(void)snprintf(buf, len, "%" PRIu32, *(const uint32_t *)p);
		break;
	case CONF_V_INT64:
		(void)snprintf(buf, len, "%" PRIu64, *(const uint64_t *)p);
		break;
	case CONF_V_AUTO:
		if (*(const uint32_t *)p == 0)
			(void)snprintf(buf, len, "auto");
		else
			(void)snprintf(
			    buf, len, "%" PRIu32, *(const uint32_t *)p);
		break;
	case CONF_V_PORT:
		(void)snprintf(buf, len, "%u", *(const uint16_t *)p);
		break;
	case CONF_V_MS:
		conf_unit_format(
		    conf_units_ms, (uint64_t) * (const int64_t *)p, buf, len);
		break;
	case CONF_V_S:
		conf_unit_format(
		    conf_units_s, (uint64_t) * (const int64_t *)p, buf, len);
		break;
	case CONF_V_SIZE:
		conf_unit_format(
		    conf_units_size, *(const uint64_t *)p, buf, len);
		break;
	case CONF_V_TIME:
		return conf_time_format(*(const int64_t *)p, buf, len);
	case CONF_V_ENUM:
		return conf_word_at(key->words, *(const int *)p, buf, len);
	case CONF_V_RATE:
		rate_format(p, buf, len);
		break;
	case CONF_V_LATER:
		(void)snprintf(buf, len, "%s", key->words);
		break;
	case CONF_V_IP4:
	case CONF_V_IP6:
		return conf_addr_format(p, buf, len);
	case CONF_V_STRING:
	case CONF_V_TEXT:
	case CONF_V_NAME:
	case CONF_V_HOST:
	case CONF_V_HOSTPORT:
	case CONF_V_URL:
	case CONF_V_MAILBOX:
	case CONF_V_PATH:
		s = *(const char *const *)p;
		if (s == NULL)
			s = key->def != NULL ? key->def : "";
		(void)snprintf(buf, len, "%s", s);
		break;
	default: /* lists: nobody shows them one by one */
		buf[0] = '\0';
		break;
	}
	return buf;
}

const char *
conf_value_type(const struct conf_key *key, char *buf, size_t len)
{
	static const char *const fixed[] = {
		[CONF_V_PORT] = "port from 1 to 65535",
		[CONF_V_STRING] = "text",
		[CONF_V_TEXT] = "text, several lines",
		[CONF_V_NAME] = "name",
		[CONF_V_HOST] = "host name",
		[CONF_V_HOSTPORT] = "HOST:PORT",
		[CONF_V_URL] = "http://HOST:PORT",
		[CONF_V_PATH] = "path",
		[CONF_V_STRINGS] = "list of text",
		[CONF_V_SENDERS] =
		    "list of user@domain, user@, @domain, @.partial",
		[CONF_V_ADDRS] = "list of IP[:port]",
		[CONF_V_IP4] = "IPv4 address",
		[CONF_V_IP6] = "IPv6 address",
		[CONF_V_RATE] = "none, or N/Mm: 0-1000000000 in 1-60 minutes",
		[CONF_V_ROUTE] =
		    "list of NAME[:port][/pri=N], or USEDNS, or /dev/null",
		[CONF_V_TIME] = "date, or date and time",
		[CONF_V_TARGET] = "stdout, syslog or file:PATH",
	};
	char range[80];

	switch (key->type) {
	case CONF_V_BOOL:
	case CONF_V_ENUM:
		conf_words_list(key->words, buf, len);
		break;
	case CONF_V_LATER:
		(void)snprintf(
		    buf, len, "%s (more in a later version)", key->words);
		break;
	case CONF_V_MAILBOX:
		(void)snprintf(buf, len, "%s or local@domain", key->words);
		break;
	case CONF_V_NETS:
		(void)snprintf(buf, len, "list of networks%s",
		    key->words != NULL ? ", special, or none" : "");
		break;
	case CONF_V_INT:
	case CONF_V_INT64:
	case CONF_V_AUTO:
		(void)snprintf(buf, len,
		    "%swhole number from %" PRId64 " to %" PRId64,
		    key->type == CONF_V_AUTO ? "auto or " : "", key->min,
		    key->max);
		break;
	case CONF_V_MS:
	case CONF_V_S:
		conf_unit_range(
		    key->type == CONF_V_MS ? conf_units_ms : conf_units_s, key,
		    range, sizeof(range));
		(void)snprintf(buf, len, "duration %s", range);
		break;
	case CONF_V_SIZE:
		conf_unit_range(conf_units_size, key, range, sizeof(range));
		(void)snprintf(buf, len, "size %s", range);
		break;
	default:
		(void)snprintf(buf, len, "%s", fixed[key->type]);
		break;
	}
	return buf;
}
