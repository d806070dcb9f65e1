#include "conf_tree.h"

#include <stdlib.h>
#include <string.h>

struct conf_node *conf_node_new(enum conf_kind kind, const char *name, struct conf_place at)
{
	struct conf_node *n = mem_alloc(sizeof(*n));

	n->kind = kind;
	n->name = mem_dup(name);
	n->at = at;
	n->key_at = at;
	return n;
}

void conf_node_add(struct conf_node *parent, struct conf_node *child)
{
	parent->items = mem_resize(parent->items, (parent->n + 1) * sizeof(struct conf_node *));
	parent->items[parent->n++] = child;
}

void conf_node_free(struct conf_node *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		conf_node_free(n->items[i]);
	free(n->items);
	free(n->name);
	free(n->tag);
	/* What was written inline although it is a secret must not stay in memory. */
	if (n->text)
		secret_wipe(n->text, n->text_n);
	free(n->text);
	free(n->path);
	free(n);
}

struct conf_node *conf_node_child(const struct conf_node *n, const char *name)
{
	if (n->kind != CONF_MAPPING)
		return NULL;
	for (size_t i = 0; i < n->n; i++)
		if (strcmp(n->items[i]->name, name) == 0)
			return n->items[i];
	return NULL;
}

const char *conf_node_what(const struct conf_node *n)
{
	if (n->kind == CONF_SEQUENCE)
		return n->n > 0 ? "a list" : "an empty list";
	if (n->kind == CONF_MAPPING)
		return n->n > 0 ? "a mapping" : "an empty mapping";
	if (n->text_n > 0)
		return "a single value";
	return n->plain ? "nothing" : "an empty text";
}

/* ---- errors ---- */

void conf_fail(struct conf_errors *errors, struct conf_place at, const char *key,
	       const char *format, ...)
{
	struct buf text = {0};
	va_list ap;

	if (errors->n++ >= CONF_ERRORS_MAX)
		return;
	if (key && *key)
		buf_addf(&text, "%s: ", key);
	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	errors->e = mem_resize(errors->e, errors->n * sizeof(*errors->e));
	errors->e[errors->n - 1] = (struct conf_error){at, buf_steal(&text)};
}

static size_t file_rank(const struct conf *c, const char *file)
{
	for (size_t i = 0; i < c->files_n; i++)
		if (c->files[i] == file)
			return i;
	return c->files_n;
}

struct ranked {
	const struct conf_error *e;
	size_t file;
	size_t order;
};

static int by_place(const void *pa, const void *pb)
{
	const struct ranked *a = pa;
	const struct ranked *b = pb;

	if (a->file != b->file)
		return a->file < b->file ? -1 : 1;
	if (a->e->at.line != b->e->at.line)
		return a->e->at.line < b->e->at.line ? -1 : 1;
	if (a->e->at.column != b->e->at.column)
		return a->e->at.column < b->e->at.column ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

void conf_errors_print(struct conf_errors *errors, const struct conf *c, struct buf *out)
{
	size_t n = errors->n < CONF_ERRORS_MAX ? errors->n : CONF_ERRORS_MAX;
	struct ranked *sorted = mem_array(n + 1, sizeof(*sorted));

	for (size_t i = 0; i < n; i++)
		sorted[i] = (struct ranked){&errors->e[i], file_rank(c, errors->e[i].at.file), i};
	qsort(sorted, n, sizeof(*sorted), by_place);
	for (size_t i = 0; i < n; i++) {
		const struct conf_place *at = &sorted[i].e->at;

		buf_adds(out, at->file);
		if (at->line > 0)
			buf_addf(out, ":%d:%d", at->line, at->column);
		buf_addf(out, ": %s\n", sorted[i].e->text);
	}
	if (errors->n > n)
		buf_addf(out, "… and %zu more errors\n", errors->n - n);
	free(sorted);
}

void conf_errors_done(struct conf_errors *errors)
{
	size_t n = errors->n < CONF_ERRORS_MAX ? errors->n : CONF_ERRORS_MAX;

	for (size_t i = 0; i < n; i++)
		free(errors->e[i].text);
	free(errors->e);
	*errors = (struct conf_errors){0};
}
