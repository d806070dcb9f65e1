#include "sync_source.h"

#include "clock.h"
#include "crash.h"
#include "sync_pdu.h"

#include <stdlib.h>
#include <string.h>

static void ask_again(struct source *s);

/* ---- cursor ---- */

static void give_cursor(struct source *s)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	CLEANUP(buf_cleanup) struct buf server = {0};
	struct source_cursor cursor;

	s->cursor_due = true;
	if (s->phase != PERSISTING || s->again_n > 0 || sync_cookie_is_empty(&s->cookie))
		return;
	s->cursor_due = false;
	sync_cookie_text(&s->cookie, &text);
	buf_addf(&server, "base=%s", s->base_id.p);
	cursor = (struct source_cursor){buf_slice(&text), buf_slice(&server)};
	s->host.cursor(s->host.arg, &cursor);
}

static void take_cookie(struct source *s, const struct buf *cookie)
{
	if (cookie->n > 0 && sync_cookie_merge(&s->cookie, buf_slice(cookie)))
		give_cursor(s);
}

/* ---- the refresh's end ---- */

/* Rule 5 and 6: what was not named is missing only after a full load or a present phase, and only from a server whose
 * state is not behind ours. */
static void settle(struct source *s)
{
	bool sweep = (s->full || (s->present_phase && !s->server.is_389)) && !s->behind;

	if (s->phase != SETTLING || s->again_n > 0)
		return;
	s->phase = PERSISTING;
	s->without_cookie = false;
	directory_good(s->main);
	CRASH_POINT("collector.refreshed");
	s->host.end(s->host.arg, sweep);
	give_cursor(s);
}

static void refresh_done(struct source *s, const struct sync_info *info)
{
	if (s->phase != REFRESHING)
		return;
	s->present_phase = s->present_phase || info->kind == SYNC_REFRESH_PRESENT;
	if (!info->done)
		return;
	/* Rule 7: a refresh's cookie is a state only now. After a full load what we had counts no more. */
	if (s->full && info->cookie.n > 0)
		sync_cookie_done(&s->cookie);
	if (info->cookie.n > 0)
		(void)sync_cookie_merge(&s->cookie, buf_slice(&info->cookie));
	s->phase = SETTLING;
	ask_again(s);
	settle(s);
}

/* ---- entries that must be read by id ---- */

static void read_later(struct source *s, const struct id *id)
{
	if ((s->again_n & (s->again_n - 1)) == 0)
		s->again = mem_resize(s->again,
				      (s->again_n == 0 ? 1 : s->again_n * 2) * sizeof(*s->again));
	s->again[s->again_n++] = *id;
	if (s->phase == PERSISTING)
		ask_again(s);
}

static void ask_again(struct source *s)
{
	if (s->again_token != 0 || s->again_n == 0 || s->own == NULL)
		return;
	s->again_asked = s->again_n < 1000 ? s->again_n : 1000;
	s->again_token = 1;
	reader_reread(s->own, s->again_token, s->again, s->again_asked);
}

void sync_own_answer(void *arg, uint64_t token, bool ok, const struct id *missing, size_t n)
{
	struct source *s = arg;

	(void)token, (void)missing, (void)n;
	s->again_token = 0;
	if (!ok) {
		directory_fail(s->main, "changed entries could not be read");
		return;
	}
	s->again_n -= s->again_asked;
	memmove(s->again, s->again + s->again_asked, s->again_n * sizeof(*s->again));
	ask_again(s);
	settle(s);
	if (s->cursor_due)
		give_cursor(s);
}

void sync_own_image(void *arg, struct entry *e)
{
	struct source *s = arg;

	e->origin = ENTRY_LIVE;
	s->host.image(s->host.arg, e);
}

void sync_own_bad(void *arg, const struct id *id, const char *why)
{
	struct source *s = arg;

	s->host.bad(s->host.arg, id, why);
}

/* ---- messages of the search ---- */

static bool state_of(LDAP *ld, LDAPMessage *m, struct sync_entry *ret)
{
	LDAPControl **controls = NULL;
	LDAPControl *c;
	bool good = false;

	/* Before the entry is walked: that writes NULs into the message. */
	if (ldap_get_entry_controls(ld, m, &controls) != LDAP_SUCCESS)
		return false;
	c = ldap_control_find(LDAP_CONTROL_SYNC_STATE, controls, NULL);
	if (c != NULL)
		good = sync_read_state(&c->ldctl_value, ret) == 0;
	ldap_controls_free(controls);
	return good;
}

static void take_image(struct source *s, LDAP *ld, LDAPMessage *m, const struct id *id)
{
	struct id read = {{0}};
	const char *why = NULL;
	struct entry *e;

	/* The refresh of a resumed session has no operational attributes there: no id, no nsAccountLock. */
	if (s->server.is_389 && s->phase == REFRESHING && !s->full) {
		s->host.present(s->host.arg, id);
		read_later(s, id);
		return;
	}
	e = entry_new(ld, m, s->schema, &read, &why);
	if (e != NULL && id_equal(&e->id, id)) {
		s->host.image(s->host.arg, e);
		return;
	}
	entry_free(e);
	if (id_is_zero(&read) && s->server.is_389) {
		s->host.present(s->host.arg, id);
		read_later(s, id);
	} else {
		s->host.bad(s->host.arg, id,
			    why != NULL ? why : "the entry's id is not its syncUUID");
	}
}

