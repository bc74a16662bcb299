/*
 * conf_value.c - one value from text to its stored form, and back to text.
 *
 * One reader per type; ranges, words and defaults come from the schema. A
 * refusal says what was found and what was wanted. Never does I/O.
 */
#include "lib/conf/conf_value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/log/log.h"

#define WORDS_MAX 16

int
conf_value_bad(struct conf_value *v, const char *found, const char *fmt, ...)
{
	char wanted[256], quoted[100];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(wanted, sizeof(wanted), fmt, ap);
	va_end(ap);
	(void)snprintf(v->err, v->err_len, "%s: found '%s', wanted %s",
	    v->key->name, log_quote(quoted, sizeof(quoted), found), wanted);
	return PE_SYNTAX;
}

static char *
trim(char *s)
{
	size_t n;

	while (*s == ' ' || *s == '\t' || *s == '\n')
		s++;
	n = strlen(s);
	while (
	    n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\n'))
		s[--n] = '\0';
	return s;
}

bool
conf_value_digits(const char *s, size_t len, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	size_t i;

	if (len == 0 || len > 18)
		return false;
	for (i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(s[i] - '0');
	}
	*ret = n;
	return n <= max;
}

int
conf_value_keep(struct conf_value *v, const char *text, const char **ret)
{
	*ret = conf_strndup(v->conf, text, strlen(text));
	return *ret == NULL ? -ENOMEM : 0;
}

/* ---- units and words ------------------------------------------------------ */

static int
parse_unit(struct conf_value *v, const char *text,
    const struct conf_unit *units, const char *what, uint64_t *ret)
{
	const struct conf_unit *u;
	size_t n = strspn(text, "0123456789");
	char range[80];
	uint64_t number;

	conf_unit_range(units, v->key, range, sizeof(range));
	for (u = units; u->suffix != NULL; u++)
		if (strcasecmp(text + n, u->suffix) == 0)
			break;
	if (n == 0 || u->suffix == NULL)
		return conf_value_bad(v, text, "%s %s", what, range);
	if (!conf_value_digits(
		text, n, (uint64_t)v->key->max / u->factor, &number) ||
	    number * u->factor < (uint64_t)v->key->min)
		return conf_value_bad(v, text, "%s %s", what, range);
	*ret = number * u->factor;
	return 0;
}

static int
parse_ms(struct conf_value *v, char *text)
{
	uint64_t n;
	int r;

	r = parse_unit(
	    v, text, conf_units_ms, "a duration (500ms, 30s, 5m, 2h, 3d)", &n);
	if (r == 0)
		*(int64_t *)v->out = (int64_t)n;
	return r;
}

static int
parse_s(struct conf_value *v, char *text)
{
	uint64_t n;
	int r;

	r = parse_unit(
	    v, text, conf_units_s, "a duration (30s, 5m, 2h, 3d)", &n);
	if (r == 0)
		*(int64_t *)v->out = (int64_t)n;
	return r;
}

static int
parse_size(struct conf_value *v, char *text)
{
	return parse_unit(
	    v, text, conf_units_size, "a size (4096, 64k, 10m, 1g)", v->out);
}

/* ---- numbers and words --------------------------------------------------- */

static int
parse_number(struct conf_value *v, const char *text, uint64_t *ret)
{
	if (!conf_value_digits(
		text, strlen(text), (uint64_t)v->key->max, ret) ||
	    *ret < (uint64_t)v->key->min)
		return conf_value_bad(v, text,
		    "a whole number from %" PRId64 " to %" PRId64, v->key->min,
		    v->key->max);
	return 0;
}

static int
parse_int(struct conf_value *v, char *text)
{
	uint64_t n;
	int r = parse_number(v, text, &n);

	if (r == 0)
		*(uint32_t *)v->out = (uint32_t)n;
	return r;
}

static int
parse_int64(struct conf_value *v, char *text)
{
	return parse_number(v, text, v->out);
}

static int
parse_auto(struct conf_value *v, char *text)
{
	uint64_t n = 0;

	if (strcasecmp(text, "auto") != 0 &&
	    (!conf_value_digits(
		 text, strlen(text), (uint64_t)v->key->max, &n) ||
		n < (uint64_t)v->key->min))
		return conf_value_bad(v, text,
		    "auto or a whole number from %" PRId64 " to %" PRId64,
		    v->key->min, v->key->max);
	*(uint32_t *)v->out = (uint32_t)n;
	return 0;
}

static int
parse_port(struct conf_value *v, char *text)
{
	uint64_t n;

	if (!conf_value_digits(text, strlen(text), 65535, &n) || n == 0)
		return conf_value_bad(v, text, "a port from 1 to 65535");
	*(uint16_t *)v->out = (uint16_t)n;
	return 0;
}

int
conf_word_index(const char *words, const char *text)
{
	size_t len = strlen(text), n;
	int i = 0;

	for (;; i++) {
		n = strcspn(words, "|");
		if (n == len && strncasecmp(words, text, n) == 0)
			return i;
		if (words[n] == '\0')
			return -1;
		words += n + 1;
	}
}

static int
parse_enum(struct conf_value *v, char *text)
{
	char list[160], hint[100], copies[WORDS_MAX][40];
	const char *words[WORDS_MAX];
	size_t n = 0;
	int i;

	i = conf_word_index(v->key->words, text);
	if (i >= 0) {
		*(int *)v->out = i; /* an enum is as wide as an int here */
		return 0;
	}
	conf_words_list(v->key->words, list, sizeof(list));
	while (n < WORDS_MAX &&
	    conf_word_at(v->key->words, (int)n, copies[n], sizeof(copies[n])) !=
		NULL) {
		words[n] = copies[n];
		n++;
	}
	conf_hint(text, words, n, hint, sizeof(hint));
	return conf_value_bad(v, text, "%s%s", list, hint);
}

static int
parse_bool(struct conf_value *v, char *text)
{
	static const char *const yes[] = { "yes", "on", "true" };
	static const char *const no[] = { "no", "off", "false" };
	char list[32];
	size_t i;

	for (i = 0; i < 3; i++) {
		if (strcasecmp(text, yes[i]) == 0 ||
		    strcasecmp(text, no[i]) == 0) {
			*(bool *)v->out = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	conf_words_list(v->key->words, list, sizeof(list));
	return conf_value_bad(v, text, "%s", list);
}

static int
parse_later(struct conf_value *v, char *text)
{
	if (conf_word_index(v->key->words, text) == 0)
		return 0; /* the field stays zero */
	return conf_value_bad(v, text,
	    "%s (this version has no keys that it could work with)",
	    v->key->words);
}

/* ---- strings and lists --------------------------------------------------- */

static int
parse_text(struct conf_value *v, char *text)
{
	return conf_value_keep(v, text, v->out);
}

static int
parse_string(struct conf_value *v, char *text)
{
	char *p;

	for (p = text; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' ';
	if (v->key->max > 0 && strlen(text) > (size_t)v->key->max)
		return conf_value_bad(
		    v, text, "at most %" PRId64 " bytes", v->key->max);
	return conf_value_keep(v, text, v->out);
}

static int
parse_name(struct conf_value *v, char *text)
{
	if (!conf_name_ok(text))
		return conf_value_bad(
		    v, text, "a name of letters, digits, '.', '_' and '-'");
	return conf_value_keep(v, text, v->out);
}

static int
keep_path(struct conf_value *v, const char *path, const char **ret)
{
	size_t dir_len = v->dir == NULL ? 0 : strlen(v->dir);
	size_t len = strlen(path);
	char *whole;

	if (strchr(path, '\n') != NULL || len > 1000)
		return conf_value_bad(v, path, "a path of at most 1000 bytes");
	if (path[0] == '/' || dir_len == 0)
		return conf_value_keep(v, path, ret);
	whole = conf_alloc(v->conf, dir_len + 1 + len + 1);
	if (whole == NULL)
		return -ENOMEM;
	memcpy(whole, v->dir, dir_len);
	whole[dir_len] = '/';
	memcpy(whole + dir_len + 1, path, len);
	*ret = whole;
	return 0;
}

static int
parse_path(struct conf_value *v, char *text)
{
	return keep_path(v, text, v->out);
}

static int
parse_target(struct conf_value *v, char *text)
{
	struct conf_log *log = v->base;

	log->path = NULL;
	if (strcasecmp(text, "stdout") == 0) {
		log->target = CONF_LOG_STDOUT;
	} else if (strcasecmp(text, "syslog") == 0) {
		log->target = CONF_LOG_SYSLOG;
	} else if (strncasecmp(text, "file:", 5) == 0 && text[5] != '\0') {
		log->target = CONF_LOG_FILE;
		return keep_path(v, text + 5, &log->path);
	} else {
		return conf_value_bad(v, text, "stdout, syslog or file:PATH");
	}
	return 0;
}

size_t
conf_value_count(const char *text)
{
	size_t n = 1;

	for (; *text != '\0'; text++)
		if (*text == ',')
			n++;
	return n;
}

int
conf_value_list(struct conf_value *v, char *text, size_t size,
    int (*one)(struct conf_value *v, char *text, void *out), size_t *ret_n,
    void **ret_v)
{
	size_t max = conf_value_count(text), n = 0;
	uint8_t *elems = conf_alloc(v->conf, max * size);
	char *next = text, *elem;
	int r;

	if (elems == NULL)
		return -ENOMEM;
	while ((elem = strsep(&next, ",")) != NULL) {
		elem = trim(elem);
		if (*elem == '\0') {
			if (next == NULL && n > 0)
				break;
			return conf_value_bad(
			    v, ",", "a list without empty elements");
		}
		r = one(v, elem, elems + n * size);
		if (r < 0)
			return r;
		n++;
	}
	*ret_n = n;
	*ret_v = elems;
	return 0;
}

static int
one_string(struct conf_value *v, char *text, void *out)
{
	return conf_value_keep(v, text, out);
}

static int
parse_strings(struct conf_value *v, char *text)
{
	struct conf_strs *s = v->out;
	size_t n = 0;
	void *elems = NULL;
	int r;

	r = conf_value_list(v, text, sizeof(char *), one_string, &n, &elems);
	if (r == 0)
		*s = (struct conf_strs){ n, elems };
	return r;
}

/* ---- rates and routes ---------------------------------------------------- */

static int
parse_rate(struct conf_value *v, char *text)
{
	static const char wanted[] =
	    "none or N/Mm such as 1000/60m (0-1000000000 in 1-60 minutes)";
	struct conf_rate *rate = v->out;
	char *slash, *end;
	uint64_t count, minutes;
	size_t len;

	memset(rate, 0, sizeof(*rate));
	if (strcasecmp(text, "none") == 0)
		return 0;
	slash = strchr(text, '/');
	if (slash == NULL)
		return conf_value_bad(v, text, "%s", wanted);
	end = text + strlen(text) - 1;
	len = (size_t)(end - slash) - (end > slash);
	if (!conf_value_digits(
		text, (size_t)(slash - text), 1000000000, &count) ||
	    (*end != 'm' && *end != 'h') ||
	    !conf_value_digits(slash + 1, len, 60, &minutes) || minutes == 0 ||
	    (*end == 'h' && minutes != 1))
		return conf_value_bad(v, text, "%s", wanted);
	rate->limited = true;
	rate->count = (uint32_t)count;
	rate->minutes = *end == 'h' ? 60 : (uint32_t)minutes;
	return 0;
}

/* ---- by type ------------------------------------------------------------- */

static int (*const readers[])(struct conf_value *, char *) = {
	[CONF_V_BOOL] = parse_bool,
	[CONF_V_INT] = parse_int,
	[CONF_V_INT64] = parse_int64,
	[CONF_V_AUTO] = parse_auto,
	[CONF_V_PORT] = parse_port,
	[CONF_V_MS] = parse_ms,
	[CONF_V_S] = parse_s,
	[CONF_V_SIZE] = parse_size,
	[CONF_V_ENUM] = parse_enum,
	[CONF_V_STRING] = parse_string,
	[CONF_V_TEXT] = parse_text,
	[CONF_V_NAME] = parse_name,
	[CONF_V_HOST] = conf_read_host,
	[CONF_V_HOSTPORT] = conf_read_hostport,
	[CONF_V_URL] = conf_read_url,
	[CONF_V_MAILBOX] = conf_read_mailbox,
	[CONF_V_PATH] = parse_path,
	[CONF_V_STRINGS] = parse_strings,
	[CONF_V_SENDERS] = conf_read_senders,
	[CONF_V_ADDRS] = conf_read_addrs,
	[CONF_V_IP4] = conf_read_ip,
	[CONF_V_IP6] = conf_read_ip,
	[CONF_V_NETS] = conf_read_nets,
	[CONF_V_RATE] = parse_rate,
	[CONF_V_ROUTE] = conf_read_route,
	[CONF_V_TARGET] = parse_target,
	[CONF_V_TIME] = conf_read_time,
	[CONF_V_LATER] = parse_later,
};

/* An empty value switches these off; the others want something. */
static bool
empty_is_none(struct conf_value *v)
{
	switch (v->key->type) {
	case CONF_V_STRING:
	case CONF_V_TEXT:
	case CONF_V_NAME:
	case CONF_V_HOST:
	case CONF_V_HOSTPORT:
	case CONF_V_URL:
	case CONF_V_MAILBOX:
	case CONF_V_PATH:
		*(const char **)v->out = NULL;
		return true;
	case CONF_V_TIME:
		*(int64_t *)v->out = 0;
		return true;
	case CONF_V_STRINGS:
	case CONF_V_SENDERS:
		*(struct conf_strs *)v->out = (struct conf_strs){ 0 };
		return true;
	case CONF_V_ADDRS:
		*(struct conf_addrs *)v->out = (struct conf_addrs){ 0 };
		return true;
	case CONF_V_NETS:
		*(struct conf_nets *)v->out = (struct conf_nets){ 0 };
		return true;
	case CONF_V_IP4:
	case CONF_V_IP6:
		memset(v->out, 0, sizeof(union conf_addr));
		return true;
	default:
		return false;
	}
}

int
conf_value_parse(struct conf *conf, const struct conf_key *key, char *text,
    const char *dir, void *base, char *err, size_t err_len)
{
	struct conf_value v = { conf, key, dir, base,
		(char *)base + key->offset, err, err_len };

	if (*text == '\0' && empty_is_none(&v))
		return 0;
	return readers[key->type](&v, text);
}
