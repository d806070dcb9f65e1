/* Several in one request: sObject collections (one after the other, each as the row it is) and composite, whose parts may name what
 * parts before them answered: @{id.records[0].Id}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sf.h"

enum { RECORDS_MAX = 200, PARTS_MAX = 25, QUERIES_MAX = 5, CHUNKS_MAX = 10 };

/* A row of a collection as a request of its own. */
static bool inner(struct sf *s, struct sim_call *outer, const char *method, struct slice path,
		  struct slice body, struct http_response *ret)
{
	struct sim_call call = {.method = slice_of(method),
				.path = path,
				.body = body,
				.http = outer->http,
				.answer = ret};

	ret->status = 200;
	return sim_inner(s->sim, &call, outer);
}

static void release(struct http_response *r)
{
	text_free(&r->body);
	text_free(&r->headers);
}

/* [{"message","errorCode"}] → [{"statusCode","message","fields"}] */
static void print_errors(struct sf *s, const struct http_response *r, struct text *out)
{
	const char *error;
	const struct json *list = json_parse(&s->sim->arena, slice_from(&r->body), &error);
	const struct json *one = json_is(list, JSON_ARRAY) ? list->first : list;
	const struct json *fields = json_get(one, "fields");
	struct slice code = json_get_string(one, "errorCode");

	text_str(out, "{\"success\":false,\"errors\":[{\"statusCode\":");
	text_json(out, code.n ? code : SLICE("UNKNOWN_EXCEPTION"));
	text_str(out, ",\"message\":");
	text_json(out, json_get_string(one, "message"));
	text_str(out, ",\"fields\":");
	if (fields)
		json_write(out, fields);
	else
		text_str(out, "[]");
	text_str(out, "}]}");
}

static void print_row(struct sf *s, const struct http_response *r, struct slice id,
		      struct text *out)
{
	if (r->status < 200 || r->status > 299) {
		print_errors(s, r, out);
	} else if (r->body.n) {
		text_slice(out, slice_from(&r->body));
	} else {
		text_str(out, "{\"id\":");
		text_json(out, id);
		text_str(out, ",\"success\":true,\"errors\":[]}");
	}
}

/* ---- what a collection may hold ---- */

static bool collection_good(struct sf *s, struct sim_call *call, const struct json *list)
{
	struct slice before = {0}, type;
	unsigned chunks = 0;
	bool user = false, other = false;

	if (!json_is(list, JSON_ARRAY) || list->count == 0 || list->count > RECORDS_MAX) {
		sf_fail(s, call, 400, "EXCEEDED_ID_LIMIT", NULL,
			"record limit reached. cannot submit more than %d records in this "
			"operation",
			RECORDS_MAX);
		return false;
	}
	JSON_EACH(record, list)
	{
		type = json_get_string(json_get(record, "attributes"), "type");
		if (!schema_object(s, type)) {
			sf_fail(s, call, 400, "INVALID_TYPE", NULL,
				"sObject type '%.*s' is not supported.", (int)type.n, type.p);
			return false;
		}
		chunks += !slice_equal_nocase(type, before);
		user |= slice_is_nocase(type, "User");
		other |= !slice_is_nocase(type, "User");
		before = type;
	}
	if (chunks > CHUNKS_MAX || (user && other)) {
		sf_fail(s, call, 400,
			chunks > CHUNKS_MAX ? "LIMIT_EXCEEDED" : "MIXED_DML_OPERATION", NULL,
			"DML operation on setup object is not permitted after you have updated "
			"a non-setup object (or vice versa)");
		return false;
	}
	return true;
}

static void rest_path(struct sf *s, struct text *path, struct slice type)
{
	(void)s;
	text_fmt(path, "/services/data/v62.0/sobjects/%.*s", (int)type.n, type.p);
}

/* Takes `name` out of the record; its value. */
static struct slice pull(struct json *record, const char *name)
{
	const struct json *member = json_get_nocase(record, slice_of(name));
	struct slice value = {0};

	if (!member)
		return value;
	value = json_is(member, JSON_STRING) ? member->string : SLICE("");
	json_remove(record, member);
	return value;
}

/* One record: where it goes and what goes there. False: the outer answer ends here. */
static bool one_record(struct sf *s, struct sim_call *call, struct json *record, struct slice key,
		       struct text *out)
{
	struct text path = {0}, body = {0};
	struct slice type = json_get_string(json_get(record, "attributes"), "type");
	char field[80] = "";
	struct slice id;
	struct http_response r = {0};
	bool create = slice_is(call->method, "POST");
	bool going;

