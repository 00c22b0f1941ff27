// What Swift cannot say to libmicrohttpd itself: variadic calls, options that carry function pointers, unions behind
// an enum, and constants whose import changed its form between 0.9.75 and 1.0. No logic lives here.
#pragma once

#include <microhttpd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

enum { postrider_mhd_log_line_bytes = 512 };

typedef void (*postrider_mhd_log_line)(void *cls, const char *line);

struct postrider_mhd_options {
    unsigned int threads;
    unsigned int connections_max;
    unsigned int idle_timeout_seconds;
    size_t connection_memory_bytes;
    // Passed to every callback as its first argument; owned by the caller and valid until the daemon has stopped.
    void *cls;
    MHD_AccessHandlerCallback access;
    MHD_RequestCompletedCallback completed;
    MHD_NotifyConnectionCallback connection;
    void *(*request_line)(void *cls, const char *uri, struct MHD_Connection *connection);
    size_t (*unescape)(void *cls, struct MHD_Connection *connection, char *text);
    postrider_mhd_log_line log_line;
};

// libmicrohttpd hands a va_list, which Swift cannot read. `cls` is the options' log_context.
struct postrider_mhd_log_context {
    void *cls;
    postrider_mhd_log_line log_line;
};

static inline void postrider_mhd_log(void *cls, const char *format, va_list arguments) {
    struct postrider_mhd_log_context *context = (struct postrider_mhd_log_context *)cls;
    char line[postrider_mhd_log_line_bytes];
    vsnprintf(line, sizeof line, format, arguments);
    context->log_line(context->cls, line);
}

// NULL on failure; the log says why. `log_context` must live as long as the daemon.
static inline struct MHD_Daemon *postrider_mhd_start(const struct postrider_mhd_options *options,
                                                     struct postrider_mhd_log_context *log_context) {
    log_context->cls = options->cls;
    log_context->log_line = options->log_line;
    struct MHD_OptionItem items[] = {
        // First, so that it reports what is wrong with the others.
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)&postrider_mhd_log, log_context},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)options->completed, options->cls},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)options->connection, options->cls},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)options->request_line, options->cls},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)options->unescape, options->cls},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)options->connections_max, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)options->idle_timeout_seconds, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)options->connection_memory_bytes, NULL},
#if MHD_VERSION >= 0x01000000
        {MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1, NULL},
#else
        // 1 would also refuse a missing Host and a space in the target, but 0.9.75 sends the head of what it refuses
        // for its header fields twice; both are refused by who is called.
        {MHD_OPTION_STRICT_FOR_CLIENT, 0, NULL},
#endif
        // A pool of one is refused; without the option there is one thread.
        {options->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)options->threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    const unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
                               MHD_USE_ERROR_LOG;
    return MHD_start_daemon(flags, 0, NULL, NULL, options->access, options->cls, MHD_OPTION_ARRAY, items,
                            MHD_OPTION_END);
}

// What the connection's callback stored; NULL before.
static inline void *postrider_mhd_socket_context(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

// -1 when unknown.
static inline int postrider_mhd_descriptor(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info == NULL ? -1 : info->connect_fd;
}

static inline const struct sockaddr *postrider_mhd_client_address(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info == NULL ? NULL : info->client_addr;
}

// From the method's first byte to the end of the empty line; 0 when unknown.
static inline size_t postrider_mhd_header_bytes(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info == NULL ? 0 : info->header_size;
}

static inline int postrider_mhd_is_start(enum MHD_ConnectionNotificationCode code) {
    return code == MHD_CONNECTION_NOTIFY_STARTED;
}

static inline int postrider_mhd_is_completed_ok(enum MHD_RequestTerminationCode code) {
    return code == MHD_REQUEST_TERMINATED_COMPLETED_OK;
}

static inline struct MHD_Response *postrider_mhd_response_copying(const void *bytes, size_t count) {
    return MHD_create_response_from_buffer(count, (void *)bytes, MHD_RESPMEM_MUST_COPY);
}

static const enum MHD_Result postrider_mhd_yes = MHD_YES;
static const enum MHD_Result postrider_mhd_no = MHD_NO;
static const enum MHD_ValueKind postrider_mhd_header_kind = MHD_HEADER_KIND;
static const enum MHD_ValueKind postrider_mhd_argument_kind = MHD_GET_ARGUMENT_KIND;

// glibc declares these for GNU sources only, or in a header that Swift's module of it leaves out.
static const int postrider_sock_stream = SOCK_STREAM;
static const int postrider_sock_cloexec = SOCK_CLOEXEC;
static const int postrider_sock_nonblock = SOCK_NONBLOCK;
static const int postrider_msg_dontwait = MSG_DONTWAIT;
static const int postrider_msg_nosignal = MSG_NOSIGNAL;
static const int postrider_msg_peek = MSG_PEEK;
static const short postrider_poll_rdhup = 0x2000; // POLLRDHUP, the same on every Linux but SPARC
static const ssize_t postrider_mhd_end_of_stream = MHD_CONTENT_READER_END_OF_STREAM;
static const ssize_t postrider_mhd_end_with_error = MHD_CONTENT_READER_END_WITH_ERROR;
