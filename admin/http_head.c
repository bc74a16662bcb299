/*
 * http_head.c - the strict look at a request head before the HTTP library.
 *
 * Called by front.c, the tests and the fuzzer. Never changes a byte, allocates
 * or logs: what passes is handed on as it came.
 */
#include "admin/http_head.h"

#include <string.h>
#include <strings.h>

struct text {
	const uint8_t *p;
	size_t len;
};

/* What the header lines said so far. */
struct seen {
	unsigned headers, hosts, lengths, encodings;
	bool http_1_0;
	uint64_t body_len;
};

static int
refuse(struct http_head *h, uint16_t status, const char *why)
{
	h->status = status;
	h->why = why;
	return -1;
}

static bool
is_token(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z') ||
	    (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

ssize_t
http_head_find(
    const uint8_t *data, size_t len, size_t from, struct http_head *ret_head)
{
	size_t i;

	memset(ret_head, 0, sizeof(*ret_head));
	for (i = from; i < len && i < HTTP_HEAD_MAX; i++) {
		if (data[i] == '\0')
			return refuse(ret_head, 400, "NUL in the head");
		if (i > 0 && data[i - 1] == '\r' && data[i] != '\n')
			return refuse(ret_head, 400, "bare CR in the head");
		if (data[i] != '\n')
			continue;
		if (i == 0 || data[i - 1] != '\r')
			return refuse(ret_head, 400, "bare LF in the head");
		if (i == 1)
			return refuse(ret_head, 400, "empty request line");
		if (i >= 3 && data[i - 2] == '\n')
			return (ssize_t)(i + 1);
	}
	if (len >= HTTP_HEAD_MAX)
		return refuse(ret_head, 431, "the head is over 16 KiB");
	return 0;
}

/* Up to sep, or the whole; the rest stays in *in. */
static struct text
cut(struct text *in, uint8_t sep)
{
	const uint8_t *end = in->len > 0 ? memchr(in->p, sep, in->len) : NULL;
	struct text out = *in;

	if (end == NULL) {
		in->p += in->len;
		in->len = 0;
		return out;
	}
	out.len = (size_t)(end - in->p);
	in->p += out.len + 1;
	in->len -= out.len + 1;
	return out;
}

static bool
same(struct text t, const char *word)
{
	return t.len == strlen(word) && memcmp(t.p, word, t.len) == 0;
}

static int
check_target(struct text t, struct http_head *h)
{
	size_t i;

	if (t.len > HTTP_TARGET_MAX)
		return refuse(h, 414, "the request target is over 4 KiB");
	if (t.len == 0 || t.p[0] != '/')
		return refuse(h, 400, "the request target is no path");
	for (i = 0; i < t.len; i++) {
		if (t.p[i] <= 0x20 || t.p[i] >= 0x7f)
			return refuse(h, 400,
			    "the request target has bytes that must be "
			    "written as %XX");
		if (t.p[i] == '%' && t.len - i >= 3 && t.p[i + 1] == '0' &&
		    t.p[i + 2] == '0')
			return refuse(h, 400, "NUL in the request target");
	}
	return 0;
}

static int
check_request_line(struct text line, struct seen *s, struct http_head *h)
{
	static const char *const methods[] = { "GET", "HEAD", "POST", "PUT",
		"PATCH", "DELETE" };
	struct text method = cut(&line, ' '), target = cut(&line, ' ');
	size_t i;

	for (i = 0; i < method.len; i++)
		if (!is_token(method.p[i]))
			return refuse(h, 400, "broken request line");
	for (i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (same(method, methods[i]))
			break;
	if (method.len == 0 || target.len == 0 || line.len == 0)
		return refuse(h, 400, "broken request line");
	if (i == sizeof(methods) / sizeof(methods[0]))
		return refuse(h, 501, "unknown method");
	s->http_1_0 = same(line, "HTTP/1.0");
	if (!s->http_1_0 && !same(line, "HTTP/1.1"))
		return refuse(h, 505, "only HTTP/1.1 and HTTP/1.0 are spoken");
	return check_target(target, h);
}

static struct text
trim(struct text t)
{
	while (t.len > 0 && (t.p[0] == ' ' || t.p[0] == '\t')) {
		t.p++;
		t.len--;
	}
	while (t.len > 0 && (t.p[t.len - 1] == ' ' || t.p[t.len - 1] == '\t'))
		t.len--;
	return t;
}

static int
on_host(struct text v, struct seen *s, struct http_head *h)
{
	size_t i;

	if (++s->hosts > 1)
		return refuse(h, 400, "more than one Host");
	if (v.len == 0 || v.len > 300)
		return refuse(h, 400, "empty or overlong Host");
	for (i = 0; i < v.len; i++)
		if (!(is_token(v.p[i]) || strchr(":[]", v.p[i]) != NULL) ||
		    strchr("'`|^#&*+!~$", v.p[i]) != NULL)
			return refuse(h, 400, "Host is no host name");
	return 0;
}

static int
on_content_length(struct text v, struct seen *s, struct http_head *h)
{
	uint64_t n = 0;
	size_t i;

	if (++s->lengths > 1)
		return refuse(h, 400, "more than one Content-Length");
	if (v.len == 0)
		return refuse(h, 400, "Content-Length is no number");
	for (i = 0; i < v.len; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return refuse(h, 400, "Content-Length is no number");
		if (n <= HTTP_BODY_MAX)
			n = n * 10 + (uint64_t)(v.p[i] - '0');
	}
	if (n > HTTP_BODY_MAX)
		return refuse(h, 413, "the body is over 1 MiB");
	s->body_len = n;
	return 0;
}

static int
on_transfer_encoding(struct text v, struct seen *s, struct http_head *h)
{
	(void)v;
	(void)h;
	s->encodings++; /* judged at the end, with Content-Length */
	return 0;
}

static int
on_expect(struct text v, struct seen *s, struct http_head *h)
{
	(void)s;
	if (v.len != 12 ||
	    strncasecmp((const char *)v.p, "100-continue", 12) != 0)
		return refuse(h, 417, "unknown Expect");
	return 0;
}

static const struct {
	const char *name;
	int (*check)(struct text v, struct seen *s, struct http_head *h);
} looked_at[] = {
	{ "host", on_host },
	{ "content-length", on_content_length },
	{ "transfer-encoding", on_transfer_encoding },
	{ "expect", on_expect },
};

static int
check_header(struct text line, struct seen *s, struct http_head *h)
{
	struct text value = line, name;
	size_t i;

	if (line.p[0] == ' ' || line.p[0] == '\t')
		return refuse(h, 400, "folded header");
	if (++s->headers > HTTP_HEADERS_MAX)
		return refuse(h, 431, "more than 64 headers");
	if (memchr(line.p, ':', line.len) == NULL)
		return refuse(h, 400, "header without a colon");
	name = cut(&value, ':');
	if (name.len == 0)
		return refuse(h, 400, "header without a name");
	for (i = 0; i < name.len; i++)
		if (!is_token(name.p[i]))
			return refuse(h, 400, "broken header name");
	value = trim(value);
	for (i = 0; i < value.len; i++)
		if ((value.p[i] < 0x20 && value.p[i] != '\t') ||
		    value.p[i] == 0x7f)
			return refuse(h, 400, "control character in a header");
	for (i = 0; i < sizeof(looked_at) / sizeof(looked_at[0]); i++)
		if (name.len == strlen(looked_at[i].name) &&
		    strncasecmp(
			(const char *)name.p, looked_at[i].name, name.len) == 0)
			return looked_at[i].check(value, s, h);
	return 0;
}

int
http_head_check(const uint8_t *data, size_t len, struct http_head *ret_head)
{
	struct text rest = { data, len }, line;
	struct seen s = { 0 };
	bool first = true;

	memset(ret_head, 0, sizeof(*ret_head));
	while (rest.len > 0) {
		line = cut(&rest, '\n');
		if (line.len == 0 || line.p[line.len - 1] != '\r')
			return refuse(ret_head, 400, "bare LF in the head");
		line.len--;
		if (line.len == 0)
			break; /* the empty line; http_head_find() saw it */
		if (first ? check_request_line(line, &s, ret_head) < 0
			  : check_header(line, &s, ret_head) < 0)
			return -1;
		first = false;
	}
	if (first)
		return refuse(ret_head, 400, "empty request line");
	if (s.encodings > 0 && s.lengths > 0)
		return refuse(ret_head, 400,
		    "Transfer-Encoding together with Content-Length");
	if (s.encodings > 0)
		return refuse(ret_head, 501,
		    "Transfer-Encoding is not spoken here: send "
		    "Content-Length");
	if (s.hosts == 0 && !s.http_1_0)
		return refuse(ret_head, 400, "no Host");
	ret_head->len = len;
	ret_head->body_len = s.body_len;
	return 0;
}
