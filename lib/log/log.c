/*
 * log.c - gathers lines and writes them in whole lines. Called by every process.
 * Never blocks on purpose, never grows beyond its buffer; lines that the target
 * does not take are counted, and the log says so itself once it takes lines
 * again. File scope: one process, one log.
 */
#include "lib/log/log.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LINE_MAX_LEN = 4000,	/* so that a line is atomic on a pipe */
	GATHER_MAX = 64 * 1024, /* flushed when this much waits */
	EXIT_FATAL = 70,	/* EXIT_CODE_FATAL, lib/proc/exit.h */
};

static struct {
	int fd;
	enum log_format format;
	enum log_level level;
	char proc[32];
	size_t chunk; /* most bytes in one write; 1: one line (datagrams) */
	char mem[GATHER_MAX];
	size_t len;
	uint64_t lost, told; /* lines; told: of these the log knows */
	bool gone;
} lg = { .fd = 2, .level = LOG_INFO, .proc = "postern", .chunk = PIPE_BUF };

static const char *const level_names[] = { "Critical", "Warning", "Info",
	"Debug", "Trace" };
static const int syslog_prio[] = { 2, 4, 6, 7, 7 };

void
log_set_fd(int fd)
{
	struct stat st;

	lg.fd = fd;
	lg.gone = false;
	/* a regular file opened for append takes any size in one piece */
	lg.chunk = PIPE_BUF;
	if (fstat(fd, &st) == 0) {
		if (S_ISREG(st.st_mode))
			lg.chunk = GATHER_MAX;
		else if (S_ISSOCK(st.st_mode))
			lg.chunk = 1;
	}
}

void
log_init(int fd, enum log_format format, enum log_level level, const char *proc)
{
	lg.format = format;
	lg.level = level;
	(void)snprintf(lg.proc, sizeof(lg.proc), "%s", proc);
	log_set_fd(fd);
}

bool
log_target_gone(void)
{
	return lg.gone;
}

void
log_set(enum log_format format, enum log_level level)
{
	lg.format = format;
	lg.level = level;
}

bool
log_wants(enum log_level level)
{
	return level <= lg.level;
}

uint64_t
log_lost(void)
{
	return lg.lost;
}

/* Length of the valid UTF-8 sequence at p, or 0. Refuses overlong forms,
 * surrogates, and the C1 controls (RFC 3629). */
static size_t
utf8_seq(const unsigned char *p, size_t n)
{
	uint32_t cp;
	size_t want, i;

	if (n == 0 || p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	want = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < want)
		return 0;
	cp = p[0] & (0xffu >> (want + 1));
	for (i = 1; i < want; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (p[i] & 0x3f);
	}
	if (cp < 0xa0 || (want == 3 && cp < 0x800) ||
	    (want == 4 && (cp < 0x10000 || cp > 0x10ffff)) ||
	    (cp >= 0xd800 && cp < 0xe000) || cp == 0x2028 || cp == 0x2029)
		return 0;
	return want;
}

/*
 * The one escaping loop. Copies n bytes of in to out (room for cap with the
 * terminator). extra lists the ASCII bytes that get a backslash; json chooses
 * \u00XX over \xXX. Returns the length written.
 */
static size_t
escape(char *out, size_t cap, const char *in, size_t n, const char *extra,
    bool json)
{
	size_t o = 0, i = 0, seq;
	const unsigned char *p = (const unsigned char *)in;

	while (i < n && o + 8 < cap) {
		seq = utf8_seq(p + i, n - i);
		if (seq > 0) {
			memcpy(out + o, p + i, seq);
			o += seq;
			i += seq;
			continue;
		}
		if (p[i] < 0x20 || p[i] >= 0x7f)
			o += (size_t)snprintf(out + o, cap - o,
			    json ? "\\u%04x" : "\\x%02x", p[i]);
		else {
			if (p[i] != 0 && strchr(extra, p[i]) != NULL)
				out[o++] = '\\';
			out[o++] = (char)p[i];
		}
		i++;
	}
	if (i < n && o + 4 < cap) {
		memcpy(out + o, "...", 3);
		o += 3;
	}
	out[o] = '\0';
	return o;
}

