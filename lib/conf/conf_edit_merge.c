/*
 * conf_edit_merge.c - a table becomes what another text says, as one edit.
 *
 * Called by the supervisor for an import. Only by way of conf_edit.h: what is
 * the same on both sides is not touched. No I/O.
 */
#include "lib/conf/conf_edit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"

enum { KEYS_MAX = 64 };

struct keys {
	size_t n;
	char *key[KEYS_MAX], *value[KEYS_MAX];
	int r;
};

static void
on_key(void *arg, const char *key, const char *value)
{
	struct keys *k = arg;

	if (k->r < 0)
		return;
	if (k->n == KEYS_MAX) {
		k->r = PE_FULL;
		return;
	}
	k->key[k->n] = strdup(key);
	k->value[k->n] = strdup(value);
	k->n++;
	if (k->key[k->n - 1] == NULL || k->value[k->n - 1] == NULL)
		k->r = -ENOMEM;
}

static void
keys_done(struct keys *k)
{
	while (k->n > 0) {
		k->n--;
		free(k->key[k->n]);
		free(k->value[k->n]);
	}
}

static const char *
value_of(const struct keys *k, const char *key)
{
	size_t i;

	for (i = 0; i < k->n; i++)
		if (strcmp(k->key[i], key) == 0)
			return k->value[i];
	return NULL;
}

static int
write_keys(struct conf_edit *e, const char *name, const struct keys *have,
    const struct keys *want, bool *ret_changed, char *why, size_t why_len)
{
	const char *old;
	char text[160];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < want->n; i++) {
		old = value_of(have, want->key[i]);
		if (old != NULL && strcmp(old, want->value[i]) == 0)
			continue;
		*ret_changed = true;
		r = conf_edit_set(
		    e, name, want->key[i], want->value[i], text, sizeof(text));
		if (r == PE_SYNTAX)
			(void)snprintf(why, why_len, "[%s] %.64s: %s", name,
			    want->key[i], text);
	}
	for (i = 0; r == 0 && i < have->n; i++) {
		if (value_of(want, have->key[i]) != NULL)
			continue;
		*ret_changed = true;
		r = conf_edit_unset(e, name, have->key[i]);
	}
	return r;
}

/* One section that is on both sides. */
static int
merge_one(struct conf_edit *e, const struct conf_edit *want, size_t i,
    struct conf_merged *m, char *why, size_t why_len)
{
	const char *name = conf_edit_at(want, i);
	struct keys a = { 0 }, b = { 0 };
	bool changed = false;
	int r;

	r = conf_edit_keys(e, (size_t)conf_edit_find(e, name), on_key, &a);
	if (r == 0)
		r = a.r;
	if (r == 0)
		r = conf_edit_keys(want, i, on_key, &b);
	if (r == 0)
		r = b.r;
	if (r == 0)
		r = write_keys(e, name, &a, &b, &changed, why, why_len);
	if (changed)
		m->changed++;
	else
		m->same++;
	keys_done(&a);
	keys_done(&b);
	return r;
}

int
conf_edit_merge(struct conf_edit *e, const struct conf_edit *want,
    struct conf_merged *ret, char *why, size_t why_len)
{
	struct conf_merged m = { 0 };
	const char *name;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < conf_edit_count(want); i++) {
		name = conf_edit_at(want, i);
		if (name == NULL)
			continue;
		if (conf_edit_find(e, name) >= 0) {
			r = merge_one(e, want, i, &m, why, why_len);
		} else {
			r = conf_edit_copy(e, want, name);
			m.added++;
		}
	}
	/* last, so that what is added finds its neighbour at once */
	for (i = 0; r == 0 && i < conf_edit_count(e); i++) {
		name = conf_edit_at(e, i);
		if (name == NULL || conf_edit_find(want, name) >= 0)
			continue;
		r = conf_edit_remove(e, name);
		m.removed++;
	}
	if (r == 0)
		*ret = m;
	return r;
}
