#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"

enum { BATCH_MAX = 20 };

struct item {
	const struct json *request;
	struct slice id;
	int depends[BATCH_MAX];
	int n_depends;
	int status; /* 0: not carried out yet */
};

struct batch {
	struct graph *g;
	struct sim_call *outer;
	struct item items[BATCH_MAX];
	int n;
	bool throttled;
	struct text out;
};

static int find_item(const struct batch *b, struct slice id)
{
	for (int i = 0; i < b->n; i++) {
		if (slice_equal_nocase(b->items[i].id, id))
			return i;
	}
	return -1;
}

static const char *read_item(struct batch *b, const struct json *request)
{
	struct item item = {.request = request, .id = json_get_string(request, "id")};
	const struct json *headers = json_get(request, "headers");
	struct json *depends = json_get(request, "dependsOn");

	if (!item.id.n || !json_get_string(request, "method").n ||
	    !json_get_string(request, "url").n)
		return "Each request in a batch needs id, method and url.";
	if (find_item(b, item.id) >= 0)
		return "Request Id's have to be unique in a batch.";
	if (json_get(request, "body") && !json_get_nocase(headers, SLICE("Content-Type")))
		return "A request with a body needs the header Content-Type.";
	JSON_EACH(other, depends)
	{
		int i = find_item(b, other->string);

		if (i < 0 || item.n_depends == BATCH_MAX)
			return "dependsOn names no request that stands before.";
		item.depends[item.n_depends++] = i;
	}
	b->items[b->n++] = item;
	return NULL;
}

/* Parallel, serial, or all on the same one: what the service knows. */
static const char *check_pattern(const struct batch *b)
{
	int with = 0, serial = 0, same = 0, on = -1;

	for (int i = 0; i < b->n; i++) {
		const struct item *item = &b->items[i];

		if (!item->n_depends)
			continue;
		with++;
		serial += item->n_depends == 1 && item->depends[0] == i - 1;
		if (on < 0)
			on = item->depends[0];
		same += item->n_depends == 1 && item->depends[0] == on;
	}
	if (!with || same == with || (serial == with && with == b->n - 1))
		return NULL;
	return "The dependsOn properties are neither serial nor all the same.";
}

static void print_headers(const struct http_response *answer, struct text *out)
{
	struct slice rest = slice_from(&answer->headers);
	bool first = true;

	text_str(out, ",\"headers\":{");
	while (rest.n) {
		struct slice value = slice_cut(&rest, '\n');
		struct slice name = slice_cut(&value, ':');

		if (value.n && value.p[value.n - 1] == '\r')
			value.n--;
		text_str(out, first ? "" : ",");
		text_json(out, name);
		text_char(out, ':');
		text_json(out, slice_trim(value));
		first = false;
	}
	if (answer->content_type) {
		text_str(out, first ? "\"Content-Type\":" : ",\"Content-Type\":");
		text_json(out, slice_of(answer->content_type));
	}
	text_char(out, '}');
}

/* JSON as it is, anything else in base64. */
static void print_body(const struct http_response *answer, struct text *out)
{
	const struct text *body = &answer->body;

	if (!body->n)
		return;
	text_str(out, ",\"body\":");
	if (*body->p == '{' || *body->p == '[') {
		text_slice(out, slice_from(body));
		return;
	}
	unsigned char *coded = xalloc(body->n * 4 / 3 + 8);
	int n = EVP_EncodeBlock(coded, (const unsigned char *)body->p, (int)body->n);
	text_json(out, (struct slice){(const char *)coded, (size_t)n});
	free(coded);
}

static void print_item(struct batch *b, struct item *item, const struct http_response *answer)
{
	struct text *out = &b->out;

	item->status = answer->status;
	b->throttled |= answer->status == 429;
	text_str(out, out->p[out->n - 1] == '[' ? "{\"id\":" : ",{\"id\":");
	text_json(out, item->id);
	text_fmt(out, ",\"status\":%d", answer->status);
	print_headers(answer, out);
	print_body(answer, out);
	text_char(out, '}');
}

