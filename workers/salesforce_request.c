/* Operations as requests of the REST API: sObject rows, sObject collections, composite, query. */
#include "salesforce_own.h"

#include <errno.h>
#include <string.h>

#define JSON "application/json"

enum {
	ALIAS_MOST = 8,
	NICKNAME_MOST = 40,
	LANE_STEP = 0,
	LANE_CREATE,
	LANE_UPDATE,
	LANE_READ,
	LANE_FIND
};

/* Operations that may share a request: one kind, and for look-ups one field. */
unsigned salesforce_lane(const struct target *t, const struct target_op *op, size_t *ret_most)
{
	*ret_most = salesforce_is_composite(t, op) ? 1 : t->batch;
	switch (op->kind) {
	case TARGET_CREATE:
		return LANE_CREATE;
	case TARGET_UPDATE:
		return LANE_UPDATE;
	case TARGET_READ:
		return LANE_READ;
	case TARGET_FIND:
		if (!t->external || strcasecmp(op->key.field, t->external) != 0)
			*ret_most = 1;
		return LANE_FIND;
	case TARGET_STEP:
	case TARGET_DELETE:
	case TARGET_KINDS:
		break;
	}
	*ret_most = 1;
	return LANE_STEP;
}

bool salesforce_is_composite(const struct target *t, const struct target_op *op)
{
	bool freeze = t->disable == SALESFORCE_FREEZE;

	switch (op->kind) {
	case TARGET_FIND:
		return freeze;
	case TARGET_READ:
		return freeze || t->holds;
	case TARGET_UPDATE:
		return freeze && op->enabled != TARGET_KEEP;
	case TARGET_STEP:
		return strcmp(op->name, "freeze") == 0 || strcmp(op->name, "unfreeze") == 0;
	case TARGET_CREATE:
	case TARGET_DELETE:
	case TARGET_KINDS:
		break;
	}
	return false;
}

/* ---- SOQL ---- */

static void soql_text(struct buf *soql, const char *value)
{
	buf_addc(soql, '\'');
	for (const char *p = value; *p; p++) {
		if (*p == '\'' || *p == '\\')
			buf_addc(soql, '\\');
		if (*p == '\n' || *p == '\r')
			buf_adds(soql, *p == '\n' ? "\\n" : "\\r");
		else
			buf_addc(soql, *p);
	}
	buf_addc(soql, '\'');
}

static void query_path(const struct target *t, struct slice soql, struct buf *path)
{
	buf_addf(path, "%s/query?q=", t->root.p);
	http_escape(path, soql);
}

void salesforce_query(const struct target *t, struct slice soql, struct buf *url)
{
	buf_adds(url, t->origin);
	query_path(t, soql, url);
}

static void soql_find(const struct target *t, struct target_op *const *ops, size_t n,
		      struct buf *soql)
{
	bool by_id = ops[0]->kind == TARGET_READ;

	buf_addf(soql, "SELECT %s FROM User WHERE %s", t->select.p,
		 by_id ? "Id" : ops[0]->key.field);
	buf_adds(soql, n > 1 ? " IN (" : " = ");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(soql, ',');
		soql_text(soql, by_id ? ops[i]->rid : ops[i]->key.value);
	}
	if (n > 1)
		buf_addc(soql, ')');
}

/* ---- bodies ---- */

static const char *known_id(const struct target *t, const char *field, const cJSON *value,
			    char id[SALESFORCE_ID + 1])
{
	const char *object = salesforce_object_of(field);

	if (!object || !cJSON_IsString(value))
		return NULL;
	return salesforce_resolve(t, object, value->valuestring, id);
}

/* -EINVAL: a name that nobody has resolved. */
static int add_value(const struct target *t, cJSON *body, const char *field, const cJSON *value)
{
	char id[SALESFORCE_ID + 1];

	if (known_id(t, field, value, id)) {
		cJSON_AddStringToObject(body, field, id);
		return 0;
	}
	if (salesforce_object_of(field) && cJSON_IsString(value))
		return -EINVAL;
	cJSON_AddItemToObject(body, field, cJSON_Duplicate(value, true));
	return 0;
}

static int add_changes(const struct target *t, cJSON *body, const struct target_op *op,
		       const char *leave_out)
{
	const cJSON *item;
	int rc = 0;

	cJSON_ArrayForEach (item, op->set) {
		if (leave_out && strcasecmp(item->string, leave_out) == 0)
			continue;
		rc = rc ? rc : add_value(t, body, item->string, item);
	}
	cJSON_ArrayForEach (item, op->clear)
		cJSON_AddNullToObject(body, item->string);
	return rc;
}

