/* The module and its configuration.  README.md has the directives. */


#include "ngx_http_xoffload.h"
#include "ngx_http_xoffload_adopt.h"


#if !(NGX_LINUX)
#error "connections can be handed off on Linux only"
#endif


static void *ngx_http_xoffload_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_xoffload_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_xoffload_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_xoffload_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_xoffload_init_process(ngx_cycle_t *cycle);
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

    { ngx_string("xoffload_adopt"),
      NGX_HTTP_SRV_CONF|NGX_CONF_TAKE12,
      ngx_http_xoffload_adopt,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
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
    ngx_http_xoffload_init_process,        /* init process */
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
        != NGX_OK
        || ngx_array_init(&xmcf->agents, cf->pool, 1,
                          sizeof(ngx_http_xoffload_agent_t *))
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


static ngx_int_t
ngx_http_xoffload_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt            *h;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_xoffload_main_conf_t  *xmcf;

    xmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_xoffload_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_xoffload_handler;

    if (xmcf->agents.nelts == 0) {
        return NGX_OK;
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_xoffload_boundary_handler;

    return ngx_http_xoffload_find_addresses(cf, &xmcf->agents);
}


/* Helpers, such as the cache manager, serve nobody. */

static ngx_int_t
ngx_http_xoffload_init_process(ngx_cycle_t *cycle)
{
    ngx_http_xoffload_main_conf_t  *xmcf;

    xmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_xoffload_module);

    if (xmcf == NULL || xmcf->agents.nelts == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    if (!(ngx_event_flags & NGX_USE_EPOLL_EVENT)) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "\"xoffload_adopt\" needs the event method epoll");
        return NGX_OK;
    }

    return ngx_http_xoffload_start_agents(cycle, &xmcf->agents);
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

    ngx_http_xoffload_stop_agents(&xmcf->agents);
}
