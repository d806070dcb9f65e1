#include <stdlib.h>
#include <string.h>

#include "ofilter.h"

static bool refuse(struct graph *g, struct sim_call *call, const char *message)
{
	graph_error(g, call, 400, "Request_UnsupportedQuery", "%s", message);
	return false;
}

static bool known_options(struct slice query)
{
	static const char *const known[] = {"$select",	"$filter",     "$top",
					    "$expand",	"$count",      "$skiptoken",
					    "$orderby", "$deltatoken", NULL};
	struct text name = {0};
	bool good = true;

	while (query.n && good) {
		struct slice value = slice_cut(&query, '&');
		int i = 0;

		text_clear(&name);
		text_percent_decode(&name, slice_cut(&value, '='), true);
		while (known[i] && !slice_is(slice_from(&name), known[i]))
			i++;
		good = known[i] != NULL;
	}
	text_free(&name);
	return good;
}

static bool check_select(struct graph *g, struct sim_call *call, const struct query *q)
{
	struct slice list = slice_from(&q->select);

	while (list.n) {
		struct slice name = slice_trim(slice_cut(&list, ','));
		const struct prop *prop = prop_find(name);

		if (prop && strcmp(prop->name, "passwordProfile") != 0)
			continue;
		graph_error(
			g, call, 400, "BadRequest",
			"Parsing OData Select and Expand failed: Could not find a property named "
			"'%.*s' on type 'microsoft.graph.user'.",
			(int)name.n, name.p);
		return false;
	}
	return true;
}

bool query_read(struct graph *g, struct sim_call *call, struct query *q)
{
	struct text top = {0}, count = {0}, order = {0};
	bool good = known_options(call->query);

	*q = (struct query){.top = g->knobs.page_default};
	q->selects = http_param(call->query, "$select", &q->select);
	q->filters = http_param(call->query, "$filter", &q->filter);
	q->expands = http_param(call->query, "$expand", &q->expand);
	http_param(call->query, "$skiptoken", &q->skip);
	http_param(call->query, "$count", &count);
	q->count = slice_is_nocase(slice_from(&count), "true");
	q->eventual = slice_is_nocase(http_header(call->http, "consistencylevel"), "eventual");
	if (http_param(call->query, "$top", &top))
		good = good && slice_number(slice_from(&top), &q->top) && q->top >= 1 &&
		       q->top <= g->knobs.page_max;
	if (!good)
		graph_error(g, call, 400, "Request_BadRequest",
			    "Invalid query option or page size.");
	else if (http_param(call->query, "$orderby", &order) && q->filters &&
		 !(q->eventual && q->count))
		good = refuse(g, call, "Sorting not supported for current query.");
	else if (q->expands && !slice_starts(slice_from(&q->expand), "manager"))
		good = refuse(g, call, "Unsupported Query.");
	else
		good = check_select(g, call, q);
	text_free(&top);
	text_free(&count);
	text_free(&order);
	if (!good)
		query_done(q);
	return good;
}

void query_done(struct query *q)
{
	text_free(&q->select);
	text_free(&q->filter);
	text_free(&q->expand);
	text_free(&q->skip);
}

static void print_prop(struct graph *g, const struct prop *prop, uint32_t number,
		       const struct json *doc, struct text *out)
{
	text_str(out, strchr("{,", out->p[out->n - 1]) ? "\"" : ",\"");
	text_str(out, prop->name);
	text_str(out, "\":");
	props_print(g, prop, number, doc, out);
}

static void print_manager(struct graph *g, uint32_t number, struct text *out)
{
	const struct user *user = &g->dir.users[number];
	char id[UUID_TEXT + 1];

	if (!user->manager || !g->dir.users[user->manager - 1].live)
		return;
	const struct user *manager = &g->dir.users[user->manager - 1];
	uuid_print(manager->id, id);
	text_fmt(out,
		 ",\"manager\":{\"@odata.type\":\"#microsoft.graph.user\",\"id\":\"%s\","
		 "\"userPrincipalName\":",
		 id);
	text_json(out, slice_of(manager->upn));
	text_char(out, '}');
}

void query_print_user(struct graph *g, const struct query *q, uint32_t number, struct text *out)
{
	const struct user *user = &g->dir.users[number];
	struct arena scratch = {0};
	const char *error;
	const struct json *doc =
		json_parse(&scratch, (struct slice){user->doc, user->doc_n}, &error);
	struct slice list = q ? slice_from(&q->select) : (struct slice){0};

	while (list.n)
		print_prop(g, prop_find(slice_trim(slice_cut(&list, ','))), number, doc, out);
	if (!q || !q->selects) {
		for (size_t i = 0; prop_at(i); i++) {
			if (prop_at(i)->flags & PROP_DEFAULT)
				print_prop(g, prop_at(i), number, doc, out);
		}
	}
	if (q && q->expands)
		print_manager(g, number, out);
	arena_free(&scratch);
}

struct hits {
	uint32_t *list;
	size_t n, cap;
};

static void hit(struct hits *hits, uint32_t number)
{
	if (number == NONE)
		return;
	if (hits->n == hits->cap) {
		hits->cap = hits->cap ? hits->cap * 2 : 32;
		hits->list = xgrow(hits->list, hits->cap * sizeof *hits->list);
	}
	hits->list[hits->n++] = number;
}

