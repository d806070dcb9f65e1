/* Tasks: nothing destructive without a permit, and who leaves. */
#include "task_fixture.h"

/* ---- the guard ---- */

static void nothing_destructive_without_a_permit(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE done"); /* the name is written all the same */
	assert_true(wants("disable"));
	assert_true(fp_is_none(&broker.last.applied));
	assert_true(json_true(account_of("r1"), "enabled", false));
	assert_string_equal(json_text(account_of("r1"), "name"), "Tal");
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	t.permits = permit("disable");
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.wants.count, 0);
	assert_int_equal(broker.last.link_state, LINK_DISABLED);
	assert_false(json_true(account_of("r1"), "enabled", true));
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE done");
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
}

/* Nothing but the switch changed: what the target holds is what it shall hold until somebody permits. */
static void a_disabling_that_waits_costs_no_request(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE done");
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	run(t);
	happened("done");
	assert_true(wants("disable"));
	assert_true(fp_is_none(&broker.last.applied));
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	t.permits = permit("disable");
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.link_state, LINK_DISABLED);
	assert_false(json_true(account_of("r1"), "enabled", true));
}

static void mass_clearing_is_held(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Tal\"", true, EMPTY));
	link_on(&t);
	run(t);
	happened("UPDATE done");
	assert_true(wants("clear_mass"));
	assert_string_equal(json_text(account_of("r1"), "a"), "1");
	assert_string_equal(json_text(account_of("r1"), "name"), "Tal");
	t = task_for(1, snapshot(1, "\"Tal\"", true, EMPTY));
	link_on(&t);
	t.permits = permit("clear_mass");
	run(t);
	happened("READ UPDATE done");
	assert_null(json_text(account_of("r1"), "a"));
}

static void leaving_disables_then_deletes(void **state)
{
	struct wire_task t;

	(void)state;
	desk.leave = TASK_LEAVE_DELETE;
	desk.delete_after_ms = 1000000;
	created();
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.in = 0;
	run(t);
	happened("done");
	assert_true(wants("disable"));
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.in = 0;
	t.permits = permit("disable");
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.look_again_unix_ms, NOW + 1000000);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.gone = 1;
	run_at(t, NOW + 500000); /* too early */
	happened("done");
	assert_int_equal(broker.last.look_again_unix_ms, NOW + 1000000);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.gone = 1;
	run_at(t, NOW + 1000000);
	happened("done");
	assert_true(wants("delete"));
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.gone = 1;
	t.permits = permit("delete");
	run_at(t, NOW + 1000000);
	happened("READ DELETE done");
	assert_int_equal(broker.last.link_state, LINK_DELETED);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 2000000); /* and comes back */
	happened("NOTE0 FIND CREATE done");
}

static void unlinking_touches_nothing(void **state)
{
	struct wire_task t;

	(void)state;
	desk.leave = TASK_LEAVE_UNLINK;
	created();
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.in = 0;
	run(t);
	happened("done");
	assert_int_equal(broker.last.link_state, LINK_UNMANAGED);
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
	t = task_for(1, snapshot(1, "\"Ost\"", true, FULL));
	link_on(&t);
	t.link_state = LINK_UNMANAGED; /* by an operator */
	run(t);
	happened("done");
	assert_string_equal(json_text(account_of("r1"), "name"), "Tal");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_destructive_without_a_permit),
		TEST(a_disabling_that_waits_costs_no_request),
		TEST(mass_clearing_is_held),
		TEST(leaving_disables_then_deletes),
		TEST(unlinking_touches_nothing),
	};

	return RUN(tests);
}
