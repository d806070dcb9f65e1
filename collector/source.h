/* The contract between a directory driver (source_dirsync, source_syncrepl, source_poll) and the collector's line
 * (groups → route → diff → publish). To add a driver, fill a struct source_driver and name it in source_drivers[].
 *
 * A driver connects, follows the directory and tells the line through struct source_host *what objects are now*,
 * never what happened to them. It owns its connections, reconnects by itself with backoff and jitter (other server of
 * the list next), and never touches the line's state. Everything happens on the loop's thread.
 *
 * Order of calls to the host, after start():
 *	state(connected=true, …)
 *	policy(…)                       if the driver knows it
 *	image(origin survey) … surveyed() if survey_wanted(): before begin, so that groups, references and routes are
 *	                                complete when the first real image comes (reader.h does it for every driver)
 *	begin(full)                     an enumeration or a resume begins
 *	image / gone …                  in any order, any number, repeats allowed
 *	end(sweep)                      it ended properly; sweep: every object of the search that still exists was named
 *	                                by image() or present() since begin(), so what was not named may be missing
 *	cursor(…)                       all calls before this one are covered by it
 *	image / gone / cursor …         live changes
 *	state(connected=false, why)     at any moment; then begin() again after the reconnect
 * If the connection breaks between begin and end, there is no end: nothing may be concluded from absence.
 *
 * A driver reports gone(id) only when the directory said so (syncrepl DELETE, a tombstone read by id). Not found is not gone,
 * except as the answer to confirm(). It passes on every class of object that the line asked for in the config: users,
 * groups and containers (OUs: the line sees renames of OUs and asks for their subtree again). */
#ifndef DIRPIPE_SOURCE_H
#define DIRPIPE_SOURCE_H

#include "conf.h"
#include "entry.h"
#include "loop.h"

struct source; /* the driver's own */

/* What stands in Redis beside a cursor, opaque to all but the driver: text "key=value;…" with the server's identity and
 * state (invocationId and USN, contextCSN, firstchangenumber). */
struct source_cursor {
	struct slice cookie;
	struct slice server;
};

enum source_problem {
	SOURCE_NONE,
	SOURCE_UNREACHABLE, /* goes on trying */
	SOURCE_DENIED, /* bind refused: at most 3 tries in 30 minutes, then growing delay (GOALS S3) */
	SOURCE_RIGHTS, /* cannot see what it must (deletions, control not allowed): stops, says which right */
	SOURCE_FOREIGN, /* another directory than the cursor's, or it came back empty: stops, touches nobody */
	SOURCE_PROBLEMS
};

/* What the directory says about passwords in general; per user it only says when one was set or locked. */
struct source_policy {
	int64_t max_password_age_ms; /* 0: passwords do not expire */
	int64_t lockout_ms;	     /* 0: locked until somebody acts */
};

struct source_host {
	void *arg;
	void (*state)(void *arg, bool connected, const char *server, enum source_problem problem,
		      const char *why);
	void (*policy)(void *arg,
		       const struct source_policy *policy); /* before begin, and when it changed */
	/* Asked by the driver after each connect, before begin(): true: name every object of the configured classes first
	 * (images with origin ENTRY_SURVEY: id, DN, objectClass, members, attributes of filters), then surveyed(). current
	 * false: this server's state is behind the cursor's, so that absence means nothing. If the connection breaks
	 * before surveyed(), the whole survey is repeated after the reconnect. */
	bool (*survey_wanted)(void *arg);
	void (*surveyed)(void *arg, bool current);
	void (*begin)(void *arg, bool full);
	/* Ownership of e goes to the host. A user that no longer fits users.filter is an image too if the driver sees it;
	 * the host decides by class. */
	void (*image)(void *arg, struct entry *e);
	void (*present)(void *arg,
			const struct id *id); /* unchanged since the cursor, still there */
	void (*gone)(void *arg, const struct id *id);
	/* The entry exists but cannot be taken (cap, no id …): listed, its old state stays. id may be NULL. */
	void (*bad)(void *arg, const struct id *id, const char *why);
	/* How far the directory's clock is ahead of ours (behind: negative); whenever the directory says it. */
	void (*clock)(void *arg, int64_t ahead_ms);
	void (*end)(void *arg, bool sweep);
	void (*cursor)(void *arg, const struct source_cursor *cursor);
	/* Answers to the line's own requests below, by token; ok false: try again later, nothing known. For reread the images
	 * came before; for confirm, `missing` are the ids that a search by id on this same server did not find (and, on AD,
	 * did not find as a live object with deleted ones shown). */
	void (*answer)(void *arg, uint64_t token, bool ok, const struct id *missing,
		       size_t missing_n);
};

struct source_driver {
	const char *name;
	/* conf: the source's section. Copies nothing; conf outlives it. NULL with why: configuration it cannot work with. */
	struct source *(*create)(struct loop *loop, const struct conf_node *conf,
				 const struct source_host *host, struct buf *why);
	/* cursor NULL: from the beginning (full). May be called again after stop(). */
	void (*start)(struct source *s, const struct source_cursor *cursor);
	void (*stop)(struct source *s); /* closes connections; no call to the host after it */
	void (*destroy)(struct source *s);
	/* The line's requests; reader.h carries them out. Reads these objects again by id, or everything of the configured classes at or below a DN; answer(token) follows.
	 * The line bounds how many are open (1 subtree, 1000 ids). answer() may come inside the call. */
	void (*reread)(struct source *s, uint64_t token, const struct id *ids, size_t n);
	void (*reread_below)(struct source *s, uint64_t token, const char *dn);
	void (*confirm)(struct source *s, uint64_t token, const struct id *ids, size_t n);
	/* `dirpipe check source`: blocking, no loop. One line a step through say(): resolve, connect, TLS, bind, base, rights, control,
	 * deletions visible, each server of the list tried. Returns the number of failed steps. */
	int (*check)(const struct conf_node *conf, const char *name,
		     void (*say)(void *arg, bool ok, const char *step, const char *text),
		     void *arg);
};

extern const struct source_driver source_dirsync, source_syncrepl, source_poll;
const struct source_driver *source_driver_named(const char *name); /* NULL: none */

#endif
