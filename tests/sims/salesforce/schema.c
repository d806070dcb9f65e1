/* Objects, fields, records (object reference; the fact sheet's A1, A4, A9). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sf.h"

const char sf_external[] = "DirectoryId__c";

#define ALL F_WRITE
static const struct field user_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"Username", T_EMAIL, ALL | F_REQUIRED | F_UNIQUE, 80, NULL, NULL},
	{"LastName", T_TEXT, ALL | F_REQUIRED, 80, NULL, NULL},
	{"FirstName", T_TEXT, ALL, 40, NULL, NULL},
	{"Name", T_TEXT, 0, 121, NULL, NULL},
	{"Email", T_EMAIL, ALL | F_REQUIRED | F_INDEX, 128, NULL, NULL},
	{"Alias", T_TEXT, ALL | F_REQUIRED, 8, NULL, NULL},
	{"CommunityNickname", T_TEXT, ALL | F_UNIQUE, 40, NULL, NULL},
	{"ProfileId", T_REF, ALL | F_REQUIRED, 18, "Profile", NULL},
	{"UserRoleId", T_REF, ALL, 18, "UserRole", NULL},
	{"ManagerId", T_REF, ALL, 18, "User", NULL},
	{"TimeZoneSidKey", T_PICK, ALL | F_REQUIRED, 40, NULL,
	 "GMT|Europe/Berlin|Europe/Paris|Europe/London|America/New_York|America/Los_Angeles|Asia/"
	 "Tokyo"},
	{"LocaleSidKey", T_PICK, ALL | F_REQUIRED, 40, NULL, "en_US|en_GB|de_DE|fr_FR|ja_JP"},
	{"EmailEncodingKey", T_PICK, ALL | F_REQUIRED, 40, NULL,
	 "UTF-8|ISO-8859-1|Shift_JIS|ISO-2022-JP|EUC-JP|ks_c_5601-1987|Big5|GB2312"},
	{"LanguageLocaleKey", T_PICK, ALL | F_REQUIRED, 40, NULL, "en_US|de|fr|ja"},
	{"IsActive", T_BOOL, ALL, 0, NULL, NULL},
	{"FederationIdentifier", T_TEXT, ALL | F_UNIQUE, 512, NULL, NULL},
	{"EmployeeNumber", T_TEXT, ALL, 20, NULL, NULL},
	{"Title", T_TEXT, ALL, 80, NULL, NULL},
	{"Department", T_TEXT, ALL, 80, NULL, NULL},
	{"Division", T_TEXT, ALL, 80, NULL, NULL},
	{"CompanyName", T_TEXT, ALL, 80, NULL, NULL},
	{"City", T_TEXT, ALL, 40, NULL, NULL},
	{"Country", T_TEXT, ALL, 80, NULL, NULL},
	{"Phone", T_TEXT, ALL, 40, NULL, NULL},
	{"MobilePhone", T_TEXT, ALL, 40, NULL, NULL},
	{"ReceivesAdminInfoEmails", T_BOOL, ALL, 0, NULL, NULL},
	{"UserPermissionsMarketingUser", T_BOOL, ALL, 0, NULL, NULL},
	{"UserPermissionsSupportUser", T_BOOL, ALL, 0, NULL, NULL},
	{"UserType", T_TEXT, 0, 40, NULL, NULL},
	{"LastLoginDate", T_TIME, 0, 0, NULL, NULL},
	{"CreatedDate", T_TIME, 0, 0, NULL, NULL},
	{"LastModifiedDate", T_TIME, 0, 0, NULL, NULL},
	{sf_external, T_TEXT, ALL | F_EXTERNAL, 64, NULL, NULL},
	{"Badge__c", T_TEXT, ALL | F_EXTERNAL, 64, NULL,
	 NULL}, /* an external id that is not unique */
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field login_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"UserId", T_REF, F_INDEX, 18, "User", NULL},
	{"IsFrozen", T_BOOL, F_UPDATE, 0, NULL, NULL},
	{"IsPasswordLocked", T_BOOL, F_UPDATE, 0, NULL, NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field profile_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"Name", T_TEXT, F_INDEX, 80, NULL, NULL},
	{"UserLicenseId", T_REF, 0, 18, "UserLicense", NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field role_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"Name", T_TEXT, F_INDEX, 80, NULL, NULL},
	{"DeveloperName", T_TEXT, F_INDEX, 80, NULL, NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field licence_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"Name", T_TEXT, F_INDEX, 80, NULL, NULL},
	{"LicenseDefinitionKey", T_TEXT, 0, 80, NULL, NULL},
	{"Status", T_TEXT, 0, 40, NULL, NULL},
	{"TotalLicenses", T_NUMBER, 0, 0, NULL, NULL},
	{"UsedLicenses", T_NUMBER, 0, 0, NULL, NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field set_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"Name", T_TEXT, F_INDEX, 80, NULL, NULL},
	{"Label", T_TEXT, 0, 80, NULL, NULL},
	{"IsOwnedByProfile", T_BOOL, 0, 0, NULL, NULL},
	{"ProfileId", T_REF, 0, 18, "Profile", NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field set_assign_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"AssigneeId", T_REF, F_CREATE | F_REQUIRED | F_INDEX, 18, "User", NULL},
	{"PermissionSetId", T_REF, F_CREATE | F_REQUIRED, 18, "PermissionSet", NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field set_licence_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"DeveloperName", T_TEXT, F_INDEX, 80, NULL, NULL},
	{"MasterLabel", T_TEXT, F_INDEX, 80, NULL, NULL},
	{"PermissionSetLicenseKey", T_TEXT, 0, 80, NULL, NULL},
	{"Status", T_TEXT, 0, 40, NULL, NULL},
	{"TotalLicenses", T_NUMBER, 0, 0, NULL, NULL},
	{"UsedLicenses", T_NUMBER, 0, 0, NULL, NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field licence_assign_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"AssigneeId", T_REF, F_CREATE | F_REQUIRED | F_INDEX, 18, "User", NULL},
	{"PermissionSetLicenseId", T_REF, F_CREATE | F_REQUIRED, 18, "PermissionSetLicense", NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field group_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"Name", T_TEXT, F_INDEX, 40, NULL, NULL},
	{"DeveloperName", T_TEXT, F_INDEX, 80, NULL, NULL},
	{"Type", T_TEXT, 0, 40, NULL, NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field member_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"GroupId", T_REF, F_CREATE | F_REQUIRED, 18, "Group", NULL},
	{"UserOrGroupId", T_REF, F_CREATE | F_REQUIRED | F_INDEX, 18, "User", NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct field organization_fields[] = {
	{"Id", T_REF, 0, 18, NULL, NULL},
	{"Name", T_TEXT, 0, 80, NULL, NULL},
	{"OrganizationType", T_TEXT, 0, 40, NULL, NULL},
	{NULL, T_TEXT, 0, 0, NULL, NULL},
};

static const struct {
	const char *name, *prefix;
	const struct field *fields;
	bool create, update, remove, lock;
} objects[] = {
	{"User", "005", user_fields, true, true, false, false},
	{"UserLogin", "0Yw", login_fields, false, true, false, false},
	{"Profile", "00e", profile_fields, false, false, false, false},
	{"UserRole", "00E", role_fields, false, false, false, false},
	{"UserLicense", "100", licence_fields, false, false, false, false},
	{"PermissionSet", "0PS", set_fields, false, false, false, false},
	{"PermissionSetAssignment", "0Pa", set_assign_fields, true, false, true, true},
	{"PermissionSetLicense", "0PL", set_licence_fields, false, false, false, false},
	{"PermissionSetLicenseAssign", "2LA", licence_assign_fields, true, false, true, true},
	{"Group", "00G", group_fields, false, false, false, false},
	{"GroupMember", "011", member_fields, true, false, true, true},
	{"Organization", "00D", organization_fields, false, false, false, false},
};

struct object *schema_object(struct sf *s, struct slice name)
{
	for (size_t i = 0; i < s->n_objects; i++) {
		if (slice_is_nocase(name, s->objects[i].name))
			return &s->objects[i];
	}
	return NULL;
}

int schema_field(const struct object *o, struct slice name)
{
	for (size_t i = 0; i < o->n_fields; i++) {
		if (slice_is_nocase(name, o->fields[i].name))
			return (int)i;
	}
	return -1;
}

int schema_relation(const struct object *o, struct slice name)
{
	struct text field = {0};
	int i;

	text_slice(&field, name);
	text_str(&field, "Id");
	i = schema_field(o, slice_from(&field));
	text_free(&field);
	return i >= 0 && o->fields[i].refers ? i : -1;
}

/* ---- ids: prefix, a host's letters, the number; three letters that say which are capitals ---- */

void id_print(const struct object *o, uint32_t number, char out[ID18 + 1])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

	snprintf(out, ID15 + 1, "%.3s5eAq%08u", o->prefix, number % 100000000u);
	for (size_t i = 0; i < 3; i++) {
		unsigned bits = 0;

		for (unsigned k = 0; k < 5; k++) {
			char c = out[5 * i + k];

			bits |= (unsigned)(c >= 'A' && c <= 'Z') << k;
		}
		out[ID15 + i] = letters[bits];
	}
	out[ID18] = '\0';
}

