/* The store against a real Redis: pages, fences, loads, and what people read. */
#include "store_fixture.h"

#include <errno.h>

static void test_page_is_applied(void **state)
{
	struct host h;

	(void)state;
	open_store(&h);
	assert_false(h.lost_tail);
	assert_false(h.emptied);
	first_page(&h);
	assert_string_equal(redis_ask(&server, "GET {dp:t}:page"), "1");
	assert_string_equal(redis_ask(&server, "ZCARD {dp:t}:live:app"), "1");
	assert_string_equal(redis_ask(&server, "ZSCORE {dp:t}:live:app %b", anna.b, sizeof(anna.b)),
			    "1000");
	assert_string_equal(redis_ask(&server, "HGET " ANNA " d"), "{\"dn\":\"x\"}");
	assert_string_equal(redis_ask(&server, "HGET " ANNA " g"), "G");
	assert_string_equal(redis_ask(&server, "HSTRLEN " ANNA " s:app"), "62");
	assert_string_equal(redis_ask(&server, "HEXISTS " BOSS " r"), "0");
	assert_string_equal(redis_ask(&server, "HSTRLEN {dp:t}:cursor:corp cookie"), "3");
	assert_string_equal(redis_ask(&server, "HGET {dp:t}:cursor:corp batch"), "11");
	close_store(&h);
}

static void test_dispatch_gives_what_the_task_carries(void **state)
{
	struct queue_effect effects[4];
	struct queue_page page;
	struct host h;

	(void)state;
	open_store(&h);
	first_page(&h);
	page_begin(&h, &page, effects);
	put_entry(&page, QUEUE_DISPATCH, QUEUE_FLIGHT, QUEUE_DUE);
	assert_true(write_page(&h, &page));
	assert_int_equal(h.tasks_n, 1);
	assert_string_equal(h.source, "corp");
	assert_string_equal(h.snapshot, "{\"dn\":\"x\"}");
	assert_string_equal(h.rid, "A-1");
	assert_string_equal(h.memory, "{\"m\":1}");
	assert_int_equal(h.link_state, LINK_DISABLED);
	assert_int_equal(h.link_revision, 4);
	assert_int_equal(h.applied.b[1], 8);
	assert_string_equal(h.ref_name, "manager");
	assert_string_equal(h.ref_rid, "B-1");
	assert_string_equal(redis_ask(&server, "HEXISTS " ANNA " f:app"), "0");
	assert_string_equal(redis_ask(&server, "ZCARD {dp:t}:live:app"), "0");
	assert_string_equal(redis_ask(&server, "HLEN {dp:t}:flight:app"), "1");
	close_store(&h);
}

/* An account that was deleted at the target is no one's manager there. */
static void test_dispatch_names_no_deleted_reference(void **state)
{
	struct queue_effect effects[4];
	struct queue_page page;
	struct queue_effect *e;
	struct host h;

	(void)state;
	open_store(&h);
	first_page(&h);
	page_begin(&h, &page, effects);
	e = put(&page, QUEUE_PUT_LINK);
	e->user = boss;
	e->target = 0;
	e->rid = SLICE("B-1");
	e->link_state = LINK_DELETED;
	put_entry(&page, QUEUE_DISPATCH, QUEUE_FLIGHT, QUEUE_DUE);
	assert_true(write_page(&h, &page));
	assert_int_equal(h.tasks_n, 1);
	assert_string_equal(h.ref_name, "manager");
	assert_string_equal(h.ref_rid, "");
	close_store(&h);
}

/* Many users in one page; of what is said of one of them the last word counts. */
static void test_many_users_in_one_page(void **state)
{
	enum { MANY = 1200 };
	static struct queue_effect effects[2 * MANY + 4];
	struct queue_page page;
	struct host h;

	(void)state;
	open_store(&h);
	page_begin(&h, &page, effects);
	for (uint32_t i = 0; i < MANY; i++) {
		struct id user = {{0x40, (uint8_t)(i >> 8), (uint8_t)i}};

		put_entry(&page, QUEUE_PUT_ENTRY, QUEUE_DUE, QUEUE_CLEAN);
		page.effects[page.effects_n - 1].user = user;
		if (i % 2) /* and off again */
			continue;
		put_entry(&page, QUEUE_PUT_ENTRY, QUEUE_CLEAN, QUEUE_DUE);
		page.effects[page.effects_n - 1].user = user;
	}
	/* to the target and back */
	put_entry(&page, QUEUE_DISPATCH, QUEUE_FLIGHT, QUEUE_DUE);
	put(&page, QUEUE_DEL_LEASE)->target = 0;
	assert_true(write_page(&h, &page));
	assert_string_equal(redis_ask(&server, "ZCARD {dp:t}:live:app"), "600");
	assert_string_equal(redis_ask(&server, "HLEN {dp:t}:flight:app"), "0");
	assert_string_equal(redis_ask(&server, "ZSCORE {dp:t}:live:app %b",
				      "\x40\x04\xaf\0\0\0\0\0\0\0\0\0\0\0\0\0", (size_t)16),
			    "1000");
	assert_string_equal(redis_ask(&server, "HSTRLEN {dp:t}:user:400001"
					       "00-0000-0000-0000-000000000000 s:app"),
			    "62");
	close_store(&h);
}

