#include "publish.h"

#include "clock.h"
#include "crash.h"
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	WINDOW = 16, /* batches */
	HELLO_MS = 2000,
	FENCED_MS = 3000,
	BEAT_MS = 5000,
	SILENCE_MS = 30 * 1000,
	SILENCE_CHOICE_MS = 6 * 1000, /* … when another broker may be active */
	STUCK_MS = 20,
};

struct flight {
	bool cursor;
	bool full_page;
};

struct publish {
	struct publish_settings s;
	struct bus *bus;
	struct secret *secret;
	struct loop_timer *timer; /* HELLO or BEAT */
	struct loop_timer *stuck_timer;
	uint64_t nonce;
	struct wire_epoch epoch; /* of the session */
	uint64_t epoch_seen;
	uint64_t session; /* 0: none */
	bool open;
	bool asked;	  /* a HELLO that nobody has answered went to this endpoint */
	bool standing_by; /* … for another collector, and said so */
	uint64_t batch, committed;
	uint64_t sent_users;
	struct flight flights[WINDOW];
	struct buf stuck; /* a batch that the pipe did not take */
	int64_t heard_ms;
};

static void send_hello(struct publish *p)
{
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct wire_hello hello = {
		.source = slice_of(p->s.source),
		.nonce = p->nonce,
		.epoch_seen = p->epoch_seen,
		.config = p->s.config,
		.driver = slice_of(p->s.driver),
		.clock_unix_ms = clock_unix_ms(),
	};

	wire_put_hello(&body, &hello);
	(void)!bus_send(p->bus, (struct slice){0}, WIRE_VERB_hello, (struct wire_epoch){0}, &body);
	p->asked = true;
	loop_timer_set(p->timer, HELLO_MS);
}

static void send_beat(struct publish *p)
{
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct wire_beat beat = {.session = p->session,
				 .clock_boot_ms = clock_boot_ms(),
				 .published = p->sent_users};

	p->s.events.beat(p->s.events.arg, &beat);
	wire_put_beat(&body, &beat);
	(void)!bus_send(p->bus, (struct slice){0}, WIRE_VERB_beat, p->epoch, &body);
	loop_timer_set(p->timer, BEAT_MS);
}

static void lose(struct publish *p, const char *why, int64_t again_ms)
{
	bool had = p->session != 0;

	p->open = false;
	p->session = 0;
	buf_clear(&p->stuck);
	loop_timer_set(p->stuck_timer, -1);
	loop_timer_set(p->timer, again_ms);
	if (had)
		p->s.events.lost(p->s.events.arg, why);
}

static int64_t silence_ms(const struct publish *p)
{
	return bus_has_choice(p->bus) ? SILENCE_CHOICE_MS : SILENCE_MS;
}

static void try_another(struct publish *p)
{
	p->asked = false;
	bus_reconnect(p->bus);
}

static void tick(void *arg)
{
	struct publish *p = arg;

	if (p->session != 0 && loop_now_ms(p->s.loop) - p->heard_ms > silence_ms(p)) {
		try_another(p);
		lose(p, "the broker is silent", 0);
	} else if (p->open) {
		send_beat(p);
	} else if (p->session != 0) {
		loop_timer_set(p->timer, HELLO_MS); /* parts of WELCOME are coming */
	} else {
		if (p->asked && bus_has_choice(p->bus))
			try_another(p); /* a standby hears, and has nothing to say */
		send_hello(p);
	}
}

/* ---- sending ---- */

bool publish_is_open(const struct publish *p)
{
	return p->open;
}

size_t publish_in_flight(const struct publish *p)
{
	return (size_t)(p->batch - p->committed);
}

bool publish_has_room(const struct publish *p)
{
	return p->open && p->stuck.n == 0 && publish_in_flight(p) < WINDOW;
}

uint64_t publish_sent(const struct publish *p)
{
	return p->sent_users;
}

static void unstick(void *arg)
{
	struct publish *p = arg;

	if (p->stuck.n == 0)
		return;
	if (bus_send(p->bus, (struct slice){0}, WIRE_VERB_publish, p->epoch, &p->stuck) ==
	    -EAGAIN) {
		loop_timer_set(p->stuck_timer, STUCK_MS);
		return;
	}
	buf_clear(&p->stuck);
	p->s.events.room(p->s.events.arg);
}

