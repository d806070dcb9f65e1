/* How far something is that takes a while, and how long it will take: a line on stderr now and then. */
#ifndef DIRPIPE_PROGRESS_H
#define DIRPIPE_PROGRESS_H

#include "cli.h"

#include <stdint.h>

struct progress {
	const char *what; /* "applied" */
	bool quiet;
	size_t of;
	int64_t started_ms, said_ms;
};

void progress_begin(struct progress *p, const struct cli *cli, const char *what, size_t of);
void progress_say(struct progress *p, size_t done); /* at most once a second */
void progress_wait(
	struct progress *p); /* until it is worth asking again: short at first, 250 ms later */

#endif
