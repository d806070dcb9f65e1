#include "http.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_parse.h"

enum { READ_SIZE = 64 * 1024, STREAM_STEP = 256 * 1024 };

struct conn {
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_write_t write;
	struct http_server *server;
	uint64_t number;
	SSL *ssl;	    /* owns both BIOs */
	BIO *cipher_in;	    /* from the socket */
	BIO *cipher_out;    /* to the socket */
	struct text in;	    /* plain bytes not yet parsed */
	struct text out;    /* plain bytes of answers */
	struct text wire;   /* what uv_write() holds */
	http_more_fn *more; /* a chunked body under way */
	void *cursor;
	int handles; /* libuv handles still open */
	bool shaken, continued;
	bool waiting; /* for the timer: the answer is delayed */
	bool writing; /* uv_write() under way */
	bool last;    /* close once everything is written */
	bool reset;   /* … by RST */
	bool hanging; /* never answers again */
	bool parsing; /* conn_serve() is running */
};

static char read_buffer[READ_SIZE];

static void conn_serve(struct conn *c);

/* A service that stood still for a while carries out what came meanwhile, whoever still waits. */
static bool has_left(const struct conn *c)
{
	struct tcp_info info;
	socklen_t size = sizeof info;
	uv_os_fd_t fd;

	return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 &&
	       getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
	       info.tcpi_state != TCP_ESTABLISHED;
}

SSL_CTX *http_tls_context(const char *cert, const char *key, const char **ret_error)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_id_context(tls, (const unsigned char *)"sim", 3);
	if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1)
		*ret_error = "the certificate cannot be read";
	else if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1)
		*ret_error = "the private key cannot be read";
	else if (SSL_CTX_check_private_key(tls) != 1)
		*ret_error = "the private key does not fit the certificate";
	else
		return tls;
	SSL_CTX_free(tls);
	return NULL;
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	if (--c->handles)
		return;
	c->server->counts.open--;
	SSL_free(c->ssl);
	text_free(&c->in);
	text_free(&c->out);
	text_free(&c->wire);
	free(c);
}

static void conn_close(struct conn *c, bool reset)
{
	struct text rest = {0};

	if (uv_is_closing((uv_handle_t *)&c->tcp))
		return;
	while (c->more && c->more(c->cursor, &rest)) /* frees its cursor at the end */
		text_clear(&rest);
	c->more = NULL;
	text_free(&rest);
	uv_close((uv_handle_t *)&c->timer, on_closed);
	if (!reset || uv_tcp_close_reset(&c->tcp, on_closed) != 0)
		uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_written(uv_write_t *write, int status)
{
	struct conn *c = write->data;

	c->writing = false;
	if (status < 0 || uv_is_closing((uv_handle_t *)&c->tcp)) {
		conn_close(c, false);
		return;
	}
	conn_serve(c);
}

/* Sends what stands in wire; at once if the socket takes it. */
static void conn_send_wire(struct conn *c)
{
	uv_buf_t buf = uv_buf_init(c->wire.p, (unsigned)c->wire.n);

	if (!c->wire.n || c->writing || uv_is_closing((uv_handle_t *)&c->tcp))
		return;
	int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
	if (n == (int)c->wire.n) {
		text_clear(&c->wire);
		return;
	}
	if (n < 0 && n != UV_EAGAIN) {
		conn_close(c, false);
		return;
	}
	/* The bytes must stay where they are until on_written(): hand them to a text of their own. */
	memmove(c->wire.p, c->wire.p + (n > 0 ? n : 0), c->wire.n -= (size_t)(n > 0 ? n : 0));
	buf = uv_buf_init(c->wire.p, (unsigned)c->wire.n);
	c->write.data = c;
	c->writing = true;
	if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) < 0) {
		c->writing = false;
		conn_close(c, false);
	}
}

static void drain_cipher(struct conn *c)
{
	char *bytes;
	long n = BIO_get_mem_data(c->cipher_out, &bytes);

	if (n > 0) {
		text_add(&c->wire, bytes, (size_t)n);
		(void)BIO_reset(c->cipher_out);
	}
}

