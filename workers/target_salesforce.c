/* Users of Salesforce through its REST API. A user is made by upsert with an external id, so that a creation done twice makes one;
 * several at once travel in a collection. Users are never deleted there: who leaves is deactivated or frozen. */
#include "salesforce_own.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ON(kind) (1u << (kind))
#define WRITE	 (ON(TARGET_CREATE) | ON(TARGET_UPDATE) | ON(TARGET_STEP))

enum { SETTLE_MS = 5000, DAY_MS = 24 * 60 * 60 * 1000, SLOW_MS = 1000, STOP_MS = 5 * 60 * 1000 };

/* external_id	     a unique external id field of User (DirectoryId__c): accounts are made by upsert with it; it is the first rule
 *		     of join
 * api_version	     of the REST API
 * disable_by	     deactivate; freeze (keeps the licence); both (frozen first)
 * batch	     users in one collection or query
 * email_wait_days   a changed address is asked for again when it was not confirmed for so long
 * limit_slow, limit_stop   percent of the day's API requests at which work slows down, and pauses
 * time_zone, locale, email_encoding, language	 of new users where they are not mapped
 * privileged_profiles	 who has one of them is never joined by a soft rule */
static const struct option_row option_rows[] = {
	{"external_id", OPTION_TEXT, 0, 0, NULL},
	{"api_version", OPTION_INT, 50, 999, NULL},
	{"disable_by", OPTION_WORD, 0, 0, "deactivate|freeze|both"},
	{"batch", OPTION_INT, 1, SALESFORCE_COLLECTION, NULL},
	{"email_wait_days", OPTION_INT, 1, 365, NULL},
	{"limit_slow", OPTION_INT, 1, 100, NULL},
	{"limit_stop", OPTION_INT, 1, 100, NULL},
	{"time_zone", OPTION_TEXT, 0, 0, NULL},
	{"locale", OPTION_TEXT, 0, 0, NULL},
	{"email_encoding", OPTION_TEXT, 0, 0, NULL},
	{"language", OPTION_TEXT, 0, 0, NULL},
	{"privileged_profiles", OPTION_LIST, 0, 0, NULL},
	{NULL, OPTION_TYPES, 0, 0, NULL},
};

