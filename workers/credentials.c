#include "credentials.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *method, *secret; /* key of the secret; NULL: may be left out */
	enum oauth_method oauth;
} methods[] = {
	{"bearer", "token", OAUTH_BEARER},
	{"client_secret", "client_secret", OAUTH_CLIENT_SECRET},
	{"certificate", "private_key", OAUTH_CERTIFICATE},
	{"jwt", "private_key", OAUTH_JWT},
	{"password", NULL, OAUTH_PASSWORD},
	{"login", NULL, OAUTH_LOGIN},
};

/* The token's address is on the host that the operator gave; where none is given it is the driver's word. */
static void make_token_url(struct credentials *c, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf allowed = {0}, asked = {0};
	const char *login = conf_text(c->conf, "login_url");

	if (!c->driver->token_url || !c->driver->token_url(c->target, &c->token_url))
		buf_adds(&c->token_url, login ? login : conf_text(c->conf, "url"));
	if (oauth_origin(c->token_url.p, &asked) < 0 ||
	    (login && (oauth_origin(login, &allowed) < 0 || strcmp(allowed.p, asked.p) != 0))) {
		conf_where(c->conf, "login_url", errors);
		buf_adds(errors, ": login_url: the token's address is not on that host\n");
	}
}

/* Where the token's answer may send its bearer: the host of url, the vendor's domains, what the operator adds. */
static void make_hosts(struct credentials *c, const struct conf_node *auth)
{
	CLEANUP(buf_cleanup) struct buf origin = {0};
	const char *const *domain = c->driver->token_domains;
	const char *item;

	c->hosts = mem_array(1, sizeof(*c->hosts));
	if (oauth_origin(conf_text(c->conf, "url"), &origin) == 0)
		c->hosts[c->hosts_n++] = mem_dup(strstr(origin.p, "//") + 2);
	for (; domain && *domain; domain++) {
		c->hosts = mem_resize(c->hosts, (c->hosts_n + 1) * sizeof(*c->hosts));
		c->hosts[c->hosts_n++] = mem_dup(*domain);
	}
	for (size_t i = 0; (item = conf_item(auth, "api_hosts", i)); i++) {
		c->hosts = mem_resize(c->hosts, (c->hosts_n + 1) * sizeof(*c->hosts));
		c->hosts[c->hosts_n++] = mem_dup(item);
	}
	c->hosts = mem_resize(c->hosts, (c->hosts_n + 1) * sizeof(*c->hosts));
	c->hosts[c->hosts_n] = NULL;
}

static void load_secret(const struct conf_node *auth, const char *key, struct secret **ret,
			struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf own = {0};

	*ret = conf_load_secret(auth, key, &own);
	if (own.n)
		buf_addf(why, "%s: %s", key, own.p);
}

static struct oauth_conf oauth_conf_of(struct credentials *c, const struct conf_node *auth)
{
	const char *scope = conf_text(auth, "scope"), *audience = conf_text(auth, "audience");
	const char *login = conf_text(c->conf, "login_url");

	make_hosts(c, auth);
	if (!audience)
		audience = login ? login : conf_text(c->conf, "url");
	return (struct oauth_conf){
		.client_id = conf_text(auth, "client_id"),
		.scope = scope ? scope : c->driver->token_scope,
		.certificate = conf_text(auth, "certificate"),
		.basic = conf_bool(auth, "basic"),
		.username = conf_text(auth, "username"),
		.audience = audience,
		.base_member = c->driver->token_base,
		.base_hosts = (const char *const *)c->hosts,
		.hints = c->driver->token_hints,
		.login = c->driver->login,
		.timeout_ms = conf_int(conf_section(c->conf, "http"), "timeout"),
	};
}

/* Each log-in ends the session of the one before: two processes would throw each other out by turns. */
static void check_login(const struct credentials *c, struct buf *why)
{
	if (!c->driver->login)
		buf_addf(why, "method: driver %s has no log-in of its own", c->driver->name);
	else if (strcmp(c->instance, c->name) != 0)
		buf_adds(why, "method: login allows one worker process; use a token for more");
}

bool credentials_load(struct credentials *c, struct buf *errors)
{
	const struct conf_node *auth = conf_section(c->conf, "auth");
	CLEANUP(buf_cleanup) struct buf why = {0};
	size_t i = 0;

	c->oauth = oauth_conf_of(c, auth);
	while (strcmp(methods[i].method, conf_text(auth, "method")) != 0)
		i++;
	c->oauth.method = methods[i].oauth;
	load_secret(auth, methods[i].secret ? methods[i].secret : "client_secret", &c->secret,
		    &why);
	load_secret(auth, "password", &c->password, &why);
	load_secret(auth, "security_token", &c->suffix, &why);
	if (!why.n && methods[i].secret && !c->secret)
		buf_addf(&why, "%s: missing", methods[i].secret);
	if (c->oauth.method == OAUTH_LOGIN)
		check_login(c, &why);
	if (c->oauth.method != OAUTH_BEARER)
		make_token_url(c, errors);
	c->oauth.token_url = c->token_url.p;
	c->oauth.secret = c->secret;
	c->oauth.password = c->password;
	c->oauth.suffix = c->suffix;
	if (!why.n)
		return true;
	conf_where(c->conf, "auth", errors);
	buf_addf(errors, ": auth.%s\n", why.p);
	return false;
}

const char *credentials_warning(const struct credentials *c)
{
	if (c->oauth.method != OAUTH_PASSWORD)
		return NULL;
	return "auth.method: password is being retired (RFC 9700 2.4, and by vendors); use "
	       "client_secret or jwt";
}

void credentials_done(struct credentials *c)
{
	secret_free(c->secret);
	secret_free(c->password);
	secret_free(c->suffix);
	for (size_t i = 0; i < c->hosts_n; i++)
		free(c->hosts[i]);
	free(c->hosts);
	buf_done(&c->token_url);
}
