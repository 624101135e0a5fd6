/* Selects a server of an upstream as nginx would for a proxied request. */


#include "ngx_http_xoffload.h"


static void ngx_http_xoffload_name_server(ngx_http_xoffload_offer_t *offer,
    ngx_http_upstream_srv_conf_t *uscf);
static void ngx_http_xoffload_return_cached(ngx_http_xoffload_offer_t *offer);


/* NGX_DECLINED when there is no server now. */

ngx_int_t
ngx_http_xoffload_get_peer(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_loc_conf_t *xlcf)
{
    ngx_int_t             rc;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = offer->request;
    offer->previous = r->upstream;

    if (ngx_http_upstream_create(r) != NGX_OK) {
        return NGX_ERROR;
    }

    u = r->upstream;
    u->conf = xlcf->upstream_conf;
    u->upstream = xlcf->upstream;

    if (xlcf->upstream->peer.init(r, xlcf->upstream) != NGX_OK) {
        r->upstream = offer->previous;
        return NGX_ERROR;
    }

    u->peer.start_time = ngx_current_msec;

    rc = u->peer.get(&u->peer, u->peer.data);

    if (rc != NGX_OK && rc != NGX_DONE) {
        r->upstream = offer->previous;
        return rc == NGX_ERROR ? NGX_ERROR : NGX_DECLINED;
    }

    offer->peer = 1;
    offer->address = *u->peer.name;

    ngx_http_xoffload_name_server(offer, xlcf->upstream);

    if (rc == NGX_DONE) {
        ngx_http_xoffload_return_cached(offer);
    }

    return NGX_OK;
}


/* The name in the "server" directive that the chosen address is from. */

static void
ngx_http_xoffload_name_server(ngx_http_xoffload_offer_t *offer,
    ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_uint_t                   i, j;
    ngx_peer_connection_t       *pc;
    ngx_http_upstream_server_t  *server;

    offer->server = offer->address;

    if (uscf->servers == NULL) {
        return;
    }

    pc = &offer->request->upstream->peer;
    server = uscf->servers->elts;

    for (i = 0; i < uscf->servers->nelts; i++) {
        for (j = 0; j < server[i].naddrs; j++) {

            if (server[i].name.len
                && ngx_cmp_sockaddr(server[i].addrs[j].sockaddr,
                                    server[i].addrs[j].socklen,
                                    pc->sockaddr, pc->socklen, 1)
                   == NGX_OK)
            {
                offer->server = server[i].name;
                return;
            }
        }
    }
}


/*
 * The "keepalive" directive has taken a connection out of its cache, and
 * nobody would watch that: it goes back at once.
 */

static void
ngx_http_xoffload_return_cached(ngx_http_xoffload_offer_t *offer)
{
    ngx_pool_t           *pool;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = offer->request->upstream;
    u->keepalive = 1;
    u->request_body_sent = 1;

    ngx_http_xoffload_free_peer(offer);

    c = u->peer.connection;

    if (c == NULL) {
        return;
    }

    /* the cache did not want it */

    u->peer.connection = NULL;
    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


void
ngx_http_xoffload_free_peer(ngx_http_xoffload_offer_t *offer)
{
    ngx_http_upstream_t  *u;

    if (!offer->peer) {
        return;
    }

    offer->peer = 0;
    u = offer->request->upstream;

    if (u->peer.free && u->peer.sockaddr) {
        u->peer.free(&u->peer, u->peer.data,
                     offer->peer_failed ? NGX_PEER_FAILED : 0);
        u->peer.sockaddr = NULL;
    }
}
