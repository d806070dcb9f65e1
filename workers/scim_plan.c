#include "fold.h"
#include "scim_own.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* ---- paths that select an element (RFC 7644 3.5.2, figure 1: attrPath "[" valFilter "]") ---- */

static struct slice trimmed(struct slice s)
{
	while (s.n > 0 && s.p[0] == ' ') {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

bool scim_select(const char *path, struct scim_select *ret)
{
	const char *open = strchr(path, '['), *close = open ? strchr(open, ']') : NULL;
	const char *quote, *last, *eq;

	if (!close || open == path || strncasecmp(path, "urn:", 4) == 0)
		return false;
	quote = memchr(open, '"', (size_t)(close - open));
	last = quote ? memrchr(quote + 1, '"', (size_t)(close - quote - 1)) : NULL;
	eq = quote ? memmem(open, (size_t)(quote - open), " eq ", 4) : NULL;
	if (!last || !eq || last + 1 != close || (close[1] && close[1] != '.'))
		return false;
	ret->attr = (struct slice){path, (size_t)(open - path)};
	ret->sub = trimmed((struct slice){open + 1, (size_t)(eq - open - 1)});
	ret->value = (struct slice){quote + 1, (size_t)(last - quote - 1)};
	ret->rest = slice_of(close[1] ? close + 2 : close + 1);
	return ret->sub.n > 0 && !memchr(ret->value.p, '\\', ret->value.n);
}

static const cJSON *member(const cJSON *object, struct slice name)
{
	CLEANUP(free_cleanup) char *text = slice_dup(name);

	return cJSON_IsObject(object) ? cJSON_GetObjectItem(object, text) : NULL;
}

static bool text_equal_nocase(struct slice a, const char *b)
{
	return strlen(b) == a.n && strncasecmp(a.p, b, a.n) == 0;
}

const cJSON *scim_get(const cJSON *account, const char *path)
{
	struct scim_select s;
	const cJSON *item;

	if (!strchr(path, '['))
		return mapping_get(account, path);
	if (!scim_select(path, &s))
		return NULL;
	cJSON_ArrayForEach (item, member(account, s.attr)) {
		const cJSON *value = member(item, s.sub);

		if (cJSON_IsString(value) && text_equal_nocase(s.value, value->valuestring))
			return s.rest.n ? mapping_get(item, s.rest.p) : item;
	}
	return NULL;
}

/* Read-only by RFC 7643 3.1 and 4.1.2, or ours to decide. */
const char *scim_path_wrong(const char *path)
{
	static const char *const no[] = {"id", "meta", "groups", "schemas"};
	struct scim_select s;
	struct slice head, rest;

	mapping_split(path, &head, &rest);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		if (text_equal_nocase(head, no[i]))
			return "is read-only in SCIM";
	}
	if (strcasecmp(path, "active") == 0)
		return "follows the account's state by itself";
	if (strchr(path, '[') && !scim_select(path, &s))
		return "expected ATTRIBUTE[SUB eq \"TEXT\"].SUB";
	return NULL;
}

/* ---- equal to the service ---- */

static bool is_plural(const char *path)
{
	static const char *const plural[] = {"emails",		"phoneNumbers", "ims",
					     "photos",		"entitlements", "roles",
					     "x509Certificates"};

	for (size_t i = 0; i < sizeof(plural) / sizeof(plural[0]); i++) {
		if (strcasecmp(path, plural[i]) == 0)
			return true;
	}
	return false;
}

static void booleans_to_text(cJSON *value)
{
	cJSON *item;

	cJSON_ArrayForEach (item, value) {
		if (cJSON_IsBool(item)) {
			cJSON *text = cJSON_CreateString(cJSON_IsTrue(item) ? "true" : "false");

			text->string = item->string ? mem_dup(item->string) : NULL;
			cJSON_ReplaceItemViaPointer(value, item, text);
			item = text;
		} else {
			booleans_to_text(item);
		}
	}
}

static void add_plural(cJSON *list, const cJSON *value)
{
	cJSON *object;

	if (mapping_empty(value))
		return;
	if (cJSON_IsObject(value)) {
		cJSON_AddItemToArray(list, cJSON_Duplicate(value, true));
		return;
	}
	object = cJSON_CreateObject();
	cJSON_AddItemToObject(object, "value", cJSON_Duplicate(value, true));
	cJSON_AddItemToArray(list, object);
}

cJSON *scim_value(const struct target *t, const char *path, const cJSON *value)
{
	cJSON *out, *wrap = cJSON_CreateArray();
	const cJSON *item;

	if (!is_plural(path)) {
		cJSON_AddItemToArray(wrap, cJSON_Duplicate(value, true));
	} else {
		cJSON *list = cJSON_CreateArray();

		if (cJSON_IsArray(value)) {
			cJSON_ArrayForEach (item, value)
				add_plural(list, item);
		} else {
			add_plural(list, value);
		}
		cJSON_AddItemToArray(wrap, list);
	}
	if (t->string_booleans)
		booleans_to_text(wrap);
	out = cJSON_DetachItemFromArray(wrap, 0);
	cJSON_Delete(wrap);
	return out;
}

/* Fields whose case says nothing: RFC 7643 4.1.1 and 7 (caseExact false, compared for uniqueness or by convention). */
static bool caseless(const char *path)
{
	static const char *const names[] = {"userName", "emails", "preferredLanguage", "locale",
					    "timezone"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (strncasecmp(path, names[i], n) == 0 && (path[n] == '\0' || path[n] == '['))
			return true;
	}
	return false;
}

/* Digits and a leading plus: services print numbers as "tel:+1-201-555-0123" (RFC 7643 4.1.2). */
static bool phone_equal(const char *a, const char *b)
{
	for (;; a++, b++) {
		while (*a && *a != '+' && !isdigit((unsigned char)*a))
			a++;
		while (*b && *b != '+' && !isdigit((unsigned char)*b))
			b++;
		if (*a != *b)
			return false;
		if (!*a)
			return true;
	}
}

static bool text_same(const char *path, const char *a, const char *b)
{
	if (strncasecmp(path, "phoneNumbers", 12) == 0 &&
	    isdigit((unsigned char)a[strcspn(a, "0123456789")]))
		return phone_equal(a, b);
	return caseless(path) ? strcasecmp(a, b) == 0 : strcmp(a, b) == 0;
}

bool scim_true(const cJSON *value, bool otherwise)
{
	if (cJSON_IsString(value))
		return strcasecmp(value->valuestring, "true") == 0 ||
		       (otherwise && strcasecmp(value->valuestring, "false") != 0);
	return cJSON_IsBool(value) ? cJSON_IsTrue(value) : otherwise;
}

static bool scim_same(const char *path, const cJSON *desired, const cJSON *remote);

static bool same_object(const char *path, const cJSON *desired, const cJSON *remote)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, desired) {
		const cJSON *other = cJSON_GetObjectItem(remote, item->string);

		if (mapping_empty(item) ? !mapping_empty(other)
					: !other || !scim_same(path, item, other))
			return false;
	}
	return true;
}

