#include "reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	IDS_A_SEARCH = 250,
	SEARCHES_AT_ONCE = 4,
	GUIDS_AT_ONCE = 16,
	RANGE_STEPS_MAX = 100000,
	FAILURE_BYTES = 500
};

enum kind { REREAD, BELOW, CONFIRM, SURVEY };

/* One call of the line: split into searches, of which some are open at once. */
struct request {
	LIST_ENTRY(request) entry;
	struct reader *reader;
	enum kind kind;
	uint64_t token;
	struct id *ids;
	bool *found; /* confirm */
	size_t n;
	size_t next; /* first id that no search was sent for */
	char *dn;    /* below */
	size_t open; /* searches under way */
	bool failed;
	bool sending;	    /* guards against ending inside start */
	struct buf failure; /* the server's words */
	reader_surveyed_fn done;
	void *arg;
};

/* An entry whose members are not all there yet. */
struct ranged {
	LIST_ENTRY(ranged) entry;
	struct request *request;
	struct entry *e;
	unsigned steps;
};

struct reader {
	struct reader_settings s;
	char **attrs, **survey_attrs;
	struct buf filter;
	LIST_HEAD(, request) requests;
	LIST_HEAD(, ranged) ranged;
};

struct reader *reader_new(const struct reader_settings *settings)
{
	struct reader *r = mem_alloc(sizeof(*r));

	r->s = *settings;
	r->attrs = directory_attrs_new(settings->source, settings->schema, settings->more);
	r->survey_attrs = directory_attrs_survey_new(settings->source, settings->schema);
	directory_filter_all(settings->source, settings->schema, &r->filter);
	LIST_INIT(&r->requests);
	LIST_INIT(&r->ranged);
	return r;
}

static void request_free(struct request *q)
{
	free(q->ids);
	free(q->found);
	buf_done(&q->failure);
	free(q->dn);
	free(q);
}

void reader_stop(struct reader *r)
{
	struct request *q;
	struct ranged *g;

	while ((g = LIST_FIRST(&r->ranged)) != NULL) {
		LIST_REMOVE(g, entry);
		entry_free(g->e);
		free(g);
	}
	while ((q = LIST_FIRST(&r->requests)) != NULL) {
		LIST_REMOVE(q, entry);
		request_free(q);
	}
}

void reader_free(struct reader *r)
{
	if (r == NULL)
		return;
	reader_stop(r);
	directory_attrs_free(r->attrs);
	directory_attrs_free(r->survey_attrs);
	buf_done(&r->filter);
	free(r);
}

/* ---- ending ---- */

static void answer(struct request *q)
{
	struct reader *r = q->reader;
	struct id *missing = NULL;
	size_t n = 0;

	LIST_REMOVE(q, entry);
	if (q->kind == SURVEY) {
		q->done(q->arg,
			q->failed ? (q->failure.n > 0 ? q->failure.p : "connection lost") : NULL);
		request_free(q);
		return;
	}
	if (q->kind == CONFIRM && !q->failed) {
		missing = mem_array(q->n + 1, sizeof(*missing));
		for (size_t i = 0; i < q->n; i++)
			if (!q->found[i])
				missing[n++] = q->ids[i];
	}
	r->s.host->answer(r->s.host->arg, q->token, !q->failed, missing, n);
	free(missing);
	request_free(q);
}

static void go_on(struct request *q);

static void end_if_done(struct request *q)
{
	if (q->sending)
		return;
	if (q->open < (q->reader->s.by_guid ? GUIDS_AT_ONCE : SEARCHES_AT_ONCE) && !q->failed &&
	    q->next < q->n)
		go_on(q);
	else if (q->open == 0)
		answer(q);
}

static void searched(void *arg, const struct directory_result *result)
{
	struct request *q = arg;

	/* By GUID, and below a DN that was moved meanwhile: no such object is an answer. */
	if (result->rc != LDAP_SUCCESS && result->rc != LDAP_NO_SUCH_OBJECT) {
		q->failed = true;
		if (q->failure.n == 0)
			buf_add_utf8(&q->failure, slice_of(result->text), FAILURE_BYTES);
	}
	q->open--;
	end_if_done(q);
}

