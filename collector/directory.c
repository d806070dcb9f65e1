#include "directory_impl.h"

#include "clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum {
	MESSAGES_A_TURN = 64,
	BACKOFF_FIRST_MS = 200,
	BACKOFF_CAP_MS = 30 * 1000,
	DENIED_FIRST_MS = 5 * 1000,
	DENIED_WINDOW_MS = 30 * 60 * 1000,
	DENIED_PAUSE_CAP_MS = 6 * 60 * 60 * 1000,
};

static void try_now(void *arg);

/* ---- backoff ---- */

int64_t directory_backoff_next(struct directory_backoff *b)
{
	int64_t whole = b->first_ms;
	uint32_t random = 0;

	for (unsigned i = 0; i < b->failures && whole < b->cap_ms; i++)
		whole *= 2;
	if (whole > b->cap_ms)
		whole = b->cap_ms;
	b->failures++;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)clock_boot_ms();
	return whole / 2 + (int64_t)(random % (uint64_t)(whole / 2 + 1));
}

void directory_backoff_reset(struct directory_backoff *b)
{
	b->failures = 0;
}

/* ---- life ---- */

void directory_unref(struct directory *d)
{
	assert(d->refs > 0);
	if (--d->refs > 0)
		return;
	free(d);
}

static void handle_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;

	if (--c->open_handles > 0)
		return;
	directory_disconnect(c->ld);
	directory_unref(c->owner);
	free(c);
}

static void connection_close(struct connection *c)
{
	c->dead = true;
	uv_poll_stop(&c->poll);
	uv_idle_stop(&c->idle);
	uv_close((uv_handle_t *)&c->poll, handle_closed);
	uv_close((uv_handle_t *)&c->idle, handle_closed);
}

/* Closes without a word to anybody; operations are the caller's matter. */
static void drop(struct directory *d)
{
	if (d->connection != NULL) {
		connection_close(d->connection);
		d->connection = NULL;
	}
	if (d->attempt != NULL) {
		int fd = atomic_load(&d->attempt->fd);

		if (fd >= 0)
			shutdown(fd, SHUT_RDWR);
		d->attempt = NULL; /* its thread ends it */
	}
	loop_timer_set(d->timer, -1);
	loop_timer_set(d->silence, -1);
	d->silence_due_ms = 0;
}

void directory_stop(struct directory *d)
{
	d->state = STOPPED;
	d->broken_why = NULL;
	drop(d);
	operation_forget_all(d);
}

void directory_free(struct directory *d)
{
	if (d == NULL)
		return;
	directory_stop(d);
	loop_timer_free(d->timer);
	loop_timer_free(d->silence);
	loop_after_free(d->broken);
	d->timer = d->silence = NULL;
	d->broken = NULL;
	directory_unref(d);
}

/* ---- failing ---- */

/* At most 3 refused binds in 30 minutes, then a growing delay (GOALS S3): an account is not locked by us. */
static int64_t denied_delay(struct directory *d)
{
	int64_t now = clock_boot_ms();
	int64_t delay, window;

	d->denied_ms[d->denied++ % DENIED_TRIES] = now;
	if (d->denied < DENIED_TRIES)
		return DENIED_FIRST_MS + directory_backoff_next(&d->backoff);
	window = d->denied_ms[d->denied % DENIED_TRIES] + DENIED_WINDOW_MS - now;
	delay = directory_backoff_next(&d->denied_pause);
	return delay > window ? delay : window;
}

/* Ends the open operations, tells the user, waits. Any callback may stop or free us. */
static void go_down(struct directory *d, enum source_problem problem, const char *why,
		    int64_t delay_ms)
{
	struct directory_result result = {.rc = LDAP_SERVER_DOWN, .text = why};

	d->refs++;
	drop(d);
	d->state = WAITING;
	while (d->state == WAITING && operation_end_one(d, &result))
		;
	if (d->state == WAITING) {
		loop_timer_set(d->timer, delay_ms);
		d->events.down(d->events.arg, problem, why, delay_ms);
	}
	directory_unref(d);
}

static void next_uri(struct directory *d)
{
	if (!d->pinned)
		d->uri = (d->uri + 1) % d->conf->uris_n;
}

void directory_fail(struct directory *d, const char *why)
{
	if (d->state != UP)
		return;
	next_uri(d);
	go_down(d, SOURCE_UNREACHABLE, why, directory_backoff_next(&d->backoff));
}

void directory_again(struct directory *d, const char *why)
{
	if (d->state == UP)
		go_down(d, SOURCE_NONE, why, 0);
}

void directory_good(struct directory *d)
{
	directory_backoff_reset(&d->backoff);
}

static void broke(void *arg)
{
	struct directory *d = arg;
	const char *why = d->broken_why;

	d->broken_why = NULL;
	if (why != NULL)
		directory_fail(d, why);
}

/* ---- messages ---- */

/* Drains what the library holds, decrypted or not, in portions: with TLS many messages sit where poll cannot see
 * them (libraries.md 1.1). False: broke. *ret_more: the portion was not enough. */
static bool drain(struct connection *c, bool *ret_more)
{
	struct timeval zero = {0, 0};

	*ret_more = false;
	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		LDAPMessage *m = NULL;
		int type = ldap_result(c->ld, LDAP_RES_ANY, LDAP_MSG_ONE, &zero, &m);

		if (type == 0)
			return true;
		if (type < 0)
			return false;
		operation_deliver(c->owner, c, m);
		ldap_msgfree(m);
		if (c->dead)
			return true;
	}
	*ret_more = true;
	return true;
}

