/*
 * status.c - enhanced status codes, text to value and back. Pure.
 * Sources: RFC 3463 section 2.
 */
#include "lib/smtp/status.h"

#include <stdio.h>

/* A number of 1 to 3 digits without leading zeros. Returns its digits. */
static size_t
take_number(const char *text, size_t len, uint16_t *ret_value)
{
	unsigned value = 0;
	size_t n = 0;

	while (n < len && n < 3 && text[n] >= '0' && text[n] <= '9')
		value = value * 10 + (unsigned)(text[n++] - '0');
	if (n == 0 || (n > 1 && text[0] == '0'))
		return 0;
	if (n < len && text[n] >= '0' && text[n] <= '9')
		return 0; /* a fourth digit */
	*ret_value = (uint16_t)value;
	return n;
}

size_t
smtp_status_parse(const char *text, size_t len, struct smtp_status *ret_status)
{
	struct smtp_status st = { 0, 0, 0 };
	size_t at = 2, n;

	*ret_status = st;
	if (len < 5 || text[1] != '.' ||
	    (text[0] != '2' && text[0] != '4' && text[0] != '5'))
		return 0;
	n = take_number(text + at, len - at, &st.subject);
	if (n == 0)
		return 0;
	at += n;
	if (at >= len || text[at] != '.')
		return 0;
	at++;
	n = take_number(text + at, len - at, &st.detail);
	if (n == 0)
		return 0;
	at += n;
	if (at < len && text[at] != ' ' && text[at] != '\t')
		return 0;
	st.cls = (uint8_t)(text[0] - '0');
	*ret_status = st;
	return at;
}

const char *
smtp_status_format(struct smtp_status st, char buf[SMTP_STATUS_TEXT])
{
	if (st.cls == 0)
		buf[0] = '\0';
	else
		(void)snprintf(buf, SMTP_STATUS_TEXT, "%u.%u.%u", st.cls % 10u,
		    st.subject % 1000u, st.detail % 1000u);
	return buf;
}
