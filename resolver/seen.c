/*
 * seen.c - which name servers validated, in a file: a server that validates no
 * more when we start is not taken for one that never did, or a restart would be
 * a way to take DANE away (tls-policy.md, section 2).
 *
 * One line per server: "validated SERVER NAME TYPE", where the name is one that
 * was signed. The file is small and written when a server is seen to validate for
 * the first time, and at a reload, which forgets the servers that are no longer
 * named. A file that cannot be read or is torn costs the memory only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "resolver/peers.h"

enum { FILE_MAX = 4096 };

static void
failed(const char *what, int err)
{
	log_warn("resolver_seen", "which DNS servers validate cannot be %s: %s",
	    what, err_str(err));
}

static void
on_seen_timer(uv_timer_t *t)
{
	seen_save(t->data);
}

/* The name follows with the answer, so not now. */
static void
on_seen(void *arg)
{
	struct app *app = arg;

	(void)uv_timer_start(&app->seen_timer, on_seen_timer, 0, 0);
}

static void
take_lines(struct app *app, char *text)
{
	char *line, *end, server[64], name[DNS_NAME_SIZE];
	unsigned type;

	for (line = strtok_r(text, "\n", &end); line != NULL;
	     line = strtok_r(NULL, "\n", &end))
		if (sscanf(line, "validated %63s %253s %u", server, name,
			&type) == 3 &&
		    type <= UINT16_MAX)
			resolver_remember(app->r, server, name, (uint16_t)type);
}

void
seen_load(struct app *app)
{
	struct child *c = app->child;
	char text[FILE_MAX + 1];
	ssize_t n;
	int r;

	(void)uv_timer_init(c->loop, &app->seen_timer); /* cannot fail */
	app->seen_timer.data = app;
	app->seen_fd = -1;
	resolver_on_seen(app->r, on_seen, app);
	if (c->dir_fd < 0)
		return;
	r = child_as_user(c);
	if (r == 0) {
		app->seen_fd = openat(c->dir_fd, "validated",
		    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (app->seen_fd < 0)
			r = -errno;
	}
	if (child_as_root(c) < 0 || r < 0) {
		failed("kept", r);
		return;
	}
	n = pread(app->seen_fd, text, FILE_MAX, 0);
	if (n < 0) {
		failed("read", -errno);
		return;
	}
	text[n] = '\0';
	take_lines(app, text);
}

void
seen_save(struct app *app)
{
	struct resolver_stats st;
	char text[FILE_MAX];
	const char *name;
	uint16_t type;
	size_t i, len = 0;

	if (app->seen_fd < 0)
		return;
	resolver_stats(app->r, &st);
	name = resolver_signed(app->r, &type);
	for (i = 0; i < st.n_servers; i++)
		if (st.servers[i].seen_ad && st.servers[i].trust_ad)
			/* 8 lines of at most 340 bytes fit */
			len += (size_t)snprintf(text + len, sizeof(text) - len,
			    "validated %s %s %u\n", st.servers[i].text,
			    name[0] == '\0' ? PROBE_DEFAULT : name,
			    name[0] == '\0' ? (unsigned)DNS_A : type);
	/* a few hundred bytes once in a life: it may block that long */
	if (pwrite(app->seen_fd, text, len, 0) != (ssize_t)len ||
	    ftruncate(app->seen_fd, (off_t)len) < 0 ||
	    fdatasync(app->seen_fd) < 0)
		failed("written", -errno);
}
