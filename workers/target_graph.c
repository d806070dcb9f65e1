/* Users of Microsoft 365 through Microsoft Graph v1.0. An account is found by onPremisesImmutableId, in deletedItems too, where
 * it is restored rather than created anew; up to 20 users share a $batch. Reads do not show the manager: what was set is
 * remembered with the link. */
#include "graph_own.h"

#include "oauth.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ON(kind)  (1u << (kind))
#define WRITE	  (ON(TARGET_CREATE) | ON(TARGET_UPDATE))
#define LOGIN_URL "https://login.microsoftonline.com"
#define EXISTING  (ON(TARGET_UPDATE) | ON(TARGET_DELETE) | ON(TARGET_STEP))

enum { LANE_FIND, LANE_READ, LANE_LICENCE, LANE_REST };
enum { SETTLE_MS = 60000, PAGE_DEFAULT = 999 };

/* batch      users in one $batch
 * page_size  of a listing
 * restore    false: do not look into deletedItems before a creation
 * revoke_sessions  false: disabling leaves open sessions alone
 * count_seats      false: changes of licences tell no figures of the subscription
 * priority   x-ms-throttle-priority of every request */
static const struct option_row option_rows[] = {
	{"batch", OPTION_INT, 1, GRAPH_BATCH_MAX, NULL},
	{"page_size", OPTION_INT, 1, 999, NULL},
	{"restore", OPTION_BOOL, 0, 0, NULL},
	{"revoke_sessions", OPTION_BOOL, 0, 0, NULL},
	{"count_seats", OPTION_BOOL, 0, 0, NULL},
	{"priority", OPTION_WORD, 0, 0, "none|low|normal|high"},
	{NULL, OPTION_TYPES, 0, 0, NULL},
};

/* Fact sheet 7 and 9. The words are made in graph_answer.c: code/details code/target. Privileged people's accounts answer the
 * same 403 as a missing permission; for a creation it can only be the permission. */
static const struct verdict_row rows[] = {
	{ON(TARGET_CREATE), 400, 409, "Request_BadRequest/ObjectConflict/onPremisesImmutableId",
	 VERDICT_CLASS_EXISTS, "immutable_id_taken", NULL},
	{ON(TARGET_CREATE), 400, 409, "Request_BadRequest/ConflictingObject*", VERDICT_CLASS_EXISTS,
	 "immutable_id_taken", NULL},
	{ON(TARGET_CREATE), 400, 409, "Request_MultipleObjectsWithSameKeyValue*",
	 VERDICT_CLASS_EXISTS, "name_taken", NULL},
	{ON(TARGET_UPDATE), 400, 409, "Request_BadRequest/ObjectConflict/onPremisesImmutableId",
	 VERDICT_CLASS_PARK, "immutable_id_taken", NULL},
	{ON(TARGET_UPDATE), 400, 409, "Request_BadRequest/ConflictingObject*", VERDICT_CLASS_PARK,
	 "name_taken", NULL},
	{ON(TARGET_UPDATE), 400, 409, "Request_MultipleObjectsWithSameKeyValue*",
	 VERDICT_CLASS_PARK, "name_taken", NULL},
	{WRITE, 400, 409, "Request_BadRequest/ObjectConflict*", VERDICT_CLASS_PARK, "name_taken",
	 "name:"},
	{ON(TARGET_STEP), 400, 400, "Request_BadRequest/NoSeats*", VERDICT_CLASS_PARK, "no_seat",
	 "seat:"},
	{ON(TARGET_STEP), 400, 400, "Request_BadRequest/UsageLocation", VERDICT_CLASS_PARK,
	 "usage_location_missing", NULL},
	{ON(TARGET_STEP), 400, 400, "Request_BadRequest/NotAssigned", VERDICT_CLASS_OK, NULL, NULL},
	{ON(TARGET_STEP), 400, 400, "Request_BadRequest/AlreadyMember", VERDICT_CLASS_OK, NULL,
	 NULL},
	{ON(TARGET_STEP), 400, 400, "Request_BadRequest/DynamicGroup", VERDICT_CLASS_PARK,
	 "group_dynamic", NULL},
	{ON(TARGET_STEP), 400, 400, "MasteredGroup", VERDICT_CLASS_PARK, "group_mastered_elsewhere",
	 NULL},
	{ON(TARGET_STEP), 404, 404, "NoGroup", VERDICT_CLASS_PARK, "group_missing", NULL},
	{ON(TARGET_STEP), 404, 404, "AmbiguousGroup", VERDICT_CLASS_PARK, "group_ambiguous", NULL},
	{ON(TARGET_STEP), 404, 404, "NoMember", VERDICT_CLASS_OK, NULL, NULL},
	{ON(TARGET_STEP), 403, 403, "NoPermission", VERDICT_CLASS_REJECT, "permission_missing",
	 NULL},
	{ON(TARGET_STEP), 424, 424, "NoCounts", VERDICT_CLASS_DOWNGRADE, NULL, NULL},
	{0, 400, 403, "Request_BadRequest/OnPremisesMastered*", VERDICT_CLASS_PARK,
	 "mastered_on_premises", NULL},
	{0, 400, 403, "Request_BadRequest/ExternallyMastered*", VERDICT_CLASS_PARK,
	 "mastered_elsewhere", NULL},
	{ON(TARGET_CREATE), 400, 400, "Request_BadRequest/Password*", VERDICT_CLASS_RETRY,
	 "password_refused", NULL},
	{0, 400, 400, "Request_BadRequest/InvalidValue*", VERDICT_CLASS_REJECT, "invalid_value",
	 NULL},
	{0, 403, 403, "Directory_QuotaExceeded*", VERDICT_CLASS_DOWN, "directory_full", NULL},
	{EXISTING, 403, 403, "Authorization_RequestDenied*", VERDICT_CLASS_REJECT, "protected_user",
	 NULL},
	{ON(TARGET_STEP), 404, 404, "NoManager", VERDICT_CLASS_OK, NULL, NULL},
	{ON(TARGET_STEP), 404, 404, NULL, VERDICT_CLASS_RETRY, "not_yet_visible", NULL},
	{0, 409, 409, "Directory_ConcurrencyViolation*", VERDICT_CLASS_RETRY, "concurrent", NULL},
	{0, 400, 503, "Request_ThrottledTemporarily*", VERDICT_CLASS_THROTTLED, "throttled", NULL},
	{0, 0, 0, NULL, VERDICT_CLASSES, NULL, NULL},
};

