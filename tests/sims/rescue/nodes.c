/* The account, the hierarchy, groups, moving and deleting. */
#include "rescue.h"

static void pair_number(struct form *f, const char *key, int64_t number)
{
	char digits[24];
	struct text text = {digits, 0, sizeof digits};

	text_number(&text, number);
	answer_pair(f, key, slice_from(&text));
}

void nodes_account(struct form *f)
{
	answer_begin(f);
	answer_record(f);
	pair_number(f, "AccountID", 4711);
	answer_pair(f, "Organization", slice_of(f->s->nodes[0].name));
	pair_number(f, "AdminID", tree_id(1));
	pair_number(f, "TechID", 0);
	answer_pair(f, "Email", slice_of(f->s->email ? f->s->email : ""));
	answer_end(f);
}

static void one_node(struct form *f, int32_t number)
{
	const struct node *node = &f->s->nodes[number];

	answer_record(f);
	pair_number(f, "NodeID", tree_id(number));
	pair_number(f, "ParentID", node->parent == NODE_NONE ? 0 : tree_id(node->parent));
	answer_pair(f, "Name", slice_of(node->name));
	answer_pair(f, "Email", slice_of(node->email));
	answer_pair(f, "Description", slice_of(node->description));
	answer_pair(f, "Status", node->enabled ? SLICE("Offline") : SLICE("Disabled"));
	answer_pair(f, "Type", slice_of(node_type_names[node->type]));
}

void nodes_hierarchy(struct form *f)
{
	struct rescue *s = f->s;
	bool only = slice_is_nocase(form_get(f, "isnode"), "true");
	bool no_offline = slice_is_nocase(form_get(f, "filteroffline"), "true");
	int32_t number = only ? tree_node(s, form_get(f, "node")) : NODE_NONE;

	if (only && number == NODE_NONE) {
		answer_word(f, "INVALIDPARAM_NODE");
		return;
	}
	answer_begin(f);
	for (size_t i = 0; i < s->n; i++) {
		bool hidden = no_offline && s->nodes[i].type == NODE_TECHNICIAN;

		if (s->nodes[i].live && (only ? number == (int32_t)i : !hidden))
			one_node(f, (int32_t)i);
	}
	answer_end(f);
}

void nodes_group(struct form *f)
{
	int32_t number = tree_node(f->s, form_get(f, "node"));
	const struct node *node = number == NODE_NONE ? NULL : &f->s->nodes[number];

	if (!node || (node->type != NODE_GROUP && node->type != NODE_ADMIN_GROUP)) {
		answer_word(f, "INVALIDPARAM_NODE");
		return;
	}
	answer_begin(f);
	answer_record(f);
	pair_number(f, "NODEID", tree_id(number));
	answer_pair(f, "NAME", slice_of(node->name));
	answer_pair(f, "DESCRIPTION", slice_of(node->description));
	answer_pair(f, "TYPE", slice_of(node_type_names[node->type]));
	answer_pair(f, "PERMISSIONS", SLICE("RemoteControl, RemoteView"));
	answer_pair(f, "LOCKEDPERMISSIONS", SLICE(""));
	answer_pair(f, "ISENABLED", SLICE("True"));
	pair_number(f, "STANDARDCONCURRENTLIMIT", 0);
	pair_number(f, "MOBILECONCURRENTLIMIT", 0);
	pair_number(f, "RPATCONCURRENTLIMIT", 0);
	answer_end(f);
}

void nodes_create_group(struct form *f)
{
	int32_t parent = tree_node(f->s, form_get(f, "parent")), number;
	enum node_type type = parent == 2 ? NODE_ADMIN_GROUP : NODE_GROUP;

	if (!tree_may_hold(f->s, parent, type)) {
		answer_word(f, "INVALIDPARAM_PARENT");
		return;
	}
	number = tree_add(f->s, type, parent);
	rescue_commit(f, "create_group", number);
	answer_word(f, "OK");
	text_fmt(&f->call->answer->body, " [%lld]", (long long)tree_id(number));
}

/* Both spellings that the manual has. */
void nodes_move(struct form *f)
{
	struct rescue *s = f->s;
	int32_t number = tree_node(s, form_either(f, "node", "nodeID"));
	int32_t to = tree_node(s, form_either(f, "targetnode", "targetNodeID"));

	if (number == NODE_NONE) {
		answer_word(f, "INVALIDPARAM_NODE");
	} else if (to == NODE_NONE) {
		answer_word(f, "INVALIDPARAM_TARGETNODE");
	} else if (!tree_may_hold(s, to, s->nodes[number].type)) {
		answer_word(f, "INVALID_MOVE");
	} else {
		s->nodes[number].parent = to;
		rescue_commit(f, "move", number);
		answer_word(f, "OK");
	}
}

void nodes_delete(struct form *f)
{
	int32_t number = tree_node(f->s, form_either(f, "node", "nodeID"));

	if (number == NODE_NONE) {
		answer_word(f, "INVALIDPARAM_NODE");
	} else if (number < 4) {
		answer_word(f, "INVALID_DELETE");
	} else {
		rescue_commit(f, "delete", number);
		tree_remove(f->s, number);
		answer_word(f, "OK");
	}
}
