#include "sync_cookie.h"
#include "sync_pdu.h"

#include "clock.h"
#include "crash.h"
#include "reader.h"
#include "source_syncrepl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* RFC 4533 refreshAndPersist against OpenLDAP and 389-DS. Two handles at one server: `main` carries nothing but the
 * persistent search, `side` everything else (rule 2).
 *
 *	idle ──main up, side up──► looking (root DSE, base, policy) ──► surveying ──► refreshing ──► persisting
 *	 ▲                                                                                │               │
 *	 └───────────────── broke; refused cookie (again, without it) ────────────────────┴───────────────┘ */
enum phase { IDLE, LOOKING, SURVEYING, REFRESHING, SETTLING, PERSISTING };

enum {
	HEARTBEAT_MS = 30 * 1000,
	STUCK_MS = 60 * 1000, /* the server is ahead of us for so long: the stream is dead */
	REFRESH_SILENCE_MS =
		5 * 60 * 1000, /* 389-DS gives no result when a size limit hits: rule 17 */
};

struct source {
	struct loop *loop;
	const struct conf_node *conf;
	struct source_host host, own_host;
	struct directory_conf *settings;
	struct directory *main, *side;
	struct reader *reader; /* the line's requests */
	struct reader *own;    /* entries that came without what is needed (389-DS) */
	const struct entry_schema *schema;
	char **attrs;
	struct buf filter;
	enum phase phase;

	struct sync_server server;
	struct sync_cookie cookie;
	struct buf base_id; /* of the cursor; empty: none yet */
	bool without_cookie, behind, full, present_phase;
	uint64_t search;
	int64_t heard_ms, ahead_since_ms;
	struct buf ahead_at; /* our cookie when the server was first seen ahead */
	struct id *again;    /* ids for `own` */
	size_t again_n;
	uint64_t again_token;
	size_t again_asked;
	bool cursor_due;
	struct loop_timer *heartbeat, *reconcile;
};

static void ask_again(struct source *s);

static void trouble(struct source *s, enum source_problem problem, const char *why)
{
	s->host.state(s->host.arg, false, directory_conf_uri(s->settings, directory_uri(s->main)),
		      problem, why);
}

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

static void own_answer(void *arg, uint64_t token, bool ok, const struct id *missing, size_t n)
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

static void own_image(void *arg, struct entry *e)
{
	struct source *s = arg;

	e->origin = ENTRY_LIVE;
	s->host.image(s->host.arg, e);
}

static void own_bad(void *arg, const struct id *id, const char *why)
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
		trouble(s, SOURCE_RIGHTS,
			"content synchronization is not offered for this base: on OpenLDAP the "
			"database needs "
			"overlay syncprov, on 389-DS the plugins Retro Changelog and Content "
			"Synchronization");
	else if (rc == LDAP_SIZELIMIT_EXCEEDED || rc == LDAP_ADMINLIMIT_EXCEEDED)
		trouble(s, SOURCE_RIGHTS,
			"a size limit stands against this account: it needs unlimited size and "
			"time");
	else if (rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_INSUFFICIENT_ACCESS)
		trouble(s, SOURCE_RIGHTS, "base_dn does not exist or is not shown to this account");
}

static void sync_start(struct source *s)
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

/* ---- preparation, on the side handle ---- */

static void surveyed(void *arg, bool ok)
{
	struct source *s = arg;

	if (s->phase != SURVEYING)
		return;
	if (!ok) {
		directory_fail(s->main, "the survey did not end");
		return;
	}
	s->host.surveyed(s->host.arg, !s->behind);
	sync_start(s);
}

static void use_schema(struct source *s, const struct entry_schema *schema)
{
	struct reader_settings settings = {
		.loop = s->loop,
		.directory = s->side,
		.source = s->conf,
		.schema = schema,
		.host = &s->host,
		.base = directory_conf_base(s->settings),
	};

	if (s->schema == schema)
		return;
	reader_free(s->reader);
	reader_free(s->own);
	directory_attrs_free(s->attrs);
	buf_clear(&s->filter);
	s->schema = schema;
	s->attrs = directory_attrs_new(s->conf, schema, NULL);
	directory_filter_all(s->conf, schema, &s->filter);
	s->reader = reader_new(&settings);
	settings.host = &s->own_host;
	s->own = reader_new(&settings);
}

