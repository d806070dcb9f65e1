/* What Active Directory and Samba say about a server and its domain, and what a cursor taken there is worth here. All of it is
 * the same for the two drivers that speak to AD (source_dirsync, source_poll). Facts: active-directory.md 3.2, 5, 11.
 *
 * Replicas do not agree at every moment. What has been read is therefore remembered as an up-to-dateness vector (*marks*): per DC
 * (invocationId) the highest USN that originated there and has been seen. Another server may go on from a cursor only if its own
 * vector holds at least that much; a server whose own counter is lower than it was has been restored from a backup. */
#ifndef DIRPIPE_AD_H
#define DIRPIPE_AD_H

#include "directory.h"

/* Wants of one DC. usn: its highestCommittedUSN as last read there, 0 if we never spoke to it; seen: see above. */
struct ad_mark {
	struct id invocation;
	uint64_t usn;
	uint64_t seen;
};

enum { AD_MARKS_MAX = 1000 };

struct ad_marks {
	struct id domain;  /* objectGUID of the naming context's head */
	struct id current; /* invocationId of the server that gave the cursor */
	struct id last;	   /* the object that was changed last of those read there, … */
	uint64_t last_usn; /* … and its uSNChanged: a restored server has not got it so */
	bool owed; /* the last full read was from a server that was behind: a sweep is still to come */
	struct ad_mark *at;
	size_t n;
};
void ad_marks_done(struct ad_marks *m);
/* Raises the figures of one DC; 0 leaves one as it is. Past AD_MARKS_MAX the DC is not remembered. */
void ad_marks_raise(struct ad_marks *m, const struct id *invocation, uint64_t usn, uint64_t seen);
const struct ad_mark *ad_marks_of(const struct ad_marks *m,
				  const struct id *invocation); /* NULL: none */
/* Text for source_cursor.server, and back: -EINVAL when it is not of this form. */
void ad_marks_format(const struct ad_marks *m, struct buf *out);
int ad_marks_parse(struct slice text, struct ad_marks *ret) MUST_CHECK;

/* ---- the server ---- */

enum ad_question {
	AD_ROOT,
	AD_SERVICE,
	AD_HEAD,
	AD_BASE,
	AD_DELETED,
	AD_LAST,
	AD_USN,
	AD_QUESTIONS
};

struct ad_server {
	const char *base; /* base_dn of the configuration, borrowed */
	struct id last;	  /* which object AD_LAST asks for; its uSNChanged, 0: not found */
	uint64_t last_usn;
	char *nc;      /* the domain that holds base; NULL: none of the server's */
	char *service; /* dsServiceName */
	char *host;    /* dnsHostName */
	struct id domain;
	struct id invocation; /* zero: not readable */
	uint64_t usn;	      /* highestCommittedUSN */
	int64_t ahead_ms;     /* its clock, with seconds, less ours */
	bool has_clock;
	bool samba;
	bool dirsync;  /* control 1.2.840.113556.1.4.841 */
	bool notifies; /* control 1.2.840.113556.1.4.528, prompt (Samba's is a 5 s poll) */
	bool base_exists;
	bool deletions; /* CN=Deleted Objects can be read */
	struct source_policy policy;
	struct ad_mark *vector; /* what it has of the others (usn unused) */
	size_t vector_n;
};
void ad_server_done(struct ad_server *s); /* frees and zeroes */

/* Questions are asked in order; s fills itself from the answers. text keeps the base while the search is built. */
void ad_ask(const struct ad_server *s, enum ad_question q, struct buf *text,
	    struct directory_search *ret);
void ad_answer(struct ad_server *s, enum ad_question q, LDAP *ld, LDAPMessage *entry);

/* The same on the loop: the questions of a list (ended by AD_QUESTIONS, static) one after the other. done() once, never inside the
 * call: rc 0, or the first failure's LDAP result code. That the base or the deleted objects cannot be read is no failure
 * but an answer. If the connection breaks, done may not come: down() does. */
struct ad_probe;
typedef void (*ad_probe_fn)(void *arg, int rc, const char *text);
struct ad_probe *ad_probe_new(struct directory *d, struct ad_server *s, void *arg);
void ad_probe_ask(struct ad_probe *p, const enum ad_question *list,
		  ad_probe_fn done); /* one list at a time */
void ad_probe_stop(struct ad_probe *p);
void ad_probe_free(struct ad_probe *p); /* NULL is allowed */

/* Change notification on the whole domain, deleted objects too: fn is called with each changed object, only as a wake-up. The
 * operation's number, or 0: not sent. */
uint64_t ad_watch(struct directory *d, const char *nc, directory_message_fn fn,
		  directory_done_fn done, void *arg) MUST_CHECK;

/* After all questions: can the driver work there? SOURCE_NONE, or what is wrong with why for people. */
enum source_problem ad_server_problem(const struct ad_server *s, bool dirsync, struct buf *why);

/* Everything that s has replicated so far counts as seen; its own changes up to `seen`. */
void ad_marks_take(struct ad_marks *m, const struct ad_server *s, uint64_t seen);

/* May the cursor that m stands for be used at s? */
enum ad_verdict { AD_RESUME, AD_FULL, AD_FOREIGN, AD_VERDICTS };
struct ad_judgement {
	enum ad_verdict verdict;
	bool behind;	 /* s has less than what was read: absence there means nothing */
	const char *why; /* static text */
};
struct ad_judgement ad_judge(const struct ad_marks *m, const struct ad_server *s);

/* source_dirsync's machine with searches by uSNChanged in place of DirSync (no control, one DC: another one means a full
 * read), every poll_interval. source_poll hands over to it when the server is AD. */
extern const struct source_driver source_usn;

/* ---- parts ---- */

struct id ad_guid(const uint8_t raw[static 16]); /* Microsoft's mixed order to RFC 4122 order */
/* replUpToDateVector, versions 1 and 2 (MS-DRSR 5.166, 5.167): owned array; -EINVAL when cut or of another version. */
int ad_vector_parse(struct slice blob, struct ad_mark **ret, size_t *ret_n) MUST_CHECK;
int64_t
ad_interval_ms(const char *text); /* negative 100 ns text of the domain head; 0: never or none */
/* What an administrator must grant, for SOURCE_RIGHTS and check. */
void ad_deleted_right(const struct ad_server *s, struct buf *out);

/* Critical controls, built once: NULL-terminated, freed with ldap_controls_free. Extended DN (string form) makes DN values
 * "<GUID=…>;<SID=…>;DN", Show Deleted shows tombstones. */
LDAPControl **ad_controls_new(void);

#endif
