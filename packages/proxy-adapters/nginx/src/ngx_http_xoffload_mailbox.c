/* Takes connections out of the mailbox that the workers of a server share. */


#include "ngx_http_xoffload_adopt.h"


/* how long others take them when this worker has no room, milliseconds */
#define NGX_HTTP_XOFFLOAD_REST  50


static void ngx_http_xoffload_mailbox_handler(ngx_event_t *rev);
static ngx_uint_t ngx_http_xoffload_has_room(ngx_http_xoffload_agent_t *agent);
static void ngx_http_xoffload_take_item(ngx_http_xoffload_agent_t *agent);
static void ngx_http_xoffload_rest(ngx_http_xoffload_agent_t *agent);
static void ngx_http_xoffload_rest_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_xoffload_add_mailbox_event(ngx_connection_t *c);


/* an item and what was read of its connection; used between two calls only */
static u_char  ngx_http_xoffload_letter[sizeof(struct mailbox_item)
                                        + NGX_HTTP_XOFFLOAD_MAX_READ];


ngx_int_t
ngx_http_xoffload_watch_mailbox(ngx_http_xoffload_agent_t *agent,
    ngx_socket_t mailbox)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(mailbox, ngx_cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = agent;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    c->read->handler = ngx_http_xoffload_mailbox_handler;

    if (ngx_http_xoffload_add_mailbox_event(c) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
        return NGX_ERROR;
    }

    agent->mailbox = c;

    agent->rest.handler = ngx_http_xoffload_rest_handler;
    agent->rest.data = agent;
    agent->rest.log = ngx_cycle->log;
    agent->rest.cancelable = 1;

    return NGX_OK;
}


/*
 * Level-triggered, so that nothing is missed by whoever takes one only, and of
 * the workers that wait not all are woken.
 */

static ngx_int_t
ngx_http_xoffload_add_mailbox_event(ngx_connection_t *c)
{
    return ngx_add_event(c->read, NGX_READ_EVENT, NGX_EXCLUSIVE_EVENT);
}


void
ngx_http_xoffload_leave_mailbox(ngx_http_xoffload_agent_t *agent)
{
    if (agent->rest.timer_set) {
        ngx_del_timer(&agent->rest);
    }

    if (agent->mailbox == NULL) {
        return;
    }

    /* the others have it, too: closing does not take it out of the epoll set */

    if (agent->mailbox->read->active) {
        (void) ngx_del_event(agent->mailbox->read, NGX_READ_EVENT, 0);
    }

    ngx_close_connection(agent->mailbox);
    agent->mailbox = NULL;
}


/* One at a time, as accept() without multi_accept. */

static void
ngx_http_xoffload_mailbox_handler(ngx_event_t *rev)
{
    ngx_connection_t           *c;
    ngx_http_xoffload_agent_t  *agent;

    c = rev->data;
    agent = c->data;

    if (ngx_http_xoffload_has_room(agent)) {
        ngx_http_xoffload_take_item(agent);

    } else {
        ngx_http_xoffload_rest(agent);
    }
}


/* What is taken must not be lost for want of a descriptor. */

static ngx_uint_t
ngx_http_xoffload_has_room(ngx_http_xoffload_agent_t *agent)
{
    ngx_socket_t  s;

    if (ngx_cycle->free_connection_n == 0
        && ngx_cycle->reusable_connections_n == 0)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "%ui worker_connections are not enough",
                      ngx_cycle->connection_n);
        return 0;
    }

    s = fcntl(agent->mailbox->fd, F_DUPFD_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, ngx_errno,
                      "no descriptor for an adopted connection");
        return 0;
    }

    (void) ngx_close_socket(s);

    return 1;
}


static void
ngx_http_xoffload_take_item(ngx_http_xoffload_agent_t *agent)
{
    ssize_t              n;
    ngx_str_t            pending;
    ngx_socket_t         s;
    struct shim_message  lost;
    struct mailbox_item  item;

    n = ngx_http_xoffload_recv(agent->mailbox->fd, ngx_http_xoffload_letter,
                               sizeof(ngx_http_xoffload_letter), &s, 1);

    if (n == NGX_AGAIN) {
        return;
    }

    if (n < (ssize_t) sizeof(struct mailbox_item)) {

        if (n > 0 && s != (ngx_socket_t) -1) {
            (void) ngx_close_socket(s);
        }

        ngx_http_xoffload_agent_break(agent);
        ngx_http_xoffload_leave_mailbox(agent);
        return;
    }

    ngx_memcpy(&item, ngx_http_xoffload_letter, sizeof(struct mailbox_item));

    pending.data = ngx_http_xoffload_letter + sizeof(struct mailbox_item);
    pending.len = n - sizeof(struct mailbox_item);

    if (s != (ngx_socket_t) -1) {

        if (ngx_http_xoffload_enter(agent, &item, s, &pending) == NGX_OK) {
            goto done;
        }

        (void) ngx_close_socket(s);
    }

    ngx_memzero(&lost, sizeof(struct shim_message));
    lost.type = MESSAGE_LOST;
    lost.connection = item.connection;

    (void) ngx_http_xoffload_tell(agent, &lost, NULL);

done:

    ngx_explicit_memzero(pending.data, pending.len);
}


static void
ngx_http_xoffload_rest(ngx_http_xoffload_agent_t *agent)
{
    if (ngx_del_event(agent->mailbox->read, NGX_READ_EVENT, 0) == NGX_OK) {
        ngx_add_timer(&agent->rest, NGX_HTTP_XOFFLOAD_REST);
    }
}


static void
ngx_http_xoffload_rest_handler(ngx_event_t *ev)
{
    ngx_http_xoffload_agent_t  *agent;

    agent = ev->data;

    if (ngx_http_xoffload_add_mailbox_event(agent->mailbox) != NGX_OK) {
        ngx_http_xoffload_agent_break(agent);
    }
}
