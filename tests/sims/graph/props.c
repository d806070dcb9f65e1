#include "props.h"

#include <string.h>

static const struct prop props[] = {
	{"id", PROP_STRING, PROP_DEFAULT | PROP_READ_ONLY | PROP_FILTER | PROP_APART, 0},
	{"businessPhones", PROP_STRINGS, PROP_DEFAULT | PROP_SENSITIVE, 1},
	{"displayName", PROP_STRING, PROP_DEFAULT | PROP_NO_NULL | PROP_FILTER, 256},
	{"givenName", PROP_STRING, PROP_DEFAULT | PROP_FILTER, 64},
	{"jobTitle", PROP_STRING, PROP_DEFAULT | PROP_FILTER, 128},
	{"mail", PROP_STRING, PROP_DEFAULT | PROP_NO_NULL | PROP_FILTER, 256},
	{"mobilePhone", PROP_STRING, PROP_DEFAULT | PROP_SENSITIVE, 64},
	{"officeLocation", PROP_STRING, PROP_DEFAULT | PROP_FILTER, 128},
	{"preferredLanguage", PROP_STRING, PROP_DEFAULT, 64},
	{"surname", PROP_STRING, PROP_DEFAULT | PROP_FILTER, 64},
	{"userPrincipalName", PROP_STRING,
	 PROP_DEFAULT | PROP_NO_NULL | PROP_SENSITIVE | PROP_FILTER | PROP_APART, 113},
	{"accountEnabled", PROP_BOOL, PROP_NO_NULL | PROP_SENSITIVE | PROP_FILTER, 0},
	{"ageGroup", PROP_STRING, 0, 64},
	{"assignedLicenses", PROP_OBJECT, PROP_READ_ONLY | PROP_APART, 0},
	{"city", PROP_STRING, PROP_FILTER, 128},
	{"companyName", PROP_STRING, PROP_FILTER, 64},
	{"consentProvidedForMinor", PROP_STRING, 0, 64},
	{"country", PROP_STRING, PROP_FILTER, 128},
	{"createdDateTime", PROP_DATE, PROP_READ_ONLY | PROP_APART, 0},
	{"deletedDateTime", PROP_DATE, PROP_READ_ONLY | PROP_APART, 0},
	{"department", PROP_STRING, PROP_FILTER, 64},
	{"employeeHireDate", PROP_DATE, 0, 0},
	{"employeeId", PROP_STRING, PROP_FILTER, 16},
	{"employeeOrgData", PROP_OBJECT, 0, 0},
	{"employeeType", PROP_STRING, PROP_FILTER, 64},
	{"faxNumber", PROP_STRING, 0, 64},
	{"lastPasswordChangeDateTime", PROP_DATE, PROP_READ_ONLY | PROP_APART, 0},
	{"licenseAssignmentStates", PROP_OBJECT, PROP_READ_ONLY | PROP_APART, 0},
	{"mailNickname", PROP_STRING, PROP_NO_NULL | PROP_FILTER, 64},
	{"onPremisesDistinguishedName", PROP_STRING, PROP_READ_ONLY, 0},
	{"onPremisesDomainName", PROP_STRING, PROP_READ_ONLY, 0},
	{"onPremisesExtensionAttributes", PROP_OBJECT, 0, 0},
	{"onPremisesImmutableId", PROP_STRING, PROP_SENSITIVE | PROP_FILTER, 256},
	{"onPremisesLastSyncDateTime", PROP_DATE, PROP_READ_ONLY, 0},
	{"onPremisesSamAccountName", PROP_STRING, PROP_READ_ONLY, 0},
	{"onPremisesSecurityIdentifier", PROP_STRING, PROP_READ_ONLY, 0},
	{"onPremisesSyncEnabled", PROP_BOOL, PROP_READ_ONLY | PROP_FILTER | PROP_APART, 0},
	{"onPremisesUserPrincipalName", PROP_STRING, PROP_READ_ONLY, 0},
	{"otherMails", PROP_STRINGS, PROP_SENSITIVE, 250},
	{"passwordPolicies", PROP_STRING, 0, 64},
	{"passwordProfile", PROP_OBJECT, PROP_SENSITIVE | PROP_APART, 0},
	{"postalCode", PROP_STRING, 0, 40},
	{"proxyAddresses", PROP_STRINGS, PROP_READ_ONLY | PROP_APART, 0},
	{"signInSessionsValidFromDateTime", PROP_DATE, PROP_READ_ONLY | PROP_APART, 0},
	{"state", PROP_STRING, PROP_FILTER, 128},
	{"streetAddress", PROP_STRING, 0, 1024},
	{"usageLocation", PROP_STRING, PROP_NO_NULL | PROP_CLOUD | PROP_FILTER, 2},
	{"userType", PROP_STRING, PROP_FILTER, 64},
};

