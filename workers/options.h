/* A driver's own keys, the `options` of its target in the configuration, checked against a table. */
#ifndef DIRPIPE_OPTIONS_H
#define DIRPIPE_OPTIONS_H

#include "conf.h"
#include "json.h"

enum option_type {
	OPTION_BOOL,
	OPTION_INT,  /* from least to most */
	OPTION_WORD, /* one of words, "a|b|c" */
	OPTION_TEXT, /* not empty */
	OPTION_LIST, /* of texts */
	OPTION_MAP,  /* name: text */
	OPTION_TYPES
};

struct option_row {
	const char *key; /* NULL ends the table */
	enum option_type type;
	int64_t least, most;
	const char *words;
};

/* The options as one object, owned by the caller. NULL: every unknown key and bad value stands in errors, a line each:
 * "FILE:LINE:COLUMN: options.KEY: what was expected". */
cJSON *options_read(const struct conf_node *conf, const struct option_row *rows,
		    struct buf *errors) MUST_CHECK;

/* Index of the value in the row's words; otherwise when the key is absent. Only for checked options. */
size_t options_word(const cJSON *options, const struct option_row *rows, const char *key,
		    size_t otherwise);

/* Writes "FILE:LINE:COLUMN: " of the key. */
void options_where(const struct conf_node *conf, const char *key, struct buf *errors);

#endif
