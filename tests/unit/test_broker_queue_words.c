/* The rules of the queue, one test each: what an operator says of held operations and of links. */
#include "queue_fixture.h"

static int judge(struct fixture *f, unsigned user, const char *op, bool approve)
{
	const struct wire_op one = {slice_of(op), SLICE("")};
	struct id id = user_id(user);
	int rc;

	begin(f);
	rc = queue_judge_held(f->q, &f->page, f->t, &id, op ? &one : NULL, approve);
	end(f);
	return rc;
}

static void want_two(struct fixture *f, struct queue_lease l)
{
	CLEANUP(buf_cleanup) struct buf wants = {0};
	struct wire_result r = result_of(l, VERDICT_DONE);

	wire_add_op(&wants, &(struct wire_op){SLICE("disable"), SLICE("")});
	wire_add_op(&wants, &(struct wire_op){SLICE("clear"), SLICE("")});
	r.wants = wire_list_of(&wants, 2);
	result(f, r);
}

static void a_word_binds_to_user_and_operation(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_list permits;
	struct wire_op op;

	for (unsigned i = 0; i < 2; i++)
		want_two(f, fly(f, i, 1));
	live(f, 10000);
	assert_int_equal(counts(f).held, 4);
	assert_int_equal(judge(f, 1, "delete", true), -ENOENT);
	assert_int_equal(judge(f, 1, "clear", true), 0);
	permits = task_of(f, 1).permits;
	assert_int_equal(permits.count, 1);
	assert_true(wire_next_op(&permits, &op) && slice_is(op.op, "clear"));
	assert_int_equal(tasks_n(f), 1);
	assert_int_equal(counts(f).held, 3);
}

