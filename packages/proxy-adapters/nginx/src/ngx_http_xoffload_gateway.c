/* The connection of a worker to the gateway process, for many offers. */


#include "ngx_http_xoffload.h"


static ngx_int_t ngx_http_xoffload_open(ngx_http_xoffload_gateway_t *gw);
static ngx_connection_t *ngx_http_xoffload_connection(
    ngx_http_xoffload_gateway_t *gw, ngx_socket_t s);
static void ngx_http_xoffload_post(ngx_event_t *wev);
static void ngx_http_xoffload_empty_handler(ngx_event_t *ev);


static ngx_str_t  ngx_http_xoffload_unsent_text =
    ngx_string("the connection could not be sent to the gateway process");


/*
 * Only notes the offer: it is sent when the events at hand have been dealt
 * with, together with others, and then resolved in any case.  NGX_DECLINED when
 * the gateway process cannot be reached now.
 */

ngx_int_t
ngx_http_xoffload_gateway_offer(ngx_http_xoffload_offer_t *offer)
{
    ngx_http_xoffload_gateway_t  *gw;

    gw = offer->gateway;

    if (gw->paused) {
        if ((ngx_msec_int_t) (ngx_current_msec - gw->pause_until) < 0) {
            return NGX_DECLINED;
        }

        /* one offer tries, and others wait for what becomes of it */

        ngx_http_xoffload_gateway_pause(gw, NGX_HTTP_XOFFLOAD_HUNG_PAUSE);
    }

    if (gw->stream == NULL && ngx_http_xoffload_open(gw) != NGX_OK) {
        ngx_http_xoffload_gateway_pause(gw, NGX_HTTP_XOFFLOAD_ABSENT_PAUSE);
        return NGX_DECLINED;
    }

    ngx_rbtree_insert(&gw->offers, &offer->node);
    offer->entered = 1;

    ngx_queue_insert_tail(&gw->waiting, &offer->queue);
    offer->queued = 1;

    ngx_post_event(gw->stream->write, &ngx_posted_events);

    return NGX_OK;
}


