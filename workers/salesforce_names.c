#include "salesforce_own.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A letter for each five characters: which of them are capitals. */
static char checksum(const char *five)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
	unsigned bits = 0;

	for (unsigned i = 0; i < 5; i++)
		bits |= (unsigned)(five[i] >= 'A' && five[i] <= 'Z') << i;
	return letters[bits];
}

bool salesforce_id(const char *text, char ret[SALESFORCE_ID + 1])
{
	size_t n = text ? strlen(text) : 0;

	if (n != 15 && n != SALESFORCE_ID)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)text[i]))
			return false;
	}
	memcpy(ret, text, 15);
	for (size_t i = 0; i < 3; i++)
		ret[15 + i] = checksum(ret + 5 * i);
	ret[SALESFORCE_ID] = '\0';
	return n == 15 || strncasecmp(ret + 15, text + 15, 3) == 0;
}

/* Ids begin with the three characters of their object; a name of 15 letters that begins so too is taken for an id. */
static const struct {
	const char *field, *object, *prefix, *name;
} objects[] = {
	{"ProfileId", "Profile", "00e", "Name"},
	{"UserRoleId", "UserRole", "00E", "Name"},
	{NULL, "PermissionSet", "0PS", "Name"},
	{NULL, "PermissionSetLicense", "0PL", "DeveloperName"},
	{NULL, "Group", "00G", "DeveloperName"},
};

const char *salesforce_name_field(const char *object)
{
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (strcmp(objects[i].object, object) == 0)
			return objects[i].name;
	}
	return "Name";
}

static const char *prefix_of(const char *object)
{
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (strcmp(objects[i].object, object) == 0)
			return objects[i].prefix;
	}
	return "\n";
}

const char *salesforce_object_of(const char *field)
{
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (objects[i].field && strcasecmp(objects[i].field, field) == 0)
			return objects[i].object;
	}
	return NULL;
}

const char *salesforce_resolve(const struct target *t, const char *object, const char *name,
			       char ret[SALESFORCE_ID + 1])
{
	if (strncmp(name, prefix_of(object), 3) == 0 && salesforce_id(name, ret))
		return ret;
	for (const struct salesforce_name *n = t->names; n; n = n->next) {
		if (strcmp(n->object, object) != 0 || strcasecmp(n->name, name) != 0)
			continue;
		memcpy(ret, n->id, sizeof(n->id));
		return ret;
	}
	return NULL;
}

const char *salesforce_name_of(const struct target *t, const char *object, const char *id)
{
	char whole[SALESFORCE_ID + 1];

	if (!salesforce_id(id, whole))
		return NULL;
	for (const struct salesforce_name *n = t->names; n; n = n->next) {
		if (strcmp(n->object, object) == 0 && strcmp(n->id, whole) == 0)
			return n->name;
	}
	return NULL;
}

void salesforce_learn(struct target *t, const char *object, const char *name, const char *id)
{
	char whole[SALESFORCE_ID + 1], known[SALESFORCE_ID + 1];
	struct salesforce_name *n;

	if (!salesforce_id(id, whole) || salesforce_resolve(t, object, name, known))
		return;
	n = mem_alloc(sizeof(*n));
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (strcmp(objects[i].object, object) == 0)
			n->object = objects[i].object;
	}
	if (!n->object) {
		free(n);
		return;
	}
	n->name = mem_dup(name);
	memcpy(n->id, whole, sizeof(whole));
	n->next = t->names;
	t->names = n;
}

void salesforce_forget(struct target *t)
{
	while (t->names) {
		struct salesforce_name *n = t->names;

		t->names = n->next;
		free(n->name);
		free(n);
	}
}
