/* Answers taken apart: errors (an array, a bare object, OAuth's object, a collection's row), records, composite parts. */
#include "salesforce_own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DETAIL_MOST = 600 };

/* An answer to one operation, wherever it came from. */
struct reply {
	int status; /* 0: none */
	const cJSON *json;
	struct slice text; /* what came instead of JSON */
};

/* ---- errors ---- */

static const char *first_of(const cJSON *object, const char *a, const char *b, const char *c)
{
	const char *text = json_text(object, a);

	if (!text)
		text = json_text(object, b);
	if (!text && c)
		text = json_text(object, c);
	return text ? text : "";
}

struct salesforce_error salesforce_error_of(const cJSON *json)
{
	const cJSON *one = json, *fields;
	struct salesforce_error e = {"", "", ""};

	if (json_array(one, "errors"))
		one = json_array(one, "errors");
	if (one && cJSON_IsArray(one))
		one = one->child;
	if (!cJSON_IsObject(one))
		return e;
	e.code = first_of(one, "errorCode", "statusCode", "error");
	e.message = first_of(one, "message", "error_description", NULL);
	fields = json_array(one, "fields");
	if (fields && cJSON_IsString(fields->child))
		e.field = fields->child->valuestring;
	return e;
}

/* What the code alone does not tell, behind it: whose limit, which value, or that the org is locked. */
static const char *word_of(const struct target *t, const struct salesforce_error *e)
{
	if (strcmp(e->code, "REQUEST_LIMIT_EXCEEDED") == 0)
		return strncmp(e->message, "Concurrent", 10) == 0 ? "/Concurrent" : "";
	if (strcmp(e->code, "DUPLICATE_VALUE") == 0)
		return t->external && strstr(e->message, t->external) ? "/Key" : "";
	return "";
}

static bool is_lock(const struct salesforce_error *e)
{
	return strstr(e->message, "ould not acquire lock") ||
	       strstr(e->message, "roup membership operation already in progress");
}

/* Requests have no Retry-After here: what is over for the day comes back hour by hour. */
static void add_wait(struct target_answer *a)
{
	if (strcmp(a->code.p, "REQUEST_LIMIT_EXCEEDED/Concurrent") == 0)
		buf_adds(&a->retry_after, "5");
	else if (strcmp(a->code.p, "REQUEST_LIMIT_EXCEEDED") == 0)
		buf_adds(&a->retry_after, "300");
}

/* The seat for which it waits: of an assignment's licence, or of the profile's. */
static void name_seat(const struct target_op *op, struct target_answer *a)
{
	if (strcmp(a->code.p ? a->code.p : "", "LICENSE_LIMIT_EXCEEDED") != 0)
		return;
	buf_clear(&a->field);
	buf_adds(&a->field, op->kind == TARGET_STEP && op->what ? op->what : "user");
}

static void take_error(struct target *t, const struct reply *r, struct target_answer *a)
{
	struct salesforce_error e = salesforce_error_of(r->json);

	if (is_lock(&e)) /* whatever the code */
		buf_adds(&a->code, "UNABLE_TO_LOCK_ROW");
	else
		buf_addf(&a->code, "%s%s", e.code, word_of(t, &e));
	buf_adds(&a->field, e.field);
	if (*e.message)
		buf_adds(&a->detail, e.message);
	else if (!r->json)
		buf_add(&a->detail, r->text.p, r->text.n > DETAIL_MOST ? DETAIL_MOST : r->text.n);
	add_wait(a);
	/* One of the ids behind a name is no longer what it was. */
	if (strncmp(e.code, "INVALID_CROSS_REFERENCE_KEY", 27) == 0)
		salesforce_forget(t);
}

/* Rows of collections have no status of their own. */
static int status_of_code(const char *code)
{
	if (strcmp(code, "UNKNOWN_EXCEPTION") == 0)
		return 500;
	if (strcmp(code, "SERVER_UNAVAILABLE") == 0)
		return 503;
	if (strcmp(code, "NOT_FOUND") == 0)
		return 404;
	return strcmp(code, "REQUEST_LIMIT_EXCEEDED") == 0 ? 403 : 400;
}

