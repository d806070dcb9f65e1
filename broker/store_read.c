#include "store_json.h"
#include "store_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef cJSON *(*row_fn)(struct slice name, struct slice value);

/* One read under way; which of the callbacks is set depends on the read. */
struct read {
	struct store *s;
	store_known_fn known;
	store_cursor_fn cursor;
	store_text_fn text;
	void *arg;
	struct id *ids;
	size_t n;
	size_t most;
	struct buf json;
	/* a list */
	const char *key, *kind; /* kind: of what is stuck */
	row_fn row;
	cJSON *list;
};

static struct read *read_new(struct store *s, void *arg)
{
	struct read *r = mem_alloc(sizeof(*r));

	r->s = s;
	r->arg = arg;
	return r;
}

static void read_free(struct read *r)
{
	free(r->ids);
	buf_done(&r->json);
	cJSON_Delete(r->list);
	free(r);
}

static char *user_key(const struct store *s, const struct id *id)
{
	char hex[ID_TEXT];
	struct buf key = {0};

	id_format(id, hex);
	buf_addf(&key, "%s%s", s->user, hex);
	return buf_steal(&key);
}

/* ---- for WELCOME ---- */

static void known_read(void *arg, enum redis_class class, const redisReply *reply)
{
	struct read *r = arg;
	bool ok = class == REDIS_CLASS_OK && reply && reply->type == REDIS_REPLY_ARRAY &&
		  reply->elements == 2 * r->n;
	struct wire_known *rows = mem_array(r->n + 1, sizeof(*rows));
	size_t n = 0;

	for (size_t i = 0; ok && i < r->n; i++) {
		struct queue_user_row row = {0};

		/* A broken record is unknown to the collector: it publishes the user anew. */
		if (rows_get_user(store_text(reply->element[2 * i]), &row) < 0)
			continue;
		rows[n++] = (struct wire_known){.id = r->ids[i],
						.gone = row.gone,
						.fingerprint = row.fingerprint,
						.in = row.in,
						.groups = store_text(reply->element[2 * i + 1])};
	}
	r->known(r->arg, ok, rows, n);
	free(rows);
	read_free(r);
}

void store_known(struct store *s, const struct id *ids, size_t n, store_known_fn fn, void *arg)
{
	struct read *r = read_new(s, arg);
	struct slice *argv = mem_array(n + 3, sizeof(*argv));
	char count[24];

	r->known = fn;
	r->ids = mem_array(n + 1, sizeof(*ids));
	r->n = n;
	if (n > 0)
		memcpy(r->ids, ids, n * sizeof(*ids));
	snprintf(count, sizeof(count), "%zu", n);
	argv[0] = SLICE("FCALL_RO");
	argv[1] = store_function("known");
	argv[2] = slice_of(count);
	for (size_t i = 0; i < n; i++)
		argv[3 + i] = slice_of(user_key(s, &ids[i]));
	redis_call(s->redis, argv, n + 3, known_read, r);
	for (size_t i = 0; i < n; i++)
		free((void *)(uintptr_t)argv[3 + i].p);
	free(argv);
}

static void cursor_read(void *arg, enum redis_class class, const redisReply *reply)
{
	struct read *r = arg;
	bool ok = class == REDIS_CLASS_OK && reply && reply->type == REDIS_REPLY_ARRAY &&
		  reply->elements == 3;
	struct slice cookie = {0}, server = {0}, config;
	struct fp fp = {0};

	if (ok) {
		cookie = store_text(reply->element[0]);
		server = store_text(reply->element[1]);
		config = store_text(reply->element[2]);
		/* A cursor of unknown filters is none: the collector reads everything. */
		if (config.n > 0 && rows_get_fp(config, &fp) < 0) {
			r->s->quarantined++;
			cookie = server = (struct slice){0};
		}
	}
	r->cursor(r->arg, ok, cookie, server, fp);
	read_free(r);
}

static const struct store_source *source_named(const struct store *s, const char *name)
{
	for (size_t i = 0; i < s->conf.sources_n; i++)
		if (strcmp(s->sources[i].name, name) == 0)
			return &s->sources[i];
	abort(); /* callers have it from the same list */
}

