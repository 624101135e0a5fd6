/* The message that describes a connection to the gateway process. */


#include "ngx_http_xoffload.h"


ngx_int_t
ngx_http_xoffload_create_offer(ngx_http_xoffload_offer_t *offer,
    ngx_str_t *upstream)
{
    u_char                            *p;
    size_t                             head, behind, size;
    ngx_http_request_t                *r;
    ngx_http_xoffload_offer_header_t   header;

    r = offer->request;

    head = ngx_http_xoffload_head_length(r);
    behind = r->header_in->last - r->header_in->pos;

    size = sizeof(ngx_http_xoffload_offer_header_t) + upstream->len
           + offer->server.len + offer->address.len + head + behind;

    if (size > NGX_HTTP_XOFFLOAD_MAX_OFFER) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    offer->message.data = p;
    offer->message.len = size;

    ngx_memzero(&header, sizeof(ngx_http_xoffload_offer_header_t));

    header.id = offer->node.key;
    header.flags = (r->headers_in.content_length_n > 0 || r->headers_in.chunked
                    ? NGX_HTTP_XOFFLOAD_BODY : 0)
                   | (r->keepalive ? NGX_HTTP_XOFFLOAD_KEEPALIVE : 0);
    header.requests = (uint32_t) r->connection->requests;
    header.head = (uint32_t) head;
    header.upstream = (uint16_t) upstream->len;
    header.server = (uint16_t) offer->server.len;
    header.address = (uint16_t) offer->address.len;

    p = ngx_cpymem(p, &header, sizeof(ngx_http_xoffload_offer_header_t));
    p = ngx_cpymem(p, upstream->data, upstream->len);
    p = ngx_cpymem(p, offer->server.data, offer->server.len);
    p = ngx_cpymem(p, offer->address.data, offer->address.len);
    p = ngx_http_xoffload_copy_head(r, p);
    ngx_memcpy(p, r->header_in->pos, behind);

    return NGX_OK;
}


/*
 * The head is written anew from what nginx has understood, as when it proxies:
 * its bytes lie in several buffers and are not what the client sent any more,
 * and whoever reads this reads what nginx has read.  TCP does not mind:
 * what was received is acknowledged, and only its end has a place.
 */

size_t
ngx_http_xoffload_head_length(ngx_http_request_t *r)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    len = r->request_line.len + sizeof(CRLF) - 1 + sizeof(CRLF) - 1;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            len += header[i].key.len + sizeof(": ") - 1
                   + header[i].value.len + sizeof(CRLF) - 1;
        }
    }

    return len;
}


u_char *
ngx_http_xoffload_copy_head(ngx_http_request_t *r, u_char *p)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    p = ngx_cpymem(p, r->request_line.data, r->request_line.len);
    *p++ = CR; *p++ = LF;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            p = ngx_cpymem(p, header[i].key.data, header[i].key.len);
            *p++ = ':'; *p++ = ' ';
            p = ngx_cpymem(p, header[i].value.data, header[i].value.len);
            *p++ = CR; *p++ = LF;
        }
    }

    *p++ = CR; *p++ = LF;

    return p;
}
