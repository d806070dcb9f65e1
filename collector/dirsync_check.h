/* `dirpipe check source` for the drivers that speak to Active Directory. */
#ifndef DIRPIPE_DIRSYNC_CHECK_H
#define DIRPIPE_DIRSYNC_CHECK_H

#include "directory.h"

/* struct source_driver's check. */
int dirsync_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg);

/* The same without the control. */
int usn_check(const struct conf_node *conf, const char *name, directory_say_fn say, void *arg);

/* The steps on one bound connection that DirSync and polling by uSNChanged share: naming context, deletions visible, dangerous
 * rights that are not needed. Returns the failed ones. */
int ad_check(LDAP *ld, const struct directory_conf *c, directory_say_fn say, void *arg);

/* Text order of the SID in bytes ("S-1-5-21-…"); and: does this security descriptor give the control access right `right`
 * (or all of them) to one of the SIDs? (MS-DTYP 2.4) -EINVAL when it cannot be read. */
int ad_sid_format(struct slice sid, struct buf *out) MUST_CHECK;
int ad_sd_grants(struct slice descriptor, const struct id *right, const struct slice *sids,
		 size_t sids_n);

#endif
