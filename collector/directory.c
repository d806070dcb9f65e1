#include "directory_conf.h"

#include "clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <uthash.h>

enum {
	MESSAGES_A_TURN = 64,
	BACKOFF_FIRST_MS = 200,
	BACKOFF_CAP_MS = 30 * 1000,
	DENIED_TRIES = 3,
	DENIED_FIRST_MS = 5 * 1000,
	DENIED_WINDOW_MS = 30 * 60 * 1000,
	DENIED_PAUSE_CAP_MS = 6 * 60 * 60 * 1000,
};

/*	stopped ──start──► waiting ──timer──► connecting ──bound──► up
 *	   ▲                  ▲                    │ failed           │ broke, fail(), again()
 *	   └──────stop────────┴────────────────────┴──────────────────┘ */
enum state { STOPPED, WAITING, CONNECTING, UP };

struct operation {
	UT_hash_handle hh;     /* by number */
	UT_hash_handle hh_msg; /* by msgid */
	uint64_t number;
	int msgid;
	int64_t timeout_ms; /* < 0: none */
	int64_t heard_ms;
	directory_message_fn message;
	directory_done_fn done;
	void *arg;
	int page; /* paged searches keep what the next page needs */
	char *base, *filter;
	char **attrs;
	int scope;
	LDAPControl **controls;
};

/* What belongs to one LDAP handle; outlives its directory's interest until the turn is over. */
struct connection {
	LDAP *ld;
	uv_poll_t poll;
	uv_idle_t idle;
	int open_handles;
	bool dead; /* nothing of it counts any more */
	struct directory *owner;
};

/* One try on a thread of the pool; the directory forgets it by letting go of the pointer. */
struct attempt {
	struct directory *owner;
	const struct directory_conf *conf;
	size_t uri;
	struct secret *password;
	_Atomic int fd;
	LDAP *ld;
	struct directory_failure failure;
};

struct directory {
	struct loop *loop;
	const struct directory_conf *conf;
	struct directory_events events;
	enum state state;
	unsigned refs; /* owner, connections, attempts, callbacks under way */
	bool pinned;
	size_t uri;
	struct connection *connection;
	struct attempt *attempt;
	struct operation *by_number, *by_msgid;
	uint64_t last_number;
	struct loop_timer *timer;   /* next try, or watchdog of the try */
	struct loop_timer *silence; /* operations' time-outs */
	int64_t silence_due_ms;	    /* 0: not set */
	struct loop_after *broken;
	const char *broken_why;
	struct directory_backoff backoff, denied_pause;
	int64_t denied_ms[DENIED_TRIES];
	unsigned denied;
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

static void unref(struct directory *d)
{
	assert(d->refs > 0);
	if (--d->refs > 0)
		return;
	free(d);
}

static void operation_free(struct operation *o)
{
	free(o->base);
	free(o->filter);
	directory_attrs_free(o->attrs);
	ldap_controls_free(o->controls);
	free(o);
}

static void operation_forget(struct directory *d, struct operation *o)
{
	HASH_DELETE(hh, d->by_number, o);
	HASH_DELETE(hh_msg, d->by_msgid, o);
}

static void handle_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;

