#include "conf_tree.h"

#include <libfyaml.h>
#include <string.h>

static const char not_one[] = "expected one YAML document with a mapping of sections";

static struct conf_place place_of_token(struct fy_token *token, struct conf_place otherwise)
{
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;

	if (!mark)
		return otherwise;
	return (struct conf_place){otherwise.file, mark->line + 1, mark->column + 1};
}

static void take_tag(struct conf_node *n, struct fy_node *from)
{
	size_t tag_n = 0;
	const char *tag = fy_node_get_tag(from, &tag_n);

	if (tag && tag_n > 0)
		n->tag = slice_dup((struct slice){tag, tag_n});
}

static struct conf_node *convert(struct fy_node *from, struct conf_place at,
				 struct conf_errors *errors);

static void convert_scalar(struct conf_node *n, struct fy_node *from)
{
	size_t text_n = 0;
	const char *text = fy_node_get_scalar(from, &text_n);

	if (!text)
		text_n = 0;
	n->at = place_of_token(fy_node_get_scalar_token(from), n->at);
	n->text = slice_dup((struct slice){text, text_n});
	n->text_n = text_n;
	n->plain = fy_node_get_style(from) == FYNS_PLAIN || !text;
	n->alias = fy_node_is_alias(from);
}

static void convert_sequence(struct conf_node *n, struct fy_node *from, struct conf_errors *errors)
{
	struct fy_node *item;
	void *iterator = NULL;

	while ((item = fy_node_sequence_iterate(from, &iterator))) {
		struct conf_node *child = convert(item, n->at, errors);

		child->key_at = child->at;
		conf_node_add(n, child);
	}
}

/* The key's text, owned; NULL when the key is not one plain word. */
static char *key_text(struct fy_node *key)
{
	size_t n = 0;
	const char *text;

	if (!key || !fy_node_is_scalar(key) || fy_node_is_alias(key))
		return NULL;
	text = fy_node_get_scalar(key, &n);
	if (!text || n == 0 || memchr(text, 0, n))
		return NULL;
	return slice_dup((struct slice){text, n});
}

static void convert_pair(struct conf_node *n, struct fy_node_pair *pair, struct conf_errors *errors)
{
	struct fy_node *key = fy_node_pair_key(pair);
	struct fy_node *value = fy_node_pair_value(pair);
	bool scalar = key && fy_node_is_scalar(key);
	struct conf_place at = place_of_token(scalar ? fy_node_get_scalar_token(key) : NULL, n->at);
	CLEANUP(free_cleanup) char *name = key_text(key);
	const struct conf_node *first;
	struct conf_node *child;

	if (!name) {
		conf_fail(errors, at, NULL, "a key must be one word");
		return;
	}
	first = conf_node_child(n, name);
	if (first) {
		conf_fail(errors, at, name, "stands twice here, first in line %d",
			  first->key_at.line);
		return;
	}
	child = value ? convert(value, at, errors) : conf_node_new(CONF_SCALAR, NULL, at);
	if (!value) {
		child->text = mem_dup("");
		child->plain = true;
	}
	child->name = mem_dup(name);
	child->key_at = at;
	if (child->at.line == 0 ||
	    (child->kind == CONF_SCALAR && child->text_n == 0 && child->plain))
		child->at = at;
	conf_node_add(n, child);
}

static void convert_mapping(struct conf_node *n, struct fy_node *from, struct conf_errors *errors)
{
	struct fy_node_pair *pair;
	void *iterator = NULL;
	bool first = true;

	while ((pair = fy_node_mapping_iterate(from, &iterator))) {
		struct fy_node *key = fy_node_pair_key(pair);

		/* The library keeps no mark for a mapping: where its first key stands is where it begins. */
		if (first && key && fy_node_is_scalar(key))
			n->at = place_of_token(fy_node_get_scalar_token(key), n->at);
		first = false;
		convert_pair(n, pair, errors);
	}
}

/* Depth is bounded by the library's limit of 64. */
static struct conf_node *convert(struct fy_node *from, struct conf_place at,
				 struct conf_errors *errors)
{
	static const enum conf_kind kinds[] = {[FYNT_SCALAR] = CONF_SCALAR,
					       [FYNT_SEQUENCE] = CONF_SEQUENCE,
					       [FYNT_MAPPING] = CONF_MAPPING};
	struct conf_node *n = conf_node_new(kinds[fy_node_get_type(from)], NULL, at);

	take_tag(n, from);
	switch (n->kind) {
	case CONF_SCALAR:
		convert_scalar(n, from);
		break;
	case CONF_SEQUENCE:
		convert_sequence(n, from, errors);
		break;
	case CONF_MAPPING:
		convert_mapping(n, from, errors);
		break;
	}
	return n;
}

/* The library's own words, without the excerpt of the file that it can add: the line may hold a secret. */
static void take_diagnostics(struct fy_diag *diag, const char *file, struct conf_errors *errors)
{
	struct fy_diag_error *e;
	void *iterator = NULL;

	while ((e = fy_diag_errors_iterate(diag, &iterator)))
		conf_fail(errors, (struct conf_place){file, e->line, e->column}, NULL,
			  "not YAML: %s", e->msg);
}

static struct conf_node *take_documents(struct fy_parser *parser, struct conf_place at,
					struct conf_errors *errors)
{
	struct conf_node *root = NULL;
	struct fy_document *document;
	size_t n = 0;

	while ((document = fy_parse_load_document(parser))) {
		struct fy_node *from = fy_document_root(document);

		if (n == 0 && from)
			root = convert(from, at, errors);
		else if (n == 1)
			conf_fail(errors, at, NULL, "%s; a second document follows after ---",
				  not_one);
		n++;
		fy_parse_document_destroy(parser, document);
	}
	return root;
}

struct conf_node *conf_yaml_parse(struct slice text, const char *file, struct conf_errors *errors)
{
	struct fy_diag_cfg diag_conf;
	struct fy_parse_cfg conf = {.search_path = "",
				    .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG |
					     FYPCF_ALLOW_DUPLICATE_KEYS};
	struct conf_place at = {file, 1, 1};
	struct conf_node *root = NULL;
	struct fy_parser *parser;
	struct fy_diag *diag;
	size_t before = errors->n;

	fy_diag_cfg_default(&diag_conf);
	diag_conf.fp = NULL;
	diag_conf.colorize = false;
	diag = fy_diag_create(&diag_conf);
	fy_diag_set_collect_errors(diag, true);
	conf.diag = diag;
	parser = fy_parser_create(&conf);
	if (!parser || fy_parser_set_string(parser, text.p, text.n) != 0) {
		conf_fail(errors, at, NULL, "%s", not_one);
		goto out;
	}
	root = take_documents(parser, at, errors);
	take_diagnostics(diag, file, errors);
	if (errors->n == before && fy_parser_get_stream_error(parser))
		conf_fail(errors, at, NULL, "%s", not_one);
	if (root && (root->kind != CONF_MAPPING) &&
	    !(root->kind == CONF_SCALAR && root->plain && root->text_n == 0))
		conf_fail(errors, root->at, NULL, "%s, got %s", not_one, conf_node_what(root));
	if (root && root->kind != CONF_MAPPING) {
		conf_node_free(root);
		root = NULL;
	}
out:
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return root;
}
