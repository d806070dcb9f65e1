/* The broker's control socket, from the asking side: one request, one answer (protocol: broker/admin.h). */
#ifndef DIRPIPE_CONTROL_H
#define DIRPIPE_CONTROL_H

#include "cli.h"
#include "json.h"

/* Sends {"verb": verb} and the fields of request (may be NULL; stays the caller's), waits at most 30 s. *ret_result is the answer's
 * `result`, owned by the caller. 0, or the exit code after one line on stderr. */
int control_ask(const struct cli *cli, const char *verb, const cJSON *request,
		cJSON **ret_result) MUST_CHECK;

/* With --json: prints the result on one line and returns true. */
bool control_print_json(const struct cli *cli, const cJSON *result);

/* A text of the answer; `otherwise` where it is absent or empty. Borrowed. */
const char *control_text(const cJSON *object, const char *name, const char *otherwise);

#endif
