/*
 * status.h - the enhanced status code "class.subject.detail" as a value.
 *
 * Used wherever replies are read or written. Sources: RFC 3463 section 2,
 * RFC 2034 section 4.
 */
#ifndef POSTERN_SMTP_STATUS_H
#define POSTERN_SMTP_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SMTP_STATUS_TEXT = 10 }; /* "5.999.999" with its terminator */

/* cls 0 means "none". All zero is none. */
struct smtp_status {
	uint8_t cls;	  /* 2, 4 or 5 */
	uint16_t subject; /* 0..999 */
	uint16_t detail;  /* 0..999 */
};

/* For tables: SMTP_STATUS(5, 1, 1). */
#define SMTP_STATUS(c, s, d) ((struct smtp_status){ (c), (s), (d) })

static inline bool
smtp_status_is_set(struct smtp_status st)
{
	return st.cls != 0;
}

static inline bool
smtp_status_equal(struct smtp_status a, struct smtp_status b)
{
	return a.cls == b.cls && a.subject == b.subject && a.detail == b.detail;
}

/*
 * Read a status code at the start of text[0..len): one of 2, 4, 5, then two
 * numbers of 1 to 3 digits without leading zeros (RFC 3463, 2), and after it
 * the end or a space or tab. Returns its length in bytes, or 0 when there is
 * none (*ret_status is then "none").
 */
size_t smtp_status_parse(
    const char *text, size_t len, struct smtp_status *ret_status);

/* As text into buf, "" for none. Returns buf. */
const char *smtp_status_format(
    struct smtp_status st, char buf[SMTP_STATUS_TEXT]);

#endif
