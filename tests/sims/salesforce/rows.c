/* sObject rows: create, update, upsert, delete, get. */
#include <stdio.h>
#include <string.h>

#include "sf.h"

/* The external id of the user that a record is about. */
static struct slice key_of(struct sf *s, const struct object *o, uint32_t number)
{
	const struct object *users = schema_object(s, SLICE("User"));

	for (size_t i = 1; o != users && i < o->n_fields; i++) {
		const char *id = o->records[number].v[i];

		if (!o->fields[i].refers || strcmp(o->fields[i].refers, "User") != 0 || !id)
			continue;
		number = id_find(users, slice_of(id));
		return number == NONE ? SLICE("") : record_get(users, number, sf_external);
	}
	return record_get(o, number, sf_external);
}

static void commit(struct sf *s, const struct sim_call *call, const char *kind,
		   const struct object *o, uint32_t number)
{
	struct slice key = key_of(s, o, number);
	uint8_t id[16] = {0};

	memcpy(id, o->prefix, 3);
	memcpy(id + 8, &number, sizeof number);
	sim_commit(s->sim, call, kind, id, key.p ? key : SLICE(""));
}

/* ---- printing ---- */

static void print_field(const struct object *o, uint32_t number, size_t i, struct text *out)
{
	const char *value = o->records[number].v[i];

	text_fmt(out, ",\"%s\":", o->fields[i].name);
	if (o->fields[i].type == T_BOOL)
		text_str(out, value && strcmp(value, "true") == 0 ? "true" : "false");
	else if (!value)
		text_str(out, "null");
	else if (o->fields[i].type == T_NUMBER)
		text_str(out, value);
	else
		text_json(out, slice_of(value));
}

static bool asked(struct slice fields, const char *name)
{
	while (fields.n) {
		if (slice_is_nocase(slice_trim(slice_cut(&fields, ',')), name))
			return true;
	}
	return false;
}

void rows_print(const struct object *o, uint32_t number, struct slice fields, struct text *out)
{
	text_fmt(
		out,
		"{\"attributes\":{\"type\":\"%s\",\"url\":\"/services/data/v62.0/sobjects/%s/%s\"}",
		o->name, o->name, o->records[number].v[0]);
	for (size_t i = 0; i < o->n_fields; i++) {
		if (!fields.p || i == 0 || asked(fields, o->fields[i].name))
			print_field(o, number, i, out);
	}
	text_char(out, '}');
}

void rows_get(struct sf *s, struct sim_call *call, const struct object *o, uint32_t number,
	      struct slice fields)
{
	struct slice rest = fields;

	while (rest.n) {
		struct slice name = slice_trim(slice_cut(&rest, ','));

		if (schema_field(o, name) >= 0)
			continue;
		sf_fail(s, call, 400, "INVALID_FIELD", NULL,
			"No such column '%.*s' on sobject of type %s", (int)name.n, name.p,
			o->name);
		return;
	}
	rows_print(o, number, fields, &call->answer->body);
	sf_json(call, 200);
}

/* ---- reading a body ---- */

static bool typed(const struct field *f, const struct json *value)
{
	if (json_is(value, JSON_NULL))
		return true;
	return f->type == T_BOOL ? json_is_bool(value) : json_is(value, JSON_STRING);
}

static bool read_member(struct sf *s, struct sim_call *call, struct object *o,
			const struct json *member, struct change *c)
{
	int i = schema_field(o, member->key);
	unsigned may = c->number == NONE ? F_CREATE : F_UPDATE;

	if (slice_is(member->key, "attributes"))
		return true;
	if (i < 0) {
		sf_fail(s, call, 400, "INVALID_FIELD", NULL,
			"No such column '%.*s' on sobject of type %s", (int)member->key.n,
			member->key.p, o->name);
		return false;
	}
	if (!(o->fields[i].flags & may)) {
		sf_fail(s, call, 400, "INVALID_FIELD_FOR_INSERT_UPDATE", o->fields[i].name,
			"Unable to create/update fields: %s. Please check the security settings of "
			"this "
			"field and verify that it is read/write for your profile or permission "
			"set.",
			o->fields[i].name);
		return false;
	}
	if (!typed(&o->fields[i], member)) {
		sf_fail(s, call, 400, "JSON_PARSER_ERROR", NULL,
			"Cannot deserialize instance of %s from the value of %s",
			o->fields[i].type == T_BOOL ? "boolean" : "string", o->fields[i].name);
		return false;
	}
	c->value[i] = member;
	return true;
}

