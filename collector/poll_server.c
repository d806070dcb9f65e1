#include "poll_server.h"

#include "poll_stamp.h"

#include <stdio.h>
#include <string.h>

void poll_server_done(struct poll_server *s)
{
	directory_attrs_free(s->attrs);
	directory_attrs_free(s->sweep_attrs);
	buf_done(&s->filter);
	*s = (struct poll_server){.flavour = {false, &entry_schema_openldap, "modifyTimestamp"}};
}

void poll_server_set(struct poll_server *s, const struct conf_node *source)
{
	const char *more[] = {s->flavour.stamp, NULL};

	s->attrs = directory_attrs_new(source, s->flavour.schema, more);
	s->sweep_attrs = mem_array(4, sizeof(*s->sweep_attrs));
	s->sweep_attrs[0] = mem_dup(s->flavour.schema->id_attr);
	s->sweep_attrs[1] = mem_dup(s->flavour.stamp);
	s->sweep_attrs[2] = mem_dup("objectClass");
	directory_filter_all(source, s->flavour.schema, &s->filter);
}

void poll_server_base(struct poll_server *s, LDAP *ld, LDAPMessage *m)
{
	struct berval **context = ldap_get_values_len(ld, m, "contextCSN");
	const char *why = "";
	struct entry *e;

	s->base_exists = true;
	for (int i = 0; context && context[i]; i++) {
		if (poll_stamp_valid(context[i]->bv_val) &&
		    strcmp(context[i]->bv_val, s->context) > 0)
			snprintf(s->context, sizeof(s->context), "%s", context[i]->bv_val);
	}
	ldap_value_free_len(context);
	e = entry_new(ld, m, s->flavour.schema, &s->base_id, &why);
	s->base_readable = e && poll_stamp_valid(entry_first(e, s->flavour.stamp));
	entry_free(e);
}