/* Not writable by an application, and only in a PATCH of their own. */
static const char *const personal[] = {
	"aboutMe",	    "birthday", "interests", "mySite",	      "pastProjects",
	"responsibilities", "schools",	"skills",    "preferredName", NULL};

enum { PROPS = sizeof props / sizeof *props };

const struct prop *prop_at(size_t i)
{
	return i < PROPS ? &props[i] : NULL;
}

const struct prop *prop_find(struct slice name)
{
	for (size_t i = 0; i < PROPS; i++) {
		if (slice_is_nocase(name, props[i].name))
			return &props[i];
	}
	return NULL;
}

static bool invalid(struct graph *g, struct sim_call *call, const char *name)
{
	struct text message = {0};

	text_fmt(&message, "Invalid value specified for property '%s' of resource 'User'.", name);
	graph_conflict(g, call, message.p, "InvalidValue", name);
	text_free(&message);
	return false;
}

static size_t utf16_length(struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		n += (c & 0xc0) != 0x80;
		n += c >= 0xf0;
	}
	return n;
}

static bool domain_verified(const struct graph *g, struct slice domain)
{
	struct slice list = slice_of(g->knobs.domains);

	while (list.n) {
		if (slice_equal_nocase(slice_cut(&list, ','), domain))
			return true;
	}
	return false;
}

static bool only_chars(struct slice s, const char *others)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], folded = (char)(c | 0x20);

		if (!(c >= '0' && c <= '9') && !(folded >= 'a' && folded <= 'z') &&
		    (!c || !strchr(others, c)))
			return false;
	}
	return s.n > 0;
}

static bool upn_good(const struct graph *g, struct slice upn)
{
	struct slice domain = upn;
	struct slice local = slice_cut(&domain, '@');

	return upn.n <= 113 && local.n && local.n <= 64 && domain.n <= 48 &&
	       local.p[local.n - 1] != '.' && only_chars(local, "'.-_!#^~") &&
	       domain_verified(g, domain);
}

static bool password_good(struct slice s)
{
	int classes[4] = {0};

	if (!s.n)
		return true; /* blank is allowed */
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c > '~')
			return false;
		classes[c >= 'a' && c <= 'z'   ? 0
			: c >= 'A' && c <= 'Z' ? 1
			: c >= '0' && c <= '9' ? 2
					       : 3] = 1;
	}
	return s.n >= 8 && s.n <= 256 && classes[0] + classes[1] + classes[2] + classes[3] >= 3;
}

static bool read_password(struct graph *g, struct sim_call *call, const struct json *profile,
			  struct change *change)
{
	JSON_EACH(child, profile)
	{
		bool flag = slice_is_nocase(child->key, "forceChangePasswordNextSignIn") ||
			    slice_is_nocase(child->key, "forceChangePasswordNextSignInWithMfa");

		if (flag ? !json_is_bool(child) : !slice_is_nocase(child->key, "password"))
			return invalid(g, call, "passwordProfile");
	}
	struct json *password = json_get_nocase(profile, SLICE("password"));
	if (!password)
		return true;
	if (password->type != JSON_STRING || !password_good(password->string)) {
		graph_conflict(g, call,
			       "The specified password does not comply with password complexity "
			       "requirements. Please provide a different password.",
			       "PasswordComplexity", "password");
		return false;
	}
	change->has_password = true;
	change->password = hash_bytes(password->string.p, password->string.n);
	return true;
}

/* employeeOrgData: an omitted part becomes null; extension attributes: 1 to 15, strings or null. */
static bool object_good(const struct prop *prop, const struct json *value)
{
	bool extension = !strcmp(prop->name, "onPremisesExtensionAttributes");

	JSON_EACH(child, value)
	{
		int64_t number;
		struct slice digits = {child->key.p + 18, child->key.n - 18};

		if (child->type != JSON_STRING && child->type != JSON_NULL)
			return false;
		if (!extension && !slice_is(child->key, "division") &&
		    !slice_is(child->key, "costCenter"))
			return false;
		if (extension &&
		    (child->key.n < 19 || !slice_starts(child->key, "extensionAttribute") ||
		     !slice_number(digits, &number) || number < 1 || number > 15))
			return false;
	}
	return true;
}

static bool string_good(const struct prop *prop, struct slice s)
{
	const char *name = prop->name;

	if (!s.n || (prop->max && utf16_length(s) > (size_t)prop->max))
		return false;
	if (!strcmp(name, "usageLocation"))
		return s.n == 2 && s.p[0] >= 'A' && s.p[0] <= 'Z' && s.p[1] >= 'A' && s.p[1] <= 'Z';
	if (!strcmp(name, "onPremisesImmutableId"))
		return !memchr(s.p, '$', s.n) && !memchr(s.p, '_', s.n);
	if (!strcmp(name, "mailNickname"))
		return only_chars(s, "!#$%&'*+-/=?^_`{|}~.");
	if (!strcmp(name, "mail"))
		return memchr(s.p, '@', s.n) != NULL;
	if (!strcmp(name, "userType"))
		return slice_is(s, "Member") || slice_is(s, "Guest");
	return true;
}

