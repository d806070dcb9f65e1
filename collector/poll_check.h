/* What a directory of unknown make is, and `dirpipe check source` for the driver poll. */
#ifndef DIRPIPE_POLL_CHECK_H
#define DIRPIPE_POLL_CHECK_H

#include "directory.h"

struct poll_flavour {
	bool ad; /* the other members do not matter */
	const struct entry_schema *schema;
	const char *stamp; /* entryCSN or modifyTimestamp */
};
extern const char *const poll_root_attrs[]; /* what poll_flavour_of reads of the root DSE */
struct poll_flavour poll_flavour_of(LDAP *ld, LDAPMessage *root);

int poll_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg);

#endif
