/* A target driver in a unit test: made from a piece of configuration, asked for plans and requests as text, fed with answers. */
#ifndef DIRPIPE_TARGET_FIXTURE_H
#define DIRPIPE_TARGET_FIXTURE_H

#include "unit.h"

#include "mapping.h"
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench {
	const struct target_driver *driver;
	struct target *target;
	struct conf *conf;
	char folder[64];
	struct target_request request;
};

static inline void bench_write(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* yaml: the target's section, its lines indented by four. NULL target with the errors in why. */
static inline void bench_open(struct bench *b, const struct target_driver *driver, const char *yaml,
			      struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf text = {0}, errors = {0}, path = {0}, token = {0};

	memset(b, 0, sizeof(*b));
	snprintf(b->folder, sizeof(b->folder), "/tmp/test_target.XXXXXX");
	assert_non_null(mkdtemp(b->folder));
	buf_addf(&path, "%s/c.yaml", b->folder);
	buf_addf(&token, "%s/secret", b->folder);
	bench_write(token.p, "secret", 0600);
	buf_addf(&text, "targets:\n  t:\n    driver: %s\n", driver->name);
	if (strcmp(driver->name, "graph") == 0)
		buf_addf(&text,
			 "    auth: {method: client_secret, client_id: app, client_secret: !file "
			 "%s}\n",
			 token.p);
	else
		buf_addf(&text, "    auth: {method: bearer, token: !file %s}\n", token.p);
	buf_adds(&text, yaml);
	buf_addf(&text,
		 "sources:\n  corp:\n    driver: poll\n    uris: [ldaps://a.example]\n"
		 "    base_dn: dc=a\n    bind: {dn: cn=a, password: !file %s}\n"
		 "    users: {attributes: [mail]}\n    routes: [{target: t}]\n"
		 "    groups: [{name: a, dn: cn=a}, {name: b, dn: cn=b}, {name: c, dn: cn=c}]\n",
		 token.p);
	bench_write(path.p, text.p, 0600);
	b->conf = conf_load(path.p, &errors);
	if (!b->conf)
		fail_msg("%s", errors.p);
	b->driver = driver;
	b->target = driver->create(conf_named(conf_root(b->conf), "targets", "t"), why);
}

static inline void request_clear(struct target_request *r)
{
	buf_done(&r->url);
	buf_done(&r->body);
	buf_done(&r->header_text);
	*r = (struct target_request){0};
}

static inline void bench_close(struct bench *b)
{
	CLEANUP(buf_cleanup) struct buf path = {0};

	b->driver->destroy(b->target);
	conf_free(b->conf);
	request_clear(&b->request);
	buf_addf(&path, "%s/c.yaml", b->folder);
	unlink(path.p);
	buf_clear(&path);
	buf_addf(&path, "%s/secret", b->folder);
	unlink(path.p);
	rmdir(b->folder);
}

static inline cJSON *parsed(const char *text)
{
	const char *why = NULL;
	cJSON *json = json_parse(slice_of(text), &why);

	if (!json)
		fail_msg("%s in %s", why, text);
	return json;
}

/* ---- plans ---- */

struct given {
	const char *document;
	const char *account;  /* NULL: not read */
	const char *memory;   /* NULL: {} */
	const char *manager;  /* rid; NULL: none */
	const char *snapshot; /* NULL: none */
	enum link_state link;
	bool enabled, create, left, leave_delete;
	bool account_disabled, account_deleted, account_blank;
	bool document_applied;
	const char *groups
		[4]; /* remote groups that the user shall be in; "-" first: in none; NULL: nothing is said */
	int64_t now;
};

static inline void add_json(struct buf *out, const char *name, const cJSON *value)
{
	if (!value)
		return;
	buf_addf(out, " %s=", name);
	json_canonical(value, out);
}

/* "update set={…} clear={…} enable; manager body=…" or "parked REASON DETAIL" or "invalid DETAIL". */
static inline void plan_text(const struct target_plan *p, int rc, struct buf *out)
{
	static const char *const switches[] = {"", " enable", " disable"};

	if (rc < 0)
		buf_addf(out, "invalid %s", p->parked_detail.p);
	else if (p->parked)
		buf_addf(out, "parked %s %s", p->parked, p->parked_detail.p);
	else if (p->read)
		buf_adds(out, "read");
	for (const struct target_op *op = p->first; rc == 0 && (!p->parked || p->parked_last) && op;
	     op = op->next) {
		buf_addf(out, "%s%s", out->n ? "; " : "", op->name);
		if (op->what && *op->what)
			buf_addf(out, " %s", op->what);
		add_json(out, "set", op->set);
		add_json(out, "clear", op->clear);
		add_json(out, "body", op->body);
		add_json(out, "remember", op->remember);
		buf_adds(out, switches[op->enabled]);
		if (op->permit)
			buf_addf(out, " permit=%s", op->permit);
	}
	add_json(out, "remember", p->remember);
	if (out->n == 0)
		buf_adds(out, "nothing");
}

static inline void bench_plan(struct bench *b, const struct given *g, struct target_plan *plan,
			      int *ret_rc)
{
	cJSON *document = parsed(g->document ? g->document : "{}");
	cJSON *memory = parsed(g->memory ? g->memory : "{}");
	struct target_account account = {.enabled = !g->account_disabled,
					 .deleted = g->account_deleted,
					 .blank = g->account_blank};
	struct snapshot *snapshot =
		g->snapshot ? snapshot_parse(slice_of(g->snapshot), NULL) : NULL;
	struct target_link link = {"r1", g->link, memory};
	struct target_ref ref = {"manager", g->manager};
	struct licence_item items[4];
	struct licence_verdict licence = {.memory = memory, .groups = items};
	struct target_want want = {.licence = &licence,
				   .document = document,
				   .enabled = g->enabled,
				   .leave_delete = g->leave_delete,
				   .left = g->left,
				   .create = g->create,
				   .refs = &ref,
				   .refs_n = g->manager ? 1 : 0,
				   .link = &link,
				   .snapshot = snapshot,
				   .account = g->account ? &account : NULL,
				   .document_applied = g->document_applied,
				   .now_unix_ms = g->now};

	licence.groups_count = g->groups[0] != NULL;
	for (size_t i = 0; i < 4 && g->groups[i] && *g->groups[i] != '-'; i++)
		items[licence.groups_n++] = (struct licence_item){.remote = g->groups[i]};
	if (g->account) {
		account.json = parsed(g->account);
		account.rid = mem_dup("r1");
	}
	target_plan_init(plan);
	*ret_rc = b->driver->plan(b->target, &want, plan);
	target_account_done(&account);
	snapshot_free(snapshot);
	cJSON_Delete(document);
	cJSON_Delete(memory);
}

static inline void expect_plan(struct bench *b, const char *name, const struct given *g,
			       const char *expected)
{
	CLEANUP(buf_cleanup) struct buf first = {0}, second = {0};

	for (int i = 0; i < 2; i++) { /* pure: the same again */
		struct target_plan plan;
		int rc;

		bench_plan(b, g, &plan, &rc);
		plan_text(&plan, rc, i ? &second : &first);
		target_plan_done(&plan);
	}
	if (strcmp(first.p, expected) != 0)
		fail_msg("%s:\n got %s\nwant %s", name, first.p, expected);
	assert_string_equal(first.p, second.p);
}

/* ---- requests ---- */

/* "METHOD URL\nContent-Type\nheaders…\nbody" */
static inline void expect_request(struct bench *b, struct target_op *const *ops, size_t n,
				  const char *expected)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	const char *header;

	request_clear(&b->request);
	assert_int_equal(b->driver->request(b->target, ops, n, &b->request), 0);
	header = b->request.header_text.p;
	buf_addf(&text, "%s %s\n", http_method_name(b->request.method), b->request.url.p);
	for (size_t i = 0; i < b->request.header_n; i++, header += strlen(header) + 1)
		buf_addf(&text, "%s\n", header);
	if (b->request.content_type)
		buf_addf(&text, "%s\n", b->request.content_type);
	if (b->request.body.n)
		buf_adds(&text, b->request.body.p);
	if (strcmp(text.p, expected) != 0)
		fail_msg("\n got %s\nwant %s", text.p, expected);
}

