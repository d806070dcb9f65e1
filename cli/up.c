/* `dirpipe up`: everything on one host. A private redis-server where broker.redis.url is a unix socket that nobody serves, then the broker, a
 * collector for each source and workers for each target. What ends is started again with backoff; SIGTERM ends the outer programs first,
 * the broker then, Redis last, so that nothing is cut that the others still need. */
#include "cli.h"
#include "loop.h"
#include "service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { UP_REDIS, UP_BROKER, UP_EDGE, UP_ROUNDS }; /* started in this order, ended in the other */
enum {
	UP_ARGS = 32,
	BACKOFF_FIRST_MS = 200,
	BACKOFF_CAP_MS = 10000,
	STEADY_MS = 10000,
	PATIENCE_MS = 15000
};

struct child {
	struct child *next;
	struct up *up;
	char *argv[UP_ARGS];
	char *label;
	int round;
	uv_process_t process;
	bool running;
	int64_t started_ms, backoff_ms;
	struct loop_timer *again;
};

struct up {
	struct loop *loop;
	const struct cli *cli;
	struct child *children;
	struct loop_timer *probe, *patience;
	char *redis_socket, *control_socket;
	int round; /* the last one that was started */
	bool stopping, ready;
	int rc;
};

static void up_next(struct up *u);
static void up_end_round(struct up *u);

static void say(const struct up *u, const char *label, const char *text)
{
	if (!u->cli->quiet)
		fprintf(stderr, "dirpipe: %s %s\n", label, text);
}

static bool answers(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return false;
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
	close(fd);
	return rc == 0;
}

/* ---- one child ---- */

static struct child *child_add(struct up *u, int round, const char *label)
{
	struct child *c = mem_alloc(sizeof(*c));
	struct child **end = &u->children;

	c->up = u;
	c->round = round;
	c->label = mem_dup(label);
	c->backoff_ms = BACKOFF_FIRST_MS;
	while (*end)
		end = &(*end)->next;
	*end = c;
	return c;
}

static void child_arg(struct child *c, const char *text)
{
	for (int i = 0; i < UP_ARGS - 1; i++) {
		if (!c->argv[i]) {
			c->argv[i] = mem_dup(text);
			return;
		}
	}
	fprintf(stderr, "dirpipe: too many arguments for %s\n", c->label);
	abort();
}

static void child_start(void *arg);

static bool none_runs(const struct up *u, int round)
{
	for (const struct child *c = u->children; c; c = c->next) {
		if (c->round == round && c->running)
			return false;
	}
	return true;
}

static void child_ended(uv_process_t *process, int64_t status, int signal_number)
{
	struct child *c = process->data;
	struct up *u = c->up;
	char text[96];

	c->running = false;
	uv_close((uv_handle_t *)process, NULL);
	if (u->stopping) {
		up_end_round(u);
		return;
	}
	if (signal_number)
		snprintf(text, sizeof(text), "was ended by signal %d", signal_number);
	else
		snprintf(text, sizeof(text), "ended with code %d", (int)status);
	say(u, c->label, text);
	if (status == EXIT_CONFIG_ && !signal_number) { /* it will not get better by itself */
		u->rc = EXIT_CONFIG_;
		u->stopping = true;
		up_end_round(u);
		return;
	}
	if (loop_now_ms(u->loop) - c->started_ms > STEADY_MS)
		c->backoff_ms = BACKOFF_FIRST_MS;
	loop_timer_set(c->again, c->backoff_ms);
	c->backoff_ms = c->backoff_ms * 2 > BACKOFF_CAP_MS ? BACKOFF_CAP_MS : c->backoff_ms * 2;
}

static void child_start(void *arg)
{
	struct child *c = arg;
	uv_stdio_container_t io[3] = {{.flags = UV_IGNORE},
				      {.flags = UV_INHERIT_FD, .data.fd = 2},
				      {.flags = UV_INHERIT_FD, .data.fd = 2}};
	uv_process_options_t options = {.file = c->argv[0],
					.args = c->argv,
					.exit_cb = child_ended,
					.stdio = io,
					.stdio_count = 3};
	int rc;

	if (c->up->stopping)
		return;
	if (!c->again)
		c->again = loop_timer_new(c->up->loop, child_start, c);
	c->process.data = c;
	rc = uv_spawn(loop_uv(c->up->loop), &c->process, &options);
	if (rc < 0) {
		say(c->up, c->label, uv_strerror(rc));
		uv_close((uv_handle_t *)&c->process, NULL);
		c->up->rc = EXIT_UNAVAILABLE_;
		c->up->stopping = true;
		up_end_round(c->up);
		return;
	}
	c->running = true;
	c->started_ms = loop_now_ms(c->up->loop);
	say(c->up, c->label, "started");
}

