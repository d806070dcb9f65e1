#include "crash.h"
#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef DIRPIPE_TEST_HOOKS
/* How a child ends that passes `other` and `here` three times each: passes in the exit code, or a signal. */
static int child_with(const char *value)
{
	int status, passes[2];
	char byte = 0;
	pid_t child;

	assert_int_equal(pipe(passes), 0);
	child = fork();
	if (child == 0) {
		if (value != NULL)
			setenv("DIRPIPE_CRASH_AT", value, 1);
		for (byte = 1; byte <= 3; byte++) {
			CRASH_POINT("other");
			CRASH_POINT("here");
			if (write(passes[1], &byte, 1) != 1)
				_exit(99);
		}
		_exit(0);
	}
	close(passes[1]);
	while (read(passes[0], &byte, 1) == 1)
		;
	close(passes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		return byte * 1000;
	return byte * 1000 + WTERMSIG(status);
}

static void dies_at_the_nth_pass(void **state)
{
	(void)state;
	assert_int_equal(child_with(NULL), 3000);
	assert_int_equal(child_with(""), 3000);
	assert_int_equal(child_with("here:1"), SIGKILL);
	assert_int_equal(child_with("here:2"), 1000 + SIGKILL);
	assert_int_equal(child_with("other:3"), 2000 + SIGKILL);
	assert_int_equal(child_with("here:4"), 3000);
	assert_int_equal(child_with("her:1"), 3000);
	assert_int_equal(child_with("hereabouts:1"), 3000);
}

static void broken_value_aborts(void **state)
{
	(void)state;
	assert_int_equal(child_with("here"), SIGABRT);
	assert_int_equal(child_with("here:"), SIGABRT);
	assert_int_equal(child_with("here:0"), SIGABRT);
	assert_int_equal(child_with("here:2x"), SIGABRT);
	assert_int_equal(child_with(":2"), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dies_at_the_nth_pass),
		cmocka_unit_test(broken_value_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
/* Without hooks a crash point is nothing at all: there is no crash_point to link. */
static void costs_nothing(void **state)
{
	(void)state;
	setenv("DIRPIPE_CRASH_AT", "here:1", 1);
	CRASH_POINT("here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(costs_nothing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
