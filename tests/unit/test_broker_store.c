/* The store against a real Redis: pages, fences, loads, take-over. Effects are made by hand; the engine is the real one. */
#include "loop_fixture.h"
#include "redis_fixture.h"
#include "store_redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static const char *const targets[] = {"app", "crm"};
static const char *const sources[] = {"corp"};

struct host {
	struct store *store;
	struct queue *queue;
	enum store_state state, wanted;
	bool lost_tail, emptied;
	char why[512];
	unsigned states, written, stop_after;
	struct queue_page *page; /* last written */
	/* of the last written page's first task */
	size_t tasks_n;
	char source[32], snapshot[64], rid[64], memory[64], ref_rid[64], ref_name[32];
	uint8_t link_state;
	uint64_t link_revision;
	struct fp applied;
	struct wire_epoch epoch;
};

static struct redis_server server;

static void on_state(void *arg, enum store_state state, const char *why, bool lost_tail,
		     bool emptied)
{
	struct host *h = arg;

	h->state = state;
	h->lost_tail = lost_tail;
	h->emptied = emptied;
	h->states++;
	snprintf(h->why, sizeof(h->why), "%s", why);
	if (state == h->wanted)
		loop_stop(t.loop);
}

static struct queue *fresh(void *arg, struct wire_epoch epoch)
{
	static const struct queue_conf conf = {
		.lease_ms = 30000, .grace_ms = 5000, .verify_after_ms = 1000};
	struct host *h = arg;

	h->epoch = epoch;
	queue_free(h->queue);
	h->queue = queue_new(&conf, 1);
	for (size_t i = 0; i < 2; i++)
		queue_target_add(h->queue, &(struct queue_target_conf){.name = targets[i],
								       .concurrency = 8,
								       .retry_first_ms = 1000,
								       .retry_cap_ms = 1000,
								       .dead_after_ms = 1000});
	queue_source_add(h->queue, sources[0]);
	return h->queue;
}

static void copy(char *to, size_t most, struct slice from)
{
	snprintf(to, most, "%.*s", (int)from.n, from.p ? from.p : "");
}

static void on_written(void *arg, struct queue_page *page, const struct store_task *tasks, size_t n)
{
	struct host *h = arg;
	struct wire_rid rid;

	h->page = page;
	h->tasks_n = n;
	if (n > 0) {
		struct wire_list rids = tasks[0].rids;

		copy(h->source, sizeof(h->source), tasks[0].source);
		copy(h->snapshot, sizeof(h->snapshot), tasks[0].snapshot);
		copy(h->rid, sizeof(h->rid), tasks[0].rid);
		copy(h->memory, sizeof(h->memory), tasks[0].memory);
		h->link_state = tasks[0].link_state;
		h->link_revision = tasks[0].link_revision;
		h->applied = tasks[0].applied;
		h->ref_rid[0] = h->ref_name[0] = '\0';
		if (wire_next_rid(&rids, &rid)) {
			copy(h->ref_rid, sizeof(h->ref_rid), rid.rid);
			copy(h->ref_name, sizeof(h->ref_name), rid.name);
		}
	}
	if (++h->written == h->stop_after)
		loop_stop(t.loop);
}

static int replicas;

static void open_conf(struct host *h, bool always, int64_t ttl_ms)
{
	const struct store_conf conf = {
		.realm = "t",
		.redis = {.url = server.url, .connect_timeout_ms = 5000, .call_timeout_ms = 5000},
		.fsync_always = always,
		.active_ttl_ms = ttl_ms,
		.replicas = replicas,
		.targets = targets,
		.sources = sources,
		.targets_n = 2,
		.sources_n = 1,
	};
	const struct store_host host = {
		.arg = h, .state = on_state, .fresh = fresh, .written = on_written};

	h->store = store_new(t.loop, &conf, &host);
}

static void await(struct host *h, enum store_state state)
{
	h->wanted = state;
	if (h->state != state || h->states == 0)
		run();
	assert_int_equal(h->state, state);
}

static void open_store(struct host *h)
{
	memset(h, 0, sizeof(*h));
	h->state = STORE_DOWN;
	open_conf(h, true, 3000);
	await(h, STORE_READY);
}

static void close_store(struct host *h)
{
	store_free(h->store);
	queue_free(h->queue);
	h->store = NULL;
	h->queue = NULL;
}

/* ---- pages made by hand ---- */

static const struct id anna = {{1, 2, 3}}, boss = {{9, 9, 9}};
#define ANNA "{dp:t}:user:01020300-0000-0000-0000-000000000000"
#define BOSS "{dp:t}:user:09090900-0000-0000-0000-000000000000"

static struct queue_effect *put(struct queue_page *page, enum queue_effect_kind kind)
{
	struct queue_effect *e = &page->effects[page->effects_n++];

	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->source = QUEUE_NOBODY;
	e->target = QUEUE_NOBODY;
	e->user = anna;
	return e;
}

