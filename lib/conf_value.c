#include "conf_tree.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_LONGEST = 63, Z85_KEY = 40 };

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit duration_units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};
static const struct unit size_units[] = {
	{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0},
};

/* Digits (with an optional minus) up to *ret_end. */
static int parse_digits(const char *text, int64_t *ret, const char **ret_end)
{
	const char *digits = text[0] == '-' ? text + 1 : text;
	char *end;
	long long value;

	if (!isdigit((unsigned char)digits[0]))
		return -EINVAL;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno)
		return -EINVAL;
	*ret = value;
	*ret_end = end;
	return 0;
}

int conf_parse_int(const char *text, int64_t *ret)
{
	const char *end;
	int64_t value;

	if (parse_digits(text, &value, &end) < 0 || *end)
		return -EINVAL;
	*ret = value;
	return 0;
}

static int parse_unit(const char *text, const struct unit *units, int64_t *ret)
{
	const char *end;
	int64_t value;
	int64_t scaled;

	if (parse_digits(text, &value, &end) < 0 || value < 0)
		return -EINVAL;
	if (value == 0 && *end == 0) {
		*ret = 0;
		return 0;
	}
	for (const struct unit *u = units; u->name; u++) {
		if (strcmp(u->name, end) != 0)
			continue;
		if (__builtin_mul_overflow(value, u->factor, &scaled))
			return -EINVAL;
		*ret = scaled;
		return 0;
	}
	return -EINVAL;
}

int conf_parse_duration(const char *text, int64_t *ret_ms)
{
	return parse_unit(text, duration_units, ret_ms);
}

int conf_parse_size(const char *text, int64_t *ret_bytes)
{
	return parse_unit(text, size_units, ret_bytes);
}

int conf_parse_scaled(enum conf_type type, const char *text, int64_t *ret)
{
	if (type == CONF_DURATION)
		return conf_parse_duration(text, ret);
	if (type == CONF_SIZE)
		return conf_parse_size(text, ret);
	return conf_parse_int(text, ret);
}

/* words: "LEAST..MOST" in the type's own notation. */
bool conf_in_range(const struct conf_key *key, int64_t value)
{
	CLEANUP(free_cleanup) char *least = mem_dup(key->words);
	char *most = least ? strstr(least, "..") : NULL;
	int64_t low;
	int64_t high;

	if (!most)
		return true;
	*most = 0;
	if (conf_parse_scaled(key->type, least, &low) < 0 ||
	    conf_parse_scaled(key->type, most + 2, &high) < 0)
		abort(); /* the table is ours */
	return value >= low && value <= high;
}

bool conf_name_valid(const char *text)
{
	size_t n = strlen(text);

	if (n == 0 || n > NAME_LONGEST || text[0] == '_' || text[0] == '-')
		return false;
	return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

bool conf_word_in(const char *words, const char *text)
{
	size_t n = strlen(text);

	for (const char *word = words; word && *word;) {
		const char *bar = strchrnul(word, '|');

		if ((size_t)(bar - word) == n && memcmp(word, text, n) == 0)
			return true;
		word = *bar ? bar + 1 : NULL;
	}
	return false;
}

/* ---- addresses ---- */

static const char *port_wrong(const char *port, size_t n)
{
	int64_t value = 0;

	if (n == 0)
		return "has no port number after ':'";
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)port[i]) || i >= 6)
			return "has a port that is no number from 1 to 65535";
		value = value * 10 + (port[i] - '0');
	}
	return value >= 1 && value <= 65535 ? NULL : "has a port that is no number from 1 to 65535";
}

/* Splits HOST[:PORT]; an IPv6 host stands in brackets. */
static const char *authority_wrong(const char *p, size_t n, bool port_needed)
{
	const char *end = p + n;
	const char *host_end;

	if (n == 0)
		return "has no host";
	if (*p == '[') {
		host_end = memchr(p, ']', n);
		if (!host_end || host_end == p + 1 ||
		    strspn(p + 1, "0123456789abcdefABCDEF:.%") < (size_t)(host_end - p - 1))
			return "has a broken IPv6 address";
		host_end++;
	} else {
		host_end = memchr(p, ':', n);
		if (!host_end)
			host_end = end;
		if (host_end == p)
			return "has no host";
		if (memchr(host_end, ':', (size_t)(end - host_end)) &&
		    memrchr(host_end, ':', (size_t)(end - host_end)) != host_end)
			return "has an IPv6 address without brackets, expected [ADDRESS]";
	}
	if (host_end == end)
		return port_needed ? "has no port" : NULL;
	if (*host_end != ':')
		return "has something behind the host that is no port";
	return port_wrong(host_end + 1, (size_t)(end - host_end - 1));
}

