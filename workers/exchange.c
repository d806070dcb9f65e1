#include "exchange.h"

#include "clock.h"
#include "crash.h"
#include "parcel.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum {
	LINGER_MS = 4,	/* a part-filled batch waits so long when more is to come */
	SHORTEST_MS = 5 /* no request is begun with less time than this */
};

struct exchange {
	struct exchange_conf conf;
	struct loop_after *flush;
	struct loop_timer *linger;
	struct exchange_job *first, **end; /* queued */
	struct parcel *raws;		   /* wait for a token */
	struct parcel_pool parcels;
	int64_t silent_until_ms; /* Retry-After of somebody's answer */
	int64_t rest_until_ms;	 /* the driver's word on the service's budget */
	const char *rest_reason;
	struct buf origin; /* where requests may go */
	unsigned streak;
	int expected;
	bool fresh, asking;
};

static void on_flush(void *arg);

struct exchange *exchange_new(const struct exchange_conf *conf)
{
	struct exchange *x = mem_alloc(sizeof(*x));

	x->conf = *conf;
	x->end = &x->first;
	buf_adds(&x->origin, conf->origin);
	x->flush = loop_after_new(conf->loop, on_flush, x);
	x->linger = loop_timer_new(conf->loop, on_flush, x);
	return x;
}

void exchange_free(struct exchange *x)
{
	if (!x)
		return;
	oauth_forget(x->conf.oauth, x);
	for (struct parcel *p = x->parcels.flying; p; p = p->next)
		http_cancel(x->conf.http, p);
	parcel_free_list(x->parcels.flying);
	parcel_free_list(x->parcels.spare);
	parcel_free_list(x->raws);
	loop_after_free(x->flush);
	loop_timer_free(x->linger);
	buf_done(&x->origin);
	free(x);
}

/* ---- telling the job ---- */

static void tell(struct exchange_job *job, struct exchange_outcome *o)
{
	struct target_answer none = {0};

	if (!o->answer)
		o->answer = &none;
	if (!o->request_id)
		o->request_id = "";
	job->fn(job->arg, job, o);
	target_answer_done(o->answer);
}

static void tell_unsent(struct exchange_job *job, enum verdict_class class, const char *reason,
			int64_t after_ms, const char *why)
{
	struct exchange_outcome o = {
		.verdict = {.class = class, .reason = reason, .after_ms = after_ms}, .error = why};

	tell(job, &o);
}

static void queue_last(struct exchange *x, struct exchange_job *job)
{
	job->next = NULL;
	job->queued_ms = clock_boot_ms();
	job->lane = x->conf.driver->lane(x->conf.target, job->op, &job->most);
	if (job->alone)
		job->most = 1;
	if (job->most > TARGET_BATCH_MAX)
		job->most = TARGET_BATCH_MAX;
	*x->end = job;
	x->end = &job->next;
	loop_after_ask(x->flush);
}

void exchange_expect(struct exchange *x, int more)
{
	x->expected += more;
}

void exchange_submit(struct exchange *x, struct exchange_job *job)
{
	assert(!x->conf.reads_only || job->op->kind == TARGET_FIND || job->op->kind == TARGET_READ);
	job->requests = 0;
	job->replayed = job->downgraded = job->repeated = job->split = false;
	queue_last(x, job);
}

/* ---- what an answer means ---- */

static bool downgrade(struct exchange *x, struct exchange_job *job, const struct target_answer *a)
{
	if (job->downgraded)
		return false;
	job->downgraded = true;
	return x->conf.driver->downgrade && x->conf.driver->downgrade(x->conf.target, job->op, a);
}

/* True: the job was queued again and nobody is to be told yet. */
static bool goes_again(struct exchange *x, const struct parcel *p, struct exchange_job *job,
		       struct exchange_outcome *o)
{
	struct verdict *v = &o->verdict;

