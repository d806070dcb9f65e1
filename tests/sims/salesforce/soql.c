/* SOQL: SELECT fields FROM object [WHERE …] [ORDER BY field [DESC]] [LIMIT n], relations one step up. */
#include <ctype.h>
#include <string.h>

#include "soql.h"

struct reader {
	struct sf *s;
	struct sim_call *call;
	const char *p, *end;
	struct slice token; /* p NULL at the end */
	bool text;	    /* it is a quoted text, decoded */
	bool failed;
	struct soql *query;
};

static void fail(struct reader *r, const char *code, const char *words, struct slice what)
{
	if (!r->failed)
		sf_fail(r->s, r->call, 400, code, NULL, "%s%.*s", words, (int)what.n,
			what.n ? what.p : "");
	r->failed = true;
}

static void malformed(struct reader *r)
{
	fail(r, "MALFORMED_QUERY", "unexpected token: ", r->token);
}

/* ---- tokens ---- */

static void read_text(struct reader *r)
{
	struct text out = {0};

	for (r->p++; r->p < r->end && *r->p != '\''; r->p++) {
		if (*r->p != '\\') {
			text_char(&out, *r->p);
			continue;
		}
		if (++r->p == r->end || !strchr("nNrRtTbBfF\"'\\_%", *r->p)) {
			fail(r, "MALFORMED_QUERY", "Invalid string literal", (struct slice){0});
			break;
		}
		char c = (char)tolower((unsigned char)*r->p);

		if (c != 'n' && c != 'r' && c != 't')
			c = *r->p;
		text_char(&out, (char)(c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c));
	}
	if (r->p == r->end)
		fail(r, "MALFORMED_QUERY", "unterminated string", (struct slice){0});
	else
		r->p++;
	r->token = arena_copy(&r->s->sim->arena, slice_from(&out));
	if (!r->token.p)
		r->token.p = "";
	r->text = true;
	text_free(&out);
}

static void next(struct reader *r)
{
	const char *start;

	r->text = false;
	while (r->p < r->end && isspace((unsigned char)*r->p))
		r->p++;
	if (r->p == r->end) {
		r->token = (struct slice){0};
		return;
	}
	if (*r->p == '\'') {
		read_text(r);
		return;
	}
	start = r->p;
	if (isalnum((unsigned char)*r->p) || strchr("_-+", *r->p)) {
		while (r->p < r->end && (isalnum((unsigned char)*r->p) || strchr("_.:-+", *r->p)))
			r->p++;
	} else if (strchr("<>!", *r->p) && r->p + 1 < r->end && r->p[1] == '=') {
		r->p += 2;
	} else {
		r->p++;
	}
	r->token = (struct slice){start, (size_t)(r->p - start)};
}

static bool is(const struct reader *r, const char *word)
{
	return !r->text && r->token.p && slice_is_nocase(r->token, word);
}

static bool take(struct reader *r, const char *word)
{
	if (!is(r, word))
		return false;
	next(r);
	return true;
}

static void expect(struct reader *r, const char *word)
{
	if (!take(r, word))
		malformed(r);
}

/* ---- names ---- */

static struct path read_path(struct reader *r, struct object *o)
{
	struct path path = {-1, -1, o, r->token};
	struct slice rest = r->token, first = slice_cut(&rest, '.');

	if (r->text || !r->token.p) {
		malformed(r);
		return path;
	}
	if (rest.n) {
		path.relation = schema_relation(o, first);
		path.object =
			path.relation < 0
				? NULL
				: schema_object(r->s, slice_of(o->fields[path.relation].refers));
		first = rest;
	}
	path.field = path.object ? schema_field(path.object, first) : -1;
	if (path.field < 0 && o && !r->failed) {
		sf_fail(r->s, r->call, 400, "INVALID_FIELD", NULL,
			"No such column '%.*s' on entity '%s'.", (int)path.text.n, path.text.p,
			o->name);
		r->failed = true;
	}
	next(r);
	return path;
}

/* ---- conditions ---- */

static struct slice read_value(struct reader *r)
{
	struct slice value = r->token;

	if (!r->text && (!value.p || strchr("(),=<>!", *value.p)))
		malformed(r);
	if (!r->text && is(r, "null"))
		value = (struct slice){0};
	next(r);
	return value;
}

static void read_list(struct reader *r, struct node *n)
{
	expect(r, "(");
	do {
		if ((n->n & (n->n - 1)) == 0) { /* full: a power of two */
			struct slice *more =
				arena_take(&r->s->sim->arena, (n->n * 2 + 1) * sizeof *more);

			if (n->n)
				memcpy(more, n->values, n->n * sizeof *more);
			n->values = more;
		}
		n->values[n->n++] = read_value(r);
	} while (!r->failed && take(r, ","));
	expect(r, ")");
}

