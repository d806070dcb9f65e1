/* The operator's command: verbs, what they share. One file per group of verbs. */
#ifndef DIRPIPE_CLI_H
#define DIRPIPE_CLI_H

#include "conf.h"

struct cli {
	const char *config; /* path of the configuration file */
	const char *socket; /* of the broker's control socket; NULL: as configured */
	bool json, quiet;
};

/* A verb gets the words after its own name and returns the program's exit code (INTERFACES 5.2). */
typedef int (*cli_fn)(const struct cli *cli, int argc, char **argv);

int cli_up(const struct cli *cli, int argc, char **argv);
int cli_check(const struct cli *cli, int argc, char **argv);
int cli_config(const struct cli *cli, int argc, char **argv);
int cli_status(const struct cli *cli, int argc, char **argv);
int cli_user(const struct cli *cli, int argc, char **argv);
int cli_queue(const struct cli *cli, int argc, char **argv);
int cli_dead(const struct cli *cli, int argc, char **argv);
int cli_parked(const struct cli *cli, int argc, char **argv);
int cli_errors(const struct cli *cli, int argc, char **argv);
int cli_source(const struct cli *cli, int argc, char **argv);
int cli_link(const struct cli *cli, int argc, char **argv);
int cli_match(const struct cli *cli, int argc, char **argv);
int cli_held(const struct cli *cli, int argc, char **argv);
int cli_licence(const struct cli *cli, int argc, char **argv);
int cli_plan(const struct cli *cli, int argc, char **argv);
int cli_apply(const struct cli *cli, int argc, char **argv);
int cli_reconcile(const struct cli *cli, int argc, char **argv);
int cli_sync(const struct cli *cli, int argc, char **argv);
int cli_pause(const struct cli *cli, int argc, char **argv);
int cli_resume(const struct cli *cli, int argc, char **argv);
int cli_log(const struct cli *cli, int argc, char **argv);

/* Wrong words: says so with the usage on stderr, gives EXIT_USAGE_. */
int cli_usage(const char *usage);

/* The configuration, or NULL after printing every error of it on stderr (exit code: EXIT_CONFIG_). secrets: they must be readable
 * too, which an operator's shell often may not. Owned by the caller. */
struct conf *cli_conf(const struct cli *cli, bool secrets) MUST_CHECK;

/* What only the programs know (drivers, mappings, filters): each tests the configuration of its part and says what is wrong on
 * stderr. 0, or the worst exit code. */
int cli_test_programs(const struct cli *cli, const struct conf *conf);

/* Path of a sister program: beside this one, else found by $PATH. Owned by the caller. */
char *cli_program(const char *name) MUST_CHECK;

#endif
