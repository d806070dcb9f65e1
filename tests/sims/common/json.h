/*
 * A strict JSON tree in an arena: one parse costs a few hundred nanoseconds, and nothing is freed node
 * by node. Strings without escapes point into the parsed text, which must outlive the tree.
 */
#pragma once

#include "text.h"

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

struct json {
	enum json_type type;
	uint32_t count;	     /* children */
	struct slice key;    /* in an object */
	struct slice string; /* decoded string, or a number as written */
	struct json *first, *last, *next;
};

struct arena {
	struct arena_block *head;
};

void *arena_take(struct arena *a, size_t n);
struct slice arena_copy(struct arena *a, struct slice s);
/* Forgets all that was taken; keeps one block. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

/* NULL and *ret_error (a static string) if text is not one RFC 8259 value in valid UTF-8. */
struct json *json_parse(struct arena *a, struct slice text, const char **ret_error);

struct json *json_make(struct arena *a, enum json_type type);
struct json *json_string(struct arena *a, struct slice s);
struct json *json_bool(struct arena *a, bool on);
/* Appends child under key (borrowed) to an object, or with an empty key to an array. */
void json_append(struct json *parent, struct slice key, struct json *child);
/* Replaces the child of that exact key, or appends it. */
void json_set(struct json *parent, struct slice key, struct json *child);
void json_remove(struct json *parent, const struct json *child);
struct json *json_copy(struct arena *a, const struct json *value);

struct json *json_get(const struct json *object, const char *key);
struct json *json_get_slice(const struct json *object, struct slice key);
struct json *json_get_nocase(const struct json *object, struct slice key);
/* The string of that key, or an empty slice. */
struct slice json_get_string(const struct json *object, const char *key);
int64_t json_get_number(const struct json *object, const char *key, int64_t otherwise);
double json_get_real(const struct json *object, const char *key, double otherwise);
bool json_get_bool(const struct json *object, const char *key, bool otherwise);
bool json_is(const struct json *value, enum json_type type); /* false for NULL */
bool json_is_bool(const struct json *value);
bool json_equal(const struct json *a, const struct json *b);

void json_write(struct text *out, const struct json *value);

#define JSON_EACH(item, parent)                                                                    \
	for (struct json *item = (parent) ? (parent)->first : NULL; item; item = item->next)
