/*
 * args.c - parse the command line by the table of commands.
 *
 * Called by ctl.c and the tests. Never prints, never exits.
 */
#include "ctl/args.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct opt globals[] = {
	{ "-c", "DIR", NULL },
	{ "--socket", "PATH", NULL },
	{ "--json", NULL, NULL },
	{ "--help", NULL, NULL },
	{ "-h", NULL, NULL },
	{ "--version", NULL, NULL },
	{ NULL, NULL, NULL },
};

/* The option of this word (with or without "=value") in a list, or NULL. */
static const struct opt *
find_opt(const struct opt *list, const char *word, const char **ret_value)
{
	*ret_value = NULL;
	for (; list != NULL && list->name != NULL; list++) {
		size_t n = strlen(list->name);

		if (strncmp(list->name, word, n) != 0)
			continue;
		if (word[n] == '\0')
			return list;
		if (word[n] == '=' && n > 2) {
			*ret_value = word + n + 1;
			return list;
		}
	}
	return NULL;
}

static void
set_global(struct args *a, const char *name, const char *value)
{
	if (strcmp(name, "-c") == 0)
		a->dir = value;
	else if (strcmp(name, "--socket") == 0)
		a->socket = value;
	else if (strcmp(name, "--json") == 0)
		a->json = true;
	else if (strcmp(name, "--version") == 0)
		a->version = true;
	else
		a->help = true;
}

/* ---- which command --------------------------------------------------------------- */