static void add_alias(cJSON *body)
{
	CLEANUP(buf_cleanup) struct buf alias = {0};
	const char *name = json_text(body, "Username");

	if (!name || cJSON_GetObjectItem(body, "Alias"))
		return;
	buf_add_utf8(&alias, (struct slice){name, strcspn(name, "@")}, ALIAS_MOST);
	cJSON_AddStringToObject(body, "Alias", alias.n ? alias.p : "user");
}

/* Unique in the org, and not taken from the person's name: two of one name would clash. */
static void add_nickname(cJSON *body, const char *user)
{
	char name[NICKNAME_MOST + 1] = "u";
	size_t n = 1;

	if (cJSON_GetObjectItem(body, "CommunityNickname"))
		return;
	for (; *user && n < NICKNAME_MOST; user++) {
		if (*user != '-')
			name[n++] = *user;
	}
	name[n] = '\0';
	cJSON_AddStringToObject(body, "CommunityNickname", name);
}

static int create_body(const struct target *t, const struct target_op *op, bool with_key,
		       cJSON *body)
{
	static const char *const keys[][3] = {
		/* field, option, default */
		{"TimeZoneSidKey", "time_zone", "GMT"},
		{"LocaleSidKey", "locale", "en_US"},
		{"EmailEncodingKey", "email_encoding", "UTF-8"},
		{"LanguageLocaleKey", "language", "en_US"},
	};
	int rc = add_changes(t, body, op, with_key ? NULL : t->external);

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *given = json_text(t->options, keys[i][1]);

		if (!cJSON_GetObjectItem(body, keys[i][0]))
			cJSON_AddStringToObject(body, keys[i][0], given ? given : keys[i][2]);
	}
	add_alias(body);
	add_nickname(body, op->user);
	cJSON_AddBoolToObject(body, "IsActive", op->enabled != TARGET_DISABLE);
	return rc;
}

static int update_body(const struct target *t, const struct target_op *op, cJSON *body)
{
	int rc = add_changes(t, body, op, NULL);

	if (op->enabled == TARGET_ENABLE)
		cJSON_AddTrueToObject(body, "IsActive");
	else if (op->enabled == TARGET_DISABLE && t->disable != SALESFORCE_FREEZE)
		cJSON_AddFalseToObject(body, "IsActive");
	return rc;
}

static void print(cJSON *body, struct target_request *ret)
{
	ret->content_type = JSON;
	json_print(body, &ret->body);
	cJSON_Delete(body);
}

/* ---- rows ---- */

static void user_path(const struct target *t, const struct target_op *op, struct buf *path)
{
	buf_addf(path, "%s/sobjects/User/", t->root.p);
	http_escape(path, slice_of(op->rid));
}

static const char *key_of(const struct target *t, const struct target_op *op)
{
	return t->external ? json_text(op->set, t->external) : NULL;
}

static int request_create(const struct target *t, const struct target_op *op,
			  struct target_request *ret)
{
	const char *key = key_of(t, op);
	cJSON *body = cJSON_CreateObject();
	int rc = create_body(t, op, false, body);

	buf_addf(&ret->url, "%s%s/sobjects/User", t->origin, t->root.p);
	ret->method = key ? HTTP_PATCH : HTTP_POST;
	if (key) {
		buf_addf(&ret->url, "/%s/", t->external);
		http_escape(&ret->url, slice_of(key));
	}
	print(body, ret);
	return t->external && !key ? -EINVAL : rc;
}

static int request_update(const struct target *t, const struct target_op *op,
			  struct target_request *ret)
{
	cJSON *body = cJSON_CreateObject();
	int rc = update_body(t, op, body);

	ret->method = HTTP_PATCH;
	buf_adds(&ret->url, t->origin);
	user_path(t, op, &ret->url);
	print(body, ret);
	return rc;
}

static void request_read(const struct target *t, const struct target_op *op,
			 struct target_request *ret)
{
	buf_adds(&ret->url, t->origin);
	user_path(t, op, &ret->url);
	buf_addf(&ret->url, "?fields=%s", t->select.p);
}

static int request_role(const struct target *t, const struct target_op *op,
			struct target_request *ret)
{
	const char *role = op->body->valuestring;
	char id[SALESFORCE_ID + 1];
	cJSON *body = cJSON_CreateObject();
	int rc = 0;

	ret->method = HTTP_PATCH;
	buf_adds(&ret->url, t->origin);
	user_path(t, op, &ret->url);
	if (!*role)
		cJSON_AddNullToObject(body, "UserRoleId");
	else if (salesforce_resolve(t, "UserRole", role, id))
		cJSON_AddStringToObject(body, "UserRoleId", id);
	else
		rc = -EINVAL;
	print(body, ret);
	return rc;
}

