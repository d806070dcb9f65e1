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

static const struct table *sorted_table;

static int by_key(const void *a, const void *b)
{
	const struct entry *x = &sorted_table->entries[*(const uint32_t *)a];
	const struct entry *y = &sorted_table->entries[*(const uint32_t *)b];
	int order = strcmp(x->external, y->external);

	return order ? order : strcmp(x->name, y->name);
}

static uint32_t *on_list(struct sim *sim, bool groups, size_t *ret_n)
{
	const struct table *table = scim_table(sim->state, groups ? &kind_group : &kind_user);
	uint32_t *list = xalloc(table->live * sizeof *list);
	size_t n = 0;

	for (uint32_t i = 0; i < table->n; i++) {
		if (table->entries[i].live)
			list[n++] = i;
	}
	sorted_table = table;
	qsort(list, n, sizeof *list, by_key);
	*ret_n = n;
	return list;
}

static void on_print(struct sim *sim, bool groups, uint32_t number, struct text *out)
{
	const struct kind *kind = groups ? &kind_group : &kind_user;

	if (scim_table(sim->state, kind)->entries[number].live)
		scim_print(sim->state, kind, number, NULL, NULL, out);
}

static const char *seed_all(struct scim *s, const struct kind *kind, const struct json *list)
{
	const char *error = NULL;

	JSON_EACH(resource, list)
	{
		if (!error)
			error = scim_seed(s, kind, resource);
	}
	return error;
}

static const char *on_seed(struct sim *sim, const struct json *object)
{
	const char *error = seed_all(sim->state, &kind_user, json_get(object, "users"));

	return error ? error : seed_all(sim->state, &kind_group, json_get(object, "groups"));
}

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

static const struct sim_service service = {
	.name = "scim",
	.handle = scim_handle,
	.writes = scim_writes,
	.key = scim_key,
	.error = on_error,
	.list = on_list,
	.print = on_print,
	.seed = on_seed,
	.stats = on_stats,
	.reset = on_reset,
	.option = on_option,
	.start = on_start,
	.options = "token-file|client-id|client-secret-file",
};

int main(int argc, char **argv)
{
	static struct sim sim = {.service = &service, .state = &scim_state};

	scim_state.sim = &sim;
	sim.knobs = scim_knob_table;
	sim.n_knobs = scim_knob_count;
	scim_knobs_default(&scim_state);
	int result = sim_main(&sim, argc, argv);
	store_clear(&scim_state.store);
	return result;
}
