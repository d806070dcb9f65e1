/* dirpipe-worker TARGET: carries out one target's tasks. */
#include "log.h"
#include "service.h"
#include "worker.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage_text[] =
	"Usage: dirpipe-worker [OPTION]... TARGET\n"
	"Carries out the tasks of one target. TARGET-N runs a further instance of it.\n\n"
	"  -c, --config FILE  configuration (default /etc/dirpipe/dirpipe.yaml)\n"
	"  -t, --test         test the configuration and end\n"
	"      --check        test the connection to the target, a line a step, and end\n"
	"      --list         print every account of the target, a line of JSON each, and end\n"
	"      --plan         print what would be done, a line of JSON for each user, and end; "
	"nothing is done.\n"
	"                     It reads the target, and users from the broker (both as configured)\n"
	"      --match        print which accounts could be which users', a line of JSON each, and "
	"end; "
	"reads as --plan\n"
	"      --by RULES     with --match: remote=local,remote=local instead of the configured "
	"rules\n"
	"      --reconcile    list all accounts, print who differs from what the directory says, "
	"and end; nothing\n"
	"                     is done\n"
	"      --user ID      with --plan: this user alone; may be said again\n"
	"      --socket PATH  with --plan, --match: the broker's control socket\n"
	"  -f, --foreground   stay in the foreground (it always does)\n"
	"  -V, --version      print the version and end\n"
	"  -h, --help         this text\n";

enum mode { MODE_RUN, MODE_TEST, MODE_CHECK, MODE_LIST, MODE_PLAN, MODE_MATCH, MODE_RECONCILE };

enum { USERS_MOST = 500 };

struct program {
	const char *path; /* of the configuration */
	const char *instance;
	char *target;
	const char *socket; /* the broker's; NULL: as configured */
	const char *users[USERS_MOST];
	size_t users_n;
	struct ask *ask;
	const char *by;
	struct propose *propose;
	enum mode mode;
	struct loop *loop;
	struct conf *conf;
	struct worker *worker;
	int exit_code;
	bool again; /* a new configuration: this process begins anew */
};

static int usage(FILE *out, int code)
{
	fputs(usage_text, out);
	return code;
}

/* -1: go on; else the exit code. */
static int parse(struct program *p, int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"test", no_argument, NULL, 't'},
		{"check", no_argument, NULL, 'k'},	  {"list", no_argument, NULL, 'l'},
		{"reconcile", no_argument, NULL, 'r'},	  {"plan", no_argument, NULL, 'p'},
		{"match", no_argument, NULL, 'm'},	  {"by", required_argument, NULL, 'b'},
		{"user", required_argument, NULL, 'u'},	  {"socket", required_argument, NULL, 's'},
		{"foreground", no_argument, NULL, 'f'},	  {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},	  {NULL, 0, NULL, 0},
	};
	int c;

	p->path = "/etc/dirpipe/dirpipe.yaml";
	while ((c = getopt_long(argc, argv, "c:tfVh", options, NULL)) != -1) {
		if (c == 'c')
			p->path = optarg;
		else if (c == 't')
			p->mode = MODE_TEST;
		else if (c == 'k')
			p->mode = MODE_CHECK;
		else if (c == 'l')
			p->mode = MODE_LIST;
		else if (c == 'p')
			p->mode = MODE_PLAN;
		else if (c == 'm')
			p->mode = MODE_MATCH;
		else if (c == 'b')
			p->by = optarg;
		else if (c == 'r')
			p->mode = MODE_RECONCILE;
		else if (c == 's')
			p->socket = optarg;
		else if (c == 'u' && p->users_n < USERS_MOST)
			p->users[p->users_n++] = optarg;
		else if (c == 'h')
			return usage(stdout, EXIT_OK_);
		else if (c == 'V') {
			printf("dirpipe-worker %s\n", DIRPIPE_VERSION);
			return EXIT_OK_;
		} else if (c != 'f')
			return usage(stderr, EXIT_USAGE_);
	}
	if (optind + 1 != argc)
		return usage(stderr, EXIT_USAGE_);
	p->instance = argv[optind];
	return -1;
}

/* "m365-2" is a further instance of m365, unless a target has that very name. */
static char *target_of(const struct conf *conf, const char *instance)
{
	const char *dash = strrchr(instance, '-');
	char *name = mem_dup(instance);

	if (conf_named(conf_root(conf), "targets", name))
		return name;
	if (dash && dash[1] && dash[1 + strspn(dash + 1, "0123456789")] == '\0') {
		name[dash - instance] = '\0';
		if (conf_named(conf_root(conf), "targets", name))
			return name;
	}
	free(name);
	return NULL;
}

/* The configuration with this target's credentials. NULL with errors. */
static struct conf *load(struct program *p, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf part = {0};
	struct conf *names = conf_load_for(p->path, "", errors);

	if (!names)
		return NULL;
	free(p->target);
	p->target = target_of(names, p->instance);
	conf_free(names);
	if (!p->target) {
		buf_addf(errors, "%s: there is no target named %s\n", p->path, p->instance);
		return NULL;
	}
	buf_addf(&part, "targets.%s", p->target);
	return conf_load_for(p->path, part.p, errors);
}

static void set_log(struct program *p)
{
	enum log_level level = LOG_INFO_;

	if (log_level_parse(conf_text(conf_section(conf_root(p->conf), "log"), "level"), &level) <
	    0)
		level = LOG_INFO_;
	log_open("worker", p->instance, level);
}

/* ---- one-shot modes ---- */

static void say(void *arg, bool ok, const char *step, const char *text)
{
	(void)arg;
	printf("%-4s %s%s%s\n", ok ? "ok" : "FAIL", step, *text ? ": " : "", text);
}

