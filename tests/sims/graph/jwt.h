/* Client assertions (RFC 7523) as the login service checks them. */
#pragma once

#include <openssl/x509.h>

#include "text.h"

struct jwt_want {
	const char *client_id, *audience;
	int64_t now_ms;
};

/*
 * NULL if the assertion was signed with the certificate's key (PS256 with a salt of 32 bytes, or RS256),
 * names it by thumbprint, is meant for the audience and valid now; else what is wrong. *ret_id is the
 * hash of its jti.
 */
const char *jwt_check(struct slice assertion, X509 *cert, const struct jwt_want *want,
		      uint64_t *ret_id);
