/* What source_syncrepl must know of a server before it follows it, and `dirpipe check` of the same. */
#ifndef DIRPIPE_SOURCE_SYNCREPL_H
#define DIRPIPE_SOURCE_SYNCREPL_H

#include "directory.h"
#include "source.h"
#include "sync_cookie.h"

enum { SYNC_CONTEXTS_MAX = 64 };

struct sync_server {
	bool is_389;
	bool has_sync;			   /* the root DSE lists the control */
	struct id base;			   /* of the base entry: who this directory is */
	char *contexts[SYNC_CONTEXTS_MAX]; /* OpenLDAP: contextCSN */
	size_t contexts_n;
	uint64_t first, last; /* 389-DS: change numbers of the retro changelog; 0: not shown */
	bool has_policy;
	struct source_policy policy;
	enum source_problem problem; /* with why */

	/* while looking */
	struct directory *directory;
	const char *base_dn;
	void (*done)(void *arg, const char *why);
	void *arg;
	bool base_seen;
};

/* Reads root DSE, base entry and password policy through the directory; then done(NULL), or done(why). Not called when the
 * directory is stopped meanwhile. One look at a time. */
void sync_server_look(struct sync_server *s, struct directory *d, const char *base,
		      void (*done)(void *arg, const char *why), void *arg);
void sync_server_done(struct sync_server *s);
bool sync_server_is_behind(const struct sync_server *s, const struct sync_cookie *c);
bool sync_server_is_ahead(const struct sync_server *s, const struct sync_cookie *c);

int sync_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg);

#endif
