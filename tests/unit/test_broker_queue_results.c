/* The rules of the queue, one test each: notes and results. */
#include "queue_fixture.h"

/* ---- notes ---- */

static void a_note_of_creating_is_stored(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	note(f, l, 0, "");
	assert_non_null(answer(f, WIRE_VERB_noted));
	assert_int_equal(effect(f, QUEUE_PUT_LINK)->link_state, LINK_CREATING);
	assert_int_equal(row(f, 1).link_state, LINK_CREATING);
	assert_int_equal(row(f, 1).link_revision, 1);
}

/* A creation that the target refused leaves no `creating` behind, which would make the next attempt look it up and wait. */
static void a_link_that_was_given_up_is_written(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	note(f, l, 0, "");
	verdict(f, l, VERDICT_REJECTED);
	assert_int_equal(row(f, 1).link_state, LINK_NONE);
	assert_int_equal(effect(f, QUEUE_PUT_LINK)->link_state, LINK_NONE);
	l = fly(f, 1, 2);
	verdict(f, l, VERDICT_REJECTED);
	assert_null(effect(f, QUEUE_PUT_LINK));
}

static void a_claimed_account_is_refused_to_others(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease a = fly(f, 1, 1), b = fly(f, 2, 1);

	note(f, a, 1, "R1");
	assert_non_null(answer(f, WIRE_VERB_noted));
	assert_non_null(effect(f, QUEUE_PUT_RID));
	note(f, a, 1, "R1"); /* ours already */
	assert_non_null(answer(f, WIRE_VERB_noted));
	assert_null(effect(f, QUEUE_PUT_RID));
	note(f, b, 1, "R1");
	assert_null(effect(f, QUEUE_PUT_LINK));
	assert_true(slice_is(answer(f, WIRE_VERB_refused)->text, "claimed by another user"));
	assert_int_equal(counts(f).refused, 1);
}

static void a_note_without_a_lease_is_refused(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	verdict(f, l, VERDICT_DONE);
	note(f, l, 0, "");
	assert_non_null(answer(f, WIRE_VERB_refused));
	assert_null(effect(f, QUEUE_PUT_LINK));
}

static void a_note_counts_only_from_the_process_that_holds_the_lease(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	f->ready.nonce = NONCE + 1; /* the same peer, another process */
	ready(f);
	note(f, l, 0, "");
	assert_non_null(answer(f, WIRE_VERB_refused));
	verdict(f, l, VERDICT_DONE);
	assert_non_null(answer(f, WIRE_VERB_stale));
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_NOW);
}

/* ---- results ---- */

static void done_cleans(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_DONE);

	r.rid = SLICE("R1");
	r.link_state = LINK_ACTIVE;
	r.applied = fp_n(77);
	result(f, r);
	assert_state(f, 1, QUEUE_CLEAN);
	assert_non_null(answer(f, WIRE_VERB_accepted));
	assert_true(fp_equal(&effect(f, QUEUE_PUT_APPLIED)->fp, &r.applied));
	assert_true(slice_is(effect(f, QUEUE_PUT_LINK)->rid, "R1"));
	assert_non_null(effect(f, QUEUE_PUT_RID));
	assert_non_null(effect(f, QUEUE_DEL_LEASE));
	assert_non_null(effect(f, QUEUE_LOG));
}

/* The error log gets refusals, the first of several failures, and no success. */
static void failures_are_told_once(void **state)
{
	static const struct {
		uint8_t verdict;
		bool told;
	} steps[] = {{VERDICT_RETRY, true},
		     {VERDICT_RETRY, false},
		     {VERDICT_REJECTED, true},
		     {VERDICT_PARKED, true},
		     {VERDICT_DONE, false}};
	struct fixture *f = caught_up_with_worker(state);

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		bool waits = i > 0 && steps[i - 1].verdict == VERDICT_RETRY;
		struct queue_lease l = waits ? fly_again(f, 1, 2000) : fly(f, 1, 1 + i);
		struct wire_result r = result_of(l, (enum wire_verdict)steps[i].verdict);

		r.reason = SLICE("why");
		r.rid = SLICE("R1");
		r.link_state = LINK_ACTIVE;
		result(f, r);
		assert_int_equal(effect(f, QUEUE_LOG)->failed, steps[i].told);
		assert_non_null(memmem(effect(f, QUEUE_LOG)->detail.p,
				       effect(f, QUEUE_LOG)->detail.n, "\"account\":\"R1\"", 14));
	}
}