/* ---- answers ---- */

static inline void answer_clear(struct target_answer *a)
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
	*a = (struct target_answer){0};
}

static inline const char *class_name(enum verdict_class class)
{
	static const char *const names[VERDICT_CLASSES] = {
		"ok",	 "gone", "exists", "stale",	"split", "downgrade",
		"retry", "park", "reject", "throttled", "auth",	 "down",
	};

	return names[class];
}

/* status, class and reason as the core judges, what else is told: "201 ok a1", "409 exists name_taken", … */
static inline void answer_text(struct bench *b, const struct target_op *op,
			       const struct target_answer *a, struct buf *out)
{
	struct verdict_facts f = {.kind = op->kind,
				  .failure = HTTP_ANSWERED,
				  .sent = true,
				  .status = a->status,
				  .code = buf_slice(&a->code),
				  .retry_after = buf_slice(&a->retry_after),
				  .not_json = a->not_json};
	struct verdict v = verdict_judge(&f, b->driver->rows, 0);

	buf_addf(out, "%d %s", a->status, class_name(v.class));
	if (v.reason)
		buf_addf(out, " %s", v.reason);
	if (v.after_ms)
		buf_addf(out, " after=%lld", (long long)v.after_ms);
	if (v.unknown_outcome)
		buf_adds(out, " unknown");
	if (a->field.n)
		buf_addf(out, " field=%s", a->field.p);
	for (size_t i = 0; i < a->accounts_n; i++)
		buf_addf(out, " %s%s%s", a->accounts[i].rid, a->accounts[i].enabled ? "" : "(off)",
			 a->accounts[i].deleted ? "(deleted)" : "");
}

struct said { /* by the service */
	int status;
	const char *headers, *body;
};

static inline void feed(struct bench *b, struct target_op *const *ops, size_t n,
			const struct said *said, struct target_answer *answers)
{
	struct http_response r = {.failure = HTTP_ANSWERED,
				  .sent = true,
				  .status = said->status,
				  .headers = slice_of(said->headers),
				  .body = slice_of(said->body)};

	memset(answers, 0, n * sizeof(*answers));
	b->driver->answers(b->target, ops, n, &r, answers);
}

/* The operations' answers, parted by "; ". */
static inline void expect_said(struct bench *b, struct target_op *const *ops, size_t n,
			       const struct said *said, const char *expected)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct target_answer answers[8];

	feed(b, ops, n, said, answers);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_adds(&text, "; ");
		answer_text(b, ops[i], &answers[i], &text);
		answer_clear(&answers[i]);
	}
	if (strcmp(text.p, expected) != 0)
		fail_msg("%d %s:\n got %s\nwant %s", said->status, said->body, text.p, expected);
}

#define expect_answers(b, ops, n, status, headers, body, expected)                                 \
	expect_said(b, ops, n, &(struct said){status, headers, body}, expected)

#endif
