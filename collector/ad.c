#include "ad.h"

#include "account.h"
#include "clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OID_DIRSYNC	 "1.2.840.113556.1.4.841"
#define OID_NOTIFICATION "1.2.840.113556.1.4.528"
#define OID_EXTENDED_DN	 "1.2.840.113556.1.4.529"
#define OID_SHOW_DELETED "1.2.840.113556.1.4.417"

/* Well-known GUID of the container of deleted objects (MS-ADTS 6.1.1.4.4). */
#define WKGUID_DELETED "18E2EA80684F11D2B9AA00C04F79F805"

struct id ad_guid(const uint8_t raw[static 16])
{
	struct id id;

	entry_guid_swap(raw, id.b);
	return id;
}

int64_t ad_interval_ms(const char *text)
{
	char *end;
	long long ticks;

	if (!text)
		return 0;
	errno = 0;
	ticks = strtoll(text, &end, 10);
	if (errno || end == text || *end || ticks >= 0 || ticks == INT64_MIN)
		return 0;
	return -(ticks / 10000);
}

/* ---- marks ---- */

void ad_marks_done(struct ad_marks *m)
{
	free(m->at);
	*m = (struct ad_marks){0};
}

const struct ad_mark *ad_marks_of(const struct ad_marks *m, const struct id *invocation)
{
	for (size_t i = 0; i < m->n; i++) {
		if (id_equal(&m->at[i].invocation, invocation))
			return &m->at[i];
	}
	return NULL;
}

void ad_marks_raise(struct ad_marks *m, const struct id *invocation, uint64_t usn, uint64_t seen)
{
	struct ad_mark *mark = NULL;

	for (size_t i = 0; i < m->n && !mark; i++) {
		if (id_equal(&m->at[i].invocation, invocation))
			mark = &m->at[i];
	}
	if (!mark) {
		if (m->n >= AD_MARKS_MAX)
			return;
		m->at = mem_resize(m->at, (m->n + 1) * sizeof(*m->at));
		mark = &m->at[m->n++];
		*mark = (struct ad_mark){.invocation = *invocation};
	}
	if (usn > mark->usn)
		mark->usn = usn;
	if (seen > mark->seen)
		mark->seen = seen;
}

void ad_marks_take(struct ad_marks *m, const struct ad_server *s, uint64_t seen)
{
	m->domain = s->domain;
	m->current = s->invocation;
	ad_marks_raise(m, &s->invocation, s->usn, seen);
	for (size_t i = 0; i < s->vector_n; i++)
		ad_marks_raise(m, &s->vector[i].invocation, 0, s->vector[i].seen);
}

void ad_marks_format(const struct ad_marks *m, struct buf *out)
{
	char domain[ID_TEXT], dc[ID_TEXT];

	id_format(&m->domain, domain);
	id_format(&m->current, dc);
	buf_addf(out, "ad=1;domain=%s;current=%s;owed=%d", domain, dc, m->owed);
	if (m->last_usn > 0) {
		id_format(&m->last, dc);
		buf_addf(out, ";last=%s:%" PRIu64, dc, m->last_usn);
	}
	for (size_t i = 0; i < m->n; i++) {
		id_format(&m->at[i].invocation, dc);
		buf_addf(out, ";dc=%s:%" PRIu64 ":%" PRIu64, dc, m->at[i].usn, m->at[i].seen);
	}
}

/* Takes the piece up to `end` off text; the whole rest when there is no such character. */
static struct slice cut(struct slice *text, char end)
{
	const char *at = text->n ? memchr(text->p, end, text->n) : NULL;
	struct slice piece = *text;

	if (!at) {
		*text = (struct slice){0};
		return piece;
	}
	piece.n = (size_t)(at - text->p);
	*text = (struct slice){at + 1, text->n - piece.n - 1};
	return piece;
}

