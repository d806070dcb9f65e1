/* The rules of the queue, one test each: publishing and dispatching. Notes and results, waits and guard, time and loading
 * are in test_broker_queue_*.c, what happens across crashes in test_broker_model.c. */
#include "queue_fixture.h"

/* ---- publishing ---- */

static void a_new_user_in_scope_is_due(void **state)
{
	struct fixture *f = *state;

	say(f, (struct say){.user = 1, .version = 1});
	assert_state(f, 1, QUEUE_DUE);
	assert_true(row(f, 1).in);
	assert_int_equal(counts(f).in_scope, 1);
	assert_non_null(effect(f, QUEUE_PUT_USER));
	assert_int_equal(effect(f, QUEUE_PUT_USER)->row.version, 1);
}

static void a_user_out_of_scope_gets_no_entry(void **state)
{
	struct fixture *f = *state;
	struct queue_entry_row r;
	struct id id = user_id(1);

	say(f, (struct say){.user = 1, .version = 1, .out = true});
	assert_int_equal(queue_peek(f->q, f->t, &id, &r), -ENOENT);
	assert_non_null(effect(f, QUEUE_PUT_USER));
}

static void gone_in_an_unknown_user_is_stored_without_an_entry(void **state)
{
	struct fixture *f = *state;
	struct queue_entry_row r;
	struct id id = user_id(1);

	say(f, (struct say){.user = 1, .version = 1, .gone = true});
	assert_true(effect(f, QUEUE_PUT_USER)->row.gone);
	assert_int_equal(queue_peek(f->q, f->t, &id, &r), -ENOENT);
}

static void before_catching_up_all_is_bulk_and_after_it_live(void **state)
{
	struct fixture *f = *state;

	say(f, (struct say){.user = 1, .version = 1});
	assert_int_equal(row(f, 1).lane, QUEUE_BULK);
	catch_up(f);
	say(f, (struct say){.user = 2, .version = 1});
	assert_int_equal(row(f, 2).lane, QUEUE_LIVE);
}

static void a_live_cause_promotes_a_bulk_entry(void **state)
{
	struct fixture *f = *state;

	say(f, (struct say){.user = 1, .version = 1});
	catch_up(f);
	say(f, (struct say){.user = 1, .version = 2});
	assert_int_equal(row(f, 1).lane, QUEUE_LIVE);
	assert_int_equal(effect(f, QUEUE_PUT_ENTRY)->old_lane, QUEUE_BULK);
	assert_int_equal(effect(f, QUEUE_PUT_ENTRY)->entry.lane, QUEUE_LIVE);
}

static void ten_changes_are_one_task(void **state)
{
	struct fixture *f = *state;

	catch_up(f);
	for (unsigned v = 1; v <= 10; v++)
		say(f, (struct say){.user = 1, .version = v});
	assert_int_equal(counts(f).coalesced, 9);
	assert_int_equal(counts(f).enqueued, 1);
	ready(f);
	assert_int_equal(tasks_n(f), 1);
	assert_int_equal(task_of(f, 1).version, 10);
}

