/*
 * dns.c - one DNS question at a time, waited for. See dns.h.
 *
 * The flags of the channel are those of resolver/channel.c, which says why. What
 * an answer is worth is decided as there: secure needs AD from a trusted server
 * on this reply and on every CNAME link before it (RFC 7672, 2.1.3).
 */
#include "ctl/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/err.h"
#include "lib/dns/wire.h"

/* One packet has one socket, or two while it changes to TCP. (With 16, the macros
 * of c-ares shift into the sign.) */
enum { TRIES = 2, TRY_MS = 2500, SOCKETS = 4 };

struct ctl_dns {
	ares_channel ares;
	char server[64];
	bool trusted, loopback;
	/* the packet on its way */
	bool done;
	int status; /* of c-ares */
	uint8_t *pkt;
	size_t len;
};

/* ---- the channel ------------------------------------------------------------------- */

static bool
is_loopback(const char *server)
{
	struct in_addr v4;
	char ip[64];

	(void)snprintf(ip, sizeof(ip), "%s", server);
	if (strncmp(ip, "[::1]", 5) == 0 || strcmp(ip, "::1") == 0)
		return true;
	ip[strcspn(ip, ":")] = '\0';
	return inet_pton(AF_INET, ip, &v4) == 1 &&
	    (ntohl(v4.s_addr) >> 24) == 127;
}

/* -1: not one of the words. */
static int
trust_of(const char *word, bool loopback)
{
	if (strcmp(word, "loopback") == 0)
		return loopback;
	if (strcmp(word, "yes") == 0)
		return 1;
	return strcmp(word, "no") == 0 ? 0 : -1;
}

static int
open_channel(struct ctl_dns *d)
{
	struct in_addr nobody = { htonl(INADDR_LOOPBACK) };
	char lookups[] = "b";
	struct ares_options o = {
		.flags = ARES_FLAG_EDNS | ARES_FLAG_NOCHECKRESP |
		    ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = TRY_MS,
		.tries = 1,
		.ednspsz = DNS_EDNS_UDP_SIZE,
		.lookups = lookups,
		.ndots = 1,
		.servers = &nobody,
		.nservers = 1,
	};
	int r = ares_init_options(&d->ares, &o,
	    ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_NDOTS |
		ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST |
		ARES_OPT_NOROTATE);

	if (r != ARES_SUCCESS) {
		d->ares = NULL;
		return r == ARES_ENOMEM ? -ENOMEM : -EIO;
	}
	r = ares_set_servers_ports_csv(d->ares, d->server);
	if (r == ARES_SUCCESS)
		return 0;
	return r == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

int
ctl_dns_open(const char *server, const char *trust_ad, struct ctl_dns **ret_dns)
{
	bool loopback = is_loopback(server);
	int trust = trust_of(trust_ad, loopback), r;
	struct ctl_dns *d;

	if (trust < 0 || strlen(server) >= sizeof(d->server) ||
	    strchr(server, ',') != NULL)
		return -EINVAL;
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -EIO;
	d = calloc(1, sizeof(*d));
	if (d == NULL) {
		ares_library_cleanup();
		return -ENOMEM;
	}
	(void)snprintf(d->server, sizeof(d->server), "%s", server);
	d->trusted = trust != 0;
	d->loopback = loopback;
	r = open_channel(d);
	if (r < 0) {
		ctl_dns_close(d);
		return r;
	}
	*ret_dns = d;
	return 0;
}

void
ctl_dns_close(struct ctl_dns *d)
{
	if (d == NULL)
		return;
	if (d->ares != NULL)
		ares_destroy(d->ares);
	free(d->pkt);
	free(d);
	ares_library_cleanup();
}

/* ---- one packet ---------------------------------------------------------------------- */

static void
on_reply(void *arg, int status, int timeouts, unsigned char *abuf, int alen)
{
	struct ctl_dns *d = arg;

	(void)timeouts;
	d->done = true;
	d->status = status;
	if (abuf == NULL || alen <= 0)
		return;
	d->pkt = malloc((size_t)alen);
	if (d->pkt == NULL) {
		d->status = ARES_ENOMEM;
		return;
	}
	memcpy(d->pkt, abuf, (size_t)alen);
	d->len = (size_t)alen;
}

/* Let c-ares work until the reply is there, or its time is over. */
static void
wait_reply(struct ctl_dns *d)
{
	ares_socket_t fd[SOCKETS];
	struct pollfd p[SOCKETS];
	struct timeval most = { TRY_MS / 1000, 0 }, tv, *next;
	int i, n, bits;

	while (!d->done) {
		bits = ares_getsock(d->ares, fd, SOCKETS);
		for (i = n = 0; i < SOCKETS; i++) {
			short events =
			    (short)((ARES_GETSOCK_READABLE(bits, i) ? POLLIN
								    : 0) |
				(ARES_GETSOCK_WRITABLE(bits, i) ? POLLOUT : 0));

			if (events == 0)
				continue;
			p[n] = (struct pollfd){ fd[i], events, 0 };
			n++;
		}
		next = ares_timeout(d->ares, &most, &tv);
		(void)poll(p, (nfds_t)n,
		    (int)(next->tv_sec * 1000 + next->tv_usec / 1000 + 1));
		for (i = 0; i < n && !d->done; i++)
			ares_process_fd(d->ares,
			    (p[i].revents & ~POLLOUT) != 0 ? p[i].fd
							   : ARES_SOCKET_BAD,
			    (p[i].revents & ~POLLIN) != 0 ? p[i].fd
							  : ARES_SOCKET_BAD);
		if (!d->done)
			ares_process_fd(
			    d->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	}
}

/* 0 and *ret_reply, or a negative code. */
static int
exchange(struct ctl_dns *d, const char *name, uint16_t type,
    struct dns_reply *ret_reply)
{
	uint8_t query[DNS_QUERY_SIZE], mix[32];
	uint16_t id;
	int n, r;

	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id) ||
	    getrandom(mix, sizeof(mix), 0) != (ssize_t)sizeof(mix))
		return -EIO;
	n = dns_query_build(name, type, id, DNS_Q_AD | DNS_Q_DO,
	    d->loopback ? NULL : mix, query);
	if (n < 0)
		return n;
	free(d->pkt);
	d->pkt = NULL;
	d->done = false;
	ares_send(d->ares, query, n, on_reply, d);
	wait_reply(d);
	if (d->pkt == NULL)
		return d->status == ARES_ETIMEOUT ? -ETIMEDOUT
		    : d->status == ARES_ENOMEM	  ? -ENOMEM
						  : -ECONNREFUSED;
	r = dns_reply_parse(d->pkt, d->len, query, (size_t)n, ret_reply);
	return r;
}

