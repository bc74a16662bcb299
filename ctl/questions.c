/*
 * questions.c - see questions.h. Order and words of destconfig are those that
 * operators of the other gateway know. %s is the entry's name.
 */
#include "ctl/questions.h"

#include <stddef.h>
#include <string.h>

static const struct choice scopes[] = {
	{ "domain", "One limit applies to the entire domain" },
	{ "mx-ip", "Separate limit for each mail exchanger IP address" },
	{ NULL, NULL },
};
static const struct choice applies[] = {
	{ "system", "System wide" },
	{ "gateway", "Per virtual gateway" },
	{ "cluster", "All nodes together" },
	{ NULL, NULL },
};
static const struct choice tls_modes[] = {
	{ "none", "No" },
	{ "preferred", "Preferred" },
	{ "required", "Required" },
	{ "preferred-verify", "Preferred - Verify" },
	{ "required-verify", "Required - Verify" },
	{ "required-verify-hosted", "Required - Verify Hosted Domains" },
	{ NULL, NULL },
};
static const struct choice dane_modes[] = {
	{ "none", "None" },
	{ "opportunistic", "Opportunistic" },
	{ "mandatory", "Mandatory" },
	{ NULL, NULL },
};
static const struct choice sts_modes[] = {
	{ "off", "Off" },
	{ "on", "On" },
	{ "mandatory", "Mandatory" },
	{ NULL, NULL },
};
static const struct choice ip_modes[] = {
	{ "prefer-ipv4", "Prefer IPv4" },
	{ "prefer-ipv6", "Prefer IPv6" },
	{ "require-ipv4", "Require IPv4" },
	{ "require-ipv6", "Require IPv6" },
	{ NULL, NULL },
};
static const struct choice bounces[] = {
	{ "dsn", "Send a notice" },
	{ "none", "Send nothing" },
	{ NULL, NULL },
};

/* clang-format off */
static const struct question destinations[] = {
	{ Q_VALUE, "max_connections",
	    "Do you wish to configure a concurrency limit for %s?", true,
	    "Enter the max concurrency limit for \"%s\".", NULL, false },
	{ Q_VALUE, "max_messages_per_connection",
	    "Do you wish to apply a messages-per-connection limit to this domain?", true,
	    "Enter the max number of messages per connection for \"%s\".", NULL, false },
	{ Q_RATE, "recipient_limit",
	    "Do you wish to apply a recipient limit to this domain?", false,
	    "Enter the max number of recipients per %lu minutes for \"%s\".", NULL, false },
	{ Q_CHOICE, "limit_scope", NULL, false,
	    "Select how you want to apply the limits for %s:", scopes, false },
	{ Q_CHOICE, "limit_apply", NULL, false,
	    "Select how the limits will be enforced:", applies, false },
	{ Q_CHOICE, "tls",
	    "Do you wish to apply a specific TLS setting for this domain?", false,
	    "Do you want to use TLS support?", tls_modes, false },
	{ Q_CHOICE, "dane",
	    "Do you wish to apply a specific DANE setting for this domain?", false,
	    "Do you want to use DANE support?", dane_modes, true },
	{ Q_CHOICE, "mta_sts",
	    "Do you wish to apply a specific MTA-STS setting for this domain?", false,
	    "Do you want to use MTA-STS support?", sts_modes, true },
	{ Q_NOTE, NULL, NULL, false, "", NULL, false },
	{ Q_YESNO, "bounce_tagging",
	    "Do you wish to apply a specific bounce verification address tagging setting for this domain?", false,
	    "Perform bounce verification address tagging?", NULL, false },
	{ Q_VALUE, "bounce_profile",
	    "Do you wish to apply a specific bounce profile to this domain?", false,
	    "Enter the name of the bounce profile.", NULL, false },
	{ Q_CHOICE, "ip_preference",
	    "Do you wish to apply a specific IP version preference to this domain?", false,
	    "Select the IP version:", ip_modes, false },
	{ Q_VALUE, NULL, NULL, false, NULL, NULL, false },
};
static const struct question routes[] = {
	{ Q_VALUE, "hosts", NULL, false,
	    "Enter the destination hosts, separated by commas, as NAME[:PORT][/pri=N]; USEDNS; or /dev/null.", NULL, false },
	{ Q_CHOICE, "tls",
	    "Do you wish to apply a specific TLS setting to this route?", false,
	    "Do you want to use TLS support?", tls_modes, false },
	{ Q_VALUE, "credential",
	    "Do you wish to log in there (SMTP AUTH)?", false,
	    "Enter the name of the [credential] of postern.conf.", NULL, false },
	{ Q_VALUE, NULL, NULL, false, NULL, NULL, false },
};
static const struct question gateways[] = {
	{ Q_VALUE, "hostname", "Do you wish to give it a host name of its own?", true,
	    "Enter the host name for EHLO.", NULL, false },
	{ Q_VALUE, "ipv4", "Do you wish to send from a certain IPv4 address?", true,
	    "Enter the IPv4 address.", NULL, false },
	{ Q_VALUE, "ipv6", "Do you wish to send from a certain IPv6 address?", false,
	    "Enter the IPv6 address.", NULL, false },
	{ Q_VALUE, "senders", "Do you wish to choose it by envelope senders?", true,
	    "Enter the senders, separated by commas: a@b.example, a@, @b.example, @.b.example.", NULL, false },
	{ Q_VALUE, "clients", "Do you wish to choose it by client addresses?", false,
	    "Enter the addresses or networks, separated by commas.", NULL, false },
	{ Q_VALUE, NULL, NULL, false, NULL, NULL, false },
};
static const struct question profiles[] = {
	{ Q_VALUE, "max_retries", NULL, false,
	    "Please enter the maximum number of retries.", NULL, false },
	{ Q_VALUE, "max_queue_time", NULL, false,
	    "Please enter the maximum time a message may stay in the queue (such as 3d).", NULL, false },
	{ Q_VALUE, "initial_retry", NULL, false,
	    "Please enter the initial time to wait before retrying a message.", NULL, false },
	{ Q_VALUE, "max_retry", NULL, false,
	    "Please enter the maximum time to wait before retrying a message.", NULL, false },
	{ Q_CHOICE, "hard_bounces", NULL, false,
	    "Do you want a message sent for each hard bounce?", bounces, false },
	{ Q_YESNO, "delay_warnings", NULL, false,
	    "Do you want to send a delay warning message?", NULL, false },
	{ Q_VALUE, "bounce_recipient", "Do you want bounce messages to be sent to an alternate address?", false,
	    "Enter the address.", NULL, false },
	{ Q_VALUE, NULL, NULL, false, NULL, NULL, false },
};

static const struct dialog_table tables[] = {
	{ "destconfig", CONF_T_DESTINATIONS, "", "domain",
	    "Enter the domain you wish to configure.", "DEFAULT", true, destinations },
	{ "smtproutes", CONF_T_ROUTES, "", "route",
	    "Enter the domain for which you want to set up a permanent route (.example.com: all below; ALL).", NULL, false, routes },
	{ "altsrchost", CONF_T_GATEWAYS, "gateway ", "gateway",
	    "Enter the name of the virtual gateway.", NULL, false, gateways },
	{ "bounceconfig", CONF_T_BOUNCE, "profile ", "profile",
	    "Enter the name of the bounce profile.", "default", false, profiles },
};
/* clang-format on */

const struct dialog_table *
dialog_table(const char *kin)
{
	size_t i;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcmp(tables[i].kin, kin) == 0)
			return &tables[i];
	return NULL;
}
