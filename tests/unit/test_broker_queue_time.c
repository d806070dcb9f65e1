/* The rules of the queue, one test each: what a target says of itself, time, and loading. */
#include "queue_fixture.h"

/* ---- the target speaks ---- */

static void a_throttled_target_pauses_and_costs_nobody_an_attempt(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_THROTTLED);

	r.after_ms = 4000;
	result(f, r);
	assert_state(f, 1, QUEUE_DUE);
	assert_int_equal(row(f, 1).attempts, 0);
	assert_int_equal(effect(f, QUEUE_PUT_PAUSE)->pause.kind, QUEUE_THROTTLED);
	assert_int_equal(counts(f).pause_until_unix_ms, f->unix_ms + 4000);
	say(f, (struct say){.user = 2, .version = 1});
	live(f, 3999);
	assert_int_equal(counts(f).states[QUEUE_DUE], 2);
	live(f, 1);
	assert_non_null(effect(f, QUEUE_DEL_PAUSE));
	assert_int_equal(counts(f).states[QUEUE_FLIGHT], 2);
}

static void who_was_sent_back_goes_first(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_THROTTLED);

	r.after_ms = 4000;
	f->ready.credits = 1;
	ready(f);
	say(f, (struct say){.user = 2, .version = 1});
	result(f, r);
	live(f, 4000);
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_state(f, 2, QUEUE_DUE);
}

static void a_target_that_is_down_gets_one_probe(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l[6];

	for (unsigned i = 2; i < 6; i++)
		l[i] = fly(f, i, 1);
	for (unsigned i = 2; i < 6; i++)
		verdict(f, l[i], VERDICT_DOWN);
	assert_int_equal(counts(f).pause, QUEUE_DOWN);
	assert_int_equal(counts(f).states[QUEUE_DUE], 4);
	f->page.answers_n = 0;
	while (tasks_n(f) == 0)
		live(f, 1);
	assert_int_equal(counts(f).states[QUEUE_FLIGHT], 1);
	for (unsigned i = 2; i < 6; i++) {
		if (task_of(f, i).lease.epoch) {
			verdict(f, task_of(f, i).lease, VERDICT_DONE);
			break;
		}
	}
	assert_int_equal(counts(f).pause, QUEUE_RUNNING);
	assert_non_null(effect(f, QUEUE_DEL_PAUSE));
	assert_int_equal(counts(f).states[QUEUE_FLIGHT], 3);
}

static void the_time_of_a_pause_kills_nobody(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_RETRY);

	result(f, r);
	begin(f);
	assert_int_equal(queue_set_pause(f->q, &f->page, f->t, true, SLICE("works")), 0);
	end(f);
	live(f, 7200000);
	assert_state(f, 1, QUEUE_DUE);
	begin(f);
	assert_int_equal(queue_set_pause(f->q, &f->page, f->t, false, SLICE("")), 0);
	end(f);
	verdict(f, task_of(f, 1).lease, VERDICT_RETRY);
	assert_state(f, 1, QUEUE_RETRY);
}

static void tried_for_too_long_is_dead(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);
	int64_t end_ms = f->now_ms + 3600000;

	while (f->now_ms < end_ms) {
		verdict(f, l, VERDICT_RETRY);
		assert_state(f, 1, QUEUE_RETRY);
		while (row(f, 1).state == QUEUE_RETRY)
			live(f, 1000);
		l = task_of(f, 1).lease;
		if (row(f, 1).state != QUEUE_FLIGHT)
			fail();
		if (!l.epoch) { /* given out in a turn before the last: its lease runs out */
			f->page.answers_n = 0;
			l = fly_again(f, 1, 40000);
		}
	}
	verdict(f, l, VERDICT_RETRY);
	assert_state(f, 1, QUEUE_DEAD);
}

static void a_paused_target_is_given_nothing(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	begin(f);
	assert_int_equal(queue_set_pause(f->q, &f->page, f->t, true, SLICE("works")), 0);
	publish_in(f, &(struct say){.user = 1, .version = 1}, 1);
	end(f);
	live(f, 100000);
	assert_state(f, 1, QUEUE_DUE);
	assert_true(slice_is(queue_pause_why(f->q, f->t), "works"));
}

