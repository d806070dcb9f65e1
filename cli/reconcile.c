/* `dirpipe reconcile`: drift. The worker program lists and compares, the broker's queue repairs. */
#include "clock.h"
#include "control.h"
#include "lines.h"
#include "service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] = "reconcile run|report [--target T] [--exit-code] | reconcile watch";

enum { CHUNK = 500, EXIT_DIFFERENT = 2, LOOK_MS = 1000 };

struct found {
	cJSON *rows, *unowned, *summary;
};

static void take(void *arg, const cJSON *line)
{
	struct found *f = arg;
	const cJSON *summary = json_object(line, "summary");

	if (summary) {
		cJSON_Delete(f->summary);
		f->summary = cJSON_Duplicate(summary, true);
	} else if (json_text(line, "user")) {
		cJSON_AddItemToArray(f->rows, cJSON_Duplicate(line, true));
	} else {
		cJSON_AddItemToArray(f->unowned, cJSON_Duplicate(line, true));
	}
}

static char *word(const char *text)
{
	return (char *)(uintptr_t)text;
}

static int compare(const struct cli *cli, const char *target, struct found *f)
{
	char *argv[8] = {word("dirpipe-worker"), word("--config"), word(cli->config),
			 word("--reconcile")};
	size_t n = 4;

	if (cli->socket) {
		argv[n++] = word("--socket");
		argv[n++] = word(cli->socket);
	}
	argv[n] = word(target);
	return lines_run(argv, take, f);
}

/* ---- what follows ---- */

static int ask(const struct cli *cli, const char *verb, cJSON *request)
{
	cJSON *result = NULL;
	int rc = control_ask(cli, verb, request, &result);

	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

static int repair(const struct cli *cli, const char *target, const cJSON *rows)
{
	const cJSON *row = rows->child;
	int rc = 0;

	while (rc == 0 && row) {
		cJSON *request = cJSON_CreateObject(), *users;

		cJSON_AddStringToObject(request, "target", target);
		users = cJSON_AddArrayToObject(request, "users");
		for (int i = 0; i < CHUNK && row; i++, row = row->next)
			cJSON_AddItemToArray(users,
					     cJSON_CreateString(control_text(row, "user", "")));
		rc = ask(cli, "drifted", request);
	}
	return rc;
}

static int record(const struct cli *cli, const char *target, const cJSON *summary)
{
	cJSON *request = cJSON_CreateObject();

	cJSON_AddStringToObject(request, "target", target);
	cJSON_AddNumberToObject(request, "divergent", (double)json_int(summary, "divergent", 0));
	cJSON_AddNumberToObject(request, "unowned", (double)json_int(summary, "unowned", 0));
	return ask(cli, "reconciled", request);
}

static void show(const struct found *f, bool repaired)
{
	const cJSON *row, *op, *s = f->summary;

	cJSON_ArrayForEach (row, f->rows) {
		printf("%-12s %-40s differs:", control_text(row, "target", "?"),
		       control_text(row, "name", control_text(row, "user", "?")));
		cJSON_ArrayForEach (op, json_array(row, "ops")) {
			const cJSON *field;

			printf(" %s", control_text(op, "op", "?"));
			cJSON_ArrayForEach (field, json_object(op, "set"))
				printf(" %s", field->string);
			if (json_text(op, "switch"))
				printf(" %s", json_text(op, "switch"));
		}
		puts("");
	}
	cJSON_ArrayForEach (row, f->unowned)
		printf("%-12s %-40s is nobody's (account %s)\n", control_text(row, "target", "?"),
		       control_text(row, "name", ""), control_text(row, "account", "?"));
	printf("%s: %lld accounts, %lld users compared, %lld differ%s, %lld accounts are "
	       "nobody's\n",
	       control_text(s, "target", "?"), (long long)json_int(s, "accounts", 0),
	       (long long)json_int(s, "compared", 0), (long long)json_int(s, "divergent", 0),
	       repaired && f->rows->child ? " and are made right" : "",
	       (long long)json_int(s, "unowned", 0));
}

static void print_json(struct found *f, bool repaired)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	cJSON *all = cJSON_CreateObject();

	cJSON_AddItemToObject(all, "summary", f->summary);
	cJSON_AddBoolToObject(all, "repaired", repaired);
	cJSON_AddItemToObject(all, "rows", f->rows);
	cJSON_AddItemToObject(all, "unowned", f->unowned);
	json_print(all, &text);
	puts(text.p);
	*f = (struct found){0};
	cJSON_Delete(all);
}