/* Moves out through TLS to the socket. Only called while nothing is being written. */
static void conn_flush(struct conn *c)
{
	if (c->writing)
		return;
	text_clear(&c->wire);
	if (!c->ssl) {
		struct text swap = c->wire;

		c->wire = c->out;
		c->out = swap;
	} else {
		for (size_t at = 0; at < c->out.n;) {
			int n = SSL_write(c->ssl, c->out.p + at, (int)(c->out.n - at));

			if (n <= 0) {
				conn_close(c, false);
				return;
			}
			at += (size_t)n;
		}
		text_clear(&c->out);
		drain_cipher(c);
	}
	conn_send_wire(c);
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{409, "Conflict"},
		{410, "Gone"},
		{412, "Precondition Failed"},
		{413, "Payload Too Large"},
		{415, "Unsupported Media Type"},
		{429, "Too Many Requests"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
	};

	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Status";
}

static void add_chunk(struct text *out, struct slice bytes)
{
	if (bytes.n) {
		text_fmt(out, "%zx\r\n", bytes.n);
		text_slice(out, bytes);
		text_str(out, "\r\n");
	}
}

static void add_head(struct text *out, const struct http_response *response, size_t length)
{
	text_str(out, "HTTP/1.1 ");
	text_number(out, response->status);
	text_char(out, ' ');
	text_str(out, reason(response->status));
	text_str(out, "\r\n");
	if (response->content_type) {
		text_str(out, "Content-Type: ");
		text_str(out, response->content_type);
		text_str(out, "\r\n");
	}
	text_slice(out, slice_from(&response->headers));
	if (response->close)
		text_str(out, "Connection: close\r\n");
	if (response->more) {
		text_str(out, "Transfer-Encoding: chunked\r\n");
	} else if (response->status != 204 && response->status != 304) {
		text_str(out, "Content-Length: ");
		text_number(out, (int64_t)length);
		text_str(out, "\r\n");
	}
	text_str(out, "\r\n");
}

/* Puts the answer into out as its fate says. */
static void conn_respond(struct conn *c, struct http_response *response)
{
	size_t start = c->out.n;
	size_t length = response->body.n;

	c->more = response->more;
	c->cursor = response->cursor;
	c->last = response->close || response->fate == HTTP_HALF;
	if (response->fate == HTTP_HANG) {
		c->hanging = true;
	} else if (response->fate == HTTP_CUT || response->fate == HTTP_RESET) {
		c->last = true;
		c->reset = response->fate == HTTP_RESET;
	} else {
		if (response->truncate_body)
			length /= 2;
		add_head(&c->out, response, length);
		if (response->more)
			add_chunk(&c->out, slice_from(&response->body));
		else if (response->status != 204 && response->status != 304)
			text_add(&c->out, response->body.p, length);
		if (response->fate == HTTP_HALF)
			c->out.n = start + (c->out.n - start) / 2;
	}
	text_free(&response->headers);
	text_free(&response->body);
}

static void conn_stream(struct conn *c)
{
	struct text chunk = {0};
	bool again = true;

	while (again && chunk.n < STREAM_STEP)
		again = c->more(c->cursor, &chunk);
	add_chunk(&c->out, slice_from(&chunk));
	text_free(&chunk);
	if (!again) {
		c->more = NULL;
		text_str(&c->out, "0\r\n\r\n");
	}
}

static void on_delay_over(uv_timer_t *timer)
{
	struct conn *c = timer->data;

	c->waiting = false;
	conn_serve(c);
}

static void conn_refuse(struct conn *c, int status)
{
	struct http_response response = {.status = status, .close = true};

	c->server->counts.bad_requests++;
	text_clear(&c->in);
	conn_respond(c, &response);
}

/* Takes one request from in; false if there is none yet. */
static bool conn_step(struct conn *c)
{
	struct http_request request = {.connection = c->number};
	struct http_response response = {.status = 200};
	size_t used = 0;

	switch (http_parse(&c->in, c->server->body_max, &request, &used)) {
	case HTTP_CONTINUE:
		if (!c->continued)
			text_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
		c->continued = true;
		return false;
	case HTTP_MORE:
		return false;
	case HTTP_BAD:
		conn_refuse(c, 400);
		return true;
	case HTTP_TOO_LARGE:
		conn_refuse(c, 413);
		return true;
	case HTTP_PARSED:
		break;
	}
	c->continued = false;
	response.close = slice_is_nocase(http_header(&request, "connection"), "close");
	request.left = has_left(c);
	c->server->handler(c->server->context, &request, &response);
	memmove(c->in.p, c->in.p + used, c->in.n -= used);
	conn_respond(c, &response);
	if (response.delay_ms > 0 && !uv_is_closing((uv_handle_t *)&c->tcp)) {
		c->waiting = true;
		uv_timer_start(&c->timer, on_delay_over, (uint64_t)response.delay_ms, 0);
	}
	return true;
}

