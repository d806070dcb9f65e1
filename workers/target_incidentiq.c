/* Users of an Incident IQ site (API v1.0, as its published contract and collection have it). Created as local users, updated,
 * made inactive; a role by name or id, a location by name or id. There is no way to ask for a field exactly and none to write many
 * users at once: a look-up is for a text, and each hit is looked at.
 *
 * What the vendor does not say in public stands behind an option: whether an update may be light, how a look-up is spelled, which
 * words mean that a name is taken, and whether the site itself refuses a second account. */
#include "iiq_own.h"

#include <stdlib.h>
#include <string.h>

#define ON(kind) (1u << (kind))

enum { SETTLE_MS = 60000, PAGE_DEFAULT = 200 };

/* site_id           GUID of the site (Administration, Developer Tools), sent as SiteId
 * product_id        GUID, sent as ProductId
 * client            sent as Client
 * lookup            text: POST /users with SearchText; filter: with the field itself; search: POST /search/v2
 * update            light: changed fields alone; whole: the user as read, with the changes in it
 * roles             names for RoleId, beside or instead of the usual ones
 * providers         AuthenticatedBy of accounts that may be touched; one of another provider is parked
 * prevent           ignore: write accounts for which a person has set PreventProviderUpdates all the same
 * taken             words in a refusal that mean: another user has that name
 * unique            fields of which the site itself refuses a second account: no look-up before a creation
 * initial_password  true: a new account gets a random password that nobody knows */
static const struct option_row option_rows[] = {
	{"site_id", OPTION_TEXT, 0, 0, NULL},
	{"product_id", OPTION_TEXT, 0, 0, NULL},
	{"client", OPTION_TEXT, 0, 0, NULL},
	{"lookup", OPTION_WORD, 0, 0, "text|filter|search"},
	{"update", OPTION_WORD, 0, 0, "light|whole"},
	{"roles", OPTION_MAP, 0, 0, NULL},
	{"providers", OPTION_LIST, 0, 0, NULL},
	{"prevent", OPTION_WORD, 0, 0, "honour|ignore"},
	{"taken", OPTION_LIST, 0, 0, NULL},
	{"unique", OPTION_LIST, 0, 0, NULL},
	{"page_size", OPTION_INT, 1, 1000, NULL},
	{"initial_password", OPTION_BOOL, 0, 0, NULL},
	{NULL, OPTION_TYPES, 0, 0, NULL},
};

static const struct verdict_row rows[] = {
	{ON(TARGET_CREATE) | ON(TARGET_UPDATE), 400, 499, "taken", VERDICT_CLASS_EXISTS,
	 "name_taken", NULL},
	{ON(TARGET_FIND), 200, 299, "too_many_hits", VERDICT_CLASS_PARK, "too_many_hits", NULL},
	{ON(TARGET_FIND), 200, 299, "hit_not_shown", VERDICT_CLASS_PARK, "hit_not_shown", NULL},
	{ON(TARGET_STEP), 200, 299, "location_unknown", VERDICT_CLASS_PARK, "location_unknown",
	 NULL},
	{0, 400, 400, NULL, VERDICT_CLASS_REJECT, "invalid_value", NULL},
	{0, 0, 0, NULL, VERDICT_CLASSES, NULL, NULL},
};

/* Documentation of POST /users/local/new. */
static const struct {
	const char *name, *id;
} usual_roles[] = {
	{"Student", "6d5fee76-e05e-43c0-b8e9-b8447746e501"},
	{"Faculty", "6d5fee76-e05e-43c0-b8e9-b8447746e502"},
	{"Staff", "6d5fee76-e05e-43c0-b8e9-b8447746e503"},
	{"Agent", "6d5fee76-e05e-43c0-b8e9-b8447746e504"},
	{"Parent / Guardian", "6d5fee76-e05e-43c0-b8e9-b8447746e507"},
};

/* ---- configuration ---- */

static void check_needed(const struct conf_node *conf, const cJSON *mapping, struct buf *errors)
{
	static const char *const needed[] = {"FirstName", "LastName", "RoleId", "LocationId"};

	for (size_t i = 0; conf_bool(conf, "create") && i < sizeof(needed) / sizeof(needed[0]);
	     i++) {
		if (json_get(mapping, needed[i]))
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: is missing, Incident IQ requires it of a new user\n",
			 needed[i]);
	}
}

static void check_mapping(const struct conf_node *conf, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	const cJSON *item;
	cJSON *mapping;

	conf_json(conf, "mapping", &text);
	mapping = json_parse(buf_slice(&text), NULL);
	cJSON_ArrayForEach (item, mapping) {
		enum iiq_trait trait = iiq_trait(item->string);

		if (trait != IIQ_READ_ONLY && trait != IIQ_UNKNOWN)
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: %s\n", item->string,
			 trait == IIQ_UNKNOWN ? "expected the name of a user's field at Incident IQ"
					      : "is read-only, or follows by itself");
	}
	check_needed(conf, mapping, errors);
	cJSON_Delete(mapping);
	if (conf_at(conf, "groups", 0, NULL)) {
		options_where(conf, "groups", errors);
		buf_adds(errors, "groups: Incident IQ has none that users are put into\n");
	}
}

