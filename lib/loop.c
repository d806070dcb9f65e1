#include "loop.h"

#include "buf.h"
#include "clock.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <zmq.h>

enum { ZMQ_TAKES_A_TURN = 256, SAME_REQUEST_MS = 300 };

/* One turn of libuv: timers, idle, prepare, wait, I/O, check, closing (newer versions run timers last).
 *
 *   prepare: anything that must not wait (a readable ZeroMQ socket, something asked of after)?
 *            then an idle handle is started, which makes the wait return at once
 *   check:   ZeroMQ sockets are drained, then what was asked of after runs
 *
 * libuv runs the youngest handle of a phase first; ours are the eldest, so they come after everybody else's. */
struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle;
	bool running, now_known;
	int64_t now_ms, lag_ms;
	LIST_HEAD(, loop_timer) timers;
	LIST_HEAD(, loop_zmq) sockets;
	LIST_HEAD(, loop_after) afters;
	TAILQ_HEAD(, loop_after) asked;
	unsigned round;
	struct {
		uv_signal_t term, interrupt, hangup;
		loop_fn stop, reload;
		void *arg;
		bool used;
	} signals;
};

struct loop_timer {
	uv_timer_t uv;
	LIST_ENTRY(loop_timer) entry;
	struct loop *loop;
	loop_fn fn;
	void *arg;
	int64_t due_ms;
};

struct loop_after {
	LIST_ENTRY(loop_after) entry;
	TAILQ_ENTRY(loop_after) turn;
	struct loop *loop;
	loop_fn fn;
	void *arg;
	bool asked;
	unsigned round; /* of the ask */
};

struct loop_zmq {
	uv_poll_t uv;
	LIST_ENTRY(loop_zmq) entry;
	struct loop *loop;
	void *socket; /* NULL once freed */
	loop_zmq_fn take;
	void *arg;
};

/* ---- ZeroMQ ---- */

static bool readable(struct loop_zmq *z)
{
	int events = 0;
	size_t n = sizeof(events);

	return z->socket != NULL && zmq_getsockopt(z->socket, ZMQ_EVENTS, &events, &n) == 0 &&
	       (events & ZMQ_POLLIN) != 0;
}

/* A freed socket stays in the list until the closing phase, so that walks of the list survive their callbacks. */
static void drain_sockets(struct loop *loop)
{
	struct loop_zmq *z;

	LIST_FOREACH (z, &loop->sockets, entry) {
		for (int i = 0; i < ZMQ_TAKES_A_TURN && readable(z); i++)
			if (!z->take(z->arg))
				break;
	}
}

static bool any_readable(struct loop *loop)
{
	struct loop_zmq *z;

	LIST_FOREACH (z, &loop->sockets, entry)
		if (readable(z))
			return true;
	return false;
}

static void woke(uv_poll_t *handle, int status, int events)
{
	(void)handle, (void)status, (void)events; /* waking the loop was all: check does the work */
}

struct loop_zmq *loop_zmq_new(struct loop *loop, void *socket, loop_zmq_fn take, void *arg)
{
	struct loop_zmq *z = mem_alloc(sizeof(*z));
	int fd, rc;
	size_t n = sizeof(fd);

	*z = (struct loop_zmq){.loop = loop, .socket = socket, .take = take, .arg = arg};
	rc = zmq_getsockopt(socket, ZMQ_FD, &fd, &n);
	assert(rc == 0);
	rc = uv_poll_init(&loop->uv, &z->uv, fd);
	assert(rc == 0);
	rc = uv_poll_start(&z->uv, UV_READABLE, woke);
	assert(rc == 0);
	(void)rc;
	z->uv.data = z;
	LIST_INSERT_HEAD(&loop->sockets, z, entry);
	return z;
}

static void zmq_closed(uv_handle_t *handle)
{
	struct loop_zmq *z = handle->data;

	LIST_REMOVE(z, entry);
	free(z);
}

void loop_zmq_free(struct loop_zmq *z)
{
	if (z == NULL)
		return;
	z->socket = NULL;
	uv_close((uv_handle_t *)&z->uv, zmq_closed);
}

/* ---- after ---- */

struct loop_after *loop_after_new(struct loop *loop, loop_fn fn, void *arg)
{
	struct loop_after *a = mem_alloc(sizeof(*a));

