/* Which licences and remote groups a user shall have, by the target's `groups`, `licences` and `licence_policy`, and when to look
 * again. Pure: (configuration, snapshot, what the link remembers, now) → a verdict. The core judges and hands the verdict to the
 * driver's plan (target_want.licence); the driver knows what the account holds and turns the verdict into operations.
 *
 *	                 a reason of the policy ──────────────► TAKE: take what the account holds, remembering each
 *	GIVE ◄── nothing was taken, or operator, schedule ◄──┐   │ no reason is left
 *	         or `reinstate: now` says so                 └── STILL: neither take nor give
 *
 * Reasons are a set; time alone makes some of them true, so a verdict says when to look again. Users on the exempt list are
 * always GIVE. Who left the scope counts as disabled; when the policy has nothing against that, he is STILL.
 *
 * What a driver does with it:
 *	GIVE   what `licences` and `groups` name and the account lacks is given; what licence_next_taken names is given back
 *	       exactly as remembered, all in one go or not at all; what licence_next_given names and no rule names any more is
 *	       taken away (licences: permit "licence_revoke", what = the sku).
 *	TAKE   one STEP "licence_revoke" per item that the account holds, permit "licence_revoke", what = the item, intent, its
 *	       `remember` from licence_take. An item that stands as taken already and is still held is taken without a new record.
 *	STILL  nothing.
 * Without a free seat: PARKED `no_seat`, waits "seat:SKU", after everything else was done (plan: parked_last); the broker wakes
 * in order of arrival, and says whom the others come before (target_no_seat). */
#ifndef DIRPIPE_LICENCE_H
#define DIRPIPE_LICENCE_H

#include "conf.h"
#include "json.h"
#include "snapshot.h"

enum licence_reason {
	LICENCE_DISABLED, /* in the directory, or out of scope */
	LICENCE_LOCKED,
	LICENCE_PASSWORD_EXPIRED,
	LICENCE_ACCOUNT_EXPIRED,
	LICENCE_INACTIVE, /* counts only where the policy lists it */
	LICENCE_NEVER_LOGGED_ON, /* the same; since whenCreated or createTimestamp, where read, else since dirpipe first looked */
	LICENCE_REASONS
};
const char *licence_reason_name(enum licence_reason reason); /* as in revoke_when */

enum licence_phase { LICENCE_GIVE, LICENCE_TAKE, LICENCE_STILL, LICENCE_PHASES };

/* The configuration, read once. */
struct licence;

/* conf: the target's section. It was checked by conf_load, so that only the schedule's zone can fail: NULL with errors. */
struct licence *licence_new(const struct conf_node *conf, struct buf *errors) MUST_CHECK;
void licence_free(struct licence *l);
/* The rules as configured, for a driver that resolves names or reads only what is needed; past the end NULL. */
struct licence_rule {
	const char *group;  /* watched directory group */
	const char *remote; /* sku, or the remote group, role, permission set: as configured */
	const char *kind;   /* of a group rule: the driver's word; NULL: its usual kind */
	const cJSON
		*plans; /* of a licence rule: array of service plans that stay off; NULL: none */
};
const struct licence_rule *licence_rule(const struct licence *l, size_t i);
const struct licence_rule *licence_group_rule(const struct licence *l, size_t i);
bool licence_has_policy(const struct licence *l); /* anything in revoke_when? */
bool licence_takes(const struct licence *l,
		   const char *remote); /* `only` lets the policy take it */
bool licence_takes_groups(const struct licence *l);
const char *licence_action(const struct licence *l); /* the word of licence_policy.action */

/* What a verdict depends on. snapshot may be NULL for who left. memory: the driver's part of the link's memory. reinstate: an
 * operator has said to give back now (he cannot overrule a reason). */
struct licence_facts {
	struct id user;
	const struct snapshot *snapshot;
	bool left;
	const cJSON *memory;
	bool reinstate;
	int64_t now_unix_ms;
};

/* One that is wanted. Several groups may name the same: the plans that stay off are those which all of them leave off. */
struct licence_item {
	const char *remote, *kind;
	cJSON *plans; /* sorted array, never NULL; empty for groups */
};

struct licence_verdict {
	enum licence_phase phase;
	unsigned reasons; /* bits of 1 << enum licence_reason: those that hold now … */
	unsigned because; /* … and those of them for which the policy takes */
	struct licence_item *licences; /* wanted, by remote in order; only for GIVE */
	size_t licences_n;
	/* Wanted, by kind and remote in order. Not for who left; in TAKE and STILL empty where licence_takes_groups. */
	struct licence_item *groups;
	size_t groups_n;
	bool groups_count; /* `groups` says what there shall be; false: leave memberships alone */
	int64_t look_again_unix_ms; /* 0: time alone changes nothing */
	/* Merged by the core into the driver's memory when it plans (null removes); NULL: nothing. */
	cJSON *remember;
	/* borrowed */
	const struct licence *licence;
	const cJSON *memory;
	int64_t now_unix_ms;
};

/* l NULL: no rules, no policy. ret is filled whatever it held; free it with licence_verdict_done. */
void licence_judge(const struct licence *l, const struct licence_facts *facts,
		   struct licence_verdict *ret);
void licence_verdict_done(struct licence_verdict *v);
/* What of the verdict is part of the fingerprint of the desired state. */
void licence_digest(const struct licence_verdict *v, struct buf *out);
/* "disabled,locked" */
void licence_reasons_text(unsigned reasons, struct buf *out);

/* ---- what the link remembers, in the driver's memory: "taken:ITEM" {at, reasons, keep}, "given:ITEM" true ---- */

/* `remember` of a STEP that takes item: {"taken:ITEM": {at, reasons, keep}, "given:ITEM": null}. keep is what the driver
 * needs to give it back exactly (owned by the result; may be NULL). */
cJSON *licence_take(const struct licence_verdict *v, const char *item, cJSON *keep);
/* Adds to a `remember` (NULL: a new one) that item was given back or closed: {"taken:ITEM": null}. */
cJSON *licence_close(cJSON *remember, const char *item);
/* Adds that item is ours: given (or found and wanted) by a rule; or, false, no longer. */
cJSON *licence_note_given(cJSON *remember, const char *item, bool given);
bool licence_is_given(const struct licence_verdict *v, const char *item);
bool licence_is_taken(const struct licence_verdict *v, const char *item);
/* Walks what is remembered: *at = NULL to begin; false at the end. keep may come back NULL. */
bool licence_next_taken(const struct licence_verdict *v, const cJSON **at, const char **ret_item,
			const cJSON **ret_keep);
/* All that is remembered as taken, for people: {"ITEM": {"at", "reasons"}}, canonical; nothing when there is none. */
void licence_taken_json(const cJSON *memory, struct buf *out);
bool licence_next_given(const struct licence_verdict *v, const cJSON **at, const char **ret_item);

#endif
