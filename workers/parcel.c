#include "parcel.h"

#include <stdlib.h>
#include <string.h>

void parcel_free_list(struct parcel *p)
{
	while (p) {
		struct parcel *next = p->next;

		buf_done(&p->request.url);
		buf_done(&p->request.body);
		buf_done(&p->request.header_text);
		secret_wipe(p->bearer.p, p->bearer.n);
		buf_done(&p->bearer);
		free(p);
		p = next;
	}
}

void parcel_clear_request(struct target_request *r)
{
	secret_wipe(r->body.p, r->body.n); /* may hold a first password */
	buf_clear(&r->url);
	buf_clear(&r->body);
	buf_clear(&r->header_text);
	r->method = HTTP_GET;
	r->content_type = r->accept = NULL;
	r->header_n = 0;
}

void parcel_headers(const struct parcel *p, const char *id_header, struct buf *text,
		    const char *lines[PARCEL_HEADERS])
{
	const struct target_request *r = &p->request;
	size_t at[PARCEL_HEADERS], n = 0, kept = 0;

	if (r->content_type) {
		at[n++] = text->n;
		buf_addf(text, "Content-Type: %s%c", r->content_type, 0);
	}
	if (r->accept) {
		at[n++] = text->n;
		buf_addf(text, "Accept: %s%c", r->accept, 0);
	}
	if (id_header) {
		at[n++] = text->n;
		buf_addf(text, "%s: %s%c", id_header, p->request_id, 0);
	}
	for (const char *line = r->header_text.p; kept < r->header_n && n < PARCEL_HEADERS - 1;
	     kept++) {
		at[n++] = text->n;
		buf_add(text, line, strlen(line) + 1);
		line += strlen(line) + 1;
	}
	for (size_t i = 0; i < n; i++)
		lines[i] = text->p + at[i];
	lines[n] = NULL;
}

/* ---- the pool ---- */

struct parcel *parcel_take(struct parcel_pool *pool, struct exchange *x)
{
	struct parcel *p = pool->spare;

	if (p)
		pool->spare = p->next;
	else
		p = mem_alloc(sizeof(*p));
	p->x = x;
	p->next = NULL;
	p->at = NULL;
	p->n = 0;
	p->raw = NULL;
	p->raw_replayed = false;
	return p;
}

void parcel_fly(struct parcel_pool *pool, struct parcel *p)
{
	p->next = pool->flying;
	p->at = &pool->flying;
	if (p->next)
		p->next->at = &p->next;
	pool->flying = p;
}

void parcel_stop(struct parcel *p)
{
	if (!p->at)
		return;
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
	p->at = NULL;
}

void parcel_land(struct parcel_pool *pool, struct parcel *p)
{
	parcel_stop(p);
	parcel_clear_request(&p->request);
	secret_wipe(p->bearer.p, p->bearer.n);
	buf_clear(&p->bearer);
	p->next = pool->spare;
	pool->spare = p;
}

/* ---- where it goes ---- */

bool parcel_on_origin(const struct parcel *p, struct slice origin)
{
	CLEANUP(buf_cleanup) struct buf own = {0};

	return p->request.url.n > 0 && oauth_origin(p->request.url.p, &own) == 0 &&
	       slice_equal(buf_slice(&own), origin);
}

void parcel_redirect(struct parcel *p, const char *from_origin, const char *to_origin)
{
	CLEANUP(buf_cleanup) struct buf url = {0};
	const char *path;

	if (!parcel_on_origin(p, slice_of(from_origin)))
		return;
	path = strstr(p->request.url.p, "//") + 2;
	buf_addf(&url, "%s%s", to_origin, path + strcspn(path, "/?#"));
	buf_clear(&p->request.url);
	buf_add(&p->request.url, url.p, url.n);
}
