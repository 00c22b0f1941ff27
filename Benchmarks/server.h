// What both reference servers share: a libmicrohttpd daemon on 127.0.0.1 that reads a request's body whole.
#pragma once

#include <arpa/inet.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A larger body than the benchmark sends is a mistake of whoever calls.
#define BODY_BYTES_MAX 16384

struct request {
    struct request *next;
    struct MHD_Connection *connection;
    size_t length;
    int queued;
    unsigned long long sequence;
    char body[BODY_BYTES_MAX];
};

// Adds a piece of the body. Returns 0 when it does not fit.
static inline int take_body(struct request *request, const char *data, size_t *length) {
    if (*length > BODY_BYTES_MAX - request->length) return 0;
    memcpy(request->body + request->length, data, *length);
    request->length += *length;
    *length = 0;
    return 1;
}

static inline enum MHD_Result answer(struct MHD_Connection *connection, unsigned long long sequence) {
    char text[96];
    int length = snprintf(text, sizeof text, "{\"durability\":\"fsync\",\"receipts\":[\"benchmrk-%llu\"]}", sequence);
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)length, text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_ACCEPTED, response);
    MHD_destroy_response(response);
    return result;
}

static void free_request(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    (void)context;
    (void)connection;
    (void)code;
    free(*state);
    *state = NULL;
}

static inline struct MHD_Daemon *start(unsigned port, unsigned threads, unsigned flags,
                                       MHD_AccessHandlerCallback handler) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // A pool of one is not accepted as a pool.
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | flags, 0, NULL, NULL, handler, NULL,
                            MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_NOTIFY_COMPLETED,
                            free_request, NULL, MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0,
                            MHD_OPTION_END);
}

// Blocks SIGTERM and SIGINT in every thread started from now on.
static inline void block_stop_signals(sigset_t *signals) {
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigprocmask(SIG_BLOCK, signals, NULL);
}