static void on_checked(void *arg, unsigned failed)
{
	struct program *p = arg;

	p->exit_code = failed ? EXIT_FAILED_ : EXIT_OK_;
	loop_stop(p->loop);
}

static void print_account(void *arg, const struct target_account *a)
{
	CLEANUP(buf_cleanup) struct buf line = {0};

	(void)arg;
	buf_adds(&line, "{\"rid\":");
	json_quote(slice_of(a->rid), &line);
	buf_addf(&line,
		 ",\"enabled\":%s,\"deleted\":%s,\"account\":", a->enabled ? "true" : "false",
		 a->deleted ? "true" : "false");
	json_canonical(a->json, &line);
	buf_addc(&line, '}');
	puts(line.p);
}

static void on_listed(void *arg, const char *why)
{
	struct program *p = arg;

	if (why)
		fprintf(stderr, "dirpipe-worker: %s: %s\n", p->target, why);
	p->exit_code = why ? EXIT_UNAVAILABLE_ : EXIT_OK_;
	loop_stop(p->loop);
}

static void print_line(void *arg, const cJSON *line)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	(void)arg;
	json_print(line, &text);
	puts(text.p);
}

static void ask_broker(struct program *p)
{
	const struct conf_node *broker = conf_section(conf_root(p->conf), "broker");

	p->ask = ask_new(p->loop, p->socket ? p->socket : conf_text(broker, "control"));
	worker_reads_only(p->worker);
}

static bool begin_match(struct program *p)
{
	CLEANUP(buf_cleanup) struct buf errors = {0};

	ask_broker(p);
	p->propose = worker_match(p->worker,
				  &(struct propose_conf){.ask = p->ask,
							 .by = p->by,
							 .say = print_line,
							 .ended = on_listed,
							 .arg = p},
				  &errors);
	if (!p->propose)
		fprintf(stderr, "dirpipe-worker: %s", errors.p);
	return p->propose != NULL;
}

static void begin_plan(struct program *p,
		       void (*begin)(struct worker *w, const struct plan_conf *conf))
{
	ask_broker(p);
	begin(p->worker, &(struct plan_conf){.loop = p->loop,
					     .ask = p->ask,
					     .users = p->users,
					     .users_n = p->users_n,
					     .say = print_line,
					     .ended = on_listed,
					     .arg = p});
}

/* ---- the daemon ---- */

static void on_ended(void *arg)
{
	struct program *p = arg;

	loop_stop(p->loop);
}

static void on_stop(void *arg)
{
	struct program *p = arg;

	if (p->mode == MODE_RUN)
		worker_stop(p->worker);
	else
		loop_stop(p->loop);
}

static void log_errors(struct buf *errors)
{
	char *line = errors->p, *end;

	for (; line && *line; line = end + 1) {
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		log_msg(LOG_ERROR_, "DP-3301", "%s", line);
		if (!end)
			break;
	}
}

/* A configuration that is no good leaves everything as it is; a good one is taken by beginning anew after the drain. */
static void on_reload(void *arg)
{
	struct program *p = arg;
	CLEANUP(buf_cleanup) struct buf errors = {0};
	char *target = p->target;
	struct conf *conf;
	struct worker *worker = NULL;

	p->target = NULL;
	conf = load(p, &errors);
	if (conf)
		worker = worker_new(p->loop, conf, p->target, p->instance, &errors);
	p->again = worker != NULL;
	worker_free(worker);
	conf_free(conf);
	free(p->target);
	p->target = target;
	if (p->again) {
		log_msg(LOG_INFO_, "DP-3302", "the new configuration is taken");
		service_reloading();
		worker_stop(p->worker);
	} else {
		log_msg(LOG_ERROR_, "DP-3303", "the old configuration stays");
		log_errors(&errors);
	}
}

static int begin(struct program *p)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	switch (p->mode) {
	case MODE_TEST:
		return EXIT_OK_;
	case MODE_CHECK:
		worker_check(p->worker, say, on_checked, p);
		break;
	case MODE_LIST:
		worker_list(p->worker, print_account, on_listed, p);
		break;
	case MODE_PLAN:
		begin_plan(p, worker_plan);
		break;
	case MODE_RECONCILE:
		begin_plan(p, worker_reconcile);
		break;
	case MODE_MATCH:
		if (!begin_match(p))
			return EXIT_USAGE_;
		break;
	case MODE_RUN:
		if (worker_start(p->worker, on_ended, p, &why) < 0) {
			fprintf(stderr, "dirpipe-worker: %s\n", why.p ? why.p : "?");
			return EXIT_CONFIG_;
		}
		break;
	}
	loop_signals(p->loop, on_stop, p->mode == MODE_RUN ? on_reload : NULL, p);
	loop_run(p->loop);
	return p->exit_code;
}

static int run(struct program *p)
{
	CLEANUP(buf_cleanup) struct buf errors = {0};
	int code = EXIT_CONFIG_;

	p->conf = load(p, &errors);
	if (p->conf) {
		set_log(p);
		p->loop = loop_new();
		p->worker = worker_new(p->loop, p->conf, p->target, p->instance, &errors);
		if (p->worker)
			code = begin(p);
		propose_free(p->propose);
		worker_free(p->worker);
		ask_free(p->ask);
		loop_free(p->loop);
	}
	if (errors.n)
		fputs(errors.p, stderr);
	conf_free(p->conf);
	free(p->target);
	return code;
}

int main(int argc, char **argv)
{
	struct program p = {0};
	int code = parse(&p, argc, argv);

	if (code >= 0)
		return code;
	secret_harden_process();
	code = run(&p);
	if (!p.again)
		return code;
	execv("/proc/self/exe", argv);
	perror("dirpipe-worker: execv");
	return EXIT_FAILED_;
}
