/* $xoffload_status, $xoffload_reason, $xoffload_server */


#include "ngx_http_xoffload.h"


static ngx_int_t ngx_http_xoffload_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


enum {
    ngx_http_xoffload_variable_status,
    ngx_http_xoffload_variable_reason,
    ngx_http_xoffload_variable_server
};


static ngx_http_variable_t  ngx_http_xoffload_vars[] = {

    { ngx_string("xoffload_status"), NULL, ngx_http_xoffload_variable,
      ngx_http_xoffload_variable_status, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("xoffload_reason"), NULL, ngx_http_xoffload_variable,
      ngx_http_xoffload_variable_reason, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("xoffload_server"), NULL, ngx_http_xoffload_variable,
      ngx_http_xoffload_variable_server, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


/* by ngx_http_xoffload_status_e */

static ngx_str_t  ngx_http_xoffload_statuses[] = {
    ngx_string("pending"),
    ngx_string("handed-off"),
    ngx_string("refused"),
    ngx_string("unsupported"),
    ngx_string("unavailable"),
    ngx_string("timed-out"),
    ngx_string("lost")
};


ngx_int_t
ngx_http_xoffload_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_xoffload_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_xoffload_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                  *value;
    ngx_http_xoffload_offer_t  *offer;

    offer = ngx_http_get_module_ctx(r->main, ngx_http_xoffload_module);

    if (offer == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case ngx_http_xoffload_variable_status:
        value = &ngx_http_xoffload_statuses[offer->status];
        break;

    case ngx_http_xoffload_variable_reason:
        value = &offer->reason;
        break;

    default:
        value = &offer->server;
        break;
    }

    if (value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;

    return NGX_OK;
}
