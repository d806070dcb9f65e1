/* Any SCIM 2.0 service (RFC 7643, 7644; cursors: RFC 9865), and the dialects that claim to be one. What the service says of
 * itself in its ServiceProviderConfig counts unless the options overrule it.
 *
 * A plan that PUTs needs the account; with the account unread it costs one more read (scim_own.h). A service that cannot
 * filter is searched by its first page alone; if that is not everybody, the user parks. */
#include "scim_own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ON(kind) (1u << (kind))
#define AUTO	 "auto|always|never"

enum { LANE_ALONE, LANE_BULK, LANE_FIND };
enum { SETTLE_MS = 5000, PAGE_DEFAULT = 100, FIND_DEFAULT = 32, BATCH_MAX = 100 };

/* update            PATCH where the service has it, else PUT (auto)
 * patch_style       path: one operation for each field; value: one without a path that carries the fields nested
 * bulk, bulk_size   several users in one request; the most of them
 * find_size         so many users are looked up by one filter, once the service has shown that it can (1: each by itself)
 * filter            never: the service cannot search, its first page of page_size is looked through
 * etag              If-Match with meta.version
 * manager           the enterprise extension's manager (auto: when the service lists that extension)
 * paging            startIndex or cursor
 * booleans          string: "true" instead of true
 * media_type        of requests: application/scim+json or application/json
 * endpoints         lower: /users, /serviceproviderconfig (Entra's SCIM API)
 * discovery         false: do not ask what the service can, only that it answers
 * initial_password  true: a new account gets a random password that nobody knows
 * unique            fields of which the service itself refuses a second account: no look-up before a creation */
static const struct option_row option_rows[] = {
	{"update", OPTION_WORD, 0, 0, "auto|patch|put"},
	{"patch_style", OPTION_WORD, 0, 0, "path|value"},
	{"bulk", OPTION_WORD, 0, 0, AUTO},
	{"bulk_size", OPTION_INT, 2, BATCH_MAX, NULL},
	{"find_size", OPTION_INT, 1, BATCH_MAX, NULL},
	{"filter", OPTION_WORD, 0, 0, AUTO},
	{"etag", OPTION_WORD, 0, 0, AUTO},
	{"manager", OPTION_WORD, 0, 0, AUTO},
	{"paging", OPTION_WORD, 0, 0, "auto|index|cursor"},
	{"page_size", OPTION_INT, 1, 10000, NULL},
	{"booleans", OPTION_WORD, 0, 0, "json|string"},
	{"media_type", OPTION_WORD, 0, 0, "scim|json"},
	{"endpoints", OPTION_WORD, 0, 0, "mixed|lower"},
	{"discovery", OPTION_BOOL, 0, 0, NULL},
	{"initial_password", OPTION_BOOL, 0, 0, NULL},
	{"unique", OPTION_LIST, 0, 0, NULL},
	{NULL, OPTION_TYPES, 0, 0, NULL},
};

/* RFC 7644 3.12, table 9; and what this driver says of an answer. */
static const struct verdict_row rows[] = {
	{0, 404, 501, "bulk_unsupported", VERDICT_CLASS_DOWNGRADE, "no_bulk", NULL},
	{ON(TARGET_UPDATE), 200, 299, "read_first", VERDICT_CLASS_STALE, "read_first", NULL},
	{ON(TARGET_FIND), 0, 0, "find_alone", VERDICT_CLASS_SPLIT, "find_alone", NULL},
	{ON(TARGET_FIND), 200, 299, "filter_ignored", VERDICT_CLASS_PARK, "filter_ignored", NULL},
	{ON(TARGET_FIND), 400, 400, "tooMany", VERDICT_CLASS_PARK, "too_many_hits", NULL},
	{0, 409, 409, "REQUIRED_FIELD_MISSING", VERDICT_CLASS_REJECT, "mandatory_missing", NULL},
	{ON(TARGET_CREATE) | ON(TARGET_UPDATE), 400, 400, "uniqueness", VERDICT_CLASS_EXISTS,
	 "name_taken", NULL},
	{ON(TARGET_UPDATE), 400, 400, "noTarget", VERDICT_CLASS_STALE, "no_target", NULL},
	{ON(TARGET_UPDATE), 400, 400, "invalidVers", VERDICT_CLASS_STALE, "changed_meanwhile",
	 NULL},
	{0, 400, 400, "mutability", VERDICT_CLASS_REJECT, "read_only_field", NULL},
	{0, 400, 400, "invalidFilter", VERDICT_CLASS_REJECT, "filter_refused", NULL},
	{0, 400, 400, "INVALID_FILTER", VERDICT_CLASS_REJECT, "filter_refused", NULL},
	{0, 400, 400, "invalidPath", VERDICT_CLASS_REJECT, "field_unknown", NULL},
	{0, 400, 400, "invalidValue", VERDICT_CLASS_REJECT, "invalid_value", NULL},
	{0, 0, 0, NULL, VERDICT_CLASSES, NULL, NULL},
};

