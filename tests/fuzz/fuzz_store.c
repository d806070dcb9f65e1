/* Everything that Redis may answer while a broker takes over, loads, reads for people and writes (fake_redis.h). Whatever was taken in,
 * the engine that was filled with it goes through pages; what people read is JSON. */
#include "fake_redis.h"

#include "json.h"
#include "store_redis.h"

enum { ANSWERS = 400, NOW_MS = 1000000 };

static const char *const targets[] = {"app"}, *const sources[] = {"corp"};
static struct loop *loop;

struct world {
	struct store *store;
	struct queue *queue;
	bool ready, lost_tail, emptied;
	unsigned loads;
};

static void drop(void)
{
	loop_free(loop);
}

static struct queue *fresh(void *arg, struct wire_epoch epoch)
{
	struct world *w = arg;
	struct queue_conf conf = {.lease_ms = 5000, .grace_ms = 500, .verify_after_ms = 60000};
	struct queue_target_conf target = {.name = "app",
					   .concurrency = 64,
					   .guard_count = 5,
					   .guard_percent = 20,
					   .guard_most = 100,
					   .retry_first_ms = 10,
					   .retry_cap_ms = 100,
					   .dead_after_ms = 60000};

	must(epoch.number > 0 && epoch.nonce > 0);
	queue_free(w->queue);
	w->queue = queue_new(&conf, 1);
	queue_target_add(w->queue, &target);
	queue_source_add(w->queue, "corp");
	return w->queue;
}

static void state(void *arg, enum store_state state, const char *why, bool lost_tail, bool emptied)
{
	struct world *w = arg;

	must(state == STORE_READY || state == STORE_LOADING || *why);
	w->ready = state == STORE_READY;
	w->lost_tail = lost_tail;
	w->emptied = emptied;
}

static void stored_conf(void *arg, unsigned target, const struct fp *config)
{
	(void)arg;
	(void)config;
	must(target == 0);
}

static void written(void *arg, struct queue_page *page, const struct store_task *tasks,
		    size_t tasks_n)
{
	(void)arg;
	(void)page;
	(void)tasks;
	(void)tasks_n;
}

static void answer_all(void)
{
	for (int i = 0; i < ANSWERS && fake_answer(); i++)
		;
}

/* ---- the engine after a load ---- */

static void pages(struct world *w)
{
	struct queue_page page = {0};
	struct wire_ready ready = {.target = SLICE("app"),
				   .nonce = 7,
				   .credits = 10,
				   .batch = 5,
				   .clock_boot_ms = NOW_MS};
	int64_t now = NOW_MS;

	for (uint64_t n = 1; n <= 4; n++) {
		queue_page_begin(w->queue, &page, store_epoch(w->store).number, n, now,
				 1764000000000 + now);
		if (n == 1)
			queue_loaded(w->queue, &page, w->lost_tail, w->emptied, 100);
		else if (n == 2)
			must(queue_ready(w->queue, &page, 1, 0, &ready) == 0);
		queue_page_end(w->queue, &page, 200);
		queue_page_done(&page);
		now += 60000;
	}
}

/* ---- what is read for others ---- */

static void known(void *arg, bool ok, const struct wire_known *rows, size_t n)
{
	(void)arg;
	must(ok || n == 0);
	for (size_t i = 0; i < n; i++) {
		struct wire_list in = rows[i].in;
		struct wire_name name;

		while (in.count > 0)
			must(wire_next_name(&in, &name));
	}
}

static void cursor(void *arg, bool ok, struct slice cookie, struct slice server, struct fp config)
{
	(void)arg;
	(void)config;
	must(ok || (cookie.n == 0 && server.n == 0));
}

static void json(void *arg, bool ok, struct slice text)
{
	cJSON *value = text.n > 0 ? json_parse(text, NULL) : NULL;

	(void)arg;
	must(!ok || text.n == 0 || value != NULL);
	cJSON_Delete(value);
}

static void reads(struct world *w)
{
	struct id id = {{1}};

	store_known(w->store, &id, 1, known, NULL);
	store_cursor(w->store, "corp", cursor, NULL);
	store_user_json(w->store, &id, json, NULL);
	store_stuck_json(w->store, "app", "dead", 10, json, NULL);
	store_people_json(w->store, &(struct store_people){&(struct id){{1}}, 1, "app", true}, json,
			  NULL);
	store_holds_json(w->store, "corp", json, NULL);
	store_log_json(w->store, 10, json, NULL);
	answer_all();
}

/* A page that hands out one user. */
static void page(struct world *w)
{
	struct queue_effect effect = {.kind = QUEUE_DISPATCH, .user = {{1}}};
	struct queue_page page = {
		.effects = &effect, .effects_n = 1, .number = store_next_page(w->store)};

	if (w->ready)
		store_write(w->store, &page);
	answer_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = {0};
	struct store_host host = {&w, state, fresh, stored_conf, written};
	struct store_conf conf = {.realm = "t",
				  .fsync_always = true,
				  .active_ttl_ms = 3000,
				  .targets = targets,
				  .sources = sources,
				  .targets_n = 1,
				  .sources_n = 1};

	if (!loop) {
		loop = loop_new();
		must(atexit(drop) == 0);
	}
	fake_input = (struct slice){(const char *)data, size};
	w.store = store_new(loop, &conf, &host);
	fake.state = REDIS_DOWN;
	answer_all();
	if (w.ready) {
		pages(&w);
		reads(&w);
		page(&w);
	}
	must(store_quarantined(w.store) <= size);
	store_free(w.store);
	queue_free(w.queue);
	uv_run(loop_uv(loop), UV_RUN_NOWAIT); /* closes the timers */
	return 0;
}
