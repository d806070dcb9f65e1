#include "source_syncrepl.h"

#include "sync_pdu.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char *const root_attrs[] = {"vendorName", "supportedControl", "firstchangenumber",
					 "lastchangenumber", NULL};
static const char *const base_attrs[] = {"entryUUID", "nsUniqueId", "contextCSN", NULL};
static const char *const policy_attrs[] = {"pwdMaxAge", "pwdLockoutDuration", NULL};

typedef void (*value_fn)(void *arg, const char *name, struct slice value);

static void each_value(LDAP *ld, LDAPMessage *m, const char *const *names, value_fn fn, void *arg)
{
	for (; *names != NULL; names++) {
		struct berval **values = ldap_get_values_len(ld, m, *names);

		for (int i = 0; values != NULL && values[i] != NULL; i++)
			fn(arg, *names, (struct slice){values[i]->bv_val, values[i]->bv_len});
		ldap_value_free_len(values);
	}
}

static bool contains(struct slice text, const char *part)
{
	CLEANUP(free_cleanup) char *copy = slice_dup(text);

	return strcasestr(copy, part) != NULL;
}

static void take_value(void *arg, const char *name, struct slice value)
{
	struct sync_server *s = arg;
	CLEANUP(free_cleanup) char *text = slice_dup(value);

	if (strcmp(name, "vendorName") == 0)
		s->is_389 = contains(value, "389") || contains(value, "Red Hat") ||
			    contains(value, "Fedora");
	else if (strcmp(name, "supportedControl") == 0)
		s->has_sync = s->has_sync || slice_is(value, LDAP_CONTROL_SYNC);
	else if (strcmp(name, "firstchangenumber") == 0)
		s->first = strtoull(text, NULL, 10);
	else if (strcmp(name, "lastchangenumber") == 0)
		s->last = strtoull(text, NULL, 10);
	else if (strcmp(name, "contextCSN") == 0 && s->contexts_n < SYNC_CONTEXTS_MAX)
		s->contexts[s->contexts_n++] = mem_dup(text);
	else if (strcmp(name, "entryUUID") == 0 || strcmp(name, "nsUniqueId") == 0)
		(void)!id_parse(value, &s->base);
	else if (strcmp(name, "pwdMaxAge") == 0)
		s->policy.max_password_age_ms = strtoll(text, NULL, 10) * 1000;
	else if (strcmp(name, "pwdLockoutDuration") == 0)
		s->policy.lockout_ms = strtoll(text, NULL, 10) * 1000;
}

void sync_server_done(struct sync_server *s)
{
	for (size_t i = 0; i < s->contexts_n; i++)
		free(s->contexts[i]);
	s->contexts_n = 0;
}

static void fail(struct sync_server *s, enum source_problem problem, const char *why)
{
	s->problem = problem;
	s->done(s->arg, why);
}

/* ---- the three reads ---- */

static void policy_entry(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct sync_server *s = arg;

	if (type != LDAP_RES_SEARCH_ENTRY || s->has_policy)
		return;
	s->has_policy = true;
	each_value(ld, m, policy_attrs, take_value, s);
}

static void policy_done(void *arg, const struct directory_result *r)
{
	struct sync_server *s = arg;

	if (r->rc == LDAP_SERVER_DOWN || r->rc == LDAP_TIMEOUT)
		fail(s, SOURCE_UNREACHABLE, "the connection broke while the server was looked at");
	else
		s->done(s->arg, NULL); /* no policy shown is an answer too */
}

static void base_entry(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct sync_server *s = arg;

	if (type != LDAP_RES_SEARCH_ENTRY)
		return;
	s->base_seen = true;
	each_value(ld, m, base_attrs, take_value, s);
}

