/* What the org refuses (the fact sheet's A4, A6, A9), and what follows a write by itself. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sf.h"

static bool given(const struct change *c, int i)
{
	return i >= 0 && c->value[i] != NULL;
}

/* The value as it will stand afterwards; p NULL: none. */
static struct slice after(const struct object *o, const struct change *c, const char *field)
{
	int i = schema_field(o, slice_of(field));

	if (given(c, i)) {
		if (json_is(c->value[i], JSON_STRING))
			return c->value[i]->string;
		return json_is(c->value[i], JSON_TRUE)	  ? SLICE("true")
		       : json_is(c->value[i], JSON_FALSE) ? SLICE("false")
							  : (struct slice){0};
	}
	return c->number == NONE ? (struct slice){0} : record_get(o, c->number, field);
}

/* ---- one field by itself ---- */

static bool email_form(struct slice s)
{
	struct slice rest = s, local = slice_cut(&rest, '@');

	if (!local.n || !rest.n || memchr(rest.p, '@', rest.n) || !memchr(rest.p, '.', rest.n))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (isspace((unsigned char)s.p[i]) || strchr("<>,;\"", s.p[i]))
			return false;
	}
	return true;
}

static size_t characters(struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static bool picked(const char *picks, struct slice value)
{
	struct slice rest = slice_of(picks);

	while (rest.n) {
		if (slice_equal(slice_cut(&rest, '|'), value))
			return true;
	}
	return false;
}

static bool refuse(struct sf *s, struct sim_call *call, const char *code, const char *field,
		   const char *format, const char *what)
{
	char text[300];

	snprintf(text, sizeof text, "%s", format);
	sf_fail(s, call, 400, code, field, "%s%s", text, what);
	return false;
}

static bool value_good(struct sf *s, struct sim_call *call, const struct field *f,
		       const struct json *value)
{
	char text[160];

	if (!json_is(value, JSON_STRING))
		return true;
	snprintf(text, sizeof text, "%.*s", (int)value->string.n, value->string.p);
	if (f->max && characters(value->string) > (size_t)f->max && f->type != T_REF) {
		sf_fail(s, call, 400, "STRING_TOO_LONG", f->name,
			"%s: data value too large: %s (max length=%d)", f->name, text, f->max);
		return false;
	}
	if (f->type == T_EMAIL && !email_form(value->string)) {
		if (strcmp(f->name, "Username") == 0)
			return refuse(
				s, call, "FIELD_INTEGRITY_EXCEPTION", f->name,
				"Username must be in the form of an email address (for example, "
				"john@acme.com): ",
				"Username");
		return refuse(s, call, "INVALID_EMAIL_ADDRESS", f->name,
			      "Email: invalid email address: ", text);
	}
	if (f->type == T_PICK && !picked(f->picks, value->string))
		return refuse(s, call, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", f->name,
			      "bad value for restricted picklist field: ", text);
	if (f->refers && id_find(schema_object(s, slice_of(f->refers)), value->string) == NONE)
		return refuse(s, call, "INVALID_CROSS_REFERENCE_KEY", f->name,
			      "invalid cross reference id", "");
	return true;
}

/* All that are missing are named at once. */
static bool required(struct sf *s, struct sim_call *call, const struct object *o,
		     const struct change *c)
{
	struct text names = {0};

	for (size_t i = 0; i < o->n_fields; i++) {
		bool missing = c->value[i] ? json_is(c->value[i], JSON_NULL) ||
						     (json_is(c->value[i], JSON_STRING) &&
						      !c->value[i]->string.n)
					   : c->number == NONE;

		if ((o->fields[i].flags & F_REQUIRED) && missing)
			text_fmt(&names, "%s%s", names.n ? ", " : "", o->fields[i].name);
	}
	if (!names.n)
		return true;
	sf_fail(s, call, 400, "REQUIRED_FIELD_MISSING", names.p,
		"Required fields are missing: [%s]", names.p);
	text_free(&names);
	return false;
}

/* ---- unique ---- */

static bool elsewhere(const struct sf *s, struct slice name)
{
	struct index_walk walk;

	return index_first(&s->elsewhere, hash_nocase(name), &walk) != INDEX_END;
}

static uint32_t bearer(const struct object *o, const struct change *c, int i)
{
	uint32_t number = NONE;

	if (!given(c, i) || !json_is(c->value[i], JSON_STRING) || !c->value[i]->string.n)
		return NONE;
	do
		number = record_find(o, i, c->value[i]->string, number);
	while (number != NONE && number == c->number);
	return number;
}

static bool unique(struct sf *s, struct sim_call *call, const struct object *o,
		   const struct change *c, int i)
{
	const struct field *f = &o->fields[i];
	bool must = (f->flags & F_UNIQUE) ||
		    (strcmp(f->name, sf_external) == 0 && s->knobs.external_unique);
	uint32_t other = must ? bearer(o, c, i) : NONE;
	bool user_name = strcmp(f->name, "Username") == 0;

	if (user_name && given(c, i) && elsewhere(s, c->value[i]->string))
		other = c->number == NONE ? 0 : c->number;
	else if (other == NONE)
		return true;
	if (user_name)
		return refuse(
			s, call, "DUPLICATE_USERNAME", f->name,
			"Duplicate Username.<br>The username already exists in this or another "
			"Salesforce organization. Usernames must be unique across all "
			"Salesforce organizations.",
			"");
	if (strcmp(f->name, "CommunityNickname") == 0)
		return refuse(s, call, "DUPLICATE_COMM_NICKNAME", f->name,
			      "Duplicate Nickname.<br>Another user has already selected this "
			      "nickname.<br>Please select another.",
			      "");
	sf_fail(s, call, 400, "DUPLICATE_VALUE", NULL,
		"duplicate value found: %s duplicates value on record with id: %s", f->name,
		o->records[other].v[0]);
	return false;
}

/* ---- licences ---- */

static struct object *object_named(struct sf *s, const char *name)
{
	return schema_object(s, slice_of(name));
}

static int64_t number_of(const struct object *o, uint32_t number, const char *field)
{
	int64_t n = 0;

	slice_number(record_get(o, number, field), &n);
	return n;
}

static void add_used(struct object *o, uint32_t number, int by)
{
	char text[24];

	snprintf(text, sizeof text, "%lld", (long long)number_of(o, number, "UsedLicenses") + by);
	record_set(o, number, schema_field(o, SLICE("UsedLicenses")), slice_of(text));
}

static bool seat_free(const struct object *o, uint32_t number)
{
	return number == NONE ||
	       number_of(o, number, "UsedLicenses") < number_of(o, number, "TotalLicenses");
}

static uint32_t licence_of(struct sf *s, struct slice profile_id)
{
	const struct object *profiles = object_named(s, "Profile");
	uint32_t profile = profile_id.p ? id_find(profiles, profile_id) : NONE;

	return profile == NONE ? NONE
			       : id_find(object_named(s, "UserLicense"),
					 record_get(profiles, profile, "UserLicenseId"));
}

static bool is_active(const struct object *o, const struct change *c)
{
	struct slice value = after(o, c, "IsActive");

	return value.p ? slice_is(value, "true") : c->number == NONE;
}

static uint32_t licence_now(struct sf *s, const struct object *o, uint32_t number)
{
	if (number == NONE || !slice_is(record_get(o, number, "IsActive"), "true"))
		return NONE;
	return licence_of(s, record_get(o, number, "ProfileId"));
}

static bool licensed(struct sf *s, struct sim_call *call, const struct object *o,
		     const struct change *c)
{
	uint32_t wanted = is_active(o, c) ? licence_of(s, after(o, c, "ProfileId")) : NONE;

	if (wanted == NONE || wanted == licence_now(s, o, c->number) ||
	    seat_free(object_named(s, "UserLicense"), wanted))
		return true;
	sf_fail(s, call, 400, "LICENSE_LIMIT_EXCEEDED", NULL, "License Limit Exceeded");
	return false;
}

/* ---- the last administrator ---- */

static bool is_admin(struct sf *s, struct slice profile_id)
{
	const struct object *profiles = object_named(s, "Profile");
	uint32_t profile = profile_id.p ? id_find(profiles, profile_id) : NONE;

	return profile != NONE &&
	       slice_is(record_get(profiles, profile, "Name"), "System Administrator");
}

static bool admin_left(struct sf *s, struct sim_call *call, const struct object *o,
		       const struct change *c)
{
	if (c->number == NONE || is_active(o, c) ||
	    !slice_is(record_get(o, c->number, "IsActive"), "true") ||
	    !is_admin(s, record_get(o, c->number, "ProfileId")))
		return true;
	for (uint32_t i = 0; i < o->n; i++) {
		if (i != c->number && o->records[i].live &&
		    slice_is(record_get(o, i, "IsActive"), "true") &&
		    is_admin(s, record_get(o, i, "ProfileId")))
			return true;
	}
	return refuse(s, call, "CANNOT_DISABLE_LAST_ADMIN", NULL,
		      "You cannot deactivate the last administrator of the organization.", "");
}

/* ---- assignments ---- */

static bool assignment_new(struct sf *s, struct sim_call *call, const struct object *o,
			   const struct change *c)
{
	uint32_t number = NONE;
	int user = -1, what = -1;

	for (size_t i = 1; i < o->n_fields; i++) {
		if (o->fields[i].flags & F_INDEX)
			user = (int)i;
		else
			what = (int)i;
	}
	while ((number = record_find(o, user, c->value[user]->string, number)) != NONE) {
		if (!memcmp(o->records[number].v[what], c->value[what]->string.p, ID15)) {
			sf_fail(s, call, 400, "DUPLICATE_VALUE", NULL,
				"duplicate value found: %s duplicates value on record with id: %s",
				o->fields[what].name, o->records[number].v[0]);
			return false;
		}
	}
	if (strcmp(o->name, "PermissionSetLicenseAssign") == 0) {
		const struct object *licences = object_named(s, "PermissionSetLicense");

		if (!seat_free(licences, id_find(licences, c->value[what]->string))) {
			sf_fail(s, call, 400, "LICENSE_LIMIT_EXCEEDED", NULL,
				"license limit exceeded");
			return false;
		}
	}
	return true;
}

bool rules_allow(struct sf *s, struct sim_call *call, struct object *o, const struct change *c)
{
	if (!required(s, call, o, c))
		return false;
	for (size_t i = 0; i < o->n_fields; i++) {
		if (c->value[i] && !value_good(s, call, &o->fields[i], c->value[i]))
			return false;
	}
	for (size_t i = 0; i < o->n_fields; i++) {
		if (!unique(s, call, o, c, (int)i))
			return false;
	}
	if (strcmp(o->name, "User") == 0)
		return licensed(s, call, o, c) && admin_left(s, call, o, c);
	return !o->lock || c->number != NONE || assignment_new(s, call, o, c);
}

/* ---- the group lock ---- */

static bool needs_lock(const struct object *o, const struct change *c)
{
	int role = strcmp(o->name, "User") == 0 ? schema_field(o, SLICE("UserRoleId")) : -1;

	return o->lock ||
	       (given(c, role) && (c->number != NONE || json_is(c->value[role], JSON_STRING)));
}

bool rules_lock(struct sf *s, struct sim_call *call, const struct object *o, const struct change *c)
{
	int64_t now = sim_now_ms(s->sim), wait = s->lock_until_ms - now;

	if (!needs_lock(o, c))
		return true;
	wait = wait > 0 ? wait : 0;
	if (wait > s->knobs.lock_wait_ms) {
		s->lock_refused++;
		call->answer->delay_ms += s->knobs.lock_wait_ms;
		sf_fail(s, call, 400, "UNABLE_TO_LOCK_ROW", NULL,
			"unable to obtain exclusive access to this record");
		return false;
	}
	s->lock_writes++;
	s->lock_until_ms = now + wait + s->knobs.lock_ms;
	call->answer->delay_ms += wait + s->knobs.lock_ms;
	return true;
}

/* ---- what follows by itself ---- */

static void set(struct object *o, uint32_t number, const char *field, struct slice value)
{
	record_set(o, number, schema_field(o, slice_of(field)), value);
}

static void full_name(struct object *o, uint32_t number)
{
	struct slice first = record_get(o, number, "FirstName");
	struct slice last = record_get(o, number, "LastName");
	struct text name = {0};

	if (first.p)
		text_fmt(&name, "%.*s ", (int)first.n, first.p);
	text_slice(&name, last);
	set(o, number, "Name", slice_from(&name));
	text_free(&name);
}

/* A new user has a login, and the permission set that its profile owns. */
static void begin_user(struct sf *s, struct object *o, uint32_t number)
{
	struct object *logins = object_named(s, "UserLogin"),
		      *sets = object_named(s, "PermissionSet");
	struct object *assigns = object_named(s, "PermissionSetAssignment");
	struct slice id = slice_of(o->records[number].v[0]);
	struct slice profile = record_get(o, number, "ProfileId");
	uint32_t login = record_add(logins);

	set(logins, login, "UserId", id);
	set(logins, login, "IsFrozen", SLICE("false"));
	set(o, number, "UserType", SLICE("Standard"));
	for (uint32_t i = 0; i < sets->n; i++) {
		struct slice owner = record_get(sets, i, "ProfileId");
		uint32_t assign;

		if (!owner.p || !profile.p || !slice_equal(owner, profile))
			continue;
		assign = record_add(assigns);
		set(assigns, assign, "AssigneeId", id);
		set(assigns, assign, "PermissionSetId", slice_of(sets->records[i].v[0]));
	}
}

static void after_user(struct sf *s, struct object *o, const struct change *c, uint32_t number,
		       uint32_t before)
{
	struct object *licences = object_named(s, "UserLicense");
	struct text now = {0};
	uint32_t licence;

	if (c->number == NONE && !record_get(o, number, "IsActive").p)
		set(o, number, "IsActive", SLICE("true"));
	text_time(&now, sim_now_ms(s->sim), true);
	set(o, number, "LastModifiedDate", slice_from(&now));
	if (c->number == NONE) {
		set(o, number, "CreatedDate", slice_from(&now));
		begin_user(s, o, number);
	}
	text_free(&now);
	full_name(o, number);
	licence = licence_now(s, o, number);
	if (licence == before)
		return;
	if (before != NONE)
		add_used(licences, before, -1);
	if (licence != NONE)
		add_used(licences, licence, 1);
}

uint32_t rules_licence(struct sf *s, const struct object *o, uint32_t number)
{
	return strcmp(o->name, "User") == 0 ? licence_now(s, o, number) : NONE;
}

void rules_after(struct sf *s, struct object *o, const struct change *c, uint32_t number,
		 uint32_t before)
{
	bool created = c->number == NONE && c->value[1];
	struct object *licences = object_named(s, "PermissionSetLicense");
	struct slice licence = record_get(o, number, "PermissionSetLicenseId");

	if (strcmp(o->name, "User") == 0)
		after_user(s, o, c, number, before);
	else if (strcmp(o->name, "PermissionSetLicenseAssign") == 0 && licence.p)
		add_used(licences, id_find(licences, licence), created ? 1 : -1);
}