	if (--c->open_handles > 0)
		return;
	directory_disconnect(c->ld);
	unref(c->owner);
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

static void forget_operations(struct directory *d)
{
	struct operation *o, *next;

	HASH_ITER (hh, d->by_number, o, next) {
		operation_forget(d, o);
		operation_free(o);
	}
}

void directory_stop(struct directory *d)
{
	d->state = STOPPED;
	d->broken_why = NULL;
	drop(d);
	forget_operations(d);
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
	unref(d);
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
	while (d->by_number != NULL && d->state == WAITING) {
		struct operation *o = d->by_number;

		operation_forget(d, o);
		o->done(o->arg, &result);
		operation_free(o);
	}
	if (d->state == WAITING) {
		loop_timer_set(d->timer, delay_ms);
		d->events.down(d->events.arg, problem, why, delay_ms);
	}
	unref(d);
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

static int send_search(struct directory *d, struct operation *o, const struct directory_search *s,
		       const struct berval *cookie)
{
	LDAP *ld = d->connection->ld;
	LDAPControl *page = NULL;
	LDAPControl *all[16] = {NULL};
	struct berval none = {0, NULL};
	struct berval at;
	size_t n = 0;
	char **attrs = NULL;
	int rc;

	for (; s->controls != NULL && s->controls[n] != NULL && n < 14; n++)
		all[n] = s->controls[n];
	if (s->page > 0) {
		at = cookie != NULL ? *cookie : none;
		rc = ldap_create_page_control(ld, s->page, &at, 1, &page);
		if (rc != LDAP_SUCCESS)
			return rc;
		all[n++] = page;
	}
	memcpy(&attrs, &s->attrs, sizeof(attrs)); /* libldap's API lacks a const */
	rc = ldap_search_ext(ld, s->base, s->scope,
			     s->filter != NULL ? s->filter : "(objectClass=*)", attrs, 0, all, NULL,
			     NULL, LDAP_NO_LIMIT, &o->msgid);
	ldap_control_free(page);
	return rc;
}

static bool next_page(struct directory *d, struct operation *o, LDAPControl **controls, int *ret_rc)
{
	LDAPControl *c = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL);
	struct berval cookie = {0, NULL};
	struct directory_search s = {.base = o->base,
				     .scope = o->scope,
				     .filter = o->filter,
				     .attrs = (const char *const *)o->attrs,
				     .controls = o->controls,
				     .page = o->page};
	ber_int_t estimate;

	if (c == NULL || ldap_parse_pageresponse_control(d->connection->ld, c, &estimate,
							 &cookie) != LDAP_SUCCESS)
		return false;
	if (cookie.bv_len == 0) {
		ber_memfree(cookie.bv_val);
		return false;
	}
	HASH_DELETE(hh_msg, d->by_msgid, o);
	*ret_rc = send_search(d, o, &s, &cookie);
	HASH_ADD(hh_msg, d->by_msgid, msgid, sizeof(o->msgid), o);
	ber_memfree(cookie.bv_val);
	return *ret_rc == LDAP_SUCCESS;
}

static void finish(struct directory *d, struct operation *o, LDAPMessage *m)
{
	struct directory_result r = {.text = ""};
	char *text = NULL;
	int rc = ldap_parse_result(d->connection->ld, m, &r.rc, NULL, &text, NULL, &r.controls, 0);

	if (rc != LDAP_SUCCESS)
		r.rc = LDAP_DECODING_ERROR;
	r.text = text != NULL && text[0] != '\0' ? text : ldap_err2string(r.rc);
	if (r.rc != LDAP_SUCCESS || o->page == 0 || !next_page(d, o, r.controls, &r.rc)) {
		operation_forget(d, o);
		o->done(o->arg, &r);
		operation_free(o);
	}
	ldap_memfree(text);
	ldap_controls_free(r.controls);
}

/* One message to its operation. Unsolicited notices (msgid 0: disconnection, RFC 4511 4.4) come before the close. */
static void deliver(struct directory *d, struct connection *c, LDAPMessage *m)
{
	int msgid = ldap_msgid(m), type = ldap_msgtype(m);
	struct operation *o;

	HASH_FIND(hh_msg, d->by_msgid, &msgid, sizeof(msgid), o);
	if (o == NULL)
		return;
	o->heard_ms = clock_boot_ms();
	if (type == LDAP_RES_SEARCH_ENTRY || type == LDAP_RES_INTERMEDIATE)
		o->message(o->arg, c->ld, m, type);
	else if (type != LDAP_RES_SEARCH_REFERENCE)
		finish(d, o, m);
}

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
		deliver(c->owner, c, m);
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
	unref(d);
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
	unref(d);
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

static void silent(void *arg);

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
	d->silence = loop_timer_new(loop, silent, d);
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

/* ---- operations ---- */

static int64_t deadline(const struct operation *o)
{
	return o->timeout_ms < 0 ? INT64_MAX : o->heard_ms + o->timeout_ms;
}

static void time_out(struct directory *d, struct operation *o)
{
	struct directory_result r = {.rc = LDAP_TIMEOUT, .text = "no answer in time"};

	operation_forget(d, o);
	ldap_abandon_ext(d->connection->ld, o->msgid, NULL, NULL);
	o->done(o->arg, &r);
	operation_free(o);
}

static struct operation *first_due(struct directory *d)
{
	struct operation *o, *next, *first = NULL;

