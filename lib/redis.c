#include "redis.h"

#include "redis_poll.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_CAP_MS = 5000, WHY_MAX = 200, DEFAULT_PORT = 6379 };

/* One command that waits for its reply; hiredis answers in the order of calls, so no pointer to it is handed over. */
struct call {
	STAILQ_ENTRY(call) entry;
	redis_reply_fn fn;
	void *arg;
	int64_t sent_ms;
};
STAILQ_HEAD(calls, call);

/* A name that is being looked up on a thread. */
struct lookup {
	uv_getaddrinfo_t request;
	struct redis *redis; /* NULL: nobody waits any more */
};

/* State, and what ends it:
 *
 *	DOWN ──backoff──► CONNECTING ──connected; AUTH, SELECT, PING answered──► UP
 *	  ▲                   │ refused, time-out, an error as answer             │ closed, protocol error,
 *	  └───────────────────┴────────────────────────────◄─────────────────────┘ oldest call too old
 */
struct redis {
	struct loop *loop;
	struct loop_timer
		*timer; /* DOWN: next try; CONNECTING: give up; UP: look at the oldest call */
	struct loop_after *after; /* tells of changes and of calls that came to nothing */
	struct redis_conf conf;
	redis_state_fn on_state;
	void *arg;
	enum redis_state state;
	redisAsyncContext *ac; /* its data is this struct, or NULL once it was given up */
	struct lookup *lookup;
	char *host, *path; /* one of them */
	int port;
	int64_t db;
	unsigned tries; /* since it was last up */
	struct calls pending, lost, delivering;
	bool timer_set, notify;
	struct buf why;
	bool is_delivering; /* redis_free leaves the rest to the delivery */
	bool is_freed;
};

/* ---- calls ---- */

static struct call *take(struct calls *list)
{
	struct call *c = STAILQ_FIRST(list);

	if (c)
		STAILQ_REMOVE_HEAD(list, entry);
	return c;
}

static void answer(struct call *c, enum redis_class class, const redisReply *reply)
{
	redis_reply_fn fn = c->fn;
	void *arg = c->arg;

	free(c);
	fn(arg, class, reply);
}

/* Runs at the end of a turn: nobody is called back from inside their own call. */
static void deliver(void *arg)
{
	struct redis *r = arg;
	struct call *c;

	STAILQ_CONCAT(&r->delivering, &r->lost);
	r->is_delivering = true;
	if (r->notify) {
		CLEANUP(free_cleanup) char *why = buf_steal(&r->why);

		r->notify = false;
		if (r->on_state)
			r->on_state(r->arg, r->state, why);
	}
	while (!r->is_freed && (c = take(&r->delivering)))
		answer(c, REDIS_CLASS_UNKNOWN, NULL);
	r->is_delivering = false;
	if (r->is_freed)
		free(r);
}

static void set_state(struct redis *r, enum redis_state state, const char *why)
{
	r->state = state;
	r->notify = true;
	buf_clear(&r->why);
	buf_adds(&r->why, why);
	loop_after_ask(r->after);
}

/* ---- the connection's end ---- */

/* Equal jitter: between half and all of 100 ms, 200 ms … 5 s. */
static int64_t backoff_ms(unsigned tries)
{
	int64_t most = tries < 6 ? (int64_t)BACKOFF_FIRST_MS << tries : BACKOFF_CAP_MS;

	if (most > BACKOFF_CAP_MS)
		most = BACKOFF_CAP_MS;
	return most / 2 + (int64_t)randombytes_uniform((uint32_t)(most / 2) + 1);
}

/* Gives the connection up; every pending call is of unknown outcome. free_it: hiredis does not do so by itself. */
static void lose(struct redis *r, const char *why, bool free_it)
{
	redisAsyncContext *ac = r->ac;

	r->ac = NULL;
	if (ac)
		ac->data = NULL;
	if (ac && free_it)
		redisAsyncFree(ac);
	if (r->lookup)
		r->lookup->redis = NULL;
	r->lookup = NULL;
	STAILQ_CONCAT(&r->lost, &r->pending);
	loop_timer_set(r->timer, backoff_ms(r->tries++));
	r->timer_set = true;
	set_state(r, REDIS_DOWN, why);
}