static bool value_good(const struct prop *prop, const struct json *value)
{
	if (value->type == JSON_NULL)
		return !(prop->flags & PROP_NO_NULL) && prop->type != PROP_STRINGS;
	if (prop->type == PROP_BOOL)
		return json_is_bool(value);
	if (prop->type == PROP_OBJECT)
		return value->type == JSON_OBJECT && object_good(prop, value);
	if (prop->type == PROP_STRINGS) {
		if (value->type != JSON_ARRAY || value->count > (uint32_t)prop->max)
			return false;
		JSON_EACH(item, value)
		{
			if (item->type != JSON_STRING || !item->string.n || item->string.n > 250)
				return false;
		}
		return true;
	}
	if (prop->type == PROP_DATE)
		return value->type == JSON_STRING && value->string.n >= 10;
	return value->type == JSON_STRING && string_good(prop, value->string);
}

static bool known_and_writable(struct graph *g, struct sim_call *call, const struct json *child,
			       const struct prop *prop)
{
	struct text message = {0};

	if (prop && !(prop->flags & PROP_READ_ONLY))
		return true;
	for (int i = 0; !prop && personal[i]; i++) {
		if (slice_is_nocase(child->key, personal[i]))
			text_str(&message, "Insufficient privileges to complete the operation.");
	}
	if (message.n)
		graph_error(g, call, 403, "Authorization_RequestDenied", "%s", message.p);
	else if (prop)
		graph_error(g, call, 400, "Request_BadRequest",
			    "Property '%s' is read-only and cannot be set.", prop->name);
	else
		graph_error(g, call, 400, "Request_BadRequest",
			    "One or more property values specified are invalid. The property "
			    "'%.*s' does "
			    "not exist on type 'microsoft.graph.user'.",
			    (int)child->key.n, child->key.p);
	text_free(&message);
	return false;
}

static bool read_upn(struct graph *g, struct sim_call *call, const struct json *value,
		     struct change *change)
{
	if (value->type == JSON_STRING && upn_good(g, value->string)) {
		change->upn = value->string;
		return true;
	}
	graph_conflict(g, call, "Property userPrincipalName is invalid.", "InvalidValue",
		       "userPrincipalName");
	return false;
}

static bool merge_one(struct graph *g, struct sim_call *call, const struct json *child,
		      struct change *change)
{
	const struct prop *prop = prop_find(child->key);

	if (slice_starts(child->key, "@odata."))
		return true;
	if (!known_and_writable(g, call, child, prop))
		return false;
	change->sensitive |= (prop->flags & PROP_SENSITIVE) != 0;
	change->mastered |= !(prop->flags & PROP_CLOUD);
	if (!strcmp(prop->name, "userPrincipalName"))
		return read_upn(g, call, child, change);
	if (!strcmp(prop->name, "passwordProfile"))
		return child->type == JSON_OBJECT ? read_password(g, call, child, change)
						  : invalid(g, call, prop->name);
	if (!value_good(prop, child))
		return invalid(g, call, prop->name);
	struct json *old = json_get(change->doc, prop->name);
	bool cleared = child->type == JSON_NULL || (child->type == JSON_ARRAY && !child->count);
	if (cleared && old)
		json_remove(change->doc, old);
	else if (!cleared)
		json_set(change->doc, slice_of(prop->name), json_copy(&g->sim->arena, child));
	return true;
}

bool props_merge(struct graph *g, struct sim_call *call, const struct json *body,
		 const struct json *before, struct change *ret_change)
{
	struct json *ordered = json_make(&g->sim->arena, JSON_OBJECT);

	*ret_change = (struct change){0};
	ret_change->doc =
		before ? json_copy(&g->sim->arena, before) : json_make(&g->sim->arena, JSON_OBJECT);
	JSON_EACH(child, body)
	{
		if (!merge_one(g, call, child, ret_change))
			return false;
	}
	for (size_t i = 0; i < PROPS; i++) { /* in the order of the table */
		struct json *value = json_get(ret_change->doc, props[i].name);

		if (value)
			json_append(ordered, slice_of(props[i].name),
				    json_copy(&g->sim->arena, value));
	}
	ret_change->doc = ordered;
	ret_change->immutable = json_get_string(ordered, "onPremisesImmutableId");
	ret_change->mail = json_get_string(ordered, "mail");
	ret_change->enabled = json_get_bool(ordered, "accountEnabled", false);
	return true;
}

