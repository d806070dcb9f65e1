/* A search result entry, through libldap, to the image that is published. First byte: bits 0 and 1 the kind of directory, bit 7 BER as it
 * stands; else records [n][name][n][n][value] become an entry with a good id. What is published must be a snapshot. */
#include "fuzz.h"

#include "account.h"
#include "image.h"
#include "route.h"
#include "snapshot.h"
#include "wire.h"

#include <fcntl.h>
#include <openldap.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- made once ---- */

static struct conf *conf;
static const struct conf_node *source;
static struct image_maker *maker;
static struct route_table *routes;
static struct sets *route_sets;

static void drop(void)
{
	image_free(maker);
	route_free(routes);
	sets_free(route_sets);
	conf_free(conf);
}

static bool resolve(void *arg, size_t which, struct slice value, struct id *ret_id)
{
	(void)which;
	(void)arg;
	*ret_id = (struct id){{1}};
	return value.n % 2 == 0;
}

static void set_up(void)
{
	static const char text[] = "sources:\n  s:\n    driver: syncrepl\n    uris: "
				   "[ldap://127.0.0.1]\n    base_dn: dc=x\n"
				   "    bind: {method: simple, dn: cn=r, password: !env NONE}\n"
				   "    users: {attributes: [cn, mail, title, jpegPhoto, "
				   "objectSid, \"cn;lang-de\"], references: [manager]}\n"
				   "    routes: [{target: one, base: \"ou=a,dc=x\", filter: "
				   "\"(|(cn=a*)(mail=*))\"}, {target: one}]\n"
				   "targets:\n  one: {driver: scim, url: \"https://h/\", auth: "
				   "{method: bearer, token: !env NONE}, "
				   "mapping: {userName: id}}\n";
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct image_settings settings = {.source_name = "s", .resolve = resolve};
	char path[64];
	int fd;

	if (conf)
		return;
	fd = memfd_create("conf", MFD_CLOEXEC);
	must(fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf = conf_load_for(path, "", &why);
	if (!conf)
		fputs(why.p, stderr);
	must(conf != NULL);
	close(fd);
	source = conf_named(conf_root(conf), "sources", "s");
	settings.source = source;
	maker = image_new(&settings);
	routes = route_new(source, NULL, 0, &why);
	must(routes != NULL);
	route_sets = sets_new(1000);
	must(atexit(drop) == 0);
}

/* ---- BER ---- */

static void tlv(struct buf *out, uint8_t tag, struct slice value)
{
	uint8_t head[6] = {tag,
			   0x84,
			   (uint8_t)(value.n >> 24),
			   (uint8_t)(value.n >> 16),
			   (uint8_t)(value.n >> 8),
			   (uint8_t)value.n};

	buf_add(out, head, sizeof(head));
	buf_add(out, value.p, value.n);
}

static struct slice take(struct slice *rest, size_t n)
{
	struct slice s = {rest->p, n < rest->n ? n : rest->n};

	if (s.n > 0)
		rest->p += s.n;
	rest->n -= s.n;
	return s;
}

static void attribute(struct buf *out, struct slice name, struct slice value)
{
	CLEANUP(buf_cleanup) struct buf attr = {0};
	CLEANUP(buf_cleanup) struct buf set = {0};

	tlv(&attr, 0x04, name);
	tlv(&set, 0x04, value);
	tlv(&attr, 0x31, buf_slice(&set));
	tlv(out, 0x30, buf_slice(&attr));
}

static void records(struct slice rest, const struct entry_schema *schema, struct buf *body)
{
	CLEANUP(buf_cleanup) struct buf attrs = {0};

	tlv(body, 0x04, take(&rest, fuzz_byte(&rest)));
	if (schema->id_is_guid)
		attribute(&attrs, slice_of(schema->id_attr), SLICE("0123456789abcdef"));
	else
		attribute(&attrs, slice_of(schema->id_attr),
			  SLICE("81c4b88a-7cae-1041-951e-2d58ffb2a13f"));
	while (rest.n > 0) {
		struct slice name = take(&rest, fuzz_byte(&rest));
		size_t high = fuzz_byte(&rest);

		attribute(&attrs, name, take(&rest, high << 8 | fuzz_byte(&rest)));
	}
	tlv(body, 0x30, buf_slice(&attrs));
}

/* ---- one message through libldap ---- */

static LDAPMessage *receive(LDAP *ld, int fd, struct slice body)
{
	CLEANUP(buf_cleanup) struct buf message = {0};
	CLEANUP(buf_cleanup) struct buf whole = {0};
	struct timeval wait = {0, 0};
	LDAPMessage *m = NULL;
	int msgid;

	must(ldap_search_ext(ld, "", LDAP_SCOPE_BASE, NULL, NULL, 0, NULL, NULL, NULL, 0, &msgid) ==
	     LDAP_SUCCESS);
	buf_add(&message, (uint8_t[]){0x02, 0x01, (uint8_t)msgid}, 3);
	tlv(&message, 0x64, body);
	tlv(&whole, 0x30, buf_slice(&message));
	must(send(fd, whole.p, whole.n, MSG_DONTWAIT) == (ssize_t)whole.n);
	if (ldap_result(ld, msgid, LDAP_MSG_ONE, &wait, &m) == LDAP_RES_SEARCH_ENTRY)
		return m;
	ldap_msgfree(m);
	return NULL;
}

static void publish(const struct entry *e)
{
	static const char *const groups[] = {"staff"}, *const targets[] = {"one"};
	struct source_policy policy = {.max_password_age_ms = 1000, .lockout_ms = 0};
	struct image_scope scope = {.groups = groups,
				    .groups_n = 1,
				    .targets = targets,
				    .targets_n = 1,
				    .policy = &policy};
	CLEANUP(buf_cleanup) struct buf out = {0};
	struct wire_list list;
	struct wire_user user;
	struct snapshot *s;
	const char *attr = NULL;
	struct fp fp;

	(void)route_fitting(routes, route_sets, e);
	if (image_build(maker, e, &scope, &out, &fp, &attr) < 0) {
		must(attr != NULL && out.n == 0);
		return;
	}
	list = wire_list_of(&out, 1);
	must(wire_next_user(&list, &user) && list.n == 0);
	s = snapshot_parse(user.snapshot, NULL);
	must(s != NULL && !fp_is_none(&fp));
	must(strcmp(snapshot_dn(s), e->dn) == 0);
	snapshot_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct entry_schema *const schemas[] = {
		&entry_schema_ad, &entry_schema_openldap, &entry_schema_389ds};
	CLEANUP(buf_cleanup) struct buf body = {0};
	struct slice rest = {(const char *)data, size};
	uint8_t what = fuzz_byte(&rest);
	const struct entry_schema *schema = schemas[(what & 3) % 3];
	const char *why = NULL;
	LDAPMessage *m;
	LDAP *ld = NULL;
	struct entry *e = NULL;
	struct id id;
	int fds[2];

	set_up();
	if (size > 60000)
		return 0; /* what a socket pair takes at once */
	if (what & 0x80)
		buf_add(&body, rest.p, rest.n);
	else
		records(rest, schema, &body);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	must(ldap_init_fd(fds[0], 1, "ldap://fuzz", &ld) == LDAP_SUCCESS);
	m = receive(ld, fds[1], buf_slice(&body));
	if (m) {
		e = entry_new(ld, m, schema, &id, &why);
		must((e == NULL) == (why != NULL));
	}
	ldap_msgfree(m);
	ldap_unbind_ext_s(ld, NULL, NULL);
	close(fds[1]);
	if (e)
		publish(e);
	entry_free(e);
	return 0;
}
