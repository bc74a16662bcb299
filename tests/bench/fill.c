/*
 * fill.c - put deferred mail into a store, by the operations that the queue
 * itself uses: accept, then the result of a first attempt, then perhaps a
 * destination that is down.
 *
 * Started by tests/bench/bounds.py while no node runs. Many messages share one
 * transaction, as in the queue; each transaction is durable. It never touches
 * the body directory: bodies are inline.
 *
 *	fill DIR [options]
 *
 *	-n N           messages (1000)
 *	-s BYTES       size of a message (4096)
 *	-k K           recipient domains (1)
 *	--domain TEXT  d0.TEXT, d1.TEXT... (bench.test)
 *	--seq N        first X-Seq (0)
 *	--due S        the next attempt is so many seconds from now (0)
 *	--spread S     up to so many seconds later, the same for a domain (0)
 *	--fresh        no attempt was made yet
 *	--down         all of these destinations are down until their mail is due
 */
#include "tests/bench/net.h"

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/proto/submit.h"
#include "queue/store_ops.h"

#include <fcntl.h>
#include <getopt.h>

enum { PER_TXN = 2000 };

static struct {
	const char *dir, *domain;
	uint64_t messages, size, domains, seq, due_s, spread_s;
	bool fresh, down;
} set = {
	.domain = "bench.test",
	.messages = 1000,
	.size = 4096,
	.domains = 1,
};

static uint8_t *body;
static size_t seq_at;
static uint8_t *dest_done; /* a bit for each domain that is down already */

static void
must(int r, const char *what)
{
	if (r < 0)
		die(what, err_str(r));
}

