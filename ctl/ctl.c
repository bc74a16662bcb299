/*
 * ctl.c - one call of posternctl: parse, help, run.
 *
 * Called by main.c and the tests.
 */
#include "ctl/ctl.h"

#include <string.h>

static void
print_opts(FILE *out, const struct opt *opts)
{
	char left[48];

	for (; opts != NULL && opts->name != NULL; opts++) {
		(void)snprintf(left, sizeof(left), "%s%s%s", opts->name,
		    opts->arg != NULL ? " " : "",
		    opts->arg != NULL ? opts->arg : "");
		(void)fprintf(out, "  %-20s %s\n", left, opts->help);
	}
}

static void
help_command(FILE *out, const struct command *cmd)
{
	(void)fprintf(out, "usage: posternctl %s%s%s%s\n\n%s\n", cmd->name,
	    cmd->opts != NULL ? " [options]" : "",
	    cmd->args[0] != '\0' ? " " : "", cmd->args, cmd->help);
	if (cmd->opts != NULL) {
		(void)fputs("\noptions:\n", out);
		print_opts(out, cmd->opts);
	}
	(void)fprintf(out,
	    "\nexamples:\n%s\n"
	    "Everywhere: -c DIR (settings, default /etc/postern), "
	    "--socket PATH, --json.\n",
	    cmd->examples);
}

static void
help_all(FILE *out)
{
	size_t i;

	(void)fputs(
	    "usage: posternctl [-c DIR | --socket PATH] [--json] COMMAND ...\n"
	    "\nLook at a running Postern node and steer it.\n\ncommands:\n",
	    out);
	for (i = 0; i < ctl_n_commands; i++)
		(void)fprintf(out, "  %-18s %s\n", ctl_commands[i].name,
		    ctl_commands[i].summary);
	(void)fputs("\noptions, before or after the command:\n"
		    "  -c DIR           settings of the node (/etc/postern)\n"
		    "  --socket PATH    its control socket, instead\n"
		    "  --json           the answer as JSON\n"
		    "  --help           this, or more about one command\n"
		    "  --version        version of this program\n"
		    "\nexit status: 0 done; 1 the answer is no, or problems "
		    "were found;\n2 a wrong call; 3 the node, or the process "
		    "that would answer, is not reachable\n"
		    "\nexamples:\n"
		    "  posternctl status\n"
		    "  posternctl tophosts --sort hard --limit 10\n"
		    "  posternctl explain user@example.com\n"
		    "  posternctl why 72057594037927937 --json\n",
	    out);
}

/* "help", "help tophosts" */
static int
help_words(int argc, char *const *argv, FILE *out, FILE *err)
{
	char name[64];
	size_t i;

	if (argc < 3) {
		help_all(out);
		return CTL_DONE;
	}
	(void)snprintf(name, sizeof(name), "%s%s%s", argv[2],
	    argc > 3 ? " " : "", argc > 3 ? argv[3] : "");
	for (i = 0; i < ctl_n_commands; i++)
		if (strcmp(ctl_commands[i].name, name) == 0) {
			help_command(out, &ctl_commands[i]);
			return CTL_DONE;
		}
	(void)fprintf(err, "posternctl: no help about '%s'\n", name);
	return CTL_USAGE;
}

int
ctl_main(int argc, char *const *argv, FILE *in, FILE *out, FILE *err)
{
	struct args a;
	struct ctl ctl = { .in = in, .out = out, .err = err, .args = &a };
	char text[256];

	if (argc > 1 && strcmp(argv[1], "help") == 0)
		return help_words(argc, argv, out, err);
	if (args_parse(ctl_commands, ctl_n_commands, argc, argv, &a, text,
		sizeof(text)) < 0) {
		(void)fprintf(
		    err, "posternctl: %s\nSee posternctl --help.\n", text);
		return CTL_USAGE;
	}
	ctl.json = a.json;
	if (a.version) {
		(void)fprintf(out, "posternctl %s\n", POSTERN_VERSION);
		return CTL_DONE;
	}
	if (a.cmd == NULL) {
		help_all(a.help ? out : err);
		return a.help ? CTL_DONE : CTL_USAGE;
	}
	if (a.help) {
		help_command(out, a.cmd);
		return CTL_DONE;
	}
	return a.cmd->run(&ctl, &a);
}
