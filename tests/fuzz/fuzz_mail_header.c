/*
 * fuzz_mail_header.c - header fields. Holds: the watcher and the walker see the
 * same header, however it is cut; fields lie side by side and cover it; our
 * Received field is one field whatever text goes into it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/buf.h"
#include "lib/mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int good)
{
	if (!good)
		abort();
}

static void
scan(struct mail_scan *s, const uint8_t *data, size_t size, size_t step)
{
	size_t at, n;

	mail_scan_init(s);
	for (at = 0; at < size; at += n) {
		n = size - at < step ? size - at : step;
		mail_scan(s, data + at, n);
	}
	mail_scan_end(s);
}

/* The first field of this name says the same in both. */
static void
check_value(
    const struct mail_field *f, const char *name, bool *seen, const char *got)
{
	char value[2 * MAIL_CAPTURE];

	if (!mail_field_is(f, name) || *seen)
		return;
	*seen = true;
	/* where both were cut they may differ in a space */
	if (mail_field_unfold(f, value, sizeof(value)) < MAIL_CAPTURE)
		check(strcmp(value, got) == 0);
}

static void
check_received(const uint8_t *data, size_t size)
{
	struct mail_received rc = { .esmtp = true, .tls = true };
	struct mail_walk w;
	struct mail_field f;
	struct buf b;
	const char *line, *lf;
	char *text = malloc(size + 1);

	if (text == NULL)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	rc.helo = rc.client_name = rc.client_ip = rc.by = text;
	rc.tls_text = rc.id = rc.rcpt = text;
	rc.utf8 = size > 0 && (data[size - 1] & 1);
	buf_init(&b, 1 << 16);
	check(mail_received_format(&b, &rc) == 0);
	mail_walk_init(&w, buf_data(&b), buf_len(&b));
	check(mail_walk_next(&w, &f) == 1);
	check(f.raw_len == buf_len(&b) && mail_field_is(&f, "Received"));
	line = (const char *)buf_data(&b);
	while (
	    (lf = memchr(line, '\n',
		 (size_t)((const char *)buf_data(&b) + buf_len(&b) - line))) !=
	    NULL) {
		check(lf > line && lf[-1] == '\r' && lf - line <= 999);
		line = lf + 1;
	}
	buf_done(&b);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mail_scan whole, parts;
	struct mail_walk w;
	struct mail_field f;
	bool subject = false, message_id = false, from = false;
	unsigned received = 0, tls = 0;
	size_t at = 0;

	if (size > 65536)
		return 0;
	scan(&whole, data, size, size + 1);
	scan(&parts, data, size, size % 7 + 1);
	check(memcmp(&whole, &parts, sizeof(whole)) == 0);
	check(whole.len == size && whole.done);

	mail_walk_init(&w, data, size);
	while (mail_walk_next(&w, &f) == 1) {
		check(f.raw == (const char *)data + at && f.raw_len > 0);
		check(f.name == f.raw && f.name_len > 0 &&
		    f.name_len < f.raw_len);
		check(f.value > f.name &&
		    f.value + f.value_len <= f.raw + f.raw_len);
		at += f.raw_len;
		received += mail_field_is(&f, "Received");
		tls += mail_field_is(&f, "TLS-Required");
		check_value(&f, "Subject", &subject, whole.subject);
		check_value(&f, "Message-ID", &message_id, whole.message_id);
		check_value(&f, "From", &from, whole.from);
	}
	check(w.at == whole.header_len);
	check(received == whole.received);
	check(subject == whole.has_subject && from == whole.has_from &&
	    message_id == whole.has_message_id);
	check(!whole.tls_required_no || tls == 1);
	check_received(data, size);
	return 0;
}
