/* An LDAP entry as the collector sees it: identity, class, DN and the requested attributes, copied out of libldap's
 * message and checked (GOALS 8: size caps, secrets never read). Attribute options such as ;lang-x are kept in
 * the name, ;range= and ;binary are not. */
#ifndef DIRPIPE_ENTRY_H
#define DIRPIPE_ENTRY_H

#include "id.h"
#include <ldap.h>

enum entry_class { ENTRY_USER, ENTRY_GROUP, ENTRY_CONTAINER, ENTRY_OTHER, ENTRY_CLASSES };

/* Where an image came from: the search that is followed, a read that the line asked for (stale if a live one came
 * since the request), or the survey at start (only what routing needs). Drivers set it; 0 is right for live ones. */
enum entry_origin { ENTRY_LIVE, ENTRY_REREAD, ENTRY_SURVEY, ENTRY_ORIGINS };

enum {
	ENTRY_VALUE_MAX =
		64
		<< 10, /* bytes of one value; more: the entry is rejected with the attribute's name */
	ENTRY_MAX = 16 << 20, /* bytes of one entry (a 50,000-member group has 2.6 MB) */
};

struct entry_attr {
	char *name; /* as the server spelled it, without options other than ;lang- */
	struct slice *
		values; /* owned, NUL after each; NULL and 0: requested or reported without values */
	size_t n;
	void *own; /* the memory behind name and values */
};

struct entry_schema;

struct entry {
	const struct entry_schema *schema; /* that it was read by */
	struct id id;			   /* RFC 4122 order */
	uint8_t raw_id[16]; /* as the directory stores it (AD: objectGUID's own order) */
	enum entry_class class;
	enum entry_origin origin;
	long range_next; /* > 0: `member;range=…` ended before its last value; ask for member;range=N-* and add (AD) */
	char *dn; /* UTF-8, as the server wrote it, without <GUID=> or <SID=> parts */
	struct entry_attr *attrs;
	size_t n;
};

/* How a directory names things; one constant per kind. */
struct entry_schema {
	const char *id_attr;	 /* objectGUID, entryUUID, nsUniqueId */
	bool id_is_guid;	 /* 16 bytes in Microsoft's mixed order */
	const char *user_filter; /* default for users.filter */
	const char *group_filter;
	const char *container_filter;
	const char *const *account_attrs; /* account state, NULL-terminated: what account.c reads */
	const char *const *member_attrs;  /* member, uniqueMember, memberUid …: NULL-terminated */
};
extern const struct entry_schema entry_schema_ad, entry_schema_openldap, entry_schema_389ds;

/* NULL with *ret_why (good until the next call) when it has no id, no DN or breaks a cap; ret_id is set when it could be read. */
struct entry *entry_new(LDAP *ld, LDAPMessage *message, const struct entry_schema *schema,
			struct id *ret_id, const char **ret_why) MUST_CHECK;
void entry_free(struct entry *e);
const struct entry_attr *entry_attr(const struct entry *e,
				    const char *name); /* case-insensitive; NULL: not there */
const char *entry_first(const struct entry *e, const char *name); /* NULL: none */
/* Moves the values of `more` into e's attribute of that name (the rest of a ranged one). */
void entry_add_values(struct entry *e, struct entry *more, const char *name);
bool entry_has_class(const struct entry *e, const char *object_class);

/* objectGUID's own byte order to RFC 4122 order, or back. */
void entry_guid_swap(const uint8_t from[static 16], uint8_t to[static 16]);
/* True for the attributes of GOALS 9 that hold secrets: never requested, dropped if a server sends them. */
bool entry_attr_is_secret(const char *name);

/* DNs compare by the library's normal form (lower case types, RFC 4514); hash of that form; is dn at or below base? */
int dn_normal(const char *dn, struct buf *out) MUST_CHECK; /* -EINVAL */
uint64_t dn_hash(const char *dn);			   /* 0: not a DN */
void dn_hashes(const char *dn, uint64_t *ret_own,
	       uint64_t *ret_parent); /* 0, 0: not a DN; parent 0: none */
/* Appends the text folded as caseIgnoreMatch does: case, outer and repeated spaces (RFC 4518 in short). */
void text_fold(struct slice text, struct buf *out);
bool dn_within(const char *dn, const char *base);
bool dn_normal_within(struct slice normal, struct slice base_normal);
/* A DN value that may come with identity in front, "<GUID=…>;<SID=…>;DN" (MS-ADTS 3.1.1.3.4.1.5): *ret_dn is the DN alone;
 * true when *ret_id was given. */
bool dn_extended(struct slice value, struct id *ret_id, struct slice *ret_dn);

#endif
