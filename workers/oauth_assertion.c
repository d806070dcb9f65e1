#include "oauth_assertion.h"

#include "json.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum { LIFE_S = 600, LIFE_PLAIN_S = 180 };

struct oauth_assertion {
	EVP_PKEY *key;
	bool plain;	   /* RS256 instead of PS256 */
	struct buf header; /* base64url, the same for every assertion */
};

static X509 *load_certificate(const char *path, struct buf *why)
{
	FILE *f = fopen(path, "re");
	X509 *cert;

	if (!f) {
		buf_addf(why, "certificate %s: %s", path, strerror(errno));
		return NULL;
	}
	cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	if (!cert)
		buf_addf(why, "certificate %s: no certificate in PEM form", path);
	return cert;
}

static EVP_PKEY *load_key(const struct secret *pem, struct buf *why)
{
	struct slice text = secret_value(pem);
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	if (!key)
		buf_adds(why, "private_key: no key in PEM form");
	return key;
}

static void make_header(struct oauth_assertion *a, const X509 *cert)
{
	CLEANUP(buf_cleanup) struct buf json = {0};
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	X509_digest(cert, EVP_sha256(), digest, &n);
	buf_adds(&json, "{\"alg\":\"PS256\",\"typ\":\"JWT\",\"x5t#S256\":\"");
	buf_add_base64url(&json, digest, n);
	buf_adds(&json, "\"}");
	buf_add_base64url(&a->header, json.p, json.n);
}

struct oauth_assertion *oauth_assertion_new(const char *certificate_path,
					    const struct secret *key_pem, struct buf *why)
{
	struct oauth_assertion *a = mem_alloc(sizeof(*a));
	X509 *cert = load_certificate(certificate_path, why);

	a->key = cert ? load_key(key_pem, why) : NULL;
	if (a->key && EVP_PKEY_get_base_id(a->key) != EVP_PKEY_RSA)
		buf_adds(why, "private_key: not an RSA key");
	else if (a->key && X509_check_private_key(cert, a->key) != 1)
		buf_addf(why, "private_key does not belong to certificate %s", certificate_path);
	else if (a->key)
		make_header(a, cert);
	X509_free(cert);
	ERR_clear_error();
	if (a->header.n)
		return a;
	oauth_assertion_free(a);
	return NULL;
}

struct oauth_assertion *oauth_assertion_of_key(const struct secret *key_pem, struct buf *why)
{
	static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
	struct oauth_assertion *a = mem_alloc(sizeof(*a));

	a->plain = true;
	a->key = load_key(key_pem, why);
	if (a->key && EVP_PKEY_get_base_id(a->key) == EVP_PKEY_RSA) {
		buf_add_base64url(&a->header, header, sizeof(header) - 1);
		return a;
	}
	if (a->key)
		buf_adds(why, "private_key: not an RSA key");
	ERR_clear_error();
	oauth_assertion_free(a);
	return NULL;
}

void oauth_assertion_free(struct oauth_assertion *a)
{
	if (!a)
		return;
	EVP_PKEY_free(a->key);
	buf_done(&a->header);
	free(a);
}

static void add_claims(struct buf *out, const struct oauth_claims *c, int64_t life_s)
{
	int64_t now_s = c->now_unix_ms / 1000;
	CLEANUP(buf_cleanup) struct buf json = {0};
	char jti[UUID_STR_LEN];
	uuid_t uuid;

	uuid_generate(uuid);
	uuid_unparse_lower(uuid, jti);
	buf_adds(&json, "{\"aud\":");
	json_quote(slice_of(c->audience), &json);
	buf_adds(&json, ",\"iss\":");
	json_quote(slice_of(c->issuer), &json);
	buf_adds(&json, ",\"sub\":");
	json_quote(slice_of(c->subject), &json);
	buf_addf(&json,
		 ",\"jti\":\"%s\",\"nbf\":%" PRId64 ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}",
		 jti, now_s, now_s, now_s + life_s);
	buf_add_base64url(out, json.p, json.n);
}

static bool sign(EVP_MD_CTX *ctx, const struct oauth_assertion *a, const struct buf *text,
		 struct buf *ret_raw)
{
	EVP_PKEY_CTX *pss;
	size_t n = 0;

	if (EVP_DigestSignInit(ctx, &pss, EVP_sha256(), NULL, a->key) != 1)
		return false;
	if (!a->plain && (EVP_PKEY_CTX_set_rsa_padding(pss, RSA_PKCS1_PSS_PADDING) != 1 ||
			  EVP_PKEY_CTX_set_rsa_pss_saltlen(pss, RSA_PSS_SALTLEN_DIGEST) != 1))
		return false;
	if (EVP_DigestSign(ctx, NULL, &n, (const unsigned char *)text->p, text->n) != 1)
		return false;
	unsigned char *raw = buf_grow(ret_raw, n);

	return EVP_DigestSign(ctx, raw, &n, (const unsigned char *)text->p, text->n) == 1;
}

int oauth_assertion_sign(const struct oauth_assertion *a, const struct oauth_claims *claims,
			 struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf text = {0}, raw = {0};
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	buf_add(&text, a->header.p, a->header.n);
	buf_addc(&text, '.');
	add_claims(&text, claims, a->plain ? LIFE_PLAIN_S : LIFE_S);
	ok = ctx && sign(ctx, a, &text, &raw);
	EVP_MD_CTX_free(ctx);
	if (!ok) {
		ERR_clear_error();
		return -EIO;
	}
	buf_add(out, text.p, text.n);
	buf_addc(out, '.');
	buf_add_base64url(out, raw.p, raw.n);
	return 0;
}
