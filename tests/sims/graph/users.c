#include <stdlib.h>
#include <string.h>

#include "props.h"

void users_commit(struct graph *g, const struct sim_call *call, const char *kind, uint32_t number)
{
	const struct user *user = &g->dir.users[number];

	sim_commit(g->sim, call, kind, user->id, slice_of(user->immutable));
}

uint32_t users_find(struct graph *g, struct slice coded)
{
	struct text name = {0};
	uint32_t number = NONE;

	if (text_percent_decode(&name, coded, false)) {
		number = directory_find_id(&g->dir, slice_from(&name));
		if (number == NONE)
			number = directory_find_upn(&g->dir, slice_from(&name), NONE);
	}
	text_free(&name);
	if (number == NONE || !g->dir.users[number].live)
		return NONE;
	const struct user *user = &g->dir.users[number];
	bool lags = g->knobs.lag_ms && user->created_ms &&
		    sim_now_ms(g->sim) < user->created_ms + g->knobs.lag_ms;
	return lags ? NONE : number;
}

static bool conflict(struct graph *g, struct sim_call *call, const char *property)
{
	struct text message = {0};

	text_fmt(&message, "Another object with the same value for property %s already exists.",
		 property);
	graph_conflict(g, call, message.p, "ObjectConflict", property);
	text_free(&message);
	return false;
}

static bool check_unique(struct graph *g, struct sim_call *call, const struct change *change,
			 uint32_t but)
{
	if (change->upn.n && directory_find_upn(&g->dir, change->upn, but) != NONE)
		return conflict(g, call, "userPrincipalName");
	if (change->mail.n && directory_find_mail(&g->dir, change->mail, but) != NONE)
		return conflict(g, call, "proxyAddresses");
	if (change->immutable.n &&
	    directory_find_immutable(&g->dir, change->immutable, but) != NONE) {
		graph_error(
			g, call, 400, "Request_BadRequest",
			"A conflicting object with one or more of the specified property values is "
			"present in the directory.");
		return false;
	}
	return true;
}

static bool has_required(struct graph *g, struct sim_call *call, const struct change *change)
{
	static const char *const required[] = {"accountEnabled", "displayName", "mailNickname"};

	for (size_t i = 0; i < 3; i++) {
		if (!json_get(change->doc, required[i])) {
			graph_error(g, call, 400, "Request_BadRequest",
				    "A value is required for property '%s' of resource 'User'.",
				    required[i]);
			return false;
		}
	}
	if (change->upn.n && change->has_password)
		return true;
	graph_error(g, call, 400, "Request_BadRequest", "%s",
		    change->upn.n
			    ? "A password must be specified to create a new user."
			    : "A value is required for property 'userPrincipalName' of resource "
			      "'User'.");
	return false;
}

static void store(struct graph *g, uint32_t number, const struct change *change)
{
	struct user *user = &g->dir.users[number];
	struct text doc = {0};
	struct text upn = {0};

	json_write(&doc, change->doc);
	text_slice(&upn, change->upn.n ? change->upn : slice_of(user->upn));
	directory_put_user(&g->dir, number, slice_from(&doc), slice_from(&upn), change->immutable,
			   change->mail);
	user->enabled = change->enabled;
	if (change->has_password) {
		user->password = change->password;
		user->password_ms = sim_now_ms(g->sim);
	}
	text_free(&doc);
	text_free(&upn);
}

/* As the service answers: to an address of another host, to be ignored. */
static void print_location(struct graph *g, uint32_t number, struct text *out)
{
	char id[UUID_TEXT + 1];

	uuid_print(g->dir.users[number].id, id);
	text_fmt(out,
		 "Location: https://graph.microsoft.com/v2/%s/directoryObjects/%s/"
		 "Microsoft.DirectoryServices.User\r\n",
		 g->tenant, id);
}

