#include "clock.h"
#include "licence_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const reason_names[LICENCE_REASONS] = {
	[LICENCE_DISABLED] = "disabled",
	[LICENCE_LOCKED] = "locked",
	[LICENCE_PASSWORD_EXPIRED] = "password_expired",
	[LICENCE_ACCOUNT_EXPIRED] = "account_expired",
	[LICENCE_INACTIVE] = "inactive",
	[LICENCE_NEVER_LOGGED_ON] = "never_logged_on",
};

const char *licence_reason_name(enum licence_reason reason)
{
	return reason_names[reason];
}

unsigned licence_reason_bit(const char *name)
{
	for (unsigned i = 0; i < LICENCE_REASONS; i++) {
		if (name && strcmp(reason_names[i], name) == 0)
			return BIT(i);
	}
	return 0;
}

void licence_reasons_text(unsigned reasons, struct buf *out)
{
	const char *comma = "";

	for (unsigned i = 0; i < LICENCE_REASONS; i++) {
		if (!(reasons & BIT(i)))
			continue;
		buf_addf(out, "%s%s", comma, reason_names[i]);
		comma = ",";
	}
}

/* ---- reasons ---- */

/* A fact that holds from at_ms on, or will: time alone makes it true then. */
static bool from_then(int64_t at_ms, struct licence_verdict *v)
{
	if (at_ms <= v->now_unix_ms)
		return true;
	if (at_ms < SNAPSHOT_FOREVER && (!v->look_again_unix_ms || at_ms < v->look_again_unix_ms))
		v->look_again_unix_ms = at_ms;
	return false;
}

static void add_time(const char *name, int64_t ms, struct licence_verdict *v)
{
	if (!v->remember)
		v->remember = cJSON_CreateObject();
	cJSON_DeleteItemFromObjectCaseSensitive(v->remember, name);
	if (ms)
		cJSON_AddNumberToObject(v->remember, name, (double)ms);
	else
		cJSON_AddNullToObject(v->remember, name);
}

/* Since when he could have logged on. */
static int64_t exists_since(const struct snapshot *s, struct licence_verdict *v)
{
	const char *created = snapshot_first(s, "whenCreated");
	int64_t ms;

	if (!created)
		created = snapshot_first(s, "createTimestamp");
	ms = created ? clock_generalized_ms(created) : 0;
	if (!ms)
		ms = json_int(v->memory, "licence_seen_ms", 0);
	if (!ms) {
		ms = v->now_unix_ms;
		add_time("licence_seen_ms", ms, v);
	}
	return ms;
}

static bool expired(const struct snapshot *s, const char *key, struct licence_verdict *v)
{
	int64_t at_ms = snapshot_time(s, key);

	return at_ms && from_then(at_ms, v);
}

static unsigned reasons_now(const struct licence *l, const struct licence_facts *f,
			    struct licence_verdict *v)
{
	const struct snapshot *s = f->snapshot;
	unsigned reasons = 0;
	int64_t logon;

	if (f->left || !s || !snapshot_enabled(s))
		reasons |= BIT(LICENCE_DISABLED);
	if (!s)
		return reasons;
	/* some directories disable by a lock for ever: that is one reason, not two */
	if (snapshot_enabled(s) && snapshot_time(s, "locked_until") &&
	    !expired(s, "locked_until", v))
		reasons |= BIT(LICENCE_LOCKED);
	if (expired(s, "password_expires_at", v))
		reasons |= BIT(LICENCE_PASSWORD_EXPIRED);
	if (expired(s, "expires_at", v))
		reasons |= BIT(LICENCE_ACCOUNT_EXPIRED);
	logon = snapshot_time(s, "last_logon_at");
	if (logon && l->revoke & BIT(LICENCE_INACTIVE) && from_then(logon + l->inactive_ms, v))
		reasons |= BIT(LICENCE_INACTIVE);
	if (!logon && l->revoke & BIT(LICENCE_NEVER_LOGGED_ON) &&
	    from_then(exists_since(s, v) + l->inactive_ms, v))
		reasons |= BIT(LICENCE_NEVER_LOGGED_ON);
	return reasons;
}

