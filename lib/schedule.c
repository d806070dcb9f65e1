#include "schedule.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ZONES "/usr/share/zoneinfo/"
#define DAY_S 86400LL

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };
enum { DAYS_MOST = 5 * 366, TZIF_MOST = 64 << 10, TZIF_HEADER = 44 };

struct offset {
	int64_t from; /* seconds since 1970 */
	int32_t seconds;
};

struct schedule {
	uint64_t fields[FIELDS]; /* a bit per value */
	bool any_day, any_weekday;
	struct offset *offsets; /* ascending; the first holds from the beginning of time */
	size_t offsets_n;
};

static const struct {
	const char *name;
	int least, most;
	const char *words; /* three letters each, from `least` on; NULL: none */
} kinds[FIELDS] = {
	[MINUTE] = {"minute", 0, 59, NULL},
	[HOUR] = {"hour", 0, 23, NULL},
	[DAY] = {"day", 1, 31, NULL},
	[MONTH] = {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	[WEEKDAY] = {"weekday", 0, 7, "sunmontuewedthufrisat"},
};

/* ---- the five fields ---- */

static bool take_value(const char **p, int field, int *ret)
{
	const char *words = kinds[field].words;
	char *end;
	long value;

	for (int i = 0; words && words[3 * (size_t)i]; i++) {
		if (strncasecmp(*p, words + 3 * (size_t)i, 3) != 0)
			continue;
		*p += 3;
		*ret = kinds[field].least + i;
		return true;
	}
	if (**p < '0' || **p > '9')
		return false;
	value = strtol(*p, &end, 10);
	if (value < kinds[field].least || value > kinds[field].most)
		return false;
	*p = end;
	*ret = (int)value;
	return true;
}

/* One piece between commas. */
static bool take_range(const char **p, int field, uint64_t *bits)
{
	int from = kinds[field].least, to = kinds[field].most, step = 1;

	if (**p == '*') {
		(*p)++;
	} else {
		if (!take_value(p, field, &from))
			return false;
		to = from;
		if (**p == '-' && (++*p, !take_value(p, field, &to)))
			return false;
	}
	if (**p == '/') {
		char *end;
		long value = strtol(*p + 1, &end, 10);

		if (end == *p + 1 || value < 1 || value > kinds[field].most)
			return false;
		step = (int)value;
		*p = end;
	}
	for (int i = from; i <= to; i += step)
		*bits |= 1ULL << i;
	return from <= to;
}

static bool take_field(struct schedule *s, int field, const char **p)
{
	bool any = **p == '*' && ((*p)[1] == ' ' || (*p)[1] == '\0');

	do {
		if (!take_range(p, field, &s->fields[field]))
			return false;
	} while (**p == ',' && (*p)++);
	if (field == DAY)
		s->any_day = any;
	if (field == WEEKDAY) {
		s->any_weekday = any;
		if (s->fields[field] & 1ULL << 7)
			s->fields[field] |= 1;
	}
	return **p == ' ' || **p == '\0';
}

static const char *spelled_out(const char *text)
{
	static const char *const words[][2] = {{"@hourly", "0 * * * *"},
					       {"@daily", "0 0 * * *"},
					       {"@weekly", "0 0 * * 0"},
					       {"@monthly", "0 0 1 * *"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(words[i][0], text) == 0)
			return words[i][1];
	}
	return text;
}

static bool take_fields(struct schedule *s, const char *text, struct buf *why)
{
	const char *p = spelled_out(text);

	for (int field = 0; field < FIELDS; field++) {
		p += strspn(p, " ");
		if (*p && take_field(s, field, &p))
			continue;
		buf_addf(why,
			 "the %s is not understood; expected five fields 'minute hour day month "
			 "weekday', such as '0 3 * * mon-fri', or @hourly, @daily, @weekly, "
			 "@monthly",
			 kinds[field].name);
		return false;
	}
	p += strspn(p, " ");
	if (*p)
		buf_adds(why, "more than five fields");
	return !*p;
}

/* ---- the zone: TZif (RFC 8536), the part with 64-bit times ---- */

static int64_t number(const unsigned char *p, size_t n)
{
	int64_t value = p[0] < 0x80 ? p[0] : p[0] - 256;

	for (size_t i = 1; i < n; i++)
		value = value * 256 + p[i];
	return value;
}

struct counts {
	size_t utc, standard, leaps, times, types, letters;
};

static bool counts_at(const struct buf *file, size_t at, struct counts *ret)
{
	const unsigned char *p = (const unsigned char *)file->p + at;
	size_t n[6];

	if (at + TZIF_HEADER > file->n || memcmp(p, "TZif", 4) != 0 || p[4] < '2')
		return false;
	for (size_t i = 0; i < 6; i++) {
		n[i] = (size_t)number(p + 20 + 4 * i, 4);
		if (n[i] > TZIF_MOST)
			return false;
	}
	*ret = (struct counts){n[0], n[1], n[2], n[3], n[4], n[5]};
	return true;
}

static size_t block_size(const struct counts *c, size_t width)
{
	return c->times * (width + 1) + c->types * 6 + c->letters + c->leaps * (width + 4) +
	       c->standard + c->utc;
}

static bool take_offsets(struct schedule *s, const struct buf *file)
{
	struct counts c;
	size_t at;
	const unsigned char *times, *which, *types;

	if (!counts_at(file, 0, &c))
		return false;
	at = TZIF_HEADER + block_size(&c, 4);
	if (!counts_at(file, at, &c) || at + TZIF_HEADER + block_size(&c, 8) > file->n ||
	    c.types == 0)
		return false;
	times = (const unsigned char *)file->p + at + TZIF_HEADER;
	which = times + 8 * c.times;
	types = which + c.times;
	s->offsets = mem_array(c.times + 1, sizeof(*s->offsets));
	s->offsets[s->offsets_n++] = (struct offset){INT64_MIN, (int32_t)number(types, 4)};
	for (size_t i = 0; i < c.times; i++) {
		if (which[i] >= c.types)
			return false;
		s->offsets[s->offsets_n++] = (struct offset){
			number(times + 8 * i, 8), (int32_t)number(types + 6 * (size_t)which[i], 4)};
	}
	return true;
}

static bool zone_name_good(const char *zone)
{
	return zone[strspn(zone, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-"
				 "/")] == '\0' &&
	       *zone && *zone != '/';
}

static bool take_zone(struct schedule *s, const char *zone, struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf path = {0}, file = {0};
	bool good = false;
	FILE *f;

	if (strcmp(zone, "UTC") == 0)
		return true;
	buf_addf(&path, ZONES "%s", zone);
	f = zone_name_good(zone) ? fopen(path.p, "rbe") : NULL;
	if (f) {
		buf_grow(&file, TZIF_MOST);
		file.n = fread(file.p, 1, TZIF_MOST, f);
		good = take_offsets(s, &file);
		(void)fclose(f);
	}
	if (!good)
		buf_addf(why,
			 "there is no usable time zone %s; expected UTC or a name below " ZONES
			 " (package tzdata), such as Europe/Berlin",
			 zone_name_good(zone) ? zone : "of that name");
	return good;
}

struct schedule *schedule_new(const char *text, const char *zone, struct buf *why)
{
	struct schedule *s = mem_alloc(sizeof(*s));

	if (take_fields(s, text, why) && take_zone(s, zone, why))
		return s;
	schedule_free(s);
	return NULL;
}

void schedule_free(struct schedule *s)
{
	if (!s)
		return;
	free(s->offsets);
	free(s);
}

/* ---- the next run ---- */

static int64_t offset_at(const struct schedule *s, int64_t seconds)
{
	size_t from = 0, to = s->offsets_n;

	if (to == 0)
		return 0;
	while (to - from > 1) {
		size_t middle = from + (to - from) / 2;

		if (s->offsets[middle].from <= seconds)
			from = middle;
		else
			to = middle;
	}
	return s->offsets[from].seconds;
}

static bool has(const struct schedule *s, int field, int value)
{
	return s->fields[field] >> value & 1;
}

static bool day_fits(const struct schedule *s, const struct tm *tm)
{
	bool day = has(s, DAY, tm->tm_mday), weekday = has(s, WEEKDAY, tm->tm_wday);

	if (!has(s, MONTH, tm->tm_mon + 1))
		return false;
	return s->any_day || s->any_weekday ? day && weekday : day || weekday;
}

int64_t schedule_next(const struct schedule *s, int64_t after_unix_ms)
{
	int64_t seconds = (after_unix_ms / 60000 + 1) * 60;
	int64_t last = seconds + DAYS_MOST * DAY_S;

	while (seconds < last) {
		time_t local = (time_t)(seconds + offset_at(s, seconds));
		struct tm tm;

		gmtime_r(&local, &tm);
		/* an hour at a time: days have 23 and 25 of them */
		if (!day_fits(s, &tm) || !has(s, HOUR, tm.tm_hour))
			seconds += (60LL - tm.tm_min) * 60;
		else if (!has(s, MINUTE, tm.tm_min))
			seconds += 60;
		else
			return seconds * 1000;
	}
	return 0;
}
