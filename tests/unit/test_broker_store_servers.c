/* The store against a real Redis that is restarted, emptied, replicated or wrong, and brokers that take over from each other. */
#include "store_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void test_new_server_process_is_told(void **state)
{
	struct host h;
	uint64_t before;

	(void)state;
	open_store(&h);
	first_page(&h);
	before = h.epoch.number;
	h.wanted = STORE_DOWN;
	redis_server_kill(&server);
	run();
	redis_server_start(&server, "yes", "noeviction");
	await(&h, STORE_READY);
	assert_true(h.lost_tail);
	assert_true(h.epoch.number > before);
	assert_string_equal(redis_ask(&server, "EXISTS " ANNA), "1");
	/* The new process rewrote its file before it got work. */
	assert_null(strstr(redis_ask(&server, "INFO persistence"), "aof_last_rewrite_time_sec:-1"));
	close_store(&h);
	/* Not settled: it is said again. */
	open_store(&h);
	assert_true(h.lost_tail);
	store_settled(h.store);
	first_page(&h);
	close_store(&h);
	open_store(&h);
	assert_false(h.lost_tail);
	close_store(&h);
}

static void test_rewrite_before_work(void **state)
{
	struct host h;
	const char *info;

	(void)state;
	open_store(&h);
	info = redis_ask(&server, "INFO persistence");
	assert_non_null(strstr(info, "aof_rewrite_in_progress:0"));
	assert_null(strstr(info, "aof_last_rewrite_time_sec:-1"));
	close_store(&h);
}

static void test_emptied_store_is_told(void **state)
{
	struct host h;
	uint64_t before;

	(void)state;
	open_store(&h);
	first_page(&h);
	before = h.epoch.number;
	close_store(&h);
	redis_ask(&server, "FLUSHALL");
	open_store(&h);
	assert_false(h.emptied); /* nobody has told yet */
	h.wanted = STORE_READY;
	store_epoch_seen(h.store, before);
	assert_int_equal(h.state, STORE_DOWN);
	run();
	assert_true(h.emptied);
	assert_true(h.lost_tail);
	close_store(&h);
	/* Until it is settled every load says so. */
	open_store(&h);
	assert_true(h.emptied);
	close_store(&h);
}

static void test_own_and_older_epochs_are_nothing_new(void **state)
{
	struct host h;
	uint64_t before;

	(void)state;
	open_store(&h);
	before = h.epoch.number;
	close_store(&h);
	open_store(&h);
	store_epoch_seen(h.store, before);
	store_epoch_seen(h.store, h.epoch.number);
	store_epoch_seen(h.store, 1);
	assert_int_equal(h.state, STORE_READY);
	close_store(&h);
}

static void test_higher_epoch_is_outbid(void **state)
{
	struct host h;
	uint64_t high;

	(void)state;
	open_store(&h);
	high = h.epoch.number + 1000000;
	h.wanted = STORE_READY;
	store_epoch_seen(h.store, high);
	run();
	assert_int_equal(h.epoch.number, high + 1);
	assert_true(h.emptied);
	close_store(&h);
}

static void release_done(void *arg)
{
	(void)arg;
	loop_stop(t.loop);
}

static void test_standby_takes_over(void **state)
{
	struct host a, b = {0};

	(void)state;
	open_store(&a);
	first_page(&a);
	open_conf(&b, true, 1000);
	await(&b, STORE_STANDBY);
	store_release(a.store, release_done, NULL);
	run();
	b.wanted = STORE_READY;
	if (b.state != STORE_READY)
		run();
	assert_true(b.epoch.number > a.epoch.number);
	assert_int_equal(queue_users(b.queue, 0), 2);
	refused_page(&a, "FENCED epoch");
	close_store(&a);
	close_store(&b);
}

/* A name of this host and boot for another process; PX far beyond the test. */
static void hold_as(pid_t pid, bool elsewhere)
{
	CLEANUP(buf_cleanup) struct buf command = {0};
	char name[96], *place, *rest;

	store_holder_name(name, sizeof(name));
	place = strchr(strchr(name, '/') + 1, '/');
	rest = strchr(name, '/');
	*rest = '\0';
	if (elsewhere)
		place[1] = place[1] == '0' ? '1' : '0';
	buf_addf(&command, "SET {dp:t}:active %s/%d%s PX 600000", name, (int)pid, place);
	redis_ask(&server, command.p);
}

