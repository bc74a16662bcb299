/*
 * confdocs.c - write the generated part of docs/settings.md (confdocs markdown)
 * or docs/man/postern.conf.5 (confdocs man) to stdout. What stands before and
 * behind it in these files is written by hand: replace the middle only.
 *
 * A test of lib/conf checks that the files in docs/ hold what this prints.
 */
#include <stdio.h>
#include <string.h>

#include "lib/conf/conf.h"

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "markdown") == 0) {
		conf_defaults_print(CONF_PRINT_MARKDOWN, stdout);
	} else if (argc == 2 && strcmp(argv[1], "man") == 0) {
		conf_defaults_print(CONF_PRINT_MAN, stdout);
	} else {
		fprintf(stderr, "usage: confdocs markdown | man\n");
		return 2;
	}
	return ferror(stdout) != 0;
}