static const struct store_target *target_named(const struct store *s, const char *name)
{
	for (size_t i = 0; i < s->conf.targets_n; i++)
		if (strcmp(s->targets[i].name, name) == 0)
			return &s->targets[i];
	abort(); /* callers have it from the same list */
}

void store_cursor(struct store *s, const char *source, store_cursor_fn fn, void *arg)
{
	const struct store_source *of = source_named(s, source);
	struct read *r = read_new(s, arg);
	struct slice argv[] = {SLICE("HMGET"), slice_of(of->cursor), SLICE("cookie"),
			       SLICE("server"), SLICE("config")};

	r->cursor = fn;
	redis_call(s->redis, argv, 5, cursor_read, r);
}

/* ---- JSON for people ---- */

static void answer(struct read *r, cJSON *value)
{
	if (value)
		json_print(value, &r->json);
	r->text(r->arg, value != NULL, buf_slice(&r->json));
	cJSON_Delete(value);
	read_free(r);
}

static struct slice field_of(const redisReply *hash, const char *name)
{
	for (size_t i = 0; i + 1 < hash->elements; i += 2)
		if (slice_is(store_text(hash->element[i]), name))
			return store_text(hash->element[i + 1]);
	return (struct slice){0};
}

static void add_entry(cJSON *to, const struct queue_entry_row *e)
{
	static const char *const lanes[QUEUE_LANES] = {"live", "bulk"};
	static const char *const verifies[QUEUE_VERIFIES] = {"none", "now", "at"};

	cJSON_AddStringToObject(to, "state", queue_state_name((enum queue_state)e->state));
	cJSON_AddStringToObject(to, "lane", lanes[e->lane]);
	cJSON_AddBoolToObject(to, "in", e->in);
	store_add_number(to, "want", e->want);
	store_add_number(to, "attempts", e->attempts);
	cJSON_AddStringToObject(to, "verify", verifies[e->verify]);
	store_add_time(to, "since", e->since_unix_ms);
	store_add_time(to, "due", e->due_unix_ms);
	store_add_time(to, "failing_since", e->failing_unix_ms);
	store_add_time(to, "verify_at", e->verify_unix_ms);
	store_add_time(to, "look_again", e->look_again_unix_ms);
}

static void add_lease(cJSON *to, struct slice record)
{
	struct queue_lease lease;
	cJSON *object;
	char worker[20];

	if (rows_get_lease(record, &lease) < 0) {
		cJSON_AddNullToObject(to, "lease");
		return;
	}
	object = cJSON_AddObjectToObject(to, "lease");
	store_add_number(object, "epoch", lease.epoch);
	store_add_number(object, "page", lease.page);
	store_add_number(object, "index", lease.index);
	snprintf(worker, sizeof(worker), "%016" PRIx64, lease.worker);
	cJSON_AddStringToObject(object, "worker", worker);
	store_add_number(object, "version", lease.version);
	store_add_time(object, "deadline", lease.deadline_unix_ms);
}

static void add_target(cJSON *targets, const struct store_target *t, const redisReply *hash,
		       struct slice stuck, struct slice lease)
{
	struct queue_entry_row entry;
	struct fp applied = {0};
	cJSON *to;

	if (rows_get_entry(field_of(hash, t->entry), &entry) < 0)
		return;
	to = cJSON_AddObjectToObject(targets, t->name);
	add_entry(to, &entry);
	store_add_link(to, field_of(hash, t->link));
	if (rows_get_fp(field_of(hash, t->applied), &applied) == 0)
		store_add_hex(to, "applied", applied.b, sizeof(applied.b));
	else
		cJSON_AddStringToObject(to, "applied", "");
	store_add_json(to, "error", field_of(hash, t->error));
	store_add_json(to, "stuck", stuck);
	add_lease(to, lease);
}

static void add_user(cJSON *to, const struct id *id, const struct queue_user_row *row)
{
	struct wire_list in = row->in, refs = row->refs;
	struct wire_name name;
	struct wire_ref ref;
	cJSON *list, *object;

	store_add_id(to, "id", id);
	store_add_text(to, "source", row->source);
	store_add_number(to, "version", row->version);
	cJSON_AddBoolToObject(to, "gone", row->gone);
	store_add_hex(to, "fingerprint", row->fingerprint.b, sizeof(row->fingerprint.b));
	list = cJSON_AddArrayToObject(to, "in");
	while (wire_next_name(&in, &name)) {
		char *text = slice_dup(name.text);

		cJSON_AddItemToArray(list, cJSON_CreateString(text));
		free(text);
	}
	object = cJSON_AddObjectToObject(to, "refs");
	while (wire_next_ref(&refs, &ref)) {
		char *text = slice_dup(ref.name);

		store_add_id(object, text, &ref.id);
		free(text);
	}
}

