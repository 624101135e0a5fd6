#ifndef _NGX_HTTP_XOFFLOAD_H_INCLUDED_
#define _NGX_HTTP_XOFFLOAD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "ngx_http_xoffload_protocol.h"


/* a gateway process that is absent or hangs is tried again after this time */
#define NGX_HTTP_XOFFLOAD_ABSENT_PAUSE  100
#define NGX_HTTP_XOFFLOAD_HUNG_PAUSE    1000


typedef struct ngx_http_xoffload_offer_s  ngx_http_xoffload_offer_t;


/* another process of this host, and where it listens */
typedef struct {
    struct sockaddr         *sockaddr;
    socklen_t                socklen;
    ngx_str_t                name;
    ngx_uid_t                user;           /* trusted besides root */
} ngx_http_xoffload_process_t;


/* a connection that the event loop leaves alone */
typedef struct {
    unsigned                 detached:1;
    unsigned                 read_active:1;
    unsigned                 write_active:1;
} ngx_http_xoffload_detached_t;


/* a gateway process, and the connection of this worker to it */
typedef struct {
    ngx_http_xoffload_process_t  process;

    ngx_connection_t        *stream;
    ngx_connection_t        *queue;          /* NULL until the welcome */
    ngx_socket_t             reader;         /* the queue's other end */

    ngx_rbtree_t             offers;         /* by id */
    ngx_rbtree_node_t        sentinel;
    ngx_queue_t              waiting;        /* offers to be posted */

    ngx_msec_t               pause_until;
    unsigned                 initialized:1;
    unsigned                 paused:1;

    size_t                   received;
    u_char                   buffer[sizeof(ngx_http_xoffload_answer_t)
                                    + NGX_HTTP_XOFFLOAD_MAX_REASON];
} ngx_http_xoffload_gateway_t;


typedef struct {
    ngx_array_t              gateways;   /* ngx_http_xoffload_gateway_t * */
    ngx_array_t              agents;     /* ngx_http_xoffload_agent_t * */
} ngx_http_xoffload_main_conf_t;


typedef struct {
    ngx_http_xoffload_gateway_t   *gateway;
    ngx_http_upstream_srv_conf_t  *upstream;
    ngx_http_upstream_conf_t      *upstream_conf;
    ngx_msec_t                     timeout;
    ngx_msec_t                     handoff_timeout;
} ngx_http_xoffload_loc_conf_t;


typedef enum {
    ngx_http_xoffload_pending = 0,
    ngx_http_xoffload_handed_off,
    ngx_http_xoffload_refused,
    ngx_http_xoffload_unsupported,
    ngx_http_xoffload_unavailable,
    ngx_http_xoffload_timed_out,
    ngx_http_xoffload_lost
} ngx_http_xoffload_status_e;


struct ngx_http_xoffload_offer_s {
    ngx_rbtree_node_t             node;
    ngx_queue_t                   queue;

    ngx_http_request_t           *request;
    ngx_http_xoffload_gateway_t  *gateway;

    ngx_str_t                     server;
    ngx_str_t                     address;
    ngx_str_t                     message;

    ngx_http_xoffload_status_e    status;
    ngx_str_t                     reason;

    ngx_event_t                   timer;
    ngx_http_upstream_t          *previous;      /* r->upstream before */
    ngx_http_xoffload_detached_t  detached;

    unsigned                      peer:1;        /* a peer is held */
    unsigned                      peer_failed:1;
    unsigned                      entered:1;     /* in gateway->offers */
    unsigned                      queued:1;      /* in a queue of this worker */
    unsigned                      posted:1;      /* in the gateway's queue */
    unsigned                      taken:1;       /* by the gateway process */
};


extern ngx_module_t  ngx_http_xoffload_module;


/* directives */

char *ngx_http_xoffload_gateway(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_xoffload_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_xoffload_adopt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* phases and the end of an offer */

ngx_int_t ngx_http_xoffload_handler(ngx_http_request_t *r);
char *ngx_http_xoffload_obstacle(ngx_http_request_t *r);
void ngx_http_xoffload_resolve(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_status_e status, ngx_str_t *reason);

/* in and out of the epoll set */

ngx_int_t ngx_http_xoffload_detach(ngx_connection_t *c,
    ngx_http_xoffload_detached_t *detached);
ngx_int_t ngx_http_xoffload_attach(ngx_connection_t *c,
    ngx_http_xoffload_detached_t *detached);

/* selection with nginx's own balancing */

ngx_int_t ngx_http_xoffload_get_peer(ngx_http_xoffload_offer_t *offer,
    ngx_http_xoffload_loc_conf_t *xlcf);
void ngx_http_xoffload_free_peer(ngx_http_xoffload_offer_t *offer);

/* the message of an offer; NGX_DECLINED when it would be too long */

ngx_int_t ngx_http_xoffload_create_offer(ngx_http_xoffload_offer_t *offer,
    ngx_str_t *upstream);
size_t ngx_http_xoffload_head_length(ngx_http_request_t *r);
u_char *ngx_http_xoffload_copy_head(ngx_http_request_t *r, u_char *p);

/* the gateway process */

ngx_int_t ngx_http_xoffload_gateway_offer(ngx_http_xoffload_offer_t *offer);
void ngx_http_xoffload_gateway_forget(ngx_http_xoffload_offer_t *offer);
ngx_http_xoffload_offer_t *ngx_http_xoffload_gateway_find(
    ngx_http_xoffload_gateway_t *gw, uint64_t id);
ngx_int_t ngx_http_xoffload_gateway_welcome(ngx_http_xoffload_gateway_t *gw,
    ngx_socket_t *fds);
void ngx_http_xoffload_gateway_read(ngx_event_t *rev);
void ngx_http_xoffload_gateway_pause(ngx_http_xoffload_gateway_t *gw,
    ngx_msec_t pause);
void ngx_http_xoffload_gateway_gone(ngx_http_xoffload_gateway_t *gw);
void ngx_http_xoffload_gateway_timeout(ngx_http_xoffload_offer_t *offer,
    ngx_msec_t handoff_timeout);
void ngx_http_xoffload_gateway_exit(ngx_http_xoffload_gateway_t *gw);

/* Unix sockets, all without waiting */

ngx_socket_t ngx_http_xoffload_connect(ngx_http_xoffload_process_t *process,
    ngx_uint_t level, ngx_log_t *log);
ssize_t ngx_http_xoffload_send(ngx_socket_t s, void *data, size_t size,
    ngx_socket_t fd);
ssize_t ngx_http_xoffload_recv(ngx_socket_t s, void *data, size_t size,
    ngx_socket_t *fds, ngx_uint_t nfds);
ngx_uint_t ngx_http_xoffload_is_frozen(ngx_socket_t s);

ngx_int_t ngx_http_xoffload_add_variables(ngx_conf_t *cf);


#endif /* _NGX_HTTP_XOFFLOAD_H_INCLUDED_ */
