#include "schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STRING(name)                                                                               \
	{                                                                                          \
		name, ATTR_STRING, 0, NULL                                                         \
	}
#define STRING_FLAGS(n, f)                                                                         \
	{                                                                                          \
		n, ATTR_STRING, f, NULL                                                            \
	}
#define END                                                                                        \
	{                                                                                          \
		NULL, ATTR_STRING, 0, NULL                                                         \
	}

static const struct attr plural_subs[] = {STRING("value"),
					  STRING("display"),
					  STRING("type"),
					  {"primary", ATTR_BOOLEAN, 0, NULL},
					  END};
static const struct attr photo_subs[] = {{"value", ATTR_REFERENCE, ATTR_EXACT, NULL},
					 STRING("display"),
					 STRING("type"),
					 {"primary", ATTR_BOOLEAN, 0, NULL},
					 END};
static const struct attr certificate_subs[] = {{"value", ATTR_BINARY, ATTR_EXACT, NULL},
					       STRING("display"),
					       STRING("type"),
					       {"primary", ATTR_BOOLEAN, 0, NULL},
					       END};
static const struct attr name_subs[] = {STRING("formatted"),
					STRING("familyName"),
					STRING("givenName"),
					STRING("middleName"),
					STRING("honorificPrefix"),
					STRING("honorificSuffix"),
					END};
static const struct attr address_subs[] = {STRING("formatted"),
					   STRING("streetAddress"),
					   STRING("locality"),
					   STRING("region"),
					   STRING("postalCode"),
					   STRING("country"),
					   STRING("type"),
					   {"primary", ATTR_BOOLEAN, 0, NULL},
					   END};
static const struct attr group_ref_subs[] = {STRING_FLAGS("value", ATTR_READ_ONLY),
					     {"$ref", ATTR_REFERENCE, ATTR_READ_ONLY, NULL},
					     STRING_FLAGS("display", ATTR_READ_ONLY),
					     STRING_FLAGS("type", ATTR_READ_ONLY),
					     END};
static const struct attr meta_subs[] = {STRING_FLAGS("resourceType", ATTR_READ_ONLY | ATTR_EXACT),
					{"created", ATTR_DATE, ATTR_READ_ONLY, NULL},
					{"lastModified", ATTR_DATE, ATTR_READ_ONLY, NULL},
					{"location", ATTR_REFERENCE, ATTR_READ_ONLY, NULL},
					STRING_FLAGS("version", ATTR_READ_ONLY | ATTR_EXACT),
					END};
static const struct attr manager_subs[] = {STRING_FLAGS("value", ATTR_EXACT),
					   {"$ref", ATTR_REFERENCE, ATTR_EXACT, NULL},
					   STRING_FLAGS("displayName", ATTR_READ_ONLY),
					   END};
static const struct attr member_subs[] = {STRING_FLAGS("value", ATTR_EXACT),
					  {"$ref", ATTR_REFERENCE, ATTR_EXACT, NULL},
					  STRING("type"),
					  STRING("display"),
					  END};

#define COMMON                                                                                     \
	{"schemas", ATTR_REFERENCE, ATTR_READ_ONLY | ATTR_MULTI | ATTR_EXACT | ATTR_COMMON, NULL}, \
		{"id", ATTR_STRING, ATTR_READ_ONLY | ATTR_EXACT | ATTR_COMMON, NULL},              \
		{"meta", ATTR_COMPLEX, ATTR_READ_ONLY | ATTR_COMMON, meta_subs},                   \
	{                                                                                          \
		"externalId", ATTR_STRING, ATTR_EXACT | ATTR_COMMON, NULL                          \
	}

