#include "directory_conf.h"

#include "kerberos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool is_loopback(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
	       strcmp(host, "::1") == 0;
}

static int parse_uri(const char *text, struct directory_uri *ret, struct buf *why)
{
	LDAPURLDesc *url = NULL;
	int rc = ldap_url_parse(text, &url);

	if (rc != LDAP_URL_SUCCESS || url->lud_host == NULL || url->lud_host[0] == '\0' ||
	    (strcasecmp(url->lud_scheme, "ldap") != 0 &&
	     strcasecmp(url->lud_scheme, "ldaps") != 0 &&
	     strcasecmp(url->lud_scheme, "ldapi") != 0)) {
		buf_addf(why,
			 "uris: %s is not ldap://HOST[:PORT], ldaps://HOST[:PORT] or ldapi://PATH",
			 text);
		ldap_free_urldesc(url);
		return -EINVAL;
	}
	*ret = (struct directory_uri){.text = mem_dup(text),
				      .host = mem_dup(url->lud_host),
				      .tls = strcasecmp(url->lud_scheme, "ldaps") == 0,
				      .local = strcasecmp(url->lud_scheme, "ldapi") == 0};
	if (url->lud_port == 0)
		url->lud_port = ret->tls ? LDAPS_PORT : LDAP_PORT;
	snprintf(ret->port, sizeof(ret->port), "%u", (unsigned)url->lud_port & 0xffff);
	ldap_free_urldesc(url);
	return 0;
}

static int check_uri(const struct directory_conf *c, const struct directory_uri *u, struct buf *why)
{
	if (u->tls && c->starttls) {
		buf_addf(why,
			 "tls.starttls: %s is encrypted already; use ldap:// or leave starttls out",
			 u->text);
		return -EINVAL;
	}
	if (c->gssapi && (u->tls || c->starttls)) {
		buf_addf(why,
			 "bind.method: gssapi seals the connection by itself; use ldap:// without "
			 "starttls, not %s",
			 u->text);
		return -EINVAL;
	}
	if (!c->gssapi && !u->tls && !u->local && !c->starttls && !is_loopback(u->host)) {
		buf_addf(why,
			 "uris: %s would send the password in the clear; use ldaps://, or "
			 "tls.starttls: true",
			 u->text);
		return -EINVAL;
	}
	return 0;
}

static int read_uris(struct directory_conf *c, struct buf *why)
{
	const char *text;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (text = conf_item(c->source, "uris", i)) != NULL; i++) {
		struct directory_uri u = {0};

		rc = parse_uri(text, &u, why);
		if (rc != 0)
			break;
		c->uris = mem_resize(c->uris, (c->uris_n + 1) * sizeof(*c->uris));
		c->uris[c->uris_n++] = u;
		rc = check_uri(c, &c->uris[c->uris_n - 1], why);
	}
	if (rc == 0 && c->uris_n == 0) {
		buf_adds(why, "uris: at least one server is needed");
		rc = -EINVAL;
	}
	return rc;
}

static int read_kerberos(struct directory_conf *c, const struct conf_node *bind, struct buf *why)
{
	const char *keytab = conf_text(bind, "keytab");
	const char *principal = conf_text(bind, "principal");

	if (keytab == NULL || keytab[0] == '\0' || principal == NULL || principal[0] == '\0') {
		buf_adds(why, "bind.keytab, bind.principal: both are needed with method gssapi");
		return -EINVAL;
	}
	if (access(keytab, R_OK) != 0) {
		buf_addf(why, "bind.keytab: %s cannot be read: %s", keytab, strerror(errno));
		return -EINVAL;
	}
	c->keytab = mem_dup(keytab);
	c->principal = mem_dup(principal);
	kerberos_init();
	return 0;
}

