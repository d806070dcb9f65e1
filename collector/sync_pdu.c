#include "sync_pdu.h"

#include <errno.h>
#include <lber.h>
#include <stdlib.h>
#include <string.h>

static void add_tlv(struct buf *out, uint8_t tag, struct slice value)
{
	buf_addc(out, (char)tag);
	if (value.n < 0x80) {
		buf_addc(out, (char)value.n);
	} else if (value.n < 0x100) {
		buf_addc(out, (char)0x81);
		buf_addc(out, (char)value.n);
	} else {
		buf_addc(out, (char)0x83);
		buf_addc(out, (char)(value.n >> 16));
		buf_addc(out, (char)(value.n >> 8));
		buf_addc(out, (char)value.n);
	}
	buf_add(out, value.p, value.n);
}

void sync_request(struct slice cookie, bool hint, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf inner = {0};

	add_tlv(&inner, 0x0a, SLICE("\x03")); /* mode refreshAndPersist */
	if (cookie.n > 0)
		add_tlv(&inner, 0x04, cookie);
	if (hint)
		add_tlv(&inner, 0x01, SLICE("\xff"));
	add_tlv(out, 0x30, buf_slice(&inner));
}

/* The value may stand alone (new cookie) or be optional in front of the rest. */
static bool read_text(BerElement *ber, struct buf *ret)
{
	struct berval text = {0, NULL};

	if (ber_scanf(ber, "m", &text) == LBER_ERROR)
		return false;
	buf_add(ret, text.bv_val, text.bv_len);
	return true;
}

static bool read_cookie(BerElement *ber, struct buf *ret)
{
	ber_len_t n;

	return ber_peek_tag(ber, &n) != LDAP_TAG_SYNC_COOKIE || read_text(ber, ret);
}

/* libldap's BOOLEAN is -1 for TRUE. */
static bool read_flag(BerElement *ber, ber_tag_t tag, bool *ret)
{
	ber_int_t flag = 0;
	ber_len_t n;

	if (ber_peek_tag(ber, &n) != tag)
		return true;
	if (ber_scanf(ber, "b", &flag) == LBER_ERROR)
		return false;
	*ret = flag != 0;
	return true;
}

/* NULL too for an empty value: ber_scanf reads through a null pointer then (liblber 2.5.13). */
static BerElement *open_value(struct berval *value)
{
	return value->bv_len > 0 ? ber_init(value) : NULL;
}

int sync_read_state(const struct berval *value, struct sync_entry *ret)
{
	struct berval copy = *value, uuid = {0, NULL};
	BerElement *ber = open_value(&copy);
	ber_int_t state = -1;
	bool good;

	*ret = (struct sync_entry){0};
	if (ber == NULL)
		return -EBADMSG;
	good = ber_scanf(ber, "{em", &state, &uuid) != LBER_ERROR && state >= SYNC_PRESENT &&
	       state < SYNC_STATES && uuid.bv_len == sizeof(ret->id.b);
	if (good) {
		ret->state = (enum sync_state)state;
		memcpy(ret->id.b, uuid.bv_val, sizeof(ret->id.b));
		good = read_cookie(ber, &ret->cookie);
	}
	ber_free(ber, 1);
	if (!good)
		sync_entry_done(ret);
	return good ? 0 : -EBADMSG;
}

void sync_entry_done(struct sync_entry *e)
{
	buf_done(&e->cookie);
}

static bool read_id_set(BerElement *ber, struct sync_info *ret)
{
	BerVarray uuids = NULL;
	bool good = true;

	if (ber_scanf(ber, "[W]", &uuids) == LBER_ERROR)
		return false;
	if (uuids == NULL)
		return true;
	while (uuids[ret->n].bv_val != NULL)
		ret->n++;
	ret->ids = mem_array(ret->n + 1, sizeof(*ret->ids));
	for (size_t i = 0; i < ret->n; i++) {
		good = good && uuids[i].bv_len == sizeof(ret->ids[i].b);
		if (good)
			memcpy(ret->ids[i].b, uuids[i].bv_val, sizeof(ret->ids[i].b));
	}
	ber_bvarray_free(uuids);
	return good;
}

static bool read_info(BerElement *ber, ber_tag_t tag, struct sync_info *ret)
{
	switch (tag) {
	case LDAP_TAG_SYNC_NEW_COOKIE:
		ret->kind = SYNC_NEW_COOKIE;
		return read_text(ber, &ret->cookie);
	case LDAP_TAG_SYNC_REFRESH_DELETE:
	case LDAP_TAG_SYNC_REFRESH_PRESENT:
		ret->kind = tag == LDAP_TAG_SYNC_REFRESH_DELETE ? SYNC_REFRESH_DELETE
								: SYNC_REFRESH_PRESENT;
		ret->done = true;
		return ber_scanf(ber, "{") != LBER_ERROR && read_cookie(ber, &ret->cookie) &&
		       read_flag(ber, LDAP_TAG_REFRESHDONE, &ret->done);
	case LDAP_TAG_SYNC_ID_SET:
		ret->kind = SYNC_ID_SET;
		return ber_scanf(ber, "{") != LBER_ERROR && read_cookie(ber, &ret->cookie) &&
		       read_flag(ber, LDAP_TAG_REFRESHDELETES, &ret->deletes) &&
		       read_id_set(ber, ret);
	default:
		return false;
	}
}

int sync_read_info(const struct berval *value, struct sync_info *ret)
{
	struct berval copy = *value;
	BerElement *ber = open_value(&copy);
	ber_len_t n;
	bool good;

	*ret = (struct sync_info){0};
	if (ber == NULL)
		return -EBADMSG;
	good = read_info(ber, ber_peek_tag(ber, &n), ret);
	ber_free(ber, 1);
	if (!good)
		sync_info_done(ret);
	return good ? 0 : -EBADMSG;
}

void sync_info_done(struct sync_info *i)
{
	buf_done(&i->cookie);
	free(i->ids);
	i->ids = NULL;
	i->n = 0;
}
