/* Who dirpipe is to a target: the `auth` section of its configuration, with its secrets, as oauth.h wants it. */
#ifndef DIRPIPE_CREDENTIALS_H
#define DIRPIPE_CREDENTIALS_H

#include "target.h"

struct credentials {
	/* the first part is filled by the caller; borrowed, must outlive it */
	const struct conf_node *conf; /* the target's section */
	const struct target_driver *driver;
	const struct target *target;
	const char *name, *instance; /* of the target, of this process */
	/* by credentials_load: */
	struct oauth_conf oauth;
	struct secret *secret, *password, *suffix;
	struct buf token_url;
	char **hosts; /* where the API may be, NULL at the end */
	size_t hosts_n;
};

/* False with errors, a line each: something is missing, or cannot be read. */
bool credentials_load(struct credentials *c, struct buf *errors) MUST_CHECK;
void credentials_done(struct credentials *c); /* loaded or zeroed */
/* What should be told about this way of authentication; NULL: nothing. */
const char *credentials_warning(const struct credentials *c);

#endif
