#include "redact.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define GONE "…"

static const char *const secret_names[] = {
	"password",	 "passwd",	"secret",	    "client_secret", "access_token",
	"refresh_token", "id_token",	"client_assertion", "assertion",     "token",
	"authorization", "newpassword", "api_key",	    "apikey",	     "private_key",
};

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || strchr("_-.+/=~", c) || ((unsigned char)c & 0x80);
}

static bool is_uuid(struct slice w)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (w.n != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < w.n; i++) {
		if (form[i] == '-' ? w.p[i] != '-' : !isxdigit((unsigned char)w.p[i]))
			return false;
	}
	return true;
}

/* Tokens, keys, hashes: 24 and more characters of base64 or hex with a digit and both or no cases, as no word of a language
 * has; JWTs by their head. */
static bool looks_secret(struct slice w)
{
	size_t digits = 0, upper = 0, lower = 0;

	if (w.n >= 10 && memcmp(w.p, "eyJ", 3) == 0)
		return true;
	if (w.n < 24 || is_uuid(w))
		return false;
	for (size_t i = 0; i < w.n; i++) {
		digits += isdigit((unsigned char)w.p[i]) != 0;
		upper += isupper((unsigned char)w.p[i]) != 0;
		lower += islower((unsigned char)w.p[i]) != 0;
	}
	return digits > 0 && (digits * 8 >= w.n || (upper > 1 && lower > 1));
}

#define QUOTES "\"'\\ "

static size_t span(struct slice rest, size_t from, const char *of)
{
	size_t n = from;

	while (n < rest.n && strchr(of, rest.p[n]))
		n++;
	return n - from;
}

static bool is_date(struct slice rest)
{
	return rest.n >= 10 && rest.p[4] == '-' && rest.p[7] == '-' &&
	       span(rest, 0, "0123456789") == 4;
}

/* +49 (0)711 123-456: seven digits and more with what phone numbers hold between them; nine of digits alone. */
static size_t phone_length(struct slice rest)
{
	size_t digits = 0, n = span(rest, 0, "+(0123456789-/). "),
	       plain = span(rest, 0, "0123456789");

	if (n == 0 || is_date(rest) || strchr(")-/. ", rest.p[0]))
		return 0;
	while (n > 0 && !isdigit((unsigned char)rest.p[n - 1]))
		n--;
	for (size_t i = 0; i < n; i++)
		digits += isdigit((unsigned char)rest.p[i]) != 0;
	return digits >= (plain == n ? 9 : 7) ? n : 0;
}

static size_t word_length(struct slice rest)
{
	size_t n = 0;

	while (n < rest.n && rest.p[n] && word_char(rest.p[n]))
		n++;
	return n;
}

/* local@domain from here: its length, else 0. */
static size_t mail_length(struct slice rest)
{
	size_t n = 0, at = 0;

	while (n < rest.n && rest.p[n] &&
	       (word_char(rest.p[n]) || strchr("@!#$%&'*?^`{|}", rest.p[n]))) {
		if (rest.p[n] == '@')
			at = n;
		n++;
	}
	return at > 0 && at + 1 < n ? n : 0;
}

/* `"password" : "…"`, `password=…`: the value's end when one of the secret names stands here. */
static size_t named_secret(struct slice rest, size_t *ret_from)
{
	for (size_t i = 0; i < sizeof(secret_names) / sizeof(secret_names[0]); i++) {
		size_t n = strlen(secret_names[i]);

		if (rest.n <= n || strncasecmp(rest.p, secret_names[i], n) != 0)
			continue;
		n += span(rest, n, QUOTES);
		if (n >= rest.n || (rest.p[n] != ':' && rest.p[n] != '='))
			continue;
		n++;
		n += span(rest, n, QUOTES);
		*ret_from = n;
		while (n < rest.n && !strchr("\"'&,;}\\", rest.p[n]))
			n++;
		return n > *ret_from ? n : 0;
	}
	return 0;
}

static size_t bearer_length(struct slice rest, size_t *ret_from)
{
	if (rest.n < 8 || strncasecmp(rest.p, "bearer ", 7) != 0)
		return 0;
	*ret_from = 7;
	return 7 + word_length((struct slice){rest.p + 7, rest.n - 7});
}

/* The longest of the user's own texts that stands here. */
static size_t personal_length(struct slice rest, const cJSON *value)
{
	size_t best = 0;
	const cJSON *item;

	if (cJSON_IsString(value)) {
		size_t n = strlen(value->valuestring);

		return n >= 3 && n <= rest.n && strncasecmp(rest.p, value->valuestring, n) == 0 ? n
												: 0;
	}
	if (!value || !(cJSON_IsObject(value) || cJSON_IsArray(value)))
		return 0;
	cJSON_ArrayForEach (item, value) {
		size_t n = personal_length(rest, item);

		if (n > best)
			best = n;
	}
	return best;
}

/* How many bytes from here are to be hidden, after *ret_from that are kept. */
static size_t hidden(struct slice rest, const cJSON *personal, bool at_word, size_t *ret_from)
{
	size_t n;

	*ret_from = 0;
	n = personal_length(rest, personal);
	if (n || !at_word)
		return n;
	if ((n = named_secret(rest, ret_from)) || (n = bearer_length(rest, ret_from)))
		return n;
	if ((n = mail_length(rest)) || (n = phone_length(rest)))
		return n;
	n = word_length(rest);
	return n && looks_secret((struct slice){rest.p, n}) ? n : 0;
}

static void cut(struct buf *out, size_t start, size_t most)
{
	size_t n = start + most;

	if (out->n <= n)
		return;
	while (n > start && ((unsigned char)out->p[n] & 0xc0) == 0x80)
		n--;
	out->n = n;
	out->p[n] = '\0';
}

void redact_text(struct slice text, const cJSON *personal, size_t most, struct buf *out)
{
	size_t start = out->n, i = 0;

	if (!utf8_valid(text))
		text = SLICE("(not UTF-8)");
	while (i < text.n && out->n - start <= most) {
		struct slice rest = {text.p + i, text.n - i};
		bool at_word = i == 0 || !word_char(text.p[i - 1]);
		size_t from, n;

		if (is_uuid((struct slice){rest.p, rest.n < 36 ? rest.n : 36}) && at_word) {
			buf_add(out, rest.p, 36);
			i += 36;
			continue;
		}
		n = hidden(rest, personal, at_word, &from);
		if (n > from) {
			buf_add(out, rest.p, from);
			buf_adds(out, GONE);
			i += n;
			continue;
		}
		bool control = (unsigned char)*rest.p < ' ' || *rest.p == 127;

		buf_add(out, control ? " " : rest.p, 1);
		i++;
	}
	cut(out, start, most);
}
