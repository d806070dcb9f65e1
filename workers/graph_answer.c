/* Answers taken apart: error object (Microsoft Graph error responses), $batch (JSON batching), pages. */
#include "graph_own.h"

#include "oauth.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MOST = 64, DETAIL_MOST = 600 };

/* An answer to one request, wherever it came from. */
struct reply {
	int status; /* 0: none */
	const cJSON *json;
	struct slice text; /* what came instead of JSON */
	struct slice retry_after, request_id;
};

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_IsObject(object) ? cJSON_GetObjectItem(object, name) : NULL;
}

static const char *text_of(const cJSON *object, const char *name)
{
	const cJSON *value = member(object, name);

	return cJSON_IsString(value) ? value->valuestring : NULL;
}

/* Object ids are GUIDs; whatever else comes must not reach a URL. */
static bool id_valid(const char *id)
{
	size_t n = id ? strlen(id) : 0;

	if (n == 0 || n > ID_MOST)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)id[i]) && id[i] != '-')
			return false;
	}
	return true;
}

/* ---- accounts ---- */

static bool is_user(const cJSON *json)
{
	const char *type = text_of(json, "@odata.type");

	return id_valid(text_of(json, "id")) &&
	       (!type || strcasecmp(type, "#microsoft.graph.user") == 0);
}

static void fill(const cJSON *json, bool enabled, struct target_account *ret)
{
	const cJSON *state = member(json, "accountEnabled");

	ret->rid = mem_dup(text_of(json, "id"));
	ret->json = cJSON_Duplicate(json, true);
	ret->enabled = cJSON_IsBool(state) ? cJSON_IsTrue(state) : enabled;
}

static struct target_account *add_account(const cJSON *json, bool enabled, struct target_answer *a)
{
	struct target_account *place = is_user(json) ? target_answer_add(a) : NULL;

	if (place)
		fill(json, enabled, place);
	return place;
}

/* ---- errors ---- */

void graph_error(const cJSON *json, const char **ret_code, const char **ret_message)
{
	const cJSON *error = member(json, "error");

	*ret_code = text_of(error, "code");
	*ret_message = text_of(error, "message");
	if (cJSON_IsString(error)) { /* as token services say it */
		*ret_code = error->valuestring;
		*ret_message = text_of(json, "error_description");
	}
	if (!*ret_message) /* seen as an object with a value */
		*ret_message = text_of(member(error, "message"), "value");
	if (!*ret_code)
		*ret_code = "";
	if (!*ret_message)
		*ret_message = "";
}

/* Messages are the only thing that tells these apart (fact sheet 7). The word goes behind the code; "%": the property that the
 * message names follows. */
static const struct {
	const char *message, *word;
} words[] = {
	{"Another object with the same value for property ", "ObjectConflict/%"},
	{"A conflicting object with one or more", "ConflictingObject"},
	{"on-premises mastered", "OnPremisesMastered"},
	{"originated within an external service", "ExternallyMastered"},
	{"password complexity", "Password"},
	{"Password cannot contain", "Password"},
	{"Property netId is invalid", "ObjectConflict/userPrincipalName"},
	{"Subscription with SKU ", "NoSeats/%"},
	{"invalid usage location", "UsageLocation"},
	{"not have a corresponding license", "NotAssigned"},
	{"object references already exist", "AlreadyMember"},
	{"dynamic group", "DynamicGroup"},
};

static void add_word(const char *message, struct target_answer *a)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *at = strstr(message, words[i].message), *word = words[i].word;
		size_t n = strcspn(word, "%");

		if (!at)
			continue;
		buf_addc(&a->code, '/');
		buf_add(&a->code, word, n);
		if (word[n]) {
			at += strlen(words[i].message);
			buf_add(&a->code, at, strcspn(at, " '\"."));
			buf_add(&a->field, at, strcspn(at, " '\"."));
		}
		return;
	}
}

