#include "dirsync_check.h"

#include "ad.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OID_SD_FLAGS "1.2.840.113556.1.4.801"

/* Control access rights on the domain head (MS-ADTS 5.1.3.2.1), RFC 4122 order. */
static const struct id get_changes = {{0x11, 0x31, 0xf6, 0xaa, 0x9c, 0x07, 0x11, 0xd1, 0xf7, 0x9f,
				       0x00, 0xc0, 0x4f, 0xc2, 0xdc, 0xd2}};
static const struct id get_changes_all = {{0x11, 0x31, 0xf6, 0xad, 0x9c, 0x07, 0x11, 0xd1, 0xf7,
					   0x9f, 0x00, 0xc0, 0x4f, 0xc2, 0xdc, 0xd2}};

/* ---- security descriptors (MS-DTYP 2.4) ---- */

static uint32_t little(const uint8_t *p, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint32_t)p[i] << (8 * i);
	return value;
}

int ad_sid_format(struct slice sid, struct buf *out)
{
	const uint8_t *p = (const uint8_t *)sid.p;
	uint64_t authority = 0;

	if (sid.n < 8 || p[0] != 1 || sid.n != 8 + 4 * (size_t)p[1])
		return -EINVAL;
	for (unsigned i = 2; i < 8; i++)
		authority = authority << 8 | p[i];
	buf_addf(out, "S-1-%" PRIu64, authority);
	for (unsigned i = 0; i < p[1]; i++)
		buf_addf(out, "-%" PRIu32, little(p + 8 + 4 * (size_t)i, 4));
	return 0;
}

static bool has_sid(struct slice sid, const struct slice *sids, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* The ACE may be longer than its SID. */
		if (sids[i].n >= 8 && sid.n >= sids[i].n &&
		    memcmp(sid.p, sids[i].p, sids[i].n) == 0)
			return true;
	}
	return false;
}

/* 1: this ACE allows the right to one of the SIDs, -1: it denies it, 0: neither. */
static int judge_ace(struct slice ace, const struct id *right, const struct slice *sids, size_t n)
{
	enum { ALLOW = 0, DENY = 1, ALLOW_OBJECT = 5, DENY_OBJECT = 6 };
	enum { INHERIT_ONLY = 0x08, CONTROL_ACCESS = 0x100, OBJECT_TYPE = 1, INHERITED_TYPE = 2 };
	const uint8_t *p = (const uint8_t *)ace.p;
	size_t at = 8;
	bool object, deny;

	if (ace.n < 8 || (p[1] & INHERIT_ONLY) || !(little(p + 4, 4) & CONTROL_ACCESS))
		return 0;
	object = p[0] == ALLOW_OBJECT || p[0] == DENY_OBJECT;
	deny = p[0] == DENY || p[0] == DENY_OBJECT;
	if (!object && !deny && p[0] != ALLOW)
		return 0;
	if (object) {
		uint32_t flags = ace.n >= 12 ? little(p + 8, 4) : 0;

		at = 12;
		if (flags & OBJECT_TYPE) {
			struct id type;

			if (ace.n < at + 16)
				return 0;
			type = ad_guid(p + at);
			if (!id_equal(&type, right))
				return 0;
			at += 16;
		}
		if (flags & INHERITED_TYPE)
			at += 16;
	}
	if (at > ace.n || !has_sid((struct slice){ace.p + at, ace.n - at}, sids, n))
		return 0;
	return deny ? -1 : 1;
}

int ad_sd_grants(struct slice sd, const struct id *right, const struct slice *sids, size_t sids_n)
{
	const uint8_t *p = (const uint8_t *)sd.p;
	size_t at;
	uint32_t count;

	if (sd.n < 20 || p[0] != 1)
		return -EINVAL;
	at = little(p + 16, 4);
	if (at == 0)
		return 1; /* no DACL: everybody may everything */
	if (at > sd.n || sd.n - at < 8)
		return -EINVAL;
	count = little(p + at + 4, 2);
	at += 8;
	for (uint32_t i = 0; i < count; i++) {
		size_t size;
		int verdict;

		if (at > sd.n || sd.n - at < 4)
			return -EINVAL;
		size = little(p + at + 2, 2);
		if (size < 4 || size > sd.n - at)
			return -EINVAL;
		verdict = judge_ace((struct slice){sd.p + at, size}, right, sids, sids_n);
		if (verdict)
			return verdict > 0;
		at += size;
	}
	return 0;
}