/* The item's headers, and behind them those of the batch that are not about its body. */
static void gather_headers(const struct batch *b, const struct item *item,
			   struct http_request *http)
{
	const struct http_request *outer = b->outer->http;

	*http = (struct http_request){.connection = outer->connection};
	JSON_EACH(header, json_get(item->request, "headers"))
	{
		if (http->n_headers < HTTP_HEADERS_MAX)
			http->headers[http->n_headers++] =
				(struct http_header){header->key, header->string};
	}
	for (size_t i = 0; i < outer->n_headers && http->n_headers < HTTP_HEADERS_MAX; i++) {
		struct slice name = outer->headers[i].name;

		if (!slice_is_nocase(name, "content-type") &&
		    !slice_is_nocase(name, "content-length") && !slice_is_nocase(name, "accept") &&
		    !slice_is_nocase(name, "consistencylevel"))
			http->headers[http->n_headers++] = outer->headers[i];
	}
}

static bool carry_out(struct batch *b, struct item *item)
{
	struct slice query = json_get_string(item->request, "url");
	struct slice path = slice_cut(&query, '?');
	struct json *json = json_get(item->request, "body");
	struct http_response answer = {.status = 200};
	struct text full = {0}, body = {0};
	struct http_request http;

	gather_headers(b, item, &http);
	text_str(&full, *path.p == '/' ? "/v1.0" : "/v1.0/");
	text_slice(&full, path);
	if (json_is(json, JSON_STRING))
		text_base64_decode(&body, json->string, false);
	else if (json)
		json_write(&body, json);
	struct sim_call call = {.method = json_get_string(item->request, "method"),
				.path = slice_from(&full),
				.query = query,
				.body = slice_from(&body),
				.http = &http,
				.answer = &answer};
	bool on = sim_inner(b->g->sim, &call, b->outer);
	print_item(b, item, &answer);
	text_free(&full);
	text_free(&body);
	text_free(&answer.headers);
	text_free(&answer.body);
	return on;
}

static void fail_dependant(struct batch *b, struct item *item)
{
	struct http_response answer = {.status = 200};
	struct sim_call call = {.http = b->outer->http, .answer = &answer};

	graph_error(b->g, &call, 424, "FailedDependency",
		    "The request failed because a request that it depends on failed.");
	print_item(b, item, &answer);
	text_free(&answer.headers);
	text_free(&answer.body);
}

static void run(struct batch *b)
{
	bool on = true;

	text_str(&b->out, "{\"responses\":[");
	for (int i = 0; i < b->n && on; i++) {
		struct item *item = &b->items[i];
		bool failed = false;

		for (int k = 0; k < item->n_depends; k++)
			failed |= b->items[item->depends[k]].status >= 400;
		if (failed)
			fail_dependant(b, item);
		else
			on = carry_out(b, item);
	}
	text_str(&b->out, "]}");
}

void batch_route(struct graph *g, struct sim_call *call)
{
	struct batch b = {.g = g, .outer = call};
	const char *wrong = NULL;
	struct json *body;

	if (!graph_body(g, call, &body))
		return;
	const struct json *requests = json_get(body, "requests");
	if (!json_is(requests, JSON_ARRAY) || !requests->count)
		wrong = "Invalid batch payload format.";
	else if (requests->count > BATCH_MAX)
		wrong = "Number of batch request steps exceeds the maximum value of 20.";
	JSON_EACH(request, wrong ? NULL : requests)
	{
		if (!wrong)
			wrong = read_item(&b, request);
	}
	if (!wrong)
		wrong = check_pattern(&b);
	if (wrong) {
		graph_error(g, call, 400, "BadRequest", "%s", wrong);
		return;
	}
	run(&b);
	text_clear(&call->answer->body);
	call->answer->body = b.out;
	graph_json(call, b.throttled ? (int)g->knobs.batch_throttle_status : 200);
}
