/*
 * archive.c - the text of a message into a file of the client's. The node hands
 * it over in pieces and never writes a file for anybody.
 */
#include "ctl/ctl.h"
#include "lib/base/base64.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The piece from offset on: from malloc(). A CTL_ code. */
static int
fetch(struct ctl *ctl, const char *mid, uint64_t offset, uint8_t **ret_data,
    size_t *ret_len, uint64_t *ret_size)
{
	char path[96];
	const char *text;
	json_t *doc;
	size_t len;
	int code;

	*ret_data = NULL;
	(void)snprintf(
	    path, sizeof(path), "/v1/body/%s?offset=%" PRIu64, mid, offset);
	code = ctl_ask(ctl, "GET", path, NULL, &doc);
	if (doc == NULL)
		return code;
	text = json_string_value(json_object_get(doc, "data"));
	*ret_size = (uint64_t)json_integer_value(json_object_get(doc, "size"));
	len = text == NULL ? 0 : strlen(text);
	*ret_data = malloc(len + 1);
	if (*ret_data == NULL)
		abort();
	if (text == NULL || base64_decode(text, len, *ret_data, ret_len) < 0 ||
	    (*ret_len == 0 && offset < *ret_size) ||
	    offset + *ret_len > *ret_size) {
		(void)fputs("posternctl: the node's answer is no part of a "
			    "message\n",
		    ctl->err);
		code = CTL_UNREACHABLE;
	}
	json_decref(doc);
	return code;
}

static int
put(int fd, const uint8_t *data, size_t len)
{
	ssize_t n;

	for (; len > 0; data += n, len -= (size_t)n) {
		n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0)
			return -errno;
	}
	return 0;
}

static int
cannot(struct ctl *ctl, const char *file, int r)
{
	(void)fprintf(ctl->err, "posternctl: %s: %s\n", file, strerror(-r));
	return CTL_NO;
}

/* All of it into fd, whose first piece is here. */
static int
write_all(struct ctl *ctl, const char *mid, const char *file, int fd,
    uint8_t *data, size_t len, uint64_t size)
{
	uint64_t at = 0;
	int code = CTL_DONE, r = 0;

	for (;;) {
		r = put(fd, data, len);
		free(data);
		at += len;
		if (r < 0 || at >= size)
			break;
		code = fetch(ctl, mid, at, &data, &len, &size);
		if (code != CTL_DONE) {
			free(data);
			return code;
		}
	}
	if (r == 0 && fsync(fd) < 0 && errno != EINVAL)
		r = -errno;
	return r < 0 ? cannot(ctl, file, r) : CTL_DONE;
}

static void
tell(struct ctl *ctl, const char *mid, const char *file, uint64_t size)
{
	json_t *doc;

	if (!ctl->json) {
		(void)fprintf(ctl->out, "message %s: %" PRIu64 " bytes in %s\n",
		    mid, size, file);
		return;
	}
	doc = json_pack("{s:I, s:s, s:I}", "mid",
	    (json_int_t)strtoull(mid, NULL, 10), "file", file, "size",
	    (json_int_t)size);
	ctl_print_json(ctl, doc);
	json_decref(doc);
}

int
cmd_archivemessage(struct ctl *ctl, const struct args *a)
{
	const char *mid = a->pos[0], *file = a->pos[1];
	uint8_t *data;
	uint64_t size;
	size_t len;
	int fd, code;

	if (mid[0] == '\0' || strspn(mid, "0123456789") != strlen(mid) ||
	    strlen(mid) > 20) {
		(void)fprintf(
		    ctl->err, "posternctl: MID is a number, not '%s'\n", mid);
		return CTL_USAGE;
	}
	/* first the message: without one there is to be no file */
	code = fetch(ctl, mid, 0, &data, &len, &size);
	if (code != CTL_DONE) {
		free(data);
		return code;
	}
	fd = open(
	    file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		free(data);
		return cannot(ctl, file, -errno);
	}
	code = write_all(ctl, mid, file, fd, data, len, size);
	if (close(fd) < 0 && code == CTL_DONE)
		code = cannot(ctl, file, -errno);
	if (code == CTL_DONE)
		tell(ctl, mid, file, size);
	else
		(void)unlink(file); /* ours, and not whole */
	return code;
}
