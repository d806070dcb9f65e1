/* Rows of an approved plan on their way into the queue, and how each ended. */
#include "admin_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MOST = 500 };

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int request_fp(const char *text, struct fp *ret)
{
	if (!text || strlen(text) != 2 * sizeof(ret->b))
		return -EINVAL;
	for (size_t i = 0; i < sizeof(ret->b); i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		ret->b[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* ---- apply ---- */

static int permits_of(const cJSON *list, struct buf *out, uint32_t *ret_n)
{
	const cJSON *pair;

	*ret_n = 0;
	cJSON_ArrayForEach (pair, list) {
		const cJSON *op = cJSON_GetArrayItem(pair, 0), *what = cJSON_GetArrayItem(pair, 1);

		if (!cJSON_IsString(op) || !cJSON_IsString(what))
			return -EINVAL;
		wire_add_op(out, &(struct wire_op){slice_of(op->valuestring),
						   slice_of(what->valuestring)});
		++*ret_n;
	}
	return 0;
}

/* -EINVAL: it is no row. */
static int apply_row(struct request *r, const cJSON *json)
{
	const cJSON *user = cJSON_GetArrayItem(json, 0), *version = cJSON_GetArrayItem(json, 1);
	const cJSON *hash = cJSON_GetArrayItem(json, 2);
	CLEANUP(buf_cleanup) struct buf permits = {0};
	struct queue_approved row = {0};
	uint32_t n;

	if (!cJSON_IsString(user) || id_parse(slice_of(user->valuestring), &row.user) < 0 ||
	    !cJSON_IsNumber(version) || version->valuedouble < 1 || version->valuedouble > 1e9 ||
	    !cJSON_IsString(hash) || request_fp(hash->valuestring, &row.hash) < 0 ||
	    fp_is_none(&row.hash) || permits_of(cJSON_GetArrayItem(json, 3), &permits, &n) < 0)
		return -EINVAL;
	row.version = (uint64_t)version->valuedouble;
	row.permits = wire_list_of(&permits, n);
	return queue_approve(turn_queue(request_turn(r)), turn_page(request_turn(r)), r->target,
			     &row);
}

static void refuse(struct request *r, int place, int rc)
{
	cJSON *pair = cJSON_CreateArray();

	cJSON_AddItemToArray(pair, cJSON_CreateNumber(place));
	cJSON_AddItemToArray(pair, cJSON_CreateString(rc == -ESTALE   ? WIRE_CHANGED
						      : rc == -EBUSY  ? "in_work"
						      : rc == -ENOENT ? "unknown_user"
								      : "no_row"));
	cJSON_AddItemToArray(r->list, pair);
}

static void applied(void *arg, bool ok)
{
	struct request *r = arg;
	cJSON *result;

	if (!ok) {
		request_failed(r, "failed", "the page was lost before it was on disk: ask again");
		return;
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "taken", (double)r->changed);
	cJSON_AddItemToObject(result, "refused", r->list);
	r->list = NULL;
	request_done(r, result);
}

void apply_rows(struct request *r)
{
	const cJSON *rows = json_array(r->json, "rows"), *row;
	struct fp config;
	int place = 0;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (!rows || cJSON_GetArraySize(rows) > ROWS_MOST ||
	    request_fp(json_text(r->json, "config"), &config) < 0) {
		request_failed(r, "bad_request", "config and at most 500 rows are needed");
		return;
	}
	if (!session_config_is(r->session, r->target, &config)) {
		request_failed(
			r, "changed_config",
			"the workers have another configuration than the plan was made with: "
			"plan again");
		return;
	}
	r->list = cJSON_CreateArray();
	cJSON_ArrayForEach (row, rows) {
		int rc = apply_row(r, row);

		if (rc == 0)
			r->changed++;
		else
			refuse(r, place, rc);
		place++;
	}
	turn_then(request_turn(r), applied, r);
}

/* ---- what became of them ---- */

void apply_state(struct request *r)
{
	static const char *const names[QUEUE_APPROVALS] = {"unknown", "waiting", "done", "changed",
							   "failed"};
	const cJSON *users = json_array(r->json, "users"), *user;
	cJSON *result, *states, *reasons;
	struct id id;

	if (!request_ready(r) || !request_target(r, &r->target))
		return;
	if (!users || cJSON_GetArraySize(users) > ADMIN_MOST) {
		request_failed(r, "bad_request", "users are missing or too many");
		return;
	}
	result = cJSON_CreateObject();
	states = cJSON_AddArrayToObject(result, "states");
	reasons = cJSON_AddArrayToObject(result, "reasons");
	cJSON_ArrayForEach (user, users) {
		struct slice why = {0};
		enum queue_approval state = QUEUE_NO_APPROVAL;

		if (cJSON_IsString(user) && id_parse(slice_of(user->valuestring), &id) == 0)
			state = queue_approval(turn_queue(request_turn(r)), r->target, &id, &why);
		char *text = slice_dup(why);

		cJSON_AddItemToArray(states, cJSON_CreateString(names[state]));
		cJSON_AddItemToArray(reasons, cJSON_CreateString(text));
		free(text);
	}
	request_done(r, result);
}
