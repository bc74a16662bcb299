/*
 * mail.c - a message that was pulled: its envelope and an inline body in one
 * block, or the body as a read-only file.
 */
#include "deliver/deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Copy text to *at and move on. */
static const char *
put(char **at, const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = memcpy(*at, text, len);

	*at += len;
	return copy;
}

static ssize_t
read_body(void *arg, uint64_t at, uint8_t *buf, size_t cap)
{
	struct mail *m = arg;
	ssize_t n;

	if (at >= m->msg.size)
		return 0;
	if (cap > m->msg.size - at)
		cap = (size_t)(m->msg.size - at);
	if (m->fd < 0) {
		memcpy(buf, m->body + at, cap);
		return (ssize_t)cap;
	}
	do {
		n = pread(m->fd, buf, cap, (off_t)at);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* A regular file, open for reading only, at least as long as was said. */
static bool
body_file_ok(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size >= size &&
	    (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

struct mail *
mail_new(const struct hand_message *m, int fd)
{
	struct mail *mail = calloc(1, sizeof(*mail));
	size_t i, len;
	char *at;

	if (mail == NULL) {
		if (fd >= 0)
			(void)close(fd);
		return NULL;
	}
	mail->fd = fd;
	len = strlen(m->sender) + strlen(m->envid) + 2 + m->body_len;
	for (i = 0; i < m->n_rcpts; i++)
		len +=
		    strlen(m->rcpts[i].address) + strlen(m->rcpts[i].orcpt) + 2;
	mail->data = malloc(len);
	mail->msg.rcpts = calloc(m->n_rcpts, sizeof(mail->msg.rcpts[0]));
	if (mail->data == NULL || mail->msg.rcpts == NULL) {
		mail_free(mail);
		return NULL;
	}
	at = mail->data;
	mail->dest_id = m->dest_id;
	mail->mid = m->mid;
	mail->accepted_ms = m->accepted_ms;
	mail->msg.sender = put(&at, m->sender);
	mail->msg.envid = put(&at, m->envid);
	mail->msg.ret = m->ret;
	mail->msg.flags = m->flags;
	mail->msg.size = m->size;
	mail->msg.n_rcpts = m->n_rcpts;
	mail->msg.read = read_body;
	mail->msg.arg = mail;
	for (i = 0; i < m->n_rcpts; i++) {
		struct session_rcpt *rc = &mail->msg.rcpts[i];

		rc->rid = m->rcpts[i].rid;
		rc->attempts = m->rcpts[i].attempts;
		rc->address = put(&at, m->rcpts[i].address);
		rc->orcpt = put(&at, m->rcpts[i].orcpt);
		rc->notify = m->rcpts[i].notify;
	}
	if (fd < 0) {
		if (m->body_len > 0)
			memcpy(at, m->body, m->body_len);
		mail->body = (const uint8_t *)at;
	} else if (!body_file_ok(fd, m->size)) {
		/* told as a message that cannot be read, when it is sent */
		mail->msg.read = NULL;
	}
	return mail;
}

void
mail_free(struct mail *mail)
{
	if (mail == NULL)
		return;
	if (mail->msg.rcpts != NULL)
		session_msg_done(&mail->msg);
	if (mail->fd >= 0)
		(void)close(mail->fd);
	if (mail->files != NULL)
		--*mail->files;
	free(mail->msg.rcpts);
	free(mail->data);
	free(mail);
}
