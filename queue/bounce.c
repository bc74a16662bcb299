/*
 * bounce.c - writes the notice. Never reads the store, never looks at a clock.
 * Text from outside is folded and escaped: it cannot start a field or a part.
 */
#include "queue/bounce.h"

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/mail/header.h"
#include "lib/proto/roles.h"
#include "lib/smtp/status.h"
#include "lib/smtp/xtext.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TYPE_CHARS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

enum { LINE = 76, WORD_MAX = 500, ADDR_BUF = 2048, REPLY_BUF = 4096 };

struct out {
	struct buf *b;
	int err;
};

static void
put(struct out *o, const char *text)
{
	if (o->err == 0)
		o->err = buf_puts(o->b, text);
}

static void
putn(struct out *o, const void *data, size_t len)
{
	if (o->err == 0)
		o->err = buf_put(o->b, data, len);
}

static void __attribute__((format(printf, 2, 3)))
putf(struct out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (o->err == 0)
		o->err = buf_vprintf(o->b, fmt, ap);
	va_end(ap);
}

static bool
is_ascii(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

/* Printable: may stand in a field of the report as it is. */
static bool
is_plain(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
			return false;
	return true;
}

/* ---- words ------------------------------------------------------------------------- */

const char *
bounce_reason_text(enum reason reason)
{
	switch (reason) {
	case REASON_DNS_INDETERMINATE:
		return "The name servers of the recipient's domain gave no "
		       "usable answer.";
	case REASON_TLSA_INDETERMINATE:
		return "It could not be found out whether the receiving "
		       "server wants DANE (TLSA lookup failed).";
	case REASON_DANE_REQUIRED:
		return "Secure delivery (DANE) is required, but the receiving "
		       "server publishes no usable DANE record.";
	case REASON_DANE_FAILED:
		return "The certificate of the receiving server does not "
		       "match its DANE record.";
	case REASON_STS_MX_MISMATCH:
		return "The receiving server is not one that the domain's "
		       "MTA-STS policy allows.";
	case REASON_STS_REQUIRED:
		return "An MTA-STS policy is required, but the domain has "
		       "none.";
	case REASON_STS_DISCOVERY_WAIT:
		return "The domain's MTA-STS policy could not be fetched yet.";
	case REASON_STARTTLS_MISSING:
		return "Encryption is required, but the receiving server does "
		       "not offer it.";
	case REASON_TLS_HANDSHAKE_FAILED:
		return "The encrypted connection to the receiving server could "
		       "not be set up.";
	case REASON_CERT_UNTRUSTED:
		return "The certificate of the receiving server is not from a "
		       "trusted authority.";
	case REASON_CERT_EXPIRED:
		return "The certificate of the receiving server has expired.";
	case REASON_CERT_NAME_MISMATCH:
		return "The certificate of the receiving server is for "
		       "another name.";
	case REASON_REQUIRETLS_MISSING:
		return "The message demands TLS on the whole way (REQUIRETLS), "
		       "which the receiving server does not support.";
	case REASON_HOST_DOWN:
		return "No server of the recipient's domain could be reached.";
	case REASON_NO_HOSTS:
		return "There is no server to deliver to.";
	case REASON_NULL_MX:
		return "The recipient's domain accepts no mail at all.";
	case REASON_NXDOMAIN:
		return "The recipient's domain does not exist.";
	case REASON_THROTTLED:
		return "Delivery to this domain is limited by our settings.";
	case REASON_SUSPENDED:
		return "Delivery to this domain is suspended by an operator.";
	case REASON_REMOTE_4XX:
		return "The receiving server asked to try again later.";
	case REASON_REMOTE_5XX:
		return "The receiving server refused the message.";
	case REASON_CONNECTION_LOST:
		return "The connection to the receiving server was lost.";
	case REASON_MAIL_LOOP:
		return "The recipient's domain points back to this system.";
	case REASON_CONTENT:
		return "The receiving server cannot take this kind of "
		       "message.";
	case REASON_PROTOCOL:
		return "The receiving server did not follow the protocol.";
	default:
		return "";
	}
}

/* DSN-20, DSN-31; expired: 4.4.7, or 4.7.5 when a TLS policy was in the way. */
const char *
bounce_status(const struct bounce_rcpt *rc, char buf[16])
{
	struct smtp_status st;
	const char *none = rc->action == BOUNCE_FAILED ? "5.0.0" : "4.0.0";

	if (rc->action == BOUNCE_FAILED && rc->expired)
		return reason_is_tls(rc->reason) ? "4.7.5" : "4.4.7";
	if (rc->action == BOUNCE_RELAYED)
		none = "2.0.0";
	if (smtp_status_parse(rc->status, strlen(rc->status), &st) == 0)
		return none;
	if ((rc->action == BOUNCE_RELAYED) != (st.cls == 2))
		return none;
	/* "550 4.2.1": what was done follows the reply's first digit, and the
	 * class must not contradict it (RFC 3464, 2.3.4; RFC 2034, 4) */
	if (rc->action == BOUNCE_FAILED)
		st.cls = 5;
	else if (rc->action == BOUNCE_DELAYED)
		st.cls = 4;
	return smtp_status_format(st, buf); /* SMTP_STATUS_TEXT is less */
}

static const char *
action_word(enum bounce_action a)
{
	return a == BOUNCE_FAILED ? "failed"
	    : a == BOUNCE_DELAYED ? "delayed"
				  : "relayed";
}

/* ---- header ---------------------------------------------------------------------------- */

static void
boundary(const struct bounce *b, char *buf, size_t len)
{
	(void)snprintf(buf, len, "=_%" PRIu64 ".%" PRId64 "/%s", b->mid,
	    b->now_s, "postern");
}

static size_t
count(const struct bounce *b, enum bounce_action a)
{
	size_t i, n = 0;

	for (i = 0; i < b->n_rcpts; i++)
		n += b->rcpts[i].action == a;
	return n;
}

static const char *
default_subject(const struct bounce *b)
{
	if (count(b, BOUNCE_FAILED) > 0)
		return "Delivery Status Notification (Failure)";
	if (count(b, BOUNCE_DELAYED) > 0)
		return "Delivery Status Notification (Delay)";
	return "Delivery Status Notification (Relayed)";
}

static void
put_header(
    struct out *o, const struct bounce *b, const char *bound, bool eight_bit)
{
	char date[40];

	/* DSN-14, 15, 32, 33 */
	putf(o, "Date: %s\r\n",
	    clock_format_rfc5322(b->now_s, date, sizeof(date)));
	putf(o, "From: Mail Delivery System <postmaster@%s>\r\n", b->hostname);
	putf(o, "To: <%s>\r\n", b->to);
	putf(o, "Subject: %s\r\n",
	    b->subject != NULL ? b->subject : default_subject(b));
	putf(o, "Message-ID: <%" PRIu64 ".%" PRId64 "@%s>\r\n", b->mid,
	    b->now_s, b->hostname);
	put(o,
	    "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n");
	putf(o, "\tboundary=\"%s\"\r\n", bound);
	/* a whole is at least what its parts are (RFC 2045, 6.4) */
	if (eight_bit)
		put(o, "Content-Transfer-Encoding: 8bit\r\n");
	put(o, "\r\n");
}

/* ---- the text for people ----------------------------------------------------------------- */

/* Length of the next word; endless ones are cut (RFC 5322, 2.1.1). */
static size_t
word(const char *text)
{
	size_t n = strcspn(text, " ");

	return n > WORD_MAX ? WORD_MAX : n;
}

/* A paragraph, wrapped at words. prefix stands before each line. */
static void
put_wrapped(struct out *o, const char *prefix, const char *text)
{
	size_t col = 0, n;

	while (*text != '\0') {
		n = word(text);
		if (col > 0 && col + 1 + n > LINE) {
			put(o, "\r\n");
			col = 0;
		}
		if (col == 0) {
			put(o, prefix);
			col = strlen(prefix);
		} else {
			put(o, " ");
			col++;
		}
		putn(o, text, n);
		col += n;
		text += n;
		text += strspn(text, " ");
	}
	if (col > 0)
		put(o, "\r\n");
}

/* A reply as one printable ASCII line: line ends become spaces (DSN-22). */
static const char *
printable(const char *text, char *buf, size_t len)
{
	size_t o = 0;

	for (; *text != '\0' && o + 5 < len; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '\r' || c == '\n' || c == '\t') {
			if (o > 0 && buf[o - 1] != ' ')
				buf[o++] = ' ';
		} else if (c < 0x20 || c >= 0x7f) {
			o += (size_t)snprintf(buf + o, len - o, "\\x%02x", c);
		} else {
			buf[o++] = (char)c;
		}
	}
	while (o > 0 && buf[o - 1] == ' ')
		o--;
	buf[o] = '\0';
	return buf;
}

