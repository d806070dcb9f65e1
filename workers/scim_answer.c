/* Answers taken apart. Nothing in them is believed that was not looked at: services send HTML, other users, too many. */
#include "scim_own.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const cJSON *scim_member(const cJSON *object, const char *name)
{
	return cJSON_IsObject(object) ? cJSON_GetObjectItem(object, name) : NULL;
}

static const char *text_of(const cJSON *object, const char *name)
{
	const cJSON *value = scim_member(object, name);

	return cJSON_IsString(value) ? value->valuestring : NULL;
}

/* It stands in a URL as one segment: "." and ".." would name another resource. */
static bool id_valid(const char *id)
{
	return id && *id && strlen(id) <= SCIM_ID_MOST && strcmp(id, ".") != 0 &&
	       strcmp(id, "..") != 0;
}

/* ---- one resource ---- */

/* Takes json. False: no user with an id. */
static bool account_of(const struct target *t, cJSON *json, struct target_account *ret)
{
	const char *id = text_of(json, "id"), *type, *version;

	type = text_of(scim_member(json, "meta"), "resourceType");
	if (!id_valid(id) || (type && strcasecmp(type, "User") != 0)) {
		cJSON_Delete(json);
		return false;
	}
	version = text_of(scim_member(json, "meta"), "version");
	ret->rid = mem_dup(id);
	ret->revision = t->etag.on ? mem_dup(version) : NULL;
	ret->enabled = scim_true(scim_member(json, "active"), true);
	ret->json = json;
	return true;
}

static void add_account(const struct target *t, cJSON *json, struct target_answer *a)
{
	struct target_account account = {0}, *place;

	if (!account_of(t, json, &account))
		return;
	place = target_answer_add(a);
	if (place)
		*place = account;
	else
		target_account_done(&account);
}

/* The id behind the last slash of a location of ours; what came instead of a body. */
static void add_location(const struct target *t, struct slice location, struct target_answer *a)
{
	const char *slash = location.n ? memrchr(location.p, '/', location.n) : NULL;
	struct slice id;
	cJSON *json;

	if (!slash)
		return;
	id = (struct slice){slash + 1, (size_t)(location.p + location.n - slash - 1)};
	if (memchr(id.p, '%', id.n) || memchr(id.p, '?', id.n))
		return; /* the look-up finds it */
	CLEANUP(free_cleanup) char *text = slice_dup(id);

	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "id", text);
	add_account(t, json, a);
}

/* ---- errors ---- */

/* A word in front of a colon that some put into detail instead of scimType (Salesforce: REQUIRED_FIELD_MISSING:…). */
static size_t shouted(const char *detail)
{
	size_t n = 0;

	while (isupper((unsigned char)detail[n]) || detail[n] == '_')
		n++;
	return n >= 4 && detail[n] == ':' ? n : 0;
}

static void name_field(const struct target_op *op, const char *detail, struct target_answer *a)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, op->set) {
		if (detail && strcasestr(detail, item->string)) {
			buf_adds(&a->field, item->string);
			return;
		}
	}
	if (a->status == 409 && json_get(op->set, "userName"))
		buf_adds(&a->field, "userName");
}

static void take_error(const struct target_op *op, const cJSON *json, struct target_answer *a)
{
	const char *type = text_of(json, "scimType"), *detail = text_of(json, "detail");

	if (type)
		buf_adds(&a->code, type);
	else if (detail)
		buf_add(&a->code, detail, shouted(detail));
	if (detail)
		buf_adds(&a->detail, detail);
	name_field(op, detail, a);
}

static void take_plain_error(const struct target_op *op, const cJSON *json, struct slice body,
			     struct target_answer *a)
{
	if (json)
		take_error(op, json, a);
	else
		buf_add(&a->detail, body.p, body.n > 500 ? 500 : body.n);
}

void scim_take_error(const struct target_op *op, struct slice body, struct target_answer *a)
{
	cJSON *json = json_parse(body, NULL);

	take_plain_error(op, json, body, a);
	cJSON_Delete(json);
}

/* ---- one operation ---- */

static const cJSON *resources_of(const cJSON *json)
{
	const cJSON *list = scim_member(json, "Resources"); /* or "resources" */

	return cJSON_IsArray(list) ? list : NULL;
}

static int64_t number_of(const cJSON *json, const char *name, int64_t otherwise)
{
	const cJSON *value = scim_member(json, name);

	return cJSON_IsNumber(value) && value->valuedouble >= 0 && value->valuedouble < 1e15
		       ? (int64_t)value->valuedouble
		       : otherwise;
}