static void test_killed_broker_is_not_waited_for(void **state)
{
	struct host b = {0}, c = {0};
	pid_t dead = fork();

	(void)state;
	if (dead == 0)
		_exit(0);
	assert_int_equal(waitpid(dead, NULL, 0), dead);
	/* one that lives, and one of which nothing is known */
	hold_as(getppid(), false);
	open_conf(&b, true, 1000);
	await(&b, STORE_STANDBY);
	close_store(&b);
	hold_as(dead, true);
	open_conf(&c, true, 1000);
	await(&c, STORE_STANDBY);
	close_store(&c);
	hold_as(dead, false);
	open_conf(&c, true, 1000);
	await(&c, STORE_READY);
	close_store(&c);
}

static void test_silent_broker_is_replaced(void **state)
{
	struct host b = {0};

	(void)state;
	redis_ask(&server, "SET {dp:t}:active other/1/ab PX 400");
	open_conf(&b, true, 1000);
	await(&b, STORE_STANDBY);
	await(&b, STORE_READY);
	close_store(&b);
}

static void refused_server(const char *setting, const char *value, const char *word, bool always)
{
	struct host h = {0};

	redis_ask(&server, "CONFIG SET %s %s", setting, value);
	open_conf(&h, always, 3000);
	await(&h, STORE_DOWN);
	assert_non_null(strstr(h.why, word));
	assert_string_equal(redis_ask(&server, "EXISTS {dp:t}:epoch"), "0");
	close_store(&h);
}

static void test_wrong_server_is_refused(void **state)
{
	(void)state;
	refused_server("appendfsync", "everysec", "appendfsync", true);
	refused_server("appendfsync", "no", "appendfsync", false);
	redis_ask(&server, "CONFIG SET appendfsync always");
	refused_server("maxmemory-policy", "allkeys-lru", "noeviction", true);
	redis_ask(&server, "CONFIG SET maxmemory-policy noeviction");
	refused_server("appendonly", "no", "appendonly", true);
}

/* A port that was free a moment ago. */
static int free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	close(fd);
	return ntohs(at.sin_port);
}

static pid_t replica_start(int port)
{
	char text[16], path[96];
	pid_t pid;

	snprintf(text, sizeof(text), "%d", port);
	snprintf(path, sizeof(path), "%s/replica.sock", server.dir);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--dir",
		       server.dir, "--dbfilename", "replica.rdb", "--save", "", "--logfile",
		       "replica.log", "--replicaof", "127.0.0.1", text, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void give_up_waiting(void *arg)
{
	(void)arg;
	loop_stop(t.loop);
}

/* Stored on the master alone is not written; with the replica there it is, and the tasks are whole. */
static void test_page_waits_for_the_replica(void **state)
{
	struct queue_effect effects[4];
	struct queue_page page;
	struct loop_timer *pause;
	struct host h;
	int port = free_port();
	pid_t replica;

	(void)state;
	redis_ask(&server, "CONFIG SET port %d", port);
	redis_ask(&server, "CONFIG SET repl-diskless-sync-delay 0");
	replicas = 1;
	open_store(&h);
	page_begin(&h, &page, effects);
	put_user(&page, &anna, NULL);
	put_entry(&page, QUEUE_DISPATCH, QUEUE_FLIGHT, QUEUE_CLEAN);
	store_write(h.store, &page);
	pause = loop_timer_new(t.loop, give_up_waiting, NULL);
	loop_timer_set(pause, 1200); /* more than two WAITs */
	run();
	assert_string_equal(redis_ask(&server, "GET {dp:t}:page"), "1");
	assert_int_equal(h.written, 0);
	assert_int_equal(store_under_way(h.store), 1);
	replica = replica_start(port);
	h.stop_after = 1;
	run();
	assert_ptr_equal(h.page, &page);
	assert_int_equal(h.tasks_n, 1);
	assert_string_equal(h.snapshot, "{\"dn\":\"x\"}");
	assert_string_equal(h.source, "corp");
	loop_timer_free(pause);
	close_store(&h);
	replicas = 0;
	kill(replica, SIGKILL);
	waitpid(replica, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_new_server_process_is_told),
		TEST(test_rewrite_before_work),
		TEST(test_emptied_store_is_told),
		TEST(test_own_and_older_epochs_are_nothing_new),
		TEST(test_higher_epoch_is_outbid),
		TEST(test_standby_takes_over),
		TEST(test_killed_broker_is_not_waited_for),
		TEST(test_silent_broker_is_replaced),
		TEST(test_wrong_server_is_refused),
		TEST(test_page_waits_for_the_replica),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
