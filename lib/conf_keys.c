#include "conf_tree.h"

#include <stdlib.h>
#include <string.h>

#define CA_FILE "/etc/ssl/certs/ca-certificates.crt"

/* Order: as conf_show prints. A section's row stands before its keys. */
const struct conf_key conf_keys[] = {
	{"realm", CONF_NAME, "default", NULL, "Names one active broker and its prefix in Redis."},

	{"broker", CONF_SECTION, "", NULL, "The one writer of state."},
	{"broker.endpoints", CONF_LIST, "[ipc:///run/dirpipe/broker.sock]", NULL,
	 "Where collectors and workers connect: ipc:///PATH, tcp://HOST:PORT (needs "
	 "broker.curve)."},
	{"broker.control", CONF_PATH, "/run/dirpipe/control.sock", NULL,
	 "Socket of the dirpipe command."},
	{"broker.http", CONF_TEXT, "127.0.0.1:9470", NULL,
	 "HOST:PORT of /metrics, /livez, /readyz and /stats; \"\" switches it off."},
	{"broker.lease", CONF_DURATION, "30s", "1s..10m",
	 "How long a worker may work on one user."},
	{"broker.grace", CONF_DURATION, "5s", "100ms..10m",
	 "What the broker waits beyond the lease."},
	{"broker.verify_after", CONF_DURATION, "5m", "1s..1d",
	 "After a write whose outcome nobody knows: how long until the account is read again."},
	{"broker.takeover", CONF_DURATION, "10s", "1s..10m",
	 "How long the active broker may be silent before a standby takes over."},
	{"broker.log_entries", CONF_INT, "100000", "100..100000000",
	 "Length of the provisioning log in Redis."},
	{"broker.error_entries", CONF_INT, "10000", "100..10000000",
	 "Length of each target's error log in Redis."},
	{"broker.curve", CONF_SECTION, "", NULL, "Encryption and allow-list of tcp:// endpoints."},
	{"broker.curve.secret_key", CONF_SECRET, NULL, NULL,
	 "The broker's own CURVE key (Z85, 40 characters)."},
	{"broker.curve.peers", CONF_SECTION_LIST, NULL, NULL, "Who may connect over tcp://."},
	{"broker.curve.peers.*.name", CONF_NAME, NULL, NULL, "What logs call this peer."},
	{"broker.curve.peers.*.public_key", CONF_TEXT, NULL, NULL,
	 "The peer's public key (Z85, 40 characters)."},
	{"broker.curve.peers.*.role", CONF_WORD, NULL, "collector|worker|any",
	 "What the key may be used for."},
	{"broker.curve.peers.*.only", CONF_NAME, "", NULL,
	 "The one source or target it may speak for."},
	{"broker.redis", CONF_SECTION, "", NULL, "The store; only the broker has access."},
	{"broker.redis.url", CONF_URL, "redis://127.0.0.1:6379/0", "redis|unix",
	 "redis://HOST:PORT/DB, unix:///PATH."},
	{"broker.redis.user", CONF_TEXT, "", NULL, "ACL user; none: the default user."},
	{"broker.redis.password", CONF_SECRET, "", NULL, "Password of the user."},
	{"broker.redis.fsync", CONF_WORD, "always", "always|everysec",
	 "What the server's appendfsync must be: always, or everysec."},
	{"broker.redis.replicas", CONF_INT, "0", "0..5",
	 "WAIT for so many replicas before anything leaves the broker."},
	{"broker.redis.connect_timeout", CONF_DURATION, "5s", "100ms..5m",
	 "Longest wait for a connection."},
	{"broker.redis.timeout", CONF_DURATION, "30s", "100ms..10m",
	 "Longest wait for the oldest unanswered call; then the connection is dropped."},

	{"connect", CONF_SECTION, "", NULL, "How collectors and workers reach the broker."},
	{"connect.endpoints", CONF_LIST, "[]", NULL,
	 "The broker's endpoint, or those of all brokers of the realm: each is asked until the "
	 "active one "
	 "answers; none: the first of broker.endpoints."},
	{"connect.curve", CONF_SECTION, "", NULL, "Encryption of tcp:// endpoints."},
	{"connect.curve.secret_key", CONF_SECRET, NULL, NULL,
	 "This host's CURVE key (Z85, 40 characters)."},
	{"connect.curve.server_key", CONF_TEXT, NULL, NULL,
	 "The broker's public key (Z85, 40 characters); all brokers of a realm have the same."},

	{"log", CONF_SECTION, "", NULL, "What is written to stderr or the journal."},
	{"log.level", CONF_WORD, "info", "debug|info|warn|error",
	 "The least level that is written."},

	{"sources", CONF_SECTIONS, "", NULL, "The directories, by name."},
	{"sources.*.driver", CONF_WORD, NULL, "ad-dirsync|syncrepl|poll",
	 "ad-dirsync: Active Directory and Samba; syncrepl: OpenLDAP, 389-DS; poll: any LDAPv3 "
	 "directory."},
	{"sources.*.uris", CONF_LIST, NULL, "ldap|ldaps|ldapi",
	 "The servers, in order of preference."},
	{"sources.*.base_dn", CONF_TEXT, NULL, NULL, "The subtree that is read."},
	{"sources.*.bind", CONF_SECTION, NULL, NULL, "Who dirpipe is to the directory."},
	{"sources.*.bind.method", CONF_WORD, "simple", "simple|gssapi",
	 "simple: DN and password; gssapi: Kerberos keytab."},
	{"sources.*.bind.dn", CONF_TEXT, "", NULL, "Method simple: the account's DN."},
	{"sources.*.bind.password", CONF_SECRET, "", NULL, "Method simple: its password."},
	{"sources.*.bind.keytab", CONF_PATH, "", NULL, "Method gssapi: the keytab."},
	{"sources.*.bind.principal", CONF_TEXT, "", NULL, "Method gssapi: NAME@REALM."},
	{"sources.*.tls", CONF_SECTION, "", NULL,
	 "Encryption to the directory; certificates are always verified."},
	{"sources.*.tls.ca_file", CONF_PATH, CA_FILE, NULL, "Trusted authorities (PEM)."},
	{"sources.*.tls.starttls", CONF_BOOL, "false", NULL, "true: ldap:// and then StartTLS."},
	{"sources.*.keepalive", CONF_SECTION, "", NULL,
	 "TCP keep-alive of the directory connections."},
	{"sources.*.keepalive.idle", CONF_DURATION, "60s", "1s..2h",
	 "Silence before the first probe."},
	{"sources.*.keepalive.interval", CONF_DURATION, "10s", "1s..10m", "Time between probes."},
	{"sources.*.keepalive.probes", CONF_INT, "3", "1..20",
	 "Unanswered probes that end a connection."},
	{"sources.*.network_timeout", CONF_DURATION, "5s", "100ms..5m",
	 "Longest wait for a connection."},
	{"sources.*.operation_timeout", CONF_DURATION, "30s", "1s..30m",
	 "Longest wait for an answer."},
	{"sources.*.page_size", CONF_INT, "1000", "10..10000",
	 "Entries a page where the server pages."},
	{"sources.*.users", CONF_SECTION, NULL, NULL, "Who is a user, and what of them is read."},
	{"sources.*.users.filter", CONF_TEXT, "", NULL,
	 "LDAP filter; none: people with an account, by driver."},
	{"sources.*.users.attributes", CONF_LIST, NULL, NULL, "What is read; secrets never are."},
	{"sources.*.users.references", CONF_LIST, "[manager]", NULL,
	 "Attributes that name another user by DN."},
	{"sources.*.groups", CONF_SECTION_LIST, "", NULL,
	 "Watched groups; their members, nested too, can be routed on."},
	{"sources.*.groups.*.name", CONF_NAME, NULL, NULL, "What routes call it."},
	{"sources.*.groups.*.dn", CONF_TEXT, NULL, NULL, "The group's DN."},
	{"sources.*.poll_interval", CONF_DURATION, "5s", "100ms..1d",
	 "Driver poll: time between polls."},
	{"sources.*.usn_interval", CONF_DURATION, "250ms", "50ms..1h",
	 "Driver ad-dirsync: how often the server's counter is asked."},
	{"sources.*.sweep_interval", CONF_DURATION, "1h", "1s..30d",
	 "Driver poll: how often deletions are looked for where the server has no tombstones."},
	{"sources.*.guard", CONF_SECTION, "", NULL,
	 "A source or group that shrinks by more than both figures keeps its members until "
	 "confirmed."},
	{"sources.*.guard.min_users", CONF_INT, "5", "0..1000000000",
	 "Never held when so few, or fewer, are gone."},
	{"sources.*.guard.percent", CONF_INT, "20", "0..100",
	 "Never held when no more than this share is gone."},
	{"sources.*.routes", CONF_SECTION_LIST, "", NULL,
	 "Who goes where: the first that fits per target."},
	{"sources.*.routes.*.target", CONF_NAME, NULL, NULL, "The target; it must exist."},
	{"sources.*.routes.*.base", CONF_TEXT, "", NULL, "Only users at or below this DN."},
	{"sources.*.routes.*.groups", CONF_LIST, "[]", NULL,
	 "Only members of at least one of these watched groups."},
	{"sources.*.routes.*.filter", CONF_TEXT, "", NULL,
	 "Only users that this LDAP filter fits, over the attributes read."},
	{"sources.*.routes.*.include", CONF_LIST, "[]", NULL,
	 "Ids that are in scope whatever base, groups and filter say; without these three nobody "
	 "else is."},
	{"sources.*.routes.*.exclude", CONF_LIST, "[]", NULL, "Ids that are never in scope."},

	{"overrides", CONF_SECTIONS, "", NULL,
	 "Values that beat the directory's, by any name; also in overrides.d/*.yaml beside this "
	 "file."},
	{"overrides.*.id", CONF_TEXT, "", NULL, "Of the user with this id."},
	{"overrides.*.match", CONF_TEXT, "", NULL,
	 "attribute=value: of every user that has it, whatever the case."},
	{"overrides.*.set", CONF_MAP, NULL, NULL,
	 "Attribute: value, [values] or null (empty); one that users.attributes names."},

	{"targets", CONF_SECTIONS, "", NULL, "The services, by name."},
	{"targets.*.driver", CONF_WORD, NULL, "graph|scim|salesforce|rescue|incidentiq",
	 "graph: Microsoft 365 (Graph); scim: any SCIM 2.0 service; salesforce: Salesforce (REST); "
	 "rescue: LogMeIn (GoTo) Rescue; incidentiq: Incident IQ."},
	{"targets.*.url", CONF_URL, NULL, "https|http",
	 "Base URL of the API; http:// only to this host."},
	{"targets.*.login_url", CONF_URL, "", "https|http",
	 "Where tokens come from; none: graph https://login.microsoftonline.com, salesforce url."},
	{"targets.*.tenant", CONF_TEXT, "", NULL, "Driver graph: the tenant's id."},
	{"targets.*.auth", CONF_SECTION, NULL, NULL, "Who dirpipe is to the service."},
	{"targets.*.auth.method", CONF_WORD, NULL,
	 "client_secret|certificate|bearer|jwt|password|login",
	 "How it proves that; jwt: an assertion for auth.username, signed with auth.private_key; "
	 "password is retired; login: the service's own log-in (driver rescue)."},
	{"targets.*.auth.client_id", CONF_TEXT, "", NULL,
	 "All methods but bearer: the application's id."},
	{"targets.*.auth.client_secret", CONF_SECRET, "", NULL,
	 "Method client_secret; method password where the application has one."},
	{"targets.*.auth.basic", CONF_BOOL, "false", NULL,
	 "true: client id and secret go in an Authorization: Basic header."},
	{"targets.*.auth.certificate", CONF_PATH, "", NULL, "Method certificate: PEM file."},
	{"targets.*.auth.private_key", CONF_SECRET, "", NULL,
	 "Methods certificate and jwt: the key (PEM)."},
	{"targets.*.auth.username", CONF_TEXT, "", NULL,
	 "Methods jwt, password and login: the service's user that dirpipe is."},
	{"targets.*.auth.audience", CONF_TEXT, "", NULL,
	 "Method jwt: whom the assertion is for; none: login_url."},
	{"targets.*.auth.password", CONF_SECRET, "", NULL, "Methods password and login."},
	{"targets.*.auth.security_token", CONF_SECRET, "", NULL,
	 "Method password: goes behind the password."},
	{"targets.*.auth.token", CONF_SECRET, "", NULL, "Method bearer: the token."},
	{"targets.*.auth.scope", CONF_TEXT, "", NULL,
	 "What tokens are asked for; none: as the driver says (graph "
	 "https://graph.microsoft.com/.default)."},
	{"targets.*.auth.api_hosts", CONF_LIST, "[]", NULL,
	 "Where the token's answer may say that the API is: HOST[:PORT] or .DOMAIN, beside url and "
	 "the vendor's own."},
	{"targets.*.tls", CONF_SECTION, "", NULL, "Certificates are always verified."},
	{"targets.*.tls.ca_file", CONF_PATH, CA_FILE, NULL, "Trusted authorities (PEM)."},
	{"targets.*.http", CONF_SECTION, "", NULL, "How one worker process talks to the service."},
	{"targets.*.http.connections", CONF_INT, "16", "1..1000", "The most connections at once."},
	{"targets.*.http.timeout", CONF_DURATION, "30s", "100ms..10m",
	 "Longest exchange; a lease's end cuts it too."},
	{"targets.*.http.connect_timeout", CONF_DURATION, "10s", "100ms..5m",
	 "Longest wait for a connection."},
	{"targets.*.http.body_max", CONF_SIZE, "8MiB", "1KiB..64MiB",
	 "A larger answer is refused."},
	{"targets.*.worker", CONF_SECTION, "", NULL, "Worker processes of this target."},
	{"targets.*.worker.credits", CONF_INT, "256", "1..10000",
	 "Users that one worker process takes at a time."},
	{"targets.*.pace", CONF_SECTION, "", NULL,
	 "The vendor's budget, kept by the broker for all workers together."},
	{"targets.*.pace.writes", CONF_INT, "0", "0..1000000000",
	 "So many requests (Graph: writes; 3000) …; 0: no budget."},
	{"targets.*.pace.per", CONF_DURATION, "150s", "1s..1d", "… in this window."},
	{"targets.*.pace.concurrency", CONF_INT, "1024", "1..100000",
	 "The most users in flight, all workers together."},
	{"targets.*.join", CONF_SECTION_LIST, "", NULL,
	 "Ordered rules that find the account; the stored link comes first by itself."},
	{"targets.*.join.*.remote", CONF_TEXT, NULL, NULL, "Field of the service."},
	{"targets.*.join.*.local", CONF_TEXT, NULL, NULL,
	 "Attribute of the directory, id, immutable_id, or several joined: givenName+' '+sn."},
	{"targets.*.join.*.soft", CONF_BOOL, "false", NULL,
	 "true: a hit is a proposal that a person confirms."},
	{"targets.*.paused", CONF_BOOL, "false", NULL,
	 "true: a target that is new begins paused, so that `dirpipe plan` and `apply` come first; "
	 "`dirpipe "
	 "resume` ends that for good."},
	{"targets.*.default_password", CONF_SECRET, "", NULL,
	 "Driver rescue: the first password of new technicians, sent once; none: a random one "
	 "each."},
	{"targets.*.create", CONF_BOOL, "true", NULL, "May accounts be created?"},
	{"targets.*.settle", CONF_DURATION, "0", "0..1h",
	 "After a creation of unknown outcome: how long until not found is believed; 0: as the "
	 "driver says (graph 60s, scim 5s, incidentiq 60s, rescue 2s)."},
	{"targets.*.leave", CONF_WORD, "disable", "disable|delete|unlink",
	 "What happens to who leaves the scope or the directory."},
	{"targets.*.delete_after", CONF_DURATION, "30d", "0..3650d",
	 "leave: delete waits so long after disabling."},
	{"targets.*.leave_names", CONF_WORD, "yield", "yield|keep",
	 "Does a leaver's disabled account take another name when a new user needs the one it "
	 "has?"},
	{"targets.*.groups", CONF_SECTION_LIST, "", NULL,
	 "Remote groups, roles or permission sets by watched group, many to many."},
	{"targets.*.groups.*.group", CONF_NAME, NULL, NULL,
	 "Watched group of a source that routes here."},
	{"targets.*.groups.*.remote", CONF_TEXT, NULL, NULL,
	 "What its members get: name or id at the service."},
	{"targets.*.groups.*.kind", CONF_TEXT, "", NULL,
	 "Where a driver has several kinds: its word for this one."},
	{"targets.*.licences", CONF_SECTION_LIST, "", NULL, "Licences by watched group."},
	{"targets.*.licences.*.group", CONF_NAME, NULL, NULL,
	 "Watched group of a source that routes here."},
	{"targets.*.licences.*.sku", CONF_TEXT, NULL, NULL,
	 "The licence that its members get: id or name at the service."},
	{"targets.*.licences.*.disabled_plans", CONF_LIST, "[]", NULL,
	 "Driver graph: service plans of it that stay off."},
	{"targets.*.licence_policy", CONF_SECTION, "", NULL,
	 "When licences are taken from people who do not use them, and given back."},
	{"targets.*.licence_policy.revoke_when", CONF_LIST, "[]", NULL,
	 "Any of disabled, locked, password_expired, account_expired, inactive, never_logged_on; "
	 "[]: licences are never taken."},
	{"targets.*.licence_policy.inactive_after", CONF_DURATION, "90d", "15d..3650d",
	 "No logon for so long is inactive; directories tell logons up to 14 days late."},
	{"targets.*.licence_policy.only", CONF_LIST, "[]", NULL,
	 "The licences that may be taken; []: all that the account holds directly."},
	{"targets.*.licence_policy.groups", CONF_BOOL, "false", NULL,
	 "true: memberships by `groups` are taken and given back, too."},
	{"targets.*.licence_policy.action", CONF_WORD, "strip", "strip|freeze|deactivate",
	 "strip: licences go, the account stays; freeze, deactivate: where a driver has them."},
	{"targets.*.licence_policy.reinstate", CONF_WORD, "now", "now|schedule",
	 "When no reason is left: at once, or at the next run of the schedule."},
	{"targets.*.licence_policy.reinstate_for", CONF_LIST,
	 "[disabled, locked, password_expired, account_expired, inactive, never_logged_on]", NULL,
	 "Reasons after which licences come back by themselves; others wait for a person."},
	{"targets.*.licence_policy.schedule", CONF_TEXT, "0 3 * * *", NULL,
	 "reinstate: schedule: minute hour day month weekday, or @hourly, @daily, @weekly, "
	 "@monthly."},
	{"targets.*.licence_policy.zone", CONF_TEXT, "UTC", NULL,
	 "Time zone of the schedule, such as Europe/Berlin."},
	{"targets.*.licence_policy.exempt", CONF_LIST, "[]", NULL,
	 "Ids and watched groups from whom nothing is ever taken."},
	{"targets.*.licence_policy.cap_per_run", CONF_INT, "10", "0..100",
	 "More than this share of users in an hour: held for a person."},
	{"targets.*.guard", CONF_SECTION, "", NULL,
	 "When destructive operations are held for a person."},
	{"targets.*.guard.count", CONF_INT, "5", "0..1000000000",
	 "More than this many in an hour and …"},
	{"targets.*.guard.percent", CONF_INT, "2", "0..100", "… more than this share of users, or"},
	{"targets.*.guard.most", CONF_INT, "100", "0..1000000000", "more than this many: held."},
	{"targets.*.guard.settle", CONF_DURATION, "10s", "0..5m",
	 "No new one for so long before the window is judged."},
	{"targets.*.retry", CONF_SECTION, "", NULL, "After a transient failure."},
	{"targets.*.retry.first", CONF_DURATION, "1s", "10ms..1h",
	 "First delay; it doubles, with full jitter."},
	{"targets.*.retry.cap", CONF_DURATION, "15m", "100ms..1d", "Longest delay."},
	{"targets.*.retry.dead_after", CONF_DURATION, "24h", "1s..365d",
	 "Then the user is dead; time paused does not count."},
	{"targets.*.reconcile", CONF_SECTION, "", NULL,
	 "Drift: all accounts compared with what the directory says (`dirpipe reconcile`)."},
	{"targets.*.reconcile.every", CONF_DURATION, "0", "0..365d",
	 "So often, by `dirpipe reconcile watch` (`dirpipe up` runs it); 0: never by itself."},
	{"targets.*.reconcile.window", CONF_TEXT, "", NULL,
	 "Only at these hours, UTC: HH:MM-HH:MM; empty: whenever it is due."},
	{"targets.*.reconcile.policy", CONF_WORD, "repair", "repair|report",
	 "repair: who differs is made right by the queue, within the guard; report: told alone."},
	{"targets.*.reconcile.budget", CONF_INT, "5", "1..100",
	 "Share of the target's pace that the listing may take, in percent."},
	{"targets.*.mapping", CONF_MAP, NULL, NULL,
	 "Field of the service: attribute | [first, that, has, a, value] | {all: a} | {const: v} | "
	 "{jq: '…'}."},
	{"targets.*.options", CONF_MAP, "{}", NULL, "The driver's own."},
	{NULL, CONF_TYPES, NULL, NULL, NULL},
};

