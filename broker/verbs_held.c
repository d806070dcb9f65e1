/* What the guard holds, told in parts, and a person's word for it. */
#include "admin_impl.h"
#include "clock.h"

#include <stdlib.h>
#include <string.h>

enum { PART = 500 };

/* ---- the list ---- */

static void list_end(struct request *r)
{
	cJSON *result = cJSON_CreateObject(), *everything;
	struct queue *q = turn_queue(request_turn(r));
	bool more = r->target < r->last;

	cJSON_AddItemToObject(result, "held", r->list);
	r->list = NULL;
	if (r->holds)
		cJSON_AddItemToObject(result, "holds", r->holds);
	r->holds = NULL;
	everything = cJSON_AddArrayToObject(result, "everything");
	for (unsigned t = 0; q && t < request_names(r)->targets_n; t++)
		if (queue_holds_all(q, t))
			cJSON_AddItemToArray(everything,
					     cJSON_CreateString(request_names(r)->targets[t]));
	cJSON_AddItemToObject(result, "next",
			      more ? request_next(r->target, r->walk) : cJSON_CreateNull());
	cJSON_AddBoolToObject(result, "more", more);
	request_done(r, result);
}

/* Fields of guard:SOURCE are "hold:KIND:NAME" with JSON {was, now, …} as the engine wrote it. */
static void list_hold(struct request *r, const char *source, const cJSON *field)
{
	cJSON *hold = cJSON_IsString(field) ? json_parse(slice_of(field->valuestring), NULL) : NULL;
	const char *name = field->string;
	int64_t since = json_int(hold, "since", 0);
	char at[CLOCK_RFC3339];

	if (strncmp(name, "hold:", 5) != 0 || !name[5] || name[6] != ':') {
		cJSON_Delete(hold);
		return;
	}
	if (!cJSON_IsObject(hold)) {
		cJSON_Delete(hold);
		hold = cJSON_CreateObject();
	}
	cJSON_AddStringToObject(hold, "source", source);
	clock_rfc3339(since, at);
	cJSON_DeleteItemFromObjectCaseSensitive(hold, "since");
	cJSON_AddStringToObject(hold, "since", at);
	cJSON_DeleteItemFromObjectCaseSensitive(hold, "kind");
	cJSON_AddStringToObject(hold, "kind", name[5] == '1' ? "source" : "group");
	cJSON_DeleteItemFromObjectCaseSensitive(hold, "name");
	cJSON_AddStringToObject(hold, "name", name + 7);
	cJSON_AddItemToArray(r->holds, hold);
}

static void next_source(struct request *r);

static void holds_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *fields = request_parsed(json);
	const cJSON *field;

	if (!ok || !fields) {
		cJSON_Delete(fields);
		request_unavailable(r);
		return;
	}
	cJSON_ArrayForEach (field, fields)
		list_hold(r, request_names(r)->sources[r->source], field);
	cJSON_Delete(fields);
	r->source++;
	next_source(r);
}

static void next_source(struct request *r)
{
	if (r->holds && r->source < request_names(r)->sources_n)
		store_holds_json(request_store(r), request_names(r)->sources[r->source], holds_read,
				 r);
	else
		list_end(r);
}

/* What the engine and the store know, in one object: the list has the engine's part. */
static void people_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *people = request_parsed(json), *row = r->list->child;

	if (!ok || !people) {
		cJSON_Delete(people);
		request_unavailable(r);
		return;
	}
	while (row && people->child) {
		cJSON *person = cJSON_DetachItemViaPointer(people, people->child);

		cJSON_DeleteItemFromObjectCaseSensitive(person, "user");
		cJSON_DeleteItemFromObjectCaseSensitive(person, "link");
		while (person->child) {
			cJSON *field = cJSON_DetachItemViaPointer(person, person->child);

			cJSON_AddItemToObject(row, field->string, field);
		}
		cJSON_Delete(person);
		row = row->next;
	}
	cJSON_Delete(people);
	next_source(r);
}

