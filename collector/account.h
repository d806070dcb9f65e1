/* The state of an account as the directory has it, brought to one form (active-directory.md 9, openldap-389ds.md 6.3).
 * Pure: nothing depends on the time of day, so that the fingerprint changes only when the directory does. */
#ifndef DIRPIPE_ACCOUNT_H
#define DIRPIPE_ACCOUNT_H

#include "entry.h"
#include "source.h"

/* Times in milliseconds since 1970; 0: no such time or not known; SNAPSHOT_FOREVER: until somebody acts. */
struct account {
	bool enabled;
	bool must_change_password;
	int64_t locked_until;
	int64_t password_changed_at;
	int64_t password_expires_at;
	int64_t expires_at;
	int64_t last_logon_at; /* OpenLDAP, 389-DS: whole days, so that a login is not a change */
};

void account_read(const struct entry *e, const struct entry_schema *schema,
		  const struct source_policy *policy, struct account *ret);

/* FILETIME (100 ns since 1601) as text; 0 for 0, absent, "never" and what is no number. */
int64_t account_filetime_ms(const char *text);

#endif
