#include "fold.h"
#include "graph_own.h"

#include <errno.h>
#include <string.h>

#define ORG_DATA "employeeOrgData."

/* ---- properties (user resource type, Update user; fact sheet 3.2) ---- */

static const struct {
	const char *name;
	enum graph_trait trait;
} traits[] = {
	{"userPrincipalName", GRAPH_MANDATORY},
	{"displayName", GRAPH_MANDATORY},
	{"mailNickname", GRAPH_MANDATORY},
	{"usageLocation", GRAPH_KEPT},
	{"mail", GRAPH_KEPT},
	{"onPremisesImmutableId", GRAPH_KEPT},
	{"businessPhones", GRAPH_LIST},
	{"otherMails", GRAPH_LIST},
	{"accountEnabled", GRAPH_OURS},
	{"passwordProfile", GRAPH_OURS},
	{"manager", GRAPH_OURS},
	{"id", GRAPH_READ_ONLY},
	{"assignedLicenses", GRAPH_READ_ONLY},
	{"createdDateTime", GRAPH_READ_ONLY},
	{"deletedDateTime", GRAPH_READ_ONLY},
	{"imAddresses", GRAPH_READ_ONLY},
	{"proxyAddresses", GRAPH_READ_ONLY},
	{"onPremisesDistinguishedName", GRAPH_READ_ONLY},
	{"onPremisesDomainName", GRAPH_READ_ONLY},
	{"onPremisesLastSyncDateTime", GRAPH_READ_ONLY},
	{"onPremisesSamAccountName", GRAPH_READ_ONLY},
	{"onPremisesSecurityIdentifier", GRAPH_READ_ONLY},
	{"onPremisesSyncEnabled", GRAPH_READ_ONLY},
	{"onPremisesUserPrincipalName", GRAPH_READ_ONLY},
	/* not for applications, and each only in a PATCH of its own */
	{"aboutMe", GRAPH_READ_ONLY},
	{"birthday", GRAPH_READ_ONLY},
	{"interests", GRAPH_READ_ONLY},
	{"mySite", GRAPH_READ_ONLY},
	{"pastProjects", GRAPH_READ_ONLY},
	{"responsibilities", GRAPH_READ_ONLY},
	{"schools", GRAPH_READ_ONLY},
	{"skills", GRAPH_READ_ONLY},
};

enum graph_trait graph_trait(const char *path)
{
	size_t n = strcspn(path, ".");

	for (size_t i = 0; i < sizeof(traits) / sizeof(traits[0]); i++) {
		if (strlen(traits[i].name) == n && strncasecmp(path, traits[i].name, n) == 0)
			return traits[i].trait;
	}
	return GRAPH_PLAIN;
}

cJSON *graph_value(const char *path, const cJSON *value)
{
	cJSON *list;

	if (graph_trait(path) != GRAPH_LIST)
		return cJSON_Duplicate(value, true);
	if (cJSON_IsArray(value)) {
		list = cJSON_Duplicate(value, true);
	} else {
		list = cJSON_CreateArray();
		if (!mapping_empty(value))
			cJSON_AddItemToArray(list, cJSON_Duplicate(value, true));
	}
	while (strcasecmp(path, "businessPhones") == 0 && cJSON_GetArraySize(list) > 1)
		cJSON_DeleteItemFromArray(list, 1); /* Graph holds one */
	return list;
}

/* ---- equal to the service ---- */

/* Unique or looked up without regard to case. */
static bool caseless(const char *path)
{
	static const char *const names[] = {"userPrincipalName", "mail", "usageLocation",
					    "otherMails", "preferredLanguage"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcasecmp(path, names[i]) == 0)
			return true;
	}
	return false;
}

static bool same_scalar(const char *path, const cJSON *a, const cJSON *b)
{
	if (cJSON_IsString(a) && cJSON_IsString(b) && caseless(path))
		return strcasecmp(a->valuestring, b->valuestring) == 0;
	return cJSON_Compare(a, b, true);
}

static bool holds(const char *path, const cJSON *list, const cJSON *value)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (same_scalar(path, value, item))
			return true;
	}
	return false;
}

