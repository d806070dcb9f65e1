/* dirpipe-collector SOURCE: follows one directory and tells the broker what its users are. */
#include "conf.h"
#include "json.h"
#include "line.h"
#include "log.h"
#include "loop.h"
#include "secret.h"
#include "service.h"
#include "source.h"
#include "tree.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
	const char *config;
	const char *source;
	bool test;
	bool check, tree, users_only;
};

struct program {
	struct loop *loop;
	struct line *line;
	const struct options *options;
	bool again; /* a new configuration: this process begins anew */
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"test", no_argument, NULL, 't'},
	{"foreground", no_argument, NULL, 'f'},
	{"check", no_argument, NULL, 'k'},
	{"tree", no_argument, NULL, 'e'},
	{"users-only", no_argument, NULL, 'u'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static void usage(FILE *out)
{
	fputs("usage: dirpipe-collector [options] SOURCE\n"
	      "  -c, --config FILE   the configuration (default /etc/dirpipe/dirpipe.yaml)\n"
	      "  -t, --test          read the configuration, say what is wrong, end\n"
	      "  -f, --foreground    stay in the foreground (it always does; for habit)\n"
	      "      --check         connect to each server of the source and say what works, end\n"
	      "      --tree          print the organisational units with their users, a line of "
	      "JSON each, end\n"
	      "      --users-only    with --tree: only units that hold somebody\n"
	      "  -V, --version       print the version\n"
	      "  -h, --help          print this\n",
	      out);
}

/* Returns an exit code, or -1 to go on. */
static int read_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:tfVh", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'k':
			o->check = true;
			break;
		case 'e':
			o->tree = true;
			break;
		case 'u':
			o->users_only = true;
			break;
		case 'f':
			break;
		case 'V':
			puts("dirpipe-collector " DIRPIPE_VERSION);
			return EXIT_OK_;
		case 'h':
			usage(stdout);
			return EXIT_OK_;
		default:
			usage(stderr);
			return EXIT_USAGE_;
		}
	}
	if (optind != argc - 1) {
		usage(stderr);
		return EXIT_USAGE_;
	}
	o->source = argv[optind];
	return -1;
}

/* The configuration with the credentials of this source alone. */
static struct conf *load(const struct options *o, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf part = {0};

	buf_addf(&part, "sources.%s", o->source);
	return conf_load_for(o->config, part.p, errors);
}

static void say(void *arg, bool ok, const char *step, const char *text)
{
	(void)arg;
	printf("%-4s %-12s %s\n", ok ? "ok" : "FAIL", step, text);
	fflush(stdout);
}

static int check(const struct conf *conf, const char *name)
{
	const struct conf_node *source = conf_named(conf_root(conf), "sources", name);
	const struct source_driver *driver;

	if (source == NULL) {
		fprintf(stderr, "no source is named %s\n", name);
		return EXIT_CONFIG_;
	}
	driver = source_driver_named(conf_text(source, "driver"));
	return driver->check(source, name, say, NULL) == 0 ? EXIT_OK_ : EXIT_UNAVAILABLE_;
}

/* ---- the tree ---- */

struct trees {
	struct loop *loop;
	int code;
};

static void say_unit(void *arg, const char *dn, unsigned depth, uint64_t users, uint64_t whole)
{
	CLEANUP(buf_cleanup) struct buf line = {0};

	(void)arg;
	buf_adds(&line, "{\"dn\":");
	json_quote(slice_of(dn), &line);
	buf_addf(&line, ",\"depth\":%u,\"users\":%llu,\"whole\":%llu}", depth,
		 (unsigned long long)users, (unsigned long long)whole);
	puts(line.p);
}

static void tree_ended(void *arg, uint64_t hidden, const char *why)
{
	struct trees *t = arg;

	if (why != NULL)
		fprintf(stderr, "dirpipe-collector: %s\n", why);
	else
		printf("{\"hidden\":%llu}\n", (unsigned long long)hidden);
	t->code = why != NULL ? EXIT_UNAVAILABLE_ : EXIT_OK_;
	loop_stop(t->loop);
}

