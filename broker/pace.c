#include "pace.h"

#include <assert.h>

static const double window_first = 8, window_least = 1, bucket_part = 0.03;

uint64_t pace_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

int64_t pace_jitter(uint64_t *state, int64_t most)
{
	if (most <= 0)
		return 0;
	return (int64_t)(pace_random(state) % ((uint64_t)most + 1));
}

static double bucket(const struct pace *p)
{
	double part = bucket_part * (double)p->conf.budget;

	return part < 1 ? 1 : part;
}

/* Requests per ms, such that a full bucket and a whole window of flow stay within the budget. */
static double flow(const struct pace *p)
{
	double rest = (double)p->conf.budget - bucket(p);

	return (rest > 0 ? rest : 0.5) / (double)p->conf.budget_per_ms;
}

static bool limited(const struct pace *p)
{
	return p->conf.budget > 0 && p->conf.budget_per_ms > 0;
}

static double tokens_now(const struct pace *p, int64_t now_ms)
{
	double tokens = p->tokens + flow(p) * (double)(now_ms - p->tokens_at_ms);

	return tokens > bucket(p) ? bucket(p) : tokens;
}

static void pay(struct pace *p, double requests, int64_t now_ms)
{
	if (!limited(p))
		return;
	p->tokens = tokens_now(p, now_ms) - requests;
	p->tokens_at_ms = now_ms;
}

void pace_start(struct pace *p, const struct pace_conf *conf, uint64_t seed, int64_t now_ms)
{
	*p = (struct pace){.conf = *conf,
			   .window = window_first,
			   .slow_start = 1e9,
			   .cost = 1,
			   .tokens_at_ms = now_ms,
			   .random = seed};
}

void pace_configure(struct pace *p, const struct pace_conf *conf)
{
	p->conf = *conf;
}

/* ---- what may go ---- */

static int64_t window_room(const struct pace *p)
{
	double most = p->window;

	if (p->conf.concurrency > 0 && most > (double)p->conf.concurrency)
		most = (double)p->conf.concurrency;
	return (int64_t)most - p->flight;
}

bool pace_tokens(const struct pace *p, int64_t now_ms, double *ret_tokens, double *ret_full)
{
	if (!limited(p))
		return false;
	*ret_tokens = tokens_now(p, now_ms);
	*ret_full = bucket(p);
	return true;
}

bool pace_paused(const struct pace *p)
{
	return p->pause != PACE_RUNNING;
}

bool pace_probing(const struct pace *p, int64_t now_ms)
{
	return (p->pause == PACE_DOWN || p->pause == PACE_AUTH_FAILED) && now_ms >= p->until_ms;
}

static int64_t room_now(const struct pace *p, int64_t now_ms)
{
	int64_t room = window_room(p);
	double users;

	if (room <= 0 || !limited(p))
		return room > 0 ? room : 0;
	users = tokens_now(p, now_ms) / p->cost;
	if (users < 1) /* a user dearer than the whole bucket goes when the bucket is full */
		return tokens_now(p, now_ms) >= bucket(p) ? 1 : 0;
	return users < (double)room ? (int64_t)users : room;
}

int64_t pace_allowed(const struct pace *p, int64_t now_ms)
{
	if (pace_probing(p, now_ms))
		return p->flight == 0 ? 1 : 0;
	return pace_paused(p) ? 0 : room_now(p, now_ms);
}

int64_t pace_allowed_approved(const struct pace *p, int64_t now_ms)
{
	if (p->pause != PACE_BY_OPERATOR)
		return pace_allowed(p, now_ms);
	return now_ms < p->silent_until_ms ? 0 : room_now(p, now_ms);
}

/* When the bucket has enough for the next one. */
static int64_t tokens_next(const struct pace *p, int64_t now_ms)
{
	double want, missing;

	if (window_room(p) <= 0 || !limited(p))
		return INT64_MAX;
	want = p->cost < bucket(p) ? p->cost : bucket(p);
	missing = want - tokens_now(p, now_ms);
	return missing <= 0 ? now_ms : now_ms + (int64_t)(missing / flow(p)) + 1;
}

int64_t pace_next(const struct pace *p, int64_t now_ms)
{
	if (p->pause == PACE_BY_OPERATOR)
		return INT64_MAX;
	if (pace_paused(p))
		return now_ms < p->until_ms ? p->until_ms : INT64_MAX;
	return tokens_next(p, now_ms);
}

int64_t pace_next_approved(const struct pace *p, int64_t now_ms)
{
	if (p->pause != PACE_BY_OPERATOR)
		return pace_next(p, now_ms);
	return now_ms < p->silent_until_ms ? p->silent_until_ms : tokens_next(p, now_ms);
}

/* ---- what happened ---- */

static void pause_end(struct pace *p, int64_t now_ms)
{
	p->paused_total_ms = pace_paused_ms(p, now_ms);
	p->pause = PACE_RUNNING;
	p->until_ms = p->since_ms = 0;
}

bool pace_tick(struct pace *p, int64_t now_ms)
{
	if (p->pause != PACE_THROTTLED || now_ms < p->until_ms)
		return false;
	pause_end(p, now_ms);
	return true;
}

void pace_dispatched(struct pace *p, int64_t now_ms)
{
	p->flight++;
	pay(p, p->cost, now_ms);
}

static void landed(struct pace *p)
{
	assert(p->flight > 0);
	p->flight--;
}

