/* The rules of the queue, one test each: what parked users wait for, references owed, the guard. */
#include "queue_fixture.h"

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
	live(f, 2099);
	assert_state(f, 1, QUEUE_PARKED);
	live(f, 1);
	assert_state(f, 1, QUEUE_FLIGHT);
}

/* A target with many names that are taken for good is not asked for all of them again with each change. */
static void the_more_wait_for_a_name_the_rarer_they_wake(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease leases[8];

	for (unsigned i = 0; i < 8; i++)
		park(f, fly(f, i, 1), "name:jo");
	done_with(f, fly(f, 90, 1), "R", "update"); /* wakes all */
	for (unsigned i = 0; i < 8; i++)
		leases[i] = task_of(f, i).lease;
	for (unsigned i = 0; i < 8; i++)
		park(f, leases[i], "name:jo");
	done_with(f, fly(f, 90, 2), "R", "update");
	live(f, 2799);
	assert_int_equal(counts(f).states[QUEUE_PARKED], 8);
	live(f, 1);
	assert_int_equal(counts(f).states[QUEUE_PARKED], 0);
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

static bool told(const struct fixture *f, unsigned user)
{
	struct wire_list list = task_of(f, user).permits;
	struct wire_op op;

	while (wire_next_op(&list, &op)) {
		if (slice_is(op.op, "no_seat") && slice_is(op.what, "E3"))
			return true;
	}
	return false;
}

static void seats_are_given_in_the_order_of_arrival(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 3, 1);

	assert_false(told(f, 3));
	park(f, l, "seat:E3");
	live(f, 5);
	l = fly(f, 1, 1); /* the line is known: whoever comes is told, and asks for nothing */
	assert_true(told(f, 1));
	park(f, l, "seat:E3");
	live(f, 5000);
	l = fly(f, 1, 2); /* a newer version keeps its place */
	assert_true(told(f, 1));
	park(f, l, "seat:E3");
	done_with(f, fly(f, 2, 1), "R2", "licence_revoke");
	assert_state(f, 3, QUEUE_FLIGHT);
	assert_state(f, 1, QUEUE_PARKED);
	assert_false(told(f, 3));
	done_with(f, task_of(f, 3).lease, "R3", "licence_assign");
	assert_non_null(effect(f, QUEUE_DEL_GUARD));
	assert_state(f, 1, QUEUE_FLIGHT); /* there may be more */
	assert_false(told(f, 1));
	park(f, task_of(f, 1).lease, "seat:E3");
	live(f, 59000);
	assert_state(f, 1, QUEUE_PARKED);
	live(f, 2000);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void a_front_that_is_kept_back_blocks_nobody(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l;

	park(f, fly(f, 1, 1), "seat:E3");
	live(f, 5);
	park(f, fly(f, 2, 1), "seat:E3");
	verdict(f, fly(f, 1, 2), VERDICT_RETRY);
	assert_state(f, 1, QUEUE_RETRY);
	l = fly(f, 2, 2);
	assert_false(told(f, 2));
	park(f, l, "name:x"); /* waits for a seat no more */
	(void)fly(f, 3, 1);
	assert_false(told(f, 3));
}

static void who_lost_his_licence_first_comes_first(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r;

	live(f, 5000);
	r = result_of(fly(f, 1, 1), VERDICT_DONE);
	r.taken = SLICE("{\"E3\":{\"at\":1000,\"reasons\":[\"disabled\"]}}");
	result(f, r);
	assert_non_null(effect(f, QUEUE_PUT_GUARD));
	park(f, fly(f, 2, 1), "seat:E3");
	live(f, 5);
	r = result_of(fly(f, 1, 2), VERDICT_PARKED);
	r.waits = SLICE("seat:E3");
	r.taken = SLICE("{\"E3\":{\"at\":1000,\"reasons\":[\"disabled\"]}}");
	result(f, r);
	fly(f, 2, 2);
	assert_true(told(f, 2));
}

static void the_line_is_there_after_a_load(void **state)
{
	struct fixture *f = *state;
	struct queue_entry_row entry = {.state = QUEUE_PARKED, .in = true, .touched = true};

	queue_free(f->q);
	f->q = engine(f);
	queue_load_conf(f->q, f->t, &f->target.config);
	for (unsigned n = 1; n <= 2; n++) {
		CLEANUP(buf_cleanup) struct buf field = {0}, text = {0};
		struct queue_user_row user = {.id = user_id(n),
					      .source = SLICE("corp"),
					      .version = 1,
					      .fingerprint = fp_n(1)};
		char id[ID_TEXT];

		id_format(&user.id, id);
		buf_addf(&field, "seat:%s", id);
		buf_addf(&text, "%u E3", 20 - n); /* the second came first */
		queue_load_user(f->q, &user);
		queue_load_entry(f->q, &user.id, f->t, &entry, (struct slice){0});
		queue_load_stuck(f->q, f->t, &user.id, SLICE("{\"waits\":\"seat:E3\"}"));
		queue_load_guard(f->q, false, f->t, buf_slice(&field), buf_slice(&text));
	}
	begin(f);
	queue_loaded(f->q, &f->page, false, false, 0);
	end(f);
	hello(f);
	catch_up(f);
	ready(f);
	live(f, 5000);
	assert_state(f, 2, QUEUE_FLIGHT);
	assert_state(f, 1, QUEUE_PARKED);
}

static void a_persons_word_to_give_back_holds_until_it_is_done(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct id id = user_id(1);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_DONE);
	struct wire_list list;
	struct wire_op op;

	r.taken = SLICE("{\"E3\":{\"at\":1}}");
	result(f, r);
	begin(f);
	assert_int_equal(queue_reinstate(f->q, &f->page, f->t, &id), 0);
	assert_int_equal(queue_reinstate(f->q, &f->page, f->t, &id), 0);
	end(f);
	list = task_of(f, 1).permits;
	assert_int_equal(list.count, 1);
	assert_true(wire_next_op(&list, &op) && slice_is(op.op, "licence_reinstate"));
	verdict(f, task_of(f, 1).lease, VERDICT_RETRY);
	fly_again(f, 1, 2000);
	assert_int_equal(task_of(f, 1).permits.count, 1);
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	assert_non_null(effect(f, QUEUE_DEL_HELD));
	begin(f);
	assert_int_equal(queue_reinstate(f->q, &f->page, f->t, &id), -ENOENT);
	end(f);
}