/* The same members whatever their order; what the service added to one (primary, display, type) does not count. */
static bool same_list(const char *path, const cJSON *desired, const cJSON *remote)
{
	int n = cJSON_GetArraySize(remote);
	CLEANUP(buf_cleanup) struct buf taken = {0};
	const cJSON *item, *other;

	if (!cJSON_IsArray(remote) || cJSON_GetArraySize(desired) != n)
		return false;
	memset(buf_grow(&taken, (size_t)n + 1), 0, (size_t)n + 1);
	cJSON_ArrayForEach (item, desired) {
		int i = 0;

		cJSON_ArrayForEach (other, remote) {
			if (!taken.p[i] && scim_same(path, item, other))
				break;
			i++;
		}
		if (!other)
			return false;
		taken.p[i] = 1;
	}
	return true;
}

static bool scim_same(const char *path, const cJSON *desired, const cJSON *remote)
{
	if (cJSON_IsObject(desired))
		return cJSON_IsObject(remote) && same_object(path, desired, remote);
	if (cJSON_IsArray(desired))
		return same_list(path, desired, remote);
	if (cJSON_IsBool(desired))
		return (cJSON_IsBool(remote) || cJSON_IsString(remote)) &&
		       scim_true(remote, !cJSON_IsTrue(desired)) == cJSON_IsTrue(desired);
	if (cJSON_IsString(desired) && cJSON_IsString(remote))
		return text_same(path, desired->valuestring, remote->valuestring);
	if (cJSON_IsString(desired) && cJSON_IsBool(remote))
		return strcasecmp(desired->valuestring, cJSON_IsTrue(remote) ? "true" : "false") ==
		       0;
	return cJSON_Compare(desired, remote, true);
}

/* A value at the path equals the key; of a plural attribute any element's. */
static bool any_equal(const cJSON *value, const struct target_key *key)
{
	const cJSON *item;
	bool exact = strcasecmp(key->field, "externalId") == 0 || strcasecmp(key->field, "id") == 0;

	if (cJSON_IsString(value))
		return exact ? strcmp(value->valuestring, key->value) == 0
			     : fold_same(value->valuestring, key->value);
	if (cJSON_IsObject(value))
		return any_equal(cJSON_GetObjectItem(value, "value"), key);
	cJSON_ArrayForEach (item, value) {
		if (any_equal(item, key))
			return true;
	}
	return false;
}

