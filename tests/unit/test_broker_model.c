/* Random schedules against the engine: everything that can fail does, then it may not fail any more, and all must
 * come to rest where the directory says. DIRPIPE_SCHEDULES: how many (100,000 when optimised, else 5,000); DIRPIPE_SEED and DIRPIPE_STEPS: one
 * schedule again, DIRPIPE_STEPS of its steps. A schedule that fails is shortened and printed. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model_broker.h"
#include "unit.h"

#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
enum { SCHEDULES = 5000 };
#else
enum { SCHEDULES = 100000 };
#endif
enum { STEPS = 160, CHILDREN = 2, REST_ROUNDS = 6000 };

static void deliver(struct model *m)
{
	unsigned from = chance(&m->w, FRAMES);

	for (unsigned i = 0; i < FRAMES; i++) {
		struct frame *f = &m->w.frames[(from + i) % FRAMES], copy;

		if (!f->used || (m->w.workers[f->worker].stopped && f->kind >= F_TASK))
			continue;
		copy = *f;
		f->used = copy.kind != F_TASK && fault(&m->w, 12); /* else it comes again */
		if (fault(&m->w, 10))
			return; /* lost */
		if (copy.kind < F_TASK)
			model_hears(m, &copy);
		else
			worker_hears(&m->w, &copy);
		return;
	}
}

/* A row of a plan, of the version that the engine has or (now and then) of another. */
static void row_approved(struct model *m, struct sheet *s, unsigned t, const struct id *id)
{
	CLEANUP(buf_cleanup) struct buf permits = {0};
	unsigned u = n_of(id);
	uint64_t version = m->store.users[u].version; /* as the plan saw it */
	bool other = version > 1 && chance(&m->w, 8) == 0;
	struct queue_approved row = {.user = *id,
				     .version = version - other,
				     .hash = {{0xa0, (uint8_t)u, (uint8_t)(version - other)}}};
	struct queue_entry_row entry = {0};
	bool flies = queue_peek(m->q, t, id, &entry) == 0 && entry.state == QUEUE_FLIGHT;
	struct slice why;
	enum queue_approval before = queue_approval(m->q, t, id, &why);
	int rc;

	wire_add_op(&permits, &(struct wire_op){SLICE("disable"), SLICE("")});
	row.permits = wire_list_of(&permits, 1);
	rc = queue_approve(m->q, &s->page, t, &row);
	CHECK(rc != 0 || !other || before != QUEUE_NO_APPROVAL, "approved for another version", u,
	      t);
	CHECK(rc != -EBUSY || flies, "busy, and nobody works on it", u, t);
	if (rc == 0 && queue_approval(m->q, t, id, &why) == QUEUE_APPROVED &&
	    m->rows[u][t].version != row.version)
		m->rows[u][t] = (struct approved){.version = row.version};
}

static void operator_asks(struct model *m)
{
	struct id id = id_n(chance(&m->w, USERS));
	unsigned t = chance(&m->w, TARGETS);
	const struct wire_op disable = {SLICE("disable"), SLICE("")};
	struct sheet *s = model_begin(m);
	int rc = 0;

	switch (chance(&m->w, 8)) {
	case 6:
	case 7:
		row_approved(m, s, t, &id);
		break;
	case 0:
		rc = queue_retry(m->q, &s->page, t, &id);
		break;
	case 1:
		rc = queue_resync(m->q, &s->page, t, &id);
		break;
	case 2:
	case 3:
		m->paused[t] = !m->paused[t];
		rc = queue_set_pause(m->q, &s->page, t, m->paused[t], SLICE("works"));
		break;
	case 4:
		s->approved = true;
		rc = queue_judge_held(m->q, &s->page, t, chance(&m->w, 2) ? &id : NULL,
				      chance(&m->w, 2) ? &disable : NULL, true);
		break;
	default:
		rc = queue_judge_held(m->q, &s->page, t, &id, NULL, false);
		break;
	}
	CHECK(rc == 0 || rc == -ENOENT, "an operator's word failed", 0, t);
	model_end(m, s);
}

static void turn(struct model *m)
{
	model_end(m, model_begin(m));
}

