/*
 * confblob.c - settings of a directory as the buffer that a child is given.
 *
 * A developers' tool: tests that start a single process of Postern and play its
 * supervisor (tests/e2e/child.py) need it. Usage: confblob DIR >FILE
 */
#include "lib/conf/conf.h"

#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	uint8_t *data;
	size_t len;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: confblob DIR >FILE\n");
		return 2;
	}
	if (conf_load_dir(argv[1], &errs, &conf) < 0) {
		conf_errors_print(&errs, argv[1], stderr);
		conf_errors_done(&errs);
		return 1;
	}
	conf_errors_done(&errs);
	if (conf_blob_build(conf, CONF_FOR_SMTPD, &data, &len) < 0 ||
	    fwrite(data, 1, len, stdout) != len || fflush(stdout) != 0)
		return 1;
	free(data);
	conf_unref(conf);
	return 0;
}
