#include "metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Instead of uthash's own, whose switch clang warns of. */
#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)XXH3_64bits((key), (n)))
#include <uthash.h>

/* More label sets than this in one family is a label that is not bounded: what comes above is dropped and counted. */
enum { SERIES_MAX = 2000, BUCKETS = 14, LABEL_RING = 8 };

#define DROPPED "metrics_dropped_total"

static const struct {
	double most;
	const char *text;
} buckets[BUCKETS] = {{.01, "0.01"}, {.025, "0.025"}, {.05, "0.05"}, {.1, "0.1"},   {.25, "0.25"},
		      {.5, "0.5"},   {1, "1"},	      {2.5, "2.5"},  {5, "5"},	    {10, "10"},
		      {30, "30"},    {60, "60"},      {300, "300"},  {1800, "1800"}};

struct series {
	UT_hash_handle hh;
	double value;	  /* histogram: the sum */
	uint64_t *counts; /* histogram: one a bucket, not cumulative, and the rest */
	char labels[];
};

struct family {
	UT_hash_handle hh;
	enum metrics_kind kind;
	char *name, *help;
	struct series *series;
};

struct metrics {
	struct family *families;
};

static void series_free(struct series *s)
{
	free(s->counts);
	free(s);
}

static void family_free(struct family *f)
{
	struct series *s = f->series, *next;

	HASH_CLEAR(hh, f->series);
	for (; s != NULL; s = next) {
		next = s->hh.next;
		series_free(s);
	}
	free(f->name);
	free(f->help);
	free(f);
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct family *find_family(const struct metrics *m, const char *name)
{
	struct family *f;

	HASH_FIND_STR(m->families, name, f);
	return f;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct series *find_series(const struct family *f, const char *labels)
{
	struct series *s;

	HASH_FIND_STR(f->series, labels, s);
	return s;
}

struct metrics *metrics_new(void)
{
	struct metrics *m = mem_alloc(sizeof(*m));

	metrics_declare(m, METRICS_COUNTER, DROPPED,
			"Samples lost because a family had too many label sets.");
	metrics_add(m, DROPPED, "", 0);
	return m;
}

void metrics_free(struct metrics *m)
{
	struct family *f, *next;

	if (m == NULL)
		return;
	f = m->families;
	HASH_CLEAR(hh, m->families);
	for (; f != NULL; f = next) {
		next = f->hh.next;
		family_free(f);
	}
	free(m);
}

static bool ends_in(const char *text, const char *tail)
{
	size_t n = strlen(text), tail_n = strlen(tail);

	return n > tail_n && strcmp(text + n - tail_n, tail) == 0;
}

// NOLINTNEXTLINE(readability-function-size): uthash
void metrics_declare(struct metrics *m, enum metrics_kind kind, const char *name, const char *help)
{
	struct family *f = mem_alloc(sizeof(*f));

	assert((kind == METRICS_COUNTER) == ends_in(name, "_total"));
	assert(find_family(m, name) == NULL);
	f->kind = kind;
	f->name = mem_dup(name);
	f->help = mem_dup(help);
	HASH_ADD_KEYPTR(hh, m->families, f->name, strlen(f->name), f);
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct series *series_new(struct family *f, const char *labels)
{
	size_t n = strlen(labels);
	struct series *s = mem_alloc(sizeof(*s) + n + 1);

	memcpy(s->labels, labels, n + 1);
	if (f->kind == METRICS_HISTOGRAM)
		s->counts = mem_array(BUCKETS + 1, sizeof(*s->counts));
	HASH_ADD_KEYPTR(hh, f->series, s->labels, n, s);
	return s;
}

/* The series, made when new; NULL when the family is full. A name that was not declared is our bug. */
static struct series *series_of(struct metrics *m, const char *name, const char *labels,
				bool histogram)
{
	struct family *f = find_family(m, name);
	struct series *s;

	assert(f != NULL);
	assert((f->kind == METRICS_HISTOGRAM) == histogram);
	s = find_series(f, labels);
	if (s != NULL)
		return s;
	if (HASH_COUNT(f->series) < SERIES_MAX)
		return series_new(f, labels);
	metrics_add(m, DROPPED, "", 1);
	return NULL;
}

void metrics_add(struct metrics *m, const char *name, const char *labels, double value)
{
	struct series *s = series_of(m, name, labels, false);

	assert(value >= 0 || !ends_in(name, "_total"));
	if (s != NULL)
		s->value += value;
}

void metrics_set(struct metrics *m, const char *name, const char *labels, double value)
{
	struct series *s = series_of(m, name, labels, false);

	if (s != NULL)
		s->value = value;
}

void metrics_observe(struct metrics *m, const char *name, const char *labels, double seconds)
{
	struct series *s = series_of(m, name, labels, true);
	size_t i = 0;

	if (s == NULL)
		return;
	while (i < BUCKETS && seconds > buckets[i].most)
		i++;
	s->counts[i]++;
	s->value += seconds;
}

/* A histogram's value is the number of observations. */
double metrics_value(const struct metrics *m, const char *name, const char *labels)
{
	const struct family *f = find_family(m, name);
	const struct series *s = f == NULL ? NULL : find_series(f, labels);
	uint64_t count = 0;

	if (s == NULL)
		return 0;
	if (s->counts == NULL)
		return s->value;
	for (size_t i = 0; i <= BUCKETS; i++)
		count += s->counts[i];
	return (double)count;
}

// NOLINTNEXTLINE(readability-function-size): uthash
void metrics_forget(struct metrics *m, const char *name, const char *labels)
{
	struct family *f = find_family(m, name);
	struct series *s = f == NULL ? NULL : find_series(f, labels);

	if (s == NULL)
		return;
	HASH_DEL(f->series, s);
	series_free(s);
}

/* Prometheus text format 0.0.4: backslash, newline and (in label values) quote are escaped. */
static void add_escaped(struct buf *b, const char *text, bool quote)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			buf_adds(b, "\\n");
		else if (*text == '\\' || (quote && *text == '"'))
			buf_addf(b, "\\%c", *text);
		else
			buf_addc(b, *text);
	}
}

const char *metrics_labels(const char *key, ...)
{
	static struct buf ring[LABEL_RING];
	static unsigned turn;
	struct buf *b = &ring[turn++ % LABEL_RING];
	va_list ap;

	buf_clear(b);
	buf_adds(b, "");
	va_start(ap, key);
	for (; key != NULL; key = va_arg(ap, const char *)) {
		const char *value = va_arg(ap, const char *);

		if (b->n > 0)
			buf_addc(b, ',');
		buf_addf(b, "%s=\"", key);
		add_escaped(b, value == NULL ? "" : value, true);
		buf_addc(b, '"');
	}
	va_end(ap);
	return b->p;
}

static void add_value(struct buf *out, double v)
{
	char text[32];

	if (isnan(v)) {
		buf_adds(out, "NaN\n");
		return;
	}
	if (isinf(v)) {
		buf_adds(out, v > 0 ? "+Inf\n" : "-Inf\n");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v) // NOLINT: equality is the question
			break;
	}
	buf_addf(out, "%s\n", text);
}

