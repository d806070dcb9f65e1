/* Rescue's answers as facts. What went wrong stands in a word of the body, under status 200. */
#include "rescue_own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool rescue_is(const char *have, const char *word)
{
	return strcasecmp(have, word) == 0;
}

static bool is_id(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n < 24 && text[strspn(text, "0123456789")] == '\0';
}

/* ---- accounts ---- */

/* Of getUser_v3 or getHierarchy_v2; NULL: that is no person with an id. */
static cJSON *account_of(const cJSON *record)
{
	static const struct {
		const char *own, *key;
	} texts[] = {
		{"node", "NODEID"},   {"parent", "PARENTID"}, {"type", "TYPE"},
		{"status", "STATUS"}, {"name", "NAME"},	      {"nick", "NICK"},
		{"email", "EMAIL"},   {"ssoid", "SSOID"},     {"description", "DESCRIPTION"},
	};
	cJSON *account;

	if (!is_id(rescue_field(record, "NODEID")))
		return NULL;
	account = cJSON_CreateObject();
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const char *value = json_text(record, texts[i].key);

		if (value)
			cJSON_AddStringToObject(account, texts[i].own, value);
	}
	cJSON_AddBoolToObject(account, "mobile",
			      rescue_is(rescue_field(record, "HASMOBILEADDON"), "True"));
	cJSON_AddBoolToObject(account, "rpat",
			      rescue_is(rescue_field(record, "HASRPATADDON"), "True"));
	return account;
}

static bool is_technician(const cJSON *account)
{
	return rescue_is(rescue_field(account, "type"), "Technician");
}

static bool is_blank(const cJSON *account)
{
	return is_technician(account) && !*rescue_field(account, "email");
}

/* json is taken over. */
static void fill_account(struct target_account *to, cJSON *json)
{
	to->rid = mem_dup(rescue_field(json, "node"));
	to->json = json;
	to->enabled = !rescue_is(rescue_field(json, "status"), "Disabled");
	to->privileged = !is_technician(json);
	to->blank = is_blank(json);
}

static void add_account(struct target_answer *a, cJSON *json)
{
	struct target_account *to = target_answer_add(a);

	if (to)
		fill_account(to, json);
	else
		cJSON_Delete(json);
}

static const cJSON *record_of_node(const struct rescue_body *b, const char *node)
{
	const cJSON *record;

	cJSON_ArrayForEach (record, b->records) {
		if (strcmp(rescue_field(record, "NODEID"), node) == 0)
			return record;
	}
	return NULL;
}

/* ---- reads, in parts ---- */

static void keep(struct target_op *op, const char *name, cJSON *value)
{
	cJSON_Delete(op->body);
	op->body = cJSON_CreateObject();
	cJSON_AddItemToObject(op->body, name, value);
}

static void odd(struct target_answer *a)
{
	buf_clear(&a->code);
	buf_adds(&a->code, "ODD");
}

/* The parent stands in the hierarchy alone. */
static void answer_parent(struct target_op *op, const struct rescue_body *b,
			  struct target_answer *a)
{
	cJSON *user = cJSON_DetachItemFromObjectCaseSensitive(op->body, "user");
	const cJSON *record = record_of_node(b, rescue_field(user, "node"));

	if (!record) {
		odd(a);
		cJSON_Delete(user);
		return;
	}
	cJSON_AddStringToObject(user, "parent", rescue_field(record, "PARENTID"));
	add_account(a, user);
}

static void answer_blanks(const struct target_op *op, const struct rescue_body *b,
			  struct target_answer *a)
{
	const char *parent = json_text(op->body, "blanks");
	const cJSON *record;

	cJSON_ArrayForEach (record, b->records) {
		cJSON *account = strcmp(rescue_field(record, "PARENTID"), parent) == 0
					 ? account_of(record)
					 : NULL;

		if (account && is_blank(account))
			add_account(a, account);
		else
			cJSON_Delete(account);
	}
}

/* A look-up by address finds administrators too. They are nobody's technician, and their address is taken. */
static void answer_user(struct target_op *op, const struct rescue_body *b, struct target_answer *a)
{
	cJSON *user = account_of(b->records->child);

	if (!user ||
	    (op->kind == TARGET_READ && strcmp(rescue_field(user, "node"), op->rid) != 0)) {
		cJSON_Delete(user);
		odd(a);
	} else if (op->kind == TARGET_FIND && !is_technician(user)) {
		buf_clear(&a->code);
		buf_adds(&a->code, "EMAIL_OF_ADMINISTRATOR");
		buf_addf(&a->detail, "node %s, %s", rescue_field(user, "node"),
			 rescue_field(user, "type"));
		cJSON_Delete(user);
	} else {
		cJSON_DeleteItemFromObjectCaseSensitive(user, "parent");
		keep(op, "user", user);
		a->more = true;
	}
}

