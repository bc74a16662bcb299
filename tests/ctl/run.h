/*
 * run.h - run posternctl inside a test: words and stdin in, texts and code out.
 */
#ifndef POSTERN_TESTS_CTL_RUN_H
#define POSTERN_TESTS_CTL_RUN_H

#include "ctl/ctl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct run {
	int code;
	char *out, *err;
};

/* words: NULL-terminated, without the program's name. */
static void
run_ctl(struct run *r, const char *in, size_t in_len, const char *const *words)
{
	const char *argv[32] = { "posternctl" };
	size_t out_len, err_len;
	FILE *fin = fmemopen(
		 in_len > 0 ? (void *)(uintptr_t)in : (void *)(uintptr_t) "\n",
		 in_len > 0 ? in_len : 1, "r"),
	     *fout, *ferr;
	int argc = 1;

	r->out = r->err = NULL;
	fout = open_memstream(&r->out, &out_len);
	ferr = open_memstream(&r->err, &err_len);
	while (words[argc - 1] != NULL) {
		argv[argc] = words[argc - 1];
		argc++;
	}
	r->code =
	    ctl_main(argc, (char *const *)(uintptr_t)argv, fin, fout, ferr);
	(void)fclose(fin);
	(void)fclose(fout);
	(void)fclose(ferr);
}

static void
run_done(struct run *r)
{
	free(r->out);
	free(r->err);
}

#define RUN(r, ...) \
	run_ctl((r), "", 0, (const char *const[]){ __VA_ARGS__, NULL })

#endif
