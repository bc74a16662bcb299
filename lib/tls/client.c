/*
 * client.c - trust store, proof and session cache of the client side; see
 * client.h. Never does I/O, never logs.
 */
#include "lib/tls/client.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/dane/ssl.h"
#include "lib/tls/tls.h"

enum { BUCKETS = 1024, KEY_LEN = 32 };

struct session {
	LIST_ENTRY(session) bucket;
	TAILQ_ENTRY(session) lru; /* oldest first */
	uint8_t key[KEY_LEN];
	SSL_SESSION *ssl;
	struct tls_proved proved;
	int64_t proved_ms, until_ms; /* monotonic */
};

struct tls_client {
	SSL_CTX *ctx;
	unsigned refs;
	LIST_HEAD(session_bucket, session) buckets[BUCKETS];
	TAILQ_HEAD(session_lru, session) lru;
	size_t n_sessions;
	uint64_t full, resumed;
};

struct tls_identity {
	X509 *cert;
	STACK_OF(X509) * chain;
	EVP_PKEY *key;
	uint8_t digest[KEY_LEN];
};

struct tls_link {
	struct tls_client *client;
	struct tls *tls;
	uint8_t key[KEY_LEN];
	bool proved_known, keep;
	struct tls_proved proved;
	int64_t proved_ms; /* monotonic: when certificates were looked at */
	char names[TLS_WANT_NAMES][TLS_NAME_SIZE];
	size_t n_names;
	SSL_SESSION *newest; /* came before the proof was judged */
	int64_t life_s;	     /* of its sessions, at most */
	bool dane;
	int dane_taken; /* records that OpenSSL uses */
};

/* One index for the process: OpenSSL counts on it to stay. */
static int link_index = -1;
static pthread_once_t link_once = PTHREAD_ONCE_INIT;

static void
link_setup(void)
{
	link_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* ---- sessions --------------------------------------------------------------------- */

static size_t
bucket_of(const uint8_t key[KEY_LEN])
{
	/* the key is a SHA-256: any bytes of it are spread evenly */
	return ((size_t)key[0] << 8 | key[1]) % BUCKETS;
}

static void
drop_session(struct tls_client *c, struct session *s)
{
	LIST_REMOVE(s, bucket);
	TAILQ_REMOVE(&c->lru, s, lru);
	c->n_sessions--;
	SSL_SESSION_free(s->ssl);
	free(s);
}

/* The newest: new ones come in at the head of their bucket. */
static struct session *
find_session(struct tls_client *c, const uint8_t key[KEY_LEN])
{
	struct session *s;

	LIST_FOREACH(s, &c->buckets[bucket_of(key)], bucket)
		if (memcmp(s->key, key, KEY_LEN) == 0)
			return s;
	return NULL;
}

/* Room for one more of the key: its oldest goes. */
static void
make_room(struct tls_client *c, const uint8_t key[KEY_LEN])
{
	struct session *s, *oldest = NULL;
	size_t n = 0;

	LIST_FOREACH(s, &c->buckets[bucket_of(key)], bucket) {
		if (memcmp(s->key, key, KEY_LEN) != 0)
			continue;
		oldest = s;
		n++;
	}
	if (n >= TLS_SESSIONS_PER_CLAIM)
		drop_session(c, oldest);
	while (c->n_sessions >= TLS_SESSIONS_MAX)
		drop_session(c, TAILQ_FIRST(&c->lru));
}

/* Takes ssl. */
static void
keep_session(struct tls_link *l, SSL_SESSION *ssl)
{
	struct tls_client *c = l->client;
	struct session *s;
	int64_t life_s = l->life_s, ticket_s;

	ticket_s = (int64_t)SSL_SESSION_get_timeout(ssl);
	if (ticket_s < life_s)
		life_s = ticket_s;
	s = calloc(1, sizeof(*s));
	if (s == NULL || SSL_SESSION_is_resumable(ssl) != 1) {
		free(s);
		SSL_SESSION_free(ssl);
		return;
	}
	make_room(c, l->key);
	memcpy(s->key, l->key, KEY_LEN);
	s->ssl = ssl;
	s->proved = l->proved;
	s->proved_ms = l->proved_ms;
	s->until_ms = clock_mono_ms() + life_s * 1000;
	/* a chain of resumptions never makes an old proof young */
	if (s->until_ms > s->proved_ms + TLS_SESSION_LIFE_S * 1000)
		s->until_ms = s->proved_ms + TLS_SESSION_LIFE_S * 1000;
	LIST_INSERT_HEAD(&c->buckets[bucket_of(s->key)], s, bucket);
	TAILQ_INSERT_TAIL(&c->lru, s, lru);
	c->n_sessions++;
}

/* Offer a session for this claim, once: tickets are not used twice (RFC 8446,
 * C.4). Its proof becomes the link's if the server takes it up. */
static void
offer_session(struct tls_link *l)
{
	struct session *s = find_session(l->client, l->key);

	if (s == NULL)
		return;
	if (s->until_ms > clock_mono_ms() &&
	    SSL_set_session(tls_ssl(l->tls), s->ssl) == 1) {
		l->proved = s->proved;
		l->proved_ms = s->proved_ms;
	}
	drop_session(l->client, s);
}

static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_link *l = SSL_get_ex_data(ssl, link_index);

	if (l == NULL)
		return 0;
	if (l->keep) {
		keep_session(l, session);
		return 1;
	}
	/* TLS 1.2: within the handshake, before anything was judged */
	SSL_SESSION_free(l->newest);
	l->newest = session;
	return 1;
}

