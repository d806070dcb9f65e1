/* The store against a real Redis. Effects are made by hand; the engine is the real one. */
#ifndef DIRPIPE_STORE_FIXTURE_H
#define DIRPIPE_STORE_FIXTURE_H

#include "loop_fixture.h"
#include "redis_fixture.h"
#include "store_redis.h"

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

static inline void on_state(void *arg, enum store_state state, const char *why, bool lost_tail,
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

static inline struct queue *fresh(void *arg, struct wire_epoch epoch)
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

static inline void copy(char *to, size_t most, struct slice from)
{
	snprintf(to, most, "%.*s", (int)from.n, from.p ? from.p : "");
}

static inline void on_written(void *arg, struct queue_page *page, const struct store_task *tasks,
			      size_t n)
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

static inline void open_conf(struct host *h, bool always, int64_t ttl_ms)
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

static inline void await(struct host *h, enum store_state state)
{
	h->wanted = state;
	if (h->state != state || h->states == 0)
		run();
	assert_int_equal(h->state, state);
}

static inline void open_store(struct host *h)
{
	memset(h, 0, sizeof(*h));
	h->state = STORE_DOWN;
	open_conf(h, true, 3000);
	await(h, STORE_READY);
}

static inline void close_store(struct host *h)
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

static inline struct queue_effect *put(struct queue_page *page, enum queue_effect_kind kind)
{
	struct queue_effect *e = &page->effects[page->effects_n++];

	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->source = QUEUE_NOBODY;
	e->target = QUEUE_NOBODY;
	e->user = anna;
	return e;
}

static inline void page_begin(struct host *h, struct queue_page *page, struct queue_effect *effects)
{
	*page = (struct queue_page){.epoch = store_epoch(h->store).number,
				    .number = store_next_page(h->store),
				    .effects = effects};
}

static inline void put_user(struct queue_page *page, const struct id *id,
			    const struct wire_list *refs)
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

static inline void put_entry(struct queue_page *page, enum queue_effect_kind kind, uint8_t state,
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
static inline bool write_page(struct host *h, struct queue_page *page)
{
	h->stop_after = h->written + 1;
	h->wanted = STORE_STATES;
	store_write(h->store, page);
	run();
	return h->page == page;
}

static inline void first_page(struct host *h)
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

static inline void refused_page(struct host *h, const char *word)
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

static inline int begin_test(void **state)
{
	redis_server_start(&server, "yes", "noeviction");
	return begin(state);
}

static inline int end_test(void **state)
{
	end(state);
	redis_server_end(&server);
	memset(&server, 0, sizeof(server));
	return 0;
}

/* Among many parked ones the dead one is found, though a list is asked for in small pieces. */

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin_test, end_test)

#endif
