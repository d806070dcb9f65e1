#include <openssl/crypto.h>
#include <string.h>

#include "graph.h"
#include "jwt.h"

static void refuse(struct graph *g, struct sim_call *call, int status, const char *error, int code,
		   const char *why)
{
	struct text *out = &call->answer->body;
	struct text when = {0};
	char trace[UUID_TEXT + 1];
	uint8_t id[16];

	uuid_make(id, &g->sim->random);
	uuid_print(id, trace);
	text_time(&when, sim_now_ms(g->sim), false);
	when.p[10] = ' ';
	call->answer->status = status;
	call->answer->content_type = "application/json; charset=utf-8";
	text_fmt(out, "{\"error\":\"%s\",\"error_description\":", error);
	struct text description = {0};
	text_fmt(&description, "AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", code,
		 why, trace, trace, when.p);
	text_json(out, slice_from(&description));
	text_fmt(
		out,
		",\"error_codes\":[%d],\"timestamp\":\"%s\",\"trace_id\":\"%s\",\"correlation_id\":"
		"\"%s\",\"error_uri\":\"https://login.microsoftonline.com/error?code=%d\"}",
		code, when.p, trace, trace, code);
	text_free(&description);
	text_free(&when);
}

static void claim_token(struct graph *g, struct token *token, struct text *out)
{
	struct text claims = {0};
	struct slice roles = slice_of(token->roles);
	int64_t now = sim_now_ms(g->sim) / 1000;
	static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"RS256\"}";
	bool first = true;

	text_fmt(&claims,
		 "{\"aud\":\"https://graph.microsoft.com\",\"iss\":\"https://sts.windows.net/%s/\","
		 "\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld,\"appid\":\"%s\",\"tid\":\"%s\",\"uti\":"
		 "\"%s\","
		 "\"roles\":[",
		 g->tenant, (long long)now, (long long)now, (long long)token->expires_ms / 1000,
		 g->client_id, g->tenant, token->id);
	while (roles.n) {
		struct slice role = slice_cut(&roles, ' ');

		text_fmt(&claims, "%s\"%.*s\"", first ? "" : ",", (int)role.n, role.p);
		first = false;
	}
	text_str(&claims, "]}");
	text_base64url(out, header, sizeof header - 1);
	text_char(out, '.');
	text_base64url(out, claims.p, claims.n);
	text_fmt(out, ".%s", token->id); /* opaque to clients, as the real signature is */
	text_free(&claims);
}

static void grant(struct graph *g, struct sim_call *call)
{
	struct token *token = &g->tokens[g->tokens_given++ % TOKENS];
	struct text *out = &call->answer->body;
	uint8_t id[16];

	uuid_make(id, &g->sim->random);
	uuid_print(id, token->id);
	memcpy(token->roles, g->knobs.roles, sizeof token->roles);
	token->expires_ms = sim_now_ms(g->sim) + g->knobs.token_seconds * 1000;
	call->answer->content_type = "application/json; charset=utf-8";
	text_fmt(out,
		 "{\"token_type\":\"Bearer\",\"expires_in\":%lld,\"ext_expires_in\":%lld,"
		 "\"access_token\":\"",
		 (long long)g->knobs.token_seconds, (long long)g->knobs.token_seconds);
	claim_token(g, token, out);
	text_str(out, "\"}");
}

static bool secret_is(struct slice have, const char *want)
{
	size_t n = want ? strlen(want) : 0;

	return n && have.n == n && !CRYPTO_memcmp(have.p, want, n);
}

static bool replayed(struct graph *g, uint64_t id)
{
	for (size_t i = 0; i < ASSERTIONS; i++) {
		if (g->assertions[i] == id)
			return true;
	}
	g->assertions[g->assertions_seen++ % ASSERTIONS] = id;
	return false;
}

