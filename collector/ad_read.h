/* Reads the objects of AD that changed, as they are now: DirSync and uSNChanged say which ids, this reads them by id, many in
 * one search and several searches at once, with deleted ones shown and long member lists followed to their end.
 *
 * Each id ends as exactly one of: image (it lives and belongs to the source), unfit (it lives, but outside base_dn or the filters),
 * tombstone, bad, or nothing: not found. Not found is no statement: the object is being deleted or replicated. */
#ifndef DIRPIPE_AD_READ_H
#define DIRPIPE_AD_READ_H

#include "directory.h"

struct ad_read;

struct ad_read_events {
	void *arg;
	void (*image)(void *arg, struct entry *e); /* ownership goes to the callee */
	void (*unfit)(void *arg, const struct id *id);
	void (*tombstone)(void *arg, const struct id *id);
	void (*bad)(void *arg, const struct id *id, const char *why);
	/* Called once per ad_read_ids or ad_read_search, when all is read. rc: LDAP result code; not 0: what is missing is
	 * unknown. seen: highest uSNChanged among what was read, and whose it is. */
	void (*done)(void *arg, int rc, const char *text, uint64_t seen, const struct id *last);
};

/* d, source and events outlive it. */
struct ad_read *ad_read_new(struct directory *d, const struct conf_node *source,
			    const struct ad_read_events *events);
void ad_read_free(struct ad_read *r); /* NULL is allowed */
/* Forgets what is open: no callback for it. Call it when the directory is stopped, too. */
void ad_read_stop(struct ad_read *r);
/* The domain that is searched; copied. */
void ad_read_domain(struct ad_read *r, const char *nc);

/* One at a time (asserted): ids are copied; done() never comes inside the call. */
void ad_read_ids(struct ad_read *r, const struct id *ids, size_t n);
/* Everything of the source in the domain, paged; the same events. */
void ad_read_search(struct ad_read *r);

/* Sorts and removes repetitions; returns how many are left. */
size_t ad_ids_unique(struct id *ids, size_t n);

#endif
