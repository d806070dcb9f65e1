/* Queries carried out, a page at a time. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "soql.h"

/* ---- what fits ---- */

static const char *value_of(const struct object *o, uint32_t number, const struct path *path)
{
	const char *id;

	if (path->relation < 0)
		return o->records[number].v[path->field];
	id = o->records[number].v[path->relation];
	number = id ? id_find(path->object, slice_of(id)) : NONE;
	return number == NONE ? NULL : path->object->records[number].v[path->field];
}

static bool like(struct slice pattern, struct slice text)
{
	if (!pattern.n)
		return !text.n;
	if (*pattern.p == '%') {
		for (size_t i = 0; i <= text.n; i++) {
			if (like((struct slice){pattern.p + 1, pattern.n - 1},
				 (struct slice){text.p + i, text.n - i}))
				return true;
		}
		return false;
	}
	if (!text.n || (*pattern.p != '_' &&
			tolower((unsigned char)*pattern.p) != tolower((unsigned char)*text.p)))
		return false;
	return like((struct slice){pattern.p + 1, pattern.n - 1},
		    (struct slice){text.p + 1, text.n - 1});
}

/* Ids are the same with 15 and 18 characters. */
static bool equal(const struct path *path, struct slice want, const char *have)
{
	const struct field *f = &path->object->fields[path->field];

	if (!want.p || !have)
		return !want.p && !have;
	if (f->type == T_REF && (want.n == ID15 || want.n == ID18))
		return memcmp(want.p, have, ID15) == 0;
	return slice_is_nocase(want, have);
}

static int compare(const struct path *path, struct slice want, const char *have)
{
	if (path->object->fields[path->field].type == T_NUMBER) {
		int64_t number = 0;

		slice_number(want, &number);
		return strtoll(have, NULL, 10) < number ? -1 : strtoll(have, NULL, 10) > number;
	}
	size_t n = strlen(have) < want.n ? strlen(have) : want.n;
	int order = strncasecmp(have, want.p, n);

	return order ? order : strlen(have) < want.n ? -1 : strlen(have) > want.n;
}

static bool in_list(const struct node *n, const char *have)
{
	for (size_t i = 0; i < n->n; i++) {
		if (equal(&n->path, n->values[i], have))
			return true;
	}
	return false;
}

static bool fits(const struct object *o, uint32_t number, const struct node *n)
{
	const char *have;

	if (!n)
		return true;
	if (n->op == OP_AND || n->op == OP_OR) {
		bool left = fits(o, number, n->left);

		return n->op == OP_AND ? left && fits(o, number, n->right)
				       : left || fits(o, number, n->right);
	}
	have = value_of(o, number, &n->path);
	switch (n->op) {
	case OP_EQ:
	case OP_IN:
		return in_list(n, have);
	case OP_NE:
	case OP_NOT_IN:
		return !in_list(n, have);
	case OP_LIKE:
		return have && like(n->values[0], slice_of(have));
	case OP_LT:
	case OP_LE:
	case OP_GT:
	case OP_GE:
		break;
	case OP_AND:
	case OP_OR:
		return false;
	}
	if (!have || !n->values[0].p)
		return false;
	int order = compare(&n->path, n->values[0], have);

	return n->op == OP_LT	? order < 0
	       : n->op == OP_LE ? order <= 0
	       : n->op == OP_GT ? order > 0
				: order >= 0;
}

/* ---- running it ---- */

struct hits {
	uint32_t *list;
	size_t n, cap;
};

static void hit(struct hits *h, uint32_t number)
{
	if (h->n == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 64;
		h->list = xgrow(h->list, h->cap * sizeof *h->list);
	}
	h->list[h->n++] = number;
}

/* The part of the condition that an index answers; NULL: none. */
static const struct node *quick(const struct object *o, const struct node *n)
{
	const struct node *found;

	if (!n || n->op == OP_OR)
		return NULL;
	if (n->op == OP_AND) {
		found = quick(o, n->left);
		return found ? found : quick(o, n->right);
	}
	if ((n->op != OP_EQ && n->op != OP_IN) || n->path.relation >= 0)
		return NULL;
	if (n->path.field == 0 ||
	    (o->fields[n->path.field].flags & (F_UNIQUE | F_EXTERNAL | F_INDEX)))
		return n;
	return NULL;
}

static void add_quick(const struct object *o, const struct node *where, const struct node *n,
		      struct hits *h)
{
	for (size_t i = 0; i < n->n; i++) {
		uint32_t number = NONE;

		if (!n->values[i].p)
			continue;
		if (n->path.field == 0) {
			number = id_find(o, n->values[i]);
			if (number != NONE && fits(o, number, where))
				hit(h, number);
			continue;
		}
		while ((number = record_find(o, n->path.field, n->values[i], number)) != NONE) {
			if (fits(o, number, where))
				hit(h, number);
		}
	}
}

static const struct soql *sorting;

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int by_order(const void *a, const void *b)
{
	const struct object *o = sorting->object;
	const char *x = value_of(o, *(const uint32_t *)a, &sorting->order);
	const char *y = value_of(o, *(const uint32_t *)b, &sorting->order);
	int order = x && y ? strcasecmp(x, y) : (x != NULL) - (y != NULL);

	order = sorting->descending ? -order : order;
	return order ? order : by_number(a, b);
}

