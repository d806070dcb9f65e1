#include "directory_conf.h"

#include "clock.h"
#include "kerberos.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openldap.h>
#include <poll.h>
#include <pthread.h>
#include <sasl/sasl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef LDAP_PROTO_TCP /* openldap.h has ldap_init_fd, but these stand in a private header */
#define LDAP_PROTO_TCP 1
#define LDAP_PROTO_IPC 3
#endif

enum {
	MESSAGE_MAX = 64 << 20
}; /* four times ENTRY_MAX: an entry that is too large is refused alone */

static const char *const step_names[] = {"resolve", "connect", "tls", "bind"};

const char *directory_step_name(enum directory_step step)
{
	return step < DIRECTORY_STEPS ? step_names[step] : "?";
}

static void fail(struct directory_failure *f, enum directory_step step, int rc, const char *format,
		 ...) __attribute__((format(printf, 4, 5)));

static void fail(struct directory_failure *f, enum directory_step step, int rc, const char *format,
		 ...)
{
	va_list ap;

	*f = (struct directory_failure){.step = step, .problem = SOURCE_UNREACHABLE, .rc = rc};
	va_start(ap, format);
	vsnprintf(f->text, sizeof(f->text), format, ap);
	va_end(ap);
}

/* ---- socket ---- */

static int wait_connected(int fd, int64_t until_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t n = sizeof(error);
	int64_t left = until_ms - clock_boot_ms();
	int rc = poll(&p, 1, left > 0 ? (int)left : 0);

	if (rc == 0)
		return -ETIMEDOUT;
	if (rc < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		return -errno;
	return -error;
}

static int connect_one(const struct sockaddr *address, socklen_t n, int64_t until_ms)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return -errno;
	rc = connect(fd, address, n) == 0 ? 0 : -errno;
	if (rc == -EINPROGRESS)
		rc = wait_connected(fd, until_ms);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* Keepalive and TCP_USER_TIMEOUT find a peer that vanished; a hung provider process is found by the heartbeat. */
static void tune(const struct directory_conf *c, int fd)
{
	int on = 1;
	int user_timeout_ms =
		(c->keepalive_idle_s + c->keepalive_interval_s * c->keepalive_probes) * 1000;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &c->keepalive_idle_s, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &c->keepalive_interval_s, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &c->keepalive_probes, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(int));
}

static int connect_local(const struct directory_uri *u, int64_t until_ms,
			 struct directory_failure *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(u->host) >= sizeof(address.sun_path)) {
		fail(f, DIRECTORY_CONNECT, LDAP_CONNECT_ERROR,
		     "connect: the socket's path is too long");
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, u->host, strlen(u->host) + 1);
	fd = connect_one((const struct sockaddr *)&address, sizeof(address), until_ms);
	if (fd < 0)
		fail(f, DIRECTORY_CONNECT, LDAP_SERVER_DOWN, "connect to %s: %s", u->text,
		     strerror(-fd));
	return fd;
}

static int connect_socket(const struct directory_conf *c, const struct directory_uri *u,
			  struct directory_failure *f)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *list = NULL;
	int64_t until_ms = clock_boot_ms() + c->network_timeout_ms;
	int fd = -EHOSTUNREACH;
	int rc;

	if (u->local)
		return connect_local(u, until_ms, f);
	rc = getaddrinfo(u->host, u->port, &hints, &list);
	if (rc == EAI_NONAME ||
	    rc == EAI_ADDRFAMILY) { /* AI_ADDRCONFIG hides loopback literals on a host without addresses */
		hints.ai_flags = 0;
		rc = getaddrinfo(u->host, u->port, &hints, &list);
	}
	if (rc != 0) {
		fail(f, DIRECTORY_RESOLVE, LDAP_SERVER_DOWN, "resolve %s: %s", u->host,
		     gai_strerror(rc));
		return -EHOSTUNREACH;
	}
	for (struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
		int64_t now = clock_boot_ms();
		int64_t share = a->ai_next != NULL ? now + (until_ms - now) / 2 : until_ms;

		fd = connect_one(a->ai_addr, a->ai_addrlen, share);
	}
	freeaddrinfo(list);
	if (fd < 0)
		fail(f, DIRECTORY_CONNECT, LDAP_SERVER_DOWN, "connect to %s: %s", u->text,
		     strerror(-fd));
	else
		tune(c, fd);
	return fd;
}

