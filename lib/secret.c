#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_MAX = 64 << 10 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(SANITIZED)
#define SANITIZED 1
#endif

struct secret {
	size_t n;
	char *p; /* n bytes and a NUL, from sodium_malloc */
};

/* sodium_malloc: guard pages, wiped when freed, locked in memory unless RLIMIT_MEMLOCK refuses (then it is
 * ordinary memory, as libsodium documents). */
static struct secret *secret_room(size_t n)
{
	struct secret *s = mem_alloc(sizeof(*s));

	if (sodium_init() < 0 || (s->p = sodium_malloc(n + 1)) == NULL) {
		fprintf(stderr, "out of memory (%zu bytes asked for a secret)\n", n);
		abort();
	}
	s->n = n;
	s->p[n] = '\0';
	return s;
}

struct secret *secret_new(const void *p, size_t n)
{
	struct secret *s = secret_room(n);

	if (n > 0)
		memcpy(s->p, p, n);
	return s;
}

struct slice secret_value(const struct secret *s)
{
	return (struct slice){s->p, s->n};
}

void secret_free(struct secret *s)
{
	if (s == NULL)
		return;
	sodium_free(s->p);
	free(s);
}

void secret_wipe(void *p, size_t n)
{
	if (n > 0)
		sodium_memzero(p, n);
}

/* Takes s; cuts the newline that editors and `echo` leave. */
static struct secret *checked(struct secret *s, const char *from, const char *name, struct buf *why)
{
	const char *problem = NULL;

	if (s->n > 0 && s->p[s->n - 1] == '\n')
		s->n--;
	if (s->n > 0 && s->p[s->n - 1] == '\r')
		s->n--;
	s->p[s->n] = '\0';
	if (s->n == 0)
		problem = "is empty";
	else if (memchr(s->p, '\0', s->n) != NULL)
		problem = "holds a NUL byte";
	if (problem == NULL)
		return s;
	buf_addf(why, "%s %s %s", from, name, problem);
	secret_free(s);
	return NULL;
}

static bool file_is_private(int fd, const char *path, struct buf *why, struct stat *st)
{
	mode_t mode;

	if (fstat(fd, st) < 0) {
		buf_addf(why, "file %s: %s", path, strerror(errno));
		return false;
	}
	mode = st->st_mode & 07777;
	if (!S_ISREG(st->st_mode)) {
		buf_addf(why, "file %s is not a regular file", path);
	} else if (st->st_uid != geteuid() && st->st_uid != 0) {
		buf_addf(why, "file %s belongs to user %u, expected %u or root", path,
			 (unsigned)st->st_uid, (unsigned)geteuid());
	} else if (mode != 0400 && mode != 0600 && mode != 0440 && mode != 0640) {
		buf_addf(why, "file %s has mode %04o, expected 0400, 0600, 0440 or 0640", path,
			 (unsigned)mode);
	} else if (st->st_size > SECRET_MAX) {
		buf_addf(why, "file %s is larger than %d bytes", path, (int)SECRET_MAX);
	} else {
		return true;
	}
	return false;
}

/* Reads until the end of the file or until s is full; the length becomes what was read. */
static int read_all(int fd, struct secret *s)
{
	size_t done = 0;

	while (done < s->n) {
		ssize_t n = read(fd, s->p + done, s->n - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	s->n = done;
	return 0;
}

static struct secret *load_file(const char *path, struct buf *why)
{
	struct secret *s = NULL;
	struct stat st;
	int fd, rc;

	/* Symbolic links are followed (Kubernetes mounts secrets so); what counts is the file behind them. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		buf_addf(why, "file %s: %s", path, strerror(errno));
		return NULL;
	}
	if (file_is_private(fd, path, why, &st)) {
		s = secret_room((size_t)st.st_size);
		rc = read_all(fd, s);
		if (rc < 0) {
			buf_addf(why, "file %s: %s", path, strerror(-rc));
			secret_free(s);
			s = NULL;
		}
	}
	close(fd);
	return s == NULL ? NULL : checked(s, "file", path, why);
}

/* systemd.exec(5) LoadCredential=: the directory is private to the service, its files are 0400 or 0440. */
static struct secret *load_credential(const char *name, struct buf *why)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	struct buf CLEANUP(buf_cleanup) path = {0};

	if (directory == NULL || *directory == '\0') {
		buf_addf(why, "credential %s: $CREDENTIALS_DIRECTORY is not set", name);
		return NULL;
	}
	if (*name == '\0' || *name == '.' || strchr(name, '/') != NULL) {
		buf_addf(why, "credential %s: not a plain file name", name);
		return NULL;
	}
	/* LoadCredential=dirpipe:DIRECTORY names each file of the directory dirpipe_FILE (systemd.exec(5)). */
	buf_addf(&path, "%s/dirpipe_%s", directory, name);
	if (access(path.p, F_OK) != 0) {
		buf_clear(&path);
		buf_addf(&path, "%s/%s", directory, name);
	}
	return load_file(path.p, why);
}

static struct secret *load_env(const char *name, struct buf *why)
{
	const char *value = getenv(name);

	if (value == NULL) {
		buf_addf(why, "environment variable %s is not set", name);
		return NULL;
	}
	return checked(secret_new(value, strlen(value)), "environment variable", name, why);
}

struct secret *secret_load(const struct secret_ref *ref, struct buf *why)
{
	switch (ref->kind) {
	case SECRET_CREDENTIAL:
		return load_credential(ref->name, why);
	case SECRET_FILE:
		return load_file(ref->name, why);
	case SECRET_ENV:
		return load_env(ref->name, why);
	case SECRET_KINDS:
		break;
	}
	abort();
}

void secret_harden_process(void)
{
	const struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
#ifndef SANITIZED
	/* The leak checker stops our own threads by ptrace, which an undumpable process refuses. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}
