/* The source of drivers ad-dirsync and usn; private to source_dirsync.c (work) and dirsync_begin.c (the beginning of a connection). */
#ifndef DIRPIPE_DIRSYNC_SOURCE_H
#define DIRPIPE_DIRSYNC_SOURCE_H

#include "ad.h"
#include "ad_read.h"
#include "dirsync_page.h"
#include "reader.h"

enum phase { STOPPED, CONNECTING, PROBING, SURVEYING, CATCHING_UP, LIVE, REFUSED };

struct source {
	struct loop *loop;
	const struct conf_node *conf;
	struct source_host host;
	bool by_usn; /* source_usn */
	const char *interval;
	struct directory_conf *settings;
	struct directory *directory;
	struct ad_server server;
	struct ad_probe *probe;
	struct dirsync_page *page;
	struct ad_read *read;
	struct reader *reader;
	LDAPControl **controls;
	struct loop_timer *timer;
	enum phase phase;

	struct ad_marks marks; /* what has been read, as a vector */
	struct buf cookie;     /* empty: from the beginning */
	bool full, behind,
		known; /* known: there was a cursor, so that an empty domain is no beginning */
	int64_t full_ms;

	/* the cycle */
	bool busy, notified;
	uint64_t covered; /* the USN up to which the last cycle reported */
	struct id *unfit;
	size_t unfit_n;
	size_t users, objects;
	uint64_t seen; /* highest uSNChanged since the connection, and whose */
	struct id last;
	int64_t asked_ms, cursor_ms;
	struct source_policy policy;
	bool reread_all;
};

const char *dirsync_uri(const struct source *s);
/* What no reconnect mends: said, and tried again in a minute. */
void dirsync_refuse(struct source *s, enum source_problem problem, const char *why);
/* The connection is given up for this result; LDAP_SERVER_DOWN says itself. */
void dirsync_failed(struct source *s, int rc, const char *step, const char *text);
/* Asks for what changed, reads it, moves the cursor; then waits for the next tick. */
void dirsync_cycle(struct source *s);
void dirsync_wait(struct source *s);
void dirsync_tell_clock(struct source *s);
void dirsync_tell_policy(struct source *s);

void dirsync_up(void *arg, size_t uri); /* directory_events.up: probes, surveys, catches up */

#endif
