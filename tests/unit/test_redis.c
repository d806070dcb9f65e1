/* The Redis connection: against a real redis-server on a socket of its own, and against a server that says what a script tells it. */
#include "loop_fixture.h"

#include "redis.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/test_redis.XXXXXX";

/* ---- what is seen ---- */

enum { SEEN_MAX = 4096 };
static struct {
	int ups, downs;
	char why[256];
	enum redis_class classes[SEEN_MAX];
	char texts[SEEN_MAX][64];
	int n, stop_after; /* replies */
	int stop_after_ups, stop_after_downs;
} seen;

static void on_state(void *arg, enum redis_state state, const char *why)
{
	(void)arg;
	if (state == REDIS_UP && ++seen.ups == seen.stop_after_ups)
		loop_stop(t.loop);
	if (state == REDIS_DOWN) {
		snprintf(seen.why, sizeof(seen.why), "%s", why);
		if (++seen.downs == seen.stop_after_downs)
			loop_stop(t.loop);
	}
}

static void on_reply(void *arg, enum redis_class class, const redisReply *reply)
{
	(void)arg;
	assert(seen.n < SEEN_MAX);
	seen.classes[seen.n] = class;
	snprintf(seen.texts[seen.n], sizeof(seen.texts[0]), "%s",
		 reply && reply->str ? reply->str : "");
	if (++seen.n == seen.stop_after)
		loop_stop(t.loop);
}

static void look_for(int replies, int ups, int downs)
{
	memset(&seen, 0, sizeof(seen));
	seen.stop_after = replies;
	seen.stop_after_ups = ups;
	seen.stop_after_downs = downs;
}

static void call(struct redis *r, const char *a, const char *b, const char *c)
{
	struct slice argv[3] = {slice_of(a), slice_of(b), slice_of(c)};

	redis_call(r, argv, c ? 3 : b ? 2 : 1, on_reply, NULL);
}

/* ---- a real server ---- */

static struct {
	pid_t pid;
	char socket[100], url[120];
} server;

static bool connectable(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
	close(fd);
	return rc == 0;
}

static void server_start(void)
{
	snprintf(server.socket, sizeof(server.socket), "%s/redis.sock", folder);
	snprintf(server.url, sizeof(server.url), "unix://%s", server.socket);
	server.pid = fork();
	if (server.pid == 0) {
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server.socket,
		       "--dir", folder, "--save", "", "--appendonly", "no", "--logfile",
		       "redis.log", "--user", "limited", "on", ">sesame", "~a:*", "+@all",
		       "-flushall", (char *)NULL);
		_exit(127);
	}
	for (int tries = 0; !connectable(server.socket); tries++) {
		assert_int_equal(waitpid(server.pid, NULL, WNOHANG), 0);
		assert_true(tries < 3000);
		poll(NULL, 0, 10);
	}
}

static void server_stop(void)
{
	kill(server.pid, SIGKILL);
	waitpid(server.pid, NULL, 0);
}

static struct redis_conf conf_of(const char *url)
{
	return (struct redis_conf){
		.url = url, .connect_timeout_ms = 5000, .call_timeout_ms = 20000};
}

static struct redis *open_up(const struct redis_conf *conf)
{
	struct redis *r;

	look_for(0, 1, 0);
	r = redis_new(t.loop, conf, on_state, NULL);
	assert_non_null(r);
	assert_int_equal(redis_state(r), REDIS_CONNECTING);
	run();
	assert_int_equal(redis_state(r), REDIS_UP);
	return r;
}

static void replies_come_in_the_order_of_calls(void **state)
{
	struct redis_conf conf = conf_of(server.url);
	struct redis *r = open_up(&conf);
	char text[16];

	(void)state;
	look_for(1000, 0, 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		call(r, "ECHO", text, NULL);
	}
	assert_int_equal(seen.n, 0);
	run();
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(seen.classes[i], REDIS_CLASS_OK);
		assert_string_equal(seen.texts[i], text);
	}
	redis_free(r);
}

static void errors_of_a_real_server_have_their_class(void **state)
{
	struct redis_conf conf = conf_of(server.url);
	struct redis *r = open_up(&conf);

	(void)state;
	look_for(5, 0, 0);
	call(r, "SET", "text", "x");
	call(r, "HGETALL", "text", NULL);
	call(r, "EVALSHA", "0123456789012345678901234567890123456789", "0");
	call(r, "EVAL", "return redis.error_reply('FENCED epoch 7')", "0");
	call(r, "FCALL", "none", "0");
	run();
	assert_int_equal(seen.classes[0], REDIS_CLASS_OK);
	assert_int_equal(seen.classes[1], REDIS_CLASS_WRONG);
	assert_int_equal(seen.classes[2], REDIS_CLASS_WRONG);
	assert_int_equal(seen.classes[3], REDIS_CLASS_FENCED);
	assert_int_equal(seen.classes[4], REDIS_CLASS_WRONG);
	redis_free(r);
}

