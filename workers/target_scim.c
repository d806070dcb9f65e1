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

/* dialect           a known service: sets those of the others that are not given, see dialects[]
 * update            PATCH where the service has it, else PUT (auto)
 * patch_style       path: one operation for each field; value: one without a path that carries the fields nested
 * elements          whole: a path that selects an element ([type eq "work"]) is written by its whole attribute
 * inactive          frozen: fields of an inactive account cannot be changed, they are sent with the next enabling
 * bulk, bulk_size   several users in one request; the most of them
 * find_size         so many users are looked up by one filter, once the service has shown that it can (1: each by itself)
 * filter            never: the service cannot search, its first page of page_size is looked through
 * etag              If-Match with meta.version
 * manager           the enterprise extension's manager (auto: when the service lists that extension)
 * paging            startIndex or cursor
 * booleans          string: "true" instead of true
 * media_type        of requests: application/scim+json or application/json
 * accept            of answers: both, or one of them alone
 * endpoints         lower: /users, /serviceproviderconfig (Entra's SCIM API)
 * discovery         false: do not ask what the service can, only that it answers
 * schemas           false: write fields that the service's schema calls readOnly or immutable all the same
 * group_key         by what a group of `groups` is named: displayName, id or externalId
 * members_max, member_removes   the most members added, removed by one PATCH
 * member_remove     filter: members[value eq "…"]; value: path members and the members as value
 * exclude_members   excludedAttributes=members: when groups are looked up; never; or always, also in a PATCH, so that its answer
 *                   does not list all members. Only where that was tried: scimmy-routers then forgets the members that it does
 *                   not show
 * initial_password  true: a new account gets a random password that nobody knows
 * unique            fields of which the service itself refuses a second account: no look-up before a creation */
static const struct option_row option_rows[] = {
	{"dialect", OPTION_WORD, 0, 0,
	 "rfc|entra|salesforce|slack|github|zoom|miro|databricks|launchdarkly"},
	{"update", OPTION_WORD, 0, 0, "auto|patch|put"},
	{"patch_style", OPTION_WORD, 0, 0, "path|value"},
	{"elements", OPTION_WORD, 0, 0, "select|whole"},
	{"inactive", OPTION_WORD, 0, 0, "changed|frozen"},
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
	{"accept", OPTION_WORD, 0, 0, "both|scim|json"},
	{"endpoints", OPTION_WORD, 0, 0, "mixed|lower"},
	{"discovery", OPTION_BOOL, 0, 0, NULL},
	{"schemas", OPTION_BOOL, 0, 0, NULL},
	{"group_key", OPTION_WORD, 0, 0, "displayName|id|externalId"},
	{"members_max", OPTION_INT, 1, BATCH_MAX, NULL},
	{"member_removes", OPTION_INT, 1, BATCH_MAX, NULL},
	{"member_remove", OPTION_WORD, 0, 0, "filter|value"},
	{"exclude_members", OPTION_WORD, 0, 0, "lookups|never|always"},
	{"initial_password", OPTION_BOOL, 0, 0, NULL},
	{"unique", OPTION_LIST, 0, 0, NULL},
	{NULL, OPTION_TYPES, 0, 0, NULL},
};

/* What is known of services (their documentation, 2024 to 2026). Each can be set alone, too. */
static const struct {
	const char *dialect, *key, *value; /* as JSON */
} dialects[] = {
	/* Microsoft Entra ID SCIM API reference: lower case, RFC 9865 cursors, no PUT, no bulk, externalId stands alone in a
	 * filter, a password at creation, 20 members added and one removed by a request */
	{"entra", "endpoints", "\"lower\""},
	{"entra", "media_type", "\"json\""},
	{"entra", "update", "\"patch\""},
	{"entra", "bulk", "\"never\""},
	{"entra", "paging", "\"cursor\""},
	{"entra", "find_size", "1"},
	{"entra", "initial_password", "true"},
	{"entra", "members_max", "20"},
	{"entra", "member_removes", "1"},
	/* Salesforce: PATCH without a path */
	{"salesforce", "patch_style", "\"value\""},
	{"salesforce", "bulk", "\"never\""},
	{"salesforce", "etag", "\"never\""},
	{"salesforce", "find_size", "1"},
	{"slack", "bulk", "\"never\""},
	{"slack", "etag", "\"never\""},
	{"slack", "find_size", "1"},
	{"github", "bulk", "\"never\""},
	{"github", "find_size", "1"},
	{"github", "manager", "\"never\""},
	{"zoom", "accept", "\"scim\""},
	{"zoom", "bulk", "\"never\""},
	{"zoom", "find_size", "1"},
	/* a PATCH of a group of more than 500 bytes has a budget of its own */
	{"miro", "members_max", "5"},
	{"miro", "member_removes", "5"},
	{"miro", "bulk", "\"never\""},
	/* 200 nodes in a filter */
	{"databricks", "find_size", "32"},
	{"databricks", "bulk", "\"never\""},
	{"launchdarkly", "inactive", "\"frozen\""},
	{"launchdarkly", "bulk", "\"never\""},
};

static void take_dialect(cJSON *options)
{
	const char *name = json_text(options, "dialect");

	for (size_t i = 0; name && i < sizeof(dialects) / sizeof(dialects[0]); i++) {
		if (strcmp(dialects[i].dialect, name) == 0 && !json_get(options, dialects[i].key))
			cJSON_AddItemToObject(options, dialects[i].key,
					      cJSON_Parse(dialects[i].value));
	}
}