/* ---- time ---- */

static void the_calendar_makes_due(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_DONE);

	r.look_again_unix_ms = f->unix_ms + 100000;
	result(f, r);
	live(f, 99999);
	assert_state(f, 1, QUEUE_CLEAN);
	live(f, 1);
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_int_equal(row(f, 1).look_again_unix_ms, 0);
}

static void a_clock_that_leaps_stops_calendar_and_grants(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_DONE);

	r.look_again_unix_ms = f->unix_ms + 7200000;
	result(f, r);
	r = result_of(fly(f, 3, 1), VERDICT_DONE);
	r.look_again_unix_ms = f->unix_ms + 100000;
	result(f, r);
	want_disable(f, fly(f, 2, 1));
	f->unix_ms += 7200000; /* the clock, not time */
	live(f, 300000);
	assert_true(counts(f).clock_jumped);
	assert_state(f, 1, QUEUE_CLEAN);
	assert_state(f, 2, QUEUE_CLEAN);
	assert_state(f, 3, QUEUE_CLEAN); /* although its time came by the old clock, too */
	live(f, 400000);		 /* it has run evenly for ten minutes: so it is */
	assert_false(counts(f).clock_jumped);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void a_clock_known_to_be_off_stops_grants(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	queue_clock_off(f->q, true);
	want_disable(f, fly(f, 2, 1));
	live(f, 500000);
	assert_state(f, 2, QUEUE_CLEAN);
	queue_clock_off(f->q, false);
	live(f, 10000);
	assert_state(f, 2, QUEUE_FLIGHT);
}

static void another_configuration_makes_everybody_due(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	assert_null(effect(f, QUEUE_PUT_CONF));
	begin(f);
	for (unsigned i = 0; i < 600; i++)
		publish_in(f, &(struct say){.user = i, .version = 1}, 1);
	queue_leave(f->q, &f->page, WORKER);
	end(f);
	f->target.config = fp_n(10);
	(void)queue_target_add(f->q, &f->target);
	turn(f);
	assert_null(effect(f, QUEUE_PUT_CONF)); /* spread over pages, the hash comes last */
	assert_int_equal(f->next_ms, f->now_ms);
	turn(f);
	assert_true(fp_equal(&effect(f, QUEUE_PUT_CONF)->fp, &f->target.config));
	assert_int_equal(counts(f).coalesced, 600);
}

/* ---- loading ---- */

static void load_one(struct fixture *f, uint8_t state, bool lost_tail, bool emptied)
{
	struct queue_user_row user = {
		.id = user_id(1), .source = SLICE("corp"), .version = 3, .fingerprint = fp_n(1)};
	struct queue_entry_row entry = {.state = state,
					.in = true,
					.touched = true,
					.want = 5,
					.since_unix_ms = f->unix_ms - 50};
	struct queue_lease lease = {.epoch = 49, .page = 7, .index = 1, .worker = NONCE, .want = 5};

	queue_free(f->q);
	f->q = engine(f);
	queue_load_conf(f->q, f->t, &f->target.config);
	queue_load_user(f->q, &user);
	queue_load_entry(f->q, &user.id, f->t, &entry, SLICE("R1"));
	if (state == QUEUE_FLIGHT)
		queue_load_lease(f->q, &user.id, f->t, &lease);
	begin(f);
	queue_loaded(f->q, &f->page, lost_tail, emptied, 35000);
	end(f);
	hello(f);
}

static void what_was_in_flight_waits_for_its_lease_and_is_verified(void **state)
{
	struct fixture *f = *state;

	load_one(f, QUEUE_FLIGHT, false, false);
	ready(f);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_NOW);
	live(f, 34999);
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_int_equal(tasks_n(f), 0);
	live(f, 1);
	assert_true(task_of(f, 1).verify);
}

static void the_result_of_a_lease_of_before_still_counts(void **state)
{
	struct fixture *f = *state;

	load_one(f, QUEUE_FLIGHT, false, false);
	ready(f);
	verdict(f, (struct queue_lease){.epoch = 49, .page = 7, .index = 1}, VERDICT_DONE);
	assert_non_null(answer(f, WIRE_VERB_accepted));
	assert_true(task_of(f, 1).verify); /* and it is looked at again */
}