	if (v->class == VERDICT_CLASS_OK && o->answer->more) {
		if (++job->parts < TARGET_PARTS)
			return true;
		v->class = VERDICT_CLASS_RETRY;
		v->reason = "too_many_parts";
	}
	if (v->class == VERDICT_CLASS_AUTH && !job->replayed &&
	    oauth_refused(x->conf.oauth, p->bearer.p)) {
		job->replayed = true;
		return true;
	}
	if (v->class == VERDICT_CLASS_SPLIT) {
		v->class = VERDICT_CLASS_REJECT;
		job->alone = true;
		return p->n > 1;
	}
	if (v->class == VERDICT_CLASS_DOWNGRADE) {
		v->class = VERDICT_CLASS_REJECT;
		return downgrade(x, job, o->answer);
	}
	if (o->status == 0 && p->n > 1 && job->op->kind != TARGET_CREATE && !job->repeated) {
		job->repeated = true; /* the batch ended before it came to this one */
		return true;
	}
	return false;
}

static void settle(struct exchange *x, struct parcel *p, size_t i, struct exchange_outcome *o,
		   bool down)
{
	struct exchange_job *job = p->jobs[i];
	struct verdict *v = &o->verdict;

	if (v->class == VERDICT_CLASS_GONE && job->op->kind == TARGET_FIND)
		v->class = VERDICT_CLASS_OK; /* zero hits, as some services say it */
	if (v->class == VERDICT_CLASS_THROTTLED) {
		int64_t until = clock_boot_ms() + v->after_ms;

		/* Only for those who are under way with it: whom the broker sends later, it sends on purpose (a
		 * pause may have been ended by an operator). */
		if (until > job->deadline_ms)
			until = job->deadline_ms;
		if (until > x->silent_until_ms)
			x->silent_until_ms = until;
	}
	if (down && v->class == VERDICT_CLASS_RETRY)
		v->class = VERDICT_CLASS_DOWN;
	x->fresh |= v->fresh_connection;
	if (goes_again(x, p, job, o)) {
		target_answer_done(o->answer);
		queue_last(x, job);
		return;
	}
	o->request_id = p->request_id;
	tell(job, o);
}

static void take_rest(struct exchange *x)
{
	const char *reason = NULL;
	int64_t ms = x->conf.driver->rest ? x->conf.driver->rest(x->conf.target, &reason) : 0;

	x->rest_until_ms = ms > 0 ? clock_boot_ms() + ms : 0;
	x->rest_reason = reason;
}

static void take_answer(struct exchange *x, struct parcel *p, const struct http_response *r,
			bool down)
{
	struct target_answer *answers = mem_array(p->n, sizeof(*answers));
	struct slice retry_after = http_header(r, "Retry-After");
	int64_t now = clock_unix_ms();

	x->conf.driver->answers(x->conf.target, p->ops, p->n, r, answers);
	take_rest(x);
	for (size_t i = 0; i < p->n; i++) {
		struct target_answer *a = &answers[i];
		struct verdict_facts f = {
			.kind = p->ops[i]->kind,
			.failure = HTTP_ANSWERED,
			.sent = true,
			.status = a->status,
			.code = buf_slice(&a->code),
			.retry_after = a->retry_after.n ? buf_slice(&a->retry_after) : retry_after,
			.not_json = a->not_json};
		struct exchange_outcome o = {.verdict =
						     verdict_judge(&f, x->conf.driver->rows, now),
					     .answer = a,
					     .status = a->status};

		/* The batch as a whole was refused: that says nothing of any one in it. */
		if (p->n > 1 && r->status >= 400 && o.verdict.class == VERDICT_CLASS_REJECT)
			o.verdict.class = VERDICT_CLASS_SPLIT;
		settle(x, p, i, &o, down);
	}
	free(answers);
}