static void take_entry(struct source *s, LDAP *ld, LDAPMessage *m)
{
	struct sync_entry state;

	if (!state_of(ld, m, &state)) {
		directory_fail(s->main, "an entry came without its sync state");
		return;
	}
	switch (state.state) {
	case SYNC_PRESENT:
		s->host.present(s->host.arg, &state.id);
		break;
	case SYNC_ADD:
	case SYNC_MODIFY:
		take_image(s, ld, m, &state.id);
		break;
	case SYNC_DELETE:
		s->host.gone(s->host.arg, &state.id);
		break;
	case SYNC_STATES:
		break;
	}
	if (s->phase == PERSISTING || s->phase == SETTLING)
		take_cookie(s, &state.cookie);
	sync_entry_done(&state);
}

static void take_info(struct source *s, const struct sync_info *info)
{
	switch (info->kind) {
	case SYNC_NEW_COOKIE:
		if (s->phase == PERSISTING || s->phase == SETTLING)
			take_cookie(s, &info->cookie);
		break;
	case SYNC_ID_SET:
		for (size_t i = 0; i < info->n; i++) {
			if (info->deletes)
				s->host.gone(s->host.arg, &info->ids[i]);
			else
				s->host.present(s->host.arg, &info->ids[i]);
		}
		break;
	case SYNC_REFRESH_DELETE:
	case SYNC_REFRESH_PRESENT:
		refresh_done(s, info);
		break;
	case SYNC_INFOS:
		break;
	}
}

static void take_intermediate(struct source *s, LDAP *ld, LDAPMessage *m)
{
	char *oid = NULL;
	struct berval *data = NULL;
	struct sync_info info;

	if (ldap_parse_intermediate(ld, m, &oid, &data, NULL, 0) == LDAP_SUCCESS && oid != NULL &&
	    data != NULL && strcmp(oid, LDAP_SYNC_INFO) == 0) {
		if (sync_read_info(data, &info) == 0) {
			take_info(s, &info);
			sync_info_done(&info);
		} else {
			directory_fail(s->main, "a sync info message cannot be decoded");
		}
	}
	ldap_memfree(oid);
	ber_bvfree(data);
}

static void message(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct source *s = arg;

	s->heard_ms = clock_boot_ms();
	if (type == LDAP_RES_SEARCH_ENTRY)
		take_entry(s, ld, m);
	else
		take_intermediate(s, ld, m);
}

/* ---- the search's end: it has none, except when the server refuses or gives up ---- */

static bool is_refused_cookie(const struct source *s, int rc)
{
	return !s->full && (rc == LDAP_SYNC_REFRESH_REQUIRED || rc == LDAP_UNWILLING_TO_PERFORM);
}

static void ended(void *arg, const struct directory_result *r)
{
	struct source *s = arg;
	char text[256];
	int rc = r->rc;

	s->search = 0;
	if (rc == LDAP_SERVER_DOWN)
		return; /* down() follows */
	if (is_refused_cookie(s, r->rc)) {
		/* 53: "consumer state is newer than provider": restored from a backup, so absence means nothing. */
		s->without_cookie = true;
		s->behind = s->behind || r->rc == LDAP_UNWILLING_TO_PERFORM;
		directory_again(s->main, "the server refuses our cookie: reading everything");
		return;
	}
	snprintf(text, sizeof(text), "the persistent search ended: %.200s (%d)", r->text, rc);
	directory_fail(s->main, text);
	if (rc == LDAP_UNAVAILABLE_CRITICAL_EXTENSION)
		sync_trouble(
			s, SOURCE_RIGHTS,
			"content synchronization is not offered for this base: on OpenLDAP the "
			"database needs "
			"overlay syncprov, on 389-DS the plugins Retro Changelog and Content "
			"Synchronization");
	else if (rc == LDAP_SIZELIMIT_EXCEEDED || rc == LDAP_ADMINLIMIT_EXCEEDED)
		sync_trouble(
			s, SOURCE_RIGHTS,
			"a size limit stands against this account: it needs unlimited size and "
			"time");
	else if (rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_INSUFFICIENT_ACCESS)
		sync_trouble(s, SOURCE_RIGHTS,
			     "base_dn does not exist or is not shown to this account");
}

void sync_search_start(struct source *s)
{
	CLEANUP(buf_cleanup) struct buf cookie = {0};
	CLEANUP(buf_cleanup) struct buf request = {0};
	LDAPControl control = {.ldctl_iscritical = 1};
	LDAPControl *controls[] = {&control, NULL};
	char oid[] = LDAP_CONTROL_SYNC;
	struct directory_search search = {
		.base = directory_conf_base(s->settings),
		.scope = LDAP_SCOPE_SUBTREE,
		.filter = s->filter.p,
		.attrs = (const char *const *)s->attrs,
		.controls = controls,
		.timeout_ms = DIRECTORY_FOREVER,
	};

	s->full = s->without_cookie || sync_cookie_is_empty(&s->cookie) ||
		  sync_cookie_is_trimmed(&s->cookie, s->server.first);
	s->present_phase = false;
	if (!s->full && s->cookie.numbered)
		sync_cookie_rewound(&s->cookie, s->server.first, &cookie);
	else if (!s->full)
		sync_cookie_text(&s->cookie, &cookie);
	sync_request(buf_slice(&cookie), false, &request);
	control.ldctl_oid = oid;
	control.ldctl_value = (struct berval){request.n, request.p};
	s->phase = REFRESHING;
	s->heard_ms = clock_boot_ms();
	s->host.begin(s->host.arg, s->full);
	s->search = directory_search(s->main, &search, message, ended, s);
}
