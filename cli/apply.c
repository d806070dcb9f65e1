/* `dirpipe apply FILE`: the rows of a plan, each exactly as it was shown or not at all. */
#include "control.h"
#include "plan.h"
#include "progress.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 250, AGAIN_MOST = 3, EXIT_PARTIAL = 4 };

enum row_state { ROW_NEW, ROW_WAITING, ROW_DONE, ROW_REFUSED, ROW_FAILED, ROW_STATES };

struct row {
	const cJSON *json;
	enum row_state state;
	char *reason;
	unsigned sent;
};

struct apply {
	const struct cli *cli;
	const char *target, *config;
	struct row *rows;
	size_t n, count[ROW_STATES];
};

static void row_move(struct apply *a, struct row *row, enum row_state to, const char *reason)
{
	a->count[row->state]--;
	a->count[to]++;
	row->state = to;
	if (reason && *reason) {
		free(row->reason);
		row->reason = mem_dup(reason);
	}
}

/* The next rows in that state from *at on. */
static size_t pick(struct apply *a, enum row_state state, size_t *at, struct row *ret[CHUNK])
{
	size_t n = 0;

	for (; *at < a->n && n < CHUNK; ++*at) {
		if (a->rows[*at].state == state)
			ret[n++] = &a->rows[*at];
	}
	return n;
}

/* ---- sending ---- */

static cJSON *wire_row(const cJSON *json)
{
	cJSON *row = cJSON_CreateArray(), *permits = cJSON_CreateArray(), *pair;
	const cJSON *need;

	cJSON_AddItemToArray(row, cJSON_CreateString(control_text(json, "user", "")));
	cJSON_AddItemToArray(row, cJSON_CreateNumber((double)json_int(json, "version", 0)));
	cJSON_AddItemToArray(row, cJSON_CreateString(control_text(json, "hash", "")));
	cJSON_ArrayForEach (need, json_array(json, "needs")) {
		pair = cJSON_CreateArray();
		cJSON_AddItemToArray(pair, cJSON_CreateString(control_text(need, "op", "")));
		cJSON_AddItemToArray(pair, cJSON_CreateString(control_text(need, "what", "")));
		cJSON_AddItemToArray(permits, pair);
	}
	cJSON_AddItemToArray(row, permits);
	return row;
}

static void take_refused(struct apply *a, struct row *const *rows, size_t n, const cJSON *result)
{
	const cJSON *pair;

	for (size_t i = 0; i < n; i++)
		row_move(a, rows[i], ROW_WAITING, NULL);
	cJSON_ArrayForEach (pair, json_array(result, "refused")) {
		const cJSON *place = cJSON_GetArrayItem(pair, 0),
			    *why = cJSON_GetArrayItem(pair, 1);

		if (cJSON_IsNumber(place) && place->valueint >= 0 && (size_t)place->valueint < n)
			row_move(a, rows[place->valueint], ROW_REFUSED,
				 cJSON_IsString(why) ? why->valuestring : "?");
	}
}

static int send_new(struct apply *a)
{
	struct row *rows[CHUNK];
	size_t at = 0, n;
	int rc = 0;

	while (rc == 0 && (n = pick(a, ROW_NEW, &at, rows)) > 0) {
		cJSON *request = cJSON_CreateObject(), *list, *result = NULL;

		cJSON_AddStringToObject(request, "target", a->target);
		cJSON_AddStringToObject(request, "config", a->config);
		list = cJSON_AddArrayToObject(request, "rows");
		for (size_t i = 0; i < n; i++) {
			rows[i]->sent++;
			cJSON_AddItemToArray(list, wire_row(rows[i]->json));
		}
		rc = control_ask(a->cli, "apply", request, &result);
		if (rc == 0)
			take_refused(a, rows, n, result);
		cJSON_Delete(request);
		cJSON_Delete(result);
	}
	return rc;
}

/* ---- waiting ---- */

static void take_state(struct apply *a, struct row *row, const char *state, const char *reason)
{
	if (strcmp(state, "done") == 0)
		row_move(a, row, ROW_DONE, NULL);
	else if (strcmp(state, "changed") == 0)
		row_move(a, row, ROW_REFUSED, reason);
	else if (strcmp(state, "failed") == 0)
		row_move(a, row, ROW_FAILED, reason);
	else if (strcmp(state, "unknown") == 0 && row->sent < AGAIN_MOST)
		row_move(a, row, ROW_NEW, NULL); /* the broker began anew */
	else if (strcmp(state, "unknown") == 0)
		row_move(a, row, ROW_FAILED, "forgotten by the broker");
}

static int look(struct apply *a)
{
	struct row *rows[CHUNK];
	size_t at = 0, n;
	int rc = 0;

	while (rc == 0 && (n = pick(a, ROW_WAITING, &at, rows)) > 0) {
		cJSON *request = cJSON_CreateObject(), *users, *result = NULL;

		cJSON_AddStringToObject(request, "target", a->target);
		users = cJSON_AddArrayToObject(request, "users");
		for (size_t i = 0; i < n; i++)
			cJSON_AddItemToArray(
				users, cJSON_CreateString(control_text(rows[i]->json, "user", "")));
		rc = control_ask(a->cli, "apply_state", request, &result);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			const cJSON *state =
				cJSON_GetArrayItem(json_array(result, "states"), (int)i);
			const cJSON *reason =
				cJSON_GetArrayItem(json_array(result, "reasons"), (int)i);

			if (cJSON_IsString(state) && cJSON_IsString(reason))
				take_state(a, rows[i], state->valuestring, reason->valuestring);
		}
		cJSON_Delete(request);
		cJSON_Delete(result);
	}
	return rc;
}

