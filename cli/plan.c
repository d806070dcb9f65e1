/* `dirpipe plan`: what would be done, by the worker program that would do it; nothing is done. */
#include "plan.h"
#include "lines.h"
#include "people.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"plan [--target T] [--user ID|VALUE] [--out FILE] [--format table|json|csv] "
	"[--exit-code]   (--config NEW: as that file would have it)";

enum { EXIT_DIFFERENT = 2, USERS_MOST = 500, WORDS_MOST = 2 * USERS_MOST };

struct options {
	const char *target, *user, *out;
	enum plan_format format;
	bool exit_code;
};

static bool take_format(struct options *o, const char *word)
{
	static const char *const names[] = {"table", "json", "csv"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(word, names[i]) == 0) {
			o->format = (enum plan_format)i;
			return true;
		}
	}
	return false;
}

static bool parse(struct options *o, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		const char **value = strcmp(argv[i], "--target") == 0 ? &o->target
				     : strcmp(argv[i], "--user") == 0 ? &o->user
				     : strcmp(argv[i], "--out") == 0  ? &o->out
								      : NULL;

		if (value && i + 1 < argc)
			*value = argv[++i];
		else if (strcmp(argv[i], "--exit-code") == 0)
			o->exit_code = true;
		else if (strcmp(argv[i], "--format") != 0 || ++i >= argc ||
			 !take_format(o, argv[i]))
			return false;
	}
	return true;
}

/* ---- lines of the worker ---- */

static void take(void *arg, const cJSON *line)
{
	struct plan *p = arg;
	const cJSON *summary = json_object(line, "summary");

	cJSON_AddItemToArray(summary ? p->summaries : p->rows,
			     cJSON_Duplicate(summary ? summary : line, true));
}

struct place {
	cJSON *row;
};

static int by_name(const void *a, const void *b)
{
	const cJSON *x = ((const struct place *)a)->row, *y = ((const struct place *)b)->row;
	int rc = strcmp(control_text(x, "target", ""), control_text(y, "target", ""));

	if (rc == 0)
		rc = strcmp(control_text(x, "name", ""), control_text(y, "name", ""));
	return rc ? rc : strcmp(control_text(x, "user", ""), control_text(y, "user", ""));
}

static void sort(struct plan *p)
{
	size_t n = (size_t)cJSON_GetArraySize(p->rows), i = 0;
	struct place *rows = mem_array(n + 1, sizeof(*rows));
	cJSON *sorted = cJSON_CreateArray();

	while (p->rows->child)
		rows[i++].row = cJSON_DetachItemViaPointer(p->rows, p->rows->child);
	qsort(rows, n, sizeof(*rows), by_name);
	for (i = 0; i < n; i++)
		cJSON_AddItemToArray(sorted, rows[i].row);
	free(rows);
	cJSON_Delete(p->rows);
	p->rows = sorted;
}

/* argv's texts are borrowed and not written to. */
static char *word(const char *text)
{
	return (char *)(uintptr_t)text;
}

static int plan_target(const struct cli *cli, const char *target, const cJSON *users,
		       struct plan *ret)
{
	char *argv[WORDS_MOST + 10];
	const cJSON *user;
	size_t n = 0;

	argv[n++] = word("dirpipe-worker");
	argv[n++] = word("--config");
	argv[n++] = word(cli->config);
	argv[n++] = word("--plan");
	if (cli->socket) {
		argv[n++] = word("--socket");
		argv[n++] = word(cli->socket);
	}
	cJSON_ArrayForEach (user, users) {
		argv[n++] = word("--user");
		argv[n++] = user->valuestring;
	}
	argv[n++] = word(target);
	argv[n] = NULL;
	return lines_run(argv, take, ret);
}

static int plan_all(const struct cli *cli, const struct options *o, const struct conf *conf,
		    struct plan *ret)
{
	const struct conf_node *root = conf_root(conf);
	cJSON *users = NULL;
	const char *name;
	int rc = 0;

	if (o->target && !conf_named(root, "targets", o->target)) {
		fprintf(stderr, "dirpipe: there is no target named %s in %s\n", o->target,
			cli->config);
		return EXIT_USAGE_;
	}
	if (o->user) {
		users = people_named(cli, o->user, &rc);
		if (!users)
			return rc;
		if (cJSON_GetArraySize(users) > USERS_MOST) {
			fprintf(stderr, "dirpipe: that is the value of more than %d users\n",
				USERS_MOST);
			cJSON_Delete(users);
			return EXIT_USAGE_;
		}
	}
	for (size_t i = 0; rc == 0 && conf_at(root, "targets", i, &name); i++) {
		if (!o->target || strcmp(o->target, name) == 0)
			rc = plan_target(cli, name, users, ret);
	}
	cJSON_Delete(users);
	return rc;
}

static int finish(const struct cli *cli, const struct options *o, struct plan *p)
{
	enum plan_format format = cli->json ? PLAN_JSON : o->format;
	int rc = o->out ? plan_write(p, o->out) : 0;

	if (rc < 0) {
		fprintf(stderr, "dirpipe: %s: %s\n", o->out, strerror(-rc));
		return EXIT_FAILED_;
	}
	if (!cli->quiet)
		plan_print(p, format);
	return o->exit_code && cJSON_GetArraySize(p->rows) > 0 ? EXIT_DIFFERENT : 0;
}

int cli_plan(const struct cli *cli, int argc, char **argv)
{
	struct options o = {0};
	struct plan p = {0};
	struct conf *conf;
	int rc;

	if (!parse(&o, argc, argv))
		return cli_usage(usage);
	conf = cli_conf(cli, false);
	if (!conf)
		return EXIT_CONFIG_;
	p.rows = cJSON_CreateArray();
	p.summaries = cJSON_CreateArray();
	rc = plan_all(cli, &o, conf, &p);
	if (rc == 0) {
		sort(&p);
		rc = finish(cli, &o, &p);
	}
	plan_done(&p);
	conf_free(conf);
	return rc;
}
