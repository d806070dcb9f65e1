#include "entry.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const ad_account[] = {
	"userAccountControl", "lockoutTime",	"pwdLastSet", "accountExpires",
	"lastLogonTimestamp", "primaryGroupID", "objectSid",  NULL,
};
static const char *const openldap_account[] = {
	"uid",	    "pwdAccountLockedTime", "pwdChangedTime",
	"pwdReset", "pwdLastSuccess",	    "authTimestamp",
	NULL,
};
static const char *const ds389_account[] = {
	"uid",
	"nsAccountLock",
	"passwordExpirationTime",
	"accountUnlockTime",
	"pwdUpdateTime",
	"lastLoginTime",
	NULL,
};
static const char *const ad_members[] = {"member", NULL};
static const char *const ldap_members[] = {"member", "uniqueMember", "memberUid", NULL};

#define LDAP_GROUPS                                                                                \
	"(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup)("      \
	"objectClass=groupOfMembers)"
#define LDAP_CONTAINERS                                                                            \
	"(objectClass=organizationalUnit)(objectClass=organization)(objectClass=domain)("          \
	"objectClass=dcObject)"

const struct entry_schema entry_schema_ad = {
	.id_attr = "objectGUID",
	.id_is_guid = true,
	.user_filter = "(&(objectCategory=person)(objectClass=user))",
	.group_filter = "(objectClass=group)",
	.container_filter =
		"(objectClass=organizationalUnit)(objectClass=container)(objectClass=domainDNS)",
	.account_attrs = ad_account,
	.member_attrs = ad_members,
};
const struct entry_schema entry_schema_openldap = {
	.id_attr = "entryUUID",
	.user_filter = "(objectClass=inetOrgPerson)",
	.group_filter = LDAP_GROUPS,
	.container_filter = LDAP_CONTAINERS,
	.account_attrs = openldap_account,
	.member_attrs = ldap_members,
};
const struct entry_schema entry_schema_389ds = {
	.id_attr = "nsUniqueId",
	.user_filter = "(|(objectClass=inetOrgPerson)(objectClass=nsPerson))",
	.group_filter = LDAP_GROUPS,
	.container_filter = LDAP_CONTAINERS,
	.account_attrs = ds389_account,
	.member_attrs = ldap_members,
};

bool entry_attr_is_secret(const char *name)
{
	static const char *const secrets[] = {
		"userPassword",
		"unicodePwd",
		"ntPwdHistory",
		"lmPwdHistory",
		"supplementalCredentials",
		"dBCSPwd",
		"unhashed#user#password",
		"sambaNTPassword",
		"sambaLMPassword",
		"sambaPasswordHistory",
		"krbPrincipalKey",
		"msDS-ManagedPassword",
		"ms-Mcs-AdmPwd",
		"msLAPS-Password",
		"msLAPS-EncryptedPassword",
		"msLAPS-EncryptedPasswordHistory",
		"msLAPS-EncryptedDSRMPassword",
		"pwdHistory",
		"authPassword",
		"passwordHistory",
	};
	size_t n = strcspn(name, ";");

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		if (strlen(secrets[i]) == n && strncasecmp(secrets[i], name, n) == 0)
			return true;
	return false;
}

void entry_guid_swap(const uint8_t from[static 16], uint8_t to[static 16])
{
	static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

	for (size_t i = 0; i < 16; i++)
		to[i] = from[order[i]];
}

/* ---- attributes ---- */

/* The first value behind a range that ends there; -1: no server has so many. */
static long range_after(const char *last)
{
	long n = strtol(last, NULL, 10);

	return n < 0 || n >= INT32_MAX ? -1 : n + 1;
}

/* Cuts ;binary and ;range= off the name; other options (;lang-de) stay. A range sets *ret_next as entry.h says;
 * false: the values are to be dropped. DirSync marks removed links with 0-0 and added ones with 1-1. */
static bool read_options(struct slice *name, char *plain, size_t size, long *ret_next)
{
	const char *option = memchr(name->p, ';', name->n);
	size_t n = option != NULL ? (size_t)(option - name->p) : name->n;
	bool keep = true;

	snprintf(plain, size, "%.*s", (int)n, name->p);
	while (option != NULL) {
		const char *end = name->p + name->n;
		const char *next = memchr(option + 1, ';', (size_t)(end - option - 1));
		size_t length = (size_t)((next != NULL ? next : end) - option);

		if (length > 7 && strncasecmp(option, ";range=", 7) == 0) {
			char text[32];
			char *dash;

			snprintf(text, sizeof(text), "%.*s", (int)(length - 7), option + 7);
			dash = strchr(text, '-');
			keep = strcmp(text, "0-0") != 0;
			if (keep && dash != NULL && dash[1] != '*' && strcmp(text, "1-1") != 0)
				*ret_next = range_after(dash + 1);
		} else if (length != 7 || strncasecmp(option, ";binary", 7) != 0) {
			size_t used = strlen(plain);

			snprintf(plain + used, size - used, "%.*s", (int)length, option);
		}
		option = next;
	}
	name->p = plain;
	name->n = strlen(plain);
	return keep;
}