/* ---- one question ---------------------------------------------------------------------- */

/* Where a chain of aliases stands. */
struct chase {
	const char *name;
	uint16_t type;
	char target[DNS_NAME_SIZE];
	unsigned links;
	bool secure;
	uint32_t ttl_s;
};

static struct dns_answer *
failed(const struct ctl_dns *d, const struct chase *c, enum dns_why why,
    uint16_t ede, const char *detail)
{
	char text[DNS_REASON_SIZE];

	(void)snprintf(text, sizeof(text), "%s from %s%s%s", detail, d->server,
	    ede != DNS_EDE_NONE ? ": " : "",
	    ede != DNS_EDE_NONE ? dns_ede_str(ede) : "");
	return dns_answer_failed(c->name, c->type, why, ede, text);
}

static struct dns_answer *
no_reply(const struct ctl_dns *d, const struct chase *c, int r)
{
	if (r == -ETIMEDOUT)
		return failed(d, c, DNS_WHY_TIMEOUT, DNS_EDE_NONE, "no answer");
	if (r == PE_NOT_FOUND)
		return failed(d, c, DNS_WHY_MALFORMED, DNS_EDE_NONE,
		    "another question's answer");
	return failed(d, c, DNS_WHY_NETWORK, DNS_EDE_NONE, err_str(r));
}

/* NULL: go on at the new target. */
static struct dns_answer *
take_reply(struct ctl_dns *d, struct chase *c, const struct dns_reply *reply)
{
	struct dns_answer a, *copy;

	if (reply->kind == DNS_REPLY_ERROR)
		return failed(d, c, reply->why, reply->ede, reply->detail);
	a = *reply->answer;
	c->secure = c->secure && d->trusted && reply->ad;
	c->links += reply->links;
	if (a.ttl_s < c->ttl_s)
		c->ttl_s = a.ttl_s;
	if (c->links > DNS_CHAIN_MAX)
		return failed(
		    d, c, DNS_WHY_CHAIN, DNS_EDE_NONE, "CNAME chain too long");
	if (reply->kind == DNS_REPLY_CHAIN) {
		if (dns_name_normalise(a.canon, c->target) == 0)
			return NULL;
		return failed(d, c, DNS_WHY_MALFORMED, DNS_EDE_NONE,
		    "CNAME to something that is no host name");
	}
	a.name = c->name;
	a.chain = strcmp(a.name, a.canon) != 0;
	a.state = c->secure ? DNS_SECURE : DNS_INSECURE;
	a.ttl_s = c->ttl_s;
	if (dns_answer_dup(&a, &copy) < 0)
		return failed(d, c, DNS_WHY_MALFORMED, DNS_EDE_NONE,
		    "an answer that is too large");
	return copy;
}

struct dns_answer *
ctl_dns_ask(struct ctl_dns *d, const char *name, uint16_t type)
{
	struct chase c = {
		.name = name, .type = type, .secure = true, .ttl_s = UINT32_MAX
	};
	struct dns_answer *a = NULL;
	struct dns_reply reply;
	unsigned asked;
	int i, r;

	(void)snprintf(c.target, sizeof(c.target), "%s", name);
	for (asked = 0; a == NULL && asked <= DNS_CHAIN_MAX; asked++) {
		for (i = 0, r = -ETIMEDOUT; i < TRIES && r == -ETIMEDOUT; i++)
			r = exchange(d, c.target, type, &reply);
		if (r < 0)
			return no_reply(d, &c, r);
		a = take_reply(d, &c, &reply);
		dns_reply_done(&reply);
	}
	if (a != NULL)
		return a;
	return failed(
	    d, &c, DNS_WHY_CHAIN, DNS_EDE_NONE, "CNAME chain too long");
}
