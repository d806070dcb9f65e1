/* Requests and answers of the Incident IQ API v1.0. Every answer has the same envelope: Item or Items, StatusCode, Errors, Message;
 * a 2xx around another StatusCode is believed to be that one. */
#include "iiq_own.h"
#include "password.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ID_MOST = 64, FIND_PAGE = 100 };

static const char json_type[] = "application/json";

/* ---- requests ---- */

static int add_header(struct target_request *r, const char *name, const char *value)
{
	return value ? target_request_header(r, name, slice_of(value)) : 0;
}

int iiq_begin(const struct target *t, enum http_method method, const char *path,
	      struct target_request *ret)
{
	ret->method = method;
	ret->accept = json_type;
	buf_addf(&ret->url, "%s/%s", t->base, path);
	if (add_header(ret, "SiteId", t->site_id) < 0 || add_header(ret, "Client", t->client) < 0 ||
	    add_header(ret, "ProductId", t->product_id) < 0)
		return -EINVAL;
	return 0;
}

static void send_json(cJSON *body, struct target_request *ret)
{
	ret->content_type = json_type;
	json_print(body, &ret->body);
	cJSON_Delete(body);
}

int iiq_users(const struct target *t, const char *filter, int64_t page, struct target_request *ret)
{
	cJSON *body = cJSON_CreateObject();
	int rc = iiq_begin(t, HTTP_POST, "users", ret);

	buf_addf(&ret->url, "?$s=%lld&$p=%lld", (long long)(filter ? FIND_PAGE : t->page),
		 (long long)page);
	if (filter) {
		buf_adds(&ret->url, "&$filter=");
		http_escape(&ret->url, slice_of(filter));
	}
	cJSON_AddFalseToObject(body, "OnlyShowDeleted");
	cJSON_AddFalseToObject(body, "ExcludeNoAccess");
	cJSON_AddArrayToObject(body, "Filters");
	cJSON_AddArrayToObject(body, "FieldsToReturn");
	send_json(body, ret);
	return rc;
}

/* 'text', a quote doubled. */
static void add_quoted(const char *text, struct buf *out)
{
	buf_addc(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_addc(out, '\'');
		buf_addc(out, *text);
	}
	buf_addc(out, '\'');
}

static int request_find(const struct target *t, const struct target_key *key,
			struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf filter = {0};
	cJSON *body;

	if (t->lookup == IIQ_SEARCH) {
		body = cJSON_CreateObject();
		cJSON_AddStringToObject(body, "Query", key->value);
		cJSON_AddNumberToObject(body, "Facets", 4); /* users */
		cJSON_AddNumberToObject(body, "Limit", FIND_PAGE);
		cJSON_AddFalseToObject(body, "IncludeMatchedItem");
		send_json(body, ret);
		return iiq_begin(t, HTTP_POST, "search/v2", ret);
	}
	if (t->lookup == IIQ_FILTER)
		buf_addf(&filter, "(%s eq ", key->field);
	else
		buf_adds(&filter, "(SearchText contains ");
	add_quoted(key->value, &filter);
	buf_addc(&filter, ')');
	return iiq_users(t, filter.p, 0, ret);
}

/* Fields with their names turned into ids; NULL: one has none. */
static cJSON *user_body(const struct target *t, const struct target_op *op)
{
	const cJSON *account = json_object(op->body, "account"), *item;
	cJSON *body = account ? cJSON_Duplicate(account, true) : cJSON_CreateObject();

	cJSON_ArrayForEach (item, op->set) {
		const char *id = NULL;

		cJSON_DeleteItemFromObjectCaseSensitive(body, item->string);
		if (iiq_trait(item->string) != IIQ_NAMED) {
			cJSON_AddItemToObject(body, item->string, cJSON_Duplicate(item, true));
			continue;
		}
		if (cJSON_IsString(item))
			id = iiq_id_of(t, item->string, item->valuestring);
		if (!id) {
			cJSON_Delete(body);
			return NULL;
		}
		cJSON_AddStringToObject(body, item->string, id);
	}
	cJSON_ArrayForEach (item, op->clear) {
		cJSON_DeleteItemFromObjectCaseSensitive(body, item->string);
		cJSON_AddNullToObject(body, item->string);
	}
	if (op->enabled != TARGET_KEEP) {
		cJSON_DeleteItemFromObjectCaseSensitive(body, "IsActive");
		cJSON_AddBoolToObject(body, "IsActive", op->enabled == TARGET_ENABLE);
	}
	if (account)
		cJSON_AddFalseToObject(body, "UpdateCustomFields");
	return body;
}

static int request_user(const struct target *t, const struct target_op *op, const char *path,
			struct target_request *ret)
{
	cJSON *body = user_body(t, op);
	char text[PASSWORD_LENGTH + 1];

