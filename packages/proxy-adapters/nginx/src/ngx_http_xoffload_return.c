/* Gives a connection back to the agent. */


#include "ngx_http_xoffload_adopt.h"


/* the agent has not read what was returned before: tried again after this */
#define NGX_HTTP_XOFFLOAD_RETURN_AGAIN  5


static ngx_int_t ngx_http_xoffload_return(ngx_http_xoffload_adopted_t *a,
    u_char *message, size_t size, ngx_uint_t requests);


/*
 * Nothing of an idle connection was read.  It is one when nginx waits for a
 * request; it also calls connections reusable that it closes while it reads the
 * rest, but those belong to a request.
 */

void
ngx_http_xoffload_idle_handler(ngx_event_t *ev)
{
    uint64_t                      number;
    ngx_connection_t             *c;
    ngx_http_xoffload_adopted_t  *a;

    a = ev->data;
    c = a->connection;

    if (a->agent == NULL || !(a->recalled || a->agent->leaving)
        || c->data != a->http || !c->reusable || c->close || a->pending.len)
    {
        return;
    }

    number = a->number;

    switch (ngx_http_xoffload_return(a, (u_char *) &number, sizeof(number),
                                     c->requests))
    {
    case NGX_OK:
        ngx_http_close_connection(c);
        return;

    case NGX_AGAIN:
        /* a worker that ends would close it */

        c->idle = 0;

        if (!a->timer.timer_set) {
            ngx_add_timer(&a->timer, NGX_HTTP_XOFFLOAD_RETURN_AGAIN);
        }

        return;

    default: /* NGX_DECLINED */
        return;
    }
}


/*
 * At the beginning of a request, with all that was read since.  NGX_DONE when
 * the connection is gone; for a phase handler.
 */

ngx_int_t
ngx_http_xoffload_give_back_request(ngx_http_xoffload_adopted_t *a,
    ngx_http_request_t *r)
{
    size_t             size, behind;
    u_char            *message, *p;
    ngx_connection_t  *c;

    c = r->connection;

    behind = r->header_in->last - r->header_in->pos;
    size = sizeof(uint64_t) + ngx_http_xoffload_head_length(r) + behind
           + a->pending.len;

    if (size > NGX_HTTP_XOFFLOAD_MAX_READ) {
        return NGX_DECLINED;
    }

    message = ngx_pnalloc(r->pool, size);
    if (message == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(message, &a->number, sizeof(uint64_t));
    p = ngx_http_xoffload_copy_head(r, p);
    p = ngx_cpymem(p, r->header_in->pos, behind);
    ngx_memcpy(p, a->pending.data, a->pending.len);

    if (ngx_http_xoffload_return(a, message, size, c->requests - 1) != NGX_OK) {
        return NGX_DECLINED;
    }

    /* whoever answers it logs it; nothing is said to the client from here */

    r->logged = 1;
    r->keepalive = 0;
    c->read->eof = 1;

    ngx_http_finalize_request(r, NGX_DONE);
    ngx_http_run_posted_requests(c);

    return NGX_DONE;
}


/*
 * NGX_OK: the connection is the agent's, and nothing may be done with the
 * descriptor but close it.  Otherwise it stays as it was.
 */

static ngx_int_t
ngx_http_xoffload_return(ngx_http_xoffload_adopted_t *a, u_char *message,
    size_t size, ngx_uint_t requests)
{
    ssize_t                        n;
    ngx_connection_t              *c;
    struct shim_message            returned;
    ngx_http_xoffload_agent_t     *agent;
    ngx_http_xoffload_detached_t   detached;

    c = a->connection;
    agent = a->agent;

    if (agent->broken) {
        return NGX_DECLINED;
    }

    if (ngx_http_xoffload_detach(c, &detached) != NGX_OK) {
        return NGX_DECLINED;
    }

    n = ngx_http_xoffload_send(agent->returns, message, size, c->fd);

    if (n < 0) {

        /* the connection that cannot be watched ends by its timer */

        if (ngx_http_xoffload_attach(c, &detached) != NGX_OK) {
            return NGX_DECLINED;
        }

        return n == NGX_AGAIN ? NGX_AGAIN : NGX_DECLINED;
    }

    ngx_rbtree_delete(&agent->adopted, &a->node);
    a->agent = NULL;

    ngx_memzero(&returned, sizeof(struct shim_message));
    returned.type = MESSAGE_RETURNED;
    returned.connection = a->number;
    returned.requests = (uint32_t) requests;

    (void) ngx_http_xoffload_tell(agent, &returned, NULL);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "xoffload connection %uL was given back", a->number);

    return NGX_OK;
}
