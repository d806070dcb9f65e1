#include <stdlib.h>

#include "iiq.h"

struct query {
	struct text filter, value; /* owned */
	struct slice field;
	int64_t size, page;
	bool deleted, equal;
};

static bool visible(const struct iiq *s, const struct user *user)
{
	return !s->knobs.lag_ms || sim_now_ms(s->sim) >= user->created_ms + s->knobs.lag_ms;
}

static void refuse(struct iiq *s, struct sim_call *call, const char *what)
{
	struct iiq_error error;

	iiq_fail(&error, 400, NULL, "%s", what);
	iiq_refuse(s, call, &error);
}

static bool number_of(struct slice query, const char *name, int64_t *ret)
{
	struct text value = {0};
	bool good = !http_param(query, name, &value) || slice_number(slice_from(&value), ret);

	text_free(&value);
	return good && *ret >= 0;
}

/* (FIELD eq 'VALUE') or (SearchText contains 'VALUE'), a quote doubled. False: it is neither. */
static bool take_filter(struct slice rest, struct slice *ret_field, struct slice *ret_word,
			struct text *ret_value)
{
	if (rest.n < 2 || rest.p[0] != '(' || rest.p[rest.n - 1] != ')')
		return false;
	rest = (struct slice){rest.p + 1, rest.n - 2};
	*ret_field = slice_cut(&rest, ' ');
	*ret_word = slice_cut(&rest, ' ');
	if (rest.n < 2 || rest.p[0] != '\'' || rest.p[rest.n - 1] != '\'')
		return false;
	for (size_t i = 1; i + 1 < rest.n; i++) {
		if (rest.p[i] == '\'' && rest.p[++i] != '\'')
			return false;
		text_char(ret_value, rest.p[i]);
	}
	return true;
}

static bool equals(struct iiq *s, uint32_t number, struct slice field, struct slice value)
{
	const struct user *user = &s->users[number];
	const char *error;
	struct json *doc =
		json_parse(&s->sim->arena, (struct slice){user->doc, user->doc_n}, &error);
	const struct json *have = json_get_slice(doc, field);

	if (value.n > 2 && value.p[0] == '[' &&
	    value.p[value.n - 1] == ']') /* an id is in brackets */
		value = (struct slice){value.p + 1, value.n - 2};
	return json_is(have, JSON_STRING) && slice_equal_nocase(have->string, value);
}

static bool fits(struct iiq *s, const struct query *q, uint32_t number)
{
	const struct user *user = &s->users[number];

	if (user->live == q->deleted || !visible(s, user))
		return false;
	return !q->field.n || equals(s, number, q->field, slice_from(&q->value)) == q->equal;
}

/* Numbers of the users that the filter fits, in *ret_list, malloc'ed; false: it is none. */
static bool hits_of(struct iiq *s, struct query *q, uint32_t **ret_list, size_t *ret_n)
{
	struct slice word = {0};
	struct text lower = {0};
	size_t kept = 0;

	if (q->filter.n) {
		if (!take_filter(slice_from(&q->filter), &q->field, &word, &q->value))
			return false;
		if (slice_is(q->field, "SearchText") && slice_is(word, "contains")) {
			text_lower(&lower, slice_from(&q->value));
			q->field = (struct slice){0};
		} else if (!field_find(q->field) ||
			   !(slice_is(word, "eq") || slice_is(word, "ne"))) {
			return false;
		}
	}
	q->equal = slice_is(word, "eq");
	*ret_list = users_search(s, slice_from(&lower), ret_n);
	text_free(&lower);
	for (size_t i = 0; i < *ret_n; i++) {
		if (fits(s, q, (*ret_list)[i]))
			(*ret_list)[kept++] = (*ret_list)[i];
	}
	*ret_n = kept;
	return true;
}

static void print_page(struct iiq *s, struct sim_call *call, const struct query *q,
		       const uint32_t *list, size_t n)
{
	struct text *out = &call->answer->body;
	size_t size = (size_t)(q->size > s->knobs.page_max ? s->knobs.page_max : q->size);
	size_t from = (size_t)q->page * size, items = 0;

	text_str(out, "{\"Items\":[");
	for (size_t i = from; i < n && items < size; i++, items++) {
		if (items)
			text_char(out, ',');
		users_print(s, list[i], out);
	}
	text_fmt(
		out,
		"],\"ItemCount\":%zu,\"Paging\":{\"TotalRows\":%zu,\"PageCount\":%zu,\"PageSize\":%"
		"zu,\"PageIndex\":%lld}",
		items, n, size ? (n + size - 1) / size : 0, size, (long long)q->page);
	iiq_envelope(s, 200, out);
	text_char(out, '}');
	call->answer->status = 200;
	call->answer->content_type = "application/json; charset=utf-8";
}

void iiq_list(struct iiq *s, struct sim_call *call, const struct json *body)
{
	struct query q = {.size = s->knobs.page_default};
	uint32_t *list = NULL;
	size_t n = 0;

	http_param(call->query, "$filter", &q.filter);
	q.deleted = json_get_bool(body, "OnlyShowDeleted", false);
	if (!json_is(body, JSON_OBJECT) || !json_is_bool(json_get(body, "OnlyShowDeleted")) ||
	    !json_is_bool(json_get(body, "ExcludeNoAccess")))
		refuse(s, call, "OnlyShowDeleted and ExcludeNoAccess are required.");
	else if (!number_of(call->query, "$s", &q.size) || !number_of(call->query, "$p", &q.page) ||
		 !q.size)
		refuse(s, call, "$s and $p must be numbers.");
	else if (!hits_of(s, &q, &list, &n))
		refuse(s, call, "The filter is not valid.");
	else
		print_page(s, call, &q, list, n);
	free(list);
	text_free(&q.filter);
	text_free(&q.value);
}

/* Users are facet 4. */
void iiq_search(struct iiq *s, struct sim_call *call, const struct json *body)
{
	struct text *out = &call->answer->body, lower = {0};
	int64_t limit = json_get_number(body, "Limit", 20);
	size_t n = 0, shown = 0;
	uint32_t *list;

	if (!json_get_string(body, "Query").n || !(json_get_number(body, "Facets", 0) & 4)) {
		refuse(s, call, "Query and Facets are required.");
		return;
	}
	text_lower(&lower, json_get_string(body, "Query"));
	list = users_search(s, slice_from(&lower), &n);
	text_str(out, "{\"Item\":{\"Users\":[");
	for (size_t i = 0; i < n && (int64_t)shown < limit; i++) {
		const struct user *user = &s->users[list[i]];
		char id[UUID_TEXT + 1];

		if (!user->live || !visible(s, user))
			continue;
		if (shown++)
			text_char(out, ',');
		uuid_print(user->id, id);
		if (s->knobs.light_search)
			text_fmt(out, "{\"UserId\":\"%s\"}", id);
		else
			users_print(s, list[i], out);
	}
	text_str(out, "]}");
	iiq_envelope(s, 200, out);
	text_char(out, '}');
	call->answer->status = 200;
	call->answer->content_type = "application/json; charset=utf-8";
	free(list);
	text_free(&lower);
}