/* ---- entries ---- */

static void give(struct request *q, struct entry *e)
{
	e->origin = q->kind == SURVEY ? ENTRY_SURVEY : ENTRY_REREAD;
	q->reader->s.host->image(q->reader->s.host->arg, e);
}

static void ask_range(struct ranged *g);

static void range_ended(struct ranged *g, bool ok)
{
	struct request *q = g->request;

	LIST_REMOVE(g, entry);
	if (ok)
		give(q, g->e);
	else
		entry_free(g->e);
	if (!ok && q->failure.n == 0)
		buf_adds(&q->failure, "a part of the members was not read");
	q->failed = q->failed || !ok;
	free(g);
	q->open--;
	end_if_done(q);
}

static void range_message(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct ranged *g = arg;
	const char *why = NULL;
	struct id id;
	struct entry *more;

	if (type != LDAP_RES_SEARCH_ENTRY)
		return;
	more = entry_new(ld, m, g->request->reader->s.schema, &id, &why);
	if (more == NULL)
		return;
	entry_add_values(g->e, more, "member");
	entry_free(more);
}

static void range_done(void *arg, const struct directory_result *result)
{
	struct ranged *g = arg;

	if (result->rc != LDAP_SUCCESS || g->steps > RANGE_STEPS_MAX)
		range_ended(g, false);
	else if (g->e->range_next > 0)
		ask_range(g);
	else
		range_ended(g, true);
}

/* MS-ADTS 3.1.1.3.1.3.3: a server gives at most MaxValRange values; the rest is asked for by position. */
static void ask_range(struct ranged *g)
{
	struct reader *r = g->request->reader;
	CLEANUP(buf_cleanup) struct buf base = {0};
	char name[64];
	const char *attrs[] = {name, r->s.schema->id_attr, "objectClass", NULL};
	struct directory_search s = {
		.scope = LDAP_SCOPE_BASE, .attrs = attrs, .controls = r->s.controls};

	snprintf(name, sizeof(name), "member;range=%ld-*", g->e->range_next);
	g->e->range_next = 0;
	g->steps++;
	if (r->s.by_guid)
		directory_guid_dn(&g->e->id, &base);
	else
		buf_adds(&base, g->e->dn);
	s.base = base.p;
	if (directory_search(r->s.directory, &s, range_message, range_done, g) == 0)
		range_ended(g, false);
}

static void follow_range(struct request *q, struct entry *e)
{
	struct ranged *g = mem_alloc(sizeof(*g));

	*g = (struct ranged){.request = q, .e = e};
	LIST_INSERT_HEAD(&q->reader->ranged, g, entry);
	q->open++;
	ask_range(g);
}

static void mark_found(struct request *q, const struct id *id)
{
	for (size_t i = 0; i < q->n; i++)
		if (id_equal(&q->ids[i], id))
			q->found[i] = true;
}

static void message(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct request *q = arg;
	struct reader *r = q->reader;
	const char *why = NULL;
	struct id id = {{0}};
	struct entry *e;

	if (type != LDAP_RES_SEARCH_ENTRY)
		return;
	e = entry_new(ld, m, r->s.schema, &id, &why);
	if (q->kind == CONFIRM) {
		mark_found(q, &id);
		entry_free(e);
	} else if (e == NULL) {
		r->s.host->bad(r->s.host->arg, id_is_zero(&id) ? NULL : &id, why);
	} else if (e->range_next > 0) {
		follow_range(q, e);
	} else {
		give(q, e);
	}
}

/* ---- searches ---- */

/* nsUniqueId is written 8-8-8-8, entryUUID 8-4-4-4-12. */
static void add_id_filter(struct buf *b, const char *attr, const struct id *id)
{
	char text[ID_TEXT];
	const uint8_t *p = id->b;

	id_format(id, text);
	if (strcmp(attr, "nsUniqueId") == 0)
		snprintf(text, sizeof(text),
			 "%02x%02x%02x%02x-%02x%02x%02x%02x-%02x%02x%02x%02x-%02x%02x%02x%02x",
			 p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11],
			 p[12], p[13], p[14], p[15]);
	directory_filter_text(b, attr, text);
}

