/* /API/METHOD.aspx, any case. */
#include "rescue.h"

#include <string.h>

static void set_user(struct form *f)
{
	users_set(f, false);
}

static void set_user_v2(struct form *f)
{
	users_set(f, true);
}

static const struct method {
	const char *name;
	void (*fn)(struct form *f);
	bool open, writes; /* open: nobody need be known */
} methods[] = {
	{"login", auth_login, true, false},
	{"logout", auth_logout, true, false},
	{"requestAuthCode", auth_request, true, false},
	{"getAccount", nodes_account, false, false},
	{"getHierarchy_v2", nodes_hierarchy, false, false},
	{"getUser", users_get, false, false},
	{"getUser_v2", users_get, false, false},
	{"getUser_v3", users_get, false, false},
	{"getGroup", nodes_group, false, false},
	{"getGroup_v2", nodes_group, false, false},
	{"createGroup", nodes_create_group, false, true},
	{"createUser", users_create, false, true},
	{"setUser", set_user, false, true},
	{"setUser_v2", set_user_v2, false, true},
	{"moveNode", nodes_move, false, true},
	{"deleteNode", nodes_delete, false, true},
};

static const struct method *method_of(const struct sim_call *call)
{
	struct slice path = call->path;

	if (path.n < 10 || !slice_equal_nocase((struct slice){path.p, 5}, SLICE("/API/")) ||
	    !slice_equal_nocase((struct slice){path.p + path.n - 5, 5}, SLICE(".aspx")))
		return NULL;
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
		if (slice_is_nocase((struct slice){path.p + 5, path.n - 10}, methods[i].name))
			return &methods[i];
	}
	return NULL;
}

void rescue_handle(struct sim *sim, struct sim_call *call)
{
	const struct method *method = method_of(call);
	struct rescue *s = sim->state;
	struct form f = {0};

	form_read(&f, s, call);
	if (!method) {
		answer_page(&f);
	} else if (f.bad) {
		answer_word(&f, "ERROR");
	} else if (method->open || auth_known(&f)) {
		s->calls[method - methods]++;
		method->fn(&f);
	}
	text_free(&f.bytes);
}

bool rescue_writes(struct sim *sim, const struct sim_call *call)
{
	const struct method *method = method_of(call);

	(void)sim;
	return method && method->writes;
}

/* The description where tests keep who it is, else the address. */
static struct slice key_of(const struct node *node)
{
	return slice_of(*node->description ? node->description : node->email);
}

void rescue_key(struct sim *sim, const struct sim_call *call, struct text *ret_key)
{
	struct sim_call copy = *call;
	struct rescue *s = sim->state;
	struct form f = {0};
	int32_t number;

	form_read(&f, s, &copy);
	number = tree_node(s, form_either(&f, "node", "nodeID"));
	struct slice own = form_get(&f, "description"), email = form_get(&f, "email");
	text_slice(ret_key, own.n ? own : number != NODE_NONE ? key_of(&s->nodes[number]) : email);
	text_free(&f.bytes);
}

void rescue_commit(struct form *f, const char *kind, int32_t number)
{
	struct rescue *s = f->s;
	const struct node *node = &s->nodes[number];
	struct sim_call call = *f->call;
	struct text body = {0};
	uint8_t id[16] = {0};
	uint64_t node_id = (uint64_t)tree_id(number);

	for (int i = 0; i < 8; i++)
		id[15 - i] = (uint8_t)(node_id >> 8 * i);
	form_json(f, method_of(&call)->name, &body);
	call.body = slice_from(&body);
	sim_commit(s->sim, &call, kind, id, key_of(node));
	if (!strcmp(kind, "create")) {
		s->sim->stats.creates++;
		s->sim->stats.duplicates += tree_described(s, slice_of(node->description), number);
	}
	s->sim->stats.updates += !strcmp(kind, "update");
	s->sim->stats.deletes += !strcmp(kind, "delete");
	text_free(&body);
}

void rescue_calls(const struct rescue *s, struct text *out)
{
	text_str(out, ",\"calls\":{");
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		text_fmt(out, "%s\"%s\":%llu", i ? "," : "", methods[i].name,
			 (unsigned long long)s->calls[i]);
	text_char(out, '}');
}
