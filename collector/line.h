/* The collector's line: what a directory driver says (source.h) goes through groups → route → image → diff → publish. It
 * holds the state of one session with the broker:
 *
 *	waiting ──WELCOME──► surveying ──surveyed()──► following ──lost session──► waiting
 *	                         └── empty or foreign ──► stopped (tries again after a minute, touches nobody)
 *
 * A cursor is published only with the batch after which everything that was derived before it is on its way: rereads,
 * member fan-out, subtrees, sweeps. */
#ifndef DIRPIPE_LINE_H
#define DIRPIPE_LINE_H

#include "conf.h"
#include "loop.h"

struct line;

/* NULL with why: a configuration that cannot work. conf (the root) must outlive it. */
struct line *line_new(struct loop *loop, const struct conf_node *root, const char *source,
		      struct buf *why) MUST_CHECK;
/* Stops reading, then done() when everything read is committed, or after a few seconds. */
void line_stop(struct line *l, loop_fn done, void *arg);
void line_free(struct line *l);

#endif
