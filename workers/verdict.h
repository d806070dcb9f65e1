/* What an answer means: a table (transport, status, vendor's word → class) as data. The general rows stand in verdict.c,
 * a driver adds rows for its vendor's words; nothing else in the program looks at an HTTP status. */
#ifndef DIRPIPE_VERDICT_H
#define DIRPIPE_VERDICT_H

#include "http.h"
#include "wire.h"

/* What the core does next. The scope stands in the name of the group. */
enum verdict_class {
	/* about the operation */
	VERDICT_CLASS_OK,
	VERDICT_CLASS_GONE, /* no such account: delete succeeded, else look the user up again */
	VERDICT_CLASS_EXISTS, /* the immutable key or the name is taken: look up, then claim or park */
	VERDICT_CLASS_STALE,	 /* precondition failed: read, plan again */
	VERDICT_CLASS_SPLIT,	 /* too large together: each alone; alone: rejected */
	VERDICT_CLASS_DOWNGRADE, /* the service cannot do it this way: driver->downgrade, then again */
	/* about the user */
	VERDICT_CLASS_RETRY,
	VERDICT_CLASS_PARK, /* with the row's reason and waits */
	VERDICT_CLASS_REJECT,
	/* about the target */
	VERDICT_CLASS_THROTTLED,
	VERDICT_CLASS_AUTH, /* the token: dropped once, replayed once, then AUTH_FAILED */
	VERDICT_CLASS_DOWN,
	VERDICT_CLASSES
};

/* The first row that fits, the driver's before the general ones. */
struct verdict_row {
	unsigned kinds;		    /* bits 1 << enum target_kind; 0: any */
	int status_from, status_to; /* 0, 0: any */
	const char *word; /* equal to the answer's code; ends in '*': a prefix; NULL: any */
	enum verdict_class class;
	const char *reason; /* stable word for RESULT: "name_taken", "no_seat"; NULL: by class */
	const char *
		waits; /* PARK: what it waits for, "seat:"; the answer's `value` is put behind it; NULL: nothing */
};

enum { VERDICT_RETRY_AFTER_CAP_MS = 15 * 60 * 1000 };

/* Facts about one operation's answer, as verdict_judge wants them. */
struct verdict_facts {
	unsigned kind;		   /* enum target_kind */
	enum http_failure failure; /* HTTP_ANSWERED: status counts */
	bool sent;
	int status;
	struct slice code;	  /* the vendor's code word; may be empty */
	struct slice retry_after; /* the header as it came; may be empty */
	bool not_json;		  /* 2xx with a body of a foreign type (captive portal) */
};

struct verdict {
	enum verdict_class class;
	const char *reason;
	const char *waits;
	int64_t after_ms;      /* THROTTLED: capped; RETRY: 0 = the broker's backoff */
	bool unknown_outcome;  /* a write may have happened all the same */
	bool fresh_connection; /* use another one next time (503) */
};

/* rows: the driver's, ended by one whose class is VERDICT_CLASSES; may be NULL. Pure. */
struct verdict verdict_judge(const struct verdict_facts *facts, const struct verdict_row *rows,
			     int64_t now_unix_ms);

/* Retry-After (RFC 9110 10.2.3): seconds, fractional seconds (rounded up to ms), or an HTTP date; -1: absent or nonsense;
 * capped at VERDICT_RETRY_AFTER_CAP_MS. */
int64_t verdict_retry_after_ms(struct slice value, int64_t now_unix_ms);

/* Failures in a row over all users of this process: no answer, or 5xx but 501. Any other answer ends the row. */
enum {
	VERDICT_DOWN_AFTER = 5,
	VERDICT_SOON_MS = 100,
	VERDICT_THROTTLE_MS = 3000 /* without a Retry-After */
};
/* True when the target as a whole counts as down: at once for refused, DNS, TLS; else after VERDICT_DOWN_AFTER in a row. */
bool verdict_is_down(unsigned *streak, const struct verdict_facts *facts);

#endif