static void after_a_lost_tail_nothing_is_sent_before_the_quiet_time_is_over(void **state)
{
	struct fixture *f = *state;

	load_one(f, QUEUE_DUE, true, false);
	ready(f);
	live(f, 34999);
	assert_state(f, 1, QUEUE_DUE);
	live(f, 1);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void after_a_lost_tail_what_is_published_is_verified_until_caught_up(void **state)
{
	struct fixture *f = *state;

	load_one(f, QUEUE_CLEAN, true, false);
	assert_true(queue_source_distrusted(f->q, f->source));
	say(f, (struct say){.user = 1, .version = 1}); /* as we know it */
	assert_state(f, 1, QUEUE_DUE);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_NOW);
	assert_int_equal(effect(f, QUEUE_PUT_USER)->row.version, 4);
	catch_up(f);
	assert_true(
		queue_source_distrusted(f->q, f->source)); /* a restart now must be quiet, too */
	live(f, 35000);
	assert_false(queue_source_distrusted(f->q, f->source));
	say(f, (struct say){.user = 1, .version = 1});
	assert_null(effect(f, QUEUE_PUT_USER));
}

/* A page that the store lost may have given it out, and its account been made. */
static void who_leaves_after_a_lost_tail_is_looked_for(void **state)
{
	struct fixture *f = *state;
	struct queue_user_row user = {
		.id = user_id(1), .source = SLICE("corp"), .version = 3, .fingerprint = fp_n(1)};
	struct queue_entry_row entry = {.state = QUEUE_DUE, .in = true, .want = 1};

	for (unsigned said = 0; said < 2; said++) { /* 1: published once more before it leaves */
		queue_free(f->q);
		f->q = engine(f);
		queue_load_conf(f->q, f->t, &f->target.config);
		queue_load_user(f->q, &user);
		queue_load_entry(f->q, &user.id, f->t, &entry, (struct slice){0});
		begin(f);
		queue_loaded(f->q, &f->page, true, false, 35000);
		end(f);
		hello(f);
		if (said) {
			say(f, (struct say){.user = 1, .version = 1});
			catch_up(f);
			live(f, 35000);
			assert_false(queue_source_distrusted(f->q, f->source));
		}
		say(f, (struct say){.user = 1, .version = 2, .out = true});
		assert_state(f, 1, QUEUE_DUE);
		assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_NOW);
		assert_true(row(f, 1).verify_unix_ms != 0); /* and once more some minutes later */
		assert_int_equal(row(f, 1).link_state, LINK_CREATING);
	}
}

/* The broker lived through the loss and knows of the lease: nobody else until its end, and then as after one that ran out. */
static void a_lease_that_the_store_lost_keeps_others_away_and_leaves_doubt(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_user_row user = {
		.id = user_id(1), .source = SLICE("corp"), .version = 1, .fingerprint = fp_n(1)};
	struct queue_entry_row entry = {.state = QUEUE_DUE, .in = true, .want = 1};
	struct queue *before = f->q;

	(void)fly(f, 1, 1);
	f->q = engine(f);
	queue_load_conf(f->q, f->t, &f->target.config);
	queue_load_user(f->q, &user);
	queue_load_entry(f->q, &user.id, f->t, &entry, (struct slice){0});
	queue_keep_leases(f->q, before);
	queue_free(before);
	begin(f);
	queue_loaded(f->q, &f->page, false, false, 0);
	end(f);
	ready(f);
	assert_state(f, 1, QUEUE_DUE);
	live(f, 34999);
	assert_state(f, 1, QUEUE_DUE);
	live(f, 1);
	assert_true(task_of(f, 1).verify);
	assert_int_equal(row(f, 1).link_state, LINK_CREATING); /* it is looked for */
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_AT);
}

static void after_an_emptied_store_all_are_verified_and_held(void **state)
{
	struct fixture *f = *state;

	load_one(f, QUEUE_CLEAN, false, true);
	assert_state(f, 1, QUEUE_DUE);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_NOW);
	catch_up(f);
	ready(f);
	want_disable(f, task_of(f, 1).lease);
	live(f, 400000);
	assert_int_equal(counts(f).held, 1);
	begin(f);
	assert_int_equal(queue_judge_held(f->q, &f->page, f->t, NULL, NULL, true), 0);
	end(f);
	assert_int_equal(task_of(f, 1).permits.count, 1);
}

