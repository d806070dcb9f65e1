/* RFC 4533 refreshAndPersist against OpenLDAP and 389-DS. Two handles at one server: `main` carries nothing but the
 * persistent search, `side` everything else (rule 2).
 *
 *	idle ──main up, side up──► looking (root DSE, base, policy) ──► surveying ──► refreshing ──► persisting
 *	 ▲                                                                                │               │
 *	 └───────────────── broke; refused cookie (again, without it) ────────────────────┴───────────────┘ */
#include "sync_source.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>

enum {
	HEARTBEAT_MS = 30 * 1000,
	STUCK_MS = 60 * 1000, /* the server is ahead of us for so long: the stream is dead */
	REFRESH_SILENCE_MS =
		5 * 60 * 1000, /* 389-DS gives no result when a size limit hits: rule 17 */
};

void sync_trouble(struct source *s, enum source_problem problem, const char *why)
{
	s->host.state(s->host.arg, false, directory_conf_uri(s->settings, directory_uri(s->main)),
		      problem, why);
}

/* ---- preparation, on the side handle ---- */

static void surveyed(void *arg, const char *failure)
{
	struct source *s = arg;
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (s->phase != SURVEYING)
		return;
	if (failure != NULL) {
		buf_addf(&why, "the survey did not end: %s", failure);
		directory_fail(s->main, why.p);
		return;
	}
	s->host.surveyed(s->host.arg, !s->behind);
	sync_search_start(s);
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
		sync_trouble(s, s->server.problem, why);
		return;
	}
	if (is_foreign(s)) {
		directory_fail(s->main, "another directory");
		sync_trouble(
			s, SOURCE_FOREIGN,
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
		sync_search_start(s);
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
	sync_trouble(s, problem, why);
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
		.arg = s, .image = sync_own_image, .bad = sync_own_bad, .answer = sync_own_answer};
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
