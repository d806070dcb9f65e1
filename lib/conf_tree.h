/* The configuration as a tree of its own, free of the YAML library: where each thing stands, its schema path once checked,
 * and the list of what is wrong. Private to conf*.c. */
#ifndef DIRPIPE_CONF_TREE_H
#define DIRPIPE_CONF_TREE_H

#include "conf.h"

enum conf_kind { CONF_SCALAR, CONF_SEQUENCE, CONF_MAPPING };

/* Lines and columns count from 1; 0: the file as a whole. file is borrowed from the conf. */
struct conf_place {
	const char *file;
	int line;
	int column;
};

struct conf_node {
	enum conf_kind kind;
	bool plain;	/* scalar without quotes */
	bool alias;	/* *name: refused by the check */
	bool defaulted; /* from the table, not from a file */
	bool broken;	/* reported already: its getters are never reached */
	char *name;	/* key in the parent mapping; NULL in a sequence and at the root */
	char *tag;	/* "!file"; NULL: none */
	char *text;	/* scalar */
	size_t text_n;	/* may hold NUL bytes by "\0", which the check refuses */
	char *path; /* schema path of a section or a sections node ("" for the root); else NULL */
	struct conf_place at; /* the value */
	struct conf_place key_at;
	struct conf_node **items;
	size_t n;
};

struct conf_error {
	struct conf_place at;
	char *text;
};

struct conf_errors {
	struct conf_error *e;
	size_t n;
};

struct conf {
	struct conf_node *root;
	char **files; /* names as errors show them, in the order of reading */
	size_t files_n;
};

enum { CONF_FILE_MAX = 1 << 20, CONF_ERRORS_MAX = 200 };

/* key may be NULL. Errors past CONF_ERRORS_MAX are counted only. */
void conf_fail(struct conf_errors *errors, struct conf_place at, const char *key,
	       const char *format, ...) __attribute__((format(printf, 4, 5)));
void conf_errors_print(struct conf_errors *errors, const struct conf *c, struct buf *out);
void conf_errors_done(struct conf_errors *errors);

/* conf_tree.c */
struct conf_node *conf_node_new(enum conf_kind kind, const char *name, struct conf_place at);
void conf_node_add(struct conf_node *parent, struct conf_node *child);
void conf_node_free(struct conf_node *n);
struct conf_node *conf_node_child(const struct conf_node *n, const char *name); /* NULL: none */
const char *
conf_node_what(const struct conf_node *n); /* "a list", "a mapping", "nothing", "a value" */

/* conf_yaml.c: NULL when the text is not one YAML document (errors say why) or holds nothing. */
struct conf_node *conf_yaml_parse(struct slice text, const char *file,
				  struct conf_errors *errors) MUST_CHECK;

/* conf_merge.c: the main file and conf.d beside it; the root may be NULL. */
struct conf_node *conf_files_read(struct conf *c, const char *path,
				  struct conf_errors *errors) MUST_CHECK;

/* conf_keys.c */
const struct conf_key *conf_key_find(const char *path); /* exact table path; NULL */
const struct conf_key *conf_key_below(const char *section,
				      const char *name);		 /* "broker" + "http" */
bool conf_key_is_child(const struct conf_key *key, const char *section); /* directly below it? */
/* The section's key names nearest to name, three at most, as " (did you mean A, B?)"; or nothing. */
void conf_key_near(const char *section, const char *name, struct buf *out);
size_t conf_distance(const char *a,
		     const char *b); /* edits: insert, delete, replace, swap of neighbours */

/* conf_value.c: each 0 with *ret, or -EINVAL. */
int conf_parse_int(const char *text, int64_t *ret) MUST_CHECK;
int conf_parse_duration(const char *text, int64_t *ret_ms) MUST_CHECK;
int conf_parse_size(const char *text, int64_t *ret_bytes) MUST_CHECK;
int conf_parse_scaled(enum conf_type type, const char *text,
		      int64_t *ret) MUST_CHECK; /* one of the three */
bool conf_in_range(const struct conf_key *key, int64_t value);
bool conf_name_valid(const char *text);
bool conf_word_in(const char *words, const char *text);
/* NULL when fine, else what is wrong, never with a piece of the URL in it. */
const char *conf_url_wrong(const char *text, const char *schemes);
const char *conf_endpoint_wrong(const char *text);
const char *conf_host_port_wrong(const char *text); /* HOST:PORT */
bool conf_url_host_is_loopback(const char *url);

/* conf_check.c: types and shapes, defaults filled in; conf_refs.c: what stands in relation to something else. */
void conf_check(struct conf_node *root, struct conf_errors *errors);
void conf_check_relations(struct conf_node *root, struct conf_errors *errors);
/* part: whose secrets must be readable here ("broker", "sources.corp"); NULL: everybody's. */
void conf_check_secrets(struct conf_node *root, const char *part, struct conf_errors *errors);
bool conf_secret_ref_of(const struct conf_node *n, struct secret_ref *ret_ref);

#endif