/* Fact sheet A6. Rows of collections bring the same words. */
static const struct verdict_row rows[] = {
	{0, 300, 300, NULL, VERDICT_CLASS_PARK, "ambiguous", NULL},
	{0, 0, 0, "UNABLE_TO_LOCK_ROW*", VERDICT_CLASS_RETRY, "locked", NULL},
	{0, 0, 0, "REQUEST_LIMIT_EXCEEDED/Concurrent", VERDICT_CLASS_THROTTLED, "concurrent_limit",
	 NULL},
	{0, 0, 0, "REQUEST_LIMIT_EXCEEDED*", VERDICT_CLASS_THROTTLED, "daily_limit", NULL},
	{0, 0, 0, "API_DISABLED_FOR_ORG", VERDICT_CLASS_AUTH, "api_disabled", NULL},
	{0, 0, 0, "API_CURRENTLY_DISABLED", VERDICT_CLASS_AUTH, "api_disabled", NULL},
	{0, 0, 0, "INVALID_OPERATION_WITH_EXPIRED_PASSWORD", VERDICT_CLASS_AUTH, "password_expired",
	 NULL},
	{0, 0, 0, "UNKNOWN_EXCEPTION", VERDICT_CLASS_RETRY, "server_error", NULL},
	{ON(TARGET_STEP), 0, 0, "DUPLICATE_VALUE*", VERDICT_CLASS_OK, NULL, NULL},
	{0, 0, 0, "LICENSE_LIMIT_EXCEEDED", VERDICT_CLASS_PARK, "no_seat", "seat:"},
	{ON(TARGET_CREATE), 0, 0, "DUPLICATE_USERNAME", VERDICT_CLASS_EXISTS, "name_taken", NULL},
	{ON(TARGET_CREATE), 0, 0, "DUPLICATE_VALUE*", VERDICT_CLASS_EXISTS, "value_taken", NULL},
	{ON(TARGET_UPDATE), 0, 0, "DUPLICATE_USERNAME", VERDICT_CLASS_PARK, "name_taken", "name:"},
	{ON(TARGET_UPDATE), 0, 0, "DUPLICATE_VALUE*", VERDICT_CLASS_PARK, "value_taken", "name:"},
	{0, 0, 0, "DUPLICATE_COMM_NICKNAME", VERDICT_CLASS_PARK, "nickname_taken", NULL},
	{0, 0, 0, "REQUIRED_FIELD_MISSING", VERDICT_CLASS_REJECT, "mandatory_missing", NULL},
	{0, 0, 0, "INVALID_CROSS_REFERENCE_KEY*", VERDICT_CLASS_RETRY, "stale_reference", NULL},
	{ON(TARGET_STEP), 404, 404, "unknown_name", VERDICT_CLASS_PARK, "unknown_name", NULL},
	{ON(TARGET_STEP), 404, 404, "ambiguous_name", VERDICT_CLASS_PARK, "ambiguous_name", NULL},
	{WRITE, 0, 0, "CANNOT_DISABLE_LAST_ADMIN", VERDICT_CLASS_REJECT, "cannot_deactivate", NULL},
	{WRITE, 0, 0, "ENTITY_IS_DELETED", VERDICT_CLASS_GONE, "not_found", NULL},
	{WRITE, 0, 0, "MALFORMED_ID", VERDICT_CLASS_GONE, "not_found", NULL},
	{WRITE, 0, 0, "STRING_TOO_LONG", VERDICT_CLASS_REJECT, "too_long", NULL},
	{WRITE, 400, 400, "INVALID_EMAIL_ADDRESS", VERDICT_CLASS_REJECT, "invalid_value", NULL},
	{WRITE, 400, 400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", VERDICT_CLASS_REJECT,
	 "invalid_value", NULL},
	{WRITE, 400, 400, "FIELD_INTEGRITY_EXCEPTION", VERDICT_CLASS_REJECT, "invalid_value", NULL},
	{WRITE, 400, 400, "INVALID_FIELD*", VERDICT_CLASS_REJECT, "field_unknown", NULL},
	{0, 0, 0, NULL, VERDICT_CLASSES, NULL, NULL},
};

static const char *const domains[] = {".salesforce.com", ".force.com", NULL};

/* Fact sheet A2. */
static const struct oauth_hint hints[] = {
	{"invalid_client_id", NULL,
	 "there is no app with this auth.client_id: create an external client app"},
	{"invalid_client", NULL, "auth.client_secret is wrong"},
	{"invalid_grant", "authentication failure",
	 "auth.username, auth.password or auth.security_token is wrong, or this host's address is "
	 "not trusted"},
	{"invalid_grant", "audience",
	 "auth.audience must be https://login.salesforce.com, or https://test.salesforce.com"},
	{"invalid_grant", "expired authorization code", "this host's clock is behind"},
	{"invalid_grant", "user hasn't approved",
	 "the app must pre-authorize auth.username (permitted users: admin approved)"},
	{"invalid_grant", "invalid assertion", "the app does not know the key's certificate"},
	{"invalid_grant", "no client credentials user", "the app needs a run-as user"},
	{"unsupported_grant_type", NULL, "this org or app does not allow auth.method"},
	{NULL, NULL, NULL},
};

/* ---- configuration ---- */

static bool field_name(const char *name)
{
	for (const char *p = name; *p; p++) {
		if (!isalnum((unsigned char)*p) && *p != '_')
			return false;
	}
	return *name != '\0';
}

static void add_select(struct buf *select, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = select->p; p && *p; p += strcspn(p, ",")) {
		p += *p == ',';
		if (strcspn(p, ",") == n && strncasecmp(p, name, n) == 0)
			return;
	}
	if (select->n)
		buf_addc(select, ',');
	buf_adds(select, name);
}

static void check_needed(const struct conf_node *conf, const cJSON *mapping, struct buf *errors)
{
	static const char *const needed[] = {"Username", "LastName", "Email", "ProfileId"};

	for (size_t i = 0; conf_bool(conf, "create") && i < 4; i++) {
		if (cJSON_GetObjectItem(mapping, needed[i]))
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: is missing, Salesforce requires it of a new user\n",
			 needed[i]);
	}
}

