/*
 * conf.c - the memory of a set of settings, its file contents, its errors.
 *
 * All strings and lists of a set live in one arena that goes when the last
 * reference goes. File contents (keys, secrets) are kept apart and wiped.
 */
#include "lib/conf/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/conf/conf_ini.h"
#include "lib/conf/conf_int.h"
#include "lib/log/log.h"

#define CHUNK_SIZE ((size_t)64 << 10)
/* More problems than this are counted but not even held for sorting. */
#define ERRORS_HELD 1000

const char *const conf_table_file[CONF_T_COUNT] = {
	[CONF_T_POSTERN] = "postern.conf",
	[CONF_T_BOUNCE] = "bounce.conf",
	[CONF_T_GATEWAYS] = "gateways.conf",
	[CONF_T_DESTINATIONS] = "destinations.conf",
	[CONF_T_ROUTES] = "routes.conf",
};

struct conf_chunk {
	struct conf_chunk *next;
	size_t used, size;
	_Alignas(16) uint8_t mem[];
};

struct conf *
conf_new(void)
{
	struct conf *conf;
	size_t i;

	conf = calloc(1, sizeof(*conf));
	if (conf == NULL)
		return NULL;
	conf->store = calloc(1, sizeof(*conf->store));
	conf->index = calloc(1, sizeof(*conf->index));
	if (conf->store == NULL || conf->index == NULL) {
		free(conf->store);
		free(conf->index);
		free(conf);
		return NULL;
	}
	conf->store->refs = 1;
	for (i = 0; i < CONF_T_COUNT; i++)
		buf_init(&conf->store->text[i], (size_t)256 << 20);
	return conf;
}

static void
conf_free(struct conf *conf)
{
	struct conf_store *st = conf->store;
	struct conf_chunk *c;
	size_t i;

	while ((c = st->chunks) != NULL) {
		st->chunks = c->next;
		free(c);
	}
	for (i = 0; i < st->n_files; i++) {
		explicit_bzero(st->files[i].data, st->files[i].len);
		free(st->files[i].data);
	}
	free(st->files);
	for (i = 0; i < CONF_T_COUNT; i++)
		buf_done(&st->text[i]);
	free(st);
	conf_index_free(conf->index);
	free(conf->listeners);
	free(conf->certificates);
	free(conf->credentials);
	free(conf->gateways);
	free(conf->profiles);
	free(conf->dests);
	free(conf->routes);
	free(conf);
}

struct conf *
conf_ref(struct conf *conf)
{
	if (conf != NULL)
		(void)__atomic_add_fetch(
		    &conf->store->refs, 1, __ATOMIC_RELAXED);
	return conf;
}

void
conf_unref(struct conf *conf)
{
	if (conf != NULL &&
	    __atomic_sub_fetch(&conf->store->refs, 1, __ATOMIC_ACQ_REL) == 0)
		conf_free(conf);
}

void *
conf_alloc(struct conf *conf, size_t size)
{
	struct conf_store *st = conf->store;
	struct conf_chunk *c = st->chunks;
	size_t want = (size + 15) & ~(size_t)15, room;

	if (want < size)
		return NULL;
	if (c == NULL || c->size - c->used < want) {
		room = want > CHUNK_SIZE / 4 ? want : CHUNK_SIZE;
		c = calloc(1, sizeof(*c) + room);
		if (c == NULL)
			return NULL;
		c->size = room;
		/* a large piece alone goes behind the one that has room left */
		if (room == want && st->chunks != NULL) {
			c->next = st->chunks->next;
			st->chunks->next = c;
		} else {
			c->next = st->chunks;
			st->chunks = c;
		}
	}
	c->used += want;
	return c->mem + c->used - want;
}

char *
conf_strndup(struct conf *conf, const char *text, size_t len)
{
	char *s = conf_alloc(conf, len + 1);

	if (s != NULL)
		memcpy(s, text, len);
	return s;
}

int
conf_file_add(struct conf *conf, const char *path, uint8_t *data, size_t len)
{
	struct conf_store *st = conf->store;
	struct conf_file_copy *v;
	char *copy = conf_strndup(conf, path, strlen(path));

	v = reallocarray(st->files, st->n_files + 1, sizeof(*v));
	if (v != NULL)
		st->files = v;
	if (v == NULL || copy == NULL) {
		explicit_bzero(data, len);
		free(data);
		return -ENOMEM;
	}
	v[st->n_files++] = (struct conf_file_copy){ copy, data, len };
	return 0;
}

int
conf_file(const struct conf *conf, const char *path, const uint8_t **ret_data,
    size_t *ret_len)
{
	const struct conf_store *st = conf->store;
	size_t i;

	for (i = 0; path != NULL && i < st->n_files; i++) {
		if (strcmp(st->files[i].path, path) == 0) {
			*ret_data = st->files[i].data;
			*ret_len = st->files[i].len;
			return 0;
		}
	}
	return PE_NOT_FOUND;
}

/* ---- errors -------------------------------------------------------------- */

/* Cutting may have split a character: texts of errors are UTF-8 in any case. */
static void
make_text(char *s)
{
	size_t n, left = strlen(s);

	for (; left > 0; s += n, left -= n) {
		n = conf_utf8_len((const uint8_t *)s, left);
		if (n == 0 || (unsigned char)*s < 0x20) {
			*s = '?';
			n = 1;
		}
	}
}