/* Keeps the hits alone, because some services ignore the filter and send everybody; then a page says nothing about the
 * rest. */
static void take_hits(struct target *t, const struct target_op *op, cJSON *json,
		      struct target_answer *a)
{
	const cJSON *list = resources_of(json), *item;
	int64_t n = 0, others = 0, total = number_of(json, "totalResults", -1);
	const char *next = text_of(json, "nextCursor");

	if (!list && total != 0) {
		a->not_json = true;
		return;
	}
	cJSON_ArrayForEach (item, list) {
		n++;
		if (!id_valid(text_of(item, "id")))
			a->not_json = true;
		else if (scim_matches(t, item, &op->key))
			add_account(t, cJSON_Duplicate(item, true), a);
		else
			others++;
	}
	if (others && (total > n || (next && *next)) && a->accounts_n == 0)
		buf_adds(&a->code, "filter_ignored");
}

/* ---- the canary ---- */

void scim_canary_drop(struct target *t)
{
	free((void *)(uintptr_t)t->canary.field);
	free((void *)(uintptr_t)t->canary.value);
	t->canary = (struct target_key){NULL, NULL};
}

/* account: one that is there, with a value of the field that is looked up by. */
static void canary_learn(struct target *t, const cJSON *account)
{
	const cJSON *value;

	if (t->canary.field || !t->find_field || t->find_most < 2 || strchr(t->find_field, '['))
		return;
	value = scim_get(account, t->find_field);
	if (cJSON_IsString(value) && *value->valuestring)
		t->canary =
			(struct target_key){mem_dup(t->find_field), mem_dup(value->valuestring)};
}

static void field_learn(struct target *t, const char *field)
{
	if (t->find_field && strcmp(t->find_field, field) == 0)
		return;
	free(t->find_field);
	t->find_field = mem_dup(field);
}

/* A 2xx. json: owned here. */
static void take_success(struct target *t, const struct target_op *op,
			 const struct http_response *r, cJSON *json, struct target_answer *a)
{
	bool foreign = r->body.n > 0 && !cJSON_IsObject(json);

	if (op->kind == TARGET_UPDATE && json_true(op->body, "read_first", false)) {
		buf_adds(&a->code, "read_first");
	} else if (op->kind == TARGET_FIND || op->kind == TARGET_READ) {
		a->not_json = !cJSON_IsObject(json);
		if (op->kind == TARGET_FIND)
			field_learn(t, op->key.field);
		if (op->kind == TARGET_FIND && json)
			take_hits(t, op, json, a);
	} else {
		a->not_json = foreign;
	}
	if (op->kind == TARGET_FIND || op->kind == TARGET_DELETE || !json) {
		cJSON_Delete(json);
	} else {
		t->shows_groups |= cJSON_GetArraySize(scim_member(json, "groups")) > 0;
		add_account(t, json, a);
		/* somebody else's account is no answer to this question */
		if (op->kind != TARGET_CREATE && a->accounts_n > 0 &&
		    strcmp(a->accounts[0].rid, op->rid) != 0) {
			target_account_done(&a->accounts[0]);
			a->accounts_n = 0;
		}
		if (op->kind == TARGET_READ && a->accounts_n == 0)
			a->not_json = true;
	}
	if (op->kind == TARGET_CREATE && a->accounts_n == 0 && !foreign)
		add_location(t, http_header(r, "Location"), a);
	if (a->accounts_n > 0 && op->kind != TARGET_UPDATE && op->kind != TARGET_DELETE)
		canary_learn(t, a->accounts[0].json);
}

static void answer_one(struct target *t, const struct target_op *op, const struct http_response *r,
		       struct target_answer *a)
{
	cJSON *json = json_parse(r->body, NULL);

	a->status = (int)r->status;
	if (r->status >= 200 && r->status <= 299) {
		take_success(t, op, r, json, a);
		return;
	}
	take_plain_error(op, json, r->body, a);
	cJSON_Delete(json);
}

/* ---- many look-ups in one filter ---- */

enum { FIND_FAILURES = 3 }; /* then the service is not asked so any more */