bool scim_matches(const struct target *t, const cJSON *account, const struct target_key *key)
{
	struct slice head, rest;
	const cJSON *item, *list;

	(void)t;
	mapping_split(key->field, &head, &rest);
	list = member(account, head);
	if (!cJSON_IsArray(list) || rest.n == 0 || strchr(key->field, '['))
		return any_equal(scim_get(account, key->field), key);
	cJSON_ArrayForEach (item, list) {
		if (any_equal(mapping_get(item, rest.p), key))
			return true;
	}
	return false;
}

/* ---- the plan ---- */

static void put(cJSON **object, const char *path, cJSON *value)
{
	if (!*object)
		*object = cJSON_CreateObject();
	cJSON_AddItemToObject(*object, path, value);
}

/* The element that the path selects is not there: it must be added, not replaced (noTarget, RFC 7644 3.5.2.3). */
static bool needs_add(const cJSON *account, const char *path)
{
	struct scim_select s;
	CLEANUP(buf_cleanup) struct buf element = {0};

	if (!account || !scim_select(path, &s))
		return false;
	buf_add(&element, path, (size_t)(strchr(path, ']') + 1 - path));
	return scim_get(account, element.p) == NULL;
}

static void mark_add(struct target_op *op, const char *path)
{
	if (!op->body)
		op->body = cJSON_CreateObject();
	if (!json_array(op->body, "add"))
		cJSON_AddArrayToObject(op->body, "add");
	cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(op->body, "add"),
			     cJSON_CreateString(path));
}

/* Passwords are never returned: only a creation sets them. */
static bool never_returned(const char *path)
{
	return strcasecmp(path, "password") == 0;
}

static bool listed(const cJSON *paths, const char *path)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, paths) {
		if (strcmp(item->valuestring, path) == 0)
			return true;
	}
	return false;
}

/* By the service's own schema. */
static bool never_changed(const struct target *t, const char *path)
{
	return t->schemas && (listed(t->read_only, path) || listed(t->immutable, path));
}

static void diff(const struct target *t, const cJSON *document, const cJSON *account,
		 struct target_op *op)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, document) {
		const cJSON *remote = account ? scim_get(account, item->string) : NULL;
		cJSON *desired;

		if (never_returned(item->string) || never_changed(t, item->string))
			continue;
		desired = scim_value(t, item->string, item);
		if (account &&
		    (mapping_empty(desired) ? mapping_empty(remote)
					    : remote && scim_same(item->string, desired, remote))) {
			cJSON_Delete(desired);
			continue;
		}
		if (mapping_empty(desired))
			put(&op->clear, item->string, cJSON_CreateNull());
		else
			put(&op->set, item->string, cJSON_Duplicate(item, true));
		if (!mapping_empty(desired) && needs_add(account, item->string))
			mark_add(op, item->string);
		cJSON_Delete(desired);
	}
}

static const struct target_ref *manager_of(const struct target_want *want)
{
	for (size_t i = 0; i < want->refs_n; i++) {
		if (strcmp(want->refs[i].name, "manager") == 0)
			return &want->refs[i];
	}
	return NULL;
}

static bool document_has_manager(const cJSON *document)
{
	const cJSON *item;
	size_t n = strlen(SCIM_ENTERPRISE);

	cJSON_ArrayForEach (item, document) {
		if (strncasecmp(item->string, SCIM_ENTERPRISE, n) == 0 &&
		    strncasecmp(item->string + n + 1, "manager", 7) == 0)
			return true;
	}
	return false;
}

static void remember_manager(struct target_op *op, cJSON *value)
{
	op->remember = cJSON_CreateObject();
	cJSON_AddItemToObject(op->remember, "manager", value);
}

/* Sets the manager with the other fields. What was set is remembered, because an account that was not read does not tell. */
static void set_manager(const struct target *t, const struct target_want *want,
			struct target_op *op)
{
	const struct target_ref *ref = manager_of(want);
	const char *was = json_text(want->link->memory, "manager");
	const cJSON *remote;
	cJSON *value;

	if (!t->manager.on || !ref || !*ref->rid || document_has_manager(want->document))
		return;
	remote = want->account ? mapping_get(want->account->json, SCIM_MANAGER ".value") : NULL;
	if (!want->create && was && strcmp(was, ref->rid) == 0 &&
	    (!want->account ||
	     (cJSON_IsString(remote) && strcmp(remote->valuestring, ref->rid) == 0)))
		return;
	value = cJSON_CreateObject();
	cJSON_AddStringToObject(value, "value", ref->rid);
	put(&op->set, SCIM_MANAGER, value);
	remember_manager(op, cJSON_CreateString(ref->rid));
}

