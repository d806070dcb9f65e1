/* Who holds the realm: HOST/PID/PLACE/RANDOM, in the key `active`. PLACE is the boot and the pid namespace, where PID means a process. A
 * broker that was killed needs not be waited for by one that can see that it is gone; everybody else waits for the key's end. */
#include "store_redis.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACE_TEXT = 17 };

static void place_of_pids(char place[static PLACE_TEXT])
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	char part[128];
	struct fp fp;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, part, sizeof(part));

	if (fd >= 0)
		close(fd);
	buf_add(&text, part, n > 0 ? (size_t)n : 0);
	n = readlink("/proc/self/ns/pid", part, sizeof(part));
	buf_add(&text, part, n > 0 ? (size_t)n : 0);
	if (text.n == 0) /* a place that is nobody else's */
		randombytes_buf(buf_grow(&text, 8), 8);
	fp = fp_of(buf_slice(&text));
	sodium_bin2hex(place, PLACE_TEXT, fp.b, PLACE_TEXT / 2);
}

void store_holder_name(char *out, size_t size)
{
	char host[32] = "", place[PLACE_TEXT], unique[17];
	uint8_t random[8];

	gethostname(host, sizeof(host) - 1);
	place_of_pids(place);
	randombytes_buf(random, sizeof(random));
	sodium_bin2hex(unique, sizeof(unique), random, sizeof(random));
	snprintf(out, size, "%s/%d/%s/%s", host, (int)getpid(), place, unique);
}

bool store_holder_gone(struct slice holder)
{
	CLEANUP(free_cleanup) char *name = slice_dup(holder);
	char place[PLACE_TEXT], *pid = strchr(name, '/'), *rest = NULL;
	long number = pid ? strtol(pid + 1, &rest, 10) : 0;

	place_of_pids(place);
	if (number <= 1 || number > INT32_MAX || !rest || rest[0] != '/' ||
	    strncmp(rest + 1, place, strlen(place)) != 0 || rest[1 + strlen(place)] != '/')
		return false;
	return kill((pid_t)number, 0) < 0 && errno == ESRCH;
}
