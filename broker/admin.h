/* The control socket (broker.control, unix, mode 0600): what the dirpipe command speaks with the broker.
 *
 * Newline-delimited JSON. A request is one line of at most 64 KiB, an answer one line:
 *	{"id":ANY,"verb":"…",…}  ->  {"id":ANY,"ok":true,"result":…}
 *	                         or  {"id":ANY,"ok":false,"error":{"code":"…","message":"…"}}
 * id is given back as it came (null when it was missing or the line was no JSON). Several requests may follow each
 * other on one connection; answers may come in another order, the id tells them apart. Every verb is
 * idempotent: asked again after a cut it does no harm and answers the same. A verb that changes something is
 * answered only after its page is on disk (and on the replicas).
 *
 * Error codes: bad_request (no JSON, a field missing or of another type, a bad id), unknown_verb, not_found (no such
 * source, target, user or hold), busy (a worker has that user in hand), claimed (another user's account), unavailable (Redis is
 * away, loading, or another broker is active: message says which; try again), failed (the page was lost before it was on disk: it
 * may or may not have happened; ask again), changed_config (apply).
 *
 * Below: fields of the request beside id and verb ("?" = optional), then the result. USER is an id's
 * 8-4-4-4-12 text. TIME is RFC 3339 with milliseconds, UTC, or null for none. `most` is 1..10000, default 100;
 * `more` true says that there was more than most. Lists that hold all targets are sorted by name.
 *
 * status {} ->
 *   {"realm":"default", "version":"0.1.0", "pid":1, "uptime_s":12.5, "now":TIME,
 *    "state":"ready",            down | standby | loading | ready
 *    "why":"",                   for people, empty when ready
 *    "epoch":{"number":1764021234567,"nonce":"16 hex digits"},       number 0: not active
 *    "page":123, "pages_under_way":0,
 *    "redis":{"up":true,"roundtrip_ms":1,"quarantined":0},           quarantined: foreign or broken records set aside
 *    "health":{"ok":true,"failed":[{"check":"redis","why":"…"}]},    as /readyz
 *    "peers":{"collectors":1,"workers":2,"malformed":0,"refused":0}, frames dropped since the start
 *    "sources":[{"name":"corp",
 *        "connected":true,       the collector is there and its directory answers
 *        "collector":true, "driver":"syncrepl", "silent_ms":12, "session":3, "server":"ldap://…", "lag_ms":0 (or null:
 *        not known), "error":"last error, or empty", "read":0, "published":0, "unchanged":0, "total":0,
 *        "users":1000, "foreign":0 (ids refused since this broker became active: another source owns them), "distrusted":false,
 *        "caught_up":true (all that the directory said until now is committed),
 *        "clock_off_ms":0 (or null),
 *        "holds":[{"kind":"group"|"source","name":"staff","was":100,"now":3,"since":TIME}]}],
 *    "targets":[{"name":"m365",
 *        "state":"ok",           ok | degraded (over 40 % of the last 200 results failed) | quarantined (it refuses our
 *                                credentials) | paused
 *        "pause":null | {"kind":"throttled"|"auth_failed"|"down"|"by_operator","why":"…","until":TIME},
 *        "queue":{"clean":0,"ready":0,"delayed":0,"in_flight":0,"parked":0,"held":0,"dead":0},
 *        "in_scope":1000, "oldest_age_s":0.5 (0: nothing due), "concurrency":64, "credits":60,
 *        "rates":{"done_per_s":12.5,"requests_per_s":30.0},          over the last 10 s
 *        "eta_s":80.5 (or null: nothing due or no rate),
 *        "reconcile":null | {"at":TIME,"at_ms":0,"divergent":0,"unowned":0},         the last comparison that ended well
 *        "desired_workers":1,
 *        "totals":{"enqueued":0,"coalesced":0,"redelivered":0,"lease_expired":0,"dead_lettered":0,"parked":0,"stale":0,
 *                  "refused":0,"requests":0,"verdicts":{"done":0,"retry":0,"parked":0,"rejected":0,"throttled":0,
 *                  "auth_failed":0,"down":0}},                       since this broker became active
 *        "workers":[{"name":"host/123","silent_ms":12,"credits":64,"batch":20,"config_is_new":false}]}]}
 *
 * queue {"target"?} ->
 *   {"targets":[{"name","state","queue":{…},"in_scope","oldest_age_s","rates":{…},"eta_s"}]}      fields as in status
 *
 * user_show {"user":USER} ->
 *   {"id":USER, "source":"corp", "version":7, "gone":false, "fingerprint":"32 hex", "in":["m365"],
 *    "refs":{"manager":USER}, "snapshot":{…},
 *    "targets":{"m365":{"state":"clean"|"due"|"in_flight"|"retry"|"parked"|"dead", "lane":"live"|"bulk", "in":true,
 *        "want":3, "attempts":0, "verify":"none"|"now"|"at", "since":TIME, "due":TIME, "failing_since":TIME,
 *        "verify_at":TIME, "look_again":TIME,
 *        "link":null | {"rid":"…","state":"creating"|"active"|"disabled"|"deleted"|"unmanaged"|"none","revision":2,"memory":{…}},
 *        "applied":"32 hex or empty",
 *        "error":null | {…last error: reason, detail, status, request_id, at},
 *        "stuck":null | {…kind, reason, detail, status, request_id, at},
 *        "lease":null | {"epoch","page","index","worker":"16 hex","version","deadline":TIME}}}}
 *
 * dead_ls {"target"?,"most"?}, parked_ls {"target"?,"most"?} ->
 *   {"users":[{"target":"m365","user":USER,"kind":"dead"|"parked","reason":"…","detail":"the target's own words","status":400,
 *     "request_id":"…","at":TIME or milliseconds since 1970}], "more":false}
 *
 * errors_ls {"target"?,"most"?} -> {"errors":[…],"more":false}
 *   the newest failures of each target, oldest first, each as in the provisioning log: at, user, target, account, verdict, state, ops, reason,
 *   detail, status, request_id. Later successes leave them.
 *
 * dead_retry {"target","user":USER} or {"target","all":true} -> {"changed":1,"more":false}
 *   due again; also wakes a parked user and skips a backoff. all: every dead one, at most 10000 (more: ask again).
 * dead_drop {"target","user":USER} or {"target","all":true} -> {"changed":1,"more":false}
 *   dead -> clean: given up until a newer version comes.
 *
 * held_ls {"target"?,"from"?,"most"?} ->                a part of the list (most: at most 500); the next one with from = next
 *   {"held":[{"target":"m365","user":USER,"op":"disable","what":"","phase":"wanted"|"granted"|"held"|"rejected","since":TIME,
 *             "source":"corp","dn":"…" (the last known),"gone":false,"in":true,"enabled":true (in the directory),
 *             "cause":"group:NAME"|"moved"|"filter"|"excluded"|"config"|"" (why the target's scope does not hold the user)}],
 *    "holds":[{"source":"corp","kind":"group","name":"staff","was":100,"now":3,"since":TIME,"confirmed":false}],  in the first part
 *    "everything":["m365"] (targets that hold whatever is destructive since their store was emptied), "next":null|"…",
 *    "more":false}
 * held_judge {"target","approve":BOOL,"ops":[{"user":USER,"op","what"}]} or {"target","approve":BOOL,"all":true} ->
 *   {"changed":1,"missing":0 (of ops: not held any more)}   at most 500 ops; all: also ends the hold of everything
 *
 * link_ls {"target","from"?,"most"?,"user"?:USER,"snapshot"?:true} ->    who is in scope or linked, in parts as held_ls
 *   {"links":[{"user":USER,"source","version","gone","in","dn","enabled","cause","link":null|{"rid","state","revision","memory"},
 *              "snapshot"?}], "next":null|"…"}
 * link_add {"target","user":USER,"rid"} -> {"changed":1}    that account is the user's, whatever the rules say
 * link_rm {"target","user":USER,"rejoin"?:true} -> {"changed":1}   unmanaged until linked again; rejoin: by the rules again
 *
 * confirm_hold {"source","kind":"group"|"source","name"} -> {"changed":1}
 *   a person's word that the shrunken group (or source) is right as it is.
 *
 * resync {"target","user"?:USER} -> {"changed":1}       due as VERIFY: the target is read; without user: everybody
 * sync_users {"target","users":[USER,…]} -> {"changed":1}       the same for these, at most 1000
 * sync_state {"target","users"?:[USER,…]} -> {"clean":0,"due":0,"in_flight":0,"retry":0,"parked":0,"dead":0,"held":0,"paused":false}
 *   how many of these (or of all) stand where; held: of them, who has something held
 * drifted {"target","users":[USER,…]} -> {"changed":1}          the same as backlog: a listing showed that they differ
 * reconciled {"target","divergent":0,"unowned":0} -> {"changed":1}   all accounts were compared: what metrics and status say
 * read_all {"source"} -> {"changed":1}                  its collector reads the whole directory again
 * pause {"target","why"?} -> {"changed":1}              no TASK until resume; what is in flight ends
 * resume {"target"} -> {"changed":1}                    also ends a pause that the target itself caused
 *
 * plan_page {"target","at"?,"users"?:[USER],"config"?:"32 hex"} ->
 *   {"wire":1, "tasks":"base64 of a TASKS body: users of the target with all that a task of theirs would carry, permits none",
 *    "states":"cdfrpx",   a letter for each: clean, due, in flight, retry, parked, dead
 *    "held":[{"user":USER,"op","what","phase"}],  of these users
 *    "next":[0,500] or null,  to be said as `at` for the next page    "total":1000}       all users of the realm
 *    "unchanged":950,   left out: clean by that configuration, which is the workers' and was applied to all
 *   Reads alone; for `dirpipe plan` and `dirpipe reconcile`. users: these and no others.
 * plan_guard {"target","more":7} -> {"holds":false,"in_scope":1000}     would the guard hold so many more?
 * plan_claims {"target","claims":[["rid",USER],…]} -> {"refused":[0]}   places of those whose account is another user's
 * apply {"target","config":"32 hex","rows":[[USER,version,"32 hex",[["op","what"],…]],…]} ->
 *   {"taken":2,"refused":[[1,"why"]]}     rows of an approved plan (at most 500), by place; also while the operator paused the target.
 *   why: changed_since_plan (another version), in_work, unknown_user.
 * apply_state {"target","users":[USER,…]} -> {"states":["waiting"|"done"|"changed"|"failed"|"unknown"], "reasons":["…"]}
 *   of these, in order; unknown: this broker has not heard of it (it began anew): apply again
 * user_find {"text","group"?:true} -> {"users":[{"user":USER,"dn":"…"}]}     at most 100000
 *   whom a text means, whatever its case: a DN, the value of any attribute; with group: who is in that watched group
 *
 * log {"most"?,"target"?} -> {"lines":[{…}]}                      newest lines of the provisioning log, newest last */
#ifndef DIRPIPE_ADMIN_H
#define DIRPIPE_ADMIN_H

#include "loop.h"
#include "session.h"

struct admin;

enum { ADMIN_LINE_MAX = 64 << 10, ADMIN_MOST = 10000, ADMIN_MOST_DEFAULT = 100 };

/* Binds the socket (a stale file of a dead broker is replaced; one that answers is not: -EADDRINUSE in why). NULL with
 * why set. session is borrowed and must outlive it. */
struct admin *admin_new(struct loop *loop, const char *path, struct session *session,
			struct buf *why) MUST_CHECK;
void admin_free(struct admin *a);

#endif