/* An address in a text part that may have to be ASCII. */
static const char *
address_text(const char *address, bool utf8, char *buf, size_t len)
{
	if (utf8 || is_ascii(address))
		return address;
	if (smtp_utf8_addr_encode(address, strlen(address), true, buf, len) < 0)
		return "(address with unreadable characters)";
	return buf;
}

static void
put_text_rcpt(struct out *o, const struct bounce_rcpt *rc, bool utf8)
{
	char addr[ADDR_BUF], line[REPLY_BUF], text[REPLY_BUF + 512];
	const char *why = bounce_reason_text(rc->reason);
	char date[40], host[TEXT_DOMAIN_MAX + 1];

	putf(o, "  <%s>\r\n",
	    address_text(rc->address, utf8, addr, sizeof(addr)));
	if (rc->action == BOUNCE_RELAYED) {
		put_wrapped(o, "    ",
		    "Handed on to a system that does not send such "
		    "confirmations; no more will be told.");
		return;
	}
	if (rc->expired)
		put_wrapped(o, "    ",
		    "It could not be delivered in the time allowed.");
	put_wrapped(o, "    ", why);
	(void)printable(rc->reply, line, sizeof(line));
	(void)printable(rc->host, host, sizeof(host));
	if (rc->code != 0 && rc->host[0] != '\0') {
		(void)snprintf(
		    text, sizeof(text), "%s said: %u %s", host, rc->code, line);
		put_wrapped(o, "    ", text);
	} else if (rc->code != 0) {
		(void)snprintf(text, sizeof(text), "The server said: %u %s",
		    rc->code, line);
		put_wrapped(o, "    ", text);
	} else if (line[0] != '\0') {
		(void)snprintf(text, sizeof(text), "Details: %s", line);
		put_wrapped(o, "    ", text);
	}
	if (rc->action == BOUNCE_DELAYED && rc->until_s > 0) {
		(void)snprintf(text, sizeof(text),
		    "Delivery will be tried until %s.",
		    clock_format_rfc5322(rc->until_s, date, sizeof(date)));
		put_wrapped(o, "    ", text);
	}
}