static void user_read(void *arg, enum redis_class class, const redisReply *reply)
{
	struct read *r = arg;
	struct store *s = r->s;
	struct queue_user_row row = {0};
	const redisReply *hash;
	struct slice refs;
	cJSON *user, *targets;

	if (class != REDIS_CLASS_OK || !reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements < 1) {
		answer(r, NULL);
		return;
	}
	hash = reply->element[0];
	if (rows_get_user(field_of(hash, "u"), &row) < 0) {
		r->text(r->arg, true, (struct slice){0});
		read_free(r);
		return;
	}
	refs = field_of(hash, "r");
	if (refs.n > 0 && rows_get_refs(refs, &row.refs) < 0)
		row.refs = (struct wire_list){0};
	user = cJSON_CreateObject();
	add_user(user, &r->ids[0], &row);
	store_add_json(user, "snapshot", field_of(hash, "d"));
	targets = cJSON_AddObjectToObject(user, "targets");
	for (size_t i = 0; i < s->conf.targets_n && 2 + 2 * i < reply->elements; i++)
		add_target(targets, &s->targets[i], hash, store_text(reply->element[1 + 2 * i]),
			   store_text(reply->element[2 + 2 * i]));
	answer(r, user);
}

void store_user_json(struct store *s, const struct id *id, store_text_fn fn, void *arg)
{
	struct read *r = read_new(s, arg);
	size_t keys = 1 + 2 * s->conf.targets_n, at = 0;
	struct slice *argv = mem_array(keys + 4, sizeof(*argv));
	CLEANUP(free_cleanup) char *key = user_key(s, id);
	char count[24];

	r->text = fn;
	r->ids = mem_array(1, sizeof(*r->ids));
	r->ids[0] = *id;
	snprintf(count, sizeof(count), "%zu", keys);
	argv[at++] = SLICE("FCALL_RO");
	argv[at++] = store_function("user");
	argv[at++] = slice_of(count);
	argv[at++] = slice_of(key);
	for (size_t i = 0; i < s->conf.targets_n; i++) {
		argv[at++] = slice_of(s->targets[i].stuck);
		argv[at++] = slice_of(s->targets[i].flight);
	}
	argv[at++] = (struct slice){(const char *)id->b, sizeof(id->b)};
	redis_call(s->redis, argv, at, user_read, r);
	free(argv);
}

/* ---- lists: HSCAN until there are `most` or no more ---- */

static cJSON *stuck_row(struct slice name, struct slice value)
{
	struct id id;
	cJSON *row;

	if (name.n != sizeof(id.b))
		return NULL;
	memcpy(id.b, name.p, sizeof(id.b));
	row = cJSON_CreateObject();
	store_add_id(row, "user", &id);
	store_add_json(row, "stuck", value);
	return row;
}

static bool is_wanted(const struct read *r, const cJSON *row)
{
	const char *kind = json_text(json_object(row, "stuck"), "kind");

	return !r->kind || (kind && strcmp(kind, r->kind) == 0);
}

static void scan_hash(struct read *r, struct slice cursor);

static void rows_read(void *arg, enum redis_class class, const redisReply *reply)
{
	struct read *r = arg;
	const redisReply *fields;
	struct slice cursor;
	cJSON *list = r->list;

	if (class != REDIS_CLASS_OK || !reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements != 2) {
		answer(r, NULL);
		return;
	}
	cursor = store_text(reply->element[0]);
	fields = reply->element[1];
	for (size_t i = 0; i + 1 < fields->elements && r->n < r->most; i += 2) {
		cJSON *row =
			r->row(store_text(fields->element[i]), store_text(fields->element[i + 1]));

		if (row && is_wanted(r, row)) {
			cJSON_AddItemToArray(list, row);
			r->n++;
		} else {
			cJSON_Delete(row);
		}
	}
	if (cursor.n > 0 && !slice_is(cursor, "0") && r->n < r->most) {
		scan_hash(r, cursor);
		return;
	}
	r->list = NULL;
	answer(r, list);
}

