#include "poll_check.h"

#include "dirsync_check.h"
#include "poll_stamp.h"

#include <string.h>

#define CAPABILITY_AD "1.2.840.113556.1.4.800"

const char *const poll_root_attrs[] = {"objectClass", "vendorName", "supportedCapabilities",
				       "supportedControl", NULL};

static bool root_has(LDAP *ld, LDAPMessage *root, const char *attr, const char *piece)
{
	struct berval **values = ldap_get_values_len(ld, root, attr);
	bool found = false;

	for (int i = 0; values && values[i] && !found; i++)
		found = strstr(values[i]->bv_val, piece) != NULL;
	ldap_value_free_len(values);
	return found;
}

struct poll_flavour poll_flavour_of(LDAP *ld, LDAPMessage *root)
{
	if (root_has(ld, root, "supportedCapabilities", CAPABILITY_AD))
		return (struct poll_flavour){true, &entry_schema_ad, "uSNChanged"};
	if (root_has(ld, root, "vendorName", "389"))
		return (struct poll_flavour){false, &entry_schema_389ds, "modifyTimestamp"};
	if (root_has(ld, root, "objectClass", "OpenLDAProotDSE"))
		return (struct poll_flavour){false, &entry_schema_openldap, "entryCSN"};
	return (struct poll_flavour){false, &entry_schema_openldap, "modifyTimestamp"};
}

static int say_attr(LDAP *ld, LDAPMessage *entry, const char *attr, directory_say_fn say, void *arg)
{
	struct berval **values = ldap_get_values_len(ld, entry, attr);
	bool there = values && values[0];
	CLEANUP(buf_cleanup) struct buf text = {0};

	if (there)
		buf_addf(&text, "%s can be read", attr);
	else
		buf_addf(&text,
			 "the account cannot read %s: grant read on this operational attribute",
			 attr);
	say(arg, there, "rights", text.p);
	ldap_value_free_len(values);
	return !there;
}

static int check_ldap(LDAP *ld, const struct directory_conf *c, const struct poll_flavour *f,
		      directory_say_fn say, void *arg)
{
	const char *const attrs[] = {f->schema->id_attr, f->stamp, NULL};
	LDAPMessage *answer = NULL, *entry;
	struct directory_search base = {
		.base = directory_conf_base(c), .scope = LDAP_SCOPE_BASE, .attrs = attrs};
	int rc = directory_search_now(ld, c, &base, &answer);
	int failed = 0;

	entry = rc ? NULL : ldap_first_entry(ld, answer);
	if (entry) {
		failed += say_attr(ld, entry, f->schema->id_attr, say, arg);
		failed += say_attr(ld, entry, f->stamp, say, arg);
	} else {
		say(arg, false, "rights", "base_dn cannot be read");
		failed++;
	}
	ldap_msgfree(answer);
	directory_check_secrets(ld, c, say, arg);
	say(arg, true, "deletions visible", "by comparing all ids every sweep_interval");
	return failed;
}

static int check_server(LDAP *ld, const struct directory_conf *c, directory_say_fn say, void *arg)
{
	LDAPMessage *answer = NULL, *root;
	struct poll_flavour f = {0};
	bool paged = false;
	struct directory_search s = {
		.base = "", .scope = LDAP_SCOPE_BASE, .attrs = poll_root_attrs};
	int rc = directory_search_now(ld, c, &s, &answer);

	root = rc ? NULL : ldap_first_entry(ld, answer);
	if (root) {
		f = poll_flavour_of(ld, root);
		paged = root_has(ld, root, "supportedControl", LDAP_CONTROL_PAGEDRESULTS);
	}
	ldap_msgfree(answer);
	if (!root) {
		say(arg, false, "root DSE", ldap_err2string(rc));
		return 1;
	}
	say(arg, paged, "control",
	    paged ? "paged results are supported"
		  : "the server does not offer paged results (RFC 2696)");
	return !paged + (f.ad ? ad_check(ld, c, say, arg) : check_ldap(ld, c, &f, say, arg));
}

int poll_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg)
{
	(void)name;
	return directory_check(conf, say, arg, check_server);
}
