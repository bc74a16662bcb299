/*
 * test_chan.c - a channel against a well-behaved peer, and against raw bytes of
 * one that is not: order, descriptors, credit, rules, the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ipc/chan.h"

enum { MSG_NOTE = 16, MSG_FILE, MSG_BULK, MSG_RARE };

/* One side under test and what happened to it. */
struct side {
	struct ipc_chan *chan;
	unsigned ups, downs, rooms, notes, files;
	int why;
	char text[128];
	uint64_t last_req, sum;
	size_t bulk;
	ino_t last_ino;
	uint32_t now;
};

static uv_loop_t loop;
static struct ipc_hub hub;

static int
on_note(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct side *s = peer;

	s->sum += ipc_rd_u32(rd);
	s->last_req = m->req_id;
	s->notes++;
	return ipc_rd_end(rd);
}

static int
on_file(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct side *s = peer;
	struct stat st;

	(void)rd;
	assert_int_equal(fstat(m->fd, &st), 0);
	assert_true((fcntl(m->fd, F_GETFD) & FD_CLOEXEC) != 0);
	s->last_ino = st.st_ino;
	s->files++;
	return 0;
}

static int
on_bulk(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct side *s = peer;

	(void)rd;
	s->bulk += m->len;
	return 0;
}

/* clang-format off */
static const struct ipc_rule rules[] = {
	{ MSG_NOTE, 4, 4,             IPC_ANY, 0,          on_note },
	{ MSG_FILE, 0, 16,            IPC_ANY, IPC_FD,     on_file },
	{ MSG_BULK, 0, IPC_FRAME_MAX, IPC_ANY, IPC_CREDIT, on_bulk },
	{ MSG_RARE, 4, 4,             2,       0,          on_note },
};
/* clang-format on */

static uint32_t
state_of(void *peer)
{
	return ((struct side *)peer)->now;
}

static void
on_up(void *peer)
{
	((struct side *)peer)->ups++;
}

static void
on_down(void *peer, int why, const char *text)
{
	struct side *s = peer;

	s->downs++;
	s->why = why;
	(void)snprintf(s->text, sizeof(s->text), "%s", text);
}

static void
on_room(void *peer)
{
	((struct side *)peer)->rooms++;
}

static const struct ipc_spec spec = { "peer", rules, 4, state_of, on_up,
	on_down, on_room };