static void take_failure(struct parcel *p, const struct http_response *r, bool down)
{
	for (size_t i = 0; i < p->n; i++) {
		struct verdict_facts f = {
			.kind = p->ops[i]->kind, .failure = r->failure, .sent = r->sent};
		struct target_answer none = {0};
		struct exchange_outcome o = {
			.verdict = verdict_judge(&f, NULL, 0), .answer = &none, .error = r->error};

		if (down && o.verdict.class == VERDICT_CLASS_RETRY)
			o.verdict.class = VERDICT_CLASS_DOWN;
		o.request_id = p->request_id;
		tell(p->jobs[i], &o);
	}
}

static void on_response(void *arg, const struct http_response *r)
{
	struct parcel *p = arg;
	struct exchange *x = p->x;
	struct verdict_facts whole = {.failure = r->failure, .status = (int)r->status};
	bool down = verdict_is_down(&x->streak, &whole);

	CRASH_POINT("worker.after_response");
	if (p->raw) {
		if (r->failure == HTTP_ANSWERED && r->status == 401 && !p->raw_replayed &&
		    oauth_refused(x->conf.oauth, p->bearer.p)) {
			parcel_stop(p);
			p->raw_replayed = true;
			p->next = x->raws;
			x->raws = p;
			loop_after_ask(x->flush);
			return;
		}
		p->raw(p->raw_arg, 0, NULL, r);
	} else if (r->failure == HTTP_ANSWERED) {
		take_answer(x, p, r, down);
	} else {
		take_failure(p, r, down);
	}
	parcel_land(&x->parcels, p);
	if (x->first)
		loop_after_ask(x->flush);
}

/* ---- sending ---- */

/* Never into the parcel's own request: that one may be sent again with another credential. */
static void form_with_credential(const struct parcel *p, const char *field, struct buf *out)
{
	buf_add(out, p->request.body.p, p->request.body.n);
	if (out->n)
		buf_addc(out, '&');
	buf_addf(out, "%s=", field);
	http_escape(out, buf_slice(&p->bearer));
}

static void parcel_send(struct parcel *p, const char *bearer, int64_t timeout_ms)
{
	struct exchange *x = p->x;
	const char *field = x->conf.driver->credential_field;
	CLEANUP(buf_cleanup) struct buf form = {0};
	CLEANUP(buf_cleanup) struct buf text = {0};
	const char *lines[PARCEL_HEADERS];
	uuid_t uuid;

	uuid_generate(uuid);
	uuid_unparse_lower(uuid, p->request_id);
	buf_clear(&p->bearer);
	buf_adds(&p->bearer, bearer);
	parcel_headers(p, x->conf.driver->request_id_header, &text, lines);
	if (field)
		form_with_credential(p, field, &form);
	struct http_request r = {.method = p->request.method,
				 .url = p->request.url.p,
				 .bearer = field ? NULL : p->bearer.p,
				 .headers = lines,
				 .body = buf_slice(field ? &form : &p->request.body),
				 .timeout_ms = timeout_ms,
				 .fresh = x->fresh};

	x->fresh = false;
	parcel_fly(&x->parcels, p);
	CRASH_POINT("worker.before_request");
	http_send(x->conf.http, &r, on_response, p);
	secret_wipe(form.p, form.n);
}

static void parcel_refuse(struct parcel *p, const char *reason)
{
	for (size_t i = 0; i < p->n; i++)
		tell_unsent(p->jobs[i], VERDICT_CLASS_REJECT, reason, 0, NULL);
	p->n = 0;
}

/* Builds the request of p's jobs; what does not fit together goes back into the queue. */
static bool parcel_build(struct parcel *p)
{
	struct exchange *x = p->x;
	int rc;

	for (;;) {
		parcel_clear_request(&p->request);
		rc = x->conf.driver->request(x->conf.target, p->ops, p->n, &p->request);
		if (rc == 0 || p->n == 1)
			break;
		size_t keep = rc == -E2BIG ? p->n / 2 : 1;

		while (p->n > keep)
			queue_last(x, p->jobs[--p->n]);
	}
	if (rc == 0 && parcel_on_origin(p, buf_slice(&x->origin)))
		return true;
	parcel_refuse(p, rc == 0 ? "foreign_host" : "cannot_be_expressed");
	return false;
}

