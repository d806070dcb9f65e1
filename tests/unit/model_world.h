/* The world around the broker, as the model plays it: a directory with versions, its collector, targets that commit
 * writes (also late), and workers with clocks of their own that stop, go on after their lease, say things twice or
 * never. Written from DESIGN; what must hold is checked here, at the target. */
#ifndef DIRPIPE_MODEL_WORLD_H
#define DIRPIPE_MODEL_WORLD_H

#include "model_store.h"

enum {
	WORKERS = 4,
	HANDS = 3,
	FRAMES = 64,
	LATES = 32,
	GRANTS = 256,
	LEASE_MS = 30000,
	GRACE_MS = 5000
};

enum frame_kind { F_READY, F_BEAT, F_NOTE, F_RESULT, F_TASK, F_NOTED, F_REFUSED, F_ANSWERED };

struct job { /* what a TASK carries */
	struct queue_lease lease;
	unsigned user, target;
	struct image image;
	bool in, gone, verify, permit, serial; /* serial: may write the role */
	bool expects;			       /* an approved plan: that or nothing */
	uint8_t manager;		       /* its rid's number + 1; 0: not known */
	struct fp applied;
	char rid[8];
	uint8_t link_state;
};

struct answer { /* what a RESULT says */
	uint8_t verdict;
	struct fp applied;
	char rid[8];
	uint8_t link_state;
	bool unknown, wants, serial, owed, look_again, changed;
	int64_t after_ms;
	char waits[48], ops[24];
};

struct frame {
	bool used;
	enum frame_kind kind;
	unsigned worker;
	uint64_t nonce, epoch;
	struct job job;
	struct answer answer;
};

enum phase { P_BEGIN, P_NOTE, P_WRITE, P_WRITING, P_RESULT };

struct hand {
	bool used;
	enum phase phase;
	struct job job;
	struct answer answer;
};

struct model_worker {
	bool stopped, known; /* known: this broker heard our READY */
	bool creates;	     /* has `creating` noted by the dispatch */
	uint64_t nonce, epoch;
	int64_t skew_ms;
	unsigned target;
	struct hand hands[HANDS];
};

struct account {
	bool exists, enabled;
	uint8_t content, role, manager, rid; /* manager: as in struct job */
	uint32_t version, high;		     /* high: newest that was written in time */
};

struct late {
	bool used;
	unsigned user, target;
	struct account account;
	int64_t at_ms;
};

struct world {
	uint64_t random;
	int64_t now_ms, leap_ms; /* boot clock; how far the world's clock is from 1.7e12 + it */
	bool calm;		 /* the faults are over */
	bool lost_tail;		 /* order may have been lost, too */
	/* directory */
	struct image images[USERS];
	uint64_t seq, changed[USERS];
	/* the rest */
	struct account accounts[USERS][TARGETS];
	uint8_t lives[USERS][TARGETS];	    /* how often the account was lost */
	bool lost[USERS][TARGETS];	    /* … which nobody has looked at for certain */
	struct image stuck[USERS][TARGETS]; /* of which it was said: parked or dead */
	struct late lates[LATES];
	struct model_worker workers[WORKERS];
	struct frame frames[FRAMES];
	uint64_t nonces;
};

static inline uint32_t chance(struct world *w, uint32_t of)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) >> 33) % of;
}

/* One time in n, while faults happen. */
static inline bool fault(struct world *w, uint32_t n)
{
	return chance(w, n) == 0 && !w->calm;
}

static inline struct fp desired(const struct image *i, unsigned target, uint8_t manager)
{
	struct fp fp = {{7}};

	fp.b[4] = i->content;
	fp.b[8] = i->in >> target & 1;
	fp.b[9] = manager;
	fp.b[10] = i->gone;
	return fp;
}

/* ---- frames ---- */

static inline struct frame *frame_new(struct world *w, enum frame_kind kind, unsigned worker)
{
	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame *f = &w->frames[i];

		if (f->used)
			continue;
		*f = (struct frame){.used = true,
				    .kind = kind,
				    .worker = worker,
				    .nonce = w->workers[worker].nonce,
				    .epoch = w->workers[worker].epoch};
		return f;
	}
	w->frames[0].used = false; /* the network drops one */
	return frame_new(w, kind, worker);
}

