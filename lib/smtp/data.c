/*
 * data.c - the body of a message on the wire: check, unstuff, stuff.
 *
 * Called by the sessions of intake and delivery, by tests and the fuzzer.
 * Never does I/O and never copies the body. Sources: RFC 5321 2.3.8, 4.1.1.4,
 * 4.5.2, 4.5.3.1.6; RFC 3030 section 2.
 */
#include "lib/smtp/data.h"
#include "lib/mail/utf8.h"

#include <assert.h>
#include <string.h>

static const char crlf[] = "\r\n";
static const char dot[] = ".";

/* ---- looking ---- */

void
smtp_body_scan_init(struct smtp_body_scan *s)
{
	memset(s, 0, sizeof(*s));
	s->bol = true;
}

static void
scan_line_done(struct smtp_body_scan *s)
{
	if (s->line_len > s->line_max)
		s->line_max = s->line_len;
	if (s->line_len > SMTP_TEXT_LINE_MAX)
		s->seen |= SMTP_DATA_LONG_LINE;
}

/* Bytes without LF; a CR may stand at the very end only if cr_ok. */
static void
scan_text(struct smtp_body_scan *s, const char *p, size_t len, bool cr_ok)
{
	const char *cr;

	if (len == 0)
		return;
	if (s->cr) {
		s->seen |= SMTP_DATA_BARE_CR;
		s->line_len++; /* it was text after all */
		s->cr = false;
	}
	cr = memchr(p, '\r', len);
	if (cr != NULL) {
		if (!cr_ok || (size_t)(cr - p) + 1 < len)
			s->seen |= SMTP_DATA_BARE_CR;
	}
	s->cr = p[len - 1] == '\r';
	s->line_len += len - s->cr;
	if (s->line_len > SMTP_TEXT_LINE_MAX)
		s->seen |= SMTP_DATA_LONG_LINE;
	s->bol = false;
}

void
smtp_body_scan(struct smtp_body_scan *s, const void *data, size_t len)
{
	const char *p = data, *lf;
	size_t n;

	if (len == 0)
		return;
	s->len += len;
	if ((s->seen & SMTP_DATA_8BIT) == 0 && utf8_has_8bit(p, len))
		s->seen |= SMTP_DATA_8BIT;
	if ((s->seen & SMTP_DATA_NUL) == 0 && memchr(p, '\0', len) != NULL)
		s->seen |= SMTP_DATA_NUL;
	while (len > 0) {
		lf = memchr(p, '\n', len);
		n = lf == NULL ? len : (size_t)(lf - p);
		scan_text(s, p, n, true);
		if (lf == NULL)
			return;
		if (!s->cr)
			s->seen |= SMTP_DATA_BARE_LF;
		scan_line_done(s);
		s->cr = false;
		s->bol = true;
		s->line_len = 0;
		p += n + 1;
		len -= n + 1;
	}
}

void
smtp_body_scan_end(struct smtp_body_scan *s)
{
	if (s->cr) {
		s->seen |= SMTP_DATA_BARE_CR;
		s->line_len++;
		s->cr = false;
	}
	scan_line_done(s);
}

/* ---- receiving ---- */

/*
 * Where in a line the decoder is. BOL means behind a true CRLF: after a bare
 * LF a dot is text like any other, or two machines would see two messages.
 */
enum dec_state {
	DEC_BOL,    /* at the beginning of a line */
	DEC_TEXT,   /* within a line */
	DEC_CR,	    /* within a line, the last byte was CR */
	DEC_DOT,    /* a dot began the line; it is not part of the body */
	DEC_DOT_CR, /* dot, CR: held back, it is the end if LF follows */
};

void
smtp_data_dec_init(struct smtp_data_dec *d)
{
	memset(d, 0, sizeof(*d));
	smtp_body_scan_init(&d->scan);
	d->state = DEC_BOL;
}

/* Add a slice, or lengthen the last one when it ends where this begins. */
static void
iov_add(struct iovec *iov, size_t *n, const void *p, size_t len)
{
	if (len == 0)
		return;
	if (*n > 0 &&
	    (const char *)iov[*n - 1].iov_base + iov[*n - 1].iov_len == p) {
		iov[*n - 1].iov_len += len;
		return;
	}
	/* iovec knows no const; the slices are only read */
	memcpy(&iov[*n].iov_base, &p, sizeof(p));
	iov[*n].iov_len = len;
	(*n)++;
}

/*
 * The bytes of in[0..len) up to and with the next CRLF, or all; sets the state
 * behind them. The first byte is at d->state TEXT or CR, or a BOL that is no
 * dot.
 */
