/*
 * client.c - one question to the node over its control socket.
 *
 * Called by the commands. HTTP by libcurl over a Unix socket; no proxy, no
 * redirect, no name is looked up. What comes back is bounded and parsed.
 */
#include "ctl/ctl.h"
#include "ctl/show.h"
#include "lib/conf/conf.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_DIR    "/etc/postern"
#define DEFAULT_SOCKET "/run/postern/control.sock"

enum {
	ANSWER_MAX = 32 * 1024 * 1024,
	TIMEOUT_S = 58, /* over the node's own longest deadline */
};

/* ---- where the socket is -------------------------------------------------------------- */

static int
read_file(void *arg, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	struct stat st;
	uint8_t *data;
	size_t n;
	int fd, r = 0;

	fd = openat(*(const int *)arg, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return -EINVAL;
	}
	if ((size_t)st.st_size > max) {
		(void)close(fd);
		return -EFBIG;
	}
	data = malloc((size_t)st.st_size + 1);
	for (n = 0; data != NULL && n < (size_t)st.st_size;) {
		ssize_t got = read(fd, data + n, (size_t)st.st_size - n);

		if (got <= 0) {
			r = got < 0 ? -errno : -EIO;
			break;
		}
		n += (size_t)got;
	}
	(void)close(fd);
	if (data == NULL || r < 0) {
		free(data);
		return data == NULL ? -ENOMEM : r;
	}
	*ret_data = data;
	*ret_len = n;
	return 0;
}

static const char *
env(void *arg, const char *name)
{
	(void)arg;
	return getenv(name);
}

/* run_dir of the settings. Only their texts are read: keys and secrets that they
 * name need not be readable for this user. False when they cannot be read. */
static bool
socket_of_settings(const char *dir, char *ret_path, size_t len)
{
	char whole[PATH_MAX];
	int dir_fd = realpath(dir, whole) == NULL
	    ? -1
	    : open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct conf_source src = {
		.arg = &dir_fd,
		.read = read_file,
		.env = env,
		.dir = whole,
		.hostname = "localhost.localdomain",
		.nameservers = "127.0.0.1",
		.named_files = false,
	};
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	bool ok = dir_fd >= 0 && conf_load(&src, &errs, &conf) == 0;

	if (dir_fd >= 0)
		(void)close(dir_fd);
	conf_errors_done(&errs);
	if (!ok)
		return false;
	(void)snprintf(ret_path, len, "%s/control.sock", conf->node.run_dir);
	conf_unref(conf);
	return true;
}

/*
 * run_dir of a postern.conf with mistakes in it, or beside a broken table: the
 * node still runs with its old settings, and just now somebody wants to ask it.
 * Looks for the one line; ${NAME} is not replaced.
 */
static bool
socket_of_line(const char *dir, char *ret_path, size_t len)
{
	char file[PATH_MAX], line[4096], value[PATH_MAX];
	bool inside = false, found = false;
	FILE *f;

	(void)snprintf(file, sizeof(file), "%s/postern.conf", dir);
	f = fopen(file, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (line[0] == '[')
			inside = strncmp(line, "[postern]", 9) == 0;
		else if (inside &&
		    sscanf(line, "run_dir = %4000[^\r\n]", value) == 1)
			found = true;
	}
	if (f != NULL)
		(void)fclose(f);
	if (!found || value[0] != '/' || strlen(value) > 480 || len < 512)
		return false;
	(void)snprintf(ret_path, len, "%.480s/control.sock", value);
	return true;
}

const char *
ctl_socket(struct ctl *ctl)
{
	const struct args *a = ctl->args;
	const char *dir = a->dir != NULL ? a->dir : DEFAULT_DIR;

	if (ctl->socket[0] != '\0')
		return ctl->socket;
	if (a->socket != NULL)
		(void)snprintf(
		    ctl->socket, sizeof(ctl->socket), "%s", a->socket);
	else if (!socket_of_settings(dir, ctl->socket, sizeof(ctl->socket)) &&
	    !socket_of_line(dir, ctl->socket, sizeof(ctl->socket))) {
		(void)snprintf(
		    ctl->socket, sizeof(ctl->socket), "%s", DEFAULT_SOCKET);
		if (a->dir != NULL)
			(void)fprintf(ctl->err,
			    "posternctl: the settings in %s cannot be read or "
			    "have errors (postern check -c %s); using %s\n",
			    a->dir, a->dir, ctl->socket);
	}
	return ctl->socket;
}

/* ---- one exchange ---------------------------------------------------------------------- */

struct answer {
	char *data;
	size_t len;
};

static size_t
on_bytes(char *data, size_t size, size_t n, void *arg)
{
	struct answer *ans = arg;
	size_t len = size * n;
	char *more;

	if (len > ANSWER_MAX - ans->len)
		return 0;
	more = realloc(ans->data, ans->len + len + 1);
	if (more == NULL)
		return 0;
	ans->data = more;
	memcpy(ans->data + ans->len, data, len);
	ans->len += len;
	ans->data[ans->len] = '\0';
	return len;
}

char *
ctl_escape(const char *text)
{
	char *curls = curl_easy_escape(NULL, text, 0), *ours;

	if (curls == NULL)
		return NULL;
	ours = strdup(curls);
	curl_free(curls);
	return ours;
}

