#include "account.h"

#include "clock.h"
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DAY_MS 86400000LL

/* userAccountControl (MS-ADTS 2.2.16) */
enum { UF_ACCOUNTDISABLE = 0x2, UF_DONT_EXPIRE_PASSWD = 0x10000 };

static bool read_number(const char *text, int64_t *ret)
{
	char *end;

	if (text == NULL)
		return false;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	return end != text && *end == '\0' && errno == 0;
}

int64_t account_filetime_ms(const char *text)
{
	int64_t t;

	if (!read_number(text, &t) || t <= 0 || t == INT64_MAX)
		return 0;
	t = t / 10000 - 11644473600000LL;
	return t > 0 && t < SNAPSHOT_FOREVER ? t : 0;
}

static void read_ad(const struct entry *e, const struct source_policy *policy, struct account *a)
{
	int64_t control = 0, set = -1;
	int64_t locked = account_filetime_ms(entry_first(e, "lockoutTime"));

	(void)read_number(entry_first(e, "userAccountControl"), &control);
	(void)read_number(entry_first(e, "pwdLastSet"), &set);
	a->enabled = !(control & UF_ACCOUNTDISABLE);
	if (locked != 0)
		a->locked_until =
			policy->lockout_ms > 0 ? locked + policy->lockout_ms : SNAPSHOT_FOREVER;
	a->password_changed_at = account_filetime_ms(entry_first(e, "pwdLastSet"));
	a->must_change_password = set == 0 && !(control & UF_DONT_EXPIRE_PASSWD);
	if (!(control & UF_DONT_EXPIRE_PASSWD) && policy->max_password_age_ms > 0 &&
	    a->password_changed_at > 0)
		a->password_expires_at = a->password_changed_at + policy->max_password_age_ms;
	a->expires_at = account_filetime_ms(entry_first(e, "accountExpires"));
	a->last_logon_at = account_filetime_ms(entry_first(e, "lastLogonTimestamp"));
}

static bool is_true(const char *text)
{
	return text != NULL && strcasecmp(text, "TRUE") == 0;
}

static int64_t whole_days(int64_t ms)
{
	return ms / DAY_MS * DAY_MS;
}

/* pwdAccountLockedTime 000001010000Z: locked by an administrator (draft-behera-ldap-password-policy 5.3.3), which is how
 * accounts are disabled there. */
static void read_openldap(const struct entry *e, const struct source_policy *policy,
			  struct account *a)
{
	const char *locked = entry_first(e, "pwdAccountLockedTime");
	const char *logon = entry_first(e, "pwdLastSuccess");

	a->enabled = locked == NULL || strncmp(locked, "000001010000", 12) != 0;
	if (locked != NULL)
		a->locked_until = a->enabled && policy->lockout_ms > 0
					  ? clock_generalized_ms(locked) + policy->lockout_ms
					  : SNAPSHOT_FOREVER;
	a->password_changed_at = clock_generalized_ms(entry_first(e, "pwdChangedTime"));
	a->must_change_password = is_true(entry_first(e, "pwdReset"));
	if (policy->max_password_age_ms > 0 && a->password_changed_at > 0)
		a->password_expires_at = a->password_changed_at + policy->max_password_age_ms;
	a->last_logon_at = whole_days(
		clock_generalized_ms(logon != NULL ? logon : entry_first(e, "authTimestamp")));
}

static void read_389ds(const struct entry *e, struct account *a)
{
	const char *expires = entry_first(e, "passwordExpirationTime");

	a->enabled = !is_true(entry_first(e, "nsAccountLock"));
	a->locked_until = clock_generalized_ms(entry_first(e, "accountUnlockTime"));
	a->password_changed_at = clock_generalized_ms(entry_first(e, "pwdUpdateTime"));
	/* The epoch itself means: must change (an administrator has reset it). */
	a->must_change_password = expires != NULL && strncmp(expires, "19700101000000", 14) == 0;
	a->password_expires_at = clock_generalized_ms(expires);
	a->last_logon_at = whole_days(clock_generalized_ms(entry_first(e, "lastLoginTime")));
}

void account_read(const struct entry *e, const struct entry_schema *schema,
		  const struct source_policy *policy, struct account *ret)
{
	*ret = (struct account){.enabled = true};
	if (schema->id_is_guid)
		read_ad(e, policy, ret);
	else if (strcmp(schema->id_attr, "nsUniqueId") == 0)
		read_389ds(e, ret);
	else
		read_openldap(e, policy, ret);
}
