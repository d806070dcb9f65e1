/* One connection and its operations; private to directory.c (life) and directory_search.c (operations). */
#ifndef DIRPIPE_DIRECTORY_IMPL_H
#define DIRPIPE_DIRECTORY_IMPL_H

#include "directory_conf.h"

#include <stdatomic.h>
#include <uthash.h>

enum { DENIED_TRIES = 3 };

/*	stopped ──start──► waiting ──timer──► connecting ──bound──► up
 *	   ▲                  ▲                    │ failed           │ broke, fail(), again()
 *	   └──────stop────────┴────────────────────┴──────────────────┘ */
enum state { STOPPED, WAITING, CONNECTING, UP };

struct operation {
	UT_hash_handle hh;     /* by number */
	UT_hash_handle hh_msg; /* by msgid */
	uint64_t number;
	int msgid;
	int64_t timeout_ms; /* < 0: none */
	int64_t heard_ms;
	directory_message_fn message;
	directory_done_fn done;
	void *arg;
	int page; /* paged searches keep what the next page needs */
	char *base, *filter;
	char **attrs;
	int scope;
	LDAPControl **controls;
};

/* What belongs to one LDAP handle; outlives its directory's interest until the turn is over. */
struct connection {
	LDAP *ld;
	uv_poll_t poll;
	uv_idle_t idle;
	int open_handles;
	bool dead; /* nothing of it counts any more */
	struct directory *owner;
};

/* One try on a thread of the pool; the directory forgets it by letting go of the pointer. */
struct attempt {
	struct directory *owner;
	const struct directory_conf *conf;
	size_t uri;
	struct secret *password;
	_Atomic int fd;
	LDAP *ld;
	struct directory_failure failure;
};

struct directory {
	struct loop *loop;
	const struct directory_conf *conf;
	struct directory_events events;
	enum state state;
	unsigned refs; /* owner, connections, attempts, callbacks under way */
	bool pinned;
	size_t uri;
	struct connection *connection;
	struct attempt *attempt;
	struct operation *by_number, *by_msgid;
	uint64_t last_number;
	struct loop_timer *timer;   /* next try, or watchdog of the try */
	struct loop_timer *silence; /* operations' time-outs */
	int64_t silence_due_ms;	    /* 0: not set */
	struct loop_after *broken;
	const char *broken_why;
	struct directory_backoff backoff, denied_pause;
	int64_t denied_ms[DENIED_TRIES];
	unsigned denied;
};

void directory_unref(struct directory *d); /* frees it with the last */
/* The message goes to the operation it belongs to. */
void operation_deliver(struct directory *d, struct connection *c, LDAPMessage *m);
/* Ends one operation, if there is one, with this result. */
bool operation_end_one(struct directory *d, const struct directory_result *result);
void operation_forget_all(struct directory *d); /* no callbacks */
void operation_silence(void *arg);		/* the timer of a struct directory's time-outs */

#endif
