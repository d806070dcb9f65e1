/* What a service says of itself (RFC 7644 4, RFC 7643 5 to 7), learned before the first task: the configuration's resource, its
 * resource types, its schemas, and the ids of the groups that the configuration names. What the options say counts more. */
#include "scim_own.h"

#include <stdlib.h>
#include <string.h>

enum look { LOOK_CONFIG, LOOK_CONFIGS, LOOK_TYPES, LOOK_SCHEMAS, LOOK_USERS, LOOK_GROUP, LOOK_END };

struct step {
	enum look look;
	size_t group;
};

/* The plural is tried where the singular is missing (Salesforce), groups where some are configured. */
static struct step step_at(const struct target *t, size_t step)
{
	static const enum look all[] = {LOOK_CONFIG, LOOK_CONFIGS, LOOK_TYPES, LOOK_SCHEMAS,
					LOOK_USERS};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		bool asked = t->discovery ? all[i] != LOOK_CONFIGS || t->config_missing
					  : all[i] == LOOK_USERS;

		if (asked && step-- == 0)
			return (struct step){all[i], 0};
	}
	return step < t->groups_n ? (struct step){LOOK_GROUP, step} : (struct step){LOOK_END, 0};
}

static const char *title_of(enum look look)
{
	static const char *const titles[] = {
		"ServiceProviderConfig",
		"ServiceProviderConfigs",
		"ResourceTypes",
		"Schemas",
		"Users",
		"Group",
	};

	return titles[look];
}

static void learn_request(const struct target *t, enum look look, struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf path = {0};

	if (look == LOOK_USERS) {
		buf_addf(&path, "%s?%scount=1", t->users,
			 t->cursor.on ? "cursor=&" : "startIndex=1&");
	} else {
		buf_adds(&path, title_of(look));
		for (size_t i = 0; t->lower && i < path.n; i++)
			path.p[i] = (char)(path.p[i] | 0x20);
	}
	scim_get_request(path.p, ret, t);
}

bool scim_check(struct target *t, size_t step, struct target_request *ret, const char **ret_title)
{
	struct step s;

	if (step == 0)
		t->config_missing = false;
	s = step_at(t, step);
	if (s.look == LOOK_END)
		return false;
	*ret_title = title_of(s.look);
	if (s.look == LOOK_GROUP)
		scim_group_find(t, &t->groups[s.group], ret);
	else
		learn_request(t, s.look, ret);
	return true;
}

/* ---- ServiceProviderConfig ---- */

static void learn(struct scim_ability *a, bool on)
{
	if (a->asked == SCIM_AUTO)
		a->on = on;
}

static bool supported(const cJSON *config, const char *name, bool otherwise)
{
	return scim_true(scim_member(scim_member(config, name), "supported"), otherwise);
}

static int64_t limit_of(const cJSON *object, const char *name)
{
	const cJSON *value = scim_member(object, name);

	return cJSON_IsNumber(value) && value->valuedouble >= 1 && value->valuedouble < 1e12
		       ? (int64_t)value->valuedouble
		       : 0;
}

static void learn_config(struct target *t, const cJSON *config)
{
	const cJSON *bulk = scim_member(config, "bulk"),
		    *paging = scim_member(config, "pagination");
	int64_t operations = limit_of(bulk, "maxOperations"), most;

	learn(&t->patch, supported(config, "patch", true));
	learn(&t->bulk, supported(config, "bulk", false));
	learn(&t->filter, supported(config, "filter", true));
	learn(&t->etag, supported(config, "etag", false));
	learn(&t->cursor, scim_true(scim_member(paging, "cursor"), false) &&
				  !scim_true(scim_member(paging, "index"), true));
	if (operations && (size_t)operations < t->bulk_most)
		t->bulk_most = (size_t)operations;
	t->bulk_bytes = limit_of(bulk, "maxPayloadSize");
	most = limit_of(paging, "maxPageSize");
	if (!most)
		most = limit_of(scim_member(config, "filter"), "maxResults");
	if (most && most < t->page)
		t->page = most;
}

static const char *yes(bool on)
{
	return on ? "yes" : "no";
}

static void tell_config(const struct target *t, struct buf *text)
{
	buf_addf(text, "PATCH %s, bulk %s", yes(t->patch.on), yes(t->bulk.on));
	if (t->bulk.on)
		buf_addf(text, " (%zu)", t->bulk_most);
	buf_addf(text, ", filter %s, ETag %s, pages of %lld by %s", yes(t->filter.on),
		 yes(t->etag.on), (long long)t->page, t->cursor.on ? "cursor" : "index");
}

/* ---- ResourceTypes ---- */

/* A relative one in our own alphabet; a foreign URL would take the token elsewhere. */
static void learn_endpoint(const struct target *t, const cJSON *type, char **path)
{
	const cJSON *endpoint = scim_member(type, "endpoint");
	const char *text = cJSON_IsString(endpoint) ? endpoint->valuestring : "";
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

	text += strspn(text, "/");
	if (!*text || t->lower || text[strspn(text, letters)])
		return;
	free(*path);
	*path = mem_dup(text);
}

static void learn_user_type(struct target *t, const cJSON *type)
{
	const cJSON *item;

	learn_endpoint(t, type, &t->users);
	cJSON_ArrayForEach (item, scim_member(type, "schemaExtensions")) {
		const cJSON *schema = scim_member(item, "schema");

		if (cJSON_IsString(schema) && strcasecmp(schema->valuestring, SCIM_ENTERPRISE) == 0)
			learn(&t->manager, true);
	}
}

