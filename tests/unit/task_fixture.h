/* Tasks from TASK to RESULT for the tests of one theme each: a fake broker over ipc, the fake service of task_fake.h over HTTP. */
#ifndef DIRPIPE_TASK_FIXTURE_H
#define DIRPIPE_TASK_FIXTURE_H

#include "bus.h"
#include "clock.h"
#include "session.h"
#include "task_fake.h"

#include <errno.h>
#include <unistd.h>

/* ---- the stage ---- */

#define NOW 1780000000000

static struct loop *loop;
static struct loop_timer *tick;
static struct web web;
static struct http *http;
static struct oauth *oauth;
static struct secret *token;
static struct target target;
static struct mapping *mapping;
static struct join *join;
static struct exchange *exchange;
static struct task_desk desk;
static struct session *session;
static struct bus *bus;
static char dir[64], endpoint[128], origin[64];

/* ---- the broker ---- */

static struct {
	char peer[64];
	size_t peer_n;
	struct wire_epoch epoch;
	uint64_t nonce;
	uint32_t credits, readies;
	bool deaf_to_results, deaf_to_notes, refuse_claims, refuse_partials;
	const char *refused; /* the claim of this account */
	int results;
	struct wire_result last; /* of `frame` */
	struct buf frame;
	int leaves;
	uint64_t page;
} broker;

static inline void say_as(struct wire_epoch epoch, uint8_t verb, const struct buf *body)
{
	assert_int_equal(
		bus_send(bus, (struct slice){broker.peer, broker.peer_n}, verb, epoch, body), 0);
}

static inline void say(uint8_t verb, struct buf *body)
{
	say_as(broker.epoch, verb, body);
	buf_done(body);
}

static inline void say_beat(void)
{
	struct buf body = {0};

	wire_put_beat(&body, &(struct wire_beat){.state = 1});
	say(WIRE_VERB_beat, &body);
}

static inline void take_note(struct slice in)
{
	struct wire_note n;
	struct buf body = {0};
	char word[16];

	assert_int_equal(wire_get_note(in, &n), 0);
	snprintf(word, sizeof(word), "NOTE%d", n.kind);
	add_trace(word);
	if (broker.deaf_to_notes)
		return;
	if ((n.kind == 1 &&
	     (broker.refuse_claims || (broker.refused && slice_is(n.rid, broker.refused)))) ||
	    (n.kind == 2 && broker.refuse_partials)) {
		wire_put_refused(&body,
				 &(struct wire_refused){n.lease_epoch, n.lease_page, n.lease_index,
							n.kind, SLICE("another user's")});
		say(WIRE_VERB_refused, &body);
		return;
	}
	wire_put_noted(&body,
		       &(struct wire_noted){n.lease_epoch, n.lease_page, n.lease_index, n.kind});
	say(WIRE_VERB_noted, &body);
}

static inline void take_result(struct slice in)
{
	struct buf body = {0};

	buf_clear(&broker.frame);
	buf_add(&broker.frame, in.p, in.n);
	assert_int_equal(wire_get_result(buf_slice(&broker.frame), &broker.last), 0);
	broker.results++;
	add_trace(wire_verdict_name(broker.last.verdict));
	if (broker.deaf_to_results)
		return;
	wire_put_accepted(&body,
			  &(struct wire_accepted){broker.last.lease_epoch, broker.last.lease_page,
						  broker.last.lease_index});
	say(WIRE_VERB_accepted, &body);
}

static inline void on_frame(void *arg, int rc, const struct bus_message *m)
{
	struct wire_ready ready;

	(void)arg;
	assert_int_equal(rc, 0);
	broker.peer_n = m->peer.n;
	memcpy(broker.peer, m->peer.p, m->peer.n);
	if (m->header.verb == WIRE_VERB_ready) {
		assert_int_equal(wire_get_ready(m->body, &ready), 0);
		broker.nonce = ready.nonce;
		broker.credits = ready.credits;
		broker.readies++;
		say_beat();
	} else if (m->header.verb == WIRE_VERB_note) {
		take_note(m->body);
	} else if (m->header.verb == WIRE_VERB_result) {
		take_result(m->body);
	} else if (m->header.verb == WIRE_VERB_leave) {
		broker.leaves++;
	}
}

