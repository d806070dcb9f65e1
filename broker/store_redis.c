#include "store_redis.h"
#include "clock.h"
#include "crash.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MOST_MS = 5000, REWRITE_POLL_MS = 20 };

static void inspect(struct store *s);
static void take(struct store *s);

/* ---- calls that belong to one turn of the connection's life ---- */

struct step {
	struct store *s;
	uint64_t turn;
	store_step_fn fn;
};

static void step_answered(void *arg, enum redis_class class, const redisReply *reply)
{
	struct step *step = arg;

	if (step->turn == step->s->turn)
		step->fn(step->s, class, reply);
	free(step);
}

void store_step(struct store *s, const struct slice *argv, size_t argc, store_step_fn fn)
{
	struct step *step = mem_alloc(sizeof(*step));

	*step = (struct step){s, s->turn, fn};
	redis_call(s->redis, argv, argc, step_answered, step);
}

/* ---- states ---- */

static void set_state(struct store *s, enum store_state state, const char *why)
{
	if (s->state == state && strcmp(s->why.p ? s->why.p : "", why) == 0)
		return;
	s->state = state;
	buf_clear(&s->why);
	buf_adds(&s->why, why);
	s->host.state(s->host.arg, state, s->why.p, s->lost_tail, s->emptied);
}

void store_fail(struct store *s, enum store_state state, const char *format, ...)
{
	struct buf why = {0};
	va_list ap;

	va_start(ap, format);
	buf_vaddf(&why, format, ap);
	va_end(ap);
	s->turn++;
	store_forget_writes(s);
	store_load_free(s);
	loop_timer_set(s->renew, -1);
	s->epoch = (struct wire_epoch){0};
	loop_timer_set(s->retry, s->backoff_ms);
	if (s->backoff_ms < BACKOFF_MOST_MS)
		s->backoff_ms *= 2;
	set_state(s, state, why.p ? why.p : "");
	buf_done(&why);
}

bool store_good(struct store *s, const char *what, enum redis_class class, const redisReply *reply)
{
	const char *words = reply && reply->type == REDIS_REPLY_ERROR ? reply->str : "no answer";

	switch (class) {
	case REDIS_CLASS_OK:
		return true;
	case REDIS_CLASS_UNKNOWN:
		store_fail(s, STORE_DOWN, "%s: Redis did not answer", what);
		return false;
	case REDIS_CLASS_FENCED:
		store_fail(s, STORE_STANDBY, "%s: %s", what, words);
		return false;
	case REDIS_CLASS_MASTER:
		store_fail(s, STORE_DOWN, "%s: %s", what, words);
		redis_reconnect(s->redis);
		return false;
	case REDIS_CLASS_DENIED:
		s->backoff_ms = BACKOFF_MOST_MS;
		store_fail(s, STORE_DOWN, "%s: refused by Redis, check user and password: %s", what,
			   words);
		return false;
	case REDIS_CLASS_WAIT:
	case REDIS_CLASS_FULL:
	case REDIS_CLASS_WRONG:
		store_fail(s, STORE_DOWN, "%s: %s", what, words);
		return false;
	case REDIS_CLASSES:
		break;
	}
	abort();
}

void store_unreadable(struct store *s, const char *what)
{
	store_fail(s, STORE_DOWN, "%s: an answer that cannot be read", what);
}

static void try_again(void *arg)
{
	struct store *s = arg;

	if (redis_state(s->redis) == REDIS_UP)
		inspect(s);
}

static void connection(void *arg, enum redis_state state, const char *why)
{
	struct store *s = arg;

	bool ours = s->state == STORE_READY || s->state == STORE_LOADING;

	if (state == REDIS_DOWN || ours)
		store_fail(s, STORE_DOWN, "Redis is away: %s", why ? why : "");
	if (state == REDIS_UP) {
		s->backoff_ms = BACKOFF_FIRST_MS;
		inspect(s);
	}
}

