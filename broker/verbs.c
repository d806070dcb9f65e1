#include "admin_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 500 }; /* users that one page takes of a request for many */

/* ---- what verbs share ---- */

const struct store_conf *request_names(const struct request *r)
{
	return &session_conf(r->session)->turn.store;
}

struct turn *request_turn(const struct request *r)
{
	return session_turn(r->session);
}

struct store *request_store(const struct request *r)
{
	return turn_store(request_turn(r));
}

void request_unavailable(struct request *r)
{
	const char *why = store_why(request_store(r));

	request_failed(r, "unavailable", *why ? why : "the store is away");
}

/* False: answered. */
bool request_ready(struct request *r)
{
	if (turn_queue(request_turn(r)))
		return true;
	request_unavailable(r);
	return false;
}

bool request_target(struct request *r, unsigned *ret)
{
	const char *name = json_text(r->json, "target");
	unsigned target;

	if (!name) {
		request_failed(r, "bad_request", "target is missing");
		return false;
	}
	target = queue_target_named(turn_queue(request_turn(r)), slice_of(name));
	if (target >= request_names(r)->targets_n) {
		request_failed(r, "not_found", "no such target");
		return false;
	}
	*ret = target;
	return true;
}

bool request_user(struct request *r, struct id *ret)
{
	const char *text = json_text(r->json, "user");

	if (text && id_parse(slice_of(text), ret) == 0)
		return true;
	request_failed(r, "bad_request", text ? "user is not an id" : "user is missing");
	return false;
}

/* One target, or all of them. */
bool request_targets(struct request *r)
{
	r->last = (unsigned)request_names(r)->targets_n;
	if (!cJSON_HasObjectItem(r->json, "target"))
		return true;
	if (!request_target(r, &r->target))
		return false;
	r->last = r->target + 1;
	return true;
}

bool request_most(struct request *r)
{
	int64_t most = json_int(r->json, "most", ADMIN_MOST_DEFAULT);

	if (most < 1 || most > ADMIN_MOST) {
		request_failed(r, "bad_request", "most must be 1 to 10000");
		return false;
	}
	r->most = (size_t)most;
	return true;
}

bool request_from(struct request *r, unsigned *ret_place)
{
	const char *from = json_text(r->json, "from");
	char *end;

	if (!from)
		return true;
	*ret_place = (unsigned)strtoul(from, &end, 10);
	if (*end == ':')
		r->walk = strtoull(end + 1, &end, 10);
	if (*from < '0' || *from > '9' || *end || r->walk > UINT32_MAX) {
		request_failed(r, "bad_request", "from is not what `next` gave");
		return false;
	}
	return true;
}

cJSON *request_next(unsigned place, uint64_t number)
{
	char text[48];

	snprintf(text, sizeof(text), "%u:%llu", place, (unsigned long long)number);
	return cJSON_CreateString(text);
}

void request_changed(struct request *r)
{
	cJSON *result = cJSON_CreateObject();

	cJSON_AddNumberToObject(result, "changed", (double)r->changed);
	if (r->missing > 0)
		cJSON_AddNumberToObject(result, "missing", (double)r->missing);
	cJSON_AddBoolToObject(result, "more", r->more);
	request_done(r, result);
}

/* The page with the change is on disk, or lost. */
static void written(void *arg, bool ok)
{
	struct request *r = arg;

	if (ok)
		request_changed(r);
	else
		request_failed(r, "failed", "the page was lost before it was on disk: ask again");
}

void request_changed_one(struct request *r, int rc, const char *missing)
{
	if (rc < 0) {
		request_failed(r, "not_found", missing);
		return;
	}
	r->changed = 1;
	turn_then(request_turn(r), written, r);
}

cJSON *request_parsed(struct slice json)
{
	return json.n > 0 ? json_parse(json, NULL) : NULL;
}

/* ---- show ---- */

static void status(struct request *r)
{
	request_done(r, session_status(r->session));
}

static void queue(struct request *r)
{
	cJSON *result;

	if (!request_ready(r))
		return;
	result = session_queue(r->session, slice_of(json_text(r->json, "target")));
	if (result)
		request_done(r, result);
	else
		request_failed(r, "not_found", "no such target");
}

static void user_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *user = request_parsed(json);

	if (user)
		request_done(r, user);
	else if (ok && json.n == 0)
		request_failed(r, "not_found", "no such user");
	else
		request_unavailable(r);
}

static void user_show(struct request *r)
{
	struct id id;

	if (request_user(r, &id))
		store_user_json(request_store(r), &id, user_read, r);
}

/* The newest `most` lines of one target. */
static void lines_of(cJSON *lines, const char *target, size_t most)
{
	cJSON *line = lines->child;
	size_t n = 0;

	while (line) {
		cJSON *next = line->next;
		const char *of = json_text(line, "target");

		if (of && strcmp(of, target) == 0)
			n++;
		else
			cJSON_Delete(cJSON_DetachItemViaPointer(lines, line));
		line = next;
	}
	for (; n > most; n--)
		cJSON_Delete(cJSON_DetachItemViaPointer(lines, lines->child));
}