static int read_bind(struct directory_conf *c, const struct conf_node *bind, struct buf *why)
{
	struct secret_ref ref;
	const char *dn = conf_text(bind, "dn");

	if (c->gssapi)
		return read_kerberos(c, bind, why);
	if (dn == NULL || dn[0] == '\0') {
		buf_adds(why, "bind.dn: needed with method simple");
		return -EINVAL;
	}
	/* RFC 4513 5.1.2: a name without a password would "succeed" as anonymous. */
	if (!conf_secret(bind, "password", &ref)) {
		buf_adds(why, "bind.password: needed with method simple");
		return -EINVAL;
	}
	c->bind_dn = mem_dup(dn);
	return 0;
}

struct directory_conf *directory_conf_new(const struct conf_node *source, struct buf *why)
{
	const struct conf_node *tls = conf_section(source, "tls");
	const struct conf_node *bind = conf_section(source, "bind");
	const struct conf_node *keepalive = conf_section(source, "keepalive");
	struct directory_conf *c = mem_alloc(sizeof(*c));
	bool encrypted = false;

	*c = (struct directory_conf){
		.source = source,
		.base = mem_dup(conf_text(source, "base_dn")),
		.ca_file = mem_dup(conf_text(tls, "ca_file")),
		.starttls = conf_bool(tls, "starttls"),
		.gssapi = strcmp(conf_text(bind, "method"), "gssapi") == 0,
		.keepalive_idle_s = (int)(conf_int(keepalive, "idle") / 1000),
		.keepalive_interval_s = (int)(conf_int(keepalive, "interval") / 1000),
		.keepalive_probes = (int)conf_int(keepalive, "probes"),
		.network_timeout_ms = conf_int(source, "network_timeout"),
		.operation_timeout_ms = conf_int(source, "operation_timeout"),
	};
	if (read_bind(c, bind, why) != 0 || read_uris(c, why) != 0)
		goto failed;
	for (size_t i = 0; i < c->uris_n; i++)
		encrypted = encrypted || c->uris[i].tls || c->starttls;
	if (encrypted && (c->ca_file == NULL || access(c->ca_file, R_OK) != 0)) {
		buf_addf(why, "tls.ca_file: %s cannot be read: %s",
			 c->ca_file != NULL ? c->ca_file : "(none)", strerror(errno));
		goto failed;
	}
	if (dn_hash(c->base) == 0) {
		buf_addf(why, "base_dn: %s is not a DN", c->base);
		goto failed;
	}
	return c;
failed:
	directory_conf_free(c);
	return NULL;
}

void directory_conf_free(struct directory_conf *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->uris_n; i++) {
		free(c->uris[i].text);
		free(c->uris[i].host);
	}
	free(c->uris);
	free(c->base);
	free(c->ca_file);
	free(c->bind_dn);
	free(c->keytab);
	free(c->principal);
	free(c);
}

size_t directory_conf_uris(const struct directory_conf *c)
{
	return c->uris_n;
}

const char *directory_conf_uri(const struct directory_conf *c, size_t i)
{
	return i < c->uris_n ? c->uris[i].text : NULL;
}

const char *directory_conf_base(const struct directory_conf *c)
{
	return c->base;
}

struct secret *directory_password(const struct directory_conf *c,
				  struct directory_failure *ret_failure)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct secret *password;

	*ret_failure = (struct directory_failure){.problem = SOURCE_NONE};
	if (c->gssapi)
		return NULL;
	password = conf_load_secret(conf_section(c->source, "bind"), "password", &why);
	if (password == NULL) {
		*ret_failure = (struct directory_failure){.step = DIRECTORY_BIND,
							  .problem = SOURCE_DENIED};
		snprintf(ret_failure->text, sizeof(ret_failure->text),
			 "bind: the password cannot be read: %.400s",
			 why.n > 0 ? why.p : "none is set");
	}
	return password;
}

/* ---- what to ask for ---- */

struct names {
	char **p;
	size_t n;
};

static void names_add(struct names *names, const char *name)
{
	if (name == NULL || name[0] == '\0' || entry_attr_is_secret(name))
		return;
	for (size_t i = 0; i < names->n; i++)
		if (strcasecmp(names->p[i], name) == 0)
			return;
	names->p = mem_resize(names->p, (names->n + 2) * sizeof(*names->p));
	names->p[names->n++] = mem_dup(name);
	names->p[names->n] = NULL;
}