static void create(struct graph *g, struct sim_call *call)
{
	struct text *out = &call->answer->body;
	struct change change;
	struct json *body;
	uint8_t id[16];

	if (!graph_allowed(g, call, "User.ReadWrite.All Directory.ReadWrite.All User.Create") ||
	    !graph_body(g, call, &body) || !props_merge(g, call, body, NULL, &change) ||
	    !has_required(g, call, &change) || !check_unique(g, call, &change, NONE))
		return;
	uuid_make(id, &g->sim->random);
	uint32_t number = directory_add_user(&g->dir, id);
	g->dir.users[number].created_ms = sim_now_ms(g->sim);
	store(g, number, &change);
	g->sim->stats.creates++;
	users_commit(g, call, "create", number);
	text_char(out, '{');
	graph_context(g, call, "users/$entity");
	text_str(out, "\"id\":\"");
	char text[UUID_TEXT + 1];
	uuid_print(id, text);
	text_str(out, text);
	text_char(out, '"');
	for (size_t i = 1; prop_at(i) && (prop_at(i)->flags & PROP_DEFAULT); i++) {
		text_fmt(out, ",\"%s\":", prop_at(i)->name);
		props_print(g, prop_at(i), number, change.doc, out);
	}
	text_char(out, '}');
	graph_json(call, 201);
	print_location(g, number, &call->answer->headers);
}

static void list(struct graph *g, struct sim_call *call)
{
	struct query q;
	uint32_t *numbers;
	size_t n;

	if (!graph_allowed(g, call,
			   "User.Read.All User.ReadWrite.All Directory.Read.All "
			   "Directory.ReadWrite.All User.ReadBasic.All") ||
	    !query_read(g, call, &q))
		return;
	if (query_users(g, call, &q, false, &numbers, &n)) {
		text_char(&call->answer->body, '{');
		graph_context(g, call, "users");
		query_page(g, call, &q, numbers, n, query_print_user);
		free(numbers);
	}
	query_done(&q);
}

static void get(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct query q;

	if (!graph_allowed(g, call,
			   "User.Read.All User.ReadWrite.All Directory.Read.All "
			   "Directory.ReadWrite.All User.ReadBasic.All") ||
	    !query_read(g, call, &q))
		return;
	text_char(&call->answer->body, '{');
	graph_context(g, call, "users/$entity");
	query_print_user(g, &q, number, &call->answer->body);
	text_char(&call->answer->body, '}');
	graph_json(call, 200);
	query_done(&q);
}

static bool may_change(struct graph *g, struct sim_call *call, uint32_t number, bool sensitive,
		       bool mastered)
{
	const struct user *user = &g->dir.users[number];

	if (user->roles && sensitive) {
		graph_error(g, call, 403, "Authorization_RequestDenied",
			    "Insufficient privileges to complete the operation.");
		return false;
	}
	if (!user->synced || !mastered)
		return true;
	graph_error(
		g, call, 400, "Request_BadRequest",
		"Unable to update the specified properties for on-premises mastered Directory Sync "
		"objects or objects currently undergoing migration.");
	return false;
}

static const char *word_for(const struct user *before, const struct change *change, bool same)
{
	if (before->enabled != change->enabled)
		return change->enabled ? "enable" : "disable";
	return same ? "noop" : "update";
}

static void update(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct user *user = &g->dir.users[number];
	struct change change;
	struct json *body, *before;
	const char *error;
	struct text doc = {0};

	if (!graph_allowed(g, call,
			   "User.ReadWrite.All Directory.ReadWrite.All User.ReadUpdate.All") ||
	    !graph_body(g, call, &body))
		return;
	before = json_parse(&g->sim->arena, (struct slice){user->doc, user->doc_n}, &error);
	if (!props_merge(g, call, body, before, &change) ||
	    !may_change(g, call, number, change.sensitive, change.mastered) ||
	    !check_unique(g, call, &change, number))
		return;
	json_write(&doc, change.doc);
	bool same = slice_equal(slice_from(&doc), (struct slice){user->doc, user->doc_n}) &&
		    (!change.upn.n || slice_is(change.upn, user->upn)) &&
		    (!change.has_password || change.password == user->password);
	const char *word = word_for(user, &change, same);
	text_free(&doc);
	store(g, number, &change);
	g->sim->stats.updates++;
	users_commit(g, call, word, number);
	graph_empty(call, 204);
}

static void delete_user(struct graph *g, struct sim_call *call, uint32_t number)
{
	if (!graph_allowed(g, call,
			   "User.ReadWrite.All Directory.ReadWrite.All User.DeleteRestore.All") ||
	    !may_change(g, call, number, true, true))
		return;
	g->sim->stats.deletes++;
	users_commit(g, call, "delete", number);
	directory_delete_user(&g->dir, number, sim_now_ms(g->sim));
	graph_empty(call, 204);
}

