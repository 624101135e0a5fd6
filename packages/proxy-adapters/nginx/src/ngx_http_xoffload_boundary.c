/*
 * Where a request begins, all earlier ones are answered: here the agent may
 * have an adopted connection back.  It is asked only when it wants that, and
 * the event loop goes on meanwhile.
 */


#include "ngx_http_xoffload_adopt.h"


/* an agent that did not answer in time is not asked for a while, doubled */
#define NGX_HTTP_XOFFLOAD_FIRST_PAUSE  20
#define NGX_HTTP_XOFFLOAD_LAST_PAUSE   5000


static ngx_int_t ngx_http_xoffload_ask(ngx_http_xoffload_adopted_t *a,
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_xoffload_need_not_ask(
    ngx_http_xoffload_adopted_t *a, ngx_http_request_t *r);
static ngx_uint_t ngx_http_xoffload_stays(ngx_http_request_t *r);
static void ngx_http_xoffload_request_done(void *data);


ngx_int_t
ngx_http_xoffload_boundary_handler(ngx_http_request_t *r)
{
    ngx_connection_t             *c;
    ngx_http_cleanup_t           *cln;
    ngx_http_xoffload_adopted_t  *a;

    c = r->connection;

    if (r != r->main || c->pool->cleanup == NULL) {
        return NGX_DECLINED;
    }

    a = ngx_http_xoffload_find_adopted(c);

    if (a == NULL) {
        return NGX_DECLINED;
    }

    /* a write event runs the phases again */

    if (a->asking) {
        return NGX_AGAIN;
    }

    if (a->agent == NULL || a->decided == c->requests) {
        return NGX_DECLINED;
    }

    a->decided = c->requests;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_xoffload_request_done;
    cln->data = a;

    if (ngx_http_xoffload_stays(r)) {
        return NGX_DECLINED;
    }

    if (a->recalled || a->agent->leaving) {
        return ngx_http_xoffload_give_back_request(a, r);
    }

    if (ngx_http_xoffload_need_not_ask(a, r)) {
        return NGX_DECLINED;
    }

    return ngx_http_xoffload_ask(a, r);
}


/* Requests after which the connection ends, or is HTTP no more. */

static ngx_uint_t
ngx_http_xoffload_stays(ngx_http_request_t *r)
{
    return ngx_http_xoffload_obstacle(r) != NULL
           || r->http_version < NGX_HTTP_VERSION_11
           || !r->keepalive
           || r->headers_in.upgrade != NULL;
}


static ngx_uint_t
ngx_http_xoffload_need_not_ask(ngx_http_xoffload_adopted_t *a,
    ngx_http_request_t *r)
{
    ngx_http_xoffload_agent_t  *agent;

    agent = a->agent;

    if (!a->watched || r->connection->requests <= a->ask_at) {
        return 1;
    }

    if (agent->ask_pause
        && (ngx_msec_int_t) (ngx_current_msec - agent->ask_after) < 0)
    {
        return 1;
    }

    return ngx_http_xoffload_is_remembered(r);
}


static ngx_int_t
ngx_http_xoffload_ask(ngx_http_xoffload_adopted_t *a, ngx_http_request_t *r)
{
    ngx_str_t            head;
    struct shim_message  ask;

    head.len = ngx_http_xoffload_head_length(r);

    if (head.len > MAXIMUM_HEAD_LENGTH) {
        return NGX_DECLINED;
    }

    head.data = ngx_pnalloc(r->pool, head.len);
    if (head.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    (void) ngx_http_xoffload_copy_head(r, head.data);

    a->question = ++a->agent->question;

    ngx_memzero(&ask, sizeof(struct shim_message));
    ask.type = MESSAGE_ASK;
    ask.connection = a->number;
    ask.value = a->question;
    ask.requests = (uint32_t) r->connection->requests - 1;

    if (ngx_http_xoffload_tell(a->agent, &ask, &head) != NGX_OK) {
        return NGX_DECLINED;
    }

    a->asking = r;
    ngx_add_timer(&a->timer, a->agent->ask_timeout);

    return NGX_AGAIN;
}


void
ngx_http_xoffload_verdict(ngx_http_xoffload_adopted_t *a,
    struct agent_message *verdict)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = a->asking;
    c = a->connection;

    /* an answer that nobody waits for any more */

    if (r == NULL || a->question != verdict->value) {
        return;
    }

    a->agent->ask_pause = 0;

    if (verdict->argument == VERDICT_RETURN) {
        ngx_del_timer(&a->timer);
        a->asking = NULL;

        if (ngx_http_xoffload_give_back_request(a, r) == NGX_DONE) {
            return;
        }

        ngx_http_core_run_phases(r);
        ngx_http_run_posted_requests(c);
        return;
    }

    a->ask_at = c->requests + verdict->requests;

    if (verdict->milliseconds) {
        ngx_http_xoffload_remember(r, verdict->milliseconds);
    }

    ngx_http_xoffload_resume(a);
}


/* The request that waits for a verdict, if any, is served here. */

void
ngx_http_xoffload_resume(ngx_http_xoffload_adopted_t *a)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    if (a->timer.timer_set) {
        ngx_del_timer(&a->timer);
    }

    r = a->asking;

    if (r == NULL) {
        return;
    }

    c = a->connection;
    a->asking = NULL;

    ngx_http_set_log_request(c->log, r);

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


/* No verdict in time, or no room for a connection that was to be returned. */

void
ngx_http_xoffload_timeout_handler(ngx_event_t *ev)
{
    ngx_http_xoffload_agent_t    *agent;
    ngx_http_xoffload_adopted_t  *a;

    a = ev->data;
    agent = a->agent;

    if (a->asking == NULL) {
        ngx_http_xoffload_idle_handler(&a->idle);
        return;
    }

    agent->ask_pause = agent->ask_pause
                       ? ngx_min(agent->ask_pause * 2,
                                 NGX_HTTP_XOFFLOAD_LAST_PAUSE)
                       : NGX_HTTP_XOFFLOAD_FIRST_PAUSE;
    agent->ask_after = ngx_current_msec + agent->ask_pause;

    ngx_http_xoffload_resume(a);
}


/* It may be idle when nginx has dealt with the request's end. */

static void
ngx_http_xoffload_request_done(void *data)
{
    ngx_http_xoffload_adopted_t  *a = data;

    a->asking = NULL;

    if (a->agent && a->recalled) {
        ngx_post_event(&a->idle, &ngx_posted_events);
    }
}
