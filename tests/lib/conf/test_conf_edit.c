/*
 * test_conf_edit.c - edits change what they name and nothing else.
 *
 * Rows for what an operator would see, then a property: whatever edits are
 * made of whatever file, the text read again holds what a plain model holds,
 * and every line of a section that was not named is there, in its order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf_edit.h"

/* ---- rows ---------------------------------------------------------------- */

enum op { SET, UNSET, REMOVE, ADD };

static const struct {
	const char *name, *in;
	enum op op;
	const char *section, *key, *value;
	int want_r;
	const char *want;
} cases[] = {
	{ "replace", "# a\n[x.example]\n# b\ntls   =  none\n\n[y.example]\n",
	    SET, "x.example", "tls", "required", 0,
	    "# a\n[x.example]\n# b\ntls   =  required\n\n[y.example]\n" },
	{ "insert, aligned",
	    "[x.example]\nmta_sts = on\ntls     = none\n\n# y\n[y.example]\n",
	    SET, "x.example", "dane", "none", 0,
	    "[x.example]\nmta_sts = on\ntls     = none\ndane    = none\n\n"
	    "# y\n[y.example]\n" },
	{ "insert into an empty section", "[x.example]\n\n[y.example]\n", SET,
	    "x.example", "tls", "none", 0,
	    "[x.example]\ntls = none\n\n[y.example]\n" },
	{ "insert without a last line end", "[x.example]\na = b", SET,
	    "x.example", "tls", "none", 0, "[x.example]\na = b\ntls = none\n" },
	{ "new section", "# head\n\n[x.example]\na = b", SET, "y.example", "c",
	    "d", 0, "# head\n\n[x.example]\na = b\n\n[y.example]\nc = d\n" },
	{ "new section in nothing", "", SET, "y.example", "c", "d", 0,
	    "[y.example]\nc = d\n" },
	{ "only comments", "# c", ADD, "y.example", NULL, NULL, 0,
	    "# c\n\n[y.example]\n" },
	{ "crlf stays", "[x.example]\r\na = b\r\n", SET, "x.example", "c", "d",
	    0, "[x.example]\r\na = b\r\nc = d\r\n" },
	{ "crlf in a new value", "[x.example]\r\na = b\r\n", SET, "x.example",
	    "a", "c\nd", 0, "[x.example]\r\na = c\r\n\td\r\n" },
	{ "no value yet", "[x.example]\na =\nb = c\n", SET, "x.example", "a",
	    "d", 0, "[x.example]\na = d\nb = c\n" },
	{ "value below its key", "[x.example]\na =\n  1,\n  2\nb = c\n", SET,
	    "x.example", "a", "3", 0, "[x.example]\na = 3\nb = c\n" },
	{ "comments in a value stay",
	    "[x.example]\na = 1,\n# why\n  2\nb = c\n", SET, "x.example", "a",
	    "3", 0, "[x.example]\na = 3\n# why\nb = c\n" },
	{ "unset", "[x.example]\n# a\na = 1,\n# why\n  2\nb = c\n", UNSET,
	    "x.example", "a", NULL, 0, "[x.example]\n# a\n# why\nb = c\n" },
	{ "unset what is not there", "[x.example]\na = b\n", UNSET, "x.example",
	    "c", NULL, PE_NOT_FOUND, "[x.example]\na = b\n" },
	{ "remove takes the comment above",
	    "# head\n\n# x\n[x.example]\na = b\n\n# y\n[y.example]\nc = d\n",
	    REMOVE, "x.example", NULL, NULL, 0,
	    "# head\n\n# y\n[y.example]\nc = d\n" },
	{ "remove, in another spelling",
	    "[X.Example.]\na = b\n[y.example]\nc = d\n", REMOVE, "x.example",
	    NULL, NULL, 0, "[y.example]\nc = d\n" },
	{ "remove what is not there", "[x.example]\n", REMOVE, "y.example",
	    NULL, NULL, PE_NOT_FOUND, "[x.example]\n" },
	{ "environment", "[x.example]\na = b\n", SET, "x.example", "a",
	    "${HOME}", PE_SYNTAX, "[x.example]\na = b\n" },
	{ "control byte", "[x.example]\na = b\n", SET, "x.example", "a",
	    "b\rc = d", PE_SYNTAX, "[x.example]\na = b\n" },
	{ "empty line", "[x.example]\na = b\n", SET, "x.example", "a",
	    "b\n\n[y]", PE_SYNTAX, "[x.example]\na = b\n" },
	{ "a line cannot become a section", "[x.example]\na = b\n", SET,
	    "x.example", "a", "b\n[y.example]", 0,
	    "[x.example]\na = b\n\t[y.example]\n" },
};

