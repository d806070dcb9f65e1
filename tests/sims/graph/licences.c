/* Licences: assignLicense, subscribedSkus, licenseDetails; what a group brings is not to be taken from a user. */
#include <string.h>

#include "graph.h"

static bool not_allowed(struct graph *g, struct sim_call *call)
{
	graph_error(g, call, 405, "Request_BadRequest",
		    "Specified HTTP method is not allowed for the request target.");
	return true;
}

uint32_t skus_find(const struct graph *g, struct slice id)
{
	for (uint32_t i = 0; i < g->dir.n_skus; i++) {
		if (slice_is_nocase(id, g->dir.skus[i].id))
			return i;
	}
	return NONE;
}

static bool licence_fail(struct graph *g, struct sim_call *call, const char *message)
{
	graph_error(g, call, 400, "Request_BadRequest", "%s", message);
	return false;
}

static bool plans_known(const struct sku *sku, const struct json *plans)
{
	JSON_EACH(plan, plans)
	{
		bool found = false;

		for (int i = 0; i < sku->n_plans; i++)
			found |= slice_is_nocase(plan->string, sku->plans[i]);
		if (!found)
			return false;
	}
	return true;
}

/* What the arrays name, as bits; false if it was answered. */
static bool read_skus(struct graph *g, struct sim_call *call, const struct json *list, bool objects,
		      uint32_t *ret_bits)
{
	*ret_bits = 0;
	if (!json_is(list, JSON_ARRAY))
		return licence_fail(g, call, "addLicenses and removeLicenses are required.");
	JSON_EACH(item, list)
	{
		struct slice id = objects ? json_get_string(item, "skuId") : item->string;
		uint32_t sku = skus_find(g, id);

		if (sku == NONE)
			return licence_fail(
				g, call, "License assignment cannot be done for an unknown SKU.");
		if (objects && !plans_known(&g->dir.skus[sku], json_get(item, "disabledPlans")))
			return licence_fail(g, call,
					    "License assignment failed because service plan of "
					    "disabledPlans is not in the SKU.");
		*ret_bits |= 1u << sku;
	}
	return true;
}

static bool seats_free(struct graph *g, struct sim_call *call, uint32_t bits)
{
	for (uint32_t i = 0; i < g->dir.n_skus; i++) {
		const struct sku *sku = &g->dir.skus[i];

		if (!(bits >> i & 1) || sku->used < sku->seats)
			continue;
		graph_error(g, call, 400, "Request_BadRequest",
			    "Subscription with SKU %s does not have any available licenses.",
			    sku->id);
		return false;
	}
	return true;
}

static bool licence_possible(struct graph *g, struct sim_call *call, const struct user *user,
			     uint32_t add, uint32_t drop)
{
	int64_t now = sim_now_ms(g->sim);

	if (g->knobs.licence_busy_ms && user->licence_ms &&
	    now - user->licence_ms < g->knobs.licence_busy_ms) {
		graph_error(
			g, call, 409, "Directory_ConcurrencyViolation",
			"Error due to concurrent requests being made to the tenant. Please wait "
			"briefly and retry.");
		return false;
	}
	if (add && !strstr(user->doc, "\"usageLocation\":"))
		return licence_fail(g, call,
				    "License assignment cannot be done for user with invalid usage "
				    "location.");
	if (drop & ~user->licences & user->inherited)
		return licence_fail(
			g, call,
			"User license is inherited from a group membership and it cannot "
			"be removed directly from the user.");
	if (drop & ~user->licences)
		return licence_fail(g, call, "User does not have a corresponding license.");
	return seats_free(g, call, add & ~(user->licences | user->inherited));
}

static void keep_plans(struct graph *g, uint32_t number, const struct json *list)
{
	JSON_EACH(item, list)
	{
		const struct json *plans = json_get(item, "disabledPlans");
		uint32_t sku = skus_find(g, json_get_string(item, "skuId"));
		struct text text = {0};

		if (plans)
			json_write(&text, plans);
		else
			text_str(&text, "[]");
		directory_plans(&g->dir, number, sku, slice_from(&text));
		text_free(&text);
	}
}

bool licences_assign(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct user *user = &g->dir.users[number];
	struct json *body;
	uint32_t add, drop;

	if (!slice_is(call->method, "POST"))
		return not_allowed(g, call);
	if (!graph_allowed(g, call,
			   "LicenseAssignment.ReadWrite.All User.ReadWrite.All "
			   "Directory.ReadWrite.All") ||
	    !graph_body(g, call, &body) ||
	    !read_skus(g, call, json_get(body, "addLicenses"), true, &add) ||
	    !read_skus(g, call, json_get(body, "removeLicenses"), false, &drop) ||
	    !licence_possible(g, call, user, add, drop))
		return true;
	directory_license(&g->dir, number, (user->licences | add) & ~drop);
	keep_plans(g, number, json_get(body, "addLicenses"));
	user->licence_ms = sim_now_ms(g->sim);
	directory_touch(&g->dir, number);
	users_commit(g, call, "licence", number);
	text_char(&call->answer->body, '{');
	graph_context(g, call, "users/$entity");
	query_print_user(g, NULL, number, &call->answer->body);
	text_char(&call->answer->body, '}');
	graph_json(call, 200);
	return true;
}

