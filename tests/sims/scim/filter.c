#include "filter.h"

#include <string.h>

static const char *const words[] = {"eq", "ne", "co", "sw",  "ew", "gt", "ge",
				    "lt", "le", "pr", "and", "or", "not"};

enum { DEPTH_MAX = 40 };

struct parser {
	struct arena *arena;
	struct slice rest;
	const struct schema *schema;
	const struct attr *subs;
	const char *allowed;
	struct scim_error *error;
	int depth;
};

static struct filter *parse_or(struct parser *in);

static struct filter *fail(struct parser *in, const char *what)
{
	scim_fail(in->error, 400, "invalidFilter", "The filter is not valid: %s.", what);
	return NULL;
}

static void skip(struct parser *in, size_t n)
{
	in->rest = (struct slice){in->rest.p + n, in->rest.n - n};
}

static void skip_blanks(struct parser *in)
{
	while (in->rest.n && *in->rest.p == ' ')
		skip(in, 1);
}

static bool is_allowed(const struct parser *in, const char *word)
{
	struct slice list = slice_of(in->allowed);

	if (!list.n)
		return true;
	while (list.n) {
		if (slice_is(slice_cut(&list, ','), word))
			return true;
	}
	return false;
}

/* Takes the word if it stands next, with a blank, a bracket or the end behind it. */
static bool take_word(struct parser *in, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(in);
	if (in->rest.n < n || !slice_is_nocase((struct slice){in->rest.p, n}, word))
		return false;
	if (in->rest.n > n && !strchr(" ()", in->rest.p[n]))
		return false;
	skip(in, n);
	return true;
}

static struct filter *make(struct parser *in, enum filter_op op, struct filter *a, struct filter *b)
{
	struct filter *filter = arena_take(in->arena, sizeof *filter);

	*filter = (struct filter){.op = op, .a = a, .b = b};
	if (op <= FILTER_NOT && !is_allowed(in, words[op]))
		return fail(in, "operator not supported");
	return filter;
}

static bool parse_path(struct parser *in, struct attr_path *ret_path)
{
	if (in->schema)
		return schema_path(in->schema, &in->rest, ret_path);
	size_t n = 0;
	while (n < in->rest.n && !strchr(" .)", in->rest.p[n]))
		n++;
	*ret_path =
		(struct attr_path){.attr = schema_find(in->subs, (struct slice){in->rest.p, n})};
	skip(in, n);
	return ret_path->attr != NULL;
}

/* A JSON string, true, false, null or number. */
static bool parse_value(struct parser *in, struct json **ret_value)
{
	const char *error;
	size_t n = 0;

	skip_blanks(in);
	if (in->rest.n && *in->rest.p == '"') {
		for (n = 1; n < in->rest.n && in->rest.p[n] != '"'; n++)
			n += in->rest.p[n] == '\\';
		n++;
	} else {
		while (n < in->rest.n && !strchr(" )", in->rest.p[n]))
			n++;
	}
	if (n > in->rest.n)
		return false;
	*ret_value = json_parse(in->arena, (struct slice){in->rest.p, n}, &error);
	skip(in, n);
	return *ret_value && (*ret_value)->type <= JSON_STRING;
}

static bool value_suits(const struct filter *f)
{
	const struct attr *attr = f->path.sub ? f->path.sub : f->path.attr;

	if (attr && attr->type == ATTR_BOOLEAN)
		return f->op <= FILTER_NE && json_is_bool(f->value);
	return f->value->type == JSON_STRING || f->value->type == JSON_NULL;
}

static struct filter *parse_within(struct parser *in, struct attr_path path)
{
	struct filter *filter = make(in, FILTER_WITHIN, NULL, NULL);

	if (path.sub || !path.attr->subs)
		return fail(in, "brackets are not possible there");
	filter->path = path;
	filter->a =
		filter_parse(in->arena, path.filter, NULL, path.attr->subs, in->allowed, in->error);
	return filter->a ? filter : NULL;
}

static struct filter *parse_comparison(struct parser *in)
{
	struct filter *filter;
	struct attr_path path;
	int op = 0;

	skip_blanks(in);
	if (!parse_path(in, &path) || !path.attr)
		return fail(in, "unknown attribute");
	if (path.attr->flags & ATTR_WRITE_ONLY)
		return fail(in, "attribute that is never returned");
	if (path.filtered)
		return parse_within(in, path);
	while (op < FILTER_COMPARISONS && !take_word(in, words[op]))
		op++;
	if (op == FILTER_COMPARISONS)
		return fail(in, "an operator was expected");
	filter = make(in, (enum filter_op)op, NULL, NULL);
	if (!filter)
		return NULL;
	filter->path = path;
	if (op != FILTER_PR && (!parse_value(in, &filter->value) || !value_suits(filter)))
		return fail(in, "a value that suits the attribute was expected");
	return filter;
}

static struct filter *parse_term(struct parser *in)
{
	bool negated = take_word(in, "not");
	struct filter *inner;