static void user_and_password_open_the_door(void **state)
{
	struct secret *good = secret_new("sesame", 6);
	struct secret *bad = secret_new("hunter2", 7);
	struct redis_conf conf = conf_of(server.url);
	struct redis *r;

	(void)state;
	conf.user = "limited";
	conf.password = good;
	r = open_up(&conf);
	look_for(2, 0, 0);
	call(r, "SET", "b:1", "x");
	call(r, "FLUSHALL", NULL, NULL);
	run();
	assert_int_equal(seen.classes[0], REDIS_CLASS_DENIED);
	assert_int_equal(seen.classes[1], REDIS_CLASS_DENIED);
	redis_free(r);

	conf.password = bad;
	look_for(0, 0, 2);
	r = redis_new(t.loop, &conf, on_state, NULL);
	run();
	assert_string_equal(seen.why, "AUTH refused: WRONGPASS");
	assert_int_equal(seen.ups, 0);
	redis_free(r);
	secret_free(good);
	secret_free(bad);
}

static void a_restart_is_survived(void **state)
{
	struct redis_conf conf = conf_of(server.url);
	struct redis *r = open_up(&conf);

	(void)state;
	look_for(0, 0, 1);
	server_stop();
	run();
	assert_int_equal(redis_state(r), REDIS_DOWN);
	look_for(1, 0, 0);
	call(r, "PING", NULL, NULL);
	assert_int_equal(seen.n, 0); /* never inside the call */
	run();
	assert_int_equal(seen.classes[0], REDIS_CLASS_UNKNOWN);
	look_for(0, 1, 0);
	server_start();
	run();
	look_for(1, 0, 0);
	call(r, "PING", NULL, NULL);
	run();
	assert_string_equal(seen.texts[0], "PONG");
	redis_free(r);
}

static void reconnecting_drops_what_was_under_way(void **state)
{
	struct redis_conf conf = conf_of(server.url);
	struct redis *r = open_up(&conf);

	(void)state;
	look_for(0, 1, 0);
	call(r, "SET", "a:1", "x");
	redis_reconnect(r);
	assert_int_equal(seen.n, 0);
	run();
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.classes[0], REDIS_CLASS_UNKNOWN);
	assert_int_equal(seen.downs, 1);
	redis_free(r);
}

static void free_in_a_reply(void *arg, enum redis_class class, const redisReply *reply)
{
	on_reply(NULL, class, reply);
	redis_free(arg);
	loop_stop(t.loop);
}

static void freeing_answers_everybody_once(void **state)
{
	struct redis_conf conf = conf_of(server.url);
	struct redis *r = open_up(&conf);
	struct slice ping = SLICE("PING");

	(void)state;
	look_for(0, 0, 0);
	call(r, "PING", NULL, NULL);
	redis_call(r, &ping, 1, free_in_a_reply, r);
	for (int i = 0; i < 10; i++)
		call(r, "PING", NULL, NULL);
	run();
	assert_int_equal(seen.n, 12);
	assert_int_equal(seen.classes[1], REDIS_CLASS_OK);
	for (int i = 2; i < 12; i++)
		assert_int_equal(seen.classes[i], REDIS_CLASS_UNKNOWN);

	look_for(0, 0, 0);
	r = redis_new(t.loop, &conf, on_state, NULL);
	call(r, "PING", NULL, NULL);
	redis_free(r); /* while it connects */
	assert_int_equal(seen.n, 1);

	r = open_up(&conf);
	look_for(0, 0, 0);
	redis_reconnect(r);
	call(r, "PING", NULL, NULL);
	redis_call(r, &ping, 1, free_in_a_reply, r);
	call(r, "PING", NULL, NULL);
	run(); /* freed from within the delivery of lost calls */
	assert_int_equal(seen.n, 3);
}

/* ---- a server that follows a script ---- */

/* Answers the n-th read of a connection with the n-th text; NULL: closes. After the last text it is silent. */
static struct {
	int fd;
	uint16_t port;
	uv_poll_t listener;
	const char *const *script;
	size_t script_n;
	int connections;
	char url[64];
	char heard[512];
} fake;