/* Does what can be done now: write, stream, take the next request, close. */
static void conn_serve(struct conn *c)
{
	uv_handle_t *handle = (uv_handle_t *)&c->tcp;

	if (c->parsing)
		return;
	c->parsing = true;
	while (!uv_is_closing(handle) && !c->waiting && !c->writing && !c->hanging) {
		if (c->out.n >= STREAM_STEP || (c->out.n && c->last && !c->more)) {
			conn_flush(c);
		} else if (c->more) {
			conn_stream(c);
		} else if (c->last) {
			conn_close(c, c->reset);
		} else if (!conn_step(c)) {
			conn_flush(c);
			break;
		}
	}
	c->parsing = false;
}

/* Plain bytes out of the TLS engine. */
static void conn_decrypt(struct conn *c)
{
	if (!c->shaken) {
		int ok = SSL_do_handshake(c->ssl);

		if (!c->writing) {
			drain_cipher(c);
			conn_send_wire(c);
		}
		if (ok != 1) {
			if (SSL_get_error(c->ssl, ok) == SSL_ERROR_WANT_READ)
				return;
			c->server->counts.handshake_failures++;
			ERR_clear_error();
			conn_close(c, false);
			return;
		}
		c->shaken = true;
		c->server->counts.handshakes++;
		c->server->counts.resumed += SSL_session_reused(c->ssl) == 1;
	}
	for (;;) {
		char bytes[16 * 1024];
		int n = SSL_read(c->ssl, bytes, sizeof bytes);

		if (n > 0) {
			text_add(&c->in, bytes, (size_t)n);
			continue;
		}
		if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) {
			ERR_clear_error();
			conn_close(c, false);
		}
		return;
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
	(void)handle;
	(void)suggested;
	*ret_buf = uv_buf_init(read_buffer, sizeof read_buffer);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (n < 0) {
		conn_close(c, false);
		return;
	}
	if (c->ssl) {
		BIO_write(c->cipher_in, buf->base, (int)n);
		conn_decrypt(c);
	} else {
		text_add(&c->in, buf->base, (size_t)n);
	}
	conn_serve(c);
}

static void conn_start_tls(struct conn *c)
{
	c->ssl = SSL_new(c->server->tls);
	c->cipher_in = BIO_new(BIO_s_mem());
	c->cipher_out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(c->cipher_in, -1);
	BIO_set_mem_eof_return(c->cipher_out, -1);
	SSL_set_bio(c->ssl, c->cipher_in, c->cipher_out);
	SSL_set_accept_state(c->ssl);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct http_server *server = listener->data;
	struct conn *c;

	if (status < 0)
		return;
	c = xalloc(sizeof *c);
	c->server = server;
	c->number = ++server->counts.connections;
	server->counts.open++;
	c->handles = 2;
	uv_tcp_init(listener->loop, &c->tcp);
	uv_timer_init(listener->loop, &c->timer);
	c->tcp.data = c;
	c->timer.data = c;
	if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
		conn_close(c, false);
		return;
	}
	uv_tcp_nodelay(&c->tcp, 1);
	if (server->tls)
		conn_start_tls(c);
	uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

int http_listen(struct http_server *server, uv_loop_t *loop, const char *address)
{
	struct slice port_text = slice_of(address);
	struct slice host = slice_cut(&port_text, ':');
	struct sockaddr_in bound;
	char name[64];
	int64_t port;
	int length = sizeof bound;

	if (host.n >= sizeof name || !slice_number(port_text, &port) || port < 0 || port > 65535)
		return UV_EINVAL;
	memcpy(name, host.p, host.n);
	name[host.n] = '\0';
	int error = uv_ip4_addr(name, (int)port, &bound);
	if (error)
		return error;
	uv_tcp_init(loop, &server->listener);
	server->listener.data = server;
	error = uv_tcp_bind(&server->listener, (const struct sockaddr *)&bound, 0);
	if (!error)
		error = uv_listen((uv_stream_t *)&server->listener, 1024, on_connection);
	if (!error)
		error = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&bound, &length);
	return error ? error : ntohs(bound.sin_port);
}