uint32_t id_find(const struct object *o, struct slice id)
{
	char whole[ID18 + 1];
	int64_t number;

	if ((id.n != ID15 && id.n != ID18) || memcmp(id.p, o->prefix, 3) != 0 ||
	    !slice_number((struct slice){id.p + 7, 8}, &number) || number >= o->n)
		return NONE;
	id_print(o, (uint32_t)number, whole);
	if (memcmp(whole, id.p, ID15) != 0 || (id.n == ID18 && !slice_is_nocase(id, whole)))
		return NONE;
	return o->records[number].live ? (uint32_t)number : NONE;
}

/* ---- records ---- */

static bool indexed(const struct object *o, int field)
{
	return o->fields[field].flags & (F_UNIQUE | F_EXTERNAL | F_INDEX);
}

uint32_t record_add(struct object *o)
{
	char id[ID18 + 1];

	if (o->n == o->cap) {
		o->cap = o->cap ? o->cap * 2 : 64;
		o->records = xgrow(o->records, o->cap * sizeof *o->records);
	}
	o->records[o->n] = (struct record){.v = xalloc(o->n_fields * sizeof(char *)), .live = true};
	o->live++;
	id_print(o, o->n, id);
	record_set(o, o->n++, 0, slice_of(id));
	return o->n - 1;
}

