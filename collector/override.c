#include "override.h"

#include "fold.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

struct override {
	char *key;  /* an id's text, or "attribute=value" folded */
	cJSON *set; /* attribute -> array of texts */
	UT_hash_handle hh;
};

struct override_table {
	struct override *by_key;
	char **attrs; /* by which somebody is matched, each once */
	size_t attrs_n;
};

/* ---- loading ---- */

static void say(const struct conf_node *n, const char *key, const char *what, struct buf *why)
{
	conf_where(n, key, why);
	buf_addf(why, ": overrides: %s", what);
}

/* By any source: what is not for this one is not for its users either. */
static bool is_read(const struct conf_node *root, const char *attr)
{
	const struct conf_node *source;
	const char *item;

	for (size_t s = 0; (source = conf_at(root, "sources", s, NULL)) != NULL; s++) {
		const struct conf_node *users = conf_section(source, "users");

		for (size_t i = 0; (item = conf_item(users, "attributes", i)) != NULL; i++)
			if (strcasecmp(item, attr) == 0)
				return true;
	}
	return false;
}

/* A text, a list of texts or null becomes an array of texts; NULL: something else. */
static cJSON *values_of(const cJSON *value)
{
	cJSON *list = cJSON_CreateArray();
	const cJSON *item;

	if (cJSON_IsString(value))
		cJSON_AddItemToArray(list, cJSON_CreateString(value->valuestring));
	else if (cJSON_IsArray(value))
		cJSON_ArrayForEach (item, value) {
			if (cJSON_IsString(item))
				cJSON_AddItemToArray(list, cJSON_CreateString(item->valuestring));
		}
	if (cJSON_IsNull(value) || cJSON_IsString(value) ||
	    (cJSON_IsArray(value) && cJSON_GetArraySize(list) == cJSON_GetArraySize(value)))
		return list;
	cJSON_Delete(list);
	return NULL;
}

static cJSON *load_set(const struct conf_node *n, const struct conf_node *root, struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	cJSON *given, *set = cJSON_CreateObject();
	const cJSON *item;

	conf_json(n, "set", &text);
	given = json_parse(buf_slice(&text), NULL);
	cJSON_ArrayForEach (item, given) {
		cJSON *values = values_of(item);

		if (values == NULL)
			say(n, "set", "expected attribute: TEXT, [TEXT, …] or null", why);
		else if (!is_read(root, item->string))
			say(n, "set", "an attribute that no source's users.attributes names", why);
		cJSON_AddItemToObject(set, item->string, values ? values : cJSON_CreateArray());
		if (why->n > 0)
			break;
	}
	cJSON_Delete(given);
	return set;
}

static void match_by(struct override_table *t, struct slice attr)
{
	for (size_t i = 0; i < t->attrs_n; i++)
		if (strncasecmp(t->attrs[i], attr.p, attr.n) == 0 && t->attrs[i][attr.n] == '\0')
			return;
	t->attrs = mem_resize(t->attrs, (t->attrs_n + 1) * sizeof(char *));
	t->attrs[t->attrs_n++] = slice_dup(attr);
}

static bool key_of_value(struct slice attr, const char *value, struct buf *out)
{
	buf_clear(out);
	if (!fold_key(attr, out))
		return false;
	buf_addc(out, '=');
	return fold_key(slice_of(value), out);
}

static void load_key(struct override_table *t, const struct conf_node *n, struct buf *ret,
		     struct buf *why)
{
	const char *id = conf_text(n, "id"), *match = conf_text(n, "match");
	const char *sign = match != NULL ? strchr(match, '=') : NULL;
	bool by_id = id != NULL && *id, by_value = match != NULL && *match;
	char text[ID_TEXT];
	struct id parsed;

	if (by_id == by_value) {
		say(n, "set", "expected either id or match beside it", why);
	} else if (by_id && id_parse(slice_of(id), &parsed) == 0) {
		id_format(&parsed, text);
		buf_adds(ret, text);
	} else if (by_id) {
		say(n, "id", "not an id", why);
	} else if (sign == NULL || sign == match ||
		   !key_of_value((struct slice){match, (size_t)(sign - match)}, sign + 1, ret)) {
		say(n, "match", "expected attribute=value", why);
	} else {
		match_by(t, (struct slice){match, (size_t)(sign - match)});
	}
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void load_one(struct override_table *t, const struct conf_node *n,
		     const struct conf_node *root, struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf key = {0};
	struct override *o = NULL;

	load_key(t, n, &key, why);
	if (why->n > 0 || !key.p)
		return;
	HASH_FIND(hh, t->by_key, key.p, key.n, o);
	if (o != NULL) {
		say(n, "set", "another one says something of the same user or value", why);
		return;
	}
	o = mem_alloc(sizeof(*o));
	o->key = mem_dup(key.p);
	o->set = load_set(n, root, why);
	HASH_ADD_KEYPTR(hh, t->by_key, o->key, strlen(o->key), o);
}

struct override_table *override_new(const struct conf_node *root, struct buf *why)
{
	struct override_table *t = mem_alloc(sizeof(*t));
	const struct conf_node *n;

	for (size_t i = 0; (n = conf_at(root, "overrides", i, NULL)) != NULL && why->n == 0; i++)
		load_one(t, n, root, why);
	if (why->n == 0)
		return t;
	override_free(t);
	return NULL;
}

// NOLINTNEXTLINE(readability-function-size): uthash
void override_free(struct override_table *t)
{
	struct override *o, *next;

	if (t == NULL)
		return;
	HASH_ITER (hh, t->by_key, o, next) {
		HASH_DEL(t->by_key, o); // NOLINT(clang-analyzer-unix.Malloc): uthash
		free(o->key);
		cJSON_Delete(o->set);
		free(o);
	}
	for (size_t i = 0; i < t->attrs_n; i++)
		free(t->attrs[i]);
	free(t->attrs);
	free(t);
}

/* ---- asking ---- */

// NOLINTNEXTLINE(readability-function-size): uthash
static const cJSON *said(const struct override_table *t, const char *key, size_t n,
			 const char *attr)
{
	struct override *o;

	HASH_FIND(hh, t->by_key, key, n, o);
	return o != NULL ? cJSON_GetObjectItem(o->set, attr) : NULL;
}

const cJSON *override_values(const struct override_table *t, const struct entry *e,
			     const char *attr)
{
	CLEANUP(buf_cleanup) struct buf key = {0};
	char id[ID_TEXT];
	const cJSON *values;

	if (t == NULL || t->by_key == NULL)
		return NULL;
	id_format(&e->id, id);
	values = said(t, id, strlen(id), attr);
	for (size_t i = 0; values == NULL && i < t->attrs_n; i++) {
		const struct entry_attr *a = entry_attr(e, t->attrs[i]);

		for (size_t k = 0; values == NULL && a != NULL && k < a->n; k++) {
			CLEANUP(free_cleanup) char *value = slice_dup(a->values[k]);

			if (key_of_value(slice_of(t->attrs[i]), value, &key))
				values = said(t, key.p, key.n, attr);
		}
	}
	return values;
}

void override_hash(const struct conf_node *root, struct buf *out)
{
	const struct conf_node *n;

	for (size_t i = 0; (n = conf_at(root, "overrides", i, NULL)) != NULL; i++) {
		const char *id = conf_text(n, "id"), *match = conf_text(n, "match");

		buf_addf(out, "override %s %s ", id ? id : "", match ? match : "");
		conf_json(n, "set", out);
	}
}