static void run(const struct soql *q, struct hits *h)
{
	const struct object *o = q->object;
	const struct node *n = quick(o, q->where);
	size_t kept = 0;

	if (n)
		add_quick(o, q->where, n, h);
	for (uint32_t i = 0; !n && i < o->n; i++) {
		if (o->records[i].live && fits(o, i, q->where))
			hit(h, i);
	}
	sorting = q;
	if (h->n)
		qsort(h->list, h->n, sizeof *h->list, q->ordered ? by_order : by_number);
	for (size_t i = 0; i < h->n; i++) { /* one that two values of a list found */
		if (i == 0 || h->list[i] != h->list[i - 1])
			h->list[kept++] = h->list[i];
	}
	h->n = kept;
	if (q->offset > 0 && h->n) {
		size_t skip = (size_t)q->offset < h->n ? (size_t)q->offset : h->n;

		memmove(h->list, h->list + skip, (h->n - skip) * sizeof *h->list);
		h->n -= skip;
	}
	if (q->limit >= 0 && h->n > (size_t)q->limit)
		h->n = (size_t)q->limit;
}

/* ---- printing ---- */

static void print_value(const struct path *path, const char *value, struct text *out)
{
	enum field_type type = path->object->fields[path->field].type;

	if (type == T_BOOL)
		text_str(out, value && strcmp(value, "true") == 0 ? "true" : "false");
	else if (!value)
		text_str(out, "null");
	else if (type == T_NUMBER)
		text_str(out, value);
	else
		text_json(out, slice_of(value));
}

static void print_attributes(const struct object *o, const char *id, struct text *out)
{
	text_fmt(
		out,
		"{\"attributes\":{\"type\":\"%s\",\"url\":\"/services/data/v62.0/sobjects/%s/%s\"}",
		o->name, o->name, id);
}

/* Fields of one relation stand together in its object. */
static void print_relation(const struct soql *q, size_t first, uint32_t number, struct text *out)
{
	const struct path *p = &q->select[first];
	const char *id = q->object->records[number].v[p->relation];
	const char *name = q->object->fields[p->relation].name;

	for (size_t i = 0; i < first; i++) {
		if (q->select[i].relation == p->relation)
			return; /* printed before */
	}
	text_fmt(out, ",\"%.*s\":", (int)strlen(name) - 2, name);
	if (!id) {
		text_str(out, "null");
		return;
	}
	print_attributes(p->object, id, out);
	for (size_t i = first; i < q->n_select; i++) {
		const struct path *other = &q->select[i];

		if (other->relation != p->relation)
			continue;
		text_fmt(out, ",\"%s\":", other->object->fields[other->field].name);
		print_value(other, value_of(q->object, number, other), out);
	}
	text_char(out, '}');
}

static void print_record(const struct soql *q, uint32_t number, struct text *out)
{
	print_attributes(q->object, q->object->records[number].v[0], out);
	for (size_t i = 0; i < q->n_select; i++) {
		const struct path *p = &q->select[i];

		if (p->relation >= 0) {
			print_relation(q, i, number, out);
			continue;
		}
		text_fmt(out, ",\"%s\":", p->object->fields[p->field].name);
		print_value(p, value_of(q->object, number, p), out);
	}
	text_char(out, '}');
}

static void make_cursor(struct sf *s, struct slice text, size_t at, struct text *out)
{
	struct cursor *c = &s->cursors[s->cursors_made % CURSORS];

	free(c->soql);
	*c = (struct cursor){.soql = xdup(text.p, text.n), .at = at};
	snprintf(c->id, sizeof c->id, "01g5eAq%08uAAA", (unsigned)(s->cursors_made++ % 100000000u));
	text_fmt(out, ",\"nextRecordsUrl\":\"/services/data/v62.0/query/%s-%zu\"", c->id, at);
}

static size_t page_of(const struct sf *s, const struct sim_call *call)
{
	struct slice header = http_header(call->http, "Sforce-Query-Options");
	int64_t n = s->knobs.page_size;

	if (slice_starts(header, "batchSize="))
		slice_number((struct slice){header.p + 10, header.n - 10}, &n);
	return n < 1 ? 1 : n > 2000 ? 2000 : (size_t)n;
}

void soql_answer(struct sf *s, struct sim_call *call, struct soql *q, struct slice text, size_t at)
{
	struct text *out = &call->answer->body;
	struct hits h = {0};
	size_t end;

	run(q, &h);
	end = at + page_of(s, call) < h.n ? at + page_of(s, call) : h.n;
	if (q->count)
		at = end = h.n;
	text_fmt(out, "{\"totalSize\":%zu,\"done\":%s", h.n, end == h.n ? "true" : "false");
	if (end < h.n)
		make_cursor(s, text, end, out);
	text_str(out, ",\"records\":[");
	for (size_t i = at; i < end; i++) {
		if (i > at)
			text_char(out, ',');
		print_record(q, h.list[i], out);
	}
	text_str(out, "]}");
	free(h.list);
	sf_json(call, 200);
}
