/* `dirpipe held`: what the guard holds, grouped by what made it, and a person's word for it. The broker tells the list in
 * parts; choosing and grouping happen here. */
#include "control.h"
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "held ls [--target T] [--op OP] [--cause TEXT] [--ou DN] [--user ID] | "
			    "held show [the same] | "
			    "held approve|reject (the same|--all --target T) [--yes] | held "
			    "confirm SOURCE (group|source) NAME";

enum { WORDS_MOST = 400, EXAMPLES = 3, CAUSE_MOST = 600 };

/* ---- which ---- */

struct choice {
	const char *target, *op, *cause, *ou, *user;
	bool all, yes;
};

/* False: a word that is none of these. */
static bool take_choice(struct choice *c, int argc, char **argv)
{
	const struct {
		const char *name;
		const char **value;
	} options[] = {{"--target", &c->target},
		       {"--op", &c->op},
		       {"--cause", &c->cause},
		       {"--ou", &c->ou},
		       {"--user", &c->user}};

	for (int i = 0; i < argc; i++) {
		size_t k = 0;

		if (strcmp(argv[i], "--all") == 0) {
			c->all = true;
			continue;
		}
		if (strcmp(argv[i], "--yes") == 0) {
			c->yes = true;
			continue;
		}
		while (k < sizeof(options) / sizeof(*options) &&
		       strcmp(argv[i], options[k].name) != 0)
			k++;
		if (k == sizeof(options) / sizeof(*options) || i + 1 == argc)
			return false;
		*options[k].value = argv[++i];
	}
	return true;
}

static bool chooses(const struct choice *c)
{
	return c->op || c->cause || c->ou || c->user;
}

/* At or below the DN; compared as written, but for case: both come from the directory. */
static bool is_below(const char *dn, const char *base)
{
	size_t n = strlen(dn), m = strlen(base);

	return n >= m && strcasecmp(dn + n - m, base) == 0 && (n == m || dn[n - m - 1] == ',');
}

/* What made the operation, for people: the cause that the collector gave, or what the facts say. */
static void cause_of(const cJSON *row, char out[CAUSE_MOST])
{
	const char *cause = control_text(row, "cause", ""), *op = control_text(row, "op", "");

	if (json_true(row, "gone", false))
		snprintf(out, CAUSE_MOST, "deleted from source %s",
			 control_text(row, "source", "?"));
	else if (strcmp(op, "clear") == 0)
		snprintf(out, CAUSE_MOST, "attributes emptied");
	else if (json_true(row, "in", false))
		snprintf(out, CAUSE_MOST, "%s",
			 json_true(row, "enabled", true) ? "policy" : "disabled in the directory");
	else if (strncmp(cause, "group:", 6) == 0)
		snprintf(out, CAUSE_MOST, "not in group %s", cause + 6);
	else if (strcmp(cause, "moved") == 0)
		snprintf(out, CAUSE_MOST, "moved out of the base");
	else if (strcmp(cause, "filter") == 0)
		snprintf(out, CAUSE_MOST, "filter does not fit");
	else if (strcmp(cause, "config") == 0)
		snprintf(out, CAUSE_MOST, "configuration changed");
	else
		snprintf(out, CAUSE_MOST, "%s", *cause ? cause : "left the scope");
}

static bool is_chosen(const struct choice *c, const cJSON *row)
{
	char cause[CAUSE_MOST];

	cause_of(row, cause);
	return (!c->op || strcmp(control_text(row, "op", ""), c->op) == 0) &&
	       (!c->user || strcasecmp(control_text(row, "user", ""), c->user) == 0) &&
	       (!c->ou || is_below(control_text(row, "dn", ""), c->ou)) &&
	       (!c->cause || strcasestr(cause, c->cause));
}

/* ---- the whole list, part by part ---- */

struct list {
	cJSON *held; /* the chosen ones */
	cJSON *holds, *everything;
};

static void list_done(struct list *l)
{
	cJSON_Delete(l->held);
	cJSON_Delete(l->holds);
	cJSON_Delete(l->everything);
}