static void request_look_up(const struct target *t, const struct target_op *op,
			    struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf soql = {0};

	const char *object = json_text(op->body, "object");

	buf_addf(&soql, "SELECT Id FROM %s WHERE %s = ", object, salesforce_name_field(object));
	soql_text(&soql, json_text(op->body, "name"));
	buf_adds(&soql, " LIMIT 2");
	salesforce_query(t, buf_slice(&soql), &ret->url);
}

/* ---- assignments ---- */

static const struct salesforce_kind *kind_of(const struct target_op *op)
{
	for (size_t i = 0; i < SALESFORCE_KINDS; i++) {
		if (strcmp(salesforce_kinds[i].object, json_text(op->body, "object")) == 0)
			return &salesforce_kinds[i];
	}
	return NULL;
}

static void request_assignment(const struct target *t, const struct target_op *op,
			       struct target_request *ret)
{
	const struct salesforce_kind *kind = kind_of(op);
	const char *record = json_text(op->body, "record");
	cJSON *body;

	buf_addf(&ret->url, "%s%s/sobjects/%s", t->origin, t->root.p, kind->assignment);
	if (record) {
		ret->method = HTTP_DELETE;
		buf_addc(&ret->url, '/');
		http_escape(&ret->url, slice_of(record));
		return;
	}
	ret->method = HTTP_POST;
	body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, kind->whom, op->rid);
	cJSON_AddStringToObject(body, kind->what, json_text(op->body, "id"));
	print(body, ret);
}

/* ---- composite: parts that name what parts before them found ---- */

static cJSON *part(cJSON *list, const char *method, const char *id, const struct buf *path)
{
	cJSON *one = cJSON_CreateObject();

	cJSON_AddStringToObject(one, "method", method);
	cJSON_AddStringToObject(one, "url", path->p);
	cJSON_AddStringToObject(one, "referenceId", id);
	cJSON_AddItemToArray(list, one);
	return one;
}

static void part_login(const struct target *t, cJSON *list, const char *user)
{
	CLEANUP(buf_cleanup) struct buf soql = {0}, path = {0};

	buf_adds(&soql, "SELECT Id,IsFrozen FROM UserLogin WHERE UserId = ");
	if (*user == '@')
		buf_addf(&soql, "'%s'", user);
	else
		soql_text(&soql, user);
	query_path(t, buf_slice(&soql), &path);
	part(list, "GET", "login", &path);
}

static void part_freeze(const struct target *t, cJSON *list, bool freeze)
{
	CLEANUP(buf_cleanup) struct buf path = {0};
	cJSON *body;

	buf_addf(&path, "%s/sobjects/UserLogin/@{login.records[0].Id}", t->root.p);
	body = cJSON_AddObjectToObject(part(list, "PATCH", "freeze", &path), "body");
	cJSON_AddBoolToObject(body, "IsFrozen", freeze);
}

/* What the user holds; what its profile brings is not assigned. */
static void part_holdings(const struct target *t, cJSON *list, const char *user)
{
	for (size_t i = 0; i < SALESFORCE_KINDS; i++) {
		const struct salesforce_kind *kind = &salesforce_kinds[i];
		CLEANUP(buf_cleanup) struct buf soql = {0}, path = {0};

		buf_addf(&soql, "SELECT Id,%s FROM %s WHERE %s = ", kind->what, kind->assignment,
			 kind->whom);
		soql_text(&soql, user);
		if (strcmp(kind->object, "PermissionSet") == 0)
			buf_adds(&soql, " AND PermissionSet.IsOwnedByProfile = false");
		query_path(t, buf_slice(&soql), &path);
		part(list, "GET", kind->object, &path);
	}
}

static void part_find(const struct target *t, struct target_op *const *ops, cJSON *list)
{
	CLEANUP(buf_cleanup) struct buf soql = {0}, path = {0};

	soql_find(t, ops, 1, &soql);
	query_path(t, buf_slice(&soql), &path);
	part(list, "GET", "user", &path);
	part_login(t, list, ops[0]->kind == TARGET_READ ? ops[0]->rid : "@{user.records[0].Id}");
	if (t->holds && ops[0]->kind == TARGET_READ)
		part_holdings(t, list, ops[0]->rid);
}

static int part_update(const struct target *t, const struct target_op *op, cJSON *list)
{
	CLEANUP(buf_cleanup) struct buf path = {0};
	cJSON *body = cJSON_CreateObject();
	int rc = update_body(t, op, body);

	if (body->child) {
		user_path(t, op, &path);
		cJSON_AddItemToObject(part(list, "PATCH", "user", &path), "body", body);
	} else {
		cJSON_Delete(body);
	}
	part_login(t, list, op->rid);
	part_freeze(t, list, op->enabled == TARGET_DISABLE);
	return rc;
}

