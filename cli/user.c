/* `dirpipe user show`, `dirpipe dead` and `dirpipe parked`: one person, and those who are stuck. */
#include "control.h"
#include "service.h"

#include <stdio.h>
#include <string.h>

static void print_target(const cJSON *t)
{
	const cJSON *link = json_object(t, "link"), *stuck = json_object(t, "stuck"),
		    *error = json_object(t, "error");

	printf("  %-14s %s%s, since %s", t->string, control_text(t, "state", "?"),
	       json_true(t, "in", false) ? "" : ", out of scope", control_text(t, "since", "-"));
	if (link)
		printf("; account %s (%s)", control_text(link, "rid", "none yet"),
		       control_text(link, "state", "?"));
	if (strcmp(control_text(t, "state", ""), "retry") == 0)
		printf("; next try %s after %lld", control_text(t, "due", "-"),
		       (long long)json_int(t, "attempts", 0));
	putchar('\n');
	if (stuck)
		printf("    %s: %s %s\n", control_text(stuck, "kind", "stuck"),
		       control_text(stuck, "reason", ""), control_text(stuck, "detail", ""));
	else if (error)
		printf("    last error: %s %s\n", control_text(error, "reason", ""),
		       control_text(error, "detail", ""));
}

static void print_user(const cJSON *r)
{
	const cJSON *snapshot = json_object(r, "snapshot"), *t;

	printf("%s of %s, version %lld%s\n  %s\n", control_text(r, "id", "?"),
	       control_text(r, "source", "?"), (long long)json_int(r, "version", 0),
	       json_true(r, "gone", false) ? ", gone from the directory" : "",
	       snapshot ? control_text(snapshot, "dn", "-") : "-");
	cJSON_ArrayForEach (t, json_object(r, "targets"))
		print_target(t);
	if (snapshot) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		json_print(snapshot, &text);
		printf("  snapshot %s\n", text.p);
	}
}

int cli_user(const struct cli *cli, int argc, char **argv)
{
	cJSON *result, *request;
	int rc;

	if (argc != 2 || strcmp(argv[0], "show") != 0)
		return cli_usage("user show ID [--json]");
	request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "user", argv[1]);
	rc = control_ask(cli, "user_show", request, &result);
	if (rc == 0 && !control_print_json(cli, result))
		print_user(result);
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

static void print_stuck(const cJSON *result)
{
	const cJSON *u;

	cJSON_ArrayForEach (u, json_array(result, "users"))
		printf("%-16s %s %-24s %3lld %s\n", control_text(u, "target", "?"),
		       control_text(u, "user", "?"), control_text(u, "reason", "?"),
		       (long long)json_int(u, "status", 0), control_text(u, "detail", ""));
	if (json_true(result, "more", false))
		fputs("there are more; --json and `dirpipe queue` tell how many\n", stderr);
}

static int list(const struct cli *cli, const char *verb, const char *target)
{
	cJSON *result, *request = cJSON_CreateObject();
	int rc;

	if (target)
		cJSON_AddStringToObject(request, "target", target);
	cJSON_AddNumberToObject(request, "most", 10000);
	rc = control_ask(cli, verb, request, &result);
	if (rc == 0 && !control_print_json(cli, result))
		print_stuck(result);
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

/* With --all the broker takes at most 10,000 at a time and says when there are more. */
static int dead_change(const struct cli *cli, const char *verb, const char *target,
		       const char *user)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	long long changed = 0;
	bool more = true;
	int rc = 0;

	cJSON_AddStringToObject(request, "target", target);
	if (strcmp(user, "--all") == 0)
		cJSON_AddTrueToObject(request, "all");
	else
		cJSON_AddStringToObject(request, "user", user);
	while (rc == 0 && more) {
		rc = control_ask(cli, verb, request, &result);
		changed += rc == 0 ? (long long)json_int(result, "changed", 0) : 0;
		more = rc == 0 && json_true(result, "more", false);
		cJSON_Delete(result);
	}
	cJSON_Delete(request);
	if (rc == 0 && cli->json)
		printf("{\"changed\":%lld}\n", changed);
	else if (rc == 0 && !cli->quiet)
		printf("%lld changed\n", changed);
	return rc;
}

int cli_dead(const struct cli *cli, int argc, char **argv)
{
	if (argc >= 1 && argc <= 2 && strcmp(argv[0], "ls") == 0)
		return list(cli, "dead_ls", argc == 2 ? argv[1] : NULL);
	if (argc == 3 && strcmp(argv[0], "retry") == 0)
		return dead_change(cli, "dead_retry", argv[1], argv[2]);
	if (argc == 3 && strcmp(argv[0], "drop") == 0)
		return dead_change(cli, "dead_drop", argv[1], argv[2]);
	return cli_usage("dead ls [TARGET] | retry TARGET (ID|--all) | drop TARGET (ID|--all)");
}

int cli_parked(const struct cli *cli, int argc, char **argv)
{
	if (argc < 1 || argc > 2 || strcmp(argv[0], "ls") != 0)
		return cli_usage("parked ls [TARGET]");
	return list(cli, "parked_ls", argc == 2 ? argv[1] : NULL);
}
