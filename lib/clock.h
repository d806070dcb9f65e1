/* The clocks, named once. */
#ifndef DIRPIPE_CLOCK_H
#define DIRPIPE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t clock_boot_ms(void); /* CLOCK_BOOTTIME: goes on during suspend; leases are measured on it */
int64_t clock_unix_ms(void); /* CLOCK_REALTIME: records and policies */

enum { CLOCK_RFC3339 = 25 };
void clock_rfc3339(int64_t unix_ms, char text[static CLOCK_RFC3339]); /* 2026-01-02T03:04:05.678Z */

/* "HH:MM-HH:MM" in UTC, the second may be before the first (over midnight); "": always. -EINVAL. */
struct clock_window {
	int from_min, to_min; /* equal: always */
};
int clock_window_parse(const char *text, struct clock_window *ret)
	__attribute__((warn_unused_result));
bool clock_window_holds(const struct clock_window *w, int64_t unix_ms);

/* GeneralizedTime (RFC 4517 3.3.13) in UTC or with an offset; 0 when it is none. */
int64_t clock_generalized_ms(const char *text);

#endif
