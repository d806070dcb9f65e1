/* What the driver poll knows of the server that it is connected to: its make, what is asked of it, and its base entry. */
#ifndef DIRPIPE_POLL_SERVER_H
#define DIRPIPE_POLL_SERVER_H

#include "poll_check.h"

struct poll_server {
	struct poll_flavour flavour;
	char **attrs;	    /* of images */
	char **sweep_attrs; /* id and stamp alone */
	struct buf filter;  /* users, groups and containers */
	struct id base_id;
	bool base_exists, base_readable; /* readable: its id and stamp are */
	char context[80];		 /* highest contextCSN (OpenLDAP), or "" */
};

/* Back to a server of unknown make: RFC 4530 entryUUID, RFC 4512 modifyTimestamp. */
void poll_server_done(struct poll_server *s);
/* After the root DSE told the flavour: builds the lists and the filter. */
void poll_server_set(struct poll_server *s, const struct conf_node *source);
void poll_server_base(struct poll_server *s, LDAP *ld, LDAPMessage *entry);

#endif
