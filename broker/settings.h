/* The broker's part of the configuration, as its modules take it. */
#ifndef DIRPIPE_BROKER_SETTINGS_H
#define DIRPIPE_BROKER_SETTINGS_H

#include "conf.h"
#include "log.h"
#include "session.h"

struct settings {
	struct conf *conf; /* owned: the texts below are borrowed from it */
	struct session_conf session;
	const char *control;
	const char *http; /* NULL: off */
	enum log_level level;
	/* what session points into */
	const char **endpoints, **sources, **targets;
	struct queue_target_conf *target_confs;
	struct bus_keys keys;
	struct bus_peer_key *peers;
	struct secret *secret_key, *redis_password;
};

/* Reads and checks all; NULL with every error in errors, one a line. */
struct settings *settings_load(const char *path, struct buf *errors) MUST_CHECK;
void settings_free(struct settings *s);
/* Limits of the targets in `to` that can change while the broker runs, from a newer reading. What cannot (names of sources
 * and targets, endpoints, Redis) is told in why, one a line. */
void settings_take(struct settings *to, const struct settings *from, struct buf *why);

#endif
