/*
 * resolver.h - the resolver without its channels: ask, get an answer with its
 * security state, from the cache or from a server.
 *
 * Called by main.c, the peer files and tests. Every question ends in exactly
 * one answer, at the latest at its deadline; one that could not be had is
 * indeterminate and says why (RFC 7672, 2.1.1). One question per name and type
 * is asked at a time, whoever waits for it.
 */
#ifndef POSTERN_RESOLVER_RESOLVER_H
#define POSTERN_RESOLVER_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "lib/dns/dns.h"

struct question;
struct resolver;

enum {
	RESOLVER_SERVERS_MAX = 8,
	RESOLVER_IN_FLIGHT_MAX = 8192,
	RESOLVER_WAITING_MAX = 8192, /* questions that wait for a place */
	RESOLVER_ASKERS_MAX = 32768, /* requests open in all */
	RESOLVER_FAIL_TTL_S = 2,     /* how long "could not find out" is kept:
				      * a dead server is not hammered */
};

struct resolver_server {
	char text[64]; /* "127.0.0.1:53", "[::1]:53" */
	bool trust_ad; /* its AD bit is believed (standards DANE-03) */
	bool network;  /* not on this host: replies may be forged */
};

struct resolver_settings {
	size_t n_servers; /* asked in this order; 0 only with anchors: from the
			   * root down */
	struct resolver_server servers[RESOLVER_SERVERS_MAX];
	int64_t timeout_ms;	/* one question: all servers, tries and links */
	uint32_t tries;		/* per server, at least 1 */
	int64_t min_ttl_s;	/* raises TTLs, not those of TLSA (6698, 8.2) */
	int64_t max_ttl_s;	/* upper bound of every TTL */
	int64_t negative_ttl_s; /* upper bound for nodata and nxdomain */
	size_t cache_size;	/* bytes */
	uint32_t max_queries;	/* in flight, cut to RESOLVER_IN_FLIGHT_MAX */
	uint32_t max_waiting;	/* 0: RESOLVER_WAITING_MAX */
	bool mix_case;		/* 0x20, for servers over a network */
	bool demand;		/* an answer without AD counts only from a
				 * server that shows that it validates */
	char check_name[DNS_NAME_SIZE]; /* ought to be signed; "": none */
	const char *anchors; /* borrowed for the call: DS or DNSKEY records, one
			      * a line. NULL: the servers validate; else we do */
};

/* borrowed for the call */
typedef void resolver_cb(void *arg, const struct dns_answer *answer);

/* A request, in the asker's storage. */
struct resolver_req {
	TAILQ_ENTRY(resolver_req) link;
	struct question *question; /* NULL when not open */
	resolver_cb *cb;
	void *arg;
};

enum {
	RESOLVER_FRESH = 1, /* ask past the cache; the answer renews it */
	RESOLVER_PLAIN = 2, /* an answer that would be doubted is insecure; it
			     * is not kept */
};

/*
 * Opens no file and no socket: c-ares is told everything that it would read
 * from /etc/resolv.conf, so this and resolver_configure() work in an empty root
 * directory. 0, -EINVAL (settings, anchors), -ENOMEM, -EIO (c-ares), PE_NOT_FOUND
 * (anchors, and built without libunbound).
 */
int resolver_new(uv_loop_t *loop, const struct resolver_settings *settings,
    struct resolver **ret_resolver);

/* A new set: servers are exchanged, open questions go to the new ones, and the
 * cache is dropped when another server or another trust made it. As above; on
 * failure the old set stays. */
int resolver_configure(
    struct resolver *r, const struct resolver_settings *settings);

/*
 * Ask for a normalised name. Returns
 *   1: *ret_answer is there at once, borrowed until the return to the loop;
 *      req is not used;
 *   0: req->cb will be called, never from inside this call;
 *   -EINVAL: name or type cannot be asked for; PE_FULL: a bound is reached,
 *   answer as DNS_WHY_BUSY; PE_GONE while it stops; -ENOMEM. No callback
 *   follows.
 */
int resolver_ask(struct resolver *r, struct resolver_req *req, const char *name,
    uint16_t type, unsigned flags, resolver_cb *cb, void *arg,
    const struct dns_answer **ret_answer);

/* No callback any more. Fine when req is not open (zeroed or done). */
void resolver_cancel(struct resolver *r, struct resolver_req *req);

/* Forget name and all below it; NULL or "": everything. How many entries. */
size_t resolver_flush(struct resolver *r, const char *name);

/*
 * What outlives the process: server validated, and name was one of the names. So
 * a server that validates no more is not taken for one that never did. Before
 * the first question; a server that is not trusted or not known is ignored.
 */
void resolver_remember(
    struct resolver *r, const char *server, const char *name, uint16_t type);

/* The newest name that was seen to be signed, or "". */
const char *resolver_signed(const struct resolver *r, uint16_t *ret_type);

/* A name that must not come back did, or no longer does: while it is so, no
 * answer without AD is believed. */
void resolver_lets_bogus(struct resolver *r, bool lets);

/* Called when a server is seen to validate that was not known to. */
void resolver_on_seen(struct resolver *r, void (*cb)(void *arg), void *arg);

/* Every open request is answered DNS_WHY_GONE now; the memory goes when the
 * loop has closed the handles. NULL is fine. */
void resolver_free(struct resolver *r);

/* What happened so far. */
struct resolver_server_stats {
	char text[64];
	bool trust_ad, up;
	bool seen_ad; /* it validated at least once */
	/* "yes", "no", or "unknown" as long as it matters to nobody */
	const char *validates;
	uint64_t sent, replies, timeouts, errors;
};

struct resolver_stats {
	uint64_t asked;	       /* requests */
	uint64_t hits, misses; /* of the cache */
	uint64_t joined;       /* requests that found their question open */
	uint64_t refused;      /* PE_FULL */
	uint64_t secure, insecure, indeterminate; /* questions finished */
	uint64_t bogus, timeouts;		  /* among indeterminate */
	uint64_t in_flight, waiting;		  /* now */
	uint64_t cache_entries, cache_bytes, cache_evicted;
	uint64_t doubted;    /* answers not believed */
	bool validates;	     /* this process itself does */
	uint64_t validating; /* open in libunbound, given up ones too */
	bool outage;	     /* nothing has been answered lately */
	bool mixed;	     /* some servers validate and some do not */
	bool expected; /* trusted servers ought to validate: it is demanded, or
			   * one was seen to */
	bool closed;   /* expected, and none is known to: answers without AD
			   * are not believed */
	size_t n_servers;
	struct resolver_server_stats servers[RESOLVER_SERVERS_MAX];
};
void resolver_stats(const struct resolver *r, struct resolver_stats *ret);

#endif
