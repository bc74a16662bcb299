/*
 * Records of the store are bytes from a disk: any decoder may get anything.
 * What decodes must encode to the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "queue/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
same(struct buf *b, int r, const uint8_t *p, size_t len)
{
	if (r < 0 || buf_len(b) != len || memcmp(buf_data(b), p, len) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rec_counters c;
	struct rec_rcpt rc;
	struct rec_dest d;
	struct rec_msg m;
	struct dq_entry e;
	struct buf b;
	uint64_t id;
	uint32_t rid;
	int64_t t;

	if (len == 0)
		return 0;
	buf_init(&b, 1 << 20);
	switch (data[0] % 5) {
	case 0:
		if (rec_msg_decode(data + 1, len - 1, &m) == 0)
			same(&b, rec_msg_encode(&b, &m), data + 1, len - 1);
		break;
	case 1:
		if (rec_rcpt_decode(data + 1, len - 1, &rc) == 0)
			same(&b, rec_rcpt_encode(&b, &rc), data + 1, len - 1);
		break;
	case 2:
		if (rec_dest_decode(data + 1, len - 1, &d) == 0)
			same(&b, rec_dest_encode(&b, &d), data + 1, len - 1);
		break;
	case 3:
		if (rec_counters_decode(data + 1, len - 1, &c) == 0)
			same(
			    &b, rec_counters_encode(&b, &c), data + 1, len - 1);
		break;
	default:
		(void)key_dq_parse(data + 1, len - 1, &id, &e);
		(void)key_time_parse(data + 1, len - 1, &t, &id);
		(void)key_rcpt_parse(data + 1, len - 1, &id, &rid);
		(void)key_u64_parse(data + 1, len - 1, &id);
		break;
	}
	buf_done(&b);
	return 0;
}
