/* Operations as SCIM requests: RFC 7644 3.3 (create), 3.4 (read, filter, paging), 3.5.1 PUT, 3.5.2 PATCH, 3.6 DELETE,
 * 3.7 bulk, 3.14 versions. */
#include "password.h"
#include "scim_own.h"

#include <errno.h>
#include <string.h>

/* ---- URLs ---- */

void scim_url(const struct target *t, const char *rid, struct buf *out)
{
	buf_addf(out, "%s/%s", t->base, t->users);
	if (!rid)
		return;
	buf_addc(out, '/');
	http_escape(out, slice_of(rid));
}

void scim_page_url(const struct target *t, const char *cursor, int64_t start, struct buf *out)
{
	scim_url(t, NULL, out);
	if (cursor) {
		buf_adds(out, "?cursor=");
		http_escape(out, slice_of(cursor));
	} else {
		buf_addf(out, "?startIndex=%lld", (long long)start);
	}
	buf_addf(out, "&count=%lld", (long long)t->page);
}

/* As a filter or PATCH path spells it: a colon stands behind the URN (RFC 7644 3.10). */
static void add_path(const char *path, struct buf *out)
{
	struct slice head, rest;

	mapping_split(path, &head, &rest);
	if (strncasecmp(path, "urn:", 4) != 0 || rest.n == 0) {
		buf_adds(out, path);
		return;
	}
	buf_add(out, head.p, head.n);
	buf_addc(out, ':');
	buf_add(out, rest.p, rest.n);
}

static void add_clause(const struct target_key *key, struct buf *filter)
{
	if (filter->n)
		buf_adds(filter, " or ");
	add_path(key->field, filter);
	buf_adds(filter, " eq ");
	json_quote(slice_of(key->value), filter);
}

static void filter_url(const struct target *t, const struct buf *filter, struct buf *out)
{
	scim_url(t, NULL, out);
	buf_adds(out, "?filter=");
	http_escape(out, buf_slice(filter));
}

static void find_url(const struct target *t, const struct target_key *key, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf filter = {0};

	if (!t->filter.on) {
		scim_page_url(t, t->cursor.on ? "" : NULL, 1, out);
		return;
	}
	add_clause(key, &filter);
	filter_url(t, &filter, out);
}

static int request_find_many(struct target *t, struct target_op *const *ops, size_t n,
			     struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf filter = {0};

	for (size_t i = 0; i < n; i++)
		add_clause(&ops[i]->key, &filter);
	if (t->canary.field) /* else the answer proves nothing, and everybody goes alone */
		add_clause(&t->canary, &filter);
	ret->accept = t->accept;
	filter_url(t, &filter, &ret->url);
	return ret->url.n > SCIM_URL_MAX ? -E2BIG : 0;
}

void scim_get_request(const char *path, struct target_request *ret, const struct target *t)
{
	ret->method = HTTP_GET;
	ret->accept = t->accept;
	buf_addf(&ret->url, "%s/%s", t->base, path);
}

/* ---- nested documents ---- */

static cJSON *list_of(cJSON *nested, struct slice attr)
{
	CLEANUP(free_cleanup) char *name = slice_dup(attr);
	cJSON *list = cJSON_GetObjectItem(nested, name);

	if (cJSON_IsArray(list))
		return list;
	cJSON_DeleteItemFromObject(nested, name);
	return cJSON_AddArrayToObject(nested, name);
}

static cJSON *element_of(cJSON *list, const struct scim_select *s, bool make)
{
	CLEANUP(free_cleanup) char *sub = slice_dup(s->sub);
	CLEANUP(free_cleanup) char *value = slice_dup(s->value);
	cJSON *item;

	cJSON_ArrayForEach (item, list) {
		const cJSON *have = cJSON_GetObjectItem(item, sub);

		if (cJSON_IsString(have) && strcasecmp(have->valuestring, value) == 0)
			return item;
	}
	if (!make)
		return NULL;
	item = cJSON_CreateObject();
	cJSON_AddStringToObject(item, sub, value);
	cJSON_AddItemToArray(list, item);
	return item;
}

static void nested_put(const struct target *t, cJSON *nested, const char *path, const cJSON *value)
{
	cJSON *sent = scim_value(t, path, value);
	struct scim_select s;

	if (scim_select(path, &s))
		mapping_put(element_of(list_of(nested, s.attr), &s, true),
			    s.rest.n ? s.rest.p : "value", sent);
	else
		mapping_put(nested, path, sent);
	cJSON_Delete(sent);
}

