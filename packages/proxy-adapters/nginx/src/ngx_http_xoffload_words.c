/* What a worker and the agent say to each other. */


#include "ngx_http_xoffload_adopt.h"


/* no verdict is waited for longer, whatever the agent says */
#define NGX_HTTP_XOFFLOAD_LONGEST_ASK  1000


static ngx_int_t ngx_http_xoffload_agent_says(
    ngx_http_xoffload_agent_t *agent, ngx_socket_t *fds);
static ngx_int_t ngx_http_xoffload_welcome(ngx_http_xoffload_agent_t *agent,
    ngx_socket_t *fds);
static void ngx_http_xoffload_order(ngx_http_xoffload_agent_t *agent);


/* Sent when the events at hand have been dealt with, together with others. */

ngx_int_t
ngx_http_xoffload_tell(ngx_http_xoffload_agent_t *agent,
    struct shim_message *message, ngx_str_t *payload)
{
    size_t   size;
    u_char  *p;

    if (agent->stream == NULL || agent->broken) {
        return NGX_DECLINED;
    }

    message->length = payload ? (uint32_t) payload->len : 0;
    size = sizeof(struct shim_message) + message->length;

    if (agent->unsent + size > NGX_HTTP_XOFFLOAD_MAX_UNSENT) {
        ngx_http_xoffload_flush(agent->stream->write);
    }

    if (agent->unsent + size > NGX_HTTP_XOFFLOAD_MAX_UNSENT) {

        /* a question is of no use later, but the agent must know the rest */

        if (message->type != MESSAGE_ASK) {
            ngx_http_xoffload_agent_break(agent);
        }

        return NGX_DECLINED;
    }

    p = agent->outbox + agent->unsent;
    p = ngx_cpymem(p, message, sizeof(struct shim_message));

    if (payload) {
        ngx_memcpy(p, payload->data, payload->len);
    }

    agent->unsent += size;

    ngx_post_event(agent->stream->write, &ngx_posted_events);

    return NGX_OK;
}


void
ngx_http_xoffload_flush(ngx_event_t *wev)
{
    ssize_t                     n;
    ngx_connection_t           *c;
    ngx_http_xoffload_agent_t  *agent;

    c = wev->data;
    agent = c->data;

    while (agent->unsent && !agent->broken) {

        n = send(c->fd, agent->outbox, agent->unsent,
                 MSG_DONTWAIT|MSG_NOSIGNAL);

        if (n > 0) {
            agent->unsent -= n;
            ngx_memmove(agent->outbox, agent->outbox + n, agent->unsent);
            continue;
        }

        if (ngx_socket_errno == NGX_EINTR) {
            continue;
        }

        if (ngx_socket_errno == NGX_EAGAIN) {
            wev->ready = 0;

            if (ngx_handle_write_event(wev, 0) == NGX_OK) {
                return;
            }
        }

        ngx_http_xoffload_agent_break(agent);
    }
}


void
ngx_http_xoffload_agent_read(ngx_event_t *rev)
{
    ssize_t                     n;
    ngx_int_t                   rc;
    ngx_socket_t                fds[2];
    ngx_connection_t           *c;
    ngx_http_xoffload_agent_t  *agent;

    c = rev->data;
    agent = c->data;

    for ( ;; ) {

        if (agent->broken) {
            break;
        }

        n = ngx_http_xoffload_recv(c->fd,
                                   (u_char *) &agent->message + agent->received,
                                   sizeof(struct agent_message)
                                   - agent->received,
                                   fds, 2);

        if (n == NGX_AGAIN) {
            rev->ready = 0;
            return;
        }

        if (n <= 0) {
            break;
        }

        agent->received += n;
        rc = ngx_http_xoffload_agent_says(agent, fds);

        if (fds[0] != (ngx_socket_t) -1) {
            (void) ngx_close_socket(fds[0]);
        }

        if (fds[1] != (ngx_socket_t) -1) {
            (void) ngx_close_socket(fds[1]);
        }

        if (rc != NGX_OK) {
            break;
        }
    }

    ngx_http_xoffload_agent_gone(agent);
}


/* Descriptors that it uses are taken out of "fds". */

static ngx_int_t
ngx_http_xoffload_agent_says(ngx_http_xoffload_agent_t *agent,
    ngx_socket_t *fds)
{
    if (agent->received < sizeof(struct agent_message)) {
        return fds[0] == (ngx_socket_t) -1 ? NGX_OK : NGX_ERROR;
    }

    agent->received = 0;

    switch (agent->message.type) {

    case MESSAGE_WELCOME:
        return ngx_http_xoffload_welcome(agent, fds);

    case MESSAGE_VERDICT:
    case MESSAGE_RECALL:
    case MESSAGE_END:
        ngx_http_xoffload_order(agent);
        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_http_xoffload_welcome(ngx_http_xoffload_agent_t *agent, ngx_socket_t *fds)
{
    struct agent_message  *welcome;

    welcome = &agent->message;

    if (agent->returns != (ngx_socket_t) -1
        || welcome->value != PROTOCOL_VERSION
        || fds[0] == (ngx_socket_t) -1 || fds[1] == (ngx_socket_t) -1)
    {
        return NGX_ERROR;
    }

    agent->ask_timeout = (ngx_msec_t) (welcome->argument + 999) / 1000;
    agent->ask_timeout = ngx_max(agent->ask_timeout, 1);
    agent->ask_timeout = ngx_min(agent->ask_timeout,
                                 NGX_HTTP_XOFFLOAD_LONGEST_ASK);
    agent->ask_pause = 0;

    agent->returns = fds[1];
    fds[1] = (ngx_socket_t) -1;

    if (!agent->leaving) {
        if (ngx_http_xoffload_watch_mailbox(agent, fds[0]) != NGX_OK) {
            return NGX_ERROR;
        }

        fds[0] = (ngx_socket_t) -1;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "the xoffload agent at %V gives connections",
                  &agent->process.name);

    agent->missing = 0;
    agent->retry_pause = NGX_HTTP_XOFFLOAD_FIRST_RETRY;

    return NGX_OK;
}


/* A connection that is over here: the message was under way. */

static void
ngx_http_xoffload_order(ngx_http_xoffload_agent_t *agent)
{
    ngx_http_xoffload_adopted_t  *a;

    a = ngx_http_xoffload_find_number(agent, agent->message.connection);

    if (a == NULL) {
        return;
    }

    switch (agent->message.type) {

    case MESSAGE_VERDICT:
        ngx_http_xoffload_verdict(a, &agent->message);
        break;

    case MESSAGE_RECALL:
        a->recalled = agent->message.argument != 0;

        if (a->recalled) {
            ngx_http_xoffload_idle_handler(&a->idle);
        }

        break;

    default: /* MESSAGE_END */

        /* nginx closes it when it reads the end */

        if (shutdown(a->connection->fd, SHUT_RDWR) == -1) {
            ngx_connection_error(a->connection, ngx_socket_errno,
                                 "shutdown() failed");
        }
    }
}
