/* Tasks from TASK to RESULT: a fake broker over ipc, a fake service over HTTP, a driver that is nothing but data. What happened
 * stands in one trace, in order. */
#include "bus.h"
#include "clock.h"
#include "session.h"
#include "task_own.h"
#include "web.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the driver: POST /do [{user, kind, …}] → [{user, status, code, field, accounts: [{rid, …}]}] ---- */

struct target {
	char url[64];
};

static const char *const kinds[TARGET_KINDS] = {"FIND",	  "READ",   "CREATE",
						"UPDATE", "DELETE", "STEP"};

static bool fake_matches(const struct target *t, const cJSON *account, const struct target_key *key)
{
	const char *value = json_text(account, key->field);

	(void)t;
	return value && strcmp(value, key->value) == 0;
}

static bool refuses;

static bool fake_refuses(const struct target *t, const char *field)
{
	(void)t;
	(void)field;
	return refuses;
}

static int fake_plan(const struct target *t, const struct target_want *want,
		     struct target_plan *plan)
{
	struct target_op *op;
	bool enabled = want->account ? want->account->enabled : want->link->state != LINK_DISABLED;

	(void)t;
	if (want->leave_delete) {
		target_plan_add(plan, TARGET_DELETE, "delete");
		return 0;
	}
	if (want->create) {
		op = target_plan_add(plan, TARGET_CREATE, "create");
		target_fill(want->document, op);
		op->enabled = want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
	} else {
		op = target_plan_add(plan, TARGET_UPDATE, "update");
		target_diff(want->document, want->account ? want->account->json : NULL, NULL, op);
		if (want->enabled != enabled)
			op->enabled = want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
	}
	if (want->refs_n && *want->refs[0].rid) {
		op = target_plan_add(plan, TARGET_STEP, "manager");
		op->body = cJSON_CreateString(want->refs[0].rid);
		op->remember = cJSON_CreateObject();
		cJSON_AddStringToObject(op->remember, "manager", want->refs[0].rid);
	}
	return 0;
}

static unsigned fake_lane(const struct target *t, const struct target_op *op, size_t *ret_most)
{
	(void)t;
	*ret_most = 20;
	return op->kind;
}

static int fake_request(struct target *t, struct target_op *const *ops, size_t n,
			struct target_request *ret)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < n; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "user", ops[i]->user);
		cJSON_AddStringToObject(item, "kind", kinds[ops[i]->kind]);
		cJSON_AddStringToObject(item, "name", ops[i]->name);
		if (ops[i]->rid)
			cJSON_AddStringToObject(item, "rid", ops[i]->rid);
		if (ops[i]->key.value)
			cJSON_AddStringToObject(item, "key", ops[i]->key.value);
		if (ops[i]->set)
			cJSON_AddItemToObject(item, "set", cJSON_Duplicate(ops[i]->set, true));
		if (ops[i]->clear)
			cJSON_AddItemToObject(item, "clear", cJSON_Duplicate(ops[i]->clear, true));
		cJSON_AddNumberToObject(item, "enabled", ops[i]->enabled);
		cJSON_AddItemToArray(list, item);
	}
	ret->method = HTTP_POST;
	ret->content_type = "application/json";
	buf_adds(&ret->url, t->url);
	json_print(list, &ret->body);
	cJSON_Delete(list);
	return 0;
}

static const char *request_id; /* that the service names */

static void fake_answer(const cJSON *item, struct target_answer *a)
{
	const cJSON *account;

	a->status = (int)json_int(item, "status", 0);
	if (json_text(item, "field"))
		buf_adds(&a->field, json_text(item, "field"));
	if (json_text(item, "detail"))
		buf_adds(&a->detail, json_text(item, "detail"));
	if (request_id)
		buf_adds(&a->request_id, request_id);
	cJSON_ArrayForEach (account, json_array(item, "accounts")) {
		struct target_account *to = target_answer_add(a);

		to->rid = mem_dup(json_text(account, "rid"));
		to->json = cJSON_Duplicate(account, true);
		to->enabled = json_true(account, "enabled", false);
	}
}