/* ---- the target ---- */

static inline int64_t clock_of(const struct world *w, unsigned worker)
{
	return w->now_ms + w->workers[worker].skew_ms;
}

static inline bool in_time(const struct world *w, unsigned worker, const struct hand *h)
{
	return clock_of(w, worker) < h->job.lease.stamp_ms + LEASE_MS;
}

/* Nobody else may still write this user: one worker within its lease. */
static inline void check_alone(const struct world *w, unsigned worker, const struct hand *hand)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		for (unsigned k = 0; k < HANDS; k++) {
			const struct hand *h = &w->workers[i].hands[k];

			if (h == hand || !h->used || h->phase == P_RESULT ||
			    h->job.user != hand->job.user || h->job.target != hand->job.target)
				continue;
			CHECK(!in_time(w, i, h) || !in_time(w, worker, hand),
			      "two workers within their leases on one user", h->job.user,
			      h->job.target);
		}
	}
}

/* An account that is made gets an id that no other has; one that is there keeps its own. */
static inline uint8_t rid_given(const struct world *w, unsigned user, unsigned target)
{
	const struct account *a = &w->accounts[user][target];

	return a->exists ? a->rid : (uint8_t)(user + USERS * (w->lives[user][target] % LIVES));
}

/* What the target bears for one user at a time. */
static inline uint8_t role_of(const struct image *i)
{
	return i->content % 3;
}

static inline void check_only(const struct world *w, unsigned worker, const struct hand *hand)
{
	for (unsigned i = 0; i < WORKERS * HANDS; i++) {
		const struct hand *h = &w->workers[i / HANDS].hands[i % HANDS];

		CHECK(h == hand || !h->used || h->phase != P_WRITING || !h->job.serial ||
			      h->job.target != hand->job.target || !in_time(w, i / HANDS, h) ||
			      !in_time(w, worker, hand),
		      "two at once at what is for one at a time", h->job.user, h->job.target);
	}
}

static inline struct account wished(const struct world *w, const struct job *j)
{
	return (struct account){.exists = true,
				.enabled = j->in && !j->gone,
				.rid = rid_given(w, j->user, j->target),
				.role = j->serial ? role_of(&j->image)
						  : w->accounts[j->user][j->target].role,
				.manager = j->manager,
				.content = j->image.content,
				.version = j->image.version};
}

static inline void commit(struct world *w, unsigned user, unsigned target, const struct account *to,
			  bool late)
{
	struct account *a = &w->accounts[user][target];
	uint32_t high = a->high;
	uint8_t rid = rid_given(w, user, target);

	if (!late) {
		CHECK(w->lost_tail || to->version >= high, "the version went back", user, target);
		high = to->version;
	}
	*a = *to;
	a->high = high;
	a->rid = rid;
}

static inline void commit_later(struct world *w, const struct job *j)
{
	for (unsigned i = 0; i < LATES; i++) {
		if (w->lates[i].used)
			continue;
		w->lates[i] = (struct late){.used = true,
					    .user = j->user,
					    .target = j->target,
					    .account = wished(w, j),
					    .at_ms = w->now_ms + chance(w, 120000)};
		return;
	}
}

static inline void lates_run(struct world *w)
{
	for (unsigned i = 0; i < LATES; i++) {
		struct late *l = &w->lates[i];

		if (l->used && l->at_ms <= w->now_ms) {
			l->used = false;
			commit(w, l->user, l->target, &l->account, true);
		}
	}
}

/* ---- a worker ---- */

static inline void answer_ref(struct answer *a, unsigned user)
{
	struct id id = id_n(manager_of(user));

	memcpy(a->waits, "ref:", 4);
	id_format(&id, a->waits + 4);
}

