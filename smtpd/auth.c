/*
 * auth.c - passwords of clients: one thread that hashes, a line of bounded
 * length in front of it, and a small memory of what was right.
 *
 * Called by conn_ops.c. A yescrypt check costs a tenth of a second and 16 MB on
 * purpose, so it never runs on the loop, never twice at a time, and the line
 * is short: past it clients get 454. Unknown names cost the same as known ones.
 * Never logs a password or a hash; wipes what it copied. The thread starts
 * before the lock-down and takes no_new_privs for itself (prctl(2): it is an
 * attribute of a thread).
 */
#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "smtpd/smtpd.h"

enum {
	JOBS_MAX = 64, /* that wait or run: about 8 s of work */
	CACHE_SIZE = 256,
	CACHE_MS = 5 * 60 * 1000,
	TAG_LEN = 32,
	STACK_SIZE = 256 * 1024,
	USERS_MAX = 1000000,
};

/* What an unknown name is checked against when the file has nobody: made of
 * nothing that anyone knows. */
static const char no_hash[] = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$"
			      "X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7";

/* ---- users ------------------------------------------------------------------ */

struct user {
	char *name;
	const char *hash; /* behind the name, same memory */
};

struct auth_users {
	size_t n;
	struct user *v; /* sorted by name */
};

static int
by_name(const void *a, const void *b)
{
	const struct user *ua = a, *ub = b;

	return strcmp(ua->name, ub->name);
}

/* The line as "name NUL hash NUL", or NULL when it is none. */
static char *
user_line(const char *p, size_t len)
{
	const char *colon = memchr(p, ':', len), *end;
	size_t name_len, hash_len, i;
	char *copy;

	if (colon == NULL)
		return NULL;
	name_len = (size_t)(colon - p);
	/* more fields may follow, as in shadow(5) */
	end = memchr(colon + 1, ':', len - name_len - 1);
	hash_len = end != NULL ? (size_t)(end - colon - 1) : len - name_len - 1;
	if (name_len == 0 || name_len > 255 || hash_len < 8 ||
	    hash_len >= CRYPT_OUTPUT_SIZE || colon[1] != '$')
		return NULL;
	for (i = 0; i < len; i++)
		if ((unsigned char)p[i] < ' ')
			return NULL;
	copy = malloc(name_len + hash_len + 2);
	if (copy == NULL)
		return NULL;
	memcpy(copy, p, name_len);
	copy[name_len] = '\0';
	memcpy(copy + name_len + 1, colon + 1, hash_len);
	copy[name_len + 1 + hash_len] = '\0';
	return copy;
}