static ngx_int_t
ngx_http_xoffload_open(ngx_http_xoffload_gateway_t *gw)
{
    ngx_socket_t              s;
    ngx_http_xoffload_word_t  hello;

    if (!gw->initialized) {
        ngx_rbtree_init(&gw->offers, &gw->sentinel, ngx_rbtree_insert_value);
        ngx_queue_init(&gw->waiting);
        gw->reader = (ngx_socket_t) -1;
        gw->initialized = 1;
    }

    s = ngx_http_xoffload_connect(&gw->process, NGX_LOG_ERR, ngx_cycle->log);
    if (s == (ngx_socket_t) -1) {
        return NGX_ERROR;
    }

    hello.type = NGX_HTTP_XOFFLOAD_HELLO;
    hello.value = NGX_HTTP_XOFFLOAD_PROTOCOL_VERSION;

    if (ngx_http_xoffload_send(s, &hello, sizeof(hello), (ngx_socket_t) -1)
        < 0)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_socket_errno,
                      "sendmsg() to xoffload gateway %V failed", &gw->process.name);
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    gw->stream = ngx_http_xoffload_connection(gw, s);
    if (gw->stream == NULL) {
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    gw->received = 0;
    gw->stream->read->handler = ngx_http_xoffload_gateway_read;
    gw->stream->write->handler = ngx_http_xoffload_post;

    if (ngx_add_event(gw->stream->read, NGX_READ_EVENT, NGX_CLEAR_EVENT)
        != NGX_OK)
    {
        ngx_close_connection(gw->stream);
        gw->stream = NULL;
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_connection_t *
ngx_http_xoffload_connection(ngx_http_xoffload_gateway_t *gw, ngx_socket_t s)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(s, ngx_cycle->log);
    if (c == NULL) {
        return NULL;
    }

    c->data = gw;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    c->read->handler = ngx_http_xoffload_empty_handler;
    c->write->handler = ngx_http_xoffload_empty_handler;

    return c;
}


ngx_int_t
ngx_http_xoffload_gateway_welcome(ngx_http_xoffload_gateway_t *gw,
    ngx_socket_t *fds)
{
    gw->queue = ngx_http_xoffload_connection(gw, fds[0]);
    if (gw->queue == NULL) {
        return NGX_ERROR;
    }

    gw->reader = fds[1];
    gw->queue->write->handler = ngx_http_xoffload_post;

    ngx_post_event(gw->queue->write, &ngx_posted_events);

    return NGX_OK;
}


/* Puts the offers that wait into the queue, as many as there is room for. */

static void
ngx_http_xoffload_post(ngx_event_t *wev)
{
    ssize_t                       n;
    ngx_uint_t                    posted;
    ngx_connection_t             *c;
    ngx_http_xoffload_word_t      word;
    ngx_http_xoffload_offer_t    *offer;
    ngx_http_xoffload_gateway_t  *gw;

    c = wev->data;
    gw = c->data;
    posted = 0;

    while (gw->queue && !ngx_queue_empty(&gw->waiting)) {

        offer = ngx_queue_data(ngx_queue_head(&gw->waiting),
                               ngx_http_xoffload_offer_t, queue);

        n = ngx_http_xoffload_send(gw->queue->fd, offer->message.data,
                                   offer->message.len,
                                   offer->request->connection->fd);

        if (n == NGX_AGAIN) {
            gw->queue->write->ready = 0;

            if (ngx_handle_write_event(gw->queue->write, 0) == NGX_OK) {
                break;
            }
        }

        if (n < 0) {
            ngx_log_error(NGX_LOG_ERR, offer->request->connection->log,
                          ngx_socket_errno,
                          "sendmsg() to xoffload gateway %V failed",
                          &gw->process.name);

            ngx_http_xoffload_resolve(offer, ngx_http_xoffload_unavailable,
                                      &ngx_http_xoffload_unsent_text);
            continue;
        }

        ngx_queue_remove(&offer->queue);
        offer->queued = 0;
        offer->posted = 1;
        posted = 1;
    }

    if (!posted) {
        return;
    }

    word.type = NGX_HTTP_XOFFLOAD_OFFERED;
    word.value = 0;

    /*
     * Without room there is enough to read that the gateway process will look;
     * when it is gone, the read event says so.
     */

    (void) ngx_http_xoffload_send(gw->stream->fd, &word, sizeof(word),
                                  (ngx_socket_t) -1);
}


void
ngx_http_xoffload_gateway_exit(ngx_http_xoffload_gateway_t *gw)
{
    if (gw->stream) {
        ngx_close_connection(gw->stream);
        gw->stream = NULL;
    }

    if (gw->queue) {
        ngx_close_connection(gw->queue);
        gw->queue = NULL;

        (void) ngx_close_socket(gw->reader);
        gw->reader = (ngx_socket_t) -1;
    }
}


void
ngx_http_xoffload_gateway_pause(ngx_http_xoffload_gateway_t *gw,
    ngx_msec_t pause)
{
    gw->paused = 1;
    gw->pause_until = ngx_current_msec + pause;
}


/* Nothing will be done about the offer, whatever comes. */

void
ngx_http_xoffload_gateway_forget(ngx_http_xoffload_offer_t *offer)
{
    if (offer->queued) {
        ngx_queue_remove(&offer->queue);
        offer->queued = 0;
    }

    if (offer->entered) {
        ngx_rbtree_delete(&offer->gateway->offers, &offer->node);
        offer->entered = 0;
    }

    offer->posted = 0;
}


ngx_http_xoffload_offer_t *
ngx_http_xoffload_gateway_find(ngx_http_xoffload_gateway_t *gw, uint64_t id)
{
    ngx_rbtree_node_t  *node, *sentinel;

    node = gw->offers.root;
    sentinel = gw->offers.sentinel;

    while (node != sentinel) {

        if (id == node->key) {
            return (ngx_http_xoffload_offer_t *) node;
        }

        node = id < node->key ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_http_xoffload_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "xoffload empty handler");
}