static int parse_u64(struct slice text, uint64_t *ret)
{
	uint64_t value = 0;

	if (text.n == 0 || text.n > 20)
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		unsigned digit = (unsigned)(text.p[i] - '0');

		if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

static int parse_mark(struct slice text, struct ad_marks *m)
{
	struct id invocation;
	uint64_t usn, seen;

	if (id_parse(cut(&text, ':'), &invocation) < 0 || parse_u64(cut(&text, ':'), &usn) < 0 ||
	    parse_u64(text, &seen) < 0)
		return -EINVAL;
	ad_marks_raise(m, &invocation, usn, seen);
	return 0;
}

static int parse_last(struct slice text, struct ad_marks *m)
{
	return id_parse(cut(&text, ':'), &m->last) < 0 ? -EINVAL : parse_u64(text, &m->last_usn);
}

static int parse_pair(struct slice key, struct slice value, struct ad_marks *m)
{
	if (slice_is(key, "ad"))
		return slice_is(value, "1") ? 0 : -EINVAL;
	if (slice_is(key, "domain"))
		return id_parse(value, &m->domain);
	if (slice_is(key, "current"))
		return id_parse(value, &m->current);
	if (slice_is(key, "last"))
		return parse_last(value, m);
	if (slice_is(key, "owed")) {
		m->owed = slice_is(value, "1");
		return 0;
	}
	return slice_is(key, "dc") ? parse_mark(value, m) : -EINVAL;
}

int ad_marks_parse(struct slice text, struct ad_marks *ret)
{
	struct ad_marks m = {0};

	while (text.n > 0) {
		struct slice pair = cut(&text, ';');
		struct slice key = cut(&pair, '=');

		if (parse_pair(key, pair, &m) < 0) {
			ad_marks_done(&m);
			return -EINVAL;
		}
	}
	if (id_is_zero(&m.domain) || id_is_zero(&m.current)) {
		ad_marks_done(&m);
		return -EINVAL;
	}
	*ret = m;
	return 0;
}

static uint64_t little64(const uint8_t *p)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)p[i] << (8 * i);
	return value;
}

static uint32_t little32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int ad_vector_parse(struct slice blob, struct ad_mark **ret, size_t *ret_n)
{
	enum { HEAD = 16, CURSOR_1 = 24, CURSOR_2 = 32 };
	const uint8_t *p = (const uint8_t *)blob.p;
	struct ad_mark *at;
	size_t n, step;

	if (blob.n < HEAD)
		return -EINVAL;
	if (little32(p) != 1 && little32(p) != 2)
		return -EINVAL;
	step = little32(p) == 1 ? CURSOR_1 : CURSOR_2;
	n = little32(p + 8);
	if (n > AD_MARKS_MAX || blob.n - HEAD < n * step)
		return -EINVAL;
	at = mem_array(n ? n : 1, sizeof(*at));
	for (size_t i = 0; i < n; i++) {
		at[i].invocation = ad_guid(p + HEAD + i * step);
		at[i].seen = little64(p + HEAD + i * step + 16);
	}
	*ret = at;
	*ret_n = n;
	return 0;
}

static uint64_t vector_of(const struct ad_server *s, const struct id *invocation)
{
	for (size_t i = 0; i < s->vector_n; i++) {
		if (id_equal(&s->vector[i].invocation, invocation))
			return s->vector[i].seen;
	}
	return 0;
}

struct ad_judgement ad_judge(const struct ad_marks *m, const struct ad_server *s)
{
	if (!id_equal(&m->domain, &s->domain))
		return (struct ad_judgement){
			AD_FOREIGN, false, "the server belongs to another domain than the cursor"};
	for (size_t i = 0; i < m->n; i++) {
		const struct ad_mark *mark = &m->at[i];

		if (id_equal(&mark->invocation, &s->invocation)) {
			if (s->usn < mark->usn || s->usn < mark->seen)
				return (struct ad_judgement){AD_FULL, true,
							     "the server's highestCommittedUSN "
							     "went back: restored from a backup"};
		} else if (vector_of(s, &mark->invocation) < mark->seen) {
			return (struct ad_judgement){
				AD_FULL, true,
				"the server has not yet replicated all that was read elsewhere"};
		}
	}
	if (m->last_usn > 0 && id_equal(&m->current, &s->invocation) && s->last_usn < m->last_usn)
		return (struct ad_judgement){
			AD_FULL, true,
			"the server has lost a change that was read there: restored from a backup"};
	return (struct ad_judgement){AD_RESUME, false, ""};
}

/* ---- the server ---- */

void ad_server_done(struct ad_server *s)
{
	free(s->nc);
	free(s->service);
	free(s->host);
	free(s->vector);
	*s = (struct ad_server){.base = s->base, .last = s->last};
}

