#include "scim.h"

static void refuse(struct scim *s, struct sim_call *call, int status, const char *type,
		   const char *detail)
{
	struct scim_error error;

	scim_fail(&error, status, type, "%s", detail);
	scim_answer_error(s, call, &error);
}

/* Cuts the base path off; false if path does not begin with it. */
static bool below_base(const struct scim *s, struct slice *path)
{
	struct slice base = slice_of(s->knobs.base_path);

	if (!slice_starts(*path, s->knobs.base_path) || path->n <= base.n || path->p[base.n] != '/')
		return false;
	*path = (struct slice){path->p + base.n + 1, path->n - base.n - 1};
	return true;
}

static const struct kind *find_kind(const struct scim *s, struct slice name)
{
	if (slice_is(name, s->entra ? "users" : "Users"))
		return &kind_user;
	return slice_is(name, s->entra ? "groups" : "Groups") ? &kind_group : NULL;
}

bool scim_writes(struct sim *sim, const struct sim_call *call)
{
	struct slice path = call->path;

	if (slice_is(call->method, "GET") || !below_base(sim->state, &path))
		return false;
	return !slice_is(path, "Bulk") && !slice_is(path, ".search") &&
	       !slice_find(path, SLICE("/.search"));
}

void scim_key(struct sim *sim, const struct sim_call *call, struct text *ret_key)
{
	struct scim *s = sim->state;
	struct slice path = call->path;
	const char *error;

	if (!below_base(s, &path))
		return;
	const struct kind *kind = find_kind(s, slice_cut(&path, '/'));
	if (!kind)
		return;
	if (path.n) {
		uint32_t number = table_find_id(scim_table(s, kind), path);

		if (number != NONE)
			text_str(ret_key, scim_table(s, kind)->entries[number].external);
	} else if (slice_is(call->method, "POST")) {
		text_slice(ret_key, json_get_string(json_parse(&sim->arena, call->body, &error),
						    "externalId"));
	}
}

/* Budgets of the dialect, whole minutes or what the knobs say. */
static bool within_budget(struct scim *s, struct sim_call *call)
{
	bool writes = scim_writes(s->sim, call);
	struct budget *budget = writes ? &s->write_budget : &s->read_budget;

	budget_set(budget, writes ? s->knobs.writes : s->knobs.reads,
		   writes ? s->knobs.writes_ms : s->knobs.reads_ms);
	int64_t wait_ms = budget_charge(budget, 1, sim_now_ms(s->sim));
	if (wait_ms <= 0)
		return true;
	refuse(s, call, 429, NULL, "Too many requests.");
	text_fmt(&call->answer->headers, "Retry-After: %lld\r\n",
		 (long long)(wait_ms + 999) / 1000);
	return false;
}

static bool query_known(struct slice query)
{
	static const char *const known[] = {
		"filter",     "startIndex",	    "count", "cursor", "sortBy", "sortOrder",
		"attributes", "excludedAttributes", NULL};

	while (query.n) {
		struct slice value = slice_cut(&query, '&');
		struct slice name = slice_cut(&value, '=');
		int i = 0;

		while (known[i] && !slice_is(name, known[i]))
			i++;
		if (!known[i])
			return false;
	}
	return true;
}

/* What holds for every request; false if it was answered. */
static bool request_good(struct scim *s, struct sim_call *call)
{
	if (call->body.n && !call->inner &&
	    !http_content_is(call->http, "application/scim+json", "application/json")) {
		refuse(s, call, 400, "invalidSyntax",
		       "Content-Type must be application/scim+json.");
		return false;
	}
	if (!query_known(call->query) && !s->knobs.ignore_unknown) {
		refuse(s, call, 400, "invalidValue", "Unknown query parameter.");
		return false;
	}
	if (s->entra && !slice_find(http_header(call->http, "accept"), SLICE("application/"))) {
		refuse(s, call, 400, "invalidSyntax", "The Accept header is missing.");
		return false;
	}
	return true;
}

static void on_collection(struct scim *s, struct sim_call *call, const struct kind *kind)
{
	if (slice_is(call->method, "GET"))
		scim_list(s, call, kind);
	else if (slice_is(call->method, "POST"))
		scim_create(s, call, kind);
	else
		refuse(s, call, 405, NULL, "The method is not allowed here.");
}

static void get_one(struct scim *s, struct sim_call *call, const struct kind *kind, uint32_t number)
{
	const struct entry *entry = &scim_table(s, kind)->entries[number];
	struct text only = {0}, without = {0}, version = {0};

	http_param(call->query, "attributes", &only);
	http_param(call->query, "excludedAttributes", &without);
	text_fmt(&version, "W/\"%u\"", entry->version);
	if (s->knobs.etag)
		text_fmt(&call->answer->headers, "ETag: %s\r\n", version.p);
	if (s->knobs.etag && slice_is(http_header(call->http, "if-none-match"), version.p)) {
		call->answer->status = 304;
	} else {
		struct projection projection = {slice_from(&only), slice_from(&without)};

		scim_answer_json(call, 200);
		scim_print(s, kind, number, call->http, &projection, &call->answer->body);
	}
	text_free(&only);
	text_free(&without);
	text_free(&version);
}

static void on_resource(struct scim *s, struct sim_call *call, const struct kind *kind,
			struct slice id)
{
	uint32_t number = table_find_id(scim_table(s, kind), id);
	struct scim_error error;

	if (number == NONE) {
		scim_fail(&error, 404, NULL, "Resource %.*s not found", (int)id.n, id.p);
		scim_answer_error(s, call, &error);
	} else if (slice_is(call->method, "GET")) {
		get_one(s, call, kind, number);
	} else if (slice_is(call->method, "PATCH")) {
		scim_patch(s, call, kind, number);
	} else if (slice_is(call->method, "PUT") && s->knobs.put) {
		scim_replace(s, call, kind, number);
	} else if (slice_is(call->method, "DELETE")) {
		scim_delete(s, call, kind, number);
	} else {
		refuse(s, call, 405, NULL, "The method is not allowed here.");
	}
}

static void route(struct scim *s, struct sim_call *call, struct slice path)
{
	struct slice rest = path;
	struct slice head = slice_cut(&rest, '/');
	const struct kind *kind = find_kind(s, head);

	if (kind && !rest.n)
		on_collection(s, call, kind);
	else if (kind && slice_is(rest, ".search") && slice_is(call->method, "POST"))
		scim_search(s, call, kind);
	else if (kind)
		on_resource(s, call, kind, rest);
	else if (slice_is(path, "Bulk") && slice_is(call->method, "POST") && !call->inner)
		scim_bulk(s, call);
	else if (!scim_discovery(s, call, path))
		refuse(s, call, 404, NULL, "There is no such endpoint.");
}

void scim_handle(struct sim *sim, struct sim_call *call)
{
	struct scim *s = sim->state;
	struct slice path = call->path;

	if (slice_is(path, "/oauth/token"))
		scim_token(s, call);
	else if (!call->inner && !scim_authorized(s, call))
		return;
	else if (!below_base(s, &path))
		refuse(s, call, 404, NULL, "There is no such endpoint.");
	else if (within_budget(s, call) && request_good(s, call))
		route(s, call, path);
}