static const cJSON *list_of(const cJSON *json)
{
	return cJSON_IsArray(json) ? json : scim_member(json, "Resources");
}

static void learn_types(struct target *t, const cJSON *json)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list_of(json)) {
		const cJSON *schema = scim_member(item, "schema");

		if (!cJSON_IsString(schema))
			continue;
		if (strcasecmp(schema->valuestring, SCIM_CORE) == 0)
			learn_user_type(t, item);
		else if (strcasecmp(schema->valuestring, SCIM_GROUP) == 0)
			learn_endpoint(t, item, &t->group_path);
	}
}

/* ---- Schemas ---- */

static const cJSON *named(const cJSON *list, const char *key, struct slice name)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		const cJSON *value = scim_member(item, key);

		if (cJSON_IsString(value) && strlen(value->valuestring) == name.n &&
		    strncasecmp(value->valuestring, name.p, name.n) == 0)
			return item;
	}
	return NULL;
}

/* The attribute that a path of the mapping names; NULL: the schemas do not have it. */
static const cJSON *attribute_of(const cJSON *schemas, const char *path)
{
	struct slice head, rest, part;
	const cJSON *at, *down;

	mapping_split(path, &head, &rest);
	if (strncasecmp(path, "urn:", 4) == 0) {
		at = named(schemas, "id", head);
	} else {
		at = named(schemas, "id", slice_of(SCIM_CORE));
		rest = slice_of(path);
	}
	while (at && rest.n) {
		part = (struct slice){rest.p, strcspn(rest.p, ".[")};
		down = scim_member(at, "attributes");
		at = named(down ? down : scim_member(at, "subAttributes"), "name", part);
		rest = slice_of(rest.p + part.n);
		if (rest.n && *rest.p == '[')
			rest = slice_of(strchr(rest.p, ']') ? strchr(rest.p, ']') + 1 : "");
		while (rest.n && *rest.p == '.')
			rest = slice_of(rest.p + 1);
	}
	return at;
}

static void tell_names(const char *what, const cJSON *names, struct buf *text)
{
	const cJSON *item;

	if (cJSON_GetArraySize(names) == 0)
		return;
	buf_addf(text, "%s%s", text->n ? "; " : "", what);
	cJSON_ArrayForEach (item, names)
		buf_addf(text, "%s %s", item == names->child ? "" : ",", item->valuestring);
}

static void learn_schemas(struct target *t, const cJSON *json, struct buf *text)
{
	const cJSON *schemas = list_of(json), *path;
	cJSON *unknown = cJSON_CreateArray();

	cJSON_Delete(t->read_only);
	cJSON_Delete(t->immutable);
	t->read_only = cJSON_CreateArray();
	t->immutable = cJSON_CreateArray();
	if (!named(schemas, "id", slice_of(SCIM_CORE))) {
		buf_adds(text, "the schema of users is not among them");
		cJSON_Delete(unknown);
		return;
	}
	cJSON_ArrayForEach (path, t->mapped) {
		if (strcasecmp(path->valuestring, "externalId") == 0)
			continue; /* of every resource, and so in no schema (RFC 7643 3.1) */
		const cJSON *a = attribute_of(schemas, path->valuestring);
		const cJSON *m = scim_member(a, "mutability");
		const char *word = cJSON_IsString(m) ? m->valuestring : "";
		cJSON *to = !a					 ? unknown
			    : strcasecmp(word, "readOnly") == 0	 ? t->read_only
			    : strcasecmp(word, "immutable") == 0 ? t->immutable
								 : NULL;

		if (to)
			cJSON_AddItemToArray(to, cJSON_CreateString(path->valuestring));
	}
	tell_names("not in the service's schema:", unknown, text);
	tell_names("read-only there, left out:", t->read_only, text);
	tell_names("set by a creation alone:", t->immutable, text);
	if (!text->n)
		buf_addf(text, "all %d mapped fields can be written",
			 cJSON_GetArraySize(t->mapped));
	cJSON_Delete(unknown);
}

/* ---- all of it ---- */

static bool good_users(const struct http_response *r, const cJSON *json, struct buf *text)
{
	bool good = r->status == 200 &&
		    (scim_member(json, "Resources") || scim_member(json, "totalResults"));

	if (good)
		buf_adds(text, "users can be read");
	else
		buf_addf(text, "status %ld, no list of users", r->status);
	return good;
}

static void take(struct target *t, enum look look, const cJSON *json, struct buf *text)
{
	if (look == LOOK_TYPES) {
		learn_types(t, json);
		buf_addf(text, "users at /%s, groups at /%s, manager %s", t->users, t->group_path,
			 yes(t->manager.on));
	} else if (look == LOOK_SCHEMAS) {
		learn_schemas(t, json, text);
	} else {
		learn_config(t, json);
		tell_config(t, text);
	}
}

bool scim_checked(struct target *t, size_t step, const struct http_response *r, struct buf *text)
{
	struct step s = step_at(t, step);
	cJSON *json = json_parse(r->body, NULL);
	bool object = cJSON_IsObject(json) || cJSON_IsArray(json), good = true;

	if (s.look == LOOK_GROUP) {
		good = scim_group_learn(t, &t->groups[s.group], r->status, json, text);
	} else if (s.look == LOOK_USERS) {
		good = good_users(r, json, text);
	} else if (r->status == 200 && object) {
		take(t, s.look, json, text);
	} else {
		if (s.look == LOOK_CONFIG)
			t->config_missing = true;
		buf_addf(text, "status %ld, the defaults hold", r->status);
	}
	cJSON_Delete(json);
	return good;
}