static void take_mapping(const struct conf_node *conf, struct target *t, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	const cJSON *item;
	cJSON *mapping;

	conf_json(conf, "mapping", &text);
	mapping = json_parse(buf_slice(&text), NULL);
	check_needed(conf, mapping, errors);
	cJSON_ArrayForEach (item, mapping) {
		enum salesforce_trait trait = salesforce_trait(item->string);
		const char *wrong = !field_name(item->string)
					    ? "expected the name of a field of User"
				    : trait == SALESFORCE_READ_ONLY ? "cannot be written"
				    : trait == SALESFORCE_OURS	    ? "is written by itself"
								    : NULL;

		add_select(&t->select, item->string);
		buf_addf(&t->mapped, "%s\n", item->string);
		if (!wrong)
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: %s\n", item->string, wrong);
	}
	cJSON_Delete(mapping);
}

static void take_join(const struct conf_node *conf, struct target *t, struct buf *errors)
{
	const struct conf_node *rule;

	for (size_t i = 0; (rule = conf_at(conf, "join", i, NULL)); i++) {
		const char *remote = conf_text(rule, "remote");

		add_select(&t->select, remote);
		if (i == 0 && t->external && strcasecmp(remote, t->external) != 0) {
			options_where(rule, "remote", errors);
			buf_addf(errors,
				 "join: remote: the first rule must be options.external_id, %s\n",
				 t->external);
		}
		if (!field_name(remote)) {
			options_where(rule, "remote", errors);
			buf_adds(errors, "join: remote: expected the name of a field of User\n");
		}
	}
}

/* Who gets what by group; and what the policy may do about it. */
static void take_holdings(const struct conf_node *conf, struct target *t, struct buf *errors)
{
	const struct conf_node *policy = conf_section(conf, "licence_policy"), *rule;

	t->holds = conf_at(conf, "licences", 0, NULL) || conf_at(conf, "groups", 0, NULL) ||
		   conf_item(policy, "revoke_when", 0);
	for (size_t i = 0; (rule = conf_at(conf, "groups", i, NULL)); i++) {
		if (salesforce_kind_named(conf_text(rule, "kind")))
			continue;
		options_where(rule, "kind", errors);
		buf_adds(errors,
			 "groups: kind: driver salesforce expects permission_set or group\n");
	}
	if (strcmp(conf_text(policy, "action"), "deactivate") != 0)
		return;
	options_where(policy, "action", errors);
	buf_adds(errors, "licence_policy.action: driver salesforce expects strip or freeze\n");
}

static void take_options(const struct conf_node *conf, struct target *t)
{
	const cJSON *o = t->options;

	t->external = json_text(o, "external_id");
	t->version = mem_alloc(16);
	snprintf(t->version, 16, "%" PRId64 ".0", json_int(o, "api_version", 62));
	buf_addf(&t->root, "/services/data/v%s", t->version);
	t->disable = (enum salesforce_disable)options_word(o, option_rows, "disable_by", 0);
	t->batch = (size_t)json_int(o, "batch", SALESFORCE_COLLECTION);
	t->email_wait_ms = json_int(o, "email_wait_days", 14) * DAY_MS;
	t->slow = json_int(o, "limit_slow", 85);
	t->stop = json_int(o, "limit_stop", 95);
	t->deletes = strcmp(conf_text(conf, "leave"), "delete") == 0;
}

static void salesforce_destroy(struct target *t)
{
	if (!t)
		return;
	salesforce_forget(t);
	free(t->origin);
	free(t->version);
	free(t->login_url);
	buf_done(&t->root);
	buf_done(&t->select);
	buf_done(&t->mapped);
	cJSON_Delete(t->options);
	free(t);
}

