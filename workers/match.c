#include "match.h"

#include "fold.h"
#include "mapping.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)XXH3_64bits((key), (n)))
#include <uthash.h>

enum { RULES_MOST = 17, CANDIDATES_MOST = 10 };

struct person {
	char *id, *dn;
	cJSON *values; /* per rule its value, folded, or null */
	bool linked, settled;
};

struct account {
	char *rid, *name;
	cJSON *values; /* per rule an array of values, folded */
	bool taken, privileged;
	UT_hash_handle hh;
};

struct match {
	struct join *rules;
	struct person *people;
	size_t people_n, people_cap;
	struct account *accounts; /* by rid */
	struct taken {
		char *rid;
		UT_hash_handle hh;
	} * taken;
	size_t proposed, ambiguous;
};

/* Who has one value of a rule. */
struct slot {
	char *key;
	size_t *people;
	struct account **accounts;
	size_t people_n, accounts_n;
	UT_hash_handle hh;
};

/* ---- rules ---- */

static bool is_weak(const struct join_rule *r)
{
	return r->soft || strcasecmp(r->remote, "displayName") == 0;
}

static size_t rules_of_text(char *text, struct join_rule rules[RULES_MOST])
{
	size_t n = 0;
	char *rest = text, *word;

	while (n < RULES_MOST && (word = strsep(&rest, ",")) != NULL) {
		char *local = strchr(word, '=');

		if (!local)
			return 0;
		*local++ = '\0';
		rules[n++] = (struct join_rule){.remote = word, .local = local};
	}
	return rest ? 0 : n;
}

static size_t rules_of_join(const struct join *join, struct join_rule rules[RULES_MOST])
{
	bool names = false;
	size_t n = 0;

	for (; n < join_count(join) && n < RULES_MOST - 1; n++) {
		rules[n] = *join_rule(join, n);
		names |= strcasecmp(rules[n].remote, "displayName") == 0;
	}
	if (!names)
		rules[n++] = (struct join_rule){"displayName", "displayName", true};
	return n;
}

struct match *match_new(const struct join *join, const char *by, struct buf *errors)
{
	CLEANUP(free_cleanup) char *text = by ? mem_dup(by) : NULL;
	struct join_rule rules[RULES_MOST];
	size_t n = text ? rules_of_text(text, rules) : rules_of_join(join, rules);
	struct match *m = mem_alloc(sizeof(*m));

	if (n == 0)
		buf_adds(errors, "--by: expected remote=local,remote=local (at most 17)\n");
	else
		m->rules = join_of(rules, n, errors);
	if (m->rules)
		return m;
	free(m);
	return NULL;
}

// NOLINTNEXTLINE(readability-function-size): uthash
void match_free(struct match *m)
{
	struct account *a, *next;
	struct taken *t, *other;

	if (!m)
		return;
	for (size_t i = 0; i < m->people_n; i++) {
		free(m->people[i].id);
		free(m->people[i].dn);
		cJSON_Delete(m->people[i].values);
	}
	free(m->people);
	HASH_ITER (hh, m->accounts, a, next) {
		HASH_DEL(m->accounts, a); // NOLINT(clang-analyzer-unix.Malloc): uthash
		free(a->rid);
		free(a->name);
		cJSON_Delete(a->values);
		free(a);
	}
	HASH_ITER (hh, m->taken, t, other) {
		HASH_DEL(m->taken, t); // NOLINT(clang-analyzer-unix.Malloc): uthash
		free(t->rid);
		free(t);
	}
	join_free(m->rules);
	free(m);
}

/* ---- taking both sides ---- */

// NOLINTNEXTLINE(readability-function-size): uthash
void match_taken(struct match *m, const char *rid)
{
	struct taken *t;

	HASH_FIND_STR(m->taken, rid, t);
	if (t || !*rid)
		return;
	t = mem_alloc(sizeof(*t));
	t->rid = mem_dup(rid);
	HASH_ADD_KEYPTR(hh, m->taken, t->rid, strlen(t->rid), t);
}