static void print_sku(const struct graph *g, const struct sku *sku, struct text *out)
{
	text_fmt(
		out,
		"{\"id\":\"%s_%s\",\"skuId\":\"%s\",\"skuPartNumber\":\"%s\",\"appliesTo\":"
		"\"User\",\"capabilityStatus\":\"Enabled\",\"consumedUnits\":%lld,"
		"\"prepaidUnits\":{\"enabled\":%lld,\"suspended\":0,\"warning\":0,\"lockedOut\":0},"
		"\"servicePlans\":[",
		g->tenant, sku->id, sku->id, sku->part, (long long)sku->used,
		(long long)sku->seats);
	for (int i = 0; i < sku->n_plans; i++)
		text_fmt(out,
			 "%s{\"servicePlanId\":\"%s\",\"servicePlanName\":\"PLAN%d\","
			 "\"provisioningStatus\":\"Success\",\"appliesTo\":\"User\"}",
			 i ? "," : "", sku->plans[i], i);
	text_str(out, "]}");
}

void skus_list(struct graph *g, struct sim_call *call)
{
	struct text *out = &call->answer->body;

	if (!graph_allowed(g, call,
			   "LicenseAssignment.Read.All LicenseAssignment.ReadWrite.All "
			   "Organization.Read.All Directory.Read.All"))
		return;
	text_char(out, '{');
	graph_context(g, call, "subscribedSkus");
	text_str(out, "\"value\":[");
	for (uint32_t i = 0; i < g->dir.n_skus; i++) {
		text_str(out, i ? "," : "");
		print_sku(g, &g->dir.skus[i], out);
	}
	text_str(out, "]}");
	graph_json(call, 200);
}

bool licences_details(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct text *out = &call->answer->body;
	bool first = true;

	text_char(out, '{');
	graph_context(g, call, "users('')/licenseDetails");
	text_str(out, "\"value\":[");
	for (uint32_t i = 0; i < g->dir.n_skus; i++) {
		const struct sku *sku = &g->dir.skus[i];

		if (!((g->dir.users[number].licences | g->dir.users[number].inherited) >> i & 1))
			continue;
		text_fmt(out, "%s{\"id\":\"%s\",\"skuId\":\"%s\",\"skuPartNumber\":\"%s\"}",
			 first ? "" : ",", sku->id, sku->id, sku->part);
		first = false;
	}
	text_str(out, "]}");
	graph_json(call, 200);
	return true;
}

/* A SKU, or, if it is there already, what of it changed. */
const char *skus_seed(struct graph *g, const struct json *object)
{
	struct slice id = json_get_string(object, "skuId");
	struct slice part = json_get_string(object, "skuPartNumber");
	uint32_t number = skus_find(g, id);
	struct sku *sku;

	if (number == NONE &&
	    (g->dir.n_skus == SKUS_MAX || id.n != UUID_TEXT || part.n >= sizeof sku->part))
		return "a SKU needs a skuId (GUID); there can be 32";
	sku = &g->dir.skus[number == NONE ? g->dir.n_skus++ : number];
	if (number == NONE) {
		memcpy(sku->id, id.p, id.n);
		memcpy(sku->part, part.p, part.n);
	}
	sku->seats = json_get_number(object, "seats", sku->seats);
	JSON_EACH(plan, json_get(object, "servicePlans"))
	{
		if (sku->n_plans == PLANS_MAX || plan->string.n != UUID_TEXT)
			return "servicePlans are up to 16 GUIDs";
		memcpy(sku->plans[sku->n_plans++], plan->string.p, plan->string.n);
	}
	return NULL;
}

/* Positions of the SKUs that a list of ids names; false: one of them is unknown. */
bool skus_bits(const struct graph *g, const struct json *list, uint32_t *ret_bits)
{
	*ret_bits = 0;
	JSON_EACH(item, list)
	{
		uint32_t sku =
			skus_find(g, item->type == JSON_OBJECT ? json_get_string(item, "skuId")
							       : item->string);

		if (sku == NONE)
			return false;
		*ret_bits |= 1u << sku;
	}
	return true;
}

const char *licences_seed(struct graph *g, uint32_t number, const struct json *list)
{
	uint32_t bits;

	if (!skus_bits(g, list, &bits))
		return "a licence names no SKU that was seeded before";
	directory_license(&g->dir, number, bits);
	keep_plans(g, number, list);
	return NULL;
}
