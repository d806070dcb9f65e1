#include "iiq_own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOCATIONS_AGAIN_MS = 60000, LOOK_AGAIN_MS = 300000 };

/* ---- fields (Users controller: definitions User and UpdateUserRequest) ---- */

static const struct {
	const char *name;
	enum iiq_trait trait;
} traits[] = {
	{"FirstName", IIQ_NEEDED},
	{"LastName", IIQ_NEEDED},
	{"RoleId", IIQ_NAMED},
	{"LocationId", IIQ_NAMED},
	{"Email", IIQ_PLAIN},
	{"Username", IIQ_PLAIN},
	{"Phone", IIQ_PLAIN},
	{"SchoolIdNumber", IIQ_PLAIN},
	{"ExternalId", IIQ_PLAIN},
	{"Grade", IIQ_PLAIN},
	{"Homeroom", IIQ_PLAIN},
	{"InternalComments", IIQ_PLAIN},
	{"AuthenticatedBy", IIQ_PLAIN},
	{"IsActive", IIQ_READ_ONLY},
	{"UserId", IIQ_READ_ONLY},
	{"SiteId", IIQ_READ_ONLY},
	{"ProductId", IIQ_READ_ONLY},
	{"IsDeleted", IIQ_READ_ONLY},
	{"Name", IIQ_READ_ONLY},
	{"LocationName", IIQ_READ_ONLY},
	{"RoleName", IIQ_READ_ONLY},
	{"Portal", IIQ_READ_ONLY},
	{"Password", IIQ_READ_ONLY},
	{"PasswordExpirationDate", IIQ_READ_ONLY},
	{"CreatedDate", IIQ_READ_ONLY},
	{"ModifiedDate", IIQ_READ_ONLY},
	{"PreventProviderUpdates", IIQ_READ_ONLY},
};

enum iiq_trait iiq_trait(const char *field)
{
	for (size_t i = 0; i < sizeof(traits) / sizeof(traits[0]); i++) {
		if (strcmp(traits[i].name, field) == 0)
			return traits[i].trait;
	}
	return IIQ_UNKNOWN;
}

static bool is_guid(const char *text)
{
	size_t n = strlen(text);

	if (n != 36)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	}
	return true;
}

static const struct iiq_location *location_named(const struct target *t, const char *name)
{
	for (size_t i = 0; i < t->locations_n; i++) {
		if (strcasecmp(t->locations[i].name, name) == 0)
			return &t->locations[i];
	}
	return NULL;
}

const char *iiq_id_of(const struct target *t, const char *field, const char *value)
{
	const struct iiq_location *l;
	const cJSON *role;

	if (is_guid(value))
		return value;
	if (strcmp(field, "RoleId") == 0) {
		cJSON_ArrayForEach (role, json_object(t->options, "roles")) {
			if (strcasecmp(role->string, value) == 0)
				return role->valuestring;
		}
		return NULL;
	}
	l = location_named(t, value);
	return l && !l->ambiguous ? l->id : NULL;
}

/* ---- equal to the site ---- */

static bool same_text(const struct target *t, const char *field, const char *a, const char *b)
{
	static const char *const caseless[] = {"Email", "Username", "RoleId", "LocationId"};
	const char *id = iiq_trait(field) == IIQ_NAMED ? iiq_id_of(t, field, a) : NULL;

	for (size_t i = 0; i < sizeof(caseless) / sizeof(caseless[0]); i++) {
		if (strcmp(field, caseless[i]) == 0)
			return strcasecmp(id ? id : a, b) == 0;
	}
	return strcmp(a, b) == 0;
}

static bool same(const struct target *t, const cJSON *desired, const cJSON *account)
{
	const cJSON *remote = json_get(account, desired->string);

	if (mapping_empty(desired) || mapping_empty(remote))
		return mapping_empty(desired) && mapping_empty(remote);
	if (cJSON_IsString(desired) && cJSON_IsString(remote))
		return same_text(t, desired->string, desired->valuestring, remote->valuestring);
	return cJSON_Compare(desired, remote, true);
}

/* Any case, because that is how the site looks for it. */
bool iiq_matches(const struct target *t, const cJSON *account, const struct target_key *key)
{
	const char *value = json_text(account, key->field);

	(void)t;
	return value && strcasecmp(value, key->value) == 0;
}

/* ---- the plan ---- */

static void put(cJSON **object, const char *field, cJSON *value)
{
	if (!*object)
		*object = cJSON_CreateObject();
	cJSON_AddItemToObject(*object, field, value);
}

static void diff(const struct target *t, const struct target_want *want, struct target_op *op)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, want->document) {
		if (want->account && same(t, item, want->account->json))
			continue;
		if (!mapping_empty(item))
			put(&op->set, item->string, cJSON_Duplicate(item, true));
		else if (iiq_trait(item->string) == IIQ_PLAIN)
			put(&op->clear, item->string, cJSON_CreateNull());
	}
}

