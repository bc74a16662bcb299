/*
 * admin.h - what the files of this process share.
 */
#ifndef POSTERN_ADMIN_ADMIN_H
#define POSTERN_ADMIN_ADMIN_H

#include "admin/ask.h"
#include "admin/front.h"
#include "admin/http.h"
#include "admin/owners.h"
#include "admin/rates.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct metrics_set;

enum { ADMIN_LISTENERS_MAX = 32 };

struct admin {
	uv_loop_t *loop;
	struct owners *owners;
	struct http *control, *web;
	struct front *fronts[ADMIN_LISTENERS_MAX];
	size_t n_fronts, n_draining;
	struct front_stats front_stats;
	struct http_stats http_stats;
	bool metrics; /* [admin] metrics */
	char hostname[256];
	int64_t started_ms, started_s;

	struct rates rates;
	uv_timer_t *sample_timer; /* freed in its close callback */
	struct ask *sample;	  /* under way, or NULL */

	void (*on_drained)(void *arg);
	void *drained_arg;
};

/* Zeroed before. 0, or negative after a log line. hooks are copied. */
int admin_open(struct admin *a, uv_loop_t *loop, struct ipc_hub *hub,
    const struct owners_hooks *hooks);

/* Serve a listening socket (taken); owner_uid: who may use "control". */
int admin_listen(struct admin *a, enum http_kind kind, int fd, uid_t owner_uid);

/* Take nothing new; on_drained when no connection is left, perhaps at once. */
void admin_drain(struct admin *a, void (*on_drained)(void *arg), void *arg);

void admin_close(struct admin *a);

/* api.c: every resource (http_handler; arg is the struct admin). */
void api_handle(void *arg, struct http_req *req);

/* status.c: documents made of the answers of many processes. */
void status_finish(
    struct admin *a, struct http_req *req, struct ask *ask, bool detail);
void metrics_finish(struct admin *a, struct http_req *req, struct ask *ask);
void health_finish(struct admin *a, struct http_req *req, struct ask *ask);

/* views.c: several answers about one thing. */
void host_finish(struct http_req *req, struct ask *ask, const char *domain);
void explain_finish(struct http_req *req, struct ask *ask);
void check_finish(struct http_req *req, struct ask *ask, const char *domain);

/* "queue", "smtpd 2": how a process is named to people. */
const char *process_name(
    enum role role, uint32_t instance, char *buf, size_t len);

#endif
