/* Links as people see and set them. */
#include "admin_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PART = 500 };

/* ---- the list ---- */

static void people_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *people = request_parsed(json), *result;
	bool more = r->source < request_names(r)->sources_n;

	if (!ok || !people) {
		cJSON_Delete(people);
		request_unavailable(r);
		return;
	}
	result = cJSON_CreateObject();
	cJSON_AddItemToObject(result, "links", people);
	cJSON_AddItemToObject(result, "next",
			      more ? request_next(r->source, r->walk) : cJSON_CreateNull());
	request_done(r, result);
}

/* In scope, or linked. */
static bool is_listed(struct request *r, const struct id *id)
{
	struct queue_entry_row row;

	return queue_peek(turn_queue(request_turn(r)), r->target, id, &row) == 0 &&
	       (row.in || row.link_state != LINK_NONE);
}

/* The next part of the walk over all sources; where it ended stands in source and walk. */
static size_t walk(struct request *r, struct id ids[PART])
{
	size_t n = 0;

	while (n < PART && n < r->most && r->source < request_names(r)->sources_n) {
		if (!queue_walk(turn_queue(request_turn(r)), r->source, &r->walk, &ids[n])) {
			r->source++;
			r->walk = 0;
		} else if (is_listed(r, &ids[n])) {
			n++;
		}
	}
	return n;
}

void verbs_link_ls(struct request *r)
{
	struct id ids[PART];
	struct store_people of = {.ids = ids, .snapshot = json_true(r->json, "snapshot", false)};

	if (!request_ready(r) || !request_most(r) || !request_target(r, &r->target) ||
	    !request_from(r, &r->source))
		return;
	if (cJSON_HasObjectItem(r->json, "user")) {
		if (!request_user(r, &ids[0]))
			return;
		of.n = is_listed(r, &ids[0]);
		r->source = (unsigned)request_names(r)->sources_n;
	} else {
		of.n = walk(r, ids);
	}
	of.target = request_names(r)->targets[r->target];
	store_people_json(request_store(r), &of, people_read, r);
}

/* ---- a change: the link is read, and set if it is still that one ---- */

static void refuse(struct request *r, int rc)
{
	if (rc == -EBUSY || rc == -EAGAIN)
		request_failed(r, "busy", "a worker has this user in hand: ask again");
	else if (rc == -EEXIST)
		request_failed(r, "claimed", "that account is another user's");
	else
		request_failed(r, "not_found", "no such user at that target, or not in its scope");
}

static void link_read(void *arg, bool ok, struct slice json)
{
	struct request *r = arg;
	cJSON *people = request_parsed(json);
	const cJSON *link = people ? json_object(people->child, "link") : NULL;
	struct queue_link_word word = {
		.rid = json_text(r->json, "rid"),
		.rejoin = json_true(r->json, "rejoin", false),
		.was = slice_of(json_text(link, "rid")),
		.revision = (uint64_t)json_int(link, "revision", 0),
	};
	struct id id;
	int rc;

	if (!ok || !people || !turn_queue(request_turn(r))) {
		cJSON_Delete(people);
		request_unavailable(r);
		return;
	}
	(void)!id_parse(slice_of(json_text(r->json, "user")), &id); /* it was read before */
	rc = queue_link(turn_queue(request_turn(r)), turn_page(request_turn(r)), r->target, &id,
			&word);
	cJSON_Delete(people);
	if (rc < 0)
		refuse(r, rc);
	else
		request_changed_one(r, 0, "");
}

void verbs_link_change(struct request *r)
{
	bool add = strcmp(json_text(r->json, "verb"), "link_add") == 0;
	const char *rid = json_text(r->json, "rid");
	struct id id;
	struct store_people of = {.ids = &id, .n = 1};

	if (!request_ready(r) || !request_target(r, &r->target) || !request_user(r, &id))
		return;
	if (add != (rid && *rid) || strlen(rid ? rid : "") > 1000) {
		request_failed(r, "bad_request",
			       add ? "rid is missing or too long" : "rid is not for link_rm");
		return;
	}
	of.target = request_names(r)->targets[r->target];
	store_people_json(request_store(r), &of, link_read, r);
}