/* ---- checks of the server, before anything is taken ---- */

static struct slice info(const redisReply *reply, const char *name)
{
	struct slice all = store_text(reply), none = {0};
	size_t n = strlen(name);
	const char *end = all.p ? all.p + all.n : NULL;

	for (const char *p = all.p; p && p < end;) {
		const char *line = memchr(p, '\n', (size_t)(end - p));
		size_t length = (size_t)((line ? line : end) - p);

		if (length > n && p[n] == ':' && memcmp(p, name, n) == 0) {
			struct slice value = {p + n + 1, length - n - 1};

			if (value.n > 0 && value.p[value.n - 1] == '\r')
				value.n--;
			return value;
		}
		p = line ? line + 1 : NULL;
	}
	return none;
}

static void loaded_library(struct store *s, enum redis_class class, const redisReply *reply)
{
	if (!store_good(s, "loading the Functions", class, reply))
		return;
	if (store_text(reply).n > 0)
		take(s);
	else
		store_unreadable(s, "loading the Functions");
}

static void checked_fsync(struct store *s, enum redis_class class, const redisReply *reply)
{
	struct slice load[] = {
		SLICE("FUNCTION"), SLICE("LOAD"), SLICE("REPLACE"), {store_lua, store_lua_n}};
	struct slice fsync = {0};

	if (!store_good(s, "CONFIG GET appendfsync", class, reply))
		return;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
		fsync = store_text(reply->element[1]);
	if (!slice_is(fsync, "always") && (s->conf.fsync_always || !slice_is(fsync, "everysec"))) {
		store_fail(s, STORE_DOWN,
			   "Redis has appendfsync %.*s, but broker.redis.fsync says %s: set one of "
			   "them right",
			   (int)fsync.n, fsync.p ? fsync.p : "",
			   s->conf.fsync_always ? "always" : "everysec");
		return;
	}
	store_step(s, load, 4, loaded_library);
}

static void checked_info(struct store *s, enum redis_class class, const redisReply *reply)
{
	struct slice config[] = {SLICE("CONFIG"), SLICE("GET"), SLICE("appendfsync")};
	struct slice run_id, policy;

	if (!store_good(s, "INFO", class, reply))
		return;
	if (slice_is(info(reply, "loading"), "1")) {
		store_fail(s, STORE_DOWN, "Redis is loading its data");
		return;
	}
	if (!slice_is(info(reply, "role"), "master")) {
		store_fail(s, STORE_DOWN, "Redis is a replica, not the master");
		redis_reconnect(s->redis);
		return;
	}
	if (!slice_is(info(reply, "aof_enabled"), "1")) {
		store_fail(s, STORE_DOWN,
			   "Redis has appendonly no: it would forget everything at a restart; set "
			   "appendonly yes");
		return;
	}
	policy = info(reply, "maxmemory_policy");
	if (!slice_is(policy, "noeviction")) {
		store_fail(s, STORE_DOWN,
			   "Redis has maxmemory-policy %.*s: it would throw users away when full; "
			   "set noeviction",
			   (int)policy.n, policy.p ? policy.p : "");
		return;
	}
	run_id = info(reply, "run_id");
	if (run_id.n == 0 || run_id.n >= sizeof(s->run_id)) {
		store_fail(s, STORE_DOWN, "Redis gives no run_id");
		return;
	}
	memcpy(s->run_id, run_id.p, run_id.n);
	s->run_id[run_id.n] = '\0';
	store_step(s, config, 3, checked_fsync);
}

static void inspect(struct store *s)
{
	struct slice argv[] = {SLICE("INFO")};

	s->turn++; /* of two that begin at once the later goes on */
	loop_timer_set(s->retry, -1);
	store_step(s, argv, 1, checked_info);
}

/* ---- take-over ---- */

static uint64_t number_of(const redisReply *reply)
{
	struct slice s = store_text(reply);
	uint64_t value = 0;

	for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		value = value * 10 + (uint64_t)(s.p[i] - '0');
	return value;
}

