/* A cron-like schedule: five fields "minute hour day month weekday" (each: * | N | A-B | A,B | … /STEP; months and weekdays also by
 * their first three letters, 0 and 7 are Sunday), or @hourly, @daily, @weekly, @monthly. When both day and weekday are restricted,
 * either fits, as in cron. Times are those of a zone; one that the change to summer time skips is not run that day. Pure: no clock,
 * no environment. */
#ifndef DIRPIPE_SCHEDULE_H
#define DIRPIPE_SCHEDULE_H

#include "buf.h"

struct schedule;

/* zone: "UTC", or a name below /usr/share/zoneinfo (package tzdata), read now. NULL: what is wrong stands in why, a sentence. */
struct schedule *schedule_new(const char *text, const char *zone, struct buf *why) MUST_CHECK;
void schedule_free(struct schedule *s);
/* The first run after that moment; 0: none in the next five years. */
int64_t schedule_next(const struct schedule *s, int64_t after_unix_ms);

#endif