/* What can go wrong with a request, or none of it. True: it is answered. */
static inline bool misfortune(struct world *w, struct hand *h, bool intime)
{
	struct answer *a = &h->answer;
	struct account to = wished(w, &h->job);

	if (w->calm)
		return false;
	switch (chance(w, 24)) {
	case 0: /* written, but nobody hears of it */
		commit(w, h->job.user, h->job.target, &to, !intime);
		a->unknown = true;
		a->verdict = VERDICT_RETRY;
		return true;
	case 1:
		a->unknown = true;
		a->verdict = VERDICT_RETRY;
		return true;
	case 2:
		commit_later(w, &h->job);
		a->unknown = true;
		a->verdict = VERDICT_RETRY;
		return true;
	case 3:
		a->verdict = VERDICT_RETRY;
		a->after_ms = chance(w, 20000);
		return true;
	case 4:
		a->verdict = VERDICT_REJECTED;
		return true;
	case 5:
		a->verdict = VERDICT_PARKED;
		if (chance(w, 3) == 0) /* somebody else's account has the name */
			(void)snprintf(a->waits, sizeof(a->waits), "holder:n=R%c",
				       'a' + (char)chance(w, RIDS));
		else
			(void)snprintf(a->waits, sizeof(a->waits), "%s",
				       chance(w, 2) ? "seat:E3" : "name:x");
		if (chance(w, 3) == 0)
			(void)snprintf(a->ops, sizeof(a->ops), "yield");
		return true;
	case 6:
		if (h->job.manager)
			return false;
		a->verdict = VERDICT_PARKED;
		answer_ref(a, h->job.user);
		return true;
	case 7:
		a->verdict = (uint8_t)(VERDICT_THROTTLED + chance(w, 3));
		a->after_ms = chance(w, 5000);
		return true;
	default:
		return false;
	}
}

static inline void write_now(struct world *w, unsigned worker, struct hand *h)
{
	struct job *j = &h->job;
	struct account to = wished(w, j);
	bool intime = in_time(w, worker, h);

	if (intime)
		check_alone(w, worker, h);
	if (intime && j->serial)
		check_only(w, worker, h);
	h->phase = P_RESULT;
	if (!to.enabled && !j->permit && w->accounts[j->user][j->target].enabled) {
		h->answer.wants = true; /* enabled since it was read: by a late write */
		h->answer.verdict = VERDICT_DONE;
		return;
	}
	if (misfortune(w, h, intime))
		return;
	commit(w, j->user, j->target, &to, !intime);
	h->answer.verdict = VERDICT_DONE;
	h->answer.applied = desired(&j->image, j->target, j->manager);
	h->answer.serial = to.enabled && to.role != role_of(&j->image);
	h->answer.link_state = to.enabled ? LINK_ACTIVE : j->target ? LINK_DELETED : LINK_DISABLED;
	h->answer.rid[0] = 'R';
	h->answer.rid[1] =
		(char)('a' + (char)(!j->rid[0] && fault(w, 40) ? chance(w, RIDS) : to.rid));
	h->answer.owed = !j->manager && to.enabled;
	h->answer.look_again = fault(w, 8);
	(void)snprintf(h->answer.ops, sizeof(h->answer.ops), "%s",
		       to.enabled ? "update" : "disable licence_revoke");
}

/* Reads the target where that is asked, and decides. */
static inline void plan(struct world *w, struct hand *h)
{
	const struct job *j = &h->job;
	const struct account *a = &w->accounts[j->user][j->target];
	struct account to = wished(w, j);
	struct fp fp = desired(&j->image, j->target, j->manager);
	bool same = a->exists && a->enabled == to.enabled && a->content == to.content &&
		    a->manager == to.manager;

	h->phase = P_RESULT;
	h->answer.verdict = VERDICT_DONE;
	h->answer.link_state = j->link_state == LINK_CREATING ? LINK_NONE : j->link_state;
	memcpy(h->answer.rid, j->rid, sizeof(j->rid));
	if (to.enabled && same && !j->serial && a->role != role_of(&j->image)) {
		h->answer.serial = true; /* all but that stands there */
		h->answer.owed = !j->manager;
		return;
	}
	if (!j->verify && fp_equal(&fp, &j->applied)) {
		h->answer.applied = fp; /* no request at all */
		h->answer.owed = !j->manager && to.enabled;
		return;
	}
	if (!to.enabled && (!a->exists || same)) { /* nobody to disable */
		h->answer.applied = fp;
		return;
	}
	if (!to.enabled && a->enabled && !j->permit) {
		h->answer.wants = true;
		h->answer.applied = fp; /* the broker knows better */
		return;
	}
	memset(&h->answer, 0, sizeof(h->answer));
	if (j->expects && fault(w, 3)) { /* the account is another than what was shown */
		h->answer.verdict = VERDICT_RETRY;
		h->answer.changed = true;
		h->answer.link_state = j->link_state;
		memcpy(h->answer.rid, j->rid, sizeof(j->rid));
		return;
	}
	h->phase = j->link_state == LINK_NONE ? P_NOTE : P_WRITE;
}

