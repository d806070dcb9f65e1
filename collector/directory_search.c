#include "directory_impl.h"

#include "clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void operation_free(struct operation *o)
{
	free(o->base);
	free(o->filter);
	directory_attrs_free(o->attrs);
	ldap_controls_free(o->controls);
	free(o);
}

/* ---- the tables ---- */
// NOLINTBEGIN(readability-function-size): uthash

static struct operation *by_number(const struct directory *d, uint64_t number)
{
	struct operation *o;

	HASH_FIND(hh, d->by_number, &number, sizeof(number), o);
	return o;
}

static struct operation *by_msgid(const struct directory *d, int msgid)
{
	struct operation *o;

	HASH_FIND(hh_msg, d->by_msgid, &msgid, sizeof(msgid), o);
	return o;
}

static void add(struct directory *d, struct operation *o)
{
	HASH_ADD(hh, d->by_number, number, sizeof(o->number), o);
	HASH_ADD(hh_msg, d->by_msgid, msgid, sizeof(o->msgid), o);
}

static void operation_forget(struct directory *d, struct operation *o)
{
	HASH_DELETE(hh, d->by_number, o);
	HASH_DELETE(hh_msg, d->by_msgid, o);
	assert(d->by_number != o);
}

// NOLINTEND(readability-function-size)

void operation_forget_all(struct directory *d)
{
	struct operation *o, *next;

	HASH_ITER (hh, d->by_number, o, next) {
		operation_forget(d, o);
		operation_free(o);
	}
}

bool operation_end_one(struct directory *d, const struct directory_result *result)
{
	struct operation *o = d->by_number;

	if (o == NULL)
		return false;
	operation_forget(d, o);
	o->done(o->arg, result);
	operation_free(o);
	return true;
}

/* ---- messages ---- */

static int send_search(struct directory *d, struct operation *o, const struct directory_search *s,
		       const struct berval *cookie)
{
	LDAP *ld = d->connection->ld;
	LDAPControl *page = NULL;
	LDAPControl *all[16] = {NULL};
	struct berval none = {0, NULL};
	struct berval at;
	size_t n = 0;
	char **attrs = NULL;
	int rc;

	for (; s->controls != NULL && s->controls[n] != NULL && n < 14; n++)
		all[n] = s->controls[n];
	if (s->page > 0) {
		at = cookie != NULL ? *cookie : none;
		rc = ldap_create_page_control(ld, s->page, &at, 1, &page);
		if (rc != LDAP_SUCCESS)
			return rc;
		all[n++] = page;
	}
	memcpy(&attrs, &s->attrs, sizeof(attrs)); /* libldap's API lacks a const */
	rc = ldap_search_ext(ld, s->base, s->scope,
			     s->filter != NULL ? s->filter : "(objectClass=*)", attrs, 0, all, NULL,
			     NULL, LDAP_NO_LIMIT, &o->msgid);
	ldap_control_free(page);
	return rc;
}

static bool next_page(struct directory *d, struct operation *o, LDAPControl **controls, int *ret_rc)
{
	LDAPControl *c = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL);
	struct berval cookie = {0, NULL};
	struct directory_search s = {.base = o->base,
				     .scope = o->scope,
				     .filter = o->filter,
				     .attrs = (const char *const *)o->attrs,
				     .controls = o->controls,
				     .page = o->page};
	ber_int_t estimate;

	if (c == NULL)
		return false;
	/* libldap reads through a null pointer when the value is empty (2.5.13). Whatever is not understood here must
	 * not pass for the last page: who was not named would count as missing. */
	if (c->ldctl_value.bv_len == 0 ||
	    ldap_parse_pageresponse_control(d->connection->ld, c, &estimate, &cookie) !=
		    LDAP_SUCCESS) {
		*ret_rc = LDAP_DECODING_ERROR;
		return false;
	}
	if (cookie.bv_len == 0) {
		ber_memfree(cookie.bv_val);
		return false;
	}
	operation_forget(d, o);
	*ret_rc = send_search(d, o, &s, &cookie);
	add(d, o);
	ber_memfree(cookie.bv_val);
	return *ret_rc == LDAP_SUCCESS;
}

static void finish(struct directory *d, struct operation *o, LDAPMessage *m)
{
	struct directory_result r = {.text = ""};
	char *text = NULL;
	int rc = ldap_parse_result(d->connection->ld, m, &r.rc, NULL, &text, NULL, &r.controls, 0);

	if (rc != LDAP_SUCCESS)
		r.rc = LDAP_DECODING_ERROR;
	if (r.rc != LDAP_SUCCESS || o->page == 0 || !next_page(d, o, r.controls, &r.rc)) {
		r.text = text != NULL && text[0] != '\0' ? text : ldap_err2string(r.rc);
		operation_forget(d, o);
		o->done(o->arg, &r);
		operation_free(o);
	}
	ldap_memfree(text);
	ldap_controls_free(r.controls);
}

