/* Configuration files in a folder of the test. */
#ifndef DIRPIPE_CONF_FIXTURE_H
#define DIRPIPE_CONF_FIXTURE_H

#include "unit.h"

#include "conf_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXAMPLE DIRPIPE_SOURCE_DIR "/config/dirpipe.example.yaml"

static char folder[] = "/tmp/test_conf.XXXXXX";

/* ---- files ---- */

static inline const char *in_folder(const char *name)
{
	static char path[8][256];
	static unsigned next;
	char *out = path[next++ % 8];

	snprintf(out, sizeof(path[0]), "%s/%s", folder, name);
	return out;
}

static inline void write_bytes(const char *name, const void *p, size_t n, mode_t mode)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), (ssize_t)n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static inline void write_text(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text), 0600);
}

static inline void replace_all(struct buf *b, const char *from, const char *to)
{
	struct buf out = {0};
	const char *p = b->p;
	const char *hit;

	if (!p)
		return;
	while ((hit = strstr(p, from))) {
		buf_add(&out, p, (size_t)(hit - p));
		buf_adds(&out, to);
		p = hit + strlen(from);
	}
	buf_adds(&out, p);
	buf_done(b);
	*b = out;
}

/* DIR in the text stands for the test's folder. */
static inline struct conf *load_text(const char *text, struct buf *errors)
{
	struct buf b = {0};
	struct conf *c;

	buf_adds(&b, text);
	replace_all(&b, "DIR", folder);
	write_bytes("c.yaml", b.p, b.n, 0600);
	buf_done(&b);
	c = conf_load(in_folder("c.yaml"), errors);
	replace_all(errors, folder, "DIR");
	return c;
}

#define TARGET                                                                                     \
	"targets:\n  t:\n    driver: scim\n    url: https://a.example/v2\n"                        \
	"    auth: {method: bearer, token: !file DIR/good}\n    mapping: {userName: mail}\n"

#define SOURCE                                                                                     \
	"sources:\n  s:\n    driver: poll\n    uris: [ldaps://d.example]\n    base_dn: dc=x\n"     \
	"    bind: {dn: cn=a, password: !file DIR/good}\n    users: {attributes: [mail]}\n"

static inline bool has_line(const char *text, const char *start)
{
	for (const char *p = text; p && *p;) {
		if (strncmp(p, start, strlen(start)) == 0)
			return true;
		p = strchr(p, '\n');
		p = p ? p + 1 : NULL;
	}
	return false;
}

static inline int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	unsetenv("CREDENTIALS_DIRECTORY");
	write_text("good", "correct-horse\n");
	write_bytes("open", "hunter2\n", 8, 0604);
	write_text("empty", "\n");
	return 0;
}

static inline int tear_down(void **state)
{
	struct buf command = {0};
	int rc;

	(void)state;
	buf_addf(&command, "rm -rf '%s'", folder);
	rc = system(command.p);
	buf_done(&command);
	return rc;
}

#endif