static void fake_answers(struct target *t, struct target_op *const *ops, size_t n,
			 const struct http_response *r, struct target_answer *answers)
{
	cJSON *list = json_parse(r->body, NULL);
	const cJSON *item;

	(void)t;
	for (size_t i = 0; i < n; i++) {
		if (!cJSON_IsArray(list))
			answers[i].status = (int)r->status;
		cJSON_ArrayForEach (item, list) {
			if (strcmp(json_text(item, "user"), ops[i]->user) == 0)
				fake_answer(item, &answers[i]);
		}
	}
	cJSON_Delete(list);
}

static const char *const fake_refs[] = {"manager", NULL};
static struct target_driver fake = {.name = "fake",
				    .version = "1",
				    .refs = fake_refs,
				    .settle_ms = 60000,
				    .refuses_second = fake_refuses,
				    .matches = fake_matches,
				    .plan = fake_plan,
				    .lane = fake_lane,
				    .request = fake_request,
				    .answers = fake_answers};

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
static struct buf trace;

static struct {
	cJSON *accounts; /* array of {rid, externalId, …, enabled} */
	int made;
	int status;			/* answer of writes, 0: as it should be */
	const char *status_for, *field; /* only for this kind */
	int times;			/* so often; 0: always */
	bool silent;
	const char *headers;
	int raw_status;
	bool refuses_shared; /* a request for several users, as a whole */
} service;

static struct {
	char peer[64];
	size_t peer_n;
	struct wire_epoch epoch;
	uint64_t nonce;
	uint32_t credits, readies;
	bool deaf_to_results, deaf_to_notes, refuse_claims;
	int results;
	struct wire_result last; /* of `frame` */
	struct buf frame;
	int leaves;
	uint64_t page;
} broker;

static void add_trace(const char *word)
{
	if (trace.n)
		buf_addc(&trace, ' ');
	buf_adds(&trace, word);
}

static void happened(const char *expected)
{
	assert_string_equal(trace.p ? trace.p : "", expected);
	buf_clear(&trace);
}

/* ---- the service ---- */

static cJSON *account_of(const char *rid)
{
	cJSON *a;

	cJSON_ArrayForEach (a, service.accounts) {
		if (strcmp(json_text(a, "rid"), rid) == 0)
			return a;
	}
	return NULL;
}

static cJSON *add_account(const char *external_id, bool enabled)
{
	cJSON *a = cJSON_CreateObject();
	char rid[16];

	snprintf(rid, sizeof(rid), "r%d", ++service.made);
	cJSON_AddStringToObject(a, "rid", rid);
	cJSON_AddStringToObject(a, "externalId", external_id);
	cJSON_AddBoolToObject(a, "enabled", enabled);
	cJSON_AddItemToArray(service.accounts, a);
	return a;
}

static void change(cJSON *a, const cJSON *op)
{
	const cJSON *item;
	int64_t enabled = json_int(op, "enabled", 0);

	cJSON_ArrayForEach (item, json_get(op, "clear"))
		cJSON_DeleteItemFromObjectCaseSensitive(a, item->string);
	cJSON_ArrayForEach (item, json_get(op, "set")) {
		cJSON_DeleteItemFromObjectCaseSensitive(a, item->string);
		cJSON_AddItemToObject(a, item->string, cJSON_Duplicate(item, true));
	}
	if (enabled != TARGET_KEEP) {
		cJSON_DeleteItemFromObjectCaseSensitive(a, "enabled");
		cJSON_AddBoolToObject(a, "enabled", enabled == TARGET_ENABLE);
	}
}

static int carry_out(const cJSON *op, const char *kind, cJSON *accounts)
{
	const char *rid = json_text(op, "rid");
	cJSON *a = rid ? account_of(rid) : NULL, *item;

	if (strcmp(kind, "FIND") == 0) {
		cJSON_ArrayForEach (item, service.accounts) {
			if (strcmp(json_text(item, "externalId"), json_text(op, "key")) == 0)
				cJSON_AddItemToArray(accounts, cJSON_Duplicate(item, true));
		}
		return 200;
	}
	if (strcmp(kind, "CREATE") == 0) {
		a = add_account("?", true);
		change(a, op);
	} else if (!a) {
		return 404;
	} else if (strcmp(kind, "UPDATE") == 0) {
		change(a, op);
	} else if (strcmp(kind, "DELETE") == 0) {
		cJSON_Delete(cJSON_DetachItemViaPointer(service.accounts, a));
		return 204;
	}
	cJSON_AddItemToArray(accounts, cJSON_Duplicate(a, true));
	return 200;
}

