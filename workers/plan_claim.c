/* The broker's part in a plan: it NOTEs nothing, but says whose an account is. */
#include "plan_own.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)XXH3_64bits((key), (n)))
#include <uthash.h>

enum { CLAIM = 1, CLAIMS_ASKED = 500 }; /* WIRE_NOTE kind */

struct plan_claim {
	UT_hash_handle hh;
	struct id user;
	char rid[];
};

// NOLINTNEXTLINE(readability-function-size): uthash
static bool claim(struct plan *p, const char *rid, const struct id *user)
{
	struct plan_claim *c;
	size_t n = strlen(rid);

	HASH_FIND(hh, p->claimed, rid, n, c);
	if (c)
		return id_equal(&c->user, user);
	c = mem_alloc(sizeof(*c) + n + 1);
	memcpy(c->rid, rid, n + 1);
	c->user = *user;
	HASH_ADD(hh, p->claimed, rid[0], n, c);
	return true;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void forget_claims(struct plan *p)
{
	struct plan_claim *c = p->claimed, *next;

	HASH_CLEAR(hh, p->claimed);
	for (; c; c = next) {
		next = c->hh.next;
		free(c);
	}
}

static void notes_free(struct plan_note *list)
{
	while (list) {
		struct plan_note *n = list;

		list = n->next;
		free(n->rid);
		free(n);
	}
}

void plan_claims_free(struct plan *p)
{
	notes_free(p->notes);
	notes_free(p->claims);
	forget_claims(p);
}

void plan_note(void *arg, const struct wire_note *note)
{
	struct plan *p = arg;
	struct task_lease lease = {note->lease_epoch, note->lease_page, note->lease_index};
	struct plan_page *page = plan_page_of(p, lease);
	struct plan_note *n, **at = &p->notes;

	if (p->over || !page)
		return;
	n = mem_alloc(sizeof(*n));
	*n = (struct plan_note){.lease = lease,
				.kind = note->kind,
				.rid = slice_dup(note->rid),
				.user = page->items[note->lease_index].user};
	while (*at)
		at = &(*at)->next;
	*at = n;
	loop_after_ask(p->answer);
}

static void answer(struct plan *p, struct plan_note *list)
{
	for (const struct plan_note *n = list; n && !p->over; n = n->next) {
		bool ok = n->kind != CLAIM || (!n->refused && claim(p, n->rid, &n->user));

		task_noted(p->conf.desk, n->lease, n->kind, ok, SLICE("claimed by another user"));
	}
	notes_free(list);
}

static void on_claims(void *arg, const cJSON *result, const char *why)
{
	struct plan *p = arg;
	struct plan_note *list = p->claims;
	const cJSON *place;

	p->claims = NULL;
	if (!result) {
		notes_free(list);
		plan_fail(p, why);
		return;
	}
	cJSON_ArrayForEach (place, json_array(result, "refused")) {
		struct plan_note *n = list;

		for (int i = 0; n && i < place->valueint; i++)
			n = n->next;
		if (n)
			n->refused = true;
	}
	answer(p, list);
	if (p->notes && !p->over)
		loop_after_ask(p->answer);
}

static void ask_claims(struct plan *p)
{
	cJSON *fields = cJSON_CreateObject(), *claims;
	char user[ID_TEXT];

	cJSON_AddStringToObject(fields, "target", p->conf.target);
	claims = cJSON_AddArrayToObject(fields, "claims");
	for (const struct plan_note *n = p->claims; n; n = n->next) {
		cJSON *pair = cJSON_CreateArray();

		id_format(&n->user, user);
		cJSON_AddItemToArray(pair, cJSON_CreateString(n->rid));
		cJSON_AddItemToArray(pair, cJSON_CreateString(user));
		cJSON_AddItemToArray(claims, pair);
	}
	ask_put(p->conf.ask, "plan_claims", fields, on_claims, p);
}

/* Claims are asked for together, one question at a time; the others are answered at once. */
void plan_answer_notes(void *arg)
{
	struct plan *p = arg;
	struct plan_note *list = p->notes, *now = NULL, **now_end = &now, **end = &p->claims;
	bool asking = p->claims != NULL;
	size_t claims = 0;

	p->notes = NULL;
	struct plan_note **later = &p->notes;

	while (list) {
		struct plan_note *n = list;

		list = n->next;
		n->next = NULL;
		if (n->kind != CLAIM) {
			*now_end = n;
			now_end = &n->next;
		} else if (asking || claims == CLAIMS_ASKED) {
			*later = n;
			later = &n->next;
		} else {
			claims++;
			*end = n;
			end = &n->next;
		}
	}
	if (claims > 0)
		ask_claims(p);
	answer(p, now);
}
