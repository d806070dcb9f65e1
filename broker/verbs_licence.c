/* Licences as people see and order them: who lost what for which reason, who waits for a seat, and the word to give back now. */
#include "admin_impl.h"
#include "clock.h"

#include <stdlib.h>
#include <string.h>

enum { STEP = 500 };

static void next_target(struct request *r);

static bool is_wanted(const struct request *r, const char *state)
{
	const char *only = json_text(r->json, "state");

	return !only || strcmp(only, state) == 0;
}

static cJSON *row_of(const struct request *r, const char *user, const char *item, const char *state,
		     int64_t since)
{
	cJSON *row = cJSON_CreateObject();
	char at[CLOCK_RFC3339];

	clock_rfc3339(since, at);
	cJSON_AddStringToObject(row, "target", request_names(r)->targets[r->target]);
	cJSON_AddStringToObject(row, "user", user);
	cJSON_AddStringToObject(row, "licence", item);
	cJSON_AddStringToObject(row, "state", state);
	cJSON_AddStringToObject(row, "since", at);
	return row;
}

static void add(struct request *r, cJSON *row)
{
	if ((size_t)cJSON_GetArraySize(r->list) < r->most) {
		cJSON_AddItemToArray(r->list, row);
		return;
	}
	r->more = true;
	cJSON_Delete(row);
}

static void add_taken(struct request *r, const char *user, const char *text)
{
	cJSON *items = json_parse(slice_of(text), NULL);
	const cJSON *item;

	cJSON_ArrayForEach (item, items) {
		cJSON *row = row_of(r, user, item->string ? item->string : "?", "revoked",
				    json_int(item, "at", 0));
		const cJSON *reasons = json_array(item, "reasons");

		cJSON_AddItemToObject(row, "reasons",
				      reasons ? cJSON_Duplicate(reasons, true)
					      : cJSON_CreateArray());
		add(r, row);
	}
	cJSON_Delete(items);
}

/* "ARRIVED SKU" */
static void add_waiting(struct request *r, const char *user, const char *text)
{
	char *end;
	int64_t arrived = strtoll(text, &end, 10);

	if (*end == ' ')
		add(r, row_of(r, user, end + 1, "waiting", arrived));
}

static int by_since(const void *x, const void *y)
{
	const cJSON *a = *(const cJSON *const *)x, *b = *(const cJSON *const *)y;
	int order = strcmp(json_text(a, "since"), json_text(b, "since"));

	return order ? order : strcmp(json_text(a, "user"), json_text(b, "user"));
}

/* In the order in which they will get their seats. */
static void sort_list(cJSON *list)
{
	size_t n = (size_t)cJSON_GetArraySize(list), k = 0;
	cJSON **rows = mem_array(n + 1, sizeof(cJSON *));

	while (list->child)
		rows[k++] = cJSON_DetachItemViaPointer(list, list->child);
	qsort((void *)rows, n, sizeof(cJSON *), by_since);
	for (k = 0; k < n; k++)
		cJSON_AddItemToArray(list, rows[k]);
	free((void *)rows);
}

static void guard_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *fields = request_parsed(json);
	const cJSON *field;

	if (!ok || !fields) {
		cJSON_Delete(fields);
		request_unavailable(r);
		return;
	}
	cJSON_ArrayForEach (field, fields) {
		if (!cJSON_IsString(field))
			continue;
		if (strncmp(field->string, "taken:", 6) == 0 && is_wanted(r, "revoked"))
			add_taken(r, field->string + 6, field->valuestring);
		else if (strncmp(field->string, "seat:", 5) == 0 && is_wanted(r, "waiting"))
			add_waiting(r, field->string + 5, field->valuestring);
	}
	cJSON_Delete(fields);
	r->target++;
	next_target(r);
}

static void next_target(struct request *r)
{
	cJSON *result;

	if (r->target < r->last) {
		store_guard_json(request_store(r), request_names(r)->targets[r->target], guard_read,
				 r);
		return;
	}
	sort_list(r->list);
	result = cJSON_CreateObject();
	cJSON_AddItemToObject(result, "licences", r->list);
	r->list = NULL;
	cJSON_AddBoolToObject(result, "more", r->more);
	request_done(r, result);
}

void verbs_licence_ls(struct request *r)
{
	const char *state = json_text(r->json, "state");

	if (!request_ready(r) || !request_most(r) || !request_targets(r))
		return;
	if (state && strcmp(state, "revoked") != 0 && strcmp(state, "waiting") != 0) {
		request_failed(r, "bad_request", "state is revoked or waiting");
		return;
	}
	r->list = cJSON_CreateArray();
	next_target(r);
}

/* ---- giving back now ---- */

static void next_page(void *arg, bool ok)
{
	struct request *r = arg;
	struct id id;
	size_t n = 0;

	if (!ok || !turn_queue(request_turn(r))) {
		request_failed(r, "failed", "Redis went away: ask again");
		return;
	}
	while (n < STEP && r->target < r->last) {
		if (!queue_walk(turn_queue(request_turn(r)), r->source, &r->walk, &id)) {
			r->walk = 0;
			if (++r->source < request_names(r)->sources_n)
				continue;
			r->source = 0;
			r->target++;
			continue;
		}
		n++;
		if (queue_reinstate(turn_queue(request_turn(r)), turn_page(request_turn(r)),
				    r->target, &id) == 0)
			r->changed++;
	}
	if (n == 0)
		request_changed(r);
	else
		turn_then(request_turn(r), next_page, r);
}

void verbs_licence_reinstate(struct request *r)
{
	struct id id;

	if (!request_ready(r) || !request_targets(r))
		return;
	if (json_true(r->json, "all", false)) {
		next_page(r, true);
		return;
	}
	if (!request_user(r, &id))
		return;
	for (; r->target < r->last; r->target++)
		r->changed += queue_reinstate(turn_queue(request_turn(r)),
					      turn_page(request_turn(r)), r->target, &id) == 0;
	if (r->changed == 0) {
		request_failed(r, "not_found", "nothing was taken from this user");
		return;
	}
	turn_then(request_turn(r), next_page, r); /* nothing is left to walk: it answers */
}
