/* getUser, createUser, setUser. */
#include "rescue.h"

#include <string.h>

static void pair_id(struct form *f, const char *key, int32_t number)
{
	char id[24];
	struct text text = {id, 0, sizeof id};

	text_number(&text, number == NODE_NONE ? 0 : tree_id(number));
	answer_pair(f, key, slice_from(&text));
}

static void pair_bool(struct form *f, const char *key, bool on)
{
	answer_pair(f, key, on ? SLICE("True") : SLICE("False"));
}

void users_get(struct form *f)
{
	struct rescue *s = f->s;
	struct slice node = form_get(f, "node"), email = form_get(f, "email");
	int32_t number = node.n ? tree_node(s, node) : tree_email(s, email);

	if (node.n && email.n) {
		answer_word(f, "INVALID_EMAILANDNODEIDBOTHSPECIFIED");
		return;
	}
	if (number == NODE_NONE || !tree_is_user(&s->nodes[number])) {
		answer_word(f, email.n ? "INVALIDPARAM_EMAIL" : "INVALIDPARAM_NODE");
		return;
	}
	const struct node *u = &s->nodes[number];
	answer_begin(f);
	answer_record(f);
	pair_id(f, "NODEID", number);
	answer_pair(f, "NAME", slice_of(u->name));
	answer_pair(f, "NICK", slice_of(u->nick));
	answer_pair(f, "EMAIL", slice_of(u->email));
	answer_pair(f, "SSOID", slice_of(u->ssoid));
	answer_pair(f, "DESCRIPTION", slice_of(u->description));
	answer_pair(f, "TYPE", slice_of(node_type_names[u->type]));
	pair_bool(f, "HASMOBILEADDON", u->mobile);
	pair_bool(f, "HASRPATADDON", u->rpat);
	pair_bool(f, "ISACCOUNTHOLDER", u->type == NODE_MASTER);
	answer_pair(f, "STATUS", u->enabled ? SLICE("Offline") : SLICE("Disabled"));
	answer_end(f);
}

void users_create(struct form *f)
{
	struct rescue *s = f->s;
	static const enum node_type types[] = {NODE_TECHNICIAN, NODE_ADMIN, NODE_MASTER};
	int32_t parent = tree_node(s, form_get(f, "parent")), number;
	size_t i = 0;

	while (i < 3 && !tree_may_hold(s, parent, types[i])) /* the place says what it becomes */
		i++;
	if (i == 3) {
		answer_word(f, "INVALIDPARAM_PARENT");
		return;
	}
	number = tree_add(s, types[i], parent);
	tree_switch(s, number, s->knobs.created_enabled, false);
	rescue_commit(f, "create_node", number);
	answer_word(f, "OK");
	text_fmt(&f->call->answer->body, s->knobs.bare_id ? " %lld" : " [%lld]",
		 (long long)tree_id(number));
}

/* ---- setUser ---- */

struct change {
	int32_t number;
	struct slice text[NODE_TEXTS];
	struct slice password;
	bool enabled, mobile, rpat;
};

static bool name_good(const struct rescue *s, struct slice name)
{
	int64_t letters = 0;

	for (size_t i = 0; i < name.n; i++) {
		letters += ((unsigned char)name.p[i] & 0xc0) != 0x80;
		if ((unsigned char)name.p[i] < ' ')
			return false;
	}
	return name.n > 0 && letters <= s->knobs.name_max;
}

/* local@domain, each part there, a dot within the domain, no blank. */
static bool email_good(struct slice email)
{
	struct slice domain = email, local = slice_cut(&domain, '@');
	const char *dot = domain.n ? memchr(domain.p, '.', domain.n) : NULL;

	if (!local.n || !domain.n || memchr(domain.p, '@', domain.n) || !dot || dot == domain.p ||
	    domain.p[domain.n - 1] == '.')
		return false;
	for (size_t i = 0; i < email.n; i++) {
		if ((unsigned char)email.p[i] <= ' ')
			return false;
	}
	return true;
}

static bool is_true(struct slice value, bool *ret)
{
	*ret = slice_is_nocase(value, "True");
	return *ret || slice_is_nocase(value, "False");
}

static int64_t classes_of(struct slice password)
{
	bool lower = false, upper = false, digit = false, other = false;

	for (size_t i = 0; i < password.n; i++) {
		char c = password.p[i];

		lower |= c >= 'a' && c <= 'z';
		upper |= c >= 'A' && c <= 'Z';
		digit |= c >= '0' && c <= '9';
		other |= !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			   (c >= '0' && c <= '9'));
	}
	return lower + upper + digit + other;
}

