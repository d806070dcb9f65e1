/*
 * What the simulators share: the program around a service (command line, ports, TLS), the ledger, the
 * fault script and the admin interface.
 *
 * Command line (all simulators)
 *   --listen 127.0.0.1:PORT  --admin 127.0.0.1:PORT   0 = pick one
 *   --cert FILE --key FILE                            PEM; without them the service is served plain
 *   --delay-ms N                                      every answer waits so long (others do not)
 *   --seed N                                          ids and tokens repeat for the same N
 *   --knobs JSON                                      settings, see GET /knobs
 *   --ready-file FILE                                 gets the ready line too
 * and those of the service. When both ports listen it prints "ready https=PORT admin=PORT".
 *
 * Admin interface: plain HTTP on the loopback, no authentication.
 *   GET  /ledger[?since=N][&key=K]  committed writes, one JSON object a line, in the order of commit:
 *        {"seq","time","kind","method","path","id","key","user_agent","status","cut","late","hash","body"}.
 *        since=N leaves out seq <= N. key is externalId or onPremisesImmutableId. cut: the client was not
 *        told; late: applied after the client was told otherwise. body is left out past 256 MiB in all.
 *   GET  /dump        all live users, one JSON object a line, sorted by key, then user name
 *   GET  /groups      likewise all groups with their members' ids
 *   GET  /requests    the last requests (16,384): {"time","method","path","status","user_agent","connection"}
 *   GET  /stats       counters: requests, inner (inside batches), reads, writes, creates, updates, deletes, duplicates (creates
 *        whose key a live user bore already), quiet_violations, faults, by_status, connections, open,
 *        handshakes, resumed, users, groups
 *   POST /faults      an array of rules replaces the old ones; GET /faults shows how often each fired.
 *        {"match": {"method", "path_prefix", "key", "contains" (in the body), "inner" (true: only inside a
 *        batch or bulk), "nth" (the nth that matches), "every", "probability" with "seed"},
 *        "do": {"status", "body" (text or JSON), "content_type", "headers" {}, "delay_ms", "redirect" URL,
 *        "html": true, "truncated_json": true, "cut": "before" | "after_commit" | "mid_answer",
 *        "hang": true, "rst": true, "commit": true (carry out although another answer is given or none),
 *        "late_apply_ms": N (carry out so much later, with no one to hear of it)},
 *        "times": N}
 *        All in match must hold; the first rule that fires decides. With status the request is not
 *        carried out unless commit says so. Inside a batch, status, body and headers answer that one
 *        request; cut, hang and rst end the whole answer there.
 *   POST /clock {"offset_ms": N}    the service's clock is so much ahead
 *   POST /quiet {"on": true}        any write is answered 500 and counted as quiet_violations
 *   POST /seed {"users": [...], "groups": [...], ...}   accounts that were there before; not in the ledger
 *   POST /knobs {...}, GET /knobs   settings of the service
 *   POST /reset       forgets users, groups, ledger, counters, faults, quiet and clock; knobs stay
 */
#pragma once

#include "budget.h"
#include "fault.h"
#include "http.h"
#include "json.h"
#include "knob.h"
#include "ledger.h"

struct sim;

/* A request on its way through the service, also one inside a batch. */
struct sim_call {
	struct slice method, path, query, body;
	const struct http_request
		*http; /* headers: of the outer request unless a batch gives its own */
	bool inner;
	bool unheard; /* the client will not hear of the outcome */
	bool late;
	struct http_response *answer;
};

struct sim_stats {
	uint64_t requests, inner, reads, writes, creates, updates, deletes, duplicates;
	uint64_t quiet_violations, faults;
	uint64_t by_status[600];
};

struct sim_seed {	  /* of POST /seed */
	const char *list; /* member that is an array; NULL ends the table */
	const char *(*seed)(struct sim *sim, const struct json *object); /* NULL or what is wrong */
};

struct sim_service {
	const char *name;
	void *state; /* becomes sim->state */
	const struct knob *knobs;
	const size_t *n_knobs;
	void (*begin)(struct sim *sim); /* the state as it starts, knobs too; before the options */
	void (*end)(struct sim *sim);	/* frees what the state holds */
	/* Carries out a request and fills call->answer. */
	void (*handle)(struct sim *sim, struct sim_call *call);
	/* Whether it would write (for /quiet and the counters). */
	bool (*writes)(struct sim *sim, const struct sim_call *call);
	/* Appends the key of the user that it is about, if that can be said. */
	void (*key)(struct sim *sim, const struct sim_call *call, struct text *ret_key);
	/* An error of the service's own form. */
	void (*error)(struct sim *sim, struct sim_call *call, int status, const char *text);
	/* Users (groups) are numbered from 0: how many there ever were, whether one is live, which goes
	 * first (NULL: by number), and one as JSON. */
	uint32_t (*count)(struct sim *sim, bool groups);
	bool (*live)(struct sim *sim, bool groups, uint32_t number);
	int (*order)(struct sim *sim, bool groups, uint32_t a, uint32_t b);
	void (*print)(struct sim *sim, bool groups, uint32_t number, struct text *out);
	const struct sim_seed *seeds;
	void (*stats)(struct sim *sim,
		      struct text *out); /* further members, each with a leading comma */
	void (*reset)(struct sim *sim);
	const char *(*option)(struct sim *sim, int option,
			      const char *value); /* NULL or what is wrong */
	const char *(*start)(struct sim *sim);	  /* after all options */
	const char *options;			  /* names with a value, "|" between them */
};

struct sim {
	const struct sim_service *service;
	void *state; /* the service's own */
	uv_loop_t loop;
	struct http_server https, admin;
	struct ledger ledger;
	struct fault_set faults;
	struct sim_stats stats;
	struct sim_log *log;
	const struct knob *knobs;
	size_t n_knobs;
	struct arena arena; /* of the request being handled */
	int64_t clock_offset_ms, delay_ms;
	uint64_t random;
	int port;
	uint64_t generation; /* raised by /reset */
	bool quiet;
};

/* The whole program; its exit code. */
int sim_main(const struct sim_service *service, int argc, char **argv);

/* The service's clock. */
int64_t sim_now_ms(const struct sim *sim);

/* Handles a request inside a batch: faults and counters included. False: the outer answer ends here. */
bool sim_inner(struct sim *sim, struct sim_call *call, struct sim_call *outer);

/* Enters a committed write. */
void sim_commit(struct sim *sim, const struct sim_call *call, const char *kind,
		const uint8_t id[16], struct slice key);

/* The first line of a file, without its line end; NULL if it cannot be read. Owned by the caller. */
char *sim_read_secret(const char *path);

/* Shared by sim.c and admin.c. */
void sim_admin(void *context, const struct http_request *request, struct http_response *response);
void sim_log_print(const struct sim *sim, struct text *out);
void sim_log_clear(struct sim *sim);
/* Numbers of the live users (groups) in the service's order, owned by the caller. */
uint32_t *sim_list(struct sim *sim, bool groups, size_t *ret_n);
const char *sim_seed_all(struct sim *sim, const struct json *object);
