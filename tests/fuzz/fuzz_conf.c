/* A configuration file of any bytes: it is refused with at least one line, each beginning with the file's name, or it loads; then
 * what conf_show prints loads again and is the same. */
#include "conf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
	if (!good)
		abort();
}

/* Loads the bytes from memory; part "": no secret is read, whatever the input names. */
static struct conf *load(const void *p, size_t n, struct buf *errors)
{
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct conf *c;

	must(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	c = conf_load_for(path, "", errors);
	must((c == NULL) == (errors->n > 0));
	must(errors->n == 0 ||
	     (strncmp(errors->p, path, strlen(path)) == 0 && errors->p[errors->n - 1] == '\n'));
	must(utf8_valid(buf_slice(errors)));
	close(fd);
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf CLEANUP(buf_cleanup) errors = {0};
	struct buf CLEANUP(buf_cleanup) shown = {0};
	struct buf CLEANUP(buf_cleanup) first = {0};
	struct buf CLEANUP(buf_cleanup) second = {0};
	struct conf *c = load(data, size, &errors);
	struct conf *again;

	if (!c)
		return 0;
	conf_show(c, &shown);
	conf_json(conf_root(c), NULL, &first);
	again = load(shown.p, shown.n, &errors);
	must(again != NULL);
	conf_json(conf_root(again), NULL, &second);
	must(slice_equal(buf_slice(&first), buf_slice(&second)));
	conf_free(again);
	conf_free(c);
	return 0;
}