static void parcel_ship(struct parcel *p, const char *bearer)
{
	struct exchange *x = p->x;
	int64_t now = clock_boot_ms(), timeout = x->conf.timeout_ms;

	for (size_t i = 0; i < p->n; i++)
		p->ops[i] = p->jobs[i]->op;
	if (!parcel_build(p)) {
		parcel_land(&x->parcels, p);
		return;
	}
	for (size_t i = 0; i < p->n; i++) {
		if (p->jobs[i]->deadline_ms - now < timeout)
			timeout = p->jobs[i]->deadline_ms - now;
		p->jobs[i]->requests++;
	}
	parcel_send(p, bearer, timeout);
}

/* ---- gathering ---- */

static bool lane_busy(const struct exchange *x, unsigned lane)
{
	for (const struct parcel *p = x->parcels.flying; p; p = p->next) {
		if (!p->raw && p->shared && p->lane == lane)
			return true;
	}
	return false;
}

/* Jobs that cannot go out any more leave the queue. True: job is dealt with. */
static bool is_over(struct exchange *x, struct exchange_job *job, int64_t now)
{
	if (job->deadline_ms - now < SHORTEST_MS) {
		tell_unsent(job, VERDICT_CLASS_RETRY, "lease_ended", 0, NULL);
		return true;
	}
	if (x->rest_until_ms > now) {
		tell_unsent(job, VERDICT_CLASS_THROTTLED, x->rest_reason, x->rest_until_ms - now,
			    NULL);
		return true;
	}
	if (x->silent_until_ms > now) {
		tell_unsent(job, VERDICT_CLASS_THROTTLED, "throttled", x->silent_until_ms - now,
			    NULL);
		return true;
	}
	return false;
}

static struct exchange_job *queue_take_all(struct exchange *x)
{
	struct exchange_job *list = x->first;

	x->first = NULL;
	x->end = &x->first;
	return list;
}

static void put_back(struct exchange *x, struct exchange_job *job)
{
	job->next = NULL;
	*x->end = job;
	x->end = &job->next;
}

/* A task whose lease ended and the next one for the same user may be here together (after the broker was away). */
static bool holds_user(const struct parcel *p, const char *user)
{
	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->jobs[i]->op->user, user) == 0)
			return true;
	}
	return false;
}

static bool may_share(const struct parcel *p, const struct exchange_job *head,
		      const struct exchange_job *job)
{
	return job->lane == head->lane && job->most > 1 && !job->alone &&
	       !holds_user(p, job->op->user);
}

/* Fills a parcel with jobs of the first one's lane; the others stay in *list in order. */
static struct parcel *gather(struct exchange *x, struct exchange_job **list)
{
	struct exchange_job *head = *list, **at = list;
	struct parcel *p = parcel_take(&x->parcels, x);

	p->lane = head->lane;
	p->shared = head->most > 1;
	while (*at && p->n < head->most) {
		struct exchange_job *job = *at;

		if (job != head && !may_share(p, head, job)) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		p->jobs[p->n++] = job;
	}
	return p;
}

static bool waits_its_turn(const struct exchange *x, unsigned lane)
{
	for (const struct parcel *p = x->parcels.flying; p; p = p->next) {
		if (!p->raw && lane & TARGET_LANE_SERIAL && (p->lane | 1) == (lane | 1))
			return true;
	}
	return false;
}

static void ship_all(struct exchange *x, const char *bearer)
{
	struct exchange_job *list = queue_take_all(x), **at = &list;
	int64_t now = clock_boot_ms(), wait = -1;

	while (*at) {
		struct exchange_job *job = *at, *next = job->next;

		if (is_over(x, job, now))
			*at = next;
		else
			at = &job->next;
	}
	while (list) {
		struct parcel *p = gather(x, &list);
		int64_t age = now - p->jobs[0]->queued_ms;
		bool turn = !waits_its_turn(x, p->lane);

		if (turn && !(p->shared && p->n < p->jobs[0]->most && age < LINGER_MS &&
			      (x->expected > 0 || lane_busy(x, p->lane)))) {
			parcel_ship(p, bearer);
			continue;
		}
		for (size_t i = 0; i < p->n; i++)
			put_back(x, p->jobs[i]);
		parcel_land(&x->parcels, p);
		if (turn && (wait < 0 || LINGER_MS - age < wait))
			wait = LINGER_MS - age;
	}
	if (wait >= 0)
		loop_timer_set(x->linger, wait);
}

