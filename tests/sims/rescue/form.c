/* Parameters in (query or form), words and records out. */
#include "rescue.h"

#include <string.h>

static const char *end_of_line(const struct form *f)
{
	return f->s->knobs.crlf ? "\r\n" : "\n";
}

static bool is_utf8(struct slice s)
{
	struct arena none = {0};
	struct text quoted = {0};
	const char *error;

	text_json(&quoted, s);
	bool good = json_parse(&none, slice_from(&quoted), &error) != NULL;
	arena_free(&none);
	text_free(&quoted);
	return good;
}

static void read_pair(struct form *f, struct slice pair)
{
	struct slice name = slice_cut(&pair, '=');
	size_t from = f->bytes.n;

	if (f->n == sizeof f->fields / sizeof *f->fields) {
		f->bad = true;
		return;
	}
	f->bad |= !text_percent_decode(&f->bytes, pair, true);
	f->fields[f->n].name = name;
	f->fields[f->n].from = from;
	f->fields[f->n++].n = f->bytes.n - from;
	f->bad |= !is_utf8((struct slice){f->bytes.p ? f->bytes.p + from : "", f->bytes.n - from});
}

void form_read(struct form *f, struct rescue *s, struct sim_call *call)
{
	bool post = slice_is(call->method, "POST");
	struct slice rest = post ? call->body : call->query;

	f->s = s;
	f->call = call;
	if (post && !http_content_is(call->http, "application/x-www-form-urlencoded", NULL))
		return; /* such a body has no parameters */
	while (rest.n) {
		struct slice pair = slice_cut(&rest, '&');

		if (pair.n)
			read_pair(f, pair);
	}
}

struct slice form_get(const struct form *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++) {
		if (slice_is_nocase(f->fields[i].name, name))
			return (struct slice){f->bytes.p ? f->bytes.p + f->fields[i].from : "",
					      f->fields[i].n};
	}
	return (struct slice){NULL, 0};
}

struct slice form_either(const struct form *f, const char *name, const char *other)
{
	struct slice value = form_get(f, name);

	return value.p ? value : form_get(f, other);
}

void form_json(const struct form *f, const char *method, struct text *out)
{
	static const char *const secrets[] = {"pwd", "confpwd", "oldpwd", "authcode"};

	text_str(out, "{\"method\":");
	text_json(out, slice_of(method));
	for (size_t i = 0; i < f->n; i++) {
		struct slice value = {f->bytes.p + f->fields[i].from, f->fields[i].n};
		bool secret = false;

		for (size_t k = 0; k < sizeof secrets / sizeof *secrets; k++)
			secret |= slice_is_nocase(f->fields[i].name, secrets[k]);
		text_char(out, ',');
		text_json(out, f->fields[i].name);
		text_char(out, ':');
		if (secret)
			text_fmt(out, "\"#%016llx\"",
				 (unsigned long long)hash_bytes(value.p, value.n));
		else
			text_json(out, value);
	}
	text_char(out, '}');
}

void answer_word(struct form *f, const char *word)
{
	f->call->answer->content_type = "text/html; charset=utf-8"; /* as the service calls it */
	text_str(&f->call->answer->body, word);
}

void answer_begin(struct form *f)
{
	answer_word(f, "OK");
	if (!f->s->knobs.one_line)
		text_str(&f->call->answer->body, end_of_line(f));
}

void answer_record(struct form *f)
{
	if (!f->s->knobs.one_line)
		text_str(&f->call->answer->body, end_of_line(f));
}

void answer_pair(struct form *f, const char *key, struct slice value)
{
	struct text *body = &f->call->answer->body;

	if (f->s->knobs.one_line)
		text_char(body, ' ');
	text_str(body, key);
	text_str(body, f->s->knobs.colon_space ? ": " : ":");
	text_slice(body, value);
	if (!f->s->knobs.one_line)
		text_str(body, end_of_line(f));
}

void answer_end(struct form *f)
{
	text_str(&f->call->answer->body, end_of_line(f));
}

void answer_page(struct form *f)
{
	f->call->answer->content_type = "text/html; charset=utf-8";
	text_str(&f->call->answer->body,
		 "<!DOCTYPE html>\r\n<html><head><title>Log in</title></head><body>"
		 "<form method=\"post\" action=\"/Login.aspx\"><input name=\"email\"/>"
		 "<input name=\"password\" type=\"password\"/></form></body></html>\r\n");
}
