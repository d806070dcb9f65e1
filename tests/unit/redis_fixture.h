/* A redis-server of a test's own: on a unix socket in a temporary directory, gone with the test. */
#ifndef DIRPIPE_REDIS_FIXTURE_H
#define DIRPIPE_REDIS_FIXTURE_H

#include "buf.h"
#include "clock.h"
#include "unit.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REDIS_DEADLINE_MS = 20000 };

struct redis_server {
	char dir[64], path[80], url[96];
	pid_t pid;
	redisContext *c; /* for looking, synchronous */
};

static inline void redis_server_connect(struct redis_server *s)
{
	int64_t deadline = clock_boot_ms() + REDIS_DEADLINE_MS;

	for (;;) {
		redisReply *reply;

		s->c = redisConnectUnix(s->path);
		reply = s->c && !s->c->err ? redisCommand(s->c, "PING") : NULL;
		if (reply && reply->type == REDIS_REPLY_STATUS) {
			freeReplyObject(reply);
			return;
		}
		if (reply)
			freeReplyObject(reply);
		if (s->c)
			redisFree(s->c);
		assert_true(clock_boot_ms() < deadline);
		usleep(5000);
	}
}

static inline void redis_server_start(struct redis_server *s, const char *appendonly,
				      const char *policy)
{
	if (!s->dir[0]) {
		snprintf(s->dir, sizeof(s->dir), "/tmp/dirpipe-redis-XXXXXX");
		assert_non_null(mkdtemp(s->dir));
		snprintf(s->path, sizeof(s->path), "%s/redis.sock", s->dir);
		snprintf(s->url, sizeof(s->url), "unix://%s", s->path);
	}
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", s->path,
		       "--dir", s->dir, "--appendonly", appendonly, "--appendfsync", "always",
		       "--save", "", "--maxmemory-policy", policy, "--logfile", "redis.log",
		       (char *)NULL);
		_exit(127);
	}
	redis_server_connect(s);
}

static inline void redis_server_kill(struct redis_server *s)
{
	redisFree(s->c);
	s->c = NULL;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}

static inline void redis_server_end(struct redis_server *s)
{
	char *remove = NULL;

	redis_server_kill(s);
	assert_true(asprintf(&remove, "rm -rf %s", s->dir) > 0);
	assert_int_equal(system(remove), 0);
	free(remove);
}

/* The reply as text: strings as they are, integers in decimal, nil "(nil)", arrays by their number of elements. */
static inline const char *redis_ask(struct redis_server *s, const char *format, ...)
{
	static char text[8][4096];
	static unsigned at;
	char *out = text[at++ % 8];
	redisReply *reply;
	va_list ap;

	va_start(ap, format);
	reply = redisvCommand(s->c, format, ap);
	va_end(ap);
	assert_non_null(reply);
	if (reply->type == REDIS_REPLY_NIL)
		snprintf(out, sizeof(text[0]), "(nil)");
	else if (reply->type == REDIS_REPLY_INTEGER)
		snprintf(out, sizeof(text[0]), "%lld", reply->integer);
	else if (reply->type == REDIS_REPLY_ARRAY)
		snprintf(out, sizeof(text[0]), "%zu", reply->elements);
	else
		snprintf(out, sizeof(text[0]), "%s", reply->str);
	freeReplyObject(reply);
	return out;
}

#endif