/* ---- one connection ---- */

static int search(LDAP *ld, const struct directory_search *s, LDAPMessage **ret)
{
	struct timeval longest = {60, 0};
	char *attrs[16] = {0};
	int rc;

	/* libldap takes char ** and does not write to them. */
	for (size_t i = 0; s->attrs && s->attrs[i] && i < 15; i++)
		attrs[i] = mem_dup(s->attrs[i]);
	rc = ldap_search_ext_s(ld, s->base, s->scope, s->filter, s->attrs ? attrs : NULL, 0,
			       s->controls, NULL, &longest, 0, ret);
	for (size_t i = 0; i < 15; i++)
		free(attrs[i]);
	return rc;
}

static int ask(LDAP *ld, struct ad_server *s, LDAPControl **controls)
{
	int rc = 0;

	for (enum ad_question q = AD_ROOT; q <= AD_DELETED && rc == 0; q++) {
		CLEANUP(buf_cleanup) struct buf base = {0};
		struct directory_search what;
		LDAPMessage *answer = NULL;

		ad_ask(s, q, &base, &what);
		what.controls = q == AD_DELETED ? controls : NULL;
		rc = search(ld, &what, &answer);
		for (LDAPMessage *m = ldap_first_entry(ld, answer); m; m = ldap_next_entry(ld, m))
			ad_answer(s, q, ld, m);
		ldap_msgfree(answer);
		if (q >= AD_BASE && (rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_INSUFFICIENT_ACCESS))
			rc = 0;
		if (q == AD_ROOT && (!s->nc || !s->service))
			break;
	}
	return rc;
}

static int say_deletions(LDAP *ld, const struct ad_server *s, LDAPControl **controls,
			 directory_say_fn say, void *arg)
{
	static const char *const id[] = {"objectGUID", NULL};
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct directory_search what;
	LDAPMessage *answer = NULL;
	int children;

	if (!s->deletions) {
		ad_deleted_right(s, &text);
		say(arg, false, "deletions visible", text.p);
		return 1;
	}
	ad_ask(s, AD_DELETED, &text, &what);
	what.scope = LDAP_SCOPE_ONELEVEL;
	what.attrs = id;
	what.controls = controls;
	(void)search(ld, &what, &answer); /* a size limit of the server is as good */
	children = ldap_count_entries(ld, answer);
	ldap_msgfree(answer);
	if (children > 0)
		say(arg, true, "deletions visible", "deleted objects can be listed and read");
	else
		say(arg, true, "deletions visible",
		    "warning: no deleted object is visible: there is none yet, or List Contents on "
		    "CN=Deleted "
		    "Objects is missing");
	return 0;
}

/* The account's SIDs as the server computed them at the bind. */
static struct berval **own_sids(LDAP *ld)
{
	static const char *const tokens[] = {"tokenGroups", NULL};
	LDAPMessage *answer = NULL;
	struct berval **sids = NULL;

	if (search(ld,
		   &(struct directory_search){
			   .base = "", .scope = LDAP_SCOPE_BASE, .attrs = tokens},
		   &answer) == 0)
		sids = ldap_get_values_len(ld, ldap_first_entry(ld, answer), "tokenGroups");
	ldap_msgfree(answer);
	return sids;
}

static struct berval **head_descriptor(LDAP *ld, const struct ad_server *s)
{
	static const char *const sd[] = {"nTSecurityDescriptor", NULL};
	static char dacl_only[] = {0x30, 0x03, 0x02, 0x01, 0x04};
	LDAPControl flags = {(char[]){OID_SD_FLAGS}, {sizeof(dacl_only), dacl_only}, 1};
	LDAPControl *controls[] = {&flags, NULL};
	LDAPMessage *answer = NULL, *entry;
	struct berval **values = NULL;

	if (search(ld,
		   &(struct directory_search){.base = s->nc,
					      .scope = LDAP_SCOPE_BASE,
					      .attrs = sd,
					      .controls = controls},
		   &answer) == 0 &&
	    (entry = ldap_first_entry(ld, answer)) != NULL)
		values = ldap_get_values_len(ld, entry, "nTSecurityDescriptor");
	ldap_msgfree(answer);
	return values;
}

