/* A secret: in locked memory, wiped when freed, never formatted. Given only by reference: !credential NAME
 * ($CREDENTIALS_DIRECTORY/NAME), !file PATH (mode 0400/0600/0440/0640, owned by us or root), !env NAME.
 * A trailing newline is cut; an empty secret is refused (RFC 4513 5.1.2). */
#ifndef DIRPIPE_SECRET_H
#define DIRPIPE_SECRET_H

#include "buf.h"

struct secret;

enum secret_kind { SECRET_CREDENTIAL, SECRET_FILE, SECRET_ENV, SECRET_KINDS };

struct secret_ref {
	enum secret_kind kind;
	const char *name; /* borrowed from the configuration */
};

/* NULL on failure; why gets one sentence for people, without the value. */
struct secret *secret_load(const struct secret_ref *ref, struct buf *why) MUST_CHECK;
struct secret *secret_new(const void *p, size_t n); /* a copy; the caller wipes its own */
struct slice secret_value(const struct secret *s);  /* borrowed, NUL-terminated */
void secret_free(struct secret *s);
void secret_wipe(void *p, size_t n);

/* Call first in every daemon: no core dumps, not dumpable, so that no secret lands on disk. */
void secret_harden_process(void);

#endif
