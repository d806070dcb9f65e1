#include <string.h>

#include "iiq.h"

#define BASE "/api/v1.0/"

void iiq_envelope(const struct iiq *s, int status, struct text *out)
{
	text_str(out, ",\"UserToken\":\"00000000-0000-0000-0000-000000000000\",\"RequestDate\":\"");
	text_time(out, sim_now_ms(s->sim), true);
	text_fmt(
		out,
		"\",\"ExecutionTime\":0.1,\"StatusCode\":%d,\"ServerName\":\"sim\",\"ProcessId\":1,"
		"\"Properties\":{}",
		status);
}

void iiq_refuse(struct iiq *s, struct sim_call *call, const struct iiq_error *e)
{
	struct text *out = &call->answer->body;

	text_clear(out);
	text_str(out, "{\"Message\":");
	text_json(out, slice_of(e->message));
	text_str(out, ",\"Errors\":[");
	if (e->field) {
		text_fmt(out,
			 "{\"ErrorKey\":\"Validation\",\"Field\":\"%s\",\"Message\":", e->field);
		text_json(out, slice_of(e->message));
		text_char(out, '}');
	}
	text_char(out, ']');
	iiq_envelope(s, e->status, out);
	text_char(out, '}');
	call->answer->status = s->knobs.lying_status && e->status < 500 ? 200 : e->status;
	call->answer->content_type = "application/json; charset=utf-8";
}

static void refuse(struct iiq *s, struct sim_call *call, int status, const char *what)
{
	struct iiq_error error;

	iiq_fail(&error, status, NULL, "%s", what);
	iiq_refuse(s, call, &error);
}

static bool below_base(struct slice *path)
{
	size_t n = strlen(BASE);

	if (!slice_starts(*path, BASE))
		return false;
	*path = (struct slice){path->p + n, path->n - n};
	return true;
}

bool iiq_writes(struct sim *sim, const struct sim_call *call)
{
	struct slice path = call->path;

	(void)sim;
	if (slice_is(call->method, "GET") || !below_base(&path))
		return false;
	return !slice_is(path, "users") && !slice_starts(path, "search");
}

static struct slice id_in(struct slice path)
{
	return below_base(&path) && slice_starts(path, "users/")
		       ? (struct slice){path.p + 6, path.n - 6}
		       : (struct slice){0};
}

void iiq_key(struct sim *sim, const struct sim_call *call, struct text *ret_key)
{
	struct iiq *s = sim->state;
	struct slice id = id_in(call->path);
	uint32_t number = users_find(s, id);
	const char *error;

	if (number != NONE)
		text_str(ret_key, s->users[number].key);
	else if (slice_is(id, "local/new"))
		text_slice(ret_key, json_get_string(json_parse(&sim->arena, call->body, &error),
						    "SchoolIdNumber"));
}

/* ---- one user ---- */

static void answer_item(struct iiq *s, struct sim_call *call, uint32_t number)
{
	struct text *out = &call->answer->body;
	char id[UUID_TEXT + 1];

	uuid_print(s->users[number].id, id);
	text_str(out, "{\"Item\":");
	users_print(s, number, out);
	text_fmt(out, ",\"Uid\":\"%s\"", id);
	iiq_envelope(s, 200, out);
	text_char(out, '}');
	call->answer->status = 200;
	call->answer->content_type = "application/json; charset=utf-8";
}

static void commit(struct iiq *s, struct sim_call *call, uint32_t number, const char *word)
{
	const struct user *user = &s->users[number];

	sim_commit(s->sim, call, word, user->id, slice_of(user->key));
}

static bool unique(struct iiq *s, const struct draft *d, uint32_t but, struct iiq_error *e)
{
	const char *field = NULL;

	return users_rival(s, d->doc, but, &field) == NONE ||
	       iiq_fail(e, 400, field, "%s is already in use.", field);
}

static void count_create(struct iiq *s, const struct draft *d)
{
	s->sim->stats.creates++;
	s->sim->stats.duplicates +=
		d->key.n && users_with(s, "SchoolIdNumber", d->key, NONE) != NONE;
}

static void create(struct iiq *s, struct sim_call *call, const struct json *body)
{
	struct iiq_error error;
	struct draft d = {0};

	if (!fields_read(s, body, NULL, &d, &error) || !unique(s, &d, NONE, &error)) {
		iiq_refuse(s, call, &error);
		return;
	}
	count_create(s, &d);
	uint32_t number = users_add(s, &d);
	commit(s, call, number, "create");
	answer_item(s, call, number);
}

static void update(struct iiq *s, struct sim_call *call, uint32_t number, const struct json *body)
{
	struct iiq_error error;
	struct draft d = {0};
	bool was = s->users[number].active;

	if (!fields_read(s, body, &s->users[number], &d, &error) ||
	    !unique(s, &d, number, &error)) {
		iiq_refuse(s, call, &error);
		return;
	}
	bool changed = users_put(s, number, &d);

	s->sim->stats.updates++;
	commit(s, call, number,
	       was != d.active ? (was ? "disable" : "enable")
	       : changed       ? "update"
			       : "noop");
	answer_item(s, call, number);
}

