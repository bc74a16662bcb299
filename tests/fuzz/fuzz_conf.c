/*
 * fuzz_conf.c - arbitrary bytes as settings files, and as a buffer for a child.
 *
 * The first byte says which file the rest is (5: a buffer). Whatever loads must
 * come through a buffer unchanged.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf/conf_int.h"

struct input {
	const char *name;
	const uint8_t *data;
	size_t len;
};

static int
read_input(void *arg, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	const struct input *in = arg;
	bool ours = strcmp(path, in->name) == 0;
	uint8_t *copy;

	if (!ours && strcmp(path, "postern.conf") != 0 && path[0] != '/')
		return -ENOENT;
	if (in->len > max)
		return -EFBIG;
	copy = calloc(1, in->len + 1);
	if (copy == NULL)
		return -ENOMEM;
	if (ours)
		memcpy(copy, in->data, in->len);
	*ret_data = copy;
	*ret_len = ours ? in->len : 0;
	return 0;
}

static const char *
read_env(void *arg, const char *name)
{
	(void)arg;
	return name[0] == 'A' ? "value, ${B}" : NULL;
}

static void
check(int condition)
{
	if (!condition)
		abort();
}

/* The same settings on the other side, and every lookup answers. */
static void
through_blob(const struct conf *conf)
{
	struct conf *child = NULL;
	uint8_t *data;
	size_t len, i, k;
	char a[128], b[128];

	check(conf_blob_build(conf,
		  (enum conf_for)(CONF_FOR_SMTPD | CONF_FOR_DELIVER), &data,
		  &len) == 0);
	check(conf_blob_parse(data, len, &child) == 0);
	free(data);
	check(child->n_dests == conf->n_dests &&
	    child->n_routes == conf->n_routes &&
	    child->n_listeners == conf->n_listeners &&
	    child->n_gateways == conf->n_gateways &&
	    child->n_profiles == conf->n_profiles);
	for (i = 0; i < conf->n_dests; i++) {
		check(strcmp(child->dests[i].name, conf->dests[i].name) == 0);
		check(child->dests[i].given == conf->dests[i].given);
		for (k = 0; k < conf_dest_keys(); k++)
			check(strcmp(conf_dest_value(
					 &child->dests[i], k, a, sizeof(a)),
				  conf_dest_value(
				      &conf->dests[i], k, b, sizeof(b))) == 0);
		(void)conf_dest_lookup(conf, conf->dests[i].name);
		(void)conf_mx_site_lookup(conf, conf->dests[i].name);
	}
	for (i = 0; i < conf->n_routes; i++)
		check(conf_route_lookup(conf, conf->routes[i].name) != NULL);
	for (i = 0; i < conf->n_gateways; i++)
		for (k = 0; k < conf->gateways[i].senders.n; k++)
			(void)conf_gateway_choose(
			    conf, conf->gateways[i].senders.v[k], NULL);
	conf_unref(child);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_source src = { .read = read_input,
		.env = read_env,
		.dir = "/dir",
		.hostname = "gw.example",
		.nameservers = "127.0.0.1",
		.named_files = true };
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	struct input in;
	size_t which;
	int r;

	if (size == 0)
		return 0;
	which = data[0] % (CONF_T_COUNT + 1);
	if (which == CONF_T_COUNT) {
		if (conf_blob_parse(data + 1, size - 1, &conf) == 0)
			conf_unref(conf);
		return 0;
	}
	in = (struct input){ conf_table_file[which], data + 1, size - 1 };
	src.arg = &in;
	r = conf_load(&src, &errs, &conf);
	check((r == 0) == (errs.errors == 0) && (r == 0) == (conf != NULL));
	conf_errors_done(&errs);
	if (r == 0)
		through_blob(conf);
	conf_unref(conf);
	return 0;
}
