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

struct parcel_pool {
	struct parcel *flying, *spare;
};
struct parcel *parcel_take(struct parcel_pool *pool, struct exchange *x); /* an empty one */
void parcel_fly(struct parcel_pool *pool, struct parcel *p);
void parcel_stop(struct parcel *p);			      /* flies no more */
void parcel_land(struct parcel_pool *pool, struct parcel *p); /* wiped, for the next one */
void parcel_free_list(struct parcel *p);

bool parcel_on_origin(const struct parcel *p, struct slice origin);
/* A request that was made before it was heard where the API is goes there too. */
void parcel_redirect(struct parcel *p, const char *from_origin, const char *to_origin);

void parcel_clear_request(
	struct target_request *r); /* empty, buffers kept, a body's secrets wiped */

/* Header lines of p's request into lines, NULL at the end; text holds them. id_header may be NULL. */
void parcel_headers(const struct parcel *p, const char *id_header, struct buf *text,
		    const char *lines[PARCEL_HEADERS]);

#endif