void match_user(struct match *m, const char *id, const char *dn, const char *rid,
		const struct snapshot *s)
{
	CLEANUP(buf_cleanup) struct buf value = {0}, key = {0};
	struct person *p;

	if (m->people_n == m->people_cap) {
		m->people_cap = m->people_cap ? 2 * m->people_cap : 64;
		m->people = mem_resize(m->people, m->people_cap * sizeof(*m->people));
	}
	p = &m->people[m->people_n++];
	*p = (struct person){.id = mem_dup(id), .dn = mem_dup(dn), .values = cJSON_CreateArray()};
	p->linked = *rid != '\0';
	match_taken(m, rid);
	for (size_t i = 0; i < join_count(m->rules); i++) {
		buf_clear(&key);
		if (join_value(m->rules, i, s, &value) && fold_key(buf_slice(&value), &key))
			cJSON_AddItemToArray(p->values, cJSON_CreateString(key.p));
		else
			cJSON_AddItemToArray(p->values, cJSON_CreateNull());
	}
}

static void add_value(cJSON *values, const char *text)
{
	CLEANUP(buf_cleanup) struct buf key = {0};
	const cJSON *item;

	if (!fold_key(slice_of(text), &key))
		return;
	cJSON_ArrayForEach (item, values)
		if (strcmp(item->valuestring, key.p) == 0)
			return;
	cJSON_AddItemToArray(values, cJSON_CreateString(key.p));
}

/* Every text at the path; a plural attribute's elements each, by their `value` when the path names nothing in them. */
static void values_at(const cJSON *json, const char *path, cJSON *values)
{
	struct slice head, rest;
	const cJSON *item;

	if (cJSON_IsArray(json)) {
		cJSON_ArrayForEach (item, json)
			values_at(item, path, values);
	} else if (cJSON_IsString(json)) {
		if (!*path)
			add_value(values, json->valuestring);
	} else if (cJSON_IsObject(json) && !*path) {
		values_at(cJSON_GetObjectItem(json, "value"), "", values);
	} else if (cJSON_IsObject(json)) {
		mapping_split(path, &head, &rest);
		CLEANUP(free_cleanup) char *name = slice_dup(head);
		char *filter = strncasecmp(name, "urn:", 4) == 0 ? NULL : strchr(name, '[');

		if (filter)
			*filter = '\0';
		values_at(cJSON_GetObjectItem(json, name), rest.n ? rest.p : "", values);
	}
}

/* For people: what an administrator would call it. */
static const char *name_of(const cJSON *account)
{
	static const char *const fields[] = {"userPrincipalName", "userName", "Username", "Email",
					     "displayName"};

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		const cJSON *value = cJSON_GetObjectItem(account, fields[i]);

		if (cJSON_IsString(value) && *value->valuestring)
			return value->valuestring;
	}
	return "";
}

// NOLINTNEXTLINE(readability-function-size): uthash
void match_account(struct match *m, const struct target_account *account)
{
	struct account *a;

	if (!account->rid || account->deleted)
		return;
	HASH_FIND_STR(m->accounts, account->rid, a);
	if (a)
		return; /* a page that came twice */
	a = mem_alloc(sizeof(*a));
	a->rid = mem_dup(account->rid);
	a->name = mem_dup(name_of(account->json));
	a->privileged = account->privileged;
	a->values = cJSON_CreateArray();
	for (size_t i = 0; i < join_count(m->rules); i++) {
		cJSON *values = cJSON_CreateArray();

		values_at(account->json, join_rule(m->rules, i)->remote, values);
		cJSON_AddItemToArray(a->values, values);
	}
	HASH_ADD_KEYPTR(hh, m->accounts, a->rid, strlen(a->rid), a);
}

/* ---- one rule ---- */

// NOLINTNEXTLINE(readability-function-size): uthash
static struct slot *slot_of(struct slot **slots, const char *key, bool add)
{
	struct slot *s;

