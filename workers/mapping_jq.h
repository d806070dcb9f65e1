/* One compiled jq expression (libjq), so that jq.h enters through one file. */
#ifndef DIRPIPE_MAPPING_JQ_H
#define DIRPIPE_MAPPING_JQ_H

#include "json.h"

struct mapping_jq;

/* NULL with why: does not compile, or uses what reaches beyond the snapshot (env, $ENV, input, halt …). */
struct mapping_jq *mapping_jq_new(const char *expression, struct buf *why) MUST_CHECK;
void mapping_jq_free(struct mapping_jq *q);

/* The one output as JSON (a null item for none), owned by the caller. NULL with why: it failed or gave two outputs; jq's
 * own message may hold values and is not passed on. input: JSON text. */
cJSON *mapping_jq_run(struct mapping_jq *q, struct slice input, struct buf *why) MUST_CHECK;

#endif
