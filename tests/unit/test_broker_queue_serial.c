/* The rules of the queue, one test each: what a target bears for one user at a time. */
#include "queue_fixture.h"

static void want(struct fixture *f, struct queue_lease l, const char *op, uint8_t verdict_)
{
	CLEANUP(buf_cleanup) struct buf wants = {0};
	struct wire_result r = result_of(l, verdict_);

	wire_add_op(&wants, &(struct wire_op){slice_of(op), SLICE("")});
	r.wants = wire_list_of(&wants, 1);
	result(f, r);
}

static bool permitted(const struct fixture *f, unsigned user)
{
	struct wire_list permits = task_of(f, user).permits;
	struct wire_op op;

	return permits.count == 1 && wire_next_op(&permits, &op) && slice_is(op.op, WIRE_SERIAL);
}

/* Granted at once, without settling; the next one when the first has brought its result. */
static void one_after_the_other(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease first, second, holder;

	first = fly(f, 1, 1);
	second = fly(f, 2, 1);
	want(f, first, WIRE_SERIAL, VERDICT_DONE);
	assert_true(permitted(f, 1));
	holder = task_of(f, 1).lease;
	live(f, 10);
	want(f, second, WIRE_SERIAL, VERDICT_DONE);
	assert_state(f, 2, QUEUE_CLEAN);
	live(f, 20000);
	assert_int_equal(tasks_n(f), 0);
	assert_int_equal(counts(f).held, 0);
	verdict(f, holder, VERDICT_DONE);
	assert_true(permitted(f, 2));
	assert_state(f, 1, QUEUE_CLEAN);
	verdict(f, task_of(f, 2).lease, VERDICT_DONE);
	assert_int_equal(tasks_n(f), 0);
	queue_check(f->q);
}

/* Who failed stands at the end again, and without a permit: nobody waits for a backoff. */
static void a_failure_gives_it_back(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease first = fly(f, 1, 1), second = fly(f, 2, 1), holder;

	want(f, first, WIRE_SERIAL, VERDICT_DONE);
	holder = task_of(f, 1).lease;
	live(f, 10);
	want(f, second, WIRE_SERIAL, VERDICT_DONE);
	verdict(f, holder, VERDICT_RETRY);
	assert_state(f, 1, QUEUE_RETRY);
	assert_true(permitted(f, 2));
	verdict(f, task_of(f, 2).lease, VERDICT_DONE);
	want(f, fly_again(f, 1, 1001), WIRE_SERIAL, VERDICT_DONE);
	assert_true(permitted(f, 1));
	queue_check(f->q);
}

/* A lease that ran out keeps it: what was begun under it is settled by the next task of that user. */
static void a_lost_lease_keeps_it(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease first = fly(f, 1, 1), second = fly(f, 2, 1);

	want(f, first, WIRE_SERIAL, VERDICT_DONE);
	want(f, second, WIRE_SERIAL, VERDICT_DONE);
	live(f, 30000 + 5000 - 2);
	assert_int_equal(tasks_n(f), 0);
	fly_again(f, 1, 10);
	assert_true(permitted(f, 1));
	assert_int_equal(task_of(f, 2).lease.epoch, 0);
	queue_check(f->q);
}

/* The guard does not count it, and no operator's word is needed or given for it. */
static void the_guard_leaves_it_alone(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	struct queue_lease leases[4];
	struct queue_held_row row;
	uint32_t at = 0;

	for (unsigned i = 0; i < 4; i++)
		leases[i] = fly(f, i, 1);
	for (unsigned i = 0; i < 4; i++)
		want(f, leases[i], WIRE_SERIAL, VERDICT_DONE);
	assert_false(queue_held_walk(f->q, f->t, &at, &row));
	assert_false(queue_guard_holds(f->q, f->t, 0));
	begin(f);
	assert_int_equal(queue_judge_held(f->q, &f->page, f->t, NULL, NULL, true), -ENOENT);
	end(f);
	assert_int_equal(tasks_n(f), 0);
	live(f, 20000);
	assert_int_equal(counts(f).held, 0);
	queue_check(f->q);
}

static void the_guard_settles_meanwhile(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	want(f, fly(f, 1, 1), "disable", VERDICT_DONE);
	live(f, 6000);
	want(f, fly(f, 2, 1), WIRE_SERIAL, VERDICT_DONE);
	verdict(f, task_of(f, 2).lease, VERDICT_DONE);
	fly_again(f, 1, 4200);
	assert_int_equal(task_of(f, 1).permits.count, 1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_after_the_other),		T(a_failure_gives_it_back),
		T(a_lost_lease_keeps_it),	T(the_guard_leaves_it_alone),
		T(the_guard_settles_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