static void config_changes(struct model *m)
{
	unsigned t = chance(&m->w, TARGETS);
	struct queue_target_conf conf = model_target;

	m->config[t]++;
	conf.name = t ? "b" : "a";
	conf.config = (struct fp){{1, (uint8_t)m->config[t]}};
	(void)queue_target_add(m->q, &conf);
}

/* Somebody deletes an account at the target, and dirpipe is told to look. */
static void account_lost(struct model *m, unsigned u, unsigned t)
{
	struct id id = id_n(u);
	struct sheet *s = model_begin(m);

	m->w.lives[u][t] += m->w.accounts[u][t].exists;
	m->w.lost[u][t] = true;
	m->w.accounts[u][t].exists = m->w.accounts[u][t].enabled = false;
	if (queue_resync(m->q, &s->page, t, &id) < 0)
		m->w.lost[u][t] = false; /* nobody knows the user yet */
	model_end(m, s);
}

static void rare_step(struct model *m, unsigned kind)
{
	struct world *w = &m->w;
	unsigned worker = chance(w, WORKERS);

	switch (kind) {
	case 0:
	case 1:
		w->workers[worker].stopped = !w->workers[worker].stopped;
		break;
	case 2:
		if (chance(w, 2))
			queue_worker_gone(m->q, PEER + worker);
		worker_starts(w, worker);
		break;
	case 3:
		if (chance(w, 2))
			model_crash(m, 0, chance(w, 2));
		else if (w->random % 3 == 0)
			model_crash(m, 1 + chance(w, HISTORY), chance(w, 2));
		break;
	case 4:
		operator_asks(m);
		break;
	case 5:
		m->c.open = false;
		break;
	case 6:
		if (chance(w, 2))
			config_changes(m);
		else
			account_lost(m, chance(w, USERS), chance(w, TARGETS));
		break;
	default:
		model_compare(m);
		break;
	}
}

static void advance(struct model *m, uint32_t most)
{
	m->w.now_ms += chance(&m->w, most);
	lates_run(&m->w);
}

static void step(struct model *m)
{
	struct world *w = &m->w;
	unsigned kind = chance(w, 108), user;

	if (kind < 8) {
		user = chance(w, USERS);
		directory_changes(w, user);
		m->c.dirty |= 1U << user;
	} else if (kind < 22) {
		collector_step(m);
	} else if (kind < 32) {
		advance(m, 2000);
	} else if (kind < 35) {
		advance(m, 50000);
	} else if (kind < 60) {
		deliver(m);
	} else if (kind < 86) {
		worker_step(w, chance(w, WORKERS));
	} else if (kind < 96) {
		if (m->sheets_n > 0)
			model_commit(m);
	} else if (kind < 100) {
		turn(m);
	} else {
		rare_step(m, kind - 100);
	}
}

/* ---- to rest ---- */

static bool busy(const struct model *m)
{
	for (unsigned i = 0; i < FRAMES; i++) {
		if (m->w.frames[i].used)
			return true;
	}
	for (unsigned i = 0; i < WORKERS * HANDS; i++) {
		if (m->w.workers[i / HANDS].hands[i % HANDS].used)
			return true;
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		if (!m->w.workers[i].known)
			return true;
	}
	return m->sheets_n > 0 || !m->c.open || m->c.sent || m->c.dirty || m->c.acked == 0;
}

static bool lates_left(const struct model *m)
{
	for (unsigned i = 0; i < LATES; i++) {
		if (m->w.lates[i].used)
			return true;
	}
	return false;
}

static void calm_down(struct model *m)
{
	m->w.calm = true;
	for (unsigned i = 0; i < WORKERS; i++)
		m->w.workers[i].stopped = false;
	for (unsigned t = 0; t < TARGETS; t++) {
		struct sheet *s = model_begin(m);

		CHECK(queue_set_pause(m->q, &s->page, t, false, (struct slice){0}) == 0,
		      "no resume", 0, t);
		m->paused[t] = false;
		model_end(m, s);
	}
	for (unsigned i = 0; i < USERS * TARGETS; i++) {
		if (m->w.lost[i / TARGETS][i % TARGETS])
			account_lost(m, i / TARGETS, i % TARGETS);
	}
}

