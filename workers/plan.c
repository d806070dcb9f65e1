#include "clock.h"
#include "plan_own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	PAGE_USERS = 500,
	PAGES_MOST = 2, /* one is worked on while the next one comes */
	LEASE_MS = 15 * 60 * 1000,
	TICK_MS = 100,
	AGAIN_MS = 1000,
	TRIES_MOST = 3
};

static void next_page(struct plan *p);

/* ---- the end ---- */

void plan_fail(struct plan *p, const char *why)
{
	if (p->over)
		return;
	p->over = true;
	p->conf.ended(p->conf.arg, why);
}

static void on_guard(void *arg, const cJSON *result, const char *why)
{
	struct plan *p = arg;

	if (!result) {
		plan_fail(p, why);
		return;
	}
	plan_summary(p, json_true(result, "holds", true));
	plan_fail(p, NULL);
}

static void end(struct plan *p)
{
	cJSON *fields;

	if (p->conf.compare) {
		plan_fail(p, NULL);
		return;
	}
	fields = cJSON_CreateObject();
	cJSON_AddStringToObject(fields, "target", p->conf.target);
	cJSON_AddNumberToObject(fields, "more", (double)p->fresh_needs);
	ask_put(p->conf.ask, "plan_guard", fields, on_guard, p);
}

/* ---- pages ---- */

struct plan_page *plan_page_of(const struct plan *p, struct task_lease lease)
{
	struct plan_page *page = p->pages;

	while (page && page->number != lease.page)
		page = page->next;
	return page;
}

static void page_free(struct plan_page *page)
{
	buf_done(&page->body);
	cJSON_Delete(page->held);
	free(page->items);
	free(page->states);
	free(page);
}

static void page_less(struct plan *p, struct plan_page *page)
{
	if (--page->left > 0)
		return;
	for (struct plan_page **at = &p->pages; *at; at = &(*at)->next) {
		if (*at != page)
			continue;
		*at = page->next;
		break;
	}
	page_free(page);
	next_page(p);
}

static void start(struct plan *p, struct plan_page *page, size_t i)
{
	struct wire_list at = page->items[i].at;
	struct wire_task task;

	if (!wire_next_task(&at, &task))
		return;
	task.lease_epoch = 0;
	task.lease_page = page->number;
	task.lease_index = (uint32_t)i;
	task.stamp_ms = clock_boot_ms();
	task.lease_ms = LEASE_MS;
	task.permits = (struct wire_list){0};
	task.expect = (struct fp){{0}};
	task.verify |= p->conf.compare;
	page->items[i].again_ms = 0;
	if (task_start(p->conf.desk, &task, page->now_unix_ms + clock_boot_ms() - page->came_ms) <
	    0)
		plan_fail(p, "a task cannot be planned twice at once");
}

/* Has the user something to compare? The account is owned in any case. */
static bool to_compare(struct plan *p, const struct plan_page *page, size_t i)
{
	struct wire_list at = page->items[i].at;
	struct wire_task task;
	char *rid;

	if (!wire_next_task(&at, &task) || task.rid.n == 0)
		return false;
	rid = slice_dup(task.rid);
	if (p->conf.owned)
		p->conf.owned(p->conf.arg, rid);
	free(rid);
	return page->states[i] == 'c' &&
	       (task.link_state == LINK_ACTIVE || task.link_state == LINK_DISABLED);
}

static void page_start(struct plan *p, struct plan_page *page)
{
	page->left = page->n + 1;
	p->users += page->n;
	for (size_t i = 0; i < page->n && !p->over; i++) {
		if (!p->conf.compare || to_compare(p, page, i)) {
			start(p, page, i);
			continue;
		}
		p->skipped++;
		page_less(p, page);
	}
	page_less(p, page);
}

static struct plan_page *page_of_body(struct plan *p, const cJSON *result)
{
	struct plan_page *page = mem_alloc(sizeof(*page));
	const char *text = json_text(result, "tasks");
	struct wire_tasks tasks;
	struct wire_task task;

	page->number = ++p->last_page;
	page->held = cJSON_Duplicate(json_array(result, "held"), true);
	if (!text || buf_add_unbase64(&page->body, slice_of(text)) < 0 ||
	    json_int(result, "wire", 0) != WIRE_VERSION ||
	    wire_get_tasks(buf_slice(&page->body), &tasks) < 0) {
		page_free(page);
		return NULL;
	}
	page->now_unix_ms = tasks.now_unix_ms;
	page->came_ms = clock_boot_ms();
	page->items = mem_array(tasks.tasks.count + 1, sizeof(*page->items));
	for (;;) {
		page->items[page->n].at = tasks.tasks;
		if (!wire_next_task(&tasks.tasks, &task))
			break;
		page->items[page->n++].user = task.id;
	}
	page->states = mem_dup(json_text(result, "states"));
	if (!page->states || strlen(page->states) != page->n) {
		page_free(page);
		return NULL;
	}
	return page;
}

static void on_page(void *arg, const cJSON *result, const char *why)
{
	struct plan *p = arg;
	struct plan_page *page = result ? page_of_body(p, result) : NULL;

	p->asking = false;
	if (!page) {
		plan_fail(p, result ? "the broker is of another version" : why);
		return;
	}
	cJSON_Delete(p->next);
	p->next = cJSON_Duplicate(json_array(result, "next"), true);
	p->asked_all = p->conf.users_n > 0 ? p->users_at >= p->conf.users_n : !p->next;
	p->total = (uint64_t)json_int(result, "total", 0);
	p->users += (uint64_t)json_int(result, "unchanged", 0);
	p->unchanged += (uint64_t)json_int(result, "unchanged", 0);
	page->next = p->pages;
	p->pages = page;
	next_page(p); /* it comes while this one is worked on */
	page_start(p, page);
}

