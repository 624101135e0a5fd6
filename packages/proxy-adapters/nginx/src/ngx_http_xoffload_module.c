/* Directives.  See README.md. */


#include "ngx_http_xoffload.h"

#include <pwd.h>


#if !(NGX_LINUX)
#error "connections can be handed off on Linux only"
#endif


static void *ngx_http_xoffload_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_xoffload_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_xoffload_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_xoffload_gateway(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_http_xoffload_gateway_t *ngx_http_xoffload_add_gateway(
    ngx_conf_t *cf, ngx_str_t *name);
static char *ngx_http_xoffload_user(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uid_t *user);
static char *ngx_http_xoffload_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_xoffload_init(ngx_conf_t *cf);
static void ngx_http_xoffload_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_xoffload_commands[] = {

    { ngx_string("xoffload_gateway"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_xoffload_gateway,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xoffload_pass"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_TAKE1,
      ngx_http_xoffload_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("xoffload_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_xoffload_loc_conf_t, timeout),
      NULL },

    { ngx_string("xoffload_handoff_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_xoffload_loc_conf_t, handoff_timeout),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_xoffload_module_ctx = {
    ngx_http_xoffload_add_variables,       /* preconfiguration */
    ngx_http_xoffload_init,                /* postconfiguration */

    ngx_http_xoffload_create_main_conf,    /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_xoffload_create_loc_conf,     /* create location configuration */
    ngx_http_xoffload_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_xoffload_module = {
    NGX_MODULE_V1,
    &ngx_http_xoffload_module_ctx,         /* module context */
    ngx_http_xoffload_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_xoffload_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_xoffload_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_xoffload_main_conf_t  *xmcf;

    xmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_xoffload_main_conf_t));
    if (xmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&xmcf->gateways, cf->pool, 1,
                       sizeof(ngx_http_xoffload_gateway_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return xmcf;
}


static void *
ngx_http_xoffload_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_xoffload_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_xoffload_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->gateway = NGX_CONF_UNSET_PTR;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->handoff_timeout = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_http_xoffload_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_xoffload_loc_conf_t *prev = parent;
    ngx_http_xoffload_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    ngx_conf_merge_ptr_value(conf->gateway, prev->gateway, NULL);
    ngx_conf_merge_msec_value(conf->timeout, prev->timeout, 500);
    ngx_conf_merge_msec_value(conf->handoff_timeout, prev->handoff_timeout,
                              10000);

    /* as with proxy_pass: only into "if" and "limit_except" */

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->upstream == NULL) {
        conf->upstream = prev->upstream;
        conf->upstream_conf = prev->upstream_conf;
    }

    if (conf->upstream && conf->gateway == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"xoffload_pass\" needs \"xoffload_gateway\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
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

    return ngx_http_xoffload_user(cf, &value[2], &xlcf->gateway->user);
}


/* All that name the same socket share a connection in each worker. */

static ngx_http_xoffload_gateway_t *
ngx_http_xoffload_add_gateway(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_url_t                        u;
    ngx_uint_t                       i;
    ngx_http_xoffload_gateway_t     *gw, **gwp;
    ngx_http_xoffload_main_conf_t   *xmcf;

    xmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_xoffload_module);
    gwp = xmcf->gateways.elts;

    for (i = 0; i < xmcf->gateways.nelts; i++) {
        if (gwp[i]->name.len == name->len
            && ngx_strncmp(gwp[i]->name.data, name->data, name->len) == 0)
        {
            return gwp[i];
        }
    }

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = *name;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.family != AF_UNIX
        || u.naddrs != 1)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"%V\": \"unix:PATH\" is expected",
                           u.err ? u.err : "no Unix socket", name);
        return NULL;
    }

    gw = ngx_pcalloc(cf->pool, sizeof(ngx_http_xoffload_gateway_t));
    if (gw == NULL) {
        return NULL;
    }

    gw->name = *name;
    gw->sockaddr = u.addrs[0].sockaddr;
    gw->socklen = u.addrs[0].socklen;
    gw->user = geteuid();

    gwp = ngx_array_push(&xmcf->gateways);
    if (gwp == NULL) {
        return NULL;
    }

    *gwp = gw;

    return gw;
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


static char *
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


static ngx_int_t
ngx_http_xoffload_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_xoffload_handler;

    return NGX_OK;
}


static void
ngx_http_xoffload_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_xoffload_gateway_t    **gwp;
    ngx_http_xoffload_main_conf_t   *xmcf;

    xmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_xoffload_module);
    if (xmcf == NULL) {
        return;
    }

    gwp = xmcf->gateways.elts;

    for (i = 0; i < xmcf->gateways.nelts; i++) {
        ngx_http_xoffload_gateway_exit(gwp[i]);
    }
}
