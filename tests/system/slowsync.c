/* A disk that stalls: while the file named by $SLOWSYNC exists, each sync of this process takes a second and a half longer.
 * test_faults_redis.py loads it into redis-server. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/syscall.h>

static void stall(void)
{
	const char *flag = getenv("SLOWSYNC");
	struct timespec rest = {1, 500000000};

	if (flag && access(flag, F_OK) == 0)
		nanosleep(&rest, NULL);
}

int fdatasync(int fd)
{
	stall();
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	stall();
	return (int)syscall(SYS_fsync, fd);
}
