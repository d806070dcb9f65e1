/* One page of changes: which objects of the domain changed since a cookie. By DirSync the cookie is opaque and portable between
 * the DCs of a domain (active-directory.md 3); by uSNChanged it is a number of this one DC (5). */
#ifndef DIRPIPE_DIRSYNC_PAGE_H
#define DIRPIPE_DIRSYNC_PAGE_H

#include "directory.h"

enum dirsync_outcome {
	DIRSYNC_PAGE,	/* ids, cookie and more are valid */
	DIRSYNC_COOKIE, /* the server does not take the cookie: read everything */
	DIRSYNC_DENIED, /* with neither set of flags: a right is missing */
	DIRSYNC_BROKEN, /* an error or an answer that cannot be right; the cookie is as good as before */
	DIRSYNC_OUTCOMES
};

struct dirsync_page {
	struct directory *directory;
	bool by_usn;
	uint64_t usn; /* by_usn: highestCommittedUSN, read before the page is asked */
	char **attrs; /* an object is reported when one of these changed */
	void *arg;
	/* text: valid in the call. Not called when the connection breaks: down() comes. */
	void (*done)(void *arg, enum dirsync_outcome outcome, const char *text);

	struct id *ids; /* sorted, each once */
	size_t n, cap;
	struct buf cookie;
	bool more;

	const char *nc; /* of the request under way */
	struct slice sent;
	uint32_t flags;	     /* that the server takes */
	int64_t patience_ms; /* for an incremental page */
	LDAPControl **controls;
	uint64_t op;
};

struct dirsync_page *dirsync_page_new(struct directory *d, const struct conf_node *source);
void dirsync_page_free(struct dirsync_page *p); /* NULL is allowed */
/* cookie empty: everything. nc and the cookie's bytes stay the caller's and must live until done(); never done() in the call. */
void dirsync_page_ask(struct dirsync_page *p, const char *nc, struct slice cookie);
void dirsync_page_stop(struct dirsync_page *p);

#endif