static struct entry_attr *find_attr(const struct entry *e, const char *name)
{
	for (size_t i = 0; i < e->n; i++)
		if (strcasecmp(e->attrs[i].name, name) == 0)
			return &e->attrs[i];
	return NULL;
}

/* One block: the slices, the name, the bytes of the values with a NUL after each. */
static void fill_attr(struct entry_attr *a, struct slice name, const struct slice *values, size_t n)
{
	size_t size = n * sizeof(struct slice) + name.n + 1;
	char *p;

	for (size_t i = 0; i < n; i++)
		size += values[i].n + 1;
	a->own = mem_alloc(size);
	a->values = n > 0 ? a->own : NULL;
	a->n = n;
	p = (char *)a->own + n * sizeof(struct slice);
	a->name = p;
	memcpy(p, name.p, name.n);
	p += name.n + 1;
	for (size_t i = 0; i < n; i++) {
		a->values[i] = (struct slice){p, values[i].n};
		if (values[i].n > 0)
			memcpy(p, values[i].p, values[i].n);
		p += values[i].n + 1;
	}
}

static void append_values(struct entry_attr *a, const struct slice *values, size_t n)
{
	struct slice *all = mem_array(a->n + n + 1, sizeof(*all));
	void *old = a->own;

	for (size_t i = 0; i < a->n; i++)
		all[i] = a->values[i];
	for (size_t i = 0; i < n; i++)
		all[a->n + i] = values[i];
	fill_attr(a, slice_of(a->name), all, a->n + n);
	free(all);
	free(old);
}

void entry_add_values(struct entry *e, struct entry *more, const char *name)
{
	struct entry_attr *to = find_attr(e, name);
	const struct entry_attr *from = find_attr(more, name);

	if (to != NULL && from != NULL)
		append_values(to, from->values, from->n);
	e->range_next = more->range_next;
}

static const char *check_values(const BerVarray values, size_t *n, size_t *total)
{
	for (*n = 0; values != NULL && values[*n].bv_val != NULL; (*n)++) {
		if (values[*n].bv_len > ENTRY_VALUE_MAX)
			return "a value is larger than 64 KiB";
		*total += values[*n].bv_len + sizeof(struct slice);
	}
	return *total > ENTRY_MAX ? "the entry is larger than 16 MiB" : NULL;
}

/* Good until the next entry is read. */
static const char *about(struct slice name, const char *why)
{
	static char text[320]; /* one thread: the loop's */

	snprintf(text, sizeof(text), "%.*s: %s", (int)name.n, name.p, why);
	return utf8_valid(slice_of(text)) ? text : why;
}

static const char *add_attr(struct entry *e, struct slice name, BerVarray values, size_t *total)
{
	char plain[256];
	size_t n;
	const char *why = check_values(values, &n, total);
	struct slice *slices;
	struct entry_attr *a;
	bool keep;

	if (name.n == 0 || name.n >= sizeof(plain) || memchr(name.p, '\0', name.n) != NULL)
		return "an attribute's name cannot be read";
	if (why != NULL)
		return about(name, why);
	keep = read_options(&name, plain, sizeof(plain), &e->range_next);
	if (e->range_next < 0)
		return about(name, "the range cannot be read");
	if (entry_attr_is_secret(plain))
		return NULL;
	if (!keep)
		n = 0;
	slices = mem_array(n + 1, sizeof(*slices));
	for (size_t i = 0; i < n; i++)
		slices[i] = (struct slice){values[i].bv_val, values[i].bv_len};
	a = find_attr(e, plain);
	if (a != NULL) {
		append_values(a, slices, n);
	} else {
		if (e->n % 16 == 0)
			e->attrs = mem_resize(e->attrs, (e->n + 16) * sizeof(*e->attrs));
		fill_attr(&e->attrs[e->n++], name, slices, n);
	}
	free(slices);
	return NULL;
}

