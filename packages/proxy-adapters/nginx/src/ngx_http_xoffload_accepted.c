/* Makes a connection of a descriptor as ngx_event_accept() does. */


#include "ngx_http_xoffload_adopt.h"


static void ngx_http_xoffload_set_keepalive(ngx_listening_t *ls,
    ngx_socket_t s, ngx_log_t *log);
static void ngx_http_xoffload_set_option(ngx_socket_t s, int level, int name,
    int value, ngx_log_t *log);
static ngx_int_t ngx_http_xoffload_copy_addresses(ngx_connection_t *c,
    ngx_addr_t *peer, ngx_addr_t *local);


/* The addresses of a TCP connection, into room for any.  Declines others. */

ngx_int_t
ngx_http_xoffload_addresses(ngx_socket_t s, ngx_addr_t *peer,
    ngx_addr_t *local)
{
    int        protocol;
    socklen_t  len;

    len = sizeof(int);

    if (getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == -1
        || protocol != IPPROTO_TCP)
    {
        return NGX_DECLINED;
    }

    peer->socklen = sizeof(ngx_sockaddr_t);
    local->socklen = sizeof(ngx_sockaddr_t);

    /* without a peer the client has ended the connection */

    if (getpeername(s, peer->sockaddr, &peer->socklen) == -1
        || getsockname(s, local->sockaddr, &local->socklen) == -1)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* An IPv4 address as a listening socket for both families gives it. */

void
ngx_http_xoffload_map_address(ngx_addr_t *addr)
{
#if (NGX_HAVE_INET6)

    struct sockaddr_in    sin;
    struct sockaddr_in6  *sin6;

    ngx_memcpy(&sin, addr->sockaddr, sizeof(struct sockaddr_in));

    sin6 = (struct sockaddr_in6 *) addr->sockaddr;
    ngx_memzero(sin6, sizeof(struct sockaddr_in6));

    sin6->sin6_family = AF_INET6;
    sin6->sin6_port = sin.sin_port;
    sin6->sin6_addr.s6_addr[10] = 0xff;
    sin6->sin6_addr.s6_addr[11] = 0xff;
    ngx_memcpy(&sin6->sin6_addr.s6_addr[12], &sin.sin_addr, 4);

    addr->socklen = sizeof(struct sockaddr_in6);

#endif
}


ngx_connection_t *
ngx_http_xoffload_accepted(ngx_listening_t *ls, ngx_socket_t s,
    ngx_addr_t *peer, ngx_addr_t *local)
{
    ngx_log_t         *log;
    ngx_connection_t  *c;

    c = ngx_get_connection(s, ngx_cycle->log);
    if (c == NULL) {
        return NULL;
    }

    c->type = SOCK_STREAM;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_accepted, 1);
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    c->pool = ngx_create_pool(ls->pool_size, ngx_cycle->log);
    if (c->pool == NULL) {
        ngx_http_xoffload_abandon(c);
        return NULL;
    }

    log = ngx_palloc(c->pool, sizeof(ngx_log_t));

    if (log == NULL || ngx_nonblocking(s) == -1
        || ngx_http_xoffload_copy_addresses(c, peer, local) != NGX_OK)
    {
        ngx_http_xoffload_abandon(c);
        return NULL;
    }

    *log = ls->log;
    log->data = NULL;
    log->handler = NULL;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    c->log = log;
    c->pool->log = log;
    c->read->log = log;
    c->write->log = log;

    c->listening = ls;
    c->write->ready = 1;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    ngx_http_xoffload_set_keepalive(ls, s, log);

    if (ls->addr_ntop) {
        c->addr_text.data = ngx_pnalloc(c->pool, ls->addr_text_max_len);
        if (c->addr_text.data == NULL) {
            ngx_http_xoffload_abandon(c);
            return NULL;
        }

        c->addr_text.len = ngx_sock_ntop(c->sockaddr, c->socklen,
                                         c->addr_text.data,
                                         ls->addr_text_max_len, 0);
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_handled, 1);
#endif

    return c;
}


/*
 * Both are known: nginx need not ask for the local one, which may be none of
 * the addresses that it listens at.
 */

static ngx_int_t
ngx_http_xoffload_copy_addresses(ngx_connection_t *c, ngx_addr_t *peer,
    ngx_addr_t *local)
{
    c->sockaddr = ngx_pcalloc(c->pool, sizeof(ngx_sockaddr_t));
    c->local_sockaddr = ngx_pcalloc(c->pool, sizeof(ngx_sockaddr_t));

    if (c->sockaddr == NULL || c->local_sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(c->sockaddr, peer->sockaddr, peer->socklen);
    c->socklen = peer->socklen;

    ngx_memcpy(c->local_sockaddr, local->sockaddr, local->socklen);
    c->local_socklen = local->socklen;

    return NGX_OK;
}


/* What an accepted socket has from its listening one. */

static void
ngx_http_xoffload_set_keepalive(ngx_listening_t *ls, ngx_socket_t s,
    ngx_log_t *log)
{
    if (ls->keepalive == 0) {
        return;
    }

    ngx_http_xoffload_set_option(s, SOL_SOCKET, SO_KEEPALIVE,
                                 ls->keepalive == 1, log);

#if (NGX_HAVE_KEEPALIVE_TUNABLE)

    if (ls->keepidle) {
        ngx_http_xoffload_set_option(s, IPPROTO_TCP, TCP_KEEPIDLE,
                                     ls->keepidle, log);
    }

    if (ls->keepintvl) {
        ngx_http_xoffload_set_option(s, IPPROTO_TCP, TCP_KEEPINTVL,
                                     ls->keepintvl, log);
    }

    if (ls->keepcnt) {
        ngx_http_xoffload_set_option(s, IPPROTO_TCP, TCP_KEEPCNT,
                                     ls->keepcnt, log);
    }

#endif
}


static void
ngx_http_xoffload_set_option(ngx_socket_t s, int level, int name, int value,
    ngx_log_t *log)
{
    if (setsockopt(s, level, name, &value, sizeof(int)) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      "setsockopt(%d, %d) failed, ignored", level, name);
    }
}


/* The descriptor stays open. */

void
ngx_http_xoffload_abandon(ngx_connection_t *c)
{
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    if (c->pool) {
        ngx_destroy_pool(c->pool);
        c->pool = NULL;
    }
}
