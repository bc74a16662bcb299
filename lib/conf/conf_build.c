/*
 * conf_build.c - from settings files to sections, from sections to structs.
 *
 * Reads every file first, then takes the sections kind by kind, so that what is
 * referred to exists before what refers to it; the order in the files does not
 * matter. All problems are collected. I/O only through the source's callbacks.
 */
#include "lib/conf/conf_build.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/log/log.h"

#define INCLUDE_DEPTH 8U
#define DOCS_MAX      64
/*
 * Bounds of what is read. A child reads the normalised text, which is longer
 * where values have grown, under the wider bounds of conf_ini.h: whatever is
 * accepted here is accepted there.
 */
#define TABLE_MAX      ((size_t)64 << 20) /* one table, with its includes */
#define VALUE_LINE_MAX 64000U
#define ENV_VALUE_MAX  (CONF_INI_VALUE_MAX / 2)

/* ---- problems ------------------------------------------------------------ */

void
conf_build_error(struct conf_build *b, const char *file, uint32_t line,
    uint32_t column, bool warning, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conf_error_add(b->errs, file, line, column, warning, fmt, ap);
	va_end(ap);
}

/* Column of the value, 0 when it starts on a later line than its key. */
static uint32_t
value_column(const struct conf_ini *ini, const struct conf_ini_item *item)
{
	const char *name = ini->text + item->name_off;
	size_t gap = item->value_off - item->name_off;

	if (item->value_len == 0 || memchr(name, '\n', gap) != NULL)
		return 0;
	return item->column + (uint32_t)gap;
}

void
conf_where_error(const struct conf_where *w, const char *key, bool warning,
    const char *fmt, ...)
{
	const struct conf_ini_item *item = NULL;
	const struct conf_doc *doc;
	uint32_t line = 0, column = 0;
	const char *file = conf_table_file[w->schema->table];
	va_list ap;
	int i;

	if (w->sect != NULL) {
		doc = &w->b->docs[w->sect->doc];
		file = doc->name;
		i = key == NULL ? -1
				: conf_key_find(w->schema, key, strlen(key));
		if (i >= 0)
			item = w->at[i];
		if (item != NULL) {
			column = value_column(&doc->ini, item);
		} else {
			item = &doc->ini.v[w->sect->item];
			column = item->column;
		}
		line = item->line;
	}
	va_start(ap, fmt);
	conf_error_add(w->b->errs, file, line, column, warning, fmt, ap);
	va_end(ap);
}

bool
conf_where_given(const struct conf_where *w, const char *key)
{
	int i = conf_key_find(w->schema, key, strlen(key));

	return i >= 0 && (w->given >> i & 1) != 0;
}

/* ---- normalised text ----------------------------------------------------- */

int
conf_where_emit(const struct conf_where *w, const char *key, const char *value)
{
	struct conf_store *st = w->b->conf->store;
	struct buf *out = &st->text[w->schema->table];
	const char *lf;
	int r;

	if (!st->keep_text)
		return 0;
	r = buf_printf(out, "%s = ", key);
	while (r == 0 && (lf = strchr(value, '\n')) != NULL) {
		r = buf_put(out, value, (size_t)(lf - value));
		if (r == 0)
			r = buf_puts(out, "\n\t");
		value = lf + 1;
	}
	if (r == 0)
		r = buf_puts(out, value);
	if (r == 0)
		r = buf_puts(out, "\n");
	return r == 0 ? 0 : -ENOMEM;
}

static int
emit_header(const struct conf_where *w)
{
	struct conf_store *st = w->b->conf->store;
	const struct conf_ini_item *item;
	const struct conf_ini *ini;
	int r;

	if (!st->keep_text)
		return 0;
	if (w->sect == NULL) {
		r = buf_printf(
		    &st->text[w->schema->table], "[%s]\n", w->schema->kind);
	} else {
		ini = &w->b->docs[w->sect->doc].ini;
		item = &ini->v[w->sect->item];
		r = buf_printf(&st->text[w->schema->table], "[%.*s]\n",
		    (int)item->name_len, ini->text + item->name_off);
	}
	return r == 0 ? 0 : -ENOMEM;
}