/* ---- handle ---- */

static struct timeval timeval_of(int64_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

/* CONNECT_ASYNC: only with it is the ldaps handshake bounded by NETWORK_TIMEOUT (openldap-389ds.md 4). */
static void set_options(const struct directory_conf *c, LDAP *ld)
{
	int v3 = LDAP_VERSION3;
	struct timeval net = timeval_of(c->network_timeout_ms);
	struct timeval operation = timeval_of(c->operation_timeout_ms);
	ber_len_t most = MESSAGE_MAX;
	Sockbuf *buffer = NULL;

	/* A message may lie about its length: libldap would allocate that much. */
	if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &buffer) == LDAP_OPT_SUCCESS && buffer != NULL)
		ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &most);
	ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &v3);
	ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_OFF);
	ldap_set_option(ld, LDAP_OPT_CONNECT_ASYNC, LDAP_OPT_ON);
	ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &net);
	ldap_set_option(ld, LDAP_OPT_TIMEOUT, &operation);
	ldap_set_option(ld, LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON);
}

static int set_tls(const struct directory_conf *c, LDAP *ld)
{
	int hard = LDAP_OPT_X_TLS_HARD, least = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2, client = 0;

	if (ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, c->ca_file) != LDAP_OPT_SUCCESS ||
	    ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &hard) != LDAP_OPT_SUCCESS ||
	    ldap_set_option(ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, &least) != LDAP_OPT_SUCCESS)
		return -1;
	return ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &client); /* last: it reads the others */
}

static const char *words_of(LDAP *ld, int rc, char text[static 256])
{
	char *diagnostic = NULL;

	ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &diagnostic);
	snprintf(text, 256, "%s%s%.150s", ldap_err2string(rc),
		 diagnostic != NULL && diagnostic[0] != '\0' ? ": " : "",
		 diagnostic != NULL ? diagnostic : "");
	ldap_memfree(diagnostic);
	return text;
}

static int start_tls(const struct directory_conf *c, const struct directory_uri *u, LDAP *ld,
		     struct directory_failure *f)
{
	char words[256];
	int rc;

	if (!u->tls && !c->starttls)
		return 0;
	if (set_tls(c, ld) != LDAP_OPT_SUCCESS) {
		fail(f, DIRECTORY_TLS, LDAP_LOCAL_ERROR,
		     "tls: the authorities of %s cannot be used", c->ca_file);
		return -EINVAL;
	}
	rc = u->tls ? ldap_install_tls(ld) : ldap_start_tls_s(ld, NULL, NULL);
	if (rc == LDAP_SUCCESS)
		return 0;
	/* GnuTLS builds give no diagnosis: say what is verified. */
	fail(f, DIRECTORY_TLS, rc,
	     "tls with %s: %s (verified: the chain against %.150s, the name %.80s, the dates)",
	     u->text, words_of(ld, rc, words), c->ca_file, u->host);
	return -EPROTO;
}

static int sasl_answer(LDAP *ld, unsigned flags, void *defaults, void *interact)
{
	(void)ld, (void)flags, (void)defaults;
	for (sasl_interact_t *i = interact; i->id != SASL_CB_LIST_END; i++) {
		i->result = i->defresult != NULL ? i->defresult : "";
		i->len = (unsigned)strlen(i->result);
	}
	return LDAP_SUCCESS;
}

/* Refused for who we are: only these count as tries with a credential (GOALS S3). */
static bool is_denied(int rc)
{
	return rc == LDAP_INVALID_CREDENTIALS || rc == LDAP_INAPPROPRIATE_AUTH ||
	       rc == LDAP_INSUFFICIENT_ACCESS || rc == LDAP_STRONG_AUTH_REQUIRED ||
	       rc == LDAP_CONFIDENTIALITY_REQUIRED || rc == LDAP_NO_SUCH_OBJECT ||
	       rc == LDAP_INVALID_DN_SYNTAX || rc == LDAP_AUTH_METHOD_NOT_SUPPORTED;
}

