/* The inside of a task, for task*.c alone. */
#ifndef DIRPIPE_TASK_OWN_H
#define DIRPIPE_TASK_OWN_H

#include "task.h"

#include <xxhash.h>

#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)XXH3_64bits((key), (n)))
#include <uthash.h>

enum task_note { NOTE_CREATING, NOTE_CLAIM, NOTE_PARTIAL }; /* WIRE_NOTE kind */

/* What happens when the broker has NOTEd. */
typedef void (*task_next_fn)(struct task *t);

struct task_permit {
	char *op, *what;
};

struct task {
	struct task_desk *desk;
	enum task_state state;
	struct task_lease lease;
	struct id user;
	char user_text[ID_TEXT];
	uint64_t version;
	int64_t now_unix_ms, started_ms, deadline_ms;
	bool verify;
	bool noted; /* `creating` is, by the page that carried the TASK; until it is taken up */
	struct fp applied;
	struct fp
		expect; /* an approved plan's hash: this and nothing else may be done; none: whatever is right */
	bool agreed;	       /* it is what will be done */
	struct buf agreed_ops; /* a struct fp for each operation of it */

	/* what is wanted */
	struct snapshot *snapshot;
	cJSON *document; /* {} for who left */
	struct fp wanted;
	bool left, enabled, leave_delete;
	struct target_ref *refs;
	struct id *ref_ids; /* of refs, whose accounts they are */
	size_t refs_n;
	struct buf owed;
	uint32_t owed_n;
	struct task_permit *permits;
	size_t permits_n;
	struct licence_verdict licence;
	const char **no_seat; /* points into permits; NULL at the end */

	/* what is known of the account */
	char *rid; /* never NULL */
	enum link_state link, came_as;
	cJSON *memory; /* the core's keys and "driver"; never NULL */
	struct target_account account;
	bool has_account, was_read; /* read: what a FIND shows may be less */
	struct target_account
		*blanks; /* unfinished ones that are still to be tried, the next one last */
	size_t blanks_n;

	/* what is being done */
	struct target_plan plan;
	struct exchange_job job;
	struct target_op own; /* FIND, READ */
	struct buf key;
	struct {
		struct buf field, value, detail; /* what the service called taken, and its words */
		struct buf holder;		 /* the account that has it */
		cJSON *set;			 /* the other name being written */
	} name;
	size_t rule;
	bool alone; /* look-ups after something unknown are never batched */
	task_next_fn after_note;
	enum task_note note;
	int64_t note_sent_ms;
	struct task_late {
		bool set;
		enum wire_verdict verdict;
		const char *reason;
		struct buf detail, waits;
	} late; /* the first refusal of an operation that did not stop the others */
	bool intent_noted, looked_again, gone_once, made;
	bool claimed;		     /* this task found the account */
	bool looked, looked_as_made; /* a FIND was sent; one by task_creating_key */
	unsigned rereads;

	/* what came of it */
	struct buf ops, wants, audit;
	uint32_t wants_n;
	unsigned requests, charged; /* charged: of these, what the vendor's budget counts */
	bool unknown;
	int status;
	char request_id[128];
	int64_t look_again_unix_ms;

	UT_hash_handle hh;
};

/* task.c */
void task_move(struct task *t, enum task_state to);
void task_note(struct task *t, enum task_note kind, task_next_fn next);
void task_read_paid(struct task *t,
		    const struct exchange_job *job); /* a FIND or READ was answered */
void task_submit(struct task *t, struct target_op *op, bool alone, exchange_fn fn);
struct task_end {
	enum wire_verdict verdict;
	const char *reason;
	struct slice detail; /* raw: redacted here */
	int64_t after_ms;
	const char *waits;
};
void task_finish(struct task *t, const struct task_end *end); /* t is gone after it */
void task_done(struct task *t);				      /* DONE; t is gone */
void task_drop(struct task *t);				      /* without a word; t is gone */
/* What the exchange said is told when the other operations are done. */
void task_fail_later(struct task *t, const struct exchange_outcome *o);
void task_finish_late(struct task *t); /* t is gone after it */
/* Ends t by what the exchange said about an operation (no OK, GONE, EXISTS or STALE). */
void task_fail(struct task *t, const struct exchange_outcome *o);

/* task_plan.c */
void task_decide(struct task *t);
/* Plans once more as if nobody that the user refers to had an account yet: they are owed. False: so it was already. */
bool task_plan_owing(struct task *t);
void task_plan(struct task *t); /* with what is known of the account; create when there is none */
void task_park_by_plan(struct task *t); /* t is gone after it */

/* task_show.c */
/* True: go on and do it. False: it was shown, or is not what was approved; t is gone. alone: what happens without any
 * operation ("link", "unlink"), or NULL. */
bool task_agree(struct task *t, const char *alone);
/* Accounts are read before anything is planned: a plan is being made, or one is being kept to. */
bool task_careful(const struct task *t);

/* task_find.c */
void task_create_begin(struct task *t,
		       bool alone); /* no account is known: NOTE creating, look up, create */
/* The claim was refused. False: there is no further blank account to claim; else it is under way. */
bool task_claim_next(struct task *t);
void task_none_found(struct task *t);
/* The account that the service names; false: its id cannot be kept. */
bool task_rid_fits(const struct target_account *a);
void task_find_from(struct task *t, size_t rule, bool alone);
void task_read(struct task *t);

/* task_apply.c */
void task_apply_next(struct task *t);

void task_did(struct task *t, const char *name); /* for the result's ops */

/* task_name.c */
void task_name_said(struct task *t,
		    const struct target_answer *a); /* the service called a name taken */
void task_name_taken(
	struct
	task *t); /* looks for its holder, gives the own one up if asked to, parks; t is gone or at work */
bool task_gives_way(const struct task *t); /* left, and the broker asks for the name */
void task_plan_giving_way(struct task *t);
void task_name_done(struct task *t);

/* task_link.c */
bool task_permitted(const struct task *t, const char *op, const char *what);
void task_want(struct task *t, const char *op, const char *what);
int64_t task_memory_ms(const struct task *t, const char *key);	    /* 0: absent */
void task_remember_ms(struct task *t, const char *key, int64_t ms); /* 0: forget */
void task_remember(struct task *t, const cJSON *driver_part);	    /* merge; null removes */
/* A creation begins with this value of the first rule's key. Its outcome may stay unknown, and by then the directory may have
 * renamed the user, or forgotten who left: the account is looked for by what it was made with. */
void task_creating(struct task *t, const char *key);
const char *task_creating_key(const struct task *t); /* NULL: none */
void task_creating_over(struct task *t);
const cJSON *task_driver_memory(struct task *t);
/* Fields that had a value when the document was last applied whole. known: the mask fits today's mapping. */
void task_fields_store(struct task *t);
void task_fields_forget(struct task *t);
bool task_fields_known(const struct task *t);
bool task_document_applied(const struct task *t); /* today's document is that one */
bool task_field_was_set(const struct task *t, const char *path);

#endif
