#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

struct snapshot {
	cJSON *json;
	const cJSON *account, *attrs, *groups;
	const char *dn, *id, *immutable_id;
};

static bool all_texts(const cJSON *array)
{
	const cJSON *item;

	if (!cJSON_IsArray(array))
		return false;
	cJSON_ArrayForEach (item, array)
		if (!cJSON_IsString(item))
			return false;
	return true;
}

static const char *account_problem(const cJSON *account)
{
	const cJSON *item;

	if (account == NULL)
		return "account is not an object";
	if (!cJSON_IsBool(json_get(account, "enabled")))
		return "account.enabled is not a boolean";
	cJSON_ArrayForEach (item, account) {
		bool good = cJSON_IsBool(item) || cJSON_IsNull(item) || cJSON_IsNumber(item);

		if (!good)
			return "an account value is no boolean, time or null";
	}
	return NULL;
}

static const char *problem(const struct snapshot *s)
{
	const cJSON *item;
	struct id id;

	if (!cJSON_IsObject(s->json))
		return "not an object";
	if (s->dn == NULL || s->immutable_id == NULL || json_text(s->json, "source") == NULL)
		return "dn, immutable_id or source is not a string";
	if (s->id == NULL || id_parse(slice_of(s->id), &id) < 0)
		return "id is not an id";
	if (s->attrs == NULL)
		return "attrs is not an object";
	cJSON_ArrayForEach (item, s->attrs)
		if (!all_texts(item))
			return "an attribute is not a list of strings";
	if (!all_texts(s->groups))
		return "groups is not a list of strings";
	return account_problem(s->account);
}

struct snapshot *snapshot_parse(struct slice text, const char **ret_why)
{
	cJSON *json = json_parse(text, ret_why);
	struct snapshot *s;
	const char *why;

	if (json == NULL)
		return NULL;
	s = mem_alloc(sizeof(*s));
	*s = (struct snapshot){
		.json = json,
		.account = json_object(json, "account"),
		.attrs = json_object(json, "attrs"),
		.groups = json_array(json, "groups"),
		.dn = json_text(json, "dn"),
		.id = json_text(json, "id"),
		.immutable_id = json_text(json, "immutable_id"),
	};
	why = problem(s);
	if (why == NULL)
		return s;
	if (ret_why != NULL)
		*ret_why = why;
	snapshot_free(s);
	return NULL;
}

void snapshot_free(struct snapshot *s)
{
	if (s == NULL)
		return;
	cJSON_Delete(s->json);
	free(s);
}

const cJSON *snapshot_json(const struct snapshot *s)
{
	return s->json;
}

const char *snapshot_dn(const struct snapshot *s)
{
	return s->dn;
}

const char *snapshot_immutable_id(const struct snapshot *s)
{
	return s->immutable_id;
}

const cJSON *snapshot_values(const struct snapshot *s, const char *attr)
{
	return json_array(s->attrs, attr);
}

const char *snapshot_first(const struct snapshot *s, const char *attr)
{
	const cJSON *values = snapshot_values(s, attr);

	if (strcmp(attr, "dn") == 0)
		return s->dn;
	if (strcmp(attr, "id") == 0)
		return s->id;
	if (strcmp(attr, "immutable_id") == 0)
		return s->immutable_id;
	return values == NULL || values->child == NULL ? NULL : values->child->valuestring;
}

bool snapshot_enabled(const struct snapshot *s)
{
	return json_true(s->account, "enabled", false);
}

int64_t snapshot_time(const struct snapshot *s, const char *account_key)
{
	return json_int(s->account, account_key, 0);
}

bool snapshot_in_group(const struct snapshot *s, const char *group)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, s->groups)
		if (strcmp(item->valuestring, group) == 0)
			return true;
	return false;
}