static int
add_user(struct auth_users *u, size_t *cap, char *copy)
{
	struct user *v;

	if (u->n == *cap) {
		*cap = *cap == 0 ? 16 : *cap * 2;
		v = reallocarray(u->v, *cap, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		u->v = v;
	}
	u->v[u->n].name = copy;
	u->v[u->n].hash = copy + strlen(copy) + 1;
	u->n++;
	return 0;
}

/* Of several lines with one name the first counts. */
static void
drop_doubles(struct auth_users *u, const char *what)
{
	size_t i, kept = 0;

	if (u->n > 0)
		qsort(u->v, u->n, sizeof(*u->v), by_name);
	for (i = 0; i < u->n; i++) {
		if (kept > 0 &&
		    strcmp(u->v[kept - 1].name, u->v[i].name) == 0) {
			log_warn("auth_file", "%s: '%s' stands there twice",
			    what, LOG_Q(u->v[i].name));
			free(u->v[i].name);
			continue;
		}
		u->v[kept++] = u->v[i];
	}
	u->n = kept;
}

struct auth_users *
auth_users_new(const uint8_t *text, size_t len, const char *what)
{
	struct auth_users *u = calloc(1, sizeof(*u));
	const char *p = (const char *)text, *lf;
	size_t cap = 0, n, line = 0;
	char *copy;

	if (u == NULL)
		return NULL;
	while (len > 0 && u->n < USERS_MAX) {
		lf = memchr(p, '\n', len);
		n = lf == NULL ? len : (size_t)(lf - p);
		line++;
		if (n > 0 && p[n - 1] == '\r')
			n--;
		if (n > 0 && p[0] != '#') {
			copy = user_line(p, n);
			if (copy == NULL) {
				log_warn("auth_file",
				    "%s:%zu: wanted name:hash with a hash of "
				    "crypt(5)",
				    what, line);
			} else if (add_user(u, &cap, copy) < 0) {
				free(copy);
				auth_users_free(u);
				return NULL;
			}
		}
		n = lf == NULL ? len : (size_t)(lf - p) + 1;
		p += n;
		len -= n;
	}
	drop_doubles(u, what);
	return u;
}

void
auth_users_free(struct auth_users *u)
{
	size_t i;

	if (u == NULL)
		return;
	for (i = 0; i < u->n; i++)
		free(u->v[i].name);
	free(u->v);
	free(u);
}

size_t
auth_users_count(const struct auth_users *u)
{
	return u->n;
}

/* ---- the worker ---------------------------------------------------------------- */

struct auth_job {
	STAILQ_ENTRY(auth_job) link;
	void *owner; /* NULL: cancelled. The loop's alone */
	bool known;  /* there is such a user */
	uint8_t tag[TAG_LEN];
	enum session_auth result; /* the worker's until it is done */
	char *password;
	char *hash;
};
STAILQ_HEAD(job_list, auth_job);

struct cache_entry {
	uint8_t tag[TAG_LEN];
	int64_t until_ms;
};

struct auth {
	uv_async_t async;
	pthread_t thread;
	void (*on_done)(void *owner, enum session_auth result);
	uint8_t key[TAG_LEN];
	struct cache_entry cache[CACHE_SIZE];
	size_t cache_next;
	size_t n_jobs; /* given to the worker and not yet taken back */

	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	struct job_list todo, done;
	struct crypt_data *crypt; /* the worker's; 32 KB */
};

static void
job_free(struct auth_job *job)
{
	if (job->password != NULL)
		explicit_bzero(job->password, strlen(job->password));
	if (job->hash != NULL)
		explicit_bzero(job->hash, strlen(job->hash));
	free(job->password);
	free(job->hash);
	free(job);
}

static void
run_job(struct auth *a, struct auth_job *job)
{
	const char *got;
	size_t len = strlen(job->hash);

	got = crypt_r(job->password, job->hash, a->crypt);
	/* "*0" and the like say that it failed */
	if (job->known && got != NULL && got[0] == '$' && strlen(got) == len &&
	    CRYPTO_memcmp(got, job->hash, len) == 0)
		job->result = SESSION_AUTH_OK;
	else
		job->result = SESSION_AUTH_FAILED;
	explicit_bzero(a->crypt, sizeof(*a->crypt));
}

static void *
worker(void *arg)
{
	struct auth *a = arg;
	struct auth_job *job;

	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)pthread_mutex_lock(&a->lock);
	while (!a->stopping) {
		job = STAILQ_FIRST(&a->todo);
		if (job == NULL) {
			(void)pthread_cond_wait(&a->wake, &a->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&a->todo, link);
		(void)pthread_mutex_unlock(&a->lock);
		run_job(a, job);
		(void)pthread_mutex_lock(&a->lock);
		STAILQ_INSERT_TAIL(&a->done, job, link);
		(void)uv_async_send(&a->async);
	}
	(void)pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* ---- the cache ------------------------------------------------------------------ */

/* The credential together with the hash it fits: a changed password is a
 * changed tag. */
static int
make_tag(const struct auth *a, const char *user, const char *hash,
    const char *password, uint8_t ret_tag[TAG_LEN])
{
	char text[255 + CRYPT_OUTPUT_SIZE + 1100];
	size_t u = strlen(user) + 1, h = strlen(hash) + 1, p = strlen(password);
	unsigned int len = TAG_LEN;
	bool ok;

	if (u + h + p > sizeof(text))
		return PE_TOO_LONG;
	memcpy(text, user, u);
	memcpy(text + u, hash, h);
	memcpy(text + u + h, password, p);
	ok = HMAC(EVP_sha256(), a->key, TAG_LEN, (unsigned char *)text,
		 u + h + p, ret_tag, &len) != NULL;
	explicit_bzero(text, sizeof(text));
	return ok ? 0 : PE_TLS;
}

/* Looks at every entry, so that time says nothing. */
static bool
in_cache(const struct auth *a, const uint8_t tag[TAG_LEN])
{
	int64_t now = clock_mono_ms();
	bool found = false;
	size_t i;

	for (i = 0; i < CACHE_SIZE; i++)
		found |= CRYPTO_memcmp(a->cache[i].tag, tag, TAG_LEN) == 0 &&
		    a->cache[i].until_ms > now;
	return found;
}

static void
to_cache(struct auth *a, const uint8_t tag[TAG_LEN])
{
	struct cache_entry *e = &a->cache[a->cache_next];

	a->cache_next = (a->cache_next + 1) % CACHE_SIZE;
	memcpy(e->tag, tag, TAG_LEN);
	e->until_ms = clock_mono_ms() + CACHE_MS;
}

/* ---- the loop's side -------------------------------------------------------------- */

static void
on_async(uv_async_t *async)
{
	struct auth *a = async->data;
	struct job_list done = STAILQ_HEAD_INITIALIZER(done);
	struct auth_job *job;

	(void)pthread_mutex_lock(&a->lock);
	STAILQ_CONCAT(&done, &a->done);
	(void)pthread_mutex_unlock(&a->lock);
	while ((job = STAILQ_FIRST(&done)) != NULL) {
		STAILQ_REMOVE_HEAD(&done, link);
		a->n_jobs--;
		if (job->result == SESSION_AUTH_OK)
			to_cache(a, job->tag);
		if (job->owner != NULL)
			a->on_done(job->owner, job->result);
		job_free(job);
	}
}

void
auth_job_cancel(struct auth_job *job)
{
	job->owner = NULL; /* the work goes on; nobody is told */
}

enum session_auth
auth_check(struct auth *a, const struct auth_users *users, const char *user,
    const char *password, void *owner, struct auth_job **ret_job)
{
	struct user key = { (char *)(uintptr_t)user, NULL };
	const struct user *u;
	const char *hash;
	struct auth_job *job;

	u = users->n == 0
	    ? NULL
	    : bsearch(&key, users->v, users->n, sizeof(key), by_name);
	/* a stranger costs what the users of this file cost */
	hash = u != NULL ? u->hash : users->n > 0 ? users->v[0].hash : no_hash;
	job = calloc(1, sizeof(*job));
	if (job == NULL)
		return SESSION_AUTH_BUSY;
	if (make_tag(a, user, hash, password, job->tag) < 0) {
		job_free(job);
		return SESSION_AUTH_FAILED; /* longer than anything we take */
	}
	if (u != NULL && in_cache(a, job->tag)) {
		job_free(job);
		return SESSION_AUTH_OK;
	}
	/* who was right a moment ago does not stand in line with guessers */
	if (a->n_jobs >= JOBS_MAX) {
		job_free(job);
		return SESSION_AUTH_BUSY;
	}
	job->known = u != NULL;
	job->owner = owner;
	job->password = strdup(password);
	job->hash = strdup(hash);
	if (job->password == NULL || job->hash == NULL) {
		job_free(job);
		return SESSION_AUTH_BUSY;
	}
	a->n_jobs++;
	*ret_job = job;
	(void)pthread_mutex_lock(&a->lock);
	STAILQ_INSERT_TAIL(&a->todo, job, link);
	(void)pthread_cond_signal(&a->wake);
	(void)pthread_mutex_unlock(&a->lock);
	return SESSION_AUTH_PENDING;
}

static int
start_thread(struct auth *a)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	r = pthread_attr_init(&attr);
	if (r != 0)
		return -r;
	(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
	/* signals are the loop's */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&a->thread, &attr, worker, a);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	return -r;
}

int
auth_start(uv_loop_t *loop,
    void (*on_done)(void *owner, enum session_auth result),
    struct auth **ret_auth)
{
	struct auth *a = calloc(1, sizeof(*a));
	int r = -ENOMEM;

	if (a == NULL)
		return r;
	a->on_done = on_done;
	STAILQ_INIT(&a->todo);
	STAILQ_INIT(&a->done);
	a->crypt = calloc(1, sizeof(*a->crypt));
	if (a->crypt == NULL ||
	    getrandom(a->key, sizeof(a->key), 0) != (ssize_t)sizeof(a->key))
		goto fail;
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->wake, NULL);
	r = uv_async_init(loop, &a->async, on_async);
	if (r < 0)
		goto fail;
	a->async.data = a;
	uv_unref((uv_handle_t *)&a->async);
	r = start_thread(a);
	if (r < 0)
		fatal("thread for password checks: %s", err_str(r));
	*ret_auth = a;
	return 0;
fail:
	free(a->crypt);
	free(a);
	return r;
}

static void
on_async_closed(uv_handle_t *handle)
{
	struct auth *a = handle->data;
	struct auth_job *job;

	while ((job = STAILQ_FIRST(&a->todo)) != NULL) {
		STAILQ_REMOVE_HEAD(&a->todo, link);
		job_free(job);
	}
	while ((job = STAILQ_FIRST(&a->done)) != NULL) {
		STAILQ_REMOVE_HEAD(&a->done, link);
		job_free(job);
	}
	(void)pthread_cond_destroy(&a->wake);
	(void)pthread_mutex_destroy(&a->lock);
	free(a->crypt);
	explicit_bzero(a->key, sizeof(a->key));
	free(a);
}

void
auth_stop(struct auth *a)
{
	(void)pthread_mutex_lock(&a->lock);
	a->stopping = true;
	(void)pthread_cond_signal(&a->wake);
	(void)pthread_mutex_unlock(&a->lock);
	(void)pthread_join(a->thread, NULL);
	uv_close((uv_handle_t *)&a->async, on_async_closed);
}
