#include "join.h"

#include "fold.h"

#include <stdlib.h>
#include <string.h>

struct join {
	struct join_rule *rules;
	size_t n;
};

/* Takes the next part of `a+' '+b`. False: the end, or nothing that can stand there (*ret_bad). */
static bool next_part(const char **at, struct slice *ret_part, bool *ret_text, bool *ret_bad)
{
	const char *p = *at + strspn(*at, " "), *end;

	*ret_bad = false;
	if (!*p)
		return false;
	*ret_text = *p == '\'';
	if (*ret_text) {
		end = strchr(p + 1, '\'');
		*ret_part = (struct slice){p + 1, end ? (size_t)(end - p - 1) : 0};
		*ret_bad = !end;
		p = end ? end + 1 : p;
	} else {
		*ret_part = (struct slice){p, strcspn(p, "+' ")};
		*ret_bad = ret_part->n == 0;
		p += ret_part->n;
	}
	p += strspn(p, " ");
	if (*p == '+') {
		p++;
		*ret_bad |= p[strspn(p, " ")] == '\0';
	} else if (*p) {
		*ret_bad = true;
	}
	*at = p;
	return !*ret_bad;
}

static bool local_valid(const char *local)
{
	struct slice part;
	bool text, bad, any = false;

	while (next_part(&local, &part, &text, &bad))
		any |= !text;
	return any && !bad;
}

struct join *join_of(const struct join_rule *rules, size_t n, struct buf *errors)
{
	struct join *j = mem_alloc(sizeof(*j));
	size_t before = errors->n;

	j->rules = mem_array(n ? n : 1, sizeof(*rules));
	for (; j->n < n; j->n++) {
		j->rules[j->n] = (struct join_rule){.remote = mem_dup(rules[j->n].remote),
						    .local = mem_dup(rules[j->n].local),
						    .soft = rules[j->n].soft};
		if (!local_valid(rules[j->n].local))
			buf_addf(errors,
				 "join.%zu.local: expected attribute or "
				 "attribute+'text'+attribute\n",
				 j->n);
	}
	if (errors->n == before)
		return j;
	join_free(j);
	return NULL;
}

struct join *join_new(const struct conf_node *conf, struct buf *errors)
{
	struct join_rule rules[16];
	const struct conf_node *node;
	size_t n = 0;

	for (; n < sizeof(rules) / sizeof(rules[0]) && (node = conf_at(conf, "join", n, NULL)); n++)
		rules[n] = (struct join_rule){.remote = conf_text(node, "remote"),
					      .local = conf_text(node, "local"),
					      .soft = conf_bool(node, "soft")};
	if (conf_at(conf, "join", n, NULL)) {
		conf_where(conf, "join", errors);
		buf_addf(errors, ": join: more than %zu rules\n", n);
		return NULL;
	}
	return join_of(rules, n, errors);
}

void join_free(struct join *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->n; i++) {
		free_cleanup(&j->rules[i].remote);
		free_cleanup(&j->rules[i].local);
	}
	free(j->rules);
	free(j);
}

size_t join_count(const struct join *j)
{
	return j->n;
}

const struct join_rule *join_rule(const struct join *j, size_t i)
{
	return &j->rules[i];
}

bool join_key_stays(const struct join *j)
{
	return j->n > 0 && !j->rules[0].soft &&
	       (strcmp(j->rules[0].local, "id") == 0 ||
		strcmp(j->rules[0].local, "immutable_id") == 0);
}

bool join_value(const struct join *j, size_t i, const struct snapshot *s, struct buf *out)
{
	const char *at = j->rules[i].local;
	struct slice part;
	bool text, bad;

	CLEANUP(buf_cleanup) struct buf raw = {0};

	buf_clear(out);
	while (next_part(&at, &part, &text, &bad)) {
		if (text) {
			buf_add(&raw, part.p, part.n);
			continue;
		}
		CLEANUP(free_cleanup) char *name = slice_dup(part);
		const char *value = snapshot_first(s, name);

		if (!value || !fold_same(value, value))
			return false; /* blanks alone are no value either */
		buf_adds(&raw, value);
	}
	return fold_trim(buf_slice(&raw), out);
}

enum join_outcome join_judge(const struct join *j, size_t i, const struct join_hits *hits,
			     size_t *ret_index)
{
	const struct target_answer *answer = hits->answer;
	struct target_key key = {j->rules[i].remote, hits->value};
	size_t n = 0, hit = 0;

	for (size_t k = 0; k < answer->accounts_n; k++) {
		if (!hits->driver->matches(hits->target, answer->accounts[k].json, &key))
			continue;
		hit = k;
		n++;
	}
	if (n == 0)
		return JOIN_NONE;
	if (n > 1)
		return JOIN_AMBIGUOUS;
	*ret_index = hit;
	if (j->rules[i].soft)
		return answer->accounts[hit].privileged ? JOIN_PRIVILEGED : JOIN_PROPOSAL;
	return JOIN_LINK;
}
