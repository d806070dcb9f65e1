/* Lines on the control socket of a broker whose (empty) store answers at once. Each line gets one answer, a JSON object with the line's id;
 * whoever has said all is answered and let go. */
#include "fake_redis.h"

#include "admin.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *const targets[] = {"app"}, *const sources[] = {"corp"};
static struct queue_target_conf target_conf = {.name = "app",
					       .concurrency = 64,
					       .guard_count = 5,
					       .retry_first_ms = 10,
					       .retry_cap_ms = 100,
					       .dead_after_ms = 60000};
static const char *endpoints[1];
static struct session_conf conf = {
	.endpoints = endpoints,
	.endpoints_n = 1,
	.turn = {.store = {.realm = "t",
			   .fsync_always = true,
			   .active_ttl_ms = 3000,
			   .targets = targets,
			   .sources = sources,
			   .targets_n = 1,
			   .sources_n = 1},
		 .queue = {.lease_ms = 5000, .grace_ms = 500, .verify_after_ms = 60000},
		 .targets = &target_conf}};
static struct loop *loop;
static struct session *session;
static struct admin *admin;
static char folder[] = "/tmp/fuzz_control.XXXXXX", at[64], endpoint[64];

static void drop(void)
{
	admin_free(admin);
	session_free(session);
	loop_free(loop);
	unlink(at);
	unlink(endpoint + 6);
	rmdir(folder);
}

static void turn(void)
{
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	while (fake_answer())
		;
}

static void set_up(void)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (loop)
		return;
	must(mkdtemp(folder) != NULL);
	snprintf(at, sizeof(at), "%s/c", folder);
	snprintf(endpoint, sizeof(endpoint), "ipc://%s/b", folder);
	endpoints[0] = endpoint;
	loop = loop_new();
	session = session_new(loop, &conf, &why);
	must(session != NULL);
	admin = admin_new(loop, at, session, &why);
	must(admin != NULL);
	must(atexit(drop) == 0);
	fake.state = REDIS_DOWN;
	for (int i = 0; i < 20; i++)
		turn();
	must(turn_queue(session_turn(session)) != NULL);
}

static int call(struct slice lines)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(to.sun_path, at, strlen(at) + 1);
	must(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0);
	must(send(fd, lines.p, lines.n, MSG_DONTWAIT) == (ssize_t)lines.n);
	must(shutdown(fd, SHUT_WR) == 0);
	return fd;
}

static bool hear(int fd, struct buf *all)
{
	char bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n > 0)
		buf_add(all, bytes, (size_t)n);
	return n != 0;
}

static void check(struct slice answers, size_t lines)
{
	while (answers.n > 0) {
		cJSON *answer = json_parse(fuzz_take(&answers, '\n'), NULL);

		must(cJSON_IsBool(json_get(answer, "ok")) && json_get(answer, "id"));
		must(json_get(answer, "result") || json_text(json_object(answer, "error"), "code"));
		cJSON_Delete(answer);
		must(lines-- > 0);
	}
	must(lines == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_cleanup) struct buf heard = {0};
	struct slice all = {(const char *)data, size}, rest = all;
	size_t lines = 0;
	int fd;

	set_up();
	if (size == 0 || size > 4000)
		return 0;
	while (rest.n > 0) {
		bool ends = memchr(rest.p, '\n', rest.n) != NULL;

		lines += fuzz_take(&rest, '\n').n > 0 && ends;
	}
	fd = call(all);
	for (int i = 0; hear(fd, &heard); i++) {
		must(i < 100000);
		turn();
	}
	check(buf_slice(&heard), lines);
	close(fd);
	turn();
	return 0;
}