static int request_composite(const struct target *t, struct target_op *const *ops,
			     struct target_request *ret)
{
	const struct target_op *op = ops[0];
	cJSON *body = cJSON_CreateObject(), *list;
	int rc = 0;

	cJSON_AddFalseToObject(body, "allOrNone");
	list = cJSON_AddArrayToObject(body, "compositeRequest");
	if (op->kind == TARGET_FIND || op->kind == TARGET_READ) {
		part_find(t, ops, list);
	} else if (op->kind == TARGET_UPDATE) {
		rc = part_update(t, op, list);
	} else {
		part_login(t, list, op->rid);
		part_freeze(t, list, cJSON_IsTrue(op->body));
	}
	ret->method = HTTP_POST;
	buf_addf(&ret->url, "%s%s/composite", t->origin, t->root.p);
	print(body, ret);
	return rc;
}

/* ---- collections ---- */

static int add_record(const struct target *t, const struct target_op *op, cJSON *records)
{
	cJSON *record = cJSON_CreateObject();

	cJSON_AddItemToArray(records, record);
	cJSON_AddStringToObject(cJSON_AddObjectToObject(record, "attributes"), "type", "User");
	if (op->kind == TARGET_CREATE)
		return create_body(t, op, true, record);
	cJSON_AddStringToObject(record, "id", op->rid);
	return update_body(t, op, record);
}

static int request_collection(const struct target *t, struct target_op *const *ops, size_t n,
			      struct target_request *ret)
{
	cJSON *body = cJSON_CreateObject(), *records;
	bool create = ops[0]->kind == TARGET_CREATE;
	int rc = 0;

	cJSON_AddFalseToObject(body, "allOrNone");
	records = cJSON_AddArrayToObject(body, "records");
	for (size_t i = 0; i < n; i++) {
		int one = add_record(t, ops[i], records);

		rc = rc ? rc : one;
	}
	ret->method = create && !t->external ? HTTP_POST : HTTP_PATCH;
	buf_addf(&ret->url, "%s%s/composite/sobjects", t->origin, t->root.p);
	if (create && t->external)
		buf_addf(&ret->url, "/User/%s", t->external);
	print(body, ret);
	return rc ? -E2BIG : 0; /* one that cannot be expressed shows itself when it is alone */
}

static int request_select(const struct target *t, struct target_op *const *ops, size_t n,
			  struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf soql = {0};

	soql_find(t, ops, n, &soql);
	salesforce_query(t, buf_slice(&soql), &ret->url);
	return n > 1 && ret->url.n > SALESFORCE_URL_MAX ? -E2BIG : 0;
}

/* ---- all ---- */

static int request_one(const struct target *t, struct target_op *const *ops,
		       struct target_request *ret)
{
	const struct target_op *op = ops[0];

	switch (op->kind) {
	case TARGET_FIND:
		return request_select(t, ops, 1, ret);
	case TARGET_READ:
		request_read(t, op, ret);
		return 0;
	case TARGET_CREATE:
		return request_create(t, op, ret);
	case TARGET_UPDATE:
		return request_update(t, op, ret);
	case TARGET_STEP:
		if (strcmp(op->name, "role") == 0)
			return request_role(t, op, ret);
		if (strcmp(op->name, "look_up") == 0)
			request_look_up(t, op, ret);
		else
			request_assignment(t, op, ret);
		return 0;
	case TARGET_DELETE:
	case TARGET_KINDS:
		break;
	}
	return -EINVAL;
}

int salesforce_request(struct target *t, struct target_op *const *ops, size_t n,
		       struct target_request *ret)
{
	ret->accept = JSON;
	ret->method = HTTP_GET;
	if (salesforce_is_composite(t, ops[0]))
		return request_composite(t, ops, ret);
	if (n == 1)
		return request_one(t, ops, ret);
	if (ops[0]->kind == TARGET_FIND || ops[0]->kind == TARGET_READ)
		return request_select(t, ops, n, ret);
	return request_collection(t, ops, n, ret);
}

int salesforce_list(struct target *t, const char *next, struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf soql = {0};

	ret->accept = JSON;
	ret->method = HTTP_GET;
	if (next) {
		buf_adds(&ret->url, next);
		return 0;
	}
	buf_addf(&soql, "SELECT %s FROM User", t->select.p);
	if (t->external)
		buf_addf(&soql, " WHERE %s != null", t->external);
	salesforce_query(t, buf_slice(&soql), &ret->url);
	return 0;
}
