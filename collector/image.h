/* A user's image as it is published: the wire's record with the snapshot (lib/snapshot.h) and the fingerprint over all
 * the other parts. */
#ifndef DIRPIPE_IMAGE_H
#define DIRPIPE_IMAGE_H

#include "account.h"
#include "conf.h"
#include "objects.h"
#include "override.h"
#include "wire.h"

struct image_maker;

struct image_settings {
	const struct conf_node *source;
	const char *source_name;
	/* Who the value (a DN; empty: the entry has none) of the user's reference number `which` is; false: nobody known. */
	bool (*resolve)(void *arg, size_t which, struct slice value, struct id *ret_id);
	void *arg;
	const struct override_table *overrides; /* borrowed, or NULL */
};

struct image_maker *image_new(const struct image_settings *settings);
void image_free(struct image_maker *m);
size_t image_references(const struct image_maker *m); /* how many a user has */

/* What the image does not get from the entry: names of watched groups (sorted) and of targets. */
struct image_scope {
	const char *const *groups;
	size_t groups_n;
	const char *const *targets;
	size_t targets_n;
	struct wire_list out; /* why others do not hold it: no part of the fingerprint */
	const struct source_policy *policy;
};

/* Appends the encoded record. 0; -EILSEQ with *ret_attr: a text attribute's value is not UTF-8 (GOALS 8: the user is
 * refused, never cut); -E2BIG: more than the broker takes of one user (values in base64 and with escapes grow). */
int image_build(struct image_maker *m, const struct entry *e, const struct image_scope *scope,
		struct buf *out, struct fp *ret_fp, const char **ret_attr) MUST_CHECK;
/* The record of a user that is gone. guid: the id stands in Microsoft's order in the directory. */
void image_gone(struct image_maker *m, const struct id *id, bool guid, struct buf *out,
		struct fp *ret_fp);

#endif