static void take_part(struct list *l, cJSON *part, const struct choice *c)
{
	cJSON *rows = cJSON_DetachItemFromObjectCaseSensitive(part, "held"), *row, *next;

	for (row = rows ? rows->child : NULL; row; row = next) {
		next = row->next;
		if (is_chosen(c, row))
			cJSON_AddItemToArray(l->held, cJSON_DetachItemViaPointer(rows, row));
	}
	cJSON_Delete(rows);
	if (!l->holds)
		l->holds = cJSON_DetachItemFromObjectCaseSensitive(part, "holds");
	cJSON_Delete(l->everything);
	l->everything = cJSON_DetachItemFromObjectCaseSensitive(part, "everything");
}

static int read_list(const struct cli *cli, const struct choice *c, struct list *ret)
{
	CLEANUP(free_cleanup) char *from = NULL;
	int rc;

	ret->held = cJSON_CreateArray();
	do {
		cJSON *request = cJSON_CreateObject(), *part = NULL;
		const char *next;

		if (c->target)
			cJSON_AddStringToObject(request, "target", c->target);
		if (from)
			cJSON_AddStringToObject(request, "from", from);
		cJSON_AddNumberToObject(request, "most", 500);
		rc = control_ask(cli, "held_ls", request, &part);
		cJSON_Delete(request);
		free_cleanup(&from);
		from = NULL;
		if (rc == 0) {
			take_part(ret, part, c);
			next = json_text(part, "next");
			from = next ? mem_dup(next) : NULL;
		}
		cJSON_Delete(part);
	} while (rc == 0 && from);
	return rc;
}

/* ---- groups ---- */

struct group {
	const cJSON *first; /* of it; the rest follow it in the sorted list */
	size_t n, waiting;
	char cause[CAUSE_MOST];
};

static int compare(const cJSON *a, const cJSON *b, const char *field)
{
	return strcmp(control_text(a, field, ""), control_text(b, field, ""));
}

static int by_group(const void *left, const void *right)
{
	const cJSON *a = *(const cJSON *const *)left, *b = *(const cJSON *const *)right;
	char ca[CAUSE_MOST], cb[CAUSE_MOST];
	int order = compare(a, b, "target");

	if (order == 0)
		order = compare(a, b, "op");
	if (order == 0)
		order = compare(a, b, "source");
	if (order != 0)
		return order;
	cause_of(a, ca);
	cause_of(b, cb);
	order = strcmp(ca, cb);
	if (order == 0)
		order = compare(a, b, "phase");
	return order ? order : compare(a, b, "dn");
}

/* Sorted, so that each group's rows lie together. Owned by the caller; the rows are the list's. */
static const cJSON **sorted(const cJSON *held, size_t *ret_n)
{
	const cJSON **rows = mem_array((size_t)cJSON_GetArraySize(held) + 1, sizeof(cJSON *));
	const cJSON *row;

	*ret_n = 0;
	cJSON_ArrayForEach (row, held)
		rows[(*ret_n)++] = row;
	qsort((void *)rows, *ret_n, sizeof(cJSON *), by_group);
	return rows;
}

static bool same_group(const cJSON *a, const cJSON *b)
{
	char ca[CAUSE_MOST], cb[CAUSE_MOST];

	cause_of(a, ca);
	cause_of(b, cb);
	return strcmp(ca, cb) == 0 && compare(a, b, "target") == 0 && compare(a, b, "op") == 0 &&
	       compare(a, b, "source") == 0 && compare(a, b, "phase") == 0;
}

static size_t group_of(const cJSON *const *rows, size_t n)
{
	size_t k = 1;

	while (k < n && same_group(rows[0], rows[k]))
		k++;
	return k;
}

static void print_group(const cJSON *const *rows, size_t n)
{
	char cause[CAUSE_MOST];

	cause_of(rows[0], cause);
	printf("%-16s %-10s %-8s %6zu  %s (source %s)\n", control_text(rows[0], "target", "?"),
	       control_text(rows[0], "op", "?"), control_text(rows[0], "phase", "?"), n, cause,
	       control_text(rows[0], "source", "?"));
	for (size_t i = 0; i < n && i < EXAMPLES; i++)
		printf("    %s  %s\n", control_text(rows[i], "user", "?"),
		       control_text(rows[i], "dn", "-"));
	if (n > EXAMPLES)
		printf("    and %zu more\n", n - EXAMPLES);
}

