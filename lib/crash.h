/* Crash points for the tests: DIRPIPE_CRASH_AT=name:n kills the process (SIGKILL) at the n-th pass of
 * CRASH_POINT(name). Compiled to nothing in what is installed. */
#ifndef DIRPIPE_CRASH_H
#define DIRPIPE_CRASH_H

#ifdef DIRPIPE_TEST_HOOKS
void crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif
