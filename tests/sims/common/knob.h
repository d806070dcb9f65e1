/* Named settings of a simulator, changed by --knobs JSON or POST /knobs. */
#pragma once

#include "json.h"

enum knob_kind { KNOB_BOOL, KNOB_NUMBER, KNOB_STRING };

struct knob {
	const char *name;
	enum knob_kind kind;
	void *at;		      /* bool, int64_t or char[KNOB_STRING_MAX] */
	const char *(*changed)(void); /* or NULL; what is wrong with the value, or NULL */
};

enum { KNOB_STRING_MAX = 256 };

/* A knob that is a member of a struct and bears its name. */
#define KNOB_FLAG_OF(of, member)                                                                   \
	{                                                                                          \
#member, KNOB_BOOL, &(of).member, NULL                                             \
	}
#define KNOB_NUMBER_OF(of, member)                                                                 \
	{                                                                                          \
#member, KNOB_NUMBER, &(of).member, NULL                                           \
	}
#define KNOB_STRING_OF(of, member)                                                                 \
	{                                                                                          \
#member, KNOB_STRING, (of).member, NULL                                            \
	}

/* Sets what the object names; an error text (knobs before it are set), or NULL. */
const char *knob_set(const struct knob *knobs, size_t n, const struct json *object);
void knob_print(const struct knob *knobs, size_t n, struct text *out);
