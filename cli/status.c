/* `dirpipe status` and `dirpipe queue`: what a person looks at first. */
#include "control.h"
#include "service.h"

#include <stdio.h>
#include <string.h>

static double number(const cJSON *object, const char *name)
{
	const cJSON *item = json_get(object, name);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static long long whole(const cJSON *object, const char *name)
{
	return (long long)json_int(object, name, 0);
}

static void print_targets(const cJSON *targets)
{
	const cJSON *t;

	printf("%-16s %-11s %9s %8s %8s %8s %7s %6s %6s %9s %8s %8s\n", "TARGET", "STATE",
	       "IN SCOPE", "READY", "DELAYED", "FLIGHT", "PARKED", "HELD", "DEAD", "OLDEST s",
	       "DONE/s", "ETA s");
	cJSON_ArrayForEach (t, targets) {
		const cJSON *q = json_object(t, "queue"), *eta = json_get(t, "eta_s");
		char eta_text[24] = "-";

		if (cJSON_IsNumber(eta))
			snprintf(eta_text, sizeof(eta_text), "%.0f", eta->valuedouble);
		printf("%-16s %-11s %9lld %8lld %8lld %8lld %7lld %6lld %6lld %9.1f %8.1f %8s\n",
		       control_text(t, "name", "?"), control_text(t, "state", "?"),
		       whole(t, "in_scope"), whole(q, "ready"), whole(q, "delayed"),
		       whole(q, "in_flight"), whole(q, "parked"), whole(q, "held"),
		       whole(q, "dead"), number(t, "oldest_age_s"),
		       number(json_object(t, "rates"), "done_per_s"), eta_text);
	}
}

static void print_pauses(const cJSON *targets)
{
	const cJSON *t;

	cJSON_ArrayForEach (t, targets) {
		const cJSON *pause = json_object(t, "pause");

		if (pause)
			printf("%s is paused (%s) until %s: %s\n", control_text(t, "name", "?"),
			       control_text(pause, "kind", "?"),
			       control_text(pause, "until", "it is resumed"),
			       control_text(pause, "why", ""));
		if (whole(json_object(t, "queue"), "ready") > 0 &&
		    cJSON_GetArraySize(json_get(t, "workers")) == 0)
			printf("%s has no worker\n", control_text(t, "name", "?"));
		if (whole(json_object(t, "queue"), "held") > 0)
			printf("%s: %lld destructive operations are held by the guard\n",
			       control_text(t, "name", "?"),
			       whole(json_object(t, "queue"), "held"));
	}
}

static void print_sources(const cJSON *sources)
{
	const cJSON *s, *hold;

	printf("%-16s %-9s %9s %9s %9s %9s  %s\n", "SOURCE", "CONNECTED", "USERS", "READ",
	       "PUBLISHED", "UNCHANGED", "SERVER");
	cJSON_ArrayForEach (s, sources) {
		printf("%-16s %-9s %9lld %9lld %9lld %9lld  %s\n", control_text(s, "name", "?"),
		       json_true(s, "connected", false) ? "yes" : "no", whole(s, "users"),
		       whole(s, "read"), whole(s, "published"), whole(s, "unchanged"),
		       control_text(s, "server", "-"));
	}
	cJSON_ArrayForEach (s, sources) {
		if (!json_true(s, "connected", false))
			printf("%s: %s\n", control_text(s, "name", "?"),
			       control_text(s, "error", "no collector is there"));
		if (whole(s, "foreign") > 0)
			printf("%s: %lld times an id was refused that another source owns\n",
			       control_text(s, "name", "?"), whole(s, "foreign"));
		cJSON_ArrayForEach (hold, json_array(s, "holds"))
			printf("%s: %s %s shrank from %lld to %lld and is held since %s\n",
			       control_text(s, "name", "?"), control_text(hold, "kind", "?"),
			       control_text(hold, "name", ""), whole(hold, "was"),
			       whole(hold, "now"), control_text(hold, "since", "?"));
	}
}

static void print_status(const cJSON *r)
{
	const cJSON *failed;

	printf("dirpipe %s, realm %s: %s%s%s\n\n", control_text(r, "version", "?"),
	       control_text(r, "realm", "?"), control_text(r, "state", "?"),
	       *control_text(r, "why", "") ? ": " : "", control_text(r, "why", ""));
	print_sources(json_array(r, "sources"));
	putchar('\n');
	print_targets(json_array(r, "targets"));
	print_pauses(json_array(r, "targets"));
	cJSON_ArrayForEach (failed, json_array(json_object(r, "health"), "failed"))
		printf("not ready: %s: %s\n", control_text(failed, "check", "?"),
		       control_text(failed, "why", ""));
}

int cli_status(const struct cli *cli, int argc, char **argv)
{
	cJSON *result;
	int rc;

	(void)argv;
	if (argc != 0)
		return cli_usage("status [--json]");
	rc = control_ask(cli, "status", NULL, &result);
	if (rc == 0 && !control_print_json(cli, result))
		print_status(result);
	cJSON_Delete(result);
	return rc;
}

int cli_queue(const struct cli *cli, int argc, char **argv)
{
	cJSON *result, *request = cJSON_CreateObject();
	int rc;

	if (argc > 1) {
		cJSON_Delete(request);
		return cli_usage("queue [TARGET] [--json]");
	}
	if (argc == 1)
		cJSON_AddStringToObject(request, "target", argv[0]);
	rc = control_ask(cli, "queue", request, &result);
	if (rc == 0 && !control_print_json(cli, result))
		print_targets(json_array(result, "targets"));
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}
