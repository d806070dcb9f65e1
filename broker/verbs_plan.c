/* What `dirpipe plan`, `apply` and `reconcile` ask: users as tasks would carry them, and what the guard would say. */
#include "admin_impl.h"
#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PAGE_MOST = 500, WALK_MOST = 20000, CLAIMS_MOST = 1000, FOUND_MOST = 100000 };

/* ---- pages of users ---- */

struct page {
	struct request *r;
	struct buf records;
	uint32_t n;
	struct buf states; /* a letter for each */
	cJSON *held;
};

static void add_held(struct page *page, const struct id *user)
{
	static const char *const phases[QUEUE_HELD_PHASES] = {"wanted", "granted", "held"};
	const struct queue *q = turn_queue(request_turn(page->r));
	struct queue_held_row row;
	uint32_t cursor = 0;
	char text[ID_TEXT];

	id_format(user, text);
	while (q && queue_held_next(q, page->r->target, user, &cursor, &row)) {
		cJSON *o = cJSON_CreateObject();
		char *op = slice_dup(row.op), *what = slice_dup(row.what);

		cJSON_AddStringToObject(o, "user", text);
		cJSON_AddStringToObject(o, "op", op);
		cJSON_AddStringToObject(o, "what", what);
		cJSON_AddStringToObject(o, "phase", phases[row.phase]);
		cJSON_AddItemToArray(page->held, o);
		free(op);
		free(what);
	}
}

static void add_user(struct page *page, const struct store_peek *row)
{
	_Static_assert(QUEUE_STATES == 6, "a letter for each state");
	const struct store_task *t = &row->task;

	if (t->source.n == 0 || (!row->entry && !row->in))
		return; /* the target has nothing to do with this one */
	wire_add_task(&page->records, &(struct wire_task){.lease_index = page->n++,
							  .id = t->id,
							  .source = t->source,
							  .version = row->version,
							  .gone = row->gone,
							  .in = row->in,
							  .verify = row->verify == QUEUE_VERIFY_NOW,
							  .applied = t->applied,
							  .rid = t->rid,
							  .link_state = t->link_state,
							  .link_revision = t->link_revision,
							  .link_memory = t->memory,
							  .rids = t->rids,
							  .snapshot = t->snapshot});
	buf_addc(&page->states, "cdfrpx"[row->state]);
	add_held(page, &t->id);
}

static void page_answer(struct page *page, struct request *r)
{
	CLEANUP(buf_cleanup) struct buf body = {0}, text = {0};
	const struct wire_tasks tasks = {clock_unix_ms(), wire_list_of(&page->records, page->n)};
	struct queue *q = turn_queue(request_turn(r));
	cJSON *result = cJSON_CreateObject(), *next;
	uint64_t total = 0;

	for (unsigned i = 0; q && i < request_names(r)->sources_n; i++)
		total += queue_users(q, i);
	wire_put_tasks(&body, &tasks);
	buf_add_base64(&text, body.p, body.n);
	cJSON_AddNumberToObject(result, "wire", WIRE_VERSION);
	cJSON_AddStringToObject(result, "tasks", text.p);
	cJSON_AddStringToObject(result, "states", page->states.n ? page->states.p : "");
	cJSON_AddItemToObject(result, "held", page->held);
	cJSON_AddNumberToObject(result, "total", (double)total);
	cJSON_AddNumberToObject(result, "unchanged", (double)r->changed);
	if (r->more) {
		next = cJSON_AddArrayToObject(result, "next");
		cJSON_AddItemToArray(next, cJSON_CreateNumber(r->source));
		cJSON_AddItemToArray(next, cJSON_CreateNumber((double)r->walk));
	} else {
		cJSON_AddNullToObject(result, "next");
	}
	request_done(r, result);
}

static void page_read(void *arg, bool ok, const struct store_peek *rows, size_t n)
{
	struct request *r = arg;
	struct page page = {.r = r};

	if (!ok) {
		request_unavailable(r);
		return;
	}
	page.held = cJSON_CreateArray();
	for (size_t i = 0; i < n; i++)
		add_user(&page, &rows[i]);
	page_answer(&page, r);
	buf_done(&page.records);
	buf_done(&page.states);
}

