/* Structured log: one JSON object a line on stderr (or the journal), names as INTERFACES 5.7. Programs log;
 * lib does not. Values that are secrets or personal data are never given to it (only ids, names of
 * attributes, a target's own words after redaction). */
#ifndef DIRPIPE_LOG_H
#define DIRPIPE_LOG_H

#include "buf.h"
#include "id.h"

enum log_level { LOG_DEBUG_, LOG_INFO_, LOG_WARN_, LOG_ERROR_, LOG_LEVELS };

/* component: collector, broker, worker, cli; name: the source or target, or "". Output: JSON lines, with
 * "<N>" priorities when journald reads stderr ($JOURNAL_STREAM). */
void log_open(const char *component, const char *name, enum log_level least);
int log_level_parse(const char *text, enum log_level *ret_level) MUST_CHECK;
bool log_on(enum log_level level);

/* A line is begun, given fields, and ended; code is stable (DP-1203), msg is for people.
 *	struct log_line l = log_begin(LOG_WARN_, "DP-2101", "target pauses");
 *	log_text(&l, "target", name);
 *	log_int(&l, "retry_after_ms", ms);
 *	log_end(&l);
 * Lines below the level cost nothing but the calls. */
struct log_line {
	bool on;
	struct buf b;
};
struct log_line log_begin(enum log_level level, const char *code, const char *msg);
void log_text(struct log_line *l, const char *key, const char *value); /* NULL is left out */
void log_slice(struct log_line *l, const char *key, struct slice value);
void log_int(struct log_line *l, const char *key, int64_t value);
void log_id(struct log_line *l, const char *key, const struct id *id);
void log_end(struct log_line *l);

/* One call for a line without fields. */
void log_msg(enum log_level level, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