static void page_begin(struct host *h, struct queue_page *page, struct queue_effect *effects)
{
	*page = (struct queue_page){.epoch = store_epoch(h->store).number,
				    .number = store_next_page(h->store),
				    .effects = effects};
}

static void put_user(struct queue_page *page, const struct id *id, const struct wire_list *refs)
{
	static struct buf in;
	struct queue_effect *e = put(page, QUEUE_PUT_USER);

	buf_clear(&in);
	wire_add_name(&in, &(struct wire_name){SLICE("app")});
	e->user = *id;
	e->row = (struct queue_user_row){.id = *id,
					 .source = SLICE("corp"),
					 .version = 7,
					 .fingerprint = {{5}},
					 .in = wire_list_of(&in, 1),
					 .groups = SLICE("G"),
					 .snapshot = SLICE("{\"dn\":\"x\"}")};
	if (refs)
		e->row.refs = *refs;
}

static void put_entry(struct queue_page *page, enum queue_effect_kind kind, uint8_t state,
		      uint8_t old)
{
	struct queue_effect *e = put(page, kind);

	e->target = 0;
	e->old_state = old;
	e->entry = (struct queue_entry_row){
		.state = state, .in = true, .want = 3, .since_unix_ms = 1000};
	if (kind == QUEUE_DISPATCH)
		e->lease = (struct queue_lease){.epoch = page->epoch,
						.page = page->number,
						.worker = 77,
						.want = 3,
						.version = 7,
						.stamp_ms = 5,
						.deadline_unix_ms = 9};
}

/* Hands the page over and waits until it is written; false: the store left READY instead. */
static bool write_page(struct host *h, struct queue_page *page)
{
	h->stop_after = h->written + 1;
	h->wanted = STORE_STATES;
	store_write(h->store, page);
	run();
	return h->page == page;
}

static void first_page(struct host *h)
{
	struct queue_effect effects[16];
	struct queue_page page;
	CLEANUP(buf_cleanup) struct buf refs = {0};
	struct queue_effect *e;
	struct wire_list list;

	wire_add_ref(&refs, &(struct wire_ref){SLICE("manager"), boss});
	list = wire_list_of(&refs, 1);
	page_begin(h, &page, effects);
	put_entry(&page, QUEUE_PUT_ENTRY, QUEUE_DUE, QUEUE_CLEAN);
	put_user(&page, &anna, &list);
	put_user(&page, &boss, NULL);
	e = put(&page, QUEUE_PUT_LINK);
	e->user = boss;
	e->target = 0;
	e->rid = SLICE("B-1");
	e->link_state = LINK_ACTIVE;
	e = put(&page, QUEUE_PUT_LINK);
	e->target = 0;
	e->rid = SLICE("A-1");
	e->memory = SLICE("{\"m\":1}");
	e->link_state = LINK_DISABLED;
	e->link_revision = 4;
	e = put(&page, QUEUE_PUT_APPLIED);
	e->target = 0;
	e->fp = (struct fp){{8, 8}};
	e = put(&page, QUEUE_PUT_RID);
	e->target = 0;
	e->rid = SLICE("A-1");
	e = put(&page, QUEUE_PUT_CURSOR);
	e->source = 0;
	e->cookie = (struct slice){"c\0k", 3};
	e->server = SLICE("s");
	e->config = (struct fp){{6}};
	e = put(&page, QUEUE_PUT_SESSION);
	e->source = 0;
	e->session = 2;
	e->batch = 11;
	assert_true(write_page(h, &page));
}

/* ---- tests ---- */

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

