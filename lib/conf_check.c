#include "conf_tree.h"

#include <stdlib.h>
#include <string.h>

static const char *const type_words[CONF_TYPES] = {
	[CONF_TEXT] = "a text",
	[CONF_WORD] = "one of the words",
	[CONF_NAME] = "a name of a-z 0-9 _ - (at most 63)",
	[CONF_BOOL] = "true or false",
	[CONF_INT] = "a whole number",
	[CONF_DURATION] = "a duration such as 250ms, 10s, 5m, 2h, 30d",
	[CONF_SIZE] = "a size such as 64KiB, 8MiB",
	[CONF_URL] = "a URL",
	[CONF_PATH] = "an absolute path",
	[CONF_SECRET] = "a reference: !credential NAME, !file PATH or !env NAME",
	[CONF_LIST] = "a list",
	[CONF_MAP] = "a mapping",
	[CONF_SECTION] = "a mapping of keys",
	[CONF_SECTIONS] = "a mapping of names",
	[CONF_SECTION_LIST] = "a list of mappings",
};

static void describe(const struct conf_key *key, struct buf *out)
{
	if (key->type == CONF_URL) {
		buf_addf(out, "a URL with the scheme %s", key->words);
		return;
	}
	if (key->type == CONF_LIST && key->words) {
		buf_addf(out, "a list of URLs with the scheme %s", key->words);
		return;
	}
	buf_adds(out, type_words[key->type]);
	if (key->words)
		buf_addf(out, key->type == CONF_WORD ? " %s" : " in %s", key->words);
}

/* " got 'x'" for what is short and printable and no secret's place; else what kind of thing stands there. */
static void describe_value(const struct conf_node *n, struct buf *out)
{
	enum { SHOWN = 40 };
	bool printable = n->kind == CONF_SCALAR && n->text_n > 0 && n->text_n <= SHOWN;

	for (size_t i = 0; printable && i < n->text_n; i++)
		printable = (unsigned char)n->text[i] >= 0x20 && n->text[i] != 0x7f;
	if (printable)
		buf_addf(out, "'%s'", n->text);
	else
		buf_adds(out, conf_node_what(n));
}

static void fail_expected(const struct conf_key *key, struct conf_node *n, const char *shown,
			  struct conf_errors *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	buf_adds(&text, "expected ");
	describe(key, &text);
	buf_adds(&text, ", got ");
	/* Where texts, paths and URLs stand, somebody may have put a secret. */
	if (key->type == CONF_TEXT || key->type == CONF_PATH || key->type == CONF_URL ||
	    key->type == CONF_SECRET || key->type == CONF_LIST)
		buf_adds(&text, conf_node_what(n));
	else
		describe_value(n, &text);
	n->broken = true;
	conf_fail(errors, n->at, shown, "%s", text.p);
}

/* ---- single values ---- */