static void
put_group(struct out *o, const struct bounce *b, enum bounce_action a,
    const char *intro, bool utf8)
{
	size_t i;

	if (count(b, a) == 0)
		return;
	put_wrapped(o, "", intro);
	put(o, "\r\n");
	for (i = 0; i < b->n_rcpts; i++) {
		if (b->rcpts[i].action != a)
			continue;
		put_text_rcpt(o, &b->rcpts[i], utf8);
		put(o, "\r\n");
	}
}

/* The operator's own text, its line ends made CRLF. */
static void
put_intro(struct out *o, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			put(o, "\r\n");
		else if (*text != '\r')
			putn(o, text, 1);
	}
	put(o, "\r\n\r\n");
}

static void
put_text(struct out *o, const struct bounce *b, const char *bound, bool utf8)
{
	char date[40];

	putf(o, "--%s\r\nContent-Type: text/plain; charset=%s\r\n", bound,
	    utf8 ? "utf-8" : "us-ascii");
	putf(
	    o, "Content-Transfer-Encoding: %s\r\n\r\n", utf8 ? "8bit" : "7bit");
	putf(o, "This is the mail system at %s.\r\n\r\n", b->hostname);
	if (b->intro != NULL)
		put_intro(o, b->intro);
	put_group(o, b, BOUNCE_FAILED,
	    "Your message could not be delivered to these recipients. It will "
	    "not be tried again:",
	    utf8);
	put_group(o, b, BOUNCE_DELAYED,
	    "Your message has not been delivered to these recipients yet. You "
	    "do not need to send it again:",
	    utf8);
	put_group(o, b, BOUNCE_RELAYED,
	    "Your message was handed on for these recipients:", utf8);
	putf(o, "The message was received on %s as number %" PRIu64 ".\r\n",
	    clock_format_rfc5322(b->arrival_s, date, sizeof(date)), b->origin);
	put(o,
	    b->full ? "A copy of it is attached.\r\n\r\n"
		    : "Its header is attached.\r\n\r\n");
}

/* ---- the report for machines ----------------------------------------------------------------- */

