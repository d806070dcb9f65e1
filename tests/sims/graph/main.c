/*
 * dirpipe-sim-graph: a strict Microsoft Graph v1.0 and its login service for the tests: users, groups,
 * licences, deleted items, delta, $batch. common/sim.h describes the command line and the admin
 * interface; beside those:
 *   --tenant GUID --client-id GUID
 *   --client-secret-file FILE, --client-cert FILE (PEM; PS256 or RS256 assertions)
 *   knobs         struct graph_knobs in graph.h; the vendor's budgets are off until set:
 *                 {"writes": 3000, "units": 8000}
 *   POST /seed    {"users": [{properties, "id", "roles": "Global Administrator" (privileged),
 *                 "onPremisesSyncEnabled": true, "deleted": true, "licences": [ids, or {"skuId",
 *                 "disabledPlans"}]}], "groups": [{"displayName", "id", "members": [ids or names],
 *                 "dynamic", "onPremisesSyncEnabled", "licences": [ids]}],
 *                 "skus": [{"skuId", "skuPartNumber", "seats", "servicePlans": [ids]}]}; a SKU that
 *                 is there gets other seats
 * /v1.0 is the API, /TENANT/oauth2/v2.0/token the token endpoint, both on one port.
 */
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "props.h"

extern struct graph graph_state;
struct graph graph_state;

static void on_error(struct sim *sim, struct sim_call *call, int status, const char *text)
{
	graph_error(sim->state, call, status, "InternalServerError", "%s", text);
}

static uint32_t on_count(struct sim *sim, bool groups)
{
	const struct directory *dir = &((struct graph *)sim->state)->dir;

	return groups ? dir->n_groups : dir->n_users;
}

static bool on_live(struct sim *sim, bool groups, uint32_t number)
{
	const struct directory *dir = &((struct graph *)sim->state)->dir;

	return groups ? dir->groups[number].live : dir->users[number].live;
}

/* Groups stay in the order of their making. */
static int by_key(struct sim *sim, bool groups, uint32_t a, uint32_t b)
{
	const struct directory *dir = &((struct graph *)sim->state)->dir;

	if (groups)
		return a < b ? -1 : 1;
	int order = strcmp(dir->users[a].immutable, dir->users[b].immutable);

	return order ? order : strcmp(dir->users[a].upn, dir->users[b].upn);
}

static void print_group(struct graph *g, uint32_t number, struct text *out)
{
	const struct group *group = &g->dir.groups[number];
	char id[UUID_TEXT + 1];

	text_char(out, '{');
	groups_print(g, number, out);
	text_str(out, ",\"members\":[");
	for (uint32_t i = 0; i < group->n_members; i++) {
		uuid_print(g->dir.users[group->members[i]].id, id);
		text_fmt(out, "%s\"%s\"", i ? "," : "", id);
	}
	text_str(out, "]}");
}

/* id, userPrincipalName, what is set, licences and manager if there are any. */
static void print_user(struct graph *g, uint32_t number, struct text *out)
{
	const struct user *user = &g->dir.users[number];
	char id[UUID_TEXT + 1];

	uuid_print(user->id, id);
	text_fmt(out, "{\"id\":\"%s\",\"userPrincipalName\":", id);
	text_json(out, slice_of(user->upn));
	if (user->doc_n > 2) {
		text_char(out, ',');
		text_add(out, user->doc + 1, user->doc_n - 2);
	}
	if (user->licences | user->inherited) {
		text_str(out, ",\"assignedLicenses\":");
		props_print(g, prop_find(SLICE("assignedLicenses")), number, NULL, out);
	}
	if (user->manager) {
		uuid_print(g->dir.users[user->manager - 1].id, id);
		text_fmt(out, ",\"manager\":\"%s\"", id);
	}
	text_char(out, '}');
}

static void on_print(struct sim *sim, bool groups, uint32_t number, struct text *out)
{
	struct graph *g = sim->state;

	if (groups && g->dir.groups[number].live)
		print_group(g, number, out);
	else if (!groups && g->dir.users[number].live)
		print_user(g, number, out);
}

static const char *seed_sku(struct sim *sim, const struct json *object)
{
	return skus_seed(sim->state, object);
}

static const char *seed_user(struct sim *sim, const struct json *object)
{
	return users_seed(sim->state, object);
}

static const char *seed_group(struct sim *sim, const struct json *object)
{
	return groups_seed(sim->state, object);
}

static const struct sim_seed seeds[] = {
	{"skus", seed_sku}, {"users", seed_user}, {"groups", seed_group}, {NULL, NULL}};

static void on_stats(struct sim *sim, struct text *out)
{
	const struct graph *g = sim->state;

	text_fmt(out, ",\"users\":%u,\"groups\":%u,\"tokens\":%llu", g->dir.live_users,
		 g->dir.live_groups, (unsigned long long)g->tokens_given);
}

static void on_reset(struct sim *sim)
{
	struct graph *g = sim->state;

	directory_clear(&g->dir);
	g->write_budget = g->unit_budget = (struct budget){0};
	memset(g->tokens, 0, sizeof g->tokens);
	g->tokens_given = 0;
}

static const char *read_cert(struct graph *g, const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return "the file cannot be read";
	g->client_cert = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	return g->client_cert ? NULL : "no certificate in PEM";
}

static const char *on_option(struct sim *sim, int option, const char *value)
{
	struct graph *g = sim->state;

	if (option == 0)
		g->tenant = xdup(value, strlen(value));
	else if (option == 1)
		g->client_id = xdup(value, strlen(value));
	else if (option == 2)
		g->client_secret = sim_read_secret(value);
	else
		return read_cert(g, value);
	return option == 2 && !g->client_secret ? "the file cannot be read" : NULL;
}

static const char *on_start(struct sim *sim)
{
	const struct graph *g = sim->state;

	if (!g->tenant || !g->client_id)
		return "--tenant and --client-id are needed";
	return g->client_secret || g->client_cert
		       ? NULL
		       : "--client-secret-file or --client-cert is needed";
}

static void on_begin(struct sim *sim)
{
	graph_state.sim = sim;
	graph_knobs_default(&graph_state);
}

static void on_end(struct sim *sim)
{
	struct graph *g = sim->state;

	directory_clear(&g->dir);
	X509_free(g->client_cert);
}

static const struct sim_service service = {
	.name = "graph",
	.state = &graph_state,
	.knobs = graph_knob_table,
	.n_knobs = &graph_knob_count,
	.begin = on_begin,
	.end = on_end,
	.handle = graph_handle,
	.writes = graph_writes,
	.key = graph_key,
	.error = on_error,
	.count = on_count,
	.live = on_live,
	.order = by_key,
	.print = on_print,
	.seeds = seeds,
	.stats = on_stats,
	.reset = on_reset,
	.option = on_option,
	.start = on_start,
	.options = "tenant|client-id|client-secret-file|client-cert",
};

int main(int argc, char **argv)
{
	return sim_main(&service, argc, argv);
}
