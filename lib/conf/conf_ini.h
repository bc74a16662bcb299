/*
 * conf_ini.h - the INI text of a settings file, cut into sections and keys.
 *
 * Pure: bytes in, items with byte spans out. Knows no key and no meaning; the
 * spans let an editor replace one value and leave the rest of the file alone.
 */
#ifndef POSTERN_CONF_CONF_INI_H
#define POSTERN_CONF_CONF_INI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_INI_FILE_MAX  (128U << 20) /* bytes of one text */
#define CONF_INI_LINE_MAX  (64U << 10)	/* bytes of one line */
#define CONF_INI_VALUE_MAX (1U << 20)	/* bytes of one value, all its lines */

struct conf_ini_item {
	bool section;		       /* [name], else name = value */
	uint32_t line, column;	       /* of the name; from 1, in bytes */
	uint32_t name_off, name_len;   /* between the brackets, or the key */
	uint32_t value_off, value_len; /* with continuation lines, trimmed */
};

struct conf_ini {
	const char *text; /* borrowed; must outlive the items */
	size_t len;
	size_t n;
	struct conf_ini_item *v;
};

/* One problem; text is valid during the call. Reading goes on behind it. */
typedef void (*conf_ini_on_error)(
    void *arg, uint32_t line, uint32_t column, const char *text);

/*
 * Read text[0..len). Every problem is told to on_error and its line left out
 * of the items. Returns the number of problems, or -ENOMEM. *ret_ini is always
 * set and wants conf_ini_done().
 */
int conf_ini_parse(const char *text, size_t len, conf_ini_on_error on_error,
    void *arg, struct conf_ini *ret_ini);
void conf_ini_done(struct conf_ini *ini);

/*
 * The value of a key as one text: each of its lines trimmed, comment lines left
 * out, joined by '\n'. out holds at least item->value_len + 1 bytes and is
 * terminated. Returns the length.
 */
size_t conf_ini_value(
    const struct conf_ini *ini, const struct conf_ini_item *item, char *out);

/* Length of the UTF-8 sequence at p (RFC 3629), 0 when it is none. */
size_t conf_utf8_len(const uint8_t *p, size_t left);

#endif
