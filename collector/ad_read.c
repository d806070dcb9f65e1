#include "ad_read.h"

#include "ad.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BATCH = 100, /* ids of one search: below Windows' MaxPageSize; on Samba 20 to 300 cost the same per id */
	OPEN = 4,
};

/*	FITTING: the ids that live and fit the filters, and the deleted ones
 *	ANY:     those of the batch that FITTING did not name: do they live elsewhere?
 *	SEARCH:  everything by a filter, paged
 *	RANGE:   the next values of one group's members */
enum kind { FITTING, ANY, SEARCH, RANGE };

struct op {
	struct ad_read *reader;
	uint64_t number;
	enum kind kind;
	size_t from, count; /* ids */
	struct entry *group;
	bool answered;
	struct op *next;
};

struct ad_read {
	struct directory *directory;
	const struct conf_node *source;
	struct ad_read_events events;
	char **attrs;
	struct buf filter; /* users, groups and containers of the source */
	LDAPControl **controls;
	char *nc;
	struct id *ids; /* sorted */
	bool *named;
	size_t n, next;
	struct op *ops;
	bool busy;
	int rc;
	char text[256];
	uint64_t seen;
	struct id last; /* whose uSNChanged `seen` is */
};

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct id));
}

size_t ad_ids_unique(struct id *ids, size_t n)
{
	size_t kept = 0;

	if (n > 1)
		qsort(ids, n, sizeof(*ids), compare);
	for (size_t i = 0; i < n; i++) {
		if (kept == 0 || !id_equal(&ids[kept - 1], &ids[i]))
			ids[kept++] = ids[i];
	}
	return kept;
}

struct ad_read *ad_read_new(struct directory *d, const struct conf_node *source,
			    const struct ad_read_events *events)
{
	static const char *const more[] = {"isDeleted", "uSNChanged", NULL};
	struct ad_read *r = mem_alloc(sizeof(*r));

	r->directory = d;
	r->source = source;
	r->events = *events;
	r->attrs = directory_attrs_new(source, &entry_schema_ad, more);
	directory_filter_all(source, &entry_schema_ad, &r->filter);
	r->controls = ad_controls_new();
	return r;
}

void ad_read_domain(struct ad_read *r, const char *nc)
{
	free(r->nc);
	r->nc = mem_dup(nc);
}

static void op_free(struct op *op)
{
	struct op **at = &op->reader->ops;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	entry_free(op->group);
	free(op);
}

void ad_read_stop(struct ad_read *r)
{
	while (r->ops) {
		directory_abandon(r->directory, r->ops->number);
		op_free(r->ops);
	}
	free(r->ids);
	free(r->named);
	r->ids = NULL;
	r->named = NULL;
	r->n = 0;
	r->busy = false;
}

void ad_read_free(struct ad_read *r)
{
	if (!r)
		return;
	ad_read_stop(r);
	directory_attrs_free(r->attrs);
	buf_done(&r->filter);
	ldap_controls_free(r->controls);
	free(r->nc);
	free(r);
}

static void fail(struct ad_read *r, int rc, const char *text)
{
	if (r->rc)
		return;
	r->rc = rc;
	snprintf(r->text, sizeof(r->text), "%s", text);
}

static void take(void *arg, LDAP *ld, LDAPMessage *m, int type);
static void op_done(void *arg, const struct directory_result *result);

/* false: not sent, the connection is going down. */
static bool send_search(struct op *op, struct directory_search *search)
{
	struct ad_read *r = op->reader;

	search->controls = r->controls;
	op->answered = false;
	op->number = directory_search(r->directory, search, take, op_done, op);
	if (op->number)
		return true;
	fail(r, LDAP_SERVER_DOWN, "the connection broke");
	op_free(op);
	return false;
}

static struct op *op_new(struct ad_read *r, enum kind kind)
{
	struct op *op = mem_alloc(sizeof(*op));