/* Lists have no order. */
static bool graph_same(const char *path, const cJSON *desired, const cJSON *remote)
{
	const cJSON *item;

	if (!cJSON_IsArray(desired) || !cJSON_IsArray(remote))
		return same_scalar(path, desired, remote);
	cJSON_ArrayForEach (item, desired) {
		if (!holds(path, remote, item))
			return false;
	}
	cJSON_ArrayForEach (item, remote) {
		if (!holds(path, desired, item))
			return false;
	}
	return true;
}

bool graph_matches(const struct target *t, const cJSON *account, const struct target_key *key)
{
	const cJSON *value = mapping_get(account, key->field), *item;
	bool exact = strcasecmp(key->field, "onPremisesImmutableId") == 0;

	(void)t;
	if (cJSON_IsString(value))
		return exact ? strcmp(value->valuestring, key->value) == 0
			     : fold_same(value->valuestring, key->value);
	cJSON_ArrayForEach (item, value) {
		if (cJSON_IsString(item) && fold_same(item->valuestring, key->value))
			return true;
	}
	return false;
}

/* ---- the plan ---- */

/* Values in the shape that Graph has; -EINVAL with the field in why: several values for one. */
static int canonical(const cJSON *document, cJSON **ret, struct buf *why)
{
	cJSON *all = cJSON_CreateObject();
	const cJSON *item;

	cJSON_ArrayForEach (item, document) {
		cJSON *value = graph_value(item->string, item);

		if (graph_trait(item->string) == GRAPH_LIST
			    ? false
			    : cJSON_IsArray(value) && value->child) {
			buf_addf(why, "%s: expected one value", item->string);
			cJSON_Delete(value);
			cJSON_Delete(all);
			return -EINVAL;
		}
		cJSON_AddItemToObject(all, item->string, value);
	}
	*ret = all;
	return 0;
}

static bool mandatory(const struct target_want *want, const cJSON *document,
		      struct target_plan *ret)
{
	const cJSON *item;

	if (want->left || (!want->enabled && !want->create))
		return true; /* who is to be disabled is disabled with the values that are there */
	cJSON_ArrayForEach (item, document) {
		if (!mapping_empty(item) || graph_trait(item->string) != GRAPH_MANDATORY)
			continue;
		ret->parked = "mandatory_missing";
		buf_addf(&ret->parked_detail, "%s%s", ret->parked_detail.n ? " " : "",
			 item->string);
	}
	return ret->parked == NULL;
}

/* What cannot be cleared keeps its value (usageLocation, mail: Update user). */
static void drop_kept(struct target_op *op)
{
	cJSON *item = op->clear ? op->clear->child : NULL;

	while (item) {
		cJSON *next = item->next;
		enum graph_trait trait = graph_trait(item->string);

		if (trait == GRAPH_KEPT || trait == GRAPH_MANDATORY)
			cJSON_Delete(cJSON_DetachItemViaPointer(op->clear, item));
		item = next;
	}
	if (op->clear && !op->clear->child) {
		cJSON_Delete(op->clear);
		op->clear = NULL;
	}
}

static bool is_org_data(const char *path)
{
	return strncasecmp(path, ORG_DATA, strlen(ORG_DATA)) == 0;
}

static bool has_org_data(const cJSON *object)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, object) {
		if (is_org_data(item->string))
			return true;
	}
	return false;
}

/* Of employeeOrgData the half that is not sent becomes null: both are sent. */
static void complete_org_data(const struct target_want *want, const cJSON *document,
			      struct target_op *op)
{
	static const char *const halves[] = {ORG_DATA "division", ORG_DATA "costCenter"};

	if (!has_org_data(op->set) && !has_org_data(op->clear))
		return;
	for (size_t i = 0; i < 2; i++) {
		const cJSON *value = cJSON_GetObjectItem(document, halves[i]);

		if (!value && want->account)
			value = mapping_get(want->account->json, halves[i]);
		if (mapping_empty(value) || cJSON_GetObjectItem(op->set, halves[i]) ||
		    cJSON_GetObjectItem(op->clear, halves[i]))
			continue;
		if (!op->set)
			op->set = cJSON_CreateObject();
		cJSON_AddItemToObject(op->set, halves[i], cJSON_Duplicate(value, true));
	}
}

