/*
 * test_conf_ini.c - the grammar of settings files, and where errors point.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/conf/conf_ini.h"

/* Items as "[name]" and "key=value" joined by '|'; errors as "!line:column". */
struct dump {
	char text[4096];
	size_t len;
};

static void __attribute__((format(printf, 2, 3)))
add(struct dump *d, const char *fmt, ...)
{
	va_list ap;

	if (d->len > 0)
		d->text[d->len++] = '|';
	va_start(ap, fmt);
	d->len += (size_t)vsnprintf(
	    d->text + d->len, sizeof(d->text) - d->len, fmt, ap);
	va_end(ap);
	assert_true(d->len < sizeof(d->text));
}

static void
on_error(void *arg, uint32_t line, uint32_t column, const char *text)
{
	assert_non_null(strstr(text, "wanted"));
	add(arg, "!%u:%u", line, column);
}

static const struct {
	const char *name, *in, *want;
} cases[] = {
	{ "empty", "", "" },
	{ "only comments", "# a\n; b\n\n", "" },
	{ "section and key", "[a]\nk = v\n", "[a]|k=v" },
	{ "no last line feed", "[a]\nk = v", "[a]|k=v" },
	{ "crlf", "[a]\r\nk = v\r\n  w\r\n", "[a]|k=v\nw" },
	{ "byte order mark", "\xef\xbb\xbf[a]\nk=v\n", "[a]|k=v" },
	{ "blanks", "[ a  b ]  \nk   =   v w  \n", "[a  b]|k=v w" },
	{ "empty value", "[a]\nk =\nl=\n", "[a]|k=|l=" },
	{ "value goes on", "[a]\nk = a,\n\tb,\n    c\nl = d\n",
	    "[a]|k=a,\nb,\nc|l=d" },
	{ "value starts later", "[a]\nk =\n  a\n  b\n", "[a]|k=a\nb" },
	{ "comment inside a value", "[a]\nk = a\n# no\n  b\n; no\n  c\n",
	    "[a]|k=a\nb\nc" },
	{ "blank line ends a value", "[a]\nk = a\n\n  b\n", "[a]|k=a|!4:3" },
	{ "indented hash is text", "[a]\nk = a\n  # b\n", "[a]|k=a\n# b" },
	{ "hash behind a value is text", "[a]\nk = a # b\n", "[a]|k=a # b" },
	{ "equals in a value", "[a]\nk = b=c\n", "[a]|k=b=c" },
	{ "brackets in a value", "[a]\nk = [b]\n", "[a]|k=[b]" },
	{ "literal as section", "[[192.0.2.1]]\n", "[[192.0.2.1]]" },
	{ "head", "include = f\n[a]\n", "include=f|[a]" },
	{ "utf-8",
	    "[b\xc3\xbc"
	    "cher.example]\nk = \xe2\x82\xac\n",
	    "[b\xc3\xbc"
	    "cher.example]|k=\xe2\x82\xac" },
	{ "no bracket", "[a\nk = v\n", "!1:2|k=v" },
	{ "text behind bracket", "[a] # b\nk = v\n", "!1:7|k=v" },
	{ "empty section", "[  ]\n", "!1:1" },
	{ "no equals", "[a]\nk v\nl = w\n", "[a]|!2:1|l=w" },
	{ "no key", "[a]\n= v\n", "[a]|!2:1" },
	{ "bad key", "[a]\nk\xc3\xa9y = v\n", "[a]|!2:2" },
	{ "indented first", "  k = v\n", "!1:3" },
	{ "indented behind section", "[a]\n  k = v\n  l = w\nm = x\n",
	    "[a]|!2:3|m=x" },
	{ "lines of a bad one are left out", "[a]\nk v\n  w\nl = x\n",
	    "[a]|!2:1|l=x" },
	{ "control byte", "[a]\nk = a\001b\nl = w\n", "[a]|!2:6|l=w" },
	{ "delete byte", "[a]\nk = \177\n", "[a]|!2:5" },
	{ "bare carriage return", "[a]\nk = a\rb\n", "[a]|!2:6" },
	{ "control byte in a comment", "# a\002\n[a]\n", "!1:4|[a]" },
	{ "bad utf-8", "[a]\nk = \xff\n", "[a]|!2:5" },
	{ "cut utf-8", "[a]\nk = \xe2\x82", "[a]|!2:5" },
	{ "overlong utf-8", "[a]\nk = \xc0\xaf\n", "[a]|!2:5" },
	{ "surrogate", "[a]\nk = \xed\xa0\x80\n", "[a]|!2:5" },
};

