#include "cli.h"
#include "secret.h"
#include "service.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *words, *help;
	cli_fn run;
} verbs[] = {
	{"up", "[--state DIR] [--workers TARGET=N]...",
	 "run everything on this host, with a private Redis", cli_up},
	{"check", "[source|target NAME]", "try every connection and right, a line a step",
	 cli_check},
	{"status", "", "sources, targets, queues, health", cli_status},
	{"user", "show ID", "one user: what the directory says, and its state at every target",
	 cli_user},
	{"queue", "", "queue depth per target and state", cli_queue},
	{"dead", "ls [TARGET] | retry TARGET (ID|--all) | drop TARGET (ID|--all)",
	 "what no retry mends", cli_dead},
	{"parked", "ls [TARGET]", "who waits for something, and for what", cli_parked},
	{"errors", "ls [--target TARGET] [--csv FILE]",
	 "what went wrong, also what is mended by now; FILE - is the output", cli_errors},
	{"source", "tree SOURCE [--users-only]",
	 "the organisational units of a directory, and how many users each holds", cli_source},
	{"link", "ls TARGET [--user ID] | add TARGET ID ACCOUNT | rm TARGET ID [--rejoin]",
	 "which account is whose, and your word for it", cli_link},
	{"match", "propose TARGET [--by RULES] [--out FILE] | apply FILE",
	 "which accounts could be whose: a file to look through, then its links", cli_match},
	{"plan", "[--target T] [--user U] [--out FILE] [--format F] [--exit-code]",
	 "what would be done, and nothing is done; --config NEW: by that file", cli_plan},
	{"held", "ls | show | approve | reject [--target|--op|--cause|--ou|--user …] | confirm …",
	 "what the guard holds, by cause, and your word for it", cli_held},
	{"apply", "FILE", "exactly the rows of a plan, or not those that changed since", cli_apply},
	{"licence", "ls [--target T] [--state S] | reinstate (USER|--all) [--target T]",
	 "whose licences were taken, who waits for a seat; give back now", cli_licence},
	{"reconcile", "run | report [--target T] [--exit-code] | watch",
	 "compare all accounts, and make right who differs", cli_reconcile},
	{"sync", "run [TARGET] [--user U | --group G] [--full] [--wait]",
	 "read accounts (--full: the directory) again and make them right", cli_sync},
	{"pause", "TARGET [WHY]", "give nobody of this target to a worker", cli_pause},
	{"resume", "TARGET", "end a pause, the target's own too", cli_resume},
	{"log", "[LINES] [--target TARGET]", "the newest lines of the provisioning log", cli_log},
	{"config", "check | show | explain KEY", "the configuration, checked and explained",
	 cli_config},
};

static void help(FILE *out)
{
	fputs("Usage: dirpipe [--config FILE] [--socket PATH] [--json] [--quiet] VERB ...\n\n",
	      out);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		fprintf(out, "  %-7s %-58s %s\n", verbs[i].name, verbs[i].words, verbs[i].help);
	fputs("\nExit codes: 0 done, 1 failed, 3 approval needed, 4 partly done, 64 usage, 69 the "
	      "broker does not answer, 78 "
	      "configuration.\n",
	      out);
}

int cli_usage(const char *usage)
{
	fprintf(stderr, "Usage: dirpipe %s\n", usage);
	return EXIT_USAGE_;
}

/* Options may stand before or behind the verb; what the verb itself takes is left in argv. */
static int take_options(struct cli *cli, int *argc, char **argv)
{
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		const char **value = strcmp(argv[i], "--config") == 0	? &cli->config
				     : strcmp(argv[i], "--socket") == 0 ? &cli->socket
									: NULL;

		if (value) {
			if (i + 1 == *argc) {
				fprintf(stderr, "dirpipe: %s needs a value\n", argv[i]);
				return EXIT_USAGE_;
			}
			*value = argv[++i];
		} else if (strcmp(argv[i], "--json") == 0) {
			cli->json = true;
		} else if (strcmp(argv[i], "--quiet") == 0) {
			cli->quiet = true;
		} else {
			argv[kept++] = argv[i];
		}
	}
	argv[kept] = NULL;
	*argc = kept;
	return 0;
}

int main(int argc, char **argv)
{
	struct cli cli = {.config = getenv("DIRPIPE_CONFIG")};
	int rc = take_options(&cli, &argc, argv);

	if (rc != 0)
		return rc;
	if (!cli.config)
		cli.config = "/etc/dirpipe/dirpipe.yaml";
	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE_;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0) {
		help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0 ||
	    strcmp(argv[1], "-V") == 0) {
		puts("dirpipe " DIRPIPE_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(&cli, argc - 2, argv + 2);
	}
	fprintf(stderr, "dirpipe: no such verb: %s\n\n", argv[1]);
	help(stderr);
	return EXIT_USAGE_;
}
