/* Peers against session, engine and a real Redis, over ipc: what they say and what they are answered. */
#include "loop_fixture.h"
#include "redis_fixture.h"
#include "session_impl.h"

static const char *const targets[] = {"app"};
static const char *const sources[] = {"corp"};

static struct redis_server server;
static struct session *session;
static char endpoint[96];
static struct queue_target_conf target_conf;

/* A dealer that keeps what it is told. */
struct fake {
	struct bus *bus;
	struct wire_epoch epoch;
	unsigned seen[WIRE_VERB_END];
	uint8_t awaited;
	struct buf body[WIRE_VERB_END]; /* last of each verb */
};

static void heard(void *arg, int rc, const struct bus_message *m)
{
	struct fake *f = arg;
	uint8_t verb = m->header.verb;

	assert_int_equal(rc, 0);
	if (m->header.epoch.number)
		f->epoch = m->header.epoch;
	f->seen[verb]++;
	buf_clear(&f->body[verb]);
	buf_add(&f->body[verb], m->body.p, m->body.n);
	if (verb == f->awaited)
		loop_stop(t.loop);
}

static void fake_open(struct fake *f)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	memset(f, 0, sizeof(*f));
	f->bus = bus_dealer_new(t.loop, (const char *[]){endpoint}, 1, NULL, heard, f, &why);
	assert_non_null(f->bus);
}

static void fake_close(struct fake *f)
{
	bus_free(f->bus);
	for (size_t i = 0; i < WIRE_VERB_END; i++)
		buf_done(&f->body[i]);
}

static void await(struct fake *f, uint8_t verb)
{
	f->awaited = verb;
	f->seen[verb] = 0;
	run();
	assert_int_equal(f->seen[verb], 1);
	f->awaited = 0;
}

#define SAY(fake, verb, ...)                                                                       \
	do {                                                                                       \
		CLEANUP(buf_cleanup) struct buf body_ = {0};                                       \
		struct wire_##verb w_ = {__VA_ARGS__};                                             \
		wire_put_##verb(&body_, &w_);                                                      \
		assert_int_equal(bus_send((fake)->bus, (struct slice){0}, WIRE_VERB_##verb,        \
					  (fake)->epoch, &body_),                                  \
				 0);                                                               \
	} while (0)
