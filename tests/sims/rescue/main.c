/*
 * dirpipe-sim-rescue: LogMeIn (GoTo) Rescue's HTTP API, strict, for the tests. common/sim.h describes the command
 * line and the admin interface; beside those:
 *   --token-file FILE               the API token
 *   --email ADDRESS --password-file FILE   the master administrator, for login and requestAuthCode
 *   knobs                           struct rescue_knobs in rescue.h
 *   POST /seed                      {"groups": [{"name", "type"?, "parent"?}], "users": [{"name", "email", "group"
 *                                   (name or node), "type"?, "enabled"?, "mobile"?, "password"?, …}],
 *                                   "moves": [{"node", "to"?, "enabled"?, "mobile"?, "name"?}]}: what
 *                                   administrators do by hand
 *   GET /stats                      also calls by method, nodes without name or address, seats in use
 * A technician's key is the description, else the e-mail address. Ledger kinds: create_node (createUser), create
 * (the setUser that first names it), update, move, delete, create_group. Passwords and codes are kept as hashes.
 * What the fact sheet calls unknown stands behind knobs.
 */
#include <stdlib.h>
#include <string.h>

#include "rescue.h"

static struct rescue rescue_state;

#define K rescue_state.knobs
/* clang-format off */
static const struct knob knob_table[] = {
	{"colon_space", KNOB_BOOL, &K.colon_space, NULL},
	{"one_line", KNOB_BOOL, &K.one_line, NULL},
	{"crlf", KNOB_BOOL, &K.crlf, NULL},
	{"bare_id", KNOB_BOOL, &K.bare_id, NULL},
	{"created_enabled", KNOB_BOOL, &K.created_enabled, NULL},
	{"keep_omitted", KNOB_BOOL, &K.keep_omitted, NULL},
	{"token_revoked", KNOB_BOOL, &K.token_revoked, NULL},
	{"caller_disabled", KNOB_BOOL, &K.caller_disabled, NULL},
	{"named_seats", KNOB_NUMBER, &K.named_seats, NULL},
	{"mobile_seats", KNOB_NUMBER, &K.mobile_seats, NULL},
	{"seat_word", KNOB_STRING, K.seat_word, NULL},
	{"name_max", KNOB_NUMBER, &K.name_max, NULL},
	{"password_classes", KNOB_NUMBER, &K.password_classes, NULL},
};
/* clang-format on */
static const size_t knob_count = sizeof knob_table / sizeof *knob_table;

static void on_error(struct sim *sim, struct sim_call *call, int status, const char *text)
{
	(void)sim;
	(void)text;
	call->answer->status = status;
	text_str(&call->answer->body, "ERROR");
}

static uint32_t on_count(struct sim *sim, bool groups)
{
	const struct rescue *s = sim->state;

	(void)groups;
	return (uint32_t)s->n;
}

static bool on_live(struct sim *sim, bool groups, uint32_t number)
{
	const struct rescue *s = sim->state;

	return s->nodes[number].live && tree_is_user(&s->nodes[number]) != groups;
}

static void on_print(struct sim *sim, bool groups, uint32_t number, struct text *out)
{
	(void)groups;
	tree_print(sim->state, number, out);
}

static const struct sim_seed seeds[] = {{"groups", tree_seed_group},
					{"users", tree_seed_user},
					{"moves", tree_seed_move},
					{NULL, NULL}};

static void on_stats(struct sim *sim, struct text *out)
{
	const struct rescue *s = sim->state;

	text_fmt(out, ",\"nameless\":%llu,\"enabled\":%llu,\"mobile\":%llu,\"logins\":%llu",
		 (unsigned long long)tree_nameless(s), (unsigned long long)s->enabled,
		 (unsigned long long)s->mobile, (unsigned long long)s->logins_n);
	rescue_calls(s, out);
}

static void on_reset(struct sim *sim)
{
	struct rescue *s = sim->state;

	tree_clear(s);
	tree_plant(s);
	s->authcode[0] = '\0';
	s->sessions_n = 0;
	s->logins_n = 0;
	memset(s->calls, 0, sizeof s->calls);
}

static const char *on_option(struct sim *sim, int option, const char *value)
{
	struct rescue *s = sim->state;
	char **all[] = {&s->api_token, &s->email, &s->password}, **at = all[option];

	free(*at);
	*at = option == 1 ? xdup(value, strlen(value)) : sim_read_secret(value);
	return *at ? NULL : "the file cannot be read";
}

static const char *on_start(struct sim *sim)
{
	const struct rescue *s = sim->state;

	return s->api_token || (s->email && s->password)
		       ? NULL
		       : "--token-file or --email and --password-file are needed";
}

static void on_begin(struct sim *sim)
{
	rescue_state.sim = sim;
	memcpy(K.seat_word, "ERROR", 6);
	K.name_max = 128;
	K.password_classes = 3;
	tree_plant(&rescue_state);
}

static void on_end(struct sim *sim)
{
	struct rescue *s = sim->state;

	tree_clear(s);
	free(s->api_token);
	free(s->email);
	free(s->password);
}

static const struct sim_service service = {
	.name = "rescue",
	.state = &rescue_state,
	.knobs = knob_table,
	.n_knobs = &knob_count,
	.begin = on_begin,
	.end = on_end,
	.handle = rescue_handle,
	.writes = rescue_writes,
	.key = rescue_key,
	.error = on_error,
	.count = on_count,
	.live = on_live,
	.print = on_print,
	.seeds = seeds,
	.stats = on_stats,
	.reset = on_reset,
	.option = on_option,
	.start = on_start,
	.options = "token-file|email|password-file",
};

int main(int argc, char **argv)
{
	return sim_main(&service, argc, argv);
}
