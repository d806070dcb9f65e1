/* Whom an operator means: an id, or a value that some attribute has. */
#ifndef DIRPIPE_PEOPLE_H
#define DIRPIPE_PEOPLE_H

#include "control.h"

/* ["id", …] of who is meant, owned by the caller; several where a value is several people's. NULL with the exit code after a line
 * on stderr: nobody, or the broker does not answer. */
cJSON *people_named(const struct cli *cli, const char *text, int *ret_code) MUST_CHECK;
/* Who is in that watched group. */
cJSON *people_of_group(const struct cli *cli, const char *group, int *ret_code) MUST_CHECK;

#endif