/* ---- the client ---------------------------------------------------------------------- */

static int
refuse(char *why, size_t why_len, const char *what)
{
	char text[128];
	int n = snprintf(why, why_len, "%s: ", what);

	if (n >= 0 && (size_t)n < why_len)
		(void)snprintf(why + n, why_len - (size_t)n, "%s",
		    tls_errors_take(text, sizeof(text)));
	ERR_clear_error();
	return PE_TLS;
}

static int
add_cas(SSL_CTX *ctx, const uint8_t *pem, size_t len, size_t *ret_n)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	X509 *cert;
	size_t n = 0;
	int r = 0;

	if (bio == NULL)
		return -ENOMEM;
	while (r == 0) {
		cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
		if (cert == NULL) {
			unsigned long e = ERR_peek_last_error();

			/* the end looks like this */
			if (ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
				r = PE_TLS;
			break;
		}
		/* one that is there already is fine */
		if (X509_STORE_add_cert(store, cert) != 1)
			r = PE_TLS;
		else
			n++;
		X509_free(cert);
	}
	BIO_free(bio);
	if (r == 0)
		ERR_clear_error();
	*ret_n = n;
	return r;
}

int
tls_client_new(const uint8_t *ca_pem, size_t len,
    struct tls_client **ret_client, size_t *ret_cas, char *why, size_t why_len)
{
	struct tls_client *c;
	size_t i, n = 0;
	int r;

	if (pthread_once(&link_once, link_setup) != 0 || link_index < 0)
		return -ENOMEM;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	c->refs = 1;
	TAILQ_INIT(&c->lru);
	for (i = 0; i < BUCKETS; i++)
		LIST_INIT(&c->buckets[i]);
	ERR_clear_error();
	r = tls_ctx_new(TLS_CLIENT, false, &c->ctx);
	if (r < 0)
		goto out;
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
	(void)SSL_CTX_set_session_cache_mode(
	    c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ctx, on_new_session);
	if (len > 0)
		r = add_cas(c->ctx, ca_pem, len, &n);
	if (r == PE_TLS)
		(void)refuse(why, why_len, "CA list");
out:
	if (r < 0) {
		tls_client_unref(c);
		return r;
	}
	if (ret_cas != NULL)
		*ret_cas = n;
	*ret_client = c;
	return 0;
}

void
tls_client_unref(struct tls_client *c)
{
	if (c == NULL || --c->refs > 0)
		return;
	while (!TAILQ_EMPTY(&c->lru))
		drop_session(c, TAILQ_FIRST(&c->lru));
	SSL_CTX_free(c->ctx);
	free(c);
}

void
tls_client_stats(const struct tls_client *c, struct tls_client_stats *ret)
{
	ret->full = c->full;
	ret->resumed = c->resumed;
	ret->sessions = c->n_sessions;
}

/* ---- our own certificate --------------------------------------------------------------- */

