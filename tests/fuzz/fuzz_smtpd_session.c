/*
 * fuzz_smtpd_session.c - arbitrary bytes of a client against the session.
 *
 * Two bytes choose listener and queue, the rest is what the client sends. The
 * scripted queue asserts the order of requests, sizes and memory; here: replies
 * are well formed, nothing with a bare CR or LF is ever committed, and the
 * session behaves the same fed whole and byte by byte (unless it ended because
 * of input behind a command that must be last).
 */
#include <fcntl.h>
#include <stdint.h>

#include "lib/base/hash.h"
#include "lib/log/log.h"
#include "tests/smtpd/script.h"

static struct conf *confs[4];

static void
setup(void)
{
	static const char *const settings[4] = { "tls = none\n",
		"max_message_size = 1k\nmax_received = 2\n"
		"max_recipients = 2\nmax_command_errors = 1000\n",
		"auth = offered\nauth_file = users\ntls = required\n",
		"auth = required\nauth_file = users\ntls = implicit\n"
		"max_command_errors = 1000\n" };
	size_t i;

	hash_seed();
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_DEBUG,
	    "smtpd");
	for (i = 0; i < 4; i++)
		confs[i] = script_conf(settings[i]);
}

#define CHECK(x)                 \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static void
check_replies(const struct buf *out)
{
	const uint8_t *p = buf_data(out), *end = p + buf_len(out), *lf;

	while (p != NULL && p < end) {
		lf = memchr(p, '\n', (size_t)(end - p));
		CHECK(lf != NULL && lf - p >= 4 && lf - p < 512);
		CHECK(lf[-1] == '\r' && (p[3] == ' ' || p[3] == '-'));
		CHECK(p[0] >= '2' && p[0] <= '5');
		for (; p < lf - 1; p++)
			CHECK(*p >= ' ' && *p <= '~');
		p = lf + 1;
	}
}

static void
check_body(const struct buf *body)
{
	const uint8_t *p = buf_data(body);
	size_t i, len = buf_len(body);

	for (i = 0; i < len; i++) {
		CHECK(p[i] != '\0');
		CHECK(p[i] != '\n' || (i > 0 && p[i - 1] == '\r'));
		CHECK(p[i] != '\r' || (i + 1 < len && p[i + 1] == '\n'));
	}
}

static void
run(struct script *k, uint8_t a, uint8_t b, const uint8_t *data, size_t len,
    size_t step)
{
	static const struct submit_done refused = { SUBMIT_LATER, 452, "4.3.1",
		"full" };

	memset(k, 0, sizeof(*k));
	k->client = (a & 4) != 0 ? "192.0.2.7" : NULL;
	k->refuse_early = (b & 1) != 0;
	if ((b & 3) != 0)
		k->done = refused;
	k->lose_queue = (b & 4) != 0;
	k->no_answer = (b & 8) != 0;
	k->auth_busy = (b & 16) != 0;
	if ((b & 32) != 0) {
		k->room = 20000;
		k->room_more = 9000;
	}
	script_init(k, confs[a & 3], (a & 3) == 3);
	if (script_feed(k, data, len, step) && (b & 64) != 0) {
		session_timeout(k->s);
		(void)session_input(k->s, data, len < 100 ? len : 100);
	}
	if ((b & 128) != 0)
		session_lost(k->s, "gone");
	script_collect(k);
	check_replies(&k->out);
	if (k->committed != 0 && k->committed + 1 == k->mid_next)
		check_body(&k->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char behind[] = "Input behind";
	struct script whole, bytes;
	bool cut;

	if (confs[0] == NULL)
		setup();
	if (len < 2)
		return 0;
	run(&whole, data[0], data[1], data + 2, len - 2, SIZE_MAX);
	run(&bytes, data[0], data[1], data + 2, len - 2, 1);
	cut = memmem(buf_data(&whole.out), buf_len(&whole.out), behind,
		  sizeof(behind) - 1) != NULL;
	/* an early refusal comes at a time of its own, and so does an end */
	if (!cut && (data[1] & (1 | 8 | 64)) == 0) {
		CHECK(buf_len(&whole.out) == buf_len(&bytes.out));
		CHECK(memcmp(buf_data(&whole.out), buf_data(&bytes.out),
			  buf_len(&whole.out)) == 0);
		CHECK(buf_len(&whole.rec) == buf_len(&bytes.rec));
	}
	script_done(&whole);
	script_done(&bytes);
	return 0;
}
