/* Tokens: client credentials, assertion of a key, password with the security token behind it (fact sheet A2). */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "sf.h"

static void refuse(struct sim_call *call, const char *error, const char *description)
{
	call->answer->status = 400;
	call->answer->content_type = "application/json;charset=UTF-8";
	text_str(&call->answer->headers, "Cache-Control: no-store\r\n");
	text_fmt(&call->answer->body, "{\"error\":\"%s\",\"error_description\":\"%s\"}", error,
		 description);
}

static bool same(struct slice given, const char *secret)
{
	return secret && given.n == strlen(secret) && CRYPTO_memcmp(given.p, secret, given.n) == 0;
}

void login_instance(struct sf *s, struct text *out)
{
	if (*s->knobs.instance_url)
		text_str(out, s->knobs.instance_url);
	else
		text_fmt(out, "%s://localhost:%d", s->sim->https.tls ? "https" : "http",
			 s->sim->port);
}

static void grant(struct sf *s, struct sim_call *call, bool full)
{
	struct token *token = &s->tokens[s->tokens_given++ % TOKENS];
	struct text *out = &call->answer->body;

	snprintf(token->text, sizeof token->text, "00D5eAq00000000EAQ!AQ%016llx%016llx",
		 (unsigned long long)random_next(&s->sim->random),
		 (unsigned long long)random_next(&s->sim->random));
	token->used_ms = sim_now_ms(s->sim);
	call->answer->content_type = "application/json;charset=UTF-8";
	text_fmt(out, "{\"access_token\":\"%s\",\"instance_url\":\"", token->text);
	login_instance(s, out);
	text_fmt(out, "\",\"id\":\"https://login.salesforce.com/id/00D5eAq00000000EAQ/"
		      "0055eAq00000000AAQ\",\"token_type\":\"Bearer\"");
	if (full)
		text_fmt(out, ",\"issued_at\":\"%lld\",\"signature\":\"c2lnbmF0dXJl\"",
			 (long long)sim_now_ms(s->sim));
	else
		text_str(out, ",\"scope\":\"api\"");
	text_char(out, '}');
}

/* ---- the assertion ---- */

static bool signature_good(struct slice input, struct slice signature, X509 *cert)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool good =
		EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, X509_get0_pubkey(cert)) == 1 &&
		EVP_DigestVerify(md, (const unsigned char *)signature.p, signature.n,
				 (const unsigned char *)input.p, input.n) == 1;

	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return good;
}

static const char *claims_wrong(const struct sf *s, const struct json *header,
				const struct json *claims, const char **ret_error)
{
	*ret_error = "invalid_grant";
	if (!slice_is(json_get_string(header, "alg"), "RS256"))
		return "invalid assertion";
	if (!slice_is(json_get_string(claims, "iss"), s->client_id)) {
		*ret_error = "invalid_client_id";
		return "client identifier invalid";
	}
	if (!slice_is(json_get_string(claims, "aud"), s->knobs.audience))
		return "audience is invalid";
	if (json_get_real(claims, "exp", 0) < (double)sim_now_ms(s->sim) / 1000)
		return "expired authorization code";
	if (!slice_is(json_get_string(claims, "sub"), s->knobs.username) || !s->knobs.approved)
		return "user hasn't approved this consumer";
	return NULL;
}

static const char *assertion_wrong(struct sf *s, struct slice jwt, const char **ret_error)
{
	struct text parts[3] = {{0}};
	struct slice rest = jwt;
	const char *wrong = NULL, *why;
	size_t n = 0;

	*ret_error = "invalid_grant";
	for (int i = 0; i < 3; i++) {
		struct slice part = slice_cut(&rest, '.');

		n += i < 2 ? part.n + (size_t)i : 0;
		if (!part.n || !text_base64_decode(&parts[i], part, true))
			wrong = "invalid assertion";
	}
	if (!wrong)
		wrong = claims_wrong(s, json_parse(&s->sim->arena, slice_from(&parts[0]), &why),
				     json_parse(&s->sim->arena, slice_from(&parts[1]), &why),
				     ret_error);
	if (!wrong && (!s->client_cert || !signature_good((struct slice){jwt.p, n},
							  slice_from(&parts[2]), s->client_cert)))
		wrong = "invalid assertion";
	for (int i = 0; i < 3; i++)
		text_free(&parts[i]);
	return wrong;
}

/* ---- the form ---- */

struct form {
	struct text grant, client, secret, username, password, assertion;
};

