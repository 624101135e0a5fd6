/* Reads what the gateway process answers. */


#include "ngx_http_xoffload.h"


static ngx_int_t ngx_http_xoffload_read_some(ngx_http_xoffload_gateway_t *gw);
static ngx_int_t ngx_http_xoffload_answered(ngx_http_xoffload_gateway_t *gw,
    ngx_http_xoffload_answer_t *answer);


static ngx_str_t  ngx_http_xoffload_handed_off_text = ngx_string("handed off");


void
ngx_http_xoffload_gateway_read(ngx_event_t *rev)
{
    ngx_int_t                     rc;
    ngx_connection_t             *c;
    ngx_http_xoffload_gateway_t  *gw;

    c = rev->data;
    gw = c->data;

    do {
        rc = ngx_http_xoffload_read_some(gw);
    } while (rc == NGX_OK);

    if (rc == NGX_ERROR) {
        ngx_http_xoffload_gateway_gone(gw);
    }
}


/* Reads no more than the rest of one answer. */

static ngx_int_t
ngx_http_xoffload_read_some(ngx_http_xoffload_gateway_t *gw)
{
    size_t                      size;
    ssize_t                     n;
    ngx_int_t                   rc;
    ngx_socket_t                fds[2];
    ngx_http_xoffload_answer_t  answer;

    size = sizeof(ngx_http_xoffload_answer_t);

    if (gw->received >= size) {
        ngx_memcpy(&answer, gw->buffer, size);
        size += answer.length;
    }

    n = ngx_http_xoffload_recv(gw->stream->fd, gw->buffer + gw->received,
                               size - gw->received, fds, 2);

    if (n == NGX_AGAIN) {
        gw->stream->read->ready = 0;
        return NGX_AGAIN;
    }

    rc = NGX_ERROR;

    if (n <= 0) {
        goto done;
    }

    gw->received += n;
    rc = NGX_OK;

    if (gw->received < sizeof(ngx_http_xoffload_answer_t)) {
        goto done;
    }

    ngx_memcpy(&answer, gw->buffer, sizeof(ngx_http_xoffload_answer_t));

    if (answer.length > NGX_HTTP_XOFFLOAD_MAX_REASON) {
        rc = NGX_ERROR;
        goto done;
    }

    if (gw->received < sizeof(ngx_http_xoffload_answer_t) + answer.length) {
        goto done;
    }

    gw->received = 0;

    if (gw->queue) {
        rc = ngx_http_xoffload_answered(gw, &answer);
        goto done;
    }

    if (answer.type != NGX_HTTP_XOFFLOAD_WELCOME
        || answer.id != NGX_HTTP_XOFFLOAD_PROTOCOL_VERSION
        || fds[0] == (ngx_socket_t) -1 || fds[1] == (ngx_socket_t) -1)
    {
        rc = NGX_ERROR;
        goto done;
    }

    rc = ngx_http_xoffload_gateway_welcome(gw, fds);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

done:

    if (n > 0 && fds[0] != (ngx_socket_t) -1) {
        (void) ngx_close_socket(fds[0]);
    }

    if (n > 0 && fds[1] != (ngx_socket_t) -1) {
        (void) ngx_close_socket(fds[1]);
    }

    return rc;
}


static ngx_int_t
ngx_http_xoffload_answered(ngx_http_xoffload_gateway_t *gw,
    ngx_http_xoffload_answer_t *answer)
{
    ngx_str_t                   reason;
    ngx_http_xoffload_offer_t  *offer;

    gw->paused = 0;

    offer = ngx_http_xoffload_gateway_find(gw, answer->id);

    switch (answer->type) {

    case NGX_HTTP_XOFFLOAD_HANDED_OFF:

        if (offer && offer->posted) {
            ngx_http_xoffload_resolve(offer, ngx_http_xoffload_handed_off,
                                      &ngx_http_xoffload_handed_off_text);
        }

        return NGX_OK;

    case NGX_HTTP_XOFFLOAD_REFUSED:
    case NGX_HTTP_XOFFLOAD_FAILED:
    case NGX_HTTP_XOFFLOAD_LOST:

        if (offer && offer->posted) {
            offer->peer_failed = answer->type == NGX_HTTP_XOFFLOAD_FAILED;

            reason.data = gw->buffer + sizeof(ngx_http_xoffload_answer_t);
            reason.len = answer->length;

            ngx_http_xoffload_resolve(offer,
                                      answer->type == NGX_HTTP_XOFFLOAD_LOST
                                      ? ngx_http_xoffload_lost
                                      : ngx_http_xoffload_refused,
                                      &reason);
        }

        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}