static struct target *salesforce_create(const struct conf_node *conf, struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf origin = {0};
	struct target *t = mem_alloc(sizeof(*t));
	const char *login = conf_text(conf, "login_url");
	size_t before = why->n;

	t->options = options_read(conf, option_rows, why);
	if (t->options)
		take_options(conf, t);
	buf_adds(&t->select, "Id,IsActive,Username,Email,ProfileId,UserRoleId,ManagerId");
	take_mapping(conf, t, why);
	take_join(conf, t, why);
	take_holdings(conf, t, why);
	if (oauth_origin(conf_text(conf, "url"), &origin) < 0) {
		options_where(conf, "url", why);
		buf_adds(why, "url: expected https://HOST\n");
	}
	if (t->external && !field_name(t->external)) {
		options_where(conf, "options", why);
		buf_adds(why, "options.external_id: expected the name of a field of User\n");
	}
	if (why->n > before) {
		salesforce_destroy(t);
		return NULL;
	}
	t->origin = buf_steal(&origin);
	t->login_url = mem_dup(login ? login : t->origin);
	return t;
}

static bool salesforce_token_url(const struct target *t, struct buf *out)
{
	size_t n = strlen(t->login_url);

	while (n > 0 && t->login_url[n - 1] == '/')
		n--;
	buf_add(out, t->login_url, n);
	buf_adds(out, "/services/oauth2/token");
	return true;
}

static void salesforce_moved(struct target *t, const char *base)
{
	free(t->origin);
	t->origin = mem_dup(base);
}

static int64_t salesforce_rest(const struct target *t, const char **ret_reason)
{
	int64_t percent = t->most ? t->used * 100 / t->most : 0;

	*ret_reason = percent >= t->stop ? "daily_limit" : "daily_limit_near";
	if (percent >= t->stop)
		return STOP_MS;
	return percent >= t->slow ? SLOW_MS : 0;
}

/* ---- at the start ---- */

/* Names of what the rules give, one object a step. */
static bool check_kinds(const struct target *t, size_t i, struct target_request *ret)
{
	CLEANUP(buf_cleanup) struct buf soql = {0};

	if (!t->holds || i >= SALESFORCE_KINDS)
		return false;
	buf_addf(&soql, "SELECT Id,%s FROM %s", salesforce_name_field(salesforce_kinds[i].object),
		 salesforce_kinds[i].object);
	if (strcmp(salesforce_kinds[i].object, "PermissionSet") == 0)
		buf_adds(&soql, " WHERE IsOwnedByProfile = false");
	ret->accept = "application/json";
	salesforce_query(t, buf_slice(&soql), &ret->url);
	return true;
}

static bool salesforce_check(struct target *t, size_t step, struct target_request *ret,
			     const char **ret_title)
{
	static const char *const titles[] = {"version", "fields", "profiles", "limits"};

	if (step >= 4) {
		*ret_title = "licences";
		return check_kinds(t, step - 4, ret);
	}
	*ret_title = titles[step];
	ret->method = HTTP_GET;
	ret->accept = "application/json";
	if (step == 0)
		buf_addf(&ret->url, "%s/services/data", t->origin);
	else if (step == 1)
		buf_addf(&ret->url, "%s%s/sobjects/User/describe", t->origin, t->root.p);
	else if (step == 2)
		salesforce_query(t, SLICE("SELECT Id,Name FROM Profile"), &ret->url);
	else
		buf_addf(&ret->url, "%s%s/limits", t->origin, t->root.p);
	return true;
}

static bool check_version(const struct target *t, const cJSON *json, struct buf *text)
{
	const cJSON *one;
	const char *newest = "none";

	cJSON_ArrayForEach (one, json) {
		const char *version = json_text(one, "version");

		newest = version ? version : newest;
		if (version && strcmp(version, t->version) == 0) {
			buf_addf(text, "API %s at %s", t->version, t->origin);
			return true;
		}
	}
	buf_addf(text, "the API has no version %s (the newest is %s): options.api_version",
		 t->version, newest);
	return false;
}

static const cJSON *described(const cJSON *json, struct slice name)
{
	const cJSON *field;

	cJSON_ArrayForEach (field, json_array(json, "fields")) {
		const char *its = json_text(field, "name");

		if (its && strlen(its) == name.n && strncasecmp(its, name.p, name.n) == 0)
			return field;
	}
	return NULL;
}

