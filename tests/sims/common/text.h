/*
 * Bytes for the simulators: borrowed slices, growing texts, hex, base64 and percent coding. Running out
 * of memory ends the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
	const char *p;
	size_t n;
};

struct text {
	char *p; /* owned; NUL behind the last byte once something was added */
	size_t n;
	size_t cap;
};

#define SLICE(literal) ((struct slice){literal, sizeof(literal) - 1})

void *xalloc(size_t n); /* zeroed */
void *xgrow(void *old, size_t n);
char *xdup(const char *p, size_t n); /* NUL-terminated copy */

struct slice slice_of(const char *s);
struct slice slice_from(const struct text *t);
bool slice_equal(struct slice a, struct slice b);
bool slice_equal_nocase(struct slice a, struct slice b); /* ASCII */
bool slice_is(struct slice a, const char *s);
bool slice_is_nocase(struct slice a, const char *s);
bool slice_starts(struct slice a, const char *prefix);
bool slice_find(struct slice hay, struct slice needle);
/* Cuts off and returns what stands before the first c (all if there is none); *s is what follows. */
struct slice slice_cut(struct slice *s, char c);
struct slice slice_trim(struct slice s);
/* A whole decimal number, else false. */
bool slice_number(struct slice s, int64_t *ret_number);

void text_add(struct text *t, const void *p, size_t n);
void text_char(struct text *t, char c);
void text_str(struct text *t, const char *s);
void text_slice(struct text *t, struct slice s);
void text_lower(struct text *t, struct slice s); /* ASCII */
void text_number(struct text *t, int64_t n);
void text_json(struct text *t, struct slice s); /* with the quotes */
void text_fmt(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *t);
void text_free(struct text *t);

/* Appends; false if s is not well formed. plus: '+' is a blank (forms). */
bool text_percent_decode(struct text *t, struct slice s, bool plus);
void text_percent_encode(struct text *t, struct slice s);
bool text_base64_decode(struct text *t, struct slice s, bool url);
void text_base64url(struct text *t, const void *p, size_t n);

/* 2026-01-02T03:04:05Z, with .678 if millis. */
void text_time(struct text *t, int64_t unix_ms, bool millis);

enum { UUID_TEXT = 36 };
void uuid_make(uint8_t id[16], uint64_t *seed);
void uuid_print(const uint8_t id[16], char out[UUID_TEXT + 1]);
bool uuid_read(struct slice s, uint8_t id[16]);

uint64_t hash_bytes(const void *p, size_t n);
uint64_t hash_nocase(struct slice s);
/* splitmix64: a deterministic stream for a seed */
uint64_t random_next(uint64_t *seed);
