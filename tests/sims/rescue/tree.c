/* The organisation: root, its three branches, groups, people. */
#include "rescue.h"

#include <stdlib.h>
#include <string.h>

const char *const node_type_names[NODE_TYPES] = {
	"Root",
	"Masteradministrators",
	"Administrators",
	"Technicians",
	"AdministratorGroup",
	"TechnicianGroup",
	"Masteradministrator",
	"Administrator",
	"Technician",
	"Channel",
};

int64_t tree_id(int32_t number)
{
	return (int64_t)number + NODE_FIRST;
}

bool tree_is_user(const struct node *node)
{
	return node->type == NODE_MASTER || node->type == NODE_ADMIN ||
	       node->type == NODE_TECHNICIAN;
}

bool tree_may_hold(const struct rescue *s, int32_t parent, enum node_type child)
{
	static const unsigned holds[NODE_TYPES] = {
		[NODE_MASTERS] = 1u << NODE_MASTER,
		[NODE_ADMINS] = 1u << NODE_ADMIN_GROUP | 1u << NODE_ADMIN,
		[NODE_TECHNICIANS] = 1u << NODE_GROUP,
		[NODE_ADMIN_GROUP] = 1u << NODE_ADMIN,
		[NODE_GROUP] = 1u << NODE_TECHNICIAN | 1u << NODE_CHANNEL,
	};

	return parent != NODE_NONE && holds[s->nodes[parent].type] & 1u << child;
}

static char **text_of(struct node *node, enum node_text which)
{
	char **all[NODE_TEXTS] = {&node->name, &node->nick, &node->email, &node->ssoid,
				  &node->description};

	return all[which];
}

static struct index *index_of(struct rescue *s, enum node_text which)
{
	return which == TEXT_EMAIL	   ? &s->by_email
	       : which == TEXT_DESCRIPTION ? &s->by_description
					   : NULL;
}

void tree_set(struct rescue *s, int32_t number, enum node_text which, struct slice value)
{
	char **at = text_of(&s->nodes[number], which),
	     *fresh = xdup(value.p ? value.p : "", value.n);
	struct index *index = index_of(s, which);

	if (index && **at)
		index_remove(index, hash_nocase(slice_of(*at)), (uint32_t)number);
	free(*at);
	*at = fresh;
	if (index && *fresh)
		index_add(index, hash_nocase(slice_of(fresh)), (uint32_t)number);
}

void tree_switch(struct rescue *s, int32_t number, bool enabled, bool mobile)
{
	struct node *node = &s->nodes[number];
	bool counts = node->type == NODE_TECHNICIAN;

	s->enabled += (uint64_t)(counts && enabled) - (uint64_t)(counts && node->enabled);
	s->mobile += (uint64_t)(counts && mobile) - (uint64_t)(counts && node->mobile);
	node->enabled = enabled;
	node->mobile = mobile;
}

int32_t tree_add(struct rescue *s, enum node_type type, int32_t parent)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 256;
		s->nodes = xgrow(s->nodes, s->cap * sizeof *s->nodes);
	}
	s->nodes[s->n] = (struct node){.type = type, .parent = parent, .live = true};
	for (int i = 0; i < NODE_TEXTS; i++)
		*text_of(&s->nodes[s->n], (enum node_text)i) = xdup("", 0);
	if (!tree_is_user(&s->nodes[s->n]))
		s->nodes[s->n].enabled = true;
	return (int32_t)s->n++;
}

void tree_remove(struct rescue *s, int32_t number)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->nodes[i].live && s->nodes[i].parent == number)
			tree_remove(s, (int32_t)i);
	}
	tree_switch(s, number, false, false);
	tree_set(s, number, TEXT_EMAIL, (struct slice){NULL, 0});
	tree_set(s, number, TEXT_DESCRIPTION, (struct slice){NULL, 0});
	s->nodes[number].live = false;
}

void tree_plant(struct rescue *s)
{
	static const enum node_type types[] = {NODE_ROOT, NODE_MASTERS, NODE_ADMINS,
					       NODE_TECHNICIANS};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		int32_t number = tree_add(s, types[i], i ? 0 : NODE_NONE);

		tree_set(s, number, TEXT_NAME, slice_of(i ? node_type_names[types[i]] : "Company"));
	}
}

void tree_clear(struct rescue *s)
{
	for (size_t i = 0; i < s->n; i++) {
		for (int k = 0; k < NODE_TEXTS; k++)
			free(*text_of(&s->nodes[i], (enum node_text)k));
	}
	free(s->nodes);
	index_free(&s->by_email);
	index_free(&s->by_description);
	s->by_email = s->by_description = (struct index){0};
	s->nodes = NULL;
	s->n = s->cap = 0;
	s->enabled = s->mobile = 0;
}

int32_t tree_node(const struct rescue *s, struct slice id)
{
	int64_t number;

	if (!slice_number(id, &number) || number < NODE_FIRST ||
	    number - NODE_FIRST >= (int64_t)s->n || !s->nodes[number - NODE_FIRST].live)
		return NODE_NONE;
	return (int32_t)(number - NODE_FIRST);
}

int32_t tree_email(const struct rescue *s, struct slice email)
{
	struct index_walk walk;
	uint32_t e = email.n ? index_first(&s->by_email, hash_nocase(email), &walk) : INDEX_END;

	while (e != INDEX_END && !slice_is_nocase(email, s->nodes[e].email))
		e = index_next(&s->by_email, &walk);
	return e == INDEX_END ? NODE_NONE : (int32_t)e;
}