/* No prompt, ever: an encrypted key is refused. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

int
tls_identity_new(const uint8_t *cert_pem, size_t cert_len,
    const uint8_t *key_pem, size_t key_len, struct tls_identity **ret_identity,
    char *why, size_t why_len)
{
	struct tls_identity *id = calloc(1, sizeof(*id));
	BIO *bio = NULL;
	X509 *more;
	unsigned n;
	int r = -ENOMEM;

	if (id == NULL)
		return -ENOMEM;
	ERR_clear_error();
	id->chain = sk_X509_new_null();
	bio = BIO_new_mem_buf(cert_pem, (int)cert_len);
	if (bio == NULL || id->chain == NULL)
		goto out;
	id->cert = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
	if (id->cert == NULL) {
		r = refuse(why, why_len, "certificate");
		goto out;
	}
	while (
	    (more = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
		if (sk_X509_push(id->chain, more) <= 0) {
			X509_free(more);
			goto out;
		}
	ERR_clear_error();
	BIO_free(bio);
	bio = BIO_new_mem_buf(key_pem, (int)key_len);
	if (bio == NULL)
		goto out;
	id->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (id->key == NULL) {
		r = refuse(why, why_len, "key");
		goto out;
	}
	if (X509_check_private_key(id->cert, id->key) != 1 ||
	    X509_digest(id->cert, EVP_sha256(), id->digest, &n) != 1) {
		r = refuse(
		    why, why_len, "key does not belong to the certificate");
		goto out;
	}
	r = 0;
out:
	BIO_free(bio);
	if (r < 0) {
		tls_identity_free(id);
		return r;
	}
	*ret_identity = id;
	return 0;
}

void
tls_identity_free(struct tls_identity *id)
{
	if (id == NULL)
		return;
	X509_free(id->cert);
	sk_X509_pop_free(id->chain, X509_free);
	EVP_PKEY_free(id->key);
	free(id);
}

/* ---- one connection ---------------------------------------------------------------------- */

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool
add(EVP_MD_CTX *md, const char *text)
{
	/* with its terminator, so that two texts never read as another two */
	return text == NULL ? EVP_DigestUpdate(md, "", 1) == 1
			    : EVP_DigestUpdate(md, text, strlen(text) + 1) == 1;
}

/* Everything that a proof depends on. The CA list is the client itself: a new
 * list is a new client with an empty cache. */
static int
make_key(struct tls_link *l, const struct tls_want *want)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned n;
	bool ok;
	size_t i;

	if (md == NULL)
		return -ENOMEM;
	ok = EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
	    add(md, want->peer) && add(md, want->sni) && add(md, want->claim);
	for (i = 0; ok && i < l->n_names; i++)
		ok = add(md, l->names[i]);
	if (ok && want->identity != NULL)
		ok = EVP_DigestUpdate(md, want->identity->digest, KEY_LEN) == 1;
	if (ok && want->dane != NULL)
		ok = add(md, "dane") &&
		    EVP_DigestUpdate(
			md, want->dane_label, FACTS_TLSA_DIGEST_LEN) == 1;
	ok = ok && EVP_DigestFinal_ex(md, l->key, &n) == 1;
	EVP_MD_CTX_free(md);
	return ok ? 0 : -ENOMEM;
}

static int
set_up(struct tls_link *l, const struct tls_want *want)
{
	SSL *ssl = tls_ssl(l->tls);
	const struct tls_identity *id = want->identity;

	if (SSL_set_ex_data(ssl, link_index, l) != 1)
		return -ENOMEM;
	if (want->sni != NULL && SSL_set_tlsext_host_name(ssl, want->sni) != 1)
		return PE_TLS;
	if (want->dane != NULL) {
		l->dane = true;
		l->dane_taken = dane_ssl_apply(ssl, want->dane);
		if (l->dane_taken < 0)
			return l->dane_taken;
	}
	if (want->any_strength)
		SSL_set_security_level(ssl, 1);
	if (id != NULL &&
	    (SSL_use_certificate(ssl, id->cert) != 1 ||
		SSL_set1_chain(ssl, id->chain) != 1 ||
		SSL_use_PrivateKey(ssl, id->key) != 1))
		return PE_TLS;
	return 0;
}

int
tls_link_new(struct tls_client *c, const struct tls_want *want,
    struct tls_link **ret_link)
{
	struct tls_link *l = calloc(1, sizeof(*l));
	size_t i;
	int r;