static void renewed(struct store *s, enum redis_class class, const redisReply *reply)
{
	if (!store_good(s, "renewing the lease of the realm", class, reply))
		return;
	if (number_of(reply) == 0) {
		store_unreadable(s, "renewing the lease of the realm");
		return;
	}
	s->clock_off_ms = clock_unix_ms() - (int64_t)number_of(reply);
	loop_timer_set(s->renew, s->conf.active_ttl_ms / 3);
}

static void renew(void *arg)
{
	struct store *s = arg;
	char ttl[24];
	int n = snprintf(ttl, sizeof(ttl), "%" PRId64, s->conf.active_ttl_ms);
	struct slice argv[] = {SLICE("FCALL"),		store_function("renew"), SLICE("2"),
			       slice_of(s->key_active), slice_of(s->key_epoch),	 slice_of(s->me),
			       {ttl, (size_t)n},	slice_of(s->fence)};

	store_step(s, argv, 8, renewed);
}

static void settled(struct store *s, enum redis_class class, const redisReply *reply)
{
	if (!store_good(s, "recording the server", class, reply))
		s->settled = false;
	else if (!slice_is(store_text(reply), "OK"))
		store_unreadable(s, "recording the server");
}

void store_settled(struct store *s)
{
	char format[8];
	int n = snprintf(format, sizeof(format), "%d", STORE_FORMAT);
	struct slice argv[] = {SLICE("FCALL"),	   store_function("settle"),
			       SLICE("1"),	   slice_of(s->key_epoch),
			       slice_of(s->fence), {format, (size_t)n},
			       slice_of(s->run_id)};

	if (s->state != STORE_READY || s->settled)
		return;
	s->settled = true;
	store_step(s, argv, 7, settled);
}

void store_loaded(struct store *s)
{
	store_load_free(s);
	s->backoff_ms = BACKOFF_FIRST_MS;
	s->settled = strcmp(s->run_id, s->stored_run_id) == 0 && !s->emptied;
	set_state(s, STORE_READY, "");
	/* Nothing was lost, so nothing has to be caught up before the server counts as whole. */
	if (s->state == STORE_READY && !s->lost_tail && !s->emptied)
		store_settled(s);
}

static void begin_load(struct store *s)
{
	CRASH_POINT("broker.rewrite_waited");
	store_load_begin(s, s->host.fresh(s->host.arg, s->epoch));
}

static void rewrite(struct store *s);

static void rewriting(struct store *s, enum redis_class class, const redisReply *reply)
{
	if (!store_good(s, "waiting for the rewrite", class, reply))
		return;
	if (!slice_is(info(reply, "aof_rewrite_in_progress"), "0") ||
	    !slice_is(info(reply, "aof_rewrite_scheduled"), "0")) {
		loop_timer_set(s->retry, REWRITE_POLL_MS);
		return;
	}
	if (!slice_is(info(reply, "aof_last_bgrewrite_status"), "ok")) {
		store_fail(s, STORE_DOWN,
			   "Redis could not rewrite its append-only file: see its log");
		return;
	}
	if (s->rewrite_again)
		rewrite(s);
	else
		begin_load(s);
}

static void poll_rewrite(struct store *s)
{
	struct slice argv[] = {SLICE("INFO"), SLICE("persistence")};

	store_step(s, argv, 2, rewriting);
}

static void rewrite_begun(struct store *s, enum redis_class class, const redisReply *reply)
{
	/* One is under way already, maybe begun before our last writes: wait for it, then ask again. */
	s->rewrite_again = class == REDIS_CLASS_WRONG && reply && reply->str &&
			   strstr(reply->str, "already in progress");
	if (s->rewrite_again || store_good(s, "BGREWRITEAOF", class, reply))
		poll_rewrite(s);
}

