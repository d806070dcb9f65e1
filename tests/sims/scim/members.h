/* The members of a group in requests: read first, applied only when the whole request is good. */
#pragma once

#include "scim.h"

enum member_act { MEMBER_ADD, MEMBER_REMOVE, MEMBER_CLEAR };

struct member_change {
	enum member_act act;
	uint32_t link;
};

struct member_changes {
	struct member_change *list; /* owned */
	size_t n, cap;
};

void members_note(struct member_changes *changes, enum member_act act, uint32_t link);
/* Notes act for each {"value": id} of an array, or for one object. False and *ret_error if one is unknown. */
bool members_read(struct scim *s, struct member_changes *changes, enum member_act act,
		  const struct json *value, struct scim_error *ret_error);
/* Notes the removal of all members that fit the filter on them. */
bool members_remove_filtered(struct scim *s, struct member_changes *changes, uint32_t group,
			     struct slice filter, struct scim_error *ret_error);
/* Carries the changes out; whether any made a difference. */
bool members_apply(struct scim *s, uint32_t group, const struct member_changes *changes);
