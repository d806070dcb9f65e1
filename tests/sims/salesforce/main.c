/*
 * dirpipe-sim-salesforce: a strict Salesforce org for the tests: REST API (rows, collections, composite, SOQL) and its login
 * host. common/sim.h describes the command line and the admin interface; beside those:
 *   --client-id ID --client-secret-file FILE   of the app
 *   --client-cert FILE                         PEM whose key signs assertions
 *   --password-file FILE                       the user's password with the security token behind it
 *   knobs         struct sf_knobs in sf.h
 *   POST /seed    {"User": [fields], "Profile": […], … (any object; references by id or by name), "elsewhere":
 *                 [{"Username"}] (taken in another org), "confirm": [{"Username"}] (the owner confirms a changed address),
 *                 "seats": [{"Name" of a UserLicense or PermissionSetLicense, "TotalLicenses"}]}
 *   GET /dump     users with IsFrozen, PendingEmail, the names of profile and role, permission sets and their licences
 * The API is served on the instance's host alone (localhost, while logins come to any name).
 */
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sf.h"

static struct sf state;

#define K	     state.knobs
#define FLAG(name)   KNOB_FLAG_OF(K, name)
#define NUMBER(name) KNOB_NUMBER_OF(K, name)
#define STRING(name) KNOB_STRING_OF(K, name)

static const struct knob knobs[] = {
	STRING(instance_url),	STRING(bare_error),	  STRING(username),
	STRING(audience),	STRING(api_error),	  NUMBER(session_seconds),
	NUMBER(daily_requests), NUMBER(page_size),	  NUMBER(lock_ms),
	NUMBER(lock_wait_ms),	FLAG(email_confirmation), FLAG(external_unique),
	FLAG(run_as_user),	FLAG(approved),
};
static const size_t n_knobs = sizeof knobs / sizeof *knobs;

static void on_error(struct sim *sim, struct sim_call *call, int status, const char *text)
{
	sf_fail(sim->state, call, status, "UNKNOWN_EXCEPTION", NULL, "%s", text);
}

static struct object *users(struct sim *sim)
{
	return schema_object(sim->state, SLICE("User"));
}

static uint32_t on_count(struct sim *sim, bool groups)
{
	return groups ? 0 : users(sim)->n;
}

static bool on_live(struct sim *sim, bool groups, uint32_t number)
{
	return !groups && users(sim)->records[number].live;
}

static int by_key(struct sim *sim, bool groups, uint32_t a, uint32_t b)
{
	const struct object *o = users(sim);
	int i = schema_field(o, slice_of(sf_external)), k = schema_field(o, SLICE("Username"));
	const char *x = o->records[a].v[i], *y = o->records[b].v[i];
	int order = strcmp(x ? x : "", y ? y : "");

	(void)groups;
	return order ? order : strcmp(o->records[a].v[k], o->records[b].v[k]);
}

/* Names of what the user is assigned to, as an array. */
static void print_assigned(struct sf *s, const char *object, const char *what, const char *name,
			   const char *user, struct text *out)
{
	const struct object *o = schema_object(s, slice_of(object));
	const struct object *other = schema_object(s, slice_of(what));
	int assignee = strcmp(object, "GroupMember") == 0 ? 2 : 1;
	uint32_t number = NONE;
	bool first = true;

	text_char(out, '[');
	while ((number = record_find(o, assignee, slice_of(user), number)) != NONE) {
		uint32_t it = id_find(other, slice_of(o->records[number].v[3 - assignee]));

		if (it == NONE || slice_is(record_get(other, it, "IsOwnedByProfile"), "true"))
			continue;
		text_str(out, first ? "" : ",");
		text_json(out, record_get(other, it, name));
		first = false;
	}
	text_char(out, ']');
}

static void print_name(struct sf *s, const char *object, struct slice id, struct text *out)
{
	const struct object *o = schema_object(s, slice_of(object));
	uint32_t number = id.p ? id_find(o, id) : NONE;

	text_fmt(out, ",\"%s\":", object);
	if (number == NONE)
		text_str(out, "null");
	else
		text_json(out, record_get(o, number, "Name"));
}

static void on_print(struct sim *sim, bool groups, uint32_t number, struct text *out)
{
	struct sf *s = sim->state;
	const struct object *o = users(sim), *logins = schema_object(s, SLICE("UserLogin"));
	const struct record *r = &o->records[number];
	uint32_t login = record_find(logins, 1, slice_of(r->v[0]), NONE);

	(void)groups;
	rows_print(o, number, (struct slice){0}, out);
	out->n--; /* the brace */
	text_fmt(out, ",\"IsFrozen\":%s",
		 login != NONE && slice_is(record_get(logins, login, "IsFrozen"), "true")
			 ? "true"
			 : "false");
	text_str(out, ",\"PendingEmail\":");
	if (r->pending)
		text_json(out, slice_of(r->pending));
	else
		text_str(out, "null");
	print_name(s, "Profile", record_get(o, number, "ProfileId"), out);
	print_name(s, "UserRole", record_get(o, number, "UserRoleId"), out);
	text_str(out, ",\"PermissionSets\":");
	print_assigned(s, "PermissionSetAssignment", "PermissionSet", "Name", r->v[0], out);
	text_str(out, ",\"PermissionSetLicenses\":");
	print_assigned(s, "PermissionSetLicenseAssign", "PermissionSetLicense", "DeveloperName",
		       r->v[0], out);
	text_str(out, ",\"Groups\":");
	print_assigned(s, "GroupMember", "Group", "Name", r->v[0], out);
	text_char(out, '}');
}

/* ---- what was there before ---- */

