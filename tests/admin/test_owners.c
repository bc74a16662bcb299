/*
 * test_owners.c - calls to processes: answers in pieces, deadlines, death,
 * bounds, and answers that come too late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "admin/ask.h"
#include "lib/base/err.h"
#include "tests/admin/fake.h"

struct world {
	uv_loop_t loop;
	struct ipc_hub hub;
	struct owners *owners;
	struct fake queue, deliver;
	unsigned broken;
};

static struct got {
	int n;
	uint16_t code;
	size_t len;
	char text[128];
} got;

static void
on_got(void *arg, const struct owner_reply *r)
{
	(void)arg;
	got.n++;
	got.code = r->code;
	got.len = buf_len(r->doc);
	(void)snprintf(got.text, sizeof(got.text), "%s", r->text);
}

static void
on_broken(void *arg, enum role role, uint32_t instance, const char *text)
{
	struct world *w = arg;

	(void)role;
	(void)instance;
	(void)text;
	w->broken++;
}

/* num: bytes of the answer; arg0: "silent", "die", "404". */
static int
script(struct fake *f, const struct adm_call *m, struct buf *doc)
{
	uint64_t i;

	(void)f;
	if (strcmp(m->args[0], "silent") == 0)
		return -1;
	if (strcmp(m->args[0], "die") == 0)
		return -2;
	if (strcmp(m->args[0], "404") == 0)
		return 404;
	for (i = 0; i < m->num; i++)
		if (buf_put(doc, "x", 1) < 0)
			return 500;
	return 0;
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct owners_hooks hooks = { w, NULL, on_broken };

	memset(&got, 0, sizeof(got));
	assert_int_equal(uv_loop_init(&w->loop), 0);
	assert_int_equal(ipc_hub_init(&w->hub, &w->loop), 0);
	w->owners = owners_new(&w->loop, &w->hub, &hooks);
	assert_non_null(w->owners);
	w->queue.role = ROLE_QUEUE;
	w->deliver.role = ROLE_DELIVER;
	w->deliver.instance = 3;
	w->queue.script = w->deliver.script = script;
	assert_int_equal(owners_peer(w->owners, ROLE_QUEUE, 0,
			     fake_start(&w->queue, &w->hub)),
	    0);
	assert_int_equal(owners_peer(w->owners, ROLE_DELIVER, 3,
			     fake_start(&w->deliver, &w->hub)),
	    0);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	owners_free(w->owners);
	fake_stop(&w->queue);
	fake_stop(&w->deliver);
	ipc_hub_done(&w->hub);
	assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	free(w);
	return 0;
}

static int
call(struct world *w, const char *arg, uint64_t num, int64_t timeout_ms,
    struct owner_call **ret_call)
{
	const struct adm_call m = {
		.op = ADM_STATUS, .num = num, .args = { arg, "", "" }
	};

	return owners_call(
	    w->owners, ROLE_QUEUE, 0, &m, timeout_ms, on_got, NULL, ret_call);
}

static void
run_until(struct world *w, int n)
{
	while (got.n < n)
		(void)uv_run(&w->loop, UV_RUN_ONCE);
}

static void
test_answers(void **state)
{
	static const uint64_t sizes[] = { 0, 1, ADM_PIECE_MAX,
		ADM_PIECE_MAX + 1, 3 * 1024 * 1024, OWNER_REPLY_MAX };
	struct world *w = *state;
	struct owner_call *c;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(call(w, "", sizes[i], 60000, &c), 0);
		assert_int_equal(got.n, i); /* never inside the call */
		run_until(w, (int)i + 1);
		assert_int_equal(got.code, 0);
		assert_int_equal(got.len, sizes[i]);
	}
	assert_int_equal(call(w, "404", 0, 60000, &c), 0);
	run_until(w, (int)i + 1);
	assert_int_equal(got.code, 404);
	assert_string_equal(got.text, "as the script says");
}

static void
test_too_large(void **state)
{
	struct world *w = *state;
	struct owner_call *c;

	assert_int_equal(call(w, "", OWNER_REPLY_MAX + 1, 60000, &c), 0);
	run_until(w, 1);
	assert_int_equal(got.code, 502);
	/* the channel lives on */
	assert_int_equal(call(w, "", 5, 60000, &c), 0);
	run_until(w, 2);
	assert_int_equal(got.code, 0);
	assert_int_equal(got.len, 5);
	assert_int_equal(w->broken, 0);
}