static struct node *read_comparison(struct reader *r)
{
	static const struct {
		const char *word;
		enum op op;
	} ops[] = {{"=", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT},	   {"<=", OP_LE},
		   {">", OP_GT}, {">=", OP_GE}, {"LIKE", OP_LIKE}, {"IN", OP_IN}};
	struct node *n = arena_take(&r->s->sim->arena, sizeof *n);
	size_t i = 0;

	memset(n, 0, sizeof *n);
	n->path = read_path(r, r->query->object);
	if (is(r, "NOT")) {
		next(r);
		expect(r, "IN");
		n->op = OP_NOT_IN;
		read_list(r, n);
		return n;
	}
	while (i < 8 && !is(r, ops[i].word))
		i++;
	if (i == 8 || r->failed) {
		malformed(r);
		return n;
	}
	next(r);
	n->op = ops[i].op;
	if (n->op == OP_IN) {
		read_list(r, n);
		return n;
	}
	n->values = arena_take(&r->s->sim->arena, sizeof *n->values);
	n->values[n->n++] = read_value(r);
	return n;
}

static struct node *read_or(struct reader *r, int depth);

static struct node *read_one(struct reader *r, int depth)
{
	struct node *n;

	if (depth > 20)
		malformed(r);
	if (r->failed || !is(r, "("))
		return r->failed ? NULL : read_comparison(r);
	next(r);
	n = read_or(r, depth + 1);
	expect(r, ")");
	return n;
}

static struct node *join(struct reader *r, enum op op, struct node *left, struct node *right)
{
	struct node *n = arena_take(&r->s->sim->arena, sizeof *n);

	*n = (struct node){.op = op, .left = left, .right = right};
	return n;
}

static struct node *read_and(struct reader *r, int depth)
{
	struct node *n = read_one(r, depth);

	while (!r->failed && take(r, "AND"))
		n = join(r, OP_AND, n, read_one(r, depth));
	return n;
}

static struct node *read_or(struct reader *r, int depth)
{
	struct node *n = read_and(r, depth);

	while (!r->failed && take(r, "OR"))
		n = join(r, OP_OR, n, read_and(r, depth));
	return n;
}

/* ---- the whole ---- */

/* SELECT names its object's fields before the object: their text is gone through again afterwards. */
static void read_select(struct reader *r)
{
	struct soql *q = r->query;

	if (is(r, "COUNT")) {
		next(r);
		expect(r, "(");
		expect(r, ")");
		q->count = true;
		return;
	}
	do {
		if (q->n_select == SELECT_MAX || r->text || !r->token.p)
			malformed(r);
		else
			q->select[q->n_select++].text = r->token;
		next(r);
	} while (!r->failed && take(r, ","));
}

static void bind_select(struct reader *r)
{
	struct soql *q = r->query;
	struct reader names = *r;

	for (size_t i = 0; i < q->n_select && !names.failed; i++) {
		names.token = q->select[i].text;
		names.text = false;
		q->select[i] = read_path(&names, q->object);
	}
	r->failed |= names.failed;
}

static void read_number(struct reader *r, const char *word, int64_t *ret)
{
	if (!take(r, word))
		return;
	if (r->text || !slice_number(r->token, ret))
		malformed(r);
	next(r);
}

static void read_query(struct reader *r)
{
	struct soql *q = r->query;

	next(r);
	expect(r, "SELECT");
	if (r->failed)
		return;
	read_select(r);
	expect(r, "FROM");
	if (r->failed)
		return;
	q->object = r->token.p ? schema_object(r->s, r->token) : NULL;
	if (!q->object) {
		fail(r, "INVALID_TYPE", "this sObject type is not supported: ", r->token);
		return;
	}
	next(r);
	bind_select(r);
	if (!r->failed && take(r, "WHERE"))
		q->where = read_or(r, 0);
	if (!r->failed && take(r, "ORDER")) {
		expect(r, "BY");
		q->order = read_path(r, q->object);
		q->ordered = true;
		q->descending = take(r, "DESC");
		if (!q->descending)
			take(r, "ASC");
	}
	read_number(r, "LIMIT", &q->limit);
	read_number(r, "OFFSET", &q->offset);
	if (!r->failed && r->token.p)
		malformed(r);
}

struct soql *soql_parse(struct sf *s, struct sim_call *call, struct slice text)
{
	struct soql *q = arena_take(&s->sim->arena, sizeof *q);
	struct reader r = {.s = s, .call = call, .p = text.p, .end = text.p + text.n, .query = q};

	memset(q, 0, sizeof *q);
	q->limit = -1;
	read_query(&r);
	return r.failed ? NULL : q;
}