static void test_page_and_dispatch_in_one(void **state)
{
	struct queue_effect effects[4];
	struct queue_page page;
	struct host h;

	(void)state;
	open_store(&h);
	page_begin(&h, &page, effects);
	put_user(&page, &anna, NULL);
	put_entry(&page, QUEUE_DISPATCH, QUEUE_FLIGHT, QUEUE_CLEAN);
	assert_true(write_page(&h, &page));
	assert_string_equal(h.snapshot, "{\"dn\":\"x\"}");
	assert_string_equal(h.rid, "");
	assert_true(fp_is_none(&h.applied));
	close_store(&h);
}

/* Several under way: in order, and only the first failure counts. */
static void test_pages_under_way(void **state)
{
	struct queue_effect effects[3][4];
	struct queue_page pages[3];
	struct host h;

	(void)state;
	open_store(&h);
	h.stop_after = 3;
	for (size_t i = 0; i < 3; i++) {
		page_begin(&h, &pages[i], effects[i]);
		put_user(&pages[i], &anna, NULL);
		store_write(h.store, &pages[i]);
	}
	assert_int_equal(store_under_way(h.store), 3);
	run();
	assert_int_equal(h.written, 3);
	assert_ptr_equal(h.page, &pages[2]);
	assert_int_equal(store_under_way(h.store), 0);
	assert_string_equal(redis_ask(&server, "GET {dp:t}:page"), "3");
	close_store(&h);
}

static void test_other_epoch_is_fenced(void **state)
{
	struct host h;

	(void)state;
	open_store(&h);
	redis_ask(&server, "SET {dp:t}:epoch %s", "9999999999999 00000000000000ab 1 - -");
	refused_page(&h, "FENCED epoch");
	/* Ours again, above what somebody else took. */
	await(&h, STORE_READY);
	assert_true(h.epoch.number >= 10000000000000);
	close_store(&h);
}

static void test_other_nonce_is_fenced(void **state)
{
	struct host h;
	char epoch[128];

	(void)state;
	open_store(&h);
	snprintf(epoch, sizeof(epoch), "%llu 00000000000000ab 1 - -",
		 (unsigned long long)h.epoch.number);
	redis_ask(&server, "SET {dp:t}:epoch %s", epoch);
	refused_page(&h, "FENCED epoch");
	close_store(&h);
}

static void test_other_page_is_fenced(void **state)
{
	struct host h;

	(void)state;
	open_store(&h);
	redis_ask(&server, "SET {dp:t}:page 5");
	refused_page(&h, "FENCED page");
	close_store(&h);
}

/* The very same call a second time, as a proxy might send it. */
static void test_replayed_page_changes_nothing(void **state)
{
	struct host h;
	char function[64];
	struct slice name = store_function("page");

	(void)state;
	open_store(&h);
	first_page(&h);
	snprintf(function, sizeof(function), "%.*s", (int)name.n, name.p);
	assert_memory_equal(
		redis_ask(&server,
			  "FCALL %s 2 {dp:t}:epoch {dp:t}:page %s 0 1 2 DEL {dp:t}:cursor:corp",
			  function, h.store->fence),
		"FENCED", 6);
	assert_string_equal(redis_ask(&server, "EXISTS {dp:t}:cursor:corp"), "1");
	close_store(&h);
}

