/* Tasks: what may have happened. */
#include "task_fixture.h"

/* ---- what may have happened ---- */

static void an_unknown_creation_is_looked_up_before_a_second(void **state)
{
	struct wire_task t;

	(void)state;
	service.silent = true;
	refuses = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 CREATE retry");
	assert_true(broker.last.unknown_outcome);
	assert_int_equal(broker.last.link_state, LINK_CREATING);
	service.silent = false;
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 1000);
	happened("FIND retry");
	reason_is("settling");
	assert_int_equal(broker.last.after_ms, 59000);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 60000);
	happened("FIND NOTE0 CREATE done");
}

static cJSON *add_blank(void)
{
	cJSON *a = add_account("", false);

	cJSON_AddTrueToObject(a, "blank");
	return a;
}

static struct wire_task after_an_unknown_creation(void)
{
	struct wire_task t;

	service.silent = true;
	refuses = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 CREATE retry");
	service.silent = false;
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	return t;
}

/* A creation in steps left an account without a name; another task has claimed the first of them meanwhile. */
static void a_nameless_account_goes_to_whom_the_broker_gives_it(void **state)
{
	struct wire_task t;

	(void)state;
	t = after_an_unknown_creation();
	add_blank();
	add_blank();
	broker.refused = "r1";
	run_at(t, NOW + 60000);
	happened("FIND NOTE1 NOTE1 UPDATE done");
	assert_true(slice_is(broker.last.rid, "r2"));
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
}

static void where_every_nameless_one_is_taken_a_new_one_is_made(void **state)
{
	struct wire_task t;

	(void)state;
	t = after_an_unknown_creation();
	add_blank();
	broker.refused = "r1";
	run_at(t, NOW + 60000);
	happened("FIND NOTE1 NOTE0 CREATE done");
	assert_true(slice_is(broker.last.rid, "r2"));
}

static void nobody_takes_a_nameless_account_without_a_creation(void **state)
{
	(void)state;
	add_blank();
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND CREATE done");
	assert_true(slice_is(broker.last.rid, "r2"));
}

/* What was made is in other hands before it could be NOTEd: the creation begins anew with a look. */
static void a_made_account_that_another_claimed_is_let_go(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	struct buf rids = {0};

	(void)state;
	wire_add_rid(&rids, &(struct wire_rid){SLICE("manager"), {{9}}, SLICE("r9")});
	t.rids = wire_list_of(&rids, 1);
	broker.refuse_partials = true;
	run(t);
	happened("NOTE0 FIND CREATE NOTE2 retry");
	reason_is("note_refused");
	assert_int_equal(broker.last.rid.n, 0);
	assert_int_equal(broker.last.link_state, LINK_CREATING);
	assert_non_null(
		memmem(broker.last.link_memory.p, broker.last.link_memory.n, "creating_key", 12));
	buf_done(&rids);
}

static void a_look_up_may_take_several_requests(void **state)
{
	(void)state;
	service.more = TARGET_PARTS - 1;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND FIND FIND FIND CREATE done");
	service.more = TARGET_PARTS;
	run(task_for(2, snapshot(2, "\"Tal\"", true, FULL)));
	happened("NOTE0 FIND FIND FIND FIND retry");
	reason_is("too_many_parts");
}

static void the_configuration_may_say_how_long_not_found_is_doubted(void **state)
{
	struct wire_task t;

	(void)state;
	desk.settle_ms = 5000;
	service.silent = true;
	refuses = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	service.silent = false;
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 1000);
	reason_is("settling");
	assert_int_equal(broker.last.after_ms, 4000);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 5000);
	happened("NOTE0 CREATE retry FIND retry FIND NOTE0 CREATE done");
}

static void an_unknown_creation_that_happened_is_found(void **state)
{
	struct wire_task t;

	(void)state;
	service.silent = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND retry");
	assert_int_equal(broker.last.link_state, LINK_NONE); /* nothing was posted */
	service.silent = false;
	add_account("i1", true);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	t.link_state = LINK_CREATING;
	run(t);
	happened("FIND NOTE1 UPDATE done");
	assert_int_equal(cJSON_GetArraySize(service.accounts), 1);
}

