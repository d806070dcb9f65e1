/* PATCH (RFC 7644 section 3.5.2). */
#pragma once

#include "members.h"

/* What the operations are for: a stored resource, its canonical tree, and its members' changes. */
struct patch_target {
	const struct kind *kind;
	uint32_t number;
	struct json *root;
	struct member_changes *changes;
};

/*
 * Applies the operations of a PatchOp body to a tree; members of a group are only noted. False and
 * *ret_error if any operation fails; the tree is worthless then.
 */
bool patch_apply(struct scim *s, const struct patch_target *target, const struct json *body,
		 struct scim_error *ret_error);