/* Each of the answer's accounts is one that somebody asked for, none is on a further page, and the canary is there. */
static bool proves_all(const struct target *t, struct target_op *const *ops, size_t n,
		       const cJSON *json)
{
	const cJSON *list = resources_of(json), *item;
	const char *next = text_of(json, "nextCursor");
	int64_t total = number_of(json, "totalResults", 0);
	bool canary = false;

	if (!list || total > cJSON_GetArraySize(list) || (next && *next) || !t->canary.field)
		return false;
	cJSON_ArrayForEach (item, list) {
		bool asked = scim_matches(t, item, &t->canary);

		canary |= asked;
		for (size_t i = 0; i < n && !asked; i++)
			asked = scim_matches(t, item, &ops[i]->key);
		if (!asked || !id_valid(text_of(item, "id")))
			return false;
	}
	return canary;
}

static void find_failed(struct target *t)
{
	scim_canary_drop(t);
	if (++t->find_failed >= FIND_FAILURES)
		t->find_most = 1;
}

bool scim_refused(long status)
{
	return (status >= 400 && status <= 499 && status != 401 && status != 403 && status != 408 &&
		status != 429) ||
	       status == 501;
}

static void answer_finds(struct target *t, struct target_op *const *ops, size_t n,
			 const struct http_response *r, struct target_answer *answers)
{
	cJSON *json = json_parse(r->body, NULL);
	bool good = r->status >= 200 && r->status <= 299;
	bool alone = good ? !proves_all(t, ops, n, json) : scim_refused(r->status);
	const cJSON *list = good && !alone ? resources_of(json) : NULL, *item;

	for (size_t i = 0; i < n; i++) {
		answers[i].status = (int)r->status;
		if (alone)
			buf_adds(&answers[i].code, "find_alone");
		else if (!good)
			take_plain_error(ops[i], json, r->body, &answers[i]);
	}
	cJSON_ArrayForEach (item, list) {
		for (size_t i = 0; i < n; i++) {
			if (scim_matches(t, item, &ops[i]->key))
				add_account(t, cJSON_Duplicate(item, true), &answers[i]);
		}
	}
	if (alone)
		find_failed(t);
	else if (good)
		t->find_failed = 0;
	cJSON_Delete(json);
}

/* ---- bulk (RFC 7644 3.7) ---- */

static int status_of(const cJSON *one)
{
	const cJSON *status = scim_member(one, "status");
	double value = 0;

	if (cJSON_IsObject(status)) /* SCIM 1.1 */
		status = scim_member(status, "code");
	if (cJSON_IsNumber(status))
		value = status->valuedouble;
	else if (cJSON_IsString(status) && strlen(status->valuestring) == 3 &&
		 strspn(status->valuestring, "0123456789") == 3)
		value = (double)strtol(status->valuestring, NULL, 10);
	return value >= 100 && value <= 599 ? (int)value : 0;
}

static bool ends_in_rid(const char *location, const char *rid)
{
	CLEANUP(buf_cleanup) struct buf tail = {0};

	buf_addc(&tail, '/');
	http_escape(&tail, slice_of(rid));
	size_t n = location ? strlen(location) : 0;

	return n > tail.n && strcmp(location + n - tail.n, tail.p) == 0;
}

/* Which operation a result is about: by bulkId, or by location where the service leaves the id out. */
static bool result_is(const cJSON *one, const struct target_op *op)
{
	const char *bulk_id = text_of(one, "bulkId");

	if (bulk_id && *bulk_id)
		return strcmp(bulk_id, op->user) == 0;
	return op->kind != TARGET_CREATE && ends_in_rid(text_of(one, "location"), op->rid);
}

static void take_result(struct target *t, const struct target_op *op, const cJSON *one,
			struct target_answer *a)
{
	const cJSON *response = scim_member(one, "response");
	const char *location = text_of(one, "location"), *version = text_of(one, "version");

	a->status = status_of(one);
	if (a->status < 200 || a->status > 299) {
		take_error(op, response, a);
		return;
	}
	if (op->kind == TARGET_DELETE)
		return;
	if (cJSON_IsObject(response) && text_of(response, "id"))
		add_account(t, cJSON_Duplicate(response, true), a);
	else if (op->kind == TARGET_CREATE)
		add_location(t, slice_of(location), a);
	if (a->accounts_n > 0 && op->kind != TARGET_CREATE &&
	    strcmp(a->accounts[0].rid, op->rid) != 0) {
		target_account_done(&a->accounts[0]);
		a->accounts_n = 0;
	}
	if (a->accounts_n > 0 && !a->accounts[0].revision && version && t->etag.on)
		a->accounts[0].revision = mem_dup(version);
	if (a->accounts_n > 0 && op->kind == TARGET_CREATE)
		a->accounts[0].enabled = op->enabled != TARGET_DISABLE;
	if (a->accounts_n > 0 && op->kind == TARGET_CREATE)
		canary_learn(t, op->set);
}

