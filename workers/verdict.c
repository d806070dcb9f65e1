#include "verdict.h"

#include "target.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ON(kind) (1u << (kind))
#define WRITES	 (ON(TARGET_CREATE) | ON(TARGET_UPDATE) | ON(TARGET_DELETE) | ON(TARGET_STEP))

/* First match counts. Sources: RFC 9110 15, RFC 6585, RFC 7644 3.12, GOALS 8 (520-527: Cloudflare's). */
static const struct verdict_row general[] = {
	{0, 200, 299, NULL, VERDICT_CLASS_OK, NULL, NULL},
	{0, 300, 399, NULL, VERDICT_CLASS_RETRY, "redirected", NULL},
	{0, 401, 401, NULL, VERDICT_CLASS_AUTH, "token_refused", NULL},
	{0, 403, 403, NULL, VERDICT_CLASS_REJECT, "forbidden", NULL},
	{ON(TARGET_CREATE), 404, 404, NULL, VERDICT_CLASS_RETRY, "no_such_endpoint", NULL},
	{ON(TARGET_CREATE), 410, 410, NULL, VERDICT_CLASS_RETRY, "no_such_endpoint", NULL},
	{0, 404, 404, NULL, VERDICT_CLASS_GONE, "not_found", NULL},
	{0, 410, 410, NULL, VERDICT_CLASS_GONE, "not_found", NULL},
	{0, 405, 405, NULL, VERDICT_CLASS_DOWNGRADE, "method_not_allowed", NULL},
	{0, 408, 408, NULL, VERDICT_CLASS_RETRY, "timeout", NULL},
	{ON(TARGET_CREATE) | ON(TARGET_UPDATE), 409, 409, NULL, VERDICT_CLASS_EXISTS, "name_taken",
	 NULL},
	{0, 409, 409, NULL, VERDICT_CLASS_RETRY, "conflict", NULL},
	{0, 412, 412, NULL, VERDICT_CLASS_STALE, "changed_meanwhile", NULL},
	{0, 413, 413, NULL, VERDICT_CLASS_SPLIT, "too_large", NULL},
	{0, 421, 421, NULL, VERDICT_CLASS_RETRY, "misdirected", NULL},
	{0, 423, 423, NULL, VERDICT_CLASS_RETRY, "locked", NULL},
	{0, 424, 424, NULL, VERDICT_CLASS_RETRY, "dependency_failed", NULL},
	{0, 425, 425, NULL, VERDICT_CLASS_RETRY, "too_early", NULL},
	{0, 428, 428, NULL, VERDICT_CLASS_STALE, "precondition_required", NULL},
	{0, 429, 429, NULL, VERDICT_CLASS_THROTTLED, "throttled", NULL},
	{0, 400, 499, NULL, VERDICT_CLASS_REJECT, "refused", NULL},
	{0, 501, 501, NULL, VERDICT_CLASS_DOWNGRADE, "not_implemented", NULL},
	{0, 503, 503, NULL, VERDICT_CLASS_RETRY, "unavailable", NULL},
	{0, 500, 599, NULL, VERDICT_CLASS_RETRY, "server_error", NULL},
	{0, 0, 0, NULL, VERDICT_CLASS_RETRY, "odd_status", NULL},
};

static const struct {
	enum verdict_class class;
	const char *reason;
} transport[HTTP_FAILURES] = {
	[HTTP_ANSWERED] = {VERDICT_CLASS_OK, NULL},
	[HTTP_NO_HOST] = {VERDICT_CLASS_DOWN, "no_host"},
	[HTTP_REFUSED] = {VERDICT_CLASS_DOWN, "connection_refused"},
	[HTTP_TLS] = {VERDICT_CLASS_DOWN, "tls_failed"},
	[HTTP_TIMEOUT] = {VERDICT_CLASS_RETRY, "timeout"},
	[HTTP_CUT] = {VERDICT_CLASS_RETRY, "connection_lost"},
	[HTTP_TOO_LARGE] = {VERDICT_CLASS_RETRY, "answer_too_large"},
	[HTTP_BROKEN] = {VERDICT_CLASS_RETRY, "broken_answer"},
};

static bool word_fits(const char *word, struct slice code)
{
	size_t n = word ? strlen(word) : 0;

	if (!word)
		return true;
	if (n > 0 && word[n - 1] == '*')
		return code.n >= n - 1 && memcmp(code.p ? code.p : "", word, n - 1) == 0;
	return slice_is(code, word);
}

static bool row_fits(const struct verdict_row *r, const struct verdict_facts *f)
{
	if (r->kinds && !(r->kinds & ON(f->kind)))
		return false;
	if ((r->status_from || r->status_to) &&
	    (f->status < r->status_from || f->status > r->status_to))
		return false;
	return word_fits(r->word, f->code);
}