static void drained(uv_idle_t *handle);

static void work(struct connection *c, bool hung_up)
{
	struct directory *d = c->owner;
	bool more = false;
	bool ok;

	d->refs++;
	ok = drain(c, &more) && !(hung_up && !more);
	if (!c->dead) {
		if (!ok)
			directory_fail(d, "the server closed the connection");
		else if (more)
			uv_idle_start(&c->idle, drained);
		else
			uv_idle_stop(&c->idle);
	}
	directory_unref(d);
}

static void drained(uv_idle_t *handle)
{
	work(handle->data, false);
}

static void readable(uv_poll_t *handle, int status, int events)
{
	(void)events;
	work(handle->data, status < 0); /* libuv reports POLLERR as a status and stops the handle */
}

/* ---- connecting ---- */

static void attempt_work(void *arg)
{
	struct attempt *a = arg;

	a->ld = directory_connect_with(a->conf, a->uri, a->password, &a->fd, &a->failure);
}

static bool adopt(struct directory *d, LDAP *ld)
{
	struct connection *c;
	int fd = -1;

	if (ldap_get_option(ld, LDAP_OPT_DESC, &fd) != LDAP_OPT_SUCCESS || fd < 0)
		return false;
	/* A peer that stops in the middle of a message must not stop the loop: libldap keeps the part it has. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	c = mem_alloc(sizeof(*c));
	if (uv_poll_init(loop_uv(d->loop), &c->poll, fd) != 0) {
		free(c);
		return false;
	}
	*c = (struct connection){.ld = ld, .poll = c->poll, .open_handles = 2, .owner = d};
	uv_idle_init(loop_uv(d->loop), &c->idle);
	c->poll.data = c;
	c->idle.data = c;
	uv_poll_start(&c->poll, UV_READABLE, readable);
	d->refs++;
	d->connection = c;
	return true;
}

static void attempt_ended(struct directory *d, struct attempt *a)
{
	d->attempt = NULL;
	loop_timer_set(d->timer, -1);
	if (a->ld != NULL && adopt(d, a->ld)) {
		a->ld = NULL;
		d->state = UP;
		d->denied = 0;
		directory_backoff_reset(&d->denied_pause);
		d->events.up(d->events.arg, d->uri);
		return;
	}
	next_uri(d);
	go_down(d, a->failure.problem, a->failure.text,
		a->failure.problem == SOURCE_DENIED ? denied_delay(d)
						    : directory_backoff_next(&d->backoff));
}

static void attempt_done(void *arg)
{
	struct attempt *a = arg;
	struct directory *d = a->owner;

	if (d->attempt == a)
		attempt_ended(d, a);
	directory_disconnect(a->ld);
	secret_free(a->password);
	free(a);
	// NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the try holds a reference of its own
	directory_unref(d);
}

/* The last resort against a peer that holds a thread: its socket is shut down under it. */
static void watchdog(struct directory *d)
{
	int fd = d->attempt != NULL ? atomic_load(&d->attempt->fd) : -1;

	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
}

static void try_now(void *arg)
{
	struct directory *d = arg;
	struct attempt *a;

	if (d->state == CONNECTING)
		watchdog(d);
	if (d->state != WAITING)
		return;
	a = mem_alloc(sizeof(*a));
	*a = (struct attempt){.owner = d, .conf = d->conf, .uri = d->uri, .fd = -1};
	d->refs++;
	d->attempt = a;
	d->state = CONNECTING;
	a->password = directory_password(d->conf, &a->failure);
	if (a->failure.problem != SOURCE_NONE) {
		attempt_done(a);
		return;
	}
	loop_timer_set(d->timer,
		       2 * d->conf->network_timeout_ms + d->conf->operation_timeout_ms + 1000);
	loop_work(d->loop, attempt_work, attempt_done, a);
}

struct directory *directory_new(struct loop *loop, const struct directory_conf *c,
				const struct directory_events *events)
{
	struct directory *d = mem_alloc(sizeof(*d));

	*d = (struct directory){
		.loop = loop,
		.conf = c,
		.events = *events,
		.refs = 1,
		.backoff = {.first_ms = BACKOFF_FIRST_MS, .cap_ms = BACKOFF_CAP_MS},
		.denied_pause = {.first_ms = DENIED_WINDOW_MS, .cap_ms = DENIED_PAUSE_CAP_MS},
	};
	d->timer = loop_timer_new(loop, try_now, d);
	d->silence = loop_timer_new(loop, operation_silence, d);
	d->broken = loop_after_new(loop, broke, d);
	return d;
}

void directory_start(struct directory *d)
{
	if (d->state != STOPPED)
		return;
	d->pinned = false;
	d->state = WAITING;
	loop_timer_set(d->timer, 0);
}

void directory_start_at(struct directory *d, size_t uri)
{
	directory_start(d);
	d->pinned = true;
	d->uri = uri % d->conf->uris_n;
}

bool directory_is_up(const struct directory *d)
{
	return d->state == UP && d->broken_why == NULL;
}

size_t directory_uri(const struct directory *d)
{
	return d->uri;
}

LDAP *directory_ldap(struct directory *d)
{
	return d->connection != NULL ? d->connection->ld : NULL;
}