/* What is mapped must be there and writable, and the external id one of which the service itself refuses a second. */
static bool check_fields(const struct target *t, const cJSON *json, struct buf *text)
{
	size_t before = text->n;

	for (const char *p = t->mapped.p; p && *p; p += strcspn(p, "\n") + 1) {
		struct slice name = {p, strcspn(p, "\n")};
		const cJSON *field = described(json, name);

		if (!field)
			buf_addf(text, "%.*s: there is no such field, or it is hidden; ",
				 (int)name.n, p);
		else if (!json_true(field, "updateable", false))
			buf_addf(text, "%.*s: may not be written; ", (int)name.n, p);
	}
	if (t->external) {
		const cJSON *field = described(json, slice_of(t->external));

		if (!field)
			buf_addf(text, "%s: there is no such field; ", t->external);
		else if (!json_true(field, "externalId", false) ||
			 !json_true(field, "unique", false))
			buf_addf(text, "%s: must be an External ID and Unique; ", t->external);
	}
	if (text->n > before)
		return false;
	buf_adds(text, "every mapped field is there");
	return true;
}

/* The first page is enough: what it leaves out is looked up when it is needed. */
static bool check_names(struct target *t, const char *object, const cJSON *json, struct buf *text)
{
	const cJSON *records = json_array(json, "records"), *one;

	cJSON_ArrayForEach (one, records) {
		const char *name = json_text(one, salesforce_name_field(object));
		const char *id = json_text(one, "Id");

		if (name && id)
			salesforce_learn(t, object, name, id);
	}
	buf_addf(text, "%s: %d names", object, cJSON_GetArraySize(records));
	return records != NULL;
}

static void tell_limits(const struct target *t, struct buf *text)
{
	if (t->most)
		buf_addf(text, "%" PRId64 " of %" PRId64 " API requests of the day are used",
			 t->used, t->most);
	else
		buf_adds(text, "the day's API requests are not told");
	if (t->deletes)
		buf_adds(text, "; users are never deleted here: leave: delete deactivates");
}

static void tell_error(const struct http_response *r, const cJSON *json, struct buf *text)
{
	struct salesforce_error e = salesforce_error_of(json);

	buf_addf(text, "status %ld %s %s", r->status, e.code, e.message);
	if (strcmp(e.code, "API_DISABLED_FOR_ORG") == 0 ||
	    strcmp(e.code, "API_CURRENTLY_DISABLED") == 0)
		buf_adds(text,
			 "; the edition or the user's profile has no API access (API Enabled)");
}

static bool salesforce_checked(struct target *t, size_t step, const struct http_response *r,
			       struct buf *text)
{
	cJSON *json = json_parse(r->body, NULL);
	bool good = r->status == 200;

	salesforce_take_usage(t, r);
	if (step == 3) /* for people to see; its permission is not needed for the work */
		tell_limits(t, text);
	else if (!good)
		tell_error(r, json, text);
	else if (step == 0)
		good = check_version(t, json, text);
	else if (step == 1)
		good = check_fields(t, json, text);
	else
		good = check_names(t, step == 2 ? "Profile" : salesforce_kinds[step - 4].object,
				   json, text);
	cJSON_Delete(json);
	return good || step == 3;
}

/* ---- the rest of the contract ---- */

/* A user name is refused in all orgs. An upsert refuses nothing: it would write to the account that is there before it is
 * claimed, so that one is looked for first. */
static bool salesforce_refuses_second(const struct target *t, const char *field)
{
	return !t->external && strcasecmp(field, "Username") == 0;
}

const struct target_driver target_salesforce = {
	.name = "salesforce",
	.version = "1",
	.refs = (const char *const[]){"manager", NULL},
	.rows = rows,
	.token_base = "instance_url",
	.token_domains = domains,
	.token_hints = hints,
	.settle_ms = SETTLE_MS,
	.create = salesforce_create,
	.destroy = salesforce_destroy,
	.token_url = salesforce_token_url,
	.moved = salesforce_moved,
	.rest = salesforce_rest,
	.check = salesforce_check,
	.checked = salesforce_checked,
	.refuses_second = salesforce_refuses_second,
	.matches = salesforce_matches,
	.plan = salesforce_plan,
	.lane = salesforce_lane,
	.request = salesforce_request,
	.answers = salesforce_answers,
	.downgrade = NULL,
	.list = salesforce_list,
	.listed = salesforce_listed,
};
