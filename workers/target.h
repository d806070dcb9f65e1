/* The contract between a target driver (target_scim, target_graph, …) and the workers' core. To add a driver, fill a
 * struct target_driver and name it in target_drivers[] (targets.c).
 *
 * A driver knows one vendor's API: which request carries which operation, and what stands in an answer. It never judges an
 * HTTP status (it lends the core a table of its vendor's words), never fetches a token, sleeps, retries, or keeps anything
 * about a user between calls. Its struct target holds what it read from the configuration and what it learned of the service
 * (bulk supported, page sizes). Everything happens on the loop's thread; nothing here blocks.
 *
 * The life of one task, as the core drives it (D: driver):
 *
 *	mapping → desired document, fingerprint; equal to the applied one → DONE, no request
 *	link known ── verify or no fingerprint? ──► READ (D.request, D.answers) ──► D.plan(account)
 *	    └──────── else ───────────────────────────────────────────────────────► D.plan(account NULL)
 *	no link ──► NOTE creating ──► FIND by each join rule (D.request, D.answers)
 *	    ├─ one hit ──► NOTE claim ──► D.plan(account)
 *	    └─ none ──► D.plan(create)
 *	each operation of the plan in turn: permit? intent NOTEd? ──► D.request, D.answers ──► verdict ──► next
 *
 * One user has at most one operation in flight, so any operations that the core hands to request() together are about
 * different users. */
#ifndef DIRPIPE_TARGET_H
#define DIRPIPE_TARGET_H

#include "conf.h"
#include "http.h"
#include "json.h"
#include "licence.h"
#include "oauth.h"
#include "snapshot.h"
#include "verdict.h"
#include "wire.h"

struct target; /* the driver's own */

enum target_kind {
	TARGET_FIND, /* accounts whose remote field `key.field` is `key.value` */
	TARGET_READ, /* the account `rid` */
	TARGET_CREATE, /* from `set`, `enabled`; the core adds the first join rule's key when it is not mapped */
	TARGET_UPDATE, /* `set`, `clear` and `enabled` of the account `rid`, in one request */
	TARGET_DELETE, /* the account `rid` */
	TARGET_STEP, /* the driver's own, told apart by `name` and `what`: "manager", "restore", "licence_revoke" */
	TARGET_KINDS
};

enum target_switch { TARGET_KEEP, TARGET_ENABLE, TARGET_DISABLE };

struct target_key {
	const char *field; /* remote field as in join.remote */
	const char *value;
};

/* One thing to be done about one user. Made by the driver's plan (or by the core: FIND, READ), owned by the core. */
struct target_op {
	struct target_op *next;
	enum target_kind kind;
	const char *name; /* static text for logs, metrics and RESULT.ops */
	/* STEP, DELETE: needs this permit ("delete", "licence_revoke"); NULL: not destructive */
	const char *permit;
	char *what;  /* tells two of one permit or STEP apart (a sku); NULL: "" */
	bool intent; /* `remember` is NOTEd before the request, because it cannot be re-derived */
	bool serial; /* the service bears it for one user at a time, all workers together: needs WIRE_SERIAL too */
	int64_t again_ms; /* go_on: once refused, look again after so long; 0: no need */
	bool go_on; /* a refusal of this one (PARK, REJECT) does not stop the others: it is told when they are done */
	cJSON *set;   /* path → value, not null (paths as in the mapping) */
	cJSON *clear; /* path → null. The core takes it away when a mass clearing has no permit */
	enum target_switch enabled; /* the core sets KEEP when a disable has no permit */
	cJSON *body; /* what the driver wants to send, or has got so far (`more`); it alone reads it */
	/* Merged and NOTEd before the request: what may be so when its outcome stays unknown. `remember` then says what is. */
	cJSON *before;
	cJSON *remember; /* merged into the link's memory (null removes) when the operation is done */
	/* Put before target_answer.audit in the provisioning log when the operation is done: "sku=… reasons=…"; or NULL. No
	 * personal data. */
	char *audit;
	/* Filled by the core before request(): */
	struct target_key key; /* FIND */
	/* FIND: the driver's memory of a link whose creation may have happened: an account that it left `blank` is a hit too
	 * when none bears the key. NULL: there is no such creation. */
	const cJSON *unfinished;
	const char *rid;      /* all but FIND and CREATE; "" never */
	const char *revision; /* of the account as last read (If-Match), or NULL */
	const char *user;     /* the user's id as text: unique within a request, for batch ids */
};

/* What is known of a remote account, as facts. Owned by whoever holds it. */
struct target_account {
	char *rid;	/* never NULL */
	char *revision; /* ETag, meta.version; or NULL */
	cJSON *json;	/* as the service sent it */
	bool enabled;
	bool deleted;	 /* in the service's waste-basket: plan may restore it */
	bool privileged; /* holds a privileged role: never joined by a soft rule */
	/* A creation in several steps was cut short: nothing in it says whose it is. Whoever claims it first gets it. */
	bool blank;
};
void target_account_done(struct target_account *a);