	skip_blanks(in);
	if (!in->rest.n || *in->rest.p != '(')
		return negated ? fail(in, "a bracket was expected") : parse_comparison(in);
	if (++in->depth > DEPTH_MAX)
		return fail(in, "nested too deeply");
	skip(in, 1);
	inner = parse_or(in);
	if (!inner)
		return NULL;
	skip_blanks(in);
	if (!in->rest.n || *in->rest.p != ')')
		return fail(in, "a closing bracket was expected");
	skip(in, 1);
	return negated ? make(in, FILTER_NOT, inner, NULL) : inner;
}

static struct filter *parse_and(struct parser *in)
{
	struct filter *left = parse_term(in);

	while (left && take_word(in, "and")) {
		struct filter *right = parse_term(in);

		left = right ? make(in, FILTER_AND, left, right) : NULL;
	}
	return left;
}

static struct filter *parse_or(struct parser *in)
{
	struct filter *left = parse_and(in);

	while (left && take_word(in, "or")) {
		struct filter *right = parse_and(in);

		left = right ? make(in, FILTER_OR, left, right) : NULL;
	}
	return left;
}

struct filter *filter_parse(struct arena *arena, struct slice text, const struct schema *schema,
			    const struct attr *subs, const char *allowed,
			    struct scim_error *ret_error)
{
	struct parser in = {arena, text, schema, subs, allowed, ret_error, 0};
	struct filter *filter = parse_or(&in);

	skip_blanks(&in);
	return filter && in.rest.n ? fail(&in, "something follows it") : filter;
}

static int compare(struct slice a, struct slice b, bool exact)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = !n ? 0 : exact ? memcmp(a.p, b.p, n) : strncasecmp(a.p, b.p, n);

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static bool contains(enum filter_op op, struct slice have, struct slice want, bool exact)
{
	for (size_t i = 0; i + want.n <= have.n; i++) {
		if (op == FILTER_EW && i + want.n != have.n)
			continue;
		if (!compare((struct slice){have.p + i, want.n}, want, exact))
			return true;
		if (op == FILTER_SW)
			return false;
	}
	return false;
}

static bool value_fits(const struct filter *f, const struct attr *attr, const struct json *have,
		       bool exact)
{
	if (f->op == FILTER_PR)
		return have->type != JSON_NULL && (have->type != JSON_STRING || have->string.n);
	if (json_is_bool(f->value) || json_is_bool(have))
		return have->type == f->value->type;
	if (have->type != JSON_STRING || f->value->type != JSON_STRING)
		return false;
	exact |= (attr->flags & ATTR_EXACT) != 0;
	if (f->op == FILTER_CO || f->op == FILTER_SW || f->op == FILTER_EW)
		return contains(f->op, have->string, f->value->string, exact);
	int order = compare(have->string, f->value->string, exact);
	if (f->op == FILTER_GT || f->op == FILTER_GE)
		return order > 0 || (f->op == FILTER_GE && !order);
	if (f->op == FILTER_LT || f->op == FILTER_LE)
		return order < 0 || (f->op == FILTER_LE && !order);
	return !order; /* eq, and ne from the other side */
}

/* One value of the attribute: itself, its sub-attribute, or its "value". */
static bool item_fits(const struct filter *f, const struct json *item, bool exact)
{
	const struct attr *attr = f->path.attr;
	const struct attr *sub = f->path.sub;

	if (item->type != JSON_OBJECT)
		return value_fits(f, attr, item, exact);
	if (!sub)
		sub = schema_find(attr->subs, SLICE("value"));
	if (!sub || (f->op == FILTER_PR && !f->path.sub))
		return f->op == FILTER_PR && item->count > 0;
	struct json *value = json_get(item, sub->name);
	return value && value_fits(f, sub, value, exact);
}

static bool path_fits(const struct filter *f, const struct json *object, bool exact)
{
	if (f->path.extension)
		object = json_get(object, f->path.schema->urn);
	struct json *value = object ? json_get(object, f->path.attr->name) : NULL;
	if (!value)
		return false;
	if (value->type != JSON_ARRAY)
		return item_fits(f, value, exact);
	JSON_EACH(item, value)
	{
		if (f->op == FILTER_WITHIN ? filter_fits(f->a, item, exact)
					   : item_fits(f, item, exact))
			return true;
	}
	return false;
}

bool filter_fits(const struct filter *f, const struct json *object, bool exact)
{
	if (f->op == FILTER_AND)
		return filter_fits(f->a, object, exact) && filter_fits(f->b, object, exact);
	if (f->op == FILTER_OR)
		return filter_fits(f->a, object, exact) || filter_fits(f->b, object, exact);
	if (f->op == FILTER_NOT)
		return !filter_fits(f->a, object, exact);
	if (f->op == FILTER_NE || (f->op == FILTER_EQ && f->value->type == JSON_NULL)) {
		struct filter positive = *f;

		if (f->value->type == JSON_NULL) {
			positive.op = FILTER_PR;
			return path_fits(&positive, object, exact) == (f->op == FILTER_NE);
		}
		positive.op = FILTER_EQ;
		return !path_fits(&positive, object, exact);
	}
	return path_fits(f, object, exact);
}
