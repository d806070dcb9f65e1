#include <string.h>

#include "graph.h"

static bool not_allowed(struct graph *g, struct sim_call *call)
{
	graph_error(g, call, 405, "Request_BadRequest",
		    "Specified HTTP method is not allowed for the request target.");
	return true;
}

uint32_t relations_target(struct graph *g, struct slice url)
{
	const char *at = url.n ? memrchr(url.p, '/', url.n) : NULL;
	static const char *const kinds[] = {"/users/", "/directoryObjects/"};
	bool known = false;

	for (int i = 0; i < 2 && at; i++)
		known |= slice_starts(url, "https://") &&
			 memmem(url.p, url.n, kinds[i], strlen(kinds[i])) ==
				 at + 1 - strlen(kinds[i]);
	if (!known)
		return NONE;
	return users_find(g, (struct slice){at + 1, url.n - (size_t)(at + 1 - url.p)});
}

static void get_manager(struct graph *g, struct sim_call *call, uint32_t number)
{
	const struct user *user = &g->dir.users[number];
	struct query q;

	if (!user->manager || !g->dir.users[user->manager - 1].live) {
		graph_not_found(g, call, SLICE("manager"));
		return;
	}
	if (!query_read(g, call, &q))
		return;
	text_char(&call->answer->body, '{');
	graph_context(g, call, "directoryObjects/$entity");
	text_str(&call->answer->body, "\"@odata.type\":\"#microsoft.graph.user\",");
	struct text whole = {0};
	text_char(&whole, '{');
	query_print_user(g, &q, user->manager - 1, &whole);
	text_add(&call->answer->body, whole.p + 1, whole.n - 1);
	text_free(&whole);
	text_char(&call->answer->body, '}');
	graph_json(call, 200);
	query_done(&q);
}

static void put_manager(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct json *body;

	if (!graph_body(g, call, &body))
		return;
	struct slice url = json_get_string(body, "@odata.id");
	uint32_t manager = relations_target(g, url);
	if (manager == NONE) {
		graph_not_found(g, call, url);
	} else if (manager == number) {
		graph_error(g, call, 400, "Request_BadRequest",
			    "A user cannot be the manager of itself.");
	} else {
		g->dir.users[number].manager = manager + 1;
		directory_touch(&g->dir, number);
		users_commit(g, call, "manager", number);
		graph_empty(call, 204);
	}
}

static void delete_manager(struct graph *g, struct sim_call *call, uint32_t number)
{
	if (!g->dir.users[number].manager) {
		graph_not_found(g, call, SLICE("manager"));
		return;
	}
	g->dir.users[number].manager = 0;
	directory_touch(&g->dir, number);
	users_commit(g, call, "manager", number);
	graph_empty(call, 204);
}

static bool manager(struct graph *g, struct sim_call *call, uint32_t number, bool reference)
{
	bool reads = slice_is(call->method, "GET");

	if (!graph_allowed(g, call,
			   reads ? "User.Read.All User.ReadWrite.All Directory.Read.All"
				 : "User.ReadWrite.All Directory.ReadWrite.All"))
		return true;
	if (reads)
		get_manager(g, call, number);
	else if (slice_is(call->method, "PUT") && reference)
		put_manager(g, call, number);
	else if (slice_is(call->method, "DELETE") && reference)
		delete_manager(g, call, number);
	else
		return not_allowed(g, call);
	return true;
}

static bool revoke_sessions(struct graph *g, struct sim_call *call, uint32_t number)
{
	if (!slice_is(call->method, "POST"))
		return not_allowed(g, call);
	if (!graph_allowed(g, call,
			   "User.RevokeSessions.All User.ReadWrite.All Directory.ReadWrite.All"))
		return true;
	g->dir.users[number].sessions_ms = sim_now_ms(g->sim);
	users_commit(g, call, "revoke", number);
	text_char(&call->answer->body, '{');
	graph_context(g, call, "Edm.Boolean");
	text_str(&call->answer->body, "\"value\":true}");
	graph_json(call, 200);
	return true;
}

static void print_role(const struct user *user, struct text *out)
{
	text_str(out, "{\"@odata.type\":\"#microsoft.graph.directoryRole\",\"id\":"
		      "\"62e90394-69f5-4237-9190-012177145e10\",\"displayName\":");
	text_json(out, slice_of(user->roles));
	text_str(out, ",\"roleTemplateId\":\"62e90394-69f5-4237-9190-012177145e10\"}");
}

static bool member_of(struct graph *g, struct sim_call *call, uint32_t number, struct slice type)
{
	const struct user *user = &g->dir.users[number];
	struct text *out = &call->answer->body;
	bool first = true;

	if (!graph_allowed(g, call, "Directory.Read.All User.Read.All Directory.ReadWrite.All"))
		return true;
	text_char(out, '{');
	graph_context(g, call, "directoryObjects");
	text_str(out, "\"value\":[");
	if (user->roles && !slice_is(type, "microsoft.graph.group")) {
		print_role(user, out);
		first = false;
	}
	for (uint32_t i = 0; i < user->n_groups && !slice_is(type, "microsoft.graph.directoryRole");
	     i++) {
		text_str(out, first ? "{\"@odata.type\":\"#microsoft.graph.group\","
				    : ",{\"@odata.type\":\"#microsoft.graph.group\",");
		groups_print(g, user->groups[i], out);
		text_char(out, '}');
		first = false;
	}
	text_str(out, "]}");
	graph_json(call, 200);
	return true;
}

bool relations_route(struct graph *g, struct sim_call *call, uint32_t number, struct slice rest)
{
	struct slice name = slice_cut(&rest, '/');

	if (slice_is(name, "manager") && (!rest.n || slice_is(rest, "$ref")))
		return manager(g, call, number, rest.n > 0);
	if (slice_is(name, "memberOf") || slice_is(name, "transitiveMemberOf"))
		return member_of(g, call, number, rest);
	if (rest.n)
		return false;
	if (slice_is(name, "assignLicense") || slice_is(name, "microsoft.graph.assignLicense"))
		return licences_assign(g, call, number);
	if (slice_is(name, "revokeSignInSessions"))
		return revoke_sessions(g, call, number);
	return slice_is(name, "licenseDetails") && licences_details(g, call, number);
}