/* One result, or none, for an operation; two contradict each other and count as none. */
static const cJSON *result_of(const cJSON *list, const struct target_op *op)
{
	const cJSON *one, *found = NULL;

	cJSON_ArrayForEach (one, list) {
		if (!result_is(one, op))
			continue;
		if (found)
			return NULL;
		found = one;
	}
	return found;
}

static void bulk_refused(const struct http_response *r, const cJSON *json,
			 struct target_op *const *ops, size_t n, struct target_answer *answers)
{
	bool unsupported = r->status == 404 || r->status == 405 || r->status == 501;

	for (size_t i = 0; i < n; i++) {
		answers[i].status = (int)r->status;
		if (r->status >= 200 && r->status <= 299)
			answers[i].not_json = true;
		else
			take_plain_error(ops[i], json, r->body, &answers[i]);
		buf_clear(&answers[i].field);
		if (unsupported) {
			buf_clear(&answers[i].code);
			buf_adds(&answers[i].code, "bulk_unsupported");
		}
	}
}

static void answer_bulk(struct target *t, struct target_op *const *ops, size_t n,
			const struct http_response *r, struct target_answer *answers)
{
	cJSON *json = json_parse(r->body, NULL);
	const cJSON *list = scim_member(json, "Operations");

	if (r->status < 200 || r->status > 299 || !cJSON_IsArray(list)) {
		bulk_refused(r, json, ops, n, answers);
	} else {
		for (size_t i = 0; i < n; i++) {
			const cJSON *one = result_of(list, ops[i]);

			if (one)
				take_result(t, ops[i], one, &answers[i]);
		}
	}
	cJSON_Delete(json);
}

void scim_answers(struct target *t, struct target_op *const *ops, size_t n,
		  const struct http_response *response, struct target_answer *answers)
{
	if (ops[0]->kind == TARGET_STEP)
		scim_group_answers(t, ops, n, response, answers);
	else if (n == 1)
		answer_one(t, ops[0], response, &answers[0]);
	else if (ops[0]->kind == TARGET_FIND)
		answer_finds(t, ops, n, response, answers);
	else
		answer_bulk(t, ops, n, response, answers);
}

/* ---- pages ---- */

/* Where the next page is; itemsPerPage and totalResults are not trusted alone: an empty page, a first id that was there
 * before, or more pages than the total can fill end the listing. */
static char *next_page(struct target *t, const cJSON *json, int64_t n, const char *first)
{
	struct scim_listing *l = &t->listing;
	const char *cursor = text_of(json, "nextCursor");
	int64_t total = number_of(json, "totalResults", -1);
	bool repeated = l->first_id && first && strcmp(l->first_id, first) == 0;
	struct buf url = {0};

	free_cleanup(&l->first_id);
	l->first_id = mem_dup(first);
	l->start += n;
	l->pages++;
	if (repeated || (n == 0 && !(t->cursor.on && cursor && *cursor)))
		return NULL;
	if (cursor && *cursor) {
		scim_page_url(t, cursor, 0, &url);
		return buf_steal(&url);
	}
	if (t->cursor.on || (total >= 0 && l->start > total))
		return NULL;
	scim_page_url(t, NULL, l->start, &url);
	return buf_steal(&url);
}

int scim_listed(struct target *t, const struct http_response *response,
		void (*take)(void *arg, const struct target_account *account), void *arg,
		char **ret_next)
{
	cJSON *json = response->status >= 200 && response->status <= 299
			      ? json_parse(response->body, NULL)
			      : NULL;
	const cJSON *list = resources_of(json), *item;
	int64_t n = 0;

	if (!list && number_of(json, "totalResults", -1) != 0) {
		cJSON_Delete(json);
		return -EPROTO;
	}
	cJSON_ArrayForEach (item, list) {
		if (!id_valid(text_of(item, "id"))) {
			cJSON_Delete(json);
			return -EPROTO;
		}
	}
	const char *first = list && list->child ? text_of(list->child, "id") : NULL;
	bool again = first && t->listing.first_id && strcmp(first, t->listing.first_id) == 0;

	cJSON_ArrayForEach (item, list) {
		struct target_account account = {0};

		n++;
		if (!again && account_of(t, cJSON_Duplicate(item, true), &account))
			take(arg, &account);
		target_account_done(&account);
	}
	*ret_next = next_page(t, json, n, first);
	cJSON_Delete(json);
	return 0;
}
