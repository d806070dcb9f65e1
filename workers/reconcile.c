#include "reconcile.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)XXH3_64bits((key), (n)))
#include <uthash.h>

struct listed {
	UT_hash_handle hh;
	struct target_account account; /* json NULL: given to its task */
	bool owned;
	char rid[];
};

struct reconcile {
	struct reconcile_conf conf;
	struct listed *accounts; /* by rid */
	struct probe *probe;
	struct plan *plan;
	struct loop_after *next; /* the second look begins */
	char **suspects;
	size_t suspects_n, suspects_cap;
	bool second, over;
	uint64_t compared, skipped, divergent;
};

// NOLINTNEXTLINE(readability-function-size): uthash
static struct listed *find(const struct reconcile *r, const char *rid)
{
	struct listed *a;

	HASH_FIND(hh, r->accounts, rid, strlen(rid), a);
	return a;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void keep(struct reconcile *r, struct listed *a)
{
	HASH_ADD(hh, r->accounts, rid[0], strlen(a->rid), a);
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void forget_all(struct reconcile *r)
{
	struct listed *a = r->accounts, *next;

	HASH_CLEAR(hh, r->accounts);
	for (; a; a = next) {
		next = a->hh.next;
		target_account_done(&a->account);
		free(a);
	}
}

static void end(struct reconcile *r, const char *why)
{
	if (r->over)
		return;
	r->over = true;
	r->conf.plan.ended(r->conf.plan.arg, why);
}

/* ---- the accounts ---- */

static void on_account(void *arg, const struct target_account *from)
{
	struct reconcile *r = arg;
	struct listed *a;
	size_t n = from->rid ? strlen(from->rid) : 0;

	if (n == 0 || from->deleted || find(r, from->rid))
		return;
	a = mem_alloc(sizeof(*a) + n + 1);
	memcpy(a->rid, from->rid, n + 1);
	a->account = *from;
	a->account.rid = mem_dup(from->rid);
	a->account.revision = mem_dup(from->revision);
	a->account.json = cJSON_Duplicate(from->json, true);
	keep(r, a);
}

static bool on_known(void *arg, const char *rid, struct target_account *ret)
{
	struct reconcile *r = arg;
	struct listed *a = r->second ? NULL : find(r, rid);

	if (!a || !a->account.json)
		return false; /* it is read by its id */
	*ret = a->account;
	a->account = (struct target_account){0};
	return true;
}

static void on_owned(void *arg, const char *rid)
{
	struct reconcile *r = arg;
	struct listed *a = find(r, rid);

	if (a)
		a->owned = true;
}

/* ---- who differs ---- */

static void suspect(struct reconcile *r, const char *user)
{
	if (r->suspects_n == r->suspects_cap) {
		r->suspects_cap = r->suspects_cap ? r->suspects_cap * 2 : 64;
		r->suspects = mem_resize((void *)r->suspects, r->suspects_cap * sizeof(char *));
	}
	r->suspects[r->suspects_n++] = mem_dup(user);
}

/* All that differs waits for a person's word: that is no drift. */
static bool is_held(const cJSON *line)
{
	const cJSON *op, *need;

	cJSON_ArrayForEach (op, json_array(line, "ops")) {
		if (!json_true(op, "destructive", false) || cJSON_HasObjectItem(op, "set"))
			return false;
	}
	cJSON_ArrayForEach (need, json_array(line, "needs")) {
		if (!json_text(need, "phase"))
			return false;
	}
	return true;
}

static void on_line(void *arg, const cJSON *line)
{
	struct reconcile *r = arg;
	const char *user = json_text(line, "user");

	if (json_text(line, "problem") || !user)
		return;
	if (!r->second) {
		suspect(r, user);
		return;
	}
	if (is_held(line))
		return;
	r->divergent++;
	r->conf.plan.say(r->conf.plan.arg, line);
}

/* ---- accounts that are nobody's ---- */

static const char *name_of(const cJSON *account)
{
	static const char *const names[] = {"userPrincipalName", "userName", "Username", "Email",
					    "displayName"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const cJSON *value = mapping_get(account, names[i]);

		if (cJSON_IsString(value))
			return value->valuestring;
	}
	return "";
}

static uint64_t tell_unowned(struct reconcile *r)
{
	uint64_t n = 0;

	for (struct listed *a = r->accounts; a; a = a->hh.next) {
		cJSON *line;

		if (a->owned)
			continue;
		n++;
		line = cJSON_CreateObject();
		cJSON_AddStringToObject(line, "target", r->conf.plan.target);
		cJSON_AddStringToObject(line, "account", a->rid);
		cJSON_AddStringToObject(line, "name", name_of(a->account.json));
		r->conf.plan.say(r->conf.plan.arg, line);
		cJSON_Delete(line);
	}
	return n;
}

static void tell_all(struct reconcile *r, const struct plan_counts *counts)
{
	cJSON *line = cJSON_CreateObject(), *s = cJSON_AddObjectToObject(line, "summary");

	cJSON_AddStringToObject(s, "target", r->conf.plan.target);
	cJSON_AddNumberToObject(s, "accounts", (double)HASH_COUNT(r->accounts));
	cJSON_AddNumberToObject(s, "compared", (double)r->compared);
	cJSON_AddNumberToObject(s, "skipped", (double)r->skipped);
	cJSON_AddNumberToObject(s, "divergent", (double)r->divergent);
	cJSON_AddNumberToObject(s, "problems", (double)counts->problems);
	cJSON_AddNumberToObject(s, "unowned", (double)tell_unowned(r));
	r->conf.plan.say(r->conf.plan.arg, line);
	cJSON_Delete(line);
}

/* ---- the two looks ---- */

static void on_compared(void *arg, const char *why);

static void look(struct reconcile *r)
{
	struct plan_conf conf = r->conf.plan;

	conf.compare = true;
	conf.known = on_known;
	conf.owned = on_owned;
	conf.users = (const char *const *)r->suspects;
	conf.users_n = r->suspects_n;
	conf.say = on_line;
	conf.ended = on_compared;
	conf.arg = r;
	r->plan = plan_new(&conf);
}

/* Never from inside the first look. */
static void on_next(void *arg)
{
	struct reconcile *r = arg;

	plan_free(r->plan);
	r->plan = NULL;
	r->second = true;
	look(r);
}

static void on_compared(void *arg, const char *why)
{
	struct reconcile *r = arg;
	struct plan_counts counts;

	if (why) {
		end(r, why);
		return;
	}
	plan_counts(r->plan, &counts);
	if (!r->second) {
		r->compared = counts.compared;
		r->skipped = counts.skipped;
		if (r->suspects_n > 0) {
			loop_after_ask(r->next);
			return;
		}
	}
	tell_all(r, &counts);
	end(r, NULL);
}

static void on_listed(void *arg, const char *why)
{
	struct reconcile *r = arg;

	r->probe = NULL;
	if (why)
		end(r, why); /* what is missing in half a list is not missing */
	else
		look(r);
}

struct reconcile *reconcile_new(const struct reconcile_conf *conf)
{
	struct reconcile *r = mem_alloc(sizeof(*r));

	r->conf = *conf;
	r->next = loop_after_new(conf->plan.loop, on_next, r);
	r->probe = probe_list_slowly(conf->exchange, conf->driver, conf->driven,
				     &(struct probe_slow){.loop = conf->plan.loop,
							  .interval_ms = conf->interval_ms,
							  .take = on_account,
							  .done = on_listed},
				     r);
	return r;
}

void reconcile_free(struct reconcile *r)
{
	if (!r)
		return;
	if (r->probe)
		probe_cancel(r->probe);
	plan_free(r->plan);
	loop_after_free(r->next);
	forget_all(r);
	for (size_t i = 0; i < r->suspects_n; i++)
		free(r->suspects[i]);
	free((void *)r->suspects);
	free(r);
}
