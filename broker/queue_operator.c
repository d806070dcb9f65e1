/* What people ask for. */
#include "queue_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int find(struct queue *q, const struct queue_page *page, unsigned target,
		const struct id *user, struct ref *ret)
{
	uint32_t i;

	assert(q->page == page);
	if (target >= q->targets_n)
		return -ENOENT;
	i = user_find(q, user);
	if (i == NONE || !entry_find(q, target, i, ret))
		return -ENOENT;
	return 0;
}

int queue_retry(struct queue *q, struct queue_page *page, unsigned target, const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc == 0)
		entry_cause(q, &r, CAUSE_NEWER | CAUSE_LIVE | CAUSE_NO_WAIT);
	return rc;
}

int queue_drop(struct queue *q, struct queue_page *page, unsigned target, const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc < 0)
		return rc;
	if (r.e->state != QUEUE_DEAD)
		return -ENOENT;
	entry_drop(q, &r);
	return 0;
}

int queue_resync(struct queue *q, struct queue_page *page, unsigned target, const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc == 0)
		entry_verify(q, &r, CAUSE_NEWER | CAUSE_LIVE);
	return rc;
}

int queue_reinstate(struct queue *q, struct queue_page *page, unsigned target,
		    const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc < 0 || !queue_has_taken(q, target, user))
		return -ENOENT;
	held_permit(q, &r, SLICE("licence_reinstate"));
	entry_cause(q, &r, CAUSE_NEWER | CAUSE_LIVE | CAUSE_NO_WAIT);
	return 0;
}

int queue_drifted(struct queue *q, struct queue_page *page, unsigned target, const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc == 0)
		entry_verify(q, &r, CAUSE_OTHER);
	return rc;
}

void queue_reconciled(struct queue *q, struct queue_page *page, unsigned target, uint64_t divergent,
		      uint64_t unowned)
{
	struct queue_counts *c = &q->targets[target]->counts;
	CLEANUP(buf_cleanup) struct buf text = {0};

	assert(q->page == page);
	c->reconciled_unix_ms = unix_now(q);
	c->divergent = divergent;
	c->unowned = unowned;
	buf_addf(&text, "%" PRId64 " %" PRIu64 " %" PRIu64, c->reconciled_unix_ms, divergent,
		 unowned);
	guard_put(q, target, "reconciled", buf_slice(&text));
}

int queue_set_pause(struct queue *q, struct queue_page *page, unsigned target, bool paused,
		    struct slice why)
{
	assert(q->page == page);
	if (target >= q->targets_n)
		return -ENOENT;
	if (pace_operator(&q->targets[target]->pace, paused, q->now_ms))
		pause_put(q, target, why);
	return 0;
}

static int link_refusal(const struct queue *q, const struct ref *r,
			const struct queue_link_word *word)
{
	if (word->rid && !r->e->in)
		return -ENOENT;
	if (r->e->state == QUEUE_FLIGHT)
		return -EBUSY;
	if (r->e->link_revision != (uint32_t)word->revision)
		return -EAGAIN;
	return word->rid && !rid_free(q, r, slice_of(word->rid)) ? -EEXIST : 0;
}

int queue_link(struct queue *q, struct queue_page *page, unsigned target, const struct id *user,
	       const struct queue_link_word *word)
{
	struct link_news news = {.state = word->rejoin ? LINK_NONE : LINK_UNMANAGED,
				 .was = word->was};
	struct was was;
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc == 0)
		rc = link_refusal(q, &r, word);
	if (rc < 0)
		return rc;
	was = entry_was(q, &r);
	if (word->rid) {
		news.rid = slice_of(word->rid);
		news.memory = SLICE("{\"manual\":true}");
		news.state = LINK_ACTIVE;
		if (!rid_claim(q, &r, news.rid))
			return -EEXIST;
	}
	link_change(q, &r, &news);
	page_user_effect(q, QUEUE_PUT_APPLIED, &r)->fp = (struct fp){{0}};
	entry_put(q, &r, was);
	entry_verify(q, &r, CAUSE_NEWER | CAUSE_LIVE);
	/* whoever waits for the account or its name looks again */
	waiters_wake(q, &r, WAKE_PARKED);
	name_freed(q, target);
	return 0;
}