static void by_assertion(struct graph *g, struct sim_call *call, struct slice assertion)
{
	struct text audience = {0};
	uint64_t id = 0;

	text_str(&audience, g->sim->https.tls ? "https://" : "http://");
	text_slice(&audience, http_header(call->http, "host"));
	text_slice(&audience, call->path);
	struct jwt_want want = {g->client_id, audience.p, sim_now_ms(g->sim)};
	const char *wrong = g->client_cert ? jwt_check(assertion, g->client_cert, &want, &id)
					   : "no certificate is registered";
	if (!wrong && replayed(g, id))
		wrong = "it was used before";
	text_free(&audience);
	if (!wrong) {
		grant(g, call);
		return;
	}
	struct text why = {0};
	text_fmt(&why, "Client assertion failed signature validation: %s.", wrong);
	refuse(g, call, 401, "invalid_client", strstr(wrong, "time range") ? 700024 : 700027,
	       why.p);
	text_free(&why);
}

struct form {
	struct text grant, client, secret, scope, assertion, type;
};

static void form_read(struct slice body, struct form *f)
{
	http_param(body, "grant_type", &f->grant);
	http_param(body, "client_id", &f->client);
	http_param(body, "client_secret", &f->secret);
	http_param(body, "scope", &f->scope);
	http_param(body, "client_assertion", &f->assertion);
	http_param(body, "client_assertion_type", &f->type);
}

static void form_done(struct form *f)
{
	text_free(&f->grant);
	text_free(&f->client);
	text_free(&f->secret);
	text_free(&f->scope);
	text_free(&f->assertion);
	text_free(&f->type);
}

static bool scope_good(struct slice scope)
{
	/* az doubles the slash; a simulator on another host is asked for its own .default */
	return scope.n > 9 && slice_starts(scope, "https://") && !memchr(scope.p, ' ', scope.n) &&
	       !memcmp(scope.p + scope.n - 9, "/.default", 9);
}

static void by_form(struct graph *g, struct sim_call *call, const struct form *f)
{
	if (!f->grant.n)
		refuse(g, call, 400, "invalid_request", 900144,
		       "The request body must contain the following parameter: 'grant_type'.");
	else if (!slice_is(slice_from(&f->grant), "client_credentials"))
		refuse(g, call, 400, "unsupported_grant_type", 70003,
		       "The grant type is not supported.");
	else if (!secret_is(slice_from(&f->client), g->client_id))
		refuse(g, call, 400, "unauthorized_client", 700016,
		       "Application was not found in the directory.");
	else if (!scope_good(slice_from(&f->scope)))
		refuse(g, call, 400, "invalid_scope", 70011,
		       "The provided value for scope is not valid.");
	else if (f->assertion.n && slice_is(slice_from(&f->type), "urn:ietf:params:oauth:client-"
								  "assertion-type:jwt-bearer"))
		by_assertion(g, call, slice_from(&f->assertion));
	else if (!f->secret.n)
		refuse(g, call, 401, "invalid_client", 7000218,
		       "The request body must contain the following parameter: 'client_assertion' "
		       "or "
		       "'client_secret'.");
	else if (!secret_is(slice_from(&f->secret), g->client_secret))
		refuse(g, call, 401, "invalid_client", 7000215,
		       "Invalid client secret provided. Ensure the secret being sent in the "
		       "request is "
		       "the client secret value, not the client secret ID, for a secret added to "
		       "app.");
	else
		grant(g, call);
}

static void token_endpoint(struct graph *g, struct sim_call *call)
{
	struct form f = {0};

	if (!slice_is(call->method, "POST") ||
	    !http_content_is(call->http, "application/x-www-form-urlencoded", NULL)) {
		refuse(g, call, 400, "invalid_request", 9002313,
		       "Invalid request. Request is malformed "
		       "or invalid.");
		return;
	}
	form_read(call->body, &f);
	by_form(g, call, &f);
	form_done(&f);
}