/* ---- one value ----------------------------------------------------------- */

/* One line of UTF-8 without control bytes? */
static bool
is_text(const char *value)
{
	const uint8_t *p = (const uint8_t *)value;
	size_t left = strlen(value), n;

	for (; left > 0; p += n, left -= n) {
		n = conf_utf8_len(p, left);
		if (n == 0 || *p < 0x20 || *p == 0x7f)
			return false;
	}
	return true;
}

/* Replace ${NAME}; "$${" stands for "${". 0, PE_SYNTAX (told), -ENOMEM. */
static int
replace_env(struct conf_build *b, const char *text, char *err, size_t err_len)
{
	const char *p = text, *dollar, *end, *value;
	char name[128], quoted[100];
	size_t n;
	int r = 0;

	buf_drop(&b->env, buf_len(&b->env));
	while (r == 0 && (dollar = strstr(p, "${")) != NULL) {
		if (dollar > p && dollar[-1] == '$') {
			r = buf_put(&b->env, p, (size_t)(dollar - p) - 1);
			if (r == 0)
				r = buf_puts(&b->env, "${");
			p = dollar + 2;
			continue;
		}
		end = strchr(dollar, '}');
		n = end == NULL ? 0 : (size_t)(end - dollar) - 2;
		if (n == 0 || n >= sizeof(name) ||
		    strspn(dollar + 2,
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			"0123456789_") < n) {
			(void)snprintf(err, err_len,
			    "found '%s', wanted ${NAME} ($${ for a plain ${)",
			    log_quote(quoted, sizeof(quoted), dollar));
			return PE_SYNTAX;
		}
		memcpy(name, dollar + 2, n);
		name[n] = '\0';
		value = b->src->env(b->src->arg, name);
		if (value == NULL) {
			(void)snprintf(err, err_len,
			    "found ${%s}, but there is no such environment "
			    "variable",
			    name);
			return PE_SYNTAX;
		}
		if (!is_text(value)) {
			(void)snprintf(err, err_len,
			    "found bytes in environment variable %s that are "
			    "not text, wanted one line of UTF-8",
			    name);
			return PE_SYNTAX;
		}
		r = buf_put(&b->env, p, (size_t)(dollar - p));
		if (r == 0)
			r = buf_puts(&b->env, value);
		p = end + 1;
	}
	if (r == 0)
		r = buf_put(&b->env, p, strlen(p) + 1);
	if (r == PE_FULL) {
		(void)snprintf(err, err_len,
		    "found a value of more than %u bytes, wanted less",
		    ENV_VALUE_MAX);
		return PE_SYNTAX;
	}
	return r;
}

/* Trim each line and drop empty ones: what replacing may have left. */
static void
tidy(char *text)
{
	char *out = text, *line = text, *next = text, *end;

	while ((line = strsep(&next, "\n")) != NULL) {
		while (*line == ' ' || *line == '\t')
			line++;
		end = line + strlen(line);
		while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if (end == line)
			continue;
		if (out > text)
			*out++ = '\n';
		memmove(out, line, (size_t)(end - line));
		out += end - line;
	}
	*out = '\0';
}

/* The text of a value, ready to be read; in b's scratch. */
static int
value_text(struct conf_build *b, const struct conf_ini *ini,
    const struct conf_ini_item *item, char **ret_text, char *err,
    size_t err_len)
{
	const char *line;
	char *bigger;
	size_t len;
	int r;

	if (b->value_cap < item->value_len + 1U) {
		bigger = realloc(b->value, item->value_len + 1U);
		if (bigger == NULL)
			return -ENOMEM;
		b->value = bigger;
		b->value_cap = item->value_len + 1U;
	}
	(void)conf_ini_value(ini, item, b->value);
	*ret_text = b->value;
	if (b->src->env == NULL)
		return 0;
	if (strstr(b->value, "${") != NULL) {
		r = replace_env(b, b->value, err, err_len);
		if (r < 0)
			return r;
		*ret_text = (char *)buf_data(&b->env);
		tidy(*ret_text);
	}
	for (line = *ret_text;; line += len + 1) {
		len = strcspn(line, "\n");
		if (len > VALUE_LINE_MAX) {
			(void)snprintf(err, err_len,
			    "found a value line of %zu bytes, wanted at most "
			    "%u (lists may go on over indented lines)",
			    len, VALUE_LINE_MAX);
			return PE_SYNTAX;
		}
		if (line[len] == '\0')
			return 0;
	}
}