static bool is_foreign(struct source *s)
{
	char id[ID_TEXT];

	id_format(&s->server.base, id);
	if (s->base_id.n > 0 && strcmp(s->base_id.p, id) != 0)
		return true;
	buf_clear(&s->base_id);
	buf_adds(&s->base_id, id);
	return false;
}

static void looked(void *arg, const char *why)
{
	struct source *s = arg;

	if (why != NULL) {
		directory_fail(s->main, why);
		trouble(s, s->server.problem, why);
		return;
	}
	if (is_foreign(s)) {
		directory_fail(s->main, "another directory");
		trouble(s, SOURCE_FOREIGN,
			"this is another directory than the one that was read before (its base has "
			"another id); "
			"nothing is done");
		return;
	}
	use_schema(s, s->server.is_389 ? &entry_schema_389ds : &entry_schema_openldap);
	s->behind = s->behind || sync_server_is_behind(&s->server, &s->cookie);
	if (s->server.is_389 && s->behind)
		s->without_cookie = true;
	s->host.state(s->host.arg, true, directory_conf_uri(s->settings, directory_uri(s->main)),
		      SOURCE_NONE, NULL);
	if (s->server.has_policy)
		s->host.policy(s->host.arg, &s->server.policy);
	if (!s->host.survey_wanted(s->host.arg)) {
		sync_start(s);
		return;
	}
	s->phase = SURVEYING;
	reader_survey(s->reader, surveyed, s);
}

/* ---- connections ---- */

static void main_up(void *arg, size_t uri)
{
	struct source *s = arg;

	s->phase = IDLE;
	s->behind = s->behind &&
		    s->without_cookie; /* a refusal just told us; else this server is asked anew */
	directory_stop(s->side);
	if (s->reader != NULL) {
		reader_stop(s->reader);
		reader_stop(s->own);
	}
	s->again_n = 0;
	s->again_token = 0;
	directory_start_at(s->side, uri);
}

static void main_down(void *arg, enum source_problem problem, const char *why, int64_t retry_ms)
{
	struct source *s = arg;

	(void)retry_ms;
	s->phase = IDLE;
	s->search = 0;
	s->ahead_since_ms = 0;
	trouble(s, problem, why);
}

static void side_up(void *arg, size_t uri)
{
	struct source *s = arg;

	(void)uri;
	directory_good(s->side);
	if (!directory_is_up(s->main) || s->phase != IDLE)
		return;
	s->phase = LOOKING;
	sync_server_look(&s->server, s->side, directory_conf_base(s->settings), looked, s);
}

static void side_down(void *arg, enum source_problem problem, const char *why, int64_t retry_ms)
{
	struct source *s = arg;

	(void)problem, (void)why, (void)retry_ms;
	if (s->phase == IDLE || s->phase == LOOKING || s->phase == SURVEYING)
		directory_fail(s->main, "the second connection failed");
}

/* ---- heartbeat ---- */

/* TCP keep-alive does not see a hung provider process (rule 16). */
static void beat_done(void *arg, const char *why)
{
	struct source *s = arg;
	CLEANUP(buf_cleanup) struct buf now = {0};

	if (why != NULL) {
		directory_fail(s->main, "the server does not answer the heartbeat");
		return;
	}
	if (s->server.has_policy)
		s->host.policy(s->host.arg, &s->server.policy);
	if (s->phase != PERSISTING || !sync_server_is_ahead(&s->server, &s->cookie)) {
		s->ahead_since_ms = 0;
		return;
	}
	sync_cookie_text(&s->cookie, &now);
	if (s->ahead_since_ms == 0 || !slice_equal(buf_slice(&now), buf_slice(&s->ahead_at))) {
		s->ahead_since_ms = clock_boot_ms();
		buf_clear(&s->ahead_at);
		buf_add(&s->ahead_at, now.p, now.n);
	} else if (clock_boot_ms() - s->ahead_since_ms >= STUCK_MS) {
		directory_fail(s->main, "the server has changes that it does not send");
	}
}

static void beat(void *arg)
{
	struct source *s = arg;

	loop_timer_set(s->heartbeat, HEARTBEAT_MS);
	if (s->phase == REFRESHING && clock_boot_ms() - s->heard_ms > REFRESH_SILENCE_MS)
		directory_fail(
			s->main,
			"no word for five minutes in the refresh (389-DS is silent when a size "
			"limit hits: set "
			"nsSizeLimit, nsLookThroughLimit and nsTimeLimit to -1 for this account)");
	else if (s->phase == PERSISTING && directory_is_up(s->side))
		sync_server_look(&s->server, s->side, directory_conf_base(s->settings), beat_done,
				 s);
}

