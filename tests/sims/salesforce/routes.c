#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sf.h"

enum { DAY_MS = 24 * 60 * 60 * 1000, VERSION_FIRST = 50, VERSION_LAST = 65 };

void sf_json(struct sim_call *call, int status)
{
	call->answer->status = status;
	call->answer->content_type = "application/json;charset=UTF-8";
}

/* field: names with ", " between them, or NULL. */
void sf_fail(struct sf *s, struct sim_call *call, int status, const char *code, const char *field,
	     const char *format, ...)
{
	struct text *out = &call->answer->body;
	struct slice names = slice_of(field ? field : "");
	bool bare = *s->knobs.bare_error, first = true;
	char message[1000];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof message, format, ap);
	va_end(ap);
	text_clear(out);
	text_str(out, bare ? "{\"message\":" : "[{\"message\":");
	text_json(out, slice_of(message));
	text_fmt(out, ",\"errorCode\":\"%s\"", code);
	if (field)
		text_str(out, ",\"fields\":[");
	while (names.n) {
		text_str(out, first ? "" : ",");
		text_json(out, slice_trim(slice_cut(&names, ',')));
		first = false;
	}
	if (field)
		text_char(out, ']');
	text_str(out, bare ? "}" : "}]");
	sf_json(call, status);
}

/* ---- paths ---- */

bool sf_below(struct slice *path)
{
	struct slice rest = *path, head;
	int64_t version;

	/* clients double slashes */
	while (slice_starts(rest, "//"))
		rest = (struct slice){rest.p + 1, rest.n - 1};
	if (!slice_starts(rest, "/services/data/v"))
		return false;
	rest = (struct slice){rest.p + 16, rest.n - 16};
	head = slice_cut(&rest, '/');
	if (head.n < 3 || memcmp(head.p + head.n - 2, ".0", 2) != 0 ||
	    !slice_number((struct slice){head.p, head.n - 2}, &version) ||
	    version < VERSION_FIRST || version > VERSION_LAST)
		return false;
	*path = rest;
	return true;
}

static struct slice normal(struct slice path)
{
	while (slice_starts(path, "//"))
		path = (struct slice){path.p + 1, path.n - 1};
	return path;
}

bool sf_writes(struct sim *sim, const struct sim_call *call)
{
	struct slice path = call->path;
	bool composite;

	(void)sim;
	if (slice_is(call->method, "GET") || !sf_below(&path))
		return false;
	composite = slice_starts(path, "composite");
	return !composite; /* what is in it writes */
}

void sf_key(struct sim *sim, const struct sim_call *call, struct text *ret_key)
{
	struct sf *s = sim->state;
	struct slice path = call->path, name;
	const struct object *users = schema_object(s, SLICE("User"));
	const char *error;
	uint32_t number;

	if (!sf_below(&path) || !slice_is(slice_cut(&path, '/'), "sobjects") ||
	    !slice_is_nocase(slice_cut(&path, '/'), "User"))
		return;
	name = slice_cut(&path, '/');
	if (!name.n) {
		text_slice(ret_key, json_get_string(json_parse(&sim->arena, call->body, &error),
						    sf_external));
	} else if (slice_is_nocase(name, sf_external)) {
		text_percent_decode(ret_key, path, false);
	} else if ((number = id_find(users, name)) != NONE) {
		text_slice(ret_key, record_get(users, number, sf_external));
	}
}

/* ---- the rest of the API ---- */

static void versions(struct sim_call *call)
{
	for (int v = VERSION_FIRST; v <= VERSION_LAST; v++)
		text_fmt(&call->answer->body,
			 "%s{\"label\":\"Season\",\"url\":\"/services/data/"
			 "v%d.0\",\"version\":\"%d.0\"}",
			 v == VERSION_FIRST ? "[" : ",", v, v);
	text_char(&call->answer->body, ']');
	sf_json(call, 200);
}