void publish_batch(struct publish *p, struct wire_publish *batch)
{
	struct buf body = {0};

	assert(publish_has_room(p));
	CRASH_POINT("collector.before_publish");
	batch->session = p->session;
	batch->batch = ++p->batch;
	p->flights[p->batch % WINDOW] =
		(struct flight){.cursor = batch->has_cursor, .full_page = batch->users.count > 1};
	p->sent_users += batch->users.count;
	wire_put_publish(&body, batch);
	if (bus_send(p->bus, (struct slice){0}, WIRE_VERB_publish, p->epoch, &body) == -EAGAIN) {
		buf_done(&p->stuck);
		p->stuck = body;
		loop_timer_set(p->stuck_timer, STUCK_MS);
		return;
	}
	buf_done(&body);
	CRASH_POINT("collector.published");
	if (batch->has_cursor)
		CRASH_POINT("collector.cursor_published");
}

void publish_hold(struct publish *p, struct wire_hold *hold)
{
	CLEANUP(buf_cleanup) struct buf body = {0};

	if (!p->open)
		return;
	hold->session = p->session;
	wire_put_hold(&body, hold);
	(void)!bus_send(p->bus, (struct slice){0}, WIRE_VERB_hold, p->epoch, &body);
}

void publish_beat(struct publish *p)
{
	if (p->open)
		loop_timer_set(p->timer, 0);
}

void publish_restart(struct publish *p, const char *why)
{
	lose(p, why, 0);
}

/* ---- receiving ---- */

static void take_welcome(struct publish *p, const struct bus_message *m)
{
	struct wire_welcome w;
	bool first;

	if (wire_get_welcome(m->body, &w) != 0 || w.session == 0)
		return;
	p->asked = p->standing_by = false;
	if (p->open && w.session == p->session)
		return; /* an answer to a HELLO that was sent twice */
	if (p->session != 0 && p->session != w.session)
		lose(p, "a new session", HELLO_MS);
	first = p->session == 0;
	p->session = w.session;
	p->epoch = m->header.epoch;
	if (p->epoch.number > p->epoch_seen)
		p->epoch_seen = p->epoch.number;
	p->s.events.welcome(p->s.events.arg, &w, first);
	if (!w.last || p->session == 0)
		return;
	p->open = true;
	p->batch = p->committed = 0;
	loop_timer_set(p->timer, 0);
	p->s.events.room(p->s.events.arg);
}

static void take_committed(struct publish *p, struct slice body)
{
	struct wire_committed c;
	bool cursor = false, full_page = false;

	if (wire_get_committed(body, &c) != 0 || !p->open || c.session != p->session ||
	    c.batch > p->batch || c.batch <= p->committed)
		return;
	for (uint64_t i = p->committed + 1; i <= c.batch; i++) {
		cursor = cursor || p->flights[i % WINDOW].cursor;
		full_page = full_page || p->flights[i % WINDOW].full_page;
	}
	p->committed = c.batch;
	CRASH_POINT("collector.committed");
	if (full_page)
		CRASH_POINT("collector.full_page");
	if (cursor)
		CRASH_POINT("collector.cursor_committed");
	p->s.events.room(p->s.events.arg);
}

static void take_fenced(struct publish *p, struct slice body)
{
	struct wire_fenced f;

	if (wire_get_fenced(body, &f) != 0 ||
	    (f.session != 0 && p->session != 0 && f.session != p->session))
		return;
	p->asked = false;
	if (p->session == 0) {
		loop_timer_set(p->timer, FENCED_MS);
		if (!p->standing_by)
			log_msg(LOG_INFO_, "DP-1106",
				"another collector serves this source: standing by");
		p->standing_by = true;
		return;
	}
	lose(p, "another collector took over", FENCED_MS);
}