/* ---- one section --------------------------------------------------------- */

/* Hint for a key that this section does not have. */
static void
unknown_key(struct conf_where *w, const struct conf_doc *doc,
    const struct conf_ini_item *item)
{
	const char *names[CONF_KEYS_MAX], *text = doc->ini.text;
	char word[65], hint[128], quoted[100];
	const struct conf_section *other;
	size_t i;

	for (i = 0; i < w->schema->n_keys; i++)
		names[i] = w->schema->keys[i].name;
	(void)snprintf(word, sizeof(word), "%.*s", (int)item->name_len,
	    text + item->name_off);
	conf_hint(word, names, w->schema->n_keys, hint, sizeof(hint));
	for (i = 0; hint[0] == '\0' && i < CONF_S_COUNT; i++) {
		other = &conf_schema[i];
		if (conf_key_find(other, word, strlen(word)) >= 0)
			(void)snprintf(hint, sizeof(hint),
			    "; [%s] of %s has one", other->title,
			    conf_table_file[other->table]);
	}
	conf_build_error(w->b, doc->name, item->line, item->column, false,
	    "unknown key '%s' in [%s]%s",
	    log_quote(quoted, sizeof(quoted), word), w->schema->title, hint);
}

/* One key of the section into base. */
static int
read_key(struct conf_where *w, const struct conf_doc *doc,
    const struct conf_ini_item *item, void *base)
{
	struct conf_build *b = w->b;
	const struct conf_key *key;
	const struct conf_log *log;
	char err[600], path[1100], *text;
	const char *const *at;
	int i, r;

	i = conf_key_find(
	    w->schema, doc->ini.text + item->name_off, item->name_len);
	if (i < 0) {
		unknown_key(w, doc, item);
		return 0;
	}
	key = &w->schema->keys[i];
	if (w->at[i] != NULL) {
		conf_build_error(b, doc->name, item->line, item->column, false,
		    "found '%s' a second time, wanted it once (first in line "
		    "%u)",
		    key->name, w->at[i]->line);
		return 0;
	}
	w->at[i] = item;
	w->given |= 1U << i;
	r = value_text(b, &doc->ini, item, &text, err, sizeof(err));
	if (r == 0)
		r = conf_value_parse(
		    b->conf, key, text, b->src->dir, base, err, sizeof(err));
	if (r == PE_SYNTAX) {
		w->bad |= 1U << i;
		conf_build_error(b, doc->name, item->line,
		    value_column(&doc->ini, item), false, "%s", err);
		return 0;
	}
	if (r < 0 || !b->conf->store->keep_text)
		return r;
	/* the reader scribbled on the text, so take it afresh; paths were made
	 * absolute, and a child has no directory to start from; none given is
	 * none, and not the default */
	at = (const char *const *)(const void *)((const char *)base +
	    key->offset);
	if (key->type == CONF_V_PATH)
		return conf_where_emit(w, key->name,
		    *at == NULL
			? ""
			: conf_value_format(key, base, path, sizeof(path)));
	log = base;
	if (key->type == CONF_V_TARGET && log->path != NULL) {
		(void)snprintf(path, sizeof(path), "file:%s", log->path);
		return conf_where_emit(w, key->name, path);
	}
	r = value_text(b, &doc->ini, item, &text, err, sizeof(err));
	return r < 0 ? r : conf_where_emit(w, key->name, text);
}

/* A section, or the defaults of one that no file has, into the set. */
static int
take_section(
    struct conf_build *b, enum conf_section_id id, const struct conf_sect *sect)
{
	struct conf_where w = {
		.b = b, .id = id, .schema = &conf_schema[id], .sect = sect
	};
	const struct conf_doc *doc;
	uint32_t i;
	int r;

