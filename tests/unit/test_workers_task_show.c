/* Tasks that are shown instead of done, and tasks that keep to what was approved. */
#include "task_fixture.h"

static struct {
	int n;
	struct fp hash;
	char first[32], alone[16], need[32];
	bool destructive;
} seen;

static void on_show(void *arg, const struct task_shown *shown)
{
	struct wire_list needs = shown->needs;
	struct wire_op need;

	(void)arg;
	memset(seen.first, 0, sizeof(seen.first));
	seen.n++;
	seen.hash = shown->hash;
	snprintf(seen.first, sizeof(seen.first), "%s", shown->ops ? shown->ops->name : "");
	snprintf(seen.alone, sizeof(seen.alone), "%s", shown->alone ? shown->alone : "");
	seen.need[0] = '\0';
	if (wire_next_op(&needs, &need))
		snprintf(seen.need, sizeof(seen.need), "%.*s", (int)need.op.n, need.op.p);
	assert_int_equal(shown->lease.page, broker.page);
}

/* The plan of one task: what it reads stands in the trace. */
static struct fp shown(struct wire_task t)
{
	int before = seen.n;
	int64_t end = clock_boot_ms() + 5000;

	desk.show = on_show;
	send_tasks(&t, 1, NOW);
	while (seen.n == before && clock_boot_ms() < end)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	desk.show = NULL;
	assert_int_equal(seen.n, before + 1);
	assert_int_equal(task_count(&desk), 0);
	return seen.hash;
}

/* The same task again, with another lease. */
static struct wire_task again(struct wire_task t)
{
	t.lease_page = ++broker.page;
	t.stamp_ms = clock_boot_ms();
	return t;
}

static void a_plan_reads_and_never_writes(void **state)
{
	struct wire_task t;

	(void)state;
	refuses = true; /* work would POST at once: a plan looks whether the account is there */
	shown(task_for(1, snapshot(1, "\"Tal\"", true, FULL)));
	happened("NOTE0 FIND");
	assert_string_equal(seen.first, "create");
	refuses = false;
	created();
	t = task_for(1, snapshot(1, "\"Other\"", false, FULL));
	link_on(&t);
	shown(t);
	happened("READ"); /* and not "UPDATE", as with an account that needs no reading */
	assert_string_equal(seen.first, "update");
	assert_string_equal(seen.need, "disable");
	assert_true(json_true(account_of("r1"), "enabled", false));
}

static void what_is_equal_costs_no_request(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	desk.show = on_show;
	run(t);
	desk.show = NULL;
	happened("done");
}

static void a_found_account_is_shown_as_linked(void **state)
{
	cJSON *a = add_account("i1", true);

	(void)state;
	cJSON_AddStringToObject(a, "name", "Berg");
	cJSON_AddStringToObject(a, "a", "1");
	cJSON_AddStringToObject(a, "b", "2");
	cJSON_AddStringToObject(a, "c", "3");
	shown(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND NOTE1");
	assert_string_equal(seen.alone, "link");
	assert_string_equal(seen.first, "");
}

static void who_is_unlinked_is_shown(void **state)
{
	struct wire_task t;

	(void)state;
	desk.leave = TASK_LEAVE_UNLINK;
	created();
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.in = 0;
	t.expect = shown(t);
	assert_string_equal(seen.alone, "unlink");
	happened("");
	run(again(t));
	happened("done");
	assert_int_equal(broker.last.link_state, LINK_UNMANAGED);
}

static void what_was_approved_is_done(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Other\"", false, FULL));
	link_on(&t);
	t.expect = shown(t);
	happened("READ");
	t = again(t);
	t.permits = permit("disable");
	run(t);
	happened("READ UPDATE done");
	assert_string_equal(json_text(account_of("r1"), "name"), "Other");
	assert_false(json_true(account_of("r1"), "enabled", true));
}

/* Each of these is not what was shown: nothing is written. */
static void what_changed_is_refused(void **state)
{
	struct wire_task t, other;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Other\"", true, FULL));
	link_on(&t);
	t.expect = shown(t);
	happened("READ");
	other = again(t);
	other.version = 2;
	run(other);
	happened("READ retry");
	reason_is(WIRE_CHANGED);
	cJSON_ReplaceItemInObject(account_of("r1"), "a", cJSON_CreateString("behind our back"));
	run(again(t));
	happened("READ retry");
	reason_is(WIRE_CHANGED);
	assert_string_equal(json_text(account_of("r1"), "name"), "Berg");
}

/* A permit that is not there makes it another plan, too: half of what was approved is not it. */
static void without_its_permit_nothing_is_done(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Other\"", false, FULL));
	link_on(&t);
	t.expect = shown(t);
	happened("READ");
	run(again(t));
	happened("READ retry");
	reason_is(WIRE_CHANGED);
	assert_string_equal(json_text(account_of("r1"), "name"), "Berg");
}

static void what_is_right_already_was_not_approved(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Other\"", true, FULL));
	link_on(&t);
	t.expect = shown(t);
	happened("READ");
	cJSON_ReplaceItemInObject(account_of("r1"), "name", cJSON_CreateString("Other"));
	run(again(t));
	happened("READ retry");
	reason_is(WIRE_CHANGED);
}

static void a_creation_is_not_done_when_somebody_was_quicker(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));

	(void)state;
	t.expect = shown(t);
	happened("NOTE0 FIND");
	add_account("i1", true);
	run(again(t));
	happened("NOTE0 FIND NOTE1 retry");
	reason_is(WIRE_CHANGED);
	assert_null(json_text(account_of("r1"), "name"));
}

/* The manager's account was made by another row of the plan: the reference is owed, as it was shown. */
static void a_reference_that_came_since_is_set_later(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	struct buf rids = {0};

	(void)state;
	wire_add_rid(&rids, &(struct wire_rid){SLICE("manager"), {{9}}, SLICE("")});
	t.rids = wire_list_of(&rids, 1);
	t.expect = shown(t);
	happened("NOTE0 FIND");
	buf_clear(&rids);
	wire_add_rid(&rids, &(struct wire_rid){SLICE("manager"), {{9}}, SLICE("r9")});
	t.rids = wire_list_of(&rids, 1);
	run(again(t));
	happened("NOTE0 FIND CREATE done");
	assert_int_equal(broker.last.owed.count, 1);
	buf_done(&rids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_plan_reads_and_never_writes),
		TEST(what_is_equal_costs_no_request),
		TEST(a_found_account_is_shown_as_linked),
		TEST(who_is_unlinked_is_shown),
		TEST(what_was_approved_is_done),
		TEST(what_changed_is_refused),
		TEST(without_its_permit_nothing_is_done),
		TEST(what_is_right_already_was_not_approved),
		TEST(a_creation_is_not_done_when_somebody_was_quicker),
		TEST(a_reference_that_came_since_is_set_later),
	};

	return RUN(tests);
}