struct visitor {
	uv_poll_t poll;
	int fd;
	size_t next;
};

static void visitor_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void visitor_leaves(struct visitor *v)
{
	uv_poll_stop(&v->poll);
	close(v->fd);
	uv_close((uv_handle_t *)&v->poll, visitor_closed);
}

static void visitor_speaks(uv_poll_t *poll, int status, int events)
{
	struct visitor *v = poll->data;
	char heard[256];
	ssize_t n = status < 0 ? 0 : read(v->fd, heard, sizeof(heard) - 1);
	const char *text;

	(void)events;
	if (n <= 0) {
		visitor_leaves(v);
		return;
	}
	heard[n] = 0;
	strncat(fake.heard, heard, sizeof(fake.heard) - strlen(fake.heard) - 1);
	if (v->next >= fake.script_n)
		return;
	text = fake.script[v->next++];
	if (!text || send(v->fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		visitor_leaves(v);
	else if (v->next < fake.script_n && !fake.script[v->next])
		visitor_leaves(v); /* what follows is a close */
}

static void visitor_comes(uv_poll_t *poll, int status, int events)
{
	struct visitor *v = mem_alloc(sizeof(*v));

	(void)poll, (void)status, (void)events;
	v->fd = accept4(fake.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert(v->fd >= 0);
	fake.connections++;
	v->poll.data = v;
	uv_poll_init(loop_uv(t.loop), &v->poll, v->fd);
	uv_poll_start(&v->poll, UV_READABLE, visitor_speaks);
}

static void fake_start(const char *const *script, size_t n)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t a_n = sizeof(a);

	memset(&fake, 0, sizeof(fake));
	fake.script = script;
	fake.script_n = n;
	fake.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake.fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fake.fd, 8), 0);
	assert_int_equal(getsockname(fake.fd, (struct sockaddr *)&a, &a_n), 0);
	fake.port = ntohs(a.sin_port);
	snprintf(fake.url, sizeof(fake.url), "redis://127.0.0.1:%u", fake.port);
	uv_poll_init(loop_uv(t.loop), &fake.listener, fake.fd);
	uv_poll_start(&fake.listener, UV_READABLE, visitor_comes);
}

static void fake_stop(void)
{
	uv_poll_stop(&fake.listener);
	uv_close((uv_handle_t *)&fake.listener, NULL);
	close(fake.fd);
	/* The visitors see the end of file and the closed handles get their turn. */
	look_for(0, 0, 0);
	loop_timer_set(t.deadline, 0);
	loop_run(t.loop);
	t.late = false;
}

#define SCRIPT(...)                                                                                \
	(const char *const[]){__VA_ARGS__},                                                        \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static void a_refused_connection_is_tried_again(void **state)
{
	struct redis_conf conf;
	struct redis *r;
	int64_t began;

	(void)state;
	fake_start(NULL, 0);
	conf = conf_of(fake.url);
	uv_poll_stop(&fake.listener);
	close(fake.fd); /* nobody listens there now */
	look_for(0, 0, 3);
	began = loop_now_ms(t.loop);
	r = redis_new(t.loop, &conf, on_state, NULL);
	run();
	assert_string_equal(seen.why, "Connection refused");
	/* Two waits, of at least 50 and 100 ms. */
	assert_true(loop_now_ms(t.loop) - began >= 150);
	redis_free(r);

	conf.url = "unix:///nowhere/at/all";
	look_for(0, 0, 2);
	r = redis_new(t.loop, &conf, on_state, NULL);
	run();
	assert_string_equal(seen.why, "No such file or directory");
	redis_free(r);
	uv_close((uv_handle_t *)&fake.listener, NULL);
}

