// What several syncs in flight would gain a group-committing journal: CLIENTS closed loops hand in records of BYTES
// each; up to WRITERS threads each take everything that waits, append it to one preallocated, zero-filled file with one
// pwrite, sync with one fdatasync, and then answer, in the order in which the syncs were started. With 1 writer it is
// what the journal does. The last line is RESULT {"records":…,"syncs":…,"duration_us":…,"p50_us":…,"p99_us":…}
//
//   syncs_in_flight WRITERS CLIENTS BYTES SECONDS FILE
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define WRITERS_MAX 16
#define GROUP_BYTES_MAX (4u << 20)
// As long as a segment; then it begins at the front again.
#define FILE_BYTES (64ll << 20)
// Latencies in steps of 10 us up to 1 s.
#define STEP_US 10
#define STEPS 100000

struct client {
    pthread_cond_t answered;
    int waits;
    struct client *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queued = PTHREAD_COND_INITIALIZER, published = PTHREAD_COND_INITIALIZER;
static struct client *first, **last = &first;
// Groups started, and groups answered: syncs are published in the order of their start.
static unsigned long long started, answered;
static long long offset;
static int file;
static unsigned record_bytes;
static volatile int stopping;
static unsigned long long records, latencies[STEPS];

static void fail(const char *what) {
    perror(what);
    _exit(1);
}

static long long now_us(void) {
    struct timespec time;
    if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) fail("clock_gettime");
    return time.tv_sec * 1000000ll + time.tv_nsec / 1000;
}

static void *write_groups(void *context) {
    (void)context;
    char *buffer = malloc(GROUP_BYTES_MAX);
    if (buffer == NULL) fail("malloc");
    memset(buffer, 'x', GROUP_BYTES_MAX);
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (first == NULL) pthread_cond_wait(&queued, &mutex);
        struct client *taken = first;
        size_t bytes = 0;
        struct client **cut = &first;
        while (*cut != NULL && bytes + record_bytes <= GROUP_BYTES_MAX) {
            bytes += record_bytes;
            cut = &(*cut)->next;
        }
        struct client *rest = *cut;
        *cut = NULL;
        first = rest;
        if (rest == NULL) last = &first;
        if (offset + (long long)bytes > FILE_BYTES) offset = 0;
        const long long place = offset;
        // The journal's frames begin at multiples of 8, not of a page: groups share pages.
        offset += (long long)((bytes + 47) & ~7ull);
        const unsigned long long turn = started++;
        pthread_mutex_unlock(&mutex);

        memcpy(buffer, &turn, sizeof turn);
        for (size_t done = 0; done < bytes;) {
            const ssize_t count = pwrite(file, buffer + done, bytes - done, place + (off_t)done);
            if (count < 0) fail("pwrite");
            done += (size_t)count;
        }
        if (fdatasync(file) != 0) fail("fdatasync");

        pthread_mutex_lock(&mutex);
        while (answered != turn) pthread_cond_wait(&published, &mutex);
        answered++;
        pthread_cond_broadcast(&published);
        while (taken != NULL) {
            struct client *next = taken->next;
            taken->waits = 0;
            pthread_cond_signal(&taken->answered);
            taken = next;
        }
    }
    return NULL;
}

static void *send_records(void *context) {
    struct client *client = context;
    pthread_mutex_lock(&mutex);
    while (!stopping) {
        const long long start = now_us();
        client->waits = 1;
        client->next = NULL;
        *last = client;
        last = &client->next;
        pthread_cond_signal(&queued);
        while (client->waits) pthread_cond_wait(&client->answered, &mutex);
        const long long step = (now_us() - start) / STEP_US;
        latencies[step < STEPS ? step : STEPS - 1]++;
        records++;
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static long long percentile(double part) {
    unsigned long long seen = 0;
    for (int step = 0; step < STEPS; step++) {
        seen += latencies[step];
        if ((double)seen >= part * (double)records) return (long long)step * STEP_US;
    }
    return (long long)STEPS * STEP_US;
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: syncs_in_flight WRITERS CLIENTS BYTES SECONDS FILE\n");
        return 2;
    }
    const int writers = atoi(arguments[1]), clients = atoi(arguments[2]);
    record_bytes = (unsigned)atoi(arguments[3]);
    if (writers < 1 || writers > WRITERS_MAX || clients < 1 || clients > CLIENTS_MAX || record_bytes < 8 ||
        record_bytes > GROUP_BYTES_MAX) {
        fprintf(stderr, "out of bounds\n");
        return 2;
    }
    file = open(arguments[5], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (file < 0) fail(arguments[5]);
    char *zeros = calloc(1, GROUP_BYTES_MAX);
    if (zeros == NULL) fail("calloc");
    for (long long at = 0; at < FILE_BYTES; at += GROUP_BYTES_MAX)
        if (pwrite(file, zeros, GROUP_BYTES_MAX, at) != GROUP_BYTES_MAX) fail("pwrite");
    if (fsync(file) != 0) fail("fsync");

    pthread_t thread;
    for (int writer = 0; writer < writers; writer++)
        if (pthread_create(&thread, NULL, write_groups, NULL) != 0) fail("pthread_create");
    static struct client all[CLIENTS_MAX];
    pthread_t threads[CLIENTS_MAX];
    const long long start = now_us();
    for (int client = 0; client < clients; client++) {
        pthread_cond_init(&all[client].answered, NULL);
        if (pthread_create(&threads[client], NULL, send_records, &all[client]) != 0) fail("pthread_create");
    }
    usleep((useconds_t)(atof(arguments[4]) * 1e6));
    pthread_mutex_lock(&mutex);
    stopping = 1;
    pthread_mutex_unlock(&mutex);
    for (int client = 0; client < clients; client++) pthread_join(threads[client], NULL);
    printf("RESULT {\"records\":%llu,\"syncs\":%llu,\"duration_us\":%lld,\"p50_us\":%lld,\"p99_us\":%lld}\n", records,
           answered, now_us() - start, percentile(0.5), percentile(0.99));
    return 0;
}
