#include "poll_source.h"

#include "ad.h"

#include <string.h>

static void begin(struct source *s)
{
	/* The same server knows best: what went while we were away is looked for at once. After a fail-over the other server
	 * gets time to replicate. */
	bool same = strcmp(s->known.server, poll_uri(s)) == 0;

	s->phase = CATCHING_UP;
	s->quiet = false;
	s->sweep_ms = loop_now_ms(s->loop) + (same ? 0 : conf_int(s->conf, "sweep_interval"));
	s->host.begin(s->host.arg, s->full);
	if (s->phase != CATCHING_UP)
		return;
	if (s->full)
		poll_search(s, FULL, s->server.filter.p);
	else
		poll_search_delta(s);
}

static void surveyed(void *arg, const char *failure)
{
	struct source *s = arg;

	if (failure != NULL) {
		CLEANUP(buf_cleanup) struct buf why = {0};

		buf_addf(&why, "the survey of the directory failed: %s", failure);
		if (directory_is_up(s->directory))
			directory_fail(s->directory, why.p);
		return;
	}
	s->host.surveyed(s->host.arg, !s->behind);
	if (s->phase == SURVEYING)
		begin(s);
}

static void base_entry(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct source *s = arg;

	if (type == LDAP_RES_SEARCH_ENTRY)
		poll_server_base(&s->server, ld, m);
}

/* Is the cursor worth something at this server? */
static void judge(struct source *s)
{
	if (strcmp(s->known.stamp, s->server.flavour.stamp) != 0)
		s->known.newest[0] = '\0';
	s->behind = s->known.newest[0] && s->server.context[0] &&
		    strcmp(s->server.context, s->known.newest) < 0;
	if (s->behind) /* restored from a backup, or a replica that lags: its past is read as it is */
		s->known.newest[0] = '\0';
	s->full = s->known.newest[0] == '\0';
}

static void base_done(void *arg, const struct directory_result *r)
{
	struct source *s = arg;
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (r->rc != LDAP_NO_SUCH_OBJECT && poll_failed(s, r, "reading base_dn"))
		return;
	if (!s->server.base_exists) {
		poll_refuse(s, SOURCE_FOREIGN,
			    "base_dn is not there, or the account cannot see it");
		return;
	}
	if (!s->server.base_readable) {
		buf_addf(&why,
			 "the account cannot read %s and %s of base_dn: grant read on these "
			 "operational attributes",
			 s->server.flavour.schema->id_attr, s->server.flavour.stamp);
		poll_refuse(s, SOURCE_RIGHTS, why.p);
		return;
	}
	if (!id_is_zero(&s->known.base) && !id_equal(&s->known.base, &s->server.base_id)) {
		poll_refuse(s, SOURCE_FOREIGN,
			    "base_dn is another entry than the cursor's: a rebuilt or foreign "
			    "directory");
		return;
	}
	judge(s);
	s->host.state(s->host.arg, true, poll_uri(s), SOURCE_NONE, "");
	if (s->phase != PROBING)
		return;
	s->phase = SURVEYING;
	if (s->host.survey_wanted(s->host.arg))
		reader_survey(s->reader, surveyed, s);
	else
		begin(s);
}

void poll_forget_readers(struct source *s)
{
	reader_free(s->reader);
	reader_free(s->own_reader);
	s->reader = NULL;
	s->own_reader = NULL;
}

static void new_readers(struct source *s)
{
	const char *more[] = {s->server.flavour.stamp, NULL};
	struct reader_settings settings = {
		.loop = s->loop,
		.directory = s->directory,
		.source = s->conf,
		.schema = s->server.flavour.schema,
		.host = &s->host,
		.base = directory_conf_base(s->settings),
		.more = more,
		.page = (int)conf_int(s->conf, "page_size"),
	};

	poll_forget_readers(s);
	s->reader = reader_new(&settings);
	settings.host = &s->own_host;
	s->own_reader = reader_new(&settings);
}

static void root_entry(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct source *s = arg;

	if (type == LDAP_RES_SEARCH_ENTRY)
		s->server.flavour = poll_flavour_of(ld, m);
}

void poll_start_ad(struct source *s)
{
	struct source_cursor cursor = {buf_slice(&s->cookie), buf_slice(&s->state)};

	s->phase = HANDED_OVER;
	source_usn.start(s->ad, s->state.n > 0 ? &cursor : NULL);
}

static void hand_over(struct source *s)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	directory_stop(s->directory);
	s->ad = source_usn.create(s->loop, s->conf, &s->host, &why);
	if (!s->ad) {
		poll_refuse(s, SOURCE_UNREACHABLE, why.p);
		return;
	}
	poll_start_ad(s);
}

static void root_done(void *arg, const struct directory_result *r)
{
	struct source *s = arg;
	const char *attrs[] = {NULL, NULL, "contextCSN", "objectClass", NULL};

	if (poll_failed(s, r, "reading the root DSE"))
		return;
	if (s->server.flavour.ad) {
		hand_over(s);
		return;
	}
	poll_server_set(&s->server, s->conf);
	new_readers(s);
	attrs[0] = s->server.flavour.schema->id_attr;
	attrs[1] = s->server.flavour.stamp;
	if (!directory_search(s->directory,
			      &(struct directory_search){.base = directory_conf_base(s->settings),
							 .scope = LDAP_SCOPE_BASE,
							 .attrs = attrs},
			      base_entry, base_done, s))
		s->work = IDLE; /* down() comes */
}

void poll_up(void *arg, size_t uri)
{
	struct source *s = arg;

	(void)uri;
	s->phase = PROBING;
	poll_server_done(&s->server);
	if (!directory_search(s->directory,
			      &(struct directory_search){.base = "",
							 .scope = LDAP_SCOPE_BASE,
							 .attrs = poll_root_attrs},
			      root_entry, root_done, s))
		s->work = IDLE; /* down() comes */
}