/* "dirpipe_NAMEtail{labels} "; extra is one more label, already quoted, or "". */
static void add_sample(struct buf *out, const struct family *f, const char *tail,
		       const char *labels, const char *extra)
{
	bool both = *labels != '\0' && *extra != '\0';

	buf_addf(out, "dirpipe_%s%s", f->name, tail);
	if (*labels != '\0' || *extra != '\0')
		buf_addf(out, "{%s%s%s}", labels, both ? "," : "", extra);
	buf_addc(out, ' ');
}

static void print_histogram(struct buf *out, const struct family *f, const struct series *s)
{
	uint64_t count = 0;
	char le[32];

	for (size_t i = 0; i <= BUCKETS; i++) {
		count += s->counts[i];
		snprintf(le, sizeof(le), "le=\"%s\"", i < BUCKETS ? buckets[i].text : "+Inf");
		add_sample(out, f, "_bucket", s->labels, le);
		buf_addf(out, "%llu\n", (unsigned long long)count);
	}
	add_sample(out, f, "_sum", s->labels, "");
	add_value(out, s->value);
	add_sample(out, f, "_count", s->labels, "");
	buf_addf(out, "%llu\n", (unsigned long long)count);
}

void metrics_print(const struct metrics *m, struct buf *out)
{
	static const char *const kinds[METRICS_KINDS] = {"counter", "gauge", "histogram"};

	for (const struct family *f = m->families; f != NULL; f = f->hh.next) {
		buf_addf(out, "# HELP dirpipe_%s ", f->name);
		add_escaped(out, f->help, false);
		buf_addf(out, "\n# TYPE dirpipe_%s %s\n", f->name, kinds[f->kind]);
		for (const struct series *s = f->series; s != NULL; s = s->hh.next) {
			if (s->counts != NULL) {
				print_histogram(out, f, s);
				continue;
			}
			add_sample(out, f, "", s->labels, "");
			add_value(out, s->value);
		}
	}
}