void ad_ask(const struct ad_server *s, enum ad_question q, struct buf *text,
	    struct directory_search *ret)
{
	static const char *const root[] = {"namingContexts",	  "configurationNamingContext",
					   "schemaNamingContext", "dsServiceName",
					   "dnsHostName",	  "highestCommittedUSN",
					   "currentTime",	  "supportedControl",
					   "vendorName",	  NULL};
	static const char *const service[] = {"invocationId", NULL};
	static const char *const head[] = {"objectGUID", "replUpToDateVector", "maxPwdAge",
					   "lockoutDuration", NULL};
	static const char *const any[] = {"objectGUID", "isDeleted", NULL};
	static const char *const changed[] = {"uSNChanged", NULL};
	static const char *const usn[] = {"highestCommittedUSN", "currentTime", NULL};

	*ret = (struct directory_search){.scope = LDAP_SCOPE_BASE};
	buf_clear(text);
	switch (q) {
	case AD_ROOT:
		ret->attrs = root;
		break;
	case AD_SERVICE:
		buf_adds(text, s->service);
		ret->attrs = service;
		break;
	case AD_HEAD:
		buf_adds(text, s->nc);
		ret->attrs = head;
		break;
	case AD_BASE:
		buf_adds(text, s->base);
		ret->attrs = any;
		break;
	case AD_DELETED:
		buf_addf(text, "<WKGUID=" WKGUID_DELETED ",%s>", s->nc);
		ret->attrs = any;
		break;
	case AD_LAST:
		directory_guid_dn(&s->last, text);
		ret->attrs = changed;
		break;
	case AD_USN:
		ret->attrs = usn;
		break;
	case AD_QUESTIONS:
		break;
	}
	ret->base = text->p ? text->p : "";
}

static char *first_text(LDAP *ld, LDAPMessage *m, const char *attr)
{
	struct berval **values = ldap_get_values_len(ld, m, attr);
	char *text = NULL;

	if (values && values[0])
		text = slice_dup((struct slice){values[0]->bv_val, values[0]->bv_len});
	ldap_value_free_len(values);
	return text;
}

static struct id first_guid(LDAP *ld, LDAPMessage *m, const char *attr)
{
	struct berval **values = ldap_get_values_len(ld, m, attr);
	struct id id = {0};

	if (values && values[0] && values[0]->bv_len == sizeof(id.b))
		id = ad_guid((const uint8_t *)values[0]->bv_val);
	ldap_value_free_len(values);
	return id;
}

/* The naming context that holds base_dn; not the configuration's and the schema's, which hold no accounts. */
static void choose_context(struct ad_server *s, LDAP *ld, LDAPMessage *m)
{
	struct berval **values = ldap_get_values_len(ld, m, "namingContexts");
	CLEANUP(free_cleanup) char *configuration = first_text(ld, m, "configurationNamingContext");
	const struct berval *best = NULL;

	for (int i = 0; values && values[i]; i++) {
		const char *nc = values[i]->bv_val;

		if ((!configuration || !dn_within(nc, configuration)) && dn_within(s->base, nc) &&
		    (!best || values[i]->bv_len > best->bv_len))
			best = values[i];
	}
	s->nc = best ? mem_dup(best->bv_val) : NULL;
	ldap_value_free_len(values);
}

static uint64_t first_u64(LDAP *ld, LDAPMessage *m, const char *attr)
{
	CLEANUP(free_cleanup) char *text = first_text(ld, m, attr);
	uint64_t value;

	return text && parse_u64(slice_of(text), &value) == 0 ? value : 0;
}

static void answer_clock(struct ad_server *s, LDAP *ld, LDAPMessage *m)
{
	CLEANUP(free_cleanup) char *text = first_text(ld, m, "currentTime");
	int64_t unix_ms = clock_generalized_ms(text);

	s->has_clock = unix_ms != 0;
	s->ahead_ms = unix_ms - clock_unix_ms();
}

static void answer_root(struct ad_server *s, LDAP *ld, LDAPMessage *m)
{
	struct berval **controls = ldap_get_values_len(ld, m, "supportedControl");
	CLEANUP(free_cleanup) char *vendor = first_text(ld, m, "vendorName");

	ad_server_done(s);
	choose_context(s, ld, m);
	s->service = first_text(ld, m, "dsServiceName");
	s->host = first_text(ld, m, "dnsHostName");
	s->samba = vendor && strstr(vendor, "Samba");
	s->usn = first_u64(ld, m, "highestCommittedUSN");
	answer_clock(s, ld, m);
	for (int i = 0; controls && controls[i]; i++) {
		s->dirsync |= strcmp(controls[i]->bv_val, OID_DIRSYNC) == 0;
		s->notifies |= strcmp(controls[i]->bv_val, OID_NOTIFICATION) == 0 && !s->samba;
	}
	ldap_value_free_len(controls);
}

