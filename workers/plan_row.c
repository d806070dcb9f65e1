/* A plan's lines. */
#include "clock.h"
#include "plan_own.h"
#include "redact.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- values: passwords that a mapping sets are not for a file ---- */

static bool is_secret(const char *path)
{
	return strcasestr(path, "password") != NULL || strcasestr(path, "secret") != NULL;
}

static cJSON *value_of(const char *path, const cJSON *value)
{
	return is_secret(path) ? cJSON_CreateString("(secret)") : cJSON_Duplicate(value, true);
}

static void add_was(cJSON *was, const cJSON *account, const cJSON *fields)
{
	const cJSON *f;

	cJSON_ArrayForEach (f, fields) {
		const cJSON *old = mapping_get(account, f->string);

		if (old && !cJSON_HasObjectItem(was, f->string))
			cJSON_AddItemToObject(was, f->string, value_of(f->string, old));
	}
}

static bool destructive(const struct target_op *op)
{
	return op->permit || op->kind == TARGET_DELETE || op->enabled == TARGET_DISABLE;
}

static void count_op(struct plan *p, const char *name)
{
	cJSON *n = cJSON_GetObjectItemCaseSensitive(p->ops, name);

	if (n)
		cJSON_SetNumberValue(n, n->valuedouble + 1);
	else
		cJSON_AddNumberToObject(p->ops, name, 1);
}

/* The names are those of RESULT.ops: a switch counts beside the update that carries it. */
static void count_ops(struct plan *p, const struct target_op *op)
{
	bool update = op->kind == TARGET_UPDATE;

	if (!update || op->set || op->clear)
		count_op(p, op->name);
	if (update && op->enabled == TARGET_DISABLE)
		count_op(p, "disable");
	if (update && op->enabled == TARGET_ENABLE)
		count_op(p, "enable");
}

static cJSON *json_op(const struct target_op *op, const cJSON *account)
{
	static const char *const switches[] = {"keep", "enable", "disable"};
	cJSON *o = cJSON_CreateObject(), *set, *clear, *was;
	const cJSON *f;

	cJSON_AddStringToObject(o, "op", op->name);
	if (op->what && *op->what)
		cJSON_AddStringToObject(o, "what", op->what);
	if (op->set && op->set->child) {
		set = cJSON_AddObjectToObject(o, "set");
		cJSON_ArrayForEach (f, op->set)
			cJSON_AddItemToObject(set, f->string, value_of(f->string, f));
	}
	if (op->clear && op->clear->child) {
		clear = cJSON_AddArrayToObject(o, "clear");
		cJSON_ArrayForEach (f, op->clear)
			cJSON_AddItemToArray(clear, cJSON_CreateString(f->string));
	}
	if (account && op->kind == TARGET_UPDATE && (op->set || op->clear)) {
		was = cJSON_AddObjectToObject(o, "was");
		add_was(was, account, op->set);
		add_was(was, account, op->clear);
	}
	if (op->enabled != TARGET_KEEP)
		cJSON_AddStringToObject(o, "switch", switches[op->enabled]);
	if (destructive(op))
		cJSON_AddTrueToObject(o, "destructive");
	return o;
}

/* ---- permits ---- */

static const char *phase_of(const struct plan_page *page, const char *user, const char *op,
			    const char *what)
{
	const cJSON *h;

	cJSON_ArrayForEach (h, page->held) {
		const char *u = json_text(h, "user"), *o = json_text(h, "op");
		const char *w = json_text(h, "what");

		if (u && o && w && strcmp(u, user) == 0 && strcmp(o, op) == 0 &&
		    strcmp(w, what) == 0)
			return json_text(h, "phase");
	}
	return NULL;
}

static void add_needs(struct plan *p, cJSON *row, const struct plan_page *page,
		      const struct task_shown *shown)
{
	struct wire_list needs = shown->needs;
	struct wire_op need;
	cJSON *list;

	if (needs.count == 0)
		return;
	list = cJSON_AddArrayToObject(row, "needs");
	while (wire_next_op(&needs, &need)) {
		CLEANUP(free_cleanup) char *op = slice_dup(need.op), *what = slice_dup(need.what);
		const char *phase = phase_of(page, shown->user, op, what);
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "op", op);
		cJSON_AddStringToObject(o, "what", what);
		if (phase)
			cJSON_AddStringToObject(o, "phase", phase);
		cJSON_AddItemToArray(list, o);
		p->destructive++;
		p->fresh_needs += phase == NULL;
	}
}