static void base_done(void *arg, const struct directory_result *r)
{
	struct sync_server *s = arg;
	struct directory_search search = {.base = s->base_dn,
					  .scope = LDAP_SCOPE_SUBTREE,
					  .filter = "(objectClass=pwdPolicy)",
					  .attrs = policy_attrs};

	if (r->rc == LDAP_SERVER_DOWN || r->rc == LDAP_TIMEOUT)
		fail(s, SOURCE_UNREACHABLE, "the connection broke while the server was looked at");
	else if (r->rc != LDAP_SUCCESS || !s->base_seen || id_is_zero(&s->base))
		fail(s, SOURCE_RIGHTS, "base_dn does not exist or is not shown to this account");
	else if (s->is_389)
		s->done(s->arg,
			NULL); /* its users carry passwordExpirationTime and accountUnlockTime themselves */
	else if (directory_search(s->directory, &search, policy_entry, policy_done, s) == 0)
		fail(s, SOURCE_UNREACHABLE, "the connection broke while the server was looked at");
}

static void root_entry(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	if (type == LDAP_RES_SEARCH_ENTRY)
		each_value(ld, m, root_attrs, take_value, arg);
}

static void root_done(void *arg, const struct directory_result *r)
{
	struct sync_server *s = arg;
	struct directory_search search = {
		.base = s->base_dn, .scope = LDAP_SCOPE_BASE, .attrs = base_attrs};

	if (r->rc != LDAP_SUCCESS)
		fail(s, SOURCE_UNREACHABLE, "the root DSE cannot be read");
	else if (!s->has_sync)
		fail(s, SOURCE_RIGHTS,
		     "this server does not offer content synchronization (RFC 4533): on OpenLDAP "
		     "load overlay "
		     "syncprov, on 389-DS enable Retro Changelog and Content Synchronization, or "
		     "use driver poll");
	else if (directory_search(s->directory, &search, base_entry, base_done, s) == 0)
		fail(s, SOURCE_UNREACHABLE, "the connection broke while the server was looked at");
}

void sync_server_look(struct sync_server *s, struct directory *d, const char *base,
		      void (*done)(void *arg, const char *why), void *arg)
{
	struct directory_search search = {
		.base = "", .scope = LDAP_SCOPE_BASE, .attrs = root_attrs};

	sync_server_done(s);
	/* What it is stays known while it is asked again. */
	*s = (struct sync_server){.is_389 = s->is_389,
				  .first = s->first,
				  .directory = d,
				  .base_dn = base,
				  .done = done,
				  .arg = arg};
	if (directory_search(d, &search, root_entry, root_done, s) == 0)
		fail(s, SOURCE_UNREACHABLE, "the connection broke while the server was looked at");
}

/* ---- compared with a cookie ---- */

static size_t slices(const struct sync_server *s, struct slice out[static SYNC_CONTEXTS_MAX])
{
	for (size_t i = 0; i < s->contexts_n; i++)
		out[i] = slice_of(s->contexts[i]);
	return s->contexts_n;
}

/* Without contextCSN (no right to read it) nothing can be said; result 53 will tell. */
bool sync_server_is_behind(const struct sync_server *s, const struct sync_cookie *c)
{
	struct slice csns[SYNC_CONTEXTS_MAX];
	size_t n = slices(s, csns);

	if (c->numbered)
		return s->is_389 && s->last > 0 && c->number > s->last;
	return n > 0 && sync_cookie_is_behind(c, csns, n);
}

bool sync_server_is_ahead(const struct sync_server *s, const struct sync_cookie *c)
{
	struct slice csns[SYNC_CONTEXTS_MAX];
	size_t n = slices(s, csns);

	return !c->numbered && sync_cookie_is_ahead(c, csns, n);
}

/* ---- check ---- */

static int say_step(directory_say_fn say, void *arg, bool ok, const char *step, const char *text)
{
	say(arg, ok, step, text);
	return ok ? 0 : 1;
}

