/*
 * args.h - the command line: global options anywhere, a command, its own options.
 *
 * Pure: words in, a struct out. Nothing is guessed: an unknown option or command,
 * a missing value or one argument too many is refused with a sentence.
 */
#ifndef POSTERN_CTL_ARGS_H
#define POSTERN_CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>

struct ctl;
struct args;

enum { ARGS_POS_MAX = 32, ARGS_OPTS_MAX = 64 };

struct opt {
	const char *name; /* "--limit" */
	const char *arg; /* "N", or NULL: a switch; "S…" takes all words up to
			   * the next option */
	const char *help;
};

struct command {
	const char *name;     /* one or two words: "addr check" */
	const char *args;     /* positional arguments for the usage, "" */
	const char *summary;  /* one line */
	const char *help;     /* paragraphs */
	const char *examples; /* lines */
	int min_pos, max_pos;
	const struct opt *opts; /* ends with a NULL name; or NULL */
	int (*run)(struct ctl *ctl, const struct args *a); /* exit code */
};

struct args_opt {
	const char *name, *value; /* "" for a switch */
	bool more;		  /* a further word of the option before */
};

struct args {
	const struct command *cmd; /* NULL: none was given */
	const char *dir;	   /* -c, or NULL */
	const char *socket;	   /* --socket, or NULL */
	bool json, help, version;
	int n_pos, n_opts;
	const char *pos[ARGS_POS_MAX];
	struct args_opt opts[ARGS_OPTS_MAX];
};

/* argv[0] is passed over. 0, or -1 and a sentence in err. Borrows argv. */
int args_parse(const struct command *cmds, size_t n_cmds, int argc,
    char *const *argv, struct args *ret_args, char *err, size_t err_len);

/* Value of an option, NULL when it was not given; the last one wins. */
const char *args_opt(const struct args *a, const char *name);

/* "30", "30s", "5m", "2h", "1d" in milliseconds; false when it is none or over
 * about 49 days (the longest deadline). */
bool args_duration_ms(const char *text, unsigned long *ret_ms);

#endif
