/* A service and its driver that are nothing but data, for tests of tasks: POST /do with a list of operations. What happens stands
 * in one trace, in order. */
#ifndef DIRPIPE_TASK_FAKE_H
#define DIRPIPE_TASK_FAKE_H

#include "task_own.h"
#include "web.h"

#include "unit.h"

/* ---- the driver: POST /do [{user, kind, …}] → [{user, status, code, field, accounts: [{rid, …}]}] ---- */

struct target {
	char url[64];
};

static const char *const kinds[TARGET_KINDS] = {"FIND",	  "READ",   "CREATE",
						"UPDATE", "DELETE", "STEP"};

static inline bool fake_matches(const struct target *t, const cJSON *account,
				const struct target_key *key)
{
	const char *value = json_text(account, key->field);

	(void)t;
	return value && strcmp(value, key->value) == 0;
}

static bool refuses, serial;

static inline bool fake_refuses(const struct target *t, const char *field)
{
	(void)t;
	(void)field;
	return refuses;
}

static inline int fake_plan(const struct target *t, const struct target_want *want,
			    struct target_plan *plan)
{
	struct target_op *op;
	bool enabled = want->account ? want->account->enabled : want->link->state != LINK_DISABLED;

	(void)t;
	if (want->leave_delete) {
		target_plan_add(plan, TARGET_DELETE, "delete");
		return 0;
	}
	if (want->create) {
		op = target_plan_add(plan, TARGET_CREATE, "create");
		target_fill(want->document, op);
		op->enabled = want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
	} else {
		op = target_plan_add(plan, TARGET_UPDATE, "update");
		target_diff(want->document, want->account ? want->account->json : NULL, NULL, op);
		if (want->enabled != enabled)
			op->enabled = want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
	}
	if (want->refs_n && *want->refs[0].rid) {
		op = target_plan_add(plan, TARGET_STEP, "manager");
		op->body = cJSON_CreateString(want->refs[0].rid);
		op->remember = cJSON_CreateObject();
		cJSON_AddStringToObject(op->remember, "manager", want->refs[0].rid);
	}
	return 0;
}

static inline unsigned fake_lane(const struct target *t, const struct target_op *op,
				 size_t *ret_most)
{
	(void)t;
	*ret_most = serial ? 1 : 20;
	return op->kind | (serial ? TARGET_LANE_SERIAL : 0);
}

static inline int fake_request(struct target *t, struct target_op *const *ops, size_t n,
			       struct target_request *ret)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < n; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "user", ops[i]->user);
		cJSON_AddStringToObject(item, "kind", kinds[ops[i]->kind]);
		cJSON_AddStringToObject(item, "name", ops[i]->name);
		if (ops[i]->rid)
			cJSON_AddStringToObject(item, "rid", ops[i]->rid);
		if (ops[i]->key.value)
			cJSON_AddStringToObject(item, "key", ops[i]->key.value);
		if (ops[i]->unfinished)
			cJSON_AddTrueToObject(item, "unfinished");
		if (ops[i]->set)
			cJSON_AddItemToObject(item, "set", cJSON_Duplicate(ops[i]->set, true));
		if (ops[i]->clear)
			cJSON_AddItemToObject(item, "clear", cJSON_Duplicate(ops[i]->clear, true));
		cJSON_AddNumberToObject(item, "enabled", ops[i]->enabled);
		cJSON_AddItemToArray(list, item);
	}
	ret->method = HTTP_POST;
	ret->content_type = "application/json";
	buf_adds(&ret->url, t->url);
	json_print(list, &ret->body);
	cJSON_Delete(list);
	return 0;
}

static const char *request_id; /* that the service names */

