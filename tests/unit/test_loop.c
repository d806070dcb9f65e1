#include "clock.h"
#include "loop_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- after ---- */

static struct loop_after *after, *other;
static struct loop_timer *timer;
static int count, other_count;

static void count_and_stop(void *arg)
{
	(void)arg;
	count++;
	loop_stop(t.loop);
}

static void ask_twice(void *arg)
{
	(void)arg;
	loop_after_ask(after);
	loop_after_ask(after);
}

static void after_asked_by_a_timer(void **state)
{
	(void)state;
	count = 0;
	after = loop_after_new(t.loop, count_and_stop, NULL);
	timer = loop_timer_new(t.loop, ask_twice, NULL);
	loop_timer_set(timer, 1);
	run();
	assert_int_equal(count, 1);
}

static void after_asked_before_the_loop_runs(void **state)
{
	(void)state;
	count = 0;
	after = loop_after_new(t.loop, count_and_stop, NULL);
	loop_after_ask(after);
	run();
	assert_int_equal(count, 1);
}

enum { ROUNDS = 1000 };

static void ask_other(void *arg)
{
	(void)arg;
	if (++count == ROUNDS)
		loop_stop(t.loop);
	loop_after_ask(other);
}

static void ask_back(void *arg)
{
	(void)arg;
	other_count++;
	loop_after_ask(after);
}

/* Two that ask for each other take turns: nothing is lost, and a timer gets its turn among them. */
static void after_asked_by_another_after(void **state)
{
	(void)state;
	count = other_count = 0;
	after = loop_after_new(t.loop, ask_other, NULL);
	other = loop_after_new(t.loop, ask_back, NULL);
	loop_after_ask(after);
	run();
	assert_int_equal(count, ROUNDS);
	assert_in_range(other_count, ROUNDS - 1, ROUNDS);
}

static void ask_self(void *arg)
{
	(void)arg;
	count++;
	loop_after_ask(after);
}

static void after_never_starves_a_timer(void **state)
{
	(void)state;
	count = 0;
	after = loop_after_new(t.loop, ask_self, NULL);
	loop_after_ask(after);
	timer = loop_timer_new(t.loop, stop, NULL);
	loop_timer_set(timer, 20);
	run();
	assert_true(count > 1);
}

static int order[3], order_n;

static void on_async(uv_async_t *handle)
{
	loop_after_ask(after);
	order[order_n++] = *(int *)handle->data;
}

static void note_after(void *arg)
{
	(void)arg;
	order[order_n++] = 9;
	loop_stop(t.loop);
}

/* Both handlers of the turn ran before what the first of them asked for. */
static void after_follows_all_io_of_the_turn(void **state)
{
	static uv_async_t a, b; /* closed with the loop */
	int one = 1, two = 1;

	(void)state;
	order_n = 0;
	after = loop_after_new(t.loop, note_after, NULL);
	uv_async_init(loop_uv(t.loop), &a, on_async);
	uv_async_init(loop_uv(t.loop), &b, on_async);
	a.data = &one;
	b.data = &two;
	uv_async_send(&a);
	uv_async_send(&b);
	run();
	assert_int_equal(order_n, 3);
	assert_int_equal(order[0] + order[1], 2);
	assert_int_equal(order[2], 9);
}

static void free_other_and_self(void *arg)
{
	(void)arg;
	loop_after_free(other);
	loop_after_free(after);
	loop_timer_set(timer, 0);
}

static void must_not_run(void *arg)
{
	(void)arg;
	abort();
}

static void after_freed_inside_a_callback(void **state)
{
	(void)state;
	after = loop_after_new(t.loop, free_other_and_self, NULL);
	other = loop_after_new(t.loop, must_not_run, NULL);
	timer = loop_timer_new(t.loop, stop, NULL);
	loop_after_ask(after);
	loop_after_ask(other);
	run();
	loop_after_free(NULL);
}

/* ---- timers and the clock ---- */

static int64_t due_ms;

static void fire(void *arg)
{
	(void)arg;
	assert_true(loop_now_ms(t.loop) >= due_ms);
	assert_true(clock_boot_ms() >= due_ms - 1);
	if (++count == 50) {
		loop_stop(t.loop);
		return;
	}
	due_ms = loop_now_ms(t.loop) + count % 4;
	loop_timer_set(timer, count % 4);
}

static void timer_never_early(void **state)
{
	(void)state;
	count = 0;
	timer = loop_timer_new(t.loop, fire, NULL);
	due_ms = clock_boot_ms() + 5;
	loop_timer_set(timer, 5);
	run();
	assert_int_equal(count, 50);
}

static void timer_moves_and_stops(void **state)
{
	struct loop_timer *moved = loop_timer_new(t.loop, count_and_stop, NULL);
	struct loop_timer *stopped = loop_timer_new(t.loop, must_not_run, NULL);
	int64_t start_ms = clock_boot_ms();

	(void)state;
	count = 0;
	loop_timer_set(moved, 1);
	loop_timer_set(moved, 40);
	loop_timer_set(stopped, 1);
	loop_timer_set(stopped, -1);
	run();
	assert_int_equal(count, 1);
	assert_true(clock_boot_ms() - start_ms >= 39);
	loop_timer_free(NULL);
}

