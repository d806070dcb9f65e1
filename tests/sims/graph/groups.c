#include <stdlib.h>

#include "graph.h"

enum { BIND_MAX = 20 };

static const char may_read[] = "GroupMember.Read.All GroupMember.ReadWrite.All Group.Read.All "
			       "Group.ReadWrite.All Directory.Read.All Directory.ReadWrite.All";
static const char may_write[] = "Group.ReadWrite.All Directory.ReadWrite.All";
static const char may_write_members[] =
	"GroupMember.ReadWrite.All Group.ReadWrite.All Directory.ReadWrite.All";

static void commit(struct graph *g, const struct sim_call *call, const char *kind, uint32_t group,
		   uint32_t user)
{
	struct slice key = {0};

	if (user != NONE)
		key = slice_of(g->dir.users[user].immutable);
	sim_commit(g->sim, call, kind, g->dir.groups[group].id, key);
}

void groups_print(struct graph *g, uint32_t number, struct text *out)
{
	const struct group *group = &g->dir.groups[number];
	char id[UUID_TEXT + 1];

	uuid_print(group->id, id);
	text_fmt(out, "\"id\":\"%s\",\"displayName\":", id);
	text_json(out, slice_of(group->name));
	text_fmt(out,
		 ",\"groupTypes\":[%s],\"mailEnabled\":false,\"securityEnabled\":true,"
		 "\"onPremisesSyncEnabled\":%s",
		 group->dynamic ? "\"DynamicMembership\"" : "", group->synced ? "true" : "null");
}

static bool changeable(struct graph *g, struct sim_call *call, uint32_t number)
{
	const struct group *group = &g->dir.groups[number];

	if (!group->dynamic && !group->synced)
		return true;
	graph_error(g, call, 400, "Request_BadRequest", "%s",
		    group->dynamic
			    ? "Updating the membership of a dynamic group is not allowed."
			    : "Unable to update the specified properties for on-premises mastered "
			      "Directory Sync objects or objects currently undergoing migration.");
	return false;
}

static void exists_already(struct graph *g, struct sim_call *call)
{
	graph_error(g, call, 400, "Request_BadRequest",
		    "One or more added object references already exist for the following modified "
		    "properties: 'members'.");
}

static void add_member(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct json *body;

	if (!graph_allowed(g, call, may_write_members) || !changeable(g, call, number) ||
	    !graph_body(g, call, &body))
		return;
	struct slice url = json_get_string(body, "@odata.id");
	uint32_t user = relations_target(g, url);
	if (user == NONE) {
		graph_not_found(g, call, url);
	} else if (directory_is_member(&g->dir, number, user)) {
		exists_already(g, call);
	} else {
		directory_add_member(&g->dir, number, user);
		commit(g, call, "member_add", number, user);
		graph_empty(call, 204);
	}
}