	HASH_FIND_STR(*slots, key, s);
	if (s || !add)
		return s;
	s = mem_alloc(sizeof(*s));
	s->key = mem_dup(key);
	HASH_ADD_KEYPTR(hh, *slots, s->key, strlen(s->key), s);
	return s;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct slot *slots_of(struct match *m, size_t rule)
{
	struct slot *slots = NULL, *s;
	struct account *a, *next;
	const cJSON *value;

	for (size_t i = 0; i < m->people_n; i++) {
		value = cJSON_GetArrayItem(m->people[i].values, (int)rule);
		if (!cJSON_IsString(value))
			continue;
		s = slot_of(&slots, value->valuestring, true);
		s->people = mem_resize(s->people, (s->people_n + 1) * sizeof(*s->people));
		s->people[s->people_n++] = i;
	}
	HASH_ITER (hh, m->accounts, a, next) {
		cJSON_ArrayForEach (value, cJSON_GetArrayItem(a->values, (int)rule)) {
			s = slot_of(&slots, value->valuestring, false);
			if (!s)
				continue;
			s->accounts = mem_resize(s->accounts, (s->accounts_n + 1) * sizeof(void *));
			s->accounts[s->accounts_n++] = a;
		}
	}
	return slots;
}

struct speaker {
	void (*say)(void *arg, const cJSON *line);
	void *arg;
	const struct join_rule *rule;
};

static void say_row(const struct speaker *to, const char *action, const struct person *p,
		    const struct account *a, const char *note)
{
	CLEANUP(buf_cleanup) struct buf rule = {0};
	cJSON *line = cJSON_CreateObject();

	buf_addf(&rule, "%s=%s", to->rule->remote, to->rule->local);
	cJSON_AddStringToObject(line, "action", action);
	cJSON_AddStringToObject(line, "user", p->id);
	cJSON_AddStringToObject(line, "dn", p->dn);
	cJSON_AddStringToObject(line, "account", a->rid);
	cJSON_AddStringToObject(line, "name", a->name);
	cJSON_AddStringToObject(line, "rule", rule.p);
	cJSON_AddStringToObject(line, "note", note);
	to->say(to->arg, line);
	cJSON_Delete(line);
}

static bool is_free(const struct person *p)
{
	return !p->linked && !p->settled;
}

static void say_ambiguous(struct match *m, const struct slot *s, const struct speaker *to)
{
	CLEANUP(buf_cleanup) struct buf note = {0};

	buf_addf(&note, "ambiguous: %zu users and %zu accounts have this value", s->people_n,
		 s->accounts_n);
	for (size_t i = 0; i < s->people_n; i++) {
		struct person *p = &m->people[s->people[i]];

		if (!is_free(p))
			continue;
		for (size_t k = 0; k < s->accounts_n && k < CANDIDATES_MOST; k++)
			if (!s->accounts[k]->taken)
				say_row(to, "", p, s->accounts[k], note.p);
		p->settled = true;
		m->ambiguous++;
	}
}

static void judge(struct match *m, const struct slot *s, const struct speaker *to)
{
	struct account *a;
	struct person *p;

	if (s->people_n == 0 || s->accounts_n == 0)
		return;
	if (s->people_n > 1 || s->accounts_n > 1) {
		say_ambiguous(m, s, to);
		return;
	}
	p = &m->people[s->people[0]];
	a = s->accounts[0];
	if (!is_free(p) || a->taken)
		return;
	if (a->privileged && is_weak(to->rule)) {
		say_row(to, "", p, a, "the account holds a privileged role");
		p->settled = true;
		m->ambiguous++;
		return;
	}
	say_row(to, is_weak(to->rule) ? "propose" : "link", p, a, "");
	p->settled = a->taken = true;
	m->proposed++;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void run_rule(struct match *m, size_t rule, const struct speaker *to)
{
	struct slot *slots = slots_of(m, rule), *s, *next;

	HASH_ITER (hh, slots, s, next)
		judge(m, s, to);
	HASH_ITER (hh, slots, s, next) {
		HASH_DEL(slots, s);
		free(s->key);
		free(s->people);
		free((void *)s->accounts);
		free(s);
	}
}

// NOLINTNEXTLINE(readability-function-size): uthash
void match_run(struct match *m, void (*say)(void *arg, const cJSON *line), void *arg)
{
	struct account *a, *next;
	struct taken *t;
	size_t users_left = 0, accounts_left = 0;
	cJSON *line = cJSON_CreateObject(), *summary;

	HASH_ITER (hh, m->accounts, a, next) {
		HASH_FIND_STR(m->taken, a->rid, t);
		a->taken = t != NULL;
	}
	for (size_t i = 0; i < join_count(m->rules); i++) {
		const struct speaker to = {say, arg, join_rule(m->rules, i)};

		run_rule(m, i, &to);
	}
	for (size_t i = 0; i < m->people_n; i++)
		users_left += is_free(&m->people[i]);
	HASH_ITER (hh, m->accounts, a, next)
		accounts_left += !a->taken;
	summary = cJSON_AddObjectToObject(line, "summary");
	cJSON_AddNumberToObject(summary, "proposed", (double)m->proposed);
	cJSON_AddNumberToObject(summary, "ambiguous", (double)m->ambiguous);
	cJSON_AddNumberToObject(summary, "users_left", (double)users_left);
	cJSON_AddNumberToObject(summary, "accounts_left", (double)accounts_left);
	say(arg, line);
	cJSON_Delete(line);
}