static void answer_look(struct target_op *op, const struct rescue_body *b, struct target_answer *a)
{
	if (json_object(op->body, "user"))
		answer_parent(op, b, a);
	else if (json_text(op->body, "blanks"))
		answer_blanks(op, b, a);
	else
		answer_user(op, b, a);
}

/* Nobody has that address: unless a creation may have left a node without one. */
static void answer_nobody(struct target_op *op, struct target_answer *a)
{
	const char *parent = json_text(op->unfinished, "parent");

	buf_clear(&a->code);
	buf_clear(&a->detail);
	if (!parent || !json_object(op->unfinished, "as"))
		return;
	keep(op, "blanks", cJSON_CreateString(parent));
	a->more = true;
}

/* ---- all answers ---- */

static void answer_created(const struct target_op *op, const struct rescue_body *b,
			   struct target_answer *a)
{
	const char *id = *b->id ? b->id : rescue_field(b->records->child, "NODEID");
	cJSON *account;

	if (!is_id(id))
		return; /* created, and no word under which id: the core looks for it */
	account = cJSON_CreateObject();
	cJSON_AddStringToObject(account, "node", id);
	cJSON_AddStringToObject(account, "parent", rescue_field(op->body, "parent"));
	cJSON_AddStringToObject(account, "type", "Technician");
	cJSON_AddStringToObject(account, "status", "Disabled");
	add_account(a, account);
}

static bool is_seat_word(const struct target *t, const struct target_op *op, const char *word)
{
	bool wants = op->kind == TARGET_UPDATE && op->enabled == TARGET_ENABLE;

	return wants && *t->seat_word && strcmp(t->seat_word, word) == 0;
}

static void take_word(const struct target *t, const struct target_op *op,
		      const struct rescue_body *b, struct target_answer *a)
{
	if (strcmp(b->word.p, "OK") == 0)
		return;
	bool seat = is_seat_word(t, op, b->word.p);

	buf_adds(&a->code, seat ? "NO_SEAT" : b->word.p);
	if (seat)
		buf_adds(&a->field, RESCUE_SEAT);
	buf_addf(&a->detail, "%s: %s", rescue_method(op), b->word.p);
	if (op->rid && *op->rid)
		buf_addf(&a->detail, ", node %s", op->rid);
}

void rescue_answers(struct target *t, struct target_op *const *ops, size_t n,
		    const struct http_response *r, struct target_answer *answers)
{
	struct target_op *op = ops[0];
	struct target_answer *a = &answers[0];
	struct rescue_body b;
	bool look = op->kind == TARGET_FIND || op->kind == TARGET_READ;

	for (size_t i = 1; i < n; i++)
		answers[i].status = 0; /* requests are never shared */
	a->status = (int)r->status;
	if (r->status < 200 || r->status > 299)
		return;
	rescue_body_read(r->body, &b);
	take_word(t, op, &b, a);
	if (a->code.n == 0 && look)
		answer_look(op, &b, a);
	else if (a->code.n == 0 && op->kind == TARGET_CREATE)
		answer_created(op, &b, a);
	else if (op->kind == TARGET_FIND && !op->body &&
		 (slice_is(buf_slice(&a->code), "INVALIDPARAM_EMAIL") ||
		  slice_is(buf_slice(&a->code), "INVALIDPARAM_NODE")))
		answer_nobody(op, a);
	rescue_body_done(&b);
}

/* ---- all technicians: one answer, there are no pages ---- */

int rescue_list(struct target *t, const char *next, struct target_request *ret)
{
	(void)next;
	rescue_hierarchy(t, NULL, ret);
	return 0;
}

int rescue_listed(struct target *t, const struct http_response *r,
		  void (*take)(void *arg, const struct target_account *account), void *arg,
		  char **ret_next)
{
	struct rescue_body b;
	const cJSON *record;
	int rc = -EPROTO;

	(void)t;
	*ret_next = NULL;
	rescue_body_read(r->body, &b);
	if (strcmp(b.word.p, "OK") == 0 && b.records->child)
		rc = 0;
	cJSON_ArrayForEach (record, b.records) {
		struct target_account account = {0};
		cJSON *json = account_of(record);

		if (rc == 0 && json && is_technician(json)) {
			fill_account(&account, json);
			take(arg, &account);
			target_account_done(&account);
		} else {
			cJSON_Delete(json);
		}
	}
	rescue_body_done(&b);
	return rc;
}