static void form_done(struct form *f)
{
	text_free(&f->grant);
	text_free(&f->client);
	text_free(&f->secret);
	text_free(&f->username);
	text_free(&f->password);
	text_free(&f->assertion);
}

/* Client and secret from Authorization: Basic, each in form coding. */
static void from_basic(const struct sim_call *call, struct form *f)
{
	struct slice header = http_header(call->http, "authorization"), client;
	struct text pair = {0};

	if (!slice_is_nocase(slice_cut(&header, ' '), "Basic") ||
	    !text_base64_decode(&pair, header, false)) {
		text_free(&pair);
		return;
	}
	header = slice_from(&pair);
	client = slice_cut(&header, ':');
	text_percent_decode(&f->client, client, true);
	text_percent_decode(&f->secret, header, true);
	text_free(&pair);
}

static bool client_good(const struct sf *s, struct sim_call *call, const struct form *f,
			bool secret)
{
	if (!same(slice_from(&f->client), s->client_id))
		refuse(call, "invalid_client_id", "client identifier invalid");
	else if ((secret || f->secret.n) && !same(slice_from(&f->secret), s->client_secret))
		refuse(call, "invalid_client", "invalid client credentials");
	else
		return true;
	return false;
}

static void by_form(struct sf *s, struct sim_call *call, const struct form *f)
{
	struct slice grant_type = slice_from(&f->grant);
	const char *error, *wrong;

	if (slice_is(grant_type, "client_credentials")) {
		if (!client_good(s, call, f, true))
			return;
		if (!s->knobs.run_as_user)
			refuse(call, "invalid_grant", "no client credentials user enabled");
		else
			grant(s, call, true);
	} else if (slice_is(grant_type, "password")) {
		if (!client_good(s, call, f, false))
			return;
		if (!slice_is_nocase(slice_from(&f->username), s->knobs.username) ||
		    !same(slice_from(&f->password), s->password))
			refuse(call, "invalid_grant", "authentication failure");
		else
			grant(s, call, true);
	} else if (slice_is(grant_type, "urn:ietf:params:oauth:grant-type:jwt-bearer")) {
		wrong = assertion_wrong(s, slice_from(&f->assertion), &error);
		if (wrong)
			refuse(call, error, wrong);
		else
			grant(s, call, false);
	} else {
		refuse(call, "unsupported_grant_type", "grant type not supported");
	}
}

void login_token(struct sf *s, struct sim_call *call)
{
	struct form f = {0};

	if (!slice_is(call->method, "POST") ||
	    !http_content_is(call->http, "application/x-www-form-urlencoded", NULL)) {
		refuse(call, "unsupported_grant_type", "grant type not supported");
		return;
	}
	from_basic(call, &f);
	http_param(call->body, "grant_type", &f.grant);
	http_param(call->body, "client_id", &f.client);
	http_param(call->body, "client_secret", &f.secret);
	http_param(call->body, "username", &f.username);
	http_param(call->body, "password", &f.password);
	http_param(call->body, "assertion", &f.assertion);
	by_form(s, call, &f);
	form_done(&f);
}

void login_revoke(struct sf *s, struct sim_call *call)
{
	struct text token = {0};

	http_param(call->body, "token", &token);
	for (size_t i = 0; i < TOKENS; i++) {
		if (same(slice_from(&token), s->tokens[i].text))
			*s->tokens[i].text = '\0';
	}
	text_free(&token);
}

/* The token must be good, and on its instance's own host. */
bool login_good(struct sf *s, struct sim_call *call)
{
	struct slice header = http_header(call->http, "authorization"), bearer = header;
	struct slice type = slice_cut(&bearer, ' ');
	struct text host = {0};
	struct slice own;
	bool good = false;
	int64_t now = sim_now_ms(s->sim);

	login_instance(s, &host);
	own = slice_from(&host);
	slice_cut(&own, '/');
	slice_cut(&own, '/');
	if ((slice_is_nocase(type, "Bearer") || slice_is_nocase(type, "OAuth")) && bearer.n &&
	    slice_equal_nocase(http_header(call->http, "host"), own)) {
		for (size_t i = 0; i < TOKENS && !good; i++) {
			struct token *t = &s->tokens[i];

			good = *t->text && same(bearer, t->text) &&
			       now - t->used_ms < s->knobs.session_seconds * 1000;
			if (good)
				t->used_ms = now;
		}
	}
	text_free(&host);
	if (!good)
		sf_fail(s, call, 401, "INVALID_SESSION_ID", NULL, "Session expired or invalid");
	return good;
}