/* ---- replies ---- */

static void watch_oldest(struct redis *r)
{
	struct call *oldest = STAILQ_FIRST(&r->pending);
	int64_t left;

	if (r->state != REDIS_UP || r->timer_set || !oldest)
		return;
	left = oldest->sent_ms + r->conf.call_timeout_ms - loop_now_ms(r->loop);
	loop_timer_set(r->timer, left > 0 ? left : 0);
	r->timer_set = true;
}

static void replied(redisAsyncContext *ac, void *data, void *unused)
{
	const redisReply *reply = data;
	struct redis *r = ac->data;
	struct call *c;

	(void)unused;
	/* NULL: the connection is ending; ended tells all pending calls at once. */
	if (!r || !reply)
		return;
	c = take(&r->pending);
	assert(c);
	answer(c, redis_classify(reply), reply); /* may free r */
}

static void send_call(struct redis *r, const struct slice *argv, size_t argc, redis_reply_fn fn,
		      void *arg)
{
	struct call *c = mem_alloc(sizeof(*c));
	const char **p = mem_array(argc, sizeof(*p));
	size_t *n = mem_array(argc, sizeof(*n));

	*c = (struct call){.fn = fn, .arg = arg, .sent_ms = loop_now_ms(r->loop)};
	for (size_t i = 0; i < argc; i++) {
		p[i] = argv[i].p ? argv[i].p : "";
		n[i] = argv[i].n;
	}
	if (r->ac && redisAsyncCommandArgv(r->ac, replied, NULL, (int)argc, p, n) == REDIS_OK) {
		STAILQ_INSERT_TAIL(&r->pending, c, entry);
		watch_oldest(r);
	} else {
		STAILQ_INSERT_TAIL(&r->lost, c, entry);
		loop_after_ask(r->after);
	}
	free(p);
	free(n);
}

/* ---- greeting: AUTH, SELECT, PING ---- */

/* The first line of what the server says, cut to what a log line bears. */
static void add_words(struct buf *out, const redisReply *reply)
{
	size_t n = reply->len < WHY_MAX ? (size_t)reply->len : WHY_MAX;

	for (size_t i = 0; i < n; i++) {
		char c = reply->str[i];

		if ((unsigned char)c < 0x20 || c == 0x7f)
			c = ' ';
		buf_addc(out, c);
	}
}

/* A server's answer to AUTH is cut to its first word: nobody knows what it repeats. */
static void refused(struct redis *r, const char *command, const redisReply *reply)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	buf_addf(&why, "%s refused: ", command);
	if (strcmp(command, "AUTH") == 0 && reply->type == REDIS_REPLY_ERROR)
		buf_add(&why, reply->str, strcspn(reply->str, " \r\n"));
	else if (reply->type == REDIS_REPLY_ERROR)
		add_words(&why, reply);
	else
		buf_adds(&why, "not the answer of a Redis server");
	lose(r, why.p, true);
}

static void authenticated(void *arg, enum redis_class class, const redisReply *reply)
{
	if (reply && class != REDIS_CLASS_OK)
		refused(arg, "AUTH", reply);
}

static void selected(void *arg, enum redis_class class, const redisReply *reply)
{
	if (reply && class != REDIS_CLASS_OK)
		refused(arg, "SELECT", reply);
}

static void greeted(void *arg, enum redis_class class, const redisReply *reply)
{
	struct redis *r = arg;

	if (!reply)
		return;
	if (class != REDIS_CLASS_OK || reply->type != REDIS_REPLY_STATUS ||
	    strcmp(reply->str, "PONG") != 0) {
		refused(r, "PING", reply);
		return;
	}
	r->tries = 0;
	loop_timer_set(r->timer, -1);
	r->timer_set = false;
	set_state(r, REDIS_UP, "");
}