/* The persistent search itself, ended at the first sign: only it shows whether the overlay is on this database. */
static int try_sync(LDAP *ld, const struct directory_conf *c)
{
	CLEANUP(buf_cleanup) struct buf request = {0};
	char oid[] = LDAP_CONTROL_SYNC, none[] = LDAP_NO_ATTRS;
	LDAPControl control = {.ldctl_oid = oid, .ldctl_iscritical = 1};
	LDAPControl *controls[] = {&control, NULL};
	char *attrs[] = {none, NULL};
	struct timeval timeout = {10, 0};
	LDAPMessage *m = NULL;
	int msgid, type, rc;

	sync_request((struct slice){0}, false, &request);
	control.ldctl_value = (struct berval){request.n, request.p};
	rc = ldap_search_ext(ld, directory_conf_base(c), LDAP_SCOPE_BASE, "(objectClass=*)", attrs,
			     0, controls, NULL, NULL, LDAP_NO_LIMIT, &msgid);
	if (rc != LDAP_SUCCESS)
		return rc;
	type = ldap_result(ld, msgid, LDAP_MSG_ONE, &timeout, &m);
	rc = type > 0 ? LDAP_SUCCESS : LDAP_TIMEOUT;
	if (type == LDAP_RES_SEARCH_RESULT)
		(void)ldap_parse_result(ld, m, &rc, NULL, NULL, NULL, NULL, 0);
	ldap_msgfree(m);
	ldap_abandon_ext(ld, msgid, NULL, NULL);
	return rc;
}

static int check_reading(LDAP *ld, const struct directory_conf *c, directory_say_fn say, void *arg,
			 const struct sync_server *s)
{
	static const char *const attrs[] = {"entryUUID", "nsUniqueId", NULL};
	LDAPMessage *m = NULL;
	CLEANUP(buf_cleanup) struct buf text = {0};
	int failed = 0;
	struct directory_search people = {.base = directory_conf_base(c),
					  .scope = LDAP_SCOPE_SUBTREE,
					  .filter = s->is_389 ? entry_schema_389ds.user_filter
							      : entry_schema_openldap.user_filter,
					  .attrs = attrs};
	int rc = directory_search_now(ld, c, &people, &m);

	buf_addf(&text, "%d people are shown%s%s", ldap_count_entries(ld, m),
		 rc != LDAP_SUCCESS ? ": " : "", rc != LDAP_SUCCESS ? ldap_err2string(rc) : "");
	if (rc == LDAP_SIZELIMIT_EXCEEDED)
		buf_adds(&text, " (this account needs unlimited size and time)");
	failed += say_step(say, arg, rc == LDAP_SUCCESS && ldap_count_entries(ld, m) > 0, "people",
			   text.p);
	ldap_msgfree(m);
	directory_check_secrets(ld, c, say, arg);
	return failed;
}

static int check_more(LDAP *ld, const struct directory_conf *c, directory_say_fn say, void *arg)
{
	struct sync_server s = {0};
	LDAPMessage *m = NULL;
	int failed = 0;
	struct directory_search root = {.base = "", .scope = LDAP_SCOPE_BASE, .attrs = root_attrs};
	int rc = directory_search_now(ld, c, &root, &m);

	if (rc == LDAP_SUCCESS && ldap_count_entries(ld, m) == 1)
		each_value(ld, ldap_first_entry(ld, m), root_attrs, take_value, &s);
	ldap_msgfree(m);
	failed += say_step(say, arg, s.has_sync, "control",
			   s.has_sync ? "content synchronization (RFC 4533) is offered"
				      : "content synchronization (RFC 4533) is not offered");
	rc = s.has_sync ? try_sync(ld, c) : LDAP_SUCCESS;
	failed += say_step(say, arg, rc == LDAP_SUCCESS, "sync",
			   rc == LDAP_SUCCESS ? "the base can be followed" : ldap_err2string(rc));
	if (s.is_389)
		failed += say_step(say, arg, s.last > 0, "changelog",
				   s.last > 0 ? "the retro changelog is on"
					      : "the retro changelog is off, empty or not shown");
	failed += check_reading(ld, c, say, arg, &s);
	sync_server_done(&s);
	return failed;
}

int sync_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg)
{
	(void)name;
	return directory_check(conf, say, arg, check_more);
}