static char *
text_of(const struct conf_edit *e)
{
	struct buf b;
	char *text;

	buf_init(&b, CONF_EDIT_MAX);
	assert_int_equal(conf_edit_text(e, &b), 0);
	text = strndup(buf_len(&b) ? (char *)buf_data(&b) : "", buf_len(&b));
	buf_done(&b);
	return text;
}

static struct conf_edit *
open_text(const char *text)
{
	struct conf_edit *e = NULL;
	char why[300] = "";
	int r = conf_edit_new(
	    CONF_T_DESTINATIONS, text, strlen(text), why, sizeof(why), &e);

	if (r != 0)
		fail_msg("%s\n--\n%s", why, text);
	return e;
}

static void
test_rows(void **state)
{
	struct conf_edit *e;
	char why[300], *text;
	size_t i;
	int r = 0;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		e = open_text(cases[i].in);
		switch (cases[i].op) {
		case SET:
			r = conf_edit_set(e, cases[i].section, cases[i].key,
			    cases[i].value, why, sizeof(why));
			break;
		case UNSET:
			r = conf_edit_unset(e, cases[i].section, cases[i].key);
			break;
		case REMOVE:
			r = conf_edit_remove(e, cases[i].section);
			break;
		case ADD:
			r = conf_edit_add(e, cases[i].section);
			break;
		}
		text = text_of(e);
		if (r != cases[i].want_r || strcmp(text, cases[i].want) != 0)
			fail_msg("%s: %d, found\n%s\nwanted\n%s", cases[i].name,
			    r, text, cases[i].want);
		free(text);
		conf_edit_free(e);
	}
}

/* ---- a table becomes another ---------------------------------------------- */

static void
test_merge(void **state)
{
	static const struct {
		const char *in, *want_in, *want;
		struct conf_merged m;
	} rows[] = {
		{ "", "[a.example]\nx = 1\n", "[a.example]\nx = 1\n",
		    { 1, 0, 0, 0 } },
		{ "# keep\n[a.example]\n# why\nx  =  1\ny = 2\n\n[b.example]\n"
		  "z = 1\n",
		    "[c.example]\nx = 3\n\n[a.example]\nx = 1\nv = 4",
		    "# keep\n[a.example]\n# why\nx  =  1\nv = 4\n\n\n"
		    "[c.example]\nx = 3\n",
		    { 1, 1, 1, 0 } },
		{ "[a.example]\nx   = 1\n", "[a.example]\nx = 1\n",
		    "[a.example]\nx   = 1\n", { 0, 0, 0, 1 } },
		{ "[a.example]\nx = 1\n# end\n", "", "", { 0, 0, 1, 0 } },
	};
	struct conf_edit *e, *with;
	struct conf_merged m;
	char *text, why[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		e = open_text(rows[i].in);
		with = open_text(rows[i].want_in);
		assert_int_equal(
		    conf_edit_merge(e, with, &m, why, sizeof(why)), 0);
		text = text_of(e);
		assert_string_equal(text, rows[i].want);
		assert_memory_equal(&m, &rows[i].m, sizeof(m));
		free(text);
		conf_edit_free(e);
		conf_edit_free(with);
	}
	/* one that was removed before comes back with its new text only */
	e = open_text("[a.example]\nx = 1\n\n[b.example]\ny = 1\n");
	with = open_text("[a.example]\nz = 2\n\n[b.example]\ny = 1\n");
	assert_int_equal(conf_edit_remove(e, "a.example"), 0);
	assert_int_equal(conf_edit_merge(e, with, &m, why, sizeof(why)), 0);
	text = text_of(e);
	assert_string_equal(text, "[a.example]\nz = 2\n\n[b.example]\ny = 1\n");
	free(text);
	conf_edit_free(e);
	conf_edit_free(with);
	/* what no edit may write is told with its place */
	e = open_text("[a.example]\nx = 1\n");
	with =
	    open_text("[a.example]\nkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
		      "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk = 2\n");
	assert_int_equal(
	    conf_edit_merge(e, with, &m, why, sizeof(why)), PE_SYNTAX);
	assert_non_null(strstr(why, "[a.example] kkk"));
	conf_edit_free(e);
	conf_edit_free(with);
}

static void
test_refused(void **state)
{
	static const char *const bad[] = { "[x.example]\nno equals\n",
		"[not a domain]\n", "[x.example]\n[X.example]\n",
		"[x.example]\na = \x01\n" };
	struct conf_edit *e = NULL;
	char why[300];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		assert_int_equal(conf_edit_new(CONF_T_DESTINATIONS, bad[i],
				     strlen(bad[i]), why, sizeof(why), &e),
		    PE_SYNTAX);
		assert_non_null(strstr(why, "line "));
	}
}