/* 389-DS loses changes at the handover from refresh to persist (rule 12): everything is compared now and then. */
static void reconcile(void *arg)
{
	struct source *s = arg;

	loop_timer_set(s->reconcile, conf_int(s->conf, "sweep_interval"));
	if (!s->server.is_389 || s->phase != PERSISTING)
		return;
	s->without_cookie = true;
	directory_again(s->main, "reading everything to compare");
}

/* ---- the driver ---- */

static void destroy(struct source *s)
{
	if (s == NULL)
		return;
	directory_free(s->main);
	directory_free(s->side);
	reader_free(s->reader);
	reader_free(s->own);
	loop_timer_free(s->heartbeat);
	loop_timer_free(s->reconcile);
	directory_attrs_free(s->attrs);
	directory_conf_free(s->settings);
	sync_server_done(&s->server);
	sync_cookie_done(&s->cookie);
	buf_done(&s->filter);
	buf_done(&s->base_id);
	buf_done(&s->ahead_at);
	free(s->again);
	free(s);
}

static struct source *create(struct loop *loop, const struct conf_node *conf,
			     const struct source_host *host, struct buf *why)
{
	struct directory_conf *settings = directory_conf_new(conf, why);
	struct source *s;

	if (settings == NULL)
		return NULL;
	s = mem_alloc(sizeof(*s));
	*s = (struct source){.loop = loop, .conf = conf, .host = *host, .settings = settings};
	s->own_host = (struct source_host){
		.arg = s, .image = own_image, .bad = own_bad, .answer = own_answer};
	s->main = directory_new(loop, settings, &(struct directory_events){s, main_up, main_down});
	s->side = directory_new(loop, settings, &(struct directory_events){s, side_up, side_down});
	s->heartbeat = loop_timer_new(loop, beat, s);
	s->reconcile = loop_timer_new(loop, reconcile, s);
	return s;
}

static void start(struct source *s, const struct source_cursor *cursor)
{
	struct slice server = cursor != NULL ? cursor->server : (struct slice){0};

	sync_cookie_done(&s->cookie);
	buf_clear(&s->base_id);
	s->without_cookie = s->behind = s->cursor_due = false;
	if (cursor != NULL)
		(void)sync_cookie_merge(&s->cookie, cursor->cookie);
	if (server.n > 5 && memcmp(server.p, "base=", 5) == 0)
		buf_add(&s->base_id, server.p + 5, server.n - 5);
	directory_start(s->main);
	loop_timer_set(s->heartbeat, HEARTBEAT_MS);
	loop_timer_set(s->reconcile, conf_int(s->conf, "sweep_interval"));
}

static void stop(struct source *s)
{
	directory_stop(s->main);
	directory_stop(s->side);
	if (s->reader != NULL) {
		reader_stop(s->reader);
		reader_stop(s->own);
	}
	s->phase = IDLE;
	s->search = 0;
	s->again_n = 0;
	s->again_token = 0;
	loop_timer_set(s->heartbeat, -1);
	loop_timer_set(s->reconcile, -1);
}

static void reread(struct source *s, uint64_t token, const struct id *ids, size_t n)
{
	if (s->reader == NULL)
		s->host.answer(s->host.arg, token, false, NULL, 0);
	else
		reader_reread(s->reader, token, ids, n);
}

static void reread_below(struct source *s, uint64_t token, const char *dn)
{
	if (s->reader == NULL)
		s->host.answer(s->host.arg, token, false, NULL, 0);
	else
		reader_reread_below(s->reader, token, dn);
}

static void confirm(struct source *s, uint64_t token, const struct id *ids, size_t n)
{
	if (s->reader == NULL)
		s->host.answer(s->host.arg, token, false, NULL, 0);
	else
		reader_confirm(s->reader, token, ids, n);
}

const struct source_driver source_syncrepl = {
	.name = "syncrepl",
	.create = create,
	.start = start,
	.stop = stop,
	.destroy = destroy,
	.reread = reread,
	.reread_below = reread_below,
	.confirm = confirm,
	.check = sync_check,
};