	*a = (struct loop_after){.loop = loop, .fn = fn, .arg = arg};
	LIST_INSERT_HEAD(&loop->afters, a, entry);
	return a;
}

void loop_after_ask(struct loop_after *a)
{
	if (a->asked)
		return;
	a->asked = true;
	a->round = a->loop->round;
	TAILQ_INSERT_TAIL(&a->loop->asked, a, turn);
}

void loop_after_free(struct loop_after *a)
{
	if (a == NULL)
		return;
	if (a->asked)
		TAILQ_REMOVE(&a->loop->asked, a, turn);
	LIST_REMOVE(a, entry);
	free(a);
}

/* What is asked from here on belongs to the next turn, or two that ask for each other would never end it. */
static void run_asked(struct loop *loop)
{
	unsigned round = ++loop->round;
	struct loop_after *a;

	while ((a = TAILQ_FIRST(&loop->asked)) != NULL && a->round != round) {
		TAILQ_REMOVE(&loop->asked, a, turn);
		a->asked = false;
		a->fn(a->arg);
	}
}

/* ---- the turn ---- */

static void idle(uv_idle_t *handle)
{
	(void)handle;
}

static void before_wait(uv_prepare_t *handle)
{
	struct loop *loop = handle->data;

	loop->now_known = false;
	if (!TAILQ_EMPTY(&loop->asked) || any_readable(loop))
		uv_idle_start(&loop->idle, idle);
}

static void after_io(uv_check_t *handle)
{
	struct loop *loop = handle->data;

	uv_idle_stop(&loop->idle);
	drain_sockets(loop);
	run_asked(loop);
}

struct loop *loop_new(void)
{
	struct loop *loop = mem_alloc(sizeof(*loop));
	int rc = uv_loop_init(&loop->uv);

	assert(rc == 0);
	(void)rc;
	LIST_INIT(&loop->timers);
	LIST_INIT(&loop->sockets);
	LIST_INIT(&loop->afters);
	TAILQ_INIT(&loop->asked);
	loop->prepare.data = loop->check.data = loop;
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_check_init(&loop->uv, &loop->check);
	uv_idle_init(&loop->uv, &loop->idle);
	uv_prepare_start(&loop->prepare, before_wait);
	uv_check_start(&loop->check, after_io);
	return loop;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void close_all(struct loop *loop)
{
	struct loop_zmq *z;

	while (!LIST_EMPTY(&loop->timers))
		loop_timer_free(LIST_FIRST(&loop->timers));
	for (struct loop_after *a = LIST_FIRST(&loop->afters), *next; a != NULL; a = next) {
		next = LIST_NEXT(a, entry);
		loop_after_free(a);
	}
	LIST_FOREACH (z, &loop->sockets, entry)
		if (z->socket != NULL)
			loop_zmq_free(z);
	uv_walk(&loop->uv, close_handle, NULL);
}

/* Work that is under way on a thread is waited for and its done called: its arg is freed nowhere else. */
void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	if (loop->signals.used) {
		signal(SIGTERM, SIG_DFL);
		signal(SIGINT, SIG_DFL);
	}
	do {
		close_all(loop);
		uv_run(&loop->uv, UV_RUN_DEFAULT);
	} while (uv_loop_close(&loop->uv) == UV_EBUSY);
	free(loop);
}

uv_loop_t *loop_uv(struct loop *loop)
{
	return &loop->uv;
}

void loop_run(struct loop *loop)
{
	loop->running = true;
	loop->now_known = false;
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	loop->running = false;
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

int64_t loop_now_ms(struct loop *loop)
{
	if (!loop->running || !loop->now_known) {
		loop->now_ms = clock_boot_ms();
		loop->now_known = true;
	}
	return loop->now_ms;
}

int64_t loop_lag_ms(struct loop *loop)
{
	int64_t lag = loop->lag_ms;

	loop->lag_ms = 0;
	return lag;
}

/* ---- timers ---- */

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg)
{
	struct loop_timer *t = mem_alloc(sizeof(*t));

	*t = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
	uv_timer_init(&loop->uv, &t->uv);
	t->uv.data = t;
	LIST_INSERT_HEAD(&loop->timers, t, entry);
	return t;
}

