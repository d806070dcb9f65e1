/* What a TASK carries of a link: "LINK-STATE\nRID\nMEMORY\nSNAPSHOT". A memory that is none is an empty one; the task is reported, noted or
 * asks the service, and never forgets what was remembered. */
#include "fuzz.h"

#include "clock.h"
#include "target_made.h"
#include "task_own.h"

static struct loop *loop;
static struct http *http;
static struct oauth *oauth;
static struct secret *token;
static struct mapping *mapping;
static struct join *join;
static unsigned notes, reports;

static void note(void *arg, const struct wire_note *n)
{
	cJSON *memory = json_parse(n->link_memory, NULL);

	(void)arg;
	must(cJSON_IsObject(memory) && n->link_state < LINK_STATES);
	cJSON_Delete(memory);
	notes++;
}

static void report(void *arg, const struct wire_result *r)
{
	CLEANUP(buf_cleanup) struct buf out = {0};

	(void)arg;
	must(r->verdict < VERDICTS && r->link_state < LINK_STATES);
	wire_put_result(&out, r);
	must(out.n > 0);
	reports++;
}

static void drop_desk(void)
{
	oauth_free(oauth);
	http_free(http);
	mapping_free(mapping);
	join_free(join);
	secret_free(token);
	loop_free(loop);
}

static struct target *set_up(void)
{
	static const struct join_rule rules[] = {{"externalId", "id", false}};
	static const char spec[] = "{\"userName\":\"mail\",\"externalId\":\"id\",\"title\":"
				   "\"title\",\"displayName\":\"cn\"}";
	struct target *t = target_of(
		&target_scim, "    driver: scim\n    auth: {method: bearer, token: !file %s}\n"
			      "    mapping: {userName: m, externalId: id}\n");
	struct http_conf http_conf = {.user_agent = "fuzz",
				      .connections = 1,
				      .body_max = 1 << 20,
				      .connect_timeout_ms = 100};
	static struct oauth_conf oauth_conf;
	CLEANUP(buf_cleanup) struct buf why = {0};
	cJSON *json;

	if (loop)
		return t;
	loop = loop_new();
	http = http_new(loop, &http_conf);
	token = secret_new("secret", 6);
	oauth_conf.method = OAUTH_BEARER;
	oauth_conf.secret = token;
	oauth = oauth_new(http, &oauth_conf, &why);
	json = json_parse(SLICE(spec), NULL);
	mapping = mapping_new(json, "f", &why);
	cJSON_Delete(json);
	join = join_of(rules, 1, &why);
	must(http && oauth && mapping && join);
	must(atexit(drop_desk) == 0);
	return t;
}

/* Of two members with one name only the first is replaced; no memory of ours has any. */
static bool twice(struct slice text)
{
	cJSON *memory = json_parse(text, NULL);
	size_t n = 0;
	const cJSON *item;

	cJSON_ArrayForEach (item, memory)
		n += item->string &&
		     (strcmp(item->string, "left_ms") == 0 || strcmp(item->string, "fields") == 0);
	cJSON_Delete(memory);
	return n > 1;
}

static void memory(struct task_desk *desk, struct slice text)
{
	struct task t = {
		.desk = desk, .memory = json_parse(text, NULL), .document = cJSON_CreateObject()};

	cJSON *part;

	if (!cJSON_IsObject(t.memory)) {
		cJSON_Delete(t.memory);
		t.memory = cJSON_CreateObject();
	}
	must(task_memory_ms(&t, "creating_ms") == json_int(t.memory, "creating_ms", 0));
	must(cJSON_IsObject(task_driver_memory(&t)));
	(void)task_field_was_set(&t, "title");
	(void)task_field_was_set(&t, "nothing");
	part = cJSON_Duplicate(task_driver_memory(&t), true);
	task_remember(&t, part);
	cJSON_Delete(part);
	task_remember_ms(&t, "left_ms", 5);
	task_fields_store(&t);
	must(twice(text) || (task_fields_known(&t) && task_memory_ms(&t, "left_ms") == 5));
	cJSON_Delete(t.memory);
	cJSON_Delete(t.document);
}

static void start(struct task_desk *desk, uint8_t state, struct slice rid, struct slice link_memory,
		  struct slice snapshot)
{
	struct wire_task w = {.lease_epoch = 1,
			      .lease_page = 1,
			      .stamp_ms = clock_boot_ms(),
			      .lease_ms = 60000,
			      .id = {{1}},
			      .version = 1,
			      .in = !(state & 8),
			      .gone = state & 16,
			      .verify = state & 32,
			      .rid = rid,
			      .link_state = state & 7,
			      .link_memory = link_memory,
			      .snapshot = snapshot};
	unsigned before = notes + reports;

	must(task_start(desk, &w, 1764000000000) == 0);
	must(notes + reports > before || task_count(desk) == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct target *t = set_up();
	struct exchange_conf x = {.loop = loop,
				  .http = http,
				  .oauth = oauth,
				  .driver = &target_scim,
				  .target = t,
				  .origin = "https://a.example",
				  .timeout_ms = 1000};
	struct task_desk desk = {.loop = loop,
				 .driver = &target_scim,
				 .target = t,
				 .mapping = mapping,
				 .join = join,
				 .create = true,
				 .note = note,
				 .report = report};
	struct slice rest = {(const char *)data, size};
	uint8_t state = fuzz_byte(&rest);
	struct slice rid = fuzz_take(&rest, '\n'), link_memory = fuzz_take(&rest, '\n');

	if (!utf8_valid(rid) || rid.n > 1024 || memchr(rid.p ? rid.p : "", '\0', rid.n))
		return 0; /* the wire lets no such rid through */
	desk.exchange = exchange_new(&x);
	task_desk_init(&desk);
	memory(&desk, link_memory);
	start(&desk, state, rid, link_memory, rest);
	exchange_free(desk.exchange);
	task_desk_done(&desk);
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	return 0;
}