static void window_grow(struct pace *p)
{
	double most = p->conf.concurrency > 0 ? (double)p->conf.concurrency : 1e6;

	/* A window that nobody fills proves nothing. */
	if ((double)p->flight < p->window / 2)
		return;
	p->window += p->window < p->slow_start ? 1 : 1 / p->window;
	if (p->window > most)
		p->window = most > window_least ? most : window_least;
}

static void window_shrink(struct pace *p)
{
	p->window = p->window / 2 > window_least ? p->window / 2 : window_least;
	p->slow_start = p->window;
}

/* What dispatch paid was a guess; what the user really took is settled here. */
static void settle(struct pace *p, uint32_t requests, int64_t now_ms)
{
	pay(p, (double)requests - p->cost, now_ms);
	p->cost += ((double)requests - p->cost) / 32;
	if (p->cost < 0.05)
		p->cost = 0.05;
}

bool pace_answered(struct pace *p, bool well, uint32_t requests, int64_t now_ms)
{
	bool probing = pace_probing(p, now_ms);

	settle(p, requests, now_ms);
	if (well && !probing)
		window_grow(p);
	landed(p);
	if (!well) {
		if (probing) /* neither up nor down: the next probe a little later */
			p->until_ms = now_ms + 1000;
		return false;
	}
	if (p->pause == PACE_RUNNING || p->pause == PACE_DOWN || p->pause == PACE_AUTH_FAILED)
		p->tries = 0;
	if (p->pause != PACE_DOWN && p->pause != PACE_AUTH_FAILED)
		return false;
	pause_end(p, now_ms);
	return true;
}

void pace_lost(struct pace *p)
{
	landed(p);
}

static int64_t doubled(int64_t first, uint32_t times, int64_t cap)
{
	int64_t ms = first;

	while (times-- > 0 && ms < cap)
		ms *= 2;
	return ms < cap ? ms : cap;
}

/* Users that were in flight together fail together: one setback, one try. */
static bool setback(struct pace *p, enum pace_pause kind, int64_t now_ms)
{
	bool again = p->pause == kind && now_ms < p->until_ms;

	landed(p);
	if (!again)
		window_shrink(p);
	if (p->pause == PACE_BY_OPERATOR || again)
		return false;
	if (p->pause == PACE_RUNNING)
		p->since_ms = now_ms;
	if (p->pause != kind && p->pause != PACE_RUNNING)
		p->tries = 0;
	p->pause = kind;
	p->tries++;
	return true;
}

/* Behind the operator's pause only what is approved feels it. */
static void hide(struct pace *p, int64_t after_ms, int64_t now_ms)
{
	if (after_ms > PACE_CAP_MS)
		after_ms = PACE_CAP_MS;
	if (now_ms + after_ms > p->silent_until_ms)
		p->silent_until_ms = now_ms + after_ms;
}

void pace_throttled(struct pace *p, int64_t after_ms, int64_t now_ms)
{
	bool down = p->pause == PACE_DOWN || p->pause == PACE_AUTH_FAILED;
	int64_t until;

	/* A throttled probe proves that the target lives. */
	if (down && now_ms < p->until_ms) {
		landed(p);
		return;
	}
	setback(p, PACE_THROTTLED, now_ms);
	if (p->pause == PACE_BY_OPERATOR)
		hide(p, after_ms > 0 ? after_ms : 1000, now_ms);
	if (p->pause != PACE_THROTTLED)
		return;
	if (after_ms <= 0)
		after_ms = doubled(1000, p->tries - 1, PACE_CAP_MS);
	until = now_ms + (after_ms < PACE_CAP_MS ? after_ms : PACE_CAP_MS);
	if (until > p->until_ms)
		p->until_ms = until;
}

void pace_refused(struct pace *p, int64_t now_ms)
{
	if (!setback(p, PACE_AUTH_FAILED, now_ms)) {
		hide(p, p->pause == PACE_BY_OPERATOR ? 60000 : 0, now_ms);
		return;
	}
	p->until_ms = now_ms + (p->tries < PACE_AUTH_TRIES ? doubled(5000, p->tries - 1, 60000)
							   : PACE_CAP_MS);
}

void pace_down(struct pace *p, int64_t now_ms)
{
	int64_t step;

	if (!setback(p, PACE_DOWN, now_ms)) {
		hide(p, p->pause == PACE_BY_OPERATOR ? 5000 : 0, now_ms);
		return;
	}
	step = doubled(1000, p->tries - 1, PACE_DOWN_CAP_MS);
	p->until_ms = now_ms + step / 2 + pace_jitter(&p->random, step / 2);
}

bool pace_operator(struct pace *p, bool paused, int64_t now_ms)
{
	if (paused == (p->pause == PACE_BY_OPERATOR) && (paused || p->pause == PACE_RUNNING))
		return false;
	if (!paused) {
		pause_end(p, now_ms);
		p->tries = 0;
		return true;
	}
	if (p->pause == PACE_RUNNING)
		p->since_ms = now_ms;
	p->pause = PACE_BY_OPERATOR;
	p->until_ms = 0;
	p->tries = 0;
	return true;
}

void pace_restore(struct pace *p, enum pace_pause pause, uint32_t tries, int64_t since_ms,
		  int64_t until_ms)
{
	p->pause = pause;
	p->tries = tries;
	p->since_ms = since_ms;
	p->until_ms = until_ms;
}

int64_t pace_paused_ms(const struct pace *p, int64_t now_ms)
{
	int64_t running = 0;

	if (p->pause != PACE_RUNNING && now_ms > p->since_ms)
		running = now_ms - p->since_ms;
	return p->paused_total_ms + running;
}
