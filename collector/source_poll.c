/* Any LDAPv3 directory by polling: what changed is found by the server's own stamp (entryCSN, modifyTimestamp) with an overlap, what
 * vanished by a sweep over all ids. Stamps are the only clock: ours is never compared with the server's. A stamp can come late (another
 * provider wrote it, or the same second goes on), so each sweep also compares the stamp of every entry and reads what differs.
 * AD says so in its root DSE and is followed by uSNChanged instead (source_usn).
 *
 *	stopped → connecting → probing → surveying → catching up → live ⟲ (poll, or sweep)
 *	   AD: handed over ←──────┘                                        refused: asked again every minute */
#include "ad.h"
#include "poll_check.h"
#include "poll_source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OVERLAP_S = 10,
	RECHECK_MS = 60 * 1000,
	READ_AT_ONCE = 1000, /* ids, reader.h's bound */
};

const char *poll_uri(const struct source *s)
{
	return directory_conf_uri(s->settings, directory_uri(s->directory));
}

static void forget_work(struct source *s)
{
	loop_timer_set(s->timer, -1);
	s->work = IDLE;
	s->changed_n = 0;
}

void poll_refuse(struct source *s, enum source_problem problem, const char *why)
{
	forget_work(s);
	s->phase = REFUSED;
	s->host.state(s->host.arg, false, poll_uri(s), problem, why);
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
	s->host.state(s->host.arg, false, poll_uri(s), problem, why);
}

/* true: the operation failed, and what follows from it was done. */
bool poll_failed(struct source *s, const struct directory_result *r, const char *step)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (r->rc == 0)
		return false;
	if (r->rc == LDAP_SERVER_DOWN)
		return true; /* down() comes */
	buf_addf(&why, "%s: %s (%s)", step, ldap_err2string(r->rc), r->text);
	if (r->rc == LDAP_SIZELIMIT_EXCEEDED || r->rc == LDAP_ADMINLIMIT_EXCEEDED) {
		buf_adds(&why, ": lift the size and time limits of the account");
		poll_refuse(s, SOURCE_RIGHTS, why.p);
	} else {
		directory_fail(s->directory, why.p);
	}
	return true;
}

/* ---- the cursor ---- */

static void give_cursor(struct source *s)
{
	CLEANUP(buf_cleanup) struct buf state = {0};

	s->known.base = s->server.base_id;
	snprintf(s->known.server, sizeof(s->known.server), "%s", poll_uri(s));
	snprintf(s->known.stamp, sizeof(s->known.stamp), "%s", s->server.flavour.stamp);
	poll_cursor_format(&s->known, &state);
	s->host.cursor(s->host.arg,
		       &(struct source_cursor){slice_of(s->known.newest), buf_slice(&state)});
}

/* ---- entries ---- */

static void note_stamp(struct source *s, const char *stamp)
{
	if (!poll_stamp_valid(stamp) || strcmp(stamp, s->known.newest) <= 0)
		return;
	snprintf(s->known.newest, sizeof(s->known.newest), "%s", stamp);
	s->newest_ms = s->work_ms;
}

static void deliver(struct source *s, struct entry *e)
{
	const char *stamp = entry_first(e, s->server.flavour.stamp);

	note_stamp(s, stamp);
	poll_table_put(s->table, &e->id, stamp, s->work_ms);
	s->delivered++;
	s->host.image(s->host.arg, e);
}

static void add_changed(struct source *s, const struct id *id)
{
	if (s->changed_n == s->changed_cap) {
		s->changed_cap = s->changed_cap ? s->changed_cap * 2 : 256;
		s->changed = mem_resize(s->changed, s->changed_cap * sizeof(*s->changed));
	}
	s->changed[s->changed_n++] = *id;
}

/* A sweep's entry has its id and stamp only. */
static void swept(struct source *s, struct entry *e)
{
	poll_table_met(s->table, &e->id);
	if (poll_table_look(s->table, &e->id, entry_first(e, s->server.flavour.stamp)))
		add_changed(s, &e->id);
	else
		s->host.present(s->host.arg, &e->id);
	entry_free(e);
}

static void take(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct source *s = arg;
	struct id id = {0};
	const char *why = "";
	struct entry *e;

	if (type != LDAP_RES_SEARCH_ENTRY)
		return;
	s->seen++;
	e = entry_new(ld, m, s->server.flavour.schema, &id, &why);
	if (!e) {
		s->host.bad(s->host.arg, id_is_zero(&id) ? NULL : &id, why);
	} else if (!dn_within(e->dn, directory_conf_base(s->settings))) {
		entry_free(e);
		directory_fail(s->directory, "the server sent an entry outside the search base");
	} else if (s->work == SWEEP) {
		swept(s, e);
	} else if (s->work == DELTA &&
		   !poll_table_look(s->table, &e->id, entry_first(e, s->server.flavour.stamp))) {
		entry_free(e);
	} else {
		deliver(s, e);
	}
}