static int apply_target(struct apply *a)
{
	struct progress progress;
	int rc = 0;

	progress_begin(&progress, a->cli, "applied", a->n);
	while (rc == 0 && a->count[ROW_NEW] + a->count[ROW_WAITING] > 0) {
		rc = send_new(a);
		if (rc == 0)
			rc = look(a);
		progress_say(&progress, a->n - a->count[ROW_NEW] - a->count[ROW_WAITING]);
		if (rc == 0 && a->count[ROW_NEW] + a->count[ROW_WAITING] > 0)
			progress_wait(&progress);
	}
	return rc;
}

/* ---- what became of it ---- */

static void add_left(cJSON *list, const struct apply *a, const struct row *row)
{
	static const char *const names[ROW_STATES] = {"new", "waiting", "done", "refused",
						      "failed"};
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "target", a->target);
	cJSON_AddStringToObject(o, "user", control_text(row->json, "user", "?"));
	cJSON_AddStringToObject(o, "name", control_text(row->json, "name", ""));
	cJSON_AddStringToObject(o, "state", names[row->state]);
	cJSON_AddStringToObject(o, "reason", row->reason ? row->reason : "");
	cJSON_AddItemToArray(list, o);
}

static void tell(cJSON *result, const struct apply *a)
{
	static const char *const names[] = {
		[ROW_DONE] = "done", [ROW_REFUSED] = "refused", [ROW_FAILED] = "failed"};
	cJSON *list = cJSON_GetObjectItemCaseSensitive(result, "left");

	for (size_t i = 0; i < a->n; i++) {
		if (a->rows[i].state != ROW_DONE)
			add_left(list, a, &a->rows[i]);
	}
	for (size_t i = ROW_DONE; i < ROW_STATES; i++) {
		cJSON *count = cJSON_GetObjectItemCaseSensitive(result, names[i]);

		if (count)
			cJSON_SetNumberValue(count, count->valuedouble + (double)a->count[i]);
	}
}

static void show(const struct cli *cli, const cJSON *result)
{
	const cJSON *row;

	if (control_print_json(cli, result) || cli->quiet)
		return;
	cJSON_ArrayForEach (row, json_array(result, "left"))
		printf("%-12s %-40s %s: %s\n", control_text(row, "target", "?"),
		       control_text(row, "name", control_text(row, "user", "?")),
		       control_text(row, "state", "?"), control_text(row, "reason", ""));
	printf("%lld done, %lld refused, %lld failed\n", (long long)json_int(result, "done", 0),
	       (long long)json_int(result, "refused", 0), (long long)json_int(result, "failed", 0));
}

static bool may_be_done(const cJSON *row, const char *target)
{
	return strcmp(control_text(row, "target", ""), target) == 0 && json_text(row, "hash");
}

static int run(const struct cli *cli, const struct plan *p, const cJSON *summary, cJSON *result)
{
	struct apply a = {.cli = cli,
			  .target = control_text(summary, "target", ""),
			  .config = control_text(summary, "config", "")};
	const cJSON *row;
	int rc;

	a.rows = mem_array((size_t)cJSON_GetArraySize(p->rows) + 1, sizeof(*a.rows));
	cJSON_ArrayForEach (row, p->rows) {
		if (may_be_done(row, a.target))
			a.rows[a.n++] = (struct row){.json = row};
	}
	a.count[ROW_NEW] = a.n;
	rc = a.n > 0 ? apply_target(&a) : 0;
	tell(result, &a);
	for (size_t i = 0; i < a.n; i++)
		free(a.rows[i].reason);
	free(a.rows);
	return rc;
}

int cli_apply(const struct cli *cli, int argc, char **argv)
{
	struct plan p;
	const char *why = "";
	const cJSON *summary;
	cJSON *result;
	int rc = 0;

	if (argc != 1)
		return cli_usage("apply FILE   (a plan of `dirpipe plan --out FILE`)");
	if (plan_read(argv[0], &p, &why) < 0) {
		fprintf(stderr, "dirpipe: %s: %s\n", argv[0], why);
		return EXIT_DATA_;
	}
	result = cJSON_CreateObject();
	cJSON_AddNumberToObject(result, "done", 0);
	cJSON_AddNumberToObject(result, "refused", 0);
	cJSON_AddNumberToObject(result, "failed", 0);
	cJSON_AddArrayToObject(result, "left");
	cJSON_ArrayForEach (summary, p.summaries) {
		if (rc == 0)
			rc = run(cli, &p, summary, result);
	}
	show(cli, result);
	if (rc == 0 && cJSON_GetArraySize(json_array(result, "left")) > 0)
		rc = EXIT_PARTIAL;
	cJSON_Delete(result);
	plan_done(&p);
	return rc;
}