static void test_foreign_type_leaves_nothing_half_written(void **state)
{
	struct queue_effect effects[8];
	struct queue_page page;
	struct queue_effect *e;
	struct host h;

	(void)state;
	open_store(&h);
	redis_ask(&server, "SET {dp:t}:stuck:app foreign");
	page_begin(&h, &page, effects);
	put_user(&page, &anna, NULL);
	put_entry(&page, QUEUE_PUT_ENTRY, QUEUE_DEAD, QUEUE_CLEAN);
	e = put(&page, QUEUE_PUT_STUCK);
	e->target = 0;
	e->detail = SLICE("{\"kind\":\"dead\"}");
	h.wanted = STORE_DOWN;
	store_write(h.store, &page);
	run();
	assert_non_null(strstr(h.why, "WRONGTYPE {dp:t}:stuck:app"));
	assert_string_equal(redis_ask(&server, "EXISTS " ANNA), "0");
	assert_string_equal(redis_ask(&server, "EXISTS {dp:t}:page"), "0");
	close_store(&h);
}

static void user_and_cursor(struct host *h, struct queue_page *page, struct queue_effect *effects)
{
	struct queue_effect *e;

	page_begin(h, page, effects);
	put_user(page, &anna, NULL);
	put_entry(page, QUEUE_PUT_ENTRY, QUEUE_DUE, QUEUE_CLEAN);
	e = put(page, QUEUE_PUT_CURSOR);
	e->source = 0;
	e->cookie = SLICE("behind");
}

/* Written over while the broker runs: the page ends before its cursor, and is done again after the load. */
static void test_foreign_user_leaves_the_cursor_behind(void **state)
{
	struct queue_effect effects[8];
	struct queue_page page;
	struct host h;

	(void)state;
	open_store(&h);
	redis_ask(&server, "SET " ANNA " foreign");
	user_and_cursor(&h, &page, effects);
	h.wanted = STORE_DOWN;
	store_write(h.store, &page);
	run();
	assert_non_null(strstr(h.why, "WRONGTYPE"));
	assert_string_equal(redis_ask(&server, "EXISTS {dp:t}:page {dp:t}:cursor:corp"), "0");
	await(&h, STORE_READY);
	assert_int_equal(store_quarantined(h.store), 1);
	user_and_cursor(&h, &page, effects);
	assert_true(write_page(&h, &page));
	assert_string_equal(redis_ask(&server, "HGET {dp:t}:cursor:corp cookie"), "behind");
	assert_string_equal(redis_ask(&server, "TYPE " ANNA), "hash");
	close_store(&h);
}

static void put_rid(struct queue_page *page, enum queue_effect_kind kind, const struct id *user,
		    struct slice rid)
{
	struct queue_effect *e = put(page, kind);

	e->target = 0;
	e->user = *user;
	e->rid = rid;
}

static void test_a_claim_is_never_written_over(void **state)
{
	struct queue_effect effects[8];
	struct queue_page page;
	struct host h;

	(void)state;
	open_store(&h);
	page_begin(&h, &page, effects);
	put_rid(&page, QUEUE_PUT_RID, &anna, SLICE("R-1"));
	put_rid(&page, QUEUE_PUT_RID, &boss, SLICE("R-1"));
	put_rid(&page, QUEUE_PUT_RID, &anna, SLICE("R-2"));
	assert_true(write_page(&h, &page));
	page_begin(&h, &page, effects);
	put_rid(&page, QUEUE_PUT_RID, &boss, SLICE("R-1"));
	put_rid(&page, QUEUE_DEL_RID, &anna, SLICE("R-2")); /* in this order */
	put_rid(&page, QUEUE_PUT_RID, &boss, SLICE("R-2"));
	put_rid(&page, QUEUE_PUT_RID, &boss, SLICE("R-3"));
	assert_true(write_page(&h, &page));
	assert_string_equal(redis_ask(&server, "HGET {dp:t}:rid:app R-1"), "\x01\x02\x03");
	assert_string_equal(redis_ask(&server, "HGET {dp:t}:rid:app R-2"), "\x09\x09\x09");
	assert_string_equal(redis_ask(&server, "HGET {dp:t}:rid:app R-3"), "\x09\x09\x09");
	close_store(&h);
}

