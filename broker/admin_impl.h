/* What the control socket's files share: admin.c (connections, lines), verbs.c (what each verb does). */
#ifndef DIRPIPE_ADMIN_IMPL_H
#define DIRPIPE_ADMIN_IMPL_H

#include "admin.h"

struct client;

/* One request until it is answered. */
struct request {
	struct session *session;
	struct client *client; /* the answer is dropped when it is closed */
	cJSON *json;	       /* the request; its id goes into the answer */
	/* State of verbs that take several steps. */
	unsigned target, last; /* [target, last): still to be read */
	unsigned source;
	uint64_t walk;
	size_t most, changed, at;
	bool more;
	const char *kind; /* dead or parked */
	cJSON *list, *holds;
};

/* Each ends the request. value is taken. */
void request_done(struct request *r, cJSON *value);
void request_failed(struct request *r, const char *code, const char *message);

/* verbs.c: false: no such verb. Ends the request now or later. */
bool verbs_call(struct request *r, const char *verb);

#endif