static void scan_hash(struct read *r, struct slice cursor)
{
	char count[24];

	/* A small hash (listpack) comes whole whatever the count. */
	snprintf(count, sizeof(count), "%zu", r->most);

	struct slice argv[] = {SLICE("HSCAN"), slice_of(r->key), cursor, SLICE("COUNT"),
			       slice_of(count)};

	redis_call(r->s->redis, argv, 5, rows_read, r);
}

static void list_hash(struct read *r, const char *key, size_t most, row_fn row)
{
	r->key = key;
	r->most = most;
	r->row = row;
	r->list = cJSON_CreateArray();
	scan_hash(r, SLICE("0"));
}

void store_stuck_json(struct store *s, const char *target, const char *kind, size_t most,
		      store_text_fn fn, void *arg)
{
	struct read *r = read_new(s, arg);

	r->text = fn;
	r->kind = kind;
	list_hash(r, target_named(s, target)->stuck, most, stuck_row);
}

/* What the engine put there: "s:FIELD" of a source, "t:FIELD" of a target. */
static void guard_read(void *arg, enum redis_class class, const redisReply *reply)
{
	struct read *r = arg;
	cJSON *holds;

	if (class != REDIS_CLASS_OK || !reply || reply->type != REDIS_REPLY_ARRAY) {
		answer(r, NULL);
		return;
	}
	holds = cJSON_CreateObject();
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		struct slice name = store_text(reply->element[i]);
		char *text;

		if (name.n < 2 || memcmp(name.p, r->kind, 2) != 0 || !utf8_valid(name))
			continue;
		text = slice_dup((struct slice){name.p + 2, name.n - 2});
		store_add_text(holds, text, store_text(reply->element[i + 1]));
		free(text);
	}
	answer(r, holds);
}

void store_holds_json(struct store *s, const char *source, store_text_fn fn, void *arg)
{
	struct read *r = read_new(s, arg);
	struct slice argv[] = {SLICE("HGETALL"), slice_of(source_named(s, source)->guard)};

	r->text = fn;
	r->kind = "s:";
	redis_call(s->redis, argv, 2, guard_read, r);
}

void store_guard_json(struct store *s, const char *target, store_text_fn fn, void *arg)
{
	struct read *r = read_new(s, arg);
	struct slice argv[] = {SLICE("HGETALL"), slice_of(target_named(s, target)->guard)};

	r->text = fn;
	r->kind = "t:";
	redis_call(s->redis, argv, 2, guard_read, r);
}

static void log_read(void *arg, enum redis_class class, const redisReply *reply)
{
	struct read *r = arg;
	cJSON *lines;

	if (class != REDIS_CLASS_OK || !reply || reply->type != REDIS_REPLY_ARRAY) {
		answer(r, NULL);
		return;
	}
	lines = cJSON_CreateArray();
	for (size_t i = reply->elements; i-- > 0;) {
		const redisReply *entry = reply->element[i];
		cJSON *line;

		if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
		    entry->element[1]->type != REDIS_REPLY_ARRAY)
			continue;
		line = json_parse(field_of(entry->element[1], "j"), NULL);
		if (line)
			cJSON_AddItemToArray(lines, line);
	}
	answer(r, lines);
}

static void newest(struct store *s, const char *key, size_t most, store_text_fn fn, void *arg)
{
	struct read *r = read_new(s, arg);
	char count[24];

	snprintf(count, sizeof(count), "%zu", most);

	struct slice argv[] = {SLICE("XREVRANGE"), slice_of(key),  SLICE("+"),
			       SLICE("-"),	   SLICE("COUNT"), slice_of(count)};

	r->text = fn;
	redis_call(s->redis, argv, 6, log_read, r);
}

void store_log_json(struct store *s, size_t most, store_text_fn fn, void *arg)
{
	newest(s, s->key_log, most, fn, arg);
}

void store_errors_json(struct store *s, const char *target, size_t most, store_text_fn fn,
		       void *arg)
{
	newest(s, target_named(s, target)->errors, most, fn, arg);
}