/* ---- tasks ---- */

static struct buf snapshot_text;

static inline struct slice snapshot(int user, const char *sn, bool enabled, const char *more)
{
	buf_clear(&snapshot_text);
	buf_addf(&snapshot_text,
		 "{\"account\":{\"enabled\":%s},\"attrs\":{\"sn\":[%s]%s},\"dn\":\"x\",\"groups\":["
		 "],"
		 "\"id\":\"00112233-4455-6677-8899-aabbccdd%04x\",\"immutable_id\":\"i%d\","
		 "\"source\":\"corp\"}",
		 enabled ? "true" : "false", sn, more, user, user);
	return buf_slice(&snapshot_text);
}

#define FULL  ",\"a\":[\"1\"],\"b\":[\"2\"],\"c\":[\"3\"]"
#define EMPTY ",\"a\":[],\"b\":[],\"c\":[]"

static inline struct wire_task task_for(int user, struct slice text)
{
	return (struct wire_task){.lease_epoch = broker.epoch.number,
				  .lease_page = ++broker.page,
				  .stamp_ms = clock_boot_ms(),
				  .lease_ms = 20000,
				  .worker = broker.nonce,
				  .id.b = {[14] = (uint8_t)(user >> 8), [15] = (uint8_t)user},
				  .source = SLICE("corp"),
				  .version = 1,
				  .in = 1,
				  .snapshot = text};
}

/* What the last RESULT left is what the next TASK brings. */
static inline void link_on(struct wire_task *t)
{
	static struct buf rid, memory;

	buf_clear(&rid);
	buf_clear(&memory);
	buf_add(&rid, broker.last.rid.p, broker.last.rid.n);
	buf_add(&memory, broker.last.link_memory.p, broker.last.link_memory.n);
	t->rid = buf_slice(&rid);
	t->link_memory = buf_slice(&memory);
	t->link_state = broker.last.link_state;
	t->applied = broker.last.applied;
}

static inline void send_tasks(const struct wire_task *tasks, uint32_t n, int64_t now)
{
	struct buf records = {0}, body = {0};

	for (uint32_t i = 0; i < n; i++)
		wire_add_task(&records, &tasks[i]);
	wire_put_tasks(&body, &(struct wire_tasks){now, wire_list_of(&records, n)});
	say(WIRE_VERB_tasks, &body);
	buf_done(&records);
}

static inline void wait_results(int n, int64_t ms)
{
	int64_t end = clock_boot_ms() + ms;

	while (broker.results < n && clock_boot_ms() < end)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	assert_int_equal(broker.results, n);
}

static inline void turn_for(int64_t ms)
{
	bool never = false;

	web_until(loop, &never, ms);
}

static inline void run_at(struct wire_task t, int64_t now)
{
	broker.results = 0;
	send_tasks(&t, 1, now);
	wait_results(1, 5000);
}

static inline void run(struct wire_task t)
{
	run_at(t, NOW);
}

static inline void reason_is(const char *reason)
{
	assert_true(slice_is(broker.last.reason, reason));
}

static inline bool wants(const char *op)
{
	struct wire_list list = broker.last.wants;
	struct wire_op w;

	while (wire_next_op(&list, &w)) {
		if (slice_is(w.op, op))
			return true;
	}
	return false;
}

static inline struct wire_list permit(const char *op)
{
	static struct buf b;

	buf_clear(&b);
	wire_add_op(&b, &(struct wire_op){slice_of(op), SLICE("")});
	return wire_list_of(&b, 1);
}

/* ---- set up ---- */

static inline void on_tick(void *arg)
{
	(void)arg;
	loop_timer_set(tick, 10);
}

static inline void to_note(void *arg, const struct wire_note *n)
{
	(void)arg;
	session_note(session, n);
}

static inline void to_report(void *arg, const struct wire_result *r)
{
	(void)arg;
	session_report(session, r);
}

static inline void to_task(void *arg, const struct wire_task *t, int64_t now)
{
	int rc = task_start(&desk, t, now);

	(void)arg;
	if (rc == -ETIME)
		add_trace("late");
}