static void
test_names(void **state)
{
	static const struct {
		enum conf_table table;
		const char *in, *want;
	} names[] = {
		{ CONF_T_DESTINATIONS, "default", "DEFAULT" },
		{ CONF_T_DESTINATIONS,
		    "B\xc3\xbc"
		    "cher.example",
		    "xn--bcher-kva.example" },
		{ CONF_T_DESTINATIONS, "mx:.Example.com", "mx:*.example.com" },
		{ CONF_T_DESTINATIONS, "a b", NULL },
		{ CONF_T_ROUTES, "all", "ALL" },
		{ CONF_T_ROUTES, "mx:a.example", NULL },
		{ CONF_T_GATEWAYS, "gateway \t one", "gateway one" },
		{ CONF_T_GATEWAYS, "gateway", NULL },
		{ CONF_T_GATEWAYS, "profile one", NULL },
		{ CONF_T_BOUNCE, "profile default", "profile default" },
		{ CONF_T_BOUNCE, "profile a/b", NULL },
	};
	char out[CONF_EDIT_NAME], why[200];
	size_t i;
	bool ok;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ok = conf_edit_name(names[i].table, names[i].in,
		    strlen(names[i].in), out, why, sizeof(why));
		assert_int_equal(ok, names[i].want != NULL);
		if (ok)
			assert_string_equal(out, names[i].want);
	}
}

/* ---- the property -------------------------------------------------------- */

enum { SECTS = 8, KEYS = 4, ROUNDS = 4000, EDITS = 6 };

struct model {
	bool there[SECTS], touched[SECTS];
	char value[SECTS][KEYS][40]; /* "" absent */
};

static unsigned seed;

static unsigned
pick(unsigned n)
{
	seed = seed * 1103515245U + 12345U;
	return (seed >> 16) % n;
}

static const char *
sect_name(unsigned i)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "d%u.example", i);
	return name;
}

static const char *
random_value(void)
{
	static char v[40];
	static unsigned serial;

	(void)snprintf(v, sizeof(v), pick(3) ? "v%u" : "v%u,\nw", serial++);
	return v;
}

/* A file in some style, and what it holds. Comments inside sections carry the
 * number of the section, so that lines can be told apart. */
static void
make_file(char *out, size_t len, struct model *m)
{
	const char *eol = pick(4) ? "\n" : "\r\n", *p;
	size_t n = 0;
	unsigned i, k, serial = 0;

	memset(m, 0, sizeof(*m));
	out[0] = '\0';
#define P(...) n += (size_t)snprintf(out + n, len - n, __VA_ARGS__)
	if (pick(2))
		P("# head%s%s", eol, eol);
	for (i = 0; i < SECTS; i++) {
		if (pick(3) == 0)
			continue;
		m->there[i] = true;
		if (pick(3) == 0)
			P("# above d%u%s", i, eol);
		P("[%s]%s", sect_name(i), eol);
		for (k = 0; k < KEYS; k++) {
			if (pick(3) == 0)
				P("%c in d%u %u%s", pick(2) ? '#' : ';', i,
				    serial++, eol);
			if (pick(4) == 0)
				P("%s", eol);
			if (pick(2))
				continue;
			(void)snprintf(
			    m->value[i][k], 40, "%s", random_value());
			P("k%u%*s=%*s", k, (int)pick(4), "", (int)pick(3), "");
			if (pick(6) == 0)
				P("%s  ", eol);
			for (p = m->value[i][k]; *p != '\0'; p++) {
				if (*p != '\n') {
					P("%c", *p);
					continue;
				}
				P("%s", eol);
				if (pick(3) == 0)
					P("# in d%u %u%s", i, serial++, eol);
				P("  ");
			}
			P("%s", eol);
		}
		/* a comment right above a header is that section's */
		P("last = x%s", eol);
		if (pick(2))
			P("%s", eol);
	}
	if (n > 0 && pick(4) == 0)
		out[n - strlen(eol)] = '\0'; /* no last line end */
#undef P
}

struct seen {
	const struct model *m;
	unsigned sect, n;
};

static void
on_key(void *arg, const char *key, const char *value)
{
	struct seen *s = arg;

	if (key[0] != 'k')
		return; /* "last" */
	assert_string_equal(value, s->m->value[s->sect][key[1] - '0']);
	s->n++;
}

