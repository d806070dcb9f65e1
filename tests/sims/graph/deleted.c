#include <stdlib.h>

#include "graph.h"

static const char may_change[] =
	"User.ReadWrite.All Directory.ReadWrite.All User.DeleteRestore.All";
static const char may_read[] = "User.Read.All User.ReadWrite.All Directory.Read.All "
			       "Directory.ReadWrite.All User.DeleteRestore.All";

/* As in the directory, but for the user principal name: the id without dashes stands before it. */
static void print(struct graph *g, const struct query *q, uint32_t number, struct text *out)
{
	struct user *user = &g->dir.users[number];
	struct text mangled = {0};
	char id[UUID_TEXT + 1];
	char *upn = user->upn;

	uuid_print(user->id, id);
	for (const char *c = id; *c; c++) {
		if (*c != '-')
			text_char(&mangled, *c);
	}
	text_str(&mangled, upn);
	user->upn = mangled.p;
	query_print_user(g, q, number, out);
	user->upn = upn;
	text_free(&mangled);
}

static void list(struct graph *g, struct sim_call *call)
{
	struct query q;
	uint32_t *numbers;
	size_t n;

	if (!graph_allowed(g, call, may_read) || !query_read(g, call, &q))
		return;
	if (query_users(g, call, &q, true, &numbers, &n)) {
		text_char(&call->answer->body, '{');
		graph_context(g, call, "directoryObjects");
		query_page(g, call, &q, numbers, n, print);
		free(numbers);
	}
	query_done(&q);
}

static void restore(struct graph *g, struct sim_call *call, uint32_t number)
{
	const struct user *user = &g->dir.users[number];

	if (directory_find_upn(&g->dir, slice_of(user->upn), number) != NONE ||
	    (*user->mail && directory_find_mail(&g->dir, slice_of(user->mail), number) != NONE)) {
		graph_conflict(
			g, call,
			"Another object with the same value for property userPrincipalName already "
			"exists.",
			"ObjectConflict", "userPrincipalName");
		return;
	}
	directory_restore_user(&g->dir, number);
	users_commit(g, call, "restore", number);
	text_char(&call->answer->body, '{');
	graph_context(g, call, "directoryObjects/$entity");
	text_str(&call->answer->body, "\"@odata.type\":\"#microsoft.graph.user\"");
	struct text whole = {0};
	text_char(&whole, '{');
	query_print_user(g, NULL, number, &whole);
	text_char(&call->answer->body, ',');
	text_add(&call->answer->body, whole.p + 1, whole.n - 1);
	text_free(&whole);
	text_char(&call->answer->body, '}');
	graph_json(call, 200);
}

static void one(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct query q;

	if (slice_is(call->method, "DELETE")) {
		if (!graph_allowed(g, call, may_change))
			return;
		users_commit(g, call, "purge", number);
		directory_purge_user(&g->dir, number);
		graph_empty(call, 204);
	} else if (slice_is(call->method, "GET")) {
		if (!graph_allowed(g, call, may_read) || !query_read(g, call, &q))
			return;
		text_char(&call->answer->body, '{');
		graph_context(g, call, "directoryObjects/$entity");
		struct text whole = {0};
		text_char(&whole, '{');
		print(g, &q, number, &whole);
		text_str(&call->answer->body, "\"@odata.type\":\"#microsoft.graph.user\",");
		text_add(&call->answer->body, whole.p + 1, whole.n - 1);
		text_free(&whole);
		text_char(&call->answer->body, '}');
		graph_json(call, 200);
		query_done(&q);
	} else {
		graph_error(g, call, 405, "Request_BadRequest",
			    "Specified HTTP method is not allowed for the request target.");
	}
}

void deleted_route(struct graph *g, struct sim_call *call, struct slice rest)
{
	struct slice key = slice_cut(&rest, '/');

	if (slice_is(key, "microsoft.graph.user") || slice_is(key, "graph.user")) {
		list(g, call);
		return;
	}
	uint32_t number = directory_find_id(&g->dir, key);
	if (number == NONE || g->dir.users[number].live)
		graph_not_found(g, call, key);
	else if (slice_is(rest, "restore") && slice_is(call->method, "POST")) {
		if (graph_allowed(g, call, may_change))
			restore(g, call, number);
	} else if (!rest.n)
		one(g, call, number);
	else
		graph_error(g, call, 400, "BadRequest",
			    "Resource not found for the segment '%.*s'.", (int)rest.n, rest.p);
}
