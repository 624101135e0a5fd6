/* What becomes of a request whose offer was answered. */


#include "ngx_http_xoffload.h"


static void ngx_http_xoffload_close(ngx_http_xoffload_offer_t *offer);


/* The end of an offer that was made.  Not to be called by a phase handler. */

void
ngx_http_xoffload_resolve(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_status_e status, ngx_str_t *reason)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = offer->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (offer->timer.timer_set) {
        ngx_del_timer(&offer->timer);
    }

    ngx_http_xoffload_gateway_forget(offer);
    ngx_http_xoffload_free_peer(offer);

    /* nothing can be sent on it, whatever the answer says */

    if (status != ngx_http_xoffload_handed_off
        && ngx_http_xoffload_is_frozen(c->fd))
    {
        status = ngx_http_xoffload_lost;
    }

    offer->status = status;
    offer->reason.len = reason->len;
    offer->reason.data = ngx_pstrdup(r->pool, reason);

    if (offer->reason.data == NULL) {
        offer->reason.len = 0;
    }

    r->upstream = offer->previous;

    if (status == ngx_http_xoffload_handed_off
        || status == ngx_http_xoffload_lost)
    {
        ngx_http_xoffload_close(offer);

    } else if (ngx_http_xoffload_attach(c, &offer->detached) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);

    } else {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "connection is not handed off: %V", &offer->reason);

        ngx_http_core_run_phases(r);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * Closes the descriptor and nothing else: no lingering, no shutdown().  In
 * repair mode that is silent (tcp_close() in net/ipv4/tcp.c), and so it is
 * as long as another process has the connection.
 */

static void
ngx_http_xoffload_close(ngx_http_xoffload_offer_t *offer)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = offer->request;
    c = r->connection;

    if (offer->status == ngx_http_xoffload_lost) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "connection was lost in a handoff: %V", &offer->reason);

        /* whoever has it still shall find it ended, not take it */

        if (!ngx_http_xoffload_is_frozen(c->fd)
            && shutdown(c->fd, SHUT_RDWR) == -1)
        {
            ngx_connection_error(c, ngx_socket_errno, "shutdown() failed");
        }
    }

    r->keepalive = 0;
    c->read->eof = 1;

    ngx_http_finalize_request(r, NGX_DONE);
}