static bool mandatory(const struct target_want *want, struct target_plan *ret)
{
	const cJSON *item;

	if (want->left || (!want->enabled && !want->create))
		return true; /* who is to be disabled is disabled with the values that are there */
	cJSON_ArrayForEach (item, want->document) {
		enum iiq_trait trait = iiq_trait(item->string);

		if (!mapping_empty(item) || (trait != IIQ_NEEDED && trait != IIQ_NAMED))
			continue;
		ret->parked = "mandatory_missing";
		buf_addf(&ret->parked_detail, "%s%s", ret->parked_detail.n ? " " : "",
			 item->string);
	}
	return ret->parked == NULL;
}

/* A role, or a location, that nobody knows. A location may have been made meanwhile: the site is asked again now and then. */
static bool named(const struct target *t, const struct target_want *want, const cJSON *set,
		  struct target_plan *ret)
{
	const char *role = json_text(set, "RoleId"), *location = json_text(set, "LocationId");
	struct target_op *op;

	if (role && !iiq_id_of(t, "RoleId", role)) {
		ret->parked = "role_unknown";
		buf_adds(&ret->parked_detail, "RoleId");
		return false;
	}
	if (!location || iiq_id_of(t, "LocationId", location))
		return true;
	ret->look_again_unix_ms = want->now_unix_ms + LOOK_AGAIN_MS;
	if (want->now_unix_ms - t->asked_unix_ms < LOCATIONS_AGAIN_MS) {
		ret->parked =
			location_named(t, location) ? "location_ambiguous" : "location_unknown";
		buf_adds(&ret->parked_detail, "LocationId");
		return false;
	}
	op = target_plan_add(ret, TARGET_STEP, "locations");
	op->what = mem_dup("");
	op->body = cJSON_CreateObject();
	cJSON_AddStringToObject(op->body, "name", location);
	cJSON_AddNumberToObject(op->body, "now", (double)want->now_unix_ms);
	return true;
}

static enum target_switch switch_of(const struct target_want *want)
{
	bool now = want->account ? want->account->enabled : want->link->state == LINK_ACTIVE;

	if (now == want->enabled)
		return TARGET_KEEP;
	return want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
}

static void op_free_parts(struct target_op *op)
{
	cJSON_Delete(op->set);
	cJSON_Delete(op->clear);
}

static void plan_update(const struct target *t, const struct target_want *want,
			struct target_plan *ret)
{
	struct target_op found = {0}, *op;

	if (!want->document_applied)
		diff(t, want, &found);
	found.enabled = switch_of(want);
	if (!found.set && !found.clear && found.enabled == TARGET_KEEP)
		return;
	if (t->whole_updates && !want->account)
		ret->read = true;
	if (ret->read || !named(t, want, found.set, ret)) {
		op_free_parts(&found);
		return;
	}
	op = target_plan_add(ret, TARGET_UPDATE, "update");
	op->set = found.set;
	op->clear = found.clear;
	op->enabled = found.enabled;
	if (!t->whole_updates)
		return;
	op->body = cJSON_CreateObject();
	cJSON_AddItemToObject(op->body, "account", cJSON_Duplicate(want->account->json, true));
}

static void plan_create(const struct target *t, const struct target_want *want,
			struct target_plan *ret)
{
	struct target_op *op;

	if (!named(t, want, want->document, ret))
		return;
	op = target_plan_add(ret, TARGET_CREATE, "create");
	target_fill(want->document, op);
	op->enabled = want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
}

static bool in_list(const cJSON *list, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (strcasecmp(item->valuestring, text) == 0)
			return true;
	}
	return false;
}

/* Accounts that another log-in provider keeps, or that a person took out of the providers' hands: why they are left alone; NULL. */
static const char *left_alone(const struct target *t, const struct target_account *a)
{
	const cJSON *providers = json_array(t->options, "providers");
	const char *by = a ? json_text(a->json, "AuthenticatedBy") : NULL;

	if (by && *by && providers && !in_list(providers, by))
		return "other_provider";
	if (a && t->honours_prevention && json_true(a->json, "PreventProviderUpdates", false))
		return "provider_updates_prevented";
	return NULL;
}

int iiq_plan(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	const char *alone = left_alone(t, want->account);

	if (alone && !want->left) {
		ret->parked = alone;
		return 0;
	}
	if (want->leave_delete) {
		target_plan_add(ret, TARGET_DELETE, "delete")->permit = "delete";
		return 0;
	}
	if (!mandatory(want, ret))
		return 0;
	if (want->create)
		plan_create(t, want, ret);
	else
		plan_update(t, want, ret);
	return 0;
}
