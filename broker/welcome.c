/* After a HELLO's page is on disk: the cursor, then what is known of each user of the source, in parts. One part is under
 * way at a time, so that a million users cost no memory here. */
#include "session_impl.h"

#include <errno.h>
#include <stdlib.h>

enum { WELCOME_USERS = 1000, RETRY_MS = 20 };

struct welcome {
	struct session *s;
	struct peer *peer; /* NULL: ended, freed by the callback that is under way */
	struct queue *queue;
	uint64_t walk;
	bool last, sent;
	struct loop_timer *timer; /* runs while `waiting` for the peer's pipe */
	bool waiting;
	struct buf cookie, server, body;
	struct fp config;
};

static void welcome_free(struct welcome *w)
{
	if (w->peer)
		w->peer->welcome = NULL;
	buf_done(&w->cookie);
	buf_done(&w->server);
	buf_done(&w->body);
	loop_timer_free(w->timer);
	free(w);
}

void welcome_end(struct peer *p)
{
	struct welcome *w = p->welcome;

	p->welcome = NULL;
	if (!w)
		return;
	w->peer = NULL;
	if (w->waiting)
		welcome_free(w);
}

bool welcome_unsent(const struct peer *p)
{
	return p->welcome && !p->welcome->sent;
}

/* Ended meanwhile, or of an engine that is no more? */
static bool over(struct welcome *w)
{
	return !w->peer || turn_queue(w->s->turn) != w->queue;
}

static void next_part(struct welcome *w);

/* A collector that is slower than the store is waited for; one that is silent ends with its peer. */
static void send_part(void *arg)
{
	struct welcome *w = arg;
	struct peer *p = w->peer;
	int rc = bus_send(w->s->bus, (struct slice){p->route, p->route_n}, WIRE_VERB_welcome,
			  store_epoch(turn_store(w->s->turn)), &w->body);

	w->waiting = rc == -EAGAIN;
	w->sent = w->sent || rc == 0;
	if (w->waiting)
		loop_timer_set(w->timer, RETRY_MS);
	else if (rc < 0 || w->last)
		welcome_free(w);
	else
		next_part(w);
}

static void known(void *arg, bool ok, const struct wire_known *rows, size_t n)
{
	struct welcome *w = arg;
	CLEANUP(buf_cleanup) struct buf records = {0};
	struct wire_welcome frame;

	if (!ok || over(w)) {
		welcome_free(w);
		return;
	}
	for (size_t i = 0; i < n; i++)
		wire_add_known(&records, &rows[i]);
	frame = (struct wire_welcome){
		.session = w->peer->session,
		.last = w->last,
		.distrust = queue_source_distrusted(w->queue, w->peer->index),
		.config = w->config,
		.cursor = buf_slice(&w->cookie),
		.server = buf_slice(&w->server),
		.users = wire_list_of(&records, (uint32_t)n),
	};
	buf_clear(&w->body);
	wire_put_welcome(&w->body, &frame);
	send_part(w);
}

static void next_part(struct welcome *w)
{
	struct id *ids = mem_array(WELCOME_USERS, sizeof(*ids));
	size_t n = 0;

	while (n < WELCOME_USERS && queue_walk(w->queue, w->peer->index, &w->walk, &ids[n]))
		n++;
	w->last = n < WELCOME_USERS;
	store_known(turn_store(w->s->turn), ids, n, known, w);
	free(ids);
}

static void cursor(void *arg, bool ok, struct slice cookie, struct slice server, struct fp config)
{
	struct welcome *w = arg;

	if (!ok || over(w)) {
		welcome_free(w);
		return;
	}
	buf_add(&w->cookie, cookie.p, cookie.n);
	buf_add(&w->server, server.p, server.n);
	w->config = config;
	next_part(w);
}

static void session_stored(void *arg, bool ok)
{
	struct welcome *w = arg;

	if (!ok || over(w)) {
		welcome_free(w);
		return;
	}
	store_cursor(turn_store(w->s->turn), w->s->conf.turn.store.sources[w->peer->index], cursor,
		     w);
}

void welcome_begin(struct session *s, struct peer *p)
{
	struct welcome *w = mem_alloc(sizeof(*w));

	*w = (struct welcome){.s = s, .peer = p, .queue = turn_queue(s->turn)};
	w->timer = loop_timer_new(s->loop, send_part, w);
	welcome_end(p);
	p->welcome = w;
	turn_then(s->turn, session_stored, w);
}
