/* Who calls: the API token, the newest authcode, or the session that login.aspx made. */
#include "rescue.h"

#include <openssl/crypto.h>
#include <string.h>

enum { SESSION_MS = 20 * 60 * 1000, LOGIN_WINDOW_MS = 3 * 60 * 1000 };

static bool same(struct slice have, const char *want)
{
	size_t n = want ? strlen(want) : 0;

	return n && have.n == n && !CRYPTO_memcmp(have.p, want, n);
}

static void random_text(struct rescue *s, char *out, size_t n)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[random_next(&s->sim->random) % (sizeof alphabet - 1)];
	out[n] = '\0';
}

static struct session *session_of(struct rescue *s, const struct sim_call *call)
{
	struct slice rest = http_header(call->http, "cookie");
	int64_t now = sim_now_ms(s->sim);

	while (rest.n) {
		struct slice value = slice_trim(slice_cut(&rest, ';'));
		struct slice name = slice_cut(&value, '=');

		for (size_t i = 0; slice_is_nocase(name, "ASP.NET_SessionId") && i < s->sessions_n;
		     i++) {
			if (same(value, s->sessions[i].id) &&
			    now - s->sessions[i].used_ms < SESSION_MS)
				return &s->sessions[i];
		}
	}
	return NULL;
}

bool auth_known(struct form *f)
{
	struct rescue *s = f->s;
	struct slice code = form_get(f, "authcode");
	struct session *session = code.n ? NULL : session_of(s, f->call);
	bool token = same(code, s->api_token) && !s->knobs.token_revoked;

	if (code.n && !token && !same(code, s->authcode)) {
		answer_word(f, "INVALID_SECRETAUTHCODE");
		return false;
	}
	if (!code.n && !session) {
		answer_word(f, "NOTLOGGEDIN");
		return false;
	}
	if (s->knobs.caller_disabled) {
		answer_word(f, "USER_DELETED_OR_DISABLED");
		return false;
	}
	if (session)
		session->used_ms = sim_now_ms(s->sim);
	return true;
}

/* False: answered. More than ten calls in three minutes are refused. */
static bool may_log_in(struct form *f)
{
	struct rescue *s = f->s;
	int64_t now = sim_now_ms(s->sim), *oldest = &s->logins[s->logins_n % LOGINS];

	if (s->logins_n >= LOGINS && now - *oldest < LOGIN_WINDOW_MS) {
		answer_word(f, "LIMITREACHED");
		return false;
	}
	*oldest = now;
	s->logins_n++;
	if (same(form_get(f, "email"), s->email) && same(form_get(f, "pwd"), s->password))
		return true;
	answer_word(f, "INVALID");
	return false;
}

void auth_login(struct form *f)
{
	struct rescue *s = f->s;
	struct session *session = &s->sessions[s->sessions_n % SESSIONS];

	if (!may_log_in(f))
		return;
	random_text(s, session->id, sizeof session->id - 1);
	session->used_ms = sim_now_ms(s->sim);
	if (s->sessions_n < SESSIONS)
		s->sessions_n++;
	text_fmt(&f->call->answer->headers,
		 "Set-Cookie: ASP.NET_SessionId=%s; path=/; secure; HttpOnly\r\n", session->id);
	answer_word(f, "OK");
}

void auth_logout(struct form *f)
{
	struct session *session = session_of(f->s, f->call);

	answer_word(f, session ? "OK" : "NOTLOGGEDIN");
	if (session)
		session->used_ms = INT64_MIN / 2;
}

void auth_request(struct form *f)
{
	struct rescue *s = f->s;

	if (!may_log_in(f))
		return;
	random_text(s, s->authcode, AUTHCODE); /* the one before is dead */
	answer_word(f, "OK AUTHCODE:");
	if (s->knobs.colon_space)
		text_char(&f->call->answer->body, ' ');
	text_str(&f->call->answer->body, s->authcode);
}
