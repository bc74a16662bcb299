/*
 * test_args.c - the command line, and that every command of the table is whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "ctl/ctl.h"

#define P "posternctl"

static const struct {
	const char *argv[8];
	const char *want; /* dump, or "!" and a part of the sentence */
} cases[] = {
	{ { P }, "-" },
	{ { P, "status" }, "status" },
	{ { P, "status", "detail", "--json" }, "status detail json" },
	{ { P, "--json", "-c", "/d", "status" }, "status c=/d json" },
	{ { P, "status", "-c", "/d" }, "status c=/d" },
	{ { P, "--socket=/s", "version" }, "version s=/s" },
	{ { P, "-c", "status", "version" }, "version c=status" },
	{ { P, "tophosts", "--sort", "hard", "--limit=3" },
	    "tophosts --sort=hard --limit=3" },
	{ { P, "showrecipients", "--from", "<>" }, "showrecipients --from=<>" },
	{ { P, "addr", "check", "--address", "-x@y" },
	    "addr check --address=-x@y" },
	{ { P, "--json", "addr", "check", "--stdin" },
	    "addr check --stdin= json" },
	{ { P, "explain", "--", "--json" }, "explain --json" },
	{ { P, "explain", "--help" }, "explain help" },
	{ { P, "-h" }, "- help" },
	{ { P, "--version" }, "- version" },
	{ { P, "stauts" }, "!did you mean 'status'?" },
	{ { P, "frobnicate" }, "!unknown command 'frobnicate'" },
	{ { P, "addr" }, "!unknown command 'addr'" },
	{ { P, "addr", "chekc" }, "!unknown command 'addr'" },
	{ { P, "--limit", "3", "tophosts" }, "!unknown option '--limit'" },
	{ { P, "tophosts", "--frob" }, "!unknown option '--frob'" },
	{ { P, "tophosts", "--limit" }, "!--limit needs a value" },
	{ { P, "tophosts", "x" }, "!one argument too many: 'x'" },
	{ { P, "status", "--socket" }, "!--socket needs a value" },
	{ { P, "status", "--json=1" }, "!--json takes no value" },
	{ { P, "explain" }, "!explain needs ADDRESS|DOMAIN" },
	{ { P, "delivernow", "--all=x" }, "!--all takes no value" },
	{ { P, "", "status" }, "!unknown command ''" },
};

static void
dump(const struct args *a, char *out, size_t len)
{
	size_t n;
	int i;

	n = (size_t)snprintf(
	    out, len, "%s", a->cmd == NULL ? "-" : a->cmd->name);
	for (i = 0; i < a->n_pos; i++)
		n += (size_t)snprintf(out + n, len - n, " %s", a->pos[i]);
	for (i = 0; i < a->n_opts; i++)
		n += (size_t)snprintf(out + n, len - n, " %s=%s",
		    a->opts[i].name, a->opts[i].value);
	if (a->dir != NULL)
		n += (size_t)snprintf(out + n, len - n, " c=%s", a->dir);
	if (a->socket != NULL)
		n += (size_t)snprintf(out + n, len - n, " s=%s", a->socket);
	(void)snprintf(out + n, len - n, "%s%s%s", a->json ? " json" : "",
	    a->help ? " help" : "", a->version ? " version" : "");
}

static void
test_cases(void **state)
{
	struct args a;
	char err[256], got[256];
	size_t i;
	int argc, r;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (argc = 0; argc < 8 && cases[i].argv[argc] != NULL;)
			argc++;
		err[0] = '\0';
		r = args_parse(ctl_commands, ctl_n_commands, argc,
		    (char *const *)(uintptr_t)cases[i].argv, &a, err,
		    sizeof(err));
		if (cases[i].want[0] == '!') {
			if (r == 0 || strstr(err, cases[i].want + 1) == NULL)
				fail_msg("row %zu: '%s'", i, err);
			continue;
		}
		if (r < 0)
			fail_msg("row %zu: %s", i, err);
		dump(&a, got, sizeof(got));
		assert_string_equal(got, cases[i].want);
	}
}

/* An option that takes several words, up to the next one. */
static void
test_more(void **state)
{
	static const char *const argv[] = { P, "sts", "txt", "--rr", "a", "b",
		"--rr", "c", "--json" };
	static const char *const value[] = { "a", "b", "c" };
	static const bool more[] = { false, true, false };
	struct args a;
	char err[256];
	int i;

	(void)state;
	assert_int_equal(
	    args_parse(ctl_commands, ctl_n_commands, 9,
		(char *const *)(uintptr_t)argv, &a, err, sizeof(err)),
	    0);
	assert_int_equal(a.n_opts, 3);
	assert_int_equal(a.n_pos, 0);
	assert_true(a.json);
	for (i = 0; i < 3; i++) {
		assert_string_equal(a.opts[i].name, "--rr");
		assert_string_equal(a.opts[i].value, value[i]);
		assert_int_equal(a.opts[i].more, more[i]);
	}
}

static void
test_last_wins_and_bound(void **state)
{
	const char *argv[ARGS_OPTS_MAX + 3] = { P, "tophosts" };
	struct args a;
	char err[256];
	int i, n = 2;

	(void)state;
	for (i = 0; i < ARGS_OPTS_MAX; i++)
		argv[n++] = i % 2 == 0 ? "--limit=1" : "--limit=2";
	assert_int_equal(
	    args_parse(ctl_commands, ctl_n_commands, n,
		(char *const *)(uintptr_t)argv, &a, err, sizeof(err)),
	    0);
	assert_string_equal(args_opt(&a, "--limit"), "2");
	assert_null(args_opt(&a, "--sort"));
	argv[n++] = "--limit=3";
	assert_int_equal(
	    args_parse(ctl_commands, ctl_n_commands, n,
		(char *const *)(uintptr_t)argv, &a, err, sizeof(err)),
	    -1);
}

static void
test_durations(void **state)
{
	static const struct {
		const char *in;
		unsigned long want; /* 0: refused, but for "0" */
	} rows[] = { { "30", 30000 }, { "30s", 30000 }, { "5m", 300000 },
		{ "2h", 7200000 }, { "1d", 86400000 }, { "250ms", 250 },
		{ "49d", 4233600000 }, { "50d", 0 }, { "", 0 }, { "-5", 0 },
		{ "5x", 0 }, { "s", 0 }, { "5 s", 0 },
		{ "99999999999999999999", 0 } };
	unsigned long ms;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ms = 0;
		if (args_duration_ms(rows[i].in, &ms) != (rows[i].want > 0) ||
		    ms != rows[i].want)
			fail_msg("'%s'", rows[i].in);
	}
	assert_true(args_duration_ms("0", &ms));
}

/* Each row has a name of one or two words, help, and an example that parses. */
static void
test_table(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < ctl_n_commands; i++) {
		const struct command *c = &ctl_commands[i];

		assert_true(strlen(c->summary) > 0 && strlen(c->summary) < 60);
		assert_true(strlen(c->help) > 0);
		assert_non_null(c->run);
		assert_non_null(strstr(c->examples, c->name));
		assert_true(
		    c->min_pos <= c->max_pos && c->max_pos <= ARGS_POS_MAX);
		assert_int_equal(c->max_pos > 0, c->args[0] != '\0');
		for (k = 0; k < i; k++)
			assert_string_not_equal(c->name, ctl_commands[k].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_more),
		cmocka_unit_test(test_last_wins_and_bound),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
