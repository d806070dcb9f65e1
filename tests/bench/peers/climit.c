/* The C bound of GOALS P1: the least that a C program must do to copy a directory into a SCIM service. One process; libldap reads, cJSON writes
 * one POST per person, libcurl keeps connections. No queue, no state, no retry, no order: what a program that guarantees nothing can reach.
 *
 *	climit LDAP_URI BIND_DN PASSWORD_FILE BASE URL TOKEN_FILE CA_FILE CONNECTIONS
 *
 * Prints one line of JSON: users, failed, seconds, cpu_us_per_user. */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <ldap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct slot {
	CURL *easy;
	char *body;
};

static struct {
	CURLM *multi;
	struct curl_slist *headers;
	const char *ca;
	char url[512];
	struct slot *idle[1024];
	int idle_n;
	long users, failed;
} bench;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "climit: %s: %s\n", what, why);
	exit(1);
}

static char *read_secret(const char *path)
{
	static char text[2][4096];
	static int turn;
	char *p = text[turn++ % 2];
	FILE *f = fopen(path, "r");

	if (!f || !fgets(p, sizeof(text[0]), f))
		die(path, "cannot be read");
	fclose(f);
	p[strcspn(p, "\r\n")] = '\0';
	return p;
}

/* ---- HTTP ---- */

static size_t swallow(char *p, size_t size, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	return size * n;
}

static struct slot *slot_new(void)
{
	struct slot *s = calloc(1, sizeof(*s));

	s->easy = curl_easy_init();
	curl_easy_setopt(s->easy, CURLOPT_URL, bench.url);
	curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, bench.headers);
	curl_easy_setopt(s->easy, CURLOPT_CAINFO, bench.ca);
	curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
	curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(s->easy, CURLOPT_NOPROXY, "*");
	return s;
}

static void finish(struct slot *s, CURLcode rc)
{
	long status = 0;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (rc != CURLE_OK || status != 201)
		bench.failed++;
	free(s->body);
	s->body = NULL;
	bench.idle[bench.idle_n++] = s;
}

static void turn(int wait_ms)
{
	int running, left;
	CURLMsg *m;

	curl_multi_perform(bench.multi, &running);
	while ((m = curl_multi_info_read(bench.multi, &left))) {
		CURL *easy = m->easy_handle;
		CURLcode rc = m->data.result;
		struct slot *s = NULL;

		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&s);
		curl_multi_remove_handle(bench.multi, easy);
		finish(s, rc);
	}
	if (wait_ms > 0 && bench.idle_n == 0)
		curl_multi_poll(bench.multi, NULL, 0, wait_ms, NULL);
}

static void post(char *body)
{
	struct slot *s;

	while (bench.idle_n == 0)
		turn(1000);
	s = bench.idle[--bench.idle_n];
	s->body = body;
	curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	curl_multi_add_handle(bench.multi, s->easy);
	turn(0);
}

/* ---- LDAP ---- */

static void take(cJSON *to, const char *field, LDAP *ld, LDAPMessage *e, const char *attribute)
{
	struct berval **v = ldap_get_values_len(ld, e, attribute);

	if (v && v[0])
		cJSON_AddStringToObject(to, field, v[0]->bv_val);
	ldap_value_free_len(v);
}

static char *document(LDAP *ld, LDAPMessage *e)
{
	static const char core[] = "urn:ietf:params:scim:schemas:core:2.0:User";
	static const char enterprise[] =
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
	cJSON *u = cJSON_CreateObject(), *schemas = cJSON_AddArrayToObject(u, "schemas"), *name;
	char *text;

	cJSON_AddItemToArray(schemas, cJSON_CreateString(core));
	cJSON_AddItemToArray(schemas, cJSON_CreateString(enterprise));
	take(u, "externalId", ld, e, "entryUUID");
	take(u, "userName", ld, e, "uid");
	take(u, "displayName", ld, e, "displayName");
	take(u, "title", ld, e, "title");
	name = cJSON_AddObjectToObject(u, "name");
	take(name, "givenName", ld, e, "givenName");
	take(name, "familyName", ld, e, "sn");
	take(cJSON_AddObjectToObject(u, enterprise), "department", ld, e, "departmentNumber");
	cJSON_AddTrueToObject(u, "active");
	text = cJSON_PrintUnformatted(u);
	cJSON_Delete(u);
	return text;
}

static LDAP *connect_to(const char *uri, const char *dn, const char *password)
{
	struct berval secret = {strlen(password), (char *)(size_t)password};
	int v3 = LDAP_VERSION3, rc;
	LDAP *ld;

	if (ldap_initialize(&ld, uri) != LDAP_SUCCESS)
		die(uri, "no such directory");
	ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &v3);
	rc = ldap_sasl_bind_s(ld, dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
	if (rc != LDAP_SUCCESS)
		die(dn, ldap_err2string(rc));
	return ld;
}

static void copy(LDAP *ld, const char *base)
{
	static const char *const attributes[] = {"uid", "cn",	 "displayName",	     "givenName",
						 "sn",	"title", "departmentNumber", "entryUUID",
						 NULL};
	int id, type;

	if (ldap_search_ext(ld, base, LDAP_SCOPE_SUBTREE, "(objectClass=inetOrgPerson)",
			    (char **)(size_t)attributes, 0, NULL, NULL, NULL, LDAP_NO_LIMIT,
			    &id) != LDAP_SUCCESS)
		die(base, "cannot be searched");
	do {
		LDAPMessage *m = NULL;

		type = ldap_result(ld, id, LDAP_MSG_ONE, NULL, &m);
		if (type < 0)
			die(base, "the search broke");
		if (type == LDAP_RES_SEARCH_ENTRY) {
			bench.users++;
			post(document(ld, m));
		}
		ldap_msgfree(m);
	} while (type != LDAP_RES_SEARCH_RESULT);
}

int main(int argc, char **argv)
{
	double started = now(), cpu;
	char authorization[4200];
	struct rusage used;
	int connections;
	LDAP *ld;

	if (argc != 9)
		die("usage", "climit LDAP_URI BIND_DN PASSWORD_FILE BASE URL TOKEN_FILE CA_FILE "
			     "CONNECTIONS");
	curl_global_init(CURL_GLOBAL_ALL);
	bench.multi = curl_multi_init();
	bench.ca = argv[7];
	snprintf(bench.url, sizeof(bench.url), "%s/Users", argv[5]);
	snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s",
		 read_secret(argv[6]));
	bench.headers = curl_slist_append(NULL, authorization);
	bench.headers = curl_slist_append(bench.headers, "Content-Type: application/scim+json");
	bench.headers = curl_slist_append(bench.headers, "Expect:");
	connections = (int)strtol(argv[8], NULL, 10);
	for (int i = 0; i < connections && i < 1024; i++)
		bench.idle[bench.idle_n++] = slot_new();
	ld = connect_to(argv[1], argv[2], read_secret(argv[3]));
	copy(ld, argv[4]);
	while (bench.idle_n < connections)
		turn(bench.idle_n < connections ? 10 : 0);
	ldap_unbind_ext_s(ld, NULL, NULL);
	getrusage(RUSAGE_SELF, &used);
	cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
	      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
	printf("{\"users\": %ld, \"failed\": %ld, \"seconds\": %.4f, \"cpu_us_per_user\": %.1f}\n",
	       bench.users, bench.failed, now() - started, cpu / (double)bench.users);
	return bench.failed || !bench.users ? 1 : 0;
}
