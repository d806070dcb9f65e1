/* What the store's files share; nobody else includes it.
 *
 *	store_redis.c  connection -> checks -> take-over -> rewrite -> load -> ready, renewal
 *	store_names.c  keys, fields, Functions
 *	store_write.c  pages under way
 *	store_page.c   effects -> commands of one page, its answer -> tasks
 *	store_fold.c   the page's users and indexes, a command for each
 *	store_args.c   words of commands
 *	store_holder.c who is active, and whether it still lives
 *	store_load.c   the realm's rows -> engine
 *	store_read.c   what WELCOME and people read
 *	store_peek.c   what a plan reads: tasks that nobody is given, and who a text means */
#ifndef DIRPIPE_STORE_REDIS_H
#define DIRPIPE_STORE_REDIS_H

#include "store.h"
#include "store_rows.h"

enum { STORE_FORMAT = 1, STORE_LOG_MOST = 100000, STORE_ERRORS_MOST = 10000 };

extern const char store_lua[];
extern const size_t store_lua_n;
extern const char store_lua_id[];

/* Names of one target's keys and of its fields in user:ID. */
struct store_target {
	const char *name;
	char *live, *bulk, *retry, *cal, *flight, *stuck, *held, *guard, *rid, *pause, *conf,
		*waiters, *errors;
	char *entry, *link, *applied, *error, *cause;
};
struct store_source {
	const char *name;
	char *cursor, *guard;
};

struct store_write; /* one page under way */
struct store_load;  /* the load under way */

struct store {
	struct loop *loop;
	struct store_conf conf;
	struct store_host host;
	struct redis *redis;
	enum store_state state;
	struct buf why;
	uint64_t turn; /* answers to calls of an earlier turn are dropped */

	char *prefix, *user; /* "{dp:REALM}:", "{dp:REALM}:user:" */
	char *key_active, *key_epoch, *key_page, *key_log;
	struct store_target *targets;
	struct store_source *sources;
	char me[96];		/* in `active` */
	struct buf gone_holder; /* of `active`, a process that is known to be dead */

	struct wire_epoch epoch;
	char fence[48]; /* "NUMBER NONCE " */
	uint64_t page;	/* number of the next page */
	uint64_t reported,
		before;	  /* highest epoch that a peer saw; what was stored when we took over */
	bool saw_between; /* a peer saw an epoch that the store had forgotten */
	bool lost_tail, emptied, settled;
	char run_id[48], stored_run_id[48];
	bool rewrite_again; /* one was under way when we asked */
	int64_t clock_off_ms;

	struct loop_timer *retry, *renew;
	int64_t backoff_ms;
	struct store_write *first, **last;
	size_t under_way;
	int64_t roundtrip_ms;
	uint64_t quarantined;
	struct store_load *load;
};

/* One call whose answer is only for this turn of the connection's life. */
typedef void (*store_step_fn)(struct store *s, enum redis_class class, const redisReply *reply);
void store_step(struct store *s, const struct slice *argv, size_t argc, store_step_fn fn);
/* Name of a Function of this version, in a static ring. */
struct slice store_function(const char *name);
/* Leaves READY or LOADING: all under way has failed; tries again after a backoff. */
void store_fail(struct store *s, enum store_state state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* True when the answer is good; otherwise the store has failed with the server's words. */
bool store_good(struct store *s, const char *what, enum redis_class class, const redisReply *reply);
/* Fails the store: an answer that is no error, but not what its command answers either. */
void store_unreadable(struct store *s, const char *what);
struct slice store_text(const redisReply *reply); /* string or status; else empty with p NULL */
/* store_names.c */
void store_names_new(struct store *s);
void store_names_free(struct store *s);
char *store_key(const struct store *s, const char *kind, const char *name); /* owned */

/* store_write.c: the pages under way are the host's again. */
void store_forget_writes(struct store *s);

/* store_page.c */
struct store_args {
	struct buf bytes;
	struct store_arg {
		const char *p; /* NULL: at `at` in bytes */
		size_t at, n;
	} * args;
	size_t n, cap;
};
void store_page_args(struct store *s, const struct queue_page *page, struct store_args *out);
struct slice *store_args_slices(const struct store_args *a); /* owned by the caller */
void store_args_done(struct store_args *a);
/* store_args.c: words of a command; a slice or text is borrowed until the command is sent. What is appended to a->bytes between
 * args_mark and args_record is one word. words: of the whole command, its name and key included. */
void args_slice(struct store_args *a, struct slice s);
void args_text(struct store_args *a, const char *s);
void args_bytes(struct store_args *a, const void *p, size_t n);
void args_number(struct store_args *a, int64_t value);
void args_id(struct store_args *a, const struct id *value);
size_t args_mark(const struct store_args *a);
void args_record(struct store_args *a, size_t at);
void args_command(struct store_args *a, int words, const char *name, const char *key);
/* before: the key's beginning; NULL: that of users. */
void args_user_key(struct store *s, struct store_args *a, const char *before,
		   const struct id *user);
/* store_fold.c: the page's users, links and indexes. */
void store_fold(struct store *s, const struct queue_page *page, struct store_args *out);
size_t store_page_dispatches(const struct queue_page *page);
/* tasks_n tasks that borrow from the reply, or -EBADMSG. A task whose user record is broken has an empty source. */
int store_page_tasks(struct store *s, const struct queue_page *page, const redisReply *reply,
		     struct store_task *tasks, size_t tasks_n) MUST_CHECK;
/* One of them: what FETCH (or peek) answered. */
int store_page_task(struct store *s, const redisReply *reply, struct store_task *task) MUST_CHECK;

/* store_load.c: calls store_loaded or fails the store. */
void store_load_begin(struct store *s, struct queue *q);
void store_load_free(struct store *s);
void store_loaded(struct store *s);
/* store_holder.c: our own name for `active`; and whether that name's process is dead as far as we can see it at all. */
void store_holder_name(char *out, size_t size);
bool store_holder_gone(struct slice holder);

#endif
