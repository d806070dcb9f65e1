/* LDAP filters (RFC 4515) evaluated here, over an entry's attributes: & | ! = presence, substrings, >= <= ~= and the
 * two bit rules of Active Directory. Values compare as caseIgnoreMatch, numbers as numbers, DNs as DNs. Pure. */
#ifndef DIRPIPE_FILTER_H
#define DIRPIPE_FILTER_H

#include "entry.h"

struct filter;

/* NULL with why: syntax, depth over 32, a matching rule that is not known. */
struct filter *filter_new(const char *text, struct buf *why) MUST_CHECK;
void filter_free(struct filter *f);
/* An attribute that the entry does not have is "undefined" and does not fit, also under "!" only as RFC 4511 4.5.1.7
 * has it for absent attributes in practice: (!(a=b)) fits an entry without a. */
bool filter_fits(const struct filter *f, const struct entry *e);

#endif