static void print_date(int64_t unix_ms, struct text *out)
{
	if (!unix_ms) {
		text_str(out, "null");
		return;
	}
	text_char(out, '"');
	text_time(out, unix_ms, false);
	text_char(out, '"');
}

/* The group that brings a licence. */
static void print_bringer(const struct graph *g, const struct user *user, uint32_t sku,
			  struct text *out)
{
	char id[UUID_TEXT + 1];

	for (uint32_t i = 0; i < user->n_groups; i++) {
		const struct group *group = &g->dir.groups[user->groups[i]];

		if (!(group->licences >> sku & 1))
			continue;
		uuid_print(group->id, id);
		text_fmt(out, "\"%s\"", id);
		return;
	}
}

static void print_licence(const struct graph *g, const struct user *user, uint32_t sku, bool direct,
			  struct text *out)
{
	const char *plans = direct && user->plans ? user->plans[sku] : NULL;

	text_fmt(out, "%s{\"skuId\":\"%s\",\"disabledPlans\":%s",
		 out->p[out->n - 1] == '[' ? "" : ",", g->dir.skus[sku].id, plans ? plans : "[]");
}

static void print_licences(const struct graph *g, const struct user *user, bool states,
			   struct text *out)
{
	text_char(out, '[');
	for (uint32_t i = 0; i < g->dir.n_skus; i++) {
		bool direct = user->licences >> i & 1, brought = user->inherited >> i & 1;

		if (direct || (brought && !states)) {
			print_licence(g, user, i, direct, out);
			text_str(out, states ? ",\"assignedByGroup\":null,\"state\":\"Active\","
					       "\"error\":\"None\"}"
					     : "}");
		}
		if (!brought || !states)
			continue;
		print_licence(g, user, i, false, out);
		text_str(out, ",\"assignedByGroup\":");
		print_bringer(g, user, i, out);
		text_str(out, ",\"state\":\"Active\",\"error\":\"None\"}");
	}
	text_char(out, ']');
}

static void print_apart(struct graph *g, const struct prop *prop, const struct user *user,
			struct text *out)
{
	const char *name = prop->name;
	char id[UUID_TEXT + 1];

	uuid_print(user->id, id);
	if (!strcmp(name, "id"))
		text_fmt(out, "\"%s\"", id);
	else if (!strcmp(name, "userPrincipalName"))
		text_json(out, slice_of(user->upn));
	else if (!strcmp(name, "createdDateTime"))
		print_date(user->created_ms, out);
	else if (!strcmp(name, "deletedDateTime"))
		print_date(user->live ? 0 : user->deleted_ms, out);
	else if (!strcmp(name, "lastPasswordChangeDateTime"))
		print_date(user->password_ms, out);
	else if (!strcmp(name, "signInSessionsValidFromDateTime"))
		print_date(user->sessions_ms, out);
	else if (!strcmp(name, "assignedLicenses"))
		print_licences(g, user, false, out);
	else if (!strcmp(name, "licenseAssignmentStates"))
		print_licences(g, user, true, out);
	else if (!strcmp(name, "onPremisesSyncEnabled"))
		text_str(out, user->synced ? "true" : "null");
	else if (!strcmp(name, "proxyAddresses") && *user->mail)
		text_fmt(out, "[\"SMTP:%s\"]", user->mail);
	else
		text_str(out, prop->type == PROP_STRINGS ? "[]" : "null");
}

void props_print(struct graph *g, const struct prop *prop, uint32_t number, const struct json *doc,
		 struct text *out)
{
	struct json *value = prop->flags & PROP_APART ? NULL : json_get(doc, prop->name);

	if (prop->flags & PROP_APART)
		print_apart(g, prop, &g->dir.users[number], out);
	else if (value)
		json_write(out, value);
	else
		text_str(out, prop->type == PROP_STRINGS ? "[]" : "null");
}

struct slice props_string(struct graph *g, const struct prop *prop, uint32_t number,
			  const struct json *doc, char id[UUID_TEXT + 1])
{
	const struct user *user = &g->dir.users[number];
	struct json *value;

	if (!strcmp(prop->name, "id")) {
		uuid_print(user->id, id);
		return slice_of(id);
	}
	if (!strcmp(prop->name, "userPrincipalName"))
		return slice_of(user->upn);
	if (!strcmp(prop->name, "onPremisesSyncEnabled"))
		return user->synced ? SLICE("true") : (struct slice){0};
	value = json_get(doc, prop->name);
	if (json_is_bool(value))
		return value->type == JSON_TRUE ? SLICE("true") : SLICE("false");
	return json_is(value, JSON_STRING) ? value->string : (struct slice){0};
}
