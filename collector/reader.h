/* What the line asks of every driver, written once over a struct directory: reread by id, reread below a DN, confirm, and
 * the survey at start. Images go to the host with origin ENTRY_REREAD or ENTRY_SURVEY; `member;range=` of AD is followed to its
 * end before the image is given. Use a handle at the same server that the driver follows (it may be the same one, if the
 * server works on several operations of a connection at once). */
#ifndef DIRPIPE_READER_H
#define DIRPIPE_READER_H

#include "directory.h"

struct reader;

struct reader_settings {
	struct loop *loop;
	struct directory *directory; /* borrowed; must outlive the reader */
	const struct conf_node *source;
	const struct entry_schema *schema;
	const struct source_host *host;
	const char *base;	 /* base_dn */
	const char *const *more; /* further attributes for rereads, or NULL */
	LDAPControl **controls;	 /* with every search, or NULL; the reader keeps the pointer */
	int page;		 /* > 0: subtree searches are paged (AD: 1000) */
	bool by_guid; /* AD: each id by a base search of <GUID=…>, else by filter in the subtree of base */
};

struct reader *reader_new(const struct reader_settings *settings);
void reader_free(struct reader *r); /* NULL is allowed; no answer after it */
/* Forgets what is open without an answer (the driver stops). Broken connections need no call: open requests are
 * answered ok=false. */
/* The directory must have been stopped before: its operations know the requests. */
void reader_stop(struct reader *r);

/* As source_driver's calls of the same names. A driver that is not connected gets answer(ok=false) at once. */
void reader_reread(struct reader *r, uint64_t token, const struct id *ids, size_t n);
void reader_reread_below(struct reader *r, uint64_t token, const char *dn);
void reader_confirm(struct reader *r, uint64_t token, const struct id *ids, size_t n);

/* done(failure) when every object was given to the host (NULL), or what the server said instead; not called after reader_stop. Does not
 * call host->surveyed(). */
typedef void (*reader_surveyed_fn)(void *arg, const char *failure);
void reader_survey(struct reader *r, reader_surveyed_fn done, void *arg);

#endif
