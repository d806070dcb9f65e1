#include "http_parse.h"

#include <string.h>

enum { HEAD_MAX = 64 * 1024 };

struct slice http_header(const struct http_request *request, const char *name)
{
	for (size_t i = 0; i < request->n_headers; i++) {
		if (slice_is_nocase(request->headers[i].name, name))
			return request->headers[i].value;
	}
	return (struct slice){0};
}

bool http_content_is(const struct http_request *request, const char *type, const char *other)
{
	struct slice value = http_header(request, "content-type");
	struct slice media = slice_trim(slice_cut(&value, ';'));

	return slice_is_nocase(media, type) || (other && slice_is_nocase(media, other));
}

bool http_param(struct slice query, const char *name, struct text *out)
{
	struct text key = {0};
	bool found = false;

	while (query.n && !found) {
		struct slice value = slice_cut(&query, '&');
		struct slice coded = slice_cut(&value, '=');

		text_clear(&key);
		if (text_percent_decode(&key, coded, true) && slice_is(slice_from(&key), name))
			found = text_percent_decode(out, value, true);
	}
	text_free(&key);
	return found;
}

static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c))
			return false;
	}
	return s.n > 0;
}

static bool parse_request_line(struct slice line, struct http_request *request)
{
	struct slice target;

	request->method = slice_cut(&line, ' ');
	target = slice_cut(&line, ' ');
	if (!is_token(request->method) || !target.n || *target.p != '/' ||
	    !slice_is(line, "HTTP/1.1"))
		return false;
	request->query = target;
	request->path = slice_cut(&request->query, '?');
	return true;
}

static struct slice next_line(struct slice *head)
{
	const char *end = memmem(head->p, head->n, "\r\n", 2);
	struct slice line = {head->p, end ? (size_t)(end - head->p) : head->n};
	size_t skip = end ? line.n + 2 : line.n;

	*head = (struct slice){head->p + skip, head->n - skip};
	return line;
}

static bool parse_head(struct slice head, struct http_request *request)
{
	if (!parse_request_line(next_line(&head), request))
		return false;
	while (head.n) {
		struct slice value = next_line(&head);
		struct slice name = slice_cut(&value, ':');

		if (!is_token(name) || request->n_headers == HTTP_HEADERS_MAX)
			return false;
		request->headers[request->n_headers++] =
			(struct http_header){name, slice_trim(value)};
	}
	return http_header(request, "host").p != NULL;
}

static bool parse_hex(struct slice s, size_t *ret_n)
{
	size_t n = 0;

	if (!s.n || s.n > 8)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		const char *digits = "0123456789abcdef";
		const char *at = s.p[i] ? strchr(digits, s.p[i] | 0x20) : NULL;

		if (!at)
			return false;
		n = n * 16 + (size_t)(at - digits);
	}
	*ret_n = n;
	return true;
}

/* Measures the chunks first, so that nothing moves before all of them are here. */
static enum http_parsed parse_chunks(struct slice in, char *to, size_t body_max,
				     struct slice *ret_body, size_t *ret_used)
{
	struct slice rest = in;
	size_t body = 0;

	for (;;) {
		const char *end = memmem(rest.p, rest.n, "\r\n", 2);
		size_t n;

		if (!end)
			return rest.n > 1024 ? HTTP_BAD : HTTP_MORE;
		struct slice line = {rest.p, (size_t)(end - rest.p)};
		if (!parse_hex(slice_trim(slice_cut(&line, ';')), &n))
			return HTTP_BAD;
		if (body + n > body_max)
			return HTTP_TOO_LARGE;
		rest.n -= (size_t)(end + 2 - rest.p);
		rest.p = end + 2;
		if (rest.n < n + 2)
			return HTTP_MORE;
		if (memcmp(rest.p + n, "\r\n", 2) != 0)
			return HTTP_BAD; /* trailers too: no client of ours sends any */
		if (to)
			memmove(to + body, rest.p, n);
		body += n;
		rest = (struct slice){rest.p + n + 2, rest.n - n - 2};
		if (!n)
			break;
	}
	*ret_body = (struct slice){to, body};
	*ret_used = in.n - rest.n;
	return HTTP_PARSED;
}

static enum http_parsed parse_body(struct text *in, size_t head, size_t body_max,
				   struct http_request *request, size_t *ret_used)
{
	struct slice coding = http_header(request, "transfer-encoding");
	struct slice length = http_header(request, "content-length");
	struct slice rest = {in->p + head, in->n - head};
	enum http_parsed result;
	int64_t n = 0;

	if (coding.p) {
		if (length.p || !slice_is_nocase(coding, "chunked"))
			return HTTP_BAD;
		result = parse_chunks(rest, NULL, body_max, &request->body, ret_used);
		if (result == HTTP_PARSED)
			parse_chunks(rest, in->p + head, body_max, &request->body, ret_used);
	} else {
		if (length.p && (!slice_number(length, &n) || n < 0))
			return HTTP_BAD;
		if ((size_t)n > body_max)
			return HTTP_TOO_LARGE;
		request->body = (struct slice){rest.p, (size_t)n};
		*ret_used = (size_t)n;
		result = rest.n >= (size_t)n ? HTTP_PARSED : HTTP_MORE;
	}
	*ret_used += head;
	if (result == HTTP_MORE && slice_is_nocase(http_header(request, "expect"), "100-continue"))
		return HTTP_CONTINUE;
	return result;
}

enum http_parsed http_parse(struct text *in, size_t body_max, struct http_request *request,
			    size_t *ret_used)
{
	const char *end = in->n ? memmem(in->p, in->n, "\r\n\r\n", 4) : NULL;

	if (!end)
		return in->n > HEAD_MAX ? HTTP_BAD : HTTP_MORE;
	struct slice head = {in->p, (size_t)(end - in->p)};
	if (!parse_head(head, request))
		return HTTP_BAD;
	return parse_body(in, head.n + 4, body_max, request, ret_used);
}