static void the_version_rises_only_with_the_fingerprint(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	verdict(f, l, VERDICT_DONE);
	say(f, (struct say){.user = 1, .version = 1});
	assert_null(effect(f, QUEUE_PUT_USER));
	assert_state(f, 1, QUEUE_CLEAN);
	say(f, (struct say){.user = 1, .version = 2});
	assert_int_equal(effect(f, QUEUE_PUT_USER)->row.version, 2);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void who_leaves_the_scope_is_due_to_leave(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	verdict(f, fly(f, 1, 1), VERDICT_DONE);
	say(f, (struct say){.user = 1, .version = 2, .out = true});
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_false(task_of(f, 1).in);
	assert_int_equal(counts(f).in_scope, 0);
}

static void who_leaves_before_any_task_needs_none(void **state)
{
	struct fixture *f = *state;

	say(f, (struct say){.user = 1, .version = 1});
	say(f, (struct say){.user = 1, .version = 2, .out = true});
	assert_state(f, 1, QUEUE_CLEAN);
	assert_false(row(f, 1).in);
	ready(f);
	assert_int_equal(tasks_n(f), 0);
}

static void who_is_gone_is_due_where_it_was_touched(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	verdict(f, fly(f, 1, 1), VERDICT_DONE);
	say(f, (struct say){.user = 1, .version = 2, .gone = true});
	assert_true(task_of(f, 1).gone);
	assert_false(task_of(f, 1).in);
}

static void a_foreign_id_is_refused_and_shown(void **state)
{
	struct fixture *f = *state;
	unsigned other;

	say(f, (struct say){.user = 1, .version = 1});
	other = queue_source_add(f->q, "other");
	begin(f);
	f->session = queue_hello(f->q, &f->page, other, COLLECTOR + 1);
	end(f);
	begin(f);
	{
		CLEANUP(buf_cleanup) struct buf list = {0};
		struct wire_user u = {.id = user_id(1), .fingerprint = fp_n(5)};
		struct wire_publish p = {.session = f->session, .batch = 1};

		wire_add_user(&list, &u);
		p.users = wire_list_of(&list, 1);
		assert_int_equal(queue_publish(f->q, &f->page, COLLECTOR + 1, &p, fp_n(3)), 0);
	}
	end(f);
	assert_null(effect(f, QUEUE_PUT_USER));
	assert_int_equal(f->page.moves_n, 1);
	assert_true(slice_is(f->page.moves[0].reason, "foreign_id"));
	assert_int_equal(queue_foreign(f->q, other), 1);
}

static void a_batch_again_is_committed_again_and_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct say one = {.user = 1, .version = 1}, other = {.user = 2, .version = 1};
	struct queue_entry_row r;
	struct id id = user_id(2);

	say(f, one);
	begin(f);
	assert_int_equal(publish_batch(f, &other, 1, 1), 0);
	end(f);
	assert_non_null(answer(f, WIRE_VERB_committed));
	assert_int_equal(answer(f, WIRE_VERB_committed)->b, 1);
	assert_int_equal(f->page.effects_n, 0);
	assert_int_equal(queue_peek(f->q, f->t, &id, &r), -ENOENT);
}

static void a_gap_in_the_batches_is_refused(void **state)
{
	struct fixture *f = *state;
	struct say one = {.user = 1, .version = 1};

	begin(f);
	assert_int_equal(publish_batch(f, &one, 1, 2), -EPROTO);
	end(f);
	assert_int_equal(f->page.effects_n, 0);
	assert_int_equal(f->page.answers_n, 0);
}

static void an_older_session_is_fenced(void **state)
{
	struct fixture *f = *state;
	struct say one = {.user = 1, .version = 1};

	begin(f);
	(void)queue_hello(f->q, &f->page, f->source, COLLECTOR + 1);
	assert_int_equal(publish_batch(f, &one, 1, 1), -ESTALE);
	end(f);
	assert_int_equal(answers(f, WIRE_VERB_fenced), 2);
	assert_null(effect(f, QUEUE_PUT_USER));
}

static void an_older_session_of_the_same_peer_is_fenced(void **state)
{
	struct fixture *f = *state;
	struct say one = {.user = 1, .version = 1};
	uint64_t old = f->session;

	hello(f);
	f->session = old;
	begin(f);
	assert_int_equal(publish_batch(f, &one, 1, 1), -ESTALE);
	end(f);
	assert_null(effect(f, QUEUE_PUT_USER));
}

static void the_cursor_is_the_last_that_is_written(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	(void)fly(f, 1, 1);
	assert_true(f->page.effects_n > 4);
	assert_int_equal(f->page.effects[f->page.effects_n - 1].kind, QUEUE_PUT_CURSOR);
	assert_int_equal(f->page.effects[f->page.effects_n - 2].kind, QUEUE_PUT_SESSION);
	assert_int_equal(f->page.effects[0].kind, QUEUE_PUT_ENTRY);
}

/* ---- dispatching ---- */

static void a_live_change_is_published_and_dispatched_by_one_page(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	assert_non_null(answer(f, WIRE_VERB_committed));
	assert_int_equal(l.page, f->number);
	assert_int_equal(l.worker, NONCE);
	assert_non_null(effect(f, QUEUE_DISPATCH));
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_true(row(f, 1).touched);
}

