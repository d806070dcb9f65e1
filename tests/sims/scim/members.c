#include "members.h"

void members_note(struct member_changes *changes, enum member_act act, uint32_t link)
{
	if (changes->n == changes->cap) {
		changes->cap = changes->cap ? changes->cap * 2 : 16;
		changes->list = xgrow(changes->list, changes->cap * sizeof *changes->list);
	}
	changes->list[changes->n++] = (struct member_change){act, link};
}

static uint32_t find_member(struct scim *s, struct slice id)
{
	uint32_t number = table_find_id(&s->store.users, id);

	if (number != NONE)
		return number;
	number = table_find_id(&s->store.groups, id);
	return number == NONE ? NONE : number | LINK_GROUP;
}

static bool read_one(struct scim *s, struct member_changes *changes, enum member_act act,
		     const struct json *value, struct scim_error *ret_error)
{
	struct slice id = json_get_string(value, "value");

	if (value->type != JSON_OBJECT || !id.n)
		return scim_fail(ret_error, 400, "invalidValue", "A member needs a value.");
	uint32_t link = find_member(s, id);
	if (link != NONE)
		members_note(changes, act, link);
	else if (act == MEMBER_ADD)
		return scim_fail(ret_error, 400, "invalidValue",
				 "Resource '%.*s' does not exist or one of its queried "
				 "reference-property objects are not present.",
				 (int)id.n, id.p);
	return true;
}

bool members_read(struct scim *s, struct member_changes *changes, enum member_act act,
		  const struct json *value, struct scim_error *ret_error)
{
	if (value->type != JSON_ARRAY)
		return read_one(s, changes, act, value, ret_error);
	JSON_EACH(item, value)
	{
		if (!read_one(s, changes, act, item, ret_error))
			return false;
	}
	return true;
}

bool members_remove_filtered(struct scim *s, struct member_changes *changes, uint32_t group,
			     struct slice filter, struct scim_error *ret_error)
{
	const struct attr *members = schema_find(schema_group.attrs, SLICE("members"));
	const struct entry *entry = &s->store.groups.entries[group];
	struct filter *f = filter_parse(&s->sim->arena, filter, NULL, members->subs, "", ret_error);

	if (!f)
		return false;
	if (f->op == FILTER_EQ && f->value->type == JSON_STRING &&
	    slice_is(slice_of(f->path.attr->name), "value")) {
		uint32_t link = find_member(s, f->value->string);

		if (link != NONE)
			members_note(changes, MEMBER_REMOVE, link);
		return true;
	}
	for (uint32_t i = 0; i < entry->n_links; i++) {
		struct json *member = json_make(&s->sim->arena, JSON_OBJECT);
		char *id = arena_take(&s->sim->arena, UUID_TEXT + 1);
		bool nested = entry->links[i] & LINK_GROUP;

		uuid_print(store_linked(&s->store, entry->links[i])->id, id);
		json_append(member, SLICE("value"), json_string(&s->sim->arena, slice_of(id)));
		json_append(member, SLICE("type"),
			    json_string(&s->sim->arena, nested ? SLICE("Group") : SLICE("User")));
		if (filter_fits(f, member, false))
			members_note(changes, MEMBER_REMOVE, entry->links[i]);
	}
	return true;
}

bool members_apply(struct scim *s, uint32_t group, const struct member_changes *changes)
{
	bool changed = false;

	for (size_t i = 0; i < changes->n; i++) {
		const struct member_change *change = &changes->list[i];

		if (change->act == MEMBER_ADD) {
			changed |= store_link(&s->store, group, change->link);
		} else if (change->act == MEMBER_REMOVE) {
			changed |= store_unlink(&s->store, group, change->link);
		} else {
			changed |= s->store.groups.entries[group].n_links > 0;
			store_unlink_all(&s->store, group);
		}
	}
	return changed;
}