	memcpy(b->room, b->proto[id], w.schema->size);
	r = emit_header(&w);
	if (sect != NULL) {
		doc = &b->docs[sect->doc];
		for (i = sect->item + 1; r == 0 && i < sect->end; i++)
			r = read_key(&w, doc, &doc->ini.v[i], b->room);
	}
	return r < 0 ? r : conf_take(&w, b->room);
}

/* ---- headers ------------------------------------------------------------- */

bool
conf_name_ok(const char *name)
{
	size_t n = strspn(name,
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	    "._-");

	return n > 0 && n <= 63 && name[n] == '\0';
}

/* [kind] or [kind NAME]: which section is it? false when told. */
static bool
header_by_kind(struct conf_build *b, const struct conf_doc *doc,
    const struct conf_ini_item *item, enum conf_table table,
    enum conf_section_id *ret_id, char *name, size_t name_len)
{
	const char *text = doc->ini.text + item->name_off;
	const char *kinds[CONF_S_COUNT];
	char word[65], hint[128], quoted[100];
	size_t len = 0, n = 0, i, rest;

	while (len < item->name_len && text[len] != ' ' && text[len] != '\t')
		len++;
	(void)snprintf(word, sizeof(word), "%.*s", (int)len, text);
	for (i = 0; i < CONF_S_COUNT; i++) {
		if (conf_schema[i].kind == NULL)
			continue;
		if (strcmp(conf_schema[i].kind, word) == 0)
			break;
		if (conf_schema[i].table == table)
			kinds[n++] = conf_schema[i].kind;
	}
	if (i == CONF_S_COUNT) {
		conf_build_error(b, doc->name, item->line, item->column, false,
		    "unknown section '%s'%s",
		    log_quote(quoted, sizeof(quoted), word),
		    conf_hint(word, kinds, n, hint, sizeof(hint)));
		return false;
	}
	if (conf_schema[i].table != table) {
		conf_build_error(b, doc->name, item->line, item->column, false,
		    "found [%s], wanted it in %s", conf_schema[i].title,
		    conf_table_file[conf_schema[i].table]);
		return false;
	}
	for (rest = len;
	     rest < item->name_len && (text[rest] == ' ' || text[rest] == '\t');
	     rest++)
		;
	(void)snprintf(
	    name, name_len, "%.*s", (int)(item->name_len - rest), text + rest);
	if (conf_schema[i].named ? !conf_name_ok(name) : name[0] != '\0') {
		conf_build_error(b, doc->name, item->line, item->column, false,
		    "found [%s%s%s], wanted [%s]%s", word,
		    name[0] != '\0' ? " " : "",
		    log_quote(quoted, sizeof(quoted), name),
		    conf_schema[i].title,
		    conf_schema[i].named
			? " with a name of letters, digits, '.', '_' and '-'"
			: "");
		return false;
	}
	*ret_id = (enum conf_section_id)i;
	return true;
}

/* [domain] and what is like it. false when told. */
static bool
header_by_domain(struct conf_build *b, const struct conf_doc *doc,
    const struct conf_ini_item *item, enum conf_table table,
    enum conf_section_id *ret_id, char *name)
{
	const char *text = doc->ini.text + item->name_off;
	size_t len = item->name_len;
	char why[160], quoted[100];
	bool dest = table == CONF_T_DESTINATIONS;

	*ret_id = dest ? CONF_S_DESTINATION : CONF_S_ROUTE;
	name[0] = '\0';
	if (dest && len == 7 && strncasecmp(text, "DEFAULT", 7) == 0) {
		*ret_id = CONF_S_DEFAULT;
		return true;
	}
	if (!dest && len == 3 && strncasecmp(text, "ALL", 3) == 0) {
		memcpy(name, "ALL", 4);
		return true;
	}
	if (conf_dest_name(text, len, dest, name, why, sizeof(why)))
		return true;
	conf_build_error(b, doc->name, item->line, item->column, false,
	    "found [%s], wanted %s",
	    log_quote_bytes(quoted, sizeof(quoted), text, len), why);
	return false;
}

