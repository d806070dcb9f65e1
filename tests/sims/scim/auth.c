#include <openssl/crypto.h>
#include <string.h>

#include "scim.h"

static bool secret_is(struct slice have, const char *want)
{
	size_t n = want ? strlen(want) : 0;

	return n && have.n == n && !CRYPTO_memcmp(have.p, want, n);
}

static bool token_valid(const struct scim *s, struct slice have)
{
	int64_t now = sim_now_ms(s->sim);

	if (secret_is(have, s->bearer))
		return true;
	for (size_t i = 0; i < s->n_tokens; i++) {
		if (secret_is(have, s->tokens[i].text) && s->tokens[i].expires_ms > now)
			return true;
	}
	return false;
}

bool scim_authorized(struct scim *s, struct sim_call *call)
{
	struct slice header = http_header(call->http, "authorization");
	struct slice scheme = slice_cut(&header, ' ');
	struct scim_error error = {401, NULL,
				   "Authorization failure. The authorization header is "
				   "invalid or missing."};

	if (slice_is_nocase(scheme, "Bearer") && token_valid(s, slice_trim(header)))
		return true;
	scim_answer_error(s, call, &error);
	text_str(&call->answer->headers, "WWW-Authenticate: Bearer realm=\"SCIM\"\r\n");
	return false;
}

static void refuse(struct sim_call *call, int status, const char *error)
{
	call->answer->status = status;
	call->answer->content_type = "application/json";
	text_fmt(&call->answer->body, "{\"error\":\"%s\"}", error);
}

/* Credentials in the form, or as HTTP Basic (RFC 6749 section 2.3.1). */
static bool client_known(const struct scim *s, const struct sim_call *call)
{
	struct slice header = http_header(call->http, "authorization");
	struct text id = {0}, secret = {0}, pair = {0};

	if (slice_is_nocase(slice_cut(&header, ' '), "Basic")) {
		text_base64_decode(&pair, slice_trim(header), false);
		struct slice rest = slice_from(&pair);
		text_percent_decode(&id, slice_cut(&rest, ':'), true);
		text_percent_decode(&secret, rest, true);
	} else {
		http_param(call->body, "client_id", &id);
		http_param(call->body, "client_secret", &secret);
	}
	bool known = secret_is(slice_from(&id), s->client_id) &&
		     secret_is(slice_from(&secret), s->client_secret);
	text_free(&id);
	text_free(&secret);
	text_free(&pair);
	return known;
}

void scim_token(struct scim *s, struct sim_call *call)
{
	const size_t max = sizeof s->tokens / sizeof *s->tokens;
	struct text grant = {0}, bits = {0};
	struct token *token = &s->tokens[s->tokens_given % max];

	http_param(call->body, "grant_type", &grant);
	bool granted = slice_is(slice_from(&grant), "client_credentials");
	text_free(&grant);
	if (!slice_is(call->method, "POST") ||
	    !http_content_is(call->http, "application/x-www-form-urlencoded", NULL)) {
		refuse(call, 400, "invalid_request");
		return;
	}
	if (!granted || !client_known(s, call)) {
		refuse(call, granted ? 401 : 400,
		       granted ? "invalid_client" : "unsupported_grant_type");
		return;
	}
	uint64_t random[4];
	for (int i = 0; i < 4; i++)
		random[i] = random_next(&s->sim->random);
	text_base64url(&bits, random, sizeof random);
	memcpy(token->text, bits.p, bits.n + 1);
	text_free(&bits);
	token->expires_ms = sim_now_ms(s->sim) + s->knobs.token_seconds * 1000;
	s->tokens_given++;
	if (s->n_tokens < max)
		s->n_tokens++;
	call->answer->content_type = "application/json";
	text_fmt(&call->answer->body,
		 "{\"access_token\":\"%s\",\"token_type\":\"Bearer\",\"expires_in\":%lld}",
		 token->text, (long long)s->knobs.token_seconds);
}
