#include <stdlib.h>

#include "scim.h"

struct hits {
	uint32_t *list; /* owned */
	size_t n, cap;
};

struct query {
	struct text filter, cursor, only, without; /* owned */
	int64_t start, count;
	bool filtered, by_cursor, counted;
};

static void hit(struct hits *hits, uint32_t number)
{
	if (hits->n == hits->cap) {
		hits->cap = hits->cap ? hits->cap * 2 : 32;
		hits->list = xgrow(hits->list, hits->cap * sizeof *hits->list);
	}
	hits->list[hits->n++] = number;
}

static bool look_up(struct scim *s, const struct kind *kind, const struct filter *f,
		    struct hits *hits)
{
	struct table *table = scim_table(s, kind);
	struct slice name = slice_of(f->path.attr->name);
	struct slice value = f->value->string;
	uint32_t e = NONE;

	if (f->op != FILTER_EQ || f->path.extension || f->value->type != JSON_STRING)
		return false;
	if (slice_is(name, "id")) {
		e = table_find_id(table, value);
	} else if (slice_is(name, "userName")) {
		e = table_find_name(table, value, NONE, false);
	} else if (slice_is(name, "externalId")) {
		while ((e = table_find_external(table, value, e)) != NONE)
			hit(hits, e);
		return true;
	} else {
		return false;
	}
	if (e != NONE)
		hit(hits, e);
	return true;
}

