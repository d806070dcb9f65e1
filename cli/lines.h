/* A sister program whose lines of JSON the command reads. */
#ifndef DIRPIPE_LINES_H
#define DIRPIPE_LINES_H

#include "cli.h"
#include "json.h"

/* Runs it to its end; take gets each line that is a JSON object (borrowed). Its exit code; EXIT_FAILED_ when a line was none. argv[0] is
 * the program's name, NULL at the end. */
int lines_run(char *const argv[], void (*take)(void *arg, const cJSON *line), void *arg);

#endif
