#include "ledger.h"

#include <stdlib.h>

enum { AGENTS_MAX = 256 };

const char *ledger_intern(struct ledger *ledger, struct slice agent)
{
	for (size_t i = 0; i < ledger->n_agents; i++) {
		if (slice_is(agent, ledger->agents[i]))
			return ledger->agents[i];
	}
	if (ledger->n_agents == AGENTS_MAX)
		return "(one of too many)";
	if (!ledger->agents)
		ledger->agents = xalloc(AGENTS_MAX * sizeof *ledger->agents);
	ledger->agents[ledger->n_agents] = xdup(agent.p, agent.n);
	return ledger->agents[ledger->n_agents++];
}

struct ledger_entry *ledger_add(struct ledger *ledger, const char *kind, struct slice key,
				struct slice body)
{
	struct ledger_entry *entry;

	if (ledger->n == ledger->cap) {
		ledger->cap = ledger->cap ? ledger->cap * 2 : 1024;
		ledger->entries = xgrow(ledger->entries, ledger->cap * sizeof *ledger->entries);
	}
	entry = &ledger->entries[ledger->n++];
	*entry = (struct ledger_entry){
		.kind = kind, .key = xdup(key.p, key.n), .hash = hash_bytes(body.p, body.n)};
	if (body.n && ledger->body_bytes + body.n <= ledger->body_bytes_max) {
		entry->body = xdup(body.p, body.n);
		for (char *c = entry->body; *c;
		     c++) /* one line: JSON strings hold no raw line ends */
			if ((unsigned char)*c < ' ')
				*c = ' ';
		ledger->body_bytes += body.n;
	}
	return entry;
}

static void print_string(struct text *out, const char *name, const char *value)
{
	text_fmt(out, ",\"%s\":", name);
	text_json(out, slice_of(value));
}

void ledger_print(const struct ledger *ledger, size_t position, struct text *out)
{
	const struct ledger_entry *e = &ledger->entries[position];

	text_fmt(out, "{\"seq\":%zu,\"time\":%lld", position + 1, (long long)e->time_unix_ms);
	print_string(out, "kind", e->kind);
	print_string(out, "method", e->method);
	print_string(out, "path", e->path);
	print_string(out, "id", e->id);
	print_string(out, "key", e->key);
	print_string(out, "user_agent", e->agent);
	text_fmt(out, ",\"status\":%d,\"cut\":%s,\"late\":%s,\"hash\":\"%016llx\"", e->status,
		 e->cut ? "true" : "false", e->late ? "true" : "false",
		 (unsigned long long)e->hash);
	if (e->body) {
		text_str(out, ",\"body\":");
		text_str(out, e->body);
	}
	text_str(out, "}\n");
}

void ledger_clear(struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->n; i++) {
		free(ledger->entries[i].method);
		free(ledger->entries[i].path);
		free(ledger->entries[i].key);
		free(ledger->entries[i].body);
	}
	ledger->n = 0;
	ledger->body_bytes = 0;
}
