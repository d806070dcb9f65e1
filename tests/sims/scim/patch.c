#include "patch.h"

#include <string.h>

enum op { OP_ADD, OP_REMOVE, OP_REPLACE };

struct patch {
	struct scim *s;
	const struct kind *kind;
	struct arena *arena;
	uint32_t number;
	struct json *root;
	struct member_changes *changes;
	struct scim_error *error;
};

static bool fail(struct patch *p, const char *type, const char *detail)
{
	return scim_fail(p->error, 400, type, "%s", detail);
}

/* A new primary value takes the mark from the others. */
static void demote(struct patch *p, struct json *list, const struct json *but)
{
	if (!json_get_bool(but, "primary", false))
		return;
	JSON_EACH(item, list)
	{
		if (item != but && json_get_bool(item, "primary", false))
			json_set(item, SLICE("primary"), json_bool(p->arena, false));
	}
}

static bool add_value(struct patch *p, struct json *list, const struct json *value)
{
	JSON_EACH(item, list)
	{
		if (json_equal(item, value))
			return true;
	}
	struct json *copy = json_copy(p->arena, value);
	json_append(list, (struct slice){0}, copy);
	demote(p, list, copy);
	return true;
}

static struct json *child_of(struct patch *p, struct json *parent, const char *name,
			     enum json_type type)
{
	struct json *child = json_get(parent, name);

	if (!child) {
		child = json_make(p->arena, type);
		json_append(parent, slice_of(name), child);
	}
	return child;
}

static void merge(struct patch *p, struct json *object, const struct attr *attrs,
		  const struct json *value)
{
	JSON_EACH(child, value)
	{
		const struct attr *attr = schema_find(attrs, child->key);
		struct slice key = attr ? slice_of(attr->name) : child->key;

		json_set(object, key, json_copy(p->arena, child));
	}
}

static bool change_many(struct patch *p, enum op op, const struct attr *attr, struct json *parent,
			const struct json *value)
{
	struct json *list;

	if (op == OP_REPLACE) {
		if (value->type == JSON_ARRAY)
			json_set(parent, slice_of(attr->name), json_copy(p->arena, value));
		else
			return fail(p, "invalidValue", "An array was expected.");
		return true;
	}
	list = child_of(p, parent, attr->name, JSON_ARRAY);
	if (value->type != JSON_ARRAY)
		return add_value(p, list, value);
	JSON_EACH(item, value)
	add_value(p, list, item);
	return true;
}

/* The attribute as a whole. */
static bool change_attr(struct patch *p, enum op op, const struct attr *attr, struct json *parent,
			const struct json *value)
{
	struct json *have = json_get(parent, attr->name);

	if (op == OP_REMOVE || value->type == JSON_NULL) {
		if (have)
			json_remove(parent, have);
		return true;
	}
	if (attr->flags & ATTR_MULTI)
		return change_many(p, op, attr, parent, value);
	if (attr->type != ATTR_COMPLEX) {
		json_set(parent, slice_of(attr->name), json_copy(p->arena, value));
		return true;
	}
	if (value->type != JSON_OBJECT)
		return fail(p, "invalidValue", "A complex value was expected.");
	merge(p, child_of(p, parent, attr->name, JSON_OBJECT), attr->subs, value);
	return true;
}

/* attr.sub, attr[filter], attr[filter].sub of a multi-valued attribute. */
static bool change_items(struct patch *p, enum op op, const struct attr_path *path,
			 struct json *parent, const struct json *value)
{
	struct json *list = json_get(parent, path->attr->name);
	struct filter *filter = NULL;
	bool hit = false;

	if (path->filtered) {
		filter = filter_parse(p->arena, path->filter, NULL, path->attr->subs, "", p->error);
		if (!filter)
			return false;
	}
	for (struct json *item = list ? list->first : NULL, *next; item; item = next) {
		next = item->next;
		if (filter && !filter_fits(filter, item, false))
			continue;
		hit = true;
		if (path->sub) {
			if (!change_attr(p, op, path->sub, item, value))
				return false;
		} else if (op == OP_REMOVE) {
			json_remove(list, item);
			continue;
		} else if (value->type != JSON_OBJECT) {
			return fail(p, "invalidValue", "A complex value was expected.");
		} else {
			merge(p, item, path->attr->subs, value);
		}
		demote(p, list, item);
	}
	return hit || op == OP_REMOVE || fail(p, "noTarget", "The path names no value.");
}

static bool change_members(struct patch *p, enum op op, const struct attr_path *path,
			   const struct json *value)
{
	if (path->sub)
		return fail(p, "mutability", "Sub-attributes of members are immutable.");
	if (path->filtered) {
		if (op != OP_REMOVE)
			return fail(p, "invalidPath", "Members are added and removed as a whole.");
		return members_remove_filtered(p->s, p->changes, p->number, path->filter, p->error);
	}
	if (op == OP_REPLACE || (op == OP_REMOVE && !value))
		members_note(p->changes, MEMBER_CLEAR, 0);
	if (!value || value->type == JSON_NULL)
		return true;
	return members_read(p->s, p->changes, op == OP_REMOVE ? MEMBER_REMOVE : MEMBER_ADD, value,
			    p->error);
}

