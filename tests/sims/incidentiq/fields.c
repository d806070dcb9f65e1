#include <stdarg.h>
#include <stdio.h>

#include "iiq.h"

static const struct field fields[] = {
	{"UserId", FIELD_GUID, FIELD_READ_ONLY},
	{"IsDeleted", FIELD_BOOL, FIELD_READ_ONLY},
	{"SiteId", FIELD_GUID, FIELD_READ_ONLY},
	{"ProductId", FIELD_GUID, FIELD_READ_ONLY},
	{"CreatedDate", FIELD_STRING, FIELD_READ_ONLY},
	{"ModifiedDate", FIELD_STRING, FIELD_READ_ONLY},
	{"LocationId", FIELD_GUID, FIELD_NEEDED},
	{"LocationName", FIELD_STRING, FIELD_READ_ONLY},
	{"IsActive", FIELD_BOOL, 0},
	{"Name", FIELD_STRING, FIELD_READ_ONLY},
	{"FirstName", FIELD_STRING, FIELD_NEEDED},
	{"LastName", FIELD_STRING, FIELD_NEEDED},
	{"Email", FIELD_STRING, 0},
	{"Username", FIELD_STRING, 0},
	{"Phone", FIELD_STRING, 0},
	{"SchoolIdNumber", FIELD_STRING, 0},
	{"Grade", FIELD_STRING, 0},
	{"Homeroom", FIELD_STRING, 0},
	{"ExternalId", FIELD_STRING, 0},
	{"InternalComments", FIELD_STRING, 0},
	{"RoleId", FIELD_GUID, FIELD_NEEDED},
	{"RoleName", FIELD_STRING, FIELD_READ_ONLY},
	{"AuthenticatedBy", FIELD_STRING, 0},
	{"PreventProviderUpdates", FIELD_BOOL, 0},
	{"Portal", FIELD_NUMBER, FIELD_READ_ONLY},
	{"Password", FIELD_STRING, FIELD_WRITE_ONLY},
	{"PasswordExpirationDate", FIELD_STRING, FIELD_WRITE_ONLY},
	{"DataMappings", FIELD_OBJECT, 0},
	{"UpdateCustomFields", FIELD_BOOL, FIELD_WRITE_ONLY},
	{"CustomFieldValues", FIELD_ARRAY, 0},
	{NULL, FIELD_STRING, 0},
};

const struct field *field_find(struct slice name)
{
	for (const struct field *f = fields; f->name; f++) {
		if (slice_is(name, f->name))
			return f;
	}
	return NULL;
}

bool iiq_fail(struct iiq_error *e, int status, const char *field, const char *format, ...)
{
	va_list args;

	e->status = status;
	e->field = field;
	va_start(args, format);
	vsnprintf(e->message, sizeof e->message, format, args);
	va_end(args);
	return false;
}

static bool fits(enum field_type type, const struct json *value)
{
	uint8_t id[16];

	switch (type) {
	case FIELD_STRING:
		return value->type == JSON_STRING;
	case FIELD_GUID:
		return value->type == JSON_STRING && uuid_read(value->string, id);
	case FIELD_BOOL:
		return json_is_bool(value);
	case FIELD_NUMBER:
		return value->type == JSON_NUMBER;
	case FIELD_OBJECT:
		return value->type == JSON_OBJECT;
	case FIELD_ARRAY:
		return value->type == JSON_ARRAY;
	}
	return false;
}

static bool mail_fits(struct slice mail)
{
	struct slice rest = mail;
	struct slice local = slice_cut(&rest, '@');

	return local.n && rest.n && slice_find(rest, SLICE(".")) && !slice_find(mail, SLICE(" ")) &&
	       !slice_find(rest, SLICE("@"));
}

static bool check_one(const struct json *value, struct iiq_error *e)
{
	const struct field *f = field_find(value->key);

	if (!f)
		return iiq_fail(e, 400, NULL, "Could not find member '%.*s' on a user.",
				(int)value->key.n, value->key.p);
	if (value->type != JSON_NULL && !fits(f->type, value))
		return iiq_fail(e, 400, f->name, "The value of %s is not valid.", f->name);
	if (value->type == JSON_NULL && (f->type == FIELD_GUID || f->type == FIELD_BOOL) &&
	    !(f->flags & FIELD_READ_ONLY))
		return iiq_fail(e, 400, f->name, "%s cannot be null.", f->name);
	if (slice_is(value->key, "Email") && value->type == JSON_STRING && value->string.n &&
	    !mail_fits(value->string))
		return iiq_fail(e, 400, f->name, "The e-mail address is not valid.");
	return true;
}

