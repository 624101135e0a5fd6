/* The channel of a worker to the agent that gives connections to it. */


#include "ngx_http_xoffload_adopt.h"


static void ngx_http_xoffload_agent_connect(ngx_event_t *ev);
static ngx_int_t ngx_http_xoffload_agent_open(
    ngx_http_xoffload_agent_t *agent);
static void ngx_http_xoffload_agent_close(ngx_http_xoffload_agent_t *agent);
static ngx_int_t ngx_http_xoffload_watch_exit(ngx_cycle_t *cycle,
    ngx_array_t *agents);
static void ngx_http_xoffload_leave(ngx_event_t *rev);
static void ngx_http_xoffload_leave_agent(ngx_http_xoffload_agent_t *agent);


/* what nginx tells that this worker is to end; NULL when it was told */
static ngx_connection_t  *ngx_http_xoffload_exit_watch;


ngx_int_t
ngx_http_xoffload_start_agents(ngx_cycle_t *cycle, ngx_array_t *agents)
{
    ngx_uint_t                   i;
    ngx_http_xoffload_agent_t   *agent, **agentp;

    agentp = agents->elts;

    for (i = 0; i < agents->nelts; i++) {
        agent = agentp[i];

        agent->outbox = ngx_palloc(cycle->pool, NGX_HTTP_XOFFLOAD_MAX_UNSENT);
        if (agent->outbox == NULL) {
            return NGX_ERROR;
        }

        ngx_rbtree_init(&agent->adopted, &agent->sentinel,
                        ngx_rbtree_insert_value);

        ngx_http_xoffload_find_listening(agent, cycle);

        agent->returns = (ngx_socket_t) -1;
        agent->retry_pause = NGX_HTTP_XOFFLOAD_FIRST_RETRY;

        agent->retry.handler = ngx_http_xoffload_agent_connect;
        agent->retry.data = agent;
        agent->retry.log = cycle->log;
        agent->retry.cancelable = 1;

        ngx_http_xoffload_agent_connect(&agent->retry);
    }

    return ngx_http_xoffload_watch_exit(cycle, agents);
}


/* The next agent is looked for as long as the worker lives. */

static void
ngx_http_xoffload_agent_connect(ngx_event_t *ev)
{
    ngx_http_xoffload_agent_t  *agent;

    agent = ev->data;

    if (ngx_http_xoffload_agent_open(agent) == NGX_OK) {
        return;
    }

    agent->missing = 1;

    ngx_add_timer(&agent->retry, agent->retry_pause);

    agent->retry_pause = ngx_min(agent->retry_pause * 2,
                                 NGX_HTTP_XOFFLOAD_LAST_RETRY);
}


static ngx_int_t
ngx_http_xoffload_agent_open(ngx_http_xoffload_agent_t *agent)
{
    ngx_socket_t         s;
    ngx_connection_t    *c;
    struct shim_message  hello;

    s = ngx_http_xoffload_connect(&agent->process,
                                  agent->missing ? NGX_LOG_INFO : NGX_LOG_ERR,
                                  ngx_cycle->log);
    if (s == (ngx_socket_t) -1) {
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, ngx_cycle->log);
    if (c == NULL) {
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    c->data = agent;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    c->read->handler = ngx_http_xoffload_agent_read;
    c->write->handler = ngx_http_xoffload_flush;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK) {
        ngx_close_connection(c);
        return NGX_ERROR;
    }

    agent->stream = c;
    agent->received = 0;
    agent->unsent = 0;
    agent->broken = 0;

    ngx_memzero(&hello, sizeof(struct shim_message));
    hello.type = MESSAGE_HELLO;
    hello.value = PROTOCOL_VERSION;

    if (ngx_http_xoffload_tell(agent, &hello, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    /* at start there is no event after which it would be sent */

    ngx_http_xoffload_flush(c->write);

    return NGX_OK;
}


static void
ngx_http_xoffload_agent_close(ngx_http_xoffload_agent_t *agent)
{
    ngx_http_xoffload_leave_mailbox(agent);

    if (agent->stream) {
        ngx_close_connection(agent->stream);
        agent->stream = NULL;
    }

    if (agent->returns != (ngx_socket_t) -1) {
        (void) ngx_close_socket(agent->returns);
        agent->returns = (ngx_socket_t) -1;
    }
}


/* Not from within a request: the event loop calls back. */

void
ngx_http_xoffload_agent_break(ngx_http_xoffload_agent_t *agent)
{
    agent->broken = 1;
    ngx_post_event(agent->stream->read, &ngx_posted_events);
}


/* What was adopted goes on as if nginx had accepted it. */

void
ngx_http_xoffload_agent_gone(ngx_http_xoffload_agent_t *agent)
{
    ngx_uint_t                    level;
    ngx_rbtree_node_t            *node;
    ngx_http_xoffload_adopted_t  *a;

    level = agent->missing ? NGX_LOG_INFO : NGX_LOG_ERR;

    ngx_log_error(level, ngx_cycle->log, 0,
                  "the xoffload agent at %V has ended", &agent->process.name);

    agent->missing = 1;

    ngx_http_xoffload_agent_close(agent);

    if (!agent->leaving) {
        ngx_add_timer(&agent->retry, agent->retry_pause);
    }

    while (agent->adopted.root != agent->adopted.sentinel) {
        node = ngx_rbtree_min(agent->adopted.root, agent->adopted.sentinel);
        a = (ngx_http_xoffload_adopted_t *) node;

        ngx_rbtree_delete(&agent->adopted, node);
        a->agent = NULL;

        ngx_http_xoffload_resume(a);
    }
}


void
ngx_http_xoffload_stop_agents(ngx_array_t *agents)
{
    ngx_uint_t                   i;
    ngx_http_xoffload_agent_t  **agentp;

    agentp = agents->elts;

    for (i = 0; i < agents->nelts; i++) {
        if (agentp[i]->stream) {
            ngx_http_xoffload_flush(agentp[i]->stream->write);
        }

        if (agentp[i]->outbox) {
            ngx_http_xoffload_agent_close(agentp[i]);
        }
    }

    if (ngx_http_xoffload_exit_watch) {
        ngx_close_connection(ngx_http_xoffload_exit_watch);
        ngx_http_xoffload_exit_watch = NULL;
    }
}


/*
 * A worker that is to end closes idle connections, and says so to their
 * handlers, in the order in which they lie in memory.  This one is older
 * than all that come from clients, and so it hears of it first.
 */

static ngx_int_t
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
