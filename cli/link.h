/* Links, as `link` and `match` read and set them. */
#ifndef DIRPIPE_LINK_H
#define DIRPIPE_LINK_H

#include "control.h"

/* Every row of link_ls (broker/admin.h), part by part; request (with its target) is taken over. 0, or the exit code. */
int link_walk(const struct cli *cli, cJSON *request, void (*take)(void *arg, const cJSON *row),
	      void *arg);
bool link_is_manual(const cJSON *row);

struct link_word {
	const char *target, *user;
	const char *rid; /* NULL: unlink */
	bool rejoin;
};
int link_change(const struct cli *cli, const struct link_word *word);

#endif