static bool exempt(const struct licence *l, const struct licence_facts *f)
{
	for (size_t i = 0; i < l->exempt_ids_n; i++) {
		if (id_equal(&l->exempt_ids[i], &f->user))
			return true;
	}
	for (size_t i = 0; f->snapshot && l->exempt_groups[i]; i++) {
		if (snapshot_in_group(f->snapshot, l->exempt_groups[i]))
			return true;
	}
	return false;
}

/* ---- what the link remembers ---- */

static const char *item_after(const char *key, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(key, prefix, n) == 0 ? key + n : NULL;
}

static bool next_after(const struct licence_verdict *v, const char *prefix, const cJSON **at,
		       const char **ret_item)
{
	const cJSON *item = *at ? (*at)->next : v->memory ? v->memory->child : NULL;

	for (; item; item = item->next) {
		const char *name = item->string ? item_after(item->string, prefix) : NULL;

		if (!name || !*name)
			continue;
		*at = item;
		*ret_item = name;
		return true;
	}
	return false;
}

bool licence_next_taken(const struct licence_verdict *v, const cJSON **at, const char **ret_item,
			const cJSON **ret_keep)
{
	if (!next_after(v, "taken:", at, ret_item))
		return false;
	*ret_keep = json_get(*at, "keep");
	return true;
}

bool licence_next_given(const struct licence_verdict *v, const cJSON **at, const char **ret_item)
{
	return next_after(v, "given:", at, ret_item);
}

static const cJSON *remembered(const struct licence_verdict *v, const char *kind, const char *item)
{
	CLEANUP(buf_cleanup) struct buf key = {0};

	buf_addf(&key, "%s%s", kind, item);
	return json_get(v->memory, key.p);
}

bool licence_is_taken(const struct licence_verdict *v, const char *item)
{
	return remembered(v, "taken:", item) != NULL;
}

bool licence_is_given(const struct licence_verdict *v, const char *item)
{
	return remembered(v, "given:", item) != NULL;
}

static void put(cJSON **object, const char *kind, const char *item, cJSON *value)
{
	CLEANUP(buf_cleanup) struct buf key = {0};

	if (!*object)
		*object = cJSON_CreateObject();
	buf_addf(&key, "%s%s", kind, item);
	cJSON_DeleteItemFromObjectCaseSensitive(*object, key.p);
	cJSON_AddItemToObject(*object, key.p, value);
}

static cJSON *reasons_json(unsigned reasons)
{
	cJSON *list = cJSON_CreateArray();

	for (unsigned i = 0; i < LICENCE_REASONS; i++) {
		if (reasons & BIT(i))
			cJSON_AddItemToArray(list, cJSON_CreateString(reason_names[i]));
	}
	return list;
}

static unsigned reasons_read(const cJSON *record)
{
	const cJSON *item;
	unsigned reasons = 0;

	cJSON_ArrayForEach (item, json_array(record, "reasons")) {
		if (cJSON_IsString(item))
			reasons |= licence_reason_bit(item->valuestring);
	}
	return reasons;
}

cJSON *licence_take(const struct licence_verdict *v, const char *item, cJSON *keep)
{
	cJSON *remember = NULL, *record = cJSON_CreateObject();

	cJSON_AddNumberToObject(record, "at", (double)v->now_unix_ms);
	cJSON_AddItemToObject(record, "reasons", reasons_json(v->because));
	if (keep)
		cJSON_AddItemToObject(record, "keep", keep);
	put(&remember, "taken:", item, record);
	put(&remember, "given:", item, cJSON_CreateNull());
	return remember;
}