static void
test_silent_then_late(void **state)
{
	struct world *w = *state;
	struct owner_call *c;
	struct buf doc;

	assert_int_equal(call(w, "silent", 0, 30, &c), 0);
	run_until(w, 1);
	assert_int_equal(got.code, 504);
	assert_int_equal(owners_timeouts(w->owners), 1);
	/* the answer comes after all: dropped, and the next one is right */
	buf_init(&doc, 16);
	(void)buf_puts(&doc, "late");
	assert_int_equal(
	    adm_reply(&w->queue.peer, w->queue.last_req_id, &doc), 0);
	buf_done(&doc);
	assert_int_equal(call(w, "", 2, 60000, &c), 0);
	run_until(w, 2);
	assert_int_equal(got.code, 0);
	assert_int_equal(got.len, 2);
	assert_int_equal(w->broken, 0);
}

static void
test_dead_and_restarted(void **state)
{
	struct world *w = *state;
	struct owner_call *c;
	enum role role;
	uint32_t instance;
	bool running;

	assert_int_equal(call(w, "silent", 0, 60000, &c), 0);
	assert_int_equal(call(w, "die", 0, 60000, &c), 0);
	run_until(w, 2); /* both end at once */
	assert_int_equal(got.code, 503);
	assert_int_equal(call(w, "", 1, 60000, &c), PE_GONE);
	owners_at(w->owners, 0, &role, &instance, &running);
	assert_int_equal(role, ROLE_QUEUE);
	assert_false(running);
	assert_int_equal(owners_peer(w->owners, ROLE_QUEUE, 0,
			     fake_start(&w->queue, &w->hub)),
	    0);
	assert_int_equal(owners_count(w->owners), 2);
	assert_int_equal(call(w, "", 1, 60000, &c), 0);
	run_until(w, 3);
	assert_int_equal(got.code, 0);
	assert_int_equal(w->broken, 0); /* dying breaks no rule */
}

static void
test_broken(void **state)
{
	struct world *w = *state;
	struct owner_call *c;

	assert_int_equal(call(w, "silent", 0, 60000, &c), 0);
	/* a process may not call admin */
	(void)ipc_send_begin(w->queue.chan, ADM_CALL, 7);
	assert_int_equal(ipc_send_end(w->queue.chan, -1), 0);
	run_until(w, 1);
	assert_int_equal(got.code, 503);
	assert_int_equal(w->broken, 1);
}

static void
test_bounds(void **state)
{
	struct world *w = *state;
	struct owner_call *c, *first = NULL;
	int i;

	for (i = 0; i < OWNER_CALLS_MAX; i++) {
		assert_int_equal(call(w, "silent", 0, 60000, &c), 0);
		if (i == 0)
			first = c;
	}
	assert_int_equal(call(w, "", 0, 60000, &c), PE_FULL);
	owner_call_cancel(first);
	assert_int_equal(call(w, "", 0, 60000, &c), 0);
	run_until(w, 1);
	assert_int_equal(got.code, 0);
}

static int asked;

static void
on_asked(void *arg, struct ask *ask)
{
	(void)arg;
	(void)ask;
	asked++;
}

/* One is silent, one answers, one does not exist: three answers. */
static void
test_ask(void **state)
{
	struct world *w = *state;
	const struct adm_call ok = {
		.op = ADM_STATUS, .num = 4, .args = { "", "", "" }
	};
	const struct adm_call silent = { .op = ADM_STATUS,
		.args = { "silent", "", "" } };
	struct ask *ask = ask_new(w->owners, on_asked, NULL);

	asked = 0;
	assert_int_equal(ask_all(ask, ROLE_DELIVER, &ok, 60000), 0);
	assert_int_equal(ask_one(ask, ROLE_QUEUE, 0, &silent, 30), 0);
	assert_int_equal(ask_one(ask, ROLE_RESOLVER, 0, &ok, 60000), 0);
	assert_true(ask_wait(ask));
	while (asked == 0)
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	assert_int_equal(ask_count(ask), 3);
	assert_int_equal(ask_at(ask, 0)->code, 0);
	assert_int_equal(ask_at(ask, 0)->instance, 3);
	assert_int_equal(buf_len(&ask_at(ask, 0)->doc), 4);
	assert_int_equal(ask_at(ask, 1)->code, 504);
	assert_int_equal(ask_at(ask, 2)->code, 503);
	ask_free(ask);

	/* only processes that do not exist: complete at once */
	ask = ask_new(w->owners, on_asked, NULL);
	assert_int_equal(ask_one(ask, ROLE_SMTPD, 9, &ok, 60000), 0);
	assert_false(ask_wait(ask));
	ask_free(ask);

	/* freed under way: no callback */
	ask = ask_new(w->owners, on_asked, NULL);
	assert_int_equal(ask_all(ask, ROLE_COUNT, &ok, 60000), 0);
	assert_true(ask_wait(ask));
	ask_free(ask);
	assert_int_equal(asked, 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_answers),
		T(test_too_large),
		T(test_silent_then_late),
		T(test_dead_and_restarted),
		T(test_broken),
		T(test_bounds),
		T(test_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
