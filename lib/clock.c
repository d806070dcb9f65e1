#include "clock.h"

#include <assert.h>
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