const char *
log_quote_bytes(char *buf, size_t len, const void *data, size_t n)
{
	(void)escape(buf, len, data, n, "'\\", false);
	return buf;
}

const char *
log_quote(char *buf, size_t len, const char *text)
{
	return log_quote_bytes(buf, len, text == NULL ? "" : text,
	    text == NULL ? 0 : strlen(text));
}

/* How much of mem[done..len) goes into one write. */
static size_t
next_chunk(size_t done)
{
	size_t n = lg.len - done;
	const char *nl;

	if (lg.chunk == 1) {
		nl = memchr(lg.mem + done, '\n', n);
		return nl == NULL ? n : (size_t)(nl - lg.mem) + 1 - done;
	}
	if (n <= lg.chunk)
		return n;
	/* cut at the last line end that fits */
	for (n = lg.chunk; n > 0 && lg.mem[done + n - 1] != '\n'; n--)
		continue;
	return n > 0 ? n : lg.chunk;
}

static void
count_lost(const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		lg.lost += p[i] == '\n';
}

static void
write_all(void)
{
	size_t done = 0, n;
	ssize_t w;

	while (done < lg.len) {
		n = next_chunk(done);
		w = write(lg.fd, lg.mem + done, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w >= 0) {
			done += (size_t)w;
			continue;
		}
		/* whoever read it is gone: a syslog daemon that was restarted
		 * has another socket under the same name */
		lg.gone |= errno == ECONNREFUSED || errno == ENOTCONN ||
		    errno == ECONNRESET || errno == EPIPE;
		if (lg.chunk != 1)
			n = lg.len - done;
		count_lost(lg.mem + done, n);
		done += n;
	}
	lg.len = 0;
}

__attribute__((format(printf, 3, 4))) static void put_line(
    enum log_level level, const char *event, const char *fmt, ...);

void
log_flush(void)
{
	uint64_t before = lg.lost, n;

	if (lg.len == 0)
		return;
	write_all();
	if (lg.lost != before || lg.lost == lg.told)
		return;
	n = lg.lost - lg.told;
	lg.told = lg.lost;
	put_line(LOG_WARNING, "log_lost", "%llu log line%s lost",
	    (unsigned long long)n, n == 1 ? " was" : "s were");
	write_all();
}

static void
gather(const char *line, size_t len)
{
	if (lg.len + len > sizeof(lg.mem))
		write_all();
	memcpy(lg.mem + lg.len, line, len);
	lg.len += len;
}

/* The JSON object under construction; silently full at its end. */
struct json_line {
	char mem[2 * LINE_MAX_LEN];
	size_t len;
};

static void
json_str(struct json_line *j, const char *name, const char *value)
{
	if (value == NULL || j->len + strlen(name) + 16 > sizeof(j->mem) - 64)
		return;
	j->len += (size_t)snprintf(j->mem + j->len, sizeof(j->mem) - j->len,
	    "%s\"%s\":\"", j->len > 1 ? "," : "", name);
	j->len += escape(j->mem + j->len, sizeof(j->mem) - 32 - j->len, value,
	    strlen(value), "\"\\", true);
	j->mem[j->len++] = '"';
}

static void
json_num(struct json_line *j, const char *name, bool present, int64_t value)
{
	if (!present || j->len + strlen(name) + 32 > sizeof(j->mem) - 64)
		return;
	j->len += (size_t)snprintf(j->mem + j->len, sizeof(j->mem) - j->len,
	    "%s\"%s\":%lld", j->len > 1 ? "," : "", name, (long long)value);
}