static size_t
dec_text(struct smtp_data_dec *d, const char *in, size_t len)
{
	const char *lf;
	size_t at = 0;

	if (d->state == DEC_CR && in[0] == '\n') {
		d->state = DEC_BOL;
		return 1;
	}
	while (at < len && (lf = memchr(in + at, '\n', len - at)) != NULL) {
		at = (size_t)(lf - in) + 1;
		if (at >= 2 && in[at - 2] == '\r') {
			d->state = DEC_BOL;
			return at;
		}
	}
	d->state = in[len - 1] == '\r' ? DEC_CR : DEC_TEXT;
	return len;
}

size_t
smtp_data_dec(struct smtp_data_dec *d, const void *data, size_t len,
    struct iovec *iov, size_t iov_max, size_t *ret_n)
{
	const char *in = data;
	size_t at = 0, n = 0, used;

	assert(iov_max >= 2);
	while (at < len && !d->done) {
		if (n + 2 > iov_max)
			break; /* a step may add two slices */
		switch (d->state) {
		case DEC_BOL:
			if (in[at] == '.') {
				d->state = DEC_DOT;
				at++;
				continue;
			}
			break;
		case DEC_DOT:
			if (in[at] == '\r') {
				d->state = DEC_DOT_CR;
				at++;
				continue;
			}
			d->state = DEC_TEXT;
			break;
		case DEC_DOT_CR:
			if (in[at] == '\n') {
				d->done = true;
				at++;
				continue;
			}
			/* not the end: the CR was text, and bare */
			smtp_body_scan(&d->scan, crlf, 1);
			iov_add(iov, &n, crlf, 1);
			d->state = DEC_CR;
			break;
		default:
			break;
		}
		used = dec_text(d, in + at, len - at);
		smtp_body_scan(&d->scan, in + at, used);
		iov_add(iov, &n, in + at, used);
		at += used;
	}
	if (d->done)
		smtp_body_scan_end(&d->scan);
	*ret_n = n;
	return at;
}

/* ---- sending ---- */

void
smtp_data_enc_init(struct smtp_data_enc *e, bool stuff)
{
	memset(e, 0, sizeof(*e));
	e->stuff = stuff;
	e->bol = true;
}

static void
enc_add(struct smtp_data_enc *e, struct iovec *iov, size_t *n, const char *p,
    size_t len)
{
	iov_add(iov, n, p, len);
	e->out_len += len;
}

size_t
smtp_data_enc(struct smtp_data_enc *e, const void *data, size_t len,
    struct iovec *iov, size_t iov_max, size_t *ret_n)
{
	const char *in = data, *found;
	size_t at = 0, n = 0, used;
	size_t lf_at = 0; /* once known: the next LF from at on, or len */
	bool known = false;

	assert(iov_max >= 4);
	while (at < len) {
		if (n + 3 > iov_max)
			break; /* a step may add three: LF, dot, text */
		if (e->cr) {
			/* a line end began; whatever was meant, CRLF it is */
			e->cr = false;
			e->bol = true;
			if (in[at] == '\n') {
				enc_add(e, iov, &n, in + at, 1);
				e->body_len++;
				at++;
				continue;
			}
			enc_add(e, iov, &n, crlf + 1, 1);
			e->body_len++;
		}
		if (in[at] == '\r') {
			enc_add(e, iov, &n, in + at, 1);
			e->body_len++;
			e->cr = true;
			e->bol = false;
			at++;
			continue;
		}
		if (in[at] == '\n') {
			enc_add(e, iov, &n, crlf, 2);
			e->body_len += 2;
			e->bol = true;
			at++;
			continue;
		}
		if (e->stuff && e->bol && in[at] == '.')
			enc_add(e, iov, &n, dot, 1);
		if (!known || lf_at < at) {
			known = true;
			found = memchr(in + at, '\n', len - at);
			lf_at = found == NULL ? len : (size_t)(found - in);
		}
		found = memchr(in + at, '\r', lf_at - at);
		used = found == NULL ? lf_at - at : (size_t)(found - in) - at;
		enc_add(e, iov, &n, in + at, used);
		e->body_len += used;
		e->bol = false;
		at += used;
	}
	*ret_n = n;
	return at;
}

size_t
smtp_data_enc_end(struct smtp_data_enc *e, struct iovec iov[2])
{
	size_t n = 0;

	if (e->cr) {
		enc_add(e, iov, &n, crlf + 1, 1);
		e->body_len++;
		e->cr = false;
		e->bol = true;
	} else if (!e->bol) {
		enc_add(e, iov, &n, crlf, 2);
		e->body_len += 2;
		e->bol = true;
	}
	if (e->stuff)
		enc_add(e, iov, &n, ".\r\n", 3);
	return n;
}
