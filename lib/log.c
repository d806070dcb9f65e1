#include "log.h"

#include "clock.h"
#include "json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	struct buf who; /* the members that are the same in every line */
	enum log_level least;
	bool journal;
} out = {.least = LOG_INFO_};

static const struct {
	const char *name;
	char priority; /* syslog(3), as sd-daemon(3) wants it */
} levels[LOG_LEVELS] = {{"debug", '7'}, {"info", '6'}, {"warn", '4'}, {"error", '3'}};

/* systemd.exec(5): $JOURNAL_STREAM is DEVICE:INODE of the journal's socket; stderr may be another file by now. */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	char *end;

	if (text == NULL)
		return false;
	device = strtoull(text, &end, 10);
	if (end == text || *end != ':')
		return false;
	text = end + 1;
	inode = strtoull(text, &end, 10);
	if (end == text || *end != '\0' || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == device && st.st_ino == inode;
}

/* Bytes that are not UTF-8, and NUL, become U+FFFD, so that a line is JSON whatever a target says. */
static void add_quoted(struct buf *b, struct slice text)
{
	struct buf CLEANUP(buf_cleanup) clean = {0};

	if (utf8_valid(text)) {
		json_quote(text, b);
		return;
	}
	buf_add_utf8(&clean, text, SIZE_MAX);
	json_quote(buf_slice(&clean), b);
}

static void add_member(struct buf *b, const char *key, struct slice value)
{
	if (b->n > 0 && b->p[b->n - 1] != '{')
		buf_addc(b, ',');
	add_quoted(b, slice_of(key));
	buf_addc(b, ':');
	add_quoted(b, value);
}

static const char *name_key(const char *component)
{
	if (strcmp(component, "collector") == 0)
		return "source";
	return strcmp(component, "worker") == 0 ? "target" : "name";
}

void log_open(const char *component, const char *name, enum log_level least)
{
	buf_done(&out.who);
	add_member(&out.who, "component", slice_of(component));
	if (name != NULL && *name != '\0')
		add_member(&out.who, name_key(component), slice_of(name));
	out.least = least;
	out.journal = stderr_is_journal();
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	for (int i = 0; text != NULL && i < LOG_LEVELS; i++)
		if (strcmp(text, levels[i].name) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

bool log_on(enum log_level level)
{
	return level >= out.least;
}

struct log_line log_begin(enum log_level level, const char *code, const char *msg)
{
	struct log_line l = {.on = log_on(level)};
	char now[CLOCK_RFC3339];

	if (!l.on)
		return l;
	if (out.journal)
		buf_addf(&l.b, "<%c>", levels[level].priority);
	buf_addc(&l.b, '{');
	clock_rfc3339(clock_unix_ms(), now);
	add_member(&l.b, "ts", slice_of(now));
	add_member(&l.b, "level", slice_of(levels[level].name));
	if (code != NULL)
		add_member(&l.b, "code", slice_of(code));
	if (out.who.n > 0) {
		buf_addc(&l.b, ',');
		buf_add(&l.b, out.who.p, out.who.n);
	}
	add_member(&l.b, "msg", slice_of(msg));
	return l;
}

void log_text(struct log_line *l, const char *key, const char *value)
{
	if (value != NULL)
		log_slice(l, key, slice_of(value));
}

void log_slice(struct log_line *l, const char *key, struct slice value)
{
	if (l->on)
		add_member(&l->b, key, value);
}

void log_int(struct log_line *l, const char *key, int64_t value)
{
	if (!l->on)
		return;
	buf_addc(&l->b, ',');
	add_quoted(&l->b, slice_of(key));
	buf_addf(&l->b, ":%lld", (long long)value);
}

void log_id(struct log_line *l, const char *key, const struct id *id)
{
	char text[ID_TEXT];

	if (!l->on)
		return;
	id_format(id, text);
	log_slice(l, key, slice_of(text));
}

/* One write a line, so that lines of several processes on one pipe stay whole (pipe(7): up to PIPE_BUF). A line
 * that cannot be written is lost: there is nowhere to say so. */
void log_end(struct log_line *l)
{
	size_t done = 0;

	if (!l->on)
		return;
	buf_adds(&l->b, "}\n");
	while (done < l->b.n) {
		ssize_t n = write(STDERR_FILENO, l->b.p + done, l->b.n - done);

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	buf_done(&l->b);
	l->on = false;
}

void log_msg(enum log_level level, const char *code, const char *format, ...)
{
	struct buf CLEANUP(buf_cleanup) msg = {0};
	struct log_line l;
	va_list ap;

	if (!log_on(level))
		return;
	va_start(ap, format);
	buf_vaddf(&msg, format, ap);
	va_end(ap);
	l = log_begin(level, code, msg.p);
	log_end(&l);
}