cJSON *licence_close(cJSON *remember, const char *item)
{
	put(&remember, "taken:", item, cJSON_CreateNull());
	return remember;
}

cJSON *licence_note_given(cJSON *remember, const char *item, bool given)
{
	put(&remember, "given:", item, given ? cJSON_CreateTrue() : cJSON_CreateNull());
	return remember;
}

void licence_taken_json(const cJSON *memory, struct buf *out)
{
	const struct licence_verdict v = {.memory = memory};
	const cJSON *at = NULL, *keep;
	cJSON *all = cJSON_CreateObject();
	const char *item;

	while (licence_next_taken(&v, &at, &item, &keep)) {
		cJSON *one = cJSON_Duplicate(at, true);

		cJSON_DeleteItemFromObjectCaseSensitive(one, "keep");
		cJSON_AddItemToObject(all, item, one);
	}
	if (all->child)
		json_canonical(all, out);
	cJSON_Delete(all);
}

/* ---- the phase ---- */

static bool any_taken(const struct licence_verdict *v, unsigned *ret_reasons)
{
	const cJSON *at = NULL, *keep;
	const char *item;

	*ret_reasons = 0;
	while (licence_next_taken(v, &at, &item, &keep))
		*ret_reasons |= reasons_read(at);
	return at != NULL;
}

/* The reasons are gone and something is taken: may it be given back now? */
static bool may_return(const struct licence *l, const struct licence_facts *f, unsigned taken_for,
		       struct licence_verdict *v)
{
	int64_t clear_ms = json_int(v->memory, "licence_clear_ms", 0), next_ms;

	if (f->reinstate)
		return true;
	if (taken_for & ~l->reinstate_for)
		return false;
	if (!l->schedule)
		return true;
	if (!clear_ms) {
		clear_ms = v->now_unix_ms;
		add_time("licence_clear_ms", clear_ms, v);
	}
	next_ms = schedule_next(l->schedule, clear_ms);
	return next_ms && from_then(next_ms, v);
}

static enum licence_phase phase_of(const struct licence *l, const struct licence_facts *f,
				   struct licence_verdict *v)
{
	unsigned taken_for;
	bool taken = any_taken(v, &taken_for), free_of = exempt(l, f);

	if (v->because && !free_of)
		return LICENCE_TAKE;
	if (f->left)
		return LICENCE_STILL;
	if (!taken || free_of)
		return LICENCE_GIVE;
	if (v->reasons)
		return LICENCE_STILL;
	return may_return(l, f, taken_for, v) ? LICENCE_GIVE : LICENCE_STILL;
}

/* A further reason extends what is recorded; what the schedule counts from is forgotten when it is over. */
static void keep_record(struct licence_verdict *v)
{
	const cJSON *at = NULL, *keep;
	const char *item;
	bool taken = false;

	while (licence_next_taken(v, &at, &item, &keep)) {
		unsigned before = reasons_read(at);
		cJSON *record;

		taken = true;
		if (v->phase != LICENCE_TAKE || !(v->because & ~before))
			continue;
		record = cJSON_Duplicate(at, true);
		cJSON_DeleteItemFromObjectCaseSensitive(record, "reasons");
		cJSON_AddItemToObject(record, "reasons", reasons_json(before | v->because));
		put(&v->remember, "taken:", item, record);
	}
	if (json_get(v->memory, "licence_clear_ms") && (v->reasons || !taken))
		add_time("licence_clear_ms", 0, v);
}

/* ---- what is wanted ---- */

static bool listed(const cJSON *list, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (strcasecmp(item->valuestring, text) == 0)
			return true;
	}
	return false;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The plans that stay off by every rule so far. */
