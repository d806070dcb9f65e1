#include "graph.h"

/* Cuts /v1.0/ off; false if path does not begin with it. */
static bool below_version(struct slice *path)
{
	if (!slice_starts(*path, "/v1.0/"))
		return false;
	*path = (struct slice){path->p + 6, path->n - 6};
	return true;
}

bool graph_writes(struct sim *sim, const struct sim_call *call)
{
	struct slice path = call->path;

	(void)sim;
	return !slice_is(call->method, "GET") && below_version(&path) && !slice_is(path, "$batch");
}

void graph_key(struct sim *sim, const struct sim_call *call, struct text *ret_key)
{
	struct graph *g = sim->state;
	struct slice path = call->path;
	const char *error;

	if (!below_version(&path))
		return;
	struct slice head = slice_cut(&path, '/');
	if (slice_is(head, "directory"))
		slice_cut(&path, '/'); /* deletedItems */
	else if (!slice_is(head, "users"))
		return;
	struct slice id = slice_cut(&path, '/');
	if (id.n) {
		uint32_t number = directory_find_id(&g->dir, id);

		if (number == NONE)
			number = users_find(g, id);
		if (number != NONE)
			text_str(ret_key, g->dir.users[number].immutable);
	} else if (slice_is(call->method, "POST")) {
		text_slice(ret_key, json_get_string(json_parse(&sim->arena, call->body, &error),
						    "onPremisesImmutableId"));
	}
}

/* Resource units of a request ("Microsoft Graph service-specific throttling limits"). */
static int64_t units_of(const struct sim_call *call, struct slice path)
{
	struct text top = {0};
	int64_t units = 1, number = 100;
	struct slice rest = path;
	struct slice head = slice_cut(&rest, '/');

	if (!slice_is(call->method, "GET"))
		return 1;
	if (slice_is(head, "subscribedSkus") || slice_find(rest, SLICE("/members")))
		units = 3;
	else if ((slice_is(head, "users") && !rest.n) ||
		 slice_find(rest, SLICE("licenseDetails")) || slice_find(rest, SLICE("/memberOf")))
		units = 2;
	if (slice_find(rest, SLICE("transitiveMember")))
		units = 5;
	units -= slice_find(call->query, SLICE("select="));
	units += slice_find(call->query, SLICE("expand="));
	if (http_param(call->query, "$top", &top) && slice_number(slice_from(&top), &number))
		units -= number < 20;
	text_free(&top);
	return units < 1 ? 1 : units;
}

static void throttle(struct graph *g, struct sim_call *call, int64_t wait_ms, bool write)
{
	struct text *headers = &call->answer->headers;

	graph_error(g, call, 429, "TooManyRequests", "Please retry again later.");
	if (g->knobs.fractional_retry_after)
		text_fmt(headers, "Retry-After: %lld.%03lld\r\n", (long long)wait_ms / 1000,
			 (long long)wait_ms % 1000);
	else
		text_fmt(headers, "Retry-After: %lld\r\n", (long long)(wait_ms + 999) / 1000);
	text_fmt(headers,
		 "x-ms-throttle-scope: Tenant_Application/%s/%s/%s\r\n"
		 "x-ms-throttle-information: %s\r\n",
		 write ? "Write" : "ReadWrite", g->client_id, g->tenant,
		 write ? "WriteLimitExceeded" : "ResourceUnitLimitExceeded");
}

static bool within_budget(struct graph *g, struct sim_call *call, struct slice path)
{
	bool write = graph_writes(g->sim, call);
	int64_t now = sim_now_ms(g->sim), units = units_of(call, path), wait_ms = 0;

	budget_set(&g->write_budget, g->knobs.writes, g->knobs.writes_ms);
	budget_set(&g->unit_budget, g->knobs.units, g->knobs.units_ms);
	if (write)
		wait_ms = budget_charge(&g->write_budget, 1, now);
	if (wait_ms > 0) {
		throttle(g, call, wait_ms, true);
		return false;
	}
	wait_ms = budget_charge(&g->unit_budget, units, now);
	if (wait_ms > 0) {
		throttle(g, call, wait_ms, false);
		return false;
	}
	text_fmt(&call->answer->headers, "x-ms-resource-unit: %lld\r\n", (long long)units);
	return true;
}