static void nested_remove(cJSON *nested, const char *path)
{
	struct scim_select s;

	if (scim_select(path, &s)) {
		cJSON *list = list_of(nested, s.attr), *item = element_of(list, &s, false);

		if (item)
			cJSON_Delete(cJSON_DetachItemViaPointer(list, item));
		return;
	}
	for (struct slice head, rest; nested; path = rest.p) {
		mapping_split(path, &head, &rest);
		CLEANUP(free_cleanup) char *name = slice_dup(head);

		if (rest.n == 0) {
			cJSON_DeleteItemFromObject(nested, name);
			return;
		}
		nested = cJSON_GetObjectItem(nested, name);
	}
}

static cJSON *boolean(const struct target *t, bool on)
{
	return t->string_booleans ? cJSON_CreateString(on ? "true" : "false")
				  : cJSON_CreateBool(on);
}

static void add_schemas(cJSON *nested)
{
	cJSON *list = cJSON_CreateArray();
	const cJSON *item;

	cJSON_AddItemToArray(list, cJSON_CreateString(SCIM_CORE));
	cJSON_ArrayForEach (item, nested) {
		if (strncasecmp(item->string, "urn:", 4) == 0 && cJSON_IsObject(item))
			cJSON_AddItemToArray(list, cJSON_CreateString(item->string));
	}
	cJSON_DeleteItemFromObject(nested, "schemas");
	cJSON_AddItemToObject(nested, "schemas", list);
}

static void add_password(cJSON *nested)
{
	char text[PASSWORD_LENGTH + 1];

	password_random(text);
	cJSON_DeleteItemFromObject(nested, "password");
	cJSON_AddStringToObject(nested, "password", text);
	secret_wipe(text, sizeof(text));
}

static cJSON *create_body(const struct target *t, const struct target_op *op)
{
	cJSON *nested = cJSON_CreateObject();
	const cJSON *item;

	cJSON_ArrayForEach (item, op->set)
		nested_put(t, nested, item->string, item);
	cJSON_DeleteItemFromObject(nested, "active");
	cJSON_AddItemToObject(nested, "active", boolean(t, op->enabled != TARGET_DISABLE));
	if (t->initial_password && !cJSON_GetObjectItem(nested, "password"))
		add_password(nested);
	add_schemas(nested);
	return nested;
}

/* What was read, with the changes in it: PUT clears what it does not name. */
static cJSON *put_body(const struct target *t, const struct target_op *op)
{
	static const char *const read_only[] = {"id", "meta", "groups"};
	cJSON *nested = cJSON_Duplicate(json_object(op->body, "account"), true);
	const cJSON *item;

	for (size_t i = 0; i < sizeof(read_only) / sizeof(read_only[0]); i++)
		cJSON_DeleteItemFromObject(nested, read_only[i]);
	cJSON_ArrayForEach (item, op->set)
		nested_put(t, nested, item->string, item);
	cJSON_ArrayForEach (item, op->clear)
		nested_remove(nested, item->string);
	if (op->enabled != TARGET_KEEP) {
		cJSON_DeleteItemFromObject(nested, "active");
		cJSON_AddItemToObject(nested, "active", boolean(t, op->enabled == TARGET_ENABLE));
	}
	add_schemas(nested);
	return nested;
}

/* ---- PATCH ---- */

static cJSON *patch_op(cJSON *operations, const char *word, const char *path)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "op", word);
	if (path) {
		add_path(path, &text);
		cJSON_AddStringToObject(o, "path", text.p);
	}
	cJSON_AddItemToArray(operations, o);
	return o;
}

static bool marked_add(const struct target_op *op, const char *path)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, json_array(op->body, "add")) {
		if (strcmp(item->valuestring, path) == 0)
			return true;
	}
	return false;
}

static void patch_add_element(const struct target *t, cJSON *operations, const char *path,
			      const cJSON *value)
{
	cJSON *whole = cJSON_CreateObject(), *o;
	struct scim_select s;

	if (scim_select(path, &s)) {
		CLEANUP(free_cleanup) char *attr = slice_dup(s.attr);

		nested_put(t, whole, path, value);
		o = patch_op(operations, "add", attr);
		cJSON_AddItemToObject(o, "value", cJSON_DetachItemFromObject(whole, attr));
	}
	cJSON_Delete(whole);
}