static const struct attr user_attrs[] = {
	COMMON,
	STRING_FLAGS("userName", ATTR_REQUIRED | ATTR_UNIQUE),
	{"name", ATTR_COMPLEX, 0, name_subs},
	STRING("displayName"),
	STRING("nickName"),
	{"profileUrl", ATTR_REFERENCE, ATTR_EXACT, NULL},
	STRING("title"),
	STRING("userType"),
	STRING("preferredLanguage"),
	STRING("locale"),
	STRING("timezone"),
	{"active", ATTR_BOOLEAN, 0, NULL},
	STRING_FLAGS("password", ATTR_WRITE_ONLY | ATTR_EXACT),
	{"emails", ATTR_COMPLEX, ATTR_MULTI, plural_subs},
	{"phoneNumbers", ATTR_COMPLEX, ATTR_MULTI, plural_subs},
	{"ims", ATTR_COMPLEX, ATTR_MULTI, plural_subs},
	{"photos", ATTR_COMPLEX, ATTR_MULTI, photo_subs},
	{"addresses", ATTR_COMPLEX, ATTR_MULTI, address_subs},
	{"groups", ATTR_COMPLEX, ATTR_MULTI | ATTR_READ_ONLY, group_ref_subs},
	{"entitlements", ATTR_COMPLEX, ATTR_MULTI, plural_subs},
	{"roles", ATTR_COMPLEX, ATTR_MULTI, plural_subs},
	{"x509Certificates", ATTR_COMPLEX, ATTR_MULTI, certificate_subs},
	END,
};
static const struct attr enterprise_attrs[] = {
	STRING("employeeNumber"),
	STRING("costCenter"),
	STRING("organization"),
	STRING("division"),
	STRING("department"),
	{"manager", ATTR_COMPLEX, 0, manager_subs},
	END,
};
static const struct attr group_attrs[] = {
	COMMON,
	STRING_FLAGS("displayName", ATTR_REQUIRED),
	{"members", ATTR_COMPLEX, ATTR_MULTI, member_subs},
	END,
};

const struct schema schema_enterprise = {
	.urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
	.name = "EnterpriseUser",
	.attrs = enterprise_attrs,
};
const struct schema schema_user = {
	.urn = "urn:ietf:params:scim:schemas:core:2.0:User",
	.name = "User",
	.attrs = user_attrs,
	.extension = &schema_enterprise,
};
const struct schema schema_group = {
	.urn = "urn:ietf:params:scim:schemas:core:2.0:Group",
	.name = "Group",
	.attrs = group_attrs,
};

bool scim_fail(struct scim_error *ret_error, int status, const char *type, const char *format, ...)
{
	va_list args;

	ret_error->status = status;
	ret_error->type = type;
	va_start(args, format);
	vsnprintf(ret_error->detail, sizeof ret_error->detail, format, args);
	va_end(args);
	return false;
}

const struct attr *schema_find(const struct attr *attrs, struct slice name)
{
	for (; attrs && attrs->name; attrs++) {
		if (slice_is_nocase(name, attrs->name))
			return attrs;
	}
	return NULL;
}

static struct slice take_name(struct slice *rest)
{
	size_t n = 0;

	while (n < rest->n && (rest->p[n] == '$' || rest->p[n] == '_' || rest->p[n] == '-' ||
			       (rest->p[n] >= '0' && rest->p[n] <= '9') ||
			       ((rest->p[n] | 0x20) >= 'a' && (rest->p[n] | 0x20) <= 'z')))
		n++;
	struct slice name = {rest->p, n};
	*rest = (struct slice){rest->p + n, rest->n - n};
	return name;
}

/* Skips urn if *rest begins with it and the name ends there. */
static bool take_urn(struct slice *rest, const char *urn)
{
	size_t n = strlen(urn);

	if (rest->n < n || !slice_is_nocase((struct slice){rest->p, n}, urn))
		return false;
	if (rest->n > n && rest->p[n] != ':' && rest->p[n] != ' ')
		return false;
	*rest = (struct slice){rest->p + n, rest->n - n};
	return true;
}

/* The text between a bracket and its partner, mindful of strings. */
static bool take_filter(struct slice *rest, struct slice *ret_filter)
{
	bool quoted = false;

	for (size_t i = 1; i < rest->n; i++) {
		char c = rest->p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == ']' && !quoted) {
			*ret_filter = (struct slice){rest->p + 1, i - 1};
			*rest = (struct slice){rest->p + i + 1, rest->n - i - 1};
			return true;
		}
	}
	return false;
}

bool schema_path(const struct schema *schema, struct slice *rest, struct attr_path *ret_path)
{
	*ret_path = (struct attr_path){.schema = schema};
	if (schema->extension && take_urn(rest, schema->extension->urn)) {
		ret_path->schema = schema->extension;
		ret_path->extension = true;
		if (!rest->n || *rest->p != ':')
			return true;
		*rest = (struct slice){rest->p + 1, rest->n - 1};
	} else if (take_urn(rest, schema->urn)) {
		if (!rest->n || *rest->p != ':')
			return false;
		*rest = (struct slice){rest->p + 1, rest->n - 1};
	}
	ret_path->attr = schema_find(ret_path->schema->attrs, take_name(rest));
	if (!ret_path->attr)
		return false;
	if (rest->n && *rest->p == '[') {
		ret_path->filtered = true;
		if (!(ret_path->attr->flags & ATTR_MULTI) || !take_filter(rest, &ret_path->filter))
			return false;
	}
	if (rest->n && *rest->p == '.') {
		*rest = (struct slice){rest->p + 1, rest->n - 1};
		ret_path->sub = schema_find(ret_path->attr->subs, take_name(rest));
		return ret_path->sub != NULL;
	}
	return true;
}