static void round_of_all(struct model *m)
{
	while (m->sheets_n > 0)
		model_commit(m);
	for (unsigned i = 0; i < 8; i++)
		deliver(m);
	for (unsigned i = 0; i < WORKERS; i++)
		worker_step(&m->w, i);
	collector_step(m);
}

/* Workers beat every second: while nothing else moves, time passes in their beats, too. */
static void pass_to(struct model *m, int64_t at_ms)
{
	m->w.now_ms = at_ms;
	for (unsigned i = 0; i < WORKERS; i++)
		queue_worker_beat(m->q, PEER + i, clock_of(&m->w, i));
}

/* Until nothing moves and the engine asks for no more turns. */
static void come_to_rest(struct model *m)
{
	calm_down(m);
	for (unsigned i = 0; i < REST_ROUNDS; i++) {
		round_of_all(m);
		if (m->next_ms <= m->w.now_ms)
			turn(m);
		if (busy(m))
			m->w.now_ms += 5;
		else if (m->next_ms != INT64_MAX || lates_left(m))
			pass_to(m, m->next_ms < m->w.now_ms + 60000 && m->next_ms > m->w.now_ms
					   ? m->next_ms
					   : m->w.now_ms + 60000);
		else
			return;
		lates_run(&m->w);
	}
	CHECK(false, "it does not come to rest", 0, 0);
}

static void check_stuck(const struct model *m, unsigned u, unsigned t)
{
	const struct cell *c = &m->store.cells[u][t];
	char text[sizeof(c->stuck.p) + 1] = "";

	memcpy(text, c->stuck.p, c->stuck.n);
	CHECK(image_same(&m->w.stuck[u][t], &m->w.images[u]), "stuck on an old version", u, t);
	CHECK(!strstr(text, "seat:"), "nobody asked for a seat again", u, t);
	CHECK(!strstr(text, "ref:") || !manager_rid(&m->store, u, t),
	      "waits for a rid that is there", u, t);
}

static void check_account(const struct model *m, unsigned u, unsigned t)
{
	const struct image *i = &m->w.images[u];
	const struct account *a = &m->w.accounts[u][t];
	const struct cell *c = &m->store.cells[u][t];
	bool in = !i->gone && (i->in >> t & 1), held = m->store.held[u][t].present;

	CHECK(c->row.in == in, "the scope is not the directory's", u, t);
	if (!in) {
		CHECK(held || !a->exists || !a->enabled, "left, and not disabled", u, t);
		return;
	}
	CHECK(a->exists && a->enabled, "in scope, and not there", u, t);
	CHECK(a->content == i->content, "not the newest version", u, t);
	CHECK(a->role == role_of(i), "its turn never came", u, t);
	CHECK(!m->store.serial[u][t].present, "waits for a turn that it had", u, t);
	CHECK(!held, "held, although nobody wants it any more", u, t);
	CHECK(a->manager == manager_rid(&m->store, u, t),
	      "refers to what is there no more, or is owed a reference", u, t);
}

static void check_entry(struct model *m, unsigned u, unsigned t)
{
	const struct image *i = &m->w.images[u];
	const struct cell *c = &m->store.cells[u][t];

	if (!c->present) {
		CHECK(i->gone || !(i->in >> t & 1), "in scope, and no entry", u, t);
		return;
	}
	CHECK(c->row.state != QUEUE_DUE && c->row.state != QUEUE_FLIGHT &&
		      c->row.state != QUEUE_RETRY,
	      "not at rest", u, t);
	CHECK(c->row.verify == QUEUE_VERIFY_NONE || c->row.state == QUEUE_DEAD ||
		      c->row.state == QUEUE_PARKED,
	      "not verified", u, t);
	if (c->row.state == QUEUE_CLEAN)
		check_account(m, u, t);
	else
		check_stuck(m, u, t);
}

static void check_end(struct model *m)
{
	model_compare(m);
	for (unsigned u = 0; u < USERS; u++) {
		const struct image *i = &m->w.images[u];

		CHECK(image_same(&m->store.users[u].image, i), "the store has an old snapshot", u,
		      0);
		for (unsigned t = 0; t < TARGETS; t++)
			check_entry(m, u, t);
	}
}