static const struct verdict_row *row_of(const struct verdict_facts *f,
					const struct verdict_row *rows)
{
	const struct verdict_row *r;

	for (r = rows; r && r->class != VERDICT_CLASSES; r++) {
		if (row_fits(r, f))
			return r;
	}
	for (r = general; !row_fits(r, f); r++)
		; /* the last row fits everything */
	return r;
}

/* An answer after which a write may have taken effect although it was not confirmed. */
static bool may_have_happened(const struct verdict_facts *f)
{
	return f->status == 408 || (f->status >= 500 && f->status != 501 && f->status != 503) ||
	       f->status < 300 || f->status > 599; /* 2xx: its body told of a failure */
}

struct verdict verdict_judge(const struct verdict_facts *facts, const struct verdict_row *rows,
			     int64_t now_unix_ms)
{
	bool write = WRITES & ON(facts->kind);
	struct verdict v = {0};

	if (facts->failure != HTTP_ANSWERED) {
		v.class = transport[facts->failure].class;
		v.reason = transport[facts->failure].reason;
		v.unknown_outcome = write && facts->sent;
		return v;
	}
	const struct verdict_row *row = row_of(facts, rows);
	int64_t after = verdict_retry_after_ms(facts->retry_after, now_unix_ms);

	v.class = row->class;
	v.reason = row->reason;
	v.waits = row->waits;
	v.fresh_connection = facts->status == 503 || facts->status == 421;
	if (v.class == VERDICT_CLASS_OK && facts->not_json) {
		v.class = VERDICT_CLASS_RETRY;
		v.reason = "not_json";
		v.unknown_outcome = write;
		return v;
	}
	if (v.class == VERDICT_CLASS_RETRY || v.class == VERDICT_CLASS_DOWN)
		v.unknown_outcome = write && may_have_happened(facts);
	if (v.class == VERDICT_CLASS_RETRY && facts->status == 503 && after >= 0)
		v.class = VERDICT_CLASS_THROTTLED;
	/* 0, or a date that has passed, means soon; a 0 of ours would say that nobody knows how long. */
	if (v.class == VERDICT_CLASS_THROTTLED && after >= 0)
		v.after_ms = after > VERDICT_SOON_MS ? after : VERDICT_SOON_MS;
	else if (v.class == VERDICT_CLASS_THROTTLED)
		v.after_ms = VERDICT_THROTTLE_MS;
	else if (v.class == VERDICT_CLASS_RETRY && after > 0)
		v.after_ms = after;
	return v;
}

bool verdict_is_down(unsigned *streak, const struct verdict_facts *f)
{
	if (f->failure == HTTP_ANSWERED && (f->status < 500 || f->status == 501)) {
		*streak = 0;
		return false;
	}
	if (*streak < VERDICT_DOWN_AFTER)
		++*streak;
	return transport[f->failure].class == VERDICT_CLASS_DOWN || *streak >= VERDICT_DOWN_AFTER;
}

/* ---- Retry-After ---- */

static int64_t capped(int64_t ms)
{
	return ms < 0 ? 0 : ms > VERDICT_RETRY_AFTER_CAP_MS ? VERDICT_RETRY_AFTER_CAP_MS : ms;
}

/* "2", "2.128": milliseconds, a begun one counts. */
static int64_t seconds_ms(const char *p)
{
	int64_t ms = 0, unit = 100;
	bool more = false;

	for (; isdigit((unsigned char)*p); p++)
		ms = ms > VERDICT_RETRY_AFTER_CAP_MS ? ms : ms * 10 + (*p - '0') * INT64_C(1000);
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p); p++, unit /= 10) {
			ms += (*p - '0') * unit;
			more |= unit == 0 && *p != '0';
		}
	}
	return *p ? -1 : capped(ms + (more ? 1 : 0));
}

/* The three forms of RFC 9110 5.6.7. */
static int64_t date_ms(const char *p, int64_t now_unix_ms)
{
	static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT",
					    "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = {0};
		const char *end = strptime(p, forms[i], &tm);

		if (end && *end == '\0')
			return capped((int64_t)timegm(&tm) * 1000 - now_unix_ms);
	}
	return -1;
}

int64_t verdict_retry_after_ms(struct slice value, int64_t now_unix_ms)
{
	char text[64];

	while (value.n > 0 && value.p[0] == ' ') {
		value.p++;
		value.n--;
	}
	while (value.n > 0 && value.p[value.n - 1] == ' ')
		value.n--;
	if (value.n == 0 || value.n >= sizeof(text) || memchr(value.p, '\0', value.n))
		return -1;
	memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	if (isdigit((unsigned char)text[0]))
		return seconds_ms(text);
	return date_ms(text, now_unix_ms);
}