/* ---- work: one search at a time ---- */

static void next_work(struct source *s)
{
	int64_t interval = conf_int(s->conf, "poll_interval");
	int64_t until_sweep = s->sweep_ms - loop_now_ms(s->loop);

	s->work = IDLE;
	s->phase = LIVE;
	if (until_sweep < interval)
		interval = until_sweep > 0 ? until_sweep : 0;
	loop_timer_set(s->timer, interval);
}

static void end_enumeration(struct source *s, bool sweep)
{
	if (sweep) {
		poll_table_forget(s->table);
		s->sweep_ms = loop_now_ms(s->loop) + conf_int(s->conf, "sweep_interval");
	}
	if (s->full &&
	    s->behind) /* the next one may conclude: it is a read of the state that this one published */
		sweep = false;
	s->full = false;
	s->behind = false;
	directory_good(s->directory);
	s->host.end(s->host.arg, sweep);
}

static void read_changed(struct source *s)
{
	size_t n = s->changed_n - s->changed_next;

	s->work = SWEEP_READ;
	if (n > READ_AT_ONCE)
		n = READ_AT_ONCE;
	s->changed_next += n;
	reader_reread(s->own_reader, 1, s->changed + s->changed_next - n, n);
}

static void sweep_ended(struct source *s)
{
	if (s->changed_next < s->changed_n) {
		read_changed(s);
		return;
	}
	end_enumeration(s, true);
	if (s->phase != LIVE)
		return;
	give_cursor(s);
	if (s->phase == LIVE)
		next_work(s);
}

static void searched(void *arg, const struct directory_result *r)
{
	struct source *s = arg;
	enum work work = s->work;

	if (poll_failed(s, r, "searching"))
		return;
	if (work != DELTA && s->seen == 0 && !id_is_zero(&s->known.base)) {
		poll_refuse(s, SOURCE_FOREIGN,
			    "the directory came back without a single entry below base_dn");
		return;
	}
	if (work == SWEEP) {
		sweep_ended(s);
		return;
	}
	s->quiet = work == DELTA && s->delivered == 0 &&
		   s->work_ms - s->newest_ms >= OVERLAP_S * 1000L;
	if (s->phase == CATCHING_UP) {
		end_enumeration(s, work == FULL && s->seen > 0);
		if (s->phase != CATCHING_UP)
			return;
	}
	if (work == FULL || s->delivered > 0 || s->phase == CATCHING_UP)
		give_cursor(s);
	if (s->phase == CATCHING_UP || s->phase == LIVE)
		next_work(s);
}

void poll_search(struct source *s, enum work work, const char *filter)
{
	struct directory_search what = {
		.base = directory_conf_base(s->settings),
		.scope = LDAP_SCOPE_SUBTREE,
		.filter = filter,
		.attrs = (const char *const *)(work == SWEEP ? s->server.sweep_attrs
							     : s->server.attrs),
		.page = (int)conf_int(s->conf, "page_size"),
	};

	s->work = work;
	s->work_ms = loop_now_ms(s->loop);
	s->seen = 0;
	s->delivered = 0;
	s->changed_n = 0;
	s->changed_next = 0;
	if (work != DELTA)
		poll_table_scan_begin(s->table);
	if (!directory_search(s->directory, &what, take, searched, s))
		s->work = IDLE; /* down() comes */
}

void poll_search_delta(struct source *s)
{
	CLEANUP(buf_cleanup) struct buf filter = {0};
	CLEANUP(buf_cleanup) struct buf since = {0};

	/* After a quiet while nothing older can come but from another provider, and that the sweep finds. */
	if (s->quiet || poll_stamp_back(s->known.newest, OVERLAP_S, &since) < 0)
		buf_adds(&since, s->known.newest);
	buf_addf(&filter, "(&%s(%s>=%s))", s->server.filter.p, s->server.flavour.stamp, since.p);
	poll_search(s, DELTA, filter.p);
}

static void tick(void *arg)
{
	struct source *s = arg;

	if (s->phase == REFUSED) {
		s->phase = CONNECTING;
		directory_start(s->directory);
	} else if (s->phase == LIVE && s->work == IDLE) {
		if (loop_now_ms(s->loop) < s->sweep_ms) {
			poll_search_delta(s);
			return;
		}
		s->host.begin(s->host.arg, true);
		if (s->phase == LIVE)
			poll_search(s, SWEEP, s->server.filter.p);
	}
}

