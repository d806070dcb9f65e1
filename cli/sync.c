/* `dirpipe sync run`: on demand, somebody's accounts or everybody's are read again and made right, or the directory is. */
#include "control.h"
#include "people.h"
#include "progress.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"sync run [TARGET] [--target T] [--user ID|VALUE | --group G] [--full] [--wait]";

enum { CHUNK = 500, EXIT_HELD = 3, EXIT_PARTIAL = 4, EXIT_LATER = 75 };

struct options {
	const char *target, *user, *group;
	bool full, wait;
};

static bool parse(struct options *o, int argc, char **argv)
{
	if (argc < 1 || strcmp(argv[0], "run") != 0)
		return false;
	for (int i = 1; i < argc; i++) {
		const char **value = strcmp(argv[i], "--target") == 0  ? &o->target
				     : strcmp(argv[i], "--user") == 0  ? &o->user
				     : strcmp(argv[i], "--group") == 0 ? &o->group
								       : NULL;

		if (value && i + 1 < argc)
			*value = argv[++i];
		else if (strcmp(argv[i], "--full") == 0)
			o->full = true;
		else if (strcmp(argv[i], "--wait") == 0)
			o->wait = true;
		else if (argv[i][0] != '-' && !o->target)
			o->target = argv[i];
		else
			return false;
	}
	return !(o->user && o->group) && !(o->full && (o->user || o->group));
}

/* ---- asking ---- */