static void refused_page(struct host *h, const char *word)
{
	struct queue_effect effects[4];
	struct queue_page page;
	const char *stored = redis_ask(&server, "GET {dp:t}:page");
	const struct id nobody = {{0x66}};

	page_begin(h, &page, effects);
	put_user(&page, &nobody, NULL);
	h->page = NULL;
	h->wanted = STORE_STANDBY;
	store_write(h->store, &page);
	run();
	assert_null(h->page);
	assert_non_null(strstr(h->why, word));
	assert_string_equal(
		redis_ask(&server, "EXISTS {dp:t}:user:66000000-0000-0000-0000-000000000000"), "0");
	assert_string_equal(redis_ask(&server, "GET {dp:t}:page"), stored);
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
static void test_new_server_process_is_told(void **state)
{
	struct host h;
	uint64_t before;

	(void)state;
	open_store(&h);
	first_page(&h);
	before = h.epoch.number;
	h.wanted = STORE_DOWN;
	redis_server_kill(&server);
	run();
	redis_server_start(&server, "yes", "noeviction");
	await(&h, STORE_READY);
	assert_true(h.lost_tail);
	assert_true(h.epoch.number > before);
	assert_string_equal(redis_ask(&server, "EXISTS " ANNA), "1");
	/* The new process rewrote its file before it got work. */
	assert_null(strstr(redis_ask(&server, "INFO persistence"), "aof_last_rewrite_time_sec:-1"));
	close_store(&h);
	/* Not settled: it is said again. */
	open_store(&h);
	assert_true(h.lost_tail);
	store_settled(h.store);
	first_page(&h);
	close_store(&h);
	open_store(&h);
	assert_false(h.lost_tail);
	close_store(&h);
}

static void test_rewrite_before_work(void **state)
{
	struct host h;
	const char *info;

	(void)state;
	open_store(&h);
	info = redis_ask(&server, "INFO persistence");
	assert_non_null(strstr(info, "aof_rewrite_in_progress:0"));
	assert_null(strstr(info, "aof_last_rewrite_time_sec:-1"));
	close_store(&h);
}

static void test_emptied_store_is_told(void **state)
{
	struct host h;
	uint64_t before;

	(void)state;
	open_store(&h);
	first_page(&h);
	before = h.epoch.number;
	close_store(&h);
	redis_ask(&server, "FLUSHALL");
	open_store(&h);
	assert_false(h.emptied); /* nobody has told yet */
	h.wanted = STORE_READY;
	store_epoch_seen(h.store, before);
	assert_int_equal(h.state, STORE_DOWN);
	run();
	assert_true(h.emptied);
	assert_true(h.lost_tail);
	close_store(&h);
	/* Until it is settled every load says so. */
	open_store(&h);
	assert_true(h.emptied);
	close_store(&h);
}

static void test_own_and_older_epochs_are_nothing_new(void **state)
{
	struct host h;
	uint64_t before;

	(void)state;
	open_store(&h);
	before = h.epoch.number;
	close_store(&h);
	open_store(&h);
	store_epoch_seen(h.store, before);
	store_epoch_seen(h.store, h.epoch.number);
	store_epoch_seen(h.store, 1);
	assert_int_equal(h.state, STORE_READY);
	close_store(&h);
}

static void test_higher_epoch_is_outbid(void **state)
{
	struct host h;
	uint64_t high;

	(void)state;
	open_store(&h);
	high = h.epoch.number + 1000000;
	h.wanted = STORE_READY;
	store_epoch_seen(h.store, high);
	run();
	assert_int_equal(h.epoch.number, high + 1);
	assert_true(h.emptied);
	close_store(&h);
}

static void release_done(void *arg)
{
	(void)arg;
	loop_stop(t.loop);
}

static void test_standby_takes_over(void **state)
{
	struct host a, b = {0};

	(void)state;
	open_store(&a);
	first_page(&a);
	open_conf(&b, true, 1000);
	await(&b, STORE_STANDBY);
	store_release(a.store, release_done, NULL);
	run();
	b.wanted = STORE_READY;
	if (b.state != STORE_READY)
		run();
	assert_true(b.epoch.number > a.epoch.number);
	assert_int_equal(queue_users(b.queue, 0), 2);
	refused_page(&a, "FENCED epoch");
	close_store(&a);
	close_store(&b);
}

/* A name of this host and boot for another process; PX far beyond the test. */
static void hold_as(pid_t pid, bool elsewhere)
{
	CLEANUP(buf_cleanup) struct buf command = {0};
	char name[96], *place, *rest;

	store_holder_name(name, sizeof(name));
	place = strchr(strchr(name, '/') + 1, '/');
	rest = strchr(name, '/');
	*rest = '\0';
	if (elsewhere)
		place[1] = place[1] == '0' ? '1' : '0';
	buf_addf(&command, "SET {dp:t}:active %s/%d%s PX 600000", name, (int)pid, place);
	redis_ask(&server, command.p);
}

static void test_killed_broker_is_not_waited_for(void **state)
{
	struct host b = {0}, c = {0};
	pid_t dead = fork();

	(void)state;
	if (dead == 0)
		_exit(0);
	assert_int_equal(waitpid(dead, NULL, 0), dead);
	/* one that lives, and one of which nothing is known */
	hold_as(getppid(), false);
	open_conf(&b, true, 1000);
	await(&b, STORE_STANDBY);
	close_store(&b);
	hold_as(dead, true);
	open_conf(&c, true, 1000);
	await(&c, STORE_STANDBY);
	close_store(&c);
	hold_as(dead, false);
	open_conf(&c, true, 1000);
	await(&c, STORE_READY);
	close_store(&c);
}

static void test_silent_broker_is_replaced(void **state)
{
	struct host b = {0};

	(void)state;
	redis_ask(&server, "SET {dp:t}:active other/1/ab PX 400");
	open_conf(&b, true, 1000);
	await(&b, STORE_STANDBY);
	await(&b, STORE_READY);
	close_store(&b);
}

static void refused_server(const char *setting, const char *value, const char *word, bool always)
{
	struct host h = {0};

	redis_ask(&server, "CONFIG SET %s %s", setting, value);
	open_conf(&h, always, 3000);
	await(&h, STORE_DOWN);
	assert_non_null(strstr(h.why, word));
	assert_string_equal(redis_ask(&server, "EXISTS {dp:t}:epoch"), "0");
	close_store(&h);
}

static void test_wrong_server_is_refused(void **state)
{
	(void)state;
	refused_server("appendfsync", "everysec", "appendfsync", true);
	refused_server("appendfsync", "no", "appendfsync", false);
	redis_ask(&server, "CONFIG SET appendfsync always");
	refused_server("maxmemory-policy", "allkeys-lru", "noeviction", true);
	redis_ask(&server, "CONFIG SET maxmemory-policy noeviction");
	refused_server("appendonly", "no", "appendonly", true);
}

/* A port that was free a moment ago. */
static int free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	close(fd);
	return ntohs(at.sin_port);
}