void
conf_error_add(struct conf_errors *errs, const char *file, uint32_t line,
    uint32_t column, bool warning, const char *fmt, va_list ap)
{
	struct conf_error *v, *e;

	if (warning)
		errs->warnings++;
	else
		errs->errors++;
	if (errs->n >= ERRORS_HELD)
		return;
	v = reallocarray(errs->v, errs->n + 1, sizeof(*v));
	if (v == NULL)
		return; /* counted: the set is refused all the same */
	errs->v = v;
	e = &v[errs->n];
	memset(e, 0, sizeof(*e));
	e->file = strdup(file);
	if (vasprintf(&e->text, fmt, ap) == -1)
		e->text = NULL;
	if (e->file == NULL || e->text == NULL) {
		free(e->file);
		free(e->text);
		return;
	}
	make_text(e->file);
	make_text(e->text);
	e->line = line;
	e->column = column;
	e->warning = warning;
	errs->n++;
}

void
conf_errors_tell(
    struct conf_errors *errs, const char *file, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conf_error_add(errs, file, 0, 0, false, fmt, ap);
	va_end(ap);
}

/* postern.conf first, then by name; then by place. */
static int
error_order(const void *pa, const void *pb)
{
	const struct conf_error *a = pa, *b = pb;
	int main_a = strcmp(a->file, conf_table_file[CONF_T_POSTERN]) == 0;
	int main_b = strcmp(b->file, conf_table_file[CONF_T_POSTERN]) == 0;
	int r;

	if (main_a != main_b)
		return main_b - main_a;
	r = strcmp(a->file, b->file);
	if (r != 0)
		return r;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	if (a->column != b->column)
		return a->column < b->column ? -1 : 1;
	return strcmp(a->text, b->text);
}

void
conf_errors_finish(struct conf_errors *errs)
{
	size_t i, kept = 0, n[2] = { 0, 0 };

	if (errs->n == 0)
		return;
	qsort(errs->v, errs->n, sizeof(*errs->v), error_order);
	for (i = 0; i < errs->n; i++) {
		if (n[errs->v[i].warning]++ < CONF_ERRORS_KEPT) {
			errs->v[kept++] = errs->v[i];
			continue;
		}
		free(errs->v[i].file);
		free(errs->v[i].text);
	}
	errs->n = kept;
}

void
conf_errors_done(struct conf_errors *errs)
{
	size_t i;

	for (i = 0; i < errs->n; i++) {
		free(errs->v[i].file);
		free(errs->v[i].text);
	}
	free(errs->v);
	memset(errs, 0, sizeof(*errs));
}

void
conf_errors_print(const struct conf_errors *errs, const char *dir, FILE *out)
{
	const struct conf_error *e;
	size_t i, kept[2] = { 0, 0 };
	bool own;

	for (i = 0; i < errs->n; i++) {
		e = &errs->v[i];
		kept[e->warning]++;
		own = dir != NULL && e->file[0] != '/';
		fprintf(out, "%s%s%s:%u: %s: %s\n", own ? dir : "",
		    own ? "/" : "", e->file, e->line == 0 ? 1 : e->line,
		    e->warning ? "warning" : "error", e->text);
	}
	if (errs->errors > kept[0])
		fprintf(out, "and %zu more errors\n", errs->errors - kept[0]);
	if (errs->warnings > kept[1])
		fprintf(
		    out, "and %zu more warnings\n", errs->warnings - kept[1]);
}

/* Edits (insert, delete, replace, swap neighbours) from a to b; cut at 64. */
static unsigned
edit_distance(const char *a, const char *b)
{
	unsigned row[3][65], cost, best;
	size_t la = strlen(a), lb = strlen(b), i, j;
	unsigned *cur, *prev, *prev2;

	if (la > 64 || lb > 64)
		return 64;
	for (j = 0; j <= lb; j++)
		row[0][j] = (unsigned)j;
	for (i = 1; i <= la; i++) {
		cur = row[i % 3];
		prev = row[(i - 1) % 3];
		prev2 = row[(i + 1) % 3];
		cur[0] = (unsigned)i;
		for (j = 1; j <= lb; j++) {
			cost = a[i - 1] == b[j - 1] ? 0 : 1;
			best = prev[j - 1] + cost;
			if (prev[j] + 1 < best)
				best = prev[j] + 1;
			if (cur[j - 1] + 1 < best)
				best = cur[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && prev2[j - 2] + 1 < best)
				best = prev2[j - 2] + 1;
			cur[j] = best;
		}
	}
	return row[la % 3][lb];
}

const char *
conf_hint(
    const char *word, const char *const *words, size_t n, char *buf, size_t len)
{
	unsigned best = (unsigned)(strlen(word) / 3), d;
	const char *found = NULL;
	size_t i;

	if (best == 0)
		best = 1;
	if (best > 4)
		best = 4;
	for (i = 0; i < n; i++) {
		d = edit_distance(word, words[i]);
		if (d < best || (d == best && found == NULL)) {
			best = d;
			found = words[i];
		}
	}
	if (found == NULL)
		buf[0] = '\0';
	else
		(void)snprintf(buf, len, ", did you mean '%s'?", found);
	return buf;
}