const struct conf_key *conf_key_find(const char *path)
{
	for (const struct conf_key *key = conf_keys; key->path; key++)
		if (strcmp(key->path, path) == 0)
			return key;
	return NULL;
}

/* Does path equal section + "." + name, without building it? */
static bool joins(const char *path, const char *section, const char *name)
{
	size_t n = strlen(section);

	if (n == 0)
		return strcmp(path, name) == 0;
	return strncmp(path, section, n) == 0 && path[n] == '.' && strcmp(path + n + 1, name) == 0;
}

const struct conf_key *conf_key_below(const char *section, const char *name)
{
	for (const struct conf_key *key = conf_keys; key->path; key++)
		if (joins(key->path, section, name))
			return key;
	return NULL;
}

bool conf_key_is_child(const struct conf_key *key, const char *section)
{
	const char *dot = strrchr(key->path, '.');
	size_t n = strlen(section);

	if (!dot)
		return n == 0;
	return (size_t)(dot - key->path) == n && strncmp(key->path, section, n) == 0;
}

/* Damerau-Levenshtein (optimal string alignment) over three rows. */
size_t conf_distance(const char *a, const char *b)
{
	enum { LONGEST = 64 };
	size_t rows[3][LONGEST + 1];
	size_t na = strlen(a);
	size_t nb = strlen(b);

	if (na > LONGEST || nb > LONGEST)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *now = rows[i % 3];
		const size_t *before = rows[(i + 2) % 3];
		const size_t *earlier = rows[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);

			best = before[j] + 1 < best ? before[j] + 1 : best;
			best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    earlier[j - 2] + 1 < best)
				best = earlier[j - 2] + 1;
			now[j] = best;
		}
	}
	return rows[na % 3][nb];
}

void conf_key_near(const char *section, const char *name, struct buf *out)
{
	size_t most = strlen(name) / 3 < 2 ? 2 : strlen(name) / 3;
	size_t named = 0;

	for (size_t distance = 0; distance <= most && named == 0; distance++) {
		for (const struct conf_key *key = conf_keys; key->path && named < 3; key++) {
			const char *last = strrchr(key->path, '.');
			const char *own = last ? last + 1 : key->path;

			if (!conf_key_is_child(key, section) || strcmp(own, "*") == 0 ||
			    conf_distance(own, name) != distance)
				continue;
			buf_adds(out, named++ == 0 ? " (did you mean " : ", ");
			buf_adds(out, own);
		}
	}
	if (named > 0)
		buf_adds(out, "?)");
}