/* The link as the broker knows it. memory is the driver's own JSON object (what `remember` left there), never NULL. */
struct target_link {
	const char *rid; /* "" = none */
	enum link_state state;
	const cJSON *memory;
};

/* A reference of the user (manager → the manager's account). rid "": the other has no account yet; the core owes it. */
struct target_ref {
	const char *name;
	const char *rid;
};

/* All that a plan may look at. plan is pure: same input, same plan, no request, no clock. */
struct target_want {
	const cJSON *document; /* path → value; null or [] = shall be empty */
	bool enabled;	       /* the account shall be usable */
	bool leave_delete; /* the user left, and the account shall go now: plan a DELETE, nothing else */
	bool left; /* the user left the scope; document is {} then: only enabled and leave_delete count */
	/* There is no account: the plan has a CREATE, and before it only STEPs that look something up. */
	bool create;
	const struct target_ref *refs;
	size_t refs_n;
	const struct snapshot *snapshot;
	const struct target_link *link;
	/* NULL: not read; then plan everything that the document says */
	const struct target_account *account;
	/* With account NULL: the document is, field by field, what was applied last; only the rest can differ (switch, references,
	 * groups, licences). */
	bool document_applied;
	int64_t now_unix_ms;
	const struct licence_verdict *licence; /* never NULL */
	const char *const *no_seat;	       /* see target_no_seat; NULL at the end */
};
/* Others wait for a seat of this sku and came before: do not ask for one, park with `no_seat`, waits "seat:SKU". */
bool target_no_seat(const struct target_want *want, const char *sku);

struct target_plan {
	struct target_op *first, **end; /* in the order of doing */
	int64_t look_again_unix_ms;	/* 0: no need */
	/* Static reason: nothing can be done now ("mandatory_missing"); the operations are ignored. */
	const char *parked;
	struct buf parked_detail; /* names of fields, never values */
	bool parked_last;	  /* … but the operations are done first */
	struct buf waits;	  /* with parked: what is waited for, "seat:SKU"; empty: nothing */
	/* The account must be seen first (want->account was NULL): the core reads it and plans again. */
	bool read;
	/* Merged into the link's memory before the first operation, which may be none: what was found to be so already. */
	cJSON *remember;
};
void target_plan_init(struct target_plan *p);
void target_plan_done(struct target_plan *p);
struct target_op *target_plan_add(struct target_plan *p, enum target_kind kind, const char *name);
void target_op_free(struct target_op *op);

void target_plan_drop(struct target_plan *p, struct target_op *op); /* takes it out and frees it */

/* Fields that differ: into op->set and op->clear. account NULL: every field. same may be NULL: JSON equality. Paths are read
 * from account with mapping_get. Returns the number of differing fields. */
typedef bool (*target_same_fn)(const char *path, const cJSON *desired, const cJSON *remote);
size_t target_diff(const cJSON *document, const cJSON *account, target_same_fn same,
		   struct target_op *op);
/* For CREATE: every field with a value into op->set. */
void target_fill(const cJSON *document, struct target_op *op);

/* One HTTP request being built. Cleared by the core before request(), buffers reused. */
struct target_request {
	enum http_method method;
	struct buf url; /* absolute, on the configured host */
	struct buf body;
	const char *content_type; /* static; NULL: none */
	const char *accept;	  /* static; NULL: none */
	struct buf header_text;	  /* by target_request_header alone */
	size_t header_n;
};
/* A further header; CR, LF and NUL in the value are refused with -EINVAL and nothing is added. */
int target_request_header(struct target_request *r, const char *name,
			  struct slice value) MUST_CHECK;

/* What the answer says about one operation, as facts. Zeroed by the core; what is set here is owned by the core. */
struct target_answer {
	int status; /* of this operation; 0: the batch's answer does not mention it (not done) */
	/* The vendor's code word(s) as the driver's rows spell them, "Request_BadRequest/ObjectConflict". */
	struct buf code;
	struct buf detail;	/* the vendor's own sentence; the core redacts it */
	struct buf field;	/* EXISTS, REJECT: path of the field that the vendor names */
	struct buf request_id;	/* the vendor's id of the request */
	struct buf retry_after; /* of this operation in a batch, as it came */
	bool not_json;		/* a 2xx that should carry JSON and did not */
	struct buf audit; /* figures for the provisioning log, "used=7/10"; no personal data */
	/* FIND, READ: the account needs a further request; op->body holds what came so far, request() is called again. */
	bool more;
	/* FIND: the hits, as many as the service sent; READ, CREATE, UPDATE: 0 or 1. By target_answer_add. */
	struct target_account *accounts;
	size_t accounts_n;
};
#define TARGET_LANE_SERIAL (1u << 31)
enum { TARGET_HITS = 10, TARGET_BATCH_MAX = 200, TARGET_PARTS = 4 };
/* A zeroed place; NULL past TARGET_HITS. */
struct target_account *target_answer_add(struct target_answer *a);
void target_answer_done(struct target_answer *a); /* frees what it holds */

