#include "clock.h"
#include "crash.h"
#include "session_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A frame of tasks is closed when it has grown to this; one task is at most some 17 MiB (wire.h: bytes). */
enum { TASKS_BYTES = 4 << 20 };

void answers_send(struct session *s, struct peer *p, uint8_t verb, const struct buf *body)
{
	struct slice route = {p->route, p->route_n};
	int rc = bus_send(s->bus, route, verb, store_epoch(turn_store(s->turn)), body);

	if (rc == -EAGAIN)
		session_peer_gone(s, p, "does not read");
	else if (rc < 0)
		session_peer_gone(s, p, "connection gone");
}

void answers_error(struct session *s, struct slice route, uint8_t verb, const char *reason)
{
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct wire_error e = {verb, slice_of(reason)};

	if (route.n == 0)
		return;
	wire_put_error(&body, &e);
	/* A stranger who does not read misses it. */
	if (bus_send(s->bus, route, WIRE_VERB_error, store_epoch(turn_store(s->turn)), &body) < 0)
		return;
}

void answers_fenced(struct session *s, struct peer *p, uint64_t session)
{
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct wire_fenced f = {session, SLICE("another collector serves this source")};
	struct slice route = {p->route, p->route_n};

	wire_put_fenced(&body, &f);
	/* It asks again when it does not get this. */
	if (bus_send(s->bus, route, WIRE_VERB_fenced, store_epoch(turn_store(s->turn)), &body) < 0)
		return;
}

/* session: of the source, 0 when nobody has it, so that a fenced collector knows when it may say HELLO again. */
void answers_beat(struct session *s, struct peer *p)
{
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct wire_beat b = {.clock_boot_ms = clock_boot_ms(),
			      .clock_unix_ms = clock_unix_ms(),
			      .state = turn_queue(s->turn) != NULL};

	if (p->kind == PEER_COLLECTOR && s->sources[p->index].peer)
		b.session = s->sources[p->index].session;
	wire_put_beat(&body, &b);
	answers_send(s, p, WIRE_VERB_beat, &body);
}

/* ---- tasks ---- */

struct batch {
	struct buf records;
	uint32_t n;
};

static void send_tasks(struct session *s, struct peer *p, struct batch *batch)
{
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct wire_tasks w = {clock_unix_ms(), wire_list_of(&batch->records, batch->n)};

	wire_put_tasks(&body, &w);
	buf_clear(&batch->records);
	batch->n = 0;
	answers_send(s, p, WIRE_VERB_tasks, &body);
}

static void add_task(struct session *s, struct batch *batch, const struct queue_task_head *head,
		     const struct store_task *from)
{
	struct wire_task w = {
		.lease_epoch = head->lease.epoch,
		.lease_page = head->lease.page,
		.lease_index = head->lease.index,
		.stamp_ms = head->lease.stamp_ms,
		.lease_ms = s->conf.turn.queue.lease_ms,
		.worker = head->lease.worker,
		.id = head->id,
		.source = from->source,
		.version = head->version,
		.gone = head->gone,
		.in = head->in,
		.verify = head->verify,
		.noted = head->noted,
		.attempts = head->attempts,
		.applied = from->applied,
		.expect = head->expect,
		.rid = from->rid,
		.link_state = from->link_state,
		.link_revision = from->link_revision,
		.link_memory = from->memory,
		.rids = from->rids,
		.permits = head->permits,
		.snapshot = from->snapshot,
	};

	assert(id_equal(&head->id, &from->id));
	queue_dispatched(turn_queue(s->turn), &head->lease, from->rid);
	/* A record that cannot be read (store_quarantined): the lease runs out, nobody works on it. */
	if (from->source.n == 0)
		return;
	wire_add_task(&batch->records, &w);
	batch->n++;
}

/* tasks: those of this answer, by the heads' order. */
static void answer_tasks(struct session *s, const struct queue_answer *a,
			 const struct store_task *const *tasks)
{
	struct batch batch = {0};
	struct peer *p = session_peer(s, a->peer);

	for (uint32_t i = 0; p && i < a->tasks_n; i++) {
		add_task(s, &batch, &a->tasks[i], tasks[i]);
		if (batch.records.n < TASKS_BYTES)
			continue;
		send_tasks(s, p, &batch);
		p = session_peer(s, a->peer); /* gone when it does not read */
	}
	if (p && batch.n > 0)
		send_tasks(s, p, &batch);
	buf_done(&batch.records);
}

/* ---- the rest ---- */