/* A file that was cut inside its last transaction loses what is written behind it at the *next* restart
 * (libraries.md 0.3): so a new server process rewrites it before it gets work. */
static void rewrite(struct store *s)
{
	struct slice argv[] = {SLICE("BGREWRITEAOF")};

	s->rewrite_again = false;
	store_step(s, argv, 1, rewrite_begun);
}

static void become(struct store *s, const redisReply *reply)
{
	struct slice run_id = store_text(reply->element[4]);

	s->epoch.number = number_of(reply->element[1]);
	if (s->epoch.number == 0 || s->epoch.number >> STORE_EPOCH_BITS ||
	    number_of(reply->element[6]) == 0) {
		s->epoch = (struct wire_epoch){0};
		store_unreadable(s, "taking the realm");
		return;
	}
	s->page = number_of(reply->element[2]) + 1;
	s->before = number_of(reply->element[3]);
	s->emptied = slice_is(store_text(reply->element[5]), "emptied");
	s->saw_between = false;
	s->clock_off_ms = clock_unix_ms() - (int64_t)number_of(reply->element[6]);
	snprintf(s->stored_run_id, sizeof(s->stored_run_id), "%.*s", (int)run_id.n, run_id.p);
	s->lost_tail = s->emptied || (s->before > 0 && strcmp(s->run_id, s->stored_run_id) != 0);
	snprintf(s->fence, sizeof(s->fence), "%" PRIu64 " %016" PRIx64 " ", s->epoch.number,
		 s->epoch.nonce);
	CRASH_POINT("broker.epoch_taken");
	loop_timer_set(s->renew, s->conf.active_ttl_ms / 3);
	set_state(s, STORE_LOADING, "loading");
	if (s->state != STORE_LOADING)
		return;
	if (strcmp(s->run_id, s->stored_run_id) != 0)
		rewrite(s);
	else
		begin_load(s);
}

static void stand_by(struct store *s, struct slice holder)
{
	if (store_holder_gone(holder)) {
		buf_clear(&s->gone_holder);
		buf_add(&s->gone_holder, holder.p, holder.n);
		take(s);
		return;
	}
	set_state(s, STORE_STANDBY, "another broker is active");
	loop_timer_set(s->retry, s->conf.active_ttl_ms / 4);
}

static void taken(struct store *s, enum redis_class class, const redisReply *reply)
{
	struct slice what;

	if (!store_good(s, "taking the realm", class, reply))
		return;
	what = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2
		       ? store_text(reply->element[0])
		       : (struct slice){0};
	if (slice_is(what, "active") && reply->elements == 7) {
		become(s, reply);
		return;
	}
	s->epoch = (struct wire_epoch){0};
	if (slice_is(what, "standby")) {
		stand_by(s, store_text(reply->element[1]));
	} else if (slice_is(what, "newer")) {
		what = store_text(reply->element[1]);
		store_fail(s, STORE_DOWN, "the realm was written by a newer dirpipe (format %.*s)",
			   (int)what.n, what.p ? what.p : "");
	} else if (slice_is(what, "foreign")) {
		store_fail(s, STORE_DOWN, "key %s holds something foreign", s->key_epoch);
	} else {
		store_unreadable(s, "taking the realm");
	}
}

static void take(struct store *s)
{
	char ttl[24], reported[24], nonce[20], format[8];

	randombytes_buf(&s->epoch.nonce, sizeof(s->epoch.nonce));
	s->epoch.nonce |= 1;
	s->epoch.number = 0;
	snprintf(ttl, sizeof(ttl), "%" PRId64, s->conf.active_ttl_ms);
	snprintf(reported, sizeof(reported), "%" PRIu64, s->reported);
	snprintf(nonce, sizeof(nonce), "%016" PRIx64, s->epoch.nonce);
	snprintf(format, sizeof(format), "%d", STORE_FORMAT);

	struct slice argv[] = {SLICE("FCALL"),
			       store_function("take"),
			       SLICE("3"),
			       slice_of(s->key_active),
			       slice_of(s->key_epoch),
			       slice_of(s->key_page),
			       slice_of(s->me),
			       slice_of(ttl),
			       slice_of(reported),
			       slice_of(nonce),
			       slice_of(format),
			       s->saw_between ? SLICE("emptied") : SLICE(""),
			       buf_slice(&s->gone_holder)};

	store_step(s, argv, 13, taken);
}