static bool change_password(struct patch *p, enum op op, const struct json *value)
{
	if (op == OP_REMOVE)
		return fail(p, "mutability", "The password cannot be removed.");
	json_set(p->root, SLICE("password"), json_copy(p->arena, value));
	return true;
}

static bool change_path(struct patch *p, enum op op, const struct attr_path *path,
			const struct json *value)
{
	struct json *parent = p->root;
	const struct attr *attr = path->attr;

	if (attr &&
	    ((attr->flags & ATTR_READ_ONLY) || (path->sub && path->sub->flags & ATTR_READ_ONLY)))
		return scim_fail(p->error, 400, "mutability", "Attribute '%s' is readOnly.",
				 attr->name);
	if (p->kind->group && attr && !strcmp(attr->name, "members"))
		return change_members(p, op, path, value);
	if (attr && (attr->flags & ATTR_WRITE_ONLY))
		return change_password(p, op, value);
	if (path->extension)
		parent = child_of(p, p->root, path->schema->urn, JSON_OBJECT);
	if (!attr) {
		if (op == OP_REMOVE)
			json_remove(p->root, parent);
		else
			merge(p, parent, path->schema->attrs, value);
		return true;
	}
	if ((attr->flags & ATTR_MULTI) && (path->filtered || path->sub))
		return change_items(p, op, path, parent, value);
	if (!path->sub)
		return change_attr(p, op, attr, parent, value);
	if (op == OP_REMOVE && !json_get(parent, attr->name))
		return true;
	return change_attr(p, op, path->sub, child_of(p, parent, attr->name, JSON_OBJECT), value);
}

/* Without a path each member of the value is a target; dotted ones only where that is tolerated. */
static bool change_pathless(struct patch *p, enum op op, const struct json *value)
{
	if (!json_is(value, JSON_OBJECT) || op == OP_REMOVE)
		return fail(p, op == OP_REMOVE ? "noTarget" : "invalidValue",
			    "An operation without a path needs an object of attributes.");
	JSON_EACH(child, value)
	{
		struct slice rest = child->key;
		struct attr_path path;
		bool known = schema_path(p->kind->schema, &rest, &path) && !rest.n;

		if (slice_is_nocase(child->key, "schemas"))
			continue;
		if (known && (path.sub || path.filtered) && !p->s->knobs.ignore_unknown)
			known = false;
		if (!known && p->s->knobs.ignore_unknown)
			continue;
		if (!known)
			return scim_fail(p->error, 400, "invalidPath",
					 "Attribute '%.*s' is not known.", (int)child->key.n,
					 child->key.p);
		if (path.attr && (path.attr->flags & ATTR_READ_ONLY) &&
		    p->s->knobs.ignore_read_only)
			continue;
		if (!change_path(p, op, &path, child))
			return false;
	}
	return true;
}

static bool read_op(struct patch *p, const struct json *operation, enum op *ret_op)
{
	static const char *const names[] = {"add", "remove", "replace"};
	struct slice name = json_get_string(operation, "op");

	for (int i = 0; i < 3; i++) {
		if (slice_is_nocase(name, names[i])) {
			*ret_op = (enum op)i;
			return true;
		}
	}
	return fail(p, "invalidSyntax", "op must be add, remove or replace.");
}

static bool apply_one(struct patch *p, const struct json *operation)
{
	struct json *value = json_get(operation, "value");
	struct json *path_text = json_get(operation, "path");
	struct attr_path path;
	enum op op = OP_ADD;

	if (operation->type != JSON_OBJECT || !read_op(p, operation, &op))
		return fail(p, "invalidSyntax", "op must be add, remove or replace.");
	if (op != OP_REMOVE && !value)
		return fail(p, "invalidValue", "add and replace need a value.");
	if (!path_text)
		return change_pathless(p, op, value);
	struct slice rest = path_text->string;
	if (path_text->type != JSON_STRING || !schema_path(p->kind->schema, &rest, &path) || rest.n)
		return scim_fail(p->error, 400, "invalidPath", "The path '%.*s' is not valid.",
				 (int)path_text->string.n, path_text->string.p);
	if (!path.attr && op != OP_REMOVE && value->type != JSON_OBJECT)
		return fail(p, "invalidValue", "An extension is an object.");
	return change_path(p, op, &path, value);
}

bool patch_apply(struct scim *s, const struct patch_target *target, const struct json *body,
		 struct scim_error *ret_error)
{
	struct patch p = {s,
			  target->kind,
			  &s->sim->arena,
			  target->number,
			  target->root,
			  target->changes,
			  ret_error};
	struct json *schemas = json_get(body, "schemas");
	struct json *operations = json_get(body, "Operations");

	if (!schemas || !schemas->first ||
	    !slice_is_nocase(schemas->first->string,
			     "urn:ietf:params:scim:api:messages:2.0:PatchOp"))
		return fail(&p, "invalidSyntax", "schemas must be that of PatchOp.");
	if (!json_is(operations, JSON_ARRAY) || !operations->count)
		return fail(&p, "invalidSyntax", "Operations must be an array that is not empty.");
	JSON_EACH(operation, operations)
	{
		if (!apply_one(&p, operation))
			return false;
	}
	return true;
}
