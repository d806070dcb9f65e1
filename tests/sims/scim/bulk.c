#include <stdlib.h>
#include <string.h>

#include "scim.h"

/* RFC 7644 section 3.7. */

struct bulk {
	struct scim *s;
	struct sim_call *outer;
	struct json *operations;
	struct slice *ids; /* what each operation's bulkId stands for, once created */
	bool *done;
	int64_t fail_on_errors, errors;
	struct text *out;
	bool first;
};

static const char prefix[] = "bulkId:";

/* The operation of that bulkId, or -1. */
static int find_bulk_id(const struct bulk *b, struct slice id)
{
	int i = 0;

	JSON_EACH(operation, b->operations)
	{
		if (slice_equal(json_get_string(operation, "bulkId"), id))
			return i;
		i++;
	}
	return -1;
}

/*
 * Copies text with each "bulkId:x" replaced by the id it stands for. 1: done, 0: one of them is not
 * created yet, -1: there is no such operation.
 */
static int resolve(const struct bulk *b, struct slice text, struct text *out)
{
	const size_t n = sizeof prefix - 1;

	while (text.n) {
		const char *at = memmem(text.p, text.n, prefix, n);
		size_t plain = at ? (size_t)(at - text.p) : text.n;
		size_t end = plain + n;

		text_add(out, text.p, plain);
		if (!at)
			return 1;
		while (end < text.n && !strchr("\"/&] ", text.p[end]))
			end++;
		int i = find_bulk_id(b, (struct slice){at + n, end - plain - n});
		if (i < 0)
			return -1;
		if (!b->ids[i].n)
			return 0;
		text_slice(out, b->ids[i]);
		text = (struct slice){text.p + end, text.n - end};
	}
	return 1;
}

static void print_result(struct bulk *b, const struct json *operation, const struct sim_call *call,
			 struct slice location)
{
	struct text *out = b->out;
	int status = call->answer->status;

	text_str(out, b->first ? "{\"method\":" : ",{\"method\":");
	b->first = false;
	text_json(out, json_get_string(operation, "method"));
	if (json_get(operation, "bulkId")) {
		text_str(out, ",\"bulkId\":");
		text_json(out, json_get_string(operation, "bulkId"));
	}
	if (location.n) {
		text_str(out, ",\"location\":");
		text_json(out, location);
	}
	text_fmt(out, ",\"status\":\"%d\"", status);
	if (status >= 400 && call->answer->body.n && *call->answer->body.p == '{') {
		text_str(out, ",\"response\":");
		text_slice(out, slice_from(&call->answer->body));
	}
	text_char(out, '}');
}

/* Location of what the operation made or changed, and the id behind its last slash. */
static struct slice find_location(struct bulk *b, const struct sim_call *call)
{
	struct arena *arena = &b->s->sim->arena;
	const char *error;
	struct json *body;

	if (call->answer->status >= 300 || !call->answer->body.n)
		return (struct slice){0};
	body = json_parse(arena, arena_copy(arena, slice_from(&call->answer->body)), &error);
	return json_get_string(json_get(body, "meta"), "location");
}

static bool run_one(struct bulk *b, int number, const struct json *operation, struct slice path,
		    struct slice body)
{
	struct http_response answer = {.status = 200};
	struct text full = {0};
	struct sim_call call = {
		.method = json_get_string(operation, "method"), .body = body, .answer = &answer};

	text_str(&full, b->s->knobs.base_path);
	text_slice(&full, path);
	call.path = slice_from(&full);
	bool on = sim_inner(b->s->sim, &call, b->outer);
	struct slice location = find_location(b, &call);
	if (location.n > UUID_TEXT)
		b->ids[number] = (struct slice){location.p + location.n - UUID_TEXT, UUID_TEXT};
	b->errors += answer.status >= 400;
	print_result(b, operation, &call, location);
	text_free(&full);
	text_free(&answer.headers);
	text_free(&answer.body);
	return on;
}

