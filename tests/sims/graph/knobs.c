#include <string.h>

#include "graph.h"

extern struct graph graph_state; /* main.c */

#define K	     graph_state.knobs
#define FLAG(name)   KNOB_FLAG_OF(K, name)
#define NUMBER(name) KNOB_NUMBER_OF(K, name)
#define STRING(name) KNOB_STRING_OF(K, name)

const struct knob graph_knob_table[] = {
	STRING(domains),	 STRING(roles),
	NUMBER(token_seconds),	 NUMBER(writes),
	NUMBER(writes_ms),	 NUMBER(units),
	NUMBER(units_ms),	 NUMBER(lag_ms),
	NUMBER(licence_busy_ms), NUMBER(page_default),
	NUMBER(page_max),	 NUMBER(batch_throttle_status),
	NUMBER(delta_seconds),	 FLAG(fractional_retry_after),
};
const size_t graph_knob_count = sizeof graph_knob_table / sizeof *graph_knob_table;

void graph_knobs_default(struct graph *g)
{
	static const char domains[] = "contoso.com,example.com,example.org,contoso.onmicrosoft.com";
	static const char roles[] =
		"User.ReadWrite.All Directory.Read.All GroupMember.ReadWrite.All "
		"Group.ReadWrite.All LicenseAssignment.ReadWrite.All "
		"Organization.Read.All RoleManagement.Read.Directory";

	memcpy(g->knobs.domains, domains, sizeof domains);
	memcpy(g->knobs.roles, roles, sizeof roles);
	g->knobs.token_seconds = 3599;
	g->knobs.writes_ms = 150000;
	g->knobs.units_ms = 10000;
	g->knobs.batch_throttle_status = 200;
	g->knobs.page_default = 100;
	g->knobs.page_max = 999;
	g->knobs.delta_seconds = INT64_C(7) * 24 * 3600;
}