static int bind_simple(const struct directory_conf *c, LDAP *ld, const struct secret *password)
{
	struct slice value = secret_value(password);
	struct berval credentials = {.bv_len = value.n};

	memcpy(&credentials.bv_val, &value.p, sizeof(value.p)); /* libldap's API lacks a const */
	return ldap_sasl_bind_s(ld, c->bind_dn, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, NULL);
}

/* A new ticket for each bind: what a keytab holds after a change of keys counts at once, and none is near its end. */
static int bind_kerberos(const struct directory_conf *c, LDAP *ld, struct directory_failure *f)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER; /* the cache of tickets */
	char words[256];
	int rc;

	pthread_mutex_lock(&one_at_a_time);
	rc = kerberos_ticket(c->keytab, c->principal, words, sizeof(words));
	if (rc != 0) {
		fail(f, DIRECTORY_BIND, LDAP_LOCAL_ERROR, "bind as %.100s by keytab %.100s: %s",
		     c->principal, c->keytab, words);
		if (rc == -EACCES)
			f->problem = SOURCE_DENIED;
		rc = LDAP_LOCAL_ERROR;
	} else {
		rc = ldap_sasl_interactive_bind_s(ld, NULL, "GSSAPI", NULL, NULL, LDAP_SASL_QUIET,
						  sasl_answer, NULL);
		if (rc != LDAP_SUCCESS)
			fail(f, DIRECTORY_BIND, rc, "bind as %.100s: %s", c->principal,
			     words_of(ld, rc, words));
	}
	pthread_mutex_unlock(&one_at_a_time);
	return rc;
}

static int bind_to(const struct directory_conf *c, LDAP *ld, const struct secret *password,
		   struct directory_failure *f)
{
	char words[256];
	int rc = c->gssapi ? bind_kerberos(c, ld, f) : bind_simple(c, ld, password);

	if (rc == LDAP_SUCCESS)
		return 0;
	if (!c->gssapi)
		fail(f, DIRECTORY_BIND, rc, "bind as %.100s: %s", c->bind_dn,
		     words_of(ld, rc, words));
	if (is_denied(rc))
		f->problem = SOURCE_DENIED;
	return -EACCES;
}

LDAP *directory_connect_with(const struct directory_conf *c, size_t uri,
			     const struct secret *password, _Atomic int *fd_watch,
			     struct directory_failure *ret_failure)
{
	const struct directory_uri *u = &c->uris[uri % c->uris_n];
	LDAP *ld = NULL;
	int fd = connect_socket(c, u, ret_failure);
	int rc;

	if (fd < 0)
		return NULL;
	rc = ldap_init_fd(fd, u->local ? LDAP_PROTO_IPC : LDAP_PROTO_TCP, u->text, &ld);
	if (rc != LDAP_SUCCESS) {
		fail(ret_failure, DIRECTORY_CONNECT, rc, "connect: %s", ldap_err2string(rc));
		close(fd);
		return NULL;
	}
	if (fd_watch != NULL)
		atomic_store(fd_watch, fd);
	set_options(c, ld);
	rc = start_tls(c, u, ld, ret_failure);
	if (rc == 0)
		rc = bind_to(c, ld, password, ret_failure);
	if (fd_watch != NULL)
		atomic_store(fd_watch, -1);
	if (rc == 0)
		return ld;
	directory_disconnect(ld);
	return NULL;
}

LDAP *directory_connect(const struct directory_conf *c, size_t uri,
			struct directory_failure *ret_failure)
{
	struct secret *password = directory_password(c, ret_failure);
	LDAP *ld;

	if (password == NULL && ret_failure->problem != SOURCE_NONE)
		return NULL;
	ld = directory_connect_with(c, uri, password, NULL, ret_failure);
	secret_free(password);
	return ld;
}

