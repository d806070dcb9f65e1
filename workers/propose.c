#include "propose.h"

#include <stdlib.h>

struct propose {
	struct propose_conf conf;
	struct match *match;
	struct probe *probe;
};

static void take_account(void *arg, const struct target_account *account)
{
	struct propose *p = arg;

	match_account(p->match, account);
}

static void listed(void *arg, const char *why)
{
	struct propose *p = arg;

	p->probe = NULL;
	if (!why)
		match_run(p->match, p->conf.say, p->conf.arg);
	p->conf.ended(p->conf.arg, why);
}

static void take_user(struct propose *p, const cJSON *row)
{
	const cJSON *link = json_object(row, "link"), *json = json_object(row, "snapshot");
	const char *rid = json_text(link, "rid"), *dn = json_text(row, "dn"),
		   *state = json_text(link, "state"), *user = json_text(row, "user");
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct snapshot *s;
	const char *why;

	if (!user)
		return;
	if (rid)
		match_taken(p->match, rid);
	/* who was unlinked by a person stays so until that person links again */
	if (!json_true(row, "in", false) || !json ||
	    (state && slice_is(slice_of(state), "unmanaged")))
		return;
	json_print(json, &text);
	s = snapshot_parse(buf_slice(&text), &why);
	if (s)
		match_user(p->match, user, dn ? dn : "", rid ? rid : "", s);
	snapshot_free(s);
}

static void part_read(void *arg, const cJSON *result, const char *why);

static void ask_part(struct propose *p, const char *from)
{
	cJSON *fields = cJSON_CreateObject();

	cJSON_AddStringToObject(fields, "target", p->conf.target);
	cJSON_AddTrueToObject(fields, "snapshot");
	cJSON_AddNumberToObject(fields, "most", 500);
	if (from)
		cJSON_AddStringToObject(fields, "from", from);
	ask_put(p->conf.ask, "link_ls", fields, part_read, p);
}

static void part_read(void *arg, const cJSON *result, const char *why)
{
	struct propose *p = arg;
	const cJSON *row;
	const char *next;

	if (!result) {
		p->conf.ended(p->conf.arg, why);
		return;
	}
	cJSON_ArrayForEach (row, json_array(result, "links"))
		take_user(p, row);
	next = json_text(result, "next");
	if (next)
		ask_part(p, next);
	else
		p->probe = probe_list(p->conf.exchange, p->conf.driver, p->conf.of, take_account,
				      listed, p);
}

struct propose *propose_new(const struct propose_conf *conf, struct buf *errors)
{
	struct match *match = match_new(conf->join, conf->by, errors);
	struct propose *p;

	if (!match)
		return NULL;
	p = mem_alloc(sizeof(*p));
	p->conf = *conf;
	p->match = match;
	ask_part(p, NULL);
	return p;
}

void propose_free(struct propose *p)
{
	if (!p)
		return;
	if (p->probe)
		probe_cancel(p->probe);
	match_free(p->match);
	free(p);
}