static void free_timer(void *arg)
{
	(void)arg;
	loop_timer_free(timer);
	loop_stop(t.loop);
}

static void timer_freed_inside_its_callback(void **state)
{
	(void)state;
	timer = loop_timer_new(t.loop, free_timer, NULL);
	loop_timer_set(timer, 0);
	run();
}

/* Holds the loop until the turn's clock is surely behind. */
static void hold_loop(void *arg)
{
	int64_t now_ms = loop_now_ms(t.loop);

	(void)arg;
	while (clock_boot_ms() < now_ms + 30)
		;
	assert_int_equal(loop_now_ms(t.loop), now_ms);
}

/* The turn's clock was read before this timer's time came; the timer is not to see it. */
static void stop_in_time(void *arg)
{
	assert_true(loop_now_ms(t.loop) >= due_ms);
	stop(arg);
}

static void lag_is_the_worst_lateness(void **state)
{
	struct loop_timer *first = loop_timer_new(t.loop, hold_loop, NULL);
	struct loop_timer *second = loop_timer_new(t.loop, stop_in_time, NULL);
	int64_t lag_ms;

	(void)state;
	loop_timer_set(first, 1);
	loop_timer_set(second, 5);
	due_ms = clock_boot_ms() + 4;
	run();
	lag_ms = loop_lag_ms(t.loop);
	assert_true(lag_ms >= 20 && lag_ms < DEADLINE_MS);
	assert_int_equal(loop_lag_ms(t.loop), 0);
}

/* ---- threads ---- */

static pthread_t loop_thread, work_thread;

static void work(void *arg)
{
	work_thread = pthread_self();
	*(int *)arg += 1;
}

static void worked(void *arg)
{
	assert_true(pthread_equal(pthread_self(), loop_thread));
	*(int *)arg += 10;
	loop_stop(t.loop);
}

static void work_runs_on_a_thread_and_done_on_the_loop(void **state)
{
	int value = 0;

	(void)state;
	loop_thread = pthread_self();
	loop_work(t.loop, work, worked, &value);
	run();
	assert_int_equal(value, 11);
	assert_false(pthread_equal(work_thread, loop_thread));
}

static void free_waits_for_work(void **state)
{
	int value = 0;

	(void)state;
	loop_thread = pthread_self();
	loop_work(t.loop, work, worked, &value);
	loop_free(t.loop);
	assert_int_equal(value, 11);
	t.loop = loop_new();
}

/* ---- signals ---- */

static int reloads;

static void on_reload(void *arg)
{
	(void)arg;
	reloads++;
	raise(SIGTERM);
}

static void signals_reload_and_stop(void **state)
{
	(void)state;
	count = reloads = 0;
	loop_signals(t.loop, count_and_stop, on_reload, NULL);
	raise(SIGHUP);
	run();
	assert_int_equal(reloads, 1);
	assert_int_equal(count, 1);
}

static void say_and_hang(void *arg)
{
	ssize_t n = write(*(int *)arg, "s", 1);

	assert_int_equal(n, 1);
	for (;;)
		pause();
}

/* The loop hangs in its stop callback; the terminal's repeated signal is still the first, a later one ends it. */
static void second_signal_ends_a_hung_process(void **state)
{
	int ends[2], status = 0;
	int64_t start_ms;
	pid_t child, got;
	char byte;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		struct loop *loop = loop_new();

		loop_signals(loop, say_and_hang, NULL, &ends[1]);
		kill(getpid(), SIGTERM);
		loop_run(loop);
		_exit(0);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	start_ms = clock_boot_ms();
	do {
		const struct timespec pace = {.tv_nsec = 2000000};

		kill(child, SIGTERM);
		nanosleep(&pace, NULL);
		got = waitpid(child, &status, WNOHANG);
	} while (got == 0 && clock_boot_ms() - start_ms < DEADLINE_MS);
	assert_int_equal(got, child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_true(clock_boot_ms() - start_ms > 100);
	close(ends[0]);
	close(ends[1]);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(after_asked_by_a_timer),
		ON_LOOP(after_asked_before_the_loop_runs),
		ON_LOOP(after_asked_by_another_after),
		ON_LOOP(after_never_starves_a_timer),
		ON_LOOP(after_follows_all_io_of_the_turn),
		ON_LOOP(after_freed_inside_a_callback),
		ON_LOOP(timer_never_early),
		ON_LOOP(timer_moves_and_stops),
		ON_LOOP(timer_freed_inside_its_callback),
		ON_LOOP(lag_is_the_worst_lateness),
		ON_LOOP(work_runs_on_a_thread_and_done_on_the_loop),
		ON_LOOP(free_waits_for_work),
		ON_LOOP(signals_reload_and_stop),
		ON_LOOP(second_signal_ends_a_hung_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
