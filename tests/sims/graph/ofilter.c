#include "ofilter.h"

#include <string.h>
#include <strings.h>

struct parser {
	struct arena *arena;
	struct slice rest;
	bool advanced;
	int depth;
};

static struct ofilter *parse_or(struct parser *in);

static void skip(struct parser *in, size_t n)
{
	in->rest = (struct slice){in->rest.p + n, in->rest.n - n};
}

static void skip_blanks(struct parser *in)
{
	while (in->rest.n && *in->rest.p == ' ')
		skip(in, 1);
}

static bool take(struct parser *in, const char *text)
{
	skip_blanks(in);
	if (!slice_starts(in->rest, text))
		return false;
	skip(in, strlen(text));
	return true;
}

static bool take_word(struct parser *in, const char *word)
{
	size_t n = strlen(word);

	skip_blanks(in);
	if (in->rest.n <= n || strncasecmp(in->rest.p, word, n) != 0 ||
	    !strchr(" (", in->rest.p[n]))
		return false;
	skip(in, n);
	return true;
}

static struct ofilter *make(struct parser *in, enum ofilter_op op)
{
	struct ofilter *filter = arena_take(in->arena, sizeof *filter);

	filter->op = op;
	in->advanced |= op == O_NE || op == O_NOT || op == O_ENDS;
	return filter;
}

/* 'text with '' for a quote', a bare word (true, null, a GUID, a time). */
static bool take_value(struct parser *in, struct slice *ret_value, bool *ret_null)
{
	size_t n = 0, out = 0;

	skip_blanks(in);
	*ret_null = false;
	if (!in->rest.n || *in->rest.p != '\'') {
		while (n < in->rest.n && !strchr(" ,)", in->rest.p[n]))
			n++;
		*ret_value = (struct slice){in->rest.p, n};
		*ret_null = slice_is(*ret_value, "null");
		skip(in, n);
		return n > 0;
	}
	char *copy = arena_take(in->arena, in->rest.n);
	for (n = 1; n < in->rest.n; n++) {
		if (in->rest.p[n] == '\'') {
			if (n + 1 == in->rest.n || in->rest.p[n + 1] != '\'') {
				*ret_value = (struct slice){copy, out};
				skip(in, n + 1);
				return true;
			}
			n++;
		}
		copy[out++] = in->rest.p[n];
	}
	return false;
}

static const struct prop *take_prop(struct parser *in)
{
	size_t n = 0;

	skip_blanks(in);
	while (n < in->rest.n && !strchr(" ,)/", in->rest.p[n]))
		n++;
	const struct prop *prop = prop_find((struct slice){in->rest.p, n});
	skip(in, n);
	return prop && (prop->flags & PROP_FILTER) ? prop : NULL;
}

static struct ofilter *parse_function(struct parser *in, enum ofilter_op op)
{
	struct ofilter *filter = make(in, op);

	filter->values = arena_take(in->arena, sizeof *filter->values);
	filter->n_values = 1;
	if (!take(in, "(") || !(filter->prop = take_prop(in)) || !take(in, ",") ||
	    !take_value(in, filter->values, &filter->null) || !take(in, ")"))
		return NULL;
	return filter;
}

/* assignedLicenses/any(s:s/skuId eq GUID) */
static struct ofilter *parse_licence(struct parser *in)
{
	struct ofilter *filter = make(in, O_LICENCE);

	filter->values = arena_take(in->arena, sizeof *filter->values);
	size_t n = 0;
	while (n < in->rest.n && in->rest.p[n] != ':')
		n++;
	skip(in, n);
	if (!take(in, ":"))
		return NULL;
	n = 0;
	while (n < in->rest.n && in->rest.p[n] != '/')
		n++;
	skip(in, n);
	if (!take(in, "/skuId") || !take_word(in, "eq") ||
	    !take_value(in, filter->values, &filter->null) || !take(in, ")"))
		return NULL;
	return filter;
}

static struct ofilter *parse_in(struct parser *in, struct ofilter *filter)
{
	enum { VALUES_MAX = 15 }; /* the service's limit of an in expression */

	filter->values = arena_take(in->arena, VALUES_MAX * sizeof *filter->values);
	if (!take(in, "("))
		return NULL;
	do {
		if (filter->n_values == VALUES_MAX ||
		    !take_value(in, &filter->values[filter->n_values++], &filter->null))
			return NULL;
	} while (take(in, ","));
	return take(in, ")") ? filter : NULL;
}

static struct ofilter *parse_comparison(struct parser *in)
{
	static const char *const words[] = {"eq", "ne", "ge", "le"};
	const struct prop *prop;
	struct ofilter *filter;
	int op = 0;