bool tree_described(const struct rescue *s, struct slice description, int32_t but)
{
	struct index_walk walk;
	uint32_t e = description.n
			     ? index_first(&s->by_description, hash_nocase(description), &walk)
			     : INDEX_END;

	for (; e != INDEX_END; e = index_next(&s->by_description, &walk)) {
		if ((int32_t)e != but && s->nodes[e].type == NODE_TECHNICIAN &&
		    slice_is(description, s->nodes[e].description))
			return true;
	}
	return false;
}

uint64_t tree_nameless(const struct rescue *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->nodes[i].live && tree_is_user(&s->nodes[i]) &&
		     (!*s->nodes[i].name || !*s->nodes[i].email);
	return n;
}

/* ---- for the tests ---- */

static void print_text(struct text *out, const char *name, const char *value)
{
	text_fmt(out, ",\"%s\":", name);
	text_json(out, slice_of(value));
}

void tree_print(struct rescue *s, uint32_t number, struct text *out)
{
	const struct node *node = &s->nodes[number];

	text_fmt(out, "{\"node\":%lld,\"parent\":%lld", (long long)tree_id((int32_t)number),
		 (long long)(node->parent == NODE_NONE ? 0 : tree_id(node->parent)));
	print_text(out, "type", node_type_names[node->type]);
	print_text(out, "group", node->parent == NODE_NONE ? "" : s->nodes[node->parent].name);
	print_text(out, "name", node->name);
	print_text(out, "nick", node->nick);
	print_text(out, "email", node->email);
	print_text(out, "ssoid", node->ssoid);
	print_text(out, "description", node->description);
	text_fmt(out, ",\"enabled\":%s,\"mobile\":%s,\"rpat\":%s,\"password\":\"%s",
		 node->enabled ? "true" : "false", node->mobile ? "true" : "false",
		 node->rpat ? "true" : "false", node->password ? "#" : "");
	if (node->password)
		text_fmt(out, "%016llx", (unsigned long long)node->password);
	text_str(out, "\"}");
}

static int32_t named(const struct rescue *s, const struct json *place, enum node_type type)
{
	if (json_is(place, JSON_NUMBER))
		return tree_node(s, place->string);
	for (size_t i = 0; json_is(place, JSON_STRING) && i < s->n; i++) {
		if (s->nodes[i].live && s->nodes[i].type == type &&
		    slice_is(place->string, s->nodes[i].name))
			return (int32_t)i;
	}
	return NODE_NONE;
}

static enum node_type type_named(struct slice name, enum node_type otherwise)
{
	for (int i = 0; i < NODE_TYPES; i++) {
		if (slice_is_nocase(name, node_type_names[i]))
			return (enum node_type)i;
	}
	return otherwise;
}

static void seed_texts(struct rescue *s, int32_t number, const struct json *object)
{
	static const char *const names[NODE_TEXTS] = {"name", "nick", "email", "ssoid",
						      "description"};

	for (int i = 0; i < NODE_TEXTS; i++)
		tree_set(s, number, (enum node_text)i, json_get_string(object, names[i]));
}

const char *tree_seed_group(struct sim *sim, const struct json *object)
{
	struct rescue *s = sim->state;
	enum node_type type = type_named(json_get_string(object, "type"), NODE_GROUP);
	int32_t parent = type == NODE_ADMIN_GROUP ? 2 : 3;

	if (type == NODE_CHANNEL)
		parent = named(s, json_get(object, "parent"), NODE_GROUP);
	if (!tree_may_hold(s, parent, type))
		return "such a group cannot stand there";
	seed_texts(s, tree_add(s, type, parent), object);
	return NULL;
}

const char *tree_seed_user(struct sim *sim, const struct json *object)
{
	struct rescue *s = sim->state;
	enum node_type type = type_named(json_get_string(object, "type"), NODE_TECHNICIAN);
	int32_t parent = type == NODE_MASTER  ? 1
			 : type == NODE_ADMIN ? 2
					      : named(s, json_get(object, "group"), NODE_GROUP);

	if (!tree_may_hold(s, parent, type))
		return "such a user cannot stand there";
	int32_t number = tree_add(s, type, parent);
	struct slice password = json_get_string(object, "password");
	seed_texts(s, number, object);
	tree_switch(s, number, json_get_bool(object, "enabled", true),
		    json_get_bool(object, "mobile", false));
	s->nodes[number].rpat = json_get_bool(object, "rpat", false);
	if (password.n)
		s->nodes[number].password = hash_bytes(password.p, password.n);
	return NULL;
}

/* An administrator drags a node elsewhere, or changes it, in the Admin Center. */
const char *tree_seed_move(struct sim *sim, const struct json *object)
{
	struct rescue *s = sim->state;
	int32_t number = named(s, json_get(object, "node"), NODE_TECHNICIAN);
	int32_t to = named(s, json_get(object, "to"), NODE_GROUP);

	if (number == NODE_NONE)
		return "no such node";
	if (json_get(object, "to")) {
		if (!tree_may_hold(s, to, s->nodes[number].type))
			return "it cannot stand there";
		s->nodes[number].parent = to;
	}
	tree_switch(s, number, json_get_bool(object, "enabled", s->nodes[number].enabled),
		    json_get_bool(object, "mobile", s->nodes[number].mobile));
	if (json_get(object, "name"))
		tree_set(s, number, TEXT_NAME, json_get_string(object, "name"));
	return NULL;
}