static void take_error(const struct reply *r, struct target_answer *a)
{
	const cJSON *error = member(r->json, "error"), *details = member(error, "details"), *first;
	const char *code, *message, *word, *target;

	graph_error(r->json, &code, &message);
	buf_adds(&a->code, code);
	if (*message)
		buf_adds(&a->detail, message);
	else if (!r->json)
		buf_add(&a->detail, r->text.p, r->text.n > DETAIL_MOST ? DETAIL_MOST : r->text.n);
	first = cJSON_IsArray(details) ? details->child : details;
	word = text_of(first, "code");
	target = text_of(first, "target");
	if (word) {
		buf_addf(&a->code, "/%s", word);
		if (target) {
			buf_addf(&a->code, "/%s", target);
			buf_adds(&a->field, target);
		}
	} else {
		add_word(message, a);
	}
	if (a->request_id.n == 0 && text_of(member(error, "innerError"), "request-id"))
		buf_adds(&a->request_id, text_of(member(error, "innerError"), "request-id"));
}

/* ---- one operation ---- */

static void take_list(const struct reply *r, bool deleted, struct target_answer *a)
{
	const cJSON *list = member(r->json, "value"), *item;

	if (!cJSON_IsArray(list)) {
		a->not_json = true;
		return;
	}
	cJSON_ArrayForEach (item, list) {
		struct target_account *account;

		if (!is_user(item)) {
			a->not_json = true;
			continue;
		}
		account = add_account(item, true, a);
		if (account)
			account->deleted = deleted;
	}
}

static void take_account(const struct target_op *op, const struct reply *r, struct target_answer *a)
{
	struct target_account *account = add_account(r->json, op->enabled != TARGET_DISABLE, a);

	/* somebody else's account is no answer to this question */
	if (account && op->kind != TARGET_CREATE && strcasecmp(account->rid, op->rid) != 0) {
		target_account_done(account);
		a->accounts_n = 0;
	}
	if (op->kind == TARGET_READ && a->accounts_n == 0)
		a->not_json = true;
}

static bool is_step(const struct target_op *op, const char *name)
{
	return op->kind == TARGET_STEP && strcmp(op->name, name) == 0;
}

/* What one and the same refusal means for this step. */
static void step_error(const struct target *t, const struct target_op *op, const struct reply *r,
		       struct target_answer *a)
{
	const char *group = is_step(op, "member_add") || is_step(op, "member_remove")
				    ? graph_group_id(t, op->what)
				    : NULL;
	const char *word = NULL;

	if (r->status == 404 && is_step(op, "manager") && !op->body)
		word = "NoManager"; /* none to take away is what was wanted */
	else if (r->status == 404 && is_step(op, "member_remove"))
		word = "NoMember";
	else if (r->status == 404 && group && a->detail.n && strcasestr(a->detail.p, group))
		word = "NoGroup";
	else if (r->status == 400 && group && a->code.n && strstr(a->code.p, "/OnPremisesMastered"))
		word = "MasteredGroup";
	else if (r->status == 403 && !is_step(op, "restore") && !is_step(op, "manager"))
		word = "NoPermission"; /* these are not what admin roles protect */
	else if (r->status == 424 && graph_changes_licence(op))
		word = "NoCounts";
	if (!word)
		return;
	buf_clear(&a->code);
	buf_adds(&a->code, word);
}

/* One group of that name, and it is known from now on. */
static void learn_group(struct target *t, const struct target_op *op, const struct reply *r,
			struct target_answer *a)
{
	const cJSON *list = member(r->json, "value"), *first;
	const char *id;

	if (!cJSON_IsArray(list)) {
		a->not_json = true;
		return;
	}
	first = list->child;
	id = text_of(first, "id");
	if (!first || first->next || !id || !graph_is_guid(id)) {
		a->status = 404;
		buf_adds(&a->code, first && first->next ? "AmbiguousGroup" : "NoGroup");
		return;
	}
	if (graph_group_id(t, op->what))
		return;
	t->groups = mem_resize(t->groups, (t->groups_n + 1) * sizeof(*t->groups));
	t->groups[t->groups_n++] = (struct graph_name){mem_dup(op->what), mem_dup(id)};
}

/* A group that is gone may come back under another id. */
static void forget_group(struct target *t, const struct target_op *op)
{
	for (size_t i = 0; i < t->groups_n; i++) {
		if (strcasecmp(t->groups[i].name, op->what) != 0)
			continue;
		free_cleanup(&t->groups[i].name);
		free_cleanup(&t->groups[i].id);
		t->groups[i] = t->groups[--t->groups_n];
		return;
	}
}