static void
make_body(void)
{
	static const char head[] = "X-Seq: 0000000000\r\n"
				   "Subject: from a backlog\r\n\r\n";

	if (set.size < sizeof(head))
		set.size = sizeof(head);
	body = malloc(set.size + 1);
	if (body == NULL)
		die("malloc", "no memory");
	memcpy(body, head, sizeof(head) - 1);
	seq_at = strlen("X-Seq: ");
	for (size_t i = sizeof(head) - 1; i < set.size; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'b';
	memcpy(body + set.size - 2, "\r\n", 2);
}

static int64_t
due_of(uint64_t domain, int64_t now_s)
{
	int64_t due = now_s + (int64_t)set.due_s;

	if (set.spread_s > 0)
		due += (int64_t)(domain * 7919 % set.spread_s);
	return due;
}

static void
put_message(
    struct stxn *x, uint64_t i, uint64_t mid, int64_t now_s, uint64_t *ret_dest)
{
	char address[128], domain[96], digits[16];
	struct op_accept op = { 0 };
	struct op_rcpt rc = { 0 };

	snprintf(domain, sizeof(domain), "d%llu.%s",
	    (unsigned long long)(i % set.domains), set.domain);
	snprintf(address, sizeof(address), "r0.%llu@%s",
	    (unsigned long long)(set.seq + i), domain);
	snprintf(digits, sizeof(digits), "%010llu",
	    (unsigned long long)(set.seq + i) % 10000000000);
	memcpy(body + seq_at, digits, 10);
	rc.address = address;
	rc.domain = domain;
	rc.orcpt = "";
	rc.expires_s = now_s + 3 * 86400;
	op.mid = mid;
	op.msg.sender = "sender@source.bench.test";
	op.msg.envid = "";
	op.msg.listener = "internal";
	op.msg.client = "127.0.0.1";
	op.msg.gateway = op.msg.profile = "default";
	op.msg.message_id = "<backlog@source.bench.test>";
	op.msg.size = set.size;
	op.msg.accepted_ms = now_s * 1000;
	op.rcpts = &rc;
	op.n_rcpts = 1;
	op.body = body;
	op.body_len = set.size;
	op.body_fd = -1;
	op.due_s = set.fresh ? due_of(i % set.domains, now_s) : now_s;
	must(op_accept_run(x, &op.job), "accept");
	*ret_dest = rc.ret_dest_id;
}

static void
put_attempt(
    struct stxn *x, uint64_t i, uint64_t mid, uint64_t dest, int64_t now_s)
{
	struct op_item item = {
		.mid = mid,
		.outcome = OUTCOME_DEFERRED,
		.reason = set.down ? REASON_HOST_DOWN : REASON_REMOTE_4XX,
		.code = set.down ? 0 : 450,
		.status = set.down ? "4.4.1" : "4.2.0",
		.reply = set.down ? "connection refused" : "try again later",
		.due_s = due_of(i % set.domains, now_s),
		.owner_dest = dest,
	};
	struct op_result op = {
		.dest_id = dest,
		.host = "mx.example",
		.items = &item,
		.n = 1,
		.origin = RESULT_WORKER,
	};

	must(op_result_run(x, &op.job), "result");
	arena_done(&op.arena);
}

static void
put_down(struct stxn *x, uint64_t domain, uint64_t dest, int64_t now_s)
{
	struct op_dest op = {
		.what = OP_DEST_DOWN,
		.dest_id = dest,
		.until_s = due_of(domain, now_s),
		.reason = REASON_HOST_DOWN,
		.status = "4.4.1",
		.text = "connection refused",
		.host = "mx.example",
	};

	if ((dest_done[domain / 8] & (1u << (domain % 8))) != 0)
		return;
	dest_done[domain / 8] |= (uint8_t)(1u << (domain % 8));
	must(op_dest_run(x, &op.job), "down");
	arena_done(&op.arena);
}

static void
fill(struct store *st)
{
	struct stxn x;

	stx_init(&x, st);
	for (uint64_t i = 0; i < set.messages;) {
		int64_t now_s = clock_now_s();
		uint64_t end = i + PER_TXN;

		if (end > set.messages)
			end = set.messages;
		must(stx_begin(&x, now_s), "begin");
		for (; i < end && x.hard == 0; i++) {
			uint64_t mid = x.next_id[ID_MID]++, dest;

			x.ids_dirty = true;
			put_message(&x, i, mid, now_s, &dest);
			if (!set.fresh)
				put_attempt(&x, i, mid, dest, now_s);
			if (set.down)
				put_down(&x, i % set.domains, dest, now_s);
		}
		must(stx_commit(&x), "commit");
	}
	stx_done(&x);
}

int
main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "domain", required_argument, NULL, 'd' },
		{ "seq", required_argument, NULL, 'q' },
		{ "due", required_argument, NULL, 'D' },
		{ "spread", required_argument, NULL, 'S' },
		{ "fresh", no_argument, NULL, 'f' },
		{ "down", no_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	struct store *st;
	char err[512];
	int o, fd, r;

	while ((o = getopt_long(argc, argv, "n:s:k:", opts, NULL)) != -1) {
		switch (o) {
		case 'n':
			set.messages = number("-n", optarg, 1, 1000000000);
			break;
		case 's':
			set.size = number("-s", optarg, 1, 16384);
			break;
		case 'k':
			set.domains = number("-k", optarg, 1, 1000000000);
			break;
		case 'd':
			set.domain = optarg;
			break;
		case 'q':
			set.seq = number("--seq", optarg, 0, UINT32_MAX);
			break;
		case 'D':
			set.due_s = number("--due", optarg, 0, 1000000000);
			break;
		case 'S':
			set.spread_s =
			    number("--spread", optarg, 0, 1000000000);
			break;
		case 'f':
			set.fresh = true;
			break;
		case 'w':
			set.down = true;
			break;
		default:
			return 2;
		}
	}
	if (optind != argc - 1)
		die("usage", "fill DIR [options]; see fill.c");
	set.dir = argv[optind];
	dest_done = calloc(set.domains / 8 + 1, 1);
	if (dest_done == NULL)
		die("calloc", "no memory");
	make_body();
	fd = open(set.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die(set.dir, strerror(errno));
	r = store_open(set.dir, fd, (size_t)64 << 30, &st, err, sizeof(err));
	if (r < 0)
		die("store", err);
	fill(st);
	store_close(st);
	close(fd);
	free(body);
	free(dest_done);
	return 0;
}