/* ---- one schedule ---- */

static void schedule(struct model *m, uint64_t seed, unsigned steps)
{
	struct queue_page pages[UNDER_WAY + 1];

	/* The pages' memory serves every schedule. */
	for (unsigned i = 0; i <= UNDER_WAY; i++)
		pages[i] = m->sheets[i].page;
	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i <= UNDER_WAY; i++)
		m->sheets[i].page = pages[i];
	m->w.random = seed * 0x2545f4914f6cdd1d;
	m->w.now_ms = 5000000;
	m->conf = (struct queue_conf){
		.lease_ms = LEASE_MS, .grace_ms = GRACE_MS, .verify_after_ms = 300000};
	for (unsigned u = 0; u < USERS; u++) {
		m->w.images[u] = (struct image){.version = 1, .in = (uint8_t)chance(&m->w, 4)};
		m->w.changed[u] = ++m->w.seq;
	}
	for (unsigned i = 0; i < WORKERS; i++)
		worker_starts(&m->w, i);
	model_load(m, model_engine(m), false);
	for (unsigned i = 0; i < steps; i++)
		step(m);
	come_to_rest(m);
	check_end(m);
	/* Then nothing but an account that is lost: whoever refers to it has no other cause. */
	for (unsigned t = 0; t < TARGETS; t++)
		account_lost(m, chance(&m->w, USERS), t);
	come_to_rest(m);
	check_end(m);
	queue_free(m->q);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

struct progress {
	uint64_t seed[CHILDREN], grants, rows;
};

static void child(struct progress *p, unsigned which, uint64_t first, uint64_t n)
{
	struct model *m = mem_alloc(sizeof(*m));

	for (uint64_t i = which; i < n; i += CHILDREN) {
		p->seed[which] = first + i;
		schedule(m, first + i, STEPS);
		__atomic_add_fetch(&p->grants, m->grants_seen, __ATOMIC_RELAXED);
		__atomic_add_fetch(&p->rows, m->rows_done, __ATOMIC_RELAXED);
	}
	for (unsigned i = 0; i <= UNDER_WAY; i++)
		queue_page_done(&m->sheets[i].page);
	free(m);
}

static bool passes(uint64_t seed, unsigned steps)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct model *m = mem_alloc(sizeof(*m));

		signal(SIGABRT, SIG_DFL);
		(void)!freopen("/dev/null", "w", stderr);
		schedule(m, seed, steps);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

/* The shortest beginning that still fails. */
static unsigned shortened(uint64_t seed)
{
	for (unsigned steps = 0; steps < STEPS; steps++) {
		if (!passes(seed, steps))
			return steps;
	}
	return STEPS;
}

static void random_schedules(void **state)
{
	uint64_t n = number_from("DIRPIPE_SCHEDULES", SCHEDULES),
		 first = number_from("DIRPIPE_FIRST", 1);
	struct progress *p =
		mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[CHILDREN];
	unsigned failed = CHILDREN;

	(void)state;
	assert_true(p != MAP_FAILED);
	for (unsigned i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			signal(SIGABRT, SIG_DFL); /* cmocka would go on */
			child(p, i, first, n);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < CHILDREN; i++) {
		int status = 0;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		if (status != 0)
			failed = i;
	}
	if (failed < CHILDREN)
		fail_msg("DIRPIPE_SEED=%llu DIRPIPE_STEPS=%u fails",
			 (unsigned long long)p->seed[failed], shortened(p->seed[failed]));
	assert_true(n < 1000 || p->rows > 0);
	assert_true(n < 1000 || p->grants > 0); /* the schedules reach what they are to prove */
	(void)munmap(p, sizeof(*p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_schedules)};
	uint64_t seed = number_from("DIRPIPE_SEED", 0);

	if (seed) {
		struct model *m = mem_alloc(sizeof(*m));

		schedule(m, seed, (unsigned)number_from("DIRPIPE_STEPS", STEPS));
		for (unsigned i = 0; i <= UNDER_WAY; i++)
			queue_page_done(&m->sheets[i].page);
		free(m);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