static pid_t replica_start(int port)
{
	char text[16], path[96];
	pid_t pid;

	snprintf(text, sizeof(text), "%d", port);
	snprintf(path, sizeof(path), "%s/replica.sock", server.dir);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--dir",
		       server.dir, "--dbfilename", "replica.rdb", "--save", "", "--logfile",
		       "replica.log", "--replicaof", "127.0.0.1", text, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void give_up_waiting(void *arg)
{
	(void)arg;
	loop_stop(t.loop);
}

/* Stored on the master alone is not written; with the replica there it is, and the tasks are whole. */
static void test_page_waits_for_the_replica(void **state)
{
	struct queue_effect effects[4];
	struct queue_page page;
	struct loop_timer *pause;
	struct host h;
	int port = free_port();
	pid_t replica;

	(void)state;
	redis_ask(&server, "CONFIG SET port %d", port);
	redis_ask(&server, "CONFIG SET repl-diskless-sync-delay 0");
	replicas = 1;
	open_store(&h);
	page_begin(&h, &page, effects);
	put_user(&page, &anna, NULL);
	put_entry(&page, QUEUE_DISPATCH, QUEUE_FLIGHT, QUEUE_CLEAN);
	store_write(h.store, &page);
	pause = loop_timer_new(t.loop, give_up_waiting, NULL);
	loop_timer_set(pause, 1200); /* more than two WAITs */
	run();
	assert_string_equal(redis_ask(&server, "GET {dp:t}:page"), "1");
	assert_int_equal(h.written, 0);
	assert_int_equal(store_under_way(h.store), 1);
	replica = replica_start(port);
	h.stop_after = 1;
	run();
	assert_ptr_equal(h.page, &page);
	assert_int_equal(h.tasks_n, 1);
	assert_string_equal(h.snapshot, "{\"dn\":\"x\"}");
	assert_string_equal(h.source, "corp");
	loop_timer_free(pause);
	close_store(&h);
	replicas = 0;
	kill(replica, SIGKILL);
	waitpid(replica, NULL, 0);
}

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

static int begin_test(void **state)
{
	redis_server_start(&server, "yes", "noeviction");
	return begin(state);
}

static int end_test(void **state)
{
	end(state);
	redis_server_end(&server);
	memset(&server, 0, sizeof(server));
	return 0;
}

/* Among many parked ones the dead one is found, though a list is asked for in small pieces. */
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

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin_test, end_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_page_is_applied),
		TEST(test_dispatch_gives_what_the_task_carries),
		TEST(test_page_and_dispatch_in_one),
		TEST(test_many_users_in_one_page),
		TEST(test_pages_under_way),
		TEST(test_other_epoch_is_fenced),
		TEST(test_other_nonce_is_fenced),
		TEST(test_other_page_is_fenced),
		TEST(test_replayed_page_changes_nothing),
		TEST(test_foreign_type_leaves_nothing_half_written),
		TEST(test_load_returns_what_was_written),
		TEST(test_load_queues_what_a_target_missed),
		TEST(test_broken_record_is_set_aside),
		TEST(test_newer_format_is_refused),
		TEST(test_new_server_process_is_told),
		TEST(test_rewrite_before_work),
		TEST(test_emptied_store_is_told),
		TEST(test_own_and_older_epochs_are_nothing_new),
		TEST(test_higher_epoch_is_outbid),
		TEST(test_standby_takes_over),
		TEST(test_killed_broker_is_not_waited_for),
		TEST(test_silent_broker_is_replaced),
		TEST(test_wrong_server_is_refused),
		TEST(test_page_waits_for_the_replica),
		TEST(test_reads_for_people),
		TEST(test_the_dead_are_listed_among_the_parked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