#define SEED(object)                                                                               \
	static const char *seed_##object(struct sim *sim, const struct json *json)                 \
	{                                                                                          \
		struct sf *s = sim->state;                                                         \
		return rows_seed(s, schema_object(s, SLICE(#object)), json);                       \
	}
SEED(User)
SEED(Profile)
SEED(UserRole)
SEED(PermissionSet)
SEED(PermissionSetAssignment)
SEED(PermissionSetLicense)
SEED(PermissionSetLicenseAssign)
SEED(Group)
SEED(GroupMember)

static const char *seed_elsewhere(struct sim *sim, const struct json *json)
{
	struct sf *s = sim->state;

	index_add(&s->elsewhere, hash_nocase(json_get_string(json, "Username")),
		  (uint32_t)s->names_elsewhere++);
	return NULL;
}

static const char *seed_confirm(struct sim *sim, const struct json *json)
{
	struct object *o = users(sim);
	uint32_t number = record_find(o, schema_field(o, SLICE("Username")),
				      json_get_string(json, "Username"), NONE);

	if (number == NONE || !o->records[number].pending)
		return "nothing waits for that user";
	record_set(o, number, schema_field(o, SLICE("Email")),
		   slice_of(o->records[number].pending));
	free(o->records[number].pending);
	o->records[number].pending = NULL;
	return NULL;
}

static const char *seed_seats(struct sim *sim, const struct json *json)
{
	static const char *const objects[][2] = {{"UserLicense", "Name"},
						 {"PermissionSetLicense", "DeveloperName"}};
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)json_get_number(json, "TotalLicenses", 0));
	for (size_t i = 0; i < 2; i++) {
		struct object *o = schema_object(sim->state, slice_of(objects[i][0]));
		int field = schema_field(o, slice_of(objects[i][1]));
		uint32_t number = record_find(o, field, json_get_string(json, "Name"), NONE);

		if (number == NONE)
			continue;
		record_set(o, number, schema_field(o, SLICE("TotalLicenses")), slice_of(text));
		return NULL;
	}
	return "there is no such licence";
}

static const struct sim_seed seeds[] = {
	{"Profile", seed_Profile},
	{"UserRole", seed_UserRole},
	{"User", seed_User},
	{"PermissionSet", seed_PermissionSet},
	{"PermissionSetLicense", seed_PermissionSetLicense},
	{"PermissionSetAssignment", seed_PermissionSetAssignment},
	{"PermissionSetLicenseAssign", seed_PermissionSetLicenseAssign},
	{"Group", seed_Group},
	{"GroupMember", seed_GroupMember},
	{"elsewhere", seed_elsewhere},
	{"confirm", seed_confirm},
	{"seats", seed_seats},
	{NULL, NULL},
};

/* ---- the program ---- */

static void on_stats(struct sim *sim, struct text *out)
{
	struct sf *s = sim->state;

	text_fmt(out,
		 ",\"users\":%u,\"groups\":0,\"tokens\":%llu,\"lock_writes\":%llu,\"lock_refused\":"
		 "%llu,"
		 "\"api_used\":%lld",
		 users(sim)->live, (unsigned long long)s->tokens_given,
		 (unsigned long long)s->lock_writes, (unsigned long long)s->lock_refused,
		 (long long)s->day.total);
}

static void forget(struct sf *s)
{
	memset(s->tokens, 0, sizeof s->tokens);
	for (size_t i = 0; i < CURSORS; i++) {
		free(s->cursors[i].soql);
		s->cursors[i] = (struct cursor){0};
	}
	index_free(&s->elsewhere);
	s->elsewhere = (struct index){0};
	s->tokens_given = s->lock_refused = s->lock_writes = 0;
	s->lock_until_ms = 0;
	s->day = (struct budget){0};
}

static void on_reset(struct sim *sim)
{
	schema_clear(sim->state);
	forget(sim->state);
}

static const char *read_cert(struct sf *s, const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return "the file cannot be read";
	X509_free(s->client_cert);
	s->client_cert = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	return s->client_cert ? NULL : "no certificate in PEM";
}

static const char *on_option(struct sim *sim, int option, const char *value)
{
	struct sf *s = sim->state;
	char **secret = option == 1 ? &s->client_secret : &s->password;

	if (option == 2)
		return read_cert(s, value);
	if (option == 0) {
		free(s->client_id);
		s->client_id = xdup(value, strlen(value));
		return NULL;
	}
	free(*secret);
	*secret = sim_read_secret(value);
	return *secret ? NULL : "the file cannot be read";
}

static const char *on_start(struct sim *sim)
{
	const struct sf *s = sim->state;

	return s->client_id && s->client_secret ? NULL
						: "--client-id and --client-secret-file are needed";
}

static void on_begin(struct sim *sim)
{
	state.sim = sim;
	strncpy(K.username, "sync@acme.example", sizeof K.username - 1);
	strncpy(K.audience, "https://login.salesforce.com", sizeof K.audience - 1);
	K.session_seconds = 7200;
	K.daily_requests = 1000000;
	K.page_size = 2000;
	K.lock_wait_ms = 10000;
	K.email_confirmation = K.external_unique = K.run_as_user = K.approved = true;
	schema_make(&state);
}

static void on_end(struct sim *sim)
{
	struct sf *s = sim->state;

	forget(s);
	schema_free(s);
	free(s->client_id);
	free(s->client_secret);
	free(s->password);
	X509_free(s->client_cert);
}

static const struct sim_service service = {
	.name = "salesforce",
	.state = &state,
	.knobs = knobs,
	.n_knobs = &n_knobs,
	.begin = on_begin,
	.end = on_end,
	.handle = sf_handle,
	.writes = sf_writes,
	.key = sf_key,
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
	.options = "client-id|client-secret-file|client-cert|password-file",
};

int main(int argc, char **argv)
{
	return sim_main(&service, argc, argv);
}
