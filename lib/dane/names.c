/*
 * names.c - reference names for DANE-TA(2); see names.h.
 */
#include "lib/dane/names.h"

#include <string.h>

static size_t
add(const char **names, size_t n, const char *name)
{
	size_t i;

	if (name == NULL)
		return n;
	for (i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return n;
	names[n] = name;
	return n + 1;
}

size_t
dane_names(const struct facts *f, const struct facts_host *h,
    const char *ret_names[DANE_NAMES_MAX])
{
	size_t n;

	n = add(ret_names, 0, h->tlsa_base != NULL ? h->tlsa_base : h->name);
	if (f->via == FACTS_VIA_IMPLICIT)
		return add(ret_names, n, f->domain);
	/* an insecure MX vouches for nothing but its own target */
	if (f->via != FACTS_VIA_MX || f->mx_state != DNS_SECURE)
		return n;
	n = add(ret_names, n, f->domain);
	return add(ret_names, n, f->canon);
}
