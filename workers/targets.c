#include "target.h"

#include <string.h>

static const struct target_driver *const target_drivers[] = {
	&target_graph, &target_incidentiq, &target_rescue, &target_salesforce, &target_scim};

const struct target_driver *target_driver_named(const char *name)
{
	for (size_t i = 0; i < sizeof(target_drivers) / sizeof(target_drivers[0]); i++) {
		if (strcmp(target_drivers[i]->name, name) == 0)
			return target_drivers[i];
	}
	return NULL;
}
