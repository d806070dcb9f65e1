#include "conf_tree.h"

#include "json.h"

#include <errno.h>
#include <string.h>

enum { INDENT = 2 };

static void indent(struct buf *out, int depth)
{
	for (int i = 0; i < depth * INDENT; i++)
		buf_addc(out, ' ');
}

/* Plain where YAML reads it back as it is, else quoted: a JSON string is a YAML one. */
static void show_scalar(const struct conf_node *n, struct buf *out)
{
	static const char safe[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+~-";
	bool number;

	if (n->tag)
		buf_addf(out, "%s ", n->tag);
	number = n->text[strspn(n->text, "0123456789+-.eE")] == 0;
	if (n->plain && n->text_n > 0 && n->text[strspn(n->text, safe)] == 0 &&
	    (number || !strchr("-.", n->text[0])))
		buf_add(out, n->text, n->text_n);
	else
		json_quote((struct slice){n->text, n->text_n}, out);
}

static void show_flow(const struct conf_node *n, struct buf *out)
{
	if (n->kind == CONF_SCALAR) {
		show_scalar(n, out);
		return;
	}
	buf_addc(out, n->kind == CONF_SEQUENCE ? '[' : '{');
	for (size_t i = 0; i < n->n; i++) {
		if (i > 0)
			buf_adds(out, ", ");
		if (n->kind == CONF_MAPPING) {
			json_quote(slice_of(n->items[i]->name), out);
			buf_adds(out, ": ");
		}
		show_flow(n->items[i], out);
	}
	buf_addc(out, n->kind == CONF_SEQUENCE ? ']' : '}');
}

static void show_section(const struct conf_node *n, int depth, struct buf *out);

static void show_free_map(const struct conf_node *n, int depth, struct buf *out)
{
	if (n->n == 0) {
		buf_adds(out, " {}");
		return;
	}
	for (size_t i = 0; i < n->n; i++) {
		buf_addc(out, '\n');
		indent(out, depth);
		json_quote(slice_of(n->items[i]->name), out);
		buf_adds(out, ": ");
		show_flow(n->items[i], out);
	}
}

/* The first key of a section in a list stands behind its dash. */
static void show_section_list(const struct conf_node *n, int depth, struct buf *out)
{
	for (size_t i = 0; i < n->n; i++) {
		CLEANUP(buf_cleanup) struct buf item = {0};

		show_section(n->items[i], depth + 1, &item);
		buf_addc(out, '\n');
		indent(out, depth);
		buf_adds(out, "- ");
		if (item.n > (size_t)(depth + 1) * INDENT + 1)
			buf_adds(out, item.p + (size_t)(depth + 1) * INDENT + 1);
	}
}

static bool has_anything(const struct conf_node *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->items[i]->kind != CONF_MAPPING || !n->items[i]->path ||
		    has_anything(n->items[i]))
			return true;
	return false;
}

/* n is not an empty section. depth is that of what stands below the key. */
static void show_value(const struct conf_key *key, const struct conf_node *n, int depth,
		       struct buf *out)
{
	switch (key->type) {
	case CONF_SECTION:
		show_section(n, depth, out);
		return;
	case CONF_SECTIONS:
		for (size_t i = 0; i < n->n; i++) {
			buf_addc(out, '\n');
			indent(out, depth);
			buf_addf(out, "%s:", n->items[i]->name);
			show_section(n->items[i], depth + 1, out);
		}
		return;
	case CONF_SECTION_LIST:
		show_section_list(n, depth, out);
		return;
	case CONF_MAP:
		show_free_map(n, depth, out);
		return;
	case CONF_LIST:
	case CONF_TEXT:
	case CONF_WORD:
	case CONF_NAME:
	case CONF_BOOL:
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE:
	case CONF_URL:
	case CONF_PATH:
	case CONF_SECRET:
	case CONF_TYPES:
		break;
	}
	buf_addc(out, ' ');
	show_flow(n, out);
	if (n->defaulted)
		buf_adds(out, " # default");
}

/* Each key on a line of its own, begun by a line feed. */
static void show_section(const struct conf_node *n, int depth, struct buf *out)
{
	for (const struct conf_key *key = conf_keys; key->path; key++) {
		const char *dot = strrchr(key->path, '.');
		const char *name = dot ? dot + 1 : key->path;
		const struct conf_node *value;

		if (!conf_key_is_child(key, n->path))
			continue;
		value = conf_node_child(n, name);
		if (!value || (key->type == CONF_SECTION && !has_anything(value)))
			continue;
		if ((key->type == CONF_SECTION_LIST || key->type == CONF_SECTIONS) && value->n == 0)
			continue;
		buf_addc(out, '\n');
		indent(out, depth);
		buf_addf(out, "%s:", name);
		show_value(key, value, depth + 1, out);
	}
}