static void take_reply(struct target *t, const struct target_op *op, const struct reply *r,
		       struct target_answer *a)
{
	a->status = r->status;
	buf_clear(&a->retry_after);
	buf_add(&a->retry_after, r->retry_after.p, r->retry_after.n);
	if (a->request_id.n == 0)
		buf_add(&a->request_id, r->request_id.p, r->request_id.n);
	if (r->status == 0)
		return;
	if (r->status < 200 || r->status > 299) {
		take_error(r, a);
		if (op->kind == TARGET_STEP)
			step_error(t, op, r, a);
		if (a->code.n && strcmp(a->code.p, "NoGroup") == 0)
			forget_group(t, op);
		return;
	}
	a->not_json = !r->json && r->text.n > 0;
	if (op->kind == TARGET_FIND)
		take_list(r, false, a);
	else if (op->kind == TARGET_READ || (op->kind == TARGET_CREATE && r->json))
		take_account(op, r, a);
	else if (is_step(op, "group_find"))
		learn_group(t, op, r, a);
}

/* Groups and directory roles of the account, as "memberOf": [ids] beside its properties. Unknown when the list is cut or
 * refused. */
static void take_holdings(const struct reply *r, struct target_answer *a)
{
	const cJSON *list = member(r->json, "value"), *item;
	cJSON *ids;

	if (a->accounts_n != 1 || r->status != 200 || !cJSON_IsArray(list) ||
	    text_of(r->json, "@odata.nextLink"))
		return;
	ids = cJSON_CreateArray();
	cJSON_ArrayForEach (item, list) {
		const char *type = text_of(item, "@odata.type"), *id = text_of(item, "id");

		if (type && strcasecmp(type, "#microsoft.graph.directoryRole") == 0)
			a->accounts[0].privileged = true;
		else if (id)
			cJSON_AddItemToArray(ids, cJSON_CreateString(id));
	}
	cJSON_DeleteItemFromObject(a->accounts[0].json, "memberOf");
	cJSON_AddItemToObject(a->accounts[0].json, "memberOf", ids);
}

void graph_learn_skus(struct target *t, const cJSON *json)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, member(json, "value")) {
		const char *id = text_of(item, "skuId"), *name = text_of(item, "skuPartNumber");

		if (!id || !name || !graph_is_guid(id) || graph_sku_id(t, name))
			continue;
		t->skus = mem_resize(t->skus, (t->skus_n + 1) * sizeof(*t->skus));
		t->skus[t->skus_n++] = (struct graph_name){mem_dup(name), mem_dup(id)};
	}
}

/* "used=7/10", behind the change ">6/10". */
static void take_counts(const struct target_op *op, const struct reply *r, bool before,
			struct target_answer *a)
{
	const cJSON *item;

	if (r->status != 200)
		return;
	cJSON_ArrayForEach (item, member(r->json, "value")) {
		const char *id = text_of(item, "skuId");
		const cJSON *units = member(item, "prepaidUnits");
		int64_t seats = json_int(units, "enabled", 0) + json_int(units, "warning", 0);

		if (!id || strcasecmp(id, op->what) != 0)
			continue;
		buf_addf(&a->audit, "%s%lld/%lld", before ? "used=" : ">",
			 (long long)json_int(item, "consumedUnits", 0), (long long)seats);
	}
}

/* The look into deletedItems counts when no live account was found. A refusal (a filter or a permission that is not there)
 * is no hit: a creation that must not be is refused by Graph itself. */
static void take_deleted(const struct reply *r, struct target_answer *a)
{
	bool found = a->status >= 200 && a->status <= 299 && !a->not_json;

	if (!found || a->accounts_n > 0 || r->status == 400 || r->status == 403 || r->status == 404)
		return;
	a->status = r->status;
	buf_clear(&a->retry_after);
	buf_add(&a->retry_after, r->retry_after.p, r->retry_after.n);
	if (r->status < 200 || r->status > 299)
		take_error(r, a);
	else
		take_list(r, true, a);
}

static struct reply reply_of(const struct http_response *response, const cJSON *json)
{
	return (struct reply){.status = (int)response->status,
			      .json = json,
			      .text = response->body,
			      .retry_after = http_header(response, "Retry-After"),
			      .request_id = http_header(response, "request-id")};
}

/* ---- $batch ---- */

