#include "conf_tree.h"

#include "json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct conf *load(const char *path, const char *part, struct buf *out)
{
	struct conf *c = mem_alloc(sizeof(*c));
	struct conf_errors errors = {0};
	struct conf_node *root = conf_files_read(c, path, &errors);

	if (root) {
		root->at = root->key_at = (struct conf_place){c->files[0], 1, 1};
		conf_check(root, &errors);
		conf_check_relations(root, &errors);
		conf_check_secrets(root, part, &errors);
	}
	c->root = root;
	if (errors.n > 0) {
		conf_errors_print(&errors, c, out);
		conf_free(c);
		c = NULL;
	}
	conf_errors_done(&errors);
	return c;
}

struct conf *conf_load(const char *path, struct buf *errors)
{
	return load(path, NULL, errors);
}

struct conf *conf_load_for(const char *path, const char *part, struct buf *errors)
{
	return load(path, part, errors);
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	conf_node_free(c->root);
	for (size_t i = 0; i < c->files_n; i++)
		free(c->files[i]);
	free(c->files);
	free(c);
}

const struct conf_node *conf_root(const struct conf *c)
{
	return c->root;
}

/* The table's row; a key that is not there is our bug. */
static const struct conf_key *row(const struct conf_node *n, const char *key)
{
	const struct conf_key *found = n->path ? conf_key_below(n->path, key) : NULL;

	assert(found);
	return found;
}

const struct conf_node *conf_section(const struct conf_node *n, const char *name)
{
	const struct conf_key *key = row(n, name);
	const struct conf_node *child = conf_node_child(n, name);

	assert(key->type == CONF_SECTION && child);
	return child;
}

const struct conf_node *conf_named(const struct conf_node *n, const char *sections,
				   const char *name)
{
	const struct conf_key *key = row(n, sections);
	const struct conf_node *list = conf_node_child(n, sections);

	assert(key->type == CONF_SECTIONS);
	return list ? conf_node_child(list, name) : NULL;
}

const struct conf_node *conf_at(const struct conf_node *n, const char *sections, size_t i,
				const char **ret_name)
{
	const struct conf_key *key = row(n, sections);
	const struct conf_node *list = conf_node_child(n, sections);

	assert(key->type == CONF_SECTIONS || key->type == CONF_SECTION_LIST);
	if (!list || i >= list->n)
		return NULL;
	if (ret_name)
		*ret_name = list->items[i]->name;
	return list->items[i];
}

const char *conf_text(const struct conf_node *n, const char *key)
{
	const struct conf_key *r = row(n, key);
	const struct conf_node *value = conf_node_child(n, key);

	assert(r->type == CONF_TEXT || r->type == CONF_WORD || r->type == CONF_NAME ||
	       r->type == CONF_URL || r->type == CONF_PATH);
	if (!value || (value->text_n == 0 && r->fallback && !*r->fallback))
		return NULL;
	return value->text;
}

int64_t conf_int(const struct conf_node *n, const char *key)
{
	const struct conf_key *r = row(n, key);
	const struct conf_node *value = conf_node_child(n, key);
	int64_t number = 0;

	assert(r->type == CONF_INT || r->type == CONF_DURATION || r->type == CONF_SIZE);
	if (value && value->text_n > 0 && conf_parse_scaled(r->type, value->text, &number) < 0)
		abort(); /* it was checked */
	return number;
}

bool conf_bool(const struct conf_node *n, const char *key)
{
	const struct conf_node *value = conf_node_child(n, key);

	assert(row(n, key)->type == CONF_BOOL);
	return value && strcmp(value->text, "true") == 0;
}

const char *conf_item(const struct conf_node *n, const char *key, size_t i)
{
	const struct conf_node *value = conf_node_child(n, key);

	assert(row(n, key)->type == CONF_LIST);
	return value && i < value->n ? value->items[i]->text : NULL;
}

size_t conf_endpoints(const struct conf_node *root, const char **ret_endpoints, size_t most)
{
	const struct conf_node *connect = conf_section(root, "connect");
	size_t n = 0;

	while (n < most && conf_item(connect, "endpoints", n)) {
		ret_endpoints[n] = conf_item(connect, "endpoints", n);
		n++;
	}
	if (n == 0 && most > 0) {
		ret_endpoints[0] = conf_item(conf_section(root, "broker"), "endpoints", 0);
		n = ret_endpoints[0] != NULL;
	}
	return n;
}

bool conf_secret(const struct conf_node *n, const char *key, struct secret_ref *ret_ref)
{
	const struct conf_node *value = conf_node_child(n, key);

	assert(row(n, key)->type == CONF_SECRET);
	return value && conf_secret_ref_of(value, ret_ref);
}

struct secret *conf_load_secret(const struct conf_node *n, const char *key, struct buf *why)
{
	struct secret_ref ref;

