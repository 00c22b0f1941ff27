// The least that "accepted means durable" costs: handlers queue the body and suspend; one thread writes everything
// queued with one pwrite, syncs once, and resumes everybody. No framing, no checksums, no index, no answer on failure
// (it stops), no forwarding, no recovery.
//
//   group_commit PORT THREADS FILE
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

// As the journal's: what is queued beyond it waits for the next commit.
#define COMMIT_BYTES_MAX (4u << 20)
// Space is reserved in steps, as a journal does with segments; the benchmark's file is removed afterwards.
#define RESERVE_BYTES (64ll << 20)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queued = PTHREAD_COND_INITIALIZER;
static struct request *first;
static struct request **last = &first;
static int file;

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
        request->next = NULL;
        request->connection = connection;
        request->length = 0;
        request->queued = 0;
        return MHD_YES;
    }
    if (*length > 0) return take_body(request, data, length) ? MHD_YES : MHD_NO;
    if (request->queued) return answer(connection, request->sequence);

    request->queued = 1;
    // Before the writer can see it, or its resume would come first.
    MHD_suspend_connection(connection);
    pthread_mutex_lock(&mutex);
    *last = request;
    last = &request->next;
    pthread_cond_signal(&queued);
    pthread_mutex_unlock(&mutex);
    return MHD_YES;
}

static void fail(const char *what) {
    perror(what);
    _exit(1);
}

static void *write_commits(void *context) {
    (void)context;
    char *buffer = malloc(COMMIT_BYTES_MAX);
    if (buffer == NULL) fail("malloc");
    off_t end = 0, reserved = 0;
    unsigned long long sequence = 0;
    for (;;) {
        pthread_mutex_lock(&mutex);
        while (first == NULL) pthread_cond_wait(&queued, &mutex);
        struct request *taken = first;
        size_t bytes = 0;
        struct request **cut = &first;
        while (*cut != NULL && bytes + (*cut)->length <= COMMIT_BYTES_MAX) {
            bytes += (*cut)->length;
            cut = &(*cut)->next;
        }
        struct request *rest = *cut;
        *cut = NULL;
        first = rest;
        if (rest == NULL) last = &first;
        pthread_mutex_unlock(&mutex);

        size_t at = 0;
        for (struct request *request = taken; request != NULL; request = request->next) {
            memcpy(buffer + at, request->body, request->length);
            at += request->length;
            request->sequence = ++sequence;
        }
        if (end + (off_t)bytes > reserved) {
            int error = posix_fallocate(file, reserved, RESERVE_BYTES);
            if (error != 0) {
                errno = error;
                fail("posix_fallocate");
            }
            reserved += RESERVE_BYTES;
        }
        for (size_t done = 0; done < bytes;) {
            ssize_t count = pwrite(file, buffer + done, bytes - done, end + (off_t)done);
            if (count < 0) fail("pwrite");
            done += (size_t)count;
        }
        end += (off_t)bytes;
        if (fdatasync(file) != 0) fail("fdatasync");

        while (taken != NULL) {
            // The request may be freed as soon as its connection goes on.
            struct request *next = taken->next;
            MHD_resume_connection(taken->connection);
            taken = next;
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: group_commit PORT THREADS FILE\n");
        return 2;
    }
    file = open(arguments[3], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (file < 0) fail(arguments[3]);
    sigset_t signals;
    block_stop_signals(&signals);
    pthread_t writer;
    if (pthread_create(&writer, NULL, write_commits, NULL) != 0) fail("pthread_create");
    struct MHD_Daemon *daemon = start((unsigned)atoi(arguments[1]), (unsigned)atoi(arguments[2]),
                                      MHD_ALLOW_SUSPEND_RESUME, handle);
    if (daemon == NULL) {
        fprintf(stderr, "cannot listen on port %s\n", arguments[1]);
        return 1;
    }
    int signal;
    sigwait(&signals, &signal);
    // Stopping the daemon with suspended connections is undefined; the benchmark is over anyway.
    _exit(0);
}
