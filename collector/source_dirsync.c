/* Active Directory and Samba by DirSync (MS-ADTS 3.1.1.3.4.1.3). DirSync only tells which ids changed: its deltas are no images (no
 * computed attributes, members as differences, an OU's rename without its children), so every id is read again from the same
 * server. A page's cookie becomes the cursor when all of its ids have been read.
 *
 *	stopped → connecting → probing → surveying → catching up → live ⟲ (USN grew: a cycle)
 *	              ▲___________│__________│____________│__________│   the connection broke
 *	              ▲_________________ refused (a right is missing, foreign domain): asked again every minute */
#include "dirsync_check.h"
#include "dirsync_source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	RECHECK_MS = 60 * 1000,
	NOTIFY_SPACING_MS = 250,
	CURSOR_EVERY_MS = 30 * 1000, /* of a server that is busy with what does not concern us */
	SWEEP_OWED_MS = 60 * 60 * 1000,
};

static void tick(void *arg);

const char *dirsync_uri(const struct source *s)
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
void dirsync_refuse(struct source *s, enum source_problem problem, const char *why)
{
	forget_work(s);
	s->phase = REFUSED;
	s->host.state(s->host.arg, false, dirsync_uri(s), problem, why);
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
	s->host.state(s->host.arg, false, dirsync_uri(s), problem, why);
}

void dirsync_failed(struct source *s, int rc, const char *step, const char *text)
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
void dirsync_wait(struct source *s)
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
	dirsync_wait(s);
}

static bool policy_changed(const struct source *s)
{
	return s->policy.max_password_age_ms != s->server.policy.max_password_age_ms ||
	       s->policy.lockout_ms != s->server.policy.lockout_ms;
}

void dirsync_tell_policy(struct source *s)
{
	s->policy = s->server.policy;
	s->host.policy(s->host.arg, &s->policy);
}

void dirsync_tell_clock(struct source *s)
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
		dirsync_failed(s, rc, "asking the server's state", text);
		return;
	}
	ad_marks_take(&s->marks, &s->server, s->seen);
	if (s->seen > 0) {
		s->marks.last = s->last;
		s->marks.last_usn = s->seen;
	}
	if (policy_changed(s)) {
		/* Expiry of passwords and locks follows it, without a change of any user. */
		dirsync_tell_policy(s);
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
		dirsync_refuse(s, SOURCE_FOREIGN,
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
		dirsync_failed(s, rc, "reading base_dn", text);
		return;
	}
	if (!s->server.base_exists) {
		dirsync_refuse(s, SOURCE_FOREIGN, "base_dn is not there any more");
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
		dirsync_failed(s, rc, "reading changed objects", text);
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
		dirsync_refuse(s, SOURCE_RIGHTS, text);
		break;
	case DIRSYNC_BROKEN:
	case DIRSYNC_OUTCOMES:
		directory_fail(s->directory, text);
		break;
	}
}

void dirsync_cycle(struct source *s)
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
		dirsync_tell_clock(s);
	if (rc) {
		dirsync_failed(s, rc, "asking highestCommittedUSN", text);
	} else if (s->server.usn < s->covered) {
		directory_again(s->directory, "the server's highestCommittedUSN went back");
	} else if (s->marks.owed && loop_now_ms(s->loop) - s->full_ms >= SWEEP_OWED_MS) {
		begin_again(s, "reading everything again: the last full read came from a server "
			       "that was behind");
	} else if (s->server.usn > s->covered || s->notified) {
		dirsync_cycle(s);
	} else {
		dirsync_wait(s);
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
	s->directory =
		directory_new(loop, settings, &(struct directory_events){s, dirsync_up, down});
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