	HASH_ITER (hh, d->by_number, o, next)
		if (first == NULL || deadline(o) < deadline(first))
			first = o;
	return first;
}

/* One timer for all; what is heard meanwhile moves the operation's deadline, not the timer. */
static void watch_silence(struct directory *d, int64_t due_ms)
{
	if (due_ms == INT64_MAX || (d->silence_due_ms != 0 && d->silence_due_ms <= due_ms))
		return;
	d->silence_due_ms = due_ms;
	loop_timer_set(d->silence, due_ms - clock_boot_ms());
}

static void silent(void *arg)
{
	struct directory *d = arg;
	struct operation *o;

	d->refs++;
	d->silence_due_ms = 0;
	while (d->state == UP && (o = first_due(d)) != NULL && deadline(o) <= clock_boot_ms())
		time_out(d, o);
	if (d->state == UP && (o = first_due(d)) != NULL)
		watch_silence(d, deadline(o));
	unref(d);
}

static void keep_for_pages(struct operation *o, const struct directory_search *s)
{
	size_t n = 0;

	o->page = s->page;
	o->base = mem_dup(s->base);
	o->filter = mem_dup(s->filter);
	o->scope = s->scope;
	while (s->attrs != NULL && s->attrs[n] != NULL)
		n++;
	if (s->attrs != NULL)
		o->attrs = mem_array(n + 1, sizeof(*o->attrs));
	for (size_t i = 0; i < n; i++)
		o->attrs[i] = mem_dup(s->attrs[i]);
	if (s->controls != NULL)
		o->controls = ldap_controls_dup(s->controls);
}

uint64_t directory_search(struct directory *d, const struct directory_search *s,
			  directory_message_fn message, directory_done_fn done, void *arg)
{
	struct operation *o;

	if (!directory_is_up(d))
		return 0;
	o = mem_alloc(sizeof(*o));
	if (send_search(d, o, s, NULL) != LDAP_SUCCESS) {
		free(o);
		d->broken_why = "a request could not be sent";
		loop_after_ask(d->broken);
		return 0;
	}
	if (s->page > 0)
		keep_for_pages(o, s);
	o->number = ++d->last_number;
	o->timeout_ms = s->timeout_ms == 0 ? d->conf->operation_timeout_ms : s->timeout_ms;
	o->heard_ms = clock_boot_ms();
	o->message = message;
	o->done = done;
	o->arg = arg;
	HASH_ADD(hh, d->by_number, number, sizeof(o->number), o);
	HASH_ADD(hh_msg, d->by_msgid, msgid, sizeof(o->msgid), o);
	watch_silence(d, deadline(o));
	return o->number;
}

void directory_abandon(struct directory *d, uint64_t op)
{
	struct operation *o;

	HASH_FIND(hh, d->by_number, &op, sizeof(op), o);
	if (o == NULL)
		return;
	operation_forget(d, o);
	if (d->connection != NULL)
		ldap_abandon_ext(d->connection->ld, o->msgid, NULL, NULL);
	operation_free(o);
}

size_t directory_operations(const struct directory *d)
{
	return HASH_CNT(hh, d->by_number);
}