/* The account of a creation with an unknown outcome has the key that the user had then. */
static struct wire_task renamed_while_creating(void)
{
	struct wire_task t;

	service.status = 500;
	service.status_for = "CREATE";
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND CREATE retry");
	assert_int_equal(broker.last.link_state, LINK_CREATING);
	service.status = 0;
	t = task_for(1, snapshot(2, "\"Berg\"", true, FULL));
	link_on(&t);
	return t;
}

static void an_unknown_creation_is_found_under_its_old_key(void **state)
{
	struct wire_task t = renamed_while_creating();

	(void)state;
	add_account("i1", true);
	run(t);
	happened("FIND NOTE1 UPDATE done");
	assert_int_equal(cJSON_GetArraySize(service.accounts), 1);
	assert_true(broker.last.link_memory.n > 0);
	assert_null(memmem(broker.last.link_memory.p, broker.last.link_memory.n, "creating", 8));
}

static void an_unknown_creation_is_looked_for_under_both_keys(void **state)
{
	struct wire_task t = renamed_while_creating();

	(void)state;
	run_at(t, NOW + 100000);
	happened("FIND FIND NOTE0 CREATE done");
	assert_string_equal(json_text(account_of("r1"), "externalId"), "i2");
}

static void a_leaver_being_created_is_looked_up(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));

	(void)state;
	add_account("i1", true);
	t.link_state = LINK_CREATING;
	t.in = 0;
	t.permits = permit("disable");
	run(t);
	happened("FIND NOTE1 UPDATE done");
	assert_int_equal(broker.last.link_state, LINK_DISABLED);
}

static void a_leaver_whom_no_key_finds_is_listed(void **state)
{
	struct buf text = {0};
	struct slice s = snapshot(1, "\"Berg\"", true, FULL);
	struct wire_task t;

	(void)state;
	buf_add(&text, s.p, s.n);
	memmove(strstr(text.p, "\"i1\"") + 1, strstr(text.p, "\"i1\"") + 3,
		strlen(strstr(text.p, "\"i1\"") + 3) + 1);
	t = task_for(1, slice_of(text.p)); /* without immutable_id */
	t.link_state = LINK_CREATING;
	t.in = 0;
	run(t);
	happened("parked");
	reason_is("no_key");
	assert_int_equal(broker.last.link_state, LINK_CREATING);
	buf_done(&text);
}

static void a_lost_account_is_made_anew(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	cJSON_DeleteItemFromArray(service.accounts, 0);
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 1000);
	happened("UPDATE READ retry"); /* a fresh one may not be visible yet */
	reason_is("not_yet_visible");
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 100000);
	happened("READ NOTE0 FIND CREATE done");
	assert_true(slice_is(broker.last.rid, "r2"));
}

static void changed_meanwhile_is_read_again(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	service.status = 412;
	service.status_for = "UPDATE";
	service.times = 1;
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE READ UPDATE done");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_unknown_creation_is_looked_up_before_a_second),
		TEST(a_nameless_account_goes_to_whom_the_broker_gives_it),
		TEST(where_every_nameless_one_is_taken_a_new_one_is_made),
		TEST(nobody_takes_a_nameless_account_without_a_creation),
		TEST(a_made_account_that_another_claimed_is_let_go),
		TEST(a_look_up_may_take_several_requests),
		TEST(the_configuration_may_say_how_long_not_found_is_doubted),
		TEST(an_unknown_creation_that_happened_is_found),
		TEST(an_unknown_creation_is_found_under_its_old_key),
		TEST(an_unknown_creation_is_looked_for_under_both_keys),
		TEST(a_leaver_being_created_is_looked_up),
		TEST(a_leaver_whom_no_key_finds_is_listed),
		TEST(a_lost_account_is_made_anew),
		TEST(changed_meanwhile_is_read_again),
	};

	return RUN(tests);
}