static bool scripted(const char *kind)
{
	if (!service.status || (service.status_for && strcmp(service.status_for, kind) != 0))
		return false;
	if (service.times && --service.times == 0) {
		service.status_for = "nothing";
		return true;
	}
	return true;
}

static cJSON *answer_one(const cJSON *op)
{
	const char *kind = json_text(op, "kind");
	cJSON *answer = cJSON_CreateObject(), *accounts = cJSON_CreateArray();
	int status = service.status;

	cJSON_AddStringToObject(answer, "user", json_text(op, "user"));
	if (scripted(kind)) {
		if (service.field)
			cJSON_AddStringToObject(answer, "field", service.field);
		cJSON_AddStringToObject(answer, "detail", "Name Berg is taken");
	} else {
		status = carry_out(op, kind, accounts);
	}
	cJSON_AddNumberToObject(answer, "status", status);
	cJSON_AddItemToObject(answer, "accounts", accounts);
	return answer;
}

static void serve(void *arg, const struct web_request *r, struct web_reply *reply)
{
	cJSON *ops = json_parse(r->body, NULL), *answers = cJSON_CreateArray();
	const cJSON *op;
	CLEANUP(buf_cleanup) struct buf text = {0}, word = {0};

	(void)arg;
	buf_adds(&word, json_text(ops->child, "kind"));
	if (strcmp(word.p, "STEP") == 0) {
		buf_clear(&word);
		buf_adds(&word, json_text(ops->child, "name"));
	}
	if (cJSON_GetArraySize(ops) > 1)
		buf_addf(&word, "x%d", cJSON_GetArraySize(ops));
	add_trace(word.p);
	if (service.silent) {
		reply->silent = true;
	} else if (service.refuses_shared && cJSON_GetArraySize(ops) > 1) {
		web_answer(reply, 400, "", "no");
	} else if (service.raw_status) {
		web_answer(reply, service.raw_status, service.headers, "no");
	} else {
		cJSON_ArrayForEach (op, ops)
			cJSON_AddItemToArray(answers, answer_one(op));
		json_print(answers, &text);
		web_answer(reply, 200, "Content-Type: application/json\r\n", text.p);
	}
	cJSON_Delete(ops);
	cJSON_Delete(answers);
}

/* ---- the broker ---- */

static void say_as(struct wire_epoch epoch, uint8_t verb, const struct buf *body)
{
	assert_int_equal(
		bus_send(bus, (struct slice){broker.peer, broker.peer_n}, verb, epoch, body), 0);
}

static void say(uint8_t verb, struct buf *body)
{
	say_as(broker.epoch, verb, body);
	buf_done(body);
}

static void say_beat(void)
{
	struct buf body = {0};

	wire_put_beat(&body, &(struct wire_beat){.state = 1});
	say(WIRE_VERB_beat, &body);
}