static void say_rights(LDAP *ld, const struct ad_server *s, directory_say_fn say, void *arg)
{
	struct berval **own = own_sids(ld), **sd = head_descriptor(ld, s);
	size_t n = own ? (size_t)ldap_count_values_len(own) : 0;
	struct slice *sids = mem_array(n + 1, sizeof(*sids));
	int all = -EINVAL, changes = -EINVAL;

	for (size_t i = 0; i < n; i++)
		sids[i] = (struct slice){own[i]->bv_val, own[i]->bv_len};
	if (n > 0 && sd && sd[0]) {
		struct slice blob = {sd[0]->bv_val, sd[0]->bv_len};

		all = ad_sd_grants(blob, &get_changes_all, sids, n);
		changes = ad_sd_grants(blob, &get_changes, sids, n);
	}
	if (all > 0)
		say(arg, true, "rights",
		    "warning: the account holds \"Replicating Directory Changes All\" (DCSync: it "
		    "may read every "
		    "password hash); dirpipe does not need it: take it away");
	else if (all < 0)
		say(arg, true, "rights",
		    "unknown: the permissions of the domain cannot be read; the account should not "
		    "hold "
		    "\"Replicating Directory Changes All\"");
	else if (changes > 0)
		say(arg, true, "rights",
		    "Replicating Directory Changes, and none that is dangerous");
	else
		say(arg, true, "rights", "read only: enough, and none that is dangerous");
	free(sids);
	ldap_value_free_len(own);
	ldap_value_free_len(sd);
}

static int say_dirsync(LDAP *ld, const struct ad_server *s, directory_say_fn say, void *arg)
{
	static const char *const name[] = {"name", NULL};
	struct berval none = {0, NULL};
	LDAPControl *controls[2] = {0};
	LDAPMessage *answer = NULL;
	int rc = ldap_create_dirsync_control(ld, (int)0x80000001u, 1 << 16, &none, &controls[0]);

	if (!s->dirsync) {
		say(arg, false, "control",
		    "the server does not offer DirSync (1.2.840.113556.1.4.841)");
		return 1;
	}
	if (rc == 0)
		rc = search(ld,
			    &(struct directory_search){.base = s->nc,
						       .scope = LDAP_SCOPE_SUBTREE,
						       .filter = "(objectClass=domainDNS)",
						       .attrs = name,
						       .controls = controls},
			    &answer);
	ldap_msgfree(answer);
	ldap_control_free(controls[0]);
	say(arg, rc == 0, "control", rc == 0 ? "DirSync works" : ldap_err2string(rc));
	return rc != 0;
}

static int check_server(LDAP *ld, const struct directory_conf *c, bool dirsync,
			directory_say_fn say, void *arg)
{
	struct ad_server server = {.base = directory_conf_base(c)};
	LDAPControl **controls = ad_controls_new();
	int rc = ask(ld, &server, controls);
	int failed = 0;

	if (rc || !server.nc || !server.base_exists) {
		say(arg, false, "domain",
		    rc ? ldap_err2string(rc)
		       : "base_dn is in none of the server's domains, or cannot be read");
		failed = 1;
	} else if (id_is_zero(&server.invocation)) {
		say(arg, false, "domain",
		    "the server's invocationId cannot be read: grant Read on its NTDS Settings "
		    "object");
		failed = 1;
	} else {
		say(arg, true, "domain", server.nc);
		if (dirsync)
			failed += say_dirsync(ld, &server, say, arg);
		failed += say_deletions(ld, &server, controls, say, arg);
		say_rights(ld, &server, say, arg);
	}
	ad_server_done(&server);
	ldap_controls_free(controls);
	return failed;
}

int ad_check(LDAP *ld, const struct directory_conf *c, directory_say_fn say, void *arg)
{
	return check_server(ld, c, false, say, arg);
}

static int check_dirsync(LDAP *ld, const struct directory_conf *c, directory_say_fn say, void *arg)
{
	return check_server(ld, c, true, say, arg);
}

int dirsync_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg)
{
	(void)name;
	return directory_check(conf, say, arg, check_dirsync);
}

int usn_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg)
{
	(void)name;
	return directory_check(conf, say, arg, ad_check);
}
