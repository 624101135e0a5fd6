/* The channel of a worker to the agent that gives connections to it. */


#include "ngx_http_xoffload_adopt.h"


static void ngx_http_xoffload_agent_connect(ngx_event_t *ev);
static ngx_int_t ngx_http_xoffload_agent_open(
    ngx_http_xoffload_agent_t *agent);
static void ngx_http_xoffload_agent_close(ngx_http_xoffload_agent_t *agent);


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

    ngx_http_xoffload_unwatch_exit();
}