/* One target. *different is set when somebody differs or is nobody's. */
static int reconcile(const struct cli *cli, const char *target, bool repairs, bool *different)
{
	struct found f = {cJSON_CreateArray(), cJSON_CreateArray(), NULL};
	int rc = compare(cli, target, &f);

	if (rc == 0 && !f.summary)
		rc = EXIT_FAILED_;
	if (rc == 0 && repairs)
		rc = repair(cli, target, f.rows);
	if (rc == 0)
		rc = record(cli, target, f.summary);
	if (rc == 0) {
		*different |= f.rows->child || f.unowned->child;
		if (cli->json)
			print_json(&f, repairs);
		else if (!cli->quiet)
			show(&f, repairs);
	}
	cJSON_Delete(f.rows);
	cJSON_Delete(f.unowned);
	cJSON_Delete(f.summary);
	return rc;
}

static bool repairs(const struct conf_node *target)
{
	return strcmp(conf_text(conf_section(target, "reconcile"), "policy"), "repair") == 0;
}

/* ---- by the calendar ---- */

static volatile sig_atomic_t stop;

static void on_stop(int signal_number)
{
	(void)signal_number;
	stop = 1;
}

static bool is_due(const struct conf_node *target, const cJSON *status, const char *name)
{
	const struct conf_node *conf = conf_section(target, "reconcile");
	int64_t every = conf_int(conf, "every"), now = clock_unix_ms();
	struct clock_window window;
	const cJSON *t;

	if (every <= 0 || clock_window_parse(conf_text(conf, "window"), &window) < 0 ||
	    !clock_window_holds(&window, now))
		return false;
	cJSON_ArrayForEach (t, json_array(status, "targets")) {
		if (strcmp(control_text(t, "name", ""), name) == 0)
			return now - json_int(json_object(t, "reconcile"), "at_ms", 0) >= every &&
			       strcmp(control_text(t, "state", ""), "ok") == 0;
	}
	return false;
}

static void look(const struct cli *cli, const struct conf *conf)
{
	const struct conf_node *root = conf_root(conf), *target;
	cJSON *status = NULL;
	const char *name;
	bool different = false;

	if (control_ask(cli, "status", NULL, &status) == 0) {
		for (size_t i = 0; !stop && (target = conf_at(root, "targets", i, &name)); i++) {
			if (is_due(target, status, name))
				(void)reconcile(cli, name, repairs(target), &different);
		}
	}
	cJSON_Delete(status);
}

static int watch(const struct cli *cli, const struct conf *conf)
{
	struct sigaction act = {.sa_handler = on_stop};
	const struct timespec wait = {LOOK_MS / 1000, 0};
	struct cli quiet = *cli;

	quiet.quiet = true;
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	while (!stop) {
		look(&quiet, conf);
		if (!stop)
			nanosleep(&wait, NULL);
	}
	return 0;
}

/* ---- the verb ---- */

static int run(const struct cli *cli, const struct conf *conf, const char *only, bool report,
	       bool exit_code)
{
	const struct conf_node *root = conf_root(conf), *target;
	bool different = false;
	const char *name;
	int rc = 0;

	if (only && !conf_named(root, "targets", only)) {
		fprintf(stderr, "dirpipe: there is no target named %s in %s\n", only, cli->config);
		return EXIT_USAGE_;
	}
	for (size_t i = 0; rc == 0 && (target = conf_at(root, "targets", i, &name)); i++) {
		if (!only || strcmp(only, name) == 0)
			rc = reconcile(cli, name, !report && repairs(target), &different);
	}
	return rc == 0 && exit_code && different ? EXIT_DIFFERENT : rc;
}

int cli_reconcile(const struct cli *cli, int argc, char **argv)
{
	bool report = argc > 0 && strcmp(argv[0], "report") == 0, exit_code = false;
	bool watches = argc == 1 && strcmp(argv[0], "watch") == 0;
	const char *only = NULL;
	struct conf *conf;
	int rc;

	if (argc < 1 || (!report && !watches && strcmp(argv[0], "run") != 0))
		return cli_usage(usage);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--target") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--exit-code") == 0)
			exit_code = true;
		else
			return cli_usage(usage);
	}
	conf = cli_conf(cli, false);
	if (!conf)
		return EXIT_CONFIG_;
	rc = watches ? watch(cli, conf) : run(cli, conf, only, report, exit_code);
	conf_free(conf);
	return rc;
}