static void take_note(struct slice in)
{
	struct wire_note n;
	struct buf body = {0};
	char word[16];

	assert_int_equal(wire_get_note(in, &n), 0);
	snprintf(word, sizeof(word), "NOTE%d", n.kind);
	add_trace(word);
	if (broker.deaf_to_notes)
		return;
	if (n.kind == 1 && broker.refuse_claims) {
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

static void take_result(struct slice in)
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

static void on_frame(void *arg, int rc, const struct bus_message *m)
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

static struct slice snapshot(int user, const char *sn, bool enabled, const char *more)
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

static struct wire_task task_for(int user, struct slice text)
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
static void link_on(struct wire_task *t)
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

static void send_tasks(const struct wire_task *tasks, uint32_t n, int64_t now)
{
	struct buf records = {0}, body = {0};

	for (uint32_t i = 0; i < n; i++)
		wire_add_task(&records, &tasks[i]);
	wire_put_tasks(&body, &(struct wire_tasks){now, wire_list_of(&records, n)});
	say(WIRE_VERB_tasks, &body);
	buf_done(&records);
}

static void wait_results(int n, int64_t ms)
{
	int64_t end = clock_boot_ms() + ms;

	while (broker.results < n && clock_boot_ms() < end)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	assert_int_equal(broker.results, n);
}

static void turn_for(int64_t ms)
{
	bool never = false;

	web_until(loop, &never, ms);
}

static void run_at(struct wire_task t, int64_t now)
{
	broker.results = 0;
	send_tasks(&t, 1, now);
	wait_results(1, 5000);
}

static void run(struct wire_task t)
{
	run_at(t, NOW);
}

static void reason_is(const char *reason)
{
	assert_true(slice_is(broker.last.reason, reason));
}

static bool wants(const char *op)
{
	struct wire_list list = broker.last.wants;
	struct wire_op w;

	while (wire_next_op(&list, &w)) {
		if (slice_is(w.op, op))
			return true;
	}
	return false;
}

static struct wire_list permit(const char *op)
{
	static struct buf b;

	buf_clear(&b);
	wire_add_op(&b, &(struct wire_op){slice_of(op), SLICE("")});
	return wire_list_of(&b, 1);
}

/* ---- set up ---- */

static void on_tick(void *arg)
{
	(void)arg;
	loop_timer_set(tick, 10);
}

static void to_note(void *arg, const struct wire_note *n)
{
	(void)arg;
	session_note(session, n);
}

static void to_report(void *arg, const struct wire_result *r)
{
	(void)arg;
	session_report(session, r);
}

static void to_task(void *arg, const struct wire_task *t, int64_t now)
{
	int rc = task_start(&desk, t, now);

	(void)arg;
	if (rc == -ETIME)
		add_trace("late");
}

static void to_noted(void *arg, struct task_lease lease, uint8_t kind, bool ok, struct slice reason)
{
	(void)arg;
	task_noted(&desk, lease, kind, ok, reason);
}

static void to_settled(void *arg)
{
	(void)arg;
}

static void make_parts(struct buf *why)
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

static int set_up(void **state)
{
	struct buf why = {0};
	const char *ends[] = {endpoint};

	(void)state;
	memset(&service, 0, sizeof(service));
	memset(&broker, 0, sizeof(broker));
	memset(&desk, 0, sizeof(desk));
	refuses = false;
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
						     .endpoint = endpoint,
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

static int tear_down(void **state)
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

/* ---- creation ---- */

static void created(void)
{
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 FIND CREATE done");
}

static void creation_is_noted_then_looked_up(void **state)
{
	(void)state;
	created();
	assert_true(slice_is(broker.last.rid, "r1"));
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
	assert_true(slice_is(broker.last.ops, "create"));
	assert_int_equal(broker.last.requests, 2);
	assert_false(fp_is_none(&broker.last.applied));
	assert_string_equal(json_text(account_of("r1"), "externalId"),
			    "i1"); /* the join key, unmapped */
}

static void no_lookup_where_the_service_refuses_doubles(void **state)
{
	(void)state;
	refuses = true;
	run(task_for(1, snapshot(1, "\"Berg\"", true, FULL)));
	happened("NOTE0 CREATE done");
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
	happened("NOTE0 FIND CREATE FIND parked");
	reason_is("name_taken");
	assert_true(slice_is(broker.last.waits, "name:Berg"));
	assert_int_equal(broker.last.link_state, LINK_NONE);
}

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

/* ---- the guard ---- */

static void nothing_destructive_without_a_permit(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE done"); /* the name is written all the same */
	assert_true(wants("disable"));
	assert_true(fp_is_none(&broker.last.applied));
	assert_true(json_true(account_of("r1"), "enabled", false));
	assert_string_equal(json_text(account_of("r1"), "name"), "Tal");
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	t.permits = permit("disable");
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.wants.count, 0);
	assert_int_equal(broker.last.link_state, LINK_DISABLED);
	assert_false(json_true(account_of("r1"), "enabled", true));
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE done");
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
}

/* Nothing but the switch changed: what the target holds is what it shall hold until somebody permits. */
static void a_disabling_that_waits_costs_no_request(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("UPDATE done");
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	run(t);
	happened("done");
	assert_true(wants("disable"));
	assert_true(fp_is_none(&broker.last.applied));
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
	t = task_for(1, snapshot(1, "\"Tal\"", false, FULL));
	link_on(&t);
	t.permits = permit("disable");
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.link_state, LINK_DISABLED);
	assert_false(json_true(account_of("r1"), "enabled", true));
}

static void mass_clearing_is_held(void **state)
{
	struct wire_task t;

	(void)state;
	created();
	t = task_for(1, snapshot(1, "\"Tal\"", true, EMPTY));
	link_on(&t);
	run(t);
	happened("UPDATE done");
	assert_true(wants("clear_mass"));
	assert_string_equal(json_text(account_of("r1"), "a"), "1");
	assert_string_equal(json_text(account_of("r1"), "name"), "Tal");
	t = task_for(1, snapshot(1, "\"Tal\"", true, EMPTY));
	link_on(&t);
	t.permits = permit("clear_mass");
	run(t);
	happened("READ UPDATE done");
	assert_null(json_text(account_of("r1"), "a"));
}

static void leaving_disables_then_deletes(void **state)
{
	struct wire_task t;

	(void)state;
	desk.leave = TASK_LEAVE_DELETE;
	desk.delete_after_ms = 1000000;
	created();
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.in = 0;
	run(t);
	happened("done");
	assert_true(wants("disable"));
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.in = 0;
	t.permits = permit("disable");
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.look_again_unix_ms, NOW + 1000000);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.gone = 1;
	run_at(t, NOW + 500000); /* too early */
	happened("done");
	assert_int_equal(broker.last.look_again_unix_ms, NOW + 1000000);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.gone = 1;
	run_at(t, NOW + 1000000);
	happened("done");
	assert_true(wants("delete"));
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.gone = 1;
	t.permits = permit("delete");
	run_at(t, NOW + 1000000);
	happened("READ DELETE done");
	assert_int_equal(broker.last.link_state, LINK_DELETED);
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	run_at(t, NOW + 2000000); /* and comes back */
	happened("NOTE0 FIND CREATE done");
}

