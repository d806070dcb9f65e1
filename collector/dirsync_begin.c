#include "dirsync_source.h"

#include "log.h"

static void notification(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct source *s = arg;

	(void)ld;
	(void)m;
	if (type != LDAP_RES_SEARCH_ENTRY)
		return;
	s->notified = true;
	if (s->phase == LIVE && !s->busy)
		dirsync_wait(s);
}

static void notification_ended(void *arg, const struct directory_result *r)
{
	(void)arg;
	log_msg(LOG_DEBUG_, "DP-1302",
		"change notification ended (%s); the counter is asked all the same", r->text);
}

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
	dirsync_cycle(s);
}

static void surveyed(void *arg, const char *failure)
{
	struct source *s = arg;

	if (failure != NULL) {
		CLEANUP(buf_cleanup) struct buf why = {0};

		buf_addf(&why, "the survey of the domain failed: %s", failure);
		if (directory_is_up(s->directory))
			directory_fail(s->directory, why.p);
		return;
	}
	s->host.surveyed(s->host.arg, !s->behind);
	if (s->phase == SURVEYING)
		begin(s);
}

static void connected(struct source *s, const char *why)
{
	s->host.state(s->host.arg, true, dirsync_uri(s), SOURCE_NONE, why);
	if (s->phase != PROBING)
		return;
	dirsync_tell_clock(s);
	dirsync_tell_policy(s);
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
		dirsync_failed(s, rc, "asking the server about itself", text);
		return;
	}
	problem = ad_server_problem(&s->server, !s->by_usn, &why);
	if (problem != SOURCE_NONE) {
		dirsync_refuse(s, problem, why.p);
		return;
	}
	if (!id_is_zero(&s->marks.domain))
		j = ad_judge(&s->marks, &s->server);
	if (j.verdict == AD_FOREIGN) {
		dirsync_refuse(s, SOURCE_FOREIGN, j.why);
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

void dirsync_up(void *arg, size_t uri)
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