static void
read_into(struct dump *d, const char *text, size_t len)
{
	struct dump errors = { .len = 0 };
	struct conf_ini ini;
	char value[1024];
	size_t i, n_value;
	int r;

	/* errors come first in time, items are looked at in the end: put both
	 * in the order of lines by reading errors into their own dump */
	r = conf_ini_parse(text, len, on_error, &errors, &ini);
	assert_true(r >= 0);
	memset(d, 0, sizeof(*d));
	for (i = 0; i < ini.n; i++) {
		const struct conf_ini_item *it = &ini.v[i];
		unsigned line;

		while (errors.len > 0 &&
		    sscanf(errors.text, "!%u", &line) == 1 && line < it->line) {
			char *end = strchr(errors.text, '|');
			size_t n = end == NULL ? errors.len
					       : (size_t)(end - errors.text);

			add(d, "%.*s", (int)n, errors.text);
			n += end != NULL;
			memmove(
			    errors.text, errors.text + n, errors.len - n + 1);
			errors.len -= n;
		}
		assert_true(it->name_off + it->name_len <= len);
		assert_true(it->value_off + it->value_len <= len);
		if (it->section) {
			add(d, "[%.*s]", (int)it->name_len,
			    text + it->name_off);
			continue;
		}
		assert_true(it->value_len < sizeof(value));
		n_value = conf_ini_value(&ini, it, value);
		assert_int_equal(n_value, strlen(value));
		add(d, "%.*s=%s", (int)it->name_len, text + it->name_off,
		    value);
	}
	if (errors.len > 0)
		add(d, "%s", errors.text);
	conf_ini_done(&ini);
}

static void
test_grammar(void **state)
{
	struct dump d;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* exact allocation: a byte too far is seen by the sanitizer */
		size_t len = strlen(cases[i].in);
		char *copy = malloc(len + 1);

		memcpy(copy, cases[i].in, len);
		read_into(&d, copy, len);
		free(copy);
		if (strcmp(d.text, cases[i].want) != 0)
			fail_msg("%s: found %s, wanted %s", cases[i].name,
			    d.text, cases[i].want);
	}
}

static void
test_nul(void **state)
{
	struct dump d;

	(void)state;
	read_into(&d, "[a]\nk = a\0b\nl = c\n", 18);
	assert_string_equal(d.text, "[a]|!2:6|l=c");
}

static void
test_long_lines(void **state)
{
	size_t len = CONF_INI_LINE_MAX + 100;
	char *text = malloc(len);
	struct conf_ini ini;
	struct dump errors = { .len = 0 };

	(void)state;
	memset(text, 'x', len);
	memcpy(text, "k = ", 4);
	text[CONF_INI_LINE_MAX] = '\n'; /* exactly the longest line */
	assert_int_equal(conf_ini_parse(text, CONF_INI_LINE_MAX + 1, on_error,
			     &errors, &ini),
	    0);
	assert_int_equal(ini.n, 1);
	conf_ini_done(&ini);
	text[CONF_INI_LINE_MAX] = 'x';
	text[CONF_INI_LINE_MAX + 1] = '\n';
	text[CONF_INI_LINE_MAX + 2] = '[';
	text[len - 1] = ']';
	assert_int_equal(conf_ini_parse(text, len, on_error, &errors, &ini), 1);
	assert_string_equal(errors.text, "!1:0");
	assert_int_equal(ini.n, 1); /* reading went on behind it */
	assert_true(ini.v[0].section);
	conf_ini_done(&ini);
	free(text);
}

static void
test_long_values(void **state)
{
	struct conf_ini ini;
	struct dump errors = { .len = 0 };
	size_t len = 0, cap = CONF_INI_VALUE_MAX + 100000;
	char *text = malloc(cap);

	(void)state;
	len += (size_t)sprintf(text, "k = ");
	while (len < CONF_INI_VALUE_MAX + 5000) {
		memset(text + len, 'y', 1000);
		memcpy(text + len, "\n ", 2);
		len += 1000;
	}
	len += (size_t)sprintf(text + len, "\nl = w\n");
	assert_int_equal(conf_ini_parse(text, len, on_error, &errors, &ini), 1);
	assert_int_equal(ini.n, 2);
	assert_true(ini.v[0].value_len <= CONF_INI_VALUE_MAX);
	conf_ini_done(&ini);
	free(text);
}

static void
test_spans(void **state)
{
	static const char text[] = "[s]\nabc  =  one\nde = two,\n  three\n";
	struct dump errors = { .len = 0 };
	struct conf_ini ini;

	(void)state;
	assert_int_equal(
	    conf_ini_parse(text, sizeof(text) - 1, on_error, &errors, &ini), 0);
	assert_int_equal(ini.n, 3);
	/* what an editor would cut out and replace */
	assert_int_equal(ini.v[1].value_len, 3);
	assert_memory_equal(text + ini.v[1].value_off, "one", 3);
	assert_int_equal(ini.v[1].line, 2);
	assert_int_equal(ini.v[2].value_len, 12);
	assert_memory_equal(text + ini.v[2].value_off, "two,\n  three", 12);
	assert_int_equal(ini.v[2].line, 3);
	conf_ini_done(&ini);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_spans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