static void unlinking_touches_nothing(void **state)
{
	struct wire_task t;

	(void)state;
	desk.leave = TASK_LEAVE_UNLINK;
	created();
	t = task_for(1, snapshot(1, "\"Berg\"", true, FULL));
	link_on(&t);
	t.in = 0;
	run(t);
	happened("done");
	assert_int_equal(broker.last.link_state, LINK_UNMANAGED);
	t = task_for(1, snapshot(1, "\"Tal\"", true, FULL));
	link_on(&t);
	run(t);
	happened("READ UPDATE done");
	assert_int_equal(broker.last.link_state, LINK_ACTIVE);
	t = task_for(1, snapshot(1, "\"Ost\"", true, FULL));
	link_on(&t);
	t.link_state = LINK_UNMANAGED; /* by an operator */
	run(t);
	happened("done");
	assert_string_equal(json_text(account_of("r1"), "name"), "Tal");
}

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
	happened("NOTE0 FIND CREATE FIND parked");
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

static int group_end(void **state)
{
	(void)state;
	buf_done(&trace);
	return 0;
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(creation_is_noted_then_looked_up),
		TEST(no_lookup_where_the_service_refuses_doubles),
		TEST(unchanged_costs_nothing),
		TEST(a_change_is_one_request),
		TEST(twenty_users_share_requests),
		TEST(a_batch_refused_as_a_whole_says_nothing_of_anyone),
		TEST(one_user_twice_shares_no_request),
		TEST(later_steps_are_noted),
		TEST(a_found_account_is_claimed_first),
		TEST(a_refused_claim_writes_nothing),
		TEST(several_hits_park),
		TEST(may_not_create),
		TEST(a_taken_name_parks),
		TEST(an_unknown_creation_is_looked_up_before_a_second),
		TEST(the_configuration_may_say_how_long_not_found_is_doubted),
		TEST(an_unknown_creation_that_happened_is_found),
		TEST(an_unknown_creation_is_found_under_its_old_key),
		TEST(an_unknown_creation_is_looked_for_under_both_keys),
		TEST(a_leaver_being_created_is_looked_up),
		TEST(a_leaver_whom_no_key_finds_is_listed),
		TEST(a_lost_account_is_made_anew),
		TEST(changed_meanwhile_is_read_again),
		TEST(nothing_destructive_without_a_permit),
		TEST(a_disabling_that_waits_costs_no_request),
		TEST(mass_clearing_is_held),
		TEST(leaving_disables_then_deletes),
		TEST(unlinking_touches_nothing),
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

	return cmocka_run_group_tests(tests, NULL, group_end);
}
