/* Every object of the directory that the collector knows, 48 bytes each and two small indexes, no images: what is needed
 * is read again (GOALS P10). An object is named by its number, which stays for life; number 0 is nobody. */
#ifndef DIRPIPE_OBJECTS_H
#define DIRPIPE_OBJECTS_H

#include "entry.h"

enum {
	OBJECT_KNOWN = 1,      /* the broker holds it, not gone */
	OBJECT_GONE = 2,       /* the directory said so */
	OBJECT_SURVEYED = 4,   /* named by the survey of this session */
	OBJECT_MENTIONED = 8,  /* named since begin() */
	OBJECT_DIRTY = 16,     /* stands in the list of those to be read again */
	OBJECT_ASKED = 32,     /* a reread of it is under way … */
	OBJECT_TOUCHED = 64,   /* … and something newer came meanwhile: its answer is stale */
	OBJECT_QUEUED = 128,   /* stands in the publishing queue */
	OBJECT_HELD = 256,     /* missing, kept by the guard */
	OBJECT_SEEN = 512,     /* an image of it came in this session (live or survey) */
	OBJECT_DIFFERS = 1024, /* WELCOME's scope or groups are not what was computed */
	OBJECT_VERIFY = 2048, /* stands in the list of those to be read again after the next time */
	OBJECT_MOVED = 4096,  /* renamed or gone: while who refers to it is looked for */
};

struct object {
	struct id id;
	uint64_t fp;	 /* of what the broker has or is being sent; 0: nothing */
	uint64_t dn;	 /* hash of the normal form; 0: not known */
	uint32_t aux;	 /* AD: primaryGroupID; else: low bits of the parent's DN hash */
	uint32_t groups; /* set of watched groups, as published or about to be */
	uint16_t routes; /* set of routes that fit but for their groups */
	uint16_t in;	 /* set of targets, as published */
	uint16_t flags;
	uint8_t class; /* enum entry_class; ENTRY_CLASSES: not known yet */
	uint8_t pad;
};

struct objects;

struct objects *objects_new(void);
void objects_free(struct objects *o);
uint32_t objects_count(const struct objects *o); /* numbers 1 … count */
struct object *objects_at(struct objects *o, uint32_t n);
uint32_t objects_find(struct objects *o, const struct id *id);	 /* 0: none */
uint32_t objects_add(struct objects *o, const struct id *id);	 /* finds or adds */
uint32_t objects_by_dn(struct objects *o, uint64_t dn);		 /* 0: none */
void objects_set_dn(struct objects *o, uint32_t n, uint64_t dn); /* 0 forgets it */
/* The user with this uid (hash of the folded text, text_key), for posixGroup's memberUid. */
uint32_t objects_by_uid(struct objects *o, uint64_t uid);
void objects_set_uid(struct objects *o, uint32_t n, uint64_t uid);
/* Whom an object refers to, by each of the configured references: an object's number, or OBJECTS_NOBODY with bits of the hash of the
 * DN that is nobody's; 0: nobody. Costs nothing until one is set. */
static const uint32_t OBJECTS_NOBODY = 1U << 31;
void objects_set_references(struct objects *o, size_t most); /* once, before the first */
size_t objects_references(const struct objects *o);
uint32_t objects_reference(const struct objects *o, uint32_t n, size_t which);
void objects_set_reference(struct objects *o, uint32_t n, size_t which, uint32_t to);
size_t objects_memory(const struct objects *o); /* bytes */
uint64_t text_key(struct slice text);

/* ---- sets: lists of small numbers, interned so that an object carries one number ---- */

struct sets;
enum { SETS_EMPTY = 0 };

struct sets *
sets_new(uint32_t most); /* numbers stay below most; more of them is a limit of ours and aborts */
void sets_free(struct sets *s);
uint32_t sets_intern(struct sets *s, const uint16_t *items,
		     size_t n); /* the set's number; items ascending */
const uint16_t *sets_items(const struct sets *s, uint32_t set, size_t *ret_n);
bool sets_has(const struct sets *s, uint32_t set, uint16_t item);

#endif