static bool take_cursor(struct request *r)
{
	const cJSON *at = json_get(r->json, "at");
	const cJSON *source = cJSON_GetArrayItem(at, 0), *walk = cJSON_GetArrayItem(at, 1);

	if (!at)
		return true;
	if (!cJSON_IsNumber(source) || !cJSON_IsNumber(walk) || source->valuedouble < 0 ||
	    source->valuedouble > 1000 || walk->valuedouble < 0 || walk->valuedouble > 1e12)
		return false;
	r->source = (unsigned)source->valuedouble;
	r->walk = (uint64_t)walk->valuedouble;
	return true;
}

/* Who is clean by the asker's own configuration has nothing to be done: the queue itself says so, and nothing is read. */
static bool settled(const struct request *r)
{
	const struct queue *q = turn_queue(request_turn(r));
	struct fp config;

	return q && request_fp(json_text(r->json, "config"), &config) == 0 &&
	       queue_config_settled(q, r->target, &config);
}

static bool is_clean(const struct request *r, const struct id *user)
{
	const struct queue *q = turn_queue(request_turn(r));
	struct queue_entry_row row;
	struct queue_held_row held;
	uint32_t cursor = 0;

	return queue_peek(q, r->target, user, &row) == 0 && row.state == QUEUE_CLEAN &&
	       row.verify != QUEUE_VERIFY_NOW &&
	       !queue_held_next(q, r->target, user, &cursor, &held);
}

/* The next users of the walk; r->changed: how many clean ones were left out; r->more: there may be others. */
static size_t next_users(struct request *r, struct id ids[PAGE_MOST])
{
	const struct queue *q = turn_queue(request_turn(r));
	bool skips = settled(r);
	size_t n = 0;

	for (size_t walked = 0;
	     n < PAGE_MOST && walked < WALK_MOST && r->source < request_names(r)->sources_n;
	     walked++) {
		if (!queue_walk(q, r->source, &r->walk, &ids[n])) {
			r->source++;
			r->walk = 0;
		} else if (skips && is_clean(r, &ids[n])) {
			r->changed++;
		} else {
			n++;
		}
	}
	r->more = r->source < request_names(r)->sources_n;
	return n;
}

static int named_users(const cJSON *users, struct id ids[PAGE_MOST], size_t *ret_n)
{
	const cJSON *user;

	*ret_n = 0;
	cJSON_ArrayForEach (user, users) {
		if (*ret_n == PAGE_MOST || !cJSON_IsString(user) ||
		    id_parse(slice_of(user->valuestring), &ids[*ret_n]) < 0)
			return -EINVAL;
		++*ret_n;
	}
	return 0;
}

void plan_page(struct request *r)
{
	const cJSON *users = json_array(r->json, "users");
	struct id ids[PAGE_MOST];
	size_t n;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (!take_cursor(r) || (users && named_users(users, ids, &n) < 0)) {
		request_failed(r, "bad_request",
			       "at is no cursor, or users are not at most 500 ids");
		return;
	}
	if (!users)
		n = next_users(r, ids);
	store_peek(request_store(r), request_names(r)->targets[r->target], ids, n, page_read, r);
}

/* ---- what would be said ---- */

void plan_guard(struct request *r)
{
	struct queue_counts counts;
	struct queue *q;
	int64_t more = json_int(r->json, "more", 0);
	cJSON *result;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	q = turn_queue(request_turn(r));
	queue_counts(q, r->target, &counts);
	result = cJSON_CreateObject();
	cJSON_AddBoolToObject(result, "holds",
			      more > 0 && queue_guard_holds(q, r->target, (uint64_t)more));
	cJSON_AddNumberToObject(result, "in_scope", (double)counts.in_scope);
	request_done(r, result);
}

static bool refused(const struct request *r, const cJSON *claim)
{
	const cJSON *rid = cJSON_GetArrayItem(claim, 0), *user = cJSON_GetArrayItem(claim, 1);
	struct id id, owner;

	if (!cJSON_IsString(rid) || !cJSON_IsString(user) ||
	    id_parse(slice_of(user->valuestring), &id) < 0)
		return true;
	return queue_rid_owner(turn_queue(request_turn(r)), r->target, slice_of(rid->valuestring),
			       &owner) == 0 &&
	       !id_equal(&id, &owner);
}