/* ---- rounds ---- */

static void start_round(struct up *u, int round)
{
	u->round = round;
	for (struct child *c = u->children; c; c = c->next) {
		if (c->round == round)
			child_start(c);
	}
}

/* Called again and again until the last round's service answers. */
static void up_next(struct up *u)
{
	const char *path = u->round == UP_REDIS ? u->redis_socket : u->control_socket;

	if (u->stopping)
		return;
	if (!path || answers(path)) {
		start_round(u, u->round + 1);
	}
	if (u->round < UP_EDGE) {
		loop_timer_set(u->probe, 20);
	} else if (!u->ready) {
		u->ready = true;
		service_ready(u->loop);
		say(u, "everything", "runs; `dirpipe status` shows it");
	}
}

static void on_probe(void *arg)
{
	up_next(arg);
}

static void up_end_round(struct up *u)
{
	loop_timer_set(u->probe, -1);
	while (u->round >= 0 && none_runs(u, u->round))
		u->round--;
	if (u->round < 0) {
		loop_stop(u->loop);
		return;
	}
	for (struct child *c = u->children; c; c = c->next) {
		if (c->again)
			loop_timer_set(c->again, -1);
		if (c->round == u->round && c->running)
			uv_process_kill(&c->process, SIGTERM);
	}
	loop_timer_set(u->patience, PATIENCE_MS);
}

/* Redis does not end while it cannot write its file (full disk): nothing is lost by a kill, the append-only file has all. */
static void on_patience(void *arg)
{
	struct up *u = arg;

	for (struct child *c = u->children; c; c = c->next) {
		if (c->round == u->round && c->running) {
			say(u, c->label, "does not end: killed");
			uv_process_kill(&c->process, SIGKILL);
		}
	}
}

static void on_stop(void *arg)
{
	struct up *u = arg;

	if (u->stopping)
		return;
	u->stopping = true;
	service_stopping();
	up_end_round(u);
}

static void on_reload(void *arg)
{
	struct up *u = arg;

	for (struct child *c = u->children; c; c = c->next) {
		if (c->round != UP_REDIS && c->running)
			uv_process_kill(&c->process, SIGHUP);
	}
}

/* ---- what to run ---- */

static int add_redis(struct up *u, const struct conf_node *broker, const char *state)
{
	const struct conf_node *redis = conf_section(broker, "redis");
	const char *url = conf_text(redis, "url");
	struct buf dir = {0};
	struct child *c;

	if (strncmp(url, "unix://", 7) != 0 || answers(url + 7))
		return 0; /* somebody else's: the broker checks it */
	u->redis_socket = mem_dup(url + 7);
	unlink(u->redis_socket);
	buf_addf(&dir, "%s/redis", state);
	if ((mkdir(state, 0700) < 0 && errno != EEXIST) ||
	    (mkdir(dir.p, 0700) < 0 && errno != EEXIST)) {
		fprintf(stderr, "dirpipe: cannot make the directory %s: %s\n", dir.p,
			strerror(errno));
		buf_done(&dir);
		return EXIT_UNAVAILABLE_;
	}
	const char *const args[] = {"redis-server",
				    "--port",
				    "0",
				    "--unixsocket",
				    u->redis_socket,
				    "--unixsocketperm",
				    "600",
				    "--dir",
				    dir.p,
				    "--appendonly",
				    "yes",
				    "--appendfsync",
				    conf_text(redis, "fsync"),
				    "--save",
				    "",
				    "--maxmemory-policy",
				    "noeviction",
				    "--hash-max-listpack-value",
				    "2048",
				    "--daemonize",
				    "no",
				    "--loglevel",
				    "warning"};

	c = child_add(u, UP_REDIS, "redis-server");
	for (size_t i = 0; i < sizeof(args) / sizeof(*args); i++)
		child_arg(c, args[i]);
	buf_done(&dir);
	return 0;
}

static void add_program(struct up *u, int round, const char *program, const char *name, int number)
{
	CLEANUP(free_cleanup) char *path = cli_program(program);
	CLEANUP(buf_cleanup) struct buf label = {0};
	struct child *c;

	buf_adds(&label, program);
	if (name)
		buf_addf(&label, " %s", name);
	if (number)
		buf_addf(&label, "-%d", number);
	c = child_add(u, round, label.p);
	child_arg(c, path);
	child_arg(c, "--config");
	child_arg(c, u->cli->config);
	if (name)
		child_arg(c, label.p + strlen(program) + 1);
}

