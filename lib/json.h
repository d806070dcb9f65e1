/* cJSON with its traps closed (libraries.md 1.3): whole text, depth at most 32, well-formed UTF-8, no NUL in
 * strings, canonical printing. */
#ifndef DIRPIPE_JSON_H
#define DIRPIPE_JSON_H

#include "buf.h"
#include <cjson/cJSON.h>

/* The document, owned by the caller (cJSON_Delete); NULL when the text is not one JSON value or breaks a
 * rule above. ret_why (may be NULL) gets a static text. */
cJSON *json_parse(struct slice text, const char **ret_why) MUST_CHECK;

/* Borrowed; NULL when absent or of another type. Names compare case-sensitively. */
const char *json_text(const cJSON *object, const char *name);
const cJSON *json_get(const cJSON *object, const char *name);
const cJSON *json_array(const cJSON *object, const char *name);
const cJSON *json_object(const cJSON *object, const char *name);
bool json_true(const cJSON *object, const char *name, bool otherwise);
int64_t json_int(const cJSON *object, const char *name,
		 int64_t otherwise); /* whole numbers below 2^53 */

/* Sorted keys, no white space, integers in full: equal values give equal bytes. */
void json_canonical(const cJSON *value, struct buf *out);
void json_print(const cJSON *value, struct buf *out); /* as it stands, no white space */
void json_quote(struct slice text, struct buf *out);  /* a JSON string; text must be UTF-8 */

#endif