static void next_page(struct plan *p)
{
	cJSON *fields, *users;
	size_t n = 0;

	for (const struct plan_page *page = p->pages; page; page = page->next)
		n++;
	if (p->over || p->asking || n >= PAGES_MOST)
		return;
	if (p->asked_all) {
		if (n == 0)
			end(p);
		return;
	}
	p->asking = true;
	fields = cJSON_CreateObject();
	cJSON_AddStringToObject(fields, "target", p->conf.target);
	if (!p->conf.compare)
		plan_add_hex(fields, "config", &p->conf.config);
	if (p->next)
		cJSON_AddItemToObject(fields, "at", cJSON_Duplicate(p->next, true));
	if (p->conf.users_n > 0) {
		users = cJSON_AddArrayToObject(fields, "users");
		for (size_t i = 0; i < PAGE_USERS && p->users_at < p->conf.users_n; i++)
			cJSON_AddItemToArray(users,
					     cJSON_CreateString(p->conf.users[p->users_at++]));
	}
	ask_put(p->conf.ask, "plan_page", fields, on_page, p);
}

/* ---- what the desk says ---- */

static void on_show(void *arg, const struct task_shown *shown)
{
	struct plan *p = arg;
	struct plan_page *page = plan_page_of(p, shown->lease);

	if (p->over || !page)
		return;
	plan_row(p, page, shown);
	page_less(p, page);
}

static void wait_again(struct plan *p, struct plan_item *item, int64_t after_ms)
{
	item->again_ms = clock_boot_ms() + (after_ms > AGAIN_MS ? after_ms : AGAIN_MS);
	if (p->ticking)
		return;
	p->ticking = true;
	loop_timer_set(p->again, TICK_MS);
}

static void on_report(void *arg, const struct wire_result *r)
{
	struct plan *p = arg;
	struct plan_page *page =
		plan_page_of(p, (struct task_lease){r->lease_epoch, r->lease_page, r->lease_index});
	struct plan_item *item;

	if (p->over || !page)
		return;
	item = &page->items[r->lease_index];
	switch ((enum wire_verdict)r->verdict) {
	case VERDICT_THROTTLED:
		wait_again(p, item, r->after_ms);
		return;
	case VERDICT_RETRY:
	case VERDICT_DOWN:
		if (++item->tries < TRIES_MOST) {
			wait_again(p, item, r->after_ms);
			return;
		}
		if (r->verdict == VERDICT_DOWN) {
			plan_fail(p, "the target does not answer");
			return;
		}
		plan_problem(p, item, r);
		break;
	case VERDICT_AUTH_FAILED:
		plan_fail(p, "the target refuses our credentials");
		return;
	case VERDICT_PARKED:
	case VERDICT_REJECTED:
		plan_problem(p, item, r);
		break;
	case VERDICT_DONE:
	case VERDICTS:
		p->unchanged++;
		break;
	}
	page_less(p, page);
}

static void on_again(void *arg)
{
	struct plan *p = arg;
	int64_t now = clock_boot_ms();
	bool more = false;

	p->ticking = false;
	for (struct plan_page *page = p->pages, *next; page && !p->over; page = next) {
		next = page->next;
		page->left++; /* it stays until all of it was looked at */
		for (size_t i = 0; i < page->n && !p->over; i++) {
			if (page->items[i].again_ms && now >= page->items[i].again_ms)
				start(p, page, i);
			more |= page->items[i].again_ms != 0;
		}
		page_less(p, page);
	}
	if (!more || p->over || p->ticking)
		return;
	p->ticking = true;
	loop_timer_set(p->again, TICK_MS);
}

static bool on_known(void *arg, const char *rid, struct target_account *ret)
{
	struct plan *p = arg;

	return p->conf.known && p->conf.known(p->conf.arg, rid, ret);
}

void plan_counts(const struct plan *p, struct plan_counts *ret)
{
	*ret = (struct plan_counts){.compared = p->users - p->skipped,
				    .skipped = p->skipped,
				    .differ = p->rows,
				    .problems = p->problems};
}

/* ---- life ---- */

struct plan *plan_new(const struct plan_conf *conf)
{
	struct plan *p = mem_alloc(sizeof(*p));

	p->conf = *conf;
	p->started_ms = clock_boot_ms();
	p->ops = cJSON_CreateObject();
	p->answer = loop_after_new(conf->loop, plan_answer_notes, p);
	p->again = loop_timer_new(conf->loop, on_again, p);
	conf->desk->arg = p;
	conf->desk->note = plan_note;
	conf->desk->report = on_report;
	conf->desk->show = on_show;
	conf->desk->known = on_known;
	next_page(p);
	return p;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	p->over = true;
	while (p->pages) {
		struct plan_page *page = p->pages;

		p->pages = page->next;
		page_free(page);
	}
	plan_claims_free(p);
	loop_after_free(p->answer);
	loop_timer_free(p->again);
	cJSON_Delete(p->next);
	cJSON_Delete(p->ops);
	free(p);
}
