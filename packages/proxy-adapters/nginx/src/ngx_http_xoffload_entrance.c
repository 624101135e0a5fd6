/* Where a server listens: an adopted connection enters as if it came there. */


#include "ngx_http_xoffload_adopt.h"


static ngx_int_t ngx_http_xoffload_add_entrance(ngx_conf_t *cf,
    ngx_http_xoffload_agent_t *agent, ngx_http_conf_addr_t *addr);
static ngx_listening_t *ngx_http_xoffload_listening(ngx_cycle_t *cycle,
    struct sockaddr *sockaddr, socklen_t socklen);
static ngx_http_addr_conf_t *ngx_http_xoffload_addr_conf(
    ngx_http_port_t *port, struct sockaddr *sockaddr);


/*
 * An adopted connection is plain: TLS, if any, is the kernel's.  So addresses
 * with TLS, HTTP/2 or the PROXY protocol are none for it.
 */

ngx_int_t
ngx_http_xoffload_find_addresses(ngx_conf_t *cf, ngx_array_t *agents)
{
    ngx_uint_t                    i, j, k, n;
    ngx_http_conf_addr_t         *addr;
    ngx_http_conf_port_t         *port;
    ngx_http_core_srv_conf_t    **cscfp;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_xoffload_agent_t   **agentp;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    agentp = agents->elts;

    for (i = 0; i < agents->nelts; i++) {

        if (ngx_array_init(&agentp[i]->entrances, cf->pool, 2,
                           sizeof(ngx_http_xoffload_entrance_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        port = cmcf->ports ? cmcf->ports->elts : NULL;

        for (j = 0; port && j < cmcf->ports->nelts; j++) {
            addr = port[j].addrs.elts;

            for (k = 0; k < port[j].addrs.nelts; k++) {
                cscfp = addr[k].servers.elts;

                for (n = 0; n < addr[k].servers.nelts; n++) {

                    if (cscfp[n] == agentp[i]->server
                        && ngx_http_xoffload_add_entrance(cf, agentp[i],
                                                          &addr[k])
                           != NGX_OK)
                    {
                        return NGX_ERROR;
                    }
                }
            }
        }

        if (agentp[i]->entrances.nelts == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"xoffload_adopt %V\" needs a \"listen\" in its "
                          "server that is neither \"ssl\", \"http2\", "
                          "\"proxy_protocol\" nor a Unix socket",
                          &agentp[i]->process.name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_xoffload_add_entrance(ngx_conf_t *cf,
    ngx_http_xoffload_agent_t *agent, ngx_http_conf_addr_t *addr)
{
    ngx_http_xoffload_entrance_t  *entrance;

    if (addr->opt.ssl || addr->opt.http2 || addr->opt.proxy_protocol
        || (addr->opt.sockaddr->sa_family != AF_INET
#if (NGX_HAVE_INET6)
            && addr->opt.sockaddr->sa_family != AF_INET6
#endif
           ))
    {
        return NGX_OK;
    }

    entrance = ngx_array_push(&agent->entrances);
    if (entrance == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(entrance, sizeof(ngx_http_xoffload_entrance_t));

    entrance->socklen = addr->opt.socklen;
    entrance->sockaddr = ngx_pcalloc(cf->pool, addr->opt.socklen);
    if (entrance->sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(entrance->sockaddr, addr->opt.sockaddr, addr->opt.socklen);

    return NGX_OK;
}


void
ngx_http_xoffload_find_listening(ngx_http_xoffload_agent_t *agent,
    ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_http_xoffload_entrance_t  *entrance;

    entrance = agent->entrances.elts;

    for (i = 0; i < agent->entrances.nelts; i++) {
        entrance[i].listening = ngx_http_xoffload_listening(cycle,
                                                        entrance[i].sockaddr,
                                                        entrance[i].socklen);

        if (entrance[i].listening) {
            entrance[i].addr_conf = ngx_http_xoffload_addr_conf(
                                              entrance[i].listening->servers,
                                              entrance[i].sockaddr);
        }
    }
}


/* That of the address, or else the wildcard's, which it is part of then. */

static ngx_listening_t *
ngx_http_xoffload_listening(ngx_cycle_t *cycle, struct sockaddr *sockaddr,
    socklen_t socklen)
{
    ngx_uint_t        i;
    ngx_listening_t  *ls, *wildcard;

    ls = cycle->listening.elts;
    wildcard = NULL;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].handler != ngx_http_init_connection
            || (ls[i].reuseport && ls[i].worker != ngx_worker))
        {
            continue;
        }

        if (ngx_cmp_sockaddr(ls[i].sockaddr, ls[i].socklen, sockaddr, socklen,
                             1)
            == NGX_OK)
        {
            return &ls[i];
        }

        if (ls[i].sockaddr->sa_family == sockaddr->sa_family
            && ngx_inet_wildcard(ls[i].sockaddr)
            && ngx_inet_get_port(ls[i].sockaddr)
               == ngx_inet_get_port(sockaddr))
        {
            wildcard = &ls[i];
        }
    }

    return wildcard;
}


/* As ngx_http_init_connection() does it: the last one is the wildcard's. */

static ngx_http_addr_conf_t *
ngx_http_xoffload_addr_conf(ngx_http_port_t *port, struct sockaddr *sockaddr)
{
    ngx_uint_t            i;
    struct sockaddr_in   *sin;
    ngx_http_in_addr_t   *addr;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
    ngx_http_in6_addr_t  *addr6;

    if (sockaddr->sa_family == AF_INET6) {
        sin6 = (struct sockaddr_in6 *) sockaddr;
        addr6 = port->addrs;

        for (i = 0; i < port->naddrs - 1; i++) {
            if (ngx_memcmp(&addr6[i].addr6, &sin6->sin6_addr, 16) == 0) {
                break;
            }
        }

        return &addr6[i].conf;
    }
#endif

    sin = (struct sockaddr_in *) sockaddr;
    addr = port->addrs;

    for (i = 0; i < port->naddrs - 1; i++) {
        if (addr[i].addr == sin->sin_addr.s_addr) {
            break;
        }
    }

    return &addr[i].conf;
}


/*
 * The address that comes next to the connection's own: the same, the same port,
 * or any.  A server with IPv6 takes IPv4, too, but not the other way round.
 */

ngx_http_xoffload_entrance_t *
ngx_http_xoffload_entrance(ngx_http_xoffload_agent_t *agent,
    struct sockaddr *local)
{
    ngx_uint_t                     i, rank, best;
    ngx_http_xoffload_entrance_t  *entrance, *found;

    entrance = agent->entrances.elts;
    found = NULL;
    best = 0;

    for (i = 0; i < agent->entrances.nelts; i++) {

        if (entrance[i].listening == NULL
            || (local->sa_family != AF_INET
                && local->sa_family != entrance[i].sockaddr->sa_family))
        {
            continue;
        }

        rank = 1;

        if (local->sa_family == entrance[i].sockaddr->sa_family) {
            rank += 1;

            if (ngx_cmp_sockaddr(local, entrance[i].socklen,
                                 entrance[i].sockaddr, entrance[i].socklen, 0)
                == NGX_OK)
            {
                rank += 2;
            }
        }

        if (ngx_inet_wildcard(entrance[i].sockaddr)) {
            rank += 1;
        }

        if (ngx_inet_get_port(local)
            == ngx_inet_get_port(entrance[i].sockaddr))
        {
            rank += 8;
        }

        if (rank > best) {
            best = rank;
            found = &entrance[i];
        }
    }

    return found;
}
