/* PATCH (RFC 7644 section 3.5.2). */
#pragma once

#include "members.h"

/*
 * Applies the operations of a PatchOp body to a canonical tree; members of a group are only noted in
 * *changes. False and *ret_error if any operation fails; the tree is worthless then.
 */
bool patch_apply(struct scim *s, const struct kind *kind, uint32_t number, const struct json *body,
		 struct json *root, struct member_changes *changes, struct scim_error *ret_error);
