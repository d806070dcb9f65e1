#include "jwt.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include "json.h"

enum { SKEW_S = 300 };

static bool thumbprint_fits(const struct json *header, X509 *cert)
{
	bool sha256 = json_get(header, "x5t#S256") != NULL;
	struct slice named = json_get_string(header, sha256 ? "x5t#S256" : "x5t");
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct text coded = {0};

	X509_digest(cert, sha256 ? EVP_sha256() : EVP_sha1(), digest, &n);
	text_base64url(&coded, digest, n);
	bool fits = slice_equal(named, slice_from(&coded));
	text_free(&coded);
	return fits;
}

static bool signature_good(struct slice input, struct slice signature, X509 *cert, bool pss)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL;
	bool good = EVP_DigestVerifyInit(md, &key, EVP_sha256(), NULL, X509_get0_pubkey(cert)) == 1;

	if (good && pss)
		good = EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(key, RSA_PSS_SALTLEN_DIGEST) == 1;
	good = good && EVP_DigestVerify(md, (const unsigned char *)signature.p, signature.n,
					(const unsigned char *)input.p, input.n) == 1;
	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return good;
}

static const char *claims_wrong(const struct json *claims, const struct jwt_want *want)
{
	int64_t now = want->now_ms / 1000;
	int64_t from = json_get_number(claims, "nbf", json_get_number(claims, "iat", 0));

	if (!slice_is(json_get_string(claims, "iss"), want->client_id) ||
	    !slice_is(json_get_string(claims, "sub"), want->client_id))
		return "iss and sub must be the client";
	if (!slice_is(json_get_string(claims, "aud"), want->audience))
		return "aud is not this token endpoint";
	if (from > now + SKEW_S || json_get_number(claims, "exp", 0) < now - SKEW_S)
		return "not within its valid time range";
	return json_get_string(claims, "jti").n ? NULL : "jti is missing";
}

static const char *check_parts(struct arena *arena, const struct text parts[3], struct slice input,
			       X509 *cert, const struct jwt_want *want, uint64_t *ret_id)
{
	const char *error = "the header is not JSON";
	struct json *header = json_parse(arena, slice_from(&parts[0]), &error);
	struct json *claims = json_parse(arena, slice_from(&parts[1]), &error);
	struct slice algorithm = json_get_string(header, "alg");

	if (!header || !claims)
		return error;
	if (!slice_is(algorithm, "PS256") && !slice_is(algorithm, "RS256"))
		return "alg must be PS256 or RS256";
	if (!thumbprint_fits(header, cert))
		return "the certificate with that thumbprint is not registered";
	if (!signature_good(input, slice_from(&parts[2]), cert, slice_is(algorithm, "PS256")))
		return "the signature does not verify";
	struct slice id = json_get_string(claims, "jti");
	*ret_id = hash_bytes(id.p, id.n);
	return claims_wrong(claims, want);
}

const char *jwt_check(struct slice assertion, X509 *cert, const struct jwt_want *want,
		      uint64_t *ret_id)
{
	struct text parts[3] = {0};
	struct arena arena = {0};
	struct slice rest = assertion;
	size_t signed_n = 0;
	const char *wrong = NULL;

	for (int i = 0; i < 3; i++) {
		struct slice part = slice_cut(&rest, '.');

		if (i < 2)
			signed_n += part.n + (size_t)i;
		if (!part.n || !text_base64_decode(&parts[i], part, true))
			wrong = "three parts in base64url were expected";
	}
	if (!wrong)
		wrong = check_parts(&arena, parts, (struct slice){assertion.p, signed_n}, cert,
				    want, ret_id);
	for (int i = 0; i < 3; i++)
		text_free(&parts[i]);
	arena_free(&arena);
	return wrong;
}