/* Whoever asks loop_now_ms in a timer's callback finds it not before the time that was set, though the turn's
 * clock was read earlier. */
static void fired(uv_timer_t *handle)
{
	struct loop_timer *t = handle->data;
	struct loop *loop = t->loop;
	int64_t now_ms = clock_boot_ms();

	if (now_ms - t->due_ms > loop->lag_ms)
		loop->lag_ms = now_ms - t->due_ms;
	if (loop_now_ms(loop) < t->due_ms)
		loop->now_ms = now_ms > t->due_ms ? now_ms : t->due_ms;
	t->fn(t->arg);
}

void loop_timer_set(struct loop_timer *t, int64_t delay_ms)
{
	int64_t left_ms;

	if (delay_ms < 0) {
		uv_timer_stop(&t->uv);
		return;
	}
	t->due_ms = loop_now_ms(t->loop) + delay_ms;
	left_ms = t->due_ms - clock_boot_ms();
	uv_update_time(&t->loop->uv);
	uv_timer_start(&t->uv, fired, left_ms > 0 ? (uint64_t)left_ms : 0, 0);
}

static void timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	LIST_REMOVE(t, entry);
	uv_close((uv_handle_t *)&t->uv, timer_closed);
}

/* ---- threads ---- */

struct work {
	uv_work_t uv;
	loop_fn work, done;
	void *arg;
};

static void on_thread(uv_work_t *request)
{
	struct work *w = request->data;

	w->work(w->arg);
}

static void on_loop(uv_work_t *request, int status)
{
	struct work w = *(struct work *)request->data;

	(void)status; /* nobody cancels */
	free(request->data);
	w.done(w.arg);
}

void loop_work(struct loop *loop, loop_fn work, loop_fn done, void *arg)
{
	struct work *w = mem_alloc(sizeof(*w));
	int rc;

	*w = (struct work){.work = work, .done = done, .arg = arg};
	w->uv.data = w;
	rc = uv_queue_work(&loop->uv, &w->uv, on_thread, on_loop);
	assert(rc == 0);
	(void)rc;
}

/* ---- signals ---- */

static int64_t first_signal_ms;

/* Not on the loop, so that the second signal also ends a process whose loop hangs. A terminal and a supervisor often
 * say the same thing twice: what comes within SAME_REQUEST_MS is still the first. */
static void second_signal(int number)
{
	if (clock_boot_ms() - first_signal_ms < SAME_REQUEST_MS)
		return;
	signal(number, SIG_DFL);
	raise(number);
}

static void on_stop(uv_signal_t *handle, int number)
{
	struct loop *loop = handle->data;
	struct sigaction second = {.sa_handler = second_signal, .sa_flags = SA_RESTART};

	(void)number;
	uv_signal_stop(&loop->signals.term);
	uv_signal_stop(&loop->signals.interrupt);
	first_signal_ms = clock_boot_ms();
	sigaction(SIGTERM, &second, NULL);
	sigaction(SIGINT, &second, NULL);
	loop->signals.stop(loop->signals.arg);
}

static void on_reload(uv_signal_t *handle, int number)
{
	struct loop *loop = handle->data;

	(void)number;
	loop->signals.reload(loop->signals.arg);
}

static void watch_signal(struct loop *loop, uv_signal_t *handle, uv_signal_cb fn, int number)
{
	int rc = uv_signal_init(&loop->uv, handle);

	assert(rc == 0);
	handle->data = loop;
	rc = uv_signal_start(handle, fn, number);
	assert(rc == 0);
	(void)rc;
}

void loop_signals(struct loop *loop, loop_fn stop, loop_fn reload, void *arg)
{
	assert(!loop->signals.used);
	loop->signals.used = true;
	loop->signals.stop = stop;
	loop->signals.reload = reload;
	loop->signals.arg = arg;
	watch_signal(loop, &loop->signals.term, on_stop, SIGTERM);
	watch_signal(loop, &loop->signals.interrupt, on_stop, SIGINT);
	if (reload != NULL)
		watch_signal(loop, &loop->signals.hangup, on_reload, SIGHUP);
	signal(SIGPIPE,
	       SIG_IGN); /* a peer that closes is an error code, not the end of the daemon */
}