	snprintf(field, sizeof field, "%.*s", (int)key.n, key.n ? key.p : "");
	rest_path(s, &path, type);
	id = create ? (struct slice){0} : pull(record, key.n ? field : "id");
	if (key.n)
		text_fmt(&path, "/%s", field);
	if (!create) {
		text_char(&path, '/');
		text_percent_encode(&path, id);
	}
	json_write(&body, record);
	going = inner(s, call, create ? "POST" : "PATCH", slice_from(&path), slice_from(&body), &r);
	if (going)
		print_row(s, &r, id, out);
	text_free(&path);
	text_free(&body);
	release(&r);
	return going;
}

static void write_collection(struct sf *s, struct sim_call *call, struct slice key)
{
	const char *error = "";
	struct json *body = json_parse(&s->sim->arena, call->body, &error);
	struct json *list = json_get(body, "records");
	struct text *out = &call->answer->body;

	if (!body) {
		sf_fail(s, call, 400, "JSON_PARSER_ERROR", NULL, "%s", error);
		return;
	}
	if (!collection_good(s, call, list))
		return;
	if (json_get_bool(body, "allOrNone", false)) {
		sf_fail(s, call, 400, "INVALID_OPERATION", NULL,
			"allOrNone is not simulated: nothing is rolled back here");
		return;
	}
	text_char(out, '[');
	JSON_EACH(record, list)
	{
		if (record != list->first)
			text_char(out, ',');
		if (!one_record(s, call, record, key, out))
			return;
	}
	text_char(out, ']');
	sf_json(call, 200);
}

static void delete_collection(struct sf *s, struct sim_call *call)
{
	struct text ids = {0}, *out = &call->answer->body;
	struct slice rest;
	bool first = true, going = true;

	http_param(call->query, "ids", &ids);
	rest = slice_from(&ids);
	text_char(out, '[');
	while (rest.n && going) {
		struct slice id = slice_cut(&rest, ',');
		struct http_response r = {0};
		struct text path = {0};

		for (size_t i = 0; i < s->n_objects; i++) {
			if (id.n >= 3 && !memcmp(id.p, s->objects[i].prefix, 3))
				rest_path(s, &path, slice_of(s->objects[i].name));
		}
		text_fmt(&path, "/%.*s", (int)id.n, id.p);
		text_str(out, first ? "" : ",");
		first = false;
		going = inner(s, call, "DELETE", slice_from(&path), SLICE(""), &r);
		if (going)
			print_row(s, &r, id, out);
		text_free(&path);
		release(&r);
	}
	text_char(out, ']');
	text_free(&ids);
	if (going)
		sf_json(call, 200);
}

/* ---- composite ---- */

struct done {
	struct slice id;
	const struct json *body; /* NULL: none, or the part failed */
};

/* records[0].Id of a part's answer. */
static struct slice look_up(const struct json *at, struct slice path)
{
	while (at && path.n) {
		struct slice step = slice_cut(&path, '.'), name = slice_cut(&step, '[');
		int64_t index;

		at = json_get_slice(at, name);
		if (!step.n)
			continue;
		if (!slice_number(slice_cut(&step, ']'), &index))
			return (struct slice){0};
		at = json_is(at, JSON_ARRAY) ? at->first : NULL;
		while (at && index-- > 0)
			at = at->next;
	}
	return at && json_is(at, JSON_STRING) ? at->string : (struct slice){0};
}

/* Puts values in the place of @{id.path}; false: there is none. */
static bool expand(const struct done *done, size_t n, struct slice text, struct text *out)
{
	for (size_t i = 0; i < text.n; i++) {
		struct slice rest = {text.p + i, text.n - i}, name, value = {0};

		if (!slice_starts(rest, "@{")) {
			text_char(out, text.p[i]);
			continue;
		}
		rest = (struct slice){rest.p + 2, rest.n - 2};
		rest = slice_cut(&rest, '}');
		i += rest.n + 2;
		name = slice_cut(&rest, '.');
		for (size_t k = 0; k < n; k++) {
			if (slice_equal(done[k].id, name))
				value = look_up(done[k].body, rest);
		}
		if (!value.p)
			return false;
		text_slice(out, value);
	}
	return true;
}

