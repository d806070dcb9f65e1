/* What `dirpipe sync run` asks: these people again, how far it is, the whole directory anew. */
#include "admin_impl.h"

#include <errno.h>
#include <string.h>

enum { USERS_MOST = 1000 };

static bool user_at(const cJSON *item, struct id *ret)
{
	return cJSON_IsString(item) && id_parse(slice_of(item->valuestring), ret) == 0;
}

/* NULL: answered. */
static const cJSON *get_users(struct request *r, bool needed)
{
	const cJSON *users = json_array(r->json, "users"), *user;
	struct id id;
	bool good = users ? cJSON_GetArraySize(users) <= USERS_MOST : !needed;

	cJSON_ArrayForEach (user, users)
		good = good && user_at(user, &id);
	if (good)
		return users;
	request_failed(r, "bad_request", "users must be at most 1000 ids");
	return NULL;
}

static void users_written(void *arg, bool ok)
{
	struct request *r = arg;
	cJSON *result;

	if (!ok) {
		request_failed(r, "failed", "the page was lost before it was on disk: ask again");
		return;
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "changed", (double)r->changed);
	request_done(r, result);
}

static void mark_users(struct request *r, int (*mark)(struct queue *q, struct queue_page *page,
						      unsigned target, const struct id *user))
{
	const cJSON *users, *user;
	struct id id;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	users = get_users(r, true);
	if (!users)
		return;
	cJSON_ArrayForEach (user, users) {
		if (user_at(user, &id) && mark(turn_queue(request_turn(r)),
					       turn_page(request_turn(r)), r->target, &id) == 0)
			r->changed++;
	}
	turn_then(request_turn(r), users_written, r);
}

void sync_users(struct request *r)
{
	mark_users(r, queue_resync);
}

void sync_drifted(struct request *r)
{
	mark_users(r, queue_drifted);
}

void sync_reconciled(struct request *r)
{
	int64_t divergent = json_int(r->json, "divergent", -1);
	int64_t unowned = json_int(r->json, "unowned", -1);

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (divergent < 0 || unowned < 0) {
		request_failed(r, "bad_request", "divergent and unowned are needed");
		return;
	}
	queue_reconciled(turn_queue(request_turn(r)), turn_page(request_turn(r)), r->target,
			 (uint64_t)divergent, (uint64_t)unowned);
	request_changed_one(r, 0, "");
}

/* ---- how far ---- */

static bool is_held(const struct queue *q, unsigned target, const struct id *user)
{
	struct queue_held_row row;
	uint32_t cursor = 0;

	while (queue_held_next(q, target, user, &cursor, &row)) {
		if (row.phase == QUEUE_HELD)
			return true;
	}
	return false;
}

static void count_users(const struct request *r, const cJSON *users, uint64_t states[QUEUE_STATES],
			uint64_t *ret_held)
{
	const struct queue *q = turn_queue(request_turn(r));
	const cJSON *user;
	struct queue_entry_row row;
	struct id id;

	cJSON_ArrayForEach (user, users) {
		if (!user_at(user, &id) || queue_peek(q, r->target, &id, &row) < 0)
			continue;
		states[row.state]++;
		*ret_held += is_held(q, r->target, &id);
	}
}

void sync_state(struct request *r)
{
	struct queue_counts counts;
	uint64_t states[QUEUE_STATES] = {0}, held = 0;
	const cJSON *users;
	cJSON *result;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	users = get_users(r, false);
	if (!users && cJSON_HasObjectItem(r->json, "users"))
		return;
	queue_counts(turn_queue(request_turn(r)), r->target, &counts);
	if (users) {
		count_users(r, users, states, &held);
	} else {
		memcpy(states, counts.states, sizeof(states));
		held = counts.held;
	}
	result = cJSON_CreateObject();
	for (unsigned i = 0; i < QUEUE_STATES; i++)
		cJSON_AddNumberToObject(result, queue_state_name((enum queue_state)i),
					(double)states[i]);
	cJSON_AddNumberToObject(result, "held", (double)held);
	cJSON_AddBoolToObject(result, "paused", counts.pause == QUEUE_BY_OPERATOR);
	request_done(r, result);
}

/* ---- the whole directory ---- */

void sync_read_all(struct request *r)
{
	const char *source = json_text(r->json, "source");
	unsigned index;

	if (!request_ready(r))
		return;
	index = source ? queue_source_named(turn_queue(request_turn(r)), slice_of(source))
		       : QUEUE_NOBODY;
	if (index >= request_names(r)->sources_n) {
		request_failed(r, "not_found", "no such source");
		return;
	}
	request_changed_one(
		r, queue_read_all(turn_queue(request_turn(r)), turn_page(request_turn(r)), index),
		"no collector of that source is connected");
}