/* ---- accounts ---- */

const cJSON *salesforce_records(const cJSON *json)
{
	return cJSON_IsTrue(json_get(json, "done")) ? json_array(json, "records") : NULL;
}

static bool fill(const struct target *t, const cJSON *json, struct target_account *ret)
{
	char id[SALESFORCE_ID + 1];
	const cJSON *active = mapping_get(json, "IsActive");
	const char *profile = json_text(json, "ProfileId");
	const cJSON *item;

	if (!cJSON_IsObject(json) || !salesforce_id(json_text(json, "Id"), id))
		return false;
	ret->rid = mem_dup(id);
	ret->json = cJSON_Duplicate(json, true);
	ret->enabled = !active || cJSON_IsTrue(active);
	profile = profile ? salesforce_name_of(t, "Profile", profile) : NULL;
	cJSON_ArrayForEach (item, json_array(t->options, "privileged_profiles"))
		ret->privileged |= profile && strcasecmp(profile, item->valuestring) == 0;
	if (!json_get(t->options, "privileged_profiles"))
		ret->privileged = profile && strcasecmp(profile, "System Administrator") == 0;
	return true;
}

static void add_account(const struct target *t, const cJSON *json, struct target_answer *a)
{
	struct target_account one = {0}, *place;

	if (!fill(t, json, &one)) {
		a->not_json = true;
		return;
	}
	place = target_answer_add(a);
	if (place)
		*place = one;
	else
		target_account_done(&one);
}

/* The account that a creation made: no more than its id is told. */
static void add_created(const struct target_op *op, const char *id, struct target_answer *a)
{
	char whole[SALESFORCE_ID + 1];
	struct target_account *account;

	if (!salesforce_id(id, whole))
		return; /* the core knows what no id means */
	account = target_answer_add(a);
	account->rid = mem_dup(whole);
	account->json = cJSON_CreateObject();
	cJSON_AddStringToObject(account->json, "Id", whole);
	account->enabled = op->enabled != TARGET_DISABLE;
}

/* ---- one operation ---- */

static bool good(int status)
{
	return status >= 200 && status <= 299;
}

static void take_records(const struct target *t, const struct target_op *op, const cJSON *records,
			 struct target_answer *a)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, records) {
		char id[SALESFORCE_ID + 1];

		if (op->kind == TARGET_READ &&
		    !(salesforce_id(json_text(item, "Id"), id) && strcmp(id, op->rid) == 0))
			continue;
		if (op->kind == TARGET_FIND && !salesforce_matches(t, item, &op->key))
			continue;
		if (op->kind != TARGET_FIND && op->kind != TARGET_READ)
			continue;
		add_account(t, item, a);
	}
}

/* Somebody else's account is no answer to this question. */
static void take_read(const struct target *t, const struct target_op *op, const cJSON *json,
		      struct target_answer *a)
{
	char id[SALESFORCE_ID + 1];

	if (salesforce_id(json_text(json, "Id"), id) && strcmp(id, op->rid) == 0)
		add_account(t, json, a);
	else
		a->not_json = true;
}

static void take_name(struct target *t, const struct target_op *op, const cJSON *records,
		      struct target_answer *a)
{
	const char *object = json_text(op->body, "object"), *name = json_text(op->body, "name");
	int n = cJSON_GetArraySize(records);

	if (!cJSON_IsArray(records)) {
		a->not_json = true;
		return;
	}
	if (n == 1) {
		salesforce_learn(t, object, name, json_text(records->child, "Id"));
		return;
	}
	a->status = 404;
	buf_adds(&a->code, n == 0 ? "unknown_name" : "ambiguous_name");
	buf_addf(&a->detail, "%s %s: %s", object, name, n == 0 ? "there is none" : "several");
}