/* ---- configuration ---- */

static struct scim_ability ability(const cJSON *options, const char *key, bool otherwise)
{
	enum scim_auto asked = (enum scim_auto)options_word(options, option_rows, key, SCIM_AUTO);

	return (struct scim_ability){asked, asked == SCIM_AUTO ? otherwise : asked == SCIM_ALWAYS};
}

static void learn(struct scim_ability *a, bool on)
{
	if (a->asked == SCIM_AUTO)
		a->on = on;
}

static void take_options(struct target *t)
{
	const cJSON *o = t->options;
	size_t paging = options_word(o, option_rows, "paging", 0);

	t->update = (enum scim_update)options_word(o, option_rows, "update", SCIM_UPDATE_AUTO);
	t->patch.asked = t->update == SCIM_UPDATE_AUTO ? SCIM_AUTO : SCIM_ALWAYS;
	t->patch.on = t->update != SCIM_UPDATE_PUT;
	t->pathless = options_word(o, option_rows, "patch_style", 0) == 1;
	t->bulk = ability(o, "bulk", false);
	t->filter = ability(o, "filter", true);
	t->etag = ability(o, "etag", false);
	t->manager = ability(o, "manager", false);
	t->cursor = (struct scim_ability){paging ? SCIM_ALWAYS : SCIM_AUTO, paging == 2};
	t->string_booleans = options_word(o, option_rows, "booleans", 0) == 1;
	t->media_type = options_word(o, option_rows, "media_type", 0) == 1
				? "application/json"
				: "application/scim+json";
	t->lower = options_word(o, option_rows, "endpoints", 0) == 1;
	t->discovery = json_true(o, "discovery", true);
	t->initial_password = json_true(o, "initial_password", false);
	t->bulk_most = (size_t)json_int(o, "bulk_size", BATCH_MAX);
	t->find_most = (size_t)json_int(o, "find_size", FIND_DEFAULT);
	t->page_given = json_get(o, "page_size") != NULL;
	t->page = json_int(o, "page_size", PAGE_DEFAULT);
	t->users = mem_dup(t->lower ? "users" : "Users");
}

static void check_mapping(const struct conf_node *conf, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	const cJSON *item;
	cJSON *mapping;

	conf_json(conf, "mapping", &text);
	mapping = json_parse(buf_slice(&text), NULL);
	if (conf_bool(conf, "create") && !scim_member(mapping, "userName")) {
		options_where(conf, "mapping", errors);
		buf_adds(errors, "mapping.userName: is missing, SCIM requires it\n");
	}
	cJSON_ArrayForEach (item, mapping) {
		const char *wrong = scim_path_wrong(item->string);

		if (!wrong)
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: %s\n", item->string, wrong);
	}
	cJSON_Delete(mapping);
}

static struct target *scim_create(const struct conf_node *conf, struct buf *why)
{
	struct target *t;
	cJSON *options;
	size_t before = why->n, n;

	options = options_read(conf, option_rows, why);
	check_mapping(conf, why);
	if (why->n > before) {
		cJSON_Delete(options);
		return NULL;
	}
	t = mem_alloc(sizeof(*t));
	t->base = mem_dup(conf_text(conf, "url"));
	n = strlen(t->base);
	while (n > 0 && t->base[n - 1] == '/')
		t->base[--n] = '\0';
	t->options = options;
	take_options(t);
	return t;
}

static void scim_destroy(struct target *t)
{
	if (!t)
		return;
	free(t->base);
	free(t->users);
	free(t->listing.first_id);
	cJSON_Delete(t->options);
	scim_canary_drop(t);
	free(t->find_field);
	free(t);
}

/* ---- discovery (RFC 7644 4) ---- */

enum look { LOOK_CONFIG, LOOK_CONFIGS, LOOK_TYPES, LOOK_USERS, LOOK_END };

static enum look look_at(const struct target *t, size_t step)
{
	static const enum look all[] = {LOOK_CONFIG, LOOK_CONFIGS, LOOK_TYPES, LOOK_USERS};
	static const enum look found[] = {LOOK_CONFIG, LOOK_TYPES, LOOK_USERS};

	if (!t->discovery)
		return step == 0 ? LOOK_USERS : LOOK_END;
	if (t->config_missing)
		return step < 4 ? all[step] : LOOK_END;
	return step < 3 ? found[step] : LOOK_END;
}

