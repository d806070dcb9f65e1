#include "dirsync_page.h"

#include "ad.h"
#include "ad_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	COOKIE_MAX = 256 << 10, /* 108 bytes and 24 per further DC: ten thousand DCs */
	MAX_BYTES = 1 << 20,	/* of one answer, Windows */
	WHOLE_TIMEOUT_MS = 5 * 60 * 1000,
	PATIENCE =
		4, /* operation_timeouts: a page's whole set is computed before its first entry */
};

/* 0x80000000: linked attributes as single values; 1: with the rights of the account, as our own reads have (without it the
 * account needs a right and would be told of objects that it cannot read). MS-ADTS 3.1.1.3.4.1.3. */
static const uint32_t flags_plain = 0x80000001, flags_replication = 0x80000000;

/* Every class whose change concerns somebody, by objectClass alone: tombstones lose objectCategory and sAMAccountType, so that a
 * filter over these hides deletions (active-directory.md 3.3). */
static const char watched[] =
	"(|(objectClass=user)(objectClass=group)(objectClass=organizationalUnit)"
	"(objectClass=container)(objectClass=domainDNS)(objectClass=msDS-PasswordSettings))";

struct dirsync_page *dirsync_page_new(struct directory *d, const struct conf_node *source)
{
	static const char *const more[] = {"name", "isDeleted", "maxPwdAge", "lockoutDuration",
					   NULL};
	struct dirsync_page *p = mem_alloc(sizeof(*p));

	p->directory = d;
	p->attrs = directory_attrs_new(source, &entry_schema_ad, more);
	p->flags = flags_plain;
	p->patience_ms = PATIENCE * conf_int(source, "operation_timeout");
	p->controls = ad_controls_new();
	return p;
}

void dirsync_page_free(struct dirsync_page *p)
{
	if (!p)
		return;
	dirsync_page_stop(p);
	directory_attrs_free(p->attrs);
	ldap_controls_free(p->controls);
	buf_done(&p->cookie);
	free(p->ids);
	free(p);
}

void dirsync_page_stop(struct dirsync_page *p)
{
	if (p->op)
		directory_abandon(p->directory, p->op);
	p->op = 0;
	p->n = 0;
}

static void take(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct dirsync_page *p = arg;
	struct berval **guid;

	if (type != LDAP_RES_SEARCH_ENTRY)
		return;
	guid = ldap_get_values_len(ld, m, "objectGUID");
	if (guid && guid[0] && guid[0]->bv_len == 16) {
		if (p->n == p->cap) {
			p->cap = p->cap ? p->cap * 2 : 64;
			p->ids = mem_resize(p->ids, p->cap * sizeof(*p->ids));
		}
		p->ids[p->n++] = ad_guid((const uint8_t *)guid[0]->bv_val);
	}
	ldap_value_free_len(guid);
}

/* Static text of what is wrong with the page's end; NULL: its cookie is taken. */
static const char *take_cookie(struct dirsync_page *p, LDAPControl **controls)
{
	LDAPControl *control = ldap_control_find(LDAP_CONTROL_X_DIRSYNC, controls, NULL);
	struct berval cookie = {0};
	const char *wrong = NULL;
	int more = 0;

	if (!control)
		return "the server ended DirSync without a cookie";
	/* libldap reads through a null pointer when the value is empty (2.5.13). */
	if (control->ldctl_value.bv_len == 0 ||
	    ldap_parse_dirsync_control(directory_ldap(p->directory), control, &more, &cookie) !=
		    LDAP_SUCCESS)
		return "the server's DirSync control cannot be read";
	if (cookie.bv_len == 0 || !cookie.bv_val)
		wrong = "the server ended DirSync without a cookie";
	else if (cookie.bv_len > COOKIE_MAX)
		wrong = "the server's DirSync cookie is larger than 256 KiB";
	else if (more && p->n == 0 &&
		 slice_equal((struct slice){cookie.bv_val, cookie.bv_len}, p->sent))
		wrong = "the server says that there is more, but does not go on";
	if (!wrong) {
		buf_clear(&p->cookie);
		buf_add(&p->cookie, cookie.bv_val, cookie.bv_len);
		p->more = more != 0;
		p->n = ad_ids_unique(p->ids, p->n);
	}
	ber_memfree(cookie.bv_val);
	return wrong;
}

