/*
 * fuzz_smtp_ehlo.c - EHLO replies. Holds: what was read, written as our own
 * reply, reads the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int good)
{
	if (!good)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct smtp_reply r;
	struct smtp_ehlo e, back;
	struct buf b;
	ssize_t got;

	got = smtp_reply_parse(data, size, &r);
	if (got <= 0)
		return 0;
	if (smtp_ehlo_parse(&r, &e) < 0) {
		check(r.code / 100 != 2 && e.ext == 0);
		return 0;
	}
	check(strlen(e.host) <= SMTP_EHLO_HOST_MAX);
	check(strlen(e.auth) <= SMTP_EHLO_AUTH_MAX);
	check(e.size == 0 || (e.ext & SMTP_EXT_SIZE));
	check(e.auth[0] == '\0' || (e.ext & SMTP_EXT_AUTH));
	check(e.mailmax <= 999999 && e.rcptmax <= 999999 &&
	    e.rcptdomainmax <= 999999);
	buf_init(&b, 1 << 16);
	check(smtp_ehlo_format(&b, &e) == 0);
	got = smtp_reply_parse(buf_data(&b), buf_len(&b), &r);
	check(got == (ssize_t)buf_len(&b));
	check(smtp_ehlo_parse(&r, &back) == 0);
	check(strcmp(back.host, e.host) == 0);
	check(back.size == e.size && back.mailmax == e.mailmax &&
	    back.rcptmax == e.rcptmax && back.rcptdomainmax == e.rcptdomainmax);
	/* a list too long for a line of ours is cut into two */
	if (strlen(e.auth) < 480)
		check(strcmp(back.auth, e.auth) == 0);
	/* what says nothing is not written */
	if (e.auth[0] == '\0')
		e.ext &= ~(uint32_t)SMTP_EXT_AUTH;
	if (e.mailmax == 0 && e.rcptmax == 0 && e.rcptdomainmax == 0)
		e.ext &= ~(uint32_t)SMTP_EXT_LIMITS;
	check(back.ext == e.ext);
	buf_done(&b);
	return 0;
}