static void test_load_returns_what_was_written(void **state)
{
	struct queue_effect effects[16];
	struct queue_page page, load = {0};
	struct queue_entry_row row;
	struct queue_counts c;
	struct queue_effect *e;
	struct host h;

	(void)state;
	open_store(&h);
	first_page(&h);
	page_begin(&h, &page, effects);
	put_entry(&page, QUEUE_PUT_ENTRY, QUEUE_PARKED, QUEUE_DUE);
	e = put(&page, QUEUE_PUT_STUCK);
	e->target = 0;
	e->detail = SLICE("{\"kind\":\"parked\",\"reason\":\"no_seat\"}");
	e = put(&page, QUEUE_PUT_HELD);
	e->target = 0;
	e->held = (struct queue_held_row){anna, SLICE("disable"), SLICE(""), QUEUE_HELD, 5};
	e = put(&page, QUEUE_PUT_PAUSE);
	e->target = 1;
	e->pause = (struct queue_pause_row){QUEUE_BY_OPERATOR, 0, 0, 4, SLICE("maintenance")};
	e = put(&page, QUEUE_PUT_WAITER);
	e->target = 0;
	e->of = boss;
	assert_true(write_page(&h, &page));
	close_store(&h);

	open_store(&h);
	assert_false(h.lost_tail);
	queue_page_begin(h.queue, &load, store_epoch(h.store).number, store_next_page(h.store),
			 clock_boot_ms(), clock_unix_ms());
	queue_loaded(h.queue, &load, h.lost_tail, h.emptied, 0);
	assert_int_equal(store_next_page(h.store), 3);
	assert_int_equal(queue_users(h.queue, 0), 2);
	assert_int_equal(queue_peek(h.queue, 0, &anna, &row), 0);
	assert_int_equal(row.state, QUEUE_PARKED);
	assert_int_equal(row.want, 3);
	assert_true(row.in);
	queue_counts(h.queue, 0, &c);
	assert_int_equal(c.held, 1);
	assert_int_equal(c.states[QUEUE_PARKED], 1);
	queue_counts(h.queue, 1, &c);
	assert_int_equal(c.pause, QUEUE_BY_OPERATOR);
	assert_true(slice_is(queue_pause_why(h.queue, 1), "maintenance"));
	queue_check(h.queue);
	queue_page_done(&load);
	close_store(&h);
}

/* The boss is in the scope of app, and no page said so to the queue; then neither is, and app still thinks so. */
static void test_load_queues_what_a_target_missed(void **state)
{
	struct queue_effect effects[16];
	struct queue_page page, load = {0};
	struct queue_entry_row row;
	struct host h;

	(void)state;
	open_store(&h);
	first_page(&h);
	page_begin(&h, &page, effects);
	put_entry(&page, QUEUE_PUT_ENTRY, QUEUE_CLEAN, QUEUE_DUE);
	page.effects[0].entry.touched = true;
	put_user(&page, &anna, NULL);
	page.effects[1].row.gone = true;
	page.effects[1].row.in = (struct wire_list){0};
	assert_true(write_page(&h, &page));
	close_store(&h);

	open_store(&h);
	queue_page_begin(h.queue, &load, store_epoch(h.store).number, store_next_page(h.store),
			 clock_boot_ms(), clock_unix_ms());
	queue_loaded(h.queue, &load, h.lost_tail, h.emptied, 0);
	assert_int_equal(queue_peek(h.queue, 0, &boss, &row), 0);
	assert_int_equal(row.state, QUEUE_DUE);
	assert_true(row.in);
	assert_int_equal(queue_peek(h.queue, 1, &boss, &row), -ENOENT);
	assert_int_equal(queue_peek(h.queue, 0, &anna, &row), 0);
	assert_int_equal(row.state, QUEUE_DUE);
	assert_false(row.in);
	queue_check(h.queue);
	queue_page_done(&load);
	close_store(&h);
}

/* Anna is parked, and left the scope of app while nobody had app in the configuration: nobody else would wake her. */
static void test_load_wakes_who_is_stuck_and_moved(void **state)
{
	struct queue_effect effects[16];
	struct queue_page page, load = {0};
	struct queue_entry_row row;
	struct host h;

	(void)state;
	open_store(&h);
	first_page(&h);
	page_begin(&h, &page, effects);
	put_entry(&page, QUEUE_PUT_ENTRY, QUEUE_PARKED, QUEUE_DUE);
	page.effects[0].entry.touched = true;
	put_user(&page, &anna, NULL);
	page.effects[1].row.in = (struct wire_list){0};
	assert_true(write_page(&h, &page));
	close_store(&h);

	open_store(&h);
	queue_page_begin(h.queue, &load, store_epoch(h.store).number, store_next_page(h.store),
			 clock_boot_ms(), clock_unix_ms());
	queue_loaded(h.queue, &load, h.lost_tail, h.emptied, 0);
	assert_int_equal(queue_peek(h.queue, 0, &anna, &row), 0);
	assert_int_equal(row.state, QUEUE_DUE);
	assert_false(row.in);
	queue_page_done(&load);
	close_store(&h);
}

