#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* What is under way of a long answer. */
struct cursor {
	struct sim *sim;
	uint64_t generation;
	size_t at, end;
	struct text key; /* ledger: only this key's entries, if any were asked for */
	bool keyed;
	uint32_t *list; /* dump */
	bool groups;
};

static bool cursor_end(struct cursor *cursor)
{
	text_free(&cursor->key);
	free(cursor->list);
	free(cursor);
	return false;
}

static bool more_ledger(void *context, struct text *out)
{
	struct cursor *cursor = context;
	const struct ledger *ledger = &cursor->sim->ledger;

	for (int i = 0; i < 256 && cursor->at < cursor->end; i++, cursor->at++) {
		if (cursor->generation != cursor->sim->generation)
			return cursor_end(cursor);
		if (!cursor->keyed ||
		    slice_is(slice_from(&cursor->key), ledger->entries[cursor->at].key))
			ledger_print(ledger, cursor->at, out);
	}
	return cursor->at < cursor->end || cursor_end(cursor);
}

static bool more_dump(void *context, struct text *out)
{
	struct cursor *cursor = context;
	struct sim *sim = cursor->sim;

	for (int i = 0; i < 64 && cursor->at < cursor->end; i++) {
		size_t before = out->n;

		if (cursor->generation != sim->generation)
			return cursor_end(cursor);
		sim->service->print(sim, cursor->groups, cursor->list[cursor->at++], out);
		if (out->n > before) /* not deleted in the meantime */
			text_char(out, '\n');
	}
	return cursor->at < cursor->end || cursor_end(cursor);
}

static void start_cursor(struct sim *sim, struct http_response *response, struct cursor start,
			 http_more_fn *more)
{
	struct cursor *cursor = xalloc(sizeof *cursor);

	*cursor = start;
	cursor->sim = sim;
	cursor->generation = sim->generation;
	response->content_type = "application/x-ndjson";
	response->cursor = cursor;
	response->more = more;
}

static void get_ledger(struct sim *sim, struct slice query, struct http_response *response)
{
	struct cursor start = {.end = sim->ledger.n};
	struct text since = {0};
	int64_t number;

	start.keyed = http_param(query, "key", &start.key);
	if (http_param(query, "since", &since) && slice_number(slice_from(&since), &number) &&
	    number > 0)
		start.at = (size_t)number;
	text_free(&since);
	start_cursor(sim, response, start, more_ledger);
}

static void get_dump(struct sim *sim, bool groups, struct http_response *response)
{
	struct cursor start = {.groups = groups};

	start.list = sim_list(sim, groups, &start.end);
	start_cursor(sim, response, start, more_dump);
}

static void count(struct text *out, const char *name, uint64_t n)
{
	text_fmt(out, "\"%s\":%llu,", name, (unsigned long long)n);
}

static void get_stats(struct sim *sim, struct text *out)
{
	const struct sim_stats *s = &sim->stats;
	const struct http_counts *c = &sim->https.counts;
	bool first = true;

	text_char(out, '{');
	count(out, "requests", s->requests);
	count(out, "inner", s->inner);
	count(out, "reads", s->reads);
	count(out, "writes", s->writes);
	count(out, "committed", sim->ledger.n);
	count(out, "creates", s->creates);
	count(out, "updates", s->updates);
	count(out, "deletes", s->deletes);
	count(out, "duplicates", s->duplicates);
	count(out, "quiet_violations", s->quiet_violations);
	count(out, "faults", s->faults);
	count(out, "connections", c->connections);
	count(out, "open", c->open);
	count(out, "handshakes", c->handshakes);
	count(out, "resumed", c->resumed);
	count(out, "handshake_failures", c->handshake_failures);
	count(out, "bad_requests", c->bad_requests);
	text_str(out, "\"by_status\":{");
	for (int i = 0; i < 600; i++) {
		if (!s->by_status[i])
			continue;
		text_fmt(out, "%s\"%d\":%llu", first ? "" : ",", i,
			 (unsigned long long)s->by_status[i]);
		first = false;
	}
	text_char(out, '}');
	sim->service->stats(sim, out);
	text_char(out, '}');
}

static void reset(struct sim *sim)
{
	sim->generation++;
	sim->service->reset(sim);
	ledger_clear(&sim->ledger);
	fault_clear(&sim->faults);
	sim_log_clear(sim);
	sim->stats = (struct sim_stats){0};
	sim->https.counts = (struct http_counts){.connections = sim->https.counts.connections,
						 .open = sim->https.counts.open};
	sim->clock_offset_ms = 0;
	sim->quiet = false;
}

static bool get(struct sim *sim, const struct http_request *request, struct http_response *response)
{
	response->content_type = "application/json";
	if (slice_is(request->path, "/ledger"))
		get_ledger(sim, request->query, response);
	else if (slice_is(request->path, "/dump"))
		get_dump(sim, false, response);
	else if (slice_is(request->path, "/groups"))
		get_dump(sim, true, response);
	else if (slice_is(request->path, "/requests"))
		sim_log_print(sim, &response->body);
	else if (slice_is(request->path, "/stats"))
		get_stats(sim, &response->body);
	else if (slice_is(request->path, "/faults"))
		fault_print(&sim->faults, &response->body);
	else if (slice_is(request->path, "/knobs"))
		knob_print(sim->knobs, sim->n_knobs, &response->body);
	else
		return false;
	return true;
}

/* Returns what is wrong, or NULL; *ret_known is false if there is no such path. */
static const char *post(struct sim *sim, const struct http_request *request, bool *ret_known)
{
	const char *error = NULL;
	struct json *body = NULL;

	*ret_known = true;
	if (slice_is(request->path, "/reset")) {
		reset(sim);
		return NULL;
	}
	arena_reset(&sim->arena);
	body = json_parse(&sim->arena, request->body, &error);
	if (!body)
		return error;
	if (slice_is(request->path, "/faults"))
		return fault_load(&sim->faults, body);
	if (slice_is(request->path, "/seed"))
		return sim_seed_all(sim, body);
	if (slice_is(request->path, "/knobs"))
		return knob_set(sim->knobs, sim->n_knobs, body);
	if (slice_is(request->path, "/clock"))
		sim->clock_offset_ms = json_get_number(body, "offset_ms", 0);
	else if (slice_is(request->path, "/quiet"))
		sim->quiet = json_get_bool(body, "on", true);
	else
		*ret_known = false;
	return NULL;
}

void sim_admin(void *context, const struct http_request *request, struct http_response *response)
{
	struct sim *sim = context;
	const char *error = NULL;
	bool known;

	if (slice_is(request->method, "GET"))
		known = get(sim, request, response);
	else
		error = post(sim, request, &known);
	if (!known || error) {
		response->status = known ? 400 : 404;
		response->content_type = "application/json";
		text_str(&response->body, "{\"error\":");
		text_json(&response->body, slice_of(error ? error : "no such path"));
		text_char(&response->body, '}');
	}
}