static void delete (struct iiq *s, struct sim_call *call, uint32_t number)
{
	char id[UUID_TEXT + 1];

	users_delete(s, number);
	s->sim->stats.deletes++;
	commit(s, call, number, "delete");
	uuid_print(s->users[number].id, id);
	text_fmt(&call->answer->body, "{\"Id\":\"%s\"", id);
	iiq_envelope(s, 200, &call->answer->body);
	text_char(&call->answer->body, '}');
	call->answer->content_type = "application/json; charset=utf-8";
}

static void on_user(struct iiq *s, struct sim_call *call, struct slice id, const struct json *body)
{
	uint32_t number = users_find(s, id);

	if (number == NONE || !s->users[number].live)
		refuse(s, call, 404, "There is no such user.");
	else if (slice_is(call->method, "GET"))
		answer_item(s, call, number);
	else if (slice_is(call->method, "POST"))
		update(s, call, number, body);
	else if (slice_is(call->method, "DELETE"))
		delete (s, call, number);
	else
		refuse(s, call, 405, "The method is not allowed here.");
}

static void locations(struct iiq *s, struct sim_call *call)
{
	struct text *out = &call->answer->body;

	text_str(out, "{\"Items\":[");
	for (uint32_t i = 0; i < s->n_locations; i++) {
		char id[UUID_TEXT + 1];

		uuid_print(s->locations[i].id, id);
		text_fmt(out, "%s{\"LocationId\":\"%s\",\"SiteId\":\"%s\",\"Name\":", i ? "," : "",
			 id, s->knobs.site);
		text_json(out, slice_of(s->locations[i].name));
		text_char(out, '}');
	}
	text_fmt(out, "],\"ItemCount\":%u", s->n_locations);
	iiq_envelope(s, 200, out);
	text_char(out, '}');
	call->answer->content_type = "application/json; charset=utf-8";
}

/* ---- what holds for every request ---- */

static bool authorized(struct iiq *s, struct sim_call *call)
{
	struct slice token = http_header(call->http, "authorization");

	if (slice_starts(token, "Bearer ") &&
	    slice_is((struct slice){token.p + 7, token.n - 7}, s->token))
		return true;
	refuse(s, call, 401, "The API token is missing or not valid.");
	return false;
}

static bool request_good(struct iiq *s, struct sim_call *call)
{
	if (!slice_is_nocase(http_header(call->http, "siteid"), s->knobs.site))
		refuse(s, call, 400, "The SiteId header does not name this site.");
	else if (!slice_is(http_header(call->http, "client"), "ApiClient"))
		refuse(s, call, 400, "The Client header must be ApiClient.");
	else if (call->body.n && !http_content_is(call->http, "application/json", NULL))
		refuse(s, call, 415, "The content must be application/json.");
	else
		return true;
	return false;
}

static bool within_budget(struct iiq *s, struct sim_call *call)
{
	budget_set(&s->budget, s->knobs.requests, s->knobs.requests_ms);
	int64_t wait_ms = budget_charge(&s->budget, 1, sim_now_ms(s->sim));

	if (wait_ms <= 0)
		return true;
	refuse(s, call, 429, "Too many requests.");
	call->answer->status = 429;
	text_fmt(&call->answer->headers, "Retry-After: %lld\r\n",
		 (long long)(wait_ms + 999) / 1000);
	return false;
}

static void route(struct iiq *s, struct sim_call *call, struct slice path, const struct json *body)
{
	bool post = slice_is(call->method, "POST");

	if (slice_is(path, "users") && post)
		iiq_list(s, call, body);
	else if (slice_is(path, "users/local/new") && post)
		create(s, call, body);
	else if (slice_starts(path, "users/"))
		on_user(s, call, (struct slice){path.p + 6, path.n - 6}, body);
	else if (slice_is(path, "search/v2") && post)
		iiq_search(s, call, body);
	else if (slice_is(path, "locations/all") && slice_is(call->method, "GET"))
		locations(s, call);
	else
		refuse(s, call, 404, "There is no such endpoint.");
}

void iiq_handle(struct sim *sim, struct sim_call *call)
{
	struct iiq *s = sim->state;
	struct slice path = call->path;
	const char *error = NULL;
	struct json *body = NULL;

	call->answer->status = 200;
	if (!below_base(&path)) {
		refuse(s, call, 404, "There is no such endpoint.");
		return;
	}
	if (!authorized(s, call) || !request_good(s, call) || !within_budget(s, call))
		return;
	if (call->body.n && !(body = json_parse(&sim->arena, call->body, &error)))
		refuse(s, call, 400, error);
	else
		route(s, call, path, body);
}
