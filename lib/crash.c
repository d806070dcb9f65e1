#include "crash.h"

#ifdef DIRPIPE_TEST_HOOKS
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Passes that are left before the process dies at `name`; a malformed value is a broken test and aborts. */
static const char *name_at;
static size_t name_n;
static unsigned long left;

static void read_environment(void)
{
	const char *value = getenv("DIRPIPE_CRASH_AT");
	const char *colon;
	char *end;

	if (value == NULL || *value == '\0')
		return;
	colon = strrchr(value, ':');
	if (colon == NULL || colon == value)
		abort();
	errno = 0;
	left = strtoul(colon + 1, &end, 10);
	if (errno != 0 || end == colon + 1 || *end != '\0' || left == 0)
		abort();
	name_at = value;
	name_n = (size_t)(colon - value);
}

void crash_point(const char *name)
{
	static bool ready;

	if (!ready) {
		read_environment();
		ready = true;
	}
	if (name_at == NULL || strlen(name) != name_n || memcmp(name, name_at, name_n) != 0)
		return;
	if (--left == 0)
		raise(SIGKILL);
}
#endif
