/* Active Directory and Samba by DirSync (MS-ADTS 3.1.1.3.4.1.3). DirSync only tells which ids changed: its deltas are no images (no
 * computed attributes, members as differences, an OU's rename without its children), so every id is read again from the same
 * server. A page's cookie becomes the cursor when all of its ids have been read.
 *
 *	stopped → connecting → probing → surveying → catching up → live ⟲ (USN grew: a cycle)
 *	              ▲___________│__________│____________│__________│   the connection broke
 *	              ▲_________________ refused (a right is missing, foreign domain): asked again every minute */
#include "ad.h"
#include "ad_read.h"
#include "dirsync_check.h"
#include "dirsync_page.h"
#include "log.h"
#include "reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	RECHECK_MS = 60 * 1000,
	NOTIFY_SPACING_MS = 250,
	CURSOR_EVERY_MS = 30 * 1000, /* of a server that is busy with what does not concern us */
	SWEEP_OWED_MS = 60 * 60 * 1000,
};

enum phase { STOPPED, CONNECTING, PROBING, SURVEYING, CATCHING_UP, LIVE, REFUSED };

struct source {
	struct loop *loop;
	const struct conf_node *conf;
	struct source_host host;
	bool by_usn; /* source_usn */
	const char *interval;
	struct directory_conf *settings;
	struct directory *directory;
	struct ad_server server;
	struct ad_probe *probe;
	struct dirsync_page *page;
	struct ad_read *read;
	struct reader *reader;
	LDAPControl **controls;
	struct loop_timer *timer;
	enum phase phase;

	struct ad_marks marks; /* what has been read, as a vector */
	struct buf cookie;     /* empty: from the beginning */
	bool full, behind,
		known; /* known: there was a cursor, so that an empty domain is no beginning */
	int64_t full_ms;

	/* the cycle */
	bool busy, notified;
	uint64_t covered; /* the USN up to which the last cycle reported */
	struct id *unfit;
	size_t unfit_n;
	size_t users, objects;
	uint64_t seen; /* highest uSNChanged since the connection, and whose */
	struct id last;
	int64_t asked_ms, cursor_ms;
	struct source_policy policy;
	bool reread_all;
};

static void cycle(struct source *s);
static void tick(void *arg);

static const char *uri_of(const struct source *s)
{
	return directory_conf_uri(s->settings, directory_uri(s->directory));
}

/* ---- the end of a connection ---- */

static void forget_work(struct source *s)
{
	loop_timer_set(s->timer, -1);
	ad_probe_stop(s->probe);
	dirsync_page_stop(s->page);
	ad_read_stop(s->read);
	s->busy = false;
	s->notified = false;
	s->reread_all = false;
	s->unfit_n = 0;
}

/* What no reconnect mends. Asked again now and then, so that a granted right is found. */
static void refuse(struct source *s, enum source_problem problem, const char *why)
{
	forget_work(s);
	s->phase = REFUSED;
	s->host.state(s->host.arg, false, uri_of(s), problem, why);
	if (s->phase != REFUSED)
		return;
	directory_stop(s->directory);
	loop_timer_set(s->timer, RECHECK_MS);
}

static void down(void *arg, enum source_problem problem, const char *why, int64_t retry_ms)
{
	struct source *s = arg;

	(void)retry_ms;
	forget_work(s);
	s->phase = CONNECTING;
	s->host.state(s->host.arg, false, uri_of(s), problem, why);
}

static void failed(struct source *s, int rc, const char *step, const char *text)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (rc == LDAP_SERVER_DOWN)
		return; /* down() comes */
	buf_addf(&why, "%s: %s (%s)", step, ldap_err2string(rc), text);
	directory_fail(s->directory, why.p);
}

static void begin_again(struct source *s, const char *why)
{
	buf_clear(&s->cookie);
	directory_again(s->directory, why);
}

/* ---- the cursor ---- */

/* The next look: at the interval, or at once after a notification, but not in a hot loop. */
static void wait_for_tick(struct source *s)
{
	int64_t wait = conf_int(s->conf, s->interval);
	int64_t spacing = s->asked_ms + NOTIFY_SPACING_MS - loop_now_ms(s->loop);

	if (s->notified && spacing < wait)
		wait = spacing > 0 ? spacing : 0;
	loop_timer_set(s->timer, wait);
}

static void go_live(struct source *s)
{
	s->busy = false;
	s->phase = LIVE;
	wait_for_tick(s);
}

static bool policy_changed(const struct source *s)
{
	return s->policy.max_password_age_ms != s->server.policy.max_password_age_ms ||
	       s->policy.lockout_ms != s->server.policy.lockout_ms;
}

static void tell_policy(struct source *s)
{
	s->policy = s->server.policy;
	s->host.policy(s->host.arg, &s->policy);
}

static void tell_clock(struct source *s)
{
	if (s->server.has_clock)
		s->host.clock(s->host.arg, s->server.ahead_ms);
}

static void give_cursor(struct source *s)
{
	CLEANUP(buf_cleanup) struct buf state = {0};

	ad_marks_format(&s->marks, &state);
	s->cursor_ms = loop_now_ms(s->loop);
	s->known = true;
	s->host.cursor(s->host.arg,
		       &(struct source_cursor){buf_slice(&s->cookie), buf_slice(&state)});
	if (s->phase == LIVE || s->phase == CATCHING_UP)
		go_live(s);
}

/* The vector and the counter were read after the objects: what has been read is at most that. */
static void closed(void *arg, int rc, const char *text)
{
	struct source *s = arg;

	if (rc) {
		failed(s, rc, "asking the server's state", text);
		return;
	}
	ad_marks_take(&s->marks, &s->server, s->seen);
	if (s->seen > 0) {
		s->marks.last = s->last;
		s->marks.last_usn = s->seen;
	}
	if (policy_changed(s)) {
		/* Expiry of passwords and locks follows it, without a change of any user. */
		tell_policy(s);
		s->reread_all = true;
		ad_read_search(s->read);
	} else {
		give_cursor(s);
	}
}

/* Everything of the enumeration was given. */
static bool end_enumeration(struct source *s)
{
	bool sweep = s->full && !s->behind && s->users > 0;

	if (s->full && s->users == 0 && s->known) {
		refuse(s, SOURCE_FOREIGN,
		       "the domain came back without a single user below base_dn");
		return false;
	}
	if (s->full) {
		ad_marks_done(&s->marks);
		s->marks.owed = s->behind;
		s->full_ms = loop_now_ms(s->loop);
	}
	s->full = false;
	s->behind = false;
	directory_good(s->directory);
	s->host.end(s->host.arg, sweep);
	return s->phase == CATCHING_UP;
}

static void end_cycle(struct source *s)
{
	static const enum ad_question state[] = {AD_HEAD, AD_USN, AD_QUESTIONS};
	bool due = s->objects > 0 || s->phase == CATCHING_UP ||
		   loop_now_ms(s->loop) - s->cursor_ms >= CURSOR_EVERY_MS;

	if (s->phase == CATCHING_UP && !end_enumeration(s))
		return;
	if (due)
		ad_probe_ask(s->probe, state, closed);
	else
		go_live(s);
}

/* ---- one page: its ids are read, then its cookie counts ---- */

static void ask_page(struct source *s)
{
	dirsync_page_ask(s->page, s->server.nc, buf_slice(&s->cookie));
}

static void page_read(struct source *s)
{
	buf_clear(&s->cookie);
	buf_add(&s->cookie, s->page->cookie.p, s->page->cookie.n);
	if (s->page->more)
		ask_page(s);
	else
		end_cycle(s);
}

static void base_checked(void *arg, int rc, const char *text)
{
	struct source *s = arg;

	if (rc) {
		failed(s, rc, "reading base_dn", text);
		return;
	}
	if (!s->server.base_exists) {
		refuse(s, SOURCE_FOREIGN, "base_dn is not there any more");
		return;
	}
	for (size_t i = 0; i < s->unfit_n; i++)
		s->host.gone(s->host.arg, &s->unfit[i]);
	s->unfit_n = 0;
	if (s->busy)
		page_read(s);
}

static void read_done(void *arg, int rc, const char *text, uint64_t seen, const struct id *last)
{
	static const enum ad_question base[] = {AD_BASE, AD_QUESTIONS};
	struct source *s = arg;

	if (rc) {
		failed(s, rc, "reading changed objects", text);
		return;
	}
	if (seen > s->seen) {
		s->seen = seen;
		s->last = *last;
	}
	if (s->reread_all) {
		s->reread_all = false;
		s->unfit_n = 0;
		give_cursor(s);
	} else if (s->unfit_n > 0) {
		/* Who stands outside base_dn has left it, unless it is the base that went away. */
		ad_probe_ask(s->probe, base, base_checked);
	} else {
		page_read(s);
	}
}

static void image(void *arg, struct entry *e)
{
	struct source *s = arg;

	s->users += e->class == ENTRY_USER;
	s->host.image(s->host.arg, e);
}

static void unfit(void *arg, const struct id *id)
{
	struct source *s = arg;

	s->unfit = mem_resize(s->unfit, (s->unfit_n + 1) * sizeof(*s->unfit));
	s->unfit[s->unfit_n++] = *id;
}

static void tombstone(void *arg, const struct id *id)
{
	struct source *s = arg;

	s->host.gone(s->host.arg, id);
}

static void bad(void *arg, const struct id *id, const char *why)
{
	struct source *s = arg;

	s->host.bad(s->host.arg, id, why);
}

static void page_done(void *arg, enum dirsync_outcome outcome, const char *text)
{
	struct source *s = arg;

	switch (outcome) {
	case DIRSYNC_PAGE:
		s->objects += s->page->n;
		if (s->page->n > 0)
			ad_read_ids(s->read, s->page->ids, s->page->n);
		else
			page_read(s);
		break;
	case DIRSYNC_COOKIE:
		begin_again(s, text);
		break;
	case DIRSYNC_DENIED:
		refuse(s, SOURCE_RIGHTS, text);
		break;
	case DIRSYNC_BROKEN:
	case DIRSYNC_OUTCOMES:
		directory_fail(s->directory, text);
		break;
	}
}

static void cycle(struct source *s)
{
	s->busy = true;
	s->notified = false;
	s->covered = s->server.usn;
	s->page->usn = s->server.usn;
	s->objects = 0;
	s->users = 0;
	s->unfit_n = 0;
	ask_page(s);
}

/* ---- live: the server's counter ---- */

static void counted(void *arg, int rc, const char *text)
{
	struct source *s = arg;

	s->busy = false;
	if (!rc)
		tell_clock(s);
	if (rc) {
		failed(s, rc, "asking highestCommittedUSN", text);
	} else if (s->server.usn < s->covered) {
		directory_again(s->directory, "the server's highestCommittedUSN went back");
	} else if (s->marks.owed && loop_now_ms(s->loop) - s->full_ms >= SWEEP_OWED_MS) {
		begin_again(s, "reading everything again: the last full read came from a server "
			       "that was behind");
	} else if (s->server.usn > s->covered || s->notified) {
		cycle(s);
	} else {
		wait_for_tick(s);
	}
}

static void tick(void *arg)
{
	static const enum ad_question usn[] = {AD_USN, AD_QUESTIONS};
	struct source *s = arg;

	if (s->phase == REFUSED) {
		s->phase = CONNECTING;
		directory_start(s->directory);
	} else if (s->phase == LIVE && !s->busy) {
		s->busy = true;
		s->asked_ms = loop_now_ms(s->loop);
		ad_probe_ask(s->probe, usn, counted);
	}
}

static void notification(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct source *s = arg;

	(void)ld;
	(void)m;
	if (type != LDAP_RES_SEARCH_ENTRY)
		return;
	s->notified = true;
	if (s->phase == LIVE && !s->busy)
		wait_for_tick(s);
}

static void notification_ended(void *arg, const struct directory_result *r)
{
	(void)arg;
	log_msg(LOG_DEBUG_, "DP-1302",
		"change notification ended (%s); the counter is asked all the same", r->text);
}

/* ---- the beginning of a connection ---- */

static void begin(struct source *s)
{
	s->phase = CATCHING_UP;
	s->seen = 0;
	s->host.begin(s->host.arg, s->full);
	if (s->phase != CATCHING_UP)
		return;
	/* Before the catch-up, so that nothing falls between. */
	if (s->server.notifies && !s->by_usn &&
	    !ad_watch(s->directory, s->server.nc, notification, notification_ended, s))
		log_msg(LOG_DEBUG_, "DP-1302", "change notification was not sent");
	cycle(s);
}

static void surveyed(void *arg, bool ok)
{
	struct source *s = arg;

	if (!ok) {
		if (directory_is_up(s->directory))
			directory_fail(s->directory, "the survey of the domain failed");
		return;
	}
	s->host.surveyed(s->host.arg, !s->behind);
	if (s->phase == SURVEYING)
		begin(s);
}

static void connected(struct source *s, const char *why)
{
	s->host.state(s->host.arg, true, uri_of(s), SOURCE_NONE, why);
	if (s->phase != PROBING)
		return;
	tell_clock(s);
	tell_policy(s);
	s->phase = SURVEYING;
	if (s->host.survey_wanted(s->host.arg))
		reader_survey(s->reader, surveyed, s);
	else
		begin(s);
}

static void probed(void *arg, int rc, const char *text)
{
	struct source *s = arg;
	struct ad_judgement j = {AD_RESUME, false, ""};
	enum source_problem problem;
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (rc) {
		failed(s, rc, "asking the server about itself", text);
		return;
	}
	problem = ad_server_problem(&s->server, !s->by_usn, &why);
	if (problem != SOURCE_NONE) {
		refuse(s, problem, why.p);
		return;
	}
	if (!id_is_zero(&s->marks.domain))
		j = ad_judge(&s->marks, &s->server);
	if (j.verdict == AD_FOREIGN) {
		refuse(s, SOURCE_FOREIGN, j.why);
		return;
	}
	if (j.verdict == AD_FULL ||
	    (s->by_usn && !id_equal(&s->marks.current, &s->server.invocation)))
		buf_clear(&s->cookie);
	s->full = s->cookie.n == 0;
	s->behind = j.behind;
	ad_read_domain(s->read, s->server.nc);
	connected(s, j.why);
}