void record_set(struct object *o, uint32_t number, int field, struct slice value)
{
	char **at = &o->records[number].v[field];
	char *fresh = value.p && value.n ? xdup(value.p, value.n) : NULL;

	if (*at && indexed(o, field))
		index_remove(&o->index[field], hash_nocase(slice_of(*at)), number);
	free(*at);
	*at = fresh;
	if (fresh && indexed(o, field))
		index_add(&o->index[field], hash_nocase(slice_of(fresh)), number);
}

void record_remove(struct object *o, uint32_t number)
{
	for (size_t i = 0; i < o->n_fields; i++)
		record_set(o, number, (int)i, (struct slice){0});
	free(o->records[number].pending);
	o->records[number].pending = NULL;
	o->records[number].live = false;
	o->live--;
}

struct slice record_get(const struct object *o, uint32_t number, const char *field)
{
	int i = schema_field(o, slice_of(field));
	const char *value = i < 0 ? NULL : o->records[number].v[i];

	return value ? slice_of(value) : (struct slice){0};
}

uint32_t record_find(const struct object *o, int field, struct slice value, uint32_t after)
{
	struct index_walk walk;
	uint32_t e = index_first(&o->index[field], hash_nocase(value), &walk);
	bool passed = after == NONE;

	for (; e != INDEX_END; e = index_next(&o->index[field], &walk)) {
		const char *its = o->records[e].v[field];

		if (passed && its && slice_is_nocase(value, its))
			return e;
		passed |= e == after;
	}
	return NONE;
}

/* ---- an org as it begins ---- */

static uint32_t make(struct sf *s, const char *object, const char *const pairs[][2])
{
	struct object *o = schema_object(s, slice_of(object));
	uint32_t number = record_add(o);

	for (size_t i = 0; pairs[i][0]; i++)
		record_set(o, number, schema_field(o, slice_of(pairs[i][0])),
			   slice_of(pairs[i][1]));
	return number;
}

static void id_of(struct sf *s, const char *object, uint32_t number, char out[ID18 + 1])
{
	id_print(schema_object(s, slice_of(object)), number, out);
}