static int status_of(const cJSON *one)
{
	const cJSON *status = member(one, "status");
	double value = cJSON_IsNumber(status) ? status->valuedouble : 0;

	return value >= 100 && value <= 599 ? (int)value : 0;
}

static struct slice text_slice(const cJSON *object, const char *name)
{
	return slice_of(text_of(object, name));
}

static struct reply reply_in(const cJSON *one)
{
	const cJSON *body = member(one, "body"), *headers = member(one, "headers");
	struct reply r = {.status = status_of(one),
			  .retry_after = text_slice(headers, "Retry-After"),
			  .request_id = text_slice(headers, "request-id")};

	if (cJSON_IsObject(body) || cJSON_IsArray(body))
		r.json = body;
	else if (cJSON_IsString(body)) /* what is not JSON comes in base64 */
		r.text = slice_of(body->valuestring);
	return r;
}

/* The one response of that id (compared without case); none and several count as none. */
static struct reply find_reply(const cJSON *list, const char *id)
{
	const cJSON *one, *found = NULL;

	cJSON_ArrayForEach (one, list) {
		const char *its = text_of(one, "id");

		if (!its || strcasecmp(its, id) != 0)
			continue;
		if (found)
			return (struct reply){0};
		found = one;
	}
	return found ? reply_in(found) : (struct reply){0};
}

static void answer_batched(struct target *t, const struct target_op *op, const cJSON *list,
			   struct target_answer *a)
{
	for (size_t i = 0; i < graph_parts(t, op); i++) {
		CLEANUP(buf_cleanup) struct buf id = {0};
		size_t main = graph_main_part(t, op);
		struct reply r;

		graph_part_id(t, op, i, &id);
		r = find_reply(list, id.p);
		if (i == main)
			take_reply(t, op, &r, a);
		else if (op->kind == TARGET_STEP)
			take_counts(op, &r, i < main, a);
		else if (op->kind == TARGET_READ)
			take_holdings(&r, a);
		else
			take_deleted(&r, a);
	}
}

/* 424 is what an older page says of an envelope whose parts were throttled. */
static bool envelope(const struct http_response *r, const cJSON *list)
{
	return (r->status == 200 || r->status == 424) && cJSON_IsArray(list);
}

void graph_answers(struct target *t, struct target_op *const *ops, size_t n,
		   const struct http_response *response, struct target_answer *answers)
{
	cJSON *json = json_parse(response->body, NULL);
	const cJSON *object = cJSON_IsObject(json) ? json : NULL;
	const cJSON *list = member(object, "responses");
	bool batch = graph_is_batch(t, ops, n);
	struct reply whole = reply_of(response, object);

	for (size_t i = 0; i < n; i++) {
		struct target_answer *a = &answers[i];

		if (batch && envelope(response, list)) {
			answer_batched(t, ops[i], list, a);
			continue;
		}
		if (!batch || response->status < 200 || response->status > 299) {
			take_reply(t, ops[i], &whole, a);
			continue;
		}
		a->status = (int)response->status; /* a success that is no batch */
		a->not_json = true;
	}
	cJSON_Delete(json);
}

/* ---- pages ---- */

static bool at_home(const struct target *t, const char *url)
{
	CLEANUP(buf_cleanup) struct buf origin = {0};

	return oauth_origin(url, &origin) == 0 &&
	       slice_equal(buf_slice(&origin), buf_slice(&t->origin));
}

int graph_listed(struct target *t, const struct http_response *response,
		 void (*take)(void *arg, const struct target_account *account), void *arg,
		 char **ret_next)
{
	cJSON *json = response->status == 200 ? json_parse(response->body, NULL) : NULL;
	const cJSON *list = member(json, "value"), *item;
	const char *next = text_of(json, "@odata.nextLink");
	bool good = cJSON_IsArray(list) && (!next || at_home(t, next));

	cJSON_ArrayForEach (item, list)
		good = good && is_user(item);
	if (!good) {
		cJSON_Delete(json);
		return -EPROTO;
	}
	cJSON_ArrayForEach (item, list) {
		struct target_account account = {0};

		fill(item, true, &account);
		take(arg, &account);
		target_account_done(&account);
	}
	*ret_next = mem_dup(next);
	cJSON_Delete(json);
	return 0;
}
