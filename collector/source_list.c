#include "source.h"

#include <string.h>

/* Every driver that the configuration can name. */
static const struct source_driver *const drivers[] = {&source_dirsync, &source_syncrepl,
						      &source_poll};

const struct source_driver *source_driver_named(const char *name)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	}
	return NULL;
}
