/* A target driver made once from a piece of configuration. */
#ifndef DIRPIPE_FUZZ_TARGET_MADE_H
#define DIRPIPE_FUZZ_TARGET_MADE_H

#include "fuzz.h"

#include "mapping.h"
#include "oauth.h"
#include "target.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* %s in the YAML is the file with the secret. */
static void add_yaml(struct buf *out, const char *yaml, const char *path)
{
	const char *at = strstr(yaml, "%s");

	buf_add(out, yaml, (size_t)(at - yaml));
	buf_adds(out, path);
	buf_adds(out, at + 2);
}

/* Made once; both live as long as the process. */
static struct conf *conf;
static struct target *target;
static const struct target_driver *made_by;

static void drop(void)
{
	made_by->destroy(target);
	conf_free(conf);
}

static struct target *target_of(const struct target_driver *driver, const char *yaml)
{
	char folder[] = "/tmp/fuzz_target.XXXXXX", path[64];
	struct buf CLEANUP(buf_cleanup) text = {0};
	struct buf CLEANUP(buf_cleanup) why = {0};

	if (target)
		return target;
	must(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/x", folder);
	write_file(path, "secret");
	buf_adds(&text, "targets:\n  t:\n    url: https://a.example/v2\n");
	add_yaml(&text, yaml, path);
	snprintf(path, sizeof(path), "%s/c", folder);
	write_file(path, text.p);
	conf = conf_load(path, &why);
	must(conf != NULL);
	target = driver->create(conf_named(conf_root(conf), "targets", "t"), &why);
	must(target != NULL);
	made_by = driver;
	must(atexit(drop) == 0);
	unlink(path);
	snprintf(path, sizeof(path), "%s/x", folder);
	unlink(path);
	rmdir(folder);
	return target;
}

#endif
