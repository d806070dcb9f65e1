/* Every committed write in the order of its commit. */
#pragma once

#include "json.h"

struct ledger_entry {
	int64_t time_unix_ms;
	const char *kind; /* static: create, update, delete, … */
	char *method, *path;
	char id[UUID_TEXT + 1]; /* of the user or group */
	char *key;		/* externalId or onPremisesImmutableId at that moment, "" if none */
	char *body;		/* as sent; NULL once the bodies' budget is used up */
	uint64_t hash;		/* of the body */
	const char *agent;	/* interned */
	int status;
	bool cut;  /* the client was not told */
	bool late; /* applied after the client was told otherwise or gave up */
};

struct ledger {
	struct ledger_entry *entries; /* seq = position + 1 */
	size_t n, cap;
	size_t body_bytes, body_bytes_max;
	char **agents; /* interned User-Agent values */
	size_t n_agents;
};

/* The same pointer for the same text, until the program ends. */
const char *ledger_intern(struct ledger *ledger, struct slice agent);
/* Takes a copy of what the slices hold. The caller fills the rest of the entry that is returned. */
struct ledger_entry *ledger_add(struct ledger *ledger, const char *kind, struct slice key,
				struct slice body);
/* One entry as a JSON line. */
void ledger_print(const struct ledger *ledger, size_t position, struct text *out);
void ledger_clear(struct ledger *ledger);