static void limits(struct sf *s, struct sim_call *call)
{
	text_fmt(&call->answer->body, "{\"DailyApiRequests\":{\"Max\":%lld,\"Remaining\":%lld}}",
		 (long long)s->knobs.daily_requests,
		 (long long)(s->knobs.daily_requests - s->day.total));
	sf_json(call, 200);
}

static void describe(struct sim_call *call, const struct object *o)
{
	static const char *const types[] = {"string", "boolean", "reference", "picklist",
					    "email",  "int",	 "datetime"};
	struct text *out = &call->answer->body;

	text_fmt(out,
		 "{\"name\":\"%s\",\"keyPrefix\":\"%s\",\"createable\":%s,\"deletable\":%s,"
		 "\"fields\":[",
		 o->name, o->prefix, o->create ? "true" : "false", o->remove ? "true" : "false");
	for (size_t i = 0; i < o->n_fields; i++) {
		const struct field *f = &o->fields[i];
		bool key = strcmp(f->name, sf_external) == 0;

		text_fmt(out,
			 "%s{\"name\":\"%s\",\"type\":\"%s\",\"length\":%d,\"createable\":%s,"
			 "\"updateable\":%s,\"externalId\":%s,\"unique\":%s}",
			 i ? "," : "", f->name, types[f->type], f->max,
			 f->flags & F_CREATE ? "true" : "false",
			 f->flags & F_UPDATE ? "true" : "false",
			 f->flags & F_EXTERNAL ? "true" : "false",
			 (f->flags & F_UNIQUE) || key ? "true" : "false");
	}
	text_str(out, "]}");
	sf_json(call, 200);
}

static void query(struct sf *s, struct sim_call *call, struct slice locator)
{
	struct text text = {0};
	struct soql *q;
	size_t at = 0;

	if (locator.n) {
		struct slice rest = locator, id = slice_cut(&rest, '-');

		for (size_t i = 0; i < CURSORS; i++) {
			if (s->cursors[i].soql && slice_is(id, s->cursors[i].id)) {
				text_str(&text, s->cursors[i].soql);
				at = s->cursors[i].at;
			}
		}
		if (!text.n)
			sf_fail(s, call, 400, "INVALID_QUERY_LOCATOR", NULL,
				"invalid query locator");
	} else if (!http_param(call->query, "q", &text)) {
		sf_fail(s, call, 400, "MALFORMED_QUERY", NULL, "a query was expected");
		text_clear(&text);
	}
	q = text.n ? soql_parse(s, call, slice_from(&text)) : NULL;
	if (q)
		soql_answer(s, call, q, slice_from(&text), at);
	text_free(&text);
}

/* ---- rows ---- */

static void not_found(struct sf *s, struct sim_call *call)
{
	sf_fail(s, call, 404, "NOT_FOUND", NULL, "The requested resource does not exist");
}

static void one_row(struct sf *s, struct sim_call *call, struct object *o, uint32_t number)
{
	struct text fields = {0};

	if (number == NONE) {
		not_found(s, call);
	} else if (slice_is(call->method, "GET")) {
		bool some = http_param(call->query, "fields", &fields);

		rows_get(s, call, o, number, some ? slice_from(&fields) : (struct slice){0});
	} else if (slice_is(call->method, "PATCH")) {
		rows_update(s, call, o, number);
	} else if (slice_is(call->method, "DELETE")) {
		rows_delete(s, call, o, number);
	} else {
		sf_fail(s, call, 405, "METHOD_NOT_ALLOWED", NULL, "HTTP Method not allowed.");
	}
	text_free(&fields);
}

static void by_external(struct sf *s, struct sim_call *call, struct object *o, struct slice name,
			struct slice coded)
{
	int field = schema_field(o, name);
	struct text value = {0};

