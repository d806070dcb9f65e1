/* The rules of the queue, one test each: what parked users wait for, references owed, the guard, pauses, time and
 * loading. */
#include "queue_fixture.h"

static struct fixture *caught_up_with_worker(void **state)
{
	struct fixture *f = *state;

	catch_up(f);
	ready(f);
	return f;
}

static void park(struct fixture *f, struct queue_lease l, const char *waits)
{
	struct wire_result r = result_of(l, VERDICT_PARKED);

	r.reason = SLICE("because");
	r.waits = slice_of(waits);
	result(f, r);
}

static void done_with(struct fixture *f, struct queue_lease l, const char *rid, const char *ops)
{
	struct wire_result r = result_of(l, VERDICT_DONE);

	r.rid = slice_of(rid);
	r.link_state = *rid ? LINK_ACTIVE : LINK_NONE;
	r.ops = slice_of(ops);
	result(f, r);
}

/* ---- parked ---- */

static void parked_until_a_newer_version(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	park(f, fly(f, 1, 1), "");
	assert_state(f, 1, QUEUE_PARKED);
	assert_int_equal(counts(f).parked, 1);
	live(f, 600000);
	assert_state(f, 1, QUEUE_PARKED);
	say(f, (struct say){.user = 1, .version = 2});
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void parked_with_a_newer_version_in_hand_is_due(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	say(f, (struct say){.user = 1, .version = 2});
	park(f, l, "");
	assert_int_equal(task_of(f, 1).version, 2);
}

static void a_name_is_waited_for_until_another_of_ours_changes(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	park(f, fly(f, 1, 1), "name:jo");
	done_with(f, fly(f, 2, 1), "R2", "create");
	live(f, 5000);
	assert_state(f, 1, QUEUE_PARKED);
	done_with(f, fly(f, 2, 2), "R2", "update");
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void names_wake_at_most_every_two_seconds(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	park(f, fly(f, 1, 1), "name:jo");
	done_with(f, fly(f, 2, 1), "R2", "update");
	park(f, task_of(f, 1).lease, "name:jo");
	done_with(f, fly(f, 2, 2), "R2", "update");
	assert_state(f, 1, QUEUE_PARKED);
	live(f, 1999);
	assert_state(f, 1, QUEUE_PARKED);
	live(f, 1);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void a_name_that_changed_during_the_task_is_tried_again(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	done_with(f, fly(f, 2, 1), "R2", "rename");
	park(f, l, "name:jo");
	live(f, 2000);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void a_rid_is_waited_for_until_its_owners_next_done(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	done_with(f, fly(f, 2, 1), "R2", "create");
	done_with(f, fly(f, 3, 1), "R3", "create");
	pass(f, 5000);
	park(f, fly(f, 1, 1), "rid:R2");
	done_with(f, fly(f, 3, 2), "R3", "update");
	live(f, 5000);
	assert_state(f, 1, QUEUE_PARKED);
	done_with(f, fly(f, 2, 2), "R2", "disable");
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void a_rid_whose_owner_changed_during_the_task_is_tried_at_once(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l;

	done_with(f, fly(f, 2, 1), "R2", "create");
	l = fly(f, 1, 1);
	done_with(f, fly(f, 2, 2), "R2", "disable");
	park(f, l, "rid:R2");
	assert_state(f, 1, QUEUE_FLIGHT);
	park(f, task_of(f, 1).lease, "rid:R2"); /* nothing has changed since: no hot loop */
	assert_state(f, 1, QUEUE_PARKED);
}

static void a_reference_is_waited_for_until_it_has_a_rid(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct id of = user_id(2);
	char waits[5 + ID_TEXT] = "ref:";

	id_format(&of, waits + 4);
	park(f, fly(f, 1, 1), waits);
	assert_non_null(effect(f, QUEUE_PUT_WAITER));
	assert_true(id_equal(&effect(f, QUEUE_PUT_WAITER)->of, &of));
	assert_state(f, 1, QUEUE_PARKED);
	done_with(f, fly(f, 2, 1), "R2", "create");
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_non_null(effect(f, QUEUE_DEL_WAITER));
}

static void a_reference_that_came_during_the_task_is_tried_at_once(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct id of = user_id(2);
	char waits[5 + ID_TEXT] = "ref:";
	struct queue_lease l = fly(f, 1, 1);

	id_format(&of, waits + 4);
	done_with(f, fly(f, 2, 1), "R2", "create");
	park(f, l, waits);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void seats_are_asked_for_every_minute_and_when_one_is_given_back(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	park(f, fly(f, 1, 1), "seat:E3");
	live(f, 59999);
	assert_state(f, 1, QUEUE_PARKED);
	live(f, 1);
	assert_state(f, 1, QUEUE_FLIGHT);
	park(f, task_of(f, 1).lease, "seat:E3");
	live(f, 10000);
	assert_state(f, 1, QUEUE_PARKED);
	done_with(f, fly(f, 2, 1), "R2", "update licence_revoke");
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void owe(struct fixture *f, struct queue_lease l, unsigned of)
{
	CLEANUP(buf_cleanup) struct buf owed = {0};
	struct wire_result r = result_of(l, VERDICT_DONE);

	wire_add_id(&owed, &(struct wire_id){user_id(of)});
	r.owed = wire_list_of(&owed, 1);
	result(f, r);
}

static void a_reference_owed_makes_due_again_when_it_comes(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	owe(f, fly(f, 1, 1), 2);
	assert_state(f, 1, QUEUE_CLEAN); /* it does not block */
	assert_non_null(effect(f, QUEUE_PUT_WAITER));
	done_with(f, fly(f, 2, 1), "R2", "create");
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void a_reference_owed_that_came_during_the_task_is_not_forgotten(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	done_with(f, fly(f, 2, 1), "R2", "create");
	owe(f, l, 2);
	assert_state(f, 1, QUEUE_FLIGHT);
	owe(f, task_of(f, 1).lease, 2);
	assert_state(f, 1, QUEUE_CLEAN);
}

/* ---- guard ---- */

static void want_disable(struct fixture *f, struct queue_lease l)
{
	CLEANUP(buf_cleanup) struct buf wants = {0};
	struct wire_result r = result_of(l, VERDICT_DONE);

	wire_add_op(&wants, &(struct wire_op){SLICE("disable"), SLICE("")});
	r.wants = wire_list_of(&wants, 1);
	result(f, r);
}

static void a_few_are_permitted_once_settled(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	want_disable(f, fly(f, 1, 1));
	assert_state(f, 1, QUEUE_CLEAN);
	live(f, 9999);
	assert_state(f, 1, QUEUE_CLEAN);
	live(f, 1);
	assert_int_equal(task_of(f, 1).permits.count, 1);
	assert_int_equal(effect(f, QUEUE_PUT_HELD)->held.phase, QUEUE_GRANTED);
	assert_non_null(effect(f, QUEUE_PUT_GUARD));
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	assert_non_null(effect(f, QUEUE_DEL_HELD)); /* done: the permit is used up */
}

static void many_are_held(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	for (unsigned i = 0; i < 3; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 400000);
	assert_int_equal(counts(f).held, 3);
	assert_int_equal(counts(f).states[QUEUE_CLEAN], 3);
}

static void many_in_small_bites_are_many(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	for (unsigned i = 0; i < 2; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 10000);
	assert_int_equal(counts(f).states[QUEUE_FLIGHT], 2); /* granted */
	verdict(f, task_of(f, 0).lease, VERDICT_DONE);
	f->page.answers_n = 0;
	live(f, 40000); /* the other one's lease ends, it goes again */
	want_disable(f, fly(f, 2, 1));
	live(f, 400000);
	assert_int_equal(counts(f).held, 1);
}

static void granted_an_hour_ago_counts_no_more(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	for (unsigned i = 0; i < 2; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 10000);
	verdict(f, task_of(f, 0).lease, VERDICT_DONE);
	live(f, 3700000);
	want_disable(f, fly(f, 2, 1));
	live(f, 310000);
	assert_int_equal(counts(f).held, 0);
}

static void nothing_is_permitted_while_somebody_is_due(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	want_disable(f, fly(f, 1, 1));
	live(f, 5000);
	begin(f);
	queue_leave(f->q, &f->page, WORKER);
	publish_in(f, &(struct say){.user = 2, .version = 1}, 1);
	end(f);
	live(f, 60000);
	assert_state(f, 1, QUEUE_CLEAN);
	live(f, 300000); /* judged as it stands */
	assert_state(f, 1, QUEUE_DUE);
}

static void what_is_wanted_no_more_dissolves(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	for (unsigned i = 0; i < 3; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 10000);
	assert_int_equal(counts(f).held, 3);
	verdict(f, fly(f, 1, 2), VERDICT_DONE);
	assert_int_equal(counts(f).held, 2);
	assert_non_null(effect(f, QUEUE_DEL_HELD));
}

static void a_person_approves_what_is_held(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct id id = user_id(1), nobody = user_id(9);

	for (unsigned i = 0; i < 3; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 10000);
	begin(f);
	assert_int_equal(queue_judge_held(f->q, &f->page, f->t, &nobody, true), -ENOENT);
	assert_int_equal(queue_judge_held(f->q, &f->page, f->t, &id, true), 0);
	end(f);
	assert_int_equal(task_of(f, 1).permits.count, 1);
	assert_int_equal(counts(f).held, 2);
}

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
	want_disable(f, fly(f, 2, 1));
	f->unix_ms += 7200000; /* the clock, not time */
	live(f, 300000);
	assert_true(counts(f).clock_jumped);
	assert_state(f, 1, QUEUE_CLEAN);
	assert_state(f, 2, QUEUE_CLEAN);
	live(f, 400000); /* it has run evenly for ten minutes: so it is */
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

static void
after_an_emptied_store_all_are_verified_and_nothing_destructive_is_permitted(void **state)
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
	assert_int_equal(queue_judge_held(f->q, &f->page, f->t, NULL, true), 0);
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

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(parked_until_a_newer_version),
		T(parked_with_a_newer_version_in_hand_is_due),
		T(a_name_is_waited_for_until_another_of_ours_changes),
		T(names_wake_at_most_every_two_seconds),
		T(a_name_that_changed_during_the_task_is_tried_again),
		T(a_rid_is_waited_for_until_its_owners_next_done),
		T(a_rid_whose_owner_changed_during_the_task_is_tried_at_once),
		T(a_reference_is_waited_for_until_it_has_a_rid),
		T(a_reference_that_came_during_the_task_is_tried_at_once),
		T(seats_are_asked_for_every_minute_and_when_one_is_given_back),
		T(a_reference_owed_makes_due_again_when_it_comes),
		T(a_reference_owed_that_came_during_the_task_is_not_forgotten),
		T(a_few_are_permitted_once_settled),
		T(many_are_held),
		T(many_in_small_bites_are_many),
		T(granted_an_hour_ago_counts_no_more),
		T(nothing_is_permitted_while_somebody_is_due),
		T(what_is_wanted_no_more_dissolves),
		T(a_person_approves_what_is_held),
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
		T(after_an_emptied_store_all_are_verified_and_nothing_destructive_is_permitted),
		T(a_rid_survives_a_load),
		T(a_hold_waits_for_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