static void take_one(struct target *t, const struct target_op *op, const struct reply *r,
		     struct target_answer *a)
{
	a->status = r->status;
	if (!good(r->status)) {
		take_error(t, r, a);
		/* what is to be taken away and is not there is what was wanted */
		if (op->kind == TARGET_STEP && r->status == 404 && json_text(op->body, "record"))
			a->status = 204;
		return;
	}
	a->not_json = !r->json && r->text.n > 0;
	if (op->kind == TARGET_CREATE)
		add_created(op, json_text(r->json, "id"), a);
	else if (op->kind == TARGET_READ)
		take_read(t, op, r->json, a);
	else if (op->kind == TARGET_STEP && strcmp(op->name, "look_up") == 0)
		take_name(t, op, salesforce_records(r->json), a);
}

/* An answer to a query that stood for several. READ: whom it does not name is not there. */
static void take_query(struct target *t, const struct target_op *op, const struct reply *r,
		       struct target_answer *a)
{
	const cJSON *records = salesforce_records(r->json);

	a->status = r->status;
	if (!good(r->status)) {
		take_error(t, r, a);
		return;
	}
	if (!records) {
		a->not_json = true;
		return;
	}
	take_records(t, op, records, a);
	if (op->kind == TARGET_READ && a->accounts_n == 0 && !a->not_json)
		a->status = 404;
}

/* ---- collections: rows in the order of the request ---- */

static void take_row(struct target *t, const struct target_op *op, const cJSON *row,
		     struct target_answer *a)
{
	if (cJSON_IsTrue(json_get(row, "success"))) {
		a->status = op->kind == TARGET_CREATE ? 201 : 204;
		if (op->kind == TARGET_CREATE)
			add_created(op, json_text(row, "id"), a);
	} else if (cJSON_IsFalse(json_get(row, "success"))) {
		struct reply r = {.json = row};

		a->status = status_of_code(salesforce_error_of(row).code);
		take_error(t, &r, a);
	}
}

/* ---- composite ---- */

static struct reply part_of(const cJSON *json, const char *id)
{
	const cJSON *one;

	cJSON_ArrayForEach (one, json_array(json, "compositeResponse")) {
		const char *its = json_text(one, "referenceId");
		int64_t status = json_int(one, "httpStatusCode", 0);

		if (its && strcmp(its, id) == 0)
			return (struct reply){.status = status >= 100 && status <= 599 ? (int)status
										       : 0,
					      .json = json_get(one, "body")};
	}
	return (struct reply){0};
}

/* Who is frozen cannot log in: where that is how accounts are disabled, it is. */
static void take_frozen(const struct target *t, const cJSON *json, struct target_account *account)
{
	struct reply login = part_of(json, "login");
	const cJSON *records = salesforce_records(login.json);
	bool frozen =
		records && records->child && cJSON_IsTrue(mapping_get(records->child, "IsFrozen"));

	cJSON_AddBoolToObject(account->json, "IsFrozen", frozen);
	if (frozen && t->disable == SALESFORCE_FREEZE)
		account->enabled = false;
}

/* A list that is not whole is none: nothing may be taken or given by it. */
static void take_holdings(struct target *t, const cJSON *json, struct target_answer *a)
{
	for (size_t i = 0; t->holds && i < SALESFORCE_KINDS; i++) {
		struct reply r = part_of(json, salesforce_kinds[i].object);
		const cJSON *records = good(r.status) ? salesforce_records(r.json) : NULL;

		if (records) {
			cJSON_AddItemToObject(a->accounts[0].json, salesforce_kinds[i].object,
					      cJSON_Duplicate(records, true));
			continue;
		}
		if (r.status && !good(r.status)) {
			a->status = r.status;
			take_error(t, &r, a);
		} else {
			a->not_json = true;
		}
		return;
	}
}

static void take_parts(struct target *t, const struct target_op *op, const cJSON *json,
		       struct target_answer *a)
{
	static const char *const order[] = {"user", "login", "freeze"};
	struct reply r = {0};

	if (op->kind == TARGET_FIND || op->kind == TARGET_READ) {
		r = part_of(json, "user");
		take_query(t, op, &r, a);
		for (size_t i = 0; i < a->accounts_n; i++)
			take_frozen(t, json, &a->accounts[i]);
		if (op->kind == TARGET_READ && a->accounts_n > 0)
			take_holdings(t, json, a);
		return;
	}
	for (size_t i = 0; i < 3; i++) {
		struct reply one = part_of(json, order[i]);

		if (one.status)
			r = one;
		if (one.status && !good(one.status))
			break;
	}
	a->status = r.status;
	if (!good(r.status))
		take_error(t, &r, a);
}