static void answer_head(struct ad_server *s, LDAP *ld, LDAPMessage *m)
{
	struct berval **vector = ldap_get_values_len(ld, m, "replUpToDateVector");
	CLEANUP(free_cleanup) char *age = first_text(ld, m, "maxPwdAge");
	CLEANUP(free_cleanup) char *lockout = first_text(ld, m, "lockoutDuration");
	struct ad_mark *at;
	size_t n;

	s->domain = first_guid(ld, m, "objectGUID");
	s->policy = (struct source_policy){ad_interval_ms(age), ad_interval_ms(lockout)};
	if (vector && vector[0] &&
	    ad_vector_parse((struct slice){vector[0]->bv_val, vector[0]->bv_len}, &at, &n) == 0) {
		free(s->vector);
		s->vector = at;
		s->vector_n = n;
	}
	ldap_value_free_len(vector);
}

void ad_answer(struct ad_server *s, enum ad_question q, LDAP *ld, LDAPMessage *m)
{
	struct id id;

	switch (q) {
	case AD_ROOT:
		answer_root(s, ld, m);
		break;
	case AD_SERVICE:
		s->invocation = first_guid(ld, m, "invocationId");
		break;
	case AD_HEAD:
		answer_head(s, ld, m);
		break;
	case AD_BASE:
		s->base_exists = true;
		break;
	case AD_DELETED:
		/* Without the right the server still gives the DN, without attributes. */
		id = first_guid(ld, m, "objectGUID");
		s->deletions = !id_is_zero(&id);
		break;
	case AD_LAST:
		s->last_usn = first_u64(ld, m, "uSNChanged");
		break;
	case AD_USN:
		s->usn = first_u64(ld, m, "highestCommittedUSN");
		answer_clock(s, ld, m);
		break;
	case AD_QUESTIONS:
		break;
	}
}

void ad_deleted_right(const struct ad_server *s, struct buf *out)
{
	buf_addf(out,
		 "the account does not see deletions: it needs List Contents and Read Property on "
		 "\"CN=Deleted "
		 "Objects,%s\" (dsacls \"CN=Deleted Objects,%s\" /takeownership, then /g "
		 "DOMAIN\\account:LCRP)",
		 s->nc, s->nc);
}

enum source_problem ad_server_problem(const struct ad_server *s, bool dirsync, struct buf *why)
{
	if (!s->nc || !s->base_exists || id_is_zero(&s->domain)) {
		buf_adds(why, "base_dn is in none of the server's domains, or cannot be read");
		return SOURCE_FOREIGN;
	}
	if (id_is_zero(&s->invocation)) {
		buf_adds(why, "the server's invocationId cannot be read: grant Read on its NTDS "
			      "Settings object");
		return SOURCE_RIGHTS;
	}
	if (dirsync && !s->dirsync) {
		buf_adds(why, "the server offers no DirSync: driver poll may do");
		return SOURCE_RIGHTS;
	}
	if (!s->deletions) {
		ad_deleted_right(s, why);
		return SOURCE_RIGHTS;
	}
	return SOURCE_NONE;
}

static LDAPControl *control_new(const char *oid, const void *value, size_t n)
{
	struct berval bv = {n, mem_alloc(n + 1)};
	LDAPControl *control = NULL;

	if (n > 0)
		memcpy(bv.bv_val, value, n);
	if (ldap_control_create(oid, 1, n ? &bv : NULL, 1, &control) != LDAP_SUCCESS)
		abort();
	free(bv.bv_val);
	return control;
}

LDAPControl **ad_controls_new(void)
{
	static const uint8_t string_form[] = {0x30, 0x03, 0x02, 0x01, 0x01};
	LDAPControl **controls = ldap_memcalloc(3, sizeof(LDAPControl *));

	if (!controls)
		abort();
	controls[0] = control_new(OID_EXTENDED_DN, string_form, sizeof(string_form));
	controls[1] = control_new(OID_SHOW_DELETED, NULL, 0);
	return controls;
}