static void add_slice(cJSON *to, const char *name, struct slice text)
{
	CLEANUP(free_cleanup) char *owned = slice_dup(text);

	cJSON_AddStringToObject(to, name, owned);
}

static void add_row(struct request *r, const struct queue_held_row *held)
{
	static const char *const phases[QUEUE_HELD_PHASES] = {"wanted", "granted", "held",
							      "rejected"};
	cJSON *row = cJSON_CreateObject();
	char id[ID_TEXT], since[CLOCK_RFC3339];

	id_format(&held->id, id);
	clock_rfc3339(held->since_unix_ms, since);
	cJSON_AddStringToObject(row, "target", request_names(r)->targets[r->target]);
	cJSON_AddStringToObject(row, "user", id);
	add_slice(row, "op", held->op);
	add_slice(row, "what", held->what);
	cJSON_AddStringToObject(row, "phase", phases[held->phase]);
	cJSON_AddStringToObject(row, "since", since);
	cJSON_AddItemToArray(r->list, row);
}

/* A part holds rows of one target; the next begins where this one ended. */
void verbs_held_ls(struct request *r)
{
	struct store_people of = {0};
	struct queue_held_row held;
	struct id ids[PART];
	uint32_t at;
	unsigned t;

	if (!request_ready(r) || !request_most(r) || !request_targets(r))
		return;
	if (!cJSON_HasObjectItem(r->json, "from"))
		r->holds = cJSON_CreateArray();
	else if (!request_from(r, &r->target))
		return;
	r->list = cJSON_CreateArray();
	at = (uint32_t)r->walk;
	for (t = r->target; t < r->last && of.n == 0; t++) {
		r->target = t;
		while (of.n < PART && of.n < r->most &&
		       queue_held_walk(turn_queue(request_turn(r)), t, &at, &held)) {
			ids[of.n++] = held.id;
			add_row(r, &held);
		}
		if (of.n == PART || of.n == r->most)
			break;
		at = 0;
	}
	of.ids = ids;
	of.target = request_names(r)->targets[r->target < r->last ? r->target : 0];
	r->target = t;
	r->walk = at;
	if (of.n > 0)
		store_people_json(request_store(r), &of, people_read, r);
	else
		next_source(r);
}

/* ---- the word ---- */

static void judged(void *arg, bool ok)
{
	struct request *r = arg;

	if (ok)
		request_changed(r);
	else
		request_failed(r, "failed", "the page was lost before it was on disk: ask again");
}

static bool judge_row(struct request *r, const cJSON *row, bool approve)
{
	const char *user = json_text(row, "user"), *op = json_text(row, "op"),
		   *what = json_text(row, "what");
	struct wire_op one = {slice_of(op), slice_of(what)};
	struct id id;

	if (!user || !op || id_parse(slice_of(user), &id) != 0)
		return false;
	if (queue_judge_held(turn_queue(request_turn(r)), turn_page(request_turn(r)), r->target,
			     &id, &one, approve) == 0)
		r->changed++;
	else
		r->missing++;
	return true;
}

void verbs_held_judge(struct request *r)
{
	bool approve = json_true(r->json, "approve", false);
	const cJSON *ops = json_array(r->json, "ops"), *row;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (!cJSON_HasObjectItem(r->json, "approve")) {
		request_failed(r, "bad_request", "approve is missing");
		return;
	}
	if (json_true(r->json, "all", false)) {
		request_changed_one(r,
				    queue_judge_held(turn_queue(request_turn(r)),
						     turn_page(request_turn(r)), r->target, NULL,
						     NULL, approve),
				    "nothing is held there");
		return;
	}
	if (!ops || cJSON_GetArraySize(ops) > PART) {
		request_failed(r, "bad_request", "ops must be a list of at most 500");
		return;
	}
	cJSON_ArrayForEach (row, ops)
		if (!judge_row(r, row, approve))
			r->missing++;
	turn_then(request_turn(r), judged, r);
}