static void openid_configuration(struct graph *g, struct sim_call *call)
{
	struct text *out = &call->answer->body;
	struct slice host = http_header(call->http, "host");

	call->answer->content_type = "application/json; charset=utf-8";
	text_fmt(out,
		 "{\"token_endpoint\":\"https://%.*s/%s/oauth2/v2.0/token\","
		 "\"token_endpoint_auth_methods_supported\":[\"client_secret_post\","
		 "\"private_key_jwt\"],\"issuer\":\"https://%.*s/%s/v2.0\",\"jwks_uri\":"
		 "\"https://%.*s/%s/discovery/v2.0/keys\",\"authorization_endpoint\":"
		 "\"https://%.*s/%s/oauth2/v2.0/authorize\",\"tenant_region_scope\":\"EU\"}",
		 (int)host.n, host.p, g->tenant, (int)host.n, host.p, g->tenant, (int)host.n,
		 host.p, g->tenant, (int)host.n, host.p, g->tenant);
}

static void instance_discovery(struct graph *g, struct sim_call *call)
{
	struct slice host = http_header(call->http, "host");

	call->answer->content_type = "application/json; charset=utf-8";
	text_fmt(&call->answer->body,
		 "{\"tenant_discovery_endpoint\":\"https://%.*s/%s/v2.0/.well-known/"
		 "openid-configuration\",\"api-version\":\"1.1\",\"metadata\":[]}",
		 (int)host.n, host.p, g->tenant);
}

bool graph_login(struct graph *g, struct sim_call *call)
{
	struct slice rest = {call->path.p + 1, call->path.n - 1};
	struct slice tenant = slice_cut(&rest, '/');

	if (slice_is(tenant, "common") && slice_is(rest, "discovery/instance")) {
		instance_discovery(g, call);
		return true;
	}
	bool token = slice_is(rest, "oauth2/v2.0/token");
	if (!token && !slice_is(rest, "v2.0/.well-known/openid-configuration"))
		return false;
	if (!slice_is_nocase(tenant, g->tenant))
		refuse(g, call, 400, "invalid_request", 90002, "Tenant not found.");
	else if (token)
		token_endpoint(g, call);
	else
		openid_configuration(g, call);
	return true;
}

static const struct token *find_token(const struct graph *g, struct slice bearer)
{
	struct slice id = bearer;

	for (int dots = 0; dots < 2; dots++)
		slice_cut(&id, '.');
	for (size_t i = 0; i < TOKENS; i++) {
		if (secret_is(id, g->tokens[i].id))
			return &g->tokens[i];
	}
	return NULL;
}

bool graph_authorized(struct graph *g, struct sim_call *call)
{
	struct slice header = http_header(call->http, "authorization");
	bool bearer = slice_is_nocase(slice_cut(&header, ' '), "Bearer");
	const char *why = "Access token is empty.";

	g->token = bearer ? find_token(g, header) : NULL;
	if (g->token && g->token->expires_ms > sim_now_ms(g->sim))
		return true;
	if (g->token)
		why = "Lifetime validation failed, the token is expired.";
	else if (bearer && header.n)
		why = "IDX14100: JWT is not well formed or its signature is not valid.";
	graph_error(g, call, 401, "InvalidAuthenticationToken", "%s", why);
	text_str(&call->answer->headers, "WWW-Authenticate: Bearer realm=\"\", "
					 "authorization_uri=\"https://login.microsoftonline."
					 "com/common/oauth2/authorize\", "
					 "client_id=\"00000003-0000-0000-c000-000000000000\"\r\n");
	return false;
}

bool graph_allowed(struct graph *g, struct sim_call *call, const char *roles)
{
	struct slice wanted = slice_of(roles);

	while (wanted.n) {
		struct slice want = slice_cut(&wanted, ' ');
		struct slice have = slice_of(g->token ? g->token->roles : "");

		while (have.n) {
			if (slice_equal(slice_cut(&have, ' '), want))
				return true;
		}
	}
	graph_error(g, call, 403, "Authorization_RequestDenied",
		    "Insufficient privileges to complete the operation.");
	return false;
}
