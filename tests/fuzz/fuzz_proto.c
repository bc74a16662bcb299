/*
 * fuzz_proto.c - every message of lib/proto from arbitrary bytes. What decodes
 * must encode to the same bytes: nothing is believed that was not on the wire.
 */
#include "lib/base/buf.h"
#include "lib/ipc/wire.h"
#include "lib/proto/admin.h"
#include "lib/proto/control.h"
#include "lib/proto/handoff.h"
#include "lib/proto/policy.h"
#include "lib/proto/resolve.h"
#include "lib/proto/submit.h"

#include <stdint.h>
#include <string.h>

/* clang-format off */
#define PAIR(type)                                                      \
	static int type##_again(struct ipc_rd *r, struct ipc_wr *w)     \
	{                                                               \
		static struct type m;                                   \
		int err = type##_decode(r, &m);                         \
									\
		if (err == 0)                                           \
			type##_encode(w, &m);                           \
		return err;                                             \
	}

/* clang-format on */
PAIR(ctl_config)
PAIR(ctl_listener)
PAIR(ctl_dir)
PAIR(ctl_peer)
PAIR(ctl_start)
PAIR(ctl_drain)
PAIR(ctl_ready)
PAIR(ctl_config_done)
PAIR(ctl_broken)
PAIR(ctl_permit_ask)
PAIR(ctl_permit_grant)
PAIR(ctl_permit_wait)
PAIR(ctl_permit_free)
PAIR(submit_begin)
PAIR(submit_rcpt)
PAIR(submit_commit)
PAIR(submit_done)
PAIR(ids_ask)
PAIR(ids_grant)
PAIR(queue_state)
PAIR(hand_want)
PAIR(hand_offer)
PAIR(hand_more)
PAIR(hand_pull)
PAIR(hand_message)
PAIR(hand_pull_end)
PAIR(hand_result)
PAIR(hand_return)
PAIR(hand_dest_state)
PAIR(hand_dest)
PAIR(resolve_ask)
PAIR(policy_ask)
PAIR(policy_answer)
PAIR(adm_call)
PAIR(adm_end)
PAIR(ctl_connect_ask)
PAIR(ctl_rcpt_ask)
PAIR(ctl_rcpt_grant)
PAIR(ctl_rcpt_done)
PAIR(ctl_suspend)

static int (*const pairs[])(struct ipc_rd *r, struct ipc_wr *w) = {
	ctl_config_again,
	ctl_listener_again,
	ctl_dir_again,
	ctl_peer_again,
	ctl_start_again,
	ctl_drain_again,
	ctl_ready_again,
	ctl_config_done_again,
	ctl_broken_again,
	ctl_permit_ask_again,
	ctl_permit_grant_again,
	ctl_permit_wait_again,
	ctl_permit_free_again,
	submit_begin_again,
	submit_rcpt_again,
	submit_commit_again,
	submit_done_again,
	ids_ask_again,
	ids_grant_again,
	queue_state_again,
	hand_want_again,
	hand_offer_again,
	hand_more_again,
	hand_pull_again,
	hand_message_again,
	hand_pull_end_again,
	hand_result_again,
	hand_return_again,
	hand_dest_state_again,
	hand_dest_again,
	resolve_ask_again,
	policy_ask_again,
	policy_answer_again,
	adm_call_again,
	adm_end_again,
	ctl_connect_ask_again,
	ctl_rcpt_ask_again,
	ctl_rcpt_grant_again,
	ctl_rcpt_done_again,
	ctl_suspend_again,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf b;
	struct ipc_wr w = { .b = &b };
	struct ipc_rd r;
	size_t which;

	if (len < 1)
		return 0;
	which = data[0] % (sizeof(pairs) / sizeof(pairs[0]));
	buf_init(&b, 4 * 1024 * 1024);
	ipc_rd_init(&r, data + 1, len - 1);
	if (pairs[which](&r, &w) == 0 &&
	    (w.err != 0 || buf_len(&b) != len - 1 ||
		memcmp(buf_data(&b), data + 1, len - 1) != 0))
		__builtin_trap();
	buf_done(&b);
	return 0;
}