/* So many people who are to lose a licence each, and the last of them two. */
static void want_licences(struct fixture *f, unsigned people)
{
	for (unsigned n = 1; n <= people; n++) {
		CLEANUP(buf_cleanup) struct buf wants = {0};
		struct wire_result r = result_of(fly(f, n, 1), VERDICT_DONE);

		wire_add_op(&wants, &(struct wire_op){SLICE("licence_revoke"), SLICE("E3")});
		if (n == people)
			wire_add_op(&wants,
				    &(struct wire_op){SLICE("licence_revoke"), SLICE("F1")});
		r.wants = wire_list_of(&wants, n == people ? 2 : 1);
		result(f, r);
	}
}

static void licences_have_a_cap_of_their_own(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	f->target.guard_percent = 0; /* of other operations nothing is permitted */
	f->target.licence_percent = 50;
	queue_target_add(f->q, &f->target);
	for (unsigned n = 11; n <= 16; n++)
		done_with(f, fly(f, n, 1), "", "");
	want_licences(f, 5);
	want_disable(f, fly(f, 11, 2)); /* one of another kind is not many */
	live(f, 20000);
	assert_state(f, 11, QUEUE_FLIGHT);
	assert_int_equal(counts(f).held, 0); /* five people of eleven, six licences */
	for (unsigned n = 1; n <= 5; n++)
		assert_state(f, n, QUEUE_FLIGHT);
}

static void too_many_licences_are_held(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	f->target.guard_percent = 100;
	f->target.licence_percent = 50;
	queue_target_add(f->q, &f->target);
	for (unsigned n = 11; n <= 14; n++)
		done_with(f, fly(f, n, 1), "", "");
	want_licences(f, 5);
	live(f, 20000);
	assert_int_equal(counts(f).held, 6); /* five of nine */
	assert_state(f, 1, QUEUE_CLEAN);
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

static void a_new_want_unsettles(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	want_disable(f, fly(f, 1, 1));
	live(f, 6000);
	want_disable(f, fly(f, 2, 1));
	live(f, 9999);
	assert_state(f, 1, QUEUE_CLEAN);
	live(f, 1);
	assert_int_equal(counts(f).states[QUEUE_FLIGHT], 2);
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
	assert_int_equal(queue_judge_held(f->q, &f->page, f->t, &nobody, NULL, true), -ENOENT);
	assert_int_equal(queue_judge_held(f->q, &f->page, f->t, &id, NULL, true), 0);
	end(f);
	assert_int_equal(task_of(f, 1).permits.count, 1);
	assert_int_equal(counts(f).held, 2);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(parked_until_a_newer_version),
		T(parked_with_a_newer_version_in_hand_is_due),
		T(a_name_is_waited_for_until_another_of_ours_changes),
		T(names_wake_at_most_every_two_seconds),
		T(the_more_wait_for_a_name_the_rarer_they_wake),
		T(a_name_that_changed_during_the_task_is_tried_again),
		T(a_rid_is_waited_for_until_its_owners_next_done),
		T(a_rid_whose_owner_changed_during_the_task_is_tried_at_once),
		T(a_reference_is_waited_for_until_it_has_a_rid),
		T(a_reference_that_came_during_the_task_is_tried_at_once),
		T(seats_are_asked_for_every_minute_and_when_one_is_given_back),
		T(seats_are_given_in_the_order_of_arrival),
		T(a_front_that_is_kept_back_blocks_nobody),
		T(who_lost_his_licence_first_comes_first),
		T(the_line_is_there_after_a_load),
		T(licences_have_a_cap_of_their_own),
		T(too_many_licences_are_held),
		T(a_persons_word_to_give_back_holds_until_it_is_done),
		T(a_reference_owed_makes_due_again_when_it_comes),
		T(a_reference_owed_that_came_during_the_task_is_not_forgotten),
		T(a_few_are_permitted_once_settled),
		T(a_new_want_unsettles),
		T(many_are_held),
		T(many_in_small_bites_are_many),
		T(granted_an_hour_ago_counts_no_more),
		T(nothing_is_permitted_while_somebody_is_due),
		T(what_is_wanted_no_more_dissolves),
		T(a_person_approves_what_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