static void done_leaves_due_what_was_wanted_since(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	say(f, (struct say){.user = 1, .version = 2});
	assert_state(f, 1, QUEUE_FLIGHT);
	verdict(f, l, VERDICT_DONE);
	assert_int_equal(task_of(f, 1).version, 2); /* due, and dispatched by the same page */
}

static void held_operations_leave_no_applied_fingerprint(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_DONE);
	CLEANUP(buf_cleanup) struct buf wants = {0};

	wire_add_op(&wants, &(struct wire_op){SLICE("disable"), SLICE("")});
	r.applied = fp_n(77);
	r.wants = wire_list_of(&wants, 1);
	result(f, r);
	assert_null(effect(f, QUEUE_PUT_APPLIED));
	assert_non_null(effect(f, QUEUE_PUT_HELD));
}

static void only_done_leaves_an_applied_fingerprint(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_RETRY);

	r.applied = fp_n(77);
	result(f, r);
	assert_null(effect(f, QUEUE_PUT_APPLIED));
}

static void a_result_again_is_accepted_again(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	verdict(f, l, VERDICT_DONE);
	verdict(f, l, VERDICT_DONE);
	assert_non_null(answer(f, WIRE_VERB_accepted));
	assert_int_equal(f->page.effects_n, 0);
	assert_int_equal(counts(f).stale, 0);
}

static void a_result_after_the_lease_is_stale_and_the_user_verified(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l = fly(f, 1, 1);

	begin(f);
	queue_leave(f->q, &f->page, WORKER);
	end(f);
	live(f, 35000);
	assert_state(f, 1, QUEUE_DUE);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_NOW);
	assert_int_equal(counts(f).lease_expired, 1);
	verdict(f, l, VERDICT_DONE);
	assert_non_null(answer(f, WIRE_VERB_stale));
	assert_state(f, 1, QUEUE_DUE);
	assert_int_equal(counts(f).stale, 1);
}

static void a_lease_lasts_to_its_end(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	(void)fly(f, 1, 1);
	live(f, 34999);
	assert_state(f, 1, QUEUE_FLIGHT);
	live(f, 1);
	assert_int_equal(counts(f).lease_expired, 1);
	assert_true(task_of(f, 1).verify); /* handed out again at once, to be read first */
}

static void any_frame_of_who_let_a_lease_expire_has_its_users_verified(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l;

	(void)fly(f, 1, 1);
	begin(f);
	queue_leave(f->q, &f->page, WORKER);
	f->ready.nonce = NONCE + 1;
	assert_int_equal(ready_in(f, WORKER + 1), 0);
	end(f);
	live(f, 35000);
	l = task_of(f, 1).lease; /* another worker makes it right meanwhile */
	begin(f);
	{
		struct wire_result r = result_of(l, VERDICT_DONE);

		queue_result(f->q, &f->page, WORKER + 1, &r);
	}
	end(f);
	assert_state(f, 1, QUEUE_CLEAN);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_AT);
	queue_worker_beat(f->q, WORKER, 99);
	turn(f);
	assert_true(task_of(f, 1).verify);
}

static void an_unknown_outcome_is_looked_at_again_minutes_after_the_next_done(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_RETRY);

	r.unknown_outcome = 1;
	result(f, r);
	verdict(f, fly_again(f, 1, 1000), VERDICT_DONE);
	assert_state(f, 1, QUEUE_CLEAN);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_AT);
	assert_int_equal(row(f, 1).verify_unix_ms, f->unix_ms + 300000);
	live(f, 300000);
	assert_true(task_of(f, 1).verify);
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	assert_int_equal(row(f, 1).verify, QUEUE_VERIFY_NONE);
}

static void retry_backs_off_and_a_newer_version_does_not_skip_it(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_RETRY);

	r.after_ms = 5000;
	result(f, r);
	assert_state(f, 1, QUEUE_RETRY);
	assert_int_equal(row(f, 1).attempts, 1);
	assert_int_equal(row(f, 1).due_unix_ms, f->unix_ms + 5000);
	say(f, (struct say){.user = 1, .version = 2});
	assert_state(f, 1, QUEUE_RETRY);
	live(f, 4999);
	assert_state(f, 1, QUEUE_RETRY);
	live(f, 1);
	assert_int_equal(task_of(f, 1).version, 2);
	assert_int_equal(task_of(f, 1).attempts, 1);
}