/* All or nothing. */
static void bind_members(struct graph *g, struct sim_call *call, uint32_t number,
			 const struct json *list)
{
	uint32_t users[BIND_MAX];
	size_t n = 0;

	if (list->type != JSON_ARRAY || list->count > BIND_MAX) {
		graph_error(
			g, call, 400, "Request_BadRequest",
			"The number of references in members@odata.bind exceeds the limit of 20.");
		return;
	}
	JSON_EACH(item, list)
	{
		users[n] = relations_target(g, item->string);
		if (users[n] == NONE) {
			graph_not_found(g, call, item->string);
			return;
		}
		if (directory_is_member(&g->dir, number, users[n++])) {
			exists_already(g, call);
			return;
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (directory_is_member(&g->dir, number, users[i]))
			continue; /* named twice */
		directory_add_member(&g->dir, number, users[i]);
		commit(g, call, "member_add", number, users[i]);
	}
	graph_empty(call, 204);
}

static void remove_member(struct graph *g, struct sim_call *call, uint32_t number, struct slice id)
{
	uint32_t user = users_find(g, id);

	if (!graph_allowed(g, call, may_write_members) || !changeable(g, call, number))
		return;
	if (user == NONE || !directory_remove_member(&g->dir, number, user)) {
		graph_not_found(g, call, id);
		return;
	}
	commit(g, call, "member_remove", number, user);
	graph_empty(call, 204);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_member(struct graph *g, const struct query *q, uint32_t number, struct text *out)
{
	struct text user = {0};

	text_char(&user, '{');
	query_print_user(g, q, number, &user);
	text_str(out, "\"@odata.type\":\"#microsoft.graph.user\",");
	text_add(out, user.p + 1, user.n - 1);
	text_free(&user);
}

static void list_members(struct graph *g, struct sim_call *call, uint32_t number)
{
	const struct group *group = &g->dir.groups[number];
	struct query q;

	if (!graph_allowed(g, call, may_read) || !query_read(g, call, &q))
		return;
	uint32_t *sorted = xalloc(group->n_members * sizeof *sorted);
	for (uint32_t i = 0; i < group->n_members; i++)
		sorted[i] = group->members[i];
	qsort(sorted, group->n_members, sizeof *sorted, by_number);
	text_char(&call->answer->body, '{');
	graph_context(g, call, "directoryObjects");
	query_page(g, call, &q, sorted, group->n_members, print_member);
	free(sorted);
	query_done(&q);
}

static void one(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct json *body;

	if (slice_is(call->method, "GET")) {
		if (!graph_allowed(g, call, may_read))
			return;
		text_char(&call->answer->body, '{');
		graph_context(g, call, "groups/$entity");
		groups_print(g, number, &call->answer->body);
		text_char(&call->answer->body, '}');
		graph_json(call, 200);
	} else if (slice_is(call->method, "PATCH")) {
		if (!graph_allowed(g, call, may_write_members) || !changeable(g, call, number) ||
		    !graph_body(g, call, &body))
			return;
		if (json_get(body, "members@odata.bind") && body->count == 1)
			bind_members(g, call, number, body->first);
		else
			graph_error(g, call, 400, "Request_BadRequest",
				    "One or more property values specified are invalid.");
	} else if (slice_is(call->method, "DELETE")) {
		if (!graph_allowed(g, call, may_write))
			return;
		commit(g, call, "group_delete", number, NONE);
		directory_delete_group(&g->dir, number);
		graph_empty(call, 204);
	} else {
		graph_error(g, call, 405, "Request_BadRequest",
			    "Specified HTTP method is not allowed for the request target.");
	}
}

static void create(struct graph *g, struct sim_call *call)
{
	struct json *body;
	uint8_t id[16];

	if (!graph_allowed(g, call, may_write) || !graph_body(g, call, &body))
		return;
	struct slice name = json_get_string(body, "displayName");
	if (!name.n || name.n > 256 || !json_is_bool(json_get(body, "mailEnabled")) ||
	    !json_is_bool(json_get(body, "securityEnabled")) ||
	    !json_get_string(body, "mailNickname").n) {
		graph_error(g, call, 400, "Request_BadRequest",
			    "A value is required for displayName, mailEnabled, mailNickname and "
			    "securityEnabled of resource 'Group'.");
		return;
	}
	uuid_make(id, &g->sim->random);
	uint32_t number = directory_add_group(&g->dir, id, name);
	commit(g, call, "group_create", number, NONE);
	text_char(&call->answer->body, '{');
	graph_context(g, call, "groups/$entity");
	groups_print(g, number, &call->answer->body);
	text_char(&call->answer->body, '}');
	graph_json(call, 201);
}

/* displayName eq '…' is what clients look groups up by. */
static bool wanted_name(struct graph *g, struct sim_call *call, struct text *ret_name,
			bool *ret_given)
{
	static const char prefix[] = "displayName eq '";
	struct text filter = {0};

	*ret_given = http_param(call->query, "$filter", &filter);
	bool good = !*ret_given || (slice_starts(slice_from(&filter), prefix) &&
				    filter.n > sizeof prefix && filter.p[filter.n - 1] == '\'');
	for (size_t i = sizeof prefix - 1; good && *ret_given && i + 1 < filter.n; i++) {
		text_char(ret_name, filter.p[i]);
		i += filter.p[i] == '\'';
	}
	text_free(&filter);
	if (!good)
		graph_error(g, call, 400, "Request_UnsupportedQuery", "Unsupported Query.");
	return good;
}

static void list(struct graph *g, struct sim_call *call)
{
	struct text *out = &call->answer->body;
	struct text name = {0};
	bool named, first = true;

	if (!graph_allowed(g, call, may_read) || !wanted_name(g, call, &name, &named))
		return;
	text_char(out, '{');
	graph_context(g, call, "groups");
	text_str(out, "\"value\":[");
	for (uint32_t i = 0; i < g->dir.n_groups; i++) {
		const struct group *group = &g->dir.groups[i];

		if (!group->live || (named && !slice_is_nocase(slice_from(&name), group->name)))
			continue;
		text_str(out, first ? "{" : ",{");
		groups_print(g, i, out);
		text_char(out, '}');
		first = false;
	}
	text_str(out, "]}");
	graph_json(call, 200);
	text_free(&name);
}

static void members(struct graph *g, struct sim_call *call, uint32_t number, struct slice rest)
{
	struct slice id = slice_cut(&rest, '/');

	if (slice_is(call->method, "GET") && (!id.n || slice_is(id, "microsoft.graph.user")))
		list_members(g, call, number);
	else if (slice_is(call->method, "POST") && slice_is(id, "$ref") && !rest.n)
		add_member(g, call, number);
	else if (slice_is(call->method, "DELETE") && slice_is(rest, "$ref"))
		remove_member(g, call, number, id);
	else if (slice_is(call->method, "DELETE") && id.n && !rest.n)
		users_route(g, call, id); /* without /$ref the service deletes the user */
	else
		graph_error(g, call, 400, "BadRequest", "Resource not found for the segment.");
}

void groups_route(struct graph *g, struct sim_call *call, struct slice rest)
{
	struct slice id = slice_cut(&rest, '/');
	struct slice head;

	if (!id.n) {
		if (slice_is(call->method, "POST"))
			create(g, call);
		else if (slice_is(call->method, "GET"))
			list(g, call);
		else
			graph_error(g, call, 405, "Request_BadRequest",
				    "Specified HTTP method is not allowed for the request target.");
		return;
	}
	uint32_t number = directory_find_group(&g->dir, id);
	if (number == NONE) {
		graph_not_found(g, call, id);
		return;
	}
	head = slice_cut(&rest, '/');
	if (!head.n)
		one(g, call, number);
	else if (slice_is(head, "members"))
		members(g, call, number, rest);
	else
		graph_error(g, call, 400, "BadRequest",
			    "Resource not found for the segment '%.*s'.", (int)head.n, head.p);
}

const char *groups_seed(struct graph *g, const struct json *object)
{
	uint8_t id[16];

	if (!json_get_string(object, "displayName").n)
		return "a group needs a displayName";
	if (!uuid_read(json_get_string(object, "id"), id))
		uuid_make(id, &g->sim->random);
	uint32_t number = directory_add_group(&g->dir, id, json_get_string(object, "displayName"));
	g->dir.groups[number].dynamic = json_get_bool(object, "dynamic", false);
	g->dir.groups[number].synced = json_get_bool(object, "onPremisesSyncEnabled", false);
	if (!skus_bits(g, json_get(object, "licences"), &g->dir.groups[number].licences))
		return "a licence names no SKU that was seeded before";
	JSON_EACH(member, json_get(object, "members"))
	{
		uint32_t user = users_find(g, member->string);

		if (user == NONE)
			return "a member does not exist";
		if (!directory_is_member(&g->dir, number, user))
			directory_add_member(&g->dir, number, user);
	}
	return NULL;
}