/* ---- what the sweep reads: our own reader's host ---- */

static void own_image(void *arg, struct entry *e)
{
	e->origin = ENTRY_LIVE;
	deliver(arg, e);
}

static void own_gone(void *arg, const struct id *id)
{
	struct source *s = arg;

	s->host.gone(s->host.arg, id);
}

static void own_bad(void *arg, const struct id *id, const char *why)
{
	struct source *s = arg;

	s->host.bad(s->host.arg, id, why);
}

static void own_answer(void *arg, uint64_t token, bool ok, const struct id *missing,
		       size_t missing_n)
{
	struct source *s = arg;

	(void)token;
	(void)missing;
	(void)missing_n;
	if (s->work != SWEEP_READ)
		return;
	if (ok)
		sweep_ended(s);
	else if (directory_is_up(s->directory))
		directory_fail(s->directory, "reading what a sweep found changed failed");
}

/* ---- the driver ---- */

static void destroy(struct source *s)
{
	if (!s)
		return;
	if (s->ad)
		source_usn.destroy(s->ad);
	poll_forget_readers(s);
	poll_server_done(&s->server);
	directory_free(s->directory);
	directory_conf_free(s->settings);
	loop_timer_free(s->timer);
	poll_table_free(s->table);
	buf_done(&s->cookie);
	buf_done(&s->state);
	free(s->changed);
	free(s);
}

static struct source *create(struct loop *loop, const struct conf_node *conf,
			     const struct source_host *host, struct buf *why)
{
	struct directory_conf *settings = directory_conf_new(conf, why);
	struct source *s;

	if (!settings)
		return NULL;
	s = mem_alloc(sizeof(*s));
	s->loop = loop;
	s->conf = conf;
	s->host = *host;
	s->own_host = (struct source_host){.arg = s,
					   .image = own_image,
					   .gone = own_gone,
					   .bad = own_bad,
					   .answer = own_answer};
	s->settings = settings;
	s->table = poll_table_new();
	s->timer = loop_timer_new(loop, tick, s);
	s->directory = directory_new(loop, settings, &(struct directory_events){s, poll_up, down});
	return s;
}

static void start(struct source *s, const struct source_cursor *cursor)
{
	assert(s->phase == STOPPED);
	buf_clear(&s->cookie);
	buf_clear(&s->state);
	if (cursor) {
		buf_add(&s->cookie, cursor->cookie.p, cursor->cookie.n);
		buf_add(&s->state, cursor->server.p, cursor->server.n);
	}
	s->known = (struct poll_cursor){0};
	if (cursor && poll_cursor_parse(cursor->cookie, cursor->server, &s->known) < 0)
		s->known = (struct poll_cursor){0};
	poll_table_free(s->table);
	s->table = poll_table_new();
	if (s->ad) {
		poll_start_ad(s);
		return;
	}
	s->phase = CONNECTING;
	directory_start(s->directory);
}

static void stop(struct source *s)
{
	if (s->phase == HANDED_OVER)
		source_usn.stop(s->ad);
	forget_work(s);
	if (s->reader) {
		reader_stop(s->reader);
		reader_stop(s->own_reader);
	}
	directory_stop(s->directory);
	s->phase = STOPPED;
}

static void reread(struct source *s, uint64_t token, const struct id *ids, size_t n)
{
	if (s->phase == HANDED_OVER)
		source_usn.reread(s->ad, token, ids, n);
	else if (s->reader)
		reader_reread(s->reader, token, ids, n);
	else
		s->host.answer(s->host.arg, token, false, NULL, 0);
}

static void reread_below(struct source *s, uint64_t token, const char *dn)
{
	if (s->phase == HANDED_OVER)
		source_usn.reread_below(s->ad, token, dn);
	else if (s->reader)
		reader_reread_below(s->reader, token, dn);
	else
		s->host.answer(s->host.arg, token, false, NULL, 0);
}

static void confirm(struct source *s, uint64_t token, const struct id *ids, size_t n)
{
	if (s->phase == HANDED_OVER)
		source_usn.confirm(s->ad, token, ids, n);
	else if (s->reader)
		reader_confirm(s->reader, token, ids, n);
	else
		s->host.answer(s->host.arg, token, false, NULL, 0);
}

const struct source_driver source_poll = {"poll", create,	start,	 stop,	    destroy,
					  reread, reread_below, confirm, poll_check};
