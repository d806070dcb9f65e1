/* libldap on the loop: one struct directory is one LDAP connection that comes back by itself. Connect, TLS and bind
 * run on a thread of the pool with bounded time; then searches run side by side, by message id, on the loop's thread.
 *
 * Life: new → start → (up → operations … → down → backoff, next URI → up …) → stop → start … → free.
 * Everything may be called inside any callback of the same directory, also stop and free: what is closed is freed
 * after the turn. Facts and traps: libraries.md 1.1, openldap-389ds.md 4 (CONNECT_ASYNC, NEWCTX last, drain until 0). */
#ifndef DIRPIPE_DIRECTORY_H
#define DIRPIPE_DIRECTORY_H

#include "conf.h"
#include "id.h"
#include "loop.h"
#include "source.h"
#include <ldap.h>

/* ---- settings: the source's section, read and checked once ---- */

struct directory_conf;

/* NULL with why: no URI, bad URI or port, an option that cannot work (simple bind in the clear to another host, StartTLS
 * with ldaps, unreadable CA file or keytab). conf must outlive it: the password is read anew at each connect. Also sets
 * KRB5CCNAME=MEMORY: for the process when the bind is gssapi. */
struct directory_conf *directory_conf_new(const struct conf_node *source,
					  struct buf *why) MUST_CHECK;
void directory_conf_free(struct directory_conf *c);
size_t directory_conf_uris(const struct directory_conf *c);
const char *directory_conf_uri(const struct directory_conf *c, size_t i);
const char *directory_conf_base(const struct directory_conf *c); /* base_dn */

/* ---- the blocking part, for check() and for the pool's threads ---- */

enum directory_step {
	DIRECTORY_RESOLVE,
	DIRECTORY_CONNECT, /* ldaps: TLS too, libldap does both in one */
	DIRECTORY_TLS,	   /* StartTLS */
	DIRECTORY_BIND,
	DIRECTORY_STEPS
};
struct directory_failure {
	enum directory_step step;
	enum source_problem problem; /* SOURCE_UNREACHABLE or SOURCE_DENIED */
	int rc;			     /* LDAP result code or libldap's negative one */
	char text[512]; /* for people: the step, the library's or server's words; never a secret */
};
/* Connects, starts TLS, binds; at most network_timeout for each of connect and TLS, operation_timeout for the bind. NULL with
 * *ret_failure. Close with directory_disconnect. */
LDAP *directory_connect(const struct directory_conf *c, size_t uri,
			struct directory_failure *ret_failure) MUST_CHECK;
void directory_disconnect(LDAP *ld);
const char *directory_step_name(enum directory_step step); /* "resolve", "connect", "tls", "bind" */

typedef void (*directory_say_fn)(void *arg, bool ok, const char *step, const char *text);
/* A driver's own steps of `dirpipe check source`, once bound. Returns the failed ones. */
typedef int (*directory_more_fn)(LDAP *ld, const struct directory_conf *c, directory_say_fn say,
				 void *arg);
/* `dirpipe check source`: the section is read; then on every URI what all drivers share: resolve, connect, TLS, bind, base can be
 * read; then more. Returns all failed steps. */
int directory_check(const struct conf_node *source, directory_say_fn say, void *arg,
		    directory_more_fn more);
/* A further step, which never fails: warns when some userPassword can be read. */
void directory_check_secrets(LDAP *ld, const struct directory_conf *c, directory_say_fn say,
			     void *arg);

struct directory_search;
/* A blocking search for check(), by base, scope, filter and attrs of s, with operation_timeout: LDAP result code; *ret (may be a
 * NULL chain) is freed with ldap_msgfree. */
int directory_search_now(LDAP *ld, const struct directory_conf *c, const struct directory_search *s,
			 LDAPMessage **ret);

/* ---- the connection ---- */

struct directory;

struct directory_events {
	void *arg;
	/* Bound; operations may start. uri is an index of directory_conf_uri. */
	void (*up)(void *arg, size_t uri);
	/* A connection failed or broke, after the done(LDAP_SERVER_DOWN, …) of each open operation; the next try comes by
	 * itself (retry_ms from now, with jitter; SOURCE_DENIED: at most 3 tries in 30 minutes, then growing, GOALS S3). */
	void (*down)(void *arg, enum source_problem problem, const char *why, int64_t retry_ms);
};

struct directory *directory_new(struct loop *loop, const struct directory_conf *c,
				const struct directory_events *events);
