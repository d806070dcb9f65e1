/* Faults by script: rules that are tried in order on each request, the first that fires decides. */
#pragma once

#include "http.h"
#include "json.h"

struct fault_do {
	int status; /* 0: carry out the request */
	char *body, *content_type;
	char *headers; /* "Name: value\r\n" lines */
	int64_t delay_ms;
	int64_t late_apply_ms; /* -1: not */
	enum http_fate fate;
	bool commit;   /* carry it out although the client will not hear of it */
	bool truncate; /* half of the body */
};

struct fault_rule {
	char *method, *path_prefix, *key, *contains; /* NULL: any */
	int inner;	    /* 1: only requests inside a batch, 0: only outer, -1: both */
	int64_t nth, every; /* 0: not asked */
	double probability;
	uint64_t seed;
	int64_t times; /* how often it may still fire, -1: always */
	uint64_t matched, fired;
	struct fault_do action;
};

struct fault_set {
	struct fault_rule *rules;
	size_t n;
};

struct fault_input {
	struct slice method, path, body;
	struct slice key;
	bool inner;
};

/* Replaces the rules by those of a JSON array; an error text, or NULL. The old stay on an error. */
const char *fault_load(struct fault_set *set, const struct json *list);
/* The rule that fires on this request, or NULL. Counts. */
const struct fault_do *fault_match(struct fault_set *set, const struct fault_input *input);
/* Whether any rule asks for the user's key, so that it must be found out. */
bool fault_wants_key(const struct fault_set *set);
void fault_print(const struct fault_set *set, struct text *out);
void fault_clear(struct fault_set *set);