static cJSON *group_json(const cJSON *const *rows, size_t n)
{
	static const char *const fields[] = {"target", "op", "phase", "source"};
	cJSON *group = cJSON_CreateObject(), *examples;
	char cause[CAUSE_MOST];

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		cJSON_AddStringToObject(group, fields[i], control_text(rows[0], fields[i], ""));
	cause_of(rows[0], cause);
	cJSON_AddStringToObject(group, "cause", cause);
	cJSON_AddNumberToObject(group, "count", (double)n);
	examples = cJSON_AddArrayToObject(group, "examples");
	for (size_t i = 0; i < n && i < EXAMPLES; i++)
		cJSON_AddItemToArray(examples, cJSON_CreateString(control_text(rows[i], "dn", "")));
	return group;
}

static void print_holds(const struct list *l)
{
	const cJSON *h;

	cJSON_ArrayForEach (h, l->everything)
		printf("%-16s holds whatever is destructive since its store was emptied: `dirpipe "
		       "held "
		       "approve --all --target %s` ends it\n",
		       h->valuestring, h->valuestring);
	cJSON_ArrayForEach (h, l->holds)
		printf("%-16s %s %s shrank from %lld to %lld, since %s%s\n",
		       control_text(h, "source", "?"), control_text(h, "kind", "?"),
		       control_text(h, "name", ""), (long long)json_int(h, "was", 0),
		       (long long)json_int(h, "now", 0), control_text(h, "since", "-"),
		       json_true(h, "confirmed", false) ? " (confirmed)" : "");
}

/* ---- the verbs ---- */

static bool waits(const struct list *l)
{
	const cJSON *row;

	cJSON_ArrayForEach (row, l->held)
		if (strcmp(control_text(row, "phase", ""), "held") == 0)
			return true;
	return l->holds && l->holds->child;
}

static void groups(const struct list *l, const cJSON **rows, size_t n, cJSON *json)
{
	cJSON *list = json ? cJSON_AddArrayToObject(json, "groups") : NULL;

	for (size_t i = 0, k; i < n; i += k) {
		k = group_of(rows + i, n - i);
		if (list)
			cJSON_AddItemToArray(list, group_json(rows + i, k));
		else
			print_group(rows + i, k);
	}
	if (!list)
		print_holds(l);
}

/* `ls` tells groups, `show` every operation. Exit code 3: somebody's word is needed. */
static int show(const struct cli *cli, const struct choice *c, bool each)
{
	struct list l = {0};
	cJSON *json = cli->json ? cJSON_CreateObject() : NULL;
	const cJSON **rows;
	int rc = read_list(cli, c, &l);
	size_t n;

	rows = sorted(l.held, &n);
	if (rc == 0 && !each)
		groups(&l, rows, n, json);
	for (size_t i = 0; rc == 0 && each && !json && i < n; i++) {
		char cause[CAUSE_MOST];

		cause_of(rows[i], cause);
		printf("%-16s %s %-10s %-12s %-8s since %s  %s  %s\n",
		       control_text(rows[i], "target", "?"), control_text(rows[i], "user", "?"),
		       control_text(rows[i], "op", "?"), control_text(rows[i], "what", ""),
		       control_text(rows[i], "phase", "?"), control_text(rows[i], "since", "-"),
		       cause, control_text(rows[i], "dn", "-"));
	}
	free((void *)rows);
	if (rc == 0 && waits(&l))
		rc = EXIT_HELD_;
	if (json && (rc == 0 || rc == EXIT_HELD_)) {
		if (each)
			cJSON_AddItemToObject(json, "held", l.held);
		l.held = each ? NULL : l.held;
		cJSON_AddItemToObject(json, "holds", l.holds);
		cJSON_AddItemToObject(json, "everything", l.everything);
		l.holds = l.everything = NULL;
		(void)control_print_json(cli, json);
	}
	cJSON_Delete(json);
	list_done(&l);
	return rc;
}

struct word {
	const struct cli *cli;
	bool approve;
	long long changed, missing;
};

static int judge(struct word *w, cJSON *request)
{
	cJSON *result = NULL;
	int rc;

	cJSON_AddBoolToObject(request, "approve", w->approve);
	rc = control_ask(w->cli, "held_judge", request, &result);
	w->changed += json_int(result, "changed", 0);
	w->missing += json_int(result, "missing", 0);
	cJSON_Delete(result);
	cJSON_Delete(request);
	return rc;
}