static inline void fake_answer(const cJSON *item, struct target_answer *a)
{
	const cJSON *account;

	a->status = (int)json_int(item, "status", 0);
	if (json_text(item, "field"))
		buf_adds(&a->field, json_text(item, "field"));
	a->more = json_true(item, "more", false);
	if (json_text(item, "detail"))
		buf_adds(&a->detail, json_text(item, "detail"));
	if (request_id)
		buf_adds(&a->request_id, request_id);
	cJSON_ArrayForEach (account, json_array(item, "accounts")) {
		struct target_account *to = target_answer_add(a);

		to->rid = mem_dup(json_text(account, "rid"));
		to->json = cJSON_Duplicate(account, true);
		to->enabled = json_true(account, "enabled", false);
		to->blank = json_true(account, "blank", false);
	}
}

static inline void fake_answers(struct target *t, struct target_op *const *ops, size_t n,
				const struct http_response *r, struct target_answer *answers)
{
	cJSON *list = json_parse(r->body, NULL);
	const cJSON *item;

	(void)t;
	for (size_t i = 0; i < n; i++) {
		if (!cJSON_IsArray(list))
			answers[i].status = (int)r->status;
		cJSON_ArrayForEach (item, list) {
			if (strcmp(json_text(item, "user"), ops[i]->user) == 0)
				fake_answer(item, &answers[i]);
		}
	}
	cJSON_Delete(list);
}

static const char *const fake_refs[] = {"manager", NULL};
static struct target_driver fake = {.name = "fake",
				    .version = "1",
				    .refs = fake_refs,
				    .settle_ms = 60000,
				    .refuses_second = fake_refuses,
				    .matches = fake_matches,
				    .plan = fake_plan,
				    .lane = fake_lane,
				    .request = fake_request,
				    .answers = fake_answers};

/* ---- the trace ---- */

static struct buf trace;

static inline void add_trace(const char *word)
{
	if (trace.n)
		buf_addc(&trace, ' ');
	buf_adds(&trace, word);
}

static inline void happened(const char *expected)
{
	assert_string_equal(trace.p ? trace.p : "", expected);
	buf_clear(&trace);
}

/* ---- the service ---- */

static struct {
	cJSON *accounts; /* array of {rid, externalId, …, enabled} */
	int made;
	int more;			/* look-ups that need one more request */
	int status;			/* answer of writes, 0: as it should be */
	const char *status_for, *field; /* only for this kind */
	int times;			/* so often; 0: always */
	bool silent;
	const char *headers;
	int raw_status;
	bool refuses_shared; /* a request for several users, as a whole */
} service;

static inline cJSON *account_of(const char *rid)
{
	cJSON *a;

	cJSON_ArrayForEach (a, service.accounts) {
		if (strcmp(json_text(a, "rid"), rid) == 0)
			return a;
	}
	return NULL;
}

static inline cJSON *add_account(const char *external_id, bool enabled)
{
	cJSON *a = cJSON_CreateObject();
	char rid[16];

	snprintf(rid, sizeof(rid), "r%d", ++service.made);
	cJSON_AddStringToObject(a, "rid", rid);
	cJSON_AddStringToObject(a, "externalId", external_id);
	cJSON_AddBoolToObject(a, "enabled", enabled);
	cJSON_AddItemToArray(service.accounts, a);
	return a;
}

static inline void change(cJSON *a, const cJSON *op)
{
	const cJSON *item;
	int64_t enabled = json_int(op, "enabled", 0);

	cJSON_ArrayForEach (item, json_get(op, "clear"))
		cJSON_DeleteItemFromObjectCaseSensitive(a, item->string);
	cJSON_ArrayForEach (item, json_get(op, "set")) {
		cJSON_DeleteItemFromObjectCaseSensitive(a, item->string);
		cJSON_AddItemToObject(a, item->string, cJSON_Duplicate(item, true));
	}
	if (enabled != TARGET_KEEP) {
		cJSON_DeleteItemFromObjectCaseSensitive(a, "enabled");
		cJSON_AddBoolToObject(a, "enabled", enabled == TARGET_ENABLE);
	}
}