static bool read_body(struct sf *s, struct sim_call *call, struct object *o, struct change *c)
{
	const char *error = "";
	const struct json *body = json_parse(&s->sim->arena, call->body, &error);

	if (!json_is(body, JSON_OBJECT)) {
		sf_fail(s, call, 400, "JSON_PARSER_ERROR", NULL, "%s", body ? "an object" : error);
		return false;
	}
	JSON_EACH(member, body)
	{
		if (!read_member(s, call, o, member, c))
			return false;
	}
	return true;
}

/* ---- writing ---- */

static bool is_user(const struct object *o)
{
	return strcmp(o->name, "User") == 0;
}

static void put(struct sf *s, struct object *o, int i, const struct change *c, uint32_t number)
{
	const struct json *value = c->value[i];
	struct slice text = json_is(value, JSON_STRING)	 ? value->string
			    : json_is(value, JSON_TRUE)	 ? SLICE("true")
			    : json_is(value, JSON_FALSE) ? SLICE("false")
							 : (struct slice){0};
	const struct field *f = &o->fields[i];
	char whole[ID18 + 1];

	if (f->type == T_REF && text.n == ID15) {
		struct object *other = schema_object(s, slice_of(f->refers));

		id_print(other, id_find(other, text), whole);
		text = slice_of(whole);
	}
	/* a changed address waits for its owner's word */
	if (is_user(o) && c->number != NONE && strcmp(f->name, "Email") == 0 &&
	    s->knobs.email_confirmation) {
		if (!slice_is_nocase(text, o->records[number].v[i] ? o->records[number].v[i] : ""))
			o->records[number].pending = xdup(text.p, text.n);
		return;
	}
	record_set(o, number, i, text);
}

static void apply(struct sf *s, struct object *o, const struct change *c, uint32_t number)
{
	uint32_t licence = rules_licence(s, o, number);

	for (size_t i = 0; i < o->n_fields; i++) {
		if (c->value[i])
			put(s, o, (int)i, c, number);
	}
	rules_after(s, o, c, number, licence);
}

static void created(struct sf *s, struct sim_call *call, struct object *o, struct change *c)
{
	int key = schema_field(o, slice_of(sf_external));
	uint32_t number;

	if (is_user(o) && c->value[key] && json_is(c->value[key], JSON_STRING) &&
	    record_find(o, key, c->value[key]->string, NONE) != NONE)
		s->sim->stats.duplicates++;
	number = record_add(o);
	apply(s, o, c, number);
	s->sim->stats.creates += is_user(o);
	commit(s, call, is_user(o) ? "create" : "assign", o, number);
	text_fmt(&call->answer->body, "{\"id\":\"%s\",\"success\":true,\"errors\":[]",
		 o->records[number].v[0]);
}

static bool allowed(struct sf *s, struct sim_call *call, bool may, const struct object *o,
		    const char *what)
{
	if (!may)
		sf_fail(s, call, 400, "INVALID_TYPE_FOR_OPERATION", NULL,
			"entity type %s does not support %s", o->name, what);
	return may;
}

void rows_create(struct sf *s, struct sim_call *call, struct object *o)
{
	struct change c = {.number = NONE};

	if (!allowed(s, call, o->create, o, "create") || !read_body(s, call, o, &c) ||
	    !rules_allow(s, call, o, &c) || !rules_lock(s, call, o, &c))
		return;
	created(s, call, o, &c);
	text_char(&call->answer->body, '}');
	sf_json(call, 201);
}

static bool update(struct sf *s, struct sim_call *call, struct object *o, uint32_t number,
		   const struct change *c)
{
	if (!rules_allow(s, call, o, c) || !rules_lock(s, call, o, c))
		return false;
	apply(s, o, c, number);
	s->sim->stats.updates += is_user(o);
	commit(s, call, "update", o, number);
	return true;
}

