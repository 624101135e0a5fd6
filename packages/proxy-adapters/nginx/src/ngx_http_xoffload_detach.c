/* Connections that another process may have: the event loop leaves them alone. */


#include "ngx_http_xoffload.h"


/*
 * Takes the descriptor out of the epoll set: the kernel would keep it there as
 * long as another process has the connection, and nobody may read it here.
 */

ngx_int_t
ngx_http_xoffload_detach(ngx_connection_t *c,
    ngx_http_xoffload_detached_t *detached)
{
    /* what TCP_CORK holds back belongs to an earlier response */

    if (c->tcp_nopush == NGX_TCP_NOPUSH_SET) {
        if (ngx_tcp_push(c->fd) == -1) {
            ngx_connection_error(c, ngx_socket_errno,
                                 ngx_tcp_push_n " failed");
            return NGX_ERROR;
        }

        c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;
    }

    detached->detached = 1;
    detached->read_active = c->read->active;
    detached->write_active = c->write->active;

    if (!detached->read_active && !detached->write_active) {
        return NGX_OK;
    }

    return ngx_del_conn(c, 0);
}


ngx_int_t
ngx_http_xoffload_attach(ngx_connection_t *c,
    ngx_http_xoffload_detached_t *detached)
{
    if (!detached->detached) {
        return NGX_OK;
    }

    detached->detached = 0;

    /* what has happened meanwhile is told at once */

    if (detached->read_active
        && ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (detached->write_active
        && ngx_add_event(c->write, NGX_WRITE_EVENT, NGX_CLEAR_EVENT)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
