#include "probe.h"

#include "redact.h"
#include "verdict.h"

#include <stdlib.h>
#include <string.h>

enum { PAGES_MOST = 1000000 };

struct probe {
	struct exchange *x;
	const struct target_driver *driver;
	struct target *target;
	void *arg;
	struct target_request request;
	/* check */
	probe_say_fn say;
	probe_checked_fn checked;
	size_t step;
	bool starting, over; /* it must not vanish under who begins it */
	const char *title;
	unsigned failed;
	/* list */
	probe_account_fn take;
	probe_listed_fn listed;
	char *next;
	unsigned pages;
	struct loop_timer *slowly; /* NULL: as fast as it goes */
	int64_t interval_ms;
};

static void probe_free(struct probe *p)
{
	buf_done(&p->request.url);
	buf_done(&p->request.body);
	buf_done(&p->request.header_text);
	loop_timer_free(p->slowly);
	free(p->next);
	free(p);
}

void probe_cancel(struct probe *p)
{
	exchange_raw_cancel(p->x, p);
	probe_free(p);
}

static void request_clear(struct target_request *r)
{
	buf_clear(&r->url);
	buf_clear(&r->body);
	buf_clear(&r->header_text);
	r->method = HTTP_GET;
	r->content_type = r->accept = NULL;
	r->header_n = 0;
}

/* NULL: the driver may look at it. Else what stands in the way of any answer. */
static const char *no_answer(int rc, const char *why, const struct http_response *r,
			     struct buf *text)
{
	if (rc < 0)
		buf_addf(text, "no token (%s)", why ? why : ""); /* "token:" would be redacted */
	else if (r->failure != HTTP_ANSWERED)
		buf_addf(text, "%s", r->error);
	else if (r->status == 401)
		buf_adds(text, "the service refuses the token (401)");
	else if (r->status == 429)
		buf_adds(text, "the service asks for patience (429)");
	else if (r->status >= 500 && r->status != 501)
		buf_addf(text, "the service is out of order (%ld)", r->status);
	else
		return NULL;
	return text->p;
}

static void probe_over(struct probe *p, bool starting)
{
	if (starting)
		p->over = true;
	else
		probe_free(p);
}

static struct probe *begun(struct probe *p, void (*first)(struct probe *p))
{
	p->starting = true;
	first(p);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): while starting, its end only sets over */
	p->starting = false;
	if (!p->over)
		return p;
	probe_free(p);
	return NULL;
}

/* ---- check ---- */

static void check_next(struct probe *p);

static void check_end(struct probe *p)
{
	bool starting = p->starting;

	p->checked(p->arg, p->failed);
	probe_over(p, starting);
}

static void on_checked(void *arg, int rc, const char *why, const struct http_response *r)
{
	struct probe *p = arg;
	CLEANUP(buf_cleanup) struct buf text = {0}, clean = {0};
	bool broken = no_answer(rc, why, r, &text) != NULL;
	bool ok = !broken && p->driver->checked(p->target, p->step, r, &text);

	redact_text(buf_slice(&text), NULL, 500, &clean);
	if (p->say)
		p->say(p->arg, ok, p->title, clean.p ? clean.p : "");
	p->failed += !ok;
	p->step++;
	if (broken)
		check_end(p);
	else
		check_next(p);
}

static void check_next(struct probe *p)
{
	request_clear(&p->request);
	p->title = "check";
	if (p->driver->check(p->target, p->step, &p->request, &p->title))
		exchange_raw(p->x, &p->request, on_checked, p);
	else
		check_end(p);
}

struct probe *probe_check(struct exchange *x, const struct target_driver *driver,
			  struct target *target, probe_say_fn say, probe_checked_fn done, void *arg)
{
	struct probe *p = mem_alloc(sizeof(*p));

	*p = (struct probe){.x = x,
			    .driver = driver,
			    .target = target,
			    .arg = arg,
			    .say = say,
			    .checked = done};
	return begun(p, check_next);
}

/* ---- list ---- */

static void list_next(struct probe *p);

static void list_end(struct probe *p, const char *why)
{
	bool starting = p->starting;

	p->listed(p->arg, why);
	probe_over(p, starting);
}

static void on_listed(void *arg, int rc, const char *why, const struct http_response *r)
{
	struct probe *p = arg;
	CLEANUP(buf_cleanup) struct buf text = {0};
	char *next = NULL;

	if (no_answer(rc, why, r, &text)) {
		list_end(p, text.p);
		return;
	}
	if (r->status < 200 || r->status > 299 ||
	    p->driver->listed(p->target, r, p->take, p->arg, &next) < 0) {
		free(next);
		buf_addf(&text, "the answer is no page of accounts (%ld)", r->status);
		list_end(p, text.p);
		return;
	}
	if (!next) {
		list_end(p, NULL);
	} else if ((p->next && strcmp(next, p->next) == 0) || ++p->pages == PAGES_MOST) {
		free(next);
		list_end(p, "the pages go round in a circle");
	} else {
		free(p->next);
		p->next = next;
		if (p->slowly)
			loop_timer_set(p->slowly, p->interval_ms);
		else
			list_next(p);
	}
}

static void list_next(struct probe *p)
{
	request_clear(&p->request);
	if (p->driver->list(p->target, p->next, &p->request) < 0)
		list_end(p, "the driver cannot ask for this page");
	else
		exchange_raw(p->x, &p->request, on_listed, p);
}

struct probe *probe_list(struct exchange *x, const struct target_driver *driver,
			 struct target *target, probe_account_fn take, probe_listed_fn done,
			 void *arg)
{
	struct probe *p = mem_alloc(sizeof(*p));

	*p = (struct probe){.x = x,
			    .driver = driver,
			    .target = target,
			    .arg = arg,
			    .take = take,
			    .listed = done};
	return begun(p, list_next);
}

static void on_interval(void *arg)
{
	list_next(arg);
}

struct probe *probe_list_slowly(struct exchange *x, const struct target_driver *driver,
				struct target *target, const struct probe_slow *slow, void *arg)
{
	struct probe *p = mem_alloc(sizeof(*p));

	*p = (struct probe){.x = x,
			    .driver = driver,
			    .target = target,
			    .arg = arg,
			    .take = slow->take,
			    .listed = slow->done,
			    .interval_ms = slow->interval_ms};
	p->slowly = loop_timer_new(slow->loop, on_interval, p);
	return begun(p, list_next);
}