static void
turn(int times)
{
	while (times-- > 0)
		(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static int
setup(void **state)
{
	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	return ipc_hub_init(&hub, &loop);
}

static int
teardown(void **state)
{
	(void)state;
	ipc_hub_done(&hub);
	turn(3);
	return uv_loop_close(&loop);
}

static void
open_pair(struct side *a, struct side *b)
{
	int fd[2];

	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	a->now = b->now = 1;
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(ipc_chan_new(&hub, fd[0], &spec, a, &a->chan), 0);
	assert_int_equal(ipc_chan_new(&hub, fd[1], &spec, b, &b->chan), 0);
	turn(3);
	assert_int_equal(a->ups, 1);
	assert_int_equal(b->ups, 1);
}

static void
close_pair(struct side *a, struct side *b)
{
	ipc_chan_free(a->chan);
	ipc_chan_free(b->chan);
	turn(3);
}

static int
note(struct side *s, uint16_t type, uint32_t v)
{
	ipc_wr_u32(ipc_send_begin(s->chan, type, v), v);
	return ipc_send_end(s->chan, -1);
}

static ino_t
send_file(struct side *s)
{
	struct stat st;
	int fd = memfd_create("t", MFD_CLOEXEC);

	assert_int_equal(fstat(fd, &st), 0);
	(void)ipc_send_begin(s->chan, MSG_FILE, 0);
	assert_int_equal(ipc_send_end(s->chan, fd), 0);
	return st.st_ino;
}

static void
test_order_and_descriptors(void **state)
{
	struct side a, b;
	ino_t ino[40];
	int i;

	(void)state;
	open_pair(&a, &b);
	/* plain frames and descriptors mixed in one turn: each descriptor
	 * belongs to its frame, whatever the kernel glues together */
	for (i = 0; i < 40; i++) {
		assert_int_equal(note(&a, MSG_NOTE, (uint32_t)i), 0);
		ino[i] = send_file(&a);
		assert_int_equal(note(&a, MSG_NOTE, 1000), 0);
	}
	turn(20);
	assert_int_equal(b.notes, 80);
	assert_int_equal(b.files, 40);
	assert_true(b.last_ino == ino[39]);
	assert_int_equal(b.sum, 40 * 39 / 2 + 40 * 1000);
	assert_int_equal(b.downs, 0);
	close_pair(&a, &b);
}

static void
test_credit(void **state)
{
	struct side a, b;
	static uint8_t piece[64 * 1024];
	size_t sent = 0;
	struct ipc_wr *w;
	int r;

	(void)state;
	open_pair(&a, &b);
	ipc_chan_hold(b.chan, true);
	assert_int_equal(ipc_chan_credit(a.chan), IPC_WINDOW);
	while (ipc_chan_credit(a.chan) >= sizeof(piece)) {
		w = ipc_send_begin_credit(a.chan, MSG_BULK, 1);
		assert_int_equal(buf_put(w->b, piece, sizeof(piece)), 0);
		assert_int_equal(ipc_send_end(a.chan, -1), 0);
		sent += sizeof(piece);
		turn(1);
	}
	assert_int_equal(sent, IPC_WINDOW);
	w = ipc_send_begin_credit(a.chan, MSG_BULK, 1);
	assert_int_equal(buf_put(w->b, piece, 1), 0);
	r = ipc_send_end(a.chan, -1);
	assert_int_equal(r, PE_FULL);
	turn(40);
	assert_int_equal(b.bulk, sent);
	assert_int_equal(a.rooms, 0); /* held: the sender stays dry */
	ipc_chan_hold(b.chan, false);
	turn(3);
	assert_true(a.rooms > 0);
	assert_int_equal(ipc_chan_credit(a.chan), IPC_WINDOW);
	close_pair(&a, &b);
}

static void
test_states(void **state)
{
	struct side a, b;

	(void)state;
	open_pair(&a, &b);
	b.now = 2;
	assert_int_equal(note(&a, MSG_RARE, 1), 0);
	turn(3);
	assert_int_equal(b.notes, 1);
	b.now = 1;
	assert_int_equal(note(&a, MSG_RARE, 1), 0);
	turn(3);
	assert_int_equal(b.notes, 1);
	assert_int_equal(b.downs, 1);
	assert_int_equal(b.why, PE_PROTO);
	close_pair(&a, &b);
}

/* What was sent before the peer ended is handled before the end is told. */
static void
test_end(void **state)
{
	struct side a, b;
	int i;

	(void)state;
	open_pair(&a, &b);
	for (i = 0; i < 1000; i++)
		assert_int_equal(note(&a, MSG_NOTE, 1), 0);
	ipc_chan_free(a.chan); /* flushes what it can */
	assert_int_equal(note(&b, MSG_NOTE, 1), 0);
	turn(10);
	assert_int_equal(b.notes, 1000);
	assert_int_equal(b.downs, 1);
	assert_int_equal(b.why, PE_GONE);
	assert_int_equal(note(&b, MSG_NOTE, 1), PE_GONE);
	ipc_chan_free(b.chan);
	turn(3);
}

static const uint8_t hello[] = { 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 1, 0, 16, 0, 0 };

/* Raw bytes of a hostile peer; each costs the channel and nothing else. */
static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	bool after_hello;
	int why;
} attacks[] = {
	{ "message before hello", "\0\0\0\4\0\20\0\0\0\0\0\0\0\0\0\0\0\0\0\1",
	    20, false, PE_PROTO },
	{ "unknown type", "\0\0\0\0\0\140\0\0\0\0\0\0\0\0\0\0", 16, true,
	    PE_PROTO },
	{ "type out of range", "\0\0\0\0\377\377\0\0\0\0\0\0\0\0\0\0", 16, true,
	    PE_PROTO },
	{ "too short", "\0\0\0\3\0\20\0\0\0\0\0\0\0\0\0\0\0\0\0", 19, true,
	    PE_PROTO },
	{ "too long", "\0\0\0\5\0\20\0\0\0\0\0\0\0\0\0\0", 16, true, PE_PROTO },
	{ "length over the cap", "\377\0\0\0\0\22\0\1\0\0\0\0\0\0\0\0", 16,
	    true, PE_SYNTAX },
	{ "descriptor announced, none sent",
	    "\0\0\0\0\0\21\1\0\0\0\0\0\0\0\0\0", 16, true, PE_PROTO },
	{ "descriptor missing", "\0\0\0\0\0\21\0\0\0\0\0\0\0\0\0\0", 16, true,
	    PE_PROTO },
	{ "bulk without the credit flag", "\0\0\0\0\0\22\0\0\0\0\0\0\0\0\0\0",
	    16, true, PE_PROTO },
	{ "unknown flags", "\0\0\0\0\0\22\0\200\0\0\0\0\0\0\0\0", 16, true,
	    PE_SYNTAX },
	{ "second hello", (const char *)hello, sizeof(hello), true, PE_PROTO },
	{ "other version",
	    "\0\0\0\10\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\143\0\20\0\0", 24, false,
	    PE_VERSION },
	{ "credit out of nothing",
	    "\0\0\0\4\0\2\0\0\0\0\0\0\0\0\0\0\377\377\377\377", 20, true,
	    PE_PROTO },
};

static void
attack(size_t k, size_t step)
{
	struct side s = { .now = 1 };
	int fd[2];
	size_t i, n;

	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(ipc_chan_new(&hub, fd[0], &spec, &s, &s.chan), 0);
	if (attacks[k].after_hello)
		assert_int_equal(
		    write(fd[1], hello, sizeof(hello)), sizeof(hello));
	for (i = 0; i < attacks[k].len; i += n) {
		n = attacks[k].len - i < step ? attacks[k].len - i : step;
		/* the channel may be closed by an earlier byte */
		(void)send(fd[1], attacks[k].bytes + i, n, MSG_NOSIGNAL);
		turn(2);
	}
	turn(3);
	if (s.downs != 1 || s.why != attacks[k].why)
		fail_msg("%s: ended %u times, with %s (%s)", attacks[k].name,
		    s.downs, err_str(s.why), s.text);
	ipc_chan_free(s.chan);
	turn(3);
	(void)close(fd[1]);
}

static void
test_attacks(void **state)
{
	size_t k;

	(void)state;
	for (k = 0; k < sizeof(attacks) / sizeof(attacks[0]); k++) {
		attack(k, 4096);
		attack(k, 1);
	}
}

/* Descriptors that no frame claims, and more than one frame may carry. */
static void
test_fd_attack(void **state)
{
	static const uint8_t plain[] = { 0, 0, 0, 4, 0, 16, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 1 };
	struct side s = { .now = 1 };
	union {
		char mem[CMSG_SPACE(3 * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { (void *)(uintptr_t)plain, sizeof(plain) };
	struct msghdr mh = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctl.mem,
		.msg_controllen = sizeof(ctl.mem) };
	struct cmsghdr *cm;
	int fd[2], three[3], before, i;

	(void)state;
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(ipc_chan_new(&hub, fd[0], &spec, &s, &s.chan), 0);
	assert_int_equal(write(fd[1], hello, sizeof(hello)), sizeof(hello));
	turn(3);
	for (i = 0; i < 3; i++)
		three[i] = dup(1);
	before = dup(1);
	(void)close(before);
	memset(&ctl, 0, sizeof(ctl));
	cm = CMSG_FIRSTHDR(&mh);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(three));
	memcpy(CMSG_DATA(cm), three, sizeof(three));
	assert_int_equal(sendmsg(fd[1], &mh, 0), sizeof(plain));
	turn(3);
	assert_int_equal(s.downs, 1);
	assert_int_equal(s.why, PE_PROTO);
	/* all three were closed again */
	i = dup(1);
	assert_int_equal(i, before);
	(void)close(i);
	for (i = 0; i < 3; i++)
		(void)close(three[i]);
	ipc_chan_free(s.chan);
	turn(3);
	(void)close(fd[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_order_and_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attacks, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_fd_attack, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
