/* A worker that is to end gives idle connections back, for the next one. */


#include "ngx_http_xoffload_adopt.h"


static void ngx_http_xoffload_leave(ngx_event_t *rev);
static void ngx_http_xoffload_leave_agent(ngx_http_xoffload_agent_t *agent);


/* what nginx tells that this worker is to end; NULL when it was told */
static ngx_connection_t  *ngx_http_xoffload_exit_watch;


/*
 * A worker that is to end closes idle connections, and says so to their
 * handlers, in the order in which they lie in memory.  This one is older
 * than all that come from clients, and so it hears of it first.
 */

ngx_int_t
ngx_http_xoffload_watch_exit(ngx_cycle_t *cycle, ngx_array_t *agents)
{
    ngx_fd_t           fd;
    ngx_connection_t  *c;

    fd = ngx_open_file("/dev/null", NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      ngx_open_file_n " \"/dev/null\" failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, cycle->log);
    if (c == NULL) {
        (void) ngx_close_file(fd);
        return NGX_ERROR;
    }

    c->data = agents;
    c->idle = 1;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = ngx_http_xoffload_leave;

    ngx_http_xoffload_exit_watch = c;

    return NGX_OK;
}


void
ngx_http_xoffload_unwatch_exit(void)
{
    if (ngx_http_xoffload_exit_watch) {
        ngx_close_connection(ngx_http_xoffload_exit_watch);
        ngx_http_xoffload_exit_watch = NULL;
    }
}


static void
ngx_http_xoffload_leave(ngx_event_t *rev)
{
    ngx_uint_t                   i;
    ngx_array_t                 *agents;
    ngx_connection_t            *c;
    ngx_http_xoffload_agent_t  **agentp;

    c = rev->data;
    agents = c->data;
    agentp = agents->elts;

    ngx_close_connection(c);
    ngx_http_xoffload_exit_watch = NULL;

    for (i = 0; i < agents->nelts; i++) {
        ngx_http_xoffload_leave_agent(agentp[i]);
    }
}


static void
ngx_http_xoffload_leave_agent(ngx_http_xoffload_agent_t *agent)
{
    ngx_rbtree_node_t            *node, *next;
    ngx_http_xoffload_adopted_t  *a;

    agent->leaving = 1;

    ngx_http_xoffload_leave_mailbox(agent);

    if (agent->adopted.root == agent->adopted.sentinel) {
        return;
    }

    node = ngx_rbtree_min(agent->adopted.root, agent->adopted.sentinel);

    for ( /* void */ ; node; node = next) {
        next = ngx_rbtree_next(&agent->adopted, node);

        a = (ngx_http_xoffload_adopted_t *) node;
        ngx_http_xoffload_idle_handler(&a->idle);
    }

    /* no event comes after which it would be sent */

    if (agent->stream) {
        ngx_http_xoffload_flush(agent->stream->write);
    }
}