static cJSON *plans_left_off(const cJSON *before, const cJSON *plans)
{
	cJSON *all = cJSON_CreateArray();
	const char **texts = mem_array((size_t)cJSON_GetArraySize(plans) + 1, sizeof(*texts));
	const cJSON *item;
	size_t n = 0;

	cJSON_ArrayForEach (item, plans) {
		if (!before || listed(before, item->valuestring))
			texts[n++] = item->valuestring;
	}
	qsort((void *)texts, n, sizeof(*texts), compare_texts);
	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(all, cJSON_CreateString(texts[i]));
	free((void *)texts);
	return all;
}

static int compare_items(const void *a, const void *b)
{
	const struct licence_item *x = a, *y = b;
	int order = strcmp(x->kind ? x->kind : "", y->kind ? y->kind : "");

	return order ? order : strcmp(x->remote, y->remote);
}

static void add_item(struct licence_item **items, size_t *n, const struct licence_rule *rule)
{
	struct licence_item item = {.remote = rule->remote, .kind = rule->kind}, *same = NULL;
	cJSON *plans;

	for (size_t i = 0; i < *n; i++) {
		if (compare_items(&(*items)[i], &item) == 0)
			same = &(*items)[i];
	}
	plans = plans_left_off(same ? same->plans : NULL, rule->plans);
	if (same) {
		cJSON_Delete(same->plans);
		same->plans = plans;
		return;
	}
	*items = mem_resize(*items, (*n + 1) * sizeof(**items));
	item.plans = plans;
	(*items)[(*n)++] = item;
}

static void want(const struct licence_rule *rules, const struct snapshot *s,
		 struct licence_item **items, size_t *n)
{
	for (; rules->group; rules++) {
		if (snapshot_in_group(s, rules->group))
			add_item(items, n, rules);
	}
	if (*n)
		qsort(*items, *n, sizeof(**items), compare_items);
}

void licence_judge(const struct licence *l, const struct licence_facts *f,
		   struct licence_verdict *v)
{
	unsigned taken_for;

	*v = (struct licence_verdict){
		.licence = l, .memory = f->memory, .now_unix_ms = f->now_unix_ms};
	if (!l)
		return;
	v->reasons = l->revoke || any_taken(v, &taken_for) ? reasons_now(l, f, v) : 0;
	v->because = v->reasons & l->revoke;
	v->phase = phase_of(l, f, v);
	keep_record(v);
	if (v->phase == LICENCE_GIVE && f->snapshot)
		want(l->rules, f->snapshot, &v->licences, &v->licences_n);
	if (licence_takes_groups(l) && v->phase != LICENCE_GIVE)
		v->groups_count = v->phase == LICENCE_TAKE;
	else
		v->groups_count = !f->left && f->snapshot && l->group_rules->group;
	if (v->groups_count && !(licence_takes_groups(l) && v->phase == LICENCE_TAKE))
		want(l->group_rules, f->snapshot, &v->groups, &v->groups_n);
}

static void items_done(struct licence_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cJSON_Delete(items[i].plans);
	free(items);
}

void licence_verdict_done(struct licence_verdict *v)
{
	items_done(v->licences, v->licences_n);
	items_done(v->groups, v->groups_n);
	cJSON_Delete(v->remember);
	*v = (struct licence_verdict){0};
}

static void digest_items(const struct licence_item *items, size_t n, char kind, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		buf_addf(out, "%c %s %s ", kind, items[i].kind ? items[i].kind : "",
			 items[i].remote);
		json_canonical(items[i].plans, out);
		buf_addc(out, '\n');
	}
}

void licence_digest(const struct licence_verdict *v, struct buf *out)
{
	static const char *const phases[LICENCE_PHASES] = {"give", "take", "still"};

	if (!v->licence || (v->phase == LICENCE_GIVE && !v->licences_n && !v->groups_count))
		return;
	if (v->phase == LICENCE_STILL && !licence_has_policy(v->licence))
		return;
	buf_addf(out, "%s %u %d\n", phases[v->phase], v->because, v->groups_count);
	digest_items(v->licences, v->licences_n, 'l', out);
	digest_items(v->groups, v->groups_n, 'g', out);
}
