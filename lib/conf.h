/* The configuration: one YAML file and conf.d/ *.yaml beside it, merged by section. Every key stands once in the typed table of
 * conf_keys.c (path, type, default, needs, help), which checks, prints, documents and reads it. */
#ifndef DIRPIPE_CONF_H
#define DIRPIPE_CONF_H

#include "buf.h"
#include "secret.h"

struct conf;
struct conf_node; /* one mapping: the root, "broker", one source, one target, … */

enum conf_type {
	CONF_TEXT,
	CONF_WORD, /* one of the table row's words */
	CONF_NAME, /* [a-z0-9][a-z0-9_-]{0,62} */
	CONF_BOOL,
	CONF_INT,      /* min..max in the row */
	CONF_DURATION, /* 250ms 10s 5m 2h 30d -> milliseconds */
	CONF_SIZE,     /* 64KiB 8MiB -> bytes */
	CONF_URL,      /* scheme must be one of the row's words; no user:password@ */
	CONF_PATH,
	CONF_SECRET,	   /* a !credential, !file or !env tag; inline is refused */
	CONF_LIST,	   /* of texts */
	CONF_MAP,	   /* free mapping: read with conf_json (mapping, expressions) */
	CONF_SECTION,	   /* a mapping with rows of its own */
	CONF_SECTIONS,	   /* name -> section: sources, targets */
	CONF_SECTION_LIST, /* a list of sections: routes, curve peers, join rules */
	CONF_TYPES
};

/* More are a configuration error: the queue counts sources and targets, the collector targets and watched groups. */
enum {
	CONF_SOURCES_MAX = 32,
	CONF_TARGETS_MAX = 256,
	CONF_ENDPOINTS_MAX = 16,
	CONF_GROUPS_MAX = 1024
};

struct conf_key {
	const char *path; /* "targets.*.http.timeout" */
	enum conf_type type;
	const char *fallback; /* as written in YAML; NULL: required; "" : optional, no value */
	const char *
		words; /* "a|b|c" for WORD, URL schemes (URL, LIST); "1..65535", "1s..5m" for INT, DURATION, SIZE; or NULL */
	const char *help; /* one sentence */
};
extern const struct conf_key conf_keys[]; /* ends with path NULL */

/* Reads, merges and checks all. On any error: NULL, and every error stands in errors, one a line:
 * "FILE:LINE:COLUMN: KEY: what is wrong, what was expected (did you mean X?)". Also checks: each reference (a route's
 * target, a group's name) exists; secrets can be read; tcp:// endpoints have keys; drivers know their own keys. */
struct conf *conf_load(const char *path, struct buf *errors) MUST_CHECK;
/* The same for one daemon, which holds its own credentials only: the secrets that must be readable are those of part
 * ("broker", "sources.corp", "targets.m365"; of "connect" too for the latter two; "": none). */
struct conf *conf_load_for(const char *path, const char *part, struct buf *errors) MUST_CHECK;
void conf_free(struct conf *c);

const struct conf_node *conf_root(const struct conf *c);
/* Child section ("broker", "http"); for a section that is not written: an empty node, so that defaults answer. */
const struct conf_node *conf_section(const struct conf_node *n, const char *name);
/* The named one of SECTIONS ("sources", "corp"); NULL when there is none. */
const struct conf_node *conf_named(const struct conf_node *n, const char *sections,
				   const char *name);
/* The i-th of SECTIONS or SECTION_LIST; NULL past the end; ret_name (may be NULL) gets its name. */
const struct conf_node *conf_at(const struct conf_node *n, const char *sections, size_t i,
				const char **ret_name);

/* Values by key below the node; the row's default where nothing is written. A key that is not in the table, or
 * of another type, is our bug and aborts. Text: NULL when optional and not given. Borrowed from the conf. */
const char *conf_text(const struct conf_node *n, const char *key);
int64_t conf_int(const struct conf_node *n, const char *key); /* INT, DURATION (ms), SIZE (bytes) */
bool conf_bool(const struct conf_node *n, const char *key);
const char *conf_item(const struct conf_node *n, const char *key,
		      size_t i); /* LIST; NULL past the end */
bool conf_secret(const struct conf_node *n, const char *key, struct secret_ref *ret_ref);
/* Where the broker is found, at most `most` of them: connect.endpoints, or the first of broker.endpoints. */
size_t conf_endpoints(const struct conf_node *root, const char **ret_endpoints, size_t most);
/* The secret itself, read now; NULL with why set. NULL and empty why: optional and not given. */
struct secret *conf_load_secret(const struct conf_node *n, const char *key, struct buf *why);
/* MAP, SECTION or whole node as canonical JSON (secrets as {"!file": "…"} references, never values): for
 * free mappings and for hashing. */
void conf_json(const struct conf_node *n, const char *key, struct buf *out);
/* Where a key stands, for errors found later: "FILE:LINE:COLUMN". */
void conf_where(const struct conf_node *n, const char *key, struct buf *out);

/* The effective configuration as YAML with defaults and without secret values; and one key's help. */
void conf_show(const struct conf *c, struct buf *out);
int conf_explain(const char *key, struct buf *out); /* -ENOENT with the nearest names in out */

#endif
