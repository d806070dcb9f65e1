/* The broker's control socket (broker/admin.h) from a worker program that an operator runs beside it: questions and answers on
 * the loop, in any order. */
#ifndef DIRPIPE_ASK_H
#define DIRPIPE_ASK_H

#include "json.h"
#include "loop.h"

struct ask;

/* result: borrowed; NULL: there is none, why says it in words for people. After a cut every open question gets why, and so does any
 * further one. Never called from inside ask_put. */
typedef void (*ask_fn)(void *arg, const cJSON *result, const char *why);

/* Connects in the background. path is copied. */
struct ask *ask_new(struct loop *loop, const char *path);
void ask_free(struct ask *a); /* open questions end without a call */
/* fields: taken over; the verb and an id are put into it. */
void ask_put(struct ask *a, const char *verb, cJSON *fields, ask_fn fn, void *arg);

#endif
