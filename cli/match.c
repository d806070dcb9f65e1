/* `dirpipe match`: proposals for links in a file that a person looks through, and the links that the file asks for. */
#include "lines.h"
#include "link.h"
#include "service.h"

#include <csv.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

static const char usage[] = "match propose TARGET [--by RULES] [--out FILE] | apply FILE";

enum {
	COLUMN_ACTION,
	COLUMN_TARGET,
	COLUMN_USER,
	COLUMN_ACCOUNT,
	COLUMN_DN,
	COLUMN_NAME,
	COLUMN_RULE,
	COLUMN_NOTE,
	COLUMNS
};
static const char *const columns[COLUMNS] = {"action", "target", "user", "account",
					     "dn",     "name",	 "rule", "note"};

/* ---- propose ---- */

struct proposal {
	FILE *out;
	const char *target;
	cJSON *summary;
};

static void write_row(FILE *out, const char *const fields[COLUMNS])
{
	for (size_t i = 0; i < COLUMNS; i++) {
		const char *text = fields[i] ? fields[i] : "";

		if (i > 0)
			fputc(',', out);
		csv_fwrite(out, text, strlen(text));
	}
	fputc('\n', out);
}

static void take_line(void *arg, const cJSON *line)
{
	struct proposal *p = arg;
	const cJSON *summary = json_object(line, "summary");
	const char *fields[COLUMNS];

	if (summary) {
		cJSON_Delete(p->summary);
		p->summary = cJSON_Duplicate(summary, true);
		return;
	}
	for (size_t i = 0; i < COLUMNS; i++)
		fields[i] = json_text(line, columns[i]);
	fields[COLUMN_TARGET] = p->target;
	write_row(p->out, fields);
}

static int run_worker(const struct cli *cli, struct proposal *p, const char *by)
{
	char *argv[12], **at = argv;

	*at++ = mem_dup("dirpipe-worker");
	*at++ = mem_dup("--config");
	*at++ = mem_dup(cli->config);
	*at++ = mem_dup("--match");
	if (by) {
		*at++ = mem_dup("--by");
		*at++ = mem_dup(by);
	}
	if (cli->socket) {
		*at++ = mem_dup("--socket");
		*at++ = mem_dup(cli->socket);
	}
	*at++ = mem_dup(p->target);
	*at = NULL;
	int rc = lines_run(argv, take_line, p);

	while (at > argv)
		free(*--at);
	return rc;
}

static int propose(const struct cli *cli, const char *target, const char *by, const char *out)
{
	struct proposal p = {.out = out ? fopen(out, "w") : stdout, .target = target};
	int rc;

	if (!p.out) {
		fprintf(stderr, "dirpipe: %s: %s\n", out, strerror(errno));
		return EXIT_FAILED_;
	}
	write_row(p.out, columns);
	rc = run_worker(cli, &p, by);
	if (fflush(p.out) != 0 || ferror(p.out)) {
		fprintf(stderr, "dirpipe: %s: %s\n", out ? out : "output", strerror(errno));
		rc = EXIT_FAILED_;
	}
	if (out)
		fclose(p.out);
	if (rc == 0 && !cli->quiet)
		fprintf(stderr,
			"%lld proposed, %lld ambiguous; %lld users and %lld accounts have no "
			"counterpart. `dirpipe match apply` sets the rows whose action is "
			"\"link\".\n",
			(long long)json_int(p.summary, "proposed", 0),
			(long long)json_int(p.summary, "ambiguous", 0),
			(long long)json_int(p.summary, "users_left", 0),
			(long long)json_int(p.summary, "accounts_left", 0));
	cJSON_Delete(p.summary);
	return rc;
}

/* ---- apply: the file ---- */

struct row {
	char *fields[COLUMNS];
	unsigned line;
};

struct file {
	int place[COLUMNS]; /* of a column in the file; -1: it is not there */
	struct row *rows;
	size_t n, cap;
	struct row now;
	int column;
	unsigned line;
	bool bad;
};

static void on_field(void *text, size_t n, void *arg)
{
	struct file *f = arg;
	char *value = slice_dup((struct slice){text, n});

	for (int i = 0; i < COLUMNS; i++) {
		if (f->line == 1 && strcasecmp(value, columns[i]) == 0)
			f->place[i] = f->column;
		else if (f->line > 1 && f->place[i] == f->column && !f->now.fields[i])
			f->now.fields[i] = mem_dup(value);
	}
	free(value);
	f->column++;
}

static void row_done(struct row *r)
{
	for (size_t i = 0; i < COLUMNS; i++)
		free_cleanup(&r->fields[i]);
	*r = (struct row){0};
}