/* A user's own ids in a package must be its own. */
static bool check_identity(struct iiq *s, const struct json *body, const struct user *before,
			   struct iiq_error *e)
{
	const struct json *id = json_get(body, "UserId"), *site = json_get(body, "SiteId");
	char own[UUID_TEXT + 1];

	if (!before)
		return !id || id->type == JSON_NULL ||
		       iiq_fail(e, 400, "UserId", "A new user has no id yet.");
	uuid_print(before->id, own);
	if (id && !slice_is_nocase(id->string, own))
		return iiq_fail(e, 400, "UserId", "The package is another user's.");
	return !site || slice_is_nocase(site->string, s->knobs.site) ||
	       iiq_fail(e, 400, "SiteId", "The package is another site's.");
}

static bool empty(const struct json *value)
{
	return !value || value->type == JSON_NULL ||
	       (value->type == JSON_STRING && !slice_trim(value->string).n);
}

/* Canonical: in the order of the fields, nothing that is null, body before what was there. */
static struct json *lay_over(struct iiq *s, const struct json *body, const struct json *before)
{
	struct json *doc = json_make(&s->sim->arena, JSON_OBJECT);

	for (const struct field *f = fields; f->name; f++) {
		const struct json *value = json_get(body, f->name);

		if (!value)
			value = json_get(before, f->name);
		if (f->flags & (FIELD_READ_ONLY | FIELD_WRITE_ONLY) || empty(value))
			continue;
		json_append(doc, slice_of(f->name), json_copy(&s->sim->arena, value));
	}
	return doc;
}

static bool check_whole(struct iiq *s, struct draft *d, struct iiq_error *e)
{
	for (const struct field *f = fields; f->name; f++) {
		if (f->flags & FIELD_NEEDED && empty(json_get(d->doc, f->name)))
			return iiq_fail(e, 400, f->name, "%s is required.", f->name);
	}
	if (empty(json_get(d->doc, "Email")) && empty(json_get(d->doc, "Username")))
		return iiq_fail(e, 400, "Email", "Email or Username is required.");
	uuid_read(json_get_string(d->doc, "LocationId"), d->location);
	uuid_read(json_get_string(d->doc, "RoleId"), d->role);
	if (!location_find(s, d->location))
		return iiq_fail(e, 400, "LocationId", "There is no such location.");
	if (!role_name(d->role))
		return iiq_fail(e, 400, "RoleId", "There is no such role.");
	d->active = json_get_bool(d->doc, "IsActive", true);
	d->key = json_get_string(d->doc, "SchoolIdNumber");
	return true;
}

static bool take_password(const struct json *body, struct draft *d, struct iiq_error *e)
{
	const struct json *password = json_get(body, "Password");

	if (empty(password))
		return true;
	if (password->string.n < 8)
		return iiq_fail(e, 400, "Password", "The password is too short.");
	d->has_password = true;
	d->password = hash_bytes(password->string.p, password->string.n);
	return true;
}

bool fields_read(struct iiq *s, const struct json *body, const struct user *before,
		 struct draft *ret, struct iiq_error *ret_error)
{
	const char *error = NULL;
	struct json *had = NULL;

	if (!json_is(body, JSON_OBJECT))
		return iiq_fail(ret_error, 400, NULL, "A user was expected.");
	JSON_EACH(value, body)
	{
		if (!check_one(value, ret_error))
			return false;
	}
	if (!check_identity(s, body, before, ret_error))
		return false;
	if (before && !s->knobs.light_update && !json_get(body, "LastName"))
		return iiq_fail(ret_error, 400, NULL, "The whole user was expected.");
	if (before)
		had = json_parse(&s->sim->arena, (struct slice){before->doc, before->doc_n},
				 &error);
	/* custom fields are looked at only where the request says so */
	ret->doc = lay_over(s, body, had);
	return take_password(body, ret, ret_error) && check_whole(s, ret, ret_error);
}

bool fields_listed(const char *names, struct slice name)
{
	struct slice rest = slice_of(names);

	while (rest.n) {
		if (slice_equal(slice_trim(slice_cut(&rest, ',')), name))
			return true;
	}
	return false;
}

void fields_text(const struct json *doc, const char *names, struct text *out)
{
	struct slice rest = slice_of(names);

	while (rest.n) {
		struct slice name = slice_trim(slice_cut(&rest, ','));
		const struct json *value = json_get_slice(doc, name);

		if (slice_is(name, "Name")) {
			text_lower(out, json_get_string(doc, "FirstName"));
			text_char(out, ' ');
			text_lower(out, json_get_string(doc, "LastName"));
			text_char(out, '\n');
		} else if (json_is(value, JSON_STRING)) {
			text_lower(out, value->string);
			text_char(out, '\n');
		}
	}
}
