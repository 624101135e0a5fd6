/* Requests that are served here for a while, on whichever connection. */


#include "ngx_http_xoffload_adopt.h"


#define NGX_HTTP_XOFFLOAD_ENTRIES     1024
/* longer ones are asked about each time */
#define NGX_HTTP_XOFFLOAD_KEY_LENGTH  240


typedef struct {
    ngx_msec_t               until;
    size_t                   len;
    u_char                   key[NGX_HTTP_XOFFLOAD_KEY_LENGTH];
} ngx_http_xoffload_entry_t;


/* each worker has its own */
static ngx_http_xoffload_entry_t
    ngx_http_xoffload_entries[NGX_HTTP_XOFFLOAD_ENTRIES];


/* Request line and Host.  0 when that is too long. */

static size_t
ngx_http_xoffload_key(ngx_http_request_t *r, u_char *key)
{
    u_char     *p;
    ngx_str_t   host;

    ngx_str_null(&host);

    if (r->headers_in.host) {
        host = r->headers_in.host->value;
    }

    if (r->request_line.len + host.len + 1 > NGX_HTTP_XOFFLOAD_KEY_LENGTH) {
        return 0;
    }

    p = ngx_cpymem(key, r->request_line.data, r->request_line.len);
    *p++ = LF;
    p = ngx_cpymem(p, host.data, host.len);

    return p - key;
}


static ngx_http_xoffload_entry_t *
ngx_http_xoffload_entry(u_char *key, size_t len)
{
    return &ngx_http_xoffload_entries[ngx_crc32_long(key, len)
                                      % NGX_HTTP_XOFFLOAD_ENTRIES];
}


ngx_uint_t
ngx_http_xoffload_is_remembered(ngx_http_request_t *r)
{
    size_t                      len;
    u_char                      key[NGX_HTTP_XOFFLOAD_KEY_LENGTH];
    ngx_http_xoffload_entry_t  *entry;

    len = ngx_http_xoffload_key(r, key);

    if (len == 0) {
        return 0;
    }

    entry = ngx_http_xoffload_entry(key, len);

    return entry->len == len
           && ngx_memcmp(entry->key, key, len) == 0
           && (ngx_msec_int_t) (ngx_current_msec - entry->until) < 0;
}


void
ngx_http_xoffload_remember(ngx_http_request_t *r, ngx_msec_t time)
{
    size_t                      len;
    u_char                      key[NGX_HTTP_XOFFLOAD_KEY_LENGTH];
    ngx_http_xoffload_entry_t  *entry;

    len = ngx_http_xoffload_key(r, key);

    if (len == 0) {
        return;
    }

    entry = ngx_http_xoffload_entry(key, len);

    ngx_memcpy(entry->key, key, len);
    entry->len = len;
    entry->until = ngx_current_msec + time;
}