/* A field value of any length, folded at spaces (DSN-22). */
static void
put_folded(struct out *o, const char *name, const char *value)
{
	size_t col = strlen(name) + 2, n;
	bool first = true;

	putf(o, "%s: ", name);
	while (*value != '\0') {
		n = word(value);
		if (!first && col + 1 + n > LINE) {
			put(o, "\r\n    ");
			col = 4;
		} else if (!first) {
			put(o, " ");
			col++;
		}
		putn(o, value, n);
		col += n;
		value += n;
		value += strspn(value, " ");
		first = false;
	}
	put(o, "\r\n");
}

/* Final-Recipient: exact case; other scripts as RFC 6533, 3 has it. */
static void
put_address(struct out *o, const char *field, const char *address, bool utf8)
{
	char enc[ADDR_BUF];

	if (is_ascii(address)) {
		putf(o, "%s: rfc822; %s\r\n", field, address);
		return;
	}
	if (smtp_utf8_addr_encode(
		address, strlen(address), !utf8, enc, sizeof(enc)) < 0)
		(void)snprintf(enc, sizeof(enc), "%s", "unknown");
	putf(o, "%s: utf-8; %s\r\n", field, enc);
}

/* "type;xtext", decoded (DSN-19). What does not decode is left out. */
static void
put_orcpt(struct out *o, const char *orcpt, bool utf8)
{
	const char *semi = strchr(orcpt, ';');
	char dec[ADDR_BUF], type[64];
	ssize_t n;

	if (semi == NULL || (size_t)(semi - orcpt) >= sizeof(type))
		return;
	memcpy(type, orcpt, (size_t)(semi - orcpt));
	type[semi - orcpt] = '\0';
	if (type[0] == '\0' || strspn(type, TYPE_CHARS) != strlen(type))
		return;
	if (strcasecmp(type, "utf-8") == 0) {
		n = smtp_utf8_addr_decode(
		    semi + 1, strlen(semi + 1), dec, sizeof(dec));
		if (n >= 0)
			put_address(o, "Original-Recipient", dec, utf8);
		return;
	}
	n = smtp_xtext_decode(semi + 1, strlen(semi + 1), dec, sizeof(dec));
	if (n >= 0 && is_plain(dec))
		putf(o, "Original-Recipient: %s; %s\r\n", type, dec);
}

static void
put_diagnostic(struct out *o, const struct bounce_rcpt *rc)
{
	char text[REPLY_BUF], line[REPLY_BUF + 32];

	if (rc->code == 0)
		return;
	(void)snprintf(line, sizeof(line), "smtp; %u %s", rc->code,
	    printable(rc->reply, text, sizeof(text)));
	put_folded(o, "Diagnostic-Code", line);
}

static void
put_report_rcpt(struct out *o, const struct bounce_rcpt *rc, bool utf8)
{
	char buf[40];

	put(o, "\r\n");
	if (rc->orcpt[0] != '\0')
		put_orcpt(o, rc->orcpt, utf8);
	put_address(o, "Final-Recipient", rc->address, utf8);
	putf(o, "Action: %s\r\n", action_word(rc->action));
	putf(o, "Status: %s\r\n", bounce_status(rc, buf));
	/* DSN-21: only when a server was involved */
	if (rc->host[0] != '\0' && is_plain(rc->host))
		putf(o, "Remote-MTA: dns; %s\r\n", rc->host);
	put_diagnostic(o, rc);
	if (rc->last_s > 0)
		putf(o, "Last-Attempt-Date: %s\r\n",
		    clock_format_rfc5322(rc->last_s, buf, sizeof(buf)));
	if (rc->action == BOUNCE_DELAYED && rc->until_s > 0)
		putf(o, "Will-Retry-Until: %s\r\n",
		    clock_format_rfc5322(rc->until_s, buf, sizeof(buf)));
}

static void
put_report(struct out *o, const struct bounce *b, const char *bound, bool utf8)
{
	char dec[ADDR_BUF], date[40];
	size_t i;

	putf(o, "--%s\r\nContent-Type: message/%s\r\n", bound,
	    utf8 ? "global-delivery-status" : "delivery-status");
	if (utf8)
		put(o, "Content-Transfer-Encoding: 8bit\r\n");
	put(o, "\r\n");
	/* DSN-17: iff it was given, decoded */
	if (b->envid[0] != '\0' &&
	    smtp_xtext_decode(b->envid, strlen(b->envid), dec, sizeof(dec)) >=
		0 &&
	    is_plain(dec))
		putf(o, "Original-Envelope-Id: %s\r\n", dec);
	putf(o, "Reporting-MTA: dns; %s\r\n", b->hostname);
	putf(o, "Arrival-Date: %s\r\n",
	    clock_format_rfc5322(b->arrival_s, date, sizeof(date)));
	for (i = 0; i < b->n_rcpts; i++)
		put_report_rcpt(o, &b->rcpts[i], utf8);
	put(o, "\r\n");
}

