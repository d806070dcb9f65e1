/* The words of requests and answers. */
#include "http.h"

#include <string.h>
#include <strings.h>

const char *http_method_name(enum http_method method)
{
	static const char *const names[HTTP_METHODS] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

	return names[method];
}

struct slice http_header(const struct http_response *response, const char *name)
{
	struct slice value = {NULL, 0};
	const char *p = response->headers.p, *end = p + response->headers.n;
	size_t n = strlen(name);

	while (p && p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		const char *stop = eol ? eol : end;

		if ((size_t)(stop - p) > n && p[n] == ':' && strncasecmp(p, name, n) == 0) {
			const char *v = p + n + 1;

			while (v < stop && (*v == ' ' || *v == '\t'))
				v++;
			while (stop > v && (stop[-1] == '\r' || stop[-1] == ' '))
				stop--;
			value = (struct slice){v, (size_t)(stop - v)};
		}
		p = eol ? eol + 1 : end;
	}
	return value;
}

void http_escape(struct buf *out, struct slice text)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c && strchr("-._~", c))) {
			buf_addc(out, (char)c);
		} else {
			buf_addc(out, '%');
			buf_addc(out, hex[c >> 4]);
			buf_addc(out, hex[c & 15]);
		}
	}
}