static inline void to_noted(void *arg, struct task_lease lease, uint8_t kind, bool ok,
			    struct slice reason)
{
	(void)arg;
	task_noted(&desk, lease, kind, ok, reason);
}

static inline void to_settled(void *arg)
{
	(void)arg;
}

static inline void make_parts(struct buf *why)
{
	static const struct join_rule rule = {"externalId", "immutable_id", false};
	cJSON *spec = cJSON_Parse("{\"name\":\"sn\",\"a\":\"a\",\"b\":\"b\",\"c\":\"c\"}");

	token = secret_new("sesame", 6);
	http = http_new(loop, &(struct http_conf){.user_agent = "t",
						  .connections = 8,
						  .body_max = 1 << 20,
						  .connect_timeout_ms = 1000});
	oauth = oauth_new(http, &(struct oauth_conf){.method = OAUTH_BEARER, .secret = token}, why);
	snprintf(target.url, sizeof(target.url), "http://127.0.0.1:%d/do", web.port);
	snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", web.port);
	exchange = exchange_new(&(struct exchange_conf){.loop = loop,
							.http = http,
							.oauth = oauth,
							.driver = &fake,
							.target = &target,
							.origin = origin,
							.timeout_ms = 400});
	mapping = mapping_new(spec, "test", why);
	join = join_of(&rule, 1, why);
	cJSON_Delete(spec);
}

static inline int set_up(void **state)
{
	struct buf why = {0};
	const char *ends[] = {endpoint};

	(void)state;
	memset(&service, 0, sizeof(service));
	memset(&broker, 0, sizeof(broker));
	memset(&desk, 0, sizeof(desk));
	refuses = serial = false;
	request_id = NULL;
	buf_clear(&trace);
	service.accounts = cJSON_CreateArray();
	broker.epoch = (struct wire_epoch){7, 77};
	loop = loop_new();
	tick = loop_timer_new(loop, on_tick, NULL);
	on_tick(NULL);
	web_start(&web, loop, serve, NULL);
	snprintf(dir, sizeof(dir), "/tmp/dirpipe-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(endpoint, sizeof(endpoint), "ipc://%s/b", dir);
	bus = bus_router_new(loop, ends, 1, NULL, on_frame, NULL, &why);
	assert_non_null(bus);
	make_parts(&why);
	desk = (struct task_desk){.loop = loop,
				  .exchange = exchange,
				  .driver = &fake,
				  .target = &target,
				  .mapping = mapping,
				  .join = join,
				  .create = true,
				  .note = to_note,
				  .report = to_report};
	task_desk_init(&desk);
	session = session_new(&(struct session_conf){.loop = loop,
						     .endpoints = (const char *[]){endpoint},
						     .endpoints_n = 1,
						     .target = "app",
						     .worker = "w",
						     .driver = "fake",
						     .credits = 64,
						     .batch = 20,
						     .task = to_task,
						     .noted = to_noted,
						     .settled = to_settled},
			      &why);
	assert_non_null(session);
	for (int64_t end = clock_boot_ms() + 5000;
	     session_state(session) != SESSION_READY && clock_boot_ms() < end;)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	assert_int_equal(session_state(session), SESSION_READY);
	buf_done(&why);
	return 0;
}

static inline int tear_down(void **state)
{
	char path[100];

	(void)state;
	task_desk_done(&desk);
	session_free(session);
	exchange_free(exchange);
	oauth_free(oauth);
	http_free(http);
	mapping_free(mapping);
	join_free(join);
	secret_free(token);
	bus_free(bus);
	web_stop(&web);
	loop_timer_free(tick);
	loop_free(loop);
	cJSON_Delete(service.accounts);
	buf_done(&broker.frame);
	snprintf(path, sizeof(path), "%s/b", dir);
	unlink(path);
	rmdir(dir);
	return 0;
}

static inline void created(void)
{
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND CREATE done");
}

static inline int group_end(void **state)
{
	(void)state;
	buf_done(&trace);
	return 0;
}

#define TEST(fn)   cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define RUN(tests) cmocka_run_group_tests(tests, NULL, group_end)

#endif