/* One message to its operation. Unsolicited notices (msgid 0: disconnection, RFC 4511 4.4) come before the close. */
void operation_deliver(struct directory *d, struct connection *c, LDAPMessage *m)
{
	struct operation *o = by_msgid(d, ldap_msgid(m));
	int type = ldap_msgtype(m);

	if (o == NULL)
		return;
	o->heard_ms = clock_boot_ms();
	if (type == LDAP_RES_SEARCH_ENTRY || type == LDAP_RES_INTERMEDIATE)
		o->message(o->arg, c->ld, m, type);
	else if (type != LDAP_RES_SEARCH_REFERENCE)
		finish(d, o, m);
}

/* ---- begin, time out, abandon ---- */

static int64_t deadline(const struct operation *o)
{
	return o->timeout_ms < 0 ? INT64_MAX : o->heard_ms + o->timeout_ms;
}

static void time_out(struct directory *d, struct operation *o)
{
	struct directory_result r = {.rc = LDAP_TIMEOUT, .text = "no answer in time"};

	operation_forget(d, o);
	ldap_abandon_ext(d->connection->ld, o->msgid, NULL, NULL);
	o->done(o->arg, &r);
	operation_free(o);
}

static struct operation *first_due(struct directory *d)
{
	struct operation *o, *next, *first = NULL;

	HASH_ITER (hh, d->by_number, o, next)
		if (first == NULL || deadline(o) < deadline(first))
			first = o;
	return first;
}

/* One timer for all; what is heard meanwhile moves the operation's deadline, not the timer. */
static void watch_silence(struct directory *d, int64_t due_ms)
{
	if (due_ms == INT64_MAX || (d->silence_due_ms != 0 && d->silence_due_ms <= due_ms))
		return;
	d->silence_due_ms = due_ms;
	loop_timer_set(d->silence, due_ms - clock_boot_ms());
}

void operation_silence(void *arg)
{
	struct directory *d = arg;
	struct operation *o;

	d->refs++;
	d->silence_due_ms = 0;
	while (d->state == UP && (o = first_due(d)) != NULL && deadline(o) <= clock_boot_ms())
		time_out(d, o);
	if (d->state == UP && (o = first_due(d)) != NULL)
		watch_silence(d, deadline(o));
	directory_unref(d);
}

static void keep_for_pages(struct operation *o, const struct directory_search *s)
{
	size_t n = 0;

	o->page = s->page;
	o->base = mem_dup(s->base);
	o->filter = mem_dup(s->filter);
	o->scope = s->scope;
	while (s->attrs != NULL && s->attrs[n] != NULL)
		n++;
	if (s->attrs != NULL)
		o->attrs = mem_array(n + 1, sizeof(*o->attrs));
	for (size_t i = 0; i < n; i++)
		o->attrs[i] = mem_dup(s->attrs[i]);
	if (s->controls != NULL)
		o->controls = ldap_controls_dup(s->controls);
}

uint64_t directory_search(struct directory *d, const struct directory_search *s,
			  directory_message_fn message, directory_done_fn done, void *arg)
{
	struct operation *o;

	if (!directory_is_up(d))
		return 0;
	o = mem_alloc(sizeof(*o));
	if (send_search(d, o, s, NULL) != LDAP_SUCCESS) {
		free(o);
		d->broken_why = "a request could not be sent";
		loop_after_ask(d->broken);
		return 0;
	}
	if (s->page > 0)
		keep_for_pages(o, s);
	o->number = ++d->last_number;
	o->timeout_ms = s->timeout_ms == 0 ? d->conf->operation_timeout_ms : s->timeout_ms;
	o->heard_ms = clock_boot_ms();
	o->message = message;
	o->done = done;
	o->arg = arg;
	add(d, o);
	watch_silence(d, deadline(o));
	return o->number;
}

void directory_abandon(struct directory *d, uint64_t op)
{
	struct operation *o = by_number(d, op);

	if (o == NULL)
		return;
	operation_forget(d, o);
	if (d->connection != NULL)
		ldap_abandon_ext(d->connection->ld, o->msgid, NULL, NULL);
	operation_free(o);
}

size_t directory_operations(const struct directory *d)
{
	return HASH_CNT(hh, d->by_number);
}