/* RFC 7644 3.12, table 9; and what this driver says of an answer. */
static const struct verdict_row rows[] = {
	{0, 404, 501, "bulk_unsupported", VERDICT_CLASS_DOWNGRADE, "no_bulk", NULL},
	{ON(TARGET_STEP), 0, 0, "group_found", VERDICT_CLASS_STALE, "group_found", NULL},
	{ON(TARGET_STEP), 0, 0, "group_gone", VERDICT_CLASS_STALE, "group_gone", NULL},
	{ON(TARGET_STEP), 0, 0, "group_missing", VERDICT_CLASS_PARK, "group_missing", NULL},
	{ON(TARGET_STEP), 0, 0, "group_ambiguous", VERDICT_CLASS_PARK, "group_ambiguous", NULL},
	{ON(TARGET_STEP), 0, 0, "members_alone", VERDICT_CLASS_SPLIT, "members_alone", NULL},
	{ON(TARGET_STEP), 400, 400, "noTarget", VERDICT_CLASS_OK, NULL, NULL},
	{ON(TARGET_STEP), 400, 400, "invalidValue", VERDICT_CLASS_STALE, "member_missing", NULL},
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

static void take_group_options(struct target *t)
{
	const cJSON *o = t->options;
	size_t exclude;

	t->group_key = (enum scim_group_key)options_word(o, option_rows, "group_key", 0);
	t->members_most = (size_t)json_int(o, "members_max", BATCH_MAX);
	t->member_removes = (size_t)json_int(o, "member_removes", (int64_t)t->members_most);
	t->remove_by_value = options_word(o, option_rows, "member_remove", 0) == 1;
	exclude = options_word(o, option_rows, "exclude_members", 0);
	t->short_groups = exclude != 1;
	t->short_patches = exclude == 2;
	t->group_path = mem_dup(t->lower ? "groups" : "Groups");
}

static void take_options(struct target *t)
{
	static const char *const accepts[] = {"application/scim+json, application/json",
					      "application/scim+json", "application/json"};
	const cJSON *o = t->options;
	size_t paging = options_word(o, option_rows, "paging", 0);

	t->update = (enum scim_update)options_word(o, option_rows, "update", SCIM_UPDATE_AUTO);
	t->patch.asked = t->update == SCIM_UPDATE_AUTO ? SCIM_AUTO : SCIM_ALWAYS;
	t->patch.on = t->update != SCIM_UPDATE_PUT;
	t->pathless = options_word(o, option_rows, "patch_style", 0) == 1;
	t->whole_lists = options_word(o, option_rows, "elements", 0) == 1;
	t->frozen = options_word(o, option_rows, "inactive", 0) == 1;
	t->bulk = ability(o, "bulk", false);
	t->filter = ability(o, "filter", true);
	t->etag = ability(o, "etag", false);
	t->manager = ability(o, "manager", false);
	t->cursor = (struct scim_ability){paging ? SCIM_ALWAYS : SCIM_AUTO, paging == 2};
	t->string_booleans = options_word(o, option_rows, "booleans", 0) == 1;
	t->media_type = options_word(o, option_rows, "media_type", 0) == 1
				? "application/json"
				: "application/scim+json";
	t->accept = accepts[options_word(o, option_rows, "accept", 0)];
	t->lower = options_word(o, option_rows, "endpoints", 0) == 1;
	t->discovery = json_true(o, "discovery", true);
	t->schemas = json_true(o, "schemas", true);
	t->initial_password = json_true(o, "initial_password", false);
	t->bulk_most = (size_t)json_int(o, "bulk_size", BATCH_MAX);
	t->find_most = (size_t)json_int(o, "find_size", FIND_DEFAULT);
	t->page_given = json_get(o, "page_size") != NULL;
	t->page = json_int(o, "page_size", PAGE_DEFAULT);
	t->users = mem_dup(t->lower ? "users" : "Users");
	take_group_options(t);
}

/* The paths of the mapping into *ret_paths. */
static void check_mapping(const struct conf_node *conf, cJSON **ret_paths, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	const cJSON *item;
	cJSON *mapping;

	*ret_paths = cJSON_CreateArray();
	conf_json(conf, "mapping", &text);
	mapping = json_parse(buf_slice(&text), NULL);
	if (conf_bool(conf, "create") && !scim_member(mapping, "userName")) {
		options_where(conf, "mapping", errors);
		buf_adds(errors, "mapping.userName: is missing, SCIM requires it\n");
	}
	cJSON_ArrayForEach (item, mapping) {
		const char *wrong = scim_path_wrong(item->string);

		cJSON_AddItemToArray(*ret_paths, cJSON_CreateString(item->string));
		if (!wrong)
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: %s\n", item->string, wrong);
	}
	cJSON_Delete(mapping);
}

static void scim_destroy(struct target *t)
{
	if (!t)
		return;
	free(t->base);
	free(t->users);
	free(t->group_path);
	free(t->listing.first_id);
	cJSON_Delete(t->options);
	cJSON_Delete(t->mapped);
	cJSON_Delete(t->read_only);
	cJSON_Delete(t->immutable);
	scim_groups_done(t);
	scim_canary_drop(t);
	free(t->find_field);
	free(t);
}

static struct target *scim_create(const struct conf_node *conf, struct buf *why)
{
	struct target *t = mem_alloc(sizeof(*t));
	size_t before = why->n, n;

	t->options = options_read(conf, option_rows, why);
	check_mapping(conf, &t->mapped, why);
	scim_groups_read(t, conf, why);
	if (why->n > before) {
		scim_destroy(t);
		return NULL;
	}
	take_dialect(t->options);
	t->base = mem_dup(conf_text(conf, "url"));
	n = strlen(t->base);
	while (n > 0 && t->base[n - 1] == '/')
		t->base[--n] = '\0';
	take_options(t);
	return t;
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
	if (op->kind == TARGET_STEP)
		return scim_group_lane(t, op, ret_most);

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
	ret->accept = t->accept;
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
	.version = "2",
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
