/* A ticket by keytab, for the GSSAPI bind. */
#ifndef DIRPIPE_KERBEROS_H
#define DIRPIPE_KERBEROS_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the ticket cache of this process (in its memory, KRB5CCNAME) the one that libsasl looks into. The first call is before any thread. */
void kerberos_init(void);

/* Puts a new ticket of principal, by its key in the file keytab, in the place of what the cache held. Blocks while KDCs are
 * asked. 0, or -EACCES: the keytab has no such key or the KDC refused it; -EHOSTUNREACH: nobody refused anything (no KDC, a
 * clock that is off, a krb5.conf that names no realm); with the library's words in text. The caller keeps others out until it
 * has bound: the cache is one for the process. */
int kerberos_ticket(const char *keytab, const char *principal, char *text, size_t text_n);

#endif
