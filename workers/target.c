#include "target.h"

#include "mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void target_account_done(struct target_account *a)
{
	free(a->rid);
	free(a->revision);
	cJSON_Delete(a->json);
	*a = (struct target_account){0};
}

/* ---- plans ---- */

void target_plan_init(struct target_plan *p)
{
	*p = (struct target_plan){0};
	p->end = &p->first;
}

void target_op_free(struct target_op *op)
{
	if (!op)
		return;
	free(op->what);
	cJSON_Delete(op->set);
	cJSON_Delete(op->clear);
	cJSON_Delete(op->body);
	cJSON_Delete(op->before);
	cJSON_Delete(op->remember);
	free(op->audit);
	free(op);
}

void target_plan_done(struct target_plan *p)
{
	while (p->first) {
		struct target_op *op = p->first;

		p->first = op->next;
		target_op_free(op);
	}
	buf_done(&p->parked_detail);
	buf_done(&p->waits);
	cJSON_Delete(p->remember);
	target_plan_init(p);
}

struct target_op *target_plan_add(struct target_plan *p, enum target_kind kind, const char *name)
{
	struct target_op *op = mem_alloc(sizeof(*op));

	op->kind = kind;
	op->name = name;
	*p->end = op;
	p->end = &op->next;
	return op;
}

void target_plan_drop(struct target_plan *p, struct target_op *op)
{
	struct target_op **at = &p->first;

	while (*at && *at != op)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = op->next;
	if (p->end == &op->next)
		p->end = at;
	target_op_free(op);
}

bool target_no_seat(const struct target_want *want, const char *sku)
{
	for (size_t i = 0; want->no_seat && want->no_seat[i]; i++) {
		if (strcasecmp(want->no_seat[i], sku) == 0)
			return true;
	}
	return false;
}

static void put(cJSON **object, const char *path, cJSON *value)
{
	if (!*object)
		*object = cJSON_CreateObject();
	cJSON_AddItemToObject(*object, path, value);
}

static bool same_json(const char *path, const cJSON *desired, const cJSON *remote)
{
	(void)path;
	return cJSON_Compare(desired, remote, true);
}

size_t target_diff(const cJSON *document, const cJSON *account, target_same_fn same,
		   struct target_op *op)
{
	const cJSON *item;
	size_t n = 0;

	cJSON_ArrayForEach (item, document) {
		const cJSON *remote = account ? mapping_get(account, item->string) : NULL;
		bool empty = mapping_empty(item);

		if (account &&
		    (empty ? mapping_empty(remote)
			   : remote && (same ? same : same_json)(item->string, item, remote)))
			continue;
		if (empty)
			put(&op->clear, item->string, cJSON_CreateNull());
		else
			put(&op->set, item->string, cJSON_Duplicate(item, true));
		n++;
	}
	return n;
}

void target_fill(const cJSON *document, struct target_op *op)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, document) {
		if (!mapping_empty(item))
			put(&op->set, item->string, cJSON_Duplicate(item, true));
	}
}

/* ---- requests and answers ---- */

int target_request_header(struct target_request *r, const char *name, struct slice value)
{
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '\r' || value.p[i] == '\n' || value.p[i] == '\0')
			return -EINVAL;
	}
	buf_adds(&r->header_text, name);
	buf_adds(&r->header_text, ": ");
	buf_add(&r->header_text, value.p, value.n);
	buf_addc(&r->header_text, '\0');
	r->header_n++;
	return 0;
}

struct target_account *target_answer_add(struct target_answer *a)
{
	if (a->accounts_n == TARGET_HITS)
		return NULL;
	a->accounts = mem_resize(a->accounts, (a->accounts_n + 1) * sizeof(*a->accounts));
	a->accounts[a->accounts_n] = (struct target_account){0};
	return &a->accounts[a->accounts_n++];
}

void target_answer_done(struct target_answer *a)
{
	buf_done(&a->code);
	buf_done(&a->detail);
	buf_done(&a->audit);
	buf_done(&a->field);
	buf_done(&a->request_id);
	buf_done(&a->retry_after);
	for (size_t i = 0; i < a->accounts_n; i++)
		target_account_done(&a->accounts[i]);
	free(a->accounts);
}
