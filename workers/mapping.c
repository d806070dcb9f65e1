#include "mapping.h"

#include "mapping_jq.h"

#include <stdlib.h>
#include <string.h>

enum shape { SHAPE_FIRST, SHAPE_ALL, SHAPE_CONST, SHAPE_JQ };

struct field {
	char *path;
	enum shape shape;
	char **attrs; /* FIRST, ALL */
	size_t attrs_n;
	cJSON *value; /* CONST */
	struct mapping_jq *jq;
	bool unless_set; /* the target masters it: written only where the account has no value */
};

struct mapping {
	struct field *fields; /* sorted by path */
	size_t n;
	struct buf text; /* the snapshot for jq */
};

/* ---- loading ---- */

static void complain(struct buf *errors, const char *where, const char *path, const char *what)
{
	buf_addf(errors, "%s: mapping.%s: %s\n", where, path, what);
}

static const char *load_attrs(struct field *f, const cJSON *value)
{
	const cJSON *item;

	if (cJSON_IsString(value)) {
		f->attrs = mem_array(1, sizeof(char *));
		f->attrs[f->attrs_n++] = mem_dup(value->valuestring);
		return *value->valuestring ? NULL : "the attribute's name is empty";
	}
	if (cJSON_GetArraySize(value) == 0)
		return "the list of attributes is empty";
	f->attrs = mem_array((size_t)cJSON_GetArraySize(value), sizeof(char *));
	cJSON_ArrayForEach (item, value) {
		if (!cJSON_IsString(item) || !*item->valuestring)
			return "each item of the list must be an attribute's name";
		f->attrs[f->attrs_n++] = mem_dup(item->valuestring);
	}
	return NULL;
}

static const char *load_spec(struct field *f, const cJSON *spec, struct buf *why);

static const char *load_tagged(struct field *f, const cJSON *value, struct buf *why)
{
	const cJSON *only = value->child;

	if (!only || only->next)
		return "expected exactly one of all, const, jq, unless_set";
	if (strcmp(only->string, "all") == 0) {
		f->shape = SHAPE_ALL;
		return cJSON_IsString(only) ? load_attrs(f, only)
					    : "all: expected an attribute's name";
	}
	if (strcmp(only->string, "const") == 0) {
		f->shape = SHAPE_CONST;
		f->value = cJSON_Duplicate(only, true);
		return NULL;
	}
	if (strcmp(only->string, "jq") == 0) {
		f->shape = SHAPE_JQ;
		if (!cJSON_IsString(only))
			return "jq: expected an expression in quotes";
		f->jq = mapping_jq_new(only->valuestring, why);
		return f->jq ? NULL : why->p;
	}
	if (strcmp(only->string, "unless_set") == 0 && !f->unless_set) {
		f->unless_set = true;
		return load_spec(f, only, why);
	}
	return "unknown key, expected all, const, jq or unless_set";
}

static const char *load_field(struct field *f, const cJSON *spec, struct buf *why)
{
	f->path = mem_dup(spec->string);
	return *f->path ? load_spec(f, spec, why) : "the field's name is empty";
}

static const char *load_spec(struct field *f, const cJSON *spec, struct buf *why)
{
	if (cJSON_IsObject(spec))
		return load_tagged(f, spec, why);
	f->shape = SHAPE_FIRST;
	if (cJSON_IsString(spec) || cJSON_IsArray(spec))
		return load_attrs(f, spec);
	return "expected an attribute, a list of attributes, {all: …}, {const: …}, {jq: …} or "
	       "{unless_set: …}";
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct field *)a)->path, ((const struct field *)b)->path);
}

struct mapping *mapping_new(const cJSON *spec, const char *where, struct buf *errors)
{
	struct mapping *m = mem_alloc(sizeof(*m));
	size_t errors_before = errors->n;
	const cJSON *item;

	if (!cJSON_IsObject(spec) || !spec->child)
		complain(errors, where, "", "expected at least one field");
	else
		m->fields = mem_array((size_t)cJSON_GetArraySize(spec), sizeof(struct field));
	if (m->fields) {
		cJSON_ArrayForEach (item, spec) {
			CLEANUP(buf_cleanup) struct buf why = {0};
			const char *what = load_field(&m->fields[m->n++], item, &why);

			if (what)
				complain(errors, where, item->string, what);
		}
		qsort(m->fields, m->n, sizeof(struct field), by_path);
	}
	if (errors->n == errors_before)
		return m;
	mapping_free(m);
	return NULL;
}

void mapping_free(struct mapping *m)
{
	if (!m)
		return;
	for (size_t i = 0; m->fields && i < m->n; i++) {
		struct field *f = &m->fields[i];

		for (size_t k = 0; k < f->attrs_n; k++)
			free(f->attrs[k]);
		free(f->attrs);
		free(f->path);
		cJSON_Delete(f->value);
		mapping_jq_free(f->jq);
	}
	free(m->fields);
	buf_done(&m->text);
	free(m);
}

size_t mapping_count(const struct mapping *m)
{
	return m->n;
}

const char *mapping_path(const struct mapping *m, size_t i)
{
	return m->fields[i].path;
}

bool mapping_asks(const struct mapping *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->fields[i].unless_set)
			return true;
	return false;
}

void mapping_leave(const struct mapping *m, const cJSON *account, cJSON *document)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->fields[i].unless_set &&
		    !mapping_empty(mapping_get(account, m->fields[i].path)))
			cJSON_DeleteItemFromObjectCaseSensitive(document, m->fields[i].path);
}