void plan_claims(struct request *r)
{
	const cJSON *claims = json_array(r->json, "claims"), *claim;
	cJSON *result, *list;
	int at = 0;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (!claims || cJSON_GetArraySize(claims) > CLAIMS_MOST) {
		request_failed(r, "bad_request",
			       "claims are at most 1000 pairs of account and user");
		return;
	}
	result = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(result, "refused");
	cJSON_ArrayForEach (claim, claims) {
		if (refused(r, claim))
			cJSON_AddItemToArray(list, cJSON_CreateNumber(at));
		at++;
	}
	request_done(r, result);
}

/* ---- whom a text means ---- */

static bool has_text(const cJSON *list, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (cJSON_IsString(item) && strcasecmp(item->valuestring, text) == 0)
			return true;
	}
	return false;
}

static bool means(const cJSON *snapshot, const char *text, bool group)
{
	const char *dn = json_text(snapshot, "dn");
	const cJSON *attr;

	if (group)
		return has_text(json_array(snapshot, "groups"), text);
	if (dn && strcasecmp(dn, text) == 0)
		return true;
	cJSON_ArrayForEach (attr, json_object(snapshot, "attrs")) {
		if (has_text(attr, text))
			return true;
	}
	return false;
}

struct found {
	struct request *r;
	struct id *ids;
	size_t n, at;
	cJSON *list;
};

static void found_next(struct found *f);

static void found_end(struct found *f, bool ok)
{
	struct request *r = f->r;
	cJSON *result;

	if (ok) {
		result = cJSON_CreateObject();
		cJSON_AddItemToObject(result, "users", f->list);
		request_done(r, result);
	} else {
		cJSON_Delete(f->list);
		request_unavailable(r);
	}
	free(f->ids);
	free(f);
}

static void found_read(void *arg, bool ok, const struct store_peek *rows, size_t n)
{
	struct found *f = arg;
	const char *text = json_text(f->r->json, "text");
	bool group = json_true(f->r->json, "group", false);

	for (size_t i = 0; i < n; i++) {
		cJSON *snapshot = rows[i].gone ? NULL : json_parse(rows[i].task.snapshot, NULL), *o;
		char id[ID_TEXT];

		if (snapshot && means(snapshot, text, group)) {
			id_format(&rows[i].task.id, id);
			o = cJSON_CreateObject();
			cJSON_AddStringToObject(o, "user", id);
			cJSON_AddStringToObject(o, "dn", json_text(snapshot, "dn"));
			cJSON_AddItemToArray(f->list, o);
		}
		cJSON_Delete(snapshot);
	}
	if (ok)
		found_next(f);
	else
		found_end(f, false);
}

static void found_next(struct found *f)
{
	size_t n = f->n - f->at < PAGE_MOST ? f->n - f->at : PAGE_MOST;

	if (n == 0) {
		found_end(f, true);
		return;
	}
	f->at += n;
	store_peek(request_store(f->r), request_names(f->r)->targets[0], f->ids + f->at - n, n,
		   found_read, f);
}

static void found(void *arg, bool ok, const struct id *ids, size_t n)
{
	struct found *f = mem_alloc(sizeof(*f));

	*f = (struct found){.r = arg, .n = n, .list = cJSON_CreateArray()};
	f->ids = mem_array(n + 1, sizeof(*ids));
	for (size_t i = 0; i < n; i++)
		f->ids[i] = ids[i];
	if (ok)
		found_next(f);
	else
		found_end(f, false);
}

/* Snapshots hold texts as JSON strings: so does what is looked for. */
void plan_find(struct request *r)
{
	const char *text = json_text(r->json, "text");
	CLEANUP(buf_cleanup) struct buf quoted = {0};

	if (!request_ready(r))
		return;
	if (!text || !*text || strlen(text) > 1000 || request_names(r)->targets_n == 0) {
		request_failed(r, "bad_request", "text is missing or too long");
		return;
	}
	json_quote(slice_of(text), &quoted);
	store_find(request_store(r), buf_slice(&quoted), FOUND_MOST, found, r);
}
