/* `groups`, `licences` and `licence_policy` as configured. */
#include "licence_own.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static size_t count_of(const struct conf_node *conf, const char *list)
{
	size_t n = 0;

	while (conf_at(conf, list, n, NULL))
		n++;
	return n;
}

static cJSON *plans_of(const struct conf_node *rule)
{
	cJSON *plans = cJSON_CreateArray();
	const char *plan;

	for (size_t i = 0; (plan = conf_item(rule, "disabled_plans", i)); i++)
		cJSON_AddItemToArray(plans, cJSON_CreateString(plan));
	return plans;
}

static void take_rules(const struct conf_node *conf, struct licence *l)
{
	size_t n = count_of(conf, "licences"), groups = count_of(conf, "groups");

	l->plans = cJSON_CreateArray();
	l->rules = mem_array(n + 1, sizeof(*l->rules));
	for (size_t i = 0; i < n; i++) {
		const struct conf_node *rule = conf_at(conf, "licences", i, NULL);
		cJSON *plans = plans_of(rule);

		cJSON_AddItemToArray(l->plans, plans);
		l->rules[i] = (struct licence_rule){.group = conf_text(rule, "group"),
						    .remote = conf_text(rule, "sku"),
						    .plans = plans->child ? plans : NULL};
	}
	l->group_rules = mem_array(groups + 1, sizeof(*l->group_rules));
	for (size_t i = 0; i < groups; i++) {
		const struct conf_node *rule = conf_at(conf, "groups", i, NULL);

		l->group_rules[i] = (struct licence_rule){.group = conf_text(rule, "group"),
							  .remote = conf_text(rule, "remote"),
							  .kind = conf_text(rule, "kind")};
	}
}

static unsigned reasons_of(const struct conf_node *policy, const char *key)
{
	const char *name;
	unsigned reasons = 0;

	for (size_t i = 0; (name = conf_item(policy, key, i)); i++)
		reasons |= licence_reason_bit(name);
	return reasons;
}

static const char **texts_of(const struct conf_node *policy, const char *key)
{
	const char **texts;
	size_t n = 0;

	while (conf_item(policy, key, n))
		n++;
	texts = mem_array(n + 1, sizeof(*texts));
	for (size_t i = 0; i < n; i++)
		texts[i] = conf_item(policy, key, i);
	return texts;
}

static void take_exempt(const struct conf_node *policy, struct licence *l)
{
	size_t groups = 0;

	l->exempt_groups = texts_of(policy, "exempt");
	for (size_t i = 0; l->exempt_groups[i]; i++) {
		const char *text = l->exempt_groups[i];
		struct id id;

		if (id_parse(slice_of(text), &id) < 0) {
			l->exempt_groups[groups++] = text;
			continue;
		}
		l->exempt_ids =
			mem_resize(l->exempt_ids, (l->exempt_ids_n + 1) * sizeof(*l->exempt_ids));
		l->exempt_ids[l->exempt_ids_n++] = id;
	}
	l->exempt_groups[groups] = NULL;
}

static bool take_schedule(const struct conf_node *policy, struct licence *l, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (strcmp(conf_text(policy, "reinstate"), "schedule") != 0)
		return true;
	l->schedule = schedule_new(conf_text(policy, "schedule"), conf_text(policy, "zone"), &why);
	if (l->schedule)
		return true;
	conf_where(policy, "schedule", errors);
	buf_addf(errors, ": licence_policy.schedule: %s\n", why.p);
	return false;
}

struct licence *licence_new(const struct conf_node *conf, struct buf *errors)
{
	const struct conf_node *policy = conf_section(conf, "licence_policy");
	struct licence *l = mem_alloc(sizeof(*l));

	take_rules(conf, l);
	l->revoke = reasons_of(policy, "revoke_when");
	l->reinstate_for = reasons_of(policy, "reinstate_for");
	l->inactive_ms = conf_int(policy, "inactive_after");
	l->only = texts_of(policy, "only");
	l->takes_groups = conf_bool(policy, "groups");
	l->action = conf_text(policy, "action");
	take_exempt(policy, l);
	if (take_schedule(policy, l, errors))
		return l;
	licence_free(l);
	return NULL;
}

void licence_free(struct licence *l)
{
	if (!l)
		return;
	free(l->rules);
	free(l->group_rules);
	cJSON_Delete(l->plans);
	free((void *)l->only);
	free((void *)l->exempt_groups);
	free(l->exempt_ids);
	schedule_free(l->schedule);
	free(l);
}

static const struct licence_rule *nth(const struct licence_rule *rules, size_t i)
{
	for (size_t k = 0; rules && rules[k].group; k++) {
		if (k == i)
			return &rules[k];
	}
	return NULL;
}

const struct licence_rule *licence_rule(const struct licence *l, size_t i)
{
	return l ? nth(l->rules, i) : NULL;
}

const struct licence_rule *licence_group_rule(const struct licence *l, size_t i)
{
	return l ? nth(l->group_rules, i) : NULL;
}

bool licence_has_policy(const struct licence *l)
{
	return l && l->revoke;
}

bool licence_takes(const struct licence *l, const char *remote)
{
	if (!l || !l->revoke)
		return false;
	for (size_t i = 0; l->only[i]; i++) {
		if (strcasecmp(l->only[i], remote) == 0)
			return true;
	}
	return !l->only[0];
}

bool licence_takes_groups(const struct licence *l)
{
	return l && l->revoke && l->takes_groups;
}

const char *licence_action(const struct licence *l)
{
	return l ? l->action : "strip";
}
