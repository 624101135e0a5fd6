/*
 * What nginx and the gateway process say to each other.  Both run on one
 * machine: numbers are in its byte order, and this file and
 * src/nginx/protocol.ts must agree.
 *
 * The gateway process listens on a Unix stream socket.  A worker connects
 * when it has the first connection to give, and the two check each other's
 * user with SO_PEERCRED.  Then:
 *
 *   nginx   -> gateway  HELLO
 *   gateway -> nginx    WELCOME, with both ends of a SOCK_SEQPACKET pair
 *
 * The pair is the queue of offers: nginx writes to the first end, the gateway
 * process reads from the second.  To give a connection:
 *
 *   nginx   -> queue    the offer, with the connection's descriptor
 *   nginx   -> gateway  OFFERED, so that it looks into the queue
 *   gateway -> nginx    HANDED_OFF, REFUSED, FAILED or LOST
 *
 * Whoever takes the offer out of the queue has the connection: nginx, which has
 * the reading end as well, takes it back from a gateway process that is too
 * slow or has died, and neither can be wrong about who has it.  Once the
 * gateway process has taken it, nginx does not touch the connection before
 * the answer.  A gateway process that refuses closes its descriptor first.
 *
 * When the gateway process dies with connections that it has taken, nginx
 * goes on with those that are not in repair mode, and closes the others, which
 * is silent.  For this to be right, the stream must not be closed before
 * all taken connections are answered.
 */


#ifndef _NGX_HTTP_XOFFLOAD_PROTOCOL_H_INCLUDED_
#define _NGX_HTTP_XOFFLOAD_PROTOCOL_H_INCLUDED_


#include <stdint.h>


#define NGX_HTTP_XOFFLOAD_PROTOCOL_VERSION  1

/* the longest offer, and the longest reason of a refusal */
#define NGX_HTTP_XOFFLOAD_MAX_OFFER         65536
#define NGX_HTTP_XOFFLOAD_MAX_REASON        255


/* nginx -> gateway */

#define NGX_HTTP_XOFFLOAD_HELLO             1
#define NGX_HTTP_XOFFLOAD_OFFERED           2

typedef struct {
    uint32_t                 type;
    uint32_t                 value;      /* HELLO: the version */
} ngx_http_xoffload_word_t;


/* gateway -> nginx */

#define NGX_HTTP_XOFFLOAD_WELCOME           16
#define NGX_HTTP_XOFFLOAD_HANDED_OFF        17
#define NGX_HTTP_XOFFLOAD_REFUSED           18
/* refused, and the server is to blame */
#define NGX_HTTP_XOFFLOAD_FAILED            19
/* nobody has it any more: it is to be closed */
#define NGX_HTTP_XOFFLOAD_LOST              20

typedef struct {
    uint32_t                 type;
    uint32_t                 length;     /* bytes of the reason that follows */
    uint64_t                 id;         /* WELCOME: the version */
} ngx_http_xoffload_answer_t;


/* the request has a body */
#define NGX_HTTP_XOFFLOAD_BODY              0x01
/* the connection may stay open after the response */
#define NGX_HTTP_XOFFLOAD_KEEPALIVE         0x02

/*
 * An offer.  What follows: the names of the upstream and of the server, the
 * server's address, and all that was read of the connection and not served:
 * the head of the request, as nginx has understood it, and what came behind.
 */
typedef struct {
    uint64_t                 id;
    uint32_t                 flags;
    uint32_t                 requests;   /* on the connection, with this one */
    uint32_t                 head;       /* bytes of the head */
    uint16_t                 upstream;
    uint16_t                 server;
    uint16_t                 address;
    uint16_t                 reserved[3];
} ngx_http_xoffload_offer_header_t;


#endif /* _NGX_HTTP_XOFFLOAD_PROTOCOL_H_INCLUDED_ */
