#include "kerberos.h"

#include <errno.h>
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE "MEMORY:dirpipe"

void kerberos_init(void)
{
	const char *now = getenv("KRB5CCNAME");

	if (now == NULL || strcmp(now, CACHE) != 0)
		setenv("KRB5CCNAME", CACHE, 1);
}

/* Said of who we are, by the KDC (RFC 4120 7.5.9) or by the keytab; all else is trouble on the way. */
static bool is_refusal(krb5_error_code rc)
{
	switch (rc) {
	case KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN:
	case KRB5KDC_ERR_NAME_EXP:
	case KRB5KDC_ERR_CLIENT_REVOKED:
	case KRB5KDC_ERR_KEY_EXP:
	case KRB5KDC_ERR_PREAUTH_FAILED:
	case KRB5KDC_ERR_POLICY:
	case KRB5KDC_ERR_ETYPE_NOSUPP:
	case KRB5KRB_AP_ERR_BAD_INTEGRITY:
	case KRB5_PREAUTH_FAILED:
	case KRB5_KT_NOTFOUND:
	case KRB5_KT_BADNAME:
	case KRB5_KT_FORMAT:
	case KRB5_KT_IOERR:
	case KRB5_KT_UNKNOWN_TYPE:
	case KRB5_KEYTAB_BADVNO:
	case KRB5_PARSE_MALFORMED:
	case ENOENT:
	case EACCES:
		return true;
	default:
		return false;
	}
}

static krb5_error_code keep(krb5_context context, krb5_creds *ticket)
{
	krb5_ccache cache = NULL;
	krb5_error_code rc = krb5_cc_resolve(context, CACHE, &cache);

	if (rc == 0)
		rc = krb5_cc_initialize(context, cache, ticket->client);
	if (rc == 0)
		rc = krb5_cc_store_cred(context, cache, ticket);
	if (cache != NULL)
		krb5_cc_close(context, cache);
	return rc;
}

static krb5_error_code ask(krb5_context context, const char *keytab, const char *principal)
{
	krb5_keytab keys = NULL;
	krb5_principal client = NULL;
	krb5_creds ticket = {0};
	krb5_error_code rc = krb5_kt_resolve(context, keytab, &keys);

	if (rc == 0)
		rc = krb5_parse_name(context, principal, &client);
	if (rc == 0)
		rc = krb5_get_init_creds_keytab(context, &ticket, client, keys, 0, NULL, NULL);
	if (rc == 0)
		rc = keep(context, &ticket);
	krb5_free_cred_contents(context, &ticket);
	krb5_free_principal(context, client);
	if (keys != NULL)
		krb5_kt_close(context, keys);
	return rc;
}

int kerberos_ticket(const char *keytab, const char *principal, char *text, size_t text_n)
{
	krb5_context context = NULL;
	krb5_error_code rc = krb5_init_context(&context);
	const char *words;

	if (rc == 0)
		rc = ask(context, keytab, principal);
	if (rc != 0) {
		words = krb5_get_error_message(context, rc);
		snprintf(text, text_n, "%s", words);
		krb5_free_error_message(context, words);
	}
	krb5_free_context(context);
	if (rc == 0)
		return 0;
	return is_refusal(rc) ? -EACCES : -EHOSTUNREACH;
}
