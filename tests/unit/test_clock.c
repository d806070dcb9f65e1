/* Hours at which something may run. */
#include "unit.h"

#include "clock.h"

#include <errno.h>

static bool holds(const char *text, int hour, int minute)
{
	struct clock_window w;

	assert_int_equal(clock_window_parse(text, &w), 0);
	return clock_window_holds(&w, 1780000000000 / 86400000 * 86400000 +
					      ((int64_t)hour * 60 + minute) * 60000);
}

static void windows(void **state)
{
	(void)state;
	assert_true(holds("", 13, 0));
	assert_true(holds("01:00-05:30", 1, 0));
	assert_true(holds("01:00-05:30", 5, 29));
	assert_false(holds("01:00-05:30", 5, 30));
	assert_false(holds("01:00-05:30", 0, 59));
	assert_true(holds("22:00-03:00", 23, 59));
	assert_true(holds("22:00-03:00", 0, 0));
	assert_false(holds("22:00-03:00", 3, 0));
}

static void no_windows(void **state)
{
	static const char *const wrong[] = {"1:00-5:00",    "24:00-01:00", "01:60-02:00", "01:00",
					    "01:00-02:00x", "aa:bb-cc:dd", "01.00-02.00"};
	struct clock_window w;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(clock_window_parse(wrong[i], &w), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(windows), cmocka_unit_test(no_windows)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