	if (l == NULL)
		return -ENOMEM;
	l->client = c;
	c->refs++;
	for (i = 0; i < TLS_WANT_NAMES && want->names[i] != NULL; i++)
		if (strlen(want->names[i]) < TLS_NAME_SIZE)
			(void)snprintf(l->names[l->n_names++], TLS_NAME_SIZE,
			    "%s", want->names[i]);
	qsort(l->names, l->n_names, TLS_NAME_SIZE, by_text);
	l->life_s = TLS_SESSION_LIFE_S;
	if (want->life_s > 0 && want->life_s < TLS_SESSION_LIFE_S)
		l->life_s = want->life_s;
	r = make_key(l, want);
	if (r == 0)
		r = tls_new(c->ctx, TLS_CLIENT, &l->tls);
	if (r == 0)
		r = set_up(l, want);
	if (r < 0) {
		ERR_clear_error();
		tls_link_free(l);
		return r;
	}
	offer_session(l);
	*ret_link = l;
	return 0;
}

void
tls_link_free(struct tls_link *l)
{
	if (l == NULL)
		return;
	if (l->tls != NULL)
		(void)SSL_set_ex_data(tls_ssl(l->tls), link_index, NULL);
	SSL_SESSION_free(l->newest);
	tls_free(l->tls);
	tls_client_unref(l->client);
	free(l);
}

struct tls *
tls_link_pump(struct tls_link *l)
{
	return l->tls;
}

/* By DANE and nothing else: OpenSSL's verify result may be a PKIX check. */
static void
prove_dane(struct tls_link *l, SSL *ssl)
{
	struct tls_proved *p = &l->proved;
	struct dane_proof proof;

	dane_ssl_result(ssl, NULL, &proof);
	p->trusted = p->expired = false;
	p->verify = proof.verify;
	p->dane_unusable = l->dane_taken == 0;
	p->dane = proof.ok && !p->dane_unusable;
	p->dane_depth = proof.depth;
	p->dane_rr[0] = proof.usage;
	p->dane_rr[1] = proof.selector;
	p->dane_rr[2] = proof.mtype;
}

static void
prove_fresh(struct tls_link *l, SSL *ssl)
{
	struct tls_proved *p = &l->proved;
	X509 *cert = SSL_get0_peer_certificate(ssl);
	size_t i;

	memset(p, 0, sizeof(*p));
	p->peer_cert = cert != NULL;
	p->verify = SSL_get_verify_result(ssl);
	if (cert == NULL)
		return; /* verify says OK then, and means nothing */
	p->trusted = p->verify == X509_V_OK;
	p->expired = p->verify == X509_V_ERR_CERT_HAS_EXPIRED ||
	    p->verify == X509_V_ERR_CERT_NOT_YET_VALID;
	if (l->dane)
		prove_dane(l, ssl);
	ERR_clear_error();
	for (i = 0; i < l->n_names; i++)
		if (X509_check_host(cert, l->names[i], 0,
			X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
			    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
			NULL) == 1)
			memcpy(
			    p->names[p->n_names++], l->names[i], TLS_NAME_SIZE);
	ERR_clear_error();
}

void
tls_link_prove(struct tls_link *l, struct tls_proved *ret_proved)
{
	SSL *ssl = tls_ssl(l->tls);

	if (!l->proved_known) {
		l->proved_known = true;
		if (SSL_session_reused(ssl) == 1) {
			/* the label of the session, and nothing else */
			l->proved.resumed = true;
			l->client->resumed++;
		} else {
			prove_fresh(l, ssl);
			l->proved_ms = clock_mono_ms();
			l->client->full++;
		}
	}
	*ret_proved = l->proved;
}

void
tls_link_keep(struct tls_link *l)
{
	if (!l->proved_known)
		return;
	l->keep = true;
	if (l->newest != NULL)
		keep_session(l, l->newest);
	l->newest = NULL;
}

const char *
tls_link_cert_names(struct tls_link *l, char *buf, size_t len)
{
	struct tls_names names;
	size_t i, at = 0;

	buf[0] = '\0';
	if (tls_peer_names(l->tls, &names) < 0)
		return buf;
	for (i = 0; i < names.n && at < len; i++)
		at += (size_t)snprintf(
		    buf + at, len - at, "%s%s", i > 0 ? ", " : "", names.v[i]);
	tls_names_done(&names);
	return buf;
}