	if (!body)
		return -EINVAL;
	if (op->kind == TARGET_CREATE && t->initial_password) {
		password_random(text);
		cJSON_AddStringToObject(body, "Password", text);
		secret_wipe(text, sizeof(text));
	}
	send_json(body, ret);
	return iiq_begin(t, HTTP_POST, path, ret);
}

int iiq_request(struct target *t, struct target_op *const *ops, size_t n,
		struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf path = {0};
	const struct target_op *op = ops[0];

	(void)n; /* always 1: no batches */
	if (op->rid) {
		buf_adds(&path, "users/");
		http_escape(&path, slice_of(op->rid));
	}
	switch (op->kind) {
	case TARGET_FIND:
		return request_find(t, &op->key, ret);
	case TARGET_READ:
		return iiq_begin(t, HTTP_GET, path.p, ret);
	case TARGET_CREATE:
		return request_user(t, op, "users/local/new", ret);
	case TARGET_UPDATE:
		return request_user(t, op, path.p, ret);
	case TARGET_DELETE:
		return iiq_begin(t, HTTP_DELETE, path.p, ret);
	case TARGET_STEP:
		return iiq_begin(t, HTTP_GET, "locations/all", ret);
	case TARGET_KINDS:
		break;
	}
	return -EINVAL;
}

/* ---- accounts ---- */

/* It stands in a URL as one segment. */
static const char *id_in(const cJSON *user)
{
	const char *id = json_text(user, "UserId");

	return id && *id && strlen(id) <= ID_MOST &&
			       strspn(id, "0123456789abcdefABCDEF-") == strlen(id)
		       ? id
		       : NULL;
}

static bool account_of(const cJSON *user, struct target_account *ret)
{
	const char *id = id_in(user);

	if (!id || json_true(user, "IsDeleted", false))
		return false;
	*ret = (struct target_account){.rid = mem_dup(id),
				       .json = cJSON_Duplicate(user, true),
				       .enabled = json_true(user, "IsActive", true)};
	return true;
}

static void add_account(const cJSON *user, struct target_answer *a)
{
	struct target_account account, *place;

	if (!account_of(user, &account))
		return;
	place = target_answer_add(a);
	if (place)
		*place = account;
	else
		target_account_done(&account);
}

/* ---- errors ---- */

static bool has_word(const cJSON *list, const char *text)
{
	static const char *const usual[] = {"already", "in use", "duplicate"};
	const cJSON *item;

	for (size_t i = 0; !list && text && i < sizeof(usual) / sizeof(usual[0]); i++) {
		if (strcasestr(text, usual[i]))
			return true;
	}
	cJSON_ArrayForEach (item, list) {
		if (text && strcasestr(text, item->valuestring))
			return true;
	}
	return false;
}

static void take_error(const struct target *t, const cJSON *json, struct slice body,
		       struct target_answer *a)
{
	const cJSON *errors = json_array(json, "Errors"), *first = errors ? errors->child : NULL;
	const char *message = json_text(first, "Message"), *key = json_text(first, "ErrorKey"),
		   *field = json_text(first, "Field");

	if (!message)
		message = json_text(json, "Message");
	if (!key)
		key = json_text(json, "ErrorKey");
	if (a->status >= 400 && a->status <= 499 &&
	    has_word(json_array(t->options, "taken"), message))
		buf_adds(&a->code, "taken");
	else if (key)
		buf_adds(&a->code, key);
	if (message)
		buf_adds(&a->detail, message);
	else if (!json)
		buf_add(&a->detail, body.p, body.n > 500 ? 500 : body.n);
	if (field)
		buf_adds(&a->field, field);
}

/* ---- answers ---- */

static int64_t number(const cJSON *object, const char *name, int64_t otherwise)
{
	const cJSON *value = json_get(object, name);

	return cJSON_IsNumber(value) && value->valuedouble >= 0 && value->valuedouble < 1e15
		       ? (int64_t)value->valuedouble
		       : otherwise;
}

static const cJSON *hits_in(const struct target *t, const cJSON *json)
{
	return t->lookup == IIQ_SEARCH ? json_array(json_object(json, "Item"), "Users")
				       : json_array(json, "Items");
}

/* The look-up is for a text, not for a field: each hit is looked at. One that does not show the field may be the one. */
static void take_hits(const struct target *t, const struct target_op *op, const cJSON *json,
		      struct target_answer *a)
{
	const cJSON *list = hits_in(t, json), *item;
	int64_t total = number(json_object(json, "Paging"), "TotalRows", 0), n = 0;
	bool dark = false;

	a->not_json = list == NULL;
	cJSON_ArrayForEach (item, list) {
		n++;
		if (!id_in(item))
			a->not_json = true;
		else if (!json_get(item, op->key.field) && t->lookup == IIQ_SEARCH)
			dark = true;
		else if (iiq_matches(t, item, &op->key))
			add_account(item, a);
	}
	if (t->lookup == IIQ_SEARCH && n >= FIND_PAGE)
		total = n + 1;
	if (a->accounts_n == 0 && total > n)
		buf_adds(&a->code, "too_many_hits");
	else if (a->accounts_n == 0 && dark)
		buf_adds(&a->code, "hit_not_shown");
}

