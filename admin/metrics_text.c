/*
 * metrics_text.c - merge and print metrics.
 *
 * Used by api.c for /metrics and status, and by rates.c. Never does I/O.
 */
#include "admin/metrics_text.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 * METRICS_MAX }; /* a power of two */

struct entry {
	char *name, *labels, *help; /* one allocation, at name */
	enum metric_kind kind;
	int64_t value;
};

struct metrics_set {
	struct entry *v[METRICS_MAX];
	size_t n;
	uint16_t slots[SLOTS]; /* index + 1, 0 empty; until sorted */
	bool sorted;
	uint64_t dropped;
};

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
name_valid(const char *name)
{
	if (!is_alpha(*name) && *name != ':')
		return false;
	for (name++; *name != '\0'; name++)
		if (!is_alpha(*name) && !is_digit(*name) && *name != ':')
			return false;
	return true;
}

bool
metrics_labels_valid(const char *p)
{
	if (*p == '\0')
		return true;
	for (;;) {
		if (!is_alpha(*p))
			return false;
		while (is_alpha(*p) || is_digit(*p))
			p++;
		if (*p++ != '=' || *p++ != '"')
			return false;
		for (; *p != '"'; p++) {
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				return false; /* and at the end of text */
			if (*p == '\\' && *++p != '\\' && *p != '"' &&
			    *p != 'n')
				return false;
		}
		if (*++p == '\0')
			return true;
		if (*p++ != ',')
			return false;
	}
}

struct metrics_set *
metrics_set_new(void)
{
	return calloc(1, sizeof(struct metrics_set));
}

void
metrics_set_free(struct metrics_set *s)
{
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < s->n; i++) {
		free(s->v[i]->name);
		free(s->v[i]);
	}
	free(s);
}

static size_t
slot_of(const struct metrics_set *s, const char *name, const char *labels)
{
	size_t i = (hash_bytes(name, strlen(name)) * 31 +
		       hash_bytes(labels, strlen(labels))) &
	    (SLOTS - 1);

	for (; s->slots[i] != 0; i = (i + 1) & (SLOTS - 1)) {
		const struct entry *e = s->v[s->slots[i] - 1];

		if (strcmp(e->name, name) == 0 &&
		    strcmp(e->labels, labels) == 0)
			break;
	}
	return i;
}

static int
entry_new(const struct metric *m, struct entry **ret_entry)
{
	size_t n = strlen(m->name) + 1, l = strlen(m->labels) + 1,
	       h = strlen(m->help) + 1;
	struct entry *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	e->name = malloc(n + l + h);
	if (e->name == NULL) {
		free(e);
		return -ENOMEM;
	}
	e->labels = e->name + n;
	e->help = e->labels + l;
	memcpy(e->name, m->name, n);
	memcpy(e->labels, m->labels, l);
	memcpy(e->help, m->help, h);
	e->kind = m->kind;
	e->value = m->value;
	*ret_entry = e;
	return 0;
}

static int
put(struct metrics_set *s, const struct metric *m)
{
	struct entry *e;
	int64_t sum;
	size_t slot;
	int r;

	if (s->sorted || !name_valid(m->name) ||
	    !metrics_labels_valid(m->labels))
		return PE_SYNTAX;
	slot = slot_of(s, m->name, m->labels);
	if (s->slots[slot] != 0) {
		e = s->v[s->slots[slot] - 1];
		if (e->kind != m->kind ||
		    __builtin_add_overflow(e->value, m->value, &sum))
			return PE_SYNTAX;
		e->value = sum;
		return 0;
	}
	if (s->n == METRICS_MAX)
		return PE_FULL;
	r = entry_new(m, &e);
	if (r < 0)
		return r;
	s->v[s->n++] = e;
	s->slots[slot] = (uint16_t)s->n;
	return 0;
}

int
metrics_set_add(struct metrics_set *s, const struct metric *m)
{
	int r = put(s, m);

	s->dropped += r < 0;
	return r;
}

int
metrics_set_add_list(struct metrics_set *s, const uint8_t *data, size_t len)
{
	struct ipc_rd rd;
	struct metric m;
	int r;

	ipc_rd_init(&rd, data, len);
	while ((r = metric_decode(&rd, &m)) > 0)
		(void)metrics_set_add(s, &m); /* counts what it drops */
	s->dropped += r < 0;
	return r;
}

uint64_t
metrics_set_dropped(const struct metrics_set *s)
{
	return s->dropped;
}

int64_t
metrics_set_total(
    const struct metrics_set *s, const char *name, bool *ret_found)
{
	int64_t total = 0;
	bool found = false;
	size_t i;

	for (i = 0; i < s->n; i++)
		if (strcmp(s->v[i]->name, name) == 0) {
			found = true;
			if (__builtin_add_overflow(
				total, s->v[i]->value, &total))
				total = INT64_MAX;
		}
	if (ret_found != NULL)
		*ret_found = found;
	return total;
}

static int
by_name(const void *va, const void *vb)
{
	const struct entry *a = *(struct entry *const *)va;
	const struct entry *b = *(struct entry *const *)vb;
	int r = strcmp(a->name, b->name);

	return r != 0 ? r : strcmp(a->labels, b->labels);
}

static void
sort(struct metrics_set *s)
{
	if (!s->sorted && s->n > 0)
		qsort(s->v, s->n, sizeof(s->v[0]), by_name);
	s->sorted = true;
}

bool
metrics_set_at(struct metrics_set *s, size_t i, struct metric *ret_metric)
{
	const struct entry *e;

	sort(s);
	if (i >= s->n)
		return false;
	e = s->v[i];
	ret_metric->name = e->name;
	ret_metric->labels = e->labels;
	ret_metric->help = e->help;
	ret_metric->kind = e->kind;
	ret_metric->value = e->value;
	return true;
}

static int
put_help(struct buf *out, const char *name, const char *help)
{
	int r = buf_printf(out, "# HELP %s ", name);

	for (; r == 0 && *help != '\0'; help++) {
		if (*help == '\\')
			r = buf_puts(out, "\\\\");
		else if (*help == '\n')
			r = buf_puts(out, "\\n");
		else if ((unsigned char)*help >= 0x20)
			r = buf_put(out, help, 1);
	}
	return r < 0 ? r : buf_puts(out, "\n");
}

/* The first help that anybody gave for the name at i. */
static const char *
help_of(const struct metrics_set *s, size_t i)
{
	const char *name = s->v[i]->name;

	for (; i < s->n && strcmp(s->v[i]->name, name) == 0; i++)
		if (s->v[i]->help[0] != '\0')
			return s->v[i]->help;
	return "";
}

int
metrics_set_format(struct metrics_set *s, struct buf *out)
{
	const char *last = "";
	enum metric_kind kind = METRIC_COUNTER;
	size_t i;
	int r = 0;

	sort(s);
	for (i = 0; i < s->n && r == 0; i++) {
		const struct entry *e = s->v[i];

		if (strcmp(e->name, last) != 0) {
			kind = e->kind;
			last = e->name;
			r = put_help(out, e->name, help_of(s, i));
			if (r == 0)
				r = buf_printf(out, "# TYPE %s %s\n", e->name,
				    kind == METRIC_COUNTER ? "counter"
							   : "gauge");
		}
		if (r < 0 || e->kind != kind)
			continue; /* one name, two kinds: the first wins */
		if (e->labels[0] != '\0')
			r = buf_printf(out, "%s{%s} %" PRId64 "\n", e->name,
			    e->labels, e->value);
		else
			r = buf_printf(
			    out, "%s %" PRId64 "\n", e->name, e->value);
	}
	return r;
}
