/* An adopted connection enters nginx, and what is known of it. */


#include "ngx_http_xoffload_adopt.h"


static ngx_http_xoffload_adopted_t *ngx_http_xoffload_add_adopted(
    ngx_http_xoffload_agent_t *agent, ngx_connection_t *c,
    struct mailbox_item *item, ngx_str_t *pending);
static void ngx_http_xoffload_adopted_cleanup(void *data);
static ssize_t ngx_http_xoffload_recv_pending(ngx_connection_t *c,
    u_char *buf, size_t size);


/* When it is not NGX_OK, the descriptor is the caller's. */

ngx_int_t
ngx_http_xoffload_enter(ngx_http_xoffload_agent_t *agent,
    struct mailbox_item *item, ngx_socket_t s, ngx_str_t *pending)
{
    ngx_uint_t                     closed;
    ngx_sockaddr_t                 peer_address, local_address;
    ngx_addr_t                     peer, local;
    ngx_connection_t              *c;
    ngx_http_connection_t         *hc;
    ngx_http_xoffload_adopted_t   *a;
    ngx_http_xoffload_entrance_t  *entrance;

    peer.sockaddr = &peer_address.sockaddr;
    local.sockaddr = &local_address.sockaddr;

    if (ngx_http_xoffload_addresses(s, &peer, &local) != NGX_OK) {
        return NGX_ERROR;
    }

    entrance = ngx_http_xoffload_entrance(agent, local.sockaddr);

    if (entrance == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "the server of \"xoffload_adopt %V\" does not listen to "
                      "IPv6", &agent->process.name);
        return NGX_ERROR;
    }

    if (entrance->sockaddr->sa_family != local.sockaddr->sa_family) {
        ngx_http_xoffload_map_address(&peer);
        ngx_http_xoffload_map_address(&local);
    }

    c = ngx_http_xoffload_accepted(entrance->listening, s, &peer, &local);
    if (c == NULL) {
        return NGX_ERROR;
    }

    a = ngx_http_xoffload_add_adopted(agent, c, item, pending);

    if (a == NULL) {
        ngx_http_xoffload_abandon(c);
        return NGX_ERROR;
    }

    closed = 0;
    a->closed = &closed;

    entrance->listening->handler(c);

    if (closed) {
        return NGX_OK;
    }

    a->closed = NULL;

    /* the address may be none that the connection has */

    hc = c->data;
    hc->addr_conf = entrance->addr_conf;
    hc->conf_ctx = hc->addr_conf->default_server->ctx;

    a->http = hc;

    /* the request is here, as a rule */

    c->read->ready = 1;
    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_OK;
}


/* What is told of it is told from now on, until the pool is destroyed. */

static ngx_http_xoffload_adopted_t *
ngx_http_xoffload_add_adopted(ngx_http_xoffload_agent_t *agent,
    ngx_connection_t *c, struct mailbox_item *item, ngx_str_t *pending)
{
    ngx_pool_cleanup_t           *cln;
    struct shim_message           message;
    ngx_http_xoffload_adopted_t  *a;

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_xoffload_adopted_t));
    if (cln == NULL) {
        return NULL;
    }

    a = cln->data;
    ngx_memzero(a, sizeof(ngx_http_xoffload_adopted_t));

    if (pending->len) {
        a->pending.data = ngx_pnalloc(c->pool, pending->len);
        if (a->pending.data == NULL) {
            return NULL;
        }

        ngx_memcpy(a->pending.data, pending->data, pending->len);
        a->pending.len = pending->len;

        c->recv = ngx_http_xoffload_recv_pending;
    }

    cln->handler = ngx_http_xoffload_adopted_cleanup;

    a->connection = c;
    a->watched = (item->flags & ITEM_WATCH) ? 1 : 0;
    a->ask_at = item->requests;

    a->idle.handler = ngx_http_xoffload_idle_handler;
    a->idle.data = a;
    a->idle.log = c->log;

    a->timer.handler = ngx_http_xoffload_timeout_handler;
    a->timer.data = a;
    a->timer.log = c->log;

    a->agent = agent;
    a->number = item->connection;
    a->node.key = item->connection;
    ngx_rbtree_insert(&agent->adopted, &a->node);

    ngx_memzero(&message, sizeof(struct shim_message));
    message.type = MESSAGE_ADOPTED;
    message.connection = item->connection;
    message.value = (uint32_t) c->fd;

    (void) ngx_http_xoffload_tell(agent, &message, NULL);

    return a;
}


/* The connection is closed by now. */

static void
ngx_http_xoffload_adopted_cleanup(void *data)
{
    ngx_http_xoffload_adopted_t  *a = data;

    struct shim_message  message;

    if (a->closed) {
        *a->closed = 1;
    }

    if (a->idle.posted) {
        ngx_delete_posted_event(&a->idle);
    }

    if (a->timer.timer_set) {
        ngx_del_timer(&a->timer);
    }

    if (a->agent == NULL) {
        return;
    }

    ngx_rbtree_delete(&a->agent->adopted, &a->node);

    ngx_memzero(&message, sizeof(struct shim_message));
    message.type = MESSAGE_CLOSED;
    message.connection = a->number;

    (void) ngx_http_xoffload_tell(a->agent, &message, NULL);
}


/* What somebody else has read of the connection comes before all others. */

static ssize_t
ngx_http_xoffload_recv_pending(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_http_xoffload_adopted_t  *a;

    a = ngx_http_xoffload_find_adopted(c);

    size = ngx_min(size, a->pending.len);
    ngx_memcpy(buf, a->pending.data, size);
    ngx_explicit_memzero(a->pending.data, size);

    a->pending.data += size;
    a->pending.len -= size;

    if (a->pending.len == 0) {
        c->recv = ngx_recv;
    }

    return size;
}


ngx_http_xoffload_adopted_t *
ngx_http_xoffload_find_adopted(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_xoffload_adopted_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


ngx_http_xoffload_adopted_t *
ngx_http_xoffload_find_number(ngx_http_xoffload_agent_t *agent,
    uint64_t number)
{
    ngx_rbtree_node_t  *node, *sentinel;

    node = agent->adopted.root;
    sentinel = agent->adopted.sentinel;

    while (node != sentinel) {

        if (number == node->key) {
            return (ngx_http_xoffload_adopted_t *) node;
        }

        node = number < node->key ? node->left : node->right;
    }

    return NULL;
}
