/* A secret's file of any bytes: it is refused with words that do not hold it, or its value is the file less its last newline. */
#include "fuzz.h"

#include "secret.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	char path[64];
	struct secret_ref ref = {SECRET_FILE, path};
	int fd = memfd_create("secret", MFD_CLOEXEC);
	struct secret *s;

	must(fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	s = secret_load(&ref, &why);
	must((s == NULL) == (why.n > 0));
	if (s) {
		struct slice value = secret_value(s);

		must(value.n > 0 && value.n <= size && size - value.n <= 2);
		must(memcmp(value.p, data, value.n) == 0 && value.p[value.n] == '\0');
	} else {
		must(size < 8 || memmem(why.p, why.n, data, size) == NULL);
	}
	secret_free(s);
	close(fd);
	return 0;
}