/* Goes on connecting from now: URI by URI from the one that worked last. */
void directory_start(struct directory *d);
/* The same, but only to this URI (a second handle to the server that the first one follows). */
void directory_start_at(struct directory *d, size_t uri);
/* Closes; no callback after it, not even done of open operations. start() may follow. */
void directory_stop(struct directory *d);
void directory_free(struct directory *d); /* stops first; NULL is allowed */
/* The user of the connection finds it useless (time-out, protocol error, behind): open operations end with
 * LDAP_SERVER_DOWN, down() is called with this text, and after a backoff the next URI is tried. */
void directory_fail(struct directory *d, const char *why);
/* As fail, but no fault: same URI again at once, without backoff (a full load must begin). */
void directory_again(struct directory *d, const char *why);
/* The connection proved good (a refresh ended): the backoff starts from its beginning next time. up alone does not
 * reset it, so that a server that binds and then breaks is not asked in a hot loop. */
void directory_good(struct directory *d);

bool directory_is_up(const struct directory *d);
size_t directory_uri(const struct directory *d); /* index of the current or last one */
LDAP *directory_ldap(
	struct directory *d); /* for building controls; NULL when not up. No ldap_result on it! */

/* ---- operations ---- */

enum { DIRECTORY_FOREVER = -1 }; /* a persistent search: no time-out */

struct directory_search {
	const char *base;	  /* DN, "" for the root DSE, "<GUID=…>", "<WKGUID=…>" */
	int scope;		  /* LDAP_SCOPE_… */
	const char *filter;	  /* NULL: (objectClass=*) */
	const char *const *attrs; /* NULL-terminated; NULL: all user attributes */
	LDAPControl **
		controls; /* NULL-terminated or NULL; encoded before the call returns, stay the caller's */
	int page;	  /* > 0: paged (RFC 2696), all pages, the control is added here */
	int64_t timeout_ms; /* longest silence; 0: the source's operation_timeout; DIRECTORY_FOREVER */
};

struct directory_result {
	int rc; /* LDAP result code, or LDAP_SERVER_DOWN, LDAP_TIMEOUT, LDAP_DECODING_ERROR … (negative) */
	const char *text;	/* the server's diagnostic message, or the library's; never NULL */
	LDAPControl **controls; /* of the final result (the last page's); may be NULL */
};

/* type: LDAP_RES_SEARCH_ENTRY or LDAP_RES_INTERMEDIATE (referrals are dropped). m is freed by the directory after the call. */
typedef void (*directory_message_fn)(void *arg, LDAP *ld, LDAPMessage *m, int type);
/* Exactly once per operation, unless it was abandoned or the directory stopped. Everything in r is valid in the call only. */
typedef void (*directory_done_fn)(void *arg, const struct directory_result *r);

/* Returns the operation's number (> 0); 0: not sent (not up, or the connection just broke): no callback will come for it, and
 * down() comes at the end of the turn if it was up. */
uint64_t directory_search(struct directory *d, const struct directory_search *s,
			  directory_message_fn message, directory_done_fn done,
			  void *arg) MUST_CHECK;
void directory_abandon(struct directory *d,
		       uint64_t op); /* no callback after; unknown numbers are ignored */
size_t directory_operations(const struct directory *d); /* open ones */

/* "<GUID=xxxxxxxx-…>" of an AD object (id in RFC 4122 order, as entry.h has it). */
void directory_guid_dn(const struct id *id, struct buf *out);
/* Appends (attr=\xx\xx…) with every byte escaped: RFC 4515 3. */
void directory_filter_bytes(struct buf *out, const char *attr, const void *p, size_t n);
/* Appends (attr=value) with * ( ) \ NUL escaped. */
void directory_filter_text(struct buf *out, const char *attr, const char *value);

/* ---- what a driver asks for ---- */

/* The attributes that a search of this source must request: id, objectClass, the configured ones (users.attributes,
 * references, route filters) without secrets (entry_attr_is_secret), group members, account state, plus `more` (NULL-terminated or
 * NULL). NULL-terminated array, freed with directory_attrs_free. */
char **directory_attrs_new(const struct conf_node *source, const struct entry_schema *schema,
			   const char *const *more);
/* What the survey asks for: id, objectClass, members, and what filters and memberUid need. */
char **directory_attrs_survey_new(const struct conf_node *source,
				  const struct entry_schema *schema);
void directory_attrs_free(char **attrs);
/* (|USERS GROUPS CONTAINERS): users.filter or the schema's, the schema's others. */
void directory_filter_all(const struct conf_node *source, const struct entry_schema *schema,
			  struct buf *out);

/* ---- backoff ---- */

struct directory_backoff {
	int64_t first_ms;
	int64_t cap_ms;
	unsigned failures;
};
/* Full jitter in [half, whole] of first × 2^failures, capped; counts one failure. */
int64_t directory_backoff_next(struct directory_backoff *b);
void directory_backoff_reset(struct directory_backoff *b);

#endif
