/* Cron-like schedules against moments computed with `date`. */
#include "unit.h"

#include "schedule.h"

#include <string.h>

static int64_t at(const char *text, const char *zone, int64_t after_s)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct schedule *s = schedule_new(text, zone, &why);
	int64_t next;

	if (!s)
		fail_msg("%s: %s", text, why.p);
	next = schedule_next(s, after_s * 1000);
	schedule_free(s);
	assert_int_equal(next % 1000, 0);
	return next / 1000;
}

/* 1767225600: Thursday 2026-01-01T00:00:00Z */
static void runs_as_cron_would(void **state)
{
	(void)state;
	assert_int_equal(at("0 3 * * *", "UTC", 1767225600), 1767236400);
	assert_int_equal(at("0 3 * * *", "UTC", 1767236400), 1767322800); /* strictly after */
	assert_int_equal(at("0 3 * * *", "UTC", 1767236399), 1767236400);
	assert_int_equal(at("*/15 * * * *", "UTC", 1767225600), 1767226500);
	assert_int_equal(at("7,22 4-6/2 * * *", "UTC", 1767225600), 1767240420); /* 04:07 */
	assert_int_equal(at("0 0 * * mon", "UTC", 1767225600), 1767571200);	 /* 5 January */
	assert_int_equal(at("0 0 * * 7", "UTC", 1767225600), 1767484800);	 /* 4 January */
	assert_int_equal(at("0 0 * * sat-sat", "UTC", 1767225600), 1767398400);
	assert_int_equal(at("0 0 29 feb *", "UTC", 1767225600), 1835395200); /* 2028 */
	assert_int_equal(at("0 0 15 * mon", "UTC", 1767225600), 1767571200); /* either fits */
	assert_int_equal(at("@monthly", "UTC", 1767225600), 1769904000);
	assert_int_equal(at("@weekly", "UTC", 1767225600), 1767484800);
	assert_int_equal(at("@daily", "UTC", 1767225601), 1767312000);
	assert_int_equal(at("@hourly", "UTC", 1767225600), 1767229200);
	assert_int_equal(at("0 0 31 feb *", "UTC", 1767225600), 0);
}

static void runs_in_its_zone(void **state)
{
	(void)state;
	/* Berlin: 03:00 is 02:00Z in winter, 01:00Z in summer; on 29 March 2026 02:30 does not exist */
	assert_int_equal(at("0 3 * * *", "Europe/Berlin", 1767225600), 1767232800);
	assert_int_equal(at("0 3 * * *", "Europe/Berlin", 1782864000), 1782867600);
	assert_int_equal(at("30 2 * * *", "Europe/Berlin", 1774742400), 1774830600);
	/* New York, 1 January 09:00 = 14:00Z */
	assert_int_equal(at("0 9 * * *", "America/New_York", 1767225600), 1767276000);
	assert_int_equal(at("30 5 * * *", "Asia/Kolkata", 1767225600 - 1), 1767225600);
}

static void says_what_is_wrong(void **state)
{
	static const char *const bad[][3] = {{"", "UTC", "the minute"},
					     {"* * * *", "UTC", "the weekday"},
					     {"60 * * * *", "UTC", "minute"},
					     {"0 24 * * *", "UTC", "the hour"},
					     {"0 0 0 * *", "UTC", "the day"},
					     {"0 0 * foo *", "UTC", "the month"},
					     {"0 0 * * 8", "UTC", "weekday"},
					     {"5-2 * * * *", "UTC", "the minute"},
					     {"*/0 * * * *", "UTC", "minute"},
					     {"1x * * * *", "UTC", "the minute"},
					     {"* * * * * *", "UTC", "more than five"},
					     {"@yearly", "UTC", "the minute"},
					     {"@daily", "", "time zone"},
					     {"@daily", "../../../etc/passwd", "time zone"},
					     {"@daily", "Europe", "time zone Europe"},
					     {"@daily", "/etc/localtime", "time zone"}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CLEANUP(buf_cleanup) struct buf why = {0};

		if (schedule_new(bad[i][0], bad[i][1], &why))
			fail_msg("%s in %s is taken", bad[i][0], bad[i][1]);
		if (!strstr(why.p, bad[i][2]))
			fail_msg("%s: %s", bad[i][0], why.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_as_cron_would),
		cmocka_unit_test(runs_in_its_zone),
		cmocka_unit_test(says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
