/*
 * A notice is made of text from everywhere: replies, addresses, the original.
 * Whatever they hold, no line may be bare, none may start a field or a part
 * that we did not write, and headers stay 7 bit where they must.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "queue/bounce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The next text of the input, up to a NUL. */
static const char *
take(const uint8_t **p, size_t *len, char *buf, size_t cap)
{
	size_t n = 0;

	while (*len > 0 && **p != '\0' && n + 1 < cap) {
		buf[n++] = (char)**p;
		(*p)++;
		(*len)--;
	}
	if (*len > 0) {
		(*p)++;
		(*len)--;
	}
	buf[n] = '\0';
	return buf;
}

/* What smtpd let through: no control bytes. */
static const char *
clean(char *text)
{
	char *p;

	for (p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '_';
	return text;
}

/* Without an original, every byte is ours to answer for. */
static void
check(const struct buf *b, const struct bounce_out *out)
{
	const uint8_t *p = buf_data(b);
	size_t i, len = buf_len(b), n = 0;

	for (i = 0; i < len; i++) {
		if (p[i] == '\n' && (i == 0 || p[i - 1] != '\r'))
			abort();
		if (p[i] == '\r' && (i + 1 == len || p[i + 1] != '\n'))
			abort();
		if (p[i] == '\0' || (p[i] >= 0x80 && !out->utf8))
			abort();
		n = p[i] == '\n' ? 0 : n + 1;
		if (n > 4096)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static char status[64], reply[2048], host[300], address[600],
	    orcpt[2000], envid[2000], to[600];
	struct bounce_rcpt rc = { .reason = REASON_REMOTE_5XX };
	struct bounce b = { .hostname = "gw.example.net",
		.mid = 2,
		.now_s = 1700000000,
		.origin = 1,
		.arrival_s = 1699990000,
		.rcpts = &rc,
		.n_rcpts = 1 };
	struct bounce_out out;
	struct buf buf;

	if (len < 2)
		return 0;
	rc.action = (enum bounce_action)(data[0] % 3);
	rc.expired = data[0] & 8;
	rc.code = data[1] < 100 ? 0 : (uint16_t)(data[1] + 300);
	rc.last_s = rc.until_s = 1699999999;
	b.full = data[0] & 16;
	data += 2;
	len -= 2;
	rc.status = take(&data, &len, status, 16);
	rc.reply = take(&data, &len, reply, sizeof(reply));
	take(&data, &len, host, sizeof(host));
	rc.host = clean(host);
	take(&data, &len, address, sizeof(address));
	rc.address = clean(address);
	take(&data, &len, orcpt, sizeof(orcpt));
	rc.orcpt = clean(orcpt);
	take(&data, &len, envid, sizeof(envid));
	b.envid = clean(envid);
	take(&data, &len, to, sizeof(to));
	b.to = clean(to);
	b.original = data;
	b.original_len = len;
	buf_init(&buf, 1 << 20);
	(void)bounce_format(&buf, &b, &out);
	buf_reset(&buf, 1 << 20);
	b.original_len = 0;
	if (bounce_format(&buf, &b, &out) == 0)
		check(&buf, &out);
	buf_done(&buf);
	return 0;
}