	if (!conf_secret(n, key, &ref))
		return NULL;
	return secret_load(&ref, why);
}

void conf_where(const struct conf_node *n, const char *key, struct buf *out)
{
	const struct conf_node *value = key ? conf_node_child(n, key) : NULL;
	struct conf_place at = value && !value->defaulted ? value->at : n->key_at;

	buf_addf(out, "%s:%d:%d", at.file, at.line, at.column);
}

/* ---- as JSON ---- */

/* YAML's core schema: plain null, true, false and numbers have types, all else is text. Numbers that a double
 * does not hold exactly stay texts. */
static cJSON *plain_to_json(const struct conf_node *n)
{
	static const char digits[] = "0123456789";
	static const int64_t exact = (int64_t)1 << 53;
	int64_t whole;
	char *end;
	double value;

	if (!n->plain)
		return cJSON_CreateString(n->text);
	if (n->text_n == 0 || conf_word_in("null|~", n->text))
		return cJSON_CreateNull();
	if (conf_word_in("true|false", n->text))
		return cJSON_CreateBool(n->text[0] == 't');
	if (conf_parse_int(n->text, &whole) == 0)
		return whole <= exact && whole >= -exact ? cJSON_CreateNumber((double)whole)
							 : cJSON_CreateString(n->text);
	if (strspn(n->text, "0123456789+-.eE") == n->text_n && strpbrk(n->text, digits) &&
	    strpbrk(n->text, ".eE")) {
		value = strtod(n->text, &end);
		if (!*end && value - value == 0)
			return cJSON_CreateNumber(value);
	}
	return cJSON_CreateString(n->text);
}

static cJSON *free_to_json(const struct conf_node *n)
{
	cJSON *json;

	if (n->kind == CONF_SCALAR)
		return plain_to_json(n);
	json = n->kind == CONF_SEQUENCE ? cJSON_CreateArray() : cJSON_CreateObject();
	for (size_t i = 0; i < n->n; i++) {
		if (n->kind == CONF_SEQUENCE)
			cJSON_AddItemToArray(json, free_to_json(n->items[i]));
		else
			cJSON_AddItemToObject(json, n->items[i]->name, free_to_json(n->items[i]));
	}
	return json;
}

static cJSON *secret_to_json(const struct conf_node *n)
{
	cJSON *json;

	if (!n->tag)
		return NULL;
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, n->tag, n->text);
	return json;
}

static cJSON *section_to_json(const struct conf_node *n);

/* NULL: optional and not given. */
static cJSON *value_to_json(const struct conf_key *key, const struct conf_node *n)
{
	int64_t number = 0;
	cJSON *json;

	switch (key->type) {
	case CONF_SECTION:
		return section_to_json(n);
	case CONF_SECTIONS:
	case CONF_SECTION_LIST:
		json = key->type == CONF_SECTIONS ? cJSON_CreateObject() : cJSON_CreateArray();
		for (size_t i = 0; i < n->n; i++) {
			cJSON *item = section_to_json(n->items[i]);

			if (key->type == CONF_SECTIONS)
				cJSON_AddItemToObject(json, n->items[i]->name, item);
			else
				cJSON_AddItemToArray(json, item);
		}
		return json;
	case CONF_LIST:
		json = cJSON_CreateArray();
		for (size_t i = 0; i < n->n; i++)
			cJSON_AddItemToArray(json, cJSON_CreateString(n->items[i]->text));
		return json;
	case CONF_MAP:
		return free_to_json(n);
	case CONF_SECRET:
		return secret_to_json(n);
	case CONF_BOOL:
		return cJSON_CreateBool(n->text[0] == 't');
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
		if (conf_parse_scaled(key->type, n->text, &number) < 0)
			abort(); /* it was checked */
		return cJSON_CreateNumber((double)number);
	case CONF_TEXT:
	case CONF_WORD:
	case CONF_NAME:
	case CONF_URL:
	case CONF_PATH:
		return n->text_n == 0 && key->fallback && !*key->fallback
			       ? NULL
			       : cJSON_CreateString(n->text);
	case CONF_TYPES:
		break;
	}
	abort();
}

static cJSON *section_to_json(const struct conf_node *n)
{
	cJSON *json = cJSON_CreateObject();

	for (size_t i = 0; i < n->n; i++) {
		cJSON *value = value_to_json(row(n, n->items[i]->name), n->items[i]);

		if (value)
			cJSON_AddItemToObject(json, n->items[i]->name, value);
	}
	return json;
}

void conf_json(const struct conf_node *n, const char *key, struct buf *out)
{
	const struct conf_node *value = key ? conf_node_child(n, key) : n;
	cJSON *json = NULL;

	if (!key)
		json = section_to_json(n);
	else if (value)
		json = value_to_json(row(n, key), value);
	if (!json)
		json = cJSON_CreateNull();
	json_canonical(json, out);
	cJSON_Delete(json);
}