	if (field < 0 || !(o->fields[field].flags & F_EXTERNAL)) {
		sf_fail(s, call, 404, "NOT_FOUND", NULL,
			"Provided external ID field does not exist or is not accessible: %.*s",
			(int)name.n, name.p);
	} else if (memchr(coded.p, '/', coded.n) || !text_percent_decode(&value, coded, false)) {
		not_found(s, call);
	} else if (slice_is(call->method, "PATCH")) {
		rows_upsert(s, call, o, field, slice_from(&value));
	} else {
		one_row(s, call, o, record_find(o, field, slice_from(&value), NONE));
	}
	text_free(&value);
}

static void sobjects(struct sf *s, struct sim_call *call, struct slice rest)
{
	struct object *o = schema_object(s, slice_cut(&rest, '/'));
	struct slice head = slice_cut(&rest, '/');

	if (!o)
		not_found(s, call);
	else if (!head.n && slice_is(call->method, "POST"))
		rows_create(s, call, o);
	else if (slice_is_nocase(head, "describe") && slice_is(call->method, "GET"))
		describe(call, o);
	else if (rest.n)
		by_external(s, call, o, head, rest);
	else if (head.n)
		one_row(s, call, o, id_find(o, head));
	else
		sf_fail(s, call, 405, "METHOD_NOT_ALLOWED", NULL, "HTTP Method not allowed.");
}

/* ---- all ---- */

static bool within_limit(struct sf *s, struct sim_call *call)
{
	bool fits;

	budget_set(&s->day, s->knobs.daily_requests, DAY_MS);
	fits = budget_charge(&s->day, 1, sim_now_ms(s->sim)) <= 0;
	text_fmt(&call->answer->headers, "Sforce-Limit-Info: api-usage=%lld/%lld\r\n",
		 (long long)s->day.total, (long long)s->knobs.daily_requests);
	if (!fits)
		sf_fail(s, call, 403, "REQUEST_LIMIT_EXCEEDED", NULL,
			"TotalRequests Limit exceeded.");
	return fits;
}

static bool body_good(struct sf *s, struct sim_call *call)
{
	if (call->inner || !call->body.n || http_content_is(call->http, "application/json", NULL))
		return true;
	sf_fail(s, call, 415, "UNSUPPORTED_MEDIA_TYPE", NULL,
		"Content-Type not supported for this resource");
	return false;
}

/* "403 API_DISABLED_FOR_ORG" */
static bool disturbed(struct sf *s, struct sim_call *call)
{
	struct slice code = slice_of(s->knobs.api_error), status = slice_cut(&code, ' ');
	int64_t number = 0;

	if (!slice_number(status, &number) || number < 400)
		return false;
	sf_fail(s, call, (int)number, code.p, NULL, "This org does not allow it");
	return true;
}

static void api(struct sf *s, struct sim_call *call, struct slice path)
{
	struct slice rest = path, head = slice_cut(&rest, '/');
	bool reads = slice_is(call->method, "GET");

	if (slice_is(head, "sobjects"))
		sobjects(s, call, rest);
	else if (slice_is(head, "query") && reads)
		query(s, call, rest);
	else if (slice_is(head, "composite"))
		composite_route(s, call, rest);
	else if (slice_is(head, "limits") && reads)
		limits(s, call);
	else
		not_found(s, call);
}

void sf_handle(struct sim *sim, struct sim_call *call)
{
	struct sf *s = sim->state;
	struct slice path = normal(call->path);

	if (call->inner) {
		if (sf_below(&path))
			api(s, call, path);
		else
			not_found(s, call);
		return;
	}
	if (slice_is(path, "/services/oauth2/token"))
		login_token(s, call);
	else if (slice_is(path, "/services/oauth2/revoke"))
		login_revoke(s, call);
	else if (slice_is(path, "/services/data") || slice_is(path, "/services/data/"))
		versions(call);
	else if (!login_good(s, call) || disturbed(s, call) || !within_limit(s, call))
		return;
	else if (!sf_below(&path))
		not_found(s, call);
	else if (body_good(s, call))
		api(s, call, path);
}