void directory_disconnect(LDAP *ld)
{
	if (ld != NULL)
		ldap_unbind_ext_s(ld, NULL, NULL);
}

/* ---- check ---- */

int directory_search_now(LDAP *ld, const struct directory_conf *c, const struct directory_search *s,
			 LDAPMessage **ret)
{
	struct timeval timeout = timeval_of(c->operation_timeout_ms);
	char **names = NULL;

	memcpy(&names, &s->attrs, sizeof(names)); /* libldap's API lacks a const */
	*ret = NULL;
	return ldap_search_ext_s(ld, s->base, s->scope,
				 s->filter != NULL ? s->filter : "(objectClass=*)", names, 0, NULL,
				 NULL, &timeout, LDAP_NO_LIMIT, ret);
}

static int check_base(LDAP *ld, const struct directory_conf *c, directory_say_fn say, void *arg)
{
	static const char *const attrs[] = {"objectClass", NULL};
	LDAPMessage *m = NULL;
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct directory_search base = {.base = c->base, .scope = LDAP_SCOPE_BASE, .attrs = attrs};
	int rc = directory_search_now(ld, c, &base, &m);
	bool ok = rc == LDAP_SUCCESS && ldap_count_entries(ld, m) == 1;

	if (ok)
		buf_addf(&text, "%s can be read", c->base);
	else
		buf_addf(&text, "%s cannot be read: %s", c->base,
			 rc == LDAP_SUCCESS ? "it is not shown to this account"
					    : ldap_err2string(rc));
	say(arg, ok, "base", text.p);
	ldap_msgfree(m);
	return ok ? 0 : 1;
}

void directory_check_secrets(LDAP *ld, const struct directory_conf *c, directory_say_fn say,
			     void *arg)
{
	static const char *const attrs[] = {"userPassword", NULL};
	struct directory_search s = {.base = c->base,
				     .scope = LDAP_SCOPE_SUBTREE,
				     .filter = "(userPassword=*)",
				     .attrs = attrs};
	LDAPMessage *answer = NULL;
	bool readable = false;

	(void)directory_search_now(ld, c, &s, &answer);
	for (LDAPMessage *m = ldap_first_entry(ld, answer); m != NULL && !readable;
	     m = ldap_next_entry(ld, m)) {
		struct berval **values = ldap_get_values_len(ld, m, "userPassword");

		readable = values != NULL && values[0] != NULL;
		ldap_value_free_len(values);
	}
	ldap_msgfree(answer);
	say(arg, true, "least right",
	    readable ? "warning: this account can read userPassword, which dirpipe never needs: "
		       "take it away"
		     : "this account cannot read passwords");
}

static int check_server(const struct directory_conf *c, size_t uri, directory_say_fn say, void *arg,
			directory_more_fn more)
{
	struct directory_failure f;
	LDAP *ld = directory_connect(c, uri, &f);
	const struct directory_uri *u = &c->uris[uri];
	enum directory_step reached = ld != NULL ? DIRECTORY_STEPS : f.step;
	int failed;

	for (enum directory_step s = DIRECTORY_RESOLVE; s < reached; s++) {
		if (s == DIRECTORY_TLS && !u->tls && !c->starttls)
			continue;
		say(arg, true, step_names[s], u->text);
	}
	if (ld == NULL) {
		say(arg, false, step_names[f.step], f.text);
		return 1;
	}
	failed = check_base(ld, c, say, arg);
	if (failed == 0 && more != NULL)
		failed += more(ld, c, say, arg);
	directory_disconnect(ld);
	return failed;
}

int directory_check(const struct conf_node *source, directory_say_fn say, void *arg,
		    directory_more_fn more)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct directory_conf *c = directory_conf_new(source, &why);
	int failed = 0;

	if (c == NULL) {
		say(arg, false, "config", why.p);
		return 1;
	}
	for (size_t i = 0; i < c->uris_n; i++)
		failed += check_server(c, i, say, arg, more);
	directory_conf_free(c);
	return failed;
}