static bool look_up(struct graph *g, const struct ofilter *f, struct hits *hits)
{
	if (f->null)
		return false;
	for (size_t i = 0; i < f->n_values; i++) {
		uint32_t e = NONE;

		if (!strcmp(f->prop->name, "id")) {
			hit(hits, directory_find_id(&g->dir, f->values[i]));
		} else if (!strcmp(f->prop->name, "userPrincipalName")) {
			hit(hits, directory_find_upn(&g->dir, f->values[i], NONE));
		} else if (!strcmp(f->prop->name, "onPremisesImmutableId")) {
			e = directory_find_immutable(&g->dir, f->values[i], NONE);
			hit(hits, e); /* unique among live and deleted users */
		} else {
			return false;
		}
	}
	return true;
}

/* From the indexes; false if they do not help. Deleted users keep their names only by id. */
static bool plan(struct graph *g, const struct ofilter *f, struct hits *hits)
{
	size_t before = hits->n;

	if (f->op == O_OR) {
		if (plan(g, f->a, hits) && plan(g, f->b, hits))
			return true;
		hits->n = before;
		return false;
	}
	if (f->op == O_AND)
		return plan(g, f->a, hits) || plan(g, f->b, hits);
	return (f->op == O_EQ || f->op == O_IN) && look_up(g, f, hits);
}

static bool visible(const struct graph *g, uint32_t number, bool deleted)
{
	const struct user *user = &g->dir.users[number];

	if (user->purged || user->live == deleted)
		return false;
	return deleted || !g->knobs.lag_ms || !user->created_ms ||
	       sim_now_ms(g->sim) >= user->created_ms + g->knobs.lag_ms;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void collect(struct graph *g, const struct ofilter *f, bool deleted, struct hits *hits)
{
	struct arena scratch = {0};
	size_t kept = 0;

	if (!f || deleted || !plan(g, f, hits)) {
		for (uint32_t i = 0; i < g->dir.n_users; i++)
			hit(hits, i);
	} else if (hits->n) {
		qsort(hits->list, hits->n, sizeof *hits->list, by_number);
	}
	for (size_t i = 0; i < hits->n; i++) {
		uint32_t e = hits->list[i];
		const char *error;

		if ((kept && hits->list[kept - 1] == e) || !visible(g, e, deleted))
			continue;
		if (f) {
			const struct user *user = &g->dir.users[e];
			struct slice text = {user->doc, user->doc_n};

			arena_reset(&scratch);
			if (!ofilter_fits(g, f, e, json_parse(&scratch, text, &error)))
				continue;
		}
		hits->list[kept++] = e;
	}
	hits->n = kept;
	arena_free(&scratch);
}

bool query_users(struct graph *g, struct sim_call *call, const struct query *q, bool deleted,
		 uint32_t **ret_list, size_t *ret_n)
{
	struct ofilter *filter = NULL;
	struct hits hits = {0};
	bool advanced = false;

	if (q->filters) {
		filter = ofilter_parse(&g->sim->arena, slice_from(&q->filter), &advanced);
		if (!filter) {
			graph_error(g, call, 400, "Request_UnsupportedQuery",
				    "Unsupported or invalid query filter clause specified.");
			return false;
		}
	}
	if (advanced && !(q->eventual && q->count))
		return refuse(g, call, "Unsupported Query.");
	collect(g, filter, deleted, &hits);
	*ret_list = hits.list;
	*ret_n = hits.n;
	return true;
}

/* The query again, with the number of the next object in $skiptoken. */
static void print_next_link(struct graph *g, struct sim_call *call, uint32_t number)
{
	struct text *out = &call->answer->body;
	struct slice rest = call->query;
	struct text link = {0};

	graph_base(g, call, &link);
	text_add(&link, call->path.p + 5, call->path.n - 5); /* behind /v1.0 */
	text_char(&link, '?');
	while (rest.n) {
		struct slice pair = slice_cut(&rest, '&');

		if (slice_starts(pair, "$skiptoken=") || slice_starts(pair, "%24skiptoken="))
			continue;
		text_slice(&link, pair);
		text_char(&link, '&');
	}
	text_fmt(&link, "$skiptoken=n%u", number);
	text_str(out, "\"@odata.nextLink\":");
	text_json(out, slice_from(&link));
	text_char(out, ',');
	text_free(&link);
}

void query_page(struct graph *g, struct sim_call *call, const struct query *q, const uint32_t *list,
		size_t n,
		void (*print)(struct graph *, const struct query *, uint32_t, struct text *))
{
	struct text *out = &call->answer->body;
	int64_t next = 0;
	size_t from = 0;

	if (q->skip.n && (*q->skip.p != 'n' ||
			  !slice_number((struct slice){q->skip.p + 1, q->skip.n - 1}, &next))) {
		graph_error(g, call, 400, "Directory_ExpiredPageToken",
			    "The specified page token value has expired and can no longer be "
			    "included in "
			    "your request.");
		return;
	}
	while (from < n && list[from] < next)
		from++;
	size_t end = n - from > (size_t)q->top ? from + (size_t)q->top : n;
	if (q->count && q->eventual)
		text_fmt(out, "\"@odata.count\":%zu,", n);
	if (end < n)
		print_next_link(g, call, list[end]);
	text_str(out, "\"value\":[");
	for (size_t i = from; i < end; i++) {
		text_str(out, i > from ? ",{" : "{");
		print(g, q, list[i], out);
		text_char(out, '}');
	}
	text_str(out, "]}");
	graph_json(call, 200);
}