static bool credential_name_valid(const char *name)
{
	return *name && *name != '.' &&
	       name[strspn(name,
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")] ==
		       0;
}

static bool env_name_valid(const char *name)
{
	return *name && (*name < '0' || *name > '9') &&
	       name[strspn(name,
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] == 0;
}

bool conf_secret_ref_of(const struct conf_node *n, struct secret_ref *ret_ref)
{
	static const char *const tags[SECRET_KINDS] = {[SECRET_CREDENTIAL] = "!credential",
						       [SECRET_FILE] = "!file",
						       [SECRET_ENV] = "!env"};

	if (n->kind != CONF_SCALAR || !n->tag)
		return false;
	for (int kind = 0; kind < SECRET_KINDS; kind++) {
		if (strcmp(n->tag, tags[kind]) != 0)
			continue;
		*ret_ref = (struct secret_ref){(enum secret_kind)kind, n->text};
		return true;
	}
	return false;
}

static void check_secret(struct conf_node *n, const char *shown, struct conf_errors *errors)
{
	struct secret_ref ref;
	bool valid = false;

	if (!conf_secret_ref_of(n, &ref)) {
		n->broken = true;
		conf_fail(errors, n->at, shown,
			  "secrets do not stand in the configuration; expected %s",
			  type_words[CONF_SECRET]);
		return;
	}
	switch (ref.kind) {
	case SECRET_CREDENTIAL:
		valid = credential_name_valid(ref.name);
		break;
	case SECRET_FILE:
		valid = ref.name[0] == '/';
		break;
	case SECRET_ENV:
		valid = env_name_valid(ref.name);
		break;
	case SECRET_KINDS:
		break;
	}
	if (valid)
		return;
	n->broken = true;
	conf_fail(errors, n->at, shown, "the name after %s is not possible; expected %s", n->tag,
		  ref.kind == SECRET_FILE ? "an absolute path" : "a name without '/' or spaces");
}

static void check_number(const struct conf_key *key, struct conf_node *n, const char *shown,
			 struct conf_errors *errors)
{
	int64_t value;

	if (conf_parse_scaled(key->type, n->text, &value) < 0) {
		fail_expected(key, n, shown, errors);
	} else if (!conf_in_range(key, value)) {
		n->broken = true;
		conf_fail(errors, n->at, shown, "%s is out of range; expected %s", n->text,
			  key->words);
	}
}

static void check_word(const struct conf_key *key, struct conf_node *n, const char *shown,
		       struct conf_errors *errors)
{
	if (!conf_word_in(key->words, n->text))
		fail_expected(key, n, shown, errors);
}

static void check_url(const char *words, struct conf_node *n, const char *shown,
		      struct conf_errors *errors)
{
	const char *wrong = conf_url_wrong(n->text, words);

	if (!wrong)
		return;
	n->broken = true;
	conf_fail(errors, n->at, shown, "the URL %s; expected %s://HOST…", wrong, words);
}

static void check_scalar(const struct conf_key *key, struct conf_node *n, const char *shown,
			 struct conf_errors *errors)
{
	bool optional = key->fallback && !*key->fallback;

	if (n->kind != CONF_SCALAR || (n->plain && n->text_n == 0) ||
	    strlen(n->text) != n->text_n) {
		fail_expected(key, n, shown, errors);
		return;
	}
	/* "" means none where none is possible, and switches off a text that has a default. */
	if (n->text_n == 0 && (optional || (key->type == CONF_TEXT && key->fallback)))
		return;
	if (n->text_n == 0) {
		fail_expected(key, n, shown, errors);
		return;
	}
	if (key->type == CONF_INT || key->type == CONF_DURATION || key->type == CONF_SIZE)
		check_number(key, n, shown, errors);
	else if (key->type == CONF_WORD)
		check_word(key, n, shown, errors);
	else if (key->type == CONF_URL)
		check_url(key->words, n, shown, errors);
	else if ((key->type == CONF_BOOL && !conf_word_in("true|false", n->text)) ||
		 (key->type == CONF_NAME && !conf_name_valid(n->text)) ||
		 (key->type == CONF_PATH && n->text[0] != '/'))
		fail_expected(key, n, shown, errors);
}

static void check_list(const struct conf_key *key, struct conf_node *n, const char *shown,
		       struct conf_errors *errors)
{
	if (n->kind != CONF_SEQUENCE || (n->n == 0 && !key->fallback)) {
		fail_expected(key, n, shown, errors);
		return;
	}
	for (size_t i = 0; i < n->n; i++) {
		struct conf_node *item = n->items[i];
		bool text = item->kind == CONF_SCALAR && !item->tag && !item->alias;

		if (!text || item->text_n == 0 || strlen(item->text) != item->text_n) {
			conf_fail(errors, item->at, shown, "expected a list of texts, got %s in it",
				  conf_node_what(item));
			n->broken = true;
		} else if (key->words) {
			check_url(key->words, item, shown, errors);
			n->broken |= item->broken;
		}
	}
}

/* ---- free mappings ---- */

static void check_free(struct conf_node *n, const char *shown, struct conf_errors *errors)
{
	if (n->alias || n->tag)
		conf_fail(errors, n->at, shown, "%s are not possible here",
			  n->alias ? "aliases" : "tags");
	else if (n->kind == CONF_SCALAR && strlen(n->text) != n->text_n)
		conf_fail(errors, n->at, shown, "a NUL is not possible here");
	for (size_t i = 0; i < n->n; i++)
		check_free(n->items[i], shown, errors);
}

static bool is_attribute(const struct conf_node *n)
{
	return n->kind == CONF_SCALAR && n->text_n > 0;
}

/* attribute | [attributes] | {all: a} | {const: v} | {jq: '…'} | {unless_set: one of these}; the worker compiles jq. */
static bool field_valid(const struct conf_node *n)
{
	const struct conf_node *only = n->n == 1 ? n->items[0] : NULL;

	if (n->kind == CONF_MAPPING && only && strcmp(only->name, "unless_set") == 0) {
		n = only;
		only = n->n == 1 ? n->items[0] : NULL;
	}
	if (n->kind == CONF_SCALAR)
		return is_attribute(n);
	if (n->kind == CONF_MAPPING)
		return only && ((strcmp(only->name, "all") == 0 && is_attribute(only)) ||
				(strcmp(only->name, "jq") == 0 && is_attribute(only)) ||
				(strcmp(only->name, "const") == 0 &&
				 !(only->kind == CONF_SCALAR && only->plain && only->text_n == 0)));
	for (size_t i = 0; i < n->n; i++)
		if (!is_attribute(n->items[i]))
			return false;
	return n->n > 0;
}

static void check_mapping_fields(struct conf_node *n, const char *shown, struct conf_errors *errors)
{
	for (size_t i = 0; i < n->n; i++) {
		CLEANUP(buf_cleanup) struct buf key = {0};

		if (field_valid(n->items[i]))
			continue;
		buf_addf(&key, "%s.%s", shown, n->items[i]->name);
		conf_fail(errors, n->items[i]->at, key.p,
			  "expected ATTRIBUTE, [ATTRIBUTE, …], {all: ATTRIBUTE}, {const: VALUE}, "
			  "{jq: 'EXPRESSION'} or {unless_set: ONE OF THESE}");
	}
}

static void check_map(const struct conf_key *key, struct conf_node *n, const char *shown,
		      struct conf_errors *errors)
{
	if (n->kind != CONF_MAPPING || (n->n == 0 && !key->fallback)) {
		fail_expected(key, n, shown, errors);
		return;
	}
	check_free(n, shown, errors);
	if (strcmp(key->path, "targets.*.mapping") == 0)
		check_mapping_fields(n, shown, errors);
}

/* ---- sections ---- */

static void check_section(struct conf_node *n, const char *path, const char *shown,
			  struct conf_errors *errors);

static void check_named(const struct conf_key *key, struct conf_node *n, const char *shown,
			struct conf_errors *errors)
{
	CLEANUP(buf_cleanup) struct buf path = {0};

	if (n->kind != CONF_MAPPING) {
		fail_expected(key, n, shown, errors);
		return;
	}
	n->path = mem_dup(key->path);
	buf_addf(&path, "%s.*", key->path);
	for (size_t i = 0; i < n->n; i++) {
		CLEANUP(buf_cleanup) struct buf name = {0};
		struct conf_node *child = n->items[i];

		buf_addf(&name, "%s.%s", shown, child->name);
		if (!conf_name_valid(child->name))
			conf_fail(errors, child->key_at, name.p, "is no name; expected %s",
				  type_words[CONF_NAME]);
		if (child->kind != CONF_MAPPING || child->tag)
			conf_fail(errors, child->at, name.p, "expected %s, got %s",
				  type_words[CONF_SECTION], conf_node_what(child));
		else
			check_section(child, path.p, name.p, errors);
	}
}

static void check_section_list(const struct conf_key *key, struct conf_node *n, const char *shown,
			       struct conf_errors *errors)
{
	CLEANUP(buf_cleanup) struct buf path = {0};

	if (n->kind != CONF_SEQUENCE || (n->n == 0 && !key->fallback)) {
		fail_expected(key, n, shown, errors);
		return;
	}
	buf_addf(&path, "%s.*", key->path);
	for (size_t i = 0; i < n->n; i++) {
		CLEANUP(buf_cleanup) struct buf name = {0};
		struct conf_node *item = n->items[i];

		buf_addf(&name, "%s[%zu]", shown, i);
		if (item->kind != CONF_MAPPING || item->tag)
			conf_fail(errors, item->at, name.p, "expected %s, got %s",
				  type_words[CONF_SECTION], conf_node_what(item));
		else
			check_section(item, path.p, name.p, errors);
	}
}

static void check_value(const struct conf_key *key, struct conf_node *n, const char *shown,
			struct conf_errors *errors)
{
	if (n->alias) {
		n->broken = true;
		conf_fail(errors, n->at, shown,
			  "aliases (*name) are not possible; write the value");
		return;
	}
	if (n->tag && key->type != CONF_SECRET) {
		n->broken = true;
		conf_fail(errors, n->at, shown, "tags are for secrets only; expected %s",
			  type_words[key->type]);
		return;
	}
	switch (key->type) {
	case CONF_SECTION:
		if (n->kind == CONF_MAPPING)
			check_section(n, key->path, shown, errors);
		else
			fail_expected(key, n, shown, errors);
		break;
	case CONF_SECTIONS:
		check_named(key, n, shown, errors);
		break;
	case CONF_SECTION_LIST:
		check_section_list(key, n, shown, errors);
		break;
	case CONF_LIST:
		check_list(key, n, shown, errors);
		break;
	case CONF_MAP:
		check_map(key, n, shown, errors);
		break;
	case CONF_SECRET:
		if (n->kind == CONF_SCALAR && (n->tag || n->text_n > 0 || n->plain))
			check_secret(n, shown, errors);
		else
			check_scalar(key, n, shown, errors);
		break;
	case CONF_TEXT:
	case CONF_WORD:
	case CONF_NAME:
	case CONF_BOOL:
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
	case CONF_URL:
	case CONF_PATH:
		check_scalar(key, n, shown, errors);
		break;
	case CONF_TYPES:
		abort();
	}
}

static void mark_defaulted(struct conf_node *n)
{
	n->defaulted = true;
	for (size_t i = 0; i < n->n; i++)
		mark_defaulted(n->items[i]);
}

/* The table's default as a node; NULL where there is none. */
static struct conf_node *default_node(const struct conf_key *key, const char *name,
				      struct conf_place at)
{
	struct conf_errors none = {0};
	struct conf_node *n;

	if (key->type == CONF_SECTION)
		return conf_node_new(CONF_MAPPING, name, at);
	if (!key->fallback || !*key->fallback)
		return NULL;
	if (key->type != CONF_LIST && key->type != CONF_MAP) {
		n = conf_node_new(CONF_SCALAR, name, at);
		n->text = mem_dup(key->fallback);
		n->text_n = strlen(key->fallback);
		n->plain = true;
		return n;
	}
	n = conf_node_new(key->type == CONF_LIST ? CONF_SEQUENCE : CONF_MAPPING, name, at);
	if (strlen(key->fallback) > 2) {
		CLEANUP(buf_cleanup) struct buf text = {0};
		struct conf_node *parsed;

		buf_addf(&text, "%s: %s", name, key->fallback);
		parsed = conf_yaml_parse(buf_slice(&text), at.file, &none);
		if (!parsed || none.n > 0)
			abort(); /* the table is ours */
		conf_node_free(n);
		n = parsed->items[0];
		parsed->n = 0;
		conf_node_free(parsed);
		n->at = n->key_at = at;
	}
	return n;
}

static void fill_missing(struct conf_node *n, const struct conf_key *key, const char *shown,
			 struct conf_errors *errors)
{
	const char *dot = strrchr(key->path, '.');
	const char *name = dot ? dot + 1 : key->path;
	struct conf_node *child;

	if (!key->fallback && !n->defaulted) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		buf_addf(&text, "%s%s%s is missing; expected ", shown, *shown ? "." : "", name);
		describe(key, &text);
		conf_fail(errors, n->key_at, NULL, "%s", text.p);
	}
	child = default_node(key, name, n->key_at);
	if (!child)
		return;
	mark_defaulted(child);
	conf_node_add(n, child);
	if (key->type == CONF_SECTION)
		check_section(child, key->path, shown, errors);
}

/* n is a mapping. */
static void check_section(struct conf_node *n, const char *path, const char *shown,
			  struct conf_errors *errors)
{
	size_t written = n->n;

	n->path = mem_dup(path);
	for (size_t i = 0; i < written; i++) {
		CLEANUP(buf_cleanup) struct buf name = {0};
		struct conf_node *child = n->items[i];
		const struct conf_key *key = conf_key_below(path, child->name);

		buf_addf(&name, "%s%s%s", shown, *shown ? "." : "", child->name);
		if (key && strcmp(child->name, "*") != 0) {
			check_value(key, child, name.p, errors);
		} else {
			CLEANUP(buf_cleanup) struct buf near = {0};

			buf_adds(&near, "");
			conf_key_near(path, child->name, &near);
			conf_fail(errors, child->key_at, name.p, "unknown key%s", near.p);
		}
	}
	for (const struct conf_key *key = conf_keys; key->path; key++) {
		const char *dot = strrchr(key->path, '.');

		if (conf_key_is_child(key, path) && !conf_node_child(n, dot ? dot + 1 : key->path))
			fill_missing(n, key, shown, errors);
	}
}

void conf_check(struct conf_node *root, struct conf_errors *errors)
{
	check_section(root, "", "", errors);
}