static enum target_switch switch_of(const struct target_want *want)
{
	bool now = want->account ? want->account->enabled : want->link->state == LINK_ACTIVE;

	if (now == want->enabled)
		return TARGET_KEEP;
	return want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
}

static void plan_update(const struct target_want *want, const cJSON *document,
			struct target_plan *ret)
{
	struct target_op found = {0}, *op;

	if (!want->document_applied)
		target_diff(document, want->account ? want->account->json : NULL, graph_same,
			    &found);
	drop_kept(&found);
	complete_org_data(want, document, &found);
	found.enabled = switch_of(want);
	if (!found.set && !found.clear && found.enabled == TARGET_KEEP)
		return;
	op = target_plan_add(ret, TARGET_UPDATE, "update");
	op->set = found.set;
	op->clear = found.clear;
	op->enabled = found.enabled;
}

static const struct target_ref *manager_of(const struct target_want *want)
{
	for (size_t i = 0; i < want->refs_n; i++) {
		if (strcmp(want->refs[i].name, "manager") == 0)
			return &want->refs[i];
	}
	return NULL;
}

/* The manager is no property: it has a request of its own, and reads do not show it. So what was set is remembered. */
static void plan_manager(const struct target_want *want, struct target_plan *ret)
{
	const struct target_ref *ref = manager_of(want);
	const char *was = want->create ? NULL : json_text(want->link->memory, "manager");
	struct target_op *op;

	if (ref && !*ref->rid)
		return; /* owed */
	if (ref ? was && strcmp(was, ref->rid) == 0 : !was)
		return;
	op = target_plan_add(ret, TARGET_STEP, "manager");
	op->what = mem_dup("");
	op->body = ref ? cJSON_CreateString(ref->rid) : NULL;
	op->remember = cJSON_CreateObject();
	if (ref)
		cJSON_AddStringToObject(op->remember, "manager", ref->rid);
	else
		cJSON_AddNullToObject(op->remember, "manager");
}

static void plan_create(const struct target *t, const struct target_want *want,
			const cJSON *document, struct target_plan *ret)
{
	struct target_op *op = target_plan_add(ret, TARGET_CREATE, "create");

	target_fill(document, op);
	op->enabled = want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
	plan_manager(want, ret);
	graph_plan_groups(t, want, ret);
	graph_plan_licences(t, want, ret);
}

static bool mastered_elsewhere(const struct target_account *a)
{
	return a && cJSON_IsTrue(cJSON_GetObjectItem(a->json, "onPremisesSyncEnabled"));
}

/* Properties, switch and manager of an object that a directory on premises masters are that directory's; licences and cloud groups
 * are ours all the same. */
static void plan_account(const struct target *t, const struct target_want *want,
			 const cJSON *document, struct target_plan *ret)
{
	const struct target_account *a = want->account;
	bool over = want->left && a && !a->enabled, mastered = mastered_elsewhere(a);

	if (want->left && a && a->deleted)
		return;
	if (a && a->deleted)
		target_plan_add(ret, TARGET_STEP, "restore");
	if (!over && !mastered)
		plan_update(want, document, ret);
	graph_plan_sessions(t, want, ret);
	if (!want->left && !mastered)
		plan_manager(want, ret);
	graph_plan_groups(t, want, ret);
	graph_plan_licences(t, want, ret);
	if (!mastered || over || ret->read || ret->parked)
		return;
	ret->parked = "mastered_on_premises";
	ret->parked_last = true;
	buf_adds(&ret->parked_detail, "onPremisesSyncEnabled");
}

int graph_plan(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	cJSON *document;

	if (want->leave_delete) {
		if (!want->account || !want->account->deleted)
			target_plan_add(ret, TARGET_DELETE, "delete")->permit = "delete";
		return 0;
	}
	if (canonical(want->document, &document, &ret->parked_detail) < 0)
		return -EINVAL;
	if (mandatory(want, document, ret)) {
		if (want->create)
			plan_create(t, want, document, ret);
		else
			plan_account(t, want, document, ret);
	}
	cJSON_Delete(document);
	return 0;
}