void
ctl_print_json(struct ctl *ctl, const json_t *doc)
{
	(void)json_dumpf(doc, ctl->out, JSON_COMPACT | JSON_REAL_PRECISION(12));
	(void)fputc('\n', ctl->out);
}

/* Nobody answered: say which socket, and what to do. */
static int
unreachable(struct ctl *ctl, CURLcode code)
{
	const char *path = ctl_socket(ctl), *why, *todo;
	struct stat st;
	json_t *doc;

	if (stat(path, &st) < 0 && errno == ENOENT) {
		why = "no such socket";
		todo = "is the node running (postern run)? Another one: "
		       "-c DIR or --socket PATH";
	} else if (access(path, W_OK) < 0 && errno == EACCES) {
		why = "permission denied";
		todo = "run this as root or as the user who started postern";
	} else if (code == CURLE_OPERATION_TIMEDOUT) {
		why = "no answer in time";
		todo = "see the log of postern for process admin";
	} else if (code == CURLE_COULDNT_CONNECT) {
		why = "nobody listens";
		todo = "the node has stopped, or is starting: see its log";
	} else {
		why = curl_easy_strerror(code);
		todo = "see the log of postern for process admin";
	}
	if (ctl->json) {
		doc = json_pack("{s:{s:i, s:s, s:s, s:s}}", "error", "code", 0,
		    "process", "admin", "text", why, "socket", path);
		ctl_print_json(ctl, doc);
		json_decref(doc);
	}
	(void)fprintf(ctl->err, "posternctl: %s: %s: %s\n", path, why, todo);
	return CTL_UNREACHABLE;
}

/* Status and {"error": …} of the node as exit code and sentence. */
static int
refused(struct ctl *ctl, long status, json_t *doc)
{
	json_t *e = json_object_get(doc, "error");
	char *process = show_value(json_object_get(e, "process"));
	char *text = show_value(json_object_get(e, "text"));

	if (ctl->json && e != NULL)
		ctl_print_json(ctl, doc);
	if (e != NULL)
		(void)fprintf(ctl->err, "posternctl: %s: %s\n", process, text);
	else
		(void)fprintf(ctl->err,
		    "posternctl: the node answered with status %ld\n", status);
	free(process);
	free(text);
	switch (status) {
	case 400:
		return CTL_USAGE;
	case 403:
	case 503:
	case 504:
		return CTL_UNREACHABLE;
	default:
		return CTL_NO;
	}
}

static CURLcode
exchange(struct ctl *ctl, const char *method, const char *path,
    const char *body, struct answer *ret_ans, long *ret_status)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = NULL;
	char url[4096];
	CURLcode r;

	if (curl == NULL)
		return CURLE_OUT_OF_MEMORY;
	(void)snprintf(url, sizeof(url), "http://localhost%s", path);
	/* our own constants: none of these can fail */
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, ctl_socket(ctl));
	(void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret_ans);
	if (body != NULL) {
		headers =
		    curl_slist_append(NULL, "Content-Type: application/json");
		(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	}
	r = curl_easy_perform(curl);
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return r;
}

int
ctl_ask(struct ctl *ctl, const char *method, const char *path, json_t *body,
    json_t **ret_doc)
{
	char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
	struct answer ans = { NULL, 0 };
	long status = 0;
	json_t *doc;
	CURLcode r;
	int code = CTL_DONE;

	json_decref(body);
	*ret_doc = NULL;
	r = exchange(ctl, method, path, text, &ans, &status);
	free(text);
	if (r != CURLE_OK) {
		free(ans.data);
		return unreachable(ctl, r);
	}
	doc = json_loadb(ans.data == NULL ? "" : ans.data, ans.len, 0, NULL);
	free(ans.data);
	if (status != 200) {
		code = refused(ctl, status, doc);
	} else if (doc == NULL) {
		(void)fprintf(ctl->err,
		    "posternctl: the node's answer is no JSON: is another "
		    "program behind %s?\n",
		    ctl_socket(ctl));
		code = CTL_UNREACHABLE;
	}
	if (code != CTL_DONE)
		json_decref(doc);
	else
		*ret_doc = doc;
	return code;
}

int
ctl_ask_quiet(struct ctl *ctl, const char *method, const char *path,
    json_t *body, json_t **ret_doc)
{
	FILE *err = ctl->err, *null = fopen("/dev/null", "we");
	bool json = ctl->json;
	int code;

	if (null != NULL)
		ctl->err = null;
	ctl->json = false;
	code = ctl_ask(ctl, method, path, body, ret_doc);
	ctl->err = err;
	ctl->json = json;
	if (null != NULL)
		(void)fclose(null);
	return code;
}

int
ctl_ask_show(struct ctl *ctl, const char *method, const char *path,
    json_t *body, json_t **ret_doc)
{
	int code = ctl_ask(ctl, method, path, body, ret_doc);

	if (code == CTL_DONE && ctl->json) {
		ctl_print_json(ctl, *ret_doc);
		json_decref(*ret_doc);
		*ret_doc = NULL;
	}
	return code;
}