/* ---- configuration ---- */

static bool property_name(const char *name)
{
	for (const char *p = name; *p; p++) {
		if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.')
			return false;
	}
	return *name != '\0';
}

/* One more property of $select: the first level of a path. */
static void add_select(struct buf *select, const char *path)
{
	size_t n = strcspn(path, ".");

	for (const char *p = select->p; p && *p; p += strcspn(p, ",")) {
		p += *p == ',';
		if (strcspn(p, ",") == n && strncasecmp(p, path, n) == 0)
			return;
	}
	if (select->n)
		buf_addc(select, ',');
	buf_add(select, path, n);
}

static const char *path_wrong(const char *path)
{
	enum graph_trait trait = graph_trait(path);

	if (!property_name(path))
		return "expected the name of a property of Graph";
	if (trait == GRAPH_READ_ONLY)
		return "cannot be written by an application";
	return trait == GRAPH_OURS ? "is written by itself" : NULL;
}

static void check_needed(const struct conf_node *conf, const cJSON *mapping, struct buf *errors)
{
	static const char *const needed[] = {"userPrincipalName", "displayName", "mailNickname"};

	for (size_t i = 0; conf_bool(conf, "create") && i < 3; i++) {
		if (cJSON_GetObjectItem(mapping, needed[i]))
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: is missing, Graph requires it of a new user\n",
			 needed[i]);
	}
}

static void take_fields(const struct conf_node *conf, struct target *t, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	const struct conf_node *rule;
	cJSON *mapping;
	const cJSON *item;

	buf_adds(&t->select, "id,accountEnabled,onPremisesImmutableId,onPremisesSyncEnabled");
	conf_json(conf, "mapping", &text);
	mapping = json_parse(buf_slice(&text), NULL);
	check_needed(conf, mapping, errors);
	cJSON_ArrayForEach (item, mapping) {
		const char *wrong = path_wrong(item->string);

		if (!wrong) {
			add_select(&t->select, item->string);
			continue;
		}
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: %s\n", item->string, wrong);
	}
	for (size_t i = 0; (rule = conf_at(conf, "join", i, NULL)); i++) {
		const char *remote = conf_text(rule, "remote");

		if (property_name(remote)) {
			add_select(&t->select, remote);
			continue;
		}
		options_where(rule, "remote", errors);
		buf_adds(errors, "join: remote: expected the name of a property of Graph\n");
	}
	cJSON_Delete(mapping);
}

