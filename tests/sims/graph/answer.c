#include <stdarg.h>
#include <stdio.h>

#include "graph.h"

static const char json_type[] = "application/json;odata.metadata=minimal;odata.streaming=true;"
				"IEEE754Compatible=false;charset=utf-8";
static const char plain_type[] = "application/json;odata.metadata=none;odata.streaming=true;"
				 "IEEE754Compatible=false;charset=utf-8";

static bool wants_metadata(const struct sim_call *call)
{
	return !slice_find(http_header(call->http, "accept"), SLICE("odata.metadata=none"));
}

static void add_headers(struct sim_call *call)
{
	text_str(&call->answer->headers, "odata-version: 4.0\r\n");
}

void graph_json(struct sim_call *call, int status)
{
	call->answer->status = status;
	call->answer->content_type = wants_metadata(call) ? json_type : plain_type;
	add_headers(call);
}

void graph_empty(struct sim_call *call, int status)
{
	call->answer->status = status;
	call->answer->content_type = NULL;
}

static void print_error(struct graph *g, struct sim_call *call, const char *code,
			const char *message, const char *detail_code, const char *target)
{
	struct text *out = &call->answer->body;
	char id[UUID_TEXT + 1];
	uint8_t bytes[16];
	struct slice client = http_header(call->http, "client-request-id");

	uuid_make(bytes, &g->sim->random);
	uuid_print(bytes, id);
	text_clear(out);
	text_fmt(out, "{\"error\":{\"code\":\"%s\",\"message\":", code);
	text_json(out, slice_of(message));
	if (detail_code) {
		text_fmt(out, ",\"details\":[{\"code\":\"%s\",\"message\":", detail_code);
		text_json(out, slice_of(message));
		text_fmt(out, ",\"target\":\"%s\"}]", target);
	}
	text_str(out, ",\"innerError\":{\"date\":\"");
	text_time(out, sim_now_ms(g->sim), false);
	out->n--; /* no Z there */
	text_fmt(out, "\",\"request-id\":\"%s\",\"client-request-id\":", id);
	text_json(out, client.n ? client : slice_of(id));
	text_str(out, "}}}");
	text_fmt(&call->answer->headers, "request-id: %s\r\n", id);
}

void graph_error(struct graph *g, struct sim_call *call, int status, const char *code,
		 const char *format, ...)
{
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	call->answer->status = status;
	call->answer->content_type = "application/json";
	print_error(g, call, code, message, NULL, NULL);
}

void graph_conflict(struct graph *g, struct sim_call *call, const char *message,
		    const char *detail_code, const char *target)
{
	call->answer->status = 400;
	call->answer->content_type = "application/json";
	print_error(g, call, "Request_BadRequest", message, detail_code, target);
}

void graph_not_found(struct graph *g, struct sim_call *call, struct slice id)
{
	graph_error(
		g, call, 404, "Request_ResourceNotFound",
		"Resource '%.*s' does not exist or one of its queried reference-property objects "
		"are not present.",
		(int)id.n, id.p);
}

void graph_base(struct graph *g, const struct sim_call *call, struct text *out)
{
	text_str(out, g->sim->https.tls ? "https://" : "http://");
	text_slice(out, http_header(call->http, "host"));
	text_str(out, "/v1.0");
}

void graph_context(struct graph *g, struct sim_call *call, const char *fragment)
{
	struct text *out = &call->answer->body;

	if (!wants_metadata(call))
		return;
	text_str(out, "\"@odata.context\":\"");
	graph_base(g, call, out);
	text_fmt(out, "/$metadata#%s\",", fragment);
}

bool graph_body(struct graph *g, struct sim_call *call, struct json **ret_body)
{
	const char *error;

	*ret_body = NULL;
	if (http_content_is(call->http, "application/json", NULL))
		*ret_body = json_parse(&g->sim->arena, call->body, &error);
	if (json_is(*ret_body, JSON_OBJECT))
		return true;
	graph_error(
		g, call, 400, "BadRequest",
		"Unable to read JSON request payload. Please ensure Content-Type header is set and "
		"payload is of valid JSON format.");
	return false;
}