/* ---- lines ---- */

void plan_add_hex(cJSON *to, const char *name, const struct fp *fp)
{
	char text[2 * sizeof(fp->b) + 1];

	for (size_t i = 0; i < sizeof(fp->b); i++)
		snprintf(text + 2 * i, 3, "%02x", fp->b[i]);
	cJSON_AddStringToObject(to, name, text);
}

static cJSON *begin(const struct plan *p, const struct plan_page *page, size_t index)
{
	cJSON *row = cJSON_CreateObject();
	struct wire_list at = page->items[index].at;
	struct wire_task task;
	char user[ID_TEXT];

	id_format(&page->items[index].user, user);
	cJSON_AddStringToObject(row, "target", p->conf.target);
	cJSON_AddStringToObject(row, "user", user);
	if (wire_next_task(&at, &task))
		cJSON_AddNumberToObject(row, "version", (double)task.version);
	return row;
}

/* Whom the directory knows no more is named as the account is. */
static void add_name(cJSON *row, const struct task_shown *shown)
{
	static const char *const names[] = {"userPrincipalName", "userName", "Username", "Email",
					    "displayName"};
	const char *name = shown->snapshot ? snapshot_dn(shown->snapshot) : NULL;

	if (name && !*name)
		name = NULL;
	for (size_t i = 0; !name && shown->account && i < sizeof(names) / sizeof(names[0]); i++) {
		const cJSON *value = mapping_get(shown->account->json, names[i]);

		name = cJSON_IsString(value) ? value->valuestring : NULL;
	}
	if (name)
		cJSON_AddStringToObject(row, "name", name);
}

void plan_row(struct plan *p, const struct plan_page *page, const struct task_shown *shown)
{
	cJSON *row = begin(p, page, shown->lease.index), *ops;

	add_name(row, shown);
	cJSON_AddStringToObject(row, "account", shown->rid);
	plan_add_hex(row, "hash", &shown->hash);
	ops = cJSON_AddArrayToObject(row, "ops");
	if (shown->alone) {
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "op", shown->alone);
		cJSON_AddItemToArray(ops, o);
		count_op(p, shown->alone);
	}
	for (const struct target_op *op = shown->ops; op; op = op->next) {
		cJSON_AddItemToArray(ops,
				     json_op(op, shown->account ? shown->account->json : NULL));
		count_ops(p, op);
	}
	add_needs(p, row, page, shown);
	p->rows++;
	p->conf.say(p->conf.arg, row);
	cJSON_Delete(row);
}

static void add_text(cJSON *to, const char *name, struct slice text)
{
	char *owned = slice_dup(text);

	cJSON_AddStringToObject(to, name, owned);
	free(owned);
}

void plan_problem(struct plan *p, const struct plan_item *item, const struct wire_result *r)
{
	const struct plan_page *page =
		plan_page_of(p, (struct task_lease){r->lease_epoch, r->lease_page, r->lease_index});
	cJSON *row = begin(p, page, (size_t)(item - page->items));

	add_text(row, "problem", r->reason);
	add_text(row, "detail", r->detail);
	p->problems++;
	p->conf.say(p->conf.arg, row);
	cJSON_Delete(row);
}

void plan_summary(struct plan *p, bool holds)
{
	cJSON *line = cJSON_CreateObject(), *s = cJSON_AddObjectToObject(line, "summary");

	cJSON_AddStringToObject(s, "target", p->conf.target);
	plan_add_hex(s, "config", &p->conf.config);
	cJSON_AddNumberToObject(s, "users", (double)p->users);
	cJSON_AddNumberToObject(s, "unchanged", (double)p->unchanged);
	cJSON_AddNumberToObject(s, "rows", (double)p->rows);
	cJSON_AddNumberToObject(s, "problems", (double)p->problems);
	cJSON_AddNumberToObject(s, "destructive", (double)p->destructive);
	cJSON_AddStringToObject(s, "guard", holds ? "held" : "permitted");
	cJSON_AddNumberToObject(s, "took_ms", (double)(clock_boot_ms() - p->started_ms));
	cJSON_AddItemToObject(s, "ops", cJSON_Duplicate(p->ops, true));
	p->conf.say(p->conf.arg, line);
	cJSON_Delete(line);
}
