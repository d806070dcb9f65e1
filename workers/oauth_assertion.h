/* Signed assertions. Of a client certificate: JWT with PS256, x5t#S256, salt of 32 bytes (RFC 7523 2.2, RFC 7518 3.5;
 * Microsoft, "Certificate credentials"). */
#ifndef DIRPIPE_OAUTH_ASSERTION_H
#define DIRPIPE_OAUTH_ASSERTION_H

#include "buf.h"
#include "secret.h"

struct oauth_assertion;

/* NULL with why: unreadable, no RSA key, or they do not belong together. */
struct oauth_assertion *oauth_assertion_new(const char *certificate_path,
					    const struct secret *key_pem,
					    struct buf *why) MUST_CHECK;
/* RS256, for the assertion grant: there the client is known by the key alone. */
struct oauth_assertion *oauth_assertion_of_key(const struct secret *key_pem,
					       struct buf *why) MUST_CHECK;
void oauth_assertion_free(struct oauth_assertion *a);

struct oauth_claims {
	const char *issuer, *subject, *audience;
	int64_t now_unix_ms;
};
/* Appends a fresh JWT, good for ten minutes from now_unix_ms (RS256: three). */
int oauth_assertion_sign(const struct oauth_assertion *a, const struct oauth_claims *claims,
			 struct buf *out) MUST_CHECK;

#endif