static inline void hand_step(struct world *w, unsigned worker, struct hand *h)
{
	struct frame *f;

	switch (h->phase) {
	case P_BEGIN:
		if (in_time(w, worker, h))
			plan(w, h);
		else
			h->used = false;
		break;
	case P_NOTE:
		f = frame_new(w, F_NOTE, worker);
		f->job = h->job;
		break;
	case P_WRITE:
		/* Checked, then sent: a process that is stopped in between writes late. */
		if (!in_time(w, worker, h)) {
			h->used = false;
			break;
		}
		check_alone(w, worker, h);
		h->phase = P_WRITING;
		break;
	case P_WRITING:
		write_now(w, worker, h);
		break;
	case P_RESULT:
		f = frame_new(w, F_RESULT, worker);
		f->job = h->job;
		f->answer = h->answer;
		break;
	}
}

static inline void worker_step(struct world *w, unsigned worker)
{
	struct model_worker *m = &w->workers[worker];
	unsigned first = chance(w, HANDS);

	if (m->stopped)
		return;
	if (!m->known || chance(w, 16) == 0)
		(void)frame_new(w, m->known ? F_BEAT : F_READY, worker);
	for (unsigned i = 0; i < HANDS; i++) {
		struct hand *h = &m->hands[(first + i) % HANDS];

		if (h->used) {
			hand_step(w, worker, h);
			return;
		}
	}
}

static inline struct hand *hand_of(struct model_worker *m, const struct queue_lease *l)
{
	for (unsigned i = 0; i < HANDS; i++) {
		struct hand *h = &m->hands[i];

		if (h->used && h->job.lease.page == l->page && h->job.lease.index == l->index &&
		    h->job.lease.epoch == l->epoch)
			return h;
	}
	return NULL;
}

static inline void worker_hears(struct world *w, const struct frame *f)
{
	struct model_worker *m = &w->workers[f->worker];
	struct hand *h = hand_of(m, &f->job.lease);

	if (f->kind == F_TASK) {
		if (f->job.lease.worker != m->nonce || h)
			return;
		for (unsigned i = 0; i < HANDS; i++) {
			if (m->hands[i].used)
				continue;
			m->hands[i] = (struct hand){.used = true, .job = f->job};
			return;
		}
		return;
	}
	if (!h)
		return;
	if (f->kind == F_NOTED && h->phase == P_NOTE)
		h->phase = P_WRITE;
	else if (f->kind == F_REFUSED && h->phase == P_NOTE)
		h->used = false;
	else if (f->kind == F_ANSWERED && h->phase == P_RESULT)
		h->used = false;
}

/* Another process, which knows nothing. */
static inline void worker_starts(struct world *w, unsigned worker)
{
	struct model_worker *m = &w->workers[worker];

	*m = (struct model_worker){.nonce = ++w->nonces,
				   .skew_ms = (int64_t)chance(w, 1000000) - 500000,
				   .creates = w->nonces % 3 != 0,
				   .target = worker % TARGETS};
}

static inline void directory_changes(struct world *w, unsigned user)
{
	struct image *i = &w->images[user];

	i->version++;
	i->content = (uint8_t)chance(w, 3);
	switch (chance(w, 6)) {
	case 0:
		i->gone = !i->gone;
		break;
	case 1:
	case 2:
		i->in ^= (uint8_t)(1U << chance(w, TARGETS));
		break;
	default:
		break;
	}
	w->changed[user] = ++w->seq;
}

#endif