#define HEARD(fake, verb, to)                                                                      \
	assert_int_equal(wire_get_##verb(buf_slice(&(fake)->body[WIRE_VERB_##verb]), (to)), 0)

static void open_session(void)
{
	static const char *endpoints[1];
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct session_conf conf = {
		.endpoints = endpoints,
		.endpoints_n = 1,
		.turn = {.store = {.realm = "t",
				   .redis = {.url = server.url,
					     .connect_timeout_ms = 5000,
					     .call_timeout_ms = 5000},
				   .fsync_always = true,
				   .active_ttl_ms = 3000,
				   .targets = targets,
				   .sources = sources,
				   .targets_n = 1,
				   .sources_n = 1},
			 .queue = {.lease_ms = 5000, .grace_ms = 500, .verify_after_ms = 60000},
			 .targets = &target_conf}};

	snprintf(endpoint, sizeof(endpoint), "ipc://%s/broker.sock", server.dir);
	endpoints[0] = endpoint;
	target_conf = (struct queue_target_conf){.name = "app",
						 .concurrency = 64,
						 .guard_count = 5,
						 .guard_percent = 20,
						 .guard_most = 100,
						 .retry_first_ms = 10,
						 .retry_cap_ms = 100,
						 .dead_after_ms = 60000};
	session = session_new(t.loop, &conf, &why);
	assert_non_null(session);
}

static uint64_t hello(struct fake *f, struct wire_welcome *ret)
{
	SAY(f, hello, .source = SLICE("corp"), .nonce = 11, .config = {{1}},
	    .driver = SLICE("syncrepl"));
	await(f, WIRE_VERB_welcome);
	HEARD(f, welcome, ret);
	assert_int_equal(ret->last, 1);
	return ret->session;
}

static struct wire_list one_user(struct buf *users, struct buf *names, uint8_t n, uint8_t fp)
{
	wire_add_name(names, &(struct wire_name){SLICE("app")});
	wire_add_user(users, &(struct wire_user){.id = {{n}},
						 .in = wire_list_of(names, 1),
						 .fingerprint = {{fp, n}},
						 .groups = SLICE("gg"),
						 .snapshot = SLICE("{\"dn\":\"x\"}")});
	return wire_list_of(users, 1);
}

static void publish(struct fake *f, uint64_t number, uint64_t batch, uint8_t user, uint8_t fp)
{
	CLEANUP(buf_cleanup) struct buf users = {0}, names = {0};
	struct wire_committed c;

	SAY(f, publish, .session = number, .batch = batch, .caught_up = 1, .has_cursor = 1,
	    .cursor = SLICE("cookie"), .server = SLICE("dc1"),
	    .users = one_user(&users, &names, user, fp));
	await(f, WIRE_VERB_committed);
	HEARD(f, committed, &c);
	assert_int_equal(c.session, number);
	assert_int_equal(c.batch, batch);
}

static void ready(struct fake *f, uint64_t nonce)
{
	SAY(f, ready, .target = SLICE("app"), .worker = SLICE("w"), .nonce = nonce, .credits = 10,
	    .batch = 10, .clock_boot_ms = 1000, .config = {{7}}, .driver = SLICE("scim"));
}

static struct wire_task task(struct fake *f)
{
	struct wire_tasks tasks;
	struct wire_task task;

	HEARD(f, tasks, &tasks);
	assert_int_equal(tasks.tasks.count, 1);
	assert_true(wire_next_task(&tasks.tasks, &task));
	return task;
}

/* ---- tests ---- */

static void test_a_change_reaches_a_worker_and_is_accepted(void **state)
{
	struct fake collector, worker;
	struct wire_welcome w;
	struct wire_accepted a;
	struct wire_noted noted;
	struct wire_task k;
	struct queue_counts c;
	uint64_t number;

	(void)state;
	fake_open(&collector);
	fake_open(&worker);
	number = hello(&collector, &w);
	assert_int_equal(w.users.count, 0);
	assert_int_equal(w.cursor.n, 0);
	publish(&collector, number, 1, 5, 1);
	assert_string_equal(redis_ask(&server, "HGET {dp:t}:cursor:corp cookie"), "cookie");
	assert_string_equal(redis_ask(&server, "ZCARD {dp:t}:live:app"), "0");
	assert_string_equal(redis_ask(&server, "ZCARD {dp:t}:bulk:app"), "1");
	ready(&worker, 21);
	await(&worker, WIRE_VERB_tasks);
	k = task(&worker);
	assert_true(slice_is(k.snapshot, "{\"dn\":\"x\"}"));
	assert_true(slice_is(k.source, "corp"));
	assert_int_equal(k.in, 1);
	assert_int_equal(k.worker, 21);
	assert_int_equal(k.stamp_ms, 1000);
	assert_int_equal(k.lease_ms, 5000);
	assert_int_equal(k.id.b[0], 5);
	/* The lease was on disk before the task left. */
	assert_string_equal(redis_ask(&server, "HLEN {dp:t}:flight:app"), "1");
	SAY(&worker, note, .lease_epoch = k.lease_epoch, .lease_page = k.lease_page,
	    .lease_index = k.lease_index, .kind = 0, .link_state = LINK_CREATING);
	await(&worker, WIRE_VERB_noted);
	HEARD(&worker, noted, &noted);
	assert_int_equal(noted.lease_page, k.lease_page);
	SAY(&worker, result, .lease_epoch = k.lease_epoch, .lease_page = k.lease_page,
	    .lease_index = k.lease_index, .verdict = VERDICT_DONE, .ops = SLICE("create"),
	    .requests = 1, .charged = 1, .status = 201, .took_ms = 12, .applied = {{3}},
	    .rid = SLICE("R1"), .link_state = LINK_ACTIVE, .link_memory = SLICE("{}"));
	await(&worker, WIRE_VERB_accepted);
	HEARD(&worker, accepted, &a);
	assert_int_equal(a.lease_page, k.lease_page);
	assert_string_equal(redis_ask(&server, "HLEN {dp:t}:flight:app"), "0");
	assert_string_equal(redis_ask(&server, "HLEN {dp:t}:rid:app"), "1");
	queue_counts(turn_queue(session_turn(session)), 0, &c);
	assert_int_equal(c.states[QUEUE_CLEAN], 1);
	assert_true(metrics_value(session_metrics(session), "operations_total",
				  metrics_labels("target", "app", "op", "create", "result",
						 "success", NULL)) == 1.0);
	fake_close(&collector);
	fake_close(&worker);
}

static void test_welcome_gives_back_what_was_published(void **state)
{
	struct fake f;
	struct wire_welcome w;
	struct wire_known known;
	struct wire_name in;
	uint64_t number;

	(void)state;
	fake_open(&f);
	number = hello(&f, &w);
	publish(&f, number, 1, 5, 9);
	assert_int_equal(hello(&f, &w), number + 1);
	assert_true(slice_is(w.cursor, "cookie"));
	assert_true(slice_is(w.server, "dc1"));
	assert_int_equal(w.config.b[0], 1);
	assert_int_equal(w.distrust, 0);
	assert_int_equal(w.users.count, 1);
	assert_true(wire_next_known(&w.users, &known));
	assert_int_equal(known.id.b[0], 5);
	assert_int_equal(known.fingerprint.b[0], 9);
	assert_true(slice_is(known.groups, "gg"));
	assert_true(wire_next_name(&known.in, &in));
	assert_true(slice_is(in.text, "app"));
	fake_close(&f);
}

static void test_repeated_batch_is_committed_again(void **state)
{
	struct fake f;
	struct wire_welcome w;
	struct wire_error e;
	uint64_t number;

	(void)state;
	fake_open(&f);
	number = hello(&f, &w);
	publish(&f, number, 1, 5, 9);
	publish(&f, number, 1, 5, 9);
	SAY(&f, publish, .session = number, .batch = 7);
	await(&f, WIRE_VERB_error);
	HEARD(&f, error, &e);
	assert_int_equal(e.verb, WIRE_VERB_publish);
	fake_close(&f);
}

static void test_second_collector_stands_by_until_the_first_is_gone(void **state)
{
	struct fake first, second;
	struct wire_welcome w;

	(void)state;
	fake_open(&first);
	fake_open(&second);
	hello(&first, &w);
	SAY(&second, hello, .source = SLICE("corp"), .nonce = 12);
	await(&second, WIRE_VERB_fenced);
	fake_close(&first);
	/* Its connection is gone as soon as ZeroMQ has seen it; ask until then. */
	for (int i = 0; second.seen[WIRE_VERB_welcome] == 0; i++) {
		assert_true(i < 1000);
		SAY(&second, hello, .source = SLICE("corp"), .nonce = 12);
		second.seen[WIRE_VERB_fenced] = 0;
		second.awaited = WIRE_VERB_fenced;
		while (second.seen[WIRE_VERB_fenced] + second.seen[WIRE_VERB_welcome] == 0)
			uv_run(loop_uv(t.loop), UV_RUN_ONCE);
	}
	fake_close(&second);
}

static void test_other_epoch_is_refused(void **state)
{
	struct fake f;
	struct wire_welcome w;
	struct wire_error e;
	uint64_t number;

	(void)state;
	fake_open(&f);
	number = hello(&f, &w);
	f.epoch.nonce ^= 2;
	SAY(&f, publish, .session = number, .batch = 1);
	await(&f, WIRE_VERB_error);
	HEARD(&f, error, &e);
	assert_true(slice_is(e.reason, "another epoch"));
	f.epoch.number--;
	SAY(&f, publish, .session = number, .batch = 1);
	await(&f, WIRE_VERB_error);
	assert_string_equal(redis_ask(&server, "HGET {dp:t}:cursor:corp batch"), "0");
	fake_close(&f);
}

static void test_malformed_frames_are_counted_and_answered(void **state)
{
	CLEANUP(buf_cleanup) struct buf junk = {0};
	struct fake f;
	struct wire_welcome w;
	struct wire_error e;

	(void)state;
	fake_open(&f);
	hello(&f, &w);
	buf_adds(&junk, "junk");
	assert_int_equal(bus_send(f.bus, (struct slice){0}, WIRE_VERB_publish, f.epoch, &junk), 0);
	await(&f, WIRE_VERB_error);
	HEARD(&f, error, &e);
	assert_int_equal(e.verb, WIRE_VERB_publish);
	assert_int_equal(session->malformed, 1);
	/* A broker's verb, and a worker's from a collector. */
	assert_int_equal(bus_send(f.bus, (struct slice){0}, WIRE_VERB_tasks, f.epoch, &junk), 0);
	await(&f, WIRE_VERB_error);
	SAY(&f, leave, .nonce = 1);
	await(&f, WIRE_VERB_error);
	assert_int_equal(session->refused, 2);
	SAY(&f, hello, .source = SLICE("nobody"), .nonce = 1);
	await(&f, WIRE_VERB_error);
	fake_close(&f);
}

static void test_stranger_must_say_hello_first(void **state)
{
	struct fake f, worker;
	struct wire_welcome w;
	struct wire_error e;

	(void)state;
	fake_open(&f);
	fake_open(&worker);
	hello(&f, &w);
	worker.epoch = f.epoch;
	SAY(&worker, result, .lease_epoch = 1);
	await(&worker, WIRE_VERB_error);
	HEARD(&worker, error, &e);
	assert_true(slice_is(e.reason, "hello or ready first"));
	fake_close(&f);
	fake_close(&worker);
}

/* Redis goes and comes back: a new epoch, told by BEAT, and what stood in flight stays with its worker. */
static void test_result_after_redis_was_away(void **state)
{
	struct fake collector, worker;
	struct wire_welcome w;
	struct wire_task k;
	uint64_t number, before;

	(void)state;
	fake_open(&collector);
	fake_open(&worker);
	number = hello(&collector, &w);
	publish(&collector, number, 1, 5, 1);
	ready(&worker, 21);
	await(&worker, WIRE_VERB_tasks);
	k = task(&worker);
	before = worker.epoch.number;
	redis_server_kill(&server);
	redis_server_start(&server, "yes", "noeviction");
	while (worker.epoch.number == before)
		await(&worker, WIRE_VERB_beat);
	SAY(&worker, result, .lease_epoch = k.lease_epoch, .lease_page = k.lease_page,
	    .lease_index = k.lease_index);
	await(&worker, WIRE_VERB_error); /* READY first */
	ready(&worker, 21);
	SAY(&worker, result, .lease_epoch = k.lease_epoch, .lease_page = k.lease_page,
	    .lease_index = k.lease_index, .verdict = VERDICT_DONE, .applied = {{3}},
	    .rid = SLICE("R1"), .link_state = LINK_ACTIVE);
	await(&worker, WIRE_VERB_accepted);
	collector.epoch = (struct wire_epoch){0};
	assert_true(hello(&collector, &w) > number);
	assert_int_equal(w.distrust, 1);
	assert_int_equal(w.users.count, 1);
	fake_close(&collector);
	fake_close(&worker);
}

static void test_hello_waits_for_the_store(void **state)
{
	struct fake f;
	struct wire_welcome w;

	(void)state;
	redis_server_kill(&server);
	fake_open(&f);
	while (turn_queue(session_turn(session)))
		uv_run(loop_uv(t.loop), UV_RUN_ONCE);
	SAY(&f, hello, .source = SLICE("corp"), .nonce = 11);
	while (!session->by_number)
		uv_run(loop_uv(t.loop), UV_RUN_ONCE);
	redis_server_start(&server, "yes", "noeviction");
	await(&f, WIRE_VERB_welcome);
	HEARD(&f, welcome, &w);
	assert_int_equal(w.last, 1);
	fake_close(&f);
}

static int begin_test(void **state)
{
	redis_server_start(&server, "yes", "noeviction");
	begin(state);
	open_session();
	while (!turn_queue(session_turn(session)))
		uv_run(loop_uv(t.loop), UV_RUN_ONCE);
	return 0;
}

static int end_test(void **state)
{
	session_free(session);
	end(state);
	redis_server_end(&server);
	memset(&server, 0, sizeof(server));
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin_test, end_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_change_reaches_a_worker_and_is_accepted),
		TEST(test_welcome_gives_back_what_was_published),
		TEST(test_repeated_batch_is_committed_again),
		TEST(test_second_collector_stands_by_until_the_first_is_gone),
		TEST(test_other_epoch_is_refused),
		TEST(test_malformed_frames_are_counted_and_answered),
		TEST(test_stranger_must_say_hello_first),
		TEST(test_result_after_redis_was_away),
		TEST(test_hello_waits_for_the_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