static void take_error(struct publish *p, struct slice body)
{
	struct wire_error e;
	struct log_line l;

	if (wire_get_error(body, &e) != 0)
		return;
	l = log_begin(LOG_ERROR_, "DP-1107", "the broker refused a message");
	log_text(&l, "verb", wire_verb_name(e.verb));
	log_slice(&l, "reason", e.reason);
	log_end(&l);
	if (p->session != 0)
		lose(p, "the broker refused a message", HELLO_MS);
}

static bool same_epoch(struct wire_epoch a, struct wire_epoch b)
{
	return a.number == b.number && a.nonce == b.nonce;
}

static void take(struct publish *p, const struct bus_message *m)
{
	struct wire_confirm c;

	switch (m->header.verb) {
	case WIRE_VERB_committed:
		take_committed(p, m->body);
		break;
	case WIRE_VERB_confirm:
		if (wire_get_confirm(m->body, &c) == 0)
			p->s.events.confirm(p->s.events.arg, c.kind, c.name);
		break;
	case WIRE_VERB_fenced:
		take_fenced(p, m->body);
		break;
	case WIRE_VERB_error:
		take_error(p, m->body);
		break;
	default: /* BEAT: being heard is all of it */
		break;
	}
}

static void received(void *arg, int rc, const struct bus_message *m)
{
	struct publish *p = arg;

	if (rc == -EPROTONOSUPPORT) {
		log_msg(LOG_ERROR_, "DP-1109", "the broker speaks version %u, this collector %d",
			m->header.version, WIRE_VERSION);
		return;
	}
	if (rc != 0) {
		log_msg(LOG_WARN_, "DP-1108", "a malformed message came from the broker (%d)", rc);
		return;
	}
	/* A broker that was active before the one we know: nothing it says counts. */
	if (m->header.epoch.number < p->epoch_seen && m->header.verb != WIRE_VERB_error)
		return;
	p->heard_ms = loop_now_ms(p->s.loop);
	if (m->header.verb == WIRE_VERB_welcome) {
		take_welcome(p, m);
		return;
	}
	if (p->session != 0 && !same_epoch(m->header.epoch, p->epoch)) {
		if (m->header.epoch.number > p->epoch_seen)
			p->epoch_seen = m->header.epoch.number;
		lose(p, "another broker is active", 0);
		return;
	}
	take(p, m);
}

/* ---- life ---- */

static int read_keys(struct publish *p, const struct conf_node *curve, struct bus_keys *keys,
		     struct buf *why)
{
	struct secret_ref ref;

	if (!conf_secret(curve, "secret_key", &ref))
		return 0;
	p->secret = conf_load_secret(curve, "secret_key", why);
	if (p->secret == NULL)
		return -EINVAL;
	keys->secret_key = p->secret;
	keys->server_key = conf_text(curve, "server_key");
	return 0;
}

struct publish *publish_new(const struct publish_settings *settings, struct buf *why)
{
	const struct conf_node *connect = conf_section(settings->root, "connect");
	const char *endpoints[CONF_ENDPOINTS_MAX];
	size_t endpoints_n = conf_endpoints(settings->root, endpoints, CONF_ENDPOINTS_MAX);
	struct publish *p = mem_alloc(sizeof(*p));
	struct bus_keys keys = {0};

	p->s = *settings;
	p->heard_ms = loop_now_ms(settings->loop);
	while (p->nonce == 0)
		if (getrandom(&p->nonce, sizeof(p->nonce), 0) != sizeof(p->nonce))
			p->nonce = 0;
	p->timer = loop_timer_new(settings->loop, tick, p);
	p->stuck_timer = loop_timer_new(settings->loop, unstick, p);
	if (read_keys(p, conf_section(connect, "curve"), &keys, why) == 0)
		p->bus = bus_dealer_new(settings->loop, endpoints, endpoints_n, &keys, received, p,
					why);
	if (p->bus == NULL) {
		publish_free(p);
		return NULL;
	}
	loop_timer_set(p->timer, 0);
	return p;
}

void publish_free(struct publish *p)
{
	if (p == NULL)
		return;
	bus_free(p->bus);
	loop_timer_free(p->timer);
	loop_timer_free(p->stuck_timer);
	secret_free(p->secret);
	buf_done(&p->stuck);
	free(p);
}