static void log_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *lines = request_parsed(json), *result;
	const char *target = json_text(r->json, "target");

	if (!ok || !lines) {
		cJSON_Delete(lines);
		request_unavailable(r);
		return;
	}
	if (target)
		lines_of(lines, target, r->most);
	result = cJSON_CreateObject();
	cJSON_AddItemToObject(result, "lines", lines);
	request_done(r, result);
}

static void show_log(struct request *r)
{
	bool one = cJSON_HasObjectItem(r->json, "target");

	if (!request_most(r) || (one && (!request_ready(r) || !request_target(r, &r->target))))
		return;
	store_log_json(request_store(r), one ? ADMIN_MOST : r->most, log_read, r);
}

/* ---- lists: target by target ---- */

static size_t room(const struct request *r)
{
	return r->most - (size_t)cJSON_GetArraySize(r->list);
}

/* {"user","stuck":{kind, reason…}} becomes one flat object with its target. */
static void list_stuck(struct request *r, cJSON *row)
{
	cJSON *stuck = cJSON_DetachItemFromObjectCaseSensitive(row, "stuck");

	if (room(r) == 0) {
		r->more = true;
		cJSON_Delete(stuck);
		cJSON_Delete(row);
		return;
	}
	cJSON_AddStringToObject(row, "target", request_names(r)->targets[r->target]);
	while (stuck->child) {
		cJSON *field = cJSON_DetachItemViaPointer(stuck, stuck->child);

		cJSON_AddItemToObject(row, field->string, field);
	}
	cJSON_Delete(stuck);
	cJSON_AddItemToArray(r->list, row);
}

static void list_end(struct request *r, const char *name)
{
	cJSON *result = cJSON_CreateObject();

	cJSON_AddItemToObject(result, name, r->list);
	r->list = NULL;
	cJSON_AddBoolToObject(result, "more", r->more);
	request_done(r, result);
}

static void next_stuck(struct request *r);

static void stuck_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *rows = request_parsed(json);

	if (!ok || !rows) {
		cJSON_Delete(rows);
		request_unavailable(r);
		return;
	}
	while (rows->child)
		list_stuck(r, cJSON_DetachItemViaPointer(rows, rows->child));
	cJSON_Delete(rows);
	r->target++;
	next_stuck(r);
}

static void next_stuck(struct request *r)
{
	if (r->target < r->last)
		store_stuck_json(request_store(r), request_names(r)->targets[r->target], r->kind,
				 r->most + 1, stuck_read, r);
	else
		list_end(r, "users");
}

static void next_errors(struct request *r);

static void errors_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *rows = request_parsed(json);

	if (!ok || !rows) {
		cJSON_Delete(rows);
		request_unavailable(r);
		return;
	}
	while (rows->child) {
		cJSON *row = cJSON_DetachItemViaPointer(rows, rows->child);

		if (room(r) > 0) {
			cJSON_AddItemToArray(r->list, row);
			continue;
		}
		r->more = true;
		cJSON_Delete(row);
	}
	cJSON_Delete(rows);
	r->target++;
	next_errors(r);
}

static void next_errors(struct request *r)
{
	if (r->target < r->last)
		store_errors_json(request_store(r), request_names(r)->targets[r->target],
				  room(r) + 1, errors_read, r);
	else
		list_end(r, "errors");
}

static void errors_ls(struct request *r)
{
	if (!request_ready(r) || !request_most(r) || !request_targets(r))
		return;
	r->list = cJSON_CreateArray();
	next_errors(r);
}

static void list_kind(struct request *r, const char *kind)
{
	if (!request_ready(r) || !request_most(r) || !request_targets(r))
		return;
	r->kind = kind;
	r->list = cJSON_CreateArray();
	next_stuck(r);
}

static void dead_ls(struct request *r)
{
	list_kind(r, "dead");
}

static void parked_ls(struct request *r)
{
	list_kind(r, "parked");
}

/* ---- changes ---- */

typedef int (*change_fn)(struct queue *q, struct queue_page *page, unsigned target,
			 const struct id *user);

static change_fn change_of(const struct request *r)
{
	return strcmp(json_text(r->json, "verb"), "dead_drop") == 0 ? queue_drop : queue_retry;
}

/* A page of them, then the next when it is on disk. */
static void next_dead(void *arg, bool ok)
{
	struct request *r = arg;
	change_fn change = change_of(r);
	size_t n = (size_t)cJSON_GetArraySize(r->list), end = r->at + STEP;
	struct id id;

	if (!ok || !turn_queue(request_turn(r))) {
		request_failed(r, "failed", "Redis went away: ask again");
		return;
	}
	if (r->at >= n) {
		request_changed(r);
		return;
	}
	for (; r->at < n && r->at < end; r->at++) {
		const char *user = json_text(cJSON_GetArrayItem(r->list, (int)r->at), "user");

		if (user && id_parse(slice_of(user), &id) == 0 &&
		    change(turn_queue(request_turn(r)), turn_page(request_turn(r)), r->target,
			   &id) == 0)
			r->changed++;
	}
	turn_then(request_turn(r), next_dead, r);
}

