/*
 * test_conf_memory.c - each allocation of a load fails in turn: the answer is
 * -ENOMEM, or a set that is whole, and nothing stays behind.
 *
 * The program's own malloc() counts and fails. Sanitizers bring theirs, so
 * with them only the way without failures is run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "tests/lib/conf/memory.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 1
#endif

static long fail_at = -1; /* allocations until one fails; -1: none does */
static long live;	  /* not freed yet */

#ifdef OWN_MALLOC
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static int
fails(void)
{
	if (fail_at < 0)
		return 0;
	return fail_at-- == 0;
}

void *
malloc(size_t n)
{
	void *p = fails() ? NULL : __libc_malloc(n);

	live += p != NULL;
	return p;
}

void *
calloc(size_t n, size_t size)
{
	void *p = fails() ? NULL : __libc_calloc(n, size);

	live += p != NULL;
	return p;
}

void *
realloc(void *old, size_t n)
{
	void *p;

	if (fails())
		return NULL;
	p = __libc_realloc(old, n);
	live += old == NULL && p != NULL;
	return p;
}

void *
reallocarray(void *old, size_t n, size_t size)
{
	return realloc(old, n * size); /* our own callers do not overflow */
}

void
free(void *p)
{
	live -= p != NULL;
	__libc_free(p);
}
#endif

static const struct memory_file files[] = {
	{ "postern.conf",
	    "include = more.conf\n"
	    "[certificate default]\ncert_file = /c\nkey_file = /c\n"
	    "[credential c]\nuser = u\nsecret_file = /c\n"
	    "[listener a]\naddress = 127.0.0.1:${PORT}, [::1]:26\n"
	    "relay_from = 10.0.0.0/8\nclient_cert_names = a, b\n"
	    "[trust]\nca_file = /c\n" },
	{ "more.conf", "[log]\ntarget = file:x\n" }, { "/c", "content" },
	{ "bounce.conf", "[profile p]\nsubject = late\n" },
	{ "gateways.conf",
	    "[gateway g]\nsenders = @a.example, u@b.example\n"
	    "clients = 10.0.0.0/8, ::1\n" },
	{ "destinations.conf",
	    "[b\xc3\xbc.example]\nbounce_profile = p\n[.c.example]\n" },
	{ "routes.conf", "[ALL]\nhosts = a.example, [::1]\ncredential = c\n" },
	{ NULL, NULL }
};
static const struct memory_file bad_files[] = {
	{ "postern.conf", "[lgo]\n[log]\nlevel = x\nformt = y\nz\n" },
	{ NULL, NULL }
};

/* Load, pass on, free. Returns the first result that is not 0. */
static int
whole_way(const struct memory_file *from)
{
	struct conf_source src = memory_source(from);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL, *child = NULL;
	uint8_t *data = NULL;
	size_t len;
	int r;

	src.named_files = true;
	src.dir = "/dir";
	r = conf_load(&src, &errs, &conf);
	assert_true((r == 0) == (conf != NULL));
	conf_errors_done(&errs);
	if (r == 0)
		r = conf_blob_build(conf, CONF_FOR_SMTPD, &data, &len);
	if (r == 0)
		r = conf_blob_parse(data, len, &child);
	if (r == 0)
		assert_string_equal(
		    conf_route_lookup(child, "x.example")->cred->user, "u");
	conf_unref(child);
	conf_unref(conf);
	free(data);
	return r;
}

static void
test_each_fails(void **state)
{
	long before = live, n, limit = 1;
	int r;

	(void)state;
	assert_int_equal(whole_way(files), 0);
	assert_int_equal(live, before);
#ifdef OWN_MALLOC
	limit = 100000;
#endif
	for (n = 0; n < limit; n++) {
		fail_at = n;
		r = whole_way(files);
		if (fail_at >= 0) { /* it came through without reaching it */
			fail_at = -1;
			assert_int_equal(r, 0);
			break;
		}
		/* libidn2 allocates too: it refuses the name, or goes on when
		 * only shrinking failed */
		if (r != -ENOMEM && r != PE_CONFIG && r != 0)
			fail_msg("allocation %ld: %d", n, r);
		assert_int_equal(live, before);
	}
#ifdef OWN_MALLOC
	print_message("%ld allocations failed in turn\n", n);
	assert_in_range(n, 50, limit - 1);
#endif
}

static void
test_each_fails_with_errors(void **state)
{
	long before = live, n, limit = 1;
	int r;

	(void)state;
	assert_int_equal(whole_way(bad_files), PE_CONFIG);
	assert_int_equal(live, before);
#ifdef OWN_MALLOC
	limit = 100000;
#endif
	for (n = 0; n < limit; n++) {
		fail_at = n;
		r = whole_way(bad_files);
		/* a problem that could not be noted still refuses the set */
		assert_true(r == -ENOMEM || r == PE_CONFIG);
		assert_int_equal(live, before);
		if (fail_at >= 0)
			break;
	}
	fail_at = -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_fails),
		cmocka_unit_test(test_each_fails_with_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