/* The word that refuses it, or NULL. */
static const char *password_wrong(const struct form *f, struct slice password)
{
	struct slice again = form_get(f, "confpwd");

	if (again.n != password.n || memcmp(again.p, password.p, password.n) != 0)
		return "ERROR";
	for (size_t i = 0; i < password.n; i++) {
		if ((unsigned char)password.p[i] <= ' ')
			return "INVALIDPARAM_PASSWORD_CANNOT_CONTAIN_WHITESPACE_CHARACTERS";
	}
	if (password.n < 8)
		return "INVALIDPARAM_PASSWORD_HAS_TO_BE_AT_LEAST_8_CHARACTERS_LONG";
	return classes_of(password) < f->s->knobs.password_classes
		       ? "INVALIDPARAM_PASSWORD_HAS_TO_CONTAIN_MORE_KINDS_OF_CHARACTERS"
		       : NULL;
}

static const char *read_person(const struct form *f, struct change *c)
{
	static const char *const names[NODE_TEXTS] = {"name", "nick", "email", "ssoid",
						      "description"};
	int32_t holder;

	c->number = tree_node(f->s, form_get(f, "node"));
	if (c->number == NODE_NONE || !tree_is_user(&f->s->nodes[c->number]))
		return "INVALIDPARAM_NODE";
	for (int i = 0; i < NODE_TEXTS; i++)
		c->text[i] = form_get(f, names[i]);
	if (!name_good(f->s, c->text[TEXT_NAME]))
		return "INVALIDPARAM_NAME";
	if (!email_good(c->text[TEXT_EMAIL]))
		return "INVALIDPARAM_EMAIL";
	holder = tree_email(f->s, c->text[TEXT_EMAIL]);
	if (holder != NODE_NONE && holder != c->number)
		return "INVALIDPARAM_EMAIL_ALREADY_IN_USE";
	return NULL;
}

static const char *read_switches(const struct form *f, bool second, struct change *c)
{
	struct slice status = form_get(f, "status");

	c->enabled = slice_is_nocase(status, "Enabled");
	if (!c->enabled && !slice_is_nocase(status, "Disabled"))
		return "INVALIDPARAM_STATUS";
	if (!is_true(form_get(f, second ? "mobileaddon" : "addons"), &c->mobile))
		return "INVALIDPARAM_MOBILEADDON";
	c->rpat = f->s->nodes[c->number].rpat;
	if (second && !is_true(form_get(f, "rpataddon"), &c->rpat))
		return "INVALIDPARAM_RPATADDON";
	c->password = form_get(f, "pwd");
	return c->password.n ? password_wrong(f, c->password) : NULL;
}

static const char *seat_missing(const struct rescue *s, const struct change *c)
{
	const struct node *u = &s->nodes[c->number];

	if (u->type != NODE_TECHNICIAN)
		return NULL;
	if (c->enabled && !u->enabled && s->knobs.named_seats &&
	    s->enabled >= (uint64_t)s->knobs.named_seats)
		return s->knobs.seat_word;
	if (c->mobile && !u->mobile && s->knobs.mobile_seats &&
	    s->mobile >= (uint64_t)s->knobs.mobile_seats)
		return s->knobs.seat_word;
	return NULL;
}

static bool could_sign_in(const struct rescue *s, const struct change *c)
{
	const struct node *u = &s->nodes[c->number];

	return c->password.n || u->password || c->text[TEXT_SSOID].n;
}

static void apply(struct form *f, const struct change *c)
{
	struct rescue *s = f->s;
	struct node *u = &s->nodes[c->number];
	bool first = !*u->email && u->type == NODE_TECHNICIAN;

	for (int i = 0; i < NODE_TEXTS; i++) {
		if (c->text[i].p || !s->knobs.keep_omitted)
			tree_set(s, c->number, (enum node_text)i, c->text[i]);
	}
	tree_switch(s, c->number, c->enabled, c->mobile);
	u->rpat = c->rpat;
	if (c->password.n)
		u->password = hash_bytes(c->password.p, c->password.n);
	rescue_commit(f, first ? "create" : "update", c->number);
}

void users_set(struct form *f, bool second)
{
	struct change c = {0};
	const char *wrong = read_person(f, &c);

	if (!wrong)
		wrong = read_switches(f, second, &c);
	if (!wrong && c.enabled && !could_sign_in(f->s, &c))
		wrong = "INVALIDPARAM_STATUS";
	if (!wrong)
		wrong = seat_missing(f->s, &c);
	if (!wrong)
		apply(f, &c);
	answer_word(f, wrong ? wrong : "OK");
}