static void greet(struct redis *r)
{
	struct slice argv[3] = {SLICE("AUTH")};
	size_t argc = 1;
	char db[24];

	if (r->conf.password) {
		if (r->conf.user && *r->conf.user)
			argv[argc++] = slice_of(r->conf.user);
		argv[argc++] = secret_value(r->conf.password);
		send_call(r, argv, argc, authenticated, r);
	}
	if (r->db != 0) {
		snprintf(db, sizeof(db), "%lld", (long long)r->db);
		argv[0] = SLICE("SELECT");
		argv[1] = slice_of(db);
		send_call(r, argv, 2, selected, r);
	}
	argv[0] = SLICE("PING");
	send_call(r, argv, 1, greeted, r);
}

/* ---- connecting ---- */

static void connected(const redisAsyncContext *ac, int status)
{
	struct redis *r = ac->data;

	if (!r)
		return;
	if (status != REDIS_OK)
		lose(r, ac->errstr && *ac->errstr ? ac->errstr : "cannot connect", false);
	else
		greet(r);
}

static void ended(const redisAsyncContext *ac, int status)
{
	struct redis *r = ac->data;

	(void)status;
	if (r)
		lose(r, ac->errstr && *ac->errstr ? ac->errstr : "connection closed", false);
}

static void socket_options(int fd, bool tcp)
{
	int on = 1;
	int idle_s = 15;
	int flags = fcntl(fd, F_GETFD);

	if (flags >= 0)
		fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
	if (!tcp)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof(idle_s));
}

/* Takes a context that hiredis made, connecting or failed. */
static void take_context(struct redis *r, redisAsyncContext *ac)
{
	if (!ac || ac->err) {
		lose(r, ac && ac->errstr && *ac->errstr ? ac->errstr : "cannot connect", false);
		if (ac)
			redisAsyncFree(ac);
		return;
	}
	socket_options(ac->c.fd, r->host != NULL);
	if (redis_poll_attach(loop_uv(r->loop), ac) < 0) {
		lose(r, "the socket cannot be polled", false);
		redisAsyncFree(ac);
		return;
	}
	ac->data = r;
	r->ac = ac;
	redisAsyncSetDisconnectCallback(ac, ended);
	redisAsyncSetConnectCallback(ac, connected); /* asks for the first write event */
}

/* One address of the name, another one with each try. */
static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct lookup *lookup = request->data;
	struct redis *r = lookup->redis;
	char text[INET6_ADDRSTRLEN];
	struct addrinfo *a = list;
	unsigned n = 0;

	free(lookup);
	if (r) {
		r->lookup = NULL;
		for (struct addrinfo *i = list; i; i = i->ai_next)
			n++;
		for (unsigned skip = n > 0 ? r->tries % n : 0; skip > 0; skip--)
			a = a->ai_next;
		if (status == 0 && a &&
		    getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0,
				NI_NUMERICHOST) == 0)
			take_context(r, redisAsyncConnect(text, r->port));
		else
			lose(r, "the host's name cannot be resolved", false);
	}
	uv_freeaddrinfo(list);
}

static void look_up(struct redis *r)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct lookup *lookup = mem_alloc(sizeof(*lookup));

	lookup->redis = r;
	lookup->request.data = lookup;
	if (uv_getaddrinfo(loop_uv(r->loop), &lookup->request, looked_up, r->host, NULL, &hints) ==
	    0) {
		r->lookup = lookup;
		return;
	}
	free(lookup);
	lose(r, "the host's name cannot be resolved", false);
}

