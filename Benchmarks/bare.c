// The ceiling: reads the body and answers 202, and does nothing else.
//
//   bare PORT THREADS
#include "server.h"

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *length, void **state) {
    (void)context;
    (void)url;
    (void)method;
    (void)version;
    struct request *request = *state;
    if (request == NULL) {
        *state = request = malloc(sizeof *request);
        if (request == NULL) return MHD_NO;
        request->length = 0;
        return MHD_YES;
    }
    if (*length > 0) return take_body(request, data, length) ? MHD_YES : MHD_NO;
    return answer(connection, request->length);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: bare PORT THREADS\n");
        return 2;
    }
    sigset_t signals;
    block_stop_signals(&signals);
    struct MHD_Daemon *daemon = start((unsigned)atoi(arguments[1]), (unsigned)atoi(arguments[2]), 0, handle);
    if (daemon == NULL) {
        fprintf(stderr, "cannot listen on port %s\n", arguments[1]);
        return 1;
    }
    int signal;
    sigwait(&signals, &signal);
    MHD_stop_daemon(daemon);
    return 0;
}
