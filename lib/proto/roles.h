/*
 * roles.h - the processes of one node, and which of them talk to each other.
 */
#ifndef POSTERN_PROTO_ROLES_H
#define POSTERN_PROTO_ROLES_H

#include <stdbool.h>
#include <stdint.h>

enum role {
	ROLE_SUPERVISOR,
	ROLE_SMTPD,
	ROLE_QUEUE,
	ROLE_RESOLVER,
	ROLE_DELIVER,
	ROLE_ADMIN,
	ROLE_POLICYD,
	ROLE_COUNT
};

/* "smtpd", "queue", …; never NULL. */
const char *role_name(enum role role);

/* Do the two get a channel to each other? (DESIGN 3, "Who talks to whom") */
bool role_talks(enum role a, enum role b);

/* Longest texts on any boundary, bytes without the NUL. */
enum {
	TEXT_DOMAIN_MAX = 255,
	TEXT_ADDRESS_MAX = 512, /* a path with UTF-8 and quoting */
	TEXT_NAME_MAX = 255, /* names of settings: gateway, profile, listener */
	TEXT_XTEXT_MAX = 1600, /* ORCPT or ENVID, still encoded */
	TEXT_REPLY_MAX = 1024, /* of a remote reply, cut */
	TEXT_REASON_MAX = 512,
};

#endif