static void every_text_has_its_class(void **state)
{
	static const struct {
		const char *text;
		enum redis_class class;
	} cases[] = {
		{"WRONGTYPE Operation against a key holding the wrong kind of value",
		 REDIS_CLASS_WRONG},
		{"NOSCRIPT No matching script. Please use EVAL.", REDIS_CLASS_WRONG},
		{"OOM command not allowed when used memory > 'maxmemory'. script: 1f2e, on "
		 "@user_script:1.",
		 REDIS_CLASS_FULL},
		{"READONLY You can't write against a read only replica.", REDIS_CLASS_MASTER},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		 REDIS_CLASS_WAIT},
		{"NOAUTH Authentication required.", REDIS_CLASS_DENIED},
		{"WRONGPASS invalid username-password pair or user is disabled.",
		 REDIS_CLASS_DENIED},
		{"NOPERM this user has no permissions to access one of the keys used as arguments",
		 REDIS_CLASS_DENIED},
		{"NOPERM this user has no permissions to run the 'set' command",
		 REDIS_CLASS_DENIED},
		{"NOGROUP No such key 'nos' or consumer group 'g' in XREADGROUP with GROUP option",
		 REDIS_CLASS_WRONG},
		{"BUSY Redis is busy running a script.", REDIS_CLASS_WAIT},
		{"MISCONF Redis is configured to save RDB snapshots, but", REDIS_CLASS_FULL},
		{"ERR max number of clients reached", REDIS_CLASS_WAIT},
		{"LOADING Redis is loading the dataset in memory", REDIS_CLASS_WAIT},
		{"TRYAGAIN Multiple keys request during rehashing of slot", REDIS_CLASS_WAIT},
		{"CLUSTERDOWN The cluster is down", REDIS_CLASS_WAIT},
		{"FENCED", REDIS_CLASS_FENCED},
		{"FENCED epoch 9 is active", REDIS_CLASS_FENCED},
		{"FENCEDX", REDIS_CLASS_WRONG},
		{"BUSYGROUP Consumer Group name already exists", REDIS_CLASS_WRONG},
		{"ERR Function not found", REDIS_CLASS_WRONG},
		{"", REDIS_CLASS_WRONG},
	};
	const size_t n = sizeof(cases) / sizeof(cases[0]);
	struct buf replies = {0};
	struct redis_conf conf;
	struct redis *r;

	(void)state;
	for (size_t i = 0; i < n; i++)
		buf_addf(&replies, "-%s\r\n", cases[i].text);
	fake_start(SCRIPT("+PONG\r\n", replies.p));
	conf = conf_of(fake.url);
	r = open_up(&conf);
	look_for((int)n, 0, 0);
	for (size_t i = 0; i < n; i++)
		call(r, "ANY", NULL, NULL);
	run();
	for (size_t i = 0; i < n; i++)
		if (seen.classes[i] != cases[i].class)
			fail_msg("%s: class %d, wanted %d", cases[i].text, (int)seen.classes[i],
				 (int)cases[i].class);
	assert_int_equal(redis_classify(NULL), REDIS_CLASS_UNKNOWN);
	redis_free(r);
	fake_stop();
	buf_done(&replies);
}

/* A server that refuses the greeting is not up, and says why. */
static void greeting_refused(const char *text, const char *why)
{
	struct redis_conf conf;
	struct redis *r;

	fake_start(SCRIPT(text, NULL));
	conf = conf_of(fake.url);
	look_for(0, 0, 2);
	r = redis_new(t.loop, &conf, on_state, NULL);
	run();
	assert_int_equal(seen.ups, 0);
	assert_non_null(strstr(seen.why, why));
	assert_int_equal(fake.connections, 2);
	redis_free(r);
	fake_stop();
}

static void a_refused_greeting_is_not_up(void **state)
{
	(void)state;
	greeting_refused("-LOADING Redis is loading the dataset in memory\r\n",
			 "PING refused: LOADING Redis is loading");
	greeting_refused("-NOAUTH Authentication required.\r\n", "PING refused: NOAUTH");
	greeting_refused("-ERR max number of clients reached\r\n", "max number of clients");
	greeting_refused(":1\r\n", "not the answer of a Redis server");
	greeting_refused("HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error");
	greeting_refused("+PO", "Server closed the connection");
}

/* What a server repeats of AUTH must not reach a log. */
static void a_password_is_never_repeated(void **state)
{
	struct secret *password = secret_new("hunter2", 7);
	struct redis_conf conf;
	struct redis *r;

	(void)state;
	fake_start(SCRIPT(
		"-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n-ERR x\r\n"));
	conf = conf_of(fake.url);
	conf.password = password;
	look_for(0, 0, 1);
	r = redis_new(t.loop, &conf, on_state, NULL);
	run();
	assert_string_equal(seen.why, "AUTH refused: ERR");
	assert_non_null(strstr(fake.heard, "AUTH\r\n$7\r\nhunter2\r\n"));
	redis_free(r);
	fake_stop();
	secret_free(password);
}