static void dead_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *rows = request_parsed(json);

	if (!ok || !rows) {
		cJSON_Delete(rows);
		request_unavailable(r);
		return;
	}
	while (rows->child)
		list_stuck(r, cJSON_DetachItemViaPointer(rows, rows->child));
	cJSON_Delete(rows);
	r->more = r->more || room(r) == 0;
	next_dead(r, true);
}

static void dead_change(struct request *r)
{
	struct id id;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (json_true(r->json, "all", false)) {
		r->kind = "dead";
		r->most = ADMIN_MOST;
		r->list = cJSON_CreateArray();
		store_stuck_json(request_store(r), request_names(r)->targets[r->target], r->kind,
				 ADMIN_MOST, dead_read, r);
		return;
	}
	if (!request_user(r, &id))
		return;
	request_changed_one(r,
			    change_of(r)(turn_queue(request_turn(r)), turn_page(request_turn(r)),
					 r->target, &id),
			    "no such user there, or not dead");
}

static void next_resync(void *arg, bool ok)
{
	struct request *r = arg;
	struct id id;
	size_t n = 0;

	if (!ok || !turn_queue(request_turn(r))) {
		request_failed(r, "failed", "Redis went away: ask again");
		return;
	}
	while (n < STEP && r->source < request_names(r)->sources_n) {
		if (!queue_walk(turn_queue(request_turn(r)), r->source, &r->walk, &id)) {
			r->source++;
			r->walk = 0;
			continue;
		}
		n++;
		if (queue_resync(turn_queue(request_turn(r)), turn_page(request_turn(r)), r->target,
				 &id) == 0)
			r->changed++;
	}
	if (n == 0)
		request_changed(r);
	else
		turn_then(request_turn(r), next_resync, r);
}

static void resync(struct request *r)
{
	struct id id;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (!cJSON_HasObjectItem(r->json, "user")) {
		next_resync(r, true);
		return;
	}
	if (request_user(r, &id))
		request_changed_one(r,
				    queue_resync(turn_queue(request_turn(r)),
						 turn_page(request_turn(r)), r->target, &id),
				    "no such user at that target");
}

static void set_pause(struct request *r)
{
	bool paused = strcmp(json_text(r->json, "verb"), "pause") == 0;
	const char *why = json_text(r->json, "why");

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	request_changed_one(r,
			    queue_set_pause(turn_queue(request_turn(r)), turn_page(request_turn(r)),
					    r->target, paused, slice_of(why)),
			    "no such target");
}

static void confirm_hold(struct request *r)
{
	const char *source = json_text(r->json, "source"), *kind = json_text(r->json, "kind");
	const char *name = json_text(r->json, "name");
	unsigned index;

	if (!request_ready(r))
		return;
	if (!source || !kind || !name ||
	    (strcmp(kind, "group") != 0 && strcmp(kind, "source") != 0)) {
		request_failed(r, "bad_request",
			       "source, kind (group or source) and name are needed");
		return;
	}
	index = queue_source_named(turn_queue(request_turn(r)), slice_of(source));
	if (index >= request_names(r)->sources_n) {
		request_failed(r, "not_found", "no such source");
		return;
	}
	request_changed_one(r,
			    queue_confirm(turn_queue(request_turn(r)), turn_page(request_turn(r)),
					  index, kind[0] == 's', slice_of(name)),
			    "nothing of that name is held");
}

/* ---- the table ---- */

static const struct {
	const char *verb;
	void (*fn)(struct request *r);
} verbs[] = {
	{"status", status},
	{"queue", queue},
	{"user_show", user_show},
	{"dead_ls", dead_ls},
	{"parked_ls", parked_ls},
	{"errors_ls", errors_ls},
	{"dead_retry", dead_change},
	{"dead_drop", dead_change},
	{"held_ls", verbs_held_ls},
	{"confirm_hold", confirm_hold},
	{"held_judge", verbs_held_judge},
	{"link_ls", verbs_link_ls},
	{"link_add", verbs_link_change},
	{"link_rm", verbs_link_change},
	{"resync", resync},
	{"pause", set_pause},
	{"resume", set_pause},
	{"log", show_log},
	{"plan_page", plan_page},
	{"plan_guard", plan_guard},
	{"drifted", sync_drifted},
	{"reconciled", sync_reconciled},
	{"sync_users", sync_users},
	{"sync_state", sync_state},
	{"read_all", sync_read_all},
	{"apply", apply_rows},
	{"apply_state", apply_state},
	{"plan_claims", plan_claims},
	{"user_find", plan_find},
	{"licence_ls", verbs_licence_ls},
	{"licence_reinstate", verbs_licence_reinstate},
};

bool verbs_call(struct request *r, const char *verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].verb, verb) != 0)
			continue;
		verbs[i].fn(r);
		return true;
	}
	return false;
}
