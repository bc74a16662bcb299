/*
 * dnsask.c - ask the real postern-resolver, for tests and for developers.
 *
 *   dnsask SERVERS TRUST_AD NAME TYPE [NAME TYPE]...
 *
 * Starts the postern-resolver that lies beside it, plays supervisor and deliver
 * on its channels, asks one question after the other, and prints one JSON object
 * per answer. TRUST_AD is loopback, yes or no. A development tool, never
 * installed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/dns/dns.h"
#include "lib/ipc/chan.h"
#include "lib/json/json.h"
#include "lib/proto/control.h"
#include "lib/proto/resolve.h"

static struct ipc_hub hub;
static struct ipc_chan *ctl, *client;
static char **question; /* the next NAME TYPE */

static _Noreturn void
die(const char *what, const char *why)
{
	(void)fprintf(stderr, "dnsask: %s: %s\n", what, why);
	exit(2);
}

static void
must(int r, const char *what)
{
	if (r < 0)
		die(what, err_str(r));
}

static uint16_t
type_of(const char *text)
{
	uint16_t type;

	for (type = 1; type < 256; type++)
		if (strcmp(dns_type_str(type), text) == 0)
			return type;
	die("type", text);
}

static void
ask_next(void)
{
	struct resolve_ask m = { .flags = 0 };

	if (question[0] == NULL || question[1] == NULL) {
		uv_stop(uv_default_loop());
		return;
	}
	m.name = question[0];
	m.type = type_of(question[1]);
	question += 2;
	resolve_ask_encode(ipc_send_begin(client, RESOLVE_ASK, 1), &m);
	must(ipc_send_end(client, -1), "ask");
}

static void
print(const struct dns_answer *a)
{
	char text[4096];
	struct json j;
	struct buf b;
	size_t i;

	buf_init(&b, 4 << 20);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	json_put_str(&j, "name", a->name);
	json_put_str(&j, "type", dns_type_str(a->type));
	json_put_str(&j, "state", dns_state_str(a->state));
	json_put_str(&j, "kind", dns_kind_str(a->kind));
	json_put_str(&j, "why", dns_why_str(a->why));
	json_put_str(&j, "reason", a->reason);
	json_put_str(&j, "canon", a->canon);
	json_put_uint(&j, "ttl_s", a->ttl_s);
	json_put_arr(&j, "records");
	for (i = 0; i < a->rrs_len; i++)
		json_put_str(&j, NULL,
		    dns_rr_text(a->type, &a->rrs[i], text, sizeof(text)));
	json_put_end_arr(&j);
	json_put_end_obj(&j);
	must(j.err, "answer");
	(void)printf("%.*s\n", (int)buf_len(&b), (char *)buf_data(&b));
	buf_done(&b);
}

static int
on_answer(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct dns_answer *a;

	(void)peer;
	must(dns_answer_decode(rd->p, m->len, &a), "answer");
	print(a);
	dns_answer_free(a);
	ask_next();
	return 0;
}

static int
on_ready(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	(void)peer;
	(void)m;
	(void)rd;
	ask_next();
	return 0;
}

static void
on_down(void *peer, int why, const char *text)
{
	(void)peer;
	die(text == NULL ? "channel" : text, err_str(why));
}

static const struct ipc_rule ctl_rules[] = {
	{ CTL_READY, 0, 8192, IPC_ANY, 0, on_ready },
};
static const struct ipc_rule client_rules[] = {
	{ RESOLVE_ANSWER, 0, DNS_ANSWER_MAX, IPC_ANY, 0, on_answer },
};
static const struct ipc_spec ctl_spec = {
	.name = "resolver", .rules = ctl_rules, .n_rules = 1, .on_down = on_down
};
static const struct ipc_spec client_spec = { .name = "resolver",
	.rules = client_rules,
	.n_rules = 1,
	.on_down = on_down };

/* ---- start -----------------------------------------------------------------
 */

static void
exec_resolver(int fd)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
	char *dir;

	if (n < 0)
		_exit(2);
	path[n] = '\0';
	dir = strrchr(path, '/');
	memcpy(dir + 1, "postern-resolver", sizeof("postern-resolver"));
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(STDERR_FILENO, STDOUT_FILENO); /* its log */
	if (fd == 3)
		(void)fcntl(3, F_SETFD, 0);
	else
		(void)dup2(fd, 3);
	(void)execl(path, "postern-resolver", (char *)NULL);
	_exit(2);
}

static int
read_text(void *arg, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	if (strcmp(path, "postern.conf") != 0)
		return -ENOENT;
	*ret_len = strlen(arg);
	if (*ret_len > max)
		return -EFBIG;
	*ret_data = (uint8_t *)strdup(arg);
	return *ret_data == NULL ? -ENOMEM : 0;
}

static void
send_config(const char *servers, const char *trust_ad)
{
	char text[1024];
	struct conf_source src = { .arg = text,
		.read = read_text,
		.hostname = "dnsask.invalid",
		.named_files = true };
	struct ctl_config m = { 1 };
	struct conf_errors errs = { 0 };
	struct conf *conf;
	uint8_t *blob;
	size_t len;
	int fd;

	(void)snprintf(text, sizeof(text),
	    "[postern]\n[resolver]\nnameservers = %s\ntrust_ad = %s\n", servers,
	    trust_ad);
	if (conf_load(&src, &errs, &conf) < 0) {
		conf_errors_print(&errs, "dnsask", stderr);
		exit(2);
	}
	conf_errors_done(&errs); /* warnings */
	must(conf_blob_build(conf, CONF_FOR_NONE, &blob, &len), "settings");
	conf_unref(conf);
	fd = memfd_create("settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, blob, len) != (ssize_t)len ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) <
		0)
		die("memfd", strerror(errno));
	free(blob);
	ctl_config_encode(ipc_send_begin(ctl, CTL_CONFIG, 0), &m);
	must(ipc_send_end(ctl, fd), "settings");
}

static void
start(const char *servers, const char *trust_ad)
{
	struct ctl_start s = { .chroot_dir = "" };
	struct ctl_peer p = { ROLE_DELIVER, 0 };
	int fd[2];

	send_config(servers, trust_ad);
	must(ipc_pair(fd), "socketpair");
	ctl_peer_encode(ipc_send_begin(ctl, CTL_PEER, 0), &p);
	must(ipc_send_end(ctl, fd[1]), "peer");
	must(ipc_chan_new(&hub, fd[0], &client_spec, NULL, &client), "peer");
	ctl_start_encode(ipc_send_begin(ctl, CTL_START, 0), &s);
	must(ipc_send_end(ctl, -1), "start");
}

int
main(int argc, char **argv)
{
	int fd[2];
	pid_t pid;

	if (argc < 5) {
		(void)fprintf(
		    stderr, "usage: dnsask SERVERS TRUST_AD NAME TYPE ...\n");
		return 2;
	}
	question = &argv[3];
	must(ipc_pair(fd), "socketpair");
	pid = fork();
	if (pid == 0)
		exec_resolver(fd[1]);
	if (pid < 0)
		die("fork", strerror(errno));
	(void)close(fd[1]);
	must(ipc_hub_init(&hub, uv_default_loop()), "loop");
	must(ipc_chan_new(&hub, fd[0], &ctl_spec, NULL, &ctl), "channel");
	start(argv[1], argv[2]);
	(void)uv_run(uv_default_loop(), UV_RUN_DEFAULT);
	ipc_chan_free(client);
	ipc_chan_free(ctl);
	ipc_hub_done(&hub);
	(void)uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* closes them */
	(void)waitpid(pid, NULL, 0);
	return 0;
}
