/* Tasks: creation and claims. */
#include "task_fixture.h"

static void creation_is_noted_then_looked_up(void **state)
{
	(void)state;
	created();
	assert_true(slice_is(broker.last.rid, "r1"));
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
	assert_true(slice_is(broker.last.ops, "create"));
	assert_int_equal(broker.last.requests, 2);
	assert_int_equal(broker.last.charged, 2);
	assert_false(fp_is_none(&broker.last.applied));
	assert_string_equal(json_text(account_of("r1"), "externalId"),
			    "i1"); /* the join key, unmapped */
}

/* As the dispatch leaves it that noted `creating` itself. */
static struct wire_task noted_task(void)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));

	t.noted = 1;
	t.link_state = LINK_CREATING;
	t.link_memory = SLICE("{\"creating_ms\":1}");
	return t;
}

static void a_creation_noted_by_the_dispatch_is_not_noted_again(void **state)
{
	(void)state;
	run(noted_task());
	happened("FIND CREATE done");
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
	assert_null(memmem(broker.last.link_memory.p, broker.last.link_memory.n, "creating", 8));
}

static void what_was_noted_and_not_begun_leaves_no_link(void **state)
{
	struct wire_task t = noted_task();

	(void)state;
	service.status = 503;
	service.status_for = "FIND";
	run(t);
	happened("FIND retry");
	assert_int_equal(broker.last.link_state, LINK_NONE);
	assert_int_equal(broker.last.link_memory.n, 0);
}

static void what_was_noted_and_is_unknown_stays_so_with_its_key(void **state)
{
	struct wire_task t = noted_task();

	(void)state;
	refuses = true;
	service.silent = true;
	run(t);
	happened("CREATE retry");
	assert_true(broker.last.unknown_outcome);
	assert_int_equal(broker.last.link_state, LINK_CREATING);
	assert_non_null(memmem(broker.last.link_memory.p, broker.last.link_memory.n,
			       "\"creating_key\":\"i1\"", 19));
	service.silent = false;
	t = noted_task();
	t.noted = 0; /* another lease: it is looked for, although the service refuses doubles */
	run(t);
	happened("FIND NOTE0 CREATE done");
}

static void no_lookup_where_the_service_refuses_doubles(void **state)
{
	(void)state;
	refuses = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 CREATE done");
}

static void reads_that_are_free_are_not_charged(void **state)
{
	(void)state;
	fake.reads_are_free = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	fake.reads_are_free = false;
	happened("NOTE0 FIND CREATE done");
	assert_int_equal(broker.last.requests, 2);
	assert_int_equal(broker.last.charged, 1);
}

static void unchanged_costs_nothing(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	run(t);
	happened("done");
	assert_int_equal(broker.last.requests, 0);
	assert_true(fp_equal(&broker.last.applied, &t.applied));
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.verify = 1;
	run(t);
	happened("READ done");
}

static void a_change_is_one_request(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE done");
	assert_string_equal(json_text(account_of("r1"), "name"), "Tal");
	t = task_for(1, snapshot(1, "\"Rhein\"", true, FULL));
	link_on(&t);
	t.applied = (struct fp){{0}}; /* after anything unknown */
	run(t);
	happened("READ UPDATE done");
}

static void twenty_users_share_requests(void **state)
{
	struct wire_task tasks[20];
	struct buf texts[20] = {{0}};

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct slice s = snapshot(i + 1, "\"Berg\"", true, FULL);

		buf_add(&texts[i], s.p, s.n);
		tasks[i] = task_for(i + 1, buf_slice(&texts[i]));
	}
	send_tasks(tasks, 20, NOW);
	wait_results(20, 5000);
	assert_int_equal(web.requests, 2);
	assert_int_equal(cJSON_GetArraySize(service.accounts), 20);
	for (int i = 0; i < 20; i++)
		buf_done(&texts[i]);
}

static void a_batch_refused_as_a_whole_says_nothing_of_anyone(void **state)
{
	struct wire_task tasks[3];
	struct buf texts[3] = {{0}};

	(void)state;
	service.refuses_shared = true;
	for (int i = 0; i < 3; i++) {
		struct slice s = snapshot(i + 1, "\"Berg\"", true, FULL);

		buf_add(&texts[i], s.p, s.n);
		tasks[i] = task_for(i + 1, buf_slice(&texts[i]));
	}
	send_tasks(tasks, 3, NOW);
	wait_results(3, 5000);
	assert_int_equal(broker.last.verdict, VERDICT_DONE);
	assert_int_equal(cJSON_GetArraySize(service.accounts), 3);
	for (int i = 0; i < 3; i++)
		buf_done(&texts[i]);
}

