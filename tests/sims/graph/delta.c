#include <stdlib.h>
#include <string.h>

#include "graph.h"

/* A token is "FROM-TO-NEXT-TIME": changes after FROM up to TO, from user NEXT on, made at TIME (s). */
struct position {
	int64_t from, to, next, made_s;
};

static bool read_token(struct slice s, struct position *ret)
{
	return slice_number(slice_cut(&s, '-'), &ret->from) &&
	       slice_number(slice_cut(&s, '-'), &ret->to) &&
	       slice_number(slice_cut(&s, '-'), &ret->next) && slice_number(s, &ret->made_s);
}

static void print_link(struct graph *g, struct sim_call *call, const char *name,
		       const struct position *at, const struct query *q)
{
	struct text *out = &call->answer->body;
	bool last = !strcmp(name, "deltaLink");

	text_fmt(out, ",\"@odata.%s\":\"", name);
	graph_base(g, call, out);
	text_fmt(out, "/users/delta?%s=%lld-%lld-%lld-%lld", last ? "$deltatoken" : "$skiptoken",
		 (long long)at->from, (long long)at->to, (long long)at->next,
		 (long long)at->made_s);
	if (q->selects) {
		text_str(out, "&$select=");
		text_percent_encode(out, slice_from(&q->select));
	}
	text_char(out, '"');
}

static void print_one(struct graph *g, const struct query *q, uint32_t number, struct text *out)
{
	const struct user *user = &g->dir.users[number];
	char id[UUID_TEXT + 1];

	uuid_print(user->id, id);
	if (user->live) {
		struct text rest = {0};
		bool has_id = !q->selects || slice_find(slice_from(&q->select), SLICE("id"));

		text_char(&rest, '{');
		query_print_user(g, q, number, &rest);
		text_str(out, "{");
		if (!has_id)
			text_fmt(out, "\"id\":\"%s\",", id);
		text_add(out, rest.p + 1, rest.n - 1);
		text_char(out, '}');
		text_free(&rest);
	} else {
		text_fmt(out, "{\"id\":\"%s\",\"@removed\":{\"reason\":\"%s\"}}", id,
			 user->purged ? "deleted" : "changed");
	}
}

static void print_changes(struct graph *g, struct sim_call *call, struct position *at,
			  const struct query *q)
{
	struct text *out = &call->answer->body;
	int64_t left = q->top;
	uint32_t i = (uint32_t)at->next;
	bool first = true;

	text_str(out, "\"value\":[");
	for (; i < g->dir.n_users && left > 0; i++) {
		const struct user *user = &g->dir.users[i];

		if ((int64_t)user->change <= at->from || (!at->from && !user->live))
			continue;
		text_str(out, first ? "" : ",");
		print_one(g, q, i, out);
		first = false;
		left--;
	}
	text_char(out, ']');
	at->next = i;
	if (i < g->dir.n_users) {
		print_link(g, call, "nextLink", at, q);
	} else {
		struct position done = {at->to, 0, 0, sim_now_ms(g->sim) / 1000};

		print_link(g, call, "deltaLink", &done, q);
	}
	text_char(out, '}');
}

void delta_route(struct graph *g, struct sim_call *call)
{
	struct position at = {.to = (int64_t)g->dir.change, .made_s = sim_now_ms(g->sim) / 1000};
	struct text token = {0};
	struct query q;
	bool good = true;

	if (!graph_allowed(g, call, "User.Read.All User.ReadWrite.All Directory.Read.All") ||
	    !query_read(g, call, &q))
		return;
	bool latest = false;
	if (q.skip.n) {
		good = read_token(slice_from(&q.skip), &at);
	} else if (http_param(call->query, "$deltatoken", &token)) {
		latest = slice_is(slice_from(&token), "latest");
		good = latest || read_token(slice_from(&token), &at);
		at.to = (int64_t)g->dir.change;
		at.next = latest ? g->dir.n_users : 0;
	}
	if (!good || sim_now_ms(g->sim) / 1000 > at.made_s + g->knobs.delta_seconds) {
		graph_error(g, call, 410, "syncStateNotFound",
			    "Resync required. The sync state generation is not found.");
		text_str(&call->answer->headers, "Location: ");
		graph_base(g, call, &call->answer->headers);
		text_str(&call->answer->headers, "/users/delta?$deltatoken=\r\n");
	} else {
		text_char(&call->answer->body, '{');
		graph_context(g, call, "users");
		print_changes(g, call, &at, &q);
		graph_json(call, 200);
	}
	text_free(&token);
	query_done(&q);
}
