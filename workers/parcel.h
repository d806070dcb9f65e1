/* One HTTP request on its way with the jobs that it carries; the exchange's own. */
#ifndef DIRPIPE_PARCEL_H
#define DIRPIPE_PARCEL_H

#include "exchange.h"

#include <uuid/uuid.h>

enum { PARCEL_HEADERS = 12 };

struct parcel {
	struct parcel *next, **at; /* at: what points here, in the list of those that fly */
	struct exchange *x;
	struct exchange_job *jobs[TARGET_BATCH_MAX];
	struct target_op *ops[TARGET_BATCH_MAX];
	size_t n;
	unsigned lane;
	bool shared; /* may carry more than one */
	struct target_request request;
	struct buf bearer;
	char request_id[UUID_STR_LEN];
	exchange_raw_fn raw;
	void *raw_arg;
	bool raw_replayed;
};

void parcel_free_list(struct parcel *p);
void parcel_clear_request(
	struct target_request *r); /* empty, buffers kept, a body's secrets wiped */

/* Header lines of p's request into lines, NULL at the end; text holds them. id_header may be NULL. */
void parcel_headers(const struct parcel *p, const char *id_header, struct buf *text,
		    const char *lines[PARCEL_HEADERS]);

#endif