/* Some rows of one target; what was chosen is named one by one, so that nothing else can be meant. */
static int judge_rows(struct word *w, const cJSON *const *rows, size_t n)
{
	cJSON *request = cJSON_CreateObject(), *ops;

	cJSON_AddStringToObject(request, "target", control_text(rows[0], "target", ""));
	ops = cJSON_AddArrayToObject(request, "ops");
	for (size_t i = 0; i < n; i++) {
		cJSON *op = cJSON_CreateObject();

		cJSON_AddStringToObject(op, "user", control_text(rows[i], "user", ""));
		cJSON_AddStringToObject(op, "op", control_text(rows[i], "op", ""));
		cJSON_AddStringToObject(op, "what", control_text(rows[i], "what", ""));
		cJSON_AddItemToArray(ops, op);
	}
	return judge(w, request);
}

static int judge_chosen(struct word *w, const cJSON *const *rows, size_t n)
{
	int rc = 0;

	for (size_t i = 0, k; rc == 0 && i < n; i += k) {
		for (k = 1; i + k < n && k < WORDS_MOST; k++)
			if (compare(rows[i], rows[i + k], "target") != 0)
				break;
		rc = judge_rows(w, rows + i, k);
	}
	return rc;
}

static bool agreed(const struct choice *c, const struct word *w, size_t n)
{
	char answer[8] = "";

	if (c->yes)
		return true;
	fprintf(stderr, "%s %zu operations? [y/N] ", w->approve ? "Approve" : "Reject", n);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int say(const struct cli *cli, const struct choice *c, bool approve)
{
	struct word w = {.cli = cli, .approve = approve};
	struct list l = {0};
	const cJSON **rows;
	int rc = read_list(cli, c, &l);
	size_t n;

	rows = sorted(l.held, &n);
	if (rc == 0 && !c->yes && !cli->json)
		groups(&l, rows, n, NULL);
	if (rc == 0 && !agreed(c, &w, n)) {
		fprintf(stderr, "dirpipe: nothing was done\n");
		rc = EXIT_FAILED_;
	} else if (rc == 0 && c->all) {
		cJSON *request = cJSON_CreateObject();

		cJSON_AddStringToObject(request, "target", c->target);
		cJSON_AddTrueToObject(request, "all");
		rc = judge(&w, request);
		w.changed = rc == 0 ? (long long)n : 0;
	} else if (rc == 0) {
		rc = judge_chosen(&w, rows, n);
	}
	free((void *)rows);
	list_done(&l);
	if (rc == 0 && cli->json)
		printf("{\"changed\":%lld,\"missing\":%lld}\n", w.changed, w.missing);
	else if (rc == 0 && !cli->quiet)
		printf("%lld %s%s\n", w.changed, approve ? "approved" : "rejected",
		       w.missing ? ", the rest is held no more" : "");
	return rc;
}

static int confirm(const struct cli *cli, char **argv)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	int rc;

	cJSON_AddStringToObject(request, "source", argv[1]);
	cJSON_AddStringToObject(request, "kind", argv[2]);
	cJSON_AddStringToObject(request, "name", argv[3]);
	rc = control_ask(cli, "confirm_hold", request, &result);
	if (rc == 0 && !control_print_json(cli, result) && !cli->quiet)
		puts("1 changed");
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

int cli_held(const struct cli *cli, int argc, char **argv)
{
	struct choice c = {0};
	bool approve = argc > 0 && strcmp(argv[0], "approve") == 0;

	if (argc == 4 && strcmp(argv[0], "confirm") == 0)
		return confirm(cli, argv);
	if (argc < 1 || !take_choice(&c, argc - 1, argv + 1))
		return cli_usage(usage);
	if (strcmp(argv[0], "ls") == 0 || strcmp(argv[0], "show") == 0)
		return c.all ? cli_usage(usage) : show(cli, &c, argv[0][0] == 's');
	if (!approve && strcmp(argv[0], "reject") != 0)
		return cli_usage(usage);
	/* all of a target, or some by what they are: never everything by a slip */
	if (c.all ? !c.target || chooses(&c) : !chooses(&c))
		return cli_usage(usage);
	return say(cli, &c, approve);
}