static const char *field(const struct row *r, int column)
{
	return r->fields[column] ? r->fields[column] : "";
}

static void on_row(int c, void *arg)
{
	struct file *f = arg;

	(void)c;
	f->now.line = f->line++;
	f->column = 0;
	if (f->now.line == 1 || strcasecmp(field(&f->now, COLUMN_ACTION), "link") != 0) {
		row_done(&f->now);
		return;
	}
	if (f->n == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 64;
		f->rows = mem_resize(f->rows, f->cap * sizeof(*f->rows));
	}
	f->rows[f->n++] = f->now;
	f->now = (struct row){0};
}

static int read_file(const char *path, struct file *f)
{
	struct csv_parser parser;
	FILE *in = fopen(path, "r");
	char piece[16384];
	size_t n;
	int rc = 0;

	f->line = 1;
	for (size_t i = 0; i < COLUMNS; i++)
		f->place[i] = -1;
	if (!in) {
		fprintf(stderr, "dirpipe: %s: %s\n", path, strerror(errno));
		return EXIT_FAILED_;
	}
	csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL);
	while (rc == 0 && (n = fread(piece, 1, sizeof(piece), in)) > 0)
		rc = csv_parse(&parser, piece, n, on_field, on_row, f) == n ? 0 : EXIT_DATA_;
	if (rc == 0 && csv_fini(&parser, on_field, on_row, f) != 0)
		rc = EXIT_DATA_;
	csv_free(&parser);
	fclose(in);
	if (rc == 0 && (f->place[COLUMN_ACTION] < 0 || f->place[COLUMN_TARGET] < 0 ||
			f->place[COLUMN_USER] < 0 || f->place[COLUMN_ACCOUNT] < 0))
		rc = EXIT_DATA_;
	if (rc != 0)
		fprintf(stderr,
			"dirpipe: %s:%u: no CSV with the columns action, target, user and "
			"account\n",
			path, f->line);
	return rc;
}

static void file_done(struct file *f)
{
	for (size_t i = 0; i < f->n; i++)
		row_done(&f->rows[i]);
	row_done(&f->now);
	free(f->rows);
}

/* ---- apply: what each row is checked against ---- */

/* One target as it is now: who is there, which accounts there are, and whose they are. */
struct fact {
	char *key, *value;
	UT_hash_handle hh;
};
struct state {
	const char *target;
	struct fact *users;    /* in scope -> rid now */
	struct fact *owners;   /* rid -> user */
	struct fact *accounts; /* rid -> "" */
	struct fact *named;    /* user, or rid, of a row before -> its line */
};

// NOLINTBEGIN(readability-function-size): uthash
static const char *fact_get(struct fact *facts, const char *key)
{
	struct fact *f;

	HASH_FIND_STR(facts, key, f);
	return f ? f->value : NULL;
}

static void fact_put(struct fact **facts, const char *key, const char *value)
{
	struct fact *f;

	HASH_FIND_STR(*facts, key, f);
	if (f)
		return;
	f = mem_alloc(sizeof(*f));
	f->key = mem_dup(key);
	f->value = mem_dup(value);
	HASH_ADD_KEYPTR(hh, *facts, f->key, strlen(f->key), f);
}

static void facts_done(struct fact **facts)
{
	struct fact *f, *next;

	HASH_ITER (hh, *facts, f, next) {
		HASH_DEL(*facts, f); // NOLINT(clang-analyzer-unix.Malloc): uthash
		free(f->key);
		free(f->value);
		free(f);
	}
}
// NOLINTEND(readability-function-size)

static void state_done(struct state *s)
{
	facts_done(&s->users);
	facts_done(&s->owners);
	facts_done(&s->accounts);
	facts_done(&s->named);
}

static void take_link(void *arg, const cJSON *row)
{
	struct state *s = arg;
	const char *user = control_text(row, "user", ""),
		   *rid = control_text(json_object(row, "link"), "rid", "");

	if (json_true(row, "in", false))
		fact_put(&s->users, user, rid);
	if (*rid)
		fact_put(&s->owners, rid, user);
}

static void take_account(void *arg, const cJSON *line)
{
	struct state *s = arg;

	if (!json_true(line, "deleted", false))
		fact_put(&s->accounts, control_text(line, "rid", ""), "");
}

