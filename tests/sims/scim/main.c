/*
 * dirpipe-sim-scim: a strict SCIM 2.0 service (RFC 7643, RFC 7644, RFC 9865 cursors) for the tests.
 * common/sim.h describes the command line and the admin interface; beside those:
 *   --token-file FILE      a static bearer token
 *   --client-id ID --client-secret-file FILE
 *                          OAuth 2.0 client credentials at POST /oauth/token
 *   knobs                  struct scim_knobs in scim.h; "dialect" goes first, it sets others
 *   POST /seed             {"users": [resource, …], "groups": [resource, …]}; an "id" is kept
 * It refuses what RFC and knobs do not allow: unknown attributes and query parameters, readOnly ones,
 * strings for booleans, a missing schemas list.
 */
#include <stdlib.h>
#include <string.h>

#include "scim.h"

extern struct scim scim_state;
struct scim scim_state;

static void on_error(struct sim *sim, struct sim_call *call, int status, const char *text)
{
	struct scim_error error;

	scim_fail(&error, status, NULL, "%s", text);
	scim_answer_error(sim->state, call, &error);
}

static uint32_t on_count(struct sim *sim, bool groups)
{
	return scim_table(sim->state, groups ? &kind_group : &kind_user)->n;
}

static bool on_live(struct sim *sim, bool groups, uint32_t number)
{
	return scim_table(sim->state, groups ? &kind_group : &kind_user)->entries[number].live;
}

static int by_key(struct sim *sim, bool groups, uint32_t a, uint32_t b)
{
	const struct table *table = scim_table(sim->state, groups ? &kind_group : &kind_user);
	const struct entry *x = &table->entries[a], *y = &table->entries[b];
	int order = strcmp(x->external, y->external);

	return order ? order : strcmp(x->name, y->name);
}

static void on_print(struct sim *sim, bool groups, uint32_t number, struct text *out)
{
	const struct kind *kind = groups ? &kind_group : &kind_user;

	if (scim_table(sim->state, kind)->entries[number].live)
		scim_print(sim->state, kind, number, NULL, NULL, out);
}

static const char *seed_user(struct sim *sim, const struct json *resource)
{
	return scim_seed(sim->state, &kind_user, resource);
}

static const char *seed_group(struct sim *sim, const struct json *resource)
{
	return scim_seed(sim->state, &kind_group, resource);
}

static const struct sim_seed seeds[] = {{"users", seed_user}, {"groups", seed_group}, {NULL, NULL}};

static void on_stats(struct sim *sim, struct text *out)
{
	const struct scim *s = sim->state;

	text_fmt(out, ",\"users\":%u,\"groups\":%u,\"tokens\":%llu", s->store.users.live,
		 s->store.groups.live, (unsigned long long)s->tokens_given);
}

static void on_reset(struct sim *sim)
{
	struct scim *s = sim->state;

	store_clear(&s->store);
	s->write_budget = s->read_budget = (struct budget){0};
	s->n_tokens = 0;
	s->tokens_given = 0;
}

static const char *on_option(struct sim *sim, int option, const char *value)
{
	struct scim *s = sim->state;

	if (option == 1) {
		free(s->client_id);
		s->client_id = xdup(value, strlen(value));
		return NULL;
	}
	char **secret = option == 0 ? &s->bearer : &s->client_secret;
	free(*secret);
	*secret = sim_read_secret(value);
	return *secret ? NULL : "the file cannot be read";
}

static const char *on_start(struct sim *sim)
{
	const struct scim *s = sim->state;

	return s->bearer || s->client_secret ? NULL
					     : "--token-file or --client-secret-file is needed";
}

static void on_begin(struct sim *sim)
{
	scim_state.sim = sim;
	scim_knobs_default(&scim_state);
}

static void on_end(struct sim *sim)
{
	struct scim *s = sim->state;

	store_clear(&s->store);
}

static const struct sim_service service = {
	.name = "scim",
	.state = &scim_state,
	.knobs = scim_knob_table,
	.n_knobs = &scim_knob_count,
	.begin = on_begin,
	.end = on_end,
	.handle = scim_handle,
	.writes = scim_writes,
	.key = scim_key,
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
	.options = "token-file|client-id|client-secret-file",
};

int main(int argc, char **argv)
{
	return sim_main(&service, argc, argv);
}