static void names_add_all(struct names *names, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++)
		names_add(names, *list);
}

/* The attribute names of a filter: what stands between '(' and the operator; options and rule ids cut. */
static void names_add_filter(struct names *names, const char *filter)
{
	for (const char *p = filter; p != NULL && *p != '\0'; p++) {
		size_t n;
		char *name;

		if (*p != '(' || p[1] == '&' || p[1] == '|' || p[1] == '!' || p[1] == '(')
			continue;
		n = strcspn(p + 1, "=<>~:;()");
		name = slice_dup((struct slice){p + 1, n});
		names_add(names, name);
		free(name);
	}
}

static void names_add_filters(struct names *names, const struct conf_node *source)
{
	const struct conf_node *route;

	names_add_filter(names, conf_text(conf_section(source, "users"), "filter"));
	for (size_t i = 0; (route = conf_at(source, "routes", i, NULL)) != NULL; i++)
		names_add_filter(names, conf_text(route, "filter"));
}

/* "userCertificate;binary" asks for base64 (image.c); servers are asked for the plain name. */
static void names_add_configured(struct names *names, const struct conf_node *users,
				 const char *key)
{
	const char *name;

	for (size_t i = 0; (name = conf_item(users, key, i)) != NULL; i++) {
		size_t n = strlen(name);
		char *plain = mem_dup(name);

		if (n > 7 && strcasecmp(name + n - 7, ";binary") == 0)
			plain[n - 7] = '\0';
		names_add(names, plain);
		free(plain);
	}
}

char **directory_attrs_new(const struct conf_node *source, const struct entry_schema *schema,
			   const char *const *more)
{
	const struct conf_node *users = conf_section(source, "users");
	struct names names = {0};

	names_add(&names, schema->id_attr);
	names_add(&names, "objectClass");
	names_add_configured(&names, users, "attributes");
	names_add_configured(&names, users, "references");
	names_add_filters(&names, source);
	names_add_all(&names, schema->member_attrs);
	names_add_all(&names, schema->account_attrs);
	names_add_all(&names, more);
	return names.p;
}

char **directory_attrs_survey_new(const struct conf_node *source, const struct entry_schema *schema)
{
	struct names names = {0};

	names_add(&names, schema->id_attr);
	names_add(&names, "objectClass");
	names_add(&names, "uid");
	names_add(&names, "primaryGroupID");
	names_add(&names, "objectSid");
	names_add_filters(&names, source);
	names_add_all(&names, schema->member_attrs);
	return names.p;
}

void directory_attrs_free(char **attrs)
{
	for (char **a = attrs; a != NULL && *a != NULL; a++)
		free(*a);
	free(attrs);
}

void directory_filter_all(const struct conf_node *source, const struct entry_schema *schema,
			  struct buf *out)
{
	const char *users = conf_text(conf_section(source, "users"), "filter");
	bool wrap = users != NULL && users[0] != '\0' && users[0] != '(';

	if (users == NULL || users[0] == '\0')
		users = schema->user_filter;
	buf_addf(out, "(|%s%s%s%s%s)", wrap ? "(" : "", users, wrap ? ")" : "",
		 schema->group_filter, schema->container_filter);
}

void directory_guid_dn(const struct id *id, struct buf *out)
{
	char text[ID_TEXT];

	id_format(id, text);
	buf_addf(out, "<GUID=%s>", text);
}

void directory_filter_bytes(struct buf *out, const char *attr, const void *p, size_t n)
{
	const uint8_t *b = p;

	buf_addf(out, "(%s=", attr);
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "\\%02x", b[i]);
	buf_addc(out, ')');
}

void directory_filter_text(struct buf *out, const char *attr, const char *value)
{
	buf_addf(out, "(%s=", attr);
	for (; *value != '\0'; value++) {
		if (strchr("*()\\", *value) != NULL)
			buf_addf(out, "\\%02x", (unsigned)(unsigned char)*value);
		else
			buf_addc(out, *value);
	}
	buf_addc(out, ')');
}