static int read_state(const struct cli *cli, struct state *s)
{
	char *words[] = {mem_dup("dirpipe-worker"), mem_dup("--config"), mem_dup(cli->config),
			 mem_dup("--list"),	    mem_dup(s->target),	 NULL};
	cJSON *request = cJSON_CreateObject();
	int rc;

	cJSON_AddStringToObject(request, "target", s->target);
	rc = link_walk(cli, request, take_link, s);
	if (rc == 0)
		rc = lines_run(words, take_account, s);
	for (size_t i = 0; words[i]; i++)
		free(words[i]);
	return rc;
}

/* NULL: nothing stands against it. */
static const char *refusal(struct state *s, const struct row *r)
{
	const char *user = field(r, COLUMN_USER), *rid = field(r, COLUMN_ACCOUNT), *owner;
	char line[16];

	if (!*user || !*rid)
		return "user or account is missing";
	if (!fact_get(s->users, user))
		return "that user is not in the target's scope";
	if (!fact_get(s->accounts, rid))
		return "the target has no such account";
	owner = fact_get(s->owners, rid);
	if (owner && strcasecmp(owner, user) != 0)
		return "that account is another user's";
	if (fact_get(s->named, user))
		return "a row before names this user, too";
	if (fact_get(s->named, rid))
		return "a row before names this account, too";
	snprintf(line, sizeof(line), "%u", r->line);
	fact_put(&s->named, user, line);
	fact_put(&s->named, rid, line);
	return NULL;
}

struct outcome {
	size_t linked, same, refused;
};

static void refuse(const char *path, const struct row *r, const char *why, struct outcome *o)
{
	fprintf(stderr, "%s:%u: refused: %s (user %s, account %s)\n", path, r->line, why,
		field(r, COLUMN_USER), field(r, COLUMN_ACCOUNT));
	o->refused++;
}

static void apply_row(const struct cli *cli, const char *path, struct state *s, const struct row *r,
		      struct outcome *o)
{
	const char *user = field(r, COLUMN_USER), *rid = field(r, COLUMN_ACCOUNT);
	int rc;

	if (strcmp(fact_get(s->users, user), rid) == 0) {
		o->same++;
		return;
	}
	rc = link_change(cli, &(struct link_word){s->target, user, rid, false});
	if (rc == 0)
		o->linked++;
	else
		refuse(path, r, "as said above", o);
}

/* All rows of a target are checked before the first is set. */
static int apply_target(const struct cli *cli, const char *path, struct file *f, const char *target,
			struct outcome *o)
{
	struct state s = {.target = target};
	bool *good = mem_array(f->n + 1, sizeof(*good));
	int rc = read_state(cli, &s);

	for (size_t i = 0; rc == 0 && i < f->n; i++) {
		const char *why;

		if (strcmp(field(&f->rows[i], COLUMN_TARGET), target) != 0)
			continue;
		why = refusal(&s, &f->rows[i]);
		good[i] = !why;
		if (why)
			refuse(path, &f->rows[i], why, o);
	}
	for (size_t i = 0; rc == 0 && i < f->n; i++)
		if (good[i])
			apply_row(cli, path, &s, &f->rows[i], o);
	free(good);
	state_done(&s);
	return rc;
}

static bool is_first_of(const struct file *f, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(field(&f->rows[k], COLUMN_TARGET), field(&f->rows[i], COLUMN_TARGET)) ==
		    0)
			return false;
	return true;
}

static int apply(const struct cli *cli, const char *path)
{
	struct file f = {0};
	struct outcome o = {0};
	int rc = read_file(path, &f);

	for (size_t i = 0; rc == 0 && i < f.n; i++)
		if (is_first_of(&f, i))
			rc = apply_target(cli, path, &f, field(&f.rows[i], COLUMN_TARGET), &o);
	file_done(&f);
	if (rc != 0)
		return rc;
	if (cli->json)
		printf("{\"linked\":%zu,\"same\":%zu,\"refused\":%zu}\n", o.linked, o.same,
		       o.refused);
	else if (!cli->quiet)
		printf("%zu linked, %zu were so already, %zu refused\n", o.linked, o.same,
		       o.refused);
	return o.refused ? EXIT_PARTIAL_ : 0;
}

int cli_match(const struct cli *cli, int argc, char **argv)
{
	const char *by = NULL, *out = NULL;

	if (argc == 2 && strcmp(argv[0], "apply") == 0)
		return apply(cli, argv[1]);
	if (argc < 2 || argc % 2 || strcmp(argv[0], "propose") != 0)
		return cli_usage(usage);
	for (int i = 2; i < argc; i += 2) {
		if (strcmp(argv[i], "--by") == 0)
			by = argv[i + 1];
		else if (strcmp(argv[i], "--out") == 0)
			out = argv[i + 1];
		else
			return cli_usage(usage);
	}
	return propose(cli, argv[1], by, out);
}