	op->reader = r;
	op->kind = kind;
	op->next = r->ops;
	r->ops = op;
	return op;
}

static bool send_batch(struct op *op)
{
	static const char *const any[] = {"objectGUID", "isDeleted", "objectClass", "uSNChanged",
					  NULL};
	struct ad_read *r = op->reader;
	CLEANUP(buf_cleanup) struct buf filter = {0};

	buf_adds(&filter, op->kind == FITTING ? "(&(|" : "(|");
	for (size_t i = op->from; i < op->from + op->count; i++) {
		if (op->kind == FITTING || !r->named[i]) {
			uint8_t raw[16];
			/* The mixed order is its own inverse. */
			struct id swapped = ad_guid(r->ids[i].b);

			memcpy(raw, swapped.b, sizeof(raw));
			directory_filter_bytes(&filter, "objectGUID", raw, sizeof(raw));
		}
	}
	buf_adds(&filter, ")");
	if (op->kind == FITTING)
		buf_addf(&filter, "(|%s(isDeleted=TRUE)))", r->filter.p);
	return send_search(
		op, &(struct directory_search){
			    .base = r->nc,
			    .scope = LDAP_SCOPE_SUBTREE,
			    .filter = filter.p,
			    .attrs = op->kind == FITTING ? (const char *const *)r->attrs : any,
		    });
}

static bool send_range(struct op *op)
{
	CLEANUP(buf_cleanup) struct buf base = {0};
	CLEANUP(buf_cleanup) struct buf range = {0};

	directory_guid_dn(&op->group->id, &base);
	buf_addf(&range, "member;range=%ld-*", op->group->range_next);
	return send_search(op, &(struct directory_search){
				       .base = base.p,
				       .scope = LDAP_SCOPE_BASE,
				       .attrs = (const char *const[]){"objectGUID", range.p, NULL},
			       });
}

/* Starts what may start; at the end of the job says so. */
static void step(struct ad_read *r, bool may_finish)
{
	unsigned open = 0;

	for (const struct op *op = r->ops; op; op = op->next)
		open++;
	while (!r->rc && open < OPEN && r->next < r->n) {
		struct op *op = op_new(r, FITTING);

		op->from = r->next;
		op->count = r->n - r->next < BATCH ? r->n - r->next : BATCH;
		r->next += op->count;
		if (send_batch(op))
			open++;
	}
	if (r->ops || !may_finish || !r->busy)
		return;
	r->busy = false;
	r->events.done(r->events.arg, r->rc, r->text, r->seen, &r->last);
}

static void begin(struct ad_read *r)
{
	assert(!r->busy);
	ad_read_stop(r);
	r->busy = true;
	r->rc = 0;
	r->text[0] = '\0';
	r->seen = 0;
	r->next = 0;
}

void ad_read_ids(struct ad_read *r, const struct id *ids, size_t n)
{
	assert(n > 0);
	begin(r);
	r->ids = mem_array(n, sizeof(*ids));
	memcpy(r->ids, ids, n * sizeof(*ids));
	r->n = ad_ids_unique(r->ids, n);
	r->named = mem_array(r->n, sizeof(*r->named));
	step(r, false);
}

void ad_read_search(struct ad_read *r)
{
	begin(r);
	(void)send_search(op_new(r, SEARCH), &(struct directory_search){
						     .base = r->nc,
						     .scope = LDAP_SCOPE_SUBTREE,
						     .filter = r->filter.p,
						     .attrs = (const char *const *)r->attrs,
						     .page = (int)conf_int(r->source, "page_size"),
					     });
}

static void mark_named(struct ad_read *r, const struct id *id)
{
	const struct id *at = r->n ? bsearch(id, r->ids, r->n, sizeof(*id), compare) : NULL;

	if (at)
		r->named[at - r->ids] = true;
}

