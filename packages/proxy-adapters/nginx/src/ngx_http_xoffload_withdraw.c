/* What becomes of offers when the gateway process hangs or dies. */


#include "ngx_http_xoffload.h"


static ngx_uint_t ngx_http_xoffload_in_queue(
    ngx_http_xoffload_offer_t *offer);
static void ngx_http_xoffload_withdraw(ngx_http_xoffload_gateway_t *gw,
    ngx_queue_t *withdrawn);


static ngx_str_t  ngx_http_xoffload_gone_text =
    ngx_string("the gateway process has ended");
static ngx_str_t  ngx_http_xoffload_hung_text =
    ngx_string("the gateway process does not take connections");
static ngx_str_t  ngx_http_xoffload_slow_text =
    ngx_string("the gateway process did not answer");


/*
 * An offer that is still in the queue is taken back, with all others: the
 * gateway process has read none of them for this long.  One that it has taken
 * gets more time.
 */

void
ngx_http_xoffload_gateway_timeout(ngx_http_xoffload_offer_t *offer,
    ngx_msec_t handoff_timeout)
{
    ngx_queue_t                   withdrawn;
    ngx_http_xoffload_gateway_t  *gw;

    gw = offer->gateway;

    if (offer->taken) {
        ngx_http_xoffload_resolve(offer, ngx_http_xoffload_lost,
                                  &ngx_http_xoffload_slow_text);
        return;
    }

    if (offer->posted && !ngx_http_xoffload_in_queue(offer)) {
        offer->taken = 1;
        ngx_add_timer(&offer->timer, handoff_timeout);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "xoffload gateway %V does not take connections", &gw->process.name);

    ngx_http_xoffload_gateway_pause(gw, NGX_HTTP_XOFFLOAD_HUNG_PAUSE);

    ngx_queue_init(&withdrawn);

    if (offer->posted) {
        ngx_http_xoffload_withdraw(gw, &withdrawn);

        /* the gateway process was quicker after all */

        if (offer->posted) {
            offer->taken = 1;
            ngx_add_timer(&offer->timer, handoff_timeout);
        }

    } else {
        ngx_queue_remove(&offer->queue);
        ngx_queue_insert_tail(&withdrawn, &offer->queue);
    }

    while (!ngx_queue_empty(&withdrawn)) {
        offer = ngx_queue_data(ngx_queue_head(&withdrawn),
                               ngx_http_xoffload_offer_t, queue);

        ngx_http_xoffload_resolve(offer, ngx_http_xoffload_timed_out,
                                  &ngx_http_xoffload_hung_text);
    }
}


/* Offers are in the queue in the order of their numbers. */

static ngx_uint_t
ngx_http_xoffload_in_queue(ngx_http_xoffload_offer_t *offer)
{
    ssize_t                           n;
    ngx_http_xoffload_offer_header_t  header;

    n = recv(offer->gateway->reader, &header, sizeof(header),
             MSG_PEEK|MSG_DONTWAIT);

    return n == (ssize_t) sizeof(header) && header.id <= offer->node.key;
}


static void
ngx_http_xoffload_withdraw(ngx_http_xoffload_gateway_t *gw,
    ngx_queue_t *withdrawn)
{
    ngx_socket_t                      fd;
    ngx_http_xoffload_offer_t        *offer;
    ngx_http_xoffload_offer_header_t  header;

    while (ngx_http_xoffload_recv(gw->reader, &header, sizeof(header), &fd, 1)
           == (ssize_t) sizeof(header))
    {
        if (fd != (ngx_socket_t) -1) {
            (void) ngx_close_socket(fd);
        }

        offer = ngx_http_xoffload_gateway_find(gw, header.id);

        if (offer && offer->posted) {
            offer->posted = 0;
            ngx_queue_insert_tail(withdrawn, &offer->queue);
            offer->queued = 1;
        }
    }
}


/* The gateway process has closed the stream, or says what it may not. */

void
ngx_http_xoffload_gateway_gone(ngx_http_xoffload_gateway_t *gw)
{
    ngx_queue_t                 withdrawn;
    ngx_rbtree_node_t          *node;
    ngx_http_xoffload_offer_t  *offer;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "xoffload gateway %V has ended", &gw->process.name);

    ngx_queue_init(&withdrawn);

    if (gw->queue) {
        ngx_http_xoffload_withdraw(gw, &withdrawn);
    }

    ngx_http_xoffload_gateway_exit(gw);
    ngx_http_xoffload_gateway_pause(gw, NGX_HTTP_XOFFLOAD_ABSENT_PAUSE);

    while (gw->offers.root != gw->offers.sentinel) {
        node = ngx_rbtree_min(gw->offers.root, gw->offers.sentinel);
        offer = (ngx_http_xoffload_offer_t *) node;

        ngx_http_xoffload_resolve(offer, ngx_http_xoffload_unavailable,
                                  &ngx_http_xoffload_gone_text);
    }
}
