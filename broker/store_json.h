/* What the store holds, as JSON for people: one field of an object each. */
#ifndef DIRPIPE_STORE_JSON_H
#define DIRPIPE_STORE_JSON_H

#include "id.h"
#include "json.h"

void store_add_text(cJSON *to, const char *name, struct slice text);
void store_add_time(cJSON *to, const char *name, int64_t unix_ms); /* 0: null */
void store_add_hex(cJSON *to, const char *name, const uint8_t *bytes, size_t n);
void store_add_number(cJSON *to, const char *name, uint64_t value);
void store_add_id(cJSON *to, const char *name, const struct id *id);
/* JSON that the engine, a collector or a driver made; text when it is none, null when absent. */
void store_add_json(cJSON *to, const char *name, struct slice text);
/* {rid, state, revision, memory}, or null. */
void store_add_link(cJSON *to, struct slice record);

#endif
