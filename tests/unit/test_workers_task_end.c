/* Tasks: verdicts and leases. */
#include "task_fixture.h"

/* ---- verdicts ---- */

/* What a service says reaches the broker in a RESULT that it can read (take_result looks), or it would never be rid of it. */
static void long_and_foreign_words_fit_a_result(void **state)
{
	CLEANUP(buf_cleanup) struct buf name = {0};

	(void)state;
	buf_addc(&name, '"');
	while (name.n < 70000)
		buf_adds(&name, "\xc3\xa4");
	buf_addc(&name, '"');
	service.status = 409;
	service.status_for = "CREATE";
	service.field = "name";
	request_id = "J\xfcrgen";
	run(task_for(1, snapshot(1, name.p, true, FULL)));
	happened("NOTE0 FIND CREATE FIND FIND parked"); /* by the rules, then who has the name */
	reason_is("name_taken");
	assert_true(slice_is(broker.last.request_id, "J\xef\xbf\xbdrgen"));
	assert_memory_equal(broker.last.waits.p, "name:\xc3\xa4", 7);
}

static void an_id_that_is_no_text_is_none(void **state)
{
	(void)state;
	assert_true(task_rid_fits(&(struct target_account){.rid = (char[]){"r1"}}));
	assert_false(task_rid_fits(&(struct target_account){.rid = (char[]){"r\xfc"}}));
}

static void a_refusal_is_redacted(void **state)
{
	(void)state;
	service.status = 400;
	service.status_for = "CREATE";
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND CREATE rejected");
	assert_true(slice_is(broker.last.detail, "Name … is taken"));
	assert_int_equal(broker.last.status, 400);
	assert_int_equal(broker.last.link_state, LINK_NONE);
}

static void throttling_silences_everybody(void **state)
{
	(void)state;
	service.raw_status = 429;
	service.headers = "Retry-After: 60\r\n";
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND throttled");
	assert_int_equal(broker.last.after_ms, 60000);
	run(task_for(2, snapshot(2, "\"Berg\"", true, FULL)));
	happened("NOTE0 throttled");
	/* No longer than the first one's lease: what the broker sends after that it sends on purpose. */
	assert_in_range(broker.last.after_ms, 1000, 59999);
	assert_int_equal(broker.last.requests, 0);
}

static void a_refused_token_is_the_targets_trouble(void **state)
{
	(void)state;
	service.raw_status = 401;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND auth_failed");
}

/* ---- leases ---- */

static void nothing_begins_after_the_lease(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));

	(void)state;
	t.stamp_ms -= t.lease_ms;
	send_tasks(&t, 1, NOW);
	turn_for(100);
	happened("late");
	assert_int_equal(web.requests, 0);
}

static void no_request_lasts_beyond_the_lease(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	int64_t begun = clock_boot_ms();

	(void)state;
	service.silent = true;
	t.lease_ms = 150;
	run(t);
	happened("NOTE0 FIND retry");
	assert_true(clock_boot_ms() - begun < 350); /* the request's own time-out is 400 */
	broker.deaf_to_notes = true;
	t = task_for(2, snapshot(2, "\"Berg\"", true, FULL));
	t.lease_ms = 300;
	run(t);
	reason_is("lease_ended");
	happened("NOTE0 retry");
}

static void a_task_for_another_process_is_refused(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));

	(void)state;
	t.worker++;
	send_tasks(&t, 1, NOW);
	turn_for(100);
	happened("");
}

static void notes_and_results_are_said_again(void **state)
{
	struct buf body = {0};

	(void)state;
	broker.deaf_to_notes = true;
	broker.deaf_to_results = true;
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));

	send_tasks(&t, 1, NOW);
	turn_for(500);
	happened("NOTE0");
	broker.deaf_to_notes = false;
	wait_results(2, 8000);
	happened("NOTE0 FIND CREATE done done");
	assert_int_equal(session_unanswered(session), 1);
	wire_put_stale(&body, &(struct wire_stale){broker.last.lease_epoch, broker.last.lease_page,
						   broker.last.lease_index});
	say(WIRE_VERB_stale, &body);
	turn_for(50);
	assert_int_equal(session_unanswered(session), 0);
}

static void only_the_newest_broker_counts(void **state)
{
	struct wire_task t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	struct buf records = {0}, body = {0};
	struct wire_epoch old = {6, 66}, twin = {7, 78};
	uint32_t readies = broker.readies;

	(void)state;
	wire_add_task(&records, &t);
	wire_put_tasks(&body, &(struct wire_tasks){NOW, wire_list_of(&records, 1)});
	say_as(old, WIRE_VERB_tasks, &body);
	say_as(twin, WIRE_VERB_tasks, &body);
	turn_for(100);
	happened("");
	broker.epoch = (struct wire_epoch){8, 88};
	say_beat();
	for (int64_t end = clock_boot_ms() + 3000;
	     broker.readies == readies && clock_boot_ms() < end;)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	assert_int_equal(broker.readies, readies + 1);
	buf_done(&records);
	buf_done(&body);
}

static void leaves_in_order(void **state)
{
	(void)state;
	session_drain(session);
	turn_for(50);
	assert_int_equal(broker.credits, 0);
	session_leave(session);
	turn_for(50);
	assert_int_equal(broker.leaves, 1);
	assert_int_equal(session_state(session), SESSION_LEAVING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_refusal_is_redacted),
		TEST(long_and_foreign_words_fit_a_result),
		TEST(an_id_that_is_no_text_is_none),
		TEST(throttling_silences_everybody),
		TEST(a_refused_token_is_the_targets_trouble),
		TEST(nothing_begins_after_the_lease),
		TEST(no_request_lasts_beyond_the_lease),
		TEST(a_task_for_another_process_is_refused),
		TEST(notes_and_results_are_said_again),
		TEST(only_the_newest_broker_counts),
		TEST(leaves_in_order),
	};

	return RUN(tests);
}