static inline int carry_out(const cJSON *op, const char *kind, cJSON *accounts)
{
	const char *rid = json_text(op, "rid");
	cJSON *a = rid ? account_of(rid) : NULL, *item;

	if (strcmp(kind, "FIND") == 0) {
		cJSON *blanks = cJSON_CreateArray();

		cJSON_ArrayForEach (item, service.accounts) {
			if (strcmp(json_text(item, "externalId"), json_text(op, "key")) == 0)
				cJSON_AddItemToArray(accounts, cJSON_Duplicate(item, true));
		}
		cJSON_ArrayForEach (item, service.accounts) {
			if (!accounts->child && json_true(op, "unfinished", false) &&
			    json_true(item, "blank", false))
				cJSON_AddItemToArray(blanks, cJSON_Duplicate(item, true));
		}
		while (blanks->child)
			cJSON_AddItemToArray(accounts,
					     cJSON_DetachItemViaPointer(blanks, blanks->child));
		cJSON_Delete(blanks);
		return 200;
	}
	if (strcmp(kind, "CREATE") == 0) {
		a = add_account("?", true);
		change(a, op);
	} else if (!a) {
		return 404;
	} else if (strcmp(kind, "UPDATE") == 0) {
		change(a, op);
	} else if (strcmp(kind, "DELETE") == 0) {
		cJSON_Delete(cJSON_DetachItemViaPointer(service.accounts, a));
		return 204;
	}
	cJSON_AddItemToArray(accounts, cJSON_Duplicate(a, true));
	return 200;
}

static inline bool scripted(const char *kind)
{
	if (!service.status || (service.status_for && strcmp(service.status_for, kind) != 0))
		return false;
	if (service.times && --service.times == 0) {
		service.status_for = "nothing";
		return true;
	}
	return true;
}

static inline cJSON *answer_one(const cJSON *op)
{
	const char *kind = json_text(op, "kind");
	cJSON *answer = cJSON_CreateObject(), *accounts = cJSON_CreateArray();
	int status = service.status;

	cJSON_AddStringToObject(answer, "user", json_text(op, "user"));
	if (scripted(kind)) {
		if (service.field)
			cJSON_AddStringToObject(answer, "field", service.field);
		cJSON_AddStringToObject(answer, "detail", "Name Berg is taken");
	} else {
		status = carry_out(op, kind, accounts);
	}
	if (service.more > 0 && strcmp(kind, "FIND") == 0) {
		service.more--;
		cJSON_AddTrueToObject(answer, "more");
	}
	cJSON_AddNumberToObject(answer, "status", status);
	cJSON_AddItemToObject(answer, "accounts", accounts);
	return answer;
}

static inline void serve(void *arg, const struct web_request *r, struct web_reply *reply)
{
	cJSON *ops = json_parse(r->body, NULL), *answers = cJSON_CreateArray();
	const cJSON *op;
	CLEANUP(buf_cleanup) struct buf text = {0}, word = {0};

	(void)arg;
	buf_adds(&word, json_text(ops->child, "kind"));
	if (strcmp(word.p, "STEP") == 0) {
		buf_clear(&word);
		buf_adds(&word, json_text(ops->child, "name"));
	}
	if (cJSON_GetArraySize(ops) > 1)
		buf_addf(&word, "x%d", cJSON_GetArraySize(ops));
	add_trace(word.p);
	if (service.silent) {
		reply->silent = true;
	} else if (service.refuses_shared && cJSON_GetArraySize(ops) > 1) {
		web_answer(reply, 400, "", "no");
	} else if (service.raw_status) {
		web_answer(reply, service.raw_status, service.headers, "no");
	} else {
		cJSON_ArrayForEach (op, ops)
			cJSON_AddItemToArray(answers, answer_one(op));
		json_print(answers, &text);
		web_answer(reply, 200, "Content-Type: application/json\r\n", text.p);
	}
	cJSON_Delete(ops);
	cJSON_Delete(answers);
}

#endif
