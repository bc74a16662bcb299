/*
 * http.h - the HTTP library on our loop: requests come out, responses go in.
 */
#ifndef POSTERN_ADMIN_HTTP_H
#define POSTERN_ADMIN_HTTP_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct MHD_Connection;
struct http;

enum { HTTP_RESPONSE_MAX = 16 * 1024 * 1024 };

enum http_kind {
	HTTP_CONTROL = 1, /* the Unix socket: everything */
	HTTP_WEB = 2,	  /* TCP: looking only, until there is a login */
};

struct http_req {
	enum http_kind kind;
	const char *method; /* "GET" also for HEAD */
	const char *path;   /* decoded, without query */
	struct buf body;

	/* The handler's: freed by abandon() when it is not NULL any more. */
	void *work;
	void (*abandon)(void *work);

	/* private to http.c */
	struct MHD_Connection *conn;
	struct http *http;
	bool called, suspended, ready;
	uint16_t status;
	const char *type, *allow;
	struct buf out;
};

/* Answers with http_reply(), in the call or later. */
typedef void http_handler(void *arg, struct http_req *req);

struct http_stats {
	uint64_t requests, errors; /* errors: status 400 and above */
};

struct http *http_new(uv_loop_t *loop, enum http_kind kind,
    http_handler *handler, void *arg, struct http_stats *stats);
/* All connections end. NULL is fine. */
void http_free(struct http *h);

/* A connection whose bytes are checked (front.h); fd is taken. */
int http_take(void *http, int fd);

/* A query argument, or NULL when absent; "" when it has no value. Borrowed. */
const char *http_arg(const struct http_req *req, const char *name);
/* Is an argument there that is not in the NULL-terminated list? Its name. */
const char *http_arg_unknown(
    const struct http_req *req, const char *const *known);

/* The answer; the bytes of doc are moved. type: "application/json" … static. */
void http_reply(
    struct http_req *req, uint16_t status, const char *type, struct buf *doc);
/* {"error": {code, process, text}}; text may come from anywhere. */
void http_error(struct http_req *req, uint16_t status, const char *process,
    const char *text);
/* 405; allow is static: "GET, DELETE". */
void http_not_allowed(struct http_req *req, const char *allow);

#endif
