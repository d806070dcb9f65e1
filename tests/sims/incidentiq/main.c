/*
 * dirpipe-sim-incidentiq: a strict Incident IQ site (api/v1.0) for the tests: users, locations, look-ups.
 * common/sim.h describes the command line and the admin interface; beside those:
 *   --token-file FILE      the API token
 *   knobs                  struct iiq_knobs in iiq.h
 *   POST /seed             {"users": [fields, …], "locations": [{"LocationId", "Name"}]}
 * The key of a user is its SchoolIdNumber. It refuses what the contract does not know: other fields, other types,
 * locations and roles that are not there, a missing SiteId, Client or Content-Type.
 */
#include <stdlib.h>
#include <string.h>

#include "iiq.h"

static struct iiq state;

#define K	     state.knobs
#define FLAG(name)   KNOB_FLAG_OF(K, name)
#define NUMBER(name) KNOB_NUMBER_OF(K, name)
#define STRING(name) KNOB_STRING_OF(K, name)

static const struct knob knobs[] = {
	STRING(site),	    STRING(unique),	STRING(search),	     FLAG(light_update),
	FLAG(lying_status), FLAG(light_search), NUMBER(lag_ms),	     NUMBER(page_default),
	NUMBER(page_max),   NUMBER(requests),	NUMBER(requests_ms),
};
static const size_t n_knobs = sizeof knobs / sizeof *knobs;

static void on_error(struct sim *sim, struct sim_call *call, int status, const char *text)
{
	struct iiq_error error;

	iiq_fail(&error, status, NULL, "%s", text);
	iiq_refuse(sim->state, call, &error);
}

static uint32_t on_count(struct sim *sim, bool groups)
{
	return groups ? 0 : ((struct iiq *)sim->state)->n;
}

static bool on_live(struct sim *sim, bool groups, uint32_t number)
{
	(void)groups;
	return ((struct iiq *)sim->state)->users[number].live;
}

static int by_key(struct sim *sim, bool groups, uint32_t a, uint32_t b)
{
	const struct user *users = ((struct iiq *)sim->state)->users;
	int order = strcmp(users[a].key, users[b].key);

	(void)groups;
	return order ? order : memcmp(users[a].id, users[b].id, 16);
}

static void on_print(struct sim *sim, bool groups, uint32_t number, struct text *out)
{
	struct iiq *s = sim->state;

	(void)groups;
	if (s->users[number].live)
		users_print(s, number, out);
}

static const char *seed_user(struct sim *sim, const struct json *object)
{
	static char why[sizeof((struct iiq_error *)0)->message];
	struct iiq *s = sim->state;
	struct iiq_error error;
	struct draft d = {0};

	if (fields_read(s, object, NULL, &d, &error)) {
		users_add(s, &d);
		return NULL;
	}
	memcpy(why, error.message, sizeof why);
	return why;
}

static const char *seed_location(struct sim *sim, const struct json *object)
{
	struct slice name = json_get_string(object, "Name");
	struct iiq *s = sim->state;
	struct location *to;

	s->locations = xgrow(s->locations, (s->n_locations + 1) * sizeof *s->locations);
	to = &s->locations[s->n_locations];
	if (!name.n || !uuid_read(json_get_string(object, "LocationId"), to->id))
		return "a location needs a LocationId (GUID) and a Name";
	to->name = xdup(name.p, name.n);
	s->n_locations++;
	return NULL;
}

static const struct sim_seed seeds[] = {
	{"locations", seed_location}, {"users", seed_user}, {NULL, NULL}};

static void on_stats(struct sim *sim, struct text *out)
{
	text_fmt(out, ",\"users\":%u,\"groups\":0", ((struct iiq *)sim->state)->live);
}

static void on_reset(struct sim *sim)
{
	struct iiq *s = sim->state;

	users_clear(s);
	s->budget = (struct budget){0};
}

static const char *on_option(struct sim *sim, int option, const char *value)
{
	struct iiq *s = sim->state;

	(void)option;
	free(s->token);
	s->token = sim_read_secret(value);
	return s->token ? NULL : "the file cannot be read";
}

static const char *on_start(struct sim *sim)
{
	return ((struct iiq *)sim->state)->token ? NULL : "--token-file is needed";
}

static void on_begin(struct sim *sim)
{
	struct iiq_knobs *k = &state.knobs;
	static const uint8_t central[16] = {0x48, 0xe1, 0x3e, 0x94, 0x3c, 0x38, 0xe8, 0x11,
					    0x80, 0xc3, 0x00, 0x03, 0xff, 0x68, 0x5c, 0xc1};

	state.sim = sim;
	strncpy(k->site, "e00c1bec-0f08-4711-80c3-0003ff6859f9", sizeof k->site - 1);
	strncpy(k->unique, "Email,Username", sizeof k->unique - 1);
	strncpy(k->search, "Name,Email,Username,SchoolIdNumber", sizeof k->search - 1);
	k->light_update = true;
	k->page_default = 20;
	k->page_max = 1000;
	k->requests_ms = 60000;
	state.locations = xalloc(sizeof *state.locations);
	memcpy(state.locations[0].id, central, sizeof central);
	state.locations[0].name = xdup("Central Office", 14);
	state.n_locations = 1;
}

static void on_end(struct sim *sim)
{
	struct iiq *s = sim->state;

	users_clear(s);
	for (uint32_t i = 0; i < s->n_locations; i++)
		free(s->locations[i].name);
	free(s->locations);
	free(s->token);
}

static const struct sim_service service = {
	.name = "incidentiq",
	.state = &state,
	.knobs = knobs,
	.n_knobs = &n_knobs,
	.begin = on_begin,
	.end = on_end,
	.handle = iiq_handle,
	.writes = iiq_writes,
	.key = iiq_key,
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
	.options = "token-file",
};

int main(int argc, char **argv)
{
	return sim_main(&service, argc, argv);
}
