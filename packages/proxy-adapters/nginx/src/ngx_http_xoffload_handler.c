/*
 * Offers the connection of a request to the gateway process before the content
 * of the location is made.  When it is not handed off, the request goes on as
 * if nothing had been: proxy_pass, or whatever the location has, answers it.
 */


#include "ngx_http_xoffload.h"


static ngx_int_t ngx_http_xoffload_decline(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_status_e status, char *reason);
static ngx_int_t ngx_http_xoffload_offer(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_loc_conf_t *xlcf);
static void ngx_http_xoffload_timer(ngx_event_t *ev);
static void ngx_http_xoffload_cleanup(void *data);


ngx_int_t
ngx_http_xoffload_handler(ngx_http_request_t *r)
{
    char                          *obstacle;
    ngx_http_cleanup_t            *cln;
    ngx_http_xoffload_offer_t     *offer;
    ngx_http_xoffload_loc_conf_t  *xlcf;

    xlcf = ngx_http_get_module_loc_conf(r, ngx_http_xoffload_module);

    if (xlcf->upstream == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    offer = ngx_http_get_module_ctx(r, ngx_http_xoffload_module);

    if (offer) {
        return offer->status == ngx_http_xoffload_pending ? NGX_AGAIN
                                                          : NGX_DECLINED;
    }

    offer = ngx_pcalloc(r->pool, sizeof(ngx_http_xoffload_offer_t));
    if (offer == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    offer->request = r;
    offer->gateway = xlcf->gateway;

    cln->handler = ngx_http_xoffload_cleanup;
    cln->data = offer;

    ngx_http_set_ctx(r, offer, ngx_http_xoffload_module);

    obstacle = ngx_http_xoffload_obstacle(r);

    if (obstacle) {
        return ngx_http_xoffload_decline(offer, ngx_http_xoffload_unsupported,
                                         obstacle);
    }

    return ngx_http_xoffload_offer(offer, xlcf);
}


/* Why the connection cannot be moved now. */

char *
ngx_http_xoffload_obstacle(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (!(ngx_event_flags & NGX_USE_EPOLL_EVENT)) {
        return "the event method is not epoll";
    }

#if (NGX_HTTP_V2)
    if (r->stream) {
        return "HTTP/2";
    }
#endif

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        return "TLS";
    }
#endif

    if (c->sockaddr->sa_family != AF_INET
#if (NGX_HAVE_INET6)
        && c->sockaddr->sa_family != AF_INET6
#endif
       )
    {
        return "not a TCP connection";
    }

    if (c->proxy_protocol) {
        return "PROXY protocol";
    }

    if (r->http_version < NGX_HTTP_VERSION_10) {
        return "HTTP/0.9";
    }

    /* the server would see the request as the client has sent it */

    if (!r->valid_unparsed_uri) {
        return "the URI was changed";
    }

    if (r->request_body || r->discard_body || r->reading_body
        || r->expect_tested)
    {
        return "the request body was read";
    }

    if (r->header_sent || r->count != 1 || r->blocked || c->buffered) {
        return "the response has begun";
    }

    return NULL;
}


static ngx_int_t
ngx_http_xoffload_decline(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_status_e status, char *reason)
{
    offer->status = status;
    offer->reason.data = (u_char *) reason;
    offer->reason.len = ngx_strlen(reason);

    ngx_log_error(NGX_LOG_INFO, offer->request->connection->log, 0,
                  "connection is not handed off: %s", reason);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_xoffload_offer(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_loc_conf_t *xlcf)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    static ngx_uint_t    last_id;

    r = offer->request;
    offer->node.key = ++last_id;

    rc = ngx_http_xoffload_get_peer(offer, xlcf);

    if (rc == NGX_DECLINED) {
        return ngx_http_xoffload_decline(offer, ngx_http_xoffload_unavailable,
                                         "no live upstreams");
    }

    if (rc == NGX_OK) {
        rc = ngx_http_xoffload_create_offer(offer, &xlcf->upstream->host);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_xoffload_free_peer(offer);
        r->upstream = offer->previous;

        return ngx_http_xoffload_decline(offer, ngx_http_xoffload_unsupported,
                                         "too much was read");
    }

    if (rc != NGX_OK
        || ngx_http_xoffload_detach(r->connection, &offer->detached) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_xoffload_gateway_offer(offer) == NGX_OK) {
        offer->timer.handler = ngx_http_xoffload_timer;
        offer->timer.data = offer;
        offer->timer.log = r->connection->log;

        ngx_add_timer(&offer->timer, xlcf->timeout);

        return NGX_AGAIN;
    }

    ngx_http_xoffload_free_peer(offer);
    r->upstream = offer->previous;

    if (ngx_http_xoffload_attach(r->connection, &offer->detached) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_xoffload_decline(offer, ngx_http_xoffload_unavailable,
                                     "the gateway cannot be reached");
}


static void
ngx_http_xoffload_timer(ngx_event_t *ev)
{
    ngx_http_xoffload_offer_t     *offer;
    ngx_http_xoffload_loc_conf_t  *xlcf;

    offer = ev->data;

    xlcf = ngx_http_get_module_loc_conf(offer->request,
                                        ngx_http_xoffload_module);

    ngx_http_xoffload_gateway_timeout(offer, xlcf->handoff_timeout);
}


static void
ngx_http_xoffload_cleanup(void *data)
{
    ngx_http_xoffload_offer_t  *offer = data;

    if (offer->timer.timer_set) {
        ngx_del_timer(&offer->timer);
    }

    ngx_http_xoffload_gateway_forget(offer);
    ngx_http_xoffload_free_peer(offer);
}