/* Words that must be changed, added or taken away between two short words. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[32], la = strlen(a), lb = strlen(b), i, k;

	if (la >= 32 || lb >= 32)
		return 32;
	for (k = 0; k <= lb; k++)
		row[k] = k;
	for (i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (k = 1; k <= lb; k++) {
			size_t best = diagonal + (a[i - 1] != b[k - 1]);

			diagonal = row[k];
			if (row[k] + 1 < best)
				best = row[k] + 1;
			if (row[k - 1] + 1 < best)
				best = row[k - 1] + 1;
			row[k] = best;
		}
	}
	return row[lb];
}

static int
unknown(const struct command *cmds, size_t n, const char *word, char *err,
    size_t len)
{
	const char *near = NULL;
	size_t best = 3, i, d;

	for (i = 0; i < n; i++) {
		d = distance(word, cmds[i].name);
		if (d < best) {
			best = d;
			near = cmds[i].name;
		}
	}
	if (near != NULL)
		(void)snprintf(err, len,
		    "unknown command '%s'; did you mean '%s'?", word, near);
	else
		(void)snprintf(err, len, "unknown command '%s'", word);
	return -1;
}

/* Number of words of cmd->name that stand in words, 0 when it is another. */
static int
matches(const struct command *cmd, const char *const *words, int n)
{
	const char *space = strchr(cmd->name, ' ');
	size_t first =
	    space != NULL ? (size_t)(space - cmd->name) : strlen(cmd->name);

	if (n < 1 || strlen(words[0]) != first ||
	    strncmp(words[0], cmd->name, first) != 0)
		return 0;
	if (space == NULL)
		return 1;
	return n > 1 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

/* The first words that are no options decide. Also skips values of global
 * options; a command's own options come behind its name. */
static int
find_command(const struct command *cmds, size_t n_cmds, int argc,
    char *const *argv, struct args *a, int *ret_words, char *err, size_t len)
{
	const char *words[2] = { NULL, NULL }, *value;
	int n = 0, i;
	size_t k;

	for (i = 1; i < argc && n < 2; i++) {
		const struct opt *o = find_opt(globals, argv[i], &value);

		if (o != NULL) {
			if (o->arg != NULL && value == NULL)
				i++;
		} else if (argv[i][0] != '-' || argv[i][1] == '\0') {
			words[n++] = argv[i];
		} else if (n > 0) {
			break;
		} else {
			(void)snprintf(err, len,
			    "unknown option '%s' before the command", argv[i]);
			return -1;
		}
	}
	*ret_words = 0;
	if (n == 0)
		return 0;
	for (k = 0; k < n_cmds; k++) {
		*ret_words = matches(&cmds[k], words, n);
		if (*ret_words > 0) {
			a->cmd = &cmds[k];
			return 0;
		}
	}
	return unknown(cmds, n_cmds, words[0], err, len);
}

/* ---- all words ------------------------------------------------------------------------ */

static int
take_pos(struct args *a, const char *word, char *err, size_t len)
{
	int max = a->cmd == NULL ? 0 : a->cmd->max_pos;

	if (a->n_pos >= max || a->n_pos == ARGS_POS_MAX) {
		(void)snprintf(err, len, "one argument too many: '%s'", word);
		return -1;
	}
	a->pos[a->n_pos++] = word;
	return 0;
}

static int
take_opt(struct args *a, const struct opt *o, const char *value, bool global,
    char *err, size_t len)
{
	if (o->arg == NULL && value != NULL) {
		(void)snprintf(err, len, "%s takes no value", o->name);
		return -1;
	}
	if (global) {
		set_global(a, o->name, value);
		return 0;
	}
	if (a->n_opts == ARGS_OPTS_MAX) {
		(void)snprintf(err, len, "too many options");
		return -1;
	}
	a->opts[a->n_opts].name = o->name;
	a->opts[a->n_opts++].value = value == NULL ? "" : value;
	return 0;
}

static bool
takes_more(const struct opt *o)
{
	static const char mark[] = "\xe2\x80\xa6"; /* … */
	size_t len = o->arg != NULL ? strlen(o->arg) : 0;

	return len >= sizeof(mark) - 1 &&
	    strcmp(o->arg + len - (sizeof(mark) - 1), mark) == 0;
}

static int
take_more(struct args *a, const struct opt *o, const char *value, char *err,
    size_t len)
{
	if (take_opt(a, o, value, false, err, len) < 0)
		return -1;
	a->opts[a->n_opts - 1].more = true;
	return 0;
}

int
args_parse(const struct command *cmds, size_t n_cmds, int argc,
    char *const *argv, struct args *ret_args, char *err, size_t err_len)
{
	struct args *a = ret_args;
	const struct opt *open = NULL; /* an option that takes more words */
	bool only_pos = false, global;
	int i, skip;

	memset(a, 0, sizeof(*a));
	if (find_command(cmds, n_cmds, argc, argv, a, &skip, err, err_len) < 0)
		return -1;
	for (i = 1; i < argc; i++) {
		const char *word = argv[i], *value = NULL;
		const struct opt *o = NULL;

		if (!only_pos && strcmp(word, "--") == 0) {
			only_pos = true;
			continue;
		}
		if (!only_pos && word[0] == '-' && word[1] != '\0') {
			o = find_opt(globals, word, &value);
			global = o != NULL;
			if (o == NULL && a->cmd != NULL)
				o = find_opt(a->cmd->opts, word, &value);
			if (o == NULL) {
				(void)snprintf(
				    err, err_len, "unknown option '%s'", word);
				return -1;
			}
			if (o->arg != NULL && value == NULL) {
				if (++i == argc) {
					(void)snprintf(err, err_len,
					    "%s needs a value: %s", o->name,
					    o->arg);
					return -1;
				}
				value = argv[i];
			}
			if (take_opt(a, o, value, global, err, err_len) < 0)
				return -1;
			open = takes_more(o) ? o : NULL;
			continue;
		}
		if (skip > 0) {
			skip--; /* the name of the command */
			continue;
		}
		if (open != NULL && !only_pos) {
			if (take_more(a, open, word, err, err_len) < 0)
				return -1;
		} else if (take_pos(a, word, err, err_len) < 0) {
			return -1;
		}
	}
	if (a->cmd != NULL && !a->help && !a->version &&
	    a->n_pos < a->cmd->min_pos) {
		(void)snprintf(
		    err, err_len, "%s needs %s", a->cmd->name, a->cmd->args);
		return -1;
	}
	return 0;
}

const char *
args_opt(const struct args *a, const char *name)
{
	int i;

	for (i = a->n_opts - 1; i >= 0; i--)
		if (strcmp(a->opts[i].name, name) == 0)
			return a->opts[i].value;
	return NULL;
}

bool
args_duration_ms(const char *text, unsigned long *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "", 1000 }, { "s", 1000 }, { "ms", 1 },
		{ "m", 60 * 1000 }, { "h", 3600 * 1000 },
		{ "d", 86400 * 1000 } };
	uint64_t v = 0;
	size_t i;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		v = v * 10 + (uint64_t)(*text - '0');
		if (v > UINT32_MAX)
			return false;
	}
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(text, units[i].unit) == 0) {
			if (v * units[i].ms > UINT32_MAX)
				return false;
			*ret_ms = (unsigned long)(v * units[i].ms);
			return true;
		}
	return false;
}