static void make_profiles(struct sf *s)
{
	static const char *const names[] = {"System Administrator", "Standard User",
					    "Standard Platform User"};
	char licence[2][ID18 + 1], profile[ID18 + 1];

	for (size_t i = 0; i < 2; i++) {
		const char *name = i == 0 ? "Salesforce" : "Salesforce Platform";

		id_of(s, "UserLicense",
		      make(s, "UserLicense",
			   (const char *const[][2]){{"Name", name},
						    {"LicenseDefinitionKey", i ? "AUL" : "SFDC"},
						    {"Status", "Active"},
						    {"TotalLicenses", "1000000"},
						    {NULL, NULL}}),
		      licence[i]);
	}
	for (size_t i = 0; i < 3; i++) {
		id_of(s, "Profile",
		      make(s, "Profile",
			   (const char *const[][2]){{"Name", names[i]},
						    {"UserLicenseId", licence[i == 2]},
						    {NULL, NULL}}),
		      profile);
		make(s, "PermissionSet",
		     (const char *const[][2]){{"Name", profile},
					      {"Label", names[i]},
					      {"IsOwnedByProfile", "true"},
					      {"ProfileId", profile},
					      {NULL, NULL}});
	}
}

static void make_rest(struct sf *s)
{
	static const char *const roles[] = {"CEO", "Sales", "Support"};
	static const char *const sets[] = {"Sales_Ops", "Support_Ops"};
	static const char *const licences[] = {"SalesConsole", "Cpq"};

	for (size_t i = 0; i < 3; i++)
		make(s, "UserRole",
		     (const char *const[][2]){
			     {"Name", roles[i]}, {"DeveloperName", roles[i]}, {NULL, NULL}});
	for (size_t i = 0; i < 2; i++) {
		make(s, "PermissionSet",
		     (const char *const[][2]){{"Name", sets[i]},
					      {"Label", sets[i]},
					      {"IsOwnedByProfile", "false"},
					      {NULL, NULL}});
		make(s, "PermissionSetLicense",
		     (const char *const[][2]){{"DeveloperName", licences[i]},
					      {"MasterLabel", licences[i]},
					      {"Status", "Active"},
					      {"TotalLicenses", "1000000"},
					      {NULL, NULL}});
	}
	make(s, "Group",
	     (const char *const[][2]){{"Name", "All Sales"},
				      {"DeveloperName", "All_Sales"},
				      {"Type", "Regular"},
				      {NULL, NULL}});
	make(s, "Organization",
	     (const char *const[][2]){
		     {"Name", "Acme"}, {"OrganizationType", "Enterprise Edition"}, {NULL, NULL}});
}

void schema_make(struct sf *s)
{
	s->n_objects = sizeof objects / sizeof *objects;
	s->objects = xalloc(s->n_objects * sizeof *s->objects);
	for (size_t i = 0; i < s->n_objects; i++) {
		struct object *o = &s->objects[i];

		*o = (struct object){.name = objects[i].name,
				     .prefix = objects[i].prefix,
				     .fields = objects[i].fields,
				     .create = objects[i].create,
				     .update = objects[i].update,
				     .remove = objects[i].remove,
				     .lock = objects[i].lock};
		while (o->fields[o->n_fields].name)
			o->n_fields++;
	}
	schema_clear(s);
}

static void empty(struct object *o)
{
	for (uint32_t i = 0; i < o->n; i++) {
		for (size_t k = 0; k < o->n_fields; k++)
			free(o->records[i].v[k]);
		free(o->records[i].v);
		free(o->records[i].pending);
	}
	free(o->records);
	for (size_t k = 0; k < o->n_fields; k++)
		index_free(&o->index[k]);
	memset(o->index, 0, sizeof o->index);
	o->records = NULL;
	o->n = o->cap = o->live = 0;
}

void schema_clear(struct sf *s)
{
	for (size_t i = 0; i < s->n_objects; i++)
		empty(&s->objects[i]);
	make_profiles(s);
	make_rest(s);
}

void schema_free(struct sf *s)
{
	for (size_t i = 0; i < s->n_objects; i++)
		empty(&s->objects[i]);
	free(s->objects);
}