static void
put_json(enum log_level level, const char *event, const struct log_fields *f,
    const char *text)
{
	struct json_line j = { .mem = "{", .len = 1 };
	char when[32], lower[16];
	size_t i;
	const struct log_fields none = { 0 };

	if (f == NULL)
		f = &none;
	for (i = 0; level_names[level][i] != '\0' && i < sizeof(lower) - 1; i++)
		lower[i] = (char)(level_names[level][i] | 0x20);
	lower[i] = '\0';
	json_str(&j, "time",
	    clock_format_rfc3339(clock_now_ms(), when, sizeof(when)));
	json_str(&j, "level", lower);
	json_str(&j, "event", event);
	json_str(&j, "process", lg.proc);
	json_num(&j, "icid", f->icid != 0, (int64_t)f->icid);
	json_num(&j, "mid", f->mid != 0, (int64_t)f->mid);
	json_num(&j, "rid", f->has_rid, f->rid);
	json_num(&j, "dcid", f->dcid != 0, (int64_t)f->dcid);
	json_str(&j, "from", f->from);
	json_str(&j, "to", f->to);
	json_str(&j, "domain", f->domain);
	json_str(&j, "gateway", f->gateway);
	json_str(&j, "host", f->host);
	json_str(&j, "address", f->address);
	json_num(&j, "port", f->port != 0, f->port);
	json_str(&j, "level_wanted", f->level_wanted);
	json_str(&j, "level_proven", f->level_proven);
	json_str(&j, "protocol", f->protocol);
	json_str(&j, "cipher", f->cipher);
	json_str(&j, "peer_name", f->peer_name);
	json_str(&j, "rule", f->rule);
	json_str(&j, "policy_id", f->policy_id);
	json_str(&j, "outcome", f->outcome);
	json_str(&j, "reply", f->reply);
	json_str(&j, "status", f->status);
	json_str(&j, "reason", f->reason);
	json_num(&j, "delay_ms", f->has_delay, f->delay_ms);
	json_num(&j, "size", f->has_size, (int64_t)f->size);
	json_str(&j, "text", text);
	memcpy(j.mem + j.len, "}\n", 2);
	gather(j.mem, j.len + 2);
}

static void
put_text(enum log_level level, const char *text)
{
	char line[LINE_MAX_LEN + 96], when[32];
	int n;

	if (lg.format == LOG_SYSLOG)
		n = snprintf(line, sizeof(line), "<%d>%s: %s: %s\n",
		    syslog_prio[level] | 2 << 3, lg.proc, level_names[level],
		    text);
	else
		n = snprintf(line, sizeof(line), "%s %s: %s\n",
		    clock_format_log(clock_now_s(), when, sizeof(when)),
		    level_names[level], text);
	if (n > 0)
		gather(line,
		    (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

__attribute__((format(printf, 4, 0))) static void
vlog(enum log_level level, const char *event, const struct log_fields *f,
    const char *fmt, va_list ap)
{
	char raw[LINE_MAX_LEN], text[LINE_MAX_LEN];

	if (vsnprintf(raw, sizeof(raw), fmt, ap) < 0)
		return;
	(void)escape(text, sizeof(text), raw, strlen(raw), "", false);
	if (lg.format == LOG_JSON)
		put_json(level, event, f, text);
	else
		put_text(level, text);
}

static void
put_line(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(level, event, NULL, fmt, ap);
	va_end(ap);
}

void
log_event(enum log_level level, const char *event, const struct log_fields *f,
    const char *fmt, ...)
{
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	vlog(level, event, f, fmt, ap);
	va_end(ap);
	if (level <= LOG_WARNING)
		log_flush();
}

void
fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_CRITICAL, "fatal", NULL, fmt, ap);
	va_end(ap);
	log_flush();
	_exit(EXIT_FATAL);
}

bool
log_limit_ok(struct log_limit *l, uint32_t burst, int64_t window_ms,
    uint32_t *ret_skipped)
{
	int64_t now_ms = clock_mono_ms();

	if (l->window_start_ms == 0 ||
	    now_ms - l->window_start_ms >= window_ms) {
		l->window_start_ms = now_ms;
		l->in_window = 0;
	}
	if (l->in_window >= burst) {
		l->skipped++;
		return false;
	}
	l->in_window++;
	*ret_skipped = l->skipped;
	l->skipped = 0;
	return true;
}