/* Licences and groups: what needs reading, and names that only the service can make ids of. */
static void take_holdings(const struct conf_node *conf, struct target *t, struct buf *errors)
{
	const struct conf_node *policy = conf_section(conf, "licence_policy"), *rule;

	t->has_licences = conf_at(conf, "licences", 0, NULL) || conf_item(policy, "revoke_when", 0);
	t->holdings = t->has_licences || conf_at(conf, "groups", 0, NULL);
	t->counts = t->has_licences && json_true(t->options, "count_seats", true);
	if (t->has_licences)
		buf_adds(&t->select, ",assignedLicenses,licenseAssignmentStates");
	for (size_t i = 0; (rule = conf_at(conf, "licences", i, NULL)); i++) {
		if (graph_is_guid(conf_text(rule, "sku")))
			continue;
		t->sku_names = mem_resize((void *)t->sku_names,
					  (t->sku_names_n + 1) * sizeof(*t->sku_names));
		t->sku_names[t->sku_names_n++] = mem_dup(conf_text(rule, "sku"));
	}
	for (size_t i = 0; (rule = conf_at(conf, "groups", i, NULL)); i++) {
		if (!conf_text(rule, "kind"))
			continue;
		options_where(rule, "kind", errors);
		buf_adds(errors, "groups.kind: driver graph has groups alone; leave it out\n");
	}
	if (strcmp(conf_text(policy, "action"), "strip") == 0)
		return;
	options_where(policy, "action", errors);
	buf_adds(errors, "licence_policy.action: driver graph expects strip\n");
}

static char *without_slash(const char *url)
{
	char *out = mem_dup(url ? url : "");
	size_t n = strlen(out);

	while (n > 0 && out[n - 1] == '/')
		out[--n] = '\0';
	return out;
}

static void names_free(struct graph_name *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(names[i].name);
		free(names[i].id);
	}
	free(names);
}

static void graph_destroy(struct target *t)
{
	if (!t)
		return;
	free(t->base);
	free(t->login_url);
	free(t->tenant);
	buf_done(&t->origin);
	buf_done(&t->select);
	names_free(t->skus, t->skus_n);
	names_free(t->groups, t->groups_n);
	for (size_t i = 0; i < t->sku_names_n; i++)
		free(t->sku_names[i]);
	free((void *)t->sku_names);
	cJSON_Delete(t->options);
	free(t);
}

static struct target *graph_create(const struct conf_node *conf, struct buf *why)
{
	static const char *const priorities[] = {NULL, "low", "normal", "high"};
	struct target *t = mem_alloc(sizeof(*t));
	size_t before = why->n;

	t->base = without_slash(conf_text(conf, "url"));
	t->login_url = without_slash(conf_text(conf, "login_url") ? conf_text(conf, "login_url")
								  : LOGIN_URL);
	t->tenant = mem_dup(conf_text(conf, "tenant") ? conf_text(conf, "tenant") : "");
	t->options = options_read(conf, option_rows, why);
	take_fields(conf, t, why);
	take_holdings(conf, t, why);
	if (oauth_origin(t->base, &t->origin) < 0) {
		options_where(conf, "url", why);
		buf_adds(why, "url: expected an absolute URL\n");
	}
	if (why->n > before) {
		graph_destroy(t);
		return NULL;
	}
	t->batch = (size_t)json_int(t->options, "batch", GRAPH_BATCH_MAX);
	t->page = json_int(t->options, "page_size", PAGE_DEFAULT);
	t->restore = json_true(t->options, "restore", true);
	t->revoke_sessions = json_true(t->options, "revoke_sessions", true);
	t->priority = priorities[options_word(t->options, option_rows, "priority", 0)];
	return t;
}

static bool graph_token_url(const struct target *t, struct buf *out)
{
	buf_addf(out, "%s/", t->login_url);
	http_escape(out, slice_of(t->tenant));
	buf_adds(out, "/oauth2/v2.0/token");
	return true;
}

/* ---- at the start ---- */