static int print_tree(const struct conf *conf, const struct options *o)
{
	const struct conf_node *source = conf_named(conf_root(conf), "sources", o->source);
	struct trees t = {.loop = loop_new(), .code = EXIT_CONFIG_};
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct tree *tree = NULL;

	if (source == NULL)
		fprintf(stderr, "no source is named %s\n", o->source);
	else
		tree = tree_new(&(struct tree_settings){.loop = t.loop,
							.source = source,
							.users_only = o->users_only,
							.say = say_unit,
							.done = tree_ended,
							.arg = &t},
				&why);
	if (tree != NULL)
		loop_run(t.loop);
	else if (source != NULL)
		fprintf(stderr, "%s: sources.%s: %s\n", o->config, o->source, why.p);
	tree_free(tree);
	loop_free(t.loop);
	return t.code;
}

static void drained(void *arg)
{
	struct program *p = arg;

	loop_stop(p->loop);
}

static void stop(void *arg)
{
	struct program *p = arg;

	p->again = false;
	service_stopping();
	log_msg(LOG_INFO_, "DP-1002", "stopping: what was read is being published");
	line_stop(p->line, drained, p);
}

/* A configuration that is no good leaves everything as it is. What a collector does depends on its configuration as a whole (the
 * broker compares the hash), so a good one is taken by beginning anew, after what was read is published. */
static void reload(void *arg)
{
	struct program *p = arg;
	CLEANUP(buf_cleanup) struct buf errors = {0};
	struct conf *conf = load(p->options, &errors);
	struct line *line = NULL;

	if (conf != NULL)
		line = line_new(p->loop, conf_root(conf), p->options->source, &errors);
	if (line == NULL) {
		log_msg(LOG_ERROR_, "DP-1003", "the new configuration is wrong and not used: %s",
			errors.p);
	} else {
		log_msg(LOG_INFO_, "DP-1004", "the new configuration is taken");
		p->again = true;
		service_reloading();
		line_stop(p->line, drained, p);
	}
	line_free(line);
	conf_free(conf);
}

static int run(const struct conf *conf, const struct options *o, bool *ret_again)
{
	struct program p = {.options = o};
	CLEANUP(buf_cleanup) struct buf why = {0};

	p.loop = loop_new();
	p.line = line_new(p.loop, conf_root(conf), o->source, &why);
	if (p.line == NULL) {
		fprintf(stderr, "%s: sources.%s: %s\n", o->config, o->source, why.p);
		loop_free(p.loop);
		return EXIT_CONFIG_;
	}
	if (!o->test) {
		loop_signals(p.loop, stop, reload, &p);
		log_msg(LOG_INFO_, "DP-1001", "collector %s of source %s", DIRPIPE_VERSION,
			o->source);
		service_ready(p.loop);
		loop_run(p.loop);
	}
	line_free(p.line);
	loop_free(p.loop);
	*ret_again = p.again;
	return EXIT_OK_;
}

int main(int argc, char **argv)
{
	struct options o = {.config = "/etc/dirpipe/dirpipe.yaml"};
	CLEANUP(buf_cleanup) struct buf errors = {0};
	enum log_level level = LOG_INFO_;
	struct conf *conf;
	bool again = false;
	int code = read_options(argc, argv, &o);

	if (code >= 0)
		return code;
	signal(SIGPIPE, SIG_IGN);
	secret_harden_process();
	conf = load(&o, &errors);
	if (conf == NULL) {
		fputs(errors.p, stderr);
		return EXIT_CONFIG_;
	}
	(void)!log_level_parse(conf_text(conf_section(conf_root(conf), "log"), "level"), &level);
	log_open("collector", o.source, level);
	code = o.check	? check(conf, o.source)
	       : o.tree ? print_tree(conf, &o)
			: run(conf, &o, &again);
	conf_free(conf);
	if (!again)
		return code;
	execv("/proc/self/exe", argv);
	perror("dirpipe-collector: execv");
	return EXIT_FAILED_;
}
