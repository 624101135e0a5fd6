/* Unix sockets that carry descriptors.  Nothing here waits. */


#include "ngx_http_xoffload.h"

#include <sys/un.h>


/* one recvmsg() may bring more than is wanted: those are closed */
#define NGX_HTTP_XOFFLOAD_MAX_FDS  4


static ngx_int_t
ngx_http_xoffload_is_trusted(ngx_http_xoffload_process_t *process,
    ngx_socket_t s, ngx_uint_t level, ngx_log_t *log)
{
    socklen_t     len;
    struct ucred  peer;

    len = sizeof(struct ucred);

    if (getsockopt(s, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      "getsockopt(SO_PEERCRED) failed");
        return NGX_ERROR;
    }

    if (peer.uid == 0 || peer.uid == process->user) {
        return NGX_OK;
    }

    ngx_log_error(level, log, 0,
                  "the process at %V runs as user %d, which is not trusted: "
                  "name it with \"user=\"", &process->name, (int) peer.uid);

    return NGX_ERROR;
}


ngx_socket_t
ngx_http_xoffload_connect(ngx_http_xoffload_process_t *process,
    ngx_uint_t level, ngx_log_t *log)
{
    ngx_socket_t  s;

    s = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return (ngx_socket_t) -1;
    }

    /* a Unix socket is connected at once, or it fails */

    if (connect(s, process->sockaddr, process->socklen) == -1) {
        ngx_log_error(level, log, ngx_socket_errno,
                      "connect() to %V failed", &process->name);
        goto failed;
    }

    if (ngx_http_xoffload_is_trusted(process, s, level, log) != NGX_OK) {
        goto failed;
    }

    return s;

failed:

    if (ngx_close_socket(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }

    return (ngx_socket_t) -1;
}


/* Sends all or nothing, with a descriptor unless "fd" is -1. */

ssize_t
ngx_http_xoffload_send(ngx_socket_t s, void *data, size_t size,
    ngx_socket_t fd)
{
    ssize_t          n;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(sizeof(int))];
    } control;

    ngx_memzero(&msg, sizeof(struct msghdr));
    ngx_memzero(&control, sizeof(control));

    iov.iov_base = data;
    iov.iov_len = size;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;

    if (fd != (ngx_socket_t) -1) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);

        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        ngx_memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    }

    do {
        n = sendmsg(s, &msg, MSG_DONTWAIT|MSG_NOSIGNAL);
    } while (n == -1 && ngx_socket_errno == NGX_EINTR);

    if (n == -1) {
        return ngx_socket_errno == NGX_EAGAIN ? NGX_AGAIN : NGX_ERROR;
    }

    return n == (ssize_t) size ? n : NGX_ERROR;
}


static void
ngx_http_xoffload_take_fds(struct msghdr *msg, ngx_socket_t *fds,
    ngx_uint_t nfds)
{
    int              fd;
    size_t           i, n;
    ngx_uint_t       taken;
    struct cmsghdr  *cmsg;

    taken = 0;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }

        n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (i = 0; i < n; i++) {
            ngx_memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));

            if (taken < nfds) {
                fds[taken++] = fd;

            } else {
                (void) close(fd);
            }
        }
    }
}


/* NGX_AGAIN when there is nothing, 0 at the end of the stream. */

ssize_t
ngx_http_xoffload_recv(ngx_socket_t s, void *data, size_t size,
    ngx_socket_t *fds, ngx_uint_t nfds)
{
    ssize_t        n;
    ngx_uint_t     i;
    struct iovec   iov;
    struct msghdr  msg;

    union {
        struct cmsghdr  cm;
        char            space[CMSG_SPACE(NGX_HTTP_XOFFLOAD_MAX_FDS
                                         * sizeof(int))];
    } control;

    for (i = 0; i < nfds; i++) {
        fds[i] = (ngx_socket_t) -1;
    }

    ngx_memzero(&msg, sizeof(struct msghdr));

    iov.iov_base = data;
    iov.iov_len = size;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.space;
    msg.msg_controllen = sizeof(control.space);

    do {
        n = recvmsg(s, &msg, MSG_DONTWAIT|MSG_CMSG_CLOEXEC);
    } while (n == -1 && ngx_socket_errno == NGX_EINTR);

    if (n == -1) {
        return ngx_socket_errno == NGX_EAGAIN ? NGX_AGAIN : NGX_ERROR;
    }

    ngx_http_xoffload_take_fds(&msg, fds, nfds);

    return n;
}


/*
 * Whether the socket is in repair mode: then it is silent, and only a process
 * with CAP_NET_ADMIN can change that.  Reading it needs no capability
 * (do_tcp_getsockopt() in net/ipv4/tcp.c).
 */

ngx_uint_t
ngx_http_xoffload_is_frozen(ngx_socket_t s)
{
    int        repair;
    socklen_t  len;

    repair = 0;
    len = sizeof(int);

    /* what cannot be asked is no TCP socket any more */

    return getsockopt(s, IPPROTO_TCP, TCP_REPAIR, &repair, &len) == 0
           && repair != 0;
}
