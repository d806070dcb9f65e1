/* The settings of a directory as read; private to directory*.c. */
#ifndef DIRPIPE_DIRECTORY_CONF_H
#define DIRPIPE_DIRECTORY_CONF_H

#include "directory.h"

struct directory_uri {
	char *text;
	char *host; /* or the socket's path */
	char port[6];
	bool tls;   /* ldaps */
	bool local; /* ldapi */
};

struct directory_conf {
	const struct conf_node *source;
	struct directory_uri *uris;
	size_t uris_n;
	char *base;
	char *ca_file;
	char *bind_dn;
	char *keytab;
	char *principal;
	bool starttls;
	bool gssapi;
	int keepalive_idle_s, keepalive_interval_s, keepalive_probes;
	int64_t network_timeout_ms;
	int64_t operation_timeout_ms;
};

/* One blocking try; password NULL with gssapi. *fd_watch (may be NULL) holds the socket while it is being set up, so that a
 * watchdog can shut it down; -1 otherwise. */
LDAP *directory_connect_with(const struct directory_conf *c, size_t uri,
			     const struct secret *password, _Atomic int *fd_watch,
			     struct directory_failure *ret_failure) MUST_CHECK;
/* The password, read now. NULL with ret_failure set (SOURCE_DENIED), or NULL and SOURCE_NONE when none is needed. */
struct secret *directory_password(const struct directory_conf *c,
				  struct directory_failure *ret_failure);

#endif
