/* What the directives say. */


#include "ngx_http_xoffload.h"
#include "ngx_http_xoffload_adopt.h"

#include <pwd.h>


static ngx_http_xoffload_gateway_t *ngx_http_xoffload_add_gateway(
    ngx_conf_t *cf, ngx_str_t *name);
static char *ngx_http_xoffload_process(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_xoffload_process_t *process);
static char *ngx_http_xoffload_user(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uid_t *user);


char *
ngx_http_xoffload_gateway(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_xoffload_loc_conf_t *xlcf = conf;

    ngx_str_t  *value;

    if (xlcf->gateway != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    xlcf->gateway = ngx_http_xoffload_add_gateway(cf, &value[1]);
    if (xlcf->gateway == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    return ngx_http_xoffload_user(cf, &value[2], &xlcf->gateway->process.user);
}


/* All that name the same socket share a connection in each worker. */

static ngx_http_xoffload_gateway_t *
ngx_http_xoffload_add_gateway(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                       i;
    ngx_http_xoffload_gateway_t     *gw, **gwp;
    ngx_http_xoffload_main_conf_t   *xmcf;

    xmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_xoffload_module);
    gwp = xmcf->gateways.elts;

    for (i = 0; i < xmcf->gateways.nelts; i++) {
        if (gwp[i]->process.name.len == name->len
            && ngx_strncmp(gwp[i]->process.name.data, name->data, name->len)
               == 0)
        {
            return gwp[i];
        }
    }

    gw = ngx_pcalloc(cf->pool, sizeof(ngx_http_xoffload_gateway_t));
    if (gw == NULL) {
        return NULL;
    }

    if (ngx_http_xoffload_process(cf, name, &gw->process) != NGX_CONF_OK) {
        return NULL;
    }

    gwp = ngx_array_push(&xmcf->gateways);
    if (gwp == NULL) {
        return NULL;
    }

    *gwp = gw;

    return gw;
}


static char *
ngx_http_xoffload_process(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_xoffload_process_t *process)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = *name;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.family != AF_UNIX
        || u.naddrs != 1)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"%V\": \"unix:PATH\" is expected",
                           u.err ? u.err : "no Unix socket", name);
        return NGX_CONF_ERROR;
    }

    process->name = *name;
    process->sockaddr = u.addrs[0].sockaddr;
    process->socklen = u.addrs[0].socklen;
    process->user = geteuid();

    return NGX_CONF_OK;
}


static char *
ngx_http_xoffload_user(ngx_conf_t *cf, ngx_str_t *value, ngx_uid_t *user)
{
    struct passwd  *pwd;

    if (ngx_strncmp(value->data, "user=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    /* strings in a configuration end with a NUL */

    ngx_set_errno(0);
    pwd = getpwnam((const char *) value->data + 5);

    if (pwd == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "getpwnam(\"%s\") failed", value->data + 5);
        return NGX_CONF_ERROR;
    }

    *user = pwd->pw_uid;

    return NGX_CONF_OK;
}


char *
ngx_http_xoffload_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_xoffload_loc_conf_t *xlcf = conf;

    ngx_str_t  *value;
    ngx_url_t   u;

    if (xlcf->upstream) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = value[1];
    u.no_resolve = 1;

    xlcf->upstream = ngx_http_upstream_add(cf, &u, 0);
    if (xlcf->upstream == NULL) {
        return NGX_CONF_ERROR;
    }

    /* balancers of other modules may look at it */

    xlcf->upstream_conf = ngx_pcalloc(cf->pool,
                                      sizeof(ngx_http_upstream_conf_t));
    if (xlcf->upstream_conf == NULL) {
        return NGX_CONF_ERROR;
    }

    xlcf->upstream_conf->upstream = xlcf->upstream;

    return NGX_CONF_OK;
}


/* One agent, one server: what it gives says nothing of servers. */

char *
ngx_http_xoffload_adopt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                           *rv;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_core_srv_conf_t       *cscf;
    ngx_http_xoffload_agent_t      *agent, **agentp;
    ngx_http_xoffload_main_conf_t  *xmcf;

    xmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_xoffload_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    value = cf->args->elts;
    agentp = xmcf->agents.elts;

    for (i = 0; i < xmcf->agents.nelts; i++) {

        if (agentp[i]->server == cscf) {
            return "is duplicate";
        }

        if (agentp[i]->process.name.len == value[1].len
            && ngx_strncmp(agentp[i]->process.name.data, value[1].data,
                           value[1].len)
               == 0)
        {
            return "has the socket of another server";
        }
    }

    agent = ngx_pcalloc(cf->pool, sizeof(ngx_http_xoffload_agent_t));
    if (agent == NULL) {
        return NGX_CONF_ERROR;
    }

    agent->server = cscf;

    rv = ngx_http_xoffload_process(cf, &value[1], &agent->process);

    if (rv == NGX_CONF_OK && cf->args->nelts == 3) {
        rv = ngx_http_xoffload_user(cf, &value[2], &agent->process.user);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    agentp = ngx_array_push(&xmcf->agents);
    if (agentp == NULL) {
        return NGX_CONF_ERROR;
    }

    *agentp = agent;

    return NGX_CONF_OK;
}