static void up(void *arg, size_t uri)
{
	static const enum ad_question all[] = {AD_ROOT, AD_SERVICE, AD_HEAD,
					       AD_BASE, AD_DELETED, AD_QUESTIONS};
	static const enum ad_question more[] = {AD_ROOT,    AD_SERVICE, AD_HEAD,     AD_BASE,
						AD_DELETED, AD_LAST,	AD_QUESTIONS};
	struct source *s = arg;

	(void)uri;
	s->phase = PROBING;
	s->server.last = s->marks.last;
	ad_probe_ask(s->probe, s->marks.last_usn > 0 ? more : all, probed);
}

/* ---- the driver ---- */

static void destroy(struct source *s)
{
	if (!s)
		return;
	dirsync_page_free(s->page);
	ad_read_free(s->read);
	reader_free(s->reader);
	ad_probe_free(s->probe);
	directory_free(s->directory);
	directory_conf_free(s->settings);
	loop_timer_free(s->timer);
	ldap_controls_free(s->controls);
	ad_server_done(&s->server);
	ad_marks_done(&s->marks);
	buf_done(&s->cookie);
	free(s->unfit);
	free(s);
}

static struct source *create(struct loop *loop, const struct conf_node *conf,
			     const struct source_host *host, struct buf *why)
{
	static const char *const reread[] = {"isDeleted", NULL};
	struct directory_conf *settings = directory_conf_new(conf, why);
	struct source *s;

	if (!settings)
		return NULL;
	s = mem_alloc(sizeof(*s));
	s->loop = loop;
	s->conf = conf;
	s->host = *host;
	s->interval = "usn_interval";
	s->settings = settings;
	s->server.base = directory_conf_base(settings);
	s->controls = ad_controls_new();
	s->timer = loop_timer_new(loop, tick, s);
	s->directory = directory_new(loop, settings, &(struct directory_events){s, up, down});
	s->page = dirsync_page_new(s->directory, conf);
	s->page->arg = s;
	s->page->done = page_done;
	s->probe = ad_probe_new(s->directory, &s->server, s);
	s->read = ad_read_new(s->directory, conf,
			      &(struct ad_read_events){s, image, unfit, tombstone, bad, read_done});
	s->reader = reader_new(&(struct reader_settings){
		.loop = loop,
		.directory = s->directory,
		.source = conf,
		.schema = &entry_schema_ad,
		.host = &s->host,
		.base = s->server.base,
		.more = reread,
		.controls = s->controls,
		.page = (int)conf_int(conf, "page_size"),
		.by_guid = true,
	});
	return s;
}

static void start(struct source *s, const struct source_cursor *cursor)
{
	assert(s->phase == STOPPED);
	buf_clear(&s->cookie);
	ad_marks_done(&s->marks);
	s->known = cursor != NULL;
	if (cursor && ad_marks_parse(cursor->server, &s->marks) == 0)
		buf_add(&s->cookie, cursor->cookie.p, cursor->cookie.n);
	s->phase = CONNECTING;
	directory_start(s->directory);
}

static void stop(struct source *s)
{
	forget_work(s);
	reader_stop(s->reader);
	directory_stop(s->directory);
	s->phase = STOPPED;
}

static void reread(struct source *s, uint64_t token, const struct id *ids, size_t n)
{
	reader_reread(s->reader, token, ids, n);
}

static void reread_below(struct source *s, uint64_t token, const char *dn)
{
	reader_reread_below(s->reader, token, dn);
}

static void confirm(struct source *s, uint64_t token, const struct id *ids, size_t n)
{
	reader_confirm(s->reader, token, ids, n);
}

static struct source *create_usn(struct loop *loop, const struct conf_node *conf,
				 const struct source_host *host, struct buf *why)
{
	struct source *s = create(loop, conf, host, why);

	if (s) {
		s->by_usn = true;
		s->page->by_usn = true;
		s->interval = "poll_interval";
	}
	return s;
}

const struct source_driver source_dirsync = {
	"ad-dirsync", create, start, stop, destroy, reread, reread_below, confirm, dirsync_check};
const struct source_driver source_usn = {"usn",	 create_usn,   start,	stop,	  destroy,
					 reread, reread_below, confirm, usn_check};