static void take_item(const struct target_op *op, const cJSON *json, struct target_answer *a)
{
	const cJSON *item = json_object(json, "Item");

	if (op->kind == TARGET_READ && json_true(item, "IsDeleted", false)) {
		a->status = 404;
		return;
	}
	add_account(item, a);
	if (op->kind != TARGET_CREATE && a->accounts_n &&
	    strcasecmp(a->accounts[0].rid, op->rid) != 0) { /* somebody else's */
		target_account_done(&a->accounts[0]);
		a->accounts_n = 0;
	}
	a->not_json = !cJSON_IsObject(json) || (op->kind == TARGET_READ && a->accounts_n == 0);
}

static void take_locations(struct target *t, const struct target_op *op, long status,
			   const cJSON *json, struct target_answer *a)
{
	const char *name = json_text(op->body, "name");

	a->not_json = !iiq_locations_learn(t, status, json);
	if (a->not_json)
		return;
	t->asked_unix_ms = number(op->body, "now", 0);
	if (name && !iiq_id_of(t, "LocationId", name))
		buf_adds(&a->code, "location_unknown");
}

void iiq_answers(struct target *t, struct target_op *const *ops, size_t n,
		 const struct http_response *r, struct target_answer *answers)
{
	cJSON *json = json_parse(r->body, NULL);
	const struct target_op *op = ops[0];
	struct target_answer *a = &answers[0];
	int64_t inner = number(json, "StatusCode", 0);

	(void)n;
	a->status = (int)r->status;
	if (r->status >= 200 && r->status <= 299 && inner >= 400 && inner <= 599)
		a->status = (int)inner;
	if (a->status < 200 || a->status > 299)
		take_error(t, json, r->body, a);
	else if (op->kind == TARGET_FIND)
		take_hits(t, op, json, a);
	else if (op->kind == TARGET_STEP)
		take_locations(t, op, a->status, json, a);
	else if (op->kind == TARGET_DELETE)
		a->not_json = r->body.n > 0 && !cJSON_IsObject(json);
	else
		take_item(op, json, a);
	cJSON_Delete(json);
}

/* ---- pages ---- */

static char *next_page(const struct target *t, const cJSON *paging)
{
	int64_t page = number(paging, "PageIndex", 0) + 1, pages = number(paging, "PageCount", 0);
	struct buf url = {0};

	if (page >= pages)
		return NULL;
	buf_addf(&url, "%s/users?$s=%lld&$p=%lld", t->base, (long long)t->page, (long long)page);
	return buf_steal(&url);
}

int iiq_listed(struct target *t, const struct http_response *r,
	       void (*take)(void *arg, const struct target_account *account), void *arg,
	       char **ret_next)
{
	cJSON *json = json_parse(r->body, NULL);
	const cJSON *list = json_array(json, "Items"), *item;
	bool good = list && number(json, "StatusCode", 200) < 400;

	cJSON_ArrayForEach (item, list)
		good = good && id_in(item);
	for (item = good ? list->child : NULL; item; item = item->next) {
		struct target_account account;

		if (!account_of(item, &account))
			continue;
		take(arg, &account);
		target_account_done(&account);
	}
	*ret_next = good && list->child ? next_page(t, json_object(json, "Paging")) : NULL;
	cJSON_Delete(json);
	return good ? 0 : -EPROTO;
}

/* ---- locations ---- */

void iiq_locations_done(struct target *t)
{
	for (size_t i = 0; i < t->locations_n; i++) {
		free(t->locations[i].id);
		free(t->locations[i].name);
	}
	free(t->locations);
	t->locations = NULL;
	t->locations_n = 0;
}

static void add_location(struct target *t, const char *id, const char *name)
{
	bool ambiguous = false;

	for (size_t i = 0; i < t->locations_n; i++) {
		if (strcasecmp(t->locations[i].name, name) == 0)
			ambiguous = t->locations[i].ambiguous = true;
	}
	t->locations = mem_resize(t->locations, (t->locations_n + 1) * sizeof(*t->locations));
	t->locations[t->locations_n++] =
		(struct iiq_location){mem_dup(id), mem_dup(name), ambiguous};
}

bool iiq_locations_learn(struct target *t, long status, const cJSON *json)
{
	const cJSON *list = json_array(json, "Items"), *item;

	if (status < 200 || status > 299 || !list)
		return false;
	iiq_locations_done(t);
	cJSON_ArrayForEach (item, list) {
		const char *id = json_text(item, "LocationId"), *name = json_text(item, "Name");

		if (id && *id && strlen(id) <= ID_MOST && name && *name)
			add_location(t, id, name);
	}
	return true;
}
