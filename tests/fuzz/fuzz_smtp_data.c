/*
 * fuzz_smtp_data.c - the data codec. Holds: cuts make no difference, neither
 * do few slices; the decoder agrees with a plain one written for clearness;
 * decoding what was encoded gives the normalised input; nothing bare gets out.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/smtp/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	uint8_t *p;
	size_t len, used;
	bool done;
	unsigned seen;
};

static void
check(int good)
{
	if (!good)
		abort();
}

static void
gather(struct result *to, const struct iovec *iov, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		memcpy(to->p + to->len, iov[i].iov_base, iov[i].iov_len);
		to->len += iov[i].iov_len;
	}
}

static struct result
result_new(size_t size)
{
	struct result res = { malloc(3 * size + 16), 0, 0, false, 0 };

	if (res.p == NULL)
		abort();
	return res;
}

/* The next piece: a length from the seed, which goes round. */
static size_t
piece(const uint8_t *seed, size_t n, size_t *at, size_t left)
{
	size_t len = n == 0 ? left : (size_t)seed[(*at)++ % n] % 9 + 1;

	return len < left ? len : left;
}

static struct result
decode(const uint8_t *in, size_t len, const uint8_t *cuts, size_t n_cuts,
    size_t room)
{
	struct result res = result_new(len);
	struct smtp_data_dec d;
	struct iovec iov[16];
	size_t n, k, cut = 0, got;
	uint8_t *copy;

	smtp_data_dec_init(&d);
	while (res.used < len && !d.done) {
		k = piece(cuts, n_cuts, &cut, len - res.used);
		copy = malloc(k);
		if (copy == NULL)
			abort();
		memcpy(copy, in + res.used, k);
		got = smtp_data_dec(&d, copy, k, iov, room, &n);
		check(n <= room && got > 0 && got <= k);
		gather(&res, iov, n);
		free(copy);
		res.used += got;
	}
	check(d.scan.len == res.len);
	res.done = d.done;
	res.seen = d.scan.seen;
	return res;
}

/* The same in the plainest way: line by line, a line ends in CRLF. */
static struct result
plain_decode(const uint8_t *in, size_t len)
{
	struct result res = result_new(len);
	size_t at = 0, end;

	while (at < len) {
		end = at;
		while (end < len &&
		    !(end > at && in[end - 1] == '\r' && in[end] == '\n'))
			end++;
		if (end == len)
			break; /* an open line */
		end++;
		if (end - at == 3 && in[at] == '.') {
			res.done = true;
			res.used = end;
			return res;
		}
		at += in[at] == '.';
		memcpy(res.p + res.len, in + at, end - at);
		res.len += end - at;
		at = end;
	}
	/* the open line: a dot before it is held, and so is ".\r" */
	if (at < len && in[at] == '.') {
		at++;
		if (len - at == 1 && in[at] == '\r')
			at++;
	}
	memcpy(res.p + res.len, in + at, len - at);
	res.len += len - at;
	res.used = len;
	return res;
}

static struct result
encode(const uint8_t *in, size_t len, const uint8_t *cuts, size_t n_cuts,
    size_t room, bool stuff, uint64_t *ret_body)
{
	struct result res = result_new(len);
	struct smtp_data_enc e;
	struct iovec iov[16];
	size_t n, k, cut = 0, got;
	uint8_t *copy;

	smtp_data_enc_init(&e, stuff);
	while (res.used < len) {
		k = piece(cuts, n_cuts, &cut, len - res.used);
		copy = malloc(k);
		if (copy == NULL)
			abort();
		memcpy(copy, in + res.used, k);
		got = smtp_data_enc(&e, copy, k, iov, room, &n);
		check(n <= room && got > 0 && got <= k);
		gather(&res, iov, n);
		free(copy);
		res.used += got;
	}
	gather(&res, iov, smtp_data_enc_end(&e, iov));
	check(e.out_len == res.len);
	*ret_body = e.body_len;
	return res;
}

static void
check_same(const struct result *a, const struct result *b)
{
	check(a->len == b->len && memcmp(a->p, b->p, a->len) == 0);
	check(a->used == b->used && a->done == b->done);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result a, b, c, body;
	uint64_t body_len, body_len2;
	size_t n_cuts, i, at = 0;

	if (size < 9 || size > 65536)
		return 0;
	/* the last bytes say where to cut */
	n_cuts = 8;
	size -= n_cuts;

	a = decode(data, size, NULL, 0, 16);
	b = decode(data, size, data + size, n_cuts, 2);
	c = plain_decode(data, size);
	check_same(&a, &b);
	check_same(&a, &c);
	check(a.seen == b.seen);
	if (a.done && (a.seen & SMTP_DATA_BAD) == 0) {
		for (i = 0; i < a.len; i++) {
			if (a.p[i] == '\r')
				check(i + 1 < a.len && a.p[i + 1] == '\n');
			if (a.p[i] == '\n')
				check(i > 0 && a.p[i - 1] == '\r');
			check(a.p[i] != '\0');
		}
	}
	free(a.p);
	free(b.p);
	free(c.p);

	a = encode(data, size, NULL, 0, 16, true, &body_len);
	b = encode(data, size, data + size, n_cuts, 4, true, &body_len2);
	check_same(&a, &b);
	check(body_len == body_len2);
	body = encode(data, size, NULL, 0, 16, false, &body_len2);
	check(body.len == body_len && body_len == body_len2);
	c = decode(a.p, a.len, NULL, 0, 16);
	check(c.done && c.used == a.len);
	check((c.seen & (SMTP_DATA_BARE_CR | SMTP_DATA_BARE_LF)) == 0);
	check(c.len == body.len && memcmp(c.p, body.p, c.len) == 0);
	/* the body is the input, with each line end a CRLF */
	for (i = 0; i < size; i++) {
		if (data[i] == '\r' || data[i] == '\n') {
			check(body.p[at] == '\r' && body.p[at + 1] == '\n');
			at += 2;
			i += data[i] == '\r' && i + 1 < size &&
			    data[i + 1] == '\n';
		} else {
			check(body.p[at++] == data[i]);
		}
	}
	check(at == body.len || at + 2 == body.len);
	free(a.p);
	free(b.p);
	free(c.p);
	free(body.p);
	return 0;
}
