/* The session with the broker: HELLO until WELCOME, then batches under a window, BEAT, HOLD and CONFIRM. Any sign that
 * the session is over (FENCED, another epoch, ERROR, silence) ends in lost(), and HELLO begins again by itself.
 *
 *	calling ──WELCOME (several, last=1)──► open ──FENCED, other epoch, silence──► calling …
 *
 * A batch is not kept: what was not committed is read again from the cursor that the next WELCOME brings. */
#ifndef DIRPIPE_PUBLISH_H
#define DIRPIPE_PUBLISH_H

#include "bus.h"
#include "conf.h"
#include "loop.h"
#include "wire.h"

struct publish;

struct publish_events {
	void *arg;
	void (*welcome)(void *arg, const struct wire_welcome *part, bool first);
	void (*lost)(void *arg, const char *why); /* an open (or opening) session is over */
	void (*room)(void *arg);		  /* the window opened */
	void (*confirm)(void *arg, uint8_t kind, struct slice name);
	void (*beat)(void *arg, struct wire_beat *beat); /* fill in what the line knows */
};

struct publish_settings {
	struct loop *loop;
	const struct conf_node *root;
	const char *source;
	const char *driver;
	struct fp config;
	struct publish_events events;
};

/* NULL with why: bad endpoint or keys. */
struct publish *publish_new(const struct publish_settings *settings, struct buf *why) MUST_CHECK;
void publish_free(struct publish *p);

bool publish_is_open(const struct publish *p);
bool publish_has_room(const struct publish *p);
size_t publish_in_flight(const struct publish *p); /* batches that are not committed */
uint64_t publish_sent(const struct publish *p);	   /* users */
/* session and batch number are filled in here. Only with room. */
void publish_batch(struct publish *p, struct wire_publish *batch);
void publish_hold(struct publish *p, struct wire_hold *hold);
/* What BEAT tells has changed: one goes out in this turn, not only when the next is due. */
void publish_beat(struct publish *p);
void publish_restart(struct publish *p, const char *why); /* the line gives the session up */

#endif