struct check {
	struct arena *arena;
	const struct schema_leniency *lenient;
	struct scim_error *error;
};

static struct json *check_one(struct check *ck, const struct attr *attr, const struct json *in);

/* Into a fresh object, in the order of the table; NULL on an error. */
static struct json *check_object(struct check *ck, const struct attr *attrs, const struct json *in)
{
	struct json *out = json_make(ck->arena, JSON_OBJECT);

	JSON_EACH(child, in)
	{
		const struct attr *attr = schema_find(attrs, child->key);

		if (!attr && slice_starts(child->key, "urn:"))
			continue;
		if (!attr && !ck->lenient->unknown) {
			scim_fail(ck->error, 400, "invalidValue", "Attribute '%.*s' is not known.",
				  (int)child->key.n, child->key.p);
			return NULL;
		}
		if (attr && (attr->flags & ATTR_READ_ONLY) && !slice_is(child->key, "schemas") &&
		    !ck->lenient->read_only) {
			scim_fail(ck->error, 400, "mutability", "Attribute '%s' is readOnly.",
				  attr->name);
			return NULL;
		}
	}
	for (; attrs->name; attrs++) {
		struct json *child = json_get_nocase(in, slice_of(attrs->name));

		if (!child || (attrs->flags & ATTR_READ_ONLY) || child->type == JSON_NULL ||
		    (child->type == JSON_ARRAY && !child->count))
			continue;
		struct json *value = check_one(ck, attrs, child);
		if (!value)
			return NULL;
		if (value->type != JSON_NULL)
			json_append(out, slice_of(attrs->name), value);
	}
	return out;
}

static struct json *wrong(struct check *ck, const struct attr *attr, const char *expected)
{
	scim_fail(ck->error, 400, "invalidValue", "Attribute '%s' expected %s.", attr->name,
		  expected);
	return NULL;
}

static struct json *check_boolean(struct check *ck, const struct attr *attr, const struct json *in)
{
	if (json_is_bool(in))
		return json_bool(ck->arena, in->type == JSON_TRUE);
	if (ck->lenient->booleans && in->type == JSON_STRING) {
		if (slice_is_nocase(in->string, "true") || slice_is_nocase(in->string, "false"))
			return json_bool(ck->arena, slice_is_nocase(in->string, "true"));
	}
	return wrong(ck, attr, "a boolean");
}

/* One value, not the array of a multi-valued attribute. */
static struct json *check_value(struct check *ck, const struct attr *attr, const struct json *in)
{
	if (attr->type == ATTR_BOOLEAN)
		return check_boolean(ck, attr, in);
	if (attr->type == ATTR_COMPLEX) {
		if (in->type != JSON_OBJECT)
			return wrong(ck, attr, "a complex value");
		return check_object(ck, attr->subs, in);
	}
	if (in->type != JSON_STRING)
		return wrong(ck, attr, "a string");
	if ((attr->flags & ATTR_REQUIRED) && !slice_trim(in->string).n)
		return wrong(ck, attr, "a string that is not empty");
	return json_string(ck->arena, in->string);
}

static struct json *check_many(struct check *ck, const struct attr *attr, const struct json *in)
{
	struct json *out = json_make(ck->arena, JSON_ARRAY);
	int primaries = 0;

	if (in->type != JSON_ARRAY)
		return wrong(ck, attr, "an array");
	JSON_EACH(item, in)
	{
		struct json *value = check_value(ck, attr, item);

		if (!value)
			return NULL;
		primaries += json_get_bool(value, "primary", false);
		struct json *address = json_get(value, "value");
		if (!strcmp(attr->name, "emails") &&
		    (!address || !memchr(address->string.p, '@', address->string.n)))
			return wrong(ck, attr, "a value with an e-mail address");
		json_append(out, (struct slice){0}, value);
	}
	if (primaries > 1)
		return wrong(ck, attr, "at most one value with primary true");
	return out;
}

static struct json *check_one(struct check *ck, const struct attr *attr, const struct json *in)
{
	struct json *value;

	if (attr->flags & ATTR_MULTI)
		return check_many(ck, attr, in);
	value = check_value(ck, attr, in);
	if (value && value->type == JSON_OBJECT && !value->count)
		value->type = JSON_NULL;
	return value;
}

