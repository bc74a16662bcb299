/*
 * roles.c - names of the processes and the table of who talks to whom.
 */
#include "lib/proto/roles.h"

#include <stddef.h>

static const char *const names[ROLE_COUNT] = {
	[ROLE_SUPERVISOR] = "supervisor",
	[ROLE_SMTPD] = "smtpd",
	[ROLE_QUEUE] = "queue",
	[ROLE_RESOLVER] = "resolver",
	[ROLE_DELIVER] = "deliver",
	[ROLE_ADMIN] = "admin",
	[ROLE_POLICYD] = "policyd",
};

static const struct {
	enum role a, b;
} talks[] = {
	{ ROLE_SMTPD, ROLE_QUEUE },
	{ ROLE_QUEUE, ROLE_DELIVER },
	{ ROLE_DELIVER, ROLE_RESOLVER },
	{ ROLE_DELIVER, ROLE_POLICYD },
	{ ROLE_POLICYD, ROLE_RESOLVER },
	{ ROLE_ADMIN, ROLE_SMTPD },
	{ ROLE_ADMIN, ROLE_QUEUE },
	{ ROLE_ADMIN, ROLE_RESOLVER },
	{ ROLE_ADMIN, ROLE_DELIVER },
	{ ROLE_ADMIN, ROLE_POLICYD },
};

const char *
role_name(enum role role)
{
	return (unsigned)role < ROLE_COUNT ? names[role] : "unknown";
}

bool
role_talks(enum role a, enum role b)
{
	size_t i;

	for (i = 0; i < sizeof(talks) / sizeof(talks[0]); i++)
		if ((talks[i].a == a && talks[i].b == b) ||
		    (talks[i].a == b && talks[i].b == a))
			return true;
	return false;
}