static bool has_foreign_byte(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p == 0x7f || *p == '"' ||
		    *p == '\\')
			return true;
	return false;
}

static bool starts(const char *text, size_t n, const char *with)
{
	return strlen(with) == n && strncasecmp(text, with, n) == 0;
}

/* The host of scheme://HOST[:PORT]/…, without port; n 0: none. */
static struct slice url_host(const char *url)
{
	const char *p = strstr(url, "://");
	struct slice host = {0};

	if (!p)
		return host;
	p += 3;
	host = (struct slice){p, strcspn(p, "/?#")};
	if (host.n > 0 && *p == '[') {
		const char *end = memchr(p, ']', host.n);

		host.n = end ? (size_t)(end - p) + 1 : host.n;
	} else {
		const char *colon = memchr(p, ':', host.n);

		host.n = colon ? (size_t)(colon - p) : host.n;
	}
	return host;
}

/* 127.0.0.0/8 as four numbers: a name such as 127.evil.example is none. */
static bool is_loopback_ipv4(struct slice host)
{
	size_t dots = 0;

	if (host.n < 9 || host.n > 15 || strncmp(host.p, "127.", 4) != 0)
		return false;
	for (size_t i = 0; i < host.n; i++) {
		if (host.p[i] == '.')
			dots++;
		else if (!isdigit((unsigned char)host.p[i]))
			return false;
	}
	return dots == 3;
}

bool conf_url_host_is_loopback(const char *url)
{
	struct slice host = url_host(url);

	return starts(host.p, host.n, "localhost") || starts(host.p, host.n, "[::1]") ||
	       is_loopback_ipv4(host);
}

const char *conf_url_wrong(const char *text, const char *schemes)
{
	const char *colon = strstr(text, "://");
	CLEANUP(free_cleanup) char *scheme = NULL;
	const char *rest;
	size_t authority;

	if (has_foreign_byte(text))
		return "has a character that does not belong in a URL";
	if (!colon || colon == text)
		return "has no scheme";
	scheme = slice_dup((struct slice){text, (size_t)(colon - text)});
	if (!conf_word_in(schemes, scheme))
		return "has a scheme that is not possible here";
	rest = colon + 3;
	if (strcmp(scheme, "unix") == 0)
		return rest[0] == '/' && rest[1] ? NULL : "has no absolute path";
	authority = strcspn(rest, "/?#");
	if (memchr(rest, '@', authority))
		return "holds a user or password; they have keys of their own";
	if (rest[strcspn(rest, "?#")])
		return "has a query or fragment";
	if (strcmp(scheme, "ldapi") == 0)
		return NULL;
	if (strcmp(scheme, "http") == 0 && !conf_url_host_is_loopback(text))
		return "is http:// to another host; only https:// is safe there";
	return authority_wrong(rest, authority, false);
}

const char *conf_endpoint_wrong(const char *text)
{
	/* sockaddr_un has 108 bytes, the NUL included */
	enum { IPC_PATH_MAX = 107 };

	if (has_foreign_byte(text))
		return "has a character that does not belong in an endpoint";
	if (strncmp(text, "ipc://", 6) == 0) {
		if (text[6] != '/' || !text[7])
			return "has no absolute path after ipc://";
		return strlen(text + 6) <= IPC_PATH_MAX ? NULL : "has a path longer than 107 bytes";
	}
	if (strncmp(text, "tcp://", 6) == 0)
		return authority_wrong(text + 6, strlen(text + 6), true);
	return "is neither ipc:///PATH nor tcp://HOST:PORT";
}

const char *conf_host_port_wrong(const char *text)
{
	if (has_foreign_byte(text))
		return "has a character that does not belong in HOST:PORT";
	return authority_wrong(text, strlen(text), true);
}