/* Note a section for later; refuse a second one of its name. */
static int
note_section(struct conf_build *b, uint32_t doc_no, uint32_t from, uint32_t end,
    enum conf_table table)
{
	const struct conf_doc *doc = &b->docs[doc_no], *first_doc;
	const struct conf_ini_item *item = &doc->ini.v[from];
	enum conf_section_id id;
	struct conf_sect *v;
	char name[300], *key;
	uint32_t first;
	size_t len;
	int r;

	if (conf_schema[CONF_S_DESTINATION].table == table ||
	    conf_schema[CONF_S_ROUTE].table == table) {
		if (!header_by_domain(b, doc, item, table, &id, name))
			return 0;
	} else if (!header_by_kind(
		       b, doc, item, table, &id, name, sizeof(name))) {
		return 0;
	}
	/* the id before the name makes the key of the duplicate check */
	len = strlen(name);
	key = conf_alloc(b->conf, len + 2);
	if (key == NULL)
		return -ENOMEM;
	key[0] = (char)id;
	memcpy(key + 1, name, len);
	r = conf_map_put(&b->seen, key, len + 1, (uint32_t)b->n_sects, &first);
	if (r == 1) {
		first_doc = &b->docs[b->sects[first].doc];
		conf_build_error(b, doc->name, item->line, item->column, false,
		    "found [%s%s%s] a second time, wanted it once (first in "
		    "%s line %u)",
		    conf_schema[id].kind != NULL ? conf_schema[id].kind : name,
		    conf_schema[id].kind != NULL && len > 0 ? " " : "",
		    conf_schema[id].kind != NULL ? name : "", first_doc->name,
		    first_doc->ini.v[b->sects[first].item].line);
		return 0;
	}
	if (r < 0)
		return r;
	if (b->n_sects == b->sects_cap) {
		b->sects_cap = b->sects_cap == 0 ? 64 : b->sects_cap * 2;
		v = reallocarray(b->sects, b->sects_cap, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		b->sects = v;
	}
	b->sects[b->n_sects++] =
	    (struct conf_sect){ doc_no, from, end, id, key + 1 };
	return 0;
}

/* ---- files --------------------------------------------------------------- */

struct ini_errors {
	struct conf_build *b;
	const char *file;
};

static void
on_ini_error(void *arg, uint32_t line, uint32_t column, const char *text)
{
	struct ini_errors *e = arg;

	conf_build_error(e->b, e->file, line, column, false, "%s", text);
}

/* The includes that are being read, innermost first. */
struct chain {
	const struct chain *up;
	const char *name;
	unsigned depth;
};

static int read_doc(struct conf_build *b, const char *name,
    enum conf_table table, const struct chain *up, const struct conf_where *at);

/* include = FILE[, FILE] in the head of a file. */
static int
read_include(struct conf_build *b, uint32_t doc_no,
    const struct conf_ini_item *item, enum conf_table table,
    const struct chain *chain)
{
	const struct chain *c;
	char err[400], quoted[100], *text, *next, *copy, *name;
	uint32_t column = value_column(&b->docs[doc_no].ini, item);
	int r;

	r = value_text(b, &b->docs[doc_no].ini, item, &text, err, sizeof(err));
	if (r == PE_SYNTAX) {
		conf_build_error(b, b->docs[doc_no].name, item->line, column,
		    false, "%s", err);
		return 0;
	}
	/* reading the file uses the scratch again */
	copy = r < 0 ? NULL : conf_strndup(b->conf, text, strlen(text));
	if (copy == NULL)
		return -ENOMEM;
	next = copy;
	while ((name = strsep(&next, ",")) != NULL) {
		tidy(name);
		for (c = chain; c != NULL && strcmp(c->name, name) != 0;)
			c = c->up;
		log_quote(quoted, sizeof(quoted), name);
		err[0] = '\0';
		if (name[0] == '\0')
			(void)snprintf(
			    err, sizeof(err), "found no name, wanted a file");
		else if (c != NULL)
			(void)snprintf(err, sizeof(err),
			    "found '%s', which includes this file, wanted no "
			    "circle",
			    quoted);
		else if (chain->depth >= INCLUDE_DEPTH)
			(void)snprintf(err, sizeof(err),
			    "found '%s' %u files deep, wanted at most %u",
			    quoted, chain->depth + 1, INCLUDE_DEPTH);
		else if (table != CONF_T_POSTERN && strchr(name, '/') != NULL)
			/* tables are written by admin: they name no paths */
			(void)snprintf(err, sizeof(err),
			    "found '%s', wanted a file name without '/' (only "
			    "postern.conf may name a path)",
			    quoted);
		if (err[0] != '\0') {
			conf_build_error(b, b->docs[doc_no].name, item->line,
			    column, false, "include: %s", err);
			continue;
		}
		r = read_doc(b, name, table, chain,
		    &(struct conf_where){ .b = b,
			.sect = &(struct conf_sect){ .doc = doc_no },
			.at = { item } });
		if (r < 0)
			return r;
	}
	return 0;
}

/* What stands before the first section. */
static int
read_head(struct conf_build *b, uint32_t doc_no, uint32_t end,
    enum conf_table table, const struct chain *chain)
{
	const struct conf_ini_item *item;
	const struct conf_doc *doc;
	char quoted[100];
	uint32_t i;
	int r;