static void put_lease(uint8_t verb, const struct queue_answer *a, struct buf *body)
{
	struct wire_noted noted = {a->a, a->b, a->index, a->kind};
	struct wire_refused refused = {a->a, a->b, a->index, a->kind, a->text};
	struct wire_accepted accepted = {a->a, a->b, a->index};
	struct wire_stale stale = {a->a, a->b, a->index};

	if (verb == WIRE_VERB_noted)
		wire_put_noted(body, &noted);
	else if (verb == WIRE_VERB_refused)
		wire_put_refused(body, &refused);
	else if (verb == WIRE_VERB_accepted)
		wire_put_accepted(body, &accepted);
	else
		wire_put_stale(body, &stale);
}

static void answer_plain(struct session *s, struct peer *p, const struct queue_answer *a)
{
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct wire_committed committed = {a->a, a->b};
	struct wire_confirm confirm = {a->kind, a->text};
	struct wire_fenced fenced = {a->a, a->text};

	if (a->verb == WIRE_VERB_committed)
		wire_put_committed(&body, &committed);
	else if (a->verb == WIRE_VERB_confirm)
		wire_put_confirm(&body, &confirm);
	else if (a->verb == WIRE_VERB_fenced)
		wire_put_fenced(&body, &fenced);
	else
		put_lease((uint8_t)a->verb, a, &body);
	answers_send(s, p, (uint8_t)a->verb, &body);
}

/* A page's NOTED and ACCEPTED of one peer are one message each. */
static bool answer_packed(struct peer *p, const struct queue_answer *a)
{
	CLEANUP(buf_cleanup) struct buf body = {0};

	if (a->verb != WIRE_VERB_noted && a->verb != WIRE_VERB_accepted)
		return false;
	put_lease((uint8_t)a->verb, a, &body);
	wire_pack(a->verb == WIRE_VERB_noted ? &p->noted : &p->accepted, &body);
	return true;
}

static void send_packed(struct session *s, uint64_t peer, uint8_t verb)
{
	struct peer *p = session_peer(s, peer);
	struct buf *packed = !p ? NULL : verb == WIRE_VERB_noted ? &p->noted : &p->accepted;
	int rc;

	if (!p || packed->n == 0)
		return;
	rc = bus_send_packed(s->bus, (struct slice){p->route, p->route_n}, verb,
			     store_epoch(turn_store(s->turn)), packed);
	buf_clear(packed);
	if (rc < 0)
		session_peer_gone(s, p, rc == -EAGAIN ? "does not read" : "connection gone");
}

static void send_all_packed(struct session *s, const struct queue_page *page)
{
	for (size_t i = 0; i < page->answers_n; i++) {
		send_packed(s, page->answers[i].peer, WIRE_VERB_noted);
		send_packed(s, page->answers[i].peer, WIRE_VERB_accepted);
	}
}

/* Sorts the page's tasks by the answer that carries them: the engine names it in each DISPATCH effect, and lists the heads of
 * an answer in the same order. */
static void answer_all(struct session *s, const struct queue_page *page,
		       const struct store_task **sorted, const size_t *first)
{
	for (size_t i = 0; i < page->answers_n; i++) {
		const struct queue_answer *a = &page->answers[i];
		struct peer *p = session_peer(s, a->peer);

		if (!p)
			continue;
		if (a->verb == WIRE_VERB_tasks)
			answer_tasks(s, a, sorted + first[i]);
		else if (!answer_packed(p, a))
			answer_plain(s, p, a);
	}
	send_all_packed(s, page);
}

void answers_written(struct session *s, const struct queue_page *page,
		     const struct store_task *tasks, size_t tasks_n)
{
	CLEANUP(free_cleanup)
	size_t *first = mem_array(page->answers_n + 1, sizeof(*first));
	CLEANUP(free_cleanup) size_t *next = mem_array(page->answers_n + 1, sizeof(*next));
	CLEANUP(free_cleanup)
	const struct store_task **sorted = mem_array(tasks_n + 1, sizeof(void *));
	size_t n = 0;

	for (size_t i = 0; i < page->answers_n; i++)
		first[i + 1] = first[i] + page->answers[i].tasks_n;
	assert(first[page->answers_n] == tasks_n);
	memcpy(next, first, (page->answers_n + 1) * sizeof(*next));
	for (size_t i = 0; i < page->effects_n; i++)
		if (page->effects[i].kind == QUEUE_DISPATCH)
			sorted[next[page->effects[i].answer]++] = &tasks[n++];
	answer_all(s, page, sorted, first);
}