static bool lists_schema(const struct json *in, const char *urn)
{
	struct json *schemas = json_get_nocase(in, SLICE("schemas"));

	if (!json_is(schemas, JSON_ARRAY))
		return false;
	JSON_EACH(item, schemas)
	{
		if (item->type == JSON_STRING && slice_is_nocase(item->string, urn))
			return true;
	}
	return false;
}

/* Extension objects: known to the resource type, and (whole) announced in schemas. */
static bool check_extensions(struct check *ck, const struct schema *schema, const struct json *in,
			     bool whole, struct json *out)
{
	JSON_EACH(child, in)
	{
		const struct schema *extension = schema->extension;

		if (!slice_starts(child->key, "urn:"))
			continue;
		if (!extension || !slice_is_nocase(child->key, extension->urn)) {
			if (ck->lenient->unknown)
				continue;
			return scim_fail(ck->error, 400, "invalidValue",
					 "Schema extension '%.*s' is not known.", (int)child->key.n,
					 child->key.p);
		}
		if (whole && !ck->lenient->unknown && !lists_schema(in, extension->urn))
			return scim_fail(ck->error, 400, "invalidSyntax",
					 "Extension '%s' is not listed in schemas.",
					 extension->urn);
		if (child->type == JSON_NULL)
			continue;
		if (child->type != JSON_OBJECT)
			return scim_fail(ck->error, 400, "invalidValue",
					 "An extension must be an object.");
		struct json *value = check_object(ck, extension->attrs, child);
		if (!value)
			return false;
		if (value->count)
			json_append(out, slice_of(extension->urn), value);
	}
	return true;
}

struct json *schema_check(struct arena *arena, const struct schema *schema, const struct json *in,
			  const struct schema_leniency *lenient, bool whole,
			  struct scim_error *ret_error)
{
	struct check ck = {arena, lenient, ret_error};
	struct json *out;

	if (!json_is(in, JSON_OBJECT)) {
		scim_fail(ret_error, 400, "invalidSyntax", "The body must be a JSON object.");
		return NULL;
	}
	if (whole && !lists_schema(in, schema->urn)) {
		scim_fail(ret_error, 400, "invalidSyntax", "schemas does not list '%s'.",
			  schema->urn);
		return NULL;
	}
	out = check_object(&ck, schema->attrs, in);
	if (!out || !check_extensions(&ck, schema, in, whole, out))
		return NULL;
	for (const struct attr *attr = schema->attrs; attr->name; attr++) {
		if ((attr->flags & ATTR_REQUIRED) && !json_get(out, attr->name)) {
			scim_fail(ret_error, 400, "invalidValue",
				  "Required attribute '%s' is missing.", attr->name);
			return NULL;
		}
	}
	return out;
}

static void print_attr(const struct attr *attr, struct text *out)
{
	static const char *const types[] = {"string",	"boolean", "reference",
					    "dateTime", "binary",  "complex"};
	int flags = attr->flags;

	text_fmt(out,
		 "{\"name\":\"%s\",\"type\":\"%s\",\"multiValued\":%s,\"description\":\"\","
		 "\"required\":%s,\"caseExact\":%s,\"mutability\":\"%s\",\"returned\":\"%s\","
		 "\"uniqueness\":\"%s\"",
		 attr->name, types[attr->type], flags & ATTR_MULTI ? "true" : "false",
		 flags & ATTR_REQUIRED ? "true" : "false", flags & ATTR_EXACT ? "true" : "false",
		 flags & ATTR_READ_ONLY	   ? "readOnly"
		 : flags & ATTR_WRITE_ONLY ? "writeOnly"
					   : "readWrite",
		 flags & ATTR_WRITE_ONLY ? "never" : "default",
		 flags & ATTR_UNIQUE ? "server" : "none");
	if (attr->subs) {
		text_str(out, ",\"subAttributes\":[");
		for (const struct attr *sub = attr->subs; sub->name; sub++) {
			if (sub != attr->subs)
				text_char(out, ',');
			print_attr(sub, out);
		}
		text_char(out, ']');
	}
	text_char(out, '}');
}

void schema_print(const struct schema *schema, struct text *out)
{
	bool first = true;

	text_fmt(out,
		 "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:Schema\"],\"id\":\"%s\","
		 "\"name\":\"%s\",\"description\":\"\",\"attributes\":[",
		 schema->urn, schema->name);
	for (const struct attr *attr = schema->attrs; attr->name; attr++) {
		if (attr->flags & ATTR_COMMON)
			continue;
		if (!first)
			text_char(out, ',');
		first = false;
		print_attr(attr, out);
	}
	text_fmt(out, "],\"meta\":{\"resourceType\":\"Schema\",\"location\":\"Schemas/%s\"}}",
		 schema->urn);
}
