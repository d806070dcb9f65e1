/* Two buses on one loop, and what arrives at each. */
#ifndef DIRPIPE_BUS_FIXTURE_H
#define DIRPIPE_BUS_FIXTURE_H

#include "loop_fixture.h"

#include "bus.h"
#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

static char folder[] = "/tmp/test_bus.XXXXXX";
static char ipc[100];
static const struct wire_epoch epoch = {7, 42};
static const struct slice nobody = {NULL, 0};

/* ---- what arrives ---- */

enum { GOT_MAX = 4096 };
struct got {
	int rc;
	uint8_t verb, version;
	uint64_t epoch;
	char peer[64];
	size_t peer_n;
	char key[32], only[32];
	unsigned roles;
	bool has_key;
	size_t body_n;
	char body[32];
};
static struct side {
	struct bus *bus;
	struct got got[GOT_MAX];
	int n, stop_after;
	bool echo, free_it;
} router, dealer;

static inline void arrived(void *arg, int rc, const struct bus_message *m)
{
	struct side *s = arg;
	struct got *g = &s->got[s->n];

	assert_true(s->n < GOT_MAX);
	*g = (struct got){.rc = rc,
			  .verb = m->header.verb,
			  .version = m->header.version,
			  .epoch = m->header.epoch.number,
			  .peer_n = m->peer.n,
			  .body_n = m->body.n,
			  .has_key = m->key != NULL};
	if (m->peer.n > 0 && m->peer.n < sizeof(g->peer))
		memcpy(g->peer, m->peer.p, m->peer.n);
	if (m->body.n > 0)
		memcpy(g->body, m->body.p,
		       m->body.n < sizeof(g->body) ? m->body.n : sizeof(g->body));
	if (m->key) {
		snprintf(g->key, sizeof(g->key), "%s", m->key->name);
		snprintf(g->only, sizeof(g->only), "%s", m->key->only ? m->key->only : "");
		g->roles = m->key->roles;
	}
	if (s->echo) {
		struct buf copy = {0};

		buf_add(&copy, m->body.p, m->body.n);
		assert_int_equal(bus_send(s->bus, m->peer, m->header.verb, m->header.epoch, &copy),
				 0);
		buf_done(&copy);
	}
	if (s->free_it) {
		bus_free(s->bus);
		s->bus = NULL;
	}
	if (++s->n == s->stop_after)
		loop_stop(t.loop);
}

static inline void wait_for(struct side *s, int n)
{
	s->stop_after = n;
	if (s->n < n)
		run();
	s->stop_after = 0;
}

static inline void say(struct side *s, struct slice peer, const char *text)
{
	struct buf b = {0};

	buf_adds(&b, text);
	assert_int_equal(bus_send(s->bus, peer, WIRE_VERB_beat, epoch, &b), 0);
	buf_done(&b);
}

static inline struct slice peer_of(const struct got *g)
{
	return (struct slice){g->peer, g->peer_n};
}

static inline struct bus *router_at(const char *endpoint, const struct bus_keys *keys)
{
	struct buf why = {0};
	struct bus *bus = bus_router_new(t.loop, &endpoint, 1, keys, arrived, &router, &why);

	if (!bus)
		fail_msg("%s", why.p);
	buf_done(&why);
	return bus;
}

static inline struct bus *dealer_at(const char *endpoint, const struct bus_keys *keys)
{
	struct buf why = {0};
	struct bus *bus = bus_dealer_new(t.loop, &endpoint, 1, keys, arrived, &dealer, &why);

	if (!bus)
		fail_msg("%s", why.p);
	buf_done(&why);
	return bus;
}

static inline int begin_bus(void **state)
{
	memset(&router, 0, sizeof(router));
	memset(&dealer, 0, sizeof(dealer));
	return begin(state);
}

static inline int end_bus(void **state)
{
	bus_free(router.bus);
	bus_free(dealer.bus);
	return end(state);
}

/* ---- raw sockets ---- */

static struct {
	void *context, *socket, *monitor;
	struct loop_timer *timer;
	int failed; /* the event that said so */
} raw;

static inline void raw_open(int type)
{
	int zero = 0;
	int64_t none = -1;

	memset(&raw, 0, sizeof(raw));
	raw.context = zmq_ctx_new();
	raw.socket = zmq_socket(raw.context, type);
	zmq_setsockopt(raw.socket, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_setsockopt(raw.socket, ZMQ_SNDHWM, &zero, sizeof(zero));
	zmq_setsockopt(raw.socket, ZMQ_MAXMSGSIZE, &none, sizeof(none));
}

static inline void raw_close(void)
{
	if (raw.monitor)
		zmq_close(raw.monitor);
	zmq_close(raw.socket);
	zmq_ctx_term(raw.context);
}

static inline void raw_frames(const struct slice *frames, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(
			zmq_send(raw.socket, frames[i].p, frames[i].n, i + 1 < n ? ZMQ_SNDMORE : 0),
			(int)frames[i].n);
}

#define RAW(...)                                                                                   \
	raw_frames((const struct slice[]){__VA_ARGS__},                                            \
		   sizeof((const struct slice[]){__VA_ARGS__}) / sizeof(struct slice))

static inline int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(ipc, sizeof(ipc), "ipc://%s/bus.sock", folder);
	return 0;
}

static inline int tear_down(void **state)
{
	struct buf command = {0};
	int rc;

	(void)state;
	buf_addf(&command, "rm -rf '%s'", folder);
	rc = system(command.p);
	buf_done(&command);
	return rc;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin_bus, end_bus)

#endif
