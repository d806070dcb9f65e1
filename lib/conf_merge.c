#include "conf_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- one file ---- */

static int read_all(int fd, struct buf *out)
{
	for (;;) {
		char piece[16384];
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		buf_add(out, piece, (size_t)n);
		if (out->n > CONF_FILE_MAX)
			return -EFBIG;
	}
}

/* 0, or a failure that was reported. Never blocks on a pipe. */
static int file_read(struct conf_place at, struct buf *out, struct conf_errors *errors)
{
	int fd = open(at.file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int rc = 0;

	if (fd < 0) {
		rc = -errno;
		conf_fail(errors, at, NULL, "cannot be opened: %s", strerror(errno));
		return rc;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		conf_fail(errors, at, NULL, "is not a file; expected the configuration's path");
		rc = -EINVAL;
	} else if (st.st_size > CONF_FILE_MAX) {
		rc = -EFBIG;
	} else {
		rc = read_all(fd, out);
	}
	close(fd);
	if (rc == -EFBIG)
		conf_fail(errors, at, NULL, "is larger than %d KiB: this is no configuration",
			  CONF_FILE_MAX >> 10);
	else if (rc < 0 && rc != -EINVAL)
		conf_fail(errors, at, NULL, "cannot be read: %s", strerror(-rc));
	return rc;
}

/* Line and column of the byte at offset. */
static struct conf_place place_at(const char *file, struct slice text, size_t offset)
{
	struct conf_place at = {file, 1, 1};

	for (size_t i = 0; i < offset && i < text.n; i++) {
		if (text.p[i] == '\n') {
			at.line++;
			at.column = 1;
		} else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
			at.column++;
		}
	}
	return at;
}

/* The first byte from which on the text is not UTF-8 without NUL. Lines are checked one by one. */
static size_t first_bad_byte(struct slice text)
{
	size_t start = 0;

	while (start < text.n) {
		const char *end = memchr(text.p + start, '\n', text.n - start);
		size_t n = end ? (size_t)(end - text.p) + 1 - start : text.n - start;

		if (!utf8_valid((struct slice){text.p + start, n})) {
			size_t good = n;

			while (good > 0 && !utf8_valid((struct slice){text.p + start, good}))
				good--;
			return start + good;
		}
		start += n;
	}
	return text.n;
}

/* Is this text a configuration can be in? A UTF-8 byte order mark is cut off; CRLF is white space to YAML. */
static bool text_is_sane(struct slice *text, const char *file, struct conf_errors *errors)
{
	size_t bad;

	if (text->n >= 2 &&
	    (memcmp(text->p, "\xff\xfe", 2) == 0 || memcmp(text->p, "\xfe\xff", 2) == 0)) {
		conf_fail(errors, (struct conf_place){file, 1, 1}, NULL,
			  "is UTF-16; expected UTF-8");
		return false;
	}
	if (text->n >= 3 && memcmp(text->p, "\xef\xbb\xbf", 3) == 0) {
		text->p += 3;
		text->n -= 3;
	}
	bad = first_bad_byte(*text);
	if (bad < text->n) {
		conf_fail(errors, place_at(file, *text, bad), NULL, "%s; expected UTF-8 text",
			  text->p[bad] ? "a byte that is not UTF-8" : "a NUL byte");
		return false;
	}
	return true;
}

static const char *file_name(struct conf *c, char *owned)
{
	c->files = mem_resize(c->files, (c->files_n + 1) * sizeof(char *));
	c->files[c->files_n++] = owned;
	return owned;
}

static struct conf_node *file_parse(const char *file, struct conf_errors *errors)
{
	CLEANUP(buf_cleanup) struct buf b = {0};
	struct conf_node *root = NULL;
	struct slice text;

	if (file_read((struct conf_place){file, 0, 0}, &b, errors) == 0) {
		text = buf_slice(&b);
		if (text_is_sane(&text, file, errors) && text.n > 0)
			root = conf_yaml_parse(text, file, errors);
	}
	if (b.p)
		secret_wipe(b.p, b.n);
	return root;
}

/* ---- merging ---- */

static void path_push(struct buf *path, const char *name)
{
	if (path->n > 0)
		buf_addc(path, '.');
	buf_adds(path, name);
}

/* How deep two files may both write below a key: sections, names of sections, and entries of a free mapping. */
static bool path_merges(const char *path)
{
	const struct conf_key *key = conf_key_find(path);

	return key ? key->type == CONF_SECTION || key->type == CONF_SECTIONS ||
			       key->type == CONF_MAP
		   : conf_key_below(path, "driver") != NULL;
}

/* Moves what `from` has into `to`; path is the schema path of both, shown is what errors call them. */
static void merge(struct conf_node *to, struct conf_node *from, const char *path, const char *shown,
		  struct conf_errors *errors)
{
	const struct conf_key *own = conf_key_find(path);
	bool names = own && own->type == CONF_SECTIONS;

	for (size_t i = 0; i < from->n; i++) {
		CLEANUP(buf_cleanup) struct buf below = {0};
		CLEANUP(buf_cleanup) struct buf key = {0};
		struct conf_node *theirs = from->items[i];
		struct conf_node *ours = conf_node_child(to, theirs->name);

		buf_adds(&below, path);
		path_push(&below, names ? "*" : theirs->name);
		buf_adds(&key, shown);
		path_push(&key, theirs->name);
		if (!ours) {
			conf_node_add(to, theirs);
			continue;
		}
		if (ours->kind == CONF_MAPPING && theirs->kind == CONF_MAPPING &&
		    path_merges(below.p))
			merge(ours, theirs, below.p, key.p, errors);
		else
			conf_fail(errors, theirs->key_at, key.p,
				  "stands in two files, first at %s:%d:%d", ours->key_at.file,
				  ours->key_at.line, ours->key_at.column);
		conf_node_free(theirs);
	}
	from->n = 0;
}

static int only_yaml(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".yaml") == 0;
}

static void folder_merge(struct conf *c, struct conf_node **root, const char *folder,
			 struct conf_errors *errors)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, only_yaml, alphasort);

	if (n < 0) {
		if (errno != ENOENT && errno != ENOTDIR) {
			int error = errno;
			const char *file = file_name(c, mem_dup(folder));

			conf_fail(errors, (struct conf_place){file, 0, 0}, NULL,
				  "cannot be read: %s", strerror(error));
		}
		return;
	}
	for (int i = 0; i < n; i++) {
		struct buf name = {0};
		struct conf_node *part;

		buf_addf(&name, "%s/%s", folder, entries[i]->d_name);
		free(entries[i]);
		part = file_parse(file_name(c, buf_steal(&name)), errors);
		if (part && *root) {
			merge(*root, part, "", "", errors);
			conf_node_free(part);
		} else if (part) {
			*root = part;
		}
	}
	free(entries);
}

struct conf_node *conf_files_read(struct conf *c, const char *path, struct conf_errors *errors)
{
	CLEANUP(buf_cleanup) struct buf folder = {0};
	const char *slash = strrchr(path, '/');
	const char *file = file_name(c, mem_dup(path));
	static const char *const folders[] = {"conf.d", "overrides.d"};
	size_t before = errors->n;
	struct conf_node *root = file_parse(file, errors);

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		buf_clear(&folder);
		buf_add(&folder, path, slash ? (size_t)(slash - path) + 1 : 0);
		buf_adds(&folder, folders[i]);
		folder_merge(c, &root, folder.p, errors);
	}
	if (!root && errors->n == before)
		conf_fail(errors, (struct conf_place){file, 1, 1}, NULL,
			  "is empty; expected a mapping of sections (broker, sources, targets …)");
	return root;
}
