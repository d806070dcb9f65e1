#include "clock.h"

#include <assert.h>
#include <stdio.h>
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

void clock_rfc3339(int64_t unix_ms, char text[static CLOCK_RFC3339])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	char date[20];

	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, CLOCK_RFC3339, "%s.%03dZ", date, (int)(unix_ms % 1000));
}