/* The controls of the message must have been taken before: the walk writes NULs into it. */
static const char *read_attrs(LDAP *ld, LDAPMessage *message, struct entry *e)
{
	BerElement *ber = NULL;
	struct berval dn, name;
	BerVarray values = NULL;
	size_t total = 0;
	const char *why = NULL;
	struct slice plain_dn;
	struct id id;

	if (ldap_get_dn_ber(ld, message, &ber, &dn) != LDAP_SUCCESS)
		return "the entry cannot be decoded";
	(void)dn_extended((struct slice){dn.bv_val, dn.bv_len}, &id, &plain_dn);
	if (plain_dn.n == 0 || memchr(plain_dn.p, '\0', plain_dn.n) != NULL ||
	    !utf8_valid(plain_dn))
		why = "the entry has no usable DN";
	else
		e->dn = slice_dup(plain_dn);
	while (why == NULL) {
		int rc = ldap_get_attribute_ber(ld, message, ber, &name, &values);

		if (rc != LDAP_SUCCESS)
			why = "the entry cannot be decoded";
		if (rc != LDAP_SUCCESS || name.bv_val == NULL)
			break;
		why = add_attr(e, (struct slice){name.bv_val, name.bv_len}, values, &total);
		ber_memfree(values);
		values = NULL;
	}
	ber_memfree(values);
	ber_free(ber, 0);
	return why;
}

/* ---- what it is ---- */

static bool has_any(const struct entry *e, const char *const *classes)
{
	for (; *classes != NULL; classes++)
		if (entry_has_class(e, *classes))
			return true;
	return false;
}

/* What is neither group nor container was asked for by users.filter, except in AD, where everything is followed. */
static enum entry_class class_of(const struct entry *e, const struct entry_schema *schema)
{
	static const char *const groups[] = {"group",	   "groupOfNames",   "groupOfUniqueNames",
					     "posixGroup", "groupOfMembers", NULL};
	static const char *const containers[] = {
		"organizationalUnit", "organization", "domain", "dcObject",
		"domainDNS",	      "container",    NULL};
	static const char *const ad_users[] = {"user", "inetOrgPerson", NULL};

	if (schema->id_is_guid && entry_has_class(e, "computer"))
		return ENTRY_OTHER;
	if (has_any(e, groups))
		return ENTRY_GROUP;
	if (has_any(e, containers))
		return ENTRY_CONTAINER;
	if (schema->id_is_guid && !has_any(e, ad_users))
		return ENTRY_OTHER;
	return ENTRY_USER;
}

static bool read_id(struct entry *e, const struct entry_schema *schema)
{
	const struct entry_attr *a = entry_attr(e, schema->id_attr);

	if (a == NULL || a->n != 1)
		return false;
	if (!schema->id_is_guid) {
		if (id_parse(a->values[0], &e->id) != 0)
			return false;
		memcpy(e->raw_id, e->id.b, sizeof(e->raw_id));
		return !id_is_zero(&e->id);
	}
	if (a->values[0].n != sizeof(e->raw_id))
		return false;
	memcpy(e->raw_id, a->values[0].p, sizeof(e->raw_id));
	entry_guid_swap(e->raw_id, e->id.b);
	return !id_is_zero(&e->id);
}

struct entry *entry_new(LDAP *ld, LDAPMessage *message, const struct entry_schema *schema,
			struct id *ret_id, const char **ret_why)
{
	struct entry *e = mem_alloc(sizeof(*e));
	const char *why = read_attrs(ld, message, e);

	e->schema = schema;
	if (read_id(e, schema))
		*ret_id = e->id;
	else if (why == NULL)
		why = "the entry has no id";
	if (why != NULL) {
		*ret_why = why;
		entry_free(e);
		return NULL;
	}
	e->class = class_of(e, schema);
	return e;
}

void entry_free(struct entry *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < e->n; i++)
		free(e->attrs[i].own);
	free(e->attrs);
	free(e->dn);
	free(e);
}

const struct entry_attr *entry_attr(const struct entry *e, const char *name)
{
	return find_attr(e, name);
}

const char *entry_first(const struct entry *e, const char *name)
{
	const struct entry_attr *a = find_attr(e, name);

	return a != NULL && a->n > 0 ? a->values[0].p : NULL;
}

bool entry_has_class(const struct entry *e, const char *object_class)
{
	const struct entry_attr *a = find_attr(e, "objectClass");

	for (size_t i = 0; a != NULL && i < a->n; i++)
		if (strcasecmp(a->values[i].p, object_class) == 0)
			return true;
	return false;
}
