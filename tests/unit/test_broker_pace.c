/* The rules of pacing one target. */
#include "pace.h"
#include "unit.h"

static struct pace running(int64_t budget, int64_t per_ms, int64_t concurrency)
{
	const struct pace_conf conf = {budget, per_ms, concurrency};
	struct pace p;

	pace_start(&p, &conf, 1, 0);
	return p;
}

static void never_more_than_the_budget_in_any_window(void **state)
{
	enum { BUDGET = 3000, WINDOW = 150000, END = 900000, COST = 3 };
	struct pace p = running(BUDGET, WINDOW, 100);
	static int sent[END];
	int64_t in_window = 0, most = 0, steady = 0;

	(void)state;
	for (int64_t t = 0; t < END; t++) {
		while (pace_allowed(&p, t) > 0) {
			pace_dispatched(&p, t);
			(void)pace_answered(&p, true, COST, t);
			sent[t] += COST;
		}
		in_window += sent[t] - (t >= WINDOW ? sent[t - WINDOW] : 0);
		most = in_window > most ? in_window : most;
		steady += t >= END - 600000 ? sent[t] : 0;
	}
	assert_in_range(most, BUDGET * 95 / 100, BUDGET);
	assert_true(steady >= BUDGET * 4 * 95 / 100); /* 95 % of it, sustained for ten minutes */
}

static void the_bucket_starts_empty(void **state)
{
	struct pace p = running(3000, 150000, 100);

	(void)state;
	assert_int_equal(pace_allowed(&p, 0), 0);
	assert_true(pace_next(&p, 0) > 0 && pace_next(&p, 0) < 100);
	assert_int_equal(pace_allowed(&p, pace_next(&p, 0)), 1);
}

static void a_dear_user_goes_when_the_bucket_is_full(void **state)
{
	struct pace p = running(10, 1000, 100);

	(void)state;
	for (int64_t t = 0; t < 100000; t++) {
		if (pace_allowed(&p, t) == 0)
			continue;
		pace_dispatched(&p, t);
		(void)pace_answered(&p, true, 50, t);
	}
	assert_true(pace_next(&p, 100000) < 110000);
}

static void success_opens_the_window_and_a_setback_halves_it(void **state)
{
	struct pace p = running(0, 0, 64);
	int64_t first = pace_allowed(&p, 0), open;

	(void)state;
	for (int i = 0; i < 200; i++) {
		while (pace_allowed(&p, 0) > 0)
			pace_dispatched(&p, 0);
		(void)pace_answered(&p, true, 1, 0);
	}
	open = p.flight + pace_allowed(&p, 0);
	assert_true(open > first);
	assert_int_equal(open, 64); /* the most that was configured */
	pace_throttled(&p, 1000, 0);
	while (p.flight > 0)
		pace_throttled(&p, 1000, 0); /* those of the same moment are one setback */
	assert_true(pace_tick(&p, 1000));
	assert_int_equal(pace_allowed(&p, 1000), 32);
}

static void throttled_lasts_as_the_target_says_but_not_for_a_year(void **state)
{
	struct pace p = running(0, 0, 64);

	(void)state;
	pace_dispatched(&p, 0);
	pace_throttled(&p, 2500, 0);
	assert_int_equal(pace_allowed(&p, 2499), 0);
	assert_int_equal(pace_next(&p, 0), 2500);
	assert_false(pace_tick(&p, 2499));
	assert_true(pace_tick(&p, 2500));
	assert_true(pace_allowed(&p, 2500) > 0);
	pace_dispatched(&p, 2500);
	pace_throttled(&p, 31536000000, 2500);
	assert_int_equal(p.until_ms, 2500 + PACE_CAP_MS);
}

static void down_doubles_to_half_a_minute_and_sends_one_probe(void **state)
{
	struct pace p = running(0, 0, 64);
	int64_t now = 0, wait = 0;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_true(pace_allowed(&p, now) >= 1);
		pace_dispatched(&p, now);
		if (i > 0) {
			assert_true(pace_probing(&p, now));
			assert_int_equal(pace_allowed(&p, now), 0); /* one, not two */
		}
		pace_down(&p, now);
		wait = p.until_ms - now;
		assert_in_range(wait, 1000 * (i < 5 ? 1 << i : 30) / 2, 30000);
		assert_int_equal(pace_allowed(&p, p.until_ms - 1), 0);
		now = p.until_ms;
	}
	assert_true(wait >= 15000);
	pace_dispatched(&p, now);
	assert_true(pace_answered(&p, true, 1, now));
	assert_false(pace_paused(&p));
	assert_int_equal(p.tries, 0);
}

static void a_lost_probe_lets_another_go(void **state)
{
	struct pace p = running(0, 0, 64);

	(void)state;
	pace_dispatched(&p, 0);
	pace_down(&p, 0);
	pace_dispatched(&p, 2000);
	assert_int_equal(pace_allowed(&p, 2000), 0);
	pace_lost(&p);
	assert_int_equal(pace_allowed(&p, 2000), 1);
}

static void refused_credentials_are_tried_three_times_then_every_quarter_of_an_hour(void **state)
{
	struct pace p = running(0, 0, 64);
	int64_t now = 0;

	(void)state;
	for (int i = 1; i <= 5; i++) {
		pace_dispatched(&p, now);
		pace_refused(&p, now);
		if (i < PACE_AUTH_TRIES)
			assert_true(p.until_ms - now < 60000);
		else
			assert_int_equal(p.until_ms - now, PACE_CAP_MS);
		now = p.until_ms;
		assert_int_equal(pace_allowed(&p, now), 1);
	}
}

static void the_operators_pause_outlasts_the_targets_word(void **state)
{
	struct pace p = running(0, 0, 64);

	(void)state;
	pace_dispatched(&p, 0);
	assert_true(pace_operator(&p, true, 0));
	assert_false(pace_operator(&p, true, 0));
	pace_throttled(&p, 1000, 0);
	assert_false(pace_tick(&p, 5000));
	assert_int_equal(p.pause, PACE_BY_OPERATOR);
	assert_int_equal(pace_allowed(&p, 5000), 0);
	assert_true(pace_operator(&p, false, 5000));
	assert_true(pace_allowed(&p, 5000) > 0);
}

static void pauses_add_up(void **state)
{
	struct pace p = running(0, 0, 64);

	(void)state;
	pace_dispatched(&p, 0);
	pace_throttled(&p, 1000, 0);
	assert_int_equal(pace_paused_ms(&p, 400), 400);
	assert_true(pace_tick(&p, 1000));
	assert_int_equal(pace_paused_ms(&p, 9000), 1000);
	(void)pace_operator(&p, true, 9000);
	assert_int_equal(pace_paused_ms(&p, 9500), 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_more_than_the_budget_in_any_window),
		cmocka_unit_test(the_bucket_starts_empty),
		cmocka_unit_test(a_dear_user_goes_when_the_bucket_is_full),
		cmocka_unit_test(success_opens_the_window_and_a_setback_halves_it),
		cmocka_unit_test(throttled_lasts_as_the_target_says_but_not_for_a_year),
		cmocka_unit_test(down_doubles_to_half_a_minute_and_sends_one_probe),
		cmocka_unit_test(a_lost_probe_lets_another_go),
		cmocka_unit_test(
			refused_credentials_are_tried_three_times_then_every_quarter_of_an_hour),
		cmocka_unit_test(the_operators_pause_outlasts_the_targets_word),
		cmocka_unit_test(pauses_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