static void a_rid_survives_a_load(void **state)
{
	struct fixture *f = *state;

	load_one(f, QUEUE_CLEAN, false, false);
	catch_up(f);
	ready(f);
	note(f, fly(f, 2, 1), 1, "R1");
	assert_non_null(answer(f, WIRE_VERB_refused));
}

static void a_hold_waits_for_a_word(void **state)
{
	struct fixture *f = *state;
	struct wire_hold h = {.session = f->session,
			      .active = 1,
			      .name = SLICE("staff \"all\""),
			      .was = 100,
			      .now = 3};

	begin(f);
	assert_int_equal(queue_confirm(f->q, &f->page, f->source, 0, h.name), -ENOENT);
	queue_hold(f->q, &f->page, f->source, &h);
	end(f);
	assert_true(slice_is(effect(f, QUEUE_PUT_GUARD)->field, "hold:0:staff \"all\""));
	assert_int_equal(effect(f, QUEUE_PUT_GUARD)->source, f->source);
	assert_null(answer(f, WIRE_VERB_confirm));
	begin(f);
	assert_int_equal(queue_confirm(f->q, &f->page, f->source, 0, h.name), 0);
	end(f);
	assert_true(slice_equal(answer(f, WIRE_VERB_confirm)->text, h.name));
	begin(f); /* the collector did not hear it */
	queue_hold(f->q, &f->page, f->source, &h);
	end(f);
	assert_non_null(answer(f, WIRE_VERB_confirm));
	h.active = 0;
	begin(f);
	queue_hold(f->q, &f->page, f->source, &h);
	end(f);
	assert_non_null(effect(f, QUEUE_DEL_GUARD));
}

static void say_hold(struct fixture *f, const char *name)
{
	const struct wire_hold h = {
		.session = f->session, .active = 1, .name = slice_of(name), .was = 100, .now = 10};

	begin(f);
	queue_hold(f->q, &f->page, f->source, &h);
	end(f);
}

/* A group that recovered while its collector was away is not held for ever, and the word given for it is spent. */
static void what_a_new_session_does_not_hold_is_held_no_more(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	say_hold(f, "staff");
	say_hold(f, "team");
	begin(f);
	assert_int_equal(queue_confirm(f->q, &f->page, f->source, 0, SLICE("staff")), 0);
	end(f);
	hello(f);
	say_hold(f, "team");
	catch_up(f);
	assert_true(slice_is(effect(f, QUEUE_DEL_GUARD)->field, "hold:0:staff"));
	begin(f);
	assert_int_equal(queue_confirm(f->q, &f->page, f->source, 0, SLICE("team")), 0);
	end(f);
	say_hold(f, "staff");
	assert_null(answer(f, WIRE_VERB_confirm));
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_throttled_target_pauses_and_costs_nobody_an_attempt),
		T(who_was_sent_back_goes_first),
		T(a_target_that_is_down_gets_one_probe),
		T(the_time_of_a_pause_kills_nobody),
		T(tried_for_too_long_is_dead),
		T(a_paused_target_is_given_nothing),
		T(the_calendar_makes_due),
		T(a_clock_that_leaps_stops_calendar_and_grants),
		T(a_clock_known_to_be_off_stops_grants),
		T(another_configuration_makes_everybody_due),
		T(what_was_in_flight_waits_for_its_lease_and_is_verified),
		T(the_result_of_a_lease_of_before_still_counts),
		T(after_a_lost_tail_nothing_is_sent_before_the_quiet_time_is_over),
		T(after_a_lost_tail_what_is_published_is_verified_until_caught_up),
		T(who_leaves_after_a_lost_tail_is_looked_for),
		T(a_lease_that_the_store_lost_keeps_others_away_and_leaves_doubt),
		T(after_an_emptied_store_all_are_verified_and_held),
		T(a_rid_survives_a_load),
		T(a_hold_waits_for_a_word),
		T(what_a_new_session_does_not_hold_is_held_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