static void
same_as_model(const char *text, const struct model *m)
{
	struct conf_edit *e = open_text(text);
	struct seen s = { m, 0, 0 };
	unsigned i, k, want;
	long at;

	for (i = 0; i < SECTS; i++) {
		at = conf_edit_find(e, sect_name(i));
		assert_int_equal(at >= 0, m->there[i]);
		if (at < 0)
			continue;
		s.sect = i;
		s.n = want = 0;
		assert_int_equal(conf_edit_keys(e, (size_t)at, on_key, &s), 0);
		for (k = 0; k < KEYS; k++)
			want += m->value[i][k][0] != '\0';
		assert_int_equal(s.n, want);
	}
	conf_edit_free(e);
}

/* Every line of a section that was not touched, and every comment inside one
 * that is still there, is in the new text, in order. */
static void
lines_stay(const char *before, const char *after, const struct model *m)
{
	const char *line, *end, *at = after;
	char *copy;
	unsigned i;
	int sect = -1;
	bool header = false;

	for (line = before; *line != '\0'; line = end) {
		end = strchr(line, '\n');
		end = end == NULL ? line + strlen(line) : end + 1;
		if (sscanf(line, "# above d%u", &i) == 1 ||
		    sscanf(line, "[d%u.example]", &i) == 1)
			sect = (int)i;
		header = line[0] == '#' || line[0] == ';';
		if (sect >= 0 &&
		    (!m->there[sect] || (m->touched[sect] && !header)))
			continue;
		copy = strndup(line, strcspn(line, "\r\n"));
		if (copy[0] != '\0') {
			at = strstr(at, copy);
			if (at == NULL)
				fail_msg("lost: %s\n--\n%s--\n%s", copy, before,
				    after);
			at += strlen(copy);
		}
		free(copy);
	}
}

static void
random_edit(struct conf_edit *e, struct model *m)
{
	unsigned i = pick(SECTS), k = pick(KEYS);
	const char *v = random_value();
	char key[8], why[200];
	int r;

	(void)snprintf(key, sizeof(key), "k%u", k);
	switch (pick(4)) {
	case 0:
		r = conf_edit_remove(e, sect_name(i));
		assert_int_equal(r, m->there[i] ? 0 : PE_NOT_FOUND);
		m->there[i] = false;
		memset(m->value[i], 0, sizeof(m->value[i]));
		m->touched[i] = true;
		break;
	case 1:
		r = conf_edit_unset(e, sect_name(i), key);
		assert_int_equal(
		    r, m->value[i][k][0] != '\0' ? 0 : PE_NOT_FOUND);
		m->value[i][k][0] = '\0';
		m->touched[i] |= r == 0;
		break;
	default:
		r = conf_edit_set(e, sect_name(i), key, v, why, sizeof(why));
		assert_int_equal(r, 0);
		/* a section that comes back has lost its old lines */
		m->there[i] = m->touched[i] = true;
		(void)snprintf(m->value[i][k], 40, "%s", v);
		break;
	}
}

static void
test_property(void **state)
{
	static char text[16384];
	struct conf_edit *e;
	struct model m;
	bool removed[SECTS];
	char *now;
	unsigned round, i, k;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		seed = round * 7919U + 1U;
		make_file(text, sizeof(text), &m);
		same_as_model(text, &m);
		e = open_text(text);
		now = text_of(e);
		assert_string_equal(now, text); /* no edit, no change */
		free(now);
		memset(removed, 0, sizeof(removed));
		for (i = 0; i < EDITS; i++) {
			random_edit(e, &m);
			for (k = 0; k < SECTS; k++)
				removed[k] |= !m.there[k];
			now = text_of(e);
			same_as_model(now, &m);
			free(now);
		}
		now = text_of(e);
		for (k = 0; k < SECTS; k++)
			m.there[k] &= !removed[k];
		lines_stay(text, now, &m);
		free(now);
		conf_edit_free(e);
	}
}

/* A thousand edits of a table with 100,000 sections: not a thousand tables. */
static void
test_large(void **state)
{
	struct conf_edit *e;
	struct timespec a, b;
	struct buf text;
	char name[64], why[200];
	double ms;
	int i;

	(void)state;
	buf_init(&text, CONF_EDIT_MAX);
	for (i = 0; i < 100000; i++)
		assert_int_equal(
		    buf_printf(&text, "[d%d.example]\ntls = required\n\n", i),
		    0);
	assert_int_equal(
	    conf_edit_new(CONF_T_DESTINATIONS, (char *)buf_data(&text),
		buf_len(&text), why, sizeof(why), &e),
	    0);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "d%d.example", i * 97);
		assert_int_equal(
		    conf_edit_set(e, name, "tls", "none", why, sizeof(why)), 0);
	}
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 +
	    (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	print_message("1,000 edits of 100,000 sections: %.1f ms\n", ms);
	assert_true(ms < 2000); /* whole tables would take minutes */
	buf_done(&text);
	conf_edit_free(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_property),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
