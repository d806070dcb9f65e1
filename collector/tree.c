#include "tree.h"

#include "directory.h"
#include "entry.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

enum { PAGE = 500 };

struct unit {
	char *key; /* normal form */
	char *dn;
	char *path; /* normal forms from the top down, so that order is the tree's */
	uint64_t users, whole;
	bool system, listed; /* listed: the directory named it a unit */
	UT_hash_handle hh;
};

struct tree {
	struct tree_settings s;
	struct directory_conf *conf;
	struct directory *directory;
	struct buf base, filter;
	struct unit *units;
	bool over;
};

static const char units_filter[] =
	"(|(objectClass=organizationalUnit)(isCriticalSystemObject=TRUE))";

/* ---- names ---- */

/* What follows the first name of a DN; NULL: nothing. */
static const char *parent_of(const char *dn)
{
	for (; *dn; dn++) {
		if (*dn == '\\' && dn[1])
			dn++;
		else if (*dn == ',')
			return dn + 1 + strspn(dn + 1, " ");
	}
	return NULL;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct unit *unit_of(struct tree *t, const char *dn)
{
	CLEANUP(buf_cleanup) struct buf key = {0};
	struct unit *u;

	if (!dn || dn_normal(dn, &key) != 0 ||
	    !dn_normal_within(buf_slice(&key), buf_slice(&t->base)))
		return NULL;
	HASH_FIND_STR(t->units, key.p, u);
	if (u)
		return u;
	u = mem_alloc(sizeof(*u));
	u->key = buf_steal(&key);
	u->dn = mem_dup(dn);
	HASH_ADD_KEYPTR(hh, t->units, u->key, strlen(u->key), u);
	return u;
}

/* ---- reading ---- */

static void end(struct tree *t, uint64_t hidden, const char *why)
{
	if (t->over)
		return;
	t->over = true;
	directory_stop(t->directory);
	t->s.done(t->s.arg, hidden, why);
}

/* Everybody counts where they are, and in all that holds that. */
static void count_user(struct tree *t, const char *dn)
{
	const char *parent = parent_of(dn);
	struct unit *u = unit_of(t, parent);

	if (u)
		u->users++;
	for (; u; u = unit_of(t, parent)) {
		u->whole++;
		parent = parent_of(parent);
		if (!parent)
			return;
	}
}

static void on_user(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	char *dn = type == LDAP_RES_SEARCH_ENTRY ? ldap_get_dn(ld, m) : NULL;

	if (dn)
		count_user(arg, dn);
	ldap_memfree(dn);
}

static bool is_true(LDAP *ld, LDAPMessage *m, const char *attr)
{
	struct berval **values = ldap_get_values_len(ld, m, attr);
	bool yes = values && values[0] && strcasecmp(values[0]->bv_val, "TRUE") == 0;

	ldap_value_free_len(values);
	return yes;
}

static void on_unit(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	char *dn = type == LDAP_RES_SEARCH_ENTRY ? ldap_get_dn(ld, m) : NULL;
	struct unit *u = dn ? unit_of(arg, dn) : NULL;

	if (u) {
		u->listed = true;
		u->system = is_true(ld, m, "isCriticalSystemObject");
	}
	ldap_memfree(dn);
}

/* ---- telling ---- */

static void add_path(const struct unit *u, struct buf *out)
{
	const char *parent = parent_of(u->key);
	CLEANUP(buf_cleanup) struct buf own = {0};

	if (parent) {
		const struct unit above = {.key = (char *)(uintptr_t)parent};

		add_path(&above, out);
		buf_addc(out, '\n');
	}
	buf_add(out, u->key, parent ? (size_t)(parent - u->key) : strlen(u->key));
}

static int by_path(const struct unit *a, const struct unit *b)
{
	return strcmp(a->path, b->path);
}

static unsigned depth_of(const struct tree *t, const struct unit *u)
{
	unsigned depth = 0;

	for (const char *at = u->key; at && strlen(at) > t->base.n; at = parent_of(at))
		depth++;
	return depth;
}

/* In a system container, or one itself? */
static bool is_system(struct tree *t, const struct unit *u)
{
	for (const char *at = u->key; at && strlen(at) > t->base.n; at = parent_of(at)) {
		const struct unit *above = unit_of(t, at);

		if (above && above->system)
			return true;
	}
	return false;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void tell(struct tree *t)
{
	struct unit *u, *next;
	uint64_t hidden = 0;

	HASH_ITER (hh, t->units, u, next) {
		CLEANUP(buf_cleanup) struct buf path = {0};

		add_path(u, &path);
		u->path = buf_steal(&path);
	}
	HASH_SORT(t->units, by_path);
	HASH_ITER (hh, t->units, u, next) {
		if (is_system(t, u))
			hidden += u->users;
		else if (u->whole > 0 || (u->listed && !t->s.users_only))
			t->s.say(t->s.arg, u->dn, depth_of(t, u), u->users, u->whole);
	}
	end(t, hidden, NULL);
}

static void units_done(void *arg, const struct directory_result *r)
{
	if (r->rc == LDAP_SUCCESS)
		tell(arg);
	else
		end(arg, 0, r->text);
}

static void users_done(void *arg, const struct directory_result *r)
{
	static const char *const attrs[] = {"isCriticalSystemObject", NULL};
	struct tree *t = arg;
	struct directory_search s = {.base = directory_conf_base(t->conf),
				     .scope = LDAP_SCOPE_SUBTREE,
				     .filter = units_filter,
				     .attrs = attrs,
				     .page = PAGE};

	if (r->rc != LDAP_SUCCESS)
		end(t, 0, r->text);
	else if (directory_search(t->directory, &s, on_unit, units_done, t) == 0)
		end(t, 0, "the connection broke");
}

static void up(void *arg, size_t uri)
{
	static const char *const attrs[] = {LDAP_NO_ATTRS, NULL};
	struct tree *t = arg;
	struct directory_search s = {.base = directory_conf_base(t->conf),
				     .scope = LDAP_SCOPE_SUBTREE,
				     .filter = t->filter.p,
				     .attrs = attrs,
				     .page = PAGE};

	(void)uri;
	if (directory_search(t->directory, &s, on_user, users_done, t) == 0)
		end(t, 0, "the connection broke");
}

static void down(void *arg, enum source_problem problem, const char *why, int64_t retry_ms)
{
	(void)problem;
	(void)retry_ms;
	end(arg, 0, why);
}

static const struct entry_schema *schema_of(const struct conf_node *source)
{
	return strcmp(conf_text(source, "driver"), "ad-dirsync") == 0 ? &entry_schema_ad
								      : &entry_schema_openldap;
}

struct tree *tree_new(const struct tree_settings *settings, struct buf *why)
{
	const char *filter = conf_text(conf_section(settings->source, "users"), "filter");
	struct tree *t = mem_alloc(sizeof(*t));

	t->s = *settings;
	t->conf = directory_conf_new(settings->source, why);
	if (!t->conf || dn_normal(directory_conf_base(t->conf), &t->base) != 0) {
		tree_free(t);
		return NULL;
	}
	buf_adds(&t->filter, filter && *filter ? filter : schema_of(settings->source)->user_filter);
	t->directory = directory_new(settings->loop, t->conf,
				     &(struct directory_events){.arg = t, .up = up, .down = down});
	directory_start(t->directory);
	return t;
}

// NOLINTNEXTLINE(readability-function-size): uthash
void tree_free(struct tree *t)
{
	struct unit *u, *next;

	if (!t)
		return;
	HASH_ITER (hh, t->units, u, next) {
		HASH_DEL(t->units, u); // NOLINT(clang-analyzer-unix.Malloc): uthash
		free(u->key);
		free(u->dn);
		free(u->path);
		free(u);
	}
	directory_free(t->directory);
	directory_conf_free(t->conf);
	buf_done(&t->base);
	buf_done(&t->filter);
	free(t);
}
