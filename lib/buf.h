/* A growing byte buffer and a borrowed piece of bytes: the only two shapes in which text and
 * binary travel between modules. */
#ifndef DIRPIPE_BUF_H
#define DIRPIPE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes; p need not end in NUL and may be NULL when n is 0. */
struct slice {
	const char *p;
	size_t n;
};

/* Owned bytes; after any append p ends in a NUL that n does not count. Zero-initialised = empty. */
struct buf {
	char *p;
	size_t n;
	size_t cap;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

struct slice slice_of(const char *text); /* NULL gives an empty slice */
struct slice buf_slice(const struct buf *b);
bool slice_equal(struct slice a, struct slice b);
bool slice_is(struct slice a, const char *text);
char *slice_dup(struct slice a); /* owned, NUL-terminated copy */

/* All append functions abort when memory runs out; what the network sizes is capped by callers. */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *text);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));
void *buf_grow(struct buf *b,
	       size_t n);	/* room for n more bytes at the returned place; n is counted */
void buf_clear(struct buf *b);	/* empty, memory kept */
void buf_done(struct buf *b);	/* empty, memory freed */
char *buf_steal(struct buf *b); /* owned text ("" when empty); b is empty after */

/* Memory: these abort with a message when there is none; nothing here returns NULL. */
void *mem_alloc(size_t n);		/* zeroed */
void *mem_array(size_t n, size_t size); /* zeroed; overflow aborts */
void *mem_resize(void *p, size_t n);
char *mem_dup(const char *text); /* NULL stays NULL */

/* RFC 4648 base64 (4) and base64url without padding (5). Decode: 0, or -EINVAL on any foreign byte. */
void buf_add_base64(struct buf *b, const void *p, size_t n);
void buf_add_base64url(struct buf *b, const void *p, size_t n);
int buf_add_unbase64(struct buf *b, struct slice text);

/* Well-formed UTF-8 by RFC 3629 (no overlong form, no surrogate, no NUL)? */
bool utf8_valid(struct slice text);

/* Appends whole characters of text as long as they fit into `most` bytes; what is not UTF-8, and NUL, becomes U+FFFD. */
void buf_add_utf8(struct buf *b, struct slice text, size_t most);

#define CLEANUP(fn) __attribute__((cleanup(fn)))
void buf_cleanup(struct buf *b);	     /* for CLEANUP(buf_cleanup) struct buf x = {0}; */
void free_cleanup(void *pointer_to_pointer); /* for CLEANUP(free_cleanup) char *x = NULL; */
#define MUST_CHECK __attribute__((warn_unused_result))

#endif