static bool is_numeric(const char *host)
{
	struct in6_addr any;

	return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static void connect_start(struct redis *r)
{
	set_state(r, REDIS_CONNECTING, "");
	loop_timer_set(r->timer, r->conf.connect_timeout_ms);
	r->timer_set = true;
	if (r->path)
		take_context(r, redisAsyncConnectUnix(r->path));
	else if (is_numeric(r->host))
		take_context(r, redisAsyncConnect(r->host, r->port));
	else
		look_up(r);
}

static void due(void *arg)
{
	struct redis *r = arg;
	struct call *oldest = STAILQ_FIRST(&r->pending);
	CLEANUP(buf_cleanup) struct buf why = {0};

	r->timer_set = false;
	if (r->state == REDIS_DOWN) {
		connect_start(r);
	} else if (r->state == REDIS_CONNECTING) {
		buf_addf(&why, "no connection within %lld ms",
			 (long long)r->conf.connect_timeout_ms);
		lose(r, why.p, true);
	} else if (oldest && loop_now_ms(r->loop) - oldest->sent_ms >= r->conf.call_timeout_ms) {
		buf_addf(&why, "no answer within %lld ms", (long long)r->conf.call_timeout_ms);
		lose(r, why.p, true);
	} else {
		watch_oldest(r);
	}
}

/* ---- public ---- */

static int parse_number(const char *text, size_t n, int64_t most, int64_t *ret)
{
	int64_t value = 0;

	if (n == 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		value = value * 10 + (text[i] - '0');
		if (value > most)
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

/* redis://HOST[:PORT][/DB] behind the scheme. */
static int parse_host(struct redis *r, const char *p)
{
	size_t n = strcspn(p, "/");
	const char *db = p[n] ? p + n + 1 : "";
	const char *end = p[0] == '[' ? memchr(p, ']', n) : NULL;
	const char *colon = end ? (end[1] == ':' ? end + 1 : NULL) : memchr(p, ':', n);
	size_t host_n = colon ? (size_t)(colon - p) : n;
	int64_t port = DEFAULT_PORT;

	if (colon && parse_number(colon + 1, n - host_n - 1, 65535, &port) < 0)
		return -EINVAL;
	if (*db && parse_number(db, strlen(db), 1 << 20, &r->db) < 0)
		return -EINVAL;
	r->port = (int)port;
	if (end)
		r->host = slice_dup((struct slice){p + 1, (size_t)(end - p) - 1});
	else if (host_n > 0)
		r->host = slice_dup((struct slice){p, host_n});
	return r->host ? 0 : -EINVAL;
}

static int parse_url(struct redis *r, const char *url)
{
	if (strncmp(url, "redis://", 8) == 0)
		return parse_host(r, url + 8);
	if (strncmp(url, "unix://", 7) != 0 || url[7] != '/')
		return -EINVAL;
	r->path = mem_dup(url + 7);
	return 0;
}

struct redis *redis_new(struct loop *loop, const struct redis_conf *conf, redis_state_fn on_state,
			void *arg)
{
	struct redis *r = mem_alloc(sizeof(*r));
	int rc = sodium_init();

	assert(rc >= 0);
	(void)rc;
	*r = (struct redis){.loop = loop, .conf = *conf, .on_state = on_state, .arg = arg};
	if (parse_url(r, conf->url) < 0) {
		free(r->host);
		free(r);
		return NULL;
	}
	STAILQ_INIT(&r->pending);
	STAILQ_INIT(&r->lost);
	STAILQ_INIT(&r->delivering);
	r->timer = loop_timer_new(loop, due, r);
	r->after = loop_after_new(loop, deliver, r);
	connect_start(r);
	return r;
}

void redis_free(struct redis *r)
{
	struct call *c;

	if (!r)
		return;
	r->on_state = NULL;
	lose(r, "", true);
	STAILQ_CONCAT(&r->delivering, &r->lost);
	/* A callback that calls again is answered the same way. */
	while ((c = take(&r->delivering)) || (c = take(&r->lost)))
		answer(c, REDIS_CLASS_UNKNOWN, NULL);
	loop_timer_free(r->timer);
	loop_after_free(r->after);
	buf_done(&r->why);
	free(r->host);
	free(r->path);
	r->is_freed = true;
	if (!r->is_delivering)
		free(r);
}

enum redis_state redis_state(const struct redis *r)
{
	return r->state;
}

void redis_reconnect(struct redis *r)
{
	if (r->state != REDIS_DOWN)
		lose(r, "reconnecting", true);
}

void redis_call(struct redis *r, const struct slice *argv, size_t argc, redis_reply_fn fn,
		void *arg)
{
	struct call *c;

	assert(argc > 0);
	if (r->state == REDIS_UP) {
		send_call(r, argv, argc, fn, arg);
		return;
	}
	c = mem_alloc(sizeof(*c));
	*c = (struct call){.fn = fn, .arg = arg};
	STAILQ_INSERT_TAIL(&r->lost, c, entry);
	loop_after_ask(r->after);
}
