/* A plan as the command holds it: rows as `dirpipe-worker --plan` tells them, and how people read them. */
#ifndef DIRPIPE_CLI_PLAN_H
#define DIRPIPE_CLI_PLAN_H

#include "cli.h"
#include "json.h"

struct plan {
	cJSON *rows;	  /* sorted by target, then DN */
	cJSON *summaries; /* one a target */
};

enum plan_format { PLAN_TABLE, PLAN_JSON, PLAN_CSV };

/* plan_print.c */
void plan_print(const struct plan *p, enum plan_format format);

/* plan_file.c: lines of JSON: {"plan":1,…}, {"target":…} for each target, its rows, {"end":N} (so that a cut file is seen). 0 or -errno. */
int plan_write(const struct plan *p, const char *path) MUST_CHECK;
/* Rows and summaries, owned by the caller (plan_done). -errno; -EBADMSG with why: it is no plan, or not a whole one. */
int plan_read(const char *path, struct plan *ret, const char **ret_why) MUST_CHECK;
void plan_done(struct plan *p);

#endif