static void four_live_go_for_one_bulk(void **state)
{
	struct fixture *f = *state;
	unsigned bulk = 0;

	begin(f);
	for (unsigned i = 0; i < 20; i++)
		publish_in(f, &(struct say){.user = 100 + i, .version = 1}, 1);
	end(f);
	catch_up(f);
	begin(f);
	for (unsigned i = 0; i < 20; i++)
		publish_in(f, &(struct say){.user = i, .version = 1}, 1);
	end(f);
	f->most = 10;
	f->target.concurrency = 0;
	f->ready.batch = 10;
	ready(f);
	f->most = 1000;
	for (unsigned i = 0; i < 20; i++)
		bulk += task_of(f, 100 + i).lease.epoch != 0;
	assert_int_equal(tasks_n(f), 8); /* the window that a target starts with */
	assert_int_equal(bulk, 1);
}

static void the_oldest_goes_first(void **state)
{
	struct fixture *f = *state;

	catch_up(f);
	for (unsigned i = 0; i < 4; i++) {
		say(f, (struct say){.user = 3 - i, .version = 1});
		pass(f, 10);
	}
	f->ready.credits = 1;
	ready(f);
	assert_int_equal(tasks_n(f), 1);
	assert_int_not_equal(task_of(f, 3).lease.epoch, 0);
}

static void credits_and_batches_bound_what_a_worker_gets(void **state)
{
	struct fixture *f = *state;

	begin(f);
	for (unsigned i = 0; i < 20; i++)
		publish_in(f, &(struct say){.user = i, .version = 1}, 1);
	end(f);
	f->ready.credits = 5;
	f->ready.batch = 2;
	ready(f);
	assert_int_equal(tasks_n(f), 5);
	assert_int_equal(answers(f, WIRE_VERB_tasks), 3);
	turn(f);
	assert_int_equal(tasks_n(f), 0);
}

static void workers_of_a_target_take_turns(void **state)
{
	struct fixture *f = *state;
	size_t given[2] = {0};

	begin(f);
	for (unsigned i = 0; i < 8; i++)
		publish_in(f, &(struct say){.user = i, .version = 1}, 1);
	end(f);
	f->ready.batch = 2;
	begin(f);
	assert_int_equal(ready_in(f, WORKER), 0);
	f->ready.nonce = NONCE + 1;
	assert_int_equal(ready_in(f, WORKER + 1), 0);
	end(f);
	for (size_t i = 0; i < f->page.answers_n; i++)
		given[f->page.answers[i].peer - WORKER] += f->page.answers[i].tasks_n;
	assert_int_equal(given[0], 4);
	assert_int_equal(given[1], 4);
}

static void the_stamp_is_the_workers_clock_as_last_heard(void **state)
{
	struct fixture *f = *state;

	catch_up(f);
	f->ready.clock_boot_ms = 555;
	ready(f);
	pass(f, 3000);
	queue_worker_beat(f->q, WORKER, 3500);
	pass(f, 9000);
	assert_int_equal(fly(f, 1, 1).stamp_ms, 3500);
	assert_int_equal(task_of(f, 1).lease.deadline_unix_ms, f->unix_ms + 35000);
}

static void a_nonce_belongs_to_one_peer(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	begin(f);
	assert_int_equal(ready_in(f, WORKER + 1), -EBUSY);
	queue_worker_gone(f->q, WORKER);
	assert_int_equal(ready_in(f, WORKER + 1), 0);
	end(f);
}

static void who_leaves_or_is_gone_gets_no_more_tasks(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	begin(f);
	queue_leave(f->q, &f->page, WORKER);
	publish_in(f, &(struct say){.user = 2, .version = 1}, 1);
	end(f);
	assert_int_equal(tasks_n(f), 0);
	verdict(f, l, VERDICT_DONE); /* what it holds still counts */
	assert_non_null(answer(f, WIRE_VERB_accepted));
	assert_state(f, 1, QUEUE_CLEAN);
}