static void organization(struct graph *g, struct sim_call *call)
{
	struct text *out = &call->answer->body;
	struct slice domains = slice_of(g->knobs.domains);
	bool first = true;

	if (!graph_allowed(g, call,
			   "Organization.Read.All Directory.Read.All User.Read.All "
			   "Directory.ReadWrite.All"))
		return;
	text_char(out, '{');
	graph_context(g, call, "organization");
	text_fmt(out, "\"value\":[{\"id\":\"%s\",\"displayName\":\"Contoso\",\"verifiedDomains\":[",
		 g->tenant);
	while (domains.n) {
		text_str(out, first ? "{\"name\":" : ",{\"name\":");
		text_json(out, slice_cut(&domains, ','));
		text_fmt(out,
			 ",\"isDefault\":%s,\"isInitial\":false,\"type\":\"Managed\","
			 "\"capabilities\":\"Email, OfficeCommunicationsOnline\"}",
			 first ? "true" : "false");
		first = false;
	}
	text_str(out, "]}]}");
	graph_json(call, 200);
}

/* $filter=principalId eq '…' of roleManagement/directory/roleAssignments. */
static void role_assignments(struct graph *g, struct sim_call *call)
{
	static const char prefix[] = "principalId eq '";
	struct text filter = {0};
	struct text *out = &call->answer->body;
	uint32_t number = NONE;

	if (!graph_allowed(g, call,
			   "RoleManagement.Read.Directory Directory.Read.All "
			   "RoleManagement.ReadWrite.Directory"))
		return;
	http_param(call->query, "$filter", &filter);
	if (slice_starts(slice_from(&filter), prefix) && filter.n > sizeof prefix)
		number = directory_find_id(&g->dir, (struct slice){filter.p + sizeof prefix - 1,
								   filter.n - sizeof prefix});
	text_char(out, '{');
	graph_context(g, call, "roleManagement/directory/roleAssignments");
	text_str(out, "\"value\":[");
	if (number != NONE && g->dir.users[number].roles) {
		char id[UUID_TEXT + 1];

		uuid_print(g->dir.users[number].id, id);
		text_fmt(out,
			 "{\"id\":\"%s-1\",\"principalId\":\"%s\",\"directoryScopeId\":\"/\","
			 "\"roleDefinitionId\":\"62e90394-69f5-4237-9190-012177145e10\"}",
			 id, id);
	}
	text_str(out, "]}");
	graph_json(call, 200);
	text_free(&filter);
}

static void route(struct graph *g, struct sim_call *call, struct slice path)
{
	struct slice rest = path;
	struct slice head = slice_cut(&rest, '/');
	bool reads = slice_is(call->method, "GET");

	if (slice_is(head, "users"))
		users_route(g, call, rest);
	else if (slice_is(head, "groups"))
		groups_route(g, call, rest);
	else if (slice_is(head, "directory") && slice_is(slice_cut(&rest, '/'), "deletedItems"))
		deleted_route(g, call, rest);
	else if (slice_is(path, "subscribedSkus") && reads)
		skus_list(g, call);
	else if (slice_is(path, "organization") && reads)
		organization(g, call);
	else if (slice_is(path, "roleManagement/directory/roleAssignments") && reads)
		role_assignments(g, call);
	else
		graph_error(g, call, 400, "BadRequest",
			    "Resource not found for the segment '%.*s'.", (int)head.n, head.p);
}

void graph_handle(struct sim *sim, struct sim_call *call)
{
	struct graph *g = sim->state;
	struct slice path = call->path;

	if (!call->inner && graph_login(g, call))
		return;
	if (!call->inner && !graph_authorized(g, call))
		return;
	if (!below_version(&path))
		graph_error(g, call, 400, "BadRequest", "Invalid version.");
	else if (slice_is(path, "$batch") && call->inner)
		graph_error(g, call, 400, "BadRequest", "A batch cannot hold a batch.");
	else if (slice_is(path, "$batch") && slice_is(call->method, "POST"))
		batch_route(g, call);
	else if (within_budget(g, call, path))
		route(g, call, path);
}
