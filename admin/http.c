/*
 * http.c - libmicrohttpd under libuv, with its own epoll as one poll handle.
 *
 * Called by front.c with checked connections and by api.c with answers. Never
 * starts a thread, listens or times out: front.c does. A request that waits for
 * a process is suspended, and resumed by http_reply().
 */
#include "admin/http.h"
#include "admin/http_head.h"
#include "lib/base/err.h"
#include "lib/json/json.h"
#include "lib/log/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct http {
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	int handles;
	enum http_kind kind;
	http_handler *handler;
	void *arg;
	struct http_stats *stats;
	bool running, stopping;
	struct http_req *reqs[256]; /* alive, for the end */
	size_t n_reqs;
};

static void run(struct http *h);

/* ---- the loop ------------------------------------------------------------------- */

static void
on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

static void
run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (h->running || h->stopping)
		return; /* we are inside it: it goes on by itself */
	h->running = true;
	(void)MHD_run(h->daemon); /* fails only when used wrongly */
	h->running = false;
	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
		(void)uv_timer_start(&h->timer, on_timer, ms, 0);
	else
		(void)uv_timer_stop(&h->timer);
}

/* ---- requests ----------------------------------------------------------------------- */

static void
req_free(struct http_req *req)
{
	struct http *h = req->http;
	size_t i;

	for (i = 0; i < h->n_reqs; i++)
		if (h->reqs[i] == req) {
			h->reqs[i] = h->reqs[--h->n_reqs];
			break;
		}
	if (req->work != NULL)
		req->abandon(req->work);
	buf_done(&req->body);
	buf_done(&req->out);
	free((void *)(uintptr_t)req->method);
	free((void *)(uintptr_t)req->path);
	free(req);
}

static struct http_req *
req_new(struct http *h, struct MHD_Connection *conn, const char *url,
    const char *method)
{
	struct http_req *req;

	if (h->n_reqs == sizeof(h->reqs) / sizeof(h->reqs[0]))
		return NULL;
	req = calloc(1, sizeof(*req));
	if (req == NULL)
		return NULL;
	req->http = h;
	req->conn = conn;
	req->kind = h->kind;
	buf_init(&req->body, HTTP_BODY_MAX);
	buf_init(&req->out, HTTP_RESPONSE_MAX);
	req->method = strdup(strcmp(method, "HEAD") == 0 ? "GET" : method);
	req->path = strdup(url);
	h->reqs[h->n_reqs++] = req;
	if (req->method == NULL || req->path == NULL) {
		req_free(req);
		return NULL;
	}
	return req;
}

static enum MHD_Result
queue_response(struct http_req *req)
{
	size_t len = buf_len(&req->out);
	struct MHD_Response *resp;
	enum MHD_Result r;

	if (len > 0 && req->out.head == 0) {
		/* the library frees the storage */
		resp = MHD_create_response_from_buffer(
		    len, req->out.mem, MHD_RESPMEM_MUST_FREE);
		if (resp != NULL)
			buf_init(&req->out, 0);
	} else {
		resp = MHD_create_response_from_buffer(
		    len, buf_data(&req->out), MHD_RESPMEM_MUST_COPY);
	}
	if (resp == NULL)
		return MHD_NO;
	(void)MHD_add_response_header(resp, "Content-Type", req->type);
	(void)MHD_add_response_header(resp, "Cache-Control", "no-store");
	(void)MHD_add_response_header(
	    resp, "X-Content-Type-Options", "nosniff");
	if (req->allow != NULL)
		(void)MHD_add_response_header(resp, "Allow", req->allow);
	r = MHD_queue_response(req->conn, req->status, resp);
	MHD_destroy_response(resp);
	return r;
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *upload_data,
    size_t *upload_data_size, void **con_cls)
{
	struct http *h = cls;
	struct http_req *req = *con_cls;

	(void)version;
	if (req == NULL) {
		req = req_new(h, conn, url, method);
		*con_cls = req;
		return req == NULL ? MHD_NO : MHD_YES;
	}
	if (*upload_data_size > 0) {
		if (buf_put(&req->body, upload_data, *upload_data_size) < 0)
			return MHD_NO; /* front.c refused more than fits */
		*upload_data_size = 0;
		return MHD_YES;
	}
	if (!req->called) {
		req->called = true;
		h->stats->requests++;
		h->handler(h->arg, req);
	}
	if (req->ready)
		return queue_response(req);
	req->suspended = true;
	MHD_suspend_connection(conn);
	return MHD_YES;
}

static void
on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
    enum MHD_RequestTerminationCode why)
{
	(void)cls;
	(void)conn;
	(void)why;
	if (*con_cls != NULL)
		req_free(*con_cls);
	*con_cls = NULL;
}