/* ---- all ---- */

void salesforce_take_usage(struct target *t, const struct http_response *response)
{
	static const char key[] = "api-usage=";
	struct slice value = http_header(response, "Sforce-Limit-Info");
	char text[128] = "", *end;
	const char *at;

	if (value.n == 0 || value.n >= sizeof(text))
		return;
	memcpy(text, value.p, value.n);
	at = strncmp(text, key, sizeof(key) - 1) == 0 ? text + sizeof(key) - 1 : "";
	int64_t used = strtol(at, &end, 10), most;

	if (end == at || *end != '/')
		return;
	most = strtol(end + 1, NULL, 10);
	if (used >= 0 && most > 0) {
		t->used = used;
		t->most = most;
	}
}

static bool is_query(struct target_op *const *ops, size_t n)
{
	return ops[0]->kind == TARGET_FIND || (ops[0]->kind == TARGET_READ && n > 1);
}

static void take_several(struct target *t, struct target_op *const *ops, size_t n,
			 const struct reply *r, struct target_answer *answers)
{
	const cJSON *row = cJSON_IsArray(r->json) ? r->json->child : NULL;

	if (!good(r->status) || !cJSON_IsArray(r->json) ||
	    (size_t)cJSON_GetArraySize(r->json) != n) {
		for (size_t i = 0; i < n; i++) {
			answers[i].status = r->status;
			answers[i].not_json = good(r->status);
			if (!good(r->status))
				take_error(t, r, &answers[i]);
		}
		return;
	}
	for (size_t i = 0; row && i < n; i++, row = row->next)
		take_row(t, ops[i], row, &answers[i]);
}

static void take_all(struct target *t, struct target_op *const *ops, size_t n,
		     const struct reply *r, struct target_answer *answers)
{
	bool composite = salesforce_is_composite(t, ops[0]);

	if (composite && good(r->status) && json_array(r->json, "compositeResponse")) {
		take_parts(t, ops[0], r->json, &answers[0]);
	} else if (is_query(ops, n) && !composite) {
		for (size_t i = 0; i < n; i++)
			take_query(t, ops[i], r, &answers[i]);
	} else if (n == 1) {
		take_one(t, ops[0], r, &answers[0]);
		answers[0].not_json |= composite && good(r->status);
	} else {
		take_several(t, ops, n, r, answers);
	}
}

void salesforce_answers(struct target *t, struct target_op *const *ops, size_t n,
			const struct http_response *response, struct target_answer *answers)
{
	cJSON *json = json_parse(response->body, NULL);
	struct reply r = {(int)response->status, json, response->body};

	salesforce_take_usage(t, response);
	take_all(t, ops, n, &r, answers);
	for (size_t i = 0; i < n; i++)
		name_seat(ops[i], &answers[i]);
	cJSON_Delete(json);
}

int salesforce_listed(struct target *t, const struct http_response *response,
		      void (*take)(void *arg, const struct target_account *account), void *arg,
		      char **ret_next)
{
	cJSON *json = response->status == 200 ? json_parse(response->body, NULL) : NULL;
	const char *next = json_text(json, "nextRecordsUrl");
	const cJSON *list = json_array(json, "records"), *item;
	bool whole = cJSON_IsTrue(json_get(json, "done"));
	int rc = list && whole == !next && (!next || *next == '/') ? 0 : -EPROTO;

	cJSON_ArrayForEach (item, list) {
		struct target_account account = {0};

		if (rc == 0 && fill(t, item, &account))
			take(arg, &account);
		else
			rc = -EPROTO;
		target_account_done(&account);
	}
	if (rc == 0 && next) {
		CLEANUP(buf_cleanup) struct buf url = {0};

		buf_addf(&url, "%s%s", t->origin, next);
		*ret_next = buf_steal(&url);
	}
	cJSON_Delete(json);
	return rc;
}