static void what_is_rejected_counts_no_more(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	for (unsigned i = 0; i < 3; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 10000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(judge(f, i, NULL, false), 0);
	assert_int_equal(effect(f, QUEUE_PUT_HELD)->held.phase, QUEUE_REJECTED);
	assert_int_equal(counts(f).held, 0);
	/* others are not held because of them */
	want_disable(f, fly(f, 4, 1));
	live(f, 10000);
	assert_int_equal(task_of(f, 4).permits.count, 1);
	/* wanted again it stays rejected, and takes no permit */
	want_disable(f, fly(f, 1, 2));
	live(f, 400000);
	assert_int_equal(counts(f).states[QUEUE_CLEAN] + counts(f).states[QUEUE_FLIGHT], 4);
	assert_int_equal(fly(f, 1, 3).version, 3);
	assert_int_equal(task_of(f, 1).permits.count, 0);
	/* a version that does not want it forgets the word */
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	assert_non_null(effect(f, QUEUE_DEL_HELD));
	want_disable(f, fly(f, 1, 4));
	assert_int_equal(effect(f, QUEUE_PUT_HELD)->held.phase, QUEUE_WANTED);
}

static void a_permit_is_taken_back(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	for (unsigned i = 0; i < 3; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 10000);
	begin(f);
	queue_leave(f->q, &f->page, WORKER);
	end(f);
	assert_int_equal(judge(f, 1, "disable", true), 0);
	assert_int_equal(judge(f, 1, "disable", false), 0);
	ready(f);
	assert_int_equal(task_of(f, 1).permits.count, 0);
}

static void what_is_held_is_walked(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_held_row row;
	uint32_t at = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		want_disable(f, fly(f, i, 1));
	live(f, 10000);
	for (; queue_held_walk(f->q, f->t, &at, &row); n++) {
		assert_true(slice_is(row.op, "disable"));
		assert_int_equal(row.phase, QUEUE_HELD);
	}
	assert_int_equal(n, 3);
	assert_false(queue_holds_all(f->q, f->t));
}

static void why_a_user_leaves_is_stored(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	verdict(f, fly(f, 1, 1), VERDICT_DONE);
	say(f, (struct say){.user = 1, .version = 2, .out = true});
	assert_true(slice_is(effect(f, QUEUE_PUT_CAUSE)->detail, "moved"));
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	say(f, (struct say){.user = 1, .version = 3, .out = true});
	assert_null(effect(f, QUEUE_PUT_CAUSE)); /* it was out before */
}

/* ---- links ---- */

static void made(struct fixture *f, unsigned user, const char *rid)
{
	struct wire_result r = result_of(fly(f, user, 1), VERDICT_DONE);

	r.rid = slice_of(rid);
	r.link_state = LINK_ACTIVE;
	result(f, r);
}

static int linked(struct fixture *f, unsigned user, const char *rid, const char *was)
{
	struct id id = user_id(user);
	struct queue_link_word word = {
		.rid = rid, .was = slice_of(was), .revision = row(f, user).link_revision};
	int rc;

	begin(f);
	rc = queue_link(f->q, &f->page, f->t, &id, &word);
	end(f);
	return rc;
}

static void an_account_is_one_persons(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	made(f, 1, "R1");
	made(f, 2, "R2");
	assert_int_equal(linked(f, 1, "R2", "R1"), -EEXIST);
	assert_int_equal(linked(f, 1, "R3", "R1"), 0);
	assert_true(slice_is(effect(f, QUEUE_PUT_RID)->rid, "R3"));
	assert_true(slice_is(effect(f, QUEUE_DEL_RID)->rid, "R1"));
	assert_true(slice_is(effect(f, QUEUE_PUT_LINK)->memory, "{\"manual\":true}"));
	assert_true(task_of(f, 1).verify); /* the account is read before it is written */
	assert_int_equal(linked(f, 1, "R4", "R3"), -EBUSY);
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	/* the former one is free */
	assert_int_equal(linked(f, 2, "R1", "R2"), 0);
}

static void unlinked_is_unmanaged_and_frees_the_account(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	made(f, 1, "R1");
	made(f, 2, "R2");
	assert_int_equal(linked(f, 1, NULL, "R1"), 0);
	assert_int_equal(effect(f, QUEUE_PUT_LINK)->link_state, LINK_UNMANAGED);
	assert_int_equal(effect(f, QUEUE_PUT_LINK)->rid.n, 0);
	assert_int_equal(row(f, 1).link_state, LINK_UNMANAGED);
	assert_int_equal(linked(f, 2, "R1", "R2"), 0);
}

static void a_link_that_changed_meanwhile_is_not_touched(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct id id = user_id(1);
	struct queue_link_word word = {.rid = "R3", .was = SLICE("R1"), .revision = 7};

	made(f, 1, "R1");
	begin(f);
	assert_int_equal(queue_link(f->q, &f->page, f->t, &id, &word), -EAGAIN);
	end(f);
	say(f, (struct say){.user = 1, .version = 2, .out = true});
	verdict(f, task_of(f, 1).lease, VERDICT_DONE);
	assert_int_equal(linked(f, 1, "R3", "R1"), -ENOENT); /* out of scope */
}

static void who_waits_for_an_account_hears_of_its_new_owner(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct wire_result r;

	made(f, 2, "R2");
	pass(f, 5000);
	r = result_of(fly(f, 1, 1), VERDICT_PARKED);
	r.waits = SLICE("rid:R2");
	result(f, r);
	assert_state(f, 1, QUEUE_PARKED);
	assert_int_equal(linked(f, 2, "R5", "R2"), 0);
	assert_state(f, 1, QUEUE_FLIGHT);
}

/* ---- names ---- */

static void done_again(struct fixture *f, unsigned user, const char *rid, uint8_t state)
{
	struct wire_result r = result_of(task_of(f, user).lease, VERDICT_DONE);

	r.rid = slice_of(rid);
	r.link_state = state;
	result(f, r);
}

/* own: the user's own account, or NULL. */
static void take_name(struct fixture *f, struct queue_lease l, const char *own, const char *holder,
		      const char *ops)
{
	CLEANUP(buf_cleanup) struct buf waits = {0};
	struct wire_result r = result_of(l, VERDICT_PARKED);

	buf_addf(&waits, "holder:userName=%s", holder);
	r.reason = SLICE("name_taken");
	r.waits = buf_slice(&waits);
	r.ops = slice_of(ops);
	r.rid = slice_of(own);
	r.link_state = own ? LINK_ACTIVE : LINK_NONE;
	result(f, r);
}

static bool asked_to_yield(struct fixture *f, unsigned user)
{
	struct wire_list permits = task_of(f, user).permits;
	struct wire_op op;

	return wire_next_op(&permits, &op) && slice_is(op.op, "yield") &&
	       slice_is(op.what, "userName");
}

static void left(struct fixture *f, unsigned user, const char *rid, uint8_t state)
{
	struct wire_result r;

	made(f, user, rid);
	say(f, (struct say){.user = user, .version = 2, .gone = true});
	r = result_of(task_of(f, user).lease, VERDICT_DONE);
	r.rid = slice_of(rid);
	r.link_state = state;
	result(f, r);
	pass(f, 5000);
}

static void a_leavers_account_gives_the_name_up(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	left(f, 2, "R2", LINK_DISABLED);
	take_name(f, fly(f, 1, 1), NULL, "R2", "");
	assert_state(f, 1, QUEUE_PARKED);
	assert_true(asked_to_yield(f, 2));
	verdict(f, task_of(f, 2).lease, VERDICT_DONE);
	assert_non_null(effect(f, QUEUE_DEL_HELD)); /* asked once */
	assert_state(f, 1, QUEUE_FLIGHT);
}

static void an_account_that_is_not_disabled_yet_keeps_its_name(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	left(f, 2, "R2", LINK_ACTIVE); /* the guard holds the disable */
	take_name(f, fly(f, 1, 1), NULL, "R2", "");
	assert_state(f, 1, QUEUE_PARKED);
	assert_state(f, 2, QUEUE_CLEAN);
	assert_null(effect(f, QUEUE_PUT_HELD));
}

static void who_is_in_scope_keeps_the_name(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	made(f, 2, "R2");
	pass(f, 5000);
	take_name(f, fly(f, 1, 1), NULL, "R2", "");
	assert_state(f, 2, QUEUE_CLEAN);
	assert_null(effect(f, QUEUE_PUT_HELD));
	assert_state(f, 1, QUEUE_PARKED);
}

static void leavers_keep_their_names_where_it_is_said(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_target_conf conf = f->target;

	conf.leavers_keep_names = true;
	(void)queue_target_add(f->q, &conf);
	left(f, 2, "R2", LINK_DISABLED);
	take_name(f, fly(f, 1, 1), NULL, "R2", "");
	assert_state(f, 1, QUEUE_PARKED);
	assert_state(f, 2, QUEUE_CLEAN);
}

static void one_of_a_circle_steps_aside(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease l[4];

	for (unsigned i = 1; i <= 3; i++)
		made(f, i, i == 1 ? "R1" : i == 2 ? "R2" : "R3");
	pass(f, 5000);
	for (unsigned i = 1; i <= 3; i++)
		l[i] = fly(f, i, 2);
	take_name(f, l[1], "R1", "R2", "");
	take_name(f, l[2], "R2", "R3", "");
	assert_null(effect(f, QUEUE_PUT_HELD));
	take_name(f, l[3], "R3", "R1", "");
	assert_true(asked_to_yield(f, 3)); /* who closes it, at once */
	take_name(f, task_of(f, 3).lease, "R3", "R1", "yield");
	assert_state(f, 3, QUEUE_PARKED);
	assert_state(f, 2, QUEUE_FLIGHT); /* R3's name is free */
	done_again(f, 2, "R2", LINK_ACTIVE);
	assert_state(f, 1, QUEUE_FLIGHT);
	done_again(f, 1, "R1", LINK_ACTIVE);
	assert_state(f, 3, QUEUE_FLIGHT);
	done_again(f, 3, "R3", LINK_ACTIVE);
	assert_non_null(effect(f, QUEUE_DEL_HELD));
}

/* A service that confirms the other name and does not write it is not asked without end. */
static void nobody_is_asked_for_a_name_without_end(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	left(f, 2, "R2", LINK_DISABLED);
	take_name(f, fly(f, 1, 1), NULL, "R2", "");
	done_again(f, 2, "R2", LINK_DISABLED);
	take_name(f, task_of(f, 1).lease, NULL, "R2", "");
	take_name(f, task_of(f, 1).lease, NULL, "R2", ""); /* the owner changed meanwhile */
	assert_state(f, 1, QUEUE_PARKED);
	assert_state(f, 2, QUEUE_CLEAN);
	live(f, 60000);
	take_name(f, fly(f, 1, 2), NULL, "R2", "");
	assert_state(f, 2, QUEUE_FLIGHT);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_word_binds_to_user_and_operation),
		T(what_is_rejected_counts_no_more),
		T(a_permit_is_taken_back),
		T(what_is_held_is_walked),
		T(why_a_user_leaves_is_stored),
		T(an_account_is_one_persons),
		T(unlinked_is_unmanaged_and_frees_the_account),
		T(a_link_that_changed_meanwhile_is_not_touched),
		T(who_waits_for_an_account_hears_of_its_new_owner),
		T(a_leavers_account_gives_the_name_up),
		T(an_account_that_is_not_disabled_yet_keeps_its_name),
		T(who_is_in_scope_keeps_the_name),
		T(leavers_keep_their_names_where_it_is_said),
		T(one_of_a_circle_steps_aside),
		T(nobody_is_asked_for_a_name_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
