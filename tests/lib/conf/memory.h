/*
 * memory.h - settings files in memory, for the tests of lib/conf.
 */
#ifndef POSTERN_TESTS_CONF_MEMORY_H
#define POSTERN_TESTS_CONF_MEMORY_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf/conf.h"

struct memory_file {
	const char *name, *text;
};

/* arg is an array of files, ended by a NULL name. */
static int
memory_read(void *arg, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	const struct memory_file *f = arg;
	size_t len;
	uint8_t *copy;

	for (; f->name != NULL; f++) {
		if (strcmp(f->name, path) != 0)
			continue;
		len = strlen(f->text);
		if (len > max)
			return -EFBIG;
		copy = malloc(len + 1);
		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, f->text, len + 1);
		*ret_data = copy;
		*ret_len = len;
		return 0;
	}
	return -ENOENT;
}

static const char *
memory_env(void *arg, const char *name)
{
	static char long_value[70001];

	(void)arg;
	memset(long_value, 'x', sizeof(long_value) - 1);
	if (strcmp(name, "LONG") == 0)
		return long_value;
	if (strcmp(name, "LATIN") == 0)
		return "\xe9";
	if (strcmp(name, "PORT") == 0)
		return "2525";
	if (strcmp(name, "EMPTY") == 0)
		return "";
	if (strcmp(name, "DOLLAR") == 0)
		return "${PORT}";
	if (strcmp(name, "CONTROL") == 0)
		return "a\nb";
	return NULL;
}

static inline struct conf_source
memory_source(const struct memory_file *files)
{
	struct conf_source src = { .arg = (void *)files,
		.read = memory_read,
		.env = memory_env,
		.hostname = "gw.example.net",
		.nameservers = "127.0.0.1" };

	return src;
}

#endif