void rows_update(struct sf *s, struct sim_call *call, struct object *o, uint32_t number)
{
	struct change c = {.number = number};

	if (!allowed(s, call, o->update, o, "update") || !read_body(s, call, o, &c) ||
	    !update(s, call, o, number, &c))
		return;
	call->answer->status = 204;
}

/* The key's value is in the path; its bearers are answered 300 when there are several. */
static void several(struct sf *s, struct sim_call *call, const struct object *o, int field,
		    struct slice value)
{
	uint32_t number = NONE;
	const char *comma = "[";

	(void)s;
	while ((number = record_find(o, field, value, number)) != NONE) {
		text_fmt(&call->answer->body, "%s\"/services/data/v62.0/sobjects/%s/%s\"", comma,
			 o->name, o->records[number].v[0]);
		comma = ",";
	}
	text_char(&call->answer->body, ']');
	sf_json(call, 300);
}

static const struct json *key_as_json(struct sf *s, struct slice value)
{
	return json_string(&s->sim->arena, arena_copy(&s->sim->arena, value));
}

void rows_upsert(struct sf *s, struct sim_call *call, struct object *o, int field,
		 struct slice value)
{
	uint32_t number = record_find(o, field, value, NONE);
	struct change c = {.number = number};

	if (number != NONE && record_find(o, field, value, number) != NONE) {
		several(s, call, o, field, value);
		return;
	}
	if (!allowed(s, call, o->create, o, "upsert") || !read_body(s, call, o, &c))
		return;
	if (c.value[field]) {
		sf_fail(s, call, 400, "INVALID_FIELD", o->fields[field].name,
			"The %s field should not be specified in the sobject data.",
			o->fields[field].name);
		return;
	}
	if (number == NONE) {
		c.value[field] = key_as_json(s, value);
		if (!rules_allow(s, call, o, &c) || !rules_lock(s, call, o, &c))
			return;
		created(s, call, o, &c);
		text_str(&call->answer->body, ",\"created\":true}");
		sf_json(call, 201);
	} else if (update(s, call, o, number, &c)) {
		text_fmt(&call->answer->body,
			 "{\"id\":\"%s\",\"success\":true,\"errors\":[],\"created\":false}",
			 o->records[number].v[0]);
		sf_json(call, 200);
	}
}

void rows_delete(struct sf *s, struct sim_call *call, struct object *o, uint32_t number)
{
	struct change c = {.number = number};

	if (!o->remove) {
		sf_fail(s, call, 405, "METHOD_NOT_ALLOWED", NULL,
			"HTTP Method 'DELETE' not allowed. Allowed are HEAD,GET,PATCH");
		return;
	}
	if (!rules_lock(s, call, o, &c))
		return;
	s->sim->stats.deletes++;
	commit(s, call, "unassign", o, number);
	c.number = NONE;
	rules_after(s, o, &c, number, NONE);
	record_remove(o, number);
	call->answer->status = 204;
}

/* ---- what was there before ---- */

/* References may be given by the name of what they refer to. */
static struct slice by_name(struct sf *s, const struct field *f, struct slice value)
{
	struct object *other = schema_object(s, slice_of(f->refers));
	uint32_t number;

	if (id_find(other, value) != NONE)
		return value;
	for (number = 0; number < other->n; number++) {
		if (other->records[number].live &&
		    (slice_equal(record_get(other, number, "Name"), value) ||
		     slice_equal(record_get(other, number, "Username"), value)))
			return slice_of(other->records[number].v[0]);
	}
	return (struct slice){0};
}

const char *rows_seed(struct sf *s, struct object *o, const struct json *json)
{
	struct change c = {.number = NONE};
	uint32_t number;

	JSON_EACH(member, json)
	{
		int i = schema_field(o, member->key);

		if (i < 0)
			return "there is no such field";
		c.value[i] = member;
		if (o->fields[i].refers && json_is(member, JSON_STRING)) {
			struct slice id = by_name(s, &o->fields[i], member->string);

			if (!id.p)
				return "there is nothing of that name";
			c.value[i] = json_string(&s->sim->arena, id);
		} else if (o->fields[i].type == T_NUMBER) {
			c.value[i] = json_string(&s->sim->arena, member->string);
		}
	}
	number = record_add(o);
	apply(s, o, &c, number);
	return NULL;
}