static void note_usn(struct ad_read *r, const struct entry *e)
{
	const char *text = entry_first(e, "uSNChanged");
	char *end;
	unsigned long long usn;

	if (!text)
		return;
	errno = 0;
	usn = strtoull(text, &end, 10);
	if (!errno && !*end && usn > r->seen) {
		r->seen = usn;
		r->last = e->id;
	}
}

static bool belongs(const struct ad_read *r, const struct entry *e)
{
	/* Watched groups may stand anywhere in the domain; people and their containers only below base_dn. */
	return e->class == ENTRY_GROUP || dn_within(e->dn, conf_text(r->source, "base_dn"));
}

static void give(struct op *op, struct entry *e)
{
	struct ad_read *r = op->reader;
	const char *deleted = entry_first(e, "isDeleted");
	struct id id = e->id;

	if (dn_hash(e->dn) == 0) {
		entry_free(e);
		r->events.bad(r->events.arg, &id, "the entry's DN cannot be read");
	} else if (!dn_within(e->dn, r->nc)) {
		fail(r, LDAP_DECODING_ERROR, "the server sent an entry outside the search base");
		entry_free(e);
	} else if (deleted && strcasecmp(deleted, "TRUE") == 0) {
		entry_free(e);
		r->events.tombstone(r->events.arg, &id);
	} else if (op->kind == ANY || !belongs(r, e)) {
		entry_free(e);
		r->events.unfit(r->events.arg, &id);
	} else if (e->range_next > 0) {
		struct op *range = op_new(r, RANGE);

		range->group = e;
		(void)send_range(range);
	} else {
		r->events.image(r->events.arg, e);
	}
}

static void take_range(struct op *op, struct entry *more)
{
	struct entry *group = op->group;

	if (!id_equal(&more->id, &group->id) ||
	    (more->range_next > 0 && more->range_next <= group->range_next)) {
		fail(op->reader, LDAP_DECODING_ERROR,
		     "the server answered a range of members with another");
	} else {
		entry_add_values(group, more, "member");
		group->range_next = more->range_next;
		op->answered = true;
	}
	entry_free(more);
}

static void take(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct op *op = arg;
	struct ad_read *r = op->reader;
	struct id id = {0};
	const char *why = "";
	struct entry *e;

	if (type != LDAP_RES_SEARCH_ENTRY || r->rc)
		return;
	e = entry_new(ld, m, &entry_schema_ad, &id, &why);
	mark_named(r, &id);
	if (!e) {
		r->events.bad(r->events.arg, id_is_zero(&id) ? NULL : &id, why);
		return;
	}
	if (op->kind == RANGE) {
		take_range(op, e);
		return;
	}
	note_usn(r, e);
	give(op, e);
}

static void advance_range(struct op *op)
{
	struct ad_read *r = op->reader;
	struct entry *group = op->group;

	if (!op->answered) { /* deleted meanwhile: its tombstone is on the way */
		op_free(op);
	} else if (group->range_next > 0) {
		(void)send_range(op);
	} else {
		op->group = NULL;
		op_free(op);
		r->events.image(r->events.arg, group);
	}
}

static void advance_batch(struct op *op)
{
	const struct ad_read *r = op->reader;
	size_t unnamed = 0;

	for (size_t i = op->from; i < op->from + op->count; i++)
		unnamed += !r->named[i];
	op->kind = ANY;
	if (unnamed > 0)
		(void)send_batch(op);
	else
		op_free(op);
}

static void op_done(void *arg, const struct directory_result *result)
{
	struct op *op = arg;
	struct ad_read *r = op->reader;

	op->number = 0;
	if (result->rc && !(result->rc == LDAP_NO_SUCH_OBJECT && op->kind == RANGE))
		fail(r, result->rc, result->text);
	if (r->rc || op->kind == ANY || op->kind == SEARCH)
		op_free(op);
	else if (op->kind == RANGE)
		advance_range(op);
	else
		advance_batch(op);
	step(r, true);
}