struct target_driver {
	const char *name; /* conf: driver */
	/* Part of the fingerprint: raise it when the same document must be written anew. */
	const char *version;
	const char *request_id_header; /* gets a fresh UUID on each request; NULL: none */
	const char *const *refs; /* names of references it can write, NULL at the end; NULL: none */
	const struct verdict_row *rows; /* the vendor's words, see verdict.h */
	/* OAuth: the scope where none is configured; the member of the token's answer that says where the API is, and the
	 * vendor's own domains (".vendor.com", NULL at the end) where it may be; what refusals mean. All may be NULL. */
	const char *token_scope, *token_base;
	const char *const *token_domains;
	const struct oauth_hint *token_hints;
	bool reads_are_free; /* conf: pace.writes counts no reads (the vendor has another budget for them) */
	int64_t settle_ms; /* after a create of unknown outcome: how long until a look-up can be believed */
	bool disable_frees; /* who is disabled gives back a seat that others may wait for */
	/* The credential goes into this field of every (form) body; NULL: Authorization: Bearer. */
	const char *credential_field;
	const struct oauth_login *login; /* method `login`; NULL: the service has none */

	/* conf: the target's section; it outlives the target. NULL with why ("FILE:LINE:COLUMN: …" by conf_where). */
	struct target *(*create)(const struct conf_node *conf, struct buf *why);
	void (*destroy)(struct target *t);
	/* Where tokens come from, e.g. LOGIN_URL/TENANT/oauth2/v2.0/token; false: conf login_url as it stands. */
	bool (*token_url)(const struct target *t, struct buf *out);

	/* The API is at this origin by the token's word, which was checked. NULL where token_base is. */
	void (*moved)(struct target *t, const char *base);
	/* So long (ms) the service shall be left alone by what its answers told of its budget, as of the last answers();
	 * 0: not at all. *ret_reason: static. May be NULL. */
	int64_t (*rest)(const struct target *t, const char **ret_reason);

	/* Test of the connection and discovery, before READY and for `--check`: request number `step` from 0; false: no more.
	 * checked() reads the answer (any status), learns from it and writes one line for people into `text`; false: failed.
	 * The core has judged transport, 401 and throttling before. */
	bool (*check)(struct target *t, size_t step, struct target_request *ret,
		      const char **ret_title);
	bool (*checked)(struct target *t, size_t step, const struct http_response *response,
			struct buf *text);

	/* Does the service itself refuse a second account with the same value of this remote field? Then a creation may
	 * POST without the look-up. Only what a test has shown. */
	bool (*refuses_second)(const struct target *t, const char *field);
	/* Are these two values of a join field one and the same to the service (case, spaces)? The core checks every hit
	 * itself, because services ignore filters. account: target_account.json. */
	bool (*matches)(const struct target *t, const cJSON *account, const struct target_key *key);
	/* See struct target_want; ret is initialised. Returns 0, or -EINVAL with ret->parked_detail: this document can never
	 * be written (REJECTED mapping_invalid). */
	int (*plan)(const struct target *t, const struct target_want *want,
		    struct target_plan *ret);

	/* With TARGET_LANE_SERIAL: no request begins while one of this lane, or of that which differs in the lowest bit, is on its
	 * way (a group whose members services change one after the other at best).
	 * Operations of one lane may share a request, at most *ret_most of them (1: never shared). An operation that must go
	 * alone (unknown outcome, split) comes alone, whatever its lane. */
	unsigned (*lane)(const struct target *t, const struct target_op *op, size_t *ret_most);
	/* One request that carries ops[0..n). n = 1: the plain request, unless the API has none. 0, or -EINVAL: this (n = 1)
	 * cannot be expressed. With n > 1 it must succeed or return -E2BIG (body too large): the core halves. */
	int (*request)(struct target *t, struct target_op *const *ops, size_t n,
		       struct target_request *ret);
	/* The answer to that request (answered, any status) taken apart: answers[i] belongs to ops[i], found by batch id,
	 * never by place. When the whole was refused, each gets the outer status, code and detail. */
	void (*answers)(struct target *t, struct target_op *const *ops, size_t n,
			const struct http_response *response, struct target_answer *answers);
	/* A row said DOWNGRADE: stop using that means (bulk, PATCH). False: there is no other way (REJECTED). */
	bool (*downgrade)(struct target *t, const struct target_op *op,
			  const struct target_answer *answer);

	/* Remote accounts page by page, for drift: next NULL = the first page. listed() gives each account to take() (borrowed)
	 * and sets *ret_next (owned by the caller; NULL: the end). -EPROTO: the answer is no page. The core refuses a next page
	 * on another host and one that it has already had. */
	int (*list)(struct target *t, const char *next, struct target_request *ret);
	int (*listed)(struct target *t, const struct http_response *response,
		      void (*take)(void *arg, const struct target_account *account), void *arg,
		      char **ret_next);
};

extern const struct target_driver target_graph, target_incidentiq, target_rescue, target_salesforce,
	target_scim;
const struct target_driver *target_driver_named(const char *name); /* NULL: none */

#endif