/* Attributes with an element that changes, each as a whole: what was read, with the changes in it. */
static void patch_lists(const struct target *t, const struct target_op *op, cJSON *operations)
{
	const cJSON *account = json_object(op->body, "account"), *item;
	cJSON *lists = cJSON_CreateObject();
	struct scim_select s;

	for (int clear = 0; clear < 2; clear++) {
		const cJSON *paths = clear ? op->clear : op->set;

		cJSON_ArrayForEach (item, paths) {
			if (!scim_select(item->string, &s))
				continue;
			CLEANUP(free_cleanup) char *attr = slice_dup(s.attr);
			const cJSON *had = scim_member(account, attr);

			if (!cJSON_GetObjectItem(lists, attr) && cJSON_IsArray(had))
				cJSON_AddItemToObject(lists, attr, cJSON_Duplicate(had, true));
			if (clear)
				nested_remove(lists, item->string);
			else
				nested_put(t, lists, item->string, item);
		}
	}
	while (lists->child) {
		cJSON *list = cJSON_DetachItemViaPointer(lists, lists->child);
		cJSON *o = patch_op(operations, "replace", list->string);

		cJSON_AddItemToObject(o, "value", list);
	}
	cJSON_Delete(lists);
}

static bool by_whole_list(const struct target *t, const struct target_op *op, const char *path)
{
	return t->whole_lists && strchr(path, '[') && json_object(op->body, "account");
}

static void patch_set(const struct target *t, const struct target_op *op, cJSON *operations)
{
	const cJSON *item;
	cJSON *together = t->pathless ? cJSON_CreateObject() : NULL;

	cJSON_ArrayForEach (item, op->set) {
		if (by_whole_list(t, op, item->string))
			continue;
		if (marked_add(op, item->string)) {
			patch_add_element(t, operations, item->string, item);
		} else if (together && !strchr(item->string, '[')) {
			nested_put(t, together, item->string, item);
		} else {
			cJSON *o = patch_op(operations, "replace", item->string);

			cJSON_AddItemToObject(o, "value", scim_value(t, item->string, item));
		}
	}
	if (together && together->child)
		cJSON_AddItemToObject(patch_op(operations, "replace", NULL), "value", together);
	else
		cJSON_Delete(together);
}

static void patch_active(const struct target *t, const struct target_op *op, cJSON *operations)
{
	cJSON *value = boolean(t, op->enabled == TARGET_ENABLE), *object;
	cJSON *o = patch_op(operations, "replace", t->pathless ? NULL : "active");

	if (t->pathless) {
		object = cJSON_CreateObject();
		cJSON_AddItemToObject(object, "active", value);
		value = object;
	}
	cJSON_AddItemToObject(o, "value", value);
}

static void patch_clear(const struct target *t, const struct target_op *op, cJSON *operations)
{
	const cJSON *item;
	struct scim_select s;

	cJSON_ArrayForEach (item, op->clear) {
		CLEANUP(buf_cleanup) struct buf path = {0};

		if (by_whole_list(t, op, item->string))
			continue;
		bool element = scim_select(item->string, &s) && slice_is(s.rest, "value");

		buf_add(&path, item->string,
			element ? (size_t)(s.rest.p - 1 - item->string) : strlen(item->string));
		patch_op(operations, "remove", path.p);
	}
}

/* Enabling comes first and disabling last: some services change no inactive account. */
static cJSON *patch_body(const struct target *t, const struct target_op *op)
{
	cJSON *body = cJSON_CreateObject(), *schemas = cJSON_AddArrayToObject(body, "schemas");
	cJSON *operations = cJSON_AddArrayToObject(body, "Operations");

	cJSON_AddItemToArray(schemas, cJSON_CreateString(SCIM_MESSAGE "PatchOp"));
	if (op->enabled == TARGET_ENABLE)
		patch_active(t, op, operations);
	patch_set(t, op, operations);
	patch_clear(t, op, operations);
	if (t->whole_lists)
		patch_lists(t, op, operations);
	if (op->enabled == TARGET_DISABLE)
		patch_active(t, op, operations);
	return body;
}

/* ---- one operation ---- */

struct shape {
	enum http_method method;
	cJSON *body; /* owned; NULL: none */
};

