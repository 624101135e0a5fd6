#ifndef _NGX_HTTP_XOFFLOAD_ADOPT_H_INCLUDED_
#define _NGX_HTTP_XOFFLOAD_ADOPT_H_INCLUDED_

/*
 * nginx as a server: connections that the agent of this host gives to it.
 *
 * It speaks what the preload shim speaks, and ../../preload/src/protocol.h
 * describes it, with these differences.  Workers connect by themselves, and
 * nobody knocks: they watch the mailbox.  nginx reads the head of a request
 * before it asks, so bytes that were read go along with the descriptor: behind
 * the connection's number in the return socket, and behind the item in the
 * mailbox, from where nginx reads them before all others.  A connection that
 * nobody has recalled is returned when a worker is about to end, and the agent
 * gives it to another one.
 */


#include "ngx_http_xoffload.h"

#include "../../preload/src/protocol.h"


/* bytes that go along with a connection, in either direction */
#define NGX_HTTP_XOFFLOAD_MAX_READ     (65536 - sizeof(struct mailbox_item))
/* words that the agent has not read yet; with more, it is given up */
#define NGX_HTTP_XOFFLOAD_MAX_UNSENT   65536
/* between two attempts to connect, doubled after each that failed */
#define NGX_HTTP_XOFFLOAD_FIRST_RETRY  100
#define NGX_HTTP_XOFFLOAD_LAST_RETRY   2000


/* where the server listens */
typedef struct {
    struct sockaddr               *sockaddr;
    socklen_t                      socklen;
    ngx_listening_t               *listening;
    ngx_http_addr_conf_t          *addr_conf;
} ngx_http_xoffload_entrance_t;


/* the agent that gives connections to a server, and this worker's channel */
typedef struct {
    ngx_http_xoffload_process_t    process;
    ngx_http_core_srv_conf_t      *server;
    ngx_array_t                    entrances;

    ngx_connection_t              *stream;      /* NULL without a channel */
    ngx_connection_t              *mailbox;     /* NULL until the welcome */
    ngx_socket_t                   returns;

    ngx_rbtree_t                   adopted;     /* by number */
    ngx_rbtree_node_t              sentinel;

    ngx_event_t                    retry;       /* connects */
    ngx_msec_t                     retry_pause;
    ngx_event_t                    rest;        /* takes connections again */

    ngx_msec_t                     ask_timeout;
    ngx_msec_t                     ask_pause;
    ngx_msec_t                     ask_after;
    uint32_t                       question;

    unsigned                       broken:1;    /* the channel is */
    unsigned                       leaving:1;   /* the worker ends */
    unsigned                       missing:1;   /* and it was said so */

    size_t                         received;
    struct agent_message           message;

    size_t                         unsent;
    u_char                        *outbox;
} ngx_http_xoffload_agent_t;


/* an adopted connection; it lies in the connection's pool */
typedef struct {
    ngx_rbtree_node_t              node;        /* the key is the number, */
    uint64_t                       number;      /* until it is deleted */
    ngx_http_xoffload_agent_t     *agent;       /* NULL: it knows no more */
    ngx_connection_t              *connection;
    void                          *http;        /* ngx_http_connection_t */
    ngx_uint_t                    *closed;      /* set at the end */

    ngx_str_t                      pending;     /* to be read before all */

    ngx_event_t                    idle;        /* looks whether it is */
    ngx_event_t                    timer;
    ngx_http_request_t            *asking;
    uint32_t                       question;
    ngx_uint_t                     ask_at;
    ngx_uint_t                     decided;     /* the last request that was */

    unsigned                       watched:1;
    unsigned                       recalled:1;
} ngx_http_xoffload_adopted_t;


/* where a server listens: at start, and for a connection */

ngx_int_t ngx_http_xoffload_find_addresses(ngx_conf_t *cf,
    ngx_array_t *agents);
void ngx_http_xoffload_find_listening(ngx_http_xoffload_agent_t *agent,
    ngx_cycle_t *cycle);
ngx_http_xoffload_entrance_t *ngx_http_xoffload_entrance(
    ngx_http_xoffload_agent_t *agent, struct sockaddr *local);

/* the channel of a worker to the agent */

ngx_int_t ngx_http_xoffload_start_agents(ngx_cycle_t *cycle,
    ngx_array_t *agents);
void ngx_http_xoffload_stop_agents(ngx_array_t *agents);
void ngx_http_xoffload_agent_break(ngx_http_xoffload_agent_t *agent);
void ngx_http_xoffload_agent_gone(ngx_http_xoffload_agent_t *agent);
void ngx_http_xoffload_agent_read(ngx_event_t *rev);

/* the end of a worker */

ngx_int_t ngx_http_xoffload_watch_exit(ngx_cycle_t *cycle,
    ngx_array_t *agents);
void ngx_http_xoffload_unwatch_exit(void);

/* words to the agent; NGX_DECLINED when there is no room for them */

ngx_int_t ngx_http_xoffload_tell(ngx_http_xoffload_agent_t *agent,
    struct shim_message *message, ngx_str_t *payload);
void ngx_http_xoffload_flush(ngx_event_t *wev);

/* a connection as if it had been accepted; NULL leaves the descriptor alone */

ngx_int_t ngx_http_xoffload_addresses(ngx_socket_t s, ngx_addr_t *peer,
    ngx_addr_t *local);
void ngx_http_xoffload_map_address(ngx_addr_t *addr);
ngx_connection_t *ngx_http_xoffload_accepted(ngx_listening_t *ls,
    ngx_socket_t s, ngx_addr_t *peer, ngx_addr_t *local);
void ngx_http_xoffload_abandon(ngx_connection_t *c);

/* connections that the agent gives */

ngx_int_t ngx_http_xoffload_watch_mailbox(ngx_http_xoffload_agent_t *agent,
    ngx_socket_t mailbox);
void ngx_http_xoffload_leave_mailbox(ngx_http_xoffload_agent_t *agent);
ngx_int_t ngx_http_xoffload_enter(ngx_http_xoffload_agent_t *agent,
    struct mailbox_item *item, ngx_socket_t s, ngx_str_t *pending);
ngx_http_xoffload_adopted_t *ngx_http_xoffload_find_adopted(
    ngx_connection_t *c);
ngx_http_xoffload_adopted_t *ngx_http_xoffload_find_number(
    ngx_http_xoffload_agent_t *agent, uint64_t number);

/* request boundaries */

ngx_int_t ngx_http_xoffload_boundary_handler(ngx_http_request_t *r);
void ngx_http_xoffload_verdict(ngx_http_xoffload_adopted_t *a,
    struct agent_message *verdict);
void ngx_http_xoffload_resume(ngx_http_xoffload_adopted_t *a);
void ngx_http_xoffload_timeout_handler(ngx_event_t *ev);
void ngx_http_xoffload_idle_handler(ngx_event_t *ev);
ngx_int_t ngx_http_xoffload_give_back_request(ngx_http_xoffload_adopted_t *a,
    ngx_http_request_t *r);

/* requests that need not be asked about for a while */

ngx_uint_t ngx_http_xoffload_is_remembered(ngx_http_request_t *r);
void ngx_http_xoffload_remember(ngx_http_request_t *r, ngx_msec_t time);


#endif /* _NGX_HTTP_XOFFLOAD_ADOPT_H_INCLUDED_ */