static void take_roles(cJSON *options)
{
	cJSON *roles = cJSON_GetObjectItemCaseSensitive(options, "roles");

	if (!roles)
		roles = cJSON_AddObjectToObject(options, "roles");
	for (size_t i = 0; i < sizeof(usual_roles) / sizeof(usual_roles[0]); i++) {
		if (!cJSON_GetObjectItem(roles, usual_roles[i].name))
			cJSON_AddStringToObject(roles, usual_roles[i].name, usual_roles[i].id);
	}
}

static void iiq_destroy(struct target *t)
{
	if (!t)
		return;
	free(t->base);
	cJSON_Delete(t->options);
	iiq_locations_done(t);
	free(t);
}

static void take_options(struct target *t)
{
	const cJSON *o = t->options;

	t->site_id = json_text(o, "site_id");
	t->product_id = json_text(o, "product_id");
	t->client = json_text(o, "client") ? json_text(o, "client") : "ApiClient";
	t->lookup = (enum iiq_lookup)options_word(o, option_rows, "lookup", IIQ_TEXT);
	t->whole_updates = options_word(o, option_rows, "update", 0) == 1;
	t->honours_prevention = options_word(o, option_rows, "prevent", 0) == 0;
	t->initial_password = json_true(o, "initial_password", false);
	t->page = json_int(o, "page_size", PAGE_DEFAULT);
}

static struct target *iiq_create(const struct conf_node *conf, struct buf *why)
{
	struct target *t = mem_alloc(sizeof(*t));
	size_t before = why->n, n;

	t->options = options_read(conf, option_rows, why);
	if (t->options && !json_text(t->options, "site_id")) {
		options_where(conf, "options", why);
		buf_adds(why, "options.site_id: is missing, the site's GUID\n");
	}
	check_mapping(conf, why);
	if (why->n > before) {
		iiq_destroy(t);
		return NULL;
	}
	t->base = mem_dup(conf_text(conf, "url"));
	n = strlen(t->base);
	while (n > 0 && t->base[n - 1] == '/')
		t->base[--n] = '\0';
	take_roles(t->options);
	take_options(t);
	return t;
}

/* ---- the test of the connection ---- */

static bool iiq_check(struct target *t, size_t step, struct target_request *ret,
		      const char **ret_title)
{
	if (step > 1)
		return false;
	*ret_title = step == 0 ? "locations" : "users";
	if (step == 0)
		return iiq_begin(t, HTTP_GET, "locations/all", ret) == 0;
	return iiq_users(t, NULL, 0, ret) == 0;
}

static bool iiq_checked(struct target *t, size_t step, const struct http_response *r,
			struct buf *text)
{
	cJSON *json = json_parse(r->body, NULL);
	bool good = step == 0 ? iiq_locations_learn(t, r->status, json)
			      : r->status == 200 && json_array(json, "Items");

	if (!good)
		buf_addf(text, "status %ld, no list of %s", r->status,
			 step == 0 ? "locations" : "users");
	else if (step == 0)
		buf_addf(text, "%zu locations", t->locations_n);
	else
		buf_addf(text, "users can be read (%lld)",
			 (long long)json_int(json_object(json, "Paging"), "TotalRows", 0));
	cJSON_Delete(json);
	return good;
}

/* ---- the rest of the contract ---- */

static bool iiq_refuses_second(const struct target *t, const char *field)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, json_array(t->options, "unique")) {
		if (strcmp(item->valuestring, field) == 0)
			return true;
	}
	return false;
}

static unsigned iiq_lane(const struct target *t, const struct target_op *op, size_t *ret_most)
{
	(void)t;
	(void)op;
	*ret_most = 1;
	return 0;
}

static int iiq_list(struct target *t, const char *next, struct target_request *ret)
{
	int rc = iiq_users(t, NULL, 0, ret);

	if (next) {
		buf_clear(&ret->url);
		buf_adds(&ret->url, next);
	}
	return rc;
}

const struct target_driver target_incidentiq = {
	.name = "incidentiq",
	.version = "1",
	.rows = rows,
	.settle_ms = SETTLE_MS,
	.create = iiq_create,
	.destroy = iiq_destroy,
	.check = iiq_check,
	.checked = iiq_checked,
	.refuses_second = iiq_refuses_second,
	.matches = iiq_matches,
	.plan = iiq_plan,
	.lane = iiq_lane,
	.request = iiq_request,
	.answers = iiq_answers,
	.list = iiq_list,
	.listed = iiq_listed,
};