/* The retry timer serves whoever waits: a failed store, a standby, a rewrite. */
static void retry(void *arg)
{
	struct store *s = arg;

	if (s->state == STORE_LOADING)
		poll_rewrite(s);
	else if (s->state == STORE_STANDBY && redis_state(s->redis) == REDIS_UP)
		take(s);
	else
		try_again(s);
}

void store_epoch_seen(struct store *s, uint64_t number)
{
	bool ours = s->state == STORE_READY || s->state == STORE_LOADING;

	if (number > s->reported)
		s->reported = number;
	if (!ours || number == s->epoch.number || number <= s->before)
		return;
	/* Higher: we were replaced, or Redis was restored. Between: Redis had forgotten that epoch when we took ours. */
	s->saw_between = number < s->epoch.number;
	s->backoff_ms = 1;
	store_fail(s, STORE_DOWN, "a peer has seen epoch %" PRIu64 ", which Redis did not know",
		   number);
}

/* ---- life ---- */

struct store *store_new(struct loop *loop, const struct store_conf *conf,
			const struct store_host *host)
{
	struct store *s = mem_alloc(sizeof(*s));

	s->loop = loop;
	s->conf = *conf;
	s->host = *host;
	s->last = &s->first;
	s->backoff_ms = BACKOFF_FIRST_MS;
	buf_adds(&s->why, "not connected to Redis yet");
	store_holder_name(s->me, sizeof(s->me));
	store_names_new(s);
	s->retry = loop_timer_new(loop, retry, s);
	s->renew = loop_timer_new(loop, renew, s);
	s->redis = redis_new(loop, &s->conf.redis, connection, s);
	return s;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	s->turn++;
	store_forget_writes(s);
	redis_free(s->redis);
	store_load_free(s);
	loop_timer_free(s->retry);
	loop_timer_free(s->renew);
	store_names_free(s);
	buf_done(&s->why);
	buf_done(&s->gone_holder);
	free(s);
}

struct release {
	loop_fn fn;
	void *arg;
};

static void released(void *arg, enum redis_class class, const redisReply *reply)
{
	struct release r = *(struct release *)arg;

	(void)class;
	(void)reply;
	free(arg);
	r.fn(r.arg);
}

void store_release(struct store *s, loop_fn fn, void *arg)
{
	struct release *r = mem_alloc(sizeof(*r));
	struct slice argv[] = {SLICE("FCALL"), store_function("release"), SLICE("1"),
			       slice_of(s->key_active), slice_of(s->me)};

	*r = (struct release){fn, arg};
	loop_timer_set(s->renew, -1);
	loop_timer_set(s->retry, -1);
	redis_call(s->redis, argv, 5, released, r);
}

struct wire_epoch store_epoch(const struct store *s)
{
	bool active = s->state == STORE_READY || s->state == STORE_LOADING;

	return active ? s->epoch : (struct wire_epoch){0};
}

uint64_t store_next_page(struct store *s)
{
	return s->page;
}

size_t store_under_way(const struct store *s)
{
	return s->under_way;
}

int64_t store_roundtrip_ms(const struct store *s)
{
	return s->roundtrip_ms;
}

enum store_state store_state(const struct store *s)
{
	return s->state;
}

const char *store_why(const struct store *s)
{
	return s->why.p ? s->why.p : "";
}

uint64_t store_quarantined(const struct store *s)
{
	return s->quarantined;
}

int64_t store_clock_off_ms(const struct store *s)
{
	return s->clock_off_ms;
}