static bool drops_manager(const struct target *t, const struct target_want *want)
{
	return t->manager.on && !want->left && !manager_of(want) &&
	       json_text(want->link->memory, "manager") && !document_has_manager(want->document);
}

static enum target_switch switch_of(const struct target_want *want)
{
	bool now = want->account ? want->account->enabled : want->link->state == LINK_ACTIVE;

	if (now == want->enabled)
		return TARGET_KEEP;
	return want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
}

static bool selects(const cJSON *paths)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, paths) {
		if (strchr(item->string, '['))
			return true;
	}
	return false;
}

/* PUT needs it, and so does an element that is written by its whole attribute. */
static void keep_account(const struct target *t, const struct target_want *want,
			 struct target_op *op)
{
	bool whole = t->whole_lists && (selects(op->set) || selects(op->clear));

	if ((t->patch.on && !whole) || !want->account)
		return;
	if (!op->body)
		op->body = cJSON_CreateObject();
	cJSON_AddItemToObject(op->body, "account", cJSON_Duplicate(want->account->json, true));
}

/* Without the account: an element cannot be put into its whole attribute, and nobody knows which fields a frozen account
 * missed. */
static bool sees_first(const struct target *t, const struct target_want *want,
		       const struct target_op *found)
{
	if (want->account)
		return false;
	return (t->whole_lists && (selects(found->set) || selects(found->clear))) ||
	       (t->frozen && found->enabled == TARGET_ENABLE);
}

static void forget_fields(struct target_op *op)
{
	cJSON_Delete(op->set);
	cJSON_Delete(op->clear);
	cJSON_Delete(op->body);
	cJSON_Delete(op->remember);
	op->set = op->clear = op->body = op->remember = NULL;
}

static void plan_update(const struct target *t, const struct target_want *want,
			struct target_plan *ret)
{
	struct target_op found = {0}, *op;
	bool drop = drops_manager(t, want);

	if (!want->document_applied)
		diff(t, want->document, want->account ? want->account->json : NULL, &found);
	cJSON_DeleteItemFromObject(found.clear, "userName"); /* see mandatory() */
	set_manager(t, want, &found);
	found.enabled = switch_of(want);
	if (sees_first(t, want, &found)) {
		ret->read = true;
		forget_fields(&found);
		return;
	}
	if (t->frozen && !want->enabled && found.enabled == TARGET_KEEP)
		forget_fields(&found);
	if (drop && !t->patch.on) { /* PUT writes all at once */
		put(&found.clear, SCIM_MANAGER, cJSON_CreateNull());
		remember_manager(&found, cJSON_CreateNull());
		drop = false;
	}
	if (found.clear && !found.clear->child) {
		cJSON_Delete(found.clear);
		found.clear = NULL;
	}
	if (found.set || found.clear || found.enabled != TARGET_KEEP) {
		op = target_plan_add(ret, TARGET_UPDATE, "update");
		op->set = found.set;
		op->clear = found.clear;
		op->body = found.body;
		op->remember = found.remember;
		op->enabled = found.enabled;
		keep_account(t, want, op);
	}
	if (drop) { /* alone, so that a held mass clearing does not forget it */
		op = target_plan_add(ret, TARGET_UPDATE, "manager");
		put(&op->clear, SCIM_MANAGER, cJSON_CreateNull());
		remember_manager(op, cJSON_CreateNull());
	}
}

static void plan_create(const struct target *t, const struct target_want *want,
			struct target_plan *ret)
{
	struct target_op *op = target_plan_add(ret, TARGET_CREATE, "create");
	const cJSON *no = t->schemas ? t->read_only : NULL, *path;

	target_fill(want->document, op);
	cJSON_ArrayForEach (path, no)
		cJSON_DeleteItemFromObjectCaseSensitive(op->set, path->valuestring);
	op->enabled = want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
	set_manager(t, want, op);
}

/* userName is required (RFC 7643 4.1.1). Who is to be disabled is disabled all the same, with the name that is there. */
static bool mandatory(const struct target_want *want, struct target_plan *ret)
{
	if (want->left || !mapping_empty(mapping_get(want->document, "userName")))
		return true;
	if (!want->enabled && !want->create)
		return true;
	ret->parked = "mandatory_missing";
	buf_adds(&ret->parked_detail, "userName");
	return false;
}

int scim_plan(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	struct target_op *op;

	if (want->leave_delete) {
		op = target_plan_add(ret, TARGET_DELETE, "delete");
		op->permit = "delete";
		return 0;
	}
	if (!mandatory(want, ret))
		return 0;
	if (want->create)
		plan_create(t, want, ret);
	else
		plan_update(t, want, ret);
	if (!ret->read)
		scim_plan_groups(t, want, ret);
	return 0;
}