static void one_user_twice_shares_no_request(void **state)
{
	struct wire_task tasks[2] = {task_for(1, snapshot(1, "\"Berg\"", true, FULL))};

	(void)state;
	run(tasks[0]);
	tasks[0] = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&tasks[0]);
	tasks[0].applied = (struct fp){{0}};
	tasks[1] = tasks[0]; /* the lease before it ended while the broker was away */
	tasks[1].lease_index++;
	broker.results = 0;
	send_tasks(tasks, 2, NOW);
	wait_results(2, 5000);
	assert_null(strstr(trace.p, "x2"));
}

static void later_steps_are_noted(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	struct buf rids = {0};

	(void)state;
	wire_add_rid(&rids, &(struct wire_rid){SLICE("manager"), {{9}}, SLICE("r9")});
	t.rids = wire_list_of(&rids, 1);
	run(t);
	happened("NOTE0 FIND CREATE NOTE2 manager done");
	assert_non_null(memmem(broker.last.link_memory.p, broker.last.link_memory.n,
			       "\"driver\":{\"manager\":\"r9\"}", 25));
	buf_clear(&rids);
	wire_add_rid(&rids, &(struct wire_rid){SLICE("manager"), {{9}}, SLICE("")});
	t = task_for(2, snapshot(2, "\"Berg\"", true, FULL));
	t.rids = wire_list_of(&rids, 1);
	run(t);
	happened("NOTE0 FIND CREATE done");
	assert_int_equal(broker.last.owed.count, 1);
	buf_done(&rids);
}

/* ---- claims ---- */

static void a_found_account_is_claimed_first(void **state)
{
	(void)state;
	add_account("i1", true);
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND NOTE1 UPDATE done");
	assert_true(slice_is(broker.last.rid, "r1"));
}

static void a_refused_claim_writes_nothing(void **state)
{
	(void)state;
	add_account("i1", true);
	broker.refuse_claims = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND NOTE1 parked");
	reason_is("claimed_by_other");
	assert_int_equal(broker.last.rid.n, 0);
	assert_int_equal(broker.last.link_state, LINK_NONE);
}

static void several_hits_park(void **state)
{
	(void)state;
	add_account("i1", true);
	add_account("i1", true);
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND parked");
	reason_is("ambiguous");
}

static void may_not_create(void **state)
{
	(void)state;
	desk.create = false;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("FIND parked");
	reason_is("no_account");
	add_account("i1", true);
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("FIND NOTE1 UPDATE done");
}

static void a_taken_name_parks(void **state)
{
	(void)state;
	service.status = 409;
	service.status_for = "CREATE";
	service.field = "name";
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND CREATE FIND FIND parked"); /* by the rules, then who has the name */
	reason_is("name_taken");
	assert_true(slice_is(broker.last.waits, "name:Berg"));
	assert_int_equal(broker.last.link_state, LINK_NONE);
}

/* Each in a request of its own, and of looking and of creating never two on their way: two connections are enough. */
static void a_serial_lane_has_one_request_at_a_time(void **state)
{
	struct wire_task tasks[6];
	struct buf texts[6] = {{0}};

	(void)state;
	serial = true;
	for (int i = 0; i < 6; i++) {
		struct slice s = snapshot(i + 1, "\"Berg\"", true, FULL);

		buf_add(&texts[i], s.p, s.n);
		tasks[i] = task_for(i + 1, buf_slice(&texts[i]));
	}
	send_tasks(tasks, 6, NOW);
	wait_results(6, 5000);
	assert_int_equal(web.requests, 12);
	assert_in_range(web.connections, 1, 2);
	assert_int_equal(cJSON_GetArraySize(service.accounts), 6);
	for (int i = 0; i < 6; i++)
		buf_done(&texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(creation_is_noted_then_looked_up),
		TEST(a_creation_noted_by_the_dispatch_is_not_noted_again),
		TEST(what_was_noted_and_not_begun_leaves_no_link),
		TEST(what_was_noted_and_is_unknown_stays_so_with_its_key),
		TEST(no_lookup_where_the_service_refuses_doubles),
		TEST(reads_that_are_free_are_not_charged),
		TEST(unchanged_costs_nothing),
		TEST(a_change_is_one_request),
		TEST(twenty_users_share_requests),
		TEST(a_batch_refused_as_a_whole_says_nothing_of_anyone),
		TEST(one_user_twice_shares_no_request),
		TEST(a_serial_lane_has_one_request_at_a_time),
		TEST(later_steps_are_noted),
		TEST(a_found_account_is_claimed_first),
		TEST(a_refused_claim_writes_nothing),
		TEST(several_hits_park),
		TEST(may_not_create),
		TEST(a_taken_name_parks),
	};

	return RUN(tests);
}