static bool graph_check(struct target *t, size_t step, struct target_request *ret,
			const char **ret_title)
{
	ret->method = HTTP_GET;
	ret->accept = "application/json";
	if (step == 0) {
		*ret_title = "organization";
		buf_addf(&ret->url, "%s/organization?$select=id,verifiedDomains", t->base);
		return true;
	}
	if (step == 1) {
		*ret_title = "users";
		buf_addf(&ret->url, "%s/users?$select=%s&$top=1", t->base, t->select.p);
		return true;
	}
	*ret_title = "licences";
	buf_addf(&ret->url, "%s/subscribedSkus", t->base);
	return step == 2 && t->has_licences;
}

static void tell_domains(const cJSON *json, struct buf *text)
{
	const cJSON *list = json_array(json, "value"), *domains, *item;

	domains = json_array(list ? list->child : NULL, "verifiedDomains");
	buf_adds(text, "verified domains:");
	cJSON_ArrayForEach (item, domains) {
		const char *name = json_text(item, "name");

		if (name)
			buf_addf(text, " %s", name);
	}
	if (!domains || !domains->child)
		buf_adds(text, " none is shown");
}

/* Configured names must be told by the service; without them ids are enough. */
static bool skus_good(struct target *t, const cJSON *json, bool told, struct buf *text)
{
	bool good = told || t->sku_names_n == 0;

	if (told)
		graph_learn_skus(t, json);
	for (size_t i = 0; told && i < t->sku_names_n; i++) {
		if (graph_sku_id(t, t->sku_names[i]))
			continue;
		buf_addf(text, "there is no subscription %s; ", t->sku_names[i]);
		good = false;
	}
	buf_addf(text, "%zu subscriptions", t->skus_n);
	return good;
}

static bool graph_checked(struct target *t, size_t step, const struct http_response *r,
			  struct buf *text)
{
	cJSON *json = json_parse(r->body, NULL);
	bool good = r->status == 200 && json_array(json, "value");
	const char *code, *message;

	graph_error(json, &code, &message);
	if (!good)
		buf_addf(text, "status %ld %s %s", r->status, code, message);
	else if (step == 0)
		tell_domains(json, text);
	else if (step == 1)
		buf_adds(text, "users can be read");
	if (step == 2)
		good = skus_good(t, json, good, text);
	/* the organization is for people to see; its permission is not needed for the work */
	good = good || (step == 0 && r->status == 403);
	cJSON_Delete(json);
	return good;
}

/* ---- the rest of the contract ---- */

static bool graph_refuses_second(const struct target *t, const char *field)
{
	(void)t;
	(void)field;
	return false; /* a taken name is told before a taken id: only the look-up knows whose it is */
}

static unsigned graph_lane(const struct target *t, const struct target_op *op, size_t *ret_most)
{
	size_t most = t->batch / graph_parts(t, op);

	*ret_most = most ? most : 1;
	if (graph_looks_deleted(t, op))
		return LANE_FIND;
	if (op->kind == TARGET_READ && t->holdings)
		return LANE_READ;
	if (!graph_changes_licence(op))
		return LANE_REST;
	if (t->counts)
		*ret_most =
			1; /* its parts stand in a row, and a $batch is all parallel or all in a row */
	return LANE_LICENCE;
}

/* Who may not count the seats changes licences all the same. */
static bool graph_downgrade(struct target *t, const struct target_op *op,
			    const struct target_answer *answer)
{
	(void)answer;
	if (!graph_changes_licence(op))
		return false;
	t->counts = false;
	return true;
}

const struct target_driver target_graph = {
	.name = "graph",
	.version = "1",
	.request_id_header = "client-request-id",
	.refs = (const char *const[]){"manager", NULL},
	.rows = rows,
	.token_scope = "https://graph.microsoft.com/.default",
	.settle_ms = SETTLE_MS,
	.reads_are_free = true, /* GS 9: writes have a quota of their own, beside resource units */
	.create = graph_create,
	.destroy = graph_destroy,
	.token_url = graph_token_url,
	.check = graph_check,
	.checked = graph_checked,
	.refuses_second = graph_refuses_second,
	.matches = graph_matches,
	.plan = graph_plan,
	.lane = graph_lane,
	.request = graph_request,
	.answers = graph_answers,
	.downgrade = graph_downgrade,
	.list = graph_list,
	.listed = graph_listed,
};