const char *
http_arg(const struct http_req *req, const char *name)
{
	const char *value = NULL;
	size_t len = 0;

	if (MHD_lookup_connection_value_n(req->conn, MHD_GET_ARGUMENT_KIND,
		name, strlen(name), &value, &len) != MHD_YES)
		return NULL;
	return value == NULL ? "" : value;
}

struct known {
	const char *const *names;
	const char *other;
};

static enum MHD_Result
look_at_arg(
    void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct known *k = cls;
	size_t i;

	(void)kind;
	(void)value;
	for (i = 0; k->names[i] != NULL; i++)
		if (strcmp(k->names[i], key) == 0)
			return MHD_YES;
	k->other = key;
	return MHD_NO;
}

const char *
http_arg_unknown(const struct http_req *req, const char *const *known)
{
	struct known k = { known, NULL };

	(void)MHD_get_connection_values(
	    req->conn, MHD_GET_ARGUMENT_KIND, look_at_arg, &k);
	return k.other;
}

/* ---- answers ----------------------------------------------------------------------- */

void
http_reply(
    struct http_req *req, uint16_t status, const char *type, struct buf *doc)
{
	struct http *h = req->http;

	if (req->ready)
		return; /* a second answer has nowhere to go */
	req->ready = true;
	req->status = status;
	req->type = type;
	if (status >= 400)
		h->stats->errors++;
	buf_done(&req->out);
	req->out = *doc;
	buf_init(doc, 0);
	if (req->suspended) {
		req->suspended = false;
		MHD_resume_connection(req->conn);
		run(h);
	}
}

void
http_error(struct http_req *req, uint16_t status, const char *process,
    const char *text)
{
	struct buf doc;
	struct json j;

	buf_init(&doc, 4096);
	json_init(&j, &doc);
	json_put_obj(&j, NULL);
	json_put_obj(&j, "error");
	json_put_uint(&j, "code", status);
	json_put_str(&j, "process", process);
	json_put_str(&j, "text", text);
	json_put_end_obj(&j);
	json_put_end_obj(&j);
	(void)buf_puts(&doc, "\n"); /* short of memory: cut, never wrong */
	http_reply(req, status, "application/json", &doc);
}

void
http_not_allowed(struct http_req *req, const char *allow)
{
	char text[96];

	req->allow = allow;
	(void)snprintf(
	    text, sizeof(text), "this resource knows %s only", allow);
	http_error(req, 405, "admin", text);
}

/* ---- life -------------------------------------------------------------------------- */

int
http_take(void *http, int fd)
{
	struct http *h = http;
	/* a Unix address: the library then leaves TCP options alone */
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (h->stopping) {
		(void)close(fd);
		return PE_GONE;
	}
	if (MHD_add_connection(
		h->daemon, fd, (struct sockaddr *)&sun, sizeof(sun)) != MHD_YES)
		return -ENOMEM; /* the library closed fd */
	run(h);
	return 0;
}

struct http *
http_new(uv_loop_t *loop, enum http_kind kind, http_handler *handler, void *arg,
    struct http_stats *stats)
{
	struct http *h = calloc(1, sizeof(*h));
	const union MHD_DaemonInfo *info;

	if (h == NULL)
		return NULL;
	h->kind = kind;
	h->handler = handler;
	h->arg = arg;
	h->stats = stats;
	h->daemon = MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME,
	    0, NULL, NULL, on_request, h, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)(sizeof(h->reqs) / sizeof(h->reqs[0])),
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(64 * 1024),
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED,
	    on_completed, h, MHD_OPTION_END);
	if (h->daemon == NULL) {
		free(h);
		return NULL;
	}
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL || uv_poll_init(loop, &h->poll, info->epoll_fd) < 0) {
		MHD_stop_daemon(h->daemon);
		free(h);
		return NULL;
	}
	h->poll.data = h;
	(void)uv_timer_init(loop, &h->timer); /* cannot fail */
	h->timer.data = h;
	(void)uv_poll_start(&h->poll, UV_READABLE, on_poll);
	return h;
}

static void
on_closed(uv_handle_t *handle)
{
	struct http *h = handle->data;

	if (--h->handles > 0)
		return;
	MHD_stop_daemon(h->daemon); /* closes the epoll that poll watched */
	free(h);
}

void
http_free(struct http *h)
{
	size_t i;

	if (h == NULL || h->stopping)
		return;
	h->stopping = true;
	for (i = 0; i < h->n_reqs; i++) {
		struct http_req *req = h->reqs[i];

		if (req->work != NULL)
			req->abandon(req->work);
		req->work = NULL;
		if (req->suspended)
			MHD_resume_connection(req->conn);
		req->suspended = false;
	}
	h->handles = 2;
	uv_close((uv_handle_t *)&h->poll, on_closed);
	uv_close((uv_handle_t *)&h->timer, on_closed);
}