static void one(struct graph *g, struct sim_call *call, uint32_t number)
{
	if (slice_is(call->method, "GET"))
		get(g, call, number);
	else if (slice_is(call->method, "PATCH"))
		update(g, call, number);
	else if (slice_is(call->method, "DELETE"))
		delete_user(g, call, number);
	else
		graph_error(g, call, 405, "Request_BadRequest",
			    "Specified HTTP method is not allowed for the request target.");
}

static void count(struct graph *g, struct sim_call *call)
{
	if (!slice_is_nocase(http_header(call->http, "consistencylevel"), "eventual")) {
		graph_error(g, call, 400, "Request_BadRequest",
			    "$count is not currently supported without ConsistencyLevel.");
		return;
	}
	call->answer->content_type = "text/plain";
	text_number(&call->answer->body, g->dir.live_users);
}

void users_route(struct graph *g, struct sim_call *call, struct slice rest)
{
	struct slice key = slice_cut(&rest, '/');

	if (!key.n) {
		if (slice_is(call->method, "POST"))
			create(g, call);
		else if (slice_is(call->method, "GET"))
			list(g, call);
		else
			graph_error(g, call, 405, "Request_BadRequest",
				    "Specified HTTP method is not allowed for the request target.");
		return;
	}
	if (slice_is(key, "$count") || slice_is(key, "delta") || slice_is(key, "delta()")) {
		if (slice_is(key, "$count"))
			count(g, call);
		else
			delta_route(g, call);
		return;
	}
	uint32_t number = users_find(g, key);
	if (number == NONE)
		graph_not_found(g, call, key);
	else if (!rest.n)
		one(g, call, number);
	else if (!relations_route(g, call, number, rest))
		graph_error(g, call, 400, "BadRequest",
			    "Resource not found for the segment '%.*s'.", (int)rest.n, rest.p);
}

/* The canonical document of a seeded user: read-only properties are welcome here. */
static struct json *seeded_doc(struct graph *g, const struct json *object)
{
	struct json *doc = json_make(&g->sim->arena, JSON_OBJECT);

	for (size_t i = 0; prop_at(i); i++) {
		struct json *value = json_get_nocase(object, slice_of(prop_at(i)->name));

		if (value && value->type != JSON_NULL && !(prop_at(i)->flags & PROP_APART))
			json_append(doc, slice_of(prop_at(i)->name),
				    json_copy(&g->sim->arena, value));
	}
	return doc;
}

const char *users_seed(struct graph *g, const struct json *object)
{
	struct change change = {.doc = seeded_doc(g, object)};
	struct slice roles = json_get_string(object, "roles");
	uint8_t id[16];

	change.upn = json_get_string(object, "userPrincipalName");
	change.immutable = json_get_string(change.doc, "onPremisesImmutableId");
	change.mail = json_get_string(change.doc, "mail");
	change.enabled = json_get_bool(change.doc, "accountEnabled", true);
	if (!change.upn.n || directory_find_upn(&g->dir, change.upn, NONE) != NONE)
		return "a user needs a userPrincipalName of its own";
	if (change.immutable.n && directory_find_immutable(&g->dir, change.immutable, NONE) != NONE)
		return "onPremisesImmutableId is taken";
	if (!json_get(change.doc, "accountEnabled"))
		json_append(change.doc, SLICE("accountEnabled"), json_bool(&g->sim->arena, true));
	if (!uuid_read(json_get_string(object, "id"), id))
		uuid_make(id, &g->sim->random);
	uint32_t number = directory_add_user(&g->dir, id);
	store(g, number, &change);
	g->dir.users[number].synced = json_get_bool(object, "onPremisesSyncEnabled", false);
	if (roles.n)
		g->dir.users[number].roles = xdup(roles.p, roles.n);
	if (json_get(object, "licences") && licences_seed(g, number, json_get(object, "licences")))
		return "a licence names no SKU that was seeded before";
	if (json_get_bool(object, "deleted", false))
		directory_delete_user(&g->dir, number, sim_now_ms(g->sim));
	return NULL;
}