/* {"changed":n} of a verb is added to *changed. request is taken. */
static int ask_changed(const struct cli *cli, const char *verb, cJSON *request, long long *changed)
{
	cJSON *result = NULL;
	int rc = control_ask(cli, verb, request, &result);

	if (rc == 0)
		*changed += (long long)json_int(result, "changed", 0);
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

static cJSON *for_target(const char *target)
{
	cJSON *request = cJSON_CreateObject();

	cJSON_AddStringToObject(request, "target", target);
	return request;
}

/* The next CHUNK of them. */
static cJSON *chunk_of(const cJSON **next)
{
	cJSON *list = cJSON_CreateArray();

	for (int i = 0; i < CHUNK && *next; i++, *next = (*next)->next)
		cJSON_AddItemToArray(list, cJSON_CreateString((*next)->valuestring));
	return list;
}

static int ask_target(const struct cli *cli, const char *target, const cJSON *users,
		      long long *changed)
{
	const cJSON *next = users ? users->child : NULL;
	cJSON *request;
	int rc = 0;

	if (!users)
		return ask_changed(cli, "resync", for_target(target), changed);
	while (rc == 0 && next) {
		request = for_target(target);
		cJSON_AddItemToObject(request, "users", chunk_of(&next));
		rc = ask_changed(cli, "sync_users", request, changed);
	}
	return rc;
}

/* ---- waiting ---- */

struct state {
	long long busy, parked, dead, held;
	bool paused;
};

static int add_state(const struct cli *cli, cJSON *request, struct state *s)
{
	cJSON *result = NULL;
	int rc = control_ask(cli, "sync_state", request, &result);

	if (rc == 0) {
		s->busy +=
			(long long)(json_int(result, "due", 0) + json_int(result, "in_flight", 0) +
				    json_int(result, "retry", 0));
		s->parked += (long long)json_int(result, "parked", 0);
		s->dead += (long long)json_int(result, "dead", 0);
		s->held += (long long)json_int(result, "held", 0);
		s->paused |= json_true(result, "paused", false);
	}
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

static int look(const struct cli *cli, const cJSON *targets, const cJSON *users, struct state *s)
{
	const cJSON *target;
	int rc = 0;

	*s = (struct state){0};
	cJSON_ArrayForEach (target, targets) {
		const cJSON *next = users ? users->child : NULL;

		if (rc != 0)
			break;
		do {
			cJSON *request = for_target(target->valuestring);

			if (users)
				cJSON_AddItemToObject(request, "users", chunk_of(&next));
			rc = add_state(cli, request, s);
		} while (rc == 0 && next);
	}
	return rc;
}

static int wait_targets(const struct cli *cli, const cJSON *targets, const cJSON *users,
			struct state *s)
{
	struct progress progress;
	int rc = look(cli, targets, users, s);
	size_t of = (size_t)s->busy;

	progress_begin(&progress, cli, "done", of);
	while (rc == 0 && s->busy > 0 && !s->paused) {
		progress_wait(&progress);
		rc = look(cli, targets, users, s);
		progress_say(&progress, of > (size_t)s->busy ? of - (size_t)s->busy : 0);
	}
	return rc;
}

/* ---- the whole directory ---- */

/* The session of a source, and whether it has caught up. */
static int source_of(const struct cli *cli, const char *source, long long *ret_session,
		     bool *ret_caught_up)
{
	cJSON *status = NULL;
	const cJSON *s;
	int rc = control_ask(cli, "status", NULL, &status);

	*ret_caught_up = false;
	cJSON_ArrayForEach (s, json_array(status, "sources")) {
		if (strcmp(control_text(s, "name", ""), source) != 0)
			continue;
		*ret_session = (long long)json_int(s, "session", 0);
		*ret_caught_up = json_true(s, "caught_up", false);
	}
	cJSON_Delete(status);
	return rc;
}

static int read_source(const struct cli *cli, const char *source, bool wait)
{
	long long before = 0, session = 0, changed = 0;
	bool caught_up;
	struct progress progress;
	cJSON *request = cJSON_CreateObject();
	int rc;

	cJSON_AddStringToObject(request, "source", source);
	rc = source_of(cli, source, &before, &caught_up);
	if (rc == 0)
		rc = ask_changed(cli, "read_all", request, &changed);
	else
		cJSON_Delete(request);
	progress_begin(&progress, cli, source, 1);
	for (caught_up = false; rc == 0 && wait && !(session != before && caught_up);) {
		progress_wait(&progress);
		rc = source_of(cli, source, &session, &caught_up);
		progress_say(&progress, 0);
	}
	return rc;
}

static int read_all(const struct cli *cli, const cJSON *status, bool wait)
{
	const cJSON *s;
	int rc = 0;

	cJSON_ArrayForEach (s, json_array(status, "sources")) {
		if (rc == 0)
			rc = read_source(cli, control_text(s, "name", ""), wait);
	}
	return rc;
}

/* ---- all of it ---- */

static int tell(const struct cli *cli, long long changed, const struct state *s, bool waited)
{
	if (cli->json && !waited)
		printf("{\"changed\":%lld}\n", changed);
	else if (cli->json)
		printf("{\"changed\":%lld,\"waiting\":%lld,\"parked\":%lld,\"held\":%lld,\"dead\":%"
		       "lld}\n",
		       changed, s->busy, s->parked, s->held, s->dead);
	else if (!cli->quiet && !waited)
		printf("%lld changed\n", changed);
	else if (!cli->quiet)
		printf("%lld changed: %lld wait, %lld parked, %lld held, %lld dead\n", changed,
		       s->busy, s->parked, s->held, s->dead);
	if (s->busy > 0)
		fputs("dirpipe: a target is paused: `dirpipe resume TARGET`\n", stderr);
	return s->dead > 0     ? EXIT_FAILED_
	       : s->held > 0   ? EXIT_HELD
	       : s->parked > 0 ? EXIT_PARTIAL
	       : s->busy > 0   ? EXIT_LATER
			       : 0;
}

static cJSON *targets_of(const struct options *o, const cJSON *status)
{
	cJSON *targets = cJSON_CreateArray();
	const cJSON *t;

	if (o->target)
		cJSON_AddItemToArray(targets, cJSON_CreateString(o->target));
	else
		cJSON_ArrayForEach (t, json_array(status, "targets"))
			cJSON_AddItemToArray(targets,
					     cJSON_CreateString(control_text(t, "name", "")));
	return targets;
}

static int run(const struct cli *cli, const struct options *o, const cJSON *status,
	       const cJSON *users)
{
	cJSON *targets = targets_of(o, status);
	const cJSON *target;
	struct state s = {0};
	long long changed = 0;
	int rc = o->full ? read_all(cli, status, o->wait) : 0;

	cJSON_ArrayForEach (target, targets) {
		if (rc == 0 && !o->full)
			rc = ask_target(cli, target->valuestring, users, &changed);
	}
	if (rc == 0 && o->wait)
		rc = wait_targets(cli, targets, users, &s);
	cJSON_Delete(targets);
	return rc ? rc : tell(cli, changed, &s, o->wait);
}

int cli_sync(const struct cli *cli, int argc, char **argv)
{
	struct options o = {0};
	cJSON *status = NULL, *users = NULL;
	int rc = 0;

	if (!parse(&o, argc, argv))
		return cli_usage(usage);
	rc = control_ask(cli, "status", NULL, &status);
	if (rc == 0 && o.user)
		users = people_named(cli, o.user, &rc);
	if (rc == 0 && o.group)
		users = people_of_group(cli, o.group, &rc);
	if (rc == 0)
		rc = run(cli, &o, status, users);
	cJSON_Delete(users);
	cJSON_Delete(status);
	return rc;
}
