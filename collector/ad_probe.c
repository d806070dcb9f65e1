#include "ad.h"

#include <assert.h>
#include <stdlib.h>

struct ad_probe {
	struct directory *directory;
	struct ad_server *server;
	void *arg;
	LDAPControl **controls;
	const enum ad_question *next; /* NULL: nothing is asked */
	ad_probe_fn done;
	uint64_t op;
	struct buf base;
};

struct ad_probe *ad_probe_new(struct directory *d, struct ad_server *s, void *arg)
{
	struct ad_probe *p = mem_alloc(sizeof(*p));

	p->directory = d;
	p->server = s;
	p->arg = arg;
	p->controls = ad_controls_new();
	return p;
}

void ad_probe_stop(struct ad_probe *p)
{
	if (p->op)
		directory_abandon(p->directory, p->op);
	p->op = 0;
	p->next = NULL;
}

void ad_probe_free(struct ad_probe *p)
{
	if (!p)
		return;
	ad_probe_stop(p);
	ldap_controls_free(p->controls);
	buf_done(&p->base);
	free(p);
}

static void take(void *arg, LDAP *ld, LDAPMessage *m, int type)
{
	struct ad_probe *p = arg;

	if (type == LDAP_RES_SEARCH_ENTRY)
		ad_answer(p->server, *p->next, ld, m);
}

static void answered(void *arg, const struct directory_result *r);

static void send_next(struct ad_probe *p)
{
	struct directory_search search;

	ad_ask(p->server, *p->next, &p->base, &search);
	if (*p->next == AD_DELETED || *p->next == AD_LAST)
		search.controls = p->controls;
	if (*p->next == AD_DELETED)
		p->server->deletions = false;
	if (*p->next == AD_LAST)
		p->server->last_usn = 0;
	if (*p->next == AD_BASE)
		p->server->base_exists = false;
	p->op = directory_search(p->directory, &search, take, answered, p);
	if (!p->op)
		p->next = NULL;
}

static void finish(struct ad_probe *p, int rc, const char *text)
{
	p->next = NULL;
	p->done(p->arg, rc, text);
}

/* The later questions need what the first answered. */
static bool can_go_on(const struct ad_probe *p)
{
	return *p->next != AD_ROOT || (p->server->nc && p->server->service);
}

static void answered(void *arg, const struct directory_result *r)
{
	struct ad_probe *p = arg;
	bool answer = *p->next == AD_BASE || *p->next == AD_DELETED || *p->next == AD_LAST;

	p->op = 0;
	if (r->rc &&
	    !(answer && (r->rc == LDAP_NO_SUCH_OBJECT || r->rc == LDAP_INSUFFICIENT_ACCESS))) {
		finish(p, r->rc, r->text);
	} else if (!can_go_on(p) || p->next[1] == AD_QUESTIONS) {
		finish(p, 0, "");
	} else {
		p->next++;
		send_next(p);
	}
}

void ad_probe_ask(struct ad_probe *p, const enum ad_question *list, ad_probe_fn done)
{
	assert(!p->next && !p->op);
	p->next = list;
	p->done = done;
	send_next(p);
}

uint64_t ad_watch(struct directory *d, const char *nc, directory_message_fn fn,
		  directory_done_fn done, void *arg)
{
	static const char *const id[] = {"objectGUID", NULL};
	LDAP *ld = directory_ldap(d);
	LDAPControl *controls[3] = {0};
	uint64_t op = 0;

	if (ld && ldap_create_server_notification_control(ld, &controls[0]) == LDAP_SUCCESS &&
	    ldap_create_show_deleted_control(ld, &controls[1]) == LDAP_SUCCESS) {
		controls[0]->ldctl_iscritical = 1;
		controls[1]->ldctl_iscritical = 1;
		op = directory_search(d,
				      &(struct directory_search){
					      .base = nc,
					      .scope = LDAP_SCOPE_SUBTREE,
					      .attrs = id,
					      .controls = controls,
					      .timeout_ms = DIRECTORY_FOREVER,
				      },
				      fn, done, arg);
	}
	ldap_control_free(controls[0]);
	ldap_control_free(controls[1]);
	return op;
}