	for (i = 0; i < end; i++) {
		doc = &b->docs[doc_no];
		item = &doc->ini.v[i];
		if (item->name_len == 7 &&
		    memcmp(doc->ini.text + item->name_off, "include", 7) == 0) {
			r = read_include(b, doc_no, item, table, chain);
			if (r < 0)
				return r;
			continue;
		}
		conf_build_error(b, doc->name, item->line, item->column, false,
		    "found key '%s' before the first [section], wanted only "
		    "include = FILE there",
		    log_quote_bytes(quoted, sizeof(quoted),
			doc->ini.text + item->name_off, item->name_len));
	}
	return 0;
}

/* Tell why a file could not be read: at its include, or as a whole. */
static int
unreadable(struct conf_build *b, const char *name, int error,
    const struct conf_where *at)
{
	const struct conf_doc *doc;

	if (error == -ENOMEM)
		return error;
	if (at == NULL) {
		conf_build_error(
		    b, name, 0, 0, false, "cannot read: %s", err_str(error));
		return 0;
	}
	doc = &b->docs[at->sect->doc];
	conf_build_error(b, doc->name, at->at[0]->line,
	    value_column(&doc->ini, at->at[0]), false,
	    "include: cannot read '%s': %s", name, err_str(error));
	return 0;
}

/* A file, its includes first. at: the include that wants it, or NULL. */
static int
read_doc(struct conf_build *b, const char *name, enum conf_table table,
    const struct chain *up, const struct conf_where *at)
{
	struct chain chain = { up, name, up == NULL ? 0 : up->depth + 1 };
	struct ini_errors ie = { b, name };
	struct conf_doc *doc, *docs;
	uint32_t doc_no = (uint32_t)b->n_docs, i, from, n, first;
	uint8_t *data = NULL;
	size_t len = 0;
	int r;

	if (b->n_docs >= DOCS_MAX)
		return unreadable(b, name, PE_FULL, at);
	r = b->src->read(b->src->arg, name,
	    b->src->env != NULL ? TABLE_MAX : CONF_INI_FILE_MAX, &data, &len);
	if (r == -ENOENT && at == NULL && table != CONF_T_POSTERN)
		return 0; /* a missing table is an empty one */
	if (r < 0)
		return unreadable(b, name, r, at);
	docs = reallocarray(b->docs, b->n_docs + 1, sizeof(*docs));
	if (docs == NULL) {
		free(data);
		return -ENOMEM;
	}
	b->docs = docs;
	doc = &docs[b->n_docs++];
	memset(doc, 0, sizeof(*doc));
	doc->text = (char *)data;
	doc->name = strdup(name);
	if (doc->name == NULL)
		return -ENOMEM;
	b->total[table] += len;
	if (b->src->env != NULL && b->total[table] > TABLE_MAX)
		return unreadable(b, name, -EFBIG, at);
	r = conf_ini_parse(doc->text, len, on_ini_error, &ie, &doc->ini);
	if (r < 0)
		return r;
	n = (uint32_t)doc->ini.n;
	for (first = 0; first < n && !doc->ini.v[first].section; first++)
		;
	r = read_head(b, doc_no, first, table, &chain);
	for (from = first; r == 0 && from < n; from = i) {
		/* b->docs may have moved: an include grows it */
		for (i = from + 1; i < n && !b->docs[doc_no].ini.v[i].section;)
			i++;
		r = note_section(b, doc_no, from, i, table);
	}
	return r;
}

/* ---- the whole ----------------------------------------------------------- */

/* One struct of each kind with all defaults, to start sections from. */
static int
make_protos(struct conf_build *b)
{
	const struct conf_key *key;
	char err[600], text[128];
	size_t id, i, room = 0;
	int r;

	for (id = 0; id < CONF_S_COUNT; id++) {
		b->proto[id] = calloc(1, conf_schema[id].size);
		if (b->proto[id] == NULL)
			return -ENOMEM;
		if (conf_schema[id].size > room)
			room = conf_schema[id].size;
		for (i = 0; i < conf_schema[id].n_keys; i++) {
			key = &conf_schema[id].keys[i];
			if (key->def == NULL)
				continue;
			(void)snprintf(text, sizeof(text), "%s", key->def);
			r = conf_value_parse(b->conf, key, text, NULL,
			    b->proto[id], err, sizeof(err));
			if (r == -ENOMEM)
				return r;
			assert(r == 0); /* a row of our table is wrong */
		}
	}
	b->room = malloc(room);
	return b->room == NULL ? -ENOMEM : 0;
}

static int
take_sections(struct conf_build *b)
{
	bool any;
	size_t id, i;
	int r;

	for (id = 0; id < CONF_S_COUNT; id++) {
		r = conf_take_before(b, (enum conf_section_id)id);
		any = false;
		for (i = 0; r == 0 && i < b->n_sects; i++) {
			if (b->sects[i].id != id)
				continue;
			any = true;
			r = take_section(
			    b, (enum conf_section_id)id, &b->sects[i]);
		}
		if (r == 0 && !any && !conf_schema[id].named)
			r = take_section(b, (enum conf_section_id)id, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

static void
build_done(struct conf_build *b)
{
	size_t i;

	for (i = 0; i < b->n_docs; i++) {
		conf_ini_done(&b->docs[i].ini);
		free(b->docs[i].text);
		free(b->docs[i].name);
	}
	free(b->docs);
	free(b->sects);
	free(b->listens);
	for (i = 0; i < CONF_S_COUNT; i++)
		free(b->proto[i]);
	free(b->room);
	free(b->value);
	buf_done(&b->env);
	conf_map_done(&b->seen);
}

int
conf_load(const struct conf_source *src, struct conf_errors *errs,
    struct conf **ret_conf)
{
	struct conf_build b = { .src = src, .errs = errs };
	size_t i;
	int r = -ENOMEM;

	buf_init(&b.env, ENV_VALUE_MAX);
	b.conf = conf_new();
	if (b.conf == NULL)
		goto out;
	b.conf->store->keep_text = src->named_files;
	if (src->dir != NULL) {
		b.conf->dir = conf_strndup(b.conf, src->dir, strlen(src->dir));
		if (b.conf->dir == NULL)
			goto out;
	}
	r = make_protos(&b);
	for (i = 0; r == 0 && i < CONF_T_COUNT; i++)
		r = read_doc(
		    &b, conf_table_file[i], (enum conf_table)i, NULL, NULL);
	if (r == 0)
		r = take_sections(&b);
	if (r < 0)
		goto out;
	conf_take_end(&b);
	conf_errors_finish(errs);
	if (errs->errors > 0) {
		r = PE_CONFIG;
		goto out;
	}
	*ret_conf = b.conf;
	b.conf = NULL; /* the caller's now */
out:
	build_done(&b);
	conf_unref(b.conf);
	return r;
}