static void the_database_is_selected(void **state)
{
	char url[100];
	struct redis_conf conf;
	struct redis *r;

	(void)state;
	fake_start(SCRIPT("+OK\r\n+PONG\r\n"));
	snprintf(url, sizeof(url), "redis://localhost:%u/7", fake.port);
	conf = conf_of(url); /* by name: looked up on a thread */
	r = open_up(&conf);
	assert_non_null(strstr(fake.heard, "SELECT\r\n$1\r\n7\r\n"));
	redis_free(r);
	fake_stop();
	conf = conf_of("redis://localhost:1/x");
	assert_null(redis_new(t.loop, &conf, on_state, NULL));
	conf = conf_of("http://localhost");
	assert_null(redis_new(t.loop, &conf, on_state, NULL));
}

static void half_a_reply_and_a_close_leave_the_outcome_unknown(void **state)
{
	struct redis_conf conf;
	struct redis *r;

	(void)state;
	fake_start(SCRIPT("+PONG\r\n", "+first\r\n$100\r\nhalf", NULL));
	conf = conf_of(fake.url);
	r = open_up(&conf);
	look_for(3, 0, 0);
	call(r, "ONE", NULL, NULL);
	call(r, "TWO", NULL, NULL);
	call(r, "THREE", NULL, NULL);
	run();
	assert_int_equal(seen.classes[0], REDIS_CLASS_OK);
	assert_int_equal(seen.classes[1], REDIS_CLASS_UNKNOWN);
	assert_int_equal(seen.classes[2], REDIS_CLASS_UNKNOWN);
	assert_int_equal(seen.downs, 1);
	redis_free(r);
	fake_stop();
}

static void garbage_ends_the_connection(void **state)
{
	struct redis_conf conf;
	struct redis *r;

	(void)state;
	fake_start(SCRIPT("+PONG\r\n", "%1\r\n+a\r\n+b\r\n"));
	conf = conf_of(fake.url);
	r = open_up(&conf);
	look_for(1, 0, 0);
	call(r, "ONE", NULL, NULL);
	run();
	assert_int_equal(seen.classes[0], REDIS_CLASS_UNKNOWN);
	assert_non_null(strstr(seen.why, "Protocol error"));
	redis_free(r);
	fake_stop();
}

static void silence_ends_in_a_time_out(void **state)
{
	struct redis_conf conf;
	struct redis *r;
	int64_t began;

	(void)state;
	fake_start(SCRIPT("+PONG\r\n", "+first\r\n"));
	conf = conf_of(fake.url);
	conf.call_timeout_ms = 300;
	r = open_up(&conf);
	look_for(3, 0, 0);
	began = loop_now_ms(t.loop);
	call(r, "ONE", NULL, NULL);
	call(r, "TWO", NULL, NULL);
	call(r, "THREE", NULL, NULL);
	run();
	assert_int_equal(seen.classes[0], REDIS_CLASS_OK);
	assert_int_equal(seen.classes[1], REDIS_CLASS_UNKNOWN);
	assert_int_equal(seen.classes[2], REDIS_CLASS_UNKNOWN);
	assert_true(loop_now_ms(t.loop) - began >= 300);
	assert_string_equal(seen.why, "no answer within 300 ms");
	redis_free(r);
	fake_stop();
}

static void a_dead_greeting_times_out(void **state)
{
	struct redis_conf conf;
	struct redis *r;

	(void)state;
	fake_start(NULL, 0);
	conf = conf_of(fake.url);
	conf.connect_timeout_ms = 200;
	look_for(0, 0, 1);
	r = redis_new(t.loop, &conf, on_state, NULL);
	run();
	assert_string_equal(seen.why, "no connection within 200 ms");
	redis_free(r);
	fake_stop();
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(folder))
		return -1;
	server_start();
	return 0;
}

static int tear_down(void **state)
{
	struct buf command = {0};
	int rc;

	(void)state;
	server_stop();
	buf_addf(&command, "rm -rf '%s'", folder);
	rc = system(command.p);
	buf_done(&command);
	return rc;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(replies_come_in_the_order_of_calls),
		TEST(errors_of_a_real_server_have_their_class),
		TEST(user_and_password_open_the_door),
		TEST(a_restart_is_survived),
		TEST(reconnecting_drops_what_was_under_way),
		TEST(freeing_answers_everybody_once),
		TEST(a_refused_connection_is_tried_again),
		TEST(every_text_has_its_class),
		TEST(a_refused_greeting_is_not_up),
		TEST(a_password_is_never_repeated),
		TEST(the_database_is_selected),
		TEST(half_a_reply_and_a_close_leave_the_outcome_unknown),
		TEST(garbage_ends_the_connection),
		TEST(silence_ends_in_a_time_out),
		TEST(a_dead_greeting_times_out),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
