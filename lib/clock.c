#include "clock.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_ms(clockid_t which)
{
	struct timespec t;
	int rc = clock_gettime(which, &t);

	assert(rc == 0);
	(void)rc;
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_boot_ms(void)
{
	return read_ms(CLOCK_BOOTTIME);
}

int64_t clock_unix_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}

/* Times outside of the years 0 to 9999 have no RFC 3339 form; the nearest that has one is given. */
void clock_rfc3339(int64_t unix_ms, char text[static CLOCK_RFC3339])
{
	const int64_t least_ms = -62167219200000, most_ms = 253402300799999;
	int64_t ms = unix_ms < least_ms ? least_ms : unix_ms > most_ms ? most_ms : unix_ms;
	int64_t part = ((ms % 1000) + 1000) % 1000;
	time_t seconds = (time_t)((ms - part) / 1000);
	char date[CLOCK_RFC3339];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	snprintf(date, sizeof(date), "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
		 (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		 (unsigned)tm.tm_sec % 100, (unsigned)part % 1000);
	memcpy(text, date, CLOCK_RFC3339);
}

/* Days since 1970 of a civil date (Howard Hinnant's algorithm). */
static int64_t days(int64_t y, int64_t m, int64_t d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool digits(const char **p, int n, int64_t *ret)
{
	*ret = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return false;
		*ret = *ret * 10 + (**p - '0');
	}
	return true;
}

static bool offset_ms(const char *p, int64_t *ret)
{
	int64_t hours, minutes = 0;
	bool west = *p == '-';

	*ret = 0;
	if (*p == 'Z' && p[1] == '\0')
		return true;
	if (*p != '+' && *p != '-')
		return false;
	p++;
	if (!digits(&p, 2, &hours) || (*p != '\0' && !digits(&p, 2, &minutes)) || *p != '\0')
		return false;
	*ret = (hours * 60 + minutes) * 60000 * (west ? 1 : -1);
	return true;
}

int64_t clock_generalized_ms(const char *text)
{
	const char *p = text;
	int64_t y, mo, d, h, mi = 0, s = 0, shift, ms;

	if (p == NULL || !digits(&p, 4, &y) || !digits(&p, 2, &mo) || !digits(&p, 2, &d) ||
	    !digits(&p, 2, &h))
		return 0;
	if (isdigit((unsigned char)*p) && !digits(&p, 2, &mi))
		return 0;
	if (isdigit((unsigned char)*p) && !digits(&p, 2, &s))
		return 0;
	if (*p == '.' || *p == ',')
		for (p++; isdigit((unsigned char)*p); p++)
			;
	if (!offset_ms(p, &shift) || mo < 1 || mo > 12 || d < 1 || d > 31 || h > 24 || mi > 59 ||
	    s > 60)
		return 0;
	ms = ((days(y, mo, d) * 24 + h) * 60 + mi) * 60000 + s * 1000 + shift;
	return ms > 0 ? ms : 0;
}

/* "HH:MM"; -1: it is none. */
static int minutes(const char *text)
{
	int value = 0;

	for (int i = 0; i < 5; i++) {
		if (i == 2 ? text[i] != ':' : !isdigit((unsigned char)text[i]))
			return -1;
		if (i != 2)
			value = value * 10 + (text[i] - '0');
	}
	return value / 100 < 24 && value % 100 < 60 ? value / 100 * 60 + value % 100 : -1;
}

int clock_window_parse(const char *text, struct clock_window *ret)
{
	int from, to;

	if (!text || !*text) {
		*ret = (struct clock_window){0, 0};
		return 0;
	}
	if (strlen(text) != 11 || text[5] != '-')
		return -EINVAL;
	from = minutes(text);
	to = minutes(text + 6);
	if (from < 0 || to < 0)
		return -EINVAL;
	*ret = (struct clock_window){from, to};
	return 0;
}

bool clock_window_holds(const struct clock_window *w, int64_t unix_ms)
{
	enum { DAY_MIN = 24 * 60 };
	int now = (int)(unix_ms / 60000 % DAY_MIN);

	if (w->from_min == w->to_min)
		return true;
	if (w->from_min < w->to_min)
		return now >= w->from_min && now < w->to_min;
	return now >= w->from_min || now < w->to_min;
}