static void test_broken_record_is_set_aside(void **state)
{
	struct host h;

	(void)state;
	open_store(&h);
	first_page(&h);
	close_store(&h);
	redis_ask(&server, "HSET " ANNA " s:app %b", "\x09garbage", (size_t)8);
	open_store(&h);
	assert_int_equal(store_quarantined(h.store), 1);
	assert_int_equal(queue_users(h.queue, 0), 1);
	assert_string_equal(redis_ask(&server, "EXISTS " ANNA), "0");
	assert_string_equal(
		redis_ask(&server,
			  "HSTRLEN {dp:t}:quarantine:user:01020300-0000-0000-0000-000000000000 "
			  "s:app"),
		"8");
	close_store(&h);
}

static void test_newer_format_is_refused(void **state)
{
	struct host h = {0};

	(void)state;
	redis_ask(&server, "SET {dp:t}:epoch %s", "5 00000000000000ab 2 - -");
	open_conf(&h, true, 3000);
	await(&h, STORE_DOWN);
	assert_non_null(strstr(h.why, "newer dirpipe"));
	assert_string_equal(redis_ask(&server, "GET {dp:t}:epoch"), "5 00000000000000ab 2 - -");
	close_store(&h);
}

/* Killed and started again: another run_id, so that the tail may be lost, until all has caught up. */
static char text[8192];

static void on_text(void *arg, bool ok, struct slice json)
{
	(void)arg;
	assert_true(ok);
	snprintf(text, sizeof(text), "%.*s", (int)json.n, json.p ? json.p : "");
	loop_stop(t.loop);
}

static void test_reads_for_people(void **state)
{
	struct host h;

	(void)state;
	open_store(&h);
	first_page(&h);
	store_user_json(h.store, &anna, on_text, NULL);
	run();
	assert_non_null(strstr(text, "\"manager\":\"09090900-0000-0000-0000-000000000000\""));
	assert_non_null(strstr(text, "\"rid\":\"A-1\""));
	assert_non_null(strstr(text, "\"state\":\"due\""));
	assert_non_null(strstr(text, "\"snapshot\":{\"dn\":\"x\"}"));
	store_user_json(h.store, &(struct id){{42}}, on_text, NULL);
	run();
	assert_string_equal(text, "");
	store_log_json(h.store, 10, on_text, NULL);
	run();
	assert_string_equal(text, "[]");
	close_store(&h);
}

static void test_the_dead_are_listed_among_the_parked(void **state)
{
	static struct queue_effect effects[602];
	struct queue_page page;
	struct queue_effect *e;
	struct host h;

	(void)state;
	open_store(&h);
	page_begin(&h, &page, effects);
	for (unsigned i = 0; i <= 600; i++) {
		e = put(&page, QUEUE_PUT_STUCK);
		e->target = 0;
		e->user = (struct id){{7, (uint8_t)(i >> 8), (uint8_t)i}};
		e->detail =
			i == 300 ? SLICE("{\"kind\":\"dead\"}") : SLICE("{\"kind\":\"parked\"}");
	}
	assert_true(write_page(&h, &page));
	store_stuck_json(h.store, "app", "dead", 5, on_text, NULL);
	run();
	assert_string_equal(text, "[{\"user\":\"07012c00-0000-0000-0000-000000000000\",\"stuck\":"
				  "{\"kind\":\"dead\"}}]");
	store_stuck_json(h.store, "app", "parked", 5, on_text, NULL);
	run();
	assert_non_null(strstr(text, "parked"));
	assert_null(strstr(text, "dead"));
	close_store(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_page_is_applied),
		TEST(test_dispatch_gives_what_the_task_carries),
		TEST(test_dispatch_names_no_deleted_reference),
		TEST(test_page_and_dispatch_in_one),
		TEST(test_many_users_in_one_page),
		TEST(test_pages_under_way),
		TEST(test_other_epoch_is_fenced),
		TEST(test_other_nonce_is_fenced),
		TEST(test_other_page_is_fenced),
		TEST(test_replayed_page_changes_nothing),
		TEST(test_foreign_type_leaves_nothing_half_written),
		TEST(test_foreign_user_leaves_the_cursor_behind),
		TEST(test_a_claim_is_never_written_over),
		TEST(test_load_returns_what_was_written),
		TEST(test_load_queues_what_a_target_missed),
		TEST(test_load_wakes_who_is_stuck_and_moved),
		TEST(test_broken_record_is_set_aside),
		TEST(test_newer_format_is_refused),
		TEST(test_reads_for_people),
		TEST(test_the_dead_are_listed_among_the_parked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