static struct shape shape_of(const struct target *t, const struct target_op *op)
{
	switch (op->kind) {
	case TARGET_CREATE:
		return (struct shape){HTTP_POST, create_body(t, op)};
	case TARGET_UPDATE:
		if (t->patch.on)
			return (struct shape){HTTP_PATCH, patch_body(t, op)};
		return (struct shape){HTTP_PUT, put_body(t, op)};
	case TARGET_DELETE:
		return (struct shape){HTTP_DELETE, NULL};
	case TARGET_FIND:
	case TARGET_READ:
	case TARGET_STEP:
	case TARGET_KINDS:
		break;
	}
	return (struct shape){HTTP_GET, NULL};
}

/* PUT needs the account, and this plan was made without it: it is read, and the answer says STALE. */
static bool reads_first(const struct target *t, struct target_op *op)
{
	if (op->kind != TARGET_UPDATE || t->patch.on || json_object(op->body, "account"))
		return false;
	if (!op->body)
		op->body = cJSON_CreateObject();
	if (!json_true(op->body, "read_first", false))
		cJSON_AddTrueToObject(op->body, "read_first");
	return true;
}

static int request_one(struct target *t, struct target_op *op, struct target_request *ret)
{
	struct shape shape = {0};

	ret->accept = t->accept;
	if (op->kind == TARGET_FIND) {
		find_url(t, &op->key, &ret->url);
		return 0;
	}
	scim_url(t, op->kind == TARGET_CREATE ? NULL : op->rid, &ret->url);
	if (!reads_first(t, op))
		shape = shape_of(t, op);
	ret->method = shape.method;
	if (shape.body) {
		ret->content_type = t->media_type;
		json_print(shape.body, &ret->body);
		cJSON_Delete(shape.body);
	}
	/* a version that cannot stand in a header is no version */
	if (ret->method != HTTP_GET && ret->method != HTTP_POST && op->revision && t->etag.on &&
	    target_request_header(ret, "If-Match", slice_of(op->revision)) < 0)
		return 0;
	return 0;
}

/* ---- bulk ---- */

static void add_bulk(const struct target *t, const struct target_op *op, cJSON *operations)
{
	CLEANUP(buf_cleanup) struct buf path = {0};
	struct shape shape = shape_of(t, op);
	cJSON *o = cJSON_CreateObject();

	buf_addf(&path, "/%s", t->users);
	if (op->kind != TARGET_CREATE) {
		buf_addc(&path, '/');
		http_escape(&path, slice_of(op->rid));
	}
	cJSON_AddStringToObject(o, "method", http_method_name(shape.method));
	cJSON_AddStringToObject(o, "path", path.p);
	cJSON_AddStringToObject(o, "bulkId", op->user);
	if (op->kind != TARGET_CREATE && op->revision && t->etag.on)
		cJSON_AddStringToObject(o, "version", op->revision);
	if (shape.body)
		cJSON_AddItemToObject(o, "data", shape.body);
	cJSON_AddItemToArray(operations, o);
}

static int request_bulk(struct target *t, struct target_op *const *ops, size_t n,
			struct target_request *ret)
{
	cJSON *body = cJSON_CreateObject(), *schemas = cJSON_AddArrayToObject(body, "schemas");
	cJSON *operations = cJSON_AddArrayToObject(body, "Operations");

	cJSON_AddItemToArray(schemas, cJSON_CreateString(SCIM_MESSAGE "BulkRequest"));
	for (size_t i = 0; i < n; i++)
		add_bulk(t, ops[i], operations);
	ret->method = HTTP_POST;
	ret->accept = t->accept;
	ret->content_type = t->media_type;
	buf_addf(&ret->url, "%s/%s", t->base, t->lower ? "bulk" : "Bulk");
	json_print(body, &ret->body);
	cJSON_Delete(body);
	return t->bulk_bytes && ret->body.n > (size_t)t->bulk_bytes ? -E2BIG : 0;
}

int scim_request(struct target *t, struct target_op *const *ops, size_t n,
		 struct target_request *ret)
{
	if (ops[0]->kind == TARGET_STEP)
		return scim_group_request(t, ops, n, ret);
	if (n == 1)
		return request_one(t, ops[0], ret);
	return ops[0]->kind == TARGET_FIND ? request_find_many(t, ops, n, ret)
					   : request_bulk(t, ops, n, ret);
}