static bool scim_check(struct target *t, size_t step, struct target_request *ret,
		       const char **ret_title)
{
	static const char *const titles[] = {"ServiceProviderConfig", "ServiceProviderConfigs",
					     "ResourceTypes", "Users"};
	static const char *const lower[] = {"serviceproviderconfig", "serviceproviderconfigs",
					    "resourcetypes"};
	enum look look;

	if (step == 0)
		t->config_missing = false;
	look = look_at(t, step);
	if (look == LOOK_END)
		return false;
	*ret_title = titles[look];
	if (look != LOOK_USERS) {
		scim_get_request(t->lower ? lower[look] : titles[look], ret, t);
		return true;
	}
	CLEANUP(buf_cleanup) struct buf path = {0};

	buf_addf(&path, "%s?%scount=1", t->users, t->cursor.on ? "cursor=&" : "startIndex=1&");
	scim_get_request(path.p, ret, t);
	return true;
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

static void learn_type(struct target *t, const cJSON *type)
{
	const cJSON *endpoint = scim_member(type, "endpoint"), *item;
	const char *path = cJSON_IsString(endpoint) ? endpoint->valuestring : "";

	/* a relative one in our own alphabet; a foreign URL would take the token elsewhere */
	path += strspn(path, "/");
	if (*path && !t->lower &&
	    path[strspn(path,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")] ==
		    '\0') {
		free(t->users);
		t->users = mem_dup(path);
	}
	cJSON_ArrayForEach (item, scim_member(type, "schemaExtensions")) {
		const cJSON *schema = scim_member(item, "schema");

		if (cJSON_IsString(schema) && strcasecmp(schema->valuestring, SCIM_ENTERPRISE) == 0)
			learn(&t->manager, true);
	}
}

static void learn_types(struct target *t, const cJSON *json)
{
	const cJSON *list = cJSON_IsArray(json) ? json : scim_member(json, "Resources"), *item;

	cJSON_ArrayForEach (item, list) {
		const cJSON *schema = scim_member(item, "schema");

		if (cJSON_IsString(schema) && strcasecmp(schema->valuestring, SCIM_CORE) == 0)
			learn_type(t, item);
	}
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

static bool scim_checked(struct target *t, size_t step, const struct http_response *r,
			 struct buf *text)
{
	enum look look = look_at(t, step);
	cJSON *json = json_parse(r->body, NULL);
	bool good = r->status == 200 && (cJSON_IsObject(json) || cJSON_IsArray(json));

	if (look == LOOK_USERS) {
		good = good &&
		       (scim_member(json, "Resources") || scim_member(json, "totalResults"));
		if (good)
			buf_adds(text, "users can be read");
		else
			buf_addf(text, "status %ld, no list of users", r->status);
	} else if (!good) {
		if (look == LOOK_CONFIG)
			t->config_missing = true;
		buf_addf(text, "status %ld, the defaults hold", r->status);
		good = true;
	} else if (look == LOOK_TYPES) {
		learn_types(t, json);
		buf_addf(text, "users at /%s, manager %s", t->users, yes(t->manager.on));
	} else {
		learn_config(t, json);
		tell_config(t, text);
	}
	cJSON_Delete(json);
	return good;
}

/* ---- the rest of the contract ---- */

static bool scim_refuses_second(const struct target *t, const char *field)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, json_array(t->options, "unique")) {
		if (strcasecmp(item->valuestring, field) == 0)
			return true;
	}
	return false;
}

static unsigned scim_lane(const struct target *t, const struct target_op *op, size_t *ret_most)
{
	bool write =
		op->kind == TARGET_CREATE || op->kind == TARGET_DELETE ||
		(op->kind == TARGET_UPDATE && (t->patch.on || json_object(op->body, "account")));
	bool shares = write && t->bulk.on && t->bulk_most > 1;

	if (op->kind == TARGET_FIND && t->filter.on && t->canary.field && t->find_most > 1) {
		*ret_most = t->find_most;
		return LANE_FIND;
	}
	*ret_most = shares ? t->bulk_most : 1;
	return shares ? LANE_BULK : LANE_ALONE;
}

static bool scim_downgrade(struct target *t, const struct target_op *op,
			   const struct target_answer *answer)
{
	if (slice_is(buf_slice(&answer->code), "bulk_unsupported")) {
		t->bulk.on = false;
		return true;
	}
	if (op->kind != TARGET_UPDATE || t->update == SCIM_UPDATE_PATCH)
		return false;
	t->patch.on = false;
	return true;
}

static int scim_list(struct target *t, const char *next, struct target_request *ret)
{
	ret->method = HTTP_GET;
	ret->accept = "application/scim+json, application/json";
	if (next) {
		buf_adds(&ret->url, next);
		return 0;
	}
	free_cleanup(&t->listing.first_id);
	t->listing = (struct scim_listing){.start = 1};
	scim_page_url(t, t->cursor.on ? "" : NULL, 1, &ret->url);
	return 0;
}

const struct target_driver target_scim = {
	.name = "scim",
	.version = "1",
	.request_id_header = NULL,
	.refs = (const char *const[]){"manager", NULL},
	.rows = rows,
	.settle_ms = SETTLE_MS,
	.create = scim_create,
	.destroy = scim_destroy,
	.check = scim_check,
	.checked = scim_checked,
	.refuses_second = scim_refuses_second,
	.matches = scim_matches,
	.plan = scim_plan,
	.lane = scim_lane,
	.request = scim_request,
	.answers = scim_answers,
	.downgrade = scim_downgrade,
	.list = scim_list,
	.listed = scim_listed,
};