/* ---- applying ---- */

/* *ret_known: the snapshot has such an attribute, empty or not. */
static cJSON *value_of(const struct snapshot *s, const char *attr, bool *ret_known)
{
	const cJSON *account;
	const char *text;

	if (strncmp(attr, "account.", 8) == 0) {
		account = json_get(json_object(snapshot_json(s), "account"), attr + 8);
		*ret_known = account != NULL;
		return account && !cJSON_IsNull(account) ? cJSON_Duplicate(account, true) : NULL;
	}
	text = snapshot_first(s, attr);
	*ret_known = text || snapshot_values(s, attr);
	return text ? cJSON_CreateString(text) : NULL;
}

static cJSON *apply_first(const struct field *f, const struct snapshot *s, struct buf *why)
{
	bool any = false;

	for (size_t i = 0; i < f->attrs_n; i++) {
		bool known;
		cJSON *value = value_of(s, f->attrs[i], &known);

		if (value)
			return value;
		any |= known;
	}
	if (any)
		return cJSON_CreateNull();
	buf_addf(why, "%s: attribute %s was not read from the directory", f->path, f->attrs[0]);
	return NULL;
}

static cJSON *apply_all(const struct field *f, const struct snapshot *s, struct buf *why)
{
	const cJSON *values = snapshot_values(s, f->attrs[0]);

	if (values)
		return cJSON_Duplicate(values, true);
	buf_addf(why, "%s: attribute %s was not read from the directory", f->path, f->attrs[0]);
	return NULL;
}

static cJSON *apply_jq(struct mapping *m, const struct field *f, const struct snapshot *s,
		       struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf reason = {0};
	cJSON *json;

	if (m->text.n == 0)
		json_print(snapshot_json(s), &m->text);
	json = mapping_jq_run(f->jq, buf_slice(&m->text), &reason);
	if (!json)
		buf_addf(why, "%s: %s", f->path, reason.n ? reason.p : "");
	return json;
}

cJSON *mapping_apply(struct mapping *m, const struct snapshot *s, struct buf *why)
{
	cJSON *document = cJSON_CreateObject();

	buf_clear(&m->text);
	for (size_t i = 0; i < m->n; i++) {
		const struct field *f = &m->fields[i];
		cJSON *value = NULL;

		switch (f->shape) {
		case SHAPE_FIRST:
			value = apply_first(f, s, why);
			break;
		case SHAPE_ALL:
			value = apply_all(f, s, why);
			break;
		case SHAPE_CONST:
			value = cJSON_Duplicate(f->value, true);
			break;
		case SHAPE_JQ:
			value = apply_jq(m, f, s, why);
			break;
		}
		if (!value) {
			cJSON_Delete(document);
			return NULL;
		}
		cJSON_AddItemToObject(document, f->path, value);
	}
	return document;
}

/* ---- paths ---- */

void mapping_split(const char *path, struct slice *ret_head, struct slice *ret_rest)
{
	const char *end = path + strlen(path), *from = path, *cut;

	if (strncasecmp(path, "urn:", 4) == 0) {
		from = strrchr(path, ':') + 1;
		cut = strchr(from, '.');
		if (!cut) {
			/* urn:…:User:department, as RFC 7644 3.10 writes it */
			*ret_head = (struct slice){path, (size_t)(from - 1 - path)};
			*ret_rest = (struct slice){from, (size_t)(end - from)};
			return;
		}
	} else {
		for (cut = from; *cut && *cut != '.'; cut++) {
			if (*cut == '[' && strchr(cut, ']'))
				cut = strchr(cut, ']');
		}
	}
	*ret_head = (struct slice){path, (size_t)(cut - path)};
	*ret_rest =
		*cut ? (struct slice){cut + 1, (size_t)(end - cut - 1)} : (struct slice){end, 0};
}

const cJSON *mapping_get(const cJSON *account, const char *path)
{
	struct slice head, rest;
	char name[256];

	while (account && *path) {
		mapping_split(path, &head, &rest);
		if (head.n >= sizeof(name) || !cJSON_IsObject(account))
			return NULL;
		memcpy(name, head.p, head.n);
		name[head.n] = '\0';
		account = cJSON_GetObjectItem(account, name);
		path = rest.p;
	}
	return account;
}

void mapping_put(cJSON *nested, const char *path, const cJSON *value)
{
	struct slice head, rest;

	for (;;) {
		mapping_split(path, &head, &rest);
		CLEANUP(free_cleanup) char *name = slice_dup(head);
		cJSON *next = cJSON_GetObjectItem(nested, name);

		if (rest.n == 0) {
			if (next)
				cJSON_DeleteItemFromObject(nested, name);
			cJSON_AddItemToObject(nested, name, cJSON_Duplicate(value, true));
			return;
		}
		if (!cJSON_IsObject(next)) {
			cJSON_DeleteItemFromObject(nested, name);
			next = cJSON_AddObjectToObject(nested, name);
		}
		nested = next;
		path = rest.p;
	}
}

bool mapping_empty(const cJSON *value)
{
	if (!value || cJSON_IsNull(value))
		return true;
	if (cJSON_IsString(value))
		return *value->valuestring == '\0';
	return (cJSON_IsArray(value) || cJSON_IsObject(value)) && !value->child;
}