static int workers_of(const char *target, char *const *counts, int n)
{
	size_t length = strlen(target);

	for (int i = 0; i < n; i++) {
		if (strncmp(counts[i], target, length) == 0 && counts[i][length] == '=')
			return (int)strtol(counts[i] + length + 1, NULL, 10);
	}
	return 1;
}

/* Compares all accounts by the calendar, if some target asks for it. */
static void add_reconcile(struct up *u)
{
	CLEANUP(free_cleanup) char *path = cli_program("dirpipe");
	const char *const words[] = {path, "--config", u->cli->config, "reconcile", "watch"};
	struct child *c = child_add(u, UP_EDGE, "dirpipe reconcile");

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		child_arg(c, words[i]);
}

static void add_edges(struct up *u, const struct conf_node *root, char *const *counts, int n)
{
	const struct conf_node *target;
	bool reconcile = false;
	const char *name;

	for (size_t i = 0; conf_at(root, "sources", i, &name); i++)
		add_program(u, UP_EDGE, "dirpipe-collector", name, 0);
	for (size_t i = 0; (target = conf_at(root, "targets", i, &name)); i++) {
		reconcile |= conf_int(conf_section(target, "reconcile"), "every") > 0;
		int workers = workers_of(name, counts, n);

		for (int k = 1; k <= workers; k++)
			add_program(u, UP_EDGE, "dirpipe-worker", name, workers > 1 ? k : 0);
	}
	if (reconcile)
		add_reconcile(u);
}

/* Every word of the command line must make sense before anything is started. 0, or the exit code. */
static int take_words(int argc, char **argv, const struct conf_node *root, const char **ret_state,
		      char **counts, int *ret_n)
{
	static const char usage[] = "up [--state DIR] [--workers TARGET=N]...";

	for (int i = 0; i < argc; i += 2) {
		if (i + 1 == argc)
			return cli_usage(usage);
		if (strcmp(argv[i], "--state") == 0) {
			*ret_state = argv[i + 1];
		} else if (strcmp(argv[i], "--workers") == 0) {
			char *equals = strchr(argv[i + 1], '='), *end = NULL;
			long n = equals ? strtol(equals + 1, &end, 10) : -1;

			if (!equals || end == equals + 1 || *end || n < 0 || n > 64) {
				fprintf(stderr,
					"dirpipe: --workers %s: expected TARGET=N with N from 0 to "
					"64\n",
					argv[i + 1]);
				return EXIT_USAGE_;
			}
			*equals = '\0';
			bool known = conf_named(root, "targets", argv[i + 1]) != NULL;
			if (!known) {
				fprintf(stderr, "dirpipe: --workers: there is no target named %s\n",
					argv[i + 1]);
				return EXIT_USAGE_;
			}
			*equals = '=';
			counts[(*ret_n)++] = argv[i + 1];
		} else {
			return cli_usage(usage);
		}
	}
	return 0;
}

static void up_free(struct up *u)
{
	while (u->children) {
		struct child *c = u->children;

		u->children = c->next;
		for (int i = 0; i < UP_ARGS; i++)
			free(c->argv[i]);
		loop_timer_free(c->again);
		free(c->label);
		free(c);
	}
	free(u->redis_socket);
	free(u->control_socket);
}

static int up_run(struct up *u)
{
	u->loop = loop_new();
	u->probe = loop_timer_new(u->loop, on_probe, u);
	u->patience = loop_timer_new(u->loop, on_patience, u);
	loop_signals(u->loop, on_stop, on_reload, u);
	start_round(u, UP_REDIS);
	if (!u->redis_socket) /* nothing to wait for */
		start_round(u, UP_BROKER);
	loop_timer_set(u->probe, 20);
	loop_run(u->loop);
	return u->rc;
}

int cli_up(const struct cli *cli, int argc, char **argv)
{
	struct up u = {.cli = cli};
	const char *state = "/var/lib/dirpipe";
	char **counts = mem_array((size_t)argc + 1, sizeof(*counts));
	struct conf *conf = cli_conf(cli, true);
	const struct conf_node *root;
	int n = 0, rc = EXIT_CONFIG_;

	if (!conf)
		goto out;
	root = conf_root(conf);
	rc = take_words(argc, argv, root, &state, counts, &n);
	if (rc == 0)
		rc = add_redis(&u, conf_section(root, "broker"), state);
	if (rc != 0)
		goto out;
	u.control_socket = mem_dup(conf_text(conf_section(root, "broker"), "control"));
	add_program(&u, UP_BROKER, "dirpipe-broker", NULL, 0);
	add_edges(&u, root, counts, n);
	rc = up_run(&u);
out:
	conf_free(conf);
	loop_timer_free(u.probe);
	loop_timer_free(u.patience);
	up_free(&u);
	if (u.loop)
		loop_free(u.loop);
	free(counts);
	return rc;
}
