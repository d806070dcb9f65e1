/* The snapshot of a user: canonical JSON (sorted keys, UTF-8) made by the collector alone, read by workers and
 * the CLI, opaque to the broker. Keys:
 *	account   {enabled, expires_at, last_logon_at, locked_until, must_change_password, password_changed_at,
 *	           password_expires_at}: booleans, and milliseconds since 1970 or null (no such time / not known);
 *	           SNAPSHOT_FOREVER = until somebody acts
 *	attrs     {name: [values]}: every requested attribute; [] = absent in the directory; binary values in base64
 *	dn        string
 *	groups    [names of watched groups that hold the user, nested too], sorted; a group's name is its configured name
 *	id        the 8-4-4-4-12 text
 *	immutable_id  base64 of the id's bytes as the directory stores them (AD: objectGUID's own order)
 *	source    the source's name
 * Attribute names have the configuration's spelling. */
#ifndef DIRPIPE_SNAPSHOT_H
#define DIRPIPE_SNAPSHOT_H

#include "id.h"
#include "json.h"

#define SNAPSHOT_FOREVER 253402300799000 /* 9999-12-31T23:59:59Z */

struct snapshot; /* a parsed, checked one */

struct snapshot *snapshot_parse(struct slice text, const char **ret_why) MUST_CHECK;
void snapshot_free(struct snapshot *s);
const cJSON *snapshot_json(const struct snapshot *s);

const char *snapshot_dn(const struct snapshot *s);
const char *snapshot_immutable_id(const struct snapshot *s);
const char *
snapshot_first(const struct snapshot *s,
	       const char *attr); /* NULL: absent or []; also "dn", "id", "immutable_id" */
const cJSON *snapshot_values(const struct snapshot *s,
			     const char *attr); /* NULL: never requested */
bool snapshot_enabled(const struct snapshot *s);
int64_t snapshot_time(const struct snapshot *s, const char *account_key); /* 0: none */
bool snapshot_in_group(const struct snapshot *s, const char *group);

#endif