void conf_show(const struct conf *c, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	show_section(c->root, 0, &text);
	if (text.n > 0)
		buf_add(out, text.p + 1, text.n - 1);
	buf_addc(out, '\n');
}

/* ---- explain ---- */

static const char *const type_names[CONF_TYPES] = {
	[CONF_TEXT] = "text",
	[CONF_WORD] = "word",
	[CONF_NAME] = "name (a-z 0-9 _ -, at most 63)",
	[CONF_BOOL] = "true or false",
	[CONF_INT] = "whole number",
	[CONF_DURATION] = "duration (250ms, 10s, 5m, 2h, 30d)",
	[CONF_SIZE] = "size (64KiB, 8MiB)",
	[CONF_URL] = "URL",
	[CONF_PATH] = "absolute path",
	[CONF_SECRET] = "secret (!credential NAME, !file PATH, !env NAME)",
	[CONF_LIST] = "list",
	[CONF_MAP] = "free mapping",
	[CONF_SECTION] = "section",
	[CONF_SECTIONS] = "sections by name",
	[CONF_SECTION_LIST] = "list of sections",
};

/* Does path (targets.m365.url, sources.corp.routes[0].base) name this row (targets.*.url)? */
static bool names_row(const char *row, const char *path)
{
	while (*row) {
		size_t path_n = strcspn(path, ".");
		size_t row_n = strcspn(row, ".");
		bool any = row_n == 1 && row[0] == '*' && path_n > 0;

		if (!any && (row_n != path_n || memcmp(row, path, row_n) != 0))
			return false;
		row += row_n;
		path += path_n;
		if (*row != *path)
			return false;
		if (*row) {
			row++;
			path++;
		}
	}
	return true;
}

/* routes[0].base becomes routes.*.base. */
static void normalise(const char *key, struct buf *out)
{
	buf_adds(out, "");
	while (*key) {
		size_t n = strcspn(key, "[");

		buf_add(out, key, n);
		key += n;
		if (*key) {
			buf_adds(out, ".*");
			key += strcspn(key, "]");
			key += *key == ']';
		}
	}
}

static void explain_row(const struct conf_key *key, struct buf *out)
{
	buf_addf(out, "%s\n  %s\n  type: %s", key->path, key->help, type_names[key->type]);
	if (key->words)
		buf_addf(out, ", %s%s",
			 key->type == CONF_URL || key->type == CONF_LIST ? "schemes " : "",
			 key->words);
	if (!key->fallback)
		buf_adds(out, "\n  required\n");
	else if (*key->fallback)
		buf_addf(out, "\n  default: %s\n", key->fallback);
	else
		buf_adds(out, "\n  optional\n");
	if (key->type != CONF_SECTION && key->type != CONF_SECTIONS &&
	    key->type != CONF_SECTION_LIST)
		return;
	buf_adds(out, "  keys:");
	for (const struct conf_key *child = conf_keys; child->path; child++) {
		bool named = key->type != CONF_SECTION;
		size_t n = strlen(key->path);

		if (strncmp(child->path, key->path, n) == 0 &&
		    strncmp(child->path + n, named ? ".*." : ".", named ? 3 : 1) == 0 &&
		    !strchr(child->path + n + (named ? 3 : 1), '.'))
			buf_addf(out, " %s", child->path + n + (named ? 3 : 1));
	}
	buf_addc(out, '\n');
}

/* The last words nearest to the key's last word, wherever they stand; whole paths are shown. */
static void explain_near(const char *path, struct buf *out)
{
	const char *dot = strrchr(path, '.');
	const char *last = dot ? dot + 1 : path;
	size_t named = 0;

	for (size_t distance = 0; distance <= 2 && named < 5; distance++) {
		for (const struct conf_key *key = conf_keys; key->path && named < 5; key++) {
			const char *row_dot = strrchr(key->path, '.');

			if (conf_distance(row_dot ? row_dot + 1 : key->path, last) != distance)
				continue;
			buf_addf(out, "%s%s", named++ == 0 ? "did you mean " : ", ", key->path);
		}
	}
	if (named > 0)
		buf_adds(out, "?\n");
}

int conf_explain(const char *key, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf path = {0};

	normalise(key, &path);
	for (const struct conf_key *row = conf_keys; row->path; row++) {
		if (names_row(row->path, path.p)) {
			explain_row(row, out);
			return 0;
		}
	}
	explain_near(path.p, out);
	return -ENOENT;
}