/* Refuses an operation that cannot be carried out, without passing it on. */
static void refuse_one(struct bulk *b, const struct json *operation, const char *detail, int status)
{
	struct http_response answer = {.status = 200};
	struct sim_call call = {.answer = &answer};
	struct scim_error error;

	scim_fail(&error, status, "invalidSyntax", "%s", detail);
	scim_answer_error(b->s, &call, &error);
	b->errors++;
	print_result(b, operation, &call, (struct slice){0});
	text_free(&answer.body);
}

/* 1: settled, 0: later, -1: the answer ends here. */
static int try_one(struct bulk *b, int number, const struct json *operation)
{
	struct text path = {0}, body = {0}, data = {0};
	struct slice method = json_get_string(operation, "method");
	int result = 1;

	if (json_get(operation, "data"))
		json_write(&data, json_get(operation, "data"));
	int path_state = resolve(b, json_get_string(operation, "path"), &path);
	int data_state = resolve(b, slice_from(&data), &body);
	if (slice_is(method, "POST") && !json_get_string(operation, "bulkId").n)
		refuse_one(b, operation, "POST needs a bulkId.", 400);
	else if (path_state < 0 || data_state < 0)
		refuse_one(b, operation, "A bulkId is not known.", 400);
	else if (!path_state || !data_state)
		result = 0;
	else
		result = run_one(b, number, operation, slice_from(&path), slice_from(&body)) ? 1
											     : -1;
	text_free(&path);
	text_free(&body);
	text_free(&data);
	return result;
}

/* Rounds, so that forward references find what they wait for. */
static void run_all(struct bulk *b)
{
	bool progress = true, over = false;

	while (progress && !over) {
		int i = -1;

		progress = false;
		JSON_EACH(operation, b->operations)
		{
			i++;
			over = over || (b->fail_on_errors && b->errors >= b->fail_on_errors);
			if (over || b->done[i])
				continue;
			int result = try_one(b, i, operation);
			b->done[i] = result != 0;
			progress |= result > 0;
			over |= result < 0;
		}
	}
	int i = 0;
	JSON_EACH(operation, b->operations)
	{
		if (!b->done[i++] && !over)
			refuse_one(b, operation, "The bulkId references cannot be resolved.", 409);
	}
}

static bool check(struct scim *s, const struct sim_call *call, const struct json *body,
		  struct scim_error *error)
{
	const struct json *schemas = json_get(body, "schemas");
	const struct json *operations = json_get(body, "Operations");

	if (!s->knobs.bulk)
		return scim_fail(error, 501, NULL, "Bulk is not supported.");
	if ((int64_t)call->body.n > s->knobs.bulk_bytes)
		return scim_fail(
			error, 413, NULL,
			"The size of the bulk operation exceeds the maxPayloadSize (%lld).",
			(long long)s->knobs.bulk_bytes);
	if (!schemas || !schemas->first ||
	    !slice_is(schemas->first->string,
		      "urn:ietf:params:scim:api:messages:2.0:BulkRequest") ||
	    !json_is(operations, JSON_ARRAY))
		return scim_fail(error, 400, "invalidSyntax", "The body is not a BulkRequest.");
	if (operations->count > s->knobs.bulk_operations)
		return scim_fail(
			error, 413, NULL,
			"Number of operations in BulkRequest exceeds maxOperations limit (%lld)",
			(long long)s->knobs.bulk_operations);
	return true;
}

void scim_bulk(struct scim *s, struct sim_call *call)
{
	const char *why = NULL;
	struct json *body = json_parse(&s->sim->arena, call->body, &why);
	struct scim_error error;
	struct text out = {0};

	if (!check(s, call, body, &error)) {
		scim_answer_error(s, call, &error);
		return;
	}
	struct bulk b = {.s = s,
			 .outer = call,
			 .operations = json_get(body, "Operations"),
			 .fail_on_errors = json_get_number(body, "failOnErrors", 0),
			 .out = &out,
			 .first = true};
	b.ids = xalloc(b.operations->count * sizeof *b.ids);
	b.done = xalloc(b.operations->count * sizeof *b.done);
	text_str(&out, "{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:BulkResponse\"],"
		       "\"Operations\":[");
	run_all(&b);
	text_str(&out, "]}");
	scim_answer_json(call, 200);
	call->answer->body = out;
	free(b.ids);
	free(b.done);
}