static void a_creation_is_noted_with_the_lease_for_who_never_had_a_link(void **state)
{
	struct fixture *f = *state;

	catch_up(f);
	f->ready.creates = 1;
	ready(f);
	(void)fly(f, 1, 1);
	assert_true(task_of(f, 1).noted);
	assert_int_equal(effect(f, QUEUE_PUT_LINK)->link_state, LINK_CREATING);
	assert_true(slice_is(effect(f, QUEUE_PUT_LINK)->memory, "{\"creating_ms\":1700000000000}"));
	assert_int_equal(row(f, 1).link_state, LINK_CREATING);
	assert_true(effect(f, QUEUE_PUT_LINK) < effect(f, QUEUE_DISPATCH));
	assert_int_equal(effect(f, QUEUE_DISPATCH)->entry.link_state, LINK_CREATING);
	live(f, 1);
	(void)fly_again(f, 1, 40000); /* nobody says what became of it: the next one looks */
	assert_true(task_of(f, 1).verify);
	assert_false(task_of(f, 1).noted);
	assert_int_equal(row(f, 1).link_state, LINK_CREATING);
}

static void a_creation_that_did_not_happen_leaves_no_link(void **state)
{
	struct fixture *f = *state;

	catch_up(f);
	f->ready.creates = 1;
	ready(f);
	verdict(f, fly(f, 1, 1), VERDICT_RETRY);
	assert_int_equal(row(f, 1).link_state, LINK_NONE);
	assert_int_equal(effect(f, QUEUE_PUT_LINK)->link_state, LINK_NONE);
	(void)fly_again(f, 1, 2000); /* what its link remembers must not be written over */
	assert_false(task_of(f, 1).noted);
}

static void no_creation_is_noted_where_none_is_to_come(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r;

	fly(f, 1, 1);
	assert_false(task_of(f, 1).noted); /* the worker does not ask for it */
	assert_null(effect(f, QUEUE_PUT_LINK));
	r = result_of(task_of(f, 1).lease, VERDICT_DONE);
	result(f, r);
	f->ready.creates = 1;
	ready(f);
	say(f, (struct say){.user = 1, .version = 2, .out = true});
	assert_int_equal(tasks_n(f), 1);
	assert_false(task_of(f, 1).noted);
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	say(f, (struct say){.user = 1, .version = 3, .gone = true});
	assert_false(task_of(f, 1).noted);
	r = result_of(fly(f, 2, 1), VERDICT_DONE);
	r.rid = SLICE("r2");
	r.link_state = LINK_ACTIVE;
	result(f, r);
	fly(f, 2, 2);
	assert_false(task_of(f, 2).noted);
	assert_null(effect(f, QUEUE_PUT_LINK));
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_new_user_in_scope_is_due),
		T(a_user_out_of_scope_gets_no_entry),
		T(gone_in_an_unknown_user_is_stored_without_an_entry),
		T(before_catching_up_all_is_bulk_and_after_it_live),
		T(a_live_cause_promotes_a_bulk_entry),
		T(ten_changes_are_one_task),
		T(the_version_rises_only_with_the_fingerprint),
		T(who_leaves_the_scope_is_due_to_leave),
		T(who_leaves_before_any_task_needs_none),
		T(who_is_gone_is_due_where_it_was_touched),
		T(a_foreign_id_is_refused_and_shown),
		T(a_batch_again_is_committed_again_and_changes_nothing),
		T(a_gap_in_the_batches_is_refused),
		T(an_older_session_is_fenced),
		T(an_older_session_of_the_same_peer_is_fenced),
		T(the_cursor_is_the_last_that_is_written),
		T(a_live_change_is_published_and_dispatched_by_one_page),
		T(four_live_go_for_one_bulk),
		T(the_oldest_goes_first),
		T(credits_and_batches_bound_what_a_worker_gets),
		T(workers_of_a_target_take_turns),
		T(the_stamp_is_the_workers_clock_as_last_heard),
		T(a_nonce_belongs_to_one_peer),
		T(who_leaves_or_is_gone_gets_no_more_tasks),
		T(a_creation_is_noted_with_the_lease_for_who_never_had_a_link),
		T(a_creation_that_did_not_happen_leaves_no_link),
		T(no_creation_is_noted_where_none_is_to_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