/* Fills hits with what may fit, from the indexes; false if they do not help. */
static bool plan(struct scim *s, const struct kind *kind, const struct filter *f, struct hits *hits)
{
	size_t before = hits->n;

	if (f->op == FILTER_OR) {
		if (plan(s, kind, f->a, hits) && plan(s, kind, f->b, hits))
			return true;
		hits->n = before;
		return false;
	}
	if (f->op == FILTER_AND)
		return plan(s, kind, f->a, hits) || plan(s, kind, f->b, hits);
	return f->op < FILTER_COMPARISONS && f->op != FILTER_PR && look_up(s, kind, f, hits);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void find(struct scim *s, const struct kind *kind, const struct filter *f, struct hits *hits)
{
	const struct table *table = scim_table(s, kind);
	struct arena scratch = {0};
	size_t kept = 0;

	if (!f || !plan(s, kind, f, hits)) {
		for (uint32_t i = 0; i < table->n; i++) {
			if (table->entries[i].live)
				hit(hits, i);
		}
	} else if (hits->n) {
		qsort(hits->list, hits->n, sizeof *hits->list, by_number);
	}
	uint32_t *list = hits->list;
	for (size_t i = 0; f && list && i < hits->n; i++) {
		if (i && list[i] == list[i - 1])
			continue;
		const struct json *tree = scim_tree(s, &scratch, kind, list[i], true);
		if (filter_fits(f, tree, s->knobs.case_sensitive_user_name))
			list[kept++] = list[i];
		arena_reset(&scratch);
	}
	if (f)
		hits->n = kept;
	arena_free(&scratch);
}

/* Entra: externalId stands alone. */
static bool names_external(const struct filter *f)
{
	if (!f)
		return false;
	if (f->path.attr)
		return slice_is(slice_of(f->path.attr->name), "externalId");
	return names_external(f->a) || names_external(f->b);
}

static bool parse_filter(struct scim *s, const struct kind *kind, const struct query *q,
			 struct filter **ret_filter, struct scim_error *error)
{
	*ret_filter = NULL;
	if (!q->filtered)
		return true;
	*ret_filter = filter_parse(&s->sim->arena, slice_from(&q->filter), kind->schema, NULL,
				   s->knobs.filter_operators, error);
	if (*ret_filter && s->entra && !(*ret_filter)->path.attr && names_external(*ret_filter))
		return scim_fail(error, 400, "invalidFilter", "externalId cannot be combined.");
	return *ret_filter != NULL;
}

/* A cursor is the number of the next entry. */
static bool read_cursor(const struct query *q, size_t *ret_number)
{
	struct text plain = {0};
	int64_t number = 0;
	bool good = !q->cursor.n;

	if (!good && text_base64_decode(&plain, slice_from(&q->cursor), true) &&
	    slice_starts(slice_from(&plain), "next:"))
		good = slice_number((struct slice){plain.p + 5, plain.n - 5}, &number) &&
		       number >= 0;
	text_free(&plain);
	*ret_number = (size_t)number;
	return good;
}

static void print_cursor(uint32_t number, struct text *out)
{
	struct text plain = {0};

	text_fmt(&plain, "next:%u", number);
	text_str(out, ",\"nextCursor\":\"");
	text_base64url(out, plain.p, plain.n);
	text_char(out, '"');
	text_free(&plain);
}

/* The page is hits[from], count of them at most. */
static void print_page(struct scim *s, struct sim_call *call, const struct kind *kind,
		       const struct query *q, const struct hits *hits, size_t from)
{
	struct projection projection = {slice_from(&q->only), slice_from(&q->without)};
	struct text *out = &call->answer->body;
	size_t n = from < hits->n ? hits->n - from : 0;

	if ((int64_t)n > q->count)
		n = (size_t)q->count;
	text_str(out, "{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:ListResponse\"]");
	if (s->knobs.total_results)
		text_fmt(out, ",\"totalResults\":%zu", hits->n);
	text_fmt(out, ",\"itemsPerPage\":%zu", n);
	if (!q->by_cursor)
		text_fmt(out, ",\"startIndex\":%zu", from + 1);
	else if (from + n < hits->n)
		print_cursor(hits->list[from + n], out);
	text_str(out, s->entra ? ",\"resources\":[" : ",\"Resources\":[");
	for (size_t i = 0; hits->list && i < n; i++) {
		if (i)
			text_char(out, ',');
		scim_print(s, kind, hits->list[from + i], call->http, &projection, out);
	}
	text_str(out, "]}");
	scim_answer_json(call, 200);
}

static bool page_of(struct scim *s, struct query *q, const struct hits *hits, size_t *ret_from,
		    struct scim_error *error)
{
	size_t number, from = 0;

	if (!q->counted)
		q->count = s->knobs.page_default;
	if (q->count < 0)
		q->count = 0;
	if (q->count > s->knobs.page_max)
		q->count = s->knobs.page_max;
	if (!q->by_cursor) {
		*ret_from = q->start < 1 ? 0 : (size_t)q->start - 1;
		return true;
	}
	if (!read_cursor(q, &number))
		return scim_fail(error, 400, "invalidCursor", "The cursor is not valid.");
	while (from < hits->n && hits->list[from] < number)
		from++;
	*ret_from = from;
	return true;
}

static void run(struct scim *s, struct sim_call *call, const struct kind *kind, struct query *q)
{
	struct scim_error error = {0};
	struct filter *filter;
	struct hits hits = {0};
	size_t from = 0;

	if (q->by_cursor && !s->knobs.cursor_paging)
		scim_fail(&error, 400, "invalidValue", "Cursor paging is not supported.");
	if (!s->knobs.index_paging)
		q->by_cursor = true;
	if (!error.status && parse_filter(s, kind, q, &filter, &error)) {
		find(s, kind, filter, &hits);
		page_of(s, q, &hits, &from, &error);
	}
	if (!error.status && filter && !hits.n && s->knobs.zero_hits_404)
		scim_fail(&error, 404, NULL, "Nothing was found.");
	if (error.status)
		scim_answer_error(s, call, &error);
	else
		print_page(s, call, kind, q, &hits, from);
	free(hits.list);
}

static void query_done(struct query *q)
{
	text_free(&q->filter);
	text_free(&q->cursor);
	text_free(&q->only);
	text_free(&q->without);
}

static bool read_number(struct slice query, const char *name, int64_t *ret_number, bool *ret_given)
{
	struct text value = {0};

	*ret_given = http_param(query, name, &value);
	bool good = !*ret_given || slice_number(slice_from(&value), ret_number);
	text_free(&value);
	return good;
}

void scim_list(struct scim *s, struct sim_call *call, const struct kind *kind)
{
	struct query q = {.start = 1};
	struct scim_error error;
	bool started;

	q.filtered = http_param(call->query, "filter", &q.filter);
	q.by_cursor = http_param(call->query, "cursor", &q.cursor);
	http_param(call->query, "attributes", &q.only);
	http_param(call->query, "excludedAttributes", &q.without);
	if (read_number(call->query, "startIndex", &q.start, &started) &&
	    read_number(call->query, "count", &q.count, &q.counted)) {
		run(s, call, kind, &q);
	} else {
		scim_fail(&error, 400, "invalidValue", "startIndex and count must be integers.");
		scim_answer_error(s, call, &error);
	}
	query_done(&q);
}

static void join(struct json *list, struct text *out)
{
	JSON_EACH(item, list)
	{
		text_slice(out, item->string);
		text_char(out, ',');
	}
}

/* RFC 7644 section 3.4.3. */
void scim_search(struct scim *s, struct sim_call *call, const struct kind *kind)
{
	struct query q = {0};
	struct scim_error failure;
	const char *error = NULL;
	struct json *body = json_parse(&s->sim->arena, call->body, &error);
	struct json *schemas = json_get(body, "schemas");

	if (!schemas || !schemas->first ||
	    !slice_is(schemas->first->string,
		      "urn:ietf:params:scim:api:messages:2.0:SearchRequest")) {
		scim_fail(&failure, 400, "invalidSyntax", "The body is not a SearchRequest.");
		scim_answer_error(s, call, &failure);
		return;
	}
	q.filtered = json_is(json_get(body, "filter"), JSON_STRING);
	text_slice(&q.filter, json_get_string(body, "filter"));
	q.by_cursor = json_is(json_get(body, "cursor"), JSON_STRING);
	text_slice(&q.cursor, json_get_string(body, "cursor"));
	join(json_get(body, "attributes"), &q.only);
	join(json_get(body, "excludedAttributes"), &q.without);
	q.start = json_get_number(body, "startIndex", 1);
	q.counted = json_get(body, "count") != NULL;
	q.count = json_get_number(body, "count", 0);
	run(s, call, kind, &q);
	query_done(&q);
}