/* ---- the original ----------------------------------------------------------------------------- */

size_t
bounce_header_len(const uint8_t *data, size_t len)
{
	struct mail_walk w;
	struct mail_field f;

	mail_walk_init(&w, data, len);
	while (mail_walk_next(&w, &f) == 1)
		continue;
	return w.at;
}

static bool
has_eight_bit(const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] >= 0x80)
			return true;
	return false;
}

static void
put_base64(struct out *o, const uint8_t *p, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	char line[LINE + 2];
	size_t i, at = 0;
	uint32_t v;

	for (i = 0; i < len; i += 3) {
		v = (uint32_t)p[i] << 16;
		v |= i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0;
		v |= i + 2 < len ? p[i + 2] : 0;
		line[at++] = digits[v >> 18];
		line[at++] = digits[v >> 12 & 63];
		line[at++] = i + 1 < len ? digits[v >> 6 & 63] : '=';
		line[at++] = i + 2 < len ? digits[v & 63] : '=';
		if (at == LINE || i + 3 >= len) {
			putn(o, line, at);
			put(o, "\r\n");
			at = 0;
		}
	}
}

/* Does the original come along whole, as it is? */
static bool
is_copied(const struct bounce *b, bool utf8)
{
	size_t head = bounce_header_len(b->original, b->original_len);

	return b->full && (utf8 || !has_eight_bit(b->original, head));
}

/* DSN-26, DSN-28: the whole, or the header, in a form that the way back can
 * carry. Headers beyond ASCII go as message/global-headers in base64, which
 * needs no extension of anybody. */
static void
put_original(struct out *o, const struct bounce *b, const char *bound,
    const struct bounce_out *ret)
{
	size_t len = b->original_len;
	size_t head = bounce_header_len(b->original, len);
	bool eight_head = has_eight_bit(b->original, head);
	bool eight = has_eight_bit(b->original, len);

	if (is_copied(b, ret->utf8)) {
		putf(o, "--%s\r\nContent-Type: message/%s\r\n", bound,
		    eight_head ? "global" : "rfc822");
		putf(o, "Content-Transfer-Encoding: %s\r\n\r\n",
		    eight ? "8bit" : "7bit");
		putn(o, b->original, len);
	} else if (eight_head) {
		putf(o,
		    "--%s\r\nContent-Type: message/global-headers\r\n"
		    "Content-Transfer-Encoding: base64\r\n\r\n",
		    bound);
		put_base64(o, b->original, head);
	} else {
		putf(o,
		    "--%s\r\nContent-Type: text/rfc822-headers\r\n"
		    "Content-Transfer-Encoding: 7bit\r\n\r\n",
		    bound);
		putn(o, b->original, head);
	}
	/* the line end before a boundary belongs to the boundary */
	putf(o, "\r\n--%s--\r\n", bound);
}

/* The boundary must not stand in the original. */
static bool
occurs(const struct bounce *b, const char *bound)
{
	return b->original_len > 0 &&
	    memmem(b->original, b->original_len, bound, strlen(bound)) != NULL;
}

int
bounce_format(struct buf *out, const struct bounce *b, struct bounce_out *ret)
{
	struct out o = { out, 0 };
	char bound[80];
	int n;

	memset(ret, 0, sizeof(*ret));
	/* an address that needs SMTPUTF8 proves that its way back has it */
	ret->utf8 = !is_ascii(b->to);
	ret->eight_bit = ret->utf8 ||
	    (is_copied(b, false) &&
		has_eight_bit(b->original, b->original_len));
	boundary(b, bound, sizeof(bound));
	for (n = 0; occurs(b, bound) && n < 1000; n++)
		(void)snprintf(bound, sizeof(bound),
		    "=_%" PRIu64 ".%" PRId64 "/%d", b->mid, b->now_s, n);
	put_header(&o, b, bound, ret->eight_bit);
	put(&o, "This is a delivery report in MIME format.\r\n\r\n");
	put_text(&o, b, bound, ret->utf8);
	put_report(&o, b, bound, ret->utf8);
	put_original(&o, b, bound, ret);
	return o.err;
}