static const char *const *attrs_of(const struct request *q)
{
	static const char *const ids_openldap[] = {"entryUUID", "objectClass", NULL};
	static const char *const ids_389[] = {"nsUniqueId", "objectClass", NULL};
	static const char *const ids_ad[] = {"objectGUID", "objectClass", NULL};
	const struct entry_schema *schema = q->reader->s.schema;

	if (q->kind == SURVEY)
		return (const char *const *)q->reader->survey_attrs;
	if (q->kind != CONFIRM)
		return (const char *const *)q->reader->attrs;
	if (schema->id_is_guid)
		return ids_ad;
	return strcmp(schema->id_attr, "nsUniqueId") == 0 ? ids_389 : ids_openldap;
}

static void ask(struct request *q, struct directory_search *s)
{
	s->attrs = attrs_of(q);
	s->controls = q->reader->s.controls;
	if (directory_search(q->reader->s.directory, s, message, searched, q) == 0)
		q->failed = true;
	else
		q->open++;
}

static void ask_guid(struct request *q)
{
	CLEANUP(buf_cleanup) struct buf base = {0};
	struct directory_search s = {.scope = LDAP_SCOPE_BASE};

	directory_guid_dn(&q->ids[q->next++], &base);
	s.base = base.p;
	ask(q, &s);
}

static void ask_some(struct request *q)
{
	struct reader *r = q->reader;
	CLEANUP(buf_cleanup) struct buf filter = {0};
	struct directory_search s = {.base = r->s.base, .scope = LDAP_SCOPE_SUBTREE};
	size_t end = q->n - q->next > IDS_A_SEARCH ? q->next + IDS_A_SEARCH : q->n;

	buf_adds(&filter, "(&(|");
	for (; q->next < end; q->next++)
		add_id_filter(&filter, r->s.schema->id_attr, &q->ids[q->next]);
	buf_addf(&filter, ")%s)", r->filter.p);
	s.filter = filter.p;
	ask(q, &s);
}

static void go_on(struct request *q)
{
	struct reader *r = q->reader;
	size_t at_once = r->s.by_guid ? GUIDS_AT_ONCE : SEARCHES_AT_ONCE;

	q->sending = true;
	while (!q->failed && q->next < q->n && q->open < at_once) {
		if (r->s.by_guid)
			ask_guid(q);
		else
			ask_some(q);
	}
	q->sending = false;
	if (q->open == 0)
		answer(q);
}

static struct request *request_new(struct reader *r, enum kind kind, uint64_t token,
				   const struct id *ids, size_t n)
{
	struct request *q = mem_alloc(sizeof(*q));

	*q = (struct request){.reader = r, .kind = kind, .token = token, .n = n};
	q->ids = mem_array(n + 1, sizeof(*q->ids));
	if (n > 0)
		memcpy(q->ids, ids, n * sizeof(*q->ids));
	if (kind == CONFIRM)
		q->found = mem_array(n + 1, sizeof(*q->found));
	LIST_INSERT_HEAD(&r->requests, q, entry);
	return q;
}

void reader_reread(struct reader *r, uint64_t token, const struct id *ids, size_t n)
{
	go_on(request_new(r, REREAD, token, ids, n));
}

void reader_confirm(struct reader *r, uint64_t token, const struct id *ids, size_t n)
{
	go_on(request_new(r, CONFIRM, token, ids, n));
}

static void read_below(struct request *q, const char *base)
{
	struct reader *r = q->reader;
	struct directory_search s = {.base = base,
				     .scope = LDAP_SCOPE_SUBTREE,
				     .filter = r->filter.p,
				     .page = r->s.page};

	ask(q, &s);
	if (q->open == 0)
		answer(q);
}

void reader_reread_below(struct reader *r, uint64_t token, const char *dn)
{
	read_below(request_new(r, BELOW, token, NULL, 0), dn);
}

void reader_survey(struct reader *r, reader_surveyed_fn done, void *arg)
{
	struct request *q = request_new(r, SURVEY, 0, NULL, 0);

	q->done = done;
	q->arg = arg;
	read_below(q, r->s.base);
}