static const char *take_usn(struct dirsync_page *p)
{
	buf_clear(&p->cookie);
	buf_addf(&p->cookie, "%" PRIu64, p->usn);
	p->more = false;
	p->n = ad_ids_unique(p->ids, p->n);
	return NULL;
}

/* true: the other flags are tried. */
static bool other_flags(struct dirsync_page *p)
{
	if (p->flags != flags_plain) {
		p->flags = flags_plain;
		return false;
	}
	p->flags = flags_replication;
	dirsync_page_ask(p, p->nc, p->sent);
	return true;
}

static void refused(struct dirsync_page *p, const struct directory_result *r)
{
	bool cookie =
		!p->by_usn && (r->rc == LDAP_UNAVAILABLE_CRITICAL_EXTENSION ||
			       r->rc == LDAP_UNWILLING_TO_PERFORM || r->rc == LDAP_PROTOCOL_ERROR);
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (!cookie && (p->by_usn || r->rc != LDAP_INSUFFICIENT_ACCESS)) {
		buf_addf(&why, "asking for changes: %s (%s)", ldap_err2string(r->rc), r->text);
		p->done(p->arg, DIRSYNC_BROKEN, why.p);
	} else if (cookie && p->sent.n > 0) {
		p->done(p->arg, DIRSYNC_COOKIE,
			"the server does not take the DirSync cookie: everything is read again");
	} else if (!other_flags(p)) {
		buf_addf(&why,
			 "the server refuses DirSync (%s): grant the account \"Replicating "
			 "Directory Changes\" on %s",
			 r->text, p->nc);
		p->done(p->arg, DIRSYNC_DENIED, why.p);
	}
}

static void page_done(void *arg, const struct directory_result *r)
{
	struct dirsync_page *p = arg;
	const char *wrong;

	p->op = 0;
	if (r->rc == LDAP_SERVER_DOWN)
		return;
	if (r->rc) {
		refused(p, r);
		return;
	}
	wrong = p->by_usn ? take_usn(p) : take_cookie(p, r->controls);
	p->done(p->arg, wrong ? DIRSYNC_BROKEN : DIRSYNC_PAGE, wrong ? wrong : "");
}

static void ask_usn(struct dirsync_page *p)
{
	static const char *const id[] = {"objectGUID", NULL};
	CLEANUP(free_cleanup) char *since = slice_dup(p->sent);
	CLEANUP(buf_cleanup) struct buf filter = {0};

	buf_addf(&filter, "(&(uSNChanged>=%llu)%s)", strtoull(since, NULL, 10) + 1, watched);
	p->op = directory_search(
		p->directory,
		&(struct directory_search){
			.base = p->nc,
			.scope = LDAP_SCOPE_SUBTREE,
			.filter = filter.p,
			.attrs = id,
			.controls = p->controls,
			.page = 1000,
			.timeout_ms = p->sent.n ? p->patience_ms : WHOLE_TIMEOUT_MS,
		},
		take, page_done, p);
}

void dirsync_page_ask(struct dirsync_page *p, const char *nc, struct slice cookie)
{
	static const char *const names[] = {"name", "isDeleted", NULL};
	CLEANUP(free_cleanup) char *bytes = slice_dup(cookie);
	struct berval bv = {cookie.n, bytes};
	LDAPControl *controls[2] = {0};
	LDAP *ld = directory_ldap(p->directory);
	struct directory_search search = {
		.base = nc,
		.scope = LDAP_SCOPE_SUBTREE,
		.filter = watched,
		.attrs = cookie.n ? (const char *const *)p->attrs : names,
		.controls = controls,
		.timeout_ms = cookie.n ? p->patience_ms : WHOLE_TIMEOUT_MS,
	};

	p->nc = nc;
	p->sent = cookie;
	p->n = 0;
	if (p->by_usn) {
		ask_usn(p);
		return;
	}
	/* The flags must go out as a 4-octet (negative) INTEGER: Windows refuses five. */
	if (!ld || ldap_create_dirsync_control(ld, (int)p->flags, MAX_BYTES, &bv, &controls[0]) !=
			   LDAP_SUCCESS)
		return;
	p->op = directory_search(p->directory, &search, take, page_done, p);
	ldap_control_free(controls[0]);
}
