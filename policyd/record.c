/*
 * record.c - a stored policy as bytes. Pure.
 */
#include "policyd/record.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ipc/wire.h"

enum { VERSION = 1, SUM_LEN = 16 };

void
record_done(struct policy_record *rec)
{
	sts_policy_done(&rec->policy);
	free(rec->text);
	memset(rec, 0, sizeof(*rec));
}

static char *
copy_bytes(const void *data, size_t len)
{
	char *p = malloc(len > 0 ? len : 1);

	if (p != NULL && len > 0)
		memcpy(p, data, len);
	return p;
}

int
record_copy(const struct policy_record *rec, struct policy_record *ret)
{
	*ret = *rec;
	ret->text = copy_bytes(rec->text, rec->text_len);
	ret->policy.list = rec->policy.list_len > 0
	    ? copy_bytes(rec->policy.list, rec->policy.list_len)
	    : NULL;
	if (ret->text != NULL &&
	    (ret->policy.list != NULL || rec->policy.list_len == 0))
		return 0;
	record_done(ret);
	return -ENOMEM;
}

/* SHA-256, cut: of the domain and the bytes, so that a record that a damaged
 * tree serves under another name does not fit either. */
static int
checksum(const char *domain, const uint8_t *data, size_t len,
    uint8_t sum[EVP_MAX_MD_SIZE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx != NULL &&
	    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, domain, strlen(domain) + 1) == 1 &&
	    EVP_DigestUpdate(ctx, data, len) == 1 &&
	    EVP_DigestFinal_ex(ctx, sum, NULL) == 1;

	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -ENOMEM;
}

int
record_encode(const struct policy_record *rec, struct buf *b)
{
	struct ipc_wr w = { .b = b };
	uint8_t sum[EVP_MAX_MD_SIZE];
	size_t start = buf_len(b);
	int r;

	ipc_wr_u8(&w, VERSION);
	ipc_wr_str(&w, rec->id);
	ipc_wr_i64(&w, rec->fetched_s);
	ipc_wr_i64(&w, rec->used_s);
	ipc_wr_i64(&w, rec->refresh_s);
	ipc_wr_u32(&w, rec->failures);
	ipc_wr_str(&w, rec->error);
	ipc_wr_u8(&w, (uint8_t)rec->policy.mode);
	ipc_wr_u32(&w, rec->policy.max_age_s);
	ipc_wr_u32(&w, rec->policy.n_mx);
	ipc_wr_bytes(&w, rec->policy.list, rec->policy.list_len);
	ipc_wr_bytes(&w, rec->text, rec->text_len);
	if (w.err != 0)
		return w.err;
	r = checksum(rec->domain, buf_data(b) + start, buf_len(b) - start, sum);
	return r < 0 ? r : buf_put(b, sum, SUM_LEN);
}

static uint32_t
count(const char *list, size_t len)
{
	size_t at = 0;
	uint32_t n = 0;

	while (sts_list_next(list, len, &at) != NULL)
		n++;
	return at == len ? n : UINT32_MAX;
}

static int
take_fields(struct ipc_rd *rd, struct policy_record *rec)
{
	const uint8_t *list, *text;
	size_t list_len, text_len;

	if (ipc_rd_u8(rd) != VERSION)
		return PE_CORRUPT;
	memcpy(rec->id, "", 1);
	(void)strncat(rec->id, ipc_rd_str(rd, STS_ID_MAX), sizeof(rec->id) - 1);
	rec->fetched_s = ipc_rd_i64(rd);
	rec->used_s = ipc_rd_i64(rd);
	rec->refresh_s = ipc_rd_i64(rd);
	rec->failures = ipc_rd_u32(rd);
	(void)strncat(rec->error, ipc_rd_str(rd, RECORD_ERROR_SIZE - 1),
	    sizeof(rec->error) - 1);
	rec->policy.mode = (enum sts_mode)ipc_rd_enum(rd, STS_MODE_ENFORCE);
	rec->policy.max_age_s = ipc_rd_u32(rd);
	rec->policy.n_mx = ipc_rd_u32(rd);
	list = ipc_rd_bytes(rd, STS_LIST_MAX, &list_len);
	text = ipc_rd_bytes(rd, STS_TEXT_MAX, &text_len);
	if (ipc_rd_end(rd) < 0 || rec->policy.max_age_s > STS_MAX_AGE_MAX ||
	    count((const char *)list, list_len) != rec->policy.n_mx ||
	    (rec->policy.n_mx == 0 && rec->policy.mode != STS_MODE_NONE))
		return PE_CORRUPT;
	rec->text = copy_bytes(text, text_len);
	rec->text_len = text_len;
	if (list_len > 0)
		rec->policy.list = copy_bytes(list, list_len);
	rec->policy.list_len = list_len;
	if (rec->text == NULL || (list_len > 0 && rec->policy.list == NULL))
		return -ENOMEM;
	return 0;
}

int
record_decode(const char *domain, const uint8_t *data, size_t len,
    struct policy_record *ret)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	struct ipc_rd rd;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (len < SUM_LEN || strlen(domain) >= sizeof(ret->domain))
		return PE_CORRUPT;
	r = checksum(domain, data, len - SUM_LEN, sum);
	if (r < 0)
		return r;
	if (memcmp(sum, data + len - SUM_LEN, SUM_LEN) != 0)
		return PE_CORRUPT;
	memcpy(ret->domain, domain, strlen(domain) + 1);
	ipc_rd_init(&rd, data, len - SUM_LEN);
	r = take_fields(&rd, ret);
	if (r < 0)
		record_done(ret);
	return r;
}