	if (take_word(in, "startswith"))
		return parse_function(in, O_STARTS);
	if (take_word(in, "endswith"))
		return parse_function(in, O_ENDS);
	if (take(in, "assignedLicenses/any("))
		return parse_licence(in);
	prop = take_prop(in);
	if (!prop)
		return NULL;
	if (take_word(in, "in")) {
		filter = make(in, O_IN);
		filter->prop = prop;
		return parse_in(in, filter);
	}
	while (op < 4 && !take_word(in, words[op]))
		op++;
	if (op == 4)
		return NULL;
	filter = make(in, (enum ofilter_op)op);
	filter->prop = prop;
	filter->values = arena_take(in->arena, sizeof *filter->values);
	filter->n_values = 1;
	return take_value(in, filter->values, &filter->null) ? filter : NULL;
}

static struct ofilter *parse_term(struct parser *in)
{
	bool negated = take_word(in, "not");
	struct ofilter *inner = NULL;

	if (++in->depth > 100)
		return NULL;
	if (take(in, "(")) {
		inner = parse_or(in);
		if (!inner || !take(in, ")"))
			return NULL;
	} else {
		inner = parse_comparison(in);
	}
	if (!inner || !negated)
		return inner;
	struct ofilter *outer = make(in, O_NOT);
	outer->a = inner;
	return outer;
}

static struct ofilter *parse_and(struct parser *in)
{
	struct ofilter *left = parse_term(in);

	while (left && take_word(in, "and")) {
		struct ofilter *both = make(in, O_AND);

		both->a = left;
		both->b = parse_term(in);
		left = both->b ? both : NULL;
	}
	return left;
}

static struct ofilter *parse_or(struct parser *in)
{
	struct ofilter *left = parse_and(in);

	while (left && take_word(in, "or")) {
		struct ofilter *both = make(in, O_OR);

		both->a = left;
		both->b = parse_and(in);
		left = both->b ? both : NULL;
	}
	return left;
}

struct ofilter *ofilter_parse(struct arena *arena, struct slice text, bool *ret_advanced)
{
	struct parser in = {arena, text, false, 0};
	struct ofilter *filter = parse_or(&in);

	skip_blanks(&in);
	if (in.rest.n)
		filter = NULL;
	*ret_advanced = filter && in.advanced;
	return filter;
}

static bool has_licence(const struct graph *g, uint32_t number, struct slice sku)
{
	for (uint32_t i = 0; i < g->dir.n_skus; i++) {
		if ((g->dir.users[number].licences | g->dir.users[number].inherited) >> i & 1 &&
		    slice_is_nocase(sku, g->dir.skus[i].id))
			return true;
	}
	return false;
}

static bool equal(const struct prop *prop, struct slice have, struct slice want)
{
	/* base64 of different ids may differ in case alone */
	return !strcmp(prop->name, "onPremisesImmutableId") ? slice_equal(have, want)
							    : slice_equal_nocase(have, want);
}

static bool comparison_fits(const struct ofilter *f, struct slice have)
{
	struct slice want = f->n_values ? f->values[0] : (struct slice){0};
	size_t n = have.n < want.n ? have.n : want.n;

	if (f->null)
		return (f->op == O_EQ) == !have.n;
	if (f->op == O_EQ || f->op == O_NE)
		return (f->op == O_EQ) == equal(f->prop, have, want);
	for (size_t i = 0; f->op == O_IN && i < f->n_values; i++) {
		if (equal(f->prop, have, f->values[i]))
			return true;
	}
	if (f->op == O_IN)
		return false;
	if (f->op == O_STARTS)
		return have.n >= want.n && slice_equal_nocase((struct slice){have.p, want.n}, want);
	if (f->op == O_ENDS)
		return have.n >= want.n &&
		       slice_equal_nocase((struct slice){have.p + have.n - want.n, want.n}, want);
	int order = n ? strncasecmp(have.p, want.p, n) : 0;
	if (!order)
		order = (have.n > want.n) - (have.n < want.n);
	return have.n && (f->op == O_GE ? order >= 0 : order <= 0);
}

bool ofilter_fits(struct graph *g, const struct ofilter *f, uint32_t number, const struct json *doc)
{
	char id[UUID_TEXT + 1];

	switch (f->op) {
	case O_AND:
		return ofilter_fits(g, f->a, number, doc) && ofilter_fits(g, f->b, number, doc);
	case O_OR:
		return ofilter_fits(g, f->a, number, doc) || ofilter_fits(g, f->b, number, doc);
	case O_NOT:
		return !ofilter_fits(g, f->a, number, doc);
	case O_LICENCE:
		return has_licence(g, number, f->values[0]);
	case O_EQ:
	case O_NE:
	case O_GE:
	case O_LE:
	case O_STARTS:
	case O_ENDS:
	case O_IN:
		break;
	}
	return comparison_fits(f, props_string(g, f->prop, number, doc, id));
}