static void the_operator_skips_the_backoff(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_RETRY);
	struct id id = user_id(1);

	r.after_ms = 5000;
	result(f, r);
	begin(f);
	assert_int_equal(queue_retry(f->q, &f->page, f->t, &id), 0);
	end(f);
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void what_no_retry_mends_is_dead_until_a_newer_version(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r = result_of(fly(f, 1, 1), VERDICT_REJECTED);

	r.reason = SLICE("bad_value");
	r.detail = SLICE("\"mail\" is wrong");
	result(f, r);
	assert_state(f, 1, QUEUE_DEAD);
	assert_non_null(effect(f, QUEUE_PUT_STUCK));
	assert_non_null(strstr(effect(f, QUEUE_PUT_STUCK)->detail.p, "\\\"mail\\\" is wrong"));
	assert_int_equal(counts(f).dead_lettered, 1);
	live(f, 7200000);
	assert_state(f, 1, QUEUE_DEAD);
	say(f, (struct say){.user = 1, .version = 2});
	assert_state(f, 1, QUEUE_FLIGHT);
	assert_non_null(effect(f, QUEUE_DEL_STUCK));
}

static void the_operator_drops_what_is_dead(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct id id = user_id(1);

	verdict(f, fly(f, 1, 1), VERDICT_REJECTED);
	begin(f);
	assert_int_equal(queue_drop(f->q, &f->page, f->t, &id), 0);
	assert_int_equal(queue_drop(f->q, &f->page, f->t, &id), -ENOENT);
	end(f);
	assert_state(f, 1, QUEUE_CLEAN);
}

static void a_rid_of_another_user_in_a_result_parks(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result a = result_of(fly(f, 1, 1), VERDICT_DONE), b;

	a.rid = SLICE("R1");
	a.link_state = LINK_ACTIVE;
	result(f, a);
	b = result_of(fly(f, 2, 1), VERDICT_DONE);
	b.rid = SLICE("R1");
	b.link_state = LINK_ACTIVE;
	result(f, b);
	assert_state(f, 2, QUEUE_PARKED);
	assert_int_equal(row(f, 2).link_state, LINK_NONE);
	assert_non_null(strstr(effect(f, QUEUE_PUT_STUCK)->detail.p, "claimed"));
	assert_null(effect(f, QUEUE_PUT_APPLIED));
}

/* A user pays what the worker says that the vendor counts, whatever else it asked. */
static void the_budget_is_charged_with_what_it_counts(void **state)
{
	struct fixture *f = *state;
	double tokens, before, full;
	struct wire_result r;

	f->target.budget = 1000;
	f->target.budget_per_ms = 60000;
	(void)queue_target_add(f->q, &f->target);
	catch_up(f);
	ready(f);
	live(f, 60000);
	r = result_of(fly(f, 1, 1), VERDICT_DONE);
	assert_true(queue_tokens(f->q, f->t, f->now_ms, &before, &full));
	r.requests = 12;
	r.charged = 5;
	result(f, r);
	assert_true(queue_tokens(f->q, f->t, f->now_ms, &tokens, &full));
	assert_int_equal((int)(before - tokens + 0.5), 4); /* one was paid at the dispatch */
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_budget_is_charged_with_what_it_counts),
		T(a_note_of_creating_is_stored),
		T(a_link_that_was_given_up_is_written),
		T(a_claimed_account_is_refused_to_others),
		T(a_note_without_a_lease_is_refused),
		T(a_note_counts_only_from_the_process_that_holds_the_lease),
		T(done_cleans),
		T(failures_are_told_once),
		T(done_leaves_due_what_was_wanted_since),
		T(held_operations_leave_no_applied_fingerprint),
		T(only_done_leaves_an_applied_fingerprint),
		T(a_result_again_is_accepted_again),
		T(a_result_after_the_lease_is_stale_and_the_user_verified),
		T(a_lease_lasts_to_its_end),
		T(any_frame_of_who_let_a_lease_expire_has_its_users_verified),
		T(an_unknown_outcome_is_looked_at_again_minutes_after_the_next_done),
		T(retry_backs_off_and_a_newer_version_does_not_skip_it),
		T(the_operator_skips_the_backoff),
		T(what_no_retry_mends_is_dead_until_a_newer_version),
		T(the_operator_drops_what_is_dead),
		T(a_rid_of_another_user_in_a_result_parks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