/* A reference inside of a coded query is decoded first. */
static bool make_url(const struct done *done, size_t n, struct slice url, struct text *out)
{
	struct text path = {0};
	bool good =
		text_percent_decode(&path, url, false) && expand(done, n, slice_from(&path), out);

	text_free(&path);
	return good;
}

static void part(struct sf *s, struct sim_call *outer, const struct json *one, struct done *done,
		 size_t n, struct http_response *ret)
{
	struct text url = {0}, body = {0}, query = {0}, text = {0};
	const struct json *given = json_get(one, "body");
	struct sim_call call = {
		.method = json_get_string(one, "method"), .http = outer->http, .answer = ret};
	struct slice rest;

	ret->status = 200;
	if (given)
		json_write(&text, given);
	if (!make_url(done, n, json_get_string(one, "url"), &url) ||
	    !expand(done, n, slice_from(&text), &body)) {
		call.answer = ret;
		sf_fail(s, &call, 400, "PROCESSING_HALTED", NULL,
			"Invalid reference specified. No value for a reference was found");
	} else {
		rest = slice_from(&url);
		call.path = slice_cut(&rest, '?');
		/* the query was decoded for the references: coded again for whoever reads it */
		if (slice_starts(rest, "q=")) {
			text_str(&query, "q=");
			text_percent_encode(&query, (struct slice){rest.p + 2, rest.n - 2});
			rest = slice_from(&query);
		}
		call.query = rest;
		call.body = slice_from(&body);
		sim_inner(s->sim, &call, outer);
	}
	text_free(&url);
	text_free(&body);
	text_free(&query);
	text_free(&text);
}

static void print_part(const struct http_response *r, struct slice id, struct text *out)
{
	text_str(out, "{\"body\":");
	if (r->body.n)
		text_slice(out, slice_from(&r->body));
	else
		text_str(out, "null");
	text_fmt(out, ",\"httpHeaders\":{},\"httpStatusCode\":%d,\"referenceId\":", r->status);
	text_json(out, id);
	text_char(out, '}');
}

static bool composite_good(struct sf *s, struct sim_call *call, const struct json *list)
{
	unsigned queries = 0;

	JSON_EACH(one, list)
	queries += slice_find(json_get_string(one, "url"), SLICE("/query"));
	if (json_is(list, JSON_ARRAY) && list->count > 0 && list->count <= PARTS_MAX &&
	    queries <= QUERIES_MAX)
		return true;
	sf_fail(s, call, 400, "LIMIT_EXCEEDED", NULL,
		"Limit of %d subrequests, %d of them queries, exceeded", PARTS_MAX, QUERIES_MAX);
	return false;
}

static void composite(struct sf *s, struct sim_call *call)
{
	const char *error = "";
	const struct json *body = json_parse(&s->sim->arena, call->body, &error);
	const struct json *list = json_get(body, "compositeRequest");
	struct done done[PARTS_MAX] = {{{0}, NULL}};
	struct text *out = &call->answer->body;
	size_t n = 0;

	if (!composite_good(s, call, list))
		return;
	text_str(out, "{\"compositeResponse\":[");
	JSON_EACH(one, list)
	{
		struct http_response r = {0};

		text_str(out, n ? "," : "");
		done[n].id = json_get_string(one, "referenceId");
		part(s, call, one, done, n, &r);
		if (r.status < 300 && r.body.n)
			done[n].body =
				json_parse(&s->sim->arena,
					   arena_copy(&s->sim->arena, slice_from(&r.body)), &error);
		print_part(&r, done[n].id, out);
		n++;
		release(&r);
		if (call->answer->fate != HTTP_SEND)
			return;
	}
	text_str(out, "]}");
	sf_json(call, 200);
}

void composite_route(struct sf *s, struct sim_call *call, struct slice rest)
{
	struct slice head = slice_cut(&rest, '/'), type = slice_cut(&rest, '/');
	bool write = slice_is(call->method, "POST") || slice_is(call->method, "PATCH");

	if (call->inner)
		sf_fail(s, call, 400, "INVALID_OPERATION", NULL, "a composite holds no composite");
	else if (!head.n && slice_is(call->method, "POST"))
		composite(s, call);
	else if (slice_is(head, "sobjects") && slice_is(call->method, "DELETE"))
		delete_collection(s, call);
	else if (slice_is(head, "sobjects") && write && (!type.n) == (!rest.n) &&
		 (!type.n || slice_is(call->method, "PATCH")))
		write_collection(s, call, rest);
	else
		sf_fail(s, call, 404, "NOT_FOUND", NULL, "The requested resource does not exist");
}