/* The token said where the API is: from now on requests go there and nowhere else. */
static void follow(struct exchange *x, const char *base)
{
	CLEANUP(buf_cleanup) struct buf origin = {0};

	if (!base || oauth_origin(base, &origin) < 0 ||
	    slice_equal(buf_slice(&origin), buf_slice(&x->origin)))
		return;
	buf_clear(&x->origin);
	buf_add(&x->origin, origin.p, origin.n);
	if (x->conf.driver->moved)
		x->conf.driver->moved(x->conf.target, x->origin.p);
}

static void ship_raws(struct exchange *x, const struct oauth_result *r)
{
	struct parcel *list = x->raws;

	x->raws = NULL;
	while (list) {
		struct parcel *p = list;

		list = p->next;
		parcel_redirect(p, x->conf.origin, x->origin.p);
		if (r->rc == 0 && parcel_on_origin(p, buf_slice(&x->origin))) {
			parcel_send(p, r->bearer, x->conf.timeout_ms);
			continue;
		}
		p->raw(p->raw_arg, r->rc ? r->rc : -EXDEV, r->rc ? r->why : "URL on another host",
		       NULL);
		p->next = NULL;
		parcel_land(&x->parcels, p);
	}
}

static void on_bearer(void *arg, const struct oauth_result *r)
{
	struct exchange *x = arg;

	x->asking = false;
	if (r->rc == 0)
		follow(x, r->base);
	ship_raws(x, r);
	if (r->rc == 0) {
		ship_all(x, r->bearer);
		return;
	}
	struct exchange_job *list = queue_take_all(x);

	while (list) {
		struct exchange_job *job = list;

		list = job->next;
		if (r->rc == -EACCES)
			tell_unsent(job, VERDICT_CLASS_AUTH, "no_token", r->after_ms, r->why);
		else
			tell_unsent(job, VERDICT_CLASS_DOWN, "token_server", r->after_ms, r->why);
	}
}

static void on_flush(void *arg)
{
	struct exchange *x = arg;

	if (x->asking || (!x->first && !x->raws))
		return;
	x->asking = true;
	oauth_ask(x->conf.oauth, on_bearer, x);
}

void exchange_raw(struct exchange *x, const struct target_request *request, exchange_raw_fn fn,
		  void *arg)
{
	struct parcel *p = parcel_take(&x->parcels, x);

	parcel_clear_request(&p->request);
	p->request.method = request->method;
	p->request.content_type = request->content_type;
	p->request.accept = request->accept;
	p->request.header_n = request->header_n;
	buf_add(&p->request.url, request->url.p, request->url.n);
	buf_add(&p->request.body, request->body.p, request->body.n);
	buf_add(&p->request.header_text, request->header_text.p, request->header_text.n);
	p->raw = fn;
	p->raw_arg = arg;
	p->next = x->raws;
	x->raws = p;
	loop_after_ask(x->flush);
}

static void ignore(void *arg, int rc, const char *why, const struct http_response *response)
{
	(void)arg;
	(void)rc;
	(void)why;
	(void)response;
}

void exchange_raw_cancel(struct exchange *x, void *arg)
{
	for (struct parcel *p = x->raws; p; p = p->next) {
		if (p->raw_arg == arg)
			p->raw = ignore;
	}
	for (struct parcel *p = x->parcels.flying; p; p = p->next) {
		if (p->raw && p->raw_arg == arg)
			p->raw = ignore;
	}
}
